"""The end of what a process wrote, as text that a terminal bears."""

import os
from collections.abc import Iterable
from pathlib import Path

from harness.files.text_file import shown

LAST_LINES = 32
MOST_OF_A_TAIL = 1 << 16  # bytes


def tail(path: Path) -> list[str]:
    """Its last lines."""
    try:
        with open(path, "rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - MOST_OF_A_TAIL))
            data = stream.read()
    except OSError:
        return []
    lines = data.decode("utf-8", "replace").splitlines()[-LAST_LINES:]
    return [shown(line, 200) for line in lines if line.strip()]


def indented(lines: Iterable[str]) -> list[str]:
    """As they stand below a message."""
    return [f"    {line}" for line in lines]
