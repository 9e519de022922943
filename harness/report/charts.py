"""Pictures of a whole run as SVG: who led when, and balances over the slots. Pure.

Both are drawn here and need no script. What a picture says stands in words as well: in titles, and
in a list beside it.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from math import sqrt
from typing import NamedTuple

from bank.status import ReplicaStatus
from harness.cluster.wording import joined
from harness.files.cases import Command
from harness.report.markup import Safe, element, join
from harness.run.flows import Phase, Story
from harness.run.report import SetReport
from harness.run.story import Lane
from harness.screen.cells import duration

LANE = 26  # height of a replica's row
HEAD, LEFT, GAP = 24, 34, 6
NARROWEST, WHOLE = 40, 900  # width of a set; of a picture of all, which grows with the window
WIDE_ENOUGH = 5.6  # per character of a label

PANEL_WIDTH, PANEL_HEIGHT = 150, 46
MOST_PANELS = 40
MOST_POINTS = 2 * PANEL_WIDTH  # of a curve: more cannot be seen
MOST_TOLD = 50  # balances of a curve, in words


# ---- who led when ------------------------------------------------------------------------------


def timeline(reports: Sequence[SetReport], stories: Sequence[Story]) -> Safe:
    """A row per replica, a column per set; wider ones took longer, by the root of their time."""
    nodes = max(len(report.views) for report in reports)
    height = HEAD + nodes * LANE
    columns: list[Safe] = []
    x = float(LEFT)
    totals = [max((phase.end for phase in story.phases), default=0) for story in stories]
    room = WHOLE - LEFT - (NARROWEST + GAP) * len(stories)
    per_root = max(room, 0) / max(sum(map(sqrt, totals)), 1)
    for index, (report, story) in enumerate(zip(reports, stories, strict=True)):
        width = NARROWEST + per_root * sqrt(totals[index])
        columns.append(_column(index, report, story, x, width, height, totals[index]))
        x += width + GAP
    names = [
        element("text", f"n{r}", x=0, y=_row(r) + 4, class_="name") for r in range(1, nodes + 1)
    ]
    kind = "timeline whole" if room >= 0 else "timeline"
    return element(
        "svg", *names, *columns, class_=kind, role="img", width=round(x), height=height + 2,
        viewBox=f"0 0 {round(x)} {height + 2}",
        aria_label="Who led when; the list below says the same in words",
    )  # fmt: skip


def _row(replica: int) -> float:
    return HEAD + (replica - 0.5) * LANE


def _column(
    index: int,
    report: SetReport,
    story: Story,
    x: float,
    width: float,
    height: int,
    total: int,
) -> Safe:
    scale = width / max(total, 1)
    title = f"Set {report.number}: {duration(round(report.seconds * 1e6))}"
    box = element("rect", x=x, y=HEAD - 2, width=_n(width), height=height - HEAD + 2, class_="box")
    head = element("text", str(report.number), x=_n(x + width / 2), y=14, class_="set")
    inside = [_phase(index, phase, x, scale) for phase in story.phases]
    return element(
        "a", element("title", title), box, head, *inside, href=f"#set-{report.number}",
    )  # fmt: skip


def _phase(index: int, phase: Phase, x: float, scale: float) -> Safe:
    left, width = x + phase.begin * scale, (phase.end - phase.begin) * scale
    ballot = "" if phase.ballot is None else str(phase.ballot)
    words = joined(phase.state, ballot)
    span = f"{duration(phase.begin)} to {duration(phase.end)}"
    title = element("title", f"n{phase.replica} {words}, {span}")
    y = _row(phase.replica)
    if phase.has_failed or phase.lane is Lane.FOLLOWS:
        kind = "failed" if phase.has_failed else "backup"
        line = element("path", d=f"M{_n(left)} {y}h{_n(width)}", class_=kind)
        is_seen = phase.has_failed and phase.begin and width > 12
        cross = element("text", "✕", x=_n(left + 1), y=y + 4, class_="cross") if is_seen else None
        return element("g", title, line, cross)
    shown = max(width, 2.5)
    bar = element("rect", x=_n(left), y=y - 8, width=_n(shown), height=16, rx=2, class_=phase.state)
    label = ballot if len(ballot) * WIDE_ENOUGH + 6 < width else None
    text = label and element("text", label, x=_n(left + 4), y=y + 4, class_="ballot")
    return element("g", title, bar, text, data_set=index, data_at=phase.begin)


def _n(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


# ---- balances ----------------------------------------------------------------------------------


class Curve(NamedTuple):
    """One account: its balance after each slot in which that changed, the first one to begin."""

    account: str
    points: tuple[tuple[int, int], ...]  # slot, balance


def curves(reports: Sequence[SetReport]) -> Iterator[Curve]:
    """Every account's, from the answered transfers in slot order, held against each set's end.

    What was committed and never answered shows at the end of its set.
    """
    moved: dict[str, dict[int, int]] = defaultdict(dict)
    for step in (step for report in reports for step in report.steps):
        if step.outcome == "success" and step.slot is not None:
            match step.action:
                case Command("transfer", sender, receiver, amount) if sender != receiver:
                    moved[sender][step.slot] = -amount
                    moved[receiver][step.slot] = amount
    told = ([v.status for v in r.views if "balances" not in v.untold] for r in reports)
    ends = [max(found, key=lambda s: s.executed_upto) for found in told if found]
    for account in ends[0].balances if ends else ():
        yield _curve(account, moved.get(account, {}), ends)


def _curve(account: str, moved: Mapping[int, int], ends: Sequence[ReplicaStatus]) -> Curve:
    slots = sorted(moved)
    first = ends[0]
    balance = first.balances[account]
    balance -= sum(moved[slot] for slot in slots if slot <= first.executed_upto)
    points = [(0, balance)]
    at = 0
    for end in ends:
        while at < len(slots) and slots[at] <= end.executed_upto:
            balance += moved[slots[at]]
            points.append((slots[at], balance))
            at += 1
        if balance != end.balances.get(account, balance):  # who tells it may leave one out
            balance = end.balances[account]
            points.append((end.executed_upto, balance))
    return Curve(account, tuple(points))


def balances(reports: Sequence[SetReport], found: Sequence[Curve]) -> Safe:
    """A small picture per account that changed."""
    changed = [curve for curve in found if len(curve.points) > 1]
    ends = [max(view.status.executed_upto for view in report.views) for report in reports]
    last = max([1, *ends])
    highest = max((balance for c in changed for _, balance in c.points), default=1)
    panels = [_panel(curve, last, highest or 1, ends) for curve in changed[:MOST_PANELS]]
    remarks = []
    if (more := len(changed) - MOST_PANELS) > 0:
        remarks.append(f"{more:,} more accounts changed")
    if reports and not found:
        remarks.append("no replica tells its balances")
    if quiet := len(found) - len(changed):
        remarks.append(f"{quiet:,} of {len(found):,} accounts never changed")
    remark = element("p", "; ".join(remarks), class_="quiet") if remarks else None
    return join(element("div", *panels, class_="panels"), remark)


def _thinned(points: Sequence[tuple[int, int]], last: int) -> list[tuple[int, int]]:
    """The last, lowest and highest point of each stretch that is too short to be seen."""
    if len(points) <= MOST_POINTS:
        return list(points)
    stretches = groupby(points, key=lambda point: point[0] * PANEL_WIDTH // (last + 1))
    found: list[tuple[int, int]] = []
    for _, stretch in stretches:
        within = list(stretch)
        lowest, highest = (which(within, key=lambda point: point[1]) for which in (min, max))
        found += sorted({lowest, highest, within[-1]})
    return found


def _panel(curve: Curve, last: int, highest: int, ends: Sequence[int]) -> Safe:
    def x(slot: int) -> str:
        return _n(slot * PANEL_WIDTH / last)

    def y(balance: int) -> str:
        return _n(PANEL_HEIGHT - 3 - balance * (PANEL_HEIGHT - 6) / highest)

    first, final = curve.points[0][1], curve.points[-1][1]
    drawn = _thinned(curve.points[1:], last)
    path = f"M0 {y(first)}" + "".join(f"H{x(s)}V{y(b)}" for s, b in drawn)
    rules = "".join(f"M{x(end)} 0V{PANEL_HEIGHT}" for end in sorted(set(ends)))
    told = curve.points[1:][-MOST_TOLD:]
    said = ", ".join(f"{balance} at slot {slot}" for slot, balance in told)
    if (more := len(curve.points) - 1 - MOST_TOLD) > 0:
        said = f"{more:,} others, {said}"
    label = f"Balance of {curve.account}: {first}, then {said}"
    picture = element(
        "svg",
        element("title", label),
        element("path", d=rules, class_="rule"),
        element("path", d=f"{path}H{PANEL_WIDTH}", class_="curve"),
        role="img", aria_label=label, viewBox=f"0 0 {PANEL_WIDTH} {PANEL_HEIGHT}",
        preserveAspectRatio="none",
    )  # fmt: skip
    change = element("span", f"{first} → ", element("b", str(final)))
    return element("figure", element("figcaption", element("b", curve.account), change), picture)
