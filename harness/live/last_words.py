"""How a replica's process ends by an exception, its own or one that the harness asks for."""

from types import FrameType

from harness.cluster import blame
from harness.live import protocol
from harness.live.storage import DiskError, StorageError


class HungTurn(BaseException):
    """Raised where a turn is that takes too long: no handler of `Exception` holds it up."""


def leave_turn(_: int, frame: FrameType | None) -> None:
    """The harness waits in vain for this process: end the turn, if it is one of `bank`."""
    if blame.is_at_work(frame):
        raise HungTurn


def last_words(error: BaseException) -> tuple[str, str]:
    """What the harness is told of the exception that ends this process."""
    match error:
        case DiskError():
            return protocol.FAILED, str(error)
        case StorageError():
            return protocol.REFUSED, str(error)
        case HungTurn():
            return protocol.HUNG, blame.place(error)
        case _:
            return protocol.RAISED, blame.told(error)
