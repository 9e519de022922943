"""Links of which only some are whole: who is able to lead, does, and ballots rest (rule 12).

The swarm draws such topologies together with everything else; here are the ones with a name.
"""

from itertools import permutations

import pytest

from harness.cluster.history import Operation
from harness.cluster.links import LEADS_WITHIN_US, Links
from harness.cluster.nemesis import Heal, LinkFault
from harness.files.config import ClusterConfig
from harness.sim.topologies import (
    bridge,
    chain,
    every_link,
    one_way_ring,
    ring,
    star,
    two_centres,
)
from harness.sim.world import SimCluster

SECOND = 1_000_000
EVERYBODY_OF_FIVE = {1, 2, 3, 4, 5}
# Name: replicas, whole links, who hears a quorum both ways, who hears all of these.
ABLE = {
    "whole": (5, every_link(5), EVERYBODY_OF_FIVE, EVERYBODY_OF_FIVE),
    "star of 3": (3, star(3), {1, 2, 3}, {1}),
    "star of 5": (5, star(5), {1}, EVERYBODY_OF_FIVE),
    "star of 7": (7, star(7), {1}, set(range(1, 8))),
    "star of 9": (9, star(9), {1}, set(range(1, 10))),
    "bridge": (5, bridge(5), EVERYBODY_OF_FIVE, {3}),
    "two centres of 5": (5, two_centres(5), EVERYBODY_OF_FIVE, set()),
    "two centres of 7": (7, two_centres(7), {1, 2}, {3, 4, 5, 6, 7}),
    "two centres that hear each other": (
        7,
        two_centres(7) | {(1, 2), (2, 1)},
        {1, 2},
        set(range(1, 8)),
    ),
    "ring of 5": (5, ring(5), EVERYBODY_OF_FIVE, set()),
    "chain of 3": (3, chain(3), {1, 2, 3}, {2}),
    "chain of 5": (5, chain(5), {2, 3, 4}, {3}),
    "partition": (5, every_link(3), {1, 2, 3}, {1, 2, 3}),
    "one is dumb": (5, every_link(5) - {(1, r) for r in (2, 3, 4, 5)}, {2, 3, 4, 5}, {2, 3, 4, 5}),
}
UNABLE = {
    "ring of 7": (7, ring(7)),
    "ring of 9": (9, ring(9)),
    "chain of 7": (7, chain(7)),
    "chain of 9": (9, chain(9)),
    "three minorities": (7, every_link(3) | {(4, 5), (5, 4), (6, 7), (7, 6)}),
    "one-way ring of 5": (5, one_way_ring(5)),
    "nothing": (3, frozenset()),
}


def without(nodes, whole):
    """The fault that leaves these links."""
    return LinkFault("cut", every_link(nodes) - whole)


def links_of(nodes, whole):
    links = Links()
    links.apply(without(nodes, whole))
    return links


# ---- the predicate -------------------------------------------------------------------------------


@pytest.mark.parametrize(("nodes", "whole", "able", "in_touch"), ABLE.values(), ids=ABLE)
def test_who_hears_a_quorum_both_ways_is_able(nodes, whole, able, in_touch):
    links, everybody = links_of(nodes, whole), range(1, nodes + 1)
    assert links.able(everybody, nodes) == able
    assert links.in_touch(everybody, nodes) == in_touch


@pytest.mark.parametrize(("nodes", "whole"), UNABLE.values(), ids=UNABLE)
def test_where_nobody_hears_a_quorum_nobody_is_able(nodes, whole):
    links, everybody = links_of(nodes, whole), range(1, nodes + 1)
    assert not links.able(everybody, nodes)
    assert links.in_touch(everybody, nodes) == set(everybody), "nothing is decided: nobody lags"


def test_who_is_not_live_is_in_nobodys_quorum():
    links = links_of(5, star(5))
    assert links.able([1, 2, 3], 5) == {1}
    assert not links.able([2, 3, 4, 5], 5) and not links.able([1, 2], 5)
    assert Links().able([1, 2, 3], 5) == {1, 2, 3} and not Links().able([1, 2], 5)


# ---- in the simulator ----------------------------------------------------------------------------


class Field:
    """A simulated cluster whose clients ask again and again."""

    def __init__(self, nodes, seed):
        config = ClusterConfig(nodes=nodes, seed=seed, initial_balance=100, trace_messages=0)
        self.world = SimCluster(config)
        self.world.start()
        self.world.set_clients_running(True)

    def ask(self):
        asked = [Operation((name, 0, "transfer", name, "J", 1), set_number=1) for name in "ABC"]
        for operation in asked:
            self.world.submit(operation)
        return asked

    def answers(self, asked, within):
        """All of these are answered and somebody leads, in time."""
        return self.world.run_until(
            lambda: all(o.is_answered for o in asked) and self.world.leader() is not None, within
        )

    def highest_number(self):
        return max(process.replica.acceptor.seen for process in self.world.processes.values())

    def rests(self):
        """From a few seconds on nobody takes a number."""
        self.world.run_until(lambda: False, 2 * LEADS_WITHIN_US)
        before = self.highest_number()
        self.world.run_until(lambda: False, 5 * SECOND)
        return self.highest_number() == before


@pytest.mark.parametrize("was_led", [False, True], ids=["no leader yet", "led before"])
@pytest.mark.parametrize(("nodes", "whole", "able", "in_touch"), ABLE.values(), ids=ABLE)
def test_in_an_able_cluster_one_leads_in_time_and_ballots_rest(
    nodes, whole, able, in_touch, was_led
):
    for places in ([*range(nodes)], [*range(nodes - 1, -1, -1)]):  # n1 leads first, where it can
        field = Field(nodes, seed=1)
        if was_led:
            assert field.answers(field.ask(), SECOND)
        moved = frozenset((places[a - 1] + 1, places[b - 1] + 1) for a, b in whole)
        field.world.apply(without(nodes, moved))
        assert field.answers(field.ask(), LEADS_WITHIN_US)
        assert field.rests()
        assert field.world.leader() in {places[r - 1] + 1 for r in able}
        assert field.answers(field.ask(), SECOND), "clients know the leader"
        knowing = [places[r - 1] + 1 for r in in_touch]
        assert field.world.run_until(
            lambda f=field, k=knowing: len({f.world.executed_upto(r) for r in k}) <= 1, SECOND
        )


@pytest.mark.parametrize("was_led", [False, True], ids=["no leader yet", "led before"])
@pytest.mark.parametrize(("nodes", "whole"), UNABLE.values(), ids=UNABLE)
def test_where_nobody_is_able_nothing_is_decided_and_ballots_rest(nodes, whole, was_led):
    field = Field(nodes, seed=1)
    if was_led:
        assert field.answers(field.ask(), SECOND)
    field.world.apply(without(nodes, whole))
    asked = field.ask()
    assert field.rests()
    assert not any(operation.is_answered for operation in asked) and field.world.leader() is None
    assert field.highest_number() <= 1 + nodes, "each took one number at the most"
    field.world.apply(Heal())
    assert field.answers(asked, LEADS_WITHIN_US), "and all is well as soon as links are"


def test_whoever_led_before_the_centre_of_a_star_leads_in_time():
    """All ways to cut five replicas to a star and to another one, without a pause between."""
    for first, second in permutations(range(1, 6), 2):
        field = Field(5, seed=first)
        for centre in (first, second):
            field.world.apply(Heal())
            whole = frozenset(link for link in every_link(5) if centre in link)
            field.world.apply(without(5, whole))
            assert field.answers(field.ask(), LEADS_WITHIN_US), (first, second)
        assert field.world.leader() == second
