"""YAML test sets: everything that a CSV file can say, and what it cannot.

The bytes are read once; what they mean is checked against one cluster later, as a whole, and
every mistake is told with its line. `yaml_expect` reads the expectations, `steps` each step.
testset.schema.json says the same to editors: what changes here changes there.
"""

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import replace

from bank.ballot import ReplicaId, replica_name
from harness.cluster.nemesis import FailLeader, KillAt
from harness.errors import HarnessError
from harness.files import config, yaml_reader
from harness.files.cases import Action, CaseFile, CaseSet, Expected, Step
from harness.files.config import ClusterConfig, Overrides
from harness.files.csv_reader import split
from harness.files.steps import LARGEST_NUMBER, Names
from harness.files.yaml_expect import labels, read_expect, read_points, read_step, step_items
from harness.files.yaml_reader import Entry, Items, Problems, Section, shown_value

KEYS = ("name", "description", "cluster", "sets", "expect", "points")
SET_KEYS = ("set", "live", "steps", "expect", "points")
MOST_STEPS = 100_000  # aliases could make a small file endless

_EXAMPLE = "sets:, a list whose items have steps: and expect:"


class YamlFile:
    """A file that is YAML, with what it says of its cluster."""

    def __init__(self, data: bytes, name: str) -> None:
        """HarnessError for what is no test set, or not even YAML; `name` is for the messages."""
        self._section = _test_set(yaml_reader.parse(data, name, "sets:"), name)
        self._name = name
        cluster = self._section.get("cluster")
        cluster = Section() if cluster is None else cluster
        problems = Problems(name)
        if not isinstance(cluster, Section):
            what = f"found {shown_value(cluster)}, expected keys of cluster.yaml such as nodes: 5"
            problems.add(self._section.lines["cluster"], "cluster", what)
            cluster = Section()
        self.overrides: Overrides = config.read_section(cluster, problems)
        if problems.found:  # tell the other mistakes as well, as far as names are known
            names = {key: o.value for key, o in self.overrides.items() if key in _NAMING}
            if all(key in names or key not in cluster for key in _NAMING):
                _Reading(problems, replace(ClusterConfig(), **names)).file(self._section)
            problems.refuse()

    def cases(self, config: ClusterConfig) -> CaseFile:
        """Its sets for this cluster. HarnessError with everything that is wrong."""
        problems = Problems(self._name)
        file = _Reading(problems, config).file(self._section)
        problems.refuse()
        return file


_NAMING = ("nodes", "accounts")  # what the rest of a file is checked against


def _test_set(value: object, name: str) -> Section:
    if value is None:
        raise HarnessError(f"{name}:1: the file is empty, expected {_EXAMPLE}")
    if not isinstance(value, Section):
        raise HarnessError(f"{name}:1: found {shown_value(value)}, expected {_EXAMPLE}")
    if "sets" not in value:
        if any(key in config.KEYS for key in value):
            what = "this is a configuration (given with --config), expected a test set with sets:"
            raise HarnessError(f"{name}:1: {what}")
        problems = Problems(name)
        value.entries(problems, KEYS)
        problems.add(1, "no sets", f"expected {_EXAMPLE}")
        problems.refuse()
    return value


class _Reading:
    """One pass over a file for one cluster. A mistake is added where it stands, and what is
    returned is not to be used then.
    """

    def __init__(self, problems: Problems, config: ClusterConfig) -> None:
        self.problems, self.config = problems, config
        self.names = Names(config.nodes, config.accounts)
        self.first_lines: dict[int, int] = {}  # by set number
        self.requests: dict[str, Action] = {}  # of the sets read so far, by label
        self.steps_left = MOST_STEPS

    def file(self, section: Section) -> CaseFile:
        keys = {entry.key: entry for entry in section.entries(self.problems, KEYS)}
        sets: list[CaseSet] = []
        items = keys["sets"].value
        if not isinstance(items, Items) or not items:
            found = "an empty list" if isinstance(items, Items) else shown_value(items)
            what = f"found {found}, expected a list of sets, each after a -"
            self.problems.add(keys["sets"].line, "sets", what)
            items = Items()
        for line, item in zip(items.lines, items, strict=True):
            self.read_set(sets, item, line)
        at_end = self.expected(keys, self.requests)
        if (points := keys.get("points")) and not isinstance(points.value, Section):
            what = "expected points of expectations after the last set, such as {balances: 5}"
            self.problems.add(points.line, "points", f"found {shown_value(points.value)}, {what}")
        name, description = (self.text(keys.get(key)) for key in ("name", "description"))
        return CaseFile(self.problems.name, tuple(sets), name, description, at_end)

    def text(self, entry: Entry | None) -> str:
        if entry is None:
            return ""
        if not isinstance(entry.value, str):
            what = f"found {shown_value(entry.value)}, expected text"
            self.problems.add(entry.line, entry.key, what)
            return ""
        return entry.value.strip()

    # ---- one set -------------------------------------------------------------------------------

    def read_set(self, sets: list[CaseSet], item: object, line: int) -> None:
        if not isinstance(item, Section):
            what = f"found {shown_value(item)}, expected a set with steps: and expect:"
            self.problems.add(line, "sets", what)
            return
        keys = {entry.key: entry for entry in item.entries(self.problems, SET_KEYS)}
        number = self.number(keys.get("set"), sets, line)
        steps = self.steps(keys.get("steps"))
        points = keys.get("points")
        whole = None
        if points and not isinstance(points.value, Section):
            whole = self.points(points.line, "points", points.value)
        case = CaseSet(number, self.live(keys.get("live")), steps, line, points=whole)
        known = ChainMap(labels([], case), self.requests)
        sets.append(replace(case, expected=self.expected(keys, known)))
        self.requests |= labels([case])

    def number(self, entry: Entry | None, sets: list[CaseSet], line: int) -> int:
        number = sets[-1].number + 1 if sets else 1
        if entry:
            if config.is_integer(entry.value, 1, LARGEST_NUMBER):
                number = entry.value
            else:
                what = f"{shown_value(entry.value)} is not a set number, expected 1, 2, 3 and so on"
                self.problems.add(entry.line, "set", what)
        first = self.first_lines.setdefault(number, line)
        if first != line:
            what = f"set {number} again, first on line {first}, expected a new number"
            self.problems.add(entry.line if entry else line, "set", what)
        return number

    def live(self, entry: Entry | None) -> frozenset[ReplicaId]:
        everybody = frozenset(self.names.replicas.values())
        if entry is None:
            return everybody
        items = entry.value
        if isinstance(items, str):
            items = [] if not items.strip() else items.split(",")
        if not isinstance(items, list) or not items:
            found = "an empty list" if isinstance(items, list) else shown_value(items)
            what = f"found {found}, expected a list such as [n1, n2, n3]"
            self.problems.add(entry.line, "live", what)
            return everybody
        lines = items.lines if isinstance(items, Items) else [entry.line] * len(items)
        live: set[ReplicaId] = set()
        for line, item in zip(lines, items, strict=True):
            try:
                word = item.strip() if isinstance(item, str) else shown_value(item)
                replica = self.names.replica(word)
                if replica in live:
                    raise ValueError(f"{replica_name(replica)} twice, expected each replica once")
                live.add(replica)
            except ValueError as error:
                self.problems.add(line, "live", error)
        return frozenset(live) or everybody

    # ---- steps ---------------------------------------------------------------------------------

    def steps(self, entry: Entry | None) -> tuple[Step, ...]:
        if entry is None:
            return ()
        if not isinstance(entry.value, Items):
            what = f"found {shown_value(entry.value)}, expected a list of steps, each after a -"
            self.problems.add(entry.line, "steps", what)
            return ()
        found: list[Step] = []
        for line, item in step_items(entry.value):
            if isinstance(item, Items):  # at once
                begun = len(found)
                for at, part in step_items(item):
                    self.step(found, part, at, begun)
            else:
                self.step(found, item, line)
        return tuple(found)

    def step(self, found: list[Step], item: object, line: int, begun: int | None = None) -> None:
        """Add the step of an item, or several that it joins by `;`. With `begun`, those beyond so
        many begin together with the one before.
        """
        for part in split(item, ";") if isinstance(item, str) else [item]:
            self.steps_left -= 1
            if self.steps_left == -1:
                what = f"too many steps, expected at most {MOST_STEPS} in a file"
                self.problems.add(line, "steps", what)
            if self.steps_left < 0:
                return
            try:
                text, action = read_step(part, self.names)
                self.refuse_kill_point(text, action)
                together = begun is not None and len(found) > begun
                found.append(Step(line, text, action, together))
            except ValueError as error:
                self.problems.add(line, "steps", error)

    def refuse_kill_point(self, text: str, action: Action) -> None:
        dies = isinstance(action, KillAt) or (isinstance(action, FailLeader) and action.point)
        if dies and self.config.durability == "memory":
            what = "a killed replica returns from its disk and durability memory keeps nothing"
            raise ValueError(f"{text}: {what}, expected durability process or power")

    # ---- expectations --------------------------------------------------------------------------

    def expected(
        self, keys: Mapping[str, Entry], known: Mapping[str, Action]
    ) -> tuple[Expected, ...]:
        """The `expect:` among these keys, with what `points:` gives for its entries."""
        entry, points = keys.get("expect"), keys.get("points")
        found: tuple[Expected, ...] = ()
        if entry:
            found = read_expect(entry.value, entry.line, self.problems, self.names, known)
        if not points or not isinstance(points.value, Section):
            return found
        there = list(entry.value) if entry and isinstance(entry.value, Section) else []
        if not there:
            what = "nothing is expected here that could give points, expected an expect:"
            self.problems.add(points.line, "points", what)
            return found
        given = {
            key: self.points(line, f"points: {key}", value)
            for line, key, value in points.value.entries(self.problems, there, "points: ")
        }
        return tuple(replace(e, points=given.get(e.key)) for e in found)

    def points(self, line: int, place: str, value: object) -> float | None:
        try:
            return read_points(value)
        except ValueError as error:
            self.problems.add(line, place, error)
            return None
