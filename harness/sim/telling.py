"""Replicas driven by hand that write down everything they do, one line each; see `player`.

`harness.sim.invariants` looks on: what does not hold raises its Violation.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

from bank.ballot import ReplicaId, replica_name
from bank.effects import Effects, Executed, Persist, Send, Stored
from bank.ledger import SKIPPED
from bank.messages import Accepted, Heartbeat, Message
from bank.replica import CLIENT, Replica
from bank.sessions import Request
from bank.settings import Settings
from harness.cluster.wording import line, message_line, request_text, requests_text, span
from harness.sim import judging
from harness.sim.conductor import Conductor
from harness.sim.invariants import Safety, Violation

TEN_EACH = dict.fromkeys("ABCDEFGHIJKLMNOPQRSTUVWXYZ", 10)


class Died(Exception):
    """A replica's process ended in the middle of a turn."""


class Teller(Conductor):
    """A conductor that obeys commands and writes down what the replicas do."""

    def __init__(
        self,
        replicas: int,
        settings: Settings | None = None,
        replica_class: Callable[..., Replica] = Replica,
        seed: int | None = None,
    ) -> None:
        """With `seed`, they draw what those of a simulated world with this seed draw."""
        settings = settings or Settings()
        self._seed = seed
        self.lines: list[str] = []
        self.to_die: dict[ReplicaId, str] = {}  # in the next turn that stores: "before", "after"
        self.cuts: set[tuple[ReplicaId, ReplicaId]] = set()
        self._told_halted: set[ReplicaId] = set()
        self._reads_on = False  # the turn goes on with another message
        self._notable = False  # this turn is more than a heartbeat
        self._hides_heartbeats = False
        self._last: dict[str, Request] = {}  # of each client
        self._asked: dict[tuple[str, int], Request] = {}  # all, by client and timestamp
        self._safety = Safety(replicas, TEN_EACH, settings.checkpoint_interval)
        super().__init__(replicas, settings, TEN_EACH, replica_class)
        self.loses = lambda source, to, _: (source, to) in self.cuts

    def _random(self, replica: ReplicaId) -> Random:
        if self._seed is None:
            return super()._random(replica)
        return Random(f"{self._seed}/{replica}/{self._incarnations[replica]}")

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
        words = f"{replica_name(who)}  {what:<9}  {label:<10} {ballot!s:<8} {slots:<4} {text}"
        self.lines.append(words.rstrip())

    def _write_message(self, who: ReplicaId, arrow: str, peer: str, message: Message) -> None:
        self._write(who, f"{arrow} {peer}", *message_line(message, whole=True))

    def _note_message(self, message: Message) -> None:
        asked = isinstance(message, Accepted) and message.asked_upto > 0
        empty = isinstance(message, Accepted) and message.last_slot < message.first_slot
        self._notable |= not (isinstance(message, Heartbeat) or asked or empty)

    def _tell(self, replica: ReplicaId, effects: Effects) -> None:
        """The part of a turn that nobody waits for."""
        judging.flushed(self._safety, replica, effects)
        if effects.halted is not None and replica not in self._told_halted:
            self._told_halted.add(replica)
            self._write(replica, f"halts: {effects.halted}")
            effects = Effects()
            self._notable = True
        for event in effects.events:
            self._write(replica, line(event).text)
        for run in effects.executed:
            answers = ", ".join(executed(run))
            last_slot = run.first_slot + len(run.requests) - 1
            self._write(replica, "executes", slots=span(run.first_slot, last_slot), text=answers)
        for reply in effects.replies:
            self._write_message(replica, "->", "client", reply)
        self._notable |= bool(effects.events or effects.executed or effects.replies)

    def _tell_stored(self, replica: ReplicaId, persist: Persist) -> None:
        self._safety.stored(replica, persist)
        parts: list[tuple[str, object, str, str]] = []
        if persist.promise_changed:
            seen = f"seen {persist.seen}" if persist.seen > persist.promised.number else ""
            parts.append(("promise", persist.promised, "", seen))
        for run in persist.runs:
            slots = span(run.first_slot, run.first_slot + len(run.requests) - 1)
            parts.append(("slots", run.ballot, slots, requests_text(tuple(run.requests))))
        if persist.checkpoint is not None:
            parts.append(("state", "", str(persist.checkpoint.slot), "checkpoint"))
        self._notable |= bool(parts)
        if persist.committed_upto is not None:
            truncated = f", truncated up to {t}" if (t := persist.truncated_upto) else ""
            parts.append(("mark", "", "", f"committed up to {persist.committed_upto}{truncated}"))
        for label, ballot, slots, text in parts:
            self._write(replica, "stores", label, ballot, slots, text)

    # ---- hooks into the conductor ----------------------------------------------------------------

    def _start(self, replica: ReplicaId, stored: Stored | None) -> Replica:
        if stored is not None:
            self._safety.restarted(replica, stored)
        made = super()._start(replica, stored)
        flush = made.flush

        def flush_and_tell() -> Effects:
            effects = flush()
            self._tell(replica, effects)
            judging.turned(self._safety, made, effects)
            return effects

        made.flush = flush_and_tell  # type: ignore[method-assign]
        return made

    @contextmanager
    def _turn(self, replica: ReplicaId) -> Iterator[None]:
        """What happens here goes unwritten when it is only about heartbeats."""
        before, first = self._standing(replica), len(self.lines)
        self._notable = False
        try:
            yield
        except (Violation, Died):
            raise
        except Exception as error:  # a replica's own: to assert is its way to say so
            raise Violation(str(error) or type(error).__name__) from error
        if self._hides_heartbeats and not self._notable and self._standing(replica) == before:
            del self.lines[first:]

    def _standing(self, replica: ReplicaId) -> object:
        if replica not in self.replicas:
            return None
        return self[replica].role, self[replica].following, self[replica].promised

    def step(self, to: ReplicaId, message: Message, source: ReplicaId = CLIENT) -> Effects:
        """See Conductor."""
        with self._turn(to):
            self._note_message(message)
            sender = "client" if source == CLIENT else replica_name(source)
            self._write_message(to, "<-", sender, message)
            self._safety.told(to, source, message)
            return super().step(to, message, source)

    def tick(self, *replicas: ReplicaId) -> None:
        """See Conductor."""
        for replica in replicas:
            with self._turn(replica):
                super().tick(replica)

    def _send(self, source: ReplicaId, sends: list[Send]) -> None:
        for send in sends:
            judging.sent(self._safety, source, send.message)
            self._note_message(send.message)
            everyone = len(send.to) == len(self.everyone) - 1 > 1
            to = "all" if everyone else ",".join(map(replica_name, send.to))
            self._write_message(source, "->", to, send.message)
            for lost in send.to:
                if (source, lost) in self.cuts:
                    self._write_message(source, "-x", replica_name(lost), send.message)
        super()._send(source, sends)

    def _end_turn(self, replica: ReplicaId) -> Effects:
        if self._reads_on:
            return Effects()
        try:
            return super()._end_turn(replica)
        except Died:
            return Effects()

    def _finish(self, replica: ReplicaId, effects: Effects) -> None:
        if effects.persist is not None:
            when = self.to_die.pop(replica, "")
            if when != "before":
                self._tell_stored(replica, effects.persist)
            if when == "after":
                self.disks[replica].commit(effects.persist)
                self.disks[replica].sync()
            if when:
                self._write(replica, f"dies {when} the write")
                self.crash(replica)
                raise Died
        super()._finish(replica, effects)


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
