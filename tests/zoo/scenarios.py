"""Focused scenarios, for what the swarm does not look at. Each says what was violated, or None.

The swarm judges what was done under faults, and asks for answers only after all faults stopped.
An animal that merely leaves a cluster without service while a fault lasts gets a fault that lasts.
"""

from collections import Counter

from bank.invariants import Violation
from bank.replica import Replica
from bank.status import Role
from harness.config import ClusterConfig
from harness.sim import swarm
from harness.sim.mix import SwarmOptions
from harness.sim.world import SimCluster

from .kit import patched

SECOND = 1_000_000
FEW_SEEDS = range(10)
MOST_LEADERS = 2  # in ten seconds in which nobody has to be replaced


def _cluster(replica_class: type[Replica]) -> tuple[SimCluster, int]:
    """Five replicas, of which one leads; and which."""
    config = ClusterConfig(nodes=5, accounts=("A", "B"), trace_messages=0, seed=1)
    world = SimCluster(config, replica_class=replica_class)
    world.start()
    world.seek_leader()
    assert world.run_until(lambda: world.leader() is not None, SECOND)
    leader = world.leader()
    assert leader is not None
    return world, leader


def a_deaf_leader(replica_class: type[Replica]) -> str | None:
    """Nobody's words reach the leader, its own reach everybody: it has to step down.

    The swarm cuts links one way, too, but mends them before it asks for answers.
    """
    world, leader = _cluster(replica_class)
    world.network.cut.update((peer, leader) for peer in world.processes if peer != leader)
    if world.run_until(lambda: world.role(leader) is not Role.LEADER, 10 * SECOND):
        return None
    return f"n{leader} leads on though nobody answered it for 10 s"


def a_hard_of_hearing_replica(replica_class: type[Replica]) -> str | None:
    """A backup is heard by all and hears one other backup only: the others keep their leader.

    In the swarm that is a fault like any other, after which a new leader is no violation.
    """
    world, leader = _cluster(replica_class)
    deaf, friend = [peer for peer in world.processes if peer != leader][-2:]
    world.network.cut.update((p, deaf) for p in world.processes if p not in (deaf, friend))
    before = world.coverage["leads"]
    world.run_until(lambda: False, 10 * SECOND)
    leaders = world.coverage["leads"] - before
    if leaders <= MOST_LEADERS:
        return None
    return f"{leaders} leaders in 10 s, because n{deaf} does not hear the one there is"


class _TruncationWatched(SimCluster):
    """Nobody truncates what nobody else has executed: another's equal hash has to come first."""

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self.executed = Counter[int]()  # by replica, the highest slot ever

    def flushed(self, process, effects):
        """A turn was decided; nothing of it has left yet."""
        super().flushed(process, effects)
        log = process.replica.log
        self.executed[process.id] = max(self.executed[process.id], log.executed_upto)
        if log.truncated_upto and sum(e >= log.truncated_upto for e in self.executed.values()) < 2:
            raise Violation(
                f"n{process.id} truncated up to {log.truncated_upto}, "
                f"which nobody else has executed"
            )


def truncation_watched(replica_class: type[Replica]) -> str | None:
    """Some seeds of the swarm, with one look more.

    While all replicas are equal an early truncation changes no result, so no judge can see it:
    what it takes away is the evidence against a replica that differs.
    """
    with patched(swarm, "SimCluster", _TruncationWatched):
        for seed in FEW_SEEDS:
            outcome = swarm.run_seed(seed, SwarmOptions(), replica_class)
            if outcome.violation is not None:
                return outcome.violation
    return None
