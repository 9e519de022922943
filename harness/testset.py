"""Test-set files: sets of steps under live-node lists. CSV text in, CaseSets out.

A file is taken whole or refused whole, before anything starts: one HarnessError carries every
problem of the file, each as "file:line: cell: what is wrong, what was expected". Names are read
in any letter case; a CaseSet holds the configuration's spelling and replica numbers only.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bank.ballot import ReplicaId, replica_name
from bank.ledger import READ, TRANSFER, describe
from harness import text_file
from harness.config import ClusterConfig, names_listed
from harness.csv_reader import NODES, NUMBER, STEPS, Row, read_rows, split
from harness.errors import HarnessError, nearest
from harness.nemesis import Fail, FailLeader, Fault, Recover
from harness.text_file import shown

LARGEST_NUMBER = 2**63 - 1  # what SQLite stores: the largest amount and set number


class Command(NamedTuple):
    """What a client asks for; the client is the sender. A read has receiver "" and amount 0."""

    kind: str  # bank.ledger.TRANSFER or READ
    sender: str
    receiver: str
    amount: int


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a set, in file order."""

    line: int  # of the file, from 1
    text: str  # canonical: "(A, J, 3)", "(A)", "LF", "F(n3)", "R(n3)"
    action: Command | Fault  # FailLeader, Fail or Recover among the faults


@dataclass(frozen=True, slots=True)
class CaseSet:
    """One set: who is live at its start, and what happens."""

    number: int
    live: frozenset[ReplicaId]
    steps: tuple[Step, ...]
    line: int  # of its first row


def load(path: str | Path, config: ClusterConfig) -> tuple[CaseSet, ...]:
    """The sets of a test-set file, in file order, never empty. HarnessError for a bad file."""
    if Path(path).suffix.lower() in (".yaml", ".yml"):
        problem = f"{path}: is YAML by its name, expected a CSV test set"
        raise HarnessError(f"{problem} (a cluster's configuration is given with --config)")
    data = text_file.read(path, "a CSV test set")
    return parse_csv(data, str(path), config.nodes, config.accounts)


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


class Names:
    """The replicas and accounts of one cluster, found in any letter case."""

    def __init__(self, nodes: int, accounts: Sequence[str]) -> None:
        self._replicas = {replica_name(replica): replica for replica in range(1, nodes + 1)}
        self._accounts = {account.lower(): account for account in accounts}
        self._expected_replica = f"expected n1..n{nodes}"
        self._expected_account = f"expected {names_listed(accounts)}"

    def replica(self, word: str) -> ReplicaId:
        """The number of n3. ValueError: what was expected."""
        replica = self._replicas.get(word.lower())
        if replica is None:
            raise ValueError(self._unknown("replica", word, list(self._replicas)))
        return replica

    def account(self, word: str) -> str:
        """The account in the configuration's spelling. ValueError: what was expected."""
        account = self._accounts.get(word.lower())
        if account is None:
            raise ValueError(self._unknown("account", word, list(self._accounts.values())))
        return account

    def _unknown(self, kind: str, word: str, known: list[str]) -> str:
        expected = self._expected_replica if kind == "replica" else self._expected_account
        if not word:
            return f"an empty place, {expected}"
        return f'unknown {kind} "{shown(word)}", {expected}{_hint(word, known)}'


def _hint(word: str, known: list[str]) -> str:
    """`nearest` in any letter case; nothing among so many names that comparing takes seconds."""
    if len(known) > 1000:
        return ""
    word = shown(word)
    hints = (nearest(spelling, known) for spelling in (word, word.upper(), word.lower()))
    return next(filter(None, hints), "")


_EXAMPLE = '1,"(A, J, 3)","[n1, n2, n3]"'
_KNOWN_STEPS = "expected (A, J, 3), (A), LF, F(n3) or R(n3)"
_CALL = re.compile(r"([a-z]*)\s*\(([^()]*)\)", re.IGNORECASE)
_BARE_TRANSFER = re.compile(r"\w+\s*,\s*\w+\s*,\s*\d+")
_LIST = re.compile(r"\[([^\[\]]*)\]|([^\[\]]*)")


def positive(word: str) -> int:
    """A whole number from 1 to LARGEST_NUMBER. ValueError: what was expected."""
    if re.fullmatch("[0-9]+", word):
        digits = word.lstrip("0")
        if digits and len(digits) < 20 and int(digits) <= LARGEST_NUMBER:
            return int(digits)
        size = "is too large" if digits else "is not positive"
    else:
        size = "is not a positive whole number"
    raise ValueError(f'"{shown(word)}" {size}, expected 1 to {LARGEST_NUMBER}')


def parse_step(text: str, names: Names) -> tuple[str, Command | Fault]:
    """One step in canonical text and as an action. ValueError: what is wrong and expected."""
    if text.lower() == "lf":
        return "LF", FailLeader()
    if not text:
        raise ValueError(f"an empty place, {_KNOWN_STEPS}")
    call = _CALL.fullmatch(text)
    word = call[1].upper() if call else ""
    if call is None or word not in ("", "F", "R"):
        hint = _hint(text, ["LF", "F(n3)", "R(n3)"])
        raise ValueError(f'unknown step "{shown(text)}", {_KNOWN_STEPS}{hint}')
    arguments = [argument.strip() for argument in call[2].split(",")]
    try:
        if word:
            return _parse_fault(word, arguments, names)
        command = _parse_command(arguments, names)
    except ValueError as error:
        raise ValueError(f"{shown(text)}: {error}") from None
    return describe(*command), command


def _parse_fault(word: str, arguments: list[str], names: Names) -> tuple[str, Fault]:
    if len(arguments) != 1:
        raise ValueError(f"{len(arguments)} replicas, expected one, as in {word}(n3)")
    replica = names.replica(arguments[0])
    fault = Fail(replica) if word == "F" else Recover(replica)
    return f"{word}({replica_name(replica)})", fault


def _parse_command(arguments: list[str], names: Names) -> Command:
    if len(arguments) == 1:
        return Command(READ, names.account(arguments[0]), "", 0)
    if len(arguments) != 3:
        raise ValueError(f"{len(arguments)} values, expected sender, receiver, amount or one name")
    sender, receiver, amount = arguments
    try:
        number = positive(amount)
    except ValueError as error:
        raise ValueError(f"amount {error}") from None
    return Command(TRANSFER, names.account(sender), names.account(receiver), number)


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
            what = f'unknown step "{shown(row.steps)}", {_KNOWN_STEPS}'
            self.problem(row, STEPS, f"{what} (did you mean ({shown(row.steps)})?)")
            return
        for part in split(row.steps, ",;"):
            try:
                text, action = parse_step(part, self.names)
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
