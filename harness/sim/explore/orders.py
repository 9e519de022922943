"""Who may go first: the argument is that of `reductions`."""

from collections.abc import Iterator
from operator import itemgetter
from typing import NamedTuple, TypeAlias

from harness.sim.explore.graph import Budget, Event, Events, Graph, State
from harness.sim.explore.turns import Step
from harness.sim.invariants import Violation

BITS = 3  # for places; there are 7 at most
ANY = 1 << 30  # so many happenings, or fewer
# Of the others, whose orders are followed while one waits: there may be many, or no end of them.
MOST_AHEAD = 200  # events one after another
MOST_STATES = 500  # looked at for one who waits
MOST_KNOWN = 1 << 18  # remembered
Happening: TypeAlias = tuple[int, Event]  # how many requests were submitted then; what happens


class Moves(NamedTuple):
    """All that can happen at one site."""

    events: Events
    asked: tuple[Happening, ...]
    ways: int  # how many
    receivers: int  # places of those to whom it sends, as bits
    is_mute: bool  # what it sends can be lost to no death
    steps: tuple[Step, ...]  # for the checks

    def happenings(self, submitted: int) -> Iterator[Happening]:
        """All of them."""
        for event in self.events:
            yield submitted, event
        yield from self.asked


class Orders:
    """See the module."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._everyone, self._in_order = range(graph.bounds.nodes), not graph.bounds.reorder
        self._can_die = [Budget(*left).crashes > 0 for left in graph.lefts]
        # By budget and requests submitted, then by site.
        self._moves: dict[tuple[int, int], dict[int, Moves]] = {}
        self._quiet: dict[int, int] = {}  # by site: the places of whose links to it are empty
        self._heard: dict[tuple[int, ...], bool] = {}
        self._looks = 0  # at states of the others, that may still be taken

    def firsts(self, state: State, budget: int, most: int = ANY) -> Iterator[Moves]:
        """What those can do who may go first, if there is news in it; the fewest ways first.

        Of those who can do `most` things at most. Raises Violation.
        """
        is_last, is_up = self._graph.bounds.requests - state[-1] <= 1, self._graph.sites.is_up
        known, found = self._known(state[-1], budget), list[tuple[int, int, Moves]]()
        for at in self._everyone:
            moves = known.get(state[at]) or self._of(state[at], state[-1], budget)
            is_one = moves.ways <= most and moves.events and moves.is_mute
            if is_one and (is_last or not is_up[state[at]]):
                found.append((moves.ways, at, moves))
        if len(found) > 1:
            found.sort(key=itemgetter(0))
        for _, at, moves in found:
            if self._may(state, budget, at, moves):
                yield moves

    def _known(self, submitted: int, budget: int) -> dict[int, Moves]:
        """By site, what was looked up."""
        known = self._moves.get((submitted, budget))
        if known is None:
            known = self._moves[submitted, budget] = {}
        return known

    def _of(self, number: int, submitted: int, budget: int) -> Moves:
        """What can happen at a site. Raises Violation."""
        known = self._known(submitted, budget)
        moves = known.get(number)
        if moves is None:
            moves = known[number] = self._found(number, submitted, budget)
        return moves

    def _found(self, number: int, submitted: int, budget: int) -> Moves:
        events, asked = (
            self._graph.events(number, budget),
            self._graph.asked_at(number, submitted, budget),
        )
        receivers, is_mute, steps = 0, True, dict[Step, None]()
        for event in (*events, *[event for _, event in asked]):
            for to, _ in event.pushes:
                receivers |= 1 << to
                is_mute = is_mute and not self._can_die[event.left]
            if event.step is not None:
                steps[event.step] = None
        return Moves(events, asked, len(events) + len(asked), receivers, is_mute, tuple(steps))

    def _may(self, state: State, budget: int, at: int, moves: Moves) -> bool:
        graph, memory = self._graph, state[-2]
        is_up = graph.sites.is_up
        if any(
            moves.receivers >> place & 1 and not is_up[state[place]] for place in self._everyone
        ):
            return False
        if moves.steps:
            facts, after = graph.checkers.facts, graph.checkers.after
            known = facts[memory]
            for step in moves.steps:
                if facts[after(memory, step)] != known:
                    return False
        return self._hears_nothing_new(state, budget, at)

    def _hears_nothing_new(self, state: State, budget: int, at: int) -> bool:
        """While this one waits, nobody puts a message on an empty link to it."""
        quiet = self._quiet.get(state[at])
        if quiet is None:
            site, quiet = self._graph.sites[state[at]], 0
            for place, link in enumerate(site.links):
                if place != at and not (link and site.own and self._in_order):
                    quiet |= 1 << place
            self._quiet[state[at]] = quiet
        if not quiet or self._can_die[budget]:
            return not quiet  # whoever dies is told of
        others, self._looks = state[:at] + state[at + 1 : -2], MOST_STATES
        if len(self._heard) > MOST_KNOWN:
            self._heard.clear()
        return not self._hears(others, state[-1], budget, at, quiet, MOST_AHEAD)

    def _hears(
        self, others: State, submitted: int, budget: int, place: int, quiet: int, ahead: int
    ) -> bool:
        """Some replica of `quiet` can put a message on its link to `place`.

        That one waits; `others` are the sites of the others.
        """
        graph = self._graph
        try:
            moves_at = self._known(submitted, budget)
            coming = [moves_at.get(one) or self._of(one, submitted, budget) for one in others]
            for at, moves in enumerate(coming):
                if moves.receivers >> place & 1 and quiet >> at + (at >= place) & 1:
                    return True
            where = (
                (submitted * len(graph.lefts) + budget) << graph.bounds.nodes | quiet
            ) << BITS | place
            key = where, *others
            known = self._heard.get(key)
            if known is not None:
                return known
            self._heard[key] = True  # as long as it is not known: so is a circle
            self._looks -= 1
            if not ahead or self._looks < 0:
                return True
            for moves in coming:
                for then, event in moves.happenings(submitted):
                    after = [*others]
                    after[event.place - (event.place > place)] = event.after
                    for receiver, parcel in event.pushes:
                        if receiver != place:
                            at = receiver - (receiver > place)
                            after[at] = graph.sites.push(after[at], parcel)
                    if self._hears(tuple(after), then, event.left, place, quiet, ahead - 1):
                        return True
        except Violation:
            return True  # it is met on the way on which everybody goes
        self._heard[key] = False
        return False
