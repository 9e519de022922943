"""Waiting for queues: which ends a process reads and writes, and who is called when it can.

Thin on purpose: a turn under load is a wait, and `selectors` takes as long as the kernel does.
"""

import select
from collections.abc import Callable, Collection

READ = select.POLLIN
WRITE = select.POLLOUT


class Waiter:
    """Descriptors, with what to call for each."""

    __slots__ = ("_poll", "_read", "_write")

    def __init__(self) -> None:
        self._read: dict[int, Callable[[], None]] = {}
        self._write: dict[int, Callable[[], None]] = {}
        self._poll = select.poll()

    @property
    def reading(self) -> Collection[int]:
        """The descriptors that are read."""
        return self._read.keys()

    def on_readable(self, descriptor: int, call: Callable[[], None]) -> None:
        """Call this when there is something to read, end-of-file included."""
        self._read[descriptor] = call
        self._update(descriptor)

    def on_writable(self, descriptor: int, call: Callable[[], None]) -> None:
        """Call this when bytes can be written, or never will be."""
        self._write[descriptor] = call
        self._update(descriptor)

    def stop_writing(self, descriptor: int) -> None:
        """Nothing waits to be written any more; idempotent."""
        if self._write.pop(descriptor, None) is not None:
            self._update(descriptor)

    def forget(self, descriptor: int) -> None:
        """Before it is closed: its number may be another's then; idempotent."""
        known = self._read.pop(descriptor, None), self._write.pop(descriptor, None)
        if known != (None, None):
            self._update(descriptor)

    def _update(self, descriptor: int) -> None:
        wanted = READ if descriptor in self._read else 0
        wanted |= WRITE if descriptor in self._write else 0
        if wanted:
            self._poll.register(descriptor, wanted)
        else:
            self._poll.unregister(descriptor)

    def wait(self, timeout_us: int | None) -> None:
        """Sleep until something can be done or the time is over, then do all that can be."""
        ready = self._poll.poll(None if timeout_us is None else timeout_us / 1000)
        calls: list[Callable[[], None]] = []
        for descriptor, events in ready:
            if events != WRITE and (read := self._read.get(descriptor)) is not None:
                calls.append(read)
            if events != READ and (write := self._write.get(descriptor)) is not None:
                calls.append(write)
        # Only now: a call may close the queue of a later event, and its number be another's then.
        for call in calls:
            call()
