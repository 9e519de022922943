"""What an option names to be written is tried before anything starts.

A run of an hour must not end in "is a folder". What stands there is left as it is until then.
"""

import os
from pathlib import Path

from harness.errors import HarnessError


def check_file(option: str, path: Path | None) -> None:
    """HarnessError when no file can be written there; None is an option that was not given."""
    if path is None:
        return
    try:
        is_new = not path.exists()
        with open(path, "ab"):
            pass
        if is_new:
            path.unlink()
    except (OSError, ValueError) as error:
        raise _refused(option, path, error, "a file that can be written") from None


def check_folder(option: str, path: Path | None) -> None:
    """Create the folder if need be; HarnessError when no file can be written into it."""
    if path is None:
        return
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / ".paxbank-probe"
        probe.write_bytes(b"")
        probe.unlink()
    except (OSError, ValueError) as error:
        raise _refused(option, path, error, "a folder that can be written into") from None


def write_whole(path: Path, text: str, overwrite: bool) -> None:
    """Write a file, whole or not at all: a disk that is full leaves what was there.

    FileExistsError unless it may be overwritten, other OSErrors as they come.
    """
    if path.exists() and not overwrite:
        raise FileExistsError(path)
    real = Path(os.path.realpath(path))  # a link stays one
    new = real.with_name(f".{real.name}.new")
    try:
        new.write_text(text, "utf-8")
        os.replace(new, real)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _refused(option: str, path: Path, error: Exception, expected: str) -> HarnessError:
    reason = (error.strerror if isinstance(error, OSError) else "") or str(error)
    return HarnessError(f"{option}: {path}: cannot be written ({reason}), expected {expected}")
