"""The stories of `story` as rich renderables: timeline, explain, diff. Pure, like `tables`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from rich.console import Group, RenderableType
from rich.text import Text

from bank.ballot import Ballot, ReplicaId, Slot, replica_name
from bank.events import BecameCandidate, Leads, SteppedDown
from bank.ledger import FAILED, NOOP, SKIPPED, Result
from bank.messages import Accept, Accepted, NewView, Promise, State
from bank.sessions import Request
from bank.status import SlotMark, SlotStatus
from harness.cluster.driver import CommitLog, ReplicaView
from harness.cluster.journal import Executed
from harness.cluster.wording import counted, line, peers_text, request_text
from harness.run.report import StepReport
from harness.run.story import Chosen, Compared, Deed, Lane, Life, Moment
from harness.screen.answers import MARK_WORDS, NO_LOG, request_cell
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
    sentence,
)
from harness.screen.tables import state_cell

MOST_MOMENTS = 200  # of a timeline; the last ones
LANE_WORDS = {
    Lane.LEADS: "leads",
    Lane.IN_NAME: "in name only",
    Lane.STANDS: "stands",
    Lane.FOLLOWS: "backup",
    Lane.AWAY: "failed",
    Lane.STOPPED: "stopped by itself",
}
_LANE_STYLES = {
    Lane.LEADS: STRONG,
    Lane.IN_NAME: ATTENTION,
    Lane.AWAY: ATTENTION,
    Lane.FOLLOWS: QUIET,
    Lane.STOPPED: BAD,
}


# ---- timeline ----------------------------------------------------------------------------------


def timeline(moments: Sequence[Moment], replicas: int) -> RenderableType:
    """One line per event, with a lane per replica: what it is from then on."""
    if not moments:
        return Text(" nothing happened yet: nobody led, stood or failed", style=QUIET)
    columns = [Column("Set", right=True), Column("ms", right=True)]
    columns += [Column(replica_name(replica)) for replica in range(1, replicas + 1)]
    columns.append(Column("", folds=True))
    rows, before = [], 0
    for moment in moments[-MOST_MOMENTS:]:
        number = "" if moment.set_number == before else moment.set_number
        before = moment.set_number
        lanes = [cell(lane.value, _LANE_STYLES.get(lane, "")) for lane in moment.lanes]
        rows.append((cell(number), cell(f"{moment.at / 1000:,.1f}"), *lanes, moment_text(moment)))
    seen = {lane for moment in moments[-MOST_MOMENTS:] for lane in moment.lanes}
    legend = [Text(f"{lane.value} {word}") for lane, word in LANE_WORDS.items() if lane in seen]
    earlier = len(moments) - len(rows)
    remarks = [Text(f" {counted(earlier, 'earlier event')} not shown", QUIET)] if earlier else []
    table = Grid(columns, rows, gaps=(2, 1))
    return Group(Parts(legend, separator="   ", indent=1), *remarks, table)


_IN_SHORT = {Leads: "leads", BecameCandidate: "stands", SteppedDown: "gives way"}


def moment_text(moment: Moment) -> Text:
    """ "n2 leads (3, n2) after 301 ms without a leader"."""
    kind = type(moment.what)
    what = _IN_SHORT.get(kind) if not moment.was_leader else None
    text = Text(f"{replica_name(moment.replica)} {what or line(moment.what).text}")
    text.stylize(STRONG if kind is Leads else "")
    text.append(f" {moment.ballot}" if moment.ballot is not None else "")
    text.append(f" ({moment.cause})" if moment.cause else "")
    if moment.led is not None:
        text.append(f", led for {duration(moment.led)}")
    if moment.leaderless is not None:
        text.append(f" after {duration(moment.leaderless)} without a leader")
    return text


# ---- explain -----------------------------------------------------------------------------------


def life(
    slot: Slot,
    lived: Life,
    statuses: Mapping[ReplicaId, SlotStatus],
    log: CommitLog,
    steps: Sequence[tuple[int, StepReport]],
    dropped: int,
) -> RenderableType:
    """Explain: what a slot holds, who did what about it, and how far it is at every replica.

    `statuses` of those that tell their log; `steps` come with the number of their set; `dropped`
    messages were not kept.
    """
    committed = log.slots.get(slot)
    executed = {
        replica: status.request
        for replica, status in statuses.items()
        if status.mark is SlotMark.EXECUTED and status.request is not None
    }
    names = _names([*lived.values.values(), *executed.values()])
    body: list[RenderableType] = [_content(slot, committed, statuses, steps)]
    if len(set(executed.values())) > 1:
        told = [f"{replica_name(r)} executed {names[what]}" for r, what in executed.items()]
        body.append(sentence(f"✗ {', '.join(told)}", BAD))
    body += _twins(slot, committed, log)
    if lived.deeds:
        columns = [
            Column("Set", right=True),
            Column("ms", right=True),
            Column("Who"),
            Column("Does", folds=True),
            Column("Ballot", drop=1),
        ]
        rows = [
            _deed_row(part, names.get(value, "it"))
            for deed in lived.deeds
            for part, value in _by_value(deed, lived.values, executed)
        ]
        body.append(Grid(columns, rows, gaps=(2,)))
    body += [_marks(statuses)] if statuses else []
    if lived.later:
        left = [Text("later leaders had it committed and left it alone"), *map(cell, lived.later)]
        body.append(Parts(left, separator="  ", indent=1))
    if slot <= log.known_before and not lived.deeds:
        body.append(sentence("it is from an earlier run of this data", QUIET))
    elif dropped:
        kept = f"{counted(dropped, 'older message')} not kept: the story may lack its beginning"
        body.append(sentence(kept, ATTENTION))
    return Group(*body)


def _content(
    slot: Slot,
    committed: tuple[Request, Result] | None,
    statuses: Mapping[ReplicaId, SlotStatus],
    steps: Sequence[tuple[int, StepReport]],
) -> RenderableType:
    held = dict.fromkeys(s.request for s in statuses.values() if s.request is not None)
    requests = [committed[0]] if committed else list(held)
    if not statuses and not requests:
        return Text(NO_LOG, style=QUIET)
    if not requests:
        return Text(f" slot {slot} is empty at every replica", style=QUIET)
    parts = [Text(f"slot {slot}", style=STRONG), Text(" or ").join(map(request_cell, requests))]
    client, timestamp, kind, *_ = requests[0]
    if len(requests) == 1 and kind != NOOP:
        parts.append(Text(f"client {client}, timestamp {timestamp}"))
    if kind == NOOP:
        parts.append(Text("fills a gap for a new leader, asked for by nobody"))
    elif committed is None:
        parts.append(Text("… nobody knows it to be committed", style=ATTENTION))
    elif committed[1] == SKIPPED:
        parts.append(Text("– no effect: the client had asked for something newer", style=ATTENTION))
    elif committed[1] == FAILED:
        parts.append(Text("✗ failed: the balance was too small", style=ATTENTION))
    else:
        balance = f"balance {committed[1]}" if isinstance(committed[1], int) else committed[1]
        parts.append(Text(f"✓ {balance}", style=GOOD))
    for number, step in steps:
        label = step.label if "." in step.label else f"{number}.{step.label}"
        latency = "" if step.latency_us is None else f" after {duration(step.latency_us)}"
        parts.append(Text(f"step {label}, answered{latency}"))
    return Parts(parts, indent=1)


def _twins(slot: Slot, committed: tuple[Request, Result] | None, log: CommitLog) -> list[Parts]:
    """Other slots with the same request: only the first of them has an effect."""
    if committed is None or committed[0][2] == NOOP:
        return []
    asked = committed[0][:2]
    twins = [s for s, (request, _) in log.slots.items() if request[:2] == asked and s != slot]
    if not twins:
        return []
    listed = ", ".join(map(str, sorted(twins)))
    which = "this one" if slot < min(twins) else f"slot {min(twins)}"
    return [sentence(f"the same request is in slot {listed} as well; only {which} has an effect")]


def _names(values: Sequence[Request]) -> dict[Request | None, str]:
    """How to tell the values of a slot from each other; of a single one, "it"."""
    names: dict[Request | None, str] = {value: request_text(value) for value in values}
    if len(names) < 2:
        return dict.fromkeys(names, "it")
    if len(set(names.values())) < len(names):
        return {value: f"{name} (request {value[1]})" for value, name in names.items() if value}
    return names


def _by_value(
    deed: Deed, proposed: Mapping[Ballot | None, Request], executed: Mapping[ReplicaId, Request]
) -> Iterator[tuple[Deed, Request | None]]:
    """A deed with what it was about; where replicas executed several things, in parts."""
    if deed.doing.kind is not Executed:
        yield deed, deed.doing.request or proposed.get(deed.doing.ballot)
        return
    parts: dict[Request | None, tuple[ReplicaId, ...]] = {}
    for replica in deed.replicas:
        value = executed.get(replica)
        parts[value] = (*parts.get(value, ()), replica)
    for value, replicas in parts.items():
        yield replace(deed, replicas=replicas), value


def _deed_row(deed: Deed, it: str) -> tuple[Text, ...]:
    first, last = (f"{at / 1000:,.1f}" for at in (deed.at, deed.until))
    who = " ".join(map(replica_name, deed.replicas))
    return (
        cell(deed.set_number or None),
        cell(first if first == last else f"{first}–{last}"),
        cell(who),
        cell(_doing(deed, it), "" if who else GOOD),
        cell(deed.doing.ballot),
    )


_DOES: dict[type, tuple[str, str]] = {  # one of them, several
    Accept: ("proposes {it}", "propose {it}"),
    NewView: ("takes it into its NEW-VIEW: {}", "take it into their NEW-VIEW: {}"),
    Accepted: ("accepts {it}", "accept {it}"),
    Promise: ("reports it to {} with its promise", "report it to {} with their promises"),
    State: ("is told of it by {}", "are told of it by {}"),
    Executed: ("commits and executes {it}", "commit and execute {it}"),
    Chosen: ("a quorum holds {it}: chosen", ""),
}


def _doing(deed: Deed, it: str) -> str:
    kind, _, peers, request = deed.doing
    about = peers_text(peers) if peers else "…" if request is None else request_text(request)
    again = f" again to {about}" if kind is Accept and peers else ""
    return _DOES[kind][len(deed.replicas) > 1].format(about, it=it) + again


def _marks(statuses: Mapping[ReplicaId, SlotStatus]) -> RenderableType:
    by_mark: dict[str, list[str]] = {}
    for replica, status in statuses.items():
        by_mark.setdefault(MARK_WORDS[status.mark], []).append(replica_name(replica))
    parts = [Text(f"{word}: {' '.join(names)}") for word, names in by_mark.items()]
    return Parts([Text("now"), *parts], indent=1)


# ---- diff --------------------------------------------------------------------------------------


def difference(one: ReplicaView, other: ReplicaView, compared: Compared) -> RenderableType:
    """Diff: what two replicas do not have in common, and whether that is a contradiction."""
    names = [replica_name(view.replica) for view in (one, other)]
    states = [state_cell(view.liveness) for view in (one, other)]
    rows: list[Sequence[Text]] = [
        (cell(d.what), cell(d.one or "–"), cell(d.other or "–")) for d in compared.differences
    ]
    if compared.first_slot is not None:
        slot = compared.first_slot[0].slot
        rows.append((cell(f"log from slot {slot}"), *map(_slot_cell, compared.first_slot)))
    body: list[RenderableType] = []
    if rows:
        columns = [Column("Differs"), Column(names[0]), Column(names[1])]
        body.append(Grid(columns, [(Text(""), *states), *rows]))
    return Group(*body, _conclusion(one, other, compared, names))


def _slot_cell(status: SlotStatus) -> Text:
    parts = [Text(status.mark.value), ballot_cell(status.ballot)]
    parts += [] if status.request is None else [request_cell(status.request)]
    return Text(" ").join(part for part in parts if part.plain)


def _conclusion(
    one: ReplicaView, other: ReplicaView, compared: Compared, names: Sequence[str]
) -> Parts:
    if compared.contradiction is not None:
        left, right = compared.contradiction
        held = [request_cell(s.request).plain if s.request else "nothing" for s in (left, right)]
        what = f"✗ they executed slot {left.slot} differently: {held[0]} and {held[1]}"
        return sentence(what, BAD)
    if compared.unread is not None:
        what = f"? nothing executed differs below slot {compared.unread}; the rest was not compared"
        return sentence(what, ATTENTION)
    if not compared.told:
        return sentence("? they tell nothing that could be compared", ATTENTION)
    is_same = not compared.differences and compared.first_slot is None
    same = f"✓ {names[0]} and {names[1]} do not differ: {', '.join(compared.told)}"
    if "executed_upto" in one.untold | other.untold:
        if is_same:
            return sentence(same, GOOD)
        return sentence("? how far both executed is not told", ATTENTION)
    executed = [view.status.executed_upto for view in (one, other)]
    if executed[0] != executed[1]:
        behind = names[0] if executed[0] < executed[1] else names[1]
        slots = counted(abs(executed[0] - executed[1]), "slot")
        if "log" in compared.told:
            what = f"✓ {behind} is {slots} behind; nothing both executed differs"
            return sentence(what, GOOD)
        what = f"? {behind} is {slots} behind; what both executed is not told"
        return sentence(what, ATTENTION)
    if one.status.balances.keys() != other.status.balances.keys():
        what = "? they executed as much; what only one of them tells cannot be compared"
        return sentence(what, ATTENTION)
    holds = [what for what in ("balances", "sessions") if what in compared.told]
    differs = "balances" in holds and one.status.balances != other.status.balances
    if differs or one.status.digest != other.status.digest:
        return sentence("✗ they executed as much and hold different states", BAD)
    if not is_same:
        same = "✓ they executed the same slots"
        same += f" and hold the same {' and '.join(holds)}" if holds else ""
    return sentence(same, GOOD)
