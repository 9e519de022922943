"""What people see of a set: a SetReport as rich renderables. Pure: no clock, no cluster, no print.

A table never computes a fact that a report states; what it works out itself is only how the facts
compare (lag, who differs from the live majority, percentiles). Colour repeats words and signs.
Answers to the commands of the prompt are in `table_answers`, checks, times and the end of a run in
`table_verdict`, the layout is in `table_cells`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from bank.ballot import replica_name
from bank.status import ReplicaStatus, Role
from harness.cluster.driver import ReplicaView
from harness.cluster.journal import Liveness
from harness.cluster.nemesis import FailLeader, Heal, KillAt, LinkFault, Recover
from harness.cluster.wording import counted
from harness.files.cases import Wait
from harness.files.config import ASKED
from harness.run.report import Progress, SetReport, StepReport
from harness.screen.cells import (
    ATTENTION,
    BAD,
    GOOD,
    QUIET,
    STRONG,
    Column,
    Grid,
    Hanging,
    Heading,
    Parts,
    ballot_cell,
    cell,
    duration,
)
from harness.screen.verdicts import check_lines, set_timing

FOLD_BEYOND = 15  # steps; a longer set shows its answered ones as counts
CHANGED_BEYOND = 10  # accounts; with more of them only the changed ones are shown
UNTOLD = "–"  # what other people's replicas do not tell
MOST_STEPS = 40  # that are no successes: with more, the failed and the pending are counts too
MOST_ACCOUNTS = 40  # after a set; PrintDB shows all that changed

_FAILED_AS = {
    "disconnect": Liveness.DISCONNECTED.value,
    "crash": Liveness.CRASHED.value,
    "pause": Liveness.PAUSED.value,
    ASKED: "asked to fail",
}
_OUTCOMES = {
    "success": ("✓ success", GOOD),
    "failed": ("✗ failed", ATTENTION),
    "pending": ("… pending", ATTENTION),
    "refused": ("✗ refused", BAD),
}
_LEADING = (Liveness.LIVE, Role.LEADER)
_IN_FORCE = {
    "cut": "nothing arrives",
    "delay": "slower",
    "lose": "lossy",
    "duplicate": "duplicates",
    "reorder": "out of order",
}
_STEP_COLUMNS = (
    Column("#", right=True),
    Column("Step", folds=True),
    Column("Result"),
    Column("Seq", right=True),
    Column("Ballot", drop=1),
    Column("Latency", right=True),
)


def set_screen(report: SetReport, failure: str, before: Mapping[str, int]) -> RenderableType:
    """Everything of one set. `failure` is the run's mode, `before` the balances it began with."""
    return Group(
        Heading(set_title(report.number, report.position, report.total)),
        set_summary(report),
        Text(),
        step_table(report.steps, failure, fold=True),
        Text(),
        replica_table(report.views),
        Text(),
        Balances(report.views, *changed_accounts(report.views, before, MOST_ACCOUNTS)),
        Text(),
        check_lines(report),
        *(Hanging(Text(f"! {remark}", style=ATTENTION)) for remark in report.remarks),
        set_timing(report),
    )


def set_title(number: int, position: int, total: int) -> str:
    """ "Set 6 of 10"; a set whose number is not its place in the file has both."""
    if number == position:
        return f"Set {number} of {total}"
    return f"Set {number} ({position} of {total})"


def set_summary(report: SetReport) -> RenderableType:
    """Who was live, who leads, what is answered and what is not."""
    names = " ".join(map(replica_name, report.live))
    live = Text.assemble("live ", (names, STRONG))
    if report.leader is None:
        leader = Text("no leader", style=ATTENTION)
    else:
        leader = Text.assemble("leader ", (replica_name(report.leader), STRONG))
        leader.append(f" {report.ballot}" if report.ballot is not None else "")
    pending = [step for step in report.steps if step.outcome == "pending"]
    answered = [step for step in report.steps if step.outcome in ("success", "failed")]
    waiting = Text(f"{len(pending)} pending{_origin(pending)}", style=ATTENTION if pending else "")
    done = Text(f"{len(answered)} answered{_origin(answered)}")
    # Two halves that keep together: "answered" and "pending" are read as one.
    return Parts([live, leader, Text.assemble(done, ", ", waiting)])


def _origin(steps: Sequence[StepReport]) -> str:
    carried = Counter(step.carried_from for step in steps if step.carried_from is not None)
    if not carried:
        return ""
    origins = [
        f"{count} from " + (f"set {number}" if number else "an earlier run")
        for number, count in carried.items()
    ]
    return f" ({', '.join(origins)})"


# ---- steps -------------------------------------------------------------------------------------


def step_table(steps: Sequence[StepReport], failure: str, fold: bool = False) -> RenderableType:
    """One row per step; with `fold`, runs of answered ones become one row when there are many.

    What failed, waits or broke is not folded, nor is a fault: they keep their place, unless there
    are too many of them to be read.
    """
    if not steps:
        return Text(" no steps", style=QUIET)
    if not fold or len(steps) <= FOLD_BEYOND:
        return Grid(_STEP_COLUMNS, [_step_row(step, failure) for step in steps])
    runs = [(is_done, list(run)) for is_done, run in groupby(steps, key=_is_success)]
    more, least = " PrintSteps shows every step", 2
    if sum(1 if is_done else len(run) for is_done, run in runs) > FOLD_BEYOND:
        rest, least = [step for step in steps if not _is_success(step)], 0
        runs = [(True, [step for step in steps if _is_success(step)]), (False, rest)]
        if len(rest) > MOST_STEPS:
            for outcome in list(_OUTCOMES)[1:]:
                runs.insert(-1, (True, [step for step in rest if step.outcome == outcome]))
            rest = [step for step in rest if step.outcome not in _OUTCOMES]
            runs = [(True, run) for _, run in runs[:-1] if run] + [(False, rest[:MOST_STEPS])]
            if (faults := len(rest) - MOST_STEPS) > 0:
                more = f" and {counted(faults, 'more fault')};{more}"
    rows: list[Sequence[Text]] = []
    for is_folded, run in runs:
        if is_folded and len(run) >= least:
            rows.append(_folded_row(run))
        else:
            rows.extend(_step_row(step, failure) for step in run)
    return Group(Grid(_STEP_COLUMNS, rows), Text(more, style=QUIET))


def _is_success(step: StepReport) -> bool:
    return step.outcome == "success"


def _step_row(step: StepReport, failure: str) -> tuple[Text, ...]:
    latency = None if step.latency_us is None else duration(step.latency_us)
    return (
        cell(step.label),
        cell(step.text),
        step_result(step, failure),
        cell(step.slot),
        ballot_cell(step.ballot),
        cell(latency),
    )


def _folded_row(steps: Sequence[StepReport]) -> tuple[Text, ...]:
    if not steps:
        return tuple(cell(text) for text in ("", "none answered", "", "", "", ""))
    latencies = sorted(step.latency_us for step in steps if step.latency_us is not None)
    ballots = sorted({step.ballot for step in steps if step.ballot is not None})
    slots = [step.slot for step in steps if step.slot is not None]
    shown = ballot_cell(ballots[-1] if ballots else None)
    if len(ballots) > 1:
        shown = Text(f"{len(ballots)} ballots")
    fastest = duration(latencies[0]).split(" ")[0] if latencies else ""
    if latencies and duration(latencies[0]).split(" ")[1] != duration(latencies[-1]).split(" ")[1]:
        fastest = duration(latencies[0])
    first, last = steps[0].label, steps[-1].label
    return (
        cell(f"{first}-{last}" if len(steps) > 1 else first),
        cell(counted(len(steps), "step"), STRONG),
        Text.assemble(_OUTCOMES[steps[0].outcome], f" × {len(steps)}"),
        cell(_extent(slots)),
        shown,
        cell(f"{fastest}–{duration(latencies[-1])}" if latencies else ""),
    )


def _extent(slots: Sequence[int]) -> str:
    """ "12-31" even when a few between belong to others; "12" for one."""
    if not slots:
        return ""
    return str(slots[0]) if len(slots) == 1 else f"{min(slots)}-{max(slots)}"


def step_result(step: StepReport, failure: str) -> Text:
    """ "✓ success", "✓ balance 7", "✗ failed", "… pending", "n1 disconnected", "– no-leader"."""
    match step.outcome:
        case "success" if step.value is not None:
            return Text.assemble(("✓", GOOD), f" balance {step.value}")
        case outcome if outcome in _OUTCOMES:
            text, style = _OUTCOMES[outcome]
            return Text(text, style=style)
        case "no-leader":
            return Text("– no-leader", style=ATTENTION)
        case "not-reached":
            by = "" if step.node is None else f" by {replica_name(step.node)}"
            return Text(f"– not-reached{by}", style=ATTENTION)
        case "done":
            return _done(step, failure)
        case other:
            return Text(other)


def _done(step: StepReport, failure: str) -> Text:
    """What a fault or a wait has done."""
    match step.action:
        case LinkFault(kind):
            return Text(_IN_FORCE[kind], style=ATTENTION)
        case Heal():
            return Text("whole again")
        case Wait():
            return Text("waited")
        case Recover():
            return Text(f"{_node(step)}returned")
        case KillAt() | FailLeader(str()):
            return Text(f"{_node(step)}died", style=ATTENTION)
    return Text(_node(step) + _FAILED_AS[failure], style=ATTENTION)


def _node(step: StepReport) -> str:
    return "" if step.node is None else f"{replica_name(step.node)} "


# ---- replicas ----------------------------------------------------------------------------------


def replica_table(views: Sequence[ReplicaView]) -> RenderableType:
    """One row per replica, and a line for each that stopped by itself."""
    told = [v.status.committed_upto for v in views if "committed_upto" not in v.untold]
    newest = max(told, default=0)
    columns = [
        Column("Replica"),
        Column("State"),
        Column("Role"),
        Column("Promised", drop=2),
        Column("Commit", right=True),
        Column("Exec", right=True),
        Column("Lag", right=True),
    ]
    checkpoints = any(view.status.checkpoint for view in views)
    digests = any("digest" not in view.untold for view in views)
    columns += [Column("Ckpt", right=True, drop=3)] if checkpoints else []
    columns += [Column("Digest", drop=1)] if digests else []
    rows: list[list[Text]] = []
    for view in views:
        status = view.status
        lag = newest - status.executed_upto
        facts = {
            "role": role_cell(view),
            "promised": ballot_cell(status.promised),
            "committed_upto": cell(status.committed_upto),
            "executed_upto": cell(status.executed_upto),
            "lag": cell(lag, ATTENTION if lag else ""),
        }
        facts |= {"checkpoint": cell(status.checkpoint)} if checkpoints else {}
        facts |= {"digest": cell(status.digest[:6])} if digests else {}
        untold = set(view.untold)
        untold |= {"lag"} if untold & {"executed_upto", "committed_upto"} else set()
        row = [cell(replica_name(view.replica)), state_cell(view.liveness)]
        row += [cell(UNTOLD, QUIET) if name in untold else fact for name, fact in facts.items()]
        rows.append(row)
    return Group(Grid(columns, rows), *troubles(views))


def troubles(views: Iterable[ReplicaView]) -> list[Text]:
    """One line for each replica that stopped by itself, or saw that another differs, with why."""
    found = [(view, view.trouble or view.status.halted or view.status.differs) for view in views]
    return [
        Text(f" ✗ {replica_name(view.replica)}: {why}", style=BAD) for view, why in found if why
    ]


def liveness_sign(liveness: Liveness) -> tuple[str, str]:
    """● live, ✗ stopped by itself, ○ failed on purpose; with its style."""
    if liveness is Liveness.LIVE:
        return "●", GOOD
    return ("✗", BAD) if liveness is Liveness.STOPPED else ("○", ATTENTION)


def state_cell(liveness: Liveness) -> Text:
    """ "● live", "○ disconnected", "✗ stopped"."""
    sign, style = liveness_sign(liveness)
    return Text.assemble((sign, style), f" {liveness.value}")


def role_cell(view: ReplicaView) -> Text:
    """What it does, or did when it failed; a leader that no quorum answers is one in name only."""
    status = view.status
    if view.liveness is not Liveness.LIVE:
        return cell(f"was {Role.LEADER.value if view.was_leader else status.role.value}", QUIET)
    if status.role is not Role.LEADER:
        return cell(status.role.value)
    if not status.answered:
        return cell("leader?", ATTENTION)
    return cell(Role.LEADER.value, STRONG)


# ---- balances ----------------------------------------------------------------------------------


def _holding(views: Iterable[ReplicaView]) -> list[ReplicaView]:
    """Those that tell their balances."""
    return [view for view in views if "balances" not in view.untold]


def live_majority(views: Iterable[ReplicaView]) -> dict[str, int]:
    """Per account the balance that most live replicas have; of a tie, that of who is furthest.

    Empty when none is live.
    """
    statuses = [v.status for v in _holding(views) if v.liveness is Liveness.LIVE]
    majority: dict[str, int] = {}
    for account in statuses[0].balances if statuses else ():
        held: dict[int, list[int]] = {}
        for status in statuses:
            held.setdefault(status.balances.get(account, 0), []).append(status.executed_upto)
        majority[account] = max(held, key=lambda balance: (len(held[balance]), max(held[balance])))
    return majority


def changed_accounts(
    views: Sequence[ReplicaView], before: Mapping[str, int], most: int | None = None
) -> tuple[list[str], str]:
    """The accounts to show, and a line about those that are not ("" for none).

    All of them up to ten; beyond, those that changed or differ between replicas, `most` at most.
    """
    views = _holding(views)
    every = list(views[0].status.balances) if views else []
    if len(every) <= CHANGED_BEYOND:
        return every, ""
    changed = [
        account
        for account in every
        if any(view.status.balances.get(account) != before.get(account) for view in views)
    ]
    shown = changed if most is None else changed[:most]
    parts = [f"{len(every) - len(changed):,} of {len(every):,} accounts unchanged"]
    if len(shown) < len(changed):
        parts.append(f"{len(changed) - len(shown):,} more changed (PrintDB shows them)")
    return shown, " · ".join(parts)


class Balances:
    """Replicas × accounts; too many accounts for the width go on in a further block of rows."""

    def __init__(
        self,
        views: Sequence[ReplicaView],
        accounts: Sequence[str],
        remark: str = "",
        among: Sequence[ReplicaView] | None = None,
    ) -> None:
        """`among` are the replicas whose live majority counts, when that is more than `views`."""
        majority = live_majority(views if among is None else among)
        remark = remark if (views := _holding(views)) else "no replica tells its balances"
        self.views, self.accounts, self.remark = views, accounts, remark
        self.names = [cell(replica_name(view.replica)) for view in views]
        self.cells = {
            account: [_balance(view.status, account, majority) for view in views]
            for account in accounts
        }
        self.sums = [cell(f"{sum(view.status.balances.values())}") for view in views]
        self.stale = [
            cell("" if view.liveness is Liveness.LIVE else "stale", ATTENTION) for view in views
        ]
        self.marked = any("*" in text.plain for texts in self.cells.values() for text in texts)

    def whole(self) -> Grid:
        """In one block, however wide that is."""
        return self._block(self.accounts, (3, 2, 1))

    def remarks(self) -> list[Text]:
        """The lines below."""
        remarks = [Text(" * differs from the live majority", ATTENTION)] if self.marked else []
        return remarks + ([Text(f" {self.remark}", QUIET)] if self.remark else [])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if not self.views:
            yield from self.remarks()
            return
        width = options.max_width
        whole = self.whole()
        if whole.least_width() <= width:
            yield whole
        else:
            blocks = self._split(width)
            for number, accounts in enumerate(blocks):
                if number:
                    yield Text()
                yield self._block(accounts, (2,), with_sum=number == len(blocks) - 1)
        yield from self.remarks()

    def _split(self, width: int) -> list[list[str]]:
        blocks: list[list[str]] = [[]]
        for account in self.accounts:
            if blocks[-1] and self._block([*blocks[-1], account], (2,)).least_width() > width:
                blocks.append([])
            blocks[-1].append(account)
        return blocks

    def _block(self, accounts: Sequence[str], gaps: Sequence[int], with_sum: bool = True) -> Grid:
        columns = [Column("Balance"), *(Column(account, right=True) for account in accounts)]
        texts = [self.names, *(self.cells[account] for account in accounts)]
        if with_sum:
            columns.append(Column("Sum", right=True))
            texts.append(self.sums)
        columns.append(Column(""))
        return Grid(columns, zip(*texts, self.stale, strict=True), gaps=gaps)


def _balance(status: ReplicaStatus, account: str, majority: Mapping[str, int]) -> Text:
    balance = status.balances.get(account)
    if account in majority and balance != majority[account]:
        return cell(f"*{'–' if balance is None else balance}", ATTENTION)
    return cell(balance)


# ---- while a set runs --------------------------------------------------------------------------


def progress_line(progress: Progress) -> Text:
    """One line while a set runs: who is live, who leads, what is answered, what it waits for."""
    signs = Text()
    for replica, liveness, _ in progress.replicas:
        signs.append(" " if signs else "")
        signs.append(*liveness_sign(liveness))
        signs.append(replica_name(replica))
    leaders = [r for r, liveness, role in progress.replicas if (liveness, role) == _LEADING]
    parts = [
        Text(set_title(progress.set_number, progress.position, progress.total)),
        signs,
        Text(f"leader {replica_name(leaders[-1])}" if leaders else "no leader"),
        Text(f"{progress.answered}/{progress.operations} answered"),
        Text(f"waits: {progress.waiting_for}", style=QUIET),
    ]
    line = Text(" · ").join(parts)
    line.no_wrap, line.overflow = True, "ellipsis"
    return line
