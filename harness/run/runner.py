"""Runs CaseSets against a Cluster and judges each: yields SetReports, prints nothing.

Between two barriers (any fault, the end of a set) requests run in parallel across clients. A
barrier waits until everything before it is answered and every live replica has executed it, so
that a failure after a reply does not take the last COMMIT with it. Replicas behind a cut link are
not waited for.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import fsum

from bank.ballot import Ballot, ReplicaId, Slot, replica_name
from bank.ledger import READ, describe
from bank.status import Role
from harness.check.expectations import Found, Met, meet
from harness.check.judges import judge_run
from harness.check.verdict import Judgement, Verdict, judge, overall
from harness.cluster.driver import Cluster, Liveness, ReplicaView
from harness.cluster.history import Operation
from harness.cluster.links import LEADS_WITHIN_US, Links
from harness.cluster.nemesis import (
    Fail,
    FailLeader,
    Fault,
    Heal,
    KillAt,
    LinkFault,
    Recover,
    SetLive,
)
from harness.errors import HarnessError
from harness.files.cases import Action, CaseFile, CaseSet, Command, Leader, Step, Wait, action_text
from harness.files.config import ClusterConfig
from harness.run.timing import Phase, Timing

EXPECTATIONS = "expectations"  # the check that sums up what a file expects of a set
SLICE_US = 100_000  # how often a wait looks up: for the display, and for replicas that died


@dataclass(frozen=True, slots=True)
class StepReport:
    """One step of a set, as it stands at the set's end."""

    label: str  # "3" for the third step of this set, "5.1" when carried over from set 5
    text: str  # "(A, J, 3)", "(A)", "LF", "F(n3)", "cut n1->n3"
    outcome: str  # success, failed, pending; done, no-leader or not-reached for faults
    value: int | None = None  # what a read returned
    slot: Slot | None = None
    ballot: Ballot | None = None
    latency_us: int | None = None  # from the first try in this set
    carried_from: int | None = None  # set number
    node: ReplicaId | None = None  # that a fault hit
    begun_us: int | None = None  # its first try or its fault, from the set's start


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
    expectations: tuple[Met, ...] = ()  # of this set, and of the file's end after the last one
    points: float | None = None  # for this set as a whole
    started_at: int = 0  # by the cluster's clock, as in its traces
    spent: Mapping[Phase, int] = field(default_factory=dict)  # microseconds, its checks included

    @property
    def score(self) -> tuple[float, float] | None:
        """What it scored and what it could; None when the file gives no points for it."""
        given = [(met.holds, met.expected.points) for met in self.expectations]
        given.append((overall(self.judgements) is Verdict.VALID, self.points))
        counted = [(holds, points) for holds, points in given if points is not None]
        if not counted:
            return None
        return fsum(points for holds, points in counted if holds), fsum(p for _, p in counted)


@dataclass(frozen=True, slots=True)
class Performance:
    """All answers so far."""

    answered: int
    seconds: float  # of the sets, without the pauses between them
    latencies_us: tuple[int, ...]  # sorted


def measured(reports: Sequence[SetReport]) -> Performance:
    """What these sets took."""
    latencies = [
        step.latency_us
        for report in reports
        for step in report.steps
        if step.latency_us is not None
    ]
    seconds = sum(report.seconds for report in reports)
    return Performance(len(latencies), seconds, tuple(sorted(latencies)))


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
    outcome: str = "no-leader"  # of a step that is no request
    begun_at: int | None = None  # of a step that is no request
    armed: ReplicaId | None = None  # is to die at a kill point, if it passes there


class Runner:
    """See the module. Sets run once the cluster is started; whoever started it stops it."""

    def __init__(
        self,
        cluster: Cluster,
        config: ClusterConfig,
        file: CaseFile,
        on_progress: Callable[[Progress], None] | None = None,
        on_done: Callable[[], None] = lambda: None,
        timing: Timing | None = None,
    ) -> None:
        """`on_done` is called after every set and everything poked."""
        self.reports: list[SetReport] = []
        self.history: list[Operation] = list(cluster.pending())  # of an earlier run of the data
        self._cluster = cluster
        self._config = config
        self._file, self._sets = file, file.sets
        self._on_progress, self._on_done = on_progress, on_done
        self._timing = Timing(cluster.now) if timing is None else timing
        self._asked_in_vain: set[int] = set()  # ids of operations that met no leader
        self._labels = {id(o): f"0.{i}" for i, o in enumerate(self.history, 1)}
        self._waiting = list(self.history)  # told as pending: the next report tells of them again
        self._listed: list[_Listed] = []
        self._links = Links()  # as this set's faults left them
        self._stuck: list[str] = []  # barriers that were not through in time, since the last set
        self._meant: set[ReplicaId] = set()  # to be live: by the file, and what was poked
        self._missed: dict[ReplicaId, str] = {}  # of these, who was not since then, and why
        self._is_between = True  # two sets
        self._excused: frozenset[ReplicaId] = frozenset()  # the file says that they are stopped
        self._sets_begun = 0
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
        """Over all sets run so far; where nothing was looked at, nothing is known."""
        if not self.reports:
            return Verdict.UNKNOWN
        return overall(j for report in self.reports for j in report.judgements)

    def performance(self) -> Performance:
        """Over all sets run so far."""
        return measured(self.reports)

    # ---- sets ----------------------------------------------------------------------------------

    def run_next(self) -> SetReport:
        """Run the next set to its last barrier, and judge it.

        HarnessError after a set that an exception ended: what it left is the start of no other.
        """
        case, before = self._sets[len(self.reports)], dict(self._timing.spent)
        if self._sets_begun > len(self.reports):
            what = f"set {case.number} was interrupted before it was judged"
            raise HarnessError(
                f"{what}: nothing is known of it, nor of any set that goes on from it"
            )
        self._sets_begun += 1
        self._timing.enter(Phase.FAULTS)
        self._begin()
        self._cluster.apply(SetLive(case.live))
        self._meant, self._excused = set(case.live), self._file.stopped(case)
        self._is_between = False
        self._cluster.set_clients_running(True)
        for index, step in enumerate(case.steps, 1):
            self._take_step(case, index, step)
        self._barrier("the end of the set")
        self._await_leader(case)
        self._cluster.set_clients_running(False)
        self._settle_kill_points()
        self._timing.enter(Phase.CHECKS)
        report = self._report(case)
        self._meant -= self._missed.keys()
        self._missed, self._stuck, self._is_between = {}, [], True  # told, once
        self._timing.enter(Phase.CHECKS)
        report = replace(report, spent=self._timing.since(before))
        self.reports.append(report)
        told = zip(self._listed, report.steps, strict=True)
        self._waiting = [d.operation for d, s in told if d.operation and s.outcome == "pending"]
        self._on_done()
        self._timing.enter(Phase.DISPLAY)
        return report

    def _begin(self) -> None:
        cluster = self._cluster
        self._settle_kill_points()
        self._note_missed()
        self._heal()
        self._set_started = cluster.now()
        cluster.new_set()
        self._listed = [
            _Listed(self._labels[id(o)], _text(o), o, carried_from=o.set_number)
            for o in sorted(self._waiting, key=lambda o: self.history.index(o))
        ]

    def _take_step(self, case: CaseSet, index: int, step: Step) -> None:
        if isinstance(step.action, Command):
            operation = self._submit(step.action, case.number, f"{case.number}.{index}")
            self._listed.append(_Listed(str(index), step.text, operation))
            return
        listed = _Listed(str(index), step.text)
        self._listed.append(listed)
        what = f"{step.text} in step {index}"
        if isinstance(step.action, Wait):
            listed.outcome, listed.begun_at = "done", self._cluster.now()
            self._wait(what, step.action.duration)
            return
        if not step.together:
            self._barrier(what, isinstance(step.action, FailLeader))
        self._apply(listed, step.action)

    def _submit(self, command: Command, set_number: int, label: str) -> Operation:
        operation = Operation((command.sender, 0, *command), set_number)
        self.history.append(operation)
        self._labels[id(operation)] = label
        self._cluster.submit(operation)
        return operation

    def _apply(self, listed: _Listed, fault: Fault) -> None:
        if isinstance(fault, FailLeader) and fault.point is not None:
            leader = self._cluster.leader()
            if leader is None:
                return
            fault = KillAt(leader, fault.point)
        if isinstance(fault, LinkFault | Heal):
            self._links.apply(fault)
        self._note_deaths("done")
        self._note_missed()
        listed.begun_at = self._cluster.now()
        self._timing.enter(Phase.FAULTS)
        changed = self._cluster.apply(fault)
        self._note_deaths("not-reached")
        if isinstance(fault, Recover):
            self._meant.add(fault.replica)
        elif isinstance(fault, Fail | FailLeader):
            self._meant.difference_update(changed)
        if isinstance(fault, KillAt):
            listed.node, listed.armed = fault.replica, fault.replica if changed else None
            listed.outcome = "done" if changed else "not-reached"
        elif isinstance(fault, Fail | Recover):
            listed.node, listed.outcome = fault.replica, "done"
        elif isinstance(fault, FailLeader):
            listed.node, listed.outcome = (changed[0], "done") if changed else (None, "no-leader")
        else:
            listed.outcome = "done"

    def _note_deaths(self, outcome: str) -> None:
        """Who was to die at a point and is dead now: by itself, or by the fault done just now."""
        for listed in self._listed:
            if listed.armed and self._cluster.liveness(listed.armed) is Liveness.CRASHED:
                if self._cluster.trouble(listed.armed) is None:
                    self._meant.discard(listed.armed)
                listed.armed, listed.outcome = None, outcome

    def _note_missed(self) -> None:
        """Who is to be live and is not, by no fault of the file or of the prompt.

        Between two sets somebody may kill a process from outside: it comes back with the next one.
        """
        for replica in sorted(self._meant - self._excused - self._missed.keys()):
            liveness = self._cluster.liveness(replica)
            returns = self._is_between and liveness is Liveness.CRASHED
            if liveness is not Liveness.LIVE and not returns:
                why = self._cluster.trouble(replica)
                self._missed[replica] = f"found {liveness.value}" + (f": {why}" if why else "")

    def _settle_kill_points(self) -> None:
        """Who did not pass its point in this set is spared."""
        self._note_deaths("done")
        for listed in self._listed:
            if listed.armed:
                self._cluster.apply(KillAt(listed.armed, None))
                listed.armed, listed.outcome = None, "not-reached"

    def _heal(self) -> None:
        """A set begins with whole links."""
        if self._links.states:
            self._apply(_Listed("", ""), Heal())

    def poke(self, action: Action) -> tuple[StepReport, ...]:
        """Do one thing between sets, as a further step of the set before would.

        Returns that step, then what waited for an answer and got it meanwhile.
        """
        cluster, waiting = self._cluster, self._waiting
        set_number = self.reports[-1].number if self.reports else 0
        self._set_started = cluster.now()
        cluster.set_clients_running(True)
        listed = _Listed("+", action_text(action))
        if isinstance(action, Command):
            listed.operation = self._submit(action, set_number, f"{set_number}.+")
            self._barrier(f"{listed.text} at the prompt")
        elif isinstance(action, Wait):
            self._wait(f"{listed.text} at the prompt", action.duration)
        else:
            if isinstance(action, FailLeader):
                self._barrier("LF at the prompt", for_leader=True)
            self._apply(listed, action)
            if listed.armed:  # until the next set, as if it had been a step of this one
                self._listed.append(listed)
                listed.outcome = "armed"
            if waiting and self._is_able():
                self._barrier(f"what waited for {listed.text}")
        cluster.set_clients_running(False)
        answered = [o for o in waiting if o.is_answered]
        others = [_Listed(self._labels[id(o)], _text(o), o, o.set_number) for o in answered]
        steps = tuple(map(self._poked, [listed, *others]))
        self._waiting = [o for o in waiting if o not in answered]
        if listed.operation and steps[0].outcome == "pending":
            self._waiting.append(listed.operation)
        self._on_done()
        return steps

    def _poked(self, listed: _Listed) -> StepReport:
        """Times count from the start of the set before, like those of its own steps."""
        step = self._step_report(listed)
        if step.begun_us is None or not self.reports:
            return step
        since = self._set_started - self.reports[-1].started_at
        return replace(step, begun_us=step.begun_us + since)

    # ---- barriers ------------------------------------------------------------------------------

    def _barrier(self, what: str, for_leader: bool = False) -> None:
        """Wait until all is answered and executed; with `for_leader`, also until one leads.

        Patience ends it while nobody live hears a quorum. It is a failure where somebody should by
        the file; and while somebody does, taking too long since the last answer.
        """
        cluster, started = self._cluster, self._cluster.now()
        self._waiting_for = what
        if for_leader and cluster.leader() is None:
            cluster.seek_leader()
        is_able = self._is_able()
        waiting, last_answer = self._unanswered(), started

        def is_through() -> bool:
            self._timing.enter(self._waits_for(is_able))
            return self._is_answered_and_executed() and (
                not for_leader or cluster.leader() is not None
            )

        while not cluster.run_until(is_through, SLICE_US):
            self._show()
            now, left, is_able = cluster.now(), self._unanswered(), self._is_able()
            if left < waiting:
                waiting, last_answer = left, now
            if not is_able and now - started >= self._config.patience_ms * 1000:
                self._note_deaths("done")
                if self._should_be_able():
                    self._note_stuck(what, "no quorum is left of those that should be live")
                return
            if is_able and now - last_answer >= self._config.progress_ms * 1000:
                since = "since the last answer" if last_answer > started else "for an answer"
                self._note_stuck(what, f"waited {self._config.progress_ms} ms {since}")
                return
        self._show()

    def _note_stuck(self, what: str, why: str) -> None:
        """A barrier that ended without what it waited for."""
        highest = self._highest()
        behind = [r for r in self._connected() if self._cluster.executed_upto(r) < highest]
        if left := self._unanswered():
            found = f"{left} request{'' if left == 1 else 's'} without one"
        elif behind:
            found = f"{', '.join(map(replica_name, behind))} did not execute slot {highest}"
        else:
            found = "no replica leads"
        self._stuck.append(f"{what}: {why}, {found}")

    def _waits_for(self, is_able: bool) -> Phase:
        """What the time that passes now is spent on."""
        cluster = self._cluster
        asked = {id(o) for o in cluster.pending() if not o.is_answered}
        if not is_able or cluster.leader() is None:
            self._asked_in_vain |= asked
            return Phase.ELECTION if is_able else Phase.PATIENCE
        self._asked_in_vain &= asked
        if self._asked_in_vain:
            return Phase.RETRY
        return Phase.ANSWERS if asked else Phase.SETTLING

    def _is_answered_and_executed(self) -> bool:
        if self._unanswered():
            return False
        highest = self._highest()
        return all(self._cluster.executed_upto(r) >= highest for r in self._connected())

    def _unanswered(self) -> int:
        return sum(not operation.is_answered for operation in self._cluster.pending())

    def _highest(self) -> Slot:
        """The highest slot that an answer speaks of."""
        return max((o.slot for o in self.history if o.slot is not None), default=0)

    def _await_leader(self, case: CaseSet) -> None:
        """An election is no request: it may be under way when all is answered."""
        last = self._file.at_end if self.remaining == 1 else ()
        wanted = [e.what for e in (*case.expected, *last) if isinstance(e.what, Leader)]

        def is_led() -> bool:
            leader = self._cluster.leader()
            return all(leader in what.leaders for what in wanted if what.leaders)

        patience = self._config.patience_ms * 1000
        self._cluster.run_until(is_led, LEADS_WITHIN_US if self._is_able() else patience)

    def _wait(self, what: str, duration: int) -> None:
        """Let the cluster go on; nothing ends it early."""
        self._waiting_for, until = what, self._cluster.now() + duration
        while (left := until - self._cluster.now()) > 0:
            self._cluster.run_until(lambda: False, min(left, SLICE_US))
            self._show()

    def _live(self) -> list[ReplicaId]:
        replicas = range(1, self._cluster.replicas + 1)
        return [r for r in replicas if self._cluster.liveness(r) is Liveness.LIVE]

    def _connected(self) -> list[ReplicaId]:
        """Whoever decides, they hear of it."""
        return sorted(self._links.in_touch(self._live(), self._cluster.replicas))

    def _is_able(self) -> bool:
        return bool(self._links.able(self._live(), self._cluster.replicas))

    def _should_be_able(self) -> bool:
        """The same of those that are to be live."""
        meant = self._meant - self._excused
        return bool(self._links.able(meant, self._cluster.replicas))

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
        steps = tuple(map(self._step_report, self._listed))
        judgements = self._judge(views)
        expectations = self._expectations(case, steps, views, judgements)
        if expectations:
            wrong = (f"{m.expected.where}: {m.expected.key}: {m.reason}" for m in expectations)
            failed = (text for met, text in zip(expectations, wrong, strict=True) if not met.holds)
            judgements += (judge(EXPECTATIONS, failed),)
        return SetReport(
            number=case.number,
            position=len(self.reports) + 1,
            total=len(self._sets),
            live=tuple(sorted(case.live)),
            leader=leader,
            ballot=None if leader is None else views[leader - 1].status.following,
            steps=steps,
            views=views,
            judgements=judgements,
            seconds=seconds,
            leaderless_us=self._longest_wait(),
            expectations=expectations,
            points=case.points,
            started_at=self._set_started,
        )

    def _expectations(
        self,
        case: CaseSet,
        steps: Sequence[StepReport],
        views: Sequence[ReplicaView],
        judgements: Sequence[Judgement],
    ) -> tuple[Met, ...]:
        """What the file expects of this set, and after its last set of the whole."""
        checks = {judgement.check: judgement.verdict for judgement in judgements}
        outcomes = {step.label: _outcome(step) for step in steps}
        met = [meet(e, self._found(views, outcomes, checks)) for e in case.expected]
        if self._file.at_end and self.remaining == 1:
            for judgement in (j for report in self.reports for j in report.judgements):
                checks[judgement.check] = overall(
                    [judgement, Judgement("", checks.get(judgement.check, Verdict.VALID))]
                )
            outcomes = {
                self._labels[id(o)]: _outcome(self._step_report(_Listed("", "", o)))
                for o in self.history
            }
            met += [meet(e, self._found(views, outcomes, checks)) for e in self._file.at_end]
        return tuple(met)

    def _found(
        self,
        views: Sequence[ReplicaView],
        outcomes: Mapping[str, str | int],
        checks: Mapping[str, Verdict],
    ) -> Found:
        cluster, connected = self._cluster, self._connected()

        def marks(slots: Sequence[Slot]) -> dict[Slot, str]:
            by_replica = [cluster.slots(view.replica, slots) for view in views]
            columns = zip(*by_replica, strict=True)
            rows = ("".join(status.mark.value for status in column) for column in columns)
            return dict(zip(slots, rows, strict=True))

        return Found(
            balances={r: views[r - 1].status.balances for r in connected},
            executed={r: views[r - 1].status.executed_upto for r in connected},
            outcomes=outcomes,
            pending=[_text(operation) for operation in cluster.pending()],
            leader=cluster.leader(),
            stopped=frozenset(v.replica for v in views if v.liveness is Liveness.STOPPED),
            marks=marks,
            checks=checks,
        )

    def _judge(self, views: Sequence[ReplicaView]) -> tuple[Judgement, ...]:
        log, config = self._cluster.committed, self._config
        judgements = judge_run(
            config.balances(), log, self.history, views, config.checkpoint_interval
        )
        return *judgements, judge("progress", self._standstills())

    def _standstills(self) -> list[str]:
        """Who is not there that should be, then what did not come to its end."""
        self._note_missed()
        by_reason: dict[str, list[ReplicaId]] = {}
        for replica, why in self._missed.items():
            by_reason.setdefault(why, []).append(replica)
        found = [
            f"{', '.join(map(replica_name, replicas))} should be live, {why}"
            for why, replicas in by_reason.items()
        ]
        return ["; ".join(found + self._stuck[:1])] if found else self._stuck

    def _step_report(self, listed: _Listed) -> StepReport:
        operation = listed.operation
        if operation is None:
            begun = None if listed.begun_at is None else listed.begun_at - self._set_started
            return StepReport(
                listed.label, listed.text, listed.outcome, node=listed.node, begun_us=begun
            )
        is_read = operation.request[2] == READ
        result = operation.result
        if result is None:
            outcome = "pending"
        else:
            outcome = "success" if operation.succeeded else "failed"
        begun = latency = None
        if operation.invoked_at is not None:
            begun = self._first_try(operation) - self._set_started
        if span := self._span(operation):
            latency = span[1] - span[0]
        return StepReport(
            label=listed.label,
            text=listed.text,
            outcome=outcome,
            value=result if is_read and isinstance(result, int) else None,
            slot=operation.slot,
            ballot=operation.ballot,
            latency_us=latency,
            carried_from=listed.carried_from,
            begun_us=begun,
        )

    def _first_try(self, operation: Operation) -> int:
        """When it was sent for the first time in this set."""
        return max(operation.invoked_at or 0, self._set_started)

    def _span(self, operation: Operation) -> tuple[int, int] | None:
        """From its first try in this set to its answer, which may also come between two sets."""
        first, answered_at = self._first_try(operation), operation.answered_at
        return None if answered_at is None or answered_at < first else (first, answered_at)

    def _longest_wait(self) -> int:
        """The longest time in which clients waited and none was answered."""
        events: list[tuple[int, int]] = []
        for line in self._listed:
            if line.operation and (span := self._span(line.operation)):
                events += [(span[0], 1), (span[1], -1)]
        longest = waiting = since = 0
        for at, change in sorted(events):
            if change < 0:
                longest = max(longest, at - since)
            if change < 0 or waiting == 0:
                since = at
            waiting += change
        return longest


def _outcome(step: StepReport) -> str | int:
    """As a file expects it: an answered read is its balance."""
    return step.outcome if step.value is None else step.value


def _text(operation: Operation) -> str:
    _, _, kind, sender, receiver, amount = operation.request
    return describe(kind, sender, receiver, amount)
