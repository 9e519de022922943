"""What lies between the harness and other people's replicas: `router` or `sockets`.

Everything above asks this seam alone: processes come and go by it, clients' messages go out by
`send`, and what came back is handed to whoever made it.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from bank.ballot import ReplicaId
from harness.cluster.links import Links
from harness.external.keeping import Warded
from harness.external.placeholders import Addresses
from harness.external.remarks import Remarks
from harness.external.router import Node, Record
from harness.external.votes import Votes

# Starts a process of somebody's: words, streams, and what its environment has beside the usual.
Run: TypeAlias = Callable[[Sequence[str], Sequence[int], Mapping[str, str]], Warded]
Pump: TypeAlias = Callable[[int], None]  # lets things happen, at most until that time


class Medium(Protocol):
    """See the module."""

    nodes: dict[ReplicaId, Node]
    remarks: Remarks
    votes: Votes
    clients: set[str]
    services: dict[str, Callable[[dict[str, Any]], dict[str, Any]]]
    start_seconds: float  # what one has to get ready

    def unready(self, node: Node, seconds: float) -> str:
        """What is said of one that did not get ready in so long."""
        ...

    @property
    def records(self) -> deque[Record]:
        """What passed, for the journal."""
        ...

    @property
    def recorded(self) -> int:
        """How much did, in all."""
        ...

    @property
    def delivered(self) -> int:
        """How much reached its reader."""
        ...

    def begin(self, run: Run) -> None:
        """Before the build."""
        ...

    def begin_shim(self, run: Run) -> None:
        """After the build, before the replicas."""
        ...

    def greet(self, pump: Pump, now: Callable[[], int]) -> frozenset[str]:
        """After all replicas are ready; returns what nobody can be asked."""
        ...

    def close(self) -> None:
        """At the end. Idempotent."""
        ...

    def addresses(self, node: Node) -> Addresses | None:
        """As this replica knows them."""
        ...

    def led_into(self, node: Node, words: Sequence[str]) -> list[str]:
        """The command that starts it where it belongs."""
        ...

    def is_free(self, node: Node, lingering: bool) -> bool:
        """Its port is free; `lingering`: for programs that do not mind old connections."""
        ...

    def doom(self, node: Node) -> None:
        """Its process is about to be killed."""
        ...

    def open(self, node: Node, log: int) -> list[int]:
        """Descriptors for a process that starts, to be closed once it has them."""
        ...

    def started(self, node: Node, init: dict[str, Any], now: int) -> None:
        """It runs."""
        ...

    def ready(self, node: Node) -> None:
        """It takes part."""
        ...

    def read_rest(self, node: Node) -> None:
        """What a process wrote before it ended; never waits."""
        ...

    def disconnect(self, node: Node) -> None:
        """The process is gone."""
        ...

    def cut_off(self, node: Node, is_cut_off: bool) -> None:
        """Nothing from it or to it is delivered from now on, or everything again."""
        ...

    def put_on_links(self, links: Links, now: int) -> None:
        """Links have these faults from now on."""
        ...

    def send(self, source: str, node: Node, body: dict[str, Any], at: int) -> None:
        """A message of a client or of the harness."""
        ...

    def can(self, what: str) -> bool | None:
        """Whether this can be asked; None where each replica says that for itself."""
        ...

    def leader(self, pump: Pump, now: Callable[[], int], patience: int) -> object:
        """The name of the leader, by somebody who is not a replica; else None."""
        ...

    def deadline(self) -> int | None:
        """When `release` is wanted at the latest."""
        ...

    def release(self, now: int) -> None:
        """What is due happens."""
        ...

    def flush(self) -> None:
        """At the end of a round."""
        ...
