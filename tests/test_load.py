"""A process of benchmark clients, with its queues held by the test."""

from multiprocessing import Pipe
from types import SimpleNamespace

import pytest

from bank.ballot import Ballot
from bank.messages import ClientRequest, Elected, Reply
from harness.bench.load import WRONG, Load, LoadSpec
from harness.bench.measuring import LoadedFleet
from harness.cluster import wire
from harness.errors import EXIT_INVALID, HarnessError
from harness.live.queues import ControlEnd, Incoming, Outgoing, framed

FIRST, SECOND = Ballot(1, 1), Ballot(2, 2)


@pytest.fixture
def held():
    """Two clients of three replicas, which asked n1; what each replica reads, and its answers."""
    peers, reads, answers = {}, {}, {}
    for replica in (1, 2, 3):
        reading, ours_out = Pipe(duplex=False)
        ours_in, writing = Pipe(duplex=False)
        peers[replica] = reading, writing
        reads[replica], answers[replica] = Incoming(ours_in), Outgoing(ours_out, 1 << 20)
    ours, theirs = Pipe(duplex=True)
    harness = ControlEnd(ours)
    load = Load(LoadSpec(0, 2, 1, ("A", "B"), 0, 3, 300_000, 1, 1 << 20, theirs, peers))
    load._go()
    yield load, reads, answers, harness
    ends = (*load._readers.values(), *load._writers.values(), *reads.values(), *answers.values())
    for end in (*ends, load._control, harness):
        end.close()


def asked(reads):
    """What each replica was asked since the last look, as client and timestamp."""
    found = {r: [wire.from_plain(plain) for plain in end.read()] for r, end in reads.items()}
    return {r: [request[:2] for m in said for request in m.requests] for r, said in found.items()}


def says(load, answers, replica, *messages):
    for message in messages:
        answers[replica].send(framed(wire.encode(message)))
    load._waiter.wait(1_000_000)


def test_who_was_elected_is_asked_at_once_for_all_that_is_open(held):
    load, reads, answers, _ = held
    everything = [("c1", 1), ("c2", 1)]
    assert asked(reads) == {1: everything, 2: [], 3: []}
    says(load, answers, 2, Elected(SECOND))
    assert asked(reads) == {1: [], 2: everything, 3: []}
    says(load, answers, 2, Reply(SECOND, (("c1", 1, "success", 1),)))
    assert asked(reads) == {1: [], 2: [("c1", 2)], 3: []}


@pytest.mark.parametrize("seen", [Elected(SECOND), Reply(SECOND, (("c1", 1, "success", 1),))])
def test_an_older_leader_is_answered_and_not_asked(held, seen):
    load, reads, answers, _ = held
    says(load, answers, 2, seen)
    asked(reads)
    known = [(2, SECOND)] if isinstance(seen, Elected) else []
    for replica, ballot in ((1, FIRST), *known):
        says(load, answers, replica, Elected(ballot))
        (plain,) = reads[replica].read()
        assert wire.from_plain(plain) == ClientRequest(())
    assert load._believed == 2


def test_an_answer_under_the_new_ballot_hides_no_leader_from_the_other_clients(held):
    """A backup told an old answer again before the winner's LEADER was read."""
    load, reads, answers, _ = held
    asked(reads)
    says(load, answers, 3, Reply(SECOND, (("c1", 1, "success", 1),)))
    says(load, answers, 2, Elected(SECOND))
    assert ("c2", 1) in asked(reads)[2]


def test_a_leader_before_the_first_request_ends_no_load(held):
    load, _, answers, harness = held
    load._outstanding.clear()
    load._sending = False
    harness.read()
    says(load, answers, 1, Elected(FIRST))
    assert harness.read() == []


def test_time_outs_begin_anew_with_a_leader(held):
    load, _, answers, _ = held
    load._timers_due = 0
    says(load, answers, 2, Elected(SECOND))
    assert load._timers_due > 0


def test_what_is_no_answer_is_told_with_its_replica_and_ends_the_load(held):
    load, _, answers, harness = held
    says(load, answers, 2, Reply(SECOND, (("c1", 1, "success"),)))
    word, replica, reason = harness.read()[-1]
    assert (word, replica) == (WRONG, 2) and "ValueError" in reason
    assert not load._running


def test_a_benchmark_with_what_is_no_answer_is_invalid_at_once():
    fleet = LoadedFleet.__new__(LoadedFleet)
    fleet.fleet = SimpleNamespace(loads=[SimpleNamespace(heard=[(WRONG, 2, "ValueError: short")])])
    with pytest.raises(
        HarnessError, match="n2 says to clients what is no answer: ValueError: short"
    ) as raised:
        fleet._await(lambda: False, "for figures")
    assert raised.value.exit_code == EXIT_INVALID
