"""A set in words, for reports that are text: what does not hold, and the tables. Pure.

No colour, no control code, a fixed width: it is read in a browser or in the log of a CI.
"""

from collections.abc import Sequence
from io import StringIO

from rich.console import Console, RenderableType

from harness.files.config import ClusterConfig
from harness.run.report import SetReport
from harness.screen import tables

WIDTH = 100  # columns


def text(renderable: RenderableType, width: int = WIDTH) -> str:
    """What is printed, without blanks and empty lines at the ends."""
    stream = StringIO()
    console = Console(
        file=stream, width=width, color_system=None, highlight=False, markup=False, emoji=False,
        force_terminal=False,
    )  # fmt: skip
    console.print(renderable)
    return stream.getvalue().strip("\n")


def problems(report: SetReport) -> list[str]:
    """One line for each, with its place or that of the set."""
    return [f"{p.verdict.sign} {p.where or report.where}: {p.check}: {p.reason}"
            for p in report.problems]  # fmt: skip


def screen(reports: Sequence[SetReport], position: int, config: ClusterConfig) -> str:
    """The tables after the set at `position`, from 1, as `python run.py` prints them."""
    before = tables.live_majority(reports[position - 2].views) if position > 1 else {}
    report = reports[position - 1]
    return text(tables.set_screen(report, config.failure, before or config.balances()))
