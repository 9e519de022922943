"""The end of what a process wrote, as text that a terminal bears."""

import os
from collections.abc import Iterable
from pathlib import Path

from harness.files.text_file import shown

LAST_LINES = 32
MOST_OF_A_TAIL = 1 << 16  # bytes
MOST_OF_A_LOG = 4 << 20  # bytes that are kept of one


def tail(path: Path) -> list[str]:
    """Its last lines."""
    try:
        data = end_of(path, MOST_OF_A_TAIL)
    except OSError:
        return []
    lines = data.decode("utf-8", "replace").splitlines()[-LAST_LINES:]
    return [shown(line, 200) for line in lines if line.strip()]


def ends_of(files: Iterable[Path]) -> dict[str, bytes]:
    """By name, what is kept of each."""
    return {file.name: end_of(file) for file in files}


def end_of(path: Path, most: int = MOST_OF_A_LOG) -> bytes:
    """At most so many bytes of it, the last ones."""
    with open(path, "rb") as stream:
        stream.seek(0, os.SEEK_END)
        stream.seek(max(0, stream.tell() - most))
        return stream.read()


def indented(lines: Iterable[str]) -> list[str]:
    """As they stand below a message."""
    return [f"    {line}" for line in lines]
