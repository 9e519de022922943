"""Looking for what is wrong with an animal, and writing down how long that took."""

from dataclasses import dataclass
from statistics import median

from harness.sim.scenario import KINDS, SwarmOptions
from harness.sim.swarm import run_seed

from .kit import ANIMALS, Animal
from .processes import PROCESSES

PATIENCE = 6_000  # seeds; an animal that lives longer is one that nothing catches
WIDEST = 120  # characters of a violation that the table shows
HEAD = """# The zoo

Replicas that are broken on purpose, each in one way and by a few lines over the real one
(`tests/zoo/`). A check that never failed has shown nothing; each of these makes one fail.

All are caught by the campaign of `python run.py simulate`, from seed 0 on; a seed counts only when
the sound replica passes it. *Seeds* are how many that took when it was hunted last, the one that
finds it included; faults or numbers of replicas in brackets are all that they may draw from.

This file is written by `python -m tests.zoo`, from the root of a checkout. `tests/test_zoo.py` runs
the seeds that it names, also with the sound replica, which passes them all.
"""
BROKEN = """
## Broken processes and files

The simulator has a process and a disk of its own, so mistakes in the real ones are not found by it.
Each of these fails the check that it names, in `tests/live_checks.py`, on a real worker and a real
file; `tests/test_live_checks.py` runs them, and the sound ones pass all.
"""


@dataclass(frozen=True, slots=True)
class Catch:
    """One animal, caught."""

    animal: Animal
    seed: int
    violation: str


def hunt(animal: Animal, first_seed: int = 0, patience: int = PATIENCE) -> Catch | None:
    """Run seeds in their order until one fails; None when none does.

    Only what the sound replica passes has found anything.
    """
    for seed in range(first_seed, first_seed + patience):
        violation = animal.run(seed)
        if violation is not None and run_seed(seed, animal.options).violation is None:
            return Catch(animal, seed, violation)
    return None


def page(catches: list[Catch]) -> str:
    """docs/zoo.md."""
    needed = [catch.seed + 1 for catch in catches]
    lines = [
        HEAD,
        f"{len(catches)} animals: median {median(needed):g} seeds, worst {max(needed)}.\n",
        "| animal | what is wrong | where it comes from | seeds | what was violated |",
        "|---|---|---|---|---|",
    ]
    for catch in catches:
        found = catch.animal
        seeds = f"{catch.seed + 1}{_limits(found.options)}"
        cells = (found.species, found.wrong, found.comes_from, seeds, _short(catch.violation))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    lines += [
        BROKEN,
        "| broken | what is wrong | where it comes from | check |",
        "|---|---|---|---|",
    ]
    for one in PROCESSES:
        cells = (one.name, one.wrong, one.comes_from, one.check.replace("_", " "))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def _limits(options: SwarmOptions) -> str:
    limits = []
    if options.nodes != SwarmOptions().nodes:
        limits.append("replicas " + ", ".join(map(str, options.nodes)))
    if options.faults != KINDS:
        limits.append(", ".join(options.faults))
    return f" ({'; '.join(limits)})" if limits else ""


def _short(violation: str) -> str:
    text = " ".join(violation.split())
    return text if len(text) <= WIDEST else text[: WIDEST - 1].rstrip() + "…"


def seeds_in(text: str) -> dict[str, int]:
    """The seed that finds each animal, read from docs/zoo.md."""
    known = {animal.species for animal in ANIMALS}
    rows = [[cell.strip() for cell in line.split(" | ")] for line in text.splitlines()]
    cells = {row[0].removeprefix("| "): row[3] for row in rows if len(row) >= 5}
    return {name: int(cell.split()[0]) - 1 for name, cell in cells.items() if name in known}
