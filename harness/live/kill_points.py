"""Named points at which a replica's process can be made to kill itself, once.

The instants that matter to a consensus protocol are too short to be hit from outside: between a
write and the message that speaks of it, say. A replica that is armed with a point goes on as
always until its turn passes there, and dies by SIGKILL, with nothing flushed and nobody told.
"""

import os
import signal
from typing import NoReturn

from bank.effects import Effects
from bank.messages import NewView
from bank.status import Role

BEFORE_WRITE = "before the write"  # ACCEPTs have left, this turn's rows are not on disk
AFTER_WRITE = "after the write"  # rows are on disk, the ACCEPTED that speaks of them has not left
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


def passes(point: str, effects: Effects, role: Role, is_catching_up: bool) -> bool:
    """True when the turn with these effects passes `point`; it will be reached in this turn."""
    persist = effects.persist
    match point:
        case "before the write":
            return persist is not None and bool(persist.runs)
        case "after the write":
            return persist is not None and bool(effects.durable)
        case "before COMMIT":
            return role is Role.LEADER and bool(effects.executed)
        case "in mid-NEW-VIEW":
            return any(isinstance(send.message, NewView) for send in effects.early)
        case "in mid-checkpoint":
            return persist is not None and persist.checkpoint is not None
        case "in mid-catch-up":
            return is_catching_up and persist is not None
    raise AssertionError(f"no kill point {point!r}")


def die() -> NoReturn:
    """SIGKILL to this process."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("survived SIGKILL")
