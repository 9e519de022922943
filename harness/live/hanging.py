"""Replicas that owe a word and do not give it: waited for, and ended when that is their fault."""

from collections.abc import Callable, Mapping, Sequence

from bank.ballot import ReplicaId, replica_name
from harness.cluster.journal import CAN_ANSWER
from harness.errors import EXIT_MACHINE, HarnessError
from harness.live import process, worker
from harness.live.handle import Handle
from harness.live.silence import BUSY_SECONDS, LOOK_US, START_SECONDS, Silence

WAKE_SECONDS = 1.0  # for a process that hangs to say where


class Hanging:
    """Those of one fleet."""

    def __init__(
        self,
        handles: Mapping[ReplicaId, Handle],
        pump: Callable[[int], None],
        on_death: Callable[[Handle], None],
    ) -> None:
        """`pump(until)` takes what happens; `on_death` is told of a process that was killed."""
        self._handles, self._pump, self._on_death = handles, pump, on_death

    def await_each(self, handles: Sequence[Handle], is_done: Callable[[Handle], bool]) -> None:
        """Wait for what each does at once on a working machine; who hangs or dies is left out."""
        while waiting := [h for h in handles if h.process is not None and not is_done(h)]:
            for handle in waiting:
                self.listen_for(handle)
            self._pump(worker.now() + LOOK_US)
            self.end()

    def listen_for(self, handle: Handle) -> None:
        """It was asked something: from now on it counts whether it is heard."""
        if handle.silence is None and handle.process is not None:
            most = BUSY_SECONDS if handle.is_ready else START_SECONDS
            handle.silence = Silence(worker.now(), handle.process.pid, most)

    def end(self) -> None:
        """End the processes whose own fault it is that nothing is heard of them.

        HarnessError with EXIT_MACHINE for one that is silent for too long by no fault of its own.
        """
        at = worker.now()
        for handle in self._handles.values():
            silence = handle.silence
            if silence is None or handle.process is None or handle.liveness not in CAN_ANSWER:
                handle.silence = None
                continue
            others_answer = any(h.heard_at > silence.since for h in self._handles.values())
            found = silence.look(at, others_answer)
            if found.is_its_fault:
                self._end(handle, found.text)
            elif found.is_over:
                told = f"{replica_name(handle.replica)}: {found.text}"
                raise HarnessError(told, exit_code=EXIT_MACHINE)

    def _end(self, handle: Handle, why: str) -> None:
        """Have the process say where it is and end; one that does not is killed."""
        assert handle.process is not None
        handle.silence, handle.trouble, handle.ended_silently = None, why, True
        process.wake(handle.process)
        deadline = worker.now() + int(WAKE_SECONDS * 1e6)
        while handle.process is not None and worker.now() < deadline:
            self._pump(deadline)
        if handle.process is not None:
            process.kill(handle.process)
            self._on_death(handle)
