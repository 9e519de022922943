"""The trial of a submission, a program of its own: built, started, asked once, and stopped.

It is what `lint` does to a description, in the folder of the submission. What hangs, floods or
dies in it does so here, and not in the program that grades.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.commands.grade.folders import Submission, Tried
from harness.commands.grade.runs import OUTPUT, Ended, last_line
from harness.errors import EXIT_MACHINE, HarnessError
from harness.external import description, trial
from harness.files import testset
from harness.report.documents import as_json
from harness.run import launch

SPARE_SECONDS = 60.0  # of a trial's limit, beside its build: the starts, and what is asked
_PROGRAM = "from harness.commands.grade.trying import main; main()"
_FOUND = "found.json"


@dataclass(frozen=True, slots=True)
class Trying:
    """A trial to be made: like the run of a file, as far as its cluster goes."""

    submission: Submission
    file: str
    flags: Mapping[str, object]
    config_file: str | None
    limit_seconds: float

    @property
    def folder_name(self) -> str:
        """That of its submission."""
        return self.submission.name

    def words(self, folder: Path) -> list[str]:
        """It writes what it found into that folder."""
        asked = {
            "source": self.submission.source,
            "folder": str(self.submission.folder.resolve()),
            "file": self.file,
            "flags": self.flags,
            "config_file": self.config_file,
            "found": str(folder / _FOUND),
        }
        return ["-c", _PROGRAM, json.dumps(asked)]


def trying(
    submission: Submission, file: str, flags: Mapping[str, object], config_file: str | None
) -> Trying:
    """The trial of a submission that has a description."""
    assert submission.description is not None
    limit = submission.description.limits["wall_seconds"] + SPARE_SECONDS
    return Trying(submission, file, flags, config_file, limit)


def tried(planned: Trying, ended: Ended | Exception) -> Tried:
    """What it came to."""
    if isinstance(ended, Exception):
        return Tried(False, [f"cannot be tried: {ended}"], is_the_machines=True)
    if ended.code is None:
        return Tried(False, [f"its trial is not through after {planned.limit_seconds:g} s"])
    try:
        found = json.loads((ended.folder / _FOUND).read_bytes())
        return Tried(**found)
    except (OSError, ValueError):
        why = last_line(ended.folder / OUTPUT) or f"ended by {ended.code}"
        return Tried(False, [f"its trial failed: {why}"], is_the_machines=True)


def main() -> None:
    """Make a trial, as the first argument says; see `Trying.words`."""
    asked: dict[str, Any] = json.loads(sys.argv[1])
    machine = False
    try:
        described = replace(description.read(asked["source"]), folder=Path(asked["folder"]))
        overrides = testset.read(asked["file"]).overrides
        settings = launch.settings(asked["flags"], overrides, asked["config_file"], described)
        found = trial.trial(described, settings)
        starts, problems, tells = found.starts, found.problems, found.tells
        machine = found.is_the_machines
    except HarnessError as error:
        starts, problems, tells = False, list(error.problems), {}
        machine = error.exit_code == EXIT_MACHINE
    document = {"starts": starts, "problems": problems, "tells": tells, "is_the_machines": machine}
    Path(asked["found"]).write_bytes(as_json(document))
