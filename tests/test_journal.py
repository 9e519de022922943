"""The journal: events cross processes whole, and nobody but `wording` goes by their words."""

import ast
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest
from conductor import take

from bank import events
from bank.ballot import Ballot
from bank.effects import Persist, Run
from bank.ledger import TRANSFER
from bank.messages import (
    Accept,
    Accepted,
    AcceptedEntry,
    CatchUp,
    CheckpointHash,
    ClientRequest,
    Commit,
    Elected,
    Heartbeat,
    Message,
    Nack,
    NewView,
    PeerDown,
    Prepare,
    Promise,
    Reply,
    State,
    StatePiece,
)
from bank.replica import CLIENT
from bank.sessions import Machine
from harness.cluster import journal, wire, wording
from harness.cluster.journal import (
    KEPT_IN_VIEW,
    KEPT_REQUESTS,
    Entry,
    Executed,
    Heartbeats,
    Journal,
    Liveness,
    LivenessChanged,
    Passed,
    PeerDied,
    QueueReplaced,
    Relayed,
    Way,
    passed,
)
from harness.files.config import ClusterConfig
from harness.files.testset import load
from harness.run import flows, story
from harness.run.runner import Runner
from harness.sim.record import Recorded
from harness.sim.scenario import SwarmOptions, draw
from harness.sim.swarm import run_scenario
from harness.sim.world import SimCluster

ROOT = Path(__file__).parents[1]
BALLOT = Ballot(2, 3)


def requests(count):
    return tuple(("A", at, TRANSFER, "A", "B", at) for at in range(1, count + 1))


def messages(count):
    """One of every kind that a replica sends or reads, with as many requests or entries."""
    log = tuple(AcceptedEntry(at, BALLOT, r, False) for at, r in enumerate(requests(count), 5))
    return [
        ClientRequest(requests(count)),
        Reply(BALLOT, tuple(("A", at, "success", at + 4) for at in range(1, count + 1))),
        Prepare(BALLOT, 4),
        Promise(BALLOT, 4, 0, log),
        NewView(BALLOT, 5, requests(count), 4),
        Accept(BALLOT, 5, requests(count), 4),
        Accepted(BALLOT, 5, 4 + count, 0),
        Commit(BALLOT, 4),
        Heartbeat(BALLOT, 1, 9, 4),
        CatchUp(5),
        State(5, (BALLOT,) * count, requests(count), 9),
        StatePiece(4, 0, 2, b"x" * count, 9),
        CheckpointHash(4, "ab" * 32, False, (1, 2)),
        Nack(BALLOT),
        Elected(BALLOT),
    ]


EVENTS = [
    events.BecameCandidate(BALLOT),
    events.Leads(BALLOT),
    events.Follows(BALLOT),
    *map(events.SteppedDown, events.Reason),
    events.AskedWhoIsFree(),
    events.AskedSpare(),
    events.ChosePrompt((2, 3)),
    events.InstalledCheckpoint(8),
    events.RefusedCheckpoint(2),
    *(passed(way, (2, 3), message) for way in Way for message in messages(3)),
    Heartbeats(Way.SENT, BALLOT, 4),
    PeerDied(3),
    Executed((4, 6)),
    *map(LivenessChanged, Liveness),
    QueueReplaced(3, "damaged: too long"),
    Relayed(Way.SENT, (2,), (7, '{"src":"n1","dest":"n2","body":{"type":"vote","term":3}}')),
]


def test_the_events_here_are_all_there_are():
    assert journal.CLIENTS == CLIENT
    assert {type(event) for event in EVENTS} == set(get_args(journal.Event))
    kinds = {type(event.message) for event in EVENTS if isinstance(event, Passed)}
    assert kinds == set(get_args(Message)) - {PeerDown}
    assert passed(Way.READ, (3,), PeerDown(3, 1)) == PeerDied(3)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_crosses_processes_as_plain_values_and_has_words(event):
    entry = Entry(7, event)
    assert journal.from_plain(wire.loads(wire.dumps(journal.to_plain(entry)))) == entry
    assert any(wording.line(event)[2:]) and wording.story(event)


@pytest.mark.parametrize("most", [5, 1000])
def test_entries_that_come_as_plain_values_are_kept_as_all_others(most):
    entries = [Entry(at, event) for at, event in enumerate(EVENTS, 1)]
    here, plain = (journal.Traces([1, 2], most) for _ in range(2))
    for began in (1, 20, 40):
        for traces, told in (here, entries), (plain, list(map(journal.to_plain, entries))):
            traces.new_set(began)
            traces.add(2, told)
        for look in ("of_set", "of_set_before", "of_run") * 2:
            assert getattr(plain, look)(2) == getattr(here, look)(2)
    assert plain.events == here.events
    assert len(plain.events) == 3 * sum(e.way is None and e.slots is None for e in entries)


@pytest.mark.parametrize("count", [0, KEPT_REQUESTS, KEPT_REQUESTS + 1, KEPT_IN_VIEW + 1])
def test_what_is_long_is_cut_and_still_tells_all_its_slots(count):
    for message in messages(count):
        event = passed(Way.SENT, (), message)
        kept = KEPT_IN_VIEW if isinstance(message, NewView) else KEPT_REQUESTS
        listed = getattr(message, "requests", None) or getattr(message, "accept_log", ())
        assert event.left_out == max(0, len(listed) - kept) or isinstance(
            message, Reply | StatePiece
        )
        if listed and not isinstance(message, ClientRequest):
            assert event.slots == (5, 4 + count)
        if event.left_out and not isinstance(message, Reply | StatePiece):
            assert f" … {event.left_out} more" in wording.line(event).text
        assert len(wire.dumps(event.plain)) < 60 * kept + 500
        # The same words, whether the message was cut before or not.
        assert wording.line(event)[2:] == wording.message_line(message)


def test_a_write_has_words():
    checkpoint = take(4, "", Machine({"A": 1, "B": 1}))
    run = Run(5, BALLOT, requests(KEPT_REQUESTS + 2))
    text = wording.persist_text(Persist(BALLOT, 3, True, [run], checkpoint, 0, 4))
    assert text.startswith("promise (2, n3), highest number seen 3; 5-14 in (2, n3): (A, B, 1), ")
    assert text.endswith(" … 2 more; checkpoint 4; committed up to 4")


# ---- nobody reads the words ----------------------------------------------------------------------


def told():
    """All that is worked out from journals, of a simulated run and of a recorded seed."""
    config = ClusterConfig(seed=7, failure="crash", checkpoint_interval=4, checkpoint_pause_ms=0)
    world = SimCluster(config)
    world.start()
    runner = Runner(world, config, load(ROOT / "testsets" / "several_leader_failures.csv", config))
    traces = []
    while runner.remaining:
        runner.run_next()
        traces.append({r: world.traces().of_set(r) for r in range(1, 6)})
    done = [(report, report.steps) for report in runner.reports]
    moments = story.timeline(world.traces().events, done, 5)
    starts = story.starts_of(runner.reports)
    found = flows.tell(runner.reports, traces, moments)
    recorded = Recorded((drawn := draw(3, SwarmOptions())).config, drawn.rules)
    outcome = run_scenario(drawn, recorded)
    return (
        moments,
        [story.life(slot, world.traces(), starts, 5) for slot in world.committed.slots],
        [(of_set.messages, of_set.phases, of_set.dropped) for of_set in found],
        [[mark[:3] for mark in of_set.marks] for of_set in found],
        [report.judgements for report in runner.reports],
        world.coverage,
        outcome.violation,
        outcome.coverage,
        len(recorded.commands()),
    )


def test_other_words_change_nothing_but_words(monkeypatch):
    before = told()
    assert before[5]["Leads"] and before[1] and any(before[2])
    spoken = Counter()
    for name in ("note", "_text", "request_text", "requests_text", "persist_text"):

        def other(*arguments, name=name, **more):
            spoken[name] += 1
            return "deposed leads (9, n9) no-op, NEW-VIEW …"

        monkeypatch.setattr(wording, name, other)
    assert told() == before
    assert wording.line(events.Leads(BALLOT)).text.startswith("deposed") and spoken["note"]


STRING_METHODS = {
    "startswith", "endswith", "find", "index", "count", "split", "rsplit", "partition",
    "rpartition", "removeprefix", "removesuffix", "replace", "splitlines",
    "match", "fullmatch", "search", "findall", "finditer", "compile", "sub",
}  # fmt: skip
WORDING = ROOT / "harness" / "cluster" / "wording.py"
MODULES = [path for path in sorted((ROOT / "harness").rglob("*.py")) if path != WORDING]


def words_of_events():
    """What stands in the words of some event, with nothing put in: "leads", "deposed"."""
    fixed = {wording.note(event).partition(" (")[0] for event in EVENTS if is_note(event)}
    labels = {message.LABEL for message in messages(1)} - {Heartbeat.LABEL} | {PeerDown.LABEL}
    return labels | fixed - {liveness.value for liveness in Liveness}


def is_note(event):
    return not isinstance(event, Passed | Relayed | Heartbeats | PeerDied | Executed)


def text_asked(tree):
    """The parts of a syntax tree that ask for something in a text: compared, split, searched."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            yield node
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in STRING_METHODS:
                yield node
        elif isinstance(node, ast.MatchValue):
            yield node.value


def reads_words(source):
    """Lines that ask for something in the words of an event."""
    tree, forbidden = ast.parse(source), words_of_events()
    made = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "harness.cluster.wording"
        for alias in node.names
    } - {"message_name", "joined"}  # a name is what a script calls a message by
    for asked in text_asked(tree):
        for node in ast.walk(asked):
            is_word = (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and any(word and word in node.value for word in forbidden)
            )
            is_made = (
                isinstance(node, ast.Call)
                and getattr(node.func, "id", getattr(node.func, "attr", "")) in made
            )
            if is_word or is_made:
                yield asked.lineno


def test_nobody_reads_words():
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in MODULES
        for line in reads_words(path.read_text("utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        'if line.text.startswith("leads"): pass',
        'x = text == "deposed" or text.startswith(("steps down", "asks first from now on"))',
        'x = line.label != "NEW-VIEW"',
        "from harness.cluster.wording import line\nx = line(event).text.split()",
        "match label:\n    case 'ACCEPT': pass",
    ],
)
def test_reading_words_is_found(source):
    assert list(reads_words(source))


def test_a_journal_sums_heartbeats_up_and_keeps_the_order():
    written = Journal()
    written.passed(1, Way.READ, (2,), Heartbeat(BALLOT, 1, 3, 3))
    written.passed(2, Way.READ, (2,), Heartbeat(BALLOT, 1, 3, 3))
    written.add(3, events.Follows(BALLOT))
    written.passed(4, Way.SENT, (2,), Accepted(BALLOT, 4, 4, 0))
    written.passed(5, Way.SENT, (2,), Accepted(BALLOT, 4, 4, 9))
    assert [(at, type(event)) for at, event in map(journal.from_plain, written.take())] == [
        (3, Heartbeats),
        (3, events.Follows),
        (4, Passed),
    ]
    written.settle(6)
    (left,) = written.take()
    assert journal.from_plain(left) == Entry(6, Heartbeats(Way.SENT, BALLOT, 1))
