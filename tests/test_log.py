"""The log, against a dict from slot to (ballot, request)."""

import pytest
from conductor import transfer
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bank.ballot import NO_BALLOT, Ballot
from bank.effects import Run
from bank.log import Log
from bank.messages import AcceptedEntry

FIRST, SECOND, THIRD = Ballot(1, 1), Ballot(2, 2), Ballot(3, 3)
BALLOTS = st.sampled_from([FIRST, SECOND, THIRD])
X, Y, Z = transfer("A", "J", 3), transfer("B", "J", 4), transfer("C", "J", 5)


def value_of(slot):
    """The one request that may ever be committed in a slot."""
    return transfer("A", "B", 1, timestamp=slot)


class LogAgainstDict(RuleBasedStateMachine):
    """Any sequence of what a replica does to its log."""

    def __init__(self):
        super().__init__()
        self.log = Log()
        self.held = {}  # what was accepted last, truncated slots left out
        self.committed = self.executed = self.truncated = 0

    @rule(slot=st.integers(1, 12), count=st.integers(1, 5), ballot=BALLOTS)
    def accept(self, slot, count, ballot):
        slot += self.truncated - min(3, self.truncated)
        requests = [value_of(s) for s in range(slot, slot + count)]
        skipped = self.log.accept(slot, ballot, requests)
        assert skipped == sum(1 for s in range(slot, slot + count) if s <= self.truncated)
        for s in range(slot + skipped, slot + count):
            self.held[s] = ballot

    @rule(ballot=BALLOTS, count=st.integers(1, 5), back=st.integers(0, 3))
    def install(self, ballot, count, back):
        first = max(1, self.committed + 1 - back)
        slots = range(first, first + count)
        runs = self.log.install(first, [ballot] * count, [value_of(s) for s in slots])
        wanted = [s for s in slots if s > self.committed and self.held.get(s, NO_BALLOT) < ballot]
        assert runs == [Run(s, ballot, (value_of(s),)) for s in wanted]
        self.held |= dict.fromkeys(wanted, ballot)
        self.log.commit(slots[-1])
        self.committed = max(self.committed, slots[-1])

    @rule(upto=st.integers(0, 12))
    def commit(self, upto):
        while self.committed + 1 in self.held and self.committed < upto:
            self.committed += 1
        self.log.commit(self.committed)

    @rule()
    def execute(self):
        self.executed = self.log.executed_upto = self.log.committed_upto

    @rule(keep=st.integers(0, 4))
    def truncate(self, keep):
        upto = max(self.truncated, self.executed - keep)
        self.log.truncate(upto)
        self.truncated = upto

    @precondition(lambda self: self.executed == self.committed)
    @rule(ahead=st.integers(1, 6))
    def install_checkpoint(self, ahead):
        slot = self.executed + ahead
        self.log.restart_at(slot)
        self.truncated = self.executed = self.committed = slot

    @invariant()
    def holds_what_the_dict_holds(self):
        log = self.log
        self.held = {s: b for s, b in self.held.items() if s > self.truncated}
        assert (log.truncated_upto, log.executed_upto, log.committed_upto) == (
            self.truncated,
            self.executed,
            self.committed,
        )
        assert log.last_slot == max(self.held, default=self.truncated)
        assert log.entries_above(0) == tuple(
            AcceptedEntry(s, self.held[s], value_of(s), s <= self.committed)
            for s in sorted(self.held)
        )

    @invariant()
    def claims_no_gap_and_no_other_ballot(self):
        for ballot in (FIRST, SECOND, THIRD):
            for first in range(1, self.log.last_slot + 3):
                slot = first
                while slot <= self.truncated or self.held.get(slot) == ballot:
                    slot += 1
                assert self.log.held_upto(ballot, first) == slot - 1

    @invariant()
    def shows_every_slot(self):
        for status in self.log.statuses(range(1, self.log.last_slot + 2)):
            slot = status.slot
            mark = (
                "E"
                if slot <= self.executed
                else "C"
                if slot <= self.committed
                else "A"
                if slot in self.held
                else "X"
            )
            assert status.mark.value == mark
            assert status.ballot == self.held.get(slot)
            assert status.request == (value_of(slot) if slot in self.held else None)


LogAgainstDict.TestCase.settings = settings(max_examples=50, stateful_step_count=25, deadline=None)
TestLogAgainstDict = LogAgainstDict.TestCase


def test_committed_slot_is_not_replaced():
    log = Log()
    log.accept(1, FIRST, (X,))
    log.commit(1)
    log.accept(1, SECOND, (X,))
    with pytest.raises(AssertionError, match="committed as"):
        log.accept(1, THIRD, (Y,))


def test_nothing_is_committed_over_a_gap_or_beyond_the_end():
    log = Log()
    log.accept(1, FIRST, (X,))
    log.accept(3, FIRST, (Z,))
    with pytest.raises(AssertionError, match="gap"):
        log.commit(3)
    with pytest.raises(AssertionError, match="ends at 3"):
        log.commit(4)
    assert log.committed_upto == 0


def test_nothing_is_truncated_before_it_is_executed():
    log = Log()
    log.accept(1, FIRST, (X,))
    log.commit(1)
    with pytest.raises(AssertionError, match="truncate"):
        log.truncate(1)


def test_a_slot_is_marked_by_how_far_it_is():
    log = Log()
    log.accept(1, FIRST, (X, Y, Z))
    log.commit(2)
    log.executed_upto = 1
    assert "".join(slot.mark.value for slot in log.statuses(range(1, 5))) == "ECAX"


def test_installed_value_replaces_one_that_was_never_chosen():
    log = Log()
    log.accept(1, FIRST, (X,))
    assert log.install(1, [SECOND], [Y]) == [Run(1, SECOND, (Y,))]
    assert log.entry(1) == AcceptedEntry(1, SECOND, Y, False)


def test_installed_value_keeps_the_higher_ballot_that_is_held():
    log = Log()
    log.accept(1, SECOND, (X,))
    assert log.install(1, [FIRST], [X]) == []
    assert log.entry(1).ballot == SECOND


def test_two_values_for_a_chosen_slot_are_our_bug():
    log = Log()
    log.accept(1, SECOND, (X,))
    with pytest.raises(AssertionError, match="chosen"):
        log.install(1, [FIRST], [Y])


@given(st.integers(0, 20))
def test_empty_log_has_nothing(slot):
    log = Log()
    assert log.entry(slot) is None and log.entries_above(slot) == ()
    assert log.held_upto(FIRST, slot + 1) == slot
