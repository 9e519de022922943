"""Was a transfer answered although no majority could have been gathered? Certain, or not said.

Votes add up over time, through third replicas and, where they may carry something, through clients.
So an answer is wrong only if no path in time leads from the first sending to a majority of
replicas, from each of them to one that counts, and from there on to the answer. Nothing is assumed
of a protocol but that a majority has to have heard of a transfer before anybody is told what it
did. Reads are left to linearizability.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bank.ballot import ReplicaId, replica_name
from bank.ledger import TRANSFER
from bank.quorum import quorum_size
from harness.check.operations import text
from harness.check.verdict import Judgement, Verdict, judge
from harness.cluster.history import Operation
from harness.cluster.journal import CLIENTS

CHECK = "no quorum, no answer"


@dataclass(frozen=True, slots=True)
class Reach:
    """Who can do what from a moment on, until the next one.

    A fault belongs to the time from when it has certainly taken effect, its end to that from when
    it was begun: who may have been reachable is.
    """

    at: int  # µs
    running: frozenset[ReplicaId]  # not killed, paused or ended
    cut: frozenset[tuple[int, int]] = frozenset()  # (sender, reader) whose messages do not arrive


def no_quorum_no_answer(
    history: Sequence[Operation],
    reach: Sequence[Reach],
    replicas: int,
    *,
    holds: bool,
    clients_carry: bool,
) -> Judgement:
    """INVALID with the first transfer that was answered without one.

    `reach` is in the order of time; before the first nothing is judged. `holds`: what is sent on a
    cut link arrives once it is whole. `clients_carry`: what one replica told a client may reach
    another through it, as through a shim; without it a client only sends its request and reads
    answers to it.
    """
    if not reach:
        return Judgement(CHECK, Verdict.NOT_ASKED, "who could reach whom was not recorded")
    problems = _unheard(history, reach, replicas, holds, clients_carry)
    return judge(CHECK, problems)


def _unheard(
    history: Sequence[Operation],
    reach: Sequence[Reach],
    replicas: int,
    holds: bool,
    clients_carry: bool,
) -> Iterator[str]:
    found: dict[tuple[int, int], frozenset[ReplicaId]] = {}
    at = 0
    sent = [
        o
        for o in history
        if o.request[2] == TRANSFER and o.is_answered and o.invoked_at is not None
    ]
    for operation in sorted(sent, key=lambda o: o.invoked_at or 0):
        first, answered_at = operation.invoked_at or 0, operation.answered_at or 0
        if first < reach[0].at:
            continue
        while at + 1 < len(reach) and reach[at + 1].at <= first:
            at += 1
        end = at
        while end + 1 < len(reach) and reach[end + 1].at <= answered_at:
            end += 1
        if (at, end) not in found:
            found[at, end] = _voters(reach[at : end + 1], replicas, holds, clients_carry)
        voters = found[at, end]
        if len(voters) < quorum_size(replicas):
            who = ", ".join(map(replica_name, sorted(voters))) or "nobody"
            yield f"{text(operation)}, when only {who} of {replicas} can have voted for it"


def _voters(
    times: Sequence[Reach], replicas: int, holds: bool, clients_carry: bool
) -> frozenset[ReplicaId]:
    """The most whose word can have come together before the client was answered."""

    def spread(start: int, since: int) -> dict[int, int]:
        return _spread(times, start, since, replicas, holds, clients_carry)

    heard = {replica: since for replica, since in spread(CLIENTS, 0).items() if replica != CLIENTS}
    reached = {replica: spread(replica, since) for replica, since in heard.items()}
    if clients_carry:  # they may count by themselves
        return frozenset(replica for replica, whom in reached.items() if CLIENTS in whom)
    most: frozenset[ReplicaId] = frozenset()
    for counts in range(1, replicas + 1):
        for at in range(len(times)):
            votes = frozenset(
                v for v, whom in reached.items() if whom.get(counts, len(times)) <= at
            )
            if len(votes) > len(most) and CLIENTS in spread(counts, at):
                most = votes
    return most


def _spread(
    times: Sequence[Reach], start: int, since: int, replicas: int, holds: bool, clients_carry: bool
) -> dict[int, int]:
    """Whom something that `start` knows in `times[since]` can reach, and when at the earliest."""
    everybody = range(replicas + 1)
    knows = {start: since}
    arrived: set[int] = set()  # at whom: read once it runs
    waiting: set[tuple[int, int]] = set()  # sent on a link that was cut
    for now in range(since, len(times)):
        running, cut = times[now].running, times[now].cut
        changed = True
        while changed:
            changed = False
            for sender in [k for k in knows if k in running or k == CLIENTS]:
                if sender == CLIENTS and sender != start and not clients_carry:
                    continue
                waiting |= {(sender, reader) for reader in everybody if reader not in knows}
            arrived |= {reader for link in waiting - cut for reader in link[1:]}
            for reader in arrived - knows.keys():
                if reader in running or reader == CLIENTS:
                    knows[reader] = now
                    changed = True
        if not holds:
            waiting.clear()  # who still runs sends it again
    return knows
