"""Looks at a fleet while it works, some times a second, and knows how every replica is.

It never makes anybody wait: a question is put to a replica that answered the one before, and what
comes back is seen at the next look. Who is stopped is not asked, who hangs is told as silent.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import TypeAlias

from bank.ballot import NO_BALLOT, Ballot
from bank.events import Follows, Leads
from bank.status import Role
from harness.cluster.journal import Liveness, LivenessChanged
from harness.cluster.wording import note
from harness.external.looking import Looked, Looking
from harness.live import worker
from harness.live.fleet import Fleet
from harness.live.handle import Handle
from harness.live.protocol import Gauges
from harness.screen.snapshot import Event, ReplicaNow, Snapshot

LOOKS_PER_SECOND = 5
EVERY_US = 1_000_000 // LOOKS_PER_SECOND
SAMPLES = 60  # rates that are kept: twelve seconds
EVENTS = 20

_Standing: TypeAlias = tuple[Liveness, str, tuple[int, int]]  # liveness, role, ballot


@dataclass
class _Track:
    """One replica between looks."""

    standing: _Standing
    asked_at: int | None = None  # and no answer yet
    incarnation: int = 0  # that was asked
    told: Gauges | None = None  # by any incarnation: it stays to be seen
    before: Gauges | None = None  # by this incarnation: what rates are worked out from
    rates: deque[float | None] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    event: Event | None = None


class Watcher:
    """See the module. `look` is what a fleet calls before it waits (`Fleet.watch`)."""

    def __init__(self, fleet: Fleet | Looking) -> None:
        self._fleet = fleet
        self._due = worker.now()
        self._tracks = {h.replica: _Track(_standing(h)) for h in fleet.handles.values()}
        self._events: deque[Event] = deque(maxlen=EVENTS)
        self.latest = self._snapshot(self._due)  # replaced as a whole: any thread may read it

    def look(self, until: int) -> int:
        """Notes what changed, takes a snapshot when it is time; returns when to look again."""
        at = worker.now()
        for handle in self._fleet.handles.values():
            self._note(handle, at)
        if at >= self._due:
            self._due = at + EVERY_US
            for handle in self._fleet.handles.values():
                self._sample(handle, at)
            self.latest = self._snapshot(at)
        return min(until, self._due)

    def _note(self, handle: Handle | Looked, at: int) -> None:
        track, now = self._tracks[handle.replica], _standing(handle)
        if now != track.standing:
            if text := _change(track.standing, now):
                track.event = Event(at, handle.replica, text)
                self._events.append(track.event)
            track.standing = now

    def _sample(self, handle: Handle | Looked, at: int) -> None:
        """Take what was answered since the last look, and ask again."""
        track, told = self._tracks[handle.replica], handle.gauges
        if handle.incarnation != track.incarnation:
            track.incarnation, track.before, track.asked_at = handle.incarnation, None, None
        rate = None
        if told is not None and told != track.before:
            if track.before is not None:
                done = told.executed_upto - track.before.executed_upto
                rate = max(0, done) * 1e6 / max(1, told.at - track.before.at)
            track.told = track.before = told
            track.asked_at = None
        is_live = handle.liveness is Liveness.LIVE
        track.rates.append(rate if is_live else None)
        if track.asked_at is None:
            track.asked_at = at if self._fleet.ask_gauges(handle.replica) else None
        elif not is_live:
            track.asked_at = at  # who is stopped owes nothing before it goes on

    def _snapshot(self, at: int) -> Snapshot:
        links = self._fleet.links.states.values()
        cut = sum(state.lose == 100 for state in links)
        return Snapshot(
            at,
            tuple(self._now(handle, at) for handle in self._fleet.handles.values()),
            tuple(self._events),
            cut,
            len(links) - cut,
        )

    def _now(self, handle: Handle | Looked, at: int) -> ReplicaNow:
        track, progress = self._tracks[handle.replica], handle.progress
        told = track.told
        return ReplicaNow(
            handle.replica,
            handle.liveness,
            Role(progress.role),
            Ballot(*progress.ballot),
            progress.answered,
            handle.was_leader,
            0 if track.asked_at is None else at - track.asked_at,
            None if told is None else max(told.committed_upto, progress.executed_upto),
            None if told is None else max(told.executed_upto, progress.executed_upto),
            None if told is None else told.unread_bytes + told.unsent_bytes,
            0 if told is None else told.dropped,
            tuple(track.rates),
            track.event,
        )


def _standing(handle: Handle | Looked) -> _Standing:
    return handle.liveness, handle.progress.role, handle.progress.ballot


def _change(before: _Standing, now: _Standing) -> str:
    """What a person calls this change; "" for none worth a word."""
    if before[0] is not now[0]:
        return note(LivenessChanged(now[0]))
    was, role, ballot = before[1], Role(now[1]), Ballot(*now[2])
    match role:
        case Role.LEADER:
            return note(Leads(ballot))
        case Role.CANDIDATE:
            return "" if was == role.value else "stands for leader"
        case Role.FOLLOWER if before[2] != now[2] and ballot != NO_BALLOT:
            return note(Follows(ballot))
        case Role.FOLLOWER if was == Role.LEADER.value:
            return "steps down"
    return ""
