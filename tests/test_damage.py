"""A row that was changed on a replica's disk: who has another history than a majority stops.

Replicas that have the majority's go on and answer. Where there is no majority, nobody can tell
who is right: all go on, nobody forgets anything, and the run is not valid.
"""

import json

import pytest
from conductor import TEN_EACH, Conductor, transfer

from bank.effects import Persist, Run
from bank.messages import CheckpointHash
from bank.settings import Settings
from bank.status import Role
from harness.check.judges import judge_run
from harness.check.verdict import Verdict
from harness.cluster.driver import CommitLog, ReplicaView
from harness.cluster.journal import Liveness
from harness.files.config import ClusterConfig
from harness.files.testset import load
from harness.live.cluster import LiveCluster
from harness.live.storage import Owner, Storage
from harness.run.runner import Runner

SHORT = Settings(checkpoint_interval=4, checkpoint_pause=0, keep_slots=2)
PATIENCE = 40  # heartbeats until a request is answered
DAMAGED = 6  # the slot; above the first checkpoint, below the second


def run(c, timestamps):
    """A's transfers, one after the other, asked of everybody."""
    for timestamp in timestamps:
        for _ in range(PATIENCE):
            c.request(c.everyone, transfer("A", "B", 1, timestamp))
            c.run(45)
            if any(answer[1] == timestamp for answer in c.answers("A")):
                break
    c.run(3 * 45)


def damaged(replicas, victims, leader, change="C"):
    """Six slots; then all are stopped, the victims' rows changed, and all but `leader` idle."""
    c = Conductor(replicas, SHORT)
    c.elect(1)
    run(c, range(1, DAMAGED + 1))
    for replica in c.everyone:
        c.crash(replica, noticed=False)
    for number, victim in enumerate(victims):
        ballot, request = c.disks[victim].rows[DAMAGED]
        receiver = change[number % len(change)]
        c.disks[victim].rows[DAMAGED] = ballot, (*request[:4], receiver, request[5])
    for replica in c.everyone:
        c.restart(replica)
    c.expire(leader)
    c.deliver_all()
    assert c.leaders() == [leader]
    return c


def judged(c):
    statuses = [c.status(r) for r in c.everyone if r in c.replicas]
    views = [ReplicaView(s.replica, Liveness.LIVE, s, s.role is Role.LEADER) for s in statuses]
    log = CommitLog()
    return judge_run(TEN_EACH, log, (), views)[0]


def assert_only_these_stop(c, victims):
    """The damaged ones are dead; the others answered all, are equal, and forget what is old."""
    sound = [replica for replica in c.everyone if replica not in victims]
    assert sorted(c.replicas) == sound
    answers = [answer for answer in c.answers("A") if answer[1] > DAMAGED]
    assert {answer[1] for answer in answers} == set(range(DAMAGED + 1, 21))
    assert len({(c.status(r).digest, c.status(r).executed_upto) for r in sound}) == 1
    for replica in sound:
        status = c.status(replica)
        assert status.balances["B"] == 10 + 10 and status.checkpoint >= 20
        assert status.truncated_upto == status.checkpoint - 2
    seen = {c.status(replica).differs for replica in sound} - {None}
    assert seen, "some sound replica has seen that another differs"
    assert judged(c).verdict is Verdict.INVALID


@pytest.mark.parametrize("replicas", [3, 5, 7])
@pytest.mark.parametrize("leader", [1, 2], ids=["of the leader", "of a backup"])
def test_a_damaged_row(replicas, leader):
    c = damaged(replicas, victims=[1], leader=leader)
    run(c, range(7, 21))
    assert_only_these_stop(c, [1])


@pytest.mark.parametrize("change", ["C", "CD"], ids=["alike", "differently"])
@pytest.mark.parametrize("leader", [1, 3], ids=["one of them leads", "both follow"])
def test_two_of_five_are_damaged(change, leader):
    c = damaged(5, victims=[1, 2], leader=leader, change=change)
    run(c, range(7, 21))
    assert_only_these_stop(c, [1, 2])


@pytest.mark.parametrize(
    ("replicas", "victims", "away"),
    [(3, [1], [3]), (4, [1, 2], []), (5, [1, 2], [5]), (5, [1, 2, 3, 4], []), (7, [1, 2, 3], [7])],
    ids=["1:1 of 3", "2:2 of 4", "2:2 of 5", "2:2:1 of 5", "3:3 of 7"],
)
@pytest.mark.parametrize("leads", ["damaged", "sound"])
def test_without_a_majority_nobody_forgets_anything(replicas, victims, away, leads):
    leader = victims[0] if leads == "damaged" else replicas - len(away)
    c = damaged(replicas, victims, leader, change="CDCD" if len(victims) == 4 else "C")
    c.disconnect(*away)
    before = {r: c.status(r).truncated_upto for r in c.everyone}
    run(c, range(7, 21))
    live = [replica for replica in c.everyone if replica not in away]
    assert sorted(c.replicas) == list(c.everyone), "nobody can tell who is right"
    for replica in live:
        status = c.status(replica)
        assert status.executed_upto >= 20 and status.truncated_upto == before[replica] == 2
        assert status.checkpoint == 4 and "history differs" in status.differs
    assert judged(c).verdict is Verdict.INVALID


def test_the_third_decides_when_it_is_back():
    c = damaged(3, victims=[1], leader=1)
    c.disconnect(3)
    run(c, range(7, 10))
    assert sorted(c.replicas) == [1, 2, 3]
    # What it lacks it gets from the sound one: n1 says nothing to it but hashes.
    c.loses = lambda source, to, message: (
        {source, to} == {1, 3} and not isinstance(message, CheckpointHash)
    )
    c.reconnect(3)
    run(c, range(10, 21))
    assert_only_these_stop(c, [1])


def test_a_damaged_replica_lends_no_checkpoint_that_nobody_else_has():
    c = damaged(3, victims=[1], leader=1)
    c.loses = lambda source, to, message: isinstance(message, CheckpointHash)
    run(c, range(7, 13))
    assert c.status(1).executed_upto >= 12 and c.status(1).checkpoint == 4
    assert c.disks[1].checkpoint.slot == 4, "nor does it store one"


def test_damage_is_gone_where_a_checkpoint_replaces_it():
    c = damaged(3, victims=[1], leader=2)
    c.disconnect(1)
    run(c, range(7, 13))
    c.reconnect(1)  # what it lacks is truncated everywhere
    run(c, range(13, 21))
    assert sorted(c.replicas) == [1, 2, 3]
    assert judged(c).verdict is Verdict.UNKNOWN  # nobody reports here; a difference is invalid
    assert len({c.status(replica).digest for replica in c.everyone}) == 1


def live_run(tmp_path, config, transfers, stops=None):
    """So many transfers of A in one set on the kept folder; report, runner, and views at the end.

    With `stops`, the end is when this replica has halted.
    """
    path = tmp_path / "case.csv"
    path.write_text(f'1,"{"; ".join(["(A, B, 1)"] * transfers)}","[n1, n2, n3]"\n')
    sets = load(path, config)
    cluster = LiveCluster(config, tmp_path / "data")
    try:
        runner = Runner(cluster, config, sets)
        cluster.start()
        report = runner.run_next()
        if stops is not None:  # at one of the next heartbeats, when a majority has told its hash
            cluster.run_until(lambda: cluster.liveness(stops) is Liveness.STOPPED, 60_000_000)
        return report, runner, cluster.views()
    finally:
        cluster.stop()


def test_a_damaged_row_on_real_processes(tmp_path):
    config = ClusterConfig(
        nodes=3, seed=4, checkpoint_interval=4, checkpoint_pause_ms=0, keep_slots=2
    )
    _, runner, _ = live_run(tmp_path, config, DAMAGED)
    assert runner.verdict() is Verdict.VALID
    cluster = json.loads((tmp_path / "data" / "cluster.json").read_text())["cluster"]
    storage = Storage(
        tmp_path / "data" / "n1.db", "process", Owner("n1", cluster), config.balances().accounts
    )
    stored = storage.load()
    slot, ballot, request = stored.entries[-1]
    changed = Run(slot, ballot, ((*request[:4], "C", request[5]),))
    storage.commit(Persist(stored.promised, stored.seen, False, [changed], None, 0, slot))
    storage.close()
    report, runner, (n1, n2, n3) = live_run(tmp_path, config, 12, stops=1)
    assert [step.outcome for step in report.steps if step.text != "LF"] == ["success"] * 4 + [
        "failed"
    ] * 8
    assert n1.liveness is Liveness.STOPPED and "differs from that of n2, n3 at" in n1.trouble
    assert n2.liveness is n3.liveness is Liveness.LIVE
    assert n2.status.balances == n3.status.balances and n2.status.balances["B"] == 20
    assert runner.verdict() is Verdict.INVALID
    (reason,) = (j.reason for j in report.judgements if j.check == "agreement")
    assert "n2 has committed" in reason and "another replica" in reason
