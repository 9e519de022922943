"""The seam: what a runner needs of a cluster, whether its replicas are processes or simulated.

A Cluster owns its replicas, its clients and its clock. Nothing happens outside of `run_until`
and `stop` except what `submit` and `apply` ask for. Errors of the machine (a process cannot
start, the disk is full) are raised as HarnessError with EXIT_MACHINE.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from bank.ballot import ReplicaId, Slot
from bank.checkpoint import Checkpoint
from bank.ledger import Result
from bank.sessions import Request
from bank.status import ReplicaStatus, Role, SlotStatus
from harness.cluster.history import Operation
from harness.cluster.nemesis import Fault


class Liveness(Enum):
    """Whether a replica takes part; the value is what people see."""

    LIVE = "live"
    DISCONNECTED = "disconnected"
    CRASHED = "crashed"
    PAUSED = "paused"
    STOPPED = "stopped"  # by itself or by the machine: see `ReplicaView.trouble`


@dataclass(frozen=True, slots=True)
class TraceLine:
    """One message at one replica, as PrintLog shows it.

    Directions: "out" was sent, "in" was read, "note" is an event of the protocol itself. When a
    link fault befalls a message, its reader has a line of that as well: "lost" will never be read,
    "held" is read later, "doubled" is read twice; of what is read there are "in" lines as always.
    """

    at: int  # microseconds of the cluster's clock
    direction: str
    peer: str  # "n3", "client", "all"
    label: str  # the message's printed name; "" for a note
    ballot: str  # "(2, n1)" or ""
    slots: str  # "12", "12-17" or ""
    text: str  # requests and the rest, in short


@dataclass(frozen=True, slots=True)
class ReplicaView:
    """One replica as the harness sees it: a failed one with the state it was left in."""

    replica: ReplicaId
    liveness: Liveness
    status: ReplicaStatus
    was_leader: bool = False  # a failed one that led when it failed
    trouble: str | None = None  # why a STOPPED one is


@dataclass(slots=True)
class CommitLog:
    """What replicas said they executed, kept by the harness: truncation hides nothing.

    `contradictions` holds one line per slot where two replicas executed different things; the
    first one told stays in `slots`.
    """

    slots: dict[Slot, tuple[Request, Result]] = field(default_factory=dict)
    base: Checkpoint | None = None  # where a resumed run begins to know; None is slot 0
    known_before: Slot = 0  # slots up to here were executed by earlier runs
    contradictions: list[str] = field(default_factory=list)

    def add(
        self, replica: ReplicaId, first_slot: Slot, executed: Iterable[tuple[Request, Result]]
    ) -> None:
        """`replica` executed these from `first_slot` on."""
        for slot, what in enumerate(executed, first_slot):
            known = self.slots.setdefault(slot, what)
            if known != what:
                self.contradictions.append(
                    f"slot {slot}: n{replica} executed {what}, another replica {known}"
                )


MOST_NOTES = 10_000  # of all replicas together


class Traces:
    """What replicas told of their messages: the last lines of this set, and what is left of it.

    Of earlier sets the lines stay that speak of a slot, as many of each replica as of one set.
    `notes` are the events of the protocol itself over the whole run, which no traffic pushes out.
    """

    def __init__(self, replicas: Iterable[ReplicaId], most: int) -> None:
        """`most` lines of each replica."""
        self.notes: deque[tuple[ReplicaId, TraceLine]] = deque(maxlen=MOST_NOTES)
        self._most = most
        self._began = 0
        self._lines = {r: deque[TraceLine](maxlen=most) for r in replicas}
        self._before: dict[ReplicaId, tuple[list[TraceLine], int]] = {
            r: ([], 0) for r in self._lines
        }
        self._earlier = {r: deque[TraceLine](maxlen=most) for r in self._lines}
        self._dropped = dict.fromkeys(self._lines, 0)
        self._forgotten = dict.fromkeys(self._lines, 0)

    def add(self, replica: ReplicaId, lines: Iterable[TraceLine]) -> None:
        """`replica` read, sent or decided this. A line that comes late belongs to its own set."""
        kept, most = self._lines[replica], self._most
        for line in lines:
            if line.direction == "note" and not line.slots:
                self.notes.append((replica, line))
            if line.at < self._began:
                self._before[replica][0].append(line)
                self._keep_earlier(replica, line)
            else:
                self._dropped[replica] += len(kept) == most
                kept.append(line)

    def _keep_earlier(self, replica: ReplicaId, line: TraceLine) -> None:
        if line.slots:
            self._forgotten[replica] += len(self._earlier[replica]) == self._most
            self._earlier[replica].append(line)

    def new_set(self, at: int) -> None:
        """From now on lines belong to another set."""
        self._began = at
        for replica, lines in self._lines.items():
            self._before[replica] = list(lines), self._dropped[replica]
            for line in lines:
                self._keep_earlier(replica, line)
            lines.clear()
            self._forgotten[replica] += self._dropped[replica]
            self._dropped[replica] = 0

    def of_set(self, replica: ReplicaId) -> tuple[Sequence[TraceLine], int]:
        """The lines of this set, and how many older ones were dropped."""
        return tuple(self._lines[replica]), self._dropped[replica]

    def of_set_before(self, replica: ReplicaId) -> tuple[Sequence[TraceLine], int]:
        """The same of the set before, the pause after it and what came late included."""
        lines, dropped = self._before[replica]
        return tuple(lines), dropped

    def of_run(self, replica: ReplicaId) -> tuple[Sequence[TraceLine], int]:
        """Those that speak of a slot, from the first set on, and how many were dropped in all."""
        lines = (*self._earlier[replica], *(line for line in self._lines[replica] if line.slots))
        return lines, self._forgotten[replica] + self._dropped[replica]


class Cluster(Protocol):
    """See the module. Times are microseconds, from `now()`."""

    replicas: int
    committed: CommitLog

    def now(self) -> int:
        """The cluster's clock; never goes back."""
        ...

    def start(self) -> None:
        """Start every replica; returns when all of them are ready."""
        ...

    def stop(self) -> None:
        """End every process and release everything; may be called twice, and after a failure."""
        ...

    def submit(self, operation: Operation) -> None:
        """Queue an operation with its client; sent while clients run, one at a time per client."""
        ...

    def set_clients_running(self, running: bool) -> None:
        """Start or stop the clients' timers; starting retries what is outstanding at once."""
        ...

    def pending(self) -> list[Operation]:
        """Operations without an answer, those of earlier sets and runs included."""
        ...

    def apply(self, fault: Fault) -> tuple[ReplicaId, ...]:
        """Do this fault; returns the replicas that changed, after they or the kernel confirmed.

        FailLeader returns () when there is no leader to fail; its point is the runner's business.
        """
        ...

    def run_until(self, condition: Callable[[], bool], timeout: int) -> bool:
        """Let the cluster work until `condition()` holds, at most `timeout`; whether it holds."""
        ...

    def liveness(self, replica: ReplicaId) -> Liveness:
        """Whether this replica takes part."""
        ...

    def trouble(self, replica: ReplicaId) -> str | None:
        """Why this replica is not live although no fault was done to it; None otherwise."""
        ...

    def leader(self) -> ReplicaId | None:
        """The live replica in role leader with the highest ballot that a quorum answers."""
        ...

    def role(self, replica: ReplicaId) -> Role:
        """What this replica said last of its role."""
        ...

    def executed_upto(self, replica: ReplicaId) -> Slot:
        """What this replica said last; may lag behind `views()`."""
        ...

    def seek_leader(self) -> None:
        """Ask every live replica to see to it that there is a leader, as a request would."""
        ...

    def views(self) -> tuple[ReplicaView, ...]:
        """Every replica's state as of now, in order; failed ones as they were left."""
        ...

    def slots(self, replica: ReplicaId, slots: Sequence[Slot]) -> tuple[SlotStatus, ...]:
        """The state of these slots at one replica, failed ones too."""
        ...

    def trace(self, replica: ReplicaId) -> tuple[Sequence[TraceLine], int]:
        """Messages of this set at one replica, and how many older ones were dropped."""
        ...

    def traces(self) -> Traces:
        """The same of all replicas, with what is kept of earlier sets."""
        ...

    def new_set(self) -> None:
        """A new set begins: traces start afresh."""
        ...
