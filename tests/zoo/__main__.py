"""Hunt the zoo and write docs/zoo.md: `python -m tests.zoo [--anew]`, from the root of a checkout.

Where the page's seed still finds an animal it stays, and the others are hunted; with `--anew` all.
"""

import sys
from pathlib import Path

from .hunt import hunt, page, seeds_in
from .kit import ANIMALS

PAGE = Path(__file__).parents[2] / "docs" / "zoo.md"


def main() -> int:
    """1 when an animal is still at large; the file is then left as it was."""
    known = {} if "--anew" in sys.argv else seeds_in(PAGE.read_text())
    catches = []
    for animal in ANIMALS:
        seed = known.get(animal.species)
        catch = None if seed is None else hunt(animal, seed, patience=1)
        catch = catch or hunt(animal)
        if catch is None:
            sys.stderr.write(f"{animal.species}: not caught\n")
            return 1
        catches.append(catch)
        sys.stderr.write(f"{animal.species}: caught by seed {catch.seed}\n")
    PAGE.write_text(page(catches))
    return 0


if __name__ == "__main__":
    sys.exit(main())
