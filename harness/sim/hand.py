"""A world driven by hand: every message waits in its queue until somebody lets it go on.

One FIFO queue per directed pair, one clock for all. Nothing happens by itself: who drives delivers,
drops, lets time pass, crashes and restarts. Times that are given are milliseconds.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from bank.ballot import Ballot, ReplicaId
from bank.effects import Effects, Send
from bank.ledger import READ, TRANSFER
from bank.messages import Message, PeerDown
from bank.replica import CLIENT, Replica
from bank.sessions import Request, Session
from bank.settings import MILLISECOND, Settings
from bank.status import ReplicaStatus, Role
from harness.cluster import kill_points
from harness.cluster.kill_points import Cut
from harness.cluster.nemesis import Link
from harness.cluster.wording import message_name
from harness.sim.process import SLOW, Fate, Process, World

LIVELOCK = 1000  # rounds of messages, or turns at one instant, that no sound replica needs
TEN_EACH: Mapping[str, int] = dict.fromkeys("ABCDEFGHIJKLMNOPQRSTUVWXYZ", 10)


def transfer(sender: str, receiver: str, amount: int, timestamp: int = 1) -> Request:
    """A transfer as the sender's client asks for it."""
    return (sender, timestamp, TRANSFER, sender, receiver, amount)


def read(account: str, timestamp: int = 1, client: str = "") -> Request:
    """A linearizable read, by the account's own client unless another one is named."""
    return (client or account, timestamp, READ, account, "", 0)


class Waiting:
    """What replicas sent each other, by link and in order: what waits, and all there ever was."""

    def __init__(self) -> None:
        self.queues: dict[Link, deque[Message]] = defaultdict(deque)
        self.sent: list[tuple[ReplicaId, ReplicaId, Message]] = []

    def post(self, source: ReplicaId, to: ReplicaId, message: Message) -> None:
        """A message waits from now on."""
        self.queues[source, to].append(message)

    def end(self, dead: ReplicaId, notice: PeerDown | None, alive: list[ReplicaId]) -> None:
        """A process is gone, and what was sent to it; the notice comes after what it sent."""
        for (_, to), queue in self.queues.items():
            if to == dead:
                queue.clear()
        for other in alive:
            if notice is not None:
                self.post(dead, other, notice)

    def named(self, link: Link, name: str, older: int) -> Message | None:
        """Take the oldest message of this name, or one with so many older ones before it."""
        queue = self.queues[link]
        for at, message in enumerate(queue):
            if message_name(message) == name:
                if not older:
                    del queue[at]
                    return message
                older -= 1
        return None

    def again(self, link: Link, name: str, newer: int) -> Message | None:
        """The newest of this name that ever was sent, or one with so many newer ones after it."""
        for *sent_on, message in reversed(self.sent):
            if tuple(sent_on) == link and message_name(message) == name:
                if not newer:
                    return message
                newer -= 1
        return None

    def command(self, link: Link, message: Message) -> str:
        """Take a message that is equal to this one; in words, by which `named` or `again` do."""
        queue, name = self.queues[link], message_name(message)
        where, verb, skipped = f"n{link[0]}->n{link[1]} {name}", "again", 0
        if message in queue:
            at = queue.index(message)
            verb, skipped = "deliver", sum(message_name(m) == name for m in list(queue)[:at])
            del queue[at]
        else:
            for *sent_on, other in reversed(self.sent):
                if tuple(sent_on) == link and message_name(other) == name:
                    if other == message:
                        break
                    skipped += 1
        return f"{verb} {where} +{skipped}" if skipped else f"{verb} {where}"


@dataclass(frozen=True, slots=True)
class Doom:
    """Where a process dies: in its next turn that stores something, or that does anything."""

    words: str
    acts: int | None = None  # so many are done; None: up to the write
    with_write: bool = False  # and this
    write_first: bool = False
    lost: int = 0

    @property
    def said(self) -> str:
        """As a script says it."""
        return self.words.replace("the ", "")

    def cut(self, effects: Effects) -> Cut | None:
        """How far these get; None: they are not the ones."""
        early, stores = kill_points.letters(effects.early), effects.persist is not None
        if self.acts is not None:
            if early or stores or effects.durable:
                return kill_points.after(self.acts, effects, self.write_first, self.lost)
            return None
        return kill_points.after(early + self.with_write, effects) if stores else None


BEFORE_WRITE, AFTER_WRITE = Doom("before the write"), Doom("after the write", with_write=True)
Reply: TypeAlias = tuple[ReplicaId, Ballot, Session]


class HandWorld(World):
    """See the module."""

    waiting_class: type[Waiting] = Waiting

    def __init__(
        self,
        nodes: int,
        settings: Settings,
        balances: Mapping[str, int] = TEN_EACH,
        seed: object = None,
        is_checked: bool = True,
    ) -> None:
        """All are fresh and running."""
        super().__init__(nodes, settings, balances, Replica, seed, is_checked)
        self.waiting = self.waiting_class()
        self.queues, self.sent = self.waiting.queues, self.waiting.sent
        self.replies: list[Reply] = []
        self.elected: list[tuple[ReplicaId, Ballot]] = []  # who sent a LEADER for which ballot
        self.loses: Callable[[ReplicaId, ReplicaId, Message], bool] = lambda *_: False
        self.away: set[ReplicaId] = set()  # disconnected: what arrives is thrown away
        self.paused: set[ReplicaId] = set()  # stopped: what arrives waits
        self.slow_disks: set[ReplicaId] = set()  # a write there ends with `disk_answers` only
        self.dooms: dict[ReplicaId, Doom] = {}
        self._reads_on = False  # the turn goes on with what comes next
        self._is_noticed = True  # a death
        self.processes = {r: self.process(r) for r in self.everyone}
        for process in self.processes.values():
            process.start()

    def process(self, replica: ReplicaId) -> Process:
        """A process of this world, not started yet."""
        return Process(self, replica)

    def __getitem__(self, replica: ReplicaId) -> Replica:
        return self.processes[replica].replica

    def is_running(self, replica: ReplicaId) -> bool:
        """Its process is there."""
        return self.processes[replica].alive

    def hears(self, replica: ReplicaId) -> bool:
        """It takes part."""
        return self.is_running(replica) and replica not in self.away | self.paused

    # ---- messages ------------------------------------------------------------------------------

    def step(self, to: ReplicaId, message: Message, source: ReplicaId = CLIENT) -> None:
        """Hand one message over, past the queues."""
        self.processes[to].read(source, message)
        self._end_turn(to)

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
            waiting = [link for link in links if self.hears(link[1])]
            for link in waiting:
                if self.queues[link]:  # its reader did not die meanwhile
                    self.deliver(*link)

    def _end_turn(self, replica: ReplicaId) -> None:
        if not self._reads_on:
            self.processes[replica].end_turn()

    def fate(self, process: Process, effects: Effects, is_first: bool) -> Fate:
        """See World."""
        doom = self.dooms.get(process.id)
        if doom is not None and (cut := doom.cut(effects)) is not None:
            return cut
        if process.id in self.slow_disks and effects != Effects():
            return SLOW
        return None

    def send(self, process: Process, send: Send) -> None:
        """See World."""
        super().send(process, send)
        self.post(process.id, send)

    def post(self, source: ReplicaId, send: Send) -> None:
        """A message waits from now on, unless it is lost."""
        for to in send.to:
            self.sent.append((source, to, send.message))
            gone = not self.is_running(to) or {source, to} & self.away
            if not gone and not self.loses(source, to, send.message):
                self.waiting.post(source, to, send.message)

    def flushed(self, process: Process, effects: Effects) -> None:
        """See World."""
        super().flushed(process, effects)
        self.note_told(process.id, effects)

    def note_told(self, replica: ReplicaId, effects: Effects) -> None:
        """Keep what clients are told."""
        if effects.elected is not None:
            self.elected.append((replica, effects.elected.ballot))
        for reply in effects.replies:
            self.replies += [(replica, reply.ballot, answer) for answer in reply.answers]

    def disk_answers(self, replica: ReplicaId) -> None:
        """The write that a slow disk is busy with ends, and with it the turn."""
        self.processes[replica].end_write()
        self._end_turn(replica)

    # ---- time ----------------------------------------------------------------------------------

    def skip(self, milliseconds: float) -> None:
        """The clock moves on; nobody looks at it yet."""
        self.time += round(milliseconds * MILLISECOND)

    def tick(self, *replicas: ReplicaId) -> None:
        """These look at the clock."""
        for replica in replicas:
            self.processes[replica].tick()
            self._end_turn(replica)

    def expire(self, replica: ReplicaId) -> None:
        """Only this replica's election time-out passes."""
        self.skip(max(0, self.wait(replica)))
        self.tick(replica)

    def run(self, milliseconds: float) -> None:
        """Everything works for so long: messages arrive at once, timers fire when due."""
        end = self.time + round(milliseconds * MILLISECOND)
        last = turns = 0
        while True:
            self.deliver_all()
            due = [(d, r) for r in self.everyone if (d := self._due(r)) is not None]
            at, replica = min(due, default=(end + 1, 0))
            if at > end:
                break
            turns = turns + 1 if at <= last else 0
            assert turns < LIVELOCK, f"n{replica} wants to be ticked at {at} for ever"
            last, self.time = at, max(self.time, at)
            self.tick(replica)
        self.time = end

    def _due(self, replica: ReplicaId) -> int | None:
        return self[replica].deadline() if self.hears(replica) else None

    def wait(self, replica: ReplicaId) -> float:
        """How many milliseconds from now until this replica wants to be ticked."""
        due = self[replica].deadline()
        assert due is not None, f"n{replica} waits for nothing"
        return (due - self.time) / MILLISECOND

    # ---- failures ------------------------------------------------------------------------------

    def crash(self, replica: ReplicaId, noticed: bool = True, lost: int = 0) -> None:
        """The process dies: its memory, its unfinished write and what was sent to it are gone."""
        self._is_noticed = noticed
        self.processes[replica].kill(lost=lost)
        self._is_noticed = True

    def killed(self, process: Process, cut: Cut | None) -> None:
        """See World."""
        self.dooms.pop(process.id, None)
        self.slow_disks.discard(process.id)
        notice = PeerDown(process.id, process.incarnation) if self._is_noticed else None
        self.waiting.end(process.id, notice, list(filter(self.is_running, self.everyone)))

    def restart(self, replica: ReplicaId) -> None:
        """A new process finds what the disk kept."""
        self.processes[replica].start()
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
            self.processes[replica].reconnected()
            self._end_turn(replica)

    # ---- state ---------------------------------------------------------------------------------

    def status(self, replica: ReplicaId) -> ReplicaStatus:
        """The replica's own word."""
        return self[replica].status()

    def elect(self, replica: ReplicaId = 1) -> None:
        """The first election: `replica` stands, everyone who hears it follows."""
        self.processes[replica].seek_leader()
        self.expire(replica)
        self.deliver_all()
        leaders = [r for r in filter(self.hears, self.everyone) if self[r].role is Role.LEADER]
        assert leaders == [replica], f"leaders: {leaders}"
        self.sent.clear()
