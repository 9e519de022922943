"""Runs scripts: replicas driven by hand, and everything they do written down for a person.

A script is blocks of commands, a line `----`, and what the replicas do then, up to an empty line:

    # leader dies before COMMIT: the first line says the situation or the bug it guards
    nodes 3                        a new cluster; `nodes 3 checkpoint 4` takes one every 4 slots,
                                     `seed 7 heartbeat_ms 20` is as in the configuration;
                                     `script_head` has what else can be said
    elect n1                       the first election, summed up in one line
    request n1 (A, B, 3) (C)       a client asks one replica, `n1 n2` or `all`; (C) is a read,
                                     A: (C) one by another client
    heard n2                       clients have heard n2's LEADER, and have nothing to ask for
    retry all A                    client A sends its last request again; `retry n1 A, B 2` is one
                                     message, of B with its second request; new and old ones in
                                     one: `request n1 (A, B, 3) and B 2 and (C)`
    deliver n1->n2                 the oldest message between the two arrives; `n1->all` and
    deliver all                      `all->n2` mean one of each; `all` means until all is silent
    deliver n1->n2 ACCEPT (1, n1) 7  the oldest one of this name; it may overtake others, and with
                                     `+2` behind it two older ones of the same name
    again n1->n2 ACCEPT (1, n1) 7    another copy of the last one that was sent before; with `+2`
                                     two later ones of the same name are passed over
    drop n1->n2                    everything between the two is lost; also `all`
    drop n1->n2 ACCEPT (1, n1) 7   this one is; named as it is for `deliver`
    cut n1->n2 / mend n1->n2       everything sent from now on is lost; no longer so
    … and read on                  the turn is not over: it goes on with the next command
    … @12.345ms                    the clock shows that much by then, if it showed less
    tick n2                        n2 looks at the clock
    expire n2                      the next timer of n2 runs out; nobody else looks at the clock
    time 300ms                     everything works for so long
    seek n1                        somebody waits for a leader
    crash n1 [unnoticed]           the process dies; unnoticed, the others are not told
    crash n1 before write          … in its next turn that stores something: what may overtake
    crash n1 after write             the write has left, what has to wait for it has not
    crash n1 after 3               … in its next turn that sends or stores something, when it did
                                     so much: the write, and each message to each replica; with
                                     `write first` behind it the write comes first
    crash n1 losing 2              it dies by a loss of power, with its last two writes
    restart n1                     a new process finds what its disk kept
    damage n1 2 (A, C, 3)          slot 2 on the disk of n1, which is down, holds another request of
    damage n1 A 9                    its client now; in its checkpoint A holds 9; nobody looks on
                                     from then on, since checks hold for sound disks only
    disconnect n1 / reconnect n1   n1 neither sends nor hears; it is back with its memory
    pause n1 / wake n1             n1 stands still while what arrives waits
    slow n1 / answer n1            writes of n1 take until its disk answers
    settle n1 n2                   all return, all is asked again, 4 s pass; cuts stay. Of these
                                     replicas each has to execute the same then, and answer all
    status, log n2                 all replicas in a table; the slots of one
    quietly …                      any command, written down nowhere

Each line of a trace: who, `<-` read from, `->` sent to or `-x` lost to whom, the message, its
ballot, its slots, the rest. `stores` is one transaction, on disk from then on; `executes` are slots
with what each answered. `deliver all` and `time` leave out turns in which a heartbeat is sent,
read or answered and nothing else happens.

`harness.sim.invariants` looks on. A violation is a line `✗ …`, with which the script is over.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from bank.accounts import Balances
from bank.ballot import ReplicaId, replica_name
from bank.ledger import TRANSFER
from bank.messages import ClientRequest
from bank.replica import Replica
from bank.sessions import Request
from bank.settings import MILLISECOND
from bank.status import Role
from harness.cluster.wording import message_name, requests_text, span
from harness.sim import script_head
from harness.sim.disk import Disk
from harness.sim.hand import AFTER_WRITE, BEFORE_WRITE, Doom, read, transfer
from harness.sim.invariants import Violation
from harness.sim.process import Process
from harness.sim.script import Block, ScriptError, parse
from harness.sim.trace_writer import TraceWriter

READ_ON = " and read on"
NOTHING = "ok"  # of a block in which nothing was written down
SETTLED_ROUNDS = 14  # of 300 ms, the time after which clients ask again


def play(path: Path, replica_class: Callable[..., Replica] = Replica) -> Iterator[Block]:
    """The blocks of a script file with what really happened, one by one."""
    return play_text(path.read_text(encoding="utf-8"), path.name, replica_class)


def play_text(
    text: str, name: str, replica_class: Callable[..., Replica] = Replica
) -> Iterator[Block]:
    """The same of a script called `name`; a violation is its last line."""
    runner: ScriptRunner | None = None
    for block in parse(text, name):
        lines: list[str] = []
        for number, command in block.commands():
            where = f"{name}:{number}"
            if command.startswith("nodes "):
                runner = started(command, replica_class, where)
                continue
            if runner is None:
                raise ScriptError(f"{where}: `nodes N` comes first, not: {command}")
            try:
                runner.command(command)
            except ScriptError as error:
                raise ScriptError(f"{where}: {error}") from None
            except Violation as violation:
                yield Block(block.head, block.line, [*lines, *runner.lines, f"✗ {violation}"])
                return
            except Exception as error:
                error.add_note(f"{where}: {command}")
                raise
            lines += runner.lines
            runner.lines.clear()
        yield Block(block.head, block.line, lines or [NOTHING])
    if runner is not None and runner.dooms:
        never = ", ".join(f"{replica_name(r)} {doom.said}" for r, doom in runner.dooms.items())
        raise ScriptError(f"{name}: never crashed: {never}")


def started(
    head: str, replica_class: Callable[..., Replica] = Replica, where: str = ""
) -> "ScriptRunner":
    """The runner that a line "nodes 3 …" asks for."""
    words = head.split()
    given = dict(zip(words[::2], words[1::2], strict=False))
    try:
        return ScriptRunner(given, replica_class)
    except (TypeError, ValueError, KeyError):
        raise ScriptError(f"{where}: unknown command: {head}") from None


# ---- the runner ---------------------------------------------------------------------------------


class ScriptRunner(TraceWriter):
    """Obeys commands."""

    told = ""  # the last one

    def __init__(self, given: Mapping[str, str], replica_class: Callable[..., Replica]) -> None:
        """`given`: what the first line says, see `script_head`."""
        self._drift = [int(ppm) for ppm in given["drift"].split(",")] if "drift" in given else []
        self._is_synced = given.get("synced", "1") != "0"
        self._last: dict[str, Request] = {}  # of each client
        self._asked: dict[tuple[str, int], Request] = {}  # all, by client and timestamp
        super().__init__(
            int(given["nodes"]),
            script_head.settings(given),
            script_head.balances(given),
            replica_class,
            given.get("seed"),
        )

    def process(self, replica: ReplicaId) -> Process:
        """See HandWorld."""
        drift = self._drift[replica - 1] if self._drift else 0
        return Process(self, replica, drift, self._is_synced)

    # ---- commands --------------------------------------------------------------------------------

    def command(self, text: str) -> None:
        """Obey one line of a script."""
        self.told = text
        if text.startswith("quietly "):
            first = len(self.lines)
            self.command(text.removeprefix("quietly "))
            del self.lines[first:]
            return
        if match := re.fullmatch(r"(.*) @([\d.]+)ms", text):
            self.time = max(self.time, round(float(match[2]) * MILLISECOND))
            text = match[1]
        self._reads_on = text.endswith(READ_ON)
        text = text.removesuffix(READ_ON)
        for pattern, method in COMMANDS:
            if match := pattern.fullmatch(text):
                method(self, *match.groups())
                return
        raise ScriptError(f"unknown command: {text}")

    def _who(self, names: str, can_crash: bool = False) -> list[ReplicaId]:
        """The replicas of "n1", "n1 n2" or "all", all of them running unless `can_crash`."""
        if names == "all":
            return [r for r in self.everyone if can_crash or self.is_running(r)]
        found = [int(name[1:]) for name in names.split()]
        for replica in found:
            if replica not in self.everyone:
                known = f"expected n1..n{len(self.everyone)}"
                raise ScriptError(f"there is no {replica_name(replica)}, {known}")
            if not can_crash and not self.is_running(replica):
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
        behind = [replica_name(r) for r in self.everyone if r != replica and self.hears(r)]
        followers = " and ".join([", ".join(behind[:-1]), behind[-1]])
        self._write(replica, f"leads {self[replica].following}; {followers} follow")

    def do_request(self, names: str, texts: str) -> None:
        requests: list[Request] = []
        for part in texts.split(" and "):
            new = re.findall(r"(?:(\w+): )?\(([^)]*)\)", part)
            requests += (
                [self._new(client, text) for client, text in new] if new else self._old(part)
            )
        self._ask(self._who(names), tuple(requests))

    def _new(self, asking: str, text: str) -> Request:
        """The next request of a client: "A, B, 3", or "C", which is a read."""
        account, *rest = text.split(", ")
        client = asking or account
        timestamp = self._last[client][1] + 1 if client in self._last else 1
        made = transfer(client, rest[0], int(rest[1]), timestamp) if rest else None
        made = made or read(account, timestamp, client)
        self._last[client] = self._asked[client, timestamp] = made
        return made

    def do_heard(self, name: str) -> None:
        self._ask(self._who(name), ())

    def do_retry(self, names: str, old: str) -> None:
        self._ask(self._who(names), tuple(self._old(old)))

    def _old(self, texts: str) -> Iterator[Request]:
        """The requests of "A, B 2": the last of client A, the second of B."""
        for client, _, number in (text.partition(" ") for text in texts.split(", ") if text):
            last = self._last.get(client)
            request = self._asked.get((client, int(number))) if number else last
            if request is None:
                raise ScriptError(f"client {client} asked for nothing yet")
            yield request

    def _ask(self, replicas: list[ReplicaId], requests: tuple[Request, ...]) -> None:
        for replica in filter(self.hears, replicas):
            self.step(replica, ClientRequest(requests))

    def do_deliver(self, sources: str, targets: str) -> None:
        waiting = [link for link in self._links(sources, targets) if self.queues[link]]
        heard = [(source, to) for source, to in waiting if self.hears(to)]
        if not waiting:
            raise ScriptError("no message is under way there")
        if not heard:
            raise ScriptError("what is under way there is for a replica that does not hear it")
        for link in heard:
            self.deliver(*link)

    def do_deliver_named(self, source: str, target: str, name: str, older: str | None) -> None:
        link = self._link(source, target)
        message = self.waiting.named(link, name, int(older or 0))
        if message is None:
            raise ScriptError(f"no {name} waits there")
        self.step(link[1], message, link[0])

    def alike(self, command: str) -> str | None:
        """`command` with the oldest message of its kind that waits there, when its own does not.

        For who leaves out commands: without an earlier request, later ones get other slots.
        """
        match = re.fullmatch(
            r"(deliver n(\d+)->n(\d+) )([A-Z-]+)( .*?)?((?: and read on)?(?: @.*)?)", command
        )
        if match is None:
            return None
        for message in self.queues[int(match[2]), int(match[3])]:
            if match[4] == message.LABEL:
                return f"{match[1]}{message_name(message)}{match[6]}"
        return None

    def do_again(self, source: str, target: str, name: str, newer: str | None) -> None:
        link = self._link(source, target)
        message = self.waiting.again(link, name, int(newer or 0))
        if message is None:
            raise ScriptError(f"no {name} was sent there")
        self.step(link[1], message, link[0])

    def _link(self, source: str, target: str) -> tuple[ReplicaId, ReplicaId]:
        (sender,), (reader,) = self._who(source, True), self._who(target)
        if not self.hears(reader):
            raise ScriptError(f"{target} does not hear")
        return sender, reader

    def do_settle(self, names: str) -> None:
        wanted, last = self._who(names, True), dict(self._last)
        for replica in self.everyone:
            if not self.is_running(replica):
                self.restart(replica)
            if replica in self.away:
                self.reconnect(replica)
        self.paused.clear()
        with self._without_heartbeats():
            for _ in range(SETTLED_ROUNDS):
                done = {(answer[0], answer[1]) for _, _, answer in self.replies}
                open_ = [r for r in last.values() if (r[0], r[1]) not in done]
                self._ask(list(self.everyone), tuple(open_)) if open_ else None
                self.run(300)
        if open_:
            raise Violation(f"not answered: {requests_text(tuple(open_))}")
        executed = {replica_name(r): self.status(r).executed_upto for r in wanted}
        if len(set(executed.values())) > 1:
            raise Violation(f"replicas are not equal 4 s after all faults stopped: {executed}")

    def do_deliver_all(self) -> None:
        with self._without_heartbeats():
            self.deliver_all()

    def do_drop(self, sources: str, targets: str) -> None:
        links = [link for link in self._links(sources, targets) if self.queues[link]]
        if not links:
            raise ScriptError("nothing waits there")
        for source, to in links:
            for message in self.queues[source, to]:
                self.lost(source, to, message)
            self.queues[source, to].clear()

    def do_drop_named(self, source: str, target: str, name: str, older: str | None) -> None:
        (sender,), (reader,) = self._who(source, True), self._who(target, True)
        message = self.waiting.named((sender, reader), name, int(older or 0))
        if message is None:
            raise ScriptError(f"no {name} waits there")
        self.lost(sender, reader, message)

    def do_drop_all(self) -> None:
        self.do_drop("all", "all")

    def do_cut(self, sources: str, targets: str) -> None:
        self.cuts.update(self._links(sources, targets))

    def do_mend(self, sources: str, targets: str) -> None:
        self.cuts.difference_update(self._links(sources, targets))

    def do_expire(self, name: str) -> None:
        (replica,), written = self._who(name), self.written
        self.expire(replica)
        while self[replica].role is Role.LEADER and self.written == written:
            self.expire(replica)  # it only found that it is still answered

    def do_tick(self, name: str) -> None:
        self.tick(*self._who(name))

    def do_time(self, milliseconds: str) -> None:
        with self._without_heartbeats():
            self.run(int(milliseconds))

    def do_seek(self, name: str) -> None:
        for replica in self._who(name):
            self.processes[replica].seek_leader()
            self._end_turn(replica)

    def do_crash(self, name: str, unnoticed: str | None, lost: str | None) -> None:
        (replica,) = self._who(name)
        self.crash(replica, unnoticed is None, int(lost or 0))

    def do_doom(self, name: str, write: str) -> None:
        (replica,) = self._who(name)
        self.dooms[replica] = BEFORE_WRITE if write == "before" else AFTER_WRITE

    def do_doom_after(
        self, name: str, acts: str, write_first: str | None, lost: str | None
    ) -> None:
        (replica,) = self._who(name)
        words = f"after {acts}"
        self.dooms[replica] = Doom(words, int(acts), False, bool(write_first), int(lost or 0))

    def do_restart(self, name: str) -> None:
        (replica,) = self._who(name, can_crash=True)
        if self.is_running(replica):
            raise ScriptError(f"{name} is running")
        disk = self.processes[replica].disk
        rows, promised = disk.rows, disk.promised
        promise = f"promise {promised}" if promised.number else "no promise"
        slots = f"slots {span(min(rows), max(rows))}" if rows else "no slots"
        upto = disk.committed_upto
        self._write(replica, f"restarts with {promise}, {slots}, committed up to {upto}")
        self.restart(replica)

    def do_damage(self, name: str, slot: str, text: str) -> None:
        disk = self._damaged(name)
        if int(slot) not in disk.rows:
            raise ScriptError(f"{name} stores nothing in slot {slot}")
        ballot, (client, timestamp, *_) = disk.rows[int(slot)]
        sender, receiver, amount = text.split(", ")
        request = (client, timestamp, TRANSFER, sender, receiver, int(amount))
        disk.rows[int(slot)] = ballot, request

    def do_damage_state(self, name: str, account: str, balance: str) -> None:
        disk = self._damaged(name)
        if disk.checkpoint is None:
            raise ScriptError(f"{name} stores no checkpoint")
        state = disk.checkpoint.state
        balances = Balances.of(
            {**disk.checkpoint.balances, account: int(balance)}, state.accounts.page_accounts
        )
        disk.checkpoint = replace(disk.checkpoint, state=state._replace(pages=balances.pages))

    def _damaged(self, name: str) -> Disk:
        """The disk of one that is down, where from now on nothing is sure."""
        (replica,) = self._who(name, can_crash=True)
        if self.is_running(replica):
            raise ScriptError(f"{name} is running")
        self.safety = None
        return self.processes[replica].disk

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
        if self.processes[replica].writing is None:
            raise ScriptError(f"{name} writes nothing")
        self.slow_disks.discard(replica)
        self.disk_answers(replica)

    def do_log(self, name: str) -> None:
        (replica,) = self._who(name)
        self.write_log(replica)


def _commands() -> list[tuple[re.Pattern[str], Callable[..., Any]]]:
    one, some = r"(n\d+)", r"((?:n\d+ )*n\d+|all)"
    old = r"(\w+(?: \d+)?(?:, \w+(?: \d+)?)*)"
    link = rf"{one}->{one}".replace(r"(n\d+)", r"(n\d+|all)")
    asked = r"(?:\w+: )?\(\w+(?:, \w+, \d+)?\)"
    part = rf"(?:(?: ?{asked})+|{old[1:-1]})"
    table: dict[str, Callable[..., Any]] = {
        rf"elect {one}": ScriptRunner.do_elect,
        rf"request {some} ({part}(?: and {part})*)": ScriptRunner.do_request,
        rf"heard {one}": ScriptRunner.do_heard,
        rf"retry {some} {old}": ScriptRunner.do_retry,
        r"deliver all": ScriptRunner.do_deliver_all,
        rf"deliver {link}": ScriptRunner.do_deliver,
        rf"deliver {one}->{one} ([A-Z].*?)(?: \+(\d+))?": ScriptRunner.do_deliver_named,
        rf"again {one}->{one} ([A-Z].*?)(?: \+(\d+))?": ScriptRunner.do_again,
        rf"settle {some}": ScriptRunner.do_settle,
        r"drop all": ScriptRunner.do_drop_all,
        rf"drop {link}": ScriptRunner.do_drop,
        rf"drop {one}->{one} ([A-Z].*?)(?: \+(\d+))?": ScriptRunner.do_drop_named,
        rf"cut {link}": ScriptRunner.do_cut,
        rf"mend {link}": ScriptRunner.do_mend,
        rf"expire {one}": ScriptRunner.do_expire,
        rf"tick {one}": ScriptRunner.do_tick,
        r"time (\d+)ms": ScriptRunner.do_time,
        rf"seek {some}": ScriptRunner.do_seek,
        rf"crash {one}(?: (unnoticed))?(?: losing (\d+))?": ScriptRunner.do_crash,
        rf"crash {one} (before|after) write": ScriptRunner.do_doom,
        rf"crash {one} after (\d+)( write first)?(?: losing (\d+))?": ScriptRunner.do_doom_after,
        rf"restart {one}": ScriptRunner.do_restart,
        rf"damage {one} (\d+) \((\w+, \w+, \d+)\)": ScriptRunner.do_damage,
        rf"damage {one} (\w+) (\d+)": ScriptRunner.do_damage_state,
        rf"disconnect {some}": ScriptRunner.do_disconnect,
        rf"reconnect {some}": ScriptRunner.do_reconnect,
        rf"pause {one}": ScriptRunner.do_pause,
        rf"wake {one}": ScriptRunner.do_wake,
        rf"slow {one}": ScriptRunner.do_slow,
        rf"answer {one}": ScriptRunner.do_answer,
        r"status": ScriptRunner.write_status,
        rf"log {one}": ScriptRunner.do_log,
    }
    return [(re.compile(pattern), method) for pattern, method in table.items()]


COMMANDS = _commands()
