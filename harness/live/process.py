"""Starting, stopping and killing the processes of one cluster, by their ids and nothing else.

The forkserver starts a replica in 16 ms (spawn: 77 ms), and gives a child only the descriptors
that it was handed. The main module is hidden from children: they need nothing of it, and
re-importing it would cost them up to a second each.
"""

import contextlib
import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from multiprocessing import forkserver, resource_tracker, util
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Protocol

from harness.cluster import ctrl_c
from harness.errors import EXIT_MACHINE, HarnessError
from harness.files import temporary
from harness.live import guardian
from harness.live.protocol import WAKE

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["harness.live.preload"])
# What a shell, a person or the kernel sends; every other signal is a process's own fault.
FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
LONGEST_TEMPORARY = 60  # bytes; a socket's path may have 103 on macOS, and its name has 32
SHORT_PLACES = ("/tmp", "/var/tmp")
KERNEL_SECONDS = 5.0  # how long the kernel may take to do what a signal asks for


@contextlib.contextmanager
def _hidden_main() -> Iterator[None]:
    """Children import no main module."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _ensure_forkserver() -> None:
    """Ctrl-C is blocked in the forkserver from its first instruction, and so in all its children.

    Unlike what is ignored, what is blocked is kept: this process hears it when all is started.
    """
    with _own_path():
        own_folder()
        resource_tracker.ensure_running()  # it lets Ctrl-C through at its end, so it comes before
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def own_folder() -> str:
    """The folder of this run and all its processes, which goes with it however that ends.

    It is that of multiprocessing's sockets. Before Python 3.14 it is in TMPDIR however long that
    is, and a socket's path has an end.
    """
    return _made(os.getpid()) or _folder_of_sockets()


@functools.cache
def _made(_: int) -> str | None:
    """That folder, where this process makes it now: who runs next removes it if it is killed.

    None where it was there: a child has that of the one that started it, and may end long before.
    It is asked by process id, for a process that was forked remembers what the other one made.
    """
    config: dict[str, Any] = vars(multiprocessing.current_process())["_config"]
    if config.get("tempdir") is not None:
        return None
    folder = _folder_of_sockets()
    temporary.sweep(Path(folder).parent)
    temporary.claim(Path(folder))
    return folder


def _folder_of_sockets() -> str:
    wanted = tempfile.gettempdir()
    if len(os.fsencode(wanted)) <= LONGEST_TEMPORARY:
        return util.get_temp_dir()
    shorter = next((place for place in SHORT_PLACES if os.access(place, os.W_OK)), wanted)
    before, tempfile.tempdir = tempfile.tempdir, shorter
    try:
        return util.get_temp_dir()  # it is made once, and kept for this process
    finally:
        tempfile.tempdir = before


@contextlib.contextmanager
def _own_path() -> Iterator[None]:
    """A program started meanwhile imports what this one does.

    The forkserver has the current folder first on its path, and a `bank` that happens to lie there
    would be the one that replicas run.
    """
    own = {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)), "PYTHONSAFEPATH": "1"}
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def start(target: Callable[..., None], *arguments: Any) -> ForkServerProcess:
    """Start a process; HarnessError with EXIT_MACHINE when the machine refuses."""
    process = CONTEXT.Process(target=target, args=arguments, daemon=True)
    try:
        with _hidden_main(), ctrl_c.afterwards():
            _ensure_forkserver()
            process.start()
    except (OSError, EOFError, RuntimeError) as error:
        raise HarnessError(f"cannot start a process: {error}", exit_code=EXIT_MACHINE) from error
    return process


def kill(process: ForkServerProcess) -> None:
    """SIGKILL, and wait until the kernel reports the death."""
    if process.is_alive():
        process.kill()
    process.join(KERNEL_SECONDS)
    if process.is_alive():
        raise HarnessError(f"process {process.pid} survives SIGKILL", exit_code=EXIT_MACHINE)


def kill_group(process: ForkServerProcess) -> None:
    """SIGKILL to whatever a dead replica started, unless that left its group.

    The number is nobody else's as long as anybody is in the group. Where a process has it, the
    group is empty and the number was given away.
    """
    assert process.pid is not None
    with contextlib.suppress(OSError):
        try:
            os.kill(process.pid, 0)
        except ProcessLookupError:
            os.killpg(process.pid, signal.SIGKILL)


def is_killed_from_outside(code: int | None) -> bool:
    """Whether an exit code is that of a process which somebody else ended."""
    return code is not None and -code in FROM_OUTSIDE


def end(code: int | None) -> str:
    """ "exit code 1" or "SIGSEGV"."""
    return f"exit code {code}" if code is None or code >= 0 else signal.Signals(-code).name


def ending(code: int | None) -> str:
    """ "ended by itself (exit code 1)", "was killed from outside (SIGTERM)"."""
    how = "was killed from outside" if is_killed_from_outside(code) else "ended by itself"
    return f"{how} ({end(code)})"


def pause(process: ForkServerProcess) -> None:
    """SIGSTOP, and wait until the kernel reports the process as stopped."""
    assert process.pid is not None
    _signal(process, signal.SIGSTOP)
    deadline = time.monotonic() + KERNEL_SECONDS
    while kernel_state(process.pid) not in ("T", "t"):
        if not process.is_alive():
            return  # killed from outside: its sentinel tells
        if time.monotonic() > deadline:
            raise HarnessError(f"process {process.pid} does not stop", exit_code=EXIT_MACHINE)
        time.sleep(0.0005)


def resume(process: ForkServerProcess) -> None:
    """SIGCONT."""
    _signal(process, signal.SIGCONT)


def wake(process: ForkServerProcess) -> None:
    """The signal at which a replica leaves a turn that does not end."""
    _signal(process, WAKE)


def _signal(process: ForkServerProcess, number: int) -> None:
    """Send a signal; a process that died meanwhile is noticed by its sentinel, not here."""
    assert process.pid is not None
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, number)


def kernel_state(pid: int) -> str:
    """The kernel's letter for a process: T when it is stopped."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        if os.path.isdir("/proc/self"):
            return "X"
    asked = subprocess.run(["ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True)
    return asked.stdout.strip()[:1]


class HasPid(Protocol):
    """A process of multiprocessing or of subprocess."""

    @property
    def pid(self) -> int | None:
        """Its id."""


class Guard:
    """The harness's end of the guardian; see `harness.live.guardian`."""

    def __init__(self, folder: str | None) -> None:
        """`folder` is removed should the harness die, and so is where its own sockets are."""
        reading, self._writing = CONTEXT.Pipe(duplex=False)
        self._process = start(guardian.main, reading, _made(os.getpid()), folder)
        reading.close()
        # An interpreter that ends waits for its processes, and the guardian for that end.
        self._at_exit = util.Finalize(None, self._end, (guardian.ENDING,), exitpriority=1)

    def add(self, process: HasPid) -> None:
        """This process must not outlive the harness."""
        self._tell(guardian.ADD, process.pid)

    def remove(self, process: HasPid) -> None:
        """This process is dead; its id may be another's soon."""
        self._tell(guardian.REMOVE, process.pid)

    def dismiss(self) -> None:
        """Everything was cleaned up."""
        self._at_exit.cancel()
        self._end(guardian.DONE)

    def _end(self, word: str) -> None:
        self._tell(word, 0)
        self._writing.close()
        self._process.join(KERNEL_SECONDS)

    def _tell(self, word: str, pid: int | None) -> None:
        with contextlib.suppress(OSError):
            self._writing.send((word, pid))


def pipe() -> tuple[Connection, Connection]:
    """A one-way queue's reading and writing end."""
    return CONTEXT.Pipe(duplex=False)
