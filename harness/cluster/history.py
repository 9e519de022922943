"""What clients saw: one Operation per request, from its first sending to its answer.

Times are microseconds of the cluster's clock.
"""

from dataclasses import dataclass

from bank.ballot import Ballot, ReplicaId, Slot
from bank.ledger import FAILED, Result
from bank.sessions import Request


@dataclass(slots=True)
class Operation:
    """One request of one client; while `result` is None nobody knows whether it was done."""

    request: Request  # its timestamp is 0 until it is sent for the first time
    set_number: int  # of the set that asked for it
    invoked_at: int | None = None  # first sending ever; None while it waits behind another one
    answered_at: int | None = None
    result: Result | None = None  # SUCCESS, FAILED, or the balance that a read saw
    slot: Slot | None = None  # of the first execution
    ballot: Ballot | None = None  # that the answer named
    order: int = 0  # among all operations of all clients, as they were submitted
    # Why it was certainly not done and never will be: an error that other people's replicas may
    # answer; None otherwise.
    refused: str | None = None
    place: int = 0  # of its step in that set, from 1; 0 of what was asked for after the set

    @property
    def label(self) -> str:
        """What later sets call its step: "5.1" for the first one of set 5."""
        return f"{self.set_number}.{self.place or '+'}"

    # When its client gave it up; it may be done all the same, and nobody is told.
    dropped_at: int | None = None
    # Of other people's replicas: who answered, and whose votes may have come to it by then, by what
    # passed; None: not known.
    answered_by: ReplicaId | None = None
    voters: frozenset[ReplicaId] | None = None

    @property
    def is_answered(self) -> bool:
        """True once a replica answered, "failed" included."""
        return self.result is not None

    @property
    def succeeded(self) -> bool:
        """True when it was done: a transfer that moved money, or a read."""
        return self.result is not None and self.result != FAILED
