"""The processes of somebody's replicas: built, started, failed, brought back and buried.

A replica is a Handle from start to stop, whatever happens to its process. All that a process starts
is in the care of its warden (`harness.external.keeper`), so what fails, pauses and ends here is
always all of it.
"""

import contextlib
import os
import secrets
import shlex
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bank.ballot import ReplicaId, replica_name
from harness.cluster.journal import Liveness
from harness.errors import EXIT_USAGE, HarnessError
from harness.external.description import Description
from harness.external.keeper import MARK
from harness.external.keeping import Keeper, Order, Warded, clean_environment
from harness.external.last_words import indented, tail
from harness.external.medium import Medium
from harness.external.placeholders import Placeholders
from harness.external.router import Node
from harness.external.told import Knowledge
from harness.files.config import ClusterConfig
from harness.files.text_file import shown
from harness.live.process import end
from harness.live.waiting import Waiter

KERNEL_SECONDS = 6.0  # for a warden to do what it was told
SILENT_SECONDS = 2.0  # between the end of its output and that of its process, if it ends
LINGER_SECONDS = 0.5  # for old connections of its port, which most programs do not mind
FORGOTTEN_SECONDS = 65.0  # the same for those that do
PORT_BUSY = "its port is kept by old connections"
PORT_SECONDS = 10.0  # for the port of one that was killed to be free
LOOK_US = 5_000  # between two looks whether it is


@dataclass(slots=True, eq=False)
class Handle:
    """One replica as the harness knows it."""

    replica: ReplicaId
    node: Node
    data: Path
    log: Path
    liveness: Liveness = Liveness.CRASHED
    warded: Warded | None = None  # while its process runs
    starts: int = 0
    was_leader: bool = False
    trouble: str | None = None  # why it is not live although nobody failed it
    last_words: list[str] = field(default_factory=list)  # of one that ended by itself
    is_second_try: bool = False  # its port was busy before
    confirmed: str = ""  # the last word of its warden
    init_error: str = ""  # what it answered to `init`, in words
    output_ended_at: float | None = None  # by time.monotonic
    knowledge: Knowledge = field(default_factory=Knowledge)

    @property
    def name(self) -> str:
        """n1."""
        return replica_name(self.replica)

    @property
    def is_running(self) -> bool:
        """Its process is there, paused ones included."""
        return self.warded is not None


class Fleet:
    """See the module. `pump` is given from outside: it lets everything happen until a time."""

    def __init__(
        self,
        description: Description,
        config: ClusterConfig,
        waiter: Waiter,
        router: Medium,
        folder: Path,
        logs: Path,
        keeps_folder: bool,
        pump: Callable[[int], None],
        on_change: Callable[[Handle], None],
    ) -> None:
        """`folder` has a folder of its own for each replica; `on_change` is told of liveness."""
        folder = folder.absolute()  # they may work elsewhere
        self._description, self._config = description, config
        self._waiter, self._router = waiter, router
        self._folder, self._keeps_folder = folder, keeps_folder
        self._logs = logs
        self._pump, self._on_change = pump, on_change
        self._keeper: Keeper | None = None
        self._mark = secrets.token_hex(8)
        self._message = 0
        self._endings: list[str] = []
        self.handles = {
            replica: Handle(replica, node, folder / node.name, logs / f"{node.name}.log")
            for replica, node in router.nodes.items()
        }
        self._resumed = {r: _is_used(h.data) for r, h in self.handles.items()}

    # ---- the whole -----------------------------------------------------------------------------

    def start(self) -> None:
        """Build, then start every replica; HarnessError when one does not start."""
        self._keeper = Keeper("" if self._keeps_folder else str(self._folder))
        self._router.begin(self._run)
        if self._description.build:
            self._build(self._keeper)
        self._router.begin_shim(self._run)
        for handle in self.handles.values():
            self._start(handle)
        self._await_ready(self.handles.values())
        problems: list[str] = []
        for handle in self.handles.values():
            if handle.liveness is not Liveness.LIVE:
                where = f"{self._description.source}: {handle.name} does not start"
                remarks = self._router.remarks.of(handle.name)
                problems += [f"{where}: {handle.trouble}", *indented(remarks + handle.last_words)]
                break  # the others will not differ
        if problems:
            raise HarnessError(*problems, exit_code=EXIT_USAGE)
        for what in self._router.greet(self._pump, self.now):
            for handle in self.handles.values():
                handle.knowledge.tells[what] = False

    def bury_all(self) -> None:
        """The end of every process, which is not waited for."""
        for handle in self.handles.values():
            if handle.warded is not None:
                self._bury(handle)

    def stop(self) -> None:
        """Everything is gone afterwards, and the folder with it. Idempotent."""
        self.bury_all()
        self._router.close()
        if self._keeper is not None:
            self._keeper.stop()
            self._keeper = None

    def _build(self, keeper: Keeper) -> None:
        """Once; HarnessError with the end of what it wrote when it fails."""
        description, log = self._description, self._logs / "build.log"
        with open(log, "wb") as output, open(os.devnull, "rb") as nothing:
            limits = {**description.limits, "memory_mb": 1 << 20, "processes": 1 << 20}
            environment = {**clean_environment(), MARK: self._mark}
            order = Order(description.build, environment, str(description.folder), limits)
            streams = (nothing.fileno(), output.fileno(), output.fileno())
            warded = keeper.start(order, streams)
        until = time.monotonic() + description.limits["wall_seconds"]
        why = f"takes longer than {description.limits['wall_seconds']} s"
        with contextlib.closing(warded):
            while (left := until - time.monotonic()) > 0 and not warded.is_closed:
                told = _wait_for(warded, left)
                words = {value["word"]: value for value in told}
                if "ended" in words:
                    code = os.waitstatus_to_exitcode(words["ended"]["status"])
                    if code == 0:
                        return
                    why = f"the command ends with {end(code)}"
                    break
                if found := next((v for w, v in words.items() if w in ("refused", "over")), None):
                    why = str(found["why"])
                    break
        command = shown(shlex.join(description.build), 80)
        told_last = indented(tail(log))
        raise HarnessError(f"{description.source}: build: {command}: does not build: {why}",
                           *told_last, exit_code=EXIT_USAGE)  # fmt: skip

    def new_endings(self) -> list[str]:
        """Who ended by itself since the last call, and how."""
        endings, self._endings = self._endings, []
        return endings

    # ---- starting ------------------------------------------------------------------------------

    def _start(self, handle: Handle) -> None:
        """Start a process."""
        assert self._keeper is not None
        description, node = self._description, handle.node
        handle.data.mkdir(parents=True, exist_ok=True)
        addresses = self._router.addresses(node)
        values = Placeholders(handle.replica, self._config.nodes, handle.data, addresses)
        self._write_file(values, handle.data)
        works_in = values.fill(description.works_in) or str(description.folder)
        if not Path(works_in).is_absolute():
            works_in = str(description.folder / works_in)
        if handle.starts == 0 and not Path(works_in).is_dir():
            found = "is no folder" if os.path.lexists(works_in) else "is not there"
            told = f"{description.source}: folder: {works_in} {found}, expected a folder"
            raise HarnessError(told, exit_code=EXIT_USAGE)
        order = Order(
            self._router.led_into(node, [values.fill(word) for word in description.start]),
            {**clean_environment(), **values.environment, MARK: self._mark},
            works_in,
            description.limits,
            (str(handle.data), str(handle.log)),
        )
        with open(handle.log, "ab") as log:
            streams = self._router.open(node, log.fileno())
        try:
            handle.warded = self._keeper.start(order, streams)
        finally:
            for descriptor in streams:
                os.close(descriptor)
        self._waiter.on_readable(handle.warded.fileno(), lambda: self._hear(handle))
        is_restarted = handle.starts > 0 or self._resumed[handle.replica]
        handle.starts += 1
        handle.trouble, handle.output_ended_at, handle.confirmed = None, None, ""
        handle.init_error = ""
        handle.was_leader = False
        handle.last_words = []
        tells, handle.knowledge = handle.knowledge.tells, Knowledge()
        handle.knowledge.tells = tells
        handle.liveness = Liveness.LIVE
        self._message += 1
        names = [replica_name(replica) for replica in self.handles]
        init = {
            "type": "init",
            "msg_id": self._message,
            "node_id": handle.name,
            "node_ids": names,
            "accounts": dict(self._config.balances()),
            "restarted": is_restarted,
        }
        self._router.started(node, init, self.now())

    def _await_free(self, handle: Handle) -> None:
        """Until its port is; one that cannot listen all the same says so itself."""
        for lingering, seconds in ((False, LINGER_SECONDS), (True, PORT_SECONDS)):
            until = self.now() + round(seconds * 1e6)
            while not self._router.is_free(handle.node, lingering) and self.now() < until:
                self._pump(self.now() + LOOK_US)

    def _run(
        self, words: Sequence[str], streams: Sequence[int], more: Mapping[str, str]
    ) -> Warded:  # fmt: skip
        """Start something beside the replicas."""
        assert self._keeper is not None
        description = self._description
        environment = {**clean_environment(), **more, MARK: self._mark}
        order = Order(words, environment, str(description.folder), description.limits)
        return self._keeper.start(order, streams)

    def _write_file(self, values: Placeholders, data: Path) -> None:
        """Below the description's folder or the replica's own: no other file is anybody's."""
        file = self._description.file
        if file is None:
            return
        path = (self._description.folder / values.fill(file.path)).resolve()
        if not any(path.is_relative_to(f.resolve()) for f in (self._description.folder, data)):
            told = f"{self._description.source}: file: {path} is elsewhere, expected one in "
            where = "{data} or in the folder of this description"
            raise HarnessError(told + where, exit_code=EXIT_USAGE)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(values.fill(file.text), "utf-8")
        except OSError as error:
            reason = error.strerror or str(error)
            told = f"{self._description.source}: file: {path} cannot be written ({reason})"
            raise HarnessError(told, exit_code=EXIT_USAGE) from None

    def on_init_ok(self, handle: Handle) -> None:
        """It answered `init`."""
        if not handle.node.is_ready:
            self._router.ready(handle.node)

    def on_init_error(self, handle: Handle, body: Mapping[str, Any]) -> None:
        """It answered `init` with an error: it will not take part."""
        text = f": {body['text']}" if body.get("text") else ""
        handle.init_error = shown(f"error {body.get('code')}{text}", 120)

    def _await_ready(self, handles: Collection[Handle]) -> None:
        """Until each is ready or is stopped."""
        waiting, patience = list(handles), self._router.start_seconds
        until = self.now() + round(patience * 1e6)
        while waiting := [h for h in waiting if h.is_running and not h.node.is_ready]:
            if refusing := [h for h in waiting if h.init_error]:
                for handle in refusing:
                    self._stop(handle, f"answers init with {handle.init_error}")
                continue
            if self.now() >= until:
                for handle in waiting:
                    self._stop(handle, self._router.unready(handle.node, patience))
                return
            self._pump(until)
        if again := [h for h in handles if h.trouble == PORT_BUSY]:
            self._start_again(again)

    def _start_again(self, handles: Sequence[Handle]) -> None:
        """They minded old connections of their ports: once these are forgotten."""
        until = self.now() + round(FORGOTTEN_SECONDS * 1e6)
        for handle in handles:
            while not self._router.is_free(handle.node, False) and self.now() < until:
                self._pump(self.now() + LOOK_US)
            self._start(handle)
        self._await_ready(handles)

    # ---- what wardens say ----------------------------------------------------------------------

    def _hear(self, handle: Handle) -> None:
        warded = handle.warded
        if warded is None:
            return
        for value in warded.heard():
            handle.confirmed = value["word"]
            match value:
                case {"word": "ended", "status": int(status)}:
                    self._ended(handle, status)
                case {"word": "refused", "why": str(why)}:
                    first = shown(self._description.start[0], 60)
                    self._stop(handle, f"{first} {why}")
                case {"word": "over", "why": str(why)}:
                    self._stop(handle, f"takes more than its limits: {why}")
        if warded.is_closed and handle.warded is warded:
            self._stop(handle, "its warden was killed, and its processes with it")

    def _ended(self, handle: Handle, status: int) -> None:
        code = os.waitstatus_to_exitcode(status)
        if code < 0 and end(code) == "SIGXFSZ":
            most = self._description.limits["file_mb"]
            why = f"takes more than its limits: a file of {most} MB, expected less"
        else:
            why = f"its process ended by itself ({end(code)})"
        is_busy = not handle.node.is_ready and not self._router.is_free(handle.node, False)
        if is_busy and not handle.is_second_try:
            handle.is_second_try, handle.starts = True, handle.starts - 1
            self._bury(handle)
            handle.trouble = PORT_BUSY
        else:
            self._stop(handle, why)

    def _stop(self, handle: Handle, why: str) -> None:
        """It is there no longer, by its own doing."""
        self._bury(handle)
        handle.trouble = why
        self._endings.append(f"{handle.name}: {why}")
        handle.last_words = tail(handle.log)
        handle.liveness = Liveness.STOPPED
        self._on_change(handle)

    def _bury(self, handle: Handle) -> None:
        """All of it is dead or dies now; what it had written is read first."""
        self._router.read_rest(handle.node)
        self._router.disconnect(handle.node)
        if handle.warded is not None:
            self._waiter.forget(handle.warded.fileno())
            handle.warded.close()
            handle.warded = None

    def on_output_end(self, handle: Handle) -> None:
        """Its standard output is closed: the process ends too, or it is no use any more."""
        handle.output_ended_at = time.monotonic()

    def look_after(self) -> None:
        """End what has closed its standard output and lives on."""
        for handle in self.handles.values():
            ended = handle.output_ended_at
            if ended is None or not handle.is_running or handle.liveness is Liveness.PAUSED:
                continue
            if time.monotonic() - ended > SILENT_SECONDS:
                self._stop(handle, "closes its standard output")

    def stop_all(self, why: str) -> None:
        """The end of all that run."""
        for handle in self.handles.values():
            if handle.is_running:
                self._stop(handle, why)

    # ---- faults --------------------------------------------------------------------------------

    def change(
        self, failing: Sequence[ReplicaId], returning: Sequence[ReplicaId], mode: str
    ) -> tuple[ReplicaId, ...]:
        """Fail some in this mode and bring some back; returns who changed, once it is done."""
        for replica in failing:
            self._fail(self.handles[replica], mode)
        started = []
        for replica in returning:
            handle = self.handles[replica]
            handle.is_second_try = False
            match handle.liveness:
                case Liveness.DISCONNECTED:
                    self._router.cut_off(handle.node, False)
                    handle.liveness = Liveness.LIVE
                case Liveness.PAUSED:
                    self._tell(handle, "resume", "resumed")
                    if handle.is_running:
                        handle.liveness = Liveness.LIVE
                case _:
                    if handle.node.is_cut_off:  # it ended by itself meanwhile
                        self._router.cut_off(handle.node, False)
                    self._await_free(handle)
                    self._start(handle)
                    started.append(handle)
            if handle.liveness is Liveness.LIVE:
                handle.was_leader = False
                self._on_change(handle)
        self._await_ready(started)
        return (*failing, *returning)

    def change_liveness(self, handle: Handle, liveness: Liveness) -> None:
        """It says so itself."""
        handle.liveness = liveness
        self._on_change(handle)

    def _fail(self, handle: Handle, mode: str) -> None:
        match mode:
            case "crash":
                if handle.is_running:
                    self._router.doom(handle.node)
                    self._tell(handle, "kill", "killed")
                self._bury(handle)
                handle.liveness, handle.trouble = Liveness.CRASHED, None
            case "pause":
                self._tell(handle, "pause", "paused")
                handle.liveness = Liveness.PAUSED if handle.is_running else handle.liveness
            case _:
                self._router.cut_off(handle.node, True)
                handle.liveness = Liveness.DISCONNECTED
        self._on_change(handle)

    def _tell(self, handle: Handle, word: str, wanted: str) -> None:
        """Have its warden do something, and wait until that is done, or it is gone."""
        if handle.warded is None:
            return
        handle.confirmed = ""
        handle.warded.say(word)
        until = self.now() + round(KERNEL_SECONDS * 1e6)
        while handle.is_running and handle.confirmed != wanted and self.now() < until:
            self._pump(until)

    @staticmethod
    def now() -> int:
        """Microseconds of the machine's monotonic clock."""
        return time.monotonic_ns() // 1000


def _wait_for(warded: Warded, seconds: float) -> list[dict[str, Any]]:
    import select

    select.select([warded], [], [], seconds)
    return warded.heard()


def _is_used(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except OSError:
        return False
