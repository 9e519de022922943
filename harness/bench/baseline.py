"""What the same traffic costs with no protocol behind it: the floor to hold a benchmark against.

One leader and its backups append what arrives to SQLite, one row per request and one transaction
per turn, and count who has it; clients send the next request when they are answered. No ballots,
elections, time-outs, repair or checks: the bytes, writes and wake-ups of a replicated bank only.
It reads nothing but what its own processes wrote, so it does not pay for `wire`'s safe unpickling.
"""

import os
import pickle
import signal
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from harness.bench.load import bucket_of, load_processes, summed
from harness.cluster import ctrl_c
from harness.errors import EXIT_MACHINE, HarnessError
from harness.files.temporary import TemporaryFolder
from harness.live import process

Plan = tuple[Callable[..., None], tuple[Any, ...]]  # what a process does
Row = tuple[int, int, tuple[str, str, int]]  # client, timestamp, transfer
STARTING_BALANCE = 10**9
HOPS = 3000  # round trips measured


@dataclass(frozen=True)
class FloorFigures:
    """One run of the floor."""

    answered: int
    seconds: float
    histogram: dict[int, int]  # by `load.bucket_of` microseconds


class _Log:
    """The rows of one process."""

    def __init__(self, path: Path, durability: str) -> None:
        self._db: sqlite3.Connection | None = None
        if durability != "memory":
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("pragma journal_mode=wal")
            synchronous = "full" if durability == "power" else "normal"
            self._db.execute(f"pragma synchronous={synchronous}")
            self._db.execute(
                "create table log(slot integer primary key, number int, replica int, client int,"
                " timestamp int, sender text, receiver text, amount int)"
            )

    def append(self, first: int, rows: Sequence[Row]) -> None:
        """One transaction."""
        if self._db is None:
            return
        self._db.execute("begin")
        self._db.executemany(
            "insert or replace into log values(?,1,1,?,?,?,?,?)",
            [(first + i, client, at, *what) for i, (client, at, what) in enumerate(rows)],
        )
        self._db.execute("commit")


class _Bank:
    """Balances and the last answer per client."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._executed = 0
        self._balances = dict.fromkeys("ABCDEFGHIJ", STARTING_BALANCE)
        self._answers: dict[int, tuple[int, bool]] = {}

    def execute(self, upto: int) -> list[tuple[int, int, bool]]:
        """Everything up to that row that was not executed yet."""
        balances, answers, done = self._balances, self._answers, []
        for client, at, (sender, receiver, amount) in self.rows[self._executed : upto]:
            result = balances[sender] >= amount
            if result:
                balances[sender] -= amount
                balances[receiver] += amount
            answers[client] = (at, result)
            done.append((client, at, result))
        self._executed = max(upto, self._executed)
        return done

    @property
    def executed(self) -> int:
        """How many rows were."""
        return self._executed


def _backup(path: Path, durability: str, inbox: Connection, outbox: Connection) -> None:
    bank, log = _Bank(), _Log(path, durability)
    while frame := inbox.recv_bytes():
        first, rows, committed = pickle.loads(frame)
        bank.rows.extend(rows)
        log.append(first, rows)
        outbox.send_bytes(len(bank.rows).to_bytes(8, "little"))
        bank.execute(min(committed, len(bank.rows)))


def _leader(
    path: Path,
    durability: str,
    clients: list[tuple[Connection, Connection]],
    backups: list[tuple[Connection, Connection]],
) -> None:
    bank, log = _Bank(), _Log(path, durability)
    to_clients = [writing for _, writing in clients]
    stored = {reading: 0 for reading, _ in backups}
    open_clients = {reading for reading, _ in clients}
    needed = (len(backups) + 1) // 2
    while open_clients:
        rows: list[Row] = []
        for ready in connection.wait([*open_clients, *stored]):
            assert isinstance(ready, Connection)
            frame = ready.recv_bytes()
            if ready in stored:
                stored[ready] = int.from_bytes(frame, "little")
            elif frame:
                rows += pickle.loads(frame)
            else:
                open_clients.discard(ready)
        upto = sorted(stored.values(), reverse=True)[needed - 1]
        if upto > bank.executed:
            answers: dict[int, list[Any]] = {}
            for answer in bank.execute(upto):
                answers.setdefault(answer[0] % len(to_clients), []).append(answer)
            for index, part in answers.items():
                to_clients[index].send_bytes(pickle.dumps(part))
        if rows:
            first = len(bank.rows)
            bank.rows.extend(rows)
            frame = pickle.dumps((first, rows, bank.executed))
            for _, writing in backups:
                writing.send_bytes(frame)
            log.append(first, rows)
    for _, writing in backups:
        writing.send_bytes(b"")


def _load(
    clients: list[int], seconds: float, outbox: Connection, inbox: Connection, told: Connection
) -> None:
    what, histogram = ("A", "B", 1), dict[int, int]()
    # One request goes round before the clock starts: nobody's start-up counts.
    outbox.send_bytes(pickle.dumps([(clients[0], 0, what)]))
    inbox.recv_bytes()
    started = time.perf_counter_ns() // 1000
    stop = started + int(seconds * 1e6)
    sent = dict.fromkeys(clients, started)
    outbox.send_bytes(pickle.dumps([(client, 1, what) for client in clients]))
    waiting, answered = len(clients), 0
    while waiting:
        answers = pickle.loads(inbox.recv_bytes())
        now, again = time.perf_counter_ns() // 1000, []
        for client, at, _ in answers:
            bucket = bucket_of(now - sent[client])
            histogram[bucket] = histogram.get(bucket, 0) + 1
            if now < stop:
                sent[client] = now
                again.append((client, at + 1, what))
            else:
                waiting -= 1
        answered += len(answers)
        if again:
            outbox.send_bytes(pickle.dumps(again))
    took = (time.perf_counter_ns() // 1000 - started) / 1e6
    outbox.send_bytes(b"")
    told.send_bytes(pickle.dumps((answered, took, histogram)))


def _to_its_end(words: Connection, target: Callable[..., None], *arguments: Any) -> None:
    """Without a word when those that it speaks to are through first, or gone with the harness.

    `words` are for what a disk does not take.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        target(*arguments)
    except (EOFError, ConnectionError):
        pass
    except (OSError, sqlite3.Error) as error:
        words.send(str(error))
        os._exit(EXIT_MACHINE)
    os._exit(0)


class _Crew:
    """Processes that wait for each other: where one ends too early, all do."""

    def __init__(
        self, plans: list[Plan], ends: list[Connection], guard: process.Guard | None = None
    ) -> None:
        """Start them, then close our copies of their ends.

        `guard` is for them alone: it ends those that are left if `end` is never reached.
        """
        self._guard = guard
        self._words: dict[ForkServerProcess, Connection] = {}
        with ctrl_c.afterwards():
            for target, arguments in plans:
                reading, writing = process.pipe()
                one = process.start(_to_its_end, writing, target, *arguments)
                writing.close()
                self._words[one] = reading
                if guard is not None:
                    guard.add(one)
            for end in ends:
                end.close()

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Inside, something is said to them or heard; HarnessError with EXIT_MACHINE if they end
        instead."""
        try:
            yield
        except (EOFError, ConnectionError) as error:
            for one in self._words:
                one.join(process.KERNEL_SECONDS)
            told = self._trouble()
            self.end()
            raise HarnessError(told, exit_code=EXIT_MACHINE) from error

    def _trouble(self) -> str:
        """Of the one that ended first: the others, which miss it, end with exit code 0."""
        for one, words in self._words.items():
            if code := one.exitcode:
                with suppress(EOFError):
                    return f"the floor's files in {tempfile.gettempdir()}: {words.recv()}"
                return f"a process of the floor {process.ending(code)}"
        return "a process of the floor ended by itself"

    def end(self) -> None:
        """Wait for those that are through, and end the others."""
        for one, words in self._words.items():
            one.join(2)
            process.kill(one)
            one.close()
            words.close()
        if self._guard is not None:
            self._guard.dismiss()


def run(
    clients: int,
    seconds: float,
    durability: str,
    replicas: int,
    each: Callable[[], None] = lambda: None,
) -> FloorFigures:
    """Closed-loop clients for so long, in as many processes as a benchmark has.

    `each` is called ten times a second.
    """
    with closing(TemporaryFolder("floor-")) as folder:
        guard, loads = process.Guard(str(folder.path)), load_processes(clients)
        return _run(clients, loads, seconds, durability, replicas, folder.path, guard, each)


def _run(
    clients: int,
    loads: int,
    seconds: float,
    durability: str,
    replicas: int,
    folder: Path,
    guard: process.Guard,
    each: Callable[[], None],
) -> FloorFigures:
    from_loads, to_loads, to_backups, from_backups, told = (
        [process.pipe() for _ in range(count)]
        for count in (loads, loads, replicas - 1, replicas - 1, loads)
    )
    plans: list[Plan] = [
        (_backup, (folder / f"floor-{i}.db", durability, to_backups[i][0], from_backups[i][1]))
        for i in range(replicas - 1)
    ]
    with_clients = [(from_loads[i][0], to_loads[i][1]) for i in range(loads)]
    with_backups = [(from_backups[i][0], to_backups[i][1]) for i in range(replicas - 1)]
    plans.append((_leader, (folder / "floor.db", durability, with_clients, with_backups)))
    for i in range(loads):
        mine = list(range(i, clients, loads))
        plans.append((_load, (mine, seconds, from_loads[i][1], to_loads[i][0], told[i][1])))
    pairs = [*from_loads, *to_loads, *to_backups, *from_backups]
    ends = [end for pair in pairs for end in pair] + [writing for _, writing in told]
    crew = _Crew(plans, ends, guard)
    answers = []
    for reading, _ in told:
        while not reading.poll(0.1):
            each()
        with crew.heard():
            answers.append(pickle.loads(reading.recv_bytes()))
    crew.end()
    histogram = summed(part for _, _, part in answers)
    return FloorFigures(sum(a[0] for a in answers), max(a[1] for a in answers), histogram)


def _echo_backup(inbox: Connection, outbox: Connection) -> None:
    while frame := inbox.recv_bytes():
        outbox.send_bytes(frame)


def _echo_leader(
    inbox: Connection, outbox: Connection, backups: list[tuple[Connection, Connection]]
) -> None:
    readers = [reading for reading, _ in backups]
    needed = (len(backups) + 1) // 2
    while frame := inbox.recv_bytes():
        for _, writing in backups:
            writing.send_bytes(frame)
        answered = 0
        while answered < len(backups):
            before = answered
            for ready in connection.wait(readers):
                assert isinstance(ready, Connection)
                ready.recv_bytes()
                answered += 1
            if before < needed <= answered:
                outbox.send_bytes(frame)
    for _, writing in backups:
        writing.send_bytes(b"")


def four_hops(replicas: int) -> list[int]:
    """Microseconds of bare round trips: client, leader, majority of backups, leader, client."""
    request, reply = process.pipe(), process.pipe()
    to_backups = [process.pipe() for _ in range(replicas - 1)]
    from_backups = [process.pipe() for _ in range(replicas - 1)]
    with_backups = [(from_backups[i][0], to_backups[i][1]) for i in range(replicas - 1)]
    plans: list[Plan] = [
        (_echo_backup, (to_backups[i][0], from_backups[i][1])) for i in range(replicas - 1)
    ]
    plans.append((_echo_leader, (request[0], reply[1], with_backups)))
    ends = [end for pair in (*to_backups, *from_backups) for end in pair]
    crew = _Crew(plans, [*ends, request[0], reply[1]])
    frame, trips = pickle.dumps(("ACCEPT", (1, 1), 5, ("A", "B", 3, 1))), []
    with crew.heard():
        for _ in range(HOPS):
            start = time.perf_counter_ns()
            request[1].send_bytes(frame)
            reply[0].recv_bytes()
            trips.append((time.perf_counter_ns() - start) // 1000)
        request[1].send_bytes(b"")
    crew.end()
    return sorted(trips)
