"""All schedules within bounds, by how many events they have, on the very replica of the processes.

What can happen, and which schedules are merged, is said in `graph`, what is left out because
nothing comes of it in `reductions`; here they are walked. Every state that is kept is looked at
once; it is kept whole, not as a fingerprint, so none can be taken for another. Of states that as
many events lead to, those with most budget left come first, so that few are met again with more of
it. A state with one way on, or none, need not be kept: it is passed through.
Without reductions the first violation met has the shortest schedule there is. A walk that was
stopped proves nothing.
"""

import gc
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from struct import Struct

from bank.replica import Replica
from harness.sim.explore.frozen import Unfit
from harness.sim.explore.graph import Bounds, Graph, Move, State
from harness.sim.explore.names import Unlike
from harness.sim.explore.reductions import ALL, MOST_PASSED, Place, Reduced, Reductions
from harness.sim.explore.trials import Heeded
from harness.sim.explore.ways import OutOfTime, Untold, Ways
from harness.sim.invariants import Violation

LOOKS_EVERY = 1 << 7  # transitions between two looks at the clock; the first take milliseconds
LEFT = 16  # bits for what is left of a budget: see `Explorer._add`
MOST_LEFT = (1 << LEFT) - 1
ENDS = -1  # instead of a key: nothing comes after it
MOST_LED = 1 << 16  # states; a place each


@dataclass(slots=True)
class Exploration:
    """The outcome, and while it runs how far it is."""

    states: int = 0  # distinct ones that were kept
    transitions: int = 0  # those through states that were not kept as often as they were passed
    depth: int = 0  # events of the longest of the ways by which states were found
    waiting: int = 0  # states found and not looked at yet
    seconds: float = 0.0
    complete: bool = False  # everything within the bounds was seen
    replica_states: int = 0  # distinct states of single replicas
    stopped_comeback: bool = False  # a leader would have stood again, beyond the budget
    violation: str | None = None
    schedule: list[Move] = field(default_factory=list)  # one that leads to it
    is_told: bool = True  # False: time was over before such a one was found
    suspected: str | None = None  # the same where events are left out: it may be none
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
        self._passed: list[Place] = []  # since the state that is looked at
        self._led: dict[tuple[int, int], int] = {}  # what was passed through: to what is kept; ENDS

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
        except Untold:
            if reductions.leaves_nothing_out:
                told = "it is not deterministic, or keeps something outside its fields"
                raise Unfit(f"{self.graph.replica_class.__name__}: {told}") from None
            distrusted = distrusted or str(reductions)
            self.reductions = reductions.with_less()
        kind = self.graph.replica_class
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

        self._is_over = is_over
        self._reduced = Reduced(self.graph, self.reductions)  # before anything is tried
        try:
            first = self.graph.first_state()
        except Violation as violation:
            found.violation, found.schedule = str(violation), [*self.graph.attempt]
            return
        self._add(self._reduced.first_of(first, 0), 0, 0, 0)
        due_at = LOOKS_EVERY
        while self._waiting:
            due = min(self._waiting)
            self._events = due >> LEFT
            for node in self._waiting.pop(due):
                if not self._is_covered(node):
                    self._expand(node)
                    if found.violation is not None or found.suspected is not None:
                        return
                    found.depth = max(found.depth, self._events)
                found.waiting -= 1
                if found.transitions >= due_at:
                    due_at = found.transitions + LOOKS_EVERY
                    if not self._reduced.trials.look(is_over) or is_over():
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
        found, budget = self._found, self._budgets[node]
        state, events = self._unpacked(self._keys[node]), self._events
        add = self._pass_on if self.reductions.passing else self._add
        try:
            for following, left, more in self._reduced.successors(state, budget, self._is_news):
                found.transitions += 1
                add(following, left, events + more, node)
                self._passed.clear()
        except Violation as violation:
            found.violation = str(violation)
            self._tell(node)

    def _pass_on(self, state: State, left: int, events: int, parent: int) -> None:
        """Go on from a state while only one comes after it; keep the one where ways part."""
        passed, reduced = self._passed, self._reduced
        while len(passed) < MOST_PASSED and (key := self._key(state)) not in self._seen:
            led = self._led.get((key, left))
            if led is not None and (led == ENDS or self._is_to_come(led)):
                self._leads(led)
                return
            passed.append((state, left))
            after = reduced.only(state, left, self._is_ahead)
            if after is None:
                break
            if not after:
                self._found.depth = max(self._found.depth, events)
                self._leads(ENDS)
                return
            self._found.transitions += 1
            state, left, more = after
            events += more
        self._add(state, left, events, parent)
        self._leads(self._key(state))

    def _leads(self, to: int) -> None:
        """Whoever meets again what was just passed through need not walk there, for a while."""
        if len(self._led) > MOST_LED:
            self._led.clear()
        for state, left in self._passed:
            self._led[self._key(state), left] = to

    def _is_ahead(self, state: State) -> bool:
        """It is news, and was not passed through just before."""
        return self._is_news(state) and all(state != one for one, _ in self._passed)

    def _add(self, state: State, left: int, events: int, parent: int) -> None:
        key = self._key(state)
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
        key = self._key(state)
        return key not in self._seen or self._is_to_come(key)

    def _is_to_come(self, key: int) -> bool:
        """A state that is kept will be looked at after all with as many events as now."""
        known = self._seen[key]
        later = self._events + 1 << LEFT
        return min(known) >= later if isinstance(known, tuple) else known >= later

    def _key(self, state: State) -> int:
        return int.from_bytes(self._pack(*state), "big")

    def _unpacked(self, key: int) -> State:
        return self._parts.unpack(key.to_bytes(self._parts.size, "big"))

    # ---- a schedule ----------------------------------------------------------------------------

    def _tell(self, node: int) -> None:
        """Find events that lead to a state, and to the violation after it."""
        found = self._found
        try:
            told = self.ways().to_violation(self.kept(node), self._passed)
            found.violation, found.schedule = told  # with the names of this schedule
        except OutOfTime:
            if self.reductions.leaves_nothing_out:
                found.is_told = False
            else:
                found.suspected, found.violation = found.violation, None

    def ways(self) -> Ways:
        """What finds a schedule."""
        return Ways(self.graph, self._reduced, self._is_over)

    def kept(self, node: int) -> list[Place]:
        """The states kept on the way to this one, from the first to itself."""
        way = [node]
        while node:
            node = self._parents[node]
            way.append(node)
        return [(self._unpacked(self._keys[one]), self._budgets[one]) for one in way[::-1]]
