"""Exactly once: what the machine remembers of each client."""

from conductor import TEN_EACH, read, transfer
from hypothesis import given
from hypothesis import strategies as st

from bank.accounts import Balances
from bank.ledger import FAILED, SKIPPED, SUCCESS
from bank.sessions import NOOP_REQUEST, Machine


def test_same_timestamp_gives_the_first_answer_with_the_first_slot():
    machine = Machine(TEN_EACH)
    first, second = machine.execute(5, [transfer("A", "J", 3), transfer("A", "J", 3)])
    assert first == second == ("A", 1, SUCCESS, 5)
    assert machine.ledger.balances["J"] == 13


def test_failed_request_stays_failed_when_it_comes_again():
    machine = Machine({"A": 1, "B": 5})
    machine.execute(1, [transfer("A", "B", 3), transfer("B", "A", 5)])
    assert machine.execute(3, [transfer("A", "B", 3)]) == [("A", 1, FAILED, 1)]


def test_read_seen_again_gives_the_balance_of_its_first_execution():
    machine = Machine(TEN_EACH)
    answers = machine.execute(1, [read("J"), transfer("A", "J", 3), read("J")])
    assert answers[0] == answers[2] == ("J", 1, 10, 1)


def test_lower_timestamp_is_skipped_and_leaves_the_session_alone():
    machine = Machine(TEN_EACH)
    answers = machine.execute(1, [transfer("A", "J", 3, 7), transfer("A", "J", 1, 6)])
    assert answers[1] == ("A", 6, SKIPPED, 2)
    assert machine.sessions["A"] == ("A", 7, SUCCESS, 1)


def test_no_op_is_nobodys_request():
    machine = Machine(TEN_EACH)
    assert machine.execute(1, [NOOP_REQUEST, NOOP_REQUEST]) == [
        ("", 0, SKIPPED, 1),
        ("", 0, SKIPPED, 2),
    ]
    assert not machine.sessions


def test_digest_covers_names_balances_and_sessions_which_have_no_order():
    one = Machine(TEN_EACH, [("A", 1, SUCCESS, 1), ("B", 1, 10, 2)])
    two = Machine(TEN_EACH, [("B", 1, 10, 2), ("A", 1, SUCCESS, 1)])
    assert one.digest() == two.digest()
    others = [
        Machine(TEN_EACH),
        Machine(TEN_EACH | {"A": 9, "B": 11}, one.sessions.values()),
        Machine(dict.fromkeys("ABCDEFGHIK", 10), one.sessions.values()),
        Machine(dict(reversed(TEN_EACH.items())), one.sessions.values()),
        Machine(Balances.of(TEN_EACH, page_accounts=4), one.sessions.values()),
    ]
    assert len({machine.digest() for machine in (one, *others)}) == 6


REQUESTS = st.lists(
    st.builds(
        transfer,
        st.sampled_from("ABC"),
        st.sampled_from("ABC"),
        st.integers(1, 12),
        st.integers(1, 4),
    ),
    max_size=20,
)


@given(REQUESTS, st.data())
def test_state_does_not_depend_on_how_the_slots_are_cut_into_runs(requests, data):
    whole, cut = Machine(TEN_EACH), Machine(TEN_EACH)
    at = data.draw(st.integers(0, len(requests)))
    answers = cut.execute(1, requests[:at]) + cut.execute(at + 1, requests[at:])
    assert answers == whole.execute(1, requests)
    assert cut.digest() == whole.digest()


@given(REQUESTS)
def test_requests_that_come_again_change_nothing(requests):
    machine = Machine(TEN_EACH)
    machine.execute(1, requests)
    digest = machine.digest()
    machine.execute(len(requests) + 1, requests)
    assert machine.digest() == digest
