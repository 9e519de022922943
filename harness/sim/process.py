"""Replicas as processes with disks, and what checks are told of them: what every world is made of.

A `Process` takes the turns, by the one loop that there is; a `World` is what is around it. What a
turn does is an order a real process may choose: step what was read, tick, flush; early messages;
the write; durable messages; `stored()`; and again until there is nothing more. `World.fate` says
how each of these goes: whether the write takes time, and whether the process dies, and where.

Nothing happens by itself. Who lets a message arrive or a timer run out, and when, is not said here:
virtual time and a seed in `world`, a script in `hand`, everything in turn in `explore`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from bank.accounts import Balances
from bank.ballot import ReplicaId, replica_name
from bank.effects import Effects, Persist, Send, Stored
from bank.messages import Elected, Message, Reply
from bank.replica import Replica
from bank.settings import Settings
from bank.status import Role
from harness.cluster.kill_points import Cut
from harness.sim import judging
from harness.sim.disk import Disk
from harness.sim.invariants import Safety, Violation

MOST_FLUSHES = 20  # of one turn; a sound replica needs a few


@dataclass(frozen=True, slots=True)
class Slow:
    """The fate of a turn whose write takes its time."""


SLOW = Slow()
Fate = Cut | Slow | None  # None: it goes through


class World:
    """What is around processes. A method is told before what it speaks of has an effect."""

    checks: Safety  # where anybody looks on

    def __init__(
        self,
        nodes: int,
        settings: Settings,
        balances: Mapping[str, int],
        replica_class: Callable[..., Replica],
        seed: object = None,
        is_checked: bool = True,
    ) -> None:
        """Replicas 1..nodes draw from `seed`; `replica_class` may be a broken one, for tests."""
        self.everyone = tuple(range(1, nodes + 1))
        self.settings, self.replica_class = settings, replica_class
        self.balances = Balances.of(balances, settings.sizes.page_accounts)
        self.seed = seed
        self.time = 0  # microseconds
        interval = settings.checkpoint_interval
        self.safety = Safety(nodes, balances, interval) if is_checked else None
        if self.safety is not None:
            self.checks = self.safety

    def make(self, process: "Process", stored: Stored | None) -> Replica:
        """The replica of a process that starts."""
        if stored is not None and self.safety is not None:
            self.safety.restarted(process.id, stored)
        return self.replica_class(
            process.id,
            len(self.everyone),
            self.settings,
            self.random(process),
            self.balances,
            stored,
            process.clock(),
        )

    def random(self, process: "Process") -> Random:
        """What a starting replica draws from."""
        if self.seed is None:
            return Random(process.id)
        return Random(f"{self.seed}/{process.id}/{process.incarnation}")

    # ---- what a turn does ----------------------------------------------------------------------

    def read(self, process: "Process", source: ReplicaId, message: Message) -> None:
        """A message is about to be stepped."""
        if self.safety is not None:
            self.safety.told(process.id, source, message)

    def ticks(self, process: "Process") -> None:
        """A replica looks at the clock."""

    def returns(self, process: "Process") -> None:
        """A replica is told that it is back."""

    def seeks(self, process: "Process") -> None:
        """A replica is told that somebody waits for a leader."""

    def flushed(self, process: "Process", effects: Effects) -> None:
        """A turn's decisions."""
        if self.safety is not None:
            judging.flushed(self.safety, process.id, effects)
            judging.decided(self.safety, process.id, effects, process.replica.log)

    def fate(self, process: "Process", effects: Effects, is_first: bool) -> Fate:
        """How the turn goes with these effects; `is_first`: they are the first of this turn."""
        return None

    def send(self, process: "Process", send: Send) -> None:
        """A message leaves."""
        if self.safety is not None:
            judging.sent(self.safety, process.id, send.message)

    def announce(self, process: "Process", elected: Elected) -> None:
        """A LEADER leaves for all clients."""

    def reply(self, process: "Process", reply: Reply) -> None:
        """A REPLY leaves for the clients."""

    def stored(self, process: "Process", persist: Persist) -> None:
        """A transaction is durable."""
        if self.safety is not None:
            self.safety.stored(process.id, persist)

    def writes(self, process: "Process") -> None:
        """A write began that takes its time."""

    def ends_write(self, process: "Process") -> None:
        """The disk answers."""

    def killed(self, process: "Process", cut: Cut | None) -> None:
        """A process is gone; `cut`: in the middle of a turn."""


class Process:
    """A replica with a disk."""

    replica: Replica  # of the present or last incarnation

    def __init__(
        self, world: World, replica: ReplicaId, drift_ppm: int = 0, is_synced: bool = True
    ) -> None:
        """`drift_ppm` is how much faster its clock runs.

        `is_synced`: every transaction reaches the disk itself, or no power is ever lost.
        """
        self.world = world
        self.id = replica
        self.drift_ppm = drift_ppm
        self.disk = Disk(world.balances.pages)
        self.incarnation = 0  # 0 before the first start
        self.alive = False
        self.writing: Effects | None = None  # a write takes its time, and the turn waits for it
        self.is_synced = is_synced

    def clock(self) -> int:
        """Microseconds on this process's own clock, which may drift."""
        now = self.world.time
        return now + now * self.drift_ppm // 1_000_000 if self.drift_ppm else now

    def start(self) -> None:
        """A new incarnation, from the disk. Its first turn is still to come."""
        assert not self.alive
        self.incarnation += 1
        self.alive, self.writing = True, None
        stored = self.disk.stored() if self.incarnation > 1 else None
        self.replica = self.world.make(self, stored)

    # ---- a turn --------------------------------------------------------------------------------

    def read(self, source: ReplicaId, message: Message) -> None:
        """Step one message."""
        world = self.world
        world.read(self, source, message)
        self.replica.step(source, message, self.clock() if self.drift_ppm else world.time)

    def tick(self) -> None:
        """Look at the clock."""
        self.world.ticks(self)
        self.replica.tick(self.clock())

    def reconnected(self) -> None:
        """It hears the others again."""
        self.world.returns(self)
        self.replica.reconnected(self.clock())

    def seek_leader(self) -> None:
        """Somebody waits for a leader."""
        self.world.seeks(self)
        self.replica.seek_leader(self.clock())

    def end_turn(self, is_first: bool = True) -> None:
        """Flush, and do what that asks for, until it asks for nothing more.

        `is_first` False: it goes on where its disk kept it waiting.
        """
        if self.writing is not None:
            return  # the turn ends when the disk answers
        replica, world = self.replica, self.world
        for count in range(MOST_FLUSHES):
            effects = replica.flush()
            world.flushed(self, effects)
            if effects.halted is not None:
                self.kill()
                return
            fate = world.fate(self, effects, is_first and count == 0)
            if fate is None:
                if effects.early or effects.replies or effects.elected is not None:
                    self._say(effects)
                if effects.persist is not None:
                    self._write(effects.persist)
            elif isinstance(fate, Slow):
                self._say(effects)
                self.writing = effects
                world.writes(self)
                return
            else:
                self._die(effects, fate)
                return
            for send in effects.durable:
                world.send(self, send)
            replica.stored()
            # Only votes of its own lead to more, and only these two have any.
            if effects.persist is None or replica.role is Role.FOLLOWER:
                return
        raise Violation(f"{replica_name(self.id)} has something to flush for ever")

    def end_write(self) -> None:
        """The disk answers: what waited for it is done. The turn is not at its end."""
        self.world.ends_write(self)
        effects, self.writing = self.writing, None
        assert effects is not None
        if effects.persist is not None:
            self._write(effects.persist)
        for send in effects.durable:
            self.world.send(self, send)
        self.replica.stored()

    def _say(self, effects: Effects) -> None:
        for send in effects.early:
            self.world.send(self, send)
        self._tell_clients(effects)

    def _tell_clients(self, effects: Effects) -> None:
        if effects.elected is not None:
            self.world.announce(self, effects.elected)
        for reply in effects.replies:
            self.world.reply(self, reply)

    def _write(self, persist: Persist) -> None:
        self.disk.commit(persist)
        if self.is_synced:
            self.disk.sync()
        self.world.stored(self, persist)

    # ---- death ---------------------------------------------------------------------------------

    def _die(self, effects: Effects, cut: Cut) -> None:
        persist = effects.persist if cut.writes else None
        is_stored = persist is not None and not (self.is_synced and cut.lost)
        if persist is not None and cut.write_first:
            self._commit(persist, is_stored)
        for send in cut.early:
            self.world.send(self, send)
        if cut.answers:
            self._tell_clients(effects)
        if persist is not None and not cut.write_first:
            self._commit(persist, is_stored)
        for send in cut.durable:
            self.world.send(self, send)
        self.kill(cut, cut.lost)

    def _commit(self, persist: Persist, is_stored: bool) -> None:
        """Commit a transaction; `is_stored` False: the power goes before it is synced."""
        self.disk.commit(persist)
        if is_stored:
            if self.is_synced:
                self.disk.sync()
            self.world.stored(self, persist)

    def kill(self, cut: Cut | None = None, lost: int = 0) -> None:
        """SIGKILL, at this instant: what is in memory and in its queues is gone.

        What it committed stays, less the last `lost` transactions that a loss of power takes.
        """
        assert self.alive
        self.alive, self.writing = False, None
        self.disk.lose_power(lost)
        self.world.killed(self, cut)
