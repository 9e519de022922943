"""Check test sets without running them: every problem, and what must, cannot and may happen.

Each file is read as a run would read it, with its answer key. For a file without problems the
oracle tells set by set what must commit, what cannot for lack of a quorum and what may be either,
which transfers fail for lack of balance, and what the accounts hold then. At the end there is a
list: all problems with their places, the files that have warnings, what was left out. Warnings are
no problems: the exit code is 2 for problems, else 0.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from rich.console import Console, RenderableType
from rich.text import Text

from bank.ballot import replica_name
from harness.cluster.wording import counted
from harness.commands import refuse_unknown
from harness.errors import EXIT_USAGE, EXIT_VALID, HarnessError, ignored
from harness.files import answer_key, given, testset
from harness.files.cases import CaseFile, CaseSet
from harness.files.config import NODES, UNANSWERED, ClusterConfig
from harness.files.forecast.contradictions import doubtful
from harness.files.forecast.foretold import Forecast, SetForecast, StepForecast, alternatives
from harness.files.forecast.oracle import forecast
from harness.run import launch
from harness.screen import consoles
from harness.screen.cells import (
    ATTENTION,
    BAD,
    GOOD,
    QUIET,
    Column,
    Grid,
    Heading,
    Parts,
    cell,
)
from harness.screen.tables import FOLD_BEYOND, MOST_ACCOUNTS, set_title

EXAMPLES = (
    ("testsets/*.csv", "every mistake of these files, and what each set must come to"),
    ("their.yaml", "what other people's replicas answer, by starting them once"),
    ("cases/* --quiet", "the problems and warnings alone"),
    ("FILE --format json", "the same for other programs"),
    ("--schema > testset.schema.json", "for an editor that knows JSON Schema"),
)
OF_FILES = dict.fromkeys(("config", "nodes", "unanswered", "quiet", "format"), "")
_COLUMNS = (
    Column("#", right=True),
    Column("Step"),
    Column("Commits", drop=1),
    Column("Result"),
    Column("Why", folds=True),
)
MOST_ROWS = 50  # of one set; with more, steps of which the same is said share one
MOST_REMARKS = 40  # doubts and warnings of one set, each
_STYLES = {"must": "", "cannot": ATTENTION, "either": ATTENTION, None: ""}


@dataclass(slots=True)
class _Linted:
    """One file."""

    path: str
    problems: list[str] = field(default_factory=list)
    file: CaseFile | None = None  # None for a file with problems
    found: Forecast | None = None
    warnings: dict[int, list[str]] = field(default_factory=dict)  # by set number; 0: the file
    told: list[str] = field(default_factory=list)  # of other people's replicas

    @property
    def all_warnings(self) -> list[str]:
        """In the order of the file."""
        return [text for number in self.warnings for text in self.warnings[number]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `lint`."""
    add = parser.add_argument
    add("files", nargs="*", metavar="FILE", help="a test set; an answer key is read with its own")
    add("--config", metavar="FILE", help="a YAML file with the numbers of the cluster")
    add("--nodes", metavar="|".join(map(str, NODES)), help="how many replicas; 5 is default")
    add("--unanswered", metavar="|".join(UNANSWERED), help="as in a run by hand")
    add(
        "--schema", action="store_true", help="print the JSON Schema of YAML test sets, for editors"
    )
    add("--quiet", action="store_true", help="no tables: problems and warnings only")
    add("--format", default="rich", metavar="rich|json", help="tables, or one JSON document [rich]")


def run(options: argparse.Namespace, console: Console) -> int:
    """Lint every file; 2 when one has problems."""
    refuse_unknown("--format", options.format)
    if options.schema:
        problems = ["--schema: found FILEs too, expected one or the other"] if options.files else []
        problems += ignored("--schema", vars(options), OF_FILES, {"format": "rich"})
        if problems:
            raise HarnessError(*problems)
        console.out(testset.schema_text(), end="", highlight=False)
        return EXIT_VALID
    if not options.files:
        raise HarnessError("nothing to lint, expected one or several FILEs, or --schema")
    flags = {"nodes": options.nodes, "unanswered": options.unanswered}
    launch.settings(flags, {}, options.config)  # what is wrong with these is no file's problem
    found = given.sort_out(options.files)
    linted = [_lint(path, flags, options.config) for path in found.test_sets]
    if options.format == "json":
        console.out(json.dumps([_document(one) for one in linted], indent=1), highlight=False)
    else:
        tables = [] if options.quiet else [part for one in linted for part in _screen(one)]
        ends = [*_list(linted, options.quiet), *_summary(linted, found)]
        consoles.print_parts(console, [*tables, *ends])
    return EXIT_USAGE if any(one.problems for one in linted) else EXIT_VALID


def _lint(path: str, flags: dict[str, object], config_file: str | None) -> _Linted:
    linted = _Linted(path)
    try:
        if launch.is_description(path):
            found = launch.trial(path, flags, config_file)
            linted.told, linted.problems = found.told, found.problems
            return linted
        draft = testset.read(path)
        settings = launch.settings(flags, draft.overrides, config_file)
        linted.file = draft.cases(settings)
        linted.found = forecast(linted.file, settings)
        linted.file = answer_key.checked(linted.file, settings)
    except HarnessError as error:
        linted.problems += error.problems
    if linted.file is not None and linted.found is not None:
        for number, warning in _warnings(linted.file, settings, linted.found):
            linted.warnings.setdefault(number, []).append(warning)
    return linted


def _warnings(
    file: CaseFile, settings: ClusterConfig, found: Forecast
) -> Iterator[tuple[int, str]]:
    """What is odd about a file, by set number, each with its place; 0 for the file as a whole."""
    if not (file.at_end or any(case.expected for case in file.sets)):
        what = "expects nothing: --write-expected writes what it must come to"
        yield 0, f"{file.path}: {what}"
    for case, of_set in zip(file.sets, found.sets, strict=True):
        if of_set.waits:
            seconds = of_set.waits * settings.patience_ms / 1000
            times = "" if of_set.waits == 1 else f" {of_set.waits} times"
            what = f"waits out its patience{times} without a quorum: {seconds:g} s"
            yield case.number, f"{file.path}:{case.line}: set {case.number} {what}"
        for remark in of_set.remarks:
            yield case.number, f"{file.path}:{remark.line}: {remark.text}"
    for number, where, what in doubtful(file, settings, found):
        yield number, f"{where}: {what}"


# ---- tables ------------------------------------------------------------------------------------


def _screen(linted: _Linted) -> Iterator[RenderableType]:
    """Everything of one file."""
    file, found = linted.file, linted.found
    if file is not None and found is not None:
        yield from (Text(file.path), *(Text(f" {note}", QUIET) for note in file.notes), Text())
        for place, (case, of_set) in enumerate(zip(file.sets, found.sets, strict=True), 1):
            yield from _set(linted, case, of_set, set_title(case.number, place, len(file.sets)))
            yield Text()
        yield from (Text(f" ! {text}", style=ATTENTION) for text in linted.warnings.get(0, ()))
        yield from [Text()] if 0 in linted.warnings else []
        if not found.exact:
            what = " too many orders to try them all: more is left open than need be"
            yield from (Text(what, style=ATTENTION), Text())
    if linted.told:
        yield from (Text(linted.path), *(Text(f" {told}") for told in linted.told))


def _list(linted: Sequence[_Linted], quiet: bool) -> Iterator[Text]:
    """Behind the tables of good files: all problems, and which files have warnings."""
    problems = [Text(problem, style=BAD) for one in linted for problem in one.problems]
    yield from problems
    warned = [one for one in linted if one.all_warnings and not one.problems]
    for one in warned if quiet or len(linted) > 1 else ():
        if quiet:
            yield from _remarks([f"! {warning}" for warning in one.all_warnings], "warning", "")
        else:
            told = counted(len(one.all_warnings), "warning")
            yield Text(f"! {one.path}: {told}", style=ATTENTION)
    if problems or (warned and (quiet or len(linted) > 1)):
        yield Text()


def _set(
    linted: _Linted, case: CaseSet, of_set: SetForecast, title: str
) -> Iterator[RenderableType]:
    yield Heading(title)
    yield _summary_of(case, of_set)
    if of_set.steps:
        rows = list(_rows(of_set.steps))
        rows = rows if len(rows) <= MOST_ROWS else list(_shared_rows(of_set.steps))
        more, rows = len(rows) - MOST_ROWS, rows[:MOST_ROWS]
        shown = len(_COLUMNS) if any(row[-1] for row in rows) else len(_COLUMNS) - 1
        yield Grid(_COLUMNS[:shown], [row[:shown] for row in rows])
        if more > 0:
            yield Text(f" {counted(more, 'more row')}: --format json has every step", QUIET)
    if of_set.balances:
        yield _balances(of_set)
    reasons: dict[tuple[str, ...], list[str]] = {}
    for account, why in of_set.doubts.items():
        reasons.setdefault(why, []).append(account)
    yield from _remarks([f"{_some(a)}: {'; '.join(why)}" for why, a in reasons.items()], "account")
    warnings = linted.warnings.get(case.number, ())
    yield from _remarks([f"! {warning}" for warning in warnings], "warning")


def _remarks(texts: Sequence[str], noun: str, indent: str = " ") -> Iterator[Text]:
    """A line for each, as far as a person reads."""
    yield from (Text(indent + text, style=ATTENTION) for text in texts[:MOST_REMARKS])
    if (more := len(texts) - MOST_REMARKS) > 0:
        told = f"{counted(more, f'more {noun}')}: --format json has all"
        yield Text(indent + told, QUIET)


def _some(accounts: Sequence[str]) -> str:
    """ "A, B, C and 9,000 more"."""
    listed = ", ".join(accounts[:MOST_ACCOUNTS])
    more = len(accounts) - MOST_ACCOUNTS
    return f"{listed} and {more:,} more" if more > 0 else listed


def _summary_of(case: CaseSet, of_set: SetForecast) -> Parts:
    counts = Counter(step.commits for step in of_set.steps)
    words = {"must": "must commit", "cannot": "cannot commit", "either": "may be either"}
    parts = [Text("live " + " ".join(map(replica_name, sorted(case.live))))]
    parts += [Text(f"{counts[key]} {says}", _STYLES[key]) for key, says in words.items()
              if counts[key]]  # fmt: skip
    failing = sum(step.known == "failed" for step in of_set.steps)
    parts += [Text(counted(failing, "transfer") + " must fail")] if failing else []
    return Parts(parts, indent=1)


def _rows(steps: Sequence[StepForecast]) -> Iterator[Sequence[Text]]:
    """One per step; of many, runs of those that must succeed become one."""
    for folds, run in groupby(steps, key=lambda s: (s.commits, s.known) == ("must", "success")):
        together = list(run)
        if folds and len(steps) > FOLD_BEYOND and len(together) > 1:
            labels = f"{together[0].label}-{together[-1].label}"
            yield [Text(labels), Text(counted(len(together), "step")), Text("must"),
                   Text("success", GOOD), Text()]  # fmt: skip
            continue
        for step in together:
            yield [cell(step.label), cell(step.text), cell(step.commits, _STYLES[step.commits]),
                   cell(step.words, _style(step)), cell(_why(step), QUIET)]  # fmt: skip


def _shared_rows(steps: Sequence[StepForecast]) -> Iterator[Sequence[Text]]:
    """One for all steps of which the same is said, in the order of the first of each."""
    groups: dict[tuple[str | None, str, str], list[StepForecast]] = {}
    for step in steps:
        groups.setdefault((step.commits, step.words, _why(step)), []).append(step)
    for (commits, words, why), together in groups.items():
        first = together[0]
        labels, text = first.label, first.text
        if len(together) > 1:
            labels, text = f"{labels}-{together[-1].label}", counted(len(together), "step")
        yield [cell(labels), cell(text), cell(commits, _STYLES[commits]),
               cell(words, _style(first)), cell(why, QUIET)]  # fmt: skip


def _style(step: StepForecast) -> str:
    return GOOD if step.known == "success" else ATTENTION if step.known is None else ""


def _why(step: StepForecast) -> str:
    return "no quorum" if step.commits == "cannot" else "; ".join(step.why)


def _balances(of_set: SetForecast) -> Parts:
    shown = list(of_set.balances.items())[:MOST_ACCOUNTS]
    parts = [Text("balances")]
    for account, amounts in shown:
        style = "" if len(amounts) == 1 else ATTENTION
        parts.append(Text(f"{account} {alternatives(amounts)}", style))
    more = len(of_set.balances) - len(shown)
    parts += [Text(f"{more} more", style=QUIET)] if more else []
    return Parts(parts, separator="  ", indent=1)


def _summary(linted: Sequence[_Linted], found: given.Given) -> Iterator[Text]:
    told = [problem for one in linted for problem in one.problems]
    problems = sum(not problem.startswith(" ") for problem in told)  # what explains one is none
    bad = sum(1 for one in linted if one.problems)
    warnings = sum(len(one.all_warnings) for one in linted)
    where = f" in {counted(bad, 'file')}" if bad and len(linted) > 1 else ""
    words = [counted(len(linted), "file"), counted(problems, "problem") + where]
    words.append(counted(warnings, "warning"))
    yield Text(", ".join(words), style=BAD if problems else "")
    yield from [Text(found.told())] if found.left_out else []


# ---- json --------------------------------------------------------------------------------------


def _document(linted: _Linted) -> dict[str, Any]:
    """A possible balance is [least, most]; a value that does not exist is null."""
    found = linted.found
    return {
        "file": linted.path,
        "problems": linted.problems,
        "told": linted.told,
        "warnings": linted.warnings.get(0, []),
        "notes": list(linted.file.notes) if linted.file else [],
        "key": (linted.file and linted.file.key) or None,
        "exact": None if found is None else found.exact,
        "sets": [_set_document(linted, of_set) for of_set in (found.sets if found else ())],
    }


def _set_document(linted: _Linted, of_set: SetForecast) -> dict[str, Any]:
    return {
        "set": of_set.number,
        "steps": [
            {
                "label": step.label,
                "step": step.text,
                "line": step.line,
                "carried_from": step.carried_from,
                "commits": step.commits,
                "outcomes": sorted(step.outcomes),
                "balance": [step.values[0], step.values[-1]] if step.values else None,
                "why": list(step.why),
            }
            for step in of_set.steps
        ],
        "balances": {account: [b[0], b[-1]] for account, b in of_set.balances.items()},
        "doubts": {account: list(why) for account, why in of_set.doubts.items()},
        "pending": list(of_set.pending),
        "leaders": [replica_name(replica) for replica in sorted(of_set.leaders)],
        "waits": of_set.waits,
        "warnings": linted.warnings.get(of_set.number, []),
    }
