"""Getting what was written to the disk itself, so that it survives a loss of power."""

import fcntl
import os
import sys
from pathlib import Path


def sync(descriptor: int) -> None:
    """Return once the disk has everything of this file; raises OSError.

    On macOS fsync stops at the drive's cache; a file system that cannot go further says so.
    """
    if sys.platform == "darwin":
        try:
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
        except OSError:
            pass
    os.fsync(descriptor)


def sync_path(path: Path) -> None:
    """The same of a file by its name, or of a folder: the names in it; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)
