"""Ctrl-C that comes at a bad moment is heard at the end of that moment.

A child whose parent leaves in the middle of its start prints a traceback, and one of which nobody
knows is ended by nobody. In the middle of an import it may be raised in a callback of the importing
machinery, which prints a traceback and goes on; or, before Python 3.12, as the cause of another
error. Imports nothing heavy and nothing of ours, and an old Python can read it.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def afterwards(or_again: bool = False) -> Iterator[None]:
    """One that comes meanwhile is raised at the end; a decorator, too.

    `or_again`: a second one is raised at once, where it may be long until the end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Ctrl-C does not come here
        return
    heard: list[int] = []

    def hear(number: int, _: object) -> None:
        if heard and or_again:
            raise KeyboardInterrupt
        heard.append(number)

    handler = signal.signal(signal.SIGINT, hear)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if heard:
            signal.raise_signal(signal.SIGINT)
