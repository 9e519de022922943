"""A replica that heeds what the explorer leaves out is found out, and walked with it."""

from dataclasses import replace

import pytest

from bank.ballot import Ballot
from bank.messages import Accepted, PeerDown, Promise
from bank.replica import Replica
from bank.standing import Leader, Settled
from harness.sim.explore import Explorer
from harness.sim.explore.graph import Bounds, Budget, Graph
from harness.sim.explore.reductions import ALL, NONE, Reduced
from harness.sim.explore.sites import Rule
from harness.sim.explore.trials import MOST_SHADOWS, Heeded, Trials


class Stumbles(Replica):
    """Wrong where `at` says so, in a turn in which nothing is wrong with ours."""

    @staticmethod
    def at(replica, source, message):
        raise NotImplementedError

    def step(self, source, message, now):
        stumbles = self.at(self, source, message)
        super().step(source, message, now)
        assert not stumbles, "it stumbles"


class OverAPromise(Stumbles):
    """A promise that a leader needs no more was left out before anything was committed."""

    @staticmethod
    def at(replica, source, message):
        led = isinstance(replica.standing, Leader)
        return led and isinstance(message, Promise) and replica.log.committed_upto > 0


class OverAnAnswerToAnother(Stumbles):
    """An answer to a ballot given up was left out before it followed another leader."""

    @staticmethod
    def at(replica, source, message):
        is_stale = isinstance(message, Accepted) and message.ballot < replica.promised
        return is_stale and isinstance(replica.standing, Settled)


class OverADeath(Stumbles):
    """A notice that nobody cares for was left out before anything was committed."""

    @staticmethod
    def at(replica, source, message):
        follows = isinstance(replica.standing, Settled)
        is_notice = isinstance(message, PeerDown) and message.peer != replica.promised.replica
        return follows and is_notice and replica.log.committed_upto > 0


class WithoutAnAnswer(Stumbles):
    """Who answered a leader is forgotten: all did."""

    @staticmethod
    def at(replica, source, message):
        led = replica.standing
        answered = isinstance(led, Leader) and len(led.answered_at) == 1
        return answered and isinstance(message, Accepted)


class StillWithoutAnAnswer(WithoutAnAnswer):
    """It shows some turns later only."""

    @staticmethod
    def at(replica, source, message):
        without = WithoutAnAnswer.at(replica, source, message)
        return without and replica.log.committed_upto > 0


class BehindADeath(Stumbles):
    """Who answered a leader is forgotten, and that a notice was read."""

    @staticmethod
    def at(replica, source, message):
        led = replica.standing
        alone = isinstance(led, Leader) and source not in led.answered_at
        return alone and isinstance(message, Accepted) and replica.log.committed_upto > 0


class InATurn(Replica):
    """It knows whether it read something in this turn."""

    reads_on = False

    def step(self, source, message, now):
        super().step(source, message, now)
        self.reads_on = True

    def flush(self):
        self.reads_on = False
        return super().flush()


DEATH = Bounds(requests=1, budget=Budget(elections=0, crashes=1), elected=True)
FORGETTING = replace(ALL, said=False)
HEEDING = {
    OverAPromise: (Rule.SAID, Bounds(requests=1), ALL),
    OverAnAnswerToAnother: (
        Rule.STALE,
        Bounds(requests=0, budget=Budget(elections=2, heartbeats=1), elected=True),
        replace(NONE, names=True),
    ),
    OverADeath: (Rule.FORGOTTEN, DEATH, FORGETTING),
    WithoutAnAnswer: (Rule.FORGOTTEN, Bounds(requests=1), FORGETTING),
    StillWithoutAnAnswer: (
        Rule.FORGOTTEN,
        Bounds(requests=1, budget=Budget(heartbeats=1)),
        FORGETTING,
    ),
    BehindADeath: (Rule.FORGOTTEN, DEATH, FORGETTING),
}


@pytest.mark.parametrize("kind", HEEDING)
def test_a_replica_that_heeds_what_is_left_out_is_walked_without(kind):
    rule, bounds, reductions = HEEDING[kind]
    found = Explorer(bounds, kind, reductions).run()
    assert "it stumbles" in (found.violation or "")
    assert found.heeded == rule.value


def test_what_is_left_out_is_read_in_one_turn_with_others_as_well():
    graph = Graph(Bounds(elected=True, budget=Budget(batches=1)), InATurn)
    trials = Reduced(graph, NONE).trials
    leader = graph.sites[graph.first_state()[0]].own
    promise = graph.turns.envelope(2, 1, Promise(Ballot(1, 1), 0, 0, ()))
    assert graph.turns.take(leader, promise * 2).after == leader
    trials.left_out(leader, promise, Rule.SAID)
    with pytest.raises(Heeded, match=Rule.SAID.value):
        trials.look()


def test_a_state_that_gets_more_and_more_shadows_ends_the_walk():
    graph = Graph(Bounds(elected=True))
    endless = Reduced(graph, NONE).trials
    own = graph.sites[graph.first_state()[0]].own
    endless.forgotten = lambda own, alone: 0
    for owners in range(MOST_SHADOWS):
        endless._shadow(own + 1, own, owners)
    with pytest.raises(Heeded, match=Rule.FORGOTTEN.value):
        endless._shadow(own + 1, own, MOST_SHADOWS)


def test_time_runs_out_in_a_look_too():
    trials, done = Reduced(Graph(Bounds()), NONE).trials, []
    trials._todo.extend([lambda: done.append(1)] * 1000)
    assert not trials.look(lambda: len(done) > 100)
    assert 100 < len(done) < 200
    assert trials.look()


def test_every_rule_that_was_given_up_is_told(monkeypatch):
    rules = iter([Rule.FORGOTTEN, Rule.SAID])

    def look(trials, is_over):
        if rule := next(rules, None):
            raise Heeded(rule)
        return True

    monkeypatch.setattr(Trials, "look", look)
    found = Explorer(Bounds(nodes=2, requests=0)).run()
    assert found.complete
    assert found.heeded == f"{Rule.FORGOTTEN.value} and {Rule.SAID.value}"


OURS = {
    "one request": Bounds(requests=1),
    "two lead": Bounds(requests=0, budget=Budget(heartbeats=1), elected=True),
    "a death": DEATH,
    "two led": Bounds(nodes=2, requests=0, budget=Budget(crashes=1, heartbeats=1), elected=True),
}


@pytest.mark.parametrize("bounds", OURS.values(), ids=OURS)
def test_our_replica_heeds_nothing(bounds):
    found = Explorer(bounds).run()
    assert found.complete
    assert (found.unlike, found.heeded, found.distrusted) == (None, None, None)
