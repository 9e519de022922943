"""The zoo behind the line protocol: what docs/zoo-outside.md says of it, and one that is seen.

Hunts take a minute each: `python -m tests.zoo --stdio`. Tests marked `long` hunt anew.
"""

import pytest
import zoo_outside
from zoo_outside import ANIMALS, described, hunt, known, page, run_sets, unseen

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


@pytest.mark.long
@pytest.mark.parametrize("wrong", SEEN)
def test_whoever_is_seen_is_seen_again(wrong):
    assert hunt(wrong, seconds=300).check


@pytest.mark.long
def test_the_sound_replica_passes_what_they_are_put_through():
    assert not hunt("", seconds=300).check
