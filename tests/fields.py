"""A cluster, of processes or simulated, and a runner whose sets are made up as a test goes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from harness.check.verdict import Verdict
from harness.cluster.driver import Cluster
from harness.files.cases import Action, CaseFile, CaseSet, Step, action_text
from harness.files.config import ClusterConfig
from harness.live.cluster import LiveCluster
from harness.run.report import SetReport
from harness.run.runner import Runner
from harness.sim.world import SimCluster

KINDS = {"live": LiveCluster, "sim": SimCluster}
EVERYONE = frozenset(range(1, 6))
PATIENCE_US = 10_000_000


class Field:
    """See the module."""

    def __init__(self, cluster: Cluster, config: ClusterConfig) -> None:
        self.cluster = cluster
        self._sets: list[CaseSet] = []
        self.runner = Runner(cluster, config, CaseFile("field", self._sets))

    def run(self, *actions: Action) -> SetReport:
        """One set; each is judged valid, and whoever is not cut off ends like the others."""
        steps = tuple(Step(n, action_text(a), a) for n, a in enumerate(actions, 1))
        self._sets.append(CaseSet(len(self._sets) + 1, EVERYONE, steps, 1))
        report = self.runner.run_next()
        assert self.runner.verdict() is Verdict.VALID, report.judgements
        return report

    def led_after(self, action: Action) -> int | None:
        """Who leads once this set was run, all links being whole."""
        self.run(action)
        assert self.cluster.run_until(lambda: self.cluster.leader() is not None, PATIENCE_US)
        return self.cluster.leader()


@contextmanager
def started(kind: str, **settings: Any) -> Iterator[tuple[Cluster, ClusterConfig]]:
    """A cluster of KINDS that runs, and is stopped in the end."""
    config = ClusterConfig(seed=1, **settings)
    cluster = KINDS[kind](config)
    try:
        cluster.start()
        yield cluster, config
    finally:
        cluster.stop()
