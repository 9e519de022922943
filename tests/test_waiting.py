"""Waiting for queues: who is called, and who no longer."""

import os
from types import SimpleNamespace

import pytest

from harness.live import waiting
from harness.live.waiting import Waiter


@pytest.fixture
def pipes():
    ends = [os.pipe() for _ in range(2)]
    yield ends
    for descriptor in (end for pair in ends for end in pair):
        os.close(descriptor)


def test_who_has_something_to_read_is_called_and_nobody_else(pipes):
    waiter, called = Waiter(), []
    for index, (reading, _) in enumerate(pipes):
        waiter.on_readable(reading, lambda i=index: called.append(i))
    waiter.wait(0)
    assert called == []
    os.write(pipes[1][1], b"x")
    waiter.wait(None)
    assert called == [1]
    assert set(waiter.reading) == {reading for reading, _ in pipes}


def test_who_only_serves_does_not_wait(pipes):
    waiter, called = Waiter(), []
    waiter.on_readable(pipes[0][0], lambda: called.append("read"))
    assert not waiter.serve()
    os.write(pipes[0][1], b"x")
    assert waiter.serve()
    assert called == ["read"]


def test_end_of_file_is_something_to_read():
    reading, writing = os.pipe()
    waiter, called = Waiter(), []
    waiter.on_readable(reading, lambda: called.append(os.read(reading, 1)))
    os.close(writing)
    waiter.wait(None)
    assert called == [b""]
    os.close(reading)


def test_a_full_pipe_is_told_when_it_takes_bytes_again(pipes):
    (reading, writing), _ = pipes
    os.set_blocking(writing, False)
    waiter, called = Waiter(), []
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    waiter.on_writable(writing, lambda: called.append("write"))
    waiter.wait(0)
    assert called == []
    os.read(reading, 1 << 20)
    waiter.wait(None)
    assert called == ["write"]
    waiter.stop_writing(writing)
    waiter.stop_writing(writing)
    waiter.wait(0)
    assert called == ["write"]


def test_a_reader_that_is_gone_is_told_to_who_waits_to_write():
    reading, writing = os.pipe()
    waiter, called = Waiter(), []
    waiter.on_writable(writing, lambda: called.append("write"))
    os.close(reading)
    waiter.wait(None)
    assert called == ["write"]
    os.close(writing)


def test_what_was_forgotten_is_not_called_though_its_number_is_used_again(pipes):
    (reading, writing), _ = pipes
    waiter, called = Waiter(), []
    waiter.on_readable(reading, lambda: called.append("old"))
    waiter.forget(reading)
    waiter.forget(reading)
    os.write(writing, b"x")
    waiter.wait(0)
    assert called == []
    waiter.on_readable(reading, lambda: called.append("new"))
    waiter.wait(None)
    assert called == ["new"]


def test_who_is_ready_at_once_is_called_even_if_an_earlier_call_forgets_it(pipes):
    """So a queue that an earlier event of the turn closed has to look at itself first."""
    waiter, called = Waiter(), []
    for index, (reading, writing) in enumerate(pipes):
        os.write(writing, b"x")
        other = pipes[1 - index][0]
        waiter.on_readable(reading, lambda i=index, o=other: (called.append(i), waiter.forget(o)))
    waiter.wait(None)
    assert sorted(called) == [0, 1]


class Clock:
    """Time that only `sched_yield` and a sleep let pass."""

    def __init__(self, monkeypatch, waiter):
        self.now, self.yields, self.slept = 0, 0, []
        self.ready_after = None  # so many yields
        monkeypatch.setattr(waiting, "time", SimpleNamespace(monotonic_ns=lambda: self.now))
        monkeypatch.setattr(waiting, "os", SimpleNamespace(sched_yield=self.give_way))
        waiter._poll = SimpleNamespace(poll=self.poll)

    def give_way(self):
        self.yields += 1
        self.now += 100_000

    def poll(self, timeout_ms):
        if self.ready_after is not None and self.yields >= self.ready_after:
            return [(0, waiting.READ)]
        if timeout_ms != 0:
            self.slept.append(timeout_ms)
            self.now += int((1000 if timeout_ms is None else timeout_ms) * 1e6)
        return []


@pytest.fixture
def clock(monkeypatch):
    waiter = Waiter()
    clock = Clock(monkeypatch, waiter)
    clock.waiter = waiter
    return clock


def test_after_a_long_wait_it_sleeps_at_once(clock):
    for _ in range(3):
        clock.waiter.wait(40_000)
    assert (clock.yields, clock.slept) == (0, [40, 40, 40])


def test_after_a_brief_wait_it_stays_awake_as_long_as_waits_are_brief(clock):
    clock.waiter.wait(500)  # asleep, and not for long
    clock.ready_after = 3
    clock.waiter.wait(40_000)
    assert (clock.yields, clock.slept) == (3, [0.5])


def test_it_falls_asleep_after_a_while_and_never_waits_longer_than_asked(clock):
    clock.waiter.wait(500)
    clock.waiter.wait(40_000)
    assert clock.yields == waiting.AWAKE_NS // 100_000
    assert clock.slept == [0.5, 39.2]
    clock.waiter.wait(None)  # that was long: asleep at once
    assert clock.yields == waiting.AWAKE_NS // 100_000
    assert clock.slept == [0.5, 39.2, None]


def test_awake_it_keeps_a_deadline_that_is_sooner(clock):
    clock.waiter.wait(500)
    clock.waiter.wait(300)
    assert (clock.yields, clock.slept) == (3, [0.5])  # and no sleep after it
