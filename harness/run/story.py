"""What happened, told from traces and views: who led when, the life of a slot, how two differ.

Pure: nothing is asked of a cluster here. A story is as complete as the traces it is made from;
whoever shows one says how much was dropped.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, TypeAlias

from bank.ballot import NO_BALLOT, Ballot, ReplicaId, Slot
from bank.events import BecameCandidate, Leads, SteppedDown
from bank.messages import Accept, Accepted, NewView, Promise, State, StatePiece
from bank.quorum import quorum_size
from bank.sessions import Request
from bank.status import ReplicaStatus, Role, SlotStatus
from harness.cluster.driver import LOG, ReplicaView
from harness.cluster.journal import (
    Entry,
    Event,
    Executed,
    Liveness,
    LivenessChanged,
    Passed,
    Traces,
    Way,
)
from harness.run.report import SetReport, StepReport

Starts: TypeAlias = Sequence[tuple[int, int]]  # of every set run: when it began, its number
Done: TypeAlias = tuple[SetReport, Sequence[StepReport]]  # a set, the steps in it and after it

CHUNK = 1000  # slots asked for at once
MOST_COMPARED = 1_000_000  # slots; other people's replicas may tell any number


def starts_of(reports: Iterable[SetReport]) -> Starts:
    """When the sets began, for placing moments in them."""
    return [(report.started_at, report.number) for report in reports]


def place(at: int, starts: Starts) -> tuple[int, int]:
    """The number of the set (or the pause after it) in which `at` falls, and the time in it."""
    index = max(0, bisect_right([began for began, _ in starts], at) - 1)
    began, number = starts[index]
    return number, max(0, at - began)


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
class Moment:
    """One line of the timeline. Times are microseconds."""

    set_number: int
    at: int  # since that set began
    replica: ReplicaId
    what: Event
    ballot: Ballot | None  # that it leads or stands in; of one that gives up, in which it did
    was_leader: bool  # of one that gives up: it did not only stand
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

    def __init__(self, replicas: int, done: Sequence[Done], starts: Starts) -> None:
        self.moments: list[Moment] = []
        self._starts = starts
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

    def take(self, replica: ReplicaId, entry: Entry) -> None:
        """An event of the protocol at one replica; most say nothing of leading."""
        state, at, event = self._states[replica], entry.at, entry.event
        match event:
            case LivenessChanged(liveness):
                self._change(state, replica, at, event, liveness)
            case BecameCandidate(ballot):
                state.role, state.ballot = Role.CANDIDATE, ballot
                self._add(at, replica, event, ballot)
            case Leads(ballot):
                leaderless = None if self._vacant is None else at - self._vacant
                state.role, state.ballot, state.since = Role.LEADER, ballot, at
                self._newest, self._vacant = max(self._newest, ballot), None
                self._add(at, replica, event, ballot, leaderless=leaderless)
            case SteppedDown():
                was_leader, led = state.role is Role.LEADER, self._end(state, at)
                state.role = Role.FOLLOWER
                self._add(at, replica, event, state.ballot, led=led, was_leader=was_leader)

    def _change(
        self, state: _State, replica: ReplicaId, at: int, event: Event, liveness: Liveness
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
        self._add(at, replica, event, cause=cause, led=led)

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
        what: Event,
        ballot: Ballot | None = None,
        was_leader: bool = False,
        cause: str = "",
        led: int | None = None,
        leaderless: int | None = None,
    ) -> None:
        set_number, since = place(at, self._starts)
        lanes = tuple(map(self._lane, self._states.values()))
        self.moments.append(
            Moment(
                set_number, since, replica, what, ballot, was_leader, cause, led, leaderless, lanes
            )
        )

    def _lane(self, state: _State) -> Lane:
        if state.liveness is not Liveness.LIVE:
            return Lane.STOPPED if state.liveness is Liveness.STOPPED else Lane.AWAY
        if state.role is Role.LEADER:
            leads = state.since is not None and state.ballot == self._newest
            return Lane.LEADS if leads else Lane.IN_NAME
        return Lane.STANDS if state.role is Role.CANDIDATE else Lane.FOLLOWS


def timeline(
    events: Iterable[tuple[ReplicaId, Entry]],
    done: Iterable[Done],
    replicas: int,
    starts: Starts = (),
) -> list[Moment]:
    """Elections, leaderships, failures and returns of the whole run, in order.

    `done` are the sets run, in order, each with the steps done in it and after it. Nothing is
    told before the first: of replicas that did not start there is no run. `starts` are
    given where a run has no sets.
    """
    sets = list(done)
    starts = starts or starts_of(report for report, _ in sets)
    if not starts:
        return []
    told = _Timeline(replicas, sets, starts)
    for event in sorted(events, key=lambda event: event[1].at):
        told.take(*event)
    return told.moments


# ---- the life of a slot ------------------------------------------------------------------------


class Chosen:
    """The doing of a quorum: it holds the slot."""


class Doing(NamedTuple):
    """What some replica did about a slot, with all that tells it from others."""

    kind: type  # of the message that it sent, or State of what it was told; Executed; Chosen
    ballot: Ballot | None = None
    peers: tuple[ReplicaId, ...] = ()  # to or from whom, where that is worth a word; () for all
    request: Request | None = None  # proposed or taken over; None when it was not kept

    @property
    def plain(self) -> "Doing":
        """Without the request, which is kept sometimes."""
        return self._replace(request=None)


@dataclass(frozen=True, slots=True)
class Deed:
    """What some replicas did about a slot, one right after the other. Times as in Moment."""

    set_number: int
    at: int
    until: int
    replicas: tuple[ReplicaId, ...]
    doing: Doing


class _Life:
    """Entries about one slot, in order, become deeds; what is said again is left out."""

    def __init__(self, slot: Slot, replicas: int, starts: Starts) -> None:
        self.deeds: list[Deed] = []
        self._slot, self._starts = slot, starts
        self._quorum = quorum_size(replicas)
        self._said: dict[tuple[ReplicaId, Doing], Request | None] = {}
        self._executed: set[ReplicaId] = set()
        self.values: dict[Ballot | None, Request] = {}  # proposed in a ballot, where it was kept
        self._chosen: Request | None = None
        self._holders: dict[Ballot | None, set[ReplicaId]] = {}
        self.chosen_at: int | None = None

    def tell(self, replica: ReplicaId, entry: Entry) -> None:
        """One entry of one replica."""
        doing = _doing(entry.event, self._slot)
        if doing is None or (doing.kind is State and replica in self._executed):
            return
        if doing.kind is Executed:
            self._executed.add(replica)
        key = replica, doing.plain
        known = self._said.get(key)
        if key not in self._said or (known and doing.request and known != doing.request):
            self._said[key] = doing.request
            self._add(entry.at, replica, doing)
        if doing.request is not None:
            self.values.setdefault(doing.ballot, doing.request)
        if doing.kind in (Accept, NewView, Accepted):
            holders = self._holders.setdefault(doing.ballot, set())
            holders.add(replica)
            value = self.values.get(doing.ballot)
            is_another = value is not None and self._chosen is not None and value != self._chosen
            if len(holders) >= self._quorum and (self.chosen_at is None or is_another):
                self.chosen_at = self.chosen_at or entry.at
                self._chosen = value
                self._add(entry.at, 0, Doing(Chosen, doing.ballot, request=value))

    def _add(self, at: int, replica: ReplicaId, doing: Doing) -> None:
        set_number, since = place(at, self._starts)
        last = self.deeds[-1] if self.deeds else None
        if last and (last.set_number, last.doing) == (set_number, doing):
            replicas = (*last.replicas, replica)
            self.deeds[-1] = Deed(set_number, last.at, since, replicas, doing)
        else:
            replicas = (replica,) if replica else ()
            self.deeds.append(Deed(set_number, since, since, replicas, doing))


@dataclass(frozen=True, slots=True)
class Life:
    """All that is known to have happened to a slot."""

    deeds: tuple[Deed, ...]  # in order
    later: tuple[Ballot, ...]  # led since it was chosen, and their leaders left it alone
    # What was proposed in a ballot, where that was kept.
    values: Mapping[Ballot | None, Request] = field(default_factory=dict)


def life(slot: Slot, traces: Traces, starts: Starts, replicas: int) -> Life:
    """What the traces tell of a slot; no earlier than they reach back."""
    told = _Life(slot, replicas, starts)
    kept = {replica: traces.of_run(replica)[0] for replica in range(1, replicas + 1)}
    about = [
        (entry.at, replica, entry)
        for replica, entries in kept.items()
        for entry in entries
        if entry.slots is not None and entry.slots[0] <= slot <= entry.slots[1]
    ]
    for _, replica, entry in sorted(about, key=lambda one: one[:2]):
        told.tell(replica, entry)
    ballots = {deed.doing.ballot for deed in told.deeds}
    later = [
        entry.event.ballot
        for _, entry in traces.events
        if isinstance(entry.event, Leads) and told.chosen_at is not None
        if entry.at > told.chosen_at and entry.event.ballot not in ballots
    ]
    return Life(tuple(told.deeds), tuple(sorted(later)), told.values)


def _doing(event: Event, slot: Slot) -> Doing | None:
    """What an event says of a slot that it covers; None for what only passes it by."""
    if isinstance(event, Executed):
        return Doing(Executed)
    if not isinstance(event, Passed):
        return None
    match event.way, event.message:
        case Way.SENT, Accept(ballot, first_slot, requests):
            kept = requests[slot - first_slot :]
            return Doing(Accept, ballot, event.peers, kept[0] if kept else None)
        case Way.SENT, Promise(ballot):
            return Doing(Promise, ballot, event.peers)
        case Way.SENT, Accepted(ballot):
            return Doing(Accepted, ballot)
        case Way.SENT, NewView(ballot, first_slot, requests):
            kept = requests[slot - first_slot :]
            return Doing(NewView, ballot, request=kept[0] if kept else None)
        case Way.READ, State() | StatePiece():
            return Doing(State, peers=event.peers)
    return None


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
    unread: Slot | None = None  # from here on nothing was compared: the logs are told too long
    told: tuple[str, ...] = ()  # what both tell, in words


def compare(
    one: ReplicaView,
    other: ReplicaView,
    read: Callable[[ReplicaId, Sequence[Slot]], Sequence[SlotStatus]],
) -> Compared:
    """Watermarks, promises, balances, sessions and the logs, which `read` reads piece by piece.

    What one of them does not tell is not compared.
    """
    statuses, untold = (one.status, other.status), one.untold | other.untold
    found = [
        Difference(what, str(get(statuses[0])), str(get(statuses[1])))
        for (what, name), get in _FACTS.items()
        if name not in untold and get(statuses[0]) != get(statuses[1])
    ]
    if "balances" not in untold:
        found += _of_mappings("balance ", statuses[0].balances, statuses[1].balances)
    sessions = [{s[0]: f"{s[1]}: {s[2]}, slot {s[3]}" for s in x.sessions} for x in statuses]
    found += _of_mappings("session ", *sessions)
    first = contradiction = None
    truncated = min(status.truncated_upto for status in statuses)
    last = truncated if LOG in untold else max(status.last_slot for status in statuses)
    both = min(status.executed_upto for status in statuses)
    unread = None
    for begin in range(truncated + 1, last + 1, CHUNK):
        if first is not None and (contradiction is not None or begin > both):
            break  # there is nothing else to find
        if begin > truncated + MOST_COMPARED:
            unread = begin
            break
        slots = range(begin, min(last + 1, begin + CHUNK))
        for pair in zip(read(one.replica, slots), read(other.replica, slots), strict=True):
            left, right = pair
            hidden = left.slot <= max(status.truncated_upto for status in statuses)
            if first is None and left != right and not (hidden and left.mark is right.mark):
                first = pair
            executed = left.slot <= both
            if contradiction is None and executed and not hidden and left.request != right.request:
                contradiction = pair
    told = tuple(what for what, name in _TOLD.items() if name not in untold)
    return Compared(tuple(found), first, contradiction, unread, told)


def _or_nobody(ballot: Ballot) -> object:
    return ballot if ballot.number else "nobody"


_TOLD = {"promises": "promised", "log": LOG, "balances": "balances", "sessions": "sessions"}
_FACTS: dict[tuple[str, str], Callable[[ReplicaStatus], object]] = {  # with who may not tell it
    ("promised", "promised"): lambda status: (
        status.promised if status.promised.number else "nobody"
    ),
    ("follows", "following"): lambda status: (
        status.following if status.following.number else "nobody"
    ),
    ("committed up to", "committed_upto"): lambda status: status.committed_upto,
    ("executed up to", "executed_upto"): lambda status: status.executed_upto,
    ("holds slots up to", LOG): lambda status: status.last_slot,
    ("checkpoint", "checkpoint"): lambda status: status.checkpoint,
    ("truncated up to", LOG): lambda status: status.truncated_upto,
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
