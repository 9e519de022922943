"""Timeline, explain and diff: told rightly on real runs, word for word on a made-up one."""

from dataclasses import replace
from pathlib import Path

import pytest
from screen_fakes import AFTER, BEFORE, GONE, LIVE, render, reported, sent, set_six, view

from bank.ballot import Ballot
from bank.events import BecameCandidate, Follows, Leads, Reason, SteppedDown
from bank.messages import Accept, Accepted, NewView, Prepare, State
from bank.sessions import NOOP_REQUEST
from bank.status import Role, SlotMark, SlotStatus
from harness.cluster.driver import LOG, CommitLog
from harness.cluster.journal import Entry, Executed, Liveness, LivenessChanged, Traces, Way
from harness.cluster.nemesis import Fail, Recover
from harness.cluster.wording import request_text
from harness.files.cases import Command, Wait
from harness.files.config import ClusterConfig
from harness.files.testset import load
from harness.run import story
from harness.run.runner import Runner
from harness.run.story import Chosen, Deed, Doing, Lane
from harness.screen import stories
from harness.screen.looking import Looks
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


def test_replicas_that_did_not_start_have_no_timeline():
    stopped = 1, Entry(5, LivenessChanged(Liveness.STOPPED))
    assert story.timeline([stopped], [], 3) == []


def timeline(world, runner, poked=()):
    done = [(report, list(report.steps)) for report in runner.reports]
    done[-1][1].extend(poked)
    return story.timeline(world.traces().events, done, world.replicas)


def life(world, runner, slot):
    return story.life(slot, world.traces(), story.starts_of(runner.reports), world.replicas)


# ---- traces ------------------------------------------------------------------------------------


FIRST, NEXT, THIRD = Ballot(1, 1), Ballot(2, 2), Ballot(3, 3)
PAY, OTHER = ("A", 1, "transfer", "A", "B", 1), ("C", 1, "transfer", "C", "D", 2)


def proposed(at, slot, *requests):
    return sent(Way.SENT, (), Accept(FIRST, slot, requests or (PAY,), 0), at)


def test_traces_outlive_their_set_as_far_as_they_tell_of_slots():
    traces = Traces([1, 2], 4)
    asked = sent(Way.SENT, (), Prepare(FIRST, 0), 2)
    traces.add(1, [proposed(1, 4), asked, Entry(3, Leads(FIRST))])
    traces.new_set(10)
    assert traces.of_set(1) == ((), 0)
    assert [kept.at for kept in traces.of_set_before(1)[0]] == [1, 2, 3]
    traces.add(1, [asked._replace(at=4)])  # what comes late belongs to its own set
    assert [kept.at for kept in traces.of_set_before(1)[0]] == [1, 2, 3, 4]
    traces.add(1, [proposed(11, 5)])
    assert [kept.at for kept in traces.of_run(1)[0]] == [1, 11]
    assert [(replica, noted.at) for replica, noted in traces.events] == [(1, 3)]


def test_what_comes_late_belongs_to_the_set_it_happened_in():
    traces = Traces([1], 3)
    traces.new_set(10)
    traces.add(1, [proposed(9, 4), proposed(10, 5)])
    assert [kept.at for kept in traces.of_set(1)[0]] == [10]
    assert [kept.at for kept in traces.of_run(1)[0]] == [9, 10]


def test_traces_are_bounded_and_count_what_they_drop():
    traces = Traces([1], 3)
    for began in (0, 10, 20):
        traces.new_set(began)
        traces.add(1, [Entry(began, Leads(FIRST)), *(proposed(began + i, 4) for i in range(5))])
    assert [kept.at for kept in traces.of_set(1)[0]] == [22, 23, 24] and traces.of_set(1)[1] == 3
    assert [kept.at for kept in traces.of_run(1)[0]] == [12, 13, 14, 22, 23, 24]
    assert traces.of_run(1)[1] == 3 * 3 + 3
    assert len(traces.events) == 3  # traffic pushes none of them out


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
        (1, 1, BecameCandidate(FIRST), ""),
        (1, 1, Leads(FIRST), ""),
        (2, 1, LivenessChanged(GONE), "LF"),
        (2, 4, BecameCandidate(Ballot(2, 4)), ""),
        (2, 4, Leads(Ballot(2, 4)), ""),
        (2, 1, LivenessChanged(LIVE), "R(n1)"),
    ]
    assert events[2].led is not None and events[4].leaderless is not None
    assert events[5].lanes == (Lane.IN_NAME, Lane.FOLLOWS, Lane.FOLLOWS, Lane.LEADS, Lane.FOLLOWS)


def test_a_wait_at_the_prompt_is_done_and_belongs_to_the_set_before():
    seen = []
    world, runner = run("leader_failure.csv", 1)
    runner._on_progress = seen.append
    (step,) = runner.poke(Wait(150_000))
    assert world.leader() is not None
    assert (step.text, step.outcome) == ("wait 150 ms", "done")
    assert {(told.set_number, told.position) for told in seen} == {(1, 1)}


def test_what_is_cancelled_was_as_long_as_it_lasted():
    world, runner = run("no_quorum_and_recovery.csv", 2)
    began = world.now()
    (step,) = runner.poke(Wait(5_000_000), lambda: world.now() - began > 30_000)
    assert 30_000 < step.action.duration <= 100_000
    assert runner.poked[-1].action == step.action and step.text == "wait 100 ms"
    (asked, *_) = runner.poke(Command("transfer", "A", "B", 1), lambda: True)
    assert asked.outcome in ("pending", "success")


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
        kinds = [deed.doing.kind for deed in deeds]
        assert kinds.index(Chosen) < kinds.index(Executed)
        executed = {r for deed in deeds if deed.doing.kind is Executed for r in deed.replicas}
        assert executed == {r for r in range(1, 6) if world.executed_upto(r) >= slot}


def test_a_slot_that_a_new_leader_takes_over_has_two_ballots():
    lines = {
        1: [proposed(10, 4, PAY, OTHER)],
        2: [
            sent(Way.SENT, (1,), Accepted(FIRST, 4, 4, 0), 11),
            sent(Way.SENT, (), NewView(NEXT, 4, (NOOP_REQUEST,), 3), 20),
            Entry(21, Executed((4, 4))),
            Entry(40, Leads(THIRD)),
        ],
        3: [sent(Way.SENT, (2,), Accepted(NEXT, 1, 4, 0), 22), proposed(23, 5)],
    }
    traces = Traces(lines, 100)
    for replica, told in lines.items():
        traces.add(replica, told)
    lived = story.life(4, traces, [(0, 1)], 3)
    assert [(deed.replicas, deed.doing) for deed in lived.deeds] == [
        ((1,), Doing(Accept, FIRST, request=PAY)),
        ((2,), Doing(Accepted, FIRST)),
        ((), Doing(Chosen, FIRST, request=PAY)),
        ((2,), Doing(NewView, NEXT, request=NOOP_REQUEST)),
        ((2,), Doing(Executed)),
        ((3,), Doing(Accepted, NEXT)),
        ((), Doing(Chosen, NEXT, request=NOOP_REQUEST)),  # a second value: that must never be
    ]
    assert lived.values == {FIRST: PAY, NEXT: NOOP_REQUEST}
    assert lived.later == (THIRD,)


def test_a_proposal_that_is_sent_again_is_one_deed_also_where_it_was_not_kept():
    traces = Traces([1, 2, 3], 100)
    several = tuple((c, 1, "transfer", c, "A", 1) for c in "DEFGHIJKL")  # more than are kept
    before = proposed(12, 4 - len(several), *several, PAY)
    traces.add(1, [proposed(10, 4, PAY), proposed(11, 4, PAY), before])
    deeds = [deed.doing for deed in story.life(4, traces, [(0, 1)], 3).deeds]
    assert deeds == [Doing(Accept, FIRST, request=PAY)]


def told_of(values, executed):
    """What explain shows of slot 4: proposed in these ballots, executed as that."""
    deeds = tuple(Deed(1, 1, 1, (1,), Doing(Accept, b, request=v)) for b, v in values.items())
    deeds += (Deed(1, 1, 1, tuple(executed), Doing(Executed)),)
    statuses = {
        replica: SlotStatus(4, SlotMark.EXECUTED, FIRST, value)
        for replica, value in executed.items()
    }
    log = CommitLog({4: (next(iter(executed.values())), "success")})
    shown = stories.life(4, story.Life(deeds, (), values), statuses, log, [], 0)
    return " ".join(render(shown, 80).split())


def test_several_values_of_one_slot_are_told_apart():
    text = told_of({FIRST: PAY, NEXT: OTHER}, {1: PAY, 2: OTHER})
    pay, other = request_text(PAY), request_text(OTHER)
    assert f"✗ n1 executed {pay}, n2 executed {other}" in text
    assert f"n1 proposes {pay} " in text and f"n1 proposes {other} " in text
    assert f"n1 commits and executes {pay}" in text
    assert f"n2 commits and executes {other}" in text
    twice = told_of({FIRST: PAY, NEXT: (PAY[0], 9, *PAY[2:])}, {1: PAY})
    assert f"proposes {pay} (request 9)" in twice and "✗" not in twice


def test_a_single_value_of_a_slot_is_just_that():
    text = told_of({FIRST: PAY, NEXT: PAY}, {1: PAY, 2: PAY})
    assert text.count("proposes it") == 2 and "n1 n2 commit and execute it" in text
    assert "✗" not in text


def test_who_has_a_slot_is_told_of_it_in_vain():
    traces = Traces([1, 2, 3], 100)
    told = [sent(Way.READ, (p,), State(4, (FIRST,), (PAY,), 4), p) for p in (2, 3)]
    traces.add(1, [told[0], Entry(2, Executed((3, 4))), told[1]])
    doings = [deed.doing for deed in story.life(4, traces, [(0, 1)], 3).deeds]
    assert doings == [Doing(State, peers=(2,)), Doing(Executed)]


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
    told = ("promises", "log", "balances", "sessions")
    assert compared == story.Compared((), None, None, None, told)


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


def test_who_tells_fewer_balances_is_not_told_to_be_equal():
    one, other = view(1, AFTER), view(2, {k: v for k, v in AFTER.items() if k != "A"})
    shown = render(stories.difference(one, other, story.compare(one, other, slots_of())), 80)
    assert "balance A" in shown and "✓" not in shown
    assert "? they executed as much; what only one of them tells cannot be compared" in shown


@pytest.mark.parametrize(
    ("word", "arguments", "said"),
    [
        ("printslots", ["n1"], "n1 does not tell its log"),
        ("printstatus", ["1-3"], "no replica tells its log"),
        ("explain", ["99"], "no replica tells its log"),
        ("diff", ["n1", "n2"], "? they tell nothing that could be compared"),
    ],
)
def test_of_who_tells_nothing_no_slot_is_said_to_be_empty(word, arguments, said, monkeypatch):
    world, runner = run("tour.csv", 1)
    fields = ("promised", "balances", "sessions", "executed_upto", "committed_upto", LOG)
    views = [replace(each, untold=frozenset(fields)) for each in world.views()]
    monkeypatch.setattr(world, "views", lambda: views)
    looks = Looks(world, ClusterConfig(), lambda: [(runner.reports[0], ())])
    assert said in render(looks.answer(word, arguments), 80)


SAME = "✓ n1 and n2 do not differ"


@pytest.mark.parametrize(
    ("untold", "changes", "said"),
    [
        (("sessions", "digest"), {}, f"{SAME}: promises, log, balances"),
        (("promised", "following", "log", "sessions", "digest"), {}, f"{SAME}: balances"),
        (("executed_upto", "committed_upto", "sessions"), {}, f"{SAME}: promises, log, balances"),
        (("promised", "following", "log", "balances", "sessions"), {},
         "? they tell nothing that could be compared"),
        (("digest",), {"balances": {**AFTER, "A": 3}}, "✗ they executed as much and hold"),
        (("executed_upto",), {"balances": {**AFTER, "A": 3}}, "? how far both executed is not"),
        (("log",), {"executed_upto": 3}, "? n2 is 13 slots behind; what both executed is not told"),
        (("balances", "sessions"), {"promised": Ballot(9, 1)}, "✓ they executed the same slots\n"),
    ],
)  # fmt: skip
def test_what_is_not_told_is_not_said_to_be_equal(untold, changes, said):
    one, other = view(1, AFTER), view(2, AFTER)
    other = replace(other, status=replace(other.status, **changes), untold=frozenset(untold))
    shown = render(stories.difference(one, other, story.compare(one, other, slots_of())), 80)
    assert said in f"{shown}\n", shown


def test_what_is_truncated_is_compared_by_its_mark_only():
    gone = SlotStatus(8, SlotMark.EXECUTED, None, None)
    one, other = view(1, AFTER, truncated_upto=8), view(2, AFTER, truncated_upto=7)
    compared = story.compare(one, other, slots_of(n1_8=gone))
    assert compared.first_slot is None and compared.contradiction is None


def test_logs_of_any_length_are_compared_in_bounded_time(monkeypatch):
    """Other people's replicas may tell any number as a slot."""
    far = {"last_slot": 2**62, "executed_upto": 2**62}
    monkeypatch.setattr(story, "MOST_COMPARED", 5000)
    one, other = (
        replace(seen, status=replace(seen.status, **far))
        for seen in (view(1, AFTER), view(2, AFTER))
    )
    compared = story.compare(one, other, slots_of())
    assert compared.unread == 5001 and compared.contradiction is None
    shown = render(stories.difference(one, other, compared), 80)
    assert "? nothing executed differs below slot 5001; the rest was not compared" in shown
    other = replace(other, status=replace(other.status, last_slot=3, executed_upto=3))
    missing = SlotStatus(4, SlotMark.NONE, None, None)
    compared = story.compare(one, other, slots_of(n2_4=missing))
    assert compared.first_slot[1] is missing and compared.unread is None


# ---- at every width, word for word -------------------------------------------------------------


def made_up():
    """Everything that the three tables can show; a golden file of `test_tables` holds it."""
    told = [
        (1, 1_000, BecameCandidate(FIRST)),
        (1, 2_000, Leads(FIRST)),
        (2, 3_000, Follows(FIRST)),
        (2, 300_000, BecameCandidate(NEXT)),
        (2, 340_000, Leads(NEXT)),
        (1, 1_000_200, SteppedDown(Reason.DEPOSED)),
        (3, 1_100_000, BecameCandidate(THIRD)),
        (3, 1_200_000, SteppedDown(Reason.DEPOSED)),
        (2, 1_500_000, SteppedDown(Reason.UNANSWERED)),
        (5, 0, LivenessChanged(Liveness.CRASHED)),
        (1, 40_000, LivenessChanged(GONE)),
        (1, 1_000_100, LivenessChanged(LIVE)),
        (4, 1_400_000, LivenessChanged(Liveness.STOPPED)),
    ]
    entries = [(replica, Entry(at, event)) for replica, at, event in told]
    failure = reported("2", "LF", "done", node=1, begun_us=39_000)
    sets = [replace(set_six(), number=1, started_at=0, steps=(failure,))]
    sets += [replace(set_six(), number=12, started_at=1_000_000, steps=())]
    events = story.timeline(entries, [(report, report.steps) for report in sets], 5)
    deeds = (
        story.Deed(1, 300, 300, (1,), Doing(Accept, FIRST)),
        story.Deed(1, 400, 410, (2, 3, 4, 5), Doing(Accepted, FIRST)),
        story.Deed(1, 410, 410, (), Doing(Chosen, FIRST)),
        story.Deed(12, 5_000, 5_000, (2,), Doing(NewView, NEXT, request=PAY)),
        story.Deed(12, 5_100, 2_005_100, (1, 2, 3), Doing(Executed)),
    )
    status = SlotStatus(16, SlotMark.EXECUTED, None, ("A", 16, "transfer", "A", "B", 1))
    statuses = dict.fromkeys(range(1, 5), status) | {5: replace(status, mark=SlotMark.NONE)}
    log = CommitLog({16: (status.request, "success"), 20: (status.request, "success")})
    step = reported("3", "(A, B, 1)", "success", None, 16, None, 402_000)
    lived = story.Life(deeds, (THIRD, Ballot(4, 1)))
    one = view(1, BEFORE, GONE, Role.LEADER, 14, was_leader=True)
    other = view(2, AFTER)
    compared = story.compare(one, other, slots_of())
    none = {replica: SlotStatus(99, SlotMark.NONE, None, None) for replica in statuses}
    return [
        stories.timeline(events, 5),
        stories.life(16, lived, statuses, log, [(12, step)], 7),
        stories.life(99, story.Life((), ()), none, log, [], 0),
        stories.life(99, story.Life((), ()), {}, log, [], 0),
        stories.difference(one, other, compared),
        stories.difference(one, one, story.compare(one, one, slots_of())),
    ]


def test_a_long_timeline_shows_its_end():
    changes = [(1, Entry(at, LivenessChanged(GONE if at % 2 else LIVE))) for at in range(500)]
    shown = render(stories.timeline(story.timeline(changes, [(set_six(), ())], 5), 5), 80)
    assert "300 earlier events not shown" in shown
    assert len(shown.splitlines()) == stories.MOST_MOMENTS + 3
