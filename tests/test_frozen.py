"""States as values: what differs differs there too, and what cannot be one is told in a line."""

import threading
from array import array
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field

import pytest

from bank.messages import ClientRequest
from bank.replica import Replica
from harness.errors import EXIT_INVALID, HarnessError
from harness.sim.explore import Explorer
from harness.sim.explore.frozen import Shared, Unfit, freeze, thaw
from harness.sim.explore.graph import Bounds

ONE = Bounds(nodes=1, requests=1)


@dataclass
class Held:
    what: object = None
    more: object = None


VALUES = [
    deque([1, [2]], maxlen=3),
    defaultdict(list, {1: [2]}),
    OrderedDict(a=1, b=2),
    Counter("aab"),
    frozenset({1, 2}),
    bytearray(b"x"),
    array("q", [1]),
    {None, 1, "a"},
    {int, str},
    {1: {2: [3]}},
    (1, [2]),
    1.5,
    True,
    len,
    range(3),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_what_is_thawed_is_what_was_frozen(value):
    frozen = freeze(Held(value))
    hash(frozen)
    one, other = thaw(frozen).what, thaw(frozen).what
    assert one == value and type(one) is type(value)
    assert freeze(Held(one)) == frozen
    if isinstance(value, deque | dict | bytearray | set | list):
        assert one is not other and one is not value
    if isinstance(value, deque):
        assert one.maxlen == value.maxlen
    if isinstance(value, defaultdict):
        assert one["new"] == []


@pytest.mark.parametrize("one", [1, True, 1.0], ids=repr)
@pytest.mark.parametrize("other", [1, True, 1.0], ids=repr)
def test_equal_values_of_two_types_are_two(one, other):
    is_same = type(one) is type(other)
    for holds in (Held, lambda value: [value], lambda value: {0: value}):
        assert (freeze(holds(one)) == freeze(holds(other))) is is_same


@pytest.mark.parametrize("value", [[], [1], {}, {1: 2}, set(), deque(), bytearray()], ids=repr)
def test_what_is_held_twice_is_one_again(value):
    frozen = freeze(Held(value, value))
    assert Shared in map(type, frozen.parts)
    thawed = thaw(frozen)
    assert thawed.what is thawed.more
    assert freeze(thawed) == frozen != freeze(Held(value, thaw(freeze(value))))


def test_an_object_that_is_equal_to_no_other_is_frozen_by_its_fields():
    @dataclass(eq=False, frozen=True)
    class Box:
        n: int = 0

    @dataclass(frozen=True)
    class Fixed:
        box: Box = field(default_factory=Box)

    for holds in (Held, lambda box: (box,), Fixed):
        frozen = freeze(holds(Box(1)))
        assert frozen == freeze(holds(Box(1))) != freeze(holds(Box(2)))
        assert freeze(thaw(frozen)) == frozen


def test_a_dataclass_that_can_change_is_no_value_because_it_has_a_hash():
    @dataclass(unsafe_hash=True)
    class Count:
        n: int = 0

    count = Count()
    frozen = freeze(Held(count, {count: 1}))  # it may stand for something in a dictionary
    count.n = 1
    assert thaw(frozen).what == Count(0)


class Unsaid(Replica):
    """What it has to store has no ballot."""

    def flush(self):
        effects = super().flush()
        if effects.persist is not None:
            effects.persist.promised = None
        return effects


class Astray(Replica):
    """It writes to a replica that is none."""

    def flush(self):
        effects = super().flush()
        effects.early += [send._replace(to=(9,)) for send in effects.early]
        return effects


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (Unsaid, "flush() gave persist.promised = None, expected Ballot"),
        (Astray, "flush() sends to (9,), expected some of 1 to 2"),
    ],
)
def test_what_has_a_wrong_form_is_the_replicas_fault(kind, told):
    try:
        found = Explorer(Bounds(nodes=2, requests=1), kind).run()
    except TypeError as error:
        pytest.fail(f"not told, but {error!r}")
    assert told in (found.violation or "")


COUNTED: list[int] = []


class Counts(Replica):
    """Counts outside itself."""

    def step(self, source, message, now):
        super().step(source, message, now)
        COUNTED.append(1)
        assert len(COUNTED) != 1, "counted"


def holding(what):
    class Holds(Replica):
        def __init__(self, *args, **more):
            super().__init__(*args, **more)
            self.held = Held([0], what(self))

    return Holds


class Longer(list):
    """Another kind of list."""


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        (lambda replica: lambda: replica, "function"),
        (lambda replica: threading.Lock(), "lock"),
        (lambda replica: (one for one in "a"), "generator"),
        (lambda replica: [].append, "builtin_function_or_method"),
        (lambda replica: Longer(), "Longer"),
        (lambda replica: {(lambda: 1): 1}, "function"),
    ],
)
def test_a_field_that_is_no_value_is_told(what, kind):
    with pytest.raises(Unfit) as error:
        Explorer(ONE, holding(what)).run()
    assert str(error.value).startswith(f"Holds.held.more holds a {kind}, expected what can be")


class OwnMethod(Replica):
    """Holds a method of its own, as tables of what to do with each message do."""

    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self.beats, self.does = 0, {ClientRequest: self.count}

    def count(self):
        self.beats += 1
        return self.beats

    def step(self, source, message, now):
        super().step(source, message, now)
        if does := self.does.get(type(message)):
            assert does() == self.beats


def test_a_method_held_is_that_of_the_copy():
    found = Explorer(Bounds(nodes=1, requests=2), OwnMethod).run()
    assert found.complete and found.violation is None


@pytest.mark.parametrize("name", ["flush", "deadline", "status", "slots", "_Holder__counted"])
def test_a_method_of_a_class_that_stands_in_no_module_is_that_of_the_copy(name):
    class Holder(Replica):
        def __init__(self, *args, **more):
            super().__init__(*args, **more)
            self.hook, self.below = getattr(self, name), super().flush

        def __counted(self):
            pass

        def step(self, source, message, now):
            super().step(source, message, now)
            assert self.hook.__self__ is self.below.__self__ is self

    try:
        found = Explorer(ONE, Holder).run()
    except Unfit as error:
        pytest.fail(str(error))
    assert found.complete and found.violation is None


def test_what_is_kept_outside_the_fields_is_told():
    COUNTED.clear()
    with pytest.raises(Unfit, match="Counts: it is not deterministic, or keeps something outside"):
        Explorer(ONE, Counts).run()


class AtTheStart(Replica):
    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        raise KeyError("start")


class AtALook(Replica):
    def status(self):
        raise KeyError("look")


@pytest.mark.parametrize(("kind", "told"), [(AtTheStart, "'start'"), (AtALook, "'look'")])
def test_what_is_raised_at_a_start_or_a_look_is_a_violation(kind, told):
    found = Explorer(ONE, kind).run()
    assert f"KeyError: {told}" in (found.violation or "")


def test_command_tells_a_replica_that_cannot_be_explored_in_a_line(monkeypatch):
    from test_explore import command

    def run(explorer, seconds, show):
        raise Unfit("Replica.held holds a function")

    monkeypatch.setattr(Explorer, "run", run)
    with pytest.raises(HarnessError) as error:
        command("--requests", "1")
    assert error.value.problems == ("Replica.held holds a function",)
    assert error.value.exit_code == EXIT_INVALID
