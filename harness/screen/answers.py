"""What the commands of the prompt answer, as rich renderables. Pure, like `tables`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from bank.ballot import Ballot, ReplicaId, Slot, replica_name
from bank.ledger import NOOP, Result, describe
from bank.messages import NewView
from bank.sessions import Request
from bank.status import SlotMark, SlotStatus
from harness.cluster.driver import ReplicaView
from harness.cluster.journal import Entry, Liveness, Passed, Way
from harness.cluster.wording import counted, line
from harness.run.report import Performance
from harness.screen.cells import (
    ATTENTION,
    BAD,
    GOOD,
    QUIET,
    STRONG,
    Column,
    Grid,
    Parts,
    ballot_cell,
    cell,
    duration,
    percentile,
    rate,
    sentence,
)

if TYPE_CHECKING:
    from harness.external.told import View

MARK_WORDS = {
    SlotMark.ACCEPTED: "accepted",
    SlotMark.COMMITTED: "committed",
    SlotMark.EXECUTED: "executed",
    SlotMark.NONE: "none",
}
LEGEND = "  ".join(f"{mark.value} {word}" for mark, word in MARK_WORDS.items())
SIGNS = (
    ("● ○ ✗", "a replica: live, failed on purpose, stopped by itself"),
    ("leader?", "a leader in name only: no quorum has answered it lately"),
    ("✓ ✗ ?", "a check: holds, does not hold, could not decide"),
    ("✗ failed", "a transfer: the balance was too small, nothing moved"),
    ("– no-leader", "a failure: there was no leader to fail"),
    ("– not-reached", "a kill point: the replica did not pass there in this set, and lives on"),
    ("… pending", "a request: nobody answered; tried again first in the next set"),
    ("5.1", "a step: the first of set 5, carried over from there"),
    ("Seq", "the slot of the log in which a request was executed first"),
    ("Lag", "slots committed somewhere that this replica has not executed"),
    ("*9 stale", "a balance: not that of the live majority; of a failed replica"),
    ("A C E X", "a slot: accepted, committed, executed, none"),
)
_MARK_STYLES = {SlotMark.EXECUTED: GOOD, SlotMark.ACCEPTED: ATTENTION, SlotMark.NONE: QUIET}
_ARROWS = {Way.READ: "←", Way.SENT: "→", Way.LOST: "✗", Way.HELD: "…", Way.DOUBLED: "×"}
_BEFALLEN = (Way.LOST, Way.HELD, Way.DOUBLED)


def message_log(
    entries: Sequence[Entry], dropped: int, view: ReplicaView, started: int
) -> RenderableType:
    """PrintLog: messages of one replica in this set; times count from `started`."""
    name = replica_name(view.replica)
    if not entries and not dropped:
        return Text(f" {name}: no messages in this set", style=QUIET)
    columns = [
        Column("ms", right=True),
        Column("", drop=3),
        Column("Peer"),
        Column("Message"),
        Column("Ballot", drop=2),
        Column("Seq", drop=1),
        Column("Request", folds=True),
    ]
    rows = [_message_row(entry, started) for entry in entries]
    remarks = [f"{name} {view.liveness.value}", "← read, → sent", counted(len(entries), "line")]
    if dropped:
        remarks.append(f"{counted(dropped, 'older line')} not kept")
    return Group(Parts(map(cell, remarks), indent=1), Grid(columns, rows, gaps=(2,)))


def _message_row(entry: Entry, started: int) -> tuple[Text, ...]:
    way, words = entry.way, line(entry.event)
    label = cell(words.label)
    if way in _BEFALLEN:
        label = cell(f"{words.label} {words.direction}", ATTENTION)
    return (
        cell(f"{(entry.at - started) / 1000:,.1f}"),
        cell("·" if way is None else _ARROWS[way]),
        cell(words.peer),
        label,
        cell(words.ballot),
        cell(words.slots),
        cell(words.text, STRONG if way is None else ""),
    )


def new_views(
    traces: Mapping[ReplicaId, tuple[Sequence[Entry], int]], started: int
) -> RenderableType:
    """PrintView: every NEW-VIEW of this set once, with who sent it and who read it."""
    sent: dict[Ballot, tuple[int, Passed, NewView]] = {}
    readers: dict[Ballot, set[ReplicaId]] = {}
    for replica, (entries, _) in traces.items():
        for at, event in entries:
            if isinstance(event, Passed) and isinstance(view := event.message, NewView):
                if view.ballot not in sent or at < sent[view.ballot][0]:
                    sent[view.ballot] = at, event, view
                if event.way is Way.READ:
                    readers.setdefault(view.ballot, set()).add(replica)
    forgotten = sum(dropped for _, dropped in traces.values())
    remark = f" {counted(forgotten, 'older message')} not kept: there may have been more"
    remarks = [Text(remark, style=ATTENTION)] if forgotten else []
    if not sent:
        return Group(Text(" no NEW-VIEW in this set: nobody became leader", style=QUIET), *remarks)
    columns = [
        Column("ms", right=True),
        Column("Leader"),
        Column("Ballot"),
        Column("Seq"),
        Column("No-ops", right=True),
        Column("Read by", drop=1),
        Column("Requests", folds=True),
    ]
    rows = []
    for ballot, (at, passed, view) in sorted(sent.items(), key=lambda item: item[1][0]):
        noops = sum(1 for request in view.requests if request[2] == NOOP)
        words = line(passed)
        rows.append(
            (
                cell(f"{(at - started) / 1000:,.1f}"),
                cell(replica_name(ballot.replica)),
                cell(words.ballot),
                cell(words.slots or "–"),
                cell(f"{noops}+" if passed.left_out else noops),
                cell(" ".join(map(replica_name, sorted(readers.get(ballot, ()))))),
                cell(words.text or "none open"),
            )
        )
    return Group(Grid(columns, rows, gaps=(2,)), *remarks)


def told_views(views: Sequence["View"]) -> RenderableType:
    """PrintView of other people's replicas: as they tell it, each view once."""
    if not views:
        return Text(" no replica tells its views", style=QUIET)
    by: dict[tuple[str, ...], list[str]] = {}
    for view in views:
        ballot = "–" if view.ballot is None else str(view.ballot)
        slots = [str(s) for s in (view.first_slot, view.last_slot) if s is not None]
        row = ballot, "-".join(dict.fromkeys(slots)) or "–", view.text
        by.setdefault(row, []).append(replica_name(view.replica))
    columns = [Column("Ballot"), Column("Seq"), Column("Told by", drop=1), Column("", folds=True)]
    rows = [(cell(b), cell(s), cell(" ".join(names)), cell(t)) for (b, s, t), names in by.items()]
    return Grid(columns, rows, gaps=(2,))


def slot_marks(
    slots: Sequence[Slot],
    marks: Mapping[ReplicaId, Sequence[SlotStatus]],
    views: Sequence[ReplicaView],
    committed: Mapping[Slot, tuple[Request, Result]],
    legend: bool,
    left_out: str = "",
) -> RenderableType:
    """PrintStatus: one row per slot, one column per replica; `marks` as long as `slots` each."""
    if not slots:
        return _no_slots(left_out)
    failed = {view.replica for view in views if view.liveness is not Liveness.LIVE}
    columns = [Column("Seq", right=True)]
    columns += [Column(replica_name(r) + ("○" if r in failed else "")) for r in marks]
    columns.append(Column("Request", folds=True))
    rows: list[list[Text]] = []
    for at, slot in enumerate(slots):
        statuses = [of_replica[at] for of_replica in marks.values()]
        row = [cell(slot)]
        row += [cell(s.mark.value, _MARK_STYLES.get(s.mark, "")) for s in statuses]
        row.append(_requests_cell(statuses, committed.get(slot)))
        rows.append(row)
    lines = [Text(f" {LEGEND}")] if legend else []
    lines += [Text(" ○ not live: as it was left", style=ATTENTION)] if failed else []
    lines += [Text(f" {left_out}", style=QUIET)] if left_out else []
    return Group(Grid(columns, rows), *lines)


def _requests_cell(
    statuses: Sequence[SlotStatus], committed: tuple[Request, Result] | None
) -> Text:
    """What the slot holds; several when replicas that have not committed it hold different ones."""
    if committed is not None:
        return request_cell(committed[0])
    held = dict.fromkeys(status.request for status in statuses if status.request is not None)
    return Text(" or ").join(request_cell(request) for request in held)


def request_cell(request: Request) -> Text:
    """ "(A, J, 3)", or "no-op"."""
    return cell(describe(*request[2:]), QUIET if request[2] == NOOP else "")


def log_slots(
    view: ReplicaView,
    statuses: Sequence[SlotStatus],
    committed: Mapping[Slot, tuple[Request, Result]],
    left_out: str,
) -> RenderableType:
    """PrintSlots: one replica's log, slot by slot; truncated slots from what was committed."""
    columns = [
        Column("Seq", right=True),
        Column("State"),
        Column("Ballot"),
        Column("Client", drop=2),
        Column("Timestamp", right=True, drop=1),
        Column("Request", folds=True),
        Column("Result"),
    ]
    rows = []
    truncated_upto = view.status.truncated_upto
    for status in statuses:
        executed = status.mark is SlotMark.EXECUTED
        known = committed.get(status.slot) if executed else None
        request = status.request or (known[0] if known else None)
        state = f"{status.mark.value} {MARK_WORDS[status.mark]}"
        state += ", truncated" if status.slot <= truncated_upto else ""
        rows.append(
            (
                cell(status.slot),
                cell(state, _MARK_STYLES.get(status.mark, "")),
                ballot_cell(status.ballot),
                cell(request[0] if request else None),
                cell(request[1] if request and request[0] else None),
                request_cell(request) if request else Text(),
                cell(known[1] if known else None),
            )
        )
    facts = [f"{replica_name(view.replica)} {view.liveness.value}"]
    for word in ("committed", "executed"):
        if (name := f"{word}_upto") not in view.untold:
            facts.append(f"{word} up to {getattr(view.status, name)}")
    if truncated_upto:
        facts.append(f"truncated up to {truncated_upto}")
    body: list[RenderableType] = [Parts(map(cell, facts), indent=1)]
    if not rows:
        return Group(*body, _no_slots(left_out))
    body.append(Grid(columns, rows, gaps=(3, 2)))
    body += [Text(f" {left_out}", style=QUIET)] if left_out else []
    return Group(*body)


NO_LOG = " no replica tells its log"


def _no_slots(why: str) -> Text:
    return Text(f" no such slots: {why}" if why else " no slots", style=QUIET)


def performance(measured: Performance) -> RenderableType:
    """Throughput and latency so far."""
    if not measured.latencies_us:
        return Text(" nothing was answered yet", style=QUIET)
    latencies = measured.latencies_us
    columns = [Column(name, right=True) for name in ("Answered", "Time", "Throughput")]
    ranks = (("min", 0.0), ("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("max", 100.0))
    drops = {"min": 2, "p90": 1}
    columns += [Column(name, right=True, drop=drops.get(name, 0)) for name, _ in ranks]
    row = [
        cell(f"{measured.answered:,}"),
        cell(f"{measured.seconds:.2f} s"),
        cell(rate(measured.answered, measured.seconds)),
        *(cell(duration(percentile(latencies, per_hundred))) for _, per_hundred in ranks),
    ]
    return Grid(columns, [row], gaps=(3, 2, 1))


def help_screen(commands: Sequence[tuple[str, str, str]]) -> RenderableType:
    """Every command: the group that begins with it, how it is typed, what it shows or does."""
    columns = [Column("", drop=1), Column("Command"), Column("Shows or does", folds=True)]
    return Grid(columns, [(cell(g, QUIET), cell(u), cell(text)) for g, u, text in commands])


def help_word(usage: str, shows: str, more: str) -> RenderableType:
    """One command: how it is typed, what it shows or does, and what else there is to say."""
    return Group(sentence(f"{usage}: {shows}."), *([sentence(more)] if more else []))


def signs() -> RenderableType:
    """What the signs in the tables mean."""
    columns = [Column("Sign"), Column("Meaning", folds=True)]
    return Grid(columns, [(cell(sign), cell(text)) for sign, text in SIGNS])


def refusal(problem: str) -> Text:
    """One line for a command that cannot be done."""
    return Text(f" {problem}", style=BAD)
