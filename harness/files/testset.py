"""Test-set files: sets of steps under live-node lists. Text in, a CaseFile out.

A file is taken whole or refused whole, before anything starts: one HarnessError carries every
problem of the file, each as "file:line: cell: what is wrong, what was expected". Names are read
in any letter case; a CaseSet holds the configuration's spelling and replica numbers only.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bank.ballot import ReplicaId, replica_name
from harness.errors import HarnessError
from harness.files import text_file
from harness.files.cases import CaseFile, CaseSet, Step
from harness.files.config import ClusterConfig, Overrides
from harness.files.csv_reader import NODES, NUMBER, STEPS, Row, read_rows, split
from harness.files.steps import PLAIN, Names, parse_step, positive
from harness.files.text_file import shown
from harness.files.yaml_cases import YamlFile


@dataclass(frozen=True, slots=True)
class Draft:
    """A file that is read, and not yet checked against a cluster."""

    cases: Callable[[ClusterConfig], CaseFile]  # HarnessError with every problem of the file
    overrides: Overrides = field(default_factory=dict)  # what the file says of the cluster


def read(path: str | Path) -> Draft:
    """The file as far as it can be understood without a cluster. HarnessError for a bad file."""
    data, name = text_file.read(path, "a test set"), str(path)
    if Path(path).suffix.lower() in (".yaml", ".yml"):
        file = YamlFile(data, name)
        return Draft(file.cases, file.overrides)
    return Draft(lambda c: CaseFile(name, parse_csv(data, name, c.nodes, c.accounts)))


def schema_text() -> str:
    """The JSON Schema of YAML test sets, for editors: it knows the form, not the cluster."""
    return (Path(__file__).parent / "testset.schema.json").read_text("utf-8")


def load(path: str | Path, config: ClusterConfig) -> CaseFile:
    """A whole file for this cluster; what it says of the cluster itself is left out."""
    return read(path).cases(config)


def parse_csv(data: bytes, name: str, nodes: int, accounts: Sequence[str]) -> tuple[CaseSet, ...]:
    """The sets of a CSV file's bytes for replicas n1..n`nodes`; `name` is for the messages.

    HarnessError with one problem per mistake, whatever the bytes.
    """
    text = text_file.decode(data, name)
    if not text.strip():
        raise HarnessError(f"{name}:1: the file is empty, expected rows such as {_EXAMPLE}")
    reading = _Reading(name, Names(nodes, accounts))
    for row in read_rows(text):
        reading.read(row)
    return reading.finish()


_EXAMPLE = '1,"(A, J, 3)","[n1, n2, n3]"'
_BARE_TRANSFER = re.compile(r"\w+\s*,\s*\w+\s*,\s*\d+")
_LIST = re.compile(r"\[([^\[\]]*)\]|([^\[\]]*)")


@dataclass(slots=True)
class _OpenSet:
    """A set whose rows are still being read."""

    number: int | None  # None: not known, a problem was reported
    live: frozenset[ReplicaId] | None  # None: likewise
    steps: list[Step]
    line: int


class _Reading:
    """One pass over the rows of a file, collecting sets and problems.

    A mistake is reported once, where it stands: what follows from it is not.
    """

    def __init__(self, name: str, names: Names) -> None:
        self.name = name
        self.names = names
        self.problems: list[str] = []
        self.sets: list[_OpenSet] = []
        self.first_lines: dict[int, int] = {}  # by set number

    def problem(self, row: Row, cell: str, what: object) -> None:
        self.problems.append(f"{self.name}:{row.line}: {cell}: {what}")

    def read(self, row: Row) -> None:
        if row.fault:
            self.problems.append(f"{self.name}:{row.line}: {row.fault}")
        if row.number:
            self.read_number(row)
        elif not self.sets:
            if not row.fault:
                what = "a row before any set, expected a set number in the first row"
                self.problem(row, NUMBER, what)
            self.sets.append(_OpenSet(None, None, [], row.line))
        elif row.nodes:
            self.compare_nodes(row)
        if row.steps:
            self.read_steps(row)

    def read_number(self, row: Row) -> None:
        """Begin a set, unless the row repeats the number of the one above."""
        try:
            number = positive(row.number)
        except ValueError:
            what = f'"{shown(row.number)}" is not a set number, expected 1, 2, 3 and so on, '
            self.problem(row, NUMBER, what + "or an empty cell for one more row of a set")
            self.sets.append(_OpenSet(None, self.read_nodes(row), [], row.line))
            return
        if self.sets and self.sets[-1].number == number:
            if row.nodes:
                self.compare_nodes(row)
            return
        first = self.first_lines.setdefault(number, row.line)
        if first != row.line:
            what = f"set {number} again, first on line {first}, expected a new number"
            self.problem(row, NUMBER, what)
        if not row.nodes and not row.fault:
            what = f"set {number} has no live nodes, expected a list such as [n1, n2, n3]"
            self.problem(row, NODES, what)
        self.sets.append(_OpenSet(number, self.read_nodes(row), [], row.line))

    def read_nodes(self, row: Row) -> frozenset[ReplicaId] | None:
        """The live nodes of the row; None when it has none or a problem was reported."""
        listed = _LIST.fullmatch(row.nodes)
        if listed is None:
            what = f'"{shown(row.nodes)}" is not a list, expected one such as [n1, n2, n3]'
            self.problem(row, NODES, what)
            return None
        if not row.nodes:
            return None
        words = split(listed[1] or listed[2] or "", ",;")
        if words == [""]:
            what = "a set without live nodes, expected a list such as [n1, n2, n3]"
            self.problem(row, NODES, what)
            return None
        live: list[ReplicaId] = []
        complete = True
        for word in words:
            try:
                replica = self.names.replica(word)
                if replica in live:
                    raise ValueError(f"{replica_name(replica)} twice, expected each replica once")
                live.append(replica)
            except ValueError as error:
                self.problem(row, NODES, error)
                complete = False
        return frozenset(live) if complete else None

    def compare_nodes(self, row: Row) -> None:
        """Live nodes on a later row of a set may only repeat those of its first row."""
        opened = self.sets[-1]
        live = self.read_nodes(row)
        if live is not None and opened.live is not None and live != opened.live:
            what = f"differs from line {opened.line}, expected one list for the whole set"
            self.problem(row, NODES, what)

    def read_steps(self, row: Row) -> None:
        if _BARE_TRANSFER.fullmatch(row.steps):
            what = f'unknown step "{shown(row.steps)}", {PLAIN}'
            self.problem(row, STEPS, f"{what} (did you mean ({shown(row.steps)})?)")
            return
        for part in split(row.steps, ",;"):
            try:
                text, action = parse_step(part, self.names, words=False)
                self.sets[-1].steps.append(Step(row.line, text, action))
            except ValueError as error:
                self.problem(row, STEPS, error)

    def finish(self) -> tuple[CaseSet, ...]:
        if not self.sets and not self.problems:
            self.problems.append(f"{self.name}:1: no set, expected rows such as {_EXAMPLE}")
        if self.problems:
            raise HarnessError(*self.problems)
        found = []
        for opened in self.sets:
            assert opened.number is not None and opened.live, "a set without its problem"
            steps = tuple(opened.steps)
            found.append(CaseSet(opened.number, opened.live, steps, opened.line))
        return tuple(found)
