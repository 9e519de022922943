"""What a mistake in `bank` is, in one line: file, line and reason. Imports nothing of ours.

The folder `bank` is what people write themselves, so a mistake there is theirs and not a bug of
this program. Nothing here depends on how a Python words an error.
"""

import contextlib
import os
import traceback
from functools import cache
from importlib.util import find_spec
from types import FrameType

MOST_CHARACTERS = 300
_RUN_BY_IMPORTS = "<module>"  # the name of a module's own code in a traceback


class WrongForm(Exception):
    """`bank` answered something other than its types say; the text names method and part."""


def told(error: BaseException) -> str:
    """ "bank/log.py:83: ZeroDivisionError: division by zero": the innermost line of `bank`.

    Without one, it is the innermost line of all.
    """
    if isinstance(error, WrongForm):
        return str(error)
    return ": ".join(filter(None, (place(error), _reason(error))))


def of_loading(error: BaseException) -> str | None:
    """The same when a module could not be loaded; None for other errors.

    A syntax error, a module or name that is missing, or anything raised by a line that runs while
    its module is imported.
    """
    found = [(frame.f_code.co_filename, line) for frame, line in _frames(error)]
    names = [frame.f_code.co_name for frame, _ in _frames(error)]
    if isinstance(error, SyntaxError):
        at = error.filename or "", error.lineno or 0
    elif _RUN_BY_IMPORTS in names:
        at = found[len(names) - 1 - names[::-1].index(_RUN_BY_IMPORTS)]
    elif isinstance(error, ImportError) and found:
        at = found[-1]
    else:
        return None
    return f"{_shown(at[0])}:{at[1]}: {_reason(error)}"


def place(error: BaseException) -> str:
    """ "bank/log.py:83", of the same line; "" without any."""
    found = [(frame.f_code.co_filename, line) for frame, line in _frames(error)]
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        found.append((error.filename, error.lineno))
    inside = [at for at in found if _is_in_bank(at[0])] or found
    return f"{_shown(inside[-1][0])}:{inside[-1][1]}" if inside else ""


def is_of_bank(error: BaseException) -> bool:
    """Whether it was raised by `bank`, by what `bank` called, or because of what it answered."""
    if isinstance(error, WrongForm):
        return True
    return any(_is_in_bank(frame.f_code.co_filename) for frame, _ in _frames(error))


def _frames(error: BaseException) -> list[tuple[FrameType, int]]:
    return list(traceback.walk_tb(error.__traceback__))


def _reason(error: BaseException) -> str:
    kind, text = type(error).__name__, ""
    with contextlib.suppress(Exception):  # an exception of theirs may not even print
        text = str(error.msg if isinstance(error, SyntaxError) else error)
    lines = text.strip().splitlines()
    return f"{kind}: {lines[0]}"[:MOST_CHARACTERS] if lines else kind


@cache
def _folder() -> str:
    """That of `bank`, which is not imported for it; "" when there is none."""
    spec = find_spec("bank")
    found = [] if spec is None else list(spec.submodule_search_locations or ())
    return os.path.realpath(found[0]) if found else ""


def _is_in_bank(file: str) -> bool:
    folder = _folder()
    return bool(folder) and os.path.realpath(file).startswith(folder + os.sep)


def is_at_work(frame: FrameType | None) -> bool:
    """A function of `bank` runs: this frame, or one that called it, is there."""
    while frame is not None:
        if _is_in_bank(frame.f_code.co_filename):
            return True
        frame = frame.f_back
    return False


def turn_at_work(frame: FrameType | None) -> FrameType | None:
    """The function of `bank` that was called from outside of it and runs here; None for none."""
    found = None
    while frame is not None:
        if _is_in_bank(frame.f_code.co_filename):
            found = frame
        frame = frame.f_back
    return found


def of_whom(turn: FrameType) -> str:
    """ " of n3", when it is a method of a replica."""
    number = getattr(turn.f_locals.get("self"), "replica", None)
    return f" of n{number}" if isinstance(number, int) else ""


def interrupted(error: BaseException) -> str:
    """ "a turn of n3, bank/log.py:83": what was going on in `bank` when Ctrl-C came, or ""."""
    inside = [frame for frame, _ in _frames(error) if _is_in_bank(frame.f_code.co_filename)]
    return f"a turn{of_whom(inside[0])}, {place(error)}" if inside else ""


def _shown(file: str) -> str:
    """ "bank/log.py": below the folder that holds `bank`, and `harness`, as people know it."""
    folder = _folder() or os.path.dirname(__file__)
    root = os.path.dirname(folder) + os.sep
    real = os.path.realpath(file)
    return real.removeprefix(root) if real.startswith(root) else file
