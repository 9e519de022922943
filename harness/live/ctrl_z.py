"""Ctrl-Z stops a harness and its replicas, and `fg` has both go on.

A replica has a process group of its own, which a terminal's Ctrl-Z does not reach. One that ran on
would fill its queues with what nobody reads.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Collection, Iterable
from types import FrameType

from harness.cluster.journal import Liveness
from harness.live.handle import Handle


class CtrlZ:
    """From `listen` to `leave`, in the main thread of a program that has no handler of its own."""

    def __init__(self, handles: Iterable[Handle]) -> None:
        """Of all replicas; those that are paused stay so."""
        self._handles = handles
        self._listens = False

    def listen(self) -> None:
        """From now on."""
        if threading.current_thread() is not threading.main_thread():
            return
        if signal.getsignal(signal.SIGTSTP) is signal.SIG_DFL:
            signal.signal(signal.SIGTSTP, self._stop)
            self._listens = True

    def leave(self) -> None:
        """As it was before. Idempotent."""
        if self._listens:
            signal.signal(signal.SIGTSTP, signal.SIG_DFL)
            self._listens = False

    def _stop(self, number: int, _: FrameType | None) -> None:
        handles = [h for h in self._handles if h.process is not None]
        _each(handles, signal.SIGSTOP)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)  # and there it stays, until somebody has it go on
        signal.signal(number, self._stop)
        _each([h for h in handles if h.liveness is not Liveness.PAUSED], signal.SIGCONT)


def _each(handles: Collection[Handle], number: int) -> None:
    for handle in handles:
        if handle.process is not None and (group := handle.process.pid) is not None:
            with contextlib.suppress(OSError):
                os.killpg(group, number)
