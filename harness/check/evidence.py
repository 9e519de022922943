"""Makes a contradiction small: a window before the failure, one account, and few operations."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.check.contradiction import SHOWN, Contradiction
from harness.check.operations import Event, Op, events_of
from harness.check.search import BudgetSpent, Search

EVIDENCE_BUDGET = 2_000  # configurations for each of
ATTEMPTS = 100  # to make the evidence smaller, and fewer when
EVIDENCE_OPERATIONS = 500_000  # are read by then
READS = 20  # of an account that are tried as the beginning
MOST_BEGINNINGS = 64  # balances that an account may have had before
_OUTSIDE = ""  # stands for every account that a piece of evidence leaves out


def evidence(balances: Mapping[str, int], events: Sequence[Event], failed_at: int) -> Contradiction:
    """The smallest set of operations found that no order explains.

    It ends with the answer that failed. Where an account alone shows it, it begins with an earlier
    look at that account, whatever came before; else at a moment when all orders agreed. Then
    constraints are taken away while the rest still has no order: accounts first, then operations
    that move nothing. What is left is a proof by itself.
    """
    failed = events[failed_at][2]
    window, base = _since_all_agreed(balances, events, failed_at)
    window, base = _smallest(window, base, failed)
    if (shorter := _since_a_look(events[: failed_at + 1], failed, len(window) - 1)) is not None:
        window, base = shorter, {}
    return _told(window, failed, base)


def _told(ops: Sequence[Op], failed: Op, base: Mapping[str, int]) -> Contradiction:
    touched = sorted({a for op in ops for a in (op.account, op.other) if a in base})
    others = sorted(
        (op.source for op in ops if op.source is not failed.source),
        key=lambda o: (o.invoked_at or 0, o.request),
    )
    return Contradiction(failed.source, tuple(others), {a: base[a] for a in touched})


def _since_all_agreed(
    balances: Mapping[str, int], events: Sequence[Event], failed_at: int
) -> tuple[list[Op], dict[str, int]]:
    failed = events[failed_at][2]
    anchor, base = failed.anchor, dict(balances)
    ops: dict[int, Op] = {}
    for index, (_, is_answer, op) in enumerate(events[: failed_at + 1]):
        if not is_answer:
            ops[id(op)] = replace(op, answered_at=None)  # answers after the failure do not matter
        elif index >= anchor.event:
            ops[id(op)].answered_at = op.answered_at
        else:
            if op.moves:
                base[op.account] -= op.moves
                base[op.other] += op.moves
            del ops[id(op)]
    anchored = {id(op): op for _, is_answer, op in events[: anchor.event] if not is_answer}
    window = [
        op
        for key, op in ops.items()
        if key not in anchored or op.moves or not anchored[key].bit & anchor.done
    ]
    return window, base


def illustrated(
    balances: Mapping[str, int], events: Sequence[Event], failed_at: int, found: Contradiction
) -> Contradiction:
    """The same for people, who want to see where a balance comes from that `found` begins with.

    All that moved money of that account from the start on, or from an earlier look at it; `found`
    itself where that would be more than a person looks at.
    """
    if len(found.before) != 1:
        return found
    (account,) = found.before
    failed, taken = events[failed_at][2], events[: failed_at + 1]
    needed = {id(operation) for operation in (*found.others, found.failed)}
    ops = [op for op in _of_account(taken, account) if op.moves or id(op.source) in needed]
    begins = {account: balances[account]}
    if len(ops) > SHOWN or not _has_no_order(_project(ops, account), begins):
        looked = _since_a_look(taken, failed, SHOWN) if account == failed.account else None
        if looked is None:
            return found
        ops, begins = looked, {}
    return _told(ops, failed, begins)


def latest(events: Sequence[Event], failed_at: int) -> Contradiction:
    """What a person looks at first, where it takes more than a few operations to prove it.

    The last read of the account that was answered before the failed answer was asked for, and
    the latest that moved money there since.
    """
    failed, taken = events[failed_at][2], events[: failed_at + 1]
    ops = [op for op in _of_account(taken, failed.account) if op.source is not failed.source]
    looks = [
        op for op in ops
        if op.low == op.high and op.answered_at is not None and op.answered_at < failed.invoked_at
    ]  # fmt: skip
    look = max(looks, key=lambda op: op.answered_at or 0, default=None)
    begin = [] if look is None else [look]
    since = 0 if look is None else look.invoked_at
    late = [op for op in ops if op.answered_at is None or op.answered_at >= since]
    late = sorted((op for op in late if op.moves), key=lambda op: op.invoked_at)
    told = _told([*begin, *late[len(begin) - SHOWN :]], failed, {})
    return replace(told, is_whole=False)


def _of_account(events: Sequence[Event], account: str) -> list[Op]:
    """What says something of it, without the answers that came after these events."""
    known: dict[int, Op] = {}
    for _, is_answer, op in events:
        if account not in (op.account, op.other if op.moves else op.account):
            continue
        if is_answer:
            known[id(op)].answered_at = op.answered_at
        else:
            known[id(op)] = replace(op, answered_at=None)
    return list(known.values())


def _since_a_look(events: Sequence[Event], failed: Op, most: int) -> list[Op] | None:
    """At most `most` operations on the account of `failed`, from a read of it on."""
    account = failed.account
    ops = _of_account(events, account)
    (last,) = (op for op in ops if op.source is failed.source)
    looks = [
        op for op in ops if op.low == op.high and op.answered_at is not None and op is not last
    ]
    for look in sorted(looks, key=lambda op: -(op.answered_at or 0))[:READS]:
        window = [
            op for op in ops
            if (op.moves or op in (look, last))
            and (op.answered_at is None or op.answered_at >= look.invoked_at)
        ]  # fmt: skip
        if len(window) > most:
            return None
        if _has_no_beginning(_project(window, account), account, look):
            return window
    return None


def _has_no_beginning(ops: Sequence[Op], account: str, look: Op) -> bool:
    """No balance before allows an order, of those that the first look allows."""
    beginnings = {int(look.low)}
    for op in ops:
        if op.moves and op.invoked_at <= (look.answered_at or 0) and op.account != op.other:
            change = op.moves if op.other == account else -op.moves
            beginnings |= {balance - change for balance in beginnings}
            if len(beginnings) > MOST_BEGINNINGS:
                return False
    return all(_has_no_order(ops, {account: balance}) for balance in sorted(beginnings))


def _smallest(ops: list[Op], base: dict[str, int], failed: Op) -> tuple[list[Op], dict[str, int]]:
    touched = {account for op in ops for account in (op.account, op.other) if account in base}
    first = [a for a in (failed.account, failed.other) if a in touched]
    attempts = min(ATTEMPTS, EVIDENCE_OPERATIONS // len(ops))
    for account in [*first, *sorted(touched - set(first))][:attempts]:
        fewer = _project(ops, account)
        if _has_no_order(fewer, {account: base[account]}):
            ops, base = fewer, {account: base[account]}
            break
    still = [op for op in ops if not op.moves and op.source is not failed.source]
    size = len(still)
    while size:
        for start in range(0, len(still), size):
            left_out = {id(op) for op in still[start : start + size]}
            fewer = [op for op in ops if id(op) not in left_out]
            if attempts and len(fewer) < len(ops) and _has_no_order(fewer, base):
                ops = fewer
            attempts = max(0, attempts - 1)
        kept = {id(op) for op in ops}
        still = [op for op in still if id(op) in kept]
        size = min(size // 2, len(still))
    return ops, base


def _project(ops: Sequence[Op], account: str) -> list[Op]:
    """Only what these operations say of one account."""
    projected: list[Op] = []
    for op in ops:
        if op.account == account:
            projected.append(replace(op, other=op.other if op.other == account else _OUTSIDE))
        elif op.moves and op.other == account:
            projected.append(replace(op, account=_OUTSIDE, low=-math.inf, high=math.inf))
    return projected


def _has_no_order(ops: Sequence[Op], base: Mapping[str, int]) -> bool:
    """True only when it is certain."""
    search = Search({**base, _OUTSIDE: 0}, EVIDENCE_BUDGET)
    try:
        return search.run(events_of(ops)) is not None
    except BudgetSpent:
        return False
