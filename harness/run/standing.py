"""Who should be live by the file, its faults and what was poked; who is; and who hears whom."""

from collections.abc import Collection, Iterable

from bank.ballot import ReplicaId, replica_name
from harness.cluster.driver import Cluster
from harness.cluster.journal import Liveness
from harness.cluster.links import Links


class Standing:
    """Of the replicas of one cluster, from set to set."""

    def __init__(self, cluster: Cluster) -> None:
        self.links = Links()  # as this set's faults left them
        self.meant: set[ReplicaId] = set()  # to be live: by the file, and what was poked
        self._cluster = cluster
        self._missed: dict[ReplicaId, str] = {}  # of these, who was not since then, and why
        self.is_between = True  # two sets
        self._excused: frozenset[ReplicaId] = frozenset()  # the file says that they are stopped

    def begin_set(self, live: Iterable[ReplicaId], stopped: frozenset[ReplicaId]) -> None:
        """These are live from now on, but for those of which the file says that they stopped."""
        self.meant, self._excused, self.is_between = set(live), stopped, False

    def end_set(self) -> None:
        """Who was missing was told, once."""
        self.meant -= self._missed.keys()
        self._missed, self.is_between = {}, True

    def note_missed(self) -> None:
        """Who is to be live and is not, by no fault of the file or of the prompt.

        Between two sets somebody may kill a process from outside: it comes back with the next one.
        """
        for replica in sorted(self.meant - self._excused - self._missed.keys()):
            liveness = self._cluster.liveness(replica)
            returns = self.is_between and liveness is Liveness.CRASHED
            if liveness is not Liveness.LIVE and not returns:
                why = self._cluster.trouble(replica)
                self._missed[replica] = f"found {liveness.value}" + (f": {why}" if why else "")

    def missing(self) -> list[str]:
        """Who was missing since the last set, those with the same reason in one line."""
        self.note_missed()
        by_reason: dict[str, list[ReplicaId]] = {}
        for replica, why in self._missed.items():
            by_reason.setdefault(why, []).append(replica)
        return [
            f"{', '.join(map(replica_name, replicas))} should be live, {why}"
            for why, replicas in by_reason.items()
        ]

    def connected(self) -> list[ReplicaId]:
        """Whoever decides, they hear of it."""
        return sorted(self.links.in_touch(self._live(), self._cluster.replicas))

    def is_able(self) -> bool:
        """Some live replica hears a quorum, and so must decide."""
        return self._can_decide(self._live())

    def should_be_able(self) -> bool:
        """The same of those that are to be live."""
        return self._can_decide(self.meant - self._excused)

    def _can_decide(self, live: Collection[ReplicaId]) -> bool:
        """Of other people's protocols no more is asked than that whole majorities decide."""
        links, replicas = self.links, self._cluster.replicas
        if self._cluster.is_external:
            return links.has_whole_quorum(live, replicas)
        return bool(links.able(live, replicas))

    def _live(self) -> list[ReplicaId]:
        replicas = range(1, self._cluster.replicas + 1)
        return [r for r in replicas if self._cluster.liveness(r) is Liveness.LIVE]
