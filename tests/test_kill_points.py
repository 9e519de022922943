"""Named kill points under a runner, on processes and in the simulator: who dies, and returns."""

import pytest
from fields import Field, started

from bank.messages import NewView
from harness.cluster.journal import Liveness, Passed, Way
from harness.cluster.nemesis import (
    AFTER_WRITE,
    BEFORE_COMMIT,
    BEFORE_WRITE,
    MID_CATCH_UP,
    MID_CHECKPOINT,
    MID_NEW_VIEW,
    POINTS,
    Fail,
    FailLeader,
    Heal,
    KillAt,
    LinkFault,
    Recover,
)
from harness.files.cases import Command, Wait

A, B, C = (Command("transfer", name, "J", 1) for name in "ABC")


@pytest.fixture(params=["live", "sim"])
def field(request):
    """Runs sets on a cluster; see Points."""
    # Who stands first after a death does so long before the next, however slow the machine is.
    # Nor is anybody taken for dead who only waits for a processor.
    timing = {"election_timeout_ms": (1500, 2000), "stagger_ms": 400, "patience_ms": 300}
    keeps = {"checkpoint_interval": 2, "checkpoint_pause_ms": 0}
    with started(request.param, **keeps, **timing) as cluster:
        yield Points(*cluster)


class Points(Field):
    """It has a leader that executed slot 1."""

    def __init__(self, cluster, config):
        super().__init__(cluster, config)
        self.leader = self.led_after(A)
        self.next = min({1, 2} - {self.leader})  # stands first when the leader dies

    def die(self, point):
        """A set in which the leader, or the next one, dies at this point; who did."""
        actions = (FailLeader(point), B, C)
        if point == MID_NEW_VIEW:
            actions = (KillAt(self.next, point), Fail(self.leader, "crash"), B, C)
        elif point == MID_CHECKPOINT:  # it is written when a majority has the same hash
            actions = (FailLeader(point), B, C, Wait(200_000))
        elif point == MID_CATCH_UP:  # deposed behind a cut, it has something to catch up with
            actions = (FailLeader(point), self.isolated(), B, C, Heal(), Wait(200_000))
        report = self.run(*actions)
        killed = next(step for step in report.steps if point in step.text)
        assert killed.outcome == "done"
        assert [s.outcome for s in report.steps if s.text.startswith("(")] == ["success"] * 2
        return report, killed.node

    def isolated(self):
        others = [other for other in range(1, 6) if other != self.leader]
        links = {(self.leader, other) for other in others}
        return LinkFault("cut", frozenset(links | {(to, source) for source, to in links}))


@pytest.mark.parametrize("point", POINTS)
def test_a_leader_dies_at_its_point_and_returns_from_its_disk(field, point):
    report, victim = field.die(point)
    assert victim == (field.next if point == MID_NEW_VIEW else field.leader)
    assert report.views[victim - 1].liveness is Liveness.CRASHED
    assert report.views[victim - 1].trouble is None, "that was asked for"
    if point in (BEFORE_WRITE, AFTER_WRITE, BEFORE_COMMIT, MID_CHECKPOINT):  # at slot 2
        mark = field.cluster.slots(victim, [2])[0].mark.value
        # By the time of a checkpoint a heartbeat may have stored that it is committed.
        assert mark in {BEFORE_WRITE: "X", MID_CHECKPOINT: "AE"}.get(point, "A")
        assert report.views[victim - 1].status.checkpoint == 0
    again = field.run(A)
    assert [view.liveness for view in again.views] == [Liveness.LIVE] * 5
    assert len({(v.status.executed_upto, v.status.digest) for v in again.views}) == 1


def test_one_peer_read_the_new_view_of_who_died_in_the_middle_of_it(field):
    _, victim = field.die(MID_NEW_VIEW)
    readers = [
        event.peers
        for replica in range(1, 6)
        for _, event in field.cluster.traces().of_set(replica)[0]
        if isinstance(event, Passed) and event.way is Way.READ
        if isinstance(event.message, NewView)
    ]
    assert readers.count((victim,)) == 1


def test_who_does_not_pass_its_point_is_spared(field):
    reports = [field.run(FailLeader(MID_CATCH_UP), B), field.run(FailLeader(BEFORE_COMMIT))]
    for report in (*reports, field.run(C)):
        assert report.steps[0].outcome == ("not-reached" if report in reports else "success")
        assert [view.liveness for view in report.views] == [Liveness.LIVE] * 5


def test_who_passes_its_point_before_it_hears_that_it_is_spared_died_there(field, monkeypatch):
    """It was said to be spared, and then a replica that should be live was not."""
    apply = field.cluster.apply

    def passes(fault):
        if fault == KillAt(4, None):
            apply(Fail(4, "crash"))
        return apply(fault)

    monkeypatch.setattr(field.cluster, "apply", passes)
    report = field.run(KillAt(4, MID_CATCH_UP), B)
    assert [step.outcome for step in report.steps] == ["done", "success"]
    assert report.views[3].liveness is Liveness.CRASHED
    assert [view.liveness for view in field.run(C).views] == [Liveness.LIVE] * 5


def test_dying_otherwise_is_not_reaching_the_point(field):
    report = field.run(KillAt(4, MID_CATCH_UP), Fail(4, "crash"), KillAt(4, BEFORE_WRITE), B)
    outcomes = [step.outcome for step in report.steps]
    assert outcomes == ["not-reached", "done", "not-reached", "success"]


def test_a_backup_that_died_at_its_point_may_return_in_the_same_set(field):
    report = field.run(KillAt(4, AFTER_WRITE), B, Recover(4), C)
    assert [step.outcome for step in report.steps] == ["done", "success", "done", "success"]
    assert [view.liveness for view in report.views] == [Liveness.LIVE] * 5
    assert len({view.status.digest for view in report.views}) == 1
