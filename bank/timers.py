"""Every moment that a replica waits for, in one place: nothing else holds a due time.

So whoever wants a replica with its time taken out, as the explorer of `harness.sim` does, looks
here; what else tells of time is when a leader was answered (`standing.Leader`).
"""

from dataclasses import dataclass, field
from random import Random

from bank.ballot import ReplicaId
from bank.settings import Settings


@dataclass(slots=True)
class Timers:
    """Microseconds of the driver's clock; None for what is not waited for."""

    settings: Settings
    random: Random
    now: int  # of this turn; never goes back
    last_turn: int  # when the last turn ended
    inquiry: int  # when it asks around, having heard nothing of anybody
    checkpoint: int  # when the next one may be taken
    election: int | None = None  # None before the first word of anyone
    fetch: int = 0  # when somebody else is asked for what is missing
    asking_since: int = 0  # since when nothing came of all that was asked for
    question: int = 0  # when peers are asked again about the checkpoint in question
    not_before: int = 0  # no own PREPARE earlier than this,
    quiet_until: int = 0  # nor soon after another's
    # Peers that take a checkpoint piece by piece: until when they are given no other one.
    reading_until: dict[ReplicaId, int] = field(default_factory=dict)
    # Of a leader:
    heartbeat: int = 0
    lease: int = 0  # no reason to step down before; may be too early, never too late
    commit: int | None = None  # when a COMMIT leaves unless an ACCEPT did before
    spare: int | None = None  # when spare backups are told, if nothing is committed before

    def draw_timeout(self) -> int:
        """A new election time-out, between the bounds of the settings."""
        low, high = self.settings.election_timeout
        return low + int(self.random.random() * (high - low))

    def restart_election(self, later: int = 0) -> int:
        """The election timer begins anew, for so much longer than a time-out; when it runs out."""
        low, high = self.settings.election_timeout
        self.election = self.now + later + low + int(self.random.random() * (high - low))
        return self.election

    def stand_after(self, pause: int) -> None:
        """The election timer runs out after `pause`, unless it does earlier."""
        at = max(self.now + pause, self.not_before)
        self.election = at if self.election is None else min(self.election, at)
