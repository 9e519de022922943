"""Linearizability from what clients saw alone: no slot, no ballot and no log is looked at.

Is there one order that explains every answer? `search` decides it exactly. Where requests were
never answered, and so may have been done at any time or not at all, `guided` looks for an order
first; a `witness` proves what it finds. What no order explains is made small by `evidence`.
"""

from collections.abc import Mapping, Sequence

from harness.check.evidence import evidence, illustrated
from harness.check.guided import Guided
from harness.check.operations import Event, Op, arithmetic, events_of, impossible, text
from harness.check.search import BudgetSpent, Search
from harness.check.verdict import Judgement, Verdict
from harness.check.witness import flaw
from harness.cluster.history import Operation

CHECK = "linearizable (clients only)"
BUDGET = 1_000_000  # configurations looked at before the answer is "unknown"
GUESSING = 200_000, 8  # of these: to guess an order with, and so many more for each operation


def black_box(
    balances: Mapping[str, int], history: Sequence[Operation], budget: int = BUDGET
) -> Judgement:
    """Can one order explain every answer? `balances` is the state before the first operation.

    Unknown when `budget` configurations were looked at without an answer, and when there is no
    answer to explain.
    """
    ops: list[Op] = []
    for operation in history:
        if (wrong := impossible(operation, balances)) is not None:
            return Judgement(CHECK, Verdict.INVALID, f"{text(operation)}: {wrong}")
        if operation.invoked_at is None or operation.refused is not None:
            continue
        if (op := arithmetic(operation, balances)) is not None:
            ops.append(op)
    if not any(operation.is_answered for operation in history):
        return Judgement(CHECK, Verdict.UNKNOWN, "nothing was answered")
    events = events_of(ops)
    unanswered = sum(op.answered_at is None for op in ops)
    reached = _guessed(balances, history, ops, events, budget) if unanswered else 0
    if reached == len(events):
        return Judgement(CHECK, Verdict.VALID)
    # The more may have been done at any time, the less an exact search can hope to come through,
    # and the longer it takes for each configuration.
    budget //= 1 + unanswered * unanswered // 100
    search = Search(balances, budget)
    try:
        failed_at = search.run(events)
    except BudgetSpent:
        at = max(reached, search.event)
        answered = sum(1 for event in events[:at] if event[1])
        reason = (
            f"gave up after {budget} configurations, at {events[at][0]} µs, "
            f"{answered} of {sum(op.answered_at is not None for op in ops)} answers explained"
        )
        if unanswered:
            reason += (
                f"; {unanswered} transfers were never answered and may have been done or not, "
                "and no order was guessed"
            )
        return Judgement(CHECK, Verdict.UNKNOWN, reason)
    if failed_at is None:
        return Judgement(CHECK, Verdict.VALID)
    found = evidence(balances, events, failed_at)
    shown = illustrated(balances, events, failed_at, found)
    return Judgement(CHECK, Verdict.INVALID, str(found), shown)


def _guessed(
    balances: Mapping[str, int],
    history: Sequence[Operation],
    ops: Sequence[Op],
    events: Sequence[Event],
    budget: int,
) -> int:
    """How many events an order explains that is found fast; all of them only if it is proved."""
    most = GUESSING[0] + GUESSING[1] * len(ops)
    guided = Guided(balances, ops, most * budget // BUDGET)
    try:
        if guided.run(events) is not None:
            return guided.event
    except BudgetSpent:
        return guided.event
    order = [op.source for op in guided.order()]
    wrong = flaw(balances, history, order)
    assert not wrong, f"an order that was found explains nothing: {wrong}"
    return len(events)
