"""What a test-set file says, as values: sets of steps, and what is expected of them.

Names are resolved: a CaseSet holds the configuration's spelling and replica numbers only. How
such values are written in a file is the business of `testset` and its readers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from bank.ballot import ReplicaId, Slot, replica_name
from bank.ledger import describe
from harness.cluster.nemesis import (
    Fail,
    FailLeader,
    Fault,
    Heal,
    KillAt,
    Link,
    LinkFault,
    Recover,
    SetLive,
)


class Command(NamedTuple):
    """What a client asks for; the client is the sender. A read has receiver "" and amount 0."""

    kind: str  # bank.ledger.TRANSFER or READ
    sender: str
    receiver: str
    amount: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Let the cluster go on for a while; no barrier."""

    duration: int  # microseconds


Action: TypeAlias = Command | Fault | Wait


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a set, in file order."""

    line: int  # of the file, from 1
    text: str  # canonical: "(A, J, 3)", "(A)", "LF", "F(n3)", "cut n1->n3", "wait 50 ms"
    action: Action
    together: bool = False  # begins at once with the step before it: no barrier between them


def action_text(action: Action) -> str:
    """A step as a file says it: the inverse of reading one."""
    match action:
        case Command(kind, sender, receiver, amount):
            return describe(kind, sender, receiver, amount)
        case Wait(duration):
            return f"wait {_milliseconds(duration)} ms"
        case FailLeader(None):
            return "LF"
        case FailLeader(point):
            return f"fail leader {point}"
        case Fail(replica, _):
            return f"F({replica_name(replica)})"
        case Recover(replica):
            return f"R({replica_name(replica)})"
        case KillAt(replica, point):
            return f"fail {replica_name(replica)} {point}"
        case LinkFault("cut", links):
            return f"cut {links_text(links)}"
        case LinkFault("delay", links, _, least, most):
            spread = "" if least == most else f"{_milliseconds(least)}-"
            return f"delay {links_text(links)} {spread}{_milliseconds(most)} ms"
        case LinkFault(kind, links, percent):
            return f"{kind} {links_text(links)} {percent} %"
        case Heal(healed):
            return "heal" if healed is None else f"heal {links_text(healed)}"
        case SetLive(live):
            return ", ".join(map(replica_name, sorted(live)))


def _milliseconds(duration: int) -> str:
    return f"{duration / 1000:.3f}".rstrip("0").rstrip(".")


def links_text(links: frozenset[Link]) -> str:
    """ "n1->n3, n1<->n2": both directions of a pair are one word."""
    words = []
    for source, to in sorted(links):
        both = (to, source) in links
        if not both or source < to:
            words.append(f"{_end(source)}{'<->' if both else '->'}{_end(to)}")
    return ", ".join(words)


def _end(address: ReplicaId) -> str:
    """Files name replicas alone; the simulator cuts links of clients, too."""
    return replica_name(address) if address else "clients"


# ---- expectations ------------------------------------------------------------------------------

CHECKS = ("agreement", "conservation", "exactly_once", "linearizable", "progress")
ADDED = 0  # the line of a step that is in no file
ANY = "-"  # in `Statuses`
MARKS = f"ACEX{ANY}"


@dataclass(frozen=True, slots=True)
class Balances:
    """What these accounts hold at every replica that is live and not cut off."""

    balances: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of steps, by label ("3", or "5.1" for one carried over from set 5).

    success, failed or pending; the balance for a read; done, no-leader or not-reached for faults.
    """

    outcomes: Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Pending:
    """How many requests have no answer, and which, in any order: "(A, J, 3)"."""

    count: int
    steps: tuple[str, ...] | None = None  # None: any


@dataclass(frozen=True, slots=True)
class Leader:
    """Who leads: one of these replicas; nobody when there are none."""

    leaders: frozenset[ReplicaId]


@dataclass(frozen=True, slots=True)
class Stopped:
    """Who stopped by itself or because of its file: these replicas, and nobody else."""

    replicas: frozenset[ReplicaId]


@dataclass(frozen=True, slots=True)
class Slots:
    """How many slots every replica that is live and not cut off has executed."""

    least: Slot
    most: Slot


@dataclass(frozen=True, slots=True)
class Statuses:
    """A, C, E or X of a slot at n1, n2, … as PrintStatus shows them; "-" for any of them."""

    marks: Mapping[Slot, str]  # each as long as there are replicas


@dataclass(frozen=True, slots=True)
class Checks:
    """The names of checks that must hold."""

    names: tuple[str, ...]


Expectation: TypeAlias = (
    Balances | Outcomes | Pending | Leader | Stopped | Slots | Statuses | Checks
)


@dataclass(frozen=True, slots=True)
class Expected:
    """One key of an `expect:`."""

    where: str  # "x.yaml:14"
    key: str  # balances, outcomes, pending, leader, stopped, slots, statuses, checks
    what: Expectation
    points: float | None = None  # for meeting it


# ---- files -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CaseSet:
    """One set: who is live at its start, what happens, and what is expected at its end."""

    number: int
    live: frozenset[ReplicaId]
    steps: tuple[Step, ...]
    line: int  # of its first row
    expected: tuple[Expected, ...] = ()
    points: float | None = None  # for a set whose expectations and checks all hold


@dataclass(frozen=True, slots=True)
class CaseFile:
    """A whole file, checked against one cluster."""

    path: str  # as it was given
    sets: tuple[CaseSet, ...]  # never empty
    name: str = ""  # what people call it; the path when empty
    description: str = ""
    at_end: tuple[Expected, ...] = ()  # after the last set
    key: str = ""  # the answer key that it is checked with, as it was given
    notes: tuple[str, ...] = ()  # what was read for something else, each with its place

    def stopped(self, case: CaseSet) -> frozenset[ReplicaId]:
        """Whom it expects to be stopped at the end of this set: they count as not live in it."""
        expected = case.expected + (self.at_end if case is self.sets[-1] else ())
        named = (e.what.replicas for e in expected if isinstance(e.what, Stopped))
        return frozenset().union(*named)
