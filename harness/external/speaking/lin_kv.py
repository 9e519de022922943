"""`speaks: lin-kv`: a bank on one register, for nodes that know keys and values alone.

The register holds the number of a state that was made up here. A transfer is a `read`, then a
`cas` to a fresh number. Numbers are unique, so an attempt whose answer is lost has happened exactly
if its number is in the history of what is read later; and once the register has gone on without
it, it never can.

The first number is written under a key of its own by each client that comes first; the key whose
write is acknowledged first is the bank's. A late write hits a key that nobody uses.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from bank.ledger import FAILED, READ, SUCCESS, Ledger, describe
from harness.cluster.history import Operation
from harness.external.speaking.dialect import (
    KEY_DOES_NOT_EXIST,
    PRECONDITION_FAILED,
    Ask,
    Body,
    Done,
    Key,
    Meaning,
    Wrong,
    is_number,
)


@dataclass(slots=True)
class _State:
    """One number: what was done to which state before."""

    number: int
    parent: "_State | None"
    depth: int
    balances: Mapping[str, int]
    text: str = "the first state"
    follower: "_State | None" = None  # whose cas from here was acknowledged


class LinKv:
    """See the module."""

    tells_state = False  # an unknown message ends many a program
    refuses = False

    def __init__(self, balances: Mapping[str, int]) -> None:
        self._states = [_State(0, None, 0, dict(balances))]
        self._key: int | None = None
        self._keys = 0
        self._tried: dict[Key, list[_State]] = {}  # by request: the numbers it may have written
        self._problems: list[str] = []

    def begin(self, operation: Operation) -> Body:
        """A read; before the bank is there, the write of its first state."""
        if self._key is None:
            self._keys += 1
            return {"type": "write", "key": self._keys, "value": 0}
        return {"type": "read", "key": self._key}

    def understand(self, operation: Operation, asked: Body, answer: Body) -> Meaning | None:
        """What comes next, or the result."""
        match asked["type"], answer:
            case "write", {"type": "write_ok"}:
                self._key = asked["key"] if self._key is None else self._key
                return Ask({"type": "read", "key": self._key})
            case "read", {"type": "read_ok", "value": value} if is_number(value):
                return self._after_read(operation, value)
            case "cas", {"type": "cas_ok"}:
                return self._after_cas(self._states[asked["to"]])
            case "cas", {"type": "error", "code": code} if code == PRECONDITION_FAILED:
                return Ask({"type": "read", "key": self._key})
            case (("read" | "cas"), {"type": "error", "code": code}) if code == KEY_DOES_NOT_EXIST:
                self._note(f"key {asked['key']} does not exist, after its write was acknowledged")
                return None
            case _, {"type": "error"}:
                return None
        return Wrong(f"expected {asked['type']}_ok")

    def _after_read(self, operation: Operation, value: int) -> Meaning:
        if not 0 <= value < len(self._states):
            self._note(f"a read gives {value}, which nobody wrote")
            return Wrong("nobody wrote this value")
        state = self._states[value]
        for tried in self._tried.get(operation.request[:2], ()):
            if _follows(state, tried):
                return Done(SUCCESS)
        _, _, kind, sender, receiver, amount = operation.request
        ledger = Ledger(state.balances)
        result = ledger.apply(kind, sender, receiver, amount)
        if kind == READ or result == FAILED:
            return Done(result)
        text = describe(kind, sender, receiver, amount)
        fresh = _State(len(self._states), state, state.depth + 1, ledger.balances, text)
        self._states.append(fresh)
        self._tried.setdefault(operation.request[:2], []).append(fresh)
        body = {"type": "cas", "key": self._key, "from": state.number, "to": fresh.number}
        return Ask(body)

    def _after_cas(self, state: _State) -> Meaning:
        before = state.parent
        assert before is not None
        if before.follower not in (None, state):
            assert before.follower is not None
            self._note(
                f"two cas from {before.number} were acknowledged, to {before.follower.number} "
                f"for {before.follower.text} and to {state.number} for {state.text}"
            )
        before.follower = state
        return Done(SUCCESS)

    def _note(self, problem: str) -> None:
        if problem not in self._problems:
            self._problems.append(problem)

    def problems(self) -> list[str]:
        """Two followers of one number, numbers that nobody wrote, a key that is gone."""
        return list(self._problems)


def _follows(state: _State, earlier: _State) -> bool:
    """Whether `earlier` is in the history of a state, or is it."""
    at: _State | None = state
    while at is not None and at.depth > earlier.depth:
        at = at.parent
    return at is earlier
