"""Messages <-> bytes: plain tuples in pickle 5, read by an unpickler that resolves no class.

A message is (code, field, field, …); ballots and entries are tuples inside. Reading never runs
foreign code: the unpickler refuses every global, and a tuple of another shape is a WireError.
"""

import io
import pickle
from collections.abc import Callable
from typing import Any

from bank.ballot import Ballot
from bank.messages import (
    Accept,
    Accepted,
    AcceptedEntry,
    CatchUp,
    CheckpointHash,
    ClientRequest,
    Commit,
    Heartbeat,
    Message,
    Nack,
    NewView,
    Prepare,
    Promise,
    Reply,
    State,
    StatePiece,
)


class WireError(Exception):
    """The bytes are no message of ours."""


class _NoClasses(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise WireError(f"refuses to load {module}.{name}")


def dumps(value: Any) -> bytes:
    """Plain data (tuples, lists, dicts, strings, bytes, numbers, None) to bytes."""
    return pickle.dumps(value, 5)


def loads(data: bytes) -> Any:
    """The inverse of `dumps`; raises WireError for anything that is not plain data."""
    return load_from(io.BytesIO(data))


def load_from(stream: io.BytesIO) -> Any:
    """The next value of a stream that holds several; raises WireError."""
    try:
        return _NoClasses(stream).load()
    except WireError:
        raise
    except Exception as error:  # pickle raises nearly everything on damaged bytes
        raise WireError(f"damaged: {error}") from error


_ORDER: tuple[Any, ...] = (
    ClientRequest, Reply, Prepare, Promise, NewView, Accept, Accepted, Commit, Heartbeat, CatchUp,
    State, StatePiece, CheckpointHash, Nack,
)  # fmt: skip
_FIELDS = {kind: (code, kind.__slots__) for code, kind in enumerate(_ORDER)}


def _promise(ballot: Any, committed: int, truncated: int, entries: Any) -> Promise:
    log = tuple(AcceptedEntry(s, Ballot(*b), tuple(r), c) for s, b, r, c in entries)
    return Promise(Ballot(*ballot), committed, truncated, log)


def _state(first_slot: int, ballots: Any, requests: Any, committed: int) -> State:
    return State(first_slot, tuple(Ballot(*b) for b in ballots), tuple(requests), committed)


def _with_ballot(kind: Any) -> Callable[..., Message]:
    return lambda ballot, *rest: kind(Ballot(*ballot), *rest)


_BUILD: tuple[Callable[..., Message], ...] = tuple(
    _promise
    if kind is Promise
    else _state
    if kind is State
    else _with_ballot(kind)
    if kind in (Reply, Prepare, NewView, Accept, Accepted, Commit, Heartbeat, Nack)
    else kind
    for kind in _ORDER
)


def _plain(value: Any) -> Any:
    """Named tuples pickle as their class: make them tuples. Requests and answers are already."""
    if type(value) is Ballot:
        return tuple(value)
    if type(value) is tuple and value and isinstance(value[0], Ballot | AcceptedEntry):
        return tuple(tuple(map(_plain, v)) for v in value)
    return value


def to_plain(message: Message) -> tuple[Any, ...]:
    """The tuple that stands for a message."""
    code, fields = _FIELDS[type(message)]
    return (code, *(_plain(getattr(message, field)) for field in fields))


def from_plain(plain: Any) -> Message:
    """The inverse of `to_plain`; raises WireError for another shape."""
    try:
        code, *fields = plain
        message: Message = _BUILD[code](*fields)
    except (TypeError, ValueError, IndexError) as error:
        raise WireError(f"no message: {error}") from error
    return message


def encode(message: Message) -> bytes:
    """One message to bytes."""
    return dumps(to_plain(message))


def decode(data: bytes) -> Message:
    """Bytes to one message; raises WireError."""
    return from_plain(loads(data))
