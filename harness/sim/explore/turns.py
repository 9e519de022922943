"""Turns of the real replica, each computed once and remembered.

A replica is deterministic: its state and what happens to it decide its next state and what it
asks for. Of millions of states of a cluster only thousands of states of one replica are distinct,
so the explorer runs `bank.replica.Replica` once for each of (state, happening) and counts on with
numbers. A turn is that of `harness.sim.process`, kept as a list of acts in the order in which they
are done, since a process can die between any two.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby, product
from random import Random
from typing import Any, NamedTuple

from bank.accounts import Balances
from bank.ballot import NO_BALLOT, Ballot, ReplicaId, Slot
from bank.effects import Effects, Persist, Send, Stored
from bank.events import Reason, SteppedDown
from bank.messages import Message
from bank.replica import Replica
from bank.settings import Settings
from bank.standing import Candidate, Leader
from harness.cluster import blame
from harness.sim import judging
from harness.sim.disk import Disk
from harness.sim.explore.frozen import (
    STILL,
    Timer,
    Unfit,
    alarm,
    freeze,
    still,
    thaw,
    timers,
    unfit,
)
from harness.sim.invariants import Violation
from harness.sim.judging import Marks
from harness.sim.process import Process, World

START = -9  # no timer and no envelope


class Envelope(NamedTuple):
    """A message on its way."""

    source: ReplicaId  # CLIENT for a request
    to: ReplicaId
    message: Message


class Act(NamedTuple):
    """One part of a turn, after which its process can die. Exactly one field is set."""

    read: tuple[ReplicaId, Message] | None = None  # of what checks listen to
    flushed: tuple[Effects, Marks] | None = None  # decided; nothing left yet
    envelope: int | None = None  # a message leaves
    persist: Persist | None = None  # the transaction is committed
    found: Stored | None = None  # a new incarnation read its disk
    done: Replica | None = None  # the turn is over; to look at


class Past(NamedTuple):
    """What a replica in some state has behind it."""

    promised: Ballot
    committed_upto: Slot
    # How far a leader counted each peer; empty for who follows, None while it stands.
    counted: Mapping[ReplicaId, Slot] | None

    @classmethod
    def of(cls, replica: Replica) -> "Past":
        """Of this one."""
        match replica.standing:
            case Leader() as lead:
                counted: dict[ReplicaId, Slot] | None = dict(lead.accepted_upto)
            case Candidate():
                counted = None
            case _:
                counted = {}
        return cls(replica.promised, replica.log.committed_upto, counted)


class _Collector(World):
    """The world of one turn: what its process does there is written down as acts."""

    def __init__(self, turns: "Turns", acts: list[Act]) -> None:
        self._turns, self._acts = turns, acts
        super().__init__(
            turns.nodes, turns.settings, turns.balances, turns.replica_class, is_checked=False
        )

    def random(self, process: Process) -> Random:
        """See World."""
        return STILL

    def read(self, process: Process, source: ReplicaId, message: Message) -> None:
        """See World."""
        if isinstance(message, judging.TELLING):
            self._acts.append(Act(read=(source, message)))

    def flushed(self, process: Process, effects: Effects) -> None:
        """See World."""
        if effects.halted is not None:
            raise Violation(judging.stopped(process.id, effects.halted))
        if effects != Effects():
            log = process.replica.log
            marks = Marks(log.truncated_upto, log.executed_upto, log.committed_upto)
            self._acts.append(Act(flushed=(effects, marks)))

    def send(self, process: Process, send: Send) -> None:
        """See World."""
        for to in send.to:
            number = self._turns.envelope(process.id, to, send.message)
            self._acts.append(Act(envelope=number))

    def stored(self, process: Process, persist: Persist) -> None:
        """See World."""
        self._acts.append(Act(persist=persist))


@dataclass(slots=True, eq=False)
class Step:
    """What a turn, or the part of it before its process died, does to everything else."""

    number: int
    replica: ReplicaId
    acts: tuple[Act, ...]
    envelopes: tuple[tuple[int, tuple[int, ...]], ...]  # by receiver, in order
    writes: tuple[Persist, ...]
    judged: bool  # there is something for the checks to look at

    @property
    def is_empty(self) -> bool:
        """Nothing was read that checks listen to, nothing decided, sent or stored."""
        return not self.judged and not self.envelopes


@dataclass(slots=True, eq=False)
class Turn:
    """One state of a replica after another."""

    after: int
    step: Step
    cuts: tuple[Step, ...] | None = None  # how far it can get before its process dies
    comes_back: bool = False  # a leader heard of a higher ballot, and stands above it


class Turns:
    """See the module. Everything is named by small numbers, given out in order of appearance."""

    def __init__(
        self,
        replica_class: type[Replica],
        nodes: int,
        balances: Mapping[str, int],
        settings: Settings,
    ) -> None:
        self.settings, self.replica_class, self.nodes = settings, replica_class, nodes
        self.balances = Balances.of(balances, settings.sizes.page_accounts)
        self.envelopes: list[Envelope] = []
        self._envelope_numbers: dict[Envelope, int] = {}
        self._states: list[Any] = [None]  # 0 is a replica that is down
        self._numbers: dict[Any, int] = {None: 0}
        self.replicas: list[ReplicaId] = [0]  # by state: whose it is
        self.timers: list[tuple[Timer, ...]] = [()]
        self.pasts = [Past(NO_BALLOT, 0, None)]  # by state
        # By state, then by envelope * 2 (+ 1: and the turn goes on), or Timer.
        self.known: list[dict[int, Turn]] = [{}]
        self._starts: dict[tuple[ReplicaId, Any], Turn] = {}
        self._steps = 0
        # Told of each turn which is tried, and then perhaps not walked: see `trial`.
        self.on_trial: Callable[[int, int, Turn], None] = lambda state, code, turn: None
        # Told of each turn when it is taken for the first time; a start is one of state 0.
        self.on_taken: Callable[[int, int, Turn], None] = lambda state, code, turn: None

    @property
    def states(self) -> int:
        """Distinct states of single replicas so far."""
        return len(self._states) - 1

    def envelope(self, source: ReplicaId, to: ReplicaId, message: Message) -> int:
        """The number of this message on this link."""
        envelope = Envelope(source, to, message)
        number = self._envelope_numbers.setdefault(envelope, len(self.envelopes))
        if number == len(self.envelopes):
            self.envelopes.append(envelope)
        return number

    def replica(self, state: int) -> Replica:
        """A replica in this state, to do with it what one likes."""
        replica = thaw(self._states[state])
        assert isinstance(replica, Replica)
        return replica

    def frozen(self, state: int) -> Any:
        """The state itself, as a value."""
        return self._states[state]

    def number(self, frozen: Any) -> int:
        """The number of a frozen state."""
        number = self._numbers.get(frozen)
        return self._number(thaw(frozen)) if number is None else number

    def _number(self, replica: Replica) -> int:
        try:
            still(replica)
            state = freeze(replica)
        except Exception as error:
            raise unfit(replica, error) from error
        number = self._numbers.setdefault(state, len(self._states))
        if number == len(self._states):
            self._states.append(state)
            self.replicas.append(replica.replica)
            self.timers.append(timers(replica))
            self.pasts.append(Past.of(replica))
            self.known.append({})
        return number

    # ---- turns ---------------------------------------------------------------------------------

    def fresh(self, replica: ReplicaId) -> int:
        """The state of a replica that never ran before."""
        with judged():
            return self._number(self._process(replica, []).replica)

    def _process(self, replica: ReplicaId, acts: list[Act], disk: Disk | None = None) -> Process:
        """A process that starts, fresh or from a disk."""
        process = Process(_Collector(self, acts), replica)
        if disk is not None:
            process.disk, process.incarnation = disk, 1
        process.start()
        return process

    def _running(self, state: int, acts: list[Act]) -> Process:
        """The process of a replica in this state."""
        replica = self.replica(state)
        process = Process(_Collector(self, acts), replica.replica)
        process.replica, process.alive = replica, True
        return process

    def start(self, replica: ReplicaId, disk: Any) -> Turn:
        """A new incarnation starts from a frozen disk."""
        turn = self._starts.get((replica, disk))
        if turn is None:
            acts = [Act(found=thaw(disk).stored())]
            with judged():
                process = self._process(replica, acts, thaw(disk))
                process.end_turn()
            turn = self._starts[replica, disk] = self._turn(process, acts)
            self.on_taken(0, START, turn)
        return turn

    def take(self, state: int, code: int) -> Turn:
        """What happens in `state`: an envelope arrives or a timer runs out (see `known`)."""
        turn = self.known[state].get(code)
        if turn is None:
            turn = self.known[state][code] = self._compute(state, code)
            self.on_taken(state, code, turn)
        return turn

    def trial(self, state: int, envelope: int) -> Turn | None:
        """The turn in which this message is read in this state, if nothing is asked for in it.

        For whoever would leave the message out. None as well if the turn is a violation: that is
        met where the message is read.
        """
        try:
            turn = self.take(state, envelope * 2)
        except Violation:
            return None
        if not turn.step.is_empty:
            return None
        self.on_trial(state, envelope * 2, turn)
        return turn

    def seek_leader(self, state: int) -> Turn:
        """Somebody waits for a leader."""
        acts: list[Act] = []
        with judged():
            process = self._running(state, acts)
            process.seek_leader()
            process.end_turn()
        return self._turn(process, acts)

    def _compute(self, state: int, code: int) -> Turn:
        acts: list[Act] = []
        process = self._running(state, acts)
        with judged():
            if code < 0:
                alarm(process.replica, Timer(code))
                process.tick()
            else:
                envelope = self.envelopes[code >> 1]
                process.read(envelope.source, envelope.message)
            if code >= 0 and code & 1:  # one message of several in a turn: nothing is flushed yet
                after = self._number(process.replica)
                return Turn(after, self._step(process.id, acts), ())
            process.end_turn()
        return self._turn(process, acts)

    def _turn(self, process: Process, acts: list[Act]) -> Turn:
        """A whole one."""
        state = self._number(process.replica)
        acts.append(Act(done=process.replica))  # its clocks stand still as well
        told = SteppedDown(Reason.PREPARES_ABOVE)
        again = any(told in act.flushed[0].events for act in acts if act.flushed is not None)
        return Turn(state, self._step(process.id, acts), comes_back=again)

    def _step(self, replica: ReplicaId, acts: Iterable[Act]) -> Step:
        acts = tuple(acts)
        envelopes: dict[int, list[int]] = {}
        for act in acts:
            if act.envelope is not None:
                envelopes.setdefault(self.envelopes[act.envelope].to, []).append(act.envelope)
        self._steps += 1
        return Step(
            self._steps,
            replica,
            acts,
            tuple((to, tuple(numbers)) for to, numbers in envelopes.items()),
            tuple(act.persist for act in acts if act.persist is not None),
            any(act.envelope is None and act.done is None for act in acts),
        )

    # ---- turns cut short -----------------------------------------------------------------------

    def cuts(self, turn: Turn) -> tuple[Step, ...]:
        """Each way in which the process can die in mid-turn after something left or was stored.

        Early messages leave before the write or after it, durable ones only after it. Those to one
        replica leave in order; of two replicas, either may get its messages first.
        """
        if turn.cuts is None:
            replica = turn.step.replica
            acts = [act for act in turn.step.acts if act.done is None]
            found: dict[tuple[Any, ...], tuple[Act, ...]] = {}
            for part in self._parts(acts):
                if _outcome(part) != _outcome(()):
                    found.setdefault(_outcome(part), part)
            found.pop(_outcome(acts), None)  # a crash after the turn
            turn.cuts = tuple(self._step(replica, part) for part in found.values())
        return turn.cuts

    def _parts(self, acts: list[Act]) -> Iterator[tuple[Act, ...]]:
        """How far a turn can get. Between two flushes or writes are messages only."""
        done: list[Act] = []
        for is_sent, group in groupby(acts, lambda act: act.envelope is not None):
            if not is_sent:
                for act in group:
                    done.append(act)
                    yield tuple(done)
                continue
            sends = list(group)
            rest = acts[len(done) + len(sends) :]
            write = rest[:1] if rest and rest[0].persist is not None else []
            for some in self._some(sends):
                yield (*done, *some)
                yield (*done, *some, *write)
            done += sends

    def _some(self, sends: list[Act]) -> Iterator[tuple[Act, ...]]:
        """The first so many messages to each replica."""
        places: dict[ReplicaId, int] = {}
        ranks: list[tuple[ReplicaId, int]] = []  # of each message: to whom, how many before it
        for act in sends:
            assert act.envelope is not None
            to = self.envelopes[act.envelope].to
            ranks.append((to, places.setdefault(to, 0)))
            places[to] += 1
        for counts in product(*(range(count + 1) for count in places.values())):
            most = dict(zip(places, counts, strict=True))
            yield tuple(
                act for act, (to, rank) in zip(sends, ranks, strict=True) if rank < most[to]
            )


def _outcome(acts: Iterable[Act]) -> tuple[Any, ...]:
    """What is left behind: messages, transactions, and whether clients were answered."""
    acts = tuple(acts)
    return (
        tuple(act.envelope for act in acts if act.envelope is not None),
        tuple(id(act.persist) for act in acts if act.persist is not None),
        tuple(id(act) for act in acts if act.flushed is not None and act.flushed[0].replies),
    )


@contextmanager
def judged() -> Iterator[None]:
    """What a replica raises is a violation, told with where: to assert is its way to say so."""
    try:
        yield
    except (Violation, Unfit):
        raise
    except Exception as error:
        told = blame.told(error) if blame.is_of_bank(error) else f"{type(error).__name__}: {error}"
        raise Violation(told) from error


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
