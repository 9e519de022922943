"""Failures are made small, stay failures of the same kind, and come as files that show them."""

import argparse
import io
import os
import signal
from collections import Counter
from dataclasses import replace

import pytest
from rich.console import Console
from zoo import ANIMALS

from harness.cli import main
from harness.commands import find
from harness.commands.simulate import shrunk
from harness.errors import HarnessError
from harness.sim.columns import LEGEND
from harness.sim.invariants import Violation
from harness.sim.record import Recorded
from harness.sim.scenario import SwarmOptions
from harness.sim.script import ScriptError
from harness.sim.script_runner import play, play_text
from harness.sim.shrink import (
    Plan,
    _smaller_plans,
    described,
    kind_of,
    reduced,
    run_plan,
    shrink,
    started,
)
from harness.sim.swarm import Outcome, Tally, load, run_seed
from harness.sim.world import SimCluster

BROKEN = {animal.wrong: animal for animal in ANIMALS}
FORGETS_PROMISES = BROKEN["it promises, and never writes the promise down"]
FAST = (FORGETS_PROMISES, BROKEN["one vote less than a majority is enough for it"])
SLOW = (
    BROKEN["a PREPARE that was kept is answered without another look at the promise"],
    BROKEN["an ACCEPT of the leader that it follows is taken below its promise"],
)


def ending(path):
    """The last line of what a script leads to; none when it cannot be played to its end."""
    try:
        return list(play(path))[-1].expected[-1]
    except ScriptError:
        return ""


def failing():
    """The first seed that fails, with the mutant at work."""
    outcomes = (run_seed(seed, SwarmOptions()) for seed in range(20))
    return next(outcome for outcome in outcomes if outcome.violation is not None)


@pytest.mark.parametrize(
    ("mutant", "events"),  # so many are enough, by half as many commands: for speed, less is found
    [
        *((mutant, 100_000) for mutant in FAST),
        pytest.param(SLOW[0], 200_000, marks=pytest.mark.slow(10)),
        pytest.param(SLOW[1], 100_000, marks=pytest.mark.slow(10)),
    ],
    ids=[mutant.wrong for mutant in (*FAST, *SLOW)],
)
def test_a_failure_is_made_small_and_shown_by_its_files(mutant, events, tmp_path, monkeypatch):
    monkeypatch.setattr("harness.sim.shrink.MOST_EVENTS", events)
    monkeypatch.setattr("harness.sim.shrink.MOST_COMMANDS", events // 2)
    console = Console(width=200, record=True, file=io.StringIO())
    with mutant.at_work():
        before = failing()
        shrunk.write([(before.seed, before.violation)], SwarmOptions(), tmp_path, console)
        told = console.export_text()
        script = tmp_path / f"seed-{before.seed}.txt"
        assert ending(script).startswith("✗ "), told
    commands = [line for line in script.read_text().splitlines() if line.startswith("deliver")]
    assert len(commands) < 20 < before.events
    assert not ending(script).startswith("✗ "), "the sound replica passes it"
    for file in tmp_path.glob("*.yaml"):
        assert main([str(file), "--sim", "--no-step", "--seed", "1"]) == 0, file.read_text()


def test_large_amounts_go_where_they_do_not_matter():
    plan = Plan(4, SwarmOptions())
    scenario = plan.scenario()
    assert scenario.unit > 1
    (small,) = (one for one in _smaller_plans(plan, scenario) if one.small)
    left = small.scenario()
    assert left.unit == 1 and left.config.initial_balance == 10
    assert max(operation.request[5] for _, operation in load(left)) <= 8
    assert small not in _smaller_plans(small, left)
    drawn = [described(one, Outcome(4, 7, ())) for one in (scenario, left)]
    assert ["large amounts" in text for text in drawn] == [True, False]


def test_ctrl_c_keeps_what_is_smallest_by_then(tmp_path, monkeypatch):
    """A first one; it ends with the exit code of Ctrl-C all the same."""
    looked = []

    def stops(seed, options, violation, watch):
        show = watch.show
        watch.show = lambda left: (looked.append(left), show(left), press(len(looked)))
        return shrink(seed, options, violation, watch)

    def press(times):
        if times == 4:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(shrunk, "shrink", stops)
    console = Console(width=200, record=True, file=io.StringIO())
    with FORGETS_PROMISES.at_work():
        before = failing()
        found = [(before.seed, before.violation), (99, "something else was never reached")]
        with pytest.raises(KeyboardInterrupt):
            shrunk.write(found, SwarmOptions(), tmp_path, console)
        script = tmp_path / f"seed-{before.seed}.txt"
        assert ending(script).startswith("✗ ")
    told = console.export_text()
    assert len(looked) == 4 and "replicas" in looked[0] and "% of the effort" in looked[0]
    assert "stopped: it is as small as it was by then" in told and "seed 99" not in told
    assert str(script) in told


def test_a_terminal_shows_what_is_left_by_now(tmp_path, monkeypatch):
    def looks(seed, options, violation, watch):
        watch.show("3 replicas, 2 clients")
        return shrink(seed, options, violation)

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("harness.sim.shrink.MOST_EVENTS", 1)
    monkeypatch.setattr("harness.sim.shrink.MOST_COMMANDS", 1)
    monkeypatch.setattr(shrunk, "shrink", looks)
    stream = Terminal()
    console = Console(width=120, file=stream, force_terminal=True, color_system="standard")
    with FORGETS_PROMISES.at_work():
        before = failing()
        shrunk.write([(before.seed, before.violation)], SwarmOptions(), tmp_path, console)
    assert "3 replicas, 2 clients" in stream.getvalue()


def test_what_no_script_can_tell_is_told_event_by_event(tmp_path, monkeypatch):
    monkeypatch.setattr(shrunk, "shrink", lambda *words: replace(shrink(*words), story=None))
    with FORGETS_PROMISES.at_work():
        before = failing()
        found = [(before.seed, before.violation)]
        shrunk.write(found, SwarmOptions(), tmp_path, Console(file=io.StringIO()))
    trace = (tmp_path / f"seed-{before.seed}.trace.txt").read_text()
    assert trace.startswith(LEGEND[0])
    assert trace.splitlines()[-1].startswith("✗ n1 spoke of (1, n1)")
    assert not (tmp_path / f"seed-{before.seed}.txt").exists()


MISSED = """# a replica that missed something
nodes 3
elect n1
cut n1->n3
request n1 (A, B, 3)
deliver all
mend all->all
settle all
----
"""


@pytest.mark.parametrize(
    ("wrong", "end"),
    [
        (
            "a replica that misses committed slots never asks for them",
            "✗ replicas are not equal 4 s after all faults stopped: ",
        ),
        ("a leader sends nothing again", ""),  # n1 and n2 have it, and n3 asks
    ],
)
def test_a_script_demands_answers_and_equal_replicas(wrong, end):
    assert list(play_text(MISSED, "x"))[-1].expected[-1][0] != "✗"
    with BROKEN[wrong].at_work():
        last = list(play_text(MISSED, "x"))[-1].expected[-1]
    assert last.startswith(end)
    assert last.startswith("✗") == bool(end)


def test_the_smaller_plan_fails_in_the_same_way():
    with FORGETS_PROMISES.at_work():
        before = failing()
        small = shrink(before.seed, SwarmOptions(), before.violation)
    assert kind_of(small.outcome.violation) == kind_of(before.violation)
    scenario = small.plan.scenario()
    assert (scenario.config.nodes, scenario.kinds, scenario.operations) == (3, (), 1)
    assert small.story.commands == ("elect n1",)
    assert run_plan(small.plan, SimCluster)[0].violation is None


def difference(seed):
    """Where the script of a seed's run ends otherwise than that; None: nowhere."""
    outcome, world = run_plan(Plan(seed, SwarmOptions()), Recorded)
    runner = started(world.head())
    commands, violation = world.commands(), None
    for number, command in enumerate(commands, 1):
        try:
            runner.command(command)
        except Violation as error:
            violation = str(error)
            if number < len(commands):
                return f"{command}: {violation}"
        runner.lines.clear()
    if violation is not None:
        return None if kind_of(violation) == kind_of(outcome.violation) else violation
    for replica, process in world.processes.items():
        same = runner.processes[replica]
        if process.alive != same.alive or state(process) != state(same):
            return f"n{replica}"
    return None


def state(process):
    """All that a replica is and holds, whatever the order of what has none."""
    status, disk = process.replica.status(), process.disk
    sessions = tuple(sorted(status.sessions))
    held = (disk.promised, disk.seen, disk.rows, disk.committed_upto, disk.truncated_upto)
    return replace(status, sessions=sessions), held


@pytest.mark.parametrize("seed", [0, 1, 3, 5])
def test_what_is_recorded_is_played_the_same(seed):
    assert difference(seed) is None


@pytest.mark.long
def test_two_hundred_recorded_seeds_are_played_the_same():
    assert {seed: found for seed in range(200) if (found := difference(seed))} == {}


@pytest.mark.parametrize("mutant", FAST, ids=lambda mutant: mutant.wrong)
def test_a_violation_is_played_where_it_was_recorded(mutant):
    with mutant.at_work():
        assert difference(failing().seed) is None


def test_nothing_that_can_be_left_out_is_left():
    def fails(items):
        return items if {3, 17, 30} <= set(items) else None

    assert list(reduced(range(100), fails)) == [3, 17, 30]
    assert list(reduced([], lambda items: items)) == []
    assert list(reduced([1, 2], lambda items: items)) == []


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (
            "n3 accepts slot 20 in (4, n4) after promising (5, n3)",
            "n1 accepts slot 2 in (1, n1) after promising (2, n2)",
            True,
        ),
        ("(16, n1) is led twice", "(1, n2) is led twice", True),
        ("exactly_once: N's (N, U, 2) was answered", "exactly_once: G's (G) was answered", True),
        ("(1, n2) is led twice", "n3 accepts slot 1 in (1, n1)", False),
        ("replicas are not equal 10 s", "not everything is answered 10 s", False),
    ],
)
def test_kinds_of_violations(one, other, same):
    assert (kind_of(one) == kind_of(other)) is same
    assert kind_of(one)


# ---- the command ---------------------------------------------------------------------------------


def test_the_command_makes_the_first_of_each_kind_small(monkeypatch, tmp_path):
    violations = [(3, "(1, n1) is led twice"), (5, "(2, n3) is led twice"), (9, "nobody leads")]
    tally = Tally(10, 10, Counter(), (0, 0), violations)
    asked = []

    def shrunk(seed, *_):
        asked.append(seed)
        raise OSError("disk full")

    monkeypatch.setattr("harness.commands.simulate.run_seeds", lambda seeds, options: tally)
    monkeypatch.setattr("harness.commands.simulate.shrunk.shrink", shrunk)
    command, parser = find("simulate"), argparse.ArgumentParser()
    command.add_arguments(parser)
    options = parser.parse_args(["--seeds", "0:10", "--shrink", str(tmp_path)])
    with pytest.raises(HarnessError, match="--shrink: disk full"):
        command.run(options, Console(file=io.StringIO()))
    assert asked == [3]
