"""The JSON document of `--format json`. Pure: values in, plain dicts and lists out.

Every replica is listed in every set, failed ones as they were left. A value that does not exist
is null, never left out; keys may be added, none is renamed or dropped. Of a set with very many
steps or accounts some are left out, and counted beside: `history.jsonl` has every request.
"""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from bank.ballot import Ballot, replica_name
from bank.ledger import describe
from harness.check.expectations import Met
from harness.check.verdict import Judgement, Verdict
from harness.cluster.driver import ReplicaView
from harness.cluster.history import Operation
from harness.files.cases import CaseFile
from harness.files.config import ClusterConfig
from harness.run import points
from harness.run.report import Poke, SetReport, StepReport
from harness.run.timing import Phase, seconds

MOST_STEPS = 2_000  # of a set, and pending requests of a run; what is no success comes first
MOST_ACCOUNTS = 1_000  # of each replica; with more, those that changed since the run began


def document(
    file: CaseFile,
    config: ClusterConfig,
    reports: Sequence[SetReport],
    pending: Sequence[Operation],
    verdict: Verdict,
    spent: Mapping[Phase, int] | None = None,
    ended: str = "",
    poked: Sequence[Poke] = (),
    forgotten: int = 0,
) -> dict[str, Any]:
    """The whole run, or as much of it as there is; `spent` in µs, once it is over.

    `ended` is why it did not come to its end, which makes it unknown at best; `poked` what was done
    at the prompt, `forgotten` how many requests of earlier sets their clients gave up.
    """
    scored, most = points.total(points.items(file, reports))
    if ended and verdict is Verdict.VALID:
        verdict = Verdict.UNKNOWN
    return {
        "file": file.path,
        "name": file.name or None,
        "description": file.description or None,
        "failure": config.failure,
        "durability": config.durability,
        "unanswered": config.unanswered,
        "nodes": config.nodes,
        "seed": config.seed,
        "sets_in_file": len(file.sets),
        "sets": [
            _set(report, config, [s for p in poked if p.position == at for s in p.steps])
            for at, report in enumerate(reports, 1)
        ],
        "pending": [
            {
                "step": describe(*operation.request[2:]),
                "client": operation.request[0],
                "set": operation.set_number,
            }
            for operation in pending[:MOST_STEPS]
        ],
        "pending_left_out": max(0, len(pending) - MOST_STEPS),
        "forgotten": forgotten,
        "verdict": verdict.value,
        "ended": ended or None,
        "points": scored,
        "points_of": most,
        "seconds": round(sum(report.seconds for report in reports), 3),
        "timing": None if spent is None else seconds(spent),
    }


def _set(report: SetReport, config: ClusterConfig, poked: Sequence[StepReport]) -> dict[str, Any]:
    shown, accounts = report.steps_shown(MOST_STEPS), _accounts(report, config)
    score = points.of_set(report)
    return {
        "set": report.number,
        "live": [replica_name(replica) for replica in report.live],
        "leader": None if report.leader is None else replica_name(report.leader),
        "ballot": _ballot(report.ballot),
        "steps": [_step(report.steps[at]) for at in shown],
        "steps_left_out": len(report.steps) - len(shown),
        "outcomes": dict(report.outcomes),
        "poked": [_step(step) for step in poked],
        "replicas": {replica_name(view.replica): _replica(view, accounts) for view in report.views},
        "accounts_left_out": len(config.accounts) - len(accounts),
        "checks": {_key(judgement): judgement.verdict.value for judgement in report.judgements},
        "reasons": {
            _key(judgement): judgement.reason for judgement in report.judgements if judgement.reason
        },
        "started_at_us": report.started_at,
        "seconds": round(report.seconds, 6),
        "timing": seconds(report.spent),
        "leaderless_ms": report.leaderless_us / 1000,
        "points": report.points,
        "scored": None if score is None else score[0],
        "scored_of": None if score is None else score[1],
        "expectations": [_met(met) for met in report.expectations],
        "remarks": list(report.remarks),
    }


def _met(met: Met) -> dict[str, Any]:
    return {
        "where": met.expected.where,
        "key": met.expected.key,
        "expected": met.wanted,
        "holds": met.holds,
        "verdict": met.verdict.value,
        "reason": met.reason,
        "points": met.expected.points,
    }


def _step(step: StepReport) -> dict[str, Any]:
    return {
        "label": step.label,
        "step": step.text,
        "outcome": step.outcome,
        "value": step.value,
        "slot": step.slot,
        "ballot": _ballot(step.ballot),
        "begun_ms": None if step.begun_us is None else step.begun_us / 1000,
        "latency_ms": None if step.latency_us is None else step.latency_us / 1000,
        "carried_from": step.carried_from,
        "node": None if step.node is None else replica_name(step.node),
    }


def _accounts(report: SetReport, config: ClusterConfig) -> Sequence[str]:
    """Those whose balances are told."""
    if len(config.accounts) <= MOST_ACCOUNTS:
        return config.accounts
    first, held = config.initial_balance, [view.status.balances for view in report.views]
    changed = (a for a in config.accounts if any(b.get(a) != first for b in held))
    return list(islice(changed, MOST_ACCOUNTS))


def _replica(view: ReplicaView, accounts: Sequence[str]) -> dict[str, Any]:
    status = view.status
    found = {
        "state": view.liveness.value,
        "role": status.role.value,
        "was_leader": view.was_leader,
        "promised": _ballot(status.promised),
        "committed_upto": status.committed_upto,
        "executed_upto": status.executed_upto,
        "checkpoint": status.checkpoint,
        "digest": status.digest,
        "balances": {a: status.balances[a] for a in accounts if a in status.balances},
        "trouble": view.trouble or status.halted or status.differs,
    }
    return {key: None if key in view.untold else value for key, value in found.items()}


def _ballot(ballot: Ballot | None) -> list[int | str] | None:
    """[2, "n1"]; null also for the ballot below every real one."""
    if ballot is None or not ballot.number:
        return None
    return [ballot.number, replica_name(ballot.replica)]


def _key(judgement: Judgement) -> str:
    return judgement.check.replace("-", "_")
