"""What the checks of `harness.sim.invariants` are told where replicas are driven turn by turn.

The simulated world tells them the same, in between what it counts on the way.
"""

from bank.ballot import ReplicaId
from bank.effects import Effects
from bank.messages import Accept, Accepted, Message, NewView, Prepare, Promise
from bank.replica import Replica
from harness.sim.invariants import Safety


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


def turned(safety: Safety, replica: Replica, effects: Effects) -> None:
    """A turn is over: the watermarks, and the state that they stand for."""
    number, log = replica.replica, replica.log
    safety.truncates(number, log.truncated_upto)
    safety.checkpoints(number, effects.persist)
    safety.watermarks(number, log.truncated_upto, log.executed_upto, log.committed_upto)
    if effects.executed or replica.halted is not None:
        safety.compare([replica.status()])
