"""What requests that run in parallel may come to, whatever their order. Pure.

Each client's requests keep their order, and only its own requests debit an account: whether its
balance suffices depends on what others credit before. Bounds over all orders decide most requests
at once. Where a balance may run short, every order that matters is walked; when these are too many
the bounds are the answer: wider than the truth, never beside it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import NamedTuple, TypeAlias

from bank.ledger import FAILED, READ, SUCCESS, TRANSFER
from harness.files.cases import Command

BUDGET = 1_000_000  # requests that are looked at for one file, state by state: some seconds
LEAST = 50  # that a state is counted as: it is some work of its own
MOST_ROUNDS = 20  # in which what is known to fail may show that more fails
MOST_WORLDS = 256  # alternatives kept apart; of more, the bounds
MOST_LOOKS = 200_000  # at a request in a world, for each to be looked at by itself

Span: TypeAlias = tuple[int, int]  # least and most
Box: TypeAlias = Mapping[str, Span]  # by account, each bounded by itself
# By client, each in its order. A command of another kind than a transfer or a read is a transfer
# that may come to nothing: its kind names an account of the box that holds 1 until it is executed.
Queues: TypeAlias = Mapping[str, Sequence[Command]]
Fate: TypeAlias = frozenset[str]  # the results a request may have; of a read always success

SUCCEEDS, FAILS = frozenset([SUCCESS]), frozenset([FAILED])
EITHER = SUCCEEDS | FAILS


class Chance(NamedTuple):
    """What may become of one request."""

    fate: Fate
    before: Span  # the sender's balance when it is executed

    def __or__(self, other: object) -> "Chance":
        """Either of two."""
        assert isinstance(other, Chance)
        return Chance(self.fate | other.fate, _hull([self.before, other.before]))


@dataclass(slots=True)
class Budget:
    """How many requests may still be looked at."""

    left: int = BUDGET
    sufficed: bool = True  # so far: all orders were tried


class Served(NamedTuple):
    """After all requests were executed, in whatever order."""

    chances: Mapping[str, list[Chance]]  # like the queues
    worlds: tuple[Box, ...]  # what the balances may be; never empty
    between: Box  # what they may be at any time, begin and end included


def serve(queues: Queues, worlds: Sequence[Box], budget: Budget) -> Served:
    """Every order of these requests, from each of these worlds. A box has all their accounts."""
    if len(worlds) * sum(map(len, queues.values())) > MOST_LOOKS:
        worlds = [join(worlds)]
    after: dict[tuple[Span, ...], Box] = {}
    each: list[_Bounds] = []
    for box in worlds:
        bounds = _Bounds(queues, box)
        ends = [bounds.end()]
        if bounds.undecided and _is_hopeless(bounds, budget):
            budget.sufficed = False
        elif bounds.undecided:
            walk = _Walk(queues, box, budget)
            if walk.ends:
                bounds, ends = _Bounds(queues, box, walk.fates), walk.ends
        each.append(bounds)
        after.update((tuple(end.values()), end) for end in ends)
    chances = {
        client: [
            reduce(or_, same)
            for same in zip(*(bounds.chances[client] for bounds in each), strict=True)
        ]
        for client in queues
    }
    found = tuple(after.values())
    joined = found if len(found) <= MOST_WORLDS else (join(found),)
    return Served(chances, joined, join([bounds.between() for bounds in each]))


def join(boxes: Sequence[Box]) -> Box:
    """The smallest box around these."""
    return {account: _hull(box[account] for box in boxes) for account in boxes[0]}


def _hull(spans: Iterable[Span]) -> Span:
    least, most = zip(*spans, strict=True)
    return min(least), max(most)


class _Bounds:
    """What holds in every order: of each request by itself, and of each balance by itself."""

    def __init__(
        self, queues: Queues, box: Box, fates: Mapping[str, Sequence[Fate]] | None = None
    ) -> None:
        """`fates` when they are known already; else they follow from the balances."""
        self.queues, self.box = queues, box
        self.chances: dict[str, list[Chance]] = {}
        known = fates or {client: [EITHER] * len(queue) for client, queue in queues.items()}
        for _ in range(MOST_ROUNDS):
            credited = self._credits(known)
            self.chances = {
                client: list(self._in_order(client, known[client], credited[client]))
                for client in queues
            }
            before = known
            known = {client: [c.fate for c in queue] for client, queue in self.chances.items()}
            if fates is not None or known == before:
                break  # who is known to fail credits nobody: others may be known to fail now
        known = fates or known
        self.fates = known
        self.undecided = {client for client, queue in known.items() if EITHER in queue}

    def _in_order(self, client: str, known: Sequence[Fate], credited: int) -> Iterator[Chance]:
        """One client's requests: each may come before or after whatever others credit."""
        least, most = self.box[client]
        most += credited
        for command, fate in zip(self.queues[client], known, strict=True):
            if command.kind == READ:
                fate = SUCCEEDS
            elif fate == EITHER:
                token = _token(command)
                fate = SUCCEEDS if least >= command.amount and not token else fate
                is_done = bool(token) and self.box[token][1] == 0
                fate = FAILS if most < command.amount or is_done else fate
            yield Chance(fate, (least, most))
            debit = _debit(command)
            if SUCCESS in fate:
                least = max(0, least - debit)
            if fate == SUCCEEDS:
                most -= debit

    def _credits(self, fates: Mapping[str, Sequence[Fate]], surely: bool = False) -> Counter[str]:
        """What each account may be credited, or surely is."""
        found: Counter[str] = Counter()
        for client, queue in self.queues.items():
            for command, fate in zip(queue, fates[client], strict=True):
                if fate == SUCCEEDS if surely else SUCCESS in fate:
                    found[command.receiver] += _debit(command)
        return found

    def _debits(self, client: str, surely: bool = False) -> int:
        return sum(
            _debit(command)
            for command, fate in zip(
                self.queues.get(client, ()), self.fates.get(client, ()), strict=True
            )
            if (fate == SUCCEEDS if surely else SUCCESS in fate)
        )

    def end(self) -> Box:
        """The balances when all is executed."""
        some, sure = self._credits(self.fates), self._credits(self.fates, surely=True)
        return {
            account: (
                max(0, least - self._debits(account) + sure[account]),
                most - self._debits(account, surely=True) + some[account],
            )
            for account, (least, most) in self.box.items()
        }

    def between(self) -> Box:
        """The balances at any time."""
        some = self._credits(self.fates)
        return {
            account: (max(0, least - self._debits(account)), most + some[account])
            for account, (least, most) in self.box.items()
        }


def _token(command: Command) -> str:
    """The account that says whether what may come to nothing is still to come; "" of others."""
    return "" if command.kind in (TRANSFER, READ) else command.kind


def _debit(command: Command) -> int:
    """What a success takes from its sender, and gives to its receiver."""
    return 0 if command.kind == READ or command.sender == command.receiver else command.amount


def _is_hopeless(bounds: _Bounds, budget: Budget) -> bool:
    """A single order already takes too much: a state per open request, and what is left of all."""
    open_ = sum(fate == EITHER for queue in bounds.fates.values() for fate in queue)
    return open_ * open_ // 2 > budget.left


class _Walk:
    """Every order that matters, from exactly known balances; no `ends` when there are too many.

    What is decided, and credits nobody for whom that matters, commutes with everything: it is
    executed as soon as it can be. Of the rest, only clients are tried that can matter to another.
    """

    def __init__(self, queues: Queues, box: Box, budget: Budget) -> None:
        self.ends: list[Box] = []
        self.fates: dict[str, list[Fate]] = {
            client: [frozenset()] * len(queue) for client, queue in queues.items()
        }
        self._queues = queues
        if all(least == most for least, most in box.values()):
            self._run({account: least for account, (least, _) in box.items()}, budget)

    def _run(self, balances: dict[str, int], budget: Budget) -> None:
        done = dict.fromkeys(self._queues, 0)
        stack = [(done, balances)]
        seen: set[tuple[int, ...]] = set()
        ends: dict[tuple[Span, ...], Box] = {}
        while stack:
            done, balances = stack.pop()
            key = (*done.values(), *balances.values())
            if key in seen:
                continue
            seen.add(key)
            left = {client: queue[done[client] :] for client, queue in self._queues.items()}
            budget.left -= max(LEAST, sum(map(len, left.values())))
            if budget.left < 0:
                budget.sufficed = False
                return
            bounds = _Bounds(left, {account: (b, b) for account, b in balances.items()})
            if not bounds.undecided:
                for client, fates in bounds.fates.items():
                    for at, fate in enumerate(fates, done[client]):
                        self.fates[client][at] |= fate
                end = bounds.end()
                ends[tuple(end.values())] = end
                continue
            stack += self._next(done, balances, bounds)
        self.ends = list(ends.values())

    def _next(
        self, done: dict[str, int], balances: dict[str, int], bounds: "_Bounds"
    ) -> Iterator[tuple[dict[str, int], dict[str, int]]]:
        """The states that may come next: one, when something commutes with all else."""
        for client, queue in bounds.queues.items():
            commuting = 0
            for command, fate in zip(queue, bounds.fates[client], strict=True):
                if fate == EITHER or (_debit(command) and command.receiver in bounds.undecided):
                    break
                commuting += 1
            if commuting:
                yield self._execute(client, commuting, done, balances)
                return
        for client in _together(bounds):
            yield self._execute(client, 1, done, balances)
            if _token(bounds.queues[client][0]):
                self.fates[client][done[client]] |= FAILS
                yield {**done, client: done[client] + 1}, balances

    def _execute(
        self, client: str, count: int, done: Mapping[str, int], balances: Mapping[str, int]
    ) -> tuple[dict[str, int], dict[str, int]]:
        """The state after the client's next requests."""
        done, balances = dict(done), dict(balances)
        for at in range(done[client], done[client] + count):
            command = self._queues[client][at]
            suffices = balances[client] >= command.amount  # always, for a read
            if token := _token(command):
                suffices = suffices and balances[token] > 0
                balances[token] -= suffices
            if suffices and (debit := _debit(command)):
                balances[client] -= debit
                balances[command.receiver] += debit
            self.fates[client][at] |= SUCCEEDS if suffices else FAILS
        done[client] += count
        return done, balances


def _together(bounds: _Bounds) -> list[str]:
    """Clients with requests left, of which no other can matter to one of these, nor they to it."""
    undecided = bounds.undecided
    chosen = [min(undecided)]
    for client in chosen:
        touched = {c.receiver for c in bounds.queues[client] if c.receiver in undecided}
        if client in undecided:
            touched |= {
                other
                for other, queue in bounds.queues.items()
                if any(c.receiver == client for c in queue)
            }
        chosen += sorted(touched - set(chosen))
    return [client for client in chosen if bounds.queues[client]]
