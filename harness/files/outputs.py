"""What an option names to be written is tried before anything starts.

A run of an hour must not end in "is a folder". What stands there is left as it is until then.
"""

import contextlib
import os
from pathlib import Path

from harness.errors import no_place


def unfinished(name: str) -> str:
    """The name that a file has until it is whole."""
    return f".{name}.new"


def check_replaced(option: str, path: Path | None) -> None:
    """The same as `check_file` for a file that gets its name when it is whole."""
    check_file(option, path)
    if path is not None:
        real = Path(os.path.realpath(path))
        try:
            new = real.with_name(unfinished(real.name))
            new.write_bytes(b"")
            new.unlink()
        except OSError as error:
            raise no_place(f"{option}: ", path, error, "a file that can be written") from None


def check_file(option: str, path: Path | None) -> None:
    """HarnessError when no file can be written there; None is an option that was not given."""
    if path is None:
        return
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        return  # to open a pipe and close it would end it for whoever reads there
    try:
        is_new = not os.path.exists(path)
        with open(path, "ab"):
            pass
        if is_new:
            os.unlink(os.path.realpath(path))  # a link to nothing stays one
    except (OSError, ValueError) as error:
        raise no_place(f"{option}: ", path, error, "a file that can be written") from None


def check_folder(option: str, path: Path | None) -> list[Path]:
    """Create the folder if need be; HarnessError when no file can be written into it.

    Returns those that it created, the innermost first, for `forget`.
    """
    if path is None:
        return []
    created = []
    try:
        created = [folder for folder in (path, *path.parents) if not os.path.lexists(folder)]
        path.mkdir(parents=True, exist_ok=True)
        probe = path / ".paxbank-probe"
        probe.write_bytes(b"")
        probe.unlink()
        return created
    except (OSError, ValueError) as error:
        forget(created)
        expected = "a folder that can be written into"
        raise no_place(f"{option}: ", path, error, expected) from None


def forget(created: list[Path]) -> None:
    """Remove of these what is still empty: nothing came of the run."""
    for folder in created:
        with contextlib.suppress(OSError):
            folder.rmdir()


def holds_anything(option: str, path: Path) -> bool:
    """Whether there is anything in this folder, if it is there at all."""
    try:
        return os.path.isdir(path) and next(path.iterdir(), None) is not None
    except OSError as error:
        expected = "a folder that can be read"
        raise no_place(f"{option}: ", path, error, expected, "cannot be read") from None


def write_whole(path: Path, text: str, overwrite: bool) -> None:
    """Write a file, whole or not at all: a disk that is full leaves what was there.

    FileExistsError unless it may be overwritten, other OSErrors as they come.
    """
    if path.exists() and not overwrite:
        raise FileExistsError(path)
    real = Path(os.path.realpath(path))  # a link stays one
    new = real.with_name(unfinished(real.name))
    try:
        new.write_text(text, "utf-8")
        os.replace(new, real)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
