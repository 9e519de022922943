"""Messages <-> bytes: plain tuples in pickle 5, read by an unpickler that resolves no class.

A message is one flat tuple, its code first. Reading never runs
foreign code: the unpickler refuses every global, and a tuple of another shape is a WireError.
"""

import io
import pickle
from collections.abc import Callable
from functools import lru_cache
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
    Elected,
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


# In what `dumps` writes, the opcode that names a class.
_NAMES_A_CLASS = pickle.STACK_GLOBAL


def loads(data: bytes) -> Any:
    """The inverse of `dumps`; raises WireError for anything that is not plain data."""
    return load_all(data)[0]


def load_all(data: bytes) -> list[Any]:
    """The values that stand one behind the other in `data`, at least one; raises WireError."""
    stream, end = io.BytesIO(data), len(data)
    values: list[Any] = []
    try:
        while True:
            values.append(_NoClasses(stream).load())
            if stream.tell() >= end:
                return values
    except WireError:
        raise
    except Exception as error:  # pickle raises nearly everything on damaged bytes
        raise WireError(f"damaged: {error}") from error


_ORDER: tuple[Any, ...] = (
    ClientRequest, Reply, Prepare, Promise, NewView, Accept, Accepted, Commit, Heartbeat, CatchUp,
    State, StatePiece, CheckpointHash, Nack, Elected,
)  # fmt: skip
# Nearly every message names a ballot that another one named before: it is made once, as a value.
_ballot = lru_cache(maxsize=256, typed=True)(Ballot)
# Messages that begin with a ballot travel as (code, number, replica, field, …): a flat tuple is
# built and read in half the time of a nested one.
_WITH_BALLOT = (
    Reply, Elected, Prepare, Promise, NewView, Accept, Accepted, Commit, Heartbeat, Nack,
)  # fmt: skip


def _getter(kind: Any) -> Callable[[Any], tuple[Any, ...]]:
    """All fields as a tuple; attrgetter alone gives a bare value for a single one."""
    get = attrgetter(*kind.__slots__)
    return get if len(kind.__slots__) > 1 else lambda message: (get(message),)


_CODES = {
    kind: (code, kind in _WITH_BALLOT, kind in (Promise, State), _getter(kind))
    for code, kind in enumerate(_ORDER)
}


def to_plain(message: Message) -> tuple[Any, ...]:
    """The tuple that stands for a message."""
    code, has_ballot, is_nested, fields = _CODES[type(message)]
    values = fields(message)
    if is_nested:
        values = _flattened(message, values)
    return (code, *values[0], *values[1:]) if has_ballot else (code, *values)


def place(kind: Any, field: str) -> int:
    """Where a field of this kind of messages stands in `to_plain`."""
    at: int = 1 + _CODES[kind][1] + kind.__slots__.index(field)  # behind the code
    return at


def _flattened(message: Message, values: tuple[Any, ...]) -> tuple[Any, ...]:
    if isinstance(message, Promise):
        return (
            *values[:-1],
            tuple((e.slot, *e.ballot, e.request, e.committed) for e in message.accept_log),
        )
    assert isinstance(message, State)
    return (message.first_slot, _runs_of(message.ballots), *values[2:])


def _runs_of(ballots: tuple[Ballot, ...]) -> tuple[tuple[int, int, int], ...]:
    """Ballots as (number, replica, how often in a row): neighbours nearly always share one."""
    return tuple((*ballot, sum(1 for _ in run)) for ballot, run in groupby(ballots))


def from_plain(plain: Any) -> Message:
    """The inverse of `to_plain`; raises WireError for another shape."""
    try:
        message: Message = _READERS[plain[0]](plain)
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise WireError(f"no message: {error}") from error
    return message


def _reader(kind: Any) -> Callable[[Any], Any]:
    """How a message of this kind is made of its tuple; a wrong length raises an error."""
    if kind not in _WITH_BALLOT:
        return lambda plain: kind(*plain[1:])

    def with_ballot(plain: Any) -> Any:
        _, number, replica, *rest = plain
        return kind(_ballot(number, replica), *rest)

    return with_ballot


# These two are read most; written out they take two thirds of the time that `_reader` takes.
def _read_accept(plain: Any) -> Accept:
    _, number, replica, first_slot, requests, committed_upto = plain
    return Accept(_ballot(number, replica), first_slot, requests, committed_upto)


def _read_accepted(plain: Any) -> Accepted:
    _, number, replica, first_slot, last_slot, asked_upto = plain
    return Accepted(_ballot(number, replica), first_slot, last_slot, asked_upto)


def _read_promise(plain: Any) -> Promise:
    _, number, replica, committed_upto, truncated_upto, log = plain
    entries = tuple(AcceptedEntry(s, _ballot(n, r), q, c) for s, n, r, q, c in log)
    return Promise(_ballot(number, replica), committed_upto, truncated_upto, entries)


def _read_state(plain: Any) -> State:
    _, first_slot, runs, requests, committed_upto = plain
    ballots = tuple(b for n, r, count in runs for b in (_ballot(n, r),) * count)
    return State(first_slot, ballots, requests, committed_upto)


_OWN_READERS: dict[Any, Callable[[Any], Any]] = {
    Accept: _read_accept,
    Accepted: _read_accepted,
    Promise: _read_promise,
    State: _read_state,
}
_READERS = [_OWN_READERS.get(kind) or _reader(kind) for kind in _ORDER]


def encode(message: Message) -> bytes:
    """One message to bytes."""
    return pickle.dumps(to_plain(message), 5)


def decode(data: bytes) -> Message:
    """Bytes to one message; raises WireError."""
    return from_plain(loads(data))


@lru_cache(maxsize=256)
def decode_own(data: bytes) -> Message:
    """The same, in half the time, for what `encode` returned in this process, and nothing else.

    Nothing there is damaged. Where the opcode that names a class is not to be found no class is
    named; where its byte stands, perhaps for something else, all is read with care. Readers of the
    same bytes get the same message, which is a value: a broadcast is read once.
    """
    return from_plain(loads(data) if _NAMES_A_CLASS in data else pickle.loads(data))
