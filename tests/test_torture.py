"""Real replicas under load and faults, a short version; the long ones are commands."""

import json
from io import StringIO

import pytest
from rich.console import Console

from harness import cli
from harness.check.verdict import Verdict, overall
from harness.commands import torture
from harness.commands.torture import Torture
from harness.config import ClusterConfig
from harness.nemesis import POINTS


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


def test_a_short_benchmark_prints_one_document_and_its_answers_are_checked(capsys):
    arguments = ["bench", "--clients", "1,20", "--seconds", "0.5", "--warmup", "0.2"]
    assert cli.main([*arguments, "--failover", "3", "--seed", "1", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [result["clients"] for result in document["results"]] == [1, 20]
    for result in document["results"]:
        assert result["verdict"] == "valid"
        assert result["throughput"] > 0
        assert result["p50_ms"] <= result["p99_ms"] <= result["max_ms"]
        assert result["ratio"] > 0.1  # of the floor in the same run: a collapse shows
    assert document["failover"]["count"] == 3
    assert document["four_hops"]["p50_us"] > 0


def test_a_benchmark_takes_several_shapes(capsys):
    arguments = ["bench", "--clients", "5", "--seconds", "0.2", "--warmup", "0", "--no-floor"]
    assert cli.main([*arguments, "--nodes", "3,5", "--accounts", "10,1000"]) == 0
    out = capsys.readouterr().out
    rows = [line.split()[:3] for line in out.splitlines() if line.strip()[:1].isdigit()]
    assert rows == 2 * [[n, a, "5"] for n in ("3", "5") for a in ("10", "1,000")]
    assert "5 replicas" not in out and out.count("✓ valid") == 4
    assert cli.main([*arguments, "--nodes", "3", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (row,) = document["results"]
    assert document["nodes"] == row["nodes"] == 3 and document["accounts"] == row["accounts"] == 10
    assert row["start_ms"] > 0


def test_the_sums_of_many_accounts_arrive(capsys):
    """They are more than a socket takes at once, when nothing else is left to be done."""
    arguments = [
        "bench",
        "--clients",
        "200",
        "--accounts",
        "60000",
        "--nodes",
        "3",
        "--seconds",
        "1",
    ]
    assert cli.main([*arguments, "--no-floor"]) == 0
    assert "✓ valid" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--nodes", "3,4"], "--nodes: 4: expected of 3, 5, 7, 9"),
        (
            ["--accounts", "10,x"],
            "--accounts: '10,x': expected numbers such as --accounts 1,10,100",
        ),
        (["--accounts", "1"], "--accounts from 2"),
        (["--clients", ""], "--clients: '': expected numbers"),
    ],
)
def test_a_bad_list_is_refused(capsys, words, told):
    assert cli.main(["bench", *words]) == 2
    assert capsys.readouterr().err.startswith(told)


def test_simulated_runs_of_a_file_are_the_same_byte_for_byte(capsys, tmp_path):
    case = tmp_path / "case.csv"
    case.write_text('1,"(A, B, 1); (C, D, 2); LF; (B, A, 1)","[n1, n2, n3, n4, n5]"\n')
    printed = []
    for _ in range(2):
        assert cli.main([str(case), "--sim", "--no-step", "--seed", "5"]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert "simulated" in printed[0]
