"""Replicas that run in this process: they may neither end it nor keep it for ever.

A replica of its own process is watched from outside (`harness.live.silence`). A simulated one is
called here: `os._exit(0)` in its step would look like a verdict, and a loop that never ends like a
long campaign. Imports nothing heavy, and nothing of `bank`.
"""

import os
import posix
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from harness.cluster import blame

BUSY_SECONDS = 2.0  # of processor time; one turn is stopped when it lasted between two looks


class Left(Exception):
    """Raised instead of ending the process."""


class EndlessTurn(Exception):
    """Raised inside the turn that does not end."""


def let_nobody_leave() -> None:
    """`os._exit` raises in this process; its children end as they like."""
    own, leave = os.getpid(), posix._exit

    def stay(status: int) -> NoReturn:
        if os.getpid() != own:
            leave(status)
        raise Left(f"os._exit({status})")

    os._exit = posix._exit = stay


@contextmanager
def replicas() -> Iterator[None]:
    """Inside, a turn that does not end is an EndlessTurn, and nobody leaves.

    Only the main thread can look at itself like that; in another one nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = os._exit, posix._exit
    let_nobody_leave()
    look = signal.signal(signal.SIGVTALRM, _Looks().look)
    timer = signal.setitimer(signal.ITIMER_VIRTUAL, BUSY_SECONDS, BUSY_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, *timer)
        signal.signal(signal.SIGVTALRM, look)
        os._exit, posix._exit = before


class _Looks:
    """What runs now, every so many seconds of processor time."""

    def __init__(self) -> None:
        self._turn: FrameType | None = None  # that was seen last

    def look(self, _: int, frame: FrameType | None) -> None:
        """Stop a turn that was seen before."""
        turn = blame.turn_at_work(frame)
        if turn is not None and turn is self._turn:
            self._turn = None
            raise EndlessTurn(f"a turn{blame.of_whom(turn)} took {BUSY_SECONDS:.0f} s and went on")
        self._turn = turn
