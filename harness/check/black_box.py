"""Linearizability from what clients saw alone: no slot, no ballot and no log is looked at.

Is there one order that explains every answer? `search` decides it exactly. Where requests were
never answered, and so may have been done at any time or not at all, `likely` says first which of
them were done, and `guided` guesses where that is not enough; a `witness` proves the order that
comes of it. Of some histories `bounds` and `unanswered` prove that there is none.
What no order explains is made small by `evidence`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.check.bounds import overdrawn
from harness.check.evidence import evidence, illustrated, latest
from harness.check.guided import Guided
from harness.check.likely import Likely, as_chosen
from harness.check.looks import Looks, looks_at
from harness.check.operations import (
    Event,
    Op,
    arithmetic,
    began,
    events_of,
    impossible,
    moment,
    text,
)
from harness.check.search import BudgetSpent, Search
from harness.check.unanswered import Unanswered
from harness.check.verdict import Judgement, Verdict
from harness.check.witness import flaw
from harness.cluster.history import Operation

CHECK = "linearizable (clients only)"
BUDGET = 1_000_000  # configurations looked at before the answer is "unknown"
CHOOSING = 100_000  # requests without an answer tried, to prove that no choice of them will do
LIKELY = 1_000_000  # of these: to find a choice that may do, for each of
REACHES = 5, 10  # bits that a choice is given for how far it reaches
ATTEMPTS = 3  # choices that are put into an order
ORDERING = 200_000, 4  # of these: for those, and so many more for each event
SHOWING = 20_000  # of these: to show in a few operations what is proved already
GUESSING = 200_000, 4  # of these: to guess an order with, and so many more for each operation


def black_box(
    balances: Mapping[str, int],
    history: Sequence[Operation],
    budget: int = BUDGET,
    since: int | None = None,
) -> Judgement:
    """Can one order explain every answer? `balances` is the state before the first operation.

    Times in what is said count from `since`; unless that is given, from the first operation.

    Unknown when `budget` configurations were looked at without an answer, and when there is no
    answer to explain.
    """
    since = began(history) if since is None else since
    ops: list[Op] = []
    for operation in history:
        if (wrong := impossible(operation, balances)) is not None:
            return Judgement(CHECK, Verdict.INVALID, f"{text(operation, since)}: {wrong}")
        if operation.invoked_at is None or operation.refused is not None:
            continue
        if (op := arithmetic(operation, balances)) is not None:
            ops.append(op)
    if not any(operation.is_answered for operation in history):
        return Judgement(CHECK, Verdict.UNKNOWN, "nothing was answered")
    events = events_of(ops)
    unanswered = sum(op.answered_at is None for op in ops)
    looks = looks_at(balances, events) if unanswered else None
    proved = None if looks is None else _proved(balances, ops, looks, budget, since)
    if proved is not None:
        last, reason = proved
        events = events[: events.index((last.answered_at or 0, True, last)) + 1]
        failed_at, spent = _searched(balances, events, len(events), min(budget, SHOWING))
        assert spent or failed_at is not None, f"an order was found although {reason}"
        if spent:
            shown = replace(latest(events, len(events) - 1), since=since)
            return Judgement(CHECK, Verdict.INVALID, reason, shown)
    else:
        if looks is not None and _chosen(balances, history, events, looks, budget):
            return Judgement(CHECK, Verdict.VALID)
        reached = _guessed(balances, history, ops, events, budget) if unanswered else 0
        if reached == len(events):
            return Judgement(CHECK, Verdict.VALID)
        failed_at, spent = _searched(balances, events, reached, budget)
    if spent:
        at = max(reached, failed_at or 0)
        answered = sum(1 for event in events[:at] if event[1])
        reason = (
            f"gave up after {spent} configurations, at {moment(events[at][0], since)}, "
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
    found = replace(evidence(balances, events, failed_at), since=since)
    shown = replace(illustrated(balances, events, failed_at, found), since=since)
    return Judgement(CHECK, Verdict.INVALID, str(found), shown)


def _proved(
    balances: Mapping[str, int], ops: Sequence[Op], looks: Looks, budget: int, since: int
) -> tuple[Op, str] | None:
    """By which answer there is no order, and why: found without a search for one."""
    if (found := overdrawn(balances, ops, since)) is not None:
        return found.read, found.reason
    try:
        look = Unanswered(looks, CHOOSING * budget // BUDGET).run()
    except BudgetSpent:
        return None
    if look is None:
        return None
    reason = (
        f"no order explains {text(look.op.source, since)}: whichever requests without an answer "
        "were done, this answer or one before it has another balance"
    )
    return look.op, reason


def _searched(
    balances: Mapping[str, int], events: Sequence[Event], reached: int, budget: int
) -> tuple[int | None, int]:
    """The event whose answer no order explains, None without one, and 0; or how far the search
    came, and how many configurations it had.

    The more may have been done at any time, the less an exact search can hope to come through, and
    the longer it takes for each configuration. So the answer that no guess explains is looked at
    first, with what was sent by then alone.
    """
    sent = [not is_answer and op.answered_at is None for _, is_answer, op in events]
    for upto in (
        sorted({min(reached + 1, len(events)), len(events)}) if any(sent) else [len(events)]
    ):
        unanswered = sum(sent[:upto])
        most = budget // (1 + unanswered * unanswered // 100)
        search = Search(balances, most)
        try:
            failed_at = search.run(events[:upto])
        except BudgetSpent:
            return search.event, max(1, most)
        if failed_at is not None:
            return failed_at, 0
    return None, 0


def _chosen(
    balances: Mapping[str, int],
    history: Sequence[Operation],
    events: Sequence[Event],
    looks: Looks,
    budget: int,
) -> bool:
    """Whether the likeliest choice of requests without an answer has an order: then it is proved.

    False says nothing.
    """
    most = ORDERING[0] + ORDERING[1] * len(events)
    for reaches in REACHES:
        likely, left = Likely(looks, LIKELY * budget // BUDGET, reaches), most * budget // BUDGET
        refuted: tuple[str, int] | None = None  # the account and the event of what has no order
        try:
            for _ in range(ATTEMPTS):
                done = likely.run() if refuted is None else likely.run_again(*refuted)
                if done is None:
                    break
                search = Search(balances, left)
                chosen = as_chosen(events, done, looks)
                failed_at = search.run(chosen)
                if failed_at is None:
                    _assert_explained(balances, history, search)
                    return True
                left, op = search.left, chosen[failed_at][2]
                by = done[op] if op in done else events.index((op.answered_at or 0, True, op))
                refuted = op.account, by
        except BudgetSpent:
            continue
    return False


def _assert_explained(
    balances: Mapping[str, int], history: Sequence[Operation], search: Search
) -> None:
    """Raises `AssertionError`: an order that was found is none."""
    order = [op.source for op in search.order()]
    wrong = flaw(balances, history, order)
    assert not wrong, f"an order that was found explains nothing: {wrong}"


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
    _assert_explained(balances, history, guided)
    return len(events)
