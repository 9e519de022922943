"""Waiting for a cluster: until all that was asked is answered and executed, or for a while.

Patience ends a wait while nobody live hears a quorum; while somebody does, taking too long since
the last answer ends it.
"""

from collections.abc import Callable, Collection, Sequence

from bank.ballot import ReplicaId, Slot, replica_name
from harness.cluster.driver import Cluster
from harness.cluster.history import Operation
from harness.cluster.links import LEADS_WITHIN_US
from harness.files.config import ClusterConfig
from harness.run.standing import Standing
from harness.run.timing import Phase, Timing

SLICE_US = 100_000  # how often a wait looks up: for the display, and for replicas that died


def never() -> bool:
    """Nobody gives up waiting."""
    return False


class Barriers:
    """Of one run. `stuck` are those that were not through in time."""

    def __init__(
        self,
        cluster: Cluster,
        config: ClusterConfig,
        standing: Standing,
        history: Sequence[Operation],
        timing: Timing,
        on_look: Callable[[], None],
    ) -> None:
        """`history` are all operations so far, and grows; `on_look` is called at every look."""
        self.stuck: list[str] = []
        self.waiting_for = ""  # what is waited for now, or was last
        self.is_cancelled: Callable[[], bool] = never  # whatever is waited for
        self._cluster, self._config, self._standing = cluster, config, standing
        self._history, self._timing, self._on_look = history, timing, on_look
        self._asked_in_vain: set[int] = set()  # ids of operations that met no leader

    def wait_for(self, what: str, for_leader: bool = False) -> None:
        """Wait until all is answered and executed; with `for_leader`, also until one leads.

        Patience ends it while nobody live hears a quorum. That is a failure where somebody should
        by the file; while somebody does, taking too long since the last answer is one.
        """
        cluster, started = self._cluster, self._cluster.now()
        self.waiting_for = what
        if for_leader and cluster.leader() is None:
            cluster.seek_leader()
        is_able = self._standing.is_able()
        waiting, last_answer = self.unanswered(), started

        def is_through() -> bool:
            self._timing.enter(self._waits_for(is_able))
            return self._is_answered_and_executed() and (
                not for_leader or cluster.leader() is not None
            )

        while not cluster.run_until(is_through, SLICE_US):
            self._on_look()
            if self.is_cancelled():
                return
            now, left, is_able = cluster.now(), self.unanswered(), self._standing.is_able()
            if left < waiting:
                waiting, last_answer = left, now
            if not is_able and now - started >= self._config.patience_ms * 1000:
                if self._standing.should_be_able():
                    self._note_stuck(what, "no quorum is left of those that should be live")
                return
            if is_able and now - last_answer >= self._config.progress_ms * 1000:
                since = "since the last answer" if last_answer > started else "for an answer"
                self._note_stuck(what, f"waited {self._config.progress_ms} ms {since}")
                return
        self._on_look()

    def await_leader(self, wanted: Sequence[Collection[ReplicaId]]) -> None:
        """An election is no request: it may be under way when all is answered.

        Wait until one of each of these leads, or nobody can be expected to any more.
        """

        def is_led() -> bool:
            leader = self._cluster.leader()
            return all(leader in leaders for leaders in wanted)

        patience = self._config.patience_ms * 1000
        able = self._standing.is_able()
        self._cluster.run_until(is_led, LEADS_WITHIN_US if able else patience)

    def pause(self, what: str, duration: int) -> None:
        """Let the cluster go on; only who cancels it ends it early."""
        self.waiting_for, until = what, self._cluster.now() + duration
        while (left := until - self._cluster.now()) > 0 and not self.is_cancelled():
            self._cluster.run_until(self.is_cancelled, min(left, SLICE_US))
            self._on_look()

    def _note_stuck(self, what: str, why: str) -> None:
        """A barrier that ended without what it waited for."""
        highest, executed_upto = self._highest(), self._cluster.executed_upto
        behind = [r for r in self._standing.connected() if executed_upto(r) < highest]
        if left := self.unanswered():
            found = f"{left} request{'' if left == 1 else 's'} without one"
        elif behind:
            found = f"{', '.join(map(replica_name, behind))} did not execute slot {highest}"
        else:
            found = "no replica leads"
        self.stuck.append(f"{what}: {why}, {found}")

    def _waits_for(self, is_able: bool) -> Phase:
        """What the time that passes now is spent on."""
        cluster = self._cluster
        asked = {id(o) for o in cluster.pending() if not o.is_answered}
        if not is_able or cluster.leader() is None:
            self._asked_in_vain |= asked
            return Phase.ELECTION if is_able else Phase.PATIENCE
        self._asked_in_vain &= asked
        if self._asked_in_vain:
            return Phase.RETRY
        return Phase.ANSWERS if asked else Phase.SETTLING

    def _is_answered_and_executed(self) -> bool:
        if self.unanswered():
            return False
        highest = self._highest()
        return all(self._cluster.executed_upto(r) >= highest for r in self._standing.connected())

    def unanswered(self) -> int:
        """Requests without an answer."""
        return sum(not operation.is_answered for operation in self._cluster.pending())

    def _highest(self) -> Slot:
        """The highest slot that an answer speaks of."""
        return max((o.slot for o in self._history if o.slot is not None), default=0)
