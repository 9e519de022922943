"""A cluster of real replicas as a graph: states, and what can happen in each within bounds.

A state of the cluster is a tuple of numbers: each replica's site (its state, its disk, what is on
its way to it), the checks' memory, how many requests were submitted. What can happen next:

- the oldest message of a link arrives (any message, with `reorder`), or is lost (budget);
- a message is read and the turn goes on to read another (budget), else every turn reads one;
- a replica's process dies, between turns or in mid-turn (budget); what was sent to it is lost,
  its peers are told by each queue's end; a dead one may start again at any time, from its disk;
- an election timer runs out, a leader's included, whatever the clock says (budget); one that saw
  a PREPARE may take that for lately, and keep quiet, or not;
- a leader that hears of a higher ballot stands again, above it (budget: two that depose each other
  would take numbers for ever);
- a heartbeat is due, or a question is asked again (budget); a waiting COMMIT leaves; with
  `puts_off`, so does what was put off for spare backups;
- the next request arrives at any replica; one submitted before arrives once more (budget).

Merged: states that differ in times only; requests, which are equal up to names and so come in
order; a state reached again with no more budget left in any kind; with `merge_stale`, states that
differ in answers to a ballot that their reader has left.

What is not explored says `NOT_EXPLORED`; what is left out beside, because nothing comes of it,
`reductions`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from itertools import product
from typing import NamedTuple, TypeAlias

from bank.ballot import ReplicaId
from bank.ledger import TRANSFER
from bank.messages import ClientRequest, PeerDown
from bank.replica import CLIENT, Replica
from harness.cluster.form import checked
from harness.sim.explore.checker import CheckerStates
from harness.sim.explore.frozen import Timer, settings
from harness.sim.explore.sites import EMPTY, Envelopes, Links, Site, Sites, with_link
from harness.sim.explore.turns import Step, Turn, Turns

BALANCE = 10
SHOP = "Z"  # everybody's transfers go there

NOT_EXPLORED = (
    "pauses, disconnects and cut links",
    "messages that come twice, or damaged",
    "damaged disks",
    "a leader that puts nothing off until it is busy",
    "several requests of one client, reads, transfers that fail",
    "a client that comes before A, and so on in that order",
    "what goes by the incarnation that a notice of death names (always 1)",
    "whether a tuple or a message holds True, 1 or 1.0, which are equal",
    "what a frozen dataclass leaves out of its equality",
    "changes of an object that stands in a set or as a key",
    "how long anything takes, and what goes by a count of heartbeats, pauses or busy slots",
)

# Each replica's site, the checks' memory, how many requests were submitted.
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
    comebacks: int = 1  # leaders that hear of a higher ballot, and stand again above it


Cost: TypeAlias = tuple[int, ...]  # as the fields of a Budget
FREE: Cost = (0,) * len(fields(Budget))
DROP, CRASH, ELECTION, HEARTBEAT, RETRY, BATCH, COMEBACK = (
    (*FREE[:kind], 1, *FREE[kind + 1 :]) for kind in range(len(FREE))
)
TIMER_COSTS = {Timer.ELECTION: ELECTION, Timer.HUSHED: ELECTION, Timer.PULSE: HEARTBEAT}


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
    """One event, as it is told."""

    kind: str  # turn, cut (a turn in the middle of which the process dies), lost, dies, start
    replica: ReplicaId
    code: int  # of an envelope or timer, as in Turns.known
    step: Step | None = None  # of a cut


class Event(NamedTuple):
    """What can happen at a site, and all that it leads to."""

    place: int  # of the site in a state
    after: int  # the site
    pushes: tuple[tuple[int, int], ...]  # messages to others: the place, the parcel
    step: Step | None  # for the checks; None when there is nothing to look at
    left: int  # of the budget
    moves: tuple[Move, ...]  # messages that are lost, then what happens


Events: TypeAlias = tuple[Event, ...]


class Graph:
    """Its states and what can happen in each; see the module."""

    def __init__(
        self,
        bounds: Bounds,
        replica_class: type[Replica] = Replica,
        merges_said: bool = False,
    ) -> None:
        """`merges_said`: see `Sites`."""
        self.bounds = bounds
        self.requests = tuple(
            (chr(ord("A") + i), 1, TRANSFER, chr(ord("A") + i), SHOP, 6)
            for i in range(bounds.requests)
        )
        balances: dict[str, int] = {request[0]: BALANCE for request in self.requests}
        balances[SHOP] = 0
        nodes = bounds.nodes
        interval = bounds.checkpoint_interval
        wanted = settings(interval, bounds.puts_off, bounds.is_small)
        self.replica_class = replica_class
        kind = checked(replica_class)  # type: ignore[arg-type]  # classes are hashable
        self.turns = Turns(kind, nodes, balances, wanted)
        self.sites = Sites(self.turns, not bounds.reorder, bounds.merge_stale, merges_said)
        self.checkers = CheckerStates(nodes, balances, interval, self.turns.envelopes)
        self.everyone = range(1, nodes + 1)
        self.attempt: tuple[Move, ...] = (Move("start", 0, 0),)  # what is being tried
        self.stopped_comeback = False  # a leader would have stood again, beyond the budget
        self._asked: dict[tuple[int, int, int], tuple[tuple[int, Event], ...]] = {}
        self._moves: dict[tuple[Move, ...], tuple[Move, ...]] = {}  # each kept once
        self._pushes: dict[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]] = {}
        self.on_turn: Callable[[Site, Move, Turn], None] = lambda site, move, turn: None
        self._asks = {
            (index, replica): self.turns.envelope(CLIENT, replica, ClientRequest((request,)))
            for index, request in enumerate(self.requests)
            for replica in self.everyone
        }
        self._downs = {
            (s, r): self.turns.envelope(s, r, PeerDown(s, 1))
            for s in self.everyone
            for r in self.everyone
            if s != r
        }  # no replica reads the incarnation
        self._budgets(bounds.budget)

    def _budgets(self, budget: Budget) -> None:
        """Budgets as numbers: what is left after spending, and which cover which."""
        most = [getattr(budget, field.name) for field in fields(budget)]
        self.lefts = [*product(*(range(count, -1, -1) for count in most))]
        self._left_numbers = {left: number for number, left in enumerate(self.lefts)}
        self._spent: dict[tuple[int, Cost], int] = {}
        self.covers = [
            frozenset(
                n
                for other, n in self._left_numbers.items()
                if all(a >= b for a, b in zip(left, other, strict=True))
            )
            for left in self.lefts
        ]
        # By budget, then by site: with messages lost on their own; when a later one arrives.
        self._events: list[dict[int, Events]] = [{} for _ in self.lefts]
        self._late: list[dict[int, Events]] = [{} for _ in self.lefts]

    def _left(self, budget: int, cost: Cost) -> int:
        """What is left of a budget after spending; -1 if there is not enough."""
        key = budget, cost
        left = self._spent.get(key)
        if left is None:
            after = tuple(a - b for a, b in zip(self.lefts[budget], cost, strict=True))
            left = self._spent[key] = self._left_numbers.get(after, -1)
        return left

    # ---- what can happen -----------------------------------------------------------------------

    def first_state(self) -> State:
        """All replicas fresh; or, with `elected`, n1 leading and everything delivered."""
        sites = (self.sites.first(replica) for replica in self.everyone)
        state: State = (*sites, self.checkers.first, 0)
        if not self.bounds.elected:
            return state
        own = self.sites[state[0]].own
        state = self._after_turn(state, 1, self.turns.seek_leader(own))
        own = self.sites[state[0]].own
        state = self._after_turn(state, 1, self.turns.take(own, Timer.ELECTION))
        while (arrival := next(self._arrivals(state), None)) is not None:
            state = self.after(state, arrival)
        return state

    def _arrivals(self, state: State) -> Iterator[Event]:
        """Messages that arrive while nothing else happens: no timer, death or loss is tried."""
        for number in state[:-2]:
            site = self.sites[number]
            for source, link in enumerate(site.links, 1):
                for envelope, before, rest in self.sites.takes(link):
                    if before:
                        continue
                    taken = with_link(site, source, rest)
                    turn = self._turn(taken, envelope * 2)
                    if not turn.comes_back:
                        yield self._event(self.attempt, 0, taken, turn)

    def _after_turn(self, state: State, replica: ReplicaId, turn: Turn) -> State:
        site = self.sites[state[replica - 1]]
        return self.after(state, self._event((Move("turn", replica, 0),), 0, site, turn))

    def after(self, state: State, event: Event, submitted: int = -1) -> State:
        """The state after an event; `submitted`: requests, if that changes. Raises Violation."""
        place, site, pushes, step, _, self.attempt = event
        after = [*state]
        after[place] = site
        if pushes:
            pushed = self.sites.pushed
            for to, parcel in pushes:
                there = after[to]
                try:
                    after[to] = pushed[there][parcel]
                except KeyError:
                    after[to] = self.sites.push(there, parcel)
        if step is not None:
            after[-2] = self.checkers.after(after[-2], step)
        if submitted >= 0:
            after[-1] = submitted
        return tuple(after)

    def can_happen(
        self, state: State, budget: int, late: bool = False
    ) -> Iterator[tuple[int, Event]]:
        """All that can happen with this budget: (how many requests were submitted then, event).

        With `late`, messages are lost when a later one of their link arrives, and not before.
        """
        submitted = state[-1]
        for number in state[:-2]:
            for event in self.events(number, budget, late):
                yield submitted, event
        yield from self.asked(state, budget)

    def ways(self, state: State, budget: int, late: bool = False) -> int:
        """How many things can happen with this budget; `late`: see `can_happen`."""
        return sum(
            len(self.events(number, budget, late)) + len(self.asked_at(number, state[-1], budget))
            for number in state[:-2]
        )

    def asked(self, state: State, budget: int) -> Iterator[tuple[int, Event]]:
        """Requests that can arrive: (how many were submitted then, event)."""
        for number in state[:-2]:
            yield from self.asked_at(number, state[-1], budget)

    def asked_at(self, number: int, submitted: int, budget: int) -> tuple[tuple[int, Event], ...]:
        """Requests that can arrive at one site: (how many were submitted then, event)."""
        key = number, submitted, budget
        asked = self._asked.get(key)
        if asked is None:
            asked = self._asked[key] = (*self._requests_at(self.sites[number], submitted, budget),)
        return asked

    def _requests_at(self, site: Site, submitted: int, budget: int) -> Iterator[tuple[int, Event]]:
        if not site.own:
            return
        for index in range(min(submitted + 1, len(self.requests))):
            is_new = index == submitted
            code = self._asks[index, site.replica] * 2
            for event in self._turns(site, code, FREE if is_new else RETRY, budget):
                yield max(submitted, index + 1), event

    def events(self, number: int, budget: int, late: bool = False) -> Events:
        """What can happen at a site with this budget, requests apart; `late`: see `can_happen`."""
        known = (self._late if late else self._events)[budget]
        events = known.get(number)
        if events is None:
            found = (*self._at(self.sites[number], budget),)
            alone = tuple([event for event in found if len(event.moves) == 1])
            lost = tuple([event for event in found if event.moves[-1].kind != "lost"])
            self._events[budget][number] = found if len(alone) == len(found) else alone
            self._late[budget][number] = found if len(lost) == len(found) else lost
            events = known[number]
        return events

    def _at(self, site: Site, budget: int) -> Iterator[Event]:
        replica = site.replica
        if not site.own:
            move = Move("start", replica, 0)
            self.attempt = (move,)
            turn = self.turns.start(replica, self.sites.disks[site.disk])
            self.on_turn(site, move, turn)
            yield self._event((move,), budget, site, turn)
            return
        for source, link in enumerate(site.links, 1):
            for envelope, before, rest in self.sites.takes(link):
                lost = tuple(Move("lost", replica, one * 2) for one in before)
                taken = with_link(site, source, rest)
                yield from self._turns(taken, envelope * 2, (len(lost), *FREE[1:]), budget, lost)
                left = self._left(budget, DROP)
                if left >= 0 and not lost and not self.sites.is_notice(envelope):
                    move = Move("lost", replica, envelope * 2)
                    after = self.sites.moved(taken, site.own, site.disk)
                    yield Event(replica - 1, after, (), None, left, self._kept((move,)))
        for timer in self.turns.timers[site.own]:
            yield from self._turns(site, timer, TIMER_COSTS.get(timer, FREE), budget)
        if (left := self._left(budget, CRASH)) >= 0:
            yield self._death((Move("dies", replica, 0),), left, site, None)

    def _turns(
        self, site: Site, code: int, cost: Cost, budget: int, lost: tuple[Move, ...] = ()
    ) -> Iterator[Event]:
        """A replica takes a turn, or part of one."""
        left = self._left(budget, cost)
        if left < 0:
            return
        turn = self._turn(site, code, lost)
        whole = self._left(left, COMEBACK) if turn.comes_back else left
        if whole >= 0:
            yield self._event(self.attempt, whole, site, turn)
        else:
            self.stopped_comeback = True
        if code >= 0 and (less := self._left(left, BATCH)) >= 0:  # whoever flushes pays the rest
            more = self._turn(site, code + 1, lost)
            yield self._event(self.attempt, less, site, more)
        if whole >= 0 and (less := self._left(whole, CRASH)) >= 0:
            for step in self.turns.cuts(turn):
                self.attempt = (*lost, Move("cut", site.replica, code, step))
                yield self._death(self.attempt, less, site, step)

    def _turn(self, site: Site, code: int, lost: tuple[Move, ...] = ()) -> Turn:
        """One turn is tried, after messages were lost. Raises Violation."""
        move = Move("turn", site.replica, code)
        self.attempt = (*lost, move)
        turn = self.turns.take(site.own, code)
        self.on_turn(site, move, turn)
        return turn

    def _event(self, moves: tuple[Move, ...], left: int, site: Site, turn: Turn) -> Event:
        step = turn.step
        disk = self.sites.written(site.disk, step)
        after = self.sites.moved(site, turn.after, disk)
        pushes = self._pushed(step.envelopes)
        judged = step if step.judged else None
        return Event(site.replica - 1, after, pushes, judged, left, self._kept(moves))

    def _death(self, moves: tuple[Move, ...], left: int, site: Site, step: Step | None) -> Event:
        """The process dies, perhaps in mid-turn: memory and queues to it are gone."""
        disk, sent = site.disk, dict[ReplicaId, Envelopes]()
        if step is not None:
            disk, sent = self.sites.written(disk, step), dict(step.envelopes)
        links: Links = (EMPTY,) * len(site.links)
        after = self.sites.number(Site(site.replica, 0, disk, links))
        pushes = tuple(
            (to, (*sent.get(to, ()), self._downs[site.replica, to]))
            for to in self.everyone
            if to != site.replica
        )
        judged = step if step is not None and step.judged else None
        return Event(site.replica - 1, after, self._pushed(pushes), judged, left, self._kept(moves))

    def _pushed(self, sent: tuple[tuple[ReplicaId, Envelopes], ...]) -> tuple[tuple[int, int], ...]:
        """Messages by their receivers as an event has them."""
        pushes = tuple([(to - 1, self.sites.parcel(envelopes)) for to, envelopes in sent])
        return self._pushes.setdefault(pushes, pushes)

    def _kept(self, moves: tuple[Move, ...]) -> tuple[Move, ...]:
        """The same moves are one object: there are few of them, and events in all sites."""
        return self._moves.setdefault(moves, moves)

    def disk(self, state: State, replica: ReplicaId) -> object:
        """A replica's disk, frozen."""
        return self.sites.disks[self.sites[state[replica - 1]].disk]

    def play(self, state: State, move: Move) -> State:
        """The state after one event of a schedule. Raises Violation.

        Nothing else is tried: what the rest of the budget does not allow may break the replica.
        """
        site, submitted = self.sites[state[move.replica - 1]], state[-1]
        moves = self._kept((move,))
        match move.kind:
            case "start":
                turn = self.turns.start(move.replica, self.sites.disks[site.disk])
                return self.after(state, self._event(moves, 0, site, turn))
            case "dies":
                return self.after(state, self._death(moves, 0, site, None))
        if move.code >= 0:
            site, submitted = self._without(site, submitted, move.code >> 1)
        match move.kind:
            case "lost":
                after = self.sites.moved(site, site.own, site.disk)
                event = Event(move.replica - 1, after, (), None, 0, moves)
            case "cut":
                event = self._death(moves, 0, site, move.step)
            case _:
                event = self._event(moves, 0, site, self.turns.take(site.own, move.code))
        return self.after(state, event, submitted)

    def _without(self, site: Site, submitted: int, envelope: int) -> tuple[Site, int]:
        """A site whose next message on a link is taken; how many requests are submitted then."""
        for index in range(min(submitted + 1, len(self.requests))):
            if self._asks[index, site.replica] == envelope:
                return site, max(submitted, index + 1)
        for source, link in enumerate(site.links, 1):
            for one, before, rest in self.sites.takes(link):
                if one == envelope and not before:
                    return with_link(site, source, rest), submitted
        raise AssertionError(f"{self.turns.envelopes[envelope]} cannot arrive here")
