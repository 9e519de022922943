"""Messages <-> bytes: plain tuples in pickle 5, read by an unpickler that resolves no class.

A message is one flat tuple, its code first. Reading never runs
foreign code: the unpickler refuses every global, and a tuple of another shape is a WireError.
"""

import io
import pickle
from collections.abc import Callable
from itertools import groupby
from operator import attrgetter
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
# Messages that begin with a ballot travel as (code, number, replica, field, …): a flat tuple is
# built and read in half the time of a nested one.
_WITH_BALLOT = (Reply, Prepare, Promise, NewView, Accept, Accepted, Commit, Heartbeat, Nack)


def _getter(kind: Any) -> Callable[[Any], tuple[Any, ...]]:
    """All fields as a tuple; attrgetter alone gives a bare value for a single one."""
    get = attrgetter(*kind.__slots__)
    return get if len(kind.__slots__) > 1 else lambda message: (get(message),)


_CODES = {kind: (code, kind in _WITH_BALLOT, _getter(kind)) for code, kind in enumerate(_ORDER)}


def to_plain(message: Message) -> tuple[Any, ...]:
    """The tuple that stands for a message."""
    code, has_ballot, fields = _CODES[type(message)]
    values = fields(message)
    if isinstance(message, Promise):
        log = tuple((e.slot, *e.ballot, e.request, e.committed) for e in message.accept_log)
        values = (*values[:-1], log)
    elif isinstance(message, State):
        values = (message.first_slot, _runs_of(message.ballots), *values[2:])
    return (code, *values[0], *values[1:]) if has_ballot else (code, *values)


def _runs_of(ballots: tuple[Ballot, ...]) -> tuple[tuple[int, int, int], ...]:
    """Ballots as (number, replica, how often in a row): neighbours nearly always share one."""
    return tuple((*ballot, sum(1 for _ in run)) for ballot, run in groupby(ballots))


def from_plain(plain: Any) -> Message:
    """The inverse of `to_plain`; raises WireError for another shape."""
    try:
        kind = _ORDER[plain[0]]
        if kind in _WITH_BALLOT:
            _, number, replica, *rest = plain
            if kind is Promise:
                log = (AcceptedEntry(s, Ballot(n, r), q, c) for s, n, r, q, c in rest[-1])
                rest[-1] = tuple(log)
            message: Message = kind(Ballot(number, replica), *rest)
        elif kind is State:
            _, first_slot, runs, requests, committed_upto = plain
            ballots = tuple(b for n, r, count in runs for b in (Ballot(n, r),) * count)
            message = State(first_slot, ballots, requests, committed_upto)
        else:
            message = kind(*plain[1:])
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise WireError(f"no message: {error}") from error
    return message


def encode(message: Message) -> bytes:
    """One message to bytes."""
    return dumps(to_plain(message))


def decode(data: bytes) -> Message:
    """Bytes to one message; raises WireError."""
    return from_plain(loads(data))
