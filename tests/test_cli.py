"""The command line: exit codes, what goes where, and that the cluster is always stopped."""

import importlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import weakref
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from processes import PATIENCE
from screen_fakes import (
    FakeCluster,
    FakeRunner,
    long_set,
    machine_failure,
    pending_operation,
    set_six,
    troubled,
)

from harness import __main__ as entry
from harness import cli, commands
from harness.arguments import parsers, version
from harness.check.verdict import Judgement, Verdict
from harness.cluster import ctrl_c
from harness.run import launch
from harness.screen import consoles, lines, other_cluster, streams

CSV = '1,"(A, J, 3)","[n1, n2, n3, n4, n5]"\n2,"(A, J, 3)","[n1, n2, n3]"\n'
UNKNOWN = Judgement("linearizable", Verdict.UNKNOWN, "the log is from an earlier run")


@pytest.fixture(autouse=True)
def _plain_world(monkeypatch):
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "argv", ["run.py"])
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


class Bench:
    """Runs command lines on fakes."""

    def __init__(self, monkeypatch, path):
        self.monkeypatch, self.file = monkeypatch, str(path)
        self.reports = [set_six(), long_set()]
        self.cluster = FakeCluster(self.reports)
        self.before_set = lambda: None
        self.waiting = []
        self.settings = None
        monkeypatch.setattr(launch, "_live", self.open)
        monkeypatch.setattr(cli, "Runner", self.make_runner)
        self.type("")

    def open(self, settings, data):
        self.settings = settings
        return self.cluster

    def make_runner(self, cluster, settings, sets, on_progress, on_done, timing):
        runner = FakeRunner(self.reports, on_progress, lambda: self.before_set())
        runner.waiting = self.waiting
        return runner

    def type(self, text):
        self.monkeypatch.setattr(sys, "stdin", io.StringIO(text))

    def run(self, *arguments):
        return cli.main([self.file, *arguments])


@pytest.fixture
def bench(monkeypatch, tmp_path):
    path = tmp_path / "two.csv"
    path.write_text(CSV)
    return Bench(monkeypatch, path)


# ---- verdicts and what is printed --------------------------------------------------------------


def test_valid_is_0(bench, capsys):
    assert bench.run("--no-step") == 0
    out, err = capsys.readouterr()
    assert out.count("✓ agreement") == 2 and "valid: every check holds over 2 sets" in out
    assert err == "" and "repeat:" not in out
    assert bench.cluster.calls == ["start", "stop"]


def test_invalid_is_1_and_says_how_to_repeat(bench, capsys):
    bench.reports = [set_six(), troubled()]
    bench.waiting = [pending_operation()]
    assert bench.run("--no-step", "--seed", "5") == 1
    out = capsys.readouterr().out
    assert f"repeat: python run.py {bench.file} --no-step --seed 5\n" in out
    assert "pending: (J, I, 1) of client J" in out


def test_unknown_is_3(bench, capsys):
    report = set_six()
    bench.reports = [replace(report, judgements=(*report.judgements[:3], UNKNOWN))]
    assert bench.run("--no-step") == 3


def test_a_bug_of_our_own_is_70_and_its_traceback_in_a_file(bench, capsys):
    def stumble():
        raise AssertionError("invariant")

    bench.before_set = stumble
    assert bench.run("--no-step") == 70
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("a bug in paxbank") and second == "AssertionError: invariant"
    told = Path(first.rpartition(" ")[2])
    text = told.read_text()
    told.unlink()
    assert text.startswith(f"paxbank {bench.file} --no-step\n") and "in stumble" in text
    assert bench.cluster.calls == ["start", "stop"]


def test_a_seed_is_drawn_printed_and_repeated(bench, capsys):
    bench.reports = [troubled()]
    bench.run("--no-step")
    out = capsys.readouterr().out
    assert bench.settings.seed is not None
    assert f"seed {bench.settings.seed}\n" in out and f"--seed {bench.settings.seed}\n" in out


def test_quit_gives_the_verdict_of_the_sets_run(bench, capsys):
    bench.reports = [set_six(), troubled()]
    bench.type("quit\n")
    assert bench.run() == 0
    assert "over 1 set of 10" in capsys.readouterr().out


def test_standard_input_is_read_as_commands(bench, capsys):
    bench.type("PrintView\nPrintDB\n")
    assert bench.run() == 0
    out = capsys.readouterr().out
    assert "> PrintView" in out and out.count("✓ agreement") == 2


def test_no_step_reads_no_input(bench):
    bench.type("quit\n")
    bench.run("--no-step")
    assert sys.stdin.read() == "quit\n"


def test_no_standard_input_at_all(bench, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    assert bench.run() == 0


@pytest.mark.parametrize(
    ("arguments", "again"),
    [
        ([], "y.csv --seed 7"),
        (["--failure", "crash", "--nodes", "9"], "y.csv --nodes 9 --failure crash --seed 7"),
        (["--data", "{folder}/data"], "y.csv --seed 7"),  # other data another time
        (["--config", "{folder}/c.yaml"], "y.csv --config {folder}/c.yaml --seed 7"),
        (["--config", "{folder}/c.yaml"], "y.yaml --seed 7"),
    ],
)
def test_what_is_saved_says_how_to_run_it_again(
    bench, capsys, monkeypatch, tmp_path, arguments, again
):
    monkeypatch.setenv("COLUMNS", "300")
    (tmp_path / "c.yaml").write_text("heartbeat_ms: 30\n")
    bench.reports = [replace(set_six(), steps=())]
    bench.type(f"save {tmp_path}/{again.split(' ')[0]}\nquit\n")
    assert bench.run("--seed", "7", *(word.format(folder=tmp_path) for word in arguments)) == 0
    command = f"again: python run.py {tmp_path}/{again.format(folder=tmp_path)}\n"
    assert command in capsys.readouterr().out
    if again.startswith("y.yaml"):
        assert "heartbeat_ms: 30" in (tmp_path / "y.yaml").read_text()


def test_csv_cannot_hold_what_a_yaml_file_says_of_its_cluster(bench, capsys, tmp_path):
    bench.file = str(tmp_path / "x.yaml")
    (tmp_path / "x.yaml").write_text("cluster: {heartbeat_ms: 30}\nsets:\n  - live: [n1]\n")
    bench.reports = [replace(set_six(), steps=())]
    bench.type(f"save {tmp_path}/y.csv\nquit\n")
    assert bench.run() == 0
    out = capsys.readouterr().out.replace("\n", " ")
    assert "heartbeat_ms does not fit into CSV" in out and not (tmp_path / "y.csv").exists()


# ---- json --------------------------------------------------------------------------------------


def test_json_is_one_document_and_all_else_is_on_stderr(bench, capsys):
    bench.reports = [troubled()]
    bench.type("quit\n")
    assert bench.run("--format", "json", "--seed", "9") == 1
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert (document["file"], document["seed"], len(document["sets"])) == (bench.file, 9, 1)
    assert "invalid" in err and "repeat:" in err
    assert sys.stdin.read() == "quit\n"


@pytest.mark.parametrize("color", ["auto", "always"])
def test_json_has_no_colour(bench, capsys, color):
    bench.run("--format", "json", "--color", color)
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--nodes", "4"], ["--bogus"], ["--format", "jsn"]])
def test_no_document_on_usage_errors(bench, capsys, arguments):
    assert bench.run("--format", "json", *arguments) == 2
    assert capsys.readouterr().out == ""


# ---- mistakes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "required: FILE"),
        (
            ["{file}", "more.csv"],
            "found 2 files, expected one: many are run by python run.py grade ",
        ),
        (["{file}", "b", "c", "d", "e"], " b …"),
        (["{file}", "more.csv", "--write-expected", "--key", "k"], "--key: one key for 2 files"),
        (["{file}", "--no-stp"], "unknown option --no-stp (did you mean --no-step?)"),
        (["{file}", "--no-st"], "unknown option --no-st"),
        (["{file}", "--color", "alwys"], 'found "alwys", expected auto, always or never (did'),
        (["{file}", "--failure", "crush"], "(did you mean crash?)"),
        (["{file}", "--seed"], "expected one argument"),
        (["{file}", "--seed", "x"], "--seed: "),
        (["{file}", "--durability", "memory", "--data", "d"], "--data: durability memory"),
        (["{file}", "--durability", "memory", "--failure", "crash"], "a crashed replica"),
        (["{file}", "--config", "none.yaml"], "none.yaml: no such file"),
        (["none.csv"], "none.csv: no such file"),
        (["{file}", "--nodes", "3"], "unknown replica"),
    ],
)
def test_mistakes_are_2_and_start_nothing(bench, capsys, arguments, told):
    assert cli.main([word.format(file=bench.file) for word in arguments]) == 2
    out, err = capsys.readouterr()
    assert told in err and out == "" and "Traceback" not in err
    assert bench.cluster.calls == []


def test_nothing_is_no_value_of_any_option(tmp_path, monkeypatch, capsys):
    """Mostly a variable of the shell that is not set: a report went where the person was."""
    monkeypatch.chdir(tmp_path)
    before = {"lint": ["x"], "check": ["x"], "grade": ["x"], "completion": ["bash"], "": ["x"]}
    for command, parser in parsers().items():
        for action in parser._actions:
            option = next(iter(action.option_strings), "")
            typed = [command, *(before.get(command, []) if option else []), option]
            for empty in ["", " "] if action.nargs != 0 else []:
                assert cli.main([*filter(None, typed), empty]) == 2, typed
                (told,) = capsys.readouterr().err.splitlines()
                name = option or action.metavar
                assert told.startswith(name) and "expected" in told, (typed, told)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["simulate", "--jobs", "x"], '--jobs: found "x", expected a whole number'),
        (["explore", "--requests", "1.5"], '--requests: found "1.5", expected a whole number'),
        (["simulate", "--seconds", "soon"], '--seconds: found "soon", expected a number'),
        (["torture", "--nodes", "4"], '--nodes: found "4", expected 3, 5, 7 or 9'),
        (["bench", "--failure", "crsh"], "expected crash or disconnect (did you mean crash?)"),
    ],
)
def test_a_value_that_is_none_of_its_kind_is_told_in_one_line(arguments, told, capsys):
    assert cli.main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


def test_all_problems_of_the_flags_at_once(bench, capsys):
    assert bench.run("--nodes", "4", "--failure", "crush") == 2
    err = capsys.readouterr().err
    assert "--nodes: " in err and "--failure: " in err


OTHER = 'Set Number,Transactions,Live Nodes\n1,"(1, 2, 3)",[n1; n2; n6]\n,(7)\n,F(n7)\n'
OTHER += ",R(n7)\n,F(n6)\n"


@pytest.fixture
def other(bench, monkeypatch):
    """A file for seven replicas and nine accounts, at a terminal."""
    monkeypatch.setattr(other_cluster, "_may_ask", lambda: True)
    Path(bench.file).write_text(OTHER)
    return bench


def test_what_another_cluster_needs_is_offered(other, capsys, tmp_path):
    other.type("y\n")
    assert other.run("--no-step", "--seed", "7") == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith("replicas n6, n7 in 1 set and 3 steps, expected n1..n5: --nodes 7")
    assert "accounts 1, 2, 7 in 2 steps" in lines[1]
    path = tmp_path / "two.config.yaml"
    asked = f"Write {path} with nodes: 7 and accounts: 1..7, and run with it?"
    assert lines[2:] == [asked, "[y/N] "]
    assert path.read_text() == "nodes: 7\naccounts: 1..7\n"
    assert (other.settings.nodes, other.settings.accounts) == (7, tuple("1234567"))


def test_the_command_that_repeats_it_names_the_configuration(other, capsys, tmp_path):
    other.type("YES\n")
    other.reports[1] = replace(other.reports[1], judgements=(UNKNOWN,))
    other.run("--no-step", "--seed", "7")
    path = tmp_path / "two.config.yaml"
    repeat = f"repeat: python run.py {other.file} --no-step --seed 7 --config {path}"
    assert repeat in capsys.readouterr().out.replace("\n", "")


@pytest.mark.parametrize("typed", ["", "\n", "n\n", "yellow\n"])
def test_it_is_never_assumed(other, capsys, tmp_path, typed):
    other.type(typed)
    assert other.run("--no-step") == 2
    assert "is not run (--config FILE says" in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "two.config.yaml").exists() and other.cluster.calls == []


@pytest.mark.parametrize("obstacle", ["no terminal", "a configuration", "a file there"])
def test_nor_offered_where_it_cannot_be(other, capsys, tmp_path, monkeypatch, obstacle):
    other.type("y\n")
    (tmp_path / "mine.yaml").write_text("initial_balance: 5\n")
    arguments = ["--config", str(tmp_path / "mine.yaml")] if obstacle == "a configuration" else []
    if obstacle == "no terminal":
        monkeypatch.setattr(other_cluster, "_may_ask", lambda: False)
    if obstacle == "a file there":
        (tmp_path / "two.config.yaml").write_text("seed: 1\n")
    assert other.run("--no-step", *arguments) == 2
    err = capsys.readouterr().err
    assert "--nodes 7" in err and "accounts: 1..7" in err and "[y/N]" not in err
    beside = tmp_path / "two.config.yaml"
    told = f"{beside} stands beside it: --config {beside}\n"
    assert err.endswith(told) == (obstacle == "a file there")


def test_what_was_read_for_something_else_is_said_once(bench, capsys):
    Path(bench.file).write_text("Set Number,Transactions,Live Servers\n1,(A),[S1; S2]\n2,,S1\n")
    bench.run("--no-step")
    out = capsys.readouterr().out.replace("\n", "")
    assert out.count('the header is read: "Live Servers" as Live Nodes') == 1
    assert out.count("read S1 as n1, S2 as n2") == 1


def test_very_many_problems_do_not_flood_the_screen(bench, capsys):
    rows = "".join(f"7,,[n{1 + row % 2}]\n" for row in range(3 * cli.MOST_PROBLEMS))
    with open(bench.file, "a") as stream:
        stream.write(rows)
    assert bench.run() == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == cli.MOST_PROBLEMS + 1 and "more problems" in err


# ---- when things break -------------------------------------------------------------------------


def test_the_machine_failing_is_4(bench, capsys):
    bench.cluster.start_hook = machine_failure
    assert bench.run("--format", "json") == 4
    out, err = capsys.readouterr()
    assert "n3 cannot start: too many processes" in err and json.loads(out)["sets"] == []
    assert bench.cluster.calls == ["start", "stop"]


@pytest.mark.parametrize("fails", [machine_failure, lambda: interrupt()])
def test_json_is_a_document_too_when_the_run_does_not_come_to_its_end(bench, capsys, fails):
    bench.reports[:] = [long_set(failing=(), pending=())] * 2
    runs = iter([lambda: None, fails])
    bench.before_set = lambda: next(runs)()
    code, why = (4, "n3 cannot start: too many processes") if fails is machine_failure else (
        130, "interrupted")  # fmt: skip
    assert bench.run("--format", "json") == code
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert document["ended"] == why and why in err and len(document["sets"]) == 1
    assert document["verdict"] == "unknown", "what was not run is not valid"


def interrupt():
    raise KeyboardInterrupt


def raises(error):
    def fail():
        raise error

    return fail


@pytest.mark.parametrize("when", ["start", "set", "prompt", "load", "class"])
def test_ctrl_c_is_130_and_stops_the_cluster(bench, capsys, monkeypatch, when):
    match when:
        case "start":
            bench.cluster.start_hook = interrupt
        case "set":
            bench.before_set = interrupt
        case "prompt":
            typed = SimpleNamespace(runs_on=False, read=lambda _: interrupt())
            monkeypatch.setattr(lines, "opened", lambda *_: typed)
        case "load":
            monkeypatch.setattr(cli.testset, "read", lambda *_: interrupt())
        case "class":
            bench.before_set = raises(within_a_class())
    assert bench.run() == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert bench.cluster.calls == ([] if when == "load" else ["start", "stop"])
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # a second one cannot hurt


class Finalized:
    """Ctrl-C comes while its finalizer runs, or is called back when it is let go."""

    def __del__(self):
        signal.raise_signal(signal.SIGINT)


class Watched:
    pass


def dropped(where):
    """Ctrl-C where Python drops what is raised; whoever lost it goes on."""

    def generated():
        try:
            yield
        finally:
            signal.raise_signal(signal.SIGINT)

    def go_on(*_):
        match where:
            case "a finalizer":
                Finalized()
            case "a weak reference":
                watched = Watched()
                _reference = weakref.ref(watched, lambda _: signal.raise_signal(signal.SIGINT))
                del watched
            case "a generator":
                next(generated())
            case "two finalizers":
                Finalized()
                Finalized()
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            pass

    return go_on


DROPPED = ["a finalizer", "a weak reference", "a generator", "two finalizers"]


@pytest.mark.parametrize("where", DROPPED)
def test_ctrl_c_that_python_drops_is_heard(bench, capsys, where):
    """A run with --watch went on to its end once."""
    hook, bench.before_set = sys.unraisablehook, dropped(where)
    assert bench.run() == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert bench.cluster.calls == ["start", "stop"]
    assert sys.unraisablehook is hook
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


def test_a_timer_that_ends_late_ends_nothing():
    """Two are dropped, and the first one's timer ended before the second armed it anew."""

    def theirs(*_):
        pass

    handled = signal.signal(signal.SIGALRM, theirs)
    try:
        with ctrl_c.never_dropped():
            with pytest.raises(KeyboardInterrupt):
                dropped("a finalizer")()
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGALRM)
        assert signal.getsignal(signal.SIGALRM) is theirs
    finally:
        signal.signal(signal.SIGALRM, handled)


@pytest.mark.parametrize("name", commands.names())
def test_ctrl_c_that_python_drops_is_heard_by_every_command(capsys, monkeypatch, name):
    found = commands.find
    run = dropped("a finalizer")
    monkeypatch.setattr(commands, "find", lambda word: replace(found(word), run=run))
    words = {"completion": ["bash"], "lint": ["x"], "check": ["x"], "grade": ["x"]}
    assert cli.main([name, *words.get(name, [])]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_what_else_is_dropped_is_reported_as_ever(bench, monkeypatch):
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda dropped: seen.append(dropped.exc_type))

    class Broken:
        def __del__(self):
            raise ValueError

    bench.before_set = Broken
    assert bench.run("--no-step") == 0
    assert set(seen) == {ValueError}


def test_a_second_ctrl_c_does_not_reach_the_stopping(bench):
    handlers = []
    bench.cluster.stop = lambda: handlers.append(signal.getsignal(signal.SIGINT))
    before = signal.getsignal(signal.SIGINT)
    bench.run("--no-step")
    assert handlers == [signal.SIG_IGN] and signal.getsignal(signal.SIGINT) is before


def stdout_on(monkeypatch, descriptor):
    stream = os.fdopen(descriptor, "w", encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", stream)
    return stream


def test_a_reader_that_left_is_quiet(bench, capsys, monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    stream = stdout_on(monkeypatch, writing)
    assert bench.run("--no-step") == cli.EXIT_UNREAD
    assert capsys.readouterr().err == ""
    assert bench.cluster.calls in (["stop"], ["start", "stop"])
    stream.close()  # must not raise either: this is what happens at exit


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_full_disk_is_4(bench, capsys, monkeypatch):
    stream = stdout_on(monkeypatch, os.open("/dev/full", os.O_WRONLY))
    assert bench.run("--no-step") == 4
    err = capsys.readouterr().err
    assert err.startswith("standard output cannot be written (No space left on device), what it ")
    assert "valid: every check holds over 2 sets" in err  # a verdict is never swallowed
    assert bench.cluster.calls == ["start", "stop"]
    stream.close()


# ---- terminals and pipes -----------------------------------------------------------------------


class Screen(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("color", "terminal", "environment", "coloured"),
    [
        ("auto", True, {}, True),
        ("auto", False, {}, False),
        ("auto", True, {"NO_COLOR": "1"}, False),
        ("never", True, {}, False),
        ("always", False, {}, True),
        ("always", False, {"NO_COLOR": "1"}, True),
    ],
)
def test_colour(monkeypatch, color, terminal, environment, coloured):
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    stream = Screen() if terminal else io.StringIO()
    consoles.opened(color, stream).print("x", style="red")
    assert ("\x1b[31m" in stream.getvalue()) == coloured


def test_pipes_get_no_control_codes(bench, capsys):
    bench.type("help\n")
    bench.run()
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("columns", "width"), [(None, 80), ("120", 120), ("60", 60), ("0", 80), ("x", 80)]
)
def test_width_of_a_pipe(bench, capsys, monkeypatch, columns, width):
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    bench.run("--no-step")
    rules = [line for line in capsys.readouterr().out.splitlines() if line.startswith("── ")]
    assert {len(line) for line in rules} == {width}


def test_streams_that_are_not_unicode_get_plain_signs():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    streams.degrade_signs(stream)
    stream.write("✓ ✗ ? ● ○ … – ·─é")
    stream.flush()
    assert raw.getvalue() == b"+ x ? @ o ~ - --?"


# ---- words -------------------------------------------------------------------------------------

COMMAND = '''"""Greet whoever is named.

More about it.
"""


def add_arguments(parser):
    parser.add_argument("name")


def run(options, console):
    console.print(f"hello {options.name}")
    return 3
'''


@pytest.fixture
def greet(monkeypatch, tmp_path):
    folder = tmp_path / "found"
    folder.mkdir()
    (folder / "greet.py").write_text(COMMAND)
    (folder / "_hidden.py").write_text("raise AssertionError")
    monkeypatch.setattr(commands, "__path__", [str(folder)])
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("harness.commands.greet", None)


def test_commands_are_discovered(greet):
    assert commands.names() == ["greet"]
    assert commands.find("greet").help == "Greet whoever is named."


def test_a_first_word_that_names_a_command_is_that_command(greet, capsys):
    assert cli.main(["greet", "you"]) == 3
    assert capsys.readouterr().out == "hello you\n"


def test_a_command_has_its_own_help_and_mistakes(greet, capsys):
    assert cli.main(["greet", "--help"]) == 0
    assert "usage: python run.py greet" in capsys.readouterr().out
    assert cli.main(["greet", "you", "--colr", "x"]) == 2
    assert "did you mean --color?" in capsys.readouterr().err


def test_a_file_may_be_named_like_a_command(greet, bench, capsys):
    (greet / "greet").write_text(CSV)
    assert cli.main(["./greet", "--no-step"]) == 0
    assert "./greet · 2 sets" in capsys.readouterr().out.replace("\n", " ")


def test_a_mistyped_command(greet, capsys):
    assert cli.main(["gret"]) == 2
    assert "gret: neither a file nor a command (did you mean greet?)" in capsys.readouterr().err


def test_help_has_examples_commands_and_signs(greet, capsys):
    assert cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    for part in ("--no-step", "examples:", "greet  Greet whoever", "A C E X", "130"):
        assert part in out


@pytest.mark.parametrize("program", ["run.py", "paxbank", "__main__.py"])
def test_help_says_how_it_was_started(monkeypatch, capsys, program):
    monkeypatch.setattr(sys, "argv", [f"/somewhere/{program}"])
    cli.main(["--help"])
    started = {"run.py": "python run.py", "__main__.py": "python -m harness"}.get(program, program)
    assert capsys.readouterr().out.startswith(f"usage: {started} ")


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"paxbank {version()}\n"
    assert version()[0].isdigit()


def test_the_entry_points_import_nothing_heavy():
    """A starting replica may import them, and Ctrl-C that comes meanwhile prints a traceback."""
    code = "import sys, run, harness.__main__; "
    code += "print({'rich', 'harness.cli', 'harness.cluster'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("missing", ["rich", "yaml"])
def test_without_its_environment_it_says_what_to_type(missing):
    """Whoever forgot the environment gets one line."""
    code = f"import sys; sys.modules[{missing!r}] = None; import run, runpy; "
    code += "sys.argv = ['run.py', 'x.csv']; runpy.run_path('run.py', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 4 and "Traceback" not in done.stderr
    assert f"the package {missing} is not installed" in done.stderr
    assert ".venv/bin/pip install -e ." in done.stderr


def within_a_class():
    """Ctrl-C while a class is made, as a Python before 3.12 raises it."""
    error = RuntimeError("Error calling __set_name__ on 'Field' instance 'runs' in 'Acceptor'")
    error.__cause__ = KeyboardInterrupt()
    return error


def pressed(times, goes_on):
    """Ctrl-C, so many times in an import; whether the import went on."""
    for _ in range(times):
        signal.raise_signal(signal.SIGINT)
    goes_on.append(True)


@pytest.mark.parametrize(
    ("happens", "expected"),
    [
        (lambda goes_on: pressed(1, goes_on), [True]),
        (lambda goes_on: pressed(2, goes_on), []),
        (lambda goes_on: raises(within_a_class())(), []),
    ],
    ids=["once", "twice", "in a class"],
)
def test_ctrl_c_while_modules_are_loaded_is_130(monkeypatch, capsys, happens, expected):
    """A first one waits for the import, which may lose it; a module may be one that never ends."""
    goes_on = []

    class Interrupted:
        @staticmethod
        def find_spec(name, *_):
            if name in ("harness.cli", "harness.commands.lint"):
                happens(goes_on)

    monkeypatch.delitem(sys.modules, "harness.commands.lint", raising=False)
    monkeypatch.delitem(sys.modules, "harness.cli")
    monkeypatch.delattr("harness.cli")
    monkeypatch.setattr(sys, "meta_path", [Interrupted, *sys.meta_path])
    assert entry.main() == 130
    assert goes_on == expected and capsys.readouterr().err == ""
    goes_on.clear()
    assert cli.main(["lint", "x.csv"]) == 130
    assert goes_on == expected and capsys.readouterr().err == "interrupted\n"


def test_ctrl_c_before_it_can_be_held_back_is_130(monkeypatch, capsys):
    class Interrupted:
        @staticmethod
        def find_spec(name, *_):
            if name == "harness.cluster.ctrl_c":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "harness.cluster.ctrl_c")
    monkeypatch.delattr("harness.cluster.ctrl_c")
    monkeypatch.setattr(sys, "meta_path", [Interrupted, *sys.meta_path])
    assert entry.main() == 130 and capsys.readouterr().err == ""


def test_ctrl_c_before_and_after_what_the_command_line_answers_for_is_130(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["run.py", "missing.csv"])
    monkeypatch.setattr(cli, "EarlierReport", interrupted)
    assert entry.main() == 130 and capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("harness.external.description", "x.csv --replicas replicas.yaml"),
        ("harness.external.fits", "x.csv --replicas replicas.yaml"),
        ("harness.files.yaml_source", "x.csv --config x.yaml"),
        ("harness.live.cluster", "x.csv --no-step"),
        ("harness.live.usage", "x.csv --no-step"),
        ("harness.screen.step_through", "x.csv --step-messages"),
        ("harness.screen.watching", "x.csv --watch"),
        ("harness.sim.world", "x.csv --sim"),
        ("harness.sim.invariants", "x.csv --sim"),
        ("harness.commands.lint", "lint x.csv"),
    ],
)
def test_a_part_that_is_loaded_late_and_missing_is_one_line(
    monkeypatch, capsys, tmp_path, module, words
):
    monkeypatch.chdir(tmp_path)
    Path("x.csv").write_text(CSV)
    Path("x.yaml").write_text("nodes: 5\n")
    Path("replicas.yaml").write_text("start: sleep 9\n")
    importlib.import_module(module)
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delattr(module)
    assert cli.main(words.split()) == 70
    (line,) = capsys.readouterr().err.splitlines()
    assert module in line and line.endswith(", expected a program that can be loaded")


def test_an_old_python_is_told(monkeypatch, capsys):
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    assert entry.main() == 4
    assert "this is Python 3.9, expected 3.11 or newer" in capsys.readouterr().err
