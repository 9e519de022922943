"""Parallel requests: every order against all orders tried one by one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bank.ledger import READ, SUCCESS, TRANSFER, Ledger
from harness.files.cases import Command
from harness.files.forecast.interleavings import EITHER, FAILS, SUCCEEDS, Budget, serve

ACCOUNTS = "ABCD"
AMOUNTS = st.integers(1, 6)
COMMANDS = st.one_of(
    st.builds(
        lambda sender, receiver, amount: Command(TRANSFER, sender, receiver, amount),
        st.sampled_from(ACCOUNTS),
        st.sampled_from(ACCOUNTS),
        AMOUNTS,
    ),
    st.builds(lambda sender: Command(READ, sender, "", 0), st.sampled_from(ACCOUNTS)),
)
BALANCES = st.fixed_dictionaries({account: st.integers(0, 6) for account in ACCOUNTS})


def queued(commands):
    queues = {}
    for command in commands:
        queues.setdefault(command.sender, []).append(command)
    return queues


def exactly(balances):
    return {account: (amount, amount) for account, amount in balances.items()}


class Tried:
    """All orders, one by one."""

    def __init__(self, queues, balances):
        self.queues = queues
        self.fates = {client: [set() for _ in queue] for client, queue in queues.items()}
        self.before = {client: [set() for _ in queue] for client, queue in queues.items()}
        self.ends, self.between, self._seen = set(), [], set()
        self._go(dict.fromkeys(queues, 0), balances)

    def _go(self, done, balances):
        key = (*done.values(), *balances.values())
        if key in self._seen:
            return
        self._seen.add(key)
        self.between.append(balances)
        left = [client for client, at in done.items() if at < len(self.queues[client])]
        if not left:
            self.ends.add(tuple(balances.values()))
        for client in left:
            ledger, at = Ledger(balances), done[client]
            result = ledger.apply(*self.queues[client][at])
            self.fates[client][at].add(SUCCESS if isinstance(result, int) else result)
            self.before[client][at].add(balances[client])
            self._go({**done, client: at + 1}, ledger.balances)


def is_in(balances, box):
    return all(box[a][0] <= balance <= box[a][1] for a, balance in balances.items())


@settings(max_examples=300, deadline=None)
@given(st.lists(COMMANDS, max_size=7), BALANCES)
def test_every_order_and_nothing_else_is_foreseen(commands, balances):
    queues = queued(commands)
    tried, served = Tried(queues, balances), serve(queues, [exactly(balances)], Budget())
    assert {tuple(b for b, _ in box.values()) for box in served.worlds} == tried.ends
    assert all(is_in(balances, served.between) for balances in tried.between)
    for client, queue in served.chances.items():
        assert [chance.fate for chance in queue] == tried.fates[client]
        for chance, seen in zip(queue, tried.before[client], strict=True):
            assert chance.before[0] <= min(seen) and max(seen) <= chance.before[1]


@settings(max_examples=200, deadline=None)
@given(st.lists(COMMANDS, max_size=7), BALANCES)
def test_without_budget_the_answer_is_wider_and_not_beside(commands, balances):
    queues = queued(commands)
    tried, served = Tried(queues, balances), serve(queues, [exactly(balances)], Budget(0))
    for end in tried.ends:
        assert is_in(dict(zip(balances, end, strict=True)), served.worlds[0])
    for client, queue in served.chances.items():
        assert all(c.fate >= seen for c, seen in zip(queue, tried.fates[client], strict=True))


def pay(sender, receiver, amount):
    return Command(TRANSFER, sender, receiver, amount)


@pytest.mark.parametrize(
    ("commands", "fates", "ends"),
    [
        ([pay("A", "B", 4), pay("B", "C", 12)], [SUCCEEDS, EITHER], {(6, 14, 10), (6, 2, 22)}),
        ([pay("A", "B", 1), pay("B", "C", 12)], [SUCCEEDS, FAILS], {(9, 11, 10)}),
        ([pay("A", "B", 4), pay("B", "C", 10)], [SUCCEEDS, SUCCEEDS], {(6, 4, 20)}),
        ([pay("A", "A", 11), pay("B", "A", 1)], [EITHER, SUCCEEDS], {(11, 9, 10)}),
        # Each could only succeed after the other.
        ([pay("A", "B", 11), pay("B", "A", 11)], [FAILS, FAILS], {(10, 10, 10)}),
    ],
    ids=["short", "too short", "enough", "to itself", "circle"],
)
def test_a_race_is_one_only_where_it_matters(commands, fates, ends):
    queues = queued(commands)
    served = serve(queues, [exactly({"A": 10, "B": 10, "C": 10})], Budget())
    assert [served.chances[c.sender][0].fate for c in commands] == fates
    assert {tuple(b for b, _ in box.values()) for box in served.worlds} == ends


def test_the_budget_ends_a_walk_and_worlds_that_are_too_many_are_joined():
    queues = {a: [pay(a, b, 3 + (ord(a) * ord(b)) % 7) for b in "ABCDEFGHIJ"] for a in "ABCDEFGHIJ"}
    budget = Budget(50 * 100)
    served = serve(queues, [exactly(dict.fromkeys("ABCDEFGHIJ", 10))], budget)
    assert not budget.sufficed and len(served.worlds) == 1
    assert served.chances["A"][-1].fate == EITHER


def test_what_cannot_race_costs_nothing():
    queues = {a: [pay(a, "ABCDEFGHIJ"[(i + 1) % 10], 1)] * 5 for i, a in enumerate("ABCDEFGHIJ")}
    budget = Budget(0)
    served = serve(queues, [exactly(dict.fromkeys("ABCDEFGHIJ", 10))], budget)
    assert budget.sufficed and served.worlds == (exactly(dict.fromkeys("ABCDEFGHIJ", 10)),)
