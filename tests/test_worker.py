"""One worker in this process, with its queues held by the test."""

import os
from multiprocessing import Pipe

import pytest
from processes import alarm  # noqa: F401

from bank.accounts import Balances
from bank.ballot import Ballot
from bank.effects import Effects, Executed
from bank.messages import ClientRequest, Elected, Heartbeat, Prepare, Promise
from bank.settings import Settings
from bank.standing import Settled
from bank.status import Role
from harness.cluster import journal, wire, wording
from harness.cluster.links import Links
from harness.cluster.nemesis import LinkFault
from harness.live import protocol
from harness.live.queues import LENGTH, ControlEnd, Incoming, Outgoing, framed
from harness.live.worker import Worker, WorkerSpec, now

pytestmark = pytest.mark.usefixtures("alarm")


@pytest.fixture
def held():
    """A worker for n1 of three replicas, and the test's ends: from and to n2 and n3."""
    ends, peers = {}, {}
    for peer in (2, 3):
        to_worker, ours_out = Pipe(duplex=False)
        ours_in, from_worker = Pipe(duplex=False)
        peers[peer] = (0, to_worker, from_worker)
        ends[peer] = (Incoming(ours_in), Outgoing(ours_out, 1 << 20))
    harness_end, worker_end = Pipe(duplex=True)
    spec = WorkerSpec(
        replica=1,
        replicas=3,
        incarnation=0,
        resumed=False,
        settings=Settings(),
        balances=Balances.of({"A": 10}),
        seed=0,
        file=None,
        cluster="",
        lock=None,
        durability="memory",
        queue_limit=1 << 20,
        traced=True,
        links=[],
        control=worker_end,
        peers=peers,
        clients=[],
    )
    control = ControlEnd(worker_end)
    worker = Worker(spec, control)
    harness = ControlEnd(harness_end)
    harness.told = []
    yield worker, ends, harness
    harness.close()
    for incoming, outgoing in ends.values():
        incoming.close()
        outgoing.close()
    for reader in worker._readers.values():
        reader.close()
    for writer in worker._writers.values():
        writer.close()
    control.close()


def turn(worker):
    worker._wait()
    if worker._transit is not None:
        worker._pass_on(worker._transit)
    worker._turn()
    worker._inbox.clear()


def heartbeat(number, leader):
    return framed(wire.encode(Heartbeat(Ballot(number, leader), 1, 0, 0)))


def test_a_malformed_frame_ends_its_queue_and_is_no_notice_of_death(held):
    worker, ends, _ = held
    ends[2][1].send(heartbeat(1, 2))
    turn(worker)
    assert worker._replica.following == Ballot(1, 2)
    os.write(ends[2][1].fileno(), LENGTH.pack(5) + b"bogus")
    turn(worker)
    settled = isinstance(worker._replica.standing, Settled)
    assert settled, "n2 is not taken for dead: only its queue is broken"
    ends[2][0].read()
    assert not ends[2][0].closed, "and n2 does not take n1 for dead"
    ends[3][1].send(heartbeat(2, 3))
    turn(worker)
    assert worker._replica.following == Ballot(2, 3), "the other queues work on"
    assert worker._replica.role is Role.FOLLOWER
    worker._lose(2)  # n2 starts again later: the broken queue is forgotten without harm
    assert 2 not in worker._readers


class Batch(tuple):
    """Of a student's own `bank`; the harness knows nothing of it."""


def test_what_was_executed_is_told_in_plain_tuples(held):
    worker, _, harness = held
    request = ("A", 1, "transfer", "A", "B", 1)
    worker._report(Effects(executed=(Executed(1, Batch([request]), (("A", 1, "success", 1),)),)))
    told = [rest for word, *rest in harness.read() if word == protocol.TURN]
    assert told[-1][1] == [(1, (request,), ["success"])]


def test_a_damaged_queue_is_reported_and_replaced(held):
    worker, ends, harness = held
    os.write(ends[2][1].fileno(), LENGTH.pack(5) + b"bogus")
    turn(worker)
    assert (protocol.DAMAGED, 2, 0) in harness.read()
    reading, ours = Pipe(duplex=False)
    harness.send((protocol.READING, 2), (reading.fileno(),))
    reading.close()
    again = Outgoing(ours, 1 << 20)
    again.send(heartbeat(1, 2))
    turn(worker)
    turn(worker)
    assert worker._replica.following == Ballot(1, 2), "n2 is heard on the new queue"
    assert isinstance(worker._replica.standing, Settled)
    again.close()
    turn(worker)
    settled = isinstance(worker._replica.standing, Settled)
    assert not settled, "its end is the notice of n2's death"


def test_a_writer_goes_on_with_the_queue_that_replaces_a_damaged_one(held):
    worker, ends, harness = held
    theirs, writing = Pipe(duplex=False)
    harness.send((protocol.WRITING, 2), (writing.fileno(),))
    writing.close()
    ends[2][1].send(framed(wire.encode(Prepare(Ballot(5, 2), 0))))
    turn(worker)
    answer = Incoming(theirs)
    assert [wire.from_plain(plain).ballot for plain in answer.read()] == [Ballot(5, 2)]
    assert ends[2][0].read() == [] and ends[2][0].closed, "the old one has ended"
    answer.close()


# ---- links with faults ---------------------------------------------------------------------------


def test_leader_goes_to_each_process_of_clients_until_one_is_heard(held):
    worker, ends, _ = held
    heard, asks = [], []
    for _ in range(2):
        requests_in, requests_out = Pipe(duplex=False)
        replies_in, replies_out = Pipe(duplex=False)
        worker._connect_client(Incoming(requests_in), Outgoing(replies_out, 1 << 20))
        heard.append(Incoming(replies_in))
        asks.append(Outgoing(requests_out, 1 << 20))
    ballot = Ballot(1, 1)
    leader = [wire.to_plain(Elected(ballot))]
    worker._replica.seek_leader(now())
    turn(worker)  # it stands
    ends[2][1].send(framed(wire.encode(Promise(ballot, 0, 0, ()))))
    turn(worker)
    assert [queue.read() for queue in heard] == [leader, leader]
    asks[0].send(framed(wire.encode(ClientRequest(()))))
    turn(worker)
    worker._replica.timers.heartbeat = 0
    turn(worker)
    assert [queue.read() for queue in heard] == [[], []]
    told = [journal.from_plain(plain).event for plain in worker._journal.take()]
    told = [event for event in told if isinstance(event, journal.Passed)]
    assert sum(isinstance(event.message, Elected) for event in told) <= 1
    for end in (*heard, *asks):
        end.close()


def put_on_links(worker, harness, *faults):
    """Tell the worker, as the harness does; it must confirm."""
    links = Links()
    for fault in faults:
        links.apply(fault)
    harness.read()
    harness.send((protocol.LINKS, 7, links.to_plain()))
    turn(worker)
    assert (protocol.ANSWER, 7, None) in harness.read()


def told(harness):
    """What the worker's trace said of messages so far: direction, peer, label."""
    harness.told += [rest[2] for word, *rest in harness.read() if word == protocol.TURN]
    entries = [journal.from_plain(plain) for plains in harness.told for plain in plains]
    return [wording.line(entry.event)[:3] for entry in entries if entry.way is not None]


def prepare(number, candidate):
    return framed(wire.encode(Prepare(Ballot(number, candidate), 0)))


def test_only_what_comes_on_a_cut_link_is_lost_and_that_is_told(held):
    worker, ends, harness = held
    put_on_links(worker, harness, LinkFault("cut", frozenset([(2, 1), (1, 3)])))
    ends[2][1].send(prepare(5, 2))
    turn(worker)
    assert worker._replica.promised < Ballot(5, 2)
    ends[3][1].send(prepare(1, 3))
    turn(worker)
    assert worker._replica.promised == Ballot(1, 3), "the cut from n1 is the business of n3"
    assert told(harness)[:2] == [("lost", "n2", "PREPARE"), ("in", "n3", "PREPARE")]
    put_on_links(worker, harness, LinkFault("cut", frozenset([(1, 3)])))
    assert worker._transit is None, "links to others, and whole ones, cost nothing"
    ends[2][1].send(prepare(5, 2))
    turn(worker)
    assert worker._replica.promised == Ballot(5, 2)


def test_a_held_message_wakes_the_worker_when_it_may_be_read(held):
    worker, ends, harness = held
    put_on_links(worker, harness, LinkFault("delay", frozenset([(2, 1)]), least=5_000, most=5_000))
    ends[2][1].send(prepare(5, 2))
    turn(worker)
    assert worker._replica.promised < Ballot(5, 2)
    turn(worker)  # nothing else is due: a fresh replica waits for ever
    assert worker._replica.promised == Ballot(5, 2)
    assert told(harness)[:2] == [("held", "n2", "PREPARE"), ("in", "n2", "PREPARE")]


@pytest.mark.parametrize(("kind", "read"), [("delay", ["PREPARE", "DOWN"]), ("cut", ["DOWN"])])
def test_death_is_noticed_whatever_befalls_the_link_and_after_what_it_holds(held, kind, read):
    worker, ends, harness = held
    put_on_links(worker, harness, LinkFault(kind, frozenset([(2, 1)]), least=5_000, most=5_000))
    ends[2][1].send(prepare(5, 2))
    ends[2][1].close()
    while ("in", "n2", "DOWN") not in (lines := told(harness)):
        turn(worker)
    assert [line[2] for line in lines if line[0] == "in"] == read


def test_what_links_held_is_thrown_away_by_who_is_disconnected(held):
    worker, _, harness = held
    put_on_links(worker, harness, LinkFault("delay", frozenset([(2, 1)]), least=1, most=1))
    worker._obey(protocol.DISCONNECT, [])
    worker._transit.take((2, 1), Prepare(Ballot(5, 2), 0), now() - 10)
    worker._obey(protocol.RECONNECT, [])
    turn(worker)
    assert worker._replica.promised < Ballot(5, 2)


@pytest.mark.parametrize("word", ["lost", "doubled"])
def test_who_goes_on_after_a_stop_obeys_links_before_it_reads_on(held, word):
    """What piled up while it was stopped is read in the same moment as the harness's word."""
    worker, ends, harness = held
    links = Links()
    links.apply(LinkFault("cut" if word == "lost" else "duplicate", frozenset([(2, 1)])))
    ends[2][1].send(prepare(5, 2))
    harness.send((protocol.RESUMED, links.to_plain()))
    turn(worker)
    assert told(harness)[0] == (word, "n2", "PREPARE")
