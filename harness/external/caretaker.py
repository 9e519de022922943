"""Keeps replicas going while nobody drives them: at the prompt, between sets, during judgements.

Other people's replicas talk through the harness, so it must not stand still while a person reads.
One thread drives at a time: the owner while it is inside, this thread otherwise.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from harness.live.waiting import Waiter


class Caretaker:
    """See the module."""

    def __init__(self, waiter: Waiter, drive: Callable[[], None]) -> None:
        """`drive` does what there is to do and waits in `waiter`; it is called again and again."""
        self._drive = drive
        self._lock = threading.Lock()
        self._go = threading.Event()
        self._is_wanted = self._is_over = False
        self._depth = 0  # of the owner's calls inside each other
        self._error: BaseException | None = None
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)
        os.set_blocking(self._writing, False)
        waiter.on_readable(self._reading, self._drain)
        self._thread = threading.Thread(target=self._run, name="caretaker", daemon=True)
        self._thread.start()

    @contextmanager
    def away(self) -> Iterator[None]:
        """The owner drives. Raises what the caretaker met meanwhile."""
        if self._depth == 0:
            self._is_wanted = True
            self._wake()
            self._lock.acquire()
            self._is_wanted = False
        self._depth += 1
        try:
            if (error := self._error) is not None:
                self._error = None
                raise error
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._lock.release()
                self._go.set()

    def end(self) -> None:
        """Nobody drives any more; idempotent. Call it outside of `away`."""
        if self._is_over:
            return
        self._is_over = True
        self._go.set()
        self._wake()
        self._thread.join()
        os.close(self._reading)
        os.close(self._writing)

    def _run(self) -> None:
        while True:
            self._go.wait()
            self._go.clear()
            with self._lock:
                try:
                    while not self._is_wanted and not self._is_over:
                        self._drive()
                except BaseException as error:  # the owner's, as soon as it is back
                    self._error = error
            if self._is_over:
                return

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # then it was told often enough
            os.write(self._writing, b"!")

    def _drain(self) -> None:
        with suppress(BlockingIOError):
            while os.read(self._reading, 4096):
                pass
