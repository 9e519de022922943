"""Sets as the text of a test-set file, CSV or YAML: the inverse of reading one. Pure.

Expectations are not written.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields

from bank.ballot import replica_name
from harness.cluster.nemesis import Fail, FailLeader, Recover
from harness.files.cases import CaseSet, Command, Step
from harness.files.config import ClusterConfig

HEADER = "Set Number,Transactions,Live Nodes"


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
