"""Messages and bytes: every message comes back, anything else is a WireError and runs nothing."""

import os
import pickle
import pickletools
from fractions import Fraction

import pytest
from conductor import transfer
from hypothesis import given
from hypothesis import strategies as st

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
    Nack,
    NewView,
    PeerDown,
    Prepare,
    Promise,
    Reply,
    State,
    StatePiece,
)
from harness.cluster import wire

NUMBERS = st.integers(0, 2**70)
NAMES = st.text("AJn1 _é☃", max_size=8)
BALLOTS = st.builds(Ballot, NUMBERS, st.integers(0, 99))
REQUESTS = st.tuples(NAMES, NUMBERS, NAMES, NAMES, NAMES, st.integers())
RUNS = st.lists(REQUESTS, max_size=4).map(tuple)
SESSIONS = st.tuples(NAMES, NUMBERS, st.one_of(NAMES, st.integers()), NUMBERS)
ENTRY = st.builds(AcceptedEntry, NUMBERS, BALLOTS, REQUESTS, st.booleans())
ENTRIES = st.lists(ENTRY, max_size=4).map(tuple)

BY_KIND = {
    ClientRequest: st.builds(ClientRequest, RUNS, st.booleans()),
    Reply: st.builds(Reply, BALLOTS, st.lists(SESSIONS, max_size=4).map(tuple)),
    Prepare: st.builds(Prepare, BALLOTS, NUMBERS),
    Promise: st.builds(Promise, BALLOTS, NUMBERS, NUMBERS, ENTRIES),
    NewView: st.builds(NewView, BALLOTS, NUMBERS, RUNS, NUMBERS),
    Accept: st.builds(Accept, BALLOTS, NUMBERS, RUNS, NUMBERS),
    Accepted: st.builds(Accepted, BALLOTS, NUMBERS, NUMBERS, NUMBERS),
    Commit: st.builds(Commit, BALLOTS, NUMBERS),
    Heartbeat: st.builds(Heartbeat, BALLOTS, NUMBERS, NUMBERS, NUMBERS),
    CatchUp: st.builds(CatchUp, NUMBERS, NUMBERS, NUMBERS),
    State: st.builds(State, NUMBERS, st.lists(BALLOTS, max_size=4).map(tuple), RUNS, NUMBERS),
    StatePiece: st.builds(StatePiece, NUMBERS, NUMBERS, NUMBERS, st.binary(max_size=50), NUMBERS),
    CheckpointHash: st.builds(
        CheckpointHash, NUMBERS, NAMES, st.booleans(), st.lists(NUMBERS, max_size=4).map(tuple)
    ),
    Nack: st.builds(Nack, BALLOTS),
    Elected: st.builds(Elected, BALLOTS),
}
MESSAGES = st.one_of(*BY_KIND.values())


def ballots_in(message):
    """Every Ballot that a message carries, as what it is after decoding."""
    if isinstance(message, Promise):
        return [message.ballot, *(entry.ballot for entry in message.accept_log)]
    if isinstance(message, State):
        return list(message.ballots)
    return [value for value in (getattr(message, "ballot", None),) if value is not None]


@given(MESSAGES)
def test_message_comes_back_equal_and_of_the_same_types(message):
    decoded = wire.decode(wire.encode(message))
    assert type(decoded) is type(message) and decoded == message
    assert all(type(ballot) is Ballot for ballot in ballots_in(decoded))
    assert wire.decode_own(wire.encode(message)) == decoded
    if isinstance(decoded, Promise):
        assert all(type(entry) is AcceptedEntry for entry in decoded.accept_log)


def test_every_kind_of_message_has_a_place_on_the_wire_but_the_drivers_notice():
    kinds = {kind for kind in wire.Message.__args__ if kind is not PeerDown}
    assert kinds == set(BY_KIND)


@given(MESSAGES)
def test_bytes_hold_plain_data_only(message):
    opcodes = {opcode.name for opcode, _, _ in pickletools.genops(wire.encode(message))}
    assert not opcodes & {"GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "NEWOBJ", "INST", "OBJ"}


SAMPLE = wire.encode(
    Promise(Ballot(3, 2), 4, 2, (AcceptedEntry(5, Ballot(1, 1), transfer("A", "J", 3), False),))
)


@given(st.data())
def test_damaged_bytes_give_a_message_or_a_wire_error(data):
    damaged = bytearray(SAMPLE)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        # "r" makes pickle's memo as long as the next four bytes say: gigabytes before the error
        damaged[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte not in b"r"))
    try:
        message = wire.decode(bytes(damaged))
    except wire.WireError:
        return
    assert type(message) in BY_KIND


@pytest.mark.parametrize("length", range(len(SAMPLE)))
def test_bytes_cut_short_are_a_wire_error(length):
    with pytest.raises(wire.WireError):
        wire.decode(SAMPLE[:length])


class Trap:
    """Pickles as a call."""

    def __reduce__(self):
        return os.mkdir, ("/nowhere/sprung",)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(Trap(), id="a call"),
        pytest.param(Fraction(1, 2), id="an object"),
        pytest.param(Ballot(1, 1), id="a named tuple of ours"),
        pytest.param((2, Ballot(1, 1), 0), id="a class within"),
        pytest.param({Fraction(1)}, id="a set of objects"),
        pytest.param(os.mkdir, id="a function"),
        pytest.param(Trap, id="a class"),
    ],
)
@pytest.mark.parametrize("protocol", range(6))
def test_no_class_is_resolved(value, protocol):
    with pytest.raises(wire.WireError):
        wire.loads(pickle.dumps(value, protocol))
    with pytest.raises(wire.WireError):
        wire.decode_own(wire.dumps(value))


@pytest.mark.parametrize(
    "plain",
    [
        pytest.param((), id="nothing"),
        pytest.param(7, id="a number"),
        pytest.param("PREPARE", id="a string"),
        pytest.param({}, id="a dict"),
        pytest.param((99, 1), id="unknown code"),
        pytest.param(("Prepare", 1, 1, 0), id="code of another type"),
        pytest.param((2.0, 1, 1, 0), id="a fractional code"),
        pytest.param((2, 1, 1), id="a field missing"),
        pytest.param((2, 1, 1, 0, 0), id="a field too many"),
        pytest.param((2,), id="no ballot"),
        pytest.param((2, 1), id="half a ballot"),
        pytest.param((3, 1, 1, 0, 0, ((1, 1, 1, ()),)), id="an entry of four"),
        pytest.param((3, 1, 1, 0, 0, 5), id="no accept-log"),
        pytest.param((3, 1, 1), id="a promise of nothing"),
        pytest.param((10, 1, 5, (), 1), id="no ballots"),
        pytest.param((10, 1, ((1, 1),), (), 1), id="a run of two"),
        pytest.param((9,), id="a question of nothing"),
    ],
)
def test_tuple_of_another_shape_is_a_wire_error(plain):
    with pytest.raises(wire.WireError):
        wire.decode(wire.dumps(plain))


@given(st.recursive(st.none() | st.integers() | st.text() | st.binary(), st.lists, max_leaves=10))
def test_any_plain_data_gives_a_message_or_a_wire_error(value):
    try:
        message = wire.decode(wire.dumps(value))
    except wire.WireError:
        return
    assert type(message) in BY_KIND
