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
from collections.abc import Iterable
from dataclasses import is_dataclass, replace
from enum import Enum, IntEnum
from random import Random
from typing import Any, NamedTuple

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


_PLAIN = frozenset({int, bool, str, bytes, float, type(None), Still, Settings, Sizes, Accounts})
_fields: dict[type, tuple[str, ...]] = {}


def freeze(value: Any, ordered: bool = True, seen: dict[int, Shared] | None = None) -> Any:
    """`value` as nested tuples. With `ordered` False the order of dictionaries does not count.

    `seen`: by identity, the objects met so far.
    """
    kind = type(value)
    if kind in _PLAIN or isinstance(value, Enum):
        return value
    seen = {} if seen is None else seen
    if kind is list:
        return Frozen(list, (), tuple([freeze(part, ordered, seen) for part in value]))
    if kind is dict:
        items = [(key, freeze(part, ordered, seen)) for key, part in value.items()]
        return Frozen(dict, (), tuple(items if ordered else sorted(items)))
    if kind is set:
        return Frozen(set, (), tuple(sorted(value)))
    if kind is array:
        return Frozen(array, (), (value.typecode, value.tobytes()))
    if isinstance(value, tuple) or (is_dataclass(value) and kind.__hash__ is not None):
        try:
            hash(value)
        except TypeError:
            pass  # something in it can change
        else:
            return value
        if isinstance(value, tuple):
            return Frozen(kind, (), tuple([freeze(part, ordered, seen) for part in value]))
    if (known := seen.get(id(value))) is not None:
        return known
    seen[id(value)] = Shared(len(seen))
    names = _fields.get(kind) or _names(value)
    parts = [freeze(getattr(value, name), ordered, seen) for name in names]
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


def thaw(value: Any, made: list[Any] | None = None) -> Any:
    """A fresh object that `freeze` turns into `value`. `made`: the objects so far, in order."""
    kind = type(value)
    made = [] if made is None else made
    if kind is Shared:
        return made[value.number]
    if kind is not Frozen:
        return value
    kind, names, parts = value
    if kind is list:
        return [thaw(part, made) for part in parts]
    if kind is dict:
        return {key: thaw(part, made) for key, part in parts}
    if kind is set:
        return set(parts)
    if kind is array:
        return array(*parts)
    if issubclass(kind, tuple):
        items = [thaw(part, made) for part in parts]
        return kind(*items) if hasattr(kind, "_fields") else kind(items)
    one = object.__new__(kind)
    made.append(one)
    for name, part in zip(names, parts, strict=True):
        object.__setattr__(one, name, thaw(part, made))
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
