"""What a replica's process reads off itself when somebody who watches asks, and never otherwise.

Nothing is counted for it in a turn: the log has its watermarks, a queue knows what waits in it, and
the kernel knows what arrived in a pipe and was not read.
"""

import fcntl
import struct
import termios
from collections.abc import Iterable

from bank.log import Log
from harness.live.protocol import Gauges
from harness.live.queues import Outgoing

_INT = struct.Struct("i")


def read(log: Log, reading: Iterable[int], outgoing: Iterable[Outgoing], at: int) -> Gauges:
    """As of now; `reading` are the descriptors of all that is read, `outgoing` all writing ends."""
    queues = list(outgoing)
    return Gauges(
        at,
        log.committed_upto,
        log.executed_upto,
        sum(map(unread, reading)),
        sum(queue.waiting_bytes for queue in queues),
        sum(queue.dropped for queue in queues),
    )


def unread(descriptor: int) -> int:
    """Bytes that arrived in a pipe or socket and were not read yet."""
    (count,) = _INT.unpack(fcntl.ioctl(descriptor, termios.FIONREAD, _INT.pack(0)))
    return int(count)
