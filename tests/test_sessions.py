"""Exactly once: what the machine remembers of each client."""

from conductor import TEN_EACH, read, transfer
from hypothesis import given
from hypothesis import strategies as st

from bank.ledger import FAILED, SKIPPED, SUCCESS
from bank.sessions import NOOP_REQUEST, Changed, Machine


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


def test_digest_covers_balances_and_sessions_in_any_order():
    one = Machine(TEN_EACH, [("A", 1, SUCCESS, 1), ("B", 1, 10, 2)])
    two = Machine(dict(reversed(TEN_EACH.items())), [("B", 1, 10, 2), ("A", 1, SUCCESS, 1)])
    assert one.digest() == two.digest()
    assert one.digest() != Machine(TEN_EACH).digest()
    assert one.digest() != Machine(TEN_EACH | {"A": 9, "B": 11}, one.sessions.values()).digest()


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


PAIRS = st.tuples(st.sampled_from("ABX"), st.sampled_from("ABX"))


@given(st.lists(st.lists(st.tuples(PAIRS, st.integers(1, 5), st.integers(-1, 20)), max_size=6)))
def test_the_digest_at_a_mark_is_that_of_the_whole_state(turns):
    machine, slot, before = Machine({"A": 10, "B": 10, "C": 10}), 1, None
    for turn in turns:
        requests = [(s, t, "transfer", s, r, amount) for (s, r), t, amount in turn]
        machine.execute(slot, requests)
        slot += len(requests)
        balances, digest, changed = machine.mark()
        assert digest == machine.digest() == Machine(balances, machine.sessions.values()).digest()
        state = balances | {("of", c): s for c, s in machine.sessions.items()}
        if before is not None:
            differ = {key for key in state if state[key] != before.get(key)}
            assert differ <= changed.accounts | {("of", c) for c in changed.clients}
        before = state


def test_a_mark_is_a_copy_and_tells_what_changed():
    machine = Machine(TEN_EACH)
    machine.execute(1, [transfer("A", "B", 3), read("C"), transfer("A", "X", 3, 2)])
    balances, _, changed = machine.mark()
    assert changed.accounts == {"A", "B", "C"} and changed.clients == {"A", "C"}
    machine.execute(4, [transfer("D", "B", 1)])
    assert balances["B"] == 13 and machine.mark()[2].accounts == {"B", "D"}
    assert machine.mark()[2] == Changed()


def test_whoever_was_named_between_two_marks_may_have_changed_however_long_ago():
    many = {f"a{number}": 10 for number in range(400)}
    machine, slot = Machine(many), 1
    for size in (1, 99, 100, 1, 150):
        requests = [transfer(f"a{slot + i}", "a0", 1) for i in range(size)]
        machine.execute(slot, requests)
        slot += size
    _, digest, changed = machine.mark()
    assert changed.accounts == changed.clients | {"a0"} == {f"a{n}" for n in range(slot)}
    assert digest == machine.digest()


def test_a_given_digest_is_gone_on_from():
    one = Machine(TEN_EACH)
    one.execute(1, [transfer("A", "B", 3)])
    balances, digest, _ = one.mark()
    two = Machine(balances, one.sessions.values(), digest=digest)
    for machine in (one, two):
        machine.execute(2, [transfer("B", "A", 5)])
    assert one.mark() == two.mark()
