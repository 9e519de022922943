"""`bench --soak`: does anything grow while millions of transfers run and replicas come and go?

A long run is cut into equal parts; in each a backup is killed and comes back. What must not grow
with the number of transfers is held against a line fitted through the second half of the run.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from harness.check.verdict import Judgement, judge
from harness.config import ClusterConfig
from harness.console_watch import Watched
from harness.live.benchmark import LoadedFleet

CLIENTS = 100
PARTS = 12
MOST_MB = 50.0  # resident, and on disk, of each replica
MOST_SLOPE = 1.0  # MB per million transfers


@dataclass(frozen=True, slots=True)
class SoakRow:
    """One part of the run."""

    seconds: float  # since the start
    answered: int  # since the start
    throughput: float
    p50_ms: float
    p99_ms: float
    resident_mb: float  # of the largest replica that was never restarted
    disk_mb: float  # per replica


def run(
    config: ClusterConfig, seconds: float, console: Console, watched: Watched
) -> tuple[list[SoakRow], tuple[Judgement, ...]]:
    """Soak a cluster for so long, inside `watched`; prints a line per part."""
    fleet, rows = LoadedFleet(config, CLIENTS), list[SoakRow]()
    answered, passed = 0, 0.0
    console.print("soak      seconds  transfers     per s   p50 ms   p99 ms  resident MB  disk MB")
    with fleet.running(), watched(fleet.fleet):
        fleet.go()
        for part in range(PARTS):
            window = fleet.measure(seconds / PARTS)
            answered, passed = answered + window.answered, passed + window.seconds
            row = SoakRow(
                passed,
                answered,
                window.throughput,
                window.percentile_ms(0.5),
                window.percentile_ms(0.99),
                max(window.resident_bytes[f"n{r}"] for r in (1, 2)) / 1e6,
                fleet.bytes_on_disk() / config.nodes / 1e6,
            )
            rows.append(row)
            console.print(
                f"{row.seconds:17.1f} {row.answered:10,} {row.throughput:9,.0f} {row.p50_ms:8.2f}"
                f" {row.p99_ms:8.2f} {row.resident_mb:12.1f} {row.disk_mb:8.1f}"
            )
            _fail_and_return(fleet, 3 + part % (config.nodes - 2))
        judgements = fleet.finish()
    return rows, (*judgements, _flat("memory", rows), _flat("disk", rows))


def _fail_and_return(fleet: LoadedFleet, replica: int) -> None:
    """Kill a backup, let the others go on, and bring it back. n1 and n2 are left alone."""
    fleet.fleet.change([replica], [], "crash")
    fleet.sleep(0.2)
    fleet.recover(replica)


def _flat(what: str, rows: Sequence[SoakRow]) -> Judgement:
    late = rows[len(rows) // 2 :]
    values = [row.resident_mb if what == "memory" else row.disk_mb for row in late]
    rise = slope([row.answered / 1e6 for row in late], values)
    problems = []
    if max(values) > MOST_MB:
        problems.append(f"{max(values):.1f} MB, expected at most {MOST_MB:.0f}")
    if rise > MOST_SLOPE:
        problems.append(f"grows by {rise:.2f} MB per million transfers, at most {MOST_SLOPE:.0f}")
    return judge(f"flat {what}", problems)


def slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Of the least-squares line through the points; 0 when all x are the same."""
    middle_x, middle_y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - middle_x) ** 2 for x in xs)
    if spread == 0:
        return 0.0
    return sum((x - middle_x) * (y - middle_y) for x, y in zip(xs, ys, strict=True)) / spread
