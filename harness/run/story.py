"""What happened, told from traces and views: who led when, the life of a slot, how two differ.

Pure: nothing is asked of a cluster here. A story is as complete as the traces it is made from;
whoever shows one says how much was dropped.
"""

import re
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from bank.ballot import NO_BALLOT, Ballot, ReplicaId, Slot
from bank.quorum import quorum_size
from bank.status import ReplicaStatus, Role, SlotStatus
from harness.cluster.driver import Liveness, ReplicaView, TraceLine, Traces
from harness.cluster.tracing import liveness_note
from harness.run.runner import SetReport, StepReport

Starts: TypeAlias = Sequence[tuple[int, int]]  # of every set run: when it began, its number
Done: TypeAlias = tuple[SetReport, Sequence[StepReport]]  # a set, the steps in it and after it

_LIVENESSES = {liveness_note(liveness): liveness for liveness in Liveness}
_BALLOT = re.compile(r"\((\d+), n(\d+)\)")
CHUNK = 1000  # slots asked for at once
EXECUTES = "commits and executes it"


def starts_of(reports: Iterable[SetReport]) -> Starts:
    """When the sets began, for placing moments in them."""
    return [(report.started_at, report.number) for report in reports]


def place(at: int, starts: Starts) -> tuple[int, int]:
    """The number of the set (or the pause after it) in which `at` falls, and the time in it."""
    index = max(0, bisect_right([began for began, _ in starts], at) - 1)
    began, number = starts[index]
    return number, max(0, at - began)


def ballot_in(text: str) -> Ballot | None:
    """The ballot that a line of a trace names."""
    found = _BALLOT.search(text)
    return None if found is None else Ballot(int(found[1]), int(found[2]))


# ---- who led when ------------------------------------------------------------------------------


class Lane(Enum):
    """What a replica is at one moment of the timeline; the value is what people see."""

    LEADS = "█"
    IN_NAME = "?"  # a leader in name only: another one led in a higher ballot since, or it failed
    STANDS = "◇"
    FOLLOWS = "│"
    AWAY = "○"
    STOPPED = "✗"


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the timeline. Times are microseconds."""

    set_number: int
    at: int  # since that set began
    replica: ReplicaId
    what: str  # "leads", "disconnected", …
    ballot: Ballot | None  # that it leads or stands in
    cause: str  # of a failure or a return: the step, "" for a set's live nodes or no reason
    led: int | None  # for how long, of one that leads no more
    leaderless: int | None  # of one that leads: for how long nobody had
    lanes: tuple[Lane, ...]  # of every replica, from now on


@dataclass(slots=True)
class _State:
    liveness: Liveness = Liveness.LIVE
    role: Role = Role.FOLLOWER
    ballot: Ballot = NO_BALLOT
    since: int | None = None  # when it began to lead; None while it does not


class _Timeline:
    """One pass over all that happened, in order."""

    def __init__(self, replicas: int, done: Sequence[Done]) -> None:
        self.events: list[Event] = []
        self._starts = starts_of(report for report, _ in done)
        self._states = {replica: _State() for replica in range(1, replicas + 1)}
        # When which step hit a replica.
        self._causes = {replica: deque[tuple[int, str]]() for replica in self._states}
        for report, steps in done:
            for step in steps:
                if step.node is not None and step.begun_us is not None:
                    hit = report.started_at + step.begun_us, step.text
                    self._causes[step.node].append(hit)
        self._newest = NO_BALLOT  # the highest that anybody led
        self._vacant: int | None = None  # since when nobody leads who did

    def note(self, replica: ReplicaId, line: TraceLine) -> None:
        """An event of the protocol at one replica; most say nothing of leading."""
        state, at, text = self._states[replica], line.at, line.text
        ballot = ballot_in(text)
        if text in _LIVENESSES:
            self._change(state, replica, at, _LIVENESSES[text], text)
        elif text.startswith("candidate") and ballot is not None:
            state.role, state.ballot = Role.CANDIDATE, ballot
            self._add(at, replica, "stands", ballot)
        elif text.startswith("leads") and ballot is not None:
            leaderless = None if self._vacant is None else at - self._vacant
            state.role, state.ballot, state.since = Role.LEADER, ballot, at
            self._newest, self._vacant = max(self._newest, ballot), None
            self._add(at, replica, "leads", ballot, leaderless=leaderless)
        elif text == "deposed" or text.startswith(("steps down", "prepares above")):
            was_leader, led = state.role is Role.LEADER, self._end(state, at)
            state.role = Role.FOLLOWER
            self._add(at, replica, text if was_leader else "gives way", state.ballot, led=led)

    def _change(
        self, state: _State, replica: ReplicaId, at: int, liveness: Liveness, what: str
    ) -> None:
        """A replica failed or returned."""
        led = None if liveness is Liveness.LIVE else self._end(state, at)
        goes_on = state.role is Role.LEADER and state.ballot == self._newest
        state.liveness = liveness
        if liveness in (Liveness.CRASHED, Liveness.STOPPED):
            state.role = Role.FOLLOWER  # its memory is gone
        elif liveness is Liveness.LIVE and goes_on:  # nobody took over
            state.since, self._vacant = at, None
        causes, cause = self._causes[replica], ""
        while causes and causes[0][0] <= at:
            cause = causes.popleft()[1]
        self._add(at, replica, what, cause=cause, led=led)

    def _end(self, state: _State, at: int) -> int | None:
        """For how long it led, if it did until now."""
        if state.since is None:
            return None
        led, state.since = at - state.since, None
        if state.ballot == self._newest:
            self._vacant = at
        return led

    def _add(
        self,
        at: int,
        replica: ReplicaId,
        what: str,
        ballot: Ballot | None = None,
        cause: str = "",
        led: int | None = None,
        leaderless: int | None = None,
    ) -> None:
        set_number, since = place(at, self._starts)
        lanes = tuple(map(self._lane, self._states.values()))
        event = Event(set_number, since, replica, what, ballot, cause, led, leaderless, lanes)
        self.events.append(event)

    def _lane(self, state: _State) -> Lane:
        if state.liveness is not Liveness.LIVE:
            return Lane.STOPPED if state.liveness is Liveness.STOPPED else Lane.AWAY
        if state.role is Role.LEADER:
            leads = state.since is not None and state.ballot == self._newest
            return Lane.LEADS if leads else Lane.IN_NAME
        return Lane.STANDS if state.role is Role.CANDIDATE else Lane.FOLLOWS


def timeline(
    notes: Iterable[tuple[ReplicaId, TraceLine]], done: Iterable[Done], replicas: int
) -> list[Event]:
    """Elections, leaderships, failures and returns of the whole run, in order.

    `done` are the sets run, in order, each with the steps done in it and after it.
    """
    told = _Timeline(replicas, list(done))
    for note in sorted(notes, key=lambda note: note[1].at):
        told.note(*note)
    return told.events


# ---- the life of a slot ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Deed:
    """What some replicas did about a slot, one right after the other. Times as in Event."""

    set_number: int
    at: int
    until: int
    replicas: tuple[ReplicaId, ...]
    what: str
    ballot: str


class _Life:
    """Lines about one slot, in order, become deeds; what is said again is left out."""

    def __init__(self, slot: Slot, replicas: int, starts: Starts) -> None:
        self.deeds: list[Deed] = []
        self._slot, self._starts = slot, starts
        self._quorum = quorum_size(replicas)
        self._said: set[tuple[ReplicaId, str, str]] = set()
        self._executed: set[ReplicaId] = set()
        self._holders: dict[str, set[ReplicaId]] = {}  # by ballot
        self.chosen_at: int | None = None

    def tell(self, replica: ReplicaId, line: TraceLine) -> None:
        """One line of one replica."""
        what = _what(line, self._slot)
        if what == EXECUTES:
            self._executed.add(replica)
        elif line.label == "STATE" and replica in self._executed:
            return
        if what and (replica, what, line.ballot) not in self._said:
            self._said.add((replica, what, line.ballot))
            self._add(line.at, replica, what, line.ballot)
        if what and line.label in ("ACCEPT", "NEW-VIEW", "ACCEPTED"):
            holders = self._holders.setdefault(line.ballot, set())
            holders.add(replica)
            if len(holders) >= self._quorum and self.chosen_at is None:
                self.chosen_at = line.at
                self._add(line.at, 0, "a quorum holds it: chosen", line.ballot)

    def _add(self, at: int, replica: ReplicaId, what: str, ballot: str) -> None:
        set_number, since = place(at, self._starts)
        last = self.deeds[-1] if self.deeds else None
        if last and (last.set_number, last.what, last.ballot) == (set_number, what, ballot):
            replicas = (*last.replicas, replica)
            self.deeds[-1] = Deed(set_number, last.at, since, replicas, what, ballot)
        else:
            replicas = (replica,) if replica else ()
            self.deeds.append(Deed(set_number, since, since, replicas, what, ballot))


@dataclass(frozen=True, slots=True)
class Life:
    """All that is known to have happened to a slot."""

    deeds: tuple[Deed, ...]  # in order
    later: tuple[Ballot, ...]  # led since it was chosen, and their leaders left it alone


def life(slot: Slot, traces: Traces, starts: Starts, replicas: int) -> Life:
    """What the traces tell of a slot; no earlier than they reach back."""
    told = _Life(slot, replicas, starts)
    lines = {replica: traces.of_run(replica)[0] for replica in range(1, replicas + 1)}
    about = [(line.at, r, line) for r, kept in lines.items() for line in kept if _is(line, slot)]
    for _, replica, line in sorted(about, key=lambda one: one[:2]):
        told.tell(replica, line)
    ballots = {deed.ballot for deed in told.deeds}
    later = [
        ballot
        for _, line in traces.notes
        if line.text.startswith("leads") and told.chosen_at is not None
        if line.at > told.chosen_at and (ballot := ballot_in(line.text)) is not None
        if str(ballot) not in ballots
    ]
    return Life(tuple(told.deeds), tuple(sorted(later)))


def _is(line: TraceLine, slot: Slot) -> bool:
    first, dash, last = line.slots.partition("-")
    return int(first) <= slot <= int((last or first) if dash else first)


def _what(line: TraceLine, slot: Slot) -> str:
    """What a line says of a slot that it covers; nothing for what only passes it by."""
    match line.direction, line.label:
        case "out", "ACCEPT":
            return "proposes it" if line.peer == "all" else f"proposes it again to {line.peer}"
        case "out", "NEW-VIEW":
            return f"takes it into its NEW-VIEW: {_request_in(line, slot)}"
        case "out", "ACCEPTED":
            return "accepts it"
        case "out", "ACK":
            return f"reports it to {line.peer} with its promise"
        case "in", "STATE":
            return f"is told of it by {line.peer}"
        case "note", "":
            return EXECUTES
    return ""


def _request_in(line: TraceLine, slot: Slot) -> str:
    """The request of one slot in a line that lists those of a run."""
    listed = re.findall(r"no-op|(?:\w+: )?\([^()]*\)", line.text)
    index = slot - int(line.slots.partition("-")[0])
    return listed[index] if index < len(listed) else "…"


# ---- how two replicas differ -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that two replicas do not have in common; "" for what one does not have."""

    what: str
    one: str
    other: str


@dataclass(frozen=True, slots=True)
class Compared:
    """Two replicas side by side."""

    differences: tuple[Difference, ...]
    first_slot: tuple[SlotStatus, SlotStatus] | None  # where their logs differ, in any respect
    contradiction: tuple[SlotStatus, SlotStatus] | None  # executed by both, and not the same


def compare(
    one: ReplicaView,
    other: ReplicaView,
    read: Callable[[ReplicaId, Sequence[Slot]], Sequence[SlotStatus]],
) -> Compared:
    """Watermarks, promises, balances, sessions and the logs, which `read` reads piece by piece."""
    statuses = one.status, other.status
    found = [
        Difference(what, str(get(statuses[0])), str(get(statuses[1])))
        for what, get in _FACTS.items()
        if get(statuses[0]) != get(statuses[1])
    ]
    found += _of_mappings("balance ", statuses[0].balances, statuses[1].balances)
    sessions = [{s[0]: f"{s[1]}: {s[2]}, slot {s[3]}" for s in x.sessions} for x in statuses]
    found += _of_mappings("session ", *sessions)
    first = contradiction = None
    truncated = min(status.truncated_upto for status in statuses)
    last = max(status.last_slot for status in statuses)
    for begin in range(truncated + 1, last + 1, CHUNK):
        slots = range(begin, min(last + 1, begin + CHUNK))
        for pair in zip(read(one.replica, slots), read(other.replica, slots), strict=True):
            left, right = pair
            hidden = left.slot <= max(status.truncated_upto for status in statuses)
            if first is None and left != right and not (hidden and left.mark is right.mark):
                first = pair
            executed = left.slot <= min(status.executed_upto for status in statuses)
            if contradiction is None and executed and not hidden and left.request != right.request:
                contradiction = pair
    return Compared(tuple(found), first, contradiction)


_FACTS: dict[str, Callable[[ReplicaStatus], object]] = {
    "promised": lambda status: status.promised if status.promised.number else "nobody",
    "follows": lambda status: status.following if status.following.number else "nobody",
    "committed up to": lambda status: status.committed_upto,
    "executed up to": lambda status: status.executed_upto,
    "holds slots up to": lambda status: status.last_slot,
    "checkpoint": lambda status: status.checkpoint,
    "truncated up to": lambda status: status.truncated_upto,
}


def _of_mappings(
    what: str, one: Mapping[str, object], other: Mapping[str, object]
) -> list[Difference]:
    keys = dict.fromkeys((*one, *other))
    return [
        Difference(f"{what}{key}", str(one.get(key, "")), str(other.get(key, "")))
        for key in keys
        if one.get(key) != other.get(key)
    ]
