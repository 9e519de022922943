"""A Cluster of real processes: see `harness.cluster.driver.Cluster` for what it promises.

The fleet owns the processes; here are the clients with their timers, what replicas said that they
executed and handled, the data folder, and the states of those that cannot be asked.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from bank.ballot import NO_BALLOT, ReplicaId, Slot, replica_name
from bank.effects import Stored
from bank.ledger import NOOP
from bank.messages import ClientRequest, Elected, Reply
from bank.quorum import quorum_size
from bank.replica import Replica
from bank.sessions import Request
from bank.status import ReplicaStatus, Role, SlotMark, SlotStatus
from harness.cluster import blame, wire
from harness.cluster.client import Client, Clients, ClientSend
from harness.cluster.driver import CommitLog, OwnReplicas, ReplicaView
from harness.cluster.form import checked
from harness.cluster.history import Operation
from harness.cluster.journal import Liveness, Traces
from harness.cluster.nemesis import Fault, Heal, KillAt, LinkFault, change
from harness.errors import EXIT_MACHINE, HarnessError
from harness.files.config import ClusterConfig
from harness.live import protocol, worker
from harness.live.fleet import Fleet
from harness.live.folder import DataFolder
from harness.live.handle import Handle
from harness.live.resumed import committed_before
from harness.live.spec import Disks
from harness.live.storage import (
    DiskError,
    Owner,
    StorageError,
    check_sound,
    read_copy,
    read_verified,
)

Answer = TypeVar("Answer")


class LiveCluster(OwnReplicas):
    """See the module."""

    def __init__(self, config: ClusterConfig, data: Path | None = None) -> None:
        """`data` keeps the databases there; HarnessError when that folder does not fit."""
        self.replicas = config.nodes
        self.committed = CommitLog()
        self._config, self._balances = config, config.balances()
        self._folder = DataFolder(config, data)
        self._folder_changed = False
        replicas = range(1, config.nodes + 1)
        keeps = config.durability != "memory"
        files = {r: self._folder.file(r) if keeps else None for r in replicas}
        disks = Disks(files, self._folder.cluster, self._folder.is_resumed, self._folder.lock)
        self.fleet = Fleet(config, disks, traced=True, listener=self)
        self._traces = Traces(replicas, config.trace_messages)
        self.clients = Clients(
            config.accounts, config.nodes, config.client_timeout_ms * 1000, self._note_client
        )
        if self._folder.is_resumed:
            self._resume_clients()

    # ---- life ----------------------------------------------------------------------------------

    def now(self) -> int:
        """Microseconds of the machine's monotonic clock."""
        return worker.now()

    def start(self) -> None:
        """Start every replica and wait until all have recovered."""
        self.fleet.start(str(self._folder.path) if self._folder.is_temporary else None)
        if self.committed.base is not None:
            self._catch_up(self.committed.base.slot)

    def _catch_up(self, base: Slot) -> None:
        """Whoever an earlier run left below the base is brought there before anything fails.

        The disks do not tell any more what led to it, so nobody could judge a replica that is cut
        off below. It asked all others as it began; a leader tells it if that came too early.
        Without a quorum, or in vain, it stays as it is.
        """

        def live() -> list[Handle]:
            return [h for h in self.fleet.handles.values() if h.liveness is Liveness.LIVE]

        def is_there() -> bool:
            return all(handle.progress.executed_upto >= base for handle in live())

        if not self.run_until(is_there, self._config.client_timeout_ms * 1000):
            self.seek_leader()
            if len(live()) >= quorum_size(self.replicas):
                self.run_until(is_there, self._config.progress_ms * 1000)

    def stop(self) -> None:
        """End every process and remove temporary data. Idempotent."""
        try:
            self.fleet.stop()
            with contextlib.suppress(HarnessError):  # what was answered since is a note, not a need
                self._write_folder()
        finally:
            self._folder.close()

    def on_reply(self, replica: ReplicaId, plain: Any) -> None:
        """A REPLY or a LEADER arrived: hand it to the clients."""
        message = wire.from_plain(plain)
        if isinstance(message, Elected):
            if message.ballot.replica != replica:
                said = f"{replica_name(replica)} says that it leads {message.ballot}"
                if said not in self.committed.contradictions:  # it says so at every heartbeat
                    self.committed.contradictions.append(said)
            sends = self.clients.follow(message, self.now())
            if sends:
                self._send(sends)
            else:  # so that it need not say it again
                self.fleet.send(replica, wire.encode(ClientRequest(())))
            return
        assert isinstance(message, Reply)
        for operation in self.clients.take(message, self.now()):
            name, timestamp = operation.request[:2]
            self._folder.note_client(name, timestamp, None)
            self._folder_changed = True

    def on_turn(self, replica: ReplicaId, executed: list[Any], entries: list[Any]) -> None:
        """A replica executed slots or handled messages: keep both."""
        for first_slot, requests, results in executed:
            self.committed.add(replica, first_slot, zip(requests, results, strict=True))
        self._traces.add(replica, entries)

    def on_lost(self, replica: ReplicaId) -> None:
        """A replica's process died: who believed in it asks everyone at once."""
        self._send(self.clients.lost(replica, self.now()))

    # ---- clients -------------------------------------------------------------------------------

    def submit(self, operation: Operation) -> None:
        """Queue an operation with its client."""
        self.clients.submit(operation)

    def set_clients_running(self, running: bool) -> None:
        """Start or stop the clients' timers."""
        if running:
            self.clients.start()
        else:
            self.clients.stop()

    def drop_pending(self) -> None:
        """Clients give up what has no answer, and a run that goes on from these data, too."""
        for operation in self.clients.drop_pending(self.now()):
            client = self.clients.by_name[operation.request[0]]
            self._folder.note_client(client.name, client.timestamp, None)
            self._folder_changed = True

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
        found: dict[ReplicaId, Stored] = {}
        for replica in self.fleet.handles:
            owner = Owner(replica_name(replica), self._folder.cluster)
            try:
                found[replica] = read_verified(
                    self._folder.file(replica), owner, self._balances.accounts
                )
            except DiskError as error:
                raise _of_machine(replica, error) from error
            except StorageError:
                continue  # refused when its process starts
        for stored in found.values():
            for name, timestamp in _timestamps(stored):
                highest[name] = max(timestamp, highest.get(name, 0))
        self.committed = committed_before(found, self._balances)
        for name, client in self.clients.by_name.items():
            noted = self._folder.clients.get(name, {"timestamp": 0, "pending": None})
            client.timestamp = max(highest.get(name, 0), noted["timestamp"])
            if noted["pending"] is not None:
                _, timestamp, kind, sender, receiver, amount = noted["pending"]
                request: Request = (name, timestamp, kind, sender, receiver, amount)
                self.clients.submit(Operation(request, set_number=0, invoked_at=self.now()))

    def _send(self, sends: Sequence[ClientSend]) -> None:
        """Put requests on the queues, those for one replica as one message."""
        if not sends:
            return
        self._write_folder()
        by_replica: dict[ReplicaId, list[Request]] = {}
        for to, request in sends:
            for replica in to:
                by_replica.setdefault(replica, []).append(request)
        for replica, requests in by_replica.items():
            self.fleet.send(replica, wire.encode(ClientRequest(tuple(requests))))

    # ---- the loop ------------------------------------------------------------------------------

    def run_until(self, condition: Callable[[], bool], timeout: int) -> bool:
        """Let the cluster work until `condition()` holds, at most `timeout` microseconds."""
        deadline = self.now() + timeout
        while True:
            self._send(self.clients.poll(self.now()))
            if condition():
                return True
            if self.now() >= deadline:
                self.fleet.look_after()
                return False
            due = self.clients.deadline()
            until = deadline if due is None else min(deadline, due)
            self.fleet.pump(until, for_answers=self.clients.unanswered > 0)

    # ---- faults --------------------------------------------------------------------------------

    def apply(self, fault: Fault) -> tuple[ReplicaId, ...]:
        """Do this fault and wait until it is done; returns the replicas that changed."""
        match fault:
            case KillAt(replica, point):
                return (replica,) if self.fleet.arm(replica, point) else ()
            case LinkFault() | Heal():
                self.fleet.put_on_links(fault)
                return ()
            case _:
                is_live = {r: h.liveness is Liveness.LIVE for r, h in self.fleet.handles.items()}
                return self.fleet.change(*change(fault, is_live, self.leader, self._config.failure))

    def seek_leader(self) -> None:
        """Ask every live replica to see to it that there is a leader."""
        for replica in self.fleet.handles:
            self.fleet.tell(replica, (protocol.SEEK,))

    # ---- looking -------------------------------------------------------------------------------

    def liveness(self, replica: ReplicaId) -> Liveness:
        """Whether this replica takes part."""
        return self.fleet.handles[replica].liveness

    def trouble(self, replica: ReplicaId) -> str | None:
        """Why this replica is not live although no fault was done to it."""
        return self.fleet.handles[replica].trouble

    def leader(self) -> ReplicaId | None:
        """The live replica in role leader with the highest ballot that a quorum answers."""
        leaders = [
            (h.progress.ballot, h.replica)
            for h in self.fleet.handles.values()
            if h.liveness is Liveness.LIVE
            and h.progress.role == Role.LEADER.value
            and h.progress.answered
        ]
        return max(leaders)[1] if leaders else None

    def role(self, replica: ReplicaId) -> Role:
        """What this replica said last of its role."""
        return Role(self.fleet.handles[replica].progress.role)

    def executed_upto(self, replica: ReplicaId) -> Slot:
        """What this replica said last."""
        return self.fleet.handles[replica].progress.executed_upto

    def views(self) -> tuple[ReplicaView, ...]:
        """Every replica's state as of now; failed ones as they were left."""
        asked = self.fleet.ask(protocol.STATUS)
        return tuple(self._view(h, asked.get(h.replica)) for h in self.fleet.handles.values())

    def _view(self, handle: Handle, plain: Any) -> ReplicaView:
        if plain is not None:
            status = protocol.status_from_plain(plain, self._balances.accounts)
        else:
            stored = self._stored(handle)
            status = self._left_behind(handle, stored, lambda r: r.status()) or _bare(
                handle.replica, stored, self._balances
            )
            if handle.halted:
                status = replace(status, halted=handle.trouble)
        return ReplicaView(
            handle.replica, handle.liveness, status, handle.was_leader, handle.trouble
        )

    def slots(self, replica: ReplicaId, slots: Sequence[Slot]) -> tuple[SlotStatus, ...]:
        """The state of these slots at one replica."""
        asked = self.fleet.ask(protocol.SLOTS, list(slots), only=replica)
        if replica in asked:
            return protocol.slots_from_plain(asked[replica])
        handle = self.fleet.handles[replica]
        stored = self._stored(handle)
        found = self._left_behind(handle, stored, lambda replica: replica.slots(slots))
        return found or tuple(SlotStatus(slot, SlotMark.NONE, None, None) for slot in slots)

    def on_disk(self, replica: ReplicaId) -> Stored | None:
        """What a dead or stopped replica's file says; None when it cannot be read."""
        try:
            return read_copy(self._folder.file(replica), self._balances.accounts)
        except StorageError:
            return None

    def _stored(self, handle: Handle) -> Stored | None:
        """What the file of a replica that cannot be asked says."""
        if self._config.durability == "memory":
            return None
        try:
            stored = read_copy(self._folder.file(handle.replica), self._balances.accounts)
            check_sound(stored)
        except DiskError as error:
            raise _of_machine(handle.replica, error) from error
        except (StorageError, ValueError) as error:
            handle.trouble = handle.trouble or str(error)
            return None
        return stored

    def _left_behind(
        self, handle: Handle, stored: Stored | None, question: Callable[[Replica], Answer]
    ) -> Answer | None:
        """What a replica that cannot be asked would answer, by its file.

        None when its code cannot even do that: it raises, or ended or held up its own process.
        """
        if handle.ended_silently:
            return None
        try:
            return question(
                checked(Replica)(
                    handle.replica,
                    self.replicas,
                    self._config.settings(),
                    Random(0),
                    self._balances,
                    stored,
                )
            )
        except (Exception, SystemExit) as error:
            handle.trouble = handle.trouble or blame.told(error)
            return None

    def traces(self) -> Traces:
        """The journals of all replicas, with what is kept of earlier sets."""
        return self._traces

    def new_set(self) -> None:
        """Traces start afresh; what replicas told since the last one is taken first."""
        self.fleet.pump(self.now())
        self._traces.new_set(self.now())


def _of_machine(replica: ReplicaId, error: DiskError) -> HarnessError:
    return HarnessError(f"{replica_name(replica)}: {error}", exit_code=EXIT_MACHINE)


def _bare(replica: ReplicaId, stored: Stored | None, balances: Mapping[str, int]) -> ReplicaStatus:
    """A replica as its file says, with none of its code: the state is that of its checkpoint."""
    held = stored or Stored(NO_BALLOT, 0, (), 0, 0, None)
    checkpoint = held.checkpoint
    slot = 0 if checkpoint is None else checkpoint.slot
    return ReplicaStatus(
        replica=replica,
        role=Role.FOLLOWER,
        promised=held.promised,
        following=NO_BALLOT,
        answered=False,
        committed_upto=max(slot, held.committed_upto),
        executed_upto=slot,
        truncated_upto=held.truncated_upto,
        last_slot=max((entry[0] for entry in held.entries), default=slot),
        checkpoint=slot,
        digest="" if checkpoint is None else checkpoint.digest,
        running_hash="" if checkpoint is None else checkpoint.running_hash,
        balances=balances if checkpoint is None else checkpoint.balances,
        sessions=() if checkpoint is None else checkpoint.sessions,
        halted=None,
    )


def _timestamps(stored: Stored) -> list[tuple[str, int]]:
    """Every client timestamp that a replica's file knows of."""
    found = [(request[0], request[1]) for _, _, request in stored.entries if request[2] != NOOP]
    if stored.checkpoint is not None:
        found += [(session[0], session[1]) for session in stored.checkpoint.sessions]
    return found
