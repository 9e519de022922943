"""The shim: somebody's own client, which asks replicas that have sockets of their own.

One process, one JSON object a line: what is asked has an `id`, by which it is answered, in any
order. It repeats nothing and decides nothing. What goes wrong with it is trouble of the shim, and
ends the run: nothing can be said about replicas that nobody can ask.
"""

import json
import os
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic_ns
from typing import Any, NoReturn

from harness.errors import nearest
from harness.external.keeping import Warded
from harness.external.lines import LARGEST, READ_BYTES
from harness.files.text_file import shown
from harness.live.process import end
from harness.live.waiting import Waiter

MOST_WAITING = 32 << 20  # bytes that it does not read
SILENT_US = 2_000_000  # between the end of its output and that of its process, if it ends
ASKED = ("transfer", "read", "state", "log", "views", "leader", "fail", "recover")

Body = dict[str, Any]


class Shim:
    """See the module."""

    def __init__(self, waiter: Waiter, log: Path, fail: Callable[[str], NoReturn]) -> None:
        """`log` gets its standard error; `fail` raises what is wrong with it, in words."""
        self._fail = fail
        self.log = log
        self.can: frozenset[str] = frozenset()
        self.is_greeted = False
        self._waiter = waiter
        self._command = ""
        self._warded: Warded | None = None
        self._reading = self._writing = -1
        self._partial = b""
        self._waiting = deque[bytes]()
        self._size = 0
        self._number = 0
        self._asked: dict[int, Callable[[Body], None]] = {}
        self._silent_at: int | None = None  # when the end of its output is trouble, µs
        self.unknown = deque[str](maxlen=1)  # a line that answers nothing

    def start(self, command: str, launch: Callable[[list[int]], Warded]) -> None:
        """`launch` starts it with these as standard input, output and error; `command` is the
        first word of what it starts, for who reads that it cannot."""
        self._command = command
        self._reading, their_output = os.pipe()
        their_input, self._writing = os.pipe()
        log = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            self._warded = launch([their_input, their_output, log])
        finally:
            for descriptor in (their_input, their_output, log):
                os.close(descriptor)
        os.set_blocking(self._reading, False)
        os.set_blocking(self._writing, False)
        self._waiter.on_readable(self._reading, self._read)
        self._waiter.on_readable(self._warded.fileno(), self._hear)

    def close(self) -> None:
        """It is killed. Idempotent."""
        for descriptor in (self._reading, self._writing):
            if descriptor >= 0:
                self._waiter.forget(descriptor)
                os.close(descriptor)
        self._reading = self._writing = -1
        if self._warded is not None:
            self._waiter.forget(self._warded.fileno())
            self._warded.close()
            self._warded = None

    # ---- asking --------------------------------------------------------------------------------

    def greet(self, hello: Body) -> None:
        """It is told who there is; its answer says what it can do."""
        self.ask({"type": "hello", **hello}, self._on_hello)

    def _on_hello(self, answer: Body) -> None:
        can = answer.get("can")
        if not isinstance(can, list) or not all(isinstance(word, str) for word in can):
            self._fail(f'answers hello with {shown(json.dumps(answer), 100)}, expected "can"')
        for word in can:
            if word not in ASKED:
                hint = nearest(word, list(ASKED))
                told = f"hello: can: unknown {shown(word, 30)}, expected some of "
                self._fail(f"{told}{', '.join(ASKED)}{hint}")
        if "transfer" not in can:
            self._fail("hello: can: no transfer, which is what a bank is for")
        self.can = frozenset(can)
        self.is_greeted = True

    def ask(self, body: Body, on_answer: Callable[[Body], None] | None) -> None:
        """Ask; nobody waits. None: this is told, and has no answer."""
        self._number += 1
        if on_answer is not None:
            self._asked[self._number] = on_answer
        line = json.dumps({"id": self._number, **body}, ensure_ascii=False) + "\n"
        data = line.encode("utf-8", "surrogatepass")
        if self._size + len(data) > MOST_WAITING:
            self._fail("does not read what it is asked")
        self._waiting.append(data)
        self._size += len(data)
        self._write()

    def _write(self) -> None:
        if self._writing < 0:
            return
        try:
            while self._waiting:
                written = os.write(self._writing, self._waiting[0])
                self._size -= written
                if written < len(self._waiting[0]):
                    self._waiting[0] = self._waiting[0][written:]
                else:
                    self._waiting.popleft()
        except BlockingIOError:
            self._waiter.on_writable(self._writing, self._write)
            return
        except OSError:  # it closed its standard input, and is about to end
            self._waiting.clear()
            self._size = 0
        self._waiter.stop_writing(self._writing)

    # ---- answers -------------------------------------------------------------------------------

    def _read(self) -> bool:
        """Read once; False when there is no more."""
        try:
            data = os.read(self._reading, READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._waiter.forget(self._reading)
            os.close(self._reading)
            self._reading = -1
            self._silent_at = monotonic_ns() // 1000 + SILENT_US
            return False
        *lines, self._partial = (self._partial + data).split(b"\n")
        if len(self._partial) > LARGEST:
            self._fail(f"writes a line above 1 MiB: {self._shown(self._partial)}")
        for line in lines:
            if line.strip():
                self._take(line)
        return True

    def _take(self, line: bytes) -> None:
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            self._fail(
                f"writes what is no JSON object: {self._shown(line)}: "
                "is this meant for standard error?"
            )
        number = answer.pop("id", None)
        asked = self._asked.pop(number, None) if type(number) is int else None
        if asked is None:
            self.unknown.append(self._shown(line))
        else:
            self._hand_over(asked, answer, line)

    def _hand_over(self, asked: Callable[[Body], None], answer: Body, line: bytes) -> None:
        """An answer may be read just so, and be too deep for somebody further in."""
        try:
            asked(answer)
        except RecursionError:
            self._fail(f"writes what is nested too deeply: {self._shown(line)}")

    @staticmethod
    def _shown(line: bytes) -> str:
        return shown(line[:400].decode("utf-8", "replace"), 100)

    # ---- its end -------------------------------------------------------------------------------

    def _hear(self) -> None:
        if self._warded is None:
            return
        for told in self._warded.heard():
            self._heard(told)
        if self._warded.is_closed:
            self._fail("its warden was killed, and its process with it")

    def _heard(self, told: Mapping[str, Any]) -> None:
        match told:
            case {"word": "ended", "status": int(status)}:
                while self._reading >= 0 and self._read():
                    pass
                self._fail(f"ends ({end(os.waitstatus_to_exitcode(status))})")
            case {"word": "refused", "why": str(why)}:
                self._fail(f"{shown(self._command, 60)} {why}")
            case {"word": "over", "why": str(why)}:
                self._fail(f"takes more than its limits: {why}")

    def deadline(self) -> int | None:
        """When `look` is wanted, µs of the monotonic clock."""
        return self._silent_at

    def look(self, now: int) -> None:
        """Trouble when it has closed its standard output and lives on."""
        if self._silent_at is not None and now >= self._silent_at:
            self._fail("closes its standard output")
