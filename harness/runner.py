"""Runs CaseSets against a Cluster and judges each: yields SetReports, prints nothing."""

from dataclasses import dataclass

from bank.ballot import Ballot, ReplicaId, Slot
from harness.check.verdict import Judgement
from harness.driver import ReplicaView


@dataclass(frozen=True, slots=True)
class StepReport:
    """One step of a set, as it stands at the set's end."""

    label: str  # "3" for the third step of this set, "5.1" when carried over from set 5
    text: str  # "(A, J, 3)", "(A)", "LF", "F(n3)", "R(n3)"
    outcome: str  # success, failed, pending; done or no-leader for LF, F and R
    value: int | None = None  # what a read returned
    slot: Slot | None = None
    ballot: Ballot | None = None
    latency_us: int | None = None  # from the first try in this set
    carried_from: int | None = None  # set number
    node: ReplicaId | None = None  # that LF, F or R hit


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
