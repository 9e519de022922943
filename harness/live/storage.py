"""One SQLite file per replica: promise, log, watermarks, checkpoint. Readable with any SQLite tool.

Everything of one turn is one transaction. `account` and `session` hold the state at exactly the
checkpoint's slot: the rows that changed are written with it. What came later is replayed from
`log` up to the committed watermark, which may lag behind the truth but never leads. A damaged
file, or one of another version, is an error and never a fresh start: a replica that forgot its
promises is unsafe.

    process   WAL, synchronous=NORMAL: a commit survives the death of any process
    power     WAL, synchronous=FULL: a commit is on the disk itself
    memory    nothing is kept
"""

import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from functools import cache
from itertools import chain
from pathlib import Path

from bank.ballot import NO_BALLOT, Ballot
from bank.checkpoint import Checkpoint
from bank.effects import Persist, Run, Stored
from bank.sessions import Session

SCHEMA_VERSION = 3
_SCHEMA = """
create table promise(ballot_number integer, ballot_replica integer, seen integer);
insert into promise values (0, 0, 0);
create table watermark(committed_upto integer, truncated_upto integer);
insert into watermark values (0, 0);
create table log(slot integer primary key, ballot_number integer, ballot_replica integer,
    client text, timestamp integer, kind text, sender text, receiver text, amount integer);
create table checkpoint(slot integer, running_hash text, digest text);
create table account(name text primary key, balance integer) without rowid;
create table session(client text primary key, timestamp integer, result, slot integer)
    without rowid;
"""

PAGE_BYTES = 2048  # a turn of one row writes one page to the write-ahead log: 4 KiB cost half more
_GROUP = 20  # rows a statement at the most: in long runs a row then costs 0.85 µs, alone 3
# In a longer run, a word to the scheduler every so many rows: whoever writes hundreds is not the
# one that is waited for, and would keep its processor for a third of a millisecond.
_GIVE_WAY = 60


@cache
def _insert(rows: int) -> str:
    """The statement for so many slots: ?1 is the first, ?2 and ?3 their ballot, then requests."""
    values = (
        f"(?1+{row},?2,?3,{','.join(f'?{4 + 6 * row + column}' for column in range(6))})"
        for row in range(rows)
    )
    return f"insert or replace into log values {','.join(values)}"


class StorageError(Exception):
    """The file is damaged, of another version, or cannot be written."""


class DiskError(StorageError):
    """The machine does not read or write the file: its disk is full, or failing."""


FEW_BYTES = 1 << 20  # of free disk: worth a word
_OF_THE_MACHINE = {
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY,
}  # fmt: skip


def _trouble(path: Path, error: Exception) -> StorageError:
    """The machine's trouble, or the file's."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)
    of_machine = code & 0xFF in _OF_THE_MACHINE and code != sqlite3.SQLITE_IOERR_SHORT_READ
    what = f"{path}: {getattr(error, 'strerror', None) or error}"
    if not (isinstance(error, OSError) or of_machine):
        return StorageError(what)
    with suppress(OSError):  # SQLite calls a full disk by several names
        free = shutil.disk_usage(path.parent).free
        what += f", {free // 1024} KiB free there" if free < FEW_BYTES else ""
    return DiskError(what)


class Storage:
    """A replica's file, open for writing. One transaction per `commit`."""

    def __init__(self, path: Path, durability: str) -> None:
        """Open a file that `create` made; raises StorageError when it is lost or damaged."""
        self._path = path
        if not path.exists():
            raise StorageError(f"{path}: the file is gone, and with it what was promised")
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("pragma journal_mode=wal")
            full = durability == "power"
            self._db.execute(f"pragma synchronous={'full' if full else 'normal'}")
            if full and sys.platform == "darwin":
                self._db.execute("pragma fullfsync=on")
            _check(self._db, path)
        except sqlite3.Error as error:
            raise _trouble(path, error) from error
        self._truncated_upto = self.load().truncated_upto

    @staticmethod
    def create(path: Path, balances: Mapping[str, int]) -> None:
        """Make a file of the current version in which nothing has happened; raises StorageError.

        Accounts begin with these balances: a checkpoint writes only what changed.
        """
        try:
            with closing(sqlite3.connect(path, isolation_level=None)) as db:
                db.execute(f"pragma page_size={PAGE_BYTES}")  # before the file has a page
                db.execute("pragma journal_mode=wal")
                script = f"begin; {_SCHEMA} pragma user_version={SCHEMA_VERSION}; commit;"
                db.executescript(script)
                db.execute("begin")
                db.executemany("insert into account values (?,?)", balances.items())
                db.execute("commit")
        except sqlite3.Error as error:
            raise _trouble(path, error) from error

    def load(self) -> Stored:
        """What the file says; an empty Stored when nothing was ever written."""
        try:
            return _load(self._db)
        except (sqlite3.Error, TypeError, ValueError) as error:
            raise _trouble(self._path, error) from error

    def commit(self, persist: Persist) -> None:
        """The writes of one turn, all or nothing; raises StorageError."""
        try:
            if self._is_one_statement(persist):
                self._write_run(persist.runs[0])
                return
            self._db.execute("begin")
            self._write(persist)
            self._db.execute("commit")
        except sqlite3.Error as error:
            raise _trouble(self._path, error) from error

    def write_only(self, persist: Persist) -> None:
        """The writes of one turn without their commit: what a process that dies now leaves."""
        self._db.execute("begin")
        self._write(persist)

    def _is_one_statement(self, persist: Persist) -> bool:
        """True when a short run is all there is to write: a statement is its own transaction.

        That is what the requests of few clients look like; `begin` and `commit` take 5 µs of 25.
        """
        return (
            len(persist.runs) == 1
            and 0 < len(persist.runs[0].requests) <= _GROUP
            and not persist.promise_changed
            and persist.checkpoint is None
            and persist.committed_upto is None
            and persist.truncated_upto <= self._truncated_upto
        )

    def _write(self, persist: Persist) -> None:
        db = self._db
        if persist.promise_changed:
            db.execute(
                "update promise set ballot_number=?, ballot_replica=?, seen=?",
                (*persist.promised, persist.seen),
            )
        for run in persist.runs:
            self._write_run(run)
        if (checkpoint := persist.checkpoint) is not None:
            self._write_checkpoint(checkpoint)
        if persist.truncated_upto > self._truncated_upto:
            db.execute("delete from log where slot <= ?", (persist.truncated_upto,))
            self._truncated_upto = persist.truncated_upto
        if persist.committed_upto is not None:
            db.execute(
                "update watermark set committed_upto=?, truncated_upto=?",
                (persist.committed_upto, persist.truncated_upto),
            )

    def _write_run(self, run: Run) -> None:
        first_slot, ballot, requests = run
        for start in range(0, len(requests), _GROUP):
            if start and start % _GIVE_WAY == 0:
                os.sched_yield()
            group = requests[start : start + _GROUP]
            values = (first_slot + start, *ballot, *chain.from_iterable(group))
            self._db.execute(_insert(len(group)), values)

    def _write_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Make it the stored one, in this transaction: all rows, or those that may differ."""
        db, changed = self._db, checkpoint.changed
        db.execute("delete from checkpoint")
        db.execute(
            "insert into checkpoint values (?,?,?)",
            (checkpoint.slot, checkpoint.running_hash, checkpoint.digest),
        )
        accounts: Iterable[tuple[str, int]] = checkpoint.balances.items()
        sessions: Iterable[Session] = checkpoint.sessions
        if changed is None:
            db.execute("delete from account")
            db.execute("delete from session")
        else:
            accounts = [(a, checkpoint.balances[a]) for a in sorted(changed.accounts)]
            sessions = [s for s in sessions if s[0] in changed.clients]
        db.executemany("insert or replace into account values (?,?)", accounts)
        db.executemany("insert or replace into session values (?,?,?,?)", sessions)

    def close(self) -> None:
        """Close the file; what was not committed is gone."""
        self._db.close()


def create_all(paths: Iterable[Path], balances: Mapping[str, int]) -> None:
    """Make equal files for several replicas; raises StorageError."""
    first, *others = paths
    Storage.create(first, balances)
    for path in others:
        try:
            shutil.copyfile(first, path)
        except OSError as error:
            raise _trouble(path, error) from error


def read_copy(path: Path) -> Stored | None:
    """The state in the file of a stopped or dead replica; None when there is no file.

    Read from a copy of the file and its write-ahead log: a stopped process may hold a lock.
    Raises StorageError.
    """
    try:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, "copy.db")
            for suffix in ("", "-wal"):
                source = path.with_name(path.name + suffix)
                if source.exists():
                    shutil.copyfile(source, copy.with_name(copy.name + suffix))
            if not copy.exists():
                return None
            with closing(sqlite3.connect(copy)) as db:
                _check(db, path)
                return _load(db)
    except (sqlite3.Error, TypeError, ValueError, OSError) as error:
        raise _trouble(path, error) from error


def _check(db: sqlite3.Connection, path: Path) -> None:
    (version,) = db.execute("pragma user_version").fetchone()
    if version != SCHEMA_VERSION:
        raise StorageError(f"{path}: schema version {version}, expected {SCHEMA_VERSION}")
    (answer,) = db.execute("pragma quick_check(1)").fetchone()
    if answer != "ok":
        raise StorageError(f"{path}: damaged: {answer}")


def _load(db: sqlite3.Connection) -> Stored:
    number, replica, seen = db.execute("select * from promise").fetchone()
    committed_upto, truncated_upto = db.execute("select * from watermark").fetchone()
    head = db.execute("select slot, running_hash, digest from checkpoint").fetchone()
    checkpoint = None
    if head is not None:
        balances = dict(db.execute("select name, balance from account"))
        sessions = tuple(db.execute("select client, timestamp, result, slot from session"))
        checkpoint = Checkpoint(head[0], head[1], balances, sessions, head[2])
        if checkpoint.computed_digest() != checkpoint.digest:
            raise ValueError(f"the checkpoint at {head[0]} does not have its digest")
    promised = Ballot(number, replica) if number else NO_BALLOT
    entries = tuple(_entries(db))
    return Stored(promised, seen, entries, committed_upto, truncated_upto, checkpoint)


def _entries(
    db: sqlite3.Connection,
) -> Iterator[tuple[int, Ballot, tuple[str, int, str, str, str, int]]]:
    for slot, number, replica, *request in db.execute("select * from log order by slot"):
        client, timestamp, kind, sender, receiver, amount = request
        yield slot, Ballot(number, replica), (client, timestamp, kind, sender, receiver, amount)
