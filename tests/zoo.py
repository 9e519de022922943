"""Hunt mutants with the swarm and write docs/zoo.md: `python -m tests.zoo [--anew]`.

Run it from the root of a checkout. Where the page's seed still finds a mutant it stays, and the
others are hunted; with `--anew` all; with `--stdio` it is `zoo_outside`'s hunt. Each processor
hunts one at a time. A check that never failed
has shown nothing: every one of these is a mistake that implementations of replicated logs make.
"""

import resource
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import NamedTuple

sys.path[:0] = [str(Path(__file__).parent)]  # as `python -m` it has only the root

import catalogue  # noqa: E402
from catalogue import Mutant  # noqa: E402

from harness.sim.scenario import SwarmOptions  # noqa: E402
from harness.sim.swarm import run_seed  # noqa: E402

MEMORY = 2 << 30  # bytes of address space; beyond it there is a MemoryError, which is a violation
PAGE = Path(__file__).parents[1] / "docs" / "zoo.md"
PATIENCE = 6_000  # seeds; a mutant that lives longer is one that nothing catches
WIDEST = 120  # characters of a violation that the table shows
ANIMALS = [one for one in catalogue.read() if one.caught_by("swarm")]
PROCESSES = [one for one in catalogue.read() if one.caught_by("live")]
HEAD = """# The zoo

Replicas that are broken on purpose, each in one way: those mutants of the catalogue
(`tests/catalogue/`) that the swarm or a check on real processes has to find. A check that never
failed has shown nothing; each of these makes one fail.

All are caught by the campaign of `python run.py simulate`, from seed 0 on; a seed counts only when
the sound replica passes it. *Seeds* are how many that took when it was hunted last, the one that
finds it included; numbers of replicas in brackets are all that they may draw from.

This file is written by `python -m tests.zoo`, from the root of a checkout. `tests/test_zoo.py` runs
the seeds that it names, also with the sound replica, which passes them all.
"""
BROKEN = """
## Broken processes and files

The simulator has a process and a disk of its own, so mistakes in the real ones are not found by it.
Each of these fails the check that it names, in `tests/live_checks.py`, on a real worker and a real
file; `tests/test_live_checks.py` runs them, and the sound ones pass all.
"""


class Catch(NamedTuple):
    """One mutant, caught."""

    animal: Mutant
    seed: int
    violation: str


def options_of(animal: Mutant) -> SwarmOptions:
    """What the swarm may draw from to find it."""
    (words,) = animal.caught_by("swarm")
    return SwarmOptions(tuple(map(int, words.split(",")))) if words else SwarmOptions()


def run(animal: Mutant, seed: int) -> str | None:
    """What this seed violates with the mutant; None when it passes."""
    with animal.at_work():
        return run_seed(seed, options_of(animal)).violation


def hunt(animal: Mutant, first_seed: int = 0, patience: int = PATIENCE) -> Catch | None:
    """Run seeds in their order until one fails; None when none does.

    Only what the sound replica passes has found anything.
    """
    for seed in range(first_seed, first_seed + patience):
        violation = run(animal, seed)
        if violation is not None and run_seed(seed, options_of(animal)).violation is None:
            return Catch(animal, seed, violation)
    return None


def page(catches: list[Catch]) -> str:
    """docs/zoo.md."""
    needed = [catch.seed + 1 for catch in catches]
    lines = [
        HEAD,
        f"{len(catches)} mutants: median {median(needed):g} seeds, worst {max(needed)}.\n",
        "| what is wrong | where it comes from | seeds | what was violated |",
        "|---|---|---|---|",
    ]
    for animal, seed, violation in catches:
        (nodes,) = animal.caught_by("swarm")
        seeds = f"{seed + 1} (replicas {nodes})" if nodes else str(seed + 1)
        lines.append(row(animal.wrong, animal.origin, seeds, short(violation)))
    lines += [BROKEN, "| what is wrong | where it comes from | check |", "|---|---|---|"]
    for one in PROCESSES:
        checks = ", ".join(check.replace("_", " ") for check in one.caught_by("live"))
        lines.append(row(one.wrong, one.origin, checks))
    return "\n".join([*lines, ""])


def row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def short(violation: str) -> str:
    text = " ".join(violation.split())
    return text if len(text) <= WIDEST else text[: WIDEST - 1].rstrip() + "…"


def listed(text: str) -> list[str]:
    """What docs/zoo.md says is wrong, row by row."""
    rows = [line[2:].split(" | ")[0] for line in text.splitlines() if line.startswith("| ")]
    return [row for row in rows if row != "what is wrong"]


def seeds_in(text: str) -> dict[str, int]:
    """The seed that finds each, read from docs/zoo.md."""
    rows = [line[2:].split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {row[0]: int(row[2].split()[0]) - 1 for row in rows if row[2][:1].isdigit()}


def _limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def _caught(at: int, seed: int | None) -> tuple[int, int, str] | None:
    """The mutant by number, seed and violation; None while it is at large."""
    animal = ANIMALS[at]
    catch = None if seed is None else hunt(animal, seed, patience=1)
    catch = catch or hunt(animal)
    if catch is None:
        sys.stderr.write(f"{animal.wrong}: not caught\n")
        return None
    sys.stderr.write(f"{animal.wrong}: caught by seed {catch.seed}\n")
    return at, catch.seed, catch.violation


def main() -> int:
    """1 when one is still at large; the file is then left as it was."""
    if "--stdio" in sys.argv:
        from zoo_outside import main

        return main([word for word in sys.argv[1:] if word != "--stdio"])
    known = {} if "--anew" in sys.argv else seeds_in(PAGE.read_text())
    seeds = [known.get(animal.wrong) for animal in ANIMALS]
    with ProcessPoolExecutor(initializer=_limited) as pool:
        found = list(pool.map(_caught, range(len(ANIMALS)), seeds))
    caught = [Catch(ANIMALS[one[0]], *one[1:]) for one in found if one is not None]
    if len(caught) < len(ANIMALS):
        return 1
    PAGE.write_text(page(caught))
    return 0


if __name__ == "__main__":
    sys.exit(main())
