"""Which balances at the end do the transfers of a history explain?"""

from collections.abc import Mapping, Sequence

from bank.ledger import SUCCESS, TRANSFER
from harness.cluster.history import Operation

MOST_SUMS = 100_000  # of transfers without an answer, looked at to explain balances


class Sums:
    """Of one history: each success is done once, each transfer without an answer at most once."""

    def __init__(
        self, balances: Mapping[str, int], history: Sequence[Operation], final: Mapping[str, int]
    ) -> None:
        """`balances` are those before, `final` those at the end, of all accounts or some."""
        accounts = sorted(final.keys() & balances.keys())
        self._places = {account: index for index, account in enumerate(accounts)}
        self._missing = [final[account] - balances[account] for account in accounts]
        self._open: list[list[int]] = []
        self._known: dict[tuple[int, ...], bool | None] = {}
        for operation in history:
            if operation.request[2] != TRANSFER or operation.refused is not None:
                continue
            if operation.invoked_at is None:
                continue
            change = self._change(operation)
            if operation.result == SUCCESS:
                self._missing = [n - by for n, by in zip(self._missing, change, strict=True)]
            elif operation.result is None and any(change):
                self._open.append(change)

    def explained(self, without: Operation | None = None) -> bool | None:
        """As if `without`, one that succeeded, had never been asked; None: too many sums to say."""
        missing = self._missing
        if without is not None:
            missing = [n + by for n, by in zip(missing, self._change(without), strict=True)]
        key = tuple(missing)
        if key not in self._known:
            self._known[key] = self._is_reached(key)
        return self._known[key]

    def _change(self, operation: Operation) -> list[int]:
        _, _, _, sender, receiver, amount = operation.request
        change = [0] * len(self._places)
        for account, by in ((sender, -amount), (receiver, amount)):
            if account in self._places:
                change[self._places[account]] += by
        return change

    def _is_reached(self, missing: tuple[int, ...]) -> bool | None:
        """Whether some of the open transfers add up to this."""
        # How far the changes still to come can lead, by account.
        least, most = [[0] * len(missing)], [[0] * len(missing)]
        for change in reversed(self._open):
            least.append([low + min(by, 0) for low, by in zip(least[-1], change, strict=True)])
            most.append([high + max(by, 0) for high, by in zip(most[-1], change, strict=True)])
        left, nothing = {missing}, (0,) * len(missing)
        for change in self._open:
            if nothing in left:
                return True  # none of the rest was done: mostly so where no majority was left
            least.pop()
            most.pop()
            left |= {tuple(n - by for n, by in zip(rest, change, strict=True)) for rest in left}
            bounds = least[-1], most[-1]
            left = {
                rest
                for rest in left
                if all(
                    low <= n <= high
                    for low, n, high in zip(bounds[0], rest, bounds[1], strict=True)
                )
            }
            if len(left) > MOST_SUMS:
                return None
        return nothing in left
