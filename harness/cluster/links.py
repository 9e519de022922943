"""Links between replicas: what befalls a message on its way. Pure.

Processes and the simulator ask the same classes, so a fault means the same on both; the simulator's
network is a Transit as well, whose links are never whole. A message is never invented and never
changed; order is kept unless `reorder` is on. A fault befalls a message when it reaches its reader,
who holds it back as long as the link says: what is on its way outlives its sender and dies with its
reader.
"""

import heapq
from collections.abc import Collection, Iterable
from dataclasses import astuple, dataclass, replace
from itertools import combinations
from typing import Any, TypeAlias

from bank.ballot import ReplicaId
from bank.quorum import quorum_size
from harness.cluster.choices import Choices
from harness.cluster.journal import Way
from harness.cluster.nemesis import Heal, Link, LinkFault

HELD_BACK_US = (1_000, 20_000)  # what `reorder` means where nobody says
LEADS_WITHIN_US = 3_000_000  # an able cluster has a leader after so long, whatever was before

Plain: TypeAlias = list[tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class LinkState:
    """What one link does. Rates in percent, times in microseconds."""

    lose: int = 0  # 100: it is cut
    duplicate: int = 0
    reorder: int = 0  # how many messages later ones may overtake
    least: int = 0  # delay
    most: int = 0
    held_least: int = HELD_BACK_US[0]  # how much later a message arrives that `reorder` picked
    held_most: int = HELD_BACK_US[1]
    stall: int = 0  # how many messages take longer, and hold up those behind them
    stall_least: int = 0
    stall_most: int = 0


WHOLE = LinkState()


class Links:
    """The faults of all links; those that are not listed are whole."""

    def __init__(self) -> None:
        self.states: dict[Link, LinkState] = {}

    def apply(self, fault: LinkFault | Heal) -> None:
        """Add a fault to its links, or take all from them."""
        if isinstance(fault, Heal):
            for link in list(self.states) if fault.links is None else fault.links:
                self.states.pop(link, None)
            return
        for link in fault.links:
            state = self.states.get(link, WHOLE)
            match fault.kind:
                case "cut":
                    state = replace(state, lose=100)
                case "delay":
                    state = replace(state, least=fault.least, most=fault.most)
                case "lose":
                    state = replace(state, lose=fault.percent)
                case "duplicate":
                    state = replace(state, duplicate=fault.percent)
                case "reorder":
                    state = replace(state, reorder=fault.percent)
                case _:
                    raise AssertionError(f"no link fault {fault.kind!r}")
            self.states[link] = state

    def to_plain(self) -> Plain:
        """For another process; see `from_plain`."""
        return [(*link, *astuple(state)) for link, state in self.states.items()]

    def is_lost(self, source: ReplicaId, to: ReplicaId) -> bool:
        """Nothing arrives in this direction."""
        return self.states.get((source, to), WHOLE).lose == 100

    def is_cut(self, one: ReplicaId, other: ReplicaId) -> bool:
        """Nothing arrives in at least one direction."""
        return self.is_lost(one, other) or self.is_lost(other, one)

    def able(self, live: Collection[ReplicaId], replicas: int) -> frozenset[ReplicaId]:
        """Who of `live` hears a quorum of all `replicas`, itself included, and is heard by it.

        The others of that quorum need not hear one another. While anybody is able, one of them
        leads within LEADS_WITHIN_US and requests are answered; without, nothing is decided
        (rule 12 of docs/protocol.md).
        """
        quorum = quorum_size(replicas)
        if not self.states:
            return frozenset(live if len(live) >= quorum else ())
        heard = {r: sum(not self.is_cut(r, other) for other in live) for r in live}
        return frozenset(r for r in live if heard[r] >= quorum)

    def has_whole_quorum(self, live: Collection[ReplicaId], replicas: int) -> bool:
        """Whether a quorum of `live` hears one another, in both directions of every pair."""
        quorum = quorum_size(replicas)
        if not self.states:
            return len(live) >= quorum
        return any(
            not any(self.is_cut(*pair) for pair in combinations(some, 2))
            for some in combinations(sorted(live), quorum)
        )

    def in_touch(self, live: Collection[ReplicaId], replicas: int) -> frozenset[ReplicaId]:
        """Who of `live` hears whatever is decided, whoever leads; all while nothing can be."""
        able = self.able(live, replicas)
        return frozenset(r for r in live if not any(self.is_cut(r, leader) for leader in able))


def from_plain(plain: Iterable[tuple[int, ...]]) -> Links:
    """The inverse of `Links.to_plain`."""
    links = Links()
    links.states = {(source, to): LinkState(*state) for source, to, *state in plain}
    return links


class Transit:
    """What links do to messages on their way: when copies arrive, and those that have to wait."""

    def __init__(self, choices: Choices, usual: LinkState = WHOLE) -> None:
        """`usual`: of every link whose state nobody says."""
        self.usual = usual
        self.states: dict[Link, LinkState] = {}
        self.overtook = 0  # messages that came before one that was sent earlier
        self._pick = choices.pick
        self._held: list[tuple[int, int, Link, Any]] = []  # due, place in line; a heap
        self._sequence = 0
        self._latest: dict[Link, int] = {}  # when the last message in order is due
        self._last: dict[Link, int] = {}  # the same of the others, which may be later
        self._floor: dict[Link, int] = {}  # when the last notice is due: nothing passes it

    # ---- when it arrives -----------------------------------------------------------------------

    def dues(self, link: Link, now: int) -> list[int]:
        """When the copies of a message sent now arrive; empty when it is lost."""
        state, pick = self.states.get(link, self.usual), self._pick
        if state.lose and pick(100) < state.lose:
            return []
        due = self._due(link, state, now)
        if state.duplicate and pick(100) < state.duplicate:
            return [due, self._due(link, state, now)]
        return [due]

    def _due(self, link: Link, state: LinkState, now: int) -> int:
        pick, due, least = self._pick, now, state.least
        if state.most:
            due += least + pick(state.most - least + 1)
        if state.stall and pick(100) < state.stall:
            due += state.stall_least + pick(state.stall_most - state.stall_least + 1)
        latest = self._latest.get(link, 0)
        if self._floor and due < (floor := self._floor.get(link, 0)):
            due = floor
        if state.reorder and pick(100) < state.reorder:
            due += state.held_least + pick(state.held_most - state.held_least + 1)
            last = self._last.get(link, 0)
            if due > last:
                self._last[link] = due
            if due < latest or due < last:
                self.overtook += 1
            return due
        self._latest[link] = due = due if due > latest else latest
        return due

    def due_after_all(self, link: Link, now: int) -> int:
        """When the notice that a link's sender died arrives: after all that it sent, before what
        its successor sends. No fault loses it, and none but what it waits for delays it.
        """
        last = max(self._latest.get(link, 0), self._last.get(link, 0), self._floor.get(link, 0))
        self._floor[link] = due = max(now, last)
        return due

    # ---- what waits here -----------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Every link is whole and nothing is held back: messages need not be shown to this."""
        return not self.states and not self._held

    def is_whole(self, link: Link) -> bool:
        """This link is whole, and nothing is held back: its messages need not be shown to this."""
        return not self._held and link not in self.states

    def under(self, links: Links, now: int) -> None:
        """From now on links are like that; what a link held that is whole again arrives at once."""
        healed = self.states.keys() - links.states.keys()
        self.states = dict(links.states)
        if healed:
            self._held = [
                (min(due, now) if link in healed else due, place, link, item)
                for due, place, link, item in self._held
            ]
            heapq.heapify(self._held)
            for link in healed:
                for times in (self._latest, self._last, self._floor):
                    times.pop(link, None)

    def take(self, link: Link, item: Any, now: int) -> Way | None:
        """A message reached its reader: what befell it; None when it may be read at once."""
        dues = self.dues(link, now)
        for due in dues:
            self._hold(due, link, item)
        if not dues:
            return Way.LOST
        return Way.DOUBLED if len(dues) > 1 else Way.HELD if dues[0] > now else None

    def close(self, link: Link, notice: Any, now: int) -> None:
        """The notice of a death reached its reader; see `due_after_all`."""
        self._hold(self.due_after_all(link, now), link, notice)

    def due(self, now: int) -> list[tuple[Link, Any]]:
        """What may be read now, in order; no longer held here."""
        found = []
        while self._held and self._held[0][0] <= now:
            found.append(heapq.heappop(self._held)[2:])
        return found

    def deadline(self) -> int | None:
        """When something may be read next."""
        return self._held[0][0] if self._held else None

    def _hold(self, due: int, link: Link, item: Any) -> None:
        self._sequence += 1
        heapq.heappush(self._held, (due, self._sequence, link, item))
