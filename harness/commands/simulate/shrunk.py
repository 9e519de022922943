"""Failing seeds made small, as files: a script, and where it can be said a test set."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from harness.check.verdict import Verdict
from harness.cluster.nemesis import Fail, Fault, Heal, LinkFault, Recover
from harness.errors import EXIT_MACHINE, HarnessError
from harness.files.cases import ADDED, Action, CaseFile, CaseSet, Command, Step, Wait, action_text
from harness.files.config import ClusterConfig
from harness.files.writer import yaml_text
from harness.run.runner import Runner
from harness.screen.cells import Line
from harness.screen.lines import cancelling
from harness.screen.progress import may_redraw
from harness.sim.columns import LEGEND, Columns, Happening
from harness.sim.scenario import KINDS, MILLISECOND, Scenario, SwarmOptions
from harness.sim.shrink import (
    Shrunk,
    Watch,
    described,
    kind_of,
    script_text,
    shrink,
)
from harness.sim.swarm import load, run_scenario
from harness.sim.world import SimCluster

# No test set can say these.
UNSAID = ("drift", "power", "crash-point", "slow-disk", "batching", "stall")
MOST_SHRUNK = 3  # failures of different kinds
SEEDS = range(20)  # with which the test set is tried


def command(seed: int, allowed: SwarmOptions, option: str = "--trace") -> str:
    """The one line that repeats a seed."""
    words: Sequence[str] = ("simulate", "--seeds", str(seed))
    nodes = ",".join(map(str, allowed.nodes))
    faults = ",".join(allowed.faults) or "none"
    if allowed.nodes != SwarmOptions().nodes:
        words = (*words, "--nodes", nodes)
    if allowed.faults != KINDS:
        words = (*words, "--faults", faults)
    return "python run.py " + " ".join((*words, option))


def write(
    violations: Sequence[tuple[int, str]],
    options: SwarmOptions,
    folder: Path,
    console: Console,
) -> None:
    """The first failure of each kind, made small and written into `folder`."""
    first: dict[str, tuple[int, str]] = {}
    for seed, violation in violations:
        first.setdefault(kind_of(violation), (seed, violation))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for seed, violation in list(first.values())[:MOST_SHRUNK]:
            console.print(f"making seed {seed} small …")
            with cancelling(True) as is_stopped:
                with _watched(console, is_stopped) as watch:
                    small = shrink(seed, options, violation, watch)
                if is_stopped():
                    console.print("stopped: it is as small as it was by then")
                for line in _write(small, command(seed, options), folder):
                    console.print(Line(Text(line)), soft_wrap=True)
            if is_stopped():
                raise KeyboardInterrupt
    except OSError as error:
        raise HarnessError(f"--shrink: {error}", exit_code=EXIT_MACHINE) from None


@contextmanager
def _watched(console: Console, is_stopped: Callable[[], bool]) -> Iterator[Watch]:
    """What is left by now stands in the last line, on a terminal."""
    columns = (TimeElapsedColumn(), TextColumn("{task.description}"))
    silent = not may_redraw(console)
    with Progress(*columns, console=console, transient=True, disable=silent) as progress:
        task = progress.add_task("what it was")

        class Shown(Watch):
            def is_stopped(self) -> bool:
                return is_stopped()

            def show(self, left: str) -> None:
                progress.update(task, description=left)

        yield Shown()


def _write(small: Shrunk, repeat: str, folder: Path) -> Iterator[str]:
    seed = small.plan.seed
    scenario = small.plan.scenario()
    left = described(scenario, small.outcome)
    yield f"what is left of seed {seed}: {left}; {small.recorded} events"
    if small.story is None:
        trace = folder / f"seed-{seed}.trace.txt"
        trace.write_text("\n".join([*LEGEND, *_trace(small), ""]), "utf-8")
        yield f"  {trace}: every event; no script that could be found ends the same"
    else:
        script = folder / f"seed-{seed}.txt"
        script.write_text(script_text(small.story, f"Made small from: {repeat}"), "utf-8")
        yield f"  {script}: {len(small.story.commands)} commands to: {small.story.violation}"
    case = as_case(small)
    if isinstance(case, str):
        yield f"  no test set: it cannot say {case}"
        return
    file = folder / f"seed-{seed}.yaml"
    config = _plain(scenario, _modes(small))
    file.write_text(yaml_text([case], config, f"seed {seed}"), "utf-8")
    shows = next((s for s in SEEDS if _fails(case, config, s)), None)
    yield (
        f"  {file}: the same load and faults; {len(SEEDS)} runs of it hold"
        if shows is None
        else f"  {file}: it fails with --sim --seed {shows}"
    )


def _trace(small: Shrunk) -> list[str]:
    """What is left of the run, in columns."""
    scenario, lines = small.plan.scenario(), list[str]()
    columns = Columns(scenario.config.nodes, None)

    def tell(event: Happening) -> None:
        lines.extend(columns.lines(event))

    outcome = run_scenario(scenario, SimCluster(scenario.config, scenario.rules, sink=tell))
    return [*lines, f"✗ {outcome.violation}"]


# ---- as a test set -----------------------------------------------------------------------------


def as_case(small: Shrunk) -> CaseSet | str:
    """What the plan asks for and does, as one set; else what a test set cannot say."""
    scenario = small.plan.scenario()
    unsaid = [kind for kind in scenario.kinds if kind in UNSAID]
    if unsaid or len(_modes(small)) > 1:
        return ", ".join(unsaid) or "several ways to fail at once"
    replicas, end = range(1, scenario.config.nodes + 1), small.outcome.at
    asked = [(at, Command(*o.request[2:])) for at, o in load(scenario) if at <= end]
    happens: list[tuple[int, Action]] = [(0, fault) for fault in _lasting_faults(scenario)]
    for strike in small.outcome.done:
        if (said := _between_replicas(strike.fault)) is not None:
            happens.append((strike.at, said))
    steps: list[Step] = []
    now = 0
    for at, action in sorted([*happens, *asked], key=lambda one: one[0]):
        if at - now >= MILLISECOND:
            steps.append(_step(Wait((at - now) // MILLISECOND * MILLISECOND)))
            now = at
        steps.append(_step(action))
    links = frozenset((a, b) for a in replicas for b in replicas if a != b)
    steps.append(_step(Heal(links - scenario.lasting if scenario.lasting else None)))
    down = {a.replica for _, a in happens if isinstance(a, Fail)}
    steps += [_step(Recover(replica)) for replica in sorted(down)]
    first, *others = steps
    return CaseSet(1, frozenset(replicas), (replace(first, together=False), *others), ADDED)


def _modes(small: Shrunk) -> set[str | None]:
    faults = (strike.fault for strike in small.outcome.done)
    return {fault.mode for fault in faults if isinstance(fault, Fail)}


def _step(action: Action) -> Step:
    return Step(ADDED, action_text(action), action, together=True)


def _lasting_faults(scenario: Scenario) -> Iterator[Fault]:
    """What all links do from the start on."""
    rules, replicas = scenario.rules.links, range(1, scenario.config.nodes + 1)
    links = frozenset((a, b) for a in replicas for b in replicas if a != b)
    for kind, rate in (
        ("lose", rules.lose),
        ("duplicate", rules.duplicate),
        ("reorder", 30 if rules.reorder else 0),
    ):
        if rate:
            yield LinkFault(kind, links, rate)
    if rules.most >= MILLISECOND:
        yield LinkFault("delay", links, least=rules.least, most=rules.most)
    for (a, b), slow in scenario.distances.items():
        if a in replicas and b in replicas:
            yield LinkFault("delay", frozenset({(a, b)}), least=slow.least, most=slow.most)


def _between_replicas(fault: Fault) -> Fault | None:
    """The same, without links of clients, which no test set can cut."""
    if isinstance(fault, LinkFault | Heal):
        links = frozenset(link for link in fault.links or () if 0 not in link)
        return replace(fault, links=links) if links else None
    return replace(fault, mode=None) if isinstance(fault, Fail) else fault


def _plain(scenario: Scenario, modes: set[str | None]) -> ClusterConfig:
    """The cluster of the file: what failing means is a matter of the whole of it."""
    (mode,) = modes or {"disconnect"}
    return replace(
        scenario.config, trace_messages=ClusterConfig().trace_messages, failure=mode or ""
    )


def _fails(case: CaseSet, plain: ClusterConfig, seed: int) -> bool:
    """Whether a simulated run of the set, as `--sim` makes it, comes to anything wrong."""
    config = replace(plain, seed=seed)
    cluster = SimCluster(config)
    try:
        cluster.start()
        runner = Runner(cluster, config, CaseFile("", (case,)))
        runner.run_next()
    except AssertionError:  # a Violation, or a replica's own
        return True
    return runner.verdict() is not Verdict.VALID
