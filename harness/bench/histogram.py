"""Latency histograms in the terminal: one line each, over one logarithmic scale of milliseconds."""

from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from harness.bench.load import bucket_of, lower_bound
from harness.screen.cells import QUIET

HEIGHTS = "▁▂▃▄▅▆▇█"
WIDEST = 64  # cells; more than that shows buckets, not the shape
TICKS_US = tuple(10**power for power in range(1, 9))


def bars(values: Sequence[float]) -> str:
    """One sign per value, up to the highest; nothing is a blank, and only nothing is."""
    top = max(values, default=0)
    if top <= 0:
        return " " * len(values)
    steps = len(HEIGHTS)
    return "".join(
        HEIGHTS[min(steps - 1, int(value / top * steps - 1e-9))] if value > 0 else " "
        for value in values
    )


class Histograms:
    """Lines of a label and of what share of the answers took how long."""

    def __init__(self, lines: Sequence[tuple[Text, dict[int, int]]]) -> None:
        """Histograms are those of `harness.bench.load`: counts by bucket."""
        self._lines = [(label, counts) for label, counts in lines if counts]
        self._head = Text("ms")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if not self._lines:
            return
        used = [bucket for _, counts in self._lines for bucket in counts]
        first, last = min(used), max(used)
        indent = max(self._head.cell_len, *(label.cell_len for label, _ in self._lines)) + 3
        room = max(8, min(WIDEST, options.max_width - indent - 1))
        per_cell = -(-(last - first + 1) // room)
        cells = (last - first) // per_cell + 1
        yield _line(self._head, indent, _scale(first, per_cell, cells), QUIET)
        for label, counts in self._lines:
            heights = [0] * cells
            for bucket, count in counts.items():
                heights[(bucket - first) // per_cell] += count
            yield _line(label, indent, bars(heights), label.style)


def _line(label: Text, indent: int, rest: str, style: str | object) -> Text:
    line = Text(" ")
    line.append(" " * (indent - 3 - label.cell_len))
    line.append_text(label)
    line.append("  ")
    line.append(rest, style=str(style))
    line.rstrip()
    return line


def _scale(first: int, per_cell: int, cells: int) -> str:
    """Marks where a power of ten of milliseconds begins; the first and last when none is in."""
    scale = [" "] * (cells + 8)
    ticks = [tick for tick in TICKS_US if first <= bucket_of(tick) < first + cells * per_cell]
    for tick in ticks or [lower_bound(first)]:
        at = (bucket_of(tick) - first) // per_cell if ticks else 0
        for offset, sign in enumerate(f"╵{tick / 1000:g}"):
            scale[at + offset] = sign
    return "".join(scale)[: cells + 8].rstrip()
