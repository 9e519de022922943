"""Walk every schedule within bounds on the real replica: no violation, or a short one.

Breadth first over all states of a small cluster: messages delayed and lost, processes that die
anywhere in a turn and start again, timers that run out at any time. What is bounded is how often
each of these happens; within the bounds nothing is left out but what is printed, so "no violation"
is a proof for them, of a replica that is deterministic and keeps nothing outside its fields. A walk
that ran out of time proves nothing and says so.
"""

import argparse
from dataclasses import fields
from math import prod

from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from harness.cluster import guarded
from harness.cluster.wording import counted
from harness.errors import EXIT_INVALID, EXIT_UNKNOWN, EXIT_VALID, HarnessError
from harness.screen.cells import Line
from harness.sim.explore import Exploration, Explorer
from harness.sim.explore.frozen import Unfit
from harness.sim.explore.graph import NOT_EXPLORED, Bounds, Budget
from harness.sim.explore.reductions import ALL, NONE
from harness.sim.explore.schedule import script

MOST_NODES = 7
MOST_REQUESTS = 9  # clients A, B, …; their transfers go to Z
MOST_WAYS = 2_000  # to spend deaths, losses and so on: each is held against each
EXAMPLES = (
    ("--nodes 3 --requests 1", "every schedule of one request on three replicas"),
    ("--requests 1 --crashes 1 --elected", "with a process that dies anywhere"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `explore`."""
    add = parser.add_argument
    add("--nodes", type=int, default=3, help="replicas [3]")
    add("--requests", type=int, default=2, help="different requests, one client each [2]")
    add("--drops", type=int, default=0, help="messages lost [0]")
    add("--crashes", type=int, default=0, help="processes that die, to start again or not [0]")
    add("--elections", type=int, default=1, help="election timers that run out [1]")
    add("--heartbeats", type=int, default=0, help="heartbeats and repeated questions [0]")
    add("--retries", type=int, default=0, help="requests that arrive once more [0]")
    add("--batches", type=int, default=0, help="messages read in one turn with the next [0]")
    add("--comebacks", type=int, default=1, help="leaders that stand again when outbid [1]")
    add("--checkpoint-interval", type=int, default=1000, help="slots [1000]")
    add("--elected", action="store_true", help="begin with n1 elected and all delivered")
    add("--reorder", action="store_true", help="a link may deliver its messages in any order")
    add("--put-off", action="store_true", help="leaders put off what spare backups get")
    add("--small", action="store_true", help="pieces and kept hashes of one: few slots fill them")
    add(
        "--all",
        action="store_true",
        help="leave out nothing of which nothing comes: more states, and the shortest violation",
    )
    add("--seconds", type=float, default=None, help="stop after so long, with exit code 3")


def run(options: argparse.Namespace, console: Console) -> int:
    """Explore; 0 when all was seen, 1 with a violation, 3 when time ran out."""
    bounds = _bounds(options)
    explorer = Explorer(bounds, reductions=NONE if options.all else ALL)
    columns = (TextColumn("{task.description}"), TimeElapsedColumn())
    silent = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=silent) as progress:
        task = progress.add_task("exploring")

        def show(found: Exploration) -> None:
            progress.update(task, description=_progress(found))

        try:
            with guarded.replicas():
                found = explorer.run(options.seconds, show)
        except Unfit as why:
            raise HarnessError(f"{why}", exit_code=EXIT_INVALID) from why
    if found.violation is not None and found.is_told:
        for line in script(explorer.graph, found.schedule):
            console.print(Text(line), soft_wrap=True)
    verdict, exit_code = _verdict(found)
    console.print(Line(Text(verdict)), soft_wrap=True)
    if found.complete:
        unseen = [*NOT_EXPLORED]
        if found.stopped_comeback:
            most = bounds.budget.comebacks
            leaders = "1 leader that stands" if most == 1 else f"{most} leaders that stand"
            unseen.insert(0, f"more than {leaders} again when outbid (--comebacks)")
        console.print(Line(Text(f"Not explored: {'; '.join(unseen)}.")), soft_wrap=True)
    rate = found.transitions / max(found.seconds, 0.001)
    unlike = f"; no other names, for {found.unlike}" if found.unlike else ""
    if found.heeded:
        unlike += f"; begun again, for {found.heeded} may make a difference to this replica"
    if found.distrusted:
        unlike += f"; begun again, for a violation had no schedule with {found.distrusted}"
    console.print(
        f"reductions: {explorer.reductions}{unlike}; "
        "states are kept whole, so none passed for another",
        highlight=False,
        soft_wrap=True,
    )
    console.print(
        f"{counted(found.states, 'state')} kept, {counted(found.transitions, 'transition')}, "
        f"depth {found.depth}, {counted(found.replica_states, 'state')} of single replicas, "
        f"{found.seconds:.1f} s, {rate:.0f} transitions a second",
        highlight=False,
        soft_wrap=True,
    )
    return exit_code


def _bounds(options: argparse.Namespace) -> Bounds:
    problems = []
    for name, least, most in (
        ("nodes", 1, MOST_NODES),
        ("requests", 0, MOST_REQUESTS),
        ("checkpoint_interval", 1, None),
        *((field.name, 0, None) for field in fields(Budget)),
    ):
        value = getattr(options, name)
        if value < least or (most is not None and value > most):
            upto = "on" if most is None else f"to {most}"
            flag = name.replace("_", "-")
            problems.append(f"--{flag}: {value}: expected a number from {least} {upto}")
    if options.seconds is not None and options.seconds <= 0:
        problems.append(f"--seconds: {options.seconds}: expected a number above 0")
    names = [field.name for field in fields(Budget)]
    ways = prod(getattr(options, name) + 1 for name in names)
    if not problems and ways > MOST_WAYS:
        flags = ", ".join(f"--{name}" for name in names if getattr(options, name) > 0)
        found = ways if ways < 10**9 else "more than a thousand million"
        problems.append(f"{flags}: {found} ways to spend them, expected at most {MOST_WAYS}")
    if problems:
        raise HarnessError(*problems)
    return Bounds(
        options.nodes,
        options.requests,
        Budget(**{name: getattr(options, name) for name in names}),
        options.elected,
        options.reorder,
        options.checkpoint_interval,
        options.put_off,
        options.small,
    )


def _progress(found: Exploration) -> str:
    return f"{found.states} states, {found.waiting} of them waiting, depth {found.depth}"


def _verdict(found: Exploration) -> tuple[str, int]:
    if found.violation is not None and not found.is_told:
        missing = "time ran out before a schedule that leads to it was found"
        return f"✗ violation: {found.violation} ({missing})", EXIT_INVALID
    if found.violation is not None:
        events = counted(len(found.schedule), "event")
        return f"✗ violation after {events}: {found.violation}", EXIT_INVALID
    if found.suspected is not None:
        missing = "time ran out before a schedule was found that leads to what may be a violation"
        return f"? unknown: {missing}: {found.suspected}", EXIT_UNKNOWN
    if not found.complete:
        return f"? unknown: time ran out with {found.waiting} states waiting", EXIT_UNKNOWN
    return "✓ no violation: every schedule within the bounds was seen", EXIT_VALID
