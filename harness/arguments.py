"""What can be typed: the options of a run and of every command, and what is said of mistakes."""

import argparse
import configparser
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from harness import commands
from harness.commands import FORMATS, Command
from harness.errors import HarnessError, nearest, unknown
from harness.files.config import DURABILITIES, FAILURES, NODES, UNANSWERED
from harness.files.text_file import shown
from harness.report.writer import FORMATS as TRACE_FORMATS
from harness.screen import consoles
from harness.screen.answers import SIGNS

EXAMPLES = (
    ("tour", "five small sets that show what there is"),
    ("testsets/tour.csv", "step through it; Enter runs the next set"),
    ("testsets/tour.csv --no-step", "run all sets"),
    ("FILE --failure crash --seed 7", "replicas are killed and restarted"),
    ("FILE --sim --seed 7", "simulated: in a moment, and the same every time"),
    ("FILE --step-messages", "simulated event by event, forward and back"),
    ("FILE --write-expected", "write its answer key, which later runs check"),
    ("FILE --format json > out.json", "for other programs"),
    ("FILE --watch --failure crash", "see the replicas while the sets run"),
    ("./simulate", "a file that is named like a command"),
)


def version() -> str:
    """The version in setup.cfg, beside the package or in what was installed from it."""
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).parent.parent / "setup.cfg", encoding="utf-8")
    if setup.get("metadata", "name", fallback="") == "paxbank":
        return setup["metadata"]["version"]
    from importlib import metadata  # with all of email: a tenth of every start

    return metadata.version("paxbank")


class Parser(argparse.ArgumentParser):
    """Mistakes are HarnessErrors with the nearest known option; nothing exits by itself.

    The help ends in examples.
    """

    def __init__(self, examples: Sequence[tuple[str, str]], **settings: Any) -> None:
        self.examples = examples
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(allow_abbrev=False, formatter_class=formatter, **settings)
        self.add_argument(
            "--color", metavar="auto|always|never", type=one_of(consoles.COLORS), default="auto",
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

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        """Nothing typed is no name and no number; mostly it was a variable that is not set."""
        wanted = _wanted(action)
        refusal = HarnessError(f'{_named(action)}: found "{shown(arg_string)}", expected {wanted}')
        if wanted and not arg_string.strip():
            raise refusal
        try:
            return super()._get_value(action, arg_string)
        except argparse.ArgumentError:
            if action.type in _NUMBERS:
                raise refusal from None
            raise

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        known = list(map(str, action.choices or ()))
        if known and (told := unknown(str(value), known)):
            raise HarnessError(f"{_named(action)}: {told}")

    def _print_message(self, message: str, file: Any = None) -> None:
        """Unlike argparse's own, which drops what cannot be written."""
        (file or sys.stderr).write(message)

    def error(self, message: str) -> NoReturn:
        message = message.removeprefix("argument ")
        raise HarnessError(f"{message}\nTry: {self.prog} --help")

    def format_help(self) -> str:
        rows = [(f"{self.prog} {words}", says) for words, says in self.examples]
        return super().format_help() + (_section("examples", rows) if rows else "")


class FileParser(Parser):
    """Its help ends in the commands (each is imported, so only now) and the signs as well."""

    def format_help(self) -> str:
        found = [commands.find(known) for known in commands.names()]
        sections = {
            "commands (each has its own --help)": [(known.name, known.help) for known in found],
            "signs in the tables": list(SIGNS),
            "exit codes": [
                ("0 1 3", "every check holds; one does not; one could not decide"),
                ("2 4 70", "a bad option or file; the machine failed; a bug, or a broken copy"),
                ("130 141", "Ctrl-C; nobody reads the output"),
            ],
        }
        ending = "".join(_section(title, rows) for title, rows in sections.items() if rows)
        return super().format_help() + ending


_NUMBERS: dict[Any, str] = {int: "a whole number", float: "a number"}  # by what is read as one


_WANTED = {  # by the word for it in the help
    "FILE": "the name of a file",
    "DIR": "the name of a folder",
    "N": "a whole number",
    "K": "numbers such as 1,10,100",
    "WORDS": "words with commas between them",
}


def _named(action: argparse.Action) -> str:
    """The option, or what stands in its place in the usage line."""
    names = sorted(action.option_strings, key=lambda name: not name.startswith("--"))
    return names[0] if names else str(action.metavar or action.dest)


def _wanted(action: argparse.Action) -> str:
    """What it takes, "" where whoever reads the value says that better."""
    if action.type in _NUMBERS:
        return _NUMBERS[action.type]
    words = list(map(str, action.choices or str(action.metavar).split("|")))
    if len(words) == 1:
        return _WANTED.get(words[0], "")
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _section(title: str, rows: Sequence[tuple[str, str]]) -> str:
    width = max(len(left) for left, _ in rows)
    return f"\n{title}:\n" + "".join(f"  {left:{width}}  {right}\n" for left, right in rows)


def _unknown_argument(word: str, known: list[str]) -> str:
    if not word.startswith("-"):
        return f'unexpected argument "{word}"'
    return f"unknown option {word}{nearest(word.split('=')[0], known)}"


def one_of(known: Sequence[str]) -> Callable[[str], str]:
    def check(word: str) -> str:
        if told := unknown(word, known):
            raise argparse.ArgumentTypeError(told)
        return word

    return check


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Of every command by its name, "" runs a file: for what is said about all of them."""
    found = map(commands.find, commands.names())
    return {"": file_parser(), **{command.name: command_parser(command) for command in found}}


def command_parser(command: Command) -> Parser:
    program_ = f"{commands.program()} {command.name}"
    parser = Parser(command.examples, prog=program_, description=command.help)
    command.add_arguments(parser)
    return parser


def file_parser() -> Parser:
    described = "Run a test-set file on a replicated bank, set by set, and judge every set."
    parser = FileParser(EXAMPLES, prog=commands.program(), description=described)
    add = parser.add_argument
    add("file", nargs="+", metavar="FILE", help="a test set, CSV or YAML: sets of steps, and who "
        "is live; several only with --write-expected")  # fmt: skip
    add("--no-step", action="store_true", help="run all sets without stopping between them")
    add("--failure", metavar="|".join(FAILURES), help="how a replica fails; disconnect "
        "is default. With --replicas also asked: it is asked to fail")  # fmt: skip
    add("--durability", metavar="|".join(DURABILITIES), help="what a replica's disk survives: the "
        "death of its process (default), also loss of power, nothing")  # fmt: skip
    add("--config", metavar="FILE", help="a YAML file with the numbers of the cluster")
    add("--nodes", metavar="|".join(map(str, NODES)), help="how many replicas; 5 is default")
    add("--unanswered", metavar="|".join(UNANSWERED), help="a request without an answer at the end "
        "of its set: its client asks again in the next (default), or forgets it")  # fmt: skip
    add("--data", metavar="DIR", type=Path, help="keep the data there, and go on from it")
    add(
        "--seed", metavar="N", help="of the replicas' random numbers; drawn and printed when absent"
    )
    add("--replicas", metavar="FILE", help="run other people's replicas: a YAML file that "
        "describes them, or the command that starts one")  # fmt: skip
    add("--require", metavar="WORDS", help="what they must tell of themselves: some of "
        "state,read,log,views")  # fmt: skip
    add("--built", metavar="DIR", type=Path, help="build nothing: the replicas' commands work in "
        "this folder, where they were built")  # fmt: skip
    add("--sim", action="store_true", help="simulate instead of starting processes: virtual time, "
        "and the same output for the same seed")  # fmt: skip
    add("--key", metavar="FILE", type=Path, help="the answer key, YAML, to check or to write; "
        "without it x.expected.yaml beside x.csv")  # fmt: skip
    add("--no-key", action="store_true", help="check no answer key")
    add("--write-expected", action="store_true", help="write the answer keys, and run nothing")
    add("--report", metavar="DIR", type=Path, help="write the results there, after every set: for "
        "people, build servers, Gradescope")  # fmt: skip
    add("--trace-format", metavar="jsonl|perfetto", type=one_of(TRACE_FORMATS), default="jsonl",
        help="perfetto: the report's trace also for the Perfetto viewer")  # fmt: skip
    add("--step-messages", action="store_true", help="simulate it event by event, and back")
    add("--watch", action="store_true", help="show the replicas while the sets run, then the "
        "tables (implies --no-step)")  # fmt: skip
    add("--timing", action="store_true", help="say at the end what the seconds were spent on")
    add("--format", metavar="rich|json", type=one_of(FORMATS), default="rich",
        help="tables, or one JSON document (implies --no-step)")  # fmt: skip
    add("--version", action="version", version=f"paxbank {version()}")
    return parser
