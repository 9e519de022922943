"""Writes docs/reference.md from the code: `python -m tests.reference`. A test holds them together.

Options come from the parsers, words of the prompt from the console, keys from the sample
configuration: what is said about them is said once, there.
"""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness import arguments, commands, errors
from harness.screen.answers import SIGNS
from harness.screen.lines import WORDS

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference.md"
HEAD = """# Reference

Written from the code by `python -m tests.reference`; what a command does is also told by its
`--help`. The formats of test sets and of answer keys are in
[testsets/README.md](../testsets/README.md).
"""
EXIT_CODES = (
    (errors.EXIT_VALID, "every check and every expectation holds"),
    (errors.EXIT_INVALID, "one does not"),
    (errors.EXIT_USAGE, "a bad option or file; nothing was started"),
    (errors.EXIT_UNKNOWN, "a check could not decide"),
    (errors.EXIT_MACHINE, "the machine failed: disk full, a process cannot start"),
    (
        errors.EXIT_BUG,
        "a bug in paxbank itself: it says where the details are; or it cannot be loaded, its "
        "`bank` for instance: it says file, line and reason",
    ),
    (errors.EXIT_INTERRUPTED, "Ctrl-C"),
    (errors.EXIT_UNREAD, "nobody reads the output any more"),
)
ENDING = """
Where the words of a program go changes none of them. A closed standard output or standard error is
as `/dev/null`. When standard output cannot be written, as on a full disk, the rest goes to standard
error, and 0 and 3 become 4. What an option names to be written is tried before anything starts (2);
when it fails later, the verdict is printed all the same, then the reason (4, or 1 when a check does
not hold).

A run that ends before it has begun (2, 4, 70, 130, 141) replaces the documents of an earlier one in
its `--report` folder by `refused` and the reason: in `results.json` as `verdict` and `problems`, as
an error in `junit.xml`, as a score of 0 in `gradescope.json`. Nothing else in the folder is
touched, and nothing at all in a folder that holds no report of ours."""


def page() -> str:
    """The whole document."""
    return "\n".join([HEAD, *_lines()]) + "\n"


def _lines() -> Iterator[str]:
    yield "## Run a test set\n\n`python run.py FILE [options]`\n"
    yield from _options(arguments.file_parser())
    for name in commands.names():
        command = commands.find(name)
        parser = argparse.ArgumentParser(add_help=False)
        command.add_arguments(parser)
        yield f"\n## {name}\n\n{command.help}\n"
        yield from _options(parser)
    yield "\n## The prompt\n\nIn any letter case; Tab completes, Enter is `next`.\n"
    said = ((f"`{w.usage}`", f"{w.shows}. {w.more}" if w.more else w.shows) for w in WORDS)
    yield from _table(("command", "shows or does"), said)
    yield "\n## Signs\n"
    yield from _table(("sign", "means"), SIGNS)
    yield "\n## Configuration\n"
    yield "The keys of `--config FILE`, and of `cluster:` in a YAML test set. Flags are stronger"
    yield "than a test set, a test set than the file.\n"
    yield f"```yaml\n{(ROOT / 'testsets' / 'cluster.yaml').read_text('utf-8').strip()}\n```"
    yield "\n## Exit codes\n"
    yield from _table(("code", "means"), ((str(code), says) for code, says in EXIT_CODES))
    yield ENDING


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    rows = []
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        metavar = "" if action.nargs == 0 else action.metavar or action.dest.upper()
        names = ", ".join(action.option_strings) or str(metavar)
        usage = f"{names} {metavar}" if action.option_strings and metavar else names
        rows.append((f"`{usage}`", str(action.help)))
    yield from _table(("option", "meaning"), rows)


def _table(head: tuple[str, str], rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    for cells in (head, ("---", "---"), *rows):
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
