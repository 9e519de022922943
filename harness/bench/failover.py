"""`bench --failover`: how long is nothing committed when the leader fails, and why so long?

What clients see counts: from the failure to the first answer that any of them gets under another
leader. What no leader decides (an old answer, told again by a backup) is no such answer.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from statistics import mean
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from harness.bench.histogram import Histograms
from harness.bench.load import bucket_of
from harness.bench.measuring import LoadedFleet
from harness.bench.outage import Outage
from harness.check.verdict import Judgement
from harness.cluster.wording import counted
from harness.files.config import ClusterConfig
from harness.screen.cells import QUIET, STRONG, Column, Grid, cell, percentile, sentence
from harness.screen.watching import Watched

CLIENTS = 10
PAUSE_SECONDS = 0.1  # at least, between two failures; at most twice that
PHASES = ("noticing", "election", "retry", "recovery")
_FAILED = {"crash": "killed", "disconnect": "cut off"}


@dataclass(frozen=True, slots=True)
class Failovers:
    """Outages of one run, in their order."""

    failure: str
    clients: int
    outages: Sequence[Outage]
    slowest_us: int  # that any single request waited, leaders alive or not
    judgements: tuple[Judgement, ...]

    def times(self, phase: str = "total") -> list[int]:
        """Microseconds of this phase, sorted."""
        return sorted(getattr(outage, phase) for outage in self.outages)

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "failure": self.failure,
            "clients": self.clients,
            "count": len(self.outages),
            **_figures(self.times()),
            "slowest_answer_ms": self.slowest_us / 1000,
            "phases": {phase: _figures(self.times(phase)) for phase in PHASES},
        }


def run(
    config: ClusterConfig,
    clients: int,
    times: int,
    warmup: float,
    each: Callable[[], None],
    watched: Watched,
) -> Failovers:
    """Fail the leader so many times in `config.failure` mode; `each` is called after each."""
    fleet, random = LoadedFleet(config, clients), Random(config.seed)
    outages: list[Outage] = []
    with fleet.running(), watched(fleet.fleet):
        fleet.go()
        fleet.sleep(warmup)
        for _ in range(times):
            failed, outage = fleet.fail_leader(config.failure)
            outages.append(outage)
            fleet.recover(failed)
            fleet.sleep(PAUSE_SECONDS * (1 + random.random()))
            each()
        slowest = fleet.slowest_us()
        judgements = fleet.finish()
    return Failovers(config.failure, clients, outages, slowest, judgements)


def tables(found: Failovers) -> Iterator[RenderableType]:
    """What a terminal shows of it."""
    times, load = counted(len(found.outages), "time"), counted(found.clients, "client")
    yield Text(f" Leader {_FAILED[found.failure]} {times}, {load}", STRONG)
    columns = [Column("ms without a commit"), *(Column(n, right=True) for n in _FIGURES)]
    rows = []
    for phase in ("total", *PHASES):
        figures = _figures(found.times(phase)).values()
        label = "altogether" if phase == "total" else f"  {phase}"
        rows.append([cell(label), *(cell(f"{figure:.1f}") for figure in figures)])
    yield Grid(columns, rows)
    yield Text()
    yield Histograms([(Text("altogether"), Counter(map(bucket_of, found.times())))])
    yield sentence(
        f"No answer to any client took longer than {found.slowest_us / 1000:.0f} ms.", QUIET
    )


_FIGURES = ("p50", "p99", "worst", "mean")


def _figures(ordered: Sequence[int]) -> dict[str, float]:
    p50, p99 = percentile(ordered, 50), percentile(ordered, 99)
    values = (p50, p99, ordered[-1], mean(ordered))
    return {f"{name}_ms": round(us / 1000, 3) for name, us in zip(_FIGURES, values, strict=True)}
