"""Other people's replicas at the end of a set: what is known of them, given to their judges."""

from collections.abc import Collection, Mapping

from bank.ballot import ReplicaId
from harness.check.outside import judge_from_outside
from harness.check.verdict import Judgement
from harness.cluster.driver import Cluster
from harness.cluster.history import Operation


def judged(
    cluster: Cluster,
    balances: Mapping[str, int],
    history: list[Operation],
    connected: Collection[ReplicaId],
    is_last: bool,
) -> tuple[Judgement, ...]:
    """Every judge's word; see `harness.external.seen.seen`."""
    from harness.external.cluster import ExternalCluster
    from harness.external.seen import seen

    assert isinstance(cluster, ExternalCluster)
    return judge_from_outside(seen(cluster, balances, history, connected, is_last))
