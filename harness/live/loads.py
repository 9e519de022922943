"""A process of load clients as the fleet knows it; what it does is `harness.bench.load`'s."""

from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Any

from bank.ballot import ReplicaId
from harness.cluster import ctrl_c
from harness.live import process
from harness.live.handle import read_safely
from harness.live.queues import ControlEnd
from harness.live.waiting import Waiter


class LoadHandle:
    """See the module."""

    def __init__(self) -> None:
        self.process: ForkServerProcess | None = None
        self.control: ControlEnd | None = None
        self._waiter: Waiter | None = None  # that reads it, once it runs
        self.peers: dict[ReplicaId, tuple[Connection, Connection]] = {}  # until it starts
        self.heard: list[Any] = []  # from its control queue, for whoever runs the benchmark
        self.trouble = ""  # how it ended before it was told to

    def connect(self, replica: ReplicaId, reading: Connection, writing: Connection) -> None:
        """Hand over the ends of the queues with a replica, at once when the process runs."""
        if self.control is None:
            self.peers[replica] = (reading, writing)
            return
        self.control.send(("peer", replica), (reading.fileno(), writing.fileno()))
        reading.close()
        writing.close()

    @ctrl_c.afterwards()
    def start(
        self,
        target: Callable[[Any], None],
        spec: Callable[[Connection], Any],
        guard: process.Guard | None,
        waiter: Waiter,
    ) -> None:
        """Start it, after the replicas; `spec` makes what `target` is given."""
        ours, theirs = process.CONTEXT.Pipe(duplex=True)
        self.process = process.start(target, spec(theirs))
        if guard is not None:
            guard.add(self.process)
        theirs.close()
        for reading, writing in self.peers.values():
            reading.close()
            writing.close()
        self.control, self._waiter = (control := ControlEnd(ours)), waiter

        def read() -> None:
            self.heard += read_safely(control.read)
            if control.closed:
                waiter.forget(control.fileno())
                self._note_end()

        waiter.on_readable(control.fileno(), read)

    def _note_end(self) -> None:
        assert self.process is not None
        self.process.join(process.KERNEL_SECONDS)
        self.trouble = f"a process of clients {process.ending(self.process.exitcode)}"

    def stop(self) -> None:
        """Kill it, if it runs."""
        if self.process is not None and self.control is not None:
            assert self._waiter is not None
            self._waiter.forget(self.control.fileno())
            process.kill(self.process)
            self.process.close()
            self.control.close()
            self.process = self.control = None
