"""The lock on a data folder: one harness at a time, and none while replicas of another still live.

`flock` on a file in the folder. Unlike `fcntl` locks it belongs to the open file and not to a
process: the harness hands it to its replicas, and it lasts until the last of them has died, however
they die; other descriptors of the file that close do not matter. It cannot name its holders, so
each writes its process id into the file, the harness first.
"""

import contextlib
import fcntl
import os
import time
from multiprocessing import reduction
from pathlib import Path

from harness.errors import HarnessError

FILE = "lock"
# Replicas end themselves when their harness was killed; a new one waits for so long.
_ENDING_SECONDS = 1.0


class FolderLock:
    """Held from construction until `close`, and by every process that it was handed to."""

    def __init__(self, folder: Path) -> None:
        """HarnessError when somebody else holds it; OSError when the folder takes no such file."""
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(folder / FILE, flags, 0o644)
        deadline = time.monotonic() + _ENDING_SECONDS
        try:
            while not self._is_taken():
                first, *others = self._holders() or [0]
                if _lives(first) or time.monotonic() > deadline:
                    holder = next(filter(_lives, (first, *others)), first)
                    raise HarnessError(f"{folder}: in use by process {holder}")
                time.sleep(0.01)
            os.ftruncate(self._file, 0)
            self.sign()
        except BaseException:
            self.close()
            raise

    def _is_taken(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _holders(self) -> list[int]:
        text = os.pread(self._file, 1 << 20, 0).decode(errors="replace")
        return [int(line) for line in text.split("\n") if line.isdigit()]

    def sign(self) -> None:
        """Write down that this process holds it; what nobody can read harms nobody."""
        with contextlib.suppress(OSError):
            os.write(self._file, f"{os.getpid()}\n".encode())

    def close(self) -> None:
        """Give it back; it is free once everybody has. Idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __reduce__(self) -> tuple[object, ...]:
        """To a process that is being started: the same open file."""
        return _received, (reduction.DupFd(self._file),)


def _received(descriptor: "reduction.DupFd") -> FolderLock:  # type: ignore[valid-type]
    lock = FolderLock.__new__(FolderLock)
    lock._file = descriptor.detach()  # type: ignore[attr-defined]
    return lock


def _lives(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except OSError as error:
        return isinstance(error, PermissionError)  # another user's
    return True
