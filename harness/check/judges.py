"""What was seen of a run, given to every judge: the one place that calls them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from bank.ballot import NO_BALLOT, ClientId
from bank.settings import USUAL, Sizes
from harness.check.agreement import agreement
from harness.check.black_box import black_box
from harness.check.conservation import conservation
from harness.check.linearizable import linearizable
from harness.check.replay import Replay, replay
from harness.check.sessions import exactly_once
from harness.check.verdict import Judgement, Verdict
from harness.cluster.driver import CommitLog, ReplicaView
from harness.cluster.history import Operation

SHOWN_BUDGET = 20_000  # configurations, to find what clients saw of a violation

Judgements: TypeAlias = tuple[Judgement, ...]


def judge_run(
    balances: Mapping[str, int],
    log: CommitLog,
    history: Sequence[Operation],
    views: Sequence[ReplicaView] | None,
    interval: int | None = None,
    sizes: Sizes = USUAL,
) -> Judgements:
    """Agreement, conservation, exactly-once and linearizability, in this order.

    `balances` are those before slot 1, `log` what replicas reported, `history` every operation of
    every client, `views` the states of all replicas in order, failed ones too, and `interval` the
    slots between two noted hashes; `sizes` are those of the replicas. A saved history
    has no views (None) and no interval: then what was reported and answered is judged alone, and
    conservation, which is theirs, is left out.
    """
    replayed = replay(log, balances, history, views, interval, sizes)
    return _judged(balances, log, history, views, replayed)


def _judged(
    balances: Mapping[str, int],
    log: CommitLog,
    history: Sequence[Operation],
    views: Sequence[ReplicaView] | None,
    replayed: Replay,
) -> Judgements:
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


class RunJudges:
    """`judge_run` set after set, in time that grows with the run and not with its square.

    A set is judged from where the one before it stood, if all of that was valid: what was answered
    by then was answered for slots that all were known, and neither changes any more. Whatever is
    not valid from there on, and the last set, are judged by the whole run.
    """

    def __init__(self, balances: Mapping[str, int], interval: int) -> None:
        """See `judge_run`."""
        self._balances, self._interval = balances, interval
        self._since: Replay | None = None  # all up to it is valid
        self._needed: list[Operation] = []  # of the history up to then
        self._looked_at = 0  # operations of the history

    def judge(
        self,
        log: CommitLog,
        history: Sequence[Operation],
        views: Sequence[ReplicaView],
        is_last: bool,
    ) -> Judgements:
        """`log` and `history` are those of the call before, grown."""
        since, self._since = self._since, None
        if since is not None and not is_last:
            new = {slot: what for slot, what in log.slots.items() if not 0 < slot <= since.upto}
            recent = [*self._needed, *history[self._looked_at :]]
            judgements = self._judge(replace(log, slots=new), recent, views, since)
            if self._since is not None:
                self._looked_at = len(history)
                return judgements
        judgements = self._judge(log, history, views)
        self._looked_at = len(history)
        return judgements

    def _judge(
        self,
        log: CommitLog,
        history: Sequence[Operation],
        views: Sequence[ReplicaView],
        since: Replay | None = None,
    ) -> Judgements:
        replayed = replay(log, self._balances, history, views, self._interval, since=since)
        judgements = _judged(self._balances, log, history, views, replayed)
        if all(judgement.verdict is Verdict.VALID for judgement in judgements):
            self._since, self._needed = replayed, _needed(history)
        return judgements


def _needed(history: Sequence[Operation]) -> list[Operation]:
    """What later judgements rest on: all that may be answered yet, each client's last, and the
    highest ballot.
    """
    last: dict[ClientId, Operation] = {}
    highest, ballot = None, NO_BALLOT
    for operation in history:
        if not operation.is_answered:
            continue
        client, timestamp, *_ = operation.request
        if client not in last or last[client].request[1] < timestamp:
            last[client] = operation
        if operation.ballot is not None and operation.ballot > ballot:
            highest, ballot = operation, operation.ballot
    kept = {id(operation) for operation in (*last.values(), highest)}
    return [o for o in history if not o.is_answered or id(o) in kept]
