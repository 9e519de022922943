"""Whose fault it is that nothing is heard of a process: its own, or the machine's.

A replica answers at the end of a turn, and a turn takes milliseconds. One that runs for seconds of
processor time in a turn loops; one that sleeps while others answer waits for what never comes. Both
are faults of its code, however busy the machine is: seconds that it did not get do not count. What
gets no processor, waits for its disk or was stopped from outside is the machine's.
"""

from dataclasses import dataclass

from harness.live import process
from harness.live.usage import usage_of

LOOK_US = 100_000  # how often somebody who waits looks
QUIET_US = 500_000  # of silence before the kernel is asked
BUSY_SECONDS = 2.0  # of processor time in one turn: the digest of 1,000,000 accounts takes 0.5
RAN_SECONDS = 1.0  # the same at the end of all patience, on a machine that gave it no more
START_SECONDS = 15.0  # of processor time until it is ready: it may have much to read
ASLEEP_US = 5_000_000
IDLE_SECONDS = 0.05  # of processor time: less is none
ANSWER_US = 20_000_000  # then the machine does not work
_ASLEEP = ("S", "I")
_STATES = {
    "R": "it gets no processor",
    "D": "it waits for the disk",
    "U": "it waits for the disk",
    "T": "its process was stopped from outside",
    "t": "its process was stopped from outside",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What is known of a silent process."""

    is_its_fault: bool = False
    is_over: bool = False  # it is of no use to wait longer
    text: str = ""


@dataclass(slots=True)
class Silence:
    """A process that was asked at `since`, in microseconds, and was not heard yet."""

    since: int
    pid: int | None
    busy_seconds: float
    _seen: tuple[int, float] | None = None  # when it was looked at first, and its processor time

    def look(self, at: int, others_answer: bool) -> Finding:
        """What is to be thought of it now."""
        if at - self.since < QUIET_US or self.pid is None:
            return Finding()
        usage, state = usage_of([self.pid]).get(self.pid), process.kernel_state(self.pid)
        if usage is None:
            return Finding()  # it is dead, which its sentinel tells
        if self._seen is None:
            self._seen = at, usage.cpu_seconds
        began, used_then = self._seen
        used, silent = usage.cpu_seconds - used_then, at - began
        is_over = silent >= ANSWER_US
        if used >= self.busy_seconds or (is_over and used >= RAN_SECONDS):
            return Finding(True, True, f"hangs: a turn took {used:.1f} s of processor time")
        if silent >= ASLEEP_US and used < IDLE_SECONDS and state in _ASLEEP and others_answer:
            return Finding(True, True, f"hangs: asleep for {silent / 1e6:.1f} s in a turn")
        why = _STATES.get(state, "it sleeps, and so do the others")
        said = f"says nothing for {(at - self.since) / 1e6:.0f} s: {why}"
        return Finding(False, is_over, said)
