"""All schedules within bounds, breadth first, on the very replica that runs in the processes.

What can happen, and which schedules are merged, is said in `graph`; here they are walked. Every
distinct state is visited once; the first violation met has the shortest schedule there is. A walk
that was stopped proves nothing.
"""

import gc
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

from bank.replica import Replica
from harness.sim.explore.graph import Bounds, Graph, Move, State
from harness.sim.invariants import Violation

LOOKS_EVERY = 1 << 12  # states between two looks at the clock


@dataclass(slots=True)
class Exploration:
    """The outcome, and while it runs how far it is."""

    states: int = 0  # distinct
    transitions: int = 0
    depth: int = 0  # events of the longest of the shortest ways to a state
    waiting: int = 0  # states found and not looked at yet
    seconds: float = 0.0
    complete: bool = False  # everything within the bounds was seen
    replica_states: int = 0  # distinct states of single replicas
    violation: str | None = None
    schedule: list[Move] = field(default_factory=list)  # the shortest that leads to it


class Explorer:
    """One walk."""

    def __init__(self, bounds: Bounds, replica_class: type[Replica] = Replica) -> None:
        self.graph = Graph(bounds, replica_class)
        self._found = Exploration()
        # Of each state in order of appearance: where from, and by which of its successors.
        self._parents = array("I", [0])
        self._choices = array("H", [0])
        self._seen: dict[State, int | tuple[int, ...]] = {}  # with these budgets left

    def run(
        self,
        seconds: float | None = None,
        progress: Callable[[Exploration], None] = lambda _: None,
    ) -> Exploration:
        """Walk until all is seen, a violation is found, or `seconds` are over."""
        started, collected = time.monotonic(), gc.isenabled()
        gc.disable()  # nothing here goes in circles, and states are many
        try:
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
        level: list[tuple[State, int, int]] = []
        try:
            first = self.graph.first_state()
        except Violation as violation:
            found.violation, found.schedule = str(violation), [self.graph.attempt]
        else:
            self._seen[first] = 0
            found.states = 1
            level = [(first, 0, 0)]
        looks = 0
        while level and found.violation is None:
            after: list[tuple[State, int, int]] = []
            for index, (state, budget, node) in enumerate(level):
                if not self._expand(state, budget, node, after):
                    break
                looks += 1
                if looks % LOOKS_EVERY == 0:
                    found.seconds = time.monotonic() - started
                    found.waiting = len(level) - index - 1 + len(after)
                    progress(found)
                    if seconds is not None and found.seconds >= seconds:
                        return
            found.depth += bool(after)
            level = after
        found.complete = found.violation is None
        found.waiting = 0

    def _expand(
        self, state: State, budget: int, node: int, after: list[tuple[State, int, int]]
    ) -> bool:
        """Look at every successor of a state; False when one is a violation."""
        found, seen, covers = self._found, self._seen, self.graph.covers
        choice = -1
        try:
            for choice, (following, left) in enumerate(self.graph.successors(state, budget)):
                known = seen.get(following)
                if known is None:
                    seen[following] = left
                elif isinstance(known, int):
                    if left in covers[known]:
                        continue
                    seen[following] = (known, left)
                else:
                    if any(left in covers[one] for one in known):
                        continue
                    seen[following] = (*known, left)
                self._parents.append(node)
                self._choices.append(choice)
                after.append((following, left, len(self._parents) - 1))
        except Violation as violation:
            attempt = self.graph.attempt
            found.violation = str(violation)
            found.schedule = [*self._schedule(node), attempt]
        found.transitions += choice + 1
        found.states = len(self._parents)
        return found.violation is None

    def _schedule(self, node: int) -> list[Move]:
        """The events that led to a state, done once more from the start."""
        choices: list[int] = []
        while node:
            choices.append(self._choices[node])
            node = self._parents[node]
        state, budget = self.graph.first_state(), 0
        moves: list[Move] = []
        for wanted in reversed(choices):
            for choice, following in enumerate(self.graph.successors(state, budget)):
                if choice == wanted:
                    moves.append(self.graph.attempt)
                    state, budget = following
                    break
        return moves
