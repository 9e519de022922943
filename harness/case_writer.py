"""Sets as the text of a test-set file, CSV or YAML: the inverse of reading one. Pure.

What was poked after a set becomes further steps of that set (`with_pokes`), such that running the
file again does to the cluster what was done to it. Expectations are not written.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace
from typing import TypeAlias

from bank.ballot import replica_name
from harness.cases import Action, CaseSet, Command, Step, Wait, action_text
from harness.config import ClusterConfig
from harness.driver import Liveness
from harness.nemesis import Fail, FailLeader, Recover
from harness.runner import SetReport, StepReport

HEADER = "Set Number,Transactions,Live Nodes"
ADDED = 0  # the line of a step that is in no file

Poked: TypeAlias = tuple[Action, Sequence[StepReport]]  # itself, then what it got answered


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


def csv_text(sets: Iterable[CaseSet]) -> str:
    """A CSV file. ValueError with the first step that CSV cannot say."""
    lines = [HEADER]
    for case in sets:
        live = f'"[{", ".join(map(replica_name, sorted(case.live)))}]"'
        rows = [f'"{_csv_step(case, step)}"' for step in case.steps] or [""]
        lines += [f"{case.number},{rows[0]},{live}", *(f",{row}," for row in rows[1:])]
    return "\n".join(lines) + "\n"


def _csv_step(case: CaseSet, step: Step) -> str:
    match step.action:
        case Command():  # begins at once whatever stands before it
            return step.text
        case Fail() | Recover() | FailLeader(None) if not step.together:
            return step.text
        case _:
            raise ValueError(f"{step.text} in set {case.number} does not fit into CSV")


def yaml_text(sets: Iterable[CaseSet], config: ClusterConfig, name: str) -> str:
    """A YAML file that needs no flags: it holds what `config` says beside the defaults."""
    lines = [f"name: {json.dumps(name, ensure_ascii=False)}"]
    if own := list(_own_keys(config)):
        lines += ["cluster:", *(f"  {key}: {json.dumps(value)}" for key, value in own)]
    lines.append("sets:")
    for case in sets:
        lines.append(f"  - set: {case.number}")
        lines.append(f"    live: [{', '.join(map(replica_name, sorted(case.live)))}]")
        lines += ["    steps:", *_yaml_steps(case.steps)] if case.steps else []
    return "\n".join(lines) + "\n"


def _own_keys(config: ClusterConfig) -> Iterator[tuple[str, object]]:
    plain = ClusterConfig()
    for field in fields(config):
        value = getattr(config, field.name)
        if value != getattr(plain, field.name) and field.name != "seed":
            yield field.name, value


def _yaml_steps(steps: Sequence[Step]) -> Iterator[str]:
    """One item a step; those that begin together are a list of their own."""
    for at, step in enumerate(steps):
        following = at + 1 < len(steps) and steps[at + 1].together
        if step.together or following:
            yield f"      {' ' if step.together else '-'} - {step.text}"
        else:
            yield f"      - {step.text}"
