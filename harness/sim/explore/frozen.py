"""States of a replica as values: what is hashed is exactly what is run.

`freeze` turns an object into nested tuples that can be compared and hashed, `thaw` builds an equal
object from them. Whatever freeze leaves out is not there after thaw either, so two states with
equal values cannot behave differently: merging them is sound by construction. What several parts
hold is one object again after thaw. What cannot be made again by its fields is refused (`Unfit`).
Three things are left. Inside a tuple or a message, True passes for 1, as they are equal. A frozen
dataclass passes for another that differs in what its equality leaves out. And an object with a hash
that stands in a set or as a key is one in all states: one that is changed there changes in all.

Time is left out. `still` sets every clock of a replica to the same instant; `alarm` makes exactly
one of its timers due at that instant. So a timer fires when the explorer says so, and at no other
moment. A clock that is not known here stays in the state: more states, never fewer.
"""

import sys
from array import array
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass, replace
from enum import Enum, IntEnum
from operator import attrgetter
from random import Random
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, NamedTuple, TypeAlias

from bank import messages
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
    """Something that can change and was met before, by its number in the order of meeting."""

    number: int


class Truth(NamedTuple):
    """A bool: True is equal to 1, and a replica can tell them apart."""

    text: str


class Unfit(Exception):
    """This replica cannot be explored; the text says where and why, in one line."""


class _Unfrozen(Exception):
    """Of this class is something that is no value and cannot be made one."""


TRUE, FALSE = Truth("True"), Truth("False")
_HELD = frozenset({Frozen, Shared, Truth})  # what is not thawed already
_NONE = {kind: Frozen(kind, (), ()) for kind in (list, dict)}  # in it
_PLAIN: frozenset[Any] = frozenset(
    {int, str, bytes, range, type(None), Still, Settings, Sizes, Accounts}
)
_DICTS = (dict, defaultdict, OrderedDict, Counter)
_FUNCTIONS = (FunctionType, BuiltinFunctionType)
# A value if nothing in it can change; one that can; one that no other can be made like.
_HASHED, _OBJECT, _UNKNOWN = object(), object(), object()
# What becomes of each class, and the fields of those that have the same in each object.
_ways: dict[type, Any] = {
    kind: kind
    for kind in (list, *_DICTS, set, array, deque, bytearray, bool, float, MethodType, *_FUNCTIONS)
}
_ways |= dict.fromkeys(_PLAIN)
_values: set[Any] = set()  # of _HASHED, those known to hold values only
_Fields: TypeAlias = tuple[tuple[str, ...], Callable[[Any], Iterable[Any]]]  # names; their values
_fields: dict[type, _Fields] = {}
_open_fields: dict[tuple[type, tuple[str, ...]], _Fields] = {}  # of those that have more


def _way(kind: type) -> Any:
    """Found out once for each class."""
    if issubclass(kind, Enum | type):
        found = None
    elif issubclass(kind, tuple | frozenset) or (_is_hashed(kind) and not _can_change(kind)):
        found = _HASHED
    else:
        try:
            object.__new__(kind)
            found = _OBJECT
        except TypeError:  # it is made of more than fields
            found = _UNKNOWN
    _ways[kind] = found
    return found


def _is_hashed(kind: Any) -> bool:
    """Its objects are compared by their fields, and can stand in a set."""
    hashed, compared = kind.__hash__, kind.__eq__
    return (
        is_dataclass(kind)
        and hashed not in (None, object.__hash__)
        and compared is not object.__eq__
    )


def _can_change(kind: Any) -> bool:
    """A dataclass with `unsafe_hash` is no value: its fields can be set. Messages are one."""
    return not kind.__dataclass_params__.frozen and kind.__module__ != messages.__name__


def _is_value(value: Any) -> bool:
    """Nothing in it can change."""
    kind = type(value)
    way = _ways[kind] if kind in _ways else _way(kind)
    if way is None or way is bool or way is float:
        return True
    if way in _FUNCTIONS:
        return _is_found_by_name(value)
    if way is not _HASHED:
        return False
    if isinstance(value, tuple | frozenset):
        return all(map(_is_value, value))
    return all(_is_value(getattr(value, part.name)) for part in fields(value))


def _is_found_by_name(function: Any) -> bool:
    """It stands in a module, and so holds on to nothing."""
    found: Any = sys.modules.get(function.__module__ or "")
    for name in function.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is function


def _is_own(kind: type, function: Any) -> bool:
    """A method of this class or one below it, wherever that was written: as fixed as the class."""
    return any(held is function for base in kind.__mro__ for held in vars(base).values())


def _plain(value: Any) -> Any:
    """What stands in a set or for something in a dictionary: a value."""
    kind = type(value)
    if kind in _PLAIN or _is_value(value):
        return value
    if _is_hashed(kind) and all(_is_value(getattr(value, part.name)) for part in fields(value)):
        return value  # shared by all states: see the module
    raise _Unfrozen(kind)


def freeze(value: Any, ordered: bool = True, seen: dict[int, int] | None = None) -> Any:
    """`value` as nested tuples. With `ordered` False the order of dictionaries does not count.

    `seen`: by identity, what can change and was met so far. Raises _Unfrozen.
    """
    kind = type(value)
    way = _ways[kind] if kind in _ways else _way(kind)
    if way is None:
        return value
    if way is bool:
        return TRUE if value else FALSE
    if seen is None:
        seen = {}
    plain = _PLAIN
    if way is _HASHED:
        try:
            if value in _values:
                return value
            if _is_value(value):
                _values.add(value)
                return value
        except TypeError:
            pass  # something in it can change
        if isinstance(value, tuple):
            return Frozen(kind, (), tuple([freeze(part, ordered, seen) for part in value]))
        if isinstance(value, frozenset):
            raise _Unfrozen(kind)
    if (known := seen.get(id(value))) is not None:
        return Shared(known)
    if way is not _OBJECT and way is not _HASHED and way not in _MADE_OF:
        return _other(value, ordered, seen)
    seen[id(value)] = len(seen)
    if way is list or way is dict:
        if not value:
            return _NONE[way]
        if way is list:
            parts = [part if type(part) in plain else freeze(part, ordered, seen) for part in value]
            return Frozen(list, (), tuple(parts))
        items = [
            (
                key if type(key) in plain else _plain(key),
                part if type(part) in plain else freeze(part, ordered, seen),
            )
            for key, part in value.items()
        ]
        return Frozen(dict, (), tuple(items if ordered else sorted(items)))
    names, get = _fields[kind] if kind in _fields else _fields_of(value)
    parts = []
    for part in get(value):
        parts.append(part if type(part) in plain else freeze(part, ordered, seen))
    return Frozen(kind, names, tuple(parts))


_MADE_OF = (list, dict)


def _other(value: Any, ordered: bool, seen: dict[int, int]) -> Any:
    """Of classes that our replica has few of, or none."""
    kind: Any = type(value)
    if kind is float:
        return Frozen(kind, (), (value.hex(),))  # 1.0 is equal to 1
    if kind in _FUNCTIONS:
        return _plain(value)
    if kind is MethodType:
        whose = freeze(value.__self__, ordered, seen)
        function = value.__func__
        is_own = _is_own(type(value.__self__), function)
        return Frozen(kind, (), (function if is_own else _plain(function), whose))
    seen[id(value)] = len(seen)
    if kind is set:
        return Frozen(set, (), tuple(_in_order(map(_plain, value))))
    if kind is array:
        return Frozen(array, (), (value.typecode, value.tobytes()))
    if kind is bytearray:
        return Frozen(bytearray, (), (bytes(value),))
    if kind is deque:
        return Frozen(deque, (), (value.maxlen, *[freeze(one, ordered, seen) for one in value]))
    if kind in _DICTS:
        made = (_plain(value.default_factory),) if kind is defaultdict else ()
        items = [(_plain(key), freeze(part, ordered, seen)) for key, part in value.items()]
        return Frozen(kind, (), (*made, *items))
    raise _Unfrozen(kind)


def _in_order(values: Iterable[Any]) -> list[Any]:
    """One order for equal sets, whatever they hold."""
    found = [*values]
    try:
        return sorted(found)
    except TypeError:
        return sorted(found, key=lambda value: (type(value).__name__, repr(value)))


def unfit(value: Any, error: Exception) -> Unfit:
    """Why this cannot be frozen: the field, its class, what is expected; or what `error` says."""
    if not isinstance(error, _Unfrozen):
        told = f"{type(error).__name__}: {error}"
        return Unfit(f"{type(value).__name__}: {told}, expected the fields of the replica in bank")
    path, kind, met = type(value).__name__, type(value), set[int]()
    is_deeper = True
    while is_deeper and id(value) not in met and _ways.get(type(value)) in (_OBJECT, _HASHED):
        met.add(id(value))
        is_deeper = False
        names, get = _fields_of(value)
        for name, part in zip(names, get(value), strict=True):
            try:
                freeze(part)
            except _Unfrozen as error:
                path, kind, value, is_deeper = f"{path}.{name}", error.args[0], part, True
                break
    return Unfit(
        f"{path} holds a {kind.__name__}, expected what can be compared and copied: numbers, text, "
        "lists, dictionaries, sets, objects with such fields"
    )


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
    if kind is Truth:
        return value is TRUE
    if kind is Shared:
        return made[value.number]
    if kind is not Frozen:
        return value
    held = _HELD
    kind, names, parts = value
    if kind is dict:
        made.append(filled := {})
        for key, part in parts:
            filled[key] = thaw(part, made) if type(part) in held else part
        return filled
    if kind is list:
        made.append(some := [])
        some += [thaw(part, made) if type(part) in held else part for part in parts]
        return some
    if kind in _THAWED:
        return _THAWED[kind](kind, parts, made)
    if issubclass(kind, tuple):
        items = [thaw(part, made) for part in parts]
        return kind(*items) if hasattr(kind, "_fields") else kind(items)
    one = object.__new__(kind)
    made.append(one)
    put = object.__setattr__
    for name, part in zip(names, parts, strict=True):
        put(one, name, thaw(part, made) if type(part) in held else part)
    return one


def _thawed(kind: Any, parts: tuple[Any, ...], made: list[Any]) -> Any:
    if kind is float:
        return float.fromhex(parts[0])
    if kind is MethodType:
        return MethodType(parts[0], thaw(parts[1], made))
    if kind is deque:
        made.append(one := deque[Any](maxlen=parts[0]))
        one.extend([thaw(part, made) for part in parts[1:]])
        return one
    if kind in _DICTS:
        put: Any = defaultdict(parts[0]) if kind is defaultdict else kind()
        made.append(put)
        for key, part in parts[1:] if kind is defaultdict else parts:
            put[key] = thaw(part, made)
        return put
    made.append(kind(*parts) if kind in (array, bytearray) else kind(parts))
    return made[-1]


_THAWED = dict.fromkeys((set, array, bytearray, deque, float, MethodType, *_DICTS[1:]), _thawed)


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
