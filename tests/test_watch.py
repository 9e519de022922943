"""`--watch`: what is seen of replicas that work, fail, hang and return; what it leaves behind."""

import contextlib
import fcntl
import io
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from processes import PATIENCE
from rich.console import Console
from rich.text import Text
from screen_fakes import LIVE, render, snapshot

from bank.status import Role
from harness import cli
from harness.cluster.history import Operation
from harness.cluster.journal import Liveness
from harness.cluster.links import LinkState
from harness.cluster.nemesis import Fail, Recover
from harness.errors import HarnessError
from harness.files.config import ClusterConfig
from harness.live import gauges, process, worker
from harness.live.cluster import LiveCluster
from harness.live.protocol import Gauges, Progress
from harness.live.queues import Outgoing, framed
from harness.screen import watch
from harness.screen.watcher import EVERY_US, SAMPLES, Watcher
from harness.screen.watching import View

ROOT = Path(__file__).parents[1]
LEADS = Progress(Role.LEADER.value, (1, 1), True, 0)
FOLLOWS = Progress(Role.FOLLOWER.value, (1, 1), False, 0)
SHORT = "sets:\n  - steps: ['(A, B, 1)', F(n3), wait 700 ms, '(B, A, 1)']\n"
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"  # the cursor


# ---- what a watcher makes of what it is told ---------------------------------------------------


class Fleet:
    """Handles, and who was asked; the clock is ours."""

    def __init__(self, monkeypatch):
        self.handles = {
            r: SimpleNamespace(
                replica=r, liveness=LIVE, progress=FOLLOWS, gauges=None, incarnation=0,
                was_leader=False,
            )
            for r in (1, 2, 3)
        }  # fmt: skip
        self.links = SimpleNamespace(states={})
        self.asked: list[int] = []
        self.at = 1_000_000
        monkeypatch.setattr(worker, "now", lambda: self.at)
        self.watcher = Watcher(self)

    def ask_gauges(self, replica):
        if self.handles[replica].liveness not in (LIVE, Liveness.DISCONNECTED):
            return False
        self.asked.append(replica)
        return True

    def look(self, microseconds=EVERY_US):
        self.at += microseconds
        self.watcher.look(self.at + 10 * EVERY_US)
        return self.watcher.latest.replicas

    def answer(self, replica, executed, **others):
        told = Gauges(self.at, executed, executed, 0, 0, 0)._replace(**others)
        self.handles[replica].gauges = told

    def events(self):
        return [(event.replica, event.text) for event in self.watcher.latest.events]


@pytest.fixture
def fleet(monkeypatch):
    return Fleet(monkeypatch)


def test_rates_are_slots_between_two_answers(fleet):
    fleet.look()
    for executed in (0, 100, 150):
        fleet.answer(2, executed)
        (_, second, _) = fleet.look()
    assert second.rates == (None, None, 500.0, 250.0)
    assert (second.committed_upto, second.executed_upto) == (150, 150)


def test_no_more_samples_are_kept_than_are_drawn(fleet):
    for _ in range(SAMPLES + 5):
        (first, *_) = fleet.look()
    assert len(first.rates) == SAMPLES >= watch.WIDEST_CURVE


def test_who_owes_an_answer_is_not_asked_again_and_is_told_as_silent(fleet):
    fleet.look()
    assert fleet.asked == [1, 2, 3]
    fleet.answer(1, 0)
    for _ in range(6):
        replicas = fleet.look()
    assert fleet.asked == [1, 2, 3, 1]
    assert [r.silent_us for r in replicas] == [5 * EVERY_US, 6 * EVERY_US, 6 * EVERY_US]
    printed = render(watch.Replicas(fleet.watcher.latest), 80).splitlines()
    assert all("? silent 1 s" in line for line in printed[2:])


def test_who_is_stopped_is_not_asked_and_owes_nothing_before_it_goes_on(fleet):
    fleet.look()
    fleet.handles[3].liveness = Liveness.PAUSED
    for _ in range(20):
        (_, _, third) = fleet.look()
    assert (third.liveness, third.rates[-1]) == (Liveness.PAUSED, None)
    fleet.handles[3].liveness = LIVE
    (_, _, third) = fleet.look()
    assert third.silent_us <= EVERY_US


def test_a_dead_one_keeps_what_it_told_and_starts_afresh(fleet):
    fleet.look()
    fleet.answer(3, 40)
    fleet.look()
    fleet.handles[3].liveness = Liveness.CRASHED
    assert fleet.look()[2].executed_upto == 40
    fleet.handles[3].liveness, fleet.handles[3].incarnation = LIVE, 1
    fleet.handles[3].gauges = None
    assert fleet.look()[2].executed_upto == 40
    assert fleet.asked.count(3) == 3
    fleet.answer(3, 90)
    assert fleet.look()[2].rates[-1] is None  # nobody knows since when


def test_an_election_shorter_than_a_look_is_told(fleet):
    steps = (
        (1, Role.CANDIDATE, (0, 0)), (1, Role.LEADER, (1, 1)), (2, Role.FOLLOWER, (2, 3)),
        (1, Role.FOLLOWER, (1, 1)), (1, Role.FOLLOWER, (2, 3)),
    )  # fmt: skip
    for handle in fleet.handles.values():
        handle.progress = Progress(Role.FOLLOWER.value, (0, 0), False, 0)
    fleet.look()
    for replica, role, ballot in steps:
        fleet.handles[replica].progress = Progress(role.value, ballot, False, 0)
        fleet.look(1)
    fleet.handles[2].liveness = Liveness.CRASHED
    fleet.look()
    assert fleet.events()[-6:] == [
        (1, "stands for leader"), (1, "leads (1, n1)"), (2, "follows (2, n3)"),
        (1, "steps down"), (1, "follows (2, n3)"), (2, "crashed"),
    ]  # fmt: skip


def test_faults_of_links_are_counted(fleet):
    fleet.links.states = {(1, 2): LinkState(lose=100), (2, 1): LinkState(lose=5)}
    fleet.look()
    assert (fleet.watcher.latest.cut, fleet.watcher.latest.faulty) == (1, 1)


def test_a_fleet_is_woken_for_the_next_look(fleet):
    assert fleet.watcher.look(fleet.at + 1) == fleet.at + 1
    assert fleet.watcher.look(fleet.at + 10 * EVERY_US) == fleet.at + EVERY_US


# ---- what is drawn -----------------------------------------------------------------------------


def heads(width):
    return render(watch.Replicas(snapshot()), width).splitlines()[0].split()


def test_the_least_important_columns_go_first():
    assert {"event", "Exec", "Queue", "Ballot"} <= set(heads(140))
    assert {"Exec", "Queue", "Ballot"} <= set(heads(80)) and "event" not in heads(80)
    assert "Exec" not in heads(74) and {"Queue", "Ballot"} <= set(heads(74))
    for width in (54, 60):
        assert {"State", "Role", "Commit", "Slots/s"} <= set(heads(width))


def test_failing_and_returning_moves_no_column():
    def columns(liveness):
        now = snapshot()
        first = replace(now.replicas[0], liveness=liveness, was_leader=False)
        shown = replace(now, replicas=(first, *now.replicas[1:]))
        return render(watch.Replicas(shown), 140).splitlines()[0]

    assert len({columns(liveness) for liveness in Liveness}) == 1


def test_one_that_catches_up_alone_does_not_flatten_the_others():
    now = snapshot()
    jump = replace(now.replicas[3], rates=(0.0, 5_000_000.0))
    printed = render(watch.Replicas(replace(now, replicas=(*now.replicas[:3], jump))), 80)
    assert "0–88,011" in printed and "▃▄▆█▇▁▃" in printed


def test_a_low_screen_loses_events_and_no_replica():
    console = Console(file=io.StringIO(), width=80, height=15)
    console.print(watch.watch_screen(Text("head"), snapshot()))
    printed = console.file.getvalue()
    assert "n5 ? silent" in printed and printed.count(" ago") == 1


@pytest.mark.parametrize(
    "count, shown", [(0, "0"), (999, "999 B"), (64_000, "64 KB"), (999_600, "1.0 MB")]
)
def test_sizes(count, shown):
    assert watch._size(count) == shown


def test_the_readme_shows_what_is_drawn():
    text = (ROOT / "README.md").read_text("utf-8").partition("### Watching")[2]
    drawn = (ROOT / "tests" / "golden" / "watched_80.txt").read_text("utf-8").splitlines()
    shown = text.split("```")[1].strip("\n").splitlines()
    assert len(shown) > 10 and not [line for line in shown if line not in drawn]


# ---- what a replica's process reads off itself -------------------------------------------------


def test_unread_and_unsent_bytes():
    reading, writing = process.pipe()
    end = Outgoing(writing, 200_000)
    end.send(framed(b"x" * 100_000))  # the pipe takes 65,536 of them
    assert gauges.unread(reading.fileno()) + end.waiting_bytes == 100_004
    assert end.waiting_bytes > 0
    end.close()
    reading.close()


# ---- real replicas -----------------------------------------------------------------------------


@contextlib.contextmanager
def watched_cluster():
    cluster = LiveCluster(ClusterConfig(nodes=3, seed=5))
    try:
        cluster.start()
        watcher = Watcher(cluster.fleet)
        cluster.fleet.watch = watcher.look
        cluster.set_clients_running(True)
        yield cluster, watcher
    finally:
        cluster.stop()


def wait_until(cluster, condition):
    assert cluster.run_until(condition, round(PATIENCE * 1e6))


def test_failed_and_hanging_replicas_block_nobody():
    with watched_cluster() as (cluster, watcher):

        def now(replica):
            return watcher.latest.replicas[replica - 1]

        cluster.submit(Operation(("A", 0, "transfer", "A", "B", 1), 1))
        wait_until(cluster, lambda: all(now(r).committed_upto for r in (1, 2, 3)))
        for mode, liveness in (("pause", Liveness.PAUSED), ("crash", Liveness.CRASHED)):
            cluster.apply(Fail(3, mode))
            wait_until(cluster, lambda wanted=liveness: now(3).liveness is wanted)
            assert now(3).event.text == liveness.value
            assert not cluster.fleet.ask_gauges(3)
            cluster.apply(Recover(3))
            wait_until(cluster, lambda: now(3).liveness is LIVE and now(3).event.text != "crashed")
        hanging = cluster.fleet.handles[2].process.pid
        os.kill(hanging, signal.SIGSTOP)  # nobody told the harness
        wait_until(cluster, lambda: now(2).silent_us > watch.SILENT_US)
        os.kill(hanging, signal.SIGCONT)
        wait_until(cluster, lambda: now(2).silent_us == 0)


def test_nobody_is_asked_when_nobody_watches():
    with watched_cluster() as (cluster, _):
        cluster.fleet.watch = None
        cluster.run_until(lambda: False, 2 * EVERY_US)
        assert all(handle.gauges is None for handle in cluster.fleet.handles.values())


# ---- on a terminal -----------------------------------------------------------------------------


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, *arguments, width=80, environment=()):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 40, width, 0, 0))
        dropped = {"NO_COLOR", "COLUMNS", "LINES", "FORCE_COLOR"}
        kept = {key: value for key, value in os.environ.items() if key not in dropped}
        self.process = subprocess.Popen(
            [sys.executable, ROOT / "run.py", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**kept, "TERM": "xterm", **dict(environment)},
            start_new_session=True,
        )
        os.close(theirs)
        self.ours, self.raw, self.seen = ours, b"", ""

    def read_until(self, *wanted):
        deadline = time.monotonic() + PATIENCE
        while not all(text in self.seen for text in wanted):
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self.ours], [], [], left)[0], self.seen
            self._read()

    def interrupt(self):
        """Ctrl-C, which it has a handler for: else whoever started it is to blame."""
        status = Path(f"/proc/{self.process.pid}/status")
        if status.exists():
            lines = dict(line.split(":\t", 1) for line in status.read_text().splitlines())
            held, ignored, caught = (int(lines[key], 16) for key in ("SigBlk", "SigIgn", "SigCgt"))
            bit = 1 << signal.SIGINT - 1
            assert caught & bit and not (held | ignored) & bit, lines
        self.process.send_signal(signal.SIGINT)

    def end(self):
        """Its exit code, when it said everything."""
        with contextlib.suppress(OSError):  # the terminal is gone with its last user
            while self._read():
                pass
        return self.process.wait(PATIENCE)

    def _read(self):
        data = os.read(self.ours, 65536)
        self.raw += data
        self.seen = COLOURS.sub("", self.raw.decode(errors="replace"))
        return data

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.ours)


@pytest.fixture
def long_file(tmp_path):
    path = tmp_path / "long.yaml"
    path.write_text(f"{SHORT}  - steps: [wait 20000 ms]\n")
    return path


def test_watching_a_file_ends_in_the_usual_tables(tmp_path):
    path = tmp_path / "short.yaml"
    path.write_text(SHORT)
    with Terminal(path, "--watch", "--failure", "crash") as terminal:
        assert terminal.end() == 0, terminal.seen
        drawn, _, after = terminal.seen.rpartition(SHOW)
    assert "○ crashed" in drawn and "leads (" in drawn and "Slots/s" in drawn
    assert "Slots/s" not in after and "✓ valid" in after and "Set 1 of 1" in after
    assert after.count("Balance") == 1
    assert after.count("\x1b[1A\x1b[2K") > 7, "the view is taken away line by line"


def test_ctrl_c_leaves_a_clean_terminal_and_the_sets_that_ran(long_file):
    with Terminal(long_file, "--watch") as terminal:
        terminal.read_until("wait 20000 ms in step 1", "○ disconnected")
        terminal.interrupt()
        assert terminal.end() == 130, terminal.seen
        after = terminal.seen.rpartition(SHOW)[2]
    assert terminal.seen.count(HIDE) == terminal.seen.count(SHOW) == 1
    assert "Set 1 of 2" in after and "interrupted" in after and "Traceback" not in after
    assert "Set 2" not in after


def test_a_terminal_that_gets_narrower_begins_a_fresh_screen(long_file):
    with Terminal(long_file, "--watch", width=120) as terminal:
        terminal.read_until("wait 20000 ms in step 1", "Last event")
        assert "\x1b[2J" not in terminal.seen
        fcntl.ioctl(terminal.ours, termios.TIOCSWINSZ, struct.pack("4H", 40, 60, 0, 0))
        terminal.read_until("\x1b[2J")
        terminal.interrupt()
        assert terminal.end() == 130
    _, *after = terminal.seen.split("\x1b[2J")
    assert len(after) == 1 and "Slots/s" in after[0] and "Last event" not in after[0]


def test_no_colour_where_none_is_wanted(tmp_path):
    with Terminal(
        "torture", "--kills", "2", "--modes", "crash", "--nodes", "3", "--watch",
        environment=[("NO_COLOR", "1")],
    ) as terminal:  # fmt: skip
        assert terminal.end() == 0, terminal.seen
    codes = re.findall(r"\d+", "".join(COLOURS.findall(terminal.raw.decode())))
    assert "Slots/s" in terminal.seen and "0/2" in terminal.seen
    assert codes and not {"31", "32", "35"} & set(codes)


def test_a_benchmark_is_watched_beside_its_document(tmp_path):
    """The document goes to a file, what is drawn to standard error."""
    words = "bench --clients 5 --seconds 0.5 --no-floor --nodes 3 --watch --format json"
    out = tmp_path / "out.json"
    script = f"exec {sys.executable} {ROOT / 'run.py'} {words} > {out}"
    ours, theirs = pty.openpty()
    done = subprocess.Popen(["sh", "-c", script], stdin=theirs, stderr=theirs)
    os.close(theirs)
    seen = ""
    with contextlib.suppress(OSError):
        while data := os.read(ours, 65536):
            seen += data.decode(errors="replace")
    os.close(ours)
    assert done.wait(PATIENCE) == 0
    assert "5 clients" in seen and "leader" in seen
    assert out.read_text().startswith("{") and "Slots/s" not in out.read_text()


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["testsets/tour.csv", "--watch"], "--watch: the output is no terminal"),
        (["testsets/tour.csv", "--watch", "--sim"], "--watch: a simulated run is over"),
        (["bench", "--watch"], "--watch: the output is no terminal"),
        (["torture", "--watch"], "--watch: the output is no terminal"),
    ],
)
def test_where_nothing_can_be_drawn_nothing_starts(monkeypatch, capsys, arguments, told):
    monkeypatch.chdir(ROOT)
    assert cli.main(arguments) == 2
    printed = capsys.readouterr()
    assert told in printed.err and not printed.out


def test_a_dumb_terminal_is_refused(monkeypatch):
    stream = io.StringIO()
    stream.isatty = lambda: True
    monkeypatch.setenv("TERM", "dumb")
    with pytest.raises(HarnessError, match="draw lines again"):
        View(Console(file=stream), wanted=True)
    View(Console(file=stream), wanted=False)
