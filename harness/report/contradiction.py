"""A contradiction as a picture: clients as lanes, the few operations of the evidence as bars. Pure.

Positions are shares of the width and text is not, so one picture fits a phone and a wide screen.
What it shows is told in words below it as well.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import sqrt
from typing import NamedTuple

from bank.ledger import describe
from harness.check.contradiction import Contradiction
from harness.check.operations import moment
from harness.cluster.history import Operation
from harness.report.markup import Safe, element, join

ROW, TOP, GAP = 40, 8, 10  # heights: of an operation, above the first lane, between two lanes
MARK = 16  # height of a mark's words
MOST_MARKS = 8
LEFT, RIGHT = 3.0, 97.0  # per cent of the width that time takes


class Mark(NamedTuple):
    """Something that happened meanwhile: `kind` is fault, leader or message."""

    at: int  # µs of the cluster's clock
    text: str
    kind: str


def section(
    found: Contradiction,
    marks: Sequence[Mark] = (),
    links: Mapping[int, Safe] | None = None,
) -> Safe:
    """Picture, then the same in words; `links` lead on from operations, by their `id`."""
    operations = sorted((*found.others, found.failed), key=lambda o: (o.invoked_at or 0, o.request))
    first = operations[0].invoked_at or 0
    ends = [o.answered_at for o in operations if o.answered_at is not None]
    last = max([first, *ends])
    shown = [m for m in sorted(marks) if first <= m.at <= last][:MOST_MARKS]
    begins = ", ".join(f"{account} is {held}" for account, held in found.before.items())
    if found.is_whole:
        rest = f"Before them {begins}." if begins else "It does not matter what came before."
        rest += " No order of these operations gives every answer."
    else:
        rest = "These are among the latest of that account: it takes all before them to prove it."
    items: list[tuple[int, int, Safe]] = []
    for operation in operations:
        said = [_words(operation, found.since)]
        if operation is found.failed:
            which = "this answer" if found.is_whole else "this answer or one before it"
            said.append(f": {which} fits nowhere")
        link = (links or {}).get(id(operation))
        item = element("li", *said, *([] if link is None else [" ", link]))
        items.append((operation.invoked_at or 0, len(items), item))
    for mark in shown:
        item = element("li", f"{moment(mark.at, found.since)}: {mark.text}")
        items.append((mark.at, len(items), item))
    return join(
        element("p", rest),
        element("div", _picture(operations, found, shown), class_="why"),
        element(
            "details",
            element("summary", "The same in words"),
            element("ol", *(item for _, _, item in sorted(items)), class_="words"),
        ),
    )


def _words(operation: Operation, since: int) -> str:
    client, _, *command = operation.request
    asked = moment(operation.invoked_at, since)
    said = f"{asked}: {client} asks {describe(*command)}, "  # type: ignore[arg-type]
    if operation.answered_at is None:
        return f"{said}and is not answered"
    at = moment(operation.answered_at, since)
    return f"{said}and has the answer {operation.result} at {at}"


def _picture(operations: Sequence[Operation], found: Contradiction, marks: Sequence[Mark]) -> Safe:
    wrong = " ✗ fits nowhere" if found.is_whole else " ✗ this or one before"
    x = _scale(operations, marks)
    top = TOP + MARK * len(marks)
    parts: list[Safe] = []
    y = float(top)
    lanes: dict[str, list[Operation]] = {}
    for operation in operations:
        lanes.setdefault(operation.request[0], []).append(operation)
    for client, inside in lanes.items():
        height = ROW * len(inside) + 18
        parts.append(element("rect", x=0, y=y, width="100%", height=height, class_="lane-box"))
        parts.append(element("text", client, x=6, y=y + 14, class_="client"))
        for index, operation in enumerate(inside):
            flaw = wrong if operation is found.failed else ""
            parts += _bar(operation, flaw, x, y + 18 + ROW * index)
        y += height + GAP
    lines = []
    for index, mark in enumerate(marks):
        at, line = _percent(x[mark.at]), TOP + MARK * (index + 0.75)
        lines.append(element("line", x1=at, x2=at, y1=line, y2=y - GAP, class_=f"mark {mark.kind}"))
        lines.append(_text(mark.text, x[mark.at], line - 3, f"mark {mark.kind}"))
    said = f"{len(operations)} operations of {len(lanes)} clients; the list below says the same"
    return element(
        "svg", *parts, *lines, role="img", width="100%", height=round(y - GAP + 4),
        class_="contradiction", aria_label=said,
    )  # fmt: skip


def _bar(operation: Operation, flaw: str, x: Mapping[int, float], y: float) -> list[Safe]:
    begin = x[operation.invoked_at or 0]
    is_open = operation.answered_at is None
    end = 100.0 if operation.answered_at is None else x[operation.answered_at]
    command = describe(*operation.request[2:])
    result = "never answered" if is_open else f"= {operation.result}"
    text = f"{command} {result}{flaw}"
    kind = "failed" if flaw else "open" if is_open else "done"
    width = _percent(max(end - begin, 0.8))
    bar = element(
        "rect", x=_percent(begin), y=y + 16, width=width, height=12, rx=3, class_=f"bar {kind}"
    )
    return [_text(text, begin, y + 12, f"what {kind}"), bar]


def _text(text: str, at: float, y: float, class_: str) -> Safe:
    """Towards the side that has more room."""
    anchor = "start" if at <= 50 else "end"
    return element("text", text, x=_percent(at), y=y, text_anchor=anchor, class_=class_)


def _scale(operations: Sequence[Operation], marks: Sequence[Mark]) -> dict[int, float]:
    """A place for every moment, in per cent; long pauses are shortened to their root."""
    times = {o.invoked_at or 0 for o in operations} | {m.at for m in marks}
    times |= {o.answered_at for o in operations if o.answered_at is not None}
    moments = sorted(times)
    gaps = [later - earlier for earlier, later in pairwise(moments)]
    longest = max([1, *gaps])
    steps = [1 + 2 * sqrt(gap / longest) for gap in gaps]
    whole = sum(steps) or 1.0
    place, found = LEFT, {moments[0]: LEFT}
    for instant, step in zip(moments[1:], steps, strict=True):
        place += step * (RIGHT - LEFT) / whole
        found[instant] = place
    return found


def _percent(number: float) -> str:
    return f"{number:.1f}%"


def page(pictures: Mapping[str, Contradiction], style: str) -> str:
    """A page of its own: each contradiction under the name of its file, in the report's style."""
    parts = [
        element("section", element("h2", name), element("p", str(found)), section(found))
        for name, found in pictures.items()
    ]
    head = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Contradictions · paxbank</title>\n<style>{style}</style>\n</head>\n"
        "<body>\n<main>\n"
    )
    header = element("header", element("h1", "What no order explains"))
    return f"{head}{header}{join(*parts)}\n</main>\n</body>\n</html>\n"
