"""Answer keys: what a test set is expected to come to, in a file of its own beside it.

`x.expected.yaml` belongs to x.csv or x.yaml. It is worked out by the oracle and never from a run,
says in comments what cannot be known and why, and may be edited. A key that does not fit its file
or cluster is refused as a whole, before anything starts.
"""

import hashlib
import json
import re
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from textwrap import wrap
from typing import Any

from harness.errors import HarnessError, nearest, unwritten
from harness.files import outputs, text_file, yaml_source
from harness.files.cases import Action, CaseFile, Expected
from harness.files.config import DROP, ClusterConfig
from harness.files.expect import EXPECT, labels, read_expect
from harness.files.forecast.foretold import Forecast, SetForecast, StepForecast, alternatives
from harness.files.forecast.oracle import forecast
from harness.files.shape import Key, Place, Shape, entries, mapping
from harness.files.steps import Names
from harness.files.tree import Problems, Section

SUFFIX = ".expected.yaml"
END = "end"  # stands beside the set numbers
MOST_NAMED = 10  # set numbers in a message
WIDTH = 100  # columns of a file that is written
FOLDS_BEYOND = 100  # steps of a set: then those of which the same is said stand together
MOST_LABELS = 10  # of steps that are left open for one reason; more are counted
MOST_REMARKS = 100  # accounts that are left open, each with its reason

_HEAD = "# The answer key of {}, worked out from the file and not from a run.\n"
_SEAL = "# --write-expected writes it anew unless somebody changed it: {}\n"
_SEALED = re.compile(r"(?:#.*\n)?# --write-expected .*: ([0-9a-f]{16})\n")


# ---- reading -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AnswerKey:
    """What a key says, checked against its file."""

    path: str
    sets: Mapping[int, tuple[Expected, ...]]  # by set number
    at_end: tuple[Expected, ...]


def beside(path: str | Path) -> Path:
    """Where the key of a test set is looked for, whether there is one or not."""
    return Path(path).with_suffix(SUFFIX)


def checked(
    file: CaseFile, config: ClusterConfig, given: Path | None = None, ignore: bool = False
) -> CaseFile:
    """The file with what its key expects, if it has one: the one that is given, or beside it.

    HarnessError with every problem of the key.
    """
    path = given or beside(file.path)
    if ignore or (given is None and not path.exists()):
        return file
    return with_key(file, read(path, file, config, is_given=given is not None))


def with_key(file: CaseFile, key: AnswerKey) -> CaseFile:
    """A run of this file is judged by the key as well."""
    sets = [replace(c, expected=c.expected + key.sets.get(c.number, ())) for c in file.sets]
    return replace(file, sets=tuple(sets), at_end=file.at_end + key.at_end, key=key.path)


def read(
    path: str | Path, file: CaseFile, config: ClusterConfig, is_given: bool = True
) -> AnswerKey:
    """The key of this file for this cluster; HarnessError with every problem.

    One that was not given by name has to say that it belongs to this file.
    """
    name = str(path)
    section = yaml_source.parse(text_file.read(path, "an answer key"), name, "expected:")
    if not isinstance(section, Section) or "expected" not in section:
        found = "a test set" if isinstance(section, Section) and "sets" in section else "no key"
        raise HarnessError(f"{name}:1: this is {found}, expected an answer key with expected:")
    problems = Problems(name)
    against = _Against(file, config, is_given)
    expected = KEY.read(section, Place(problems, 1, "", against)).get("expected", {})
    problems.refuse()
    return AnswerKey(name, expected, expected.pop(END, ()))


class _Against:
    """What a key is checked against."""

    def __init__(self, file: CaseFile, config: ClusterConfig, is_given: bool) -> None:
        self.file, self.names = file, Names(config.nodes, config.accounts)
        self.fits: dict[str, object] = {"nodes": config.nodes}
        self.fits["initial_balance"] = config.initial_balance
        self.fits["unanswered"] = config.unanswered
        self.fits |= {} if is_given else {"file": Path(file.path).name}
        self.numbers = {str(case.number): index for index, case in enumerate(file.sets)}
        self._earlier: dict[str, Action] = {}  # requests of the first so many sets
        self._upto = 0

    def steps(self, index: int) -> Mapping[str, Action]:
        """Those that the expectations of a set may name; of use until the next call."""
        if index < self._upto:
            self._earlier, self._upto = {}, 0
        while self._upto < index:
            self._earlier |= labels([self.file.sets[self._upto]])
            self._upto += 1
        return ChainMap(labels([], self.file.sets[index]), self._earlier)


def _fits(value: Any, at: Place) -> None:
    own = at.given.fits.get(at.name, value)
    if value != own:
        what = f"this key is for {at.problems.show(value)}, expected {own}"
        raise ValueError(f"{what} (--no-key leaves it out)")


def _expected(word: str, value: Any, at: Place) -> dict[int | str, tuple[Expected, ...]]:
    against = at.given
    sets, index = against.file.sets, against.numbers.get(word)
    if word == END:
        known: Mapping[str, Action] = labels(sets)
    elif index is not None:
        known = against.steps(index)
    else:
        raise ValueError(_no_such_set(word, against.numbers))
    number = END if index is None else sets[index].number
    return {number: read_expect(value, at.line, at.problems, against.names, known)}


KEY = mapping(
    {
        **dict.fromkeys(("file", "nodes", "initial_balance", "unanswered"), Key(Shape(_fits))),
        "expected": Key(entries(_expected, "set numbers, and end", EXPECT, least=0)),
    }
)


def _no_such_set(word: str, numbers: Mapping[str, int]) -> str:
    known = list(numbers)
    listed = ", ".join([*known[:MOST_NAMED], "…"] if len(known) > MOST_NAMED else known)
    hint = nearest(text_file.shown(word), [*known[:1000], END])
    return f"the file has no such set, expected {listed} or {END}{hint}"


# ---- writing -----------------------------------------------------------------------------------


def write(path: Path, file: CaseFile, config: ClusterConfig) -> int:
    """Write the key of this file; how many places it leaves open.

    HarnessError when what stands there was not written like this, or was changed since. The file
    is the old one or the new one at any time.
    """
    outputs.check_replaced("--write-expected", path)
    new = path.with_name(f".{path.name}.new")
    try:
        if path.exists() and not _is_sealed(text_file.decode(path.read_bytes(), str(path))):
            raise HarnessError(
                f"{path}: was changed or written by hand and is not overwritten, expected no file "
                "there, or one as --write-expected left it (--key FILE writes elsewhere)"
            )
        found = forecast(file, config)
        new.write_text(text(file, config, found), "utf-8")
        new.replace(path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise unwritten(path, error) from None
    return sum(_open_places(of_set) for of_set in found.sets)


def text(file: CaseFile, config: ClusterConfig, found: Forecast) -> str:
    """The whole key, the same for the same file."""
    name = Path(file.path).name
    parts = [f"file: {json.dumps(name, ensure_ascii=False)}\nnodes: {config.nodes}\n"]
    parts.append(f"initial_balance: {config.initial_balance}\n")
    parts += [f"unanswered: {config.unanswered}\n"] if config.unanswered == DROP else []
    parts.append("\nexpected:\n")
    if not found.exact:
        parts += _remark("  ", "Too many orders to try them all: more is left open than need be.")
    for of_set in found.sets:
        parts += _entry(str(of_set.number), list(_of_set(of_set)))
    parts += _entry(END, list(_at_end(found)))
    body = "".join(parts)
    return _HEAD.format(name) + _SEAL.format(_checksum(body)) + body


def _is_sealed(found: str) -> bool:
    """It is as it was written."""
    match = _SEALED.match(found)
    return match is not None and match[1] == _checksum(found[match.end() :])


def _checksum(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:16]


def _entry(word: str, lines: Sequence[str]) -> Iterator[str]:
    says_something = any(not line.lstrip().startswith("#") for line in lines)
    yield f"  {word}:\n" if says_something else f"  {word}: {{}}\n"
    yield from lines
    yield "" if word == END else "\n"


def _of_set(of_set: SetForecast) -> Iterator[str]:
    yield from _balances(of_set)
    yield from _outcomes(of_set.steps)
    yield from _pending(of_set.pending, of_set.steps)
    if not of_set.leaders:
        yield "    leader: none\n"


def _at_end(found: Forecast) -> Iterator[str]:
    """What is pending, and what became of requests that no set tells for sure."""
    told = {
        step.label if "." in step.label else f"{of_set.number}.{step.label}"
        for of_set in found.sets
        for step in of_set.steps
        if step.known not in (None, "pending") and step.listed
    }
    yield from _outcomes(
        [
            step
            for label, step in found.at_end.items()
            if label not in told and step.known not in (None, "pending")
        ]
    )
    requests = [step for step in found.at_end.values() if not step.dropped]
    surely = sum(step.known == "pending" for step in requests)
    yield from _pending((surely, sum("pending" in step.outcomes for step in requests)), requests)


def _balances(of_set: SetForecast) -> Iterator[str]:
    if of_set.silent:
        yield from _remark("    ", "balances: perhaps no replica is live then, and not cut off")
    known = [f"{a}: {b[0]}" for a, b in of_set.balances.items() if len(b) == 1]
    if known:
        line = "balances: {" + ", ".join(known) + "}"
        yield from _wrapped(line, "    ", " " * 15)
    open_ = [(a, amounts) for a, amounts in of_set.balances.items() if len(amounts) > 1]
    for account, amounts in open_[:MOST_REMARKS]:
        why = "; ".join(of_set.doubts[account])
        yield from _remark("    ", f"{account}: {alternatives(amounts)}: {why}")
    if (more := len(open_) - MOST_REMARKS) > 0:
        yield from _remark("    ", f"{more} more accounts are not known for such reasons")


def _outcomes(steps: Sequence[StepForecast]) -> Iterator[str]:
    if len(steps) > FOLDS_BEYOND:
        yield from _folded_outcomes(steps)
        return
    is_known = any(step.known is not None and step.listed for step in steps)
    if is_known:
        yield "    outcomes:\n"
    for step in steps:
        if step.known is not None and step.listed:
            carried = "" if step.carried_from is None else f", from set {step.carried_from}"
            yield f"{f'      {step.label}: {step.known}':<24}# {step.text}{carried}\n"
            continue
        why = "".join(f": {reason}" for reason in step.why[:1])
        indent = "      " if is_known else "    "
        yield from _remark(indent, f"{step.label} {step.text}: {step.words}{why}")


def _folded_outcomes(steps: Sequence[StepForecast]) -> Iterator[str]:
    """Runs of steps with one outcome as "4-9", and each reason to leave steps open once."""
    runs = [(k, list(run)) for k, run in groupby(steps, key=lambda s: (s.known, s.listed))]
    is_known = any(known is not None and listed for (known, listed), _ in runs)
    if is_known:
        yield "    outcomes:\n"
    left: dict[str, list[StepForecast]] = {}
    for (known, listed), run in runs:
        if known is None or not listed:
            for step in run:
                why = "".join(f": {reason}" for reason in step.why[:1])
                left.setdefault(f"{step.words}{why}", []).append(step)
            continue
        for word, together in _ranges(run):
            what = together[0].text if len(together) == 1 else f"{len(together)} steps"
            yield f"{f'      {word}: {known}':<24}# {what}\n"
    for said, open_ in left.items():
        named = ", ".join(text for text, _ in _ranges(open_)[:MOST_LABELS])
        more = sum(len(together) for _, together in _ranges(open_)[MOST_LABELS:])
        named += f" and {more} more steps" if more else ""
        yield from _remark("      " if is_known else "    ", f"{named}: {said}")


def _ranges(steps: Sequence[StepForecast]) -> list[tuple[str, list[StepForecast]]]:
    """ "4-9" for the steps of a set whose labels follow each other; each other one by itself."""
    found: list[list[StepForecast]] = []
    for step in steps:
        prefix, number = _place(step.label)
        if found and (prefix, number - 1) == _place(found[-1][-1].label):
            found[-1].append(step)
        else:
            found.append([step])
    return [
        (run[0].label + (f"-{_place(run[-1].label)[1]}" if len(run) > 1 else ""), run)
        for run in found
    ]


def _place(label: str) -> tuple[str, int]:
    """ "5.12" as ("5", 12), "12" as ("", 12)."""
    prefix, _, number = label.rpartition(".")
    return prefix, int(number)


def _pending(count: tuple[int, int], steps: Sequence[StepForecast]) -> Iterator[str]:
    least, most = count
    if least < most:
        yield from _remark("    ", f"pending: {least} to {most}")
    else:
        waiting = [json.dumps(step.text) for step in steps if step.known == "pending"]
        if len(waiting) > FOLDS_BEYOND:
            yield f"    pending: {len(waiting)}\n"
        elif waiting:
            yield "    pending:\n"
            yield from (f"      - {step}\n" for step in waiting)
        else:
            yield "    pending: 0\n"


def _remark(indent: str, remark: str) -> Iterator[str]:
    yield from _wrapped(remark, f"{indent}# ", f"{indent}#   ")


def _wrapped(line: str, first: str, further: str) -> Iterator[str]:
    yield "\n".join(wrap(line, WIDTH, initial_indent=first, subsequent_indent=further)) + "\n"


def _open_places(of_set: SetForecast) -> int:
    steps = sum(step.known is None or not step.listed for step in of_set.steps)
    return steps + sum(len(amounts) > 1 for amounts in of_set.balances.values())
