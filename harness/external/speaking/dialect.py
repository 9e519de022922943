"""How a bank's requests are asked of somebody who may know no bank. Pure.

A dialect says what to send for an operation and what an answer means; when to send it, to whom and
how often is `harness.external.clients`'s.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeGuard

from bank.ledger import Result
from harness.cluster.history import Operation

Body: TypeAlias = dict[str, Any]
Key: TypeAlias = tuple[str, int]  # client and timestamp: what makes a request the same

# Errors that say that nothing was done; every other code leaves that open.
DEFINITE = frozenset({1, 10, 11, 12, 14, 20, 21, 22, 30})
NOT_SUPPORTED, MALFORMED = 10, 12
KEY_DOES_NOT_EXIST, KEY_ALREADY_EXISTS, PRECONDITION_FAILED = 20, 21, 22
REFUSALS = frozenset({MALFORMED, KEY_DOES_NOT_EXIST, KEY_ALREADY_EXISTS, PRECONDITION_FAILED})


MOST = 2**63  # no number of a bank is as large


def is_number(value: object) -> TypeGuard[int]:
    """A whole number that a bank may tell; true and false are none."""
    return type(value) is int and abs(value) < MOST


def error_code(answer: Mapping[str, Any]) -> int | None:
    """The code of an error; None for anything else, and for a code that is no whole number."""
    code = answer.get("code")
    return code if answer.get("type") == "error" and type(code) is int else None


@dataclass(frozen=True, slots=True)
class Done:
    """The operation is answered."""

    result: Result


@dataclass(frozen=True, slots=True)
class Ask:
    """This has to be asked next, of the same replica; what was asked before is settled."""

    body: Body


@dataclass(frozen=True, slots=True)
class Wrong:
    """No answer at all: what is wrong with it."""

    why: str


Meaning: TypeAlias = Done | Ask | Wrong


class Dialect(Protocol):
    """See the module."""

    tells_state: bool  # replicas may be asked for state, log and views
    refuses: bool  # error codes of REFUSALS settle a request

    def begin(self, operation: Operation) -> Body:
        """What to ask first, in a first try and in every further one."""
        ...

    def understand(self, operation: Operation, asked: Body, answer: Body) -> Meaning | None:
        """What an answer to `asked` means; None for an error like any other."""
        ...

    def problems(self) -> list[str]:
        """What cannot be, whatever the order of events: said by answers put side by side."""
        ...
