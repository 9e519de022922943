"""Is all the money there, and no balance negative?"""

from collections.abc import Iterator, Mapping, Sequence

from bank.ballot import replica_name
from harness.check.verdict import Judgement, judge
from harness.cluster.driver import ReplicaView


def conservation(initial: Mapping[str, int], views: Sequence[ReplicaView]) -> Judgement:
    """Every replica's balances, stale ones too, sum up to what there was at the start."""
    return judge("conservation", _leaks(sum(initial.values()), views))


def _leaks(total: int, views: Sequence[ReplicaView]) -> Iterator[str]:
    for view in views:
        balances, name = view.status.balances, replica_name(view.replica)
        if sum(balances.values()) != total:
            yield f"{name} holds {sum(balances.values())} in all, expected {total}"
        for account, balance in balances.items():
            if balance < 0:
                yield f"{name} holds {balance} for {account}"
