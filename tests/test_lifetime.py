"""No process survives the harness, however it ends; Ctrl-C is an exit code and not a traceback."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from textwrap import dedent
from types import SimpleNamespace

import pytest
from processes import PATIENCE, marked, piped, wait_for  # noqa: F401

from harness.cluster.journal import Liveness
from harness.errors import HarnessError
from harness.files.config import ClusterConfig
from harness.files.temporary import OWNER, TemporaryFolder, sweep
from harness.live import process, protocol
from harness.live.cluster import LiveCluster
from harness.live.ctrl_z import CtrlZ

ROOT = Path(__file__).parents[1]
RUN = [sys.executable, str(ROOT / "run.py")]
pytestmark = pytest.mark.skipif(
    not os.path.isdir("/proc/self"), reason="looks for processes by their environment in /proc"
)

# Set 2 has no quorum: it lasts as long as the patience, with paused or crashed replicas around.
LONG = '1,"(A, B, 1); (C, D, 1); LF; (B, A, 1)","[n1, n2, n3, n4, n5]"\n2,"(A, B, 1)","[n4, n5]"\n'


def long_run(tmp_path, *flags):
    case, config = tmp_path / "long.csv", tmp_path / "patient.yaml"
    case.write_text(LONG)
    config.write_text("patience_ms: 60000\n")
    return [*RUN, str(case), "--config", str(config), "--no-step", *flags]


@pytest.mark.parametrize(
    ("failure", "kill"),
    [("disconnect", os.kill), ("crash", os.kill), ("pause", os.kill), ("pause", os.killpg)],
)
def test_nothing_outlives_a_killed_harness(tmp_path, marked, failure, kill):  # noqa: F811
    environment, alive = marked
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environment["TMPDIR"] = str(temporary)
    process = piped(long_run(tmp_path, "--failure", failure), environment)
    assert wait_for(lambda: len(alive()) > 6), "replicas and guardian are up"
    time.sleep(Random(failure).uniform(0, 1.2))  # any instant will do, also in mid-failure
    kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=PATIENCE)
    assert wait_for(lambda: not alive()), alive()
    assert wait_for(lambda: not list(temporary.iterdir())), [*temporary.rglob("*")]


def test_ctrl_z_stops_replicas_too_and_they_go_on_together(tmp_path, marked):  # noqa: F811
    environment, alive = marked
    command, silent = long_run(tmp_path, "--failure", "pause"), subprocess.DEVNULL
    # In a group of its own, as a shell does it, with a parent outside: else nothing stops it.
    begun = subprocess.Popen(
        command, env=environment, stdin=silent, stdout=silent, stderr=silent, process_group=0
    )

    def stopped():
        return sum(process.kernel_state(pid) in "Tt" for pid in alive())

    # Set 2 has three paused replicas, and waits for a majority.
    assert wait_for(lambda: stopped() == 3)
    os.kill(begun.pid, signal.SIGTSTP)
    assert wait_for(lambda: stopped() == 6), "the harness and all five replicas"
    os.kill(begun.pid, signal.SIGCONT)
    assert wait_for(lambda: stopped() == 3), "those that are paused stay so"
    begun.send_signal(signal.SIGINT)
    assert begun.wait(PATIENCE) == 130
    assert wait_for(lambda: not alive())


def test_ctrl_z_has_nobody_go_on_who_is_paused_or_about_to_be(monkeypatch):
    said = []
    handles = [
        SimpleNamespace(process=SimpleNamespace(pid=p), liveness=Liveness.LIVE) for p in "ab"
    ]
    handles[0].liveness = Liveness.PAUSED  # its own SIGSTOP may still be to come
    handles.append(SimpleNamespace(process=None, liveness=Liveness.CRASHED))
    monkeypatch.setattr(os, "killpg", lambda group, number: said.append((group, number)))
    monkeypatch.setattr(os, "kill", lambda *_: said.append("waits"))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    CtrlZ(handles)._stop(signal.SIGTSTP, None)
    stop, go_on = signal.SIGSTOP, signal.SIGCONT
    assert said == [("a", stop), ("b", stop), "waits", ("b", go_on)]


def test_who_is_paused_counts_as_such_before_it_is_and_who_goes_on_as_live(monkeypatch):
    """Ctrl-Z may come at any instant."""
    seen = []
    cluster = LiveCluster(ClusterConfig(nodes=3))
    try:
        cluster.start()
        handle = cluster.fleet.handles[3]
        for name in ("pause", "resume"):
            real = getattr(process, name)
            seeing = lambda p, real=real: (seen.append(handle.liveness), real(p))  # noqa: E731
            monkeypatch.setattr(process, name, seeing)
        cluster.fleet.change([3], [], "pause")
        cluster.fleet.change([], [3], "pause")
    finally:
        cluster.stop()
    assert seen == [Liveness.PAUSED, Liveness.LIVE]


DIE = "os.kill(os.getpid(), signal.SIGKILL)"
# Moments at which a harness has a folder and no guardian that would remove it.
KILLED = {
    "first folder": f"""
        from harness.files.temporary import TemporaryFolder
        TemporaryFolder()
        {DIE}""",
    "forkserver": f"""
        from harness.live import process
        process.start(time.sleep, 0)
        {DIE}""",
    "floor": f"""
        from harness.bench import baseline
        baseline.process.Guard = lambda _: {DIE}
        baseline.run(1, 60, "process", 3)""",
    "hops": f"""
        from harness.bench import baseline
        baseline.time = SimpleNamespace(perf_counter_ns=lambda: {DIE})
        baseline.four_hops(3)""",
    "seed on files": f"""
        from harness.sim import swarm
        swarm.create_all = lambda *_: {DIE}
        world = SimpleNamespace(processes=[], balances={{}})
        with swarm._files(SimpleNamespace(on_files=True), world):
            pass""",
}


@pytest.fixture
def short_path():
    """Short enough for the paths of sockets."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


def killed(script, folder):
    """Runs this until it is dead, and all that it started: without a word."""
    ran(script, folder, -signal.SIGKILL)
    return [*folder.iterdir()]


def ran(script, folder, code=0):
    """The same for one that ends like this."""
    environment = os.environ | {"TMPDIR": str(folder), "PYTHONPATH": str(ROOT)}
    script = "import os, signal, time\nfrom types import SimpleNamespace\n" + dedent(script)
    words = [sys.executable, "-c", script]
    done = subprocess.run(
        words, env=environment, capture_output=True, check=False, timeout=PATIENCE
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, b"", b"")


def test_a_floor_ends_with_its_harness(short_path):
    script = f"""
        from harness.bench import baseline
        baseline.run(1, 3600, "process", 3, lambda: {DIE})"""
    assert killed(script, short_path) == []


def test_a_floor_whose_files_no_disk_takes_says_so_in_one_line(short_path):
    script = f"""
        from pathlib import Path
        from harness.bench import baseline
        from harness.errors import EXIT_MACHINE, HarnessError
        nowhere = SimpleNamespace(path=Path({str(short_path / "gone")!r}), close=lambda: None)
        baseline.TemporaryFolder = lambda _: nowhere
        try:
            baseline.run(1, 3600, "process", 3)
        except HarnessError as error:
            assert error.exit_code == EXIT_MACHINE
            expected = "the floor's files in {short_path}: unable to open database file"
            assert str(error) == expected, error
        else:
            raise AssertionError"""
    ran(script, short_path)


@pytest.mark.parametrize("moment", KILLED)
def test_what_a_harness_left_that_was_killed_at_once_goes_with_the_next_start(moment, short_path):
    """Before it had a guardian."""
    left = killed(KILLED[moment], short_path)
    assert left and all((folder / OWNER).exists() for folder in left)
    (left[0] / "n1.db").touch()
    new = TemporaryFolder("grade-", short_path)
    assert list(short_path.iterdir()) == [new.path]


def test_only_what_is_ours_and_of_the_dead_is_swept(tmp_path):
    alive = TemporaryFolder("", tmp_path)
    other, unsigned, kept = (tmp_path / f"paxbank-{name}" for name in ("x", "y", "failed-z"))
    for folder in (other, unsigned, kept):
        folder.mkdir()
    (kept / "results.json").touch()
    (unsigned / OWNER).touch()  # its owner may be about to lock it
    (tmp_path / "thesis" / OWNER).parent.mkdir()
    (tmp_path / "thesis" / OWNER).write_text("1\n")
    (tmp_path / "paxbank-link").symlink_to(tmp_path / "thesis")
    before = set(tmp_path.iterdir())
    sweep(tmp_path)
    assert set(tmp_path.iterdir()) == before
    (other / OWNER).write_text("1\n")  # process 1 lives, and holds no lock on it
    sweep(tmp_path)
    assert set(tmp_path.iterdir()) == before - {other}
    alive.close()
    alive.close()
    assert not alive.path.exists()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_child_never_claims_the_folder_of_its_parent(method, short_path):
    """It ends first, and the next run would remove what somebody else's program still uses."""
    ran(
        f"""
        import multiprocessing
        from multiprocessing import util
        from harness.live import process
        context, folder = multiprocessing.get_context({method!r}), util.get_temp_dir()
        child = context.Process(target=process.own_folder)
        child.start()
        child.join()
        assert child.exitcode == 0 and process.own_folder() == folder
        assert not os.path.exists(folder + "/{OWNER}")""",
        short_path,
    )


def test_the_guardian_of_a_child_leaves_its_parents_folder(short_path):
    ran(
        f"""
        import multiprocessing, tempfile
        from multiprocessing import util
        from harness.live import process
        def child():
            process.Guard(data)
            {DIE}
        sockets, data = util.get_temp_dir(), tempfile.mkdtemp()
        dying = multiprocessing.get_context("fork").Process(target=child)
        dying.start()
        while os.path.exists(data):
            time.sleep(0.01)
        assert os.path.exists(sockets)""",
        short_path,
    )


def test_a_long_tmpdir_has_the_folders_of_the_dead_swept_where_the_sockets_are(short_path):
    left, long = short_path / "pymp-left", short_path / ("x" * 100)
    for folder in (left, long):
        folder.mkdir()
    (left / OWNER).write_text("1\n")
    ran(
        f"""
        from harness.live import process
        process.SHORT_PLACES = ({str(short_path)!r},)
        assert process.own_folder().startswith({str(short_path / "pymp-")!r})
        assert os.listdir({str(long)!r}) == []""",
        long,
    )
    assert [*short_path.iterdir()] == [long]


def test_a_long_tmpdir_is_no_path_of_a_socket(tmp_path, marked):  # noqa: F811
    environment, alive = marked
    long = tmp_path / ("x" * 100)
    long.mkdir()
    case = tmp_path / "short.csv"
    case.write_text('1,"(A, B, 1)","[n1, n2, n3]"\n')
    done = subprocess.run(
        [*RUN, str(case), "--nodes", "3", "--no-step"],
        env=environment | {"TMPDIR": str(long)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert wait_for(lambda: not alive()) and not list(long.iterdir())


@pytest.mark.parametrize("failure", ["crash", "pause"])
def test_ctrl_c_in_the_middle_of_a_set(tmp_path, marked, failure):  # noqa: F811
    environment, alive = marked
    process = piped(long_run(tmp_path, "--failure", failure), environment)
    assert wait_for(lambda: len(alive()) > 6)
    time.sleep(Random(failure).uniform(0, 1.0))
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to everybody
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert wait_for(lambda: not alive()), alive()


def test_ctrl_c_at_the_prompt(tmp_path, marked):  # noqa: F811
    environment, alive = marked
    case = tmp_path / "short.csv"
    case.write_text('1,"(A, B, 1)","[n1, n2, n3]"\n2,"(B, A, 1)","[n1, n2, n3]"\n')
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(RUN[0], [*RUN, str(case), "--nodes", "3"], environment)
    shown = read_until(terminal, b"help for commands")
    # CPython's readline looks for signals only when a key or a signal wakes it: one that arrives
    # in the instant between the prompt and that wait is seen with the next key. Press again then.
    ended = False
    for _ in range(10):
        os.write(terminal, b"\x03")
        try:
            shown += read_until(terminal, None, 2)
            ended = True
            break
        except TimeoutError:
            continue
    assert ended, shown
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 130
    assert b"Traceback" not in shown
    assert wait_for(lambda: not alive()), alive()


def test_ctrl_c_while_a_process_is_started_is_heard_once_it_has(monkeypatch):
    """On a busy machine that takes a second, after which a run with 60 s of patience went on; or
    the child whose parent was interrupted printed a traceback."""
    done = []

    def forkserver():
        assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()), "as in its children"
        os.kill(os.getpid(), signal.SIGINT)
        done.append("forkserver")

    def child(_):
        os.kill(os.getpid(), signal.SIGINT)
        done.append("child")

    monkeypatch.setattr(process.forkserver, "ensure_running", forkserver)
    monkeypatch.setattr(process.ForkServerProcess, "start", child)
    with pytest.raises(KeyboardInterrupt):
        process.start(print)
    assert done == ["forkserver", "child"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_ctrl_c_while_the_guardian_is_started_leaves_one_that_is_dismissed(monkeypatch):
    """One that nobody dismissed removed what the program then removed itself, with a traceback."""
    start = process.start

    def interrupted(*words):
        started = start(*words)
        os.kill(os.getpid(), signal.SIGINT)
        return started

    monkeypatch.setattr(process, "start", interrupted)
    cluster = LiveCluster(ClusterConfig(nodes=3))
    try:
        with pytest.raises(KeyboardInterrupt):
            cluster.start()
        assert cluster.fleet._guard is not None and cluster.fleet.handles[1].process is None
    finally:
        cluster.stop()


def test_what_cannot_be_read_at_the_end_leaves_no_process_and_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    cluster = LiveCluster(ClusterConfig(nodes=3))
    cluster.start()
    pids = [*cluster.fleet.pids().values(), cluster.fleet._guard._process.pid]

    def hear(handle, value):
        raise HarnessError(f"n{handle.replica}: unreadable")

    monkeypatch.setattr(cluster.fleet, "_hear", hear)
    cluster.fleet.handles[2].control.send((protocol.GAUGES,))
    with pytest.raises(HarnessError, match="unreadable"):
        cluster.stop()
    assert not [pid for pid in pids if process.kernel_state(pid) not in "XZ"]
    assert not [*tmp_path.glob("paxbank-*")]


def test_an_interpreter_that_ends_does_not_wait_for_a_guardian(tmp_path):
    folder = tmp_path / "of a run"
    folder.mkdir()
    code = f"from harness.live.process import Guard; guard = Guard({str(folder)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=PATIENCE)
    assert wait_for(lambda: not folder.exists())


def read_until(terminal, text, seconds=PATIENCE):
    """What the terminal shows, up to this text or to the end of the program."""
    shown, deadline = b"", time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([terminal], [], [], left)[0]:
            break
        try:
            data = os.read(terminal, 65536)
        except OSError:  # Linux: the other side is closed
            return shown
        if not data:  # macOS says it so
            return shown
        shown += data
        if text is not None and text in re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", shown):
            return shown
    raise TimeoutError(f"{text!r} did not come; shown: {shown!r}")
