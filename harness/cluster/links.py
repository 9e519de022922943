"""Links between replicas under faults: what befalls a message on its way. Pure.

Processes and the simulator ask the same classes, so a fault means the same on both. A message is
never invented and never changed; order is kept unless `reorder` is on. A fault befalls a message
when it reaches its reader, who holds it back as long as the link says: what is on its way outlives
its sender and dies with its reader.
"""

import heapq
from collections.abc import Collection, Iterable
from dataclasses import astuple, dataclass, replace
from itertools import combinations
from random import Random
from typing import Any, TypeAlias

from bank.ballot import ReplicaId
from bank.quorum import quorum_size
from harness.cluster.journal import Way
from harness.cluster.nemesis import Heal, Link, LinkFault

HELD_BACK_US = (1_000, 20_000)  # how much later a message arrives that `reorder` picked
LEADS_WITHIN_US = 3_000_000  # an able cluster has a leader after so long, whatever was before

Plain: TypeAlias = list[tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class LinkState:
    """The faults of one link. Rates in percent, times in microseconds."""

    lose: int = 0  # 100: it is cut
    duplicate: int = 0
    reorder: int = 0
    least: int = 0  # delay
    most: int = 0


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
    """Messages that reached their readers, and what the links do to them before they are read."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._states: dict[Link, LinkState] = {}
        self._held: list[tuple[int, int, Link, Any]] = []  # due, place in line; a heap
        self._sequence = 0
        self._latest: dict[Link, int] = {}  # when the last message in order is due
        self._floor: dict[Link, int] = {}  # when the last notice is due: nothing passes it

    @property
    def is_idle(self) -> bool:
        """Every link is whole and nothing is held back: messages need not be shown to this."""
        return not self._states and not self._held

    def under(self, links: Links, now: int) -> None:
        """From now on links are like that; what a link held that is whole again arrives at once."""
        healed = self._states.keys() - links.states.keys()
        self._states = dict(links.states)
        if healed:
            self._held = [
                (min(due, now) if link in healed else due, place, link, item)
                for due, place, link, item in self._held
            ]
            heapq.heapify(self._held)
            for link in healed:
                self._latest.pop(link, None)
                self._floor.pop(link, None)

    def take(self, link: Link, item: Any, now: int) -> Way | None:
        """A message reached its reader: what befell it; None when it may be read at once."""
        state, random = self._states.get(link, WHOLE), self._random
        if state.lose and random.random() * 100 < state.lose:
            return Way.LOST
        copies = 2 if state.duplicate and random.random() * 100 < state.duplicate else 1
        dues = [self._due(link, state, now) for _ in range(copies)]
        for due in dues:
            self._hold(due, link, item)
        return Way.DOUBLED if copies > 1 else Way.HELD if dues[0] > now else None

    def close(self, link: Link, notice: Any, now: int) -> None:
        """The end of a link's sender: after all that it sent, before what its successor sends.

        No fault loses it, and none but what it waits for delays it.
        """
        last = max((due for due, _, of, _ in self._held if of == link), default=now)
        self._floor[link] = due = max(now, last, self._latest.get(link, 0))
        self._hold(due, link, notice)

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

    def _due(self, link: Link, state: LinkState, now: int) -> int:
        random = self._random
        due = max(now, self._floor.get(link, 0))
        if state.most:
            due = max(due, now + random.randint(state.least, state.most))
        if state.reorder and random.random() * 100 < state.reorder:
            return due + random.randint(*HELD_BACK_US)
        self._latest[link] = due = max(due, self._latest.get(link, 0))
        return due
