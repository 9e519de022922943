"""Runs CaseSets against a Cluster and judges each: yields SetReports, prints nothing.

Between two barriers (any fault, the end of a set) requests run in parallel across clients. A
barrier waits until everything before it is answered and every live replica has executed it, so
that a failure after a reply does not take the last COMMIT with it. Replicas behind a cut link are
not waited for.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from bank.ballot import Ballot
from harness.check.expectations import Met
from harness.check.judges import RunJudges
from harness.check.verdict import Judgement, Verdict, judge, overall
from harness.cluster.driver import Cluster, ReplicaView
from harness.cluster.history import Operation
from harness.cluster.journal import Liveness
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
from harness.files.config import DROP, ClusterConfig
from harness.run import expected, pokes
from harness.run.barriers import Barriers, never
from harness.run.listing import Listed, longest_wait, of_request
from harness.run.outside import judged
from harness.run.report import (
    EXPECTATIONS,
    NOTHING_DUE,
    POKED,
    Performance,
    Poke,
    Progress,
    SetReport,
    StepReport,
    measured,
)
from harness.run.standing import Standing
from harness.run.timing import Phase, Timing


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
        self.poked: list[Poke] = []
        self.history: list[Operation] = list(cluster.pending())  # of an earlier run of the data
        self._cluster = cluster
        self._config = config
        self._file, self._sets = file, file.sets
        self._on_progress, self._on_done = on_progress, on_done
        self._timing = Timing(cluster.now) if timing is None else timing
        self._standing = Standing(cluster)
        self._judges = RunJudges(config.balances(), config.checkpoint_interval)
        self._barriers = Barriers(cluster, config, self._standing, self._timing, self._look)
        for place, operation in enumerate(self.history, 1):
            operation.place = place
        self._waiting = list(self.history)  # told as pending: the next report tells of them again
        self._dropped: list[Operation] = []  # at the end of the last set, if requests are dropped
        self._listed: list[Listed] = []
        self._armed: list[Listed] = []  # kill points of which nobody knows yet what becomes of them
        self._asked = 0  # requests of the set that runs, those carried over included
        self._sets_begun = 0
        self._set_started = 0

    @property
    def remaining(self) -> int:
        """Sets that are still to be run."""
        return len(self._sets) - len(self.reports)

    def pending(self) -> list[Operation]:
        """Requests without an answer; of dropped ones, those of the last set."""
        return [*self._dropped, *self._cluster.pending()]

    def forgotten(self) -> int:
        """How many requests of earlier sets their clients gave up, if requests are dropped."""
        given_up = sum(operation.dropped_at is not None for operation in self.history)
        return given_up - len(self._dropped)

    def verdict(self) -> Verdict:
        """Over all sets run so far; where nothing was looked at, nothing is known."""
        if not self.reports:
            return Verdict.UNKNOWN
        return overall(j for report in self.reports for j in report.judgements)

    def performance(self) -> Performance:
        """Over all sets run so far, and what was poked after them."""
        done = pokes.all_steps(self.reports, self.poked)
        return measured([replace(report, steps=tuple(steps)) for report, steps in done])

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
        self._standing.begin_set(case.live, self._file.stopped(case))
        self._cluster.set_clients_running(True)
        for index, step in enumerate(case.steps, 1):
            self._take_step(case, index, step)
        self._barriers.wait_for("the end of the set")
        self._barriers.await_leader(self._leaders_wanted(case))
        self._cluster.set_clients_running(False)
        self._settle_kill_points()
        self._timing.enter(Phase.CHECKS)
        report = self._report(case)
        self._standing.end_set()
        self._barriers.stuck = []  # told, once
        self._timing.enter(Phase.CHECKS)
        report = replace(report, spent=self._timing.since(before))
        self.reports.append(report)
        told = zip(self._listed, report.steps, strict=True)
        self._waiting = [d.operation for d, s in told if d.operation and s.outcome == "pending"]
        self._drop()
        self._on_done()
        self._timing.enter(Phase.DISPLAY)
        return report

    def _begin(self) -> None:
        cluster = self._cluster
        self._settle_kill_points()
        self._standing.note_missed()
        self._heal()
        self._set_started = cluster.now()
        if self.reports:
            self._drop()  # what was asked at the prompt
        cluster.new_set()
        self._asked = len(self._waiting)
        self._listed = [of_request(o, o.set_number) for o in self._waiting]

    def _drop(self) -> None:
        """What has no answer now is forgotten by its client, if this is how the run has it."""
        if self._config.unanswered == DROP:
            self._dropped, self._waiting = self._cluster.pending(), []
            self._cluster.drop_pending()

    def _take_step(self, case: CaseSet, index: int, step: Step) -> None:
        if isinstance(step.action, Command):
            operation = self._submit(step.action, case.number, index)
            self._listed.append(Listed(str(index), step.text, operation, action=step.action))
            return
        listed = Listed(str(index), step.text, action=step.action)
        self._listed.append(listed)
        what = f"{step.text} in step {index}"
        if isinstance(step.action, Wait):
            listed.outcome, listed.begun_at = "done", self._cluster.now()
            self._barriers.pause(what, step.action.duration)
            return
        if not step.together:
            settles = not (self._cluster.is_external and isinstance(step.action, LinkFault | Heal))
            self._barriers.wait_for(what, isinstance(step.action, FailLeader), settles)
        self._apply(listed, step.action)

    def _submit(self, command: Command, set_number: int, place: int = 0) -> Operation:
        operation = Operation((command.sender, 0, *command), set_number, place=place)
        self.history.append(operation)
        self._asked += 1
        self._cluster.submit(operation)
        return operation

    def _apply(self, listed: Listed, fault: Fault) -> None:
        standing = self._standing
        if isinstance(fault, FailLeader) and fault.point is not None:
            leader = self._cluster.leader()
            if leader is None:
                return
            fault = KillAt(leader, fault.point)
        if isinstance(fault, LinkFault | Heal):
            standing.links.apply(fault)
        self._note_deaths("done")
        standing.note_missed()
        listed.begun_at = self._cluster.now()
        self._timing.enter(Phase.FAULTS)
        changed = self._cluster.apply(fault)
        self._note_deaths("not-reached")
        if isinstance(fault, Recover):
            standing.meant.add(fault.replica)
        elif isinstance(fault, Fail | FailLeader):
            standing.meant.difference_update(changed)
        if isinstance(fault, KillAt):
            listed.node = fault.replica
            listed.outcome = "armed" if changed else "not-reached"
            self._armed += [listed] if changed else []
        elif isinstance(fault, Fail | Recover):
            listed.node, listed.outcome = fault.replica, "done"
        elif isinstance(fault, FailLeader):
            listed.node, listed.outcome = (changed[0], "done") if changed else (None, "no-leader")
        else:
            listed.outcome = "done"

    def _note_deaths(self, outcome: str) -> None:
        """Who was to die at a point and is dead now: by itself, or by the fault done just now."""
        for listed in list(self._armed):
            replica = listed.node
            assert replica is not None
            if self._cluster.liveness(replica) is Liveness.CRASHED:
                if self._cluster.trouble(replica) is None:
                    self._standing.meant.discard(replica)
                listed.outcome = outcome
                self._armed.remove(listed)

    def _settle_kill_points(self) -> None:
        """Who did not pass its point in this set is spared, unless it does before it hears so."""
        self._note_deaths("done")
        for listed in self._armed:
            assert listed.node is not None
            self._cluster.apply(KillAt(listed.node, None))
        self._note_deaths("done")
        for listed in self._armed:
            listed.outcome = "not-reached"
        self._armed = []

    def _heal(self) -> None:
        """A set begins with whole links."""
        if self._standing.links.states:
            self._apply(Listed("", ""), Heal())

    def _leaders_wanted(self, case: CaseSet) -> list[frozenset[int]]:
        """Of the expectations that name one, who may lead."""
        last = self._file.at_end if self.remaining == 1 else ()
        wanted = [e.what for e in (*case.expected, *last)]
        return [what.leaders for what in wanted if isinstance(what, Leader) and what.leaders]

    def _look(self) -> None:
        """A wait looks up."""
        self._note_deaths("done")
        if self._on_progress is None:
            return
        at = max(0, len(self.reports) - self._standing.is_between)  # poked: of the set before
        case = self._sets[at]
        replicas = range(1, self._cluster.replicas + 1)
        self._on_progress(
            Progress(
                case.number,
                at + 1,
                len(self._sets),
                self._asked - self._cluster.unanswered(),
                self._asked,
                tuple((r, self._cluster.liveness(r), self._cluster.role(r)) for r in replicas),
                self._barriers.waiting_for,
            )
        )

    # ---- between sets --------------------------------------------------------------------------

    def poke(
        self, action: Action, is_cancelled: Callable[[], bool] = never
    ) -> tuple[StepReport, ...]:
        """Do one thing between sets, as a further step of the set before would.

        Returns that step, then what waited for an answer and got it meanwhile. What is waited for
        is given up once `is_cancelled` says so: a wait was as long as it lasted, a request pends.
        """
        cluster, waiting = self._cluster, self._waiting
        self._barriers.is_cancelled = is_cancelled
        set_number = self.reports[-1].number if self.reports else 0
        self._set_started, self._asked = cluster.now(), len(waiting)
        cluster.set_clients_running(True)
        listed = Listed(POKED, action_text(action), action=action)
        if isinstance(action, Command):
            listed.operation = self._submit(action, set_number)
            self._barriers.wait_for(f"{listed.text} at the prompt")
        elif isinstance(action, Wait):
            listed.outcome, listed.begun_at = "done", cluster.now()
            self._barriers.pause(f"{listed.text} at the prompt", action.duration)
            if is_cancelled():
                action = Wait(max(1000, (cluster.now() - listed.begun_at) // 1000 * 1000))
                listed.text, listed.action = action_text(action), action
        else:
            if isinstance(action, FailLeader):
                self._barriers.wait_for("LF at the prompt", for_leader=True)
            self._apply(listed, action)
            if waiting and self._standing.is_able():
                self._barriers.wait_for(f"what waited for {listed.text}")
        cluster.set_clients_running(False)
        others = [of_request(o, o.set_number) for o in waiting if o.is_answered]
        steps = tuple(map(self._poked, [listed, *others]))
        self._waiting = [o for o in waiting if not o.is_answered]
        if listed.operation and steps[0].outcome == "pending":
            self._waiting.append(listed.operation)
        self._barriers.is_cancelled = never
        self.poked.append(Poke(len(self.reports), action, steps))
        self._on_done()
        self._timing.enter(Phase.DISPLAY)
        return steps

    def _poked(self, listed: Listed) -> StepReport:
        """Times count from the start of the set before, like those of its own steps."""
        step = listed.report(self._set_started)
        if step.begun_us is None or not self.reports:
            return step
        since = self._set_started - self.reports[-1].started_at
        return replace(step, begun_us=step.begun_us + since)

    # ---- reports -------------------------------------------------------------------------------

    def _report(self, case: CaseSet) -> SetReport:
        cluster = self._cluster
        seconds = (cluster.now() - self._set_started) / 1e6
        views = cluster.views()
        leader = cluster.leader()
        steps = tuple(listed.report(self._set_started) for listed in self._listed)
        judgements = self._judge(views)
        expectations = self._expectations(case, steps, views, judgements)
        if expectations:
            told = [(m, f"{m.expected.where}: {m.expected.key}: {m.reason}") for m in expectations]
            failed = [text for met, text in told if met.verdict is Verdict.INVALID]
            unchecked = [text for met, text in told if met.verdict is Verdict.UNKNOWN]
            judgements += (judge(EXPECTATIONS, failed, "".join(unchecked[:1])),)
        return SetReport(
            number=case.number,
            position=len(self.reports) + 1,
            total=len(self._sets),
            live=tuple(sorted(case.live)),
            leader=leader,
            ballot=_ballot_of(None if leader is None else views[leader - 1]),
            steps=steps,
            views=views,
            judgements=judgements,
            seconds=seconds,
            leaderless_us=longest_wait(self._listed, self._set_started),
            expectations=expectations,
            points=case.points,
            started_at=self._set_started,
            remarks=tuple(cluster.remarks()),
            where=f"{self._file.path}:{case.line}",
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
        cluster, connected = self._cluster, self._standing.connected()
        met = expected.held(case.expected, cluster, connected, views, steps, checks)
        if self._file.at_end and self.remaining == 1:
            for judgement in (j for report in self.reports for j in report.judgements):
                checks[judgement.check] = overall(
                    [judgement, Judgement("", checks.get(judgement.check, Verdict.VALID))]
                )
            all_steps = (of_request(o).report(self._set_started) for o in self.history)
            met += expected.held(self._file.at_end, cluster, connected, views, all_steps, checks)
        return tuple(met)

    def _judge(self, views: Sequence[ReplicaView]) -> tuple[Judgement, ...]:
        cluster, is_last = self._cluster, self.remaining == 1
        if cluster.is_external:
            balances, connected = self._config.balances(), self._standing.connected()
            judgements = judged(cluster, balances, self.history, connected, is_last)
        else:
            judgements = self._judges.judge(cluster.committed, self.history, views, is_last)
        progress = judge("progress", self._standstills())
        if progress.verdict is Verdict.VALID and self._cluster.unanswered():
            progress = replace(progress, reason=NOTHING_DUE)
        return *judgements, progress

    def _standstills(self) -> list[str]:
        """Who is not there that should be, then what did not come to its end."""
        missing, stuck = self._standing.missing(), self._barriers.stuck
        return ["; ".join(missing + stuck[:1])] if missing else stuck


def _ballot_of(leader: ReplicaView | None) -> Ballot | None:
    """That it follows, if it tells it."""
    if leader is None or "following" in leader.untold:
        return None
    return leader.status.following
