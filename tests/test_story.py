"""Timeline, explain and diff: told rightly on real runs, word for word on a made-up one."""

from dataclasses import replace
from pathlib import Path

import pytest
from screen_fakes import AFTER, BEFORE, GONE, LIVE, render, set_six, view

from bank.status import Role, SlotMark, SlotStatus
from harness.cluster.driver import CommitLog, Liveness, TraceLine, Traces
from harness.cluster.nemesis import Fail, Recover
from harness.files.config import ClusterConfig
from harness.files.testset import load
from harness.run import story
from harness.run.runner import Runner, StepReport
from harness.run.story import Lane
from harness.screen import stories
from harness.sim.world import SimCluster

TESTSETS = Path(__file__).parents[1] / "testsets"


def run(file, sets=None, **settings):
    """A simulated run of the first `sets` sets of a file: world and runner."""
    config = ClusterConfig(**{"seed": 7, **settings})
    world = SimCluster(config)
    world.start()
    runner = Runner(world, config, load(TESTSETS / file, config))
    for _ in range(runner.remaining if sets is None else sets):
        runner.run_next()
    return world, runner


def timeline(world, runner, poked=()):
    done = [(report, list(report.steps)) for report in runner.reports]
    done[-1][1].extend(poked)
    return story.timeline(world.traces().notes, done, world.replicas)


def life(world, runner, slot):
    return story.life(slot, world.traces(), story.starts_of(runner.reports), world.replicas)


# ---- traces ------------------------------------------------------------------------------------


def line(at, slots="", text="", direction="out", label="ACCEPT", ballot="(1, n1)", peer="all"):
    return TraceLine(at, direction, peer, label, ballot, slots, text)


def note(at, text, slots=""):
    return TraceLine(at, "note", "", "", "", slots, text)


def test_traces_outlive_their_set_as_far_as_they_tell_of_slots():
    traces = Traces([1, 2], 3)
    traces.add(1, [line(1, "4"), line(2), note(3, "leads (1, n1)")])
    traces.new_set(10)
    assert traces.of_set(1) == ((), 0)
    assert [kept.at for kept in traces.of_set_before(1)[0]] == [1, 2, 3]
    traces.add(1, [line(4)])  # what comes late belongs to its own set
    assert [kept.at for kept in traces.of_set_before(1)[0]] == [1, 2, 3, 4]
    traces.add(1, [line(11, "5")])
    assert [kept.at for kept in traces.of_run(1)[0]] == [1, 11]
    assert [(replica, noted.at) for replica, noted in traces.notes] == [(1, 3)]


def test_what_comes_late_belongs_to_the_set_it_happened_in():
    traces = Traces([1], 3)
    traces.new_set(10)
    traces.add(1, [line(9, "4"), line(10, "5")])
    assert [kept.at for kept in traces.of_set(1)[0]] == [10]
    assert [kept.at for kept in traces.of_run(1)[0]] == [9, 10]


def test_traces_are_bounded_and_count_what_they_drop():
    traces = Traces([1], 3)
    for began in (0, 10, 20):
        traces.new_set(began)
        traces.add(1, [note(began, "leads (1, n1)"), *(line(began + i, "4") for i in range(5))])
    assert [kept.at for kept in traces.of_set(1)[0]] == [22, 23, 24] and traces.of_set(1)[1] == 3
    assert [kept.at for kept in traces.of_run(1)[0]] == [12, 13, 14, 22, 23, 24]
    assert traces.of_run(1)[1] == 3 * 3 + 3
    assert len(traces.notes) == 3  # traffic pushes none of them out


# ---- timeline ----------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", ["disconnect", "crash", "pause"])
@pytest.mark.parametrize("file", ["several_leader_failures.csv", "no_quorum_and_recovery.csv"])
def test_after_every_set_the_lanes_are_what_the_cluster_is(file, failure):
    for seed in range(5):
        world, runner = run(file, 0, failure=failure, seed=seed)
        while runner.remaining:
            runner.run_next()
            lanes = timeline(world, runner)[-1].lanes
            leads = [replica for replica, lane in enumerate(lanes, 1) if lane is Lane.LEADS]
            leader = world.leader()
            # Who leads without a quorum does not know it yet.
            assert leads == [leader] or (leader is None and len(leads) <= 1)
            away = [world.liveness(r) is not Liveness.LIVE for r in range(1, 6)]
            assert [lane is Lane.AWAY for lane in lanes] == away


def test_failures_and_returns_have_their_cause_and_end_a_leadership():
    world, runner = run("leader_failure.csv", 2)
    events = timeline(world, runner, runner.poke(Recover(1)))
    told = [(e.set_number, e.replica, e.what, e.cause) for e in events]
    assert told == [
        (1, 1, "stands", ""),
        (1, 1, "leads", ""),
        (2, 1, "disconnected", "LF"),
        (2, 4, "stands", ""),
        (2, 4, "leads", ""),
        (2, 1, "returns", "R(n1)"),
    ]
    assert events[2].led is not None and events[4].leaderless is not None
    assert events[5].lanes == (Lane.IN_NAME, Lane.FOLLOWS, Lane.FOLLOWS, Lane.LEADS, Lane.FOLLOWS)


def test_a_leader_that_nobody_replaced_goes_on():
    world, runner = run("leader_failure.csv", 1)
    for poke in (Fail(1), Recover(1)):
        runner.poke(poke)
    assert [event.lanes[0] for event in timeline(world, runner)][-2:] == [Lane.AWAY, Lane.LEADS]


def test_a_leader_that_crashed_returns_as_a_backup():
    world, runner = run("leader_failure.csv", 1, failure="crash")
    for poke in (Fail(1), Recover(1)):
        runner.poke(poke)
    assert timeline(world, runner)[-1].lanes == (Lane.FOLLOWS,) * 5


def test_a_poke_that_brings_a_quorum_back_answers_what_waited():
    world, runner = run("no_quorum_and_recovery.csv", 1)
    while not world.pending():
        runner.run_next()
    waiting = len(world.pending())
    down = [r for r in range(1, 6) if world.liveness(r) is not Liveness.LIVE]
    poked, *answered = runner.poke(Recover(down[0]))
    assert (poked.label, poked.outcome, poked.node) == ("+", "done", down[0])
    assert len(answered) == waiting and not world.pending()
    assert {step.outcome for step in answered} <= {"success", "failed"}
    number = runner.reports[-1].number
    assert all(step.label.startswith(f"{number}.") for step in answered)


# ---- explain -----------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", ["disconnect", "crash", "pause"])
def test_every_committed_slot_was_chosen_before_it_was_executed(failure):
    world, runner = run("several_leader_failures.csv", failure=failure)
    for slot in world.committed.slots:
        deeds = life(world, runner, slot).deeds
        whats = [deed.what for deed in deeds]
        assert whats.index("a quorum holds it: chosen") < whats.index(story.EXECUTES)
        executed = {r for deed in deeds if deed.what == story.EXECUTES for r in deed.replicas}
        assert executed == {r for r in range(1, 6) if world.executed_upto(r) >= slot}


def test_a_slot_that_a_new_leader_takes_over_has_two_ballots():
    lines = {
        1: [line(10, "4-5", "(A, B, 1), (C, D, 2)")],
        2: [
            line(11, "4", direction="out", label="ACCEPTED", peer="n1"),
            line(20, "4", "no-op", label="NEW-VIEW", ballot="(2, n2)"),
            note(21, "executes", "4"),
            note(40, "leads (3, n3)"),
        ],
        3: [line(22, "1-4", label="ACCEPTED", peer="n2", ballot="(2, n2)"), line(23, "5")],
    }
    traces = Traces(lines, 100)
    for replica, told in lines.items():
        traces.add(replica, told)
    lived = story.life(4, traces, [(0, 1)], 3)
    assert [(deed.replicas, deed.what, deed.ballot) for deed in lived.deeds] == [
        ((1,), "proposes it", "(1, n1)"),
        ((2,), "accepts it", "(1, n1)"),
        ((), "a quorum holds it: chosen", "(1, n1)"),
        ((2,), "takes it into its NEW-VIEW: no-op", "(2, n2)"),
        ((2,), story.EXECUTES, ""),
        ((3,), "accepts it", "(2, n2)"),
    ]
    assert list(map(str, lived.later)) == ["(3, n3)"]


def test_who_has_a_slot_is_told_of_it_in_vain():
    traces = Traces([1, 2, 3], 100)
    told = [line(p, "4", direction="in", label="STATE", peer=f"n{p}") for p in (2, 3)]
    traces.add(1, [told[0], note(2, "executes", "3-4"), told[1]])
    whats = [deed.what for deed in story.life(4, traces, [(0, 1)], 3).deeds]
    assert whats == ["is told of it by n2", story.EXECUTES]


# ---- diff --------------------------------------------------------------------------------------


def slots_of(**others):
    """A reader of logs: `others` by replica and slot, "n1_4"; everything else is the same."""

    def read(replica, slots):
        request = ("A", 1, "transfer", "A", "B", 1)
        return [
            others.get(f"n{replica}_{slot}", SlotStatus(slot, SlotMark.EXECUTED, None, request))
            for slot in slots
        ]

    return read


def test_the_same_replicas_do_not_differ():
    world, runner = run("tour.csv")
    live = [v for v in runner.reports[-1].views if v.liveness is LIVE and v.status.role.value]
    compared = story.compare(live[0], live[1], world.slots)
    assert compared == story.Compared((), None, None)


def test_who_was_away_differs_from_the_first_slot_it_missed():
    world, _ = run("leader_failure.csv", 2)
    views = world.views()
    compared = story.compare(views[0], views[3], world.slots)
    assert [pair.slot for pair in compared.first_slot] == [4, 4]
    assert compared.contradiction is None
    assert {d.what for d in compared.differences} >= {"promised", "executed up to", "balance C"}


def test_another_request_in_an_executed_slot_is_a_contradiction():
    one, other = view(1, AFTER), view(2, AFTER)
    wrong = SlotStatus(15, SlotMark.EXECUTED, None, ("B", 1, "transfer", "B", "A", 1))
    compared = story.compare(one, other, slots_of(n2_15=wrong))
    assert compared.contradiction[1] is wrong
    shown = render(stories.difference(one, other, compared), 80)
    assert "✗ they executed slot 15 differently: (A, B, 1) and (B, A, 1)" in shown


def test_another_state_after_the_same_slots_is_one_too():
    one, other = view(1, AFTER), view(2, {**AFTER, "A": 3}, digest="ff")
    shown = render(stories.difference(one, other, story.compare(one, other, slots_of())), 80)
    assert "✗ they executed as much and hold different states" in shown


def test_what_is_truncated_is_compared_by_its_mark_only():
    gone = SlotStatus(8, SlotMark.EXECUTED, None, None)
    one, other = view(1, AFTER, truncated_upto=8), view(2, AFTER, truncated_upto=7)
    compared = story.compare(one, other, slots_of(n1_8=gone))
    assert compared.first_slot is None and compared.contradiction is None


# ---- at every width, word for word -------------------------------------------------------------


def made_up():
    """Everything that the three tables can show; a golden file of `test_tables` holds it."""
    notes = [
        (1, note(1_000, "candidate in (1, n1)")),
        (1, note(2_000, "leads (1, n1)")),
        (2, note(3_000, "follows (1, n1)")),
        (2, note(300_000, "candidate in (2, n2)")),
        (2, note(340_000, "leads (2, n2)")),
        (1, note(1_000_200, "deposed")),
        (3, note(1_100_000, "candidate in (3, n3)")),
        (3, note(1_200_000, "deposed")),
        (2, note(1_500_000, "steps down: no quorum answers")),
    ]
    notes += [
        (5, note(0, "crashed")),
        (1, note(40_000, "disconnected")),
        (1, note(1_000_100, "returns")),
        (4, note(1_400_000, "stopped")),
    ]
    failure = StepReport("2", "LF", "done", node=1, begun_us=39_000)
    sets = [replace(set_six(), number=1, started_at=0, steps=(failure,))]
    sets += [replace(set_six(), number=12, started_at=1_000_000, steps=())]
    events = story.timeline(notes, [(report, report.steps) for report in sets], 5)
    deeds = (
        story.Deed(1, 300, 300, (1,), "proposes it", "(1, n1)"),
        story.Deed(1, 400, 410, (2, 3, 4, 5), "accepts it", "(1, n1)"),
        story.Deed(1, 410, 410, (), "a quorum holds it: chosen", "(1, n1)"),
        story.Deed(12, 5_000, 5_000, (2,), "takes it into its NEW-VIEW: (A, B, 1)", "(2, n2)"),
        story.Deed(12, 5_100, 2_005_100, (1, 2, 3), story.EXECUTES, ""),
    )
    status = SlotStatus(16, SlotMark.EXECUTED, None, ("A", 16, "transfer", "A", "B", 1))
    statuses = dict.fromkeys(range(1, 5), status) | {5: replace(status, mark=SlotMark.NONE)}
    log = CommitLog({16: (status.request, "success"), 20: (status.request, "success")})
    step = StepReport("3", "(A, B, 1)", "success", None, 16, None, 402_000)
    lived = story.Life(deeds, (story.ballot_in("(3, n3)"), story.ballot_in("(4, n1)")))
    one = view(1, BEFORE, GONE, Role.LEADER, 14, was_leader=True)
    other = view(2, AFTER)
    compared = story.compare(one, other, slots_of())
    return [
        stories.timeline(events, 5),
        stories.life(16, lived, statuses, log, [(12, step)], 7),
        stories.life(99, story.Life((), ()), {}, log, [], 0),
        stories.difference(one, other, compared),
        stories.difference(one, one, story.compare(one, one, slots_of())),
    ]


def test_a_long_timeline_shows_its_end():
    notes = [(1, note(at, "disconnected" if at % 2 else "returns")) for at in range(500)]
    shown = render(stories.timeline(story.timeline(notes, [(set_six(), ())], 5), 5), 80)
    assert "300 earlier events not shown" in shown
    assert len(shown.splitlines()) == stories.MOST_EVENTS + 3
