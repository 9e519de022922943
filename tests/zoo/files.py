"""Storages that are broken: what a replica asks for is written wrongly, or not all of it."""

from dataclasses import replace

from bank.effects import Run
from harness.live.storage import Storage

from .kit import animal


@animal(
    "Rows are deleted, and how far is not written down.",
    "A truncation looks complete when the rows are gone. After a restart the slots count as open "
    "again, and are empty.",
)
class TruncationNotStored(Storage):
    def _write(self, persist):
        super()._write(persist)
        self._db.execute("update watermark set truncated_upto = 0")


@animal(
    "In a run that takes several statements each begins at the run's first slot.",
    "Batches added later, to make long runs faster: tests with two or three rows never see the "
    "second one.",
)
class LongRunOverwritesItself(Storage):
    def _write_run(self, run):
        for start in range(0, len(run.requests), self._group):
            rows = run.requests[start : start + self._group]
            super()._write_run(Run(run.first_slot, run.ballot, rows))


@animal(
    "A turn that stores one short run stores nothing else.",
    "A quick way for what is usual, taken without a look at what else there is to store.",
)
class OnlyTheRun(Storage):
    def _is_one_statement(self, persist):
        return len(persist.runs) == 1 and 0 < len(persist.runs[0].requests) <= self._group


@animal(
    "A checkpoint writes the balances that changed, and not the sessions.",
    "Who counts money thinks of accounts; that somebody was answered is state as well.",
)
class SessionsNotWritten(Storage):
    def _write_checkpoint(self, checkpoint):
        changed = checkpoint.changed
        if changed is not None:
            checkpoint = replace(checkpoint, changed=replace(changed, clients=frozenset()))
        super()._write_checkpoint(checkpoint)


@animal(
    "The watermark is written, and the slots that it speaks of one turn later.",
    "Writes are gathered to save transactions, each kind by itself.",
)
class RunsOneTurnLate(Storage):
    _late = ()

    def commit(self, persist):
        self._late, runs = persist.runs, [*self._late]
        super().commit(replace(persist, runs=runs))
