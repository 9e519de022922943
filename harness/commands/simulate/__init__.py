"""Run the protocol in a simulated world under faults, thousands of seeds, and judge every event.

Each seed draws its own cluster, load and mix of faults; the same seed gives the same run, byte for
byte. A seed that fails is printed with what was violated and the command that repeats it; it can
be made small, and is then a script of a few events.
"""

import argparse
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from itertools import islice
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from harness.cluster import guarded
from harness.commands.simulate import executors, shrunk, viewer
from harness.errors import (
    EXIT_INVALID,
    EXIT_MACHINE,
    EXIT_UNKNOWN,
    EXIT_VALID,
    HarnessError,
    nearest,
    refuse_ignored,
)
from harness.files import outputs
from harness.files.config import NODES
from harness.files.text_file import shown
from harness.screen import step_through
from harness.screen.cells import Line
from harness.sim import coverage
from harness.sim.columns import LEGEND, Columns, Happening
from harness.sim.scenario import KINDS, SwarmOptions, draw
from harness.sim.swarm import Tally, run_seed, run_seeds

MOST_JOBS = 1_000
CHUNK = 10  # seeds that a worker takes at a time
QUIET_SECONDS = 300.0  # without a result, after which nobody is there any more
LATE_SECONDS = 20.0  # that chunks may still take once --seconds are over
MOST_SEEDS = 10**12
MOST_VIOLATIONS = 10  # shown in full; more are counted
TRACE_FORMATS = ("text", "perfetto")
TO_THE_END = dict.fromkeys(("trace", "shrink"), "it runs to its end")
OF_MANY = dict.fromkeys(("jobs", "executor", "seconds"), "")  # seeds, of which no event is shown
ANYWAY = {"jobs": 1, "executor": executors.PROCESSES}
EXAMPLES = (
    ("--seeds 0:1000", "a thousand seeds, each with its own faults"),
    ("--seeds 1629 --trace", "every event of one seed"),
    ("--seeds 1629 --trace --trace-format perfetto > seed.json", "the same for a viewer"),
    ("--seeds 1629 --step", "event by event, forward and back"),
    ("--seeds 1629 --shrink small", "a failing seed as a short script in the folder small"),
    ("--faults kill,loss --jobs 2", "some kinds of faults only, in two processes"),
    ("--seeds 0:100000 --executor dask://HOST:8786", "on a cluster, with the same results"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `simulate`."""
    add = parser.add_argument
    add("--seeds", "--seed", default="0:1000", metavar="A:B",
        help="from A up to B, or one seed [0:1000]")  # fmt: skip
    add("--jobs", type=int, default=1, help="processes to run seeds in [1]")
    add("--executor", default=executors.PROCESSES, metavar="WHERE",
        help="where seeds run: processes, as many as --jobs says, or dask://HOST:PORT, a dask "
        "scheduler whose workers have paxbank installed [processes]")  # fmt: skip
    add("--nodes", default="3,5,7", help="numbers of replicas to draw from [3,5,7]")
    add("--faults", default="all", help=f"kinds to draw from: {', '.join(KINDS)}; none; [all]")
    add("--seconds", type=float, default=None, help="start no more seeds after so long")
    add("--shrink", metavar="DIR", type=Path,
        help="make the first failure of each kind small and write it into DIR: as a script, and as "
        "a test set where one can say it")  # fmt: skip
    add("--step", action="store_true", help="go through one seed event by event, and back")
    add("--trace", action="store_true", help="print every event of each seed, one line each")
    add("--trace-format", metavar="|".join(TRACE_FORMATS), default=TRACE_FORMATS[0],
        help="of --trace: lines of text [text], or of one seed a file for Perfetto")  # fmt: skip


def run(options: argparse.Namespace, console: Console) -> int:
    """Run a campaign; 1 when any seed failed."""
    seeds = _seeds(options.seeds)
    allowed = SwarmOptions(_nodes(options.nodes), _faults(options.faults))
    if not 1 <= options.jobs <= MOST_JOBS:
        raise HarnessError(f"--jobs: {options.jobs}: expected a number from 1 to {MOST_JOBS}")
    if options.seconds is not None and not options.seconds > 0:
        raise HarnessError(f"--seconds: {options.seconds:g}: expected a number above 0")
    executors.check(options.executor)
    _check_used(options)
    _check_trace_format(options, seeds)
    if options.step:
        return _step(seeds, allowed, options, console)
    outputs.check_folder("--shrink", options.shrink)
    if options.trace:
        with guarded.replicas():
            if options.trace_format == "perfetto":
                return viewer.write(seeds.start, allowed, console)
            return _trace(seeds, allowed, console)
    until = None if options.seconds is None else time.monotonic() + options.seconds
    started = time.monotonic()
    console.print(
        f"simulate: seeds {seeds.start}:{seeds.stop}, "
        f"replicas {','.join(map(str, allowed.nodes))}, faults {options.faults}"
    )
    tally, trouble = Tally(), None
    columns = (BarColumn(), TextColumn("{task.completed}/{task.total} seeds"), TimeElapsedColumn())
    rates = TextColumn("{task.fields[rate]}")
    try:
        with (
            executors.opened(options.executor, options.jobs) as (pool, room),
            Progress(*columns, rates, console=console, transient=True) as progress,
        ):
            task = progress.add_task("seeds", total=len(seeds), rate="")
            for part in _parts(seeds, allowed, pool, room, until):
                tally.merge(part)
                rate = tally.seeds / (time.monotonic() - started)
                wrong = f", {len(tally.violations)} violations" if tally.violations else ""
                progress.update(task, completed=tally.seeds, rate=f"{rate:.0f}/s{wrong}")
    except HarnessError as error:
        if not tally.seeds:
            raise
        trouble = error
    _print_result(tally, len(seeds), allowed, time.monotonic() - started, console)
    code = EXIT_INVALID if tally.violations else EXIT_VALID if tally.seeds else EXIT_UNKNOWN
    try:
        if options.shrink is not None and tally.violations:
            with guarded.replicas():
                shrunk.write(tally.violations, allowed, options.shrink, console)
    except HarnessError as error:
        trouble = trouble or error
    if trouble is not None:
        raise trouble.beside(code)
    return code


def _step(
    seeds: range, allowed: SwarmOptions, options: argparse.Namespace, console: Console
) -> int:
    """One seed, event by event."""
    if len(seeds) > 1:
        raise HarnessError(f"--step: found {len(seeds):,} seeds, expected one: --seeds 7 --step")
    return step_through.seed(
        console, seeds.start, allowed, shrunk.command(seeds.start, allowed, "--step")
    )


# ---- arguments ---------------------------------------------------------------------------------


def _seeds(text: str) -> range:
    first, colon, last = text.partition(":")
    try:
        seeds = range(int(first), int(last) if colon else int(first) + 1)
    except ValueError:
        seeds = range(0)
    if not 0 <= seeds.start < seeds.stop <= MOST_SEEDS:
        expected = f"A:B with 0 ≤ A < B ≤ {MOST_SEEDS}, or one number"
        raise HarnessError(f"--seeds: {shown(text)!r}: expected {expected}")
    return seeds


def _nodes(text: str) -> tuple[int, ...]:
    known = [str(number) for number in NODES]
    words = text.split(",")
    for word in words:
        if word not in known:
            raise HarnessError(f"--nodes: {word!r}: expected some of {', '.join(known)}")
    return tuple(map(int, words))


def _faults(text: str) -> tuple[str, ...]:
    if text in ("all", "none"):
        return KINDS if text == "all" else ()
    words = text.split(",")
    for word in words:
        if word not in KINDS:
            hint = nearest(word, list(KINDS))
            raise HarnessError(f"--faults: {word!r}: expected some of {', '.join(KINDS)}{hint}")
    return tuple(kind for kind in KINDS if kind in words)


def _check_used(options: argparse.Namespace) -> None:
    """HarnessError for what is given and would be ignored."""
    if options.step:
        refuse_ignored("--step", vars(options), {**TO_THE_END, **OF_MANY}, ANYWAY)
    if options.trace:
        no_shrink = {"shrink": "--trace makes nothing small"}
        refuse_ignored("--trace", vars(options), {**no_shrink, **OF_MANY}, ANYWAY)
    if options.executor != executors.PROCESSES:
        refuse_ignored("--executor", vars(options), {"jobs": ""}, ANYWAY)


def _check_trace_format(options: argparse.Namespace, seeds: range) -> None:
    word = options.trace_format
    if word not in TRACE_FORMATS:
        expected, hint = " or ".join(TRACE_FORMATS), nearest(word, list(TRACE_FORMATS))
        raise HarnessError(f"--trace-format: {word!r}: expected {expected}{hint}")
    if word == "perfetto" and not options.trace:
        raise HarnessError("--trace-format: belongs to --trace, expected --trace beside it")
    if word == "perfetto" and len(seeds) > 1:
        one = f"--seeds {seeds.start}"
        raise HarnessError(
            f"--trace-format: found {len(seeds)} seeds, expected one, as {one}: a document is a run"
        )


# ---- running -----------------------------------------------------------------------------------


def _trace(seeds: range, allowed: SwarmOptions, console: Console) -> int:
    """Each seed's events in columns: cut at the edge of a terminal, never in a pipe."""
    failed = False
    width = console.width if console.is_terminal else None

    def show(line: str) -> None:
        console.print(Text(line), soft_wrap=True)

    for line in LEGEND:
        show(line)
    for seed in seeds:
        scenario = draw(seed, allowed)
        columns = Columns(scenario.config.nodes, width)
        nodes, faults = scenario.config.nodes, ", ".join(scenario.kinds) or "none"
        show(f"\nseed {seed}: {nodes} replicas, faults {faults}")

        def tell(event: Happening, columns: Columns = columns) -> None:
            for line in columns.lines(event):
                show(line)

        outcome = run_seed(seed, allowed, sink=tell)
        failed |= outcome.violation is not None
        show(f"seed {seed}: {outcome.events} events, {outcome.violation or 'no violation'}")
    return EXIT_INVALID if failed else EXIT_VALID


def _parts(
    seeds: range, allowed: SwarmOptions, pool: Executor | None, room: int, until: float | None
) -> Iterator[Tally]:
    """Tallies of chunks as they come; no chunk begins after `until`.

    `pool` does `room` of them at once, and any executor will do; None: they are run here. A worker
    that died may never be missed by its executor: HarnessError when nothing comes any more.
    """
    chunks = (seeds[at : at + CHUNK] for at in range(0, len(seeds), CHUNK))

    def is_over() -> bool:
        return until is not None and time.monotonic() >= until

    if pool is None:
        for chunk in chunks:
            if is_over():
                return
            yield run_seeds(chunk, allowed)
        return
    running: set[Future[Tally]] = set()
    while True:
        free = 0 if is_over() else 2 * room - len(running)
        running |= {_submitted(pool, chunk, allowed) for chunk in islice(chunks, free)}
        if not running:
            return
        patience = QUIET_SECONDS
        if until is not None:
            patience = min(patience, max(0.0, until - time.monotonic()) + LATE_SECONDS)
        done, running = wait(running, patience, return_when=FIRST_COMPLETED)
        if not done:
            seconds = f"no worker gave a result within {patience:.0f} s"
            raise HarnessError(f"--executor: {seconds}, expected some", exit_code=EXIT_MACHINE)
        failed = None
        for future in done:  # what is known comes first
            try:
                yield _result(future)
            except HarnessError as error:
                failed = error
        if failed is not None:
            raise failed


def _submitted(pool: Executor, chunk: range, allowed: SwarmOptions) -> Future[Tally]:
    """A call of `run_seeds`; one that an executor does not even take has failed like any other."""
    try:
        return pool.submit(run_seeds, chunk, allowed)
    except Exception as error:
        refused: Future[Tally] = Future()
        refused.set_exception(error)
        return refused


def _result(future: Future[Tally]) -> Tally:
    """What a worker found. A seed raises for a machine that fails; the rest is the worker's."""
    try:
        return future.result()
    except (KeyboardInterrupt, HarnessError):
        raise
    except BaseException as error:  # asyncio's CancelledError, of a scheduler that died, is one
        raise HarnessError(
            f"--executor: a worker failed, expected one that lives and has this paxbank installed: "
            f"{type(error).__name__}: {error}",
            exit_code=EXIT_MACHINE,
        ) from error


# ---- showing -----------------------------------------------------------------------------------


def _print_result(
    tally: Tally, wanted: int, allowed: SwarmOptions, seconds: float, console: Console
) -> None:
    console.print(_table(tally))
    longest, seed = tally.longest_recovery
    console.print(f"longest recovery: {longest / 1000:.0f} ms after the faults, seed {seed}")
    console.print(
        f"{_seeds_run(tally.seeds, wanted)}, {tally.events} events in {seconds:.1f} s: "
        f"{tally.seeds / seconds:.1f} seeds/s, {tally.events / seconds:.0f} events/s"
    )
    for seed, violation in tally.violations[:MOST_VIOLATIONS]:
        console.print(Line(Text(f"✗ seed {seed}: {violation}")), soft_wrap=True)
        console.print(Text(f"  repeat with: {shrunk.command(seed, allowed)}"), soft_wrap=True)
    if (more := len(tally.violations) - MOST_VIOLATIONS) > 0:
        console.print(f"… and {more} more seeds that failed")
    console.print(f"violations: {len(tally.violations)}")


def _seeds_run(seeds: int, wanted: int) -> str:
    return f"{seeds} seeds" if seeds == wanted else f"{seeds} of {wanted} seeds"


def _table(tally: Tally) -> Table:
    table = Table("", "reached", "times", box=SIMPLE_HEAD, title="coverage", title_justify="left")
    before = ""
    for group, what, count in coverage.rows(tally.coverage):
        number = Text(f"{count:,}" if count else "never", style="" if count else "bold red")
        number.justify = "right"
        table.add_row(Text(group if group != before else ""), Text(what), number)
        before = group
    return table
