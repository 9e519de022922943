"""Was every request done exactly once, and answered with what it did?"""

from collections.abc import Iterator, Sequence
from itertools import chain

from bank.ledger import describe
from bank.sessions import NOOP_REQUEST, Request
from harness.check.replay import Key, Replay
from harness.check.verdict import Judgement, judge
from harness.cluster.driver import CommitLog
from harness.cluster.history import Operation


def exactly_once(log: CommitLog, replayed: Replay, history: Sequence[Operation]) -> Judgement:
    """Every answered request has one effect, in the slot and with the result that was answered.

    A pending one has none or one, and every slot of a request holds what was asked for. Unknown
    above a slot that nobody reported.
    """
    problems = chain(
        _of_slots(log, replayed, history), _of_answers(replayed, history), _of_clients(history)
    )
    return judge("exactly_once", problems, replayed.unknown)


def _of_slots(log: CommitLog, replayed: Replay, history: Sequence[Operation]) -> Iterator[str]:
    asked = {o.request[:2]: o.request for o in history if o.invoked_at is not None}
    held: dict[Key, Request] = {}
    for slot in sorted(log.slots):
        request, said = log.slots[slot]
        right = replayed.results.get(slot, said)
        if said != right:
            yield f"slot {slot} gave {said!r}, executed once it gives {right!r}"
        if request == NOOP_REQUEST:
            continue
        wanted = asked.get(request[:2], request)
        if wanted != request:
            yield f"{_text(wanted)} was executed as {request}, in slot {slot}"
        first = held.setdefault(request[:2], request)
        if first != request:
            yield f"{_text(first)} was executed as {request} too, in slot {slot}"


def _of_answers(replayed: Replay, history: Sequence[Operation]) -> Iterator[str]:
    for operation in history:
        client, timestamp, *_ = operation.request
        if not operation.is_answered:
            continue
        text, told = _text(operation.request), f"{operation.result!r}"
        slot = operation.slot
        first, right = replayed.answers.get((client, timestamp), (None, None))
        if first is None:
            if slot is None or slot <= replayed.upto:
                yield f"{text} was answered {told} and is in no slot"
        elif first != slot:
            yield f"{text} was answered for slot {slot}, first executed in {first}"
        elif right != operation.result:
            yield f"{text} was answered {told}, not {right!r}"


def _of_clients(history: Sequence[Operation]) -> Iterator[str]:
    """A client has one request open at a time, unless it gave one up; its timestamps grow."""
    latest: dict[str, Operation] = {}
    sent = (o for o in history if o.invoked_at is not None)
    for operation in sorted(sent, key=lambda o: (o.invoked_at or 0, o.request[1])):
        client, timestamp, *_ = operation.request
        before = latest.get(client)
        latest[client] = operation
        if before is None:
            continue
        if timestamp <= before.request[1]:
            yield f"{_text(operation.request)} was sent after {_text(before.request)}"
        settled_at = before.dropped_at if before.answered_at is None else before.answered_at
        if settled_at is None or settled_at > (operation.invoked_at or 0):
            yield (
                f"{_text(operation.request)} was sent before {_text(before.request)} was answered"
            )


def _text(request: Request) -> str:
    client, timestamp, kind, sender, receiver, amount = request
    return f"{client}'s {describe(kind, sender, receiver, amount)} (timestamp {timestamp})"
