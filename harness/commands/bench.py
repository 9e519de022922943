"""Measure throughput, latency and failover under load, against the floor of the same run.

Closed-loop clients in one or two processes over the same queues as any client. Every transfer of a
benchmark is checked afterwards: a fast wrong answer is a failure.

What is compared is measured side by side: each measurement has a floor of its own, right before
or after it in turns, and several runs go round over all shapes, so that a machine that gets slower
meanwhile does so for both.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import product
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from bank.accounts import Accounts
from harness.bench import baseline, failover, others, soak
from harness.bench.measuring import LoadedFleet
from harness.bench.results import Pair, Result
from harness.bench.tables import bench_tables
from harness.check.verdict import Judgement, overall
from harness.cluster.wording import counted
from harness.errors import EXIT_VALID, HarnessError, ignored, is_given
from harness.files.config import DURABILITIES, MOST_ACCOUNTS, NODES, ClusterConfig
from harness.files.text_file import shown
from harness.run import launch
from harness.screen import consoles
from harness.screen.cells import BAD, Heading
from harness.screen.watching import View, Watched

RICH_ACCOUNT = 10**9  # so that no transfer fails for lack of balance
CLIENTS = "1,10,100,1000"
MOST_CLIENTS = 100_000
SHORT_SECONDS = 10.0  # a measurement up to that has a floor beside it, if nothing is said of it
TURNS = 3  # of --router, at least: what it measures is a ratio
TICKS = 10  # of the progress bar, a second
EXAMPLES = (
    ("", "throughput and latency at 1, 10, 100 and 1000 clients"),
    ("--clients 100 --no-floor", "one figure, in a few seconds"),
    ("--clients 1,100 --repeat 5", "medians and ranges of five runs, with a floor for each"),
    ("--clients 100 --nodes 3,5,7,9", "against the number of replicas; start-up too"),
    ("--clients 100 --accounts 10,1000,100000", "against the number of accounts"),
    ("--failover 50", "how long nothing is committed when the leader is killed, and why"),
    ("--failover 20 --failure disconnect", "the same when it falls silent"),
    ("--soak 60", "does anything grow in a minute?"),
    ("--soak 5M", "does anything grow in five million transfers?"),
    ("--replicas their.yaml --clients 1,10", "other people's replicas"),
    ("--clients 1000 --seconds 20 --watch", "see the replicas meanwhile"),
)
# What each kind of measurement looks at; whatever else is given with it would be ignored.
RUNS = frozenset({"durability", "nodes", "accounts", "watch", "seed", "format"})
USED = {
    "clients": RUNS | {"clients", "seconds", "warmup", "repeat", "skew", "floor"},
    "failover": RUNS | {"failover", "failure", "clients", "warmup"},
    "soak": RUNS | {"soak"},
    "replicas": frozenset({"replicas", "clients", "seconds", "warmup", "nodes", "seed"}),
    "router": frozenset({"router", "seconds", "repeat"}),
}
# What each kind does without being asked for, though it looks at no such option.
ONCE = {"repeat": 1, "skew": 0.0}
ANYWAY: Mapping[str, Mapping[str, object]] = {
    "failover": ONCE,
    "soak": ONCE,
    "replicas": {**ONCE, **launch.OF_OTHERS, "format": "rich"},
    "router": {"format": "rich"},
}
DEFAULTS = {
    "seconds": 3.0,
    "warmup": 0.5,
    "durability": "process",
    "nodes": "5",
    "accounts": "10",
    "skew": 0.0,
    "failure": "crash",
    "format": "rich",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `bench`."""
    add = parser.add_argument
    add("--clients", metavar="K", help=f"closed-loop clients; several as 1,10 [{CLIENTS}; none "
        "beside --failover and --soak]")  # fmt: skip
    add("--seconds", type=float, help="measured for each number of clients [3]")
    add("--warmup", type=float, help="seconds before that [0.5]")
    add("--repeat", type=int, metavar="N", help="measure N times: medians, ranges [1]")
    add("--durability", choices=DURABILITIES, metavar="|".join(DURABILITIES),
        help="what a replica's disk survives: the death of its process, also loss of power, "
        "nothing [process]")  # fmt: skip
    add("--nodes", help="replicas; several as 3,5,7,9 [5]")
    add("--accounts", help="how many accounts; several as 10,1000 [10]")
    add("--skew", type=float, help="Zipf exponent over accounts; 0 is uniform [0]")
    add("--floor", action=argparse.BooleanOptionalAction,
        help="measure the floor beside it [for one shape, up to 10 s each]")  # fmt: skip
    add("--failover", type=int, metavar="N", help="fail the leader N times, under the "
        "load of the first of --clients [10 clients]")  # fmt: skip
    add("--failure", choices=("crash", "disconnect"), help="how it fails [crash]")
    add("--soak", metavar="T", help="run T seconds (60) or transfers (500k, 5M), replicas failing, "
        "and watch memory, disk and latency")  # fmt: skip
    add("--replicas", metavar="FILE", help="other people's replicas: a YAML file that describes "
        "them, or the command that starts one")  # fmt: skip
    add("--router", action="store_true", help="measure what carries messages and bytes of other "
        "people's replicas, beside the least that does")  # fmt: skip
    add("--watch", action="store_true", help="show the replicas while they are measured")
    add("--seed", type=int, help="of transfers and time-outs [random]")
    add("--format", choices=("rich", "json"), help="tables or one document [rich]")


def run(options: argparse.Namespace, console: Console) -> int:
    """Benchmark; exit code 1 when answers were wrong, or when a soaked cluster grew."""
    _check_used(options)
    least_repeat = TURNS if options.router else 1
    for name, value in {**DEFAULTS, "repeat": least_repeat}.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    _check_numbers(options, least_repeat)
    if options.router:
        console.print(others.router_table(options.seconds, options.repeat))
        return EXIT_VALID
    clients = _numbers("--clients", options.clients or CLIENTS)
    if options.replicas is not None:
        return _measure_others(options, clients, console)
    shapes = list(
        product(
            _numbers("--nodes", options.nodes, NODES),
            _numbers("--accounts", options.accounts, least=2, most=MOST_ACCOUNTS),
        )
    )
    length = None if options.soak is None else soak.length(options.soak)
    if options.clients is None and (options.failover or length is not None):
        clients = []
        if len(shapes) > 1:
            many = f"{options.nodes} replicas with {options.accounts} accounts"
            raise HarnessError(f"--nodes, --accounts: found {many}, expected one of each here")
    if options.floor is None:
        options.floor = len(shapes) == 1 and options.seconds <= SHORT_SECONDS
    seed = launch.drawn(options.seed)
    configs = [_config(options, *shape, seed) for shape in shapes]

    quiet = options.format == "json"
    say = Console(stderr=True) if quiet else console
    view = View(say, options.watch)
    hops, results, failovers, soaked = list[int](), list[Result](), None, None
    columns = (TextColumn("{task.description}"), BarColumn())
    with Progress(*columns, console=say, transient=True, disable=not say.is_terminal) as progress:
        watched = view.over(progress)
        if clients:
            hops, results = _measure_all(options, configs, clients, progress, watched)
        if options.failover:
            failovers = _failover(options, configs[0], clients, progress, watched)
    if not quiet and results:
        for table in bench_tables(options.durability, hops, results):
            console.print(table)
    if not quiet and failovers is not None:
        for table in failover.tables(failovers):
            console.print(table)
    if length is not None:
        soaked = soak.run(configs[0], length, say, view.over(lambda: Heading("soak")))
    if quiet:
        console.print_json(
            json.dumps(_document(options, seed, shapes, hops, results, failovers, soaked))
        )
    judgements = [j for result in results for pair in result.pairs for j in pair.judgements]
    judgements += [] if failovers is None else failovers.judgements
    judgements += [] if soaked is None else soaked.judgements
    return _ended(judgements, say)


def _measure_others(options: argparse.Namespace, clients: Sequence[int], console: Console) -> int:
    """Other people's replicas, at each number of clients."""
    description = launch.replicas(options.replicas)
    assert description is not None
    nodes, *more = _numbers("--nodes", options.nodes, NODES)
    if more:
        raise HarnessError(f"--nodes: found {options.nodes}, expected one number with --replicas")
    seed = launch.drawn(options.seed)
    figures = []
    fixed = description.fixed
    is_fixed = "accounts" in fixed  # each account is a client: then there are as many as those
    for count in clients if options.clients and not is_fixed else (0,) if is_fixed else (1, 10):
        wanted = {"accounts": f"c1..c{count + 1}", "initial_balance": RICH_ACCOUNT}
        flags = {key: value for key, value in wanted.items() if key not in fixed}
        settings = launch.settings(
            {"nodes": nodes, "seed": seed, **flags}, {}, description=description
        )
        if is_fixed and options.clients and list(clients) != [len(settings.accounts)]:
            what = f"--clients: {options.clients}: accounts are fixed in the replicas' source"
            raise HarnessError(f"{what}, expected {len(settings.accounts)}")
        asking = settings.accounts[: count or None]  # one account more can be paid
        figures.append(
            others.measure(description, settings, asking, options.seconds, options.warmup)
        )
    for table in others.tables(description, figures):
        console.print(table)
    judgements = [judgement for one in figures for judgement in one.judgements]
    return _ended(judgements, console)


def _ended(judgements: Sequence[Judgement], console: Console) -> int:
    """Say what does not hold, or could not be decided; the exit code."""
    wrong = [j for j in judgements if j.verdict.exit_code]
    consoles.print_parts(
        console, (Text(f" {j.verdict.sign} {j.check}: {j.reason}", BAD) for j in wrong)
    )
    return overall(judgements).exit_code


# ---- what was asked for ------------------------------------------------------------------------


def _numbers(
    option: str, text: str, known: Sequence[int] = (), least: int = 1, most: int = MOST_CLIENTS
) -> list[int]:
    """Those in a list such as 1,10,100, in its order; HarnessError when it is none."""
    words = [word.strip().replace("_", "") for word in text.split(",")]
    if not all(word.isdecimal() and len(word) < 1000 and int(word) > 0 for word in words):
        raise HarnessError(f"{option}: {shown(text)!r}: expected numbers such as {option} 1,10,100")
    found = [int(word) for word in words]
    if known and (wrong := [number for number in found if number not in known]):
        raise HarnessError(f"{option}: {wrong[0]}: expected some of {', '.join(map(str, known))}")
    if min(found) < least:
        raise HarnessError(f"{option}: {min(found)}: expected {least} or more")
    if max(found) > most:
        raise HarnessError(f"{option}: {max(found)}: expected {most} or less")
    return found


def _check_used(options: argparse.Namespace) -> None:
    """HarnessError for whatever is given and would be ignored."""
    names = dict.fromkeys(name for used in USED.values() for name in sorted(used))
    given = {name: value for name in names if is_given(value := getattr(options, name))}
    alone = [name for name in given if name in ("replicas", "router")][:1]
    kinds = alone or [name for name in given if name in ("failover", "soak", "clients")]
    used = frozenset[str]().union(*(USED[kind] for kind in kinds or ("clients",)))
    reasons = {name: "" for name in given if name not in used}
    problems = []
    if not alone and reasons.pop("failure", None) is not None:
        problems.append("--failure: belongs to --failover, expected --failover N beside it")
    if "replicas" in kinds:
        reasons |= {name: why for name, why in launch.OF_OURS.items() if name in reasons}
    anyway = {key: value for kind in kinds for key, value in ANYWAY.get(kind, {}).items()}
    beside = " and ".join(f"--{kind}" for kind in kinds)
    if problems := [*problems, *ignored(beside, given, reasons, anyway)]:
        raise HarnessError(*problems)


def _check_numbers(options: argparse.Namespace, least_repeat: int) -> None:
    """HarnessError for the first that makes no sense."""
    for name, least in (("warmup", 0), ("skew", 0), ("failover", 1), ("repeat", least_repeat)):
        value = getattr(options, name)
        if value is not None and not least <= value < float("inf"):
            raise HarnessError(f"--{name}: {value}: expected {least} or more")
    if not 0 < options.seconds < float("inf"):
        raise HarnessError(f"--seconds: {options.seconds}: expected more than 0")


def _config(options: argparse.Namespace, nodes: int, accounts: int, seed: int) -> ClusterConfig:
    return ClusterConfig(
        nodes=nodes,
        durability=options.durability,
        accounts=Accounts.numbered("a", 0, accounts),
        initial_balance=RICH_ACCOUNT,
        seed=seed,
    )


# ---- measuring ---------------------------------------------------------------------------------


def _measure_all(
    options: argparse.Namespace,
    configs: Sequence[ClusterConfig],
    clients: Sequence[int],
    progress: Progress,
    watched: Watched,
) -> tuple[list[int], list[Result]]:
    """The bare four hops of all runs in µs, sorted, and the results in the order of the lists."""
    rows = list(product(configs, clients))
    pairs: list[list[Pair]] = [[] for _ in rows]
    hops: list[int] = []
    parts = 2 if options.floor else 1
    total = options.repeat * len(rows) * parts * options.seconds * TICKS
    task = progress.add_task("", total=total)
    for turn in range(options.repeat):
        if options.floor:
            hops += baseline.four_hops(configs[0].nodes)
        for at, (config, number) in enumerate(rows):
            what = f"{config.nodes} replicas, {len(config.accounts):,} accounts, "
            what += counted(number, "client")
            progress.update(task, description=what)
            is_floor_first = (turn + at) % 2 == 0
            pairs[at].append(
                _pair(
                    options, config, number, is_floor_first, lambda: progress.advance(task), watched
                )
            )
    progress.remove_task(task)
    return sorted(hops), [
        Result(config.nodes, len(config.accounts), number, found)
        for (config, number), found in zip(rows, pairs, strict=True)
    ]


def _pair(
    options: argparse.Namespace,
    config: ClusterConfig,
    clients: int,
    is_floor_first: bool,
    each: Callable[[], None],
    watched: Watched,
) -> Pair:
    def bare() -> baseline.FloorFigures | None:
        if not options.floor:
            return None
        return baseline.run(clients, options.seconds, options.durability, config.nodes, each)

    before = bare() if is_floor_first else None
    fleet = LoadedFleet(config, clients, options.skew)
    with fleet.running(), watched(fleet.fleet):
        fleet.go()
        fleet.sleep(options.warmup)
        held = sum(fleet.bytes_on_disk().values())
        window = fleet.measure(options.seconds, each)
        growth = sum(fleet.bytes_on_disk().values()) - held
        judgements = fleet.finish()
    return Pair(fleet.start_us, window, judgements, growth, before or bare())


def _failover(
    options: argparse.Namespace,
    config: ClusterConfig,
    clients: Sequence[int],
    progress: Progress,
    watched: Watched,
) -> failover.Failovers:
    task = progress.add_task(f"{options.failover} leaders fail", total=options.failover)
    load = clients[0] if clients else failover.CLIENTS
    config = replace(config, failure=options.failure)
    found = failover.run(
        config, load, options.failover, options.warmup, lambda: progress.advance(task), watched
    )
    progress.remove_task(task)
    return found


# ---- the document ------------------------------------------------------------------------------


def _document(
    options: argparse.Namespace,
    seed: int,
    shapes: Sequence[tuple[int, int]],
    hops: Sequence[int],
    results: Sequence[Result],
    failovers: failover.Failovers | None,
    soaked: soak.Soaked | None,
) -> dict[str, Any]:
    return {
        "durability": options.durability,
        "nodes": _one_or_all([nodes for nodes, _ in shapes]),
        "accounts": _one_or_all([accounts for _, accounts in shapes]),
        "skew": options.skew,
        "seed": seed,
        "repeat": options.repeat,
        "four_hops": {"p50_us": hops[len(hops) // 2], "p99_us": hops[int(len(hops) * 0.99)]}
        if hops
        else None,
        "results": [result.document() for result in results],
        "failover": None if failovers is None else failovers.document(),
        "soak": [] if soaked is None else [asdict(row) for row in soaked.rows],
        "flat": None if soaked is None else [asdict(trend) for trend in soaked.trends],
    }


def _one_or_all(numbers: list[int]) -> int | list[int]:
    """5 when all are 5, else each once, in the order given."""
    found = list(dict.fromkeys(numbers))
    return found[0] if len(found) == 1 else found
