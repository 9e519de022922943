"""Runs CaseSets against a Cluster and judges each: yields SetReports, prints nothing.

Between two barriers (LF, F, R, the end of a set) requests run in parallel across clients. A
barrier waits until everything before it is answered and every live replica has executed it, so
that a failure after a reply does not take the last COMMIT with it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bank.ballot import Ballot, ReplicaId, Slot, replica_name
from bank.ledger import READ, describe
from bank.quorum import quorum_size
from bank.status import Role
from harness.check.agreement import agreement
from harness.check.conservation import conservation
from harness.check.linearizable import linearizable
from harness.check.replay import replay
from harness.check.sessions import exactly_once
from harness.check.verdict import Judgement, Verdict, judge, overall
from harness.config import ClusterConfig
from harness.driver import Cluster, Liveness, ReplicaView
from harness.history import Operation
from harness.nemesis import Fail, FailLeader, Fault, KillAt, Recover, SetLive
from harness.testset import CaseSet, Command, Step

SLICE_US = 100_000  # how often a wait looks up: for the display, and for replicas that died


@dataclass(frozen=True, slots=True)
class StepReport:
    """One step of a set, as it stands at the set's end."""

    label: str  # "3" for the third step of this set, "5.1" when carried over from set 5
    text: str  # "(A, J, 3)", "(A)", "LF", "F(n3)", "R(n3)"
    outcome: str  # success, failed, pending; done or no-leader for LF, F and R
    value: int | None = None  # what a read returned
    slot: Slot | None = None
    ballot: Ballot | None = None
    latency_us: int | None = None  # from the first try in this set
    carried_from: int | None = None  # set number
    node: ReplicaId | None = None  # that LF, F or R hit


@dataclass(frozen=True, slots=True)
class SetReport:
    """One set, after its last barrier."""

    number: int
    position: int  # 1 for the first set of the file
    total: int  # sets in the file
    live: tuple[ReplicaId, ...]  # as listed at the set's start
    leader: ReplicaId | None  # at the set's end
    ballot: Ballot | None  # of that leader
    steps: tuple[StepReport, ...]
    views: tuple[ReplicaView, ...]  # every replica, in order
    judgements: tuple[Judgement, ...]
    seconds: float
    leaderless_us: int  # the longest time in this set that clients waited with no commit


@dataclass(frozen=True, slots=True)
class Performance:
    """All answers so far."""

    answered: int
    seconds: float  # of the sets, without the pauses between them
    latencies_us: tuple[int, ...]  # sorted


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a set is, while it runs."""

    set_number: int
    position: int
    total: int
    answered: int
    operations: int
    replicas: tuple[tuple[ReplicaId, Liveness, Role], ...]
    waiting_for: str


@dataclass(slots=True)
class _Listed:
    """One step as the report will list it."""

    label: str
    text: str
    operation: Operation | None = None
    carried_from: int | None = None
    node: ReplicaId | None = None
    is_done: bool = False  # a fault step hit somebody, or had nothing to change


class Runner:
    """See the module. Use after `cluster.start()`; whoever started the cluster stops it."""

    def __init__(
        self,
        cluster: Cluster,
        config: ClusterConfig,
        sets: Sequence[CaseSet],
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.reports: list[SetReport] = []
        self._cluster = cluster
        self._config = config
        self._sets = sets
        self._on_progress = on_progress
        self._history: list[Operation] = list(cluster.pending())  # of an earlier run of the data
        self._labels = {id(o): f"0.{i}" for i, o in enumerate(self._history, 1)}
        self._listed: list[_Listed] = []
        self._stuck: list[str] = []  # barriers of this set that were not through in time
        self._set_started = 0
        self._waiting_for = ""

    @property
    def remaining(self) -> int:
        """Sets that are still to be run."""
        return len(self._sets) - len(self.reports)

    def pending(self) -> list[Operation]:
        """Requests without an answer."""
        return self._cluster.pending()

    def verdict(self) -> Verdict:
        """Over all sets run so far."""
        return overall(j for report in self.reports for j in report.judgements)

    def performance(self) -> Performance:
        """Over all sets run so far."""
        latencies = [
            step.latency_us
            for report in self.reports
            for step in report.steps
            if step.latency_us is not None
        ]
        seconds = sum(report.seconds for report in self.reports)
        return Performance(len(latencies), seconds, tuple(sorted(latencies)))

    # ---- sets ----------------------------------------------------------------------------------

    def run_next(self) -> SetReport:
        """Run the next set to its last barrier, and judge it."""
        case = self._sets[len(self.reports)]
        self._begin()
        self._cluster.apply(SetLive(case.live))
        self._cluster.set_clients_running(True)
        for index, step in enumerate(case.steps, 1):
            self._take_step(case, index, step)
        self._barrier("the end of the set")
        self._cluster.set_clients_running(False)
        report = self._report(case)
        self.reports.append(report)
        return report

    def _begin(self) -> None:
        cluster = self._cluster
        cluster.new_set()
        self._set_started = cluster.now()
        self._stuck = []
        self._listed = [
            _Listed(self._labels[id(o)], _text(o), o, carried_from=o.set_number)
            for o in sorted(cluster.pending(), key=lambda o: self._history.index(o))
        ]

    def _take_step(self, case: CaseSet, index: int, step: Step) -> None:
        if isinstance(step.action, Command):
            operation = self._submit(step.action, case.number, f"{case.number}.{index}")
            self._listed.append(_Listed(str(index), step.text, operation))
            return
        listed = _Listed(str(index), step.text)
        self._listed.append(listed)
        self._barrier(f"{step.text} in step {index}", isinstance(step.action, FailLeader))
        self._apply(listed, step.action)

    def _submit(self, command: Command, set_number: int, label: str) -> Operation:
        operation = Operation((command.sender, 0, *command), set_number)
        self._history.append(operation)
        self._labels[id(operation)] = label
        self._cluster.submit(operation)
        return operation

    def _apply(self, listed: _Listed, fault: Fault) -> None:
        changed = self._cluster.apply(fault)
        if isinstance(fault, Fail | Recover):
            listed.node, listed.is_done = fault.replica, True
        elif changed:
            listed.node, listed.is_done = changed[0], True

    def poke(self, action: Command | Fault) -> StepReport:
        """Do one thing between sets, as the prompt asks."""
        cluster = self._cluster
        set_number = self.reports[-1].number if self.reports else 0
        self._set_started = cluster.now()
        cluster.set_clients_running(True)
        listed = _Listed("+", _fault_text(action) if not isinstance(action, Command) else "")
        if isinstance(action, Command):
            listed.operation = self._submit(action, set_number, f"{set_number}.+")
            listed.text = _text(listed.operation)
            self._barrier(f"{listed.text} at the prompt")
        else:
            if isinstance(action, FailLeader):
                self._barrier("LF at the prompt", for_leader=True)
            self._apply(listed, action)
        cluster.set_clients_running(False)
        return self._step_report(listed)

    # ---- barriers ------------------------------------------------------------------------------

    def _barrier(self, what: str, for_leader: bool = False) -> None:
        """Wait until all is answered and executed; with `for_leader`, also until one leads.

        Patience ends it while no quorum is live; while one is, taking too long is a failure.
        """
        cluster, started = self._cluster, self._cluster.now()
        self._waiting_for = what
        if for_leader and cluster.leader() is None:
            cluster.seek_leader()

        def is_through() -> bool:
            return self._is_answered_and_executed() and (
                not for_leader or cluster.leader() is not None
            )

        while not cluster.run_until(is_through, SLICE_US):
            self._show()
            waited = cluster.now() - started
            if not self._quorum_is_live():
                if waited >= self._config.patience_ms * 1000:
                    return
            elif waited >= self._config.progress_ms * 1000:
                self._stuck.append(f"{what}: not through after {self._config.progress_ms} ms")
                return
        self._show()

    def _is_answered_and_executed(self) -> bool:
        cluster = self._cluster
        if any(not o.is_answered for o in cluster.pending()):
            return False
        highest = max((o.slot for o in self._history if o.slot is not None), default=0)
        return all(cluster.executed_upto(r) >= highest for r in self._live())

    def _live(self) -> list[ReplicaId]:
        replicas = range(1, self._cluster.replicas + 1)
        return [r for r in replicas if self._cluster.liveness(r) is Liveness.LIVE]

    def _quorum_is_live(self) -> bool:
        return len(self._live()) >= quorum_size(self._cluster.replicas)

    def _show(self) -> None:
        if self._on_progress is None:
            return
        operations = [line.operation for line in self._listed if line.operation is not None]
        case = self._sets[min(len(self.reports), len(self._sets) - 1)]
        replicas = range(1, self._cluster.replicas + 1)
        self._on_progress(
            Progress(
                case.number,
                min(len(self.reports) + 1, len(self._sets)),
                len(self._sets),
                sum(1 for o in operations if o.is_answered),
                len(operations),
                tuple((r, self._cluster.liveness(r), self._cluster.role(r)) for r in replicas),
                self._waiting_for,
            )
        )

    # ---- reports -------------------------------------------------------------------------------

    def _report(self, case: CaseSet) -> SetReport:
        cluster = self._cluster
        seconds = (cluster.now() - self._set_started) / 1e6
        views = cluster.views()
        leader = cluster.leader()
        return SetReport(
            number=case.number,
            position=len(self.reports) + 1,
            total=len(self._sets),
            live=tuple(sorted(case.live)),
            leader=leader,
            ballot=None if leader is None else views[leader - 1].status.following,
            steps=tuple(map(self._step_report, self._listed)),
            views=views,
            judgements=self._judge(views),
            seconds=seconds,
            leaderless_us=self._longest_wait(),
        )

    def _judge(self, views: Sequence[ReplicaView]) -> tuple[Judgement, ...]:
        log, history = self._cluster.committed, self._history
        balances = self._config.balances()
        replayed = replay(log, balances, {view.status.executed_upto for view in views})
        return (
            agreement(log, replayed, views),
            conservation(balances, views),
            exactly_once(log, replayed, history),
            linearizable(log, replayed, history),
            judge("progress", self._stuck),
        )

    def _step_report(self, listed: _Listed) -> StepReport:
        operation = listed.operation
        if operation is None:
            outcome = "done" if listed.is_done else "no-leader"
            return StepReport(listed.label, listed.text, outcome, node=listed.node)
        is_read = operation.request[2] == READ
        result = operation.result
        if result is None:
            outcome = "pending"
        else:
            outcome = "success" if operation.succeeded else "failed"
        latency = None
        if operation.answered_at is not None:
            latency = operation.answered_at - self._first_try(operation)
        return StepReport(
            label=listed.label,
            text=listed.text,
            outcome=outcome,
            value=result if is_read and isinstance(result, int) else None,
            slot=operation.slot,
            ballot=operation.ballot,
            latency_us=latency,
            carried_from=listed.carried_from,
        )

    def _first_try(self, operation: Operation) -> int:
        """When it was sent for the first time in this set."""
        return max(operation.invoked_at or 0, self._set_started)

    def _longest_wait(self) -> int:
        """The longest time in which clients waited and none was answered."""
        events: list[tuple[int, int]] = []
        for line in self._listed:
            if (operation := line.operation) is not None and operation.answered_at is not None:
                events.append((self._first_try(operation), 1))
                events.append((operation.answered_at, -1))
        longest = waiting = since = 0
        for at, change in sorted(events):
            if change < 0:
                longest = max(longest, at - since)
            if change < 0 or waiting == 0:
                since = at
            waiting += change
        return longest


def _text(operation: Operation) -> str:
    _, _, kind, sender, receiver, amount = operation.request
    return describe(kind, sender, receiver, amount)


def _fault_text(fault: Fault) -> str:
    match fault:
        case Fail(replica, _):
            return f"F({replica_name(replica)})"
        case Recover(replica):
            return f"R({replica_name(replica)})"
        case FailLeader():
            return "LF"
        case SetLive(live):
            return ", ".join(map(replica_name, sorted(live)))
        case KillAt(replica, point):
            return f"kill {replica_name(replica)} {point or 'no more'}"
