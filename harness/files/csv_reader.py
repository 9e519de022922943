"""Rows of a test-set CSV as people and spreadsheets really write them.

Text in, rows of three columns out; what the columns say is not read here. Quotes, parentheses
and brackets protect separators, quotes are then dropped, and a cell ends on the line where it
began: so `1,(A, J, 3),[n1, n2]` needs no quotes, and one lost quote spoils one row only.
"""

import re
from typing import NamedTuple

from harness.files.text_file import shown

NUMBER, STEPS, NODES = HEADER = ("Set Number", "Transactions", "Live Nodes")

SEPARATORS = ",;\t"

_SPECIAL = re.compile(r'["()\[\],;\t]')
_QUOTES = re.compile(r'(?<![\w"])"++|"++(?!\w)')
_CLOSER = {"(": ")", "[": "]"}
_STEP = re.compile(r"lf\b|[a-z]*\s*\(", re.IGNORECASE)  # how a cell of steps begins
_DATA = re.compile(r"[0-9(\[]")  # what no header contains


class Row(NamedTuple):
    """One row that is not blank and not the header."""

    line: int  # of the file, from 1
    number: str  # the three columns, without quotes and outer spaces; "" when left out
    steps: str
    nodes: str
    fault: str = ""  # "cell: why this row cannot be read"; `steps` and `nodes` are then empty


def read_rows(text: str) -> list[Row]:
    r"""Every row of the file. Lines end in "\n"; the separator is the first one in the file."""
    rows: list[Row] = []
    separator = ""
    first = True
    for line, content in enumerate(text.split("\n"), start=1):
        if not separator and (cuts := _cuts(content, SEPARATORS)):
            separator = content[cuts[0]]
        cells = split(content, separator)
        while cells and not cells[-1]:
            cells.pop()
        if not cells:
            continue
        fault = _unbalanced(content) or (_bad_header(cells) if first else "")
        if fault:
            rows.append(Row(line, cells[0] if cells[0].isdecimal() else "", "", "", fault))
        elif not (first and _is_header(cells)):
            rows.append(_columns(line, cells))
        first = False
    return rows


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


def _unbalanced(content: str) -> str:
    """Why separators of this row cannot be told from others, "" when they can."""
    if content.count('"') % 2:
        return 'row: a quote (") is never closed, expected every cell to end on its line'
    open_signs: list[str] = []
    for sign in re.findall(r"[()\[\]]", content):
        if sign in _CLOSER:
            open_signs.append(sign)
        elif not open_signs or _CLOSER[open_signs.pop()] != sign:
            return f"row: {sign} without its opening sign, expected (A, J, 3) and [n1, n2]"
    if open_signs:
        return f"row: {open_signs[-1]} is never closed, expected {_CLOSER[open_signs[-1]]}"
    return ""


def _columns(line: int, cells: list[str]) -> Row:
    """Steps fill the second column and all that look like steps; the rest are live nodes."""
    end = 2
    while end < len(cells) and _STEP.match(cells[end]):
        end += 1
    return Row(line, cells[0], ", ".join(cells[1:end]), ", ".join(cells[end:]))


def _word(cell: str) -> str:
    return "".join(cell.lower().split())


def _is_header(cells: list[str]) -> bool:
    words = [_word(cell) for cell in cells]
    return words in (
        ["setnumber", "transactions", "livenodes"],
        ["setnumber", "transaction", "livenodes"],
    )


def _bad_header(cells: list[str]) -> str:
    """What is wrong with a first row that is no data, "" for data and for the header."""
    if not cells[0] or _is_header(cells) or any(_DATA.search(cell) for cell in cells):
        return ""
    found = shown(", ".join(cells))
    return f'header: unknown header "{found}", expected {", ".join(HEADER)}'
