"""Waiting for queues: who is called, and who no longer."""

import os

import pytest

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
