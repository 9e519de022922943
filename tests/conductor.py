"""Replicas driven by hand in tests: `HandWorld`, with what only tests ask it. No checks look on."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from types import UnionType
from typing import Any

from bank.accounts import Balances
from bank.ballot import Ballot, ReplicaId, Slot
from bank.checkpoint import Checkpoint, Snapshot, sealed
from bank.effects import Effects, Pages
from bank.messages import ClientRequest, NewView
from bank.replica import CLIENT
from bank.sessions import Machine, Request, Session
from bank.settings import Settings
from bank.status import Role
from harness.sim.hand import HandWorld, read, transfer

__all__ = [
    "TEN_EACH",
    "Conductor",
    "altered",
    "follower",
    "read",
    "stored_whole",
    "take",
    "transfer",
]

TEN_EACH = dict.fromkeys("ABCDEFGHIJ", 10)


def take(slot: Slot, running_hash: str, machine: Machine) -> Checkpoint:
    """The checkpoint of a machine that executed so many slots."""
    pages, sessions = machine.ledger.pages(), tuple(machine.sessions.values())
    return sealed(Snapshot(slot, running_hash, machine.ledger.accounts, pages, sessions))


def altered(checkpoint: Checkpoint, **changes: Any) -> Checkpoint:
    """The same with another slot, running hash, balances or sessions, under the digest it has."""
    if (balances := changes.pop("balances", None)) is not None:
        page_accounts = checkpoint.state.accounts.page_accounts
        changes["pages"] = Balances.of(balances, page_accounts).pages
    return replace(checkpoint, state=checkpoint.state._replace(**changes))


def stored_whole(checkpoint: Checkpoint) -> dict[str, Any]:
    """What a Persist says that stores all of a checkpoint at once."""
    pages = Pages(checkpoint.slot, tuple(enumerate(checkpoint.state.pages)))
    return {"checkpoint": checkpoint, "pages": pages, "sessions": checkpoint.sessions}


class Conductor(HandWorld):
    """See the module."""

    def __init__(
        self,
        replicas: int = 5,
        settings: Settings | None = None,
        balances: Mapping[str, int] = TEN_EACH,
    ) -> None:
        """Replicas 1..replicas, fresh."""
        self.effects: dict[ReplicaId, list[Effects]] = {r + 1: [] for r in range(replicas)}
        self._turn: list[Effects] = []
        settings = settings or Settings()
        super().__init__(replicas, settings, balances, is_checked=False)

    @property
    def now(self):
        """Microseconds."""
        return self.time

    @now.setter
    def now(self, time):
        self.time = time

    @property
    def replicas(self):
        """Those that run."""
        return {r: p.replica for r, p in self.processes.items() if p.alive}

    @property
    def disks(self):
        """Of all."""
        return {r: p.disk for r, p in self.processes.items()}

    def flushed(self, process, effects):
        """See World."""
        super().flushed(process, effects)
        self._turn.append(effects)
        if effects != Effects() and effects.halted is None:
            self.effects[process.id].append(effects)

    def step(self, to, message, source=CLIENT) -> Effects:
        """See HandWorld; returns what the turn asked for first."""
        self._turn = []
        super().step(to, message, source)
        return self._turn[0] if self._turn else Effects()

    def request(self, to: ReplicaId | Collection[ReplicaId], *requests: Request) -> None:
        """A client sends these to one replica, or to several."""
        for replica in (to,) if isinstance(to, int) else to:
            if self.hears(replica):
                self.step(replica, ClientRequest(requests))

    def drop(self, kind: type | None = None, to: ReplicaId | None = None) -> None:
        """Lose what waits in the queues: all of it, of one kind, or to one replica."""
        for (_, receiver), queue in self.queues.items():
            if to in (None, receiver):
                kept = [m for m in queue if kind is not None and not isinstance(m, kind)]
                queue.clear()
                queue.extend(kept)

    def said(
        self, source: ReplicaId, kind: type | UnionType, to: ReplicaId | None = None
    ) -> list[Any]:
        """What `source` sent of this kind, in order, each once however many it went to."""
        found: list[Any] = []
        for sender, receiver, message in self.sent:
            wanted = sender == source and isinstance(message, kind) and to in (None, receiver)
            if wanted and not any(message is one for one in found):
                found.append(message)
        return found

    def answers(self, client: str) -> list[Session]:
        """Every answer that this client got, from whomever."""
        return [answer for _, _, answer in self.replies if answer[0] == client]

    def leaders(self) -> list[ReplicaId]:
        """Who says that it leads, among those that take part."""
        return [r for r in filter(self.hears, self.everyone) if self[r].role is Role.LEADER]

    def marks(self, replica: ReplicaId, last_slot: Slot) -> str:
        """Slots 1..last_slot as PrintStatus shows them: "EEAX"."""
        slots = self[replica].slots(range(1, last_slot + 1))
        return "".join(slot.mark.value for slot in slots)


def follower(replica: ReplicaId, replicas: int = 5) -> Conductor:
    """`replica` is settled, with n1 as its leader in (1, n1); nobody else was told anything."""
    c = Conductor(replicas)
    c.step(replica, NewView(Ballot(1, 1), 1, (), 0), source=1)
    c.drop()
    c.sent.clear()
    return c
