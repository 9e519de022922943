"""Exploration sees everything within its bounds, twice the same, and catches broken replicas."""

import io
from argparse import ArgumentParser
from itertools import chain

import catalogue
import pytest
from rich.console import Console

from bank.events import AskedSpare, AskedWhoIsFree
from bank.messages import Accepted, Commit
from bank.replica import Replica
from bank.standing import Awaiting, Candidate, Leader, Settled
from harness.commands import explore
from harness.errors import HarnessError
from harness.sim.explore import Exploration, Explorer
from harness.sim.explore.frozen import Timer, freeze, still, thaw
from harness.sim.explore.graph import Bounds, Budget, Graph
from harness.sim.explore.reductions import ALL, NONE
from harness.sim.explore.schedule import script

SOUND = {
    "two requests": Bounds(),
    "a lost message": Bounds(budget=Budget(drops=1)),
    "a crash anywhere": Bounds(requests=1, budget=Budget(crashes=1)),
    "a retry": Bounds(requests=1, budget=Budget(drops=1, retries=1)),
    "turns of two messages": Bounds(requests=1, budget=Budget(drops=1, batches=1)),
    "no queues": Bounds(requests=1, budget=Budget(drops=1), reorder=True),
    "heartbeats": Bounds(requests=1, budget=Budget(drops=1, heartbeats=1)),
    "checkpoints": Bounds(budget=Budget(elections=0), elected=True, checkpoint_interval=1),
    "promised in vain": Bounds(nodes=2, requests=0, budget=Budget(elections=4), elected=True),
    "put off": Bounds(
        requests=1, budget=Budget(elections=0, heartbeats=2), elected=True, puts_off=True
    ),
    "pieces and hashes of one": Bounds(
        nodes=2,
        budget=Budget(elections=0, heartbeats=1),
        elected=True,
        checkpoint_interval=1,
        is_small=True,
    ),
    "two replicas": Bounds(nodes=2, requests=1, budget=Budget(elections=2, crashes=1)),
    "one replica": Bounds(nodes=1, budget=Budget(elections=2, crashes=2)),
}


SEEN = {  # timers that run out and events that replicas decide, in some schedule
    "promised in vain": {Timer.HUSHED, AskedWhoIsFree},  # asks who is free, and may keep quiet
    "put off": {Timer.SPARE, AskedSpare},  # spare backups are asked later
}


@pytest.mark.parametrize("name", SOUND)
def test_no_schedule_within_the_bounds_breaks_the_replica(name):
    explorer = Explorer(SOUND[name])
    found = explorer.run()
    assert found.violation is None
    assert found.complete
    assert found.states > 10
    assert (found.unlike, found.heeded, found.distrusted) == (None, None, None)
    seen = reached(explorer)
    assert SEEN.get(name, set()) <= seen
    assert name == "put off" or not SEEN["put off"] & seen


def reached(explorer):
    """Timers that ran out and events that replicas decided, in any schedule."""
    turns = [taken for taken in explorer.graph.turns.known if taken]
    timers = {Timer(code) for taken in turns for code in taken if code < 0}
    acts = (act for taken in turns for turn in taken.values() for act in turn.step.acts)
    flushed = (act.flushed[0] for act in acts if act.flushed is not None)
    return timers | {type(event) for effects in flushed for event in effects.events}


def test_same_bounds_same_figures():
    bounds = Bounds(requests=1, budget=Budget(drops=1, retries=1))
    first, second = Explorer(bounds).run(), Explorer(bounds).run()
    assert (first.states, first.transitions, first.depth) == (
        second.states,
        second.transitions,
        second.depth,
    )


def test_more_budget_never_means_fewer_states():
    one = Explorer(Bounds(requests=1)).run()
    two = Explorer(Bounds(requests=1, budget=Budget(drops=1))).run()
    assert two.states > one.states


def test_walk_out_of_time_is_not_complete():
    found = Explorer(Bounds(budget=Budget(drops=3, crashes=3, elections=5))).run(seconds=0.001)
    assert not found.complete
    assert found.violation is None
    assert found.waiting > 0


def test_thawed_replica_is_the_frozen_one():
    explorer = Explorer(Bounds(elected=True))
    graph = explorer.graph
    replica = graph.turns.replica(graph.sites[graph.first_state()[0]].own)
    assert replica.role.value == "leader"
    frozen = freeze(replica)
    assert freeze(thaw(frozen)) == frozen
    still(replica)
    assert freeze(replica) == frozen


# ---- broken replicas ---------------------------------------------------------------------------

ELECTED = Bounds(budget=Budget(elections=1), elected=True)
RETRIED = Bounds(requests=1, budget=Budget(retries=1))
BROKEN = {
    "it promises, and never writes the promise down": (Bounds(), "on disk"),
    "ACK leaves before its promise is durable": (Bounds(), "on disk"),
    "one vote less than a majority is enough for it": (ELECTED, "slot"),
    "it commits what its NEW-VIEW carries the moment it sends it": (
        Bounds(requests=1, budget=Budget(elections=1), elected=True),
        "which no quorum holds",
    ),
    "after a restart it takes up the ballot that it led before": (
        Bounds(requests=1, budget=Budget(elections=2, crashes=1)),
        "led twice",
    ),
    "the leader answers when it proposes, with what the request will give if all goes well": (
        Bounds(),
        "never executed",
    ),
    "a retry of a request in flight gets a second slot, and both are executed": (RETRIED, "slot 2"),
    "a NEW-VIEW below the promise is followed": (ELECTED, "(1, n1)"),
}
MUTANTS = {mutant.wrong: mutant for mutant in catalogue.read()}


@pytest.mark.parametrize("wrong", BROKEN)
def test_broken_replica_is_caught_with_a_script(wrong):
    bounds, reason = BROKEN[wrong]
    with MUTANTS[wrong].at_work():
        explorer = Explorer(bounds)
        found = explorer.run()
        lines = script(explorer.graph, found.schedule)
    assert found.violation is not None and found.distrusted is None
    assert reason in found.violation
    numbers = [line for line in lines if line[:3].strip().isdigit() and int(line[:3])]
    assert len(numbers) == len(found.schedule)
    assert not Explorer(bounds).run(seconds=0.1).violation


class ReadsOn(Replica):
    """Wrong only at the step after it stood again and read on in the same turn."""

    again = False

    def step(self, source, message, now):
        assert not self.again, "it stood again and reads on"
        led = isinstance(self.standing, Leader)
        super().step(source, message, now)
        self.again = led and isinstance(self.standing, Candidate)

    def flush(self):
        self.again = False
        return super().flush()


@pytest.mark.parametrize("reductions", [ALL, NONE], ids=["reduced", "all"])
def test_a_leader_that_stands_again_and_reads_on_is_counted_once(reductions):
    budget = Budget(elections=1, batches=1, comebacks=1)
    bounds = Bounds(requests=1, elected=True, budget=budget)
    found = Explorer(bounds, ReadsOn, reductions).run()
    assert "it stood again and reads on" in (found.violation or "")


def test_reading_on_pays_for_no_comeback():
    budget = Budget(batches=1, heartbeats=1)
    explorer = Explorer(Bounds(requests=0, elected=True, budget=budget))
    assert explorer.run().complete
    graph, paid = explorer.graph, set()
    for before, sites in zip(graph.lefts, graph._events, strict=True):
        for event in chain.from_iterable(sites.values()):
            if (code := event.moves[-1].code) >= 0:
                paid.add((code & 1, before[-1] - graph.lefts[event.left][-1]))
    assert paid == {(0, 0), (1, 0), (0, 1)}


def test_a_budget_covers_no_other_with_more_of_any_kind():
    graph = Graph(Bounds(budget=Budget(drops=1, crashes=1)))
    drop, crash = (graph.lefts.index((*left, 1, 0, 0, 0, 1)) for left in ((1, 0), (0, 1)))
    assert drop not in graph.covers[crash] and crash not in graph.covers[drop]


class Refuses(Replica):
    """Wrong where n2, once it follows, hears of a commit."""

    def step(self, source, message, now):
        super().step(source, message, now)
        assert not (
            self.replica == 2 and isinstance(message, Commit) and isinstance(self.standing, Settled)
        ), "it heard"


def test_more_of_the_budget_one_event_later_does_not_hide_the_shortest_schedule():
    bounds = Bounds(nodes=2, requests=1, budget=Budget(drops=1, crashes=1))
    explorer = Explorer(bounds, Refuses, NONE)
    found = explorer.run()
    assert len(found.schedule) == 9, script(explorer.graph, found.schedule)


class WrongTwice(Replica):
    """Wrong where a leader's election timer runs out, and where a leader counts a vote."""

    def tick(self, now):
        led = isinstance(self.standing, Leader)
        super().tick(now)
        assert not led or isinstance(self.standing, Leader), "a leader gave up"

    def step(self, source, message, now):
        super().step(source, message, now)
        counted = isinstance(message, Accepted) and isinstance(self.standing, Leader)
        assert not counted, "it heard a vote"


@pytest.mark.parametrize("reductions", [ALL, NONE], ids=["reduced", "all"])
def test_a_schedule_is_told_to_its_end_whatever_else_would_break_the_replica(reductions):
    explorer = Explorer(Bounds(nodes=2, requests=1), WrongTwice, reductions)
    found = explorer.run()
    assert "it heard a vote" in found.violation
    last = [line for line in script(explorer.graph, found.schedule) if line[:3].strip()][-1]
    assert last == f"{len(found.schedule):3}. n1 gets from n2: ACCEPTED (1, n1)"


class Impatient(Replica):
    """Wrong where it stands though it awaits a NEW-VIEW."""

    def tick(self, now):
        waits = isinstance(self.standing, Awaiting)
        super().tick(now)
        assert not waits or not isinstance(self.standing, Candidate), "it stands though it waits"


@pytest.mark.parametrize("reductions", [ALL, NONE], ids=["reduced", "all"])
def test_an_undisturbed_election_is_not_broken_by_what_could_disturb_it(reductions):
    elected = Bounds(nodes=2, requests=0, elected=True)
    found = Explorer(elected, Impatient, reductions).run()
    assert found.complete and found.violation is None


# ---- the command -------------------------------------------------------------------------------


def command(*flags):
    parser = ArgumentParser()
    explore.add_arguments(parser)
    out = io.StringIO()
    code = explore.run(parser.parse_args(flags), Console(file=out, width=80))
    return code, out.getvalue()


@pytest.mark.parametrize(
    ("flags", "reductions", "figures"),
    [
        (
            (),
            "other names, orders, said before, past elections, passed through",
            "6 states kept, 25 transitions, depth 14",
        ),
        (("--all",), "none", "424 states kept, 963 transitions, depth 17"),
        (
            ("--nodes", "2"),
            "other names, orders, said before, past elections, passed through",
            "\n1 state kept, 10 transitions, depth 9",
        ),
    ],
    ids=["reduced", "all", "one"],
)
def test_command_says_what_it_saw(flags, reductions, figures):
    code, out = command("--requests", "1", *flags)
    assert code == 0
    assert "✓ no violation: every schedule within the bounds was seen" in out
    assert "Not explored: pauses, disconnects and cut links; messages that come twice" in out
    assert f"reductions: {reductions}; states are kept whole, so none passed for another" in out
    assert figures in out


def test_command_says_when_a_leader_would_have_stood_again():
    flags = ("--nodes", "2", "--requests", "1", "--elected")
    for most, said in (("0", True), ("9", False)):
        _, out = command(*flags, "--comebacks", most)
        assert ("Not explored: more than 0 leaders that stand again when outbid" in out) is said


def test_command_that_ran_out_of_time_says_unknown():
    code, out = command("--drops", "3", "--crashes", "2", "--elections", "4", "--seconds", "0.01")
    assert code == 3
    assert "? unknown: time ran out" in out


def test_command_prints_the_shortest_schedule():
    with MUTANTS["it promises, and never writes the promise down"].at_work():
        code, out = command("--requests", "1")
    assert code == 1
    assert "  1. n1 gets from client: REQUEST (A, Z, 6)" in out
    assert "✗ violation after 2 events: n1 spoke of (1, n1)" in out


def test_a_violation_without_a_schedule_is_told_as_such():
    told, code = explore._verdict(Exploration(violation="it broke", is_told=False))
    assert told.startswith("✗ violation: it broke (time ran out before a schedule") and code == 1
    told, code = explore._verdict(Exploration(suspected="it broke"))
    assert told.startswith("? unknown: time ran out") and "it broke" in told and code == 3


def test_command_names_every_bad_flag():
    with pytest.raises(HarnessError) as error:
        command("--nodes", "0", "--drops", "-1", "--seconds", "0")
    assert [problem.split(":")[0] for problem in error.value.problems] == [
        "--nodes",
        "--drops",
        "--seconds",
    ]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (
            ("--drops", str(10**20)),
            "--drops, --elections, --comebacks: more than a thousand million",
        ),
        (
            ("--drops", "49", "--crashes", "49"),
            "--drops, --crashes, --elections, --comebacks: 10000 ways",
        ),
    ],
)
def test_more_than_can_be_spent_is_refused(flags, told):
    with pytest.raises(HarnessError, match=told):
        command(*flags)
