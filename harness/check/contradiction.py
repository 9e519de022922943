"""A few operations that no order explains: what a person needs to see why, and its words."""

from collections.abc import Mapping
from dataclasses import dataclass

from harness.check.operations import text
from harness.cluster.history import Operation

SHOWN = 8  # operations in a reason


@dataclass(frozen=True, slots=True)
class Contradiction:
    """The smallest evidence that was found. It is a proof by itself, where it is whole."""

    failed: Operation  # whose answer fits nowhere
    others: tuple[Operation, ...]  # that were seen beside it, in the order of time
    before: Mapping[str, int]  # balances that are sure; empty: whatever they were
    is_whole: bool = True  # False: only the latest of what it takes to prove it
    since: int = 0  # when the history began: the words count from then

    def __str__(self) -> str:
        before = ", ".join(f"{a} at {b}" for a, b in list(self.before.items())[:SHOWN])
        begins = f", with {before} before" if before else ", whatever came before,"
        reason = f"no order explains {text(self.failed, self.since)}{begins}"
        if self.others:
            reason += " and" if before else " beside"
            reason += " " + "; ".join(text(other, self.since) for other in self.others[:SHOWN])
        more = len(self.others) - SHOWN
        return reason + (f"; and {more} more" if more > 0 else "")
