"""What every kind of grading reads of its flags, shows meanwhile, and says at its end."""

import argparse
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from harness.cluster.wording import counted
from harness.commands import refuse_unknown
from harness.commands.grade import outlets as documents
from harness.commands.grade.grades import Graded
from harness.commands.grade.runs import Plan
from harness.errors import EXIT_INTERRUPTED, HarnessError, nearest, refuse_ignored, unwritten
from harness.external.description import Description
from harness.files import answer_key, outputs, testset
from harness.files.cases import CaseFile, Command, Wait
from harness.files.config import ASKED, DROP, FAILURES, ClusterConfig
from harness.run import launch, points
from harness.screen import consoles
from harness.screen.cells import Parts

SHARED = ("nodes", "durability", "unanswered")  # flags of every run
OF_RUNS = dict.fromkeys(("keep", "report", "outlet", "format"), "nothing is run")
MOST = {"runs": 1_000_000, "jobs": 1_000, "timeout": 1_000_000}  # of the last, seconds
SPARE_SECONDS = 30.0  # of a run's limit: the start of its processes on a machine that is busy


def check(options: argparse.Namespace) -> None:
    """HarnessError for a flag that is wrong by itself."""
    for name, most in MOST.items():
        value = getattr(options, name)
        if name == "timeout" and value is not None and not value > 0:
            raise HarnessError(f"--{name}: found {value:g}, expected more than 0")
        if name != "timeout" and value is not None and not value >= 1:
            raise HarnessError(f"--{name}: found {value:g}, expected a number from 1 on")
        if value is not None and value > most:
            raise HarnessError(f"--{name}: found {value:g}, expected a number up to {most}")
    if options.package is not None:
        refuse_unknown("--package", options.package, ["gradescope"])
        refuse_ignored("--package", vars(options), OF_RUNS, {"format": "rich"})
    if options.archive is not None and options.package is None:
        raise HarnessError("-o: found without --package, expected --package gradescope beside it")
    refuse_unknown("--format", options.format)


def outlets(options: argparse.Namespace) -> dict[Path, str]:
    """Which document goes where."""
    found: dict[Path, str] = {}
    for word in options.outlet:
        name, equals, path = word.partition("=")
        documents.check(name, os.environ)
        if not equals or not path:
            raise HarnessError(f'--outlet: found "{word}", expected {name}=FILE')
        outputs.check_replaced(f"--outlet {name}", Path(path))
        found[Path(path)] = name
    return found


def modes(word: str | None, with_asked: bool = False) -> Sequence[str | None]:
    """The ways of failing of `--failure`; None is what the file says. Other people's replicas may
    be asked to fail.
    """
    if word is None:
        return [None]
    known = [*FAILURES, ASKED] if with_asked else list(FAILURES)
    words = list(FAILURES) if word == "all" else word.split(",")
    for mode in words:
        if mode not in known:
            hint = nearest(mode, [*known, "all"])
            expected = f"{', '.join(known)} or all"
            raise HarnessError(f'--failure: found "{mode}", expected some of {expected}{hint}')
    return list(dict.fromkeys(words))


def flags(options: argparse.Namespace, mode: str | None, seed: int | str) -> dict[str, object]:
    """Of every run in this way of failing, by key of the configuration."""
    return {"failure": mode, "seed": seed} | {name: getattr(options, name) for name in SHARED}


class Reader:
    """Reads files as their runs will; those that many read are read once."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._drafts: dict[str, testset.Draft] = {}
        self._read: dict[tuple[str, ClusterConfig], CaseFile] = {}

    def read(
        self, name: str, flags: Mapping[str, object], description: Description | None = None
    ) -> tuple[Graded, CaseFile, ClusterConfig]:
        """A file, its answer key with it, and what its runs will come to. HarnessError for a bad
        file or key, or one that these replicas are not made for.
        """
        options = self._options
        if name not in self._drafts:
            self._drafts[name] = testset.read(name)
        draft = self._drafts[name]
        settings = launch.settings(flags, draft.overrides, options.config, description)
        if (name, settings) not in self._read:
            file = answer_key.checked(draft.cases(settings), settings, ignore=options.no_key)
            self._read[name, settings] = file
        file = self._read[name, settings]
        most = points.total(points.items(file, ()))[1]
        lines = {case.number: case.line for case in file.sets}
        given = points.are_given(file)
        drops = settings.unanswered == DROP
        graded = Graded(
            name, settings.failure, options.runs, most, given, set_lines=lines, drops=drops
        )
        return graded, file, settings

    def failure(self, name: str) -> str:
        """How replicas fail in a file that was read."""
        own = self._drafts[name].overrides.get("failure")
        return FAILURES[0] if own is None else str(own.value)


def plan(
    options: argparse.Namespace,
    graded: Graded,
    file: CaseFile,
    settings: ClusterConfig,
    run: int,
    more: Sequence[str] = (),
    keeps_in: Path | None = None,
) -> Plan:
    """A run of a file. `more` flags say which replicas; those of others keep no data."""
    assert settings.seed is not None
    seed = settings.seed + run - 1
    words = ["--failure", graded.failure, "--seed", str(seed)]
    for name in (*SHARED, "config"):
        value = getattr(options, name)
        words += [] if value is None else [f"--{name}", value]
    words += [f"--{name}" for name in ("sim", "no-key") if getattr(options, name.replace("-", "_"))]
    keeps_data = not options.sim and settings.durability != "memory" and not more
    limit = limit_seconds(file, settings) if options.timeout is None else options.timeout
    words += more
    return Plan(graded, run, seed, words, keeps_data, limit, file.notes, keeps_in)


def limit_seconds(file: CaseFile, settings: ClusterConfig) -> float:
    """What a run can take when every barrier of it takes as long as it may."""
    steps = [step.action for case in file.sets for step in case.steps]
    barriers = 2 * len(file.sets) + sum(not isinstance(action, Command) for action in steps)
    waits = sum(action.duration for action in steps if isinstance(action, Wait)) / 1e6
    longest = (settings.progress_ms + settings.patience_ms) / 1000
    return SPARE_SECONDS + barriers * longest + waits


def progress(console: Console) -> Progress:
    """A bar of runs; `wrong` says how many did not pass."""
    columns = (BarColumn(), TextColumn("{task.completed}/{task.total} runs"), TimeElapsedColumn())
    wrong = TextColumn("{task.fields[wrong]}")
    return Progress(*columns, wrong, console=console, transient=True)


# ---- from the first line to the exit code --------------------------------------------------------


def opened(
    options: argparse.Namespace,
    console: Console,
    parts: Sequence[str],
    seed: int,
    notes: Iterable[str],
) -> Console:
    """Say what is about to run, with everything that is needed to repeat it; returns where what
    is no result is said.
    """
    speaking = console if options.format == "rich" else Console(stderr=True)
    seeds = f"seeds {seed}-{seed + options.runs - 1}" if options.runs > 1 else f"seed {seed}"
    each = f"{counted(options.runs, 'run')} each"
    speaking.print(Parts(map(Text, (*parts, each, seeds))))
    consoles.print_parts(
        speaking, (Text(f" {note}") for note in dict.fromkeys(filter(None, notes)))
    )
    return speaking


def now() -> str:
    """When grades are written: "2026-06-01T14:32:05Z"."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def print_document(console: Console, document: Mapping[str, Any]) -> None:
    """For `--format json`."""
    console.out(json.dumps(document, indent=1), highlight=False)


def summarize(text: str) -> HarnessError | None:
    """What a workflow of GitHub shows as the summary of its step; what kept it from being kept."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    try:
        if path:
            with open(path, "a", encoding="utf-8") as stream:
                stream.write(text)
    except OSError as error:
        return unwritten(path, error, "the summary cannot be written")
    return None


def ended(speaking: Console, code: int, failed: HarnessError | None, interrupted: str) -> int:
    """The exit code, after everything was told. HarnessError for what could not be written."""
    if failed is not None:
        raise failed.beside(code)
    if interrupted:
        speaking.print(interrupted)
    return EXIT_INTERRUPTED if interrupted else code
