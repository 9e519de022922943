"""All schedules within bounds, breadth first, on the very replica that runs in the processes.

What can happen, and which schedules are merged, is said in `graph`, what is left out because
nothing comes of it in `reductions`; here they are walked. Every distinct state is visited once; it
is kept whole, not as a fingerprint, so none can be taken for another.
Without reductions the first violation met has the shortest schedule there is. A walk that was
stopped proves nothing.
"""

import gc
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

from bank.replica import Replica
from harness.sim.explore.graph import Bounds, Graph, Move, State
from harness.sim.explore.names import Unlike
from harness.sim.explore.reductions import ALL, Reduced, Reductions
from harness.sim.explore.sites import MOST_NUMBERS
from harness.sim.invariants import Violation

LOOKS_EVERY = 1 << 6  # states between two looks at the clock; the first take milliseconds each
PART = MOST_NUMBERS.bit_length() - 1  # bits that each number of a state takes in its key


@dataclass(slots=True)
class Exploration:
    """The outcome, and while it runs how far it is."""

    states: int = 0  # distinct
    transitions: int = 0
    depth: int = 0  # steps of the longest of the shortest ways to a state
    waiting: int = 0  # states found and not looked at yet
    seconds: float = 0.0
    complete: bool = False  # everything within the bounds was seen
    replica_states: int = 0  # distinct states of single replicas
    violation: str | None = None
    schedule: list[Move] = field(default_factory=list)  # one that leads to it
    unlike: str | None = None  # why names were not taken for each other, where they might have been


class Explorer:
    """One walk."""

    def __init__(
        self,
        bounds: Bounds,
        replica_class: type[Replica] = Replica,
        reductions: Reductions = ALL,
    ) -> None:
        self.graph = Graph(bounds, replica_class)
        self.reductions = reductions.within(bounds)
        self._begin()

    def _begin(self) -> None:
        self._found = Exploration()
        # Of each state in order of appearance: its key, what is left of the budget, where from.
        self._keys: list[int] = []
        self._budgets = array("H")
        self._parents = array("I")
        self._seen: dict[int, int | tuple[int, ...]] = {}  # by key, with these budgets left

    def run(
        self,
        seconds: float | None = None,
        progress: Callable[[Exploration], None] = lambda _: None,
    ) -> Exploration:
        """Walk until all is seen, a violation is found, or `seconds` are over."""
        started, collected = time.monotonic(), gc.isenabled()
        gc.disable()  # nothing here goes in circles, and states are many
        try:
            try:
                self._walk(started, seconds, progress)
            except Unlike as why:
                bounds, kind = self.graph.bounds, self.graph.turns.replica_class
                self.graph, self.reductions = Graph(bounds, kind), self.reductions.without_names()
                self._begin()
                self._found.unlike = str(why)
                self._walk(started, seconds, progress)
        finally:
            if collected:
                gc.enable()
        self._found.seconds = time.monotonic() - started
        self._found.replica_states = self.graph.turns.states
        return self._found

    def _walk(
        self, started: float, seconds: float | None, progress: Callable[[Exploration], None]
    ) -> None:
        found = self._found
        try:
            first = self.graph.first_state()
        except Violation as violation:
            found.violation, found.schedule = str(violation), [*self.graph.attempt]
            return
        self._reduced = Reduced(self.graph, self.reductions)
        self._new: set[int] = set()  # of the level that is being found: keys, what is left
        self._add(self._reduced.first_of(first, 0), 0, 0)
        looked, end = 0, 1  # states looked at; of the present level
        while looked < end and found.violation is None:
            self._new.clear()
            while looked < end and self._expand(looked):
                looked += 1
                if looked % LOOKS_EVERY == 0:
                    found.seconds = time.monotonic() - started
                    found.waiting = found.states - looked
                    progress(found)
                    if seconds is not None and found.seconds >= seconds:
                        return
            found.depth += end < found.states
            end = found.states
        found.complete = found.violation is None
        found.waiting = 0

    def _expand(self, node: int) -> bool:
        """Look at what can happen in a state; False when something is a violation."""
        found, budget = self._found, self._budgets[node]
        state = self._unpacked(self._keys[node])
        try:
            for following, left in self._reduced.successors(state, budget, self._is_news):
                found.transitions += 1
                self._add(following, left, node)
        except Violation as violation:
            found.violation = str(violation)
            found.schedule = self._schedule(node)
        return found.violation is None

    def _add(self, state: State, left: int, parent: int) -> None:
        key, seen, covers = 0, self._seen, self.graph.covers
        for part in state:
            key = key << PART | part
        known = seen.get(key)
        if known is None:
            seen[key] = left
        elif isinstance(known, int):
            if left in covers[known]:
                return
            seen[key] = (known, left)
        else:
            if any(left in covers[one] for one in known):
                return
            seen[key] = (*known, left)
        self._new.add(key << 16 | left)
        self._keys.append(key)
        self._budgets.append(left)
        self._parents.append(parent)
        self._found.states += 1

    def _is_news(self, state: State, left: int) -> bool:
        """This state was not met before the level that is being found."""
        key = 0
        for part in state:
            key = key << PART | part
        return key not in self._seen or key << 16 | left in self._new

    def _unpacked(self, key: int) -> State:
        parts = []
        for _ in range(self.graph.bounds.nodes + 2):
            parts.append(key & (1 << PART) - 1)
            key >>= PART
        return tuple(reversed(parts))

    # ---- a schedule ----------------------------------------------------------------------------

    def _schedule(self, node: int) -> list[Move]:
        """The events that lead to a state and to the violation after it, with their own names."""
        nodes: list[int] = []
        while node:
            nodes.append(node)
            node = self._parents[node]
        reduced, moves = self._reduced, list[Move]()
        state, budget = self.graph.first_state(), 0
        try:
            for wanted in reversed(nodes):
                goal = self._unpacked(self._keys[wanted]), self._budgets[wanted]
                state, budget = next(
                    one
                    for one in reduced.all_after(state, budget)
                    if (reduced.first_of(*one), one[1]) == goal
                )
                moves += self.graph.attempt
            for _ in reduced.all_after(state, budget):
                pass
        except Violation as violation:  # perhaps earlier, by what was left out there
            self._found.violation = str(violation)  # with the names of this schedule
        return [*moves, *self.graph.attempt]
