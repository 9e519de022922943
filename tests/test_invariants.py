"""Each safety statement fails on the smallest thing that breaks it, and on nothing else.

`catalogue/judges.txt` names what each of these tests guards.
"""

from dataclasses import replace
from random import Random

import pytest
from conductor import altered, take

from bank.ballot import NO_BALLOT, Ballot
from bank.effects import Executed, Persist, Run, Stored
from bank.ledger import READ, TRANSFER
from bank.messages import CheckpointHash, StatePiece
from bank.replica import Replica
from bank.sessions import NOOP_REQUEST, Machine
from bank.settings import Settings
from harness.sim.invariants import Oracle, Safety, Violation

BALANCES = {"A": 10, "B": 10}
FIRST, SECOND, THIRD = Ballot(1, 1), Ballot(2, 2), Ballot(3, 3)
MACHINE = Machine(BALANCES)
PAY = ("A", 1, TRANSFER, "A", "B", 3)
THIEF = ("B", 1, TRANSFER, "B", "A", 9)
BACK = ("B", 1, TRANSFER, "B", "A", 5)


def write(ballot, slot, *requests, committed=0, promised=None):
    runs = [Run(slot, ballot, requests)] if requests else []
    promised = ballot if promised is None else promised
    return Persist(promised, promised.number, True, runs, None, 0, committed)


def executed(slot, *requests, balances=BALANCES):
    return Executed(slot, requests, Machine(balances).execute(slot, requests))


def safety():
    """Three replicas; n1 and n2 hold PAY in slot 1, and n1 executed it."""
    looks_on = Safety(3, BALANCES, interval=10)
    looks_on.leads(FIRST, 1)
    looks_on.proposed(FIRST, 1, [PAY])
    for replica in (1, 2):
        looks_on.stored(replica, write(FIRST, 1, PAY))
    looks_on.executed(1, executed(1, PAY))
    return looks_on


def stored(promised=FIRST, entries=((1, FIRST, PAY),), committed=0):
    return Stored(promised, promised.number, entries, committed, 0, None)


def claims(looks_on):
    looks_on.claimed(2, FIRST, 1, 1)


def test_what_is_allowed():
    looks_on = safety()
    looks_on.executed(2, executed(1, PAY))
    claims(looks_on)
    looks_on.restarted(2, stored())
    looks_on.executed(2, executed(1, PAY))  # a new incarnation executes from its checkpoint on
    looks_on.watermarks(1, 0, 1, 1)
    looks_on.leads(SECOND, 2)
    looks_on.proposed(SECOND, 1, [PAY])
    looks_on.proposed(SECOND, 1, [PAY])
    looks_on.stored(3, write(SECOND, 1, PAY))
    looks_on.stored(3, write(FIRST, 1, PAY, committed=1, promised=SECOND))
    looks_on.replied(1, ("A", 1, "success", 1))
    assert [request for request, _ in looks_on.slots] == [PAY]
    assert looks_on.contested == 0
    looks_on.proposed(SECOND, 2, [PAY])
    looks_on.leads(THIRD, 3)
    looks_on.proposed(THIRD, 2, [BACK])
    assert looks_on.contested == 1


def votes(looks_on, slot, request):
    looks_on.proposed(FIRST, slot, [request])
    for replica in (1, 2):
        looks_on.stored(replica, write(FIRST, slot, request))


def kept(**changes):
    """A disk as `keeps` leaves it."""
    whole = replace(stored(committed=1), truncated_upto=1, checkpoint=take(1, "", MACHINE))
    return replace(whole, **changes)


def keeps(looks_on):
    looks_on.stored(2, Persist(FIRST, 1, False, [], take(1, "", MACHINE), 1, 1))
    looks_on.restarted(2, kept())


BROKEN = {
    "two requests in a slot": lambda s: s.executed(2, executed(1, BACK)),
    "another answer": lambda s: s.executed(
        2, Executed(1, [PAY], [("A", 1, "failed", 1)])
    ),
    "a request and an answer of another slot": lambda s: s.executed(
        2, Executed(1, [PAY], [("A", 1, "success", 2)])
    ),
    "executed without a quorum": lambda s: s.executed(1, executed(2, BACK)),
    "executed with one vote of three": lambda s: (
        s.proposed(FIRST, 2, [BACK]),
        s.stored(1, write(FIRST, 2, BACK)),
        s.executed(1, executed(2, BACK)),
    ),
    "executed with two votes of one replica": lambda s: (
        s.proposed(FIRST, 2, [BACK]),
        s.stored(1, write(FIRST, 2, BACK)),
        s.stored(1, write(FIRST, 2, BACK)),
        s.executed(1, executed(2, BACK)),
    ),
    "executed with votes in two ballots": lambda s: (
        s.proposed(FIRST, 2, [BACK]),
        s.stored(1, write(FIRST, 2, BACK)),
        s.leads(SECOND, 2),
        s.proposed(SECOND, 2, [BACK]),
        s.stored(2, write(SECOND, 2, BACK)),
        s.executed(1, executed(2, BACK)),
    ),
    "executed as another request than was voted for": lambda s: (
        votes(s, 2, BACK),
        s.executed(1, executed(2, THIEF)),
    ),
    "a first answer that the bank does not give": lambda s: (
        votes(s, 2, BACK),
        s.executed(1, Executed(2, [BACK], [("B", 1, "failed", 2)])),
    ),
    "held as what was not proposed": lambda s: s.stored(3, write(FIRST, 1, BACK)),
    "held in a ballot that nobody leads": lambda s: s.stored(3, write(SECOND, 1, PAY)),
    "an answer of no slot": lambda s: s.replied(1, ("B", 1, "success", 2)),
    "an answer of slot 0": lambda s: s.replied(1, ("A", 1, "success", 0)),
    "an answer that the slot did not give": lambda s: s.replied(1, ("A", 1, "failed", 1)),
    "a slot left out": lambda s: s.executed(1, executed(3, BACK)),
    "executed twice": lambda s: s.executed(1, executed(1, PAY)),
    "led twice": lambda s: s.leads(FIRST, 1),
    "led by another": lambda s: s.leads(SECOND, 1),
    "told to clients, led by nobody": lambda s: s.elected(2, SECOND),
    "told to clients by another": lambda s: s.elected(2, FIRST),
    "two values in a ballot": lambda s: s.proposed(FIRST, 1, [BACK]),
    "proposed by nobody": lambda s: s.proposed(SECOND, 1, [PAY]),
    "promise goes back": lambda s: (
        s.stored(3, Persist(SECOND, 9, True, [], None, 0, None)),
        s.stored(3, Persist(FIRST, 9, True, [], None, 0, None)),
    ),
    "what was seen goes back": lambda s: (
        s.stored(3, Persist(FIRST, 9, True, [], None, 0, None)),
        s.stored(3, Persist(FIRST, 8, True, [], None, 0, None)),
    ),
    "held above the promise": lambda s: (
        s.leads(SECOND, 2),
        s.proposed(SECOND, 2, [BACK]),
        s.stored(3, write(SECOND, 2, BACK, promised=FIRST)),
    ),
    "accepted below a promise": lambda s: (
        s.stored(3, write(SECOND, 0)),
        s.proposed(FIRST, 2, [BACK]),
        s.stored(3, write(FIRST, 2, BACK, promised=SECOND)),
    ),
    "spoke before the write": lambda s: s.spoke(3, FIRST),
    "claimed before the write": lambda s: s.claimed(3, FIRST, 1, 1),
    "promise lost": lambda s: s.restarted(2, replace(stored(), promised=NO_BALLOT)),
    "what was seen lost": lambda s: s.restarted(2, replace(stored(), seen=0)),
    "claim lost": lambda s: (claims(s), s.restarted(2, stored(entries=()))),
    "another request on disk": lambda s: s.restarted(2, stored(entries=((1, FIRST, BACK),))),
    "committed lost": lambda s: (keeps(s), s.restarted(2, kept(committed_upto=0))),
    "truncation lost": lambda s: (keeps(s), s.restarted(2, kept(truncated_upto=0))),
    "checkpoint lost": lambda s: (keeps(s), s.restarted(2, kept(checkpoint=None))),
    "claim replaced by an older one": lambda s: (
        claims(s),
        s.restarted(2, stored(entries=((1, NO_BALLOT, PAY),))),
    ),
    "committed what nobody executed": lambda s: s.restarted(2, stored(committed=2)),
    "executed above committed": lambda s: s.watermarks(1, 0, 2, 1),
    "truncated above executed": lambda s: (told(s, 2, 3), s.watermarks(1, 2, 1, 2)),
    "watermark goes back": lambda s: (s.watermarks(2, 0, 5, 5), s.watermarks(2, 0, 4, 5)),
    "truncation goes back": lambda s: (
        told(s, 2, 3),
        s.watermarks(1, 2, 5, 5),
        s.watermarks(1, 1, 5, 5),
    ),
    "commits go back": lambda s: (s.watermarks(2, 0, 3, 5), s.watermarks(2, 0, 3, 4)),
}  # fmt: skip


@pytest.mark.parametrize("breaks", BROKEN.values(), ids=BROKEN)
def test_what_is_not(breaks):
    with pytest.raises(Violation):
        breaks(safety())


def test_requests_are_compared_as_well():
    with pytest.raises(Violation, match="slot 1: n2 executed"):
        other = ("A", 1, TRANSFER, "A", "B", 4)
        safety().executed(2, Executed(1, [other], [("A", 1, "success", 1)]))


def test_a_slot_that_nobody_executed_is_not_jumped_over():
    looks_on = safety()
    votes(looks_on, 3, BACK)
    with pytest.raises(Violation, match="slot 3 is executed, yet nobody executed 2"):
        looks_on.executed(1, executed(3, BACK))


def status(replica=1, **changes):
    fresh = Replica(replica, 3, Settings(), Random(1), BALANCES)
    return replace(fresh.status(), **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"digest": "other"},
        {"running_hash": "other"},
        {"balances": {"A": 11, "B": 10}},
        {"balances": {"A": -1, "B": 21}},
        {"halted": "history differs"},
        {"differs": "history differs"},
    ],
    ids=["digest", "running hash", "money made", "negative balance", "stopped itself", "differs"],
)
def test_states_that_differ(changes):
    looks_on = Safety(3, BALANCES, interval=10)
    looks_on.compare([status(1), status(2)])
    with pytest.raises(Violation):
        looks_on.compare([status(3, **changes)])


def executes(*requests, replica=1):
    """A referee that saw these executed, and a replica that did."""
    looks_on, one = Safety(3, BALANCES, interval=2), Machine(BALANCES)
    looks_on.leads(FIRST, 1)
    looks_on.proposed(FIRST, 1, requests)
    for voter in (1, 2):
        looks_on.stored(voter, write(FIRST, 1, *requests))
    answers = one.execute(1, requests)
    looks_on.executed(replica, Executed(1, requests, answers))
    at_end = status(
        replica,
        executed_upto=len(requests),
        balances=dict(one.ledger.balances),
        sessions=tuple(one.sessions.values()),
        digest=one.digest(),
    )
    return looks_on, at_end


def test_states_at_different_slots_may_differ():
    looks_on, at_end = executes(PAY, BACK)
    looks_on.compare([at_end, status(2), replace(at_end, replica=3)])
    looks_on.compare([status(1, executed_upto=1, digest="elsewhere")])


WRONG_TOGETHER = {
    "balances": (
        {"balances": {"A": 11, "B": 9}},
        "n1 after slot 2 holds 11 for A, not 12, 9 for B, not 8",
    ),
    "a session": (
        {"sessions": (("A", 1, "failed", 1), ("B", 1, "success", 2))},
        "n1 after slot 2 holds ('A', 1, 'failed', 1) as A's last answer, "
        "not ('A', 1, 'success', 1)",
    ),
    "a session less": (
        {"sessions": (("A", 1, "success", 1),)},
        "n1 after slot 2 holds None as B's last answer, not ('B', 1, 'success', 2)",
    ),
    "much": (
        {"balances": {"A": 9, "B": 10, "C": 1}, "sessions": ()},
        "n1 after slot 2 holds 9 for A, not 12, 10 for B, not 8, None as A's last answer, "
        "not ('A', 1, 'success', 1), and 2 more",
    ),
    "slots that nobody executed": (
        {"executed_upto": 3},
        "n1 stands at slot 3, 2 were ever executed",
    ),
}


@pytest.mark.parametrize(("changes", "told"), WRONG_TOGETHER.values(), ids=WRONG_TOGETHER)
def test_a_state_that_all_replicas_share_is_held_against_the_slots(changes, told):
    """What is wrong alone is told: of two whole states nobody would find it."""
    looks_on, at_end = executes(PAY, BACK)
    with pytest.raises(Violation) as violation:
        looks_on.compare([replace(at_end, replica=r, **changes) for r in (1, 2, 3)])
    assert str(violation.value) == told


@pytest.mark.parametrize(
    ("balances", "told"),
    [
        ({"A": 11, "B": 10}, "n1 holds 21 in all, expected 20"),
        ({"A": -1, "B": 21}, "n1 holds -1 for A"),
    ],
)
def test_money_and_debts_are_seen_where_nothing_else_is_known(balances, told):
    looks_on, _ = executes(PAY, BACK)
    with pytest.raises(Violation) as violation:
        looks_on.compare([status(1, executed_upto=1, balances=balances)])
    assert str(violation.value) == told


def test_a_state_is_held_against_one_of_long_before():
    looks_on, at_end = executes(PAY, BACK)
    looks_on.compare([status(2, executed_upto=1, digest="first")])
    looks_on.compare([at_end])
    with pytest.raises(Violation, match="after slot 1, n3 has other, n2 had first"):
        looks_on.compare([status(3, executed_upto=1, digest="other")])


# ---- claims: what was claimed in several words is one --------------------------------------------

CLAIMED = {
    "one after the other": ([(1, 1), (2, 3)], [(1, 3)]),
    "cumulative": ([(1, 1), (1, 3)], [(1, 3)]),
    "an older word late": ([(1, 3), (1, 2)], [(1, 3)]),
    "the lower ones late": ([(3, 4), (1, 2)], [(1, 4)]),
    "with a gap": ([(1, 1), (4, 5)], [(1, 1), (4, 5)]),
    "the gap filled": ([(1, 1), (4, 5), (2, 3)], [(1, 5)]),
    "nothing": ([(1, 0)], []),
}


@pytest.mark.parametrize(("words", "whole"), CLAIMED.values(), ids=CLAIMED)
def test_what_was_claimed_in_pieces_is_looked_for_on_disk(words, whole):
    slots = [slot for first, last in whole for slot in range(first, last + 1)]
    entries = tuple((slot, FIRST, PAY) for slot in slots)
    for lost in [None, *slots]:
        looks_on = Safety(3, BALANCES, interval=10)
        looks_on.leads(FIRST, 1)
        looks_on.proposed(FIRST, 1, [PAY] * 5)
        looks_on.stored(2, write(FIRST, 0))
        for first, last in words:
            looks_on.claimed(2, FIRST, first, last)
        found = stored(entries=tuple(e for e in entries if e[0] != lost))
        if lost is None:
            looks_on.restarted(2, found)
        else:
            with pytest.raises(Violation, match=f"restarts with None in slot {lost}, which it"):
                looks_on.restarted(2, found)


@pytest.mark.parametrize("order", [(FIRST, SECOND), (SECOND, FIRST)], ids=["up", "down"])
def test_a_claim_in_another_ballot_leaves_the_rest_as_it_was(order):
    words = {FIRST: (1, 5), SECOND: (3, 4)}
    held = [FIRST, FIRST, SECOND, SECOND, FIRST]
    for wrong in (None, 1, 2, 3, 4, 5):
        looks_on = Safety(3, BALANCES, interval=10)
        for ballot in (FIRST, SECOND):
            looks_on.leads(ballot, ballot.replica)
            looks_on.proposed(ballot, 1, [PAY] * 5)
        looks_on.stored(2, write(SECOND, 0))
        for ballot in order:
            looks_on.claimed(2, ballot, *words[ballot])
        entries = tuple((slot, ballot, PAY) for slot, ballot in enumerate(held, 1))
        if wrong is None:
            looks_on.restarted(2, stored(SECOND, entries))
            continue
        missing = tuple(entry for entry in entries if entry[0] != wrong)
        older = tuple((s, FIRST if s == wrong else b, r) for s, b, r in entries)
        for found in [missing] + [older] * (held[wrong - 1] == SECOND):
            with pytest.raises(Violation, match=f"in slot {wrong}, which it claimed in"):
                looks_on.restarted(2, stored(SECOND, found))


def test_what_was_truncated_is_forgotten():
    looks_on = Safety(3, BALANCES, interval=10)
    for number in range(1, 50):
        ballot = Ballot(number, 1)
        looks_on.leads(ballot, 1)
        looks_on.stored(2, Persist(ballot, number, True, [], None, number - 1, number - 1))
        looks_on.claimed(2, ballot, number, number + 3)
    assert len(looks_on._known[2].claims) <= 4


def test_what_was_truncated_need_not_be_shown():
    looks_on, _ = executes(PAY, BACK)
    looks_on.claimed(2, FIRST, 1, 2)
    looks_on.stored(2, Persist(FIRST, 1, False, [], take(1, "", MACHINE), 1, 1))
    looks_on.claimed(2, FIRST, 1, 2)
    rest = kept(entries=((2, FIRST, BACK),))
    looks_on.restarted(2, rest)
    with pytest.raises(Violation, match="restarts with None in slot 2, which it claimed"):
        looks_on.restarted(2, replace(rest, entries=()))


HASH = "0" * 64


def test_a_hash_that_a_message_names_is_held_against_the_others():
    looks_on = Safety(3, BALANCES, interval=10)
    told(looks_on, 2)
    told(looks_on, 3)
    with pytest.raises(Violation, match="after slot 10, n3 has 1"):
        looks_on.told(2, 3, CheckpointHash(10, "1" * 64, answer=False, holders=(3,)))


def test_confirmations_of_one_peer_are_merged():
    looks_on = Safety(5, BALANCES, interval=10)
    told(looks_on, 2, slot=20)
    told(looks_on, 2, slot=10)
    told(looks_on, 3, slot=10)
    truncates(looks_on, 10)
    with pytest.raises(Violation, match="truncated up to 20, confirmed by 1 of 2"):
        truncates(looks_on, 20)


def told(looks_on, *sources, slot=10):
    for source in sources:
        looks_on.told(1, source, CheckpointHash(slot, HASH, answer=True, holders=(source,)))


def truncates(looks_on, upto):
    looks_on.watermarks(1, upto, upto, upto)


def checkpoint(slot):
    return Persist(NO_BALLOT, 0, False, [], altered(CHECKPOINT, slot=slot), 0, 0)


CHECKPOINT = take(10, HASH, Machine(BALANCES))


def test_what_was_confirmed_may_be_truncated():
    looks_on = Safety(5, BALANCES, interval=10)
    truncates(looks_on, 0)
    looks_on.checkpoints(1, replace(checkpoint(10), checkpoint=None))
    told(looks_on, 2, 3, slot=20)
    truncates(looks_on, 20)
    looks_on.checkpoints(1, checkpoint(20))
    looks_on = Safety(5, BALANCES, interval=10)
    looks_on.told(1, 2, StatePiece(30, 0, 1, b"", 31))  # installed: it was another's
    truncates(looks_on, 30)
    looks_on.restarted(1, replace(stored(entries=()), truncated_upto=30))
    truncates(looks_on, 30)  # it is as it was found
    looks_on.restarted(1, replace(stored(entries=()), checkpoint=CHECKPOINT))
    truncates(looks_on, 10)  # confirmed before it was stored


@pytest.mark.parametrize(
    ("sources", "slot"),
    [((), 10), ((2,), 10), ((2, 2), 10), ((1, 2), 10), ((2, 3), 9)],
    ids=["nobody", "one of two", "one twice", "itself", "too few slots"],
)
def test_what_was_not_confirmed_is_neither_truncated_nor_stored(sources, slot):
    looks_on = Safety(5, BALANCES, interval=10)
    told(looks_on, *sources, slot=slot)
    with pytest.raises(Violation, match="n1 truncated up to 10, confirmed by"):
        truncates(looks_on, 10)
    with pytest.raises(Violation, match="n1 stores the checkpoint at 10, confirmed by"):
        looks_on.checkpoints(1, checkpoint(10))


def test_hashes_that_are_told_are_held_against_one_another():
    looks_on = Safety(5, BALANCES, interval=10)
    told(looks_on, 2)
    with pytest.raises(Violation, match="after slot 10, n3 has 1111"):
        looks_on.told(1, 3, CheckpointHash(10, "1" * 64, answer=True, holders=(3,)))


def test_a_new_incarnation_has_to_be_told_again():
    looks_on = Safety(3, BALANCES, interval=10)
    told(looks_on, 2)
    looks_on.restarted(1, stored(entries=()))
    with pytest.raises(Violation, match="confirmed by 0 of 1"):
        truncates(looks_on, 10)


def test_the_oracle_and_the_machine_agree_on_any_log():
    random = Random(5)
    for _ in range(50):
        oracle, machine = Oracle(BALANCES), Machine(BALANCES)
        for slot in range(1, 60):
            client = random.choice("AB")
            kind = random.choice((TRANSFER, TRANSFER, READ))
            receiver, amount = random.choice("ABX"), random.randint(-1, 8)
            request = (client, random.randint(1, 12), kind, client, receiver, amount)
            request = NOOP_REQUEST if random.random() < 0.1 else request
            assert [oracle.answer(slot, request)] == machine.execute(slot, [request])
        assert oracle.balances == machine.ledger.balances
        assert sum(oracle.balances.values()) == 20
        assert oracle.repeats > 0
