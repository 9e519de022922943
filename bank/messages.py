"""Every message, as a value with a sentence.

What must be durable when a message leaves (rule 1; `effects.Effects` keeps the two kinds
apart, and docs/protocol.md gives the reasons):

    message      on disk before it leaves                        may overtake the turn's write
    PREPARE      the ballot, as the candidate's own promise;     no
                   nothing for number 0, which only asks
    ACK          the promise; every entry of the accept-log      no
    ACCEPTED     the promise; every slot that it claims          no
    NEW-VIEW     nothing of this turn: the leader's own vote     yes
    ACCEPT         counts only after its own write, and a        yes
    COMMIT         restarted replica never resumes a ballot      yes
    HEARTBEAT                                                    yes
    REPLY        nothing: the slot is chosen by a quorum         yes
    LEADER       nothing: a quorum promised, on their disks      yes
    REQUEST      nothing: the client's own words                 yes
    CATCH-UP     nothing: a question                             yes
    STATE        nothing: every entry in it is committed         yes
    CHECKPOINT   nothing: a fact about committed slots           yes
    NACK         nothing: losing it or forgetting it is safe     yes

No message rests on a checkpoint that is being written: a replica says and does what it could
without, until the transaction that makes it the stored one, and truncates nothing before.

Who sent a message is known by the queue it came in on, never by a field that could lie.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, TypeAlias, TypeVar, dataclass_transform

from bank.ballot import Ballot, ReplicaId, Slot
from bank.sessions import Request, Session

_Kind = TypeVar("_Kind")


@dataclass_transform(frozen_default=True)
def _message(kind: type[_Kind]) -> type[_Kind]:
    """A value. The type checker holds that nobody writes to one: `frozen` would hold it at run time
    as well, and make each message three times as dear, 1.4 µs of four fields.
    """
    return dataclass(slots=True, unsafe_hash=True)(kind)


class AcceptedEntry(NamedTuple):
    """One slot of a replica's log, as it is reported to a candidate."""

    slot: Slot
    ballot: Ballot  # in which this replica accepted it last
    request: Request
    committed: bool  # this replica knows that the request is chosen in this slot


@_message
class ClientRequest:
    """Sent by a client to the leader it believes in, or to all on a retry; relayed once at most.

    Without requests it only answers a LEADER: who has nothing open has heard of it.
    """

    LABEL: ClassVar[str] = "REQUEST"
    requests: tuple[Request, ...]  # of different clients of one process, in one message
    relayed: bool = False  # by a backup to its leader; never relayed again


@_message
class Reply:
    """Sent by a replica to clients when slots were executed, or a known request came again."""

    LABEL: ClassVar[str] = "REPLY"
    ballot: Ballot  # of the NEW-VIEW that the sender leads or follows; (0, n0) for none
    answers: tuple[Session, ...]  # client, timestamp, result, slot of the first execution


@_message
class Elected:
    """Sent by the winner of an election to all clients: a quorum promised me this ballot.

    Again with its heartbeats, until a client was heard from. Asks for nothing but to be asked.
    """

    LABEL: ClassVar[str] = "LEADER"
    ballot: Ballot


@_message
class Prepare:
    """Sent by a candidate to all: promise me this ballot (phase 1a).

    With number 0 it only asks who is without a leader; nobody promises that, a NACK answers it.
    """

    LABEL: ClassVar[str] = "PREPARE"
    ballot: Ballot
    committed_upto: Slot  # the candidate's; accept-logs start above it


@_message
class Promise:
    """Sent by a replica to a candidate: I promise, and this is what I accepted (phase 1b)."""

    LABEL: ClassVar[str] = "ACK"
    ballot: Ballot
    committed_upto: Slot
    # Slots up to here are committed and not reported: truncated, or more than a STATE carries.
    truncated_upto: Slot
    accept_log: tuple[AcceptedEntry, ...]  # all held above that and the candidate's committed_upto


@_message
class NewView:
    """Sent by a new leader to all: these are the open slots, in my ballot, gaps as no-ops."""

    LABEL: ClassVar[str] = "NEW-VIEW"
    ballot: Ballot
    first_slot: Slot
    requests: tuple[Request, ...]  # of first_slot, first_slot + 1, ...; may be empty
    committed_upto: Slot  # always first_slot - 1


@_message
class Accept:
    """Sent by the leader to all: accept this run of slots in my ballot (phase 2a).

    A busy leader sends it to a quorum at once and to the others later, several runs in one.
    """

    LABEL: ClassVar[str] = "ACCEPT"
    ballot: Ballot
    first_slot: Slot
    requests: tuple[Request, ...]  # of consecutive slots; never empty
    committed_upto: Slot  # the leader's


@_message
class Accepted:
    """Sent by a replica to its leader: I accepted this run in your ballot (phase 2b).

    Says of every slot in first_slot..last_slot: accepted by me in exactly this ballot and durable,
    or committed and below my truncation. Spans no gap. Empty when last_slot < first_slot.
    """

    LABEL: ClassVar[str] = "ACCEPTED"
    ballot: Ballot
    first_slot: Slot
    last_slot: Slot
    asked_upto: Slot  # last slot of the HEARTBEAT this answers; 0 when it answers none


@_message
class Commit:
    """Sent by the leader to all when slots were committed and no ACCEPT is about to say so."""

    LABEL: ClassVar[str] = "COMMIT"
    ballot: Ballot
    committed_upto: Slot


@_message
class Heartbeat:
    """Sent by the leader to all at a fixed pace, under load too; answered with ACCEPTED."""

    LABEL: ClassVar[str] = "HEARTBEAT"
    ballot: Ballot
    first_slot: Slot  # of the NEW-VIEW of this ballot
    last_slot: Slot  # the highest proposed so far
    committed_upto: Slot


@_message
class CatchUp:
    """Sent by a replica that misses committed slots to any other: give me what comes from here.

    `piece` above 0 asks for one more piece of the checkpoint at `checkpoint_slot`.
    """

    LABEL: ClassVar[str] = "CATCH-UP"
    first_slot: Slot
    checkpoint_slot: Slot = 0
    piece: int = 0


@_message
class State:
    """Sent in answer to CATCH-UP: committed entries from first_slot on."""

    LABEL: ClassVar[str] = "STATE"
    first_slot: Slot
    ballots: tuple[Ballot, ...]  # in which the sender holds each
    requests: tuple[Request, ...]  # as long as `ballots`
    committed_upto: Slot  # the sender's; more than is carried here when there is more to ask for


@_message
class StatePiece:
    """Sent in answer to CATCH-UP below the sender's truncation: a piece of its checkpoint."""

    LABEL: ClassVar[str] = "STATE"
    checkpoint_slot: Slot
    piece: int  # from 0
    pieces: int
    data: bytes  # at most `Sizes.piece_bytes`
    committed_upto: Slot


@_message
class CheckpointHash:
    """Sent by a replica to all when it took a checkpoint, at each heartbeat until a majority is
    known to have its hash, and in answer; by a leader to all when a majority has its hash.
    """

    LABEL: ClassVar[str] = "CHECKPOINT"
    slot: Slot
    running_hash: str  # the sender's, at this slot
    answer: bool  # False asks for the receiver's hash of this slot
    holders: tuple[ReplicaId, ...]  # who has this hash there, as far as the sender knows; sorted


@_message
class Nack:
    """Sent by a replica to the sender of a message below its promise, or of a question."""

    LABEL: ClassVar[str] = "NACK"
    promised: Ballot


@_message
class PeerDown:
    """Not a message of a replica: the driver's notice that a peer's process died.

    Delivered once per incarnation, after everything that incarnation sent and before anything that
    the next one sends.
    """

    LABEL: ClassVar[str] = "DOWN"
    peer: ReplicaId
    incarnation: int


Message: TypeAlias = (
    ClientRequest
    | Reply
    | Elected
    | Prepare
    | Promise
    | NewView
    | Accept
    | Accepted
    | Commit
    | Heartbeat
    | CatchUp
    | State
    | StatePiece
    | CheckpointHash
    | Nack
    | PeerDown
)
