"""`grade`: many runs, what they came to, and that nothing outlives them."""

import json
import os
import shutil
import signal
import subprocess
import sys
from multiprocessing.util import get_temp_dir
from pathlib import Path

import jsonschema
import junitparser
import pytest
from processes import PATIENCE, marked, piped, wait_for  # noqa: F401
from test_report import GRADESCOPE, read_back

from harness import cli
from harness.commands.grade import grades, outlets, runs
from harness.commands.grade.grades import Graded, Result
from harness.commands.grade.scoring import Scoring
from harness.report.documents import Folder

ROOT = Path(__file__).parents[1]
CSV = '1,"(A, B, 1); LF; (B, A, 1)","[n1, n2, n3]"\n2,"(A, B, 1)",[n1]\n'

# What a run does, by the last digit of its seed.
PROGRAM = """
import json, sys, time
from pathlib import Path
words = dict(zip(sys.argv[2::2], sys.argv[3::2]))
kind = int(words["--seed"]) % 10
verdict = ["valid", "invalid", "unknown", "unknown", "invalid", "unknown"][kind]
wrong = [{"holds": False, "where": "x.yaml:6", "key": "leader", "reason": "expected n1, found n2"}]
one = {
    "set": 6, "leaderless_ms": 400.5, "expectations": wrong if kind == 1 else [],
    "reasons": {"expectations": "", "agreement": "slot 7"} if kind == 1 else {},
    "steps": [{"step": "LF", "outcome": "done"}, {"step": "(A)", "outcome": "success"}],
}
if kind == 2:
    one["reasons"] = {"linearizable": "too many"}
document = {
    "sets": [one], "sets_in_file": 2, "verdict": verdict, "points": 2 if kind == 0 else 1
}
Path(words["--report"]).mkdir()
Path(words["--report"], "results.json").write_text(json.dumps(document))
Path(words["--data"]).mkdir()
if kind == 3:
    time.sleep(600)
if kind == 4:
    sys.exit("n3 cannot start")
if kind == 5:
    raise AssertionError("slot 7 has two values")
sys.exit({"valid": 0, "invalid": 1, "unknown": 3}[verdict])
"""


@pytest.fixture
def case(tmp_path, monkeypatch):
    """A file, in a folder of its own; what is temporary goes to another one."""
    monkeypatch.setattr(sys, "argv", ["run.py"])
    monkeypatch.delenv("COLUMNS", raising=False)
    get_temp_dir()  # that of this program's forkserver stays where it is
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.chdir(tmp_path)
    Path("one.csv").write_text(CSV)
    return temporary


@pytest.fixture
def scripted(case, monkeypatch):
    monkeypatch.setattr(runs, "_PROGRAM", PROGRAM.replace('sys.exit("n3', 'print("n3'))
    return case


def left_in(temporary):
    """Our folders; those of multiprocessing are its own business."""
    return list(temporary.glob("paxbank-*"))


def grade(*words):
    return cli.main(["grade", *words])


# ---- real runs ---------------------------------------------------------------------------------


def test_real_runs_that_pass_leave_nothing(case, capsys):
    flags = ["--runs", "2", "--nodes", "3", "--failure", "all", "--sim", "--seed", "7"]
    assert grade("one.csv", *flags, "--format", "json", "--jobs", "2", "--report", "out") == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["failure"] for one in found["graded"]] == ["disconnect", "crash", "pause"]
    for one in found["graded"]:
        assert (one["runs"], one["done"], one["passed"], one["pass_rate"]) == (2, 2, 2, 1.0)
        assert (one["flaky"], one["first_failure"], one["points_of"]) == (False, None, 2)
        assert one["points"] == {"median": 2, "min": 2}
        assert one["seconds"]["worst"] >= one["seconds"]["median"] > 0
        assert 0 < one["failover_ms"]["median"] < 2000
        results = sorted(one["results"], key=lambda result: result["run"])
        assert [result["seed"] for result in results] == [7, 8]
        assert results[1]["command"] == (
            f"python run.py one.csv --no-step --failure {one['failure']} --seed 8 --nodes 3 --sim"
        )
    assert left_in(case) == []
    assert json.loads(Path("out/results.json").read_text()) == found
    read_back(Path("out/junit.xml"))


def test_a_real_run_that_fails_keeps_its_data_and_report(case, capsys):
    Path("hasty.yaml").write_text("progress_ms: 1\npatience_ms: 100\n")  # too soon for a failover
    flags = ["--runs", "1", "--nodes", "3", "--config", "hasty.yaml", "--seed", "5"]
    assert grade("one.csv", *flags, "--keep", "kept") == 1
    out = capsys.readouterr().out
    kept = Path("kept/one-disconnect-5")
    assert f"kept: {kept}" in out and ": waited 1 ms for an answer" in out
    names = {str(path.relative_to(kept)) for path in kept.rglob("*")}
    assert names >= {"data/cluster.json", "data/n3.db", "report/results.json", "output.txt"}
    assert left_in(case) == []
    # The command that is printed repeats the run as it was.
    (line,) = [line for line in out.splitlines() if "repeat:" in line]
    words = line.split("run.py ")[1].split()
    done = subprocess.run([sys.executable, str(ROOT / "run.py"), *words], capture_output=True)
    assert done.returncode == 1


def test_answer_keys_are_honoured(case, capsys):
    Path("one.expected.yaml").write_text("expected:\n  1:\n    balances: {A: 8}\n")
    flags = ["one.csv", "--runs", "1", "--nodes", "3", "--sim"]
    assert grade(*flags) == 1
    assert "   one.expected.yaml:3: balances: expected A 8, found A 10\n" in capsys.readouterr().out
    assert grade(*flags, "--no-key") == 0
    Path("one.expected.yaml").write_text("nodes: 5\nexpected: {}\n")
    assert grade(*flags) == 2
    assert "one.expected.yaml:1: nodes: this key is for 5" in capsys.readouterr().err


# ---- what runs come to -------------------------------------------------------------------------


def test_what_is_certain_is_the_first_reason_and_a_check_before_what_follows_from_it():
    def met(key, verdict):
        return {"where": "k:9", "key": key, "holds": False, "verdict": verdict, "reason": "why"}

    checks = {"durable": "not asked", "progress": "invalid", "no quorum, no answer": "invalid"}
    first = {"set": 1, "expectations": [met("leader", "unknown")], "reasons": {}}
    second = {
        "set": 2,
        "expectations": [met("balances", "unknown"), met("outcomes", "invalid")],
        "checks": {**checks, "linearizable": "unknown", "expectations": "invalid"},
        "reasons": dict.fromkeys((*checks, "linearizable", "expectations"), "why"),
    }
    assert runs._reasons({"sets": [first, second]}) == [
        "set 2: no quorum, no answer: why",
        "k:9: outcomes: why",
        "set 2: progress: why",
        "k:9: leader: why",
        "set 2: linearizable: why",
        "k:9: balances: why",
    ]


def test_every_outcome_is_told_with_its_reason(scripted, capsys, monkeypatch):
    def seconds(one):  # by this clock a run takes too long once it did all that it does
        return 2.0 if one.plan.seed % 10 == 3 and (one.folder / "data").exists() else 0.1

    monkeypatch.setattr(runs._Running, "seconds", property(seconds))
    flags = ["--runs", "6", "--seed", "10", "--timeout", "1.5", "--nodes", "3"]
    code = grade("one.csv", *flags, "--format", "json", "--keep", "kept")
    found = json.loads(capsys.readouterr().out)
    (one,) = found["graded"]
    told = {result["run"]: (result["outcome"], result["reasons"]) for result in one["results"]}
    assert code == found["exit_code"] == 1
    assert told == {
        1: ("passed", []),
        2: ("failed", ["set 6: agreement: slot 7", "x.yaml:6: leader: expected n1, found n2"]),
        3: ("unknown", ["set 6: linearizable: too many"]),
        4: ("hung", ["not through after 1.5 s, 1 of 2 sets run"]),
        5: ("failed", []),
        6: ("crashed", ["AssertionError: slot 7 has two values"]),
    }
    assert (one["passed"], one["flaky"], one["first_failure"]) == (1, True, 2)
    assert one["points"] == {"median": 1, "min": 1} and one["failover_ms"]["worst"] == 400.5
    kept = sorted(path.name for path in Path("kept").iterdir())
    assert kept == [f"one-disconnect-{seed}" for seed in range(11, 16)]
    assert {result["folder"] for result in one["results"][:2]} == {None, f"kept/{kept[0]}"}
    assert left_in(scripted) == []


def test_files_of_one_name_keep_their_folders_apart(scripted, capsys):
    """The third failure of test.csv found its folder taken, and everybody after it had nothing."""
    names = [f"class/{who}/test.csv" for who in ("anna", "ben", "cem")]
    for name in names:
        Path(name).parent.mkdir(parents=True)
        Path(name).write_text(CSV)
    flags = ["--runs", "2", "--seed", "1", "--nodes", "3", "--keep", "kept", "--format", "json"]
    assert grade(*names, *flags) == 1
    found = json.loads(capsys.readouterr().out)["graded"]
    folders = [result["folder"] for one in found for result in one["results"]]
    people = ("anna", "ben", "cem")
    assert folders == [f"kept/class-{who}-test-disconnect-{s}" for who in people for s in (1, 2)]
    assert all(Path(folder, "report", "results.json").is_file() for folder in folders)
    # Two paths that are one word, too.
    assert runs.one_word("a/b-c.csv") == runs.one_word("a-b/c.csv") == "a-b-c"
    taken = Path("kept", "a-b-c")
    taken.mkdir()
    assert runs._free(taken) == Path("kept/a-b-c-2")
    Path("kept", "a-b-c-2").mkdir()
    assert runs._free(taken) == Path("kept/a-b-c-3")


def test_bad_files_do_not_stop_the_good_ones(scripted, capsys, monkeypatch):
    """Nor do keys and configurations, which `cases/*` names as well."""
    rows = [f"{number},LF,\n" for number in range(2, 22)]
    Path("two.csv").write_text("".join(["1,(A, B),[n1]\n", *rows]))
    Path("three.yaml").write_text("sets:\n- steps: [LFF]\n")
    Path("one.expected.yaml").write_text("expected: {}\n")
    Path("small.yaml").write_text("nodes: 3\n")
    files = sorted(str(path) for path in Path().glob("*.*"))
    flags = ["--runs", "2", "--seed", "10", "--nodes", "3", "--report", "out"]
    monkeypatch.setattr(runs, "_PROGRAM", runs._PROGRAM.replace("% 10", "% 10 * 0"))
    assert grade(*files, *flags) == 2
    out, err = capsys.readouterr()
    left = "left out: one.expected.yaml (an answer key); small.yaml (a configuration)"
    assert err == "" and f" {left}\n" in out and "1 file · failure disconnect" in out
    assert "✓ 2/2" in out and out.count("✗ refused") == 2
    assert "   two.csv:1: Transactions: (A, B): 2 values" in out
    assert "   three.yaml:2: steps: unknown step" in out
    assert "   … and 11 more (lint tells all)" in out
    document = json.loads(Path("out/results.json").read_text())
    assert document["exit_code"] == 2 and [one["file"] for one in document["graded"]] == ["one.csv"]
    assert [one["file"] for one in document["refused"]] == ["three.yaml", "two.csv"]
    junit = read_back(Path("out/junit.xml"))
    assert (junit.tests, junit.errors) == (4, 2)
    gradescope = json.loads(Path("out/gradescope.json").read_text())
    jsonschema.validate(gradescope, GRADESCOPE)
    assert [test["status"] for test in gradescope["tests"]] == ["passed", "failed", "failed"]
    assert [test["max_score"] for test in gradescope["tests"]] == [2, 0, 0]
    assert "LFF" in gradescope["tests"][1]["output"]


def test_where_nothing_is_a_test_set_it_is_said_why(case, capsys):
    Path("one.expected.yaml").write_text("expected: {}\n")
    Path("small.yaml").write_text("nodes: 3\n")
    assert grade("one.expected.yaml", "small.yaml") == 2
    assert [line.split(":", 2)[2] for line in capsys.readouterr().err.splitlines()] == [
        " this is an answer key, expected its test set",
        " this is a configuration (given with --config), expected a test set with sets:",
    ]


def test_the_trouble_of_one_run_is_its_own(scripted, capsys, monkeypatch):
    start, move = runs.Runs._start, shutil.move

    def starts(self, plan):
        if plan.graded.file == "bad.csv":
            raise OSError(12, "Cannot allocate memory")
        start(self, plan)

    def moves(source, target):
        if "ugly" in source.name:
            raise OSError(28, "No space left on device")
        return move(source, target)

    monkeypatch.setattr(runs.Runs, "_start", starts)
    monkeypatch.setattr(runs.shutil, "move", moves)
    for name in ("bad.csv", "ugly.csv", "last.csv"):
        Path(name).write_text(CSV)
    flags = ["--runs", "1", "--seed", "10", "--nodes", "3", "--format", "json"]
    fails = runs._PROGRAM.replace("% 10", "% 10 + ('ugly' in sys.argv[1])")
    monkeypatch.setattr(runs, "_PROGRAM", fails)
    assert grade("bad.csv", "ugly.csv", "last.csv", *flags) == 1
    bad, ugly, last = (one["results"][0] for one in json.loads(capsys.readouterr().out)["graded"])
    assert (bad["outcome"], bad["reasons"]) == ("machine", ["[Errno 12] Cannot allocate memory"])
    assert (ugly["outcome"], ugly["folder"]) == ("failed", None)
    kept = "its data and report could not be kept: [Errno 28] No space left on device"
    assert ugly["reasons"][-1] == kept
    assert last["outcome"] == "passed"


def full_after(documents, monkeypatch):
    """A folder's disk takes so many and no more; what was written, to be counted anew."""
    write, writes = Folder.write, []

    def fill(self, name, data):
        writes.append(name)
        if len(writes) > documents:
            raise OSError(28, "No space left on device")
        write(self, name, data)

    monkeypatch.setattr(Folder, "write", fill)
    return writes


def test_a_report_that_cannot_be_written_does_not_swallow_the_grades(scripted, capsys, monkeypatch):
    writes = full_after(3, monkeypatch)
    flags = ["--runs", "1", "--nodes", "3", "--report", "out"]
    for seed, code in (("10", 4), ("11", 1)):
        writes.clear()
        assert grade("one.csv", *flags, "--seed", seed) == code
    out, err = capsys.readouterr()
    assert "✓ 1/1" in out and "✗ 0/1" in out
    assert err == "out: the report cannot be written (No space left on device)\n" * 2


def test_what_passed_is_removed_at_once(scripted):
    graded = Graded("one.csv", "crash", 3, 1, False)
    plans = [runs.Plan(graded, run, 10 * run, ["--seed", f"{run}0"], True, 60) for run in (1, 2)]
    with runs.Runs(1, Path) as started:
        for _, made in started.results(plans):
            assert made.outcome == "passed" and not list(scripted.glob("paxbank-grade-*/[!.]*"))


@pytest.mark.parametrize("width", [60, 80, 140])
def test_the_table(scripted, capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    assert grade("one.csv", "--runs", "2", "--seed", "20", "--nodes", "3") == 1
    out = capsys.readouterr().out
    assert "1 file · failure disconnect · 2 runs each · seeds 20-21" in " ".join(out.split())
    (row,) = [line for line in out.splitlines() if line.startswith(" one.csv")]
    assert "✗ 1/2 flaky" in row and ("400 ms" in row) == (width > 60)
    assert "median – worst" in out and ("; failover: clients" in out) == (width > 60)
    assert " ✗ one.csv, disconnect: 1 run did not pass, the first is run 2 (seed 21): failed" in out
    assert "   x.yaml:6: leader: expected n1, found n2\n" in out
    repeat = "python run.py one.csv --no-step --failure disconnect --seed 21 --nodes 3"
    assert f"   repeat: {repeat}\n" in out
    (kept,) = left_in(scripted)  # a temporary folder, and it is named
    assert f"   kept: {kept}/one-disconnect-21\n" in out
    assert max(map(len, out.splitlines()[:5])) <= width


def test_where_no_leader_was_lost_no_failover_is_spoken_of(scripted, capsys, monkeypatch):
    monkeypatch.setattr(runs, "_PROGRAM", PROGRAM.replace('"LF"', '"(B)"'))
    assert grade("one.csv", "--runs", "1", "--seed", "20", "--nodes", "3") == 0
    out = capsys.readouterr().out
    assert "✓ 1/1" in out and "median – worst" in out and "ailover" not in out


def result(run, outcome, points=1.0, reasons=("why",)):
    folder = None if outcome == grades.PASSED else f"kept/{run}"
    return Result(run, 6 + run, outcome, 1.5, points, (), reasons, f"repeat {run}", folder)


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([], 0),
        (["passed"], 0),
        (["passed", "unknown"], 3),
        (["unknown", "machine"], 4),
        (["machine", "failed"], 1),
        (["passed", "hung"], 1),
        (["crashed", "unknown"], 1),
    ],
)
def test_exit_code(outcomes, code):
    results = [result(run, outcome) for run, outcome in enumerate(outcomes, 1)]
    graded = [Graded("x.csv", "crash", 9, 1, False, results)]
    assert grades.exit_code(graded, {}) == code
    assert grades.exit_code(graded, {"y.csv": ["y.csv:1: bad"]}) == (code if code in (1, 4) else 2)


def test_other_programs_read_as_much_as_there_is(tmp_path):
    some = [result(2, "failed", 0.5), result(1, "passed", 4), result(3, "hung", 1)]
    graded = [Graded("x.csv", "crash", 4, 4, True, some), Graded("y.csv", "pause", 1, 2, False)]
    document = outlets.as_gradescope(graded, Scoring())
    jsonschema.validate(document, GRADESCOPE)
    first, second = document["tests"]
    assert (first["score"], first["max_score"], first["status"]) == (1.375, 4, "failed")
    assert (second["score"], second["max_score"], document["score"]) == (0, 2, 1.375)
    assert first["output"].splitlines() == [
        "1 of 4 runs passed", "1 not run, which count nothing", "",
        "run 2: failed", "why", "repeat: repeat 2", "kept: kept/2",
    ]  # fmt: skip
    assert document["output"] == "3 of 5 runs made, score mean"
    (tmp_path / "junit.xml").write_bytes(grades.as_junit(graded))
    found = read_back(tmp_path / "junit.xml")
    assert [suite.name for suite in found] == ["x.crash", "y.pause"]
    kinds = {case.name: [type(r) for r in case.result] for case in next(iter(found))}
    assert kinds == {
        "run 1": [],
        "run 2": [junitparser.Failure],
        "run 3": [junitparser.Error],
        "run 4": [junitparser.Error],
    }


# ---- mistakes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "required: FILE"),
        (["none.csv"], "none.csv: no such file"),
        (["one.csv", "--failure", "crash,crush"], '"crush", expected some of disconnect, crash, p'),
        (["one.csv", "--failure", "al"], "(did you mean all?)"),
        (["one.csv", "--runs", "0"], "--runs: found 0, expected a number from 1 on"),
        (
            ["one.csv", "--runs", f"{10**20}"],
            "--runs: found 1e+20, expected a number up to",
        ),
        (["one.csv", "--timeout", "inf"], "--timeout: found inf, expected a number up to 1000000"),
        (["one.csv", "--runs", "x"], "--runs"),
        (["one.csv", "--jobs", "0"], "--jobs: found 0"),
        (["one.csv", "--jobs", "1001"], "--jobs: found 1001, expected a number up to 1000"),
        (["one.csv", "--timeout", "nan"], "--timeout: found nan"),
        (["one.csv", "--timeout", "0"], "--timeout: found 0, expected more than 0"),
        (["one.csv", "--seed", "x"], "--seed: "),
        (["one.csv", "--format", "jsn"], "(did you mean json?)"),
        (["one.csv", "--keep", "one.csv"], "one.csv: is a file, expected a folder for what did"),
        (["one.csv", "--keep", "."], 'holds "one.csv", expected a folder for what did not pass'),
        (["one.csv", "--report", "."], 'holds "one.csv", expected a folder for the report'),
        (["one.csv", "--durability", "memory", "--failure", "all"], "a crashed replica returns"),
    ],
)
def test_mistakes_are_2_and_start_nothing(case, capsys, words, told):
    assert grade(*words) == 2
    out, err = capsys.readouterr()
    assert told in err and out == "" and "Traceback" not in err
    assert left_in(case) == []


def test_all_mistakes_of_all_files_at_once_and_each_once(case, capsys):
    Path("two.csv").write_text("1,(A, B),[n1]\n")
    Path("three.csv").write_text("1,(A, B, x),[n9]\n")
    assert grade("two.csv", "three.csv", "--failure", "all") == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["two.csv", "three.csv", "three.csv"]


def test_a_file_named_like_a_command(case, capsys):
    Path("simulate").write_text(CSV)
    assert grade("simulate", "--runs", "1", "--sim", "--nodes", "3") == 0


# ---- the end -----------------------------------------------------------------------------------


def start(environment, temporary, *flags):
    """A real grading whose second set waits for a minute; returns when its replicas are up."""
    Path("patient.yaml").write_text("patience_ms: 60000\n")
    words = ["one.csv", "--runs", "2", "--nodes", "3", "--config", "patient.yaml", *flags]
    command = [sys.executable, str(ROOT / "run.py"), "grade", *words]
    return piped(command, environment | {"TMPDIR": str(temporary)})


def in_the_second_set(temporary):
    found = list(temporary.glob("paxbank-grade-*/*/report/results.json"))
    try:
        return len(found) == 2 and all(len(json.loads(p.read_text())["sets"]) == 1 for p in found)
    except OSError:  # being replaced
        return False


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks for processes in /proc")
@pytest.mark.parametrize("failure", ["disconnect", "pause"])
def test_nothing_outlives_a_killed_grading(case, marked, failure):  # noqa: F811
    environment, alive = marked
    process = start(environment, case, "--jobs", "2", "--failure", failure)
    assert wait_for(lambda: in_the_second_set(case))
    process.kill()
    process.communicate(timeout=PATIENCE)
    assert wait_for(lambda: not alive()), alive()
    assert wait_for(lambda: not left_in(case)), list(case.rglob("*"))


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks for processes in /proc")
def test_ctrl_c_ends_everything_at_once_and_prints_what_there_is(case, marked):  # noqa: F811
    environment, alive = marked
    process = start(environment, case, "--jobs", "2", "--format", "json", "--report", "out")
    assert wait_for(lambda: in_the_second_set(case))
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130 and "Traceback" not in err and "interrupted" in err
    (one,) = json.loads(out)["graded"]
    assert (one["done"], one["pass_rate"], one["results"]) == (0, None, [])
    assert wait_for(lambda: not alive()), alive()
    assert left_in(case) == []
    assert json.loads(Path("out/gradescope.json").read_text())["score"] == 0
