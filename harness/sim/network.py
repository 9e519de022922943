"""The virtual network: when, whether and how often a message arrives. Decides, never delivers.

Every ordered pair of addresses is a link of its own. A link may delay, reorder, lose, duplicate
and be cut, one way or both; what it never does is let a process outlive its own death notice:
whatever a dead incarnation sent arrives before the notice of its death, whatever the next one
sends arrives after it (see `bank.messages.PeerDown`). All draws come from the one generator.
"""

from collections import Counter
from dataclasses import dataclass
from random import Random

from bank.ballot import ReplicaId

CLIENTS: ReplicaId = 0  # the address of the process in which all clients live


@dataclass(frozen=True, slots=True)
class LinkRules:
    """How links behave. Times in microseconds, rates from 0 to 1."""

    delay: tuple[int, int] = (20, 100)  # of every message, drawn evenly
    loss: float = 0.0
    duplication: float = 0.0
    stall: float = 0.0  # how often a message takes longer, and by how much:
    stall_delay: tuple[int, int] = (1_000, 50_000)
    ordered: bool = True  # False: a later message may overtake an earlier one


class Network:
    """Links between replicas 1..N and the clients' process."""

    def __init__(self, random: Random, rules: LinkRules, coverage: Counter[str]) -> None:
        self.rules = rules  # of every link without rules of its own
        self.link_rules: dict[tuple[ReplicaId, ReplicaId], LinkRules] = {}
        self.cut: set[tuple[ReplicaId, ReplicaId]] = set()  # asked, never iterated
        self._random = random
        self._coverage = coverage
        self._last: dict[tuple[ReplicaId, ReplicaId], int] = {}  # latest arrival so far
        self._floor: dict[tuple[ReplicaId, ReplicaId], int] = {}  # the last death notice

    def arrivals(self, source: ReplicaId, to: ReplicaId, now: int) -> list[int]:
        """When the copies of a message sent now arrive; empty when it is lost."""
        link = (source, to)
        if link in self.cut:
            self._coverage["message lost: link cut"] += 1
            return []
        rules = self.link_rules.get(link, self.rules) if self.link_rules else self.rules
        random = self._random.random
        if rules.loss and random() < rules.loss:
            self._coverage["message lost: network"] += 1
            return []
        at = self._arrival(link, rules, now)
        if rules.duplication and random() < rules.duplication:
            self._coverage["message duplicated"] += 1
            return [at, self._arrival(link, rules, now)]
        return [at]

    def _arrival(self, link: tuple[ReplicaId, ReplicaId], rules: LinkRules, now: int) -> int:
        random = self._random.random
        low, high = rules.delay
        at = now + low + int(random() * (high - low))
        if rules.stall and random() < rules.stall:
            low, high = rules.stall_delay
            at += low + int(random() * (high - low))
        last = self._last.get(link, 0)
        if at < last:
            if rules.ordered:
                at = last
            else:
                self._coverage["message overtook another"] += 1
        floor = self._floor.get(link, 0)
        if at <= floor:
            at = floor + 1
        if at > last:
            self._last[link] = at
        return at

    def death_notice(self, dead: ReplicaId, to: ReplicaId, now: int) -> int:
        """When `to` learns that the process of `dead` is gone; links are never cut for that."""
        link = (dead, to)
        low, high = self.rules.delay
        at = now + low + int(self._random.random() * (high - low))
        at = max(at, self._last.get(link, 0) + 1, self._floor.get(link, 0) + 1)
        self._floor[link] = self._last[link] = at
        return at
