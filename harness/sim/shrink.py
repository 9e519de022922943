"""A failing seed made small, twice: fewer things in its plan, then fewer events in its story.

A plan is a seed with less of what it drew: replicas, kinds of faults, clients, requests, strikes.
Taking one thing away shakes the dice of all that follows, so each smaller plan may roll them a few
times; it counts when it fails in the same way. What is left is recorded as commands, and of those
everything is left out without which the replicas still fail in that way ("Simplifying and
Isolating Failure-Inducing Input", Zeller and Hildebrandt, 2002).
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TypeVar

from bank.ballot import replica_name
from bank.settings import MILLISECOND, Sizes
from harness.files.config import NODES, ClusterConfig
from harness.sim.invariants import Violation
from harness.sim.record import Recorded
from harness.sim.scenario import Scenario, SwarmOptions, draw
from harness.sim.script import RULE, ScriptError
from harness.sim.script_runner import NOTHING, READ_ON, ScriptRunner, started
from harness.sim.swarm import Outcome, run_scenario
from harness.sim.world import SimCluster

# What a shrunk failure may cost, counted and not timed, so that it comes out the same everywhere.
MOST_EVENTS = 2_000_000  # of plans that are run
MOST_COMMANDS = 500_000  # of stories that are played
SETTLED = 2_000  # commands that a `settle` is worth
ROLLS = 3  # of the dice, for each plan
APART = 1_000_000  # between the seeds of two rolls
FEW = (1, 2, 3, 5, 10)  # accounts that are tried
SHORTEST = 20 * MILLISECOND  # of the faulty phase

Item = TypeVar("Item")
World = TypeVar("World", bound=SimCluster)


def kind_of(violation: str) -> str:
    """What was violated, without who, where and which values."""
    plain = re.sub(r"'[^']*'|\([^)]*\)|\b\w*\d\w*\b", "", violation.replace("'s ", " "))
    return " ".join(re.findall(r"[a-z_]{3,}", plain)[:4])


class Watch:
    """Who looks at a search, and may end it: what is smallest by then is its result."""

    def is_stopped(self) -> bool:
        """Nothing smaller is wanted."""
        return False

    def show(self, left: str) -> None:
        """What is left by now, in words."""


# ---- plans -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Plan:
    """A seed, and how much of what it draws is left. None: all."""

    seed: int
    options: SwarmOptions
    accounts: int | None = None
    operations: int | None = None
    phase: int | None = None  # microseconds of faults
    strikes: tuple[int, ...] | None = None
    whole: bool = False  # all goes in pieces of the usual sizes
    small: bool = False  # no amount is large
    roll: int = 0  # of the dice

    def scenario(self) -> Scenario:
        """What is run."""
        scenario = draw(self.seed, self.options)
        config = replace(scenario.config, seed=self.seed + self.roll * APART)
        if self.accounts is not None:
            config = replace(config, accounts=config.accounts[: self.accounts])
        if self.small:
            scenario = replace(scenario, unit=1)
            config = replace(config, initial_balance=ClusterConfig().initial_balance)
        phase = min(scenario.fault_phase, self.phase or scenario.fault_phase)
        asked = scenario.operations if self.operations is None else self.operations
        if self.whole:
            scenario = replace(scenario, rules=replace(scenario.rules, sizes=Sizes()))
        return replace(
            scenario,
            config=config,
            operations=min(scenario.operations, asked),
            fault_phase=phase,
            bursts=tuple(burst for burst in scenario.bursts if burst < phase),
            strikes=None if self.strikes is None else frozenset(self.strikes),
        )


def run_plan(plan: Plan, kind: type[World]) -> tuple[Outcome, World]:
    """Run a plan to its verdict, in a world of this kind: one that records it, or not."""
    scenario = plan.scenario()
    world = kind(scenario.config, scenario.rules)
    return run_scenario(scenario, world), world


def _smaller_plans(plan: Plan, scenario: Scenario) -> Iterator[Plan]:
    """Plans with one thing less, the greatest first."""
    for nodes in NODES:
        if nodes < scenario.config.nodes:
            yield replace(plan, options=replace(plan.options, nodes=(nodes,)))
    if not plan.whole:
        yield replace(plan, whole=True)
    if scenario.unit > 1:
        yield replace(plan, small=True)
    fewer = [tuple(one for one in scenario.kinds if one != kind) for kind in scenario.kinds]
    for faults in ((), *fewer):
        if len(faults) < len(scenario.kinds):
            yield replace(plan, options=replace(plan.options, faults=faults))
    for accounts in FEW:
        if accounts < len(scenario.config.accounts):
            yield replace(plan, accounts=accounts)
    for operations in (
        1,
        2,
        scenario.operations // 4,
        scenario.operations // 2,
        scenario.operations - 1,
    ):
        if 0 < operations < scenario.operations:
            yield replace(plan, operations=operations)
    for share in (2, 3):
        if (phase := scenario.fault_phase * (share - 1) // share) > SHORTEST:
            yield replace(plan, phase=phase)


class _Plans:
    """The search for the smallest plan that fails in the same way."""

    def __init__(self, kind: str, watch: Watch) -> None:
        self._kind, self._watch = kind, watch
        self._left = ""  # by now, in words
        self._events = 0

    def _fails(self, plan: Plan) -> tuple[Plan, Outcome] | None:
        for roll in dict.fromkeys((plan.roll, *range(ROLLS))):
            if self._events >= MOST_EVENTS or self._watch.is_stopped():
                return None
            share = min(99, 100 * self._events // MOST_EVENTS)
            self._watch.show(f"{self._left}, {share} % of the effort for that")
            rolled = replace(plan, roll=roll)
            outcome, _ = run_plan(rolled, SimCluster)
            self._events += outcome.events
            if outcome.violation is not None and kind_of(outcome.violation) == self._kind:
                return rolled, outcome
        return None

    def smallest(self, plan: Plan) -> Plan:
        """Take away one thing after the other until none can go."""
        found: tuple[Plan, Outcome] | None = (plan, run_plan(plan, SimCluster)[0])
        while found is not None:
            plan, outcome = found
            scenario = plan.scenario()
            self._left = described(scenario, outcome)
            found = next(filter(None, map(self._fails, _smaller_plans(plan, scenario))), None)
        strikes = tuple(sorted({strike.number for strike in outcome.done} - {0}))
        rolls: dict[tuple[int, ...], Plan] = {strikes: plan}

        def fails(left: Sequence[int]) -> Sequence[int] | None:
            found = self._fails(replace(plan, strikes=tuple(left)))
            if found is None:
                return None
            rolls[tuple(left)] = found[0]
            self._left = described(found[0].scenario(), found[1])
            return left

        return rolls[tuple(reduced(strikes, fails))]


def described(scenario: Scenario, outcome: Outcome) -> str:
    """ "3 replicas, 2 clients, 1 request, large amounts, faults kill, 2 strikes"."""
    struck = sum(strike.number > 0 for strike in outcome.done)
    amounts = "large amounts, " if scenario.unit > 1 else ""
    return (
        f"{scenario.config.nodes} replicas, {len(scenario.config.accounts)} clients, "
        f"{scenario.operations} requests, {amounts}faults {', '.join(scenario.kinds) or 'none'}, "
        f"{struck} strikes"
    )


# ---- stories -----------------------------------------------------------------------------------


def reduced(
    items: Sequence[Item], fails: Callable[[Sequence[Item]], Sequence[Item] | None]
) -> Sequence[Item]:
    """`items` without all that can be left out, in pieces of half of them down to single ones.

    `fails` gives what is left of the items that it was given, or None when they do not fail.
    """
    size = max(1, len(items) // 2)
    while items:
        before, at = len(items), 0
        while at < len(items):
            left = fails([*items[:at], *items[at + size :]])
            if left is None:
                at += size
            else:
                items = left
        if size == 1 and len(items) == before:
            break
        size = max(1, min(size // 2, len(items)))
    return items


@dataclass(frozen=True, slots=True)
class Story:
    """Commands that lead to a violation, for so many replicas."""

    head: str  # "nodes 3 checkpoint 4"
    commands: tuple[str, ...]
    violation: str  # "" when there is none


def _perform(head: str, commands: Iterable[str]) -> tuple[list[str], str | None]:
    """Commands up to a violation, and it; what cannot be done is left out, as if not said."""
    runner = started(head)
    runner.is_silent = True
    done: list[str] = []
    for wanted in commands:
        try:
            if (command := _obey(runner, wanted)) is not None:
                done.append(command)
        except Violation as violation:
            return [*done, runner.told], str(violation)
        runner.lines.clear()
    return done, None


def _obey(runner: ScriptRunner, wanted: str) -> str | None:
    """What was done for a command: itself, or its like; None when nobody is left who would."""
    for command in (wanted, runner.alike(wanted)):
        try:
            if command is not None:
                runner.command(command)
        except Violation:
            raise
        except (ScriptError, AssertionError):
            continue  # nothing waits there, or nothing is due
        return command
    return None


def _confirmed(head: str, commands: Sequence[str]) -> tuple[list[str], str | None]:
    """`_perform`, done once more when it left out something that was perhaps half done."""
    done, violation = _perform(head, commands)
    if violation is not None and len(done) < len(commands):
        again, violation = _perform(head, done)
        return done, violation if again == done else None
    return done, violation


class _Stories:
    """The search for the shortest story that ends with a violation of one kind."""

    def __init__(self, kind: str, watch: Watch) -> None:
        self._kind, self._watch = kind, watch
        self._commands = 0

    def ends(self, head: str, commands: Sequence[str]) -> Sequence[str] | None:
        """Those that were done, when they end as wanted."""
        if self._commands >= MOST_COMMANDS or self._watch.is_stopped():
            return None
        share = min(99, 100 * self._commands // MOST_COMMANDS)
        self._watch.show(f"a story of {len(commands)} commands, {share} % of the effort for that")
        done, violation = _confirmed(head, commands)
        self._commands += len(commands) + SETTLED * sum("settle" in command for command in commands)
        return done if violation is not None and kind_of(violation) == self._kind else None

    def shortest(self, head: str, commands: Sequence[str]) -> Sequence[str]:
        """`commands`, which end as wanted, without all that can be left out."""
        return reduced(commands, lambda left: self.ends(head, left))


def _tellings(scenario: Scenario, world: Recorded) -> Iterator[list[str]]:
    """Ways to tell what was recorded."""
    yield world.commands()
    # Of what waits when the faults stop, whatever did not arrive by then never will.
    whole = [replica_name(r) for r in world.processes if r not in scenario.outsiders]
    cuts = [f"cut n{a}->n{b}" for a, b in sorted(scenario.lasting) if scenario.is_able]
    if whole:
        yield [*world.until_healed(), "drop all", *cuts, f"settle {' '.join(whole)}"]


def _without_clock(command: str) -> str:
    """The same, whatever the clock shows."""
    return re.sub(r" @[\d.]+ms$", "", command).replace("tick ", "expire ")


def _shortest(scenario: Scenario, world: Recorded, kind: str, watch: Watch) -> Story | None:
    """The shortest story, of the same kind if there is one, and the plainest way to tell it."""
    head = world.head()
    told = [_confirmed(head, commands) for commands in _tellings(scenario, world)]
    found = [(commands, violation) for commands, violation in told if violation is not None]
    if not found:
        return None
    found.sort(key=lambda one: kind_of(one[1]) != kind)
    commands, violation = found[0]
    search = _Stories(kind_of(violation), watch)
    best = search.shortest(head, commands)
    nodes, interval = scenario.config.nodes, scenario.config.checkpoint_interval
    for plain in (f"nodes {nodes}", f"nodes {nodes} checkpoint {interval}"):
        clockless = search.ends(plain, list(map(_without_clock, best)))
        if clockless is not None:
            head, best = plain, search.shortest(plain, clockless)
            alone = search.ends(head, [command.removesuffix(READ_ON) for command in best])
            best = best if alone is None else search.shortest(head, alone)
            break
    for replica in range(1, nodes + 1):  # most begin with somebody's election
        elected = search.ends(head, [f"elect {replica_name(replica)}", *best])
        if elected is not None and len(again := search.shortest(head, elected)) < len(best):
            best = again
    _, end = _perform(head, best)
    assert end is not None
    return Story(head, tuple(best), end)


# ---- both --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shrunk:
    """A failure made small."""

    plan: Plan
    outcome: Outcome
    recorded: int  # commands of the plan's run
    story: Story | None  # None: the runner does not get there


def shrink(seed: int, options: SwarmOptions, violation: str, watch: Watch | None = None) -> Shrunk:
    """Make this seed's failure small, as small as it is when `watch` ends that."""
    kind, watch = kind_of(violation), watch or Watch()
    plan = _Plans(kind, watch).smallest(Plan(seed, options))
    outcome, world = run_plan(plan, Recorded)
    story = _shortest(plan.scenario(), world, kind, watch)
    return Shrunk(plan, outcome, len(world.commands()), story)


def script_text(story: Story, told_by: str) -> str:
    """The story as a script: each command with what it led to, the violation at the end."""
    runner = started(story.head)
    blocks: list[str] = []
    said = filter(None, (" ".join(story.violation.split()), told_by))
    commands = [*(f"# {text}" for text in said), story.head]
    for command in story.commands:
        commands.append(command)
        end: Iterable[str] = ()
        try:
            runner.command(command)
        except Violation as error:
            end = [f"✗ {error}"]
        if lines := [*runner.lines, *end]:
            blocks.append("\n".join(chain(commands, [RULE], lines)))
            commands = []
            runner.lines.clear()
    if commands:
        blocks.append("\n".join((*commands, RULE, NOTHING)))
    return "\n\n".join(blocks) + "\n"
