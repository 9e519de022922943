"""Messages from end to end: sends and reads joined, what was lost, and what nobody knows."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from screen_fakes import DEAD, GONE, LIVE, reported, set_six, view

from bank.ballot import Ballot
from bank.events import BecameCandidate, Leads, Reason, SteppedDown
from bank.messages import Accept, ClientRequest, Commit, Reply
from harness.cluster import journal
from harness.cluster.journal import (
    CLIENTS,
    Entry,
    Executed,
    Heartbeats,
    Liveness,
    LivenessChanged,
    PeerDied,
    Traces,
    Way,
)
from harness.files.config import ClusterConfig
from harness.files.testset import load
from harness.report import charts
from harness.run import flows, story
from harness.run.flows import Fate
from harness.run.runner import Runner
from harness.run.story import Lane
from harness.sim.world import SimCluster

TESTSETS = Path(__file__).parents[1] / "testsets"
LOST, UNKNOWN, FAILED = Fate.LOST, Fate.UNKNOWN, Fate.FAILED


FIRST = Ballot(1, 1)


def message(text, kind):
    """Two messages of a kind are the same when their texts are."""
    request = (text, 1, "transfer", text, "B", 1)
    match kind:
        case "ACCEPT":
            return Accept(FIRST, 4, (request,), 0)
        case "COMMIT":
            return Commit(FIRST, 4)
        case "REQUEST":
            return ClientRequest((request,))
        case "REPLY":
            return Reply(FIRST, ((text, 1, "success", 4),))
    raise AssertionError(kind)


def sent(at, *peers, text="x", kind="ACCEPT"):
    return passed(Way.SENT, peers or (2,), message(text, kind), at)


def to_all(at):
    return passed(Way.SENT, (), message("x", "ACCEPT"), at)


def read(at, peer=1, text="x", kind="ACCEPT"):
    return passed(Way.READ, (peer,), message(text, kind), at)


def befell(at, way, text="x"):
    """What a faulty link did to a message, as its reader writes it down."""
    return passed(way, (1,), message(text, "ACCEPT"), at)


def passed(way, peers, message, at):
    return Entry(at, journal.passed(way, peers, message))


def change(at, liveness):
    return Entry(at, LivenessChanged(liveness))


def told(*sets, dropped=()):
    """The stories of sets that begin at 0, 1000, …; each a mapping from replica to its lines."""
    reports = [
        replace(set_six(), number=index, steps=(), started_at=1000 * index, seconds=0.0005)
        for index, _ in enumerate(sets)
    ]
    traces = Traces(range(1, 6), 100)
    for trace in sets:
        for replica, lines in trace.items():
            traces.add(replica, lines)
    known = [{r: (case.get(r, ()), int(r in dropped)) for r in range(1, 6)} for case in sets]
    events = story.timeline(traces.events, [(report, ()) for report in reports], 5)
    return flows.tell(reports, known, events)


def messages(found):
    return [(m.source, m.sent, dict(m.ends)) for m in found.messages]


@pytest.mark.parametrize(
    ("out", "into", "expected"),
    [
        ([sent(1)], [read(5)], {1: 5}),
        ([sent(1), sent(2)], [read(5), read(6)], {1: 5, 2: 6}),
        # The later of two equal ones is nearer to the only reading.
        ([sent(1), sent(50)], [read(51)], {1: LOST, 50: 51}),
        ([sent(1), sent(50), sent(60, text="y")], [read(2), read(61, text="y")],
         {1: 2, 50: LOST, 60: 61}),
        # A copy of what arrived already: the first reading is of no known origin.
        ([sent(1)], [read(2), read(3)], {None: 2, 1: 3}),
        ([sent(1, text="y")], [read(2)], {1: UNKNOWN, None: 2}),
        ([sent(1, kind="COMMIT")], [read(2)], {1: UNKNOWN, None: 2}),
        # Nothing that was sent later was read: it may be on its way.
        ([sent(2), sent(3, text="y")], [read(9)], {2: 9, 3: UNKNOWN}),
        ([sent(5)], [change(7, GONE)], {5: FAILED}),
        ([sent(5), sent(20, text="y")],
         [change(0, DEAD), change(9, LIVE), read(21, text="y")], {5: FAILED, 20: 21}),
        ([sent(5), sent(6, text="y")], [read(7, text="y"), change(9, GONE)],
         {5: LOST, 6: 7}),
        # A stopped process reads when it goes on.
        ([sent(5)], [change(0, Liveness.PAUSED), change(9, LIVE), read(10)], {5: 10}),
    ],
    ids=["one", "in-order", "first-lost", "second-lost", "copy", "text", "kind", "on-its-way",
         "failed-first", "failed", "lost-then-failed", "paused"],
)  # fmt: skip
def test_sends_and_reads_are_joined(out, into, expected):
    found = told({1: out, 2: into})[0].messages
    assert {message.sent: message.ends[2] for message in found} == expected
    assert len(found) == len(expected)


def test_what_a_link_lost_is_lost_though_nothing_came_later():
    found = told({1: [sent(1)], 2: [befell(3, Way.LOST)]})[0]
    assert messages(found) == [(1, 1, {2: LOST})]
    # The other one of two equal ones was read.
    found = told({1: [sent(1), sent(2)], 2: [befell(3, Way.LOST), read(4)]})[0]
    assert messages(found) == [(1, 1, {2: LOST}), (1, 2, {2: 4})]
    assert told({2: [befell(3, Way.LOST)]})[0].messages == [], "no trace tells of its sending"


def test_what_a_link_doubled_arrives_twice():
    lines = [befell(3, Way.DOUBLED), read(3), read(9)]
    found = told({1: [to_all(1)], 2: lines, 3: [read(2)]})[0]
    assert messages(found) == [(1, 1, {2: 3, 3: 2, 4: UNKNOWN, 5: UNKNOWN}), (1, 1, {2: 9})]


def test_what_a_link_held_back_is_one_message():
    found = told({1: [sent(1), sent(2, text="y")], 2: [befell(3, Way.HELD), read(4, text="y"),
                                                        read(8)]})[0]  # fmt: skip
    assert messages(found) == [(1, 1, {2: 8}), (1, 2, {2: 4})]


@pytest.mark.parametrize("what", ["lost", "held", "doubled"])
def test_what_befell_heartbeats_is_summed_up(what):
    found = told({2: [Entry(3, Heartbeats(Way(what), FIRST, 4))]})[0]
    (mark,) = found.marks
    assert mark[:3] == (2, 3, "HEARTBEAT") and what in mark.text and "4 ×" in mark.text
    assert found.messages == []


def test_a_message_to_all_has_an_end_at_each():
    lines = {r: [read(r)] for r in (2, 4, 5)} | {3: [read(9, text="y")]}
    found = told({1: [to_all(1), sent(8, 3, text="y")], **lines})[0]
    assert messages(found) == [(1, 1, {2: 2, 3: LOST, 4: 4, 5: 5}), (1, 8, {3: 9})]


def test_a_message_to_some_has_an_end_at_each_of_them():
    found = told({1: [sent(1, 2, 5)], 2: [read(3)], 5: [read(4)]})[0]
    assert messages(found) == [(1, 1, {2: 3, 5: 4})]


def test_what_clients_sent_and_read_is_in_no_trace():
    asked = read(5, CLIENTS, kind="REQUEST")
    answered = sent(7, CLIENTS, kind="REPLY")
    found = told({1: [asked, answered]})[0]
    assert messages(found) == [(CLIENTS, None, {1: 5}), (1, 7, {CLIENTS: UNKNOWN})]


def test_a_message_read_in_a_later_set_is_in_both():
    first, second = told({1: [sent(900)]}, {2: [read(1100)]})
    assert messages(first) == [(1, 900, {2: 1100})]
    assert messages(second) == [(1, -100, {2: 100})]


def test_nothing_is_lost_where_lines_were_dropped():
    lines = {
        1: [sent(1), sent(38, text="y"), sent(50), sent(58, text="z")],
        2: [read(40, text="y"), read(60, text="z")],
    }
    assert [m.ends[2] for m in told(lines)[0].messages] == [LOST, 40, LOST, 60]
    assert [m.ends[2] for m in told(lines, dropped=[2])[0].messages] == [UNKNOWN, 40, LOST, 60]
    assert told(lines, dropped=[2])[0].dropped == {2: 1}


def test_a_replica_goes_through_phases():
    lines = [Entry(10, BecameCandidate(FIRST)), Entry(20, Leads(FIRST)), change(30, GONE)]
    first, second = told(
        {1: lines}, {1: [change(1040, LIVE), Entry(1050, SteppedDown(Reason.DEPOSED))]}
    )
    mine = [phase[1:] for phase in first.phases if phase.replica == 1]
    assert mine == [
        (0, 10, Lane.FOLLOWS, "backup", None),
        (10, 20, Lane.STANDS, "candidate", FIRST),
        (20, 30, Lane.LEADS, "leader", FIRST),
        (30, 500, Lane.AWAY, "disconnected", FIRST),
    ]
    states = [phase.state for phase in second.phases if phase.replica == 1]
    assert states == ["disconnected", "leader", "backup"]


def test_marks_are_notes_deaths_heartbeats_and_slots():
    beat = Entry(4, Heartbeats(Way.READ, FIRST, 2))
    death = Entry(5, PeerDied(3))
    done = Entry(6, Executed((4, 5)))
    found = told({1: [Entry(3, Leads(FIRST)), beat, death, done]})[0]
    assert [tuple(mark) for mark in found.marks] == [
        (1, 3, "", "leads (1, n1)"),
        (1, 4, "HEARTBEAT", "read 2 × heartbeat or its answer (1, n1)"),
        (1, 5, "", "the process of n3 died"),
        (1, 6, "executes", "executes 4-5"),
    ]
    assert found.messages == []


@pytest.mark.parametrize("failure", ["disconnect", "crash", "pause"])
def test_of_an_undisturbed_network_nothing_is_lost_and_everything_has_an_origin(failure):
    config = ClusterConfig(seed=3, failure=failure)
    world = SimCluster(config)
    world.start()
    cases = load(TESTSETS / "several_leader_failures.csv", config)
    runner, traces = Runner(world, config, cases), []
    replicas = range(1, 6)
    while runner.remaining:
        runner.run_next()
        if traces:
            traces[-1] = {r: world.traces().of_set_before(r) for r in replicas}
        traces.append({r: world.traces().of_set(r) for r in replicas})
    done = [(report, report.steps) for report in runner.reports]
    stories = flows.tell(runner.reports, traces, story.timeline(world.traces().events, done, 5))
    fates = Counter()
    for found in stories:
        for message in found.messages:
            assert message.sent is not None or message.source == CLIENTS, message
            fates.update(
                at if at < 0 else "read" for to, at in message.ends.items() if to != CLIENTS
            )
    assert fates["read"] > 100 and fates[LOST] == 0
    assert failure == "pause" or fates[FAILED] > 0
    for report, found in zip(runner.reports, stories, strict=True):
        if report.leader is not None:
            last = [phase for phase in found.phases if phase.replica == report.leader][-1]
            assert (last.state, last.ballot) == ("leader", report.ballot)


# ---- balances over time --------------------------------------------------------------------------


def test_a_curve_follows_the_slots_and_ends_at_the_replicas_balances():
    views = (view(1, {"A": 7, "B": 13}, upto=2), view(2, {"A": 10, "B": 10}, upto=0))
    late = (view(1, {"A": 3, "B": 17}, upto=5),)
    pays = [
        reported("1", "(A, B, 5)", "success", slot=1),
        reported("2", "(B, A, 2)", "success", slot=2),
        reported("3", "(A, B, 9)", "failed", slot=3),
        reported("4", "(A, A, 3)", "success", slot=4),
        reported("5", "(A)", "success", value=7, slot=4),
        reported("6", "(A, B, 4)", "pending"),
    ]
    reports = [
        replace(set_six(), views=views, steps=tuple(pays[:2])),
        replace(set_six(), views=late, steps=tuple(pays[2:])),
    ]
    first, second = charts.curves(reports)
    # What was committed and never answered shows at the end of the set.
    assert first == ("A", ((0, 10), (1, 5), (2, 7), (5, 3)))
    assert second == ("B", ((0, 10), (1, 15), (2, 13), (5, 17)))


def test_who_tells_its_balances_may_leave_an_account_out():
    views = (view(1, {"A": 7, "B": 13}, upto=2),), (view(1, {"B": 17}, upto=5),)
    first, second = charts.curves([replace(set_six(), views=told, steps=()) for told in views])
    assert (first.points[-1], second.points[-1]) == ((0, 7), (5, 17))


def test_no_sets_have_no_curves():
    assert list(charts.curves([])) == []
