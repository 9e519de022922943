"""Histories of concurrent clients, drawn from a seed: right ones, and with one planted fault.

What is drawn is an execution: every operation takes effect at one moment between its request and
its answer, on one ledger. So a history without a fault is linearizable by construction; whether one
with a fault still is, only a judge can tell: an open request may explain what was planted.
"""

import heapq
from collections.abc import Sequence
from random import Random

from bank.ledger import FAILED, READ, SUCCESS, TRANSFER
from harness.cluster.history import Operation

FAULTS = (
    "stale read",  # the balance of some operations before
    "lost",  # a transfer that was answered and never done
    "twice",  # a transfer that was done two times
    "one side",  # money that arrived and never left
    "wrong answer",  # "failed" for one that was done, or a read that is one off
)
ANSWER_US = 100  # from a request to its answer, about
STALE_BY = 40  # operations


def accounts_of(clients: int) -> list[str]:
    return [f"c{number}" for number in range(1, clients + 1)]


def draw(
    seed: int,
    operations: int,
    clients: int,
    *,
    open_share: float = 0.01,
    reads: float = 0.2,
    balance: int = 100,
    most: int = 10,
    own: bool = True,
    late: float = 0.0,
    fault: str | None = None,
    at: float = 0.5,
    last_reads: bool = False,
) -> tuple[dict[str, int], list[Operation]]:
    """First balances, and what closed-loop clients saw.

    `open_share` of the requests get no answer; half of them are done, `late` of these much later.
    With `own` each client pays from its own account only. `fault` befalls one operation after `at`
    of them. With `last_reads` every account is read once more at the end, by one client.
    """
    random = Random(seed)
    names = accounts_of(clients)
    ledger = _Ledger(dict.fromkeys(names, balance))
    first = dict(ledger.balances)
    world = _World(random, ledger, fault, int(operations * at), late)
    turns = [(random.randrange(ANSWER_US), number) for number in range(clients)]
    heapq.heapify(turns)
    timestamps = [0] * clients
    for _ in range(operations):
        now, number = heapq.heappop(turns)
        timestamps[number] += 1
        name = names[number]
        if random.random() < reads:
            command = (READ, random.choice(names), "", 0)
        else:
            sender = name if own else random.choice(names)
            command = (TRANSFER, sender, random.choice(names), random.randint(1, most))
        until = now + random.randint(ANSWER_US // 2, ANSWER_US * 2)
        is_open = random.random() < open_share
        world.ask(Operation((name, timestamps[number], *command), 1, now), until, is_open)
        heapq.heappush(turns, (until + random.randint(1, ANSWER_US // 4), number))
    world.run()
    if last_reads:
        end = max(now for now, _ in turns) + 100 * ANSWER_US
        for index, name in enumerate(names):
            request = ("reader", index + 1, READ, name, "", 0)
            at_us = end + 10 * index
            result = ledger.apply(*request[2:])
            world.history.append(Operation(request, 1, at_us, at_us + 5, result))
    return first, world.history


class _Ledger:
    """The bank, in a table that can be damaged."""

    def __init__(self, balances: dict[str, int]) -> None:
        self.balances = dict(balances)

    def apply(self, kind: str, sender: str, receiver: str, amount: int) -> str | int:
        """Execute one command."""
        balances = self.balances
        if kind == READ:
            return balances[sender]
        if not 0 < amount <= balances[sender]:
            return FAILED
        balances[sender] -= amount
        balances[receiver] += amount
        return SUCCESS


class _World:
    """Requests in, effects in the order of time, answers out."""

    def __init__(
        self, random: Random, ledger: _Ledger, fault: str | None, after: int, late: float
    ) -> None:
        self._random, self._ledger, self._late = random, ledger, late
        self._fault, self._after = fault, after
        self._effects: list[tuple[int, int, Operation, int | None]] = []
        self.history: list[Operation] = []

    def ask(self, operation: Operation, until: int, is_open: bool) -> None:
        random = self._random
        self.history.append(operation)
        assert operation.invoked_at is not None
        at = random.randint(operation.invoked_at, until)
        if is_open:
            if operation.request[2] == READ or random.random() < 0.5:
                return
            at += 200 * ANSWER_US * (random.random() < self._late)
        entry = (at, len(self.history), operation, None if is_open else until)
        heapq.heappush(self._effects, entry)

    def run(self) -> None:
        states: list[dict[str, int]] = []
        done = 0
        while self._effects:
            _, _, operation, until = heapq.heappop(self._effects)
            done += 1
            if self._fault == "stale read":
                states.append(dict(self._ledger.balances))
                del states[:-STALE_BY]
            if self._fault is not None and done >= self._after and until is not None:
                result = self._befall(operation, states)
            else:
                result = self._ledger.apply(*operation.request[2:])
            if until is not None:
                operation.result, operation.answered_at = result, until

    def _befall(self, operation: Operation, states: Sequence[dict[str, int]]) -> str | int:
        """What is answered, with the fault if it fits this operation; then it is over."""
        kind, sender, receiver, amount = operation.request[2:]
        before = dict(self._ledger.balances)
        result = self._ledger.apply(kind, sender, receiver, amount)
        balances, fault = self._ledger.balances, self._fault
        moved = kind == TRANSFER and balances != before
        match fault:
            case "stale read" if kind == READ and states[0][sender] != result:
                result = states[0][sender]
            case "lost" if moved:
                balances.update(before)
            case "twice" if moved and balances[sender] >= amount:
                self._ledger.apply(kind, sender, receiver, amount)
            case "one side" if moved:
                balances[sender] += amount
            case "wrong answer" if moved:
                result = "failed"
            case "wrong answer" if kind == READ:
                result = int(result) + 1
            case _:
                return result
        self._fault = None
        return result
