"""Clients: one per account, each with one outstanding request, a timer and a believed leader.

Pure like the replica: a Client is told the time and what arrived, and answers with what to send.
Whoever drives it (live or simulated) owns the queues.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from bank.ballot import NO_BALLOT, Ballot, ClientId, ReplicaId
from bank.messages import Reply
from bank.sessions import Request
from harness.cluster.history import Operation


class ClientSend(NamedTuple):
    """A request to put on the queues to these replicas."""

    to: tuple[ReplicaId, ...]
    request: Request


class Client:
    """One client: its operations in order, the first of them outstanding."""

    def __init__(self, name: ClientId, replicas: int, timeout: int, timestamp: int = 0) -> None:
        """`timeout` in microseconds; `timestamp` is the last one ever used."""
        self.name = name
        self.timestamp = timestamp  # of the last request sent; never decreases
        self.believed: ReplicaId | None = 1
        self.ballot = NO_BALLOT  # the highest seen in a REPLY; never decreases
        self.queue: deque[Operation] = deque()  # [0] is outstanding once it has a timestamp
        self.due: int | None = None  # when to try again; None while idle or stopped
        self._everyone = tuple(range(1, replicas + 1))
        self._timeout = timeout

    def start_next(self, now: int) -> list[ClientSend]:
        """Send the first waiting operation unless one is outstanding already."""
        if not self.queue or self.due is not None:
            return []
        operation = self.queue[0]
        self.due = now + self._timeout
        if operation.invoked_at is not None:
            return [ClientSend(self._everyone, operation.request)]  # a retry, after a pause
        if operation.request[1] == 0:
            self.timestamp += 1
            operation.request = (self.name, self.timestamp, *operation.request[2:])
        operation.invoked_at = now
        to = self._everyone if self.believed is None else (self.believed,)
        return [ClientSend(to, operation.request)]

    def retry(self, now: int) -> list[ClientSend]:
        """The timer ran out, or the believed leader's queue closed: ask everyone."""
        if not self.queue or self.due is None:
            return []
        self.believed = None
        self.due = now + self._timeout
        return [ClientSend(self._everyone, self.queue[0].request)]

    def stop(self) -> None:
        """Stop the timer: between sets nothing is retried."""
        self.due = None

    def answer(self, ballot: Ballot, answer: tuple[str, int, str | int, int], now: int) -> bool:
        """Take one answer; True when it was to the outstanding request."""
        if ballot > self.ballot:
            self.ballot = ballot
        if ballot >= self.ballot and ballot != NO_BALLOT:
            self.believed = ballot.replica
        if not self.queue or self.queue[0].invoked_at is None:
            return False
        operation = self.queue[0]
        if operation.request[1] != answer[1]:
            return False  # a second answer to an older request
        operation.result, operation.slot = answer[2], answer[3]
        operation.ballot, operation.answered_at = ballot, now
        self.queue.popleft()
        self.due = None
        return True


class Clients:
    """All clients of one process, and whether their timers run."""

    def __init__(
        self,
        names: Iterable[ClientId],
        replicas: int,
        timeout: int,
        before_send: Callable[[Client], None] = lambda client: None,
    ) -> None:
        """`before_send(client)` is called before a new timestamp leaves, to make it durable."""
        self.by_name = {name: Client(name, replicas, timeout) for name in names}
        self.running = False
        self._before_send = before_send
        self._submitted = 0

    def submit(self, operation: Operation) -> None:
        """Queue an operation with its client; it is sent by the next `poll` while running."""
        self._submitted += 1
        operation.order = self._submitted
        self.by_name[operation.request[0]].queue.append(operation)

    def poll(self, now: int) -> Iterator[ClientSend]:
        """Everything that is to be sent now, in the order in which it was submitted."""
        if not self.running:
            return
        busy = [client for client in self.by_name.values() if client.queue]
        for client in sorted(busy, key=lambda client: client.queue[0].order):
            if client.due is None:
                sends = client.start_next(now)
                if sends and client.queue[0].invoked_at == now:
                    self._before_send(client)
                yield from sends
            elif now >= client.due:
                yield from client.retry(now)

    def take(self, reply: Reply, now: int) -> list[Operation]:
        """Hand a REPLY to its clients; returns the operations that it answered."""
        done: list[Operation] = []
        for answer in reply.answers:
            client = self.by_name.get(answer[0])
            if client is None:
                continue
            outstanding = client.queue[0] if client.queue else None
            if client.answer(reply.ballot, answer, now) and outstanding is not None:
                done.append(outstanding)
        return done

    def lost(self, replica: ReplicaId, now: int) -> list[ClientSend]:
        """The queue to `replica` closed: who believed in it asks everyone at once."""
        sends: list[ClientSend] = []
        for client in self.by_name.values():
            if client.believed == replica:
                client.believed = None
                sends += client.retry(now)
        return sends

    def start(self) -> None:
        """Timers run: what is outstanding is retried at once, then new operations go out."""
        self.running = True

    def stop(self) -> None:
        """Timers stop; answers that come all the same are taken."""
        self.running = False
        for client in self.by_name.values():
            client.stop()

    def deadline(self) -> int | None:
        """When `poll` is wanted at the latest; None while nothing is due."""
        if not self.running:
            return None
        due = [0 if c.due is None else c.due for c in self.by_name.values() if c.queue]
        return min(due, default=None)

    def pending(self) -> list[Operation]:
        """Operations without an answer, in order per client."""
        return [operation for client in self.by_name.values() for operation in client.queue]
