"""A run as one page that needs no network and, but for its message diagram, no script. Pure.

Tables and words are those of the terminal, pictures and messages come from the replicas' traces.
Every text of a run passes `markup`, and the page itself forbids whatever is not its own style and
script.
"""

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from hashlib import sha256
from importlib import resources
from pathlib import PurePath
from typing import Any

from bank.ballot import replica_name
from harness.check.verdict import Verdict, overall
from harness.cluster.history import Operation
from harness.cluster.wording import line
from harness.files.cases import CaseFile, Command
from harness.files.config import DROP, ClusterConfig
from harness.report import charts, contradiction
from harness.report.markup import Safe, element, embedded_json, join
from harness.report.screen import shown, table, words
from harness.run import flows, points
from harness.run.flows import Story, Traces
from harness.run.report import SetReport, StepReport, measured
from harness.run.story import Moment
from harness.screen.cells import Grid, duration
from harness.screen.stories import MOST_MOMENTS, moment_text
from harness.screen.tables import (
    MOST_ACCOUNTS,
    Balances,
    changed_accounts,
    live_majority,
    replica_table,
    set_summary,
    set_title,
    step_result,
    step_table,
)
from harness.screen.verdicts import check_lines, leaderless, set_timing, verdict_lines
from harness.screen.verdicts import points as points_text

MOST_STEPS = 1_000  # of a set, in its table and in the diagram; what is no success comes first
_CLASSES = {
    Verdict.VALID: "valid",
    Verdict.INVALID: "invalid",
    Verdict.UNKNOWN: "unknown",
    Verdict.NOT_ASKED: "quiet",
}
_LEGEND = {
    "leader": "leads",
    "former": "in name only",
    "candidate": "stands",
    "backup": "backup",
    "failed": "failed",
}


def page(
    file: CaseFile,
    config: ClusterConfig,
    reports: Sequence[SetReport],
    pending: Sequence[Operation],
    *,
    traces: Traces,
    moments: Sequence[Moment],
    command: str = "",
    written: str = "",
    ended: str = "",
    forgotten: int = 0,
) -> str:
    """The whole run, or as much of it as there is.

    `traces` are as many as `reports`, `moments` those of `story.timeline`; `command` repeats the
    run, `written` says when it was, `ended` why it did not come to its end. `forgotten` requests of
    earlier sets were given up by their clients.
    """
    stories = flows.tell(reports, traces, moments)
    curves = list(charts.curves(reports))
    style, script = _part("page.css"), _part("page.js")
    parts = {
        "title": join(_title(file)),
        "policy": join(
            f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
            "base-uri 'none'; form-action 'none'"
        ),
        "style": style,
        "script": script,
        "head": _head(file, config, reports, pending, command, written, ended, forgotten),
        "links": _links(reports),
        "overview": _overview(reports, stories, moments, curves),
        "sets": join(*_sets(config, reports, stories, curves)),
        "data": embedded_json(_data(config, reports, stories)),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _part("page.html"))


@cache
def _part(name: str) -> Safe:
    return Safe(resources.files(__package__).joinpath(name).read_text(encoding="utf-8"))


def style() -> str:
    """What pages of ours look like."""
    return _part("page.css")


def _digest(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


# ---- the run -----------------------------------------------------------------------------------


def _title(file: CaseFile) -> str:
    return file.name or PurePath(file.path).name


def _head(
    file: CaseFile,
    config: ClusterConfig,
    reports: Sequence[SetReport],
    pending: Sequence[Operation],
    command: str,
    written: str,
    ended: str,
    forgotten: int,
) -> Safe:
    facts = {
        "file": file.path,
        "sets run": f"{len(reports)} of {len(file.sets)}",
        "failure": config.failure,
        "durability": config.durability,
        "unanswered": DROP if config.unanswered == DROP else "",
        "replicas": config.nodes,
        "seed": config.seed,
        "written": written,
    }
    terms = [
        element("div", element("dt", name), element("dd", str(fact)))
        for name, fact in facts.items()
        if fact != ""
    ]
    score = points.of_file(file, reports)
    verdict = overall(j for report in reports for j in report.judgements)
    said = verdict_lines(verdict, reports, pending, measured(reports), score, forgotten)
    told = element("div", shown(said), class_="verdict") if reports else element("p", "No set yet.")
    return join(
        element("h1", _title(file)),
        element("p", file.description, class_="about") if file.description else None,
        element("p", f"✗ The run did not come to its end: {ended}") if ended else None,
        told,
        element("dl", *terms, class_="facts"),
        element("p", "Run it again: ", element("code", command)) if command else None,
    )


def _links(reports: Sequence[SetReport]) -> Safe:
    sets = []
    for report in reports:
        verdict = report.verdict
        sign = "" if verdict is Verdict.VALID else f" {verdict.sign}"
        name, href = f"{report.number}{sign}", f"#set-{report.number}"
        title = f"Set {report.number}: {verdict.value}"
        sets.append(element("a", name, href=href, title=title, class_=_CLASSES[verdict]))
    return join(
        element("a", "Overview", href="#overview"),
        element("span", *sets, class_="sets"),
        element("a", "Messages", href="#messages"),
    )


def _badge(verdict: Verdict, word: str = "") -> Safe:
    text = f"{verdict.sign} {word or verdict.value}"
    return element("span", text, class_=f"badge {_CLASSES[verdict]}")


def _overview(
    reports: Sequence[SetReport],
    stories: Sequence[Story],
    moments: Sequence[Moment],
    curves: Sequence[charts.Curve],
) -> Safe:
    columns = [
        ("Set", "num"), ("Live", ""), ("Leader", ""), ("Answered", "num"), ("Pending", "num"),
        ("Time", "num"), ("No commit for", "num"), ("Points", "num"), ("Checks", "wide"),
    ]  # fmt: skip
    rows = [_overview_row(report) for report in reports]
    if not any(map(points.of_set, reports)):
        columns.pop(-2)
        rows = [[*row[:-2], row[-1]] for row in rows]
    return join(
        table(columns, rows),
        _who_led(reports, stories, moments) if moments else None,
        element("h3", "Balances over the slots"),
        charts.balances(reports, curves),
    )


def _overview_row(report: SetReport) -> list[object]:
    outcomes, score = report.outcomes, points.of_set(report)
    pending = outcomes["pending"]
    holding = (Verdict.VALID, Verdict.NOT_ASKED)
    missed = [j for j in report.judgements if j.verdict not in holding]
    signs = [_badge(j.verdict, j.check.replace("_", "-")) for j in missed]
    leader: object = element("span", "no leader", class_="look")
    if report.leader is not None:
        leader = " ".join(map(str, filter(None, (replica_name(report.leader), report.ballot))))
    return [
        element("a", str(report.number), href=f"#set-{report.number}"),
        " ".join(map(replica_name, report.live)),
        leader,
        outcomes["success"] + outcomes["failed"],
        element("span", str(pending), class_="look" if pending else None),
        duration(round(report.seconds * 1e6)),
        leaderless(report),
        "" if score is None else points_text(*score),
        join(*signs) if signs else _badge(Verdict.VALID, "all"),
    ]


def _who_led(
    reports: Sequence[SetReport], stories: Sequence[Story], moments: Sequence[Moment]
) -> Safe:
    picture = charts.timeline(reports, stories)
    legend = [element("span", element("i", class_=k), text) for k, text in _LEGEND.items()]
    legend.append(element("span", "One column per set, wider by the root of its time."))
    rows = [
        (moment.set_number, duration(moment.at), words(moment_text(moment)))
        for moment in moments[-MOST_MOMENTS:]
    ]
    listed = table([("Set", "num"), ("At", "num"), ("", "wide")], rows)
    earlier = len(moments) - len(rows)
    return join(
        element("h3", "Who led when"),
        element("div", picture, class_="scroll", tabindex=0),
        element("p", *legend, class_="legend"),
        element(
            "details",
            element("summary", "The same in words"),
            element("p", f"{earlier:,} earlier events not shown") if earlier else None,
            listed,
        ),
    )


# ---- a set -------------------------------------------------------------------------------------


def _sets(
    config: ClusterConfig,
    reports: Sequence[SetReport],
    stories: Sequence[Story],
    curves: Sequence[charts.Curve],
) -> Iterator[Safe]:
    before = {curve.account: curve.points[0][1] for curve in curves}
    told: set[int] = set()  # answers that a picture was drawn of
    for index, (report, story) in enumerate(zip(reports, stories, strict=True)):
        title = set_title(report.number, report.position, report.total)
        balances = _balances(report, before)
        checks = check_lines(report)
        more = element(
            "a", f"Messages of this set ({len(story.messages):,})", href="#messages",
            data_set=index, data_at=0,
        )  # fmt: skip
        yield element(
            "section",
            element("h2", title, " ", _badge(report.verdict)),
            shown(set_summary(report)),
            shown(set_timing(report)),
            element(
                "div",
                _titled("Steps", _steps(report, index, config.failure)),
                _titled("Replicas", shown(replica_table(report.views))),
                _titled("Balances", shown(balances)),
                _titled("Checks", shown(checks), *_expectations(report)),
                class_="parts",
            ),
            *_why(report, reports, stories, told),
            element("p", more) if story.messages else None,
            id=f"set-{report.number}", class_="set",
        )  # fmt: skip
        before = live_majority(report.views) or before


def _why(
    report: SetReport, reports: Sequence[SetReport], stories: Sequence[Story], told: set[int]
) -> Iterator[Safe]:
    """A picture of each contradiction, in the first set that has it."""
    for judgement in report.judgements:
        found = judgement.evidence
        if found is None or id(found.failed) in told:
            continue
        told.add(id(found.failed))
        places = {one.number: index for index, one in enumerate(reports)}
        links = {}
        for operation in (*found.others, found.failed):
            index = places.get(operation.set_number)
            if index is not None and operation.invoked_at is not None:
                at = max(0, operation.invoked_at - reports[index].started_at)
                links[id(operation)] = element(
                    "a", "messages", href="#messages", data_set=index, data_at=at
                )
        yield element("h3", "Why it does not hold")
        yield contradiction.section(found, list(_marks(reports, stories)), links)


def _marks(reports: Sequence[SetReport], stories: Sequence[Story]) -> Iterator[contradiction.Mark]:
    """Faults and leaders of all sets, by the cluster's clock."""
    for report, story in zip(reports, stories, strict=True):
        for step in report.steps:
            if not isinstance(step.action, Command) and step.begun_us is not None:
                yield contradiction.Mark(report.started_at + step.begun_us, step.text, "fault")
        for phase in story.phases:
            if phase.state == "leader" and phase.begin > 0:
                text = f"{replica_name(phase.replica)} leads"
                yield contradiction.Mark(report.started_at + phase.begin, text, "leader")


def _titled(title: str, *content: Safe) -> Safe:
    return element("div", element("h3", title), *content, class_=title.lower())


def _steps(report: SetReport, index: int, failure: str) -> Safe:
    """As on the terminal, with when each began."""
    steps = [report.steps[at] for at in report.steps_shown(MOST_STEPS)]
    grid = step_table(steps, failure)
    if not isinstance(grid, Grid):
        return shown(grid)
    columns = [(c.name, "num" if c.right else "") for c in grid.columns]
    rows = [
        [*map(words, row), _begins(step, index)] for row, step in zip(grid.rows, steps, strict=True)
    ]
    told = table([*columns, ("Begins at", "num")], rows)
    counts = ", ".join(f"{count:,} {outcome}" for outcome, count in report.outcomes.items())
    said = f"{len(steps):,} of {len(report.steps):,} steps ({counts}); history.jsonl has all"
    left_out = element("p", said, class_="quiet") if len(steps) < len(report.steps) else None
    return join(told, left_out)


def _begins(step: StepReport, index: int) -> Safe | None:
    if step.begun_us is None:
        return None
    return element(
        "a", duration(step.begun_us), href="#messages", data_set=index, data_at=step.begun_us,
        title="Show in the messages",
    )  # fmt: skip


def _balances(report: SetReport, before: Mapping[str, int]) -> Balances:
    changed, remark = changed_accounts(report.views, before)
    if more := max(0, len(changed) - MOST_ACCOUNTS):
        remark += f" · {more:,} more changed"
    return Balances(report.views, changed[:MOST_ACCOUNTS], remark)


def _expectations(report: SetReport) -> list[Safe]:
    """What was expected and is so; the rest stands among the checks, with its reason."""
    met = [m for m in report.expectations if m.holds]
    rows = [
        (PurePath(m.expected.where).name, m.expected.key, m.wanted, m.expected.points) for m in met
    ]
    columns = [("Expected at", ""), ("", ""), ("", "wide"), ("Points", "num")]
    return [table(columns, rows)] if rows else []


# ---- what the script draws ---------------------------------------------------------------------


def _data(
    config: ClusterConfig, reports: Sequence[SetReport], stories: Sequence[Story]
) -> dict[str, Any]:
    """Compact: a text that comes again is a number; see page.js for the places in the lists."""
    numbers: dict[str, int] = {}

    def word(text: str) -> int:
        return numbers.setdefault(text, len(numbers))

    sets = []
    for report, story in zip(reports, stories, strict=True):
        messages = []
        for m in story.messages:
            what = line(m.passed)[2:]
            ends = [int(number) for end in m.ends.items() for number in end]
            messages.append([m.source, m.sent, *map(word, what), *ends])
        sets.append({
            "set": report.number,
            "live": " ".join(map(replica_name, report.live)),
            "messages": messages,
            "marks": [[m.replica, m.at, word(m.kind), word(m.text)] for m in story.marks],
            "phases": [[p.replica, p.begin, p.end, p.state] for p in story.phases],
            "steps": list(_moments(report, config.failure)),
            "dropped": {replica_name(r): count for r, count in story.dropped.items()},
        })  # fmt: skip
    lanes = ["clients", *map(replica_name, range(1, config.nodes + 1))]
    return {"lanes": lanes, "words": list(numbers), "sets": sets}


def _moments(report: SetReport, failure: str) -> Iterator[list[object]]:
    """When steps began and ended: begin, end or null, label, text, result, whether a request."""
    for step in (report.steps[at] for at in report.steps_shown(MOST_STEPS)):
        if step.begun_us is not None:
            end = None if step.latency_us is None else step.begun_us + step.latency_us
            result = step_result(step, failure).plain
            is_request = isinstance(step.action, Command)
            yield [step.begun_us, end, step.label, step.text, result, is_request]
