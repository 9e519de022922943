"""What was seen of a run, given to every judge: the one place that calls them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bank.settings import USUAL, Sizes
from harness.check.agreement import agreement
from harness.check.black_box import black_box
from harness.check.conservation import conservation
from harness.check.linearizable import linearizable
from harness.check.replay import replay
from harness.check.sessions import exactly_once
from harness.check.verdict import Judgement, Verdict
from harness.cluster.driver import CommitLog, ReplicaView
from harness.cluster.history import Operation

SHOWN_BUDGET = 20_000  # configurations, to find what clients saw of a violation


def judge_run(
    balances: Mapping[str, int],
    log: CommitLog,
    history: Sequence[Operation],
    views: Sequence[ReplicaView] | None,
    interval: int | None = None,
    sizes: Sizes = USUAL,
) -> tuple[Judgement, ...]:
    """Agreement, conservation, exactly-once and linearizability, in this order.

    `balances` are those before slot 1, `log` what replicas reported, `history` every operation of
    every client, `views` the states of all replicas in order, failed ones too, and `interval` the
    slots between two noted hashes; `sizes` are those of the replicas. A saved history
    has no views (None) and no interval: then what was reported and answered is judged alone, and
    conservation, which is theirs, is left out.
    """
    replayed = replay(log, balances, history, views, interval, sizes)
    in_order = linearizable(log, replayed, history)
    if in_order.verdict is Verdict.INVALID:  # clients may have seen it too: a picture for people
        seen = black_box(balances, history, SHOWN_BUDGET) if not log.known_before else in_order
        in_order = replace(in_order, evidence=seen.evidence)
    return (
        agreement(log, replayed, history, views),
        *(() if views is None else (conservation(balances, views),)),
        exactly_once(log, replayed, history),
        in_order,
    )
