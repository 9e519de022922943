"""What a file expects of its sets, held against a cluster at the end of one."""

from collections.abc import Iterable, Mapping, Sequence

from bank.ballot import ReplicaId, Slot
from harness.check.expectations import Found, Met, meet
from harness.check.verdict import Verdict
from harness.cluster.driver import Cluster, ReplicaView
from harness.cluster.journal import Liveness
from harness.files.cases import Balances, Expected, Slots, Statuses
from harness.run.listing import request_text
from harness.run.outside import as_expected, without_log
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
    asked = {replica: views[replica - 1] for replica in connected}
    balances = {r: v.status.balances for r, v in asked.items() if "balances" not in v.untold}
    executed = {
        r: v.status.executed_upto for r, v in asked.items() if "executed_upto" not in v.untold
    }
    untold: dict[type, str] = {}
    if asked and not balances:
        untold[Balances] = "no replica tells its balances"
    if asked and not executed:
        untold[Slots] = "no replica tells how far it executed"
    if cluster.is_external:
        checks = as_expected(checks)
        if silent := without_log(cluster):
            untold[Statuses] = f"{', '.join(silent)} did not tell what is in the log"

    def marks(slots: Sequence[Slot]) -> dict[Slot, str]:
        by_replica = [cluster.slots(view.replica, slots) for view in views]
        columns = zip(*by_replica, strict=True)
        rows = ("".join(status.mark.value for status in column) for column in columns)
        return dict(zip(slots, rows, strict=True))

    return Found(
        balances=balances,
        executed=executed,
        outcomes={step.label: _outcome(step) for step in steps},
        pending=list(map(request_text, cluster.pending())),
        leader=cluster.leader(),
        stopped=frozenset(v.replica for v in views if v.liveness is Liveness.STOPPED),
        marks=marks,
        checks=checks,
        untold=untold,
    )


def _outcome(step: StepReport) -> str | int:
    """As a file expects it: an answered read is its balance."""
    return step.outcome if step.value is None else step.value
