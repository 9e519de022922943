"""The virtual disk of one replica: what was not committed is lost when its process dies.

`process` and `power` differ in what a loss of power takes. A transaction is committed first and
synced later; a killed process loses what is not committed, a loss of power what is not synced: a
suffix of the committed transactions, for SQLite writes them in order.
"""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from bank.accounts import Balances
from bank.ballot import NO_BALLOT, Ballot, Slot
from bank.checkpoint import Checkpoint
from bank.effects import Pages, Persist, Stored
from bank.sessions import Request, Session, hashes_of
from harness.live.storage import DiskError, Owner, Storage, StorageError

FIELDS = tuple(Stored.__dataclass_fields__)


class Disk:
    """Survives its replica's incarnations."""

    def __init__(self, pages: tuple[bytes, ...] = ()) -> None:
        """`pages` are those before slot 1."""
        self.promised = NO_BALLOT
        self.seen = 0
        self.rows: dict[Slot, tuple[Ballot, Request]] = {}
        self.committed_upto: Slot = 0
        self.truncated_upto: Slot = 0
        self.checkpoint: Checkpoint | None = None
        self.pages = pages  # of the checkpoint, or those before slot 1
        self.unfinished = Pages(0, ())  # of the next one, which nobody looks at
        self._unsynced: list[Persist] = []  # committed, in order; the fields above lack them

    def commit(self, persist: Persist) -> None:
        """The transaction is committed: a killed process leaves it behind."""
        self._unsynced.append(persist)

    def sync(self) -> None:
        """Everything committed so far survives a loss of power as well."""
        for persist in self._unsynced:
            self._apply(persist)
        self._unsynced.clear()

    @property
    def unsynced(self) -> int:
        """How many transactions a loss of power can take."""
        return len(self._unsynced)

    def lose_power(self, lost: int) -> None:
        """Lose the last ones of what was committed and not synced; the others survive."""
        del self._unsynced[len(self._unsynced) - lost :]
        self.sync()

    def stored(self) -> Stored:
        """What a replica that starts now finds. Only after `sync` or `lose_power`."""
        assert not self._unsynced, "read before the writer's fate was decided"
        entries = [(slot, *self.rows[slot]) for slot in sorted(self.rows)]
        return Stored(
            self.promised,
            self.seen,
            entries,
            self.committed_upto,
            self.truncated_upto,
            self.checkpoint,
        )

    def _apply(self, persist: Persist) -> None:
        if persist.promise_changed:
            self.promised, self.seen = persist.promised, persist.seen
        rows = self.rows
        for run in persist.runs:
            for slot, request in enumerate(run.requests, run.first_slot):
                rows[slot] = (run.ballot, request)
        if persist.pages is not None:
            slot, pages = persist.pages
            before = self.unfinished.pages if slot == self.unfinished.slot else ()
            self.unfinished = Pages(slot, (*before, *pages))
        if persist.checkpoint is not None:
            self._store(persist.checkpoint, persist.sessions)
        if persist.truncated_upto > self.truncated_upto:
            if persist.truncated_upto - self.truncated_upto < len(rows):
                for slot in range(self.truncated_upto + 1, persist.truncated_upto + 1):
                    rows.pop(slot, None)
            else:
                self.rows = {s: row for s, row in rows.items() if s > persist.truncated_upto}
            self.truncated_upto = persist.truncated_upto
        if persist.committed_upto is not None:
            self.committed_upto = persist.committed_upto

    def _store(self, checkpoint: Checkpoint, sessions: Iterable[Session]) -> None:
        """It is the stored one: what was not written is as it was in the one before."""
        written = dict(self.unfinished.pages)
        pages = tuple(written.get(n, page) for n, page in enumerate(self.pages))
        known = {} if self.checkpoint is None else {s[0]: s for s in self.checkpoint.sessions}
        held = (known | {session[0]: session for session in sessions}).values()
        state = checkpoint.state._replace(pages=pages, sessions=tuple(held))
        self.checkpoint = Checkpoint(state, checkpoint.digest, tuple(hashes_of(pages)))
        self.pages, self.unfinished = pages, Pages(0, ())


class FileDisk(Disk):
    """A disk that writes a replica's real file too, and whose replica starts from that file.

    What the class that real processes use says of it must be what the simulated disk says.
    """

    def __init__(self, path: Path, owner: Owner, balances: Balances) -> None:
        """`path` was created for `owner` with these balances."""
        super().__init__(balances.pages)
        self._path, self._owner = path, owner
        self._accounts = balances.accounts
        self._storage = self._opened()

    def _opened(self) -> Storage:
        return Storage(self._path, "process", self._owner, self._accounts)

    def stored(self) -> Stored:
        """What a replica that starts now finds in its file."""
        self._storage.close()
        try:
            self._storage = self._opened()
        except DiskError:
            raise  # the machine's
        except StorageError as error:  # its folder is another one at each run
            told = str(error).removeprefix(f"{self._path.parent}{os.sep}")
            raise AssertionError(f"its own file is refused: {told}") from None
        found = self._storage.found
        for what, value, right in zip(FIELDS, _plain(found), _plain(super().stored()), strict=True):
            assert value == right, f"{self._path.name} does not hold the {what} that was stored"
        return found

    def _apply(self, persist: Persist) -> None:
        super()._apply(persist)
        self._storage.commit(persist)

    def close(self) -> None:
        """Close the file."""
        self._storage.close()


def _plain(stored: Stored) -> tuple[object, ...]:
    """The fields, the same whatever the order of what has none."""
    checkpoint = stored.checkpoint
    if checkpoint is not None:
        sessions = tuple(sorted(checkpoint.sessions))
        checkpoint = replace(checkpoint, state=checkpoint.state._replace(sessions=sessions))
    fields = replace(stored, entries=tuple(stored.entries), checkpoint=checkpoint)
    return tuple(getattr(fields, name) for name in FIELDS)
