"""Ctrl-C that comes at a bad moment is heard at the end of that moment, or soon after.

A child whose parent leaves in the middle of its start prints a traceback, and one of which nobody
knows is ended by nobody. In the middle of an import it may be raised in a callback of the importing
machinery, which prints a traceback and goes on; or, before Python 3.12, as the cause of another
error. In a finalizer, which may run at any moment, it is dropped. Imports nothing heavy and nothing
of ours, and an old Python can read it.
"""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

AGAIN_SECONDS = 0.01  # a finalizer is over by then, or drops it again


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


@contextmanager
def never_dropped() -> Iterator[None]:
    """One that is raised where nothing can be raised is raised again, a moment later.

    In a `__del__`, the callback of a weak reference or a generator that is thrown away, Python
    prints an exception and goes on; weak references are let go wherever a process object ends.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    report, handled = sys.unraisablehook, signal.getsignal(signal.SIGALRM)

    def dropped(unraisable: "sys.UnraisableHookArgs") -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            report(unraisable)
            return
        signal.signal(signal.SIGALRM, again)
        signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)

    def again(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    sys.unraisablehook = dropped
    try:
        yield
    finally:
        sys.unraisablehook = report
        if signal.getsignal(signal.SIGALRM) is again:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handled or signal.SIG_DFL)
