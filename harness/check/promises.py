"""Does every replica keep its word across restarts? Judged from disks alone.

What a replica said of its disk, others built on: a promise that goes back lets two leaders decide
one slot, an accepted entry that is lost takes a vote out of a quorum after it was counted. And no
two disks, of whatever replicas and moments, hold two values where there is only one.
"""

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from bank.ballot import Ballot, ReplicaId, Slot, replica_name
from bank.effects import Stored
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
    was not known to be committed. A committed slot, a slot in one ballot and a checkpoint's slot
    have one value each on all disks. Unknown when a disk could not be read, or none was read twice.
    """
    seen = _Seen()
    problem = next(_problems(snapshots, seen), None)
    if problem is not None:
        return judge("promises", [problem])
    return judge("promises", [], seen.unread or ("" if seen.compared else "no disk was read twice"))


def _problems(snapshots: Iterable[Snapshot], seen: _Seen) -> Iterator[str]:
    latest: dict[ReplicaId, Stored] = {}
    values: dict[Hashable, tuple[Hashable, str]] = {}  # with the first replica that had each
    for replica, stored in snapshots:
        name = replica_name(replica)
        if stored is None:
            seen.unread = seen.unread or f"the disk of {name} could not be read"
            continue
        if replica in latest:
            seen.compared += 1
            yield from (f"{name} {problem}" for problem in _went_back(latest[replica], stored))
        latest[replica] = stored
        yield from (f"{name} {problem}" for problem in _flaws(stored))
        for what, value in _single_values(stored):
            known, other = values.setdefault(what, (value, name))
            if known != value:
                yield f"{name} has {value} {what}, {other} had {known}"


def _flaws(stored: Stored) -> Iterator[str]:
    """What cannot be on any disk, whatever was there before."""
    for slot, ballot, _ in stored.entries:
        if ballot > stored.promised:
            yield f"holds slot {slot} in {ballot}, above its promise {stored.promised}"
    if stored.promised.number > stored.seen:
        yield f"promised {stored.promised} and has seen ballot number {stored.seen} at most"
    held = {slot for slot, _, _ in stored.entries}
    covered = max(stored.truncated_upto, _checkpoint(stored))
    for slot in range(covered + 1, stored.committed_upto + 1):
        if slot not in held:
            yield f"is committed up to {stored.committed_upto} and lacks slot {slot}"
    checkpoint = stored.checkpoint
    if checkpoint is not None and checkpoint.computed_digest() != checkpoint.digest:
        yield f"has a checkpoint at {checkpoint.slot} that is not what its digest says"


def _single_values(stored: Stored) -> Iterator[tuple[str, Hashable]]:
    """What has one value on all disks at all times, and that value here."""
    for slot, ballot, request in stored.entries:
        yield f"in slot {slot} in {ballot}", request
        if slot <= stored.committed_upto:
            yield f"committed in slot {slot}", request
    if stored.checkpoint is not None:
        slot = stored.checkpoint.slot
        yield f"as running hash at slot {slot}", stored.checkpoint.running_hash
        yield f"as digest at slot {slot}", stored.checkpoint.digest


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
    held: dict[Slot, Ballot] = {slot: ballot for slot, ballot, _ in after.entries}
    for slot, ballot, _ in before.entries:
        if slot <= after.truncated_upto:
            continue
        if slot not in held:
            yield f"lost slot {slot}, accepted in {ballot}"
        elif held[slot] < ballot:
            yield f"accepted slot {slot} in {ballot}, later holds it in {held[slot]}"


def _checkpoint(stored: Stored) -> Slot:
    return 0 if stored.checkpoint is None else stored.checkpoint.slot
