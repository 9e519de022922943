"""What the checks of `harness.sim.invariants` are told of a turn, in whatever world it is taken."""

from typing import NamedTuple

from bank.ballot import ReplicaId, Slot, replica_name
from bank.effects import Effects
from bank.log import Log
from bank.messages import (
    Accept,
    Accepted,
    CheckpointHash,
    Message,
    NewView,
    Prepare,
    Promise,
    StatePiece,
)
from harness.sim.invariants import Safety, Violation

TELLING = (CheckpointHash, StatePiece)  # what `Safety.told` listens to


def flushed(safety: Safety, replica: ReplicaId, effects: Effects) -> None:
    """A turn's decisions, before any of them has an effect."""
    for executed in effects.executed:
        safety.executed(replica, executed)
    for send in effects.early:
        message = send.message
        if isinstance(message, NewView):
            safety.leads(message.ballot, replica)
        if isinstance(message, NewView | Accept):
            safety.proposed(message.ballot, message.first_slot, message.requests)
    if effects.elected is not None:
        safety.elected(replica, effects.elected.ballot)
    for reply in effects.replies:
        for answer in reply.answers:
            safety.replied(replica, answer)


def sent(safety: Safety, replica: ReplicaId, message: Message) -> None:
    """A message leaves: what it says of its sender's disk has to be there."""
    match message:
        case Prepare() | Promise():
            safety.spoke(replica, message.ballot)
        case Accepted():
            safety.claimed(replica, message.ballot, message.first_slot, message.last_slot)
        case _:
            pass


class Marks(NamedTuple):
    """How far a replica's log is, at some time."""

    truncated_upto: Slot
    executed_upto: Slot
    committed_upto: Slot


def stopped(replica: ReplicaId, why: str) -> str:
    """The violation of one that goes on no longer."""
    return f"{replica_name(replica)} stopped itself: {why}"


def decided(safety: Safety, replica: ReplicaId, effects: Effects, log: Log | Marks) -> None:
    """What they come to for the replica: it goes on, no watermark goes back, and what it lets go of
    others confirmed.
    """
    if effects.halted is not None:
        raise Violation(stopped(replica, effects.halted))
    if effects.persist is not None:
        safety.checkpoints(replica, effects.persist)
    safety.watermarks(replica, log.truncated_upto, log.executed_upto, log.committed_upto)
