"""Plays scripts: replicas driven by hand, and everything they do written down for a person.

A script is blocks of commands, a line `----`, and what the replicas do then, up to an empty line:

    # leader dies before COMMIT: the first line says the situation or the bug it guards
    nodes 3                        a new cluster; `nodes 3 checkpoint 4` takes one every 4 slots,
                                     `seed 7 heartbeat_ms 20` is as in the configuration
    elect n1                       the first election, summed up in one line
    request n1 (A, B, 3) (C)       a client asks one replica, `n1 n2` or `all`; (C) is a read,
                                     A: (C) one by another client
    retry all A                    client A sends its last request again; `retry n1 A, B 2` is one
                                     message, of B with its second request; also after new ones:
                                     `request n1 (A, B, 3) and B 2`
    deliver n1->n2                 the oldest message between the two arrives; `n1->all` and
    deliver all                      `all->n2` mean one of each; `all` means until all is silent
    deliver n1->n2 ACCEPT (1, n1) 7  the oldest one of this name; it may overtake others, and with
                                     `+2` behind it two older ones of the same name
    again n1->n2 ACCEPT (1, n1) 7    another copy of one that was sent before
    drop n1->n2                    everything between the two is lost; also `all`
    cut n1->n2 / mend n1->n2       everything sent from now on is lost; no longer so
    … and read on                  the turn is not over: it goes on with the next command
    … @12.345ms                    the clock shows that much by then, if it showed less
    tick n2                        n2 looks at the clock
    expire n2                      the next timer of n2 runs out; nobody else looks at the clock
    time 300ms                     everything works for so long
    crash n1 [unnoticed]           the process dies; unnoticed, the others are not told
    crash n1 before write          … in its next turn that stores something: what may overtake
    crash n1 after write             the write has left, what has to wait for it has not
    restart n1                     a new process finds what its disk kept
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

from bank.ballot import ReplicaId, replica_name
from bank.messages import ClientRequest
from bank.replica import Replica
from bank.sessions import Request
from bank.settings import MILLISECOND, Settings
from bank.status import Role, SlotMark
from harness.cluster.wording import message_name, request_text, requests_text, span
from harness.files.config import ClusterConfig
from harness.sim.conductor import read, transfer
from harness.sim.invariants import Violation
from harness.sim.script import Block, ScriptError, parse
from harness.sim.telling import TEN_EACH, Teller

READ_ON = " and read on"
NOTHING = "ok"  # of a block in which nothing was written down
SETTLED_ROUNDS = 14  # of 300 ms, the time after which clients ask again
MARKS = {
    SlotMark.NONE: "nothing",
    SlotMark.ACCEPTED: "accepted",
    SlotMark.COMMITTED: "committed",
    SlotMark.EXECUTED: "executed",
}


def play(path: Path, replica_class: Callable[..., Replica] = Replica) -> Iterator[Block]:
    """The blocks of a script file with what really happened, one by one."""
    return play_text(path.read_text(encoding="utf-8"), path.name, replica_class)


def play_text(
    text: str, name: str, replica_class: Callable[..., Replica] = Replica
) -> Iterator[Block]:
    """The same of a script called `name`; a violation is its last line."""
    player: Player | None = None
    for block in parse(text, name):
        lines: list[str] = []
        for number, command in block.commands():
            where = f"{name}:{number}"
            if command.startswith("nodes "):
                player = started(command, replica_class, where)
                continue
            if player is None:
                raise ScriptError(f"{where}: `nodes N` comes first, not: {command}")
            try:
                player.command(command)
            except ScriptError as error:
                raise ScriptError(f"{where}: {error}") from None
            except Violation as violation:
                yield Block(block.head, block.line, [*lines, *player.lines, f"✗ {violation}"])
                return
            except Exception as error:
                error.add_note(f"{where}: {command}")
                raise
            lines += player.lines
            player.lines.clear()
        yield Block(block.head, block.line, lines or [NOTHING])
    if player is not None and player.to_die:
        never = ", ".join(f"{replica_name(r)} {when} write" for r, when in player.to_die.items())
        raise ScriptError(f"{name}: never crashed: {never}")


# What holds unless a script says otherwise. Nothing is put off: a story is read step after step.
PLAIN = ClusterConfig(spare_pause_ms=0, spare_after_slots=0, learn_slots=1)


def started(
    head: str, replica_class: Callable[..., Replica] = Replica, where: str = ""
) -> "Player":
    """The player that a line "nodes 3 …" asks for."""
    words = head.split()
    given = dict(zip(words[::2], words[1::2], strict=False))
    try:
        settings, seed = _settings(given), int(given["seed"]) if "seed" in given else None
        return Player(int(given["nodes"]), settings, replica_class, seed)
    except (TypeError, ValueError, KeyError):
        raise ScriptError(f"{where}: unknown command: {head}") from None


def _settings(given: Mapping[str, str]) -> Settings:
    """Keys of the configuration, or `checkpoint 4`: one every 4 slots, and nothing is kept.

    The others are as in PLAIN.
    """
    keys: dict[str, Any] = {}
    if "checkpoint" in given:
        interval = int(given["checkpoint"])
        keys |= {"checkpoint_interval": interval, "checkpoint_pause_ms": 0, "keep_slots": 0}
    for key, value in given.items():
        if key not in ("nodes", "seed", "checkpoint"):
            low, _, high = value.partition("-")
            keys[key] = (int(low), int(high)) if high else int(low)
    return replace(PLAIN, **keys).settings()


# ---- the player ---------------------------------------------------------------------------------


class Player(Teller):
    """Obeys commands."""

    told = ""  # the last one

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
            self.now = max(self.now, round(float(match[2]) * MILLISECOND))
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

    def do_request(self, names: str, texts: str, old: str | None) -> None:
        requests = []
        for asking, text in re.findall(r"(?:(\w+): )?\(([^)]*)\)", texts):
            account, *rest = text.split(", ")
            client = asking or account
            timestamp = self._last[client][1] + 1 if client in self._last else 1
            made = transfer(client, rest[0], int(rest[1]), timestamp) if rest else None
            made = made or read(account, timestamp, client)
            self._last[client] = self._asked[client, timestamp] = made
            requests.append(made)
        self._ask(self._who(names), (*requests, *self._old(old or "")))

    def do_retry(self, names: str, old: str) -> None:
        self._ask(self._who(names), self._old(old))

    def _old(self, texts: str) -> tuple[Request, ...]:
        """The requests of "A, B 2": the last of client A, the second of B."""
        found = []
        for client, _, number in (text.partition(" ") for text in texts.split(", ") if text):
            last = self._last.get(client)
            request = self._asked.get((client, int(number))) if number else last
            if request is None:
                raise ScriptError(f"client {client} asked for nothing yet")
            found.append(request)
        return tuple(found)

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

    def do_deliver_named(self, source: str, target: str, name: str, older: str | None) -> None:
        link = self._link(source, target)
        queue, left = self.queues[link], int(older or 0)
        for at, message in enumerate(queue):
            if message_name(message) == name:
                if not left:
                    del queue[at]
                    self.step(link[1], message, link[0])
                    return
                left -= 1
        raise ScriptError(f"no {name} waits there")

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

    def do_again(self, source: str, target: str, name: str) -> None:
        link = self._link(source, target)
        for *sent_on, message in reversed(self.sent):
            if tuple(sent_on) == link and message_name(message) == name:
                self.step(link[1], message, link[0])
                return
        raise ScriptError(f"no {name} was sent there")

    def _link(self, source: str, target: str) -> tuple[ReplicaId, ReplicaId]:
        (sender,), (reader,) = self._who(source, True), self._who(target)
        if not self._hears(reader):
            raise ScriptError(f"{target} does not hear")
        return sender, reader

    def do_settle(self, names: str) -> None:
        wanted, last = self._who(names, True), dict(self._last)
        for replica in self.everyone:
            if replica not in self.replicas:
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

    def do_tick(self, name: str) -> None:
        self.tick(*self._who(name))

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
            text = request_text(slot.request) if slot.request else ""
            gone = slot.mark is SlotMark.EXECUTED and slot.ballot is None
            label = "truncated" if gone else MARKS[slot.mark]
            self._write(replica, "holds", label, ballot, str(slot.slot), text)


def _commands() -> list[tuple[re.Pattern[str], Callable[..., Any]]]:
    one, some = r"(n\d+)", r"((?:n\d+ )*n\d+|all)"
    old = r"(\w+(?: \d+)?(?:, \w+(?: \d+)?)*)"
    link = rf"{one}->{one}".replace(r"(n\d+)", r"(n\d+|all)")
    asked = r"(?:\w+: )?\(\w+(?:, \w+, \d+)?\)"
    table: dict[str, Callable[..., Any]] = {
        rf"elect {one}": Player.do_elect,
        rf"request {some} ((?: ?{asked})+)(?: and {old})?": Player.do_request,
        rf"retry {some} {old}": Player.do_retry,
        r"deliver all": Player.do_deliver_all,
        rf"deliver {link}": Player.do_deliver,
        rf"deliver {one}->{one} ([A-Z].*?)(?: \+(\d+))?": Player.do_deliver_named,
        rf"again {one}->{one} ([A-Z].*)": Player.do_again,
        rf"settle {some}": Player.do_settle,
        r"drop all": Player.do_drop_all,
        rf"drop {link}": Player.do_drop,
        rf"cut {link}": Player.do_cut,
        rf"mend {link}": Player.do_mend,
        rf"expire {one}": Player.do_expire,
        rf"tick {one}": Player.do_tick,
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
