"""The answers of a judge, and how several of them become one."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from harness.check.contradiction import Contradiction
from harness.errors import EXIT_INVALID, EXIT_UNKNOWN, EXIT_VALID


class Verdict(Enum):
    """Unknown never counts as valid; what was not asked counts as nothing."""

    VALID = "valid"
    INVALID = "invalid"
    UNKNOWN = "unknown"
    NOT_ASKED = "not asked"  # nobody tells what it takes to know

    @property
    def sign(self) -> str:
        """✓, ✗, ? or –"""
        return {"valid": "✓", "invalid": "✗", "unknown": "?", "not asked": "–"}[self.value]

    @property
    def exit_code(self) -> int:
        """0, 1 or 3; what was not asked is no reason for any other than 0."""
        codes = {"invalid": EXIT_INVALID, "unknown": EXIT_UNKNOWN}
        return codes.get(self.value, EXIT_VALID)


@dataclass(frozen=True, slots=True)
class Judgement:
    """One check's answer. `reason` is the smallest evidence; when valid, a remark or nothing."""

    check: str
    verdict: Verdict
    reason: str = ""
    evidence: Contradiction | None = field(default=None, compare=False)


def judge(check: str, problems: Iterable[str], unknown: str = "") -> Judgement:
    """INVALID with the first problem, UNKNOWN with `unknown` when that is given, else VALID."""
    for problem in problems:
        return Judgement(check, Verdict.INVALID, problem)
    if unknown:
        return Judgement(check, Verdict.UNKNOWN, unknown)
    return Judgement(check, Verdict.VALID)


def overall(judgements: Iterable[Judgement]) -> Verdict:
    """INVALID if any is, else UNKNOWN if any is or nothing was judged, else VALID.

    What was not asked was not judged.
    """
    verdicts = {judgement.verdict for judgement in judgements} - {Verdict.NOT_ASKED}
    for verdict in (Verdict.INVALID, Verdict.UNKNOWN):
        if verdict in verdicts:
            return verdict
    return Verdict.VALID if verdicts else Verdict.UNKNOWN
