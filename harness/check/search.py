"""Is there one order that explains every answer? The exact search, without regard to its length.

Wing and Gong's question in Lowe's just-in-time form: events are taken in the order of time, and an
operation is put into the order no earlier than some answer needs it. A configuration is the set of
open operations that are in the order already; the set of all possible ones is carried from event
to event, so quiescent points need no search.

Unlike general testers it uses three facts of a bank:

- Answers tell effects, so the balances follow from a configuration and are no part of it. (A
  pending transfer moves its money at some time, or never; one that failed is the same as never.)
- What moves nothing (a read, a failed transfer) is put into the order as soon as it can be:
  earlier never hurts.
- An operation has to be tried before the one that was answered only when the two, or others in
  between, compete for the same balance and that balance can get scarce among what is open.

Operations that touch at the same microsecond count as concurrent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from harness.check.operations import Anchor, Event, Op

Order: TypeAlias = tuple[Op, "Order"] | None  # the latest operation, and those before it


class BudgetSpent(Exception):
    """Neither answer was found in time."""


class Search:
    """All configurations that explain the answers so far, each with an order that leads to it."""

    def __init__(self, balances: Mapping[str, int], budget: int) -> None:
        self.event = 0  # the one being taken
        self._anchor = Anchor(0, 0)
        self._base = dict(balances)  # with every answered operation, and no open one, in the order
        self.left = budget  # configurations that may still be looked at
        self._open: dict[str, list[Op]] = {account: [] for account in balances}
        self._free: list[int] = []  # bits of answered operations, to be used again
        self._bits = 0  # how many were ever used at once
        self._moving = 0  # the bits of open operations that move money
        self._configurations: dict[int, Order] = {0: None}

    def run(self, events: Sequence[Event]) -> int | None:
        """The index of the first answer that no order explains; None when all are explained."""
        for self.event, (_, is_answer, op) in enumerate(events):
            if not is_answer:
                self._invoke(op)
                continue
            if not self._answer(op):
                return self.event
            if len(self._configurations) == 1:
                (only,) = self._configurations
                if not only & self._moving:
                    self._anchor = Anchor(self.event + 1, only)
        return None

    def order(self) -> list[Op]:
        """One order that explains all answers taken so far."""
        found: list[Op] = []
        order = next(iter(self._configurations.values()))
        while order is not None:
            op, order = order
            found.append(op)
        return found[::-1]

    def _invoke(self, op: Op) -> None:
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
            return
        found: dict[int, Order] = {}
        for done, order in self._configurations.items():
            if self._is_legal(op, done):
                found[done | op.bit] = op, order
            else:
                found[done] = order
        self._configurations = found

    def _answer(self, op: Op) -> bool:
        """Only configurations with `op` in the order remain; False: there is none."""
        found = self._explained(op)
        if found:
            self._close(op, found)
        return bool(found)

    def _close(self, op: Op, found: dict[int, Order]) -> None:
        """It is open no more; `found` are the configurations that have it in the order."""
        bit = op.bit
        if len(found) > 1:
            found = self._needed(found)
        self._configurations = {done ^ bit: order for done, order in found.items()}
        self._open[op.account].remove(op)
        if op.moves:
            self._open[op.other].remove(op)
            self._base[op.account] -= op.moves
            self._base[op.other] += op.moves
            self._moving ^= bit
        self._free.append(bit)

    def _explained(self, op: Op) -> dict[int, Order]:
        """The configurations that have `op` in the order, or can have it next."""
        found: dict[int, Order] = {}
        for done, order in self._configurations.items():
            if done & op.bit:
                found[done] = order
            else:
                self._put(done, order, op, found)
        return found

    def _put(self, start: int, order: Order, wanted: Op, found: dict[int, Order]) -> None:
        """Put open operations into the order until `wanted` is, in every way that matters."""
        seen, stack = {start}, [(start, order)]
        while stack:
            done, order = stack.pop()
            self.left -= 1
            if self.left < 0:
                raise BudgetSpent
            for op in self._relevant(done, wanted):
                if not op.moves or not self._is_legal(op, done):
                    continue
                after, longer = self._take(op, done, order)
                if after & wanted.bit:
                    found.setdefault(after, longer)
                elif after not in seen:
                    seen.add(after)
                    stack.append((after, longer))

    def _take(self, op: Op, done: int, order: Order) -> tuple[int, Order]:
        """`op` moves its money; what moves nothing and became legal by that follows at once."""
        done |= op.bit
        order = op, order
        for account in (op.account, op.other):
            for other in self._open[account]:
                if not other.moves and not done & other.bit and self._is_legal(other, done):
                    done |= other.bit
                    order = other, order
        return done, order

    def _balance(self, account: str, done: int) -> int:
        """Without the open operations of `done`."""
        return self._base[account]

    def _is_legal(self, op: Op, done: int) -> bool:
        account = op.account
        balance = self._balance(account, done)
        if done & self._moving:
            for other in self._open[account]:
                if other.bit & done and other.moves:
                    balance += other.moves if other.other == account else -other.moves
        return op.low <= balance <= op.high

    def _range(self, account: str, done: int) -> tuple[int, int]:
        """The lowest and the highest balance that what is open could make of this account."""
        lowest = highest = self._balance(account, done)
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

    def _near(self, account: str, done: int) -> Sequence[Op]:
        """What could change this account's balance, or asks for one."""
        return self._open[account]

    def _relevant(self, done: int, wanted: Op) -> list[Op]:
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
                for other in self._near(account, done):
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

    def _needed(self, found: dict[int, Order]) -> dict[int, Order]:
        """Without those that another one can still become, or that have less in the order."""
        still = sum(op.bit for ops in self._open.values() for op in ops if not op.moves)
        by_moves: dict[int, list[int]] = {}
        for done in found:
            by_moves.setdefault(done & ~still, []).append(done)
        movers = {op.bit: op for ops in self._open.values() for op in ops if op.moves}
        return {
            done: order
            for done, order in found.items()
            if not any(self._covers(done, done & ~still, by_moves, movers))
        }

    def _covers(
        self, done: int, moved: int, by_moves: dict[int, list[int]], movers: dict[int, Op]
    ) -> Iterator[bool]:
        for other in by_moves[moved]:
            yield other != done and other | done == other
        rest = moved & self._moving
        while rest:
            bit = rest & -rest
            rest ^= bit
            for other in by_moves.get(moved ^ bit, ()):
                # Legal: no balance of `done` is negative.
                after, _ = self._take(movers[bit], other, None)
                yield after | done == after
