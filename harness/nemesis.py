"""The vocabulary of faults, as data. What a fault does is the cluster's business."""

from dataclasses import dataclass
from typing import TypeAlias

from bank.ballot import ReplicaId


@dataclass(frozen=True, slots=True)
class SetLive:
    """Exactly these replicas are live from now on; others fail, failed ones of these return."""

    live: frozenset[ReplicaId]


@dataclass(frozen=True, slots=True)
class FailLeader:
    """LF: the current leader fails."""


@dataclass(frozen=True, slots=True)
class Fail:
    """F(n3): this replica fails."""

    replica: ReplicaId
    mode: str | None = None  # disconnect, crash or pause; None is the run's failure mode


@dataclass(frozen=True, slots=True)
class Recover:
    """R(n3): this replica returns."""

    replica: ReplicaId


@dataclass(frozen=True, slots=True)
class KillAt:
    """This replica kills itself when it passes a named point; None takes that back.

    Points are those of `harness.live.kill_points`. Whether it was reached shows in its liveness.
    """

    replica: ReplicaId
    point: str | None


Fault: TypeAlias = SetLive | FailLeader | Fail | Recover | KillAt
