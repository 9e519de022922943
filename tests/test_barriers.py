"""What a wait counts as progress, for how long it waits without, and what it says then."""

from types import SimpleNamespace

import pytest

from harness.cluster.journal import Liveness
from harness.files.config import ClusterConfig
from harness.run.barriers import SLICE_US, Barriers
from harness.run.standing import Standing
from harness.run.timing import Timing

CONFIG = ClusterConfig(nodes=3, patience_ms=2000, progress_ms=1000)
LIVE, DEAD = Liveness.LIVE, Liveness.CRASHED


class FakeCluster:
    """Three replicas; `story(seconds)` says how they stand by then."""

    replicas = 3
    is_external = False

    def __init__(self, story):
        self.at, self.story = 0, story

    @property
    def seen(self):
        usual = {"left": 0, "upto": 0, "executed": (0, 0, 0), "live": (1, 2, 3)}
        return SimpleNamespace(**usual | self.story(self.at / 1e6))

    def now(self):
        return self.at

    def leader(self):
        return 1

    def pending(self):
        return []

    def trouble(self, replica):
        return None

    def unanswered(self):
        return self.seen.left

    def answered_upto(self):
        return self.seen.upto

    def executed_upto(self, replica):
        return self.seen.executed[replica - 1]

    def is_settled(self, replicas, upto, for_leader):
        return all(self.executed_upto(replica) >= upto for replica in replicas)

    def liveness(self, replica):
        return LIVE if replica in self.seen.live else DEAD

    def run_until(self, condition, timeout):
        if condition():
            return True
        self.at += timeout
        assert self.at < 200_000_000, "it waits for ever"
        return condition()


def waited(story, meant=(1, 2, 3)):
    """Seconds until the wait ends, and what was wrong with it."""
    cluster = FakeCluster(story)
    standing = Standing(cluster)
    standing.begin_set(meant, frozenset())
    barriers = Barriers(cluster, CONFIG, standing, Timing(cluster.now), lambda: None)
    barriers.wait_for("the end")
    return cluster.at / 1e6, barriers.stuck


def test_answers_that_come_one_by_one_are_waited_for_however_long_all_of_them_take():
    seconds, stuck = waited(lambda at: {"left": max(0, 100 - int(at / 0.9))})
    assert seconds >= 90 and stuck == []


def test_nothing_answered_for_progress_ms_ends_it_from_the_last_answer_on():
    seconds, stuck = waited(lambda at: {"left": 7 if at < 3 else 5})
    assert seconds == pytest.approx(1) and stuck == [
        "the end: waited 1000 ms for an answer, 7 requests without one"
    ]
    seconds, stuck = waited(lambda at: {"left": 7 - int(at) if at < 0.95 else 5})
    assert seconds == pytest.approx(2) and stuck == [
        "the end: waited 1000 ms since the last answer, 5 requests without one"
    ]


def test_only_time_counts_in_which_a_majority_is_able_to_answer():
    def story(at):
        return {"left": 3 if at < 2.6 else 0, "live": (1,) if at < 1.8 else (1, 2)}

    seconds, stuck = waited(story)
    assert seconds == pytest.approx(2.6) and stuck == []


def test_patience_counts_from_the_moment_at_which_nobody_hears_a_quorum():
    def story(at):
        return {"left": 9 if at > 2.95 else 30 - int(at * 10), "live": (1, 2) if at < 3 else (1,)}

    seconds, stuck = waited(story)
    assert seconds == pytest.approx(5) and stuck == [
        "the end: no quorum is left of those that should be live, 9 requests without one"
    ]
    assert waited(story, meant=(1,)) == (seconds, []), "nobody else is meant to be there"


def test_who_still_executes_what_was_answered_makes_progress():
    def story(at):
        return {"upto": 50, "executed": (50, 50, min(50, 10 * int(at / 0.9)))}

    seconds, stuck = waited(story)
    assert seconds >= 4.5 and stuck == []


def test_what_nobody_asked_for_is_no_progress_though_it_is_executed():
    def story(at):
        return {"upto": 50, "executed": (50 + int(at * 100), 50, 30)}

    seconds, stuck = waited(story)
    assert seconds == pytest.approx(1) and stuck == [
        "the end: waited 1000 ms for an answer, n3 did not execute slot 50"
    ]

    def unanswered(at):
        return {"left": 2, "executed": (int(at * 100),) * 3}

    seconds, stuck = waited(unanswered)
    assert seconds == pytest.approx(1) and "2 requests without one" in stuck[0]
    assert SLICE_US <= 100_000, "what is found is found in time"
