"""Folders for the time of a run, and the removal of those that a killed run left.

A guardian removes them when the harness dies. One that is killed before it has its guardian, or
that needs none, leaves its folder to the next run. Whose folder it is says a file in it that its
owner keeps locked: the lock ends with the owner, however that dies, and unlike a process id it is
nobody else's later, nor another process in another container. A folder without that file, or that
was never locked, is left alone: so are those on a file system that has no locks.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from harness.errors import unwritten

PREFIX = "paxbank-"
SOCKETS = "pymp-"  # multiprocessing names the folder of its sockets so
OWNER = ".owner"


class TemporaryFolder:
    """A new folder that is this process's until `close`.

    HarnessError with EXIT_MACHINE when there can be none.
    """

    def __init__(self, kind: str = "", where: Path | None = None) -> None:
        """`kind` is a part of its name; without `where` it is made where such folders are."""
        self._owner = -1
        try:
            sweep(Path(where or tempfile.gettempdir()))
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX + kind, dir=where))
        except OSError as error:
            place = error.filename or "temporary folder"
            raise unwritten(place, error, "cannot be made") from error
        try:
            self._owner = claim(self.path)
        except OSError as error:
            self.close()
            raise unwritten(self.path, error) from error

    def close(self) -> None:
        """Remove it with all that is in it. Idempotent."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._owner >= 0:
            os.close(self._owner)
            self._owner = -1


def claim(folder: Path) -> int:
    """It is this process's as long as the descriptor that this returns is open.

    -1 where nothing can be locked: then nobody's. OSError when the disk takes nothing.
    """
    owner = os.open(folder / OWNER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(owner, fcntl.LOCK_EX)
    except OSError:
        os.close(owner)
        return -1
    os.write(owner, b"%d\n" % os.getpid())  # only then others may look at the lock
    return owner


def sweep(where: Path) -> None:
    """Remove what runs that are dead left there."""
    for prefix in (PREFIX, SOCKETS):
        for folder in where.glob(f"{prefix}*"):
            with contextlib.suppress(OSError):
                if _is_left(folder):
                    shutil.rmtree(folder, ignore_errors=True)


def _is_left(folder: Path) -> bool:
    status = folder.lstat()
    if status.st_uid != os.getuid() or folder.is_symlink():
        return False
    owner = os.open(folder / OWNER, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)  # OSError: its owner lives
        return os.fstat(owner).st_size > 0
    finally:
        os.close(owner)
