"""What a file expects of its sets, held against a cluster at the end of one."""

from collections.abc import Iterable, Mapping, Sequence

from bank.ballot import ReplicaId, Slot
from harness.check.expectations import Found, Met, meet
from harness.check.verdict import Verdict
from harness.cluster.driver import Cluster, ReplicaView
from harness.cluster.journal import Liveness
from harness.files.cases import Expected
from harness.run.listing import request_text
from harness.run.report import StepReport


def held(
    expected: Sequence[Expected],
    cluster: Cluster,
    connected: Iterable[ReplicaId],
    views: Sequence[ReplicaView],
    steps: Iterable[StepReport],
    checks: Mapping[str, Verdict],
) -> list[Met]:
    """Each expectation, and whether it holds; `connected` are asked for what they hold."""
    if not expected:
        return []
    found = _found(cluster, connected, views, steps, checks)
    return [meet(one, found) for one in expected]


def _found(
    cluster: Cluster,
    connected: Iterable[ReplicaId],
    views: Sequence[ReplicaView],
    steps: Iterable[StepReport],
    checks: Mapping[str, Verdict],
) -> Found:
    asked = {replica: views[replica - 1].status for replica in connected}

    def marks(slots: Sequence[Slot]) -> dict[Slot, str]:
        by_replica = [cluster.slots(view.replica, slots) for view in views]
        columns = zip(*by_replica, strict=True)
        rows = ("".join(status.mark.value for status in column) for column in columns)
        return dict(zip(slots, rows, strict=True))

    return Found(
        balances={replica: status.balances for replica, status in asked.items()},
        executed={replica: status.executed_upto for replica, status in asked.items()},
        outcomes={step.label: _outcome(step) for step in steps},
        pending=list(map(request_text, cluster.pending())),
        leader=cluster.leader(),
        stopped=frozenset(v.replica for v in views if v.liveness is Liveness.STOPPED),
        marks=marks,
        checks=checks,
    )


def _outcome(step: StepReport) -> str | int:
    """As a file expects it: an answered read is its balance."""
    return step.outcome if step.value is None else step.value
