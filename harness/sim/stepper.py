"""One event of a simulated cluster at a time, and back: a list of steps, played from the start.

Going back needs nothing but that the same commands do the same: a prefix of the list is played in
a new world. So does going another way; the way that is left is kept under a name.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from bank.ballot import replica_name
from bank.settings import MILLISECOND
from bank.status import Role
from harness.sim.invariants import Violation
from harness.sim.script import ScriptError
from harness.sim.shrink import Story, script_text
from harness.sim.stepped import Event, Kind, SteppedWorld
from harness.sim.swarm import where

MOST_EVENTS = 3_000  # that `until` goes through, beside those of the source


class Impossible(Exception):
    """What was asked for cannot be done now; the text says why."""


@dataclass(frozen=True, slots=True)
class Step:
    """One event that happened, as a script says it."""

    words: str
    commands: tuple[str, ...]
    takes: int = 0  # items of the source
    amid: bool = False  # clients waited for answers then


class Source(Protocol):
    """What happens unless somebody chooses otherwise: a test set, or a recorded run."""

    kind: Kind
    is_first: bool  # it goes before messages that are under way
    length: int  # how many items it has

    def next(self, world: SteppedWorld, taken: int, is_alone: bool) -> Step | None:
        """The next step after `taken` items; `is_alone`: everything so far came from here."""

    def place(self, taken: int) -> str:
        """Where this is, in words."""


class Done(NamedTuple):
    """What one or more steps led to."""

    lines: list[str]  # of the trace
    steps: int


class Stepper:
    """See the module."""

    def __init__(
        self,
        head: str,
        source: Source,
        client_timeout_ms: int,
        patience_ms: int,
    ) -> None:
        """`head` is the first line of a script: the cluster.

        A source goes on without answers after `patience_ms`.
        """
        self.head, self.source = head, source
        self._timeout = client_timeout_ms * MILLISECOND
        self._patience = patience_ms * MILLISECOND
        self.done: list[Step] = []
        self.branches: dict[str, list[Step]] = {}
        self._ahead: list[Step] = []  # taken back, for as long as nothing else was done
        self._start()

    def _start(self) -> None:
        words = self.head.split()
        given = dict(zip(words[::2], words[1::2], strict=True))
        self.world = SteppedWorld(given, self._timeout)
        self.violation: str | None = None
        self.taken = 0

    # ---- forward -------------------------------------------------------------------------------

    def do(self, step: Step) -> Done:
        """Let this happen. Impossible when it cannot."""
        if self.violation is not None:
            raise Impossible("what must hold does not any more: back 1 takes the last event back")
        step = replace(step, amid=bool(self.world.open_requests()))
        try:
            lines = self._perform(step)
        except ScriptError as error:
            if step.commands[1:]:  # the first of them may be done
                self._play(self.done)
            raise Impossible(str(error)) from None
        if self._ahead and self._ahead[0].commands == step.commands:
            del self._ahead[0]
        elif self._ahead:
            self._keep()
        self.done.append(step)
        return Done(lines, 1)

    def _perform(self, step: Step) -> list[str]:
        try:
            for command in step.commands:
                self.world.command(command)
        except Violation as violation:
            self.violation = str(violation)
        except ScriptError:
            raise
        except Exception as error:  # a replica's own, where it starts
            self.violation = f"{type(error).__name__}: {error}; {where(error)}"
        self.taken += step.takes
        lines = self.world.lines[:]
        self.world.lines.clear()
        return lines

    def _keep(self) -> None:
        """The way that was taken back is another one now."""
        name = next(n for n in map(str, range(1, 10_000)) if n not in self.branches)
        self.branches[name] = [*self.done, *self._ahead]
        self._ahead = []

    def next(self, wanted: int | None = None) -> Step | None:
        """What happens when nobody chooses; timers of the replica `wanted` run out first."""
        if self.violation is not None:
            return None
        world, source = self.world, self.source
        told = source.next(world, self.taken, len(self.done) == self.taken)
        if told is not None and source.is_first:
            return told
        events = world.events()
        for event in events:
            if event.kind in (Kind.MESSAGE, Kind.DISK):
                return taken(event)
        timers = [event for event in events if event.kind in (Kind.TIMER, Kind.CLIENT)]
        own = (f"expire n{wanted}",)
        # Not always that one: it may wait for a client, or for somebody else's silence.
        is_turn = wanted is not None and world.was_asked() and self._last_timer() != own
        is_ready = not world.open_requests() or world.is_stuck(self._patience)
        if told is not None and is_ready and not is_turn:
            return told
        timers.sort(key=lambda event: (event.commands == own) is not is_turn)
        return taken(timers[0]) if timers else told

    def _last_timer(self) -> tuple[str, ...]:
        verbs = ("expire ", "retry ")
        steps = (s.commands for s in reversed(self.done) if s.commands)
        return next((commands for commands in steps if commands[0].startswith(verbs)), ())

    def events(self) -> list[tuple[Event, Step]]:
        """All that can happen now, that of the source first, each with the step that it is."""
        if self.violation is not None:
            return []
        told = self.source.next(self.world, self.taken, len(self.done) == self.taken)
        found = [(event, taken(event)) for event in self.world.events()]
        if told is not None:
            found.insert(0, (Event(self.source.kind, told.words, told.commands), told))
        return found

    def is_told(self) -> bool:
        """The source has nothing more to say."""
        is_alone = len(self.done) == self.taken
        return self.source.next(self.world, self.taken, is_alone) is None

    def until(self, text: str, is_cancelled: Callable[[], bool] = lambda: False) -> Done:
        """One event after the other until this holds; Impossible, where it was, if it does not.

        It stays where it is once `is_cancelled` says so.
        """
        holds, wanted = condition(text)
        first, lines = len(self.done), list[str]()
        ahead, branches = [*self._ahead], dict(self.branches)
        if holds(self):
            raise Impossible(f"{text}: that is so already")
        for _ in range(MOST_EVENTS + self.source.length):
            if (step := self.next(wanted)) is None:
                break
            lines += self.do(step).lines
            if self.violation is not None or holds(self) or is_cancelled():
                return Done(lines, len(self.done) - first)
        more = len(self.done) - first
        self._play(self.done[:first])
        self._ahead, self.branches = ahead, branches
        raise Impossible(f"{text}: not within {more:,} events, so nothing was done")

    # ---- back ----------------------------------------------------------------------------------

    def back(self, count: int) -> None:
        """Take so many events back."""
        if count > len(self.done):
            raise Impossible(f"{len(self.done)} events happened, expected at most so many")
        at = len(self.done) - count
        self._ahead = [*self.done[at:], *self._ahead]
        self._play(self.done[:at])

    def forward(self, count: int) -> Done:
        """What was taken back happens again."""
        if count > len(self._ahead):
            raise Impossible(f"{len(self._ahead)} events were taken back, expected at most so many")
        lines = [line for step in self._ahead[:count] for line in self.do(step).lines]
        return Done(lines, count)

    def branch(self, name: str) -> None:
        """Keep the way up to here under this name."""
        self.branches[name] = [*self.done]

    def go(self, name: str) -> None:
        """To the end of the way with this name; the one that is left is kept."""
        if name not in self.branches:
            known = ", ".join(self.branches) or "none yet"
            raise Impossible(f"no branch {name}, expected one of: {known}")
        wanted = self.branches[name]
        if self.done != wanted[: len(self.done)]:
            self._keep()
        self._ahead = []
        self._play(wanted)

    def _play(self, steps: Sequence[Step]) -> None:
        self._start()
        for step in steps:
            self._perform(step)
        self.done = [*steps]

    # ---- keeping -------------------------------------------------------------------------------

    def commands(self) -> tuple[str, ...]:
        """All that happened, as a script says it."""
        return tuple(command for step in self.done for command in step.commands)

    def script(self, told_by: str) -> str:
        """The text of a script with what everything led to."""
        story = Story(self.head, self.commands(), self.violation or "")
        return script_text(story, told_by)


def taken(event: Event) -> Step:
    """The step that lets an event happen."""
    return Step(event.words, event.commands)


def by_hand(command: str, words: str = "") -> Step:
    """The step of a command of a script; `words` as a person says it."""
    return Step(words or command, (command,))


# ---- what `until` waits for ----------------------------------------------------------------------

_NAMED = re.compile(r"(?:n?(\d+) )?([a-z]+)(?: n?(\d+))?")  # "n2 leads", "leads n2"
_LEADING = {"leads"}  # as a person types it


def condition(text: str) -> tuple[Callable[[Stepper], bool], int | None]:
    """What to wait for, and the replica whose timers are to run out first. Impossible: no idea."""
    if (match := _NAMED.fullmatch(text)) and match[2] in _LEADING:
        wanted = int(match[1] or match[3] or 0)
        if wanted:
            return lambda s: _leads(s, wanted), wanted
        return lambda s: s.world.leader() is not None, None
    if match := re.fullmatch(r"slot (\d+) chosen", text):
        slot = int(match[1])
        return lambda s: s.world.is_chosen(slot), None
    if match := re.fullmatch(r"slot (\d+) executed(?: n?(\d+))?", text):
        slot, who = int(match[1]), int(match[2] or 0)
        return lambda s: _executed(s, slot, who), None
    if text == "quiet":
        return lambda s: not any(e.kind is Kind.MESSAGE for e in s.world.events()), None
    if text == "answered":
        return _Answered(), None
    if text == "violation":
        return lambda s: False, None
    told = "leads n2, slot 7 chosen, slot 7 executed [n2], answered, quiet or violation"
    raise Impossible(f'until "{text}": expected {told}')


class _Answered:
    """Clients have all their answers. Where nobody waits yet, the next ones who ask are meant."""

    def __init__(self) -> None:
        self._asked = False

    def __call__(self, stepper: Stepper) -> bool:
        self._asked |= bool(stepper.world.open_requests()) or stepper.is_told()
        return self._asked and not stepper.world.open_requests()


def _nobody(replica: int, world: SteppedWorld) -> Impossible:
    known = f"expected n1..n{len(world.everyone)}"
    return Impossible(f"there is no {replica_name(replica)}, {known}")


def _leads(stepper: Stepper, replica: int) -> bool:
    world = stepper.world
    if replica not in world.everyone:
        raise _nobody(replica, world)
    return world.hears(replica) and world[replica].role is Role.LEADER


def _executed(stepper: Stepper, slot: int, who: int) -> bool:
    world = stepper.world
    if who and who not in world.everyone:
        raise _nobody(who, world)
    wanted = [who] if who else list(world.everyone)
    ends = [world.status(replica).executed_upto >= slot for replica in wanted]
    return all(ends) if who else any(ends)


# ---- a recorded run ------------------------------------------------------------------------------


class Recording:
    """A seed's run, turn by turn; over once anything else happened."""

    kind = Kind.SEED
    is_first = True

    def __init__(self, seed: int, commands: Sequence[str]) -> None:
        """`commands`: as they were recorded; those of one turn are one step."""
        self._seed, self._turns = seed, list(_turns(commands))
        self.length = len(self._turns)

    def next(self, world: SteppedWorld, taken: int, is_alone: bool) -> Step | None:
        """See Source."""
        if not is_alone or taken >= len(self._turns):
            return None
        turn = self._turns[taken]
        words = "; ".join(re.sub(r" and read on| @[\d.]+ms", "", command) for command in turn)
        return Step(words, turn, 1)

    def place(self, taken: int) -> str:
        """See Source."""
        return f"seed {self._seed}, {taken:,} of {len(self._turns):,}"


def _turns(commands: Sequence[str]) -> Iterator[tuple[str, ...]]:
    turn: list[str] = []
    for command in commands:
        turn.append(command)
        if not _IS_MORE.search(command):
            yield tuple(turn)
            turn = []
    if turn:
        yield tuple(turn)


_IS_MORE = re.compile(r"^slow |^crash n\d+ after | and read on")  # of the same turn
