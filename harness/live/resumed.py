"""What earlier runs committed, read from the disks they left: the judges go on from it.

It begins at the oldest checkpoint from which the disks hold every slot up to the newest one, so
that as many states as possible can be held against it: those of the other checkpoints, and of
replicas that are behind. Disks that contradict one another are told, not chosen from.
"""

from collections.abc import Mapping

from bank.ballot import ReplicaId, Slot, replica_name
from bank.checkpoint import Checkpoint
from bank.effects import Stored
from bank.sessions import Machine, Request
from harness.cluster.driver import CommitLog
from harness.cluster.wording import request_text


def committed_before(found: Mapping[ReplicaId, Stored], balances: Mapping[str, int]) -> CommitLog:
    """The committed log that these disks hold; `balances` are those before slot 1."""
    log = CommitLog()
    rows = _rows(found, log)
    held = [(s.checkpoint, r) for r, s in sorted(found.items()) if s.checkpoint is not None]
    held.sort(key=lambda pair: pair[0].slot)
    newest = held[-1][0].slot if held else 0
    bases: list[Checkpoint | None] = [None, *(checkpoint for checkpoint, _ in held)]
    log.base = next(base for base in bases if _reaches(rows, base, newest))
    slot = 0 if log.base is None else log.base.slot
    machine = (
        Machine(balances) if log.base is None else Machine(log.base.balances, log.base.sessions)
    )
    others = {r: c for c, r in held if c.slot >= slot}
    while True:
        for replica, other in others.items():
            if other.slot == slot and not _is_state(machine, other):
                log.contradictions.append(
                    f"slot {slot}: the checkpoint of {replica_name(replica)} is not what "
                    f"the log gives"
                )
        if (request := rows.get(slot + 1)) is None:
            break
        slot += 1
        (answer,) = machine.execute(slot, [request])
        log.slots[slot] = (request, answer[2])
    # Everything on these disks was asked for earlier, known to be committed or not.
    entries = (slot for stored in found.values() for slot, _, _ in stored.entries)
    log.known_before = max(slot, *entries, 0)
    return log


def _rows(found: Mapping[ReplicaId, Stored], log: CommitLog) -> dict[Slot, Request]:
    """What is known to be committed, by slot."""
    rows: dict[Slot, Request] = {}
    for replica, stored in sorted(found.items()):
        for slot, _, request in stored.entries:
            if slot > stored.committed_upto:
                continue
            known = rows.setdefault(slot, request)
            if known != request:
                log.contradictions.append(
                    f"slot {slot}: {replica_name(replica)} has committed {request_text(request)} "
                    f"(request {request[1]}), another replica {request_text(known)} "
                    f"(request {known[1]})"
                )
    return rows


def _reaches(rows: Mapping[Slot, Request], base: Checkpoint | None, newest: Slot) -> bool:
    first = 1 if base is None else base.slot + 1
    return all(slot in rows for slot in range(first, newest + 1))


def _is_state(machine: Machine, checkpoint: Checkpoint) -> bool:
    return machine.ledger.balances == checkpoint.balances and machine.sessions == {
        session[0]: session for session in checkpoint.sessions
    }
