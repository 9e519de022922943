"""What was poked after a set as further steps of that set. Pure.

Running the set again does to the cluster what was done to it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeAlias

from harness.cluster.journal import Liveness
from harness.cluster.nemesis import Fail, FailLeader, Recover
from harness.files.cases import ADDED, Action, CaseFile, CaseSet, Command, Step, Wait, action_text
from harness.run.report import Poke, SetReport, StepReport

Poked: TypeAlias = tuple[Action, Sequence[StepReport]]  # itself, then what it got answered


def all_steps(
    reports: Sequence[SetReport], poked: Sequence[Poke]
) -> list[tuple[SetReport, list[StepReport]]]:
    """Each set with its steps, then those that were poked after it."""
    return [
        (report, [*report.steps, *(s for poke in poked if poke.position == at for s in poke.steps)])
        for at, report in enumerate(reports, 1)
    ]


def sets_as_run(
    file: CaseFile, reports: Sequence[SetReport], poked: Iterable[Poke]
) -> list[CaseSet]:
    """The sets that were run, each with what was poked after it: a file to run again."""
    by_set: dict[int, list[Poked]] = {}
    for poke in poked:
        by_set.setdefault(poke.position, []).append((poke.action, poke.steps))
    return [
        with_pokes(file.sets[at - 1], report, by_set.get(at, []))
        for at, report in enumerate(reports, 1)
    ]


def with_pokes(case: CaseSet, report: SetReport, pokes: Sequence[Poked]) -> CaseSet:
    """A set with what was poked after it as further steps.

    Between sets kill points are disarmed and everything is answered that can be, so the steps say
    that too. An LF names its victim where replicas are named behind the set's own
    steps, and is left out where it found none: in another run another one might lead.
    """
    if not pokes:
        return case
    steps = _steps(case, report, pokes, named=False)
    if any(isinstance(step.action, Fail | Recover) for step in steps if step.line == ADDED):
        steps = _steps(case, report, pokes, named=True)
    return replace(case, steps=tuple(steps))


def _steps(case: CaseSet, report: SetReport, pokes: Sequence[Poked], named: bool) -> list[Step]:
    own = [step for step in report.steps if step.carried_from is None]
    steps: list[Step] = []
    for step, done in zip(case.steps, own, strict=True):
        if named:
            steps += _named(step, done)
        elif done.outcome != "not-reached":
            steps.append(step)
    awake = {view.replica for view in report.views if view.liveness is Liveness.LIVE}
    asked = [step.action for step in steps if isinstance(step.action, Command)]
    carried = len(own) < len(report.steps)  # and asked for again, beside the first steps
    for action, (done, *others) in pokes:
        if isinstance(action, Command):
            if awake and (carried or any(_interfere(action, other) for other in asked)):
                steps.append(_step(Recover(min(awake))))  # it is live already: this waits, no more
                asked, carried = [], False
            asked.append(action)
        elif not isinstance(action, Wait):
            asked, carried = [], False  # a fault waits for what was asked
            awake -= {done.node}
            awake |= {action.replica} if isinstance(action, Recover) else set()
        carried = carried or bool(others)  # they waited until now
        steps += _named(_step(action), done) if named else [_step(action)]
    return steps


def _step(action: Action) -> Step:
    return Step(ADDED, action_text(action), action)


def _named(step: Step, done: StepReport) -> list[Step]:
    """F(n3) for an LF that hit n3; nothing for what did nothing."""
    if done.outcome in ("no-leader", "not-reached"):
        return []
    if step.action == FailLeader() and done.node is not None:
        return [replace(step, action=Fail(done.node), text=action_text(Fail(done.node)))]
    return [step]


def _interfere(one: Command, other: Command) -> bool:
    """They touch one account, and no client keeps them in order."""
    accounts = {one.sender, one.receiver} & {other.sender, other.receiver} - {""}
    return bool(accounts) and one.sender != other.sender
