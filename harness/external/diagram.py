"""What the router kept, as journals: the lines of every replica's own messages."""

from collections.abc import Iterable

from bank.ballot import ReplicaId
from harness.cluster.journal import CLIENTS, Entry, Relayed, Traces, Way
from harness.external.medium import Medium
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


def flush(router: Medium, flushed: int, traces: Traces) -> int:
    """Move them to `traces`, which have the first `flushed`; how many they have now.

    What the router had no room for is counted as dropped.
    """
    records, recorded = router.records, router.recorded
    first = recorded - len(records)
    for replica, entry in entries(records, first):
        traces.add(replica, [entry])
    if first > flushed:
        for replica in router.nodes:
            traces.drop(replica, first - flushed)
    records.clear()
    return recorded
