"""A replica's file: all of a turn or nothing, and never a silent fresh start."""

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from bank.ballot import NO_BALLOT, Ballot
from bank.checkpoint import take
from bank.effects import Persist, Run, Stored
from bank.sessions import Machine
from harness.live.storage import Storage, StorageError, create_all, read_copy

BALLOT = Ballot(3, 2)
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
    Storage.create(path, {"A": 10, "B": 10})
    return path


def test_a_new_file_holds_nothing(file):
    assert Storage(file, "process").load() == Stored(NO_BALLOT, 0, (), 0, 0, None)


@pytest.mark.parametrize("durability", ["process", "power"])
def test_what_was_committed_is_there_after_reopening(file, durability):
    storage = Storage(file, durability)
    storage.commit(persist())
    storage.close()
    entries = tuple((slot, BALLOT, request) for slot, request in enumerate(REQUESTS, 1))
    assert Storage(file, durability).load() == Stored(BALLOT, 4, entries, 1, 0, None)


def test_a_later_run_replaces_slots_and_keeps_the_others(file):
    storage = Storage(file, "process")
    storage.commit(persist())
    higher = Ballot(5, 1)
    storage.commit(persist(runs=[Run(2, higher, REQUESTS[:1])], promise_changed=False))
    assert [entry[:2] for entry in storage.load().entries] == [(1, BALLOT), (2, higher)]


def test_checkpoint_and_truncation_go_together(file):
    machine = Machine({"A": 10, "B": 10})
    machine.execute(1, REQUESTS)
    checkpoint = take(2, "ab" * 32, machine)
    storage = Storage(file, "process")
    storage.commit(persist())
    storage.commit(persist(checkpoint=checkpoint, truncated_upto=1, committed_upto=2, runs=[]))
    stored = storage.load()
    assert stored.checkpoint is not None
    assert stored.checkpoint.balances == {"A": 7, "B": 13}
    assert sorted(stored.checkpoint.sessions) == sorted(checkpoint.sessions)
    assert [slot for slot, _, _ in stored.entries] == [2]
    assert stored.truncated_upto == 1


def test_a_checkpoint_writes_the_rows_that_changed_and_no_others(file):
    storage, machine = Storage(file, "process"), Machine({"A": 10, "B": 10})
    for slot, request in enumerate(REQUESTS, 1):
        machine.execute(slot, [request])
        checkpoint = take(slot, "ab" * 32, machine)
        storage.commit(persist(checkpoint=checkpoint, runs=[]))
        assert storage.load().checkpoint == replace(
            checkpoint, sessions=tuple(sorted(checkpoint.sessions))
        )
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("update session set slot = 77 where client = 'A'")
    machine.execute(3, [("B", 8, "transfer", "B", "A", 1)])
    checkpoint = take(3, "ab" * 32, machine)
    storage.commit(persist(checkpoint=checkpoint, runs=[]))
    with closing(sqlite3.connect(file)) as db:
        assert dict(db.execute("select client, slot from session")) == {"A": 77, "B": 3}
    storage.commit(persist(checkpoint=replace(checkpoint, changed=None), runs=[]))
    assert sorted(storage.load().checkpoint.sessions) == sorted(machine.sessions.values())


def test_files_of_several_replicas_begin_alike(tmp_path):
    files = [tmp_path / f"n{number}.db" for number in (1, 2, 3)]
    create_all(files, {"A": 10, "B": 10})
    for file in files:
        assert read_copy(file) == Stored(NO_BALLOT, 0, (), 0, 0, None)
        with closing(sqlite3.connect(file)) as db:
            assert dict(db.execute("select * from account")) == {"A": 10, "B": 10}


def test_a_write_that_fails_in_the_middle_leaves_the_old_state(file):
    storage = Storage(file, "process")
    storage.commit(persist())
    before = storage.load()
    broken = Run(3, BALLOT, (("C", "no number", "transfer", "C", "A", object()),))
    with pytest.raises(StorageError):
        storage.commit(persist(promised=Ballot(9, 9), runs=[broken]))
    storage.close()
    assert Storage(file, "process").load() == before


def test_a_copy_is_read_while_the_writer_lives(file):
    storage = Storage(file, "process")
    storage.commit(persist())
    assert read_copy(file) == storage.load()


def test_no_file_to_copy_is_no_state(tmp_path):
    assert read_copy(tmp_path / "n9.db") is None


def test_a_lost_file_is_refused(file):
    file.unlink()
    with pytest.raises(StorageError, match="gone"):
        Storage(file, "process")


def test_a_damaged_file_is_refused(file):
    storage = Storage(file, "process")
    storage.commit(persist())
    storage.close()
    data = bytearray(file.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    file.write_bytes(data)
    with pytest.raises(StorageError, match=r"n1\.db"):
        Storage(file, "process")


def test_a_checkpoint_without_its_digest_is_refused(file):
    storage = Storage(file, "process")
    storage.commit(persist(checkpoint=take(2, "ab" * 32, Machine({"A": 10, "B": 10}))))
    storage.close()
    with sqlite3.connect(file) as db:
        db.execute("update account set balance = 11")
    db.close()
    with pytest.raises(StorageError, match="digest"):
        Storage(file, "process")


def test_another_schema_version_is_refused(file):
    with sqlite3.connect(file) as db:
        db.execute("pragma user_version = 99")
    db.close()
    with pytest.raises(StorageError, match="version 99"):
        Storage(file, "process")


def test_a_truncation_is_stored_whatever_else_is(file):
    storage = Storage(file, "process")
    storage.commit(persist(truncated_upto=1, committed_upto=None))
    storage.close()
    stored = Storage(file, "process").load()
    assert (stored.truncated_upto, stored.committed_upto) == (1, 0)
    assert [slot for slot, _, _ in stored.entries] == [2]


@pytest.mark.parametrize("rows", [20, 21, 60, 61, 1000])
def test_a_run_of_any_length_is_stored_slot_by_slot(file, rows):
    requests = tuple(("A", n, "transfer", "A", "B", n) for n in range(1, rows + 1))
    storage = Storage(file, "process")
    storage.commit(persist(runs=[Run(5, BALLOT, requests)]))
    storage.close()
    wanted = tuple((slot, BALLOT, request) for slot, request in enumerate(requests, 5))
    assert Storage(file, "process").load().entries == wanted
