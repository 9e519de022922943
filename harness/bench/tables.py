"""What `bench` shows: speed, ranges, costs and a histogram of latencies; pure renderables."""

from collections.abc import Callable, Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from harness.bench.histogram import Histograms
from harness.bench.results import Result
from harness.cluster.wording import counted
from harness.screen.cells import BAD, GOOD, QUIET, STRONG, Column, Grid, cell, sentence

SHAPE = {"nodes": "replicas", "accounts": "accounts"}  # of a cluster, and how it is called

# Name, key of the figure, how it is written, and when narrow screens drop it (0: never).
_Figure = tuple[str, str, str, int]
_SPEED: tuple[_Figure, ...] = (
    ("per s", "throughput", ",.0f", 0),
    ("floor's", "floor.throughput", ",.0f", 1),
    ("ratio", "ratio", ".2f", 0),
    ("p50 ms", "p50_ms", ".2f", 0),
    ("floor's", "floor.p50_ms", ".2f", 2),
    ("ratio", "p50_ratio", ".2f", 0),
    ("p99", "p99_ms", ".2f", 5),
    ("p99.9", "p999_ms", ".2f", 3),
    ("max", "max_ms", ".1f", 4),
    ("retries", "retries", ",.0f", 6),  # of requests after a time-out; there should be none
)
_COST: tuple[_Figure, ...] = (
    ("leader", "cpu_us.leader", ".1f", 0),
    ("backup", "cpu_us.backup", ".1f", 3),
    ("clients", "cpu_us.clients", ".1f", 1),
    ("queue B", "bytes.queues", ",.0f", 5),
    ("disk B", "bytes.disk", ",.0f", 4),
    ("MB", "resident_mb", ".1f", 2),
    ("start ms", "start_ms", ",.0f", 0),
)


# A machine that is slow in one run and quick in the next makes the two differ a lot.
OF_PAIRS = "A ratio is the median of those of each run, not the quotient of two medians."


def bench_tables(
    durability: str, hops: Sequence[int], results: Sequence[Result]
) -> Iterator[RenderableType]:
    """All tables of the results, which are not empty; `hops` in µs, sorted."""
    shape = _Shape(results)
    repeats = len(results[0].pairs)
    measured = f"medians of {repeats} runs" if repeats > 1 else ""
    yield Text(
        " " + ", ".join(filter(None, (*shape.fixed, f"durability {durability}", measured))), STRONG
    )
    if hops:
        p50, p99 = hops[len(hops) // 2], hops[int(len(hops) * 0.99)]
        yield sentence(f"The bare four hops, no protocol, no disk: p50 {p50} µs, p99 {p99} µs")
    yield Text()
    yield _table(shape, _SPEED, results)
    if repeats > 1:
        if results[0].pairs[0].floor is not None:
            yield Text()
            yield sentence(OF_PAIRS, QUIET)
        yield from _ranges(shape, results)
    yield Text()
    yield sentence("µs of CPU and bytes per transfer; MB resident, and ms to start:", QUIET)
    yield _table(shape, _COST, results, _verdict)
    yield Text()
    yield sentence("Answers by latency, each line up to its own peak:", QUIET)
    yield Histograms(list(_histogram_lines(shape, results)))


class _Shape:
    """What tells rows apart, and what is the same in all of them and stands in the title."""

    def __init__(self, results: Sequence[Result]) -> None:
        self.varied = [key for key in SHAPE if len({getattr(r, key) for r in results}) > 1]
        first = results[0]
        self.fixed = [
            f"{getattr(first, key):,} {noun}"
            for key, noun in SHAPE.items()
            if key not in self.varied
        ]
        self.columns = [Column(SHAPE.get(k, k), right=True) for k in (*self.varied, "clients")]

    def cells(self, result: Result) -> list[Text]:
        """Those of `columns`."""
        return [cell(f"{getattr(result, key):,}") for key in (*self.varied, "clients")]


def _verdict(result: Result) -> Text:
    verdict = result.verdict()
    return cell(f"{verdict.sign} {verdict.value}", BAD if verdict.exit_code else GOOD)


def _table(
    shape: _Shape,
    figures: Sequence[_Figure],
    results: Sequence[Result],
    last: Callable[[Result], Text] | None = None,
) -> Grid:
    """One row per result; figures that no result has are left out, and retries if all are 0."""
    found = [result.figures() for result in results]
    shown = [figure for figure in figures if any(figure[1] in each for each in found)]
    shown = [f for f in shown if f[1] != "retries" or any(each["retries"] for each in found)]
    columns = [*shape.columns, *(Column(f[0], right=True, drop=f[3]) for f in shown)]
    rows = []
    for result, each in zip(results, found, strict=True):
        row = [*shape.cells(result), *(cell(_written(each.get(f[1]), f[2])) for f in shown)]
        rows.append(row if last is None else [*row, last(result)])
    return Grid(columns if last is None else [*columns, Column("")], rows, gaps=(2, 1))


def _written(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _ranges(shape: _Shape, results: Sequence[Result]) -> Iterator[RenderableType]:
    yield Text()
    yield sentence(f"The ranges of {counted(len(results[0].pairs), 'run')}:", QUIET)
    ranges = [result.ranges() for result in results]
    shown = [f for f in _SPEED if any(f[1] in each for each in ranges)]
    rows = []
    for result, each in zip(results, ranges, strict=True):
        pairs = (each.get(figure[1]) for figure in shown)
        written = (
            "–" if pair is None else "–".join(format(bound, figure[2]) for bound in pair)
            for pair, figure in zip(pairs, shown, strict=True)
        )
        rows.append([*shape.cells(result), *map(cell, written)])
    drops = {"p99_ms": 1, "throughput": 2, "p50_ms": 3}
    columns = (Column(f[0], right=True, drop=drops.get(f[1], 0)) for f in shown)
    yield Grid([*shape.columns, *columns], rows, gaps=(2, 1))


def _histogram_lines(
    shape: _Shape, results: Sequence[Result]
) -> Iterator[tuple[Text, dict[int, int]]]:
    for result in results:
        here, floor = result.histograms()
        varied = (f"{getattr(result, key):,} · " for key in shape.varied)
        yield Text("".join(varied) + counted(result.clients, "client")), here
        yield Text("floor", QUIET), floor
