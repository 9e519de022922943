"""A run for the Perfetto viewer, in Chrome's trace event format (JSON). Pure.

A lane for each replica: bars say what it was, a leader with its ballot or a replica that failed; in
them each message that it sent or read is a short slice, with an arrow from the one to the other.
What a replica decided and executed are instants. Above are lanes for sets and faults, below one for
each client with its operations.

Viewers drop without a word what breaks the format's rules, so they are kept here: slices of a lane
lie in each other, not too deep, or apart, and never overlap; an arrow begins and ends in a slice,
and its number is one; no two lanes share a `tid`, in whatever processes they are, and none is
beyond 32 bits; events stand in the order of their times, and what lies around another one comes
first. What is told at one microsecond stands side by side in nanoseconds, in its order;
`args.at_us` is the time as trace.jsonl has it.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

from bank.ballot import ReplicaId, replica_name
from harness.cluster.history import Operation
from harness.cluster.journal import CLIENTS
from harness.cluster.wording import joined, line, peers_text, request_text
from harness.files.cases import Command
from harness.run import flows
from harness.run.flows import Fate, Message, Phase, Story, Traces
from harness.run.report import SetReport
from harness.run.story import Lane, Moment

MOST_POINTS = 100_000  # messages at one end, and instants: the last ones
MOST_OF_A_TEXT = 300  # characters
WIDEST = 20  # microseconds of a message's slice: enough to be read, and seen from afar

_NS = 1000  # of a microsecond
_RUN, _REPLICAS, _CLIENTS = 1, 2, 3  # processes
_SETS, _FAULTS = 11, 12  # and lanes; never 0, which viewers take for no lane
_FIRST_REPLICA, _FIRST_CLIENT = 100, 1000
_STATES = {Lane.LEADS: "leads", Lane.IN_NAME: "leads in name only", Lane.STANDS: "stands"}
_FATES = {Fate.LOST: "lost", Fate.UNKNOWN: "unknown", Fate.FAILED: "its reader failed"}

Event: TypeAlias = dict[str, Any]


class Happened(NamedTuple):
    """A fault, or its end, or a word on it."""

    at: int  # microseconds of the cluster's clock
    text: str
    outcome: str = ""


@dataclass(slots=True)
class _Point:
    """Something on a replica's lane. `at` is by the cluster's clock, `begin` and `width` are ns."""

    lane: ReplicaId
    at: int
    kind: str  # see _ORDER
    name: str
    args: Event
    until: int | None = None  # of a message sent: when it was first read
    is_late: bool = False  # read at the very microsecond in which it was sent
    arrows: list[int] = field(default_factory=list)  # that leave here
    arrow: int | None = None  # that ends here
    begin: int = 0
    width: int = 0


_ORDER = {"gap": 0, "read": 1, "note": 2, "sent": 3}  # in a turn


def faults(done: Iterable[tuple[SetReport, Sequence[Any]]]) -> list[Happened]:
    """Of sets, each with its steps: those that are no requests and were done."""
    return [
        Happened(report.started_at + step.begun_us, step.text, step.outcome)
        for report, steps in done
        for step in steps
        if step.begun_us is not None and not isinstance(step.action, Command)
    ]


def document(
    title: str,
    reports: Sequence[SetReport],
    traces: Traces,
    moments: Sequence[Moment],
    happened: Iterable[Happened],
    history: Iterable[Operation],
) -> bytes:
    """The whole file. `traces` are as many as `reports`, `moments` those of the timeline."""
    told = _Told(title)
    stories = flows.tell(reports, traces, moments)
    for report, story in zip(reports, stories, strict=True):
        told.add_set(report, story)
    return told.document(list(happened), list(history))


class _Told:
    """Collects what there is, by the cluster's clock, and gives it its places at the end."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._sets: list[SetReport] = []
        self._phases: dict[ReplicaId, list[Phase]] = defaultdict(list)
        self._points: list[_Point] = []
        self._sent: dict[int, _Point] = {}  # by the identity of what was sent, which stories hold
        self._arrows = 0
        self._left_out: dict[ReplicaId, int] = defaultdict(int)
        self._end = 0

    # ---- collecting ----------------------------------------------------------------------------

    def add_set(self, report: SetReport, story: Story) -> None:
        """One set and the pause after it."""
        start = report.started_at
        self._sets.append(report)
        self._end = max(self._end, start + round(report.seconds * 1e6))
        for phase in story.phases:
            begin, end = start + phase.begin, start + phase.end
            self._end = max(self._end, end)
            self._phases[phase.replica].append(phase._replace(begin=begin, end=end))
        for replica, dropped in story.dropped.items():
            self._left_out[replica] += dropped
            text = f"{dropped} older entries of set {report.number} left out"
            self._add(_Point(replica, start, "gap", text, {}))
        for mark in story.marks:
            self._add(_Point(mark.replica, start + mark.at, "note", mark.text, {}))
        for message in story.messages:
            if not message.is_again:
                self._add_message(message, start)

    def _add(self, point: _Point) -> _Point:
        point.args = {"at_us": point.at, **point.args}
        point.name = _cut(point.name)
        self._end = max(self._end, point.at)
        self._points.append(point)
        return point

    def _add_message(self, message: Message, start: int) -> None:
        words = line(message.passed)
        name = joined(words.label, words.ballot, words.slots)
        shown = {"text": _cut(words.text)} if words.text else {}
        sent = None
        if message.sent is not None and message.source != CLIENTS:
            sent = self._sender(message, start + message.sent, name, shown)
        for to, end in message.ends.items():
            if to == CLIENTS:
                continue
            if end < 0:
                if sent is not None:
                    sent.args[replica_name(to)] = _FATES[Fate(end)]
                    lost = end != Fate.UNKNOWN
                    sent.name += f" ✗{replica_name(to)}" if lost else ""
                continue
            at, source = start + end, peers_text((message.source,))
            read = self._add(
                _Point(to, at, "read", f"← {name}", {"from": source, "sent_us": None, **shown})
            )
            if sent is not None:
                self._join(sent, read)

    def _sender(self, message: Message, at: int, name: str, shown: Event) -> _Point:
        """The end that sent: one, however often a link doubled it."""
        known = self._sent.get(id(message.passed))
        if known is None:
            to = peers_text(message.passed.peers)
            known = self._add(_Point(message.source, at, "sent", f"→ {name}", {"to": to, **shown}))
            self._sent[id(message.passed)] = known
        return known

    def _join(self, sent: _Point, read: _Point) -> None:
        read.is_late = read.at == sent.at
        read.args["sent_us"] = sent.at
        read.arrow = self._arrows = self._arrows + 1
        sent.arrows.append(read.arrow)
        sent.until = read.at if sent.until is None else min(sent.until, read.at)

    # ---- giving places -------------------------------------------------------------------------

    def document(self, happened: Sequence[Happened], history: Sequence[Operation]) -> bytes:
        """Every lane, from the first thing that happened on."""
        asked = [operation for operation in history if operation.invoked_at is not None]
        times = [report.started_at for report in self._sets] + [p.at for p in self._points]
        times += [what.at for what in happened]
        times += [operation.invoked_at or 0 for operation in asked]
        zero = min(times, default=0)
        points = self._last_points()
        events = [*self._sets_lane(zero), *_faults_lane(happened, zero)]
        lanes: dict[ReplicaId, list[_Point]] = {replica: [] for replica in sorted(self._phases)}
        for point in points:
            lanes.setdefault(point.lane, []).append(point)
        for replica, of_lane in lanes.items():
            phases = _in_a_row(self._phases.get(replica, ()))
            events += (_phase_slice(phase, zero) for phase in phases)
            _place(of_lane, [phase.begin for phase in phases], zero)
        events += _point_events(points)
        names = sorted({operation.request[0] for operation in asked})
        events += self._client_lanes(asked, names, zero)
        events.sort(key=_order)
        left_out = {replica_name(r): count for r, count in sorted(self._left_out.items())}
        head = {"run": self._title, "began_at_us": zero, "left_out": left_out}
        return _as_json(head, [*_names(lanes, names), *events])

    def _last_points(self) -> list[_Point]:
        """As many as there may be; each lane says how many earlier ones there were."""
        points = sorted(self._points, key=lambda point: point.at)
        gone, kept = points[:-MOST_POINTS], points[-MOST_POINTS:]
        cut: dict[ReplicaId, int] = defaultdict(int)
        for point in gone:
            cut[point.lane] += 1
        for replica, count in cut.items():
            self._left_out[replica] += count
            text = f"{count} older entries left out: a trace holds the last {MOST_POINTS:,}"
            at = kept[0].at
            kept.append(_Point(replica, at, "gap", text, {"at_us": at}))
        return kept

    def _sets_lane(self, zero: int) -> list[Event]:
        """A seed's only set was never judged as one, and is none to a reader."""
        lane = []
        for report, following in pairwise([*self._sets, None]):
            assert report is not None
            begin = report.started_at
            end = begin + round(report.seconds * 1e6)
            if following is not None:
                end = min(end, following.started_at)
            args = {"verdict": report.verdict.value, **dict(report.outcomes)}
            if report.judgements:
                lane.append(
                    _slice(_RUN, _SETS, f"set {report.number}", begin - zero, end - zero, args)
                )
        return lane

    def _client_lanes(
        self, asked: Sequence[Operation], names: Sequence[str], zero: int
    ) -> list[Event]:
        """A client asks for one thing at a time."""
        by_client: dict[str, list[Operation]] = defaultdict(list)
        for one in sorted(asked, key=lambda one: one.invoked_at or 0):
            by_client[one.request[0]].append(one)
        events = []
        for lane, name in enumerate(names, _FIRST_CLIENT):
            for operation, following in pairwise([*by_client[name], None]):
                assert operation is not None and operation.invoked_at is not None
                ends = (operation.answered_at, operation.dropped_at, self._end)
                end = next(end for end in ends if end is not None)
                if following is not None and following.invoked_at is not None:
                    end = min(end, following.invoked_at)
                begin = operation.invoked_at
                events.append(
                    _slice(
                        _CLIENTS, lane, request_text(operation.request), begin - zero,
                        max(begin, end) - zero, _outcome(operation),
                    )
                )  # fmt: skip
        return events


def _outcome(operation: Operation) -> Event:
    known = {
        "step": operation.label,
        "result": operation.refused or operation.result,
        "slot": operation.slot,
        "ballot": None if operation.ballot is None else str(operation.ballot),
    }
    if not operation.is_answered and operation.refused is None:
        known["result"] = "no answer" if operation.dropped_at is None else "given up"
    return {key: value for key, value in known.items() if value is not None}


def _faults_lane(happened: Sequence[Happened], zero: int) -> list[Event]:
    return [
        _instant(
            _RUN, _FAULTS, _cut(what.text), (what.at - zero) * _NS,
            {"at_us": what.at} | ({"outcome": what.outcome} if what.outcome else {}),
        )
        for what in happened
    ]  # fmt: skip


def _in_a_row(phases: Iterable[Phase]) -> list[Phase]:
    """Over all sets: each lasts until the next one begins, and like ones are one."""
    row: list[Phase] = []
    for phase in phases:
        last = row[-1] if row else None
        if last is not None and last[3:] == phase[3:]:
            row[-1] = last._replace(end=max(last.end, phase.end))
            continue
        if last is not None:
            row[-1] = last._replace(end=phase.begin)
        row.append(phase)
    return [phase for phase in row if phase.end > phase.begin]


def _phase_slice(phase: Phase, zero: int) -> Event:
    name = _STATES.get(phase.lane, phase.state)
    if phase.ballot is not None and phase.lane in _STATES:
        name = f"{name} {phase.ballot}"
    lane = _FIRST_REPLICA + phase.replica
    return _slice(_REPLICAS, lane, name, phase.begin - zero, phase.end - zero, {})


def _place(points: list[_Point], borders: Sequence[int], zero: int) -> None:
    """Put what happened on one lane side by side, in nanoseconds from `zero`.

    What is told at one microsecond shares the time until the lane's next one, or its next bar, or
    until the first of its messages is read: nothing is read before it is sent.
    """
    groups: dict[int, list[_Point]] = defaultdict(list)
    for point in points:
        groups[point.at].append(point)
    following = sorted({*groups, *borders})
    place = {at: index for index, at in enumerate(following)}
    for at, group in groups.items():
        group.sort(key=lambda point: _ORDER[point.kind])
        later = following[place[at] + 1 : place[at] + 2]
        ends = [at + WIDEST * len(group), *later]
        ends += [point.until for point in group if point.until is not None]
        room, begin = (min(ends) - at) * _NS, (at - zero) * _NS
        late = [point for point in group if point.is_late]
        if room and not late:
            _side_by_side(group, begin, room)
        else:  # sent in the first half of this microsecond, read in the second
            _side_by_side([point for point in group if not point.is_late], begin, _NS // 2)
            _side_by_side(late, begin + _NS // 2, _NS // 2)


def _side_by_side(points: Sequence[_Point], begin: int, room: int) -> None:
    """More than there are nanoseconds lie in each other, evenly: viewers drop what is too deep."""
    count = len(points)
    for index, point in enumerate(points):
        width = room // count
        place = index * width if width else index * room // count
        point.begin, point.width = begin + place, max(1, width)


def _point_events(points: Iterable[_Point]) -> list[Event]:
    """What was sent may be left out though what was read is not, never the other way round."""
    events = []
    begun = {arrow for point in points for arrow in point.arrows}
    for point in points:
        lane = _FIRST_REPLICA + point.lane
        if point.kind in ("gap", "note"):
            events.append(_instant(_REPLICAS, lane, point.name, point.begin, point.args))
            continue
        args = {key: value for key, value in point.args.items() if value is not None}
        begin, end = point.begin, point.begin + point.width
        events.append(_slice_ns(_REPLICAS, lane, point.name, begin, end, args, point.kind))
        events += (_arrow("s", lane, arrow, begin) for arrow in point.arrows)
        if point.arrow in begun:
            events.append(_arrow("f", lane, point.arrow, begin))
    return events


# ---- the format --------------------------------------------------------------------------------


def _slice(process: int, lane: int, name: str, begin: int, end: int, args: Event) -> Event:
    return _slice_ns(process, lane, name, begin * _NS, end * _NS, args, "bar")


def _slice_ns(
    process: int, lane: int, name: str, begin: int, end: int, args: Event, category: str
) -> Event:
    return {
        "ph": "X", "name": name, "cat": category, "pid": process, "tid": lane, "ts": begin / _NS,
        "dur": (end - begin) / _NS, "args": args,
    }  # fmt: skip


def _instant(process: int, lane: int, name: str, at: int, args: Event) -> Event:
    return {
        "ph": "i", "s": "t", "name": name, "cat": "instant", "pid": process, "tid": lane,
        "ts": at / _NS, "args": args,
    }  # fmt: skip


def _arrow(phase: str, lane: int, number: int | None, at: int) -> Event:
    event: Event = {
        "ph": phase, "name": "message", "cat": "message", "id": number, "pid": _REPLICAS,
        "tid": lane, "ts": at / _NS,
    }  # fmt: skip
    return event | ({"bp": "e"} if phase == "f" else {})


def _order(event: Event) -> tuple[float, int, float]:
    """A bar before what lies in it, a slice before the arrow that begins in it."""
    return event["ts"], "Xisf".index(event["ph"]), -event.get("dur", 0)


def _names(replicas: Iterable[ReplicaId], clients: Sequence[str]) -> list[Event]:
    """What the lanes are called, and in which order they stand."""
    processes = {_RUN: "run", _REPLICAS: "replicas", _CLIENTS: "clients"}
    lanes = [(_RUN, _SETS, "sets"), (_RUN, _FAULTS, "faults")]
    lanes += [(_REPLICAS, _FIRST_REPLICA + r, replica_name(r)) for r in replicas]
    lanes += [(_CLIENTS, lane, name) for lane, name in enumerate(clients, _FIRST_CLIENT)]
    events = []
    for process in dict.fromkeys(process for process, _, _ in lanes):
        events.append(_named("process", process, process, "name", processes[process]))
        events.append(_named("process", process, process, "sort_index", process))
    for process, lane, name in lanes:
        events.append(_named("thread", process, lane, "name", name))
        events.append(_named("thread", process, lane, "sort_index", lane))
    return events


def _named(what: str, process: int, lane: int, key: str, value: str | int) -> Event:
    event: Event = {"ph": "M", "name": f"{what}_{key}", "pid": process}
    return event | ({"tid": lane} if what == "thread" else {}) | {"args": {key: value}}


def _cut(text: str) -> str:
    return text if len(text) <= MOST_OF_A_TEXT else f"{text[: MOST_OF_A_TEXT - 1]}…"


def _as_json(head: Mapping[str, Any], events: Sequence[Event]) -> bytes:
    """An event is a line, for who reads it with other tools."""
    lines = ",\n".join(map(json.JSONEncoder(ensure_ascii=False).encode, events))
    known = json.dumps(head, ensure_ascii=False)
    text = f'{{"displayTimeUnit": "ms", "otherData": {known}, "traceEvents": [\n{lines}\n]}}\n'
    return text.encode("utf-8", "replace")
