"""The swarm: every seed draws a cluster, a load and its own mix of faults, and runs it.

First faults, with safety judged after every event. Then all faults stop, those still to come too,
and the cluster has to be as if nothing had happened: within a bounded time everything pending is
answered and all replicas are equal. Leaving kinds of fault out altogether in some seeds finds what
a mix of everything hides ("Swarm Testing", Groce et al., ISSTA 2012).
"""

import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from bank.ballot import ReplicaId, replica_name
from bank.ledger import READ, TRANSFER
from bank.replica import Replica
from harness.check.agreement import agreement
from harness.check.conservation import conservation
from harness.check.linearizable import linearizable
from harness.check.replay import replay
from harness.check.sessions import exactly_once
from harness.check.verdict import Verdict
from harness.config import ClusterConfig
from harness.history import Operation
from harness.sim.network import LinkRules
from harness.sim.process import Control, Process, ProcessRules
from harness.sim.world import SimCluster, WorldRules

KINDS = (
    "loss",
    "duplication",
    "reorder",
    "stall",
    "cut",
    "partition",
    "kill",
    "crash-point",
    "power",
    "pause",
    "disconnect",
    "ambush",
    "distance",
    "drift",
    "slow-disk",
    "batching",
)
ACTIONS = ("cut", "partition", "kill", "pause", "disconnect")  # what an Injector does
MILLISECOND = 1000
LIVENESS_BOUND = 10_000 * MILLISECOND  # after the faults, everything is answered in so long


@dataclass(frozen=True, slots=True)
class SwarmOptions:
    """What a campaign allows its seeds to draw from."""

    nodes: tuple[int, ...] = (3, 5, 7)
    faults: tuple[str, ...] = KINDS


@dataclass(frozen=True, slots=True)
class Mix:
    """What one seed drew."""

    config: ClusterConfig
    rules: WorldRules
    kinds: tuple[str, ...]
    operations: int
    fault_phase: int  # microseconds
    fault_pause: int  # mean time between two actions
    bursts: tuple[int, ...]  # when many clients ask at once; empty: they ask evenly
    distances: dict[tuple[ReplicaId, ReplicaId], LinkRules]


@dataclass(slots=True)
class Outcome:
    """What became of one seed."""

    seed: int
    nodes: int
    kinds: tuple[str, ...]
    events: int = 0
    recovery: int = 0  # microseconds from the end of the faults until what waited was answered
    violation: str | None = None
    coverage: Counter[str] = field(default_factory=Counter)


def draw(seed: int, options: SwarmOptions) -> Mix:
    """The mix of this seed; depends on nothing else."""
    random = Random(f"{seed}/mix")
    share = random.choice((0.2, 0.5, 0.8))  # of the kinds: some seeds are calm, some fierce
    kinds = tuple(kind for kind in options.faults if random.random() < share)
    power = "power" in kinds
    low = random.choice((20, 20, 50, 150))
    interval = random.choice((1, 2, 3, 7, 20, 100, 1000))
    config = ClusterConfig(
        nodes=random.choice(options.nodes),
        accounts=tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: random.choice((1, 5, 26))]),
        election_timeout_ms=(low, low * 2),
        prepare_quiet_ms=low // 2,
        heartbeat_ms=max(2, low // random.choice((3, 4, 8))),
        stagger_ms=random.choice((1, 5)),
        client_timeout_ms=random.choice((low, low * 2, low * 4)),
        checkpoint_interval=interval,
        checkpoint_pause_ms=random.choice((0, 0, 1, 20, 200)),
        keep_slots=random.choice((0, 0, 1, interval, 5 * interval, 1000)),
        trace_messages=0,
        durability="power" if power else "process",
        seed=seed,
    )

    def rate(kind: str, *rates: float) -> float:
        drawn = random.choice(rates)
        return drawn if kind in kinds else 0.0

    phase = random.randint(5, 40) * low * MILLISECOND
    slowest = random.choice((2, low // 2, 2 * low)) * MILLISECOND
    links = LinkRules(
        delay=random.choice(((20, 100), (500, 2_000), (low * 20, low * 200))),
        loss=rate("loss", 0.01, 0.1, 0.4),
        duplication=rate("duplication", 0.01, 0.2),
        stall=rate("stall", 0.01, 0.2),
        stall_delay=(MILLISECOND, slowest),
        ordered="reorder" not in kinds,
    )
    processes = ProcessRules(
        batching=rate("batching", 0.1, 0.9),
        batch_delay=random.choice((200, 2_000)),
        slow_write=rate("slow-disk", 0.02, 1.0),
        write_delay=random.choice((300, 5_000, 20_000)),
        late_early=rate("batching", 0.0, 0.5),
        crash_per_turn=rate("crash-point", 0.001, 0.01),
        power_loss=0.5 if power else 0.0,
    )
    return Mix(
        config,
        WorldRules(links, processes, random.choice((1_000, 100_000)) if "drift" in kinds else 0),
        kinds,
        operations=random.choice((20, 200, 500)),
        fault_phase=phase,
        bursts=tuple(sorted(random.sample(range(phase), random.choice((0, 3, 10))))),
        fault_pause=random.choice((low // 4, low, 4 * low)) * MILLISECOND,
        distances=distances(random, config.nodes, low) if "distance" in kinds else {},
    )


def distances(random: Random, nodes: int, low: int) -> dict[tuple[ReplicaId, ReplicaId], LinkRules]:
    """Some links far slower than others, one way: messages of one broadcast arrive apart."""
    far: dict[tuple[ReplicaId, ReplicaId], LinkRules] = {}
    for source in range(nodes + 1):
        for to in range(nodes + 1):
            if source != to and random.random() < 0.3:
                slowest = random.choice((2_000, low * 300, low * 1_000))
                far[source, to] = LinkRules((slowest // 2, slowest), ordered=random.random() < 0.5)
    return far


class Injector:
    """Does the faults that are deeds rather than rates, until it is told to stop."""

    def __init__(self, world: SimCluster, mix: Mix) -> None:
        self._world, self._mix = world, mix
        self._random = Random(f"{mix.config.seed}/faults")
        self._kinds = tuple(kind for kind in ACTIONS if kind in mix.kinds)
        self._stopped = False
        world.on_death = self._revive_later
        world.network.link_rules.update(mix.distances)
        if self._kinds:
            self._plan()
            if "ambush" in mix.kinds:
                world.on_lead = lambda leader: self._ambush(leader, 0.5)
                world.on_commit = lambda leader: self._ambush(leader, 0.05)
                for burst in mix.bursts:
                    world.at(burst, self._ambush_leader)

    def _after(self, mean: int) -> int:
        return self._world.now() + 1 + int(self._random.expovariate(1) * mean)

    def _plan(self) -> None:
        self._world.at(self._after(self._mix.fault_pause), self._strike)

    def _while_faulty(self, action: Callable[..., None], *arguments: object) -> None:
        """At some later time, unless everything was healed by then."""
        when = self._after(self._mix.fault_pause)

        def act() -> None:
            if not self._stopped:
                action(*arguments)

        self._world.at(when, act)

    def _victim(self) -> Process:
        """Any replica, the leader more often than others."""
        leader = self._world.leader()
        if leader is None or self._random.random() < 0.5:
            leader = self._random.randint(1, self._mix.config.nodes)
        return self._world.processes[leader]

    def _ambush(self, leader: Process, chance: float) -> None:
        """Something befalls a leader while its NEW-VIEW, ACCEPTs or COMMITs are on their way."""
        if not self._stopped and self._random.random() < chance:
            reach = self._world.network.rules.delay[1] * self._random.choice((1, 5, 50))
            when = self._world.now() + int(self._random.random() * reach)
            self._world.at(when, self._hit, leader)

    def _ambush_leader(self) -> None:
        leader = self._world.leader()
        if leader is not None:
            self._ambush(self._world.processes[leader], 1.0)

    def _strike(self) -> None:
        if not self._stopped:
            self._hit(self._victim())
            self._plan()

    def _hit(self, victim: Process) -> None:
        if self._stopped:
            return
        match self._random.choice(self._kinds):
            case "kill":
                if victim.alive:
                    self._world.count("fault kill")
                    victim.kill()
            case "pause":
                if victim.alive and not victim.paused:
                    self._say(victim, "paused")
                    victim.pause()
                    self._while_faulty(self._continue, victim, victim.incarnation)
            case "disconnect":
                if victim.is_live:
                    self._say(victim, "disconnect")
                    victim.control(Control.DISCONNECT)
                    self._while_faulty(self._reconnect, victim, victim.incarnation)
            case "cut":
                self._cut(victim, self._some_links(victim.id), "cut one way")
            case _:
                self._cut(victim, self._partition(victim.id), "partition")

    def _some_links(self, victim: ReplicaId) -> list[tuple[ReplicaId, ReplicaId]]:
        """Some links out of the victim, or some into it; its clients' too."""
        peers = [p for p in range(self._mix.config.nodes + 1) if p != victim]
        chosen = self._random.sample(peers, self._random.randint(1, len(peers)))
        out = self._random.random() < 0.7
        return [(victim, peer) if out else (peer, victim) for peer in chosen]

    def _say(self, process: Process, what: str) -> None:
        self._world.count(f"fault {what}")
        self._world.say(process.id, what)

    def _partition(self, victim: ReplicaId) -> list[tuple[ReplicaId, ReplicaId]]:
        """The victim and some others on one side, the rest on the other."""
        replicas = range(1, self._mix.config.nodes + 1)
        share = self._random.random()
        side = {r: r == victim or self._random.random() < share for r in replicas}
        return [(a, b) for a in replicas for b in replicas if side[a] != side[b]]

    def _cut(
        self, victim: Process, links: list[tuple[ReplicaId, ReplicaId]], what: str
    ) -> None:
        self._world.count(f"fault {what}")
        self._world.say(victim.id, f"{what}: " + ", ".join(f"n{a}→n{b}" for a, b in links))
        self._world.network.cut.update(links)
        self._while_faulty(self._mend, links)

    def _mend(self, links: list[tuple[ReplicaId, ReplicaId]]) -> None:
        self._world.network.cut.difference_update(links)

    def _continue(self, process: Process, incarnation: int) -> None:
        if process.alive and process.incarnation == incarnation and process.paused:
            self._world.say(process.id, "continued")
            process.resume()

    def _reconnect(self, process: Process, incarnation: int) -> None:
        if process.alive and process.incarnation == incarnation and process.disconnected:
            self._world.say(process.id, "reconnected")
            process.control(Control.RECONNECT)

    def _revive_later(self, process: Process) -> None:
        if not self._stopped:
            self._while_faulty(self._revive, process)

    def _revive(self, process: Process) -> None:
        if not process.alive:
            process.start()

    def heal(self) -> None:
        """All faults stop, and everybody comes back."""
        self._stopped = True
        world = self._world
        world.network.cut.clear()
        world.network.link_rules.clear()
        world.network.rules = replace(
            world.network.rules, loss=0.0, duplication=0.0, stall=0.0, delay=(20, 500)
        )
        for process in world.processes.values():
            process.rules = replace(process.rules, crash_per_turn=0.0, slow_write=0.0)
            if not process.alive:
                process.start()
            if process.paused:
                process.resume()
            process.control(Control.RECONNECT)
        world.say(0, "all faults stop")


def run_seed(
    seed: int,
    options: SwarmOptions,
    replica_class: Callable[..., Replica] = Replica,
    sink: Callable[[str], None] | None = None,
) -> Outcome:
    """Run one seed to its verdict; never raises for what a replica did."""
    mix = draw(seed, options)
    world = SimCluster(mix.config, mix.rules, replica_class, sink)
    outcome = Outcome(seed, mix.config.nodes, mix.kinds, coverage=world.coverage)
    try:
        _run(world, mix, outcome)
    except AssertionError as error:
        outcome.violation = str(error) or _where(error)
    except Exception as error:
        outcome.violation = f"{type(error).__name__}: {error}; {_where(error)}"
    outcome.events = world.events
    outcome.coverage["request executed again without effect"] = world.safety.oracle.repeats
    outcome.coverage["slot proposed with two values"] = world.safety.contested
    if outcome.violation is not None and sink is not None:
        sink(f"{world.now():>10} ✗ {outcome.violation}")
    return outcome


def _where(error: BaseException) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{last.filename}:{last.lineno}: {last.line}"


def _run(world: SimCluster, mix: Mix, outcome: Outcome) -> None:
    world.start()
    injector = Injector(world, mix)
    operations = _load(mix)
    for when, operation in operations:
        world.at(when, world.submit, operation)
    world.set_clients_running(True)
    world.run_until(lambda: False, mix.fault_phase)
    injector.heal()
    healed = world.now()
    pending = world.pending()
    waiting = [operation for operation in pending if operation.invoked_at is not None]
    _demand(world, _all_answered(waiting), "not everything is answered")
    outcome.recovery = world.now() - healed
    _demand(world, _all_answered(pending), "not everything is answered")
    _demand(world, lambda: _is_equal(world), "replicas are not equal")
    world.compare()
    _judge(world, [operation for _, operation in operations])


def _load(mix: Mix) -> list[tuple[int, Operation]]:
    """Operations, and when each is handed to its client."""
    random = Random(f"{mix.config.seed}/load")
    accounts = mix.config.accounts
    load: list[tuple[int, Operation]] = []
    for _ in range(mix.operations):
        sender = random.choice(accounts)
        if random.random() < 0.2:
            request = (sender, 0, READ, sender, "", 0)
        else:
            request = (sender, 0, TRANSFER, sender, random.choice(accounts), random.randint(1, 8))
        if mix.bursts:
            when = random.choice(mix.bursts) + random.randint(0, 3_000)
        else:
            when = random.randint(0, mix.fault_phase)
        load.append((when, Operation(request, set_number=1)))
    return load


def _all_answered(operations: Iterable[Operation]) -> Callable[[], bool]:
    """Asked after every event: looks at each operation about once, not each time."""
    left = list(operations)

    def answered() -> bool:
        while left and left[-1].is_answered:
            left.pop()
        return not left

    return answered


def _is_equal(world: SimCluster) -> bool:
    return len({world.executed_upto(replica) for replica in world.processes}) == 1


def _demand(world: SimCluster, condition: Callable[[], bool], complaint: str) -> None:
    if world.run_until(condition, LIVENESS_BOUND):
        return
    shown = ", ".join(
        f"{replica_name(r)} {p.replica.role.value} {p.replica.promised} "
        f"executed {p.replica.log.executed_upto}"
        for r, p in world.processes.items()
    )
    seconds = LIVENESS_BOUND / 1e6
    raise AssertionError(
        f"{complaint} {seconds:g} s after all faults stopped; "
        f"{len(world.pending())} pending; {shown}"
    )


def _judge(world: SimCluster, operations: Sequence[Operation]) -> None:
    views, log, balances = world.views(), world.committed, world.balances
    replayed = replay(log, balances, {view.status.executed_upto for view in views})
    for judgement in (
        agreement(log, replayed, views),
        conservation(balances, views),
        exactly_once(log, replayed, operations),
        linearizable(log, replayed, operations),
    ):
        if judgement.verdict is not Verdict.VALID:
            raise AssertionError(f"{judgement.check}: {judgement.reason}")
