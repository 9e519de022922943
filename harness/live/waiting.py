"""Waiting for queues: which ends a process reads and writes, and who is called when it can.

Thin on purpose: a turn under load is a wait, and `selectors` takes as long as the kernel does.

Who waits briefly stays awake: putting a processor to sleep and waking it takes as long as a whole
turn, and under virtual machines several times as long (30 µs a message where `sched_yield` takes
5). Whatever else wants to run runs meanwhile, and who waited long goes to sleep at once.
"""

import os
import select
import time
from collections.abc import Callable, Collection
from functools import partial

from harness.live.queues import CLOSED, ControlEnd, Outgoing

AWAKE_NS = 800_000  # stay awake for so long at the most, after a wait that took no longer
READ = select.POLLIN
WRITE = select.POLLOUT


class Waiter:
    """Descriptors, with what to call for each."""

    __slots__ = ("_is_brisk", "_poll", "_read", "_stays_awake", "_write")

    def __init__(self, stays_awake: bool = True) -> None:
        """Who does not stay awake goes to sleep at once, always."""
        self._stays_awake = stays_awake
        self._read: dict[int, Callable[[], object]] = {}
        self._write: dict[int, Callable[[], object]] = {}
        self._poll = select.poll()
        self._is_brisk = False  # the last wait was a brief one

    @property
    def reading(self) -> Collection[int]:
        """The descriptors that are read."""
        return self._read.keys()

    def on_readable(self, descriptor: int, call: Callable[[], object]) -> None:
        """Call this when there is something to read, end-of-file included."""
        self._read[descriptor] = call
        self._update(descriptor)

    def on_writable(self, descriptor: int, call: Callable[[], object]) -> None:
        """Call this when bytes can be written, or never will be."""
        self._write[descriptor] = call
        self._update(descriptor)

    def stop_writing(self, descriptor: int) -> None:
        """Nothing waits to be written any more; idempotent."""
        if self._write.pop(descriptor, None) is not None:
            self._update(descriptor)

    def keep_writing(self, end: Outgoing | ControlEnd) -> None:
        """What waits at this end goes on its way when its pipe takes bytes again."""
        if end.is_waiting and not end.closed:
            self.on_writable(end.fileno(), partial(self._resume, end))

    def _resume(self, end: Outgoing | ControlEnd) -> None:
        if end.fileno() == CLOSED:
            return  # by an earlier call
        end.resume()
        if not end.is_waiting:
            self.stop_writing(end.fileno())

    def stop_reading(self, descriptor: int) -> None:
        """What comes is not wanted for now; idempotent."""
        if self._read.pop(descriptor, None) is not None:
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

    def serve(self) -> bool:
        """Do all that can be done at once; False when there is nothing."""
        ready = self._poll.poll(0)
        self._call(ready)
        return bool(ready)

    def wait(self, timeout_us: int | None) -> None:
        """Sleep until something can be done or the time is over, then do all that can be."""
        if not self.serve():
            self.sleep(timeout_us)

    def sleep(self, timeout_us: int | None) -> None:
        """The same for who just saw that nothing can be done.

        With no time left it looks once more: a process that was stopped meanwhile may have much.
        """
        self._call(self._await(timeout_us))

    def _call(self, ready: list[tuple[int, int]]) -> None:
        calls: list[Callable[[], object]] = []
        for descriptor, events in ready:
            if events != WRITE and (read := self._read.get(descriptor)) is not None:
                calls.append(read)
            if events != READ and (write := self._write.get(descriptor)) is not None:
                calls.append(write)
        # Only now: a call may close the queue of a later event, and its number be another's then.
        for call in calls:
            call()

    def _await(self, timeout_us: int | None) -> list[tuple[int, int]]:
        """Nothing can be done yet: awake for a while if the last wait was brief, then asleep."""
        poll = self._poll.poll
        if timeout_us == 0:
            return poll(0)
        began = time.monotonic_ns()
        ready: list[tuple[int, int]] = []
        if self._is_brisk:
            awake = AWAKE_NS if timeout_us is None else min(AWAKE_NS, timeout_us * 1000)
            while not ready and time.monotonic_ns() - began < awake:
                os.sched_yield()
                ready = poll(0)
            if not ready and timeout_us is not None:
                timeout_us = max(0, timeout_us - awake // 1000)
        ready = ready or poll(None if timeout_us is None else timeout_us / 1000)
        self._is_brisk = self._stays_awake and time.monotonic_ns() - began < AWAKE_NS
        return ready
