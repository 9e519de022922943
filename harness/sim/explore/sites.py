"""A replica, its disk, and all that is on its way to it: a site. Sites are numbered.

Whatever happens, happens at one site: what it can be and where it leads depends on nothing else,
and all it does to other sites is to put messages at the ends of their links. Of millions of states
of a cluster only thousands of sites are distinct, so what can happen at each is found out once.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple, TypeAlias

from bank.ballot import ReplicaId
from bank.messages import Accepted, PeerDown, Promise, State
from harness.sim.disk import Disk
from harness.sim.explore.frozen import freeze
from harness.sim.explore.turns import Past, Step, Turns, write

Envelopes: TypeAlias = tuple[int, ...]  # the oldest first
Links: TypeAlias = tuple[int, ...]  # from n1, n2, …

MOST_NUMBERS = 1 << 26  # of sites, of which memory holds fewer; the checks remember far less
EMPTY = 0  # the number of a link with nothing on it


class Rule(Enum):
    """Why something is left out of a site."""

    STALE = "an answer to a ballot given up"
    SAID = "an answer that said nothing new"
    FORGOTTEN = "what only an election would tell"


class Site(NamedTuple):
    """See the module."""

    replica: ReplicaId
    own: int  # its state, as in Turns; 0: it is down
    disk: int
    links: Links


class Take(NamedTuple):
    """What can arrive by a link."""

    envelope: int
    lost: Envelopes  # before it
    rest: int  # the link afterwards


class Sites:
    """All sites met so far, and all links, by number."""

    def __init__(
        self, turns: Turns, in_order: bool, merges_stale: bool, merges_said: bool = False
    ) -> None:
        """`in_order`: links are queues; `merges_stale`: see `graph.Bounds`; `merges_said`: answers
        that say nothing new are gone as well, see `_is_said`.
        """
        self._turns, self._in_order, self._merges_stale = turns, in_order, merges_stale
        # Told of each message that is no longer on its way to a replica in some state.
        self.on_left_out: Callable[[int, int, Rule], None] = lambda own, envelope, rule: None
        self._merges_said = merges_said
        self._numbers: dict[Site, int] = {}
        self.sites: list[Site] = []
        self.pushed: list[dict[int, int]] = []  # by site, then by parcel: the site afterwards
        self.parcels: list[Envelopes] = []  # what one step sends to one replica
        self._parcel_numbers: dict[Envelopes, int] = {}
        self.is_up: list[bool] = []  # by site
        self.links: list[Envelopes] = []
        self._link_numbers: dict[Envelopes, int] = {}
        self._appended: dict[tuple[int, int], int] = {}  # by link and parcel
        self._takes: dict[int, Sequence[Take]] = {}
        self._fresh: dict[tuple[int, int], int] = {}  # by link and state
        self.link(())
        self.disks: list[object] = []
        self._disk_numbers: dict[object, int] = {}
        self._written: dict[tuple[int, int], int] = {}

    def __len__(self) -> int:
        return len(self.sites)

    def __getitem__(self, number: int) -> Site:
        return self.sites[number]

    def number(self, site: Site) -> int:
        """The number of a site that nothing stale is on its way to."""
        number = self._numbers.setdefault(site, len(self.sites))
        if number == len(self.sites):
            assert number < MOST_NUMBERS, "more sites than a state has room for"
            self.sites.append(site)
            self.pushed.append({})
            self.is_up.append(bool(site.own))
        return number

    def first(self, replica: ReplicaId) -> int:
        """Of a replica that never ran before."""
        disk = self.disk(freeze(Disk(self._turns.balances.pages), ordered=False))
        links = (EMPTY,) * self._turns.nodes
        return self.number(Site(replica, self._turns.fresh(replica), disk, links))

    def moved(self, site: Site, own: int, disk: int) -> int:
        """The replica is in this state, and what got stale on its way to it is gone.

        Looked at even if it was in it before: it may have read a notice that answers were behind.
        """
        links = tuple([self._without_stale(link, own) if link else EMPTY for link in site.links])
        return self.number(Site(site.replica, own, disk, links))

    def parcel(self, envelopes: Envelopes) -> int:
        """The number of messages that one sender puts on a link in one step."""
        number = self._parcel_numbers.setdefault(envelopes, len(self.parcels))
        if number == len(self.parcels):
            self.parcels.append(envelopes)
        return number

    def push(self, number: int, parcel: int) -> int:
        """Messages of one sender are put on their way to a site; to one that is down, none are.

        What is known already, whoever is in a hurry finds in `pushed`.
        """
        pushed = self.pushed[number]
        after = pushed.get(parcel)
        if after is None:
            site, envelopes = self.sites[number], self.parcels[parcel]
            if not site.own:
                after = number
            else:
                source = self._turns.envelopes[envelopes[0]].source
                key = site.links[source - 1], parcel
                if (link := self._appended.get(key)) is None:
                    link = self._appended[key] = self.link(self.links[key[0]] + envelopes)
                link = self._without_stale(link, site.own)
                after = self.number(with_link(site, source, link))
            pushed[parcel] = after
        return after

    def disk(self, disk: object) -> int:
        """The number of a frozen disk."""
        number = self._disk_numbers.setdefault(disk, len(self.disks))
        if number == len(self.disks):
            self.disks.append(disk)
        return number

    def written(self, disk: int, step: Step) -> int:
        """A disk after what a step writes."""
        if not step.writes:
            return disk
        key = disk, step.number
        after = self._written.get(key)
        if after is None:
            after = self._written[key] = self.disk(write(self.disks[disk], step.writes))
        return after

    # ---- links ---------------------------------------------------------------------------------

    def link(self, envelopes: Envelopes) -> int:
        """The number of a link with this on it; without an order of messages, one for all orders.

        Only notices of death keep their places then.
        """
        if not self._in_order and len(envelopes) > 1:
            parts: list[list[int]] = [[]]
            for envelope in envelopes:
                if self.is_notice(envelope):
                    parts += [[envelope], []]
                else:
                    parts[-1].append(envelope)
            envelopes = tuple(envelope for part in parts for envelope in sorted(part))
        number = self._link_numbers.setdefault(envelopes, len(self.links))
        if number == len(self.links):
            self.links.append(envelopes)
        return number

    def takes(self, link: int) -> Sequence[Take]:
        """What can arrive by a link.

        Without an order of messages only the notice of a death waits for what was sent before it.
        """
        takes = self._takes.get(link)
        if takes is None:
            takes = self._takes[link] = [*self._found(self.links[link])]
        return takes

    def _found(self, on: Envelopes) -> Sequence[Take]:
        notices = [place for place, envelope in enumerate(on) if self.is_notice(envelope)]
        end = notices[0] if notices else len(on)
        if self._in_order:
            places = range(end)
            takes = [Take(on[at], on[:at], self.link(on[at + 1 :])) for at in places]
        else:
            firsts = sorted({on.index(envelope) for envelope in on[:end]})
            takes = [Take(on[at], (), self.link(on[:at] + on[at + 1 :])) for at in firsts]
        return [*takes, *(Take(on[at], on[:at], self.link(on[at + 1 :])) for at in notices[:1])]

    def is_notice(self, envelope: int) -> bool:
        """The end of a queue is always noticed."""
        return isinstance(self._turns.envelopes[envelope].message, PeerDown)

    def _without_stale(self, link: int, own: int) -> int:
        """A link without answers to a ballot that its reader has left behind; see `graph`.

        A promise never goes down while its process lives, so what the gate refuses now it refuses
        for ever. That it does nothing now is tried on the replica, not assumed.
        """
        if not (self._merges_stale and own):
            return link
        key = link, own
        fresh = self._fresh.get(key)
        if fresh is None:
            kept: list[int] = []
            said = self._merges_said
            for one in self.links[link]:
                said = said and not self.is_notice(one)  # what is behind it comes from another life
                if not self._is_stale(one, own, said):
                    kept.append(one)
            fresh = self._fresh[key] = self.link(tuple(kept))
        return fresh

    def _is_stale(self, envelope: int, own: int, said: bool) -> bool:
        source, _, message = self._turns.envelopes[envelope]
        past = self._turns.pasts[own]
        match message:
            case Promise() | Accepted() if message.ballot < past.promised:
                rule = Rule.STALE
            case Promise() | Accepted() | State() if said and _is_said(source, message, past):
                rule = Rule.SAID
            case _:
                return False
        turn = self._turns.trial(own, envelope)
        if turn is None or turn.after != own:
            return False
        self.on_left_out(own, envelope, rule)
        return True


def _is_said(source: ReplicaId, message: Promise | Accepted | State, past: Past) -> bool:
    """If it does nothing now, this answer does nothing ever while both processes live.

    What is committed stays so. Nobody leads a ballot twice, so who follows counts no answers to
    what it once led; a leader needs no more promises, and counts nobody for less than before.
    """
    if isinstance(message, State):
        return message.first_slot + len(message.requests) - 1 <= past.committed_upto
    if message.ballot > past.promised or past.counted is None:
        return False
    if isinstance(message, Accepted) and past.counted:
        return not message.asked_upto and message.last_slot <= past.counted[source]
    return True


def with_link(site: Site, source: ReplicaId, link: int) -> Site:
    """The same with another link from `source`."""
    links = site.links
    return Site(site.replica, site.own, site.disk, (*links[: source - 1], link, *links[source:]))
