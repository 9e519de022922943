"""The router of other people's messages, on pipes alone: nothing is started."""

import json
import os
from contextlib import contextmanager

import pytest

from harness.cluster.journal import Way
from harness.cluster.links import Links
from harness.cluster.nemesis import Heal, LinkFault
from harness.external import diagram
from harness.external.router import MOST_WAITING, Router
from harness.external.services import LinKvService
from harness.live.waiting import Waiter


class Ends:
    """Both ends of three replicas' standard input and output."""

    def __init__(self, router):
        self.router, self.heard, self.out, self.into = router, [], {}, {}
        for node in router.nodes.values():
            self.connect(node)

    def connect(self, node):
        reading, self.out[node.number] = os.pipe()
        self.into[node.number], writing = os.pipe()
        os.set_blocking(self.into[node.number], False)
        self.router.connect(node, reading, writing)
        self.router.ready(node)

    def say(self, source, dest, **body):
        body = {"type": "hello", **body}
        self.write(source, json.dumps({"src": f"n{source}", "dest": dest, "body": body}) + "\n")

    def write(self, source, text):
        os.write(self.out[source], text.encode())
        self.router._serve(self.router.nodes[source])
        self.router.flush()

    def read(self, replica):
        try:
            data = os.read(self.into[replica], 1 << 20)
        except BlockingIOError:
            return []
        return [json.loads(line)["body"].get("n") for line in data.splitlines()]

    def close(self):
        for node in self.router.nodes.values():
            self.router.disconnect(node)
        for descriptor in (*self.out.values(), *self.into.values()):
            os.close(descriptor)


@contextmanager
def routed(kept=1000):
    heard = []
    waiter = Waiter(stays_awake=False)
    router = Router(
        3, waiter, 1, kept, lambda *told: heard.append(told[1:3]), *2 * [lambda *_: None]
    )
    router.clients.add("c1")
    ends = Ends(router)
    ends.heard = heard
    try:
        yield ends
    finally:
        ends.close()


def put(ends, fault, links=frozenset({(1, 2)}), at=0, **more):
    found = Links()
    found.apply(LinkFault(fault, links, **more))
    ends.router.put_on_links(found, at)


def test_a_message_reaches_its_reader_as_it_stood():
    with routed() as ends:
        ends.say(1, "n2", n=1)
        ends.say(1, "n1", n=2)
        ends.say(1, "c1", n=3)
        assert (ends.read(2), ends.read(1), ends.read(3)) == ([1], [2], [])
        assert ends.heard == [("c1", {"type": "hello", "n": 3})]


def test_what_a_link_does_is_done_and_kept():
    with routed() as ends:
        put(ends, "lose", percent=100)
        ends.say(1, "n2", n=1)
        ends.say(2, "n1", n=2)
        assert (ends.read(2), ends.read(1)) == ([], [2])
        put(ends, "duplicate", percent=100)
        ends.say(1, "n2", n=3)
        ends.router.release(10**15)
        assert sorted(ends.read(2)) == [3, 3]
        put(ends, "delay", least=50_000, most=50_000)
        ends.say(1, "n2", n=4)
        assert ends.read(2) == [] and ends.router.deadline() is not None
        ends.router.put_on_links(Links(), 0)
        ends.router.release(10**15)
        ends.router.flush()
        assert ends.read(2) == [4]
        entries = list(diagram.entries(ends.router.records, 0))
        ways = [e.event.way for replica, e in entries if replica == 2 and e.event.peers == (1,)]
        assert ways.count(Way.LOST) == 1 and Way.DOUBLED in ways and Way.HELD in ways
        numbers = [e.event.plain[0] for replica, e in entries if e.event.way is Way.SENT]
        assert len(set(numbers)) == len(numbers), "each has a number of its own"


def test_who_is_cut_off_neither_hears_nor_is_heard():
    with routed() as ends:
        node = ends.router.nodes[2]
        ends.router.cut_off(node, True)
        ends.say(1, "n2", n=1)
        ends.say(2, "n1", n=2)
        ends.say(2, "c1", n=3)
        ends.router.send("c1", node, {"type": "hello", "n": 4}, 0)
        ends.router.send("c0", node, {"type": "hello", "n": 5}, 0)
        ends.router.flush()
        assert (ends.read(1), ends.read(2), ends.heard) == ([], [5], []), "c0 alone gets through"
        ends.router.cut_off(node, False)
        ends.say(1, "n2", n=6)
        assert ends.read(2) == [6]


def test_what_is_on_its_way_dies_with_its_reader_and_outlives_its_sender():
    with routed() as ends:
        put(ends, "delay", links=frozenset({(1, 2), (3, 2)}), least=1000, most=1000)
        ends.say(1, "n2", n=1)
        for end in (ends.out, ends.into):
            os.close(end[2])
        ends.router.disconnect(ends.router.nodes[2])
        ends.connect(ends.router.nodes[2])
        ends.say(3, "n2", n=2)
        ends.router.disconnect(ends.router.nodes[3])
        ends.router.release(10**15)
        ends.router.flush()
        assert ends.read(2) == [2]


def test_before_its_init_ok_messages_are_kept():
    with routed() as ends:
        ends.router.nodes[2].is_ready = False
        ends.router.nodes[2].update()
        ends.say(1, "n2", n=1)
        ends.router.send("c1", ends.router.nodes[2], {"type": "hello", "n": 2}, 0)
        ends.router.flush()
        assert ends.read(2) == []
        ends.router.ready(ends.router.nodes[2])
        ends.say(1, "n2", n=3)
        assert ends.read(2) == [1, 2, 3]


def test_what_it_asks_a_service_before_its_init_ok_is_answered_at_once():
    """Some do not answer `init` before they have what they asked for."""
    with routed() as ends:
        ends.router.services = {"lin-kv": LinKvService()}
        ends.router.nodes[2].is_ready = False
        ends.router.nodes[2].update()
        ends.say(1, "n2", n=1)
        ends.say(2, "lin-kv", type="read", key=1, msg_id=7)
        answer = os.read(ends.into[2], 1 << 16)
        assert json.loads(answer)["body"]["in_reply_to"] == 7
        ends.router.ready(ends.router.nodes[2])
        ends.router.flush()
        assert ends.read(2) == [1]


def test_one_that_does_not_read_loses_what_is_too_much_and_keeps_its_order():
    with routed(kept=10) as ends:
        for number in range(MOST_WAITING + 3000):
            ends.say(1, "n2", n=number, x="y" * 40)
        assert 0 < ends.router.nodes[2].drops <= 3000
        found = []
        while got := ends.read(2):
            found += got
            ends.router._write_queue(ends.router.nodes[2])
        assert found == sorted(found) and len(found) > MOST_WAITING
        ends.say(1, "n2", n=-1)
        assert ends.read(2) == [-1]


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000 + "\n",
        '{"a":' * 50_000 + "\n",
        "\x00\xff\n",
        "{}" * 40_000 + "\n",
        "\n" * 999,
        '{"src":"n1","dest":["n2"],"body":{"type":"x"}}\n',
        '{"src":"n1","dest":"n2","body":7}\n',
    ],
)
def test_nothing_that_is_written_harms(text):
    with routed() as ends:
        ends.router._waiter.forget(ends.router.nodes[1].reading)
        data = text.encode("latin-1", "replace")
        for begin in range(0, len(data), 60_000):
            os.write(ends.out[1], data[begin : begin + 60_000])
            while ends.router._read(ends.router.nodes[1]):
                pass
        ends.say(1, "n2", n=1)
        assert ends.read(2) == [1] and len(ends.router.remarks.texts()) <= 2


def test_healed_links_let_go_at_once():
    with routed() as ends:
        links = Links()
        links.apply(LinkFault("delay", frozenset({(1, 2)}), 100, 10**9, 10**9))
        ends.router.put_on_links(links, 0)
        ends.say(1, "n2", n=1)
        links.apply(Heal())
        ends.router.put_on_links(links, 0)
        ends.router.release(10**6)
        ends.router.flush()
        assert ends.read(2) == [1]


def test_one_that_writes_what_is_no_message_is_read_less():
    with routed() as ends:
        node = ends.router.nodes[1]
        before = node.appetite
        ends.write(1, "garbage\n" * 200)
        ends.write(1, "garbage {\n" * 200)
        assert node.appetite == before // 4
        ends.say(1, "n2", n=1)
        assert node.appetite == before // 2 and ends.read(2) == [1]
