"""One seed as a document for the Perfetto viewer, on standard output."""

import sys
from dataclasses import replace

from rich.console import Console
from rich.text import Text

from harness.cluster.journal import CLIENTS
from harness.errors import EXIT_INVALID, EXIT_VALID
from harness.report import perfetto
from harness.report.perfetto import Happened
from harness.run import story
from harness.run.report import SetReport
from harness.screen import consoles
from harness.sim.columns import EVERYBODY, Happening
from harness.sim.scenario import SwarmOptions, draw
from harness.sim.swarm import Outcome, run_scenario
from harness.sim.world import SimCluster

KEPT = 10_000  # entries of each replica, as by default of a set: the last ones


def write(seed: int, allowed: SwarmOptions, console: Console) -> int:
    """Run it; the document goes to `console`, and what became of the seed to standard error."""
    document, outcome = traced(seed, allowed)
    console.out(document.decode(), end="", highlight=False)
    told = f"seed {seed}: {outcome.events} events, {outcome.violation or 'no violation'}"
    consoles.opened("auto", sys.stderr).print(Text(told), soft_wrap=True)
    return EXIT_VALID if outcome.violation is None else EXIT_INVALID


def traced(seed: int, allowed: SwarmOptions) -> tuple[bytes, Outcome]:
    """The document of a seed. Keeping what happens changes nothing of it."""
    scenario = draw(seed, allowed)
    scenario = replace(scenario, config=replace(scenario.config, trace_messages=KEPT))
    happened: list[Happened] = []

    def tell(event: Happening) -> None:
        if isinstance(event.what, str) and event.who != CLIENTS:
            who = "" if event.who == EVERYBODY else f"n{event.who}: "
            happened.append(Happened(event.at, f"{who}{event.what}"))

    world = SimCluster(scenario.config, scenario.rules, sink=tell)
    outcome = run_scenario(scenario, world)
    if outcome.violation is not None:
        happened.append(Happened(outcome.at, f"✗ {outcome.violation}"))
    # To those who tell of runs a seed is a run of one set, which nobody judged.
    report = SetReport(
        number=1, position=1, total=1, live=tuple(world.everyone), leader=None, ballot=None,
        steps=(), views=(), judgements=(), seconds=outcome.at / 1e6, leaderless_us=0,
    )  # fmt: skip
    traces = world.traces()
    moments = story.timeline(traces.events, [(report, ())], world.replicas)
    of_set = {replica: traces.of_set(replica) for replica in world.everyone}
    faults = ", ".join(scenario.kinds) or "none"
    title = f"seed {seed}: {world.replicas} replicas, faults {faults}"
    document = perfetto.document(title, [report], [of_set], moments, happened, outcome.history)
    return document, outcome
