"""Do reads ask more of the requests without an answer than these can have moved? A proof, if so.

Each read of an account says how much the unanswered ones have to have moved there by then: what it
read, less what every answer before it tells, give or take what overlaps it. From read to read that
sum has to go up and down, if only as far as it must; and no request moves its amount twice. So
there is no order where more has to have come in, or gone out, than all unanswered requests together
could bring or take. That is linear, whatever their number, and finds what is wrong by far, or again
and again; what few of them could explain it leaves to the searches.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from harness.check.operations import Op, text


class _Sum:
    """Of amounts, up to a time."""

    def __init__(self, parts: Iterable[tuple[int, int]]) -> None:
        """Of (time, amount)."""
        ordered = sorted(parts)
        self._times = [at for at, _ in ordered]
        self._sums = [0, *accumulate(amount for _, amount in ordered)]

    def before(self, at: int) -> int:
        return self._sums[bisect_left(self._times, at)]

    def upto(self, at: int) -> int:
        return self._sums[bisect_right(self._times, at)]


@dataclass(frozen=True, slots=True)
class Overdrawn:
    """A read that no order explains, and why."""

    read: Op
    reason: str


def overdrawn(balances: Mapping[str, int], ops: Sequence[Op], since: int) -> Overdrawn | None:
    """The first of an account that is found, in times from `since` on; None proves nothing."""
    reads: dict[str, list[Op]] = {account: [] for account in balances}
    moves: dict[str, list[tuple[Op, int]]] = {account: [] for account in balances}
    for op in ops:
        if op.moves:
            moves[op.account].append((op, -op.moves))
            moves[op.other].append((op, op.moves))
        elif op.low == op.high and op.answered_at is not None:
            reads[op.account].append(op)
    found = (_of_account(balances[a], reads[a], moves[a], since) for a in balances)
    return next(filter(None, found), None)


def _of_account(
    base: int, reads: Sequence[Op], moves: Sequence[tuple[Op, int]], since: int
) -> Overdrawn | None:
    in_, out = [(op, by) for op, by in moves if by > 0], [(op, by) for op, by in moves if by < 0]
    sent_in, sent_out = map(_sent, (in_, out))
    done_in, done_out = map(_answered, (in_, out))
    may_come, may_go = map(_unanswered, (in_, out))
    moved = came = went = 0  # by unanswered ones, as little as can be
    latest = -1
    for read in sorted(reads, key=lambda op: op.answered_at or 0):
        until = read.answered_at
        assert until is not None
        if read.invoked_at <= latest:
            continue  # in which order it and the one before it were done is not known
        latest = until
        surely_in, surely_out = done_in.before(read.invoked_at), done_out.before(read.invoked_at)
        left = int(read.low) - base - surely_in - surely_out
        least = left - (sent_in.upto(until) - surely_in)
        most = left - (sent_out.upto(until) - surely_out)
        came += max(0, least - moved)
        went += max(0, moved - most)
        moved = min(max(moved, least), most)
        for needed, there, what in (
            (came, may_come.upto(until), "brought"),
            (went, -may_go.upto(until), "taken"),
        ):
            if needed > there:
                reason = (
                    f"no order explains {text(read.source, since)}: the reads of {read.account} up "
                    f"to then take {needed} that no answer tells of, and all requests without one "
                    f"can have {what} {there}"
                )
                return Overdrawn(read, reason)
    return None


def _sent(moves: Iterable[tuple[Op, int]]) -> _Sum:
    return _Sum((op.invoked_at, by) for op, by in moves if op.answered_at is not None)


def _answered(moves: Iterable[tuple[Op, int]]) -> _Sum:
    return _Sum((op.answered_at, by) for op, by in moves if op.answered_at is not None)


def _unanswered(moves: Iterable[tuple[Op, int]]) -> _Sum:
    return _Sum((op.invoked_at, by) for op, by in moves if op.answered_at is None)
