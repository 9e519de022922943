"""A Cluster of real processes: see `harness.driver.Cluster` for what it promises.

Everything here runs in one thread of the harness: it reads replies, control queues and the
kernel's notices of death, and keeps the clients' timers. A replica is an entry in `_replicas`
from start to stop, whatever happens to its process.
"""

import contextlib
import selectors
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from random import Random
from typing import Any, assert_never

from bank.ballot import ReplicaId, Slot
from bank.effects import Stored
from bank.ledger import NOOP
from bank.messages import ClientRequest
from bank.replica import Replica
from bank.sessions import Machine, Request
from bank.status import Role, SlotStatus
from harness import wire
from harness.client import Client, Clients, ClientSend
from harness.config import ClusterConfig
from harness.driver import CommitLog, Liveness, ReplicaView, TraceLine
from harness.errors import EXIT_MACHINE, HarnessError
from harness.history import Operation
from harness.live import process, protocol, worker
from harness.live.folder import DataFolder
from harness.live.protocol import Progress
from harness.live.queues import ControlEnd, Incoming, MalformedFrame, Outgoing
from harness.live.storage import StorageError, read_copy
from harness.nemesis import Fail, FailLeader, Fault, Recover, SetLive

ANSWER_SECONDS = 20.0  # a live process that says nothing for so long is the machine's trouble
STOP_SECONDS = 1.0  # to end in good order, before SIGKILL
NEVER_LED = Progress(Role.FOLLOWER.value, (0, 0), False, 0)


@dataclass
class _Handle:
    """One replica as the harness knows it."""

    replica: ReplicaId
    incarnation: int = -1
    process: ForkServerProcess | None = None
    control: ControlEnd | None = None
    incoming: Incoming | None = None  # replies
    outgoing: Outgoing | None = None  # requests
    liveness: Liveness = Liveness.CRASHED
    progress: Progress = NEVER_LED
    was_leader: bool = False
    trouble: str | None = None
    halted: bool = False  # by itself, because of a contradiction
    is_ready: bool = False
    confirmed: bool = False  # did what it was told last
    answers: dict[int, Any] = field(default_factory=dict)
    lines: deque[TraceLine] = field(default_factory=deque)
    dropped: int = 0


class LiveCluster:
    """See the module."""

    def __init__(
        self, config: ClusterConfig, data: Path | None = None, traced: bool = True
    ) -> None:
        """`data` keeps the databases there; HarnessError when that folder does not fit."""
        self.replicas = config.nodes
        self.committed = CommitLog()
        self._config = config
        self._seed = 0 if config.seed is None else config.seed
        self._traced = traced
        self._folder = DataFolder(config, data)
        self._handles = {r: _Handle(r) for r in range(1, config.nodes + 1)}
        for handle in self._handles.values():
            handle.lines = deque(maxlen=config.trace_messages)
        self._clients = Clients(
            config.accounts, config.nodes, config.client_timeout_ms * 1000, self._note_client
        )
        self._selector = selectors.DefaultSelector()
        self._guard: process.Guard | None = None
        self._ticket = 0
        self._folder_changed = False
        if self._folder.is_resumed:
            self._resume_clients()

    # ---- life ----------------------------------------------------------------------------------

    def now(self) -> int:
        """Microseconds of the machine's monotonic clock."""
        return worker.now()

    def start(self) -> None:
        """Start every replica and wait until all have recovered."""
        temporary = str(self._folder.path) if self._folder.is_temporary else None
        self._guard = process.Guard(temporary)
        for replica in self._handles:
            self._start_replica(replica)
        self._await_ready(self._handles.values())

    def stop(self) -> None:
        """End every process and remove temporary data. Idempotent."""
        for handle in self._handles.values():
            if handle.process is not None and handle.control is not None:
                handle.control.send((protocol.STOP,))
        deadline = time.monotonic() + STOP_SECONDS
        for handle in self._handles.values():
            if handle.process is None:
                continue
            if handle.liveness is not Liveness.PAUSED:
                handle.process.join(max(0.0, deadline - time.monotonic()))
            process.kill(handle.process)
            self._bury(handle)
        if self._guard is not None:
            self._guard.dismiss()
            self._guard = None
        with contextlib.suppress(HarnessError):  # what was answered since is a note, not a need
            self._write_folder()
        self._folder.remove_if_temporary()
        self._selector.close()

    def _start_replica(self, replica: ReplicaId) -> None:
        """Start a process, with new queues to everybody who runs."""
        handle = self._handles[replica]
        handle.incarnation += 1
        peers: dict[ReplicaId, Any] = {}
        ours: list[Any] = []  # ends that go to the new process; our copies are closed at once
        theirs: list[tuple[_Handle, Any, Any]] = []
        for peer, other in self._handles.items():
            if peer == replica or other.process is None:
                continue
            to_new, from_peer = process.pipe()
            to_peer, from_new = process.pipe()
            peers[peer] = (other.incarnation, to_new, from_new)
            ours += [to_new, from_new]
            theirs.append((other, to_peer, from_peer))
        requests_in, requests_out = process.pipe()
        replies_in, replies_out = process.pipe()
        control_ours, control_new = process.CONTEXT.Pipe(duplex=True)
        ours += [requests_in, replies_out, control_new]
        spec = worker.WorkerSpec(
            replica=replica,
            replicas=self.replicas,
            incarnation=handle.incarnation,
            resumed=self._folder.is_resumed,
            settings=self._config.settings(),
            balances=self._config.balances(),
            seed=self._seed,
            file=None if self._config.durability == "memory" else self._folder.file(replica),
            durability=self._config.durability,
            queue_limit=self._config.queue_buffer_kib * 1024,
            traced=self._traced,
            control=control_new,
            peers=peers,
            clients=[(requests_in, replies_out)],
        )
        handle.process = process.start(worker.main, spec)
        if self._guard is not None:
            self._guard.add(handle.process)
        for other, reading, writing in theirs:
            assert other.control is not None
            message = (protocol.PEER, replica, handle.incarnation)
            other.control.send(message, (reading.fileno(), writing.fileno()))
            self._watch_writing(other.control)
            reading.close()
            writing.close()
        for end in ours:
            end.close()
        handle.control = ControlEnd(control_ours)
        handle.incoming = Incoming(replies_in)
        handle.outgoing = Outgoing(requests_out, self._config.queue_buffer_kib * 1024)
        handle.is_ready, handle.trouble, handle.was_leader = False, None, False
        handle.confirmed = True  # a start is confirmed by READY
        handle.progress = NEVER_LED
        handle.liveness = Liveness.LIVE
        self._watch(handle)

    def _watch(self, handle: _Handle) -> None:
        assert handle.control and handle.incoming and handle.process
        register = self._selector.register
        register(handle.control, selectors.EVENT_READ, lambda: self._read_control(handle))
        register(handle.incoming, selectors.EVENT_READ, lambda: self._read_replies(handle))
        register(handle.process.sentinel, selectors.EVENT_READ, lambda: self._on_death(handle))

    def _await_ready(self, handles: Any) -> None:
        """Wait until each is ready or refused; a refused one is left out, the others go on."""
        waiting = [h for h in handles if h.process is not None]
        self._await(lambda: all(h.is_ready or h.process is None for h in waiting), "to start")

    def _await(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for what a working machine does at once, else it is the machine's trouble."""
        deadline = self.now() + int(ANSWER_SECONDS * 1e6)
        while not condition():
            if self.now() > deadline:
                raise HarnessError(
                    f"a replica takes more than {ANSWER_SECONDS:.0f} s {what}",
                    exit_code=EXIT_MACHINE,
                )
            self._pump(deadline)

    def _bury(self, handle: _Handle) -> None:
        """A process is dead: read what it left, then give its queues back."""
        if handle.process is None:
            return
        assert handle.control and handle.incoming and handle.outgoing
        while not handle.control.closed:
            before = handle.control.closed
            values = self._safely(handle.control.read)
            for value in values:
                self._hear(handle, value)
            if not values and not before:
                break
        for plain in handle.incoming.drain():
            self._take_reply(plain)
        for end in (handle.control, handle.incoming, handle.outgoing):
            if end.fileno() in self._selector.get_map():
                self._selector.unregister(end.fileno())
            end.close()
        if handle.process.sentinel in self._selector.get_map():
            self._selector.unregister(handle.process.sentinel)
        if self._guard is not None:
            self._guard.remove(handle.process)
        handle.process.close()
        handle.process = handle.control = handle.incoming = handle.outgoing = None

    def _on_death(self, handle: _Handle) -> None:
        """A process ended that nobody killed."""
        if handle.process is None:
            return
        handle.process.join()
        code = handle.process.exitcode
        self._bury(handle)
        handle.was_leader = handle.progress.role == Role.LEADER.value
        if handle.trouble is None:  # killed from outside: it may come back like any crashed one
            handle.liveness = Liveness.CRASHED
            handle.trouble = f"its process ended by itself (exit code {code})"
        else:
            handle.liveness = Liveness.STOPPED
        self._send(self._clients.lost(handle.replica, self.now()))

    # ---- clients -------------------------------------------------------------------------------

    def submit(self, operation: Operation) -> None:
        """Queue an operation with its client."""
        self._clients.submit(operation)

    def set_clients_running(self, running: bool) -> None:
        """Start or stop the clients' timers."""
        if running:
            self._clients.start()
        else:
            self._clients.stop()

    def pending(self) -> list[Operation]:
        """Operations without an answer."""
        return self._clients.pending()

    def _note_client(self, client: Client) -> None:
        self._folder.note_client(client.name, client.timestamp, client.queue[0].request)
        self._folder_changed = True

    def _write_folder(self) -> None:
        if self._folder_changed:
            self._folder.write()
            self._folder_changed = False

    def _resume_clients(self) -> None:
        """Timestamps go on above every one ever used; what was pending is asked again first."""
        highest: dict[str, int] = {}
        found: list[Stored] = []
        for replica in self._handles:
            with contextlib.suppress(StorageError):  # refused when its process starts
                stored = read_copy(self._folder.file(replica))
                found += [] if stored is None else [stored]
        for stored in found:
            for name, timestamp in _timestamps(stored):
                highest[name] = max(timestamp, highest.get(name, 0))
        self._resume_history(found)
        for name, client in self._clients.by_name.items():
            noted = self._folder.clients.get(name, {"timestamp": 0, "pending": None})
            client.timestamp = max(highest.get(name, 0), noted["timestamp"])
            if noted["pending"] is not None:
                _, timestamp, kind, sender, receiver, amount = noted["pending"]
                request: Request = (name, timestamp, kind, sender, receiver, amount)
                client.queue.append(Operation(request, set_number=0, invoked_at=self.now()))

    def _resume_history(self, found: Sequence[Stored]) -> None:
        """What earlier runs committed, from the newest checkpoint on: the judges go on from it."""
        checkpoints = [s.checkpoint for s in found if s.checkpoint is not None]
        base = max(checkpoints, key=lambda c: c.slot, default=None)
        machine = (
            Machine(self._config.balances())
            if base is None
            else Machine(base.balances, base.sessions)
        )
        slot = 0 if base is None else base.slot
        rows = {
            s: r for stored in found for s, _, r in stored.entries if s <= stored.committed_upto
        }
        self.committed.base = base
        while (request := rows.get(slot + 1)) is not None:
            slot += 1
            (answer,) = machine.execute(slot, [request])
            self.committed.slots[slot] = (request, answer[2])
        self.committed.known_before = max((s.committed_upto for s in found), default=0)

    def _send(self, sends: Sequence[ClientSend]) -> None:
        """Put requests on the queues, those for one replica as one message."""
        self._write_folder()
        by_replica: dict[ReplicaId, list[Request]] = {}
        for to, request in sends:
            for replica in to:
                by_replica.setdefault(replica, []).append(request)
        for replica, requests in by_replica.items():
            outgoing = self._handles[replica].outgoing
            if outgoing is not None:
                outgoing.send([wire.encode(ClientRequest(tuple(requests)))])
                self._watch_writing(outgoing)

    def _take_reply(self, plain: Any) -> None:
        with contextlib.suppress(wire.WireError):
            for operation in self._clients.take(wire.from_plain(plain), self.now()):  # type: ignore[arg-type]
                name, timestamp = operation.request[:2]
                self._folder.note_client(name, timestamp, None)
                self._folder_changed = True

    # ---- the loop ------------------------------------------------------------------------------

    def run_until(self, condition: Callable[[], bool], timeout: int) -> bool:
        """Let the cluster work until `condition()` holds, at most `timeout` microseconds."""
        deadline = self.now() + timeout
        while True:
            self._send(list(self._clients.poll(self.now())))
            if condition():
                return True
            if self.now() >= deadline:
                return False
            self._pump(deadline)

    def _pump(self, deadline: int) -> None:
        """Wait for the next thing to happen, and take everything that did."""
        due = self._clients.deadline()
        until = deadline if due is None else min(deadline, due)
        timeout = max(0.0, (until - self.now()) / 1e6)
        for key, events in self._selector.select(timeout):
            if events & selectors.EVENT_READ and key.fd in self._selector.get_map():
                key.data()
            if events & selectors.EVENT_WRITE and key.fd in self._selector.get_map():
                self._resume_writing(key.fd)

    def _watch_writing(self, end: Outgoing | ControlEnd) -> None:
        if not end.is_waiting or end.closed:
            return
        known = self._selector.get_map().get(end.fileno())
        if known is None:
            self._selector.register(end.fileno(), selectors.EVENT_WRITE, end)
        else:
            both = selectors.EVENT_READ | selectors.EVENT_WRITE
            self._selector.modify(end.fileno(), both, known.data)

    def _resume_writing(self, descriptor: int) -> None:
        for handle in self._handles.values():
            if handle.outgoing is not None and handle.outgoing.fileno() == descriptor:
                handle.outgoing.resume()
                if not handle.outgoing.is_waiting:
                    self._selector.unregister(descriptor)
            elif handle.control is not None and handle.control.fileno() == descriptor:
                handle.control.resume()
                if not handle.control.is_waiting:
                    data = self._selector.get_key(descriptor).data
                    self._selector.modify(descriptor, selectors.EVENT_READ, data)

    def _read_replies(self, handle: _Handle) -> None:
        incoming = handle.incoming
        if incoming is None:
            return
        for plain in self._safely(incoming.read):
            self._take_reply(plain)
        if incoming.closed:
            self._selector.unregister(incoming)
            self._send(self._clients.lost(handle.replica, self.now()))

    def _read_control(self, handle: _Handle) -> None:
        control = handle.control
        if control is None:
            return
        for value in self._safely(control.read):
            self._hear(handle, value)
        if control.closed and control.fileno() in self._selector.get_map():
            self._selector.unregister(control)

    @staticmethod
    def _safely(read: Callable[[], list[Any]]) -> list[Any]:
        try:
            return read()
        except MalformedFrame as error:
            raise HarnessError(f"a queue is damaged: {error}", exit_code=EXIT_MACHINE) from error

    def _hear(self, handle: _Handle, value: Any) -> None:
        """One value from a replica's control queue."""
        word, *rest = value
        match word:
            case protocol.TURN:
                progress, executed, lines = rest
                handle.progress = Progress(*progress)
                for first_slot, what in executed:
                    self.committed.add(handle.replica, first_slot, what)
                assert handle.lines.maxlen is not None
                overflow = len(handle.lines) + len(lines) - handle.lines.maxlen
                handle.dropped += max(0, overflow)
                handle.lines.extend(TraceLine(*line) for line in lines)
            case protocol.READY:
                handle.is_ready = True
            case protocol.CONFIRMED:
                handle.confirmed = True
            case protocol.ANSWER:
                handle.answers[rest[0]] = rest[1]
            case protocol.HALTED | protocol.FAILED:
                handle.trouble, handle.halted = rest[0], word == protocol.HALTED

    # ---- faults --------------------------------------------------------------------------------

    def apply(self, fault: Fault) -> tuple[ReplicaId, ...]:
        """Do this fault and wait until it is done; returns the replicas that changed."""
        mode: str | None = None
        match fault:
            case SetLive(live):
                failing = [r for r in self._handles if r not in live and self._is_live(r)]
                returning = [r for r in sorted(live) if not self._is_live(r)]
            case Fail(replica, mode):
                failing, returning = [replica] if self._is_live(replica) else [], []
            case Recover(replica):
                failing, returning = [], [] if self._is_live(replica) else [replica]
            case FailLeader():
                leader = self.leader()
                failing, returning = [] if leader is None else [leader], []
            case _:
                assert_never(fault)
        for replica in failing:
            self._fail(self._handles[replica], mode or self._config.failure)
        self._await_confirmed(failing)
        returned = [r for r in returning if self._recover(self._handles[r])]
        self._await_ready([self._handles[r] for r in returned])
        self._await_confirmed(returned)
        return tuple(failing + returned)

    def _is_live(self, replica: ReplicaId) -> bool:
        return self._handles[replica].liveness is Liveness.LIVE

    def _fail(self, handle: _Handle, mode: str) -> None:
        assert handle.process is not None and handle.control is not None
        handle.was_leader = handle.progress.role == Role.LEADER.value
        handle.confirmed = True  # by the kernel, unless the replica itself has to
        match mode:
            case "crash":
                process.kill(handle.process)
                self._bury(handle)
                handle.liveness = Liveness.CRASHED
                self._send(self._clients.lost(handle.replica, self.now()))
            case "pause":
                process.pause(handle.process)
                handle.liveness = Liveness.PAUSED
            case _:
                handle.confirmed = False
                handle.control.send((protocol.DISCONNECT,))
                handle.liveness = Liveness.DISCONNECTED

    def _recover(self, handle: _Handle) -> bool:
        """Bring a failed replica back; one that stopped itself stays away."""
        match handle.liveness:
            case Liveness.CRASHED:
                self._start_replica(handle.replica)
            case Liveness.PAUSED:
                assert handle.process is not None and handle.control is not None
                handle.confirmed = False
                handle.control.send((protocol.RESUMED,))
                process.resume(handle.process)
            case Liveness.DISCONNECTED:
                assert handle.control is not None
                handle.confirmed = False
                handle.control.send((protocol.RECONNECT,))
            case _:
                return False
        handle.liveness, handle.was_leader = Liveness.LIVE, False
        return True

    def _await_confirmed(self, replicas: Sequence[ReplicaId]) -> None:
        """Until each of these said that it did what it was told last."""
        handles = [self._handles[r] for r in replicas]
        self._await(lambda: all(h.confirmed or h.process is None for h in handles), "to obey")

    def seek_leader(self) -> None:
        """Ask every live replica to see to it that there is a leader."""
        for handle in self._handles.values():
            if handle.liveness is Liveness.LIVE and handle.control is not None:
                handle.control.send((protocol.SEEK,))

    # ---- looking -------------------------------------------------------------------------------

    def liveness(self, replica: ReplicaId) -> Liveness:
        """Whether this replica takes part."""
        return self._handles[replica].liveness

    def leader(self) -> ReplicaId | None:
        """The live replica in role leader with the highest ballot that a quorum answers."""
        leaders = [
            (h.progress.ballot, h.replica)
            for h in self._handles.values()
            if h.liveness is Liveness.LIVE
            and h.progress.role == Role.LEADER.value
            and h.progress.answered
        ]
        return max(leaders)[1] if leaders else None

    def role(self, replica: ReplicaId) -> Role:
        """What this replica said last of its role."""
        return Role(self._handles[replica].progress.role)

    def executed_upto(self, replica: ReplicaId) -> Slot:
        """What this replica said last."""
        return self._handles[replica].progress.executed_upto

    def views(self) -> tuple[ReplicaView, ...]:
        """Every replica's state as of now; failed ones as they were left."""
        asked = self._ask(protocol.STATUS)
        return tuple(self._view(h, asked.get(h.replica)) for h in self._handles.values())

    def _view(self, handle: _Handle, plain: Any) -> ReplicaView:
        if plain is not None:
            status = protocol.status_from_plain(plain)
        else:
            status = self._left_behind(handle).status()
            if handle.halted:
                status = replace(status, halted=handle.trouble)
        return ReplicaView(
            handle.replica, handle.liveness, status, handle.was_leader, handle.trouble
        )

    def slots(self, replica: ReplicaId, slots: Sequence[Slot]) -> tuple[SlotStatus, ...]:
        """The state of these slots at one replica."""
        asked = self._ask(protocol.SLOTS, list(slots), only=replica)
        if replica in asked:
            return protocol.slots_from_plain(asked[replica])
        return self._left_behind(self._handles[replica]).slots(slots)

    def _ask(self, word: str, *arguments: Any, only: ReplicaId | None = None) -> dict[Any, Any]:
        """Ask every process that can answer, or one of them; answers by replica."""
        self._ticket += 1
        ticket = self._ticket
        asked = [
            h
            for h in self._handles.values()
            if h.control is not None
            and h.liveness in (Liveness.LIVE, Liveness.DISCONNECTED)
            and only in (None, h.replica)
        ]
        for handle in asked:
            assert handle.control is not None
            handle.control.send((word, ticket, *arguments))
            self._watch_writing(handle.control)
        self._await(
            lambda: all(ticket in h.answers or h.process is None for h in asked), "to answer"
        )
        return {h.replica: h.answers.pop(ticket) for h in asked if ticket in h.answers}

    def _left_behind(self, handle: _Handle) -> Replica:
        """A replica that cannot be asked, as its file says it is."""
        stored: Stored | None = None
        if self._config.durability != "memory":
            try:
                stored = read_copy(self._folder.file(handle.replica))
            except StorageError as error:
                handle.trouble = handle.trouble or str(error)
        return Replica(
            handle.replica,
            self.replicas,
            self._config.settings(),
            Random(0),
            self._config.balances(),
            stored,
        )

    def trace(self, replica: ReplicaId) -> tuple[Sequence[TraceLine], int]:
        """Messages of this set at one replica, and how many older ones were dropped."""
        handle = self._handles[replica]
        return tuple(handle.lines), handle.dropped

    def new_set(self) -> None:
        """Traces start afresh."""
        for handle in self._handles.values():
            handle.lines.clear()
            handle.dropped = 0


def _timestamps(stored: Stored) -> list[tuple[str, int]]:
    """Every client timestamp that a replica's file knows of."""
    found = [(request[0], request[1]) for _, _, request in stored.entries if request[2] != NOOP]
    if stored.checkpoint is not None:
        found += [(session[0], session[1]) for session in stored.checkpoint.sessions]
    return found
