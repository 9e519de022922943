"""Phase 1 of Multi-Paxos: what follows from the promises that a candidate collected.

What a quorum of them reports decides every open slot:
an entry known to be committed, else the value of the highest ballot, else a no-op
("Paxos Made Simple", section 3).
"""

from collections.abc import Iterable, Mapping

from bank.ballot import Slot
from bank.messages import AcceptedEntry
from bank.sessions import NOOP_REQUEST, Request


def merge(logs: Iterable[Iterable[AcceptedEntry]], above: Slot) -> dict[Slot, AcceptedEntry]:
    """The value that each open slot above `above` must get, from the logs of a quorum."""
    chosen: dict[Slot, AcceptedEntry] = {}
    for log in logs:
        for entry in log:
            held = chosen.get(entry.slot)
            if entry.slot > above and (held is None or _outranks(entry, held)):
                chosen[entry.slot] = entry
    return chosen


def _outranks(one: AcceptedEntry, other: AcceptedEntry) -> bool:
    return (one.committed, one.ballot) > (other.committed, other.ballot)


def fill(merged: Mapping[Slot, AcceptedEntry], first_slot: Slot) -> tuple[Request, ...]:
    """Requests of first_slot .. highest merged slot, no-ops where nothing was reported."""
    last_slot = max(merged, default=0)
    return tuple(
        merged[slot].request if slot in merged else NOOP_REQUEST
        for slot in range(first_slot, last_slot + 1)
    )
