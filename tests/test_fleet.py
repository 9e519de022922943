"""What a fleet's processes say is read in time, and answers before words."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from harness.cluster.journal import Liveness
from harness.files.config import ClusterConfig
from harness.live import fleet, process, protocol, worker
from harness.live.fleet import WORDS_US, Fleet
from harness.live.handle import NEVER_LED
from harness.live.queues import ControlEnd, Incoming, Outgoing, framed
from harness.live.spec import Disks

TURN = (protocol.TURN, tuple(NEVER_LED), [], [], 0)


class Field:
    """A fleet of one replica, whose process is this test; and the clock."""

    def __init__(self) -> None:
        self.at = 1_000_000
        self.heard: list[str] = []
        config, disks = ClusterConfig(nodes=1), Disks({1: None}, "", False, None)
        self.fleet = Fleet(config, disks, traced=True, listener=self)
        ours, theirs = process.CONTEXT.Pipe(duplex=True)
        replies_in, replies_out = process.pipe()
        self.sentinel, self._life = process.pipe()
        self.control, self.replies = ControlEnd(theirs), Outgoing(replies_out, 1 << 16)
        handle = self.fleet.handles[1]
        handle.control, handle.incoming = ControlEnd(ours), Incoming(replies_in)
        handle.process = SimpleNamespace(sentinel=self.sentinel.fileno())
        handle.liveness = Liveness.LIVE
        self.fleet._watch(handle)

    def on_reply(self, replica: int, plain: Any) -> None:
        self.heard.append("answer")

    def on_turn(self, replica: int, executed: list[Any], entries: list[Any]) -> None:
        self.heard.append("word")

    def on_lost(self, replica: int) -> None:
        self.heard.append("death")

    def pump(self, for_answers: bool = True) -> list[str]:
        """What is heard now."""
        self.heard.clear()
        self.fleet.pump(self.at, for_answers)
        return self.heard

    def close(self) -> None:
        handle = self.fleet.handles[1]
        for end in (handle.control, handle.incoming, self.control, self.replies, self.sentinel):
            end.close()
        self._life.close()


@pytest.fixture
def field(monkeypatch) -> Iterator[Field]:
    field = Field()
    monkeypatch.setattr(worker, "now", lambda: field.at)
    yield field
    field.close()


def answer(field: Field) -> None:
    field.replies.send(framed(b"\x80\x05K\x01."))  # a pickled 1


def test_words_wait_for_a_while_when_answers_come(field):
    answer(field)
    assert field.pump() == ["answer"]
    field.control.send(TURN)
    answer(field)
    assert field.pump() == ["answer"]
    field.at += WORDS_US - 1
    assert field.pump() == []
    field.at += 1
    field.control.send(TURN)
    assert field.pump() == ["word", "word"]


def test_words_wait_no_longer_than_answers_come(field):
    answer(field)
    assert field.pump() == ["answer"]
    field.at += WORDS_US
    assert field.pump() == []
    field.control.send(TURN)
    assert field.pump() == ["word"]


def test_who_waits_for_words_hears_them_at_once(field):
    answer(field)
    assert field.pump() == ["answer"]
    field.control.send(TURN)
    assert field.pump(for_answers=False) == ["word"]


def test_a_death_is_heard_at_once(field, monkeypatch):
    monkeypatch.setattr(fleet.Fleet, "_on_death", lambda self, handle: self._listener.on_lost(1))
    field.fleet._watch(field.fleet.handles[1])
    answer(field)
    assert field.pump() == ["answer"]
    field._life.close()
    assert field.pump() == ["death"]
