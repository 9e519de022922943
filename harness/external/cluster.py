"""A Cluster of other people's replicas: see `harness.cluster.driver.Cluster` for what it promises.

The fleet owns their processes and the router their messages; here are the clients with their
timers, the faults, and what replicas tell when they are asked. What they do not tell is `untold`.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bank.ballot import Ballot, ReplicaId, Slot
from bank.events import Leads
from bank.ledger import READ
from bank.status import Role, SlotStatus
from harness.cluster.driver import CommitLog, ReplicaView
from harness.cluster.history import Operation
from harness.cluster.journal import Entry, Liveness, LivenessChanged, Traces
from harness.cluster.nemesis import Fault, Heal
from harness.errors import EXIT_USAGE, HarnessError
from harness.external import diagram, told
from harness.external.asking import ASK_US, Asking
from harness.external.caretaker import Caretaker
from harness.external.clients import ALL_CLIENTS, Clients, Sent, read_replica
from harness.external.description import Description
from harness.external.faults import Faults
from harness.external.fits import why_not
from harness.external.fleet import Fleet, Handle
from harness.external.last_words import ends_of, indented
from harness.external.looking import Looking
from harness.external.router import HARNESS, Node
from harness.external.services import ABSENT, LIN_KV, LinKvService, absent
from harness.external.speaking import dialect
from harness.external.ways import medium
from harness.files import outputs
from harness.files.config import ClusterConfig
from harness.files.temporary import TemporaryFolder
from harness.live.waiting import Waiter

LOOK_US = 5_000  # between two looks at a condition while nothing happens
IDLE_US = 500_000  # between two looks at what replicas do while nobody drives
PROBE_US = 300_000  # the same before the first set: only a refusal is of interest


class ExternalCluster:
    """See the module."""

    is_external = True

    def __init__(
        self,
        description: Description,
        config: ClusterConfig,
        data: Path | None = None,
        logs: Path | None = None,
        with_reads: bool = False,
    ) -> None:
        """`data` keeps the replicas' folders, `logs` what they write to standard error."""
        if data is not None and outputs.holds_anything("--data", data):
            raise HarnessError(
                f"--data: {data}: is not empty: what other people's replicas did in an earlier run "
                "is not known any more, expected an empty folder"
            )
        self._created = outputs.check_folder("--data", data)
        self.replicas = config.nodes
        self.committed = CommitLog()
        self.description = description
        self._config = config
        self._temporary = TemporaryFolder()
        self.logs = logs or self._temporary.path
        self._saved_logs: dict[str, bytes] = {}  # of a stopped cluster, while nobody kept them
        self._with_reads = with_reads
        self._waiter = Waiter(stays_awake=False)
        self._dialect = dialect(description.speaks, config.balances())
        self.router = medium(
            description, config, self._waiter, self.logs,
            self._on_client, self._on_end, self._on_passed_on,
        )  # fmt: skip
        self.fleet = Fleet(
            description, config, self._waiter, self.router, data or self._temporary.path,
            self.logs, data is not None, self._pump, self._on_change,
        )  # fmt: skip
        self.clients = Clients(
            config.accounts,
            config.nodes,
            config.client_timeout_ms * 1000,
            self._dialect,
            description.retry,
            self.router.remarks,
            self.router.votes,
        )
        self.clients.on_unsupported = self._on_unsupported
        self.router.clients.update((*self.clients.labels, ALL_CLIENTS))
        self.router.services = {LIN_KV: LinKvService(), **dict.fromkeys(ABSENT, absent)}
        self.asking = Asking(
            self.fleet.handles, self.router, config.accounts, self._dialect.tells_state,
            self._pump, self.now,
        )  # fmt: skip
        self._traces = Traces(self.fleet.handles, config.trace_messages)
        self.faults = Faults(
            self.fleet,
            self.router,
            self.asking,
            config.failure,
            self.leader,
            self._on_lead,
        )
        self.looking = Looking(self.fleet.handles, self.asking, self.faults.links)
        self._flushed = 0  # records that are in the traces
        self._terms = 0  # how often another one led
        self._news = False  # something happened that a condition may ask for
        self._driven_us = 0  # for how long sets ran
        self._unsupported: dict[str, ReplicaId] = {}  # what was asked, who knows it not
        self._caretaker: Caretaker | None = None
        self._is_stopped = False

    # ---- life ----------------------------------------------------------------------------------

    def now(self) -> int:
        """Microseconds of the machine's monotonic clock."""
        return Fleet.now()

    def start(self) -> None:
        """Build and start every replica and wait until all answered `init`."""
        self.fleet.start()
        self._caretaker = Caretaker(self._waiter, self._idle)
        answers_reads = True
        if self._with_reads or "read" in self.description.require:
            answers_reads = self.answers_reads()
        if self._with_reads and not answers_reads:
            if self.router.can(READ) is False:
                told = f"{self.description.source}: the shim knows no reads, "
                raise HarnessError(f"{told}expected a file without reads", exit_code=EXIT_USAGE)
            lacks = [h.name for h in self.fleet.handles.values() if not h.knowledge.tells.get(READ)]
            told = f"{self.description.source}: {lacks[0]} answers no reads (error 10), "
            raise HarnessError(f"{told}expected a file without reads", exit_code=EXIT_USAGE)

    def stop(self) -> None:
        """End every process and remove temporary data. Idempotent."""
        if self._is_stopped:
            return
        self._is_stopped = True
        if self._caretaker is not None:
            self._caretaker.end()
        self._flush_records()
        try:
            self.fleet.bury_all()
            if self.logs == self._temporary.path:
                self._saved_logs = ends_of(self.logs.glob("*.log"))
            self.fleet.stop()
        finally:
            self._temporary.close()
            outputs.forget(
                [*(handle.data for handle in self.fleet.handles.values()), *self._created]
            )

    def keep_logs(self) -> Path:
        """The folder with what they wrote to standard error; of long logs, the end."""
        if self._saved_logs:
            self.logs = Path(tempfile.mkdtemp(prefix="paxbank-logs-"))
            for name, data in self._saved_logs.items():
                (self.logs / name).write_bytes(data)
            self._saved_logs = {}
        return self.logs

    @contextmanager
    def _driving(self) -> Iterator[None]:
        """The one thread that drives is this one."""
        if self._caretaker is None:
            yield
            return
        with self._caretaker.away():
            yield

    def _idle(self) -> None:
        self._pump(self.now() + IDLE_US)
        self.fleet.look_after()

    def _pump(self, until: int) -> None:
        """Let things happen, at most until that time; returns after something did."""
        router = self.router
        router.flush()
        due = router.deadline()
        until = until if due is None else min(until, due)
        if self.looking.watch is not None:
            until = self.looking.watch(until)
        self._waiter.wait(max(0, until - self.now()))
        router.release(self.now())
        router.flush()

    def _on_end(self, node: Node) -> None:
        self.fleet.on_output_end(self.fleet.handles[node.number])

    def _on_change(self, handle: Handle) -> None:
        """It failed, stopped or returned."""
        self._news = True
        self._flush_records()
        self._traces.add(handle.replica, [Entry(self.now(), LivenessChanged(handle.liveness))])
        if handle.liveness is Liveness.STOPPED:
            self.faults.note_end(handle)
        if handle.liveness in (Liveness.CRASHED, Liveness.STOPPED):
            self.clients.lost(handle.replica, self.now())

    def _on_passed_on(self, label: str, request: dict[str, Any], to: ReplicaId) -> None:
        """A replica passed a request on to another one, which may answer it then."""
        if label == HARNESS:
            self.asking.passed_on(request, to)
        else:
            self.clients.passed_on(label, request, to)

    def _on_client(self, node: Node, label: str, body: dict[str, Any], at: int) -> None:
        """A replica sent this to a client, or to the harness."""
        if label == HARNESS:
            self._on_harness(self.fleet.handles[node.number], body)
        else:
            named = self.clients.last_named
            if label == ALL_CLIENTS:
                self._send(self.clients.follow(node.number, body, at), at)
            else:
                self._send(self.clients.take(node.number, label, body, at), at)
            if self.clients.last_named != named:
                self.faults.see_leader()
        self._news = True

    def _on_lead(self, replica: ReplicaId) -> None:
        """Another one leads, as far as anybody says."""
        self._terms += 1
        state = self.fleet.handles[replica].knowledge.state
        ballot = state.ballot if state.role is Role.LEADER and state.ballot else None
        led = Leads(ballot or Ballot(self._terms, replica))
        self._flush_records()
        self._traces.add(replica, [Entry(self.now(), led)])

    def _on_harness(self, handle: Handle, body: dict[str, Any]) -> None:
        if body.get("type") == "init_ok":
            self.fleet.on_init_ok(handle)
        elif body.get("type") == "error" and not handle.node.is_ready:
            self.fleet.on_init_error(handle, body)
        else:
            self.asking.heard(handle, body)

    def _on_unsupported(self, replica: ReplicaId, asked: str) -> None:
        self._unsupported.setdefault(asked, replica)

    # ---- clients -------------------------------------------------------------------------------

    def submit(self, operation: Operation) -> None:
        """Queue an operation with its client."""
        with self._driving():
            self.clients.submit(operation)

    def set_clients_running(self, running: bool) -> None:
        """Start or stop the clients' timers."""
        with self._driving():
            if running:
                self.clients.start()
            else:
                self.clients.stop()

    def pending(self) -> list[Operation]:
        """Operations without an answer."""
        return self.clients.pending()

    def drop_pending(self) -> None:
        """Clients give up what has no answer."""
        with self._driving():
            self.clients.drop_pending(self.now())

    def unanswered(self) -> int:
        """How many `pending` are."""
        return self.clients.unanswered

    def answered_upto(self) -> Slot:
        """The highest slot that an answer spoke of."""
        return self.clients.answered_upto

    def _send(self, sends: Iterable[Sent], at: int) -> None:
        for label, to, body in sends:
            self.router.send(label, self.router.nodes[to], body, at)

    def answers_reads(self) -> bool:
        """Nobody says that it knows no reads; what is asked is older than any client's request."""
        if not self._dialect.tells_state:
            return True
        if (said := self.router.can(READ)) is not None:
            return said
        account = self._config.accounts[0]
        body = {"type": READ, "client": account, "timestamp": 0, "account": account}
        handles = self.fleet.handles.values()
        self.ask(body, handles, PROBE_US)
        return all(handle.knowledge.tells.get(READ, True) for handle in handles)

    def may_read_all(self) -> bool:
        """A majority is there to answer reads, and nobody says that it knows none."""
        live = [r for r in self.fleet.handles if self.faults.is_live(r)]
        return self.faults.links.has_whole_quorum(live, self.replicas) and self.answers_reads()

    def do_now(self, operations: Sequence[Operation]) -> None:
        """Have clients that wait for nothing do these; what is not answered soon is given up."""
        with self._driving():
            for operation in operations:
                self.clients.submit(operation)
            self.clients.start_idle()
            patience = self._config.patience_ms * 1000
            self.run_until(lambda: all(o.is_answered for o in operations), patience)
            self.clients.stop()
            for operation in operations:
                if not operation.is_answered:
                    self.clients.drop(operation)

    def ask_logs(self, handles: Iterable[Handle], patience: int) -> None:
        """Have each tell its log."""
        with self._driving():
            self.asking.logs(handles, patience)

    def ask(
        self, body: dict[str, Any], whom: Iterable[Handle], patience: int
    ) -> dict[Handle, dict[str, Any]]:
        """Ask each of these as the harness itself; the answers that came in time."""
        with self._driving():
            return self.asking.ask(body, whom, patience)

    # ---- the loop ------------------------------------------------------------------------------

    def run_until(self, condition: Callable[[], bool], timeout: int) -> bool:
        """Let the cluster work until `condition()` holds, at most `timeout` microseconds."""
        with self._driving():
            began = self.now()
            try:
                return self._run_until(condition, began + timeout)
            finally:
                self._driven_us += self.now() - began
                if self._driven_us > self.description.limits["wall_seconds"] * 1_000_000:
                    most = self.description.limits["wall_seconds"]
                    self.fleet.stop_all(f"takes more than its limits: {most} s of a run")

    def _run_until(self, condition: Callable[[], bool], deadline: int) -> bool:
        clients, look_at = self.clients, 0
        while True:
            now = self.now()
            self._send(clients.poll(now), now)
            if self._news or now >= look_at:
                self._news, look_at = False, now + LOOK_US
                self.fleet.look_after()
                if condition():
                    return True
            if now >= deadline:
                return False
            due = clients.deadline()
            until = min(deadline, look_at)
            self._pump(until if due is None else min(until, due))

    # ---- faults --------------------------------------------------------------------------------

    def apply(self, fault: Fault) -> tuple[ReplicaId, ...]:
        """Do this fault and wait until it is done; returns the replicas that changed."""
        if not isinstance(fault, Heal) and (why := why_not(self.description.links, fault)):
            raise HarnessError(why)
        with self._driving():
            self._ask_leader()
            return self.faults.apply(fault)

    def _ask_leader(self) -> None:
        """Of whoever is no replica and knows one."""
        named = self.router.leader(self._pump, self.now, ASK_US)
        if (replica := read_replica(named, self.replicas)) is not None:
            self.clients.last_named, self.clients.named_at = replica, self.now()

    def seek_leader(self) -> None:
        """Nothing: nobody can ask other people's replicas to elect."""

    # ---- looking -------------------------------------------------------------------------------

    def is_settled(
        self, replicas: Sequence[ReplicaId], upto: Slot, for_leader: bool = False
    ) -> bool:
        """These replicas say that they executed the same, or `settle_ms` are over."""
        since = max(self.clients.last_answer_at, self.faults.done_at)
        if self.now() - since >= self.description.settle_ms * 1000:
            return True
        return self.asking.is_equal(replicas, upto, since, for_leader)

    def liveness(self, replica: ReplicaId) -> Liveness:
        """Whether this replica takes part."""
        return self.fleet.handles[replica].liveness

    def trouble(self, replica: ReplicaId) -> str | None:
        """Why this replica is not live although no fault was done to it."""
        return self.fleet.handles[replica].trouble

    def leader(self) -> ReplicaId | None:
        """By role and ballot where they are told, else whom answers named, else who answered."""
        named, handles = self.clients.last_named, self.fleet.handles.values()
        leaders = [
            (h.knowledge.state.ballot or (0, 0), h.replica)
            for h in handles
            if h.liveness is Liveness.LIVE and h.knowledge.state.role is Role.LEADER
        ]
        told_at = max((h.knowledge.told_at for h in handles), default=0)
        if named is not None and self.faults.is_live(named) and self.clients.named_at > told_at:
            return named  # that is newer than what was told
        if leaders:
            return max(leaders)[1]
        for replica in (named, self.clients.last_answered):
            if (
                replica is not None
                and self.faults.is_live(replica)
                and not self._tells_role(replica)
            ):
                return replica
        return None

    def _tells_role(self, replica: ReplicaId) -> bool:
        return self.fleet.handles[replica].knowledge.state.role is not None

    def role(self, replica: ReplicaId) -> Role:
        """What this replica said last of its role."""
        return self.fleet.handles[replica].knowledge.state.role or Role.FOLLOWER

    def executed_upto(self, replica: ReplicaId) -> Slot:
        """What this replica said last; 0 for one that does not say."""
        return self.fleet.handles[replica].knowledge.state.executed or 0

    def views(self) -> tuple[ReplicaView, ...]:
        """Every replica's state as of now, as far as it tells it; failed ones as they were left."""
        with self._driving():
            self.asking.states(self.fleet.handles.values(), ASK_US)
            self._ask_leader()
            self.faults.see_leader()
        return tuple(map(self._view, self.fleet.handles.values()))

    def _view(self, handle: Handle) -> ReplicaView:
        status, untold = told.status_of(handle.replica, handle.knowledge, self._config.balances())
        return ReplicaView(
            handle.replica, handle.liveness, status, handle.was_leader, handle.trouble, untold
        )

    def slots(self, replica: ReplicaId, slots: Sequence[Slot]) -> tuple[SlotStatus, ...]:
        """The state of these slots at one replica, by the log that it tells."""
        with self._driving():
            self.asking.logs([self.fleet.handles[replica]], ASK_US)
        knowledge = self.fleet.handles[replica].knowledge
        return tuple(told.slot_status(knowledge, slot) for slot in slots)

    def _flush_records(self) -> None:
        """What the router kept becomes part of the traces."""
        self._flushed = diagram.flush(self.router, self._flushed, self._traces)

    def traces(self) -> Traces:
        """The journals of all replicas, with what is kept of earlier sets."""
        with self._driving():
            self._flush_records()
        return self._traces

    def new_set(self) -> None:
        """Traces start afresh."""
        with self._driving():
            self._pump(self.now())
            self._flush_records()
            self._traces.new_set(self.now())
            self.asking.set_number += 1

    # ---- what only other people's replicas have --------------------------------------------------

    def coverage(self) -> str:
        """What the faults of this run covered, in words."""
        return self.faults.coverage()

    def told_views(self) -> list[told.View]:
        """How leaders began, by everybody who can be asked and tells it."""
        answers = self.ask({"type": "views"}, self.fleet.handles.values(), ASK_US)
        found = (told.read_views(h.replica, body, self.replicas) for h, body in answers.items())
        return [view for views in found for view in views]

    def contradictions(self) -> Sequence[str]:
        """What answers put side by side say that cannot be."""
        return [*self._dialect.problems(), *self.asking.two_leaders]

    def remarks(self) -> list[str]:
        """What they did that is worth a word and was not told yet."""
        found = self.router.remarks.news()
        found += self.clients.waiting()
        for handle in self.fleet.handles.values():
            if handle.last_words:
                found.append(f"{handle.name}: the end of what it wrote to standard error:")
                found += indented(handle.last_words)
                handle.last_words = []
        return found
