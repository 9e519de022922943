"""Expectations that no run can meet, or not every run, by what the oracle says of the file. Pure.

What the oracle does not foretell (slots beyond their least number, statuses, checks) contradicts
nothing here; nor does who leads, of which it only knows who may.
"""

from collections.abc import Iterator, Mapping

from bank.ballot import ReplicaId, replica_name
from bank.ledger import SUCCESS
from harness.files.cases import (
    Balances,
    CaseFile,
    Expectation,
    Expected,
    Leader,
    Outcomes,
    Pending,
    Slots,
)
from harness.files.config import ClusterConfig
from harness.files.forecast.foretold import Forecast, SetForecast, StepForecast, alternatives


def doubtful(
    file: CaseFile, config: ClusterConfig, found: Forecast
) -> Iterator[tuple[int, str, str]]:
    """Every one: the number of its set, where it stands, and what can be instead."""
    for case, of_set in zip(file.sets, found.sets, strict=True):
        steps = {step.label: step for step in of_set.steps}
        for expected in case.expected:
            for what in _doubts(expected, config, of_set, steps):
                yield case.number, expected.where, what
    last = found.sets[-1]
    for expected in file.at_end:
        for what in _doubts(expected, config, last, found.at_end):
            yield last.number, expected.where, what


def _doubts(
    expected: Expected,
    config: ClusterConfig,
    of_set: SetForecast,
    steps: Mapping[str, StepForecast],
) -> Iterator[str]:
    nothing = True
    for what in _differences(expected, config, of_set, steps):
        nothing = False
        yield f"cannot hold: {expected.key}: {what}"
    for what in _orders(expected.what, of_set, steps) if nothing else ():
        yield f"holds only in some orders: {expected.key}: {what}"


def _orders(
    what: Expectation, of_set: SetForecast, steps: Mapping[str, StepForecast]
) -> Iterator[str]:
    """What else there may be where there may be what is expected."""
    match what:
        case Balances(balances):
            for account in balances:
                if len(possible := of_set.balances.get(account, ())) > 1:
                    why = "".join(f", {reason}" for reason in of_set.doubts.get(account, ())[:1])
                    yield f"{account} is {alternatives(possible)}{why}"
        case Outcomes(outcomes):
            for label in outcomes:
                if (step := steps.get(label)) is not None and step.known is None:
                    why = "".join(f", {reason}" for reason in step.why[:1])
                    yield f"step {label} {step.text} is {step.words}{why}"
        case Pending():
            least, most = of_set.pending
            if least < most:
                yield f"{alternatives(range(least, most + 1))} pending"
        case _:
            pass


def _differences(
    expected: Expected,
    config: ClusterConfig,
    of_set: SetForecast,
    steps: Mapping[str, StepForecast],
) -> Iterator[str]:
    match expected.what:
        case Balances(balances):
            if not of_set.asked:
                yield "no replica is live then, and not cut off"
            for account, wanted in () if of_set.silent else balances.items():
                possible = of_set.balances.get(account, (config.initial_balance,))
                if wanted not in possible:
                    yield f"{account} is {alternatives(possible)}, never {wanted}"
        case Outcomes(outcomes):
            for label, outcome in outcomes.items():
                if (step := steps.get(label)) is None:
                    yield f"step {label} is not in this set: it was answered or dropped before"
                elif not _may_be(step, outcome):
                    yield f"step {label} {step.text} is {step.words}, never {outcome}"
        case Pending(count, texts):
            least, most = of_set.pending
            if not least <= count <= most:
                yield f"{alternatives(range(least, most + 1))} pending, never {count}"
            waiting = [step.text for step in of_set.steps if "pending" in step.outcomes]
            for text in texts or ():
                if text in waiting:
                    waiting.remove(text)
                else:
                    yield f"{text} is not pending"
        case Leader(leaders):
            if leaders and not leaders & of_set.leaders:
                yield f"{_names(of_set.leaders)} can lead, never {_names(leaders)}"
        case Slots(_, most):
            if most < of_set.least_slots:
                yield f"at least {of_set.least_slots} slots are executed, never {most}"
        case _:
            pass


def _may_be(step: StepForecast, outcome: str | int) -> bool:
    if isinstance(outcome, int):
        return SUCCESS in step.outcomes and outcome in step.values
    return outcome in step.outcomes


def _names(replicas: frozenset[ReplicaId]) -> str:
    return ", ".join(map(replica_name, sorted(replicas))) or "nobody"
