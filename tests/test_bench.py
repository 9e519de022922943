"""`bench`: what it prints and what it writes, on made-up figures and in a short run of each kind.

    PAXBANK_REWRITE=1 python -m pytest tests/test_bench.py

rewrites tests/golden/bench*.txt; read the difference before you keep it.
"""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.text import Text
from screen_fakes import render

from bank.ballot import Ballot
from harness import cli
from harness.bench import baseline, failover, others, soak
from harness.bench.baseline import FloorFigures
from harness.bench.histogram import Histograms, bars
from harness.bench.load import bucket_of
from harness.bench.measuring import LoadedFleet, Window, _disk_bytes, largest, percentile
from harness.bench.outage import FirstAnswer, Outage, Turn, outage
from harness.bench.results import Pair, Result
from harness.bench.tables import bench_tables
from harness.check.verdict import Judgement, Verdict, overall
from harness.commands import bench
from harness.errors import EXIT_MACHINE, HarnessError
from harness.files.config import ClusterConfig
from harness.live import process
from harness.live.usage import Usage

GOLDEN = Path(__file__).parent / "golden"
THEIRS = Path(__file__).parents[1] / "docs" / "examples" / "tcp_bank.yaml"
VALID = (Judgement("agreement", Verdict.VALID),)


def histogram(*latencies_us):
    counts = {}
    for latency in latencies_us:
        counts[bucket_of(latency)] = counts.get(bucket_of(latency), 0) + 1
    return counts


def window(answered=1000, latencies=(90, 100, 100, 110, 400, 3000), disk=5_000_000, retries=0):
    counts = histogram(*latencies)
    names = [f"n{replica}" for replica in range(1, 6)]
    return Window(
        answered=answered,
        seconds=2.0,
        histogram=counts,
        retries=retries,
        cpu_seconds={**dict.fromkeys(names, 0.01), "n2": 0.03, "load 0": 0.02},
        resident_bytes={**dict.fromkeys(names, 20_000_000), "load 0": 90_000_000},
        leader=2,
        largest_us=largest(counts),
        queue_bytes=answered * 500,
        disk_bytes=disk,
    )


def pair(answered=1000, bare=2000, **others):
    floor = FloorFigures(bare, 2.0, histogram(40, 50, 50, 60)) if bare else None
    return Pair(27_000, window(answered, **others), VALID, 200_000, floor)


ONE = Result(5, 10, 1, [pair()])
MANY = Result(5, 10, 1000, [pair(250_000, 400_000, latencies=range(2000, 9000, 100), retries=17)])
REPEATED = [
    Result(nodes, 10, 1000, [pair(answered, 400_000) for answered in (200_000, 260_000, 240_000)])
    for nodes in (3, 9)
]
BARE = [Result(n, a, 10, [pair(123_456, bare=0, disk=None)]) for n in (3, 5) for a in (10, 10**6)]
OUTAGES = [Outage(4000 + 100 * number, 600, 0, 400) for number in range(19)]
OUTAGES.append(Outage(4000, 600, 300_000, 400))


def rows(memory=lambda part: 25.0, disk=lambda part: 5.0, p50=lambda part: 1.0):
    return [
        soak.SoakRow(
            5.0 * (part + 1),
            400_000 * (part + 1),
            80_000.0,
            p50(part),
            5.0,
            memory(part),
            memory(part) + 0.5,
            disk(part),
        )
        for part in range(12)
    ]


def soaked() -> RenderableType:
    found = rows(memory=lambda part: 20 + 2.0 * part, p50=lambda part: 1.0 + part)
    return Group(*soak.trend_tables(found, soak.trends(found)))


GOLDENS = {
    "bench": lambda: Group(*bench_tables("process", [31, 35, 90], [ONE, MANY])),
    "bench_repeated": lambda: Group(*bench_tables("power", [31, 35, 90], REPEATED)),
    "bench_shapes": lambda: Group(*bench_tables("memory", [], BARE)),
    "bench_failover": lambda: Group(
        *failover.tables(failover.Failovers("crash", 10, OUTAGES, 311_000, VALID))
    ),
    "bench_soak": soaked,
}


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("name", GOLDENS)
def test_golden(name, width):
    printed = render(GOLDENS[name](), width)
    path = GOLDEN / f"{name}_{width}.txt"
    if os.environ.get("PAXBANK_REWRITE"):
        path.write_text(printed, encoding="utf-8")
    assert printed == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", GOLDENS)
def test_fits_every_width(name):
    for width in range(60, 161, 10):
        for line in render(GOLDENS[name](), width).splitlines():
            assert cell_len(line) <= width, f"{width}: {line}"
            assert line == line.rstrip(), f"{width}: {line!r} ends in blanks"


# ---- figures -----------------------------------------------------------------------------------


def test_figures_are_medians_of_pairs_and_ratios_those_of_each_pair():
    result = Result(5, 10, 1, [pair(1000, 2000), pair(3000, 4000), pair(1000, 1000)])
    document = result.document()
    assert document["throughput"] == 500
    assert document["ratio"] == 0.75, "of 0.5, 0.75 and 1, and not of the medians"
    assert document["ranges"]["ratio"] == [0.5, 1.0]
    assert document["ranges"]["throughput"] == [500, 1500]
    assert [run["ratio"] for run in document["runs"]] == [0.5, 0.75, 1.0]
    assert document["p50_ratio"] == pytest.approx(2, rel=0.1)
    assert document["bytes_per_transfer"] == {"queues": 500, "disk": 1000}
    assert document["cpu_us_per_transfer"] == {"leader": 30.0, "backup": 10.0, "clients": 20.0}
    assert document["resident_mb"] == 20.0, "of replicas, not of clients"


def test_what_was_not_measured_is_null():
    document = Result(5, 10, 1, [pair(bare=0, disk=None)]).document()
    assert document["floor"] is document["ratio"] is document["p50_ratio"] is None
    assert document["bytes_per_transfer"]["disk"] is None
    assert "runs" not in document


def test_percentiles_lie_within_their_bucket():
    counts = histogram(*range(1000, 2000))
    for share in (0.1, 0.5, 0.9, 0.99):
        assert percentile(counts, share) == pytest.approx(1000 + 1000 * share, rel=0.01)
    assert percentile(counts, 1.0) <= largest(counts) == 2048
    assert percentile({}, 0.5) == largest({}) == 0


def test_bytes_on_disk_are_what_replicas_wrote_without_their_queues():
    before = {"n1": Usage(0, 0, 100), "load 0": Usage(0, 0, 7)}
    after = {"n1": Usage(0, 0, 900), "load 0": Usage(0, 0, 70_000)}
    assert _disk_bytes(before, after, queued=300) == 500
    assert _disk_bytes(before, after | {"n1": Usage(0, 0, None)}, 300) is None, "nobody counts"


def test_bars_show_all_that_is_not_nothing():
    assert bars([0, 1, 4, 8, 10_000]) == " ▁▁▁█"
    assert bars([8, 16]) == "▄█"
    assert bars([0, 0]) == "  "


def test_a_histogram_of_nothing_is_nothing_and_one_of_a_point_says_where_it_is():
    assert render(Histograms([(Text("x"), {})]), 60) == ""
    assert render(Histograms([(Text("x"), histogram(304_000))]), 60) == " ms  ╵294.912\n  x  █\n"


# ---- what an outage was spent on ---------------------------------------------------------------


def turns(*told):
    return [Turn(at, replica, role, Ballot(number, replica)) for at, replica, role, number in told]


@pytest.mark.parametrize(
    ("told", "asked_at", "expected"),
    [
        pytest.param(
            [(110, 2, "candidate", 1), (150, 2, "leader", 2)],
            90,
            Outage(10, 40, 0, 50),
            id="asked before it failed",
        ),
        pytest.param(
            [(110, 2, "candidate", 1), (120, 2, "leader", 2)],
            180,
            Outage(10, 10, 60, 20),
            id="asked again late",
        ),
        pytest.param(
            [(110, 3, "candidate", 1), (120, 2, "candidate", 1), (140, 3, "leader", 1),
             (160, 2, "leader", 2)],
            90,
            Outage(10, 50, 0, 40),
            id="a duel, the second one answers",
        ),
        pytest.param(
            [(20, 2, "candidate", 1), (120, 2, "leader", 2)],
            90,
            Outage(0, 20, 0, 80),
            id="the candidacy was told before the failure",
        ),
        pytest.param([], 90, Outage(0, 0, 0, 100), id="nothing was told"),
        pytest.param(
            [(110, 2, "candidate", 1), (230, 2, "leader", 2)],
            260,
            Outage(10, 90, 0, 0),
            id="told later than the answer",
        ),
    ],
)  # fmt: skip
def test_the_phases_of_an_outage_add_up(told, asked_at, expected):
    found = outage(100, turns(*told), FirstAnswer(Ballot(2, 2), asked_at, 200))
    assert found == expected
    assert found.total == 100


# ---- flat, or not ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (rows(), []),
        (rows(memory=lambda part: 25 + part % 2), []),
        (rows(memory=lambda part: 20 + 0.5 * part), ["memory: grows by 1.25 MB per million"]),
        (rows(disk=lambda part: 4 + 0.5 * part), ["disk: grows by 1.25 MB per million"]),
        (rows(memory=lambda part: 20.0 if part < 6 else 49.8), ["memory: 50.3 MB, expected at"]),
        (rows(disk=lambda part: 51.0), ["disk: 51.0 MB, expected at most 50"]),
        (rows(p50=lambda part: 1.0 + part), ["latency: p50 9.50 ms after 3.50 ms, expected"]),
    ],
)
def test_what_grows_is_told(found, told):
    judgements = [trend.judgement for trend in soak.trends(found)]
    problems = [f"{j.check.removeprefix('flat ')}: {j.reason}" for j in judgements if j.reason]
    assert [text.startswith(start) for text, start in zip(problems, told, strict=True)] == [
        True
    ] * len(told), problems
    assert (overall(judgements) is Verdict.VALID) == (not told)


def test_a_few_transfers_prove_no_growth():
    """A hundred kilobytes more or less is how full the write-ahead log happens to be."""
    short = [replace(row, answered=row.answered // 100) for row in rows()]
    short = [replace(row, disk_mb=5 + 0.01 * at) for at, row in enumerate(short)]
    assert soak.trends(short)[1].slope > soak.MOST_SLOPE
    assert not soak.trends(short)[1].problem


def test_a_run_that_only_begins_is_no_growth():
    """Two seconds on a busy machine: memory rises to where it stays, and latency does too."""
    found = rows(memory=lambda part: 18 + 0.6 * part, p50=lambda part: 1.0 + part)
    found = [replace(row, answered=row.answered // 100) for row in found]
    judgements = [trend.judgement for trend in soak.trends(found)]
    assert [j.verdict.value for j in judgements] == ["unknown", "valid", "unknown"]
    assert judgements[0].reason.startswith("grows by ") and soak.TOO_SHORT in judgements[0].reason
    assert [trend.word for trend in soak.trends(found)] == ["too short", "flat", "too short"]


def test_what_comes_and_goes_does_not_grow():
    """As full as ever, and by chance emptier when the second half began."""
    memory = [25.4, 27.4, 27.4, 27.7, 25.4, 27.3, 24.5, 25.4, 26.5, 26.8, 26.9, 27.6]
    found = [replace(row, resident_mb=mb) for row, mb in zip(rows(), memory, strict=True)]
    assert soak.trends(found)[0].slope > soak.MOST_SLOPE
    assert not soak.trends(found)[0].problem


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("60", soak.Length(seconds=60)),
        ("1.5", soak.Length(seconds=1.5)),
        ("500k", soak.Length(transfers=500_000)),
        ("2.5M", soak.Length(transfers=2_500_000)),
    ],
)
def test_a_soak_is_as_long_as_asked(text, expected):
    assert soak.length(text) == expected


# ---- real runs ---------------------------------------------------------------------------------


def test_a_short_benchmark_prints_one_document_and_its_answers_are_checked(capsys):
    arguments = ["bench", "--clients", "1,20", "--seconds", "0.2", "--warmup", "0.1"]
    assert cli.main([*arguments, "--failover", "2", "--seed", "1", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [result["clients"] for result in document["results"]] == [1, 20]
    for result in document["results"]:
        assert result["verdict"] == "valid"
        assert result["throughput"] > 0
        assert result["p50_ms"] <= result["p99_ms"] <= result["max_ms"]
        assert result["bytes_per_transfer"]["queues"] > 50, "a request is longer"
        if os.path.isdir("/proc/self"):
            assert result["bytes_per_transfer"]["disk"] > 20, "so is a row"
        assert result["ratio"] > 0 < result["p50_ratio"]
    found = document["failover"]
    assert (found["count"], found["clients"], found["failure"]) == (2, 1, "crash")
    # An outage starts with the kill, before the client's next request: it may exceed every wait.
    assert found["p50_ms"] <= found["p99_ms"] <= found["worst_ms"]
    assert found["slowest_answer_ms"] > 0
    means = [found["phases"][phase]["mean_ms"] for phase in failover.PHASES]
    assert sum(means) == pytest.approx(found["mean_ms"], abs=0.01)
    assert document["four_hops"]["p50_us"] > 0


@pytest.mark.parametrize(
    "who", ["_backup", "_leader", "_load", "_echo_backup", "_echo_leader"]
)  # fmt: skip
def test_a_process_of_the_floor_that_is_killed_ends_all_of_them_and_is_told(who, monkeypatch):
    start, started = process.start, []

    def and_kill(target, *arguments):
        one = start(target, *arguments)
        started.append(one.pid)
        if getattr(baseline, who) in arguments:
            one.kill()
        return one

    monkeypatch.setattr(process, "start", and_kill)
    with pytest.raises(HarnessError, match=r"^a process of the floor was .* \(SIGKILL\)$") as told:
        if "echo" in who:
            baseline.four_hops(3)
        else:
            baseline.run(2, 3600, "memory", 3)
    assert told.value.exit_code == EXIT_MACHINE
    assert len(started) >= 3
    assert not [pid for pid in started if process.kernel_state(pid) not in ("X", "Z", "")]


def test_a_process_of_clients_that_is_killed_is_told_at_once():
    fleet = LoadedFleet(ClusterConfig(nodes=3, durability="memory"), clients=2)
    wanted = r"^a process of clients was killed from outside \(SIGKILL\)$"
    with fleet.running():
        fleet.go()
        fleet.fleet.loads[1].process.kill()
        for waits in (lambda: fleet.sleep(30), lambda: fleet.measure(0), fleet.finish):
            with pytest.raises(HarnessError, match=wanted) as told:
                waits()
            assert told.value.exit_code == EXIT_MACHINE


def test_a_benchmark_takes_several_shapes(capsys):
    arguments = ["bench", "--clients", "5", "--seconds", "0.2", "--warmup", "0"]
    assert cli.main([*arguments, "--nodes", "3,5", "--accounts", "10,1000"]) == 0
    out = capsys.readouterr().out
    numbers = [line for line in out.splitlines() if line.strip()[:1].isdigit() and "·" not in line]
    lines = [line.split()[:3] for line in numbers]
    shapes = [[n, a, "5"] for n in ("3", "5") for a in ("10", "1,000")]
    assert lines == 2 * shapes, "speed, costs"
    assert "5 replicas" not in out and "floor" not in out and out.count("✓ valid") == 4
    assert cli.main([*arguments, "--nodes", "3", "--no-floor", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (row,) = document["results"]
    assert document["nodes"] == row["nodes"] == 3 and document["accounts"] == row["accounts"] == 10
    assert row["start_ms"] > 0 and row["floor"] is None and document["four_hops"] is None


def test_failovers_alone_measure_no_throughput_and_say_what_the_time_went_to(capsys):
    assert cli.main(["bench", "--failover", "2", "--warmup", "0", "--nodes", "3"]) == 0
    out = capsys.readouterr().out
    assert "Leader killed 2 times, 10 clients" in out and "per s" not in out
    for phase in failover.PHASES:
        assert phase in out


@pytest.mark.slow
def test_a_soak_by_transfers_ends_with_what_is_flat(capsys):
    assert cli.main(["bench", "--soak", "30k", "--nodes", "3", "--format", "json"]) in (0, 3)
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document["soak"][-1]["answered"] >= 30_000 and len(document["soak"]) >= 12
    assert [trend["name"] for trend in document["flat"]] == ["memory", "disk", "latency"]
    assert "MB/million" in captured.err


def test_the_sums_of_many_accounts_arrive(capsys):
    """They are more than a socket takes at once, when nothing else is left to be done."""
    arguments = ["bench", "--clients", "200", "--accounts", "60000", "--nodes", "3"]
    assert cli.main([*arguments, "--seconds", "1", "--no-floor"]) == 0
    assert "✓ valid" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--accounts 10,x", "--accounts: '10,x': expected numbers such as --accounts 1,10,100"),
        ("--accounts 1", "--accounts: 1: expected 2 or more"),
        ("--clients ,", "--clients: ',': expected numbers"),
        ("--clients 0", "--clients: '0': expected numbers"),
        (
            "--clients 99999999999999999999",
            "--clients: 99999999999999999999: expected 100000 or less",
        ),
        (f"--clients {'9' * 5000}", "--clients: '999"),
        ("--accounts 1_000_001", "--accounts: 1000001: expected 1000000 or less"),
        ("--seconds 0", "--seconds: 0.0: expected more than 0"),
        ("--seconds nan", "--seconds: nan: expected more than 0"),
        ("--warmup -1", "--warmup: -1.0: expected 0 or more"),
        ("--skew inf", "--skew: inf: expected 0 or more"),
        ("--repeat 0", "--repeat: 0: expected 1 or more"),
        ("--failover -2", "--failover: -2: expected 1 or more"),
        ("--failover 0", "--failover: 0: expected 1 or more"),
        ("--failover 0 --failure crash", "--failover: 0: expected 1 or more"),
        ("--router --repeat 2", "--repeat: 2: expected 3 or more"),
        ("--nodes 3,4", "--nodes: 4: expected some of 3, 5, 7, 9"),
        ("--soak 5G", "--soak: '5G': expected seconds (60) or transfers (500k, 5M)"),
        ("--soak 0", "--soak: '0': expected seconds"),
    ],
)
def test_a_number_that_makes_no_sense_is_refused(capsys, words, told):
    assert cli.main(["bench", *words.split()]) == 2
    assert capsys.readouterr().err.startswith(told)


@pytest.mark.parametrize(
    ("words", "unused"),
    [
        ("--failover 1 --floor --repeat 2", ["repeat 2", "floor"]),
        ("--failover 1 --soak 5 --seconds 2", ["seconds"]),
        ("--soak 5 --skew 1 --failure crash", ["skew 1.0", "failure"]),
        ("--soak 5 --warmup 0", ["warmup"]),
        ("--soak 5 --warmup 0 --seconds 0", ["warmup", "seconds"]),
        ("--clients 1 --failure disconnect", ["failure"]),
        ("--failure disconnect", ["failure"]),
        ("--failover 1 --nodes 3,5", ["nodes, --accounts"]),
        ("--router --clients 1", ["clients"]),
        (f"--replicas {THEIRS} --watch --durability power", ["durability power", "watch"]),
        (f"--replicas {THEIRS} --nodes 3,5", ["nodes"]),
        (f"--replicas {THEIRS} --failover 0 --failure crash", ["failover", "failure"]),
        (f"--replicas {THEIRS} --format json --router", ["format json", "router"]),
    ],
)
def test_what_would_be_ignored_is_refused(capsys, words, unused):
    assert cli.main(["bench", *words.split()]) == 2
    told = [line.split(":")[0] for line in capsys.readouterr().err.splitlines()]
    assert sorted(told) == sorted(f"--{name}" for name in unused)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--soak 5 --clients 3 --failure crash", "--failure: belongs to --failover, expected"),
        ("--soak 5 --warmup 0", "--warmup: has no effect with --soak, leave it out"),
        ("--replicas true --failure crash", "--failure: has no effect with --replicas, leave"),
        ("--replicas true --failover 3", "--failover: what a failover is spent on is known of"),
        ("--replicas true --soak 3", "--soak: memory and disk are looked at in our own"),
        ("--replicas true --durability power", "--durability power: other people's replicas"),
    ],
)
def test_it_is_said_why_or_what_belongs_to_it(capsys, words, told):
    assert cli.main(["bench", *words.split()]) == 2
    assert capsys.readouterr().err.startswith(told)


@pytest.mark.parametrize(
    "words",
    [
        "--failover 5 --repeat 1 --skew 0 --no-floor",
        "--soak 5 --repeat 1 --no-floor",
        "--replicas true --format rich --durability process --repeat 1 --no-floor",
        "--router --format rich --no-floor",
    ],
)
def test_what_is_done_anyway_may_be_asked_for(monkeypatch, capsys, words):
    """Each comes as far as the next look at them."""
    monkeypatch.setattr(bench, "_check_numbers", far_enough)
    assert cli.main(["bench", *words.split()]) == 2
    assert capsys.readouterr().err == "far enough\n"


def far_enough(*_):
    raise HarnessError("far enough")


def test_others_are_asked_by_as_many_clients_as_are_wanted(monkeypatch, capsys):
    """There is one account more, so that one client can pay somebody."""
    seen = []

    def measure(description, settings, asking, seconds, warmup):
        seen.append((len(settings.accounts), len(asking)))
        return others.Figures(len(asking), 1.0, 1, 1, 1.0, (Judgement("all", Verdict.VALID),))

    monkeypatch.setattr(others, "measure", measure)
    assert cli.main(["bench", "--replicas", "true", "--clients", "1,3"]) == 0
    assert cli.main(["bench", "--replicas", str(THEIRS)]) == 0
    assert seen == [(2, 1), (4, 3), (10, 10)]


def test_accounts_in_the_source_of_replicas_say_how_many_clients_there_are(capsys):
    assert cli.main(["bench", "--replicas", str(THEIRS), "--clients", "1"]) == 2
    assert capsys.readouterr().err.strip().endswith("in the replicas' source, expected 10")
