"""Do all replicas have the same history, and the state that this history gives?"""

from collections.abc import Iterator, Sequence

from bank.ballot import replica_name
from harness.check.replay import Replay
from harness.check.verdict import Judgement, judge
from harness.cluster.driver import CommitLog, Liveness, ReplicaView


def agreement(log: CommitLog, replayed: Replay, views: Sequence[ReplicaView]) -> Judgement:
    """Same slot, same command; same prefix, same balances. Failed replicas count as prefixes.

    Unknown when a slot that somebody built on was reported by nobody.
    """
    unknown = ""
    if replayed.missing is not None:
        unknown = f"no replica reported what it executed in slot {replayed.missing}"
    return judge("agreement", _differences(log, replayed, views), unknown)


def _differences(log: CommitLog, replayed: Replay, views: Sequence[ReplicaView]) -> Iterator[str]:
    yield from log.contradictions
    digests: dict[int, tuple[str, str]] = {}
    for view in views:
        name, status = replica_name(view.replica), view.status
        if view.liveness is Liveness.STOPPED and status.halted is None:
            continue  # its machine failed: what is left of it is not its word
        if status.halted is not None:
            yield f"{name} stopped itself: {status.halted}"
        if status.differs is not None:
            yield f"{name}: {status.differs}"
        expected = replayed.balances_at.get(status.executed_upto)
        if expected is not None and expected != status.balances:
            yield (
                f"{name} after slot {status.executed_upto}: "
                + _first_difference(status.balances, expected)
            )
        digest, other = digests.setdefault(status.executed_upto, (status.digest, name))
        if digest != status.digest:
            yield f"{name} and {other} differ after slot {status.executed_upto}"


def _first_difference(held: dict[str, int], expected: dict[str, int]) -> str:
    for account in sorted(set(held) | set(expected)):
        if held.get(account) != expected.get(account):
            return f"{account} is {held.get(account)}, the log gives {expected.get(account)}"
    return "equal"
