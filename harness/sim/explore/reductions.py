"""What the explorer leaves out because nothing comes of it, and why that loses nothing.

Everything that checks can find wrong is found when one replica takes one turn: in what it does
itself, or held against what others did before. So it is enough that every turn which some schedule
makes a replica take, it also takes in a schedule that is walked, and is held against no more there
than in the other one.

**Lost late.** A message that is lost changes nothing but what can arrive after it. So it is lost
when the next message of its link arrives; if none ever does, it need not be lost, only wait. The
same turns are taken, and the budget is spent no earlier.

**Other names.** See `names`.

**Said before.** An answer that says nothing new to its reader, and never will, need not be read:
it changes nothing, and what comes after it on its link comes all the same. Which ones, and why:
`sites`. That it does nothing is tried on the replica.

**Past elections.** See `forgetting`.

**Orders that come to the same.** Turns at different replicas commute: each changes its own replica,
takes from the front of links to it and adds to the ends of links from it. Where several replicas
can go on, one may be chosen to go first, and what the others can do before it is left out, if

- whatever the others do while it waits, none puts a message on a link to it that is empty now
  (any link, without an order of messages), a notice of its own death included: so what it can do
  now is all it ever can until it moves. Its timers, its death and requests that may come to it
  count among that. What the others can come to is walked, without the one that waits, with all
  that is left of the budget;
- at most one request is still to come, or it is down, where none comes to it. With one, what came
  to another first and came to it again, which costs, might as well have come to it first and to
  the other again. With two it would be the first client's where it was the second's;
- it sends nothing to a replica that is down: that one may start before or after. Nor to any while
  others can still die: one that dies and starts again has lost what came before;
- nothing that it can do now is a fact that another's turn is held against: no new vote, proposal,
  claim to lead or first execution. For what a replica may not do yet it could be allowed to
  do after such a fact: an execution by too few votes must be seen before the last vote is. A turn
  that comes first is held against less, never more. (What two were told of one history is no such
  fact: if they differ, whoever hears it second is wrong, in either order);
- at least one thing that it can do now costs no budget, is no request, and leads to a state that
  was not looked at yet, nor is before those with one event more: else the others might wait for
  ever in a circle.

Any schedule from here in which it moves can then be put into an order in which its first move comes
first: budgets are spent in any order, and what was enough for all is enough for each. One
in which it does not move is walked after one more turn of it, which takes nothing from the others.
Its messages lost are events of its own there, and happen when they like. That turns commute so
is tried on our replica in a test, with all that the others can do; of any other it holds because
turns are its own, and whatever is sent lies on links until its receiver moves.

**Passed through.** A state after which the walk goes one way, or none, is not kept, but walked on
from at once; what is kept is where ways part. This leaves nothing out: each event on the way is
judged. Where a way led to is known for a while, and while that is still to be looked at, whoever
meets the way again need not walk it. One of so many states is kept in any case, since a replica may
have ways that never part. Who goes first on such a way needs news as well: a state that it did not
pass through, nor one that is kept and was looked at.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from harness.sim.explore.alike import Alike
from harness.sim.explore.forgetting import Forgetting
from harness.sim.explore.graph import Bounds, Budget, Graph, Move, State
from harness.sim.explore.names import MOST_RENAMED
from harness.sim.explore.orders import ANY, Moves, Orders
from harness.sim.explore.owners import Owners
from harness.sim.explore.sites import Rule, Site
from harness.sim.explore.trials import Trials
from harness.sim.explore.turns import Turn

MOST_PASSED = 64  # states one after another; a replica may have such without end
Place: TypeAlias = tuple[State, int]  # and what is left of the budget there


@dataclass(frozen=True, slots=True)
class Reductions:
    """Which of them are on."""

    lost_late: bool = True
    names: bool = True
    orders: bool = True
    said: bool = True
    forgetting: bool = True  # where names are tried
    passing: bool = True

    def within(self, bounds: Bounds) -> "Reductions":
        """Those that mean something there."""
        names = self.names and 1 < bounds.nodes <= MOST_RENAMED and not bounds.puts_off
        lost_late = self.lost_late and bounds.budget.drops > 0
        orders = self.orders and bounds.nodes > 1
        said = self.said and bounds.merge_stale and bounds.nodes > 1
        forgetting = self.forgetting and names
        return Reductions(lost_late, names, orders, said, forgetting, self.passing)

    def without_names(self) -> "Reductions":
        """The same, and each replica keeps its name, and all that it knows."""
        return replace(self, names=False, forgetting=False)

    def without(self, rule: Rule, bounds: Bounds) -> tuple[Bounds, "Reductions"]:
        """The same without what a rule leaves out, and the bounds."""
        match rule:
            case Rule.FORGOTTEN:
                return bounds, replace(self, forgetting=False)
            case Rule.SAID:
                return bounds, replace(self, said=False)
            case Rule.STALE:
                return replace(bounds, merge_stale=False), replace(self, said=False)

    @property
    def leaves_nothing_out(self) -> bool:
        """Every schedule is walked."""
        return replace(self, passing=False) == NONE

    def with_less(self) -> "Reductions":
        """Without what only is right for a replica that uses its fields as ours does; or none."""
        return replace(self, forgetting=False) if self.forgetting else NONE

    def __str__(self) -> str:
        words = {
            "lost late": self.lost_late,
            "other names": self.names,
            "orders": self.orders,
            "said before": self.said,
            "past elections": self.forgetting,
            "passed through": self.passing,
        }
        return ", ".join(word for word, is_on in words.items() if is_on) or "none"


ALL = Reductions()
NONE = Reductions(False, False, False, False, False, False)


class Reduced:
    """The part of a graph that is walked."""

    def __init__(self, graph: Graph, on: Reductions) -> None:
        self._graph, self._on = graph, on
        turns, sites, checkers = graph.turns, graph.sites, graph.checkers
        self._owners = Owners(turns, sites, checkers)
        self._alike = Alike(turns, sites, checkers, self._owners) if on.names else None
        self.trials = Trials(turns, self._owners, graph.bounds.budget.batches > 0)
        turns.on_taken, sites.on_left_out = self.trials.taken, self.trials.left_out
        self._forgetting = (
            Forgetting(turns, sites, not graph.bounds.reorder, self.trials)
            if on.forgetting
            else None
        )
        self._nodes, self._in_order = graph.bounds.nodes, not graph.bounds.reorder
        self._orders = Orders(graph) if on.orders else None
        if self._alike is not None:
            graph.on_turn, turns.on_trial = self._try, self._alike.try_turn
            self.trials.alike = self._alike.states_alike
        # By budget: election timers left.
        budgets = [Budget(*left) for left in graph.lefts]
        self._elections = [left.elections for left in budgets]

    def first_of(self, state: State, left: int) -> State:
        """The one of all states like this one that is walked."""
        if self._alike is None and self._forgetting is None:
            return state
        owners, elections = self._owners.of(state), self._elections[left]
        if self._forgetting is not None and not elections:
            # What was forgotten may have been the last trace of an owner: then there is more.
            while (less := self._forgetting.first_of(state, owners)) != state:
                state, owners = less, self._owners.of(less)
        if self._alike is not None:
            state = self._alike.first_of(state, owners, elections)
        return state

    def successors(
        self, state: State, budget: int, is_news: Callable[[State], bool]
    ) -> Iterator[tuple[State, int, int]]:
        """What is walked after a state: it, what is left of the budget, how many events lead there.

        Raises Violation.
        """
        if self._orders is not None:
            for moves in self._orders.firsts(state, budget):
                if (some := self._goes_first(state, budget, moves, is_news)) is not None:
                    for following, left in some:
                        yield following, left, 1
                    return
        for following, left in self.all_after(state, budget, self._on.lost_late):
            events = len(self._graph.attempt)
            yield self.first_of(following, left), left, events

    def _goes_first(
        self, state: State, budget: int, moves: Moves, is_news: Callable[[State], bool]
    ) -> list[tuple[State, int]] | None:
        """After all that one replica can do, if there is news that costs nothing in it."""
        graph, submitted = self._graph, state[-1]
        found, is_first = list[tuple[State, int]](), False
        for then, event in moves.happenings(submitted):
            following, left = self.first_of(graph.after(state, event, then), event.left), event.left
            found.append((following, left))
            is_first = is_first or (then == submitted and left == budget and is_news(following))
        return found if is_first else None

    def only(
        self, state: State, budget: int, is_news: Callable[[State], bool]
    ) -> tuple[State, int, int] | tuple[()] | None:
        """What is walked after a state, as in `successors`, if it is one; None: it may be more.

        () if it is nothing. Raises Violation.
        """
        if self._orders is not None:
            for moves in self._orders.firsts(state, budget, 1):
                if (some := self._goes_first(state, budget, moves, is_news)) is not None:
                    return (*some[0], 1)
        late = self._on.lost_late
        ways = self._graph.ways(state, budget, late)
        if ways > 1:
            return None
        for following, left in self.all_after(state, budget, late):
            return self.first_of(following, left), left, len(self._graph.attempt)
        return ()

    def steps(self, state: State, budget: int, only: bool) -> Iterator[Place]:
        """What may have been walked after a state, whatever was news; `only`: if nothing else was.

        Raises Violation.
        """
        if self._orders is not None:
            for moves in self._orders.firsts(state, budget, 1 if only else ANY):
                yield from self._goes_first(state, budget, moves, lambda _: True) or ()
        late = self._on.lost_late
        if not only or self._graph.ways(state, budget, late) == 1:
            for following, left in self.all_after(state, budget, late):
                yield self.first_of(following, left), left

    def all_after(self, state: State, budget: int, late: bool) -> Iterator[tuple[State, int]]:
        """After all that can happen; `graph.attempt` names it. `late`: see `Graph.can_happen`."""
        after = self._graph.after
        for submitted, event in self._graph.can_happen(state, budget, late):
            yield after(state, event, submitted), event.left

    def _try(self, site: Site, move: Move, turn: Turn) -> None:
        """Is a turn the same under other names?"""
        if self._alike is None:
            return
        if move.kind == "start":
            self._alike.try_start(site.replica, site.disk, turn)
        else:
            self._alike.try_turn(site.own, move.code, turn)
