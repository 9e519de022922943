"""What is read from a replica's disk is what it wrote last, or it is refused; never an older state.

Each case starts from the files that a SIGKILL leaves, or a clean end, changes them, and asks what
a replica would start from.
"""

import os
import shutil
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from conductor import stored_whole, take

from bank.accounts import Balances
from bank.ballot import Ballot
from bank.effects import Persist, Run
from bank.sessions import Machine
from harness.live import durable, seal, storage
from harness.live.storage import Owner, Storage, StorageError, create_all, read_copy, read_verified

OWNER = Owner("n1", "0123")
BALANCES = Balances.of(dict.fromkeys("ABCDEFGHIJ", 10))
PARTS = {"database": "n1.db", "write-ahead log": "n1.db-wal", "seal": "n1.db-seal"}


class Replica:
    """Draws turns as a replica has them, and stores them; keeps what its disk must hold."""

    def __init__(self, folder: Path, random: Random) -> None:
        self.path = folder / "n1.db"
        self._random = random
        self._machine = Machine(BALANCES)
        self._promised, self._last, self._executed, self._truncated = Ballot(1, 1), 0, 0, 0
        self._timestamp = 0
        Storage.create(self.path, BALANCES, OWNER)
        self.open()

    def open(self) -> None:
        self.storage = Storage(self.path, "process", OWNER, BALANCES.accounts)

    def turn(self) -> None:
        self.storage.commit(self._draw())

    def _draw(self) -> Persist:
        draw, runs, promise_changed = self._random.random(), [], False
        if draw < 0.15 or not self._last:
            self._promised, promise_changed = Ballot(self._promised.number + 1, 2), True
        if draw > 0.1 or not self._last:
            # Sometimes again from the first open slot, as a NEW-VIEW has them.
            first = self._executed + 1 if promise_changed else self._last + 1
            requests = [self._request() for _ in range(self._random.choice((1, 1, 1, 3, 30)))]
            if first <= self._last:
                requests = requests * (self._last // len(requests) + 1)
            runs = [Run(first, self._promised, requests)]
            self._last = max(self._last, first + len(requests) - 1)
        persist = Persist(self._promised, 9, promise_changed, runs, None, self._truncated, None)
        if runs and self._random.random() < 0.2:
            machine, slot = self._machine, self._executed + 1
            run = runs[0]
            for request in run.requests if run.first_slot == slot else ():
                machine.execute(slot, [request])
                slot += 1
            if slot > self._executed + 1:
                self._executed = slot - 1
                persist.committed_upto = self._executed
                checkpoint = take(self._executed, "ab" * 32, machine)
                for what, value in stored_whole(checkpoint).items():
                    setattr(persist, what, value)
                self._truncated = persist.truncated_upto = max(0, self._executed - 20)
        return persist

    def _request(self):
        self._timestamp += 1
        sender, receiver = self._random.sample("ABCDEFGHIJ", 2)
        return (sender, self._timestamp, "transfer", sender, receiver, 1)


def keep(source: Path, target: Path) -> Path:
    """The files as they are now, which is what a SIGKILL would leave."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for name in PARTS.values():
        with suppress(FileNotFoundError):
            shutil.copyfile(source / name, target / name)
    return target


def read(folder: Path):
    """What a replica would start from there; None when it is refused."""
    try:
        return read_verified(folder / "n1.db", OWNER, BALANCES.accounts)
    except StorageError as error:
        assert "n1.db" in str(error)
        return None


@pytest.fixture(scope="module", params=["killed", "ended"])
def left(request, tmp_path_factory):
    """Files after some sixty turns, and the state in them."""
    folder = tmp_path_factory.mktemp(request.param)
    replica = Replica(folder, Random(5))
    for number in range(60):
        replica.turn()
        if number == 30:
            replica.storage._merge("passive")
    state = replica.storage.load()
    if request.param == "ended":
        replica.storage.close()
    files = keep(folder, folder / "left")
    assert read(files) == state
    replica.storage.close()
    return files, state


def damaged(content: bytes):
    """The same with one flipped byte at many places, and cut at many lengths."""
    random, size = Random(3), len(content)
    places = {*range(0, min(size, 120), 5), *(random.randrange(size) for _ in range(30))}
    for place in sorted(places):
        flipped = content[:place] + bytes([content[place] ^ 0x41]) + content[place + 1 :]
        yield f"byte {place} flipped", flipped
    whole = size // 2 // seal.PAGE_BYTES * seal.PAGE_BYTES
    for length in {
        0,
        16,
        31,
        32,
        whole,
        size - seal.PAGE_BYTES,
        size - 1,
        *(random.randrange(size) for _ in range(8)),
    }:
        yield f"cut to {length}", content[:length]
    yield "zeros from the middle on", content[: size // 2] + bytes(size - size // 2)
    yield "zeros at the end", content + bytes(5000)


@pytest.mark.parametrize("part", PARTS)
def test_damage_to_one_file_is_refused_or_harmless(left, tmp_path, part):
    files, state = left
    if not (files / PARTS[part]).exists():
        pytest.skip("a clean end leaves no write-ahead log")
    content, refused = (files / PARTS[part]).read_bytes(), 0
    for what, bad in damaged(content):
        folder = keep(files, tmp_path / "case")
        (folder / PARTS[part]).write_bytes(bad)
        found = read(folder)
        assert found in (None, state), what
        refused += found is None
    assert refused
    (folder / PARTS[part]).unlink()
    assert read(folder) is None


def test_an_older_copy_is_refused_or_the_same(tmp_path):
    """Put back: the database, its log, both, or both of another time each, under today's seal."""
    replica = Replica(tmp_path, Random(8))
    replica.turn()
    kept = []
    for number in range(18):
        kept.append((keep(tmp_path, tmp_path / f"at-{number}"), replica.storage.load()))
        replica.turn()
        if number % 9 == 5:
            replica.storage._merge("passive")
        if number in (7, 16):
            replica.storage.close()
            replica.open()
    now, state = keep(tmp_path, tmp_path / "now"), replica.storage.load()
    assert read(now) == state
    assert all(read(folder) == then for folder, then in kept)
    for folder, then in kept:
        for names in (("n1.db",), ("n1.db-wal",), ("n1.db", "n1.db-wal")):
            case = keep(now, tmp_path / "case")
            for name in names:
                shutil.copyfile(folder / name, case / name)
            assert read(case) in (None, state), (folder.name, names)
        assert then == state or read(case) is None
        shutil.copyfile(now / "n1.db-seal", folder / "n1.db-seal")


def test_a_kill_between_commit_and_seal_loses_nothing(tmp_path, monkeypatch):
    """The database is ahead of its seal by one turn, by all of it or by a part."""
    replica, random = Replica(tmp_path, Random(2)), Random(4)
    for number in range(30):
        seal_before = (tmp_path / "n1.db-seal").read_bytes()
        replica.turn()
        case, state = keep(tmp_path, tmp_path / "case"), replica.storage.load()
        seal_after = (case / "n1.db-seal").read_bytes()
        words = [slice(at, at + 4) for at in range(16, len(seal_after), 4)]
        for _ in range(2):
            mixed = bytearray(seal_before)
            for word in words:
                if seal_before[word] != seal_after[word] and random.random() < 0.5:
                    mixed[word] = seal_after[word]
            (case / "n1.db-seal").write_bytes(mixed)
            assert read(case) == state, number
        if number % 7 == 6:
            replica.storage._merge("passive")
        if number % 10 == 9:  # the next one starts from what such a death left
            monkeypatch.setattr(seal.Seal, "after_commit", lambda self: None)
            replica.turn()
            monkeypatch.undo()
            state = replica.storage.load()
            case = keep(tmp_path, tmp_path / "case")
            again = Storage(case / "n1.db", "process", OWNER, BALANCES.accounts)
            assert again.found == state
            again.close()
            assert read(case) == state
            replica.storage._seal.after_commit()


class Killed(BaseException):
    """Where SIGKILL would have struck."""


def die_after(steps: int, folder: Path, killed: Path, patch: pytest.MonkeyPatch) -> list[int]:
    """Let whoever works on `folder` die before its next step but so many; returns what is left."""
    left = [steps]

    def counted(function):
        def call(*arguments):
            left[0] -= 1
            if left[0] == -1:
                keep(folder, killed)
                raise Killed
            return function(*arguments)

        return call

    class Connection(storage.sqlite3.Connection):
        def execute(self, *arguments):
            return counted(super().execute)(*arguments)

    def connect(path, **options):
        kind = Connection if path.parent == folder else storage.sqlite3.Connection
        return real(path, factory=kind, **options)

    real = storage.sqlite3.connect
    patch.setattr(storage.sqlite3, "connect", connect)
    for name in ("seal_anew", "expect_new_log", "watch", "after_commit", "flush"):
        patch.setattr(seal.Seal, name, counted(getattr(seal.Seal, name)))
    return left


@pytest.mark.parametrize("durability", ["process", "power"])
def test_a_kill_while_a_file_is_opened_loses_nothing(left, tmp_path, monkeypatch, durability):
    """Between any two steps of opening and closing it, and again in the start after that."""
    files, state = left
    for step in range(40):
        folder, killed = keep(files, tmp_path / "opened"), tmp_path / "killed"
        with monkeypatch.context() as patch, suppress(Killed):
            die_after(step, folder, killed, patch)
            Storage(folder / "n1.db", durability, OWNER, BALANCES.accounts).close()
            return
        assert read(killed) == state, step
        assert Storage(killed / "n1.db", durability, OWNER, BALANCES.accounts).found == state
    raise AssertionError("opening takes more steps than were tried")


def test_a_kill_while_another_program_keeps_the_log_from_being_emptied_loses_nothing(
    left, tmp_path, monkeypatch
):
    files, state = left
    for step in range(40):
        folder, killed = keep(files, tmp_path / "opened"), tmp_path / "killed"
        with closing(storage.sqlite3.connect(folder / "n1.db", isolation_level=None)) as other:
            other.execute("begin")
            other.execute("select * from promise").fetchone()
            opened = None
            with monkeypatch.context() as patch, suppress(Killed):
                left_steps = die_after(step, folder, killed, patch)
                opened = Storage(folder / "n1.db", "process", OWNER, BALANCES.accounts)
                left_steps[0] = -2
            if opened is None:
                assert read(killed) == state, step
                continue
            opened.commit(Persist(Ballot(99, 1), 99, True, [], None, 0, None))
            assert read(keep(folder, killed)) == replace(state, promised=Ballot(99, 1), seen=99)
            opened.close()
            return
    raise AssertionError("opening takes more steps than were tried")


def test_logs_are_never_taken_for_one_another(tmp_path):
    """Each start has a salt of its own, unless it goes on from the log that the last one left."""
    replica, salts = Replica(tmp_path, Random(9)), []
    for _ in range(4):
        salts.append(salt(tmp_path))
        replica.storage.close()
        replica.open()
    steps = {abs(one - other) for one in salts for other in salts if one is not other}
    assert min(steps) > 100, salts  # by chance once in ten million times
    replica.turn()
    Storage(keep(tmp_path, tmp_path / "killed") / "n1.db", "process", OWNER, BALANCES.accounts)
    assert salt(tmp_path / "killed") == (salt(tmp_path) + 1) % (1 << 32)


def salt(folder: Path) -> int:
    return int.from_bytes((folder / "n1.db-wal").read_bytes()[16:20], "big")


@pytest.mark.parametrize("moment", ["ended", "opening"])
def test_an_old_log_beside_a_file_that_has_none_is_refused(tmp_path, monkeypatch, moment):
    """Its frames are valid, and SQLite would put them over newer pages."""
    replica = Replica(tmp_path, Random(9))
    for number in (1, 2, 3):
        promise = Persist(Ballot(number, 1), 9, True, [], None, 0, None)
        replica.storage.commit(promise)
        if number == 2:
            old = keep(tmp_path, tmp_path / "old")
            replica.storage.close()
            replica.open()
    state = replica.storage.load()
    replica.storage.close()
    if moment == "opening":
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(seal.Seal, "watch", lambda self, frames: (_ for _ in ()).throw(Killed))
            replica.open()
    now = keep(tmp_path, tmp_path / "now")
    (now / "n1.db-wal").unlink(missing_ok=True)
    assert read(now) == state
    shutil.copyfile(old / "n1.db-wal", now / "n1.db-wal")
    assert read(now) is None


@pytest.mark.parametrize("seed", range(8))
def test_whatever_the_history_only_its_last_state_is_read(tmp_path, monkeypatch, seed):
    random, replica = Random(seed), Replica(tmp_path, Random(seed))
    monkeypatch.setattr(storage, "_LONG_LOG", random.choice((1, 8, 1000)))
    steps = ["turn"] * 12 + ["tidy"] * 4 + ["kill", "end"]
    for step in random.choices(steps, k=80):
        match step:
            case "turn":
                replica.turn()
            case "tidy":
                replica.storage.tidy()
            case "end":
                replica.storage.close()
                replica.open()
            case _:
                state = replica.storage.load()
                keep(tmp_path, tmp_path / "kept")
                replica.storage.close()
                for name in PARTS.values():
                    shutil.copyfile(tmp_path / "kept" / name, tmp_path / name)
                replica.open()
                assert replica.storage.found == state
    state = replica.storage.load()
    now = keep(tmp_path, tmp_path / "now")
    assert read(now) == state
    for part in PARTS.values():
        content = (now / part).read_bytes()
        for _ in range(8):
            case, place = keep(now, tmp_path / "case"), random.randrange(len(content))
            (case / part).write_bytes(
                random.choice(
                    (
                        content[:place],
                        content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :],
                    )
                )
            )
            assert read(case) in (None, state), (part, place)


def test_a_long_run_and_a_growing_file_stay_sealed(tmp_path, monkeypatch):
    monkeypatch.setattr(seal, "_FIRST_SIZE", 64)  # twelve pages
    replica = Replica(tmp_path, Random(1))
    request = ("A", 1, "transfer", "A", "B", 1)
    run = Run(1, Ballot(1, 1), [request] * 12000)
    replica.storage.commit(Persist(run.ballot, 9, True, [run], None, 0, None))
    replica.turn()
    assert len((tmp_path / "n1.db-seal").read_bytes()) >= 4 * 128
    state = replica.storage.load()
    assert len(state.entries) >= 12000
    assert read(tmp_path) == state
    replica.storage.close()
    replica.open()
    assert replica.storage.found == state


def test_a_kill_after_a_commit_longer_than_the_log_is_kept_loses_nothing(tmp_path, monkeypatch):
    """And only `tidy` lets the log begin anew: under `power` the seal has to be flushed before."""
    replica = Replica(tmp_path, Random(1))
    replica.turn()
    monkeypatch.setattr(seal.Seal, "after_commit", lambda self: None)
    request = ("A" * 2000, 1, "transfer", "A", "B", 1)  # a page
    run = Run(1, Ballot(9, 1), [request] * 1_100)
    replica.storage.commit(Persist(run.ballot, 9, True, [run], None, 0, None))
    killed = keep(tmp_path, tmp_path / "killed")
    assert (killed / "n1.db-wal").stat().st_size > storage._LONG_LOG * seal.PAGE_BYTES
    found = read(killed)
    assert found is not None and len(found.entries) == 1_100
    monkeypatch.undo()
    replica.turn()
    replica.storage._seal.after_commit()
    assert replica.storage._seal.frames > storage._LONG_LOG


def test_the_log_is_merged_before_it_is_long(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "_LONG_LOG", 10)
    replica = Replica(tmp_path, Random(1))
    for _ in range(60):
        replica.turn()
        replica.storage.tidy()
    assert (tmp_path / "n1.db-wal").stat().st_size < 30 * seal.PAGE_BYTES


def test_other_programs_may_look(tmp_path):
    """Somebody else's connection, open while the log is merged or the last to close: no harm."""
    replica = Replica(tmp_path, Random(6))
    other = storage.sqlite3.connect(tmp_path / "n1.db", isolation_level=None)
    other.execute("begin")
    assert other.execute("select count(*) from log").fetchone()
    for _ in range(5):
        replica.turn()
    replica.storage._merge("passive")
    replica.turn()
    other.execute("commit")
    replica.storage._merge("passive")
    replica.turn()
    other.close()
    state, killed = replica.storage.load(), keep(tmp_path, tmp_path / "killed")
    assert read(killed) == state
    storage.sqlite3.connect(killed / "n1.db").execute("select * from promise").connection.close()
    assert not (killed / "n1.db-wal").exists()
    assert read(killed) == state


def test_a_log_begins_anew_although_it_is_read_all_the_time(tmp_path):
    replica = Replica(tmp_path, Random(2))
    for _ in range(3):
        for _ in range(4):
            replica.turn()
        assert replica.storage._merge("passive")[0] == 0
        frames = replica.storage._seal.frames
        replica.turn()
        assert replica.storage._seal.frames < frames


def test_a_turn_is_written_although_another_program_wrote(tmp_path):
    """What it read before is not the newest any more: SQLite refuses to write on that ground."""
    replica = Replica(tmp_path, Random(3))
    for slot in (1, 2):
        with closing(storage.sqlite3.connect(tmp_path / "n1.db")) as other, other:
            other.execute("create table if not exists note(text)")
        run = Run(slot, Ballot(9, 1), [("A", slot, "transfer", "A", "B", 1)])
        more = slot == 2  # in one statement, and in several
        replica.storage.commit(Persist(run.ballot, 9, more, [run], None, 0, slot if more else None))
    assert [entry[0] for entry in replica.storage.load().entries] == [1, 2]


def test_a_change_by_hand_is_refused_and_left_as_it_is(tmp_path):
    replica = Replica(tmp_path, Random(6))
    replica.turn()
    replica.storage.close()
    with storage.sqlite3.connect(tmp_path / "n1.db") as db:
        db.execute("update promise set ballot_number = 0, ballot_replica = 0")
    db.close()
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(StorageError, match=r"n1\.db: page \d+ is not as this replica wrote it"):
        Storage(tmp_path / "n1.db", "process", OWNER, BALANCES.accounts)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert read_copy(tmp_path / "n1.db", BALANCES.accounts) is not None  # people may still look


@pytest.mark.parametrize("name", ["n1.db", "n1.db-seal"])
def test_a_lost_file_is_refused(tmp_path, name):
    Storage.create(tmp_path / "n1.db", BALANCES, OWNER)
    (tmp_path / name).unlink()
    with pytest.raises(StorageError, match=f"{name}: the file is gone, and with it"):
        Storage(tmp_path / "n1.db", "process", OWNER, BALANCES.accounts)


def test_under_power_new_files_and_their_names_are_on_the_disk(tmp_path, monkeypatch):
    synced = set()

    def fsync(descriptor):
        synced.add(
            os.readlink(f"/proc/self/fd/{descriptor}") if os.path.isdir("/proc/self") else ""
        )
        return real(descriptor)

    real = os.fsync
    monkeypatch.setattr(durable.os, "fsync", fsync)
    files = {number: tmp_path / f"n{number}.db" for number in (1, 2, 3)}
    create_all(files, BALANCES, "0123", "process")
    assert not synced
    create_all({n: tmp_path / f"m{n}.db" for n in files}, BALANCES, "0123", "power")
    if os.path.isdir("/proc/self"):
        names = {f"m{number}.db{suffix}" for number in files for suffix in ("", "-seal")}
        assert synced == {str(tmp_path / name) for name in names} | {str(tmp_path)}


def test_after_a_loss_of_power_the_seal_may_be_old(tmp_path, monkeypatch):
    """What the disk kept of it is what was flushed last, or newer: enough under `power`."""
    flushed, flush = [], seal.Seal.flush

    def flush_noted(self):
        flush(self)
        flushed[:] = [(tmp_path / "n1.db-seal").read_bytes()]

    monkeypatch.setattr(seal.Seal, "flush", flush_noted)
    monkeypatch.setattr(storage, "_LONG_LOG", 6)
    replica = Replica(tmp_path, Random(3))
    replica.storage.close()
    replica.storage = Storage(tmp_path / "n1.db", "power", OWNER, BALANCES.accounts)
    for _ in range(30):
        replica.turn()
        case = keep(tmp_path, tmp_path / "case")
        (case / "n1.db-seal").write_bytes(flushed[0])
        assert read(case) == replica.storage.load()
        replica.storage.tidy()
