"""The folder of graded submissions: written after every run, so that a stop loses nothing.

Each submission has a folder in it, with what is known of it and the report of every run that did
not pass. These are the truth; the documents beside them (`grades.csv`, `results.json`) are made of
them. To have a submission graded anew, remove its folder and go on.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.commands.grade.folders import Submission, Tried
from harness.commands.grade.grades import MACHINE, Result
from harness.errors import EXIT_MACHINE, HarnessError
from harness.files import answer_key
from harness.report.documents import JUNIT, RESULTS, Folder, as_json, replace

CSV = "grades.csv"
KNOWN, TRIAL = "submission.json", "trial.txt"
_LOCK = ".lock"
_NAMES = (CSV, RESULTS, JUNIT, _LOCK)


def content(files: Sequence[str], no_key: bool) -> dict[str, str | None]:
    """The digests of test sets and of the answer keys beside them, by path."""
    keys = [] if no_key else [str(answer_key.beside(file)) for file in files]
    return {path: digest(path) for path in [*files, *keys]}


def digest(path: str | None) -> str | None:
    """Of a file's content; None when there is none."""
    try:
        return None if path is None else hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return None


def earlier(path: Path, resumes: bool) -> dict[str, Any] | None:
    """What was asked for when the grades in there were begun; None when there are none.

    HarnessError when they are not to be gone on with, or cannot be.
    """
    try:
        document = json.loads((path / RESULTS).read_bytes())
        found = document["asked"] if isinstance(document, dict) else None
    except (OSError, ValueError, KeyError):
        found = None
    if isinstance(found, dict) and not resumes:
        told = f"{path}: holds the grades of submissions, expected --resume to go on with them, "
        raise HarnessError(f"{told}or --report with another folder")
    return found if isinstance(found, dict) else None


def check_same(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """HarnessError when what was asked for is not what is asked for now."""
    problems = []
    for key, value in now.items():
        was = before.get(key)
        if key == "files":
            was = was if isinstance(was, dict) else {}
            changed = [file for file in {**was, **value} if was.get(file) != value.get(file)]
            problems += [f"{file} has changed" for file in changed]
        elif key == "runs":
            if isinstance(was, int) and was > value:
                problems.append(f"--runs was {was}, found {value}")
        elif was != value:
            flag = f"--{key.replace('_', '-')}"
            if key in _FILES and was is not None and value is not None:
                problems.append(f"the file of {flag} has changed")
            else:
                problems.append(f"{flag} was {_plain(was, key)}, found {_plain(value, key)}")
    if problems:
        told = "expected what was graded before, or --report with another folder"
        raise HarnessError(*(f"--resume: {path}: {problem}, {told}" for problem in problems))


_FILES = ("config", "replicas_file")  # of these the digest is known


def _plain(value: object, key: str) -> str:
    return "not given" if value in (None, False) else "given" if key in _FILES else str(value)


class Store:
    """A context: the folder is this program's alone until it is left."""

    def __init__(self, path: Path, submissions: Sequence[Submission]) -> None:
        """HarnessError when something else stands there, or somebody else writes there."""
        names = [*_NAMES, *(one.name for one in submissions)]
        if taken := next((one.name for one in submissions if one.name in _NAMES), None):
            raise HarnessError(
                f"--submission: {taken}: is the name of a document, expected another"
            )
        if any((path / one.name).resolve() == one.folder.resolve() for one in submissions):
            raise HarnessError(f"{path}: holds the submissions, expected another folder for grades")
        if os.path.isdir(path):
            names += [found.parent.name for found in path.glob(f"*/{KNOWN}")]
        self.folder = Folder(path, names, "grades")
        self.path = path
        try:
            self._lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            told = f"{path}: another grading writes there, expected it to be over"
            raise HarnessError(told) from None
        except OSError as error:
            told = f"{path}: {error.strerror}, expected a folder for grades"
            raise HarnessError(told, exit_code=EXIT_MACHINE) from None

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)

    def of(self, submission: Submission) -> Path:
        """The folder of a submission."""
        return self.path / submission.name

    def load(self, submission: Submission) -> None:
        """What was known of it; what an earlier part left half done is removed.

        Runs that the machine failed are made again.
        """
        folder = self.of(submission)
        try:
            document = json.loads((folder / KNOWN).read_bytes())
        except FileNotFoundError:
            document = {}
        except (OSError, ValueError) as error:
            told = (
                f"{folder / KNOWN}: cannot be read ({error}), expected what --resume goes on with"
            )
            raise HarnessError(f"{told}: remove {folder} to have it graded anew") from None
        if document.get("tried") is not None:
            submission.tried = Tried(**document["tried"])
        made = {(one["file"], one["failure"]): one["results"] for one in document.get("graded", ())}
        for graded in submission.graded:
            found = map(_result, made.get((graded.file, graded.failure), ()))
            graded.results = [one for one in found if one.outcome != MACHINE]
        _sweep(folder, submission)

    def save(self, submission: Submission) -> None:
        """Everything that is known of it, in one step. OSError when that cannot be."""
        folder = self.of(submission)
        folder.mkdir(exist_ok=True)
        tried = submission.tried
        document = {
            "tried": None if tried is None or tried.is_the_machines else asdict(tried),
            "graded": [
                {
                    "file": graded.file,
                    "failure": graded.failure,
                    "results": [asdict(one) for one in graded.results if one.command],
                }
                for graded in submission.graded
            ],
        }
        replace(folder / KNOWN, as_json(document))

    def explain(self, submission: Submission, lines: Sequence[str]) -> Path:
        """Keep why a submission is not run; returns where."""
        path = self.of(submission) / TRIAL
        path.parent.mkdir(exist_ok=True)
        replace(path, "".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))
        return path


def _result(fields: dict[str, Any]) -> Result:
    for name in ("failovers_ms", "reasons"):
        fields[name] = tuple(fields[name])
    return Result(**fields)


def _sweep(folder: Path, submission: Submission) -> None:
    """Remove runs that were kept, and not yet known: they are made again."""
    kept = {
        Path(result.folder).name
        for graded in submission.graded
        for result in graded.results
        if result.folder is not None
    }
    try:
        inside = [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()]
    except FileNotFoundError:
        return
    for path in inside:
        if path.name not in kept:
            shutil.rmtree(path, ignore_errors=True)
