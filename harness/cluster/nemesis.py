"""The vocabulary of faults, as data. What a fault does is the cluster's business."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, assert_never

from bank.ballot import ReplicaId

# Named points at which a replica can be made to kill itself, too short to be hit from outside.
BEFORE_WRITE = "before the write"  # ACCEPTs have left, this turn's rows are not on disk
AFTER_WRITE = "after the write"  # rows are on disk, the ACCEPTED or own vote does not count yet
BEFORE_COMMIT = "before COMMIT"  # the leader knows that slots are chosen and has told nobody
MID_NEW_VIEW = "in mid-NEW-VIEW"  # one peer has the NEW-VIEW, the others do not
MID_CHECKPOINT = "in mid-checkpoint"  # inside the transaction that replaces the checkpoint
MID_CATCH_UP = "in mid-catch-up"  # committed entries arrived and were not written yet

POINTS = (
    BEFORE_WRITE,
    AFTER_WRITE,
    BEFORE_COMMIT,
    MID_NEW_VIEW,
    MID_CHECKPOINT,
    MID_CATCH_UP,
)

Link: TypeAlias = tuple[ReplicaId, ReplicaId]  # from, to: one direction


@dataclass(frozen=True, slots=True)
class SetLive:
    """Exactly these replicas are live from now on; others fail, failed ones of these return."""

    live: frozenset[ReplicaId]


@dataclass(frozen=True, slots=True)
class FailLeader:
    """LF: the current leader fails; with a point, it kills itself when it passes there."""

    point: str | None = None  # one of POINTS; a cluster is told KillAt instead


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
    """This replica kills itself when it passes one of POINTS; None takes that back.

    Whether the point was reached shows in its liveness.
    """

    replica: ReplicaId
    point: str | None


@dataclass(frozen=True, slots=True)
class LinkFault:
    """From now on this befalls what replicas send on these links, beside what does already.

    cut: nothing arrives. delay: each message takes `least` to `most` microseconds longer, in
    order. lose, duplicate: `percent` of the messages. reorder: `percent` of the messages are held
    back for a while, so that later ones overtake them.
    """

    kind: str  # one of LINK_FAULTS
    links: frozenset[Link]
    percent: int = 100
    least: int = 0
    most: int = 0


@dataclass(frozen=True, slots=True)
class Heal:
    """These links, or all of them, are whole again."""

    links: frozenset[Link] | None = None


LINK_FAULTS = ("cut", "delay", "lose", "duplicate", "reorder")

OfReplicas: TypeAlias = SetLive | FailLeader | Fail | Recover
Fault: TypeAlias = OfReplicas | KillAt | LinkFault | Heal


class Change(NamedTuple):
    """Which replicas fail and which return, in order; and what failing means."""

    failing: list[ReplicaId]
    returning: list[ReplicaId]
    mode: str


def change(
    fault: OfReplicas,
    is_live: Mapping[ReplicaId, bool],
    leader: Callable[[], ReplicaId | None],
    mode: str,
) -> Change:
    """What a fault comes to: one that failed fails no more, one that is live does not return."""
    match fault:
        case SetLive(live):
            failing = [r for r in is_live if r not in live and is_live[r]]
            return Change(failing, [r for r in sorted(live) if not is_live[r]], mode)
        case Fail(replica, own_mode):
            return Change([replica] if is_live[replica] else [], [], own_mode or mode)
        case Recover(replica):
            return Change([], [] if is_live[replica] else [replica], mode)
        case FailLeader():
            return Change([] if (leads := leader()) is None else [leads], [], mode)
        case _:
            assert_never(fault)
