"""The zoo behind the line protocol: what docs/zoo-outside.md says of it, and one that is seen.

Hunts take a minute each: `python -m tests.zoo --stdio`. Tests marked `long` hunt anew.
"""

import itertools

import pytest
import zoo_outside
from catalogue import Mutant
from zoo_outside import (
    ANIMALS,
    FAILURES,
    MOMENTS,
    described,
    hunt,
    hunts,
    known,
    page,
    run_sets,
    run_torture,
    unseen,
)
from zoo_seeds import seen_from_outside

from harness.check.verdict import Verdict

PAGE = zoo_outside.PAGE.read_text("utf-8")
KNOWN = known(PAGE)
STALE = "run `python -m tests.zoo --stdio`: docs/zoo-outside.md is not of this code"
SEEN = [wrong for wrong, one in KNOWN.items() if one.check]
EARLY = "the leader answers when it proposes, with what the request will give if all goes well"
SLOW_ELECTIONS = "election_timeout_ms: [3000, 4000]\n"  # a leader that is alone notices it late
ALONE = """\
cluster: {nodes: 3, patience_ms: 100}
sets:
- steps: ["(A, B, 1)", "cut n1<->n2,n3", "cut n2<->n3", "(C, D, 2)"]
"""


@pytest.mark.long  # to list a further one takes a hunt
def test_page_lists_every_animal_and_no_other():
    assert sorted(KNOWN) == sorted(one.wrong for one in ANIMALS), STALE


def test_page_says_why_somebody_is_not_seen():
    assert all(wrong in unseen() for wrong, one in KNOWN.items() if not one.check), STALE
    assert unseen().keys() <= KNOWN.keys()
    assert page(KNOWN) == PAGE, STALE


def test_one_that_answers_too_early_is_seen(tmp_path):
    sets = tmp_path / "alone.yaml"
    sets.write_text(ALONE)
    found = run_sets(described(EARLY, SLOW_ELECTIONS), "disconnect", sets)
    wrong = {judgement.check for judgement in found if judgement.verdict is Verdict.INVALID}
    assert "no quorum, no answer" in wrong


EMPTY_SLOTS = "a slot that nobody reported stays empty, and slots above it go on"
SOUND = Mutant("sound: nothing", "", (), ("swarm ",))


def test_seeds_show_from_outside_what_is_wrong_and_nothing_else():
    (animal,) = [one for one in ANIMALS if one.wrong == EMPTY_SLOTS]
    assert any(seen_from_outside(animal, seed) for seed in (32, 27, *range(27)))
    assert not any(seen_from_outside(SOUND, seed) for seed in range(3))


@pytest.mark.slow
def test_the_sound_replica_passes_a_short_torture(monkeypatch):
    monkeypatch.setattr(zoo_outside, "TORTURES", ((["disconnect", "links"], 3),) * 2)
    assert not [j for j in run_torture(described(""), 1) if j.verdict is Verdict.INVALID]


def test_hunts_go_on_by_turns():
    kinds = [name for name, _ in itertools.islice(hunts(), 9)]
    assert kinds == [*(f"sets, {one}" for one in FAILURES), *[*MOMENTS, "torture"] * 2]


@pytest.mark.long
@pytest.mark.parametrize("wrong", SEEN)
def test_whoever_is_seen_is_seen_again(wrong):
    assert hunt(wrong, seconds=300).check


@pytest.mark.long
def test_the_sound_replica_passes_what_they_are_put_through():
    assert not hunt("", seconds=300).check
