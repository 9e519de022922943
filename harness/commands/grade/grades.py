"""What many runs of test sets came to: pass rates, points, times, the first failure. Pure.

One `Graded` per file and way of failing, in the order that was asked for; runs that were not made
yet are counted as what they are, and score nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, TypeAlias

from harness.errors import EXIT_INVALID, EXIT_MACHINE, EXIT_UNKNOWN, EXIT_USAGE, EXIT_VALID
from harness.report import junit
from harness.run.points import plain

PASSED, FAILED, UNKNOWN = "passed", "failed", "unknown"
HUNG, CRASHED, MACHINE = "hung", "crashed", "machine"  # no verdict
NOT_RUN = "not run"  # because it cannot be
_WORST_FIRST = (EXIT_INVALID, EXIT_MACHINE, EXIT_USAGE, EXIT_UNKNOWN, EXIT_VALID)
_EXIT_CODES = {PASSED: EXIT_VALID, UNKNOWN: EXIT_UNKNOWN, MACHINE: EXIT_MACHINE}


Refused: TypeAlias = Mapping[str, Sequence[str]]  # by file that is not run: its problems
NONE_REFUSED: Refused = {}


@dataclass(frozen=True, slots=True)
class Result:
    """One run."""

    run: int  # from 1
    seed: int
    outcome: str
    seconds: float  # of the machine's clock, start of the program included
    points: float
    failovers_ms: tuple[float, ...]  # how long clients waited in each set that lost its leader
    reasons: tuple[str, ...]  # against it, each with its place
    command: str  # that repeats it
    folder: str | None  # with its data and report, None when they were removed


@dataclass(slots=True)
class Graded:
    """All runs of a file in one way of failing."""

    file: str
    failure: str
    runs: int  # that were asked for
    most: float  # points
    gives_points: bool  # the file itself; else each set counts one
    set_lines: Mapping[int, int] = field(default_factory=dict, kw_only=True)  # in the file
    drops: bool = field(default=False, kw_only=True)  # clients forget what is unanswered
    results: list[Result] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The file and how it was run, as other programs show it."""
        return f"{self.file}, failure {self.failure}" + (", unanswered drop" if self.drops else "")

    @property
    def passed(self) -> int:
        """How many runs passed."""
        return sum(result.outcome == PASSED for result in self.results)

    @property
    def first_failure(self) -> Result | None:
        """The earliest run that did not pass."""
        wrong = (result for result in self.results if result.outcome != PASSED)
        return min(wrong, key=lambda result: result.run, default=None)

    @property
    def is_flaky(self) -> bool:
        """Some runs passed and some did not."""
        return 0 < self.passed < len(self.results)

    @property
    def seconds(self) -> list[float]:
        """Of every run."""
        return [result.seconds for result in self.results]

    @property
    def points(self) -> list[float]:
        """Of every run."""
        return [result.points for result in self.results]

    @property
    def failovers_ms(self) -> list[float]:
        """Of every set of every run that lost its leader."""
        return [wait for result in self.results for wait in result.failovers_ms]


def exit_code(graded: Sequence[Graded], refused: Refused = NONE_REFUSED) -> int:
    """1 when any run failed or had no verdict, else 4, 2 or 3 when one has that reason, else 0."""
    outcomes = {result.outcome for one in graded for result in one.results}
    codes = {_EXIT_CODES.get(outcome, EXIT_INVALID) for outcome in outcomes} | {EXIT_VALID}
    codes |= {EXIT_USAGE} if refused else set()
    return min(codes, key=_WORST_FIRST.index)


def document(graded: Sequence[Graded], seed: int, refused: Refused) -> dict[str, Any]:
    """For `--format json`."""
    return {
        "seed": seed,
        "exit_code": exit_code(graded, refused),
        "graded": list(map(_one, graded)),
        "refused": [{"file": file, "problems": list(told)} for file, told in refused.items()],
    }


def _one(one: Graded) -> dict[str, Any]:
    done, first = len(one.results), one.first_failure
    return {
        "file": one.file,
        "failure": one.failure,
        "unanswered": "drop" if one.drops else "carry",
        "runs": one.runs,
        "done": done,
        "passed": one.passed,
        "pass_rate": round(one.passed / done, 4) if done else None,
        "flaky": one.is_flaky,
        "points_of": plain(one.most),
        "points": _spread(one.points, min, "min"),
        "seconds": _spread(one.seconds, max, "worst"),
        "failover_ms": _spread(one.failovers_ms, max, "worst"),
        "first_failure": None if first is None else first.run,
        "results": [asdict(result) for result in one.results],
    }


def _spread(numbers: Sequence[float], extreme: Any, name: str) -> dict[str, float] | None:
    if not numbers:
        return None
    return {"median": round(median(numbers), 3), name: round(extreme(numbers), 3)}


# ---- for other programs ------------------------------------------------------------------------


def as_junit(graded: Sequence[Graded], refused: Refused = NONE_REFUSED) -> bytes:
    """One suite per file and way of failing, one case per run; one of a file that is not run."""
    suites = []
    for one in graded:
        cases = [_case(result) for result in one.results]
        cases += [junit.Case(f"run {run}", 0.0, "error", "not run") for run in _not_run(one)]
        properties: Mapping[str, object] = {
            "failure": one.failure, "passed": one.passed, "flaky": one.is_flaky,
            **({"unanswered": "drop"} if one.drops else {}),
        }  # fmt: skip
        seconds = sum(one.seconds)
        name = f"{junit.class_name(one.file)}.{one.failure}"
        suites.append(junit.Suite(name, one.file, seconds, cases, properties))
    for file, problems in refused.items():
        case = junit.Case("refused", 0.0, "error", problems[0], "\n".join(problems))
        suites.append(junit.Suite(junit.class_name(file), file, 0.0, [case], {}))
    return junit.encode("grade", suites)


def _not_run(one: Graded) -> list[int]:
    made = {result.run for result in one.results}
    return [run for run in range(1, one.runs + 1) if run not in made]


def _case(result: Result) -> junit.Case:
    name, outcome = f"run {result.run}", result.outcome
    if outcome == PASSED:
        return junit.Case(name, result.seconds)
    kind = "failure" if outcome == FAILED else "error"
    message = f"{outcome}: {(result.reasons or ('',))[0]}"
    return junit.Case(name, result.seconds, kind, message, "\n".join(told(result)))


def told(result: Result) -> list[str]:
    """What there is to say of a run that did not pass."""
    kept = [] if result.folder is None else [f"kept: {result.folder}"]
    repeat = [f"repeat: {result.command}"] if result.command else []
    return [*result.reasons, *repeat, *kept]
