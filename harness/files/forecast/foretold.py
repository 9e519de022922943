"""What a file must come to, as values: of each step, each set, the whole file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from bank.ballot import ReplicaId
from bank.ledger import FAILED, SUCCESS

PENDING, DONE, NO_LEADER, NOT_REACHED = "pending", "done", "no-leader", "not-reached"

Amounts: TypeAlias = Sequence[int]  # what a balance may be, in order; one: it is known


@dataclass(frozen=True, slots=True)
class StepForecast:
    """What may become of one step by the end of a set."""

    label: str  # "3", or "5.1" when carried over from set 5
    text: str
    line: int
    outcomes: frozenset[str]  # success, failed, pending; done, no-leader, not-reached for faults
    values: Amounts = ()  # what a read may return
    carried_from: int | None = None
    listed: bool = True  # False: it may have been answered before the set began
    dropped: bool = False  # in an earlier set, at the end of the file
    why: tuple[str, ...] = ()  # of more than one outcome or value

    @property
    def known(self) -> str | int | None:
        """The one outcome, as a file expects it; None when there are several."""
        if len(self.outcomes) != 1 or len(self.values) > 1:
            return None
        (outcome,) = self.outcomes
        return self.values[0] if self.values and outcome == SUCCESS else outcome

    @property
    def commits(self) -> str | None:
        """must, cannot or either; None for a step that is no request."""
        if not self.outcomes & {SUCCESS, FAILED, PENDING}:
            return None
        if PENDING not in self.outcomes:
            return "must"
        return "cannot" if self.outcomes == {PENDING} else "either"

    @property
    def words(self) -> str:
        """All of it: "success", "success or failed", "balance 4 to 9 or pending"."""
        words = sorted(self.outcomes, reverse=True)
        if self.values:
            read = f"balance {alternatives(self.values)}"
            words = [read if word == SUCCESS else word for word in words]
        return " or ".join(words + ([] if self.listed else ["answered before"]))


class Remark(NamedTuple):
    """Something odd about a file that is no mistake."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class SetForecast:
    """One set at its end."""

    number: int
    steps: tuple[StepForecast, ...]  # as the runner lists them
    balances: Mapping[str, Amounts]  # of accounts in the file, at those who are asked
    doubts: Mapping[str, tuple[str, ...]]  # by account that is not known: why
    asked: frozenset[ReplicaId]  # who may be live and not cut off at the end
    silent: bool  # perhaps nobody is: then no balance can be told
    leaders: frozenset[ReplicaId]  # who may lead; nobody when empty
    least_slots: int  # that those who are live and not cut off have surely executed
    waits: int  # barriers that surely wait out their patience
    remarks: tuple[Remark, ...]

    @property
    def pending(self) -> tuple[int, int]:
        """How many requests are pending, at least and at most."""
        surely = sum(step.outcomes == {PENDING} and step.listed for step in self.steps)
        return surely, sum(PENDING in step.outcomes for step in self.steps)


@dataclass(frozen=True, slots=True)
class Forecast:
    """A whole file."""

    sets: tuple[SetForecast, ...]
    at_end: Mapping[str, StepForecast]  # every request, by label ("5.1")
    exact: bool  # False: too many orders to walk, some answers are wider than need be


def alternatives(amounts: Amounts) -> str:
    """ "5", "5 or 8", "5 to 9"."""
    if len(amounts) > 2:
        return f"{amounts[0]} to {amounts[-1]}"
    return " or ".join(map(str, amounts))
