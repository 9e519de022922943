"""What the forkserver imports once for all its children.

Whatever is wrong with a module: the forkserver outlives it, and whoever needs the module is told.
"""

import contextlib

with contextlib.suppress(BaseException):
    from harness.live import guardian  # noqa: F401
with contextlib.suppress(BaseException):
    from harness.live import worker  # noqa: F401
