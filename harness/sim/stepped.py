"""A world driven by hand, one event at a time, which tables can be made of as of any cluster.

Beside what a script's world does it keeps a journal of every replica, knows who waits for an answer
since when, and says what can happen next. Who chooses, and goes back, is `stepper`'s business.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from bank.ballot import NO_BALLOT, Ballot, ReplicaId, Slot, replica_name
from bank.effects import Effects, Send
from bank.messages import Message, PeerDown
from bank.replica import CLIENT
from bank.sessions import Request
from bank.settings import MILLISECOND
from bank.status import Role, SlotStatus
from harness.cluster.driver import CommitLog, ReplicaView
from harness.cluster.journal import Journal, Liveness, LivenessChanged, Traces, Way
from harness.cluster.nemesis import Link
from harness.cluster.wording import joined, message_line, message_name, request_text
from harness.sim.hand import Waiting
from harness.sim.process import Process
from harness.sim.script import ScriptError
from harness.sim.script_runner import ScriptRunner

MOST_ENTRIES = 10_000  # kept of each replica


class Kind(Enum):
    """What an event is; the value is what people see."""

    MESSAGE = "message"
    TIMER = "timer"
    DISK = "disk"
    CLIENT = "client"
    FILE = "file"  # the next step of a test set
    SEED = "seed"  # the next event of a recorded run


class Event(NamedTuple):
    """Something that can happen now."""

    kind: Kind
    words: str
    commands: tuple[str, ...]  # of a script
    due: int = 0  # microseconds; of timers
    lost: str = ""  # the command that loses it instead; "" where nothing can be lost


class Numbered(Waiting):
    """Messages that know which of all was sent first."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers: dict[tuple[Link, int], int] = {}
        self._posted = 0

    def post(self, source: ReplicaId, to: ReplicaId, message: Message) -> None:
        """See Waiting."""
        super().post(source, to, message)
        self._posted += 1
        self._numbers[(source, to), id(message)] = self._posted

    def in_order(self) -> Iterator[tuple[Link, Message, int]]:
        """All that wait, the oldest first, with how many of its name wait before it on its link."""
        found: list[tuple[int, Link, Message, int]] = []
        for link, queue in self.queues.items():
            names: dict[str, int] = {}
            for message in queue:
                name = message_name(message)
                older = names[name] = names.get(name, -1) + 1
                found.append((self._numbers[link, id(message)], link, message, older))
        found.sort(key=lambda one: one[:2])
        return ((link, message, older) for _, link, message, older in found)


class SteppedWorld(ScriptRunner):
    """See the module. It is a `cluster.driver.Looked`, as tables ask for it."""

    waiting_class = Numbered
    waiting: Numbered

    def __init__(
        self,
        given: Mapping[str, str],
        client_timeout: int,
    ) -> None:
        """`given`: what the first line of a script says; `client_timeout` in microseconds."""
        everyone = range(1, int(given["nodes"]) + 1)
        self.committed = CommitLog()
        self._journals = {replica: Journal() for replica in everyone}
        self._traces = Traces(everyone, MOST_ENTRIES)
        self._told_at = 0
        self._client_timeout = client_timeout
        self._asked_at: dict[str, int] = {}  # by client, its last request
        self._believed: dict[str, ReplicaId] = {}
        self._answered: set[tuple[str, int]] = set()
        self._elected = NO_BALLOT  # the highest in a LEADER
        self._to_ask: set[str] = set()  # clients that wait for an earlier one; only looked into
        self._is_unheard = False  # nobody answered that LEADER yet
        self._moved_at = 0  # when a client asked for something new, or got an answer
        self._led: set[ReplicaId] = set()  # when they failed
        super().__init__(given)
        self.replicas = len(self.everyone)

    # ---- what is written down ------------------------------------------------------------------

    def now(self) -> int:
        """For journals: no two things happen at one time, so that what came first is known."""
        self._told_at = max(self._told_at + 1, self.time)
        return self._told_at

    def read(self, process: Process, source: ReplicaId, message: Message) -> None:
        """See World."""
        self._journals[process.id].passed(self.now(), Way.READ, (source,), message)
        super().read(process, source, message)

    def post(self, source: ReplicaId, send: Send) -> None:
        """See HandWorld."""
        to = () if len(send.to) == len(self.everyone) - 1 > 1 else tuple(send.to)
        self._journals[source].passed(self.now(), Way.SENT, to, send.message)
        super().post(source, send)

    def lost(self, source: ReplicaId, to: ReplicaId, message: Message) -> None:
        """See TraceWriter."""
        self._journals[to].passed(self.now(), Way.LOST, (source,), message)
        super().lost(source, to, message)

    def flushed(self, process: Process, effects: Effects) -> None:
        """See World."""
        journal = self._journals[process.id]
        journal.turned(self.now(), effects.events, effects.executed)
        for run in effects.executed:
            done = zip(run.requests, run.answers, strict=True)
            self.committed.add(process.id, run.first_slot, [(r, a[2]) for r, a in done])
        if (elected := effects.elected) is not None:
            journal.passed(self.now(), Way.SENT, (CLIENT,), elected)
            if elected.ballot >= self._elected:
                self._follow(elected.ballot)
        for reply in effects.replies:
            journal.passed(self.now(), Way.SENT, (CLIENT,), reply)
            for client, timestamp, *_ in reply.answers:
                self._answered.add((client, timestamp))
                self._moved_at = self.time
                self._believed[client] = reply.ballot.replica
        super().flushed(process, effects)

    def _follow(self, ballot: Ballot) -> None:
        """Clients hear a LEADER at once; they answer it by what they do next."""
        self._is_unheard = True
        if ballot > self._elected:
            self._elected = ballot
            self._believed.clear()
            self._to_ask = {request[0] for request in self.open_requests()}

    def _new(self, asking: str, text: str) -> Request:
        self._moved_at = self.time
        return super()._new(asking, text)

    def _ask(self, replicas: list[ReplicaId], requests: tuple[Request, ...]) -> None:
        if self._elected.replica in replicas:
            self._is_unheard = False
        for client, *_ in requests:
            self._asked_at[client] = self.time
            self._to_ask.discard(client)
        super()._ask(replicas, requests)
        if not any(map(self.hears, replicas)):
            for replica in replicas:
                self._write(replica, "hears nothing, the request is lost")

    def command(self, text: str) -> None:
        """See ScriptRunner."""
        before = {replica: self.liveness(replica) for replica in self.everyone}
        try:
            super().command(text)
        finally:
            for replica, was in before.items():
                if (now := self.liveness(replica)) is not was:
                    self._journals[replica].add(self.now(), LivenessChanged(now))
                    self._led.discard(replica)
                    if was is Liveness.LIVE and self[replica].role is Role.LEADER:
                        self._led.add(replica)

    # ---- as tables ask for it ------------------------------------------------------------------

    def liveness(self, replica: ReplicaId) -> Liveness:
        """Whether this replica takes part."""
        if not self.is_running(replica):
            return Liveness.CRASHED
        if replica in self.away:
            return Liveness.DISCONNECTED
        return Liveness.PAUSED if replica in self.paused else Liveness.LIVE

    def views(self) -> tuple[ReplicaView, ...]:
        """Every replica's state as of now; failed ones as they were left."""
        return tuple(
            ReplicaView(r, self.liveness(r), self.status(r), r in self._led) for r in self.everyone
        )

    def slots(self, replica: ReplicaId, slots: Sequence[Slot]) -> tuple[SlotStatus, ...]:
        """The state of these slots at one replica."""
        return self[replica].slots(slots)

    def traces(self) -> Traces:
        """The journals of all replicas."""
        for replica, journal in self._journals.items():
            self._traces.add(replica, journal.take())
        return self._traces

    # ---- what is so ----------------------------------------------------------------------------

    def leader(self) -> ReplicaId | None:
        """The live replica that leads in the highest ballot."""
        leads = [r for r in self.everyone if self.hears(r) and self[r].role is Role.LEADER]
        return max(leads, key=lambda r: self[r].following, default=None)

    def timer(self, replica: ReplicaId) -> str:
        """The command with which the timer of a replica runs out. ScriptError if none runs."""
        name = replica_name(replica)
        if not self.hears(replica):
            raise ScriptError(f"{name} is {self.liveness(replica).value}, its timers stand still")
        if self._due(replica) is None:
            raise ScriptError(f"{name} waits for nothing")
        return f"expire {name}"

    def is_chosen(self, slot: Slot) -> bool:
        """A majority of the disks holds one value in one ballot there, or somebody committed it."""
        if any(self.status(r).committed_upto >= slot for r in self.everyone):
            return True
        rows = [process.disk.rows.get(slot) for process in self.processes.values()]
        return any(row is not None and 2 * rows.count(row) > len(rows) for row in rows)

    def open_requests(self) -> list[Request]:
        """What clients asked for last and have no answer to, in the order of asking."""
        found = [r for r in self._last.values() if (r[0], r[1]) not in self._answered]
        return sorted(found, key=lambda r: self._asked_at[r[0]])

    def is_stuck(self, patience: int) -> bool:
        """Clients wait, and for so many microseconds nobody got an answer."""
        return bool(self.open_requests()) and self.time - self._moved_at >= patience

    def was_asked(self) -> bool:
        """Some client asked for something."""
        return bool(self._last)

    def believed(self, client: str) -> str:
        """Whom this client asks first: "n1", or "all" when that process is gone."""
        first = self._elected.replica or self.everyone[0]
        replica = self._believed.get(client, first)
        return replica_name(replica) if self.is_running(replica) else "all"

    # ---- what can happen -----------------------------------------------------------------------

    def events(self) -> list[Event]:
        """Messages under way, the oldest first; slow disks; timers and clients, the next first."""
        found: list[Event] = []
        for (source, to), message, older in self.waiting.in_order():
            if not self.hears(to):
                continue
            name = message_name(message)
            where = f"n{source}->n{to} {name}" + (f" +{older}" if older else "")
            text = message_line(message)[3]
            words = joined(f"{replica_name(source)} → {replica_name(to)}", name, text)
            # The end of a queue is always noticed.
            lost = "" if isinstance(message, PeerDown) else f"drop {where}"
            found.append(Event(Kind.MESSAGE, words, (f"deliver {where}",), lost=lost))
        for replica, process in self.processes.items():
            if process.writing is not None and self.hears(replica):
                words = f"{replica_name(replica)}'s disk ends its write"
                found.append(Event(Kind.DISK, words, (f"answer {replica_name(replica)}",)))
        return found + sorted(self._timers(), key=lambda event: event.due)

    def _timers(self) -> Iterator[Event]:
        for replica in self.everyone:
            if (due := self._due(replica)) is not None:
                name, role = replica_name(replica), self[replica].role.value
                words = f"{name}'s timer ({role}) {self._from_now(due)}"
                yield Event(Kind.TIMER, words, (f"expire {name}",), due)
        leader = replica_name(self._elected.replica)
        if self._is_unheard and not self._to_ask and self.hears(self._elected.replica):
            words = f"clients have heard that {leader} leads"
            yield Event(Kind.CLIENT, words, (f"heard {leader}",), self.time)
        for request in self.open_requests():
            if request[0] in self._to_ask:
                words = f"{request[0]} asks {leader}, which leads: {request_text(request)}"
                yield Event(Kind.CLIENT, words, (f"retry {leader} {request[0]}",), self.time)
                continue
            due = self._asked_at[request[0]] + self._client_timeout
            words = f"{request[0]} asks all again: {request_text(request)} {self._from_now(due)}"
            at = f" @{due / MILLISECOND:.3f}ms" if due > self.time else ""
            yield Event(Kind.CLIENT, words, (f"retry all {request[0]}{at}",), due)

    def _from_now(self, due: int) -> str:
        left = due - self.time
        return f"in {left / MILLISECOND:.0f} ms" if left > 0 else "is due"
