"""Which requests without an answer were done, and by when? The likeliest choice that suits them.

A choice that suits all looks at single accounts proves nothing. But with it each request has its
time, from when it was sent to the look that needs it, or none, and then the exact search comes
through as if all had been answered.

Choices are tried in the order of how surprising they are, in bits: a request sent long ago more
than one sent just now, two more than one, and what is at odds with the next look at the other
account more than what goes well for long. How far a choice reaches counts for it. So one that was
wrong is taken back when the ones that it makes necessary have become more surprising than another
one there (best-first search); what does not depend on it is chosen again as it was.
"""

import heapq
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from harness.check.looks import Chosen, Look, Looks
from harness.check.operations import Event, Op

COMPARED = 24  # requests of an account, the latest, of which pairs are compared
MOST_NEAR = 8  # that were done about a look, of which all sums are formed
COMPARING = 16  # of the budget, for each that is compared
BITS = 256  # of what was chosen, that take as much memory as one of the budget
# Bits: for each request; at most for odds with the next look.
EACH, AT_ODDS = 2, 4


@dataclass(slots=True, eq=False)
class _Choice:
    """Requests that were done by an event, after all those of `parent`."""

    parent: "_Choice | None"
    depth: int
    done: tuple[Op, ...]
    by: int
    members: int  # all that were chosen, as bits
    surprise: int
    before: Mapping[str, Look | None]  # what was unexplained, of the accounts that it touches
    after: Mapping[str, Look | None]


class Likely(Chosen):
    """The search for them."""

    def __init__(self, looks: Looks, budget: int, reaches: int = 8) -> None:
        """`reaches`: bits for each request that was sent up to the look that is unexplained next.

        With fewer, wrong choices are taken back sooner; with more, less is tried in vain.
        """
        super().__init__(looks, budget)
        self._reaches = reaches
        # In the order of time: the bits of what is chosen early are the low ones, and few.
        sent = heapq.merge(*looks.sent.values(), key=lambda event_and_op: event_and_op[0])
        self._sent = {op: event for event, op in sent}
        self._bit = {op: bit for bit, op in enumerate(self._sent)}
        self._events = list(self._sent.values())
        self._last = max((ends[-1] for ends in looks.ends.values() if ends), default=0)
        reads = sum(look.sums is not None for of in looks.looks.values() for look in of)
        # Events from one read of an account to the next, about.
        self._apart = 1 + self._last * len(looks.looks) // (1 + reads)
        self._at = _Choice(None, 0, (), 0, 0, 0, {}, {})
        self._heap: list[tuple[int, int, _Choice]] = []
        self._known = {0}
        self._refuted: list[tuple[int, int]] = []  # events, and what was chosen by then, as bits

    def run(self) -> dict[Op, int] | None:
        """By which event each was done, that was; None: nothing was found.

        Raises `BudgetSpent`.
        """
        while (look := self.next_look()) is not None:
            for choice, reaches in self._explanations(look):
                if choice.members not in self._known:
                    self._known.add(choice.members)
                    surprise = choice.surprise - self._reaches * bisect_left(self._events, reaches)
                    heapq.heappush(self._heap, (surprise, len(self._known), choice))
            if not self._goes_on():
                return None
        found: dict[Op, int] = {}
        at = self._at
        while at.parent is not None:
            found |= dict.fromkeys(at.done, at.by)
            at = at.parent
        return found

    def run_again(self, account: str, event: int) -> dict[Op, int] | None:
        """The next one: by this event, an answer at this account, what was found has no order.

        Taken to be at fault is what was chosen there lately, else all that was chosen by then.
        """
        choice = self._by(self._at, event)
        lately, at = 0, choice
        while at.parent is not None and at.by >= event - self._apart:
            for op in at.done:
                lately |= 1 << self._bit[op] if account in (op.account, op.other) else 0
            at = at.parent
        self._refuted.append((event, lately or choice.members))
        return self.run() if self._goes_on() else None

    def _by(self, choice: _Choice, event: int) -> _Choice:
        while choice.parent is not None and choice.by > event:
            choice = choice.parent
        return choice

    def _goes_on(self) -> bool:
        """With the least surprising choice that is left."""
        while self._heap:
            choice = heapq.heappop(self._heap)[2]
            if not any(
                self._by(choice, event).members & wrong == wrong for event, wrong in self._refuted
            ):
                self._go_to(choice)
                return True
        return False

    def _go_to(self, choice: _Choice) -> None:
        ahead: list[_Choice] = []
        here, there = self._at, choice
        while here is not there:
            if there.depth > here.depth:
                ahead.append(there)
                there = _parent(there)
            else:
                self.undo(here.done, here.before)
                here = _parent(here)
        for next_ in reversed(ahead):
            self.do(next_.done, next_.by, next_.after)
        self._at = choice

    def _explanations(self, look: Look) -> Iterator[tuple[_Choice, int]]:
        """What explains it, and up to which event nothing else is at odds with that."""
        left = self.left(look)
        found = list(self.explaining(look, left, 1))
        single = {ops[0] for ops in found}
        rest = [part for part in left if part[0] not in single][:COMPARED]
        found += self.explaining(look, rest, 2)
        found = found or list(self.explaining(look, rest, 3))
        for ops in found:
            self.spend(COMPARING)
            before = self.do(ops, look.event)
            after = {account: self._unexplained[account] for account in before}
            next_look = self.next_look()
            self.undo(ops, before)
            lasts = min((o.event for o in after.values() if o is not None), default=self._last)
            surprise = self._at.surprise + max(0, AT_ODDS - (lasts - look.event) // self._apart)
            members = self._at.members
            for op in ops:
                members |= 1 << self._bit[op]
                age = (look.event - self._sent[op]) // self._apart
                surprise += EACH + (1 + age).bit_length()
            self.spend(members.bit_length() // BITS)
            reaches = self._last if next_look is None else next_look.event
            choice = _Choice(
                self._at, self._at.depth + 1, ops, look.event, members, surprise, before, after
            )
            yield choice, reaches


def _parent(choice: _Choice) -> _Choice:
    assert choice.parent is not None, "two choices have no beginning in common"
    return choice.parent


def as_chosen(events: Sequence[Event], done: Mapping[Op, int], looks: Looks) -> list[Event]:
    """As if those had been sent just before they were done, and answered, and no other sent."""
    begins: dict[int, list[Op]] = {}
    ends: dict[int, list[Op]] = {}
    for op, since in _since(done, looks).items():
        begins.setdefault(since, []).append(op)
        ends.setdefault(done[op], []).append(op)
    found: list[Event] = []
    for index, event in enumerate(events):
        at, _, op = event
        found += [(at, False, other) for other in begins.get(index, ())]
        if op.answered_at is not None:
            found.append(event)
        found += [(at, True, other) for other in ends.get(index, ())]
    return found


def _since(done: Mapping[Op, int], looks: Looks) -> dict[Op, int]:
    """From which event on each was done: after the last look that would not have it done yet."""
    since = {op: event for sent in looks.sent.values() for event, op in sent if op in done}
    for account, of_account in looks.looks.items():
        moves = sorted(
            (done[op], number, op)
            for number, (_, op) in enumerate(looks.sent[account]) if op in done
        )  # fmt: skip
        ends = [by for by, _, _ in moves]
        changes = [op.moves if op.other == account else -op.moves for _, _, op in moves]
        sums = [0, *accumulate(changes)]
        for by, change, (_, _, op) in zip(ends, changes, moves, strict=True):
            for index in range(bisect_left(looks.ends[account], by) - 1, -1, -1):
                look = of_account[index]
                if look.event <= since[op]:
                    break
                first, last = bisect_left(ends, look.sent), bisect_left(ends, look.event + 1)
                if last - first > MOST_NEAR:
                    break
                there = {sums[first] + change}
                for other in changes[first:last]:
                    there |= {sum_ + other for sum_ in there}
                if not any(map(look.allows, there)):
                    since[op] = max(since[op], look.sent)
                    break
    return since
