"""A simulated world that writes down what its processes do, as commands of a script.

A script knows no network: a message that arrives is delivered, one that does not is not mentioned,
and who is disconnected or paused just does nothing. Both worlds are made of the same processes, and
all that can happen to one has a command: so what was recorded is played the same, turn by turn.
"""

from typing import Any

from bank.ballot import ReplicaId, replica_name
from bank.effects import Effects, Send, Stored
from bank.messages import ClientRequest, Message, PeerDown
from bank.replica import CLIENT, Replica
from bank.sessions import Request
from bank.settings import MILLISECOND
from harness.cluster.kill_points import Cut
from harness.cluster.wording import request_text
from harness.files.config import ClusterConfig
from harness.sim import script_head
from harness.sim.hand import Waiting
from harness.sim.process import Fate, Process, Slow
from harness.sim.script_runner import READ_ON
from harness.sim.wires import WorldRules
from harness.sim.world import SimCluster

DOOMS = ("slow ", "crash ")  # what happens in the turn that comes next, and is none itself


class Recorded(SimCluster):
    """See the module."""

    def __init__(self, config: ClusterConfig, rules: WorldRules, *more: Any) -> None:
        """As a SimCluster."""
        self._commands: list[str] = []
        self._healed_at: int | None = None
        self._turn: list[str] = []  # the commands of one that is not flushed yet
        self._asked: dict[str, int] = {}  # client: its last timestamp
        self._waiting = Waiting()  # as it is where the commands are obeyed
        super().__init__(config, rules, *more)

    def head(self) -> str:
        """The first line of a script whose replicas are those of this world."""
        drifts = [process.drift_ppm for process in self.processes.values()]
        is_synced = all(process.is_synced for process in self.processes.values())
        return script_head.written(self._config, self.settings.sizes, drifts, is_synced)

    def commands(self) -> list[str]:
        """All that happened; the last of it may have ended with a violation."""
        return [*self._commands, *self._told()]

    def until_healed(self) -> list[str]:
        """What happened until all faults stopped."""
        return self.commands()[: self._healed_at]

    def _timed(self, command: str) -> str:
        return f"{command} @{self.time / MILLISECOND:.3f}ms"

    # ---- what a turn does ----------------------------------------------------------------------

    def make(self, process: Process, stored: Stored | None) -> Replica:
        """See World."""
        if stored is not None:
            self._turn.append(f"restart {replica_name(process.id)}")
        return super().make(process, stored)

    def read(self, process: Process, source: ReplicaId, message: Message) -> None:
        """See World."""
        if source == CLIENT:
            assert isinstance(message, ClientRequest)
            self._turn.append(self._request(process.id, message.requests))
        else:
            self._turn.append(self._waiting.command((source, process.id), message))
        super().read(process, source, message)

    def _request(self, replica: ReplicaId, requests: tuple[Request, ...]) -> str:
        if not requests:
            return f"heard {replica_name(replica)}"
        parts: list[str] = []
        was_new: bool | None = None
        for request in requests:
            client, timestamp, *_ = request
            is_new = timestamp > self._asked.get(client, 0)
            if is_new:
                self._asked[client] = timestamp
                text = request_text(request)
            else:
                text = client if timestamp == self._asked[client] else f"{client} {timestamp}"
            if is_new == was_new:
                parts[-1] += f" {text}" if is_new else f", {text}"
            else:
                parts.append(text)
            was_new = is_new
        verb = "retry" if len(parts) == 1 and not was_new else "request"
        return f"{verb} {replica_name(replica)} {' and '.join(parts)}"

    def ticks(self, process: Process) -> None:
        """See World."""
        self._turn.append(f"tick {replica_name(process.id)}")

    def returns(self, process: Process) -> None:
        """See World."""
        self._turn.append(f"reconnect {replica_name(process.id)}")

    def seeks(self, process: Process) -> None:
        """See World."""
        self._turn.append(f"seek {replica_name(process.id)}")

    def ends_write(self, process: Process) -> None:
        """See World."""
        self._turn.append(f"answer {replica_name(process.id)}")

    def fate(self, process: Process, effects: Effects, is_first: bool) -> Fate:
        """See World."""
        fate = super().fate(process, effects, is_first)
        doom = _doom(process.id, fate)
        # Before the last command of the turn: with that it is flushed.
        self._turn[-1:-1] = [doom] if doom else []
        self._commands += self._told()
        self._turn = []
        return fate

    def _told(self) -> list[str]:
        """The commands of the turn that is taken."""
        said = (c if c.startswith(DOOMS) else c + READ_ON for c in self._turn[:-1])
        return list(map(self._timed, (*said, *self._turn[-1:])))

    # ---- what is between processes -------------------------------------------------------------

    def send(self, process: Process, send: Send) -> None:
        """See World."""
        for to in send.to:
            self._waiting.sent.append((process.id, to, send.message))
            if self.processes[to].alive:
                self._waiting.post(process.id, to, send.message)
        super().send(process, send)

    def killed(self, process: Process, cut: Cut | None) -> None:
        """See World."""
        if cut is None:
            self._commands.append(self._timed(f"crash {replica_name(process.id)}"))
        notice = PeerDown(process.id, process.incarnation)
        self._waiting.end(process.id, notice, self.alive())
        super().killed(process, cut)

    def healed(self) -> None:
        """See SimCluster."""
        self._healed_at = len(self._commands)
        super().healed()


def _doom(replica: ReplicaId, fate: Fate) -> str | None:
    if fate is None:
        return None
    if isinstance(fate, Slow):
        return f"slow {replica_name(replica)}"
    first = " write first" if fate.write_first else ""
    lost = f" losing {fate.lost}" if fate.lost else ""
    return f"crash {replica_name(replica)} after {fate.acts}{first}{lost}"
