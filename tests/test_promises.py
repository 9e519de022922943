"""A replica's word on its disk: what may change from one snapshot to the next, and what may not.

`catalogue/judges.txt` names what each of these tests guards.
"""

from dataclasses import replace

import pytest
from conductor import altered, stored_whole, take

from bank.accounts import Balances
from bank.ballot import NO_BALLOT, Ballot
from bank.effects import Persist, Run, Stored
from bank.sessions import Machine
from harness.check.promises import promises
from harness.check.verdict import Verdict
from harness.live.storage import Owner, Storage, read_copy

LOW, HIGH = Ballot(3, 1), Ballot(4, 2)
PAY = ("A", 1, "transfer", "A", "B", 3)
LOOK = ("B", 1, "read", "B", "", 0)
BALANCES = Balances.of({"A": 10, "B": 10})
MACHINE = Machine(BALANCES)
EMPTY = Stored(NO_BALLOT, 0, (), 0, 0, None)
HELD = Stored(LOW, 3, ((1, LOW, PAY), (2, LOW, LOOK), (4, LOW, PAY)), 1, 0, None)

KEPT = {
    "nothing changed": HELD,
    "a higher promise": replace(HELD, promised=HIGH, seen=7),
    "more accepted, the gap filled": replace(HELD, entries=(*HELD.entries, (3, LOW, LOOK))),
    "accepted again in a higher ballot": replace(
        HELD, promised=HIGH, seen=4, entries=((1, HIGH, PAY), (2, HIGH, PAY), (4, HIGH, LOOK))
    ),
    "truncated, the rest above": replace(
        HELD, entries=HELD.entries[2:], committed_upto=3, truncated_upto=3
    ),
    "all below an installed checkpoint": replace(
        HELD, entries=(), committed_upto=4, truncated_upto=4, checkpoint=take(4, "", MACHINE)
    ),
}

BROKEN = {
    "a lower promise": (replace(HELD, promised=Ballot(2, 5), entries=()), "n2 promised (3, n1), "),
    "the same number of another replica": (
        replace(HELD, promised=Ballot(3, 0), entries=()),
        "n2 promised (3, n1), later its disk says (3, n0)",
    ),
    "a new disk": (EMPTY, "n2 promised (3, n1), later its disk says (0, n0)"),
    "seen goes back": (replace(HELD, seen=2), "had seen ballot number 3, later its disk says 2"),
    "seen less than promised": (
        replace(HELD, promised=HIGH),
        "n2 promised (4, n2) and has seen ballot number 3 at most",
    ),
    "a gap below the watermark": (
        replace(HELD, committed_upto=4),
        "n2 is committed up to 4 and lacks slot 3",
    ),
    "a gap above the checkpoint": (
        replace(KEPT["all below an installed checkpoint"], committed_upto=6),
        "n2 is committed up to 6 and lacks slot 5",
    ),
    "a checkpoint that was changed": (
        replace(
            KEPT["all below an installed checkpoint"],
            checkpoint=altered(take(4, "", MACHINE), balances={"A": 9, "B": 11}),
        ),
        "n2 has a checkpoint at 4 that is not what its digest says",
    ),
    "committed goes back": (replace(HELD, committed_upto=0), "was committed up to 1, later its"),
    "an entry is lost": (replace(HELD, entries=HELD.entries[:2]), "n2 lost slot 4, accepted in"),
    "an entry is lost beside the truncation": (
        replace(HELD, entries=(), truncated_upto=2, committed_upto=2),
        "n2 lost slot 4, accepted in (3, n1)",
    ),
    "an older ballot": (
        replace(HELD, entries=((1, Ballot(2, 2), PAY), *HELD.entries[1:])),
        "n2 accepted slot 1 in (3, n1), later holds it in (2, n2)",
    ),
    "another request in the same ballot": (
        replace(HELD, entries=(*HELD.entries[:2], (4, LOW, LOOK))),
        "n2 has ('B', 1, 'read', 'B', '', 0) in slot 4 in (3, n1), n2 had ('A', 1, 'transfer'",
    ),
    "another request in a committed slot": (
        replace(HELD, promised=HIGH, seen=4, entries=((1, HIGH, LOOK), *HELD.entries[1:])),
        "n2 has ('B', 1, 'read', 'B', '', 0) committed in slot 1, n2 had ('A', 1, 'transfer'",
    ),
    "accepted above the promise": (
        replace(HELD, entries=(*HELD.entries, (5, HIGH, PAY))),
        "n2 holds slot 5 in (4, n2), above its promise (3, n1)",
    ),
}


@pytest.mark.parametrize("after", KEPT.values(), ids=KEPT)
def test_what_a_replica_may_do(after):
    others = [(1, replace(HELD, promised=Ballot(9, 1), seen=9)), (3, EMPTY)]
    judgement = promises([(2, EMPTY), *others, (2, HELD), (2, after)])
    assert judgement.verdict is Verdict.VALID, judgement.reason


@pytest.mark.parametrize(("after", "evidence"), BROKEN.values(), ids=BROKEN)
def test_a_broken_word_is_seen(after, evidence):
    judgement = promises([(2, EMPTY), (2, HELD), (1, EMPTY), (2, after)])
    assert judgement.verdict is Verdict.INVALID
    assert evidence in judgement.reason


@pytest.mark.parametrize(
    ("field", "evidence"),
    [("truncated_upto", "was truncated up to 4"), ("checkpoint", "had a checkpoint at 4, later")],
)
def test_a_checkpoint_does_not_go_back(field, evidence):
    before = KEPT["all below an installed checkpoint"]
    after = replace(before, **{field: getattr(HELD, field)})
    judgement = promises([(2, before), (2, after)])
    assert judgement.verdict is Verdict.INVALID
    assert evidence in judgement.reason


THIEF = ("A", 1, "transfer", "A", "B", 9)
ANOTHER = Machine({"A": 9, "B": 11})
TWO_VALUES = {
    "in one ballot": (
        HELD,
        replace(HELD, entries=((4, LOW, THIEF),), truncated_upto=1),
        "in slot 4 in (3, n1), n2 had ('A', 1, 'transfer', 'A', 'B', 3)",
    ),
    "committed, in two ballots": (
        HELD,
        Stored(HIGH, 4, ((1, HIGH, THIEF),), 1, 0, None),
        "committed in slot 1, n2 had ('A', 1, 'transfer', 'A', 'B', 3)",
    ),
    "checkpoints": (
        replace(EMPTY, checkpoint=take(4, "", MACHINE)),
        replace(EMPTY, checkpoint=take(4, "", ANOTHER)),
        " as digest at slot 4, n2 had ",
    ),
    "hashes of a checkpoint": (
        replace(EMPTY, checkpoint=take(4, "one", MACHINE)),
        replace(EMPTY, checkpoint=take(4, "two", MACHINE)),
        "n3 has two as running hash at slot 4, n2 had one",
    ),
}


@pytest.mark.parametrize(("one", "other", "evidence"), TWO_VALUES.values(), ids=TWO_VALUES)
def test_disks_of_two_replicas_have_one_value(one, other, evidence):
    """Though the first one is gone from its own disk meanwhile, and nobody is between the two."""
    later = Stored(HIGH, 4, (), 9, 9, take(9, "", MACHINE))
    judgement = promises([(2, one), (2, later), (1, EMPTY), (3, EMPTY), (3, other)])
    assert judgement.verdict is Verdict.INVALID
    assert evidence in judgement.reason


def test_what_is_only_accepted_may_differ_between_ballots():
    other = Stored(HIGH, 4, ((1, HIGH, THIEF),), 0, 0, None)
    uncommitted = replace(HELD, committed_upto=0)
    judgement = promises([(2, uncommitted), (3, other), (3, other)])
    assert judgement.verdict is Verdict.VALID, judgement.reason


@pytest.mark.parametrize(
    ("snapshots", "reason"),
    [
        ([], "no disk was read twice"),
        ([(1, HELD), (2, HELD)], "no disk was read twice"),
        ([(1, HELD), (1, HELD), (2, None)], "the disk of n2 could not be read"),
    ],
    ids=["none", "once each", "unreadable"],
)
def test_what_cannot_be_compared_is_unknown(snapshots, reason):
    judgement = promises(snapshots)
    assert (judgement.verdict, judgement.reason) == (Verdict.UNKNOWN, reason)


def test_a_broken_word_outranks_an_unreadable_disk():
    assert promises([(1, None), (2, HELD), (2, EMPTY)]).verdict is Verdict.INVALID


class Forgetful(Storage):
    """Does not write promises."""

    def _write(self, persist):
        super()._write(replace(persist, promise_changed=False))


class Careless(Storage):
    """Truncates all of a run whose first slot may go."""

    def _write(self, persist):
        super()._write(persist)
        self._db.execute("delete from run where first_slot <= ?", (persist.truncated_upto,))


@pytest.mark.parametrize(
    ("storage", "evidence"),
    [
        (Storage, ""),
        (Forgetful, "n1 holds slot 1 in (3, n1), above its promise (0, n0)"),
        (Careless, "n1 lost slot 3, accepted in (3, n1)"),
    ],
)
def test_disks_of_real_and_of_broken_replicas(tmp_path, storage, evidence):
    path = tmp_path / "n1.db"
    owner = Owner("n1", "0123")
    Storage.create(path, BALANCES, owner)
    disk = storage(path, "process", owner, BALANCES.accounts)
    snapshots = [(1, read_copy(path, BALANCES.accounts))]
    requests = [("A", i, "transfer", "A", "B", 1) for i in range(1, 6)]
    for persist in (
        Persist(LOW, 3, True, [Run(1, LOW, requests)], None, 0, None),
        replace(Persist(LOW, 3, False, [], None, 2, 3), **stored_whole(take(3, "", MACHINE))),
        Persist(HIGH, 4, True, [Run(4, HIGH, requests[:1])], None, 2, None),
    ):
        disk.commit(persist)
        snapshots.append((1, read_copy(path, BALANCES.accounts)))
    judgement = promises(snapshots)
    assert judgement.reason == evidence
    assert judgement.verdict is (Verdict.INVALID if evidence else Verdict.VALID)
