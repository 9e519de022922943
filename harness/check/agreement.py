"""Do all replicas have the same history, and the state that this history gives?"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, pairwise

from bank.ballot import NO_BALLOT, replica_name
from bank.quorum import quorum_size
from bank.status import ReplicaStatus
from harness.check.replay import Replay, State, own_word
from harness.check.verdict import Judgement, judge
from harness.cluster.driver import CommitLog, ReplicaView
from harness.cluster.history import Operation
from harness.cluster.journal import Liveness


def agreement(
    log: CommitLog,
    replayed: Replay,
    history: Sequence[Operation],
    views: Sequence[ReplicaView] | None,
) -> Judgement:
    """Same slot, same command; same prefix, same state. Failed replicas count as prefixes.

    Everything that was executed or answered is held by a quorum. `views` are those of all replicas;
    None: there are none, and only what was reported is judged. Unknown when a slot that somebody
    built on was reported by nobody, or when nobody was looked at.
    """
    seen = views or ()
    problems = chain(_differences(log, replayed, seen), _unheld(log, replayed, history, seen))
    return judge("agreement", problems, _unknown(replayed, views))


def _unknown(replayed: Replay, views: Sequence[ReplicaView] | None) -> str:
    if replayed.missing is not None:
        return f"no replica reported what it executed in slot {replayed.missing}"
    if views is None:
        return replayed.unknown
    numbers = {view.replica for view in views}
    for replica in range(1, max(numbers, default=1) + 1):
        if replica not in numbers:
            return f"the state of {replica_name(replica)} was not looked at"
    if not any(map(own_word, views)):
        return "no replica has a state to look at"
    for view in views:
        slot = view.status.executed_upto
        if own_word(view) and slot < replayed.begins_at and slot not in replayed.states:
            return (
                f"an earlier run left {replica_name(view.replica)} at slot {slot}, and the disks "
                f"tell only what followed slot {replayed.begins_at}: whether it agrees is not "
                "known; it can be judged once it was live in a set, and caught up"
            )
    return ""


def _differences(log: CommitLog, replayed: Replay, views: Sequence[ReplicaView]) -> Iterator[str]:
    yield from log.contradictions
    yield from replayed.flaws
    seen: dict[int, tuple[tuple[str, str], str]] = {}  # by slot: what the first one there has
    digests: dict[int, str] = {}  # by slot: what the log gives
    for view in views:
        name, status = replica_name(view.replica), view.status
        if not own_word(view):
            continue
        if status.halted is not None:
            yield f"{name} stopped itself: {status.halted}"
        if status.differs is not None:
            yield f"{name}: {status.differs}"
        yield from (f"{name} {problem}" for problem in _out_of_order(status))
        slot = status.executed_upto
        if (expected := replayed.states.get(slot)) is not None:
            if slot not in digests:
                digests[slot] = expected.digest(replayed.accounts)
            yield from (
                f"{name} after slot {slot}: {problem}"
                for problem in _unlike(status, expected, digests[slot])
            )
        mine = status.digest, status.running_hash
        other, other_name = seen.setdefault(slot, (mine, name))
        if mine != other:
            yield f"{name} and {other_name} differ after slot {slot}"


def _out_of_order(status: ReplicaStatus) -> Iterator[str]:
    """Watermarks: what is gone was kept in a checkpoint, what was executed was committed."""
    marks = (
        ("truncated up to", status.truncated_upto),
        ("has a checkpoint at", status.checkpoint),
        ("executed up to", status.executed_upto),
        ("committed up to", status.committed_upto),
        ("holds slots up to", status.last_slot),
    )
    for (low, lower), (high, higher) in pairwise(marks):
        if lower > higher:
            yield f"{low} {lower}, but {high} {higher}"


def _unlike(status: ReplicaStatus, expected: State, digest: str) -> Iterator[str]:
    """How a state differs from the one that the log gives."""
    if status.balances != expected.balances:
        yield _first_difference(status.balances, expected.balances)
    sessions = {session[0]: session for session in status.sessions}
    for client in sorted({*sessions, *expected.sessions}):
        held, right = sessions.get(client), expected.sessions.get(client)
        if held != right:
            yield f"the session of {client} is {held}, the log gives {right}"
    if len(status.sessions) != len(sessions):
        yield "a client has two sessions"
    if status.digest != digest:
        yield f"the digest is {status.digest[:12]}, the log gives {digest[:12]}"
    if expected.running_hash not in (None, status.running_hash):
        yield (
            f"the running hash is {status.running_hash[:12]}, "
            f"the log gives {expected.running_hash[:12]}"
        )


def _first_difference(held: Mapping[str, int], expected: Mapping[str, int]) -> str:
    for account in sorted(set(held) | set(expected)):
        if held.get(account) != expected.get(account):
            return f"{account} is {held.get(account)}, the log gives {expected.get(account)}"
    return "equal"


def _unheld(
    log: CommitLog,
    replayed: Replay,
    history: Sequence[Operation],
    views: Sequence[ReplicaView],
) -> Iterator[str]:
    """What a quorum has to have on disk before it shows: chosen slots, and the leader's ballot.

    Whose disk or memory was not looked at may have it: a paused process, a failed machine.
    """
    if not views:
        return
    last = max(log.slots, default=replayed.begins_at)
    claims = {last: f"slot {last} was executed"}
    for operation in history:
        if operation.is_answered and operation.slot is not None:
            claims.setdefault(operation.slot, f"slot {operation.slot} was answered")
    slot = max(claims)
    yield from _too_few(views, lambda s: s.last_slot >= slot, claims[slot], "hold it")
    ballot = max((o.ballot for o in history if o.ballot is not None), default=NO_BALLOT)
    told = f"a replica that follows {ballot} answered"
    yield from _too_few(views, lambda s: s.promised >= ballot, told, "have promised it")


def _too_few(
    views: Sequence[ReplicaView], has: Callable[[ReplicaStatus], bool], told: str, what: str
) -> Iterator[str]:
    having = [
        replica_name(view.replica)
        for view in views
        if view.liveness is Liveness.PAUSED or not own_word(view) or has(view.status)
    ]
    if len(having) < quorum_size(len(views)):
        names = ", ".join(having) or "nobody"
        yield f"{told}, and of {len(views)} replicas only {names} may {what}"
