"""What is drawn, and taken away again, while a set runs. Nothing in a pipe."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from harness.run.report import Progress
from harness.screen import tables

REFRESHES_PER_SECOND = 8


def may_redraw(console: Console) -> bool:
    """Lines can be drawn again here: a terminal that obeys control codes, whatever --color says."""
    return console.file.isatty() and not console.is_dumb_terminal


class ProgressLine:
    """A line about the running set that vanishes when the set is done; on terminals only."""

    def __init__(self, console: Console, enabled: bool) -> None:
        self._console, self._enabled = console, enabled
        self.latest: Progress | None = None

    def show(self, progress: Progress) -> None:
        """The runner tells how it stands; drawn at the next refresh."""
        self.latest = progress

    @contextmanager
    def running(self) -> Iterator[None]:
        """Show the line while the body runs."""
        self.latest = None
        if not self._enabled:
            yield
            return
        with Live(
            console=self._console,
            get_renderable=self._render,
            refresh_per_second=REFRESHES_PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        ):
            yield

    def _render(self) -> RenderableType:
        if self.latest is None:
            return Text()
        # A terminal echoes Ctrl-C as ^C: with no room for it, it would begin a line of its own.
        line = tables.progress_line(self.latest)
        line.truncate(self._console.width - len("^C") - 1, overflow="ellipsis")
        return line
