"""Linearizability from what clients saw alone: no slot, no ballot and no log is looked at.

Wing and Gong's question (is there one order that explains every answer?) in Lowe's just-in-time
form: events are taken in the order of time, and an operation is put into the order no earlier than
some answer needs it. A configuration is the set of open operations that are in the order already;
the set of all possible ones is carried from event to event, so quiescent points need no search.

Unlike general testers it uses three facts of a bank:

- Answers tell effects, so the balances follow from a configuration and are no part of it. (A
  pending transfer moves its money at some time, or never; one that failed is the same as never.)
- What moves nothing (a read, a failed transfer) is put into the order as soon as it can be:
  earlier never hurts.
- An operation has to be tried before the one that was answered only when the two, or others in
  between, compete for the same balance and that balance can get scarce among what is open.

Operations that touch at the same microsecond count as concurrent.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bank.ledger import FAILED, READ, SUCCESS, describe
from harness.check.verdict import Judgement, Verdict
from harness.cluster.history import Operation

CHECK = "linearizable (clients only)"
BUDGET = 1_000_000  # configurations looked at before the answer is "unknown"
EVIDENCE_BUDGET = 2_000  # for each of
ATTEMPTS = 100  # to make the evidence smaller, and fewer when
EVIDENCE_OPERATIONS = 500_000  # are read by then
SHOWN = 8  # operations in a reason
_OUTSIDE = ""  # stands for every account that a piece of evidence leaves out


class _BudgetSpent(Exception):
    """Neither answer was found in time."""


@dataclass(frozen=True, slots=True)
class _Anchor:
    """A moment when all orders agreed: no open operation had moved anything in any of them."""

    event: int  # events before this one had been taken
    done: int  # the configuration


@dataclass(slots=True, eq=False)
class _Op:
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
    anchor: _Anchor = _Anchor(0, 0)  # the last one before it was sent


Event = tuple[int, bool, _Op]  # time, whether it is the answer, whose


def black_box(
    balances: Mapping[str, int], history: Sequence[Operation], budget: int = BUDGET
) -> Judgement:
    """Can one order explain every answer? `balances` is the state before the first operation.

    Unknown when `budget` configurations were looked at without an answer, and when there is no
    answer to explain.
    """
    ops: list[_Op] = []
    for operation in history:
        if (flaw := _impossible(operation, balances)) is not None:
            return Judgement(CHECK, Verdict.INVALID, f"{_text(operation)}: {flaw}")
        if operation.invoked_at is None:
            continue
        if (op := _arithmetic(operation, balances)) is not None:
            ops.append(op)
    if not any(operation.is_answered for operation in history):
        return Judgement(CHECK, Verdict.UNKNOWN, "nothing was answered")
    events = _events(ops)
    search = _Search(balances, budget)
    try:
        failed_at = search.run(events)
    except _BudgetSpent:
        at, answered = search.event, sum(1 for event in events[: search.event] if event[1])
        reason = (
            f"gave up after {budget} configurations, at {events[at][0]} µs, "
            f"{answered} of {sum(op.answered_at is not None for op in ops)} answers explained"
        )
        return Judgement(CHECK, Verdict.UNKNOWN, reason)
    if failed_at is None:
        return Judgement(CHECK, Verdict.VALID)
    return Judgement(CHECK, Verdict.INVALID, _evidence(balances, events, failed_at))


# ---- operations as arithmetic ------------------------------------------------------------------


def _impossible(operation: Operation, balances: Mapping[str, int]) -> str | None:
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


def _arithmetic(operation: Operation, balances: Mapping[str, int]) -> _Op | None:
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
    return _Op(operation, sender, low, high, moves, receiver, invoked_at, answered_at)


def _events(ops: Iterable[_Op]) -> list[Event]:
    """In the order of time; at the same time what is sent comes before what is answered."""
    events: list[Event] = []
    for op in ops:
        events.append((op.invoked_at, False, op))
        if op.answered_at is not None:
            events.append((op.answered_at, True, op))
    events.sort(key=lambda event: event[:2])
    return events


# ---- the search --------------------------------------------------------------------------------


class _Search:
    """All configurations that explain the answers so far. One use."""

    def __init__(self, balances: Mapping[str, int], budget: int) -> None:
        self.event = 0  # the one being taken
        self._anchor = _Anchor(0, 0)
        self._base = dict(balances)  # with every answered operation, and no open one, in the order
        self._budget = budget
        self._open: dict[str, list[_Op]] = {account: [] for account in balances}
        self._free: list[int] = []  # bits of answered operations, to be used again
        self._bits = 0  # how many were ever used at once
        self._moving = 0  # the bits of open operations that move money
        self._configurations = {0}

    def run(self, events: Sequence[Event]) -> int | None:
        """The index of the first answer that no order explains; None when all are explained."""
        for self.event, (_, is_answer, op) in enumerate(events):
            if not is_answer:
                self._invoke(op)
                continue
            self._answer(op)
            if not self._configurations:
                return self.event
            if len(self._configurations) == 1:
                (only,) = self._configurations
                if not only & self._moving:
                    self._anchor = _Anchor(self.event + 1, only)
        return None

    def _invoke(self, op: _Op) -> None:
        if self._free:
            op.bit = self._free.pop()
        else:
            op.bit = 1 << self._bits
            self._bits += 1
        op.anchor = self._anchor
        self._open[op.account].append(op)
        if op.moves:
            self._open[op.other].append(op)
            self._moving |= op.bit
        else:
            self._configurations = {
                done | op.bit if self._is_legal(op, done) else done for done in self._configurations
            }

    def _answer(self, op: _Op) -> None:
        """Only configurations with `op` in the order remain; then it is open no more."""
        bit = op.bit
        found: set[int] = set()
        for done in self._configurations:
            if done & bit:
                found.add(done)
            else:
                self._order(done, op, found)
        if len(found) > 1:
            found = self._needed(found)
        self._configurations = {done ^ bit for done in found}
        self._open[op.account].remove(op)
        if op.moves:
            self._open[op.other].remove(op)
            self._base[op.account] -= op.moves
            self._base[op.other] += op.moves
            self._moving ^= bit
        self._free.append(bit)

    def _order(self, start: int, wanted: _Op, found: set[int]) -> None:
        """Put open operations into the order until `wanted` is, in every way that matters."""
        seen, stack = {start}, [start]
        while stack:
            done = stack.pop()
            self._budget -= 1
            if self._budget < 0:
                raise _BudgetSpent
            for op in self._relevant(done, wanted):
                if not op.moves or not self._is_legal(op, done):
                    continue
                after = self._take(op, done)
                if after & wanted.bit:
                    found.add(after)
                elif after not in seen:
                    seen.add(after)
                    stack.append(after)

    def _take(self, op: _Op, done: int) -> int:
        """`op` moves its money; what moves nothing and became legal by that follows at once."""
        done |= op.bit
        for account in (op.account, op.other):
            for other in self._open[account]:
                if not other.moves and not done & other.bit and self._is_legal(other, done):
                    done |= other.bit
        return done

    def _is_legal(self, op: _Op, done: int) -> bool:
        account = op.account
        balance = self._base[account]
        if done & self._moving:
            for other in self._open[account]:
                if other.bit & done and other.moves:
                    balance += other.moves if other.other == account else -other.moves
        return op.low <= balance <= op.high

    def _range(self, account: str, done: int) -> tuple[int, int]:
        """The lowest and the highest balance that what is open could make of this account."""
        lowest = highest = self._base[account]
        for op in self._open[account]:
            if not op.moves:
                continue
            change = op.moves if op.other == account else -op.moves
            is_done = op.bit & done
            if is_done or change < 0:
                lowest += change
            if is_done or change > 0:
                highest += change
        return lowest, highest

    def _relevant(self, done: int, wanted: _Op) -> list[_Op]:
        """What may have to come before `wanted`, itself included, in a fixed order.

        Every other open operation can as well be ordered after it: it makes none of these legal,
        and none of these makes it illegal.
        """
        chosen, taken = [wanted], done | wanted.bit
        ranges: dict[str, tuple[int, int]] = {}
        for op in chosen:
            for account in (op.account, op.other) if op.moves else (op.account,):
                if account not in ranges:
                    ranges[account] = self._range(account, done)
                lowest, highest = ranges[account]
                is_own = account == op.account
                # Its own balance may be too low for it, or too high: who could change that?
                wants_more = is_own and op.low > lowest + op.moves
                wants_less = is_own and op.high < highest
                for other in self._open[account]:
                    if other.bit & taken:
                        continue
                    is_condition = other.account == account
                    if is_condition and (other.low > highest or other.high < lowest):
                        continue  # no order of what is open makes it legal
                    if other.moves and (wants_less if is_condition else wants_more):
                        is_chosen = True  # it could make `op` legal
                    elif not is_condition or not op.moves:
                        is_chosen = False
                    elif is_own:  # `op` lowers the balance that it needs
                        is_chosen = other.low > lowest + other.moves
                    else:
                        is_chosen = other.high < highest
                    if is_chosen:
                        chosen.append(other)
                        taken |= other.bit
        return chosen

    def _needed(self, found: set[int]) -> set[int]:
        """Without those that another one can still become, or that have less in the order."""
        by_moves: dict[int, list[int]] = {}
        for done in found:
            by_moves.setdefault(done & self._moving, []).append(done)
        movers = {op.bit: op for ops in self._open.values() for op in ops if op.moves}
        return {done for done in found if not any(self._covers(done, by_moves, movers))}

    def _covers(
        self, done: int, by_moves: dict[int, list[int]], movers: dict[int, _Op]
    ) -> Iterator[bool]:
        moved = done & self._moving
        for other in by_moves[moved]:
            yield other != done and other | done == other
        rest = moved
        while rest:
            bit = rest & -rest
            rest ^= bit
            for other in by_moves.get(moved ^ bit, ()):
                after = self._take(movers[bit], other)  # legal: no balance of `done` is negative
                yield after | done == after


# ---- evidence ----------------------------------------------------------------------------------


def _evidence(balances: Mapping[str, int], events: Sequence[Event], failed_at: int) -> str:
    """The smallest set of operations found that no order explains, from an anchor on.

    It ends with the answer that failed and begins before that operation was sent. Constraints are
    taken away while the rest still has no order: accounts first, then operations that move
    nothing. What is left is a proof by itself.
    """
    failed = events[failed_at][2]
    anchor, base = failed.anchor, dict(balances)
    ops: dict[int, _Op] = {}
    for index, (_, is_answer, op) in enumerate(events[: failed_at + 1]):
        if not is_answer:
            ops[id(op)] = replace(op, answered_at=None)  # answers after the failure do not matter
        elif index >= anchor.event:
            ops[id(op)].answered_at = op.answered_at
        else:
            if op.moves:
                base[op.account] -= op.moves
                base[op.other] += op.moves
            del ops[id(op)]
    anchored = {id(op): op for _, is_answer, op in events[: anchor.event] if not is_answer}
    window = [
        op
        for key, op in ops.items()
        if key not in anchored or op.moves or not anchored[key].bit & anchor.done
    ]
    window, base = _smallest(window, base, failed)
    touched = sorted({a for op in window for a in (op.account, op.other) if a in base})
    before = ", ".join(f"{account} at {base[account]}" for account in touched[:SHOWN])
    others = sorted(
        (op for op in window if op.source is not failed.source),
        key=lambda op: (op.invoked_at, op.source.request),
    )
    reason = f"no order explains {_text(failed.source)}, with {before} before"
    if others:
        reason += " and " + "; ".join(_text(op.source) for op in others[:SHOWN])
    return reason + (f"; and {len(others) - SHOWN} more" if len(others) > SHOWN else "")


def _smallest(
    ops: list[_Op], base: dict[str, int], failed: _Op
) -> tuple[list[_Op], dict[str, int]]:
    touched = {account for op in ops for account in (op.account, op.other) if account in base}
    first = [a for a in (failed.account, failed.other) if a in touched]
    attempts = min(ATTEMPTS, EVIDENCE_OPERATIONS // len(ops))
    for account in [*first, *sorted(touched - set(first))][:attempts]:
        fewer = _project(ops, account)
        if _has_no_order(fewer, {account: base[account]}):
            ops, base = fewer, {account: base[account]}
            break
    still = [op for op in ops if not op.moves and op.source is not failed.source]
    size = len(still)
    while size:
        for start in range(0, len(still), size):
            left_out = {id(op) for op in still[start : start + size]}
            fewer = [op for op in ops if id(op) not in left_out]
            if attempts and len(fewer) < len(ops) and _has_no_order(fewer, base):
                ops = fewer
            attempts = max(0, attempts - 1)
        kept = {id(op) for op in ops}
        still = [op for op in still if id(op) in kept]
        size = min(size // 2, len(still))
    return ops, base


def _project(ops: Sequence[_Op], account: str) -> list[_Op]:
    """Only what these operations say of one account."""
    projected: list[_Op] = []
    for op in ops:
        if op.account == account:
            projected.append(replace(op, other=op.other if op.other == account else _OUTSIDE))
        elif op.moves and op.other == account:
            projected.append(replace(op, account=_OUTSIDE, low=-math.inf, high=math.inf))
    return projected


def _has_no_order(ops: Sequence[_Op], base: Mapping[str, int]) -> bool:
    """True only when it is certain."""
    search = _Search({**base, _OUTSIDE: 0}, EVIDENCE_BUDGET)
    try:
        return search.run(_events(ops)) is not None
    except _BudgetSpent:
        return False


def _text(operation: Operation) -> str:
    client, _, *command = operation.request
    text = f"{client}'s {describe(*command)}"  # type: ignore[arg-type]
    if operation.result is None:
        return f"{text} from {operation.invoked_at} µs on, never answered"
    return f"{text} = {operation.result}, {operation.invoked_at}-{operation.answered_at} µs"
