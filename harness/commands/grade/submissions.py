"""Grading other people's replicas: a row for each submission, a column for each file.

Each is built and tried once, and then run like any other; what one of them does costs its own runs
alone. All is written after every run, and a later command goes on from there.
"""

import argparse
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as copy
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.text import Text

from harness.cluster.wording import counted
from harness.commands.grade import folders, resume, rows, shared, trying
from harness.commands.grade.folders import Submission
from harness.commands.grade.grades import Graded, Refused
from harness.commands.grade.resume import Store
from harness.commands.grade.runs import Plan, Runs
from harness.commands.grade.scoring import Scoring, scoring
from harness.errors import HarnessError, is_given, refuse_ignored, unwritten
from harness.files import given
from harness.files.cases import CaseFile
from harness.files.config import FAILURES, ClusterConfig
from harness.report.documents import JUNIT, RESULTS, replace
from harness.run import launch
from harness.screen import consoles
from harness.screen.cells import BAD, QUIET, Column, Grid, Hanging, cell

REPORT = Path("grades")
LEAST_WORDS = 60  # columns of a table's first failure
SHARE = 20  # of all time, one part may go into documents that are made of everything
_OF_A_FOLDER = {
    "package": "an archive grades a folder bank",
    "keep": "what does not pass is kept in --report, in a folder for each submission",
}
_ALONE = ("replicas_file", "require", "resume")  # flags that mean nothing without submissions


def check(options: Mapping[str, Any]) -> None:
    """HarnessError for flags that need --submission, or cannot be beside it."""
    if not options["submission"]:
        for name in _ALONE:
            if is_given(options[name]):
                flag = f"--{name.replace('_', '-')}"
                raise HarnessError(f"{flag}: found without --submission, expected both or none")
        return
    launch.refuse_beside_replicas(options, "--submission")
    refuse_ignored("--submission", options, _OF_A_FOLDER)


@dataclass(slots=True)
class _Work:
    """What there is to do for one submission and one way of failing of a file."""

    submission: Submission
    graded: Graded
    flags: Mapping[str, object]
    file: CaseFile | None = None  # None when it does not fit, and then why
    settings: ClusterConfig | None = None
    unfit: Sequence[str] = ()


@dataclass(slots=True)
class _Class:
    """Everything that is graded by one command."""

    options: argparse.Namespace
    rule: Scoring
    demands: Sequence[str]
    outlets: Mapping[Path, str]
    submissions: list[Submission]
    store: Store
    work: list[_Work] = field(default_factory=list)
    refused: Refused = field(default_factory=dict)
    asked: dict[str, Any] = field(default_factory=dict)
    _took: float = 0.0  # seconds, to write what is made of everything
    _written: float = 0.0

    def write(self, is_last: bool = False) -> HarnessError | None:
        """Write what is made of everything; seldom, when there is much of it.

        What a submission's own folder holds is written at once, see `Store.save`. Returns what kept
        a document from being written.
        """
        began = time.monotonic()
        if not is_last and began - self._written < SHARE * self._took:
            return None
        path, found = self.store.path, self.submissions
        try:
            replace(path / resume.CSV, rows.as_csv(found, self.rule, self.refused))
            self.store.folder.write_json(RESULTS, self.document())
            self.store.folder.write(JUNIT, rows.as_junit(found, self.refused))
            for path, name in self.outlets.items():
                words = (name, found, self.rule, os.environ, shared.now(), self.refused)
                replace(path, rows.outlet(*words))
        except OSError as error:
            return unwritten(path, error)
        self._written = time.monotonic()
        self._took = self._written - began
        return None

    def document(self) -> dict[str, Any]:
        """For `--format json`."""
        return rows.document(self.submissions, self.rule, self.asked, self.refused)

    def save(self, submission: Submission) -> HarnessError | None:
        """What is known of one, then what is made of everything."""
        try:
            self.store.save(submission)
        except OSError as error:
            return unwritten(self.store.of(submission), error)
        return self.write()

    def settle(self, submission: Submission) -> None:
        """Put in place of runs that cannot be made why they cannot."""
        of_it = [work for work in self.work if work.submission is submission]
        if trouble := submission.trouble(self.demands):
            first = _without_source(trouble[0], submission)
            where = str(self.store.explain(submission, trouble)) if len(trouble) > 1 else None
            for work in of_it:
                work.graded.results = [rows.not_run([first], where)]
            return
        for work in of_it:
            if work.unfit:
                work.graded.results = [rows.not_run(work.unfit, None)]

    def trials(self) -> Iterator[trying.Trying]:
        """Of submissions that were not tried yet, and may be run at all."""
        for submission in self.submissions:
            fits = [w for w in self.work if w.submission is submission and not w.unfit]
            if submission.tried is None and fits:
                flags = {**fits[0].flags, "failure": fits[0].graded.failure}
                config = self.options.config
                yield trying.trying(submission, fits[0].graded.file, flags, config)

    def plans(self) -> list[Plan]:
        """Of runs that were not made yet: the first ones of all come first."""
        return [
            self._plan(work, run)
            for run in range(1, self.options.runs + 1)
            for work in self.work
            if not work.unfit and not work.submission.trouble(self.demands)
            if run not in {result.run for result in work.graded.results}
        ]

    def _plan(self, work: _Work, run: int) -> Plan:
        submission = work.submission
        assert work.file is not None and work.settings is not None
        theirs = ["--replicas", submission.source, "--built", str(submission.folder)]
        theirs += ["--require", ",".join(self.demands)] if self.demands else []
        where = self.store.of(submission)
        return shared.plan(self.options, work.graded, work.file, work.settings, run, theirs, where)


def run(options: argparse.Namespace, console: Console) -> int:
    """Grade them; nothing is started when a flag is wrong, or no file is right."""
    rule, demands = scoring(options.score, options.runs), launch.required(options.require)
    submissions = folders.find(options.submission, options.replicas_file)
    outlets = shared.outlets(options)
    rows.check_outlets(list(outlets.values()), len(submissions))
    _check_jobs(options.jobs, submissions)
    path = options.report or REPORT
    before = resume.earlier(path, options.resume)
    asked_before = None if before is None else before["seed"]
    seed = launch.drawn(asked_before if options.seed is None else options.seed)
    sorted_out = given.sort_out(options.files)
    work, refused = _read(options, sorted_out.test_sets, submissions, seed)
    asked = _asked(options, work, seed)
    if before is not None:
        resume.check_same(path, before, asked)
    with Store(path, submissions) as store:
        if before is not None:
            for submission in submissions:
                store.load(submission)
        whole = _Class(options, rule, demands, outlets, submissions, store, work, refused, asked)
        for submission in submissions:
            whole.settle(submission)
        if (failed := whole.write()) is not None:
            raise failed
        return _grade(whole, console, sorted_out.told())


def _grade(whole: _Class, console: Console, note: str) -> int:
    options, submissions = whole.options, whole.submissions
    seed, notes = whole.asked["seed"], [note, *_resumed(whole)]
    speaking = shared.opened(options, console, _opening(whole), seed, notes)
    interrupted, failed = "", None
    try:
        with Runs(options.jobs, Path) as runs, shared.progress(speaking) as progress:
            trials = list(whole.trials())
            bar = progress.add_task("", total=len(trials) + len(whole.plans()), wrong="")
            for planned, ended in runs.ended(trials):
                submission = planned.submission
                submission.tried = trying.tried(planned, ended)
                whole.settle(submission)
                progress.update(bar, advance=1, wrong=f"{submission.name} was tried")
                failed = whole.save(submission)
            plans = whole.plans()
            by_graded = {id(w.graded): w.submission for w in whole.work}
            progress.update(bar, total=len(trials) + len(plans))
            for plan, result in runs.results(plans):
                plan.graded.results.append(result)
                wrong = sum(w.graded.passed < len(w.graded.results) for w in whole.work)
                progress.update(bar, advance=1, wrong=f"{wrong} with failures" if wrong else "")
                failed = whole.save(by_graded[id(plan.graded)])
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # what there is is still printed
        interrupted = "interrupted: the same command with --resume goes on"
    failed = whole.write(is_last=True) or failed
    if options.format == "json":
        shared.print_document(console, whole.document())
    else:
        consoles.print_parts(console, _screen(whole, console.width))
    if os.environ.get("GITHUB_ACTIONS"):
        for line in rows.annotations(submissions, whole.refused):
            speaking.out(line, highlight=False)
        failed = shared.summarize(rows.summary(submissions, whole.rule, whole.refused)) or failed
    code = rows.exit_code(submissions, whole.refused)
    return shared.ended(speaking, code, failed, interrupted)


# ---- what is asked for -------------------------------------------------------------------------


def _check_jobs(jobs: int, submissions: Sequence[Submission]) -> None:
    alone = [s for s in submissions if s.description is not None and s.description.is_alone]
    if jobs > 1 and alone:
        why = "its ports are the machine's (links: none), so that two runs would meet"
        told = f"--jobs {jobs}: {alone[0].source}: {why}"
        raise HarnessError(f"{told}, expected --jobs 1, or links: namespaces")


def _asked(options: argparse.Namespace, work: Sequence[_Work], seed: int | str) -> dict[str, Any]:
    """What the grades depend on, to be compared when a later command goes on."""
    files = list(dict.fromkeys(one.graded.file for one in work))
    return {
        "files": resume.content(files, options.no_key),
        "failure": options.failure,
        "runs": options.runs,
        "seed": int(seed),
        "nodes": options.nodes,
        "unanswered": options.unanswered,
        "timeout": options.timeout,
        "no_key": options.no_key,
        "require": options.require,
        "config": resume.digest(options.config),
        "replicas_file": resume.digest(options.replicas_file),
    }


def _read(
    options: argparse.Namespace,
    files: Sequence[str],
    submissions: Sequence[Submission],
    seed: int | str,
) -> tuple[list[_Work], Refused]:
    """What there is to do for each submission, and which files are no test sets.

    HarnessError when a flag is wrong, or no file is right.
    """
    reader = shared.Reader(options)
    flags = [
        shared.flags(options, mode, seed) for mode in shared.modes(options.failure, with_asked=True)
    ]
    ours = {**flags[0], "failure": FAILURES[0]}  # how any file can be read
    launch.settings(ours, {}, options.config)
    work: list[_Work] = []
    refused: dict[str, Sequence[str]] = {}
    for file in files:
        try:
            plain, *_ = reader.read(file, ours)
        except HarnessError as error:
            refused[file] = error.problems
            continue
        for one in flags:
            work += [_work(reader, one, plain, each) for each in submissions]
    if not work:
        raise HarnessError(*(problem for problems in refused.values() for problem in problems))
    for submission in submissions:
        submission.graded = [one.graded for one in work if one.submission is submission]
    return work, refused


def _work(
    reader: shared.Reader, flags: Mapping[str, object], plain: Graded, submission: Submission
) -> _Work:
    """`plain` is the file as it is read for our own replicas."""
    described = submission.description
    try:
        if described is None:
            raise HarnessError(*submission.problems)
        graded, file, settings = reader.read(plain.file, flags, described)
        launch.refuse_unfit(described, file)
        return _Work(submission, graded, flags, file, settings)
    except HarnessError as error:
        failure = str(flags["failure"] or reader.failure(plain.file))
        return _Work(
            submission, copy(plain, failure=failure, results=[]), flags, unfit=error.problems
        )


def _without_source(problem: str, submission: Submission) -> str:
    return problem.removeprefix(f"{submission.source}: ")


# ---- what is shown -----------------------------------------------------------------------------


def _opening(whole: _Class) -> list[str]:
    """What is about to run."""
    parts = [counted(len(whole.submissions), "submission")]
    parts.append(counted(len(rows.files(whole.submissions)), "file"))
    failures = dict.fromkeys(one.graded.failure for one in whole.work)
    return [*parts, f"failure {', '.join(failures)}"]


def _resumed(whole: _Class) -> Iterator[str]:
    if whole.options.resume:
        made = sum(1 for w in whole.work for result in w.graded.results if result.command)
        yield f"goes on with {whole.store.path}: {counted(made, 'run')} made before"


def _screen(whole: _Class, width: int) -> Iterator[RenderableType]:
    """The table; where it has no room for words, they stand below it."""
    submissions, rule = whole.submissions, whole.rule
    files = rows.files(submissions)
    names = [Path(file).name for file in files]
    names = names if len(set(names)) == len(names) else files
    shown = [*files, None] if len(files) > 1 else files  # None: all of them
    columns = [Column("Submission"), *_columns(names)]
    found: list[list[Text]] = []
    for submission in submissions:
        style = BAD if rows.first_failure(submission) else ""
        of_files = [cell(rows.in_words(rows.cell(submission, file, rule))) for file in shown]
        found.append([cell(submission.name, style), *of_files])
    words = [rows.first_failure(submission) for submission in submissions]
    is_wide = Grid(columns, found).least_width() + LEAST_WORDS <= width
    if is_wide:
        columns.append(Column("First failure", folds=True))
        found = [[*row, cell(why)] for row, why in zip(found, words, strict=True)]
    yield Grid(columns, found)
    if not is_wide:
        for submission, why in zip(submissions, words, strict=True):
            yield from [] if why is None else _below(submission, why)
    for file, problems in whole.refused.items():
        yield Text(f" ✗ {file} was not run: {problems[0]}", style=BAD)
    yield Text()
    yield Text(f" every row: {whole.store.path / resume.CSV}", style=QUIET)


def _columns(names: Sequence[str]) -> Iterator[Column]:
    """One for each file, and one for all; when there is no room the last files go first."""
    if len(names) == 1:
        yield Column(names[0])
        return
    yield from (Column(name, drop=len(names) - place) for place, name in enumerate(names))
    yield Column("Total")


def _below(submission: Submission, why: rows.Failure) -> Iterator[RenderableType]:
    yield Text()
    yield Hanging(Text.assemble((f"✗ {submission.name}: ", BAD), why.text))
    yield from [] if why.place is None else [Text(f"   {why.place}")]
