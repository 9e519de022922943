"""What must hold in a replica's process, in whatever order its parts are called, and of its file.

Each check is a function of a folder: it drives one real worker or file in this process, with its
queues in the check's hands, and raises AssertionError when the statement in its name does not hold.
`tests/test_live_checks.py` runs them on the sound code and on mutants of `catalogue/processes.txt`.
"""

import ctypes
import os
import platform
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import count
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from conductor import altered, stored_whole, take

from bank.accounts import Balances
from bank.ballot import Ballot
from bank.checkpoint import Checkpoint
from bank.effects import Persist, Run, Stored
from bank.messages import Accept, Accepted, Heartbeat, Message, PeerDown, Prepare, Promise
from bank.sessions import Machine
from bank.settings import Settings
from bank.status import Role
from harness.cluster import wire
from harness.live import protocol, waiting
from harness.live import worker as workers
from harness.live.queues import ControlEnd, FrameReader, Incoming, Outgoing, framed
from harness.live.storage import DiskError, Owner, Storage, StorageError, read_copy
from harness.sim.disk import Disk
from harness.sim.scenario import SwarmOptions, draw
from harness.sim.swarm import run_seed

BALANCES = Balances.of({"A": 10, "B": 10})
OWNER = Owner("n1", "test")
TRANSFER = ("A", 1, "transfer", "A", "B", 3)
SYNCS = {"x86_64": (74, 75), "aarch64": (82, 83)}  # fsync and fdatasync among the system calls
CAN_REFUSE_SYNCS = os.uname().sysname == "Linux" and platform.machine() in SYNCS

Check = Callable[[Path], None]
CHECKS: dict[str, Check] = {}


def check(function: Check) -> Check:
    """Puts it among those that are run on everything."""
    CHECKS[function.__name__] = function
    return function


@contextmanager
def patched(owner: Any, name: str, broken: Any) -> Iterator[None]:
    """`owner.name` is `broken` for a while."""
    sound = getattr(owner, name)
    setattr(owner, name, broken)
    try:
        yield
    finally:
        setattr(owner, name, sound)


class Held:
    """A worker for n1 of three replicas with a file, and the ends of its queues."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "n1.db"
        Storage.create(self.file, BALANCES, OWNER)
        peers: dict[int, Any] = {}
        self.from_worker: dict[int, Incoming] = {}
        self.to_worker: dict[int, Outgoing] = {}
        for peer in (2, 3):
            reading, ours_out = Pipe(duplex=False)
            ours_in, writing = Pipe(duplex=False)
            peers[peer] = (0, reading, writing)
            self.from_worker[peer] = Incoming(ours_in)
            self.to_worker[peer] = Outgoing(ours_out, 1 << 20)
        ours, theirs = Pipe(duplex=True)
        self.harness, self._control = ControlEnd(ours), ControlEnd(theirs)
        spec = workers.WorkerSpec(
            replica=1,
            replicas=3,
            incarnation=0,
            resumed=False,
            settings=Settings(),
            balances=BALANCES,
            seed=0,
            file=self.file,
            cluster=OWNER.cluster,
            lock=None,
            durability="process",
            queue_limit=1 << 20,
            traced=False,
            links=[],
            control=theirs,
            peers=peers,
            clients=[],
        )
        self.worker = workers.Worker(spec, self._control)
        self.replica = self.worker._replica

    def send(self, peer: int, message: Message) -> None:
        """From this peer."""
        self.to_worker[peer].send(framed(wire.encode(message)))

    def turn(self) -> None:
        """One turn of the worker, as its loop takes them."""
        self.worker._wait()
        self.worker._turn()
        self.worker._inbox.clear()

    def said(self, peer: int) -> list[Message]:
        """What it sent to this peer since the last look."""
        return [wire.from_plain(plain) for plain in self.from_worker[peer].read()]

    def close(self) -> None:
        """Give everything back."""
        ends = (*self.from_worker.values(), *self.to_worker.values(), self.harness, self._control)
        for end in (*ends, *self.worker._readers.values(), *self.worker._writers.values()):
            end.close()
        with suppress(OSError):
            self.worker._storage.close()  # unless the worker did


@contextmanager
def held(folder: Path) -> Iterator[Held]:
    """One, until the end of the block."""
    one = Held(folder)
    try:
        yield one
    finally:
        one.close()


# ---- a turn --------------------------------------------------------------------------------------


def _is_backed(message: Message, stored: Stored) -> bool:
    """True when what the message says of its sender's disk is there."""
    if isinstance(message, Prepare | Promise | Accepted) and stored.promised < message.ballot:
        return False
    if isinstance(message, Accepted):
        rows = {slot: ballot for slot, ballot, _ in stored.entries}
        claimed = range(message.first_slot, message.last_slot + 1)
        return all(rows.get(slot) == message.ballot for slot in claimed)
    return True


@check
def what_speaks_of_the_disk_leaves_after_the_commit(folder: Path) -> None:
    """The file is read by somebody else at the moment at which a message enters a queue."""
    left: list[str] = []
    send = Outgoing.send

    def looked_at(self: Outgoing, frame: bytes) -> None:
        for message in map(wire.from_plain, FrameReader().feed(frame)):
            left.append(message.LABEL)
            stored = read_copy(n1.file, BALANCES.accounts)
            assert _is_backed(message, stored), f"{message} left with {stored.promised} on disk"
        send(self, frame)

    with held(folder) as n1, patched(Outgoing, "send", looked_at):
        for message in (Prepare(Ballot(5, 2), 0), Accept(Ballot(6, 2), 1, (TRANSFER,), 0)):
            send(n1.to_worker[2], framed(wire.encode(message)))  # unwatched
            n1.turn()
        n1.harness.send((protocol.SEEK,))
        n1.to_worker[2].close()  # the leader dies, so n1 stands
        while "PREPARE" not in left:
            n1.turn()
    assert {"ACK", "ACCEPTED", "PREPARE"} <= set(left)


@check
def nothing_durable_leaves_when_the_write_fails(folder: Path) -> None:
    def fails(self: Storage, persist: Persist) -> None:
        raise DiskError(f"{self._path}: database or disk is full")

    with held(folder) as n1, patched(Storage, "commit", fails):
        n1.send(2, Prepare(Ballot(5, 2), 0))
        n1.worker.run()
        assert not [m for m in n1.said(2) if isinstance(m, Promise)], "an ACK left"
        told = n1.harness.read()
        assert (protocol.FAILED, f"{n1.file}: database or disk is full") in told, told


@contextmanager
def _clock(sleeps: list[int]) -> Iterator[list[int]]:
    """A clock that goes on while the worker waits, and at no other time: by `sleeps`, in turn."""
    time, sleep = [1_000_000], waiting.Waiter.sleep

    def wakes(self: waiting.Waiter, timeout_us: int | None) -> None:
        time[0] += sleeps.pop(0)
        sleep(self, 0)

    with (
        patched(workers, "now", lambda: time[0]),
        patched(waiting.Waiter, "serve", lambda _: False),  # all comes while it waits
        patched(waiting.Waiter, "sleep", wakes),
    ):
        yield time


@check
def who_overslept_reads_its_queues_before_it_takes_silence_for_death(folder: Path) -> None:
    sleeps: list[int] = []
    with _clock(sleeps) as time, held(folder) as n1:
        for _ in range(3):
            n1.send(2, Heartbeat(Ballot(1, 2), 1, 0, 0))
            due = n1.replica.deadline()
            sleeps.append(0 if n1.replica.following.number == 0 else due + 1_000 - time[0])
            n1.turn()
            assert not [m for m in n1.said(3) if isinstance(m, Prepare)], "it stood"
            assert n1.replica.role is Role.FOLLOWER
            assert n1.replica.following == Ballot(1, 2)


@check
def what_is_due_when_the_wait_ends_is_done_in_that_turn(folder: Path) -> None:
    sleeps = [0]
    with _clock(sleeps) as time, held(folder) as n1:
        n1.send(2, Heartbeat(Ballot(1, 2), 1, 0, 0))
        n1.turn()
        sleeps.append(n1.replica.deadline() - time[0])
        n1.turn()
        assert [type(m) for m in n1.said(3)] == [Prepare], "its time-out is over, and it waits on"


@check
def last_words_are_read_before_their_senders_death(folder: Path) -> None:
    for replaced in (False, True):
        where = folder / ("replaced" if replaced else "closed")
        where.mkdir()
        with held(where) as n1:
            read: list[Any] = []
            step = n1.replica.step

            def noted(source: int, message: Message, now: int, step=step, read=read) -> None:
                read.append(type(message))
                step(source, message, now)

            n1.replica.step = noted  # type: ignore[method-assign]
            n1.send(2, Prepare(Ballot(5, 2), 0))
            n1.to_worker[2].close()
            if replaced:
                reading, ours_out = Pipe(duplex=False)
                ours_in, writing = Pipe(duplex=False)
                word = (protocol.PEER, 2, 1)
                n1.harness.send(word, (reading.fileno(), writing.fileno()))
                reading.close()
                writing.close()
            for _ in range(5):
                if PeerDown in read:
                    break
                n1.turn()
            assert read == [Prepare, PeerDown], read
            if replaced:
                ours_out.close()
                ours_in.close()


# ---- the file ------------------------------------------------------------------------------------


def persist(**changes: Any) -> Persist:
    """A transaction."""
    ballot = changes.get("promised", Ballot(3, 2))
    plain = Persist(ballot, ballot.number, True, [], None, 0, None)
    return replace(plain, **changes)


def refuse_syncs() -> None:
    """From now on the kernel answers fsync and fdatasync of this process with EIO; no way back.

    A filter of system calls (seccomp, which needs no privilege): the number of the call is loaded,
    compared with the two, and answered.
    """
    numbers = SYNCS[platform.machine()]
    load, equal, answer = 0x20, 0x15, 0x06
    allow, fail = 0x7FFF0000, 0x00050000 | 5
    program = [(load, 0, 0, 0)]
    program += [(equal, len(numbers) - i, 0, number) for i, number in enumerate(numbers)]
    program += [(answer, 0, 0, allow), (answer, 0, 0, fail)]
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    kept = ctypes.create_string_buffer(code, len(code))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))

    libc = ctypes.CDLL(None, use_errno=True)
    filtered = Program(len(program), ctypes.addressof(kept))
    for words in ((38, 1, 0, 0, 0), (22, 2, ctypes.byref(filtered), 0, 0)):
        if libc.prctl(*words) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


def _commits_without_syncs(folder: Path, durability: str) -> bool:
    """Whether a commit succeeds in a process whose syncs all fail."""
    file = folder / f"{durability}.db"
    Storage.create(file, BALANCES, OWNER)
    with warnings.catch_warnings():  # of a second thread, which is the test runner's
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        code = 2
        try:
            storage = Storage(file, durability, OWNER, BALANCES.accounts)
            storage.commit(persist())  # the first write into a new write-ahead log is always synced
            refuse_syncs()
            try:
                storage.commit(persist(promised=Ballot(4, 1)))
                code = 0
            except StorageError:
                code = 1
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, 1), f"exit {code}"
    return code == 0


@check
def under_power_a_commit_is_not_done_before_the_disk_has_it(folder: Path) -> None:
    if not CAN_REFUSE_SYNCS:
        return
    assert _commits_without_syncs(folder, "process"), "`process` waits for the disk"
    assert not _commits_without_syncs(folder, "power"), "`power` does not wait for the disk"


def _plain(stored: Stored) -> Stored:
    """Without what has no order."""
    checkpoint, entries = stored.checkpoint, tuple((s, b, tuple(r)) for s, b, r in stored.entries)
    if checkpoint is not None:
        checkpoint = altered(checkpoint, sessions=tuple(sorted(checkpoint.sessions)))
    return replace(stored, entries=entries, checkpoint=checkpoint)


@check
def the_file_holds_what_the_simulated_disk_holds(folder: Path) -> None:
    """After every transaction of so many seeds as it takes to meet what a file can be told."""
    reached: set[str] = set()
    for seed in count(221):  # from one on whose pages are small
        if reached == {"taken", "in slices", "truncated"}:
            break
        written: dict[Disk, list[Persist]] = {}
        commit = Disk.commit

        def noted(self: Disk, persist: Persist, written=written, commit=commit) -> None:
            written.setdefault(self, []).append(persist)
            commit(self, persist)

        options = SwarmOptions(nodes=(3,), faults=("loss", "kill", "cut"))
        with patched(Disk, "commit", noted):
            assert run_seed(seed, options).violation is None
        for number, persists in enumerate(written.values()):
            scenario = draw(seed, options)
            page_accounts = scenario.rules.sizes.page_accounts
            balances = Balances.of(scenario.config.balances(), page_accounts)
            file, disk = folder / f"{seed}-{number}.db", Disk(balances.pages)
            Storage.create(file, balances, OWNER)
            storage = Storage(file, "process", OWNER, balances.accounts)
            for one in persists:
                storage.commit(one)
                disk.commit(one)
                disk.sync()
                if one.pages is not None and one.checkpoint is None:
                    reached.add("in slices")
                if one.checkpoint is not None:
                    reached.add("taken")
                if one.truncated_upto:
                    reached.add("truncated")
                assert _plain(storage.load()) == _plain(disk.stored()), f"after {one}"
            storage.close()


def _checkpoints() -> tuple[Checkpoint, Checkpoint]:
    machine = Machine(BALANCES)
    machine.execute(1, [TRANSFER])
    first = take(1, "ab" * 32, machine)
    machine.execute(2, [("B", 1, "transfer", "B", "A", 1)])
    return first, take(2, "cd" * 32, machine)


@check
def a_checkpoint_is_written_with_all_of_its_turn_or_not_at_all(folder: Path) -> None:
    first, second = _checkpoints()
    broken = altered(second, sessions=(*second.sessions[:-1], ("B", 1, object(), 2)))
    runs = [Run(1, Ballot(3, 2), (TRANSFER, TRANSFER))]
    for dies in (False, True):
        file = folder / f"{dies}.db"
        Storage.create(file, BALANCES, OWNER)
        storage = Storage(file, "process", OWNER, BALANCES.accounts)
        storage.commit(persist(runs=runs, **stored_whole(first), committed_upto=1))
        before = storage.load()
        if dies:  # in the middle of the transaction
            storage.write_only(persist(**stored_whole(second), truncated_upto=1, committed_upto=2))
        else:
            try:
                storage.commit(persist(**stored_whole(broken), truncated_upto=1, committed_upto=2))
            except StorageError:
                pass
            else:
                raise AssertionError("a row that is none was written")
        assert read_copy(file, BALANCES.accounts) == before, "half of it is there"
        storage.close()
