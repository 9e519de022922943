"""Who owns a ballot, as far as anything in a state of the cluster tells."""

from collections.abc import Callable
from typing import Any

from harness.sim.explore.checker import CheckerStates
from harness.sim.explore.frozen import freeze
from harness.sim.explore.names import known_form, owners
from harness.sim.explore.sites import Sites
from harness.sim.explore.turns import Turns


class Found(dict[int, int]):
    """Of each number, another one; found out when it is asked for."""

    def __init__(self, find: Callable[[int], int]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, number: int) -> int:
        found = self[number] = self._find(number)
        return found


class Owners:
    """See the module. Replicas are bits."""

    def __init__(self, turns: Turns, sites: Sites, checkers: CheckerStates) -> None:
        self._sites = sites
        self.states = Found(lambda state: _owners(turns.frozen(state)))
        self.envelopes = Found(lambda one: _owners(turns.envelopes[one].message))
        self.disks = Found(lambda disk: _owners(sites.disks[disk]))
        self._links = Found(self._of_link)
        self._of_sites = Found(self._of_site)
        self._of_checkers = Found(lambda one: _owners(freeze(checkers.memory(one))))

    def of(self, state: tuple[int, ...]) -> int:
        """Of all that is in it."""
        found, sites = self._of_checkers[state[-2]], self._of_sites
        for site in state[:-2]:
            found |= sites[site]
        return found

    def _of_site(self, number: int) -> int:
        site = self._sites[number]
        found = self.states[site.own] | self.disks[site.disk]
        for link in site.links:
            found |= self._links[link]
        return found

    def _of_link(self, number: int) -> int:
        found = 0
        for envelope in self._sites.links[number]:
            found |= self.envelopes[envelope]
        return found


def _owners(value: Any) -> int:
    with known_form():
        return owners(value)
