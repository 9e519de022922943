"""`--watch`: replicas as they are right now, drawn again and again below whatever else is printed.

A thread of its own draws, so that a slow terminal delays no client; what it draws was gathered by
the thread that runs the fleet. It is taken away when what it shows is over, however that ends.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TypeAlias

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress import Progress as Bars

from harness.errors import HarnessError
from harness.external.looking import Looking
from harness.live.fleet import Fleet
from harness.screen.progress import may_redraw
from harness.screen.watch import watch_screen
from harness.screen.watcher import LOOKS_PER_SECOND, Watcher

Head: TypeAlias = Bars | Callable[[], RenderableType]
Watched: TypeAlias = Callable[
    [Fleet | Looking], AbstractContextManager[None]
]  # while this fleet works


class View:
    """Draws on this console, or nothing at all when nobody wants to watch."""

    def __init__(self, console: Console, wanted: bool) -> None:
        """HarnessError when it is wanted and cannot be drawn."""
        if wanted and not may_redraw(console):
            raise HarnessError(
                "--watch: the output is no terminal, expected one that can draw lines again: "
                "leave out --watch in pipes and files"
            )
        self._console, self._wanted = console, wanted

    def over(self, head: Head) -> Watched:
        """What watches a fleet below this head; bars are not drawn by themselves meanwhile."""
        return partial(self._draw, head)

    @contextmanager
    def _draw(self, head: Head, fleet: Fleet | Looking) -> Iterator[None]:
        if not self._wanted:
            yield
            return
        watcher = Watcher(fleet)
        render = head.get_renderable if isinstance(head, Bars) else head
        if isinstance(head, Bars):
            head.stop()
        width = self._console.width

        def picture() -> RenderableType:
            nonlocal width
            before, width = width, self._console.width
            if width < before:  # the lines drawn last are folded now: nobody knows where they begin
                self._console.clear()
            return watch_screen(render(), watcher.latest)

        fleet.watch = watcher.look
        try:
            with Live(
                console=self._console,
                get_renderable=picture,
                refresh_per_second=LOOKS_PER_SECOND,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            ):
                yield
        finally:
            fleet.watch = None
            if isinstance(head, Bars):
                head.start()
