"""Where the time of a run goes: every microsecond belongs to exactly one phase.

Whoever begins something says so, and what passed since then belongs to the phase before: so the
phases add up to the whole, and nothing is counted twice. Pure: the clock is handed in.
"""

from collections.abc import Callable, Mapping
from enum import Enum


class Phase(Enum):
    """What a run does or waits for, in the order in which people read it; the value is shown."""

    PROGRAM = "program"
    START = "start"
    FAULTS = "faults"
    PATIENCE = "patience"
    ELECTION = "election"
    RETRY = "retry"
    ANSWERS = "answers"
    SETTLING = "settling"
    CHECKS = "checks"
    DISPLAY = "display"
    STOP = "stop"


MEANINGS: Mapping[Phase, str] = {
    Phase.PROGRAM: "Python, its imports, reading the file",
    Phase.START: "until every replica is ready",
    Phase.FAULTS: "failing replicas and bringing them back",
    Phase.PATIENCE: "no replica hears a quorum: waiting in vain, as configured",
    Phase.ELECTION: "one hears a quorum, and nobody leads it yet",
    Phase.RETRY: "requests sent before there was a leader reach it",
    Phase.ANSWERS: "requests on their way",
    Phase.SETTLING: "all is answered: until every live replica has executed it",
    Phase.CHECKS: "asking the replicas, judging, writing the report",
    Phase.DISPLAY: "tables, and the prompt",
    Phase.STOP: "ending every process",
}


class Timing:
    """See the module. `spent` holds microseconds."""

    def __init__(self, now: Callable[[], int], before: int | None = None) -> None:
        """`before` are microseconds of the phase PROGRAM; None when nobody knows them."""
        self.spent: dict[Phase, int] = {} if before is None else {Phase.PROGRAM: before}
        self._now = now
        self._phase, self._since = Phase.DISPLAY, now()

    def enter(self, phase: Phase) -> None:
        """From now on time belongs to this phase."""
        now = self._now()
        if now > self._since:
            self.spent[self._phase] = self.spent.get(self._phase, 0) + now - self._since
        self._phase, self._since = phase, now

    def since(self, earlier: Mapping[Phase, int]) -> dict[Phase, int]:
        """What was spent after a copy of `spent` was made, phases without any left out."""
        found = {phase: self.spent.get(phase, 0) - earlier.get(phase, 0) for phase in Phase}
        return {phase: spent for phase, spent in found.items() if spent}


def seconds(spent: Mapping[Phase, int]) -> dict[str, float]:
    """By the names of all phases, for documents."""
    return {phase.value: round(spent.get(phase, 0) / 1e6, 6) for phase in Phase}
