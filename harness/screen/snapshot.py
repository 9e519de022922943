"""A fleet at one moment of its work, for who watches: made by who looks, drawn elsewhere."""

from dataclasses import dataclass

from bank.ballot import Ballot, ReplicaId, Slot
from bank.status import Role
from harness.cluster.journal import Liveness


@dataclass(frozen=True, slots=True)
class Event:
    """A replica failed, returned, led or followed; nothing that happens all the time."""

    at: int  # microseconds of the cluster's clock
    replica: ReplicaId
    text: str


@dataclass(frozen=True, slots=True)
class ReplicaNow:
    """One replica. What it told last stays when it cannot be asked: then it is old."""

    replica: ReplicaId
    liveness: Liveness
    role: Role
    ballot: Ballot  # that it leads or follows
    answered: bool  # a leader: by a quorum
    was_leader: bool  # a failed one that led when it failed
    silent_us: int  # for how long it owes an answer, 0 when it does not
    committed_upto: Slot | None = None  # these three are None before its first answer
    executed_upto: Slot | None = None
    queued_bytes: int | None = None  # waiting in its queues: not read yet, or not sent yet
    dropped: int = 0  # frames that did not fit into its queues
    rates: tuple[float | None, ...] = ()  # slots executed a second, oldest first; None: not told
    event: Event | None = None  # the last one


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All replicas, in order."""

    at: int  # microseconds of the cluster's clock
    replicas: tuple[ReplicaNow, ...]
    events: tuple[Event, ...] = ()  # the last ones of all, oldest first
    cut: int = 0  # links between replicas that lose everything
    faulty: int = 0  # other links with a fault
