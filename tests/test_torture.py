"""Real replicas under load and faults, a short version; the long ones are commands."""

from io import StringIO

import pytest
from rich.console import Console

from harness import cli
from harness.check.verdict import Verdict, overall
from harness.cluster.nemesis import POINTS
from harness.commands import torture
from harness.commands.torture import Torture
from harness.files.config import ClusterConfig


def tortured(nodes, modes, faults, seed):
    config = ClusterConfig(
        nodes=nodes, initial_balance=100, checkpoint_interval=50, keep_slots=50, seed=seed
    )
    one = Torture(config, modes, faults)
    return one, one.run(lambda done: None)


def test_kills_at_random_instants_lose_and_double_nothing():
    one, judgements = tortured(5, ["crash"], 30, seed=1)
    assert overall(judgements) is Verdict.VALID, judgements
    assert {j.check for j in judgements} >= {
        "agreement",
        "exactly_once",
        "linearizable",
        "progress",
    }
    shown = StringIO()
    Console(file=shown, width=80).print(one.table())
    assert "crash" in shown.getvalue()


def test_all_kinds_of_faults_and_named_points_on_three_replicas():
    _, judgements = tortured(3, ["crash", "pause", "disconnect", "points"], 30, seed=2)
    assert overall(judgements) is Verdict.VALID, judgements


@pytest.mark.parametrize("point", POINTS)
def test_a_replica_dies_at_each_named_point(point, monkeypatch):
    monkeypatch.setattr(torture.nemesis, "POINTS", (point,))
    monkeypatch.setattr(torture, "POINT_PATIENCE_US", 5_000_000)
    one, judgements = tortured(5, ["points"], 2, seed=3)
    assert overall(judgements) is Verdict.VALID, judgements
    assert one.counts()[point] == 2, "the point was reached each time"


def test_a_bad_mode_is_refused(capsys):
    assert cli.main(["torture", "--modes", "crash,flood"]) == 2
    assert "'flood': expected some of" in capsys.readouterr().err


def test_simulated_runs_of_a_file_are_the_same_byte_for_byte(capsys, tmp_path):
    case = tmp_path / "case.csv"
    case.write_text('1,"(A, B, 1); (C, D, 2); LF; (B, A, 1)","[n1, n2, n3, n4, n5]"\n')
    printed = []
    for _ in range(2):
        assert cli.main([str(case), "--sim", "--no-step", "--seed", "5"]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert "simulated" in printed[0]
