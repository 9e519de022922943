"""Other people's replicas through the line protocol, from a file to a verdict."""

import dataclasses
import sys

import pytest
from external_runs import ALL, QUICK, TINY, UNANSWERED_MS, outcomes, run, run_yaml, tiny

from harness.check.verdict import Verdict
from harness.cluster.journal import Liveness, Relayed
from harness.errors import HarnessError
from harness.files import testset
from harness.run import launch
from harness.run.runner import Runner
from harness.screen.watcher import Watcher


def test_a_file_runs_and_is_judged():
    runner, _ = run(tiny(), [("(A, J, 3); (C, D, 99); (A)", ALL), ("(B, E, 4)", "n1, n2")])
    first, second = runner.reports
    assert outcomes(first) == ["success", "failed", "success"]
    assert first.steps[2].value in (7, 10)
    assert runner.verdict() is Verdict.VALID, [r.judgements for r in runner.reports]
    assert first.leader == 1 and first.steps[0].slot == 1
    assert [view.status.balances["J"] for view in first.views] == [13, 13, 13]
    assert second.views[2].liveness is Liveness.DISCONNECTED
    assert second.views[2].status.balances["E"] == 10, "it is as it was left"
    assert not first.remarks and not second.remarks


def test_what_is_not_told_is_no_number():
    runner, _ = run(tiny("tells-nothing"), [("(A, J, 3)", ALL)])
    (report,) = runner.reports
    assert runner.verdict() is Verdict.VALID
    assert {"role", "balances", "executed_upto", "digest"} <= report.views[0].untold
    assert report.leader == 1, "it answered last"


@pytest.mark.parametrize("failure", ["disconnect", "crash", "pause"])
def test_a_leader_fails_and_returns(failure):
    rows = [("(A, J, 3); LF; (B, E, 4)", ALL), ("(C, D, 1)", ALL)]
    runner, cluster = run(tiny(), rows, failure, progress_ms=UNANSWERED_MS)
    first, second = runner.reports
    assert outcomes(first) == ["success", "done", "pending"]
    assert "(B, E, 4) waits; error 11 from n" in "".join(first.remarks)
    assert first.steps[1].node == 1 and first.views[0].was_leader
    assert outcomes(second) == ["success", "success"], "the old request is asked again first"
    restarts = "1 restart" if failure == "crash" else "0 restarts"
    assert cluster.coverage() == (
        f"1 failure of a leader, 0 of a backup, 0 changes of leader seen, {restarts}"
    )


def test_who_ended_while_it_was_cut_off_hears_the_others_again_once_it_is_back():
    described = tiny()
    settings = launch.settings({"nodes": 3, "seed": 1, **QUICK}, {}, description=described)
    text = f'Set Number,Transactions,Live Nodes\n1,"(A)","[{ALL}]"\n'
    file = testset.parse_csv(text.encode(), "their.csv", settings)
    with launch.cluster(settings, theirs=(described, file, None)) as cluster:
        cluster.start()
        fleet, third = cluster.fleet, cluster.fleet.handles[3]
        with cluster._caretaker.away():
            fleet.change([3], [], "disconnect")
            assert third.node.is_cut_off
            fleet._stop(third, "ended by itself")
            fleet.change([], [3], "disconnect")
        assert third.liveness is Liveness.LIVE and not third.node.is_cut_off


def test_messages_are_in_the_journal_at_both_ends():
    runner, _ = run(tiny(), [("(A, J, 3)", ALL)])
    read, sent = (
        [e.event for e in runner.traces.of_set(replica)[0] if isinstance(e.event, Relayed)]
        for replica in (2, 1)
    )
    copies = [e for e in sent if '"copy"' in e.plain[1] and e.peers == (2,)]
    assert copies, "once for each time that its client asked"
    assert [e.plain for e in read if '"copy"' in e.plain[1]] == [e.plain for e in copies]


def test_faults_on_links_befall_them():
    report, traces = run_yaml(tiny(), 'cut n1->n2, "(A, J, 3)"')
    ways = [e.way.value for e in traces.of_set(2)[0] if '"copy"' in str(e.event)]
    assert {*ways} == {"lost"}, "however often its client asked"
    assert [view.status.balances["J"] for view in report.views] == [13, 10, 13]


def test_what_files_expect_of_checks_and_logs():
    """A file says "linearizable" for whoever it is; of a log that nobody tells nothing is known."""
    text = """
sets:
- live: [n1, n2, n3]
  steps: ["(A, J, 3)"]
  expect: {checks: [linearizable, exactly_once], statuses: {1: ---}}
"""
    described = tiny()
    settings = launch.settings({"nodes": 3, "seed": 1}, {}, description=described)
    file = testset.read_yaml(text.encode(), "x.yaml").cases(settings)
    with launch.cluster(settings, theirs=(described, file, None)) as cluster:
        cluster.start()
        met = Runner(cluster, settings, file).run_next().expectations
    statuses, checks = sorted(met, key=lambda one: one.expected.key, reverse=True)
    assert checks.holds, checks.reason
    assert statuses.untold == "n1, n2, n3 did not tell what is in the log"
    assert statuses.verdict is Verdict.UNKNOWN


def test_one_that_is_asked_to_fail_does_so():
    rows = [("(A, J, 3); LF; (B, E, 4)", ALL), ("(C, D, 1)", ALL)]
    runner, _ = run(tiny("asked"), rows, "asked", progress_ms=UNANSWERED_MS)
    assert outcomes(runner.reports[0]) == ["success", "done", "pending"]
    assert outcomes(runner.reports[1]) == ["success", "success"]
    with pytest.raises(HarnessError, match=r"--failure asked: n1 answers fail with .*expected"):
        run(tiny(), rows, "asked")


def test_files_with_reads_need_replicas_with_reads():
    with pytest.raises(HarnessError, match=r"n1 answers no reads \(error 10\), expected a file"):
        run(tiny("no-reads"), [("(A)", ALL)])
    assert run(tiny("no-reads"), [("(A, J, 1)", ALL)])[0].verdict() is Verdict.VALID


def test_kill_points_are_refused():
    text = "sets:\n- live: [n1, n2, n3]\n  steps: [fail leader before COMMIT]\n"
    described = tiny()
    settings = launch.settings({"nodes": 3}, {}, description=described)
    file = testset.read_yaml(text.encode(), "x.yaml").cases(settings)
    with (
        pytest.raises(HarnessError, match=r"x.yaml:3: .*kill points are places in our own"),
        launch.cluster(settings, theirs=(described, file, None)),
    ):
        pass


def test_a_short_try_says_what_can_be_judged(tmp_path):
    path = tmp_path / "their.yaml"
    path.write_text(f"start: {sys.executable} -S -E {TINY} no-reads\n")
    assert launch.is_description(str(path))
    found = launch.trial(str(path), {"nodes": 3}, None)
    assert not found.problems
    said = [text.partition(":")[0].partition(" after")[0] for text in found.told]
    assert said == ["n1 to n3 start in " + found.told[0].split(" in ")[1],
                    "transfer (A, B, 1)", "read", "state", "log", "views"]  # fmt: skip
    assert found.told[2] == "read: not answered (error 10), files with reads are refused"
    assert found.told[3] == "state: told: balances, executed, committed, role, ballot"
    path.write_text(f"start: {sys.executable} -S -E {TINY} ends init\n")
    assert "does not start" in launch.trial(str(path), {"nodes": 3}, None).problems[0]


def test_a_run_says_what_its_faults_covered():
    _, cluster = run(tiny(), [("(A, J, 3)", "n1, n2"), ("", ALL)], "crash")
    assert cluster.coverage() == (
        "0 failures of a leader, 1 of a backup, 0 changes of leader seen, 1 restart: without a "
        "failed leader a run proves little"
    )


def test_they_are_watched_by_what_they_tell():
    described, given = tiny(), {"nodes": 3, "seed": 1}
    settings = launch.settings(given, {}, description=described)
    with launch.cluster(settings, theirs=(described, testset.CaseFile("x", ()), None)) as cluster:
        cluster.start()
        watcher = Watcher(launch.fleet(cluster))
        launch.fleet(cluster).watch = watcher.look

        def is_told():
            return all(replica.executed_upto is not None for replica in watcher.latest.replicas)

        assert cluster.run_until(is_told, 60_000_000)
        assert [replica.role.value for replica in watcher.latest.replicas] == [
            "leader", "backup", "backup",
        ]  # fmt: skip


def test_what_is_required_is_told_or_a_finding():
    for words, verdict in (("state", Verdict.VALID), ("state,log", Verdict.INVALID)):
        described = dataclasses.replace(tiny(), require=tuple(words.split(",")))
        runner, _ = run(described, [("(A, J, 3)", ALL)])
        assert runner.verdict() is verdict, [r.judgements for r in runner.reports]
    with pytest.raises(HarnessError, match=r"--require: found \"logs\", expected some of .*log"):
        launch.replicas("x", "state,logs")
    with pytest.raises(HarnessError, match="expected it with --replicas"):
        launch.replicas(None, "state")
