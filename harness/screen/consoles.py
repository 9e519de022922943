"""How a stream is drawn on: where people or other programs read what rich writes."""

import os
from collections.abc import Iterable
from typing import Any, TextIO

from rich.console import Console, RenderableType
from rich.text import Text

from harness.screen.cells import Line

PIPED_WIDTH = 80
COLORS = ("auto", "always", "never")
_COPIED = ("repeat:", "kept:")  # what follows is one piece


def opened(color: str, stream: TextIO) -> Console:
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
    return Console(
        file=stream, width=width, highlight=False, markup=False, emoji=False, **switches[color]
    )


def print_parts(console: Console, parts: Iterable[RenderableType]) -> None:
    """Texts are broken between words on a terminal, but for what is to be copied."""
    for part in parts:
        if not isinstance(part, Text):
            console.print(part)
        elif part.plain.lstrip().startswith(_COPIED):
            console.print(part, soft_wrap=True)
        else:
            console.print(Line(part), soft_wrap=True)
