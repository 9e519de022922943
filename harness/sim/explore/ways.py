"""The events that lead to a state that was walked, with the replicas' own names.

A walk keeps few of the states on a way, and between two that it went through may be events that
make no difference there. So both are found again: states by the walk's own steps, events by all
that can happen.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, pairwise
from typing import TypeAlias

from harness.sim.explore.graph import Graph, Move, State
from harness.sim.explore.reductions import MOST_PASSED, Place, Reduced
from harness.sim.invariants import Violation

LOOKS_EVERY = 1 << 4  # states between two looks at the clock

Way: TypeAlias = tuple[State, int, list[Move]]  # where to, what is left, by which events


class Untold(Exception):
    """A violation was met, and no schedule is found for it: what was left out mattered."""


class OutOfTime(Exception):
    """A schedule was not found before time was over."""


class _Met(Exception):
    """A violation, and the events that lead to it."""

    def __init__(self, violation: str, moves: list[Move]) -> None:
        super().__init__(violation)
        self.violation, self.moves = violation, moves


class Ways:
    """See the module."""

    def __init__(self, graph: Graph, reduced: Reduced, is_over: Callable[[], bool]) -> None:
        self._graph, self._reduced, self._is_over = graph, reduced, is_over
        self._looked = 0

    def to_violation(
        self, kept: Iterable[Place], passed: Iterable[Place]
    ) -> tuple[str, list[Move]]:
        """What is violated after these states, and by which events, perhaps earlier than there.

        `kept`: all that were kept on the way; `passed`: after the last one. Raises Untold,
        OutOfTime.
        """
        between = (self.between(one, other) for one, other in pairwise(kept))
        way: Way = self._graph.first_state(), 0, []
        try:
            for goal in chain(chain.from_iterable(between), passed):
                way = self.on(way, goal)
            self.on(way, None)  # a violation
        except _Met as met:
            return met.violation, met.moves
        raise Untold

    def between(self, one: Place, other: Place) -> list[Place]:
        """What was passed through from a state that was kept to the next one; and that one."""
        before = {one: one}
        now = [one]
        for _ in range(MOST_PASSED + 1):
            here, now = now, []
            for place in here:
                self._look()
                for after in self._steps(place, is_kept=place == one):
                    if after == other:
                        found, last = [other], place
                        while last != one:
                            found.append(last)
                            last = before[last]
                        return found[::-1]
                    if after not in before:
                        before[after] = place
                        now.append(after)
        raise Untold

    def _steps(self, place: Place, is_kept: bool) -> Iterator[Place]:
        """What may have been walked after a state."""
        try:
            yield from self._reduced.steps(*place, only=not is_kept)
        except Violation:
            return  # it was met later, or elsewhere

    def on(self, way: Way, goal: Place | None) -> Way:
        """Go on to what is walked as `goal`.

        Raises _Met, perhaps earlier than it was met there; Untold if nothing leads there.
        """
        reduced, graph = self._reduced, self._graph
        here = reduced.first_of(*way[:2]), way[1]
        ways, met = [way], {way[:2]}
        for state, left, moves in ways:
            self._look()
            try:
                for after in chain.from_iterable(
                    reduced.all_after(state, left, late) for late in (True, False)
                ):
                    found = [*moves, *graph.attempt]
                    like = reduced.first_of(*after), after[1]
                    if like == goal:
                        return (*after, found)
                    if like == here and after not in met:
                        met.add(after)
                        ways.append((*after, found))
            except Violation as violation:
                raise _Met(str(violation), [*moves, *graph.attempt]) from None
        raise Untold

    def _look(self) -> None:
        self._looked += 1
        if self._looked % LOOKS_EVERY == 0 and self._is_over():
            raise OutOfTime
