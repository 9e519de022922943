"""From a test set or a seed to the prompt that goes through it event by event."""

from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console
from rich.text import Text

from harness.cluster import guarded
from harness.cluster.wording import counted
from harness.errors import HarnessError
from harness.files import writer
from harness.files.cases import CaseFile
from harness.files.config import FAILURES, ClusterConfig
from harness.screen import lines
from harness.screen.cells import Hanging, Parts
from harness.screen.stepping import SteppingPrompt, complete
from harness.sim import script_head
from harness.sim.record import Recorded
from harness.sim.scenario import SwarmOptions
from harness.sim.shrink import Plan, run_plan
from harness.sim.stepped_file import Sets
from harness.sim.stepper import Recording, Step, Stepper

# What puts messages off in order to save some. Without it fewer timers stand between the events.
PUT_OFF = ("spare_pause_ms", "spare_after_slots", "learn_slots")


def file(console: Console, file: CaseFile, config: ClusterConfig, repeat: str) -> int:
    """Step through a test set; the exit code. `repeat` is the command that begins it again."""
    if config.durability == "memory":
        told = "a replica that is stepped through has a disk, leave out this or --step-messages"
        raise HarnessError(f"durability memory: {told}")
    if config.unanswered == "drop":
        told = "clients ask until they are answered here, leave out this or --step-messages"
        raise HarnessError(f"unanswered drop: {told}")
    assert config.failure in FAILURES, config.failure
    usual = ClusterConfig()
    put_off = {key: getattr(script_head.PLAIN, key) for key in PUT_OFF
               if getattr(config, key) == getattr(usual, key)}  # fmt: skip
    head, sets = script_head.written(replace(config, **put_off)), Sets(file, config.failure)

    def test_set(steps: Sequence[Step], suffix: str) -> tuple[str, str]:
        so_far, mode = sets.so_far(steps)
        if suffix == ".csv":
            return writer.csv_text(so_far), mode
        name = f"Stepped through {file.path}"
        return writer.yaml_text(so_far, replace(config, failure=mode), name), mode

    parts = [file.name or file.path, counted(len(file.sets), "set"),
             counted(config.nodes, "replica"), f"failure {config.failure}", "event by event",
             f"seed {config.seed}"]  # fmt: skip
    console.print(Parts(map(Text, parts)))
    with guarded.replicas():
        stepper = Stepper(head, sets, config.client_timeout_ms, config.patience_ms)
        prompt = SteppingPrompt(console, stepper, config, repeat, test_set)
        return prompt.run(lines.opened(console, config, complete))


def seed(console: Console, seed: int, options: SwarmOptions, repeat: str) -> int:
    """Step through the run of a seed; the exit code."""
    with guarded.replicas():
        plan = Plan(seed, options)
        scenario = plan.scenario()
        outcome, world = run_plan(plan, Recorded)
        told = outcome.violation and f"fails after {outcome.events:,} events: {outcome.violation}"
        parts = [f"seed {seed}", counted(scenario.config.nodes, "replica"),
                 f"faults {', '.join(scenario.kinds) or 'none'}"]  # fmt: skip
        console.print(Parts(map(Text, parts)))
        console.print(Hanging(Text(told or "no violation"), indent=0))
        recording = Recording(seed, world.commands())
        stepper = Stepper(
            world.head(), recording, scenario.config.client_timeout_ms, scenario.config.patience_ms
        )
        prompt = SteppingPrompt(console, stepper, scenario.config, repeat)
        return prompt.run(lines.opened(console, scenario.config, complete))
