"""One simulated replica process: its inbox, its turns, its clock, and every way it can fail.

A turn does what a real process does, in an order a real process may choose: step what was read,
tick, flush; early sends before or after the write; durable sends only after it; then stored().
It can be killed between any two of these, stopped in the middle, and cut off from its peers.
"""

from collections import deque
from collections.abc import Callable, Container
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Protocol

from bank.ballot import ReplicaId
from bank.effects import Effects, Persist, Send
from bank.messages import Message, PeerDown, Reply, State, StatePiece
from bank.replica import Replica
from harness.cluster import kill_points, nemesis, wire
from harness.sim.disk import Disk
from harness.sim.invariants import Violation


class Control(Enum):
    """What the harness tells a process over its control queue."""

    DISCONNECT = "disconnect"
    RECONNECT = "reconnect"
    SEEK_LEADER = "seek leader"


class Point(Enum):
    """Where in a turn a process can be killed; the value is what people see."""

    BEFORE_ALL = "before anything left"
    AMONG_EARLY = "between early messages"
    BEFORE_WRITE = "after early messages, before the write"
    AFTER_WRITE = "after the write, before durable messages"
    AMONG_DURABLE = "between durable messages"
    BEFORE_STORED = "after all messages, before stored()"


POINTS = tuple(Point)
MOST_IDLE_TURNS = 10

# Where a named kill point of `nemesis` is in a turn; what it does beside that: `kill_points`.
NAMED = {
    nemesis.BEFORE_WRITE: Point.BEFORE_WRITE,
    nemesis.AFTER_WRITE: Point.AFTER_WRITE,
    nemesis.BEFORE_COMMIT: Point.BEFORE_ALL,
    nemesis.MID_NEW_VIEW: Point.BEFORE_WRITE,
    nemesis.MID_CHECKPOINT: Point.BEFORE_WRITE,  # a transaction that was begun leaves nothing
    nemesis.MID_CATCH_UP: Point.BEFORE_WRITE,
}


@dataclass(frozen=True, slots=True)
class ProcessRules:
    """How a process behaves. Times in microseconds, rates from 0 to 1."""

    batching: float = 0.0  # how often a turn waits for more messages, and for how long at most:
    batch_delay: int = 200
    slow_write: float = 0.0  # how often a write takes time, and how long at most:
    write_delay: int = 5_000
    late_early: float = 0.0  # how often early messages leave after the write
    crash_per_turn: float = 0.0  # how often a turn is killed at one of POINTS
    power_loss: float = 0.0  # how many of these crashes lose power as well


class World(Protocol):
    """What a process needs of the world around it."""

    random: Random
    replica_class: Callable[..., Replica]

    def now(self) -> int: ...
    def alive(self) -> Container[ReplicaId]: ...
    def at(self, when: int, handler: Callable[..., None], *arguments: object) -> None: ...
    def send(self, process: "Process", send: Send) -> None: ...
    def reply(self, process: "Process", reply: Reply) -> None: ...
    def flushed(self, process: "Process", effects: Effects) -> None: ...
    def stored(self, process: "Process", persist: Persist) -> None: ...
    def read(self, process: "Process", source: ReplicaId, message: Message) -> None: ...
    def turned(self, process: "Process") -> None: ...
    def killed(self, process: "Process", point: Point | None, where: str) -> None: ...
    def count(self, what: str) -> None: ...


Item = bytes | PeerDown | Control


class Process:
    """A replica with a disk. `drift_ppm` is how much faster its clock runs."""

    def __init__(
        self,
        world: World,
        replica: ReplicaId,
        make: Callable[["Process"], Replica],
        rules: ProcessRules,
        drift_ppm: int = 0,
        synced: bool = True,
    ) -> None:
        """`synced`: every transaction reaches the disk itself, or no power is ever lost."""
        self.world = world
        self.id = replica
        self.rules = rules
        self.disk = Disk()
        self.incarnation = 0  # 0 before the first start
        self.alive = self.paused = self.disconnected = False
        self.was_leader = False  # when it failed
        self._armed: str | None = None  # the named point to die at
        self._make = make
        self._drift_ppm = drift_ppm
        self._synced = synced
        self._inbox: deque[tuple[ReplicaId, Item]] = deque()
        self._wake_at: int | None = None
        self._busy = False  # between flush and stored
        self._last_turn = -1
        self._idle_turns = 0  # in a row, at one moment, with nothing read
        self._frozen: Callable[[], None] | None = None  # where SIGSTOP caught it in a turn
        self._replica: Replica | None = None

    @property
    def replica(self) -> Replica:
        """The replica of the present or last incarnation."""
        assert self._replica is not None, "never started"
        return self._replica

    @property
    def is_live(self) -> bool:
        """True when it takes part."""
        return self.alive and not self.paused and not self.disconnected

    # ---- clock ---------------------------------------------------------------------------------

    def clock(self) -> int:
        """Microseconds on this process's own clock, which may drift."""
        now = self.world.now()
        return now + now * self._drift_ppm // 1_000_000

    def _when(self, due: int) -> int:
        """The first moment of the world at which this clock shows at least `due`."""
        when = due * 1_000_000 // (1_000_000 + self._drift_ppm)
        while when + when * self._drift_ppm // 1_000_000 < due:
            when += 1
        return when

    # ---- turns ---------------------------------------------------------------------------------

    def start(self) -> None:
        """A new incarnation, from the disk."""
        assert not self.alive
        self.incarnation += 1
        self.alive, self.paused, self.disconnected = True, False, False
        self.was_leader = self._busy = False
        self._inbox.clear()
        self._wake_at = self._frozen = self._armed = None
        self._replica = self._make(self)
        self._turn()

    def arm(self, point: str | None) -> bool:
        """Die at this named point, once; None takes that back. False: it cannot be told."""
        if not self.alive or self.paused:
            return False
        self._armed = point
        return True

    def deliver(self, incarnation: int, source: ReplicaId, item: Item) -> None:
        """Something arrived on a queue; lost when the process that had that queue is gone."""
        if incarnation != self.incarnation or not self.alive:
            self.world.count("message lost: its reader died")
            return
        self._inbox.append((source, item))
        if self.paused or self._busy:
            return
        now, rules = self.world.now(), self.rules
        if rules.batching and self.world.random.random() < rules.batching:
            self._rouse(now + int(self.world.random.random() * rules.batch_delay))
        else:
            self._turn()

    def control(self, what: Control) -> None:
        """The harness asks for something; done at once unless a write is going on."""
        self._inbox.append((0, what))
        if not self.paused and not self._busy:
            self._turn()

    def _rouse(self, when: int) -> None:
        if self._wake_at is None or when < self._wake_at:
            self._wake_at = when
            self.world.at(when, self._wake, self.incarnation)

    def _wake(self, incarnation: int) -> None:
        now = self.world.now()
        if incarnation != self.incarnation or now != self._wake_at:
            return  # roused earlier meanwhile, or another process by now
        self._wake_at = None
        if not self.alive or self.paused or self._busy:
            return
        due = self._due()
        if self._inbox or (due is not None and due <= now):
            self._turn()
        elif due is not None:
            self._rouse(due)

    def _due(self) -> int | None:
        if self.disconnected:
            return None
        due = self.replica.deadline()
        return None if due is None else self._when(due)

    def _turn(self) -> None:
        """Read everything that arrived, let time pass, flush, and do what that asks for."""
        replica, now = self.replica, self.clock()
        self._stay_calm()
        read = self._read(now)
        for source, message in read:
            self.world.read(self, source, message)
            replica.step(source, message, now)
        if self.disconnected:
            return  # nothing is ticked, flushed or sent
        due = replica.deadline()
        if due is not None and due <= now:
            replica.tick(now)
        effects = replica.flush()
        self.world.flushed(self, effects)
        if self._armed is not None:
            catching_up = any(isinstance(message, State | StatePiece) for _, message in read)
            if kill_points.passes(self._armed, effects, replica.role, catching_up):
                kill_points.cut_short(self._armed, effects, self.world.alive())
                self._before_write(effects, NAMED[self._armed])
                return
        point = None
        if self.rules.crash_per_turn and (effects.early or effects.durable or effects.persist):
            random = self.world.random
            if random.random() < self.rules.crash_per_turn:
                point = POINTS[int(random.random() * len(POINTS))]
        self._before_write(effects, point)

    def _stay_calm(self) -> None:
        """A deadline that a tick does not move would let a real process spin."""
        if self._inbox or self._last_turn != self.world.now():
            self._idle_turns = 0
        self._idle_turns += 1
        self._last_turn = self.world.now()
        if self._idle_turns > MOST_IDLE_TURNS:
            raise Violation(f"n{self.id} wants to be ticked without end: {self.replica.deadline()}")

    def _read(self, now: int) -> list[tuple[ReplicaId, Message]]:
        """Empty the inbox: obey what the harness asked for, throw away what comes while cut off."""
        read: list[tuple[ReplicaId, Message]] = []
        while self._inbox:
            source, item = self._inbox.popleft()
            if item is Control.DISCONNECT:
                self.was_leader = self.replica.leads_answered()
                self.disconnected = True
                read.clear()
            elif item is Control.RECONNECT:
                if self.disconnected:
                    self.disconnected = self.was_leader = False
                    self.replica.reconnected(now)
            elif self.disconnected:
                self.world.count("message lost: disconnected")
            elif item is Control.SEEK_LEADER:
                self.replica.seek_leader(now)
            elif isinstance(item, PeerDown):
                read.append((source, item))
            else:
                assert isinstance(item, bytes)
                read.append((source, wire.decode(item)))
        return read

    def _before_write(self, effects: Effects, point: Point | None) -> None:
        random, rules = self.world.random, self.rules
        late = bool(rules.late_early) and random.random() < rules.late_early
        if point is Point.BEFORE_ALL:
            return self._crash_at(point)
        if not late:
            if point is Point.AMONG_EARLY and (effects.early or effects.replies):
                self._send_early(effects, int(random.random() * len(effects.early)))
                return self._crash_at(point)
            self._send_early(effects)
        if point in (Point.BEFORE_WRITE, Point.AMONG_EARLY):
            return self._crash_at(Point.BEFORE_WRITE)
        if effects.persist is None or not rules.slow_write or random.random() >= rules.slow_write:
            return self._written(effects, point, late)
        self._busy = True
        spent = int(random.random() * rules.write_delay)
        now = self.world.now()
        self.world.at(now + spent, self._resumable, self.incarnation, effects, point, late)
        return None

    def _resumable(
        self, incarnation: int, effects: Effects, point: Point | None, late: bool
    ) -> None:
        """The write is done; a stopped process goes on only when it is continued."""
        if incarnation != self.incarnation or not self.alive:
            self.world.count("write lost: killed in the middle")
        elif self.paused:
            self._frozen = lambda: self._written(effects, point, late)
        else:
            self._written(effects, point, late)

    def _written(self, effects: Effects, point: Point | None, late: bool) -> None:
        self._busy = False
        persist = effects.persist
        if persist is not None:
            self.disk.commit(persist)
            if self._synced and point is Point.AFTER_WRITE and self._lose_power():
                return self._crash_at(point)  # before the sync: it never happened
            if self._synced:
                self.disk.sync()
            self.world.stored(self, persist)
        if point is Point.AFTER_WRITE:
            return self._crash_at(point)
        if late:
            self._send_early(effects)
        if point is Point.AMONG_DURABLE and effects.durable:
            self._send(effects.durable[: int(self.world.random.random() * len(effects.durable))])
            return self._crash_at(point)
        self._send(effects.durable)
        if point is not None:
            return self._crash_at(Point.BEFORE_STORED)
        self.replica.stored()
        self.world.turned(self)
        self._go_on()
        return None

    def _go_on(self) -> None:
        """Sleep until the next deadline, or not at all when more has arrived meanwhile."""
        now = self.world.now()
        if self._inbox:
            self._rouse(now)
        else:
            due = self._due()
            if due is not None:
                self._rouse(max(due, now))

    def _send_early(self, effects: Effects, count: int | None = None) -> None:
        self._send(effects.early if count is None else effects.early[:count])
        if count is None:
            for reply in effects.replies:
                self.world.reply(self, reply)

    def _send(self, sends: list[Send]) -> None:
        for send in sends:
            self.world.send(self, send)

    # ---- failing -------------------------------------------------------------------------------

    def _lose_power(self) -> bool:
        """Perhaps the power goes before a sync; True when at least one transaction is gone."""
        random = self.world.random
        if random.random() >= self.rules.power_loss:
            return False
        lost = self.disk.lose_power(random)
        self.world.count("power lost: committed write lost" if lost else "power lost: write kept")
        return lost > 0

    def _crash_at(self, point: Point) -> None:
        self.world.count(f"crash {point.value}")
        if not self._synced:
            self._lose_power()
        self.kill(point)

    def kill(self, point: Point | None = None) -> None:
        """SIGKILL, at this instant: what is in memory and in its queues is gone."""
        assert self.alive
        where = "" if point is None else self._armed or point.value
        self.was_leader = self.replica.leads_answered()
        self.alive = self.paused = self.disconnected = self._busy = False
        self._inbox.clear()
        self._wake_at = self._frozen = None
        self.disk.sync()  # the kernel keeps what a dead process committed
        self.world.killed(self, point, where)

    def pause(self) -> None:
        """SIGSTOP: nothing runs, messages pile up."""
        self.was_leader = self.replica.leads_answered()
        self.paused = True

    def resume(self) -> None:
        """SIGCONT: it goes on where it was, and reads its queues before its clock."""
        self.paused = self.was_leader = False
        frozen, self._frozen = self._frozen, None
        if frozen is not None:
            frozen()
        elif not self._busy:
            self._wake_at = None
            self._go_on()
