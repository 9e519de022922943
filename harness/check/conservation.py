"""Is all the money there, and no balance negative?"""

from collections.abc import Iterator, Mapping, Sequence

from bank.ballot import replica_name
from harness.check.replay import own_word
from harness.check.verdict import Judgement, judge
from harness.cluster.driver import ReplicaView


def conservation(initial: Mapping[str, int], views: Sequence[ReplicaView]) -> Judgement:
    """Every replica's balances, stale ones too, sum up to what there was at the start.

    Unknown when no replica was looked at.
    """
    unknown = "" if any(map(own_word, views)) else "no replica has a state to look at"
    return judge("conservation", _leaks(initial, views), unknown)


def _leaks(initial: Mapping[str, int], views: Sequence[ReplicaView]) -> Iterator[str]:
    total = sum(initial.values())
    for view in views:
        balances, name = view.status.balances, replica_name(view.replica)
        if sum(balances.values()) != total:
            yield f"{name} holds {sum(balances.values())} in all, expected {total}"
        for account, balance in balances.items():
            if balance < 0:
                yield f"{name} holds {balance} for {account}"
        if balances.keys() != initial.keys():
            account = min(balances.keys() ^ initial.keys())
            held = "an account" if account in balances else "no account"
            yield f"{name} holds {held} {account}"
