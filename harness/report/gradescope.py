"""A run as Gradescope reads it: its results.json. Pure: values in, a plain dict out.

One test per set, and one per expectation that gives points. It is whole at any time of a run: what
was not run yet is there, counts nothing and says so.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import PurePath
from typing import Any

from harness.cluster.wording import counted
from harness.files.cases import CaseFile
from harness.files.config import DROP, ClusterConfig
from harness.report.words import problems, screen
from harness.run import points
from harness.run.report import SetReport

NOT_RUN = "not run: the run ended before this set, which counts nothing"


def run(
    file: CaseFile, config: ClusterConfig, reports: Sequence[SetReport], ended: str = ""
) -> dict[str, Any]:
    """A run of a test set, or as much of it as there is; `ended` is why there is no more."""
    scored = points.items(file, reports)
    said = [file.name or file.path, f"{len(reports)} of {counted(len(file.sets), 'set')} run"]
    said += [f"failure {config.failure}", f"seed {config.seed}"]
    said += [f"unanswered {DROP}"] if config.unanswered == DROP else []
    seconds = sum(report.seconds for report in reports)
    output = ", ".join(said) + (f"\nended: {ended}" if ended else "")
    return document(list(_tests(scored, config, reports, ended)), output, seconds)


def document(tests: Sequence[dict[str, Any]], output: str, seconds: float) -> dict[str, Any]:
    """Tests under what their points sum up to, which is what counts."""
    return {
        "score": points.plain(sum(test.get("score", 0) for test in tests)),
        "execution_time": round(seconds, 3),
        "output": output,
        "output_format": "text",
        "test_output_format": "text",
        "test_name_format": "text",
        "visibility": "visible",
        "tests": list(tests),
    }


def test(number: str, name: str, holds: bool, output: str) -> dict[str, Any]:
    """A test that only holds or not; `score` and `max_score` make it count."""
    return {
        "number": number,
        "name": name,
        "status": "passed" if holds else "failed",
        "output": output,
    }


def _tests(
    scored: Sequence[points.Item],
    config: ClusterConfig,
    reports: Sequence[SetReport],
    ended: str,
) -> Iterator[dict[str, Any]]:
    for position, together in groupby(scored, key=lambda item: item.set_position):
        for index, item in enumerate(together):  # the set itself, then its expectations
            number = f"{position}.{index}" if index else str(position)
            output = "\n".join(filter(None, (NOT_RUN, ended))) if item.holds is None else ""
            if item.holds is False:
                told = [*problems(reports[position - 1]), ""]
                output = "\n".join([*told, screen(reports, position, config)])
            name = f"{item.name} ({PurePath(item.where).name})"
            found = test(number, name, bool(item.holds), output)
            if item.most is not None:
                found |= {"score": points.plain(item.points), "max_score": points.plain(item.most)}
            yield found
