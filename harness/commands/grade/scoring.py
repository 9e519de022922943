"""How the runs of a file become its points. Pure."""

from dataclasses import dataclass

from harness.commands.grade.grades import Graded
from harness.errors import HarnessError, nearest

RULES = ("mean", "worst", "passes:N")


@dataclass(frozen=True, slots=True)
class Scoring:
    """One of RULES; a run that was not made counts nothing."""

    rule: str = "mean"
    passes: int = 0  # of "passes": that give all points; fewer give points in proportion

    def points(self, graded: Graded) -> float:
        """What a file and way of failing scores, from 0 to `graded.most`."""
        match self.rule:
            case "worst":
                made = len(graded.results) == graded.runs
                return min(graded.points, default=0) if made else 0
            case "passes":
                return graded.most * min(graded.passed, self.passes) / self.passes
            case _:
                return sum(graded.points) / graded.runs

    def __str__(self) -> str:
        return f"passes:{self.passes}" if self.rule == "passes" else self.rule


def scoring(word: str, runs: int) -> Scoring:
    """Read `--score`; HarnessError for any other word, and for more passes than `runs`."""
    rule, colon, number = word.partition(":")
    if word in ("mean", "worst"):
        return Scoring(word)
    if rule == "passes" and colon and number.isascii() and number.isdigit() and int(number) > 0:
        if int(number) > runs:
            raise HarnessError(
                f"--score: found {word}, expected at most as many passes as runs, which are {runs}"
            )
        return Scoring(rule, int(number))
    hint = nearest(word, ["mean", "worst", "passes:1"])
    raise HarnessError(f'--score: found "{word}", expected {", ".join(RULES)}{hint}')
