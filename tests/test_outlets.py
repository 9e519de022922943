"""Grades as others read them: each document against its documented format, the archive by running.

The formats: Classroom 50's `schemas/result-v1.schema.json` and its wiki page on autograders,
PrairieLearn's `docs/externalGrading.md`, GitHub's workflow commands, Gradescope's specifications.
"""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from test_grade import case, grade, result, scripted  # noqa: F401
from test_report import GRADESCOPE, read_back

from harness.commands.grade import outlets, rows
from harness.commands.grade.grades import Graded
from harness.commands.grade.scoring import Scoring, scoring
from harness.errors import HarnessError

ROOT = Path(__file__).parents[1]
NOW = "2026-06-01T14:32:05Z"
ENVIRONMENT = {
    "CLASSROOM": "ds",
    "ASSIGNMENT": "bank",
    "SUBMISSION_TAG": "submit/2026-06-01T14-32-05Z-a1b2c3d",
    "COMMIT_URL": "https://git.example/c",
    "RELEASE_URL": "https://git.example/r",
    "USERNAME": "anna",
}
WORD = {"type": "string", "minLength": 1}
WHOLE = {"type": "integer", "minimum": 0}
TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT([01]\d|2[0-3]):[0-5]\d:[0-5]\dZ$"}
CLASSROOM50 = {
    "type": "object",
    "additionalProperties": False,
    "required": [
        "schema", "classroom", "assignment", "assignment_type", "owner", "submission", "commit",
        "release", "review", "datetime", "score", "max-score", "tests",
    ],
    "properties": {
        "schema": {"const": "classroom50/result/v1"},
        **dict.fromkeys(("classroom", "assignment", "owner", "commit", "release", "review"), WORD),
        "assignment_type": {"enum": ["individual", "group"]},
        "submission": {"type": "string", "pattern": "^submit/"},
        "datetime": TIME,
        "graded_at": TIME,
        "score": WHOLE,
        "max-score": WHOLE,
        "submitted_by": {"type": "object"},
        "tests": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["test-name", "passed", "score", "max-score"],
                "properties": {
                    "test-name": WORD,
                    "passed": {"type": "boolean"},
                    "score": WHOLE,
                    "max-score": WHOLE,
                },
            },
        },
    },
}  # fmt: skip
PRAIRIELEARN = {
    "type": "object",
    "if": {"properties": {"gradable": {"const": False}}, "required": ["gradable"]},
    "then": {"properties": {"format_errors": {"type": ["string", "array"]}}},
    "else": {"required": ["score"]},
    "properties": {
        "gradable": {"type": "boolean"},
        "score": {"type": "number", "minimum": 0, "maximum": 1},
        "message": {"type": "string"},
        "output": {"type": "string"},
        "tests": {
            "type": "array",
            "items": {
                "type": "object",
                # Both of every test, or none of them is shown with points.
                "required": ["name", "points", "max_points"],
                "properties": {"points": {"type": "number"}, "max_points": {"type": "number"}},
            },
        },
    },
}


def runs_of(*outcomes, most=4.0, file="x.csv", wanted=None, points=None):
    made = [
        result(run, outcome, most if outcome == "passed" else (points or 0))
        for run, outcome in enumerate(outcomes, 1)
    ]
    return Graded(file, "crash", wanted or len(made), most, True, made, set_lines={6: 31})


MIXED = [runs_of("passed", "failed", points=1), runs_of("passed", most=2.5, file="y.yaml")]


# ---- how runs become points --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "points"),
    [("mean", 2.5), ("worst", 1), ("passes:1", 4), ("passes:2", 2)],
)
def test_runs_become_points(word, points):
    rule = scoring(word, 2)
    assert rule.points(MIXED[0]) == points and str(rule) == word


def test_a_run_that_was_not_made_counts_nothing():
    short = runs_of("passed", wanted=4)
    assert [scoring(word, 4).points(short) for word in ("mean", "worst", "passes:4")] == [1, 0, 1]
    assert scoring("worst", 4).points(runs_of(wanted=4)) == 0


@pytest.mark.parametrize("word", ["best", "passes", "passes:0", "passes:x", "passes:3", ""])
def test_other_rules_are_refused(word):
    with pytest.raises(HarnessError, match="--score: found "):
        scoring(word, 2)


# ---- documents ---------------------------------------------------------------------------------


def test_classroom50_has_whole_numbers():
    document = json.loads(
        outlets.document("classroom50", MIXED, Scoring(), ENVIRONMENT, NOW).decode()
    )
    jsonschema.validate(document, CLASSROOM50)
    scores = [(test["score"], test["max-score"], test["passed"]) for test in document["tests"]]
    assert scores == [(5, 8, False), (5, 5, True)]  # of 2.5 of 4 and 2.5 of 2.5, all doubled
    assert (document["score"], document["max-score"]) == (10, 13)
    assert (document["owner"], document["review"]) == ("anna", "https://git.example/c")
    thirds = [runs_of("passed", "passed", "failed", most=1)]
    document = outlets.as_classroom50(thirds, Scoring(), ENVIRONMENT, NOW)
    assert (document["score"], document["max-score"]) == (0, 1)  # all points for all of them only
    assert all(test["score"] <= test["max-score"] for test in document["tests"])


def test_prairielearn_scores_from_0_to_1_by_weight():
    document = outlets.as_prairielearn(MIXED, Scoring())
    jsonschema.validate(document, PRAIRIELEARN)
    assert document["score"] == pytest.approx(5 / 6.5, abs=1e-6)
    assert [(t["points"], t["max_points"]) for t in document["tests"]] == [(2.5, 4), (2.5, 2.5)]
    nothing = outlets.as_prairielearn([runs_of("failed", most=0)], Scoring())
    jsonschema.validate(nothing, PRAIRIELEARN)
    assert nothing["score"] == 0


def test_what_could_not_even_begin_is_not_gradable():
    document = outlets.as_prairielearn([runs_of("crashed", "machine")], Scoring())
    jsonschema.validate(document, PRAIRIELEARN)
    assert document["gradable"] is False and "why" in document["format_errors"][0]
    assert outlets.as_prairielearn([runs_of("crashed", "failed")], Scoring())["gradable"]
    assert outlets.as_prairielearn([runs_of(wanted=2)], Scoring())["gradable"]


def test_gradescope_scores_by_the_rule():
    document = outlets.as_gradescope(MIXED, scoring("passes:1", 1))
    jsonschema.validate(document, GRADESCOPE)
    assert document["score"] == 6.5 and "score passes:1" in document["output"]


def test_github_shows_reasons_beside_their_lines():
    one = runs_of("failed")
    reasons = ("x.yaml:6: leader: expected n1,\nfound 100 %", "set 6: agreement: slot 7", "else")
    one.results[0] = result(1, "failed", reasons=reasons)
    title = "title=failure crash%3A 0 of 1 runs passed"
    assert outlets.annotations([one, one]) == [
        f"::error file=x.yaml,line=6,{title}::leader: expected n1,%0Afound 100 %25",
        f"::error file=x.csv,line=31,{title}::set 6: agreement: slot 7",
        f"::error file=x.csv,line=1,{title}::else",
    ]
    text = outlets.summary([*MIXED, one], Scoring())
    assert "| x.csv | crash | ✗ 1/2 flaky | 2.5 of 4 |" in text.splitlines()
    assert text.count("```") == 4 and "repeat: repeat 2" in text


REFUSED = {"bad.csv": ["bad.csv:2: Transactions: LFF: unknown step", "bad.csv:9: set 1 again"]}


@pytest.mark.parametrize("name", ["gradescope", "classroom50", "prairielearn", "junit"])
def test_a_file_that_was_not_run_is_told_and_costs_nothing(name, tmp_path):
    """Nor does it help: the points are those of the files that were run."""
    rule = Scoring()
    plain, told = (
        outlets.document(name, MIXED, rule, ENVIRONMENT, NOW, refused) for refused in ({}, REFUSED)
    )
    assert b"LFF: unknown step" in told and b"set 1 again" in told and b"bad.csv" not in plain
    if name == "junit":
        (tmp_path / "x").write_bytes(told)
        assert read_back(tmp_path / "x").errors == 1
        return
    before, now = json.loads(plain), json.loads(told)
    jsonschema.validate(
        now, {"classroom50": CLASSROOM50, "prairielearn": PRAIRIELEARN}.get(name, {})
    )
    assert now["score"] == before["score"] and len(now["tests"]) == len(before["tests"]) + 1
    assert "the file was not run" in json.dumps(now["tests"][-1])


def test_where_nothing_could_begin_the_files_that_were_not_run_are_told_too():
    document = outlets.as_prairielearn([runs_of("crashed")], Scoring(), REFUSED)
    jsonschema.validate(document, PRAIRIELEARN)
    assert any("LFF" in told for told in document["format_errors"])


def test_github_shows_why_a_file_was_not_run():
    title = "title=the file was not run"
    assert outlets.annotations([], REFUSED) == [
        f"::error file=bad.csv,line=2,{title}::Transactions: LFF: unknown step",
        f"::error file=bad.csv,line=9,{title}::set 1 again",
    ]
    lines = outlets.summary(MIXED, Scoring(), REFUSED).splitlines()
    assert "| bad.csv | | ✗ not run | |" in lines and "bad.csv was not run" in lines
    submissions = rows.summary([], Scoring(), REFUSED)
    assert "bad.csv was not run" in submissions and "LFF: unknown step" in submissions


def test_that_clients_forget_what_is_unanswered_stands_with_the_grades(tmp_path):
    one = replace(runs_of("failed"), drops=True)
    for name in outlets.NAMES:
        data = outlets.document(name, [one], Scoring(), ENVIRONMENT, NOW)
        told = b'name="unanswered" value="drop"' if name == "junit" else b"unanswered drop"
        assert told in data
        assert b"drop" not in outlets.document(name, MIXED, Scoring(), ENVIRONMENT, NOW)
    assert "| x.csv | crash, unanswered drop | " in outlets.summary([one], Scoring())


# ---- by the command ----------------------------------------------------------------------------


def test_outlets_are_written_with_every_run(scripted, capsys, monkeypatch):  # noqa: F811
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    flags = ["--runs", "2", "--seed", "20", "--nodes", "3", "--score", "worst"]
    for name in outlets.NAMES:
        flags += ["--outlet", f"{name}={name}.out"]
    assert grade("one.csv", *flags) == 1
    read = {name: Path(f"{name}.out").read_text() for name in outlets.NAMES}
    jsonschema.validate(json.loads(read["classroom50"]), CLASSROOM50)
    jsonschema.validate(json.loads(read["prairielearn"]), PRAIRIELEARN)
    jsonschema.validate(json.loads(read["gradescope"]), GRADESCOPE)
    assert json.loads(read["prairielearn"])["score"] == 0.5
    read_back(Path("junit.out"))
    out = capsys.readouterr().out
    assert "::error file=x.yaml,line=6," in out and "### Grades" in Path("summary.md").read_text()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--outlet", "prairie=x"], "(did you mean prairielearn?)"),
        (["--outlet", "junit"], 'found "junit", expected junit=FILE'),
        (["--outlet", "junit=none/x"], "--outlet junit: none/x: cannot be written (No such"),
        (["--outlet", "classroom50=x"], "--outlet classroom50: CLASSROOM is not set"),
        (["--score", "passes:21"], "expected at most as many passes as runs, which are 20"),
        (["--package", "gradscope"], "(did you mean gradescope?)"),
        (["-o", "x.zip"], "-o: found without --package"),
        (["--package", "gradescope", "--report", "x"], "--report: nothing is run, leave out this"),
        (["--package", "gradescope", "--keep", "x"], "--keep: nothing is run, leave out this"),
        (["--package", "gradescope", "--outlet", "junit=x"], "--outlet: nothing is run, leave"),
        (["--package", "gradescope", "--format", "json"], "--format json: nothing is run, leave"),
    ],
)
def test_mistakes_are_2(case, capsys, monkeypatch, words, told):  # noqa: F811
    monkeypatch.delenv("CLASSROOM", raising=False)
    assert grade("one.csv", *words) == 2
    out, err = capsys.readouterr()
    assert told in err and out == "" and "Traceback" not in err


def test_the_archive_grades_a_submission_without_a_network(case, capsys):  # noqa: F811
    """As Gradescope would: unpacked, set up, then run on what was handed in."""
    Path("one.expected.yaml").write_text("expected:\n  1:\n    balances: {A: 10}\n")
    flags = ["--runs", "1", "--nodes", "3", "--sim", "--score", "passes:1", "--seed", "3"]
    assert grade("one.csv", *flags, "--package", "gradescope", "-o", "a.zip") == 0
    assert "a.zip: 1 file, to be uploaded to Gradescope" in capsys.readouterr().out
    root = Path("autograder").resolve()
    with zipfile.ZipFile("a.zip") as archive:
        archive.extractall(root / "source")
        names = archive.namelist()
    assert {"setup.sh", "run_autograder", "cases/one.csv", "cases/one.expected.yaml"} <= {*names}
    wheels = [name for name in names if name.startswith("wheels/")]
    assert any("rich-" in name for name in wheels) and any("pyyaml-" in name for name in wheels)
    programs = root / "programs"  # a Python that has nothing installed, and nothing else
    programs.mkdir()
    (programs / "python3.11").symlink_to(Path(sys.base_prefix) / "bin" / f"python{sys.version[:4]}")
    environment = {
        "AUTOGRADER_ROOT": str(root),
        "PATH": f"{programs}:/usr/bin:/bin",
        "PYTHONNOUSERSITE": "1",
        "TMPDIR": os.environ["TMPDIR"],
        **dict.fromkeys(("http_proxy", "https_proxy", "PIP_INDEX_URL"), "http://127.0.0.1:9"),
    }

    def run(program):
        words = ["bash", str(root / "source" / program)]
        done = subprocess.run(words, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    (root / "results").mkdir()
    run("setup.sh")
    shutil.copytree(ROOT / "bank", root / "submission" / "bank")
    run("run_autograder")
    found = json.loads((root / "results" / "results.json").read_text())
    jsonschema.validate(found, GRADESCOPE)
    assert (found["score"], found["tests"][0]["max_score"]) == (2, 2), found["output"]
    # What cannot be loaded is told by its line: by the runs, or where not even `grade` can start.
    for module, told in (("replica", "replica.py:1: SyntaxError: "), ("ballot", "ballot.py")):
        (root / "results" / "results.json").unlink()
        shutil.copytree(ROOT / "bank", root / "submission" / "bank", dirs_exist_ok=True)
        (root / "submission" / "bank" / f"{module}.py").write_text("class Odd(:\n")
        run("run_autograder")
        found = json.loads((root / "results" / "results.json").read_text())
        jsonschema.validate(found, GRADESCOPE)
        (test,) = found["tests"]
        assert (found["score"], test["score"]) == (0, 0) and test["max_score"] >= 1
        assert told in test["output"] and "SyntaxError" in test["output"]
