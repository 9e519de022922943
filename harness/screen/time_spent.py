"""Where the time of a run went, as a table. Pure, like `tables`."""

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from harness.run.report import SetReport
from harness.run.timing import MEANINGS, Phase
from harness.screen.cells import STRONG, Column, Grid, Heading

WORTH_NAMING_US = 100_000  # a set that spent as much in a phase is named
MOST_NAMED = 3


def timing_table(spent: Mapping[Phase, int], reports: Sequence[SetReport]) -> RenderableType:
    """A row per phase that took time, with the sets that took most of it; `spent` in µs."""
    columns = (
        Column("phase"),
        Column("seconds", right=True),
        Column("most in", drop=2),
        Column("what it is", drop=1, folds=True),
    )
    rows = [
        (
            Text(phase.value),
            _seconds(spent[phase]),
            Text(_where(phase, reports)),
            Text(MEANINGS[phase]),
        )
        for phase in Phase
        if spent.get(phase)
    ]
    whole = _seconds(sum(spent.values()))
    whole.stylize(STRONG)
    rows.append((Text("in all", style=STRONG), whole, Text(), Text()))
    return Group(Heading("Timing"), Grid(columns, rows))


def _seconds(microseconds: int) -> Text:
    return Text(f"{microseconds / 1e6:.3f}")


def _where(phase: Phase, reports: Sequence[SetReport]) -> str:
    """ "set 5, 8": where it was spent, longest first."""
    found = [(report.spent.get(phase, 0), report.number) for report in reports]
    long = sorted((-spent, number) for spent, number in found if spent >= WORTH_NAMING_US)
    named = [str(number) for _, number in long[:MOST_NAMED]]
    return "set " + ", ".join(named) + (", …" if len(long) > MOST_NAMED else "") if named else ""
