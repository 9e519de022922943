"""A replica's file: all of a turn or nothing, and never a silent fresh start."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from conductor import stored_whole, take

from bank.accounts import Balances
from bank.ballot import NO_BALLOT, Ballot
from bank.effects import Persist, Run, Stored
from bank.sessions import Machine
from harness.live.storage import Owner, Storage, StorageError, create_all, read_copy

BALLOT = Ballot(3, 2)
OWNER = Owner("n1", "0123")
BALANCES = Balances.of({"A": 10, "B": 10})
ACCOUNTS = BALANCES.accounts
REQUESTS = (("A", 1, "transfer", "A", "B", 3), ("B", 7, "read", "B", "", 0))


def persist(**changes):
    values = {
        "promised": BALLOT,
        "seen": 4,
        "promise_changed": True,
        "runs": [Run(1, BALLOT, REQUESTS)],
        "checkpoint": None,
        "truncated_upto": 0,
        "committed_upto": 1,
    }
    return Persist(**(values | changes))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "n1.db"
    Storage.create(path, BALANCES, OWNER)
    return path


def test_a_new_file_holds_nothing(file):
    assert Storage(file, "process", OWNER, ACCOUNTS).load() == Stored(NO_BALLOT, 0, (), 0, 0, None)


@pytest.mark.parametrize("durability", ["process", "power"])
def test_what_was_committed_is_there_after_reopening(file, durability):
    storage = Storage(file, durability, OWNER, ACCOUNTS)
    storage.commit(persist())
    storage.close()
    entries = tuple((slot, BALLOT, request) for slot, request in enumerate(REQUESTS, 1))
    assert Storage(file, durability, OWNER, ACCOUNTS).load() == Stored(
        BALLOT, 4, entries, 1, 0, None
    )


def test_a_later_run_replaces_slots_and_keeps_the_others(file):
    storage = Storage(file, "process", OWNER, ACCOUNTS)
    storage.commit(persist())
    higher = Ballot(5, 1)
    storage.commit(persist(runs=[Run(2, higher, REQUESTS[:1])], promise_changed=False))
    assert [entry[:2] for entry in storage.load().entries] == [(1, BALLOT), (2, higher)]
    storage.commit(persist(runs=[Run(1, higher, REQUESTS[:1])], promise_changed=False))
    assert [entry[:2] for entry in storage.load().entries] == [(1, higher), (2, higher)]


def test_any_tool_sees_a_row_for_each_slot(file):
    """As they were accepted last, and none that was truncated though its run is there still."""
    storage = Storage(file, "process", OWNER, ACCOUNTS)
    runs = [Run(1, BALLOT, REQUESTS * 2), Run(3, Ballot(5, 1), REQUESTS[1:])]
    checkpoint = take(2, "ab" * 32, Machine({"A": 10, "B": 10}))
    storage.commit(persist(runs=runs, checkpoint=checkpoint, truncated_upto=1))
    with closing(sqlite3.connect(file)) as db:
        assert list(db.execute("select * from log order by slot")) == [
            (2, 3, 2, *REQUESTS[1]), (3, 5, 1, *REQUESTS[1]), (4, 3, 2, *REQUESTS[1])
        ]  # fmt: skip


@pytest.mark.parametrize("upto", [4, 5, 6])
def test_runs_go_when_all_of_them_is_truncated(file, upto):
    storage = Storage(file, "process", OWNER, ACCOUNTS)
    runs = [Run(slot, BALLOT, REQUESTS) for slot in (1, 3, 5)]
    checkpoint = take(6, "ab" * 32, Machine({"A": 10, "B": 10}))
    storage.commit(persist(runs=runs, checkpoint=checkpoint, truncated_upto=upto))
    with closing(sqlite3.connect(file)) as db:
        left = [slot for (slot,) in db.execute("select first_slot from run")]
    assert left == ([] if upto == 6 else [5])


def test_a_run_without_all_its_requests_is_refused(file):
    storage = Storage(file, "process", OWNER, ACCOUNTS)
    storage.commit(persist())
    storage._db.execute("update run set slots = 3")
    storage._seal.after_commit()
    storage.close()
    with pytest.raises(StorageError, match="2 requests in a run of 3 from slot 1"):
        Storage(file, "process", OWNER, ACCOUNTS)


def test_checkpoint_and_truncation_go_together(file):
    machine = Machine(BALANCES)
    machine.execute(1, REQUESTS)
    checkpoint = take(2, "ab" * 32, machine)
    storage = Storage(file, "process", OWNER, ACCOUNTS)
    storage.commit(persist())
    storage.commit(persist(**stored_whole(checkpoint), truncated_upto=1, committed_upto=2, runs=[]))
    stored = storage.load()
    assert stored.checkpoint is not None
    assert stored.checkpoint.balances == {"A": 7, "B": 13}
    assert sorted(stored.checkpoint.sessions) == sorted(checkpoint.sessions)
    assert [slot for slot, _, _ in stored.entries] == [2]
    assert stored.truncated_upto == 1


def test_files_of_several_replicas_begin_alike(tmp_path):
    files = {number: tmp_path / f"n{number}.db" for number in (1, 2, 3)}
    create_all(files, BALANCES, "0123", "process")
    for number, file in files.items():
        assert Storage(file, "process", Owner(f"n{number}", "0123"), ACCOUNTS).found == read_copy(
            file, ACCOUNTS
        )
        assert read_copy(file, ACCOUNTS) == Stored(NO_BALLOT, 0, (), 0, 0, None)
        with closing(sqlite3.connect(file)) as db:
            assert dict(db.execute("select * from account")) == {"A": 10, "B": 10}


def test_a_write_that_fails_in_the_middle_leaves_the_old_state(file):
    storage = Storage(file, "process", OWNER, ACCOUNTS)
    storage.commit(persist())
    before = storage.load()
    broken = Run(3, BALLOT, (("C", "no number", "transfer", "C", "A", object()),))
    with pytest.raises(StorageError):
        storage.commit(persist(promised=Ballot(9, 9), runs=[broken]))
    storage.close()
    assert Storage(file, "process", OWNER, ACCOUNTS).load() == before


def test_a_copy_is_read_while_the_writer_lives(file):
    storage = Storage(file, "process", OWNER, ACCOUNTS)
    storage.commit(persist())
    assert read_copy(file, ACCOUNTS) == storage.load()


def test_no_file_to_copy_is_no_state(tmp_path):
    assert read_copy(tmp_path / "n9.db", ACCOUNTS) is None


def test_another_schema_version_is_refused(file):
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("pragma user_version = 5")
    db.close()
    with pytest.raises(StorageError, match=r"n1\.db: schema version 5, expected 6"):
        Storage(file, "process", OWNER, ACCOUNTS)


def test_a_file_that_is_refused_is_closed(file, monkeypatch):
    opened, connect = [], sqlite3.connect

    def refuses(*words, **more):
        opened.append(connect(*words, **more))
        return opened[-1]

    def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sqlite3, "connect", refuses)
    monkeypatch.setattr(Storage, "_begin_log", full)
    with pytest.raises(StorageError, match="No space left on device"):
        Storage(file, "process", OWNER, ACCOUNTS)
    with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
        opened[-1].execute("select 1")


@pytest.mark.parametrize("slots", [1, 20, 1000])
def test_a_run_of_any_length_is_stored(file, slots):
    requests = tuple(("A", n, "transfer", "A", "B", n) for n in range(1, slots + 1))
    storage = Storage(file, "process", OWNER, ACCOUNTS)
    storage.commit(persist(runs=[Run(1, BALLOT, requests)]))
    storage.close()
    wanted = tuple((slot, BALLOT, request) for slot, request in enumerate(requests, 1))
    assert Storage(file, "process", OWNER, ACCOUNTS).load().entries == wanted


UNSOUND = {
    "gap below the watermark": (
        persist(runs=[Run(1, BALLOT, REQUESTS), Run(4, BALLOT, REQUESTS)], committed_upto=5),
        "slot 3 is missing: it is truncated up to 0 and committed up to 5",
    ),
    "watermark above the log": (
        persist(committed_upto=9),
        "slot 3 is missing: it is truncated up to 0 and committed up to 9",
    ),
    "checkpoint above the log": (
        persist(**stored_whole(take(4, "ab" * 32, Machine(BALANCES)))),
        "slot 3 is missing: it is truncated up to 0 and committed up to 4",
    ),
    "truncated without a checkpoint": (
        persist(truncated_upto=1),
        "truncated up to 1, above its checkpoint at 0",
    ),
    "promise below an entry": (
        persist(promised=Ballot(2, 5)),
        "slot 1 was accepted in (3, n2), above the promise (2, n5)",
    ),
}


@pytest.mark.parametrize(("written", "reason"), UNSOUND.values(), ids=UNSOUND)
def test_what_no_replica_can_have_written_is_refused(file, written, reason):
    storage = Storage(file, "process", OWNER, ACCOUNTS)
    storage.commit(written)
    storage.close()
    with pytest.raises(StorageError) as refusal:
        Storage(file, "process", OWNER, ACCOUNTS)
    assert str(refusal.value) == f"{file}: {reason}"


def test_a_truncation_is_stored_without_a_watermark_too(file):
    storage = Storage(file, "process", OWNER, ACCOUNTS)
    checkpoint = take(2, "ab" * 32, Machine(BALANCES))
    storage.commit(persist(**stored_whole(checkpoint), truncated_upto=1, committed_upto=None))
    storage.close()
    stored = Storage(file, "process", OWNER, ACCOUNTS).found
    assert (stored.truncated_upto, stored.committed_upto) == (1, 0)
    assert [slot for slot, _, _ in stored.entries] == [2]


@pytest.mark.parametrize(
    ("owner", "reason"),
    [
        (Owner("n2", "0123"), "belongs to n1, expected n2's own file"),
        (Owner("n1", "4567"), "belongs to n1 of another cluster (0123), expected n1 of 4567"),
    ],
)
def test_a_file_of_another_replica_is_refused(file, owner, reason):
    with pytest.raises(StorageError) as refusal:
        Storage(file, "process", owner, ACCOUNTS)
    assert str(refusal.value) == f"{file}: {reason}"


def test_placeholders_have_no_numbers():
    """From Python 3.14 on ?1 takes no value from a sequence, and 3.12 warns of it."""
    for path in (Path(__file__).parents[1] / "harness").rglob("*.py"):
        assert not re.search(r"[\s(,=]\?[0-9]", path.read_text("utf-8")), path
