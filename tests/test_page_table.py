"""Balances in a replica's file: pages count with their checkpoint, and not before."""

import sqlite3
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from bank.accounts import Accounts, Balances
from bank.ballot import Ballot
from bank.checkpoint import Writing, genesis, snapshot
from bank.effects import Pages, Persist
from bank.sessions import Machine
from harness.live.storage import Owner, Storage, StorageError, read_copy

OWNER = Owner("n1", "0123")
PAGED = Balances.of({f"a{number}": 10 for number in range(7)}, page_accounts=2)


def _persist(checkpoint, truncated_upto, **more):
    ballot = Ballot(1, 1)
    return Persist(ballot, 1, False, [], checkpoint, truncated_upto, None, **more)


class Writer:
    """A file of seven accounts in pages of two, and the machine whose checkpoints it gets."""

    def __init__(self, folder):
        self.path, self.machine, self.slot = folder / "n1.db", Machine(PAGED), 0
        Storage.create(self.path, PAGED, OWNER)
        self.stored = genesis(PAGED, 2)
        self.open()

    def open(self):
        try:
            self.storage = Storage(self.path, "process", OWNER, PAGED.accounts)
        except StorageError as error:
            pytest.fail(str(error))

    def close(self):
        self.storage.close()

    def pay(self, *pairs):
        """Transfers of 1; what is to be written of the checkpoint after them."""
        for sender, receiver in pairs:
            self.slot += 1
            client = f"c{sender}"
            one = (client, self.slot, "transfer", f"a{sender}", f"a{receiver}", 1)
            self.machine.execute(self.slot, [one])
        return Writing(snapshot(self.slot, "ab" * 32, self.machine, self.stored), self.stored)

    def write(self, writing, pages=1):
        slices = Pages(writing.state.slot, writing.take(pages))
        self.storage.commit(_persist(None, 0, pages=slices))

    def finish(self, writing):
        """The rest, and the head."""
        pages = Pages(writing.state.slot, writing.take(9))
        checkpoint = writing.sealed()
        known = set(self.stored.sessions)
        sessions = [one for one in checkpoint.sessions if one not in known]
        self.storage.commit(_persist(checkpoint, self.slot, pages=pages, sessions=sessions))
        self.stored = checkpoint

    def held(self):
        """What a replica would find now, by the balances; None before the first checkpoint."""
        try:
            stored = self.storage.load()
        except StorageError as error:
            pytest.fail(str(error))
        again = read_copy(self.path, PAGED.accounts)
        assert again == stored
        return None if stored.checkpoint is None else dict(stored.checkpoint.balances)

    def shown(self):
        """What any SQLite tool finds."""
        with closing(sqlite3.connect(self.path)) as db:
            return dict(db.execute("select * from account"))

    def now(self):
        return dict(self.machine.ledger.balances)


@contextmanager
def writing_to_a_file():
    """A Writer, for a while."""
    with tempfile.TemporaryDirectory() as folder, closing(Writer(Path(folder))) as writer:
        yield writer


def test_pages_of_a_checkpoint_count_when_its_head_is_there():
    with writing_to_a_file() as writer:
        before = writer.now()
        writing = writer.pay((0, 6), (2, 4))
        assert len(writing.left) == 4
        for _ in range(3):
            writer.write(writing)
            assert writer.held() is None and writer.shown() == before
        writer.finish(writing)
        assert writer.held() == writer.shown() == writer.now() != before


def test_a_second_checkpoint_leaves_the_first_one_whole_until_it_counts():
    with writing_to_a_file() as writer:
        writer.finish(writer.pay((0, 6), (2, 4)))
        first = writer.now()
        writing = writer.pay((0, 6), (2, 4))
        for _ in range(3):
            writer.write(writing)
            assert writer.held() == writer.shown() == first
        writer.storage.close()  # as the process ended, which a killed one's file looks like
        writer.open()
        assert writer.held() == writer.shown() == first
        writer.finish(writer.pay((0, 1)))  # another one: of what was written of the last it knows
        assert writer.held() == writer.shown() == writer.now()


@pytest.mark.parametrize("is_opened_anew", [False, True])
def test_pages_of_a_checkpoint_that_never_came_do_not_count_with_a_later_one(is_opened_anew):
    with writing_to_a_file() as writer:
        writer.finish(writer.pay((0, 6)))
        writing = writer.pay((2, 4))
        writer.write(writing, 9)
        assert not writing.left
        if is_opened_anew:
            writer.storage.close()
            writer.open()
        later = writer.pay((4, 2))  # the same balances as in the first one: no page differs
        assert later.left == []
        writer.finish(later)
        assert writer.held() == writer.shown() == writer.now()


def test_the_same_page_is_written_into_its_two_rows_in_turn():
    with writing_to_a_file() as writer:
        for _ in range(5):
            writer.finish(writer.pay((0, 1)))
            writer.finish(writer.pay((0, 6)))
            assert writer.held() == writer.now()
        with closing(sqlite3.connect(writer.path)) as db:
            assert db.execute("select count(*) from page").fetchone() == (4 + 2,), (
                "two of two pages"
            )


def test_a_checkpoint_writes_the_sessions_that_changed_and_no_others():
    with writing_to_a_file() as writer:
        writer.finish(writer.pay((0, 6), (2, 4)))
        with closing(sqlite3.connect(writer.path)) as db, db:
            db.execute("update session set slot = 77 where client = 'c0'")
        writer.finish(writer.pay((2, 6)))
        with closing(sqlite3.connect(writer.path)) as db:
            assert dict(db.execute("select client, slot from session")) == {"c0": 77, "c2": 3}


def test_a_checkpoint_that_lacks_a_page_is_refused():
    with writing_to_a_file() as writer:
        writing = writer.pay((0, 6))
        writing.take(1)  # and written nowhere
        writer.finish(writing)
        with pytest.raises(StorageError, match="checkpoint at 1 does not have its digest"):
            writer.storage.load()
        with closing(sqlite3.connect(writer.path)) as db, db:
            db.execute("delete from page where id = 2")
        with pytest.raises(StorageError, match="holds balances in 3 pages, expected 4"):
            read_copy(writer.path, PAGED.accounts)


@pytest.mark.parametrize("balance", [0, 1, 255, 256, 2**31 - 1, 2**40 + 7, 2**63 - 1])
def test_any_sqlite_tool_shows_balances_by_name(tmp_path, balance):
    names = Accounts([f"a{number}" for number in range(2_050)])
    Storage.create(tmp_path / "n1.db", Balances.alike(names, balance), OWNER)
    with closing(sqlite3.connect(tmp_path / "n1.db")) as db:
        found = dict(db.execute("select name, balance from account"))
        one = db.execute("select balance from account where name = 'a2049'").fetchone()
    assert found == dict.fromkeys(names, balance) and one == (balance,)
