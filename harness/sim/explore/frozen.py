"""States of a replica as values: what is hashed is exactly what is run.

`freeze` turns an object into nested tuples that can be compared and hashed, `thaw` builds an equal
object from them. Whatever freeze leaves out is not there after thaw either, so two states with
equal values cannot behave differently: merging them is sound by construction. What several parts
hold is one object again after thaw.

Time is left out. `still` sets every clock of a replica to the same instant; `alarm` makes exactly
one of its timers due at that instant. So a timer fires when the explorer says so, and at no other
moment. A clock that is not known here stays in the state: more states, never fewer.
"""

from array import array
from collections.abc import Callable, Iterable
from dataclasses import is_dataclass, replace
from enum import Enum, IntEnum
from operator import attrgetter
from random import Random
from typing import Any, NamedTuple, TypeAlias

from bank.accounts import Accounts
from bank.ballot import NO_BALLOT
from bank.replica import Replica
from bank.settings import USUAL, Settings, Sizes
from bank.standing import Candidate, Leader

FAR = 1_000_000  # later than anything that happens; all happens at time 0
QUIET = Settings(
    election_timeout=(FAR, FAR),
    prepare_quiet=1,  # over, or not, when the explorer says so
    prepare_pause=FAR,
    heartbeat=1,
    stagger=0,
    commit_pause=FAR,  # a timer like the others: it fires when the explorer says so
    checkpoint_pause=0,
    keep_slots=0,
)

SMALL = Sizes(  # one of everything, so that a few slots and accounts fill it
    piece_bytes=1,
    piece_slots=1,
    full_slots=2,
    spare_slots=1,
    trial_heartbeats=1,
    hash_slots=1,
    noted_hashes=1,
    compared_slots=1,
)


def settings(checkpoint_interval: int, puts_off: bool, is_small: bool) -> Settings:
    """QUIET, with these checkpoints and sizes.

    `puts_off`: a leader that is never calm, each ACCEPT goes to a quorum, and to the others later.
    """
    return replace(
        QUIET,
        checkpoint_interval=checkpoint_interval,
        spare_pause=FAR if puts_off else 0,
        sizes=SMALL if is_small else replace(USUAL, trial_heartbeats=1),
    )


class Timer(IntEnum):
    """What can run out at a replica; negative, so that no envelope has the same number."""

    ELECTION = -1  # a leader's: nobody answered for so long
    PULSE = -2  # a leader's heartbeat is due, or a question has to be asked again
    COMMIT = -3  # a COMMIT waited long enough for an ACCEPT
    HUSHED = -4  # the election timer, so soon after another's PREPARE that it keeps quiet
    SPARE = -5  # what was put off waited long enough


STANDING = (Timer.ELECTION, Timer.HUSHED)  # only these make a replica own a ballot


class Still(Random):
    """Draws the same number for ever. Its draws are times only, and time is left out."""

    def random(self) -> float:
        """Always 0."""
        return 0.0


STILL = Still()


class Frozen(NamedTuple):
    """Something that can change, as a value."""

    kind: type
    names: tuple[str, ...]  # of an object's fields; empty for containers
    parts: tuple[Any, ...]


class Shared(NamedTuple):
    """An object that was met before, by its number in the order of meeting."""

    number: int


_HELD = frozenset({Frozen, Shared})  # what is not thawed already
_NONE = {kind: Frozen(kind, (), ()) for kind in (list, dict)}  # in it
_PLAIN: frozenset[Any] = frozenset(
    {int, bool, str, bytes, float, type(None), Still, Settings, Sizes, Accounts}
)
_HASHED, _OBJECT = object(), object()  # a value if nothing in it can change; one that can
# What becomes of each class, and the fields of those that have the same in each object.
_ways: dict[type, Any] = {list: list, dict: dict, set: set, array: array}
_ways |= dict.fromkeys(_PLAIN)
_Fields: TypeAlias = tuple[tuple[str, ...], Callable[[Any], Iterable[Any]]]  # names; their values
_fields: dict[type, _Fields] = {}
_open_fields: dict[tuple[type, tuple[str, ...]], _Fields] = {}  # of those that have more


def _way(kind: type) -> Any:
    """Found out once for each class."""
    if issubclass(kind, Enum):
        found = None
    elif issubclass(kind, tuple) or (is_dataclass(kind) and kind.__hash__ is not None):
        found = _HASHED
    else:
        found = _OBJECT
    _ways[kind] = found
    return found


def freeze(value: Any, ordered: bool = True, seen: dict[int, Shared] | None = None) -> Any:
    """`value` as nested tuples. With `ordered` False the order of dictionaries does not count.

    `seen`: by identity, the objects met so far.
    """
    kind = type(value)
    way = _ways[kind] if kind in _ways else _way(kind)
    if way is None:
        return value
    if seen is None:
        seen = {}
    plain = _PLAIN
    if way is _HASHED:
        try:
            hash(value)
        except TypeError:
            pass  # something in it can change
        else:
            return value
        if isinstance(value, tuple):
            return Frozen(kind, (), tuple([freeze(part, ordered, seen) for part in value]))
    elif not value and (way is list or way is dict):
        return _NONE[way]
    elif way is list:
        parts = [part if type(part) in plain else freeze(part, ordered, seen) for part in value]
        return Frozen(list, (), tuple(parts))
    elif way is dict:
        items = [
            (key, part if type(part) in plain else freeze(part, ordered, seen))
            for key, part in value.items()
        ]
        return Frozen(dict, (), tuple(items if ordered else sorted(items)))
    elif way is set:
        return Frozen(set, (), tuple(sorted(value)))
    elif way is array:
        return Frozen(array, (), (value.typecode, value.tobytes()))
    if (known := seen.get(id(value))) is not None:
        return known
    seen[id(value)] = Shared(len(seen))
    names, get = _fields[kind] if kind in _fields else _fields_of(value)
    parts = []
    for part in get(value):
        parts.append(part if type(part) in plain else freeze(part, ordered, seen))
    return Frozen(kind, names, tuple(parts))


def _fields_of(value: object) -> _Fields:
    """Slots are the same in all objects of a class; other fields are asked of each."""
    kind, others = type(value), getattr(value, "__dict__", None)
    if others is None:
        return _fields.setdefault(kind, _named(kind, ()))
    key = kind, tuple(others)
    known = _open_fields.get(key)
    if known is None:
        known = _open_fields[key] = _named(kind, sorted(others))
    return known


def _named(kind: type, others: Iterable[str]) -> _Fields:
    names = (*(name for base in kind.__mro__ for name in _slots(base)), *others)
    if len(names) > 1:
        return names, attrgetter(*names)
    return names, lambda value: [getattr(value, name) for name in names]


def _slots(kind: type) -> Iterable[str]:
    slots = kind.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else slots


def thaw(value: Any, made: list[Any] | None = None) -> Any:
    """A fresh object that `freeze` turns into `value`. `made`: the objects so far, in order."""
    kind = type(value)
    made = [] if made is None else made
    if kind is Shared:
        return made[value.number]
    if kind is not Frozen:
        return value
    held = _HELD
    kind, names, parts = value
    if kind is dict:
        return {key: thaw(part, made) if type(part) in held else part for key, part in parts}
    if kind is list:
        return [thaw(part, made) if type(part) in held else part for part in parts]
    if kind is set:
        return set(parts)
    if kind is array:
        return array(*parts)
    if issubclass(kind, tuple):
        items = [thaw(part, made) for part in parts]
        return kind(*items) if hasattr(kind, "_fields") else kind(items)
    one = object.__new__(kind)
    made.append(one)
    put = object.__setattr__
    for name, part in zip(names, parts, strict=True):
        put(one, name, thaw(part, made) if type(part) in held else part)
    return one


def still(replica: Replica) -> None:
    """Every clock shows time 0, no timer is due, and what only steers durations is forgotten."""
    times, standing = replica.timers, replica.standing
    times.now = times.last_turn = times.not_before = 0
    times.question, times.quiet_until = 0, min(times.quiet_until, 1)  # whether it saw a PREPARE
    times.inquiry = times.fetch = times.heartbeat = FAR
    times.asking_since = 0
    times.checkpoint, times.lease = -FAR, 0
    times.election = None if times.election is None else FAR
    times.commit = None if times.commit is None else FAR
    times.spare = None if times.spare is None else FAR
    times.reading_until = {}
    # How many were promised in vain decides; which, only how long it waits.
    replica.elector.awaited = (NO_BALLOT,) * len(replica.elector.awaited)
    # Who said something first decides nothing: whoever reads these sorts or counts.
    history, library = replica.learner.history, replica.learner._library
    history.confirmed_upto = dict(sorted(history.confirmed_upto.items()))
    history._asking = dict(sorted(history._asking.items()))
    library._lent = dict(sorted(library._lent.items()))
    match standing:
        case Leader():
            standing.since = 0
            standing.is_known = True  # what clients are told decides nothing here
            standing.busy_slots = standing.heartbeats = 0  # nothing goes by them
            standing.answered_at = dict.fromkeys(sorted(standing.answered_at), 0)
            standing.in_flight = dict(sorted(standing.in_flight.items()))
        case Candidate():
            standing.pauses = 0
            # One ballot has one value per slot, so the order of promises decides nothing.
            standing.promises = dict(sorted(standing.promises.items()))
            times.commit = None
        case _:
            times.commit = None


def timers(replica: Replica) -> tuple[Timer, ...]:
    """What can run out at this replica, in a fixed order."""
    leads, times = isinstance(replica.standing, Leader), replica.timers
    found: list[Timer] = []
    if leads or times.election is not None:
        found.append(Timer.ELECTION)
        if not leads and times.quiet_until:
            found.append(Timer.HUSHED)
    if leads or replica.learner.is_fetching():
        found.append(Timer.PULSE)
    if leads and times.commit is not None:
        found.append(Timer.COMMIT)
    if leads and times.spare is not None:
        found.append(Timer.SPARE)
    return tuple(found)


def alarm(replica: Replica, timer: Timer) -> None:
    """This timer is due now, and no other."""
    lead, times = replica.standing, replica.timers
    match timer:
        case Timer.ELECTION if isinstance(lead, Leader):
            lead.answered_at = dict.fromkeys(lead.answered_at, -FAR)
            lead.since = -FAR
        case Timer.ELECTION:
            times.election = times.quiet_until = 0
        case Timer.HUSHED:
            times.election = 0
        case Timer.PULSE if isinstance(lead, Leader):
            times.heartbeat = 0
        case Timer.PULSE:
            times.fetch = 0
        case Timer.COMMIT:
            times.commit = 0
        case Timer.SPARE:
            times.spare = 0
