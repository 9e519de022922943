"""The `expect:` of a YAML file, of a set or of a file's end: a section in, expectations out.

Everything is checked against the cluster and the steps that there are, so that a misspelt
expectation is a mistake of the file and never a set that fails. What holds is judged elsewhere.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from harness.cluster.nemesis import FailLeader, KillAt
from harness.files.cases import (
    CHECKS,
    MARKS,
    Action,
    Balances,
    CaseSet,
    Checks,
    Command,
    Expectation,
    Expected,
    Leader,
    Outcomes,
    Pending,
    Slots,
    Statuses,
    Stopped,
    action_text,
)
from harness.files.config import integer, is_integer
from harness.files.steps import LARGEST_NUMBER, Names, hint, parse_step
from harness.files.text_file import shown
from harness.files.yaml_reader import Items, Problems, Section, shown_value

MOST_SLOTS = 1000  # of one `statuses`
MOST_POINTS = 1_000_000

_RANGE = re.compile(r"([0-9]{1,18})(?:\s*-\s*([0-9]{1,18}))?")
_balance = integer(0, LARGEST_NUMBER)
_count = integer(0, 1_000_000)


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
    if not isinstance(value, Section):
        what = f"found {shown_value(value)}, expected keys such as balances: and leader:"
        problems.add(line, "expect", what)
        return ()
    reading = _Reading(problems, names, labels)
    found = []
    for at, key, wanted in value.entries(problems, tuple(reading.readers), "expect: "):
        try:
            expectation = reading.readers[key](wanted, at)
            found.append(Expected(f"{problems.name}:{at}", key, expectation))
        except ValueError as error:
            problems.add(at, key, error)
    return tuple(found)


def read_points(value: object) -> float:
    """Points for something. ValueError: what was expected."""
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else -1
    if 0 <= number <= MOST_POINTS:
        return number
    raise ValueError(f"found {shown_value(value)}, expected a number from 0 to {MOST_POINTS}")


def read_step(value: object, names: Names) -> tuple[str, Action]:
    """One item of a list of steps. ValueError: what is wrong and expected."""
    if not isinstance(value, str):
        raise ValueError(f"found {shown_value(value)}, expected a step such as (A, J, 3)")
    if value.count("(") != value.count(")"):
        why = 'between [ and ] a comma ends an item, so "(A, J, 3)" needs its quotes there'
        raise ValueError(f"found {shown_value(value)}, expected a whole step: {why}")
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


class _Reading:
    """The readers of one `expect:`, by key: a value and its line in, what is expected out.

    A mistake in an entry is added where the entry stands; that of a whole value is a ValueError.
    """

    def __init__(self, problems: Problems, names: Names, labels: Mapping[str, Action]) -> None:
        self.problems, self.names, self.labels = problems, names, labels
        self.readers: dict[str, Callable[[Any, int], Expectation]] = {
            "balances": self._balances,
            "outcomes": self._outcomes,
            "pending": self._pending,
            "leader": self._leader,
            "stopped": self._stopped,
            "slots": self._slots,
            "statuses": self._statuses,
            "checks": self._checks,
        }

    def _entries(
        self, key: str, value: object, example: str, read: Callable[[str, Any], Mapping[Any, Any]]
    ) -> dict[Any, Any]:
        """What `read` makes of every entry of a mapping; nothing may come twice."""
        if not isinstance(value, Section) or not value:
            found = "nothing" if isinstance(value, Section) else shown_value(value)
            raise ValueError(f"found {found}, expected entries such as {example}")
        whole: dict[Any, Any] = {}
        for line, word, wanted in value.entries(self.problems, place=f"{key}: "):
            try:
                part = read(word, wanted)
                for twice in part.keys() & whole.keys():
                    raise ValueError(f"{twice} again, expected it once")
                whole |= part
            except ValueError as error:
                self.problems.add(line, f"{key}: {shown(word)}", error)
        return whole

    def _items(self, key: str, value: object, line: int, read: Callable[[Any], Any]) -> list[Any]:
        """What `read` makes of every item of a list, or of a value that stands alone."""
        whole = []
        for at, item in step_items(value) if isinstance(value, Items) else [(line, value)]:
            try:
                whole.append(read(item))
            except ValueError as error:
                self.problems.add(at, key, error)
        return whole

    def _balances(self, value: object, _: int) -> Balances:
        def read(word: str, wanted: object) -> dict[str, int]:
            return {self.names.account(word): _balance(wanted)}

        return Balances(self._entries("balances", value, "{A: 7, J: 13}", read))

    def _outcomes(self, value: object, _: int) -> Outcomes:
        def read(label: str, wanted: object) -> dict[str, str | int]:
            action = self.labels.get(label)
            if action is None:
                raise ValueError(self._no_such_step(label))
            return {label: _outcome(action, wanted)}

        return Outcomes(self._entries("outcomes", value, "{1: success, 2: failed}", read))

    def _no_such_step(self, label: str) -> str:
        steps = sum(1 for known in self.labels if "." not in known)
        expected = [f"1 to {steps}"] if steps else []
        if requests := [known for known in self.labels if "." in known]:
            expected.append(f"set.step of an earlier request such as {requests[-1]}")
        if not expected:
            return "there is no step yet, expected no outcomes"
        return f"no such step, expected {' or '.join(expected)}{hint(label, list(self.labels))}"

    def _pending(self, value: object, line: int) -> Pending:
        if not isinstance(value, Items):
            return Pending(_count(value))

        def read(item: object) -> str:
            text, action = read_step(item, self.names)
            if not isinstance(action, Command):
                raise ValueError(f"{text} is never pending, expected requests such as (A, J, 3)")
            return text

        return Pending(len(value), tuple(self._items("pending", value, line, read)))

    def _leader(self, value: object, line: int) -> Leader:
        def read(item: object) -> int:
            if not isinstance(item, str):
                raise ValueError(f"found {shown_value(item)}, expected n2, a list, none or any")
            return self.names.replica(item)

        if isinstance(value, str) and value.lower() in ("none", "any"):
            return Leader(frozenset(self.names.replicas.values() if value.lower() == "any" else ()))
        if isinstance(value, Items) and not value:
            raise ValueError("found an empty list, expected n2, a list, none or any")
        return Leader(frozenset(self._items("leader", value, line, read)))

    def _stopped(self, value: object, line: int) -> Stopped:
        def read(item: object) -> int:
            if not isinstance(item, str):
                raise ValueError(f"found {shown_value(item)}, expected n2, a list or none")
            return self.names.replica(item)

        if isinstance(value, str) and value.lower() == "none":
            return Stopped(frozenset())
        if isinstance(value, Items) and not value:
            raise ValueError("found an empty list, expected n2, a list or none")
        return Stopped(frozenset(self._items("stopped", value, line, read)))

    def _slots(self, value: object, _: int) -> Slots:
        least, most = _extent(value, "4 or 4-6")
        return Slots(least, most)

    def _statuses(self, value: object, _: int) -> Statuses:
        replicas = len(self.names.replicas)

        def read(word: str, wanted: object) -> dict[int, str]:
            first, last = _extent(word, "a slot such as 3, or 3-6")
            if not first >= 1 or last - first >= MOST_SLOTS:
                raise ValueError(f"expected slots from 1, at most {MOST_SLOTS} of them")
            marks = "".join(wanted.split()).upper() if isinstance(wanted, str) else ""
            if len(marks) != replicas or not set(marks) <= set(MARKS):
                what = f"expected {replicas} of A, C, E, X or -, one for each replica"
                raise ValueError(f"found {shown_value(wanted)}, {what}")
            return dict.fromkeys(range(first, last + 1), marks)

        return Statuses(self._entries("statuses", value, f"{{1: {'E' * replicas}}}", read))

    def _checks(self, value: object, line: int) -> Checks:
        def read(item: object) -> str:
            word = item.lower().replace("-", "_") if isinstance(item, str) else ""
            if word not in CHECKS:
                what = f"found {shown_value(item)}, expected {', '.join(CHECKS)}"
                raise ValueError(what + hint(word, list(CHECKS)))
            return word

        return Checks(tuple(self._items("checks", value, line, read)))


def _extent(value: object, expected: str) -> tuple[int, int]:
    """4 and "4-6" as the least and the most."""
    match = None if isinstance(value, bool) else _RANGE.fullmatch(str(value))
    least, most = (int(part or match[1]) for part in match.groups()) if match else (1, 0)
    if least > most:
        raise ValueError(f"found {shown_value(value)}, expected {expected}")
    return least, most


def _outcome(action: Action, wanted: object) -> str | int:
    """What may become of a step. ValueError for anything else."""
    match action:
        case Command(kind="transfer"):
            known = ["success", "failed", "pending"]
        case Command():
            if isinstance(wanted, int) and is_integer(wanted, 0, LARGEST_NUMBER):
                return wanted
            known = ["pending"]
        case FailLeader(point):
            known = ["done", "no-leader"] + (["not-reached"] if point else [])
        case KillAt():
            known = ["done", "not-reached"]
        case _:
            known = ["done"]
    word = wanted.lower() if isinstance(wanted, str) else ""
    if word not in known:
        expected = " or ".join(["the balance read"] * (known == ["pending"]) + known)
        found = f"found {shown_value(wanted)} for {action_text(action)}"
        raise ValueError(f"{found}, expected {expected}{hint(word, known)}")
    return word
