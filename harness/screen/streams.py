"""Standard output and standard error, whatever they lead to.

A run must reach its verdict and its exit code wherever its words go. A standard stream that was
closed is opened on the null device, so that no database or queue gets its number. When nobody
reads standard output any more the run ends, as that of every program in a pipe. When standard
output cannot be written for another reason, such as a full disk, the rest follows on standard
error. What standard error does not take is lost: there is nowhere else to put it.
"""

import codecs
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

_PLAIN_SIGNS = {"✓": "+", "✗": "x", "●": "@", "○": "o", "─": "-", "·": "-", "–": "-", "…": "~"}
_PLAIN_SIGNS |= {"µ": "u", "×": "x", "╵": "|", **dict(zip("▁▂▃▄▅▆▇█", "._-=+*%#", strict=True))}


class Unread(BaseException):
    """Nobody reads standard output any more. Like Ctrl-C, no `except Exception` may keep it."""


class _Stream:
    """A text stream whose failing writes are handled here, and nowhere else."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._waiting: list[str] = []  # written since the last flush; not yet known to have arrived
        self.failure = ""  # why nothing can be written any more

    def write(self, text: str) -> int:
        self._waiting.append(text)
        if not self.failure:
            try:
                self._stream.write(text)
            except (OSError, ValueError) as error:  # ValueError: closed meanwhile
                self._give_up(error)
        return len(text)

    def flush(self) -> None:
        if not self.failure:
            try:
                self._stream.flush()
            except (OSError, ValueError) as error:
                self._give_up(error)
        self._settle()

    def _settle(self) -> None:
        self._waiting.clear()

    def _give_up(self, error: Exception) -> None:
        """Nothing more goes there, what is buffered included, which must not fail at exit."""
        self.failure = (error.strerror if isinstance(error, OSError) else "") or str(error)
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
        except (OSError, ValueError):
            pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Output(_Stream):
    """Standard output; `instead` is told what it does not take."""

    def __init__(self, stream: TextIO, instead: TextIO) -> None:
        super().__init__(stream)
        self._instead = instead

    def _give_up(self, error: Exception) -> None:
        super()._give_up(error)
        if isinstance(error, BrokenPipeError):
            raise Unread
        what = f"standard output cannot be written ({self.failure}), what it was to get is here:"
        self._instead.write(f"{what}\n")

    def _settle(self) -> None:
        if self.failure:
            self._instead.write("".join(self._waiting))
            self._instead.flush()
        super()._settle()


@contextmanager
def guarded() -> Iterator[Output]:
    """`sys.stdout` and `sys.stderr` as this module describes them; yields the former."""
    before = sys.stdout, sys.stderr
    for stream in before:
        degrade_signs(stream)
    errors = cast(TextIO, _Stream(sys.stderr))
    output = Output(sys.stdout, errors)
    sys.stdout, sys.stderr = cast(TextIO, output), errors
    try:
        yield output
    finally:
        errors.flush()
        sys.stdout, sys.stderr = before


def degrade_signs(stream: TextIO | Any) -> None:
    """On a stream that is not Unicode, signs become plain ones instead of a traceback or "?"."""

    def plain(error: UnicodeError) -> tuple[str, int]:
        if not isinstance(error, UnicodeEncodeError):
            raise error
        wrong = error.object[error.start : error.end]
        return "".join(_PLAIN_SIGNS.get(sign, "?") for sign in wrong), error.end

    codecs.register_error("paxbank-signs", plain)
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="paxbank-signs")


def replace_undecodable(stream: TextIO | Any) -> None:
    """What is not UTF-8 in a stream that is read becomes a sign that no command has."""
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="replace")
