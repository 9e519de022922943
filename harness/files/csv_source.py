"""A test-set CSV as people and spreadsheets really write it, as a tree that knows its lines.

Text in, sets of three columns out; what the columns say is not read here. Quotes, parentheses
and brackets protect separators, quotes are then dropped, and a cell ends on the line where it
began: so `1,(A, J, 3),[n1, n2]` needs no quotes, and one lost quote spoils one row only.
"""

import re

from harness.files.steps import BARE_TRANSFER
from harness.files.text_file import shown
from harness.files.tree import Items, Problems, Section

NUMBER, STEPS, NODES = HEADER = ("Set Number", "Transactions", "Live Nodes")

_HEADER = ["setnumber", "livenodes"]  # around the transactions

SEPARATORS = ",;\t"

_SPECIAL = re.compile(r'["()\[\],;\t]')
_QUOTES = re.compile(r'(?<![\w"])"++|"++(?!\w)')
_CLOSER = {"(": ")", "[": "]"}
_STEP = re.compile(r"lf\b|[a-z]*\s*\(", re.IGNORECASE)  # how a cell of steps begins
_DATA = re.compile(r"[0-9(\[]")  # what no header contains


def parse(text: str, problems: Problems) -> Items:
    r"""Every set: its NUMBER, if it has one; under NODES a cell of each row that has one, first of
    all that of the first row (None when that row cannot be read); under STEPS its steps.

    Lines end in "\n"; the separator is the first one in the file.
    """
    sets, number, separator, is_first = Items(), "", "", True
    for line, content in enumerate(text.split("\n"), start=1):
        if not separator and (cuts := _cuts(content, SEPARATORS)):
            separator = content[cuts[0]]
        cells = split(content, separator)
        while cells and not cells[-1]:
            cells.pop()
        if not cells:
            continue
        place, fault = _fault(content, cells, is_first)
        is_header, is_first = is_first and _is_header(cells), False
        if fault:
            problems.add(line, place, fault)
            cells = [cells[0] if cells[0].isdecimal() else ""]
        elif is_header:
            continue
        if not sets or (cells[0] and cells[0].lstrip("0") != number):
            number = cells[0].lstrip("0")
            sets.put(_new_set(cells[0], line), line)
            if not cells[0] and not fault:
                what = "a row before any set, expected a set number in the first row"
                problems.add(line, NUMBER, what)
        _fill(sets[-1], cells, line, bool(fault))
    return sets


def _new_set(number: str, line: int) -> Section:
    section = Section()
    for key, value in ((NUMBER, number), (NODES, Items()), (STEPS, Items())):
        if value != "":
            section.put(key, value, line)
    return section


def _fill(section: Section, cells: list[str], line: int, is_faulty: bool) -> None:
    """Steps fill the second column and all that look like steps; the rest are live nodes."""
    end = 2
    while end < len(cells) and _STEP.match(cells[end]):
        end += 1
    nodes = ", ".join(cells[end:])
    if nodes or not section[NODES]:
        section[NODES].put(None if is_faulty else nodes, line)
    steps = ", ".join(cells[1:end])
    for step in [steps] if not steps or BARE_TRANSFER.fullmatch(steps) else split(steps, ",;"):
        if steps:
            section[STEPS].put(step, line)


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


def _fault(content: str, cells: list[str], is_first: bool) -> tuple[str, str]:
    """Why a row cannot be read, after where; ("", "") when it can."""
    if content.count('"') % 2:
        return "row", 'a quote (") is never closed, expected every cell to end on its line'
    open_signs: list[str] = []
    for sign in re.findall(r"[()\[\]]", content):
        if sign in _CLOSER:
            open_signs.append(sign)
        elif not open_signs or _CLOSER[open_signs.pop()] != sign:
            return "row", f"{sign} without its opening sign, expected (A, J, 3) and [n1, n2]"
    if open_signs:
        return "row", f"{open_signs[-1]} is never closed, expected {_CLOSER[open_signs[-1]]}"
    if not is_first or not cells[0] or _is_header(cells) or any(map(_DATA.search, cells)):
        return "", ""
    found = shown(", ".join(cells))
    return "header", f'unknown header "{found}", expected {", ".join(HEADER)}'


def _is_header(cells: list[str]) -> bool:
    words = ["".join(cell.lower().split()) for cell in cells]
    return words[1:2] in (["transactions"], ["transaction"]) and words[::2] == _HEADER
