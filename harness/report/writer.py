"""Writes what is known of a run into a folder: when asked, or again after every set.

Each file is replaced in one step and is whole at any time: a run that is killed leaves what was
written last. Files are not forced to the disk; this is about killed programs, not about
power. Nothing but the files of a report is ever written over.

All of it is written anew, which takes longer with each set: once that has taken some seconds, it is
left out after as many sets as keep it a part of the run's time, unless the last is the
first that does not hold. At a prompt, and when the run ends in whatever way but a kill, everything
is written; after Ctrl-C all but the page for people, which takes most, and has a part of the time
of its own.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from bank.ballot import replica_name
from harness.check.verdict import Verdict
from harness.cluster.driver import Cluster
from harness.cluster.journal import Entry
from harness.cluster.wording import line
from harness.errors import HarnessError, unwritten
from harness.files import history_file
from harness.files import writer as test_set
from harness.files.cases import CaseFile
from harness.files.config import ClusterConfig
from harness.files.outputs import unfinished
from harness.report import gradescope, html, junit, perfetto, results
from harness.report.documents import (
    GRADESCOPE,
    HISTORY,
    JUNIT,
    NAMES,
    PAGE,
    PERFETTO,
    POKED,
    RESULTS,
    SOMETIMES,
    TRACE,
    Folder,
)
from harness.run import pokes, story
from harness.run.flows import Trace
from harness.run.report import SetReport
from harness.run.runner import Runner

REPORT = "report"  # the folder, when none is named
FORMATS = ("jsonl", "perfetto")  # of the trace; the first is always written
NOT_OVER = "the run was not over when this was written"  # for whoever reads what a kill left
MOST_LINES = 200_000  # of traces in the page; those of the first sets go first
PAGE_SHARE = 0.1  # of the run's time, to draw pages in
SHARE = 0.2  # of the run's time, to write in, pages included,
FREE_SECONDS = 2.0  # beyond these: a class' test sets never come so far


def why_ended(error: BaseException) -> str:
    """Why a run did not come to its end, for its documents."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"


class Writer:
    """The report of one run. It has to see every set: a cluster forgets older messages."""

    def __init__(
        self,
        path: Path | None,
        file: CaseFile,
        config: ClusterConfig,
        command: str = "",
        again: Callable[[Path], str] = str,
        trace_format: str = FORMATS[0],
    ) -> None:
        """`command` repeats the run; once something was poked, `again` of the test set that has it.

        Without `path` nothing is written unasked. HarnessError when it cannot be the folder of a
        report; nothing is started for it.
        """
        self._for_perfetto = trace_format == "perfetto"
        if self._for_perfetto and path is None:
            raise HarnessError(
                "--trace-format: belongs to the trace in a report, expected --report DIR beside it"
            )
        self._folder = Folder(path, (*NAMES, *SOMETIMES)) if path is not None else None
        self._file, self._config = file, config
        self._command, self._again = command, again
        self._traces: list[Trace] = []  # of each set, and below the same as lines of JSON
        self._lines: list[bytes] = []
        self._began, self._writing, self._drawing = time.monotonic(), 0.0, 0.0  # seconds
        self._last: tuple[Runner, Cluster] | None = None  # that was written
        self._verdict = Verdict.UNKNOWN  # when a set was over last
        self._ended = ""  # why the run did not come to its end

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """What was written of a run that did not come to its end says why; nothing if it quit."""
        if self._folder is None or self._last is None:
            return
        if error is None:
            if self._ended:  # by what was written last: the rest of the file was not wanted
                self._ended = ""
                self._write(self._folder, *self._last, with_page=True)
            return
        self._ended = why_ended(error)
        with suppress(HarnessError):
            is_told = isinstance(error, HarnessError)
            self._write(self._folder, *self._last, with_page=is_told)

    def update(self, run: Runner, cluster: Cluster, pauses: bool = False) -> None:
        """Call it before the first set, and whenever something happened.

        Who `pauses` after it may look at what was written: nothing is left out for its time.
        HarnessError with EXIT_MACHINE when the disk does not take it.
        """
        self._take_traces(run.reports, cluster)
        self._last = run, cluster
        if self._folder is not None:
            is_over = len(run.reports) == len(self._file.sets)
            self._ended = "" if is_over else NOT_OVER
            spent = time.monotonic() - self._began
            verdict, looks = run.verdict(), is_over or pauses
            is_bad_news = verdict not in (Verdict.VALID, self._verdict)
            self._verdict = verdict
            if looks or is_bad_news or self._writing <= FREE_SECONDS + SHARE * spent:
                with_page = looks or self._drawing <= PAGE_SHARE * spent
                self._write(self._folder, run, cluster, with_page)
                self._writing += time.monotonic() - self._began - spent

    def write_now(self, path: Path | None, run: Runner, cluster: Cluster) -> Path:
        """All that is known now, the page included; returns its folder.

        Without `path` it is the folder that is written anyway, or REPORT. HarnessError as told.
        """
        folder = self._folder
        if path is not None or folder is None:
            folder = Folder(path or Path(REPORT), (*NAMES, *SOMETIMES))
        self._take_traces(run.reports, cluster)
        self._write(folder, run, cluster, with_page=True)
        return folder.path

    def _write(self, folder: Folder, run: Runner, cluster: Cluster, with_page: bool) -> None:
        file, config, reports, ended = self._file, self._config, run.reports, self._ended
        document = results.document(
            file,
            config,
            reports,
            run.pending(),
            run.verdict(),
            ended=ended,
            poked=run.poked,
            forgotten=run.forgotten(),
        )
        try:
            self._write_poked(folder, run)
            folder.write_json(RESULTS, document)
            folder.write(JUNIT, junit.run(file, config, reports, ended))
            folder.write_json(GRADESCOPE, gradescope.run(file, config, reports, ended))
            new = folder.path / unfinished(HISTORY)
            history_file.save(new, run.history, cluster.committed, config.balances())
            os.replace(new, folder.path / HISTORY)
            folder.write(TRACE, b"".join(self._lines))
            if not self._for_perfetto:
                (folder.path / PERFETTO).unlink(missing_ok=True)
            if with_page:
                began = time.monotonic()
                page = self._page(folder, run, cluster)
                folder.write(PAGE, page.encode("utf-8", "replace"))
                if self._for_perfetto:
                    folder.write(PERFETTO, self._for_viewer(run, cluster))
                self._drawing += time.monotonic() - began
        except OSError as error:
            raise unwritten(folder.path, error, "the report cannot be written") from None

    def _write_poked(self, folder: Folder, run: Runner) -> None:
        if run.poked:
            sets = pokes.sets_as_run(self._file, run.reports, run.poked)
            text = test_set.yaml_text(sets, self._config, f"Saved from {self._file.path}")
            folder.write(POKED, text.encode())
        else:  # what an earlier run left would be taken for this one's
            (folder.path / POKED).unlink(missing_ok=True)

    def _page(self, folder: Folder, run: Runner, cluster: Cluster) -> str:
        events, done = cluster.traces().events, pokes.all_steps(run.reports, run.poked)
        return html.page(
            self._file,
            self._config,
            [replace(report, steps=tuple(steps)) for report, steps in done],
            run.pending(),
            forgotten=run.forgotten(),
            traces=self._traces,
            moments=story.timeline(events, done, cluster.replicas),
            command=self._again(folder.path / POKED) if run.poked else self._command,
            ended=self._ended,
            written=time.strftime("%Y-%m-%d %H:%M"),
        )

    def _for_viewer(self, run: Runner, cluster: Cluster) -> bytes:
        events, done = cluster.traces().events, pokes.all_steps(run.reports, run.poked)
        return perfetto.document(
            self._file.path,
            run.reports,
            self._traces,
            story.timeline(events, done, cluster.replicas),
            perfetto.faults(done),
            run.history,
        )

    def _take_traces(self, reports: Sequence[SetReport], cluster: Cluster) -> None:
        """Of the last two sets: what is poked or read after a set belongs to it."""
        missing = len(reports) - len(self._traces)
        self._traces += [{}] * missing
        self._lines += [b""] * missing
        traces, replicas = cluster.traces(), range(1, cluster.replicas + 1)
        for index, of_set in ((-2, traces.of_set_before), (-1, traces.of_set)):
            if -index <= len(reports):
                self._traces[index] = {replica: of_set(replica) for replica in replicas}
                self._lines[index] = _trace(reports[index].number, self._traces[index])
        spare = sum(len(lines) for trace in self._traces for lines, _ in trace.values())
        for index, trace in enumerate(self._traces[:-2]):
            if spare > MOST_LINES:
                spare -= sum(len(lines) for lines, _ in trace.values())
                gone = {r: ((), len(lines) + dropped) for r, (lines, dropped) in trace.items()}
                self._traces[index] = gone


def _trace(set_number: int, trace: Trace) -> bytes:
    """The messages of a set, one replica after the other, each in its order."""
    lines: list[str] = []
    for replica, (kept, dropped) in trace.items():
        head: dict[str, Any] = {"set": set_number, "replica": replica_name(replica)}
        if dropped:
            lines.append(json.dumps({**head, "dropped": dropped}))
        lines += (json.dumps({**head, **_entry(entry)}, ensure_ascii=False) for entry in kept)
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")


def _entry(entry: Entry) -> dict[str, Any]:
    return {"at_us": entry.at, **line(entry.event)._asdict()}
