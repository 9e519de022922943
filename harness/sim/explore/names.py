"""Replicas by other names: two states that differ in nothing but who is called what.

A cluster in which n1 and n2 have changed places does what it did before, with the places changed.
One of all such states is explored for all. What must hold for that:

- No replica does anything because of a name, its own or another's. Of our replicas that is
  so but for two things: ballots with equal numbers are compared by names, and a leader that puts
  ACCEPTs off asks the first ones by name (so `puts_off` is walked without this). It is not
  believed: each turn is taken under the other names as well, and one that comes out otherwise ends
  the walk with `Unlike`; it is begun again without this reduction.
- Names can be put back: whatever is renamed, and renamed the other way, is what it was. Where names
  are kept in the order of their numbers, an order that means something would be lost, and two
  states would pass for one. That is tried on all that is renamed, and `Unlike` as well.
- Only names that are never compared from here on change places. Compared are the owners of two
  ballots with one number. A replica owns one if it stands or stood, as far as anything in the state
  still tells. With no election timer left nobody else ever will: then the owners must keep their
  order among themselves. With one timer left, whoever it makes stand must keep its order to the
  owners, so each owner keeps its order to everybody. With two left all keep their order. So
  what must be kept is never more later than now, which is what makes merging right.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from itertools import groupby, permutations
from operator import itemgetter
from typing import Any, TypeAlias

from bank.ballot import Ballot, ReplicaId
from bank.effects import Persist, Run, Send
from bank.messages import CheckpointHash, PeerDown
from harness.sim.explore.frozen import Frozen, Truth
from harness.sim.explore.turns import Act, Envelope, Step

Names: TypeAlias = tuple[ReplicaId, ...]  # the new name of n1, n2, …; 0 is nobody's

MOST_RENAMED = 4  # replicas: 24 ways

# Fields that hold names: themselves or as items, or as the keys of a dictionary.
_NAMES = frozenset({"replica", "_replica", "peers", "_peers", "prompt", "source", "peer"})
_ITEMS = frozenset({"holders", "answered", "_hashes", "_digests"})
_KEYS = frozenset(
    {"accepted_upto", "answered_at", "promises", "confirmed_upto", "_asking", "_lent", "_known"}
    | {"told"}
)
_SPARE = "spare"  # of a leader, names; of timers, a time
_KEPT = "kept"  # a name and a message
_VOTES = "_votes"
_SPECIAL = _NAMES | _ITEMS | _KEYS | {_SPARE, _KEPT, _VOTES}
_NAMELESS = frozenset(
    {int, bool, str, bytes, float, type(None), type, Truth}
)  # where a field says no more

_MESSAGES = "bank.messages"
_fields: dict[type, Sequence[str]] = {}


class Unlike(Exception):
    """A turn that depends on a name, or a state that other names do not fit."""


def all_names(nodes: int) -> list[Names]:
    """Every way to name them, the one that changes nothing first."""
    return [(0, *order) for order in permutations(range(1, nodes + 1))]


def kept_order(names: Names, pairs: Sequence[tuple[ReplicaId, ReplicaId]]) -> bool:
    """True when the two of each pair are in the same order as before."""
    return all((a < b) == (names[a] < names[b]) for a, b in pairs)


def inverse(names: Names) -> Names:
    """The names that give everybody back its own."""
    return tuple(names.index(old) for old in range(len(names)))


@contextmanager
def known_form() -> Iterator[None]:
    """Fields called like ours that hold something else than ours are Unlike."""
    try:
        yield
    except (TypeError, ValueError, AttributeError, LookupError):
        raise Unlike("a field that holds names in our replica holds something else") from None


def _name(who: ReplicaId, names: Names) -> ReplicaId:
    if not 0 <= who < len(names):
        raise Unlike(f"{who} is where a replica's number is expected")
    return names[who]


def renamed(value: Any, names: Names) -> Any:
    """A frozen value, or a message, under other names. Raises as `known_form` expects."""
    kind = type(value)
    if kind in _NAMELESS:
        return value
    if kind is Ballot:
        return Ballot(value[0], _name(value[1], names))
    if kind is Frozen:
        return _frozen(value, names)
    if kind is Send:
        return Send(_named(value.to, names), renamed(value.message, names))
    if isinstance(value, tuple):
        parts = [part if type(part) in _NAMELESS else renamed(part, names) for part in value]
        return kind(*parts) if hasattr(kind, "_fields") else kind(parts)
    if kind is CheckpointHash:
        holders = tuple(sorted(_name(holder, names) for holder in value.holders))
        return CheckpointHash(value.slot, value.running_hash, value.answer, holders)
    if kind is PeerDown:
        return PeerDown(_name(value.peer, names), value.incarnation)
    if kind.__module__ == _MESSAGES:
        return kind(*[renamed(getattr(value, name), names) for name in _fields_of(kind)])
    return value


def _fields_of(kind: type) -> Sequence[str]:
    known = _fields.get(kind)
    if known is None:
        known = _fields[kind] = [field.name for field in fields(kind)]
    return known


def _frozen(value: Frozen, names: Names) -> Frozen:
    kind, named, parts = value
    if kind is dict:
        items = [
            (
                key if type(key) in _NAMELESS else renamed(key, names),
                part if type(part) in _NAMELESS else renamed(part, names),
            )
            for key, part in parts
        ]
        return Frozen(dict, (), tuple(items))
    if not named:
        some = [part if type(part) in _NAMELESS else renamed(part, names) for part in parts]
        return Frozen(kind, (), tuple(some))
    found = [
        _field(name, part, names)
        if name in _SPECIAL
        else part
        if type(part) in _NAMELESS
        else renamed(part, names)
        for name, part in zip(named, parts, strict=True)
    ]
    return Frozen(kind, named, tuple(found))


def _field(field: str, part: Any, names: Names) -> Any:
    if field in _NAMES or field in _ITEMS:
        return _named(part, names)
    if field in _KEYS:
        items = [(_name(key, names), renamed(inner, names)) for key, inner in part.parts]
        return Frozen(dict, (), tuple(sorted(items, key=itemgetter(0))))
    if field == _SPARE and isinstance(part, tuple):
        return _named(part, names)
    if field == _VOTES:
        votes = [(slot, _voters(inner, names)) for slot, inner in part.parts]
        return Frozen(dict, (), tuple(votes))
    if field == _KEPT and part is not None and len(part) == 2:  # the checks keep slots
        return _name(part[0], names), renamed(part[1], names)
    return renamed(part, names)


def _voters(of_slot: Frozen, names: Names) -> Frozen:
    items = [(renamed(vote, names), _named(who, names)) for vote, who in of_slot.parts]
    return Frozen(dict, (), tuple(items))


def _named(part: Any, names: Names) -> Any:
    """All numbers in it are names."""
    if type(part) is int:
        return _name(part, names)
    if isinstance(part, Frozen):
        if part.kind is dict:
            items = [(key, _named(inner, names)) for key, inner in part.parts]
            return Frozen(dict, (), tuple(items))
        parts = [_named(inner, names) for inner in part.parts]
        return Frozen(part.kind, part.names, tuple(sorted(parts)))
    if type(part) is tuple and all(type(inner) is int for inner in part):
        return tuple(sorted([_name(inner, names) for inner in part]))
    if type(part) is tuple:
        return tuple([_named(inner, names) for inner in part])
    return part


def owners(value: Any) -> int:
    """Who owns a ballot in it, as bits."""
    kind = type(value)
    if kind is Ballot:
        return 1 << value[1] if value[1] else 0
    if isinstance(value, tuple):
        found = 0
        for part in value:
            if type(part) not in _NAMELESS:
                found |= owners(part)
        return found
    if kind.__module__ == _MESSAGES:
        return owners(tuple([getattr(value, name) for name in _fields_of(kind)]))
    return 0


def outline(step: Step, envelopes: Sequence[Envelope], names: Names) -> tuple[Any, ...]:
    """What a step does, under other names: equal for steps that differ in names only.

    Between two other acts messages leave to each receiver in order, and of two receivers either
    gets its own first (`Turns.cuts`).
    """
    acts: list[Any] = []
    for is_sent, group in groupby(step.acts, lambda act: act.envelope is not None):
        if not is_sent:
            acts += [_act(act, names) for act in group]
            continue
        links: dict[ReplicaId, list[Envelope]] = {}
        for act in group:
            assert act.envelope is not None
            source, to, message = envelopes[act.envelope]
            envelope = Envelope(names[source], names[to], renamed(message, names))
            links.setdefault(names[to], []).append(envelope)
        acts.append(sorted(links.items(), key=itemgetter(0)))
    return names[step.replica], acts


def _act(act: Act, names: Names) -> Any:
    if act.persist is not None:
        return _persist(act.persist, names)
    if act.flushed is not None:
        effects, marks = act.flushed
        executed = [(one.first_slot, [*one.requests], [*one.answers]) for one in effects.executed]
        stored = effects.persist and _persist(effects.persist, names)
        replies = [renamed(reply, names) for reply in effects.replies]
        return executed, replies, renamed(effects.elected, names), marks, stored
    if act.read is not None:
        return names[act.read[0]], renamed(act.read[1], names)
    if act.found is not None:
        entries = [renamed(entry, names) for entry in act.found.entries]
        return renamed(act.found.promised, names), act.found.seen, entries
    return None


def _persist(persist: Persist, names: Names) -> Any:
    runs = [
        Run(run.first_slot, renamed(run.ballot, names), [*run.requests]) for run in persist.runs
    ]
    return (
        renamed(persist.promised, names),
        persist.seen,
        persist.promise_changed,
        runs,
        persist.checkpoint,
        persist.truncated_upto,
        persist.committed_upto,
        persist.pages,
        [*persist.sessions],
    )
