"""The end of a set and of a run: checks, expectations, points and times. Pure, like `tables`."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from bank.ledger import describe
from harness.check.verdict import Judgement, Verdict
from harness.cluster.history import Operation
from harness.cluster.wording import counted
from harness.run.points import of_set
from harness.run.report import Performance, Problem, SetReport
from harness.screen.cells import (
    ATTENTION,
    BAD,
    GOOD,
    QUIET,
    STRONG,
    Hanging,
    Heading,
    Parts,
    duration,
    percentile,
    rate,
)

MOST_PENDING = 20  # requests that are named at the end of a run; more are counted
LONG_WAIT_US = 100_000  # with no commit: worth a word even where nothing was made to fail

_STYLES = {
    Verdict.VALID: GOOD,
    Verdict.INVALID: BAD,
    Verdict.UNKNOWN: ATTENTION,
    Verdict.NOT_ASKED: QUIET,
}


def check_lines(report: SetReport) -> RenderableType:
    """Every check with its sign, then a line for everything that does not hold or is unknown."""
    signs = [
        Text.assemble((judgement.verdict.sign, _STYLES[judgement.verdict]), " ")
        + Text(_check_name(judgement.check) + _remark(judgement))
        for judgement in report.judgements
    ]
    score = of_set(report)
    signs += [] if score is None else [Text(points(*score), style=STRONG)]
    against = [
        Hanging(Text(f"{p.verdict.sign} {_problem(p)}", style=_STYLES[p.verdict]))
        for p in report.problems
    ]
    if left_out := [j for j in report.judgements if j.verdict is Verdict.NOT_ASKED]:
        told = "; ".join(f"{_check_name(j.check)}: {j.reason}" for j in left_out)
        against.append(Hanging(Text(f"– not asked: {told}", style=QUIET)))
    return Group(Parts(signs, separator="  ", indent=1), *against)


def _problem(problem: Problem) -> str:
    """An expectation has its own place in a file."""
    if problem.where:
        return f"{problem.where}: {problem.check}: {problem.reason}"
    return f"{_check_name(problem.check)}: {problem.reason}"


def points(scored: float, most: float) -> str:
    """ "7.5 of 10 points"."""
    return f"{scored:.12g} of {most:.12g} point" + ("" if most == 1 else "s")


def _remark(judgement: Judgement) -> str:
    """What is to be said of a check that holds."""
    is_said = judgement.reason and judgement.verdict is Verdict.VALID
    return f" ({judgement.reason})" if is_said else ""


def _check_name(check: str) -> str:
    return check.replace("_", "-")


def set_timing(report: SetReport) -> RenderableType:
    """Time, throughput, latencies, and how long nothing was committed when that is news."""
    latencies = sorted(step.latency_us for step in report.steps if step.latency_us is not None)
    parts = timing_parts(len(latencies), report.seconds, latencies)
    if gone := leaderless(report):
        parts.append(Text(f"no commit for {gone}"))
    return Parts(parts, indent=1)


def leaderless(report: SetReport) -> str:
    """How long nothing was committed, "" when that is no news."""
    outcomes = {step.outcome for step in report.steps}
    # Waits that never ended are not counted in it, so beside a pending step a short one misleads.
    # Where nobody waited there was nothing to commit.
    waited = report.leaderless_us
    if waited >= LONG_WAIT_US or (waited and "done" in outcomes and "pending" not in outcomes):
        return duration(waited)
    return ""


def timing_parts(answered: int, seconds: float, latencies: Sequence[int]) -> list[Text]:
    """ "830 ms", "57/s", "p50 1.2 ms", …; `latencies` in microseconds, sorted."""
    parts = [Text(duration(round(seconds * 1e6)))]
    if not latencies:
        return parts
    parts.append(Text(rate(answered, seconds)))
    for name, per_hundred in (("p50", 50.0), ("p99", 99.0)):
        parts.append(Text(f"{name} {duration(percentile(latencies, per_hundred))}"))
    return parts


def verdict_lines(
    verdict: Verdict,
    judged: Sequence[SetReport],
    pending: Sequence[Operation],
    measured: Performance,
    score: tuple[float, float] | None = None,
    forgotten: int = 0,
) -> RenderableType:
    """The end of a run: the verdict, every reason against it, and what nobody answered.

    `score` is what the whole file scored and what it could; None when it gives no points.
    `forgotten` requests were given up by their clients at the end of their set.
    """
    total = judged[-1].total if judged else 0
    sets = counted(len(judged), "set")
    sets += f" of {total}" if len(judged) < total else ""
    words = {
        Verdict.VALID: f"valid: every check holds over {sets}",
        Verdict.INVALID: f"invalid: a check does not hold, {sets} run",
        Verdict.UNKNOWN: f"unknown: a check could not decide, {sets} run",
    }
    lines: list[RenderableType] = [
        Text(f" {verdict.sign} {words[verdict]}", style=_STYLES[verdict])
    ]
    lines += [] if score is None else [Text(f" {points(*score)}", style=STRONG)]
    for report in judged:
        lines += [
            Hanging(Text(f"set {report.number}, {_problem(problem)}"), indent=3)
            for problem in report.problems
        ]
    for operation in pending[:MOST_PENDING]:
        step, client = describe(*operation.request[2:]), operation.request[0]
        origin = f"set {operation.set_number}" if operation.set_number else "an earlier run"
        lines.append(Text(f" … pending: {step} of client {client}, from {origin}", style=ATTENTION))
    if (more := len(pending) - MOST_PENDING) > 0:
        lines.append(Text(f" … {counted(more, 'more request')} pending", style=ATTENTION))
    dropped = f", {forgotten:,} forgotten" if forgotten else ""
    parts = [Text(f"{measured.answered:,} answered{dropped}, {len(pending):,} pending")]
    parts += timing_parts(measured.answered, measured.seconds, measured.latencies_us)
    return Group(Heading("End"), *lines, Parts(parts, indent=1))
