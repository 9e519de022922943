"""Our own replica behind the line protocol, for this harness from outside, or for anybody else's.

    python run.py FILE --replicas 'python -m harness.external.node'

It is the Replica that `harness.live.worker` runs in queues, here on standard input and output, with
its database in PAXBANK_DATA. Between replicas the messages are those of `harness.cluster.wire`, as
JSON under their printed names. What a backup relayed comes back through it, since a client reads
answers of whom it asked. Nobody tells of a death here: a leader that is silent is noticed by time.
"""

import argparse
import json
import os
import re
import select
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from bank.accounts import Balances
from bank.ballot import NO_BALLOT, Ballot, ReplicaId, Slot, replica_name
from bank.effects import Effects
from bank.ledger import NOOP, READ, TRANSFER, Result
from bank.messages import ClientRequest, Elected, Message, NewView, Reply
from bank.replica import CLIENT, Replica
from bank.sessions import Request
from bank.status import SlotMark, SlotStatus
from harness.cluster import wire
from harness.external.speaking.dialect import MALFORMED, NOT_SUPPORTED
from harness.files import config
from harness.live.storage import Owner, Storage

MOST_ENTRIES = 1000  # in one `log_ok`
SEEN_REQUESTS = 100_000  # whose askers are kept

Body = dict[str, Any]
_NAME = re.compile("[A-Za-z0-9_]{1,32}")  # as accounts are called in files


class Node:
    """See the module; made by the first message, `init`."""

    def __init__(
        self, init: Body, settings: config.ClusterConfig, replica_class: Callable[..., Replica]
    ) -> None:
        names, accounts = init["node_ids"], Balances.of(init["accounts"])
        self.name, self.names = init["node_id"], names
        self._numbers: dict[str, ReplicaId] = {name: at for at, name in enumerate(names, 1)}
        folder = Path(os.environ.get("PAXBANK_DATA", "."))
        file, owner = folder / f"{self.name}.db", Owner(self.name, "stdio")
        if is_new := not file.exists():
            folder.mkdir(parents=True, exist_ok=True)
            Storage.create(file, accounts, owner)
        self._storage = Storage(file, settings.durability, owner, accounts.accounts)
        self._me = self._numbers[self.name]
        self._replica = replica_class(
            self._me,
            len(names),
            settings.settings(),
            Random(),
            accounts,
            None if is_new else self._storage.found,
            _now(),
        )
        self._accounts = accounts
        self._out: list[str] = []
        # By client and timestamp: who asked, as (name, msg_id); a backup's name has no number.
        self._askers: dict[tuple[str, int], list[tuple[str, int | None]]] = {}
        self._results: dict[Slot, Result] = {}
        self._views: list[Body] = []

    def deadline(self) -> int | None:
        """When it wants to be called, in microseconds."""
        return self._replica.deadline()

    # ---- reading -------------------------------------------------------------------------------

    def take(self, source: str, body: Body) -> None:
        """One message."""
        kind = body["type"]
        if "wire" in body:
            self._take_wire(source, wire.from_plain(_tuples(body["wire"])))
        elif kind in (TRANSFER, READ):
            self._take_request(source, body)
        elif kind == "leader_ok":
            self._replica.step(CLIENT, ClientRequest(()), _now())
        elif kind == "state":
            self._answer(source, body, type="state_ok", **self._state())
        elif kind == "log":
            self._answer(source, body, type="log_ok", **self._log(body["first_slot"]))
        elif kind == "views":
            self._answer(source, body, type="views_ok", views=self._views)
        else:
            text = f"knows no {kind}"
            self._answer(source, body, type="error", code=NOT_SUPPORTED, text=text)

    def _take_wire(self, source: str, message: Message) -> None:
        if isinstance(message, Reply):  # to what was relayed
            self._reply(message)
            return
        if isinstance(message, ClientRequest):
            for request in message.requests:
                self._note_asker(request, source, None)
        if isinstance(message, NewView):
            self._note_view(message, f"from {source}")
        self._replica.step(self._numbers[source], message, _now())

    def _take_request(self, source: str, body: Body) -> None:
        try:
            request = _request(body)
        except ValueError as error:
            self._answer(source, body, type="error", code=MALFORMED, text=f"{error}")
            return
        self._note_asker(request, source, body.get("msg_id"))
        self._replica.step(CLIENT, ClientRequest((request,)), _now())

    def _note_asker(self, request: Request, name: str, message: int | None) -> None:
        if len(self._askers) >= SEEN_REQUESTS:
            self._askers.clear()  # whoever still waits asks again
        self._askers.setdefault(request[:2], []).append((name, message))

    # ---- a turn --------------------------------------------------------------------------------

    def turn(self) -> None:
        """Do what the messages since the last one, and the time, ask for."""
        replica = self._replica
        replica.tick(_now())
        effects: Effects = replica.flush()
        for first_slot, _, answers in effects.executed:
            self._results.update((slot, a[2]) for slot, a in enumerate(answers, first_slot))
        if effects.halted is not None:
            sys.stderr.write(f"{self.name} halts: {effects.halted}\n")
            raise SystemExit(1)
        for send in effects.early:
            self._send(send.to, send.message)
        if effects.elected is not None:
            self._announce(effects.elected)
        for reply in effects.replies:
            self._reply(reply)
        self.write()
        if effects.persist is not None:
            self._storage.commit(effects.persist)
        for send in effects.durable:
            self._send(send.to, send.message)
        self.write()
        if effects.persist is not None:
            self._storage.tidy()
        replica.stored()

    def _send(self, to: Sequence[ReplicaId], message: Message) -> None:
        if isinstance(message, NewView):
            self._note_view(message, "its own")
        body = {"type": message.LABEL, "wire": _lists(wire.to_plain(message))}
        for replica in to:
            self._put(replica_name(replica), body)

    def _announce(self, elected: Elected) -> None:
        told = {"type": "leader", "ballot": _ballot(elected.ballot)}
        self._put("clients", {**told, "msg_id": elected.ballot.number})

    def _reply(self, reply: Reply) -> None:
        """To whoever asked: a client, or a backup that relayed it."""
        leader = {"leader": replica_name(reply.ballot.replica)} if reply.ballot.number else {}
        for answer in reply.answers:
            client, timestamp, result, slot = answer
            for name, message in self._askers.pop((client, timestamp), ()):
                if name in self._numbers:
                    plain = _lists(wire.to_plain(Reply(reply.ballot, (answer,))))
                    self._put(name, {"type": Reply.LABEL, "wire": plain})
                    continue
                told: Body = {"in_reply_to": message, "slot": slot, **leader}
                if reply.ballot != NO_BALLOT:
                    told["ballot"] = _ballot(reply.ballot)
                if isinstance(result, int):
                    self._put(name, {"type": "read_ok", "value": result, **told})
                else:
                    self._put(name, {"type": "transfer_ok", "result": result, **told})

    # ---- what is told --------------------------------------------------------------------------

    def _state(self) -> Body:
        status = self._replica.status()
        ballot = {"ballot": _ballot(status.following)} if status.following.number else {}
        return {
            "balances": dict(status.balances),
            "executed": status.executed_upto,
            "committed": status.committed_upto,
            "role": status.role.value,
            **ballot,
        }

    def _log(self, first_slot: Slot) -> Body:
        status = self._replica.status()
        first = max(1, first_slot, status.truncated_upto + 1)
        last = min(status.last_slot, first + MOST_ENTRIES - 1)
        slots = self._replica.slots(list(range(first, last + 1)))
        entries = [self._entry(slot) for slot in slots if slot.mark is not SlotMark.NONE]
        return {"entries": entries, **({"next_slot": last + 1} if last < status.last_slot else {})}

    def _entry(self, slot: SlotStatus) -> Body:
        told: Body = {"slot": slot.slot, "status": slot.mark.value}
        if slot.ballot is not None:
            told["ballot"] = _ballot(slot.ballot)
        if slot.request is None or slot.request[2] == NOOP:
            return {**told, "type": NOOP}
        client, timestamp, kind, sender, receiver, amount = slot.request
        told |= {"client": client, "timestamp": timestamp, "type": kind}
        if kind == READ:
            told["account"] = sender
        else:
            told |= {"from": sender, "to": receiver, "amount": amount}
        result = self._results.get(slot.slot)
        return told if result is None else {**told, "result": result}

    def _note_view(self, message: NewView, text: str) -> None:
        last = message.first_slot + len(message.requests) - 1
        view = {"ballot": _ballot(message.ballot), "first_slot": message.first_slot}
        self._views.append({**view, "last_slot": last, "text": text})

    # ---- writing -------------------------------------------------------------------------------

    def _answer(self, source: str, asked: Body, **body: Any) -> None:
        self._put(source, {**body, "in_reply_to": asked.get("msg_id")})

    def _put(self, dest: str, body: Body) -> None:
        self._out.append(json.dumps({"src": self.name, "dest": dest, "body": body}))

    def write(self) -> None:
        """What was said since the last call leaves."""
        if self._out:
            sys.stdout.write("".join(f"{line}\n" for line in self._out))
            sys.stdout.flush()
            self._out.clear()


def _request(body: Body) -> Request:
    """The request of a transfer or a read; ValueError for what no file could ask for.

    Names are stored between quotes and hashed between blanks, so none may hold either; numbers have
    64 bits.
    """
    client, timestamp, kind = _name(body, "client"), _number(body, "timestamp"), body["type"]
    if kind == READ:
        return client, timestamp, READ, _name(body, "account"), "", 0
    sender, receiver = _name(body, "from"), _name(body, "to")
    return client, timestamp, TRANSFER, sender, receiver, _number(body, "amount")


def _name(body: Body, key: str) -> str:
    name = body.get(key)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{key}: expected a name of letters, digits and underscores")
    return name


def _number(body: Body, key: str) -> int:
    number = body.get(key)
    if type(number) is not int or not -(2**63) <= number < 2**63:
        raise ValueError(f"{key}: expected a whole number of 64 bits")
    return number


def _ballot(ballot: Ballot) -> list[int | str]:
    return [ballot.number, replica_name(ballot.replica)]


def _lists(plain: Any) -> Any:
    """A message for JSON, which knows no bytes."""
    if isinstance(plain, tuple):
        return [_lists(part) for part in plain]
    return {"bytes": plain.decode("latin-1")} if isinstance(plain, bytes) else plain


def _tuples(value: Any) -> Any:
    """The inverse of `_lists`."""
    if isinstance(value, list):
        return tuple(_tuples(part) for part in value)
    return value["bytes"].encode("latin-1") if isinstance(value, dict) else value


def _now() -> int:
    return time.monotonic_ns() // 1000


def main(
    arguments: Sequence[str] | None = None, replica_class: Callable[..., Replica] = Replica
) -> None:
    """Until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m harness.external.node", description=__doc__)
    parser.add_argument("--config", metavar="FILE", help="time-outs and sizes, as in cluster.yaml")
    options = parser.parse_args(arguments)
    overrides = {} if options.config is None else config.load(options.config)
    settings = config.layer(overrides)
    node: Node | None = None
    data = b""
    while True:
        due = None if node is None else node.deadline()
        wait = None if due is None else max(0.0, (due - _now()) / 1e6)
        if select.select([0], [], [], wait)[0]:
            read = os.read(0, 1 << 16)
            if not read:
                return
            *lines, data = (data + read).split(b"\n")
            for line in lines:
                message = json.loads(line)
                body = message["body"]
                if body["type"] == "init":
                    node = node or Node(body, settings, replica_class)
                    node._answer(message["src"], body, type="init_ok")
                elif node is not None:
                    node.take(message["src"], body)
        if node is not None:
            node.turn()


if __name__ == "__main__":
    main()
