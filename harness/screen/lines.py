"""What is typed at the prompt: its words, lines from a terminal or a pipe, completion.

Nothing else reads standard input while a file runs; no control code is written unless it is to a
terminal.
"""

import glob
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TextIO, TypeAlias

from rich.console import Console
from rich.text import Text

from bank.ballot import replica_name
from harness.cluster.nemesis import POINTS
from harness.errors import nearest
from harness.files import csv_source, outputs
from harness.files.config import ClusterConfig
from harness.files.steps import WORDS as STEP_WORDS
from harness.files.text_file import shown
from harness.screen import streams
from harness.screen.progress import may_redraw


class Refused(Exception):
    """A command of the prompt that cannot be done; the text says why and what was expected."""


def save(name: str, path: Path, text: str, overwrite: bool) -> None:
    """Write a file that was named `name` at the prompt. Refused when that cannot be."""
    try:
        outputs.write_whole(path, text, overwrite)
    except FileExistsError:
        raise Refused(f"{name} is there already: save! {name} writes over it") from None
    except OSError as error:
        raise Refused(f"{name}: cannot be written ({error.strerror or error})") from None


class Lines(Protocol):
    """Where commands come from."""

    runs_on: bool  # at the end of the lines: run what is left (True), or stop (False)

    def read(self, prompt: str) -> str | None:
        """The next line without its end; None when there are no more."""


@dataclass(frozen=True, slots=True)
class Word:
    """One command of the prompt."""

    name: str
    arguments: str  # as `help` shows them; [those in brackets] may be left out
    shows: str
    least: int = 0  # arguments
    most: int = 0
    takes: str = ""  # what Tab offers for an argument: see `_offered`
    group: str = ""  # that begins here
    more: str = ""  # what `help` adds when it is asked for this word
    listed: bool = True  # by `help` alone
    joined: bool = False  # `help` tells it together with the word before
    also: tuple[str, ...] = ()  # other names that people try

    @property
    def usage(self) -> str:
        """ "PrintLog n1" """
        return f"{self.name} {self.arguments}".strip()


MANY = 10_000
_LINKS = "Links are n1->n3, n1<->n2,n3 or n1->*. The next set begins with whole ones. Also: "
_LINKS += "delay n1->n3 20-50 ms, lose (or duplicate, reorder) n1->n3 30 %."
_POINTS = f"fail leader {POINTS[2]} (or fail n3 …) makes it die there, before the next set "
_POINTS += f"begins. Such points are: {', '.join(POINTS)}."
_SAVED = "FILE ends in .csv or .yaml. It holds the sets run, and what was done at the prompt as "
_SAVED += "further steps of the set before. save! writes over a file."
_STEPS = "A step as in a file does as well: (A, B, 3), (A), F(n3), R(n3). Several commands in one "
_STEPS += "line are joined by ;."
_REPORTED = "DIR is a new or empty folder, or one with an earlier report; without it the one of "
_REPORTED += "--report, or report. It gets the page and what other programs read."
WORDS = (
    Word("PrintDB", "[n1]", "balances by replica; PrintBalance A, by account", 0, MANY, "replica",
         "Look"),
    Word("PrintBalance", "A", "balances of this account, and of more", 1, MANY, "account",
         listed=False),
    Word("PrintStatus", "[12 20-29]", "how far slots are at every replica", 0, MANY),
    Word("PrintSlots", "n1 [1-20]", "the log of n1, slot by slot", 1, 2, "replica"),
    Word("PrintLog", "n1", "the messages n1 sent and read in this set", 1, 1, "replica"),
    Word("PrintView", "", "every NEW-VIEW of this set: who led, with what"),
    Word("PrintSteps", "[1-20]", "every step of this set with its result", 0, 1),
    Word("performance", "", "throughput and latency so far"),
    Word("timeline", "", "who led when; elections, failures, returns", group="Tell"),
    Word("explain", "12", "the life of a slot: proposed, accepted, chosen", 1, 1),
    Word("diff", "n1 n5", "where two replicas differ", 2, 2, "replica"),
    Word("send", "A B 3", "a transfer of 3 from A to B", 3, 3, "account", "Do",
         more=_STEPS),
    Word("read", "A", "a read", 1, 1, "account", joined=True, more=_STEPS),
    Word("lf", "", "fail the current leader"),
    Word("fail", "n3", "fail a replica as --failure says", 1, MANY, "victim", more=_POINTS),
    Word("recover", "n3", "bring one back", 1, 1, "replica", joined=True),
    Word("cut", "n1->n3", "a link loses everything", 1, MANY, "link", more=_LINKS),
    Word("heal", "[n1->n3]", "make links whole again", 0, MANY, "link", more=_LINKS, joined=True),
    Word("delay", "n1->n3 20 ms", "or lose, duplicate, reorder n1->n3 30 %", 1, MANY, "link",
         more=_LINKS),
    *(Word(word, "n1->n3 30 %", f"{word} so many messages", 1, MANY, "link", "", _LINKS, False)
      for word in ("lose", "duplicate", "reorder")),
    Word("wait", "200 ms", "let the replicas go on for so long", 1, MANY,
         more="Ctrl-C ends it early; a second one ends the run."),
    Word("save", "FILE", "what was done, as a test set", 1, MANY, "file", "Keep",
         more=_SAVED),
    Word("save!", "FILE", "over an old one", 1, MANY, "file", more=_SAVED, joined=True),
    Word("report", "[DIR]", "a page on all sets so far, to look at", 0, MANY, "file",
         more=_REPORTED),
    Word("next", "", "the next set (or just Enter)", group="Sets"),
    Word("run", "", "all sets left", joined=True),
    Word("quit", "", "stop; the exit code is the verdict so far", also=("exit", "q")),
    Word("help", "[signs]", "this, or what the signs mean", 0, 1, "topic", also=("?",)),
    Word("clear", "", "an empty screen", joined=True),
)  # fmt: skip


def names_of(words: Sequence[Word]) -> list[str]:
    """What a mistyped command may have been; a name of one sign is near to everything short."""
    return [name for word in words for name in (word.name, *word.also) if len(name) > 1]


def listed_words(words: Sequence[Word] = WORDS) -> list[tuple[str, str, str]]:
    """For `help`: the group that begins, how words are typed that are told together, and what."""
    rows: list[tuple[str, str, str]] = []
    for word in (word for word in words if word.listed):
        if word.joined:
            group, usage, shows = rows[-1]
            usage = f"{usage}, {word.usage.partition(' [')[0]}"
            rows[-1] = group, usage, f"{shows}; {word.shows}"
        else:
            rows.append((word.group, word.usage, word.shows))
    return rows


def word_named(name: str) -> Word:
    """What is meant by a word. May raise Refused."""
    known = _BY_NAME.get(name.lower())
    if known is None:
        raise Refused(f'no command "{shown(name)}"{nearest(shown(name), _NAMES)}')
    return known


_NAMES = names_of(WORDS)
_BY_NAME = {name.lower(): word for word in WORDS for name in (word.name, *word.also)}
STEPS = frozenset(("lf", *STEP_WORDS))  # a step of a file says the same
_AS_TYPED = STEPS | {"save", "save!", "report"}
STEP = "step"  # what `parse` calls a line that is one: (A, B, 3), (A), F(n3), R(n3)
_STEP = re.compile(r"\s*[FR]?\s*\(.*", re.IGNORECASE)
_UNJOINED = re.compile(r"(?<=\))\s*(?=[FR]?\s*\()", re.IGNORECASE)  # between two steps
_EMPTY = re.compile(r"""(?<!\S)(?:""|'')(?![^\s;])""")


def complete(config: ClusterConfig, before: str, word: str) -> list[str]:
    """What Tab offers for `word` after the text `before`, in any letter case."""
    return completed(WORDS, config, before, word)


def completed(
    known_words: Sequence[Word], config: ClusterConfig, before: str, word: str
) -> list[str]:
    """The same of a prompt with these words."""
    words = before.split()
    if not words:
        offered = [known.name + (" " if known.most else "") for known in known_words]
    else:
        named = {name.lower(): w for w in known_words for name in (w.name, *w.also)}
        known = named.get(words[0].lower())
        if known is None or len(words) > known.most:
            return []
        offered = _offered(known.takes, len(words), config, word)
        if known.name == "PrintSlots" and len(words) > 1:
            return []
    return [offer for offer in offered if offer.lower().startswith(word.lower())]


def _offered(takes: str, place: int, config: ClusterConfig, word: str) -> list[str]:
    """What the argument at `place`, from 1, may be."""
    replicas = list(map(replica_name, range(1, config.nodes + 1)))
    match takes:
        case "replica":
            return replicas
        case "account":
            return list(config.accounts)
        case "victim":
            return [*replicas, "leader"] if place == 1 else list(POINTS) if place == 2 else []
        case "link":
            source, arrow, _ = word.rpartition(">")
            return [f"{source}{arrow}{r}{'' if arrow else '->'}" for r in replicas]
        case "topic":
            return ["signs", *(known.name for known in WORDS)]
        case "file":
            found = glob.glob(f"{glob.escape(word)}*") if place == 1 else []
            return sorted(f"{name}/" if Path(name).is_dir() else name for name in found)
    return []


def commands(line: str) -> list[str]:
    """What a line asks for, in order: joined by ";", and steps by "," too, as in a cell of a file.

    An empty line is one empty command, and a remark from "#" on none. May raise Refused.
    """
    typed, line = line, _without_remark(line)
    if typed != line and not line.strip():
        return []
    if _EMPTY.search(line):
        raise Refused(f"{shown(line.strip())}: an empty name, expected one between the quotes")
    found: list[str] = []
    for part in csv_source.split(line, ";"):
        steps = csv_source.split(part, ",")
        are_steps = len(steps) > 1 and all(map(_is_step, steps))
        found += steps if are_steps else [part]
    found = list(filter(None, found))
    if line.strip() and not found:
        raise Refused(f'found "{shown(line.strip())}", expected a command; help lists all')
    return found or [""]


def left_out(commands: Sequence[str]) -> str:
    """What follows the words on a command that could not be done, of those after it."""
    return f" (left out: {shown('; '.join(commands))})" if commands else ""


def _without_remark(line: str) -> str:
    """A remark begins with the first "#" before a word that stands in no quotes."""
    quote = ""
    for at, sign in enumerate(line):
        if quote:
            quote = quote if sign != quote else ""
        elif sign in "\"'":
            quote = sign
        elif sign == "#" and (not at or line[at - 1] in " \t;"):
            return line[:at]
    return line


def _is_step(text: str) -> bool:
    return bool(_STEP.fullmatch(text)) or text.lower() == "lf"


def parse(line: str) -> tuple[str, list[str]]:
    """A command in lower case and its arguments; an empty line is "next". May raise Refused.

    What is a step of a file, or names a file, is one argument, as it was typed.
    """
    line = line.strip()
    if _STEP.fullmatch(line):
        if len(steps := _UNJOINED.split(line)) > 1:
            expected = f"expected {shown('; '.join(steps))}"
            raise Refused(f"{len(steps)} steps with nothing between them, {expected}")
        return STEP, [line]
    words = line.replace(",", " ").replace("(", " ").replace(")", " ").split()
    if not words:
        return "next", []
    known, arguments = _BY_NAME.get(words[0].lower()), words[1:]
    if known is None:
        raise Refused(_unknown(line, words))
    name = known.name.lower()
    if not known.least <= len(arguments) <= known.most:
        raise Refused(f"{known.name}: expected {known.usage}{'' if known.most else ' alone'}")
    if name in _AS_TYPED:
        return name, [line[len(name) :].strip() if known.most else ""]
    return name, arguments


def _unknown(line: str, words: Sequence[str]) -> str:
    """What is told of a line that begins with no command: what is near, or does what is meant."""
    what = shown(words[0])
    hint = nearest(what, _NAMES)
    if line.startswith("["):
        return f"{shown(line)}: whom a set begins with stands in its file, expected fail or recover"
    if len(words) == 3 and words[2].isdigit():
        hint = f" (did you mean ({shown(', '.join(words))})?)"
    elif words[0].upper() in ("F", "R") and len(words) == 2:
        hint = f" (did you mean {words[0].upper()}({shown(words[1])})?)"
    return f'unknown command "{what}"{hint}; help lists all commands'


class TerminalLines:
    """Lines typed at a terminal, with history and completion where readline exists."""

    runs_on = False

    def __init__(
        self, complete: Callable[[str, str], list[str]], bold: bool, console: Console
    ) -> None:
        """`complete(before, word)` gives what `word` may become after the text `before`."""
        self._bold = bold
        self._console = console
        try:
            import readline
        except ImportError:  # no completion then, and no history
            self._bold = False
            return
        found: list[str] = []

        def completer(word: str, state: int) -> str | None:
            if state == 0:
                found[:] = complete(readline.get_line_buffer()[: readline.get_begidx()], word)
            return found[state] if state < len(found) else None

        readline.set_completer_delims(" \t,")
        readline.set_completer(completer)
        if "libedit" in (readline.__doc__ or ""):
            readline.parse_and_bind("bind ^I rl_complete")
        else:
            readline.parse_and_bind("set completion-ignore-case on")
            readline.parse_and_bind("tab: complete")

    def read(self, prompt: str) -> str | None:
        """One line; None for Ctrl-D. Ctrl-C takes back what was typed, a second one ends."""
        # readline must know which bytes take no room, or it misplaces the cursor.
        text = f"\001\033[1m\002{prompt}\001\033[0m\002" if self._bold else prompt
        is_warned = False
        while True:
            try:
                return input(text)
            except EOFError:
                return None
            except KeyboardInterrupt:
                if is_warned:
                    raise
                is_warned = True
                self._console.print(Text("\n Ctrl-C again ends the run; quit tells the verdict"))


class PipedLines:
    """Lines of a file or a pipe, each echoed so that the output reads like a session."""

    runs_on = True

    def __init__(self, stream: TextIO, console: Console) -> None:
        self._stream, self._console = stream, console

    def read(self, prompt: str) -> str | None:
        """One line; None at the end of the stream."""
        line = self._stream.readline()
        if not line:
            return None
        self._console.print(Text(f"{prompt}{shown(line, width=200)}".rstrip()))
        return line


def may_step(errors: Console) -> bool:
    """Somebody sees the prompt, or a pipe says what to do.

    In a file or a pager nobody sees it, and a pager reads from the same keyboard.
    """
    if sys.stdin is None or not sys.stdin.isatty() or sys.stdout.isatty():
        return sys.stdin is not None
    told = "standard output is no terminal: all sets run without a stop between them"
    errors.print(Text(told), soft_wrap=True)
    return False


Complete: TypeAlias = Callable[[ClusterConfig, str, str], list[str]]


def opened(console: Console, config: ClusterConfig, complete: Complete = complete) -> Lines:
    """Those of standard input; `complete` says what Tab offers."""
    if not sys.stdin.isatty():
        streams.replace_undecodable(sys.stdin)
        return PipedLines(sys.stdin, console)

    def offer(before: str, word: str) -> list[str]:
        return complete(config, before, word)

    return TerminalLines(offer, may_redraw(console) and not console.no_color, console)


@contextmanager
def cancelling(wanted: bool) -> Iterator[Callable[[], bool]]:
    """Inside, a first Ctrl-C is only noted, in what this gives; a second one is as any other."""
    noted: list[int] = []
    if not wanted:
        yield lambda: False
        return

    def note(number: int, _: object) -> None:
        noted.append(number)
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(noted)
    finally:
        signal.signal(signal.SIGINT, before)
