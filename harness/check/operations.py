"""A client's operations as arithmetic: what an answer says of balances, and when. Pure."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bank.ledger import FAILED, READ, SUCCESS, describe
from harness.cluster.history import Operation


@dataclass(frozen=True, slots=True)
class Anchor:
    """A moment when all orders agreed: no open operation had moved anything in any of them."""

    event: int  # events before this one had been taken
    done: int  # the configuration


@dataclass(slots=True, eq=False)
class Op:
    """An operation as arithmetic: legal while low ≤ balance of `account` ≤ high."""

    source: Operation
    account: str
    low: float
    high: float
    moves: int  # from `account` to `other`; 0 for what moves nothing
    other: str
    invoked_at: int
    answered_at: int | None
    bit: int = 0  # in configurations, while it is open
    anchor: Anchor = Anchor(0, 0)  # the last one before it was sent
    sent: int = 0  # the event in which it was


Event = tuple[int, bool, Op]  # time, whether it is the answer, whose


def impossible(operation: Operation, balances: Mapping[str, int]) -> str | None:
    """What is wrong with this answer in every order; None when nothing is."""
    _, _, kind, sender, receiver, amount = operation.request
    result, invoked_at, answered_at = operation.result, operation.invoked_at, operation.answered_at
    if result is None:
        return None
    if invoked_at is None or answered_at is None or answered_at < invoked_at:
        return "answered before it was sent"
    if kind == READ:
        is_known = sender in balances
        return None if isinstance(result, int) == is_known else "no state gives this answer"
    if result == FAILED:
        return None
    is_sound = sender in balances and receiver in balances and amount > 0
    return None if result == SUCCESS and is_sound else "no state gives this answer"


def arithmetic(operation: Operation, balances: Mapping[str, int]) -> Op | None:
    """None for what says nothing: pending reads, and what must fail whatever the balances are."""
    _, _, kind, sender, receiver, amount = operation.request
    result, invoked_at = operation.result, operation.invoked_at
    assert invoked_at is not None, f"{operation.request} was not sent"
    low, high, moves = -math.inf, math.inf, 0
    if kind == READ:
        if not isinstance(result, int):
            return None
        low = high = result
    elif sender not in balances or receiver not in balances or amount <= 0:
        return None
    elif result == FAILED:
        high = amount - 1
    else:
        low, moves = amount, amount if sender != receiver else 0
        if result is None and not moves:
            return None
    answered_at = None if result is None else operation.answered_at
    return Op(operation, sender, low, high, moves, receiver, invoked_at, answered_at)


def events_of(ops: Iterable[Op]) -> list[Event]:
    """In the order of time; at the same time what is sent comes before what is answered."""
    events: list[Event] = []
    for op in ops:
        events.append((op.invoked_at, False, op))
        if op.answered_at is not None:
            events.append((op.answered_at, True, op))
    events.sort(key=lambda event: event[:2])
    return events


def began(history: Iterable[Operation]) -> int:
    """When the first of them was sent; times that people read count from then."""
    return min((o.invoked_at for o in history if o.invoked_at is not None), default=0)


def text(operation: Operation, since: int) -> str:
    """ "ann's (A, B, 3) = success, 12.410-30.108 ms", its times counted from `since`."""
    client, _, *command = operation.request
    said = f"{client}'s {describe(*command)}"  # type: ignore[arg-type]
    sent_at, answered_at = operation.invoked_at, operation.answered_at
    if operation.result is None:
        return f"{said} from {moment(sent_at, since)} on, never answered"
    said += f" = {operation.result}, "
    if sent_at is None or answered_at is None:
        return f"{said}sent {moment(sent_at, since)}, answered {moment(answered_at, since)}"
    unit = _unit(answered_at - since)
    begins = moment(sent_at, since, unit).removesuffix(f" {unit}")
    return f"{said}{begins}-{moment(answered_at, since, unit)}"


def moment(at: int | None, since: int, unit: str = "") -> str:
    """To the µs: "8 µs", "12.410 ms" or "83.214103 s" after `since`, in the unit that fits."""
    if at is None:
        return "never"
    after = at - since
    match unit or _unit(after):
        case "µs":
            return f"{after} µs"
        case "ms":
            return f"{after / 1000:.3f} ms"
    return f"{after / 1e6:.6f} s"


def _unit(us: int) -> str:
    return "µs" if abs(us) < 1000 else "ms" if abs(us) < 1_000_000 else "s"
