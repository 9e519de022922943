"""The bank: what a command does, and that money is neither made nor lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bank.ledger import (
    FAILED,
    MOST_IN_A_LIST,
    NOOP,
    READ,
    SKIPPED,
    SUCCESS,
    TRANSFER,
    Ledger,
    describe,
)

BEFORE = {"A": 10, "B": 0}


@pytest.mark.parametrize(
    ("command", "result", "after"),
    [
        pytest.param((TRANSFER, "A", "B", 3), SUCCESS, {"A": 7, "B": 3}, id="moves"),
        pytest.param((TRANSFER, "A", "B", 10), SUCCESS, {"A": 0, "B": 10}, id="all of it"),
        pytest.param((TRANSFER, "A", "B", 11), FAILED, BEFORE, id="too little there"),
        pytest.param((TRANSFER, "B", "A", 1), FAILED, BEFORE, id="nothing there"),
        pytest.param((TRANSFER, "A", "A", 3), SUCCESS, BEFORE, id="to oneself"),
        pytest.param((TRANSFER, "A", "A", 11), FAILED, BEFORE, id="to oneself, too little"),
        pytest.param((TRANSFER, "A", "B", 0), FAILED, BEFORE, id="nothing to move"),
        pytest.param((TRANSFER, "A", "B", -1), FAILED, BEFORE, id="negative"),
        pytest.param((TRANSFER, "X", "A", 1), FAILED, BEFORE, id="unknown sender"),
        pytest.param((TRANSFER, "X", "A", -1), FAILED, BEFORE, id="unknown sender, negative"),
        pytest.param((TRANSFER, "A", "X", 1), FAILED, BEFORE, id="unknown receiver"),
        pytest.param((READ, "A", "", 0), 10, BEFORE, id="read"),
        pytest.param((READ, "B", "", 0), 0, BEFORE, id="read of zero"),
        pytest.param((READ, "X", "", 0), FAILED, BEFORE, id="read of nobody"),
        pytest.param((NOOP, "", "", 0), SKIPPED, BEFORE, id="no-op"),
        pytest.param(("rob", "A", "B", 3), SKIPPED, BEFORE, id="unknown command"),
    ],
)
def test_command(command, result, after):
    ledger = Ledger(BEFORE)
    assert ledger.apply(*command) == result
    assert ledger.balances == after


def test_ledger_keeps_its_own_copy():
    balances = dict(BEFORE)
    Ledger(balances).apply(TRANSFER, "A", "B", 3)
    assert balances == BEFORE


def test_accounts_beyond_what_is_kept_as_a_list_are_paid_alike():
    many = {f"a{number}": 10 for number in range(MOST_IN_A_LIST + 1)}
    few = {name: many[name] for name in ("a0", "a1")}
    ledgers = Ledger(many), Ledger(few)
    for command in [(TRANSFER, "a0", "a1", 4), (TRANSFER, "a1", "a0", 15), (READ, "a1", "", 0)]:
        assert len({ledger.apply(*command) for ledger in ledgers}) == 1
    assert ledgers[1].balances == {"a0": 6, "a1": 14}
    assert ledgers[0].balances == many | {"a0": 6, "a1": 14}


ACCOUNTS = st.sampled_from(["A", "B", "C", "X"])
COMMANDS = st.tuples(st.sampled_from([TRANSFER, READ]), ACCOUNTS, ACCOUNTS, st.integers(-5, 30))


@given(st.lists(COMMANDS, max_size=30))
def test_money_is_neither_made_nor_lost_and_no_balance_is_negative(commands):
    ledger = Ledger({"A": 10, "B": 10, "C": 10})
    for command in commands:
        ledger.apply(*command)
        assert sum(ledger.balances.values()) == 30
        assert min(ledger.balances.values()) >= 0
        assert set(ledger.balances) == {"A", "B", "C"}


@pytest.mark.parametrize(
    ("command", "text"),
    [
        pytest.param((TRANSFER, "A", "J", 3), "(A, J, 3)", id="transfer"),
        pytest.param((READ, "A", "", 0), "(A)", id="read"),
        pytest.param((NOOP, "", "", 0), "no-op", id="no-op"),
    ],
)
def test_command_as_people_write_it(command, text):
    assert describe(*command) == text
