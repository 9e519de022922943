"""A small process that outlives the harness by a moment, to leave nothing behind.

End-of-file on their queues tells running replicas that the harness is gone; a stopped one never
reads it. So the harness tells every process id to the guardian, and when that pipe closes without
a word the guardian kills what is left and removes the temporary folders. It does the same for a
harness that ends with an error before it has cleaned up.
"""

import contextlib
import os
import shutil
import signal
import time
from multiprocessing.connection import Connection

ADD, REMOVE, DONE, ENDING = "add", "remove", "done", "ending"
REMOVALS = 600  # tries, within half a minute: who is dying may get no processor for a while
REMOVALS_AWAITED = 40  # by an interpreter that ends


def main(connection: Connection, sockets: str | None, folder: str | None) -> None:
    """The process's target; both folders are removed when the harness dies.

    An interpreter that ends in order removes its `sockets` by itself.
    """
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)  # what ends the harness's whole group leaves somebody to clean up
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    pids: set[int] = set()
    folders, removals = [each for each in (sockets, folder) if each is not None], REMOVALS
    with contextlib.suppress(EOFError, OSError):
        while True:
            word, pid = connection.recv()
            if word == ADD:
                pids.add(pid)
            elif word == REMOVE:
                pids.discard(pid)
            elif word == ENDING:
                folders = [each for each in folders if each != sockets]
                removals = REMOVALS_AWAITED
            else:
                os._exit(0)  # the harness cleans up by itself
    for pid in pids:
        for kill in (os.kill, os.killpg):  # a replica's group has all that it started
            with contextlib.suppress(OSError):
                kill(pid, signal.SIGKILL)
    for _ in range(removals):
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        if not any(map(os.path.exists, folders)):
            break
        time.sleep(0.05)  # who is dying may have made one more file
    os._exit(0)
