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
from itertools import product
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

    class Checked(kind):  # type: ignore[misc, valid-type]
        __slots__ = ()

        def flush(self) -> Effects:
            effects: Effects = _held("flush", Effects, super().flush())
            everybody = {self.replica, *self.peers}
            for send in (*effects.early, *effects.durable):
                if not everybody.issuperset(send.to):
                    expected = f"expected some of 1 to {len(everybody)}"
                    raise WrongForm(f"flush() sends to {send.to!r}, {expected}")
            return effects

        def deadline(self) -> int | None:
            due: int | None = _held("deadline", int | None, super().deadline())
            return due

        def status(self) -> ReplicaStatus:
            status: ReplicaStatus = _held("status", ReplicaStatus, super().status())
            return status

        def slots(self, slots: Iterable[Slot]) -> tuple[SlotStatus, ...]:
            marks: tuple[SlotStatus, ...]
            marks = _held("slots", tuple[SlotStatus, ...], super().slots(slots))
            return marks

    Checked.__name__ = kind.__name__
    return Checked


def standing(replica: Replica) -> tuple[Role, Ballot, bool, Slot]:
    """Role, ballot that it leads or follows, whether a quorum answers it, and how far it executed;
    WrongForm when one is something else.
    """
    found = replica.role, replica.following, replica.leads_answered(), replica.log.executed_upto
    names = ("role", "following", "leads_answered()", "log.executed_upto")
    for name, kind, value in zip(names, (Role, Ballot, bool, Slot), found, strict=True):
        if wrong := check(kind)(value):
            raise WrongForm(f"a replica's {name}{wrong}")
    return found


def _held(method: str, kind: Any, value: Any) -> Any:
    wrong = check(kind)(value)
    if wrong:
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


def _of_fixed(
    parts: Sequence[Any],
    name: str,
    fields: Sequence[str] = (),
    kinds: Any = _LISTS,
) -> Check:
    """Of a tuple with so many parts; most are flat, and are looked at in one go."""
    flat = frozenset(product(*map(_plain, parts)))
    checks = [check(part) for part in parts]
    places = [f".{field}" for field in fields] or [f"[{at}]" for at in range(len(parts))]

    def found(value: Any) -> str:
        if not isinstance(value, kinds) or len(value) != len(checks):
            return _told(value, name)
        if flat and tuple(map(type, value)) in flat:
            return ""
        for place, one, part in zip(places, checks, value, strict=True):
            if wrong := one(part):
                return place + wrong
        return ""

    return found


def _of_many(part: Any, name: str) -> Check:
    one, columns = check(part), _columns(part)

    def found(value: Any) -> str:
        if not isinstance(value, _LISTS):
            return _told(value, name)
        if columns and len(value) > 1 and _fit(value, columns):
            return ""
        for at, item in enumerate(value):
            if wrong := one(item):
                return f"[{at}]{wrong}"
        return ""

    return found


def _columns(part: Any) -> list[frozenset[type]]:
    """Of a flat tuple, the types of each part that fit; [] for what has more to it."""
    if get_origin(part) is not tuple or get_args(part)[-1] is ...:
        return []
    found = [frozenset(_plain(one)) for one in get_args(part)]
    return found if all(found) else []


def _fit(rows: Sequence[Any], columns: Sequence[frozenset[type]]) -> bool:
    """Many flat tuples are looked at column by column, in a fifth of the time."""
    if not set(map(type, rows)) <= _LIST_TYPES or set(map(len, rows)) != {len(columns)}:
        return False
    pairs = zip(zip(*rows, strict=True), columns, strict=True)
    return all(set(map(type, column)) <= types for column, types in pairs)


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
    hints, name = get_type_hints(kind), kind.__name__
    checks = [(field.name, check(hints[field.name])) for field in fields(kind)]

    def found(value: Any) -> str:
        if not isinstance(value, kind):
            return _told(value, name)
        for field, one in checks:
            if wrong := one(getattr(value, field)):
                return f".{field}{wrong}"
        return ""

    return found
