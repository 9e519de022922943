"""Where in a turn a process can die, and what the turn comes to before. Pure; how to die is not
said here.

A turn does its acts in an order: its early messages, its write, its durable messages; or the write
first, for early messages may leave at any time. A death is a `Cut`: so much is done, and no more.
The simulator draws an `Instant`, `explore` takes every number of acts, a script says one, and a
test set names one of `nemesis.POINTS`: a replica that is armed with a point goes on as always until
its turn passes there, and dies with nothing flushed and nobody told.
"""

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from bank.ballot import ReplicaId
from bank.effects import Effects, Send
from bank.messages import NewView
from bank.status import Role
from harness.cluster.choices import Choices
from harness.cluster.nemesis import (
    AFTER_WRITE,
    BEFORE_COMMIT,
    BEFORE_WRITE,
    MID_CATCH_UP,
    MID_CHECKPOINT,
    MID_NEW_VIEW,
)


class Instant(Enum):
    """The kinds of places in a turn; the value is what people see."""

    BEFORE_ALL = "before anything left"
    AMONG_EARLY = "between early messages"
    BEFORE_WRITE = "after early messages, before the write"
    AFTER_WRITE = "after the write, before durable messages"
    AMONG_DURABLE = "between durable messages"
    BEFORE_STORED = "after all messages, before stored()"


INSTANTS = tuple(Instant)


@dataclass(frozen=True, slots=True)
class Cut:
    """What a turn does before its process dies, in the order of the fields, or `write_first`."""

    early: list[Send]
    answers: bool  # a LEADER and the replies leave
    writes: bool
    durable: list[Send]
    write_first: bool = False
    lost: int = 0  # transactions that a loss of power takes with it, the last ones

    @property
    def acts(self) -> int:
        """How many: a write, and each message to each replica."""
        letters = sum(len(send.to) for send in (*self.early, *self.durable))
        return letters + self.writes


def after(acts: int, effects: Effects, write_first: bool = False, lost: int = 0) -> Cut:
    """The cut after so many acts of a turn with these effects."""
    stores = effects.persist is not None
    writes = write_first and stores and acts > 0
    left = acts - writes
    early, left = _first(effects.early, left)
    answers = acts > 0 and letters(early) == letters(effects.early)
    if stores and not writes and left > 0:
        writes, left = True, left - 1
    durable, _ = _first(effects.durable, left if writes or not stores else 0)
    return Cut(early, answers, writes, durable, write_first, lost)


def _first(sends: Sequence[Send], letters: int) -> tuple[list[Send], int]:
    """As many messages, each to one replica, as there are; and how many are left over."""
    found: list[Send] = []
    for send in sends:
        if letters <= 0:
            break
        found.append(send if len(send.to) <= letters else Send(send.to[:letters], send.message))
        letters -= len(send.to)
    return found, max(0, letters)


def letters(sends: Sequence[Send]) -> int:
    """How many messages these are, each counted for each replica."""
    return sum(len(send.to) for send in sends)


def drawn(instant: Instant, effects: Effects, choices: Choices, write_first: bool = False) -> Cut:
    """The cut of a kind of place; which of several is drawn."""
    early, durable = letters(effects.early), letters(effects.durable)
    stores = int(effects.persist is not None)
    match instant:
        case Instant.BEFORE_ALL:
            return after(0, effects)
        case Instant.AMONG_EARLY:
            return after(choices.pick(max(1, early)), effects)
        case Instant.BEFORE_WRITE:
            return after(early, effects)
        case Instant.AFTER_WRITE if write_first and stores:
            return after(1, effects, write_first)
        case Instant.AFTER_WRITE:
            return after(early + stores, effects)
        case Instant.AMONG_DURABLE:
            return after(early + stores + choices.pick(max(1, durable)), effects)
        case Instant.BEFORE_STORED:
            return after(early + stores + durable, effects)


# ---- named points ------------------------------------------------------------------------------


def passes(point: str, effects: Effects, role: Role, is_catching_up: bool) -> bool:
    """True when the turn with these effects passes `point`; it will be reached in this turn.

    `is_catching_up`: the turn read a STATE.
    """
    persist = effects.persist
    if point == BEFORE_WRITE:
        return persist is not None and bool(persist.runs)
    if point == AFTER_WRITE:
        return persist is not None and bool(persist.runs or effects.durable)
    if point == BEFORE_COMMIT:
        return role is Role.LEADER and bool(effects.executed)
    if point == MID_NEW_VIEW:
        return any(isinstance(send.message, NewView) for send in effects.early)
    if point == MID_CHECKPOINT:
        return persist is not None and (persist.pages or persist.checkpoint) is not None
    if point == MID_CATCH_UP:
        return is_catching_up and persist is not None
    raise AssertionError(f"no kill point {point!r}")


def cut_at(point: str, effects: Effects, alive: Container[ReplicaId]) -> Cut:
    """What a turn that passes `point` comes to.

    `alive`: the replicas whose processes run; the first of them gets the NEW-VIEW, which nobody
    gets after it. A transaction that was begun, as in mid-checkpoint, leaves nothing.
    """
    early = letters(effects.early)
    match point:
        case _ if point == BEFORE_COMMIT:
            return after(0, effects)
        case _ if point == AFTER_WRITE:
            return after(early + 1, effects)
        case _ if point == MID_NEW_VIEW:
            return after(_until_new_view(effects, alive), effects)
        case _:
            return after(early, effects)


def _until_new_view(effects: Effects, alive: Container[ReplicaId]) -> int:
    said = 0
    for to, message in _each(effects.early):
        said += 1
        if isinstance(message, NewView) and to in alive:
            break
    return said


def _each(sends: Sequence[Send]) -> Iterator[tuple[ReplicaId, object]]:
    for send in sends:
        for to in send.to:
            yield to, send.message
