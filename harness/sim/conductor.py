"""Replicas driven by hand: every message waits in its queue until a test lets it go on.

One FIFO queue per directed pair, one in-memory disk per replica, one clock for all. Nothing
happens by itself: a test delivers, drops, lets time pass, crashes and restarts. What each replica
sent stays in `sent`, what it answered to clients in `replies`.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Mapping
from random import Random
from types import UnionType
from typing import Any

from bank.ballot import Ballot, ReplicaId, Slot
from bank.effects import Effects, Send, Stored
from bank.ledger import READ, TRANSFER
from bank.messages import ClientRequest, Message, NewView, PeerDown
from bank.replica import CLIENT, Replica
from bank.sessions import Request, Session
from bank.settings import MILLISECOND, Settings
from bank.status import ReplicaStatus, Role
from harness.sim.disk import Disk

LIVELOCK = 1000  # rounds of messages, or turns at one instant, that no sound replica needs
TEN_EACH = dict.fromkeys("ABCDEFGHIJ", 10)


def transfer(sender: str, receiver: str, amount: int, timestamp: int = 1) -> Request:
    """A transfer as the sender's client asks for it."""
    return (sender, timestamp, TRANSFER, sender, receiver, amount)


def read(account: str, timestamp: int = 1, client: str = "") -> Request:
    """A linearizable read, by the account's own client unless another one is named."""
    return (client or account, timestamp, READ, account, "", 0)


class Conductor:
    """See the module. Times that a test gives are milliseconds; `now` is in microseconds."""

    def __init__(
        self,
        replicas: int = 5,
        settings: Settings | None = None,
        balances: Mapping[str, int] = TEN_EACH,
        replica_class: Callable[..., Replica] = Replica,
    ) -> None:
        """Replicas 1..replicas, fresh; `replica_class` may be a broken one."""
        self.settings = settings or Settings()
        self._balances, self._class = balances, replica_class
        self.everyone = tuple(range(1, replicas + 1))
        self.now = 0
        self.disks = {r: Disk() for r in self.everyone}
        self._incarnations = dict.fromkeys(self.everyone, 1)
        self.replicas = {r: self._start(r, None) for r in self.everyone}
        self.queues: dict[tuple[ReplicaId, ReplicaId], deque[Message]] = defaultdict(deque)
        self.sent: list[tuple[ReplicaId, ReplicaId, Message]] = []
        self.replies: list[tuple[ReplicaId, Ballot, Session]] = []
        self.effects: dict[ReplicaId, list[Effects]] = {r: [] for r in self.everyone}
        self.loses: Callable[[ReplicaId, ReplicaId, Message], bool] = lambda *_: False
        self.away: set[ReplicaId] = set()  # disconnected: what arrives is thrown away
        self.paused: set[ReplicaId] = set()  # stopped: what arrives waits
        self.slow_disks: set[ReplicaId] = set()  # a write there ends with `disk_answers` only
        self._writing: dict[ReplicaId, Effects] = {}

    def _start(self, replica: ReplicaId, stored: Stored | None) -> Replica:
        count, random = len(self.everyone), self._random(replica)
        return self._class(replica, count, self.settings, random, self._balances, stored, self.now)

    def _random(self, replica: ReplicaId) -> Random:
        """What a starting replica draws from."""
        return Random(replica)

    def __getitem__(self, replica: ReplicaId) -> Replica:
        return self.replicas[replica]

    # ---- messages ------------------------------------------------------------------------------

    def step(self, to: ReplicaId, message: Message, source: ReplicaId = CLIENT) -> Effects:
        """Hand one message over, past the queues; returns what the turn asked for."""
        self.replicas[to].step(source, message, self.now)
        return self._end_turn(to)

    def request(self, to: ReplicaId | Collection[ReplicaId], *requests: Request) -> None:
        """A client sends these to one replica, or to several."""
        for replica in (to,) if isinstance(to, int) else to:
            if self._hears(replica):
                self.step(replica, ClientRequest(requests))

    def deliver(self, source: ReplicaId, to: ReplicaId) -> Message:
        """The oldest message of one queue arrives."""
        message = self.queues[source, to].popleft()
        self.step(to, message, source)
        return message

    def deliver_all(self) -> None:
        """Everything arrives, and what that causes, until all is silent."""
        waiting, rounds = [(0, 0)], 0
        while waiting:
            rounds += 1
            assert rounds < LIVELOCK, f"never silent: {waiting}"
            links = sorted(link for link, queue in self.queues.items() if queue)
            waiting = [link for link in links if self._hears(link[1])]
            for link in waiting:
                self.deliver(*link)

    def drop(self, kind: type | None = None, to: ReplicaId | None = None) -> None:
        """Lose what waits in the queues: all of it, of one kind, or to one replica."""
        for (_, receiver), queue in self.queues.items():
            if to in (None, receiver):
                kept = [m for m in queue if kind is not None and not isinstance(m, kind)]
                queue.clear()
                queue.extend(kept)

    def said(
        self, source: ReplicaId, kind: type | UnionType, to: ReplicaId | None = None
    ) -> list[Any]:
        """What `source` sent of this kind, in order, each once however many it went to."""
        found: list[Any] = []
        for sender, receiver, message in self.sent:
            wanted = sender == source and isinstance(message, kind) and to in (None, receiver)
            if wanted and not any(message is one for one in found):
                found.append(message)
        return found

    def answers(self, client: str) -> list[Session]:
        """Every answer that this client got, from whomever."""
        return [answer for _, _, answer in self.replies if answer[0] == client]

    # ---- turns ---------------------------------------------------------------------------------

    def _hears(self, replica: ReplicaId) -> bool:
        return replica in self.replicas and replica not in self.away | self.paused

    def _end_turn(self, replica: ReplicaId) -> Effects:
        if replica in self._writing:
            return Effects()  # its disk is busy: the turn goes on
        first = effects = self.replicas[replica].flush()
        while effects != Effects() and effects.halted is None:
            self.effects[replica].append(effects)
            self._send(replica, effects.early)
            for reply in effects.replies:
                self.replies += [(replica, reply.ballot, answer) for answer in reply.answers]
            if replica in self.slow_disks:
                self._writing[replica] = effects
                return first
            self._finish(replica, effects)
            effects = self.replicas[replica].flush()
        self.replicas[replica].stored()
        return first

    def _finish(self, replica: ReplicaId, effects: Effects) -> None:
        if effects.persist is not None:
            self.disks[replica].commit(effects.persist)
            self.disks[replica].sync()
        self._send(replica, effects.durable)
        self.replicas[replica].stored()

    def disk_answers(self, replica: ReplicaId) -> None:
        """The write that a slow disk is busy with ends, and with it the turn."""
        self._finish(replica, self._writing.pop(replica))
        self._end_turn(replica)

    def _send(self, source: ReplicaId, sends: list[Send]) -> None:
        for send in sends:
            for to in send.to:
                self.sent.append((source, to, send.message))
                gone = to not in self.replicas or {source, to} & self.away
                if not gone and not self.loses(source, to, send.message):
                    self.queues[source, to].append(send.message)

    # ---- time ----------------------------------------------------------------------------------

    def skip(self, milliseconds: float) -> None:
        """The clock moves on; nobody looks at it yet."""
        self.now += round(milliseconds * MILLISECOND)

    def tick(self, *replicas: ReplicaId) -> None:
        """These look at the clock."""
        for replica in replicas:
            self.replicas[replica].tick(self.now)
            self._end_turn(replica)

    def expire(self, replica: ReplicaId) -> None:
        """Only this replica's election time-out passes."""
        self.skip(max(0, self.wait(replica)))
        self.tick(replica)

    def run(self, milliseconds: float) -> None:
        """Everything works for so long: messages arrive at once, timers fire when due."""
        end = self.now + round(milliseconds * MILLISECOND)
        last = turns = 0
        while True:
            self.deliver_all()
            due = [(d, r) for r in self.everyone if (d := self._due(r)) is not None]
            at, replica = min(due, default=(end + 1, 0))
            if at > end:
                break
            turns = turns + 1 if at <= last else 0
            assert turns < LIVELOCK, f"n{replica} wants to be ticked at {at} for ever"
            last, self.now = at, max(self.now, at)
            self.tick(replica)
        self.now = end

    def _due(self, replica: ReplicaId) -> int | None:
        return self.replicas[replica].deadline() if self._hears(replica) else None

    def wait(self, replica: ReplicaId) -> float:
        """How many milliseconds from now until this replica wants to be ticked."""
        due = self.replicas[replica].deadline()
        assert due is not None, f"n{replica} waits for nothing"
        return (due - self.now) / MILLISECOND

    # ---- failures ------------------------------------------------------------------------------

    def crash(self, replica: ReplicaId, noticed: bool = True) -> None:
        """The process dies: its memory, its unfinished write and what was sent to it are gone."""
        del self.replicas[replica]
        self._writing.pop(replica, None)
        for other in self.everyone:
            self.queues[other, replica].clear()
            if noticed and other in self.replicas:
                down = PeerDown(replica, self._incarnations[replica])
                self.queues[replica, other].append(down)

    def restart(self, replica: ReplicaId) -> None:
        """A new process finds what the disk kept."""
        self._incarnations[replica] += 1
        self.replicas[replica] = self._start(replica, self.disks[replica].stored())
        self._end_turn(replica)

    def disconnect(self, *replicas: ReplicaId) -> None:
        """These neither send nor hear, and stop their timers."""
        self.away.update(replicas)
        for link, queue in self.queues.items():
            if set(link) & self.away:
                queue.clear()

    def reconnect(self, *replicas: ReplicaId) -> None:
        """These are back, with their memory."""
        self.away.difference_update(replicas)
        for replica in replicas:
            self.replicas[replica].reconnected(self.now)
            self._end_turn(replica)

    # ---- state ---------------------------------------------------------------------------------

    def status(self, replica: ReplicaId) -> ReplicaStatus:
        """The replica's own word."""
        return self.replicas[replica].status()

    def leaders(self) -> list[ReplicaId]:
        """Who says that it leads, among those that take part."""
        live = filter(self._hears, self.everyone)
        return [r for r in live if self.replicas[r].role is Role.LEADER]

    def marks(self, replica: ReplicaId, last_slot: Slot) -> str:
        """Slots 1..last_slot as PrintStatus shows them: "EEAX"."""
        slots = self.replicas[replica].slots(range(1, last_slot + 1))
        return "".join(slot.mark.value for slot in slots)

    def elect(self, replica: ReplicaId = 1) -> None:
        """The first election: `replica` stands, everyone who hears it follows."""
        self.replicas[replica].seek_leader(self.now)
        self.expire(replica)
        self.deliver_all()
        assert self.leaders() == [replica], f"leaders: {self.leaders()}"
        self.sent.clear()


def follower(replica: ReplicaId, replicas: int = 5) -> Conductor:
    """`replica` is settled, with n1 as its leader in (1, n1); nobody else was told anything."""
    c = Conductor(replicas)
    c.step(replica, NewView(Ballot(1, 1), 1, (), 0), source=1)
    c.drop()
    c.sent.clear()
    return c
