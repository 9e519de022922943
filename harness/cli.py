"""The command line: arguments in, exit code out. The one place that catches HarnessError.

Whatever happens, the cluster is stopped before `main` returns. Standard output carries the tables
or, with `--format json`, exactly one document; everything said about the run itself goes to
standard error then. Exit codes are those of `errors`, and 141 when nobody reads the output.
"""

import argparse
import codecs
import configparser
import os
import secrets
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import metadata
from json import dumps
from pathlib import Path
from typing import Any, NoReturn, TextIO

from rich.console import Console
from rich.text import Text

from harness import commands, config, tables, testset
from harness.config import ClusterConfig
from harness.console import PipedLines, ProgressLine, Prompt, TerminalLines, complete
from harness.driver import Cluster
from harness.errors import EXIT_INTERRUPTED, EXIT_MACHINE, HarnessError, nearest
from harness.report import results
from harness.runner import Runner
from harness.table_answers import SIGNS
from harness.table_cells import Parts, counted

EXIT_UNREAD = 141  # standard output was closed: what a shell reports for SIGPIPE
PIPED_WIDTH = 80
COLORS = ("auto", "always", "never")
FORMATS = ("rich", "json")
MOST_PROBLEMS = 100  # shown of one file; a file of another kind has one in every line
SEEDS = 1_000_000  # drawn ones are below, short enough to be typed again
_PLAIN_SIGNS = {"✓": "+", "✗": "x", "●": "@", "○": "o", "─": "-", "·": "-", "–": "-", "…": "~"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    errors = _console("auto", sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        _degrade_signs(stream)
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()
        return code
    except HarnessError as error:
        for problem in error.problems[:MOST_PROBLEMS]:
            errors.print(Text(problem), soft_wrap=True)
        if (more := len(error.problems) - MOST_PROBLEMS) > 0:
            errors.print(f"… and {counted(more, 'more problem')}")
        return error.exit_code
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # once is enough: no traceback at the end
        errors.print("\ninterrupted" if sys.stderr.isatty() else "interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _discard_output()
        return EXIT_UNREAD
    except OSError as error:
        errors.print(Text(f"the machine failed: {error}"), soft_wrap=True)
        return EXIT_MACHINE


def program() -> str:
    """What a person types to start this program again."""
    name = Path(sys.argv[0]).name
    return {"run.py": "python run.py", "__main__.py": "python -m harness"}.get(name, "paxbank")


def version() -> str:
    """The version in setup.cfg, beside the package or in what was installed from it."""
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).parent.parent / "setup.cfg", encoding="utf-8")
    if setup.get("metadata", "name", fallback="") == "paxbank":
        return setup["metadata"]["version"]
    return metadata.version("paxbank")


def _dispatch(arguments: list[str]) -> int:
    if arguments and arguments[0] in commands.names():
        return _run_command(arguments[0], arguments[1:])
    parser = _file_parser()
    options = parser.parse(arguments)
    if options is None:
        return 0
    _refuse_mistyped_command(options.file)
    return _run_file(options, arguments)


# ---- arguments ---------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """Mistakes are HarnessErrors with the nearest known option; nothing exits by itself."""

    def __init__(self, **settings: Any) -> None:
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(allow_abbrev=False, formatter_class=formatter, **settings)
        self.add_argument(
            "--color", metavar="auto|always|never", type=_one_of(COLORS), default="auto",
            help="colours: on terminals unless NO_COLOR is set, always, never",
        )  # fmt: skip

    def parse(self, arguments: list[str]) -> argparse.Namespace | None:
        """The options; None when help or the version was printed instead."""
        try:
            options, unknown = self.parse_known_args(arguments)
        except SystemExit:
            return None
        if unknown:
            known = [option for action in self._actions for option in action.option_strings]
            self.error("; ".join(_unknown_argument(word, known) for word in unknown))
        return options

    def error(self, message: str) -> NoReturn:
        raise HarnessError(f"{message}\nTry: {self.prog} --help")


class _FileParser(_Parser):
    """Its help ends in examples, the commands (each is imported, so only now) and the signs."""

    def format_help(self) -> str:
        name = self.prog
        examples = (
            ("testsets/tour.csv", "step through it; Enter runs the next set"),
            ("testsets/tour.csv --no-step", "run all sets"),
            ("FILE --failure crash --seed 7", "replicas are killed and restarted"),
            ("FILE --sim --seed 7", "simulated: in a moment, and the same every time"),
            ("FILE --format json > out.json", "for other programs"),
            ("./simulate", "a file that is named like a command"),
        )
        found = [commands.find(known) for known in commands.names()]
        sections = {
            "examples": [(f"{name} {words}", says) for words, says in examples],
            "commands (each has its own --help)": [(known.name, known.help) for known in found],
            "signs in the tables": list(SIGNS),
            "exit codes": [
                ("0 1 3", "every check holds; one does not; one could not decide"),
                ("2 4 130", "a bad option or file; the machine failed; Ctrl-C"),
            ],
        }
        ending = "".join(_section(title, rows) for title, rows in sections.items() if rows)
        return super().format_help() + ending


def _section(title: str, rows: Sequence[tuple[str, str]]) -> str:
    width = max(len(left) for left, _ in rows)
    return f"\n{title}:\n" + "".join(f"  {left:{width}}  {right}\n" for left, right in rows)


def _unknown_argument(word: str, known: list[str]) -> str:
    if not word.startswith("-"):
        return f'unexpected argument "{word}"'
    return f"unknown option {word}{nearest(word.split('=')[0], known)}"


def _one_of(known: Sequence[str]) -> Callable[[str], str]:
    def check(word: str) -> str:
        if word not in known:
            expected = f"{', '.join(known[:-1])} or {known[-1]}"
            raise argparse.ArgumentTypeError(
                f'found "{word}", expected {expected}{nearest(word, list(known))}'
            )
        return word

    return check


def _file_parser() -> _Parser:
    described = "Run a test-set file on a replicated bank, set by set, and judge every set."
    parser = _FileParser(prog=program(), description=described)
    add = parser.add_argument
    add("file", metavar="FILE", help="a test set: CSV with set number, steps and live nodes")
    add("--no-step", action="store_true", help="run all sets without stopping between them")
    add("--failure", metavar="MODE", help="how a replica fails: disconnect (default), crash, pause")
    add("--durability", metavar="MODE", help="what a replica's disk survives: process (default), "
        "power; memory keeps nothing")  # fmt: skip
    add("--config", metavar="FILE", help="a YAML file with the numbers of the cluster")
    add("--nodes", metavar="N", help="how many replicas: 3, 5 (default), 7 or 9")
    add("--data", metavar="DIR", type=Path, help="keep the data there, and go on from it")
    add(
        "--seed", metavar="N", help="of the replicas' random numbers; drawn and printed when absent"
    )
    add("--sim", action="store_true", help="simulate instead of starting processes: virtual time, "
        "and the same output for the same seed")  # fmt: skip
    add("--format", metavar="rich|json", type=_one_of(FORMATS), default="rich",
        help="tables, or one JSON document (implies --no-step)")  # fmt: skip
    add("--version", action="version", version=f"paxbank {version()}")
    return parser


# ---- running -----------------------------------------------------------------------------------


def _run_command(name: str, arguments: list[str]) -> int:
    command = commands.find(name)
    parser = _Parser(prog=f"{program()} {name}", description=command.help)
    command.add_arguments(parser)
    options = parser.parse(arguments)
    return 0 if options is None else command.run(options, _console(options.color, sys.stdout))


def _refuse_mistyped_command(file: str) -> None:
    """ "simulat" is rather a command than a test set, when there is no such file."""
    hint = nearest(file, commands.names())
    if hint and not Path(file).exists():
        raise HarnessError(f"{file}: neither a file nor a command{hint}")


def _run_file(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    settings = _settings(options)
    sets = testset.load(options.file, settings)
    console = _console(options.color, sys.stdout)
    speaking = console if options.format == "rich" else _console(options.color, sys.stderr)
    speaking.print(_opening(options, settings, len(sets)))
    progress = ProgressLine(speaking, _may_redraw(speaking))
    cluster = _simulated(settings) if options.sim else _open_cluster(settings, options.data)
    try:
        cluster.start()
        runner = Runner(cluster, settings, sets, on_progress=progress.show)
        prompt = Prompt(console, runner, cluster, settings, sets, progress)
        if options.format == "json":
            with progress.running():
                while runner.remaining:
                    runner.run_next()
        elif options.no_step or sys.stdin is None:
            prompt.run_rest()
        else:
            prompt.step_through(_lines(console, settings))
        verdict, pending, reports = runner.verdict(), runner.pending(), runner.reports
    finally:
        _stop(cluster)
    if options.format == "json":
        document = results.document(options.file, settings, reports, pending, verdict)
        console.out(dumps(document, indent=1), highlight=False)
    speaking.print(tables.verdict_lines(verdict, reports, pending, runner.performance()))
    if verdict.exit_code:
        speaking.print(Text(f" repeat: {_repeat(arguments, settings)}"), soft_wrap=True)
    return verdict.exit_code


def _settings(options: argparse.Namespace) -> ClusterConfig:
    """Flags over the file over the defaults; the seed is drawn when nobody gave one."""
    keys = ("nodes", "failure", "durability", "seed")
    flags = config.from_flags({key: getattr(options, key) for key in keys})
    layers = [flags] if options.config is None else [flags, config.load(options.config)]
    settings = config.layer(*layers)
    if options.data is not None and settings.durability == "memory":
        raise HarnessError(
            "--data: durability memory keeps nothing there, expected durability process or power"
        )
    if options.data is not None and options.sim:
        raise HarnessError("--data: a simulated cluster keeps nothing, leave out --data or --sim")
    if settings.seed is None:
        settings = replace(settings, seed=secrets.randbelow(SEEDS))
    return settings


def _simulated(settings: ClusterConfig) -> Cluster:
    from harness.sim.world import SimCluster

    return SimCluster(settings)


def _open_cluster(settings: ClusterConfig, data: Path | None) -> Cluster:
    from harness.live.cluster import LiveCluster

    return LiveCluster(settings, data)


def _stop(cluster: Cluster) -> None:
    """A second Ctrl-C must not leave processes behind."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        cluster.stop()
    finally:
        signal.signal(signal.SIGINT, before)


def _opening(options: argparse.Namespace, settings: ClusterConfig, sets: int) -> Parts:
    """What is about to run, with everything that is needed to repeat it."""
    parts = [options.file, counted(sets, "set"), counted(settings.nodes, "replica")]
    parts += [f"failure {settings.failure}", f"durability {settings.durability}"]
    parts += [f"data in {options.data}"] if options.data is not None else []
    parts += ["simulated"] if options.sim else []
    return Parts(Text(part) for part in (*parts, f"seed {settings.seed}"))


def _repeat(arguments: Sequence[str], settings: ClusterConfig) -> str:
    """The one command that runs this again."""
    words = list(arguments)
    if not any(word == "--seed" or word.startswith("--seed=") for word in words):
        words += ["--seed", str(settings.seed)]
    return f"{program()} {shlex.join(words)}"


def _lines(console: Console, settings: ClusterConfig) -> PipedLines | TerminalLines:
    if not sys.stdin.isatty():
        _replace_undecodable(sys.stdin)
        return PipedLines(sys.stdin, console)

    def offer(before: str, word: str) -> list[str]:
        return complete(settings, before, word)

    errors = None if sys.stdout.isatty() else _console("auto", sys.stderr)
    return TerminalLines(offer, _may_redraw(console) and not console.no_color, errors)


# ---- streams -----------------------------------------------------------------------------------


class _Console(Console):
    """A console that leaves a closed pipe to `main`."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def _console(color: str, stream: TextIO) -> Console:
    """Nothing is markup, nothing is highlighted; 80 columns in a pipe unless COLUMNS says more."""
    width = None
    if not stream.isatty():
        columns = os.environ.get("COLUMNS", "")
        width = int(columns) if columns.isdigit() and int(columns) > 0 else PIPED_WIDTH
    switches: dict[str, dict[str, Any]] = {
        "auto": {},
        "always": {"force_terminal": True, "color_system": "standard", "no_color": False},
        "never": {"color_system": None, "no_color": True},
    }
    return _Console(
        file=stream, width=width, highlight=False, markup=False, emoji=False, **switches[color]
    )


def _may_redraw(console: Console) -> bool:
    return console.file.isatty() and not console.is_dumb_terminal


def _degrade_signs(stream: TextIO | Any) -> None:
    """On a stream that is not Unicode, signs become plain ones instead of a traceback or "?"."""

    def plain(error: UnicodeError) -> tuple[str, int]:
        if not isinstance(error, UnicodeEncodeError):
            raise error
        wrong = error.object[error.start : error.end]
        return "".join(_PLAIN_SIGNS.get(sign, "?") for sign in wrong), error.end

    codecs.register_error("paxbank-signs", plain)
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="paxbank-signs")


def _replace_undecodable(stream: TextIO | Any) -> None:
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="replace")


def _discard_output() -> None:
    """Nobody reads any more: what is still buffered must not raise at exit."""
    try:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, sys.stdout.fileno())
    except (OSError, ValueError):
        pass
