"""The test sets of the project: each parses, is described, and has one outcome in every run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bank.ledger import FAILED, READ, SUCCESS, TRANSFER, Ledger
from harness import config, testset
from harness.config import ClusterConfig
from harness.nemesis import Fail, FailLeader, Recover
from harness.testset import CaseSet, Command

FOLDER = Path(__file__).parents[1] / "testsets"
FILES = sorted(FOLDER.glob("*.csv"))


def load(path: Path) -> tuple[CaseSet, ...]:
    return testset.load(path, ClusterConfig())


def segments(sets: tuple[CaseSet, ...]) -> Iterator[list[tuple[int, Command]]]:
    """What runs in parallel: the commands, with their lines, up to a barrier that a quorum ends.

    Counting who is live is enough, as no file fails a replica that is down already.
    """
    quorum = ClusterConfig().nodes // 2 + 1
    segment: list[tuple[int, Command]] = []
    for case in sets:
        live = len(case.live)
        for step in case.steps:
            if isinstance(step.action, Command):
                segment.append((step.line, step.action))
                continue
            led = live >= quorum
            if led:
                yield segment
                segment = []
            match step.action:
                case Fail():
                    live -= 1
                case Recover():
                    live += 1
                case FailLeader():
                    live -= led
        if live >= quorum:
            yield segment
            segment = []
    yield segment


def uncertain(path: Path) -> list[str]:
    """Steps whose result may depend on the order in which parallel clients are served."""
    found = []
    ledger = Ledger(ClusterConfig().balances())
    for segment in segments(load(path)):
        spent = dict.fromkeys(ledger.balances, 0)
        before = dict(ledger.balances)
        for line, command in segment:
            kind, sender, receiver, amount = command
            least = before[sender] - spent[sender]
            most = least + sum(
                other.amount
                for _, other in segment
                if other.receiver == sender and other.sender != sender
            )
            if (kind == READ and least < most) or (kind == TRANSFER and least < amount <= most):
                found.append(f"{path.name}:{line}")
            result = ledger.apply(*command)
            if kind == TRANSFER and result == SUCCESS and receiver != sender:
                spent[sender] += amount
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_file_has_one_outcome(path: Path) -> None:
    assert uncertain(path) == []


def test_a_file_with_several_outcomes_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(
        "1,(A, B, 4),n1;n2;n3\n,(B, C, 12)\n,(C)\n,LF\n2,(B, A, 1),n1;n2;n3;n4\n,(B)\n,(C)\n"
        "3,(D, E, 1),n1\n4,(E),n1;n2;n3\n,(D)\n"
    )
    assert uncertain(path) == ["x.csv:2", "x.csv:3", "x.csv:9"]


def test_readme_describes_every_file() -> None:
    readme = (FOLDER / "README.md").read_text("utf-8")
    described = [line.split("`")[1] for line in readme.splitlines() if line.startswith("| `")]
    files = [path.name for path in FOLDER.iterdir() if path.suffix in (".csv", ".yaml")]
    assert sorted(name for name in described if "." in name) == sorted(files)


def test_long_run_is_long_for_every_client() -> None:
    commands = [
        step.action
        for case in load(FOLDER / "long_run_with_checkpoints.csv")
        for step in case.steps
        if isinstance(step.action, Command) and step.action.kind == TRANSFER
    ]
    assert len(commands) == 500
    assert {sum(c.sender == account for c in commands) for account in "ABCDEFGHIJ"} == {50}


def test_insufficient_balance_shows_failures() -> None:
    ledger = Ledger(ClusterConfig().balances())
    results = [
        ledger.apply(*step.action)
        for case in load(FOLDER / "insufficient_balance.csv")
        for step in case.steps
        if isinstance(step.action, Command)
    ]
    assert results.count(FAILED) == 6


def test_checkpoints_configuration_keeps_less_than_n5_misses() -> None:
    layered = config.layer(config.load(FOLDER / "checkpoints.yaml"))
    assert layered.checkpoint_interval + layered.keep_slots < 300
