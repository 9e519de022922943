"""What the safety checks are told of turns, and how the explorer merges what they remember.

`catalogue/judges.txt` names what each of these tests guards.
"""

import re
from collections import Counter
from dataclasses import replace
from random import Random
from types import SimpleNamespace

import pytest

from bank.ballot import NO_BALLOT, Ballot
from bank.effects import Effects, Executed, Persist, Run, Send, Stored
from bank.events import Leads
from bank.ledger import Ledger
from bank.messages import (
    Accept,
    Accepted,
    CheckpointHash,
    Commit,
    Elected,
    NewView,
    Prepare,
    Promise,
    Reply,
    StatePiece,
)
from bank.replica import Replica
from bank.sessions import Machine
from bank.settings import Settings
from harness.files.config import MOST_MONEY
from harness.sim import judging
from harness.sim.explore.checker import CheckerStates
from harness.sim.explore.turns import Act, Envelope, Step
from harness.sim.invariants import Safety, Violation
from harness.sim.judging import Marks
from harness.sim.scenario import SwarmOptions, draw
from harness.sim.swarm import load, run_seed
from harness.sim.trace_writer import TraceWriter

BALANCES = {"A": 10, "B": 10}
FIRST, SECOND = Ballot(1, 1), Ballot(2, 2)
PAY = ("A", 1, "transfer", "A", "B", 3)
BACK = ("B", 1, "transfer", "B", "A", 5)
ANSWER = ("A", 1, "success", 1)


class Listening:
    """Writes down what the checks would be told."""

    def __init__(self):
        self.heard = []

    def __getattr__(self, name):
        return lambda *arguments: self.heard.append((name, *arguments))


def test_a_turns_decisions_are_told():
    executed = [Executed(1, [PAY], [ANSWER]), Executed(2, [BACK], [("B", 1, "success", 2)])]
    effects = Effects(
        early=[
            Send((2, 3), NewView(FIRST, 1, (PAY,), 0)),
            Send((2, 3), Accept(FIRST, 2, (BACK,), 0)),
            Send((2, 3), Commit(FIRST, 0)),
        ],
        elected=Elected(FIRST),
        replies=[Reply(FIRST, (ANSWER,)), Reply(FIRST, (ANSWER, ANSWER))],
        executed=executed,
    )
    checks = Listening()
    judging.flushed(checks, 1, effects)
    assert checks.heard == [
        ("executed", 1, executed[0]),
        ("executed", 1, executed[1]),
        ("leads", FIRST, 1),
        ("proposed", FIRST, 1, (PAY,)),
        ("proposed", FIRST, 2, (BACK,)),
        ("elected", 1, FIRST),
        *[("replied", 1, ANSWER)] * 3,
    ]


SENT = {
    "PREPARE": (Prepare(FIRST, 0), ("spoke", 2, FIRST)),
    "ACK": (Promise(FIRST, 0, 0, ()), ("spoke", 2, FIRST)),
    "ACCEPTED": (Accepted(FIRST, 3, 5, 0), ("claimed", 2, FIRST, 3, 5)),
    "COMMIT": (Commit(FIRST, 0), None),
}


@pytest.mark.parametrize(("message", "told"), SENT.values(), ids=SENT)
def test_what_a_message_says_of_its_senders_disk_is_told(message, told):
    checks = Listening()
    judging.sent(checks, 2, message)
    assert checks.heard == [told] * (told is not None)


def test_what_a_turn_comes_to_is_told():
    checks, persist = Listening(), Persist(FIRST, 1, True, [], None, 0, None)
    judging.decided(checks, 2, Effects(), Marks(3, 4, 5))
    judging.decided(checks, 2, Effects(persist), Marks(3, 4, 6))
    assert checks.heard == [
        ("watermarks", 2, 3, 4, 5),
        ("checkpoints", 2, persist),
        ("watermarks", 2, 3, 4, 6),
    ]


def test_a_replica_that_halts_is_a_violation():
    with pytest.raises(Violation, match="n2 stopped itself: another history"):
        judging.decided(Listening(), 2, Effects(halted="another history"), Marks(0, 0, 0))


def test_states_are_compared_in_scripts_after_executing():
    world = TraceWriter(3, Settings())
    world.checks = Listening()
    for effects in (
        Effects(events=[Leads(FIRST)]),
        Effects(executed=[Executed(1, [PAY], [ANSWER])]),
    ):
        world.flushed(world.processes[2], effects)
    compared = [name for name, *_ in world.checks.heard if name == "compare"]
    assert compared == ["compare"]


# ---- the explorer's memory -----------------------------------------------------------------------


def checkers(*messages):
    envelopes = [Envelope(1, 2, message) for message in messages]
    return CheckerStates(3, BALANCES, 10, envelopes)


def step(number, replica, *acts):
    return Step(number, replica, acts, (), (), True)


def votes(replica, *requests):
    return Act(persist=Persist(FIRST, 1, True, [Run(1, FIRST, requests)], None, 0, None))


def flushes(marks, **effects):
    return Act(flushed=(Effects(**effects), marks))


LEADS = flushes(Marks(0, 0, 0), early=[Send((2, 3), NewView(FIRST, 1, (PAY,), 0))])
EXECUTES = flushes(Marks(0, 1, 1), executed=[Executed(1, [PAY], [ANSWER])])


def after(memory, *steps):
    checker = memory.first
    for one in steps:
        checker = memory.after(checker, one)
    return checker


LED = (step(1, 1, LEADS, votes(1, PAY)), step(2, 2, votes(2, PAY)))


def test_a_memory_is_told_apart_by_all_that_it_holds():
    counted = {"contested", "_latest"}
    fixed = {"_quorum", "_interval"}
    held = {"oracle", "slots", "_known", "_proposed", "_votes", "_digests", "_hashes"}
    assert set(vars(Safety(3, BALANCES, 10))) == counted | fixed | held, "see Safety.key"
    for told in (
        lambda s: s.leads(FIRST, 1),
        lambda s: s.stored(2, Persist(FIRST, 1, True, [], None, 0, None)),
        lambda s: s.stored(2, Persist(NO_BALLOT, 0, False, [], None, 0, 1)),
        lambda s: s.claimed(2, NO_BALLOT, 1, 1),
        lambda s: s.told(2, 1, CheckpointHash(1, "ab", False, (3,))),
        lambda s: s.told(2, 1, StatePiece(4, 0, 1, b"", 4)),
        lambda s: s.watermarks(2, 0, 0, 1),
        lambda s: s._votes.update({1: {(FIRST, PAY): {1}}}),
        lambda s: s.oracle.answer(1, PAY),
        lambda s: s.slots.append((PAY, ANSWER)),
        lambda s: s._same(s._digests, 1, "ab", 1),
    ):
        safety = Safety(3, BALANCES, 10)
        before = safety.key()
        told(safety)
        assert safety.key() != before


def test_equal_memories_are_one_and_others_are_not():
    memory = checkers()
    once = after(memory, *LED)
    assert once not in (memory.first, after(memory, LED[0]))
    assert memory.after(once, step(3, 2, votes(2, PAY))) == once
    assert memory.after(once, step(4, 3, votes(3, PAY))) != once
    assert len(memory) == 4


def test_what_was_executed_and_voted_for_is_remembered_from_step_to_step():
    memory = checkers()
    executed = after(memory, *LED, step(3, 1, EXECUTES))
    with pytest.raises(Violation, match="slot 1: n2 executed"):
        answers = [("B", 1, "success", 1)]
        other = flushes(Marks(0, 1, 1), executed=[Executed(1, [BACK], answers)])
        memory.after(executed, step(4, 2, other))
    with pytest.raises(Violation, match="which no quorum"):
        after(memory, LED[0], step(5, 1, EXECUTES))


def test_a_step_is_judged_after_what_came_before():
    memory, executes = checkers(), step(3, 1, EXECUTES)
    after(memory, *LED, executes)
    with pytest.raises(Violation, match="which no quorum"):
        after(memory, LED[0], executes)


def test_every_act_of_a_step_is_judged():
    memory = checkers(Accepted(SECOND, 1, 1, 0), Accepted(FIRST, 1, 1, 0))
    with pytest.raises(Violation, match=r"spoke of \(2, n2\) with"):
        after(memory, *LED, step(3, 2, Act(envelope=0)))
    with pytest.raises(Violation, match="which it claimed in"):
        lost = Stored(FIRST, 1, (), 0, 0, None)
        after(memory, *LED, step(4, 2, Act(envelope=1)), step(5, 2, Act(found=lost)))
    with pytest.raises(Violation, match="is led twice"):
        after(memory, *LED, step(6, 1, LEADS))
    with pytest.raises(Violation, match="committed 0"):
        after(memory, step(8, 1, flushes(Marks(0, 1, 0))))
    with pytest.raises(Violation, match="proposed was"):
        after(memory, LED[0], step(7, 2, votes(2, BACK)))


def test_what_was_read_lets_a_replica_let_go():
    memory = checkers()
    reads = Act(read=(2, CheckpointHash(1, "ab" * 32, False, (2, 3))))
    lets_go = flushes(Marks(1, 1, 1))
    after(memory, *LED, step(3, 1, EXECUTES), step(4, 1, reads, lets_go))
    with pytest.raises(Violation, match="confirmed by 0 of 1"):
        after(memory, *LED, step(3, 1, EXECUTES), step(5, 1, lets_go))


def looked_at(**changes):
    """A turn of n1 that executed PAY, with its state at the end."""
    machine = Machine(BALANCES)
    machine.execute(1, [PAY])
    status = replace(
        Replica(1, 3, Settings(), Random(1), BALANCES).status(),
        executed_upto=1,
        committed_upto=1,
        balances=dict(machine.ledger.balances),
        sessions=tuple(machine.sessions.values()),
    )
    done = SimpleNamespace(status=lambda: replace(status, **changes))
    return step(3, 1, EXECUTES, Act(done=done))


WRONG = {
    "balances": {"balances": {"A": 6, "B": 14}},
    "sessions": {"sessions": ()},
    "a slot that was not executed": {"executed_upto": 0, "truncated_upto": 0},
    "executed above committed": {"committed_upto": 0},
    "truncated above executed": {"truncated_upto": 2},
}


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG)
def test_a_state_after_executing_is_held_against_the_slots(changes):
    memory = checkers()
    after(memory, *LED, looked_at())
    with pytest.raises(Violation):
        after(checkers(), *LED, looked_at(**changes))


def test_a_deadline_that_a_tick_does_not_move_is_a_violation(monkeypatch):
    """A real process would spin for ever, and a simulated clock stand still."""
    monkeypatch.setattr(Replica, "deadline", lambda replica: 0)
    outcome = run_seed(0, SwarmOptions(faults=()))
    assert re.search(r"n\d wants to be ticked without end", outcome.violation or "")


def test_some_seeds_have_amounts_of_all_sizes_and_none_more_money_than_is_counted():
    sizes, shares = Counter(), 0
    for seed in range(400):
        scenario = draw(seed, SwarmOptions(faults=()))
        config = scenario.config
        assert len(config.accounts) * config.initial_balance <= MOST_MONEY
        amounts = [operation.request[5] for _, operation in load(scenario)]
        assert max(amounts) < MOST_MONEY
        if scenario.unit == 1:
            assert config.initial_balance == 10 and max(amounts) <= 8
            continue
        shares += 1
        sizes.update({size for size in (8, 16, 32, 53) for one in amounts if one >> size})
        sizes["small"] += any(0 < one <= 8 for one in amounts)
        sizes["no multiple"] += any(one > scenario.unit and one % scenario.unit for one in amounts)
    assert 400 / 12 < shares < 400 / 6
    assert min(sizes.values()) >= 10 and len(sizes) == 6, sizes


@pytest.mark.parametrize(
    ("seed", "kept"),
    [
        (4, lambda a: a & 0xFF),
        (4, lambda a: a & 0xFFFF),
        (8, lambda a: a & 0xFFFF_FFFF),
        (8, lambda a: (a + 2**31) % 2**32 - 2**31),
        (8, lambda a: int(float(a))),
    ],
    ids=["a byte", "two bytes", "four bytes", "four bytes with a sign", "a fraction"],
)
def test_an_amount_of_which_too_few_bits_are_kept_is_a_violation(seed, kept):
    sound = Ledger.apply

    def narrow(self, kind, sender, receiver, amount):
        return sound(self, kind, sender, receiver, kept(amount))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Ledger, "apply", narrow)
        outcome = run_seed(seed, SwarmOptions(nodes=(3,), faults=()))
    assert outcome.violation is not None and re.match(r"slot \d+: .* gave ", outcome.violation)
