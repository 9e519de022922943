"""YAML as plain values whose mappings know their lines; PyYAML alone tells no lines and lets
a key stand twice.

Only what a configuration needs is understood: mappings, lists, text, null, true and false,
decimal numbers. Unlike YAML 1.1, `yes`, `010`, `1:30` and dates are text, so that a rule which
wants a number refuses them instead of reading 8 or 90. Whatever the bytes, the result is a
value or a HarnessError.
"""

import re
from collections.abc import Iterator
from typing import Any, ClassVar

import yaml

from harness.errors import HarnessError
from harness.text_file import decode, shown


class Section(dict[Any, Any]):
    """A mapping of the file. Of a key that stands twice it holds the first value."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[Any, int] = {}  # of each key, from 1
        self.repeated: list[tuple[Any, int]] = []  # keys that stand again, with the later line


def parse(data: bytes, name: str) -> Any:
    """The value of a YAML file's bytes, None for an empty one; `name` is for the messages."""
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
    raise HarnessError(f"{name}:{line}: not YAML: {what}, expected lines such as nodes: 5")


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
        value = loader.construct_object(value_node, deep=True)
        if key in section:
            section.repeated.append((key, line))
        else:
            section[key] = value
            section.lines[key] = line


_Loader.yaml_implicit_resolvers = {}
_TAG = "tag:yaml.org,2002:"
_Loader.add_constructor(None, yaml.SafeLoader.yaml_constructors[None])  # an unknown tag
_Loader.add_constructor(_TAG + "map", _construct_section)
for _kind in ("null", "bool", "int", "float", "str", "seq"):
    _Loader.add_constructor(_TAG + _kind, yaml.SafeLoader.yaml_constructors[_TAG + _kind])
for _kind, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", [*"~nN", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    ("int", r"[-+]?(?:0|[1-9][0-9_]*)", [*"-+0123456789"]),
    ("float", r"[-+]?[0-9][0-9_]*\.[0-9]*", [*"-+0123456789"]),
):
    _Loader.add_implicit_resolver(_TAG + _kind, re.compile(f"(?:{_pattern})$"), _first)
