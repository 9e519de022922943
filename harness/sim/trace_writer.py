"""A world driven by hand that writes down everything replicas do, one line each.

What it looks like is said in `script_runner`. `harness.sim.invariants` looks on: what does not hold
raises its Violation.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from bank.ballot import ReplicaId, replica_name
from bank.effects import Effects, Executed, Persist, Send
from bank.ledger import SKIPPED
from bank.messages import Accepted, Heartbeat, Message
from bank.replica import CLIENT
from bank.settings import Settings
from bank.status import SlotMark
from harness.cluster.kill_points import Cut
from harness.cluster.wording import line, message_line, request_text, requests_text, span
from harness.sim import judging
from harness.sim.hand import TEN_EACH, HandWorld
from harness.sim.invariants import Violation
from harness.sim.process import Process

MARKS = {
    SlotMark.NONE: "nothing",
    SlotMark.ACCEPTED: "accepted",
    SlotMark.COMMITTED: "committed",
    SlotMark.EXECUTED: "executed",
}


class TraceWriter(HandWorld):
    """See the module."""

    is_silent = False  # nothing is written, for who only wants to know how it ends

    def __init__(
        self,
        nodes: int,
        settings: Settings,
        balances: Mapping[str, int] = TEN_EACH,
        seed: object = None,
    ) -> None:
        """With `seed`, replicas draw what those of a simulated world with this seed draw."""
        self.lines: list[str] = []
        self.written = 0  # lines, those that were taken back included
        self.cuts: set[tuple[ReplicaId, ReplicaId]] = set()
        self._notable = False  # this turn is more than a heartbeat
        self._hides_heartbeats = False
        super().__init__(nodes, settings, balances, seed)
        self.loses = lambda source, to, _: (source, to) in self.cuts

    # ---- what is written down --------------------------------------------------------------------

    def _write(
        self,
        who: ReplicaId,
        what: str,
        label: str = "",
        ballot: object = "",
        slots: str = "",
        text: str = "",
    ) -> None:
        self.written += 1
        if self.is_silent:
            return
        words = f"{replica_name(who)}  {what:<9}  {label:<10} {ballot!s:<8} {slots:<4} {text}"
        self.lines.append(words.rstrip())

    def _write_message(self, who: ReplicaId, arrow: str, peer: str, message: Message) -> None:
        said = ("", "", "", "") if self.is_silent else message_line(message, whole=True)
        self._write(who, f"{arrow} {peer}", *said)

    def _note_message(self, message: Message) -> None:
        asked = isinstance(message, Accepted) and message.asked_upto > 0
        empty = isinstance(message, Accepted) and message.last_slot < message.first_slot
        self._notable |= not (isinstance(message, Heartbeat) or asked or empty)

    def flushed(self, process: Process, effects: Effects) -> None:
        """See World."""
        if effects == Effects():
            return
        replica, is_checked = process.id, self.safety is not None
        if is_checked:
            judging.flushed(self.checks, replica, effects)
        if effects.halted is not None:
            self._write(replica, f"halts: {effects.halted}")
        else:
            self._write_decisions(replica, effects)
        if is_checked:
            judging.decided(self.checks, replica, effects, process.replica.log)
            if effects.executed:
                self.checks.compare([process.replica.status()])
        self.note_told(replica, effects)

    def _write_decisions(self, replica: ReplicaId, effects: Effects) -> None:
        for event in effects.events:
            self._write(replica, line(event).text)
        for run in effects.executed:
            answers = ", ".join(executed(run))
            last_slot = run.first_slot + len(run.requests) - 1
            self._write(replica, "executes", slots=span(run.first_slot, last_slot), text=answers)
        if effects.elected is not None:
            self._write_message(replica, "->", "client", effects.elected)
        for reply in effects.replies:
            self._write_message(replica, "->", "client", reply)
        self._notable |= bool(effects.events or effects.executed or effects.replies)

    def stored(self, process: Process, persist: Persist) -> None:
        """See World."""
        super().stored(process, persist)
        replica = process.id
        parts: list[tuple[str, object, str, str]] = []
        if persist.promise_changed:
            seen = f"seen {persist.seen}" if persist.seen > persist.promised.number else ""
            parts.append(("promise", persist.promised, "", seen))
        for run in persist.runs:
            slots = span(run.first_slot, run.first_slot + len(run.requests) - 1)
            parts.append(("slots", run.ballot, slots, requests_text(tuple(run.requests))))
        if persist.pages is not None and persist.checkpoint is None:
            numbers = ", ".join(str(number) for number, _ in persist.pages.pages)
            parts.append(("pages", "", str(persist.pages.slot), f"{numbers} of the checkpoint"))
        if persist.checkpoint is not None:
            parts.append(("state", "", str(persist.checkpoint.slot), "checkpoint"))
        self._notable |= bool(parts)
        if persist.committed_upto is not None:
            truncated = f", truncated up to {t}" if (t := persist.truncated_upto) else ""
            parts.append(("mark", "", "", f"committed up to {persist.committed_upto}{truncated}"))
        for label, ballot, slots, text in parts:
            self._write(replica, "stores", label, ballot, slots, text)

    def write_status(self) -> None:
        """All replicas in a table."""
        table = [["", "role", "follows", "promised", "C", "E", "slots", "balances"]]
        last_slot = max(
            (self.status(r).last_slot for r in filter(self.is_running, self.everyone)), default=0
        )
        first = self.balances
        for replica in self.everyone:
            if not self.is_running(replica):
                table.append([replica_name(replica), "crashed", *[""] * 6])
                continue
            status = self.status(replica)
            role = status.role.value if status.halted is None else "halted"
            role += ", disconnected" if replica in self.away else ""
            role += ", paused" if replica in self.paused else ""
            ballots = [str(b) if b.number else "–" for b in (status.following, status.promised)]
            upto = [str(status.committed_upto), str(status.executed_upto)]
            changed = [f"{a} {b}" for a, b in status.balances.items() if b != first[a]]
            slots = self[replica].slots(range(1, last_slot + 1))
            marks = "".join(slot.mark.value for slot in slots)
            table.append(
                [
                    replica_name(replica),
                    role,
                    *ballots,
                    *upto,
                    marks,
                    ", ".join(changed) or f"{max(first.values())} each",
                ]
            )
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for row in table:
            padded = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
            self.lines.append("  ".join(padded).rstrip())

    def write_log(self, replica: ReplicaId) -> None:
        """The slots of one."""
        last_slot = self.status(replica).last_slot
        if last_slot == 0:
            self._write(replica, "holds", "nothing")
        for slot in self[replica].slots(range(1, last_slot + 1)):
            ballot = slot.ballot or ""
            text = request_text(slot.request) if slot.request else ""
            gone = slot.mark is SlotMark.EXECUTED and slot.ballot is None
            label = "truncated" if gone else MARKS[slot.mark]
            self._write(replica, "holds", label, ballot, str(slot.slot), text)

    @contextmanager
    def _turn(self, replica: ReplicaId) -> Iterator[None]:
        """What happens here goes unwritten when it is only about heartbeats."""
        before, first = self._standing(replica), len(self.lines)
        self._notable = False
        try:
            yield
        except Violation:
            raise
        except Exception as error:  # a replica's own: to assert is its way to say so
            raise Violation(str(error) or type(error).__name__) from error
        if self._hides_heartbeats and not self._notable and self._standing(replica) == before:
            del self.lines[first:]

    def _standing(self, replica: ReplicaId) -> object:
        if not self.is_running(replica):
            return None
        return self[replica].role, self[replica].following, self[replica].promised

    def step(self, to: ReplicaId, message: Message, source: ReplicaId = CLIENT) -> None:
        """See HandWorld."""
        with self._turn(to):
            super().step(to, message, source)

    def tick(self, *replicas: ReplicaId) -> None:
        """See HandWorld."""
        for replica in replicas:
            with self._turn(replica):
                super().tick(replica)

    def read(self, process: Process, source: ReplicaId, message: Message) -> None:
        """See World."""
        self._note_message(message)
        sender = "client" if source == CLIENT else replica_name(source)
        self._write_message(process.id, "<-", sender, message)
        super().read(process, source, message)

    def post(self, source: ReplicaId, send: Send) -> None:
        """See HandWorld."""
        self._note_message(send.message)
        everyone = len(send.to) == len(self.everyone) - 1 > 1
        to = "all" if everyone else ",".join(map(replica_name, send.to))
        self._write_message(source, "->", to, send.message)
        for lost in send.to:
            if (source, lost) in self.cuts:
                self.lost(source, lost, send.message)
        super().post(source, send)

    def lost(self, source: ReplicaId, to: ReplicaId, message: Message) -> None:
        """A message will not arrive."""
        self._write_message(source, "-x", replica_name(to), message)

    def killed(self, process: Process, cut: Cut | None) -> None:
        """See World."""
        if cut is not None:
            self._write(process.id, f"dies {self.dooms[process.id].words}")
        super().killed(process, cut)


def executed(run: Executed) -> Iterator[str]:
    """Each request with its answer: "(A, B, 3) success", "no-op"."""
    for slot, (request, answer) in enumerate(
        zip(run.requests, run.answers, strict=True), run.first_slot
    ):
        text = request_text(request)
        if request[0] == "":
            yield text
        elif answer[3] != slot and answer[2] != SKIPPED:
            yield f"{text} {answer[2]}, as in slot {answer[3]}"
        else:
            yield f"{text} {answer[2]}"
