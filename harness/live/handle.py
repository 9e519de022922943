"""A replica's process as the harness knows it, from start to stop, whatever happens to it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from typing import Any, Protocol

from bank.ballot import ReplicaId
from bank.status import Role
from harness.cluster.journal import Liveness
from harness.errors import EXIT_MACHINE, HarnessError
from harness.live.protocol import Gauges, Progress
from harness.live.queues import ControlEnd, Incoming, MalformedFrame, Outgoing
from harness.live.silence import Silence

NEVER_LED = Progress(Role.FOLLOWER.value, (0, 0), False, 0)


@dataclass
class Handle:
    """One replica as the harness knows it."""

    replica: ReplicaId
    incarnation: int = -1
    process: ForkServerProcess | None = None
    control: ControlEnd | None = None
    incoming: Incoming | None = None  # replies
    outgoing: Outgoing | None = None  # requests
    liveness: Liveness = Liveness.CRASHED
    progress: Progress = NEVER_LED
    told_at: int = 0  # when that was so, by the clock of all processes
    gauges: Gauges | None = None  # that this incarnation told last; only when asked
    was_leader: bool = False
    trouble: str | None = None  # why it is not live although nobody failed it
    halted: bool = False  # by itself, because of a contradiction
    ended_silently: bool = False  # its code ended or held up the process: run none of it here
    armed: str | None = None  # the kill point at which it is to die
    is_ready: bool = False
    confirmed: bool = False  # did what it was told last
    silence: Silence | None = None  # since it was asked something, until it is heard
    heard_at: int = 0
    answers: dict[int, Any] = field(default_factory=dict)  # by ticket


def read_safely(read: Callable[[], list[Any]]) -> list[Any]:
    """What a queue holds. HarnessError with EXIT_MACHINE when that is no frame of ours."""
    try:
        return read()
    except MalformedFrame as error:
        raise HarnessError(f"a queue is damaged: {error}", exit_code=EXIT_MACHINE) from error


class Listener(Protocol):
    """Who is told what happens to the fleet."""

    def on_reply(self, replica: ReplicaId, plain: Any) -> None:
        """A REPLY or a LEADER arrived from this replica, in wire form."""

    def on_turn(self, replica: ReplicaId, executed: list[Any], lines: list[Any]) -> None:
        """A replica executed slots or handled messages; or it failed or returned, as a line."""

    def on_lost(self, replica: ReplicaId) -> None:
        """The queue to a replica closed: its process died."""
