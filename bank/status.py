"""Frozen copies of a replica's state, for display and for checks. Nothing reads them back."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from bank.ballot import Ballot, ReplicaId, Slot
from bank.sessions import Request, Session


class Role(Enum):
    """What a replica does about ballots; the value is what people see."""

    LEADER = "leader"
    CANDIDATE = "candidate"
    FOLLOWER = "backup"


class SlotMark(Enum):
    """How far a slot is at one replica, as PrintStatus shows it."""

    NONE = "X"
    ACCEPTED = "A"
    COMMITTED = "C"
    EXECUTED = "E"


@dataclass(frozen=True, slots=True)
class SlotStatus:
    """One slot at one replica."""

    slot: Slot
    mark: SlotMark
    ballot: Ballot | None  # None when the slot is empty or truncated
    request: Request | None  # None likewise


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """One replica as of now."""

    replica: ReplicaId
    role: Role
    promised: Ballot
    following: Ballot  # of the NEW-VIEW it leads or follows; (0, n0) for none
    answered: bool  # a leader: a quorum, itself included, answered within a time-out
    committed_upto: Slot  # every slot up to here is known to be committed
    executed_upto: Slot
    truncated_upto: Slot
    last_slot: Slot  # the highest slot held, whatever its state
    checkpoint: Slot  # slot of the durable checkpoint; 0 for none
    digest: str  # of balances and sessions, from scratch
    running_hash: str  # at the last multiple of the checkpoint interval that was executed
    balances: Mapping[str, int]
    sessions: tuple[Session, ...]
    halted: str | None  # why this replica stopped itself
    differs: str | None = None  # the first history that it saw to differ from its own
