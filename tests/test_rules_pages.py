"""Checkpoints of many accounts: pages that are shared, hashed and written some at a time."""

from dataclasses import replace
from itertools import pairwise

import pytest
from conductor import TEN_EACH, Conductor, take, transfer
from hypothesis import given
from hypothesis import strategies as st

from bank import checkpoint as checkpoints
from bank.accounts import Accounts, Balances
from bank.ballot import Ballot
from bank.checkpoint import GENESIS_HASH, Writing
from bank.messages import CatchUp, State
from bank.sessions import Machine
from bank.settings import USUAL, Settings

SHORT = Settings(checkpoint_interval=4, checkpoint_pause=0, keep_slots=2)
ACCOUNT = st.sampled_from("ABCDEFGHIJ")
ENCODED = checkpoints.encode(take(3, "f" * 64, Machine(TEN_EACH, [("A", 1, 10, 1)])))


def test_a_checkpoint_of_other_accounts_is_refused():
    assert checkpoints.decode(ENCODED, Accounts(TEN_EACH)) is not None
    for others in ("ABCDEFGHIK", "JIHGFEDCBA", "ABCDEFGHI"):
        assert checkpoints.decode(ENCODED, Accounts(others)) is None


def test_a_snapshot_shares_the_pages_that_are_the_same():
    machine = Machine(Balances.of(TEN_EACH, page_accounts=4))
    before = take(1, GENESIS_HASH, machine)
    machine.execute(2, [transfer("E", "F", 3), transfer("A", "B", 3), transfer("B", "A", 3)])
    pages = checkpoints.snapshot(4, GENESIS_HASH, machine, before).pages
    assert [new is old for new, old in zip(pages, before.state.pages, strict=True)] == [
        True,
        False,
        True,
    ]


@given(st.lists(st.tuples(ACCOUNT, ACCOUNT, st.integers(1, 4)), max_size=12), st.integers(1, 3))
def test_a_checkpoint_is_written_page_by_page(transfers, turn_pages):
    machine = Machine(Balances.of(TEN_EACH, page_accounts=2))
    before, disk = take(0, GENESIS_HASH, machine), {}
    machine.execute(1, [transfer(*one, at) for at, one in enumerate(transfers, 1)])
    state = checkpoints.snapshot(len(transfers), "f" * 64, machine, before)
    writing = Writing(state, before)
    while writing.left:
        pages = writing.take(turn_pages)
        assert 1 <= len(pages) <= turn_pages
        disk |= pages
    held = tuple(disk.get(n, page) for n, page in enumerate(before.state.pages))
    assert held == state.pages and not disk.keys() - set(range(5))
    assert writing.sealed() == take(len(transfers), "f" * 64, machine)
    assert writing.sealed().hashes == checkpoints.sealed(state).hashes
    assert all(state.pages[number] != before.state.pages[number] for number in disk)


# ---- many accounts: some pages a turn --------------------------------------------------------

SLICED = replace(SHORT, sizes=replace(USUAL, page_accounts=2, page_slots=0, turn_pages=1))
AMONG = ("AC", "CE", "EG", "GI")  # of all five pages


def paid(c, replica=1, timestamp=1):
    """Transfers after which no page is what it was, in one turn."""
    amounts = enumerate(AMONG, 1)
    c.request(replica, *(transfer(a, b, amount, timestamp) for amount, (a, b) in amounts))
    c.deliver_all()


def next_turn(c):
    """The one that is due first, and what it leads to."""
    c.deliver_all()
    due, replica = min((c[r].deadline(), r) for r in c.everyone if c.hears(r))
    c.time = max(c.time, due)
    c.tick(replica)


def writes(c, replica):
    """Of each turn that stored something of a checkpoint: pages, and whether it counts."""
    persists = [e.persist for e in c.effects[replica] if e.persist is not None]
    return [
        ([number for number, _ in p.pages.pages], p.checkpoint is not None, p.truncated_upto)
        for p in persists
        if p.pages is not None
    ]


def test_a_large_checkpoint_is_written_some_pages_a_turn():
    c = Conductor(3, SLICED)
    c.elect(1)
    paid(c)
    c.run(90)
    for replica in c.everyone:
        turns = writes(c, replica)
        assert [pages for pages, _, _ in turns] == [[0], [1], [2], [3], [4]]
        assert [counts for _, counts, _ in turns] == [False] * 4 + [True]
        assert c.disks[replica].stored().checkpoint.slot == c.status(replica).checkpoint == 4


def test_the_log_stays_until_the_last_page_of_its_checkpoint_is_written():
    c = Conductor(3, SLICED)
    c.elect(1)
    paid(c)
    c.run(90)
    for replica in c.everyone:
        truncations = [truncated for _, _, truncated in writes(c, replica)]
        assert truncations == [0, 0, 0, 0, 2]


@pytest.mark.parametrize("turns", range(6))
def test_a_replica_that_dies_among_pages_comes_back_with_what_it_had(turns):
    c = Conductor(3, SLICED)
    c.elect(1)
    paid(c)
    while len(writes(c, 2)) < turns:
        next_turn(c)
    c.crash(2)
    c.restart(2)
    status = c.status(2)
    assert (status.checkpoint, status.truncated_upto) == ((4, 2) if turns == 5 else (0, 0))
    for timestamp in (2, 3):
        paid(c, timestamp=timestamp)
        c.run(300)
    assert len({(c.status(r).executed_upto, c.status(r).digest) for r in c.everyone}) == 1
    assert {c.disks[r].stored().checkpoint.slot for r in c.everyone} == {12}


def test_no_checkpoint_is_taken_while_one_is_written():
    c = Conductor(3, SLICED)
    c.elect(1)
    paid(c)
    while not c[1].learner.writing:
        next_turn(c)
    paid(c, timestamp=2)
    while c[1].learner.writing:
        assert c[1].learner.taken is None
        next_turn(c)
    assert c.status(1).checkpoint == 4 and c.status(1).executed_upto == 8
    paid(c, timestamp=3)
    c.run(100)
    assert c.status(1).checkpoint == 12


def left_behind():
    """n3 misses what the others have truncated, and has been given all of their checkpoint."""
    c = Conductor(3, replace(SLICED, keep_slots=0))
    c.elect(1)
    c.disconnect(3)
    paid(c)
    c.run(90)
    assert c.status(1).truncated_upto == c.status(2).truncated_upto == 4
    c.reconnect(3)
    while not c[3].learner.writing:
        next_turn(c)
    return c


def test_a_large_checkpoint_is_installed_when_its_pages_are_written():
    c = left_behind()
    c.sent.clear()
    while c[3].learner.writing:
        assert c.status(3).executed_upto == c.status(3).truncated_upto == 0
        assert c.status(3).balances == TEN_EACH and c.disks[3].stored().checkpoint is None
        c.time += 100_000  # it asks for nothing again
        c.tick(3)
    assert [counts for _, counts, _ in writes(c, 3)] == [False] * 4 + [True]
    assert c.status(3).digest == c.status(1).digest and c.status(3).truncated_upto == 4
    assert not c.said(3, CatchUp)
    paid(c, timestamp=2)
    c.run(90)
    assert c.status(3).digest == c.status(1).digest and c.status(3).checkpoint == 8


def test_a_checkpoint_that_was_overtaken_while_it_was_written_is_not_installed():
    c = left_behind()
    entries = tuple(transfer(a, b, amount, 1) for amount, (a, b) in enumerate(AMONG, 1))
    late = (transfer("A", "B", 1, 2),)
    c.step(3, State(1, (Ballot(1, 1),) * 5, (*entries, *late), 5), source=2)
    assert c.status(3).executed_upto == 5
    while c[3].learner.writing:
        c.tick(3)
    assert c.status(3).executed_upto == 5 and c.status(3).balances["B"] == 11
    assert c.status(3).checkpoint == 0


def test_checkpoints_of_many_pages_are_further_apart():
    settings = replace(SLICED, checkpoint_interval=1, sizes=replace(SLICED.sizes, page_slots=3))
    c = Conductor(3, settings)
    c.elect(1)
    for timestamp in range(1, 61):
        c.request(1, transfer("A", "B", 1, timestamp))
        c.run(45)
    slots = {
        replica: [e.persist.checkpoint.slot for e in c.effects[replica] if has_checkpoint(e)]
        for replica in c.everyone
    }
    assert slots == {1: [12, 24, 36, 48, 60], 2: [16, 28, 40, 52], 3: [20, 32, 44, 56]}


def has_checkpoint(effects):
    return effects.persist is not None and effects.persist.checkpoint is not None


def test_a_long_log_is_truncated_some_slots_a_turn():
    sizes = replace(USUAL, turn_slots=1)
    c = Conductor(3, replace(SHORT, keep_slots=0, sizes=sizes))
    c.elect(1)
    paid(c)
    c.run(90)
    for replica in c.everyone:
        persists = [e.persist for e in c.effects[replica] if e.persist is not None]
        marks = [0, *(p.truncated_upto for p in persists)]
        assert {after - before for before, after in pairwise(marks)} <= {0, 1, 2}
        assert marks[-1] == 4 and not c[replica].learner.truncates
