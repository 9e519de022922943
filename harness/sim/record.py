"""A simulated world that writes down what befalls its replicas, as commands of a script.

A script knows no network: a message that arrives is delivered, one that does not is not mentioned,
and who is disconnected or paused just does nothing. What a script cannot say is left out: clocks
that drift, and the moment of a crash between two sends of one turn. So the story is nearly always
the same, and whether it ends the same is for the player to find out.
"""

from collections import defaultdict
from typing import Any

from bank.ballot import ReplicaId, replica_name
from bank.effects import Effects, Send
from bank.messages import ClientRequest, Message, PeerDown
from bank.replica import CLIENT, Replica
from bank.sessions import Request
from bank.settings import MILLISECOND
from harness.cluster import wire
from harness.cluster.wording import message_name, request_text
from harness.sim.player import READ_ON
from harness.sim.process import Point, Process
from harness.sim.world import SimCluster

_BEFORE = (Point.AMONG_EARLY, Point.BEFORE_WRITE, None)  # None: in the middle of the write
_AFTER = (Point.AFTER_WRITE, Point.AMONG_DURABLE)


class Recorded(SimCluster):
    """See the module."""

    def __init__(self, *arguments: Any) -> None:
        """As a SimCluster."""
        self._commands: list[str] = []  # empty ones are told by nobody
        self._healed_at: int | None = None
        self._turns: dict[ReplicaId, list[int]] = {}  # where those of an unfinished turn stand
        # The last command of an unflushed one: where it stands, itself, and when it came.
        self._reading: dict[ReplicaId, tuple[int, str, int]] = {}
        self._flushed_at: dict[ReplicaId, int] = {}
        self._stores: set[ReplicaId] = set()  # whose unfinished turn writes something
        self._asked: dict[str, int] = {}  # client: its last timestamp
        # By link what was sent and did not arrive yet: its name, and itself.
        self._waiting: dict[tuple[ReplicaId, ReplicaId], list[tuple[str, bytes]]] = defaultdict(
            list
        )
        super().__init__(*arguments)

    def commands(self) -> list[str]:
        """All that happened."""
        return [command for command in self._commands if command]

    def until_healed(self) -> list[str]:
        """What happened until all faults stopped."""
        return [command for command in self._commands[: self._healed_at] if command]

    def _note(self, replica: ReplicaId, command: str) -> None:
        """Something that makes `replica` take a turn. Before it there is room for its death."""
        if replica not in self._turns:
            self._turns[replica] = [len(self._commands)]
            self._commands.append("")
        if (last := self._reading.get(replica)) is not None:
            place, before, at = last
            self._commands[place] = _timed(before + READ_ON, at)
        self._reading[replica] = len(self._commands), command, self.now()
        self._turns[replica].append(len(self._commands))
        self._add(command)

    def _add(self, command: str) -> None:
        self._commands.append(_timed(command, self.now()))

    # ---- what a world does ---------------------------------------------------------------------

    def _make_replica(self, process: Process) -> Replica:
        name = replica_name(process.id)
        if process.incarnation > 1:
            self._add(f"restart {name}")
        made = super()._make_replica(process)
        tick, reconnected = made.tick, made.reconnected

        def ticked(now: int) -> None:
            self._note(process.id, f"tick {name}")
            tick(now)

        def returned(now: int) -> None:
            self._note(process.id, f"reconnect {name}")
            reconnected(now)

        made.tick, made.reconnected = ticked, returned  # type: ignore[method-assign]
        return made

    def send(self, process: Process, send: Send) -> None:
        """See SimCluster."""
        for to in send.to:
            self._send(process.id, to, send.message)
        super().send(process, send)

    def read(self, process: Process, source: ReplicaId, message: Message) -> None:
        """See SimCluster."""
        if source == CLIENT:
            assert isinstance(message, ClientRequest)
            self._ask_for(process.id, message.requests)
        else:
            self._note(process.id, self._delivery((source, process.id), message))
        super().read(process, source, message)

    def _send(self, source: ReplicaId, to: ReplicaId, message: Message) -> None:
        if self.processes[to].alive:
            self._waiting[source, to].append(_letter(message))

    def _delivery(self, link: tuple[ReplicaId, ReplicaId], message: Message) -> str:
        letter, waiting = _letter(message), self._waiting[link]
        name = letter[0]
        where = f"n{link[0]}->n{link[1]} {name}"
        if letter not in waiting:
            return f"again {where}"
        at = waiting.index(letter)
        older = sum(1 for other, _ in waiting[:at] if other == name)
        del waiting[at]
        return f"deliver {where} +{older}" if older else f"deliver {where}"

    def _ask_for(self, replica: ReplicaId, requests: tuple[Request, ...]) -> None:
        new: list[str] = []
        old: list[str] = []
        for request in requests:
            client, timestamp = request[0], request[1]
            if timestamp > self._asked.get(client, 0):
                self._asked[client] = timestamp
                new.append(request_text(request))
            elif timestamp == self._asked[client]:
                old.append(client)
            else:
                old.append(f"{client} {timestamp}")
        if new:
            more = f" and {', '.join(old)}" if old else ""
            self._note(replica, f"request n{replica} {' '.join(new)}{more}")
        else:
            self._note(replica, f"retry n{replica} {', '.join(old)}")

    def flushed(self, process: Process, effects: Effects) -> None:
        """See SimCluster."""
        self._reading.pop(process.id, None)
        self._stores.discard(process.id)
        self._flushed_at[process.id] = self.now()
        if effects.persist is not None:
            self._stores.add(process.id)
        super().flushed(process, effects)

    def turned(self, process: Process) -> None:
        """See SimCluster."""
        turn = self._turns.pop(process.id, None)
        if turn is not None and self._flushed_at[process.id] < self.now():
            self._commands[turn[0]] = f"slow n{process.id}"
            # What waited meanwhile is read before anything else is flushed.
            self._add(f"answer n{process.id}{READ_ON}")
        super().turned(process)

    def healed(self) -> None:
        """See SimCluster."""
        self._healed_at = len(self._commands)
        super().healed()

    def killed(self, process: Process, point: Point | None, where: str) -> None:
        """See SimCluster."""
        self._crash(process.id, point)
        for peer in self.processes:
            self._waiting[peer, process.id].clear()
            self._send(process.id, peer, PeerDown(process.id, process.incarnation))
        super().killed(process, point, where)

    def _crash(self, replica: ReplicaId, point: Point | None) -> None:
        self._reading.pop(replica, None)
        turn, name = self._turns.pop(replica, None), replica_name(replica)
        if turn is not None and point is Point.BEFORE_ALL:
            for at in turn:
                self._commands[at] = ""  # as if it had not read what made it take this turn
        elif turn is not None and replica in self._stores:
            if point in _AFTER:
                self._commands[turn[0]] = f"crash {name} after write"
                return
            if point in _BEFORE:
                self._commands[turn[0]] = f"crash {name} before write"
                return
        self._add(f"crash {name}")


def _timed(command: str, at: int) -> str:
    return f"{command} @{at / MILLISECOND:.3f}ms"


def _letter(message: Message) -> tuple[str, bytes]:
    """Its name, and what it says; a notice of death is never sent, and says nothing else."""
    data = b"" if isinstance(message, PeerDown) else wire.encode(message)
    return message_name(message), data
