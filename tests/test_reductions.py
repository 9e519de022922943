"""What the explorer leaves out loses nothing: each turn is taken, and held against no more.

Walks without any reduction are what others are compared with.
"""

from dataclasses import replace
from functools import cache
from itertools import islice, pairwise

import pytest

from bank.ballot import Ballot
from bank.messages import Accepted, CheckpointHash, PeerDown, Prepare, Promise, State
from bank.replica import Replica
from bank.standing import Leader
from harness.sim.explore import Explorer, orders, ways
from harness.sim.explore.alike import Alike
from harness.sim.explore.forgetting import forget
from harness.sim.explore.frozen import Unfit, freeze, thaw
from harness.sim.explore.graph import Bounds, Budget, Graph
from harness.sim.explore.names import all_names, outline, renamed
from harness.sim.explore.owners import Owners
from harness.sim.explore.reductions import ALL, MOST_PASSED, NONE, Reduced
from harness.sim.explore.sites import EMPTY, _is_said
from harness.sim.explore.turns import Act, Past
from harness.sim.invariants import Safety, Violation

LOST_LATE = replace(NONE, lost_late=True)
NAMES = replace(NONE, names=True)
ORDERS = replace(NONE, orders=True)
SAID = replace(NONE, said=True)
FORGETTING = replace(NAMES, forgetting=True)
PASSING = replace(NONE, passing=True)
WAYS = {
    "lost late": LOST_LATE,
    "names": NAMES,
    "orders": ORDERS,
    "said": SAID,
    "forgetting": FORGETTING,
    "passing": PASSING,
    "all": ALL,
}

SHORT = Budget(elections=0, drops=1)
SMALL = {
    "nothing but orders": Bounds(requests=1, budget=Budget(elections=0), elected=True),
    "one request": Bounds(requests=1),
    "a lost message": Bounds(requests=1, budget=SHORT, elected=True),
    "a crash": Bounds(nodes=2, requests=1, budget=Budget(crashes=1)),
    "a leader dies": Bounds(requests=0, budget=Budget(elections=0, crashes=2), elected=True),
    "two elections": Bounds(nodes=2, requests=0, budget=Budget(elections=2, drops=1)),
    "no queues": Bounds(nodes=2, requests=1, budget=SHORT, elected=True, reorder=True),
    "turns of two": Bounds(nodes=2, requests=1, budget=Budget(drops=1, batches=1)),
    "checkpoints": Bounds(nodes=2, requests=1, budget=SHORT, elected=True, checkpoint_interval=1),
    "a second request": Bounds(nodes=2, budget=Budget(elections=0), elected=True),
    "a pulse": Bounds(nodes=2, requests=1, budget=Budget(elections=0, heartbeats=1), elected=True),
    "one is down": Bounds(nodes=2, requests=1, budget=Budget(elections=0, crashes=1), elected=True),
    "another leads": Bounds(requests=0, elected=True),
    "two led": Bounds(
        nodes=2, requests=0, budget=Budget(elections=1, crashes=1, heartbeats=1), elected=True
    ),
}
TWO_STAND = Bounds(requests=0, budget=Budget(elections=2), elected=True)


LED = Ballot(2, 1)
PAY = ("A", 1, "transfer", "A", "Z", 6)


def walked(bounds, reductions):
    """The walk, and all turns that were taken in it: (before, what happened, what came of it)."""
    explorer = Explorer(bounds, reductions=reductions)
    graph, after = explorer.graph, explorer.graph.after
    turns = []

    def watched(state, event, submitted=-1):
        turns.append((state, event))
        return after(state, event, submitted)

    graph.after = watched
    try:
        found = explorer.run()
    except Unfit as why:  # ours is fit: then something was met that no schedule leads to
        pytest.fail(str(why))
    assert found.complete and found.violation is None
    assert (found.unlike, found.heeded, found.distrusted) == (None, None, None)
    return explorer, found, turns


@cache
def forgotten(frozen, alone):
    """The state of a replica without all that may be forgotten."""
    replica = thaw(frozen)
    forget(replica, alone)
    return freeze(replica)


@cache
def called(value, names):
    """`value` under other names; most turns are met on every walk."""
    return renamed(value, names)


def who_own(graph, owners, state):
    """Who owns a ballot in a state, when what may be forgotten is."""
    while True:
        own, less = owners.of(state), [*state]
        for place, number in enumerate(state[:-2]):
            site, alone = graph.sites[number], own == 2 << place
            if site.own:
                now = graph.turns.number(forgotten(graph.turns.frozen(site.own), alone))
                less[place] = graph.sites.moved(site, now, site.disk)
        if tuple(less) == state:
            return own
        state = tuple(less)


def taken(graph, turns, names, forgets=False):
    """Turns that did anything as values, under these names; with `forgets`, without what may be
    forgotten.
    """
    found, owners = set(), Owners(graph.turns, graph.sites, graph.checkers)
    own = cache(lambda state: who_own(graph, owners, state) if forgets else 0)
    for site, move, alone in {
        (graph.sites[s[e.place]], e.moves[-1], own(s) == 2 << e.place) for s, e in turns
    }:
        if move.kind not in ("turn", "cut", "start"):
            continue
        before = (
            graph.sites.disks[site.disk] if move.kind == "start" else graph.turns.frozen(site.own)
        )
        if forgets and move.kind != "start":
            before = forgotten(before, alone)
        if move.kind == "turn" and move.code >= 0:
            turn = graph.turns.take(site.own, move.code)
            after = graph.turns.frozen(turn.after)
            if turn.step.is_empty and before == (forgotten(after, alone) if forgets else after):
                continue
        what = move.code
        if move.kind != "start" and move.code >= 0:
            source, to, message = graph.turns.envelopes[move.code >> 1]
            what = names[source], names[to], called(message, names), move.code & 1
        came = repr(outline(move.step, graph.turns.envelopes, names)) if move.step else ""
        found.add((names[move.replica], move.kind, called(before, names), what, came))
    return found


@pytest.mark.parametrize("name", SMALL)
def test_every_turn_is_taken(name):
    bounds = SMALL[name]

    def by_any_name(explorer, turns, forgets):
        graph, names = explorer.graph, all_names(bounds.nodes)
        return set.union(*(taken(graph, turns, n, forgets) for n in names))

    own = all_names(bounds.nodes)[0]
    explorer, unreduced, turns = walked(bounds, NONE)
    everything = taken(explorer.graph, turns, own)
    by_name = {forgets: by_any_name(explorer, turns, forgets) for forgets in (False, True)}
    for way in WAYS.values():
        explorer, reduced, turns = walked(bounds, way)
        # A state with an election left, which covers one without, can be walked by other names.
        assert reduced.states <= unreduced.states or way.names
        if way.names:
            forgets = way.forgetting
            assert by_any_name(explorer, turns, forgets) == by_name[forgets]
        else:
            assert taken(explorer.graph, turns, own) == everything


def test_a_loss_is_paid_for():
    explorer, _, turns = walked(SMALL["a lost message"], LOST_LATE)
    lefts, lost = explorer.graph.lefts, {"lost"}
    spent = {lefts[e.left][0] for _, e in turns if lost & {move.kind for move in e.moves}}
    assert spent == {0}


MORE = {
    "a death to come": Bounds(
        nodes=2, requests=0, budget=Budget(elections=0, crashes=1, heartbeats=1), elected=True
    ),
    "two requests to come": Bounds(nodes=2, budget=Budget(elections=0, heartbeats=1), elected=True),
    "a request to come again": Bounds(nodes=2, requests=1, budget=Budget(elections=1, retries=1)),
    "a pulse to come": Bounds(requests=1, budget=Budget(elections=0, heartbeats=1), elected=True),
    "an election to come": Bounds(nodes=2, requests=1, budget=Budget(elections=2, batches=1)),
    "put off": Bounds(
        requests=1, budget=Budget(elections=0, heartbeats=1), elected=True, puts_off=True
    ),
}


FIRST = ("one request", "a lost message", "a crash", "a leader dies", "one is down", *MORE)


@pytest.mark.parametrize("name", FIRST)
def test_who_goes_first_may_go_before_all_that_the_others_can_do(name):
    """Each of its first moves can be taken here, and comes to the same in either order."""
    bounds = (SMALL | MORE)[name]
    explorer, _, _ = walked(bounds, NONE)
    graph, reduced = explorer.graph, Reduced(explorer.graph, ORDERS)
    states = list(zip(explorer._keys, explorer._budgets, strict=True))
    tried = 0
    for key, left in states[:: 1 + len(states) // MOST_TRIED]:
        state = explorer._unpacked(key)
        for moves in reduced._orders.firsts(state, left):
            (at,) = {event.place for event in moves.events}
            tried += hold_first(graph, state, left, at)
    assert tried


MOST_TRIED = 1000  # states
MOST_AFTER = 40  # states that others come to


def hold_first(graph, state, left, at):
    """How often anything of others was held against a move of the first."""
    ways, met, held = [(state, left)], {(state, left)}, 0
    for before, less in islice(ways, MOST_AFTER):
        own = {event.moves: (then, event) for then, event in can(graph, before, less, at, True)}
        for then, event in can(graph, before, less, at, False):
            after = graph.after(before, event, then)
            for later, move in can(graph, after, event.left, at, True):
                assert move.moves in own
                other = graph.after(before, own[move.moves][1], own[move.moves][0])
                found = {
                    (graph.after(other, one, submitted), one.left)
                    for submitted, one in can(graph, other, own[move.moves][1].left, at, False)
                    if one.moves == event.moves
                }
                assert found == {(graph.after(after, move, later), move.left)}
                held += 1
            if (after, event.left) not in met:
                met.add((after, event.left))
                ways.append((after, event.left))
    return held


def test_the_others_are_followed_for_a_while_only():
    """Five replicas have so many orders that one of them waited for a minute to be looked at."""
    most, grown = 20, []
    asked = orders.Orders._hears_nothing_new

    def counted(self, *state):
        before = len(self._heard)
        found = asked(self, *state)
        grown.append(len(self._heard) - before)
        return found

    busy = Bounds(nodes=4, requests=1, budget=Budget(elections=0, heartbeats=2), elected=True)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(orders, "MOST_STATES", most)
        patched.setattr(orders.Orders, "_hears_nothing_new", counted)
        Explorer(busy).run(seconds=0)
    assert most <= max(grown) <= most + 1


def test_nobody_goes_first_for_a_request_that_others_may_get_as_well():
    explorer, _, _ = walked(MORE["two requests to come"], NONE)
    graph, reduced = explorer.graph, Reduced(explorer.graph, ORDERS)
    tried = 0
    for key, left in zip(explorer._keys, explorer._budgets, strict=True):
        state = explorer._unpacked(key)
        for moves in reduced._orders.firsts(state, left):
            new = [(event, then) for then, event in moves.asked if then > state[-1]]
            come = {graph.after(state, event, then) for event, then in new}
            tried += len(new)
            assert reduced._goes_first(state, left, moves, come.__contains__) is None
    assert tried


@pytest.mark.parametrize("first", [1, 2])
def test_of_two_hashes_of_a_slot_whoever_comes_second_is_wrong(first):
    """So it is no fact that a step is held against."""
    safety = Safety(3, {"A": 10}, 1)
    before = safety.facts()
    safety.told(3, first, CheckpointHash(1, f"h{first}", False, ()))
    assert safety.facts() == before
    with pytest.raises(Violation, match="after slot 1"):
        safety.told(3, 3 - first, CheckpointHash(1, f"h{3 - first}", False, ()))


class Circle(Replica):
    """One thing only can happen to it, for ever: a COMMIT waits, though there is none."""

    def flush(self):
        effects = super().flush()
        self.timers.commit = 0
        return effects


class Endless(Circle):
    """The same, and never comes to where it was."""

    beats = 0

    def flush(self):
        self.beats += 1
        return super().flush()


LEADS = Bounds(nodes=1, requests=0, budget=Budget(elections=0), elected=True)


def test_a_way_that_never_parts_is_not_followed_for_ever():
    assert Explorer(LEADS, Circle).run().complete
    explorer = Explorer(LEADS, Endless)
    found = explorer.run(seconds=0)
    assert not found.complete and found.violation is None
    assert 4 * MOST_PASSED > found.transitions > len(explorer._keys) > 1


class InALine:
    """Of a walk: what comes after a state is the next number, if that is ahead, up to 3."""

    def __init__(self):
        self.asked = []

    def only(self, state, left, is_ahead):
        self.asked.append(state)
        following = (state[0] + 1, *state[1:])
        return (following, left, 1) if state[0] < 3 and is_ahead(following) else None


def test_what_was_passed_is_walked_again_if_that_was_looked_at():
    """Else the others could wait for ever in a circle of which one state was looked at."""
    explorer = Explorer(LEADS)
    line = explorer._reduced = InALine()
    one, two, three = ((number, 0, 0) for number in (1, 2, 3))

    def meet(state):
        explorer._passed.clear()
        explorer._pass_on(state, 0, state[0], 0)
        return [explorer._unpacked(key) for key in explorer._keys]

    assert meet(one) == [three]
    assert meet(two) == meet(one) == [three] and line.asked == [one, two, three]
    explorer._events = 3  # so three is looked at
    assert meet(two) == [three, two] and line.asked[3:] == [two]


class Outbid(Replica):
    """Wrong where a leader reads of another that stands."""

    def step(self, source, message, now):
        super().step(source, message, now)
        assert not (isinstance(message, Prepare) and isinstance(self.standing, Leader)), "outbid"


def test_a_schedule_has_nothing_of_a_way_that_was_passed_before():
    found = Explorer(Bounds(nodes=2, requests=1, elected=True), Outbid).run()
    assert (found.violation or "").startswith("AssertionError: outbid")
    assert found.distrusted is None


class Heard(Replica):
    """Wrong where a leader counts a vote."""

    def step(self, source, message, now):
        super().step(source, message, now)
        assert not (isinstance(message, Accepted) and isinstance(self.standing, Leader)), "heard"


def test_without_a_schedule_a_violation_is_one_only_where_nothing_is_left_out():
    bounds = Bounds(nodes=2, requests=1)
    assert Explorer(bounds, Heard).run(seconds=0).is_told  # it takes a few states
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ways, "LOOKS_EVERY", 1)
        whole = Explorer(bounds, Heard, NONE).run(seconds=0)
        some = Explorer(bounds, Heard).run(seconds=0)
    assert (whole.violation or "").startswith("AssertionError: heard")
    assert not whole.is_told and not whole.schedule and whole.suspected is None
    assert (some.suspected or "").startswith("AssertionError: heard")
    assert some.violation is None and not some.complete


def can(graph, state, left, at, is_own):
    """What can happen at this place, or at all others."""
    return [one for one in graph.can_happen(state, left) if (one[1].place == at) is is_own]


@pytest.mark.parametrize(
    ("answer", "is_said"),
    [
        (Accepted(LED, 1, 2, 0), True),
        (Accepted(LED, 1, 3, 0), False),
        (Accepted(LED, 4, 4, 0), False),  # beyond a gap: it counts when that is closed
        (Accepted(LED, 1, 2, 2), False),  # of a heartbeat: it is answered
        (Accepted(Ballot(3, 1), 1, 2, 0), False),
        (Promise(LED, 0, 0, ()), True),
        (State(1, (LED,), (PAY,), 1), True),
        (State(2, (LED,), (PAY,), 2), False),
    ],
)
def test_answers_that_a_leader_needs_no_more(answer, is_said):
    assert _is_said(2, answer, Past(LED, 1, {2: 2, 3: 0})) is is_said


def test_whoever_stands_needs_each_answer_and_who_follows_none_to_what_it_led():
    assert not _is_said(2, Promise(LED, 0, 0, ()), Past(LED, 1, None))
    assert _is_said(2, Accepted(LED, 4, 4, 0), Past(LED, 1, {}))


def test_an_answer_behind_the_notice_of_a_death_is_of_another_life():
    graph = Graph(Bounds(elected=True), merges_said=True)
    leader, link = graph.sites[graph.first_state()[0]].own, graph.sites.link
    said = graph.turns.envelope(2, 1, Promise(Ballot(1, 1), 0, 0, ()))
    behind = link((graph.turns.envelope(2, 1, PeerDown(2, 1)), said))
    assert graph.sites._without_stale(link((said,)), leader) == EMPTY
    assert graph.sites._without_stale(behind, leader) == behind


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
    owners = Owners(graph.turns, graph.sites, graph.checkers)
    alike = Alike(graph.turns, graph.sites, graph.checkers, owners)
    states = {
        (explorer._unpacked(key), left)
        for key, left in zip(explorer._keys, explorer._budgets, strict=True)
    }
    renamed_states = 0

    def first_of(state, left):
        return alike.first_of(state, owners.of(state), graph.lefts[left][2])

    def after(state, left):
        return {
            first_of(graph.after(state, event, submitted), event.left)
            for submitted, event in graph.can_happen(state, left)
        }

    for state, left in sorted(states)[:: max(1, len(states) // 300)]:
        first = first_of(state, left)
        if first != state:
            renamed_states += 1
            assert after(first, left) == after(state, left)
    assert renamed_states


LOST = Bounds(requests=1, budget=Budget(drops=1))
DEATH = Bounds(requests=0, budget=Budget(elections=0, crashes=1), elected=True)
AGAIN = Bounds(requests=1, elected=True)


@pytest.mark.parametrize("bounds", [LOST, DEATH, AGAIN], ids=["a loss", "a death", "an election"])
def test_the_way_to_each_state_is_found_again_and_can_be_played(bounds):
    explorer = Explorer(bounds)
    found, graph, first_of = explorer.run(), explorer.graph, explorer._reduced.first_of
    for key, left in zip(explorer._keys, explorer._budgets, strict=True):
        assert first_of(explorer._unpacked(key), left) == explorer._unpacked(key)
    for node in range(0, len(explorer._keys), 1 + found.states // 10):
        way, found_by = (graph.first_state(), 0, []), explorer.ways()
        for one, other in pairwise(explorer.kept(node)):
            for goal in found_by.between(one, other):
                way = found_by.on(way, goal)
        state = graph.first_state()
        for move in way[2]:
            state = graph.play(state, move)
        wanted = explorer._unpacked(explorer._keys[node]), explorer._budgets[node]
        assert (first_of(state, wanted[1]), way[1]) == wanted


class First(Replica):
    """Only n1 sees a number in all that it reads."""

    def step(self, source, message, now):
        super().step(source, message, now)
        if self.replica == 1:
            self.acceptor.see(1)


def test_a_replica_that_goes_by_names_is_walked_under_all_of_them():
    bounds = Bounds(nodes=2, requests=1)
    found = Explorer(bounds, First).run()
    assert found.complete and found.unlike is not None
    assert found.states == Explorer(bounds, First, ALL.without_names()).run().states


class Ring(Replica):
    """Wrong where a leader reads a vote of its successor, if that has the greater name."""

    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self.peers = tuple(sorted(self.peers, key=lambda peer: (peer - self.replica) % 3))

    def step(self, source, message, now):
        super().step(source, message, now)
        heard = isinstance(message, Accepted) and isinstance(self.standing, Leader)
        assert not (heard and source == self.peers[0] > self.peers[1]), "it stumbles"


class Nobody(Replica):
    """Its field `peer` is -1 for nobody, and `told` a flag."""

    peer, told = -1, False

    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self.peer = self.peer


class Told(Nobody):
    """A flag, where ours has a dictionary."""

    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self.peer, self.told = 0, False


@pytest.mark.parametrize(
    ("kind", "why"),
    [(Ring, "in an order"), (Nobody, "-1 is where"), (Told, "something else")],
)
def test_a_replica_whose_fields_other_names_do_not_fit_is_walked_under_its_own(kind, why):
    found = Explorer(Bounds(requests=1), kind).run()
    assert why in (found.unlike or "")
    assert (found.violation is None) == (kind is not Ring)


def test_what_leaves_before_the_write_is_not_what_leaves_after_it():
    graph = Graph(Bounds())
    to_two = graph.turns.envelope(1, 2, Promise(LED, 0, 0, ()))
    to_three = graph.turns.envelope(1, 3, Promise(LED, 0, 0, ()))

    def does(*acts):
        step = graph.turns._step(1, acts)
        return outline(step, graph.turns.envelopes, (0, 1, 2, 3))

    two, three = Act(envelope=to_two), Act(envelope=to_three)
    between = Act(read=(2, Promise(LED, 0, 0, ())))
    assert does(two, between, three) != does(three, between, two)
    assert does(two, three, between) == does(three, two, between)


class Stumbles(Replica):
    """Wrong where a leader reads an answer that says nothing new, perhaps only as n3."""

    answer, who = Accepted, (1, 2, 3)

    def step(self, source, message, now):
        led = self.standing
        heard = isinstance(message, self.answer) and isinstance(led, Leader)
        if heard and isinstance(message, Accepted):
            heard = message.last_slot <= led.accepted_upto[source] and not message.asked_upto
        super().step(source, message, now)
        assert not heard or self.replica not in self.who, "it stumbles"


class Third(Stumbles):
    who = (3,)


class ThirdPromised(Third):
    answer = Promise


class ThirdCommitted(Replica):
    """Wrong as n3, once something is committed, where an answer was left out before that."""

    answer = Promise

    def step(self, source, message, now):
        super().step(source, message, now)
        led = isinstance(self.standing, Leader) and self.log.committed_upto
        assert not (led and isinstance(message, Promise) and self.replica == 3), "it stumbles"


PULSE = Bounds(requests=1, budget=Budget(heartbeats=1))


@pytest.mark.parametrize(
    ("kind", "bounds"),
    [
        (Stumbles, PULSE),
        (Third, PULSE),
        (ThirdPromised, Bounds(requests=1)),
        (ThirdCommitted, Bounds(requests=1)),
    ],
)
def test_an_answer_that_is_left_out_is_tried_under_all_names(kind, bounds):
    explorer = Explorer(bounds, kind)
    found = explorer.run()
    assert (found.violation or "").startswith("AssertionError: it stumbles")
    assert (found.unlike is None) == (kind is Stumbles)
    last, graph = found.schedule[-1], explorer.graph
    assert isinstance(graph.turns.envelopes[last.code >> 1].message, kind.answer)


class CountsAnswers(Replica):
    """Wrong where a leader hears again from who answered it, which happens in no schedule here."""

    def step(self, source, message, now):
        led = self.standing
        heard = isinstance(message, Promise) and isinstance(led, Leader)
        heard = heard and source in led.answered_at
        super().step(source, message, now)
        assert not heard, "it stumbles"


def test_a_replica_that_uses_what_is_forgotten_is_walked_without_forgetting():
    bounds, on = Bounds(requests=1), replace(ALL, said=False)
    explorer = Explorer(bounds, CountsAnswers, on)
    found = explorer.run()
    assert found.complete and found.violation is None and found.unlike is None
    assert found.distrusted == str(on.within(bounds))
    assert explorer.reductions == replace(on.within(bounds), forgetting=False)


def test_names_are_kept_where_they_are_compared():
    bounds = Bounds(requests=0, budget=Budget(elections=2))
    graph = Graph(bounds)
    owners = Owners(graph.turns, graph.sites, graph.checkers)
    alike = Alike(graph.turns, graph.sites, graph.checkers, owners)
    first, second = 1 << 1, 1 << 2
    assert [len(alike._kept(0, left)) for left in (0, 1, 2)] == [6, 6, 1]
    assert [len(alike._kept(first, left)) for left in (0, 1, 2)] == [6, 2, 1]
    assert [len(alike._kept(first | second, left)) for left in (0, 1, 2)] == [3, 1, 1]
