"""Every message of the replicas, line by line: read, looked at, and written to its reader.

One thread drives it. A message between two whole replicas costs a parse, a look-up and its share
of a write; links with faults pass through `harness.cluster.links.Transit` like everywhere. What is
read is kept as it stood, so that the journal can show it.

What reached a replica is what was written into its standard input. What waits for one that does
not read is bounded; beyond that it is dropped and counted.
"""

import os
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic_ns
from typing import Any

from bank.ballot import ReplicaId, replica_name
from harness.cluster.choices import Seeded
from harness.cluster.journal import CLIENTS, Way
from harness.cluster.links import Links, Transit
from harness.external import remarks
from harness.external.lines import LARGEST, READ_BYTES, SCAN, encode, find, shortened
from harness.external.remarks import Remarks
from harness.external.services import absent
from harness.external.votes import Votes
from harness.live.waiting import Waiter

FEWEST_BYTES = 1 << 9  # read at once of one that writes mostly what is no message
MANY_ODD = 64  # lines in one reading
MOST_READINGS = 32  # of what is left of a process
MOST_WAITING = 10_000  # messages for one reader
MOST_WAITING_BYTES = 32 << 20
HARNESS = "c0"  # the client that is the harness itself: it reaches a disconnected replica too
LONG = 2048  # characters; of a longer line the journal keeps only what it is

Record = tuple[Any, ...]  # (µs, from, to, line), and of what did not just pass: Way, serial number


class Node:
    """One replica, and behind stdio its standard input and output."""

    __slots__ = (
        "appetite", "drops", "has_written", "held", "incarnation", "is_cut_off", "is_easy",
        "is_ready", "is_unended", "lines", "name", "number", "partial", "queue", "queued",
        "reading", "too_large", "writing",
    )  # fmt: skip

    def __init__(self, number: ReplicaId) -> None:
        self.number, self.name = number, replica_name(number)
        self.incarnation = 0
        self.reading = self.writing = -1  # descriptors
        self.is_ready = False  # it answered `init`
        self.is_cut_off = False  # disconnected
        self.is_easy = False  # a message to it may just be written
        self.partial = b""  # of a line whose end was not read yet
        self.is_unended = False  # its last message was taken before its newline
        self.has_written = False  # anything since its start
        self.too_large = False  # the line being read is thrown away
        self.lines: list[str] = []  # to be written at the end of this round
        self.queue = deque[bytes]()  # what its pipe did not take
        self.queued = 0  # bytes in there
        self.held: list[str] = []  # until it is ready
        self.drops = 0
        self.appetite = READ_BYTES  # how much is read of it at once

    def update(self) -> None:
        """After any change of the above."""
        is_running = self.writing >= 0
        self.is_easy = is_running and self.is_ready and not self.queue and not self.is_cut_off


class Router:
    """See the module."""

    start_seconds = 10.0

    def __init__(
        self,
        replicas: int,
        waiter: Waiter,
        seed: int | None,
        kept: int,
        on_client: Callable[[Node, str, dict[str, Any], int], None],
        on_end: Callable[[Node], None],
        on_passed_on: Callable[[str, dict[str, Any], ReplicaId], None],
    ) -> None:
        """`kept` messages stay in `records`; `on_client` gets every body for a client, `on_end`
        a replica whose output has ended, `on_passed_on` a client's request that a replica passed
        on to that one, in the client's name."""
        self.nodes = {replica: Node(replica) for replica in range(1, replicas + 1)}
        self.records: deque[Record] = deque(maxlen=kept)
        self.recorded = 0  # in all
        self.delivered = 0
        self.remarks = Remarks()
        self.votes = Votes(replicas)
        self.clients: set[str] = {HARNESS}
        self.services: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {}
        self._by_name = {node.name: node for node in self.nodes.values()}
        self._waiter = waiter
        self._on_client, self._on_end, self._on_passed_on = on_client, on_end, on_passed_on
        self._transit = Transit(Seeded(f"{seed}/links"))
        self._is_whole = True  # no link has a fault and nothing is held
        self._dirty: list[Node] = []  # with lines to be written
        self._serial = 0

    # ---- processes come and go -------------------------------------------------------------------

    def begin(self, run: object) -> None:
        """Nothing: pipes are made for each process."""

    def begin_shim(self, run: object) -> None:
        """Nothing: replicas are asked themselves."""

    def greet(self, pump: object, now: object) -> frozenset[str]:
        """Nothing; each replica says what it does not know."""
        return frozenset()

    def close(self) -> None:
        """Nothing is left."""

    def addresses(self, node: Node) -> None:
        """None: they speak through the harness."""

    def led_into(self, node: Node, words: Sequence[str]) -> list[str]:
        """As it is."""
        return list(words)

    def is_free(self, node: Node, lingering: bool) -> bool:
        """There are no ports."""
        return True

    def doom(self, node: Node) -> None:
        """Nothing: pipes end with their process."""

    def can(self, what: str) -> None:
        """They say so themselves."""

    def leader(self, pump: object, now: object, patience: int) -> None:
        """Nobody but the replicas knows."""

    def open(self, node: Node, log: int) -> list[int]:
        """Pipes for a process that starts, as its standard input and output, and its log."""
        reading, their_output = os.pipe()
        their_input, writing = os.pipe()
        self.connect(node, reading, writing)
        return [their_input, their_output, os.dup(log)]

    def started(self, node: Node, init: dict[str, Any], now: int) -> None:
        """It runs, and gets its `init`."""
        self.send(HARNESS, node, init, now)

    def unready(self, node: Node, seconds: float) -> str:
        """What is said of one that did not get ready in so long."""
        flushed = "" if node.has_written else ": it wrote nothing, is each line flushed?"
        return f"does not answer init within {seconds:.0f} s{flushed}"

    def connect(self, node: Node, reading: int, writing: int) -> None:
        """These are the other ends of its standard output and input."""
        node.incarnation += 1
        node.reading, node.writing = reading, writing
        node.is_ready = node.too_large = node.is_unended = node.has_written = False
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)
        self._waiter.on_readable(reading, partial(self._serve, node))
        node.update()

    def disconnect(self, node: Node) -> None:
        """The process is gone: what was on its way to it dies with it."""
        for descriptor in (node.reading, node.writing):
            if descriptor >= 0:
                self._waiter.forget(descriptor)
                os.close(descriptor)
        node.reading = node.writing = -1
        node.partial = b""
        node.is_ready = False
        node.queue.clear()
        node.held.clear()
        node.lines.clear()
        node.queued = 0
        node.update()

    def read_rest(self, node: Node) -> None:
        """What a process wrote before it ended; never waits, and ends with what a pipe holds."""
        for _ in range(MOST_READINGS):
            if node.reading < 0 or not self._read(node):
                return

    def ready(self, node: Node) -> None:
        """It answered `init`: what came before goes to it now."""
        node.is_ready = True
        held, node.held, node.queued = node.held, [], sum(map(len, node.queue))
        for line in held:
            self._deliver(node, line)
        node.update()

    def cut_off(self, node: Node, is_cut_off: bool) -> None:
        """Nothing from it or to it is delivered from now on, or everything again."""
        node.is_cut_off = is_cut_off
        node.update()

    def put_on_links(self, links: Links, now: int) -> None:
        """Links have these faults from now on."""
        self._transit.under(links, now)
        self._is_whole = self._transit.is_idle
        self.release(now)

    # ---- reading ---------------------------------------------------------------------------------

    def _serve(self, node: Node) -> None:
        """Read once and write at once, so that its readers work while others are read."""
        self._read(node)
        if not self._is_whole:  # what no fault befell goes on at once
            self.release(monotonic_ns() // 1000)
        self.flush()

    def _read(self, node: Node) -> bool:
        """Read once; False when there was nothing, or it was the end."""
        try:
            data = os.read(node.reading, node.appetite)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._waiter.forget(node.reading)
            os.close(node.reading)
            node.reading = -1
            self._on_end(node)
            return False
        node.has_written = True
        if node.partial:
            data = node.partial + data
        if node.is_unended:
            self._after_unended(node, data)
        end = data.rfind(b"\n") + 1
        if end != len(data):
            node.partial = data[end:]
            if len(node.partial) > LARGEST or node.partial.rstrip().endswith(b"}"):
                self._look_at_partial(node)
            if not end:
                return True
            data = data[:end]
        else:
            node.partial = b""
        text = data.decode("utf-8", "replace")
        at, name, number = monotonic_ns() // 1000, node.name, node.number
        by_name, records, is_easy = self._by_name, self.records, self._is_whole
        passed = self.votes.passed
        is_easy = is_easy and not node.is_cut_off and not node.too_large
        odd = 0
        for line in text.split("\n"):
            if not line:
                continue
            try:
                message, end = SCAN(line, 0)
                body = message["body"]
                target = by_name.get(message["dest"])
                if end != len(line) or message["src"] != name or end > LARGEST:
                    raise ValueError
            except (StopIteration, ValueError, KeyError, TypeError, RecursionError):
                self._read_odd(node, line, at)
                odd += 1
                continue
            if target is None:
                try:
                    self._leave(node, message, line, at)
                except RecursionError:  # read just so, and to be written it is too deep
                    self.remarks.add(node.name, remarks.TOO_DEEP, line[:200])
            elif type(body) is not dict:
                self._read_odd(node, line, at)
                odd += 1
            elif is_easy and target.is_easy and end <= LONG:
                if not target.lines:
                    self._dirty.append(target)
                target.lines.append(line)
                passed(number, target.number)
                records.append((at, number, target.number, line))
                self.recorded += 1
            else:
                self._carry(node, target, line, at)
        if odd > MANY_ODD:  # it takes our time from the others: let it wait for us
            node.appetite = max(FEWEST_BYTES, node.appetite // 2)
        elif node.appetite < READ_BYTES:
            node.appetite *= 2
        return True

    def _after_unended(self, node: Node, data: bytes) -> None:
        node.is_unended = False
        if not data.startswith((b"\n", b"\r")):
            self.remarks.add(node.name, remarks.NO_NEWLINE, data[:200].decode("utf-8", "replace"))

    def _look_at_partial(self, node: Node) -> None:
        """A message that lacks its newline is read; one that is too large is thrown away."""
        text = node.partial.decode("utf-8", "replace")
        if len(node.partial) > LARGEST:
            if not node.too_large:
                self.remarks.add(node.name, remarks.TOO_LARGE, text[:200])
            node.too_large, node.partial = True, b""
            return
        if node.too_large:
            return
        messages, rest = find(text)
        if messages and not rest:
            node.partial, node.is_unended = b"", True
            if len(messages) > 1:
                self.remarks.add(node.name, remarks.TWO_ON_A_LINE, text)
            for message, whole in messages:
                self._take(node, message, whole, monotonic_ns() // 1000)

    def _read_odd(self, node: Node, line: str, at: int) -> None:
        """A line that is not exactly one message of its own."""
        if node.too_large:
            node.too_large = False  # the end of the line that was thrown away
            return
        if len(line) > LARGEST:
            self.remarks.add(node.name, remarks.TOO_LARGE, line[:200])
            return
        messages, rest = find(line)
        if rest:
            self.remarks.add(node.name, remarks.of_no_message(rest), line)
        if len(messages) > 1:
            self.remarks.add(node.name, remarks.TWO_ON_A_LINE, line)
        for message, text in messages:
            self._take(node, message, text, at)

    def _take(self, node: Node, message: dict[str, Any], text: str, at: int) -> None:
        """One message whose form is right."""
        target, sender = self._by_name.get(message["dest"]), message["src"]
        if sender == node.name:
            if target is not None:
                self._carry(node, target, text, at)
            else:
                self._leave(node, message, text, at)
        elif target is not None and sender in self.clients:
            if sender != HARNESS:  # whose questions are for whom they were sent to alone
                self._on_passed_on(sender, message["body"], target.number)
            self._carry(node, target, text, at)  # by the link of who passes it on
        else:
            self.remarks.add(node.name, remarks.WRONG_SENDER, text)

    # ---- on its way ------------------------------------------------------------------------------

    def _carry(self, source: Node, target: Node, line: str, at: int) -> None:
        """Between two replicas, with whatever befalls it."""
        if source.is_cut_off or target.is_cut_off or target.writing < 0:
            self._record(at, source.number, target.number, line, Way.SENT)
            return
        link = source.number, target.number
        if self._is_whole or source is target:
            self._record(at, *link, line)
            self.votes.passed(*link)
            self._deliver(target, line)
            return
        self._serial += 1
        item = target.incarnation, self._serial, line
        self._record(at, *link, line, Way.SENT, self._serial)
        if (fate := self._transit.take(link, item, at)) is not None:
            self._record(at, *link, line, fate, self._serial)

    def release(self, now: int) -> None:
        """What links hold back no longer goes to its readers."""
        if self._is_whole:
            return
        for link, (incarnation, serial, line) in self._transit.due(now):
            source, target = self.nodes[link[0]], self.nodes[link[1]]
            is_there = target.incarnation == incarnation and target.writing >= 0
            if is_there and not source.is_cut_off and not target.is_cut_off:
                self._record(now, *link, line, Way.READ, serial)
                self.votes.passed(*link)
                self._deliver(target, line)
        self._is_whole = self._transit.is_idle

    def deadline(self) -> int | None:
        """When something is due that a link holds."""
        return None if self._is_whole else self._transit.deadline()

    def _leave(self, node: Node, message: dict[str, Any], line: str, at: int) -> None:
        """To somebody who is no replica."""
        dest, body = message["dest"], message["body"]
        if type(body) is not dict or not isinstance(dest, str):
            self.remarks.add(node.name, remarks.NO_MESSAGE, line)
        elif dest in self.clients:
            if dest == HARNESS:
                self._on_client(node, dest, body, at)
                return
            self._record(at, node.number, CLIENTS, line, Way.SENT)
            if not node.is_cut_off:
                self._on_client(node, dest, body, at)
        elif dest in self.services:
            self._record(at, node.number, CLIENTS, line, Way.SENT)
            if not node.is_cut_off:
                answer = self.services[dest](body)
                if self.services[dest] is not absent:  # it remembers what it is told
                    self.votes.passed(node.number, CLIENTS)
                    self.votes.passed(CLIENTS, node.number)
                self.send(dest, node, answer, at)
        else:
            self.remarks.add(node.name, remarks.UNKNOWN_READER, line)

    def send(self, source: str, node: Node, body: dict[str, Any], at: int) -> None:
        """A message of a client or a service."""
        line = encode({"src": source, "dest": node.name, "body": body})
        if source != HARNESS:
            if node.writing < 0 or node.is_cut_off:
                return
            self._record(at, CLIENTS, node.number, line, Way.READ)
            self.votes.asked(source, node.number)
        # One that starts gets what it asked a service for before it can say that it is ready.
        self._deliver(node, line, source in self.services or body["type"] == "init")

    def _record(
        self,
        at: int,
        source: ReplicaId,
        to: ReplicaId,
        line: str,
        way: Way | None = None,
        serial: int = 0,
    ) -> None:
        self.recorded += 1
        if len(line) > LONG:
            line = shortened(line)
        self.records.append(
            (at, source, to, line) if way is None else (at, source, to, line, way, serial)
        )

    # ---- writing ---------------------------------------------------------------------------------

    def _deliver(self, node: Node, line: str, is_for_its_start: bool = False) -> None:
        """To its reader, as soon as that reads."""
        if node.writing < 0:
            return
        if node.is_ready and not node.queue:
            if not node.lines:
                self._dirty.append(node)
            node.lines.append(line)
            return
        waiting = node.queue if node.is_ready or is_for_its_start else node.held
        if len(waiting) >= MOST_WAITING or node.queued + len(line) > MOST_WAITING_BYTES:
            node.drops += 1
            self.remarks.add(node.name, remarks.READS_TOO_SLOWLY)
        elif waiting is node.held:
            node.held.append(line)
            node.queued += len(line)
        else:
            data = f"{line}\n".encode("utf-8", "surrogatepass")
            node.queued += len(data)
            node.queue.append(data)
            if not node.is_ready:
                self._write_queue(node)

    def flush(self) -> None:
        """Write what this round has for each replica."""
        if not self._dirty:
            return
        dirty, self._dirty = self._dirty, []
        for node in dirty:
            lines = node.lines
            if node.writing < 0:
                lines.clear()
                continue
            self.delivered += len(lines)
            lines.append("")
            data = "\n".join(lines).encode("utf-8", "surrogatepass")
            try:
                written = 0 if node.queue else os.write(node.writing, data)
            except BlockingIOError:
                written = 0
            except OSError:  # it closed its standard input: nobody reads this
                written = len(data)
            if written < len(data):
                self._queue(node, data[written:])
            lines.clear()

    def _queue(self, node: Node, data: bytes) -> None:
        """The pipe is full: line by line, so that what waits can be counted."""
        node.queue.extend(part + b"\n" for part in data.split(b"\n")[:-1])
        node.queued += len(data)
        node.update()
        self._waiter.on_writable(node.writing, partial(self._write_queue, node))

    def _write_queue(self, node: Node) -> None:
        queue = node.queue
        try:
            while queue:
                written = os.write(node.writing, queue[0])
                node.queued -= written
                if written < len(queue[0]):
                    queue[0] = queue[0][written:]
                else:
                    queue.popleft()
        except BlockingIOError:
            self._waiter.on_writable(node.writing, partial(self._write_queue, node))
            return
        except OSError:
            queue.clear()
            node.queued = 0
        self._waiter.stop_writing(node.writing)
        node.update()
