"""The harness's end of the keeper: see `harness.external.keeper` for what it promises."""

import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.errors import EXIT_MACHINE, HarnessError
from harness.external import keeper

STOP_SECONDS = 6.0  # above what the keeper itself waits for the kernel


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be started, and what it may take."""

    words: Sequence[str]
    environment: Mapping[str, str]
    folder: str
    limits: Mapping[str, int]
    watched: Sequence[str] = ()  # files and folders that count for `file_mb`


class Warded:
    """A process in the care of a warden; words come and go on a socket."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._buffer = b""
        self.is_closed = False  # the warden is gone

    def fileno(self) -> int:
        """For whoever waits."""
        return self._control.fileno()

    def say(self, word: str) -> None:
        """`kill`, `pause` or `resume`."""
        with contextlib.suppress(OSError):
            self._control.sendall(json.dumps({"word": word}).encode() + b"\n")

    def heard(self) -> list[dict[str, Any]]:
        """What the warden said since; never waits."""
        try:
            data = self._control.recv(65536, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        self.is_closed = not data
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """Whatever still runs is killed."""
        self._control.close()


class Keeper:
    """Starts processes; everything that they started is gone after `stop`, or without us."""

    def __init__(self, folder: str) -> None:
        """`folder` is removed at the end; "" for none. HarnessError when nothing can be started."""
        self._control, theirs = socket.socketpair()
        words = [sys.executable, "-I", "-S", keeper.__file__, str(theirs.fileno()), folder]
        try:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                env={},
            )
        except OSError as error:
            told = f"cannot start a process: {error}"
            raise HarnessError(told, exit_code=EXIT_MACHINE) from error
        finally:
            theirs.close()

    def start(self, order: Order, streams: Sequence[int]) -> Warded:
        """Start a process with these as standard input, output and error, and from 3 on."""
        ours, theirs = socket.socketpair()
        data = json.dumps(asdict(order)).encode()
        try:
            head = struct.pack(">I", len(data))
            socket.send_fds(self._control, [head], [theirs.fileno(), *streams])
            self._control.sendall(data)
        except OSError as error:
            told = f"the keeper of the replicas is gone: {error}"
            raise HarnessError(told, exit_code=EXIT_MACHINE) from error
        finally:
            theirs.close()
        return Warded(ours)

    def stop(self) -> None:
        """Kill all that is left and wait until it is gone."""
        self._control.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait()


TOOLCHAINS = (
    "JAVA_HOME", "GOROOT", "GOPATH", "GOCACHE", "GOMODCACHE", "GOFLAGS", "GOPROXY", "CARGO_HOME",
    "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "GEM_HOME", "NVM_DIR", "DOTNET_ROOT", "LD_LIBRARY_PATH",
)  # fmt: skip
PEOPLE = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR", "XDG_CACHE_HOME")


def clean_environment() -> dict[str, str]:
    """What somebody's program needs of ours to find its tools, and nothing else."""
    kept = {name: os.environ[name] for name in (*PEOPLE, *TOOLCHAINS) if name in os.environ}
    kept |= {name: value for name, value in os.environ.items() if name.startswith("LC_")}
    return kept
