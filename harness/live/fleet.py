"""The processes of one cluster: started, connected, asked, failed, brought back and buried.

A replica is a Handle from start to stop, whatever happens to its process. Everything runs in one
thread of the harness: `pump` waits for the next thing to happen (a reply, a word on a control
queue, the kernel's notice of a death) and tells the listener.
"""

import contextlib
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from bank.ballot import ReplicaId, replica_name
from bank.status import Role
from harness.cluster import ctrl_c
from harness.cluster.journal import CAN_ANSWER, Entry, Liveness, LivenessChanged, to_plain
from harness.cluster.links import Links
from harness.cluster.nemesis import Heal, LinkFault
from harness.errors import EXIT_MACHINE, HarnessError
from harness.files.config import ClusterConfig
from harness.live import process, protocol, worker
from harness.live.ctrl_z import CtrlZ
from harness.live.handle import NEVER_LED, Handle, Listener, read_safely
from harness.live.hanging import Hanging
from harness.live.loads import LoadHandle
from harness.live.protocol import Gauges, Progress
from harness.live.queues import ControlEnd, Incoming, Outgoing, framed
from harness.live.spec import Disks, WorkerSpec
from harness.live.waiting import Waiter

WORDS_US = 3_000  # so long words wait while answers come, and as long again for the next answer
STOP_SECONDS = 1.0  # to end in good order, before SIGKILL


class Fleet:
    """See the module."""

    def __init__(
        self,
        config: ClusterConfig,
        disks: Disks,
        traced: bool,
        listener: Listener,
    ) -> None:
        """A fleet whose processes are not started yet."""
        self.handles = {r: Handle(r) for r in range(1, config.nodes + 1)}
        self.loads: list[LoadHandle] = []
        # Called before each wait with its end; says when to wake up at the latest.
        self.watch: Callable[[int], int] | None = None
        self._links = Links()
        self._config, self._balances = config, config.balances()
        self._disks = disks
        self._traced = traced
        self._listener = listener
        self._waiter = Waiter(stays_awake=False)  # for all that can happen
        self._hurried = Waiter(stays_awake=False)  # for answers and deaths
        self._words_due = 0  # when words are to be read, while answers come
        self._was_answered = False  # since words were read
        self._guard: process.Guard | None = None
        self._ctrl_z = CtrlZ(self.handles.values())
        self._ticket = 0
        self._failed = ""  # why a replica cannot write its file
        self._hanging = Hanging(self.handles, self.pump, self._on_death)

    def start(self, temporary_folder: str | None) -> None:
        """Start every replica and wait until all have recovered from their files."""
        with ctrl_c.afterwards():
            self._guard = process.Guard(temporary_folder)
            self._ctrl_z.listen()
        for replica in self.handles:
            self._start_replica(replica)
        self._await_ready(self.handles.values())

    def stop(self) -> None:
        """End every process, also when one leaves something that cannot be read. Idempotent."""
        with contextlib.ExitStack() as ends:  # the last comes first, and none is left out
            ends.callback(self._ctrl_z.leave)
            ends.callback(self._dismiss_guard)
            for load in reversed(self.loads):
                ends.callback(load.stop)
            for handle in self.handles.values():
                if handle.control is not None:
                    handle.control.send((protocol.STOP,))
            deadline = time.monotonic() + STOP_SECONDS
            for handle in reversed(self.handles.values()):
                ends.callback(self._end, handle, deadline)

    def _end(self, handle: Handle, deadline: float) -> None:
        if handle.process is None:
            return
        try:
            if handle.liveness is not Liveness.PAUSED:
                handle.process.join(max(0.0, deadline - time.monotonic()))
        finally:
            process.kill(handle.process)
            self._bury(handle)

    def _dismiss_guard(self) -> None:
        """Unless there is somebody left for it to kill."""
        if self._guard is not None and not any(h.process for h in self.handles.values()):
            self._guard.dismiss()
            self._guard = None

    def start_load(
        self, load: LoadHandle, target: Callable[[Any], None], spec: Callable[[Connection], Any]
    ) -> None:
        """Start a load process, after the replicas; `spec` makes what `target` is given."""
        load.start(target, spec, self._guard, self._waiter)

    @property
    def links(self) -> Links:
        """Their faults, as they are now."""
        return self._links

    def pids(self) -> dict[str, int]:
        """Process ids by name, of those that run."""
        named = [(f"n{h.replica}", h.process) for h in self.handles.values()]
        named += [(f"load {i}", load.process) for i, load in enumerate(self.loads)]
        return {name: p.pid for name, p in named if p is not None and p.pid is not None}

    # ---- starting ------------------------------------------------------------------------------

    @ctrl_c.afterwards()
    def _start_replica(self, replica: ReplicaId) -> None:
        """Start a process, with new queues to everybody who runs."""
        handle = self.handles[replica]
        handle.incarnation += 1
        peers: dict[ReplicaId, Any] = {}
        ours: list[Connection] = []  # ends that go to the new process; our copies are closed
        theirs: list[tuple[Handle, Any, Any]] = []
        for peer, other in self.handles.items():
            if peer == replica or other.process is None:
                continue
            to_new, from_peer = process.pipe()
            to_peer, from_new = process.pipe()
            peers[peer] = (other.incarnation, to_new, from_new)
            ours += [to_new, from_new]
            theirs.append((other, to_peer, from_peer))
        clients: list[tuple[Connection, Connection]] = []
        for load in self.loads:
            requests_in, requests_out = process.pipe()
            replies_in, replies_out = process.pipe()
            clients.append((requests_in, replies_out))
            ours += [requests_in, replies_out]
            load.connect(replica, replies_in, requests_out)
        requests_in, requests_out = process.pipe()
        replies_in, replies_out = process.pipe()
        control_ours, control_new = process.CONTEXT.Pipe(duplex=True)
        ours += [requests_in, replies_out, control_new]
        spec = WorkerSpec(
            replica=replica,
            replicas=self._config.nodes,
            incarnation=handle.incarnation,
            resumed=self._disks.resumed,
            settings=self._config.settings(),
            balances=self._balances,
            seed=0 if self._config.seed is None else self._config.seed,
            file=self._disks.files[replica],
            cluster=self._disks.cluster,
            lock=self._disks.lock,
            durability=self._config.durability,
            queue_limit=self._config.queue_buffer_kib * 1024,
            traced=self._traced,
            links=self._links.to_plain(),
            control=control_new,
            peers=peers,
            clients=[(requests_in, replies_out), *clients],
        )
        handle.process = process.start(worker.main, spec)
        if self._guard is not None:
            self._guard.add(handle.process)
        for other, reading, writing in theirs:
            assert other.control is not None
            message = (protocol.PEER, replica, handle.incarnation)
            other.control.send(message, (reading.fileno(), writing.fileno()))
            self._waiter.keep_writing(other.control)
            reading.close()
            writing.close()
        for end in ours:
            end.close()
        handle.control = ControlEnd(control_ours)
        handle.incoming = Incoming(replies_in)
        handle.outgoing = Outgoing(requests_out, self._config.queue_buffer_kib * 1024)
        handle.is_ready, handle.trouble, handle.was_leader = False, None, False
        handle.armed = handle.silence = None
        handle.halted = handle.ended_silently = False
        handle.confirmed = True  # a start is confirmed by READY
        handle.progress, handle.gauges = NEVER_LED, None
        handle.liveness = Liveness.LIVE
        self._watch(handle)

    def _watch(self, handle: Handle) -> None:
        assert handle.control and handle.incoming and handle.process
        self._waiter.on_readable(handle.control.fileno(), partial(self._read_control, handle))
        for waiter in (self._waiter, self._hurried):
            waiter.on_readable(handle.incoming.fileno(), partial(self._read_replies, handle))
            waiter.on_readable(handle.process.sentinel, partial(self._on_death, handle))

    def _await_ready(self, handles: Iterable[Handle]) -> None:
        """Wait until each is ready or refused; a refused one is left out, the others go on."""
        waiting = [h for h in handles if h.process is not None]
        self._hanging.await_each(waiting, lambda handle: handle.is_ready)

    def look_after(self) -> None:
        """Ask every replica for a word, unless it owes one, and end those that hang."""
        for handle in self.handles.values():
            if handle.silence is None and self.ask_gauges(handle.replica):
                self._hanging.listen_for(handle)
        self._hanging.end()

    # ---- the dead ------------------------------------------------------------------------------

    def _bury(self, handle: Handle) -> None:
        """A process is dead, and what it started dies: read what it left, give its queues back."""
        if handle.process is None:
            return
        try:
            self._hear_last_words(handle)
        finally:
            self._give_back(handle)

    def _hear_last_words(self, handle: Handle) -> None:
        assert handle.control and handle.incoming
        for value in read_safely(handle.control.drain):
            self._hear(handle, value)
        for plain in handle.incoming.drain():
            self._listener.on_reply(handle.replica, plain)

    def _give_back(self, handle: Handle) -> None:
        assert handle.process and handle.control and handle.incoming and handle.outgoing
        process.kill_group(handle.process)
        for end in (handle.control, handle.incoming, handle.outgoing):
            self._forget(end.fileno())
            end.close()
        self._forget(handle.process.sentinel)
        if self._guard is not None:
            self._guard.remove(handle.process)
        handle.process.close()
        handle.process = handle.control = handle.incoming = handle.outgoing = None
        handle.silence = None

    def _on_death(self, handle: Handle) -> None:
        """A process ended that nobody killed."""
        if handle.process is None:
            return
        handle.process.join()
        code = handle.process.exitcode
        self._bury(handle)
        handle.was_leader = handle.progress.role == Role.LEADER.value
        if code == -signal.SIGBUS:  # a file in memory that its disk cannot hold
            name = replica_name(handle.replica)
            self._failed = (
                self._failed or f"{name}: its process got SIGBUS: a disk is full or fails"
            )
        is_killed = process.is_killed_from_outside(code)
        if handle.trouble is None and is_killed and self._disks.files[handle.replica] is None:
            handle.trouble = f"its process {process.ending(code)}, and with "
            handle.trouble += "it what it promised, which durability memory keeps nowhere: "
            handle.trouble += "it stays down"
        if handle.trouble is None and is_killed:
            handle.liveness = Liveness.CRASHED  # it may come back like any crashed one
            if handle.armed is None or code != -signal.SIGKILL:
                handle.trouble = f"its process {process.ending(code)}"
        else:
            handle.liveness = Liveness.STOPPED
            if handle.trouble is None:
                handle.trouble = f"its process {process.ending(code)}"
                handle.ended_silently = True
        self._note_liveness(handle)
        self._listener.on_lost(handle.replica)

    # ---- the loop ------------------------------------------------------------------------------

    def pump(self, until: int, for_answers: bool = False) -> None:
        """Wait for the next thing to happen, at most until that time, and take all that did.

        Who waits `for_answers` need not wake for each word of each replica: while answers come,
        words are read every WORDS_US, after an answer, since replicas have new requests to do
        then. HarnessError with EXIT_MACHINE when a replica's disk does not take what it writes.
        """
        if self.watch is not None:
            until = self.watch(until)
        at = worker.now()
        if for_answers and at < self._words_due:
            self._hurried.sleep(max(0, min(until, self._words_due + WORDS_US) - at))
        else:
            self._waiter.sleep(max(0, until - at))
            self._words_due = worker.now() + WORDS_US if self._was_answered else 0
            self._was_answered = False
        if self._failed:
            raise HarnessError(self._failed, exit_code=EXIT_MACHINE)

    def send(self, replica: ReplicaId, data: bytes) -> None:
        """Put an encoded request on a replica's queue, if its process runs."""
        outgoing = self.handles[replica].outgoing
        if outgoing is not None:
            outgoing.send(framed(data))
            self._waiter.keep_writing(outgoing)

    def _forget(self, descriptor: int) -> None:
        for waiter in (self._waiter, self._hurried):
            waiter.forget(descriptor)

    def _read_replies(self, handle: Handle) -> None:
        incoming = handle.incoming
        if incoming is None:
            return
        self._was_answered = True
        for plain in read_safely(incoming.read):
            self._listener.on_reply(handle.replica, plain)
        if incoming.closed:
            self._forget(incoming.fileno())
            self._listener.on_lost(handle.replica)

    def _read_control(self, handle: Handle) -> None:
        control = handle.control
        if control is None:
            return
        values = read_safely(control.read)
        if not control.closed:  # a part of a long answer is a word, too: on a busy machine it takes
            handle.silence, handle.heard_at = None, worker.now()  # a turn for each
        for value in values:
            self._hear(handle, value)
        if control.closed:
            self._forget(control.fileno())

    def _hear(self, handle: Handle, value: Any) -> None:
        """One value from a replica's control queue."""
        word, *rest = value
        handle.silence, handle.heard_at = None, worker.now()
        match word:
            case protocol.TURN:
                handle.progress, handle.told_at = Progress(*rest[0]), rest[3]
                self._listener.on_turn(handle.replica, rest[1], rest[2])
            case protocol.READY:
                handle.is_ready = True
            case protocol.CONFIRMED:
                handle.confirmed = True
            case protocol.ANSWER:
                handle.answers[rest[0]] = rest[1]
            case protocol.GAUGES:
                handle.gauges = Gauges(*rest[0])
            case protocol.DAMAGED:
                self._replace_queue(handle, *rest)
            case protocol.HALTED | protocol.RAISED | protocol.REFUSED:
                handle.trouble, handle.halted = rest[0], word == protocol.HALTED
                handle.liveness = Liveness.STOPPED  # its process ends now, and answers nothing
            case protocol.HUNG:
                handle.trouble = f"{handle.trouble}, at {rest[0]}"
            case protocol.FAILED:
                handle.trouble = rest[0]
                self._failed = self._failed or f"{replica_name(handle.replica)}: {rest[0]}"

    def _replace_queue(self, reader: Handle, writer: ReplicaId, incarnation: int) -> None:
        """A new queue for a damaged one; to a writer that died, it ends at once, as it should."""
        other = self.handles[writer]
        if reader.control is None or other.incarnation != incarnation:
            return  # a start since then brought new queues
        reading, writing = process.pipe()
        reader.control.send((protocol.READING, writer), (reading.fileno(),))
        self._waiter.keep_writing(reader.control)
        if other.control is not None:
            other.control.send((protocol.WRITING, reader.replica), (writing.fileno(),))
            self._waiter.keep_writing(other.control)
        reading.close()
        writing.close()

    # ---- faults --------------------------------------------------------------------------------

    def change(
        self, failing: Sequence[ReplicaId], returning: Sequence[ReplicaId], mode: str
    ) -> tuple[ReplicaId, ...]:
        """Fail some in this mode and bring some back; returns who changed, once it is done."""
        for replica in failing:
            self._fail(self.handles[replica], mode)
        self._await_confirmed(failing)
        returned = [r for r in returning if self._recover(self.handles[r])]
        self._await_ready([self.handles[r] for r in returned])
        self._await_confirmed(returned)
        return (*failing, *returned)

    def _fail(self, handle: Handle, mode: str) -> None:
        assert handle.process is not None and handle.control is not None
        handle.was_leader = handle.progress.role == Role.LEADER.value
        handle.silence = None
        handle.confirmed = True  # by the kernel, unless the replica itself has to
        match mode:
            case "crash":
                process.kill(handle.process)
                self._bury(handle)
                handle.liveness = Liveness.CRASHED
                self._note_liveness(handle)
                self._listener.on_lost(handle.replica)
            case "pause":
                handle.liveness = Liveness.PAUSED  # first: Ctrl-Z may come in between
                process.pause(handle.process)
                self._note_liveness(handle)
            case _:
                handle.confirmed = False
                handle.control.send((protocol.DISCONNECT,))
                handle.liveness = Liveness.DISCONNECTED

    def _recover(self, handle: Handle) -> bool:
        """Bring a failed replica back; one that stopped itself stays away."""
        began, left = worker.now(), handle.liveness
        match left:
            case Liveness.CRASHED:
                self._start_replica(handle.replica)
            case Liveness.PAUSED:
                assert handle.process is not None and handle.control is not None
                handle.confirmed = False
                handle.control.send((protocol.RESUMED, self._links.to_plain()))
                handle.liveness = Liveness.LIVE  # first: Ctrl-Z may come in between
                process.resume(handle.process)
            case Liveness.DISCONNECTED:
                assert handle.control is not None
                handle.confirmed = False
                handle.control.send((protocol.RECONNECT,))
            case _:
                return False
        handle.liveness, handle.was_leader = Liveness.LIVE, False
        if left is not Liveness.DISCONNECTED:
            self._note_liveness(handle, began)
        return True

    def _note_liveness(self, handle: Handle, at: int | None = None) -> None:
        """A line of the trace that its replica cannot write; one that is cut off does so itself."""
        at = worker.now() if at is None else at
        entry = to_plain(Entry(at, LivenessChanged(handle.liveness)))
        self._listener.on_turn(handle.replica, [], [entry])

    def _await_confirmed(self, replicas: Sequence[ReplicaId]) -> None:
        """Until each of these said that it did what it was told last."""
        handles = [self.handles[r] for r in replicas]
        self._hanging.await_each(handles, lambda handle: handle.confirmed)

    def put_on_links(self, fault: LinkFault | Heal) -> None:
        """Have every replica that can hear it obey; a stopped one is told when it goes on."""
        self._links.apply(fault)
        self.ask(protocol.LINKS, self._links.to_plain())

    def arm(self, replica: ReplicaId, point: str | None) -> bool:
        """Have a replica die at this kill point; False when it cannot be told."""
        handle = self.handles[replica]
        handle.armed = point or handle.armed  # until it has heard that it is not to die
        told = bool(self.ask(protocol.ARM, point, only=replica))
        handle.armed = point
        return told

    def tell(self, replica: ReplicaId, value: tuple[Any, ...]) -> None:
        """Put a word on the control queue of a replica, if it is live."""
        handle = self.handles[replica]
        if handle.liveness is Liveness.LIVE and handle.control is not None:
            handle.control.send(value)
            self._waiter.keep_writing(handle.control)

    def ask_gauges(self, replica: ReplicaId) -> bool:
        """Ask a replica how it is and wait for nothing; False when it cannot be asked."""
        handle = self.handles[replica]
        if handle.control is None or handle.liveness not in CAN_ANSWER:
            return False
        handle.control.send((protocol.GAUGES,))
        self._waiter.keep_writing(handle.control)
        return True

    def ask(self, word: str, *arguments: Any, only: ReplicaId | None = None) -> dict[Any, Any]:
        """Ask every process that can answer, or one of them; answers by replica."""
        self._ticket += 1
        ticket = self._ticket
        asked = [
            h
            for h in self.handles.values()
            if h.control is not None and h.liveness in CAN_ANSWER and only in (None, h.replica)
        ]
        for handle in asked:
            assert handle.control is not None
            handle.control.send((word, ticket, *arguments))
            self._waiter.keep_writing(handle.control)
        self._hanging.await_each(asked, lambda handle: ticket in handle.answers)
        return {h.replica: h.answers.pop(ticket) for h in asked if ticket in h.answers}
