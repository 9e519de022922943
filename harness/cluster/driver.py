"""The seam: what a runner needs of a cluster, whether its replicas are processes or simulated.

A Cluster owns its replicas, its clients and its clock. Nothing happens outside of `run_until`
and `stop` except what `submit` and `apply` ask for. Errors of the machine (a process cannot
start, the disk is full) are raised as HarnessError with EXIT_MACHINE.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bank.ballot import ReplicaId, Slot, replica_name
from bank.checkpoint import Checkpoint
from bank.ledger import Result
from bank.sessions import Request
from bank.status import ReplicaStatus, Role, SlotStatus
from harness.cluster.client import Clients
from harness.cluster.history import Operation
from harness.cluster.journal import Liveness, Traces
from harness.cluster.nemesis import Fault
from harness.cluster.wording import executed_text

LOG = "log"  # what is in its slots


@dataclass(frozen=True, slots=True)
class ReplicaView:
    """One replica as the harness sees it: a failed one with the state it was left in."""

    replica: ReplicaId
    liveness: Liveness
    status: ReplicaStatus
    was_leader: bool = False  # a failed one that led when it failed
    trouble: str | None = None  # why a STOPPED one is
    # Fields of `status` that it did not tell, and LOG: other people's replicas need not.
    untold: frozenset[str] = frozenset()


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
                    f"slot {slot}: {replica_name(replica)} executed {executed_text(*what)}, "
                    f"another replica {executed_text(*known)}"
                )


class Looked(Protocol):
    """What tables are made of: a Cluster, or a world that is stepped through."""

    replicas: int
    committed: CommitLog

    def views(self) -> tuple[ReplicaView, ...]:
        """Every replica's state as of now, in order; failed ones as they were left."""

    def slots(self, replica: ReplicaId, slots: Sequence[Slot]) -> tuple[SlotStatus, ...]:
        """The state of these slots at one replica, failed ones too."""

    def traces(self) -> Traces:
        """The journals of all replicas, of this set and what is kept of earlier ones."""


class Cluster(Looked, Protocol):
    """See the module. Times are microseconds, from `now()`."""

    is_external: bool  # other people's replicas, judged from outside

    def now(self) -> int:
        """The cluster's clock; never goes back."""

    def start(self) -> None:
        """Start every replica; returns when all of them are ready."""

    def stop(self) -> None:
        """End every process and release everything; may be called twice, and after a failure."""

    def submit(self, operation: Operation) -> None:
        """Queue an operation with its client; sent while clients run, one at a time per client."""

    def set_clients_running(self, running: bool) -> None:
        """Start or stop the clients' timers; starting retries what is outstanding at once."""

    def pending(self) -> list[Operation]:
        """Operations without an answer, those of earlier sets and runs included."""

    def drop_pending(self) -> None:
        """Clients give up what has no answer."""

    def unanswered(self) -> int:
        """How many `pending` are; asked at every turn, so it must not count them."""

    def answered_upto(self) -> Slot:
        """The highest slot that an answer of this run spoke of; 0 before the first."""

    def apply(self, fault: Fault) -> tuple[ReplicaId, ...]:
        """Do this fault; returns the replicas that changed, after they or the kernel confirmed.

        FailLeader returns () when there is no leader to fail; its point is the runner's business.
        A replica that failed fails no more until it returned.
        """

    def run_until(self, condition: Callable[[], bool], timeout: int) -> bool:
        """Let the cluster work until `condition()` holds, at most `timeout`; whether it holds."""

    def liveness(self, replica: ReplicaId) -> Liveness:
        """Whether this replica takes part."""

    def trouble(self, replica: ReplicaId) -> str | None:
        """Why this replica is not live although no fault was done to it; None otherwise."""

    def leader(self) -> ReplicaId | None:
        """The live replica in role leader with the highest ballot that a quorum answers."""

    def role(self, replica: ReplicaId) -> Role:
        """What this replica said last of its role."""

    def executed_upto(self, replica: ReplicaId) -> Slot:
        """What this replica said last; may lag behind `views()`."""

    def is_settled(self, replicas: Sequence[ReplicaId], upto: Slot, for_leader: bool) -> bool:
        """These executed every slot up to `upto`; with `for_leader`, somebody leads.

        Of those who do not tell, so much time went by since the last answer that they may have.
        """

    def seek_leader(self) -> None:
        """Ask every live replica to see to it that there is a leader, as a request would."""

    def contradictions(self) -> Sequence[str]:
        """What answers of other people's replicas say that cannot be, in any order of events."""

    def remarks(self) -> Sequence[str]:
        """What other people's replicas did that is worth a word, since the last call."""

    def new_set(self) -> None:
        """A new set begins: traces start afresh."""


class OwnReplicas(Cluster):
    """What a Cluster of our own replicas says alike, whether they are processes or simulated."""

    is_external = False
    clients: Clients

    def pending(self) -> list[Operation]:
        """See Cluster."""
        return self.clients.pending()

    def unanswered(self) -> int:
        """See Cluster."""
        return self.clients.unanswered

    def answered_upto(self) -> Slot:
        """See Cluster."""
        return self.clients.answered_upto

    def is_settled(self, replicas: Sequence[ReplicaId], upto: Slot, for_leader: bool) -> bool:
        """See Cluster."""
        return all(self.executed_upto(r) >= upto for r in replicas) and (
            not for_leader or self.leader() is not None
        )

    def contradictions(self) -> Sequence[str]:
        """None: logs and states of our own replicas are judged in full."""
        return ()

    def remarks(self) -> Sequence[str]:
        """None: what our own replicas do has its place in traces."""
        return ()
