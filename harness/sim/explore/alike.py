"""States of a cluster that differ in names only: one is explored for all. The reasons: `names`."""

from collections.abc import Callable, Iterator
from functools import cache, partial

from bank.ballot import ReplicaId
from harness.sim.explore.checker import CheckerStates
from harness.sim.explore.frozen import STANDING, freeze, thaw
from harness.sim.explore.names import (
    Names,
    Unlike,
    all_names,
    inverse,
    kept_order,
    known_form,
    outline,
    renamed,
)
from harness.sim.explore.owners import Found, Owners
from harness.sim.explore.sites import Site, Sites
from harness.sim.explore.turns import Envelope, Turn, Turns
from harness.sim.invariants import Violation


class _Ways:
    """One way to name replicas, and what everything is under it."""

    def __init__(self, alike: "Alike", names: Names) -> None:
        self.names, self._alike = names, alike
        self._back = inverse(names)
        # Whose site comes first, second, … under the new names.
        self.order = tuple(names.index(new) - 1 for new in range(1, len(names)))
        self.own = Found(partial(self._and_back, "own", self._own))
        self.envelopes = Found(partial(self._and_back, "envelopes", self._envelope))
        self.links = Found(self._link)
        self.disks = Found(partial(self._and_back, "disks", self._disk))
        self.sites = Found(self._site)
        self.checkers = Found(partial(self._and_back, "checkers", self._checker))

    def _and_back(self, kind: str, rename: Callable[[int, Names], int], number: int) -> int:
        """What it is under these names, if it can be told from all others there. Else Unlike."""
        with known_form():
            there = rename(number, self.names)
            if there != number or self.names != self._back:
                if rename(there, self._back) != number:
                    raise Unlike("replicas are in an order that is not that of their names")
                getattr(self._alike.way_back(self._back), kind)[there] = number
        return there

    def _own(self, state: int, names: Names) -> int:
        if not state:
            return 0
        turns = self._alike.turns
        return turns.number(renamed(turns.frozen(state), names))

    def _envelope(self, number: int, names: Names) -> int:
        source, to, message = self._alike.turns.envelopes[number]
        return self._alike.turns.envelope(names[source], names[to], renamed(message, names))

    def _link(self, number: int) -> int:
        sites = self._alike.sites
        return sites.link(tuple(self.envelopes[one] for one in sites.links[number]))

    def _disk(self, number: int, names: Names) -> int:
        sites = self._alike.sites
        disk = thaw(renamed(sites.disks[number], names))
        return sites.disk(freeze(disk, ordered=False))

    def _site(self, number: int) -> int:
        site = self._alike.sites[number]
        links = tuple(self.links[site.links[at]] for at in self.order)
        own, disk = self.own[site.own], self.disks[site.disk]
        return self._alike.sites.number(Site(self.names[site.replica], own, disk, links))

    def _checker(self, number: int, names: Names) -> int:
        checkers = self._alike.checkers
        return checkers.number(thaw(renamed(freeze(checkers.memory(number)), names)))


class Alike:
    """See the module."""

    def __init__(self, turns: Turns, sites: Sites, checkers: CheckerStates, owners: Owners) -> None:
        self.turns, self.sites, self.checkers = turns, sites, checkers
        self._owners = owners
        self._everyone = range(1, turns.nodes + 1)
        self._ways = [_Ways(self, names) for names in all_names(turns.nodes)]
        self._by_names = {way.names: way for way in self._ways}
        self._tried: set[tuple[int, int]] = set()
        self._tried_starts: set[tuple[ReplicaId, object]] = set()
        # Ways that keep what must be kept, by owners and by election timers left (2: or more).
        self._kept = cache(self._that_keep)
        # Of these all but the one that changes nothing, as `first_of` needs them.
        self._others = cache(
            lambda owning, elections: [
                (way.order[0], way.order, way.sites, way.checkers)
                for way in self._kept(owning, elections)[1:]
            ]
        )

    def way_back(self, names: Names) -> _Ways:
        """The way with these names."""
        return self._by_names[names]

    def _that_keep(self, owning: int, elections: int) -> list[_Ways]:
        owning_ones = [r for r in self._everyone if owning >> r & 1]
        firsts = {0: owning_ones, 1: owning_ones}.get(elections, [*self._everyone])
        others = owning_ones if elections == 0 else [*self._everyone]
        pairs = [(a, b) for a in firsts for b in others if a != b]
        return [way for way in self._ways if kept_order(way.names, pairs)]

    def first_of(self, state: tuple[int, ...], owning: int, elections: int) -> tuple[int, ...]:
        """The one of all states like this one that is explored; `elections`: timers left."""
        best, first = state, state[0]
        for place, order, sites, checkers in self._others(owning, min(elections, 2)):
            if sites[state[place]] <= first:
                named = [sites[state[at]] for at in order]
                like = (*named, checkers[state[-2]], state[-1])
                if like < best:
                    best, first = like, like[0]
        return best

    def states_alike(self, owning: int, *states: int) -> Iterator[tuple[int, ...]]:
        """Owners, as bits, and states under every other name that they may have."""
        for way in self._kept(owning, 0):
            bits = sum(1 << new for old, new in enumerate(way.names) if owning >> old & 1)
            yield bits, *(way.own[state] for state in states)

    # ---- are turns the same under other names? ---------------------------------------------------

    def try_turn(self, own: int, code: int, turn: Turn) -> None:
        """Take a turn under all other names. Unlike, if any comes out otherwise."""
        if (own, code) in self._tried:
            return
        envelope = code >> 1
        owning = self._owners.states[own]
        if code >= 0:
            owning |= self._owners.envelopes[envelope]
        may_own = owning | (1 << turn.step.replica if code in STANDING else 0)
        self._hold_owners(turn, may_own)
        for way in self._kept(owning, 0):
            code_there = way.envelopes[envelope] * 2 + (code & 1) if code >= 0 else code
            own_there = way.own[own]
            self._tried.add((own_there, code_there))
            try:
                there = self.turns.take(own_there, code_there)
            except Violation as violation:
                raise Unlike(str(violation)) from None
            self._compare(turn, there, way)

    def _hold_owners(self, turn: Turn, may_own: int) -> None:
        found = self._owners.states[turn.after]
        for _, sent in turn.step.envelopes:
            for one in sent:
                found |= self._owners.envelopes[one]
        if found & ~may_own:
            raise Unlike("a replica stands, and no election timer ran out")

    def try_start(self, replica: ReplicaId, disk: int, turn: Turn) -> None:
        """The same of a start from a disk."""
        if (replica, disk) in self._tried_starts:
            return
        self._hold_owners(turn, self._owners.disks[disk])
        for way in self._kept(self._owners.disks[disk], 0):
            key = way.names[replica], way.disks[disk]
            self._tried_starts.add(key)
            try:
                there = self.turns.start(key[0], self.sites.disks[key[1]])
            except Violation as violation:
                raise Unlike(str(violation)) from None
            self._compare(turn, there, way)

    def _compare(self, turn: Turn, there: Turn, way: _Ways) -> None:
        envelopes: list[Envelope] = self.turns.envelopes
        same = self._ways[0].names
        with known_form():
            is_alike = way.own[turn.after] == there.after and outline(
                turn.step, envelopes, way.names
            ) == outline(there.step, envelopes, same)
        if not is_alike:
            raise Unlike("a turn is another one under other names")
