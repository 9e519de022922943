"""Further commands, one module each; the first word of the command line names the module.

A command is a module with `add_arguments(parser)`, `run(options, console) -> int` (the exit code)
and EXAMPLES (arguments and what they do); the first line of its docstring is its help. Being
here is all the registration there is: `--help` imports every one, running a command imports that
one alone.
"""

import pkgutil
import shlex
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from rich.console import Console

from harness.cluster import ctrl_c
from harness.errors import HarnessError, unknown

FORMATS = ("rich", "json")  # of what is printed


@dataclass(frozen=True, slots=True)
class Command:
    """A command, imported."""

    name: str
    help: str
    examples: Sequence[tuple[str, str]]  # arguments, and what they do
    add_arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace, Console], int]


def program() -> str:
    """What a person types to start this program again."""
    name = Path(sys.argv[0]).name
    return {
        "run.py": "python run.py",
        "__main__.py": "python -m harness",
        "paxbank.py": "python -m paxbank",
    }.get(name, "paxbank")


def repeated(arguments: Sequence[str], seed: int | None) -> str:
    """The one command that runs this again, with the seed that was drawn."""
    words = list(arguments)
    if not any(word == "--seed" or word.startswith("--seed=") for word in words):
        words += ["--seed", str(seed)]
    return f"{program()} {shlex.join(words)}"


def refuse_unknown(option: str, word: str, known: Sequence[str] = FORMATS) -> None:
    """HarnessError for an option with another word than these."""
    if told := unknown(word, known):
        raise HarnessError(f"{option}: {told}")


def names() -> list[str]:
    """The names of all commands, sorted; imports none of them."""
    modules = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name for name in modules if not name.startswith("_"))


def find(name: str) -> Command:
    """Import one of `names()`."""
    with ctrl_c.afterwards(or_again=True):
        module = import_module(f"{__name__}.{name}")
    assert module.__doc__, f"{module.__name__} has no docstring, its first line is the help"
    told = module.__doc__.strip().splitlines()[0]
    examples = getattr(module, "EXAMPLES", ())
    return Command(name, told, examples, module.add_arguments, module.run)
