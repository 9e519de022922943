"""Linearizability with the committed log as the witness: exact, and linear in the log's length.

The log gives one total order; `exactly_once` checks that results follow from it. What is left is
real time: when one operation was answered before another was sent, its slot must be lower.
"""

from collections.abc import Iterator, Sequence

from bank.ledger import NOOP, describe
from harness.check.replay import Replay
from harness.check.verdict import Judgement, judge
from harness.cluster.driver import CommitLog
from harness.cluster.history import Operation


def linearizable(log: CommitLog, replayed: Replay, history: Sequence[Operation]) -> Judgement:
    """A pending operation is absent, or executed after it was sent. Nothing was invented."""
    unknown = ""
    if replayed.missing is not None:
        unknown = f"slot {replayed.missing} is not known"
    return judge("linearizable", _violations(log, replayed, history), unknown)


def _violations(log: CommitLog, replayed: Replay, history: Sequence[Operation]) -> Iterator[str]:
    by_request = {(o.request[0], o.request[1]): o for o in history if o.invoked_at is not None}
    latest_sent, latest = -1, ""
    for slot in sorted(log.slots):
        client, timestamp, *command = log.slots[slot][0]
        if command[0] == NOOP or replayed.first_slot.get((client, timestamp), slot) != slot:
            continue
        text = f"{client}'s {describe(*command)} in slot {slot}"  # type: ignore[arg-type]
        operation = by_request.get((client, timestamp))
        if operation is None or operation.invoked_at is None:
            if slot > log.known_before:
                yield f"{text}: no client asked for it"
            continue
        if operation.answered_at is not None and operation.answered_at < latest_sent:
            yield f"{text} was answered before {latest} was sent, which has a lower slot"
        if operation.invoked_at > latest_sent:
            latest_sent, latest = operation.invoked_at, text
