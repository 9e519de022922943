"""What a replica's process must not share with the harness: its process group, standard output.

`bank` may be anybody's, and start programs, or print.
"""

import contextlib
import os
import sys


def keep() -> None:
    """At the beginning of a replica's process: what it starts can be ended with it, by its group,
    and what it prints stands in standard error. Standard output is for tables, or one document.
    """
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    with contextlib.suppress(OSError):  # who has no standard error prints nowhere
        os.dup2(2, 1)
    sys.stdout = sys.stderr  # written line by line: this process ends without a flush
