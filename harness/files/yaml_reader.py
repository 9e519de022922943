"""YAML as plain values whose mappings and lists know their lines; PyYAML alone tells no lines
and lets a key stand twice.

Only what a configuration needs is understood: mappings, lists, text, null, true and false,
decimal numbers. Unlike YAML 1.1, `yes`, `010`, `1:30` and dates are text, so that a rule which
wants a number refuses them instead of reading 8 or 90. Keys are the text that stands there, so
that 5.1 and 5.10 are two. Whatever the bytes, the result is a value or a HarnessError.
"""

import re
from collections.abc import Collection, Iterator
from typing import Any, ClassVar, NamedTuple

import yaml

from harness.errors import HarnessError, nearest
from harness.files.text_file import decode, shown


class Entry(NamedTuple):
    """One key of a mapping with its value."""

    line: int
    key: str
    value: Any


class Section(dict[str, Any]):
    """A mapping of the file. Of a key that stands twice it holds the first value."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, int] = {}  # of each key, from 1
        self.repeated: list[tuple[str, int]] = []  # keys that stand again, with the later line

    def entries(
        self, problems: "Problems", known: Collection[str] | None = None, place: str = ""
    ) -> list[Entry]:
        """Every known key; those that stand again or are unknown are problems at `place`."""
        for key, line in self.repeated:
            what = f"given again, first on line {self.lines[key]}, expected each key once"
            problems.add(line, place + shown(key), what)
        found = []
        for key, value in self.items():
            if known is None or key in known:
                found.append(Entry(self.lines[key], key, value))
                continue
            hint = nearest(shown(key), list(known))
            what = f"unknown key, expected one of {', '.join(known)}{hint}"
            problems.add(self.lines[key], place + shown(key), what)
        return found


class Items(list[Any]):
    """A list of the file."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[int] = []  # of each item, from 1


class Problems:
    """What is wrong with one file: collected, then told at once in the order of its lines."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.found: list[tuple[int, str]] = []

    def add(self, line: int, place: str, what: object) -> None:
        """One mistake: "place: what is wrong, what was expected"."""
        self.found.append((line, f"{place}: {what}"))

    def refuse(self) -> None:
        """HarnessError when there are any."""
        if self.found:
            lines = sorted(self.found, key=lambda problem: problem[0])
            raise HarnessError(*(f"{self.name}:{line}: {what}" for line, what in lines))


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


def parse(data: bytes, name: str, example: str = "nodes: 5") -> Any:
    """The value of a YAML file's bytes, None for an empty one; the rest is for the messages."""
    text = decode(data, name)
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        what = shown(error.problem or "a mistake", 100)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        what = "a character that YAML does not allow"
    except RecursionError:
        line, what = 1, "nested too deeply"
    raise HarnessError(f"{name}:{line}: not YAML: {what}, expected lines such as {example}")


class _Loader(yaml.SafeLoader):
    """Plain values only. An unknown tag or an impossible value is an error with its line."""

    yaml_constructors: ClassVar[dict[str | None, Any]] = {}  # filled below

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, OverflowError):  # `!!int five`, `!!bool x`, `!!int`
            problem = f"not a valid {node.tag.rpartition(':')[2]}"
            raise _error(problem, node) from None


def _error(problem: str, node: yaml.Node) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(problem=problem, problem_mark=node.start_mark)


def _construct_section(loader: _Loader, node: yaml.Node) -> Iterator[Section]:
    if not isinstance(node, yaml.MappingNode):
        raise _error("not a mapping", node)
    section = Section()
    yield section
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        key = loader.construct_object(key_node, deep=True)
        if isinstance(key, (dict, list)):
            raise _error("a key that is not plain text", key_node)
        key = key_node.value
        value = loader.construct_object(value_node, deep=True)
        if key in section:
            section.repeated.append((key, line))
        else:
            section[key] = value
            section.lines[key] = line


def _construct_items(loader: _Loader, node: yaml.Node) -> Iterator[Items]:
    if not isinstance(node, yaml.SequenceNode):
        raise _error("not a list", node)
    items = Items()
    yield items
    for item in node.value:
        items.append(loader.construct_object(item, deep=True))
        items.lines.append(item.start_mark.line + 1)


_Loader.yaml_implicit_resolvers = {}
_TAG = "tag:yaml.org,2002:"
_Loader.add_constructor(None, yaml.SafeLoader.yaml_constructors[None])  # an unknown tag
_Loader.add_constructor(_TAG + "map", _construct_section)
_Loader.add_constructor(_TAG + "seq", _construct_items)
for _kind in ("null", "bool", "int", "float", "str"):
    _Loader.add_constructor(_TAG + _kind, yaml.SafeLoader.yaml_constructors[_TAG + _kind])
for _kind, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", [*"~nN", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    ("int", r"[-+]?(?:0|[1-9][0-9_]*)", [*"-+0123456789"]),
    ("float", r"[-+]?[0-9][0-9_]*\.[0-9]*", [*"-+0123456789"]),
):
    _Loader.add_implicit_resolver(_TAG + _kind, re.compile(f"(?:{_pattern})$"), _first)
