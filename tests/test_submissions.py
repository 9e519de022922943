"""`grade --submission`: the right row for each, nobody hurt by another, nothing lost by a stop."""

import csv
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest
from external_runs import TINY
from processes import living, wait_for
from test_grade import ROOT, case, full_after, grade, left_in  # noqa: F401
from test_report import GRADESCOPE, read_back

from harness.commands.grade import folders, resume, rows, runs, trying

CSV = '1,"(A, J, 3)","[n1, n2, n3]"\n2,"(B, J, 1)","[n1, n2, n3]"\n'
QUICK = "nodes: 3\nclient_timeout_ms: 100\npatience_ms: 200\nprogress_ms: 800\n"
START = f"start: {sys.executable} -S -E {TINY}"
TELLS = {"read": True, "state": True, "log": False, "views": False}

# A trial, and a run, that do what the name of the submission says.
TRIAL = """
import json, sys
from pathlib import Path
asked = json.loads(sys.argv[1])
name = Path(asked["folder"]).name
with open("tried.txt", "a") as stream:
    stream.write(name + "\\n")
starts, problems = True, []
if name == "unbuilt":
    starts, problems = False, [asked["source"] + ": build: make: does not build", "    line 7"]
if name == "broken":
    sys.exit("no space left")
tells = {"read": True, "state": name != "silent"}
document = {"starts": starts, "problems": problems, "tells": tells, "is_the_machines": False}
Path(asked["found"]).write_text(json.dumps(document))
"""
RUN = """
import json, sys
from pathlib import Path
words = dict(zip(sys.argv[2::2], sys.argv[3::2]))
with open("run.txt", "a") as stream:
    stream.write(Path(words["--built"]).name + " " + words["--seed"] + "\\n")
wrong = "wrong" in words["--replicas"] and words["--seed"] == "8"
if "machine" in words["--replicas"] and not Path("mended").exists():
    sys.exit(4)
one = {"set": 1, "steps": [], "expectations": [], "checks": {}, "leaderless_ms": 0.0}
one["reasons"] = {"progress": "waited", "conservation": "sum 99"} if wrong else {}
one["checks"] = {"progress": "unknown", "conservation": "invalid"}
verdict = "invalid" if wrong else "valid"
document = {"sets": [one], "sets_in_file": 1, "verdict": verdict, "points": 0 if wrong else 2}
Path(words["--report"]).mkdir()
Path(words["--report"], "results.json").write_text(json.dumps(document))
Path(words["--report"], "report.html").write_text("page")
Path(words["--report"], "n1.log").write_bytes(b"x" * 5000000 if wrong else b"")
sys.exit(1 if wrong else 0)
"""


def hand_in(name, *words, **more):
    """A submission in the folder class, of the tiny replica with this behaviour."""
    folder = Path("class", name)
    folder.mkdir(parents=True)
    lines = [f"{START} {' '.join(words)}", "settle_ms: 50"]
    lines += [f"{key}: {value}" for key, value in more.items()]
    Path(folder, "replicas.yaml").write_text("\n".join(lines) + "\n")
    return str(folder)


@pytest.fixture
def school(case):  # noqa: F811
    Path("one.csv").write_text(CSV)
    Path("quick.yaml").write_text(QUICK)
    return case


@pytest.fixture
def scripted(school, monkeypatch):
    monkeypatch.setattr(runs, "_PROGRAM", RUN)
    monkeypatch.setattr(trying, "_PROGRAM", TRIAL)
    return school


def graded(*given, runs=2, code=1, words=()):
    flags = ["--runs", str(runs), "--config", "quick.yaml", *words]
    assert grade("one.csv", *flags, "--submission", *given) == code


def table():
    """The rows of grades.csv, without what differs from run to run."""
    with open("grades/grades.csv", newline="") as stream:
        found = list(csv.DictReader(stream))
    for row in found:
        row["first failure"] = re.sub(r"\d{4,}", "N", row["first failure"])
    return {row.pop("submission"): row for row in found}


# ---- real submissions --------------------------------------------------------------------------


def test_four_submissions_have_the_right_row_each(school, capsys):
    hand_in("good")
    hand_in("wrong", "contradicts")
    hand_in("unbuilt", build="\"sh -c 'echo no such compiler; exit 4'\"")
    Path("class/nothing").mkdir()
    given = ["class/good", "class/wrong", "class/unbuilt", "class/nothing"]
    words = ["--seed", "7", "--jobs", "2", "--require", "state,read"]
    graded(*given, runs=1, words=words)
    out = capsys.readouterr().out
    found = table()
    passed = {name: (row["points"], row["passed"], row["runs"]) for name, row in found.items()}
    assert passed == {
        "good": ("2", "1", "1"),
        "wrong": ("0", "0", "1"),
        "unbuilt": ("0", "0", "1"),
        "nothing": ("0", "0", "1"),
    }
    why = {name: row["first failure"] for name, row in found.items()}
    assert why["good"] == ""
    page = "grades/wrong/one-disconnect-7/report/report.html"
    assert "was answered success and failed too" in why["wrong"]
    assert why["wrong"].endswith(f"({page})") and Path(page).is_file()
    built = "does not build: the command ends with exit code 4 (grades/unbuilt/trial.txt)"
    assert why["unbuilt"].endswith(built)
    assert "    no such compiler\n" in Path("grades/unbuilt/trial.txt").read_text()
    assert why["nothing"].startswith("class/nothing: no replicas.yaml, expected a description")
    assert re.search(r" good +✓ 1/1\n", out) and re.search(r" nothing +✗ 0/1", out)
    assert left_in(school) == []


@pytest.mark.long
def test_twelve_submissions_and_a_grader_that_is_killed(school, capsys):
    pids = Path("pids").resolve()
    example = (ROOT / "docs" / "examples" / "bank.yaml").read_text()
    Path("class/good").mkdir(parents=True)
    Path("class/good/replicas.yaml").write_text(
        example.replace("-E bank.py", f"-E {ROOT}/docs/examples/bank.py")
    )
    hand_in("wrong", "contradicts")
    hand_in("hanging", "mute")
    hand_in("flooding", "endless", limits="{file_mb: 64}")
    hand_in("forking", "forks", str(pids))
    hand_in("unbuilt", build="\"sh -c 'echo no such compiler; exit 4'\"")
    hand_in("exiting", "ends", "request")
    hand_in("garbage", "garbage", "garbage")
    hand_in("slow", "slow", "3")
    hand_in("eating", "eats", "memory", limits="{memory_mb: 100}")
    Path("class/absent").mkdir()
    Path("class/absent/replicas.yaml").write_text("start: ./nowhere\n")
    Path("class/nothing").mkdir()
    given = [str(path) for path in sorted(Path("class").iterdir())]
    assert len(given) == 12
    words = ["one.csv", "--runs", "2", "--seed", "7", "--jobs", "2", "--config", "quick.yaml"]
    words += ["--submission", *given]
    command = [sys.executable, str(ROOT / "run.py"), "grade", *words]
    for results in (2, 9):  # of runs, when it is killed
        process = subprocess.Popen(
            [*command, "--resume"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while known_runs() < results:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
        process.wait()
    assert grade(*words, "--resume") == 1
    resumed = table()
    if pids.exists():
        started = [int(word) for word in pids.read_text().split()]
        assert started and wait_for(lambda: not living(started))
    passed = {name for name, row in resumed.items() if row["passed"] == "2"}
    assert passed == {"good", "flooding", "forking", "garbage"}
    why = {name: row["first failure"] for name, row in resumed.items()}
    for name, told in {
        "wrong": "was answered success and failed too",
        "hanging": "does not start: does not answer init within 10 s",
        "unbuilt": "does not build: the command ends with exit code 4",
        "exiting": "ended by itself: n1: its process ended by itself (exit code 3)",
        "slow": "progress: ",
        "eating": "MB of memory, expected at most 100",
        "absent": "n1 does not start: ./nowhere is not there",
        "nothing": "class/nothing: no replicas.yaml",
    }.items():
        assert told in why[name], (name, why[name])
    os.rename("grades", "killed")
    assert grade(*words) == 1
    assert {**table(), "eating": None} == {**resumed, "eating": None}
    assert left_in(school) == []


def known_runs():
    """How many runs are known by now."""
    count = 0
    for path in Path("grades").glob(f"*/{resume.KNOWN}"):
        found = json.loads(path.read_bytes())["graded"]
        count += sum(len(one["results"]) for one in found)
    return count


# ---- what is written, and going on -------------------------------------------------------------


def test_each_is_tried_once_and_its_runs_are_breadth_first(scripted, capsys):
    for name in ("anna", "wrong", "unbuilt"):
        hand_in(name)
    graded("class/anna", "class/wrong", "class/unbuilt", words=["--seed", "7"])
    assert Path("tried.txt").read_text().split() == ["anna", "wrong", "unbuilt"]
    assert Path("run.txt").read_text().split("\n")[:-1] == [
        "anna 7",
        "wrong 7",
        "anna 8",
        "wrong 8",
    ]
    rows = table()
    assert rows["wrong"] == {
        "file": "one.csv", "points": "1", "max": "2", "passed": "1", "runs": "2",
        "first failure": "run 2: set 1: conservation: sum 99 "
        "(grades/wrong/one-disconnect-8/report/report.html)",
    }  # fmt: skip
    log = Path("grades/wrong/one-disconnect-8/report/n1.log")
    assert log.stat().st_size == runs.MOST_OF_A_LOG
    (repeat,) = [
        result["command"]
        for one in json.loads(Path("grades/results.json").read_text())["submissions"]
        for result in one["graded"][0]["results"]
        if result["outcome"] == "failed"
    ]
    assert repeat.endswith("--replicas class/wrong/replicas.yaml --built class/wrong")
    suites = read_back(Path("grades/junit.xml"))
    assert [suite.name for suite in suites] == [
        f"{name}/one.disconnect" for name in ("anna", "wrong", "unbuilt")
    ]


def test_what_is_missing_is_run_and_nothing_else(scripted, capsys):
    for name in ("anna", "wrong", "machine", "broken"):
        hand_in(name)
    given = ["class/anna", "class/wrong", "class/machine", "class/broken"]
    graded(*given, words=["--seed", "7"])
    first = table()
    assert first["machine"]["first failure"].startswith("run 1: machine: ")
    # Killed after a report was kept, and before that was known; and while it was being kept.
    known = Path("grades/wrong/submission.json")
    document = json.loads(known.read_text())
    assert len(document["graded"][0]["results"]) == 2
    document["graded"][0]["results"].pop()
    known.write_text(json.dumps(document))
    Path("grades/wrong/.one-disconnect-9.new").mkdir()
    Path("mended").touch()
    Path("tried.txt").unlink()
    Path("run.txt").unlink()
    capsys.readouterr()
    graded(*given, words=["--resume"])
    assert "goes on with grades: 3 runs made before" in capsys.readouterr().out
    assert Path("tried.txt").read_text().split() == ["broken"]
    assert sorted(Path("run.txt").read_text().split("\n")[:-1]) == [
        "machine 7",
        "machine 8",
        "wrong 8",
    ]
    again = table()
    assert {**again, "machine": None} == {**first, "machine": None}
    assert again["machine"]["passed"] == "2"
    assert [path.name for path in Path("grades/wrong").iterdir() if path.is_dir()] == [
        "one-disconnect-8"
    ]
    graded(*given, runs=3, words=["--resume"])  # more runs than before
    assert table()["anna"]["passed"] == "3"


def test_going_on_with_something_else_is_refused(scripted, capsys):
    hand_in("anna")
    graded("class/anna", code=0, words=["--seed", "7"])
    before = Path("grades/results.json").read_bytes()
    graded("class/anna", code=2)
    assert "grades: holds the grades of submissions, expected --resume" in capsys.readouterr().err
    graded("class/anna", runs=1, code=2, words=["--resume", "--seed", "8", "--nodes", "5"])
    told = capsys.readouterr().err
    assert "--runs was 2, found 1" in told and "--seed was 7, found 8" in told
    assert "--nodes was not given, found 5" in told
    Path("quick.yaml").write_text(QUICK + "# more\n")
    Path("one.csv").write_text(CSV + '3,"(C, J, 1)","[n1, n2, n3]"\n')
    graded("class/anna", code=2, words=["--resume"])
    told = capsys.readouterr().err
    assert "the file of --config has changed" in told and "one.csv has changed" in told
    assert Path("grades/results.json").read_bytes() == before
    Path("grades/anna/submission.json").write_text("{")
    Path("quick.yaml").write_text(QUICK)
    Path("one.csv").write_text(CSV)
    graded("class/anna", code=2, words=["--resume"])
    assert "remove grades/anna to have it graded anew" in capsys.readouterr().err


def test_a_file_that_is_not_run_has_rows_without_points(scripted, capsys):
    hand_in("anna")
    Path("bad.csv").write_text('1,"(A, J, x)","[n1, n2, n3]"\n')
    flags = ["--runs", "2", "--config", "quick.yaml", "--submission", "class/anna"]
    assert grade("one.csv", "bad.csv", *flags) == 2
    with open("grades/grades.csv", newline="") as stream:
        good, bad = csv.DictReader(stream)
    assert good["file"] == "one.csv" and good["passed"] == "2"
    why = bad.pop("first failure")
    assert why.startswith("the file was not run: bad.csv:1: ")
    assert list(bad.values()) == ["anna", "bad.csv", "0", "0", "0", "0"]
    assert "bad.csv was not run" in capsys.readouterr().out


def test_two_gradings_do_not_share_a_folder(scripted, capsys):
    hand_in("anna")
    submissions = folders.find(["class/anna"], None)
    with resume.Store(Path("grades"), submissions):
        graded("class/anna", code=2)
    assert "grades: another grading writes there" in capsys.readouterr().err


def test_a_disk_that_is_full_does_not_swallow_the_grades(scripted, capsys, monkeypatch):
    hand_in("wrong")
    full_after(3, monkeypatch)
    graded("class/wrong", words=["--seed", "7"])
    out, err = capsys.readouterr()
    assert "✗ 1/2" in out and err.endswith("cannot be written (No space left on device)\n")


@pytest.mark.parametrize("width", [60, 80, 140])
def test_the_table(scripted, capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    for name in ("anna", "wrong", "unbuilt"):
        hand_in(name)
    Path("two.yaml").write_text("sets:\n- {points: 3, steps: ['(A, J, 1)']}\n")
    flags = ["--runs", "2", "--seed", "7", "--config", "quick.yaml"]
    given = ["--submission", *map(str, sorted(Path("class").iterdir()))]
    assert grade("one.csv", "two.yaml", *flags, *given) == 1
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= width
    assert "3 submissions · 2 files · failure disconnect" in out
    words = " ".join(out.split())
    assert "grades/unbuilt/trial.txt" in out and "does not build" in words
    assert "run 2: set 1: conservation: sum 99" in words
    (row,) = [line for line in out.splitlines() if line.startswith(" anna")]
    assert row.split() == ["anna", "✓", "2/2", "2", "of", "3", "4", "of", "5"]
    (row,) = [line for line in out.splitlines() if line.startswith(" wrong")]
    assert ("one.csv, run 2" in row) == (width > 80)


# ---- flags -------------------------------------------------------------------------------------


def test_what_is_demanded_must_be_told(scripted, capsys):
    hand_in("silent")
    hand_in("anna")
    graded("class/silent", "class/anna", words=["--require", "state"])
    assert table()["silent"]["first failure"] == "does not tell state, which --require demands"
    assert Path("run.txt").read_text().count("silent") == 0
    (one,) = json.loads(Path("grades/anna/submission.json").read_text())["graded"]
    assert all(result["command"].endswith(" --require state") for result in one["results"])


def test_one_description_for_all(scripted, capsys):
    for name in ("a/anna", "b/anna", "ben"):
        Path("class", name).mkdir(parents=True)
    Path("their.yaml").write_text(f"{START}\n")
    words = ["--replicas-file", "their.yaml"]
    graded("class/a/anna", "class/b/anna", "class/ben", "class/ben", code=0, words=words)
    assert list(table()) == ["a-anna", "b-anna", "ben"]
    (one, *_) = json.loads(Path("grades/results.json").read_text())["submissions"]
    assert "--replicas their.yaml --built class/a/anna" in one["graded"][0]["results"][0]["command"]


def test_a_file_that_does_not_fit_is_the_matter_of_that_submission(scripted, capsys):
    hand_in("anna")
    hand_in("five", fixed="{nodes: 5}")
    graded("class/anna", "class/five")
    assert table()["anna"]["passed"] == "2"
    assert "fixed at 5, the run needs 3" in table()["five"]["first failure"]
    assert Path("tried.txt").read_text() == "anna\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--resume"], "--resume: found without --submission"),
        (["--require", "state"], "--require: found without --submission"),
        (
            ["--submission", "class/ana"],
            "class/ana: no such folder, expected a submission (did you",
        ),
        (["--submission", "one.csv"], "one.csv: is a file, expected a folder with a replicas.yaml"),
        (["--submission", "class/anna", "--require", "stat"], "(did you mean state?)"),
        (["--submission", "class/anna", "--sim"], "--sim: a simulation runs our own replicas"),
        (["--submission", "class/anna", "--keep", "x"], "--keep: what does not pass is kept in --"),
        (["--submission", "class/anna", "--package", "gradescope"], "--package: an archive grades"),
        (["--submission", "class/anna", "--replicas-file", "one.csv"], "expected a YAML file"),
        (["--submission", "class/anna", "--replicas-file", "no.yaml"], "no.yaml: no such file"),
        (["--submission", "class/anna", "--report", "class"], "class: holds the submissions"),
        (
            ["--submission", "class/anna", "class/ben", "--outlet", "gradescope=x.json"],
            "--outlet gradescope: Gradescope grades one submission at a time, found 2",
        ),
        (
            ["--submission", "class/anna", "class/alone", "--jobs", "2"],
            "--jobs 2: class/alone/replicas.yaml: its ports are the machine's (links: none)",
        ),
    ],
)
def test_mistakes_are_2_and_start_nothing(scripted, capsys, words, told):
    hand_in("anna")
    hand_in("ben")
    hand_in("alone", links="none", shim="./shim", ready="{seconds: 1}")
    assert grade("one.csv", "--config", "quick.yaml", *words) == 2
    out, err = capsys.readouterr()
    assert told in err and out == ""
    assert not Path("tried.txt").exists() and not Path("grades").exists()


def test_a_description_may_be_anything(scripted, capsys):
    """It is somebody else's: whatever it is, it costs its own row."""
    made = {
        "pipe": lambda path: os.mkfifo(path),
        "folder": lambda path: path.mkdir(),
        "large": lambda path: path.write_bytes(b"#" * (folders.LARGEST + 1)),
        "deep": lambda path: path.write_text("start: " + "[" * 5000),
        "binary": lambda path: path.write_bytes(bytes(range(256))),
        "loop": lambda path: path.symlink_to(path.name),
    }
    for name, make in made.items():
        folder = Path("class", name)
        folder.mkdir(parents=True)
        make(folder / "replicas.yaml")
    hand_in("anna")
    graded(*map(str, sorted(Path("class").iterdir())), runs=1)
    found = table()
    assert found.pop("anna")["passed"] == "1"
    assert {row["passed"] for row in found.values()} == {"0"}
    assert all(row["first failure"] for row in found.values())


# ---- outlets -----------------------------------------------------------------------------------


def test_outlets_of_one_submission(scripted, capsys):
    hand_in("unbuilt")
    words = [f"--outlet={name}={name}.json" for name in ("gradescope", "prairielearn")]
    graded("class/unbuilt", words=words)
    found = json.loads(Path("gradescope.json").read_text())
    jsonschema.validate(found, GRADESCOPE)
    assert (found["score"], found["tests"][0]["max_score"]) == (0, 2)
    assert "does not build" in found["tests"][0]["output"]
    found = json.loads(Path("prairielearn.json").read_text())
    assert not found["gradable"] and "does not build" in found["format_errors"][0]


def test_a_step_has_a_summary_with_a_row_for_each_and_a_line_for_what_failed(
    scripted, capsys, monkeypatch
):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    for name in ("anna", "wrong", "unbuilt"):
        hand_in(name)
    graded("class/anna", "class/wrong", "class/unbuilt", words=["--seed", "7"])
    found = [line for line in capsys.readouterr().out.splitlines() if line.startswith("::")]
    assert found[0].startswith(
        "::error file=one.csv,line=1,title=wrong%3A failure disconnect%3A 1 of 2 runs passed::"
    )
    assert found[-1].startswith(
        "::error file=class/unbuilt/replicas.yaml,line=1,title=unbuilt%3A was not run::build: "
    )
    of_one = [line for line in found if "unbuilt" in line]
    assert len(of_one) == 1, "what it wrote as it was built is no error of its own"
    lines = Path("summary.md").read_text().splitlines()
    assert lines[2:5] == [
        "| submission | one.csv | first failure |",
        "|---|---|---|",
        "| anna | ✓ 2/2 |  |",
    ]
    assert lines[5].startswith("| wrong | ✗ 1/2 | one.csv, run 2: set 1: conservation: sum 99")


def test_a_row_of_a_table_is_one_line():
    assert rows.in_words(rows.Cell(0, 1, 0, 5, 0, False)) == "not run"
    assert rows.in_words(rows.Cell(1, 1, 2, 5, 2, False)) == "… 2/5"
    assert rows.in_words(rows.Cell(2.5, 4, 2, 5, 5, True)) == "2.5 of 4"


def test_names_of_folders_are_printable_and_apart(tmp_path):
    named = ("red\x1b[31m", "two\nlines", "a b é")
    for name in named:
        (tmp_path / name).mkdir()
    found = folders.find([str(tmp_path / name) for name in named], None)
    assert [one.name for one in found] == ["red\\u001b[31m", "two\\u000alines", "a b é"]
    assert [one.folder.name for one in found] == [*named]
