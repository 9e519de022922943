"""The faults that are deeds rather than rates: who is hit, with what, when, and for how long."""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import NamedTuple

from bank.ballot import ReplicaId
from harness.cluster.nemesis import Fail, Fault, Heal, LinkFault, Recover
from harness.sim.columns import EVERYBODY
from harness.sim.mix import Mix
from harness.sim.process import Control, Process
from harness.sim.world import SimCluster

ACTIONS = ("cut", "partition", "kill", "pause", "disconnect")  # what an Injector does


class Deed(NamedTuple):
    """A fault that was done."""

    number: int  # from 1, as they were drawn; 0 for the end of one
    at: int  # virtual microseconds
    fault: Fault


class Injector:
    """Does the faults that are deeds rather than rates, until it is told to stop."""

    def __init__(self, world: SimCluster, mix: Mix) -> None:
        self._world, self._mix = world, mix
        self._random = Random(f"{mix.config.seed}/faults")
        self._kinds = tuple(kind for kind in ACTIONS if kind in mix.kinds)
        self._stopped = False
        self.done: list[Deed] = []
        self._deeds = 0  # so far, done or not
        self._for_good: frozenset[tuple[ReplicaId, ReplicaId]] = frozenset()
        world.on_death = self._revive_later
        world.network.link_rules.update(mix.distances)
        if mix.lasting:
            world.at(self._random.randint(0, mix.fault_phase), self._cut_for_good)
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
        kind = self._random.choice(self._kinds)
        self._deeds += 1
        if self._mix.deeds is not None and self._deeds not in self._mix.deeds:
            return
        match kind:
            case "kill":
                if victim.alive:
                    self._world.count("fault kill")
                    self._did(Fail(victim.id, "crash"))
                    victim.kill()
            case "pause":
                if victim.alive and not victim.paused:
                    self._say(victim, "paused")
                    self._did(Fail(victim.id, "pause"))
                    victim.pause()
                    self._while_faulty(self._continue, victim, victim.incarnation)
            case "disconnect":
                if victim.is_live:
                    self._say(victim, "disconnect")
                    self._did(Fail(victim.id, "disconnect"))
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

    def _did(self, deed: Fault) -> None:
        number = 0 if isinstance(deed, Recover | Heal) else self._deeds
        self.done.append(Deed(number, self._world.now(), deed))

    def _say(self, process: Process, what: str) -> None:
        self._world.count(f"fault {what}")
        self._world.say(process.id, what)

    def _partition(self, victim: ReplicaId) -> list[tuple[ReplicaId, ReplicaId]]:
        """The victim and some others on one side, the rest on the other."""
        replicas = range(1, self._mix.config.nodes + 1)
        share = self._random.random()
        side = {r: r == victim or self._random.random() < share for r in replicas}
        return [(a, b) for a in replicas for b in replicas if side[a] != side[b]]

    def _cut(self, victim: Process, links: list[tuple[ReplicaId, ReplicaId]], what: str) -> None:
        self._world.count(f"fault {what}")
        self._world.say(victim.id, f"{what}: " + ", ".join(f"n{a}→n{b}" for a, b in links))
        self._world.network.cut.update(links)
        self._did(LinkFault("cut", frozenset(links)))
        self._while_faulty(self._mend, links)

    def _mend(self, links: list[tuple[ReplicaId, ReplicaId]]) -> None:
        self._world.network.cut.difference_update(links)
        self._did(Heal(frozenset(links)))
        self._world.network.cut |= self._for_good

    def _cut_for_good(self) -> None:
        """These links outlast the faults: what they leave whole has to do."""
        self._for_good = self._mix.lasting
        self._world.count("fault lasting cut")
        self._did(LinkFault("cut", self._for_good))
        links = ", ".join(f"n{a}→n{b}" for a, b in sorted(self._for_good))
        self._world.say(EVERYBODY, f"cut for good: {links}")
        self._world.network.cut |= self._for_good

    def mend_for_good(self) -> None:
        """What was cut for good left nobody able, and rested long enough."""
        links, self._for_good = sorted(self._for_good), frozenset()
        self._mend(links)
        self._world.say(EVERYBODY, "all links are whole again")

    def _continue(self, process: Process, incarnation: int) -> None:
        if process.alive and process.incarnation == incarnation and process.paused:
            self._world.say(process.id, "continued")
            self._did(Recover(process.id))
            process.resume()

    def _reconnect(self, process: Process, incarnation: int) -> None:
        if process.alive and process.incarnation == incarnation and process.disconnected:
            self._world.say(process.id, "reconnected")
            self._did(Recover(process.id))
            process.control(Control.RECONNECT)

    def _revive_later(self, process: Process) -> None:
        """A crash point drawn before the faults stopped may strike after it."""
        if self._stopped:
            self._world.at(self._world.now() + 1, self._revive, process)
        else:
            self._while_faulty(self._revive, process)

    def _revive(self, process: Process) -> None:
        if not process.alive:
            self._did(Recover(process.id))
            process.start()

    def heal(self) -> None:
        """All faults stop but cuts for good, and everybody comes back."""
        self._stopped = True
        world = self._world
        world.network.cut.clear()
        world.network.cut |= self._for_good
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
        world.say(EVERYBODY, "all faults stop")
