"""What the explorer leaves out loses nothing: each turn is taken, and held against no more.

Walks without any reduction are what others are compared with.
"""

from dataclasses import replace

import pytest

from bank.replica import Replica
from harness.sim.explore import Explorer
from harness.sim.explore.alike import Alike
from harness.sim.explore.graph import Bounds, Budget, Graph
from harness.sim.explore.names import all_names, outline, renamed
from harness.sim.explore.reductions import ALL, NONE, Reductions

LOST_LATE = Reductions(lost_late=True, names=False, orders=False)
NAMES = Reductions(lost_late=False, names=True, orders=False)
ORDERS = Reductions(lost_late=False, names=False, orders=True)
WAYS = {"lost late": LOST_LATE, "names": NAMES, "orders": ORDERS, "all": ALL}

SHORT = Budget(elections=0, drops=1)
SMALL = {
    "nothing but orders": Bounds(requests=1, budget=Budget(elections=0), elected=True),
    "one request": Bounds(requests=1),
    "a lost message": Bounds(requests=1, budget=SHORT, elected=True),
    "a crash": Bounds(nodes=2, requests=1, budget=Budget(crashes=1)),
    "two elections": Bounds(nodes=2, requests=0, budget=Budget(elections=2, drops=1)),
    "no queues": Bounds(nodes=2, requests=1, budget=SHORT, elected=True, reorder=True),
    "turns of two": Bounds(nodes=2, requests=1, budget=Budget(drops=1, batches=1)),
    "checkpoints": Bounds(nodes=2, requests=1, budget=SHORT, elected=True, checkpoint_interval=1),
    "another leads": Bounds(requests=0, elected=True),
}
TWO_STAND = Bounds(requests=0, budget=Budget(elections=2), elected=True)


def walked(bounds, reductions):
    """The walk, and all turns that were taken in it: (before, what happened, what came of it)."""
    explorer = Explorer(bounds, reductions=reductions)
    graph, after = explorer.graph, explorer.graph.after
    turns = []

    def watched(state, event):
        turns.append((state, event))
        return after(state, event)

    graph.after = watched
    found = explorer.run()
    assert found.complete and found.violation is None and found.unlike is None
    return explorer, found, turns


def taken(graph, turns, names):
    """Turns as values, under these names."""
    found = set()
    for site, move in {(graph.sites[s[e.moves[-1].replica - 1]], e.moves[-1]) for s, e in turns}:
        if move.kind not in ("turn", "cut", "start"):
            continue
        before = (
            graph.sites.disks[site.disk] if move.kind == "start" else graph.turns.frozen(site.own)
        )
        what = move.code
        if move.kind != "start" and move.code >= 0:
            source, to, message = graph.turns.envelopes[move.code >> 1]
            what = names[source], names[to], renamed(message, names), move.code & 1
        came = repr(outline(move.step, graph.turns.envelopes, names)) if move.step else ""
        found.add((names[move.replica], move.kind, renamed(before, names), what, came))
    return found


@pytest.mark.parametrize("name", SMALL)
def test_every_turn_is_taken(name):
    bounds = SMALL[name]

    def by_any_name(explorer, turns):
        return set.union(*(taken(explorer.graph, turns, n) for n in all_names(bounds.nodes)))

    own = all_names(bounds.nodes)[0]
    explorer, unreduced, turns = walked(bounds, NONE)
    everything, by_name = taken(explorer.graph, turns, own), by_any_name(explorer, turns)
    for way in WAYS.values():
        explorer, reduced, turns = walked(bounds, way)
        assert reduced.states <= unreduced.states
        if way.names:
            assert by_any_name(explorer, turns) == by_name
        else:
            assert taken(explorer.graph, turns, own) == everything


def known(graph, state):
    """What the checks hold a step against."""
    safety = graph.checkers.memory(state[-2])
    votes = {
        (slot, vote, voter)
        for slot, of_slot in safety._votes.items()
        for vote, voters in of_slot.items()
        for voter in voters
    }
    proposed = {(b, *one) for b, of in safety._proposed.items() for one in (("", ""), *of.items())}
    return votes, proposed, tuple(safety.slots)


def is_less(one, other):
    """Whoever passes with the first passes with the other, too."""
    votes = {vote for vote in one[0] if vote[0] > len(other[2])}
    return votes <= other[0] and one[1] <= other[1] and one[2] == other[2][: len(one[2])]


@pytest.mark.parametrize("name", ["nothing but orders", "one request", "a lost message"])
def test_no_turn_is_held_against_more(name):
    def by_turn(explorer, turns):
        graph, found = explorer.graph, {}
        for state, move, checker in {
            (s, e.moves[-1], s[-2]) for s, e in turns if e.step and e.moves[-1].kind != "start"
        }:
            own = graph.turns.frozen(graph.sites[state[move.replica - 1]].own)
            what = graph.turns.envelopes[move.code >> 1] if move.code >= 0 else move.code
            found.setdefault((own, what), {})[checker] = known(graph, state)
        return found

    whole, _, turns = walked(SMALL[name], NONE)
    everything = by_turn(whole, turns)
    reduced, _, turns = walked(SMALL[name], ORDERS)
    some = by_turn(reduced, turns)
    for turn, memories in everything.items():
        for memory in memories.values():
            assert any(is_less(one, memory) for one in some[turn].values())


@pytest.mark.parametrize("name", ["a lost message", "a crash", "another leads", "two stand"])
def test_under_other_names_the_same_happens(name):
    bounds = SMALL.get(name, TWO_STAND)
    explorer, _, _ = walked(bounds, NONE)
    graph = explorer.graph
    alike = Alike(graph.turns, graph.sites, graph.checkers)
    states = {
        (explorer._unpacked(key), left)
        for key, left in zip(explorer._keys, explorer._budgets, strict=True)
    }
    renamed_states = 0

    def after(state, left):
        return {
            alike.first_of((*graph.after(state, event)[:-1], submitted), graph.lefts[event.left][2])
            for submitted, event in graph.can_happen(state, left)
        }

    for state, left in sorted(states)[:: max(1, len(states) // 300)]:
        first = alike.first_of(state, graph.lefts[left][2])
        if first != state:
            renamed_states += 1
            assert after(first, left) == after(state, left)
    assert renamed_states


def test_a_replica_that_goes_by_names_is_walked_under_all_of_them(monkeypatch):
    usual = Replica.step

    def step(self, source, message, now):
        usual(self, source, message, now)
        if self.replica == 1:
            self.acceptor.see(1)

    monkeypatch.setattr(Replica, "step", step)
    bounds = Bounds(nodes=2, requests=1)
    found = Explorer(bounds).run()
    assert found.complete and found.unlike is not None
    assert found.states == Explorer(bounds, reductions=replace(ALL, names=False)).run().states


def test_names_are_kept_where_they_are_compared():
    bounds = Bounds(requests=0, budget=Budget(elections=2))
    graph = Graph(bounds)
    alike = Alike(graph.turns, graph.sites, graph.checkers)
    first, second = 1 << 1, 1 << 2
    assert [len(alike._kept(0, left)) for left in (0, 1, 2)] == [6, 6, 1]
    assert [len(alike._kept(first, left)) for left in (0, 1, 2)] == [6, 2, 1]
    assert [len(alike._kept(first | second, left)) for left in (0, 1, 2)] == [3, 1, 1]
