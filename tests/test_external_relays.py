"""Relays: bytes pass, link faults hold or reset them, dead replicas leave no port behind."""

import contextlib
import socket
import time

import pytest
from processes import PATIENCE

from harness.cluster.choices import Seeded
from harness.cluster.journal import Way
from harness.cluster.links import Links
from harness.cluster.nemesis import Heal, LinkFault
from harness.external import relays
from harness.external.relays import Port, Relays
from harness.external.remarks import Remarks
from harness.live.waiting import Waiter

TO, BACK = frozenset({(1, 2)}), frozenset({(2, 1)})


def now():
    return time.monotonic_ns() // 1000


class Two:
    """n1 dials n2 through a relay, which is driven by whatever is waited for."""

    def __init__(self, hold=True, is_there=True):
        self.waiter, self.noted, self.records, self.reached = Waiter(), Remarks(), [], []
        self.server = socket.create_server(("127.0.0.1", 0))
        self.address = self.server.getsockname()
        self.links = Links()
        self.relays = Relays(
            self.waiter, Seeded(1), hold, self.dial, lambda *told: self.records.append(told),
            self.noted, lambda *link: self.reached.append(link),
        )  # fmt: skip
        # A port that the kernel chose is given up by the shutdown that refuses, a named one is not.
        chosen, listening = socket.socket(), socket.socket()
        for sock in (chosen, listening):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        chosen.bind(("127.0.0.1", 0))
        self.port = chosen.getsockname()[1]
        listening.bind(("127.0.0.1", self.port))
        chosen.close()
        if is_there:
            self.relays.begin(2)
        self.relays.serve(Port(1, 2, listening))

    def dial(self, replica):
        return [(socket.socket(), self.address)]

    def fault(self, fault):
        self.links.apply(fault)
        self.relays.put_on_links(self.links, now())

    def drive(self, seconds=0.02):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.waiter.wait(1000)
            self.relays.release(now())

    def until(self, call):
        """What the call gives, once it does not have to wait."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            self.waiter.wait(1000)
            self.relays.release(now())
            with contextlib.suppress(BlockingIOError):
                return call()
        raise AssertionError("nothing comes")

    def connect(self):
        one = socket.create_connection(("127.0.0.1", self.port))
        self.server.setblocking(False)
        other, _ = self.until(self.server.accept)
        for sock in (one, other):
            sock.setblocking(False)
        return one, other


@pytest.fixture
def two(request):
    found = []

    def make(**how):
        found.append(Two(**how))
        return found[-1]

    yield make
    for made in found:
        made.relays.close()
        made.server.close()


def nothing(sock):
    with pytest.raises(BlockingIOError):
        sock.recv(1)
    return True


def test_bytes_pass_both_ways_and_ends_do_too(two):
    it = two()
    one, other = it.connect()
    one.send(b"ask")
    assert it.until(lambda: other.recv(9)) == b"ask"
    other.send(b"tell")
    assert it.until(lambda: one.recv(9)) == b"tell"
    one.shutdown(socket.SHUT_WR)
    assert it.until(lambda: other.recv(9)) == b""
    other.send(b"more")
    other.close()
    assert it.until(lambda: one.recv(9)) == b"more" and it.until(lambda: one.recv(9)) == b""
    one.close()
    words = [told[1:4] for told in it.records if told[4] is not Way.SENT]
    assert words[:3] == [(1, 2, "connects"), (1, 2, "3 bytes"), (2, 1, "4 bytes")]
    assert (1, 2, "closes") in words and not it.relays._connections


def test_a_cut_link_holds_its_bytes_until_it_is_whole(two):
    it = two()
    one, other = it.connect()
    it.fault(LinkFault("cut", TO))
    one.send(b"held")
    other.send(b"passes")
    assert it.until(lambda: one.recv(9)) == b"passes"
    it.drive()
    assert nothing(other)
    it.fault(Heal())
    assert it.until(lambda: other.recv(9)) == b"held"
    one.close()
    other.close()


def test_who_dials_over_a_cut_link_waits_until_it_is_whole(two):
    it = two()
    it.fault(LinkFault("cut", BACK))
    one = socket.create_connection(("127.0.0.1", it.port))
    one.send(b"early")
    it.drive()
    it.server.setblocking(False)
    with pytest.raises(BlockingIOError):
        it.server.accept()
    it.fault(Heal())
    other, _ = it.until(it.server.accept)
    other.setblocking(False)
    assert it.until(lambda: other.recv(9)) == b"early"
    one.close()
    other.close()


def test_a_cut_may_reset_connections_and_refuse_new_ones(two):
    it = two(hold=False)
    one, other = it.connect()
    it.fault(LinkFault("cut", TO))
    for sock in (one, other):
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
        sock.close()
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.1", it.port))
    it.fault(Heal())
    for sock in it.connect():
        sock.close()


def test_above_its_bound_what_a_cut_link_holds_is_reset(two, monkeypatch):
    monkeypatch.setattr(relays, "MOST_HELD", 1 << 16)
    it = two()
    one, other = it.connect()
    it.fault(LinkFault("cut", TO))
    with pytest.raises(ConnectionError):
        while True:
            it.until(lambda: one.send(b"x" * (1 << 14)))
    assert it.noted.texts()[0].startswith("n1 sends above 32 MiB on a link that is cut")
    one.close()
    other.close()


def test_a_slow_link_delays_bytes_and_their_end_in_order(two):
    it = two()
    one, other = it.connect()
    it.fault(LinkFault("delay", TO, least=30_000, most=40_000))
    began = now()
    one.send(b"a")
    it.drive(0.005)
    assert nothing(other)
    one.close()
    assert it.until(lambda: other.recv(9)) == b"a" and now() - began >= 30_000
    assert it.until(lambda: other.recv(9)) == b""
    other.close()


def test_nobody_reads_so_nobody_writes(two):
    it = two()
    one, other = it.connect()
    sent = 0
    with contextlib.suppress(BlockingIOError):
        for _ in range(10_000):
            sent += one.send(b"x" * (1 << 16))
            it.drive(0.0005)
    assert sent < 64 << 20, "the writer waits"
    left = sent
    while left:
        left -= len(it.until(lambda: other.recv(1 << 20)))
    one.close()
    other.close()


def test_one_that_is_cut_off_is_reset_and_refused(two):
    it = two()
    one, other = it.connect()
    it.relays.cut_off(1, True)
    with pytest.raises(ConnectionResetError):
        one.recv(1)
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.1", it.port))
    it.relays.cut_off(1, False)
    one.close()
    other.close()
    for sock in it.connect():
        sock.close()


def test_what_the_dead_wrote_arrives_and_their_port_is_free(two):
    it = two()
    one, other = it.connect()
    it.relays.doom(2)
    other.send(b"last words")
    port = it.server.getsockname()[1]
    other.close()
    it.server.close()
    it.drive()
    assert it.until(lambda: one.recv(99)) == b"last words" and nothing(one)
    it.relays.end(2)
    assert it.until(lambda: one.recv(99)) == b""
    with socket.socket() as sock:  # without SO_REUSEADDR
        sock.bind(("127.0.0.1", port))
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.1", it.port))
    one.close()


def test_a_port_without_a_replica_refuses(two):
    it = two(is_there=False)
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.1", it.port))
    it.relays.begin(2)
    for sock in it.connect():
        sock.close()
    it.server.close()
    one = socket.create_connection(("127.0.0.1", it.port))
    one.setblocking(False)
    with pytest.raises(ConnectionResetError):
        it.until(lambda: one.recv(1))
    one.close()


def test_one_that_listens_on_the_other_kind_of_address_is_found(two):
    it = two()
    address, it.dial = it.address, None
    unused = socket.create_server(("127.0.0.1", 0))
    refused = unused.getsockname()
    unused.close()
    it.relays._dial_sockets = lambda _: [(socket.socket(), refused), (socket.socket(), address)]
    one, other = it.connect()
    other.send(b"here")
    assert it.until(lambda: one.recv(9)) == b"here"
    one.close()
    other.close()


def test_more_connections_than_one_may_have_are_reset(two, monkeypatch):
    monkeypatch.setattr(relays, "MOST_CONNECTIONS", 2)
    it = two()
    kept = [*it.connect(), *it.connect()]
    one = socket.create_connection(("127.0.0.1", it.port))
    one.setblocking(False)
    with pytest.raises(ConnectionResetError):
        it.until(lambda: one.recv(1))
    assert it.noted.texts() == ["n1 keeps above 500 connections open: further ones are reset"]
    for sock in (one, *kept):
        sock.close()


def test_a_dial_may_end_in_the_round_in_which_its_connection_is_reset(two):
    it = two()
    one = socket.create_connection(("127.0.0.1", it.port))
    it.drive(0.005)
    (connection,) = it.relays._connections
    it.relays.cut_off(1, True)
    it.relays._dialled(connection)
    it.relays._write(connection, connection.far)
    assert not it.relays._read(connection, connection.near)
    one.close()
