"""How a fleet is while it works, one row per replica, from a snapshot. Pure, like `tables`.

What is drawn five times a second must not jump: states are as wide as the longest one, and who
fails or returns moves nothing. Narrow screens lose columns, the least important one first; what is
left over goes to the curve. No colour says what a sign or a word does not.
"""

from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from bank.ballot import replica_name
from bank.status import Role
from harness.check.verdict import Verdict
from harness.cluster.journal import Liveness
from harness.cluster.wording import counted
from harness.run.report import Progress, SetReport
from harness.screen.cells import (
    ATTENTION,
    BAD,
    GOOD,
    QUIET,
    STRONG,
    Column,
    Grid,
    Heading,
    Parts,
    ballot_cell,
    cell,
)
from harness.screen.snapshot import Event, ReplicaNow, Snapshot
from harness.screen.tables import set_title, state_cell

LEVELS = "▁▂▃▄▅▆▇█"  # of a curve; the lowest is nothing at all
UNTOLD = "·"  # in a curve: it was not there, or did not say
SILENT_US = 1_000_000  # a live replica that owes an answer for so long is told as silent
NARROWEST_CURVE, WIDEST_CURVE = 8, 60
MOST_EVENTS = 6  # below the replicas
_STATE_WIDTH = len("○ disconnected")
_ROLE_WIDTH = len("was leader")
_EVENT_WIDTH = len("stands for leader 9.9 s ago")
_EVENT, _EXEC, _QUEUE, _BALLOT = "Last event", "Exec", " Queue", "Ballot"
_DROPPED_FIRST = (_EVENT, _EXEC, _QUEUE, _BALLOT)


def watch_screen(head: RenderableType, snapshot: Snapshot) -> RenderableType:
    """Everything that is drawn; `head` says what runs and how far it is."""
    return Group(head, Text(), Replicas(snapshot), *_remarks(snapshot), Events(snapshot))


# ---- what runs ---------------------------------------------------------------------------------


def sets_head(progress: Progress | None, done: Sequence[SetReport], name: str) -> RenderableType:
    """Which set runs, what it waits for, and how those before it ended."""
    if progress is None:
        return Group(Heading(name), Text(" begins"))
    title = set_title(progress.set_number, progress.position, progress.total)
    now = [
        Text(f"{progress.answered}/{progress.operations} answered"),
        Text(f"waits for {progress.waiting_for}"),
    ]
    ended = [(report.verdict, report.number) for report in done]
    well = sum(verdict is Verdict.VALID for verdict, _ in ended)
    told = [Text.assemble(("✓", GOOD), f" {counted(well, 'set')} before")] if well else []
    told += [
        Text(f"{verdict.sign} set {number}", style=BAD if verdict is Verdict.INVALID else ATTENTION)
        for verdict, number in ended
        if verdict is not Verdict.VALID
    ]
    return Group(Heading(f"{title} · {name}"), Parts([*now, *told], indent=1))


# ---- replicas ----------------------------------------------------------------------------------


class Replicas:
    """One row per replica, as wide as there is room."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for gap, dropped in ((2, 0), *((1, count) for count in range(len(_DROPPED_FIRST) + 1))):
            left_out = _DROPPED_FIRST[:dropped]
            spare = options.max_width - self._grid(left_out, NARROWEST_CURVE, gap).least_width()
            if spare >= 0:
                break
        curve = min(WIDEST_CURVE, NARROWEST_CURVE + max(0, spare))
        yield self._grid(left_out, curve, gap)

    def _grid(self, left_out: Sequence[str], curve: int, gap: int) -> Grid:
        replicas = self.snapshot.replicas
        top = _top(replicas, curve)
        columns = {
            "": (Column(""), [cell(replica_name(r.replica)) for r in replicas]),
            "State": (Column("State"), [_padded(_state(r), _STATE_WIDTH) for r in replicas]),
            "Role": (Column("Role"), [_padded(_role(r), _ROLE_WIDTH) for r in replicas]),
            _BALLOT: (Column(_BALLOT), [ballot_cell(r.ballot) for r in replicas]),
            "Commit": (_number("Commit"), [cell(r.committed_upto) for r in replicas]),
            _EXEC: (_number(_EXEC), [cell(r.executed_upto) for r in replicas]),
            _QUEUE: (_number(_QUEUE), [_queue(r) for r in replicas]),
            "Slots/s": (_number("Slots/s"), [_rate(r) for r in replicas]),
            "curve": (
                Column(f"0–{top:,.0f}" if top else ""),
                [_curve(r.rates, curve, top) for r in replicas],
            ),
            _EVENT: (Column(_EVENT), [_last_event(r.event, self.snapshot.at) for r in replicas]),
        }
        shown = [parts for name, parts in columns.items() if name not in left_out]
        rows = zip(*(cells for _, cells in shown), strict=True)
        return Grid([column for column, _ in shown], rows, gaps=(gap,))


def _number(name: str) -> Column:
    return Column(name, right=True)


def _padded(text: Text, width: int) -> Text:
    text.pad_right(max(0, width - text.cell_len))
    return text


def _state(replica: ReplicaNow) -> Text:
    if replica.liveness is Liveness.LIVE and replica.silent_us > SILENT_US:
        return Text(f"? silent {replica.silent_us / 1e6:.0f} s", style=ATTENTION)
    return state_cell(replica.liveness)


def _role(replica: ReplicaNow) -> Text:
    if replica.liveness is not Liveness.LIVE:
        return cell("was leader" if replica.was_leader else "", QUIET)
    if replica.role is Role.LEADER:
        return cell("leader", STRONG) if replica.answered else cell("leader?", ATTENTION)
    return cell(replica.role.value)


def _queue(replica: ReplicaNow) -> Text:
    if replica.queued_bytes is None or replica.liveness is not Liveness.LIVE:
        return Text()
    return cell(_size(replica.queued_bytes), "" if replica.queued_bytes else QUIET)


def _size(count: int) -> str:
    """ "0", "512 B", "64 KB", "1.9 MB": never wider than 6."""
    if count < 1000:
        return f"{count} B" if count else "0"
    return f"{count / 1000:.0f} KB" if count < 999_500 else f"{count / 1e6:.1f} MB"


def _rate(replica: ReplicaNow) -> Text:
    rate = replica.rates[-1] if replica.rates else None
    return cell("" if rate is None else f"{rate:,.0f}")


def _top(replicas: Sequence[ReplicaNow], curve: int) -> float:
    """What a full curve stands for: the second highest rate, since one replica catching up alone
    would flatten all the others."""
    highest = sorted(max((r or 0.0 for r in now.rates[-curve:]), default=0.0) for now in replicas)
    return highest[-2] if len(highest) > 1 else sum(highest)


def _curve(rates: Sequence[float | None], width: int, top: float) -> Text:
    told = "".join(_level(rate, top) for rate in rates[-width:])
    return Text(told.lstrip(UNTOLD).rjust(width))


def _level(rate: float | None, top: float) -> str:
    if rate is None:
        return UNTOLD
    if not rate or not top:
        return LEVELS[0]
    steps = len(LEVELS) - 1
    return LEVELS[min(steps, 1 + int(rate / top * (steps - 1) + 0.5))]


def _last_event(event: Event | None, now: int) -> Text:
    told = (event.text, (f" {_ago(event, now)}", QUIET)) if event else ()
    return _padded(Text.assemble(*told), _EVENT_WIDTH)


def _ago(event: Event, now: int) -> str:
    seconds = (now - event.at) / 1e6
    return f"{seconds:.1f} s ago" if seconds < 9.95 else f"{seconds:.0f} s ago"


# ---- below -------------------------------------------------------------------------------------


def _remarks(snapshot: Snapshot) -> list[Text]:
    """What is out of order and has no column."""
    full = [f"{replica_name(r.replica)} {r.dropped:,}" for r in snapshot.replicas if r.dropped]
    links = [f"{snapshot.cut} cut"] if snapshot.cut else []
    links += [f"{snapshot.faulty} faulty"] if snapshot.faulty else []
    told = {"frames dropped since a queue was full": full, "links": links}
    return [
        Text(f" {what}: {', '.join(found)}", style=ATTENTION)
        for what, found in told.items()
        if found
    ]


class Events:
    """The last events of all replicas, newest first; fewer on a low screen, and none is cut."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        replicas = len(self.snapshot.replicas)
        room = console.size.height - replicas - 9
        newest = self.snapshot.events[::-1][: max(0, min(MOST_EVENTS, room))]
        columns = (Column("", right=True), Column(""), Column("", folds=True))
        rows = [
            (cell(_ago(e, self.snapshot.at), QUIET), cell(replica_name(e.replica)), cell(e.text))
            for e in newest
        ]
        if rows:
            yield Grid(columns, rows, gaps=(2,))
