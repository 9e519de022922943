"""`bench --soak`: does anything grow while millions of transfers run and replicas come and go?

A long run is cut into parts; in each a backup is killed and comes back. What must not grow with
the number of transfers is held against a line fitted through the second half of the run; latency
is no quantity that grows by the transfer, so the second half is held against the first.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median

from rich.console import Console, RenderableType
from rich.text import Text

from harness.bench.histogram import bars
from harness.bench.measuring import LoadedFleet, Window
from harness.check.verdict import Judgement, judge
from harness.errors import HarnessError
from harness.files.config import ClusterConfig
from harness.screen.cells import BAD, GOOD, STRONG, Column, Grid, cell
from harness.screen.watching import Watched

CLIENTS = 100
PARTS = 12
MOST_MB = 50.0  # resident, and on disk, of each replica
MOST_SLOPE = 1.0  # MB per million transfers
LEAST_RISE = 2.0  # MB from the first half's most to the second's; less is how full a log is
# Transfers of the second half. With fewer, what a run needs to get going is read as growth.
LEAST_TRANSFERS = 500_000
TOO_SHORT = f"too short to tell, expected {LEAST_TRANSFERS:,} transfers in the second half"
MOST_SLOWER = 2.0  # median latency of the second half, as a multiple of the first's
LEAST_SECONDS = 0.2  # of a part
_UNITS = {"": 1, "k": 10**3, "m": 10**6}
_HEADS = ("seconds", "transfers", "per s", "p50 ms", "p99", "MB", "disk MB")


@dataclass(frozen=True, slots=True)
class Length:
    """So many seconds, or until so many transfers were answered."""

    seconds: float | None = None
    transfers: int | None = None


def length(text: str) -> Length:
    """60 or 1.5 are seconds, 500k and 5M transfers; HarnessError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmM]?)", text.strip())
    if found is None or float(found[1]) == 0:
        raise HarnessError(f"--soak: {text!r}: expected seconds (60) or transfers (500k, 5M)")
    number, unit = float(found[1]), found[2].lower()
    return Length(transfers=round(number * _UNITS[unit])) if unit else Length(seconds=number)


@dataclass(frozen=True, slots=True)
class SoakRow:
    """One part of the run."""

    seconds: float  # since the start
    answered: int  # since the start
    throughput: float
    p50_ms: float
    p99_ms: float
    resident_mb: float  # of the larger of the two replicas that are never restarted
    largest_mb: float  # resident, of the largest replica of all
    disk_mb: float  # of the largest replica


@dataclass(frozen=True, slots=True)
class Trend:
    """What became of one quantity. `slope` is MB per million transfers, for latency a multiple."""

    name: str
    first: float
    last: float
    largest: float
    slope: float
    most_slope: float
    problem: str  # empty when it stays flat
    is_sure: bool  # False for what may be no more than how such a run begins
    values: Sequence[float] = field(repr=False)

    @property
    def judgement(self) -> Judgement:
        """Flat, or not."""
        if self.is_sure:
            return judge(f"flat {self.name}", filter(None, [self.problem]))
        return judge(f"flat {self.name}", [], f"{self.problem}; {TOO_SHORT}")

    @property
    def word(self) -> str:
        """What is said of it."""
        return "flat" if not self.problem else "not flat" if self.is_sure else "too short"


@dataclass(frozen=True, slots=True)
class Soaked:
    """A whole run."""

    rows: Sequence[SoakRow]
    trends: Sequence[Trend]
    judgements: tuple[Judgement, ...]


def run(config: ClusterConfig, wanted: Length, console: Console, watched: Watched) -> Soaked:
    """Soak a cluster for so long, inside `watched`; a line per part, then what became of it."""
    fleet, rows = LoadedFleet(config, CLIENTS), list[SoakRow]()
    console.print(_line(_HEADS, STRONG))
    with fleet.running(), watched(fleet.fleet):
        fleet.go()
        fleet.sleep(LEAST_SECONDS)
        while (seconds := _next_part(wanted, rows)) is not None:
            rows.append(_row(fleet, fleet.measure(seconds), rows[-1] if rows else None))
            console.print(_line(_written(rows[-1])))
            _fail_and_return(fleet, 3 + len(rows) % (config.nodes - 2))
        judgements = fleet.finish()
    found = trends(rows)
    for table in trend_tables(rows, found):
        console.print(table)
    return Soaked(rows, found, (*judgements, *(trend.judgement for trend in found)))


def _next_part(wanted: Length, rows: Sequence[SoakRow]) -> float | None:
    """Seconds of the next part; None when all is done. The first part tells how fast it goes."""
    if wanted.transfers is None:
        assert wanted.seconds is not None
        return wanted.seconds / PARTS if len(rows) < PARTS else None
    if not rows:
        return LEAST_SECONDS
    left = wanted.transfers - rows[-1].answered
    if left <= 0 and len(rows) >= PARTS:
        return None
    at_this_rate = left / max(1.0, rows[-1].answered / rows[-1].seconds)
    return max(LEAST_SECONDS, at_this_rate / max(1, PARTS - len(rows)))


def _row(fleet: LoadedFleet, window: Window, before: SoakRow | None) -> SoakRow:
    resident = {name: size / 1e6 for name, size in window.resident_bytes.items() if name[0] == "n"}
    return SoakRow(
        seconds=window.seconds + (before.seconds if before is not None else 0),
        answered=window.answered + (before.answered if before is not None else 0),
        throughput=window.throughput,
        p50_ms=window.percentile_ms(0.5),
        p99_ms=window.percentile_ms(0.99),
        resident_mb=max(resident["n1"], resident["n2"]),
        largest_mb=max(resident.values()),
        disk_mb=max(fleet.bytes_on_disk().values()) / 1e6,
    )


def _fail_and_return(fleet: LoadedFleet, replica: int) -> None:
    """Kill a backup, let the others go on, and bring it back. n1 and n2 are left alone."""
    fleet.fleet.change([replica], [], "crash")
    fleet.sleep(0.2)
    fleet.recover(replica)


# ---- what became of it -------------------------------------------------------------------------


def trends(rows: Sequence[SoakRow]) -> list[Trend]:
    """Of memory, disk and latency, over all parts."""
    memory = _sizes("memory", rows, [r.resident_mb for r in rows], [r.largest_mb for r in rows])
    disk = [r.disk_mb for r in rows]
    return [memory, _sizes("disk", rows, disk, disk), _latency(rows)]


def _is_long(rows: Sequence[SoakRow]) -> bool:
    return rows[-1].answered - rows[len(rows) // 2].answered >= LEAST_TRANSFERS


def _sizes(
    name: str, rows: Sequence[SoakRow], values: Sequence[float], highest: Sequence[float]
) -> Trend:
    half = len(rows) // 2
    millions = [row.answered / 1e6 for row in rows[half:]]
    rise = slope(millions, values[half:])
    # What comes and goes, as a log does between two checkpoints, is as high at first as later.
    higher = max(values[half:]) - max(values[:half] or values)
    largest = max(highest)
    problem, is_sure = "", True
    if largest > MOST_MB:
        problem = f"{largest:.1f} MB, expected at most {MOST_MB:.0f}"
    elif rise > MOST_SLOPE and higher > LEAST_RISE:
        problem = f"grows by {rise:.2f} MB per million transfers, expected at most {MOST_SLOPE:.0f}"
        is_sure = _is_long(rows)
    return Trend(name, values[0], values[-1], largest, rise, MOST_SLOPE, problem, is_sure, values)


def _latency(rows: Sequence[SoakRow]) -> Trend:
    values, half = [row.p50_ms for row in rows], len(rows) // 2
    first, second = median(values[:half] or values), median(values[half:])
    times = second / first if first else 1.0
    problem = ""
    if times > MOST_SLOWER:
        problem = f"p50 {second:.2f} ms after {first:.2f} ms, expected at most {MOST_SLOWER:.0f} ×"
    return Trend(
        "latency",
        values[0],
        values[-1],
        max(values),
        times,
        MOST_SLOWER,
        problem,
        not problem or _is_long(rows),
        values,
    )


def slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Of the least-squares line through the points; 0 when all x are the same."""
    middle_x, middle_y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - middle_x) ** 2 for x in xs)
    if spread == 0:
        return 0.0
    return sum((x - middle_x) * (y - middle_y) for x, y in zip(xs, ys, strict=True)) / spread


# ---- what is shown -----------------------------------------------------------------------------


def _written(row: SoakRow) -> tuple[str, ...]:
    return (
        f"{row.seconds:.1f}",
        f"{row.answered:,}",
        f"{row.throughput:,.0f}",
        f"{row.p50_ms:.2f}",
        f"{row.p99_ms:.2f}",
        f"{row.largest_mb:.1f}",
        f"{row.disk_mb:.1f}",
    )


def _line(cells: Sequence[str], style: str = "") -> Text:
    """A row that is printed before the next one is known: its columns have fixed widths."""
    widths = (8, 11, 8, 7, 7, 6, 8)
    return Text("".join(f"{text:>{w}}" for text, w in zip(cells, widths, strict=True)), style)


def trend_tables(rows: Sequence[SoakRow], found: Sequence[Trend]) -> Iterator[RenderableType]:
    """One line for each quantity: its course from zero up, and whether it is flat."""
    yield Text()
    speeds = [row.throughput for row in rows]
    lines = [[cell("per s"), cell(bars(speeds)), cell(f"{max(speeds):,.0f}"), cell(""), cell("")]]
    for trend in found:
        is_latency = trend.name == "latency"
        told = f"× {trend.slope:.2f}" if is_latency else f"{trend.slope:+.2f} MB/million"
        sign = trend.judgement.verdict.sign
        lines.append(
            [
                cell(trend.name),
                cell(bars(trend.values)),
                cell(f"{trend.largest:.2f} ms" if is_latency else f"{trend.largest:.1f} MB"),
                cell(told),
                cell(
                    f"{sign} {trend.word}",
                    BAD if trend.problem else GOOD,
                ),
            ]
        )
    columns = [
        Column(""),
        Column("from 0 up"),
        Column("most", right=True),
        Column("second half", right=True),
        Column(""),
    ]
    yield Grid(columns, lines, gaps=(3, 1))
