"""What the safety checks are told of turns, and how the explorer merges what they remember.

judges_taken_out.txt names what each of these tests guards.
"""

from dataclasses import replace
from random import Random
from types import SimpleNamespace

import pytest

from bank.ballot import Ballot
from bank.effects import Effects, Executed, Persist, Run, Send, Stored
from bank.messages import Accept, Accepted, Commit, NewView, Prepare, Promise, Reply
from bank.replica import Replica
from bank.sessions import Machine
from bank.settings import Settings
from harness.sim import judging
from harness.sim.ghost import Ghosts
from harness.sim.invariants import Violation
from harness.sim.turns import Act, Deed, Letter

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


@pytest.mark.parametrize(
    ("executed", "halted", "is_compared"),
    [((), None, False), ((Executed(4, [PAY], [ANSWER]),), None, True), ((), "differs", True)],
    ids=["idle", "executed", "halted"],
)
def test_the_end_of_a_turn_is_told(executed, halted, is_compared):
    replica = SimpleNamespace(
        replica=2,
        halted=halted,
        log=SimpleNamespace(truncated_upto=3, executed_upto=4, committed_upto=5),
        status=lambda: "status",
    )
    checks = Listening()
    judging.turned(checks, replica, Effects(executed=list(executed)))
    assert checks.heard == [
        ("truncates", 2, 3),
        ("checkpoints", 2, None),
        ("watermarks", 2, 3, 4, 5),
        *[("compare", ["status"])] * is_compared,
    ]


# ---- the explorer's memory -----------------------------------------------------------------------


def ghosts(*messages):
    letters = [Letter(1, 2, message) for message in messages]
    return Ghosts(3, BALANCES, 10, letters)


def deed(number, replica, *acts):
    return Deed(number, replica, acts, (), (), True)


def votes(replica, *requests):
    return Act(persist=Persist(FIRST, 1, True, [Run(1, FIRST, requests)], None, 0, None))


LEADS = Act(flushed=Effects(early=[Send((2, 3), NewView(FIRST, 1, (PAY,), 0))]))
EXECUTES = Act(flushed=Effects(executed=[Executed(1, [PAY], [ANSWER])]))


def after(memory, *deeds):
    ghost = memory.first
    for one in deeds:
        ghost = memory.after(ghost, one)
    return ghost


LED = (deed(1, 1, LEADS, votes(1, PAY)), deed(2, 2, votes(2, PAY)))


def test_equal_memories_are_one_and_others_are_not():
    memory = ghosts()
    once = after(memory, *LED)
    assert once not in (memory.first, after(memory, LED[0]))
    assert memory.after(once, deed(3, 2, votes(2, PAY))) == once
    assert memory.after(once, deed(4, 3, votes(3, PAY))) != once
    assert len(memory) == 4


def test_what_was_executed_and_voted_for_is_remembered_from_deed_to_deed():
    memory = ghosts()
    executed = after(memory, *LED, deed(3, 1, EXECUTES))
    with pytest.raises(Violation, match="slot 1: n2 executed"):
        other = Act(flushed=Effects(executed=[Executed(1, [BACK], [("B", 1, "success", 1)])]))
        memory.after(executed, deed(4, 2, other))
    with pytest.raises(Violation, match="which no quorum"):
        after(memory, LED[0], deed(5, 1, EXECUTES))


def test_a_deed_is_judged_after_what_came_before():
    memory, executes = ghosts(), deed(3, 1, EXECUTES)
    after(memory, *LED, executes)
    with pytest.raises(Violation, match="which no quorum"):
        after(memory, LED[0], executes)


def test_every_act_of_a_deed_is_judged():
    memory = ghosts(Accepted(SECOND, 1, 1, 0), Accepted(FIRST, 1, 1, 0))
    with pytest.raises(Violation, match=r"spoke of \(2, n2\) with"):
        after(memory, *LED, deed(3, 2, Act(letter=0)))
    with pytest.raises(Violation, match="which it claimed in"):
        lost = Stored(FIRST, 1, (), 0, 0, None)
        after(memory, *LED, deed(4, 2, Act(letter=1)), deed(5, 2, Act(found=lost)))
    with pytest.raises(Violation, match="is led twice"):
        after(memory, *LED, deed(6, 1, LEADS))
    with pytest.raises(Violation, match="proposed was"):
        after(memory, LED[0], deed(7, 2, votes(2, BACK)))


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
    return deed(3, 1, EXECUTES, Act(done=done))


WRONG = {
    "balances": {"balances": {"A": 6, "B": 14}},
    "sessions": {"sessions": ()},
    "a slot that was not executed": {"executed_upto": 0, "truncated_upto": 0},
    "executed above committed": {"committed_upto": 0},
    "truncated above executed": {"truncated_upto": 2},
}


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG)
def test_a_state_after_executing_is_held_against_the_slots(changes):
    memory = ghosts()
    after(memory, *LED, looked_at())
    with pytest.raises(Violation):
        after(ghosts(), *LED, looked_at(**changes))
