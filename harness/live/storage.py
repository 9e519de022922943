"""One SQLite file per replica: promise, log, watermarks, checkpoint. Readable with any SQLite tool.

Everything of one turn is one transaction. `page` and `session` hold the state at exactly the
checkpoint's slot, `account` shows it by name. What came later is replayed from `log` up to the
committed watermark, which may lag behind the truth but never leads.
A file that is
lost, damaged, older than what was written last (`harness.live.seal` proves that it is not),
another replica's or of another version is an error and never a fresh start: a replica that forgot
its promises is unsafe.

    process   WAL, synchronous=NORMAL: a commit survives the death of any process
    power     WAL, synchronous=FULL: a commit is on the disk itself
    memory    nothing is kept
"""

import errno
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from bank.accounts import Accounts, Balances
from bank.ballot import NO_BALLOT, Ballot, ReplicaId, replica_name
from bank.checkpoint import Checkpoint, Snapshot, sealed
from bank.effects import Persist, Run, Stored
from bank.sessions import Session
from harness.live import log_table, page_table, seal
from harness.live.durable import sync_path
from harness.live.page_table import PageTable
from harness.live.process import own_folder
from harness.live.seal import PAGE_BYTES, Seal, SealError

SCHEMA_VERSION = 6
_SCHEMA = f"""
create table owner(replica text, cluster text);
create table promise(ballot_number integer, ballot_replica integer, seen integer);
insert into promise values (0, 0, 0);
create table watermark(committed_upto integer, truncated_upto integer);
insert into watermark values (0, 0);
create table checkpoint(slot integer, running_hash text, digest text);
create table session(client text primary key, timestamp integer, result, slot integer)
    without rowid;
{log_table.SCHEMA}"""

# Frames in the write-ahead log, from which on it is merged into the file.
_LONG_LOG = 1000
_BUSY_MS = 5000  # what a commit waits for another program that writes


class StorageError(Exception):
    """The file is lost, damaged, not this replica's, of another version, or cannot be written."""


class Owner(NamedTuple):
    """Whose a file is."""

    replica: str  # its name
    cluster: str  # an identifier, drawn when the cluster's files were made


class DiskError(StorageError):
    """The machine does not read or write the file: its disk is full, or failing."""


FEW_BYTES = 1 << 20  # of free disk: worth a word
_OF_THE_MACHINE = {
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY,
}  # fmt: skip


def _refusal(path: Path, error: Exception) -> StorageError:
    """The file's trouble, or the machine's; errors of the seal name their file themselves."""
    if isinstance(error, SealError):
        return StorageError(str(error))
    what = f"{path}: {getattr(error, 'strerror', None) or error}"
    if not _is_of_machine(error):
        return StorageError(what)
    with suppress(OSError):  # SQLite calls a full disk by several names
        free = shutil.disk_usage(path.parent).free
        what += f", {free // 1024} KiB free there" if free < FEW_BYTES else ""
    return DiskError(what)


def _is_of_machine(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno not in (errno.ENOENT, errno.EISDIR, errno.ENOTDIR)
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)
    return code & 0xFF in _OF_THE_MACHINE and code != sqlite3.SQLITE_IOERR_SHORT_READ


class Storage:
    """A replica's file, open for writing. One transaction per `commit`."""

    def __init__(self, path: Path, durability: str, owner: Owner, accounts: Accounts) -> None:
        """Open a file that `create` made; raises StorageError when it must not be used.

        One that is refused is left as it is, write-ahead log and all. `accounts` are those that it
        was made with.
        """
        self._path = path
        self._is_durable = durability == "power"
        try:
            with _copied(path) as copy:
                self.found, content = _verified(path, copy, owner, accounts)  # before any commit
            if self._is_durable:  # an earlier run may have been less careful
                for file in (path, seal.path_of(path), path.parent):
                    sync_path(file)
            self._db = sqlite3.connect(path, isolation_level=None)
            self._reading: sqlite3.Cursor | None = None  # see `_hold`
            self._writing = self._db.cursor()  # making one for each turn takes 0.3 µs
            try:
                self._begin(content)
            except Exception:
                self._reading = None
                self._db.close()
                raise
        except (sqlite3.Error, OSError, SealError, TypeError, ValueError) as error:
            raise _refusal(path, error) from error
        self._accounts = accounts
        self._truncated_upto = self.found.truncated_upto
        self._pages = PageTable(self._db)

    def _begin(self, content: bytes) -> None:
        self._db.execute("pragma journal_mode=wal")
        self._db.execute("pragma wal_autocheckpoint=0")
        self._db.execute(f"pragma synchronous={'full' if self._is_durable else 'normal'}")
        if self._is_durable and sys.platform == "darwin":
            self._db.execute("pragma fullfsync=on")
        self._hold()
        self._seal = Seal(self._path)
        self._begin_log(content)

    def _begin_log(self, content: bytes) -> None:
        """Begin a new write-ahead log, whose salt the seal knows before anything is in it.

        SQLite draws the salt of a log that begins from nothing, and counts it up when it empties
        one. An empty one must not be emptied: then it would count from 1, in every process anew.
        """
        self._seal.seal_anew(content)
        self._flush_seal()
        frames = self._merge("passive")[1]
        if frames:
            self._db.execute("pragma busy_timeout=0")
            if not self._merge("truncate")[0]:  # else another program reads, and the log goes on
                frames = 0
            self._db.execute(f"pragma busy_timeout={_BUSY_MS}")
        if not frames:
            self._seal.expect_new_log()
        self._seal.watch(frames)
        self._db.execute(f"pragma user_version={SCHEMA_VERSION}")  # writes the first page
        self._seal.after_commit()
        self._flush_seal()

    def _hold(self) -> None:
        """Begin to read, and never end: else each transaction takes a reader's locks and gives them
        back, four system calls of nine and 2 µs of 13.

        Meanwhile the log cannot be merged, and nothing be written once another program wrote.
        """
        self._reading = None
        self._reading = self._db.execute("select name from sqlite_schema")

    def _merge(self, how: str) -> tuple[int, int, int]:
        """Merge the write-ahead log into the file: 1 when that was blocked; its frames; merged."""
        self._reading = None
        found: tuple[int, int, int] = self._db.execute(f"pragma wal_checkpoint({how})").fetchone()
        self._hold()
        return found

    def _flush_seal(self) -> None:
        """Before a write-ahead log is given up: pages that are in none must have their seal."""
        if self._is_durable:
            self._seal.flush()

    @staticmethod
    def create(path: Path, balances: Balances, owner: Owner) -> None:
        """Make a file of the current version in which nothing has happened; raises StorageError.

        Accounts begin with these balances: a checkpoint writes only what changed.
        """
        try:
            with closing(sqlite3.connect(path, isolation_level=None)) as db:
                db.execute(f"pragma page_size={PAGE_BYTES}")  # before the file has a page
                db.execute("pragma journal_mode=wal")
                db.execute("pragma synchronous=off")
                script = f"begin; {_SCHEMA} pragma user_version={SCHEMA_VERSION}; commit;"
                db.executescript(script)
                db.execute("begin")
                db.execute("insert into owner values (?,?)", owner)
                page_table.create(db, balances)
                db.execute("commit")
            seal.create(path)
        except (sqlite3.Error, OSError) as error:
            raise _refusal(path, error) from error

    def load(self) -> Stored:
        """What the file says; an empty Stored when nothing was ever written."""
        try:
            return _load(self._db, self._accounts)
        except (sqlite3.Error, TypeError, ValueError) as error:
            raise _refusal(self._path, error) from error

    def commit(self, persist: Persist) -> None:
        """The writes of one turn, all or nothing, and their seal; raises StorageError."""
        try:
            if not self._is_written(persist):  # what is read all the time is not the newest
                self._hold()
                self._transact(persist)
            self._seal.after_commit()
        except (sqlite3.Error, OSError, SealError, TypeError) as error:
            raise _refusal(self._path, error) from error

    def _is_written(self, persist: Persist) -> bool:
        """False when that cannot be, for another program wrote since this one began to read."""
        try:
            self._transact(persist)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY_SNAPSHOT:
                raise
            self._db.rollback()
            return False
        return True

    def _transact(self, persist: Persist) -> None:
        if self._is_one_run(persist):
            self._write_run(persist.runs[0])
        else:
            self._db.execute("begin")
            self._write(persist)
            self._db.execute("commit")

    def tidy(self) -> None:
        """Merge a long write-ahead log into the file; while nobody waits for this replica."""
        if self._seal.frames < _LONG_LOG:
            return
        try:
            self._flush_seal()
            self._merge("passive")
        except (sqlite3.Error, OSError) as error:
            raise _refusal(self._path, error) from error

    def write_only(self, persist: Persist) -> None:
        """The writes of one turn without their commit: what a process that dies now leaves."""
        self._db.execute("begin")
        self._write(persist)

    def _is_one_run(self, persist: Persist) -> bool:
        """True when a run is all there is to write: a statement is its own transaction.

        That is what most turns look like; `begin` and `commit` take 5 µs of 25.
        """
        return (
            len(persist.runs) == 1
            and not persist.promise_changed
            and persist.pages is None
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
        if persist.pages is not None:
            self._pages.write(persist.pages)
        if (checkpoint := persist.checkpoint) is not None:
            self._write_checkpoint(checkpoint, persist.sessions)
        if persist.truncated_upto > self._truncated_upto:
            log_table.truncate(db, persist.truncated_upto)
            db.execute("update watermark set truncated_upto=?", (persist.truncated_upto,))
            self._truncated_upto = persist.truncated_upto
        if persist.committed_upto is not None:
            db.execute("update watermark set committed_upto=?", (persist.committed_upto,))

    def _write_run(self, run: Run) -> None:
        log_table.append(self._writing, run)

    def _write_checkpoint(self, checkpoint: Checkpoint, sessions: Sequence[Session]) -> None:
        """Make it the stored one, in this transaction: from now on its pages count."""
        db = self._db
        db.execute("delete from checkpoint")
        db.execute(
            "insert into checkpoint values (?,?,?)",
            (checkpoint.slot, checkpoint.running_hash, checkpoint.digest),
        )
        db.executemany("insert or replace into session values (?,?,?,?)", sessions)
        self._pages.count()

    def close(self) -> None:
        """Close the file; what was not committed is gone."""
        self._flush_seal()
        self._reading = None
        self._db.close()  # merges the write-ahead log into the file
        self._seal.close()


def create_all(
    files: Mapping[ReplicaId, Path], balances: Balances, cluster: str, durability: str
) -> None:
    """Make the files of a cluster, in one folder, equal but for their owners.

    Under `power` the disk has them, and their names, when this returns; raises StorageError.
    """
    (first, path), *others = files.items()
    Storage.create(path, balances, Owner(replica_name(first), cluster))
    at = path
    try:
        for replica, at in others:
            shutil.copyfile(path, at)
            with closing(sqlite3.connect(at, isolation_level=None)) as db:
                db.execute("pragma synchronous=off")
                db.execute("update owner set replica = ?", (replica_name(replica),))
            seal.create(at)
        if durability == "power":
            for at in files.values():
                sync_path(at)
                sync_path(seal.path_of(at))
            sync_path(path.parent)
    except (sqlite3.Error, OSError) as error:
        raise _refusal(at, error) from error


def read_copy(path: Path, accounts: Accounts) -> Stored | None:
    """The state in the file of a stopped or dead replica; None when there is no file.

    Read from a copy of the file and its write-ahead log: a stopped process may hold a lock. It is
    for people and judges: no replica may start from what was not verified. Raises StorageError.
    """
    if not path.exists():
        return None
    try:
        with _copied(path) as copy, closing(sqlite3.connect(copy)) as db:
            _check_version(db)
            (answer,) = db.execute("pragma quick_check(1)").fetchone()
            if answer != "ok":
                raise ValueError(f"damaged: {answer}")
            return _load(db, accounts)
    except (sqlite3.Error, OSError, SealError, TypeError, ValueError) as error:
        raise _refusal(path, error) from error


def read_verified(path: Path, owner: Owner, accounts: Accounts) -> Stored:
    """What the owner of this file would start from; raises StorageError where it is refused."""
    try:
        with _copied(path) as copy:
            return _verified(path, copy, owner, accounts)[0]
    except (sqlite3.Error, OSError, SealError, TypeError, ValueError) as error:
        raise _refusal(path, error) from error


@contextmanager
def _copied(path: Path) -> Iterator[Path]:
    """A copy of a database and its write-ahead log, for a while."""
    if not path.exists():
        raise SealError(f"{path}: the file is gone, and with it what was promised")
    with tempfile.TemporaryDirectory(dir=own_folder()) as folder:  # SIGKILL may come meanwhile
        copy = Path(folder, "copy.db")
        for suffix in ("", "-wal"):
            source = path.with_name(path.name + suffix)
            if source.exists():
                shutil.copyfile(source, copy.with_name(copy.name + suffix))
        yield copy


def _verified(path: Path, copy: Path, owner: Owner, accounts: Accounts) -> tuple[Stored, bytes]:
    """What the file at `path` says, and its bytes, when `owner` may start from it."""
    with open(copy, "rb") as stream:
        first_page = stream.read(PAGE_BYTES)
    with closing(sqlite3.connect(copy, isolation_level=None)) as db:
        db.execute("pragma synchronous=off")
        _check_version(db)
        _, frames, _ = db.execute("pragma wal_checkpoint(passive)").fetchone()
        content = seal.check(path, copy, first_page, frames)
        found = Owner(*db.execute("select replica, cluster from owner").fetchone())
        if found.cluster != owner.cluster:
            raise ValueError(
                f"belongs to {found.replica} of another cluster ({found.cluster}), "
                f"expected {owner.replica} of {owner.cluster}"
            )
        if found.replica != owner.replica:
            raise ValueError(f"belongs to {found.replica}, expected {owner.replica}'s own file")
        stored = _load(db, accounts)
        check_sound(stored)
        return stored, content


def _check_version(db: sqlite3.Connection) -> None:
    (version,) = db.execute("pragma user_version").fetchone()
    if version != SCHEMA_VERSION:
        raise ValueError(f"schema version {version}, expected {SCHEMA_VERSION}")


def _load(db: sqlite3.Connection, accounts: Accounts) -> Stored:
    number, replica, seen = db.execute("select * from promise").fetchone()
    committed_upto, truncated_upto = db.execute("select * from watermark").fetchone()
    head = db.execute("select slot, running_hash, digest from checkpoint").fetchone()
    checkpoint = None
    if head is not None:
        slot, running_hash, digest = head
        pages = page_table.read(db, accounts.pages)
        sessions = tuple(db.execute("select client, timestamp, result, slot from session"))
        checkpoint = sealed(Snapshot(slot, running_hash, accounts, pages, sessions))
        if checkpoint.digest != digest:
            raise ValueError(f"the checkpoint at {slot} does not have its digest")
    promised = Ballot(number, replica) if number else NO_BALLOT
    entries = tuple(log_table.entries(db, truncated_upto))
    return Stored(promised, seen, entries, committed_upto, truncated_upto, checkpoint)


def check_sound(stored: Stored | None) -> None:
    """Raise ValueError for a state that no replica can have left; None is an empty one.

    The seal proves what was written last; this, that it was written by a replica that worked.
    """
    if stored is None:
        return
    promised, truncated_upto = stored.promised, stored.truncated_upto
    upto = stored.checkpoint.slot if stored.checkpoint is not None else 0
    if truncated_upto > upto:
        raise ValueError(f"truncated up to {truncated_upto}, above its checkpoint at {upto}")
    upto = max(upto, stored.committed_upto)
    held = {slot for slot, _, _ in stored.entries}
    for slot in range(truncated_upto + 1, upto + 1):
        if slot not in held:
            raise ValueError(
                f"slot {slot} is missing: it is truncated up to {truncated_upto} "
                f"and committed up to {upto}"
            )
    for slot, ballot, _ in stored.entries:
        if ballot > promised:
            raise ValueError(f"slot {slot} was accepted in {ballot}, above the promise {promised}")
