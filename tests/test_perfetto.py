"""The trace for the Perfetto viewer: the format's rules, which viewers enforce by dropping.

Every document made here is held to a schema and to what a schema cannot say. The viewer's own
reader has the last word where it can be had.
"""

import json
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import trace_processor
import zoo
from screen_fakes import set_six
from test_flows import change, message, passed

from bank.ballot import Ballot
from bank.events import Leads, Reason, SteppedDown
from bank.messages import NewView
from harness import cli
from harness.cluster.history import Operation
from harness.cluster.journal import CLIENTS, Entry, Executed, Liveness, Relayed, Traces, Way
from harness.commands.simulate import viewer
from harness.files import testset
from harness.files.config import ClusterConfig
from harness.report import perfetto
from harness.report.documents import NAMES, PERFETTO
from harness.report.perfetto import Happened
from harness.report.writer import Writer
from harness.run import story
from harness.run.runner import Runner
from harness.sim.scenario import KINDS, SwarmOptions
from harness.sim.swarm import run_seed
from harness.sim.world import SimCluster

ROOT = Path(__file__).parents[1]
SWARM = SwarmOptions((3,), KINDS)

# ---- what the format says ----------------------------------------------------------------------

NUMBER = {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}
TIME = {"type": "number", "minimum": 0}
PLACED = {"name": {"type": "string", "minLength": 1}, "cat": {"type": "string", "minLength": 1},
          "pid": NUMBER, "tid": NUMBER, "ts": TIME, "args": {"type": "object"}}  # fmt: skip


def event(phase, *required, **properties):
    return {
        "type": "object",
        "properties": {"ph": {"const": phase}, **properties},
        "required": ["ph", *required],
        "additionalProperties": False,
    }


ARROW = {key: PLACED[key] for key in ("name", "cat", "pid", "tid", "ts")} | {"id": NUMBER}
METADATA = {
    **event("M", "name", "pid", "args"),
    "properties": {
        "ph": {"const": "M"},
        "pid": NUMBER,
        "tid": NUMBER,
        "name": {
            "enum": [f"{w}_{k}" for w in ("process", "thread") for k in ("name", "sort_index")]
        },
        "args": {"type": "object", "minProperties": 1, "maxProperties": 1},
    },
    "if": {"properties": {"name": {"pattern": "^thread_"}}},
    "then": {"required": ["tid"]},
}
EVENTS = {  # by phase
    "M": METADATA,
    "X": event("X", *PLACED, "dur", **PLACED, dur=TIME),
    "i": event("i", *PLACED, "s", **PLACED, s={"enum": ["g", "p", "t"]}),
    "s": event("s", *ARROW, **ARROW),
    "f": event("f", *ARROW, "bp", **ARROW, bp={"const": "e"}),
}
SCHEMAS = {phase: jsonschema.Draft202012Validator(schema) for phase, schema in EVENTS.items()}
SCHEMA = {
    "type": "object",
    "properties": {
        "displayTimeUnit": {"enum": ["ms", "ns"]},
        "otherData": {"type": "object"},
        "traceEvents": {"type": "array"},
    },
    "required": ["traceEvents"],
    "additionalProperties": False,
}


class Read:
    """A document as a viewer reads it, event by event; AssertionError where one would drop any."""

    def __init__(self, data):
        self.document = json.loads(data)
        jsonschema.validate(self.document, SCHEMA)
        events = self.document["traceEvents"]
        for e in events:
            SCHEMAS[e["ph"]].validate(e)
        self.names, self.processes = {}, {}
        self.lanes = defaultdict(list)
        for e in events:
            if e["ph"] == "M" and e["name"] == "process_name":
                self.processes[e["pid"]] = e["args"]["name"]
            if e["ph"] == "M" and e["name"] == "thread_name":
                assert e["tid"] not in self.names, "a lane number is one process's"
                self.names[e["tid"]] = (self.processes[e["pid"]], e["args"]["name"])
        self.events = [e for e in events if e["ph"] != "M"]
        times = [e["ts"] for e in self.events]
        assert times == sorted(times)
        self.arrows, begun, self._open = [], {}, defaultdict(list)
        for e in self.events:
            assert self.names[e["tid"]][0] == self.processes[e["pid"]]
            around = self._open[e["tid"]]
            now = ns(e["ts"])
            if e["ph"] in "Xi":
                while around and ns(around[-1]["ts"]) + ns(around[-1].get("dur", 0)) <= now:
                    around.pop()
                end = now + ns(e.get("dur", 0))
                assert all(end <= ns(a["ts"]) + ns(a["dur"]) for a in around), (e, around)
                assert len(around) < 100, "viewers drop what is too deep"
                around.append(e)
                self.lanes[self.names[e["tid"]]].append(e)
            else:
                top = around[-1]
                assert top["ph"] == "X" and ns(top["ts"]) <= now <= ns(top["ts"]) + ns(top["dur"])
                assert top["cat"] in ("sent", "read")
                if e["ph"] == "s":
                    assert e["id"] not in begun
                    begun[e["id"]] = top
                else:
                    self.arrows.append((begun.pop(e["id"]), top))
        assert not begun, "every arrow ends"

    def lane(self, name, *categories):
        process = "replicas" if name[0] == "n" and name[1:].isdigit() else "run"
        found = self.lanes[process, name]
        return [e for e in found if not categories or e["cat"] in categories]

    def bars(self, name):
        return [(e["name"], e["ts"], e["dur"]) for e in self.lane(name, "bar")]

    def shown(self, name):
        return [e["name"] for e in self.lane(name, "sent", "read", "instant")]


def ns(microseconds):
    return round(microseconds * 1000)


# ---- small stories -----------------------------------------------------------------------------


def drawn(*sets, happened=(), history=(), kept=100):
    """The document of sets that begin at 0, 1000, …; each a mapping from replica to its entries."""
    reports = [
        replace(set_six(), number=index, steps=(), started_at=1000 * index, seconds=0.0005)
        for index, _ in enumerate(sets)
    ]
    traces, kept_sets = Traces(range(1, 4), kept), []
    for report, entries in zip(reports, sets, strict=True):
        traces.new_set(report.started_at)
        for replica, lines in entries.items():
            traces.add(replica, lines)
        kept_sets.append({replica: traces.of_set(replica) for replica in range(1, 4)})
    moments = story.timeline(traces.events, [(report, ()) for report in reports], 5)
    return Read(perfetto.document("x.csv", reports, kept_sets, moments, happened, history))


def sent(at, *peers, text="x"):
    return passed(Way.SENT, peers, message(text, "ACCEPT"), at)


def read(at, peer=1, text="x", way=Way.READ):
    return passed(way, (peer,), message(text, "ACCEPT"), at)


def ends(arrow):
    return [(end["tid"] - 100, end["args"]["at_us"]) for end in arrow]


def test_a_message_is_a_slice_at_each_end_and_an_arrow_between_them():
    told = drawn({1: [sent(10, 2, 3)], 2: [read(50)], 3: [read(90)]})
    assert [ends(arrow) for arrow in told.arrows] == [[(1, 10), (2, 50)], [(1, 10), (3, 90)]]
    assert told.shown("n1") == ["→ ACCEPT (1, n1) 4"]
    (slice_,) = told.lane("n2", "read")
    assert slice_["name"] == "← ACCEPT (1, n1) 4"
    assert slice_["args"] == {"at_us": 50, "from": "n1", "sent_us": 10, "text": "(x, B, 1)"}


def test_lanes_have_names_and_stand_in_order():
    asked = [Operation((name, 1, "read", name, "", 0), 0, 5, 9, 7, 4) for name in ("B", "A")]
    told = drawn({1: [sent(10, 2)]}, history=asked)
    assert list(told.names.values()) == [
        ("run", "sets"), ("run", "faults"), ("replicas", "n1"), ("replicas", "n2"),
        ("replicas", "n3"), ("clients", "A"), ("clients", "B"),
    ]  # fmt: skip
    order = [
        e["args"]["sort_index"]
        for e in told.document["traceEvents"]
        if e["name"] == "thread_sort_index"
    ]
    assert order == sorted(order)


def test_leading_and_failing_are_bars_around_the_messages():
    second = Ballot(2, 1)
    told = drawn(
        {
            1: [Entry(100, Leads(second)), sent(200, 2), change(300, Liveness.CRASHED)],
            2: [read(250)],
        },
        {1: [change(1100, Liveness.LIVE)], 2: [Entry(1200, SteppedDown(Reason.DEPOSED))]},
    )
    assert told.bars("n1") == [
        ("backup", 0, 100), ("leads (2, n1)", 100, 200), ("crashed", 300, 800),
        ("backup", 1100, 400),
    ]  # fmt: skip
    assert told.bars("n2") == [("backup", 0, 1500)]
    assert told.shown("n1") == ["leads (2, n1)", "→ ACCEPT (1, n1) 4", "crashed", "returns"]


def test_what_was_never_read_says_so_at_its_sender():
    told = drawn(
        {
            1: [sent(10, 2, text="a"), sent(20, 2, text="b"), sent(30, 3)],
            2: [read(60, text="b"), read(61, text="a", way=Way.LOST)],
        }
    )
    assert told.shown("n1") == ["→ ACCEPT (1, n1) 4 ✗n2", *["→ ACCEPT (1, n1) 4"] * 2]
    assert [e["args"].get("n2") for e in told.lane("n1", "sent")] == ["lost", None, None]
    assert told.lane("n1", "sent")[2]["args"]["n3"] == "unknown"
    assert [ends(arrow) for arrow in told.arrows] == [[(1, 20), (2, 60)]]


def test_a_doubled_message_was_sent_once_and_one_read_in_a_later_set_once():
    told = drawn({1: [sent(10, 2)], 2: [read(50), read(70), read(50, way=Way.DOUBLED)]})
    assert told.shown("n1") == ["→ ACCEPT (1, n1) 4"] and len(told.arrows) == 2
    told = drawn({1: [sent(10, 2)]}, {2: [read(1050)]})
    assert [ends(arrow) for arrow in told.arrows] == [[(1, 10), (2, 1050)]]
    assert len(told.shown("n1")) == len(told.shown("n2")) == 1


def test_what_nobody_told_of_sending_has_no_arrow():
    told = drawn({2: [read(50), passed(Way.READ, (CLIENTS,), message("x", "REQUEST"), 60)]})
    assert [e["args"]["from"] for e in told.lane("n2", "read")] == ["n1", "client"]
    assert not told.arrows and "sent_us" not in told.lane("n2", "read")[0]


def test_a_turn_stands_side_by_side_in_its_order_before_anything_of_it_is_read():
    turn = [read(50, text=str(n)) for n in range(3)] + [Entry(50, Executed((1, 3)))]
    told = drawn(
        {1: [sent(10, 2, text=str(n)) for n in range(3)], 2: [*turn, sent(50, 3)], 3: [read(53, 2)]}
    )
    begins = [(e["cat"], e["ts"], e.get("dur")) for e in told.lane("n2", "sent", "read", "instant")]
    assert begins == [
        ("read", 50.0, 0.6), ("read", 50.6, 0.6), ("read", 51.2, 0.6), ("instant", 51.8, None),
        ("sent", 52.4, 0.6),
    ]  # fmt: skip


def test_what_a_router_passes_on_at_once_is_still_sent_before_it_is_read():
    def relayed(at, way, peer, number):
        text = json.dumps({"src": "n1", "dest": "n2", "body": {"type": "propose", "value": 7}})
        return Entry(at, Relayed(way, (peer,), (number, text)))

    told = drawn(
        {
            1: [relayed(10, Way.SENT, 2, 1), relayed(10, Way.READ, 2, 2)],
            2: [relayed(10, Way.READ, 1, 1), relayed(10, Way.SENT, 1, 2)],
        }
    )
    assert told.shown("n1") == ["→ propose", "← propose"] and len(told.arrows) == 2
    assert told.lane("n2", "read")[0]["args"]["text"] == "value 7"


def one_full_microsecond(count=1200):
    arrived = [read(10, text=str(n)) for n in range(count)]
    return drawn({1: [sent(10, 2, text=str(n)) for n in range(count)], 2: arrived}, kept=count)


def test_more_than_a_microsecond_holds_lies_in_each_other():
    assert len(one_full_microsecond().arrows) == 1200


def test_a_file_says_what_was_left_out(monkeypatch):
    lines = [sent(at, 2, text=str(at)) for at in range(10, 20)]
    told = drawn({1: lines, 2: [read(at + 1, text=str(at)) for at in range(10, 20)]}, kept=6)
    assert told.document["otherData"]["left_out"] == {"n1": 4, "n2": 4}
    assert told.shown("n1")[0] == "4 older entries of set 0 left out"
    monkeypatch.setattr(perfetto, "MOST_POINTS", 5)
    told = drawn({1: lines, 2: [read(at + 1, text=str(at)) for at in range(10, 20)]})
    assert told.document["otherData"]["left_out"] == {"n1": 8, "n2": 7}
    assert told.shown("n2")[0].startswith("7 older entries left out: a trace holds the last 5")
    assert len(told.lane("n1", "sent")) == 2 and len(told.lane("n2", "read")) == 3
    assert [ends(arrow) for arrow in told.arrows] == [[(1, 18), (2, 19)], [(1, 19), (2, 20)]]


def test_long_texts_are_cut():
    requests = tuple((f"client{n}", 1, "transfer", f"client{n}", "B", 1) for n in range(90))
    view = passed(Way.SENT, (2,), NewView(Ballot(1, 1), 4, requests, 3), 10)
    (slice_,) = drawn({1: [view]}).lane("n1", "sent")
    assert len(slice_["args"]["text"]) == perfetto.MOST_OF_A_TEXT


def test_a_bar_lasts_until_the_next_one_through_the_pause_between_sets():
    told = drawn({1: [change(300, Liveness.PAUSED)]}, {1: [change(1000, Liveness.LIVE)]})
    assert told.bars("n1") == [("backup", 0, 300), ("paused", 300, 700), ("backup", 1000, 500)]


def test_clients_ask_for_one_thing_at_a_time_and_faults_are_instants():
    def asked(at, answered=None, **more):
        return Operation(("A", at, "transfer", "A", "B", 1), 0, at, answered, **more)

    history = [
        asked(10, 20, result="success", slot=3, ballot=Ballot(1, 1)), asked(20, dropped_at=400),
        asked(300), asked(None),
    ]  # fmt: skip
    told = drawn({1: [sent(10, 2)]}, happened=[Happened(5, "LF", "done")], history=history)
    bars = [(e["name"], e["ts"], e["dur"], e["args"]["result"]) for e in told.lanes["clients", "A"]]
    assert bars == [
        ("(A, B, 1)", 10, 10, "success"), ("(A, B, 1)", 20, 280, "given up"),
        ("(A, B, 1)", 300, 200, "no answer"),
    ]  # fmt: skip
    (fault,) = told.lane("faults")
    assert fault["name"] == "LF" and fault["args"] == {"at_us": 5, "outcome": "done"}


def test_nothing_at_all_is_a_document_too():
    assert not Read(perfetto.document("x.csv", [], [], [], [], [])).events


# ---- runs and seeds ----------------------------------------------------------------------------


def run(path, name="leader_failure.csv", trace_format="perfetto", **settings):
    config = ClusterConfig(seed=1, **settings)
    cases, cluster = testset.load(str(ROOT / "testsets" / name), config), SimCluster(config)
    writer = Writer(path, cases, config, trace_format=trace_format)
    runner = Runner(cluster, config, cases)
    cluster.start()
    while runner.remaining:
        runner.run_next()
        writer.update(runner, cluster)
    return runner


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    return folder, run(folder)


def test_a_run_of_a_file(report):
    folder, runner = report
    told = Read((folder / PERFETTO).read_bytes())
    assert [e["name"] for e in told.lane("sets")] == [f"set {r.number}" for r in runner.reports]
    assert {e["args"]["verdict"] for e in told.lane("sets")} == {"valid"}
    assert [e["name"] for e in told.lane("faults")] == ["LF", "LF"]
    leaders = {name for r in range(1, 6) for name, *_ in told.bars(f"n{r}") if "leads" in name}
    assert len(leaders) >= 3
    lines = [json.loads(line) for line in (folder / "trace.jsonl").read_text().splitlines()]
    wanted = Counter((line["replica"], line["at_us"]) for line in lines)
    found = Counter((f"n{e['tid'] - 100}", e["args"]["at_us"])
        for r in range(1, 6) for e in told.lane(f"n{r}", "sent", "read", "instant"))  # fmt: skip
    assert found == wanted, "what trace.jsonl has, no more and no less"
    assert len(told.arrows) > 50
    answered = [
        e for (process, _), lane in told.lanes.items() if process == "clients" for e in lane
    ]
    assert len(answered) == len(runner.history)


def test_a_report_has_it_only_where_it_is_asked_for(report, tmp_path):
    run(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*NAMES, PERFETTO])
    run(tmp_path, trace_format="jsonl")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(NAMES)


SEEDS = (1, 15, 30)  # short ones with most kinds of faults


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_is_the_same_run_and_tells_its_faults(seed):
    document, outcome = viewer.traced(seed, SWARM)
    assert outcome.events == run_seed(seed, SWARM).events and outcome.violation is None
    told = Read(document)
    faults = [e["name"] for e in told.lane("faults")]
    assert "all faults stop" in faults and not told.lane("sets")
    assert told.document["otherData"]["run"].startswith(f"seed {seed}: 3 replicas, faults ")
    assert len(told.arrows) > 50


def perfetto_of_seed(capfd, *arguments):
    code = cli.main(["simulate", "--seeds", *arguments, "--trace", "--trace-format", "perfetto"])
    return (code, *capfd.readouterr())


def test_a_seed_on_the_command_line(capfd):
    code, out, err = perfetto_of_seed(capfd, "30", "--nodes", "3")
    assert code == 0 and err.startswith("seed 30: ") and err.endswith(" events, no violation\n")
    assert out.encode() == viewer.traced(30, SWARM)[0], "the same, byte for byte"


def test_a_seed_that_fails_says_what_was_violated(capfd):
    animal = next(one for one in zoo.ANIMALS if one.wrong.startswith("ACK leaves before"))
    with animal.at_work():
        code, out, err = perfetto_of_seed(capfd, "0")
    violated = err.partition(" events, ")[2].strip()
    assert code == 1 and violated == "n3 spoke of (1, n1) with (0, n0) on disk"
    assert Read(out).lane("faults")[-1]["name"] == f"✗ {violated}"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("simulate --trace --trace-format json", "'json': expected text or perfetto"),
        ("simulate --trace --trace-format perfeto", "did you mean perfetto?"),
        ("simulate --seeds 7 --trace-format perfetto", "belongs to --trace, expected --trace"),
        ("simulate --seeds 3:9 --trace --trace-format perfetto",
         "found 6 seeds, expected one, as --seeds 3"),
        ("testsets/tour.csv --sim --trace-format perfetto", "expected --report DIR beside it"),
        ("testsets/tour.csv --sim --trace-format x", 'found "x", expected jsonl or perfetto'),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(arguments, told, capfd, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert cli.main(arguments.split()) == 2
    out, err = capfd.readouterr()
    assert told in err and not out


def test_a_run_that_never_began_replaces_an_earlier_one_s(report, tmp_path, capfd):
    (tmp_path / PERFETTO).write_bytes((report[0] / PERFETTO).read_bytes())
    assert cli.main([str(tmp_path / "none.csv"), "--report", str(tmp_path)]) == 2
    document = json.loads((tmp_path / PERFETTO).read_text())
    assert document["traceEvents"] == [] and "none.csv" in document["refused"][0]


# ---- the viewer's own reader -------------------------------------------------------------------

COUNTS = (
    "select p.name, t.name, count(*) from slice s join thread_track k on s.track_id = k.id "
    "join thread t using (utid) join process p using (upid) group by 1, 2",
    "select count(*) from flow f join slice a on f.slice_out = a.id "
    "join slice b on f.slice_in = b.id where a.category = 'sent' and b.category = 'read'",
    "select name, value from stats where severity in ('error', 'data_loss') and value > 0",
)
FOLDER = trace_processor.viewer()


@pytest.mark.slow
@pytest.mark.skipif(FOLDER is None, reason=trace_processor.MISSING)
@pytest.mark.parametrize("what", ["run", "seed", "full"])
def test_the_viewer_s_own_reader_drops_nothing(what, report):
    match what:
        case "run":
            data = (report[0] / PERFETTO).read_bytes()
        case "seed":
            data, _ = viewer.traced(15, SWARM)
        case "full":
            data = json.dumps(one_full_microsecond().document).encode()
    told = Read(data)
    lanes, arrows, errors = trace_processor.query(FOLDER, data, *COUNTS)
    assert not errors
    assert {(process, lane): count for process, lane, count in lanes} == {
        lane: len(events) for lane, events in told.lanes.items()
    }
    assert arrows == [(len(told.arrows),)]
