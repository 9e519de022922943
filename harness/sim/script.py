"""Scripts as text: commands, a line `----`, and what the replicas do then; see `script_runner`."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

RULE = "----"


class ScriptError(Exception):
    """A script asks for what cannot be done; the text says where."""


class Block(NamedTuple):
    """Commands and what they are expected to lead to."""

    head: list[str]  # comments, commands and empty lines, as written
    line: int  # of the file, from 1, at which `head` begins
    expected: list[str]

    def commands(self) -> Iterator[tuple[int, str]]:
        """The commands with their line numbers."""
        for number, line in enumerate(self.head, self.line):
            if line.strip() and not line.startswith("#"):
                yield number, line.strip()


def parse(text: str, name: str) -> list[Block]:
    """The blocks of a script called `name`."""
    blocks: list[Block] = []
    head: list[str] = []
    expected: list[str] | None = None
    lines = text.splitlines()
    if not lines or not lines[0].startswith("# "):
        raise ScriptError(f"{name}:1: the first line says the situation: # …")
    for number, line in enumerate(lines, 1):
        if expected is None:
            if line == RULE:
                expected = []
                blocks.append(Block(head, number - len(head), expected))
            else:
                head.append(line)
        elif line:
            expected.append(line)
        else:
            head, expected = [], None
    if expected is None and any(head):
        raise ScriptError(f"{name}:{len(lines)}: the last commands have no line {RULE}")
    return blocks


def written(blocks: Iterable[Block]) -> str:
    """The text of a script."""
    return "\n\n".join("\n".join([*b.head, RULE, *b.expected]) for b in blocks) + "\n"
