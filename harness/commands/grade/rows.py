"""What graded submissions came to: rows of a table, of CSV, of JSON and for others. Pure.

A submission that is not run, and a file that does not fit one, count as runs that did not pass.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from harness.commands.grade import grades, outlets
from harness.commands.grade.folders import Submission
from harness.commands.grade.grades import FAILED, NOT_RUN, Graded, Refused, Result
from harness.commands.grade.scoring import Scoring
from harness.errors import HarnessError
from harness.files.text_file import shown
from harness.report.documents import PAGE
from harness.run.points import plain

HEAD = ("submission", "file", "points", "max", "passed", "runs", "first failure")
LONGEST = 300  # characters of a reason in a row
_ONE_ONLY = {
    "gradescope": "Gradescope grades one submission at a time",
    "classroom50": "Classroom 50 grades one submission at a time",
    "prairielearn": "PrairieLearn grades one submission at a time",
}


class Cell(NamedTuple):
    """A submission and a file, all ways of failing together."""

    points: float
    most: float
    passed: int
    runs: int
    done: int
    gives_points: bool


class Failure(NamedTuple):
    """Why a submission does not have all points."""

    text: str
    place: str | None  # its page, or what is kept of it

    def __str__(self) -> str:
        return self.text if self.place is None else f"{self.text} ({self.place})"


def check_outlets(names: Sequence[str], submissions: int) -> None:
    """HarnessError for an outlet that has no room for so many submissions."""
    for name in names:
        if name in _ONE_ONLY and submissions > 1:
            told = f"--outlet {name}: {_ONE_ONLY[name]}, found {submissions}"
            raise HarnessError(f"{told}: expected junit, or one --submission")


def files(submissions: Sequence[Submission]) -> list[str]:
    """The files of all, in their order."""
    return list(dict.fromkeys(one.file for s in submissions for one in s.graded))


def cell(submission: Submission, file: str | None, rule: Scoring) -> Cell:
    """What a submission came to in a file; None: in all of them."""
    found = [one for one in submission.graded if file in (None, one.file)]
    return Cell(
        plain(sum(rule.points(one) for one in found)),
        plain(sum(one.most for one in found)),
        sum(one.passed for one in found),
        sum(one.runs for one in found),
        sum(len(one.results) for one in found),
        any(one.gives_points for one in found),
    )


def first_failure(submission: Submission, file: str | None = None) -> Failure | None:
    """The earliest run that did not pass; None when all that was made passed."""
    several = len({one.failure for one in submission.graded}) > 1
    found = [
        (first.run, place, one, first)
        for place, one in enumerate(submission.graded)
        if file in (None, one.file) and (first := one.first_failure) is not None
    ]
    if not found:
        return None
    _, _, one, first = min(found, key=lambda each: each[:2])
    if not first.command:  # it was not run
        return Failure(shown(first.reasons[0], LONGEST), first.folder)
    where = [Path(one.file).name] if file is None else []
    where += [one.failure] if several else []
    where += [f"run {first.run}"]
    reason = (first.reasons or ("",))[0]
    told = reason if first.outcome == FAILED else f"{first.outcome}: {reason}"
    told = shown(f"{', '.join(where)}: {told}", LONGEST)
    return Failure(told, first.folder and _page(first.folder))


def _page(folder: str) -> str:
    """The page in the folder of a run, or the folder: one that could not begin has none."""
    page = Path(folder, "report", PAGE)
    return str(page) if page.is_file() else folder


def as_csv(submissions: Sequence[Submission], rule: Scoring, refused: Refused) -> bytes:
    """A row for each submission and file; of a file that is not run, without points."""
    stream = io.StringIO()
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(HEAD)
    for submission in submissions:
        for file in files(submissions):
            found = cell(submission, file, rule)
            why = first_failure(submission, file)
            rows.writerow((submission.name, file, *found[:4], why or ""))
        for file, problems in refused.items():
            told = shown(f"the file was not run: {problems[0]}", LONGEST)
            rows.writerow((submission.name, file, 0, 0, 0, 0, told))
    return stream.getvalue().encode("utf-8", "replace")


def exit_code(submissions: Sequence[Submission], refused: Refused) -> int:
    """As of files without submissions."""
    return grades.exit_code([one for s in submissions for one in s.graded], refused)


def document(
    submissions: Sequence[Submission], rule: Scoring, asked: Mapping[str, Any], refused: Refused
) -> dict[str, Any]:
    """For `--format json` and results.json."""
    code = exit_code(submissions, refused)
    found = []
    for submission in submissions:
        whole = cell(submission, None, rule)
        of_files = grades.document(submission.graded, asked["seed"], refused)["graded"]
        for one, graded in zip(of_files, submission.graded, strict=True):
            one["score"] = plain(rule.points(graded))
        found.append(
            {
                "submission": submission.name,
                "folder": str(submission.folder),
                "replicas": submission.source,
                "score": whole.points,
                "points_of": whole.most,
                "passed": whole.passed,
                "runs": whole.runs,
                "first_failure": str(why) if (why := first_failure(submission)) else None,
                "tells": None if submission.tried is None else dict(submission.tried.tells),
                "graded": of_files,
            }
        )
    return {
        "asked": dict(asked),
        "exit_code": code,
        "score": str(rule),
        "submissions": found,
        "refused": [{"file": file, "problems": list(told)} for file, told in refused.items()],
    }


def outlet(
    name: str,
    submissions: Sequence[Submission],
    rule: Scoring,
    environment: Mapping[str, str],
    now: str,
    refused: Refused,
) -> bytes:
    """The document of an outlet, which `check_outlets` let pass."""
    if len(submissions) == 1 and name != "junit":
        only = submissions[0].graded
        return outlets.document(name, only, rule, environment, now, refused)
    return as_junit(submissions, refused)


def as_junit(submissions: Sequence[Submission], refused: Refused) -> bytes:
    """A suite per submission, file and way of failing."""
    return grades.as_junit(list(_named(submissions)), refused)


def _named(submissions: Sequence[Submission]) -> Iterator[Graded]:
    for submission in submissions:
        for one in submission.graded:
            yield replace(one, file=f"{submission.name}/{one.file}")


def summary(submissions: Sequence[Submission], rule: Scoring, refused: Refused) -> str:
    """A table in Markdown for the summary of a step."""
    columns = files(submissions)
    names = [Path(file).name for file in columns]
    lines = ["### Grades", "", _line(["submission", *names, "first failure"])]
    lines.append("|" + "---|" * (len(names) + 2))
    for submission in submissions:
        cells = [in_words(cell(submission, file, rule)) for file in columns]
        lines.append(_line([submission.name, *cells, str(first_failure(submission) or "")]))
    return "\n".join([*lines, *outlets.not_run(refused)]) + "\n"


def annotations(submissions: Sequence[Submission], refused: Refused) -> list[str]:
    """`::error` lines: of a run at its set, of what could not be run at the description."""
    graded, names = [], []
    for submission in submissions:
        for one in submission.graded:
            first = one.first_failure
            was_run = first is None or bool(first.command)
            graded.append(one if was_run else replace(one, file=submission.source))
            names.append(f"{submission.name}: " if len(submissions) > 1 else "")
    return outlets.annotations(graded, refused, names)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(outlets.cell(text) for text in cells) + " |"


def in_words(found: Cell) -> str:
    """Points, or how many runs passed."""
    if found.gives_points:
        return f"{found.points} of {found.most}"
    if not found.done:
        return "not run"
    sign = "✓" if found.passed == found.runs else "✗" if found.passed < found.done else "…"
    return f"{sign} {found.passed}/{found.runs}"


def not_run(reasons: Sequence[str], where: str | None) -> Result:
    """What stands for the runs of a file that cannot be made."""
    return Result(1, 0, NOT_RUN, 0.0, 0, (), tuple(reasons), "", where)
