"""What a benchmark found: pairs of a measurement and of the floor beside it, medians and ranges."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from bank.ballot import replica_name
from harness.bench.baseline import FloorFigures
from harness.bench.load import summed
from harness.bench.measuring import Window, percentile
from harness.check.verdict import Judgement, Verdict, overall

NESTED = {"cpu_us": "cpu_us_per_transfer", "bytes": "bytes_per_transfer", "floor": "floor"}
RANGED = ("throughput", "p50_ms", "p99_ms", "ratio", "p50_ratio")


@dataclass(frozen=True, slots=True)
class Pair:
    """One measurement, and the floor measured just before or after it."""

    start_us: int  # until every replica was ready
    window: Window
    judgements: tuple[Judgement, ...]
    disk_growth: int  # bytes, of all replicas together
    floor: FloorFigures | None

    def figures(self) -> dict[str, float | None]:
        """Every figure by name, as in the JSON document; a dot stands for a level there."""
        window = self.window
        answered = max(1, window.answered)
        resident = [size for name, size in window.resident_bytes.items() if name[0] == "n"]
        found: dict[str, float | None] = {
            "start_ms": self.start_us / 1000,
            "throughput": round(window.throughput),
            "p50_ms": window.percentile_ms(0.5),
            "p99_ms": window.percentile_ms(0.99),
            "p999_ms": window.percentile_ms(0.999),
            "max_ms": window.largest_us / 1000,
            "retries": window.retries,
            **{f"cpu_us.{who}": cpu * 1e6 / answered for who, cpu in self._cpu_seconds().items()},
            "bytes.queues": window.queue_bytes / answered,
            "bytes.disk": self._disk_bytes(answered, len(resident)),
            "resident_mb": max(resident, default=0) / 1e6,
            "disk_growth_mb": self.disk_growth / 1e6,
        }
        return found | (self._against(self.floor) if self.floor is not None else {})

    def _cpu_seconds(self) -> dict[str, float]:
        """Of the leader, of the average backup, of all client processes together."""
        leader = None if self.window.leader is None else replica_name(self.window.leader)
        cpu = self.window.cpu_seconds
        backups = [used for name, used in cpu.items() if name[0] == "n" and name != leader]
        return {
            "leader": cpu.get(leader or "", 0.0),
            "backup": sum(backups) / max(1, len(backups)),
            "clients": sum(used for name, used in cpu.items() if name[0] != "n"),
        }

    def _disk_bytes(self, answered: int, replicas: int) -> float | None:
        """Of one replica, the average."""
        if self.window.disk_bytes is None:
            return None
        return self.window.disk_bytes / max(1, replicas) / answered

    def _against(self, floor: FloorFigures) -> dict[str, float | None]:
        bare = floor.answered / floor.seconds
        p50 = percentile(floor.histogram, 0.5) / 1000
        return {
            "floor.throughput": round(bare),
            "floor.p50_ms": p50,
            "floor.p99_ms": percentile(floor.histogram, 0.99) / 1000,
            "ratio": self.window.throughput / bare,
            "p50_ratio": self.window.percentile_ms(0.5) / p50 if p50 else None,
        }


@dataclass(frozen=True, slots=True)
class Result:
    """One number of replicas, accounts and clients, measured once or several times."""

    nodes: int
    accounts: int
    clients: int
    pairs: Sequence[Pair]

    def figures(self) -> dict[str, float | None]:
        """The medians of all pairs, each figure for itself."""
        return {name: None if (s := _known(v)) is None else median(s) for name, v in self._all()}

    def ranges(self) -> dict[str, tuple[float, float]]:
        """The smallest and the largest of what varies most."""
        found = {name: _known(v) for name, v in self._all() if name in RANGED}
        return {name: (min(s), max(s)) for name, s in found.items() if s is not None}

    def _all(self) -> list[tuple[str, list[float | None]]]:
        each = [pair.figures() for pair in self.pairs]
        return [(name, [figures[name] for figures in each]) for name in each[0]]

    def verdict(self) -> Verdict:
        """Of every transfer of every pair."""
        return overall(judgement for pair in self.pairs for judgement in pair.judgements)

    def histograms(self) -> tuple[dict[int, int], dict[int, int]]:
        """Latencies of all pairs together, and those of their floors."""
        floors = [pair.floor.histogram for pair in self.pairs if pair.floor is not None]
        return summed(pair.window.histogram for pair in self.pairs), summed(floors)

    def document(self) -> dict[str, Any]:
        """For JSON: medians, and with several pairs their ranges and every one."""
        shape = {"nodes": self.nodes, "accounts": self.accounts, "clients": self.clients}
        found = {**shape, **_document(self.figures()), "verdict": self.verdict().value}
        if len(self.pairs) > 1:
            found["ranges"] = {
                name: _rounded(list(range_)) for name, range_ in self.ranges().items()
            }
            found["runs"] = [_document(pair.figures()) for pair in self.pairs]
        return found


def _known(values: Sequence[float | None]) -> list[float] | None:
    """All of them, or None when one is not known."""
    known = [value for value in values if value is not None]
    return known if len(known) == len(values) else None


def _document(figures: dict[str, float | None]) -> dict[str, Any]:
    """The figures with a level for each dot; without a floor its keys are null."""
    found: dict[str, Any] = {}
    for name, value in figures.items():
        level, dot, inner = name.partition(".")
        if dot:
            found.setdefault(NESTED[level], {})[inner] = _rounded(value)
        else:
            found[name] = _rounded(value)
    return {"floor": None, "ratio": None, "p50_ratio": None} | found


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return round(value, 3) if isinstance(value, float) else value
