"""A run of the simulator as lines: the time, and a column for each replica and for the clients.

Pure: events in, text out; the same events at the same width give the same bytes. A line holds one
event, which begins in the column of whoever it befell and may run on over the empty ones to its
right. So every column can be narrow, and little has to be cut.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

from bank.ballot import ReplicaId, replica_name
from bank.effects import Executed, Persist
from harness.cluster import wording
from harness.cluster.journal import CLIENTS, Event

EVERYBODY: ReplicaId = -1

TIME = 11  # characters: up to 99999.999 ms, and a space
WIDEST = 40  # of a column: further apart, the eye loses the line
CLIENTS_WIDTH = 22  # the last column has no empty one to run on over
NARROWEST = 4
UNCUT_WIDTH = 120  # the layout of text that no console cuts
HEAD_EVERY = 60  # lines


# What happened: an event, what a replica executed or stored, or a remark on the world around.
What: TypeAlias = Event | Executed | Persist | str


class Happening(NamedTuple):
    """One thing that happened."""

    at: int  # virtual microseconds
    who: ReplicaId  # a replica, CLIENTS or EVERYBODY
    what: What

    @property
    def text(self) -> str:
        """Its words."""
        return self.what if isinstance(self.what, str) else wording.story(self.what)


Sink = Callable[[Happening], None]

LEGEND = (
    "ms of virtual time; one column for each replica and one for the clients; one line per event",
    "←n2 read from n2   →n2 sent to n2   →all sent to all others   ✗n3 what was sent is lost to n3",
    "stores: on its disk from now on   executes: slots, in order   (2, n1): ballot 2 of n1",
)


class Columns:
    """The layout for some replicas on a console `width` characters wide; None: nothing is cut."""

    def __init__(self, replicas: int, width: int | None) -> None:
        room = (width or UNCUT_WIDTH) - TIME
        clients = min(CLIENTS_WIDTH, room // 4)
        column = max(NARROWEST, min(WIDEST, (room - clients) // replicas))
        self._width = width
        self._names = [*map(replica_name, range(1, replicas + 1)), "clients"]
        self._starts = [TIME + column * index for index in range(replicas + 1)]
        self._lines = 0

    def head(self) -> str:
        """The names of the columns."""
        line = f"{'ms':>{TIME - 1}} "
        for start, name in zip(self._starts, self._names, strict=True):
            line = line.ljust(start) + f"│{name}"
        return self._cut(line)

    def lines(self, event: Happening) -> Iterator[str]:
        """The event's line; now and then the names of the columns before it."""
        if self._lines % HEAD_EVERY == 0:
            yield self.head()
        self._lines += 1
        line = f"{event.at / 1000:>{TIME - 1}.3f} "
        if event.who == EVERYBODY:
            yield self._cut(f"{line}── {event.text}")
            return
        mine = self._starts[-1 if event.who == CLIENTS else event.who - 1]
        for start in self._starts:
            if start < mine:
                line = line.ljust(start) + "│"
        line = line.ljust(mine) + "│" + event.text
        for start in self._starts:
            if len(line) < start:
                line = line.ljust(start) + "│"
        yield self._cut(line)

    def _cut(self, line: str) -> str:
        if self._width is None or len(line) <= self._width:
            return line.rstrip()
        return line[: self._width - 1] + "…"
