"""What only an election would tell apart, where none is left: such states are one.

With no election left in the budget nobody owns a ballot later who owns none now (as `names` has
it, and as is tried there). So these are forgotten:

- whether an election timer is set, whether to keep quiet, who was promised in vain: they decide
  whether and when a replica stands. One that waits for a candidate does nothing else than one that
  waits for nobody.
- Who answered a leader, if nobody else owns a ballot: it asks itself that when it hears of
  another's.
- Notices that a replica died which owns no ballot, on their way to one that owns none either, or
  that alone owns any: nobody follows the dead one, promised to it or keeps its PREPARE, nor ever
  will. That a notice does nothing now is tried on the replica, not assumed. (With links that are
  no queues a notice parts what two incarnations sent, and stays.)
"""

from bank.replica import Replica
from bank.standing import Awaiting, Idle, Leader
from harness.sim.explore.frozen import FAR, freeze
from harness.sim.explore.owners import Found
from harness.sim.explore.sites import Links, Rule, Sites
from harness.sim.explore.trials import Trials
from harness.sim.explore.turns import Turns

State = tuple[int, ...]


class Forgetting:
    """See the module."""

    def __init__(self, turns: Turns, sites: Sites, in_order: bool, trials: Trials) -> None:
        self._trials = trials
        self._turns, self._sites, self._in_order = turns, sites, in_order
        self._known: dict[int, Found] = {}  # by owners: of each site, the one that is left
        # Of each state of a replica the one that is left: if others own ballots, if none does.
        self._owns = (
            Found(lambda own: self._own(own, False)),
            Found(lambda own: self._own(own, True)),
        )
        trials.forgotten = lambda own, alone: self._owns[alone][own]

    def first_of(self, state: State, owners: int) -> State:
        """A state without what is forgotten; no election is left in it."""
        known = self._known.get(owners)
        if known is None:
            known = self._known[owners] = Found(lambda number: self._site(number, owners))
        return (*[known[number] for number in state[:-2]], *state[-2:])

    def _site(self, number: int, owners: int) -> int:
        site = self._sites[number]
        if not site.own:
            return number
        alone = owners == 1 << site.replica
        own = self._owns[alone][site.own]
        self._trials.forgot(site.own, own, owners)
        links: Links = site.links
        if self._in_order and (alone or not owners >> site.replica & 1):
            links = tuple(
                [
                    self._without_notices(link, own, owners)
                    if link and not owners >> source & 1
                    else link
                    for source, link in enumerate(links, 1)
                ]
            )
        return self._sites.moved(site._replace(links=links), own, site.disk)

    def _without_notices(self, link: int, own: int, owners: int) -> int:
        on, sites = self._sites.links[link], self._sites
        if not any(sites.is_notice(one) for one in on):
            return link
        return sites.link(
            tuple(
                one
                for one in on
                if not (sites.is_notice(one) and self._does_nothing(one, own, owners))
            )
        )

    def _does_nothing(self, envelope: int, own: int, owners: int) -> bool:
        turn, alone = self._turns.trial(own, envelope), owners == 1 << self._turns.replicas[own]
        if turn is None or self._owns[alone][turn.after] != own:
            return False
        self._trials.left_out(own, envelope, Rule.FORGOTTEN, owners)
        return True

    def _own(self, own: int, alone: bool) -> int:
        replica = self._turns.replica(own)
        forget(replica, alone)
        return self._turns.number(freeze(replica))


def forget(replica: Replica, alone: bool) -> None:
    """What only an election would tell; `alone`: nobody else owns a ballot."""
    elector = replica.elector
    replica.timers.quiet_until, elector.awaited, elector._stood = 0, (), False
    match elector.standing:
        case Leader() as lead:
            if alone:
                lead.answered_at = dict.fromkeys(sorted(lead.peers), 0)
            return
        case Idle() | Awaiting():
            elector.standing = Idle()
    replica.timers.election = FAR
