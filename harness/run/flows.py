"""What happened in a run, from its replicas' traces: messages from end to end, roles. Pure.

A trace tells what one replica sent and what it read. Here both ends of a message come together:
per pair of replicas, equal sends and reads are joined in order, each read with the latest send that
leaves the order whole; what a faulty link lost or doubled is joined with its send the same way.
What is left over was lost, if its reader went on to read what was sent later, or has an origin that
no trace tells. Where lines were dropped, or nothing was read later, the fate of a message is
unknown. Times are microseconds from the start of a set.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import accumulate
from typing import Any, NamedTuple, TypeAlias

from bank.ballot import Ballot, ReplicaId
from bank.status import Role
from harness.cluster.journal import (
    CLIENTS,
    Entry,
    Executed,
    Heartbeats,
    LivenessChanged,
    Passed,
    Relayed,
    Slots,
    Way,
)
from harness.cluster.wording import joined, line
from harness.run.report import SetReport
from harness.run.story import Lane, Moment

# Of a set, by replica: the entries, and how many older ones were dropped.
Trace: TypeAlias = Mapping[ReplicaId, tuple[Sequence[Entry], int]]
Traces: TypeAlias = Sequence[Trace]  # set by set


class Fate(IntEnum):
    """Of a message on its way to one receiver, when it was not read."""

    LOST = -1
    UNKNOWN = -2
    FAILED = -3  # its reader had failed, or did so before it read anything sent later


@dataclass(slots=True)
class Message:
    """One message with everybody it was sent to."""

    source: ReplicaId
    sent: int | None  # None: no trace tells; negative: in an earlier set
    passed: Passed | Relayed
    ends: dict[ReplicaId, int] = field(default_factory=dict)  # when it was read, or its Fate
    is_again: bool = False  # told in the set that it was sent in already: it is read in this one


class Mark(NamedTuple):
    """Something that befell one replica."""

    replica: ReplicaId
    at: int
    kind: str  # "HEARTBEAT" for some of them summed up, "executes" for slots, else ""
    text: str


class Phase(NamedTuple):
    """What a replica was for a while."""

    replica: ReplicaId
    begin: int
    end: int
    lane: Lane
    state: str  # leader, former, candidate, backup; disconnected, crashed, paused, stopped
    ballot: Ballot | None  # that it leads or stands in, or did when it failed

    @property
    def has_failed(self) -> bool:
        """It takes no part."""
        return self.lane in (Lane.AWAY, Lane.STOPPED)


@dataclass(slots=True)
class Story:
    """One set."""

    messages: list[Message] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    dropped: dict[ReplicaId, int] = field(default_factory=dict)


_BEAT, _EXECUTES = "HEARTBEAT", "executes"  # kinds of marks
_WAYS = {Way.READ: "read", Way.SENT: "sent", Way.HELD: "held back"}
_State: TypeAlias = tuple[Lane, str, Ballot | None]  # as in Phase
_ROLES = {
    Lane.LEADS: Role.LEADER.value,
    Lane.IN_NAME: "former",
    Lane.STANDS: Role.CANDIDATE.value,
    Lane.FOLLOWS: Role.FOLLOWER.value,
}


def tell(reports: Sequence[SetReport], traces: Traces, moments: Sequence[Moment]) -> list[Story]:
    """The story of each set. `traces` are as many as `reports`, `moments` those of the timeline."""
    stories = [Story() for _ in reports]
    starts = [report.started_at for report in reports]
    for story, start, trace in zip(stories, starts, traces, strict=True):
        story.dropped = {replica: dropped for replica, (_, dropped) in trace.items() if dropped}
        story.marks = [
            _mark(replica, entry, entry.at - start)
            for replica, (entries, _) in trace.items()
            for entry in entries
            if not isinstance(entry.event, Passed | Relayed)
        ]
        story.marks.sort(key=lambda mark: mark.at)
    _phases(stories, reports, traces, moments)
    _Matcher(stories, starts, traces).run()
    for story in stories:
        story.messages.sort(key=_when)
    return stories


def _mark(replica: ReplicaId, entry: Entry, at: int) -> Mark:
    words = line(entry.event)
    match entry.event:
        case Heartbeats(way, _, _):
            text = joined(_WAYS.get(way, way.value), words.text, words.ballot)
            return Mark(replica, at, _BEAT, text)
        case Executed():
            return Mark(replica, at, _EXECUTES, joined(words.text, words.slots))
    return Mark(replica, at, "", words.text)


def _when(message: Message) -> int:
    return min(message.ends.values()) if message.sent is None else message.sent


# ---- roles -------------------------------------------------------------------------------------


def _phases(
    stories: Sequence[Story],
    reports: Sequence[SetReport],
    traces: Traces,
    moments: Sequence[Moment],
) -> None:
    """What each replica was when, as the timeline of the run tells it."""
    by_set: dict[int, list[Moment]] = defaultdict(list)
    for moment in moments:
        by_set[moment.set_number].append(moment)
    states: dict[ReplicaId, _State] = {}
    for story, report, trace in zip(stories, reports, traces, strict=True):
        last = [e.at - report.started_at for entries, _ in trace.values() for e in entries]
        end = max([round(report.seconds * 1e6), *last])
        for replica in trace:
            begin = 0
            states.setdefault(replica, (Lane.FOLLOWS, Role.FOLLOWER.value, None))
            for moment in by_set[report.number]:
                before = states[replica]
                after = _state(moment, replica, before)
                if after != before and (at := min(moment.at, end)) > begin:
                    story.phases.append(Phase(replica, begin, at, *before))
                    begin = at
                states[replica] = after
            story.phases.append(Phase(replica, begin, end, *states[replica]))


def _state(moment: Moment, replica: ReplicaId, before: _State) -> _State:
    """What a replica is after a moment, with the ballot that it leads or stands in."""
    (_, state, ballot), lane = before, moment.lanes[replica - 1]
    if moment.replica == replica:
        if isinstance(moment.what, LivenessChanged):
            state = moment.what.liveness.value
        ballot = moment.ballot or ballot
    if lane in _ROLES:
        return lane, _ROLES[lane], ballot if lane is not Lane.FOLLOWS else None
    return lane, state, ballot


# ---- messages ----------------------------------------------------------------------------------


class _Sent(NamedTuple):
    at: int
    set_index: int
    message: Message


# From, to, and what the message says.
_Key: TypeAlias = tuple[ReplicaId, ReplicaId, tuple[Any, ...], Slots | None]


class _Matcher:
    """Joins sends and reads over the whole run: a message may be read in a later set."""

    def __init__(self, stories: Sequence[Story], starts: Sequence[int], traces: Traces) -> None:
        self._stories, self._starts, self._traces = stories, starts, traces
        self._sends: dict[_Key, list[_Sent]] = defaultdict(list)
        # What came to the end of a link: read there, lost or doubled.
        self._arrivals: dict[_Key, list[tuple[int, int, Passed | Relayed]]] = defaultdict(list)
        self._unread: list[tuple[ReplicaId, _Sent]] = []
        # By replica: when what it read was sent, and when it was read.
        self._heard: dict[ReplicaId, list[tuple[int, int]]] = defaultdict(list)

    def run(self) -> None:
        """Fill the stories' messages."""
        for index, trace in enumerate(self._traces):
            for replica, (entries, _) in trace.items():
                for at, event in entries:
                    if isinstance(event, Passed | Relayed):
                        self._add(index, replica, at, event)
        for key in {**self._sends, **self._arrivals}:
            self._match(key)
        self._judge()

    def _add(self, index: int, replica: ReplicaId, at: int, passed: Passed | Relayed) -> None:
        way, peers, plain, slots, *_ = passed
        if way is not Way.SENT:
            if way is not Way.HELD:  # that is read later
                self._arrivals[peers[0], replica, plain, slots].append((at, index, passed))
            return
        message = Message(replica, at - self._starts[index], passed)
        self._stories[index].messages.append(message)
        for to in peers or [other for other in self._traces[index] if other != replica]:
            message.ends[to] = Fate.UNKNOWN
            if to != CLIENTS:  # what clients read is in no trace
                self._sends[replica, to, plain, slots].append(_Sent(at, index, message))

    def _match(self, key: _Key) -> None:
        """From the last to the first: each arrival gets the latest send that is left before it."""
        to = key[1]
        arrivals = sorted(self._arrivals.get(key, ()), key=lambda arrival: arrival[0], reverse=True)
        doubled = [at for at, _, passed in arrivals if passed.way is Way.DOUBLED]
        sends = self._with_doubles(key, doubled)
        for at, index, passed in arrivals:
            if passed.way is Way.DOUBLED:
                continue
            while sends and sends[-1].at > at:
                self._unread.append((to, sends.pop()))
            sent = sends.pop() if sends else None
            if passed.way is Way.LOST:
                if sent is not None:
                    sent.message.ends[to] = Fate.LOST
            else:
                self._join(key, sent, at, index, passed)
        self._unread += [(to, sent) for sent in sends]

    def _with_doubles(self, key: _Key, doubled: Sequence[int]) -> list[_Sent]:
        """The sends in order, and again each one that a link doubled."""
        sends = sorted(self._sends.get(key, ()), key=lambda sent: sent.at)
        copies: list[_Sent] = []
        for at in doubled:
            known = {copy.at for copy in copies}
            once = [sent for sent in sends if sent.at <= at and sent.at not in known]
            if once:
                sent = once[-1]
                message = Message(key[0], sent.message.sent, sent.message.passed, {})
                message.ends[key[1]] = Fate.UNKNOWN
                self._stories[sent.set_index].messages.append(message)
                copies.append(sent._replace(message=message))
        return sorted([*sends, *copies], key=lambda sent: sent.at)

    def _join(
        self, key: _Key, sent: _Sent | None, at: int, index: int, passed: Passed | Relayed
    ) -> None:
        """What was sent, if a trace tells, is what was read."""
        source, to = key[:2]
        start = self._starts[index]
        if sent is None:
            story = self._stories[index]
            story.messages.append(Message(source, None, passed, {to: at - start}))
            return
        self._heard[to].append((sent.at, at))
        sent.message.ends[to] = at - self._starts[sent.set_index]
        if sent.set_index != index:
            again = Message(source, sent.at - start, passed, {to: at - start}, is_again=True)
            self._stories[index].messages.append(again)

    def _judge(self) -> None:
        """A message is lost when its reader went on to read what was sent later than it."""
        later = {replica: _Later(heard) for replica, heard in self._heard.items()}
        failures: dict[ReplicaId, list[tuple[int, int]]] = defaultdict(list)
        for start, story in zip(self._starts, self._stories, strict=True):
            for phase in story.phases:
                if phase.has_failed:
                    failures[phase.replica].append((start + phase.begin, start + phase.end))
        for to, sent in self._unread:
            entries, dropped = self._traces[sent.set_index].get(to, ((), 0))
            if dropped and (not entries or sent.at < entries[0].at):
                continue
            until = later[to].read_after(sent.at) if to in later else None
            if any(
                sent.at <= end and (until is None or begin <= until) for begin, end in failures[to]
            ):
                sent.message.ends[to] = Fate.FAILED
            elif until is not None:
                sent.message.ends[to] = Fate.LOST


class _Later:
    """When the first thing was read that was sent after a given time."""

    def __init__(self, heard: Sequence[tuple[int, int]]) -> None:
        """`heard` are times of sending and of reading."""
        ordered = sorted(heard)
        self._sent = [sent for sent, _ in ordered]
        self._read = list(accumulate((read for _, read in reversed(ordered)), min))[::-1]

    def read_after(self, sent: int) -> int | None:
        """None when nothing was."""
        place = bisect_right(self._sent, sent)
        return self._read[place] if place < len(self._read) else None
