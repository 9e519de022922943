"""Test-set files: sets of steps under live-node lists. CSV text in, CaseSets out."""

from dataclasses import dataclass
from typing import NamedTuple

from bank.ballot import ReplicaId
from harness.nemesis import Fault


class Command(NamedTuple):
    """What a client asks for; the client is the sender. A read has receiver "" and amount 0."""

    kind: str  # bank.ledger.TRANSFER or READ
    sender: str
    receiver: str
    amount: int


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a set, in file order."""

    line: int  # of the file, from 1
    text: str  # canonical: "(A, J, 3)", "(A)", "LF", "F(n3)", "R(n3)"
    action: Command | Fault  # FailLeader, Fail or Recover among the faults


@dataclass(frozen=True, slots=True)
class CaseSet:
    """One set: who is live at its start, and what happens."""

    number: int
    live: frozenset[ReplicaId]
    steps: tuple[Step, ...]
    line: int  # of its first row
