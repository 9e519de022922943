"""What happened at each replica, as typed events; how they read is `wording`'s. Pure.

Replicas, live and simulated alike, write a Journal; the harness keeps the entries in `Traces`.
Whoever shows, joins or counts what happened asks the events, never their words. A new event needs
a place in `Event` here or in `bank.events`, and words in `wording.line`.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Any, NamedTuple, TypeAlias, get_args

from bank import events
from bank.ballot import NO_BALLOT, Ballot, ReplicaId, Slot
from bank.effects import Executed as ExecutedRun
from bank.events import Reason
from bank.messages import (
    Accept,
    Accepted,
    CatchUp,
    CheckpointHash,
    ClientRequest,
    Elected,
    Heartbeat,
    Message,
    NewView,
    PeerDown,
    Promise,
    Reply,
    State,
    StatePiece,
)
from harness.cluster import wire

KEPT_REQUESTS = 8  # of what a message carries; more are counted
KEPT_IN_VIEW = 1000  # of a NEW-VIEW, which is rare and worth reading in full
MOST_EVENTS = 10_000  # of the protocol, of all replicas together

CLIENTS: ReplicaId = 0  # all of them, as peers: `bank.replica.CLIENT`, which may not even load

Slots: TypeAlias = tuple[Slot, Slot]  # the first and the last


class Liveness(Enum):
    """Whether a replica takes part; the value is what people see."""

    LIVE = "live"
    DISCONNECTED = "disconnected"
    CRASHED = "crashed"
    PAUSED = "paused"
    STOPPED = "stopped"  # by itself or by the machine: see `ReplicaView.trouble`


CAN_ANSWER = (Liveness.LIVE, Liveness.DISCONNECTED)  # the harness; a disconnected one is there


class Way(Enum):
    """How a replica met a message. The value is what files say.

    When a link fault befalls a message, its reader writes that down as well: what is LOST will
    never be read, what is HELD is read later, what is DOUBLED twice; each reading is READ, as ever.
    """

    SENT = "out"
    READ = "in"
    LOST = "lost"
    HELD = "held"
    DOUBLED = "doubled"


# ---- events ------------------------------------------------------------------------------------


class Passed(NamedTuple):
    """A message at one end of its link, cut to what is worth keeping."""

    way: Way
    peers: tuple[ReplicaId, ...]  # at the other end; () for all others
    plain: tuple[Any, ...]  # `wire.to_plain`: kept so, sent so, and mostly never looked at
    slots: Slots | None  # that it speaks of, what was left out included
    left_out: int  # requests or entries
    unreached: tuple[ReplicaId, ...] = ()  # of `peers`; only a simulated network knows

    @property
    def message(self) -> Message:
        """The message, less what was left out."""
        return wire.from_plain(self.plain)


class Relayed(NamedTuple):
    """A message of other people's replicas at one end of its link, as it stood on its line."""

    way: Way
    peers: tuple[ReplicaId, ...]
    plain: tuple[int, str]  # a number that no other message of the run has, and the line
    slots: None = None
    left_out: int = 0


class Heartbeats(NamedTuple):
    """Heartbeats, what goes with them, and answers that say nothing new, since the entry before."""

    way: Way
    ballot: Ballot
    number: int


class PeerDied(NamedTuple):
    """The end of this peer's queue was read."""

    peer: ReplicaId


class Executed(NamedTuple):
    slots: Slots


class LivenessChanged(NamedTuple):
    """A replica failed or returned; its driver writes it down, since the replica is not told."""

    liveness: Liveness


class QueueReplaced(NamedTuple):
    """The queue from this peer held a malformed frame."""

    peer: ReplicaId
    error: str


Event: TypeAlias = (
    events.Event
    | Passed
    | Heartbeats
    | PeerDied
    | Executed
    | LivenessChanged
    | QueueReplaced
    | Relayed
)


class Entry(NamedTuple):
    """One line of a journal."""

    at: int  # microseconds of the cluster's clock
    event: Event

    @property
    def slots(self) -> Slots | None:
        """That it speaks of."""
        event = self.event
        return event.slots if isinstance(event, (Passed, Executed)) else None

    @property
    def way(self) -> Way | None:
        """How a message was met; None when nothing was met."""
        event = self.event
        if isinstance(event, PeerDied):
            return Way.READ
        return event.way if isinstance(event, (Passed, Heartbeats, Relayed)) else None


def kind(event: Event) -> str:
    """What tells events apart that are counted: "Leads", "DEPOSED"."""
    return event.reason.name if isinstance(event, events.SteppedDown) else type(event).__name__


def passed(
    way: Way, peers: tuple[ReplicaId, ...], message: Message, unreached: tuple[ReplicaId, ...] = ()
) -> Passed | PeerDied:
    """The event of a message, or of the notice of a death."""
    if isinstance(message, PeerDown):
        return PeerDied(message.peer)
    return Passed(way, peers, *_worth_keeping(message), unreached)


_LONG = {  # what may be long in a message, and how much of it is kept
    **dict.fromkeys((ClientRequest, Accept, State), ("requests", KEPT_REQUESTS)),
    NewView: ("requests", KEPT_IN_VIEW),
    Reply: ("answers", KEPT_REQUESTS),
    Promise: ("accept_log", KEPT_REQUESTS),
    StatePiece: ("data", 0),
}
# Where that stands in a plain message, and how much of it is kept.
_PLACES = {kind: (wire.place(kind, name), most) for kind, (name, most) in _LONG.items()}
_SLOTS: dict[type, Callable[[Any], Slots]] = {
    **dict.fromkeys(
        (Accept, NewView, State), lambda m: (m.first_slot, m.first_slot + len(m.requests) - 1)
    ),
    Accepted: lambda m: (m.first_slot, m.last_slot),
    Reply: lambda m: _extent([answer[3] for answer in m.answers]),
    Promise: lambda m: _extent([entry.slot for entry in m.accept_log]),
    StatePiece: lambda m: (m.checkpoint_slot, m.checkpoint_slot),
    CheckpointHash: lambda m: (m.slot, m.slot),
    CatchUp: lambda m: (m.first_slot, m.first_slot),
}


def _extent(slots: Sequence[Slot]) -> Slots:
    return min(slots, default=1), max(slots, default=0)


def _slots(message: Message) -> Slots | None:
    """That a message speaks of."""
    find = _SLOTS.get(type(message))
    if find is None or (found := find(message))[0] > found[1]:
        return None
    return found


def _left_out(message: Message) -> int:
    """How much of a message is not worth keeping: requests or entries."""
    long = _LONG.get(type(message))
    return 0 if long is None else max(0, len(getattr(message, long[0])) - long[1])


def _worth_keeping(message: Message) -> tuple[tuple[Any, ...], Slots | None, int]:
    """What `cut` gives, the message in its plain form."""
    plain, left_out = wire.to_plain(message), _left_out(message)
    if left_out:
        at, most = _PLACES[type(message)]
        plain = (*plain[:at], plain[at][:most], *plain[at + 1 :])
    return plain, _slots(message), left_out


def cut(message: Message) -> tuple[Message, Slots | None, int]:
    """What is worth keeping of a message, the slots that it speaks of, and how much is left out."""
    kind: Any = type(message)
    slots, left_out = _slots(message), _left_out(message)
    if left_out:
        name, most = _LONG[kind]
        values = ((field, getattr(message, field)) for field in kind.__slots__)
        message = kind(*[value[:most] if field == name else value for field, value in values])
    return message, slots, left_out


# ---- as plain tuples, between processes --------------------------------------------------------

# The tuple that stands for an entry: its time, a code, and the event's values.
Plain: TypeAlias = tuple[Any, ...]

_KINDS = get_args(Event)
_CODES = {kind: code for code, kind in enumerate(_KINDS)}
# The place of their slots, in plain entries of these two; nearly all are of one or the other.
_SLOTS_AT = {(_PASSED := -1): 5, (_EXECUTED := _CODES[Executed]): 2}
_WAYS = {way.value: way for way in Way}
_BACK: dict[Any, Callable[[Any], Any]] = {
    Ballot: Ballot._make,
    **{enum: enum for enum in (Way, Liveness, Reason)},
}


def to_plain(entry: Entry) -> Plain:
    """An entry as it crosses processes."""
    at, event = entry
    if isinstance(event, Passed):
        return (at, _PASSED, event.way.value, *event[1:])
    values = (value.value if isinstance(value, Enum) else value for value in event)
    plain = (tuple(value) if isinstance(value, Ballot) else value for value in values)
    return (at, _CODES[type(event)], *plain)


def from_plain(plain: Plain) -> Entry:
    """The inverse of `to_plain`."""
    at, code, *values = plain
    if code == _PASSED:
        return Entry(at, Passed(_WAYS[values[0]], *values[1:]))
    kinds = _KINDS[code].__annotations__.values()
    fields = zip(kinds, values, strict=True)
    return Entry(at, _KINDS[code](*(_BACK.get(of, lambda v: v)(value) for of, value in fields)))


# ---- writing and keeping -----------------------------------------------------------------------


class Journal:
    """Of one replica; heartbeats, LEADER again and answers that say nothing new become counts.

    Entries are plain from the start: they are to cross processes, and few are ever looked at.
    """

    def __init__(self) -> None:
        self.entries: list[Plain] = []
        self._heartbeats: dict[tuple[Way, Ballot], int] = {}
        # Ballot and last slot claimed, by way and peers: in a new ballot votes count afresh.
        self._claimed: dict[tuple[Way, tuple[ReplicaId, ...]], tuple[Ballot, Slot]] = {}
        self._announced = NO_BALLOT  # by the last LEADER

    def passed(self, at: int, way: Way, peers: tuple[ReplicaId, ...], message: Message) -> None:
        """One message was read or sent, or a link fault befell it."""
        match message:
            case Heartbeat(ballot) | Elected(self._announced as ballot):
                pass
            case ClientRequest(()):
                ballot = self._announced
            case Accepted(ballot) if self._says_nothing(way, peers, message):
                pass
            case PeerDown(peer):
                self.add(at, PeerDied(peer))
                return
            case _:
                if isinstance(message, Elected):
                    self._announced = message.ballot
                self._write((at, _PASSED, way.value, peers, *_worth_keeping(message), ()))
                return
        self._heartbeats[way, ballot] = self._heartbeats.get((way, ballot), 0) + 1

    def _says_nothing(self, way: Way, peers: tuple[ReplicaId, ...], message: Accepted) -> bool:
        claim, link = (message.ballot, message.last_slot), (way, peers)
        if claim <= self._claimed.get(link, (NO_BALLOT, 0)):
            return True
        self._claimed[link] = claim
        return False

    def add(self, at: int, event: Event) -> None:
        """Anything else happened."""
        self._write(to_plain(Entry(at, event)))

    def _write(self, entry: Plain) -> None:
        if self._heartbeats:
            self.settle(entry[0])
        self.entries.append(entry)

    def turned(self, at: int, told: Iterable[Event], runs: Iterable[ExecutedRun]) -> None:
        """What a turn decided, and the slots that it executed."""
        for event in told:
            self.add(at, event)
        for first_slot, requests, _ in runs:
            self._write((at, _EXECUTED, (first_slot, first_slot + len(requests) - 1)))

    def settle(self, at: int) -> None:
        """Write down the counts so far."""
        for (way, ballot), count in self._heartbeats.items():
            self.entries.append(to_plain(Entry(at, Heartbeats(way, ballot, count))))
        self._heartbeats.clear()

    def take(self) -> list[Plain]:
        """The entries since the last call; counts still open stay."""
        entries, self.entries = self.entries, []
        return entries


class _Kept:
    """The last entries, and how many older ones were dropped.

    Of a long set most are dropped before anybody looks: those that came as plain tuples stay so
    until then.
    """

    def __init__(self, most: int) -> None:
        self.told = deque[Entry | Plain](maxlen=most)
        self.dropped = 0

    def add(self, told: Entry | Plain) -> None:
        self.dropped += len(self.told) == self.told.maxlen
        self.told.append(told)

    def all(self) -> tuple[Sequence[Entry], int]:
        entries = tuple(t if isinstance(t, Entry) else from_plain(t) for t in self.told)
        self.told = deque(entries, self.told.maxlen)
        return entries, self.dropped


def _about(told: Entry | Plain) -> Slots | None:
    """The slots that it speaks of."""
    return told.slots if isinstance(told, Entry) else told[_SLOTS_AT[told[1]]]


class Traces:
    """The journals of all replicas: the last entries of this set, and what is left of it.

    Of earlier sets the entries stay that speak of a slot, as many of each replica as of one set.
    `events` are those of the protocol itself over the whole run, which no traffic pushes out.
    """

    def __init__(self, replicas: Iterable[ReplicaId], most: int) -> None:
        """`most` entries of each replica."""
        self.events: deque[tuple[ReplicaId, Entry]] = deque(maxlen=MOST_EVENTS)
        self._most, self._began = most, 0
        # Of each replica: this set, the one before, and what all before this one say of slots.
        self._kept = {r: [_Kept(most), _Kept(most), _Kept(most)] for r in replicas}

    def add(self, replica: ReplicaId, entries: Iterable[Entry | Plain]) -> None:
        """`replica` read, sent or decided this. What comes late belongs to its own set."""
        now, before, earlier = self._kept[replica]
        for told in entries:
            if isinstance(told, Entry) or told[1] not in _SLOTS_AT:
                told = told if isinstance(told, Entry) else from_plain(told)
                if told.way is None and told.slots is None:
                    self.events.append((replica, told))
            if told[0] >= self._began:
                now.add(told)
                continue
            before.add(told)
            if _about(told) is not None:
                earlier.add(told)

    def drop(self, replica: ReplicaId, count: int) -> None:
        """So many entries of this set were lost before they came here, some of them its own."""
        self._kept[replica][0].dropped += count

    def new_set(self, at: int) -> None:
        """From now on entries belong to another set."""
        self._began = at
        for kept in self._kept.values():
            kept[1], kept[0] = kept[0], _Kept(self._most)
            for told in kept[1].told:
                if _about(told) is not None:
                    kept[2].add(told)
            kept[2].dropped += kept[1].dropped

    def of_set(self, replica: ReplicaId) -> tuple[Sequence[Entry], int]:
        """The entries of this set, and how many older ones were dropped."""
        return self._kept[replica][0].all()

    def of_set_before(self, replica: ReplicaId) -> tuple[Sequence[Entry], int]:
        """The same of the set before, the pause after it and what came late included."""
        return self._kept[replica][1].all()

    def of_run(self, replica: ReplicaId) -> tuple[Sequence[Entry], int]:
        """Those that speak of a slot, from the first set on, and how many were dropped in all."""
        now, _, earlier = self._kept[replica]
        about = (entry for entry in now.all()[0] if entry.slots is not None)
        return (*earlier.all()[0], *about), earlier.dropped + now.dropped
