"""A user's file as text, or the reason why it cannot be read. Knows no format.

Every problem here is a HarnessError; no byte sequence gets further than `decode` unless it is
UTF-8 text without control characters, so nothing read from a file can upset a terminal.
"""

import glob
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from harness.errors import HarnessError, closest

LARGEST = 64 * 1024 * 1024  # bytes; also what ends a read of an endless device

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


@contextmanager
def opened(path: str | Path, expected: str) -> Iterator[BinaryIO]:
    """The file, to be read; whatever keeps it from being read is a HarnessError. `expected` says
    what it should have been, such as "a test set".
    """
    try:
        with open(path, "rb") as stream:
            yield stream
    except FileNotFoundError:
        found = _likely(Path(path))
        hint = "" if found is None else f" (did you mean {found}?)"
        raise HarnessError(f"{path}: no such file, expected {expected}{hint}") from None
    except IsADirectoryError:
        raise HarnessError(f"{path}: is a folder, expected {expected}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise HarnessError(f"{path}: cannot be read ({reason}), expected {expected}") from None


def read(path: str | Path, expected: str) -> bytes:
    """The file's bytes."""
    with opened(path, expected) as stream:
        data = stream.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise HarnessError(f"{path}: larger than {LARGEST // 1024**2} MiB, expected {expected}")
    return data


_KINDS = {  # how files begin that people give by mistake
    b"PK\x03\x04": 'a workbook (.xlsx, .ods) or a ZIP file, expected text: save it as "CSV UTF-8"',
    b"\xd0\xcf\x11\xe0": 'a workbook (.xls), expected text: save it as "CSV UTF-8"',
    b"%PDF": "a PDF, expected text",
    b"\x89PNG": "a PNG picture, expected text",
    b"\xff\xd8\xff": "a JPEG picture, expected text",
    b"GIF8": "a GIF picture, expected text",
    b"\x1f\x8b": "compressed by gzip, expected text: unpack it",
    b"SQLite format 3": "an SQLite database, expected text",
}


def decode(data: bytes, name: str) -> str:
    r"""The text, without byte order mark, every line ended by "\n". `name` is for the messages."""
    refuse_other_kinds(data, name)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise HarnessError(f"{name}:1: the file is UTF-16, expected UTF-8 text")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = _lines(data[: error.start].decode("latin-1")).count("\n") + 1
        byte = f"byte 0x{error.object[error.start]:02x}"
        raise HarnessError(f"{name}:{line}: not text ({byte}), expected UTF-8 text") from None
    return checked(text, name)


def refuse_other_kinds(data: bytes, name: str) -> None:
    """HarnessError for a picture, a workbook and the like."""
    for begin, kind in _KINDS.items():
        if data.startswith(begin):
            raise HarnessError(f"{name}:1: is {kind}")


def checked(text: str, name: str) -> str:
    """The text with plain ends of lines; HarnessError when it holds what is no text."""
    text = _lines(text)
    if control := _CONTROL.search(text):
        line = text.count("\n", 0, control.start()) + 1
        byte = f"byte 0x{ord(control[0]):02x}"
        raise HarnessError(f"{name}:{line}: not text ({byte}), expected UTF-8 text")
    return text


def shown(text: str, width: int = 40) -> str:
    """Text of a file as it stands in a message: one line, printable, at most `width` long."""
    flat = " ".join(text[: 4 * width].split())
    if len(flat) > width or len(text) > 4 * width:
        flat = flat[: width - 1] + "…"
    return printable(flat)


def printable(text: str) -> str:
    """The same, with what moves a cursor or changes a colour written out: "\\u001b[31m"."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _likely(path: Path) -> Path | None:
    """The file that was meant: beside this place, in a folder there, or of a folder mistyped."""
    folder, name = path.parent, path.name
    try:
        if not folder.is_dir():
            holders = [file.parent.name for file in _in_folders(folder.parent, name)]
            meant = closest(folder.name, holders)
            return None if meant is None else folder.parent / meant / name
        beside = sorted(file.name for file in folder.iterdir() if file.is_file())
        of_its_kind = [other for other in beside if Path(other).suffix == path.suffix]
        meant = closest(name, of_its_kind) or closest(name, beside)
        if meant is not None:
            return folder / meant
        found = _in_folders(folder, name)
        return found[0] if len(found) == 1 else None
    except (OSError, ValueError, NotImplementedError):
        return None


def _in_folders(folder: Path, name: str) -> list[Path]:
    """Files of this name in the folders of a folder."""
    return sorted(folder.glob(f"*/{glob.escape(name)}"))
