"""Clients: one per account, each with one outstanding request, a timer and a believed leader.

Pure like the replica: a Client is told the time and what arrived, and answers with what to send.
Whoever drives it (live or simulated) owns the queues.
"""

from collections import deque
from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import NamedTuple

from bank.ballot import NO_BALLOT, Ballot, ClientId, ReplicaId, Slot
from bank.messages import Elected, Reply
from bank.sessions import Request
from harness.cluster.history import Operation


class ClientSend(NamedTuple):
    """A request to put on the queues to these replicas."""

    to: tuple[ReplicaId, ...]
    request: Request


class Client:
    """One client: its operations in order, the first of them outstanding."""

    def __init__(self, name: ClientId, replicas: int, timeout: int) -> None:
        """`timeout` in microseconds."""
        self.name = name
        self.timestamp = 0  # of the last request sent, ever; never decreases
        self.believed: ReplicaId | None = 1
        self.ballot = NO_BALLOT  # the highest seen in a REPLY or LEADER; never decreases
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

    def follow(self, ballot: Ballot, now: int) -> list[ClientSend]:
        """A later leader was elected: ask it at once for what others were asked for."""
        if ballot <= self.ballot:
            return []
        self._believe(ballot)
        if not self.queue or self.due is None:
            return []
        self.due = now + self._timeout
        to = self._everyone if self.believed is None else (self.believed,)
        return [ClientSend(to, self.queue[0].request)]

    def _believe(self, ballot: Ballot) -> None:
        """Whose it is leads; nobody, when that is no replica: one that lies may say so."""
        self.ballot = ballot
        self.believed = ballot.replica if ballot.replica in self._everyone else None

    def stop(self) -> None:
        """Stop the timer: between sets nothing is retried."""
        self.due = None

    def answer(self, ballot: Ballot, answer: tuple[str, int, str | int, int], now: int) -> bool:
        """Take one answer; True when it was to the outstanding request."""
        if ballot >= self.ballot and ballot != NO_BALLOT:
            self._believe(ballot)
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
    """All clients of one process, and whether their timers run.

    What a poll or an answer costs does not grow with what waits: who may send stands in `_ready`,
    whose timer runs in `_timers`, and what is no longer so is passed over when it is met.
    """

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
        self.unanswered = 0  # operations
        self.answered_upto: Slot = 0  # the highest slot that an answer speaks of
        self._before_send = before_send
        self._elected = NO_BALLOT  # the highest in a LEADER; never decreases
        self._submitted = 0
        # Clients that may send their first operation, with its order.
        self._ready: list[tuple[int, Client]] = []
        # When timers run out, in order: all take equally long. One counts while it is `Client.due`.
        self._timers: deque[tuple[int, Client]] = deque()

    def submit(self, operation: Operation) -> None:
        """Queue an operation with its client; it is sent by the next `poll` while running."""
        self._submitted += 1
        self.unanswered += 1
        operation.order = self._submitted
        client = self.by_name[operation.request[0]]
        client.queue.append(operation)
        if len(client.queue) == 1:
            self._ready.append((operation.order, client))

    def poll(self, now: int) -> list[ClientSend]:
        """Everything that is to be sent now, in the order in which it was submitted."""
        if not self.running:
            return []
        wanted, self._ready = self._ready, []
        timers = self._timers
        while timers and timers[0][0] <= now:
            due, client = timers.popleft()
            if client.due == due:
                wanted.append((client.queue[0].order, client))
        wanted.sort(key=itemgetter(0))
        sends: list[ClientSend] = []
        for order, client in wanted:
            if not client.queue or client.queue[0].order != order:
                continue  # answered meanwhile: it was sent before a pause
            if client.due is None:
                found = client.start_next(now)
                if client.queue[0].invoked_at == now:
                    self._before_send(client)
            elif client.due <= now:
                found = client.retry(now)
            else:
                continue
            sends += found
            self._note_timer(client)
        return sends

    def _note_timer(self, client: Client) -> None:
        if client.due is not None:
            self._timers.append((client.due, client))

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
                self.answered_upto = max(self.answered_upto, answer[3])
                if client.queue:
                    self._ready.append((client.queue[0].order, client))
        self.unanswered -= len(done)
        return done

    def follow(self, elected: Elected, now: int) -> list[ClientSend]:
        """A LEADER came: whoever waits for an earlier one asks this one at once.

        Its sender is to be answered, with an empty REQUEST when there is nothing to ask for.
        """
        sends: list[ClientSend] = []
        if elected.ballot > self._elected:
            self._elected = elected.ballot
            for client in self.by_name.values():
                if found := client.follow(elected.ballot, now):
                    sends += found
                    self._note_timer(client)
        return sends

    def lost(self, replica: ReplicaId, now: int) -> list[ClientSend]:
        """The queue to `replica` closed: who believed in it asks everyone at once."""
        sends: list[ClientSend] = []
        for client in self.by_name.values():
            if client.believed == replica:
                client.believed = None
                sends += client.retry(now)
                self._note_timer(client)
        return sends

    def start(self) -> None:
        """Timers run: what is outstanding is retried at once, then new operations go out."""
        self.running = True
        waiting = (client for client in self.by_name.values() if client.queue)
        self._ready = [(c.queue[0].order, c) for c in waiting if c.due is None]

    def stop(self) -> None:
        """Timers stop; answers that come all the same are taken."""
        self.running = False
        self._timers.clear()
        for client in self.by_name.values():
            client.stop()

    def drop_pending(self, now: int) -> list[Operation]:
        """Give up what has no answer, sent or not; what is answered later is not heard."""
        dropped = self.pending()
        for operation in dropped:
            operation.dropped_at = now
        for client in self.by_name.values():
            client.queue.clear()
            client.stop()
        self.unanswered, self._ready = 0, []
        return dropped

    def deadline(self) -> int | None:
        """When `poll` is wanted at the latest; None while nothing is due."""
        if not self.running:
            return None
        if self._ready:
            return 0
        timers = self._timers
        while timers and timers[0][1].due != timers[0][0]:
            timers.popleft()
        return timers[0][0] if timers else None

    def pending(self) -> list[Operation]:
        """Operations without an answer, in order per client."""
        return [operation for client in self.by_name.values() for operation in client.queue]
