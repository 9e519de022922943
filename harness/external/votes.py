"""Who can have voted for what clients wait for, by what reached whom. Pure.

Whoever heard of a request may vote for it, and whatever passes from one to another brings along all
that its sender knew by then: that it heard of the request, and whose votes. More is taken for known
than may be, never less: what a link held back counts as of its arrival, what is on its way to a
reader as read. Neither a crash nor a restart makes anybody forget.

Each open request has a lane of bits in one number per replica: whose votes may have come there.
"""

from bank.ballot import ReplicaId
from harness.cluster.journal import CLIENTS


class Votes:
    """See the module. What is neither replica nor client counts as CLIENTS: services, or a shim."""

    def __init__(self, replicas: int, *, sees: bool = True, has_shim: bool = False) -> None:
        """`sees`: all that passes is told here. `has_shim`: clients ask through it, and it may
        count votes itself; without one it is a service that remembers what it is told."""
        self._sees, self._has_shim = sees, has_shim
        self._width = replicas + 1
        self._known = [0] * self._width  # by replica
        self._own = [0] * self._width  # its own bit in every lane
        self._lanes: dict[str, int] = {}  # of clients that wait, the number of its lowest bit
        self._free: list[int] = []
        self._end = 0  # of all lanes
        self._sets: dict[int, frozenset[ReplicaId]] = {}

    def begin(self, client: str) -> None:
        """A client has a new request."""
        if self._free:
            lane = self._free.pop()
        else:
            lane, self._end = self._end, self._end + self._width
            for replica in range(self._width):
                self._own[replica] |= 1 << lane + replica
        self._lanes[client] = lane

    def end(self, client: str) -> None:
        """It waits for nothing any more, or never began to."""
        lane = self._lanes.pop(client, None)
        if lane is None:
            return
        rest = ~(((1 << self._width) - 1) << lane)
        self._known = [known & rest for known in self._known]
        self._free.append(lane)

    def asked(self, client: str, replica: ReplicaId) -> None:
        """A client's message went to a replica; of one that waits for nothing it carries nothing.

        Where there is a shim it is the first to hear.
        """
        lane = self._lanes.get(client)
        if lane is not None:
            first = CLIENTS if self._has_shim else replica
            self._known[first] |= 1 << lane + first

    def passed(self, source: ReplicaId, to: ReplicaId) -> None:
        """Something of one reached another."""
        if known := self._known[source]:
            heard = (known & self._own[source]) >> source
            self._known[to] |= known | heard << to

    def voters(self, client: str, replica: ReplicaId) -> frozenset[ReplicaId] | None:
        """Whose votes for a client's request may have come to the one that answers it; None: they
        cannot be told, or a service remembers the request by itself."""
        known = self._known[CLIENTS if self._has_shim else replica] >> self._lanes[client]
        if not self._sees or (known & 1 and not self._has_shim):
            return None
        known &= (1 << self._width) - 2  # all but CLIENTS
        if known not in self._sets:
            everybody = range(1, self._width)
            self._sets[known] = frozenset(r for r in everybody if known >> r & 1)
        return self._sets[known]
