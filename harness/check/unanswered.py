"""Which requests without an answer were done, and by when? What answers tell of single accounts.

What an account holds by an answer, less what every other answer tells, is what requests without an
answer have brought and taken there by then. So each answer is a `Look` at that sum: a read says
what it is, a success and a failure bound it. Everything else is left out: what overlaps a look may
have come before it or not, in any order, and a request without an answer needs no money. So where
no choice of requests suits all looks, no order explains all answers. A choice that suits them
proves nothing.

Requests are chosen no earlier than a look needs them. That loses nothing: what is chosen later
leaves the looks before it as they are, and can be chosen by the next look at either account. When
a look has no choice left, only the choices that touched its account can be at fault: the search
goes back to the latest of these (conflict-directed backjumping). When there is none, it is proved.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from harness.check.operations import Event, Op
from harness.check.search import BudgetSpent

MOST_SUMS = 512  # of what overlaps a read; with more, only how far they reach is known
COMPARED = 24  # requests of an account, the latest, of which pairs are compared at once
COMPARING = 16  # of the budget, for each that is compared
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


@dataclass(slots=True, eq=False)
class _Choice:
    """Requests that were done by the time of a look, which needs them."""

    look: Look
    others: Iterator[tuple[Op, ...]]  # that would do as well, and were not tried
    conflicts: set[int]  # the choices, by their places, that leave no other than those
    done: tuple[Op, ...] = ()
    before: dict[str, Look | None] = field(default_factory=dict)  # of `_unexplained`


class Unanswered:
    """The search for them."""

    def __init__(self, balances: Mapping[str, int], events: Sequence[Event], budget: int) -> None:
        self._budget = budget
        self._looks: dict[str, list[Look]] = {account: [] for account in balances}
        self._sent: dict[str, list[tuple[int, Op]]] = {account: [] for account in balances}
        _Looking(balances, self._looks, self._sent).run(events)
        self._ends = {a: [look.event for look in looks] for a, looks in self._looks.items()}
        self._done: set[Op] = set()
        self._moved = dict.fromkeys(balances, 0)
        self._latest: dict[str, list[tuple[int, int]]] = {account: [] for account in balances}
        self._choices: list[_Choice] = []
        self._unexplained: dict[str, Look | None] = {}  # the first of each account

    def run(self) -> Look | None:
        """The look by which there is no choice, None when there is one for all.

        Raises `BudgetSpent`.
        """
        furthest: Look | None = None
        self._unexplained = {account: self._first(account, 0) for account in self._looks}
        while True:
            left = [look for look in self._unexplained.values() if look is not None]
            look = min(left, key=lambda look: look.event, default=None)
            if look is None:
                return None
            if furthest is None or look.event > furthest.event:
                furthest = look
            choice = _Choice(look, self._explanations(look), self._touching(look.op.account))
            while not self._chosen(choice):
                if not choice.conflicts:
                    return furthest
                place = max(choice.conflicts)
                while len(self._choices) > place:
                    earlier = self._choices.pop()
                    self._undo(earlier)
                earlier.conflicts |= choice.conflicts - {place}
                choice = earlier

    def _touching(self, account: str) -> set[int]:
        return {
            place for place, choice in enumerate(self._choices)
            if any(account in (op.account, op.other) for op in choice.done)
        }  # fmt: skip

    def _chosen(self, choice: _Choice) -> bool:
        done = next(choice.others, None)
        if done is None:
            return False
        choice.done = done
        self._do(choice)
        self._choices.append(choice)
        return True

    def _do(self, choice: _Choice) -> None:
        by = choice.look.event
        for op in choice.done:
            self._done.add(op)
            for account, change in ((op.account, -op.moves), (op.other, op.moves)):
                self._moved[account] += change
                self._latest[account].append((by, change))
        touched = dict.fromkeys(a for op in choice.done for a in (op.account, op.other))
        choice.before = {account: self._unexplained[account] for account in touched}
        for account in touched:
            self._unexplained[account] = self._first(account, by)

    def _undo(self, choice: _Choice) -> None:
        for op in choice.done:
            self._done.remove(op)
            for account, change in ((op.account, -op.moves), (op.other, op.moves)):
                self._moved[account] -= change
                self._latest[account].pop()
        self._unexplained.update(choice.before)
        choice.done = ()

    def _first(self, account: str, start: int) -> Look | None:
        """The first look from this event on that is not explained by what was chosen."""
        looks, moved = self._looks[account], self._moved[account]
        for index in range(bisect_left(self._ends[account], start), len(looks)):
            look = looks[index]
            if not look.allows(moved) and not any(
                look.allows(sum_) for sum_ in self._sums(account, look)
            ):
                return look
        return None

    def _sums(self, account: str, look: Look) -> set[int]:
        """What those that were chosen may have moved by then: the latest may come after it."""
        sums = {self._moved[account]}
        for by, change in reversed(self._latest[account]):
            if by < look.sent:
                break
            sums |= {sum_ - change for sum_ in sums}
            if len(sums) > MOST_SUMS:
                self._spend(len(sums))  # twice as many with each further one
        return sums

    def _explanations(self, look: Look) -> Iterator[tuple[Op, ...]]:
        """Requests that explain it, none of them in vain; first what is longest at odds with none.

        What has more than another one that explains it is left out: the rest can be chosen later.
        """
        account = look.op.account
        there = self._sums(account, look)
        left = [
            (op, op.moves if op.other == account else -op.moves)
            for event, op in reversed(self._sent[account])
            if event < look.event and op not in self._done
        ]

        def explain(parts: Sequence[tuple[Op, int]], how_many: int) -> Iterator[tuple[Op, ...]]:
            for some in combinations(parts, how_many):
                self._spend(1 + len(there) // AT_ONCE)
                by = sum(change for _, change in some)
                if any(look.allows(sum_ + by) for sum_ in there):
                    yield tuple(op for op, _ in some)

        found = list(explain(left, 1))
        single = {ops[0] for ops in found}
        rest = [part for part in left if part[0] not in single]
        found += explain(rest[:COMPARED], 2)
        found.sort(key=lambda ops: (-self._lasts(look, ops), len(ops)))
        yield from found
        least = [frozenset(ops) for ops in found if len(ops) > 1]
        for how_many in range(2, len(rest) + 1):
            for ops in explain(rest, how_many):
                if not any(fewer <= set(ops) for fewer in least):
                    least.append(frozenset(ops))
                    yield ops

    def _lasts(self, look: Look, ops: tuple[Op, ...]) -> int:
        """Up to which event nothing at their accounts is at odds with these."""
        self._spend(COMPARING)
        choice = _Choice(look, iter(()), set(), ops)
        self._do(choice)
        left = [self._unexplained[account] for account in choice.before]
        self._undo(choice)
        return min((o.event for o in left if o is not None), default=1 << 62)

    def _spend(self, how_much: int) -> None:
        self._budget -= how_much
        if self._budget < 0:
            raise BudgetSpent


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
