"""What answers tell of single accounts, where some requests have no answer.

What an account holds by an answer, less what every other answer tells, is what requests without an
answer have brought and taken there by then. So each answer is a `Look` at that sum: a read says
what it is, a success and a failure bound it. Everything else is left out: what overlaps a look may
have come before it or not, in any order, and a request without an answer needs no money. So where
no choice of requests suits all looks, no order explains all answers (`unanswered` proves it). A
choice that suits them proves nothing, but mostly has an order (`likely` looks for one).
"""

import heapq
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from harness.check.operations import Event, Op
from harness.check.search import BudgetSpent

MOST_SUMS = 512  # of what overlaps a read; with more, only how far they reach is known
AT_ONCE = 16  # sums that are compared for one of the budget


@dataclass(slots=True, eq=False)
class Look:
    """An answer, as what it says of the sum that requests without an answer moved there."""

    op: Op
    sent: int  # the event in which it was
    event: int  # of the answer
    sums: frozenset[int] | None  # what it may be; None: anything from `low` to `high`
    low: float
    high: float

    def allows(self, moved: int) -> bool:
        return moved in self.sums if self.sums is not None else self.low <= moved <= self.high


@dataclass(slots=True)
class Looks:
    """Of a history, by account and in the order of events."""

    looks: dict[str, list[Look]]
    sent: dict[str, list[tuple[int, Op]]]  # without an answer; the event in which each was sent
    ends: dict[str, list[int]] = field(default_factory=dict)  # the events of `looks`

    def __post_init__(self) -> None:
        self.ends = {a: [look.event for look in looks] for a, looks in self.looks.items()}


def looks_at(balances: Mapping[str, int], events: Sequence[Event]) -> Looks:
    """All there are in these events."""
    looks: dict[str, list[Look]] = {account: [] for account in balances}
    sent: dict[str, list[tuple[int, Op]]] = {account: [] for account in balances}
    _Looking(balances, looks, sent).run(events)
    return Looks(looks, sent)


class Chosen:
    """Requests that count as done, each by a look that needs it, and what is at odds with that."""

    def __init__(self, looks: Looks, budget: int) -> None:
        self._looks = looks
        self._budget = budget
        self._done: set[Op] = set()
        self._moved = dict.fromkeys(looks.looks, 0)
        self._latest: dict[str, list[tuple[int, int]]] = {account: [] for account in looks.looks}
        # The first look of each account that is not explained. `_firsts` is a heap of them, by
        # event, and of some that were the first before: these are dropped when they come up.
        self._unexplained: dict[str, Look | None] = {}
        self._firsts: list[tuple[int, str]] = []
        self._in_firsts: set[int] = set()
        self._put({account: self._first(account, 0) for account in looks.looks})

    def next_look(self) -> Look | None:
        """The first one of all that is not explained."""
        while self._firsts:
            event, account = self._firsts[0]
            look = self._unexplained[account]
            if look is not None and look.event == event:
                return look
            heapq.heappop(self._firsts)
            self._in_firsts.remove(event)
        return None

    def do(
        self, ops: Sequence[Op], by: int, then: Mapping[str, Look | None] | None = None
    ) -> dict[str, Look | None]:
        """They are done by this event. What was unexplained before, of the accounts they touch.

        `then` is what is unexplained now, where that is known.
        """
        for op in ops:
            self._done.add(op)
            for account, change in ((op.account, -op.moves), (op.other, op.moves)):
                self._moved[account] += change
                self._latest[account].append((by, change))
        touched = dict.fromkeys(a for op in ops for a in (op.account, op.other))
        before = {account: self._unexplained[account] for account in touched}
        self._put(then or {a: self._first(a, by) for a in touched})
        return before

    def undo(self, ops: Sequence[Op], before: Mapping[str, Look | None]) -> None:
        """The latest that were done are not."""
        for op in ops:
            self._done.remove(op)
            for account, change in ((op.account, -op.moves), (op.other, op.moves)):
                self._moved[account] -= change
                self._latest[account].pop()
        self._put(before)

    def left(self, look: Look) -> list[tuple[Op, int]]:
        """What may be chosen for a look, the latest first, and what it moves there."""
        account = look.op.account
        sent = self._looks.sent[account]
        return [
            (op, op.moves if op.other == account else -op.moves)
            for event, op in reversed(sent)
            if event < look.event and op not in self._done
        ]

    def sums(self, account: str, look: Look) -> set[int]:
        """What those that were chosen may have moved by then: the latest may come after it."""
        sums = {self._moved[account]}
        for by, change in reversed(self._latest[account]):
            if by < look.sent:
                break
            sums |= {sum_ - change for sum_ in sums}
            if len(sums) > MOST_SUMS:
                self.spend(len(sums))  # twice as many with each further one
        return sums

    def explaining(
        self, look: Look, parts: Sequence[tuple[Op, int]], how_many: int
    ) -> Iterator[tuple[Op, ...]]:
        """So many of these that explain it together."""
        there = self.sums(look.op.account, look)
        for some in combinations(parts, how_many):
            self.spend(1 + len(there) // AT_ONCE)
            by = sum(change for _, change in some)
            if any(look.allows(sum_ + by) for sum_ in there):
                yield tuple(op for op, _ in some)

    def spend(self, how_much: int) -> None:
        """Raises `BudgetSpent`."""
        self._budget -= how_much
        if self._budget < 0:
            raise BudgetSpent

    def _put(self, unexplained: Mapping[str, Look | None]) -> None:
        """These are the first of their accounts from now on."""
        self._unexplained.update(unexplained)
        for account, look in unexplained.items():
            if look is not None and look.event not in self._in_firsts:
                self._in_firsts.add(look.event)
                heapq.heappush(self._firsts, (look.event, account))

    def _first(self, account: str, start: int) -> Look | None:
        """The first look from this event on that is not explained by what was chosen."""
        looks, moved = self._looks.looks[account], self._moved[account]
        for index in range(bisect_left(self._looks.ends[account], start), len(looks)):
            look = looks[index]
            if not look.allows(moved) and not any(
                look.allows(sum_) for sum_ in self.sums(account, look)
            ):
                return look
        return None


class _Looking:
    """Goes through all events and takes down looks, and what was sent."""

    def __init__(
        self,
        balances: Mapping[str, int],
        looks: dict[str, list[Look]],
        sent: dict[str, list[tuple[int, Op]]],
    ) -> None:
        self._base = dict(balances)  # with what was answered
        self._looks, self._sent = looks, sent
        self._moving: dict[str, dict[Op, int]] = {account: {} for account in balances}
        # Looks that are not over: the event in which each was sent, the balance that is sure, and
        # what overlaps it.
        self._open: dict[str, dict[Op, tuple[int, int, list[int]]]] = {a: {} for a in balances}

    def run(self, events: Sequence[Event]) -> None:
        for event, (_, is_answer, op) in enumerate(events):
            if is_answer:
                self._answer(event, op)
            elif op.answered_at is None:
                self._sent[op.account].append((event, op))
                self._sent[op.other].append((event, op))
            else:
                self._invoke(event, op)

    def _invoke(self, event: int, op: Op) -> None:
        account = op.account
        overlaps = list(self._moving[account].values())
        if op.moves:
            for touched, change in ((account, -op.moves), (op.other, op.moves)):
                for _, _, others in self._open[touched].values():
                    others.append(change)
                self._moving[touched][op] = change
        self._open[account][op] = event, self._base[account], overlaps

    def _answer(self, event: int, op: Op) -> None:
        sent, base, overlaps = self._open[op.account].pop(op)
        low = op.low - base - sum(by for by in overlaps if by > 0)
        high = op.high - base - sum(by for by in overlaps if by < 0)
        sums: set[int] | None = None
        if op.low == op.high:
            sums = {int(op.low) - base}
            for by in overlaps:
                sums |= {sum_ - by for sum_ in sums}
                if len(sums) > MOST_SUMS:
                    sums = None
                    break
        seen = None if sums is None else frozenset(sums)
        self._looks[op.account].append(Look(op, sent, event, seen, low, high))
        if op.moves:
            for touched, change in ((op.account, -op.moves), (op.other, op.moves)):
                del self._moving[touched][op]
                self._base[touched] += change
