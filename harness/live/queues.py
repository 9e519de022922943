"""One-writer, one-reader queues between processes, on `multiprocessing.Pipe`.

No lock is shared, so a process killed at any instant harms only its own queues, and whoever reads
from it sees end-of-file. Nobody ever blocks on a write: what the pipe does not take waits in a
bounded buffer, and a frame that does not fit there is dropped whole and counted; the protocol
survives loss. A frame is a 4-byte length and one or more pickled messages.

`ControlEnd` is the same over a Unix socket, both ways, and can carry file descriptors: that is
how a running replica gets its ends of a restarted peer's queues.
"""

import contextlib
import os
import socket
import struct
from collections import deque
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from harness.cluster import wire

LENGTH = struct.Struct("<I")
MAX_FRAME = 64 * 1024 * 1024  # longer is no frame of ours
READ_BYTES = 64 * 1024  # a pipe holds no more; a megabyte would be mapped anew for each read
CLOSED = -1  # the descriptor of an end that was given back
MAX_DESCRIPTORS = 64  # that one read of a control queue takes


class MalformedFrame(Exception):
    """The bytes on a queue are no frame of ours; the queue is of no more use."""


def framed(*messages: bytes) -> bytes:
    """Encoded messages as one frame."""
    body = messages[0] if len(messages) == 1 else b"".join(messages)
    return LENGTH.pack(len(body)) + body


class Outgoing:
    """The writing end of a queue."""

    __slots__ = (
        "_fd",
        "_limit",
        "_owner",
        "_waiting",
        "_waiting_bytes",
        "closed",
        "dropped",
        "written",
    )

    def __init__(self, connection: Connection, limit: int) -> None:
        """Takes over the connection; `limit` in bytes is what may wait."""
        self._owner = connection
        self._fd = connection.fileno()
        self._limit = limit
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self.dropped = 0  # frames that did not fit
        self.written = 0  # bytes that the pipe took
        self.closed = False  # the reader is gone
        os.set_blocking(self._fd, False)

    def fileno(self) -> int:
        """For selectors."""
        return self._fd

    @property
    def is_waiting(self) -> bool:
        """True while bytes wait for the pipe to take them."""
        return bool(self._waiting)

    @property
    def waiting_bytes(self) -> int:
        """That wait for the pipe to take them."""
        return self._waiting_bytes

    def send(self, frame: bytes) -> None:
        """Put a frame of `framed` on the queue; never blocks."""
        if self.closed:
            return
        if self._waiting:
            if self._waiting_bytes + len(frame) > self._limit:
                self.dropped += 1
                return
            self._waiting.append(frame)
            self._waiting_bytes += len(frame)
            return
        written = self._write(frame)
        if written < len(frame) and not self.closed:
            self._waiting.append(frame[written:])
            self._waiting_bytes = len(frame) - written

    def resume(self) -> None:
        """The pipe takes bytes again."""
        while self._waiting and not self.closed:
            head = self._waiting.popleft()
            written = self._write(head)
            self._waiting_bytes -= written
            if written < len(head):
                self._waiting.appendleft(head[written:])
                return

    def _write(self, data: bytes) -> int:
        try:
            written = os.write(self._fd, data)
        except BlockingIOError:
            return 0
        except (BrokenPipeError, ConnectionResetError):
            self._drop_all()
            return 0
        self.written += written
        return written

    def _drop_all(self) -> None:
        self.closed = True
        self._waiting.clear()
        self._waiting_bytes = 0

    def close(self) -> None:
        """Give the pipe back; idempotent. Its number may be another's from now on."""
        self._drop_all()
        self._fd = CLOSED
        self._owner.close()


class FrameReader:
    """Cuts a stream of bytes into frames; tears nothing and copies little."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[Any]:
        """All values of the frames that are complete now; raises MalformedFrame."""
        buffer = self._buffer + data if self._buffer else data
        values: list[Any] = []
        start, end = 0, len(buffer)
        while end - start >= LENGTH.size:
            (length,) = LENGTH.unpack_from(buffer, start)
            if not 0 < length <= MAX_FRAME:
                raise MalformedFrame(f"a frame of {length} bytes")
            first, after = start + LENGTH.size, start + LENGTH.size + length
            if after > end:
                break
            try:
                values += wire.load_all(buffer[first:after])
            except wire.WireError as error:
                raise MalformedFrame(str(error)) from error
            start = after
        self._buffer = buffer[start:] if start else buffer
        return values


class Incoming:
    """The reading end of a queue."""

    __slots__ = ("_fd", "_frames", "_owner", "closed")

    def __init__(self, connection: Connection) -> None:
        self._owner = connection
        self._fd = connection.fileno()
        self._frames = FrameReader()
        self.closed = False  # end-of-file was read: the writer is gone
        os.set_blocking(self._fd, False)

    def fileno(self) -> int:
        """For selectors."""
        return self._fd

    def read(self) -> list[Any]:
        """Everything that has arrived, as plain values; sets `closed` at end-of-file."""
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return []
        except ConnectionResetError:
            data = b""
        if not data:
            self.closed = True  # a torn last frame goes with the queue
            return []
        return self._frames.feed(data)

    def drain(self) -> list[Any]:
        """All that a dead writer left, up to end-of-file or to what is there now."""
        values: list[Any] = []
        with contextlib.suppress(MalformedFrame):
            while not self.closed:
                before = len(values)
                values += self.read()
                if len(values) == before:
                    break
        return values

    def close(self) -> None:
        """Give the pipe back; idempotent. Its number may be another's from now on."""
        self.closed = True
        self._fd = CLOSED
        self._owner.close()


class ControlEnd:
    """One end of the control queue between the harness and a replica: values and descriptors."""

    def __init__(self, connection: Connection) -> None:
        self._owner = connection
        self._socket = socket.socket(fileno=os.dup(connection.fileno()))
        self._socket.setblocking(False)
        self._frames = FrameReader()
        self._waiting: deque[tuple[bytes, tuple[int, ...]]] = deque()
        self.descriptors: deque[int] = deque()  # received, in the order of the values they go with
        self.closed = False
        self._is_empty = False  # the last look found nothing

    def fileno(self) -> int:
        """For selectors."""
        return self._socket.fileno()

    @property
    def is_waiting(self) -> bool:
        """True while something waits to be sent."""
        return bool(self._waiting)

    def send(self, value: Any, descriptors: Sequence[int] = ()) -> None:
        """Put a value on the queue; the descriptors are duplicated, the caller keeps its own."""
        self._waiting.append((framed(wire.dumps(value)), tuple(map(os.dup, descriptors))))
        self.resume()

    def resume(self) -> None:
        """Send what waits, as far as the socket takes it."""
        while self._waiting and not self.closed:
            data, descriptors = self._waiting.popleft()
            try:
                if descriptors:
                    sent = socket.send_fds(self._socket, [data], descriptors)
                else:
                    sent = self._socket.send(data)
            except BlockingIOError:
                self._waiting.appendleft((data, descriptors))
                return
            except OSError:
                self.closed = True
                sent = len(data)
            for descriptor in descriptors:
                os.close(descriptor)
            if sent < len(data):
                self._waiting.appendleft((data[sent:], ()))

    def read(self) -> list[Any]:
        """Everything that has arrived; sets `closed` at end-of-file."""
        self._is_empty = False
        try:
            data, descriptors, _, _ = socket.recv_fds(self._socket, READ_BYTES, MAX_DESCRIPTORS)
        except BlockingIOError:
            self._is_empty = True
            return []
        except OSError:
            data, descriptors = b"", []
        self.descriptors.extend(descriptors)
        if not data:
            self.closed = True
            return []
        return self._frames.feed(data)

    def drain(self) -> list[Any]:
        """All that a dead writer left; a value may have been longer than one look takes."""
        values = self.read()
        while not (self.closed or self._is_empty):
            values += self.read()
        return values

    def close(self) -> None:
        """Give the socket back; idempotent."""
        self.closed = True
        for _, descriptors in self._waiting:
            for descriptor in descriptors:
                os.close(descriptor)
        self._waiting.clear()
        self._socket.close()
        self._owner.close()
