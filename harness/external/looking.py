"""Other people's replicas as `--watch` sees them: what they tell, some times a second."""

from collections.abc import Callable, Mapping

from bank.ballot import ReplicaId
from bank.status import Role
from harness.cluster.journal import Liveness
from harness.cluster.links import Links
from harness.external.asking import Asking
from harness.external.fleet import Handle
from harness.live.protocol import Gauges, Progress


class Looked:
    """One replica, as the processes of our own are looked at."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self.replica: ReplicaId = handle.replica

    @property
    def incarnation(self) -> int:
        """How often it was started."""
        return self._handle.starts

    @property
    def liveness(self) -> Liveness:
        """Whether it takes part."""
        return self._handle.liveness

    @property
    def was_leader(self) -> bool:
        """It led when it failed."""
        return self._handle.was_leader

    @property
    def progress(self) -> Progress:
        """Role and ballot as it told them last; a backup without any where it tells none."""
        state = self._handle.knowledge.state
        role = state.role or Role.FOLLOWER
        number, replica = state.ballot or (0, 0)
        return Progress(role.value, (number, replica), True, state.executed or 0)

    @property
    def gauges(self) -> Gauges | None:
        """How far it is; None where it does not tell."""
        knowledge, node = self._handle.knowledge, self._handle.node
        state = knowledge.state
        if state.executed is None:
            return None
        committed = state.executed if state.committed is None else state.committed
        return Gauges(knowledge.told_at, committed, state.executed, node.queued, 0, node.drops)


class Looking:
    """A fleet for who watches it. `watch` is called before each wait with its end."""

    def __init__(self, handles: Mapping[ReplicaId, Handle], asking: Asking, links: Links) -> None:
        self.watch: Callable[[int], int] | None = None
        self.links = links
        self.handles = {replica: Looked(handle) for replica, handle in handles.items()}
        self._theirs, self._asking = handles, asking

    def ask_gauges(self, replica: ReplicaId) -> bool:
        """Ask how it is and wait for nothing; False when it cannot be asked."""
        return self._asking.glance(self._theirs[replica])
