"""Phase 1 of Multi-Paxos: one candidate's collection of promises, and what follows from them.

A promise counts for exactly one ballot. What a quorum of them reports decides every open slot:
an entry known to be committed, else the value of the highest ballot, else a no-op
("Paxos Made Simple", section 3).
"""

from collections.abc import Iterable, Mapping

from bank.ballot import Ballot, ReplicaId, Slot
from bank.messages import AcceptedEntry, Promise
from bank.sessions import NOOP_REQUEST, Request


class Candidacy:
    """One attempt to lead `ballot`."""

    __slots__ = ("answered", "asks", "ballot", "outbid", "own_durable", "pauses", "promises")

    def __init__(self, ballot: Ballot, *, outbid: bool = False) -> None:
        self.ballot = ballot
        self.own_durable = False  # the candidate's own promise counts only once it is on disk
        self.promises: dict[ReplicaId, Promise] = {}  # the newest of each peer, for this ballot
        self.pauses = 0  # how often PREPARE was repeated
        self.outbid = outbid  # somebody promised a higher ballot: only a new number can win
        self.asks = False  # the last PREPARE only asked who is there: it was outbid before
        self.answered: set[ReplicaId] = set()  # who answered the last PREPARE, ACK or NACK

    def counted(self, committed_upto: Slot) -> list[Promise]:
        """Promises that count for a candidate that has everything up to `committed_upto`.

        One whose sender has truncated more says nothing of the slots between: it counts after a
        checkpoint that covers them was installed.
        """
        return [p for p in self.promises.values() if p.truncated_upto <= committed_upto]

    def has_quorum(self, quorum: int, committed_upto: Slot) -> bool:
        """True when enough promises count, the candidate's own included."""
        return self.own_durable and len(self.counted(committed_upto)) + 1 >= quorum

    def is_answered(self, quorum: int) -> bool:
        """True when a quorum, the candidate included, hears it, is heard, and has no leader."""
        return len(self.answered) + 1 >= quorum


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
