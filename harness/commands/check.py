"""Judge saved histories: what clients saw, and with the committed log what it says.

Every file is judged without the log, as if only clients had been watched; with a log in the file
also by the exact judges that take it as the witness. An answer of "unknown" says why.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from harness.check.black_box import BUDGET, CHECK, black_box
from harness.check.judges import judge_run
from harness.check.verdict import Judgement, Verdict, overall
from harness.commands import refuse_unknown
from harness.errors import HarnessError, unwritten
from harness.files import history_file, outputs
from harness.files.history_file import SavedHistory
from harness.files.text_file import shown
from harness.report import contradiction
from harness.report.documents import replace
from harness.report.html import style
from harness.screen.cells import Line

EXAMPLES = (
    ("history.jsonl", "judge what `torture --history history.jsonl` saved"),
    ("mine.jsonl --picture why.html", "judge what was seen of any bank, and show why"),
)


@dataclass(frozen=True, slots=True)
class _Judged:
    """One file."""

    file: str
    operations: int
    answered: int
    slots: int | None  # None without a log
    judgements: tuple[Judgement, ...]

    def document(self) -> Mapping[str, object]:
        """For `--format json`."""
        return {
            "file": self.file,
            "operations": self.operations,
            "answered": self.answered,
            "slots": self.slots,
            "verdict": overall(self.judgements).value,
            "checks": [
                {"check": j.check, "verdict": j.verdict.value, "reason": j.reason}
                for j in self.judgements
            ],
        }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `check`."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="histories, as torture saves them")
    parser.add_argument(
        "--budget",
        default=str(BUDGET),
        metavar="N",
        help=f"configurations to look at before the answer is unknown [{BUDGET}]",
    )
    parser.add_argument(
        "--format", default="rich", metavar="rich|json", help="lines, or one JSON document [rich]"
    )
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="FILE",
        help="write a page that shows what no order explains, where there is such a thing",
    )


def run(options: argparse.Namespace, console: Console) -> int:
    """Judge every file; the exit code of the worst verdict. A damaged file is refused first."""
    budget = _budget(options.budget)
    refuse_unknown("--format", options.format)
    outputs.check_replaced("--picture", options.picture)
    saved = [(file, history_file.load(file)) for file in options.files]
    judged = [_judge(file, content, budget) for file, content in saved]
    verdict = overall(j for one in judged for j in one.judgements)
    if options.picture is not None:
        _draw(options.picture, judged)
    if options.format == "json":
        document = {"verdict": verdict.value, "files": [one.document() for one in judged]}
        console.out(json.dumps(document, indent=1), highlight=False)
        return verdict.exit_code
    for one in judged:
        log = "no log" if one.slots is None else f"{one.slots} slots"
        heading = f"{one.file}: {one.operations} operations, {one.answered} answered, {log}"
        console.print(Line(Text(heading)), soft_wrap=True)
        for judgement in one.judgements:
            line = f"{judgement.verdict.sign} {judgement.check} {judgement.reason}".rstrip()
            console.print(Line(Text(line)), soft_wrap=True)
    console.print(Text(verdict.value))
    return verdict.exit_code


def _draw(path: Path, judged: Sequence[_Judged]) -> None:
    """Nothing is written, and an earlier page goes, where every answer has its place."""
    found = {
        one.file: judgement.evidence
        for one in judged
        for judgement in one.judgements
        if judgement.evidence is not None
    }
    try:
        if found:
            replace(path, contradiction.page(found, style()).encode("utf-8", "replace"))
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise unwritten(path, error) from None


def _budget(word: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) < 19 and int(word)):
        raise HarnessError(f'--budget: found "{shown(word)}", expected a number from 1 on')
    return int(word)


def _judge(file: str, saved: SavedHistory, budget: int) -> _Judged:
    operations, judgements = saved.operations, list[Judgement]()
    known_before = 0
    if saved.log is not None:
        known_before = saved.log.known_before
        judgements += judge_run(saved.balances, saved.log, operations, views=None)
    if known_before:
        reason = f"clients of earlier runs filled slots up to {known_before}: not in this file"
        judgements.append(Judgement(CHECK, Verdict.UNKNOWN, reason))
    else:
        judgements.append(black_box(saved.balances, operations, budget))
    answered = sum(1 for operation in operations if operation.is_answered)
    if not answered:
        reason = "no operation was answered, there is nothing to judge"
        judgements.append(Judgement("answers", Verdict.UNKNOWN, reason))
    slots = None if saved.log is None else len(saved.log.slots)
    return _Judged(file, len(operations), answered, slots, tuple(judgements))
