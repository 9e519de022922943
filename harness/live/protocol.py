"""What the harness and a replica's process say to each other over the control queue.

Values are plain tuples whose first item is one of the words below. To the worker:

    (PEER, replica, incarnation)   with two descriptors: reading end, writing end of its new queues
    (READING, replica) / (WRITING, replica)
                                   with one descriptor: that end in place of one that was damaged
    (DISCONNECT,)                  answered with (CONFIRMED,) when nothing is heard any more
    (RECONNECT,)                   after a disconnect; (CONFIRMED,) after a first turn
    (RESUMED, links)               after a SIGCONT, links as they are now; (CONFIRMED,) likewise
    (SEEK,)                        see to it that there is a leader
    (ARM, ticket, point)           die at this kill point, once; None takes it back
    (LINKS, ticket, links)         from now on this befalls messages; `Links.to_plain`
    (WRITTEN, ticket)              how many bytes it put on its queues, this one not counted
    (STATUS, ticket) / (SLOTS, ticket, slots)
                                   these five are answered with (ANSWER, ticket, value)
    (GAUGES,)                      how is it? (GAUGES, values), for whom nobody waits
    (STOP,)                        end in good order

To the harness:

    (READY,)                       recovered from disk and about to take part
    (TURN, progress, executed, entries, at)  something happened in this turn, which ended then;
                                   of each run of slots (first slot, requests, results)
    (GAUGES, gauges)                    an answer, as of now
    (DAMAGED, replica, incarnation)     the queue from this replica held a malformed frame and ended

The process ends after one of these:

    (HALTED, reason)               the replica saw a contradiction
    (RAISED, reason)               the replica raised an exception: file, line and what
    (HUNG, place)                  the same, at WAKE: the line where a turn did not end
    (REFUSED, reason)              its file is damaged, gone, or not its own
    (FAILED, reason)               its disk does not take what it writes: the machine's trouble
"""

import signal
from typing import Any, NamedTuple

from bank.accounts import Accounts, Balances
from bank.ballot import Ballot
from bank.status import ReplicaStatus, Role, SlotMark, SlotStatus
from harness.cluster.blame import WrongForm

PEER, SEEK, ARM, LINKS = "peer", "seek", "arm", "links"
READING, WRITING, DAMAGED = "reading", "writing", "damaged"
DISCONNECT, RECONNECT, RESUMED = "disconnect", "reconnect", "resumed"
STATUS, SLOTS, WRITTEN, STOP = "status", "slots", "written", "stop"
GAUGES = "gauges"
READY, TURN, CONFIRMED, ANSWER = "ready", "turn", "confirmed", "answer"
WAKE = signal.SIGUSR1  # to a process that takes no turn: it says where it hangs, and ends
HALTED, RAISED, HUNG = "halted", "raised", "hung"
REFUSED, FAILED = "refused", "failed"


class Progress(NamedTuple):
    """What the harness wants to know of every replica at all times."""

    role: str  # value of a Role
    ballot: tuple[int, int]  # that it leads or follows
    answered: bool  # a leader: by a quorum
    executed_upto: int


class Gauges(NamedTuple):
    """How a replica is, for who watches it: what is too much to be told at all times."""

    at: int  # microseconds of the clock that all processes share
    committed_upto: int
    executed_upto: int
    unread_bytes: int  # arrived in its queues and not read yet
    unsent_bytes: int  # waiting for full pipes to take them
    dropped: int  # frames that did not even find room to wait, in the queues it has now


def status_to_plain(status: ReplicaStatus, accounts: Accounts) -> tuple[Any, ...]:
    """A status as plain data; raises WrongForm for balances of other accounts than these."""
    held = status.balances
    if not isinstance(held, Balances) and held.keys() == set(accounts):
        held = {name: held[name] for name in accounts}  # a table of somebody's own, in any order
    held = Balances.of(held, accounts.page_accounts)
    if held.accounts != accounts:
        raise WrongForm("status() gave balances that are not those of all accounts")
    values = {name: getattr(status, name) for name in status.__slots__}
    values["role"] = status.role.value
    values["promised"], values["following"] = tuple(status.promised), tuple(status.following)
    values["balances"] = held.pages
    return tuple(values.values())


def status_from_plain(plain: tuple[Any, ...], accounts: Accounts) -> ReplicaStatus:
    """The inverse of `status_to_plain`; names of accounts are not sent."""
    values = dict(zip(ReplicaStatus.__slots__, plain, strict=True))
    values["role"] = Role(values["role"])
    values["balances"] = Balances(accounts, tuple(values["balances"]))
    for key in ("promised", "following"):
        values[key] = Ballot(*values[key])
    return ReplicaStatus(**values)


def slots_to_plain(slots: tuple[SlotStatus, ...]) -> list[tuple[Any, ...]]:
    """Slot statuses as plain data."""
    return [
        (s.slot, s.mark.value, None if s.ballot is None else tuple(s.ballot), s.request)
        for s in slots
    ]


def slots_from_plain(plain: list[tuple[Any, ...]]) -> tuple[SlotStatus, ...]:
    """The inverse of `slots_to_plain`."""
    return tuple(
        SlotStatus(slot, SlotMark(mark), None if ballot is None else Ballot(*ballot), request)
        for slot, mark, ballot, request in plain
    )
