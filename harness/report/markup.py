"""HTML and SVG as text that is safe by construction. Pure.

What is not Safe is escaped: a name cannot become markup by oversight.
"""

import json
from html import escape


class Safe(str):
    """Markup, made by `element` and `join` alone."""

    __slots__ = ()


def element(name: str, *children: object, **attributes: object) -> Safe:
    """`<name …>children</name>`. Children are text unless Safe; None is left out.

    An attribute `class_` is written class, `data_set` data-set. None and False leave it out, True
    writes its name alone.
    """
    words = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        shown = key.rstrip("_").replace("_", "-")
        words.append(shown if value is True else f'{shown}="{escape(str(value))}"')
    return Safe(f"<{' '.join(words)}>{join(*children)}</{name}>")


def join(*parts: object) -> Safe:
    """Parts one after the other, escaped unless Safe; None is left out."""
    return Safe(
        "".join(p if isinstance(p, Safe) else escape(str(p)) for p in parts if p is not None)
    )


def embedded_json(value: object) -> Safe:
    """JSON that no text in it can end the script element of."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Safe(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))
