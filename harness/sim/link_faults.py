"""What the link faults of `nemesis` do in the simulator, after `network` did what it is like.

A message goes through the virtual network first; at its reader's end of the link these faults
befall it as they do in a replica's process, by the same `Transit`.
"""

from collections.abc import Callable
from random import Random
from typing import Protocol

from bank.ballot import ReplicaId
from bank.messages import PeerDown
from harness.cluster.journal import Way
from harness.cluster.links import Links, Transit
from harness.cluster.nemesis import Heal, LinkFault
from harness.sim.process import Process


class World(Protocol):
    """What is needed of the world around."""

    def now(self) -> int: ...
    def at(self, when: int, handler: Callable[..., None], *arguments: object) -> None: ...
    def befell(self, target: Process, source: ReplicaId, way: Way, data: bytes) -> None: ...


class LinkFaults:
    """See the module."""

    def __init__(self, world: World, random: Random) -> None:
        self._world = world
        self._links = Links()
        self._transit = Transit(random)
        self._wake_at: int | None = None

    def apply(self, fault: LinkFault | Heal) -> None:
        """From now on."""
        self._links.apply(fault)
        self._transit.under(self._links, self._world.now())
        self._let_through()

    def arrive(
        self, target: Process, incarnation: int, source: ReplicaId, item: bytes | PeerDown
    ) -> None:
        """A replica's message, or the notice of its death, reached the end of the link."""
        transit, now = self._transit, self._world.now()
        if transit.is_idle or target.disconnected or incarnation != target.incarnation:
            target.deliver(incarnation, source, item)
            return
        link, delivery = (source, target.id), (target, incarnation, item)
        if isinstance(item, PeerDown):
            transit.close(link, delivery, now)
        elif way := transit.take(link, delivery, now):
            self._world.befell(target, source, way, item)
        self._let_through()

    def _let_through(self) -> None:
        """Deliver what links hold back no longer, and see to it that the rest follows."""
        now = self._world.now()
        for (source, _), (target, incarnation, item) in self._transit.due(now):
            target.deliver(incarnation, source, item)
        if self._wake_at is not None and self._wake_at <= now:
            self._wake_at = None
        due = self._transit.deadline()
        if due is not None and (self._wake_at is None or due < self._wake_at):
            self._wake_at = due
            self._world.at(due, self._let_through)
