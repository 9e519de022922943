"""Grids, lines of parts and cells: how the tables are laid out, knowing nothing of replicas.

A grid fits itself to the width it is printed at: wide gaps first, then narrow ones, then it drops
columns in the order they ask for, then it folds the one that may be folded, between its words;
where one has no room, that cell goes over the columns at its right, which stand below it then, and
where there is no room there either, below its row.
Nothing is cut without a word: a row of the wrong length is an AssertionError, and a cell is a
`Text`, never a string that rich could read as markup ("[n1]" would vanish). A line that fits ends
in no blank; one that is too long for the width all the same is broken by rich, maybe behind one.

Colour only repeats what signs and words say. These few styles are readable on light and on dark
terminals; yellow, white and plain blue are not.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from bank.ballot import Ballot

GOOD = "green"
BAD = "bold red"
ATTENTION = "magenta"  # stale, pending, unknown: to be looked at, not wrong
STRONG = "bold"
QUIET = "dim"

NARROWEST_FOLD = 12  # columns are dropped before the folding one gets narrower than this


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a grid."""

    name: str
    right: bool = False  # numbers stand at the right
    drop: int = 0  # 0: always shown; else the smallest number goes first on narrow screens
    folds: bool = False  # may go on in further lines; at most one column of a grid


INDENT = 1  # of a grid


class Grid:
    """Rows under bold headings, without lines; see the module for how it gets narrower."""

    def __init__(
        self,
        columns: Sequence[Column],
        rows: Iterable[Sequence[Text]],
        gaps: Sequence[int] = (3, 2),
    ) -> None:
        """`gaps` are tried from the left; every row is as long as `columns`."""
        self.columns = tuple(columns)
        self.rows = [tuple(row) for row in rows]
        self.gaps = tuple(gaps)
        self._folding = next((at for at, c in enumerate(self.columns) if c.folds), None)
        for row in self.rows:
            assert len(row) == len(self.columns), f"{len(row)} cells for {len(self.columns)}: {row}"
        self.widths = [
            max(cell_len(column.name), *(row[at].cell_len for row in self.rows), 0)
            for at, column in enumerate(self.columns)
        ]

    def least_width(self) -> int:
        """How wide it is with every column, nothing folded, at the narrowest gap."""
        return self._total(range(len(self.columns)), self.gaps[-1], self.widths)

    def shows(self, name: str, width: int) -> bool:
        """Whether there is such a column, and room for it."""
        return name in (self.columns[at].name for at in self._fit(width)[0])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        shown, gap, widths = self._fit(width)
        heads = tuple(Text(column.name, style=STRONG) for column in self.columns)
        for row in (heads, *self.rows):
            folding = self._folding
            if folding is not None and _longest_word(row[folding]) > widths[folding]:
                yield from self._spilled(console, row, shown, gap, widths, width)
            else:
                yield from self._lines(console, row, shown, gap, widths)

    def _fit(self, width: int) -> tuple[list[int], int, list[int]]:
        """Which columns, the gap between them, and how wide each column is."""
        widths = list(self.widths)
        shown = list(range(len(self.columns)))
        folding = self._folding
        for gap in self.gaps:
            if self._total(shown, gap, widths) <= width:
                return shown, gap, widths
        gap = self.gaps[-1]
        if folding is None:
            return self._dropped(gap, widths, width), gap, widths
        least = max(NARROWEST_FOLD, len(self.columns[folding].name))
        whole = max(least, *(_longest_word(row[folding]) for row in self.rows), 0)
        for wanted in (whole, least):  # it gets what is left over below
            widths[folding] = min(self.widths[folding], wanted)
            shown = self._dropped(gap, widths, width)
            if (spare := width - self._total(shown, gap, widths)) >= 0:
                break
        widths[folding] = max(4, min(self.widths[folding], widths[folding] + spare))
        return shown, gap, widths

    def _dropped(self, gap: int, widths: Sequence[int], width: int) -> list[int]:
        """The columns that are left when those go that can, one after the other, until it fits."""
        shown = list(range(len(self.columns)))
        for at in sorted(shown, key=lambda at: self.columns[at].drop):
            if self.columns[at].drop and self._total(shown, gap, widths) > width:
                shown.remove(at)
        return shown

    def _total(self, shown: Sequence[int], gap: int, widths: Sequence[int]) -> int:
        return INDENT + sum(widths[at] for at in shown) + gap * (len(shown) - 1)

    def _spilled(
        self,
        console: Console,
        row: Sequence[Text],
        shown: Sequence[int],
        gap: int,
        widths: Sequence[int],
        width: int,
    ) -> Iterable[Text]:
        """A row whose folding cell has a word that is longer than its column."""
        folding = self._folding
        assert folding is not None
        before = [at for at in shown if at < folding]
        start = INDENT + sum(widths[at] + gap for at in before)
        blank = tuple(Text() for _ in row)
        first = next(
            iter(self._lines(console, (*row[:folding], *blank[folding:]), shown, gap, widths))
        )
        if width - start < NARROWEST_FOLD:
            yield first
            first, start = Text(), INDENT + 2
        for line in row[folding].wrap(console, max(1, width - start), overflow="fold"):
            line.rstrip()
            yield first + Text(" " * (start - first.cell_len)) + line
            first = Text()
        others = (*blank[: folding + 1], *row[folding + 1 :])
        yield from self._lines(console, others, shown, gap, widths)

    def _lines(
        self,
        console: Console,
        row: Sequence[Text],
        shown: Sequence[int],
        gap: int,
        widths: Sequence[int],
    ) -> Iterable[Text]:
        folded = {
            at: list(row[at].wrap(console, widths[at], overflow="fold"))
            for at in shown
            if self.columns[at].folds and row[at].cell_len > widths[at]
        }
        for number in range(max(map(len, folded.values()), default=1)):
            line = Text(" " * INDENT)
            for at in shown:
                lines = folded.get(at, [row[at]])
                cell = lines[number] if number < len(lines) else Text()
                padding = " " * (widths[at] - cell.cell_len)
                line.append(padding if self.columns[at].right else "")
                line.append_text(cell)
                line.append("" if self.columns[at].right else padding)
                line.append(" " * gap)
            line.rstrip()
            yield line


def _longest_word(text: Text) -> int:
    """How many places it takes."""
    return max(map(cell_len, text.plain.split()), default=0)


class Parts:
    """Short texts joined on one line; on narrow screens broken between them, never inside."""

    def __init__(self, parts: Iterable[Text], separator: str = " · ", indent: int = 0) -> None:
        self.parts = list(parts)
        self.separator = separator
        self.indent = indent

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        line = Text(" " * self.indent)
        empty = True
        for part in self.parts:
            wanted = line.cell_len + cell_len(self.separator) + part.cell_len
            if not empty and wanted > options.max_width:
                yield line
                line, empty = Text(" " * self.indent), True
            if not empty:
                line.append(self.separator)
            line.append_text(part)
            empty = False
        yield line


def sentence(text: str, style: str = "") -> Parts:
    """A line of words, broken between them where it has to be."""
    return Parts((Text(word, style=style) for word in text.split(" ")), separator=" ", indent=1)


class Hanging:
    """A text whose further lines begin below its second word: its first one is a sign."""

    def __init__(self, text: Text, indent: int = 1) -> None:
        self.text = text
        self.indent = indent

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width - self.indent - 2
        for number, line in enumerate(self.text.wrap(console, width, overflow="fold")):
            line.rstrip()
            yield Text(" " * (self.indent + (2 if number else 0))) + line


class Line:
    """Words of any length, to be printed with `soft_wrap`: a line in a file or a pipe.

    A terminal gets it broken between words, further lines a little to the right; a word that is
    longer than a line, such as a path, stays in one piece.
    """

    def __init__(self, text: Text) -> None:
        self.text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if not console.file.isatty():
            yield self.text
            return
        for line in self.text.split("\n"):
            yield from _broken(line, console.width)


def _broken(line: Text, width: int) -> Iterable[Text]:
    """A line in parts of at most so many columns, unless a word is longer."""
    plain = line.plain
    margin = len(plain) - len(plain.lstrip())
    starts, indent = [0], 0
    for word in re.finditer(r"\S+", plain):
        is_first = not plain[starts[-1] : word.start()].strip()
        if not is_first and indent + cell_len(plain[starts[-1] : word.end()]) > width:
            starts.append(word.start())
            indent = margin + 2
    for number, part in enumerate(line.divide(starts[1:])):
        part.rstrip()
        yield Text(" " * (margin + 2 if number else 0)) + part


class Heading:
    """ "── Set 6 of 10 ──────" over the whole width."""

    def __init__(self, title: str) -> None:
        self.title = title

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        line = Text("── ")
        line.append(self.title, style=STRONG)
        line.append(" " + "─" * max(2, options.max_width - line.cell_len - 1))
        yield line


def cell(value: object, style: str = "") -> Text:
    """Data as it stands, never read as markup; None is an empty cell."""
    return Text("" if value is None else str(value), style=style)


def ballot_cell(ballot: Ballot | None) -> Text:
    """(2, n1), or nothing for none and for the ballot below every real one."""
    return cell(ballot if ballot is not None and ballot.number else None)


def duration(microseconds: int) -> str:
    """ "0.06 ms", "1.2 ms", "402 ms", "1.00 s": two or three digits that count."""
    milliseconds = microseconds / 1000
    if milliseconds < 0.1:
        return f"{milliseconds:.2f} ms"
    if milliseconds < 10:
        return f"{milliseconds:.1f} ms"
    if milliseconds < 999.5:
        return f"{milliseconds:.0f} ms"
    return f"{milliseconds / 1000:.2f} s"


def percentile(ordered: Sequence[int], per_hundred: float) -> int:
    """Nearest rank of a sorted, non-empty sequence."""
    rank = max(1, -(-len(ordered) * per_hundred // 100))
    return ordered[int(rank) - 1]


def rate(count: int, seconds: float) -> str:
    """Answers per second: "0.2/s", "57/s", "12,400/s"."""
    if seconds <= 0:
        return "–/s"
    per_second = count / seconds
    return f"{per_second:.1f}/s" if per_second < 9.95 else f"{per_second:,.0f}/s"
