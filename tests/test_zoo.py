"""Every mutant that the swarm catches is caught where docs/zoo.md says; the sound one passes there.

Slow but for some that are found at once; what is broken in processes is `test_live_checks.py`'s.
"""

import pytest
import zoo
from catalogue import Mutant
from test_swarm import TWO_HUNDRED
from zoo import ANIMALS, PROCESSES, hunt, listed, options_of, run, seeds_in

from harness.sim.scenario import SwarmOptions
from harness.sim.swarm import run_seed

PAGE = zoo.PAGE.read_text()
SEEDS = seeds_in(PAGE)
SPECIES = [pytest.param(animal, id=animal.wrong) for animal in ANIMALS]
STALE = "run `python -m tests.zoo`: docs/zoo.md is not of this code"


@pytest.mark.slow
@pytest.mark.parametrize("animal", SPECIES)
def test_animal_is_caught(animal: Mutant):
    assert animal.wrong in SEEDS, STALE
    seed = SEEDS[animal.wrong]
    assert run(animal, seed) is not None, f"not caught by seed {seed}; {STALE}"


QUICK = (
    "it promises, and never writes the promise down",
    "sessions are lost where a checkpoint is installed or read back",
    "a leader answers the answer to its heartbeat with the next heartbeat",
)


@pytest.mark.parametrize("wrong", QUICK)
def test_quick_ones_are_caught(wrong: str):
    (animal,) = (one for one in ANIMALS if one.wrong == wrong)
    assert hunt(animal, SEEDS[wrong], patience=1) is not None, STALE


# Many are caught by the same seed, and most of these are among the two hundred of `test_swarm`.
CATCHING = dict.fromkeys(
    (SEEDS[one.wrong], options_of(one))
    for one in ANIMALS
    if one.wrong in SEEDS
    and (SEEDS[one.wrong] not in TWO_HUNDRED or options_of(one) != SwarmOptions())
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "options"), CATCHING, ids=[f"{seed}-{options.nodes}" for seed, options in CATCHING]
)
def test_sound_replica_passes_the_same(seed: int, options: SwarmOptions):
    assert run_seed(seed, options).violation is None


def test_page_lists_every_animal_and_no_other():
    assert listed(PAGE) == [one.wrong for one in (*ANIMALS, *PROCESSES)], STALE


def test_there_are_many_and_each_says_where_it_comes_from():
    assert len(ANIMALS) >= 22
    for one in (*ANIMALS, *PROCESSES):
        assert one.origin.endswith("."), one
