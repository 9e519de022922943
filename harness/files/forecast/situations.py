"""How the replicas of a test set may stand: who is live, who may lead, whose votes may count. Pure.

A file does not say who leads, so `LF` and kill points leave several situations. Votes need not come
all at once: a candidate keeps the promises of replicas that are away again, a leader leads for a
moment after its quorum is gone, and a paused replica reads on its return what was sent before. So
each situation has what may have been gathered. What is possible here is wider than what happens,
never narrower, whatever the failure mode.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

from bank.ballot import ReplicaId
from bank.quorum import quorum_size
from harness.cluster.links import Links
from harness.cluster.nemesis import Heal, LinkFault

Replicas: TypeAlias = frozenset[ReplicaId]
NOBODY: Replicas = frozenset()


class Gathered(NamedTuple):
    """What one replica may have gathered."""

    asked: Replicas = NOBODY  # to whom it may have spoken
    answers: Replicas = NOBODY  # who of these may have answered


Book: TypeAlias = Mapping[ReplicaId, Gathered]
EMPTY = Gathered()


class Situation(NamedTuple):
    """One way in which the replicas may stand."""

    live: Replicas
    armed: Replicas  # die at a kill point, at any time or never
    current: Replicas  # live, and have executed all that ever was
    heard: Book  # since each last followed or led while something was executed
    promised: Book  # of this, while there was no quorum: it outlives a leadership
    voted: tuple[Book, ...] = ()  # by epoch, for what was asked in it: see `Situations.epoch`


class Situations:
    """All ways in which the replicas may stand, as the steps of a file change them."""

    def __init__(self, nodes: int) -> None:
        nothing: Book = dict.fromkeys(range(1, nodes + 1), EMPTY)
        self.all = [Situation(NOBODY, NOBODY, NOBODY, nothing, nothing)]
        self.links = Links()
        self._nothing = nothing
        self._nodes, self._quorum = nodes, quorum_size(nodes)
        self.is_rushed = False  # something changed while requests were under way

    # ---- looking -------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """Of what is asked now. Its votes cannot be older; a new one begins with each `rush`."""
        return len(self.all[0].voted)

    def may_commit(self, epoch: int) -> bool:
        """A quorum may have voted for what was asked in this epoch."""
        return any(
            self._leaders(s, s.voted[epoch] if epoch < len(s.voted) else self._now(s))
            for s in self.all
        )

    def are_able(self) -> list[bool]:
        """The runner's own rule, for each: somebody hears a quorum, and so must decide."""
        return [bool(self._able(s)) for s in self.all]

    def leaders(self) -> Replicas:
        """Who may lead."""
        return NOBODY.union(*(self._leaders(s, s.heard) for s in self.all))

    def connected(self, s: Situation) -> Replicas:
        """Those that are waited for and asked."""
        return self.links.in_touch(s.live, self._nodes)

    def _able(self, s: Situation) -> Replicas:
        return self.links.able(s.live, self._nodes)

    def _leaders(self, s: Situation, book: Book) -> Replicas:
        """Who is live and may have been answered by a quorum, itself included."""
        return frozenset(r for r in s.live if len(book[r].answers | {r}) >= self._quorum)

    def _now(self, s: Situation) -> Book:
        """What can be gathered with nobody failing or returning."""
        return self._gather(self._nothing, s.live)

    def _gather(self, book: Book, live: Replicas) -> Book:
        """And what can be gathered while these are live."""
        found: dict[ReplicaId, Gathered] = {}
        for replica, (asked, answers) in book.items():
            if replica in live:
                asked |= {r for r in book if not self.links.is_lost(replica, r)}
            answers |= {r for r in asked & live if not self.links.is_lost(r, replica)}
            found[replica] = Gathered(asked, answers)
        return found

    # ---- faults --------------------------------------------------------------------------------

    def set_live(self, live: Replicas) -> None:
        """A set begins: exactly these are live."""
        self._become(lambda s: [s._replace(live=live, current=s.current & live)])

    def fail(self, replica: ReplicaId) -> None:
        """It fails."""
        self._become(lambda s: [_without(s, replica)])

    def recover(self, replica: ReplicaId) -> None:
        """It returns; as a new process when it had died."""
        self._become(
            lambda s: [s._replace(live=s.live | {replica}, armed=s.armed - ({replica} - s.live))]
        )

    def arm(self, replica: ReplicaId) -> None:
        """It will die at a kill point."""
        self._become(lambda s: [s._replace(armed=s.armed | {replica})])

    def fail_leader(self, waited: bool, armed: bool) -> tuple[bool, bool]:
        """Fail who leads, or arm it; whether there may be a leader, and whether there may be none.

        Having waited for one, there is one in every situation with a quorum. Without a quorum one
        may linger.
        """
        found: list[ReplicaId] = []
        missed: list[Situation] = []

        def hit(s: Situation) -> Iterator[Situation]:
            for leader in sorted(self._leaders(s, s.heard)):
                found.append(leader)
                yield s._replace(armed=s.armed | {leader}) if armed else _without(s, leader)
            if not (waited and self._able(s)):
                missed.append(s)
                yield s

        self._become(hit)
        return bool(found), bool(missed)

    def change_links(self, fault: LinkFault | Heal) -> None:
        """From now on these links are cut, or whole."""
        self.links.apply(fault)
        self._become(lambda s: [s], is_new=True)

    def kill_armed(self) -> None:
        """Whoever is armed may have died by now, alone or with others."""
        known = 0
        while len(self.all) > known and any(s.armed for s in self.all):
            known = len(self.all)
            self._become(
                lambda s: [s, *(_without(s, r, died=True) for r in sorted(s.armed & s.live))]
            )

    def disarm(self) -> None:
        """A set is over: who did not die is spared."""
        self._become(lambda s: [s._replace(armed=NOBODY)])

    def _become(
        self, change: Callable[[Situation], Iterable[Situation]], is_new: bool = False
    ) -> None:
        """Put in place of each situation what may come of it; `is_new` whoever is live."""
        found = []
        for before in self.all:
            for s in change(before):
                promised = s.promised
                if not self._able(s):
                    promised = self._gather(promised, s.live)
                voted = s.voted
                if is_new or s.live != before.live:
                    voted = tuple(self._gather(book, s.live) for book in voted)
                heard = self._gather(s.heard, s.live)
                found.append(s._replace(heard=heard, promised=promised, voted=voted))
        self._put(found)

    def _put(self, situations: Iterable[Situation]) -> None:
        """One for each way to stand; what may have been gathered is put together."""
        found: dict[tuple[Replicas, Replicas, Replicas], Situation] = {}
        for s in situations:
            if (same := found.get(s[:3])) is not None:
                voted = tuple(map(_union, s.voted, same.voted))
                heard, promised = _union(s.heard, same.heard), _union(s.promised, same.promised)
                s = s._replace(heard=heard, promised=promised, voted=voted)
            found[s[:3]] = s
        self.all = list(found.values())

    # ---- barriers ------------------------------------------------------------------------------

    def executed(self, anything: bool) -> None:
        """All that was asked is executed, and known to all who are connected."""
        found = []
        for s in self.all:
            connected, now = self.connected(s), self._now(s)
            if anything and not self.is_rushed:  # else a leader without a quorum may linger
                heard = {r: now[r] if r in connected else g for r, g in s.heard.items()}
                promised = {r: EMPTY if r in connected else g for r, g in s.promised.items()}
                s = s._replace(heard=heard, promised=promised)
            current = connected if anything else s.current | connected
            found.append(s._replace(current=current, voted=()))
        self.is_rushed = False
        self._put(found)

    def settled(self) -> None:
        """A barrier took so long that leaders without a quorum stepped down; what was asked is of
        epoch 0 now. Who only gathers promises may lead again, and have votes by now.
        """
        found = []
        for s in self.all:
            heard = {r: s.promised[r] if r in s.live else g for r, g in s.heard.items()}
            votes = self._now(s) if self._leaders(s, heard) else self._nothing
            found.append(s._replace(heard=heard, voted=(votes,)))
        self._put(found)

    def rush(self) -> None:
        """Something changes under way: votes add up from here on until all is executed."""
        self.is_rushed = True
        self.all = [s._replace(voted=(*s.voted, self._now(s))) for s in self.all]

    def doubt(self) -> None:
        """What is under way may be executed, or not: nobody is known to have all of it."""
        self._put([s._replace(current=NOBODY) for s in self.all])


def _without(s: Situation, replica: ReplicaId, died: bool = False) -> Situation:
    """It is live no more, and may return knowing less: a disk is behind a memory."""
    if replica not in s.live:
        return s
    gone = {replica}
    armed = s.armed - gone if died else s.armed
    return s._replace(live=s.live - gone, armed=armed, current=s.current - gone)


def _union(one: Book, other: Book) -> Book:
    return {
        replica: Gathered(asked | other[replica].asked, answers | other[replica].answers)
        for replica, (asked, answers) in one.items()
    }
