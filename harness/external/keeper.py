"""The keeper: a small program that starts other people's processes and leaves none of them behind.

Run as `python -I -S keeper.py FD FOLDER`; it imports the standard library alone, so that it is
there in a moment. It obeys the harness on the socket FD, and for each replica forks a warden, the
parent of that replica's process. Keeper and wardens are *subreapers*: whatever a process starts,
in a session of its own or not, whoever of its parents is dead, stays below its warden, and that is
how it is found. When the harness is gone the socket ends, and everything is killed; when the keeper
is gone, a pipe ends and each warden does the same. FOLDER is removed at the end unless it is "".

On systems without subreapers (macOS) processes are found by their parents, by what was seen below
a warden before, and by the mark in their environment.

Words on a warden's socket, one JSON object a line. The harness says `kill`, `pause`, `resume`;
the warden says `started`, `refused`, `killed`, `paused`, `resumed`, `ended`, `over`.
"""

import contextlib
import ctypes
import errno
import json
import os
import resource
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from typing import Any, NoReturn

PR_SET_CHILD_SUBREAPER = 36
LOOK_SECONDS = 0.1  # between two looks at what a replica takes
FOLDER_LOOKS = 3  # looks at processes for each one at its files
GONE_SECONDS = 5.0  # for the kernel to end what was killed
MARK = "PAXBANK_MARK"  # in the environment of everything that is started
REMOVALS = 40  # tries, within two seconds
IS_LINUX = sys.platform.startswith("linux")
PAGE = resource.getpagesize()
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """The keeper itself."""
    control = socket.socket(fileno=int(sys.argv[1]))
    folder = sys.argv[2]
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    _adopt_orphans()
    life_reading, life_writing = os.pipe()
    wake = _wake_on_death()
    wardens: set[int] = set()
    poll = select.poll()
    for descriptor in (control.fileno(), wake):
        poll.register(descriptor, select.POLLIN)
    while True:
        poll.poll()
        _drain(wake)
        if dead := _buried():
            wardens -= dead
            _kill_strays(wardens)
        if select.select([control], [], [], 0)[0]:
            order = _receive(control)
            if order is None:
                break
            asked, descriptors = order
            if (warden := os.fork()) == 0:
                control.close()
                os.close(life_writing)
                _in_child(asked, descriptors, life_reading)
            wardens.add(warden)
            for descriptor in descriptors:
                os.close(descriptor)
    os.close(life_writing)
    _kill_all(Tree(""))
    for _ in range(REMOVALS if folder else 0):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.exists(folder):
            break
        time.sleep(0.05)
    os._exit(0)


def _buried() -> set[int]:
    """The children that have ended since the last call."""
    dead: set[int] = set()
    with contextlib.suppress(ChildProcessError):
        while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
            dead.add(pid)
    return dead


def _kill_strays(wardens: set[int]) -> None:
    """End what a warden left that was itself killed: it is a child of the keeper now."""
    until = time.monotonic() + GONE_SECONDS
    while time.monotonic() < until:
        guarded = set().union(*map(_below, wardens)) if IS_LINUX else set()
        strays = set(Tree("").living()) - wardens - guarded
        if not IS_LINUX or not strays:
            return
        for stray in strays:
            _signal(stray, signal.SIGKILL)
        wardens -= _buried()
        time.sleep(0.0003)


def _receive(control: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """An order with its descriptors; None at the end of the harness."""
    try:
        head, descriptors, _, _ = socket.recv_fds(control, 4, 8)
        while 0 < len(head) < 4:
            head += control.recv(4 - len(head))
        if len(head) < 4:
            return None
        (left,) = struct.unpack(">I", head)
        data = b""
        while len(data) < left:
            piece = control.recv(left - len(data))
            if not piece:
                return None
            data += piece
    except OSError:
        return None
    return json.loads(data), list(descriptors)


def _in_child(asked: dict[str, Any], descriptors: list[int], life: int) -> NoReturn:
    try:
        Warden(asked, descriptors, life).run()
    finally:
        os._exit(0)


# ---- wardens -----------------------------------------------------------------------------------


class Warden:
    """The parent of one replica's process: starts it, watches it, ends all of it."""

    def __init__(self, asked: dict[str, Any], descriptors: list[int], life: int) -> None:
        """`descriptors` are its control socket, standard input, output and error, and what the
        process gets beside these from 3 on."""
        self._control = socket.socket(fileno=descriptors[0])
        self._streams = descriptors[1:]
        self._asked, self._limits = asked, asked["limits"]
        self._life = life
        self._main = 0  # the process id of the replica
        self._main_status: int | None = None
        self._tree = Tree(asked["environment"].get(MARK, ""))
        self._spent = 0.0  # seconds of processor time, of what was reaped
        self._looks = 0
        self._is_paused = False

    def run(self) -> None:
        """Until the replica and all below it are gone, or the harness is."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _adopt_orphans()
        wake = _wake_on_death()
        refused = self._start()
        for stream in self._streams:
            os.close(stream)
        if refused:
            self._say("refused", why=refused)
            return
        self._say("started", pid=self._main)
        poll = select.poll()
        for descriptor in (self._control.fileno(), self._life, wake):
            poll.register(descriptor, select.POLLIN)
        buffer = b""
        while True:
            ready = dict(poll.poll(LOOK_SECONDS * 1000))
            _drain(wake)
            self._reap()
            if self._life in ready:
                break
            if self._control.fileno() in ready:
                try:
                    data = self._control.recv(4096)
                except OSError:
                    data = b""
                if not data:
                    break
                *lines, buffer = (buffer + data).split(b"\n")
                for line in lines:
                    if self._obey(json.loads(line)["word"]):
                        return
            if self._main_status is not None:
                status = self._main_status
                _kill_all(self._tree)
                self._say("ended", status=status)
                return
            if not ready and not self._is_paused and (excess := self._excess()):
                _kill_all(self._tree)
                self._say("over", why=excess)
                return
        _kill_all(self._tree)

    def _start(self) -> str:
        """Start the replica's process; why that cannot be, or ""."""
        asked = self._asked
        reading, writing = os.pipe()
        self._main = os.fork()
        if self._main == 0:
            os.close(reading)
            try:
                os.setsid()
                os.chdir(asked["folder"])
                for target, source in enumerate(self._streams):
                    os.dup2(source, target)
                for reset in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
                    signal.signal(reset, signal.SIG_DFL)
                signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                most = self._limits["file_mb"] << 21  # for what grows faster than it is looked at
                resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                os.closerange(len(self._streams), writing)
                os.closerange(writing + 1, 256)
                words, environment = asked["words"], asked["environment"]
                os.execvpe(words[0], words, environment)
            except OSError as error:
                os.write(writing, str(error.errno).encode())
            except ValueError:  # a limit above the one that this user has
                os.write(writing, str(errno.EINVAL).encode())
            finally:
                os._exit(127)
        os.close(writing)
        said = os.read(reading, 32)
        os.close(reading)
        if not said:
            return ""
        os.waitpid(self._main, 0)
        number, word = int(said), asked["words"][0]
        if number in (errno.ENOENT, errno.ENOTDIR):
            return _why_absent(word, asked["folder"])
        if number in (errno.EACCES, errno.ENOEXEC):
            return "is no executable"
        return os.strerror(number)

    def _obey(self, word: str) -> bool:
        """True when all is over."""
        if word == "kill":
            _kill_all(self._tree)
            self._say("killed")
            return True
        if word == "pause":
            self._is_paused = True
            self._stop_all()
            self._say("paused")
        elif word == "resume":
            for process in self._tree.living():
                _signal(process, signal.SIGCONT)
            self._is_paused = False
            self._say("resumed")
        return False

    def _stop_all(self) -> None:
        """SIGSTOP to everything, until the kernel says that everything has stopped."""
        until = time.monotonic() + GONE_SECONDS
        while time.monotonic() < until:
            running = [p for p in self._tree.living() if _state(p) not in "TtZX"]
            if not running:
                return
            for process in running:
                _signal(process, signal.SIGSTOP)
            time.sleep(0.0005)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
                if pid == 0:
                    return
                self._spent += usage.ru_utime + usage.ru_stime
                if pid == self._main:
                    self._main_status = status

    def _excess(self) -> str:
        """What it takes more of than it may, or ""."""
        self._looks += 1
        limits, processes = self._limits, self._tree.living()
        if len(processes) > limits["processes"]:
            return f"{len(processes)} processes, expected at most {limits['processes']}"
        memory = sum(map(_resident, processes)) >> 20
        if memory > limits["memory_mb"]:
            return f"{memory} MB of memory, expected at most {limits['memory_mb']}"
        if self._looks % FOLDER_LOOKS:
            return ""
        seconds = self._spent + sum(map(_processor_seconds, processes))
        if seconds > limits["cpu_seconds"]:
            return f"{seconds:.0f} s of processor time, expected at most {limits['cpu_seconds']}"
        size = sum(map(_size, self._asked["watched"])) >> 20
        if size > limits["file_mb"]:
            return f"{size} MB of files, expected at most {limits['file_mb']}"
        return ""

    def _say(self, word: str, **more: Any) -> None:
        with contextlib.suppress(OSError):
            self._control.sendall(json.dumps({"word": word, **more}).encode() + b"\n")


# ---- what runs below a process -----------------------------------------------------------------


class Tree:
    """Everything that runs below this process."""

    def __init__(self, mark: str) -> None:
        self._mark = mark  # needed only where there are no subreapers
        self._seen: set[int] = set()

    def living(self) -> list[int]:
        """Process ids, those of the dead that nobody has reaped included."""
        if IS_LINUX:
            return _below(os.getpid())
        return self._by_parents_and_mark()

    def _by_parents_and_mark(self) -> list[int]:
        """Without subreapers: below this process, seen there before, or with its mark."""
        listed = subprocess.run(
            ["ps", "-A", "-E", "-ww", "-o", "pid=,ppid=,command="], capture_output=True, text=True
        ).stdout
        parents: dict[int, int] = {}
        found: set[int] = set()
        for line in listed.splitlines():
            pid, parent_pid, *command = line.split(None, 2)
            parents[int(pid)] = int(parent_pid)
            if self._mark and command and f"{MARK}={self._mark}" in command[0]:
                found.add(int(pid))
        found |= self._seen & parents.keys()
        grown = True
        while grown:
            grown = False
            for process, above in parents.items():
                if process not in found and (above in found or above == os.getpid()):
                    found.add(process)
                    grown = True
        self._seen = found - {os.getpid()}
        return sorted(self._seen)


def _below(pid: int) -> list[int]:
    """All processes below this one, as the kernel lists them."""
    found, waiting = [], [pid]
    while waiting:
        parent = waiting.pop()
        try:
            threads = os.listdir(f"/proc/{parent}/task")
        except OSError:
            continue
        for thread in threads:
            try:
                with open(f"/proc/{parent}/task/{thread}/children") as listed:
                    children = [int(word) for word in listed.read().split()]
            except FileNotFoundError:
                if os.path.exists(f"/proc/{parent}/task/{thread}"):
                    return _below_by_scan(pid)
                continue
            except OSError:
                continue
            found += children
            waiting += children
    return found


def _below_by_scan(pid: int) -> list[int]:
    """The same for kernels that list no children."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := _stat(int(name))):
            children.setdefault(int(fields[1]), []).append(int(name))
    found, waiting = [], [pid]
    while waiting:
        for child in children.get(waiting.pop(), ()):
            found.append(child)
            waiting.append(child)
    return found


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; none for one that is gone."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()
    except OSError:
        return []


def _state(pid: int) -> str:
    """The kernel's letter; X for one that is gone."""
    if IS_LINUX:
        fields = _stat(pid)
        return fields[0] if fields else "X"
    asked = subprocess.run(["ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True)
    return asked.stdout.strip()[:1] or "X"


def _resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    if IS_LINUX:
        try:
            with open(f"/proc/{pid}/statm") as statm:
                return int(statm.read().split()[1]) * PAGE
        except (OSError, IndexError):
            return 0
    asked = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True)
    return int(asked.stdout.strip() or 0) * 1024


def _processor_seconds(pid: int) -> float:
    if not IS_LINUX:
        return 0.0  # counted once it is reaped
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / TICKS if fields else 0.0


def _size(path: str) -> int:
    """Bytes of a file, or of all files in a folder."""
    try:
        entries = list(os.scandir(path))
    except NotADirectoryError:
        with contextlib.suppress(OSError):
            return os.lstat(path).st_size
        return 0
    except OSError:
        return 0
    total = 0
    for entry in entries:
        with contextlib.suppress(OSError):
            is_folder = entry.is_dir(follow_symlinks=False)
            total += _size(entry.path) if is_folder else entry.stat(follow_symlinks=False).st_size
    return total


def _why_absent(word: str, folder: str) -> str:
    if not os.path.exists(os.path.join(folder, word)):
        return "is not there"
    if "/" in word:
        return "is there, and what its first line names is not"
    return f"is not on the PATH, expected ./{word} for the file in the working folder"


def _kill_all(tree: Tree) -> None:
    """SIGKILL to everything below, again and again until nothing is left."""
    until = time.monotonic() + GONE_SECONDS
    while time.monotonic() < until:
        living = tree.living()
        for process in living:
            _signal(process, signal.SIGKILL)
        if _reap() and not living:
            return
        time.sleep(0.0003)


def _reap() -> bool:
    """Bury the dead; True when there is no child at all."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return True
    return False


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, number)


def _adopt_orphans() -> None:
    if IS_LINUX:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _wake_on_death() -> int:
    """A descriptor that can be read when a child has ended."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    return reading


def _drain(descriptor: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while os.read(descriptor, 4096):
            pass


if __name__ == "__main__":
    main()
