"""Wherever a program's words go, its exit code is the documented one, and there is no traceback."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import cli
from harness.screen import streams

ROOT = Path(__file__).parents[1]
FULL = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")


@FULL
@pytest.mark.parametrize(
    ("words", "to", "code", "told"),
    [
        ("--version", ">&-", 0, ""),
        ("--version", ">/dev/full", 4, "paxbank"),  # what standard output was to get
        ("none.csv", ">&- 2>&- <&-", 2, ""),
        ("none.csv", "2>/dev/full", 2, ""),
        ("completion bash", "2>&1 | true", 141, ""),
    ],
)
def test_the_exit_code_is_the_documented_one(tmp_path, words, to, code, told):
    shell = f"{sys.executable} {ROOT / 'run.py'} {words} {to}; exit ${{PIPESTATUS[0]}}"
    buffered = os.environ | {"PYTHONUNBUFFERED": ""}
    done = subprocess.run(
        ["bash", "-c", shell], cwd=tmp_path, env=buffered, capture_output=True, text=True
    )
    said = done.stdout + done.stderr
    assert done.returncode == code and told in said, said
    assert "Traceback" not in said and "ignored" not in said


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="looks at descriptors in /proc")
def test_no_file_gets_the_number_of_a_closed_stream(tmp_path):
    """A database that is descriptor 2 would be written into by whoever complains."""
    code = "import harness.__main__ as entry, os, sys; entry._open_streams(); "
    code += "sys.exit(any(os.readlink(f'/proc/self/fd/{n}') != os.devnull for n in range(3)))"
    shell = f'exec {sys.executable} -c "{code}" <&- >&- 2>&-'
    assert subprocess.run(["bash", "-c", shell], cwd=ROOT).returncode == 0


class Failing(io.StringIO):
    """Takes so many writes, and then no more."""

    def __init__(self, takes, error):
        super().__init__()
        self.takes, self.error = takes, error

    def write(self, text):
        if not self.takes:
            raise self.error
        self.takes -= 1
        return super().write(text)


def test_a_disk_that_is_full_later_loses_nothing(monkeypatch):
    output, errors = Failing(1, OSError(28, "No space left on device")), io.StringIO()
    monkeypatch.setattr(sys, "stdout", output)
    monkeypatch.setattr(sys, "stderr", errors)
    with streams.guarded() as guarded:
        for line in ("one\n", "two\n", "three\n"):
            sys.stdout.write(line)
            sys.stdout.flush()
    assert output.getvalue() == "one\n"
    assert errors.getvalue().splitlines()[1:] == ["two", "three"]
    assert guarded.failure == "No space left on device"
    assert sys.stdout is output and sys.stderr is errors


def test_standard_error_that_cannot_be_written_ends_nothing(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", Failing(0, BrokenPipeError(32, "Broken pipe")))
    assert cli.main(["none.csv"]) == 2


def test_a_pipe_that_breaks_elsewhere_is_no_closed_output(monkeypatch, capsys):
    def broken(*_):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(cli.testset, "read", broken)
    assert cli.main(["x.csv"]) == 4
    assert "the machine failed: [Errno 32] Broken pipe" in capsys.readouterr().err


def test_a_reader_that_left_is_no_fault_of_a_seed(monkeypatch, capsys):
    """What the simulator catches of a replica must not be what its trace could not print."""
    monkeypatch.setattr(sys, "stdout", Failing(8, BrokenPipeError(32, "Broken pipe")))
    assert cli.main(["simulate", "--seeds", "0", "--trace"]) == 141
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("code", [0, 1])
def test_nobody_else_ends_the_program(monkeypatch, capsys, code):
    """An exit code of a replica is no verdict."""

    def leave(*_):
        raise SystemExit(code)

    monkeypatch.setattr(cli.testset, "read", leave)
    assert cli.main(["x.csv"]) == 70
    told, what = capsys.readouterr().err.splitlines()
    Path(told.rpartition(" ")[2]).unlink()
    assert what == f"SystemExit: {code}"


LEAVING = """
import os, posix, sys, harness.__main__ as entry, bank.replica
source = f"def step(*_):\\n    {sys.argv.pop(1)}"
exec(compile(source, bank.replica.__file__, "exec"), vars(bank.replica))
bank.replica.Replica.step = bank.replica.step
raise SystemExit(entry.main())
"""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("x.csv --sim --no-step", "a replica raised in the simulation: bank/replica.py:2: "),
        ("simulate --seeds 0", "✗ seed 0: Left: os._exit(0); bank/replica.py:2: "),
        ("explore --requests 1", "violation after 1 event: bank/replica.py:2: Left: os._exit(0)"),
    ],
)
@pytest.mark.parametrize("leaves", ["import os; os._exit(0)", "import posix; posix._exit(0)"])
def test_a_simulated_replica_that_leaves_takes_nobody_along(tmp_path, words, told, leaves):
    (tmp_path / "x.csv").write_text('1,(A),"[n1, n2, n3]"\n')
    done = subprocess.run(
        [sys.executable, "-P", "-c", LEAVING, leaves, *words.split()],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and told in done.stdout + done.stderr


# ---- a program that cannot be loaded -----------------------------------------------------------


def broken_copy(tmp_path, module, text):
    """This program with a `bank` in which one module is another one."""
    (tmp_path / "bank").mkdir()
    for file in (ROOT / "bank").glob("*.py"):
        (tmp_path / "bank" / file.name).write_text(file.read_text())
    (tmp_path / "bank" / module).write_text(text)
    (tmp_path / "harness").symlink_to(ROOT / "harness")
    (tmp_path / "run.py").write_text((ROOT / "run.py").read_text())


@pytest.mark.parametrize(
    ("module", "text", "words", "told"),
    [
        ("ballot.py", "import bank.gone\n", "x.csv", "No module named 'bank.gone'"),
        ("ballot.py", "\nsize = 1 / 0\n", "lint x.csv", "bank/ballot.py:2: ZeroDivisionError: "),
        ("replica.py", "class Odd(:\n", "explore", "bank/replica.py:1: SyntaxError: "),
        ("replica.py", "from bank.log import gone\n", "simulate", "replica.py:1: ImportError: "),
        ("quorum.py", "raise SystemExit(0)\n", "torture --kills 0", "bank/quorum.py:1: System"),
    ],
)
def test_a_bank_that_cannot_be_loaded_is_one_line(tmp_path, module, text, words, told):
    broken_copy(tmp_path, module, text)
    (tmp_path / "x.csv").write_text("1,(A),[n1]\n")
    done = subprocess.run(
        [sys.executable, "-P", "run.py", *words.split()],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    (line,) = done.stderr.splitlines()
    assert told in line and line.endswith(", expected a program that can be loaded")
    assert done.returncode == 70 and done.stdout == ""
