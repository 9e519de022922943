"""Who is cut off from everybody knows nothing that was asked for since. Pure.

A majority may decide meanwhile, and none of it can be in the balances of the one that hears nobody:
where it is, replicas share a file or have another way around the harness.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from bank.ballot import ReplicaId, replica_name
from bank.ledger import TRANSFER
from harness.cluster.history import Operation


class CutOff(NamedTuple):
    """A replica that neither sends nor hears anything since then, and what it tells it holds."""

    replica: ReplicaId
    since: int  # µs
    balances: Mapping[str, int]


def unheard_of(
    balances: Mapping[str, int], history: Sequence[Operation], cut_off: Iterable[CutOff]
) -> Iterator[str]:
    """In words, each balance of these that no request from before the cut explains.

    `balances` are the first ones. Whatever was asked before may have been heard, and done or not.
    """
    for replica, since, held in cut_off:
        least, most = dict(balances), dict(balances)
        for operation in history:
            _, _, kind, sender, receiver, amount = operation.request
            asked_at = operation.invoked_at
            if kind == TRANSFER and asked_at is not None and asked_at <= since:
                least[sender] -= amount
                most[receiver] += amount
        for account, balance in held.items():
            if account in most and not least[account] <= balance <= most[account]:
                word, bound = ("least", least) if balance < least[account] else ("most", most)
                yield (
                    f"{replica_name(replica)} holds {balance} for {account} while it is cut off, "
                    f"expected at {word} {bound[account]} by all that was asked before"
                )
                break
