"""What became of sets and their steps, as values: a Runner makes them, whoever shows them asks.

A SetReport knows its verdict and what speaks against it; what it scored is in `points`. Screen,
page, JUnit, Gradescope, JSON and pytest put that into their words and decide nothing.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from bank.ballot import Ballot, ReplicaId, Slot
from bank.status import Role
from harness.check.expectations import Met
from harness.check.verdict import Judgement, Verdict, overall
from harness.cluster.driver import ReplicaView
from harness.cluster.journal import Liveness
from harness.files.cases import Action
from harness.run.timing import Phase

NOTHING_DUE = "none due without a majority"  # of answers: why `progress` holds beside pending ones
POKED = "+"  # the label of what was done at the prompt
EXPECTATIONS = "expectations"  # the check that sums up what a file expects of a set


@dataclass(frozen=True, slots=True)
class StepReport:
    """One step of a set, as it stands at the set's end."""

    label: str  # "3" for the third step, "5.1" when carried over from set 5, or POKED
    text: str  # "(A, J, 3)", "(A)", "LF", "F(n3)", "cut n1->n3"
    outcome: str  # success, failed, pending, refused; done, no-leader or not-reached for faults
    value: int | None = None  # what a read returned
    slot: Slot | None = None
    ballot: Ballot | None = None
    latency_us: int | None = None  # from the first try in this set
    carried_from: int | None = None  # set number
    node: ReplicaId | None = None  # that a fault hit
    begun_us: int | None = None  # its first try or its fault, from the set's start
    action: Action | None = None  # what `text` says


class Problem(NamedTuple):
    """One thing that speaks against a set."""

    verdict: Verdict  # INVALID, or UNKNOWN
    check: str  # that does not hold or could not decide; of an expectation its key
    reason: str
    where: str  # of an expectation, its own place in a file; "" for a check


@dataclass(frozen=True, slots=True)
class SetReport:
    """One set, after its last barrier."""

    number: int
    position: int  # 1 for the first set of the file
    total: int  # sets in the file
    live: tuple[ReplicaId, ...]  # as listed at the set's start
    leader: ReplicaId | None  # at the set's end
    ballot: Ballot | None  # of that leader
    steps: tuple[StepReport, ...]
    views: tuple[ReplicaView, ...]  # every replica, in order
    judgements: tuple[Judgement, ...]
    seconds: float
    leaderless_us: int  # the longest time in this set that clients waited with no commit
    expectations: tuple[Met, ...] = ()  # of this set, and of the file's end after the last one
    points: float | None = None  # for this set as a whole
    started_at: int = 0  # by the cluster's clock, as in its traces
    spent: Mapping[Phase, int] = field(default_factory=dict)  # microseconds, its checks included
    remarks: tuple[str, ...] = ()  # what other people's replicas did that is worth a word
    where: str = ""  # where it stands: "x.csv:12"

    @property
    def verdict(self) -> Verdict:
        """Over all checks."""
        return overall(self.judgements)

    @property
    def checks(self) -> list[Judgement]:
        """All but the one that sums up expectations which are told one by one."""
        is_told = bool(self.expectations)
        return [j for j in self.judgements if not (is_told and j.check == EXPECTATIONS)]

    @property
    def problems(self) -> list[Problem]:
        """What speaks against it: checks first, then expectations; none when all of it holds."""
        found = [
            Problem(judgement.verdict, judgement.check, judgement.reason, "")
            for judgement in self.checks
            if judgement.verdict not in (Verdict.VALID, Verdict.NOT_ASKED)
        ]
        found += [
            Problem(met.verdict, met.expected.key, met.reason, met.expected.where)
            for met in self.expectations
            if not met.holds
        ]
        return found

    @property
    def outcomes(self) -> Counter[str]:
        """How many steps came to what."""
        return Counter(step.outcome for step in self.steps)

    def steps_shown(self, most: int) -> list[int]:
        """Places in `steps` of so many, in order: what is no success comes first into the list."""
        if len(self.steps) <= most:
            return list(range(len(self.steps)))
        rest = [at for at, step in enumerate(self.steps) if step.outcome != "success"][:most]
        left = most - len(rest)
        done = (at for at, step in enumerate(self.steps) if step.outcome == "success")
        return sorted([*rest, *islice(done, left)])


@dataclass(frozen=True, slots=True)
class Poke:
    """Something done between two sets."""

    position: int  # of the set before, 1 for the first one
    action: Action
    steps: tuple[StepReport, ...]  # itself, then what got its answer meanwhile


@dataclass(frozen=True, slots=True)
class Performance:
    """All answers so far."""

    answered: int
    seconds: float  # of the sets and what was poked, without the pauses between them
    latencies_us: tuple[int, ...]  # sorted


def measured(reports: Sequence[SetReport]) -> Performance:
    """What these sets took, and what was poked after them if it is among their steps."""
    took = [
        (step.latency_us, step.label == POKED)
        for report in reports
        for step in report.steps
        if step.latency_us is not None
    ]
    seconds = sum(report.seconds for report in reports)
    seconds += sum(latency for latency, was_poked in took if was_poked) / 1e6
    return Performance(len(took), seconds, tuple(sorted(latency for latency, _ in took)))


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a set is, while it runs."""

    set_number: int
    position: int
    total: int
    answered: int
    operations: int
    replicas: tuple[tuple[ReplicaId, Liveness, Role], ...]
    waiting_for: str
