"""Turns of the real replica, each computed once and remembered.

A replica is deterministic: its state and what happens to it decide its next state and what it
asks for. Of millions of states of a cluster only thousands of states of one replica are distinct,
so the explorer runs `bank.replica.Replica` once for each of (state, happening) and counts on with
numbers. A turn is kept as a list of acts in the order in which a driver may do them, since a
process can die between any two.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from bank.ballot import NO_BALLOT, ReplicaId, replica_name
from bank.effects import Effects, Persist, Send, Stored
from bank.messages import Message
from bank.replica import Replica
from harness.sim.disk import Disk
from harness.sim.frozen import QUIET, STILL, Timer, alarm, freeze, still, thaw, timers
from harness.sim.invariants import Violation

MOST_FLUSHES = 20  # of one turn; a sound replica needs a few


class Letter(NamedTuple):
    """A message on its way."""

    source: ReplicaId  # CLIENT for a request
    to: ReplicaId
    message: Message


class Act(NamedTuple):
    """One step of a turn, after which its process can die. Exactly one field is set."""

    flushed: Effects | None = None  # decided, and told to the checks; nothing left yet
    letter: int | None = None  # a message leaves
    persist: Persist | None = None  # the transaction is committed
    found: Stored | None = None  # a new incarnation read its disk
    done: Replica | None = None  # the turn is over; a copy to look at


@dataclass(slots=True, eq=False)
class Deed:
    """What a turn, or the part of it before its process died, does to everything else."""

    number: int
    replica: ReplicaId
    acts: tuple[Act, ...]
    letters: tuple[tuple[int, tuple[int, ...]], ...]  # by receiver, in order
    writes: tuple[Persist, ...]
    judged: bool  # there is something for the checks to look at


@dataclass(slots=True, eq=False)
class Turn:
    """One state of a replica after another."""

    after: int
    deed: Deed
    cuts: tuple[Deed, ...] | None = None  # how far it can get before its process dies


class Turns:
    """See the module. Everything is named by small numbers, given out in order of appearance."""

    def __init__(
        self,
        replica_class: type[Replica],
        nodes: int,
        balances: Mapping[str, int],
        checkpoint_interval: int,
    ) -> None:
        self._settings = replace(QUIET, checkpoint_interval=checkpoint_interval)
        self._class, self._nodes, self._balances = replica_class, nodes, dict(balances)
        self.letters: list[Letter] = []
        self._letter_numbers: dict[Letter, int] = {}
        self._states: list[Any] = [None]  # 0 is a replica that is down
        self._numbers: dict[Any, int] = {None: 0}
        self.timers: list[tuple[Timer, ...]] = [()]
        self.promised = [NO_BALLOT]  # by state
        # By state, then by letter * 2 (+ 1: and the turn goes on), or Timer.
        self.known: list[dict[int, Turn]] = [{}]
        self._starts: dict[tuple[ReplicaId, Any], Turn] = {}
        self._deeds = 0

    @property
    def states(self) -> int:
        """Distinct states of single replicas so far."""
        return len(self._states) - 1

    def letter(self, source: ReplicaId, to: ReplicaId, message: Message) -> int:
        """The number of this message on this link."""
        letter = Letter(source, to, message)
        number = self._letter_numbers.setdefault(letter, len(self.letters))
        if number == len(self.letters):
            self.letters.append(letter)
        return number

    def replica(self, state: int) -> Replica:
        """A replica in this state, to do with it what one likes."""
        replica = thaw(self._states[state])
        assert isinstance(replica, Replica)
        return replica

    def _number(self, replica: Replica) -> int:
        still(replica)
        state = freeze(replica)
        number = self._numbers.setdefault(state, len(self._states))
        if number == len(self._states):
            self._states.append(state)
            self.timers.append(timers(replica))
            self.promised.append(replica.promised)
            self.known.append({})
        return number

    # ---- turns ---------------------------------------------------------------------------------

    def fresh(self, replica: ReplicaId) -> int:
        """The state of a replica that never ran before."""
        return self._number(self._make(replica, None))

    def _make(self, replica: ReplicaId, stored: Stored | None) -> Replica:
        return self._class(replica, self._nodes, self._settings, STILL, self._balances, stored, 0)

    def start(self, replica: ReplicaId, disk: Any) -> Turn:
        """A new incarnation starts from a frozen disk."""
        turn = self._starts.get((replica, disk))
        if turn is None:
            stored = thaw(disk).stored()
            found = [Act(found=stored)]
            turn = self._run(replica, lambda: self._make(replica, stored), found)
            self._starts[replica, disk] = turn
        return turn

    def take(self, state: int, code: int) -> Turn:
        """What happens in `state`: a letter arrives or a timer runs out (see `known`)."""
        turn = self.known[state].get(code)
        if turn is None:
            turn = self.known[state][code] = self._compute(self.replica(state), code)
        return turn

    def seek_leader(self, state: int) -> Turn:
        """Somebody waits for a leader."""
        replica = self.replica(state)

        def happen() -> Replica:
            replica.seek_leader(0)
            return replica

        return self._run(replica.replica, happen)

    def _compute(self, replica: Replica, code: int) -> Turn:
        def happen() -> Replica:
            if code < 0:
                alarm(replica, Timer(code))
                replica.tick(0)
            else:
                letter = self.letters[code >> 1]
                replica.step(letter.source, letter.message, 0)
            return replica

        if code >= 0 and code & 1:
            return self._read_on(happen)
        return self._run(replica.replica, happen)

    def _read_on(self, happen: Callable[[], Replica]) -> Turn:
        """One message of several in a turn: nothing is flushed yet."""
        try:
            replica = happen()
        except Exception as error:
            raise _broken(error) from error
        return Turn(self._number(replica), self._deed(replica.replica, ()), ())

    def _run(
        self, number: ReplicaId, happen: Callable[[], Replica], before: Iterable[Act] = ()
    ) -> Turn:
        """A whole turn, with all that `stored` leads to; a failed assertion is a violation."""
        acts = list(before)
        try:
            replica = happen()
            self._flush(replica, acts)
        except Violation:
            raise
        except Exception as error:
            raise _broken(error) from error
        state = self._number(replica)
        acts.append(Act(done=self.replica(state)))
        return Turn(state, self._deed(number, acts))

    def _flush(self, replica: Replica, acts: list[Act]) -> None:
        for _ in range(MOST_FLUSHES):
            effects = replica.flush()
            if effects.halted is not None:
                name = replica_name(replica.replica)
                raise Violation(f"{name} stopped itself: {effects.halted}")
            if effects != Effects():
                acts.append(Act(flushed=effects))
            acts += self._sends(replica.replica, effects.early)
            if effects.persist is not None:
                acts.append(Act(persist=effects.persist))
            acts += self._sends(replica.replica, effects.durable)
            replica.stored()
            if effects == Effects():
                return
        raise Violation(f"{replica_name(replica.replica)} has something to flush for ever")

    def _sends(self, source: ReplicaId, sends: Iterable[Send]) -> Iterable[Act]:
        return [Act(letter=self.letter(source, to, s.message)) for s in sends for to in s.to]

    def _deed(self, replica: ReplicaId, acts: Iterable[Act]) -> Deed:
        acts = tuple(acts)
        letters: dict[int, list[int]] = {}
        for act in acts:
            if act.letter is not None:
                letters.setdefault(self.letters[act.letter].to, []).append(act.letter)
        self._deeds += 1
        return Deed(
            self._deeds,
            replica,
            acts,
            tuple((to, tuple(numbers)) for to, numbers in letters.items()),
            tuple(act.persist for act in acts if act.persist is not None),
            any(act.letter is None and act.done is None for act in acts),
        )

    # ---- turns cut short -----------------------------------------------------------------------

    def cuts(self, turn: Turn) -> tuple[Deed, ...]:
        """Each way in which the process can die in mid-turn after something left or was stored.

        Early messages leave in order, before the write or after it; durable ones only after it.
        """
        if turn.cuts is None:
            replica = turn.deed.replica
            acts = [act for act in turn.deed.acts if act.done is None]
            found: dict[tuple[Any, ...], tuple[Act, ...]] = {}
            for part in (*_prefixes(acts), *_late(acts)):
                if _outcome(part) != _outcome(()):
                    found.setdefault(_outcome(part), part)
            found.pop(_outcome(acts), None)  # a crash after the turn
            turn.cuts = tuple(self._deed(replica, part) for part in found.values())
        return turn.cuts


def _prefixes(acts: list[Act]) -> Iterable[tuple[Act, ...]]:
    return [tuple(acts[:count]) for count in range(1, len(acts))]


def _late(acts: list[Act]) -> Iterable[tuple[Act, ...]]:
    """A driver may write before it sends what could leave early."""
    found: list[tuple[Act, ...]] = []
    flushed = 0
    for index, act in enumerate(acts):
        if act.flushed is not None:
            flushed = index
        if act.persist is not None:
            for count in range(flushed + 1, index):
                found.append((*acts[: flushed + 1], act, *acts[flushed + 1 : count]))
    return found


def _outcome(acts: Iterable[Act]) -> tuple[Any, ...]:
    """What is left behind: messages, transactions, and whether clients were answered."""
    acts = tuple(acts)
    return (
        tuple(act.letter for act in acts if act.letter is not None),
        tuple(id(act.persist) for act in acts if act.persist is not None),
        tuple(id(act) for act in acts if act.flushed is not None and act.flushed.replies),
    )


def _broken(error: Exception) -> Violation:
    return Violation(f"{type(error).__name__}: {error}")


def write(disk: Any, persists: Iterable[Persist]) -> Any:
    """A frozen disk after some transactions; what is stored never gets older."""
    thawed: Disk = thaw(disk)
    for persist in persists:
        before = dict(thawed.rows)
        thawed.commit(persist)
        thawed.sync()
        for slot, (ballot, request) in thawed.rows.items():
            old, held = before.get(slot, (NO_BALLOT, request))
            if ballot < old or (ballot == old and request != held):
                raise Violation(f"slot {slot} is stored in {ballot} over {old}: {held}, {request}")
    return freeze(thawed, ordered=False)
