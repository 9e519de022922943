"""The swarm: one seed from its first event to its verdict.

First faults, with safety judged after every event. Then all faults stop, those still to come too,
and the cluster has to be as if nothing had happened: within some time-outs what waited is answered,
within a bounded time everything is and all replicas are equal, and with nothing left to do it says
hardly more than heartbeats. Some seeds keep links cut for good. Then whoever hears a
quorum all the same has to lead, and who hears whatever may be decided has to be equal. Where
nobody hears a quorum nobody leads and ballots rest, until the links are mended.
"""

import os
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from bank.ballot import ReplicaId, replica_name
from bank.ledger import READ, TRANSFER
from bank.messages import CheckpointHash, Elected
from harness.check.judges import judge_run
from harness.check.verdict import Verdict
from harness.cluster import guarded
from harness.cluster.history import Operation
from harness.cluster.links import LEADS_WITHIN_US
from harness.errors import EXIT_MACHINE, HarnessError
from harness.files.temporary import TemporaryFolder
from harness.live.storage import DiskError, Owner, create_all
from harness.sim.columns import EVERYBODY, Happening, Sink
from harness.sim.disk import FileDisk
from harness.sim.faults import Injector, Strike
from harness.sim.scenario import MILLISECOND, Scenario, SwarmOptions, draw
from harness.sim.world import SimCluster

_ROOT = Path(__file__).parents[2]  # files in what is printed are named from here
CLUSTER = "simulated"  # whose files are written, where seeds write them
LIVENESS_BOUND = 10_000_000  # microseconds; after the faults, everything is answered in so long
LAPSE = 20  # time-outs until nobody who was cut off for good stands in the way of others any more
IDLE = 5  # time-outs, for which a cluster is watched that has nothing to do
# Of the longest election time-outs, and one of the clients: what waited is answered in so many.
# Who is cut off for good may stand in the way once more.
RECOVERY, RECOVERY_BESIDE_OUTSIDERS = 10, LAPSE


@dataclass(slots=True)
class Outcome:
    """What became of one seed."""

    seed: int
    nodes: int
    kinds: tuple[str, ...]
    events: int = 0
    recovery: int = 0  # microseconds from the end of the faults until what waited was answered
    at: int = 0  # microseconds; when it ended
    violation: str | None = None
    done: list[Strike] = field(default_factory=list)
    history: list[Operation] = field(default_factory=list)
    coverage: Counter[str] = field(default_factory=Counter)


def run_seed(
    seed: int,
    options: SwarmOptions,
    sink: Sink | None = None,
) -> Outcome:
    """Run one seed to its verdict; never raises for what a replica or its storage did.

    HarnessError with EXIT_MACHINE when the machine has no place for its files.
    """
    scenario = draw(seed, options)
    world = SimCluster(scenario.config, scenario.rules, sink=sink)
    outcome = run_scenario(scenario, world)
    if outcome.violation is not None and sink is not None:
        sink(Happening(outcome.at, EVERYBODY, f"✗ {outcome.violation}"))
    return outcome


def run_scenario(scenario: Scenario, world: SimCluster) -> Outcome:
    """The same for a scenario that was drawn already, in a world made for it."""
    seed = scenario.config.seed
    assert seed is not None
    outcome = Outcome(seed, scenario.config.nodes, scenario.kinds, coverage=world.coverage)
    try:
        with _files(scenario, world):
            _run(world, scenario, outcome)
    except AssertionError as error:
        outcome.violation = str(error) or where(error)
    except HarnessError:
        raise  # there is no temporary folder
    except DiskError as error:
        raise HarnessError(f"seed {seed}: {error}", exit_code=EXIT_MACHINE) from error
    except (Exception, SystemExit) as error:  # no replica ends the campaign
        outcome.violation = f"{type(error).__name__}: {error}; {where(error)}"
    outcome.events, outcome.at = world.events, world.now()
    outcome.coverage["request executed again without effect"] = world.checks.oracle.repeats
    if scenario.unit > 1:
        world.count("seed with large amounts")
    outcome.coverage["slot proposed with two values"] = world.checks.contested
    outcome.coverage["message overtook another"] = world.network.overtook
    return outcome


@contextmanager
def _files(scenario: Scenario, world: SimCluster) -> Iterator[None]:
    """Real files under the replicas of a scenario that drew them."""
    if not scenario.on_files:
        yield
        return
    with closing(TemporaryFolder("simulate-")) as folder, ExitStack() as opened:
        paths = {replica: folder.path / f"n{replica}.db" for replica in world.processes}
        create_all(paths, world.balances, CLUSTER, "process")
        disks = {
            replica: FileDisk(path, Owner(replica_name(replica), CLUSTER), world.balances)
            for replica, path in paths.items()
        }
        for disk in disks.values():
            opened.callback(disk.close)
        world.put_on_disks(disks)
        world.count("seed on real files")
        yield


def where(error: BaseException) -> str:
    """The line of a replica, or of what drives it, at which an error was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    last = next(frame for frame in frames[::-1] if frame.filename != guarded.__file__)
    file = last.filename.removeprefix(f"{_ROOT}{os.sep}")
    return f"{file}:{last.lineno}: {last.line}"


def _run(world: SimCluster, scenario: Scenario, outcome: Outcome) -> None:
    world.start()
    injector = Injector(world, scenario)
    outcome.done = injector.done
    operations = load(scenario)
    outcome.history = [operation for _, operation in operations]
    for when, operation in operations:
        world.at(when, world.submit, operation)
    world.set_clients_running(True)
    world.run_for(scenario.fault_phase)
    injector.heal()
    if not scenario.is_able:
        _demand_rest(world)
        injector.mend_for_good()
        scenario = replace(scenario, lasting=frozenset(), outsiders=(), is_able=True)
    healed = world.now()
    waiting = [operation for operation in world.pending() if operation.invoked_at is not None]
    if "topology" in scenario.kinds:
        # Who led before may not have noticed yet that a quorum is cut off.
        world.run_for(2 * scenario.config.election_timeout_ms[1] * MILLISECOND)
        _demand(world, lambda: world.leader() is not None, "nobody leads", LEADS_WITHIN_US)
    bound = _recovery_bound(scenario)
    _demand(world, _all_answered(waiting), "what waited is not answered", bound)
    outcome.recovery = world.now() - healed
    _demand(world, _all_answered(outcome.history), "not everything is answered")
    _demand(world, lambda: _is_equal(world, scenario.outsiders), "replicas are not equal")
    world.compare()
    _judge(world, scenario, outcome.history)
    _demand_peace(world, scenario)


def load(scenario: Scenario) -> list[tuple[int, Operation]]:
    """Operations, and when each is handed to its client."""
    seed, unit, accounts = scenario.config.seed, scenario.unit, scenario.config.accounts
    random, reads, amounts = (Random(f"{seed}/{what}") for what in ("load", "reads", "amounts"))
    load: list[tuple[int, Operation]] = []
    for _ in range(scenario.operations):
        sender = random.choice(accounts)
        if random.random() < 0.2:
            request = (sender, 0, READ, reads.choice(accounts), "", 0)
        else:
            receiver, amount = random.choice(accounts), random.randint(1, 8)
            if unit > 1 and amounts.random() < 0.75:
                amount = amount * unit + amounts.randrange(unit)
            request = (sender, 0, TRANSFER, sender, receiver, amount)
        if scenario.bursts:
            when = random.choice(scenario.bursts) + random.randint(0, 3_000)
        else:
            when = random.randint(0, scenario.fault_phase)
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


def _is_equal(world: SimCluster, outsiders: Sequence[ReplicaId]) -> bool:
    whole = (replica for replica in world.processes if replica not in outsiders)
    return len({world.executed_upto(replica) for replica in whole}) <= 1


def _recovery_bound(scenario: Scenario) -> int:
    """Microseconds in which what waited when the faults stopped has to be answered."""
    config = scenario.config
    times = RECOVERY_BESIDE_OUTSIDERS if scenario.outsiders else RECOVERY
    return (times * config.election_timeout_ms[1] + config.client_timeout_ms) * MILLISECOND


def _demand(
    world: SimCluster,
    condition: Callable[[], bool],
    complaint: str,
    bound: int = LIVENESS_BOUND,
) -> None:
    if world.run_until(condition, bound):
        return
    shown = ", ".join(
        f"{replica_name(r)} {p.replica.role.value} {p.replica.promised} "
        f"executed {p.replica.log.executed_upto}"
        for r, p in world.processes.items()
    )
    seconds = bound / 1e6
    raise AssertionError(
        f"{complaint} {seconds:g} s after all faults stopped; "
        f"{len(world.pending())} pending; {shown}"
    )


def _demand_peace(world: SimCluster, scenario: Scenario) -> None:
    """Whoever is cut off, once somebody leads nobody else does, and ballots rest."""
    _demand(world, lambda: world.leader() is not None, "nobody leads")
    timeout = scenario.config.election_timeout_ms[1] * MILLISECOND
    # One that was just cut off for good may still believe that it leads, or stand once more and be
    # heard by those it does not hear: that has to be over after some time-outs.
    lapse = max(LAPSE * timeout, LEADS_WITHIN_US) if scenario.lasting else 3 * timeout
    world.run_for(lapse)
    before, number = world.coverage["Leads"], _highest_number(world)
    sent = world.messages.copy()
    world.run_for(IDLE * timeout)
    if before != world.coverage["Leads"]:
        raise AssertionError("a leader is replaced though all is well")
    if number != _highest_number(world):
        raise AssertionError("ballots grow though somebody leads")
    _hold_to_budget(world.messages - sent, scenario)


def _demand_rest(world: SimCluster) -> None:
    """Nobody hears a quorum: after a while nobody leads, and no new number is taken."""
    world.run_for(2 * LEADS_WITHIN_US)
    number = _highest_number(world)
    world.run_for(LEADS_WITHIN_US)
    if world.leader() is not None:
        raise AssertionError("somebody leads, and nobody hears a quorum")
    if number != _highest_number(world):
        raise AssertionError("ballots grow, and nobody hears a quorum")


def _highest_number(world: SimCluster) -> int:
    return max(process.replica.acceptor.seen for process in world.processes.values())


def _hold_to_budget(sent: Counter[str], scenario: Scenario) -> None:
    """What an idle cluster says in IDLE time-outs: heartbeats and their answers, hardly more.

    While a checkpoint is not confirmed, it is asked for with each heartbeat, both ways. Replicas
    that are cut off stand now and then, which may be answered. Clients were told who leads.
    """
    config, peers = scenario.config, scenario.config.nodes - 1
    shortest, longest = config.election_timeout_ms
    watched = (
        IDLE * longest * (1_000_000 + scenario.rules.drift_ppm) // 1_000_000
    )  # on a fast clock
    beats = watched // config.heartbeat_ms + 2
    stands = len(scenario.outsiders) * (watched // shortest + 1)
    checkpoints, leaders = sent.pop(CheckpointHash.LABEL, 0), sent.pop(Elected.LABEL, 0)
    for count, most, what in (
        (sent.total(), 2 * peers * (beats + stands), "messages"),
        (checkpoints, 4 * peers * beats, CheckpointHash.LABEL),
        (leaders, 0, Elected.LABEL),
    ):
        if count > most:
            words = ", ".join(f"{label} {often}" for label, often in sorted(sent.items()))
            raise AssertionError(
                f"an idle cluster sent {count} {what} in {IDLE} time-outs, expected at most "
                f"{most}: {words}"
            )


def _judge(world: SimCluster, scenario: Scenario, operations: Sequence[Operation]) -> None:
    interval, sizes = scenario.config.checkpoint_interval, scenario.rules.sizes
    for judgement in judge_run(
        world.balances, world.committed, operations, world.views(), interval, sizes
    ):
        if judgement.verdict is not Verdict.VALID:
            raise AssertionError(f"{judgement.check}: {judgement.reason}")


@dataclass(slots=True)
class Tally:
    """What a number of seeds came to; tallies of parts add up to that of the whole."""

    seeds: int = 0
    events: int = 0
    coverage: Counter[str] = field(default_factory=Counter)
    longest_recovery: tuple[int, int] = (0, 0)  # microseconds, seed
    violations: list[tuple[int, str]] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """One more seed."""
        self.seeds += 1
        self.events += outcome.events
        self.coverage.update(outcome.coverage)
        self.coverage[f"seeds with {outcome.nodes} replicas"] += 1
        self.coverage.update(f"kind {kind}" for kind in outcome.kinds)
        self.longest_recovery = max(self.longest_recovery, (outcome.recovery, outcome.seed))
        if outcome.violation is not None:
            self.violations.append((outcome.seed, outcome.violation))

    def merge(self, other: "Tally") -> None:
        """Another part."""
        self.seeds += other.seeds
        self.events += other.events
        self.coverage.update(other.coverage)
        self.longest_recovery = max(self.longest_recovery, other.longest_recovery)
        self.violations = sorted(self.violations + other.violations)


def run_seeds(seeds: Sequence[int], options: SwarmOptions) -> Tally:
    """Several seeds in this process; what a campaign hands to its workers."""
    tally = Tally()
    with guarded.replicas():
        for seed in seeds:
            tally.add(run_seed(seed, options))
    return tally
