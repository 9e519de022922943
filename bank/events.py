"""What a replica decided that is worth a line in a trace. Values; their words are the harness's."""

from enum import Enum, auto
from typing import NamedTuple, TypeAlias

from bank.ballot import Ballot, ReplicaId, Slot


class Reason(Enum):
    """Why a replica leads or stands no longer."""

    DEPOSED = auto()  # it promised or follows a higher ballot
    UNANSWERED = auto()  # no quorum answered the leader within its time-out
    OUTBID = auto()  # a higher promise exists, and no quorum answers the leader
    PREPARES_ABOVE = auto()  # a higher promise exists, a quorum answers: it stands again
    OUTVOTED = auto()  # a majority has another history: the leader halts


class BecameCandidate(NamedTuple):
    ballot: Ballot


class AskedWhoIsFree(NamedTuple):
    """A PREPARE with number 0 left: a new number is worth taking once a quorum has no leader."""


class Leads(NamedTuple):
    ballot: Ballot


class Follows(NamedTuple):
    """The NEW-VIEW of this ballot was accepted."""

    ballot: Ballot


class SteppedDown(NamedTuple):
    reason: Reason


class AskedSpare(NamedTuple):
    """Nothing was committed for a while, so the spare backups get what was proposed, too."""


class ChosePrompt(NamedTuple):
    """Backups that are asked first from now on; all others are spare."""

    prompt: tuple[ReplicaId, ...]


class InstalledCheckpoint(NamedTuple):
    slot: Slot


class RefusedCheckpoint(NamedTuple):
    """What arrived of this peer was damaged, and is thrown away."""

    source: ReplicaId


Event: TypeAlias = (
    BecameCandidate
    | AskedWhoIsFree
    | Leads
    | Follows
    | SteppedDown
    | AskedSpare
    | ChosePrompt
    | InstalledCheckpoint
    | RefusedCheckpoint
)
