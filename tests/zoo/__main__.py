"""Hunt the zoo and write docs/zoo.md: `python -m tests.zoo [--anew]`, from the root of a checkout.

Where the page's seed still finds an animal it stays, and the others are hunted; with `--anew` all.
Each processor hunts one animal at a time. Some animals would take all memory there is.
"""

import resource
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from .hunt import Catch, hunt, page, seeds_in
from .kit import ANIMALS

MEMORY = 2 << 30  # bytes of address space; beyond it there is a MemoryError, which is a violation
PAGE = Path(__file__).parents[2] / "docs" / "zoo.md"


def _limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def _caught(at: int, seed: int | None) -> tuple[int, int, str] | None:
    """Animal by number, seed and violation; None while it is at large."""
    animal = ANIMALS[at]
    catch = None if seed is None else hunt(animal, seed, patience=1)
    catch = catch or hunt(animal)
    if catch is None:
        sys.stderr.write(f"{animal.species}: not caught\n")
        return None
    sys.stderr.write(f"{animal.species}: caught by seed {catch.seed}\n")
    return at, catch.seed, catch.violation


def main() -> int:
    """1 when an animal is still at large; the file is then left as it was."""
    known = {} if "--anew" in sys.argv else seeds_in(PAGE.read_text())
    seeds = [known.get(animal.species) for animal in ANIMALS]
    with ProcessPoolExecutor(initializer=_limited) as pool:
        found = list(pool.map(_caught, range(len(ANIMALS)), seeds))
    if None in found:
        return 1
    PAGE.write_text(page([Catch(ANIMALS[at], seed, text) for at, seed, text in found]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
