"""The time without a leader, and what it was spent on.

All instants are microseconds of the one clock that all processes of a machine share.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from bank.ballot import Ballot, ReplicaId
from bank.status import Role


class Turn(NamedTuple):
    """At `at` a replica told that it has this role, and which ballot it leads or follows."""

    at: int
    replica: ReplicaId
    role: str  # value of a Role
    ballot: Ballot


class FirstAnswer(NamedTuple):
    """The first answer that clients got under a ballot, and since when they had asked for it."""

    ballot: Ballot
    asked_at: int
    at: int


@dataclass(frozen=True, slots=True)
class Outage:
    """From the failure of a leader to the first answer under another, in microseconds.

    The four phases follow each other and add up to `total`.
    """

    noticing: int  # until a replica stands
    election: int  # until the one that will answer is elected
    retry: int  # until a client asks for what is answered first; 0 when it had before
    recovery: int  # until that answer: NEW-VIEW or request voted on, executed, answered

    @property
    def total(self) -> int:
        """Without a commit, as clients see it."""
        return self.noticing + self.election + self.retry + self.recovery


def outage(failed_at: int, turns: Iterable[Turn], first: FirstAnswer) -> Outage:
    """What the time between a failure and the first answer was spent on.

    Instants that were not told, or by processes that got to the clock late, make a phase 0, never
    negative, and never longer than the whole.
    """
    after = [turn for turn in turns if turn.at >= failed_at]
    stood = min((t.at for t in after if t.role == Role.CANDIDATE.value), default=failed_at)
    led = min(
        (t.at for t in after if t.role == Role.LEADER.value and t.ballot == first.ballot),
        default=stood,
    )
    instants = [failed_at]
    for instant in (stood, led, first.asked_at, first.at):
        instants.append(max(instants[-1], min(instant, first.at)))
    noticing, election, retry, recovery = (later - earlier for earlier, later in pairwise(instants))
    return Outage(noticing, election, retry, recovery)
