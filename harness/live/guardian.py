"""A small process that outlives the harness by a moment, to leave nothing behind.

End-of-file on their queues tells running replicas that the harness is gone; a stopped one never
reads it. So the harness tells every process id to the guardian, and when that pipe closes without
a word the guardian kills what is left and removes the temporary folders.
"""

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection

ADD, REMOVE, DONE = "add", "remove", "done"
REMOVALS = 40  # tries, within two seconds


def main(connection: Connection, folders: Sequence[str]) -> None:
    """The process's target; `folders` are removed when the harness dies."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    pids: set[int] = set()
    with contextlib.suppress(EOFError, OSError):
        while True:
            word, pid = connection.recv()
            if word == ADD:
                pids.add(pid)
            elif word == REMOVE:
                pids.discard(pid)
            else:
                os._exit(0)  # the harness cleans up by itself
    for pid in pids:
        for kill in (os.kill, os.killpg):  # a replica's group has all that it started
            with contextlib.suppress(OSError):
                kill(pid, signal.SIGKILL)
    for _ in range(REMOVALS):
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        if not any(map(os.path.exists, folders)):
            break
        time.sleep(0.05)  # who is dying may have made one more file
    os._exit(0)
