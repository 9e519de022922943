"""What other people's replicas tell of themselves, for those who judge them. Values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from bank.ballot import ReplicaId, Slot
from bank.ledger import Result
from bank.sessions import Request
from harness.cluster.history import Operation

ACCEPTED, COMMITTED, EXECUTED = "A", "C", "E"
Key: TypeAlias = tuple[str, int]  # client and timestamp: what makes a request the same


@dataclass(frozen=True, slots=True)
class ToldEntry:
    """One entry of a log, as it was told."""

    slot: Slot
    status: str  # ACCEPTED, COMMITTED or EXECUTED
    request: Request  # NOOP_REQUEST for a no-op
    result: Result | None = None  # None: not told


@dataclass(frozen=True, slots=True)
class Told:
    """One replica that was live and was asked when all had settled; None: it does not tell that."""

    replica: ReplicaId
    balances: Mapping[str, int] | None = None
    executed: Slot | None = None
    log: Sequence[ToldEntry] | None = None  # in the order of slots
    log_from: Slot = 1  # what is below was truncated

    @property
    def whole_log(self) -> Sequence[ToldEntry] | None:
        """Every slot that it knows to be chosen, from the first on; None: not told, or not all."""
        if self.log is None or self.log_from > 1:
            return None
        chosen = [entry for entry in self.log if entry.status != ACCEPTED]
        return chosen if [e.slot for e in chosen] == list(range(1, len(chosen) + 1)) else None


@dataclass(frozen=True, slots=True)
class Telling:
    """Whether a replica that could be asked told something. Who was not asked has none."""

    set_number: int
    replica: ReplicaId
    what: str  # "read", "log", "views", "state", or a part of it: "state.executed"
    told: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that was certainly not done, and not because of a balance."""

    operation: Operation
    replica: ReplicaId
    text: str  # its error
