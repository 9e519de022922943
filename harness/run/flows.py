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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import accumulate
from typing import NamedTuple, TypeAlias

from bank.ballot import ReplicaId
from bank.status import Role
from harness.cluster.driver import TraceLine
from harness.cluster.links import DOUBLED, HELD, LOST
from harness.run.runner import SetReport
from harness.run.story import Event, Lane

CLIENTS: ReplicaId = 0  # all of them

# Of a set, by replica: the lines, and how many older ones were dropped.
Trace: TypeAlias = Mapping[ReplicaId, tuple[Sequence[TraceLine], int]]
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
    line: TraceLine
    ends: dict[ReplicaId, int] = field(default_factory=dict)  # when it was read, or its Fate


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
    state: str  # leader, former, candidate, backup; disconnected, crashed, paused, stopped
    ballot: str  # "(2, n1)" or ""

    @property
    def has_failed(self) -> bool:
        """It takes no part."""
        return self.state not in _ROLES.values()


@dataclass(slots=True)
class Story:
    """One set."""

    messages: list[Message] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    dropped: dict[ReplicaId, int] = field(default_factory=dict)


_CLIENT, _ALL, _BEAT, _DEATH, _EXECUTES = "client", "all", "HEARTBEAT", "DOWN", "executes"
_WAYS = {"in": "read", "out": "sent", LOST: "lost", HELD: "held back", DOUBLED: "doubled"}
_ROLES = {
    Lane.LEADS: Role.LEADER.value,
    Lane.IN_NAME: "former",
    Lane.STANDS: Role.CANDIDATE.value,
    Lane.FOLLOWS: Role.FOLLOWER.value,
}


def tell(reports: Sequence[SetReport], traces: Traces, events: Sequence[Event]) -> list[Story]:
    """The story of each set. `traces` are as many as `reports`, `events` those of the timeline."""
    stories = [Story() for _ in reports]
    starts = [report.started_at for report in reports]
    for story, start, trace in zip(stories, starts, traces, strict=True):
        story.dropped = {replica: dropped for replica, (_, dropped) in trace.items() if dropped}
        story.marks = [
            _mark(replica, line, line.at - start)
            for replica, (lines, _) in trace.items()
            for line in lines
            if line.direction == "note" or line.label in (_BEAT, _DEATH)
        ]
        story.marks.sort(key=lambda mark: mark.at)
    _phases(stories, reports, traces, events)
    _Matcher(stories, starts, traces).run()
    for story in stories:
        story.messages.sort(key=_when)
    return stories


def _mark(replica: ReplicaId, line: TraceLine, at: int) -> Mark:
    if line.label == _BEAT:
        return Mark(replica, at, _BEAT, f"{_WAYS[line.direction]} {line.text} {line.ballot}")
    if line.text == _EXECUTES:
        return Mark(replica, at, _EXECUTES, f"{_EXECUTES} {line.slots}")
    return Mark(replica, at, "", line.text)


def _when(message: Message) -> int:
    return min(message.ends.values()) if message.sent is None else message.sent


# ---- roles -------------------------------------------------------------------------------------


def _phases(
    stories: Sequence[Story],
    reports: Sequence[SetReport],
    traces: Traces,
    events: Sequence[Event],
) -> None:
    """What each replica was when, as the timeline of the run tells it."""
    by_set: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        by_set[event.set_number].append(event)
    states: dict[ReplicaId, tuple[str, str]] = {}
    for story, report, trace in zip(stories, reports, traces, strict=True):
        last = [line.at - report.started_at for lines, _ in trace.values() for line in lines]
        end = max([round(report.seconds * 1e6), *last])
        for replica in (view.replica for view in report.views):
            begin = 0
            states.setdefault(replica, (Role.FOLLOWER.value, ""))
            for event in by_set[report.number]:
                before = states[replica]
                after = _state(event, replica, *before)
                if after != before and (at := min(event.at, end)) > begin:
                    story.phases.append(Phase(replica, begin, at, *before))
                    begin = at
                states[replica] = after
            story.phases.append(Phase(replica, begin, end, *states[replica]))


def _state(event: Event, replica: ReplicaId, state: str, ballot: str) -> tuple[str, str]:
    """What a replica is after an event, with the ballot that it leads or stands in."""
    lane = event.lanes[replica - 1]
    if event.replica == replica:
        state, ballot = event.what, str(event.ballot) if event.ballot is not None else ballot
    if lane in _ROLES:
        return _ROLES[lane], ballot if lane is not Lane.FOLLOWS else ""
    return state, ballot


# ---- messages ----------------------------------------------------------------------------------


class _Sent(NamedTuple):
    at: int
    set_index: int
    message: Message


_Key: TypeAlias = tuple[ReplicaId, ReplicaId, str, str, str, str]


class _Matcher:
    """Joins sends and reads over the whole run: a message may be read in a later set."""

    def __init__(self, stories: Sequence[Story], starts: Sequence[int], traces: Traces) -> None:
        self._stories, self._starts, self._traces = stories, starts, traces
        self._sends: dict[_Key, list[_Sent]] = defaultdict(list)
        # What came to the end of a link: read there, lost or doubled.
        self._arrivals: dict[_Key, list[tuple[int, int, TraceLine]]] = defaultdict(list)
        self._unread: list[tuple[ReplicaId, _Sent]] = []
        # By replica: when what it read was sent, and when it was read.
        self._heard: dict[ReplicaId, list[tuple[int, int]]] = defaultdict(list)

    def run(self) -> None:
        """Fill the stories' messages."""
        for index, trace in enumerate(self._traces):
            for replica, (lines, _) in trace.items():
                for line in lines:
                    if line.direction != "note" and line.label not in (_BEAT, _DEATH):
                        self._add(index, replica, line)
        for key in {**self._sends, **self._arrivals}:
            self._match(key)
        self._judge()

    def _add(self, index: int, replica: ReplicaId, line: TraceLine) -> None:
        what = line.label, line.ballot, line.slots, line.text
        if line.direction != "out":
            if line.direction != HELD:  # that is read later
                self._arrivals[_lane(line.peer), replica, *what].append((line.at, index, line))
            return
        message = Message(replica, line.at - self._starts[index], line)
        self._stories[index].messages.append(message)
        for to in self._receivers(index, replica, line.peer):
            message.ends[to] = Fate.UNKNOWN
            if to != CLIENTS:  # what clients read is in no trace
                self._sends[replica, to, *what].append(_Sent(line.at, index, message))

    def _receivers(self, index: int, source: ReplicaId, peer: str) -> Iterable[ReplicaId]:
        if peer == _ALL:
            return [replica for replica in self._traces[index] if replica != source]
        return [_lane(word) for word in peer.split(",")]

    def _match(self, key: _Key) -> None:
        """From the last to the first: each arrival gets the latest send that is left before it."""
        to = key[1]
        arrivals = sorted(self._arrivals.get(key, ()), key=lambda arrival: arrival[0], reverse=True)
        doubled = [at for at, _, line in arrivals if line.direction == DOUBLED]
        sends = self._with_doubles(key, doubled)
        for at, index, line in arrivals:
            if line.direction == DOUBLED:
                continue
            while sends and sends[-1].at > at:
                self._unread.append((to, sends.pop()))
            sent = sends.pop() if sends else None
            if line.direction == LOST:
                if sent is not None:
                    sent.message.ends[to] = Fate.LOST
            else:
                self._join(key, sent, at, index, line)
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
                message = Message(key[0], sent.message.sent, sent.message.line, {})
                message.ends[key[1]] = Fate.UNKNOWN
                self._stories[sent.set_index].messages.append(message)
                copies.append(sent._replace(message=message))
        return sorted([*sends, *copies], key=lambda sent: sent.at)

    def _join(self, key: _Key, sent: _Sent | None, at: int, index: int, line: TraceLine) -> None:
        """What was sent, if a trace tells, is what was read."""
        source, to = key[:2]
        start = self._starts[index]
        if sent is None:
            story = self._stories[index]
            story.messages.append(Message(source, None, line, {to: at - start}))
            return
        self._heard[to].append((sent.at, at))
        sent.message.ends[to] = at - self._starts[sent.set_index]
        if sent.set_index != index:
            again = Message(source, sent.at - start, line, {to: at - start})
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
            lines, dropped = self._traces[sent.set_index].get(to, ((), 0))
            if dropped and (not lines or sent.at < lines[0].at):
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


def _lane(peer: str) -> ReplicaId:
    peer = peer.strip()
    return CLIENTS if peer == _CLIENT else int(peer.removeprefix("n"))
