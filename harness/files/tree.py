"""What a file says, as plain values whose mappings and lists know their lines. Knows no format.

Sources (CSV, YAML, lines of JSON) build such trees, shapes read them. What is wrong with a file is
collected in one `Problems`, and told at once in the order of its lines.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from harness.errors import HarnessError
from harness.files.text_file import shown


class Section(dict[str, Any]):
    """A mapping of the file. Of a key that stands twice it holds the first value."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, int] = {}  # of each key, from 1
        self.repeated: list[tuple[str, int]] = []  # keys that stand again, with the later line

    def put(self, key: str, value: Any, line: int) -> None:
        """One more key, as it stands in the file."""
        if key in self:
            self.repeated.append((key, line))
        else:
            self[key], self.lines[key] = value, line


class Items(list[Any]):
    """A list of the file."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[int] = []  # of each item, from 1

    def put(self, item: Any, line: int) -> None:
        """One more item."""
        self.append(item)
        self.lines.append(line)


def shown_value(value: object) -> str:
    """A value of a file as it stands in a message. Never walks a list: aliases can be endless."""
    if value is None:
        return "no value"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return shown(str(value))
    if isinstance(value, str):
        return f'"{shown(value)}"'
    return "a mapping" if isinstance(value, dict) else "a list"


class Alike(ValueError):
    """A mistake that a file may hold many times, for one cause."""

    def __init__(self, what: str, cause: str, *words: str) -> None:
        """`words` are those that are unknown, if that is the mistake."""
        super().__init__(what)
        self.cause, self.words = cause, words


class Problem(NamedTuple):
    """One mistake: "file:line: place: what is wrong, what was expected"."""

    line: int
    place: str  # the key or column; empty for none
    what: object  # a text, or the ValueError that says it


class Problems:
    """What is wrong with one file."""

    def __init__(self, name: str, show: Callable[[object], str] = shown_value) -> None:
        """`name` of the file; `show` is how its source writes a value into a message."""
        self.name, self.show = name, show
        self.found: list[Problem] = []

    def add(self, line: int, place: str, what: object) -> None:
        """One mistake more."""
        self.found.append(Problem(line, place, what))

    def refuse(self) -> None:
        """HarnessError when there are any."""
        if self.found:
            ordered = sorted(self.found, key=lambda problem: problem.line)
            raise HarnessError(*map(self._line, ordered))

    def _line(self, problem: Problem) -> str:
        place = f"{problem.place}: " if problem.place else ""
        return f"{self.name}:{problem.line}: {place}{problem.what}"
