"""Steps of a set as its report will list them: what was carried over into it, then its own.

Times of a report count from the moment at which its set began.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from bank.ballot import ReplicaId
from bank.ledger import READ, describe
from harness.cluster.history import Operation
from harness.files.cases import Action, Command
from harness.run.report import StepReport


@dataclass(slots=True, eq=False)
class Listed:
    """One step, while its set runs."""

    label: str
    text: str
    operation: Operation | None = None
    carried_from: int | None = None
    node: ReplicaId | None = None
    outcome: str = "no-leader"  # of a step that is no request
    begun_at: int | None = None  # of a step that is no request
    action: Action | None = None  # what `text` says; None where only the operation does

    def report(self, began: int) -> StepReport:
        """As it stands now; the set began at `began`."""
        operation = self.operation
        if operation is None:
            return StepReport(
                self.label,
                self.text,
                self.outcome,
                node=self.node,
                begun_us=None if self.begun_at is None else self.begun_at - began,
                action=self.action,
            )
        is_read = operation.request[2] == READ
        result = operation.result
        if operation.refused is not None:
            outcome = "refused"
        elif result is None:
            outcome = "pending"
        else:
            outcome = "success" if operation.succeeded else "failed"
        begun = latency = None
        if operation.invoked_at is not None:
            begun = _first_try(operation, began) - began
        if span := _span(operation, began):
            latency = span[1] - span[0]
        return StepReport(
            label=self.label,
            text=self.text,
            outcome=outcome,
            value=result if is_read and isinstance(result, int) else None,
            slot=operation.slot,
            ballot=operation.ballot,
            latency_us=latency,
            carried_from=self.carried_from,
            begun_us=begun,
            action=self.action or Command(*operation.request[2:]),
        )


def of_request(operation: Operation, carried_from: int | None = None) -> Listed:
    """A request that was asked for earlier."""
    return Listed(operation.label, request_text(operation), operation, carried_from)


def request_text(operation: Operation) -> str:
    """ "(A, J, 3)", as a file says it."""
    _, _, kind, sender, receiver, amount = operation.request
    return describe(kind, sender, receiver, amount)


def longest_wait(listed: Iterable[Listed], began: int) -> int:
    """The longest time in which clients waited and none was answered."""
    events: list[tuple[int, int]] = []
    for line in listed:
        if line.operation and (span := _span(line.operation, began)):
            events += [(span[0], 1), (span[1], -1)]
    longest = waiting = since = 0
    for at, change in sorted(events):
        if change < 0:
            longest = max(longest, at - since)
        if change < 0 or waiting == 0:
            since = at
        waiting += change
    return longest


def _first_try(operation: Operation, began: int) -> int:
    """When it was sent for the first time in this set."""
    return max(operation.invoked_at or 0, began)


def _span(operation: Operation, began: int) -> tuple[int, int] | None:
    """From its first try in this set to its answer, which may also come between two sets."""
    first, answered_at = _first_try(operation, began), operation.answered_at
    return None if answered_at is None or answered_at < first else (first, answered_at)
