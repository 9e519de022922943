"""What the terminal shows, as HTML: the same tables, lines and words. Pure.

There is one account of a set in words and colours, that of `tables`; a page only sets it anew.
"""

from collections.abc import Sequence
from itertools import pairwise

from rich.console import Group
from rich.text import Text

from harness.report.markup import Safe, element, join
from harness.screen.cells import ATTENTION, BAD, GOOD, QUIET, STRONG, Grid, Hanging, Heading, Parts
from harness.screen.tables import Balances

_CLASSES = {GOOD: "good", BAD: "bad", ATTENTION: "look", STRONG: "strong", QUIET: "quiet"}


def shown(renderable: object) -> Safe:
    """A renderable of `tables` as HTML. AssertionError for a kind that none of them is made of."""
    match renderable:
        case Heading():
            return join()
        case Text() if not renderable.plain:
            return join()
        case Text():
            return element("p", words(renderable))
        case Hanging():
            return element("p", words(renderable.text))
        case Parts():
            items = (element("li", words(part)) for part in renderable.parts)
            return element("ul", *items, class_="line")
        case Grid():
            rows = [[words(cell) for cell in row] for row in renderable.rows]
            return table([(c.name, "num" if c.right else "") for c in renderable.columns], rows)
        case Balances():
            return join(shown(renderable.whole()), *map(shown, renderable.remarks()))
        case Group():
            return join(*map(shown, renderable.renderables))
    raise AssertionError(f"{type(renderable).__name__} is not shown on a page")


def words(text: Text) -> Safe:
    """A text with its styles as classes."""
    plain, cuts = text.plain, {0, len(text.plain)}
    for span in text.spans:
        cuts |= {span.start, span.end}
    places = sorted(cut for cut in cuts if cut <= len(plain))
    found = []
    for start, end in pairwise(places):
        styles = [str(text.style)]
        styles += [str(s.style) for s in text.spans if s.start <= start and end <= s.end]
        kinds = " ".join(_CLASSES[style] for style in styles if style)
        piece = plain[start:end]
        found.append(element("span", piece, class_=kinds) if kinds else join(piece))
    return join(*found)


def table(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[object]]) -> Safe:
    """Columns are names and classes; "num" stands at the right."""
    head = [element("th", name, class_=kind or None, scope="col") for name, kind in columns]
    body = [
        element(
            "tr",
            *(
                element("td", value, class_=kind or None)
                for value, (_, kind) in zip(row, columns, strict=True)
            ),
        )
        for row in rows
    ]
    whole = element("table", element("thead", element("tr", *head)), element("tbody", *body))
    return element("div", whole, class_="scroll", tabindex=0)
