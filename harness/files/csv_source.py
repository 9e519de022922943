"""A test-set CSV as people and spreadsheets really write it, as a tree that knows its lines.

Text in, sets of three or four columns out; what the columns say is not read here. Quotes,
parentheses and brackets protect separators, and quotes are then dropped: so
`1,(A, J, 3),[n1, n2]` needs none. A cell in quotes may go on for some lines, as long as none of
these begins like a row: one lost quote spoils one row only.
"""

import re
from collections.abc import Iterator, Sequence

from harness.files.steps import BARE_TRANSFER
from harness.files.text_file import shown
from harness.files.tree import Alike, Items, Problems, Section

NUMBER, STEPS, NODES = COLUMNS = ("Set Number", "Transactions", "Live Nodes")
POINTS = "Points"

_NAMES = {  # what headers call the columns, in small letters and without signs and blanks
    NUMBER: "setnumber setno setnum setid set #",
    STEPS: "transactions transaction commands command steps operations requests transfers txns",
    NODES: "livenodes liveservers livereplicas live nodes servers replicas activenodes "
    "activeservers alivenodes aliveservers alive",
    POINTS: "points point score marks",
}
_COLUMN = {name: column for column, names in _NAMES.items() for name in names.split()}
_SEPARATORS = ",;\t"
_MOST_LINES = 100  # of one row

_SPECIAL = re.compile(r'["()\[\],;\t|\n]')
_QUOTES = re.compile(r"""(?<![\w"])"++|"++(?!\w)|(?<![\w'])'++|'++(?!\w)""")
_CLOSER = {"(": ")", "[": "]"}
_STEP = re.compile(r"lf\b|[a-z]*\s*\(", re.IGNORECASE)  # how a cell of steps begins
_DATA = re.compile(r"[0-9(\[]")  # what no header contains
_ROW = re.compile(r'\s*(?:"[0-9]*"|[0-9]*)\s*[,;\t|]')  # how a row begins
_SEP = re.compile(r'\s*"?sep=([,;\t|])"?[\s,;]*', re.IGNORECASE)  # for spreadsheets
_WHOLE = re.compile(r"(?:set\s*)?#?\s*0*([0-9]+)(?:\.0*)?", re.IGNORECASE)  # a spreadsheet's 1.0


class _Layout:
    """How the columns of a file stand."""

    def __init__(self) -> None:
        self.separator = ""
        self.order: list[int] = []  # by column, where a header has them in another one, or points
        self.has_more = False  # columns that nobody knows, which was told


def parse(text: str, problems: Problems, said: list[str]) -> Items:
    r"""Every set: its NUMBER, if it has one; under NODES a cell of each row that has one, first of
    all that of the first row (None when that row cannot be read); under STEPS its steps; under
    POINTS the cells with points. What was read for something else is added to `said`.

    Lines end in "\n"; the separator is the first one in the file.
    """
    sets, layout, is_first = Items(), _Layout(), True
    for line, content in _rows(text):
        if is_first and (match := _SEP.fullmatch(content)):
            layout.separator = match[1]
            continue
        cuts = [] if layout.separator else _cuts(content, _SEPARATORS)
        separator = content[cuts[0]] if cuts else layout.separator
        cells = split(content, separator)
        while cells and not cells[-1]:
            cells.pop()
        if not cells or _is_comment(cells):
            continue
        layout.separator = separator
        fault = _unbalanced(content)
        named = [] if fault else _header(cells)
        if fault:
            problems.add(line, "row", Alike(fault, "row"))
            cells = [cells[0] if cells[0].isdecimal() else ""]
        elif named and (is_first or None not in named):
            if is_first and not _lay_out(layout, cells, named, line, problems, said):
                return Items()
            is_first = False
            continue
        is_first = False
        _add(sets, cells, line, bool(fault), layout, problems)
    return sets


def split(text: str, separators: str) -> list[str]:
    """Cut at each of the separators that no quotes, parentheses or brackets protect.

    The parts come without quotes and outer spaces; a text without separator is one part. A quote
    in the middle of a word stays there, since no word that is known holds one.
    """
    cuts = _cuts(text, separators)
    starts = [0, *(cut + 1 for cut in cuts)]
    parts = [text[start:end] for start, end in zip(starts, [*cuts, len(text)], strict=True)]
    return [_QUOTES.sub("", part).strip() for part in parts]


def _cuts(text: str, separators: str) -> list[int]:
    """Where the unprotected separators stand."""
    cuts = []
    depth = 0
    quoted = False
    for match in _SPECIAL.finditer(text):
        sign = match[0]
        if sign == '"':
            quoted = not quoted
        elif sign in "([":
            depth += 1
        elif sign in ")]":
            depth -= 1
        elif sign in separators and not quoted and depth == 0:
            cuts.append(match.start())
    return cuts


# ---- rows --------------------------------------------------------------------------------------


def _rows(text: str) -> Iterator[tuple[int, str]]:
    """Every row with the line where it begins; a cell in quotes may go on below."""
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        end = at + 1
        if lines[at].count('"') % 2 and not lines[at].lstrip().startswith("#"):
            end = _end(lines, at)
        yield at + 1, "\n".join(lines[at:end])
        at = end


def _end(lines: Sequence[str], at: int) -> int:
    """Behind the line that closes the quote of this one; behind itself when it is lost."""
    for end in range(at + 1, min(at + _MOST_LINES, len(lines))):
        if _ROW.match(lines[end]):
            break
        if lines[end].count('"') % 2:
            return end + 1
    return at + 1


def _unbalanced(content: str) -> str:
    """Why separators of this row cannot be told from others, "" when they can."""
    if content.count('"') % 2:
        return 'a quote (") is never closed, expected every cell to end on its line'
    open_signs: list[str] = []
    for sign in re.findall(r"[()\[\]]", content):
        if sign in _CLOSER:
            open_signs.append(sign)
        elif not open_signs or _CLOSER[open_signs.pop()] != sign:
            return f"{sign} without its opening sign, expected (A, J, 3) and [n1, n2]"
    if open_signs:
        return f"{open_signs[-1]} is never closed, expected {_CLOSER[open_signs[-1]]}"
    return ""


def _is_comment(cells: list[str]) -> bool:
    """A header may call the set numbers "#"."""
    return cells[0].startswith("#") and not (cells[0] == "#" and len(cells) >= len(COLUMNS))


# ---- the header --------------------------------------------------------------------------------


def _header(cells: list[str]) -> list[str | None]:
    """The columns that a first row names, None for one that nobody knows; nothing for data."""
    if not cells[0] or any(map(_DATA.search, cells)):
        return []
    words = ["".join(filter(str.isalpha, cell.lower())) or cell for cell in cells]
    return [_COLUMN.get(word) for word in words]


def _lay_out(
    layout: _Layout,
    cells: list[str],
    named: list[str | None],
    line: int,
    problems: Problems,
    said: list[str],
) -> bool:
    """Take the header; False when nothing can be read then."""
    if not set(COLUMNS) <= set(named):
        found = shown(", ".join(cells))
        what = f'unknown header "{found}", expected {", ".join(COLUMNS)}'
        problems.add(line, "header", what)
        layout.has_more = True
        return any(named)
    if others := [cell for cell, column in zip(cells, named, strict=True) if column is None]:
        names = ", ".join(f'"{shown(cell)}"' for cell in others)
        what = f"{len(cells)} columns, expected {len(COLUMNS)}: {names} is none that is known"
        problems.add(line, "header", f"{what} ({', '.join(COLUMNS)}; {POINTS} may stand beside)")
        layout.has_more = True
    if named != list(COLUMNS):
        order = [*COLUMNS, *([POINTS] if POINTS in named else [])]
        layout.order = [named.index(column) for column in order]
    read = [f'"{cell}" as {column}' for cell, column in zip(cells, named, strict=True)
            if column and "".join(cell.lower().split()) not in _USUAL]  # fmt: skip
    if read:
        said.append(f"{problems.name}:{line}: the header is read: {', '.join(read)}")
    return True


_USUAL = ("setnumber", "transactions", "transaction", "livenodes", "points")


# ---- sets --------------------------------------------------------------------------------------


def _add(
    sets: Items, cells: list[str], line: int, is_faulty: bool, layout: _Layout, problems: Problems
) -> None:
    """One row more: the first one of a set, or a further one."""
    columns = len(layout.order) or len(COLUMNS)
    if layout.order and not is_faulty:
        if is_faulty := len(cells) > columns and not layout.has_more:
            what = f"{len(cells)} columns, expected {columns}"
            problems.add(line, "row", Alike(what, "columns"))
        order = layout.order[:1] if is_faulty else layout.order
        cells = [cells[place] if place < len(cells) else "" for place in order]
    points = cells.pop() if len(cells) > len(COLUMNS) and columns > len(COLUMNS) else ""
    whole = _WHOLE.fullmatch(cells[0])
    number = whole[1] if whole else cells[0]
    if not sets or (number and number != sets[-1].get(NUMBER)):
        sets.put(_new_set(number, line), line)
        if not number and not is_faulty:
            what = "a row before any set, expected a set number in the first row"
            problems.add(line, NUMBER, what)
    section, end = sets[-1], 2
    while end < len(cells) and _STEP.match(cells[end]):
        end += 1
    nodes = cells[end:]
    if len(nodes) > 1 and any(re.search(r"[\[,;\n]", cell) for cell in nodes):
        what = f'{len(cells)} columns, expected {columns}: "{shown(nodes[-1])}" stands beside a '
        hint = f" (a column {POINTS} needs a header)" if nodes[-1].isdecimal() else ""
        problems.add(line, "row", Alike(f"{what}whole list of live nodes{hint}", "columns"))
        nodes, is_faulty = nodes[:1], True
    if any(nodes) or not section[NODES]:
        listed = re.sub(r",?\s*\n\s*", ", ", ", ".join(nodes))
        section[NODES].put(None if is_faulty else listed, line)
    for step in _steps(cells[1:end]):
        section[STEPS].put(step, line)
    if points:
        section[POINTS].put(points, line)


def _new_set(number: str, line: int) -> Section:
    section = Section()
    for key in (STEPS, NODES, POINTS):
        section.put(key, Items(), line)
    if number:
        section.put(NUMBER, number, line)
    return section


def _steps(cells: Sequence[str]) -> list[str]:
    """Several may stand in one cell, and fill further columns."""
    text = ", ".join(cells)
    if not text or BARE_TRANSFER.fullmatch(text):
        return [text] if text else []
    lines = [line.strip(" \t,;") for line in split(text, "\n")]
    return [part for line in lines if line for part in split(line, ",;")]
