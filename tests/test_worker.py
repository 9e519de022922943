"""One worker in this process, with its queues held by the test."""

import os
from multiprocessing import Pipe

import pytest

from bank.ballot import Ballot
from bank.messages import Heartbeat
from bank.settings import Settings
from bank.status import Role
from harness import wire
from harness.live.queues import LENGTH, ControlEnd, Incoming, Outgoing
from harness.live.worker import Worker, WorkerSpec


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
        balances={"A": 10},
        seed=0,
        file=None,
        durability="memory",
        queue_limit=1 << 20,
        traced=True,
        control=worker_end,
        peers=peers,
        clients=[],
    )
    control = ControlEnd(worker_end)
    worker = Worker(spec, control)
    yield worker, ends
    for incoming, outgoing in ends.values():
        incoming.close()
        outgoing.close()
    for reader in worker._readers.values():
        reader.close()
    for writer in worker._writers.values():
        writer.close()
    control.close()
    harness_end.close()


def turn(worker):
    worker._wait()
    worker._turn()
    worker._inbox.clear()


def test_a_malformed_frame_ends_its_queue_and_is_no_notice_of_death(held):
    worker, ends = held
    follow = wire.encode(Heartbeat(Ballot(1, 2), 1, 0, 0))
    ends[2][1].send([follow])
    turn(worker)
    assert worker._replica.following == Ballot(1, 2)
    os.write(ends[2][1].fileno(), LENGTH.pack(5) + b"bogus")
    turn(worker)
    assert worker._replica._settled, "n2 is not taken for dead: only its queue is broken"
    ends[2][0].read()
    assert not ends[2][0].closed, "and n2 does not take n1 for dead"
    ends[3][1].send([wire.encode(Heartbeat(Ballot(2, 3), 1, 0, 0))])
    turn(worker)
    assert worker._replica.following == Ballot(2, 3), "the other queues work on"
    assert worker._replica.role is Role.FOLLOWER
    worker._lose(2)  # n2 starts again later: the broken queue is forgotten without harm
    assert 2 not in worker._readers
