"""Seeds of the swarm, judged from outside alone: by what clients saw and what replicas tell.

The same faults as in the swarm, and nobody looks into a replica: no check of `Safety`, no disk, no
message. What is wrong and is not seen here in many seeds cannot be seen from outside, or needs a
moment that hardly ever comes.
"""

from types import SimpleNamespace
from typing import Any

from catalogue import Mutant

from bank.ledger import READ, TRANSFER
from harness.check.outside import Seen, judge_from_outside
from harness.check.told import Told
from harness.check.verdict import Verdict
from harness.cluster import blame, guarded
from harness.cluster.history import Operation
from harness.cluster.journal import Liveness
from harness.sim.faults import Injector
from harness.sim.scenario import Scenario, SwarmOptions, draw
from harness.sim.swarm import LIVENESS_BOUND, load
from harness.sim.world import SimCluster

BUDGET = 20_000  # configurations, for what clients saw


class _Blind:
    """In the place of `Safety`: looks at nothing."""

    oracle, contested = SimpleNamespace(repeats=0), 0

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: None


def seen_from_outside(animal: Mutant, seed: int) -> str | None:
    """What is found in this seed, or None."""
    (words,) = animal.caught_by("swarm")
    options = SwarmOptions(tuple(map(int, words.split(",")))) if words else SwarmOptions()
    scenario = draw(seed, options)
    with animal.at_work(), guarded.replicas():
        world = SimCluster(scenario.config, scenario.rules)
        world.checks, world.safety = _Blind(), None
        try:
            return _run(world, scenario)
        except (Exception, SystemExit) as error:
            is_its_own = blame.is_of_bank(error)  # else the simulation cannot go on with it
            return f"ended by itself: {blame.told(error)}" if is_its_own else None


def _run(world: SimCluster, scenario: Scenario) -> str | None:
    world.start()
    injector = Injector(world, scenario)
    operations = load(scenario)
    history = [operation for _, operation in operations]
    for when, operation in operations:
        world.at(when, world.submit, operation)
    world.set_clients_running(True)
    world.run_until(lambda: False, scenario.fault_phase)
    injector.heal()
    injector.mend_for_good()
    if not world.run_until(lambda: not world.unanswered(), LIVENESS_BOUND):
        return f"progress: {world.unanswered()} requests wait {LIVENESS_BOUND // 1_000_000} s"
    reads = [Operation((one, 0, READ, one, "", 0), 1) for one in scenario.config.accounts]
    for operation in reads:
        world.submit(operation)
    if not world.run_until(lambda: not world.unanswered(), LIVENESS_BOUND):
        return "progress: the last reads wait"
    live = [v for v in world.views() if v.liveness is Liveness.LIVE]
    told = [Told(v.replica, dict(v.status.balances), v.status.executed_upto) for v in live]
    found = judge_from_outside(
        Seen(
            world.balances,
            [*history, *reads],
            world.replicas,
            told=told,
            final={o.request[0]: int(o.result) for o in reads if isinstance(o.result, int)},
            answers=[
                (o.request[:2], o.result)
                for o in history
                if o.result is not None and o.request[2] == TRANSFER
            ],
            budget=BUDGET,
        )
    )
    wrong = [one for one in found if one.verdict is Verdict.INVALID]
    return f"{wrong[0].check}: {wrong[0].reason}" if wrong else None
