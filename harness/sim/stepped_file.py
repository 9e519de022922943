"""A test set as a source of steps: its requests and faults, submitted one by one.

Messages are delivered, lost and held back by hand here. So of the faults of links only cuts do
anything; the others, waits and points at which a replica dies in mid-turn are told and passed over.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from bank.ballot import ReplicaId, replica_name
from bank.ledger import READ, TRANSFER
from harness.cluster.journal import Liveness
from harness.cluster.nemesis import (
    AFTER_WRITE,
    BEFORE_WRITE,
    Fail,
    FailLeader,
    Heal,
    KillAt,
    LinkFault,
    Recover,
    SetLive,
)
from harness.files.cases import (
    ADDED,
    Action,
    CaseFile,
    CaseSet,
    Command,
    action_text,
)
from harness.files.cases import Step as FileStep
from harness.files.config import FAILURES
from harness.sim.stepped import Kind, SteppedWorld
from harness.sim.stepper import Step

RETURNS = {
    Liveness.DISCONNECTED: "reconnect",
    Liveness.CRASHED: "restart",
    Liveness.PAUSED: "wake",
}
BY_HAND = "to be done by hand here"


class _Item(NamedTuple):
    number: int  # of the set
    action: Action
    text: str


class Sets:
    """The steps of a file."""

    kind = Kind.FILE
    is_first = False

    def __init__(self, file: CaseFile, failure: str) -> None:
        """`failure`: what failing means, one of FAILURES."""
        self._failure, self._sets = failure, file.sets
        self._items: list[_Item] = []
        for case in file.sets:
            self._items.append(_Item(case.number, SetLive(case.live), f"set {case.number}"))
            self._items += [_Item(case.number, s.action, s.text) for s in case.steps]
        self.length = len(self._items)

    def next(self, world: SteppedWorld, taken: int, is_alone: bool) -> Step | None:
        """See Source. A set whose replicas are live begins with its first step."""
        takes, begins = 0, ""
        for number, action, text in self._items[taken:]:
            takes += 1
            commands = tuple(self._commands(world, action))
            if isinstance(action, SetLive):
                begins = f"set {number}: "
                if not commands:
                    continue
                live = " ".join(map(replica_name, sorted(action.live)))
                return Step(f"{begins}live {live}", commands, takes)
            if isinstance(action, Command) and self._waits(world, action):
                return None
            if isinstance(action, Command):
                whom = commands[0].split()[1]
                return Step(f"{begins}{text} to {whom}", commands, takes)
            told = ", ".join(commands)
            if not commands:
                told = "nobody leads" if isinstance(action, FailLeader) else BY_HAND
            return Step(f"{begins}{text}: {told}", commands, takes)
        return None

    def _waits(self, world: SteppedWorld, command: Command) -> bool:
        """Its client has a request without an answer, and one at a time is all it may have."""
        return any(request[0] == command.sender for request in world.open_requests())

    def place(self, taken: int) -> str:
        """See Source."""
        if not taken:
            return f"set {self._items[0].number}"
        return f"set {self._items[taken - 1].number}"

    # ---- as a script says it -------------------------------------------------------------------

    def _commands(self, world: SteppedWorld, action: Action) -> Iterator[str]:
        match action:
            case Command(_, sender, receiver, amount):
                asked = f"({sender}, {receiver}, {amount})" if receiver else f"({sender})"
                yield f"request {world.believed(sender)} {asked}"
            case SetLive(live):
                yield from self._mend(sorted(world.cuts))
                for replica in world.everyone:
                    if replica in live:
                        yield from self._return(world, replica)
                    elif world.hears(replica):
                        yield self._fail(replica)
            case Fail(replica, mode) if world.hears(replica):
                yield f"{mode or self._failure} {replica_name(replica)}"
            case FailLeader(point) if (leader := world.leader()) is not None:
                yield from self._die(leader, point)
            case KillAt(replica, point) if world.hears(replica):
                yield from self._die(replica, point)
            case Recover(replica):
                yield from self._return(world, replica)
            case LinkFault("cut", links):
                yield from (f"cut n{a}->n{b}" for a, b in sorted(links))
            case Heal(links):
                yield from self._mend(sorted(world.cuts if links is None else links & world.cuts))
            case _:
                pass

    def _fail(self, replica: ReplicaId) -> str:
        return f"{self._failure} {replica_name(replica)}"

    def _die(self, replica: ReplicaId, point: str | None) -> Iterator[str]:
        if point is None:
            yield self._fail(replica)
        elif point in (BEFORE_WRITE, AFTER_WRITE):
            yield f"crash {replica_name(replica)} {point.replace('the ', '')}"

    def _return(self, world: SteppedWorld, replica: ReplicaId) -> Iterator[str]:
        if (how := RETURNS.get(world.liveness(replica))) is not None:
            yield f"{how} {replica_name(replica)}"

    def _mend(self, links: Sequence[tuple[ReplicaId, ReplicaId]]) -> Iterator[str]:
        return (f"mend n{a}->n{b}" for a, b in links)

    # ---- as a test set -------------------------------------------------------------------------

    def so_far(self, done: Sequence[Step]) -> tuple[list[CaseSet], str]:
        """The sets as far as they were submitted, with what was done by hand, and how all fail.

        Which messages arrived is in no test set. ValueError for what failed in several ways.
        """
        sets: list[CaseSet] = []
        modes: dict[str, None] = {}
        at = 0
        for step in done:
            verbs = [command.partition(" ")[0] for command in step.commands]
            modes |= dict.fromkeys(verb for verb in verbs if verb in FAILURES)
            items = self._items[at : at + step.takes]
            at += step.takes
            if not step.takes:
                items = [_Item(0, a, action_text(a)) for a in _actions(step.commands)]
            for number, action, text in items:
                if isinstance(action, SetLive):
                    sets.append(CaseSet(number, action.live, (), ADDED))
                    continue
                if not sets:
                    raise ValueError("nothing of the file was submitted yet")
                amid = step.amid and bool(sets[-1].steps) and not isinstance(action, Command)
                added = FileStep(ADDED, text, action, together=amid)
                sets[-1] = replace(sets[-1], steps=(*sets[-1].steps, added))
        if len(modes) > 1:
            raise ValueError(f"{' and '.join(modes)}: in a test set all fail in one way")
        return sets, next(iter(modes), self._failure)


def _actions(commands: Sequence[str]) -> Iterator[Action]:
    """What was done by hand and can be said in a test set."""
    for command in commands:
        verb, _, rest = command.partition(" ")
        if verb in FAILURES and rest[1:].isdigit():
            yield Fail(int(rest[1:]))
        elif verb in FAILURES:
            name, _, point = rest.partition(" ")
            named = {"before write": BEFORE_WRITE, "after write": AFTER_WRITE}
            if point not in named:
                raise ValueError(f"{command} does not fit into a test set")
            yield KillAt(int(name[1:]), named[point])
        elif verb in RETURNS.values() and rest[1:].isdigit():
            yield Recover(int(rest[1:]))
        elif match := re.fullmatch(r"(cut|mend) n(\d+)->n(\d+)", command):
            links = frozenset({(int(match[2]), int(match[3]))})
            yield LinkFault("cut", links) if match[1] == "cut" else Heal(links)
        elif match := re.fullmatch(r"request n\d+ \((\w+)(?:, (\w+), (\d+))?\)", command):
            kind = TRANSFER if match[2] else READ
            yield Command(kind, match[1], match[2] or "", int(match[3] or 0))
