"""States of a replica as values: what is hashed is exactly what is run.

`freeze` turns an object into nested tuples that can be compared and hashed, `thaw` builds an equal
object from them. Whatever freeze leaves out is not there after thaw either, so two states with
equal values cannot behave differently: merging them is sound by construction.

Time is left out. `still` sets every clock of a replica to the same instant; `alarm` makes exactly
one of its timers due at that instant. So a timer fires when the explorer says so, and at no other
moment. A clock that is not known here stays in the state: more states, never fewer.
"""

from collections.abc import Iterable
from dataclasses import is_dataclass
from enum import Enum, IntEnum
from random import Random
from typing import Any, NamedTuple

from bank.replica import Replica
from bank.settings import Settings, Sizes

FAR = 1_000_000  # later than anything that happens; all happens at time 0
QUIET = Settings(
    election_timeout=(FAR, FAR),
    prepare_quiet=0,  # an expired replica stands, however lately it saw a PREPARE
    prepare_pause=FAR,
    heartbeat=1,
    stagger=0,
    commit_pause=FAR,  # a timer like the others: it fires when the explorer says so
    checkpoint_pause=0,
    keep_slots=0,
)


class Timer(IntEnum):
    """What can run out at a replica; negative, so that no envelope has the same number."""

    ELECTION = -1  # a leader's: nobody answered for so long
    PULSE = -2  # a leader's heartbeat is due, or a question has to be asked again
    COMMIT = -3  # a COMMIT waited long enough for an ACCEPT


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


_PLAIN = frozenset({int, bool, str, bytes, float, type(None), Still, Settings, Sizes})
_fields: dict[type, tuple[str, ...]] = {}


def freeze(value: Any, ordered: bool = True) -> Any:
    """`value` as nested tuples. With `ordered` False the order of dictionaries does not count."""
    kind = type(value)
    if kind in _PLAIN or isinstance(value, Enum):
        return value
    if kind is list:
        return Frozen(list, (), tuple([freeze(part, ordered) for part in value]))
    if kind is dict:
        items = [(key, freeze(part, ordered)) for key, part in value.items()]
        return Frozen(dict, (), tuple(items if ordered else sorted(items)))
    if kind is set:
        return Frozen(set, (), tuple(sorted(value)))
    if isinstance(value, tuple) or (is_dataclass(value) and kind.__hash__ is not None):
        try:
            hash(value)
        except TypeError:
            pass  # something in it can change
        else:
            return value
        if isinstance(value, tuple):
            return Frozen(kind, (), tuple([freeze(part, ordered) for part in value]))
    names = _fields.get(kind) or _names(value)
    parts = [freeze(getattr(value, name), ordered) for name in names]
    return Frozen(kind, names, tuple(parts))


def _names(value: object) -> tuple[str, ...]:
    """Slots are the same in all objects of a class; other fields are asked of each."""
    slots = [name for base in type(value).__mro__ for name in _slots(base)]
    if not hasattr(value, "__dict__"):
        return _fields.setdefault(type(value), tuple(slots))
    return (*slots, *sorted(vars(value)))


def _slots(kind: type) -> Iterable[str]:
    slots = kind.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else slots


def thaw(value: Any) -> Any:
    """A fresh object that `freeze` turns into `value`."""
    if type(value) is not Frozen:
        return value
    kind, names, parts = value
    if kind is list:
        return [thaw(part) for part in parts]
    if kind is dict:
        return {key: thaw(part) for key, part in parts}
    if kind is set:
        return set(parts)
    if issubclass(kind, tuple):
        items = [thaw(part) for part in parts]
        return kind(*items) if hasattr(kind, "_fields") else kind(items)
    made = object.__new__(kind)
    for name, part in zip(names, parts, strict=True):
        object.__setattr__(made, name, thaw(part))
    return made


def still(replica: Replica) -> None:
    """Every clock shows time 0, no timer is due, and what only steers durations is forgotten."""
    replica._now = replica._last_turn = replica._not_before = 0
    replica._expiry = None if replica._expiry is None else FAR
    replica._prepare_seen_at = None
    replica._inquiry_due = FAR
    replica._read_at = {}
    replica._repeats, replica._awaited = 0, type(replica._awaited)(0, 0)
    replica._in_vain = 0
    replica._checkpoint_at = -FAR
    replica._fetch.asked_at = 0
    if (lead := replica._leadership) is not None:
        lead.heartbeat_due, lead.timeout = FAR, FAR
        lead._since = lead.lease = 0
        lead.commit_due = None if lead.commit_due is None else FAR
        lead.busy_slots = lead.heartbeats = 0  # without spare backups nothing goes by them
        lead._answered_at = dict.fromkeys(sorted(lead._answered_at), 0)
        lead.in_flight = dict(sorted(lead.in_flight.items()))
    if (candidacy := replica._candidacy) is not None:
        candidacy.pauses = 0
        # One ballot has one value per slot, so the order of promises decides nothing.
        candidacy.promises = dict(sorted(candidacy.promises.items()))


def timers(replica: Replica) -> tuple[Timer, ...]:
    """What can run out at this replica, in a fixed order."""
    found: list[Timer] = []
    lead = replica._leadership
    if lead is not None or replica._expiry is not None:
        found.append(Timer.ELECTION)
    if lead is not None or replica._is_fetching():
        found.append(Timer.PULSE)
    if lead is not None and lead.commit_due is not None:
        found.append(Timer.COMMIT)
    return tuple(found)


def alarm(replica: Replica, timer: Timer) -> None:
    """This timer is due now, and no other."""
    lead = replica._leadership
    match timer:
        case Timer.ELECTION if lead is not None:
            lead._answered_at = dict.fromkeys(lead._answered_at, -FAR)
            lead._since = -FAR
        case Timer.ELECTION:
            replica._expiry = 0
        case Timer.PULSE if lead is not None:
            lead.heartbeat_due = 0
        case Timer.PULSE:
            replica._fetch.asked_at = -FAR
        case Timer.COMMIT:
            assert lead is not None
            lead.commit_due = 0
