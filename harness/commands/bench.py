"""Measure throughput, latency and failover under load, against the floor of the same run.

Closed-loop clients in one or two processes over the same queues as any client. Every transfer of a
benchmark is checked afterwards: a fast wrong answer is a failure.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from harness.check.verdict import Judgement, overall
from harness.commands import _soak as soak
from harness.commands._soak import SoakRow
from harness.config import DURABILITIES, NODES, ClusterConfig
from harness.console_watch import View, Watched
from harness.errors import HarnessError
from harness.live import floor
from harness.live.benchmark import LoadedFleet, Window, percentile
from harness.table_cells import Heading

_SHAPE = {"nodes": "replicas", "accounts": "accounts"}  # of a cluster, and how it is called
RICH_ACCOUNT = 10**9  # so that no transfer fails for lack of balance
EXAMPLES = (
    ("", "throughput and latency at 1, 10, 100 and 1000 clients"),
    ("--clients 100 --no-floor", "one figure, in a few seconds"),
    ("--clients 100 --nodes 3,5,7,9", "against the number of replicas; start-up too"),
    ("--clients 100 --accounts 10,1000,100000", "against the number of accounts"),
    ("--failover 50 --clients 10", "how long nothing is committed when the leader is killed"),
    ("--soak 60", "does anything grow?"),
    ("--clients 1000 --seconds 20 --watch", "see the replicas meanwhile"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `bench`."""
    add = parser.add_argument
    add("--clients", default="1,10,100,1000", help="closed-loop clients [1,10,100,1000]")
    add("--seconds", type=float, default=3.0, help="measured for each number of clients [3]")
    add("--warmup", type=float, default=0.5, help="seconds before that [0.5]")
    add("--durability", default="process", choices=DURABILITIES, help="[process]")
    add("--nodes", default="5", help="replicas; several as 3,5,7,9 [5]")
    add("--accounts", default="10", help="how many accounts; several as 10,1000 [10]")
    add("--skew", type=float, default=0.0, help="Zipf exponent over accounts; 0 is uniform [0]")
    add("--no-floor", action="store_true", help="do not measure the floor in the same run")
    add("--failover", type=int, default=0, metavar="N", help="fail the leader N times under load")
    add("--failure", default="crash", choices=("crash", "disconnect"), help="how it fails [crash]")
    add("--soak", type=float, default=0, metavar="S", help="run S seconds, replicas failing, and "
        "watch memory, disk and latency")  # fmt: skip
    add("--watch", action="store_true", help="show the replicas while they are measured")
    add("--seed", type=int, default=None, help="of transfers and time-outs [random]")
    add("--format", default="rich", choices=("rich", "json"), help="tables or one document [rich]")


@dataclass(frozen=True, slots=True)
class Result:
    """One number of replicas, accounts and clients."""

    nodes: int
    accounts: int
    clients: int
    start_us: int  # until every replica was ready
    window: Window
    judgements: tuple[Judgement, ...]
    disk_bytes: int
    floor: floor.FloorFigures | None

    @property
    def floor_throughput(self) -> float | None:
        """Of the floor in the same run."""
        return None if self.floor is None else self.floor.answered / self.floor.seconds


def run(options: argparse.Namespace, console: Console) -> int:
    """Benchmark; exit code 1 when a benchmark's answers were wrong."""
    clients = _numbers("--clients", options.clients)
    nodes = _numbers("--nodes", options.nodes, NODES)
    accounts = _numbers("--accounts", options.accounts)
    if min(accounts) < 2 or options.seconds <= 0 or min(options.failover, options.soak) < 0:
        raise HarnessError("--accounts from 2, --seconds above 0, --failover and --soak from 0 on")
    seed = Random().randrange(2**31) if options.seed is None else options.seed
    config = _config(options, nodes[0], accounts[0], seed)
    quiet = options.format == "json"
    say = Console(stderr=True) if quiet else console
    view = View(say, options.watch)
    results: list[Result] = []
    columns = (TextColumn("{task.description}"), BarColumn())
    with Progress(*columns, console=say, transient=True) as progress:
        watched = view.over(progress)
        hops = [] if options.no_floor else floor.four_hops(nodes[0])
        for shape in product(nodes, accounts):
            shaped = _config(options, *shape, seed)
            for number in clients:
                what = f"{shape[0]} replicas, {shape[1]:,} accounts, {number:,} clients"
                task = progress.add_task(what, total=options.seconds * 10)
                results.append(
                    _measure(options, shaped, number, lambda t=task: progress.advance(t), watched)  # type: ignore[misc]
                )
                progress.remove_task(task)
        times, judged = (
            _failover(options, config, progress, watched) if options.failover else ([], ())
        )
    rows: list[SoakRow] = []
    if options.soak:
        soaked = soak.run(config, options.soak, say, view.over(lambda: Heading("soak")))
        rows, judged = soaked[0], (*judged, *soaked[1])
    document = _document(options, seed, hops, results, times)
    document["soak"] = [asdict(row) for row in rows]
    if quiet:
        console.print_json(json.dumps(document))
    else:
        _print(console, options, hops, results, times)
    judgements = [j for result in results for j in result.judgements] + list(judged)
    for judgement in judgements:
        if judgement.verdict.exit_code:
            say.print(Text(f"{judgement.verdict.sign} {judgement.check}: {judgement.reason}"))
    return overall(judgements).exit_code


def _numbers(option: str, text: str, known: Sequence[int] = ()) -> list[int]:
    """Those in a list such as 1,10,100, in its order; HarnessError when it is none."""
    words = [word.strip().replace("_", "") for word in text.split(",")]
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise HarnessError(f"{option}: {text!r}: expected numbers such as {option} 1,10,100")
    found = [int(word) for word in words]
    if known and (wrong := [number for number in found if number not in known]):
        raise HarnessError(f"{option}: {wrong[0]}: expected of {', '.join(map(str, known))}")
    return found


def _config(options: argparse.Namespace, nodes: int, accounts: int, seed: int) -> ClusterConfig:
    return ClusterConfig(
        nodes=nodes,
        durability=options.durability,
        accounts=tuple(f"a{number}" for number in range(accounts)),
        initial_balance=RICH_ACCOUNT,
        seed=seed,
    )


def _measure(
    options: argparse.Namespace,
    config: ClusterConfig,
    clients: int,
    each: Callable[[], None],
    watched: Watched,
) -> Result:
    bare = None
    if not options.no_floor:
        with tempfile.TemporaryDirectory(prefix="paxbank-floor-") as folder:
            loads = 1 if clients < 2 else 2
            bare = floor.run(
                clients, loads, options.seconds, options.durability, config.nodes, Path(folder)
            )
    fleet = LoadedFleet(config, clients, options.skew)
    with fleet.running(), watched(fleet.fleet):
        fleet.go()
        fleet.sleep(options.warmup)
        before = fleet.bytes_on_disk()
        window = fleet.measure(options.seconds, each)
        disk = fleet.bytes_on_disk() - before
        judgements = fleet.finish()
    nodes, accounts = config.nodes, len(config.accounts)
    return Result(nodes, accounts, clients, fleet.start_us, window, judgements, disk, bare)


def _failover(
    options: argparse.Namespace, config: ClusterConfig, progress: Progress, watched: Watched
) -> tuple[list[int], tuple[Judgement, ...]]:
    """Fail the leader again and again under the load of ten clients."""
    task = progress.add_task("failover", total=options.failover)
    fleet, random = LoadedFleet(replace(config, failure=options.failure), 10), Random(config.seed)
    times: list[int] = []
    with fleet.running(), watched(fleet.fleet):
        fleet.go()
        fleet.sleep(options.warmup)
        for _ in range(options.failover):
            failed, microseconds = fleet.fail_leader(options.failure)
            times.append(microseconds)
            fleet.recover(failed)
            fleet.sleep(0.1 + random.random() * 0.1)
            progress.advance(task)
        judgements = fleet.finish()
    return times, judgements


# ---- what is shown -----------------------------------------------------------------------------


def _document(
    options: argparse.Namespace,
    seed: int,
    hops: list[int],
    results: list[Result],
    times: list[int],
) -> dict[str, Any]:
    document: dict[str, Any] = {
        "durability": options.durability,
        "nodes": _one_or_all([result.nodes for result in results]),
        "accounts": _one_or_all([result.accounts for result in results]),
        "skew": options.skew,
        "seed": seed,
        "four_hops": {"p50_us": hops[len(hops) // 2], "p99_us": _worst(hops, 0.99)}
        if hops
        else None,
        "results": [_result(result) for result in results],
        "failover": None,
    }
    if times:
        ordered = sorted(times)
        document["failover"] = {
            "failure": options.failure,
            "count": len(times),
            "p50_ms": statistics.median(ordered) / 1000,
            "p99_ms": _worst(ordered, 0.99) / 1000,
            "worst_ms": ordered[-1] / 1000,
        }
    return document


def _result(result: Result) -> dict[str, Any]:
    window, bare = result.window, result.floor_throughput
    answered = max(1, window.answered)
    leader = "" if window.leader is None else f"n{window.leader}"
    cpu = window.cpu_seconds
    backups = [seconds for name, seconds in cpu.items() if name[0] == "n" and name != leader]
    loads = [seconds for name, seconds in cpu.items() if name.startswith("load")]
    return {
        "nodes": result.nodes,
        "accounts": result.accounts,
        "clients": result.clients,
        "start_ms": result.start_us / 1000,
        "throughput": round(window.throughput),
        "p50_ms": window.percentile_ms(0.5),
        "p99_ms": window.percentile_ms(0.99),
        "p999_ms": window.percentile_ms(0.999),
        "max_ms": window.largest_us / 1000,
        "retries": window.retries,
        "cpu_us_per_transfer": {
            "leader": round(cpu.get(leader, 0) * 1e6 / answered, 2),
            "backup": round(sum(backups) / max(1, len(backups)) * 1e6 / answered, 2),
            "clients": round(sum(loads) * 1e6 / answered, 2),
        },
        "resident_mb": round(
            max((b for n, b in window.resident_bytes.items() if n[0] == "n"), default=0) / 1e6, 1
        ),
        "disk_growth_mb": round(result.disk_bytes / 1e6, 1),
        "floor": None
        if result.floor is None or bare is None
        else {
            "throughput": round(bare),
            "p50_ms": percentile(result.floor.histogram, 0.5) / 1000,
            "p99_ms": percentile(result.floor.histogram, 0.99) / 1000,
        },
        "ratio": None if bare is None else round(window.throughput / bare, 3),
        "verdict": overall(result.judgements).value,
    }


def _one_or_all(numbers: list[int]) -> int | list[int]:
    """5 when all are 5, else each once, in the order measured."""
    found = list(dict.fromkeys(numbers))
    return found[0] if len(found) == 1 else found


def _worst(ordered: list[int], share: float) -> int:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _print(
    console: Console,
    options: argparse.Namespace,
    hops: list[int],
    results: list[Result],
    times: list[int],
) -> None:
    if hops:
        console.print(
            f"bare four hops, no protocol and no disk: p50 {hops[len(hops) // 2]} µs, "
            f"p99 {_worst(hops, 0.99)} µs"
        )
    rows = [_result(result) for result in results]
    # What is the same in every row stands in the title.
    varied = [key for key in ("nodes", "accounts") if len({row[key] for row in rows}) > 1]
    fixed = [f"{rows[0][key]:,} {_SHAPE[key]}" for key in _SHAPE if key not in varied]
    title = ", ".join([*fixed, f"durability {options.durability}"])
    heads = (*varied, "clients")
    bare_heads = () if options.no_floor else ("floor", "ratio")
    speed = _table(title, (*heads, "per s", *bare_heads, "p50 ms", "p99", "p99.9", "max"))
    for row in rows:
        cells = [f"{row[key]:,}" for key in (*varied, "clients", "throughput")]
        if row["floor"] is not None:
            cells += [f"{row['floor']['throughput']:,}", f"{row['ratio']:.2f}"]
        cells += [f"{row[key]:.2f}" for key in ("p50_ms", "p99_ms", "p999_ms", "max_ms")]
        speed.add_row(*map(Text, cells))
    console.print(speed)
    cost = _table(
        "µs of CPU per transfer; MB of the largest replica, MB on disk of all",
        (*heads, "leader", "backup", "client", "MB", "disk", "start ms", ""),
    )
    for result, row in zip(results, rows, strict=True):
        used = row["cpu_us_per_transfer"]
        cells = [f"{row[key]:,}" for key in (*varied, "clients")]
        cells += [f"{used[key]:.1f}" for key in ("leader", "backup", "clients")]
        cells += [f"{row[key]:.0f}" for key in ("resident_mb", "disk_growth_mb", "start_ms")]
        cells += [f"{overall(result.judgements).sign} {row['verdict']}"]
        cost.add_row(*map(Text, cells))
    console.print(cost)
    if times:
        ordered = sorted(times)
        shown = (statistics.median(ordered), _worst(ordered, 0.99), ordered[-1])
        p50, p99, worst = (f"{microseconds / 1000:.1f} ms" for microseconds in shown)
        console.print(
            f"{len(times)} leaders failed ({options.failure}): "
            f"without a commit for p50 {p50}, p99 {p99}, worst {worst}"
        )


def _table(title: str, heads: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for head in heads:
        table.add_column(head, justify="right")
    return table
