"""The simulated cluster: replicas, clients and faults in one thread, on virtual time.

The same configuration and the same decisions give the same run, byte for byte: everything that may
go one way or another is asked of `choices`, a seed's if nobody says otherwise. Nothing here looks
at the real clock, and no set is iterated whose order could show. After every event
`harness.sim.invariants` judges what it changed; a violation is raised from wherever the world is
being driven.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random

from bank.ballot import ReplicaId, Slot
from bank.effects import Effects, Persist, Send, Stored
from bank.messages import (
    Accept,
    Accepted,
    ClientRequest,
    Message,
    NewView,
    PeerDown,
    Prepare,
    Promise,
    State,
    StatePiece,
)
from bank.replica import Replica
from bank.sessions import NOOP_REQUEST
from bank.status import Role, SlotStatus
from harness.cluster import wire
from harness.cluster.choices import Choices, Seeded, between
from harness.cluster.driver import CommitLog, OwnReplicas, ReplicaView
from harness.cluster.journal import (
    Liveness,
    LivenessChanged,
    Traces,
    Way,
    kind,
)
from harness.cluster.kill_points import Cut
from harness.cluster.nemesis import Fault, Heal, KillAt, LinkFault, change
from harness.files.cases import action_text
from harness.files.config import ClusterConfig
from harness.sim.asked import AskedWorld
from harness.sim.columns import EVERYBODY, Sink
from harness.sim.disk import Disk
from harness.sim.judging import TELLING, decided
from harness.sim.process import Process
from harness.sim.timed import Control, TimedProcess
from harness.sim.wires import USUAL_RULES, WorldRules


class SimCluster(AskedWorld, OwnReplicas):
    """A `harness.cluster.driver.Cluster`; see there for what each method promises."""

    def __init__(
        self,
        config: ClusterConfig,
        rules: WorldRules = USUAL_RULES,
        replica_class: Callable[..., Replica] = Replica,
        sink: Sink | None = None,
        choices: Choices | None = None,
    ) -> None:
        """`sink` gets every event; `replica_class` may be a broken replica, for tests.

        `choices` decides instead of the configuration's seed.
        """
        settings = replace(config.settings(), sizes=rules.sizes)
        choices = choices or Seeded(f"{config.seed}/world")
        super().__init__(
            config,
            sink,
            choices,
            rules.links,
            config.nodes,
            settings,
            config.balances(),
            replica_class,
            config.seed,
        )
        self.replicas = config.nodes
        self.committed = CommitLog()
        self.on_death: Callable[[Process], None] = lambda process: None
        self.on_lead: Callable[[Process], None] = lambda process: None
        self.on_commit: Callable[[Process], None] = lambda process: None
        drift = rules.drift_ppm
        self.processes = {
            replica: TimedProcess(
                self,
                replica,
                rules.processes,
                between(choices, -drift, drift) if drift else 0,
                config.durability == "power" or not rules.processes.power_loss,
            )
            for replica in self.everyone
        }

    # ---- life ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Start every replica."""
        for process in self.processes.values():
            process.start()

    def put_on_disks(self, disks: Mapping[ReplicaId, Disk]) -> None:
        """Give every replica this disk, before any of them starts."""
        for replica, process in self.processes.items():
            process.disk = disks[replica]

    def stop(self) -> None:
        """Nothing is held that would have to be released."""
        self._heap.clear()

    def make(self, process: Process, stored: Stored | None) -> Replica:
        """See World."""
        if stored is not None:
            self.say(process.id, f"restarts as incarnation {process.incarnation}")
        return super().make(process, stored)

    # ---- what processes do ---------------------------------------------------------------------

    def send(self, process: Process, send: Send) -> None:
        """A message leaves: judge what it says, then let the network decide."""
        message, source = send.message, process.id
        match message:
            case Accepted():  # the most frequent first
                self.checks.claimed(source, message.ballot, message.first_slot, message.last_slot)
            case Prepare() | Promise():
                self.checks.spoke(source, message.ballot)
            case State():
                self.coverage["log entries sent to who lacks them"] += 1
            case StatePiece() if message.piece > 0:
                self.coverage["checkpoint sent in several pieces"] += 1
            case ClientRequest():
                self.coverage["request relayed"] += 1
        self.messages[message.LABEL] += len(send.to)
        data, lost = wire.encode(message), []
        for to in send.to:
            target = self.processes[to]
            if not target.alive:
                self.coverage["message lost: its reader was dead"] += 1
                lost.append(to)
            elif not self.post(source, target, data):
                lost.append(to)
        if self._journals or self._sink is not None:
            self.write_down(source, Way.SENT, self._peers(send.to), message, tuple(lost))

    def read(self, process: Process, source: ReplicaId, message: Message) -> None:
        """See World."""
        if isinstance(message, TELLING):
            self.checks.told(process.id, source, message)
        if self._journals or self._sink is not None:
            self.write_down(process.id, Way.READ, (source,), message)

    def flushed(self, process: Process, effects: Effects) -> None:
        """A turn's decisions, before any of them has an effect."""
        replica, checks = process.id, self.checks
        for executed in effects.executed:
            checks.executed(replica, executed)
            self.committed.add(
                replica,
                executed.first_slot,
                [(r, a[2]) for r, a in zip(executed.requests, executed.answers, strict=True)],
            )
        decided(checks, replica, effects, process.replica.log)
        if effects.executed and process.replica.role is Role.LEADER:
            self.on_commit(process)
        if effects.persist and effects.persist.truncated_upto > process.disk.truncated_upto:
            self.coverage["log truncated"] += 1
        for send in effects.early:
            message = send.message
            if isinstance(message, NewView):
                checks.leads(message.ballot, replica)
                self.on_lead(process)
                checks.proposed(message.ballot, message.first_slot, message.requests)
                self.coverage["no-op proposed"] += message.requests.count(NOOP_REQUEST)
            elif isinstance(message, Accept):
                checks.proposed(message.ballot, message.first_slot, message.requests)
        for event in effects.events:
            self.coverage[kind(event)] += 1
        if self._sink is not None:
            for what in (*effects.events, *effects.executed):
                self.say(replica, what)
        if self._journals:
            self._journals[replica].turned(self.time, effects.events, effects.executed)

    def stored(self, process: Process, persist: Persist) -> None:
        """See World."""
        self.say(process.id, persist)
        self.checks.stored(process.id, persist)

    def killed(self, process: Process, cut: Cut | None) -> None:
        """The kernel closes the dead process's queues: peers and clients read their end."""
        died_at = self.processes[process.id].died_at
        self.say(process.id, f"✝ killed {died_at}".rstrip())
        self._note_liveness(process.id, Liveness.CRASHED)
        notice = PeerDown(process.id, process.incarnation)
        for peer in self.processes.values():
            if peer.alive:
                self.close(process.id, peer, notice)
        self.close(process.id, None, notice)
        self.on_death(process)

    def healed(self) -> None:
        """All faults stop, for good."""
        self.say(EVERYBODY, "all faults stop")

    # ---- faults --------------------------------------------------------------------------------

    def apply(self, fault: Fault) -> tuple[ReplicaId, ...]:
        """Do this fault; returns the replicas that changed."""
        match fault:
            case KillAt(replica, point):
                return (replica,) if self.processes[replica].arm(point) else ()
            case LinkFault() | Heal():
                self.say(EVERYBODY, action_text(fault))
                self.put_on_links(fault)
                return ()
            case _:
                pass
        is_live = {replica: process.is_live for replica, process in self.processes.items()}
        failing, returning, mode = change(fault, is_live, self.leader, self._config.failure)
        for replica in failing:
            self._fail(self.processes[replica], mode)
        for replica in returning:
            self._recover(self.processes[replica])
        return (*failing, *returning)

    def _fail(self, process: TimedProcess, mode: str) -> None:
        match mode:
            case "crash":
                process.kill()
            case "pause":
                self.say(process.id, "paused")
                process.pause()
                self._note_liveness(process.id, Liveness.PAUSED)
            case _:
                self.say(process.id, "disconnected")
                process.control(Control.DISCONNECT)
                self._settle(lambda: process.disconnected)
                self._note_liveness(process.id, Liveness.DISCONNECTED)

    def _note_liveness(self, replica: ReplicaId, liveness: Liveness) -> None:
        if self._journals:
            self._journals[replica].add(self.time, LivenessChanged(liveness))

    def _recover(self, process: TimedProcess) -> None:
        self._note_liveness(process.id, Liveness.LIVE)
        if not process.alive:
            process.start()
        elif process.paused:
            self.say(process.id, "continued")
            process.resume()
        else:
            self.say(process.id, "reconnected")
            process.control(Control.RECONNECT)
            self._settle(lambda: not process.disconnected)

    def _settle(self, confirmed: Callable[[], bool]) -> None:
        """Wait until a process obeyed: it may be in the middle of a write. What happens by itself
        cannot wait."""
        while not self.is_running and not confirmed():
            self.next_event()

    def seek_leader(self) -> None:
        """Ask every live replica to see to it that there is a leader."""
        for process in self.processes.values():
            if process.is_live:
                process.control(Control.SEEK_LEADER)

    # ---- looking -------------------------------------------------------------------------------

    def liveness(self, replica: ReplicaId) -> Liveness:
        """Whether this replica takes part."""
        process = self.processes[replica]
        if not process.alive:
            return Liveness.CRASHED
        if process.paused:
            return Liveness.PAUSED
        return Liveness.DISCONNECTED if process.disconnected else Liveness.LIVE

    def trouble(self, replica: ReplicaId) -> str | None:
        """A simulated replica that goes wrong ends the whole run."""
        return None

    def leader(self) -> ReplicaId | None:
        """The live replica in role leader with the highest ballot that a quorum answers."""
        leaders = [
            (process.replica.following, replica)
            for replica, process in self.processes.items()
            if process.is_live and process.replica.leads_answered()
        ]
        return max(leaders)[1] if leaders else None

    def role(self, replica: ReplicaId) -> Role:
        """What this replica is now, or was last."""
        return self.processes[replica].replica.role

    def executed_upto(self, replica: ReplicaId) -> Slot:
        """What this replica executed last."""
        return self.processes[replica].replica.log.executed_upto

    def _reachable(self, process: TimedProcess) -> Replica:
        """The replica itself, or what its disk says when it cannot be asked."""
        if process.alive and not process.paused:
            return process.replica
        disk = process.disk.stored()
        return Replica(process.id, self.replicas, self.settings, Random(0), self.balances, disk)

    def views(self) -> tuple[ReplicaView, ...]:
        """Every replica's state as of now; failed ones as they were left."""
        return tuple(
            ReplicaView(
                replica,
                self.liveness(replica),
                self._reachable(process).status(),
                process.was_leader,
            )
            for replica, process in self.processes.items()
        )

    def slots(self, replica: ReplicaId, slots: Sequence[Slot]) -> tuple[SlotStatus, ...]:
        """The state of these slots at one replica."""
        return self._reachable(self.processes[replica]).slots(slots)

    def traces(self) -> Traces:
        """The journals of all replicas, with what is kept of earlier sets."""
        for replica, journal in self._journals.items():
            self._traces.add(replica, journal.take())
        return self._traces

    def new_set(self) -> None:
        """Traces start afresh."""
        self.traces().new_set(self.time)
