"""Linearizability with the committed log as the witness: exact, and linear in the log's length.

The log gives one total order; `exactly_once` checks that results follow from it. What is left is
real time: when one operation was answered before another was sent, its slot must be lower.
"""

from collections.abc import Iterator, Sequence
from itertools import chain

from bank.ledger import SKIPPED, describe
from bank.sessions import NOOP_REQUEST
from harness.check.operations import moment
from harness.check.replay import Replay
from harness.check.verdict import Judgement, judge
from harness.cluster.driver import CommitLog
from harness.cluster.history import Operation


def linearizable(log: CommitLog, replayed: Replay, history: Sequence[Operation]) -> Judgement:
    """A pending operation is absent, or executed after it was sent. Nothing was invented.

    Unknown above a slot that nobody reported.
    """
    problems = chain(_out_of_time(history), _violations(log, replayed, history))
    return judge("linearizable", problems, replayed.unknown)


def _out_of_time(history: Sequence[Operation]) -> Iterator[str]:
    for operation in history:
        invoked_at, answered_at = operation.invoked_at, operation.answered_at
        client, _, *command = operation.request
        text = f"{client}'s {describe(*command)}"  # type: ignore[arg-type]
        if (answered_at is None) == operation.is_answered:
            when = "never answered" if answered_at is None else "answered all the same"
            yield f"{text} has result {operation.result!r} and was {when}"
        elif answered_at is not None and (invoked_at is None or answered_at < invoked_at):
            early = "and never sent"
            if invoked_at is not None:
                early = f"{moment(invoked_at, answered_at)} before it was sent"
            yield f"{text} was answered {early}"


def _violations(log: CommitLog, replayed: Replay, history: Sequence[Operation]) -> Iterator[str]:
    by_request = {(o.request[0], o.request[1]): o for o in history if o.invoked_at is not None}
    earlier = {request[:2] for slot, (request, _) in log.slots.items() if slot <= log.known_before}
    earlier |= {session[:2] for session in (log.base.sessions if log.base else ())}
    latest_sent, latest = -1, ""
    for slot in sorted(log.slots):
        request = log.slots[slot][0]
        client, timestamp, *command = request
        if request == NOOP_REQUEST:
            continue
        text = f"{client}'s {describe(*command)} in slot {slot}"  # type: ignore[arg-type]
        operation = by_request.get((client, timestamp))
        if operation is None or operation.invoked_at is None:
            if (client, timestamp) not in earlier:
                yield f"{text}: no client asked for it"
            continue
        first, _ = replayed.answers.get((client, timestamp), (slot, None))
        if first != slot or replayed.results.get(slot) == SKIPPED:
            continue  # without effect, so its place means nothing
        if operation.answered_at is not None and operation.answered_at < latest_sent:
            yield f"{text} was answered before {latest} was sent, which has a lower slot"
        if operation.invoked_at > latest_sent:
            latest_sent, latest = operation.invoked_at, text
