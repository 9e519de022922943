"""How a run can end without having worked, and that none of these ends is called valid.

Real processes where their death is the point, the simulator where it can show the same.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from broken_bank import LINE, breaks

from bank.replica import Replica
from harness import cli
from harness.check.verdict import Verdict
from harness.cluster import blame, guarded
from harness.cluster.journal import Liveness
from harness.errors import EXIT_MACHINE, HarnessError
from harness.files.config import ClusterConfig
from harness.files.testset import load
from harness.live import hanging, process, silence, usage
from harness.live.cluster import LiveCluster
from harness.live.folder import DataFolder
from harness.live.silence import Silence
from harness.run.runner import Runner
from harness.sim.world import SimCluster

HASTY = ClusterConfig(nodes=3, seed=1, patience_ms=100)
ONE = '1,"(A, B, 2); (B, C, 1)","[n1, n2, n3]"\n'
ROOT = Path(__file__).parents[1]
WHERE = f"bank/replica.py:{LINE}"


@contextmanager
def running(path, text, config=HASTY, data=None):
    """A live cluster and its runner, for a file with this text."""
    path.write_text(text)
    cluster = LiveCluster(config, data)
    try:
        cluster.start()
        yield cluster, Runner(cluster, config, load(path, config))
    finally:
        cluster.stop()


@pytest.fixture
def case(tmp_path):
    return tmp_path / "case.csv"


def progress(report):
    (found,) = [j for j in report.judgements if j.check == "progress"]
    return found


# ---- a replica that ends by itself --------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("os._exit(0)", "its process ended by itself (exit code 0)"),
        ("raises", f"{WHERE}: ZeroDivisionError: division by zero"),
    ],
)
def test_nothing_answered_where_a_majority_should_live_is_invalid(case, monkeypatch, fault, why):
    breaks(monkeypatch, fault)
    started = []  # of its code, in this process, to show what its file holds
    real = Replica.__init__
    monkeypatch.setattr(Replica, "__init__", lambda *of: started.append(of) or real(*of))
    with running(case, ONE) as (_, runner):
        report = runner.run_next()
    assert bool(started) is (fault == "raises"), "what ends its process might end this one"
    assert progress(report).verdict is Verdict.INVALID
    assert progress(report).reason == (
        f"n1, n2, n3 should be live, found stopped: {why}; the end of the set: no quorum is left "
        "of those that should be live, 2 requests without one"
    )


@pytest.mark.parametrize(
    ("fault", "method", "found"),
    [
        ("SystemExit", "step", f"stopped: {WHERE}: SystemExit: 0"),
        ("SIGSEGV", "step", "stopped: its process ended by itself (SIGSEGV)"),
        ("SIGKILL", "step", "crashed: its process was killed from outside (SIGKILL)"),
        ("os._exit(0)", "__init__", "stopped: its process ended by itself (exit code 0)"),
        ("raises", "__init__", f"stopped: {WHERE}: ZeroDivisionError: division by zero"),
        ("raises", "status", f"stopped: {WHERE}: ZeroDivisionError: division by zero"),
    ],
)
def test_one_that_ends_by_itself_fails_the_set_though_all_is_answered(
    case, monkeypatch, fault, method, found
):
    breaks(monkeypatch, fault, [3], method)
    with running(case, ONE) as (_, runner):
        report = runner.run_next()
    assert [step.outcome for step in report.steps] == ["success", "success"]
    assert progress(report).reason == f"n3 should be live, found {found}"


def test_who_was_told_once_and_is_not_listed_any_more_fails_no_further_set(case, monkeypatch):
    breaks(monkeypatch, "os._exit(0)", [3])
    text = ONE + '2,"(A, B, 1)","[n1, n2]"\n3,"(A, B, 1)","[n1, n2, n3]"\n'
    with running(case, text) as (_, runner):
        verdicts = [progress(runner.run_next()).verdict.value for _ in range(3)]
    assert verdicts == ["invalid", "valid", "invalid"]


def test_whoever_dies_at_a_kill_point_is_not_missed(tmp_path):
    path, point = tmp_path / "case.yaml", "fail leader before the write"
    path.write_text(f'sets:\n  - steps: [(A), {point}, "(A, B, 1)", {point}, (B)]\n')
    config = ClusterConfig(nodes=3, seed=1)
    cluster = SimCluster(config)
    cluster.start()
    runner = Runner(cluster, config, load(path, config))
    report = runner.run_next()
    assert [view.liveness for view in report.views].count(Liveness.CRASHED) == 2
    assert progress(report).verdict is Verdict.VALID


def test_its_last_line_is_on_the_screen_and_in_every_document(case, monkeypatch, capsys, tmp_path):
    breaks(monkeypatch, "raises", [2])
    monkeypatch.setenv("COLUMNS", "200")
    case.write_text(ONE)
    folder = tmp_path / "report"
    assert cli.main([str(case), "--nodes", "3", "--no-step", "--report", str(folder)]) == 1
    told = f"{WHERE}: ZeroDivisionError: division by zero"
    reason = f"n2 should be live, found stopped: {told}"
    assert f"✗ progress: {reason}" in capsys.readouterr().out
    results = json.loads((folder / "results.json").read_text())
    assert results["verdict"] == "invalid"
    (one,) = results["sets"]
    assert (one["reasons"]["progress"], one["replicas"]["n2"]["trouble"]) == (reason, told)
    scored = json.loads((folder / "gradescope.json").read_text())
    assert scored["score"] == 0 and reason in scored["tests"][0]["output"]
    for name in ("junit.xml", "report.html"):
        assert reason in (folder / name).read_text("utf-8"), name


def test_a_benchmark_without_a_majority_is_1_and_says_who_is_gone(monkeypatch, capsys):
    breaks(monkeypatch, "raises", [1, 2])
    words = ["--nodes", "3", "--clients", "1", "--seconds", "0.1", "--no-floor"]
    assert cli.main(["bench", *words]) == 1
    told = f"{WHERE}: ZeroDivisionError: division by zero"
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["no majority of the replicas is left", f"n1: {told}", f"n2: {told}"]


# ---- one that hangs -----------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(hanging, "BUSY_SECONDS", 0.1)
    monkeypatch.setattr(hanging, "WAKE_SECONDS", 0.3)
    monkeypatch.setattr(silence, "QUIET_US", 50_000)
    monkeypatch.setattr(silence, "ASLEEP_US", 400_000)


@pytest.mark.parametrize(
    ("fault", "why", "where"),
    [
        ("loops", "hangs: a turn took 0.", f", at {WHERE}"),
        ("loops and catches all", "hangs: a turn took 0.", " s of processor time"),
        ("sleeps", "hangs: asleep for 0.", f", at {WHERE}"),
    ],
)
def test_who_hangs_is_ended_and_named(case, monkeypatch, impatient, fault, why, where):
    breaks(monkeypatch, fault, [3])
    if WHERE in where:
        monkeypatch.setattr(hanging, "WAKE_SECONDS", 30.0)  # it says so as soon as it can
    with running(case, ONE) as (cluster, runner):
        report = runner.run_next()
        assert cluster.liveness(3) is Liveness.STOPPED
    assert progress(report).reason.startswith(f"n3 should be live, found stopped: {why}")
    assert progress(report).reason.endswith(where)


def test_who_is_stopped_from_outside_is_the_machines_trouble(case, monkeypatch, impatient):
    monkeypatch.setattr(silence, "ANSWER_US", 2_000_000)  # the others are only slow
    with running(case, ONE) as (cluster, runner):
        os.kill(cluster.fleet.handles[2].process.pid, signal.SIGSTOP)
        with pytest.raises(
            HarnessError, match=r"n2: says nothing for . s: its process was"
        ) as told:
            runner.run_next()
    assert told.value.exit_code == EXIT_MACHINE


@pytest.mark.parametrize(
    ("state", "used", "others_answer", "expected"),
    [
        ("R", 0.0, True, "over: it gets no processor"),
        ("R", 1.5, True, "its fault: a turn took 1.5 s of processor time"),  # all it got in 21 s
        ("R", 2.5, False, "its fault: a turn took 2.5 s of processor time"),
        ("D", 0.0, True, "over: it waits for the disk"),
        ("S", 0.0, True, "its fault: asleep for 21.0 s in a turn"),
        ("S", 0.0, False, "over: it sleeps, and so do the others"),
    ],
)
def test_whose_fault_a_silence_is(monkeypatch, state, used, others_answer, expected):
    usages = iter([10.0, 10.0 + used])
    monkeypatch.setattr(silence, "usage_of", lambda pids: {7: usage.Usage(next(usages), 0)})
    monkeypatch.setattr(process, "kernel_state", lambda pid: state)
    quiet = Silence(1_000_000, 7, busy_seconds=2.0)
    assert not quiet.look(1_400_000, others_answer).text, "too early to ask the kernel"
    first = quiet.look(2_000_000, others_answer)
    assert not first.is_over and not first.is_its_fault
    found = quiet.look(23_000_000, others_answer)
    kind = "its fault" if found.is_its_fault else "over" if found.is_over else "wait"
    assert f"{kind}: {found.text.partition(': ')[2]}" == expected


# ---- nothing answered ---------------------------------------------------------------------------


class Idle(Replica):
    """Reads everything and does nothing."""

    def step(self, source, message, now):
        pass


def simulate(path, text, config, replica_class=Replica):
    path.write_text(text)
    cluster = SimCluster(config, replica_class=replica_class)
    cluster.start()
    runner = Runner(cluster, config, load(path, config))
    return [runner.run_next() for _ in range(runner.remaining)]


def test_a_cluster_that_answers_nothing_is_invalid(case):
    (report,) = simulate(case, ONE, ClusterConfig(nodes=3, seed=1, progress_ms=2000), Idle)
    told = "the end of the set: waited 2000 ms for an answer, 2 requests without one"
    assert progress(report).reason == told


def test_patience_begins_anew_with_every_answer(tmp_path):
    """Twenty requests in a row over slow links take longer than it, each of them less."""
    steps = ", ".join(['"(A, B, 1)"', '"(B, A, 1)"', '"(A)"'] * 6)
    text = f'sets:\n  - steps: ["delay n1<->*, n2<->n3 60 ms", {steps}]\n'
    config = ClusterConfig(nodes=3, seed=1, progress_ms=1000, election_timeout_ms=(400, 600))
    (report,) = simulate(tmp_path / "case.yaml", text, config)
    assert report.seconds > 1.0 and progress(report).verdict is Verdict.VALID


# ---- stopped by its file ------------------------------------------------------------------------

STOPPED = """sets:
  - steps: ["(A, B, 3)"]
    expect: {stopped: %s}
"""


@pytest.mark.parametrize(
    ("expected", "verdict", "why"),
    [
        ("n2", Verdict.VALID, ""),
        ("[n2]", Verdict.VALID, ""),
        ("none", Verdict.INVALID, "expected none stopped, found n2"),
        ("[n2, n3]", Verdict.INVALID, "expected n2 and n3 stopped, found n2"),
    ],
)
def test_a_file_may_expect_who_is_stopped(tmp_path, expected, verdict, why):
    data = tmp_path / "data"
    DataFolder(HASTY, data).close()
    (data / "n2.db").write_bytes(b"\x00not a database" * 500)
    path = tmp_path / "case.yaml"
    with running(path, STOPPED % expected, data=data) as (_, runner):
        report = runner.run_next()
    assert runner.verdict() is verdict
    assert [met.reason for met in report.expectations] == [why]


# ---- the machine --------------------------------------------------------------------------------


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    return folder


def left_in(folder):
    return list(folder.glob("paxbank-*"))


@pytest.mark.parametrize("replicas", [[2], [1, 2, 3]])
def test_a_disk_that_takes_nothing_is_4_and_named(case, monkeypatch, capsys, temporary, replicas):
    breaks(monkeypatch, "its disk is full", replicas, "_write_run")
    case.write_text(ONE)
    assert cli.main([str(case), "--nodes", "3", "--no-step"]) == 4
    err = capsys.readouterr().err
    assert any(f"n{r}: {temporary}/paxbank-" in err for r in replicas)
    assert ".db: database or disk is full" in err and left_in(temporary) == []


def test_a_mapped_file_that_its_disk_cannot_hold_is_4(case, monkeypatch):
    breaks(monkeypatch, "SIGBUS", [2])
    with (
        running(case, ONE) as (_, runner),
        pytest.raises(HarnessError, match=r"n2: .* SIGBUS") as e,
    ):
        runner.run_next()
    assert e.value.exit_code == EXIT_MACHINE


@pytest.fixture(params=[60, 140, 260])
def full_disk(request, tmp_path, monkeypatch):
    """A file system of so many KiB: too small for three replicas, or for what they write."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["-t", "tmpfs", "-o", f"size={request.param}k", "tmpfs", str(folder)]
    try:
        subprocess.run(["mount", *words], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no right to mount a file system")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_4_and_nothing_is_left_on_it(case, capsys, full_disk):
    case.write_text(ONE)
    assert cli.main([str(case), "--nodes", "5", "--no-step"]) == 4
    err = capsys.readouterr().err
    assert f"{full_disk}/paxbank-" in err and ".db: " in err and "KiB free" in err
    assert left_in(full_disk) == []


# ---- what a mistake in `bank` is called ---------------------------------------------------------


def mistake(source):
    try:
        exec(compile(source, Path(blame._folder(), "log.py"), "exec"), {})
    except BaseException as error:
        return blame.told(error)
    raise AssertionError("no mistake")


class Unprintable(Exception):
    def __str__(self):
        raise ValueError


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("\n1 / 0", "bank/log.py:2: ZeroDivisionError: division by zero"),
        ("raise ValueError('one\\ntwo')", "bank/log.py:1: ValueError: one"),
        ("raise ValueError", "bank/log.py:1: ValueError"),
        ("import random\n\n\nrandom.Random().choice([])", "bank/log.py:4: IndexError: "),
        ("from test_endings import Unprintable\nraise Unprintable", "bank/log.py:2: Unprintable"),
    ],
)
def test_a_mistake_is_told_with_the_innermost_line_of_bank(source, told):
    assert mistake(source).startswith(told)
    assert "\n" not in mistake(source)


def test_a_mistake_outside_of_bank_is_told_with_its_own_line():
    try:
        json.loads("{")
    except ValueError as error:
        assert "decoder.py:" in blame.told(error)


# ---- a run that does not come to its end --------------------------------------------------------


def test_documents_of_a_run_that_ended_early_say_so_and_why(case, monkeypatch, capsys, tmp_path):
    """The first set is fine; in the second a disk takes nothing."""
    case.write_text('1,"(A, B, 2)","[n1, n2, n3]"\n2,"(A, B, 2)","[n1, n2, n3]"\n')
    run_next, folder = Runner.run_next, tmp_path / "report"

    def fail(runner):
        if runner.reports:
            raise HarnessError("n2: /data/n2.db: disk I/O error", exit_code=EXIT_MACHINE)
        return run_next(runner)

    monkeypatch.setattr(Runner, "run_next", fail)
    words = ["--nodes", "3", "--no-step", "--sim", "--report", str(folder)]
    assert cli.main([str(case), *words]) == EXIT_MACHINE
    results = json.loads((folder / "results.json").read_text())
    why = "n2: /data/n2.db: disk I/O error"
    assert (results["verdict"], results["ended"], len(results["sets"])) == ("unknown", why, 1)
    scored = json.loads((folder / "gradescope.json").read_text())
    assert f"ended: {why}" in scored["output"] and why in scored["tests"][1]["output"]
    junit = (folder / "junit.xml").read_text()
    assert f'<error type="error" message="not run: {why}"' in junit
    assert f"The run did not come to its end: {why}" in (folder / "report.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("mistake", "told"), [(ZeroDivisionError, "ZeroDivisionError"), (SystemExit, "SystemExit")]
)
def test_a_simulated_replica_that_raises_is_1_and_told(case, monkeypatch, capsys, mistake, told):
    monkeypatch.setattr(Replica, "step", of_bank(f"def step(*_):\n    raise {mistake.__name__}"))
    case.write_text(ONE)
    assert cli.main([str(case), "--nodes", "3", "--sim", "--no-step"]) == 1
    told = f"a replica raised in the simulation: bank/replica.py:2: {told}\n"
    assert capsys.readouterr().err.endswith(told)


def of_bank(source):
    """A `step` that stands in bank/replica.py, in its second line."""
    found = {}
    exec(compile(source, Path(blame._folder(), "replica.py"), "exec"), found)
    return found["step"]


@pytest.mark.parametrize("command", ["FILE --nodes 3 --sim --no-step", "simulate --seeds 3"])
def test_a_simulated_turn_that_does_not_end_is_stopped_and_named(
    case, monkeypatch, capsys, command
):
    monkeypatch.setattr(guarded, "BUSY_SECONDS", 0.05)
    monkeypatch.setattr(Replica, "step", of_bank("def step(self, *_):\n    while True: pass"))
    case.write_text(ONE)
    before = signal.getsignal(signal.SIGVTALRM)
    assert cli.main(command.replace("FILE", str(case)).split()) == 1
    told = "".join(capsys.readouterr())
    assert re.search(r"bank/replica\.py:2", told) and re.search(r"EndlessTurn: a turn of n\d", told)
    assert signal.getsignal(signal.SIGVTALRM) is before
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


def test_long_turns_that_end_are_not_stopped():
    """Another turn each time that somebody looks, and between them work that is not `bank`'s."""
    looks = guarded._Looks()
    turn = of_bank("def step(look):\n    look()")
    for _ in range(3):
        turn(lambda: looks.look(0, sys._getframe()))
    looks.look(0, sys._getframe())
    held = of_bank("def step(look):\n    look(); look()")
    with pytest.raises(guarded.EndlessTurn, match="a turn took"):
        held(lambda: looks.look(0, sys._getframe()))


def test_ctrl_c_names_the_simulated_replica_that_was_at_work(case, monkeypatch, capsys):
    monkeypatch.setattr(
        Replica, "step", of_bank("def step(self, *_):\n    raise KeyboardInterrupt")
    )
    case.write_text(ONE)
    assert cli.main([str(case), "--nodes", "3", "--sim", "--no-step"]) == 130
    told = capsys.readouterr().err
    assert re.search(r"^interrupted: a turn of n\d, bank/replica\.py:2$", told, re.MULTILINE)


def test_nothing_is_known_before_the_first_set(case):
    case.write_text(ONE)
    config = ClusterConfig(nodes=3, seed=1)
    assert Runner(SimCluster(config), config, load(case, config)).verdict() is Verdict.UNKNOWN


# ---- a `bank` that is not the one ---------------------------------------------------------------


def test_replicas_run_the_bank_of_the_program_and_not_one_that_lies_around(case, tmp_path):
    """In the folder where it is started there is another one, which cannot even be imported."""
    for package in ("bank", "harness"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("class Odd(:\n")
    case.write_text(ONE)
    words = [sys.executable, ROOT / "run.py", case, "--nodes", "3", "--no-step"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stdout + done.stderr


def test_a_grading_makes_its_runs_and_they_say_what_is_wrong_with_bank(case, tmp_path):
    """The folder is a whole copy, and the current one: `grade` itself needs no replica."""
    for package in ("bank", "harness"):
        shutil.copytree(ROOT / package, tmp_path / package)
    shutil.copy(ROOT / "run.py", tmp_path)
    (tmp_path / "bank" / "replica.py").write_text("class Odd(:\n")
    case.write_text(ONE)
    words = [sys.executable, "run.py", "grade", str(case), "--runs", "1", "--report", "out"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    (test,) = json.loads((tmp_path / "out" / "gradescope.json").read_text())["tests"]
    assert "replica.py" in test["output"] and "SyntaxError: " in test["output"]
