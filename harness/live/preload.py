"""What the forkserver imports once for all its children.

Whatever is wrong with a module: the forkserver outlives it, and whoever needs the module is told.
"""

import contextlib
import sys
import traceback
from multiprocessing import spawn
from pickle import UnpicklingError
from types import TracebackType

with contextlib.suppress(BaseException):
    from harness.live import guardian  # noqa: F401
with contextlib.suppress(BaseException):
    from harness.live import worker  # noqa: F401


def _told(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """An error of the forkserver, or of a child that has not begun its work.

    When the harness dies while it starts a process, the child has read half of what that is to be,
    and ends. That is no news.
    """
    places = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(trace)]
    if not (
        isinstance(error, EOFError | ConnectionError | UnpicklingError) and spawn.__file__ in places
    ):
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _told
