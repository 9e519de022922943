"""What goes between simulated processes: the network of the machine, and faults of links.

Both are a `harness.cluster.links.Transit`. The network says when the copies of a message arrive; at
its reader's end of the link faults befall it as they do in a replica's process. A message outlives
its sender and dies with its reader; the notice of a death comes after all that the dead one sent.
"""

from dataclasses import dataclass
from heapq import heappush
from typing import Any

from bank.ballot import ReplicaId
from bank.messages import Message, PeerDown
from bank.replica import CLIENT
from bank.settings import USUAL, Sizes
from harness.cluster import wire
from harness.cluster.choices import Choices, between
from harness.cluster.journal import CLIENTS, Way
from harness.cluster.links import Links, LinkState, Transit
from harness.cluster.nemesis import Heal, LinkFault
from harness.sim.timed import ProcessRules, TimedProcess, TimedWorld

NEAR = LinkState(least=20, most=100)  # the network of one machine


@dataclass(frozen=True, slots=True)
class WorldRules:
    """What the machine and its network are like."""

    links: LinkState = NEAR
    processes: ProcessRules = ProcessRules()  # noqa: RUF009 — frozen
    drift_ppm: int = 0  # how far clocks may run apart, either way
    sizes: Sizes = USUAL


USUAL_RULES = WorldRules()


class WiredWorld(TimedWorld):
    """A world with a network. Who gets a message is a process, or None for the clients."""

    def __init__(self, choices: Choices, usual: LinkState, *arguments: Any) -> None:
        """`usual`: of the network's links."""
        super().__init__(*arguments)
        self.choices = choices
        self.network = Transit(choices, usual)
        self._faults = Transit(choices)  # of links, at their readers' ends
        self._links = Links()
        self._is_faulty = False  # some link is not whole, or holds something back
        self._let_through_at: int | None = None

    def heard(self, source: ReplicaId, item: bytes | PeerDown) -> None:
        """Something arrived for the clients."""
        raise NotImplementedError

    def write_down(
        self, replica: ReplicaId, way: Way, peers: tuple[ReplicaId, ...], message: Message
    ) -> None:
        """A link fault befell a message."""
        raise NotImplementedError

    def post(self, source: ReplicaId, target: TimedProcess | None, data: bytes) -> int:
        """Put a message on its way; returns how many copies arrive."""
        to, incarnation = (CLIENTS, 0) if target is None else (target.id, target.incarnation)
        dues = self.network.dues((source, to), self.time)
        arguments = source, target, incarnation, data
        for due in dues:  # as `at`, for nearly all that is ever in the heap
            self._sequence += 1
            heappush(self._heap, (due, self._sequence, self._arrive, arguments))
        copies = len(dues)
        if copies != 1:
            self.coverage["message duplicated" if dues else "message lost: network"] += 1
        return copies

    def close(self, dead: ReplicaId, target: TimedProcess | None, notice: PeerDown) -> None:
        """The end of a dead process's queue is on its way."""
        usual = self.network.usual
        to, incarnation = (CLIENTS, 0) if target is None else (target.id, target.incarnation)
        arrives = self.time + between(self.choices, usual.least, usual.most)
        due = self.network.due_after_all((dead, to), arrives)
        self.at(due, self._arrive, dead, target, incarnation, notice)

    def put_on_links(self, fault: LinkFault | Heal) -> None:
        """Links behave like that from now on."""
        self._links.apply(fault)
        self._faults.under(self._links, self.time)
        self._let_through()

    def _arrive(
        self,
        source: ReplicaId,
        target: TimedProcess | None,
        incarnation: int,
        item: bytes | PeerDown,
    ) -> None:
        """A message, or the notice of a death, reached the end of its link, where faults act."""
        if self._is_faulty:
            self._pass_link(source, target, incarnation, item)
        elif target is None:
            self.heard(source, item)
        else:
            target.deliver(incarnation, source, item)

    def _pass_link(
        self,
        source: ReplicaId,
        target: TimedProcess | None,
        incarnation: int,
        item: bytes | PeerDown,
    ) -> None:
        """The same while some link is not whole."""
        if target is None:
            link = source, CLIENTS
            if self._faults.is_whole(link):
                self.heard(source, item)
                return
        else:
            link = source, target.id
            if (
                self._faults.is_whole(link)
                or target.disconnected
                or incarnation != target.incarnation
            ):
                target.deliver(incarnation, source, item)
                return
        faults = self._faults
        if isinstance(item, PeerDown):
            faults.close(link, (target, incarnation, item), self.time)
        elif way := faults.take(link, (target, incarnation, item), self.time):
            self.coverage[f"message {way.value} by a link fault"] += 1
            if target is not None and source != CLIENT:
                self.write_down(target.id, way, (source,), wire.decode(item))
        self._let_through()

    def _let_through(self) -> None:
        """Deliver what links hold back no longer, and see to it that the rest follows."""
        now = self.time
        for (source, _), (target, incarnation, item) in self._faults.due(now):
            self._deliver(source, target, incarnation, item)
        self._is_faulty = not self._faults.is_idle
        if self._let_through_at is not None and self._let_through_at <= now:
            self._let_through_at = None
        due = self._faults.deadline()
        if due is not None and (self._let_through_at is None or due < self._let_through_at):
            self._let_through_at = due
            self.at(due, self._let_through)

    def _deliver(
        self,
        source: ReplicaId,
        target: TimedProcess | None,
        incarnation: int,
        item: bytes | PeerDown,
    ) -> None:
        if target is None:
            self.heard(source, item)
        else:
            target.deliver(incarnation, source, item)
