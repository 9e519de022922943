"""Waiting for a cluster: until all that was asked is answered and executed, or for a while.

Patience ends a wait when nobody live hears a quorum for so long. Nor does one go on in which
somebody does hear one and nothing at all comes of it. How often a condition is asked grows with
the requests, so nothing here looks at each of them.
"""

from collections.abc import Callable, Collection, Sequence

from bank.ballot import ReplicaId, replica_name
from harness.cluster.driver import Cluster
from harness.cluster.history import Operation
from harness.cluster.links import LEADS_WITHIN_US
from harness.cluster.wording import counted
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
        timing: Timing,
        on_look: Callable[[], None],
    ) -> None:
        """`on_look` is called at every look."""
        self.stuck: list[str] = []
        self.waiting_for = ""  # what is waited for now, or was last
        self.is_cancelled: Callable[[], bool] = never  # whatever is waited for
        self._cluster, self._config, self._standing = cluster, config, standing
        self._timing, self._on_look = timing, on_look
        self._was_led = True  # at the last look at what time is spent on
        self._asked_in_vain: list[Operation] = []  # when there was no leader

    def wait_for(self, what: str, for_leader: bool = False, settles: bool = True) -> None:
        """Wait until all is answered and, if it `settles`, executed; with `for_leader`, also until
        one leads.

        Patience ends it when nobody live has heard a quorum for so long. That is a failure where
        somebody should by the file. While somebody does, it is one when for `progress_ms` nothing
        is answered, nor, once all is, executed.
        """
        cluster, started = self._cluster, self._cluster.now()
        self.waiting_for = what
        if for_leader and cluster.leader() is None:
            cluster.seek_leader()
        is_able = self._standing.is_able()
        done, since, has_begun = self._done(), started, False

        def is_through() -> bool:
            self._timing.enter(self._waits_for(is_able))
            if cluster.unanswered():
                return False
            connected, upto = self._standing.connected(), cluster.answered_upto()
            return not settles or cluster.is_settled(connected, upto, for_leader)

        while not cluster.run_until(is_through, SLICE_US):
            self._on_look()
            if self.is_cancelled():
                return
            now, before, was_able = cluster.now(), done, is_able
            done, is_able = self._done(), self._standing.is_able()
            if done != before or is_able != was_able:
                since, has_begun = now, done != before
            if not is_able and now - since >= self._config.patience_ms * 1000:
                if self._standing.should_be_able():
                    self._note_stuck(what, "no quorum is left of those that should be live")
                return
            if is_able and now - since >= self._config.progress_ms * 1000:
                told = "since the last answer" if has_begun else "for an answer"
                self._note_stuck(what, f"waited {self._config.progress_ms} ms {told}")
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

    def _done(self) -> tuple[int, int]:
        """What changes when anything comes of a wait.

        Requests without an answer; once there are none, what is executed of what was answered.
        What is executed beyond that, or without ever being answered, is no progress.
        """
        if left := self._cluster.unanswered():
            return left, 0
        upto = self._cluster.answered_upto()
        executed = map(self._cluster.executed_upto, self._standing.connected())
        return 0, sum(min(slot, upto) for slot in executed)

    def _note_stuck(self, what: str, why: str) -> None:
        """A barrier that ended without what it waited for."""
        upto, executed_upto = self._cluster.answered_upto(), self._cluster.executed_upto
        behind = [r for r in self._standing.connected() if executed_upto(r) < upto]
        if left := self._cluster.unanswered():
            found = f"{counted(left, 'request')} without one"
        elif behind:
            found = f"{', '.join(map(replica_name, behind))} did not execute slot {upto}"
        else:
            found = "no replica leads"
        self.stuck.append(f"{what}: {why}, {found}")

    def _waits_for(self, is_able: bool) -> Phase:
        """What the time that passes now is spent on."""
        is_led = is_able and self._cluster.leader() is not None
        if is_led and not self._was_led:
            pending = self._cluster.pending()
            self._asked_in_vain = [o for o in pending if o.invoked_at is not None]
        self._was_led = is_led
        if not is_led:
            return Phase.ELECTION if is_able else Phase.PATIENCE
        while self._asked_in_vain and self._asked_in_vain[-1].is_answered:
            self._asked_in_vain.pop()
        if self._asked_in_vain:
            return Phase.RETRY
        return Phase.ANSWERS if self._cluster.unanswered() else Phase.SETTLING
