"""Lines that are not exactly one message: what can be read of them all the same. Pure."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

LARGEST = 1 << 20  # bytes of a message
READ_BYTES = 1 << 16  # at a time
_MOST_BEGINNINGS = 64  # places in a line at which an object is tried
SCAN: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]

encode = json.JSONEncoder(separators=(",", ":")).encode


class Found(NamedTuple):
    """What a line holds."""

    messages: list[tuple[dict[str, Any], str]]  # each with its own text
    rest: str  # what is no object: "" for nothing


def find(line: str) -> Found:
    """Every object of a line, and what stands between and around them."""
    messages: list[tuple[dict[str, Any], str]] = []
    rest, at = "", 0
    for _ in range(_MOST_BEGINNINGS):
        begin = line.find("{", at)
        if begin < 0:
            break
        try:
            found, end = SCAN(line, begin)
        except (StopIteration, ValueError, RecursionError):
            rest += line[at : begin + 1]
            at = begin + 1
            continue
        rest += line[at:begin]
        if is_message(found):
            messages.append((found, line[begin:end]))
        else:
            rest += line[begin:end]
        at = end
    return Found(messages, (rest + line[at:]).strip())


def shortened(line: str) -> str:
    """Of a message that is long: who says what to whom, and how long it is."""
    message = SCAN(line, 0)[0]
    body = {"type": message["body"].get("type"), "…": f"{len(line)} characters"}
    return encode({"src": message["src"], "dest": message["dest"], "body": body})


def is_object(text: str) -> bool:
    """It is one object, of whatever form."""
    try:
        found, end = SCAN(text, 0)
    except (StopIteration, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and end == len(text)


def is_message(value: object) -> bool:
    """It has a sender, a reader and a body with a type."""
    if not isinstance(value, dict):
        return False
    body = value.get("body")
    named = isinstance(value.get("src"), str) and isinstance(value.get("dest"), str)
    return named and isinstance(body, dict) and isinstance(body.get("type"), str)
