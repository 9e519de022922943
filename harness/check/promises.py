"""Does every replica keep its word across restarts? Judged from its disk alone.

What a replica said of its disk, others built on: a promise that goes back lets two leaders decide
one slot, an accepted entry that is lost takes a vote out of a quorum after it was counted.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from bank.ballot import Ballot, ReplicaId, Slot, replica_name
from bank.effects import Stored
from bank.sessions import Request
from harness.check.verdict import Judgement, judge

# A replica's disk at some moment; None when it could not be read. A replica without a file has
# an empty Stored: that is a state too.
Snapshot: TypeAlias = tuple[ReplicaId, Stored | None]


@dataclass(slots=True)
class _Seen:
    """What one pass over the snapshots found out besides problems."""

    unread: str = ""
    compared: int = 0


def promises(snapshots: Iterable[Snapshot]) -> Judgement:
    """Hold each snapshot against the one before of the same replica; they come in order of time.

    Promise, highest ballot seen and watermarks never go back. An accepted entry above the later
    truncation stays, or is replaced in a higher ballot, and with another request only while it
    was not known to be committed. Unknown when a disk could not be read, or none was read twice.
    """
    seen = _Seen()
    problem = next(_problems(snapshots, seen), None)
    if problem is not None:
        return judge("promises", [problem])
    return judge("promises", [], seen.unread or ("" if seen.compared else "no disk was read twice"))


def _problems(snapshots: Iterable[Snapshot], seen: _Seen) -> Iterator[str]:
    latest: dict[ReplicaId, Stored] = {}
    for replica, stored in snapshots:
        name = replica_name(replica)
        if stored is None:
            seen.unread = seen.unread or f"the disk of {name} could not be read"
            continue
        yield from (f"{name} {problem}" for problem in _above_promise(stored))
        if replica in latest:
            seen.compared += 1
            yield from (f"{name} {problem}" for problem in _went_back(latest[replica], stored))
        latest[replica] = stored


def _above_promise(stored: Stored) -> Iterator[str]:
    for slot, ballot, _ in stored.entries:
        if ballot > stored.promised:
            yield f"holds slot {slot} in {ballot}, above its promise {stored.promised}"


def _went_back(before: Stored, after: Stored) -> Iterator[str]:
    if after.promised < before.promised:
        yield f"promised {before.promised}, later its disk says {after.promised}"
    for what, old, new in (
        ("had seen ballot number", before.seen, after.seen),
        ("was committed up to", before.committed_upto, after.committed_upto),
        ("was truncated up to", before.truncated_upto, after.truncated_upto),
        ("had a checkpoint at", _checkpoint(before), _checkpoint(after)),
    ):
        if new < old:
            yield f"{what} {old}, later its disk says {new}"
    held: dict[Slot, tuple[Ballot, Request]] = {s: (b, r) for s, b, r in after.entries}
    for slot, ballot, request in before.entries:
        if slot <= after.truncated_upto:
            continue
        if slot not in held:
            yield f"lost slot {slot}, accepted in {ballot}"
            continue
        new_ballot, new_request = held[slot]
        if new_ballot < ballot:
            yield f"accepted slot {slot} in {ballot}, later holds it in {new_ballot}"
        elif new_request != request and new_ballot == ballot:
            yield f"holds slot {slot} in {ballot} as {new_request}, before as {request}"
        elif new_request != request and slot <= before.committed_upto:
            yield f"knew {request} to be committed in slot {slot}, later holds {new_request}"


def _checkpoint(stored: Stored) -> Slot:
    return 0 if stored.checkpoint is None else stored.checkpoint.slot
