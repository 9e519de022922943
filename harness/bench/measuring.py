"""A fleet under closed-loop load: measured, failed under load, and checked to the last transfer.

No trace and no history are kept, so a run may be of any length. What it is judged by instead:
load processes keep, per account, the sum of what was acknowledged, and per client the last
timestamp. Every replica must hold exactly these sums and timestamps, and the same running hash.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from bank.accounts import Balances, pages_of
from bank.ballot import Ballot, ReplicaId, replica_name
from bank.quorum import quorum_size
from bank.status import ReplicaStatus, Role
from harness.bench import load
from harness.bench.outage import FirstAnswer, Outage, Turn, outage
from harness.check.verdict import Judgement, judge
from harness.cluster.journal import Liveness
from harness.errors import EXIT_INVALID, EXIT_MACHINE, HarnessError
from harness.files.config import ClusterConfig
from harness.files.temporary import TemporaryFolder
from harness.live import protocol, worker
from harness.live.fleet import Fleet
from harness.live.loads import LoadHandle
from harness.live.silence import LOOK_US
from harness.live.spec import Disks
from harness.live.storage import StorageError, create_all
from harness.live.usage import Usage, bytes_on_disk, usage_of

LARGEST_AMOUNT = 5
ANSWER_SECONDS = 20.0  # for what a running cluster does at once
SETTLE_US = 20_000_000  # for replicas to become equal at the end


@dataclass(frozen=True, slots=True)
class Window:
    """What was measured between two instants."""

    answered: int
    seconds: float
    histogram: dict[int, int]  # by `load.bucket_of` microseconds
    retries: int
    cpu_seconds: dict[str, float]  # by process: n1.., load 0..
    resident_bytes: dict[str, int]  # at its end
    leader: ReplicaId | None
    largest_us: int = 0
    queue_bytes: int = 0  # written by all processes together
    disk_bytes: int | None = None  # written by all replicas together; None where nobody counts

    @property
    def throughput(self) -> float:
        """Answers a second."""
        return self.answered / self.seconds

    def percentile_ms(self, share: float) -> float:
        """The latency that this share of the answers did not exceed, within 5 %, mostly 1 %."""
        return percentile(self.histogram, share) / 1000


def percentile(histogram: dict[int, int], share: float) -> int:
    """Microseconds: where `share` of all counts is reached, as if a bucket's were spread evenly."""
    wanted, seen = share * sum(histogram.values()), 0
    for bucket in sorted(histogram):
        count = histogram[bucket]
        if seen + count >= wanted:
            low, high = load.lower_bound(bucket), load.lower_bound(bucket + 1)
            return low + int((high - low) * (wanted - seen) / count)
        seen += count
    return 0


def largest(histogram: dict[int, int]) -> int:
    """Microseconds: what no count of it is above."""
    return load.lower_bound(max(histogram) + 1) if histogram else 0


@dataclass
class _Told:
    """What a load process said last."""

    answered: int = 0
    histogram: dict[int, int] = field(default_factory=dict)
    retries: int = 0
    written: int = 0  # bytes


class LoadedFleet:
    """Start, go, measure, fail, finish, judge. One use."""

    def __init__(self, config: ClusterConfig, clients: int, skew: float = 0.0) -> None:
        self._config, self._balances = config, config.balances()
        self._clients = clients
        self._skew = skew
        self._temporary = TemporaryFolder("bench-")
        self._folder = self._temporary.path
        self._sums: dict[str, int] = {}
        self._timestamps: dict[str, int] = {}
        self._turns: list[Turn] = []  # changes of leadership since the last failure
        self.start_us = 0  # until every replica was ready; known once it runs
        replicas = range(1, config.nodes + 1)
        keeps = config.durability != "memory"
        files = {r: self._folder / f"{replica_name(r)}.db" for r in replicas}
        try:
            if keeps:
                create_all(files, self._balances, self._folder.name, config.durability)
        except StorageError as error:
            self._temporary.close()
            raise HarnessError(str(error), exit_code=EXIT_MACHINE) from error
        disks = Disks({r: files[r] if keeps else None for r in replicas}, self._folder.name)
        self.fleet = Fleet(config, disks, traced=False, listener=self)
        self.fleet.loads = [LoadHandle() for _ in range(load.load_processes(clients))]

    def on_reply(self, replica: ReplicaId, plain: Any) -> None:
        """The harness itself asks for nothing here."""

    def on_turn(self, replica: ReplicaId, executed: list[Any], lines: list[Any]) -> None:
        """Only a change of leadership is told."""
        if not lines:  # else the harness noted what it did itself
            handle = self.fleet.handles[replica]
            progress = handle.progress
            turn = Turn(handle.told_at, replica, progress.role, Ballot(*progress.ballot))
            self._turns.append(turn)

    def on_lost(self, replica: ReplicaId) -> None:
        """Load processes notice by themselves."""

    # ---- life ----------------------------------------------------------------------------------

    @contextmanager
    def running(self) -> Iterator[None]:
        """Started, and stopped whatever happens."""
        try:
            began = worker.now()
            self.fleet.start(str(self._folder))
            self.start_us = worker.now() - began
            self._start_loads()
            yield
        finally:
            try:
                self.fleet.stop()
            finally:
                self._temporary.close()

    def _start_loads(self) -> None:
        shares = len(self.fleet.loads)
        first = 0
        for index, handle in enumerate(self.fleet.loads):
            clients = self._clients // shares + (1 if index < self._clients % shares else 0)

            def spec(control: Any, i: int = index, n: int = clients, f: int = first) -> Any:
                return load.LoadSpec(
                    index=i,
                    clients=n,
                    first_client=f,
                    accounts=self._config.accounts,
                    skew=self._skew,
                    largest_amount=LARGEST_AMOUNT,
                    timeout_us=self._config.client_timeout_ms * 1000,
                    seed=self._config.seed or 0,
                    queue_limit=self._config.queue_buffer_kib * 1024,
                    control=control,
                    peers=self.fleet.loads[i].peers,
                )

            self.fleet.start_load(handle, load.main, spec)
            first += clients
        self._answers(load.READY)

    def go(self) -> None:
        """All clients begin."""
        self._tell(load.GO)

    def sleep(self, seconds: float, each: Callable[[], None] | None = None) -> None:
        """Let the fleet work; `each` is called ten times a second."""
        until = worker.now() + int(seconds * 1e6)
        while (now := worker.now()) < until:
            self.fleet.pump(min(until, now + 100_000))
            self._refuse_ended()
            if each is not None:
                each()

    # ---- measuring -----------------------------------------------------------------------------

    def measure(self, seconds: float, each: Callable[[], None] | None = None) -> Window:
        """What happens in the next seconds."""
        before, used, queued = self._figures(), self._usage(), self._written()
        started = time.monotonic()
        self.sleep(seconds, each)
        after, now_used = self._figures(), self._usage()
        took = time.monotonic() - started
        queued = self._written() - queued
        histogram = load.summed(told.histogram for told in after)
        return Window(
            answered=sum(t.answered for t in after) - sum(t.answered for t in before),
            seconds=took,
            histogram=histogram,
            retries=sum(t.retries for t in after) - sum(t.retries for t in before),
            cpu_seconds={
                name: use.cpu_seconds - used[name].cpu_seconds
                for name, use in now_used.items()
                if name in used
            },
            resident_bytes={name: use.resident_bytes for name, use in now_used.items()},
            leader=self.leader(),
            largest_us=largest(histogram),
            queue_bytes=queued + sum(t.written for t in after) - sum(t.written for t in before),
            disk_bytes=_disk_bytes(used, now_used, queued),
        )

    def _figures(self) -> list[_Told]:
        self._tell(load.FIGURES)
        return [_Told(*figures) for _, *figures in self._answers(load.FIGURES)]

    def _usage(self) -> dict[str, Usage]:
        pids = self.fleet.pids()
        found = usage_of(pids.values())
        return {name: found[pid] for name, pid in pids.items() if pid in found}

    def _written(self) -> int:
        """Bytes that all replicas put on their queues, the ones of now."""
        return sum(self.fleet.ask(protocol.WRITTEN).values())

    def bytes_on_disk(self) -> dict[ReplicaId, int]:
        """Of each replica: its database and what belongs to it."""
        return {r: bytes_on_disk(self._folder, replica_name(r)) for r in self.fleet.handles}

    def leader(self) -> ReplicaId | None:
        """Who leads, as far as is known."""
        leaders = [
            (h.progress.ballot, h.replica)
            for h in self.fleet.handles.values()
            if h.liveness is Liveness.LIVE and h.progress.role == Role.LEADER.value
        ]
        return max(leaders)[1] if leaders else None

    def fail_leader(self, mode: str) -> tuple[ReplicaId, Outage]:
        """Fail the leader; returns it, and the time until all load processes had an answer again.

        The outage ends with the first of these answers.
        """
        self._await(lambda: self.leader() is not None, "to elect a leader")
        leader = self.leader()
        assert leader is not None
        failed = Ballot(*self.fleet.handles[leader].progress.ballot)
        self._turns.clear()
        at = worker.now()
        self.fleet.change([leader], [], mode)
        firsts: list[FirstAnswer] = []

        def is_over() -> bool:
            """Every load process was answered under another ballot, and who leads it told so."""
            firsts[:] = [f for handle in self.fleet.loads for f in _first_answers(handle, failed)]
            led = {t.ballot for t in self._turns if t.role == Role.LEADER.value}
            return len(firsts) == len(self.fleet.loads) and {f.ballot for f in firsts} <= led

        self._await(is_over, "to answer after a failure")
        return leader, outage(at, self._turns, min(firsts, key=lambda first: first.at))

    def recover(self, replica: ReplicaId) -> None:
        """Bring a failed replica back and wait until it has caught up with the others."""
        self.fleet.change([], [replica], "crash")

    def slowest_us(self) -> int:
        """The longest that a request waited for its answer since figures were last taken."""
        return max(largest(told.histogram) for told in self._figures())

    # ---- the end -------------------------------------------------------------------------------

    def finish(self) -> tuple[Judgement, ...]:
        """Stop asking, wait for the last answers, and check everything."""
        self._tell(load.FINISH)
        for _, timestamps, sums in self._answers(load.DONE):
            self._timestamps.update(timestamps)
            for account, amount in sums.items():
                self._sums[account] = self._sums.get(account, 0) + amount
        deadline = worker.now() + SETTLE_US
        while True:
            statuses = self._statuses()
            if len({s.executed_upto for s in statuses}) == 1 or worker.now() > deadline:
                return self._judge(statuses)
            self.sleep(0.02)

    def _statuses(self) -> list[ReplicaStatus]:
        asked = self.fleet.ask(protocol.STATUS)
        accounts = self._balances.accounts
        return [protocol.status_from_plain(plain, accounts) for plain in asked.values()]

    def _judge(self, statuses: list[ReplicaStatus]) -> tuple[Judgement, ...]:
        digests = {(s.executed_upto, s.running_hash, s.digest) for s in statuses}
        agreement = [] if len(digests) == 1 else [f"replicas end differently: {sorted(digests)}"]
        if len(statuses) < quorum_size(self._config.nodes):
            agreement.append(f"only {len(statuses)} replicas are left")
        agreement += [f"n{s.replica}: {s.differs}" for s in statuses if s.differs is not None]
        troubles = [
            f"n{h.replica}: {h.trouble}"
            for h in self.fleet.handles.values()
            if h.trouble and h.liveness is Liveness.STOPPED
        ]
        return (
            judge("agreement", agreement + troubles),
            judge("conservation", self._leaks(statuses)),
            judge("exactly_once", self._differences(statuses)),
        )

    def _leaks(self, statuses: list[ReplicaStatus]) -> Iterator[str]:
        expected = self._config.initial_balance * len(self._config.accounts)
        for status in statuses:
            total = sum(status.balances.values())
            if total != expected or min(status.balances.values()) < 0:
                yield f"n{status.replica} holds {total} in all, expected {expected}"

    def _differences(self, statuses: list[ReplicaStatus]) -> Iterator[str]:
        right = self._expected()
        for status in statuses:
            for account, expected in () if status.balances == right else right.items():
                if (balance := status.balances[account]) != expected:
                    yield (
                        f"n{status.replica} holds {balance} for {account}, "
                        f"acknowledged transfers give {expected}"
                    )
            last = {session[0]: session[1] for session in status.sessions}
            if last != self._timestamps:
                yield f"n{status.replica} knows other last requests than the clients"

    def _expected(self) -> Balances:
        """What acknowledged transfers give."""
        accounts, cells = self._balances.accounts, self._balances.cells()
        for account, amount in self._sums.items():
            position = accounts.position(account)
            assert position is not None, f"a transfer of {account}, which is no account"
            cells[position] += amount
        return Balances(accounts, pages_of(cells, accounts.page_accounts))

    # ---- talking to load processes -------------------------------------------------------------

    def _tell(self, word: str) -> None:
        for handle in self.fleet.loads:
            assert handle.control is not None
            handle.control.send((word,))

    def _answers(self, word: str) -> list[Any]:
        """The next value with this first word, of every load process."""
        loads = self.fleet.loads
        self._await(lambda: all(any(v[0] == word for v in h.heard) for h in loads), f"for {word}")
        found = []
        for handle in loads:
            value = next(v for v in handle.heard if v[0] == word)
            handle.heard.remove(value)
            found.append(value)
        return found

    def _await(self, condition: Callable[[], bool], what: str) -> None:
        deadline = worker.now() + int(ANSWER_SECONDS * 1e6)
        while not condition():
            self._refuse_ended()
            if worker.now() > deadline:
                raise self._in_vain(f"waited {ANSWER_SECONDS:.0f} s {what}")
            stopped = [h for h in self.fleet.handles.values() if h.liveness is Liveness.STOPPED]
            if self._config.nodes - len(stopped) < quorum_size(self._config.nodes):
                raise self._in_vain("no majority of the replicas is left")
            self.fleet.pump(min(deadline, look := worker.now() + LOOK_US))
            if worker.now() >= look:
                self.fleet.look_after()

    def _refuse_ended(self) -> None:
        """A process of clients ended, for a wrong answer or by itself: HarnessError."""
        for word, *rest in (value for handle in self.fleet.loads for value in handle.heard):
            if word == load.WRONG:
                what = f"n{rest[0]} says to clients what is no answer: {rest[1]}"
                raise HarnessError(what, exit_code=EXIT_INVALID)
        for handle in self.fleet.loads:
            if handle.trouble:
                raise HarnessError(handle.trouble, exit_code=EXIT_MACHINE)

    def _in_vain(self, told: str) -> HarnessError:
        """The fault of the replicas that are gone, or else of the machine."""
        gone = [f"n{h.replica}: {h.trouble}" for h in self.fleet.handles.values() if h.trouble]
        return HarnessError(told, *gone, exit_code=EXIT_INVALID if gone else EXIT_MACHINE)


def _disk_bytes(before: dict[str, Usage], after: dict[str, Usage], queued: int) -> int | None:
    """What replicas wrote without their queues: to the database and its write-ahead log."""
    written = 0
    for name, use in after.items():
        if name.startswith("n") and name in before:
            then = before[name].written_bytes
            if use.written_bytes is None or then is None:
                return None
            written += use.written_bytes - then
    return max(0, written - queued)


def _first_answers(handle: LoadHandle, failed: Ballot) -> list[FirstAnswer]:
    """The first that a load process was answered above this ballot, if it was."""
    told = (value for value in handle.heard if value[0] == load.LED)
    answers = (FirstAnswer(Ballot(*ballot), asked_at, at) for _, ballot, asked_at, at in told)
    return [answer for answer in answers if answer.ballot > failed][:1]
