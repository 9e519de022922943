"""What a turn asks for: what to store, what to send, what was executed. Values, never calls."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bank.ballot import Ballot, ReplicaId, Slot
from bank.checkpoint import Checkpoint
from bank.events import Event
from bank.messages import Elected, Message, Reply
from bank.sessions import Request, Session


class Run(NamedTuple):
    """Consecutive slots accepted in one ballot."""

    first_slot: Slot
    ballot: Ballot
    requests: Sequence[Request]


class Executed(NamedTuple):
    """Consecutive slots executed in this turn."""

    first_slot: Slot
    requests: Sequence[Request]
    answers: Sequence[Session]  # as long as `requests`


class Send(NamedTuple):
    to: tuple[ReplicaId, ...]
    message: Message


class Pages(NamedTuple):
    """Some pages of balances of a checkpoint that is being written."""

    slot: Slot  # the checkpoint's
    pages: Sequence[tuple[int, bytes]]  # with their numbers


@dataclass(slots=True)
class Persist:
    """The writes of one turn, to be committed as one transaction.

    Pages are written under the slot of their checkpoint and are nothing until it is the stored
    one; before pages of another one are, those of one that never came so far are thrown away.
    """

    promised: Ballot  # the promise as of now
    seen: int  # the highest ballot number promised, used or seen; never decreases
    promise_changed: bool  # False: the two above are already stored
    runs: list[Run]  # later runs replace slots of earlier ones
    # Replaces the stored one: all its pages that differ were written in earlier turns, or are in
    # `pages`.
    checkpoint: Checkpoint | None
    truncated_upto: Slot  # rows up to here are to go, and that they did is stored with it
    committed_upto: Slot | None  # may lag, never lead; None leaves the stored one as it is
    pages: Pages | None = None  # of a checkpoint that is not stored yet, or is with these
    sessions: Sequence[Session] = ()  # those of `checkpoint` that are not as in the stored one


@dataclass(slots=True)
class Effects:
    """One turn's answer. Order: `early` any time; `persist` committed; then `durable`; `stored()`.

    Nothing in `durable` may leave before `persist` is committed. Everything in `early`, `elected`
    and `replies` may. When a write fails, nothing of `durable` leaves and the replica stops for
    good.
    """

    persist: Persist | None = None
    early: list[Send] = field(default_factory=list)
    durable: list[Send] = field(default_factory=list)
    elected: Elected | None = None  # for all clients
    replies: list[Reply] = field(default_factory=list)  # each client in it gets its own answer
    executed: list[Executed] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)  # of the protocol, worth a line in a trace
    halted: str | None = None  # why the replica refuses to go on: its process ends


@dataclass(frozen=True, slots=True)
class Stored:
    """What a replica finds on its disk when it starts again."""

    promised: Ballot
    seen: int
    entries: Sequence[tuple[Slot, Ballot, Request]]  # in slot order, gaps allowed
    committed_upto: Slot
    truncated_upto: Slot
    checkpoint: Checkpoint | None


@dataclass(slots=True)
class Outbox:
    """The effects of this turn, in the making."""

    peers: tuple[ReplicaId, ...]
    effects: Effects = field(default_factory=Effects)
    answers: list[Session] = field(default_factory=list)  # for clients, one REPLY a turn

    def early(self, to: ReplicaId, message: Message) -> None:
        """To one replica, whether this turn's write is done or not."""
        self.effects.early.append(Send((to,), message))

    def early_all(self, message: Message) -> None:
        """To all others, likewise."""
        self.effects.early.append(Send(self.peers, message))

    def durable(self, to: ReplicaId, message: Message) -> None:
        """To one replica, after this turn's write."""
        self.effects.durable.append(Send((to,), message))

    def tell(self, event: Event) -> None:
        """For whoever traces this replica."""
        self.effects.events.append(event)
