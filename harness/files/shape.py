"""Shapes: what a file may say, declared once. A shape reads a value, and prints its JSON Schema.

A value that is wrong as a whole is a ValueError, "found …, expected …"; whoever holds the value
adds it to the problems of the file, with its place. So everything that is wrong is told at once,
and what is read from a file with problems is not to be used. A shape knows no format: values are
those of `tree`. A schema knows the form only; names, and what fits what, are checked by reading.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from harness.errors import nearest
from harness.files.text_file import shown
from harness.files.tree import Items, Problems, Section

Json: TypeAlias = dict[str, Any]


class Place(NamedTuple):
    """Where a value stands."""

    problems: Problems  # of its file
    line: int
    name: str  # as messages call it: "balances: A"
    given: Any = None  # what values are checked against, as their shapes want it
    inside: Mapping[str, Any] = {}  # the mapping that the value stands in, as the file has it

    def wrong(self, what: object) -> None:
        """A problem of the file, here."""
        self.problems.add(self.line, self.name, what)

    def not_that(self, value: object, expected: str) -> ValueError:
        """The mistake that most are."""
        return ValueError(f"found {self.problems.show(value)}, expected {expected}")


Read: TypeAlias = Callable[[Any, Place], Any]  # ValueError: what the value is, what was expected
Walk: TypeAlias = Callable[[Items], Iterable[tuple[int, Any]]]  # over items, with their lines
Entry: TypeAlias = Callable[[str, Any, Place], Mapping[Any, Any]]


@dataclass(frozen=True)
class Shape:
    """What one value may be."""

    read: Read
    like: Any = field(default_factory=dict)  # a JSON Schema, in which shapes may stand
    called: str = ""  # the name of its definition there; empty: it stands where it is used


def schema(like: Any, known: Json) -> Any:
    """A JSON Schema without shapes: each gives way to what it is like, or is defined in `known`."""
    match like:
        case Shape(called=""):
            return schema(like.like, known)
        case Shape(called=name):
            if name not in known:
                known[name] = schema(like.like, known)
            return {"$ref": f"#/definitions/{name}"}
        case dict():
            found = {key: schema(inner, known) for key, inner in like.items()}
            return found.pop("", {}) | found  # what stands under "" is said more of
        case list() | tuple():
            return [schema(inner, known) for inner in like]
        case _:
            return like


def read_or_tell(shape: Shape, value: Any, at: Place) -> Iterator[Any]:
    """What the value means; nothing when it is wrong, which is added to the problems."""
    try:
        yield shape.read(value, at)
    except ValueError as error:
        at.wrong(error)


# ---- one value ---------------------------------------------------------------------------------


def only(holds: Callable[[Any], bool], expected: str, like: Any = None, called: str = "") -> Shape:
    """A value for which something holds. It means itself."""

    def read(value: Any, at: Place) -> Any:
        if holds(value):
            return value
        raise at.not_that(value, expected)

    return Shape(read, {} if like is None else like, called)


def is_whole(value: object, low: int, high: int) -> bool:
    """A whole number from `low` to `high`; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def whole(low: int, high: int, called: str = "") -> Shape:
    """A whole number."""
    like = {"type": "integer", "minimum": low, "maximum": high}
    expected = f"a whole number from {low} to {high}"
    return only(lambda value: is_whole(value, low, high), expected, like, called)


def choice(*known: str | int) -> Shape:
    """One of these, as they are written here."""

    def read(value: Any, at: Place) -> Any:
        if type(value) in (str, int) and value in known:  # True == 1, hence the types
            return value
        words = [str(word) for word in known]
        hint = nearest(value, words) if isinstance(value, str) else ""
        raise at.not_that(value, f"{', '.join(words[:-1])} or {words[-1]}{hint}")

    return Shape(read, {"enum": list(known)})


def text_like(pattern: str) -> Json:
    """The schema of text that has this pattern, which `in_any_case` helps to write."""
    return {"type": "string", "pattern": f"^{pattern}$"}


def in_any_case(*words: str) -> str:
    """A pattern of these words, whatever their letter case."""
    letters = "|".join(words).lower()
    return "(" + "".join(f"[{c.upper()}{c}]" if c.isalpha() else c for c in letters) + ")"


TEXT = only(lambda value: isinstance(value, str), "text", {"type": "string"})


# ---- several -----------------------------------------------------------------------------------


def with_lines(items: Items) -> Iterable[tuple[int, Any]]:
    """Every item with its line."""
    return zip(items.lines, items, strict=True)


def each(
    item: Shape,
    expected: str = "a list",
    least: int = 0,
    walk: Walk = with_lines,
) -> Shape:
    """A list. It means the list of what those of its items mean that are right."""

    def read(value: Any, at: Place) -> list[Any]:
        if not isinstance(value, Items):
            raise at.not_that(value, expected)
        if len(value) < least:
            raise ValueError(f"found an empty list, expected {expected}")
        places = [(at._replace(line=line), one) for line, one in walk(value)]
        return [meant for place, one in places for meant in read_or_tell(item, one, place)]

    return Shape(read, {"type": "array", "items": item} | ({"minItems": least} if least else {}))


def one_or_each(
    item: Shape, expected: str = "a list", least: int = 0, walk: Walk = with_lines
) -> Shape:
    """One, or a list. It means a list."""
    several = each(item, expected, least, walk)

    def read(value: Any, at: Place) -> Any:
        return several.read(value, at) if isinstance(value, Items) else [item.read(value, at)]

    return Shape(read, {"anyOf": [item, several]})


class Key(NamedTuple):
    """One of the keys of a mapping."""

    shape: Shape
    about: str = ""  # for editors
    examples: tuple[Any, ...] = ()

    def like(self) -> Json:
        """Its schema."""
        told = {"description": self.about, "examples": self.examples}
        return {"": self.shape} | {word: said for word, said in told.items() if said}


def mapping(
    keys: Mapping[str, Key],
    expected: str = "a mapping",
    needed: tuple[str, ...] = (),
    called: str = "",
    unknown: str = "",
    known: str = "",
) -> Shape:
    """A mapping with these keys. It means the mapping of what those of its values mean that are
    right, in this order. `unknown` stands in messages before a key that is wrong here, `known`
    before one whose value is.
    """

    def read(value: Any, at: Place) -> dict[str, Any]:
        if not isinstance(value, Section):
            raise at.not_that(value, expected)
        refuse_repeated(value, at, unknown)
        for key in [key for key in value if key not in keys]:
            hint = nearest(shown(key), list(keys))
            what = f"unknown key, expected one of {', '.join(keys)}{hint}"
            at.problems.add(value.lines[key], unknown + shown(key), what)
        for key in needed:
            if key not in value:
                at.problems.add(at.line, f"no {key}", f"expected {expected}")
        return {
            key: meant
            for key in keys
            if key in value
            for place in [Place(at.problems, value.lines[key], known + key, at.given, value)]
            for meant in read_or_tell(keys[key].shape, value[key], place)
        }

    like: Json = {"type": "object"} | ({"required": needed} if needed else {})
    like |= {"additionalProperties": False, "properties": {k: v.like() for k, v in keys.items()}}
    return Shape(read, like, called)


def refuse_repeated(value: Section, at: Place, place: str) -> None:
    """Keys that stand again in a mapping."""
    for key, line in value.repeated:
        what = f"given again, first on line {value.lines[key]}, expected each key once"
        at.problems.add(line, place + shown(key), what)


def entries(entry: Entry, expected: str, values: Any, pattern: str = "", least: int = 1) -> Shape:
    """A mapping with keys of its own, as `pattern` tells editors. It means a mapping of what
    `entry` says of each, which may be several; nothing may come twice.
    """

    def read(value: Any, at: Place) -> dict[Any, Any]:
        if not isinstance(value, Section):
            raise at.not_that(value, expected)
        if len(value) < least:
            raise ValueError(f"found nothing, expected {expected}")
        refuse_repeated(value, at, f"{at.name}: ")
        meant: dict[Any, Any] = {}
        for key, inner in value.items():
            place = at._replace(line=value.lines[key], name=f"{at.name}: {shown(key)}")
            try:
                part = entry(key, inner, place)
                for twice in part.keys() & meant.keys():
                    raise ValueError(f"{twice} again, expected it once")
                meant |= part
            except ValueError as error:
                place.wrong(error)
        return meant

    like: Json = {"type": "object", "minProperties": least, "additionalProperties": values}
    if pattern:
        like |= {"additionalProperties": False, "patternProperties": {f"^{pattern}$": values}}
    return Shape(read, like)
