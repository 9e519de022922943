"""What is left out is tried wherever it could have come: that nobody heeds it is not believed.

A message is taken off its link because its reader does nothing with it now, and a part of a
replica's state because only an election would tell. Both are said to hold for ever; here every
later turn of the same process holds them to it:

- A message that was left out is read in every state that the process gets to afterwards, until it
  reads that the sender died (what only says something older than a promise: also then). Once that
  makes any difference, the walk ends with `Heeded`, and is begun again without what left it out.
- A replica that forgot something has shadows: what it would be had it not. Whatever happens to it
  happens to its shadows too, and must come to the same: the same is done, and what is left, once
  forgotten, is equal. One that gets more and more shadows is walked without forgetting as well.

This is done for single replicas, of which there are few, and for more states than needed: all that
turns lead to from where something was left out, whether or not the cluster ever comes that way. So
a replica may be walked without a reduction that loses nothing there.

Other names need nothing more: each turn that is walked, or tried here, is taken under all that may
be given then, and all that is renamed is itself again under the names put back (`alike`). So what
happens under one is told of all; and what is forgotten is told here under each.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

from bank.messages import PeerDown
from harness.sim.explore.frozen import STANDING
from harness.sim.explore.names import outline
from harness.sim.explore.owners import Owners
from harness.sim.explore.sites import Rule
from harness.sim.explore.turns import Turn, Turns
from harness.sim.invariants import Violation

LOOKS_EVERY = 1 << 5  # trials between two looks at the clock
# Of one state; of ours 14 at most, with two elections and a loss. A replica that counts in what is
# forgotten has one more with each turn, without end.
MOST_SHADOWS = 100


class Left(NamedTuple):
    """A message that was left out."""

    envelope: int
    rule: Rule
    owners: int  # of ballots in the cluster, as bits; for what is forgotten


class Heeded(Exception):
    """What was left out made a difference, or it was not found out that it makes none."""

    def __init__(self, rule: Rule) -> None:
        super().__init__(rule.value)
        self.rule = rule


class Trials:
    """See the module. Whatever is told to it is looked at in `look`."""

    def __init__(self, turns: Turns, owners: Owners, reads_on: bool) -> None:
        """`reads_on`: a turn may read several messages."""
        self._turns, self._owners, self._reads_on = turns, owners, reads_on
        self._same = tuple(range(turns.nodes + 1))
        # Oldest first: turns come before what they bring.
        self._todo: deque[Callable[[], None]] = deque()
        self._left: defaultdict[int, set[Left]] = defaultdict(set)  # by state
        self._turned: defaultdict[int, list[tuple[int, Turn]]] = defaultdict(list)
        # By state, and with who owned ballots then: what is left of it; what it would be else.
        self._forgets: defaultdict[int, set[tuple[int, int]]] = defaultdict(set)
        self._shadows: defaultdict[int, set[tuple[int, int]]] = defaultdict(set)
        # States after part of a turn; False: and after whole ones.
        self._is_half: dict[int, bool] = {}
        # Of a state what is left of it; True: nobody else owns a ballot.
        self.forgotten: Callable[[int, bool], int] = lambda own, alone: own
        # See `Alike.states_alike`.
        self.alike: Callable[..., Iterable[tuple[int, ...]]] = lambda *what: [what]

    # ---- what is told --------------------------------------------------------------------------

    def taken(self, own: int, code: int, turn: Turn) -> None:
        """A turn was tried for the first time."""
        self._todo.append(partial(self._take, own, code, turn))

    def left_out(self, own: int, envelope: int, rule: Rule, owners: int = 0) -> None:
        """A message is no longer on its way to a replica in this state."""
        self._todo.append(partial(self._leave, own, Left(envelope, rule, owners)))

    def forgot(self, own: int, less: int, owners: int) -> None:
        """A replica in this state forgot something."""
        if own != less and (less, owners) not in self._forgets[own]:
            self._todo.append(partial(self._forget_alike, own, less, owners))

    def look(self, is_over: Callable[[], bool] = lambda: False) -> bool:
        """Raise Heeded if anything that was left out so far may make a difference.

        False if time was over before all was looked at.
        """
        looked = 0
        while self._todo:
            self._todo.popleft()()
            looked += 1
            if looked % LOOKS_EVERY == 0 and is_over():
                return False
        return True

    # ---- messages ------------------------------------------------------------------------------

    def _take(self, own: int, code: int, turn: Turn) -> None:
        after = turn.after
        self._turned[own].append((code, turn))
        if code >= 0 and code & 1:
            if after != own:
                self._is_half.setdefault(after, True)
        elif self._is_half.get(after, True):
            self._is_half[after] = False
            for left in [*self._left[after]]:
                self._try(after, left)
        for left in [*self._left[own]]:
            self._pass_on(left, code, after)
        for shadow, owners in [*self._shadows[own]]:
            self._follow(shadow, owners, own, code, turn)

    def _leave(self, own: int, left: Left) -> None:
        if left in self._left[own]:
            return
        self._left[own].add(left)
        self._try(own, left)
        for code, turn in self._turned[own]:
            self._pass_on(left, code, turn.after)
        for less, owners in self._forgets[own]:
            if left.rule is not Rule.FORGOTTEN or not owners & ~left.owners:
                self._todo.append(partial(self._leave, less, left))
        for shadow, owners in self._shadows[own]:
            self._try_shadow(shadow, owners, own, left)

    def _pass_on(self, left: Left, code: int, after: int) -> None:
        """It is still on its way after a turn."""
        turns = self._turns
        source = turns.envelopes[left.envelope].source
        if left.rule is not Rule.STALE and code >= 0:
            read = turns.envelopes[code >> 1].message
            if isinstance(read, PeerDown) and read.peer == source:
                return  # it was sent before
        if left.rule is Rule.FORGOTTEN and not self._is_within(left.owners, code, after):
            return
        self._todo.append(partial(self._leave, after, left))

    def _is_within(self, owners: int, code: int, after: int) -> bool:
        """This turn can be taken where only these own ballots, and no election is left."""
        if code < 0:
            return code not in STANDING
        found = self._owners.envelopes[code >> 1] | self._owners.states[after]
        return not found & ~owners

    def _try(self, own: int, left: Left) -> None:
        alone = left.owners == 1 << self._turns.envelopes[left.envelope].to
        is_mild = left.rule is Rule.FORGOTTEN
        for turn in self._reads(own, left):
            if turn.after != own and not (
                is_mild and self.forgotten(turn.after, alone) == self.forgotten(own, alone)
            ):
                raise Heeded(left.rule)
            self._todo.append(partial(self._shadow, turn.after, own, left.owners))

    def _reads(self, own: int, left: Left) -> Iterator[Turn]:
        """A replica in this state reads it, as the whole turn or as a part; nothing is done."""
        codes = [left.envelope * 2] if not self._is_half.get(own) else []
        for code in [*codes, left.envelope * 2 + 1] if self._reads_on else codes:
            try:
                turn = self._turns.take(own, code)
            except Violation:
                raise Heeded(left.rule) from None
            if not turn.step.is_empty:
                raise Heeded(left.rule)
            self._turns.on_trial(own, code, turn)
            yield turn

    # ---- shadows -------------------------------------------------------------------------------

    def _forget_alike(self, own: int, less: int, owners: int) -> None:
        for bits, one, other in self.alike(owners, own, less):
            self._forget(one, other, bits)

    def _forget(self, own: int, less: int, owners: int) -> None:
        if (less, owners) in self._forgets[own]:
            return
        self._forgets[own].add((less, owners))
        for left in self._left[own]:
            if left.rule is not Rule.FORGOTTEN or not owners & ~left.owners:
                self._todo.append(partial(self._leave, less, left))
        self._todo.append(partial(self._shadow, own, less, owners))
        for shadow, known in self._shadows[own]:
            if not owners & ~known:
                self._todo.append(partial(self._shadow, shadow, less, owners))

    def _shadow(self, shadow: int, own: int, owners: int) -> None:
        """What is a replica in a state would be in another one, had it forgotten nothing."""
        if shadow == own or (shadow, owners) in self._shadows[own]:
            return
        self._shadows[own].add((shadow, owners))
        if len(self._shadows[own]) > MOST_SHADOWS:
            raise Heeded(Rule.FORGOTTEN)
        alone = owners == 1 << self._turns.replicas[own]
        if self.forgotten(shadow, alone) != self.forgotten(own, alone):
            raise Heeded(Rule.FORGOTTEN)
        for left in [*self._left[own]]:
            self._try_shadow(shadow, owners, own, left)
        for code, turn in [*self._turned[own]]:
            self._follow(shadow, owners, own, code, turn)
        for less, known in self._forgets[own]:
            if not known & ~owners:
                self._todo.append(partial(self._shadow, shadow, less, known))

    def _is_left(self, own: int, owners: int) -> bool:
        """Nothing is to be forgotten in this state: it is walked."""
        return self.forgotten(own, owners == 1 << self._turns.replicas[own]) == own

    def _try_shadow(self, shadow: int, owners: int, own: int, left: Left) -> None:
        if not self._is_left(own, owners):
            return
        if left.rule is Rule.FORGOTTEN and owners & ~left.owners:
            return
        alone = owners == 1 << self._turns.envelopes[left.envelope].to
        for turn in self._reads(shadow, left):
            if self.forgotten(turn.after, alone) != own:
                raise Heeded(left.rule)
            self._todo.append(partial(self._shadow, turn.after, own, owners))

    def _follow(self, shadow: int, owners: int, own: int, code: int, turn: Turn) -> None:
        """The same happens to a shadow."""
        turns = self._turns
        if not self._is_left(own, owners) or not self._is_within(owners, code, turn.after):
            return
        try:
            there = turns.take(shadow, code)
        except Violation:
            raise Heeded(Rule.FORGOTTEN) from None
        turns.on_trial(shadow, code, there)
        envelopes, same = turns.envelopes, self._same
        if there.comes_back != turn.comes_back or outline(there.step, envelopes, same) != outline(
            turn.step, envelopes, same
        ):
            raise Heeded(Rule.FORGOTTEN)
        self._todo.append(partial(self._shadow, there.after, turn.after, owners))
