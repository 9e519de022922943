"""Other people's replicas at the end of a set: what is known of them, given to their judges."""

from collections.abc import Collection, Mapping

from bank.ballot import ReplicaId
from harness.check.black_box import CHECK
from harness.check.outside import judge_from_outside
from harness.check.verdict import Judgement, Verdict
from harness.cluster import ctrl_c
from harness.cluster.driver import Cluster
from harness.cluster.history import Operation
from harness.cluster.journal import CAN_ANSWER


def as_expected(checks: Mapping[str, Verdict]) -> Mapping[str, Verdict]:
    """The same under the names that files have for them: files know no outside and inside."""
    return {"linearizable": checks[CHECK], **checks} if CHECK in checks else checks


def without_log(cluster: Cluster) -> list[str]:
    """Names of replicas that could be asked for their log and did not tell it."""
    with ctrl_c.afterwards(or_again=True):
        from harness.external.cluster import ExternalCluster

    assert isinstance(cluster, ExternalCluster)
    asked = [h for h in cluster.fleet.handles.values() if h.liveness in CAN_ANSWER]
    return [handle.name for handle in asked if not handle.knowledge.tells.get("log")]


def judged(
    cluster: Cluster,
    balances: Mapping[str, int],
    history: list[Operation],
    connected: Collection[ReplicaId],
    is_last: bool,
) -> tuple[Judgement, ...]:
    """Every judge's word; see `harness.external.seen.seen`."""
    with ctrl_c.afterwards(or_again=True):
        from harness.external.cluster import ExternalCluster
        from harness.external.seen import seen

    assert isinstance(cluster, ExternalCluster)
    return judge_from_outside(seen(cluster, balances, history, connected, is_last))
