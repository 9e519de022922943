"""Was a transfer answered although no majority could have been gathered? Certain, or not said.

Nothing is assumed of a protocol but that a majority has to have heard of a transfer before a client
gets its result, and that whoever answers has heard from that majority. Votes add up over time,
through third replicas and, where they may carry something, through clients.

Two witnesses know who can have voted. What passed, where all of it passes the harness: then that
alone decides. And the faults, which say who could have reached whom whatever was sent: then no path
in time may lead from the first sending to a majority, and from each of them on to the one that
answers. Where only some of what passes is seen, both have to say that there was no majority. Reads
are left to linearizability.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bank.ballot import ReplicaId, replica_name
from bank.ledger import TRANSFER
from bank.quorum import quorum_size
from harness.check.operations import began, text
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
    sees_all: bool,
    holds: bool,
    clients_carry: bool,
) -> Judgement:
    """INVALID with the first transfer that was answered without one.

    `sees_all`: nothing passes but what the `voters` of operations know of; `reach` is not asked.
    Else `reach` decides, together with them where an operation has any; it is in the order of time,
    and before the first nothing is judged. `holds`: what is sent on a cut link arrives once it is
    whole. `clients_carry`: what one replica told a client may reach another through it, and it may
    count votes itself, as a shim may; without it a client only sends its request and reads answers.
    """
    if not sees_all and not reach:
        return Judgement(CHECK, Verdict.NOT_ASKED, "who could reach whom was not recorded")
    answered = [
        o
        for o in history
        if o.request[2] == TRANSFER and o.is_answered and o.invoked_at is not None
    ]
    answered.sort(key=lambda o: o.invoked_at or 0)
    since = began(history)
    problems = (
        f"{text(operation, since)}, by {replica_name(operation.answered_by)}, "
        f"when only {_names(voters)} of {replicas} can have voted for it"
        for operation, voters in (
            _by_what_passed(answered)
            if sees_all
            else _by_reach(answered, reach, replicas, holds, clients_carry)
        )
        if operation.answered_by is not None and len(voters) < quorum_size(replicas)
    )
    return judge(CHECK, problems)


def _names(voters: frozenset[ReplicaId]) -> str:
    return ", ".join(map(replica_name, sorted(voters))) or "nobody"


Found = Iterator[tuple[Operation, frozenset[ReplicaId]]]


def _by_what_passed(answered: Sequence[Operation]) -> Found:
    return ((o, o.voters) for o in answered if o.voters is not None)


def _by_reach(
    answered: Sequence[Operation],
    reach: Sequence[Reach],
    replicas: int,
    holds: bool,
    clients_carry: bool,
) -> Found:
    """The most that either witness allows."""
    known: dict[tuple[int, int, int], frozenset[ReplicaId]] = {}
    at = 0
    for operation in answered:
        first, answered_at = operation.invoked_at or 0, operation.answered_at or 0
        if first < reach[0].at or operation.answered_by is None:
            continue
        while at + 1 < len(reach) and reach[at + 1].at <= first:
            at += 1
        end = at
        while end + 1 < len(reach) and reach[end + 1].at <= answered_at:
            end += 1
        counts = CLIENTS if clients_carry else operation.answered_by
        key = at, end, counts
        if key not in known:
            times = reach[at : end + 1]
            known[key] = _voters(times, counts, replicas, holds, clients_carry)
        yield operation, max(known[key], operation.voters or frozenset(), key=len)


def _voters(
    times: Sequence[Reach], counts: int, replicas: int, holds: bool, clients_carry: bool
) -> frozenset[ReplicaId]:
    """Whose word can have come to the one who counts before the client was answered."""

    def spread(start: int, since: int) -> dict[int, int]:
        return _spread(times, start, since, replicas, holds, clients_carry)

    heard = {replica: since for replica, since in spread(CLIENTS, 0).items() if replica != CLIENTS}
    return frozenset(r for r, since in heard.items() if counts in spread(r, since))


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
