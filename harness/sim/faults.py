"""The faults of a swarm's seed that are no rates: who is hit, with what, when, and for how long.

They are drawn by `harness.cluster.draws`, like those of `torture`, and done by `Cluster.apply`.
"""

from collections.abc import Callable
from dataclasses import replace
from math import log
from typing import NamedTuple

from harness.cluster import draws
from harness.cluster.choices import Seeded, happens, one_of
from harness.cluster.journal import CLIENTS, Liveness
from harness.cluster.nemesis import Fault, Heal, LinkFault, Recover, SetLive
from harness.sim.process import Process
from harness.sim.scenario import Scenario
from harness.sim.timed import Control
from harness.sim.world import SimCluster

KINDS = ("cut", "partition", "kill", "pause", "disconnect")  # what an Injector does
AWAY = (Liveness.PAUSED, Liveness.DISCONNECTED)
FINE = 1 << 20  # steps of a draw that stands for a real number


class Strike(NamedTuple):
    """A fault that was done."""

    number: int  # from 1, as they were drawn; 0 for the end of one
    at: int  # virtual microseconds
    fault: Fault


class Injector:
    """Does faults until it is told to stop."""

    def __init__(self, world: SimCluster, scenario: Scenario) -> None:
        self._world, self._scenario = world, scenario
        self._choices = Seeded(f"{scenario.config.seed}/faults")
        self._kinds = tuple(kind for kind in KINDS if kind in scenario.kinds)
        self._stopped = False
        self.done: list[Strike] = []
        self._strikes = 0  # so far, done or not
        self._for_good = LinkFault("cut", frozenset())
        world.on_death = self._revive_later
        world.network.states.update(scenario.distances)
        if scenario.lasting:
            world.at(self._choices.pick(scenario.fault_phase), self._cut_for_good)
        if self._kinds:
            self._plan()
            if "ambush" in scenario.kinds:
                world.on_lead = lambda leader: self._ambush(leader, 0.5)
                world.on_commit = lambda leader: self._ambush(leader, 0.05)
                for burst in scenario.bursts:
                    world.at(burst, self._ambush_leader)

    def _after(self, mean: int) -> int:
        """A moment to come, after so long in the mean, mostly sooner."""
        share = (1 + self._choices.pick(FINE)) / FINE
        return self._world.now() + 1 + int(-log(share) * mean)

    def _plan(self) -> None:
        self._world.at(self._after(self._scenario.fault_pause), self._strike)

    def _while_faulty(self, action: Callable[..., None], *arguments: object) -> None:
        """At some later time, unless everything was healed by then."""

        def act() -> None:
            if not self._stopped:
                action(*arguments)

        self._world.at(self._after(self._scenario.fault_pause), act)

    def _ambush(self, leader: Process, rate: float) -> None:
        """Something befalls a leader while its NEW-VIEW, ACCEPTs or COMMITs are on their way."""
        if not self._stopped and happens(self._choices, rate):
            reach = self._world.network.usual.most * one_of(self._choices, (1, 5, 50))
            self._world.at(self._world.now() + self._choices.pick(reach), self._hit, leader)

    def _ambush_leader(self) -> None:
        leader = self._world.leader()
        if leader is not None:
            self._ambush(self._world.processes[leader], 1.0)

    def _strike(self) -> None:
        if not self._stopped:
            everyone, leader = self._world.everyone, self._world.leader()
            victim = draws.victim(self._choices, everyone, leader, 0.5)
            self._hit(self._world.processes[victim])
            self._plan()

    def _hit(self, victim: Process) -> None:
        if self._stopped:
            return
        kind, wanted = one_of(self._choices, self._kinds), self._scenario.strikes
        nodes = len(self._world.everyone)
        fault = draws.fault(self._choices, kind, victim.id, nodes, (CLIENTS,))
        self._strikes += 1
        if wanted is not None and self._strikes not in wanted:
            return
        if isinstance(fault, LinkFault):
            self._world.count("fault partition" if kind == "partition" else "fault cut one way")
            self._do(fault)
            self._while_faulty(self._mend, fault)
            return
        away = self._world.liveness(victim.id)
        if fault.mode == "crash" and away in AWAY:  # it returns, and dies before it says much
            self._do(Recover(victim.id))
        elif away is not Liveness.LIVE:
            return
        self._world.count(f"fault {fault.mode}")
        self._do(fault)
        if fault.mode != "crash":
            self._while_faulty(self._return, victim, victim.incarnation)

    def _do(self, fault: Fault) -> None:
        number = 0 if isinstance(fault, Recover | Heal) else self._strikes
        self.done.append(Strike(number, self._world.now(), fault))
        self._world.apply(fault)

    def _mend(self, fault: LinkFault) -> None:
        self._do(Heal(fault.links))
        self._cut_again()

    def _return(self, process: Process, incarnation: int) -> None:
        """It goes on, unless it is another process by now or back already."""
        if process.incarnation == incarnation and self._world.liveness(process.id) in AWAY:
            self._do(Recover(process.id))

    # ---- for good ------------------------------------------------------------------------------

    def _cut_for_good(self) -> None:
        """These links outlast the faults: what they leave whole has to do."""
        self._for_good = LinkFault("cut", self._scenario.lasting)
        self._world.count("fault lasting cut")
        self._do(self._for_good)

    def _cut_again(self) -> None:
        if self._for_good.links:
            self._world.apply(self._for_good)

    def mend_for_good(self) -> None:
        """What was cut for good left nobody able, and rested long enough."""
        self._do(Heal(self._for_good.links))
        self._for_good = LinkFault("cut", frozenset())

    # ---- the dead ------------------------------------------------------------------------------

    def _revive_later(self, process: Process) -> None:
        """A crash point drawn before the faults stopped may strike after it."""
        if self._stopped:
            self._world.at(self._world.now() + 1, self._revive, process)
        else:
            self._while_faulty(self._revive, process)

    def _revive(self, process: Process) -> None:
        if not process.alive:
            self._do(Recover(process.id))

    def heal(self) -> None:
        """All faults stop but cuts for good, and everybody comes back."""
        self._stopped = True
        world, network = self._world, self._world.network
        network.states.clear()
        network.usual = replace(network.usual, lose=0, duplicate=0, stall=0, least=20, most=500)
        for process in world.processes.values():
            process.rules = replace(process.rules, crash_per_turn=0.0, slow_write=0.0)
        world.apply(Heal())
        self._cut_again()
        world.apply(SetLive(frozenset(world.everyone)))
        for process in world.processes.values():
            process.control(Control.RECONNECT)  # who was told to disconnect and has not yet
        world.healed()
