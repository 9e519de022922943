"""Draws docs/stepping.svg: `python -m tests.pictures`. A test holds it and the session together.

The session of docs/stepping.md is typed, with the bug that it looks for, and each answer is a frame
of one picture: they come one after the other, and stand still for who wants less motion.
"""

import io
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path

from rich.console import Console

from harness.files import testset
from harness.run import launch
from harness.screen import step_through

ROOT = Path(__file__).parents[1]
PAGE, PICTURE = ROOT / "docs" / "stepping.md", ROOT / "docs" / "stepping.svg"
COLUMNS, ROWS = 92, 38
WIDE, HIGH = 8.4, 19  # pixels of a character
SECONDS = 6  # that a frame stands
STYLE = """
rect { fill: #fbfbf9; stroke: #c9c9c4 }
text { font: 14px ui-monospace, Menlo, Consolas, monospace; fill: #22272b; white-space: pre }
.typed { font-weight: bold; fill: #0b5fa5 }
.bad { font-weight: bold; fill: #b3261e }
g { visibility: hidden; animation: show %ds step-end infinite }
@keyframes show { 0%% { visibility: visible } %.4f%% { visibility: hidden } }
@media (prefers-color-scheme: dark) {
  rect { fill: #15181b; stroke: #3a4046 } text { fill: #d7dbde }
  .typed { fill: #7cc0ff } .bad { fill: #ff8a80 }
}
@media (prefers-reduced-motion: reduce) {
  g { animation: none } .still { visibility: visible }
}
"""


def typed() -> list[str]:
    """What the page says to type."""
    (session,) = re.findall(r"```text\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    lines = [line.split("#")[0].strip() for line in session.splitlines()]
    return ["" if line == "Enter" else line for line in lines]


@contextmanager
def half_is_enough() -> Iterator[None]:
    """Inside, a majority is one vote short, for replicas and checks alike, as in a broken copy."""
    modules = [
        module
        for name, module in sys.modules.items()
        if name.startswith(("bank.", "harness.")) and hasattr(module, "quorum_size")
    ]
    before = [module.quorum_size for module in modules]
    try:
        for module in modules:
            module.quorum_size = lambda replicas: replicas // 2
        yield
    finally:
        for module, sound in zip(modules, before, strict=True):
            module.quorum_size = sound


def session() -> list[str]:
    """The answers to what is typed up to `quit`, each with its prompt; first what there was."""
    stream, stdin = io.StringIO(), sys.stdin
    console = Console(file=stream, width=COLUMNS, highlight=False, markup=False, emoji=False)
    draft = testset.read(str(ROOT / "testsets" / "tour.csv"))
    config = launch.settings({"seed": "7", "failure": "crash"}, draft.overrides)
    sys.stdin = io.StringIO("".join(f"{line}\n" for line in typed()))
    try:
        with half_is_enough():
            step_through.file(console, draft.cases(config), config, "")
    finally:
        sys.stdin = stdin
    text = stream.getvalue()
    return re.split(r"\n(?= event \d+, .* >)", text[text.index(" Replica") :])[:-1]


def picture(screens: Sequence[str]) -> str:
    """The frames as one SVG."""
    width, height = COLUMNS * WIDE + 24, ROWS * HIGH + 24
    style = STYLE % (SECONDS * len(screens), 100 / len(screens))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}">',
        "<title>A stepping session that finds why a transfer is lost</title>",
        f"<style>{style}</style>",
        f'<rect x="1" y="1" width="{width - 2:.0f}" height="{height - 2:.0f}" rx="8"/>',
    ]
    for number, screen in enumerate(screens):
        still = ' class="still"' if "\n ✗" in screen else ""
        parts.append(f'<g style="animation-delay: {number * SECONDS}s"{still}>')
        for row, line in enumerate(screen.splitlines()[:ROWS]):
            kind = ' class="bad"' if line.startswith(" ✗") else ""
            kind = ' class="typed"' if re.match(r" event \d+, |▸", line) else kind
            y = 24 + row * HIGH
            parts.append(f'<text x="12" y="{y}"{kind} xml:space="preserve">{escape(line)}</text>')
        parts.append("</g>")
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(picture(session()), "utf-8")
