"""What a fault does to other people's replicas, and who could reach whom since.

Reach is kept with certainty in mind: a fault counts from when it has taken effect, its end from
when it was begun, so that whoever may have been reachable is.
"""

from collections.abc import Callable, Sequence

from bank.ballot import ReplicaId
from harness.check.quorum import Reach
from harness.cluster.journal import CLIENTS, Liveness
from harness.cluster.links import Links
from harness.cluster.nemesis import Change, Fault, Heal, KillAt, LinkFault, change
from harness.cluster.wording import counted
from harness.errors import EXIT_USAGE, HarnessError
from harness.external.asking import ASK_US, Asking
from harness.external.fleet import Fleet, Handle
from harness.external.medium import Medium
from harness.files.config import ASKED


class Faults:
    """See the module."""

    def __init__(
        self,
        fleet: Fleet,
        router: Medium,
        asking: Asking,
        mode: str,
        leader: Callable[[], ReplicaId | None],
        on_lead: Callable[[ReplicaId], None],
    ) -> None:
        """`mode` is what failing means, where a fault does not say it; `leader` is who leads now,
        `on_lead` is told when it is another one."""
        self.reach: list[Reach] = []
        self.kills: list[int] = []  # when replicas were killed, µs
        self.done_at = 0  # when a fault was done last
        self.leaders = self.others = self.changes = 0  # how often one failed; another leader
        self._fleet, self._router, self._asking = fleet, router, asking
        self._mode, self._leader, self._on_lead = mode, leader, on_lead
        self.links = Links()
        self._seen_leader: ReplicaId | None = None
        self._running = set(fleet.handles)
        self.away: dict[ReplicaId, int] = {}  # who is cut off from everybody, since when, µs
        self._note()

    # ---- faults --------------------------------------------------------------------------------

    def apply(self, fault: Fault) -> tuple[ReplicaId, ...]:
        """Do this fault and wait until it is done; returns the replicas that changed."""
        failed, replicas = Change([], [], self._mode), self._fleet.handles
        match fault:
            case KillAt():
                pass  # there are no points to reach in code that is not ours
            case LinkFault() | Heal():
                self._put_on_links(fault)
            case _:
                is_live = {replica: self.is_live(replica) for replica in replicas}
                failed = change(fault, is_live, self.see_leader, self._mode)
        failing, returning, mode = failed
        leader = self.see_leader()
        for replica in failing:
            replicas[replica].was_leader = replica == leader
            self.leaders += replica == leader
            self.others += replica != leader
        self._fail(failing, mode)
        self._recover(returning, mode)
        self.done_at = self._fleet.now()
        return (*failing, *returning)

    def _put_on_links(self, fault: LinkFault | Heal) -> None:
        self.links.apply(fault)
        if isinstance(fault, Heal):
            self._note()
        self._router.put_on_links(self.links, self._fleet.now())
        self._note()

    def _fail(self, replicas: Sequence[ReplicaId], mode: str) -> None:
        if not replicas:
            return
        if mode == ASKED:
            self._ask("fail", replicas, Liveness.DISCONNECTED)
            return
        self._fleet.change(replicas, (), mode)
        for replica in replicas:
            if mode == "disconnect":
                self.away[replica] = self._fleet.now()
            else:
                self._running.discard(replica)
        if mode == "crash":
            self.kills.append(self._fleet.now())
        self._note()

    def _recover(self, replicas: Sequence[ReplicaId], mode: str) -> None:
        if not replicas:
            return
        self._running.update(replicas)
        self.away = {one: since for one, since in self.away.items() if one not in replicas}
        self._note()
        asked = [r for r in replicas if mode == ASKED and self._is_asked_to_fail(r)]
        self._fleet.change((), [r for r in replicas if r not in asked], mode)
        self._ask("recover", asked, Liveness.LIVE)

    def _is_asked_to_fail(self, replica: ReplicaId) -> bool:
        return self._fleet.handles[replica].liveness is Liveness.DISCONNECTED

    def _ask(self, word: str, replicas: Sequence[ReplicaId], after: Liveness) -> None:
        """The cooperative failure: they are asked to fail, and to recover."""
        whom = [self._fleet.handles[replica] for replica in replicas]
        answers = self._asking.ask({"type": word}, whom, ASK_US)
        for handle in whom:
            if answers.get(handle, {}).get("type") != f"{word}_ok":
                said = answers.get(handle, "nothing")
                told = f"--failure asked: {handle.name} answers {word} with {said}, "
                raise HarnessError(f"{told}expected {word}_ok", exit_code=EXIT_USAGE)
            self._fleet.change_liveness(handle, after)

    def is_live(self, replica: ReplicaId) -> bool:
        """It takes part."""
        return self._fleet.handles[replica].liveness is Liveness.LIVE

    # ---- what there was ------------------------------------------------------------------------

    def note_end(self, handle: Handle) -> None:
        """It ended by itself."""
        self._running.discard(handle.replica)
        self._note()

    def _note(self) -> None:
        everybody = [CLIENTS, *self._fleet.handles]
        cut = {link for link in self.links.states if self.links.is_lost(*link)}
        for away in self.away:
            cut.update((away, other) for other in everybody if other != away)
            cut.update((other, away) for other in everybody if other != away)
        reach = Reach(self._fleet.now(), frozenset(self._running), frozenset(cut))
        last = self.reach[-1] if self.reach else None
        if last is None or (last.running, last.cut) != (reach.running, reach.cut):
            self.reach.append(reach)

    def see_leader(self) -> ReplicaId | None:
        """The leader; counts how often it is another one."""
        leader = self._leader()
        if leader is not None and leader != self._seen_leader:
            self.changes += self._seen_leader is not None
            self._seen_leader = leader
            self._on_lead(leader)
        return leader

    def coverage(self) -> str:
        """What the faults so far covered, in words."""
        restarts = sum(max(0, handle.starts - 1) for handle in self._fleet.handles.values())
        parts = [
            f"{counted(self.leaders, 'failure')} of a leader",
            f"{self.others} of a backup",
            f"{counted(self.changes, 'change')} of leader seen",
            counted(restarts, "restart"),
        ]
        told = ", ".join(parts)
        if self.leaders or self.changes:
            return told
        return f"{told}: without a failed leader a run proves little"
