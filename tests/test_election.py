"""What a quorum of promises decides."""

import pytest
from conductor import transfer
from hypothesis import given
from hypothesis import strategies as st

from bank.ballot import Ballot
from bank.election import fill, merge
from bank.messages import AcceptedEntry, Promise
from bank.sessions import NOOP_REQUEST
from bank.standing import Candidate

X, Y, Z = transfer("A", "J", 3), transfer("B", "J", 4), transfer("C", "J", 5)


def entry(slot, number, request, committed=False, replica=1):
    return AcceptedEntry(slot, Ballot(number, replica), request, committed)


@pytest.mark.parametrize(
    ("logs", "above", "chosen"),
    [
        pytest.param([], 0, {}, id="no logs"),
        pytest.param([[], []], 0, {}, id="empty logs"),
        pytest.param([[entry(1, 1, X)], [entry(1, 2, Y)]], 0, {1: Y}, id="higher number"),
        pytest.param(
            [[entry(1, 2, X, replica=3)], [entry(1, 2, Y, replica=2)]],
            0,
            {1: X},
            id="same number, higher replica",
        ),
        pytest.param(
            [[entry(1, 1, X, committed=True)], [entry(1, 9, Y)]], 0, {1: X}, id="committed"
        ),
        pytest.param([[entry(1, 1, X)], [entry(3, 2, Z)]], 0, {1: X, 3: Z}, id="a gap stays"),
        pytest.param([[entry(1, 1, X), entry(2, 1, Y)]], 1, {2: Y}, id="above the watermark only"),
    ],
)
def test_merge(logs, above, chosen):
    assert {slot: e.request for slot, e in merge(logs, above).items()} == chosen


@pytest.mark.parametrize(
    ("slots", "first_slot", "requests"),
    [
        pytest.param({}, 1, (), id="nothing open at the start"),
        pytest.param({}, 8, (), id="nothing open above a watermark"),
        pytest.param({1: X}, 1, (X,), id="one"),
        pytest.param({3: Z}, 1, (NOOP_REQUEST, NOOP_REQUEST, Z), id="gaps below"),
        pytest.param({5: X, 7: Z}, 5, (X, NOOP_REQUEST, Z), id="gap between"),
    ],
)
def test_fill(slots, first_slot, requests):
    merged = {slot: entry(slot, 1, request) for slot, request in slots.items()}
    assert fill(merged, first_slot) == requests


ENTRIES = st.lists(
    st.builds(entry, st.integers(1, 6), st.integers(1, 4), st.sampled_from([X, Y, Z])), max_size=6
)


@given(st.lists(ENTRIES, max_size=4), st.integers(0, 6))
def test_merged_entry_has_the_highest_ballot_reported_for_its_slot(logs, above):
    merged = merge(logs, above)
    reported = [e for log in logs for e in log if e.slot > above]
    assert set(merged) == {e.slot for e in reported}
    for slot, chosen in merged.items():
        assert chosen in reported
        assert chosen.ballot == max(e.ballot for e in reported if e.slot == slot)


def promise(truncated_upto=0):
    return Promise(Ballot(1, 1), truncated_upto, truncated_upto, ())


def test_quorum_needs_the_candidates_own_durable_promise():
    candidate = Candidate(Ballot(1, 1))
    candidate.promises = {2: promise(), 3: promise()}
    assert not candidate.has_quorum(3, 0)
    candidate.own_durable = True
    assert candidate.has_quorum(3, 0) and not candidate.has_quorum(4, 0)


def test_promise_of_who_truncated_more_waits_for_a_checkpoint():
    candidate = Candidate(Ballot(1, 1))
    candidate.own_durable = True
    candidate.promises = {2: promise(), 3: promise(8), 4: promise(12), 5: promise(12)}
    assert candidate.counted(0) == [promise()]
    assert candidate.counted(8) == [promise(), promise(8)]
    assert not candidate.has_quorum(3, 7) and candidate.has_quorum(3, 8)
