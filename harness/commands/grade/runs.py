"""Runs of test sets as programs of their own, some at a time, none for longer than its limit.

Each run is what a person would type, with its data and report in a folder of its own. What passed
is removed; what did not is kept. However this program ends, no run and no replica outlives it.
"""

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from harness import commands
from harness.cluster import ctrl_c
from harness.cluster.nemesis import FailLeader
from harness.commands.grade.grades import (
    CRASHED,
    FAILED,
    HUNG,
    MACHINE,
    PASSED,
    UNKNOWN,
    Graded,
    Result,
)
from harness.errors import EXIT_INVALID, EXIT_MACHINE, EXIT_UNKNOWN, EXIT_VALID
from harness.external.last_words import MOST_OF_A_LOG, end_of
from harness.files.outputs import unfinished
from harness.files.steps import Names, parse_step
from harness.files.temporary import TemporaryFolder
from harness.live.process import Guard
from harness.report.documents import RESULTS

POLL_SECONDS = 0.02
END_SECONDS = 3.0  # to end in good order, before SIGKILL
MOST_REASONS = 20
LONGEST_NAME = 100  # of a folder's name, what comes after it apart
_PROGRAM = "from harness.__main__ import main; raise SystemExit(main())"
_REPORT, _DATA, OUTPUT = "report", "data", "output.txt"


class Planned(Protocol):
    """A program to be run."""

    @property
    def limit_seconds(self) -> float:
        """How long it may take."""

    @property
    def folder_name(self) -> str:
        """Of the folder that it works in."""

    def words(self, folder: Path) -> list[str]:
        """What comes after `python` on its command line; it writes into that folder alone."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One run to be made."""

    graded: Graded  # that it belongs to
    run: int  # from 1
    seed: int
    flags: Sequence[str]  # those that make the run what it is
    keeps_data: bool  # a simulated one has none
    limit_seconds: float
    notes: Sequence[str] = ()  # of the file: what was read for something else
    keeps_in: Path | None = None  # what did not pass; None: where all of that is kept

    @property
    def command(self) -> str:
        """The line that repeats it."""
        file = self.graded.file
        return f"{commands.program()} {shlex.join([file, '--no-step', *self.flags])}"

    @property
    def folder_name(self) -> str:
        """Its file, way of failing and seed."""
        return f"{one_word(self.graded.file)}-{self.graded.failure}-{self.seed}"

    def words(self, folder: Path) -> list[str]:
        """What a person would type."""
        file = self.graded.file
        words = [f"./{file}" if file in commands.names() else file, *self.flags]
        words += ["--format", "json", "--report", str(folder / _REPORT)]
        words += ["--data", str(folder / _DATA)] if self.keeps_data else []
        return ["-c", _PROGRAM, *words]


P = TypeVar("P", bound=Planned)


@dataclass(slots=True)
class Ended:
    """A program that is over."""

    folder: Path
    code: int | None  # None: it was ended because it took too long
    seconds: float


@dataclass(slots=True)
class _Running:
    plan: Planned
    process: subprocess.Popen[bytes]
    folder: Path
    started: float

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started


class Runs:
    """A context: leaving it ends what still runs and removes what is not kept."""

    def __init__(self, jobs: int, keep: Callable[[], Path]) -> None:
        """`keep` gives the folder for what did not pass; it is asked only when something did."""
        self._jobs, self._keep = jobs, keep
        self._running: list[_Running] = []
        try:
            with ctrl_c.afterwards():
                self._temporary = TemporaryFolder("grade-")
                self._work = self._temporary.path
                self._guard = Guard(str(self._work))
        except KeyboardInterrupt:
            self.__exit__()
            raise

    def __enter__(self) -> "Runs":
        return self

    def __exit__(self, *_: object) -> None:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # once is enough
        try:
            _end([one.process for one in self._running])
            self._guard.dismiss()
            self._temporary.close()
        finally:
            signal.signal(signal.SIGINT, before)

    def results(self, plans: Iterable[Plan]) -> Iterator[tuple[Plan, Result]]:
        """The runs as they end. What goes wrong with one is its own result, and nobody else's."""
        for plan, ended in self.ended(plans):
            try:
                if isinstance(ended, Exception):
                    raise ended
                result = self._result(plan, ended)
            except Exception as error:
                result = _troubled(plan, error)
            yield plan, result

    def ended(self, plans: Iterable[P]) -> Iterator[tuple[P, Ended | Exception]]:
        """Programs as they end, or why one could not be started."""
        waiting = deque(plans)
        while waiting or self._running:
            while waiting and len(self._running) < self._jobs:
                plan = waiting.popleft()
                try:
                    self._start(plan)
                except Exception as error:
                    yield plan, error
            over = [one for one in self._running if self._is_over(one)]
            for one in over:
                self._running.remove(one)
                self._guard.remove(one.process)
                seconds, code = one.seconds, one.process.poll()
                _end([one.process])
                yield cast(P, one.plan), Ended(one.folder, code, seconds)
            if not over:
                time.sleep(POLL_SECONDS)

    def _start(self, plan: Planned) -> None:
        folder = _free(self._work / plan.folder_name)
        folder.mkdir()
        found = str(Path(commands.__file__).parents[2])  # the harness that runs now, and no other
        paths = [found, os.environ.get("PYTHONPATH", "")]
        with open(folder / OUTPUT, "wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-P", *plan.words(folder)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=output,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
                start_new_session=True,  # Ctrl-C comes here alone
            )
        self._running.append(_Running(plan, process, folder, time.monotonic()))
        self._guard.add(process)

    def _is_over(self, one: _Running) -> bool:
        return one.process.poll() is not None or one.seconds > one.plan.limit_seconds

    def _result(self, plan: Plan, one: Ended) -> Result:
        document = _document(one.folder / _REPORT / RESULTS)
        outcome = HUNG if one.code is None else _outcome(one.code, document)
        reasons = _reasons(document)
        if outcome == HUNG:
            sets, total = len(document.get("sets", ())), document.get("sets_in_file", 0)
            reasons.insert(
                0, f"not through after {plan.limit_seconds:g} s, {sets} of {total} sets run"
            )
        elif outcome in (CRASHED, MACHINE):
            why = _why_it_ended(document) or last_line(one.folder / OUTPUT)
            reasons.insert(0, why or f"ended by {one.code}")
        kept = None
        if outcome == PASSED:
            shutil.rmtree(one.folder, ignore_errors=True)
        else:
            try:
                kept = str(self._kept(plan, one.folder))
            except OSError as error:  # a verdict is one without its evidence, too
                reasons.append(f"its data and report could not be kept: {error}")
        return Result(
            plan.run,
            plan.seed,
            outcome,
            round(one.seconds, 3),
            document.get("points", 0),
            tuple(_failovers_ms(document)),
            tuple(reasons[:MOST_REASONS]),
            plan.command,
            kept,
        )

    def _kept(self, plan: Plan, folder: Path) -> Path:
        """Where it stands from now on: in one step, however this program ends meanwhile."""
        where = self._keep() if plan.keeps_in is None else plan.keeps_in
        where.mkdir(parents=True, exist_ok=True)
        for log in (folder / _REPORT).glob("*.log"):
            _keep_end(log)
        target = _free(where / plan.folder_name)
        unnamed = target.with_name(unfinished(target.name))
        shutil.rmtree(unnamed, ignore_errors=True)
        shutil.move(folder, unnamed)
        return unnamed.rename(target)


def _troubled(plan: Plan, error: Exception) -> Result:
    """A run that could not be started, or about which nothing can be said."""
    reason = str(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
    return Result(plan.run, plan.seed, MACHINE, 0.0, 0, (), (reason,), plan.command, None)


def one_word(file: str) -> str:
    """Its path in one word, so that class/anna/x.csv and class/ben/x.csv are told apart."""
    parts = [part for part in Path(file).with_suffix("").parts if part.strip("./")]
    return "-".join(parts)[-LONGEST_NAME:].lstrip("-")


def _free(path: Path) -> Path:
    """That path, or the first with a number at its end where nothing stands yet."""
    numbered = (path.with_name(f"{path.name}-{number}") for number in count(2))
    return next(found for found in chain([path], numbered) if not found.exists())


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """As Ctrl-C does, and a moment later with SIGKILL, which no replica survives either."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + END_SECONDS
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _keep_end(log: Path) -> None:
    """Of a log that floods, as much as a person may want to read."""
    if log.stat().st_size > MOST_OF_A_LOG:
        log.write_bytes(end_of(log))


# ---- what a run left behind --------------------------------------------------------------------


def _document(path: Path) -> dict[str, Any]:
    """The results of a run, of an unfinished one too; empty when there are none."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _outcome(code: int, document: dict[str, Any]) -> str:
    verdicts = {(EXIT_VALID, "valid"): PASSED, (EXIT_INVALID, "invalid"): FAILED}
    verdicts |= {(EXIT_UNKNOWN, "unknown"): UNKNOWN}
    return (
        MACHINE
        if code == EXIT_MACHINE
        else verdicts.get((code, document.get("verdict", "")), CRASHED)
    )


_HOLDS = ("valid", "not asked")  # what is said of these checks is no reason against a run


def _reasons(document: dict[str, Any]) -> list[str]:
    """Everything against a run, each with its place: what is certain first, then set by set.

    Of a set the checks come first, since what they say explains why an expectation does not hold.
    Progress comes last, as a consequence of anything.
    """
    found = []
    for at, one in enumerate(document.get("sets", ())):
        wrong = [met for met in one["expectations"] if not met["holds"]]
        for met in wrong:
            text = f"{met['where']}: {met['key']}: {met['reason']}"
            found.append((met.get("verdict") == "unknown", at, 1, text))
        said = one.get("checks", {})
        for check, reason in one["reasons"].items():
            if said.get(check) not in _HOLDS and not (check == "expectations" and wrong):
                text = f"set {one['set']}: {check}: {reason}"
                rank = 2 if check == "progress" else 0
                found.append((said.get(check) == "unknown", at, rank, text))
    return [text for *_, text in sorted(found, key=lambda each: each[:3])]


def _failovers_ms(document: dict[str, Any]) -> Iterator[float]:
    """How long clients waited in each set that lost its leader and went on."""
    for one in document.get("sets", ()):
        lost = False
        for step in one["steps"]:
            lost = lost or (step["outcome"] == "done" and _fails_leader(step["step"]))
            if lost and step["outcome"] in ("success", "failed"):
                yield one["leaderless_ms"]
                break


def _fails_leader(text: str) -> bool:
    try:
        return isinstance(parse_step(text, Names(0, ()))[1], FailLeader)
    except ValueError:  # it names replicas or accounts
        return False


def _why_it_ended(document: dict[str, Any]) -> str:
    """Why a run of other people's replicas came to no verdict: its first line, then their words."""
    ended = document.get("ended") or ""
    return str(ended).split("\n")[0] if "\n" in str(ended) else ""


def last_line(path: Path) -> str:
    """The last thing that a program said."""
    lines = path.read_text("utf-8", "replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
