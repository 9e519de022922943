"""Broken replicas in real processes: what the harness starts breaks `Replica` and then goes on.

Each process runs `main` of this file instead of the worker's, bound to what is to go wrong, and
where. Nothing is copied or imported anew, so a start costs what it always does.
"""

from functools import partial, partialmethod

from bank import replica
from harness.live import storage, worker
from harness.live.worker import main as worker_main

# What a broken method does.
FAULTS = {
    "os._exit(0)": "import os; os._exit(0)",
    "SystemExit": "raise SystemExit(0)",
    "raises": "raise ZeroDivisionError('division by zero')",
    "SIGSEGV": "import os; os.kill(os.getpid(), 11)",
    "SIGBUS": "import os, signal; os.kill(os.getpid(), signal.SIGBUS)",
    "SIGKILL": "import os; os.kill(os.getpid(), 9)",
    "loops": "while True: pass",
    "loops and catches all": """
    while True:
        try:
            nothing = None  # what is raised in the first line of a loop leaves a `try` before it
            while True: nothing = None
        except BaseException: pass
""",
    "sleeps": "import time; time.sleep(3600)",
    "its disk is full": """
    import sqlite3
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    raise error
""",
}
OWNERS = {"_write_run": storage.Storage}  # of methods that are not the replica's
LINE = 2  # of the file that the fault pretends to stand in


def main(spec, *, fault, method, replicas):
    """The process's target."""
    if spec.replica in replicas:
        found = {}
        source = f"def broken(*_):\n    {FAULTS[fault].strip()}\n"
        exec(compile(source, replica.__file__, "exec"), found)
        setattr(OWNERS.get(method, replica.Replica), method, found["broken"])
    worker_main(spec)


def breaks(monkeypatch, fault, replicas=(1, 2, 3), method="step"):
    """From now on these replicas start broken."""
    broken = partial(main, fault=fault, method=method, replicas=tuple(replicas))
    monkeypatch.setattr(worker, "main", broken)


def main_answering(spec, *, changes):
    """The process's target: these methods give something else than the replica's own."""
    for method, statement in changes:
        source = f"def broken(self, effects):\n    {statement}\n    return effects\n"
        found = {}
        exec(compile(source, replica.__file__, "exec"), found)
        real = getattr(replica.Replica, method)
        setattr(replica.Replica, method, partialmethod(_answering, real, found["broken"]))
    worker_main(spec)


def _answering(self, real, broken, *arguments):
    return broken(self, real(self, *arguments))


def answers(monkeypatch, *changes):
    """From now on replicas, here and in processes, change what a method gave: `effects`.

    `changes` are methods and statements, in turn.
    """
    pairs = tuple(zip(changes[::2], changes[1::2], strict=True))
    monkeypatch.setattr(worker, "main", partial(main_answering, changes=pairs))
    for method, _ in pairs:
        monkeypatch.setattr(replica.Replica, method, getattr(replica.Replica, method))
    main = partial(main_answering, changes=pairs)
    with monkeypatch.context() as within:
        within.setitem(globals(), "worker_main", lambda spec: None)
        main(None)
