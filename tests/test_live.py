"""Real processes: failures, recovery from disk, resuming, and nothing left behind."""

import json
import os
import signal
from pathlib import Path

import pytest
from processes import PATIENCE, wait_for

from harness.bench.measuring import LoadedFleet
from harness.check.verdict import Verdict, overall
from harness.cluster.journal import Liveness, LivenessChanged, PeerDied, QueueReplaced
from harness.cluster.nemesis import Fail, FailLeader, Recover, SetLive
from harness.errors import HarnessError
from harness.files.config import ClusterConfig
from harness.files.testset import load
from harness.live.cluster import LiveCluster
from harness.run.runner import Runner

CALM_MS = (1000, 1500)  # nobody is taken for dead who only waits for a processor
PATIENCE_US = round(PATIENCE * 1e6)
TEN_SETS = Path(__file__).parents[1].parent / "shared" / "testsets" / "ten-sets.csv"


def run_file(path, config, data=None):
    """All reports of a file, and the committed slots of every replica that still lives."""
    sets = load(path, config)
    cluster = LiveCluster(config, data)
    try:
        # As `cli` does: a pending request may be answered as soon as replicas run.
        runner = Runner(cluster, config, sets)
        cluster.start()
        reports = [runner.run_next() for _ in sets.sets]
        marks = {
            replica: "".join(s.mark.value for s in cluster.slots(replica, range(1, 12)))
            for replica in range(1, config.nodes + 1)
        }
        return reports, runner, marks
    finally:
        cluster.stop()


def write(tmp_path, text):
    path = tmp_path / "case.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize("failure", ["disconnect", "crash", "pause"])
def test_ten_sets_reach_the_derived_results(failure):
    if not TEN_SETS.exists():
        pytest.skip("the grading file is not beside this checkout")
    expected = json.loads(TEN_SETS.with_suffix(".expected.json").read_text())["sets"]
    # Checkpoints every 10 slots, so that truncated slots print as executed as well.
    config = ClusterConfig(failure=failure, seed=3, checkpoint_interval=10, keep_slots=10)
    reports, runner, marks = run_file(TEN_SETS, config)
    assert runner.verdict() is Verdict.VALID
    for report, wanted in zip(reports, expected, strict=True):
        outcomes = [step.outcome for step in report.steps if step.text.startswith("(")]
        assert outcomes == [transfer["outcome"] for transfer in wanted["transfers"]]
        for view in report.views:
            if view.liveness is Liveness.LIVE:
                assert view.status.balances == wanted["balances"], f"set {report.number}"
    assert len({step.node for step in reports[8].steps if step.text == "LF"}) == 2
    assert [report.steps[0].carried_from for report in reports] == [
        None, None, None, None, None, 5, None, None, 8, None,
    ]  # fmt: skip
    assert set(marks.values()) == {"E" * 11}


def test_a_replica_killed_from_outside_is_missed_by_nobody_and_comes_back(tmp_path):
    text = '1,"(A, B, 1)","[n1, n2, n3]"\n2,"(B, A, 1)","[n1, n2, n3]"\n'
    config = ClusterConfig(nodes=3, seed=1)
    sets = load(write(tmp_path, text), config)
    cluster = LiveCluster(config)
    try:
        cluster.start()
        runner = Runner(cluster, config, sets)
        runner.run_next()
        victim = cluster.fleet.handles[3].process
        assert victim is not None and victim.pid is not None
        os.kill(victim.pid, signal.SIGKILL)
        assert cluster.run_until(lambda: cluster.liveness(3) is Liveness.CRASHED, PATIENCE_US)
        report = runner.run_next()
    finally:
        cluster.stop()
    assert [view.liveness for view in report.views] == [Liveness.LIVE] * 3
    assert len({view.status.digest for view in report.views}) == 1
    assert runner.verdict() is Verdict.VALID


def test_a_replica_killed_with_a_full_queue_harms_nobody():
    """A pipe that breaks while frames wait for it is readable and writable in the same instant."""
    config = ClusterConfig(nodes=3, seed=4, initial_balance=10**6, queue_buffer_kib=512)
    fleet = LoadedFleet(config, clients=100)
    with fleet.running():
        fleet.go()
        for _ in range(5):
            fleet.fleet.change([3], [], "pause")
            fleet.sleep(0.3)  # at full speed: far more than a pipe takes
            fleet.fleet.change([3], [], "crash")
            fleet.sleep(0.05)
            fleet.recover(3)
        judgements = fleet.finish()
        assert {h.trouble for h in fleet.fleet.handles.values()} == {None}
    assert overall(judgements) is Verdict.VALID, judgements


@pytest.mark.parametrize("mode", ["disconnect", "crash", "pause"])
def test_a_leader_that_returns_does_not_depose_its_successor(mode):
    config = ClusterConfig(nodes=3, seed=5, election_timeout_ms=CALM_MS)
    cluster = LiveCluster(config)
    try:
        cluster.start()
        cluster.seek_leader()
        assert cluster.run_until(lambda: cluster.leader() is not None, PATIENCE_US)
        first = cluster.leader()
        assert first is not None
        assert cluster.apply(Fail(first, mode)) == (first,)
        assert cluster.run_until(lambda: cluster.leader() not in (None, first), PATIENCE_US)
        second = cluster.leader()
        assert cluster.apply(Recover(first)) == (first,)
        assert cluster.leader() == second
        ballot = cluster.views()[first - 1].status.promised
        assert cluster.run_until(
            lambda: cluster.views()[first - 1].status.following.replica == second, PATIENCE_US
        ), ballot
        assert cluster.leader() == second
        told = [
            e.liveness
            for _, e in cluster.traces().of_set(first)[0]
            if isinstance(e, LivenessChanged)
        ]
    finally:
        cluster.stop()
    failed = {
        "disconnect": Liveness.DISCONNECTED,
        "crash": Liveness.CRASHED,
        "pause": Liveness.PAUSED,
    }
    assert told == [failed[mode], Liveness.LIVE]


def test_without_a_quorum_there_is_no_leader_to_fail():
    config = ClusterConfig(nodes=3, seed=5, failure="crash")
    cluster = LiveCluster(config)
    try:
        cluster.start()
        assert cluster.apply(FailLeader()) == ()
        cluster.seek_leader()
        assert cluster.run_until(lambda: cluster.leader() is not None, PATIENCE_US)
        cluster.apply(FailLeader())
        assert cluster.run_until(lambda: cluster.leader() is not None, PATIENCE_US)
        cluster.apply(FailLeader())
        assert cluster.leader() is None
    finally:
        cluster.stop()


NO_QUORUM = '1,"(A, B, 2)","[n1, n2, n3]"\n2,"(B, A, 1)",[n1]\n'


def test_a_kept_folder_is_resumed_with_what_was_pending(tmp_path):
    config = ClusterConfig(nodes=3, seed=2, patience_ms=100)
    data = tmp_path / "data"
    reports, runner, _ = run_file(write(tmp_path, NO_QUORUM), config, data)
    assert [o.request[:2] for o in runner.pending()] == [("B", 1)]
    again = write(tmp_path, '1,"(A, B, 3); (B, C, 1)","[n1, n2, n3]"\n')
    reports, runner, _ = run_file(again, config, data)
    (report,) = reports
    assert [(s.text, s.outcome, s.carried_from) for s in report.steps] == [
        ("(B, A, 1)", "success", 0),
        ("(A, B, 3)", "success", None),
        ("(B, C, 1)", "success", None),
    ]
    balances = report.views[0].status.balances
    assert (balances["A"], balances["B"], balances["C"]) == (6, 13, 11)
    assert runner.verdict() is Verdict.VALID


def test_a_folder_of_another_shape_is_refused(tmp_path):
    data = tmp_path / "data"
    run_file(write(tmp_path, NO_QUORUM), ClusterConfig(nodes=3, patience_ms=50), data)
    with pytest.raises(HarnessError, match="nodes: the folder has 3, this run asks for 5"):
        LiveCluster(ClusterConfig(nodes=5), data)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(HarnessError, match=r"thesis\.txt"):
        LiveCluster(ClusterConfig(nodes=3), tmp_path / "mine")
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    with pytest.raises(HarnessError, match="is a file, expected a folder"):
        LiveCluster(ClusterConfig(nodes=3), tmp_path / "mine" / "thesis.txt")


def test_replicas_whose_files_are_not_theirs_are_refused_and_the_others_go_on(tmp_path):
    """n1's and n2's are swapped, a byte of n3's write-ahead log is flipped, n7's is gone."""
    data = tmp_path / "data"
    config = ClusterConfig(nodes=9, seed=2, patience_ms=100, failure="crash")
    without_n3 = "[n1, n2, n4, n5, n6, n7, n8, n9]"
    first = f'1,"(A, B, 2)","{without_n3[:-1]}, n3]"\n2,"(B, A, 1)","{without_n3}"\n'
    run_file(write(tmp_path, first), config, data)
    for file in ("n1.db", "n1.db-seal"):
        (data / file).rename(data / "kept")
        (data / file.replace("1", "2")).rename(data / file)
        (data / "kept").rename(data / file.replace("1", "2"))
    log = bytearray((data / "n3.db-wal").read_bytes())
    log[100] ^= 1
    (data / "n3.db-wal").write_bytes(log)
    (data / "n7.db").unlink()
    again = write(tmp_path, f'1,"(A, B, 3)","{without_n3[:-1]}, n3]"\n')
    (report,), _, _ = run_file(again, config, data)
    troubles = {view.replica: view.trouble for view in report.views if view.trouble is not None}
    assert [v.replica for v in report.views if v.liveness is Liveness.STOPPED] == [1, 2, 3, 7]
    assert troubles[1] == f"{data}/n1.db: belongs to n2, expected n1's own file"
    assert troubles[2] == f"{data}/n2.db: belongs to n1, expected n2's own file"
    assert troubles[3].startswith(f"{data}/n3.db: page 1 is not as this replica wrote it last")
    assert troubles[7].startswith(f"{data}/n7.db: the file is gone")
    assert bytes(log) == (data / "n3.db-wal").read_bytes(), "a refused file is left as it is"
    assert report.steps[-1].outcome == "success"
    (against,) = [j for j in report.judgements if j.verdict is not Verdict.VALID]
    assert against.check == "progress"
    assert against.reason.startswith(f"n1 should be live, found stopped: {troubles[1]}")
    assert all(v.status.balances["B"] == 14 for v in report.views if v.replica in (4, 5, 6, 8, 9))


def test_a_folder_is_in_use_until_the_last_replica_has_ended(tmp_path):
    config, data = ClusterConfig(nodes=3), tmp_path / "data"
    cluster = LiveCluster(config, data)
    in_use = f"{data}: in use by process {os.getpid()}"
    try:
        with pytest.raises(HarnessError) as refusal:
            LiveCluster(config, data)
        assert (str(refusal.value), refusal.value.exit_code) == (in_use, 2)
        cluster.start()
        cluster._folder.lock.close()  # as the kernel does for a harness that is killed
        with pytest.raises(HarnessError, match=in_use):
            LiveCluster(config, data)
        replicas = {handle.process.pid for handle in cluster.fleet.handles.values()}
        signed = {int(pid) for pid in (data / "lock").read_text().split()}
        assert signed == {os.getpid(), *replicas}
    finally:
        cluster.stop()
    LiveCluster(config, data).stop()


def test_without_a_disk_a_replica_that_was_killed_does_not_come_back():
    cluster = LiveCluster(ClusterConfig(nodes=3, durability="memory"))
    try:
        cluster.start()
        os.kill(cluster.fleet.handles[2].process.pid, signal.SIGKILL)
        assert cluster.run_until(lambda: cluster.liveness(2) is not Liveness.LIVE, PATIENCE_US)
        assert cluster.apply(SetLive(frozenset({1, 2, 3}))) == ()
        assert cluster.liveness(2) is Liveness.STOPPED
        assert "which durability memory keeps nowhere: it stays down" in cluster.views()[1].trouble
    finally:
        cluster.stop()


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="opens another process's queue")
def test_a_queue_with_a_malformed_frame_is_replaced_and_nobody_is_taken_for_dead(tmp_path):
    path = write(tmp_path, '1,"(A, B, 1)","[n1, n2, n3]"\n2,"(B, A, 1)","[n1, n2, n3]"\n')
    config = ClusterConfig(nodes=3, seed=1, election_timeout_ms=CALM_MS)
    cluster = LiveCluster(config)
    try:
        cluster.start()
        runner = Runner(cluster, config, load(path, config))
        ballot = runner.run_next().ballot
        leader, reader = ballot.replica, ballot.replica % 3 + 1
        with open(queue_between(cluster, leader, reader), "wb", buffering=0) as queue:
            queue.write(b"\5\0\0\0bogus")
        report = runner.run_next()
        assert report.ballot == ballot, "nobody stood for leader"
        assert len({view.status.digest for view in report.views}) == 1, "the reader hears again"
        told = [entry.event for replica, entry in cluster.traces().events if replica == reader]
        assert [e.peer for e in told if isinstance(e, QueueReplaced)] == [leader]
        # The new queue's end is a notice of death, as ever: the harness kept no end of it.
        cluster.apply(Fail(leader, "crash"))
        assert cluster.run_until(lambda: cluster.leader() not in (None, leader), PATIENCE_US)
        downs = [e.peer for _, e in cluster.traces().of_set(reader)[0] if isinstance(e, PeerDied)]
        assert downs == [leader]
        assert runner.verdict() is Verdict.VALID
    finally:
        cluster.stop()


def queue_between(cluster, writer, reader):
    """The path of a pipe that one replica writes and another reads."""

    def pipes(replica, mode):
        folder = Path(f"/proc/{cluster.fleet.handles[replica].process.pid}")
        return {
            os.readlink(end): end
            for end in (folder / "fd").iterdir()
            if os.readlink(end).startswith("pipe:")
            and int((folder / "fdinfo" / end.name).read_text().split()[3], 8) & 3 == mode
        }

    written, read = pipes(writer, os.O_WRONLY), pipes(reader, os.O_RDONLY)
    (pipe,) = written.keys() & read.keys()
    return written[pipe]


def test_temporary_data_are_gone_after_the_end(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    path = write(tmp_path, NO_QUORUM)
    run_file(path, ClusterConfig(nodes=3, patience_ms=50))
    assert wait_for(lambda: list(tmp_path.iterdir()) == [path])
