"""Histories in files: what clients saw, and the committed log when it is known.

A saved history is a file of JSON lines. The first says what follows: version, initial balances, how
many operations, how many slots of the committed log (null: the log is not in the file), and where
that log begins. Then come the operations, the slots, and the contradictions between replicas, one
a line. What was saved loads as it was; anything else is refused with the line where it is damaged,
a file that ends early included.

The short form is for people and for programs of others: a first line with no more than version and
balances, and then operations to the end of the file, which may leave out what has a default. Empty
lines and those that begin with # are passed over. See docs/histories.md.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from bank import checkpoint as checkpoints
from bank.accounts import Accounts
from bank.ballot import Ballot
from bank.ledger import FAILED, NOOP, READ, SKIPPED, SUCCESS, TRANSFER
from harness.cluster.driver import CommitLog
from harness.cluster.history import Operation
from harness.errors import HarnessError, unwritten
from harness.files import text_file
from harness.files.shape import Key, Place, Shape, mapping, only
from harness.files.text_file import shown
from harness.files.tree import Problems, Section

VERSION = 1


@dataclass(slots=True)
class SavedHistory:
    """A whole file."""

    balances: dict[str, int]  # before the first slot
    operations: list[Operation]
    log: CommitLog | None  # None when the file has none


# ---- saving ------------------------------------------------------------------------------------


def save(
    path: str | Path,
    history: Sequence[Operation],
    log: CommitLog | None,
    balances: Mapping[str, int],
) -> None:
    """Write a history, and the committed log when it is known. `balances` are the initial ones.

    Raises HarnessError when the file cannot be written.
    """
    try:
        with open(path, "w", encoding="utf-8") as stream:
            for line in _lines(history, log, balances):
                stream.write(json.dumps(line, separators=(",", ":")) + "\n")
    except OSError as error:
        raise unwritten(path, error) from None


def _bytes(text: str) -> bytes:
    """What was written as base64; nothing, where that is none."""
    try:
        return b64decode(text, validate=True)
    except ValueError:
        return b""


def _lines(
    history: Sequence[Operation], log: CommitLog | None, balances: Mapping[str, int]
) -> Iterator[dict[str, Any]]:
    base = None if log is None or log.base is None else log.base
    yield {
        "history": VERSION,
        "balances": dict(balances),
        "operations": len(history),
        "slots": None if log is None else len(log.slots),
        "contradictions": 0 if log is None else len(log.contradictions),
        "known_before": 0 if log is None else log.known_before,
        "base": None if base is None else b64encode(checkpoints.encode(base)).decode(),
    }
    for operation in history:
        client, timestamp, kind, sender, receiver, amount = operation.request
        yield {
            "client": client,
            "timestamp": timestamp,
            "kind": kind,
            "sender": sender,
            "receiver": receiver,
            "amount": amount,
            "invoked_at": operation.invoked_at,
            "answered_at": operation.answered_at,
            "result": operation.result,
            "slot": operation.slot,
            "ballot": operation.ballot,
            "set_number": operation.set_number,
            "order": operation.order,
            **({} if operation.dropped_at is None else {"dropped_at": operation.dropped_at}),
        }
    if log is not None:
        for slot, (request, result) in log.slots.items():
            yield {"slot": slot, "request": request, "result": result}
        for text in log.contradictions:
            yield {"contradiction": text}


# ---- what a line may say -----------------------------------------------------------------------


def _is_number(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value.isprintable()


def _is_balances(value: Any) -> bool:
    is_mapping = isinstance(value, dict)
    return is_mapping and all(name and _is_name(name) and _is_number(value[name]) for name in value)


def _is_ballot(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


def _is_result(value: object) -> bool:
    return type(value) is int or value in (None, SUCCESS, FAILED, SKIPPED)


def _is_request(value: object) -> bool:
    if not isinstance(value, list) or len(value) != 6:
        return False
    client, timestamp, kind, sender, receiver, amount = value
    names = all(map(_is_name, (client, sender, receiver)))
    return (
        names and kind in (TRANSFER, READ, NOOP) and _is_number(timestamp) and type(amount) is int
    )


_NUMBER = only(_is_number, "a number from 0 on")
_MAYBE = only(lambda value: value is None or _is_number(value), "a number from 0 on, or null")
_NAME = only(_is_name, "a name")
_RESULT = only(_is_result, f'"{SUCCESS}", "{FAILED}", a balance or null')
_HEAD = {
    "history": only(lambda value: type(value) is int and value == VERSION, f"version {VERSION}"),
    "balances": only(_is_balances, "a balance from 0 on for every account"),
    "operations": _NUMBER,
    "slots": _MAYBE,
    "contradictions": _NUMBER,
    "known_before": _NUMBER,
    "base": only(lambda value: value is None or isinstance(value, str), "a checkpoint or null"),
}
_SHORT_HEAD = {"history", "balances"}
_HEAD_ITSELF = {name: _HEAD[name] for name in _SHORT_HEAD}
_OPERATION = {
    "client": _NAME,
    "timestamp": _NUMBER,
    "kind": only(lambda value: value in (TRANSFER, READ), f'"{TRANSFER}" or "{READ}"'),
    "sender": _NAME,
    "receiver": _NAME,
    "amount": only(lambda value: type(value) is int, "a number"),
    "invoked_at": _MAYBE,
    "answered_at": _MAYBE,
    "result": _RESULT,
    "slot": _MAYBE,
    "ballot": only(lambda value: value is None or _is_ballot(value), "[number, replica] or null"),
    "set_number": _NUMBER,
    "order": _NUMBER,
    "dropped_at": _MAYBE,
}
_LEFT_OUT = {  # of an operation in the short form
    "receiver": "",
    "amount": 0,
    "answered_at": None,
    "result": None,
    "slot": None,
    "ballot": None,
    "set_number": 1,
    "order": 0,
}
_OPTIONAL = ("dropped_at",)  # when its client gave it up
_SLOT = {
    "slot": _NUMBER,
    "request": only(_is_request, "[client, timestamp, kind, sender, receiver, amount]"),
    "result": _RESULT,
}
_CONTRADICTION = {"contradiction": only(_is_name, "a line of text")}


# ---- loading -----------------------------------------------------------------------------------


def load(path: str | Path) -> SavedHistory:
    """Read a file that `save` wrote; raises HarnessError `file:line: …` at the first damage."""
    with text_file.opened(path, "a saved history") as stream:
        return _Reader(str(path), stream).read()


def _is_passed_over(data: bytes) -> bool:
    return not data.strip() or data.lstrip().startswith(b"#")


class _Reader:
    """One file, line by line."""

    def __init__(self, path: str, lines: Iterator[bytes]) -> None:
        self._path = path
        self._lines = lines
        self._line = 0

    def read(self) -> SavedHistory:
        what = "the first line of a saved history"
        data = self._data(what)
        while _is_passed_over(data):
            data = self._data(what)
        first = self._object(data, what)
        if first.keys() <= _SHORT_HEAD:
            balances = self._fields(_HEAD_ITSELF, first, what)["balances"]
            return SavedHistory(balances, self._operations(self._short_ones()), None)
        head = self._fields(_HEAD, first, what)
        base = None
        if head["base"] is not None:
            base = checkpoints.decode(_bytes(head["base"]), Accounts(head["balances"]))
            if base is None:
                self._refuse("base", "a whole checkpoint", "a damaged one")
        if head["slots"] is None and (base or head["known_before"] or head["contradictions"]):
            self._refuse("slots", "a number, for the file speaks of a log", "null")
        operations = self._operations(self._announced(head["operations"]))
        log = None if head["slots"] is None else CommitLog({}, base, head["known_before"], [])
        if log is not None:
            self._slots(log, head["slots"])
            for number in range(head["contradictions"]):
                expected = f"contradiction {number + 1} of {head['contradictions']}"
                log.contradictions.append(self._next(_CONTRADICTION, expected)["contradiction"])
        if next(self._lines, None) is not None:
            self._line += 1
            self._refuse("", "the end of the file, all that was announced is there", "a line")
        return SavedHistory(head["balances"], operations, log)

    def _announced(self, count: int) -> Iterator[dict[str, Any]]:
        for number in range(count):
            yield self._next(_OPERATION, f"operation {number + 1} of {count}")

    def _short_ones(self) -> Iterator[dict[str, Any]]:
        """To the end of the file, each with what it leaves out."""
        for data in self._lines:
            self._line += 1
            if _is_passed_over(data):
                continue
            value = self._object(data, "an operation")
            if "account" in value and "sender" not in value:
                value["sender"] = value.pop("account")
            value = {**_LEFT_OUT, "timestamp": self._line, **value}
            yield self._fields(_OPERATION, value, "an operation")

    def _operations(self, values: Iterable[dict[str, Any]]) -> list[Operation]:
        operations: list[Operation] = []
        seen: dict[tuple[str, int], int] = {}
        for value in values:
            self._check_times(value)
            if value["invoked_at"] is not None:
                key = (value["client"], value["timestamp"])
                if seen.setdefault(key, self._line) != self._line:
                    expected = "each request of a client once"
                    self._refuse("timestamp", expected, f"that of line {seen[key]} again")
            operations.append(
                Operation(
                    (
                        value["client"],
                        value["timestamp"],
                        value["kind"],
                        value["sender"],
                        value["receiver"],
                        value["amount"],
                    ),
                    value["set_number"],
                    value["invoked_at"],
                    value["answered_at"],
                    value["result"],
                    value["slot"],
                    None if value["ballot"] is None else Ballot(*value["ballot"]),
                    value["order"],
                    dropped_at=value.get("dropped_at"),
                )
            )
        return operations

    def _check_times(self, value: dict[str, Any]) -> None:
        invoked_at, answered_at, result = (
            value["invoked_at"],
            value["answered_at"],
            value["result"],
        )
        if (answered_at is None) != (result is None):
            self._refuse("answered_at", "a time and a result, or neither", f"result {result!r}")
        if answered_at is not None and (invoked_at is None or answered_at < invoked_at):
            expected = "a time that is not before invoked_at"
            self._refuse("answered_at", expected, f"{answered_at}, invoked_at {invoked_at}")
        known = (int, FAILED) if value["kind"] == READ else (SUCCESS, FAILED)
        if result is not None and result not in known and type(result) not in known:
            self._refuse("result", f"an answer to a {value['kind']}", repr(result))

    def _slots(self, log: CommitLog, count: int) -> None:
        for number in range(count):
            value = self._next(_SLOT, f"slot {number + 1} of {count}")
            if value["slot"] in log.slots:
                self._refuse("slot", "each slot once", f"{value['slot']} again")
            if value["result"] is None:
                self._refuse("result", "what the slot gave", "null")
            client, timestamp, kind, sender, receiver, amount = value["request"]
            request = (client, timestamp, kind, sender, receiver, amount)
            log.slots[value["slot"]] = (request, value["result"])

    def _next(self, keys: Mapping[str, Shape], expected: str) -> dict[str, Any]:
        """The next line, with exactly these fields."""
        return self._fields(keys, self._object(self._data(expected), expected), expected)

    def _data(self, expected: str) -> bytes:
        data = next(self._lines, None)
        self._line += 1
        if data is None:
            self._refuse("", expected, "the end of the file")
        return data

    def _object(self, data: bytes, expected: str) -> dict[str, Any]:
        try:
            value = json.loads(data, object_pairs_hook=self._once)
        except (ValueError, RecursionError):
            self._refuse("", f"{expected} as JSON", shown(data.decode("utf-8", "replace")))
        if not isinstance(value, dict):
            self._refuse("", expected, _shown(value))
        return value

    def _once(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            self._refuse(shown(twice), "each key once", "it twice")
        return value

    def _fields(
        self, keys: Mapping[str, Shape], value: dict[str, Any], expected: str
    ) -> dict[str, Any]:
        if missing := [name for name in keys if name not in (*value, *_OPTIONAL)]:
            self._refuse("", f"{expected} with {missing[0]!r}", "a line without")
        fields, problems = Section(), Problems(self._path, _shown)
        fields.update(value)
        fields.lines = dict.fromkeys(value, self._line)
        exactly = mapping({name: Key(shape) for name, shape in keys.items()})
        found: dict[str, Any] = exactly.read(fields, Place(problems, self._line, expected))
        problems.refuse()
        return found

    def _refuse(self, name: str, expected: str, found: str) -> NoReturn:
        at = f"{name}: " if name else ""
        raise HarnessError(f"{self._path}:{self._line}: {at}found {found}, expected {expected}")


def _shown(value: object) -> str:
    return shown(json.dumps(value))
