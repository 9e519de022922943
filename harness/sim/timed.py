"""Virtual time: events in a heap, and processes that take turns when something arrives or is due.

One heap keyed (time, sequence number); one who decides. The same decisions give the same run, byte
for byte. Nothing here looks at the real clock, and no set is iterated whose order could show.
"""

import heapq
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, TypeAlias

from bank.ballot import ReplicaId
from bank.effects import Effects
from bank.messages import Message, PeerDown, State, StatePiece
from harness.cluster import kill_points, wire
from harness.cluster.choices import Choices, happens
from harness.cluster.kill_points import INSTANTS, Cut, Instant
from harness.sim.invariants import Violation
from harness.sim.process import SLOW, Fate, Process, World

MOST_IDLE_TURNS = 10
COMPARED_EVERY = 1000  # events between two comparisons of all replicas' states


class Control(Enum):
    """What the harness tells a process over its control queue."""

    DISCONNECT = "disconnect"
    RECONNECT = "reconnect"
    SEEK_LEADER = "seek leader"


Item: TypeAlias = bytes | PeerDown | Control


@dataclass(frozen=True, slots=True)
class ProcessRules:
    """How a process behaves. Times in microseconds, rates from 0 to 1."""

    batching: float = 0.0  # how often a turn waits for more messages, and for how long at most:
    batch_delay: int = 200
    slow_write: float = 0.0  # how often a write takes time, and how long at most:
    write_delay: int = 5_000
    crash_per_turn: float = 0.0  # how often a turn is killed at one of INSTANTS
    power_loss: float = 0.0  # how many of these crashes lose power as well


class TimedWorld(World):
    """A world with a clock of its own."""

    choices: Choices
    processes: dict[ReplicaId, "TimedProcess"]

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.coverage: Counter[str] = Counter()
        self.events = 0
        self.is_running = False  # in `run_until`: something happens
        self._sequence = 0
        self._heap: list[tuple[int, int, Callable[..., None], tuple[object, ...]]] = []

    def now(self) -> int:
        """Virtual microseconds since the start."""
        return self.time

    def at(self, when: int, handler: Callable[..., None], *arguments: object) -> None:
        """Call `handler(*arguments)` at `when`; events of one moment happen in order of asking."""
        self._sequence += 1
        heapq.heappush(self._heap, (when, self._sequence, handler, arguments))

    def next_event(self) -> None:
        """Let the next thing happen."""
        self.time, _, handler, arguments = heapq.heappop(self._heap)
        self.events += 1
        handler(*arguments)
        if self.events % COMPARED_EVERY == 0:
            self.compare()

    def run_until(self, condition: Callable[[], bool], timeout: int) -> bool:
        """Let the cluster work until `condition()` holds, at most `timeout` microseconds."""
        deadline, heap = self.time + timeout, self._heap
        self.is_running = True
        try:
            while not condition():
                if not heap or heap[0][0] > deadline:
                    self.time = deadline
                    return condition()
                # As `next_event`, which would be called a million times.
                self.time, _, handler, arguments = heapq.heappop(heap)
                self.events += 1
                handler(*arguments)
                if not self.events % COMPARED_EVERY:
                    self.compare()
        finally:
            self.is_running = False
        return True

    def run_for(self, microseconds: int) -> None:
        """Let the cluster work for so long: as `run_until`, and nothing is asked after an event."""
        deadline, heap = self.time + microseconds, self._heap
        self.is_running = True
        try:
            while heap and heap[0][0] <= deadline:
                self.time, _, handler, arguments = heapq.heappop(heap)
                self.events += 1
                handler(*arguments)
                if not self.events % COMPARED_EVERY:
                    self.compare()
        finally:
            self.is_running = False
        self.time = deadline

    def compare(self) -> None:
        """Hold all running replicas' states against each other and against any time before."""
        if self.safety is not None:
            running = [p.replica.status() for p in self.processes.values() if p.alive]
            self.safety.compare(running)

    def alive(self) -> list[ReplicaId]:
        """Those whose processes run."""
        return [replica for replica, process in self.processes.items() if process.alive]

    def count(self, what: str) -> None:
        """Something happened that a campaign wants to have reached."""
        self.coverage[what] += 1

    def fate(self, process: Process, effects: Effects, is_first: bool) -> Fate:
        """See World."""
        return self.processes[process.id].draw_fate(effects, is_first)

    def writes(self, process: Process) -> None:
        """See World."""
        self.processes[process.id].wait_for_disk()


class TimedProcess(Process):
    """A process with an inbox and timers."""

    def __init__(
        self,
        world: TimedWorld,
        replica: ReplicaId,
        rules: ProcessRules,
        drift_ppm: int = 0,
        is_synced: bool = True,
    ) -> None:
        super().__init__(world, replica, drift_ppm, is_synced)
        self.timed = world
        self.rules = rules
        self.paused = self.disconnected = False
        self.was_leader = False  # when it failed
        self.died_at = ""  # where in a turn, in words
        self._armed: str | None = None  # the named point to die at
        self._inbox: deque[tuple[ReplicaId, Item]] = deque()
        self._wake_at: int | None = None
        self._last_turn = -1
        self._idle_turns = 0  # in a row, at one moment, with nothing read
        self._work = (0, 0)  # what goes on in idle turns: truncated up to, pages left to write
        self._is_answered = False  # the disk answered while the process was stopped
        self._catches_up = False  # this turn read a STATE

    @property
    def is_live(self) -> bool:
        """True when it takes part."""
        return self.alive and not self.paused and not self.disconnected

    def _when(self, due: int) -> int:
        """The first moment of the world at which this clock shows at least `due`."""
        when = due * 1_000_000 // (1_000_000 + self.drift_ppm)
        while when + when * self.drift_ppm // 1_000_000 < due:
            when += 1
        return when

    # ---- what arrives --------------------------------------------------------------------------

    def start(self) -> None:
        """A new incarnation, from the disk, with its first turn."""
        self.paused = self.disconnected = self.was_leader = self._is_answered = False
        self._inbox.clear()
        self._wake_at = self._armed = None
        super().start()
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
            self.timed.count("message lost: its reader died")
            return
        self._inbox.append((source, item))
        if self.paused or self.writing is not None:
            return
        rules = self.rules
        if rules.batching and happens(self.timed.choices, rules.batching):
            self._rouse(self.world.time + self.timed.choices.pick(rules.batch_delay))
        else:
            self._turn()

    def control(self, what: Control) -> None:
        """The harness asks for something; done at once unless a write is going on."""
        self._inbox.append((0, what))
        if not self.paused and self.writing is None:
            self._turn()

    def _rouse(self, when: int) -> None:
        if self._wake_at is None or when < self._wake_at:
            self._wake_at = when
            self.timed.at(when, self._wake, self.incarnation)

    def _wake(self, incarnation: int) -> None:
        now = self.world.time
        if incarnation != self.incarnation or now != self._wake_at:
            return  # roused earlier meanwhile, or another process by now
        self._wake_at = None
        if not self.alive or self.paused or self.writing is not None:
            return
        if self._inbox:
            self._turn()
        elif (due := self._due()) is not None:
            if due <= now:
                self._turn()
            else:
                self._rouse(due)

    def _due(self) -> int | None:
        if self.disconnected:
            return None
        due = self.replica.deadline()
        return self._when(due) if self.drift_ppm and due is not None else due

    # ---- turns ---------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Read everything that arrived, let time pass, and do what that asks for."""
        self._stay_calm()
        self._catches_up = False
        inbox = self._inbox
        if len(inbox) == 1 and type(data := inbox[0][1]) is bytes and not self.disconnected:
            source, _ = inbox.popleft()  # the usual case: one message, and nothing in its way
            self.read(source, self._decoded(data))
        elif inbox:
            for source, item in self._read_inbox():
                if isinstance(item, Control):
                    self._obey(item)
                else:
                    self.read(source, item)
        if self.disconnected:
            return  # nothing is ticked, flushed or sent
        due = self.replica.deadline()
        if due is not None and due <= (self.clock() if self.drift_ppm else self.world.time):
            self.tick()
        self.end_turn()
        self._go_on()

    def _stay_calm(self) -> None:
        """A deadline that a tick does not move would let a real process spin."""
        now, replica = self.world.time, self.replica
        if self._last_turn != now:  # the usual case
            self._last_turn, self._idle_turns = now, 1
            return
        writing = replica.learner.writing
        work = replica.log.truncated_upto, 0 if writing is None else len(writing.left)
        if self._inbox or work != self._work:
            self._idle_turns = 0
        self._work = work
        self._idle_turns += 1
        if self._idle_turns > MOST_IDLE_TURNS:
            raise Violation(f"n{self.id} wants to be ticked without end: {replica.deadline()}")

    def _read_inbox(self) -> list[tuple[ReplicaId, Message | Control]]:
        """What is to be obeyed and stepped; what comes while it is cut off is thrown away."""
        read: list[tuple[ReplicaId, Message | Control]] = []
        inbox, is_away = self._inbox, self.disconnected
        while inbox:
            source, item = inbox.popleft()
            if type(item) is bytes and not is_away:
                read.append((source, self._decoded(item)))
            elif isinstance(item, Control):
                if item is Control.DISCONNECT:
                    read.clear()
                    is_away = True
                elif item is Control.RECONNECT:
                    is_away = False
                read.append((source, item))
            elif is_away:
                self.timed.count("message lost: disconnected")
            else:
                assert isinstance(item, PeerDown)
                read.append((source, item))
        return read

    def _decoded(self, data: bytes) -> Message:
        """A message that this turn reads."""
        message = wire.decode_own(data)
        if isinstance(message, (State, StatePiece)):
            self._catches_up = True
        return message

    def _obey(self, control: Control) -> None:
        if control is Control.DISCONNECT:
            self.was_leader, self.disconnected = self.replica.leads_answered(), True
        elif control is Control.RECONNECT and self.disconnected:
            self.disconnected = self.was_leader = False
            self.reconnected()
        elif control is Control.SEEK_LEADER and not self.disconnected:
            self.seek_leader()

    def _go_on(self) -> None:
        """Sleep until the next deadline."""
        if not self.alive or self.writing is not None or self.disconnected:
            return
        due = self.replica.deadline()
        if due is None:
            return
        if self.drift_ppm:
            due = self._when(due)
        if self._wake_at is None or due < self._wake_at:  # most often it wakes early enough
            now = self.world.time
            self._rouse(due if due > now else now)

    def draw_fate(self, effects: Effects, is_first: bool) -> Fate:
        """Whether it dies in this turn, or its write takes time: seldom, and but once a turn."""
        if self._armed is not None and kill_points.passes(
            self._armed, effects, self.replica.role, self._catches_up
        ):
            self.died_at = self._armed
            return kill_points.cut_at(self._armed, effects, self.timed.alive())
        rules = self.rules
        if not is_first or not (rules.crash_per_turn or rules.slow_write):
            return None
        choices, stores = self.timed.choices, effects.persist is not None
        if (
            rules.crash_per_turn
            and (stores or effects.early or effects.durable)
            and happens(choices, rules.crash_per_turn)
        ):
            return self._draw_cut(INSTANTS[choices.pick(len(INSTANTS))], effects)
        if stores and rules.slow_write and happens(choices, rules.slow_write):
            return SLOW
        return None

    def _draw_cut(self, instant: Instant, effects: Effects) -> Cut:
        choices, self.died_at = self.timed.choices, instant.value
        self.timed.count(f"crash {instant.value}")
        cut = kill_points.drawn(instant, effects, choices, write_first=choices.pick(4) == 0)
        at_risk = self.disk.unsynced + (cut.writes and not self.is_synced)
        if self.is_synced:  # the power may go after the write and before the sync
            at_risk = int(cut.writes and instant is Instant.AFTER_WRITE)
        if not happens(choices, self.rules.power_loss):
            return cut
        lost = choices.pick(at_risk + 1)
        self.timed.count("power lost: committed write lost" if lost else "power lost: write kept")
        return replace(cut, lost=lost)

    def wait_for_disk(self) -> None:
        """A write began that takes its time."""
        now, spent = self.world.time, self.timed.choices.pick(self.rules.write_delay)
        self.timed.at(now + spent, self._disk_answers, self.incarnation)

    def _disk_answers(self, incarnation: int) -> None:
        """The write is done; a stopped process goes on only when it is continued."""
        if incarnation != self.incarnation or not self.alive:
            self.timed.count("write lost: killed in the middle")
        elif self.paused:
            self._is_answered = True
        else:
            self._end_write()

    def _end_write(self) -> None:
        self.end_write()
        if self._inbox:
            self._turn()
        else:
            self.end_turn(is_first=False)
            self._go_on()

    # ---- failing -------------------------------------------------------------------------------

    def kill(self, cut: Cut | None = None, lost: int = 0) -> None:
        """See Process."""
        if cut is None:
            self.died_at = ""
        self.was_leader = self.replica.leads_answered()
        self.paused = self.disconnected = self._is_answered = False
        self._inbox.clear()
        self._wake_at = None
        super().kill(cut, lost)

    def pause(self) -> None:
        """SIGSTOP: nothing runs, messages pile up."""
        self.was_leader = self.replica.leads_answered()
        self.paused = True

    def resume(self) -> None:
        """SIGCONT: it goes on where it was, and reads its queues before its clock."""
        self.paused = self.was_leader = False
        if self._is_answered:
            self._is_answered = False
            self._end_write()
        elif self.writing is None:
            self._wake_at = None
            if self._inbox:
                self._rouse(self.world.time)
            else:
                self._go_on()
