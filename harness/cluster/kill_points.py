"""The named kill points of `nemesis`: when a turn passes one. Pure; how to die is not said here.

A replica that is armed with a point goes on as always until its turn passes there, and dies with
nothing flushed and nobody told.
"""

from collections.abc import Container

from bank.ballot import ReplicaId
from bank.effects import Effects, Send
from bank.messages import NewView
from bank.status import Role
from harness.cluster.nemesis import (
    AFTER_WRITE,
    BEFORE_COMMIT,
    BEFORE_WRITE,
    MID_CATCH_UP,
    MID_CHECKPOINT,
    MID_NEW_VIEW,
)


def passes(point: str, effects: Effects, role: Role, is_catching_up: bool) -> bool:
    """True when the turn with these effects passes `point`; it will be reached in this turn.

    `is_catching_up`: the turn read a STATE.
    """
    persist = effects.persist
    if point == BEFORE_WRITE:
        return persist is not None and bool(persist.runs)
    if point == AFTER_WRITE:
        return persist is not None and bool(persist.runs or effects.durable)
    if point == BEFORE_COMMIT:
        return role is Role.LEADER and bool(effects.executed)
    if point == MID_NEW_VIEW:
        return any(isinstance(send.message, NewView) for send in effects.early)
    if point == MID_CHECKPOINT:
        return persist is not None and persist.checkpoint is not None
    if point == MID_CATCH_UP:
        return is_catching_up and persist is not None
    raise AssertionError(f"no kill point {point!r}")


def cut_short(point: str, effects: Effects, alive: Container[ReplicaId]) -> None:
    """Take from a turn that dies at `point` what it does not come to say before.

    `alive`: the replicas whose processes run; the first of them gets the NEW-VIEW.
    """
    if point == MID_NEW_VIEW:
        said, effects.early = effects.early, []
        for send in said:
            if isinstance(send.message, NewView):
                send = Send(tuple(r for r in send.to if r in alive)[:1], send.message)
            effects.early += [send] if send.to else []
