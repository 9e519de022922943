"""YAML as a tree that knows its lines; PyYAML alone tells no lines and lets a key stand twice.

Only what a configuration needs is understood: mappings, lists, text, null, true and false,
decimal numbers. Unlike YAML 1.1, `yes`, `010`, `1:30` and dates are text, so that a rule which
wants a number refuses them instead of reading 8 or 90. Keys are the text that stands there, so
that 5.1 and 5.10 are two. Whatever the bytes, the result is a value or a HarnessError.
"""

import re
from collections.abc import Iterator
from typing import Any, ClassVar

import yaml

from harness.errors import HarnessError
from harness.files.text_file import decode, shown
from harness.files.tree import Items, Section


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
        section.put(key_node.value, loader.construct_object(value_node, deep=True), line)


def _construct_items(loader: _Loader, node: yaml.Node) -> Iterator[Items]:
    if not isinstance(node, yaml.SequenceNode):
        raise _error("not a list", node)
    items = Items()
    yield items
    for item in node.value:
        items.put(loader.construct_object(item, deep=True), item.start_mark.line + 1)


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
