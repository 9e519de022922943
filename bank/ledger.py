"""The bank itself: commands and what a command does to accounts. Knows no word of Paxos.

A command is four plain values, (kind, sender, receiver, amount), because one is built, sent,
stored and executed for every slot: as plain values it costs a third of a frozen dataclass.
Money is neither made nor lost and no balance is ever negative, whatever commands arrive.
"""

import hashlib
from array import array
from collections.abc import Mapping, MutableSequence, Sequence
from typing import TypeAlias

from bank.accounts import Balances, pages_of

TRANSFER = "transfer"
READ = "read"
NOOP = "noop"

Result: TypeAlias = str | int  # SUCCESS, FAILED, SKIPPED, or the balance that a read saw
SUCCESS = "success"
FAILED = "failed"
SKIPPED = "skipped"  # a no-op, or a request older than the client's last one: no effect, no reply

# So many balances are a list, 32 bytes more for each: an array makes a number of each that is read,
# and reading and changing two of them was a seventh of executing a transfer.
MOST_IN_A_LIST = 4096


class Ledger:
    """Balances by the position of their account, changed by `apply` only."""

    __slots__ = ("accounts", "cells")

    def __init__(self, balances: Mapping[str, int]) -> None:
        paged = Balances.of(balances)
        cells = paged.cells()
        self.accounts = paged.accounts
        self.cells: MutableSequence[int] = cells.tolist() if len(cells) <= MOST_IN_A_LIST else cells

    def apply(self, kind: str, sender: str, receiver: str, amount: int) -> Result:
        """Execute one command.

        A transfer gives SUCCESS, or FAILED when the balance is too small, an account is unknown
        or the amount is not positive; then nothing moves. A read gives the balance of `sender`.
        """
        position, cells = self.accounts.position, self.cells
        if kind == TRANSFER:
            source, target = position(sender), position(receiver)
            if source is None or target is None:
                return FAILED
            balance = cells[source]
            if balance < amount or amount <= 0:
                return FAILED
            cells[source] = balance - amount
            cells[target] += amount  # read after the line above: A to A moves nothing
            return SUCCESS
        if kind == READ:
            source = position(sender)
            return FAILED if source is None else cells[source]
        return SKIPPED

    def pages(self, before: Sequence[bytes] = ()) -> tuple[bytes, ...]:
        """A copy; pages that are as in `before` are the very same. 2 ms for a million accounts."""
        held = self.cells
        cells = held if isinstance(held, array) else array("q", held)
        return pages_of(cells, self.accounts.page_accounts, before)

    @property
    def balances(self) -> Balances:
        """As of now; a copy."""
        return Balances(self.accounts, self.pages())


def describe(kind: str, sender: str, receiver: str, amount: int) -> str:
    """A command as people write it: "(A, J, 3)", "(A)" for a read, "no-op"."""
    if kind == TRANSFER:
        return f"({sender}, {receiver}, {amount})"
    return f"({sender})" if kind == READ else "no-op"


def sha256(text: str) -> str:
    """Hex digest of a canonical encoding."""
    return hashlib.sha256(text.encode()).hexdigest()
