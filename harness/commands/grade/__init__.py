"""Run test sets many times, in every way of failing, and say how often they pass.

Each run is a program of its own with a seed of its own. Of every file and way of failing: how many
runs passed, points, seconds, how long a lost leader was missed, and the first run that failed with
the command that repeats it and the folder with its data and report.
"""

import argparse
import os
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich.console import Console, Group, RenderableType
from rich.text import Text

from harness.cluster.wording import counted
from harness.commands.grade import grades, outlets, package, shared, submissions
from harness.commands.grade.grades import Graded, Refused
from harness.commands.grade.runs import Plan, Runs
from harness.commands.grade.scoring import RULES, Scoring, scoring
from harness.errors import EXIT_VALID, HarnessError, unwritten
from harness.files import given, outputs
from harness.files.cases import CaseFile
from harness.files.config import DURABILITIES, FAILURES, NODES, UNANSWERED, ClusterConfig
from harness.report.documents import GRADESCOPE, JUNIT, RESULTS, Folder, replace
from harness.run import launch, points
from harness.screen import consoles
from harness.screen.cells import BAD, GOOD, QUIET, Column, Grid, cell, duration

EXAMPLES = (
    ("testsets/tour.csv", "twenty runs"),
    ("testsets/*.csv --runs 5 --failure all", "every way of failing"),
    ("testsets/tour.csv --report report", "also for build servers and Gradescope"),
    ("testsets/*.csv --runs 5 --submission class/*/", "other people's replicas, a row for each"),
    ("testsets/*.csv --score passes:3 --package gradescope -o autograder.zip", "to be uploaded"),
)
ARCHIVE = Path("autograder.zip")  # of --package without -o
MOST_PROBLEMS = 10  # told of a file that was not run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `grade`."""
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help="a test set")
    add("--runs", type=int, default=20, metavar="N", help="of each file and way of failing [20]")
    add("--failure", metavar="|".join(("all", *FAILURES)), help="how replicas fail: one way, "
        "several with commas, or all; other people's also asked "
        "[what the file says, or disconnect]")  # fmt: skip
    add("--jobs", type=int, default=1, metavar="N", help="runs at a time [1]")
    add("--seed", metavar="N", help="of the first run; the next one has the next [drawn]")
    add("--sim", action="store_true", help="simulate instead of starting processes")
    add("--no-key", action="store_true", help="without the answer keys beside the files")
    add("--durability", metavar="|".join(DURABILITIES), help="as in a run by hand")
    add("--unanswered", metavar="|".join(UNANSWERED), help="as in a run by hand")
    add("--config", metavar="FILE", help="a YAML file with the numbers of the cluster")
    add("--nodes", metavar="|".join(map(str, NODES)), help="how many replicas")
    add("--timeout", type=float, metavar="SECONDS", help="end a run that takes longer [what its "
        "barriers may take]")  # fmt: skip
    add("--keep", type=Path, metavar="DIR", help="for data and reports of runs that did not pass "
        "[a temporary folder]")  # fmt: skip
    add("--report", type=Path, metavar="DIR", help="write results.json, junit.xml and "
        "gradescope.json there, after every run; of submissions grades.csv too, with a folder for "
        "each [grades]")  # fmt: skip
    add("--outlet", action="append", default=[], metavar="NAME=FILE", help="write the grades "
        "there, after every run, as they are read by gradescope, junit, classroom50 or "
        "prairielearn; several times for several")  # fmt: skip
    add("--score", default="mean", metavar="|".join(RULES), help="how runs become points: their "
        "mean, the worst one, or all points from N passes on and in proportion below "
        "[mean]")  # fmt: skip
    add("--package", metavar="gradescope", help="run nothing: write an archive that grades these "
        "files with these flags, to -o")  # fmt: skip
    add("-o", dest="archive", type=Path, metavar="FILE", help="the archive of --package "
        "[autograder.zip]")  # fmt: skip
    add("--submission", nargs="+", action="extend", default=[], metavar="DIR", help="grade other "
        "people's replicas, one row for each folder with a replicas.yaml")  # fmt: skip
    add("--replicas-file", metavar="FILE", help="describes the replicas of every submission, in "
        "place of a replicas.yaml of its own")  # fmt: skip
    add("--require", metavar="WORDS", help="what submissions must tell of themselves: some of "
        "state,read,log,views")  # fmt: skip
    add("--resume", action="store_true", help="go on with the submissions in --report: only what "
        "is missing is run")  # fmt: skip
    add("--format", default="rich", metavar="rich|json", help="a table, or one JSON document")


def run(options: argparse.Namespace, console: Console) -> int:
    """Grade the files. Bad ones do not keep the good ones from being run; a bad flag does."""
    shared.check(options)
    submissions.check(vars(options))
    if options.submission:
        return submissions.run(options, console)
    rule = scoring(options.score, options.runs)
    wanted = shared.outlets(options)
    seed = launch.drawn(options.seed)
    asked = given.sort_out(options.files)
    graded, plans, refused = _plans(options, asked.test_sets, seed)
    first = plans[0].seed
    if options.package is not None:
        if refused:  # somebody else would meet them, later
            raise HarnessError(*(problem for told in refused.values() for problem in told))
        outputs.check_replaced("-o", options.archive or ARCHIVE)
        return _package(options, asked.test_sets, console)
    keep = _Keep(options.keep)
    report = None
    if options.report is not None:
        report = Folder(options.report, (RESULTS, JUNIT, GRADESCOPE))
    written = _Written(report, wanted, rule, first, refused)
    if (failed := written.write(graded)) is not None:
        raise failed
    notes = [asked.told(), *(note for plan in plans for note in plan.notes)]
    speaking = shared.opened(options, console, _opening(options, graded), first, notes)
    interrupted, failed = "", None
    try:
        with Runs(options.jobs, keep) as runs, shared.progress(speaking) as progress:
            task = progress.add_task("", total=len(plans), wrong="")
            for plan, result in runs.results(plans):
                plan.graded.results.append(result)
                wrong = sum(len(one.results) - one.passed for one in graded)
                progress.update(task, advance=1, wrong=f"{wrong} did not pass" if wrong else "")
                failed = written.write(graded)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # what there is is still printed
        interrupted = "interrupted"
    if options.format == "json":
        shared.print_document(console, grades.document(graded, first, refused))
    else:
        consoles.print_parts(
            console,
            [_table(graded, refused, console.width), *_failures(graded), *_refused(refused)],
        )
    if os.environ.get("GITHUB_ACTIONS"):
        for line in outlets.annotations(graded, refused):
            speaking.out(line, highlight=False)
        failed = shared.summarize(outlets.summary(graded, rule, refused)) or failed
    return shared.ended(speaking, grades.exit_code(graded, refused), failed, interrupted)


# ---- what is asked for -------------------------------------------------------------------------


def _package(options: argparse.Namespace, given: Sequence[str], console: Console) -> int:
    """An archive instead of runs: the files were read, so it is known to work on them."""
    flags = ["--runs", str(options.runs), "--score", options.score]
    for name in ("failure", "seed", *shared.SHARED, "timeout"):
        value = getattr(options, name)
        flags += [] if value is None else [f"--{name}", str(value)]
    flags += [f"--{name}" for name in ("sim", "no-key") if getattr(options, name.replace("-", "_"))]
    flags += ["--jobs", str(options.jobs)] if options.jobs > 1 else []
    archive = options.archive or ARCHIVE
    files = [Path(name) for name in given]
    config = None if options.config is None else Path(options.config)
    package.write(archive, files, config, flags)
    console.print(Text(f"{archive}: {counted(len(files), 'file')}, to be uploaded to Gradescope"))
    return EXIT_VALID


def _plans(
    options: argparse.Namespace, files: Sequence[str], seed: int | str
) -> tuple[list[Graded], list[Plan], Refused]:
    """Every file is read before anything starts; what is wrong with some, by file, is told then.

    The first runs of all come first, so that a run of this command that is cut short knows
    something of each. HarnessError when a flag is wrong, or no file is right.
    """
    refused: dict[str, dict[str, None]] = {}  # each problem once, in order
    wanted: list[tuple[Graded, CaseFile, ClusterConfig]] = []
    modes = [shared.flags(options, mode, seed) for mode in shared.modes(options.failure)]
    for flags in modes:
        launch.settings(flags, {}, options.config)  # what is wrong with these is no file's problem
    reader = shared.Reader(options)
    for name in files:
        for flags in modes:
            try:
                wanted.append(reader.read(name, flags))
            except HarnessError as error:
                refused.setdefault(name, {}).update(dict.fromkeys(error.problems))
    if not wanted:
        raise HarnessError(*(problem for problems in refused.values() for problem in problems))
    plans = [
        shared.plan(options, graded, file, settings, run)
        for run in range(1, options.runs + 1)
        for graded, file, settings in wanted
    ]
    told = {name: tuple(problems) for name, problems in refused.items()}
    return [graded for graded, _, _ in wanted], plans, told


class _Keep:
    """The folder for what did not pass; a temporary one is made when it is needed."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        if path is not None:
            Folder(path, (), "what did not pass")

    def __call__(self) -> Path:
        self._path = self._path or Path(tempfile.mkdtemp(prefix="paxbank-failed-"))
        return self._path


# ---- what is shown -----------------------------------------------------------------------------


def _opening(options: argparse.Namespace, graded: Sequence[Graded]) -> list[str]:
    """What is about to run."""
    modes = dict.fromkeys(one.failure for one in graded)
    files = dict.fromkeys(one.file for one in graded)
    parts = [counted(len(files), "file"), f"failure {', '.join(modes)}"]
    parts += ["unanswered drop"] if any(one.drops for one in graded) else []
    return parts + (["simulated"] if options.sim else [])


@dataclass(frozen=True, slots=True)
class _Written:
    """What is written after every run."""

    report: Folder | None
    outlets: Mapping[Path, str]
    rule: Scoring
    seed: int  # of the first run
    refused: Refused

    def write(self, graded: Sequence[Graded]) -> HarnessError | None:
        """What kept documents from being written: it is told once the grades were."""
        report, path = self.report, Path()
        try:
            if report is not None:
                path = report.path
                report.write_json(RESULTS, grades.document(graded, self.seed, self.refused))
                report.write(JUNIT, grades.as_junit(graded, self.refused))
                found = outlets.as_gradescope(graded, self.rule, self.refused)
                report.write_json(GRADESCOPE, found)
        except OSError as error:
            return unwritten(path, error, "the report cannot be written")
        for path, name in self.outlets.items():
            try:
                words = (name, graded, self.rule, os.environ, shared.now(), self.refused)
                replace(path, outlets.document(*words))
            except OSError as error:
                return unwritten(path, error)
        return None


def _table(graded: Sequence[Graded], refused: Refused, width: int) -> RenderableType:
    with_points = any(one.gives_points for one in graded)
    with_failovers = any(one.failovers_ms for one in graded)
    columns = (
        Column("File", folds=True),
        Column("Failure"),
        Column("Passed"),
        *([Column("Points", right=True)] if with_points else []),
        Column("Seconds", right=True, drop=2),
        *([Column("Failover", right=True, drop=1)] if with_failovers else []),
    )
    rows = [_row(one, with_points, with_failovers) for one in graded]
    rows += [(cell(file), cell(""), cell("✗ refused", BAD), *[cell("")] * (len(columns) - 3))
             for file in refused]  # fmt: skip
    table, remark = Grid(columns, rows), "median – worst"
    if table.shows("Failover", width):
        remark += "; failover: clients waited in a set that lost its leader"
    return Group(table, Text(f" {remark}", style=QUIET))


def _row(one: Graded, with_points: bool, with_failovers: bool) -> Sequence[Text]:
    seconds = one.seconds
    return (
        cell(one.file),
        cell(one.failure),
        _passed(one),
        *([cell(_points(one))] if with_points else []),
        cell(f"{median(seconds):.1f} – {max(seconds):.1f}" if seconds else ""),
        *([cell(_failover(one))] if with_failovers else []),
    )


def _passed(one: Graded) -> Text:
    done = len(one.results)
    if not done:
        return cell("not run")
    of = f"{done} of {one.runs}" if done < one.runs else str(done)
    holds = one.passed == done
    text = Text.assemble(("✓" if holds else "✗", GOOD if holds else BAD), f" {one.passed}/{of}")
    return text.append(" flaky" if one.is_flaky else "")


def _failover(one: Graded) -> str:
    found = [round(milliseconds * 1000) for milliseconds in one.failovers_ms]
    return f"{duration(round(median(found)))} – {duration(max(found))}" if found else ""


def _points(one: Graded) -> str:
    if not one.points:
        return ""
    least, middle = points.plain(min(one.points)), points.plain(median(one.points))
    spread = f"{middle}" if least == middle else f"{middle} – {least}"
    return f"{spread} of {points.plain(one.most)}"


def _failures(graded: Sequence[Graded]) -> Iterator[Text]:
    for one in graded:
        first = one.first_failure
        if first is not None:
            wrong = len(one.results) - one.passed
            said = f"{one.file}, {one.failure}: {counted(wrong, 'run')} did not pass"
            said += f", the first is run {first.run} (seed {first.seed}): {first.outcome}"
            yield Text()
            yield Text(f" ✗ {said}", style=BAD)
            yield from (Text(f"   {line}") for line in grades.told(first))


def _refused(refused: Refused) -> Iterator[Text]:
    """What is wrong with files that were not run."""
    for file, problems in refused.items():
        yield from (Text(), Text(f" ✗ {file} was not run", style=BAD))
        yield from (Text(f"   {problem}") for problem in problems[:MOST_PROBLEMS])
        if (more := len(problems) - MOST_PROBLEMS) > 0:
            yield Text(f"   … and {more} more (lint tells all)")
