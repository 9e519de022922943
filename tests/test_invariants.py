"""Each safety statement fails on the smallest thing that breaks it, and on nothing else."""

from dataclasses import replace
from random import Random

import pytest

from bank.ballot import NO_BALLOT, Ballot
from bank.checkpoint import take
from bank.effects import Executed, Persist, Run, Stored
from bank.ledger import READ, TRANSFER
from bank.messages import CheckpointHash, StatePiece
from bank.replica import Replica
from bank.sessions import NOOP_REQUEST, Machine
from bank.settings import Settings
from harness.sim.invariants import Oracle, Safety, Violation

BALANCES = {"A": 10, "B": 10}
FIRST, SECOND = Ballot(1, 1), Ballot(2, 2)
PAY = ("A", 1, TRANSFER, "A", "B", 3)
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
    for replica in (1, 2):
        looks_on.stored(replica, write(FIRST, 1, PAY))
    looks_on.leads(FIRST, 1)
    looks_on.proposed(FIRST, 1, [PAY])
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
    assert [request for request, _ in looks_on.slots] == [PAY]
    assert looks_on.contested == 0


BROKEN = {
    "two requests in a slot": lambda s: s.executed(2, executed(1, BACK)),
    "another answer": lambda s: s.executed(
        2, Executed(1, [PAY], [("A", 1, "failed", 1)])
    ),
    "executed without a quorum": lambda s: s.executed(1, executed(2, BACK)),
    "a slot left out": lambda s: s.executed(1, executed(3, BACK)),
    "executed twice": lambda s: s.executed(1, executed(1, PAY)),
    "led twice": lambda s: s.leads(FIRST, 1),
    "led by another": lambda s: s.leads(SECOND, 1),
    "two values in a ballot": lambda s: s.proposed(FIRST, 1, [BACK]),
    "proposed by nobody": lambda s: s.proposed(SECOND, 1, [PAY]),
    "promise goes back": lambda s: (
        s.stored(3, write(SECOND, 0)),
        s.stored(3, write(FIRST, 0)),
    ),
    "held above the promise": lambda s: s.stored(3, write(SECOND, 2, BACK, promised=FIRST)),
    "accepted below a promise": lambda s: (
        s.stored(3, write(SECOND, 0)),
        s.stored(3, write(FIRST, 2, BACK, promised=SECOND)),
    ),
    "spoke before the write": lambda s: s.spoke(3, FIRST),
    "claimed before the write": lambda s: s.claimed(3, FIRST, 1, 1),
    "promise lost": lambda s: s.restarted(2, stored(NO_BALLOT)),
    "claim lost": lambda s: (claims(s), s.restarted(2, stored(entries=()))),
    "claim replaced by an older one": lambda s: (
        claims(s),
        s.restarted(2, stored(entries=((1, NO_BALLOT, PAY),))),
    ),
    "committed what nobody executed": lambda s: s.restarted(2, stored(committed=2)),
    "executed above committed": lambda s: s.watermarks(1, 0, 2, 1),
    "truncated above executed": lambda s: s.watermarks(1, 2, 1, 2),
    "watermark goes back": lambda s: (s.watermarks(2, 0, 5, 5), s.watermarks(2, 0, 4, 5)),
}  # fmt: skip


@pytest.mark.parametrize("breaks", BROKEN.values(), ids=BROKEN)
def test_what_is_not(breaks):
    with pytest.raises(Violation):
        breaks(safety())


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
    looks_on.compare([status(1, executed_upto=5, digest="elsewhere")])
    with pytest.raises(Violation):
        looks_on.compare([status(3, **changes)])


HASH = "0" * 64


def told(looks_on, *sources, slot=10):
    for source in sources:
        looks_on.told(1, source, CheckpointHash(slot, HASH, answer=True, holders=(source,)))


def checkpoint(slot):
    return Persist(NO_BALLOT, 0, False, [], replace(CHECKPOINT, slot=slot), 0, 0)


CHECKPOINT = take(10, HASH, Machine(BALANCES))


def test_what_was_confirmed_may_be_truncated():
    looks_on = Safety(5, BALANCES, interval=10)
    looks_on.truncates(1, 0)
    looks_on.checkpoints(1, None)
    told(looks_on, 2, 3, slot=20)
    looks_on.truncates(1, 20)
    looks_on.checkpoints(1, checkpoint(20))
    looks_on = Safety(5, BALANCES, interval=10)
    looks_on.told(1, 2, StatePiece(30, 0, 1, b"", 31))  # installed: it was another's
    looks_on.truncates(1, 30)
    looks_on.restarted(1, replace(stored(committed=0), truncated_upto=30))
    looks_on.truncates(1, 30)  # it is as it was found
    looks_on.restarted(1, replace(stored(committed=0), checkpoint=CHECKPOINT))
    looks_on.truncates(1, 10)  # confirmed before it was stored


@pytest.mark.parametrize(
    ("sources", "slot"),
    [((), 10), ((2,), 10), ((2, 2), 10), ((1, 2), 10), ((2, 3), 9)],
    ids=["nobody", "one of two", "one twice", "itself", "too few slots"],
)
def test_what_was_not_confirmed_is_neither_truncated_nor_stored(sources, slot):
    looks_on = Safety(5, BALANCES, interval=10)
    told(looks_on, *sources, slot=slot)
    with pytest.raises(Violation, match="n1 truncated up to 10, confirmed by"):
        looks_on.truncates(1, 10)
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
    looks_on.restarted(1, stored())
    with pytest.raises(Violation, match="confirmed by 0 of 1"):
        looks_on.truncates(1, 10)


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
