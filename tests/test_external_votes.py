"""Whose votes can have come to whoever answers, by what passed: counted, and by all who pass on."""

import socket

import pytest
from external_runs import run_yaml, tiny
from test_external_clients import answer, clients, sent, transfer
from test_external_relays import two as two_ends
from test_external_router import put, routed

from harness.check.verdict import Verdict
from harness.cluster.journal import CLIENTS
from harness.cluster.links import Links
from harness.external.services import LIN_KV, LinKvService, absent
from harness.external.votes import Votes

two = two_ends


def passing(votes, *words):
    """Each word is a message, "12" one from n1 to n2."""
    for word in words:
        votes.passed(int(word[0]), int(word[1]))


def votes(*words, replicas=5, **how):
    """A client asked n1, and then these messages passed; whose votes may be at n1."""
    found = Votes(replicas, **how)
    found.begin("c1")
    found.asked("c1", 1)
    passing(found, *words)
    return found.voters("c1", 1)


VOTES = {
    "nobody heard of it": ((), {1}),
    "they heard and were not heard": (("12", "13"), {1}),
    "they were heard before they heard": (("21", "31", "12", "13"), {1}),
    "one voted": (("12", "21"), {1, 2}),
    "through a third one": (("12", "23", "31"), {1, 2, 3}),
    "one after the other": (("12", "21", "13", "34", "45", "31"), {1, 2, 3}),
    "all": (("12", "23", "34", "45", "51"), {1, 2, 3, 4, 5}),
    "to itself": (("11",), {1}),
}


@pytest.mark.parametrize(("words", "found"), VOTES.values(), ids=VOTES)
def test_a_vote_is_whatever_came_back_of_who_heard_of_it(words, found):
    assert votes(*words) == found


def test_requests_are_told_apart_and_a_new_one_knows_nothing_of_the_old():
    found = Votes(3)
    for number in (1, 2):
        found.begin(f"c{number}")
        found.asked(f"c{number}", number)
    passing(found, "12", "21")
    assert (found.voters("c1", 1), found.voters("c2", 2)) == ({1, 2}, {2})
    assert found.voters("c2", 1) == {1, 2}, "by whom n2 passed it on to"
    found.end("c1")
    found.begin("c3")  # in the lane of the first
    passing(found, "12", "21")
    assert found.voters("c3", 1) == set() and found.voters("c2", 2) == {1, 2}
    found.end("c9")  # never began
    found.asked("c9", 3)
    passing(found, "31")
    assert 3 not in found.voters("c2", 1)


def test_where_a_shim_asks_it_may_count_and_has_no_vote():
    found = Votes(3, has_shim=True)
    found.begin("c1")
    found.asked("c1", 1)
    assert found.voters("c1", 1) == set()
    passing(found, "01", "02", "10")
    assert found.voters("c1", 1) == {1}
    passing(found, "20")
    assert found.voters("c1", 1) == {1, 2}


def test_what_cannot_be_seen_is_not_told():
    assert votes("12", "21", sees=False) is None
    assert votes(f"1{CLIENTS}", f"{CLIENTS}1") is None, "a service remembers it"
    assert votes(f"1{CLIENTS}") == {1}


# ---- who passes something on -------------------------------------------------------------------


def asked(ends):
    """c1 asks n1; whose votes may be there."""
    router = ends.router
    router.votes.begin("c1")
    router.send("c1", router.nodes[1], {"type": "transfer"}, 0)
    return lambda: router.votes.voters("c1", 1)


def test_the_router_counts_what_it_delivers_and_nothing_else():
    with routed() as ends:
        found = asked(ends)
        put(ends, "cut", links=frozenset({(1, 2), (3, 1)}))
        ends.say(1, "n2")
        ends.say(2, "n1")
        ends.say(1, "n3")
        ends.say(3, "n1")
        assert found() == {1}
        ends.router.put_on_links(Links(), 0)
        ends.say(3, "n1")
        assert found() == {1, 3}
        ends.router.cut_off(ends.router.nodes[2], True)
        ends.say(1, "n2")
        ends.router.cut_off(ends.router.nodes[2], False)
        ends.say(2, "n1")
        assert found() == {1, 3}


def test_what_a_link_held_counts_once_it_arrives():
    with routed() as ends:
        found = asked(ends)
        ends.say(1, "n2")
        put(ends, "delay", links=frozenset({(2, 1)}), least=50_000, most=50_000)
        ends.say(2, "n1")
        assert found() == {1}
        ends.router.release(10**15)
        assert found() == {1, 2}


def test_a_request_reaches_who_it_is_passed_on_to():
    with routed() as ends:
        found = asked(ends)
        ends.write(1, '{"src":"c1","dest":"n2","body":{"type":"transfer"}}\n')
        assert ends.router.votes.voters("c1", 2) == {1, 2} and found() == {1}
        put(ends, "delay", links=frozenset({(1, 3)}), least=1, most=1)  # none is easy now
        ends.say(2, "n1")
        assert found() == {1, 2}


def test_a_service_that_keeps_something_may_keep_the_request():
    with routed() as ends:
        found = asked(ends)
        ends.router.services = {LIN_KV: LinKvService(), "seq-kv": absent}
        ends.say(1, "seq-kv", type="read", key=1)
        assert found() == {1}
        ends.say(1, LIN_KV, type="read", key=1)
        assert found() is None


def test_relays_tell_of_every_byte_that_went_through(two):
    it = two()
    one, other = it.connect()
    one.send(b"ask")
    assert it.until(lambda: other.recv(9)) == b"ask" and it.reached == [(1, 2)]
    for sock in (one, it.relays._ports[0].listening):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
    with pytest.raises(BlockingIOError):
        while True:
            other.send(b"x" * (1 << 16))
            it.drive(0)
    it.drive()
    assert it.relays._timed or it.reached[-1] == (2, 1)
    one.close()
    other.close()


def test_an_answer_says_whose_votes_it_may_rest_on():
    found, operation = clients(), transfer()
    found.submit(operation)
    sent(found, 0)
    found._votes.asked("c1", 2)
    answer(found, 1, 1, 5)
    assert (operation.answered_by, operation.voters) == (1, frozenset())
    assert not found._votes._lanes, "the next request has a lane of its own"


def test_what_a_read_of_a_register_decides_is_a_read():
    found, operation = clients("lin-kv"), transfer(amount=99)
    found.submit(operation)
    sent(found, 0)
    (read,) = found.take(1, "c1", {"type": "write_ok", "in_reply_to": 1}, 1)
    value = {"type": "read_ok", "value": 0, "in_reply_to": read.body["msg_id"]}
    assert list(found.take(1, "c1", value, 2)) == []
    assert operation.result == "failed" and operation.voters is None


# ---- whole runs --------------------------------------------------------------------------------


def told(report):
    (found,) = [j for j in report.judgements if j.check == "no quorum, no answer"]
    return found


EARLY = '"(C, A, 5)", "cut n1<->n2,n3", "(A, B, 1)", heal'


@pytest.mark.parametrize(("kind", "seen"), [("early", True), ("good", False)])
def test_a_cut_off_leader_that_answers_is_seen_while_the_others_are_a_majority(kind, seen):
    """Clients reach everybody all the time, and n2 and n3 one another."""
    report, _ = run_yaml(tiny(kind), EARLY, progress_ms=1000)
    (found,) = [j for j in report.judgements if j.check == "no quorum, no answer"]
    assert found.verdict is (Verdict.INVALID if seen else Verdict.VALID)
    assert not seen or found.reason.endswith("by n1, when only n1 of 3 can have voted for it")
