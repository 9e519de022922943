"""A run as JUnit XML, the format that build servers read. Pure: values in, bytes out.

One suite per set. In it one case per check and per expectation, and one for each step that came to
nothing, which is skipped and never fails: a check says whether it should have come to something.
"Could not decide" is an error, so that it never passes. Valid for Jenkins' schema (junit-10.xsd),
which knows no `file` or `line` of a case: they stand in the text of its failure. GitLab keeps one
case of a name and a class, hence the names.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from xml.etree import ElementTree

from harness.check.verdict import Verdict
from harness.files.cases import CaseFile, CaseSet
from harness.files.config import DROP, ClusterConfig
from harness.report.words import screen
from harness.run.report import SetReport

_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
MOST_IDLE = 200  # steps of a set that came to nothing, each a case; more are one
_OUTCOMES = {
    Verdict.INVALID: "failure",
    Verdict.UNKNOWN: "error",
    Verdict.NOT_ASKED: "skipped",
}
_NOTHING = {
    "pending": "no answer until the end of the set",
    "no-leader": "there was no leader to fail",
    "not-reached": "the replica did not come to that point in this set",
}


@dataclass(frozen=True, slots=True)
class Case:
    """One test case: what happened in it is "", failure, error or skipped."""

    name: str
    seconds: float = 0.0
    outcome: str = ""
    message: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Suite:
    """Cases with a common name, and what is known of their run."""

    name: str
    file: str
    seconds: float
    cases: Sequence[Case]
    properties: Mapping[str, object]


def encode(name: str, suites: Sequence[Suite]) -> bytes:
    """The XML document, in UTF-8."""
    # No totals here: the schema has no `skipped` for them, and readers take what they lack for
    # passed. Those that want totals add up the suites.
    seconds = f"{sum(suite.seconds for suite in suites):.6f}"
    root = ElementTree.Element("testsuites", {"name": _clean(name), "time": seconds})
    for suite in suites:
        values = {"name": suite.name, **_totals(suite), "file": suite.file}
        element = ElementTree.SubElement(root, "testsuite", _attributes(values))
        listed = ElementTree.SubElement(element, "properties")
        for key, value in suite.properties.items():
            ElementTree.SubElement(
                listed, "property", _attributes({"name": key, "value": str(value)})
            )
        for case in suite.cases:
            values = {"name": case.name, "classname": suite.name, "time": f"{case.seconds:.6f}"}
            inner = ElementTree.SubElement(element, "testcase", _attributes(values))
            if case.outcome:
                values = {"type": case.outcome, "message": case.message}
                told = ElementTree.SubElement(inner, case.outcome, _attributes(values))
                told.text = _clean(case.text)
    ElementTree.indent(root)
    written: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return written + b"\n"


def _totals(suite: Suite) -> dict[str, str]:
    outcomes = [case.outcome for case in suite.cases]
    return {
        "tests": str(len(outcomes)),
        "failures": str(outcomes.count("failure")),
        "errors": str(outcomes.count("error")),
        "skipped": str(outcomes.count("skipped")),
        "time": f"{suite.seconds:.6f}",
    }


def _attributes(values: Mapping[str, str]) -> dict[str, str]:
    return {name: _clean(value) for name, value in values.items()}


def _clean(text: str) -> str:
    """Without what no XML document may hold."""
    return _NOT_XML.sub("\ufffd", text)


def class_name(path: str) -> str:
    """A file as the first part of a class name, which Jenkins cuts at its last dot."""
    parts = PurePath(path).with_suffix("").parts
    return "/".join(part.strip("/").replace(".", "_") for part in parts if part.strip("./"))


# ---- one run -----------------------------------------------------------------------------------


def run(
    file: CaseFile, config: ClusterConfig, reports: Sequence[SetReport], ended: str = ""
) -> bytes:
    """A run of a test set, or as much of it as there is: sets not run are skipped.

    They are errors where the run `ended` before them for a reason.
    """
    suites = []
    for position, case in enumerate(file.sets, 1):
        report = reports[position - 1] if position <= len(reports) else None
        properties: dict[str, object] = {
            "seed": config.seed,
            "failure": config.failure,
            "durability": config.durability,
            **({"unanswered": DROP} if config.unanswered == DROP else {}),
            "nodes": config.nodes,
            "line": case.line,
        }
        told = f"not run: {ended}" if ended else "not run"
        cases = [Case("set", 0.0, "error" if ended else "skipped", told)]
        if report is not None:
            properties |= {"leaderless_ms": report.leaderless_us / 1000}
            # To draw a set takes longer than all else here, and most are as they should be.
            is_told = report.problems or any(j.verdict in _OUTCOMES for j in report.checks)
            shown = screen(reports, position, config) if is_told else ""
            cases = list(_cases(case, report, shown))
        seconds = 0.0 if report is None else report.seconds
        suites.append(
            Suite(
                f"{class_name(file.path)}.set {case.number}", file.path, seconds, cases, properties
            )
        )
    return encode(file.name or file.path, suites)


def _cases(case: CaseSet, report: SetReport, shown: str) -> Iterator[Case]:
    seconds = report.seconds  # every check is about the whole set: the first one carries its time
    for judgement in report.checks:
        check, reason = judgement.check, judgement.reason
        outcome = _OUTCOMES.get(judgement.verdict, "")
        told = f"{report.where}: {check}: {reason}\n\n{shown}" if outcome else ""
        yield Case(check, seconds, outcome, reason, told)
        seconds = 0.0
    for index, met in enumerate(report.expectations):
        at_end = "at the end " if index >= len(case.expected) else ""
        where = met.expected.where
        told = "" if met.holds else f"{where}: {met.expected.key}: {met.reason}\n\n{shown}"
        name = f"expects {at_end}{met.expected.key} ({PurePath(where).name})"
        yield Case(name, 0.0, _OUTCOMES.get(met.verdict, ""), met.reason, told)
    idle = [step for step in report.steps if step.outcome in _NOTHING]
    for step in idle[:MOST_IDLE]:
        message = f"{step.outcome}: {_NOTHING[step.outcome]}"
        yield Case(f"step {step.label} {step.text}", 0.0, "skipped", message)
    if (more := len(idle) - MOST_IDLE) > 0:
        yield Case(f"{more} more steps", 0.0, "skipped", "came to nothing as well")
