"""A cluster of real replicas as a graph: states, and what can happen in each within bounds.

A state of the cluster is a tuple of numbers: each replica's state, each disk, each link's messages,
the checks' memory, how many requests were submitted. What can happen next:

- the oldest message of a link arrives (any message, with `reorder`), or is lost (budget);
- a message is read and the turn goes on to read another (budget), else every turn reads one;
- a replica's process dies, between turns or in mid-turn (budget); what was sent to it is lost,
  its peers are told by each queue's end; a dead one may start again at any time, from its disk;
- an election timer runs out, a leader's included, whatever the clock says (budget); one that saw
  a PREPARE may take that for lately, and keep quiet, or not;
- a heartbeat is due, or a question is asked again (budget); a waiting COMMIT leaves; with
  `puts_off`, so does what was put off for spare backups;
- the next request arrives at any replica; one submitted before arrives once more (budget).

Merged: states that differ in times only; requests, which are equal up to names and so come in
order; a state reached again with no more budget left in any kind; with `merge_stale`, states that
differ in answers to a ballot that their reader has left. Replicas are not symmetric: ballots are
compared by their numbers.

What is not explored says `NOT_EXPLORED`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import NamedTuple, TypeAlias

from bank.ballot import Ballot, ReplicaId
from bank.ledger import TRANSFER
from bank.messages import Accepted, ClientRequest, PeerDown, Promise
from bank.replica import CLIENT, Replica
from harness.sim.disk import Disk
from harness.sim.explore.checker import CheckerStates
from harness.sim.explore.frozen import Timer, freeze, settings
from harness.sim.explore.turns import Step, Turn, Turns, write

BALANCE = 10
SHOP = "Z"  # everybody's transfers go there

NOT_EXPLORED = (
    "pauses, disconnects and cut links",
    "messages that come twice, or damaged",
    "damaged disks",
    "a dying process whose messages arrive in another order than it sent them",
    "a leader that puts nothing off until it is busy",
    "several requests of one client, reads, transfers that fail",
    "how long anything takes",
)

State: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Budget:
    """How often each of these may happen in one schedule."""

    drops: int = 0
    crashes: int = 0
    elections: int = 1
    heartbeats: int = 0
    retries: int = 0
    batches: int = 0


DROP, CRASH, ELECTION, HEARTBEAT, RETRY, BATCH = range(len(fields(Budget)))
TIMER_BUDGETS = {Timer.ELECTION: ELECTION, Timer.HUSHED: ELECTION, Timer.PULSE: HEARTBEAT}


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is explored."""

    nodes: int = 3
    requests: int = 2
    budget: Budget = Budget()
    elected: bool = False  # begin after an undisturbed election of n1
    reorder: bool = False  # links are no queues
    checkpoint_interval: int = 1000  # slots
    puts_off: bool = False  # leaders put ACCEPTs to spare backups off (rule 13)
    is_small: bool = False  # sizes are one: pieces, spare slots, hashes kept (`frozen.SMALL`)
    merge_stale: bool = True  # answers to a ballot given up are gone; not for a broken gate


class Move(NamedTuple):
    """One event."""

    kind: str  # turn, cut (a turn in the middle of which the process dies), lost, dies, start
    replica: ReplicaId
    code: int  # of an envelope or timer, as in Turns.known
    step: Step | None = None  # of a cut


class Graph:
    """Its states and what can happen in each; see the module."""

    def __init__(self, bounds: Bounds, replica_class: type[Replica] = Replica) -> None:
        self.bounds = bounds
        self.requests = tuple(
            (chr(ord("A") + i), 1, TRANSFER, chr(ord("A") + i), SHOP, 6)
            for i in range(bounds.requests)
        )
        balances: dict[str, int] = {request[0]: BALANCE for request in self.requests}
        balances[SHOP] = 0
        nodes = self._nodes = bounds.nodes
        interval = bounds.checkpoint_interval
        wanted = settings(interval, bounds.puts_off, bounds.is_small)
        self.turns = Turns(replica_class, nodes, balances, wanted)
        self._checkers = CheckerStates(nodes, balances, interval, self.turns.envelopes)
        self._disks: list[object] = []
        self._disk_numbers: dict[object, int] = {}
        self._written: dict[tuple[int, int], int] = {}
        self._everyone = range(1, nodes + 1)
        # Places in a state: replicas, disks, links, checker, submitted.
        pairs = [(s, r) for s in self._everyone for r in self._everyone if s != r]
        self._place = {pair: 2 * nodes + i for i, pair in enumerate(pairs)}
        self._links = [(place, to) for (_, to), place in self._place.items()]
        self._to = {r: [p for p, to in self._links if to == r] for r in self._everyone}
        self._checker = 2 * nodes + len(pairs)
        self._submitted = self._checker + 1
        # Links: a queue is a number too. Its next messages: (envelope, queue without it).
        self.attempt = Move("start", 0, 0)  # the event that is being tried
        self._queues: list[tuple[int, ...]] = []
        self._queue_numbers: dict[tuple[int, ...], int] = {}
        self._next: list[tuple[tuple[int, int], ...]] = []
        self._answers: list[bool] = []  # holds a message that can get stale
        self._fresh: dict[tuple[int, int], int] = {}
        self._pushed: list[dict[tuple[int, ...], int]] = []
        self._notices: frozenset[int] = frozenset()  # envelopes that tell of a death: never lost
        self._empty = self._queue(())
        self._asks: dict[tuple[int, ReplicaId], int] = {}
        for index, request in enumerate(self.requests):
            for replica in self._everyone:
                ask = ClientRequest((request,))
                self._asks[index, replica] = self.turns.envelope(CLIENT, replica, ask)
        self._downs = {
            (s, r): self.turns.envelope(s, r, PeerDown(s, 1)) for s, r in pairs
        }  # no replica reads the incarnation
        self._notices = frozenset(self._downs.values())
        self._budgets(bounds.budget)

    # ---- numbers -------------------------------------------------------------------------------

    def _budgets(self, budget: Budget) -> None:
        """Budgets as numbers: what is left after spending, and which cover which."""
        most = [getattr(budget, field.name) for field in fields(budget)]
        lefts: list[tuple[int, ...]] = [()]
        for count in most:
            lefts = [(*left, n) for left in lefts for n in range(count, -1, -1)]
        numbers = {left: number for number, left in enumerate(lefts)}
        self._spend = [
            [numbers.get((*left[:kind], left[kind] - 1, *left[kind + 1 :]), -1) for left in lefts]
            for kind in range(len(most))
        ]
        self.covers = [
            frozenset(
                n
                for other, n in numbers.items()
                if all(a >= b for a, b in zip(left, other, strict=True))
            )
            for left in lefts
        ]

    def _disk(self, disk: object) -> int:
        number = self._disk_numbers.setdefault(disk, len(self._disks))
        if number == len(self._disks):
            self._disks.append(disk)
        return number

    def _queue(self, envelopes: tuple[int, ...]) -> int:
        """The number of a link's content, and what can be taken from it."""
        envelopes = self._canonical(envelopes)
        number = self._queue_numbers.get(envelopes)
        if number is not None:
            return number
        number = self._queue_numbers[envelopes] = len(self._queues)
        self._queues.append(envelopes)
        self._pushed.append({})
        self._answers.append(
            self.bounds.merge_stale
            and any(
                isinstance(self.turns.envelopes[envelope].message, Promise | Accepted)
                for envelope in envelopes
            )
        )
        self._next.append(())
        heads = {envelopes[0]: 0} if envelopes else {}
        if self.bounds.reorder and envelopes and envelopes[0] not in self._notices:
            for index, envelope in enumerate(envelopes):
                if envelope in self._notices:
                    break
                heads.setdefault(envelope, index)
        self._next[number] = tuple(
            (envelope, self._queue(envelopes[:index] + envelopes[index + 1 :]))
            for envelope, index in heads.items()
        )
        return number

    def _canonical(self, envelopes: tuple[int, ...]) -> tuple[int, ...]:
        """Without an order of messages, sorted between notices of death."""
        if not self.bounds.reorder:
            return envelopes
        parts: list[list[int]] = [[]]
        for envelope in envelopes:
            if envelope in self._notices:
                parts += [[envelope], []]
            else:
                parts[-1].append(envelope)
        return tuple(envelope for part in parts for envelope in sorted(part))

    # ---- what can happen -----------------------------------------------------------------------

    def first_state(self) -> State:
        """All replicas fresh; or, with `elected`, n1 leading and everything delivered."""
        state = [self.turns.fresh(replica) for replica in self._everyone]
        state += [self._disk(freeze(Disk(self.turns.balances.pages), ordered=False))] * self._nodes
        state += [self._empty] * len(self._links)
        state += [self._checkers.first, 0]
        if not self.bounds.elected:
            return tuple(state)
        first = self._after(tuple(state), self.turns.seek_leader(state[0]))
        first = self._after(first, self.turns.take(first[0], Timer.ELECTION))
        while True:
            waiting = [link for link in self._links if first[link[0]] != self._empty]
            if not waiting:
                return first
            place, to = waiting[0]
            envelope, rest = self._next[first[place]][0]
            first = self._after(first, self.turns.take(first[to - 1], envelope * 2), place, rest)

    def _after(self, state: State, turn: Turn, place: int = 0, rest: int = 0) -> State:
        """After a whole turn, which read the message of a link."""
        after = list(state)
        if place:
            after[place] = rest
        replica = turn.step.replica
        if turn.after != after[replica - 1]:
            after[replica - 1] = turn.after
            for link in self._to[replica]:
                if self._answers[after[link]]:
                    after[link] = self._without_stale(after[link], turn.after)
        return self._do(after, turn.step)

    def _do(self, after: list[int], step: Step) -> State:
        """What a step does beside its replica's own state."""
        source = step.replica
        for to, envelopes in step.envelopes:
            if after[to - 1]:
                place = self._place[source, to]
                pushed = self._pushed[after[place]]
                queue = pushed.get(envelopes)
                if queue is None:
                    queue = pushed[envelopes] = self._queue(self._queues[after[place]] + envelopes)
                if self._answers[queue]:
                    queue = self._without_stale(queue, after[to - 1])
                after[place] = queue
        if step.judged:
            after[self._checker] = self._checkers.after(after[self._checker], step)
            if step.writes:
                place = self._nodes + source - 1
                key = after[place], step.number
                disk = self._written.get(key)
                if disk is None:
                    written = write(self._disks[after[place]], step.writes)
                    disk = self._written[key] = self._disk(written)
                after[place] = disk
        return tuple(after)

    def _without_stale(self, queue: int, own: int) -> int:
        """A link without answers to a ballot that its reader has left behind.

        A promise never goes down while its process lives, so what the gate refuses now it refuses
        for ever. That it does nothing now is tried on the replica, not assumed.
        """
        key = queue, own
        fresh = self._fresh.get(key)
        if fresh is None:
            promised = self.turns.promised[own]
            kept = [
                envelope
                for envelope in self._queues[queue]
                if not self._is_stale(envelope, promised, own)
            ]
            fresh = self._fresh[key] = self._queue(tuple(kept))
        return fresh

    def _is_stale(self, envelope: int, promised: Ballot, own: int) -> bool:
        message = self.turns.envelopes[envelope].message
        if not isinstance(message, Promise | Accepted) or message.ballot >= promised:
            return False
        turn = self.turns.take(own, envelope * 2)
        return turn.after == own and all(act.done is not None for act in turn.step.acts)

    def _die(self, state: State, replica: ReplicaId, step: Step | None = None) -> State:
        """The process dies, perhaps in mid-turn: memory and queues to it are gone."""
        after = list(state)
        if step is not None:
            after = list(self._do(after, step))
        after[replica - 1] = 0
        for other in self._everyone:
            if other == replica:
                continue
            after[self._place[other, replica]] = self._empty
            if after[other - 1]:
                place = self._place[replica, other]
                envelopes = (*self._queues[after[place]], self._downs[replica, other])
                after[place] = self._queue(envelopes)
        return tuple(after)

    def successors(self, state: State, budget: int) -> Iterator[tuple[State, int]]:
        """After every event that can happen, in a fixed order: the state and the budget left.

        `attempt` names the event; a Violation it leads to is raised here.
        """
        yield from self._on_links(state, budget)
        for replica in self._everyone:
            own = state[replica - 1]
            if own:
                yield from self._own(state, budget, replica)
            else:
                self.attempt = Move("start", replica, 0)
                turn = self.turns.start(replica, self._disks[state[self._nodes + replica - 1]])
                yield self._after(state, turn), budget
        yield from self._asked(state, budget)

    def _on_links(self, state: State, budget: int) -> Iterator[tuple[State, int]]:
        dropped = self._spend[DROP][budget]
        for place, to in self._links:
            for envelope, rest in self._next[state[place]]:
                if not state[to - 1]:
                    continue
                taken = (*state[:place], rest, *state[place + 1 :])
                yield from self._happens(taken, budget, to, envelope * 2)
                if dropped >= 0 and envelope not in self._notices:
                    self.attempt = Move("lost", to, envelope * 2)
                    yield taken, dropped

    def _own(self, state: State, budget: int, replica: ReplicaId) -> Iterator[tuple[State, int]]:
        """Timers, and death between two turns."""
        for timer in self.turns.timers[state[replica - 1]]:
            kind = TIMER_BUDGETS.get(timer)
            left = budget if kind is None else self._spend[kind][budget]
            if left >= 0:
                yield from self._happens(state, left, replica, timer)
        left = self._spend[CRASH][budget]
        if left >= 0:
            self.attempt = Move("dies", replica, 0)
            yield self._die(state, replica), left

    def _asked(self, state: State, budget: int) -> Iterator[tuple[State, int]]:
        submitted = state[self._submitted]
        retried = self._spend[RETRY][budget]
        for index in range(min(submitted + 1, len(self.requests))):
            left = budget if index == submitted else retried
            if left < 0:
                continue
            asked = (*state[: self._submitted], max(submitted, index + 1))
            for replica in self._everyone:
                if state[replica - 1]:
                    yield from self._happens(asked, left, replica, self._asks[index, replica] * 2)

    def _happens(
        self, state: State, budget: int, replica: ReplicaId, code: int
    ) -> Iterator[tuple[State, int]]:
        """A replica takes a turn, or part of one."""
        own = state[replica - 1]
        self.attempt = Move("turn", replica, code)
        turn = self.turns.known[own].get(code) or self.turns.take(own, code)
        yield self._after(state, turn), budget
        if code >= 0 and (left := self._spend[BATCH][budget]) >= 0:
            self.attempt = Move("turn", replica, code + 1)
            yield self._after(state, self.turns.take(own, code + 1)), left
        if (left := self._spend[CRASH][budget]) >= 0:
            for step in self.turns.cuts(turn):
                self.attempt = Move("cut", replica, code, step)
                yield self._die(state, replica, step), left

    # ---- one schedule --------------------------------------------------------------------------

    def disk(self, state: State, replica: ReplicaId) -> object:
        """A replica's disk, frozen."""
        return self._disks[state[self._nodes + replica - 1]]

    def play(self, state: State, move: Move) -> State:
        """The state after one event of a schedule."""
        for following, _ in self.successors(state, 0):
            if self.attempt == move:
                return following
        raise AssertionError(f"{move} cannot happen here")
