"""What passed between replicas with sockets of their own, as `router` records messages.

Nobody knows what their bytes mean, so connections and numbers of bytes stand in place of messages.
"""

import json
from collections import deque

from bank.ballot import ReplicaId, replica_name
from harness.cluster.journal import CLIENTS, Way
from harness.external.router import Record
from harness.external.shim import Body


class Records:
    """The last of them."""

    def __init__(self, most: int) -> None:
        self.records: deque[Record] = deque(maxlen=most)
        self.recorded = self.delivered = 0  # in all

    def stream(
        self, at: int, source: ReplicaId, to: ReplicaId, words: str, way: Way | None, serial: int
    ) -> None:
        """Bytes of a connection, its beginning or its end; `at` in microseconds."""
        count, _, what = words.partition(" ")
        body = {"type": "data", "bytes": int(count)} if what == "bytes" else {"type": words}
        if way is None or way is Way.READ:
            self.delivered += 1
        self.message(at, source, to, _name(source), _name(to), body, way, serial)

    def message(
        self,
        at: int,
        source: ReplicaId,
        to: ReplicaId,
        src: str,
        dest: str,
        body: Body,
        way: Way | None,
        serial: int = 0,
    ) -> None:
        """What the shim was asked or answers, or what `stream` makes of bytes."""
        line = json.dumps({"src": src, "dest": dest, "body": body})
        self.recorded += 1
        self.records.append(
            (at, source, to, line) if way is None else (at, source, to, line, way, serial)
        )


def _name(replica: ReplicaId) -> str:
    return "shim" if replica == CLIENTS else replica_name(replica)
