"""Clients: whom they ask, when they ask again, and what they take for an answer."""

import sys

import pytest

from bank.ballot import NO_BALLOT, Ballot
from bank.ledger import FAILED, SUCCESS, TRANSFER
from bank.messages import Elected, Reply
from harness.cluster.client import Clients, ClientSend
from harness.cluster.history import Operation

TIMEOUT = 300
FIRST = Ballot(1, 1)
EVERYONE = (1, 2, 3, 4, 5)


def pays(client, amount=1):
    """An operation as a test set asks for it: without a timestamp yet."""
    return Operation((client, 0, TRANSFER, client, "J", amount), 1)


def request(client, timestamp, amount=1):
    return (client, timestamp, TRANSFER, client, "J", amount)


def started(*operations):
    clients = Clients("ABJ", 5, TIMEOUT)
    for operation in operations:
        clients.submit(operation)
    clients.start()
    return clients


def poll(clients, now):
    return list(clients.poll(now))


def answer(clients, client, timestamp, ballot=FIRST, now=10, result=SUCCESS):
    return clients.take(Reply(ballot, ((client, timestamp, result, 7),)), now)


def test_first_try_goes_to_n1():
    assert poll(started(pays("A")), 0) == [ClientSend((1,), request("A", 1))]


def test_one_request_is_outstanding_per_client_while_different_clients_run_in_parallel():
    clients = started(pays("A", 1), pays("A", 2), pays("B", 3))
    assert poll(clients, 0) == [
        ClientSend((1,), request("A", 1, 1)),
        ClientSend((1,), request("B", 1, 3)),
    ]
    assert poll(clients, 1) == []
    answer(clients, "A", 1)
    assert poll(clients, 11) == [ClientSend((1,), request("A", 2, 2))]


def test_timestamps_grow_per_client_and_a_retry_keeps_its_own():
    clients = started(pays("A"), pays("A"), pays("B"))
    assert [send.request[1] for send in poll(clients, 0)] == [1, 1]
    assert [send.request[1] for send in poll(clients, TIMEOUT)] == [1, 1]
    answer(clients, "A", 1)
    assert [send.request[1] for send in poll(clients, TIMEOUT + 1)] == [2]


def test_client_that_is_resumed_starts_above_the_last_timestamp():
    clients = Clients("AB", 5, TIMEOUT)
    clients.by_name["A"].timestamp = 41
    clients.submit(pays("A"))
    clients.start()
    assert [send.request[1] for send in poll(clients, 0)] == [42]


def test_time_out_asks_everyone_again_and_again():
    clients = started(pays("A"))
    poll(clients, 0)
    assert poll(clients, TIMEOUT - 1) == []
    for repeat in (1, 2, 3):
        assert clients.deadline() == repeat * TIMEOUT
        assert poll(clients, repeat * TIMEOUT) == [ClientSend(EVERYONE, request("A", 1))]


def test_time_out_forgets_the_believed_leader_until_the_next_reply():
    clients = started(pays("A"), pays("A"), pays("A"))
    poll(clients, 0)
    poll(clients, TIMEOUT)
    assert clients.by_name["A"].believed is None
    answer(clients, "A", 1, Ballot(4, 3))
    assert poll(clients, TIMEOUT + 11) == [ClientSend((3,), request("A", 2))]


@pytest.mark.parametrize(
    ("ballots", "believed"),
    [
        pytest.param([Ballot(2, 3)], 3, id="a higher ballot"),
        pytest.param([Ballot(2, 3), Ballot(1, 1)], 3, id="then a lower one"),
        pytest.param([Ballot(2, 3), Ballot(2, 4)], 4, id="same number, higher replica"),
        pytest.param([NO_BALLOT], 1, id="from a replica that follows nobody"),
        pytest.param([Ballot(2, 3), NO_BALLOT], 3, id="then from one that follows nobody"),
    ],
)
def test_believed_leader_is_that_of_the_highest_ballot_in_a_reply(ballots, believed):
    clients = started(*[pays("A")] * 3)
    for ballot in ballots:
        answer(clients, "A", 99, ballot)
    assert clients.by_name["A"].believed == believed


def test_a_leader_that_is_no_replica_is_nobody():
    clients = started(pays("A"), pays("A"))
    poll(clients, 0)
    assert leader(clients, Ballot(2, 99)) == [ClientSend(EVERYONE, request("A", 1))]
    answer(clients, "A", 1, Ballot(3, 98))
    assert poll(clients, 20) == [ClientSend(EVERYONE, request("A", 2))]


def leader(clients, ballot, now=10):
    """A LEADER comes."""
    return clients.follow(Elected(ballot), now)


def test_who_was_elected_is_asked_at_once_with_the_same_timestamp():
    clients = started(pays("A"), pays("A", 2), pays("B"))
    poll(clients, 0)
    assert leader(clients, Ballot(2, 3)) == [
        ClientSend((3,), request("A", 1)),
        ClientSend((3,), request("B", 1)),
    ]
    answer(clients, "A", 1, Ballot(2, 3))
    assert poll(clients, 11) == [ClientSend((3,), request("A", 2, 2))]


def test_who_asks_the_elected_one_waits_for_it_as_long_as_for_any_other():
    clients = started(pays("A"))
    poll(clients, 0)
    leader(clients, Ballot(2, 3), now=TIMEOUT - 1)
    assert poll(clients, TIMEOUT) == [] and clients.deadline() == 2 * TIMEOUT - 1
    assert poll(clients, 2 * TIMEOUT - 1) == [ClientSend(EVERYONE, request("A", 1))]


@pytest.mark.parametrize("seen", ["in a LEADER", "in a REPLY"])
def test_leader_of_a_ballot_that_is_not_above_its_own_is_not_asked(seen):
    clients = started(pays("A"))
    poll(clients, 0)
    if seen == "in a LEADER":
        leader(clients, Ballot(2, 3))
    else:
        answer(clients, "A", 99, Ballot(2, 3))
    for older in (Ballot(1, 5), Ballot(2, 2), Ballot(2, 3)):
        assert leader(clients, older) == []
    assert clients.by_name["A"].believed == 3


def test_who_waits_for_nothing_remembers_the_leader_for_its_next_request():
    clients = started(pays("A"))
    poll(clients, 0)
    answer(clients, "A", 1)
    assert leader(clients, Ballot(2, 3)) == []
    clients.submit(pays("A"))
    assert poll(clients, 11) == [ClientSend((3,), request("A", 2))]


def test_between_sets_a_leader_is_remembered_and_nothing_is_asked():
    clients = started(pays("A"))
    poll(clients, 0)
    clients.stop()
    assert leader(clients, Ballot(2, 3)) == [] and clients.deadline() is None
    clients.start()
    assert poll(clients, 20) == [ClientSend(EVERYONE, request("A", 1))], "a retry, as ever"


class Unseen(dict):
    def values(self):
        raise AssertionError("looks at every client")


def test_a_leader_that_is_known_is_looked_at_no_more():
    clients = started(pays("A"))
    leader(clients, Ballot(2, 3))
    clients.by_name = Unseen()  # a million of them; it is said again with each heartbeat
    assert leader(clients, Ballot(2, 3)) == []


def test_closed_queue_to_the_believed_leader_asks_everyone_at_once():
    clients = started(pays("A"), pays("B"))
    poll(clients, 0)
    answer(clients, "B", 99, Ballot(2, 2))
    assert clients.lost(1, 5) == [ClientSend(EVERYONE, request("A", 1))]
    assert clients.deadline() == TIMEOUT, "B believes in n2 and goes on waiting"
    assert clients.by_name["A"].due == 5 + TIMEOUT


def test_closed_queue_to_the_believed_leader_of_an_idle_client_is_remembered():
    clients = started()
    assert clients.lost(1, 5) == []
    clients.submit(pays("A"))
    assert poll(clients, 6) == [ClientSend(EVERYONE, request("A", 1))]


def test_timers_stop_between_sets_and_the_next_set_retries_what_is_pending_first():
    clients = started(pays("A", 1))
    poll(clients, 0)
    clients.stop()
    assert clients.deadline() is None
    assert poll(clients, 10 * TIMEOUT) == [] and clients.lost(1, 10 * TIMEOUT) == []
    clients.submit(pays("A", 2))
    clients.start()
    assert poll(clients, 20 * TIMEOUT) == [ClientSend(EVERYONE, request("A", 1, 1))]


def test_what_is_dropped_is_asked_no_more_and_its_answer_not_heard():
    first, second, other = pays("A"), pays("A", 2), pays("B")
    clients = started(first, second, other)
    poll(clients, 0)
    clients.stop()
    assert clients.drop_pending(50) == [first, second, other]
    assert [o.dropped_at for o in (first, second, other)] == [50, 50, 50]
    assert second.invoked_at is None and clients.pending() == [] and clients.unanswered == 0
    clients.start()
    assert poll(clients, 400) == [] and clients.deadline() is None
    assert answer(clients, "A", 1) == [] and first.result is None
    clients.submit(pays("A", 3))
    assert poll(clients, 500) == [ClientSend((1,), request("A", 2, 3))]
    assert answer(clients, "A", 1, now=510) == [], "an answer to what was given up"
    assert len(answer(clients, "A", 2, now=520)) == 1


def test_answer_between_sets_is_taken():
    clients = started(pays("A"))
    poll(clients, 0)
    clients.stop()
    (operation,) = answer(clients, "A", 1, now=9999)
    assert (operation.result, operation.slot, operation.answered_at) == (SUCCESS, 7, 9999)
    assert clients.pending() == []


def test_failed_is_an_answer():
    clients = started(pays("A"))
    poll(clients, 0)
    (operation,) = answer(clients, "A", 1, result=FAILED)
    assert operation.is_answered and not operation.succeeded


def test_read_of_zero_is_an_answer_and_a_success():
    clients = started(pays("A"))
    poll(clients, 0)
    (operation,) = answer(clients, "A", 1, result=0)
    assert operation.is_answered and operation.succeeded


@pytest.mark.parametrize(
    ("client", "timestamp"),
    [
        pytest.param("A", 2, id="to a request not sent yet"),
        pytest.param("B", 1, id="to an idle client"),
        pytest.param("X", 1, id="to nobody of ours"),
    ],
)
def test_answer_to_nothing_outstanding_is_ignored(client, timestamp):
    clients = started(pays("A"), pays("A"))
    poll(clients, 0)
    assert answer(clients, client, timestamp) == []
    assert len(clients.pending()) == 2


def test_second_answer_to_the_same_request_is_ignored():
    clients = started(pays("A"), pays("A"))
    poll(clients, 0)
    assert len(answer(clients, "A", 1)) == 1
    assert answer(clients, "A", 1) == []
    poll(clients, 20)
    assert answer(clients, "A", 1) == [] and len(clients.pending()) == 1


def test_one_reply_answers_several_clients():
    clients = started(pays("A"), pays("B"))
    poll(clients, 0)
    reply = Reply(Ballot(1, 1), (("A", 1, SUCCESS, 1), ("B", 1, SUCCESS, 2)))
    assert [operation.slot for operation in clients.take(reply, 5)] == [1, 2]
    assert clients.deadline() is None


def test_new_timestamp_is_reported_before_it_leaves_and_a_retry_is_not():
    written = []
    clients = Clients("AB", 5, TIMEOUT, lambda client: written.append(client.timestamp))
    clients.submit(pays("A"))
    clients.start()
    poll(clients, 0)
    assert written == [1]
    poll(clients, TIMEOUT)
    clients.stop()
    clients.start()
    poll(clients, 3 * TIMEOUT)
    assert written == [1]


def test_nothing_is_due_before_the_start_nor_while_idle():
    clients = Clients("AB", 5, TIMEOUT)
    clients.submit(pays("A"))
    assert clients.deadline() is None and poll(clients, 0) == []
    clients.start()
    assert clients.deadline() == 0
    poll(clients, 0)
    answer(clients, "A", 1)
    assert clients.deadline() is None


def test_how_many_wait_and_how_far_answers_go_is_known_without_counting():
    clients = started(pays("A"), pays("A"), pays("B"))
    assert (clients.unanswered, clients.answered_upto) == (3, 0)
    poll(clients, 0)
    answer(clients, "A", 1)
    answer(clients, "A", 1)
    answer(clients, "A", 2)  # not sent yet
    assert (clients.unanswered, clients.answered_upto) == (2, 7)
    assert len(clients.pending()) == 2


def test_two_requests_of_one_moment_are_retried_once_each():
    clients = started(pays("A"), pays("A"), pays("A"))
    poll(clients, 0)
    answer(clients, "A", 1, now=0)
    poll(clients, 0)
    assert poll(clients, TIMEOUT) == [ClientSend(EVERYONE, request("A", 2))]
    assert clients.deadline() == 2 * TIMEOUT


def test_answer_between_start_and_poll_is_taken_and_the_next_request_goes_out():
    clients = started(pays("A"), pays("A"))
    poll(clients, 0)
    clients.stop()
    clients.start()
    answer(clients, "A", 1, ballot=NO_BALLOT)
    assert poll(clients, 20) == [ClientSend((1,), request("A", 2))]
    assert poll(clients, 20) == []


def calls_of_a_round(waiting):
    """Python calls that a poll, an answer and a deadline take while so many requests wait."""
    clients = started(*(pays(client, amount) for client in "AB" for amount in range(waiting)))
    poll(clients, 0)
    calls = []
    sys.setprofile(lambda frame, event, of: calls.append(event))
    try:
        answer(clients, "A", 1)
        clients.deadline()
        poll(clients, 11)
    finally:
        sys.setprofile(None)
    return len(calls)


def test_a_round_costs_as_much_whatever_waits():
    assert calls_of_a_round(2000) == calls_of_a_round(2)
