"""Every broken replica is caught where docs/zoo.md says, and the sound one passes the same.

Slow but for some that are found at once; what is broken in processes is `test_live_checks.py`'s.
"""

from pathlib import Path

import pytest
from zoo import ANIMALS, Animal, hunt, seeds_in
from zoo.processes import PROCESSES

from harness.sim.swarm import run_seed

PAGE = (Path(__file__).parents[1] / "docs" / "zoo.md").read_text()
SEEDS = seeds_in(PAGE)
SPECIES = [pytest.param(animal, id=animal.species) for animal in ANIMALS]
STALE = "run `python -m tests.zoo`: docs/zoo.md is not of this code"


@pytest.mark.slow
@pytest.mark.parametrize("animal", SPECIES)
def test_animal_is_caught(animal: Animal):
    assert animal.species in SEEDS, STALE
    seed = SEEDS[animal.species]
    catch = hunt(animal, seed, patience=1)
    assert catch is not None, f"{animal.species} is not caught by seed {seed}; {STALE}"


QUICK = ("PromiseNotStored", "SessionsNotInCheckpoints", "HeartbeatAtOnce", "NothingSentAgainFarUp")


@pytest.mark.parametrize("animal", [a for a in ANIMALS if a.species in QUICK])
def test_quick_ones_are_caught(animal: Animal):
    assert hunt(animal, SEEDS[animal.species], patience=1) is not None, STALE


@pytest.mark.slow
@pytest.mark.parametrize("animal", SPECIES)
def test_sound_replica_passes_the_same(animal: Animal):
    assert run_seed(SEEDS[animal.species], animal.options).violation is None


def test_page_lists_every_animal_and_no_other():
    rows = [line.split(" | ")[0].removeprefix("| ") for line in PAGE.splitlines()]
    listed = [row for row in rows if row[:1].isupper() and row.isalpha()]
    names = [*(animal.species for animal in ANIMALS), *(one.name for one in PROCESSES)]
    assert sorted(listed) == sorted(names), STALE


def test_every_animal_is_a_few_lines_and_says_what_it_is():
    assert len(ANIMALS) >= 22
    for one in (*ANIMALS, *PROCESSES):
        assert one.wrong.endswith("."), one
        assert one.comes_from.endswith("."), one
