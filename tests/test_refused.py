"""What never ran leaves no earlier report behind, and touches nothing else."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from test_report import GRADESCOPE, read_back
from test_streams import broken_copy

from harness import cli
from harness.report import refused
from harness.report.documents import NAMES
from harness.run import launch

GOOD = '1,"(A, B, 1)","[n1, n2, n3]"\n'


@pytest.fixture(scope="module")
def yesterday(tmp_path_factory):
    """A report with the full score."""
    folder = tmp_path_factory.mktemp("earlier")
    (folder / "good.csv").write_text(GOOD)
    words = ["--sim", "--no-step", "--nodes", "3", "--report", str(folder / "out")]
    assert cli.main([str(folder / "good.csv"), *words]) == 0
    assert json.loads((folder / "out" / "gradescope.json").read_text())["score"] == 1
    return folder / "out"


@pytest.fixture
def out(yesterday, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("good.csv").write_text(GOOD)
    shutil.copytree(yesterday, "out")
    return Path("out")


def is_refused(out, reason, code):
    results = json.loads((out / "results.json").read_text())
    assert (results["verdict"], results["exit_code"]) == ("refused", code)
    assert reason in "\n".join(results["problems"]) and results["points"] == 0
    graded = json.loads((out / "gradescope.json").read_text())
    jsonschema.validate(graded, GRADESCOPE)
    assert graded["score"] == 0 and reason in graded["output"]
    found = read_back(out / "junit.xml")
    assert (found.tests, found.errors) == (1, 1)
    for name in ("report.html", "history.jsonl", "trace.jsonl"):
        assert "refused" in (out / name).read_text().lower()
    assert cli.main(["check", str(out / "history.jsonl")]) == 2


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["bad.csv", "--report", "out"], "bad.csv:1: Transactions: "),
        (["grade", "bad.csv", "--report=out"], "bad.csv:1: Transactions: "),
        (["good.csv", "--report", "out", "--nodse", "3"], "unknown option --nodse"),
        (["--report", "out"], "required: FILE"),
        (["good.csv", "--report", "out", "--config", "none.yaml"], "none.yaml: no such file"),
        (["grade", "good.csv", "--report", "out"], 'out: holds "history.jsonl"'),
    ],
)
def test_what_is_refused_replaces_an_earlier_report(out, capsys, words, reason):
    Path("bad.csv").write_text("1,(A B),[n1]\n")
    assert cli.main(words) == 2
    is_refused(out, reason, 2)


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(24, "Too many open files"), 4, "Too many open files"),
        (AssertionError("slot 7"), 70, "AssertionError: slot 7"),
    ],
)
def test_every_end_before_the_beginning_does(out, capsys, monkeypatch, error, code, reason):
    def fail(*_):
        raise error

    monkeypatch.setattr(launch, "settings", fail)
    assert cli.main(["good.csv", "--report", "out"]) == code
    is_refused(out, reason, code)


def test_replicas_that_do_not_start_do(out, capsys):
    """The report of a run that had no set is written as any other, and no bug of ours."""
    Path("node.py").write_text("raise SystemExit(3)\n")
    words = ["good.csv", "--nodes", "3", "--replicas", f"{sys.executable} -S node.py"]
    assert cli.main([*words, "--report", "out"]) == 2
    assert "n1 does not start" in capsys.readouterr().err
    results = json.loads((out / "results.json").read_text())
    assert (results["verdict"], results["sets"]) == ("unknown", [])


def test_a_bank_that_cannot_be_loaded_does(out, tmp_path):
    broken_copy(tmp_path, "ballot.py", "class Odd(:\n")
    subprocess.run(
        [sys.executable, "-P", "run.py", "good.csv", "--report", "out"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
    )
    is_refused(out, "bank/ballot.py:1: SyntaxError", 70)


def test_what_the_run_wrote_itself_stays(out, capsys, monkeypatch):
    """It has what there was when the run ended, and says what was not run."""

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.Runner, "run_next", fail)
    assert cli.main(["good.csv", "--sim", "--no-step", "--nodes", "3", "--report", "out"]) == 130
    results = json.loads((out / "results.json").read_text())
    assert (results["verdict"], results["sets"]) == ("unknown", [])
    assert json.loads((out / "gradescope.json").read_text())["score"] == 0


def test_files_of_others_are_left_alone(out, capsys):
    (out / "notes.txt").write_text("mine")
    assert cli.main(["good.csv", "--report", "out"]) == 2
    is_refused(out, 'out: holds "notes.txt"', 2)
    assert (out / "notes.txt").read_text() == "mine"


def test_a_folder_that_is_no_report_is_left_alone(out, capsys):
    (out / "notes.txt").write_text("mine")
    (out / "results.json").write_text('{"results": "of something else"}')
    before = {name: (out / name).read_bytes() for name in NAMES}
    assert cli.main(["bad.csv", "--report", "out"]) == 2
    assert {name: (out / name).read_bytes() for name in NAMES} == before


def test_what_is_not_there_is_not_made(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["none.csv", "--report", "out"]) == 2
    assert not Path("out").exists()


def test_on_a_full_disk_it_is_removed(out, capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(refused, "replace", full)
    assert cli.main(["none.csv", "--report", "out"]) == 2
    assert not any(out.iterdir())


def test_what_cannot_even_be_removed_is_told(out, capsys, monkeypatch):
    def read_only(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(refused, "_replace_or_remove", read_only)
    assert cli.main(["none.csv", "--report", "out"]) == 2
    told = "out/results.json: tells of an earlier run, cannot be written (Read-only file system)"
    assert told in capsys.readouterr().err
