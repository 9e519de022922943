"""Whatever may go one way or another: who decides, and that it can be decided so again."""

from collections import Counter

import pytest

from bank.ballot import NO_BALLOT, Ballot
from bank.effects import Effects, Persist, Send
from bank.messages import Accept, Commit, NewView
from harness.cluster import draws, kill_points
from harness.cluster.choices import Seeded, between, happens, one_of, some_of
from harness.cluster.history import Operation
from harness.cluster.kill_points import INSTANTS, Instant
from harness.cluster.nemesis import LINK_FAULTS, MID_NEW_VIEW, Fail, LinkFault
from harness.sim.scenario import SwarmOptions, draw
from harness.sim.world import SimCluster

FIRST = Ballot(1, 1)


class Noted:
    """Somebody else decides; what is kept in `picks`, and out of how many."""

    def __init__(self, choices):
        self._choices = choices
        self.picks = []

    def pick(self, options):
        """See Choices."""
        picked = self._choices.pick(options)
        self.picks.append((picked, options))
        return picked


class Replayed:
    """As it was decided before; what was not asked then is decided by somebody else."""

    def __init__(self, picks, beyond):
        self._picks, self._beyond = iter(picks), beyond

    def pick(self, options):
        """See Choices. With fewer options than there were, the last of them."""
        picked, _ = next(self._picks, (-1, 0))
        return self._beyond.pick(options) if picked < 0 else min(picked, options - 1)


def run(choices, seed=3):
    """The lines of a world under faults of all links and processes."""
    lines, scenario = [], draw(seed, SwarmOptions())
    world = SimCluster(scenario.config, scenario.rules, sink=lines.append, choices=choices)
    world.start()
    world.set_clients_running(True)
    for client in scenario.config.accounts:
        world.submit(Operation((client, 0, "transfer", client, "A", 1), set_number=1))
    world.run_until(lambda: False, 300_000)
    return lines


def test_what_was_decided_can_be_decided_again():
    noted = Noted(Seeded("one"))
    first = run(noted)
    assert len(first) > 100 and len(noted.picks) > 100
    assert run(Replayed(noted.picks, Seeded("another"))) == first
    assert run(Seeded("another")) != first
    half = noted.picks[: len(noted.picks) // 2]
    branch = run(Replayed(half, Seeded("another")))
    assert branch != first and branch[:50] == first[:50]


def test_draws_reach_all_there_is_and_nothing_else():
    seed = Seeded(1)
    assert {between(seed, 3, 5) for _ in range(100)} == {3, 4, 5}
    assert {one_of(seed, "abc") for _ in range(100)} == set("abc")
    assert all(len(set(some_of(seed, range(5), 3))) == 3 for _ in range(20))
    assert 20 < sum(happens(seed, 0.4) for _ in range(100)) < 60
    assert not any(happens(seed, 0.0) for _ in range(100))
    assert all(happens(seed, 1.0) for _ in range(100))
    assert {Replayed([(7, 8)], seed).pick(3)} == {2}, "the last, where there are fewer now"


@pytest.mark.parametrize(
    "kind", ["crash", "kill", "pause", "disconnect", "cut", "partition", "links"]
)
def test_a_fault_hits_its_victim(kind):
    seed, found = Seeded(kind), Counter()
    for _ in range(200):
        fault = draws.fault(seed, kind, 2, 5, (0,))
        if isinstance(fault, Fail):
            assert fault.replica == 2 and fault.mode == draws.FAILING[kind]
        else:
            assert isinstance(fault, LinkFault)
            found[fault.kind] += 1
            found["of clients"] += any(0 in link for link in fault.links)
            assert not fault.links or any(2 in link for link in fault.links)
            assert fault.least <= fault.most
    kinds = {"cut": {"cut", "of clients"}, "partition": {"cut"}, "links": set(LINK_FAULTS)}
    assert set(+found) == kinds.get(kind, set())


# ---- where a turn ends ---------------------------------------------------------------------------


def effects(stores=True):
    """Three early messages, a write, two durable ones."""
    persist = Persist(NO_BALLOT, 0, False, [], None, 0, None) if stores else None
    early = [Send((2,), Commit(FIRST, 0)), Send((2, 3), NewView(FIRST, 1, (), 0))]
    return Effects(persist, early, [Send((2, 3), Accept(FIRST, 1, (), 0))])


@pytest.mark.parametrize("write_first", [False, True])
@pytest.mark.parametrize("stores", [False, True])
def test_a_turn_dies_after_each_number_of_acts(stores, write_first):
    turn, seen = effects(stores), set()
    for acts in range(6 + stores):
        cut = kill_points.after(acts, turn, write_first)
        assert cut.acts == min(acts, 5 + stores)
        early, durable = kill_points.letters(cut.early), kill_points.letters(cut.durable)
        assert not durable or (early == 3 and cut.writes == stores)
        assert cut.writes == (stores and acts > (0 if write_first else 3))
        seen.add((early, cut.writes, durable))
    assert len(seen) == 6 + stores


def test_instants_are_where_their_names_say():
    turn, seed = effects(), Seeded(1)
    cuts = {i: {kill_points.drawn(i, turn, seed).acts for _ in range(50)} for i in INSTANTS}
    assert cuts == {
        Instant.BEFORE_ALL: {0},
        Instant.AMONG_EARLY: {0, 1, 2},
        Instant.BEFORE_WRITE: {3},
        Instant.AFTER_WRITE: {4},
        Instant.AMONG_DURABLE: {4, 5},
        Instant.BEFORE_STORED: {6},
    }


def test_in_mid_new_view_the_first_that_lives_has_it():
    assert kill_points.cut_at(MID_NEW_VIEW, effects(), {2, 3}).acts == 2
    assert kill_points.cut_at(MID_NEW_VIEW, effects(), {3}).acts == 3, "n2 is dead"
