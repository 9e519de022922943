"""Holds a set against what its file expects of it. Pure: values in, one Met per expectation.

A replica that is cut off or not live is asked nothing here but by `statuses`, which names it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, assert_never

from bank.ballot import ReplicaId, Slot, replica_name
from harness.check.verdict import Verdict
from harness.files.cases import (
    ANY,
    Balances,
    Checks,
    Expectation,
    Expected,
    Leader,
    Outcomes,
    Pending,
    Slots,
    Statuses,
    Stopped,
)

MOST_ENTRIES = 50  # of one expectation, in words; more are counted
MOST_SHOWN = 5  # differences of one expectation; more are counted


@dataclass(frozen=True, slots=True)
class Found:
    """What there was at the end of a set. `balances` and `executed` of the live and connected."""

    balances: Mapping[ReplicaId, Mapping[str, int]]
    executed: Mapping[ReplicaId, Slot]
    outcomes: Mapping[str, str | int]  # by label; a read that was answered has its balance
    pending: Sequence[str]
    leader: ReplicaId | None
    stopped: frozenset[ReplicaId]
    marks: Callable[[Sequence[Slot]], Mapping[Slot, str]]  # of every replica in order
    checks: Mapping[str, Verdict]
    # Why nobody can say whether an expectation holds, by its kind: "no replica tells its balances".
    untold: Mapping[type, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Met:
    """One expectation after its set."""

    expected: Expected
    wanted: str  # in words
    differences: tuple[str, ...]  # what there was instead; none when it holds
    missed: str = ""  # the part of it that does not hold, in words; empty: all of it
    untold: str = ""  # why it could not be checked; empty: it was

    @property
    def holds(self) -> bool:
        """It was checked, and nothing differs."""
        return not self.differences and not self.untold

    @property
    def verdict(self) -> Verdict:
        """UNKNOWN where it could not be checked: it was asked for, so that is no VALID."""
        if self.untold:
            return Verdict.UNKNOWN
        return Verdict.VALID if self.holds else Verdict.INVALID

    @property
    def reason(self) -> str:
        """ "expected …, found …; …", "" when it holds."""
        if self.holds:
            return ""
        if self.untold:
            return f"expected {self.wanted}, could not be checked: {self.untold}"
        shown = "; ".join(self.differences[:MOST_SHOWN])
        more = len(self.differences) - MOST_SHOWN
        return f"expected {self.missed or self.wanted}, found {shown}" + (
            f"; {more} more" if more > 0 else ""
        )


def meet(expected: Expected, found: Found) -> Met:
    """Whether this expectation holds, and if not, what differs."""
    what = expected.what
    if untold := found.untold.get(type(what)) or _unasked(what, found):
        return Met(expected, describe(what), (), untold=untold)
    missed = describe(_missed(what, found))
    return Met(expected, describe(what), tuple(_differences(what, found)), missed)


def _unasked(what: Expectation, found: Found) -> str:
    """Which of these checks nobody could make, if all others hold."""
    if not isinstance(what, Checks):
        return ""
    failing = [name for name in what.names if found.checks.get(name) is not Verdict.VALID]
    if all(found.checks.get(name) is Verdict.NOT_ASKED for name in failing):
        return ", ".join(f"{name} was not asked" for name in failing)
    return ""


def _missed(what: Expectation, found: Found) -> Expectation:
    """Without the entries that hold, where there are several."""
    match what:
        case Balances(entries) | Outcomes(entries) | Statuses(entries):
            kind: Callable[[Mapping[Any, Any]], Expectation] = type(what)
            return kind({k: v for k, v in entries.items() if _differences(kind({k: v}), found)})
        case _:
            return what


def describe(what: Expectation) -> str:
    """An expectation in words."""
    match what:
        case Balances(balances):
            return _some([f"{account} {amount}" for account, amount in balances.items()])
        case Outcomes(outcomes):
            return _some([f"step {label} {outcome}" for label, outcome in outcomes.items()])
        case Pending(count, steps):
            return f"{count} pending" + (f": {_some(steps)}" if steps else "")
        case Leader(leaders):
            return f"leader {_names(leaders)}"
        case Stopped(replicas):
            return f"{_names(replicas, 'and')} stopped"
        case Slots(least, most):
            return f"{least} slots" if least == most else f"{least} to {most} slots"
        case Statuses(marks):
            return _some([f"slot {slot} {mark}" for slot, mark in marks.items()])
        case Checks(names):
            return f"{', '.join(names)} to hold"
        case _:
            assert_never(what)


def _some(entries: Sequence[str]) -> str:
    """As many as a person reads."""
    more = len(entries) - MOST_ENTRIES
    return ", ".join(entries[:MOST_ENTRIES]) + (f" and {more:,} more" if more > 0 else "")


def _names(replicas: frozenset[ReplicaId], joint: str = "or") -> str:
    return f" {joint} ".join(map(replica_name, sorted(replicas))) or "none"


def _differences(what: Expectation, found: Found) -> list[str]:
    match what:
        case Balances(balances):
            return _balance_differences(balances, found.balances)
        case Outcomes(outcomes):
            return [
                f"step {label} {found.outcomes.get(label, 'not there')}"
                for label, outcome in outcomes.items()
                if found.outcomes.get(label) != outcome
            ]
        case Pending(count, steps):
            wanted = sorted(found.pending) if steps is None else sorted(steps)
            same = len(found.pending) == count and sorted(found.pending) == wanted
            listed = f": {_some(found.pending)}" if found.pending else ""
            return [] if same else [f"{len(found.pending)}{listed}"]
        case Leader(leaders):
            is_led = found.leader in leaders if leaders else found.leader is None
            return [] if is_led else [_names(frozenset([found.leader] if found.leader else []))]
        case Stopped(replicas):
            return [] if found.stopped == replicas else [_names(found.stopped, "and")]
        case Slots(least, most):
            return [
                f"{executed} on {replica_name(replica)}"
                for replica, executed in found.executed.items()
                if not least <= executed <= most
            ] or ([] if found.executed else ["no replica that is live"])
        case Statuses(marks):
            there = found.marks(list(marks))
            return [
                f"slot {slot} {there[slot]}"
                for slot, wanted in marks.items()
                if any(w not in (ANY, m) for w, m in zip(wanted, there[slot], strict=True))
            ]
        case Checks(names):
            return [
                f"{name} {found.checks[name].value if name in found.checks else 'not judged'}"
                for name in names
                if found.checks.get(name) is not Verdict.VALID
            ]
        case _:
            assert_never(what)


def _balance_differences(
    wanted: Mapping[str, int], found: Mapping[ReplicaId, Mapping[str, int]]
) -> list[str]:
    """ "A 6 on n1, n3": by account and amount, with the replicas that have it."""
    if not found:
        return ["no replica that is live"]
    differences = []
    for account, amount in wanted.items():
        wrong: dict[int | str, list[str]] = {}
        for replica, balances in found.items():
            if (held := balances.get(account, "not there")) != amount:
                wrong.setdefault(held, []).append(replica_name(replica))
        for other, names in wrong.items():
            where = "" if len(names) == len(found) else f" on {', '.join(names)}"
            differences.append(f"{account} {other}{where}")
    return differences
