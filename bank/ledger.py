"""The bank itself: accounts, commands and what a command does. Knows no word of Paxos.

A command is four plain values, (kind, sender, receiver, amount), because one is built, sent,
stored and executed for every slot: as plain values it costs a third of a frozen dataclass.
Money is neither made nor lost and no balance is ever negative, whatever commands arrive.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import TypeAlias

TRANSFER = "transfer"
READ = "read"
NOOP = "noop"

Result: TypeAlias = str | int  # SUCCESS, FAILED, SKIPPED, or the balance that a read saw
SUCCESS = "success"
FAILED = "failed"
SKIPPED = "skipped"  # a no-op, or a request older than the client's last one: no effect, no reply


class Ledger:
    """Balances by account, changed by `apply` only."""

    __slots__ = ("balances",)

    def __init__(self, balances: Mapping[str, int]) -> None:
        self.balances: dict[str, int] = dict(balances)

    def apply(self, kind: str, sender: str, receiver: str, amount: int) -> Result:
        """Execute one command.

        A transfer gives SUCCESS, or FAILED when the balance is too small, an account is unknown
        or the amount is not positive; then nothing moves. A read gives the balance of `sender`.
        """
        balances = self.balances
        if kind == TRANSFER:
            balance = balances.get(sender, -1)
            if balance < amount or amount <= 0 or receiver not in balances:
                return FAILED
            balances[sender] = balance - amount
            balances[receiver] += amount  # read after the line above: A to A moves nothing
            return SUCCESS
        if kind == READ:
            return balances.get(sender, FAILED)
        return SKIPPED


def describe(kind: str, sender: str, receiver: str, amount: int) -> str:
    """A command as people write it: "(A, J, 3)", "(A)" for a read, "no-op"."""
    if kind == TRANSFER:
        return f"({sender}, {receiver}, {amount})"
    return f"({sender})" if kind == READ else "no-op"


def encode_account(account: str, balance: int) -> str:
    """One line of the canonical text."""
    return f"{account} {balance}\n"


DIGEST_MODULUS = 1 << 256


def total_of(lines: Iterable[str]) -> int:
    """The sum of the SHA-256 of every line, modulo 2**256.

    An incremental hash (AdHash: Bellare and Micciancio 1997): a line that changes is taken out and
    put in again, whatever stands in the others, and no order is needed. It is held against mistakes
    and damage, as all here; who can choose lines freely may find two states with one sum.
    """
    sha = hashlib.sha256
    hashed = (int.from_bytes(sha(line.encode()).digest(), "big") for line in lines)
    return sum(hashed) % DIGEST_MODULUS


def sha256(text: str) -> str:
    """Hex digest of a canonical encoding."""
    return hashlib.sha256(text.encode()).hexdigest()
