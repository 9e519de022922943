"""Exactly-once: what the bank remembers of each client, and execution through that memory.

The table is part of the replicated state: it changes only when a slot is executed, is in every
checkpoint and survives restarts. A table that lived beside the state (in a leader's memory, say)
would let a retry pay twice (rule 6).
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from bank.accounts import Accounts
from bank.ballot import ClientId, Slot
from bank.ledger import NOOP, SKIPPED, Ledger, Result

# (client, timestamp, kind, sender, receiver, amount): a command with who asked for it and when.
# One flat tuple per slot: the same with dataclasses cost 0.6 of the throughput, not 0.2.
Request: TypeAlias = tuple[ClientId, int, str, str, str, int]

# (client, timestamp, result, slot of the first execution). What a session holds is word for word
# what a REPLY says, so executing a slot makes one tuple and no more.
Session: TypeAlias = tuple[ClientId, int, Result, Slot]

NOOP_REQUEST: Request = ("", 0, NOOP, "", "", 0)


class Machine:
    """The replicated state machine: ledger and sessions after executing slots 1..n in order."""

    __slots__ = ("ledger", "sessions")

    def __init__(self, balances: Mapping[str, int], sessions: Iterable[Session] = ()) -> None:
        self.ledger = Ledger(balances)
        self.sessions: dict[ClientId, Session] = {s[0]: s for s in sessions}

    def execute(self, first_slot: Slot, requests: Sequence[Request]) -> list[Session]:
        """Execute consecutive slots; returns one answer per slot, in slot order.

        A request seen before gives its old answer (the slot is that of its first execution), an
        older one than the client's last gives SKIPPED; neither has an effect.
        """
        sessions, apply = self.sessions, self.ledger.apply
        answers: list[Session] = []
        for slot, request in enumerate(requests, first_slot):
            client, timestamp, kind, sender, receiver, amount = request
            known = sessions.get(client)
            if known is not None and timestamp <= known[1]:
                answer = known if timestamp == known[1] else (client, timestamp, SKIPPED, slot)
            elif kind == NOOP:
                answer = (client, timestamp, SKIPPED, slot)
            else:
                answer = (client, timestamp, apply(kind, sender, receiver, amount), slot)
                sessions[client] = answer
            answers.append(answer)
        return answers

    def digest(self) -> str:
        """Of the state in its canonical encoding, without ballots (hex), from scratch."""
        ledger = self.ledger
        return digest_of(ledger.accounts, hashes_of(ledger.pages()), self.sessions.values())


def page_hash(page: bytes) -> bytes:
    """Of the balances of one page: 5 to 18 µs for 8 KiB."""
    return hashlib.sha256(page).digest()


def hashes_of(pages: Iterable[bytes]) -> list[bytes]:
    """One for each page; equal ones are hashed once."""
    known = dict[bytes, bytes]()
    hashes = []
    for page in pages:
        if (found := known.get(page)) is None:
            found = known[page] = page_hash(page)
        hashes.append(found)
    return hashes


def digest_of(accounts: Accounts, hashes: Iterable[bytes], sessions: Iterable[Session]) -> str:
    """The digest of a state (hex); `hashes` are those of its pages."""
    lines = "".join(sorted(map(encode_session, sessions)))
    clients = hashlib.sha256(lines.encode()).digest()
    return hashlib.sha256(b"".join((accounts.fingerprint, *hashes, clients))).hexdigest()


def encode_session(session: Session) -> str:
    """One line of the canonical text."""
    client, timestamp, result, slot = session
    return f"{client} {timestamp} {result} {slot}\n"
