"""The `expect:` of a YAML file, of a set or of a file's end, and its `points:`: what they may say.

Everything is checked against the cluster and the steps that there are, so that a misspelt
expectation is a mistake of the file and never a set that fails. What holds is judged elsewhere.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from harness.cluster.nemesis import FailLeader, KillAt
from harness.files.cases import (
    CHECKS,
    MARKS,
    Action,
    Balances,
    CaseSet,
    Checks,
    Command,
    Expected,
    Leader,
    Outcomes,
    Pending,
    Slots,
    Statuses,
    Stopped,
    action_text,
)
from harness.files.shape import (
    Key,
    Place,
    Shape,
    each,
    entries,
    in_any_case,
    is_whole,
    mapping,
    one_or_each,
    only,
    read_or_tell,
    text_like,
    whole,
)
from harness.files.steps import LARGEST_NUMBER, Names, hint, parse_step
from harness.files.tree import Items, Problems, Section

MOST_SLOTS = 1000  # of one `statuses`
MOST_POINTS = 1_000_000

_RANGE = re.compile(r"([0-9]{1,18})(?:\s*-\s*([0-9]{1,18}))?")
_STEP_RANGE = re.compile(r"((?:[0-9]{1,18}\.)?)([0-9]{1,18})-([0-9]{1,18})")
_RANGE_LIKE = r"[0-9]{1,18}(\s*-\s*[0-9]{1,18})?"


class Against(NamedTuple):
    """What an `expect:` is checked against."""

    names: Names
    labels: Mapping[str, Action]  # the steps that it may name


def labels(sets: Sequence[CaseSet], last: CaseSet | None = None) -> dict[str, Action]:
    """The steps that an expectation may name: "2.3" for a request of these sets, the third step
    of set 2, and "1", "2", … for every step of `last`, the set that it belongs to.
    """
    found: dict[str, Action] = {}
    for index, step in enumerate(last.steps if last else (), 1):
        found[str(index)] = step.action
    for case in sets:
        for index, step in enumerate(case.steps, 1):
            if isinstance(step.action, Command):
                found[f"{case.number}.{index}"] = step.action
    return found


def read_expect(
    value: object, line: int, problems: Problems, names: Names, labels: Mapping[str, Action]
) -> tuple[Expected, ...]:
    """What the value of an `expect:` in this line says. Mistakes are added to `problems`; when
    there are any, the result is not to be used.
    """
    at = Place(problems, line, "expect", Against(names, labels))
    return next(read_or_tell(EXPECT, value, at), ())


def read_step(value: object, at: Place, names: Names) -> tuple[str, Action]:
    """One item of a list of steps. ValueError: what is wrong and expected."""
    if not isinstance(value, str):
        raise at.not_that(value, "a step such as (A, J, 3)")
    if value.count("(") != value.count(")"):
        why = 'between [ and ] a comma ends an item, so "(A, J, 3)" needs its quotes there'
        raise at.not_that(value, f"a whole step: {why}")
    return parse_step(value, names)


def step_items(items: Items) -> Iterator[tuple[int, object]]:
    """The items with their lines; of a step that is torn at its commas, the first piece only."""
    torn = False
    for line, item in zip(items.lines, items, strict=True):
        text = item if isinstance(item, str) else ""
        if not torn or "(" in text:
            yield line, item
            torn = "(" in text and not re.search("[,)]", text)
        elif ")" in text:
            torn = False


# ---- the keys ----------------------------------------------------------------------------------


def _balance(account: str, wanted: Any, at: Place) -> dict[str, int]:
    return {at.given.names.account(account): BALANCE.read(wanted, at)}


def _outcomes(word: str, wanted: Any, at: Place) -> dict[str, str | int]:
    """The same of every step from 4 to 6 for "4-6", of 5.1 and 5.2 for "5.1-2"."""
    match = _STEP_RANGE.fullmatch(word)
    first, last = (int(match[2]), int(match[3])) if match else (0, 0)
    if match is None or first >= last:
        return _outcome(word, wanted, at)
    found: dict[str, str | int] = {}
    for number in range(first, last + 1):
        found |= _outcome(f"{match[1]}{number}", wanted, at)
    return found


def _outcome(label: str, wanted: Any, at: Place) -> dict[str, str | int]:
    """What may become of a step. ValueError for anything else."""
    action = at.given.labels.get(label)
    match action:
        case None:
            raise ValueError(_no_such_step(label, at.given.labels))
        case Command(kind="transfer"):
            known = ["success", "failed", "pending"]
        case Command():
            if is_whole(wanted, 0, LARGEST_NUMBER):
                return {label: wanted}
            known = ["pending"]
        case FailLeader(point):
            known = ["done", "no-leader"] + (["not-reached"] if point else [])
        case KillAt():
            known = ["done", "not-reached"]
        case _:
            known = ["done"]
    word = wanted.lower() if isinstance(wanted, str) else ""
    if word in known:
        return {label: word}
    expected = " or ".join(["the balance read"] * (known == ["pending"]) + known)
    shown = at.problems.show(wanted)
    text = f"found {shown} for {action_text(action)}, expected {expected}"
    raise ValueError(text + hint(word, known))


def _no_such_step(label: str, labels: Mapping[str, Action]) -> str:
    steps = sum(1 for known in labels if "." not in known)
    expected = [f"1 to {steps}"] if steps else []
    if requests := [known for known in labels if "." in known]:
        expected.append(f"set.step of an earlier request such as {requests[-1]}")
    if not expected:
        return "there is no step yet, expected no outcomes"
    return f"no such step, expected {' or '.join(expected)}{hint(label, list(labels)[:1000])}"


def _request(value: Any, at: Place) -> str:
    text, action = read_step(value, at, at.given.names)
    if not isinstance(action, Command):
        raise ValueError(f"{text} is never pending, expected requests such as (A, J, 3)")
    return text


def _pending(value: Any, at: Place) -> Pending:
    if isinstance(value, Items):
        return Pending(len(value), tuple(_REQUESTS.read(value, at)))
    return Pending(_COUNT.read(value, at))


def _replicas(make: Any, expected: str, *words: str) -> Shape:
    """One replica, a list of some, or a word: `none` of them, `any` of them."""

    def one(value: Any, at: Place) -> int:
        if not isinstance(value, str):
            raise at.not_that(value, expected)
        replica: int = at.given.names.replica(value)
        return replica

    some = one_or_each(Shape(one, text_like("[Nn][1-9]")), expected, 1)

    def read(value: Any, at: Place) -> Any:
        word = value.lower() if isinstance(value, str) else ""
        everybody = at.given.names.replicas.values() if word == "any" else ()
        return make(frozenset(everybody if word in words else some.read(value, at)))

    return Shape(read, {"anyOf": [some, text_like(in_any_case(*words))]})


def _extent(value: object, at: Place, expected: str) -> tuple[int, int]:
    """4 and "4-6" as the least and the most."""
    match = None if isinstance(value, bool) else _RANGE.fullmatch(str(value))
    least, most = (int(part or match[1]) for part in match.groups()) if match else (1, 0)
    if least > most:
        raise at.not_that(value, expected)
    return least, most


def _statuses(value: Any, at: Place) -> Statuses:
    replicas = len(at.given.names.replicas)

    def read(word: str, wanted: Any, at: Place) -> dict[int, str]:
        first, last = _extent(word, at, "a slot such as 3, or 3-6")
        if not first >= 1 or last - first >= MOST_SLOTS:
            raise ValueError(f"expected slots from 1, at most {MOST_SLOTS} of them")
        marks = "".join(wanted.split()).upper() if isinstance(wanted, str) else ""
        if len(marks) != replicas or not set(marks) <= set(MARKS):
            raise at.not_that(wanted, f"{replicas} of A, C, E, X or -, one for each replica")
        return dict.fromkeys(range(first, last + 1), marks)

    expected = f"entries such as {{1: {'E' * replicas}}}"
    return Statuses(entries(read, expected, {}).read(value, at))


def _check(value: Any, at: Place) -> str:
    word = value.lower().replace("-", "_") if isinstance(value, str) else ""
    if word not in CHECKS:
        raise at.not_that(value, f"{', '.join(CHECKS)}{hint(word, list(CHECKS))}")
    return word


def _expected(value: Any, at: Place) -> tuple[Expected, ...]:
    read, name = _ALL.read(value, at), at.problems.name
    return tuple(Expected(f"{name}:{value.lines[key]}", key, what) for key, what in read.items())


BALANCE = whole(0, LARGEST_NUMBER, "balance")
_COUNT = whole(0, 1_000_000)
_REQUESTS = each(Shape(_request, {"type": "string", "pattern": r"^\s*\("}), walk=step_items)
_CHECK = Shape(_check, text_like(in_any_case(*CHECKS).replace("_", "[_-]")), "check")
_CHECKS = one_or_each(_CHECK, walk=step_items)
_RESULT = in_any_case("success", "failed", "pending", "done", "no-leader", "not-reached")
_BALANCES = entries(_balance, "entries such as {A: 7, J: 13}", BALANCE)
_OUTCOMES = entries(
    _outcomes,
    "entries such as {1: success, 2: failed}",
    {"anyOf": [BALANCE, text_like(_RESULT)]},
    r"[0-9]+(\.[0-9]+)?(-[0-9]+)?",
)
_MARKS = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": False,
    "patternProperties": {f"^{_RANGE_LIKE}$": text_like(r"(\s*[ACEXacex-]){3,9}\s*")},
}
_KEYS = {
    "balances": Key(
        Shape(lambda value, at: Balances(_BALANCES.read(value, at)), _BALANCES),
        "What accounts hold at every replica that is live and not cut off.",
        ({"A": 7, "J": 13},),
    ),
    "outcomes": Key(
        Shape(lambda value, at: Outcomes(_OUTCOMES.read(value, at)), _OUTCOMES),
        "What became of steps, by their place in the set, 4-9 for several; 5.1 is the first step "
        "of set 5, carried over. A read has the balance that it returned.",
        ({"1": "success", "2": "failed", "5.1": "success", "3": 7},),
    ),
    "pending": Key(
        Shape(_pending, {"anyOf": [_COUNT, _REQUESTS]}),
        "How many requests have no answer, or which.",
    ),
    "leader": Key(
        _replicas(Leader, "n2, a list, none or any", "none", "any"),
        "Who leads: a replica, one of a list, none, or any.",
        ("n2", ["n2", "n3"], "none", "any"),
    ),
    "stopped": Key(
        _replicas(Stopped, "n2, a list or none", "none"),
        "Who stopped by itself, or because its file is damaged or gone: a replica, or a list. "
        "Only then a live one may be.",
        ("n3", ["n2", "n3"], "none"),
    ),
    "slots": Key(
        Shape(
            lambda value, at: Slots(*_extent(value, at, "4 or 4-6")),
            {"anyOf": [whole(0, 10**18 - 1), text_like(_RANGE_LIKE)]},
        ),
        "How many slots every replica that is live and not cut off has executed: 4, or 4-6.",
    ),
    "statuses": Key(
        Shape(_statuses, _MARKS),
        "A slot, or some, at n1, n2, ... as PrintStatus shows them: A accepted, C committed, "
        "E executed, X none, - any of these.",
        ({"1": "EEEEE", "2-4": "EEE-X"},),
    ),
    "checks": Key(
        Shape(lambda value, at: Checks(tuple(_CHECKS.read(value, at))), _CHECKS),
        "Checks that must hold. All are judged anyway; here they can give points.",
    ),
}
_ALL = mapping(_KEYS, "keys such as balances: and leader:", unknown="expect: ")
EXPECT = Shape(_expected, _ALL, "expect")


# ---- points ------------------------------------------------------------------------------------


def is_points(value: Any) -> bool:
    """A number of points."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= value <= MOST_POINTS


def _by_key(value: Any, at: Place) -> Any:
    """Points for the expectations that stand beside."""
    if not isinstance(value, Section):
        example = "points of expectations after the last set, such as {balances: 5}"
        raise at.not_that(value, example)
    beside = at.inside.get("expect")
    if not isinstance(beside, Section) or not beside:
        raise ValueError("nothing is expected here that could give points, expected an expect:")
    there = dict.fromkeys(beside, Key(POINTS))
    return mapping(there, unknown="points: ", known="points: ").read(value, at)


def _of_set(value: Any, at: Place) -> Any:
    return (POINTS_BY_KEY if isinstance(value, Section) else POINTS).read(value, at)


_ANY_POINTS = {"type": "number", "minimum": 0, "maximum": MOST_POINTS}
POINTS = only(is_points, f"a number from 0 to {MOST_POINTS}", _ANY_POINTS, "number_of_points")
POINTS_BY_KEY = Shape(_by_key, mapping(dict.fromkeys(_KEYS, Key(POINTS))), "points_by_key")
POINTS_OF_SET = Shape(_of_set, {"anyOf": [POINTS, POINTS_BY_KEY]})
