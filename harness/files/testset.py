"""Test-set files: what they may say, as shapes. Text in, a CaseFile out.

A file is taken whole or refused whole, before anything starts: one HarnessError carries every
problem of the file, each as "file:line: place: what is wrong, what was expected". Names are read in
any letter case; a CaseSet holds the configuration's spelling and replica numbers only. A YAML
file is read once and checked against one cluster later, since flags may change what it says of it.
"""

import json
import re
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bank.ballot import ReplicaId, replica_name
from harness.cluster.nemesis import FailLeader, KillAt
from harness.errors import HarnessError
from harness.files import causes, config, csv_source, spreadsheet, text_file, yaml_source
from harness.files.cases import Action, CaseFile, CaseSet, Expected, Step
from harness.files.config import ClusterConfig, Overrides
from harness.files.csv_source import NODES, NUMBER, POINTS, STEPS, split
from harness.files.expect import (
    EXPECT,
    MOST_POINTS,
    POINTS_BY_KEY,
    POINTS_OF_SET,
    is_points,
    labels,
    read_expect,
    read_step,
    step_items,
)
from harness.files.shape import (
    TEXT,
    Json,
    Key,
    Place,
    Shape,
    each,
    in_any_case,
    is_whole,
    mapping,
    read_or_tell,
    schema,
    text_like,
    whole,
    with_lines,
)
from harness.files.steps import ALL_STEPS, LARGEST_NUMBER, WORDS, Names, parse_step, positive
from harness.files.text_file import shown
from harness.files.tree import Alike, Items, Problems, Section

MOST_SAID = 3  # names that were read for others
MOST_BAD = 5  # rows, where most of them are
MOST_STEPS = 100_000  # aliases could make a small file endless


@dataclass(frozen=True, slots=True)
class Draft:
    """A file that is read, and not yet checked against a cluster."""

    cases: Callable[[ClusterConfig], CaseFile]  # HarnessError with every problem of the file
    overrides: Overrides = field(default_factory=dict)  # what the file says of the cluster


def read(path: str | Path) -> Draft:
    """The file as far as it can be understood without a cluster. HarnessError for a bad file."""
    data, name = text_file.read(path, "a test set"), str(path)
    if Path(path).suffix.lower() in (".yaml", ".yml"):
        return read_yaml(data, name)
    return Draft(lambda config: parse_csv(data, name, config))


def load(path: str | Path, config: ClusterConfig) -> CaseFile:
    """A whole file for this cluster; what it says of the cluster itself is left out."""
    return read(path).cases(config)


# ---- what both say -----------------------------------------------------------------------------


class _Known:
    """What a file is checked against: a cluster, and what was read of the file so far."""

    def __init__(self, config: ClusterConfig, any_course: bool = False) -> None:
        self.config, self.names = config, Names(config.nodes, config.accounts, any_course)
        self.sets: list[CaseSet] = []
        self.steps: Sequence[Step] = ()  # of the set that is being read
        self.requests: dict[str, Action] = {}  # of the sets before, by label
        self.first_lines: dict[int, int] = {}  # by set number
        self.steps_left = MOST_STEPS

    def labels(self) -> Mapping[str, Action]:
        """The steps that an expectation may name."""
        own = {str(index): step.action for index, step in enumerate(self.steps, 1)}
        return ChainMap(own, self.requests)

    def add(self, case: CaseSet) -> None:
        """One more set."""
        self.sets.append(case)
        self.requests |= labels([case])
        self.steps = ()


def _new_number(number: int, line: int, at: Place) -> int:
    """A set in this line has this number, and none before it."""
    first = at.given.first_lines.setdefault(number, line)
    if first != line:
        at.wrong(f"set {number} again, first on line {first}, expected a new number")
    return number


def _replicas(words: Items, at: Place) -> frozenset[ReplicaId] | None:
    """Each once; None when some are wrong."""
    live: set[ReplicaId] = set()

    def one(word: Any, at: Place) -> ReplicaId:
        text = word.strip() if isinstance(word, str) else at.problems.show(word)
        parts = text.lower().split()
        if len(parts) > 1 and all(part in at.given.names.replicas for part in parts):
            raise ValueError(f'found "{shown(text)}", expected commas: {", ".join(parts)}')
        replica: ReplicaId = at.given.names.replica(text)
        if replica in live:
            raise ValueError(f"{replica_name(replica)} twice, expected each replica once")
        live.add(replica)
        return replica

    read = each(Shape(one)).read(words, at)
    return frozenset(live) if len(read) == len(words) else None


_REPLICA = r"\s*[Nn][1-9]\s*"


# ---- CSV ---------------------------------------------------------------------------------------


def parse_csv(data: bytes, name: str, config: ClusterConfig) -> CaseFile:
    """The sets of a CSV file's bytes for this cluster; `name` is for the messages."""
    said: list[str] = []
    text = spreadsheet.read(data, name, said)
    if not text.strip():
        raise HarnessError(f"{name}:1: the file is empty, expected rows such as {_EXAMPLE}")
    problems, known = Problems(name), _Known(config, any_course=True)
    sets = csv_source.parse(text, problems, said)
    if not sets and not problems.found:
        raise HarnessError(f"{name}:1: no set, expected rows such as {_EXAMPLE}")
    each(Shape(_csv_set)).read(sets, Place(problems, 1, "", known))
    _refuse_other_kinds(text, problems, is_empty=not sets)
    causes.refuse(problems, known.names)
    if other := known.names.said:
        words = [f"{word} as {name}" for word, name in other.items()]
        more = ["…"] if len(words) > MOST_SAID else []
        said.append(f"{name}: read {', '.join(words[:MOST_SAID] + more)}")
    return CaseFile(name, tuple(known.sets), notes=tuple(said))


def _refuse_other_kinds(text: str, problems: Problems, is_empty: bool) -> None:
    """A README, a picture, a page: one HarnessError, and not one for each of its lines."""
    rows = sum(1 for line in text.split("\n") if line.strip(" ,;\t"))
    bad = {p.line for p in problems.found if getattr(p.what, "cause", "") in ("row", "number")}
    kind = spreadsheet.kind(text) if problems.found else ""
    if (kind and is_empty) or (2 * len(bad) > rows and (kind or len(bad) > MOST_BAD)):
        what = f" but {kind}" if kind else f": {len(bad)} of {rows} lines are no rows of one"
        raise HarnessError(
            f"{problems.name}:1: no test set{what}, expected rows such as {_EXAMPLE}"
        )


_EXAMPLE = '1,"(A, J, 3)","[n1, n2, n3]"'
_A_LIST = "expected a list such as [n1, n2, n3]"
_LIST = re.compile(r"\[([^\[\]]*)\]|([^\[\]]*)")


def _csv_set(value: Any, at: Place) -> None:
    read = _CSV_SET.read(value, at)
    number, live, steps = (read.get(key) for key in (NUMBER, NODES, STEPS))
    case = CaseSet(number or 0, live or frozenset(), tuple(steps or ()), at.line)
    at.given.add(replace(case, points=read.get(POINTS)))


def _csv_number(value: Any, at: Place) -> int:
    try:
        number = _new_number(positive(value), at.line, at)
    except ValueError:
        what = f'"{shown(value)}" is not a set number, expected 1, 2, 3 and so on, '
        what += "or an empty cell for one more row of a set"
        raise Alike(what, "number") from None
    if at.inside[NODES][0] == "":
        at.problems.add(at.line, NODES, f"set {number} has no live nodes, {_A_LIST}")
    return number


def _csv_live(value: Any, at: Place) -> frozenset[ReplicaId] | None:
    """The live nodes of a set's first row; further rows may only repeat them."""
    first, *others = [_listed(cell, at._replace(line=line)) for line, cell in with_lines(value)]
    for line, other in zip(value.lines[1:], others, strict=True):
        if first is not None and other not in (None, first):
            what = f"differs from line {at.line}, expected one list for the whole set"
            at.problems.add(line, NODES, what)
    return first


def _listed(cell: str | None, at: Place) -> frozenset[ReplicaId] | None:
    """The replicas of one cell; None when it is empty or a problem was added."""
    if not cell:
        return None
    listed = _LIST.fullmatch(cell)
    if listed is None:
        what = f'"{shown(cell)}" is not a list, expected one such as [n1, n2, n3]'
        return at.wrong(what)
    words = Items()
    for part in split(listed[1] or listed[2] or "", ",;"):
        for word in at.given.names.several(part):
            words.put(word, at.line)
    return (
        at.wrong(f"a set without live nodes, {_A_LIST}") if words == [""] else _replicas(words, at)
    )


def _csv_step(value: Any, at: Place) -> Step:
    return Step(at.line, *parse_step(value, at.given.names, words=False))


def _csv_points(value: Any, at: Place) -> float | None:
    """For the set as a whole; rows after the first one that has points may only repeat them."""
    found = [float(cell) if _POINTS.fullmatch(cell) else cell for cell in value]
    for points, (line, cell) in zip(found, with_lines(value), strict=True):
        if not is_points(points):
            what = f'"{shown(cell)}", expected a number from 0 to {MOST_POINTS}'
            at.problems.add(line, POINTS, f"found {what}")
        elif points != found[0]:
            what = f"differs from line {value.lines[0]}, expected the points of the whole set once"
            at.problems.add(line, POINTS, what)
    first = found[0] if found else None
    return first if isinstance(first, float) else None


_POINTS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_CSV_SET = mapping(
    {
        NUMBER: Key(Shape(_csv_number)),
        NODES: Key(Shape(_csv_live)),
        STEPS: Key(each(Shape(_csv_step))),
        POINTS: Key(Shape(_csv_points)),
    }
)


# ---- YAML --------------------------------------------------------------------------------------


def read_yaml(data: bytes, name: str) -> Draft:
    """A file that is YAML. HarnessError for what is no test set, or not even YAML; `name` is for
    the messages.
    """
    value = yaml_source.parse(data, name, "sets:")
    if value is None:
        raise HarnessError(f"{name}:1: the file is empty, expected {_EXPECTED}")
    section = value if isinstance(value, Section) else Section()
    if "sets" not in section and any(key in config.KEYS for key in section):
        what = "this is a configuration (given with --config), expected a test set with sets:"
        raise HarnessError(f"{name}:1: {what}")
    if "expected" in section and "sets" not in section:
        raise HarnessError(f"{name}:1: this is an answer key, expected its test set")
    problems = Problems(name)
    cluster: object = section.get("cluster")
    overrides: Overrides = {}
    if cluster is not None:
        overrides = config.read_section(cluster, problems, section.lines["cluster"])
    names = {key: overrides[key].value for key in _NAMING if key in overrides}
    given = [key for key in _NAMING if isinstance(cluster, Section) and key in cluster]
    if "sets" not in section or (problems.found and len(names) == len(given)):
        # Tell the other mistakes as well, as far as names are known.
        _read_yaml(value, problems, replace(ClusterConfig(), **names))
    problems.refuse()
    return Draft(lambda config: _read_yaml(value, Problems(name), config), overrides)


def _read_yaml(value: object, problems: Problems, config: ClusterConfig) -> CaseFile:
    """What the file says for this cluster. HarnessError with all problems."""
    known = _Known(config)
    read: dict[str, Any] = dict(*read_or_tell(FILE, value, Place(problems, 1, "", known)))
    name, description = (read.get(key, "").strip() for key in ("name", "description"))
    at_end = _with_points(read.get("expect", ()), read.get("points", {}))
    causes.refuse(problems, known.names)
    return CaseFile(problems.name, tuple(known.sets), name, description, at_end)


_NAMING = ("nodes", "accounts")  # what the rest of a file is checked against


def _with_points(
    expected: tuple[Expected, ...], points: Mapping[str, float]
) -> tuple[Expected, ...]:
    return tuple(replace(one, points=points.get(one.key)) for one in expected)


def _set(value: Any, at: Place) -> None:
    known = at.given
    read = _SET.read(value, at)
    number = read.get("set", known.sets[-1].number + 1 if known.sets else 1)
    _new_number(number, at.line, at._replace(line=value.lines.get("set", at.line), name="set"))
    points = read.get("points")
    by_key, whole = (points, None) if isinstance(points, dict) else ({}, points)
    live = read.get("live", frozenset(known.names.replicas.values()))
    expected = _with_points(read.get("expect", ()), by_key)
    known.add(CaseSet(number, live, tuple(known.steps), at.line, expected, whole))


def _set_number(value: Any, at: Place) -> int:
    if not is_whole(value, 1, LARGEST_NUMBER):
        shown = at.problems.show(value)
        raise ValueError(f"{shown} is not a set number, expected 1, 2, 3 and so on")
    number: int = value
    return number


def _live(value: Any, at: Place) -> frozenset[ReplicaId] | None:
    words = value
    if isinstance(value, str):
        words = Items()
        for word in value.split(",") if value.strip() else ():
            words.put(word, at.line)
    if not isinstance(words, Items) or not words:
        found = "an empty list" if isinstance(words, Items) else at.problems.show(words)
        raise ValueError(f"found {found}, {_A_LIST}")
    return _replicas(words, at)


def _steps(value: Any, at: Place) -> None:
    """Steps of a list within the list begin at once."""
    known, steps = at.given, list[Step]()

    def item(value: Any, at: Place) -> None:
        begun = len(steps) if isinstance(value, Items) else None
        at_once = each(Shape(lambda part, at: add(part, at, begun)), walk=step_items)
        (add(value, at, None) if begun is None else at_once.read(value, at))

    def add(value: Any, at: Place, begun: int | None) -> None:
        for part in split(value, ";") if isinstance(value, str) else [value]:
            known.steps_left -= 1
            if known.steps_left == -1:
                at.wrong(f"too many steps, expected at most {MOST_STEPS} in a file")
            if known.steps_left < 0:
                return
            for step in read_or_tell(STEP, part, at):
                together = begun is not None and len(steps) > begun
                steps.append(replace(step, together=together))

    each(Shape(item), "a list of steps, each after a -", walk=step_items).read(value, at)
    known.steps = steps


def _step(value: Any, at: Place) -> Step:
    text, action = read_step(value, at, at.given.names)
    dies = isinstance(action, KillAt) or (isinstance(action, FailLeader) and action.point)
    if dies and at.given.config.durability == "memory":
        what = "a killed replica returns from its disk and durability memory keeps nothing"
        raise ValueError(f"{text}: {what}, expected durability process or power")
    return Step(at.line, text, action)


def _expect(value: Any, at: Place) -> tuple[Expected, ...]:
    known = at.given
    return read_expect(value, at.line, at.problems, known.names, known.labels())


_BLANK = r'[\s"]*'
STEP = Shape(
    _step,
    {
        "type": "string",
        "pattern": rf"^{_BLANK}(\(|[FfRr]{_BLANK}\(|[Ll][Ff]{_BLANK}(;|$)|"
        rf'{in_any_case(*WORDS)}([\s";]|$))',
        "patternErrorMessage": ALL_STEPS,
        "examples": [
            *("(A, J, 3)", "(A)", "LF", "F(n3)", "R(n3)", "cut n1->n3"),
            *("cut n1,n2<->n3,n4,n5", "delay n1->* 20-50 ms", "lose n1->n3 30 %"),
            *("duplicate n1->n3 30 %", "reorder n1->n3 30 %", "heal"),
            *("fail leader before COMMIT", "fail n3 after the write", "wait 200 ms"),
        ],
        "description": "A transfer, a read, a failure, a fault of links or a pause. Several "
        "may be joined by ;",
    },
    "step",
)
_LIVE = each(Shape(_live, text_like(_REPLICA)), least=1)
_SET_KEYS = {
    "set": Key(
        Shape(_set_number, whole(1, LARGEST_NUMBER)),
        "Its number; when left out, one more than that of the set before.",
    ),
    "live": Key(
        Shape(_live, {"anyOf": [_LIVE, text_like(f"{_REPLICA}(,{_REPLICA})*")]}),
        "Who is live at its start; all others fail. When left out, all are live.",
    ),
    "steps": Key(
        Shape(_steps, {"type": "array", "items": {"anyOf": [STEP, each(STEP)]}}),
        "What happens, in this order. A list within the list begins at once: nothing waits in "
        "between.",
    ),
    "expect": Key(Shape(_expect, EXPECT), "What must hold at the end of this set."),
    "points": Key(POINTS_OF_SET, "Points for the set as a whole, or for each expectation."),
}
_SET = mapping(_SET_KEYS, "a set with steps: and expect:", called="set")
_EXPECTED = "sets:, a list whose items have steps: and expect:"
_KEYS = {
    "name": Key(TEXT, "What people call this file."),
    "description": Key(TEXT, "What it shows, and what a reader should look at."),
    "cluster": Key(
        Shape(lambda value, at: None, {"anyOf": [{"type": "null"}, config.CLUSTER]}),  # read before
        "Keys of cluster.yaml that this file needs. A flag of the command line is stronger.",
    ),
    "sets": Key(
        each(Shape(_set, _SET), "a list of sets, each after a -", 1),
        "They run in this order; each goes on from the state that the one before left.",
    ),
    "expect": Key(
        Shape(_expect, EXPECT),
        "What must hold after the last set. Steps are called set.step here, such as 3.2.",
    ),
    "points": Key(POINTS_BY_KEY, "Points for each expectation after the last set."),
}
FILE = mapping(_KEYS, _EXPECTED, needed=("sets",))


def schema_text() -> str:
    """The JSON Schema of YAML test sets, for editors: it knows the form, not the cluster."""
    definitions: Json = {}
    head = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "paxbank test set",
        "description": "Sets of steps for a replicated bank, and what is expected after each.",
    }
    document = head | schema(FILE, definitions) | {"definitions": definitions}
    return json.dumps(document, indent=1) + "\n"
