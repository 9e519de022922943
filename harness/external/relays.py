"""Connections between replicas that pass the harness byte by byte, and what link faults do to them.

Somebody dials a port of the harness, which stands for one replica; the harness dials that replica
and carries bytes both ways. A byte stream cannot lose, double or reorder, so a link can be cut or
slow: bytes of a cut one are held, and delivered after it is whole, or its connections are reset.
What a process had written before it died is delivered; what was on its way to it is not.
"""

import contextlib
import errno
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import monotonic_ns

from bank.ballot import ReplicaId, replica_name
from harness.cluster.choices import Choices
from harness.cluster.journal import CLIENTS, Way
from harness.cluster.links import WHOLE, Links
from harness.cluster.nemesis import Link
from harness.external.lines import READ_BYTES
from harness.external.remarks import HELD_TOO_MUCH, TOO_MANY_CONNECTIONS, Remarks
from harness.live.waiting import Waiter

MOST_UNREAD = 1 << 18  # bytes for a reader that does not read: then its writer is read no more
MOST_HELD = 32 << 20  # bytes of one direction of a connection on a cut link
MOST_CONNECTIONS = 500  # that one has dialled; each takes two descriptors
BACKLOG = 128
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset

Dial = Callable[[ReplicaId], "Sequence[tuple[socket.socket, tuple[str, int]]]"]
Record = Callable[..., None]


@dataclass(slots=True, eq=False)
class Port:
    """A port of the harness: `dialer` reaches `target` by it."""

    dialer: ReplicaId  # CLIENTS for the shim
    target: ReplicaId
    listening: socket.socket
    is_open: bool = True


@dataclass(slots=True, eq=False)
class _Leg:
    """The harness's socket to one end of a connection, and what waits to be written to it."""

    owner: ReplicaId
    socket: socket.socket | None  # None: not dialled yet
    queue: deque[tuple[int, bytes, int]] = field(default_factory=deque)  # due µs, b"" is the end
    queued: int = 0
    latest: int = 0  # when the last of it is due
    is_connected: bool = True
    is_read: bool = False
    is_shut: bool = False  # the end was written
    is_gone: bool = False  # its process is


@dataclass(slots=True, eq=False)
class _Connection:
    near: _Leg  # of the one that dialled
    far: _Leg
    attempts: Sequence[tuple[socket.socket, tuple[str, int]]] = ()
    is_closed: bool = False

    def other(self, leg: _Leg) -> _Leg:
        return self.far if leg is self.near else self.near


class Relays:
    """See the module. One thread drives it."""

    def __init__(
        self, waiter: Waiter, choices: Choices, hold: bool, dial: Dial, record: Record,
        noted: Remarks, passed: Callable[[ReplicaId, ReplicaId], None],
    ) -> None:  # fmt: skip
        """`hold`: bytes of cut links wait, else connections are reset. `dial` gives the sockets
        and addresses to try in turn; `record` is told (µs, from, to, words, way, serial), and
        `passed` who reached whom, by however few bytes."""
        self._waiter, self._pick, self._hold = waiter, choices.pick, hold
        self._dial_sockets, self._record, self._remarks = dial, record, noted
        self._passed = passed
        self._ports: list[Port] = []
        self._connections: dict[_Connection, None] = {}  # in the order of their beginning
        self._links = Links()
        self._timed: dict[_Leg, _Connection] = {}  # that wait for a time or for a whole link
        self._away: set[ReplicaId] = set()  # disconnected
        self._running: set[ReplicaId] = set()
        self._doomed: set[ReplicaId] = set()  # about to be killed
        self._serial = 0

    # ---- ports ---------------------------------------------------------------------------------

    def serve(self, port: Port) -> None:
        """Take connections on this port, as long as its target is there."""
        port.listening.setblocking(False)
        port.listening.listen(BACKLOG)
        self._ports.append(port)
        self._waiter.on_readable(port.listening.fileno(), partial(self._accept, port))
        self._update_ports()

    def _is_refused(self, one: ReplicaId, other: ReplicaId) -> bool:
        if {one, other} & self._away or other not in self._running:
            return True
        return not self._hold and self._links.is_cut(one, other)

    def _update_ports(self) -> None:
        """Who dials a port whose target is not there is refused, where the system can do that.

        Elsewhere its connection is reset as soon as it is taken.
        """
        for port in self._ports:
            wanted = not self._is_refused(port.dialer, port.target)
            if wanted == port.is_open:
                continue
            try:
                if wanted:
                    port.listening.listen(BACKLOG)
                else:
                    self._accept(port)  # what is in its queue is reset
                    port.listening.shutdown(socket.SHUT_RD)
            except OSError:
                continue
            port.is_open = wanted
            descriptor = port.listening.fileno()
            self._waiter.forget(descriptor)
            if wanted:
                self._waiter.on_readable(descriptor, partial(self._accept, port))

    def _accept(self, port: Port) -> None:
        while True:
            try:
                accepted, _ = port.listening.accept()
            except OSError:
                return
            if self._is_refused(port.dialer, port.target):
                _reset(accepted)
                continue
            if sum(c.near.owner == port.dialer for c in self._connections) >= MOST_CONNECTIONS:
                self._remarks.add(_name(port.dialer), TOO_MANY_CONNECTIONS)
                _reset(accepted)
                continue
            accepted.setblocking(False)
            _send_at_once(accepted)
            far = _Leg(port.target, None, is_connected=False)
            connection = _Connection(_Leg(port.dialer, accepted), far)
            self._connections[connection] = None
            self._say(connection.near, connection.far, "connects")
            self._watch(connection, connection.near)
            self._dial(connection)

    # ---- dialling ------------------------------------------------------------------------------

    def _dial(self, connection: _Connection) -> None:
        """As soon as both directions are whole; until then nobody answers."""
        near, far = connection.near, connection.far
        if far.socket is None and not self._links.is_cut(near.owner, far.owner):
            connection.attempts = self._dial_sockets(far.owner)
            self._attempt(connection)

    def _attempt(self, connection: _Connection) -> None:
        far = connection.far
        if not connection.attempts:
            self._reset(connection)
            return
        (far.socket, address), *rest = connection.attempts
        connection.attempts = rest
        far.socket.setblocking(False)
        _send_at_once(far.socket)
        error = far.socket.connect_ex(address)
        if error == errno.EINPROGRESS:
            self._waiter.on_writable(far.socket.fileno(), partial(self._dialled, connection))
        elif error:
            self._attempt_failed(connection)
        else:
            self._connected(connection)

    def _dialled(self, connection: _Connection) -> None:
        sock = connection.far.socket
        if sock is None:  # it was reset in this very round
            return
        self._waiter.stop_writing(sock.fileno())
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._attempt_failed(connection)
        else:
            self._connected(connection)

    def _attempt_failed(self, connection: _Connection) -> None:
        assert connection.far.socket is not None
        connection.far.socket.close()
        connection.far.socket = None
        self._attempt(connection)

    def _connected(self, connection: _Connection) -> None:
        for sock, _ in connection.attempts:
            sock.close()
        connection.attempts = ()
        connection.far.is_connected = True
        self._watch(connection, connection.far)
        self._write(connection, connection.far)

    # ---- bytes ---------------------------------------------------------------------------------

    def _watch(self, connection: _Connection, leg: _Leg) -> None:
        if leg.socket is None or not leg.is_connected:
            return
        leg.is_read = True
        self._waiter.on_readable(leg.socket.fileno(), partial(self._read, connection, leg))

    def _stop_reading(self, leg: _Leg) -> None:
        if leg.is_read and leg.socket is not None:
            leg.is_read = False
            self._waiter.stop_reading(leg.socket.fileno())

    def _read(self, connection: _Connection, leg: _Leg) -> bool:
        """Read once; False when there is no more."""
        if leg.socket is None:
            return False
        try:
            data = leg.socket.recv(READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            if leg.owner in self._doomed:
                self._stop_reading(leg)
            else:
                self._reset(connection)
            return False
        to = connection.other(leg)
        if not data and leg.owner in self._doomed:
            self._stop_reading(leg)
            return False
        if not data:
            self._stop_reading(leg)
        if to.is_gone:
            return bool(data)
        now = monotonic_ns() // 1000
        link = leg.owner, to.owner
        if data and to.is_connected and not to.queue and link not in self._links.states:
            assert to.socket is not None
            try:
                sent = to.socket.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._reset(connection)
                return False
            self._record(now, *link, f"{len(data)} bytes", None, 0)
            self._passed(*link)
            if sent < len(data):
                self._queue(connection, to, data[sent:], now, 0)
            return True
        self._put(connection, leg, to, data, now)
        return bool(data)

    def _put(
        self, connection: _Connection, leg: _Leg, to: _Leg, data: bytes, now: int
    ) -> None:  # fmt: skip
        """Behind what waits already, or behind the fault of its link."""
        link = leg.owner, to.owner
        state = self._links.states.get(link, WHOLE)
        due = now
        if state.most:
            due += state.least + self._pick(state.most - state.least + 1)
        self._serial += 1
        words = f"{len(data)} bytes" if data else "closes"
        self._record(now, *link, words, Way.SENT, self._serial)
        if state.lose == 100 or due > now:
            self._record(now, *link, words, Way.HELD, self._serial)
        self._queue(connection, to, data, due, self._serial)

    def _queue(
        self, connection: _Connection, to: _Leg, data: bytes, due: int, serial: int
    ) -> None:  # fmt: skip
        leg = connection.other(to)
        to.latest = due = max(due, to.latest)
        to.queue.append((due, data, serial))
        to.queued += len(data)
        if self._links.is_lost(leg.owner, to.owner) and to.queued > MOST_HELD:
            self._remarks.add(_name(leg.owner), HELD_TOO_MUCH)
            self._reset(connection)
            return
        is_faulty = (leg.owner, to.owner) in self._links.states
        if to.queued > (MOST_HELD if is_faulty else MOST_UNREAD):
            self._stop_reading(leg)
        self._write(connection, to)

    def _write(self, connection: _Connection, leg: _Leg) -> None:
        """All that is due and that its reader takes."""
        if leg.socket is None or not leg.is_connected or connection.is_closed:
            return
        source = connection.other(leg)
        link, now = (source.owner, leg.owner), monotonic_ns() // 1000
        is_lost = self._links.is_lost(*link)
        descriptor = leg.socket.fileno()
        self._timed.pop(leg, None)
        while leg.queue:
            due, data, serial = leg.queue[0]
            if is_lost or due > now:
                self._timed[leg] = connection
                break
            try:
                if data:
                    sent = leg.socket.send(data)
                    self._passed(*link)
                else:
                    sent, leg.is_shut = 0, True
                    leg.socket.shutdown(socket.SHUT_WR)
            except BlockingIOError:
                self._waiter.on_writable(descriptor, partial(self._write, connection, leg))
                return
            except OSError:
                self._reset(connection)
                return
            leg.queued -= sent
            if sent < len(data):
                leg.queue[0] = due, data[sent:], serial
                continue
            leg.queue.popleft()
            if serial:
                words = f"{len(data)} bytes" if data else "closes"
                self._record(now, *link, words, Way.READ, serial)
        self._waiter.stop_writing(descriptor)
        if leg.queued <= MOST_UNREAD and not (source.is_read or leg.is_shut or self._has_end(leg)):
            self._watch(connection, source)
        if leg.is_shut and (source.is_shut or source.is_gone):
            self._close(connection)

    @staticmethod
    def _has_end(leg: _Leg) -> bool:
        return bool(leg.queue) and not leg.queue[-1][1]

    # ---- the end of connections ----------------------------------------------------------------

    def _close(self, connection: _Connection) -> None:
        if connection.is_closed:
            return
        connection.is_closed = True
        self._connections.pop(connection, None)
        for leg in (connection.near, connection.far):
            self._timed.pop(leg, None)
            self._shut(leg, socket.socket.close)
        for sock, _ in connection.attempts:
            sock.close()

    def _reset(self, connection: _Connection) -> None:
        """Both ends see a reset."""
        if connection.is_closed:
            return
        self._say(connection.near, connection.far, "is reset")
        for leg in (connection.near, connection.far):
            self._shut(leg, _reset)
        self._close(connection)

    def _shut(self, leg: _Leg, how: Callable[[socket.socket], None]) -> None:
        if leg.socket is not None:
            self._waiter.forget(leg.socket.fileno())
            how(leg.socket)
            leg.socket = None
            leg.is_read = leg.is_connected = False

    def _of(self, replica: ReplicaId) -> Iterator[tuple[_Connection, _Leg]]:
        for connection in list(self._connections):
            for leg in (connection.near, connection.far):
                if leg.owner == replica:
                    yield connection, leg

    # ---- replicas come and go ------------------------------------------------------------------

    def begin(self, replica: ReplicaId) -> None:
        """Its process runs."""
        self._running.add(replica)
        self._update_ports()

    def doom(self, replica: ReplicaId) -> None:
        """It is about to be killed: its connections are left to `end`.

        Who closes first keeps its port busy for a minute, unless a reset is the answer.
        """
        self._doomed.add(replica)

    def end(self, replica: ReplicaId) -> None:
        """Its process is dead. What it wrote is still delivered; its ports are free afterwards."""
        self._running.discard(replica)
        self._doomed.discard(replica)
        for port in self._ports:
            if port.dialer == replica and port.is_open:
                self._accept(port)
        for connection, leg in self._of(replica):
            while not connection.is_closed and self._read(connection, leg):
                pass
            if connection.is_closed or leg.is_gone:
                continue
            leg.is_gone = True
            self._shut(leg, _reset)
            to = connection.other(leg)
            if to.is_gone or to.socket is None or to.is_shut:
                self._close(connection)
            elif not self._has_end(to):
                self._put(connection, leg, to, b"", monotonic_ns() // 1000)
        self._update_ports()

    def cut_off(self, replica: ReplicaId, is_cut_off: bool) -> None:
        """All its connections are reset, and new ones refused; or all is as ever."""
        if is_cut_off:
            self._away.add(replica)
            for connection, _ in self._of(replica):
                self._reset(connection)
        else:
            self._away.discard(replica)
        self._update_ports()

    # ---- faults --------------------------------------------------------------------------------

    def put_on_links(self, links: Links, now: int) -> None:
        """Links have these faults from now on; what a healed one held goes at once."""
        healed = {link for link in self._links.states if link not in links.states}
        self._links.states = dict(links.states)
        self._update_ports()
        for connection in list(self._connections):
            near, far = connection.near, connection.far
            if not self._hold and self._links.is_cut(near.owner, far.owner):
                self._reset(connection)
                continue
            for leg in (near, far):
                link: Link = (connection.other(leg).owner, leg.owner)
                if link in healed:
                    leg.queue = deque((min(item[0], now), *item[1:]) for item in leg.queue)
                    leg.latest = 0
                self._write(connection, leg)
            self._dial(connection)

    def deadline(self) -> int | None:
        """When something is due that a link holds back."""
        dues = [
            leg.queue[0][0]
            for leg, connection in self._timed.items()
            if leg.queue and not self._links.is_lost(connection.other(leg).owner, leg.owner)
        ]
        return min(dues, default=None)

    def release(self, now: int) -> None:
        """What is due goes to its readers."""
        for leg, connection in list(self._timed.items()):
            if leg.queue and leg.queue[0][0] <= now:
                self._write(connection, leg)

    def close(self) -> None:
        """All ports and connections."""
        for connection in list(self._connections):
            self._close(connection)
        for port in self._ports:
            self._waiter.forget(port.listening.fileno())
            port.listening.close()
        self._ports.clear()

    def _say(self, source: _Leg, to: _Leg, words: str) -> None:
        self._record(monotonic_ns() // 1000, source.owner, to.owner, words, None, 0)


def _name(replica: ReplicaId) -> str:
    return "the shim" if replica == CLIENTS else replica_name(replica)


def _send_at_once(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _reset(sock: socket.socket) -> None:
    """Close it so that the other end sees a reset, and no port waits for a while."""
    with contextlib.suppress(OSError):  # macOS has no options for one that is over
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()
