"""What the explorer leaves out because nothing comes of it, and why that loses nothing.

Everything that checks can find wrong is found when one replica takes one turn: in what it does
itself, or held against what others did before. So it is enough that every turn which some schedule
makes a replica take, it also takes in a schedule that is walked, and is held against no more there
than in the other one.

**Lost late.** A message that is lost changes nothing but what can arrive after it. So it is lost
when the next message of its link arrives; if none ever does, it need not be lost, only wait. The
same turns are taken, and the budget is spent no earlier.

**Other names.** See `names`.

**Orders that come to the same.** Turns at different replicas commute: each changes its own replica,
takes from the front of links to it and adds to the ends of links from it. Where several replicas
can go on, one may be chosen to go first, and what the others can do before it is left out, if

- nothing is left that comes by itself: no request, timer, death or request anew within the budget;
- whatever the others do while it waits, none puts a message on a link to it that is empty now
  (any link, without an order of messages): so what it can do now is all it ever can
  until it moves. What the others can come to is walked, without the one that waits;
- it sends nothing to a replica that is down: that one may start before or after;
- nothing that it can do now is a fact that another's turn is held against: no new vote, proposal,
  claim to lead or first execution. For what a replica may not do yet it could be allowed to
  do after such a fact: an execution by too few votes must be seen before the last vote is. A turn
  that comes first is held against less, never more;
- at least one thing that it can do now costs no budget and leads to a state that was not met in an
  earlier level: else the others might wait for ever in a circle.

Any schedule from here in which it moves can then be put into an order in which its first move comes
first; and one in which it does not move, after one more turn of it. Its messages lost are
events of its own there, and happen when they like.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from harness.sim.explore.alike import Alike
from harness.sim.explore.graph import Bounds, Graph, Move, State
from harness.sim.explore.names import MOST_RENAMED
from harness.sim.explore.sites import Site
from harness.sim.explore.turns import Turn
from harness.sim.invariants import Violation


@dataclass(frozen=True, slots=True)
class Reductions:
    """Which of them are on."""

    lost_late: bool = True
    names: bool = True
    orders: bool = True

    def within(self, bounds: Bounds) -> "Reductions":
        """Those that mean something there."""
        names = self.names and 1 < bounds.nodes <= MOST_RENAMED and not bounds.puts_off
        lost_late = self.lost_late and bounds.budget.drops > 0
        return Reductions(lost_late, names, self.orders and bounds.nodes > 1)

    def without_names(self) -> "Reductions":
        """The same, and each replica keeps its name."""
        return replace(self, names=False)

    def __str__(self) -> str:
        words = {"lost late": self.lost_late, "other names": self.names, "orders": self.orders}
        return ", ".join(word for word, is_on in words.items() if is_on) or "none"


ALL = Reductions()
NONE = Reductions(False, False, False)


class Reduced:
    """The part of a graph that is walked."""

    def __init__(self, graph: Graph, on: Reductions) -> None:
        self._graph, self._on = graph, on
        self._alike = Alike(graph.turns, graph.sites, graph.checkers) if on.names else None
        self._nodes, self._in_order = graph.bounds.nodes, not graph.bounds.reorder
        self._orders = on.orders
        if on.names:
            graph.on_turn = self._try
        # By budget: election timers left; that nothing but losses is left to spend.
        self._elections = [left[2] for left in graph.lefts]
        self._is_spent = [not any(left[1:]) for left in graph.lefts]
        self._heard: dict[tuple[int, int, int, State], bool] = {}

    def first_of(self, state: State, left: int) -> State:
        """The one of all states like this one that is walked."""
        if self._alike is None:
            return state
        return self._alike.first_of(state, self._elections[left])

    def successors(
        self, state: State, budget: int, is_news: Callable[[State, int], bool]
    ) -> Iterator[tuple[State, int]]:
        """What is walked after a state, and what is left of the budget. Raises Violation."""
        if self._orders and self._is_spent[budget] and state[-1] == self._graph.bounds.requests:
            for at in range(self._nodes):
                if (some := self._goes_first(state, budget, at, is_news)) is not None:
                    yield from some
                    return
        for following, left in self.all_after(state, budget):
            yield self.first_of(following, left), left

    def all_after(self, state: State, budget: int) -> Iterator[tuple[State, int]]:
        """After all that can happen; `graph.attempt` names it."""
        graph = self._graph
        for submitted, event in graph.can_happen(state, budget, self._on.lost_late):
            following = graph.after(state, event)
            yield (*following[:-1], submitted), event.left

    def _try(self, site: Site, move: Move, turn: Turn) -> None:
        """Is a turn the same under other names?"""
        if self._alike is None:
            return
        if move.kind == "start":
            self._alike.try_start(site.replica, site.disk, turn)
        else:
            self._alike.try_turn(site.own, move.code, turn)

    # ---- orders --------------------------------------------------------------------------------

    def _goes_first(
        self, state: State, budget: int, at: int, is_news: Callable[[State, int], bool]
    ) -> list[tuple[State, int]] | None:
        """After all that one replica can do, if it may be chosen to go first. Raises Violation."""
        graph, facts = self._graph, self._graph.checkers.facts
        events, known = graph.events(state[at], budget)[0], facts[state[-2]]
        if not events:
            return None
        found: list[tuple[State, int]] = []
        for event in events:
            for to, _ in event.pushes:
                if not graph.sites[state[to - 1]].own:
                    return None
            following = graph.after(state, event)
            if facts[following[-2]] != known:
                return None
            found.append((following, event.left))
        if not self._hears_nothing_new(state, budget, at):
            return None
        found = [(self.first_of(*one), one[1]) for one in found]
        is_first = any(left == budget and is_news(following, left) for following, left in found)
        return found if is_first else None

    def _hears_nothing_new(self, state: State, budget: int, at: int) -> bool:
        """While this one waits, nobody puts a message on an empty link to it."""
        site = self._graph.sites[state[at]]
        quiet = 0
        for source, link in enumerate(site.links, 1):
            if source != at + 1 and not (link and site.own and self._in_order):
                quiet |= 1 << source
        return not quiet or not self._hears(state[:at] + state[at + 1 : -2], budget, at + 1, quiet)

    def _hears(self, others: State, budget: int, to: int, quiet: int) -> bool:
        """Some replica of `quiet`, which are bits, can put a message on its link to `to`.

        That one waits; `others` are the sites of the others.
        """
        key = to, quiet, budget, others
        known = self._heard.get(key)
        if known is not None:
            return known
        self._heard[key] = True  # as long as it is not known: so is a circle
        graph = self._graph
        try:
            coming = [event for one in others for event in graph.events(one, budget)[0]]
            for event in coming:
                is_quiet = quiet >> event.moves[0].replica & 1
                if is_quiet and any(receiver == to for receiver, _ in event.pushes):
                    return True
            for event in coming:
                after = [*others]
                source = event.moves[0].replica
                after[source - 1 - (source > to)] = event.after
                for receiver, envelopes in event.pushes:
                    if receiver != to:
                        place = receiver - 1 - (receiver > to)
                        after[place] = graph.sites.push(after[place], envelopes)
                if self._hears(tuple(after), event.left, to, quiet):
                    return True
        except Violation:
            return True  # it is met on the way on which everybody goes
        self._heard[key] = False
        return False
