"""Grades as the programs of others read them. Pure: values in, documents and lines out.

Each is whole at any time: runs that were not made yet count nothing.
"""

import re
from collections.abc import Mapping, Sequence
from math import floor
from typing import Any, NamedTuple

from harness.commands.grade import grades
from harness.commands.grade.grades import (
    CRASHED,
    MACHINE,
    NONE_REFUSED,
    NOT_RUN,
    Graded,
    Refused,
)
from harness.commands.grade.scoring import Scoring
from harness.errors import HarnessError, nearest
from harness.report import gradescope
from harness.report.documents import as_json
from harness.run.points import plain

NAMES = ("gradescope", "junit", "classroom50", "prairielearn")
# What Classroom 50's runner gives every autograder, by the field of its result.
FROM_ENVIRONMENT = {
    "classroom": "CLASSROOM",
    "assignment": "ASSIGNMENT",
    "submission": "SUBMISSION_TAG",
    "commit": "COMMIT_URL",
    "release": "RELEASE_URL",
}
MOST_OUTPUT = 20_000  # characters of a test: PrairieLearn takes 1 MB in all
MOST_ANNOTATIONS = 10  # GitHub shows no more of a step
_FACTORS = (1, 2, 4, 5, 10, 20, 100)  # one of them makes most points whole numbers
_PLACE = re.compile(r"(.+?):(\d+): (.*)", re.DOTALL)
_SET = re.compile(r"set (\d+): (.*)", re.DOTALL)


def check(name: str, environment: Mapping[str, str]) -> None:
    """HarnessError when nobody can write this outlet's document here."""
    if name not in NAMES:
        hint = nearest(name, list(NAMES))
        raise HarnessError(f'--outlet: found "{name}", expected {", ".join(NAMES)}{hint}')
    if name == "classroom50":
        missing = [word for word in FROM_ENVIRONMENT.values() if not environment.get(word)]
        if missing:
            raise HarnessError(
                f"--outlet classroom50: {missing[0]} is not set, expected to be started by "
                "Classroom 50's runner, which sets it"
            )


def document(
    name: str,
    graded: Sequence[Graded],
    scoring: Scoring,
    environment: Mapping[str, str],
    graded_at: str,
    refused: Refused = NONE_REFUSED,
) -> bytes:
    """The file of an outlet; `graded_at` is a time in UTC such as 2026-06-01T14:32:05Z."""
    match name:
        case "junit":
            return grades.as_junit(graded, refused)
        case "gradescope":
            return as_json(as_gradescope(graded, scoring, refused))
        case "classroom50":
            found = as_classroom50(graded, scoring, environment, graded_at, refused)
            return as_json(found)
        case _:
            return as_json(as_prairielearn(graded, scoring, refused))


class _Test(NamedTuple):
    """A file and way of failing, or a file that is not run, which costs nothing: that is not the
    fault of who is graded.
    """

    name: str
    holds: bool
    score: float
    most: float
    said: str
    more: Sequence[str]  # lines

    @property
    def output(self) -> str:
        """All that is to be said of it."""
        return "\n".join([self.said, *self.more])


def _tests(graded: Sequence[Graded], scoring: Scoring, refused: Refused) -> list[_Test]:
    """Files that are not run come last."""
    return [_test(one, scoring) for one in graded] + [
        _Test(file, False, 0, 0, "the file was not run", told) for file, told in refused.items()
    ]


def _test(one: Graded, scoring: Scoring) -> _Test:
    first, missing = one.first_failure, one.runs - len(one.results)
    more = [f"{missing} not run, which count nothing"] if missing else []
    if first is not None:
        more += ["", f"run {first.run}: {first.outcome}", *grades.told(first)]
    said = f"{one.passed} of {one.runs} runs passed"
    return _Test(one.name, one.passed == one.runs, scoring.points(one), one.most, said, more)


def _made(graded: Sequence[Graded], scoring: Scoring) -> str:
    made, wanted = sum(len(one.results) for one in graded), sum(one.runs for one in graded)
    return f"{made} of {wanted} runs made, score {scoring}"


def as_gradescope(
    graded: Sequence[Graded], scoring: Scoring, refused: Refused = NONE_REFUSED
) -> dict[str, Any]:
    """One test per file and way of failing, and one of a file that is not run."""
    tests = []
    for number, one in enumerate(_tests(graded, scoring, refused), 1):
        test = gradescope.test(str(number), one.name, one.holds, one.output)
        tests.append({**test, "score": plain(one.score), "max_score": plain(one.most)})
    seconds = sum(sum(one.seconds) for one in graded)
    return gradescope.document(tests, _made(graded, scoring), seconds)


def as_classroom50(
    graded: Sequence[Graded],
    scoring: Scoring,
    environment: Mapping[str, str],
    graded_at: str,
    refused: Refused = NONE_REFUSED,
) -> dict[str, Any]:
    """`classroom50/result/v1`: whole numbers, so all points are multiplied until they are whole.

    What a test scores is rounded down: all points are given for all of them only.
    """
    most = [float(one.most) for one in graded]
    factors = (f for f in _FACTORS if all((f * points).is_integer() for points in most))
    factor = next(factors, _FACTORS[-1])
    tests = [
        {
            "test-name": one.name,
            "passed": one.holds,
            "score": floor(factor * one.score + 1e-9),
            "max-score": floor(factor * one.most + 1e-9),
            "output": one.output[:MOST_OUTPUT],
        }
        for one in _tests(graded, scoring, refused)
    ]
    fields = {field: environment[word] for field, word in FROM_ENVIRONMENT.items()}
    return {
        "schema": "classroom50/result/v1",
        **fields,
        "assignment_type": environment.get("ASSIGNMENT_TYPE") or "individual",
        "owner": environment.get("OWNER") or environment.get("USERNAME") or "unknown",
        "review": environment.get("REVIEW_URL") or environment["COMMIT_URL"],
        "datetime": graded_at,  # its runner puts the time of the submission there
        "score": sum(test["score"] for test in tests),
        "max-score": sum(test["max-score"] for test in tests),
        "tests": tests,
    }


def as_prairielearn(
    graded: Sequence[Graded], scoring: Scoring, refused: Refused = NONE_REFUSED
) -> dict[str, Any]:
    """Its results.json: `score` from 0 to 1. Where no run could even begin, it is not gradable."""
    tests = _tests(graded, scoring, refused)
    outcomes = {result.outcome for one in graded for result in one.results}
    if outcomes and outcomes <= {CRASHED, MACHINE, NOT_RUN}:
        firsts = [one.first_failure for one in graded]
        told = ["\n".join(grades.told(first))[:MOST_OUTPUT] for first in firsts if first]
        told += [test.output[:MOST_OUTPUT] for test in tests[len(graded) :]]
        return {"gradable": False, "format_errors": list(dict.fromkeys(told))}
    most, scored = sum(test.most for test in tests), sum(test.score for test in tests)
    score = scored / most if most else float(all(test.holds for test in tests[: len(graded)]))
    return {
        "gradable": True,
        "score": min(1.0, round(score, 6)),
        "message": _made(graded, scoring),
        "tests": [
            {
                "name": test.name,
                "points": plain(test.score),
                "max_points": plain(test.most),
                "message": test.said,
                "output": test.output[:MOST_OUTPUT],
            }
            for test in tests
        ],
    }


# ---- GitHub ------------------------------------------------------------------------------------


def summary(graded: Sequence[Graded], scoring: Scoring, refused: Refused = NONE_REFUSED) -> str:
    """A table in Markdown for the summary of a step."""
    lines = ["### Grades", "", "| file | failure | passed | points |", "|---|---|---|---|"]
    for one in graded:
        sign = "✓" if one.passed == one.runs else "✗"
        passed = f"{sign} {one.passed}/{one.runs}" + (" flaky" if one.is_flaky else "")
        points = f"{plain(scoring.points(one))} of {plain(one.most)}"
        failure = one.name.removeprefix(f"{one.file}, failure ")
        lines.append(f"| {cell(one.file)} | {failure} | {passed} | {points} |")
    lines += [f"| {cell(file)} | | ✗ not run | |" for file in refused]
    for one in graded:
        if (first := one.first_failure) is not None:
            lines += ["", f"{cell(one.name)}, run {first.run}: {first.outcome}"]
            lines += _quoted(grades.told(first))
    return "\n".join([*lines, *not_run(refused)]) + "\n"


def not_run(refused: Refused) -> list[str]:
    """Lines of a summary on the files that were not run, with why."""
    lines: list[str] = []
    for file, problems in refused.items():
        lines += ["", f"{cell(file)} was not run", *_quoted(problems)]
    return lines


def _quoted(lines: Sequence[str]) -> list[str]:
    return ["", "```", *(line.replace("```", "'''") for line in lines), "```"]


def annotations(
    graded: Sequence[Graded], refused: Refused = NONE_REFUSED, names: Sequence[str] = ()
) -> list[str]:
    """`::error` lines, which GitHub shows beside the lines of files; `names` begin their titles."""
    found: dict[str, None] = {}
    for one, name in zip(graded, names or [""] * len(graded), strict=True):
        first = one.first_failure
        for reason in () if first is None else first.reasons:
            said = f"failure {one.failure}: {one.passed} of {one.runs} runs passed"
            title = name + (said if first is not None and first.command else "was not run")
            if not reason.startswith(" "):  # what it wrote explains a reason, and is none
                found.setdefault(_annotation(title, one.file, one.set_lines, reason))
    for file, problems in refused.items():
        for problem in problems:
            found.setdefault(_annotation("the file was not run", file, {}, problem))
    return list(found)[:MOST_ANNOTATIONS]


def _annotation(title: str, file: str, set_lines: Mapping[int, int], reason: str) -> str:
    line, text = 1, reason
    if (placed := _PLACE.fullmatch(reason)) is not None:
        file, line, text = placed[1], int(placed[2]), placed[3]
    elif (in_set := _SET.fullmatch(reason)) is not None:
        line = set_lines.get(int(in_set[1]), 1)
    where = f"file={_property(file)},line={line},title={_property(title)}"
    return f"::error {where}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
