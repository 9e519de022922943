"""What the router kept, as journals: the lines of every replica's own messages. Pure."""

from collections.abc import Iterable

from bank.ballot import ReplicaId
from harness.cluster.journal import CLIENTS, Entry, Relayed, Way
from harness.external.router import Record


def entries(records: Iterable[Record], first: int) -> Iterable[tuple[ReplicaId, Entry]]:
    """Each with its replica, in order. Records without a number are counted from `first` on."""
    for number, (at, source, to, line, *more) in enumerate(records, first):
        way, serial = more if more else (None, 0)
        plain = (-serial if serial else number, line)
        if way in (None, Way.SENT) and source != CLIENTS:
            yield source, Entry(at, Relayed(Way.SENT, (to,), plain))
        if way is not Way.SENT and to != CLIENTS:
            yield to, Entry(at, Relayed(way or Way.READ, (source,), plain))
