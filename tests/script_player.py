"""Plays scripts: replicas driven by hand, and everything they do written down for a person.

A script is blocks of commands, a line `----`, and what the replicas do then, up to an empty line:

    # leader dies before COMMIT: the first line says the situation or the bug it guards
    nodes 3                        a new cluster; `nodes 3 checkpoint 4` takes one every 4 slots
    elect n1                       the first election, summed up in one line
    request n1 (A, B, 3) (C)       a client asks one replica, `n1 n2` or `all`; (C) is a read
    retry all A                    client A sends its last request again
    deliver n1->n2                 the oldest message between the two arrives; `n1->all` and
    deliver all                      `all->n2` mean one of each; `all` means until all is silent
    drop n1->n2                    everything between the two is lost; also `all`
    cut n1->n2 / mend n1->n2       everything sent from now on is lost; no longer so
    expire n2                      the next timer of n2 runs out; nobody else looks at the clock
    time 300ms                     everything works for so long
    crash n1 [unnoticed]           the process dies; unnoticed, the others are not told
    crash n1 before write          … in its next turn that stores something: what may overtake
    crash n1 after write             the write has left, what has to wait for it has not
    restart n1                     a new process finds what its disk kept
    disconnect n1 / reconnect n1   n1 neither sends nor hears; it is back with its memory
    pause n1 / wake n1             n1 stands still while what arrives waits
    slow n1 / answer n1            writes of n1 take until its disk answers
    status, log n2                 all replicas in a table; the slots of one
    quietly …                      any command, written down nowhere

Each line of a trace: who, `<-` read from, `->` sent to or `-x` lost to whom, the message, its
ballot, its slots, the rest. `stores` is one transaction, on disk from then on; `executes` are slots
with what each answered. `deliver all` and `time` leave out turns in which a heartbeat is sent,
read or answered and nothing else happens.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from conductor import TEN_EACH, Conductor, read, transfer

from bank.ballot import ReplicaId, replica_name
from bank.effects import Effects, Executed, Persist, Send, Stored
from bank.ledger import SKIPPED
from bank.messages import Accept, Accepted, ClientRequest, Heartbeat, Message, Promise
from bank.replica import CLIENT, Replica
from bank.sessions import Request
from bank.settings import Settings
from bank.status import Role, SlotMark
from harness.tracing import describe_request, describe_requests, span, trace_line

RULE = "----"
NOTHING = "ok"  # of a block in which nothing was written down
MARKS = {
    SlotMark.NONE: "nothing",
    SlotMark.ACCEPTED: "accepted",
    SlotMark.COMMITTED: "committed",
    SlotMark.EXECUTED: "executed",
}


class ScriptError(Exception):
    """A script asks for what cannot be done; the text says where."""


# ---- the text ----------------------------------------------------------------------------------


class Block(NamedTuple):
    """Commands and what they are expected to lead to."""

    head: list[str]  # comments, commands and empty lines, as written
    line: int  # of the file, from 1, at which `head` begins
    expected: list[str]

    def commands(self) -> Iterator[tuple[int, str]]:
        """The commands with their line numbers."""
        for number, line in enumerate(self.head, self.line):
            if line.strip() and not line.startswith("#"):
                yield number, line.strip()


def parse(text: str, name: str) -> list[Block]:
    """The blocks of a script called `name`."""
    blocks: list[Block] = []
    head: list[str] = []
    expected: list[str] | None = None
    lines = text.splitlines()
    if not lines or not lines[0].startswith("# "):
        raise ScriptError(f"{name}:1: the first line says the situation: # …")
    for number, line in enumerate(lines, 1):
        if expected is None:
            if line == RULE:
                expected = []
                blocks.append(Block(head, number - len(head), expected))
            else:
                head.append(line)
        elif line:
            expected.append(line)
        else:
            head, expected = [], None
    if expected is None and any(head):
        raise ScriptError(f"{name}:{len(lines)}: the last commands have no line {RULE}")
    return blocks


def written(blocks: Iterable[Block]) -> str:
    """The text of a script."""
    return "\n\n".join("\n".join([*b.head, RULE, *b.expected]) for b in blocks) + "\n"


def play(path: Path) -> Iterator[Block]:
    """The blocks of a script file with what really happened, one by one."""
    player: Player | None = None
    for block in parse(path.read_text(encoding="utf-8"), path.name):
        lines: list[str] = []
        for number, command in block.commands():
            where = f"{path.name}:{number}"
            if match := re.fullmatch(r"nodes (\d+)(?: checkpoint (\d+))?", command):
                player = Player(int(match[1]), int(match[2] or 0))
                continue
            if player is None:
                raise ScriptError(f"{where}: `nodes N` comes first, not: {command}")
            try:
                player.command(command)
            except ScriptError as error:
                raise ScriptError(f"{where}: {error}") from None
            except Exception as error:
                error.add_note(f"{where}: {command}")
                raise
            lines += player.lines
            player.lines.clear()
        yield Block(block.head, block.line, lines or [NOTHING])
    if player is not None and player.to_die:
        never = ", ".join(f"{replica_name(r)} {when} write" for r, when in player.to_die.items())
        raise ScriptError(f"{path.name}: never crashed: {never}")


# ---- the player --------------------------------------------------------------------------------


class Died(Exception):
    """A replica's process ended in the middle of a turn."""


class Player(Conductor):
    """A conductor that obeys commands and writes down what the replicas do."""

    def __init__(self, replicas: int, checkpoint_interval: int = 0) -> None:
        self.lines: list[str] = []
        self.to_die: dict[ReplicaId, str] = {}  # in the next turn that stores: "before", "after"
        self.cuts: set[tuple[ReplicaId, ReplicaId]] = set()
        self._told_halted: set[ReplicaId] = set()
        self._notable = False  # this turn is more than a heartbeat
        self._hides_heartbeats = False
        self._last: dict[str, Request] = {}  # of each client
        short = Settings(checkpoint_interval=checkpoint_interval, checkpoint_pause=0, keep_slots=0)
        super().__init__(replicas, short if checkpoint_interval else Settings())
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
        line = f"{replica_name(who)}  {what:<9}  {label:<10} {ballot!s:<8} {slots:<4} {text}"
        self.lines.append(line.rstrip())

    def _write_message(self, who: ReplicaId, arrow: str, peer: str, message: Message) -> None:
        line = trace_line(self.now, "", peer, message)
        text = line.text
        if isinstance(message, Accept) and message.committed_upto:
            text += f"; committed up to {message.committed_upto}"
        if isinstance(message, Accepted) and not line.slots:
            text = "nothing"
        if isinstance(message, Promise) and message.truncated_upto:
            text = text.replace(";", f", {message.truncated_upto} truncated;", 1)
        self._write(who, f"{arrow} {line.peer}", line.label, line.ballot, line.slots, text)

    def _note_message(self, message: Message) -> None:
        asked = isinstance(message, Accepted) and message.asked_upto > 0
        empty = isinstance(message, Accepted) and message.last_slot < message.first_slot
        self._notable |= not (isinstance(message, Heartbeat) or asked or empty)

    def _tell(self, replica: ReplicaId, effects: Effects) -> None:
        """The part of a turn that nobody waits for."""
        if effects.halted is not None and replica not in self._told_halted:
            self._told_halted.add(replica)
            effects = Effects(notes=[f"halts: {effects.halted}"])
        for note in effects.notes:
            self._write(replica, note)
        for run in effects.executed:
            answers = ", ".join(executed(run))
            last_slot = run.first_slot + len(run.requests) - 1
            self._write(replica, "executes", slots=span(run.first_slot, last_slot), text=answers)
        for reply in effects.replies:
            self._write_message(replica, "->", "client", reply)
        self._notable |= bool(effects.notes or effects.executed or effects.replies)

    def _tell_stored(self, replica: ReplicaId, persist: Persist) -> None:
        parts: list[tuple[str, object, str, str]] = []
        if persist.promise_changed:
            seen = f"seen {persist.seen}" if persist.seen > persist.promised.number else ""
            parts.append(("promise", persist.promised, "", seen))
        for run in persist.runs:
            slots = span(run.first_slot, run.first_slot + len(run.requests) - 1)
            parts.append(("slots", run.ballot, slots, describe_requests(tuple(run.requests))))
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
        made = super()._start(replica, stored)
        flush = made.flush

        def flush_and_tell() -> Effects:
            effects = flush()
            self._tell(replica, effects)
            return effects

        made.flush = flush_and_tell
        return made

    @contextmanager
    def _turn(self, replica: ReplicaId) -> Iterator[None]:
        """What happens here goes unwritten when it is only about heartbeats."""
        before, first = self._standing(replica), len(self.lines)
        self._notable = False
        yield
        if self._hides_heartbeats and not self._notable and self._standing(replica) == before:
            del self.lines[first:]

    def _standing(self, replica: ReplicaId) -> object:
        if replica not in self.replicas:
            return None
        return self[replica].role, self[replica].following, self[replica].promised

    def step(self, to: ReplicaId, message: Message, source: ReplicaId = CLIENT) -> Effects:
        with self._turn(to):
            self._note_message(message)
            sender = "client" if source == CLIENT else replica_name(source)
            self._write_message(to, "<-", sender, message)
            return super().step(to, message, source)

    def tick(self, *replicas: ReplicaId) -> None:
        for replica in replicas:
            with self._turn(replica):
                super().tick(replica)

    def _send(self, source: ReplicaId, sends: list[Send]) -> None:
        for send in sends:
            self._note_message(send.message)
            to = "all" if len(send.to) > 1 else replica_name(send.to[0])
            self._write_message(source, "->", to, send.message)
            for lost in send.to:
                if (source, lost) in self.cuts:
                    self._write_message(source, "-x", replica_name(lost), send.message)
        super()._send(source, sends)

    def _end_turn(self, replica: ReplicaId) -> Effects:
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
                self.disks[replica].write(effects.persist)
            if when:
                self._write(replica, f"dies {when} the write")
                self.crash(replica)
                raise Died
        super()._finish(replica, effects)

    # ---- commands --------------------------------------------------------------------------------

    def command(self, text: str) -> None:
        """Obey one line of a script."""
        if text.startswith("quietly "):
            first = len(self.lines)
            self.command(text.removeprefix("quietly "))
            del self.lines[first:]
            return
        for pattern, method in COMMANDS:
            if match := pattern.fullmatch(text):
                method(self, *match.groups())
                return
        raise ScriptError(f"unknown command: {text}")

    def _who(self, names: str, can_crash: bool = False) -> list[ReplicaId]:
        """The replicas of "n1", "n1 n2" or "all", all of them running unless `can_crash`."""
        if names == "all":
            return [r for r in self.everyone if can_crash or r in self.replicas]
        found = [int(name[1:]) for name in names.split()]
        for replica in found:
            if replica not in self.everyone:
                raise ScriptError(f"there is no {replica_name(replica)}")
            if not can_crash and replica not in self.replicas:
                raise ScriptError(f"{replica_name(replica)} is crashed")
        return found

    def _links(self, sources: str, targets: str) -> list[tuple[ReplicaId, ReplicaId]]:
        pairs = [(s, t) for s in self._who(sources, True) for t in self._who(targets, True)]
        return [(source, to) for source, to in pairs if source != to]

    @contextmanager
    def _without_heartbeats(self) -> Iterator[None]:
        self._hides_heartbeats = True
        yield
        self._hides_heartbeats = False

    def do_elect(self, name: str) -> None:
        (replica,), first = self._who(name), len(self.lines)
        self.elect(replica)
        self.run(1)  # the first heartbeat
        del self.lines[first:]
        behind = [replica_name(r) for r in self.everyone if r != replica and self._hears(r)]
        followers = " and ".join([", ".join(behind[:-1]), behind[-1]])
        self._write(replica, f"leads {self[replica].following}; {followers} follow")

    def do_request(self, names: str, texts: str) -> None:
        requests = []
        for text in re.findall(r"\(([^)]*)\)", texts):
            sender, *rest = text.split(", ")
            timestamp = self._last[sender][1] + 1 if sender in self._last else 1
            made = transfer(sender, rest[0], int(rest[1]), timestamp) if rest else None
            self._last[sender] = made or read(sender, timestamp)
            requests.append(self._last[sender])
        self._ask(self._who(names), tuple(requests))

    def do_retry(self, names: str, client: str) -> None:
        if client not in self._last:
            raise ScriptError(f"client {client} asked for nothing yet")
        self._ask(self._who(names), (self._last[client],))

    def _ask(self, replicas: list[ReplicaId], requests: tuple[Request, ...]) -> None:
        for replica in filter(self._hears, replicas):
            self.step(replica, ClientRequest(requests))

    def do_deliver(self, sources: str, targets: str) -> None:
        waiting = [link for link in self._links(sources, targets) if self.queues[link]]
        heard = [(source, to) for source, to in waiting if self._hears(to)]
        if not heard:
            raise ScriptError("nothing waits there for one who hears")
        for link in heard:
            self.deliver(*link)

    def do_deliver_all(self) -> None:
        with self._without_heartbeats():
            self.deliver_all()

    def do_drop(self, sources: str, targets: str) -> None:
        links = [link for link in self._links(sources, targets) if self.queues[link]]
        if not links:
            raise ScriptError("nothing waits there")
        for source, to in links:
            for message in self.queues[source, to]:
                self._write_message(source, "-x", replica_name(to), message)
            self.queues[source, to].clear()

    def do_drop_all(self) -> None:
        self.do_drop("all", "all")

    def do_cut(self, sources: str, targets: str) -> None:
        self.cuts.update(self._links(sources, targets))

    def do_mend(self, sources: str, targets: str) -> None:
        self.cuts.difference_update(self._links(sources, targets))

    def do_expire(self, name: str) -> None:
        (replica,), first = self._who(name), len(self.lines)
        self.expire(replica)
        while self[replica].role is Role.LEADER and len(self.lines) == first:
            self.expire(replica)  # it only found that it is still answered

    def do_time(self, milliseconds: str) -> None:
        with self._without_heartbeats():
            self.run(int(milliseconds))

    def do_crash(self, name: str, when: str | None) -> None:
        (replica,) = self._who(name)
        if when in ("before write", "after write"):
            self.to_die[replica] = when.split()[0]
        else:
            self.crash(replica, noticed=when is None)

    def do_restart(self, name: str) -> None:
        (replica,), disk = self._who(name, can_crash=True), self.disks
        if replica in self.replicas:
            raise ScriptError(f"{name} is running")
        rows, promised = disk[replica].rows, disk[replica].promised
        promise = f"promise {promised}" if promised.number else "no promise"
        slots = f"slots {span(min(rows), max(rows))}" if rows else "no slots"
        upto = disk[replica].committed_upto
        self._write(replica, f"restarts with {promise}, {slots}, committed up to {upto}")
        self.restart(replica)

    def do_disconnect(self, names: str) -> None:
        self.disconnect(*self._who(names))

    def do_reconnect(self, names: str) -> None:
        self.reconnect(*self._who(names))

    def do_pause(self, name: str) -> None:
        self.paused.update(self._who(name))

    def do_wake(self, name: str) -> None:
        self.paused.difference_update(self._who(name))

    def do_slow(self, name: str) -> None:
        self.slow_disks.update(self._who(name))

    def do_answer(self, name: str) -> None:
        (replica,) = self._who(name)
        if replica not in self._writing:
            raise ScriptError(f"{name} writes nothing")
        self.slow_disks.discard(replica)
        self.disk_answers(replica)

    def do_status(self) -> None:
        table = [["", "role", "follows", "promised", "C", "E", "slots", "balances"]]
        last_slot = max((self.status(r).last_slot for r in self.replicas), default=0)
        for replica in self.everyone:
            if replica not in self.replicas:
                table.append([replica_name(replica), "crashed", *[""] * 6])
                continue
            status = self.status(replica)
            role = status.role.value if status.halted is None else "halted"
            role += ", disconnected" if replica in self.away else ""
            role += ", paused" if replica in self.paused else ""
            ballots = [str(b) if b.number else "–" for b in (status.following, status.promised)]
            upto = [str(status.committed_upto), str(status.executed_upto)]
            changed = [f"{a} {b}" for a, b in status.balances.items() if b != TEN_EACH[a]]
            marks = self.marks(replica, last_slot)
            table.append(
                [
                    replica_name(replica),
                    role,
                    *ballots,
                    *upto,
                    marks,
                    ", ".join(changed) or "10 each",
                ]
            )
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for row in table:
            padded = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
            self.lines.append("  ".join(padded).rstrip())

    def do_log(self, name: str) -> None:
        (replica,) = self._who(name)
        last_slot = self.status(replica).last_slot
        if last_slot == 0:
            self._write(replica, "holds", "nothing")
        for slot in self[replica].slots(range(1, last_slot + 1)):
            ballot = slot.ballot or ""
            text = describe_request(slot.request) if slot.request else ""
            gone = slot.mark is SlotMark.EXECUTED and slot.ballot is None
            label = "truncated" if gone else MARKS[slot.mark]
            self._write(replica, "holds", label, ballot, str(slot.slot), text)


def executed(run: Executed) -> Iterator[str]:
    """Each request with its answer: "(A, B, 3) success", "no-op"."""
    for slot, (request, answer) in enumerate(
        zip(run.requests, run.answers, strict=True), run.first_slot
    ):
        text = describe_request(request)
        if request[0] == "":
            yield text
        elif answer[3] != slot and answer[2] != SKIPPED:
            yield f"{text} {answer[2]}, as in slot {answer[3]}"
        else:
            yield f"{text} {answer[2]}"


def _commands() -> list[tuple[re.Pattern[str], Callable[..., Any]]]:
    one, some = r"(n\d+)", r"((?:n\d+ )*n\d+|all)"
    link = rf"{one}->{one}".replace(r"(n\d+)", r"(n\d+|all)")
    table = {
        rf"elect {one}": Player.do_elect,
        rf"request {some} ((?: ?\(\w+(?:, \w+, \d+)?\))+)": Player.do_request,
        rf"retry {some} (\w+)": Player.do_retry,
        r"deliver all": Player.do_deliver_all,
        rf"deliver {link}": Player.do_deliver,
        r"drop all": Player.do_drop_all,
        rf"drop {link}": Player.do_drop,
        rf"cut {link}": Player.do_cut,
        rf"mend {link}": Player.do_mend,
        rf"expire {one}": Player.do_expire,
        r"time (\d+)ms": Player.do_time,
        rf"crash {one}(?: (unnoticed|before write|after write))?": Player.do_crash,
        rf"restart {one}": Player.do_restart,
        rf"disconnect {some}": Player.do_disconnect,
        rf"reconnect {some}": Player.do_reconnect,
        rf"pause {one}": Player.do_pause,
        rf"wake {one}": Player.do_wake,
        rf"slow {one}": Player.do_slow,
        rf"answer {one}": Player.do_answer,
        r"status": Player.do_status,
        rf"log {one}": Player.do_log,
    }
    return [(re.compile(pattern), method) for pattern, method in table.items()]


COMMANDS = _commands()
