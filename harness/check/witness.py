"""Does this order explain every answer? Whoever named it: nobody is trusted, it is gone through.

Linear but for sorting, and it shares nothing with the searches whose findings it proves.
"""

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

from bank.ledger import FAILED, READ, SUCCESS
from harness.check.operations import began, text
from harness.check.replay import execute
from harness.cluster.history import Operation


def flaw(
    balances: Mapping[str, int], history: Sequence[Operation], order: Sequence[Operation]
) -> str:
    """Why `order` does not explain the answers of `history`; "" when it does.

    `balances` are those before. `order` has operations of `history`, each once; one without an
    answer was done there. What moves nothing need not be in it: any place will do that has the
    right balance, between what was answered before it was sent and what was sent after its answer.
    """
    return next(_flaws(balances, history, order), "")


def _flaws(
    balances: Mapping[str, int], history: Sequence[Operation], order: Sequence[Operation]
) -> Iterator[str]:
    now, since = dict(balances), began(history)
    stands = {account: ([0], [balance]) for account, balance in balances.items()}
    latest = -1
    later: Operation | None = None  # was sent then
    placed: set[int] = set()
    for place, operation in enumerate(order, 1):
        if id(operation) in placed:
            yield f"{text(operation, since)} is in the order twice"
        placed.add(id(operation))
        _, _, kind, sender, receiver, amount = operation.request
        result = execute(now, kind, sender, receiver, amount)
        if operation.result not in (None, result):
            yield f"{text(operation, since)} gives {result!r} there"
        for account in {sender, receiver} & stands.keys():
            places, values = stands[account]
            if values[-1] != now[account]:
                places.append(place)
                values.append(now[account])
        sent_at, answered_at = operation.invoked_at, operation.answered_at
        if sent_at is None or (answered_at is not None and answered_at < sent_at):
            yield f"{text(operation, since)} was answered before it was sent"
        elif answered_at is not None and answered_at < latest:
            assert later is not None
            told = f"{text(operation, since)} was answered before"
            yield f"{told} {text(later, since)} was sent, which comes earlier"
        elif sent_at > latest:
            latest, later = sent_at, operation
    left = [o for o in history if o.is_answered and id(o) not in placed]
    yield from _misfits(stands, order, left, since)


def _misfits(
    stands: Mapping[str, tuple[list[int], list[int]]],
    order: Sequence[Operation],
    left: Sequence[Operation],
    since: int,
) -> Iterator[str]:
    """What has no place between the others; the earliest one is taken, which never hurts."""
    places = range(1, len(order) + 1)
    answered = sorted(
        (o.answered_at, place) for place, o in zip(places, order, strict=True)
        if o.answered_at is not None
    )  # fmt: skip
    not_before = list(accumulate((place for _, place in answered), max))
    sent = sorted((o.invoked_at or 0, place) for place, o in zip(places, order, strict=True))
    not_after = list(accumulate((place for _, place in reversed(sent)), min))[::-1]
    floor, waiting = 0, list[tuple[int, int]]()  # of what is left and was answered: since, place
    for operation in sorted(left, key=lambda o: o.invoked_at or 0):
        sent_at, answered_at = operation.invoked_at, operation.answered_at
        if sent_at is None or answered_at is None or answered_at < sent_at:
            yield f"{text(operation, since)} was answered before it was sent"
            continue
        while waiting and waiting[0][0] < sent_at:
            floor = max(floor, heapq.heappop(waiting)[1])
        index = bisect_left(answered, (sent_at, 0)) - 1
        least = max(floor, not_before[index] if index >= 0 else 0)
        index = bisect_right(sent, (answered_at, len(order)))
        most = not_after[index] - 1 if index < len(sent) else len(order)
        place = _place(stands, operation, least, most)
        if place is None:
            yield f"{text(operation, since)} has no place in the order"
            continue
        heapq.heappush(waiting, (answered_at, place))


def _place(
    stands: Mapping[str, tuple[list[int], list[int]]], operation: Operation, least: int, most: int
) -> int | None:
    """After how many of the order it can come; None: nowhere."""
    _, _, kind, sender, receiver, amount = operation.request
    result = operation.result
    if kind != READ and result == SUCCESS and (sender != receiver or amount <= 0):
        return None  # it moves money
    if sender not in stands or (kind != READ and receiver not in stands):
        return least if result == FAILED and least <= most else None
    if kind != READ and amount <= 0:
        return least if least <= most else None
    places, values = stands[sender]
    for index in range(bisect_right(places, least) - 1, len(places)):
        if max(places[index], least) > most:
            return None
        enough = values[index] >= amount
        if values[index] == result if kind == READ else enough == (result == SUCCESS):
            return max(places[index], least)
    return None
