"""The command line: what is typed is run, exit code out. The one place that catches HarnessError.

Whatever happens, the cluster is stopped before `main` returns. Standard output carries the tables
or, with `--format json`, exactly one document; everything said about the run itself goes to
standard error then.
"""

import argparse
import os
import shlex
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib import resources
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.text import Text

from harness import commands
from harness.arguments import command_parser, file_parser, parsers
from harness.cluster import blame, ctrl_c
from harness.cluster.wording import counted
from harness.errors import (
    EXIT_BUG,
    EXIT_INTERRUPTED,
    EXIT_INVALID,
    EXIT_MACHINE,
    EXIT_UNKNOWN,
    EXIT_UNREAD,
    EXIT_VALID,
    HarnessError,
    nearest,
)
from harness.files import testset
from harness.files.cases import CaseFile
from harness.files.config import (
    DROP,
    ClusterConfig,
    Overrides,
)
from harness.report import results
from harness.report.refused import EarlierReport
from harness.report.writer import Writer, why_ended
from harness.run import launch, points
from harness.run.after import AfterVerdict
from harness.run.runner import Runner
from harness.run.timing import Phase, Timing
from harness.screen import (
    consoles,
    keys,
    lines,
    other_cluster,
    step_options,
    streams,
    time_spent,
    verdicts,
    watch,
)
from harness.screen.cells import Line, Parts
from harness.screen.progress import ProgressLine, may_redraw
from harness.screen.prompt import Prompt

if TYPE_CHECKING:
    from harness.screen.watching import View

MOST_PROBLEMS = 100  # shown of one file; a file of another kind has one in every line
TOUR = "tour"  # as a command: the sample file, wherever it was installed
FLAGS = ("nodes", "failure", "durability", "unanswered", "seed")  # keys of the configuration


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    earlier = EarlierReport(arguments)
    with ctrl_c.never_dropped(), streams.guarded() as output:
        code, problems = _outcome(arguments, output)
        if code not in (EXIT_VALID, EXIT_INVALID, EXIT_UNKNOWN):
            reasons = [problem.strip() for problem in problems] or ["nobody read standard output"]
            problems = [*problems, *earlier.refuse(reasons, code)]
        errors = consoles.opened("auto", sys.stderr)
        for problem in problems[:MOST_PROBLEMS]:
            errors.print(Line(Text(problem)), soft_wrap=True)
        if (more := len(problems) - MOST_PROBLEMS) > 0:
            errors.print(f"… and {counted(more, 'more problem')}")
    return code


def _outcome(arguments: list[str], output: streams.Output) -> tuple[int, Sequence[str]]:
    """The exit code, and what kept the command line from its end."""
    try:
        code = _dispatch(arguments)
        output.flush()
        lost = output.failure and code in (EXIT_VALID, EXIT_UNKNOWN)
        return EXIT_MACHINE if lost else code, []
    except HarnessError as error:
        return error.exit_code, error.problems
    except KeyboardInterrupt as interrupt:
        return _interrupted(interrupt)
    except streams.Unread:
        return EXIT_UNREAD, []
    except OSError as error:
        return EXIT_MACHINE, [f"the machine failed: {error}"]
    except (Exception, SystemExit) as error:  # nobody but `main` says that the program is over
        if isinstance(error.__cause__, KeyboardInterrupt):  # see `harness.__main__`
            return _interrupted(error.__cause__)
        return EXIT_BUG, _bug(error, arguments)


def _interrupted(interrupt: KeyboardInterrupt) -> tuple[int, list[str]]:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # once is enough: no traceback at the end
    told = ": ".join(filter(None, ("interrupted", blame.interrupted(interrupt))))
    return EXIT_INTERRUPTED, [f"\n{told}" if sys.stderr.isatty() else told]


def _bug(error: BaseException, arguments: Sequence[str]) -> list[str]:
    """What should not have happened, told last; the traceback goes to a file, for who mends it."""
    if (fault := blame.of_loading(error)) is not None:
        return [f"{fault}, expected a program that can be loaded"]
    what = f"{type(error).__name__}: {error}"
    details = f"paxbank {shlex.join(arguments)}\n\n{''.join(traceback.format_exception(error))}"
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", errors="replace", prefix="paxbank-bug-", suffix=".txt",
            delete=False,
        ) as file:  # fmt: skip
            file.write(details)
    except OSError:
        last = traceback.extract_tb(error.__traceback__)[-1]
        return [f"a bug in paxbank, or in a copy of it: {last.filename}:{last.lineno}", what]
    told = f"a bug in paxbank, or in a copy of it: what is needed to mend it is in {file.name}"
    return [told, what]


def _dispatch(arguments: list[str]) -> int:
    if arguments[:1] == [TOUR]:
        arguments = [_sample("tour.csv"), *arguments[1:]]
    if arguments and arguments[0] in commands.names():
        return _run_command(arguments[0], arguments[1:])
    options = file_parser().parse(arguments)
    if options is None:
        return 0
    _refuse_mistyped_command(options.file[0])
    return _run_file(options, arguments)


# ---- running -----------------------------------------------------------------------------------


def _run_command(name: str, arguments: list[str]) -> int:
    command = commands.find(name)
    parser = command_parser(command)
    parser.set_defaults(parsers=parsers)
    options = parser.parse(arguments)
    return (
        0 if options is None else command.run(options, consoles.opened(options.color, sys.stdout))
    )


def _sample(name: str) -> str:
    """The path of a test set that comes with this program, as short as it can be said here."""
    path = Path(__file__).parents[1] / "testsets" / name
    if not path.exists():
        path = Path(str(resources.files("paxbank_testsets").joinpath(name)))
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _refuse_mistyped_command(file: str) -> None:
    """ "simulat" is rather a command than a test set, when there is no such file."""
    hint = nearest(file, [TOUR, *commands.names()]) if "." not in file else ""
    if hint and not os.path.exists(file):
        raise HarnessError(f"{file}: neither a file nor a command{hint}")


def _run_file(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    flags = {key: getattr(options, key) for key in FLAGS}
    step_options.refuse_others(vars(options))
    description = launch.replicas(options.replicas, options.require, options.built)
    if description is not None:
        launch.refuse_beside_replicas(vars(options))
    console = consoles.opened(options.color, sys.stdout)
    if options.write_expected:
        return keys.write(options, flags, description, console)
    if len(options.file) > 1:
        many = f"{commands.program()} grade {shlex.join(options.file[:2])} …"
        raise HarnessError(f"found {len(options.file)} files, expected one: many are run by {many}")
    (options.file,) = options.file
    draft = testset.read(options.file)
    settings, file, written = other_cluster.settle(draft, options, flags, description)
    if written is not None:
        options.config, arguments = str(written), [*arguments, "--config", str(written)]
    file = keys.checked(options, settings, file)
    repeat, trace = commands.repeated(arguments, settings.seed), options.trace_format
    if options.step_messages:
        with ctrl_c.afterwards(or_again=True):
            from harness.screen import step_through  # with all of the simulator

        return step_through.file(console, file, settings, repeat)
    speaking = console if options.format == "rich" else consoles.opened(options.color, sys.stderr)
    progress = ProgressLine(speaking, may_redraw(speaking))
    view = _view(options, speaking)

    def again(path: Path) -> str:
        return _again(path, options, settings, draft.overrides)

    writer = Writer(options.report, file, settings, repeat, again, trace)
    after = AfterVerdict()
    theirs = None if description is None else (description, file, options.report)
    opened = launch.cluster(settings, options.sim, options.data, theirs)
    with after, writer, opened as cluster:
        speaking.print(_opening(options, settings, file))
        for note in file.notes:
            speaking.print(Line(Text(f" {note}")), soft_wrap=True)

        runs_on = options.format == "json" or options.no_step or options.watch
        steps = not runs_on and lines.may_step(consoles.opened("auto", sys.stderr))

        def update_report() -> None:
            """A disk that is full meanwhile does not end the run before its verdict."""
            after.error = None
            try:
                if steps or options.report is not None:
                    writer.update(runner, cluster, pauses=steps)
            except HarnessError as error:
                after.error = error

        before = None if options.sim else launch.program_us()
        timing = Timing(cluster.now, before)
        runner = Runner(cluster, settings, file, progress.show, update_report, timing)
        update_report()
        after.raise_beside(EXIT_VALID)  # nothing was started yet

        def report(path: Path | None) -> Path:
            return writer.write_now(path, runner, cluster)

        name = file.name or Path(file.path).name

        def head() -> RenderableType:
            return watch.sets_head(progress.latest, runner.reports, name)

        watched = view and view.over(head)(launch.fleet(cluster))
        prompt = Prompt(console, runner, cluster, settings, file, progress, again, report)

        def print_document(ended: str = "") -> None:
            document = results.document(
                file,
                settings,
                runner.reports,
                runner.pending(),
                runner.verdict(),
                timing.spent,
                ended,
                forgotten=runner.forgotten(),
            )
            console.out(dumps(document, indent=1), highlight=False)

        try:
            timing.enter(Phase.START)
            # A simulated replica that prints does so here: the document stands alone.
            with redirect_stdout(sys.stderr if options.format == "json" else sys.stdout):
                cluster.start()
                timing.enter(Phase.DISPLAY)
                if options.format == "json":
                    with watched or progress.running():
                        while runner.remaining:
                            runner.run_next()
                elif watched:
                    prompt.run_watched(watched)
                elif steps:
                    prompt.step_through(lines.opened(console, settings))
                else:
                    prompt.run_rest()
        except BaseException as error:
            if options.format == "json" and not isinstance(error, streams.Unread):
                print_document(why_ended(error))
            raise
        verdict, pending, reports = runner.verdict(), runner.pending(), runner.reports
        forgotten = runner.forgotten()
        after.is_reached = True
        timing.enter(Phase.STOP)
    timing.enter(Phase.DISPLAY)
    if options.format == "json":
        print_document()
    score = points.of_file(file, reports)
    measured = runner.performance()
    speaking.print(verdicts.verdict_lines(verdict, reports, pending, measured, score, forgotten))
    if description is not None:
        covered = Text(f" covered: {launch.coverage(cluster)}")
        speaking.print(Line(covered), soft_wrap=True)
    if options.timing:
        speaking.print(time_spent.timing_table(timing.spent, reports))
    if verdict.exit_code:
        told = f" repeat: {repeat}"
        if description is not None:
            told += f"\n processes do not repeat event for event: {launch.kept_logs(cluster)}"
        speaking.print(Text(told), soft_wrap=True)
    after.raise_beside(verdict.exit_code)
    return verdict.exit_code


def _view(options: argparse.Namespace, console: Console) -> "View | None":
    """Where to watch what happens; only then the processes' code is needed before they start."""
    if not options.watch:
        return None
    if options.sim:
        raise HarnessError(
            "--watch: a simulated run is over in a moment, leave out --watch or --sim"
        )
    with ctrl_c.afterwards(or_again=True):
        from harness.screen.watching import View

    return View(console, wanted=True)


def _opening(options: argparse.Namespace, settings: ClusterConfig, file: CaseFile) -> Parts:
    """What is about to run, with everything that is needed to repeat it."""
    parts = [file.name, file.path] if file.name else [file.path]
    parts += [counted(len(file.sets), "set"), counted(settings.nodes, "replica")]
    parts.append(f"failure {settings.failure}")
    if options.replicas is None:
        parts.append(f"durability {settings.durability}")
    else:
        parts.append(f"replicas {options.replicas}")
    parts += [f"unanswered {DROP}"] if settings.unanswered == DROP else []
    parts += [f"data in {options.data}"] if options.data is not None else []
    parts += ["simulated"] if options.sim else []
    parts += [f"key {file.key}"] if file.key else []
    return Parts(Text(part) for part in (*parts, f"seed {settings.seed}"))


def _again(path: Path, options: argparse.Namespace, settings: ClusterConfig, own: Overrides) -> str:
    """The command that runs what was saved there. `own` is what the file run says of the cluster.

    A YAML file says itself what the cluster is like; for CSV it takes flags, as far as they go.
    """
    words = [str(path)]
    if path.suffix.lower() == ".csv":
        plain = ClusterConfig()
        if lost := [key for key in own if key not in FLAGS]:
            raise HarnessError(f"{own[lost[0]].where} does not fit into CSV")
        for key in FLAGS[:-1]:
            if (value := getattr(settings, key)) != getattr(plain, key):
                words += [f"--{key}", str(value)]
        words += [] if options.config is None else ["--config", options.config]
    words += ["--sim"] if options.sim else []
    words += [] if options.replicas is None else ["--replicas", options.replicas]
    words += [] if options.built is None else ["--built", str(options.built)]
    return f"{commands.program()} {shlex.join([*words, '--seed', str(settings.seed)])}"
