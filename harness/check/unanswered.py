"""Which requests without an answer were done, and by when? That no choice will do is a proof.

Requests are chosen no earlier than a look needs them. That loses nothing: what is chosen later
leaves the looks before it as they are, and can be chosen by the next look at either account. When
a look has no choice left, only the choices that touched its account can be at fault: the search
goes back to the latest of these (conflict-directed backjumping). When there is none, it is proved.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from harness.check.looks import Chosen, Look, Looks
from harness.check.operations import Op

COMPARED = 24  # requests of an account, the latest, of which pairs are compared at once
COMPARING = 16  # of the budget, for each that is compared


@dataclass(slots=True, eq=False)
class _Choice:
    """Requests that were done by the time of a look, which needs them."""

    look: Look
    others: Iterator[tuple[Op, ...]]  # that would do as well, and were not tried
    conflicts: set[int]  # the choices, by their places, that leave no other than those
    done: tuple[Op, ...] = ()
    before: dict[str, Look | None] = field(default_factory=dict)  # of what was unexplained


class Unanswered(Chosen):
    """The search for them."""

    def __init__(self, looks: Looks, budget: int) -> None:
        super().__init__(looks, budget)
        self._choices: list[_Choice] = []

    def run(self) -> Look | None:
        """The look by which there is no choice, None when there is one for all.

        Raises `BudgetSpent`.
        """
        furthest: Look | None = None
        while (look := self.next_look()) is not None:
            if furthest is None or look.event > furthest.event:
                furthest = look
            choice = _Choice(look, self._explanations(look), self._touching(look.op.account))
            while not self._chosen(choice):
                if not choice.conflicts:
                    return furthest
                place = max(choice.conflicts)
                while len(self._choices) > place:
                    earlier = self._choices.pop()
                    self.undo(earlier.done, earlier.before)
                earlier.conflicts |= choice.conflicts - {place}
                choice = earlier
        return None

    def _touching(self, account: str) -> set[int]:
        return {
            place for place, choice in enumerate(self._choices)
            if any(account in (op.account, op.other) for op in choice.done)
        }  # fmt: skip

    def _chosen(self, choice: _Choice) -> bool:
        done = next(choice.others, None)
        if done is None:
            return False
        choice.done = done
        choice.before = self.do(done, choice.look.event)
        self._choices.append(choice)
        return True

    def _explanations(self, look: Look) -> Iterator[tuple[Op, ...]]:
        """Requests that explain it, none of them in vain; first what is longest at odds with none.

        What has more than another one that explains it is left out: the rest can be chosen later.
        """
        left = self.left(look)
        found = list(self.explaining(look, left, 1))
        single = {ops[0] for ops in found}
        rest = [part for part in left if part[0] not in single]
        found += self.explaining(look, rest[:COMPARED], 2)
        found.sort(key=lambda ops: (-self._lasts(look, ops), len(ops)))
        yield from found
        least = [frozenset(ops) for ops in found if len(ops) > 1]
        for how_many in range(2, len(rest) + 1):
            for ops in self.explaining(look, rest, how_many):
                if not any(fewer <= set(ops) for fewer in least):
                    least.append(frozenset(ops))
                    yield ops

    def _lasts(self, look: Look, ops: tuple[Op, ...]) -> int:
        """Up to which event nothing at their accounts is at odds with these."""
        self.spend(COMPARING)
        before = self.do(ops, look.event)
        left = [self._unexplained[account] for account in before]
        self.undo(ops, before)
        return min((o.event for o in left if o is not None), default=1 << 62)
