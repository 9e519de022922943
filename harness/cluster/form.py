"""Has what `bank` answers the form that its types promise? People write a `bank` of their own.

Its answers cross to other processes, to clients, tables and judges. One of a wrong form would be
found there, far from who gave it, and look like a mistake of ours or of the replica that read it.
So it is held against the types where it comes out, and names the method and the part:

    flush() gave replies[0].answers[2][3] = None, expected int

Checks are made once of each type. Tuples and lists are one thing here, as they are on the wire,
and so are those with names that lie in messages.
What a value says is for the judges.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from itertools import chain
from operator import attrgetter
from types import NoneType, UnionType
from typing import Any, TypeAlias, Union, get_args, get_origin, get_type_hints

from bank.accounts import Balances
from bank.ballot import Ballot, Slot
from bank.effects import Effects
from bank.messages import AcceptedEntry
from bank.replica import Replica
from bank.status import ReplicaStatus, Role, SlotStatus
from harness.cluster.blame import WrongForm

# Where a value is wrong, below itself, and how: ".answers[0] = 5, expected tuple"; "" when it is
# not.
Check: TypeAlias = Callable[[Any], str]

_PLAIN = (int, str, bool, bytes, NoneType)
_LISTS = (tuple, list)
_LIST_TYPES = frozenset(_LISTS)
_WIRED = (Ballot, AcceptedEntry)
MOST_CHARACTERS = 60  # of a value that is shown


@cache
def checked(kind: type[Replica]) -> type[Replica]:
    """The same replica, whose answers raise WrongForm unless they have the right form."""

    effects_form, due_form = check(Effects), check(int | None)
    status_form, marks_form = check(ReplicaStatus), check(tuple[SlotStatus, ...])

    class Checked(kind):  # type: ignore[misc, valid-type]
        __slots__ = ()

        def flush(self) -> Effects:
            effects: Effects = _held("flush", effects_form, super().flush())
            for send in (*effects.early, *effects.durable):
                everybody = {self.replica, *self.peers}
                if not everybody.issuperset(send.to):
                    expected = f"expected some of 1 to {len(everybody)}"
                    raise WrongForm(f"flush() sends to {send.to!r}, {expected}")
            return effects

        def deadline(self) -> int | None:
            due: int | None = _held("deadline", due_form, super().deadline())
            return due

        def status(self) -> ReplicaStatus:
            status: ReplicaStatus = _held("status", status_form, super().status())
            return status

        def slots(self, slots: Iterable[Slot]) -> tuple[SlotStatus, ...]:
            marks: tuple[SlotStatus, ...] = _held("slots", marks_form, super().slots(slots))
            return marks

    Checked.__name__ = kind.__name__
    return Checked


def standing(replica: Replica) -> tuple[Role, Ballot, bool, Slot]:
    """Role, ballot that it leads or follows, whether a quorum answers it, and how far it executed;
    WrongForm when one is something else.
    """
    found = replica.role, replica.following, replica.leads_answered(), replica.log.executed_upto
    if wrong := _standing_form()(found):
        raise WrongForm(f"a replica's {wrong}")
    return found


@cache
def _standing_form() -> Check:
    names = ("role", "following", "leads_answered()", "log.executed_upto")
    return _of_parts((Role, Ballot, bool, Slot), names)


def _held(method: str, form: Check, value: Any) -> Any:
    if wrong := form(value):
        raise WrongForm(f"{method}() gave {wrong.removeprefix('.').removeprefix(' = ')}")
    return value


@cache
def check(kind: Any) -> Check:
    """Of a type as it stands in an annotation."""
    origin, parts = get_origin(kind), get_args(kind)
    if kind in _PLAIN:
        return _of_plain(frozenset(_plain(kind)), _name(kind))
    if origin in (Union, UnionType):
        return _of_any(kind, parts)
    if origin is tuple and parts[-1] is not ...:
        return _of_fixed(parts, _name(kind))
    if origin in (tuple, list, Sequence):
        return _of_many(parts[0], _name(kind))
    if origin is Mapping:
        return _of_mapping(parts, _name(kind))
    if issubclass(kind, tuple):
        parts = tuple(get_type_hints(kind).values())
        return _of_fixed(parts, _name(kind), kind._fields, _LISTS if kind in _WIRED else (kind,))
    return _of_fields(kind) if is_dataclass(kind) else _of_class(kind)


def _name(kind: Any) -> str:
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(map(_name, get_args(kind)))
    return "None" if kind is NoneType else getattr(kind, "__name__", str(kind))


def _told(value: Any, name: str) -> str:
    try:
        text = repr(value)
    except Exception:  # a value of theirs may not even print
        text = f"a {type(value).__name__}"
    text = text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"
    return f" = {text}, expected {name}"


def _plain(kind: Any) -> tuple[type, ...]:
    """The types of values that fit; () for what has more to it."""
    if get_origin(kind) in (Union, UnionType):
        found = [_plain(part) for part in get_args(kind)]
        return tuple(t for types in found for t in types) if all(found) else ()
    if kind not in _PLAIN:
        return ()
    return (int, bool) if kind is int else (kind,)


def _of_plain(types: frozenset[type], name: str) -> Check:
    return lambda value: "" if type(value) in types else _told(value, name)


def _of_any(kind: Any, parts: Sequence[Any]) -> Check:
    name = _name(kind)
    if types := _plain(kind):
        return _of_plain(frozenset(types), name)
    by_type = {get_origin(part) or part: check(part) for part in parts}

    def found(value: Any) -> str:
        one = by_type.get(type(value))
        return _told(value, name) if one is None else one(value)

    return found


def _of_parts(kinds: Sequence[Any], places: Sequence[str]) -> Check:
    """Of values that stand at these places, as many; those that fit by their types alone, which
    most do, are looked at in one go.
    """
    checks, fitting = [check(kind) for kind in kinds], [_fitting(kind) for kind in kinds]
    # By the types of all values, what is to be looked at further.
    further: dict[tuple[type, ...], list[tuple[int, Check]]] = {}

    def found(values: Sequence[Any]) -> str:
        types = tuple(map(type, values))
        rest = further.get(types)
        if rest is None:
            rest = further[types] = [
                (at, checks[at]) for at, kind in enumerate(types) if kind not in fitting[at]
            ]
        for at, one in rest:
            if wrong := one(values[at]):
                return places[at] + wrong
        return ""

    return found


def _fitting(kind: Any) -> frozenset[type]:
    """The types whose values fit, whatever they are."""
    if get_origin(kind) in (Union, UnionType):
        return frozenset().union(*map(_fitting, get_args(kind)))
    return frozenset(_plain(kind))


def _of_fixed(
    parts: Sequence[Any],
    name: str,
    fields: Sequence[str] = (),
    kinds: Any = _LISTS,
) -> Check:
    """Of a tuple with so many parts."""
    places = [f".{field}" for field in fields] or [f"[{at}]" for at in range(len(parts))]
    inside = _of_parts(parts, places)

    def found(value: Any) -> str:
        if not isinstance(value, kinds) or len(value) != len(places):
            return _told(value, name)
        return inside(value)

    return found


def _of_many(part: Any, name: str) -> Check:
    one, fit = check(part), _rows(part)

    def found(value: Any) -> str:
        if not isinstance(value, _LISTS):
            return _told(value, name)
        if not value or (fit and len(value) > 1 and fit(value)):
            return ""
        for at, item in enumerate(value):
            if wrong := one(item):
                return f"[{at}]{wrong}"
        return ""

    return found


def _rows(part: Any) -> Callable[[Sequence[Any]], bool] | None:
    """Whether flat tuples fit, many in one go; None of what has more to it."""
    if get_origin(part) is not tuple or get_args(part)[-1] is ...:
        return None
    columns = [frozenset(_plain(one)) for one in get_args(part)]
    width, alike = len(columns), set[tuple[type, ...]]()  # types of rows that fit
    if not all(columns):
        return None

    def found(rows: Sequence[Any]) -> bool:
        if not set(map(type, rows)) <= _LIST_TYPES or set(map(len, rows)) != {width}:
            return False
        types = tuple(map(type, chain.from_iterable(rows)))
        first = types[:width]
        if first in alike and types == first * len(rows):  # as they mostly are
            return True
        if not all(set(types[at::width]) <= columns[at] for at in range(width)):
            return False
        alike.add(first)
        return True

    return found


def _of_mapping(parts: Sequence[Any], name: str) -> Check:
    keys, values = map(check, parts)

    def found(value: Any) -> str:
        if isinstance(value, Balances):  # a million of them, as bytes
            return ""
        if not isinstance(value, Mapping):
            return _told(value, name)
        for key, held in value.items():
            if wrong := keys(key):
                return f"{wrong} for a key"
            if wrong := values(held):
                return f"[{key!r}]{wrong}"
        return ""

    return found


def _of_class(kind: type) -> Check:
    name = kind.__name__
    return lambda value: "" if isinstance(value, kind) else _told(value, name)


def _of_fields(kind: Any) -> Check:
    hints, name, names = get_type_hints(kind), kind.__name__, [f.name for f in fields(kind)]
    inside = _of_parts([hints[field] for field in names], [f".{field}" for field in names])
    # A getter of one gives a bare value, and there is none of none.
    get: Any = attrgetter(*names) if len(names) > 1 else None

    def found(value: Any) -> str:
        if not isinstance(value, kind):
            return _told(value, name)
        return inside(get(value) if get else [getattr(value, field) for field in names])

    return found
