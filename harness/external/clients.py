"""Clients of other people's replicas: one per account, one request open at a time. Pure.

Unlike our own, they read errors. A definite one settles the attempt, not the request: the leader
that it names, else the next replica in turn, is asked after a pause that begins at 30 ms and
doubles up to 500 ms. Silence leaves the attempt open for good: everybody is asked again, or the
next one. Told the time and what arrived, they answer with what to send.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from bank.ballot import Ballot, ClientId, ReplicaId, replica_name
from bank.ledger import READ, Result, describe
from bank.sessions import Request
from harness.cluster.history import Operation
from harness.external import remarks
from harness.external.remarks import Remarks
from harness.external.speaking.dialect import (
    DEFINITE,
    NOT_SUPPORTED,
    REFUSALS,
    Ask,
    Body,
    Dialect,
    Done,
    Wrong,
    error_code,
    is_number,
)
from harness.external.votes import Votes
from harness.files.text_file import shown

FIRST_PAUSE_US, LONGEST_PAUSE_US = 30_000, 500_000
MOST_WAITING_SHOWN = 5  # requests without an answer, with the last error each
SHORTEST_RETRY_US = 1_000
ALL_CLIENTS = "clients"  # whom a replica tells that it leads


class Sent(NamedTuple):
    """A message of a client."""

    client: str  # c1, c2, …
    to: ReplicaId
    body: Body


class Refusal(NamedTuple):
    """A request that a replica settled by an error."""

    operation: Operation
    replica: ReplicaId
    code: int
    text: str


@dataclass(slots=True, eq=False)
class _Call:
    """One attempt."""

    operation: Operation
    client: "_Client"
    to: ReplicaId
    body: Body
    is_settled: bool = False  # by an answer, or by a definite error
    passed_on_to: set[ReplicaId] = field(default_factory=set)  # by replicas: they may answer too


@dataclass(slots=True, eq=False)
class _Client:
    """One account's client."""

    account: ClientId
    label: str
    timestamp: int = 0  # of the last request sent; never decreases
    believed: ReplicaId | None = 1
    queue: deque[Operation] = field(default_factory=deque)  # [0] is outstanding once it was sent
    due: int | None = None  # when to try again; None while idle or stopped
    is_pausing: bool = False  # every attempt is settled: the next goes to one replica alone
    next_to: ReplicaId = 1  # whom it asks then
    pause: int = FIRST_PAUSE_US
    open_calls: int = 0  # attempts at [0] that no answer and no definite error settled
    waiting: int = 0  # of these, sent in the last round


class Clients:
    """All clients, and whether their timers run."""

    def __init__(
        self,
        accounts: Iterable[ClientId],
        replicas: int,
        timeout: int,
        dialect: Dialect,
        retry: str,
        noted: Remarks,
        votes: Votes,
    ) -> None:
        """`timeout` in microseconds; `retry` is whom to ask after it, "all" or "next"; `votes` is
        told which requests are open."""
        self.by_account = {
            account: _Client(account, f"c{number}") for number, account in enumerate(accounts, 1)
        }
        self.labels: Mapping[str, _Client] = {c.label: c for c in self.by_account.values()}
        self.running = False
        self.last_named: ReplicaId | None = None  # the leader that an answer named last
        self.named_at = 0
        self.elected: Ballot | None = None  # the highest that a replica said to lead
        self.last_answered: ReplicaId | None = None
        self.last_answer_at = 0
        self.answered_upto = 0  # the highest slot that an answer spoke of
        # Every one that came, each result of a request once.
        self.answers: dict[tuple[tuple[ClientId, int], Result], None] = {}
        self.refusals: list[Refusal] = []
        self._refusals_told = 0
        self.last_error: dict[int, str] = {}  # by operation, in words
        self.on_unsupported: Callable[[ReplicaId, str], None] = lambda replica, asked: None
        self._replicas, self._timeout = replicas, timeout
        self._dialect, self._retry, self._remarks, self._votes = dialect, retry, noted, votes
        self._calls: dict[int, _Call] = {}
        self._message = 0
        self._submitted = 0
        self._open: dict[int, Operation] = {}  # by id, in the order of asking
        self._heap: list[tuple[int, int, _Client]] = []
        self._pushed = 0
        self._idle: list[_Client] = []  # with something to send at once

    # ---- asking --------------------------------------------------------------------------------

    def submit(self, operation: Operation) -> None:
        """Queue an operation with its client."""
        self._submitted += 1
        operation.order = self._submitted
        client = self.by_account[operation.request[0]]
        client.queue.append(operation)
        self._open[id(operation)] = operation
        if client.due is None:
            self._idle.append(client)

    def start(self) -> None:
        """Timers run: what is outstanding is tried again at once."""
        self.running = True
        self._idle = [client for client in self.by_account.values() if client.queue]

    def stop(self) -> None:
        """Timers stop; answers that come all the same are taken."""
        self.running = False
        self._heap.clear()
        for client in self.by_account.values():
            client.due = None

    def start_idle(self) -> None:
        """The same for those alone that have nothing outstanding."""
        self.running = True
        waiting = (client for client in self.by_account.values() if client.queue)
        self._idle = [client for client in waiting if client.queue[0].invoked_at is None]

    def drop(self, operation: Operation) -> None:
        """Nobody waits for an answer any more, which may still come."""
        client = self.by_account[operation.request[0]]
        if client.queue and client.queue[0] is operation:
            self._next(client, operation)
        elif operation in client.queue:
            client.queue.remove(operation)
            self._open.pop(id(operation), None)

    def new_refusals(self) -> list[Refusal]:
        """Those since the last call."""
        new = self.refusals[self._refusals_told :]
        self._refusals_told = len(self.refusals)
        return new

    def pending(self) -> list[Operation]:
        """Operations that nothing settled."""
        return list(self._open.values())

    def waiting(self) -> list[str]:
        """Some of those that were answered with an error and go on, with the last word on each."""
        errors = ((o, self.last_error.get(id(o))) for o in self._open.values())
        told = (f"{describe(*o.request[2:])} waits; {e} was the last word" for o, e in errors if e)
        return list(islice(told, MOST_WAITING_SHOWN))

    def drop_pending(self, now: int) -> None:
        """Give up what nothing settled; what is answered later is not heard."""
        for operation in self.pending():
            operation.dropped_at = now
            self.drop(operation)

    @property
    def unanswered(self) -> int:
        """How many `pending` are."""
        return len(self._open)

    def deadline(self) -> int | None:
        """When `poll` is wanted at the latest; 0 for now."""
        if not self.running:
            return None
        if self._idle:
            return 0
        while self._heap and self._heap[0][2].due != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def poll(self, now: int) -> Iterator[Sent]:
        """All that is to be sent now."""
        if not self.running:
            return
        idle, self._idle = self._idle, []
        for client in sorted(idle, key=lambda c: c.queue[0].order if c.queue else 0):
            if client.queue and client.due is None:
                yield from self._begin(client, now)
        while self._heap and self._heap[0][0] <= now:
            due, _, client = heapq.heappop(self._heap)
            if client.due == due and client.queue:
                yield from self._again(client, now)

    def _begin(self, client: _Client, now: int) -> Iterator[Sent]:
        operation = client.queue[0]
        if operation.invoked_at is not None:  # a further set: it is asked again
            yield from self._ask(client, self._everyone(), now)
            return
        client.timestamp += 1
        request: Request = (client.account, client.timestamp, *operation.request[2:])
        operation.request, operation.invoked_at = request, now
        self._votes.begin(client.label)
        client.open_calls, client.pause = 0, FIRST_PAUSE_US
        to = self._everyone() if client.believed is None else (client.believed,)
        yield from self._ask(client, to, now)

    def _again(self, client: _Client, now: int) -> Iterator[Sent]:
        """Its time is over: the time-out of an attempt, or the pause after an error."""
        if client.is_pausing:
            yield from self._ask(client, (client.next_to,), now)
            return
        asked = client.believed or client.next_to
        client.believed = None
        client.next_to = asked % self._replicas + 1
        to = self._everyone() if self._retry == "all" else (client.next_to,)
        yield from self._ask(client, to, now)

    def _everyone(self) -> tuple[ReplicaId, ...]:
        return tuple(range(1, self._replicas + 1))

    def _ask(
        self, client: _Client, to: Iterable[ReplicaId], now: int, body: Body | None = None
    ) -> Iterator[Sent]:
        operation = client.queue[0]
        client.is_pausing, client.waiting = False, 0
        for replica in to:
            client.next_to = replica
            yield self._call(client, operation, replica, body)
        self._set_due(client, now + self._timeout)

    def _call(
        self, client: _Client, operation: Operation, to: ReplicaId, body: Body | None = None
    ) -> Sent:
        self._message += 1
        sent = {**(body or self._dialect.begin(operation)), "msg_id": self._message}
        self._calls[self._message] = _Call(operation, client, to, sent)
        client.open_calls += 1
        client.waiting += 1
        return Sent(client.label, to, sent)

    def _set_due(self, client: _Client, due: int) -> None:
        if not self.running:
            client.due = None
            return
        client.due = due
        self._pushed += 1
        heapq.heappush(self._heap, (due, self._pushed, client))

    # ---- answers -------------------------------------------------------------------------------

    def passed_on(self, label: str, request: Body, to: ReplicaId) -> None:
        """A replica passed this client's request on to another one, which may answer it then."""
        number = request.get("msg_id")
        call = self._calls.get(number) if type(number) is int else None
        if call is not None and call.client.label == label:
            call.passed_on_to.add(to)

    def take(self, replica: ReplicaId, label: str, answer: Body, now: int) -> Iterable[Sent]:
        """A replica sent this to a client; what that client sends next at once."""
        number = answer.get("in_reply_to")
        call = self._calls.get(number) if type(number) is int else None
        name = replica_name(replica)
        may_answer = call is not None and (call.to == replica or replica in call.passed_on_to)
        if call is None or not may_answer or call.client.label != label:
            is_text = is_number_as_text(number) and int(str(number)) in self._calls
            kind = remarks.REPLY_AS_TEXT if is_text else remarks.UNKNOWN_REPLY
            self._remarks.add(name, kind, answer)
            return ()
        if call.is_settled:
            self._remarks.add(name, remarks.ANSWERS_TWICE, answer)
            meaning = self._dialect.understand(call.operation, call.body, answer)
            if isinstance(meaning, Done):
                self.answers[call.operation.request[:2], meaning.result] = None
            return ()
        self._believe(call.client, replica, answer, now)
        meaning = self._dialect.understand(call.operation, call.body, answer)
        if isinstance(meaning, Wrong):
            self._remarks.add(name, f"answers {{}}: {meaning.why}", answer)
            return ()
        is_current = bool(call.client.queue) and call.client.queue[0] is call.operation
        is_open = meaning is None and not self._is_definite(answer)
        call.is_settled = not is_open
        if is_current:
            call.client.open_calls -= not is_open
            call.client.waiting = max(0, call.client.waiting - 1)
        if isinstance(meaning, Ask):
            if not is_current or not self.running:
                return ()
            sent = self._call(call.client, call.operation, replica, meaning.body)
            self._set_due(call.client, now + self._timeout)
            return (sent,)
        if isinstance(meaning, Done):
            self.last_answered = replica
            self.answers[call.operation.request[:2], meaning.result] = None
            if call.operation.result is None and is_current:
                self._settle(call, replica, answer, meaning, now)
            return ()
        self._after_error(call, replica, answer, now, is_current)
        return ()

    def follow(self, replica: ReplicaId, told: Body, now: int) -> Iterator[Sent]:
        """A replica tells all clients that it leads, `{"type": "leader", "ballot": [3, "n2"]}`.

        In a ballot above all that were told before, it is asked at once for what is open. With a
        number it gets a word in any case, so that it need not say it again.
        """
        ballot = read_ballot(told.get("ballot"), self._replicas)
        if told.get("type") != "leader" or ballot is None or ballot.replica != replica:
            self._remarks.add(replica_name(replica), remarks.NO_LEADER, told)
            return
        if (number := told.get("msg_id")) is not None:
            yield Sent(ALL_CLIENTS, replica, {"type": "leader_ok", "in_reply_to": number})
        if self.elected is not None and ballot <= self.elected:
            return
        self.elected, self.last_named, self.named_at = ballot, replica, now
        for client in self.by_account.values():
            client.believed = replica
            if client.queue and client.due is not None:
                yield from self._ask(client, (replica,), now)

    def _settle(self, call: _Call, replica: ReplicaId, answer: Body, done: Done, now: int) -> None:
        """The first answer to the outstanding request."""
        operation, client = call.operation, call.client
        operation.result, operation.answered_at = done.result, now
        operation.answered_by = replica
        if call.body["type"] != READ:  # what a register's read decides is a read itself
            operation.voters = self._votes.voters(client.label, replica)
        slot = answer.get("slot")
        operation.slot = slot if is_number(slot) and slot > 0 else None
        self.answered_upto = max(self.answered_upto, operation.slot or 0)
        operation.ballot = read_ballot(answer.get("ballot"), self._replicas)
        self.last_answer_at = now
        if client.believed is None:
            client.believed = replica
        self._next(client, operation)

    def _next(self, client: _Client, operation: Operation) -> None:
        client.queue.popleft()
        self._votes.end(client.label)
        client.due = None
        client.is_pausing, client.pause = False, FIRST_PAUSE_US
        self._open.pop(id(operation), None)
        self.last_error.pop(id(operation), None)
        if client.queue:
            self._idle.append(client)

    def _believe(self, client: _Client, replica: ReplicaId, answer: Body, now: int) -> None:
        named = read_replica(answer.get("leader"), self._replicas)
        if named is not None:
            client.believed = self.last_named = named
            self.named_at = now
        elif answer.get("type") != "error":
            client.believed = replica

    @staticmethod
    def _is_definite(answer: Body) -> bool:
        return error_code(answer) in DEFINITE

    def _note_error(self, call: _Call, replica: ReplicaId, answer: Body) -> None:
        code, text = answer.get("code"), answer.get("text")
        told = f"error {shown(str(code), 30)} from {replica_name(replica)}"
        self.last_error[id(call.operation)] = f"{told}: {shown(str(text), 80)}" if text else told

    def _after_error(
        self, call: _Call, replica: ReplicaId, answer: Body, now: int, is_current: bool
    ) -> None:
        """A definite one says that this attempt has done nothing, any other leaves it open."""
        client, code = call.client, error_code(answer)
        self._note_error(call, replica, answer)
        if code == NOT_SUPPORTED:
            self.on_unsupported(replica, call.body["type"])
        if not is_current:
            return
        if self._dialect.refuses and code in REFUSALS and client.open_calls == 0:
            assert code is not None
            refusal = Refusal(
                call.operation, replica, code, shown(str(answer.get("text", "")), 100)
            )
            self.refusals.append(refusal)
            call.operation.refused = f"error {code} from {replica_name(replica)}: {refusal.text}"
            self._next(client, call.operation)
            return
        if client.waiting or client.is_pausing or client.due is None:
            return  # somebody else was asked in the same round: one of them may still answer
        named = read_replica(answer.get("leader"), self._replicas)
        client.next_to = named or replica % self._replicas + 1
        client.is_pausing = True
        self._set_due(client, now + client.pause)
        client.pause = min(LONGEST_PAUSE_US, 2 * client.pause)

    def lost(self, replica: ReplicaId, now: int) -> None:
        """The process of a replica is gone: who asked it alone tries again at once."""
        for client in self.by_account.values():
            if client.queue and client.due is not None and client.next_to == replica:
                client.believed = None
                self._set_due(client, min(client.due, now + SHORTEST_RETRY_US))
            elif client.believed == replica:
                client.believed = None


def is_number_as_text(number: object) -> bool:
    """A msg_id that came back as text."""
    return type(number) is str and number.isascii() and number.isdecimal() and len(number) < 16


def read_replica(told: object, replicas: int) -> ReplicaId | None:
    """The replica of "n2"; None for anything that is no replica's name."""
    if not isinstance(told, str) or not told.startswith("n"):
        return None
    return next((r for r in range(1, replicas + 1) if replica_name(r) == told), None)


def read_ballot(told: object, replicas: int) -> Ballot | None:
    """The ballot of [3, "n2"]; None for anything else."""
    match told:
        case [int(number), str(name)] if not isinstance(number, bool) and 0 <= number < 2**63:
            replica = read_replica(name, replicas)
            return None if replica is None else Ballot(number, replica)
    return None
