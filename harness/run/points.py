"""What a run scored: points of sets and of expectations, as the file gives them. Pure.

A file that gives no points at all counts each set as one. What was not run scores nothing, and a
check that could not decide is no check that holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum

from harness.check.verdict import Verdict
from harness.files.cases import CaseFile, Expected
from harness.run.report import SetReport


@dataclass(frozen=True, slots=True)
class Item:
    """A set as a whole, or one expectation that gives points."""

    set_position: int  # of its set in the file, from 1
    name: str  # "set 3", "set 3: balances"
    where: str  # "x.yaml:14"
    holds: bool | None  # None: its set was not run
    most: float | None  # None: no points for this, it only holds or not

    @property
    def points(self) -> float:
        """What it scored."""
        return self.most if self.holds and self.most is not None else 0


def are_given(file: CaseFile) -> bool:
    """Whether the file gives points to anything."""
    expected = [*(e for case in file.sets for e in case.expected), *file.at_end]
    given = [case.points for case in file.sets] + [e.points for e in expected]
    return any(number is not None for number in given)


def items(file: CaseFile, reports: Sequence[SetReport]) -> list[Item]:
    """Everything that is scored, in the order of the file; also what was not run."""
    with_points = are_given(file)
    found = []
    for position, case in enumerate(file.sets, 1):
        report = reports[position - 1] if position <= len(reports) else None
        at_end = file.at_end if position == len(file.sets) else ()
        name, most = f"set {case.number}", case.points if with_points else 1
        found.append(_whole(report, position, name, f"{file.path}:{case.line}", most))
        wanted = [*((name, e) for e in case.expected), *(("the end", e) for e in at_end)]
        for index, (name, e) in enumerate(wanted):
            met = None if report is None else report.expectations[index].holds
            found += _expected(e, met, position, name)
    return found


def _whole(
    report: SetReport | None, position: int, name: str, where: str, most: float | None
) -> Item:
    holds = None if report is None else report.verdict is Verdict.VALID
    return Item(position, name, where, holds, most)


def _expected(expected: Expected, met: bool | None, position: int, name: str) -> list[Item]:
    """One that gives no points is no item."""
    if expected.points is None:
        return []
    return [Item(position, f"{name}: {expected.key}", expected.where, met, expected.points)]


def of_set(report: SetReport) -> tuple[float, float] | None:
    """What it scored and what it could; None when the file gives no points for it."""
    position, name = report.position, f"set {report.number}"
    found = [_whole(report, position, name, report.where, report.points)]
    for met in report.expectations:
        found += _expected(met.expected, met.holds, position, name)
    given = [item for item in found if item.most is not None]
    return total(given) if given else None


def of_file(file: CaseFile, reports: Sequence[SetReport]) -> tuple[float, float] | None:
    """What it scored so far and what it could; None when it gives no points at all."""
    return total(items(file, reports)) if are_given(file) else None


def total(scored: Sequence[Item]) -> tuple[float, float]:
    """What was scored, and what could be."""
    return plain(fsum(i.points for i in scored)), plain(fsum(i.most or 0 for i in scored))


def plain(number: float) -> float:
    """2 for 2.0, and no noise of binary fractions."""
    rounded = round(number, 6)
    return int(rounded) if rounded == int(rounded) else rounded
