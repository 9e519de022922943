"""Reports, a cluster and a runner for tests of what people see: nothing here runs or waits."""

import io
from collections.abc import Callable, Sequence
from dataclasses import replace

from rich.console import Console, RenderableType

from bank.ballot import NO_BALLOT, Ballot
from bank.events import Leads
from bank.ledger import TRANSFER
from bank.messages import Accept, ClientRequest, Message, NewView, Prepare
from bank.replica import CLIENT
from bank.sessions import NOOP_REQUEST, Request
from bank.status import ReplicaStatus, Role, SlotMark, SlotStatus
from harness.check.expectations import Met, describe
from harness.check.verdict import Judgement, Verdict, judge, overall
from harness.cluster.driver import CommitLog, ReplicaView
from harness.cluster.history import Operation
from harness.cluster.journal import (
    Entry,
    Heartbeats,
    Liveness,
    LivenessChanged,
    PeerDied,
    Traces,
    Way,
    passed,
)
from harness.cluster.nemesis import Fail, FailLeader, Recover
from harness.errors import EXIT_MACHINE, HarnessError
from harness.files.cases import Action, Balances, CaseSet, Expected, Leader, Outcomes
from harness.files.config import ClusterConfig
from harness.files.steps import Names, parse_step
from harness.run.report import Performance, Poke, Progress, SetReport, StepReport
from harness.screen.snapshot import Event, ReplicaNow, Snapshot

CHECKS = ("agreement", "conservation", "exactly_once", "linearizable", "progress")
LIVE, GONE, DEAD = Liveness.LIVE, Liveness.DISCONNECTED, Liveness.CRASHED
BEFORE = dict(zip("ABCDEFGHIJ", (6, 1, 11, 11, 14, 11, 12, 11, 14, 9), strict=True))
AFTER = dict(zip("ABCDEFGHIJ", (2, 6, 10, 11, 12, 13, 12, 11, 12, 11), strict=True))


NAMES = Names(5, [*"ABCDEFGHIJ", "account1", "account2"])


def reported(label: str, text: str, *arguments, **more) -> StepReport:
    """A step as the runner reports it: `text` says what it asks for."""
    return StepReport(label, text, *arguments, action=parse_step(text, NAMES)[1], **more)


def view(
    replica: int,
    balances: dict[str, int],
    liveness: Liveness = LIVE,
    role: Role = Role.FOLLOWER,
    upto: int = 16,
    ballot: Ballot = Ballot(2, 2),  # noqa: B008
    digest: str = "b70d44" + "0" * 58,
    was_leader: bool = False,
    checkpoint: int = 0,
    answered: bool = True,
    trouble: str | None = None,
    truncated_upto: int = 0,
) -> ReplicaView:
    status = ReplicaStatus(
        replica=replica,
        role=role,
        promised=ballot,
        following=ballot,
        answered=answered,
        committed_upto=upto,
        executed_upto=upto,
        truncated_upto=truncated_upto,
        last_slot=upto,
        checkpoint=checkpoint,
        digest=digest,
        running_hash="",
        balances=balances,
        sessions=(),
        halted=None,
    )
    return ReplicaView(replica, liveness, status, was_leader, trouble)


def judgements(**others: tuple[Verdict, str]) -> tuple[Judgement, ...]:
    return tuple(Judgement(c, *others.get(c, (Verdict.VALID, ""))) for c in CHECKS)


def set_six() -> SetReport:
    """The set of SCREEN: two carried over, then the leader fails."""
    first, second = Ballot(1, 1), Ballot(2, 2)
    stale = {**BEFORE, "A": 2, "B": 6, "C": 10, "D": 9, "F": 13, "I": 14}
    return SetReport(
        number=6,
        position=6,
        total=10,
        live=(1, 2, 3, 4, 5),
        leader=2,
        ballot=second,
        steps=(
            reported("5.1", "(C, B, 1)", "success", None, 12, first, 1_100, 5),
            reported("5.2", "(D, F, 2)", "success", None, 13, first, 1_200, 5),
            reported("1", "(A, B, 4)", "success", None, 14, first, 600),
            reported("2", "LF", "done", node=1, begun_us=100),
            reported("3", "(I, D, 2)", "success", None, 15, second, 402_000),
            reported("4", "(E, J, 2)", "success", None, 16, second, 403_000),
        ),
        views=(
            view(1, stale, GONE, Role.LEADER, 14, first, "9f31c2", was_leader=True),
            view(2, AFTER, role=Role.LEADER),
            view(3, AFTER),
            view(4, AFTER),
            view(5, AFTER),
        ),
        judgements=judgements(),
        seconds=0.83,
        leaderless_us=401_000,
        started_at=5_000_000,
    )


def troubled() -> SetReport:
    """Everything that can be wrong at once: no quorum, checks that fail or cannot decide."""
    wrong = {**AFTER, "A": 3}
    return SetReport(
        number=12,
        position=2,
        total=3,
        live=(1, 2),
        leader=None,
        ballot=None,
        steps=(
            reported("6.7", "(F, A, 2)", "pending", carried_from=6),
            reported("0.1", "(G, A, 2)", "pending", carried_from=0),
            reported("1", "(B, F, 30)", "failed", None, 17, Ballot(2, 2), 90_000),
            reported("2", "(A)", "success", 2, 18, Ballot(2, 2), 60),
            reported("3", "LF", "no-leader"),
            reported("4", "F(n2)", "done", node=2),
            reported("5", "R(n2)", "done", node=2),
            reported("6", "(J, I, 1)", "pending"),
        ),
        views=(
            view(1, AFTER, role=Role.LEADER, upto=18, answered=False, checkpoint=10),
            view(2, wrong, role=Role.CANDIDATE, upto=18, ballot=Ballot(14, 2)),
            view(3, AFTER, Liveness.PAUSED),
            view(4, BEFORE, DEAD, upto=11, ballot=NO_BALLOT),
            view(5, AFTER, Liveness.STOPPED, trouble="n5.db: damaged: row 3 missing"),
        ),
        judgements=judgements(
            agreement=(Verdict.INVALID, "slot 17: n1 executed (A, B, 1), n2 (B, A, [1])"),
            linearizable=(Verdict.UNKNOWN, "slots up to 10 are from an earlier run"),
        ),
        seconds=12.5,
        leaderless_us=60,
    )


def long_set(failing: Sequence[int] = (7, 31), pending: Sequence[int] = (50,)) -> SetReport:
    """Fifty steps, one of them LF, a few that failed or wait."""
    ballots = Ballot(1, 1), Ballot(2, 2)
    steps = []
    for index in range(1, 51):
        ballot = ballots[index > 20]
        if index == 20:
            steps.append(reported("20", "LF", "done", node=1))
        elif index in pending:
            steps.append(reported(str(index), "(C, D, 1)", "pending"))
        else:
            outcome = "failed" if index in failing else "success"
            step = reported(
                str(index), "(C, D, 1)", outcome, None, index, ballot, 900 + 100 * index
            )
            steps.append(step)
    base = set_six()
    return SetReport(
        10, 10, 10, base.live, 2, base.ballot, tuple(steps), base.views, judgements(), 0.05, 400_000
    )


def graded() -> SetReport:
    """Steps that only YAML can say, expectations of which two do not hold, and points."""
    base, first, second = set_six(), Ballot(1, 1), Ballot(2, 2)
    wanted = (
        ("balances", Balances({"A": 2, "B": 5}), ("B 6",), 5),
        ("outcomes", Outcomes({"1": "success"}), (), 2.5),
        ("leader", Leader(frozenset({1, 3})), ("n2",), None),
    )
    met = [
        Met(Expected(f"testsets/cut_off.yaml:{line}", key, what, points), describe(what), wrong)
        for line, (key, what, wrong, points) in enumerate(wanted, 21)
    ]
    return replace(
        base,
        steps=(
            reported("1", "(A, B, 4)", "success", None, 14, first, 600),
            reported("2", "cut n1,n2<->n3,n4,n5", "done"),
            reported("3", "delay n3->* 20-50 ms", "done"),
            reported("4", "lose n3->n4 30 %", "done"),
            reported("5", "duplicate *->* 5 %", "done"),
            reported("6", "reorder *->* 5 %", "done"),
            reported("7", "wait 200 ms", "done"),
            reported("8", "heal", "done"),
            reported("9", "fail leader before COMMIT", "done", node=1),
            reported("10", "fail n3 in mid-checkpoint", "not-reached", node=3),
            reported("11", "(I, D, 2)", "success", None, 15, second, 402_000),
        ),
        judgements=(
            *base.judgements,
            judge("expectations", ("testsets/cut_off.yaml:21: balances: …",)),
        ),
        expectations=tuple(met),
        points=2.5,
    )


def snapshot() -> Snapshot:
    """Everything that can be seen of replicas at once, with figures of a benchmark."""
    old, new = Ballot(11, 1), Ballot(12, 2)
    busy = tuple(map(float, (0, 900, 12_000, 31_000, 64_000, 88_011, 70_500, 0, 12_400)))
    lost = Event(8_000_000, 1, "paused")
    leads = Event(8_300_000, 2, "leads (12, n2)")
    stands = Event(8_100_000, 2, "stands for leader")
    follows = Event(8_400_000, 4, "follows (12, n2)")
    dead = Event(4_000_000, 3, "crashed")
    away = (*busy[:4], None, None, None, None, None)
    leader, backup = Role.LEADER, Role.FOLLOWER
    return Snapshot(
        at=9_000_000,
        replicas=(
            ReplicaNow(
                1, Liveness.PAUSED, leader, old, True, True, 0, 9_871, 9_871, 7, 0, away, lost
            ),
            ReplicaNow(
                2, LIVE, leader, new, True, False, 200_000, 98_720, 98_720, 598_000, 3, busy, leads
            ),
            ReplicaNow(3, DEAD, backup, old, False, False, 0, 120, 100, 7, 0, (), dead),
            ReplicaNow(4, LIVE, backup, new, True, False, 0, 98_000, 97_000, 0, 0, busy, follows),
            ReplicaNow(5, LIVE, backup, old, False, False, 2_600_000),
        ),
        events=(dead, lost, stands, leads, follows),
        cut=4,
        faulty=2,
    )


def many_accounts(accounts: int = 100, changed: int = 12) -> SetReport:
    """More accounts than are shown, with long names and large balances."""
    before = {f"account{number}": 1_000_000 for number in range(accounts)}
    after = {a: b + (n + 1 if n < changed else 0) for n, (a, b) in enumerate(before.items())}
    base = set_six()
    views = (view(1, before, GONE, upto=3), *(view(r, after) for r in (2, 3, 4, 5)))
    steps = (reported("1", "(account1, account2, 100)", "success", None, 3, base.ballot, 900),)
    return SetReport(1, 1, 1, (2, 3, 4, 5), 2, base.ballot, steps, views, judgements(), 0.01, 0)


def asked(client: str, receiver: str, amount: int) -> Request:
    return (client, 1, TRANSFER, client, receiver, amount)


def sent(way: Way, peers: tuple[int, ...], message: Message, at: int) -> Entry:
    return Entry(at, passed(way, peers, message))


SECOND = Ballot(2, 2)
VIEW = NewView(SECOND, 13, (NOOP_REQUEST, asked("A", "B", 4), NOOP_REQUEST), 12)
BOTH = (asked("I", "D", 2), asked("E", "J", 2))
TRACE = (
    Entry(5_000_000, Heartbeats(Way.READ, Ballot(1, 1), 7)),
    Entry(5_000_200, PeerDied(1)),
    sent(Way.SENT, (), Prepare(SECOND, 14), 5_000_300),
    Entry(5_001_000, Leads(SECOND)),
    sent(Way.SENT, (), VIEW, 5_001_100),
    sent(Way.READ, (CLIENT,), ClientRequest(BOTH), 5_002_500),
    sent(Way.SENT, (), Accept(SECOND, 16, BOTH, 15), 5_012_500),
)
READ = (sent(Way.READ, (2,), VIEW, 5_001_400),)


class FakeCluster:
    """As much of a Cluster as the prompt asks for; `calls` notes what changed it."""

    is_external = False

    def __init__(self, reports: Sequence[SetReport], started: Callable[[], None] = lambda: None):
        self.replicas = 5
        self.committed = CommitLog()
        for slot in range(1, 17):
            request = ("A", slot, "transfer", "A", "B", 1)
            self.committed.slots[slot] = (request, "success")
        self.reports = reports
        failed = Entry(5_000_150, LivenessChanged(GONE))
        self.lines = {1: (failed, *READ), 2: TRACE, 3: READ}
        self.calls: list[str] = []
        self.start_hook = started
        self.waiting: list[Operation] = []

    def now(self):
        return 0

    def start(self) -> None:
        self.calls.append("start")
        self.start_hook()

    def stop(self) -> None:
        self.calls.append("stop")

    def views(self) -> tuple[ReplicaView, ...]:
        """As in the report, but that the leader holds slot 17; see `slots`."""
        n1, n2, *others = self.reports[0].views
        return (n1, replace(n2, status=replace(n2.status, last_slot=17)), *others)

    def liveness(self, replica: int) -> Liveness:
        return self.views()[replica - 1].liveness

    def traces(self) -> Traces:
        traces = Traces(range(1, 6), 100)
        for replica, lines in self.lines.items():
            traces.add(replica, lines)
        return traces

    def slots(self, replica: int, slots: Sequence[int]) -> tuple[SlotStatus, ...]:
        status = self.views()[replica - 1].status
        found = []
        for slot in slots:
            request = ("A", slot, "transfer", "A", "B", 1)
            if slot <= status.executed_upto:
                found.append(SlotStatus(slot, SlotMark.EXECUTED, status.following, request))
            elif slot == 17 and replica < 4:
                other = ("B", 9, "noop", "", "", 0) if replica == 3 else request
                found.append(SlotStatus(slot, SlotMark.ACCEPTED, status.following, other))
            else:
                found.append(SlotStatus(slot, SlotMark.NONE, None, None))
        return tuple(found)


class FakeRunner:
    """Gives the reports it was made of, one after the other."""

    def __init__(
        self,
        reports: Sequence[SetReport],
        on_progress: Callable[[Progress], None] | None = None,
        before_set: Callable[[], None] = lambda: None,
    ):
        self._coming = list(reports)
        self._on_progress = on_progress
        self._before_set = before_set
        self.reports: list[SetReport] = []
        self.poked: list[Poke] = []
        self.waiting: list[Operation] = []

    @property
    def remaining(self) -> int:
        return len(self._coming)

    def run_next(self) -> SetReport:
        self._before_set()
        report = self._coming.pop(0)
        if self._on_progress is not None:
            self._on_progress(progress(report))
        self.reports.append(report)
        return report

    def poke(self, action: Action, is_cancelled: Callable[[], bool]) -> tuple[StepReport, ...]:
        step = reported("+", "(A, B, 3)", "success", None, 17, Ballot(2, 2), 800)
        match action:
            case Fail(replica):
                step = reported("+", f"F(n{replica})", "done", node=replica)
            case Recover(replica):
                step = reported("+", f"R(n{replica})", "done", node=replica)
            case FailLeader():
                step = reported("+", "LF", "no-leader")
        self.poked.append(Poke(len(self.reports), action, (step,)))
        return (step,)

    def pending(self) -> list[Operation]:
        return self.waiting

    def forgotten(self) -> int:
        return 0

    def verdict(self) -> Verdict:
        return overall(j for report in self.reports for j in report.judgements)

    def performance(self) -> Performance:
        latencies = sorted(
            step.latency_us
            for report in self.reports
            for step in report.steps
            if step.latency_us is not None
        )
        seconds = sum(report.seconds for report in self.reports)
        return Performance(len(latencies), seconds, tuple(latencies))


def progress(report: SetReport) -> Progress:
    roles = tuple((v.replica, v.liveness, v.status.role) for v in report.views)
    return Progress(report.number, report.position, report.total, 3, 6, roles, "LF in step 2")


def cases(reports: Sequence[SetReport]) -> list[CaseSet]:
    return [CaseSet(r.number, frozenset(r.live), (), 1) for r in reports]


def pending_operation(set_number: int = 4) -> Operation:
    return Operation(("J", 3, "transfer", "J", "I", 1), set_number, invoked_at=1)


def machine_failure() -> None:
    raise HarnessError("n3 cannot start: too many processes", exit_code=EXIT_MACHINE)


def render(renderable: RenderableType, width: int, color: bool = False) -> str:
    """What is printed at this width; with `color`, as on a terminal."""
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=width,
        color_system="standard" if color else None,
        force_terminal=color,
        no_color=not color,
        highlight=False,
        markup=False,
        emoji=False,
    )
    console.print(renderable)
    return stream.getvalue()


CONFIG = ClusterConfig(seed=7)
