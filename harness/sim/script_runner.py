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
from bank.messages import ClientRequest, Message
from bank.sessions import Request
from bank.settings import MILLISECOND
from bank.status import Role
from harness.cluster.nemesis import Link
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


def play(path: Path) -> Iterator[Block]:
    """The blocks of a script file with what really happened, one by one."""
    return play_text(path.read_text(encoding="utf-8"), path.name)


def play_text(text: str, name: str) -> Iterator[Block]:
    """The same of a script called `name`; a violation is its last line."""
    runner: ScriptRunner | None = None
    for block in parse(text, name):
        lines: list[str] = []
        for number, command in block.commands():
            where = f"{name}:{number}"
            if command.startswith("nodes "):
                runner = started(command, where)
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


def started(head: str, where: str = "") -> "ScriptRunner":
    """The runner that a line "nodes 3 …" asks for."""
    words = head.split()
    given = dict(zip(words[::2], words[1::2], strict=False))
    try:
        return ScriptRunner(given)
    except (TypeError, ValueError, KeyError):
        raise ScriptError(f"{where}: unknown command: {head}") from None


# ---- the runner ---------------------------------------------------------------------------------


class ScriptRunner(TraceWriter):
    """Obeys commands."""

    told = ""  # the last one

    def __init__(self, given: Mapping[str, str]) -> None:
        """`given`: what the first line says, see `script_head`."""
        self._drift = [int(ppm) for ppm in given["drift"].split(",")] if "drift" in given else []
        self._is_synced = given.get("synced", "1") != "0"
        self._last: dict[str, Request] = {}  # of each client
        self._asked: dict[tuple[str, int], Request] = {}  # all, by client and timestamp
        super().__init__(
            int(given["nodes"]),
            script_head.settings(given),
            script_head.balances(given),
            seed=given.get("seed"),
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
        for pattern, kinds, obey in COMMANDS:
            if match := pattern.fullmatch(text):
                said = zip(kinds, match.groups(), strict=True)
                obey(self, *(None if word is None else KINDS[k][1](self, word) for k, word in said))
                return
        raise ScriptError(f"unknown command: {text}")

    def who(self, names: str, can_crash: bool = False) -> list[ReplicaId]:
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

    def links(self, ends: str) -> list[Link]:
        """Those of "n1->n2" or "n1->all"."""
        sources, targets = ends.split("->")
        pairs = [(s, t) for s in self.who(sources, True) for t in self.who(targets, True)]
        return [(source, to) for source, to in pairs if source != to]

    def link(self, ends: str) -> Link:
        """That of "n1->n2", whoever is crashed."""
        source, target = (self.who(name, True)[0] for name in ends.split("->"))
        return source, target

    def open_link(self, ends: str) -> Link:
        """The same, to one who hears."""
        source, target = ends.split("->")
        (sender,), (reader,) = self.who(source, True), self.who(target)
        if not self.hears(reader):
            raise ScriptError(f"{target} does not hear")
        return sender, reader

    @contextmanager
    def _without_heartbeats(self) -> Iterator[None]:
        self._hides_heartbeats = True
        yield
        self._hides_heartbeats = False

    def do_elect(self, replica: ReplicaId) -> None:
        first = len(self.lines)
        self.elect(replica)
        self.run(1)  # the first heartbeat
        del self.lines[first:]
        behind = [replica_name(r) for r in self.everyone if r != replica and self.hears(r)]
        followers = " and ".join([", ".join(behind[:-1]), behind[-1]])
        self._write(replica, f"leads {self[replica].following}; {followers} follow")

    def do_request(self, replicas: list[ReplicaId], texts: str) -> None:
        requests: list[Request] = []
        for part in texts.split(" and "):
            new = re.findall(r"(?:(\w+): )?\(([^)]*)\)", part)
            requests += (
                [self._new(client, text) for client, text in new] if new else self._old(part)
            )
        self._ask(replicas, tuple(requests))

    def _new(self, asking: str, text: str) -> Request:
        """The next request of a client: "A, B, 3", or "C", which is a read."""
        account, *rest = text.split(", ")
        client = asking or account
        timestamp = self._last[client][1] + 1 if client in self._last else 1
        made = transfer(client, rest[0], int(rest[1]), timestamp) if rest else None
        made = made or read(account, timestamp, client)
        self._last[client] = self._asked[client, timestamp] = made
        return made

    def do_retry(self, replicas: list[ReplicaId], old: str = "") -> None:
        self._ask(replicas, tuple(self._old(old)))

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

    def do_deliver(self, links: list[Link]) -> None:
        waiting = [link for link in links if self.queues[link]]
        heard = [(source, to) for source, to in waiting if self.hears(to)]
        if not waiting:
            raise ScriptError("no message is under way there")
        if not heard:
            raise ScriptError("what is under way there is for a replica that does not hear it")
        for link in heard:
            self.deliver(*link)

    def do_deliver_named(self, link: Link, name: str, older: int | None) -> None:
        self.step(link[1], self._waiting(link, name, older), link[0])

    def _waiting(self, link: Link, name: str, older: int | None) -> Message:
        """Take the message of this name that waits there."""
        if (message := self.waiting.named(link, name, older or 0)) is None:
            raise ScriptError(f"no {name} waits there")
        return message

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

    def do_again(self, link: Link, name: str, newer: int | None) -> None:
        if (message := self.waiting.again(link, name, newer or 0)) is None:
            raise ScriptError(f"no {name} was sent there")
        self.step(link[1], message, link[0])

    def do_settle(self, wanted: list[ReplicaId]) -> None:
        last = dict(self._last)
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

    def do_drop(self, links: list[Link]) -> None:
        full = [link for link in links if self.queues[link]]
        if not full:
            raise ScriptError("nothing waits there")
        for link in full:
            for message in self.queues[link]:
                self.lost(*link, message)
            self.queues[link].clear()

    def do_drop_named(self, link: Link, name: str, older: int | None) -> None:
        self.lost(*link, self._waiting(link, name, older))

    def do_expire(self, replica: ReplicaId) -> None:
        written = self.written
        self.expire(replica)
        while self[replica].role is Role.LEADER and self.written == written:
            self.expire(replica)  # it only found that it is still answered

    def do_time(self, milliseconds: int) -> None:
        with self._without_heartbeats():
            self.run(milliseconds)

    def do_seek(self, replicas: list[ReplicaId]) -> None:
        for replica in replicas:
            self.processes[replica].seek_leader()
            self._end_turn(replica)

    def do_crash(self, replica: ReplicaId, unnoticed: str | None, lost: int | None) -> None:
        self.crash(replica, unnoticed is None, lost or 0)

    def do_doom(self, replica: ReplicaId, write: str) -> None:
        self.dooms[replica] = BEFORE_WRITE if write == "before" else AFTER_WRITE

    def do_doom_after(
        self, replica: ReplicaId, acts: int, write_first: str | None, lost: int | None
    ) -> None:
        self.dooms[replica] = Doom(f"after {acts}", acts, False, bool(write_first), lost or 0)

    def do_restart(self, replica: ReplicaId) -> None:
        disk = self.processes[replica].disk
        rows, promised = disk.rows, disk.promised
        promise = f"promise {promised}" if promised.number else "no promise"
        slots = f"slots {span(min(rows), max(rows))}" if rows else "no slots"
        upto = disk.committed_upto
        self._write(replica, f"restarts with {promise}, {slots}, committed up to {upto}")
        self.restart(replica)

    def do_damage(self, replica: ReplicaId, slot: int, text: str) -> None:
        disk = self._damaged(replica)
        if slot not in disk.rows:
            raise ScriptError(f"{replica_name(replica)} stores nothing in slot {slot}")
        ballot, (client, timestamp, *_) = disk.rows[slot]
        sender, receiver, amount = text.split(", ")
        request = (client, timestamp, TRANSFER, sender, receiver, int(amount))
        disk.rows[slot] = ballot, request

    def do_damage_state(self, replica: ReplicaId, account: str, balance: int) -> None:
        disk = self._damaged(replica)
        if disk.checkpoint is None:
            raise ScriptError(f"{replica_name(replica)} stores no checkpoint")
        state = disk.checkpoint.state
        balances = Balances.of(
            {**disk.checkpoint.balances, account: balance}, state.accounts.page_accounts
        )
        disk.checkpoint = replace(disk.checkpoint, state=state._replace(pages=balances.pages))

    def _damaged(self, replica: ReplicaId) -> Disk:
        """Its disk; from now on nothing is sure."""
        self.safety = None
        return self.processes[replica].disk

    def do_answer(self, replica: ReplicaId) -> None:
        if self.processes[replica].writing is None:
            raise ScriptError(f"{replica_name(replica)} writes nothing")
        self.slow_disks.discard(replica)
        self.disk_answers(replica)

    def down(self, name: str) -> ReplicaId:
        """One whose process is not there."""
        (replica,) = self.who(name, can_crash=True)
        if self.is_running(replica):
            raise ScriptError(f"{name} is running")
        return replica


_OLD, _NEW = r"\w+(?: \d+)?(?:, \w+(?: \d+)?)*", r"(?:\w+: )?\(\w+(?:, \w+, \d+)?\)"
_PART = rf"(?:(?: ?{_NEW})+|{_OLD})"
# What commands speak of: how it is written, and as what it is read.
KINDS: dict[str, tuple[str, Callable[[ScriptRunner, str], Any]]] = {
    "one": (r"n\d+", lambda run, name: run.who(name)[0]),
    "down": (r"n\d+", ScriptRunner.down),
    "some": (r"(?:n\d+ )*n\d+|all", ScriptRunner.who),
    "each": (r"(?:n\d+ )*n\d+|all", lambda run, names: run.who(names, can_crash=True)),
    "links": (r"(?:n\d+|all)->(?:n\d+|all)", ScriptRunner.links),
    "link": (r"n\d+->n\d+", ScriptRunner.link),
    "open": (r"n\d+->n\d+", ScriptRunner.open_link),
    "number": (r"\d+", lambda _, number: int(number)),
}
TEXTS = {
    "message": r"[A-Z].*?",
    "requests": rf"{_PART}(?: and {_PART})*",
    "old": _OLD,
    "transfer": r"\w+, \w+, \d+",
    "account": r"\w+",
    "unnoticed": "unnoticed",
    "side": "before|after",
    "first": "write first",
}
KINDS |= {kind: (pattern, lambda _, text: text) for kind, pattern in TEXTS.items()}

_TABLE: dict[str, Callable[..., Any]] = {
    r"elect <one>": ScriptRunner.do_elect,
    r"request <some> <requests>": ScriptRunner.do_request,
    r"heard <some>": ScriptRunner.do_retry,
    r"retry <some> <old>": ScriptRunner.do_retry,
    r"deliver all": ScriptRunner.do_deliver_all,
    r"deliver <links>": ScriptRunner.do_deliver,
    r"deliver <open> <message>(?: \+<number>)?": ScriptRunner.do_deliver_named,
    r"again <open> <message>(?: \+<number>)?": ScriptRunner.do_again,
    r"settle <each>": ScriptRunner.do_settle,
    r"drop all": lambda run: run.do_drop(run.links("all->all")),
    r"drop <links>": ScriptRunner.do_drop,
    r"drop <link> <message>(?: \+<number>)?": ScriptRunner.do_drop_named,
    r"cut <links>": lambda run, links: run.cuts.update(links),
    r"mend <links>": lambda run, links: run.cuts.difference_update(links),
    r"expire <one>": ScriptRunner.do_expire,
    r"tick <one>": ScriptRunner.tick,
    r"time <number>ms": ScriptRunner.do_time,
    r"seek <some>": ScriptRunner.do_seek,
    r"crash <one>(?: <unnoticed>)?(?: losing <number>)?": ScriptRunner.do_crash,
    r"crash <one> <side> write": ScriptRunner.do_doom,
    r"crash <one> after <number>(?: <first>)?(?: losing <number>)?": ScriptRunner.do_doom_after,
    r"restart <down>": ScriptRunner.do_restart,
    r"damage <down> <number> \(<transfer>\)": ScriptRunner.do_damage,
    r"damage <down> <account> <number>": ScriptRunner.do_damage_state,
    r"disconnect <some>": lambda run, replicas: run.disconnect(*replicas),
    r"reconnect <some>": lambda run, replicas: run.reconnect(*replicas),
    r"pause <one>": lambda run, replica: run.paused.add(replica),
    r"wake <one>": lambda run, replica: run.paused.discard(replica),
    r"slow <one>": lambda run, replica: run.slow_disks.add(replica),
    r"answer <one>": ScriptRunner.do_answer,
    r"status": ScriptRunner.write_status,
    r"log <one>": ScriptRunner.write_log,
}


def _compiled(text: str) -> tuple[re.Pattern[str], list[str]]:
    """A command's pattern, and the kinds of what it speaks of."""
    pattern = re.sub(r"<(\w+)>", lambda kind: f"({KINDS[kind[1]][0]})", text)
    return re.compile(pattern), re.findall(r"<(\w+)>", text)


COMMANDS = [(*_compiled(text), obey) for text, obey in _TABLE.items()]
