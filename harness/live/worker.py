"""One replica's process: its queues, its file, its clock, and the pure Replica in the middle.

A turn: wait for queues or the next deadline; read all that has arrived; `step` each message;
`tick`; `flush`; send what may leave early; commit the writes; send what speaks of them; `stored`.
Queues are read before the clock is looked at, so a process that slept does not take its own sleep
for the others' silence.

While disconnected nothing is stepped, ticked or sent: what arrives is read and thrown away. While
links have faults, what was read passes through `harness.cluster.links.Transit` before the turn.
"""

import contextlib
import gc
import os
import signal
import time
from collections.abc import Iterable, Sequence
from functools import partial
from multiprocessing.connection import Connection
from random import Random
from typing import Any, NoReturn

from bank.ballot import Ballot, ReplicaId, Slot, replica_name
from bank.effects import Effects, Send
from bank.ledger import Result
from bank.messages import ClientRequest, Elected, Message, PeerDown, Reply, State, StatePiece
from bank.replica import CLIENT, Replica
from bank.sessions import Request, Session
from bank.status import Role
from harness.cluster import journal, kill_points, links, nemesis, wire
from harness.cluster.choices import Seeded
from harness.cluster.form import checked, standing
from harness.cluster.journal import Journal, Liveness, LivenessChanged, QueueReplaced, Way
from harness.live import apart, gauges, protocol
from harness.live.last_words import last_words, leave_turn
from harness.live.protocol import Progress
from harness.live.queues import CLOSED, ControlEnd, Incoming, MalformedFrame, Outgoing, framed
from harness.live.spec import WorkerSpec
from harness.live.storage import Owner, Storage
from harness.live.waiting import Waiter


def main(spec: WorkerSpec) -> None:
    """The process's target."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the harness's to handle
    signal.signal(protocol.WAKE, leave_turn)
    apart.keep()
    control = ControlEnd(spec.control)
    try:
        worker = Worker(spec, control)
    except BaseException as error:  # whatever it is, a traceback on the terminal helps nobody
        control.send(last_words(error))
        return
    gc.collect()
    gc.freeze()  # what was imported stays: a collection looks at the log's newcomers only
    gc.disable()
    control.send((protocol.READY,))
    worker.run()
    # No clean-up of modules: the file is closed, and everything else goes with the process.
    os._exit(0)


class Worker:
    """See the module."""

    def __init__(self, spec: WorkerSpec, control: ControlEnd) -> None:
        self._spec = spec
        self._control = control
        if spec.lock is not None:
            spec.lock.sign()
        self._storage: Storage | None = None
        if spec.file is not None:
            owner = Owner(replica_name(spec.replica), spec.cluster)
            self._storage = Storage(spec.file, spec.durability, owner, spec.balances.accounts)
        restarted = spec.resumed or spec.incarnation > 0
        kind = checked(Replica) if spec.traced else Replica
        self._replica = kind(
            spec.replica,
            spec.replicas,
            spec.settings,
            Random(f"{spec.seed}/{spec.replica}/{spec.incarnation}"),
            spec.balances,
            self._storage.found if restarted and self._storage is not None else None,
            now(),
        )
        self._waiter = Waiter()
        self._readers: dict[ReplicaId, Incoming] = {}
        self._writers: dict[ReplicaId, Outgoing] = {}
        self._incarnations: dict[ReplicaId, int] = {}
        self._to_clients: list[Outgoing] = []
        self._routes: dict[str, Outgoing] = {}  # the queue that a client's requests came on
        self._journal = Journal() if spec.traced else None
        self._told: Progress | None = None
        self._led: tuple[Role, Ballot] | None = None  # role and ballot that were told last
        self._disconnected = False
        self._has_returned = False  # to be confirmed after this turn
        self._armed: str | None = None  # the kill point to die at
        self._running = True
        self._inbox: list[tuple[ReplicaId, Message]] = []  # read in this turn, with the source
        self._outbox: dict[Outgoing, list[bytes]] = {}
        self._transit: links.Transit | None = None  # while links have faults or hold messages
        self._fates = Seeded(f"{spec.seed}/{spec.replica}/{spec.incarnation}/links")
        self._put_on_links(spec.links)
        self._waiter.on_readable(control.fileno(), self._read_control)
        for peer, (incarnation, reading, writing) in spec.peers.items():
            self._connect(peer, incarnation, reading, writing)
        for reading, writing in spec.clients:
            self._connect_client(Incoming(reading), Outgoing(writing, spec.queue_limit))

    # ---- the loop ------------------------------------------------------------------------------

    def run(self) -> None:
        """Take turns until told to stop, or until the harness is gone."""
        try:
            while self._running:
                self._wait()
                if self._disconnected:
                    self._inbox.clear()
                if self._transit is not None:
                    self._pass_on(self._transit)
                if not self._disconnected:
                    self._turn()
                self._inbox.clear()
            self._end()
        except BaseException as error:  # SystemExit too: the harness is told, whatever it is
            self._give_up(*last_words(error))

    def _wait(self) -> None:
        if self._waiter.serve():
            return  # the usual case under load: how long it might wait is not asked
        transit = self._transit
        due = None if self._disconnected else self._replica.deadline()
        if transit is not None and (held := transit.deadline()) is not None:
            due = held if due is None else min(due, held)
        timeout = None if due is None else max(0, due - now())
        self._waiter.sleep(timeout)

    def _turn(self) -> None:
        replica, at = self._replica, now()
        for source, message in self._inbox:
            if self._journal is not None:
                self._journal.passed(at, Way.READ, (source,), message)
            replica.step(source, message, at)
        replica.tick(at)
        effects = replica.flush()
        if self._journal is not None:
            self._journal.turned(at, effects.events, effects.executed)
        if effects.halted is not None:
            self._report(effects)  # its last events, and that it leads no longer
            self._give_up(protocol.HALTED, effects.halted)
            return
        self._perform(effects)
        replica.stored()
        self._report(effects)

    def _perform(self, effects: Effects) -> None:
        """In the one order that is safe: see `bank.effects.Effects`."""
        point, cut = self._armed, None
        if point is not None and self._passes(point, effects):
            cut = kill_points.cut_at(point, effects, self._writers)
            effects.early = cut.early
            effects.replies = effects.replies if cut.answers else []
        if effects.early or effects.replies:
            self._say(effects.early, effects.replies)
        if effects.elected is not None and (cut is None or cut.answers):
            self._announce(effects.elected)
        if effects.persist is not None and self._storage is not None:
            if cut is not None and point == nemesis.MID_CHECKPOINT:
                self._storage.write_only(effects.persist)
            elif cut is None or cut.writes:
                self._storage.commit(effects.persist)
        if cut is not None:
            _die()
        if effects.durable:
            self._say(effects.durable)
        if effects.persist is not None and self._storage is not None:
            self._storage.tidy()

    def _passes(self, point: str, effects: Effects) -> bool:
        catching_up = any(isinstance(m, State | StatePiece) for _, m in self._inbox)
        return kill_points.passes(point, effects, self._replica.role, catching_up)

    def _report(self, effects: Effects) -> None:
        """Stream to the harness what it could not see otherwise; nothing for an idle turn."""
        replica, led = self._replica, self._led
        same = led is not None and led[1] is replica.following and led[0] is replica.role
        if same and self._journal is None and not self._has_returned:
            return  # untraced, only a change of leadership is news
        self._led = (replica.role, replica.following)
        role, ballot, is_answered, executed_upto = standing(replica)
        progress = Progress(role.value, (*ballot,), is_answered, executed_upto)
        entries: list[journal.Plain] = []
        executed: list[tuple[Slot, Sequence[Request], list[Result]]] = []
        if self._journal is not None:
            entries = self._journal.take()
            executed = [
                (
                    e.first_slot,
                    tuple(e.requests),  # of that very type, which goes to the harness
                    [a[2] for _, a in zip(e.requests, e.answers, strict=True)],
                )
                for e in effects.executed
            ]
        if entries or executed or progress != self._told or self._has_returned:
            self._told = progress
            self._control.send((protocol.TURN, tuple(progress), executed, entries, now()))
            self._waiter.keep_writing(self._control)
        if self._has_returned:
            self._has_returned = False
            self._answer((protocol.CONFIRMED,))

    def _end(self) -> None:
        if self._storage is not None:
            self._storage.close()

    def _give_up(self, word: str, reason: str) -> None:
        self._control.send((word, reason))
        self._running = False

    # ---- sending -------------------------------------------------------------------------------

    def _say(self, sends: Sequence[Send], replies: Sequence[Reply] = ()) -> None:
        """Everything for one queue is one frame, in the order given."""
        if self._journal is not None:
            self._write_down(self._journal, sends, replies)
        if len(sends) == 1 and not replies:  # the usual case: one frame serves all
            frame = framed(wire.encode(sends[0].message))
            for peer in sends[0].to:
                if (writer := self._writers.get(peer)) is not None:
                    self._put(writer, frame)
            return
        for send in sends:
            data = wire.encode(send.message)
            for peer in send.to:
                if (writer := self._writers.get(peer)) is not None:
                    self._outbox.setdefault(writer, []).append(data)
        for reply in replies:
            self._queue_replies(reply)
        for writer, messages in self._outbox.items():
            self._put(writer, framed(*messages))
        self._outbox.clear()

    def _announce(self, elected: Elected) -> None:
        """LEADER to each process of clients. Where a queue is full, it comes with a heartbeat."""
        if self._journal is not None:
            self._journal.passed(now(), Way.SENT, (CLIENT,), elected)
        frame = framed(wire.encode(elected))
        for queue in self._to_clients:
            if not queue.is_waiting:
                self._put(queue, frame)

    def _write_down(
        self, written: Journal, sends: Sequence[Send], replies: Sequence[Reply]
    ) -> None:
        for send in sends:
            everyone = len(send.to) == len(self._replica.peers)
            written.passed(now(), Way.SENT, () if everyone else send.to, send.message)
        for reply in replies:
            written.passed(now(), Way.SENT, (CLIENT,), reply)

    def _queue_replies(self, reply: Reply) -> None:
        """Each client process gets the answers of its own clients; one unknown, all get it."""
        if len(self._to_clients) == 1:
            self._outbox.setdefault(self._to_clients[0], []).append(wire.encode(reply))
            return
        by_queue: dict[Outgoing, list[Session]] = {queue: [] for queue in self._to_clients}
        routes = self._routes
        for answer in reply.answers:
            known = routes.get(answer[0])
            if known is not None:
                by_queue[known].append(answer)
            else:
                for answers in by_queue.values():
                    answers.append(answer)
        for queue, answers in by_queue.items():
            if answers:
                part = Reply(reply.ballot, tuple(answers))
                self._outbox.setdefault(queue, []).append(wire.encode(part))

    def _put(self, writer: Outgoing, frame: bytes) -> None:
        writer.send(frame)
        if writer.is_waiting:
            self._waiter.keep_writing(writer)

    # ---- reading -------------------------------------------------------------------------------

    def _connect(
        self, peer: ReplicaId, incarnation: int, reading: Connection, writing: Connection
    ) -> None:
        """Take the ends of the queues with this incarnation of a peer; older ones are dead."""
        if peer in self._readers:
            self._lose(peer)
        self._incarnations[peer] = incarnation
        self._writers[peer] = Outgoing(writing, self._spec.queue_limit)
        self._read_from(peer, Incoming(reading))

    def _read_from(self, peer: ReplicaId, reader: Incoming) -> None:
        self._readers[peer] = reader
        read = partial(self._read_peer, peer, reader)
        self._waiter.on_readable(reader.fileno(), read)

    def _connect_client(self, reader: Incoming, writer: Outgoing) -> None:
        self._to_clients.append(writer)
        self._waiter.on_readable(reader.fileno(), partial(self._read_client, reader, writer))

    def _read_peer(self, peer: ReplicaId, reader: Incoming) -> None:
        if self._readers.get(peer) is not reader:
            return  # replaced earlier in this turn
        try:
            for plain in reader.read():
                self._inbox.append((peer, wire.from_plain(plain)))
        except (MalformedFrame, wire.WireError) as error:
            self._drop_queue(peer, reader, error)
            return
        if reader.closed:
            self._lose(peer)

    def _read_client(self, reader: Incoming, writer: Outgoing) -> None:
        try:
            messages = [wire.from_plain(plain) for plain in reader.read()]
        except (MalformedFrame, wire.WireError):
            messages, reader.closed = [], True
        if len(self._to_clients) > 1:
            routes = self._routes
            for message in messages:
                if isinstance(message, ClientRequest):
                    for request in message.requests:
                        routes[request[0]] = writer
        self._inbox += [(CLIENT, message) for message in messages]
        if reader.closed:
            self._forget(reader)

    def _lose(self, peer: ReplicaId) -> None:
        """End-of-file, or a new incarnation: the old one is dead. What it left is read first."""
        reader, writer = self._readers.pop(peer), self._writers.pop(peer)
        with contextlib.suppress(wire.WireError):
            for plain in reader.drain():
                self._inbox.append((peer, wire.from_plain(plain)))
        self._forget(reader, writer)
        self._inbox.append((peer, PeerDown(peer, self._incarnations[peer])))

    def _drop_queue(self, peer: ReplicaId, reader: Incoming, error: Exception) -> None:
        """A malformed frame ends the queue; it is no notice of death. The harness sends another.

        The other direction stays: closing it would tell the peer that this process died.
        """
        self._forget(reader)
        self._answer((protocol.DAMAGED, peer, self._incarnations[peer]))
        self._note(QueueReplaced(peer, str(error)))

    def _note(self, event: journal.Event) -> None:
        if self._journal is not None:
            self._journal.add(now(), event)

    def _replace_reader(self, peer: ReplicaId, reader: Incoming) -> None:
        self._forget(self._readers[peer])
        self._read_from(peer, reader)

    def _replace_writer(self, peer: ReplicaId, writer: Outgoing) -> None:
        """The peer reads no other any more. A peer that is lost meanwhile needs none."""
        if peer in self._writers:
            self._forget(self._writers[peer])
            self._writers[peer] = writer
        else:
            writer.close()

    def _forget(self, *ends: Incoming | Outgoing) -> None:
        for end in ends:
            self._waiter.forget(end.fileno())
            if isinstance(end, Outgoing):
                self._outbox.pop(end, None)
            end.close()

    # ---- links with faults ---------------------------------------------------------------------

    def _put_on_links(self, plain: Iterable[tuple[int, ...]]) -> None:
        """This is what befalls messages from now on; only links to this replica matter here."""
        me = self._spec.replica
        faults = links.from_plain(fault for fault in plain if fault[1] == me)
        if self._transit is None and faults.states:
            self._transit = links.Transit(self._fates)
        if self._transit is not None:
            self._transit.under(faults, now())

    def _pass_on(self, transit: links.Transit) -> None:
        """What arrived goes on its link, what the links hold back no longer to this turn."""
        me, at = self._spec.replica, now()
        for source, message in self._inbox:
            if isinstance(message, PeerDown):
                transit.close((source, me), message, at)
                continue
            fate = transit.take((source, me), message, at)
            if fate and self._journal is not None:
                self._journal.passed(at, fate, (source,), message)
        self._inbox[:] = [(source, message) for (source, _), message in transit.due(at)]
        if transit.is_idle:
            self._transit = None

    # ---- control -------------------------------------------------------------------------------

    def _read_control(self) -> None:
        for word, *rest in self._control.read():
            self._obey(word, rest)
        if self._control.closed:
            self._running = False  # the harness is gone

    def _obey(self, word: str, rest: list[Any]) -> None:
        match word:
            case protocol.PEER:
                peer, incarnation = rest
                reading = Connection(self._control.descriptors.popleft(), writable=False)
                writing = Connection(self._control.descriptors.popleft(), readable=False)
                self._connect(peer, incarnation, reading, writing)
            case protocol.READING:
                reading = Connection(self._control.descriptors.popleft(), writable=False)
                self._replace_reader(rest[0], Incoming(reading))
            case protocol.WRITING:
                writing = Connection(self._control.descriptors.popleft(), readable=False)
                self._replace_writer(rest[0], Outgoing(writing, self._spec.queue_limit))
            case protocol.DISCONNECT:
                self._disconnected = True
                self._inbox.clear()
                self._note(LivenessChanged(Liveness.DISCONNECTED))
                self._report(Effects())
                self._answer((protocol.CONFIRMED,))
            case protocol.RECONNECT:
                self._throw_away()
                self._inbox.clear()
                self._disconnected = False
                self._note(LivenessChanged(Liveness.LIVE))
                self._replica.reconnected(now())
                self._has_returned = True
            case protocol.RESUMED:
                self._put_on_links(rest[0])
                self._has_returned = True
            case protocol.SEEK:
                if not self._disconnected:
                    self._replica.seek_leader(now())
            case protocol.ARM:
                self._armed = rest[1]
                self._answer((protocol.ANSWER, rest[0], None))
            case protocol.LINKS:
                self._put_on_links(rest[1])
                self._answer((protocol.ANSWER, rest[0], None))
            case protocol.STATUS:
                self._replica.save_watermark()  # the file tells what people were shown
                status = self._replica.status()
                plain = protocol.status_to_plain(status, self._spec.balances.accounts)
                self._answer((protocol.ANSWER, rest[0], plain))
            case protocol.SLOTS:
                slots = protocol.slots_to_plain(self._replica.slots(rest[1]))
                self._answer((protocol.ANSWER, rest[0], slots))
            case protocol.WRITTEN:
                writers = (*self._writers.values(), *self._to_clients)
                written = sum(writer.written for writer in writers)
                self._answer((protocol.ANSWER, rest[0], written))
            case protocol.GAUGES:
                writers = (*self._writers.values(), *self._to_clients)
                found = gauges.read(self._replica.log, self._waiter.reading, writers, now())
                self._answer((protocol.GAUGES, tuple(found)))
            case protocol.STOP:
                self._running = False

    def _throw_away(self) -> None:
        """What arrived while disconnected, before anybody is heard again."""
        if self._transit is not None:
            self._transit.due(now())
        for peer, reader in list(self._readers.items()):
            if reader.fileno() != CLOSED:
                self._read_peer(peer, reader)

    def _answer(self, value: tuple[Any, ...]) -> None:
        self._control.send(value)
        self._waiter.keep_writing(self._control)


def now() -> int:
    """Microseconds of the clock that all processes of one machine share; never goes back."""
    return time.monotonic_ns() // 1000


def _die() -> NoReturn:
    """SIGKILL to this process."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("survived SIGKILL")
