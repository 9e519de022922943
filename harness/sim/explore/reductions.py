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

- nothing is left that comes by itself: no request, timer, death or request anew within the budget
  (losses, and leaders that stand again, come with messages);
- whatever the others do while it waits, none puts a message on a link to it that is empty now
  (any link, without an order of messages): so what it can do now is all it ever can
  until it moves. What the others can come to is walked, without the one that waits;
- it sends nothing to a replica that is down: that one may start before or after;
- nothing that it can do now is a fact that another's turn is held against: no new vote, proposal,
  claim to lead or first execution. For what a replica may not do yet it could be allowed to
  do after such a fact: an execution by too few votes must be seen before the last vote is. A turn
  that comes first is held against less, never more;
- at least one thing that it can do now costs no budget and leads to a state that was not looked at
  yet, nor is before those with one event more: else the others might wait for ever in a circle.

Any schedule from here in which it moves can then be put into an order in which its first move comes
first; and one in which it does not move, after one more turn of it. Its messages lost are
events of its own there, and happen when they like.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from harness.sim.explore.alike import Alike
from harness.sim.explore.forgetting import Forgetting
from harness.sim.explore.graph import Bounds, Budget, Graph, Move, State
from harness.sim.explore.names import MOST_RENAMED
from harness.sim.explore.owners import Owners
from harness.sim.explore.sites import Rule, Site
from harness.sim.explore.trials import Trials
from harness.sim.explore.turns import Turn
from harness.sim.invariants import Violation


@dataclass(frozen=True, slots=True)
class Reductions:
    """Which of them are on."""

    lost_late: bool = True
    names: bool = True
    orders: bool = True
    said: bool = True
    forgetting: bool = True  # where names are tried

    def within(self, bounds: Bounds) -> "Reductions":
        """Those that mean something there."""
        names = self.names and 1 < bounds.nodes <= MOST_RENAMED and not bounds.puts_off
        lost_late = self.lost_late and bounds.budget.drops > 0
        orders = self.orders and bounds.nodes > 1
        said = self.said and bounds.merge_stale and bounds.nodes > 1
        return Reductions(lost_late, names, orders, said, self.forgetting and names)

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
        }
        return ", ".join(word for word, is_on in words.items() if is_on) or "none"


ALL = Reductions()
NONE = Reductions(False, False, False, False, False)


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
        self._orders = on.orders
        if self._alike is not None:
            graph.on_turn, turns.on_trial = self._try, self._alike.try_turn
            self.trials.alike = self._alike.states_alike
        # By budget: election timers left; that nothing is left that comes by itself.
        budgets = [Budget(*left) for left in graph.lefts]
        self._elections = [left.elections for left in budgets]
        self._is_spent = [not any(left[1:-1]) for left in graph.lefts]
        self._quiet: dict[int, int] = {}  # by site: whose links to it are empty, as bits
        self._heard: dict[tuple[int, int, int, State], bool] = {}

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
        if self._orders and self._is_spent[budget] and state[-1] == self._graph.bounds.requests:
            for at in range(self._nodes):
                if (some := self._goes_first(state, budget, at, is_news)) is not None:
                    for following, left in some:
                        yield following, left, 1
                    return
        graph, first_of = self._graph, self.first_of
        for following, left in self.all_after(state, budget, self._on.lost_late):
            events = len(graph.attempt)
            yield first_of(following, left), left, events

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

    # ---- orders --------------------------------------------------------------------------------

    def _goes_first(
        self, state: State, budget: int, at: int, is_news: Callable[[State], bool]
    ) -> list[tuple[State, int]] | None:
        """After all that one replica can do, if it may be chosen to go first. Raises Violation."""
        graph, checkers, memory = self._graph, self._graph.checkers, state[-2]
        events = graph.events(state[at], budget)
        if not events:
            return None
        facts, is_up = checkers.facts, graph.sites.is_up
        known = facts[memory]
        for _, _, pushes, step, _, graph.attempt in events:
            for to, _ in pushes:
                if not is_up[state[to]]:
                    return None
            if step is not None and facts[checkers.after(memory, step)] != known:
                return None
        if not self._hears_nothing_new(state, budget, at):
            return None
        found, is_first = list[tuple[State, int]](), False
        for event in events:
            following, left = self.first_of(graph.after(state, event), event.left), event.left
            found.append((following, left))
            is_first = is_first or (left == budget and is_news(following))
        return found if is_first else None

    def _hears_nothing_new(self, state: State, budget: int, at: int) -> bool:
        """While this one waits, nobody puts a message on an empty link to it."""
        quiet = self._quiet.get(state[at])
        if quiet is None:
            site, quiet = self._graph.sites[state[at]], 0
            for source, link in enumerate(site.links, 1):
                if source != at + 1 and not (link and site.own and self._in_order):
                    quiet |= 1 << source
            self._quiet[state[at]] = quiet
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
        graph, place = self._graph, to - 1
        try:
            coming = [event for one in others for event in graph.events(one, budget)]
            for event in coming:
                is_quiet = quiet >> event.place + 1 & 1
                if is_quiet and any(receiver == place for receiver, _ in event.pushes):
                    return True
            for event in coming:
                after = [*others]
                after[event.place - (event.place > place)] = event.after
                for receiver, parcel in event.pushes:
                    if receiver != place:
                        at = receiver - (receiver > place)
                        after[at] = graph.sites.push(after[at], parcel)
                if self._hears(tuple(after), event.left, to, quiet):
                    return True
        except Violation:
            return True  # it is met on the way on which everybody goes
        self._heard[key] = False
        return False
