"""Answer keys as the command line wants them: checked, left out or written."""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from harness.cluster.wording import counted
from harness.errors import EXIT_VALID, HarnessError, refuse_ignored
from harness.files import answer_key, given, testset
from harness.files.cases import CaseFile
from harness.files.config import ClusterConfig
from harness.run import launch
from harness.screen.cells import Line
from harness.screen.step_options import ANYWAY

if TYPE_CHECKING:
    from harness.external.description import Description

OF_A_RUN = dict.fromkeys(
    ("sim", "seed", "failure", "durability", "data", "watch", "timing", "report", "trace_format",
     "format"),
    "nothing is run",
)  # fmt: skip


def write(
    options: argparse.Namespace,
    flags: Mapping[str, Any],
    description: "Description | None",
    console: Console,
) -> int:
    """Write the key of each file of the options, one at --key if that is given.

    HarnessError at the end with what is wrong with files whose keys were not written.
    """
    if options.no_key:
        what = "there is nothing to write then, expected --write-expected alone"
        raise HarnessError(f"--no-key: {what}")
    refuse_ignored("--write-expected", vars(options), OF_A_RUN, ANYWAY)
    found = given.sort_out(options.file)
    if options.key is not None and len(found.test_sets) > 1:
        number = len(found.test_sets)
        raise HarnessError(f"--key: one key for {number} files, expected one file, or no --key")
    problems, code = list[str](), EXIT_VALID
    for path in found.test_sets:
        try:
            draft = testset.read(path)
            settings = launch.settings(flags, draft.overrides, options.config, description)
            for line in _written(settings, draft.cases(settings), options.key):
                console.print(Line(Text(line)), soft_wrap=True)
        except HarnessError as error:
            problems += error.problems
            code = max(code, error.exit_code)
    if told := found.told():
        console.print(Line(Text(told)), soft_wrap=True)
    if problems:
        raise HarnessError(*dict.fromkeys(problems), exit_code=code)
    return EXIT_VALID


def _written(settings: ClusterConfig, file: CaseFile, key: Path | None) -> Iterator[str]:
    yield from file.notes
    path = key or answer_key.beside(file.path)
    left = answer_key.write(path, file, settings)
    places = f"{counted(left, 'place')} left open, each with its reason" if left else "nothing open"
    yield f"wrote {path}: {counted(len(file.sets), 'set')}, {places}"


def checked(options: argparse.Namespace, settings: ClusterConfig, file: CaseFile) -> CaseFile:
    """A key tells of a run from the beginning: data that go on are not held against it unasked."""
    if options.key is not None and options.no_key:
        raise HarnessError("--no-key: contradicts --key, expected one of them")
    ignore = options.no_key or (options.key is None and launch.resumes(options.data))
    return answer_key.checked(file, settings, options.key, ignore)
