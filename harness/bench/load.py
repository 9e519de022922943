"""A process of many closed-loop clients, for benchmarks: each has one request outstanding.

Over the same queues and by the same rules as any client, with two shortcuts that cost no
honesty: all clients of a process share what they believe of the leader, and their timers are looked
at together every few milliseconds. What was acknowledged is kept as sums per account and a
timestamp per client, so that a benchmark of any length can be checked to the last unit of money.
"""

import gc
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from multiprocessing.connection import Connection
from random import Random
from typing import Any

from bank.ballot import NO_BALLOT, Ballot, ReplicaId
from bank.ledger import SUCCESS, TRANSFER, Result
from bank.messages import ClientRequest, Elected, Reply
from bank.sessions import Request
from harness.cluster import wire
from harness.live.queues import ControlEnd, Incoming, Outgoing, framed
from harness.live.waiting import Waiter

# Control words, to the load process and from it.
PEER, GO, FINISH, STOP = "peer", "go", "finish", "stop"
READY, LED, FIGURES, DONE, WRONG = "ready", "led", "figures", "done", "wrong"

DRAWS = 65_536  # transfers drawn in advance, then used over and over
TIMERS_US = 20_000  # how often time-outs are looked for
CONTROL_US = 1_000  # between two tries to write more to the control queue
BUCKETS_PER_DOUBLING = 16  # of the latency histogram: 4.4% wide


@dataclass(frozen=True)
class LoadSpec:
    """Everything a load process is started with."""

    index: int
    clients: int  # hosted here
    first_client: int
    accounts: Sequence[str]
    skew: float  # 0 is uniform; else the exponent of a Zipf distribution
    largest_amount: int
    timeout_us: int
    seed: int
    queue_limit: int
    control: Connection
    peers: dict[ReplicaId, tuple[Connection, Connection]]  # reading and writing end


def load_processes(clients: int) -> int:
    """How many processes host so many clients."""
    return 1 if clients < 2 else 2


def bucket_of(latency_us: int) -> int:
    """The histogram's bucket: 16 per doubling above 16 µs, one per microsecond below."""
    if latency_us < BUCKETS_PER_DOUBLING:
        return max(0, latency_us)
    shift = latency_us.bit_length() - 5
    return (shift << 4) + (latency_us >> shift)


def lower_bound(bucket: int) -> int:
    """The smallest latency of a bucket, in microseconds: the inverse of `bucket_of`."""
    if bucket < 2 * BUCKETS_PER_DOUBLING:
        return bucket
    shift = (bucket >> 4) - 1
    return ((bucket & 15) + 16) << shift


def histogram_of(latencies: Mapping[int, int]) -> dict[int, int]:
    """How many there are in each bucket, of how many took each number of microseconds."""
    histogram: dict[int, int] = {}
    for latency_us, count in latencies.items():
        bucket = bucket_of(latency_us)
        histogram[bucket] = histogram.get(bucket, 0) + count
    return histogram


def summed(histograms: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """All of them in one."""
    total: Counter[int] = Counter()
    for histogram in histograms:
        total.update(histogram)
    return total


def main(spec: LoadSpec) -> None:
    """The process's target."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    load = Load(spec)
    gc.collect()
    gc.freeze()
    gc.disable()
    load.run()
    os._exit(0)


class Load:
    """See the module."""

    def __init__(self, spec: LoadSpec) -> None:
        self._spec = spec
        self._control = ControlEnd(spec.control)
        self._waiter = Waiter()
        self._waiter.on_readable(self._control.fileno(), self._obey)
        self._readers: dict[ReplicaId, Incoming] = {}
        self._writers: dict[ReplicaId, Outgoing] = {}
        for replica, (reading, writing) in spec.peers.items():
            self._connect(replica, reading, writing)
        self._believed: ReplicaId | None = 1
        self._believed_before: ReplicaId | None = None  # until `_believed_at`
        self._believed_at = 0
        self._ballot = self._told_ballot = NO_BALLOT  # highest seen; whose first answer was told
        self._elected = NO_BALLOT  # the highest in a LEADER
        self._draws = cycle(self._draw(Random(f"{spec.seed}/load/{spec.index}")))
        self._outstanding: dict[str, Request] = {}
        self._sent_at: dict[str, int] = {}
        self._timestamps: dict[str, int] = {}  # last acknowledged
        self._sums: dict[str, int] = {}  # per account: received - sent, acknowledged
        self._waited: dict[int, int] = {}  # how many waited so long, since figures were told
        self._answered = 0
        self._retries = 0
        self._resent_at: dict[str, int] = {}  # requests that were sent again, under this leader
        self._timers_due = 0
        self._sending = False
        self._running = True

    def _draw(self, random: Random) -> list[tuple[str, str, str, int]]:
        """Transfers between two accounts; with a skew, low-numbered accounts more often."""
        accounts, skew = self._spec.accounts, self._spec.skew
        weights = [1 / (rank**skew) for rank in range(1, len(accounts) + 1)] if skew else None
        senders = random.choices(accounts, weights, k=DRAWS)
        receivers = random.choices(accounts, weights, k=DRAWS)
        largest = self._spec.largest_amount
        return [
            (TRANSFER, sender, receiver, random.randint(1, largest))
            for sender, receiver in zip(senders, receivers, strict=True)
        ]

    def _connect(self, replica: ReplicaId, reading: Connection, writing: Connection) -> None:
        if replica in self._readers:
            self._lose(replica)
        reader = self._readers[replica] = Incoming(reading)
        self._writers[replica] = Outgoing(writing, self._spec.queue_limit)
        self._waiter.on_readable(reader.fileno(), partial(self._read, replica, reader))

    def _lose(self, replica: ReplicaId) -> None:
        """A replica's process died: who waits for it asks everyone at once."""
        reader, writer = self._readers.pop(replica), self._writers.pop(replica)
        self._take_from(replica, reader.drain)
        self._waiter.forget(reader.fileno())
        self._waiter.forget(writer.fileno())
        reader.close()
        writer.close()
        if self._believed == replica:
            self._believed = None
            self._send_again(list(self._outstanding))
        elif self._believed_before == replica:
            # Another leads already and has answered some; what others sent to the dead one is lost.
            sent_at, since = self._sent_at, self._believed_at
            self._send_again([client for client in self._outstanding if sent_at[client] < since])

    def run(self) -> None:
        """Until told to stop."""
        self._control.send((READY,))
        while self._running:
            timeout = TIMERS_US if self._outstanding else None
            if self._control.is_waiting:  # the sums of many accounts, more than a socket holds
                timeout = CONTROL_US
            self._waiter.wait(timeout)
            if self._control.is_waiting:
                self._control.resume()
            if self._outstanding and _now() >= self._timers_due:
                self._look_at_timers()

    def _read(self, replica: ReplicaId, reader: Incoming) -> None:
        if self._readers.get(replica) is not reader:
            return  # lost or replaced by an earlier event
        self._take_from(replica, reader.read)
        if reader.closed:
            self._lose(replica)

    def _take_from(self, replica: ReplicaId, read: Callable[[], list[Any]]) -> None:
        """`bank` may be anybody's, and nothing was held against its types before."""
        try:
            self._take(read())
        except Exception as error:
            self._control.send((WRONG, replica, f"{type(error).__name__}: {error}".rstrip(": ")))
            self._running = False

    def _take(self, messages: Iterable[Any]) -> None:
        """Send the next request of every client that got an answer, then count the answers."""
        at = _now()
        outstanding, draws, sending = self._outstanding, self._draws, self._sending
        again: list[Request] = []
        done: list[tuple[Request, Result]] = []
        for plain in messages:
            reply = wire.from_plain(plain)
            if isinstance(reply, Elected):
                self._follow(reply.ballot, at)
                continue
            assert isinstance(reply, Reply)
            if reply.ballot != self._told_ballot or self._believed is None:
                self._believe(reply, at)
            for client, timestamp, result, _ in reply.answers:
                request = outstanding.get(client)
                if request is None or request[1] != timestamp:
                    continue  # a second answer
                done.append((request, result))
                if sending:
                    outstanding[client] = request = (client, timestamp + 1, *next(draws))
                    again.append(request)
                else:
                    del outstanding[client]
        if again:
            self._send(again, self._leader())
        self._count(done, at)
        if done and not outstanding and not sending:
            self._control.send((DONE, self._timestamps, self._sums))

    def _believe(self, reply: Reply, at: int) -> None:
        """Whose answer it is leads, unless a later leader is known."""
        if reply.ballot < self._ballot or reply.ballot == NO_BALLOT:
            return
        if reply.ballot > self._told_ballot:
            self._tell_of_leader(reply, at)
        if reply.ballot > self._ballot:
            self._believed_before, self._believed_at = self._believed, at
        self._ballot, self._believed = reply.ballot, reply.ballot.replica

    def _follow(self, ballot: Ballot, at: int) -> None:
        """LEADER came: it is asked at once for what earlier ones were asked for."""
        requests: Iterable[Request] = ()
        if ballot > self._elected and ballot >= self._ballot:
            self._elected = self._ballot = ballot
            self._believed, self._believed_before = ballot.replica, None
            self._resent_at.update(dict.fromkeys(self._outstanding, at))
            self._timers_due = at + self._spec.timeout_us
            requests = self._outstanding.values()
        if (writer := self._writers.get(ballot.replica)) is not None:
            self._put(ClientRequest(tuple(requests)), (writer,))

    def _count(self, done: list[tuple[Request, Result]], at: int) -> None:
        """These were answered at that time; whoever asks again did so then."""
        sent_at, sums, waited, timestamps = (
            self._sent_at, self._sums, self._waited, self._timestamps,
        )  # fmt: skip
        for (client, timestamp, _, sender, receiver, amount), result in done:
            if result == SUCCESS:
                sums[sender] = sums.get(sender, 0) - amount
                sums[receiver] = sums.get(receiver, 0) + amount
            took = at - sent_at[client]
            waited[took] = waited.get(took, 0) + 1
            timestamps[client] = timestamp
            sent_at[client] = at
        self._answered += len(done)

    def _leader(self) -> dict[ReplicaId, Outgoing]:
        writer = None if self._believed is None else self._writers.get(self._believed)
        return self._writers if writer is None else {0: writer}

    def _send(self, requests: Iterable[Request], to: dict[ReplicaId, Outgoing]) -> None:
        message = ClientRequest(tuple(requests))
        if message.requests:
            self._put(message, to.values())

    def _put(self, message: ClientRequest, writers: Iterable[Outgoing]) -> None:
        frame = framed(wire.encode(message))
        for writer in writers:
            writer.send(frame)
            if writer.is_waiting:
                self._waiter.keep_writing(writer)

    def _send_again(self, clients: Sequence[str]) -> None:
        """Ask every replica what these clients wait for."""
        self._resent_at.update(dict.fromkeys(clients, _now()))
        self._send([self._outstanding[client] for client in clients], self._writers)

    def _tell_of_leader(self, reply: Reply, at: int) -> None:
        """The first answer under a new ballot, and since when its client had asked for it."""
        asked = [
            max(self._sent_at[client], self._resent_at.get(client, 0))
            for client, timestamp, *_ in reply.answers
            if (request := self._outstanding.get(client)) and request[1] == timestamp
        ]
        if asked:  # else these answers are for clients of another process
            self._told_ballot = reply.ballot
            self._control.send((LED, tuple(reply.ballot), min(asked), at))
            self._resent_at.clear()

    def _look_at_timers(self) -> None:
        at = _now()
        self._timers_due = at + TIMERS_US
        late = [c for c, sent in self._sent_at.items() if at - sent >= self._spec.timeout_us]
        late = [c for c in late if c in self._outstanding]
        if late:
            # The latency goes on from the first try: only the timer starts again.
            self._retries += len(late)
            self._believed = None
            self._send_again(late)
            self._timers_due = at + self._spec.timeout_us

    def _obey(self) -> None:
        for word, *rest in self._control.read():
            match word:
                case "peer":
                    take = self._control.descriptors.popleft
                    reading = Connection(take(), writable=False)
                    self._connect(rest[0], reading, Connection(take(), readable=False))
                case "go":
                    self._go()
                case "figures":
                    written = sum(writer.written for writer in self._writers.values())
                    figures = (self._answered, histogram_of(self._waited), self._retries, written)
                    self._control.send((FIGURES, *figures))
                    self._waited = {}
                case "finish":
                    self._sending = False
                case "stop":
                    self._running = False
        if self._control.closed:
            self._running = False

    def _go(self) -> None:
        """Every client sends its first request."""
        self._sending = True
        at = _now()
        first = self._spec.first_client
        for client in (f"c{number}" for number in range(first, first + self._spec.clients)):
            self._outstanding[client] = (client, 1, *next(self._draws))
            self._sent_at[client] = at
        self._send(self._outstanding.values(), self._leader())


def _now() -> int:
    return time.monotonic_ns() // 1000
