"""All schedules within bounds, by how many events they have, on the very replica of the processes.

What can happen, and which schedules are merged, is said in `graph`, what is left out because
nothing comes of it in `reductions`; here they are walked. Every distinct state is looked at once;
it is kept whole, not as a fingerprint, so none can be taken for another. Of states that as many
events lead to, those with most budget left come first, so that few are met again with more of it.
Without reductions the first violation met has the shortest schedule there is. A walk that was
stopped proves nothing.
"""

import gc
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from struct import Struct
from typing import TypeAlias

from bank.replica import Replica
from harness.sim.explore.frozen import Unfit
from harness.sim.explore.graph import Bounds, Graph, Move, State
from harness.sim.explore.names import Unlike
from harness.sim.explore.reductions import ALL, NONE, Reduced, Reductions
from harness.sim.explore.trials import Heeded
from harness.sim.invariants import Violation

LOOKS_EVERY = 1 << 6  # states between two looks at the clock; the first take milliseconds each
LEFT = 16  # bits for what is left of a budget: see `Explorer._add`
MOST_LEFT = (1 << LEFT) - 1


@dataclass(slots=True)
class Exploration:
    """The outcome, and while it runs how far it is."""

    states: int = 0  # distinct
    transitions: int = 0
    depth: int = 0  # events of the longest of the ways by which states were found
    waiting: int = 0  # states found and not looked at yet
    seconds: float = 0.0
    complete: bool = False  # everything within the bounds was seen
    replica_states: int = 0  # distinct states of single replicas
    stopped_comeback: bool = False  # a leader would have stood again, beyond the budget
    violation: str | None = None
    schedule: list[Move] = field(default_factory=list)  # one that leads to it
    unlike: str | None = None  # why names were not taken for each other, where they might have been
    heeded: str | None = None  # what was left out at first, and may make a difference
    distrusted: str | None = None  # reductions with which a violation had no schedule


class Explorer:
    """One walk."""

    def __init__(
        self,
        bounds: Bounds,
        replica_class: type[Replica] = Replica,
        reductions: Reductions = ALL,
    ) -> None:
        self.reductions = reductions.within(bounds)
        self.graph = Graph(bounds, replica_class, self.reductions.said)
        self._begin()

    def _begin(self) -> None:
        self._found = Exploration()
        # Of each state in order of appearance: its key, what is left of the budget, where from.
        self._keys: list[int] = []
        self._budgets = array("H")
        self._parents = array("I")
        # Of each key when it is looked at: by how many events lead to it, then by what is left of
        # the budget, most first; once, or several times with different budgets left.
        self._seen: dict[int, int | tuple[int, ...]] = {}
        self._waiting: dict[int, array[int]] = {}  # by when they are looked at
        self._events = 0  # that led to the states which are looked at now
        self._parts = Struct(f">{self.graph.bounds.nodes + 2}I")  # the numbers of a state
        self._pack = self._parts.pack

    def run(
        self,
        seconds: float | None = None,
        progress: Callable[[Exploration], None] = lambda _: None,
    ) -> Exploration:
        """Walk until all is seen, a violation is found, or `seconds` are over. Raises Unfit."""
        started, collected = time.monotonic(), gc.isenabled()
        gc.disable()  # nothing here goes in circles, and states are many
        try:
            while not self._tried(started, seconds, progress):
                pass
        finally:
            if collected:
                gc.enable()
        self._found.seconds = time.monotonic() - started
        self._found.replica_states = self.graph.turns.states
        self._found.stopped_comeback = self.graph.stopped_comeback
        return self._found

    def _tried(
        self, started: float, seconds: float | None, progress: Callable[[Exploration], None]
    ) -> bool:
        """False if this replica is none for the reductions: all is ready to begin without some."""
        before, bounds, reductions = self._found, self.graph.bounds, self.reductions
        unlike, heeded, distrusted = before.unlike, before.heeded, before.distrusted
        try:
            self._walk(started, seconds, progress)
            return True
        except Unlike as why:
            unlike, self.reductions = str(why), reductions.without_names()
        except Heeded as why:
            heeded = f"{heeded} and {why}" if heeded else str(why)
            bounds, self.reductions = reductions.without(why.rule, bounds)
        except _Untold:
            if reductions == NONE:
                told = "it is not deterministic, or keeps something outside its fields"
                raise Unfit(f"{self.graph.turns.replica_class.__name__}: {told}") from None
            distrusted = distrusted or str(reductions)
            self.reductions = reductions.with_less()
        kind = self.graph.turns.replica_class
        self.graph = Graph(bounds, kind, self.reductions.said)
        self._begin()
        found = self._found
        found.unlike, found.heeded, found.distrusted = unlike, heeded, distrusted
        return False

    def _walk(
        self, started: float, seconds: float | None, progress: Callable[[Exploration], None]
    ) -> None:
        found = self._found

        def is_over() -> bool:
            found.seconds = time.monotonic() - started
            progress(found)
            return seconds is not None and found.seconds >= seconds

        self._reduced = Reduced(self.graph, self.reductions)  # before anything is tried
        try:
            first = self.graph.first_state()
        except Violation as violation:
            found.violation, found.schedule = str(violation), [*self.graph.attempt]
            return
        self._add(self._reduced.first_of(first, 0), 0, 0, 0)
        looked = 0
        while self._waiting:
            due = min(self._waiting)
            self._events = due >> LEFT
            for node in self._waiting.pop(due):
                if not self._is_covered(node):
                    self._expand(node)
                    if found.violation is not None:
                        return
                    looked += 1
                    found.depth = self._events
                found.waiting -= 1
                looks = looked % LOOKS_EVERY == 0
                if looks and (not self._reduced.trials.look(is_over) or is_over()):
                    return
        found.complete = self._reduced.trials.look(is_over)

    def _is_covered(self, node: int) -> bool:
        """A state was found again, with more left of the budget, before it was looked at.

        That one is looked at no later: else the shortest schedule would be lost.
        """
        known, left = self._seen[self._keys[node]], self._budgets[node]
        if not isinstance(known, tuple) or not any(
            one >> LEFT <= self._events and left in self.graph.covers[one & MOST_LEFT]
            for one in known
            if one & MOST_LEFT != left
        ):
            return False
        self._found.states -= 1
        return True

    def _expand(self, node: int) -> None:
        """Look at what can happen in a state, until something is a violation."""
        found, budget, add = self._found, self._budgets[node], self._add
        state, events = self._unpacked(self._keys[node]), self._events
        try:
            for following, left, more in self._reduced.successors(state, budget, self._is_news):
                found.transitions += 1
                add(following, left, events + more, node)
        except Violation as violation:
            found.violation = str(violation)
            found.schedule = self._schedule(node)

    def _add(self, state: State, left: int, events: int, parent: int) -> None:
        key = int.from_bytes(self._pack(*state), "big")
        seen, covers, due = self._seen, self.graph.covers, events << LEFT | left
        known = seen.get(key)
        if known is None:
            pass
        elif isinstance(known, int):
            if left in covers[known & MOST_LEFT]:
                return
        elif any(left in covers[one & MOST_LEFT] for one in known):
            return
        waiting = self._waiting.get(due)
        if waiting is None:
            waiting = self._waiting[due] = array("I")
        waiting.append(len(self._keys))
        if known is None:
            seen[key] = due
        else:
            seen[key] = (known, due) if isinstance(known, int) else (*known, due)
        self._keys.append(key)
        self._budgets.append(left)
        self._parents.append(parent)
        self._found.states += 1
        self._found.waiting += 1

    def _is_news(self, state: State) -> bool:
        """This state was not looked at yet, whatever was left, nor will be before later events."""
        known = self._seen.get(int.from_bytes(self._pack(*state), "big"))
        if known is None:
            return True
        later = self._events + 1 << LEFT
        return min(known) >= later if isinstance(known, tuple) else known >= later

    def _unpacked(self, key: int) -> State:
        return self._parts.unpack(key.to_bytes(self._parts.size, "big"))

    # ---- a schedule ----------------------------------------------------------------------------

    def _schedule(self, node: int) -> list[Move]:
        """The events that lead to a state and to the violation after it, with their own names.

        Between two states that are walked may be events that make no difference there.
        """
        way: _Way = self.graph.first_state(), 0, []
        try:
            for goal in (*self._goals(node), None):  # after the last one: a violation
                way = self._way(way, goal)
        except _Met as met:
            self._found.violation = met.violation  # with the names of this schedule
            return met.moves
        raise _Untold

    def _goals(self, node: int) -> list[tuple[State, int]]:
        """The states that lead to this one, after the first, and what is left in each."""
        goals: list[tuple[State, int]] = []
        while node:
            goals.append((self._unpacked(self._keys[node]), self._budgets[node]))
            node = self._parents[node]
        return goals[::-1]

    def _way(self, way: "_Way", goal: tuple[State, int] | None) -> "_Way":
        """Go on to what is walked as `goal`.

        Raises _Met, perhaps earlier than it was met there; _Untold if nothing leads there.
        """
        reduced = self._reduced
        here = reduced.first_of(*way[:2]), way[1]
        ways, met = [way], {way[:2]}
        for state, left, moves in ways:
            try:
                for after in chain.from_iterable(
                    reduced.all_after(state, left, late) for late in (True, False)
                ):
                    found = [*moves, *self.graph.attempt]
                    like = reduced.first_of(*after), after[1]
                    if like == goal:
                        return (*after, found)
                    if like == here and after not in met:
                        met.add(after)
                        ways.append((*after, found))
            except Violation as violation:
                raise _Met(str(violation), [*moves, *self.graph.attempt]) from None
        raise _Untold


_Way: TypeAlias = tuple[State, int, list[Move]]  # where to, what is left, by which events


class _Met(Exception):
    """A violation, and the events that lead to it."""

    def __init__(self, violation: str, moves: list[Move]) -> None:
        super().__init__(violation)
        self.violation, self.moves = violation, moves


class _Untold(Exception):
    """A violation was met, and no schedule is found for it: what was left out mattered."""
