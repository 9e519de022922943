"""A simulated world with clients, and the story of all that happens in it.

Clients are those of `harness.cluster.client`, all in one process: one link leads to them from each
replica. What replicas and clients do goes into the replicas' journals, and to whoever looks on.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from bank.ballot import Ballot, ReplicaId
from bank.messages import ClientRequest, Elected, Message, PeerDown, Reply
from bank.replica import CLIENT
from bank.sessions import Request
from harness.cluster import wire
from harness.cluster.client import Clients, ClientSend
from harness.cluster.history import Operation
from harness.cluster.journal import CLIENTS, Journal, Traces, Way, passed
from harness.cluster.wording import joined, peers_text, request_text, unreached_text
from harness.files.config import ClusterConfig
from harness.sim.columns import Happening, Sink, What
from harness.sim.process import Process
from harness.sim.wires import WiredWorld


class AskedWorld(WiredWorld):
    """See the module."""

    def __init__(self, config: ClusterConfig, sink: Sink | None, *arguments: Any) -> None:
        """`sink` gets every event."""
        super().__init__(*arguments)
        self.messages: Counter[str] = Counter()  # by label, each as often as somebody gets it
        self._config, self._sink = config, sink
        self.clients = Clients(config.accounts, config.nodes, config.client_timeout_ms * 1000)
        self._clients_due: int | None = None
        self._announced: dict[ReplicaId, Ballot] = {}  # by the last LEADER of each
        traced = config.trace_messages > 0
        self._journals = {r: Journal() for r in self.everyone} if traced else {}
        self._traces = Traces(self.everyone, config.trace_messages)

    # ---- what clients are told -----------------------------------------------------------------

    def announce(self, process: Process, elected: Elected) -> None:
        """A LEADER leaves for all clients."""
        self.checks.elected(process.id, elected.ballot)
        self.messages[elected.LABEL] += 1
        is_again = self._announced.get(process.id) == elected.ballot
        self.coverage["LEADER repeated"] += is_again
        self._announced[process.id] = elected.ballot
        self._tell_clients(process.id, elected)

    def reply(self, process: Process, reply: Reply) -> None:
        """A REPLY leaves for the clients."""
        for answer in reply.answers:
            self.checks.replied(process.id, answer)
        self._tell_clients(process.id, reply)

    def _tell_clients(self, replica: ReplicaId, message: Elected | Reply) -> None:
        arrives = self.post(replica, None, wire.encode(message))
        if self._journals or self._sink is not None:
            unreached = () if arrives else (CLIENT,)
            self.write_down(replica, Way.SENT, (CLIENT,), message, unreached)

    # ---- clients -------------------------------------------------------------------------------

    def submit(self, operation: Operation) -> None:
        """Queue an operation with its client."""
        self.clients.submit(operation)
        self._rouse_clients(self.time)

    def set_clients_running(self, running: bool) -> None:
        """Start or stop the clients' timers."""
        if running:
            self.clients.start()
            self._rouse_clients(self.time)
        else:
            self.clients.stop()

    def drop_pending(self) -> None:
        """Clients give up what has no answer."""
        self.clients.drop_pending(self.time)

    def _rouse_clients(self, when: int) -> None:
        if self._clients_due is None or when < self._clients_due:
            self._clients_due = when
            self.at(when, self._poll_clients)

    def _poll_clients(self) -> None:
        if self._clients_due != self.time:
            return  # roused earlier meanwhile
        self._clients_due = None
        self._ask(self.clients.poll(self.time))
        due = self.clients.deadline()
        if due is not None:
            self._rouse_clients(max(due, self.time))

    def _ask(self, sends: Sequence[ClientSend]) -> None:
        """Put requests on the queues, those for one replica as one message."""
        if not sends:
            return
        by_replica: dict[ReplicaId, list[Request]] = {}
        for to, request in sends:
            if len(to) > 1:
                self.coverage["request broadcast"] += 1
            for replica in to:
                by_replica.setdefault(replica, []).append(request)
        arrived: set[ReplicaId] = set()  # only asked, never iterated
        encoded, data = list[Request](), b""
        for replica in sorted(by_replica):
            if by_replica[replica] != encoded:  # what all are asked is encoded once
                encoded = by_replica[replica]
                data = wire.encode(ClientRequest(tuple(encoded)))
            if self._put(replica, data):
                arrived.add(replica)
        if self._sink is not None:
            for to, request in sends:
                lost = tuple(replica for replica in to if replica not in arrived)
                whom = peers_text(self._peers(to)) + unreached_text(lost, to)
                self.say(CLIENTS, joined(f"→{whom}", request_text(request)))

    def _put(self, replica: ReplicaId, data: bytes) -> int:
        """One message to one replica; returns how many copies of it arrive."""
        process = self.processes[replica]
        return self.post(CLIENTS, process, data) if process.alive else 0

    def heard(self, source: ReplicaId, item: bytes | PeerDown) -> None:
        """See WiredWorld."""
        if isinstance(item, PeerDown):
            self._ask(self.clients.lost(source, self.time))
            return
        reply = wire.decode_own(item)
        if isinstance(reply, Elected):
            self._hear_of_leader(source, reply)
            return
        assert isinstance(reply, Reply)
        answered = self.clients.take(reply, self.time)
        if answered:
            self._rouse_clients(self.time)
        for operation in answered:
            self.say(CLIENTS, f"{operation.request[0]}: {operation.result}, slot {operation.slot}")

    def _hear_of_leader(self, source: ReplicaId, elected: Elected) -> None:
        sends = self.clients.follow(elected, self.time)
        self.coverage["request sent at once to who was elected"] += len(sends)
        if sends:
            self._ask(sends)
        else:  # so that it need not say it again
            arrives = self._put(source, wire.encode(ClientRequest(())))
            whom = peers_text((source,)) + ("" if arrives else " ✗")
            self.say(CLIENTS, joined(f"→{whom}", "heard of the leader"))

    # ---- the story -----------------------------------------------------------------------------

    def write_down(
        self,
        replica: ReplicaId,
        way: Way,
        peers: tuple[ReplicaId, ...],
        message: Message,
        unreached: tuple[ReplicaId, ...] = (),
    ) -> None:
        """A message was read, sent, perhaps in vain, or befallen by a link fault."""
        if self._journals:
            journal = self._journals[replica]
            journal.passed(self.time, way, peers, message)
            if len(journal.entries) >= self._config.trace_messages:
                self._traces.add(replica, journal.take())
        if self._sink is not None:
            self.say(replica, passed(way, peers, message, unreached))

    def _peers(self, to: tuple[ReplicaId, ...]) -> tuple[ReplicaId, ...]:
        return () if len(to) >= len(self.everyone) - 1 else to

    def say(self, who: ReplicaId, what: What) -> None:
        """One event of the run's story; see `columns.Happening` for who it can be."""
        if self._sink is not None:
            self._sink(Happening(self.time, who, what))
