"""Accounts in pages: positions, names that need no table, and balances as bytes."""

import pickle
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bank import accounts as module
from bank.accounts import Accounts, Balances, from_bytes, joined, pages_of, to_bytes

NAMES = tuple("ABCDEFG")


@pytest.fixture
def few_listed(monkeypatch):
    """As if a table of names were too dear above three."""
    monkeypatch.setattr(module, "MOST_LISTED", 3)


def test_positions_are_places_in_the_list():
    accounts = Accounts(NAMES, 3)
    assert [accounts.position(name) for name in NAMES] == list(range(7))
    assert accounts.position("X") is None and "X" not in accounts and 3 not in accounts
    assert (len(accounts), accounts.pages, list(accounts)) == (7, 3, list(NAMES))
    assert accounts.names(2) == ("G",) and accounts[1] == "B"


@pytest.mark.parametrize("first", [0, 1, 98])
def test_many_numbered_names_need_no_table(few_listed, first):
    names = [f"a{number}" for number in range(first, first + 5)]
    accounts = Accounts(names, 2)
    assert accounts == Accounts.numbered("a", first, 5, 2) and not accounts._names
    assert [accounts.position(name) for name in names] == list(range(5))
    assert list(accounts) == names and accounts[-1] == names[-1] and accounts.names(2) == names[4:]
    wrong = (f"a{first + 5}", f"a{first - 1}", f"a0{first}", f"b{first}", "a", "", f"a+{first}",
             f"a {first}", f"a{first}_0", "a٢", "aa", str(first), f"A{first}")  # fmt: skip
    assert [name for name in wrong if accounts.position(name) is not None] == []
    assert accounts[4] in accounts


def test_thousands_are_found_and_nothing_that_looks_like_them(few_listed):
    first, last = 1_990, 7_010
    accounts = Accounts.numbered("a", first, last - first)
    names = [f"a{number}" for number in range(first, last)]
    assert [accounts.position(name) for name in names] == list(range(last - first))
    wrong = ("a1989", "a7010", "a02000", "a2_000", "a+2000", "a 2000", "a2 00", "a٢٠٠٠", "a20000",
             "2000", "b2000", "A2000", "aa2000", "a2", "a", "a2000 ", "a-2000", "a1e3",
             "a3x00")  # fmt: skip
    assert [name for name in wrong if name in accounts] == []


@pytest.mark.parametrize(
    "names", ["a1 a2 a3 a5", "a4 a3 a2 a1", "a1 a2 a3 b4", "a01 a02 a03 a04", "a b c d", "1 2 3 4"]
)
def test_other_names_have_a_table(few_listed, names):
    accounts = Accounts(names.split())
    assert accounts._names == tuple(names.split())
    assert [accounts.position(name) for name in names.split()] == [0, 1, 2, 3]


def test_accounts_are_the_same_by_names_order_and_pages(few_listed):
    one = Accounts(NAMES, 3)
    assert one == Accounts(list(NAMES), 3) and hash(one) == hash(Accounts(NAMES, 3))
    others = [Accounts(NAMES[::-1], 3), Accounts(NAMES, 2), Accounts(NAMES[:6], 3)]
    others += [Accounts.numbered("A", 1, 7, 3), Accounts.numbered("A", 1, 3), NAMES]
    assert all(one != other for other in others)


@pytest.mark.parametrize("accounts", [Accounts(NAMES, 2), Accounts.numbered("a", 7, 100_000, 8)])
def test_accounts_and_balances_survive_pickling_as_little(accounts):
    balances = Balances.alike(accounts, 9)
    data = pickle.dumps(balances)
    assert pickle.loads(data) == balances and len(data) < 1000 + len(accounts)
    assert repr(accounts).startswith(f"Accounts({accounts[0]}, {accounts[1]}, ")
    assert repr(Accounts("AB", 2)) == "Accounts(A, B, 2)"


def test_pages_may_have_another_size(few_listed):
    for accounts in (Accounts(NAMES, 2), Accounts.numbered("a", 1, 9, 2)):
        balances = Balances(accounts, Balances.alike(accounts, 5).pages)
        assert Balances.of(balances) is Balances.of(balances, 2) is balances
        assert Accounts.of(accounts, 2) is accounts
        other = Balances.of(balances, 4)
        assert other.accounts.page_accounts == 4 and len(other.pages) == -(-len(accounts) // 4)
        assert other == balances == dict.fromkeys(accounts, 5)


def test_balances_are_a_mapping_in_the_order_of_positions():
    held = {"B": 2**63 - 1, "A": 0, "C": 7}
    balances = Balances.of(held, 2)
    assert balances == held == balances and list(balances.items()) == list(held.items())
    assert list(balances.values()) == list(held.values()) and sum(balances.values()) == 2**63 + 6
    assert (balances["B"], balances.get("X"), "C" in balances, len(balances)) == (
        held["B"], None, True, 3,
    )  # fmt: skip
    assert balances != {"A": 0} and balances != held | {"A": 1} and balances != 7
    assert balances == Balances.of(held, 2) != Balances.of(held | {"A": 1}, 2)
    assert repr(balances) == repr(held)


def test_one_page_stands_for_many_that_are_alike():
    balances = Balances.alike(Accounts.numbered("a", 0, 10, 4), 5)
    assert balances.pages[0] is balances.pages[1] and list(balances.values()) == [5] * 10
    assert len(Balances.alike(Accounts.numbered("a", 0, 8, 4), 5).pages) == 2


@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=40), st.integers(1, 9), st.data())
def test_pages_are_the_cells_and_shared_where_they_are_the_same(values, page_accounts, data):
    cells = array("q", values)
    pages = pages_of(cells, page_accounts)
    assert from_bytes(b"".join(pages)) == cells
    changed = data.draw(st.integers(0, len(values) - 1))
    cells[changed] ^= 1
    again = pages_of(cells, page_accounts, pages)
    same = [number for number, page in enumerate(again) if page is pages[number]]
    assert same == [n for n in range(len(pages)) if n != changed // page_accounts]
    first = data.draw(st.integers(0, 8 * len(values)))
    last = data.draw(st.integers(first, 8 * len(values)))
    assert joined(again, first, last) == to_bytes(cells)[first:last]


def test_every_machine_writes_the_lowest_byte_first(monkeypatch):
    cells = array("q", [1, 256])
    wanted = bytes([1, *bytes(7), 0, 1, *bytes(6)])
    if not module._IS_SWAPPED:
        assert to_bytes(cells) == wanted
        swapped = cells[:]
        swapped.byteswap()
        monkeypatch.setattr(module, "_IS_SWAPPED", True)
        assert to_bytes(swapped) == wanted and from_bytes(wanted) == swapped
        assert list(swapped) != [1, 256], "it is left as it was"
