"""Queues between processes: whole frames or none, never blocking, end-of-file at death."""

import os
import socket
from multiprocessing import Pipe

import pytest

from harness.cluster import wire
from harness.live.queues import (
    LENGTH,
    READ_BYTES,
    ControlEnd,
    FrameReader,
    Incoming,
    MalformedFrame,
    Outgoing,
    framed,
)


def queue(limit=1 << 20):
    reading, writing = Pipe(duplex=False)
    return Incoming(reading), Outgoing(writing, limit)


def frame(*values):
    body = b"".join(map(wire.dumps, values))
    return LENGTH.pack(len(body)) + body


def test_many_messages_travel_in_one_frame():
    incoming, outgoing = queue()
    outgoing.send(framed(wire.dumps((1, "a")), wire.dumps((2, "b"))))
    assert incoming.read() == [(1, "a"), (2, "b")]
    assert incoming.read() == []


def test_a_frame_may_arrive_in_pieces_of_any_size():
    data = frame(("first",), ("second",)) + frame(("third",))
    for cut in range(1, len(data)):
        reader = FrameReader()
        assert reader.feed(data[:cut]) + reader.feed(data[cut:]) == [
            ("first",),
            ("second",),
            ("third",),
        ]


def test_a_full_queue_drops_whole_frames_and_counts_them():
    incoming, outgoing = queue(limit=100_000)
    sent = 0
    while outgoing.dropped == 0:
        outgoing.send(framed(wire.dumps((sent, b"x" * 10_000))))
        sent += 1
    got = []
    while True:
        outgoing.resume()
        values = incoming.read()
        if not values and not outgoing.is_waiting:
            break
        got += [number for number, _ in values]
    assert got == list(range(sent - 1))  # all but the dropped one, in order, none torn
    outgoing.send(framed(wire.dumps(("after",))))
    assert incoming.read() == [("after",)]


def test_a_reader_sees_end_of_file_and_no_torn_frame_when_the_writer_dies():
    reading, writing = Pipe(duplex=False)
    incoming = Incoming(reading)
    whole, torn = frame(("whole",)), frame(("torn",))
    os.write(writing.fileno(), whole + torn[:-1])
    writing.close()
    assert incoming.drain() == [("whole",)]
    assert incoming.closed


def test_a_writer_notices_that_the_reader_is_gone():
    incoming, outgoing = queue()
    incoming.close()
    outgoing.send(framed(wire.dumps(("lost",))))
    assert outgoing.closed
    assert not outgoing.is_waiting


@pytest.mark.parametrize(
    "data",
    [
        LENGTH.pack(0),
        LENGTH.pack(1 << 31),
        LENGTH.pack(3) + b"abc",
        LENGTH.pack(len(b"cos\nsystem\n(S'true'\ntR.")) + b"cos\nsystem\n(S'true'\ntR.",
    ],
    ids=["empty", "endless", "no pickle", "a pickle that would run code"],
)
def test_malformed_frames_are_refused(data):
    with pytest.raises(MalformedFrame):
        FrameReader().feed(data)


def test_what_a_dead_writer_told_is_read_to_the_end_however_long_a_word_is():
    one, other = Pipe(duplex=True)
    with socket.socket(fileno=os.dup(one.fileno())) as roomy:
        roomy.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * READ_BYTES)
    here, there = ControlEnd(one), ControlEnd(other)
    words = [("short",), ("long", b"x" * (READ_BYTES + 1000)), ("last",)]
    for word in words:
        here.send(word)
    assert not here.is_waiting
    here.close()
    assert there.drain() == words
    there.close()


def test_a_control_queue_carries_descriptors_in_the_order_of_their_messages():
    one, other = Pipe(duplex=True)
    here, there = ControlEnd(one), ControlEnd(other)
    readers = []
    for word in ("first", "second"):
        reading, writing = os.pipe()
        readers.append(reading)
        here.send((word,), (writing,))
        os.close(writing)
    values = []
    while len(values) < 2:
        values += there.read()
    for (word,), reading in zip(values, readers, strict=True):
        descriptor = there.descriptors.popleft()
        os.write(descriptor, word.encode())
        os.close(descriptor)
        assert os.read(reading, 100) == word.encode()
        os.close(reading)
    here.close()
    assert there.read() == []
    assert there.closed
    there.close()
