"""Real replicas under load and faults, a short version; the long ones are commands."""

from io import StringIO

import pytest
from rich.console import Console

from bank.ledger import READ
from harness import cli, commands
from harness.check.verdict import Judgement, Verdict, overall
from harness.cluster.nemesis import POINTS, Fail
from harness.commands import torture
from harness.commands.torture import INTERVAL, Torture
from harness.errors import EXIT_MACHINE, HarnessError
from harness.files import history_file, outputs
from harness.files.config import ClusterConfig
from harness.live.cluster import LiveCluster


def tortured(nodes, modes, faults, seed, show=lambda faults, phase: None, **timing):
    config = ClusterConfig(
        nodes=nodes,
        initial_balance=100,
        checkpoint_interval=INTERVAL,
        keep_slots=INTERVAL,
        seed=seed,
        **timing,
    )
    one = Torture(config, modes, faults)
    return one, one.run(show)


def test_kills_at_random_instants_lose_and_double_nothing():
    phases = []
    one, judgements = tortured(5, ["crash"], 30, 1, lambda *phase: phases.append(phase))
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
    assert phases[:-2] == [(count, "") for count in range(1, 31)]
    assert [told.split()[0] for _, told in phases[-2:]] == ["all", "all"], "never silent"


def test_all_kinds_of_faults_and_named_points_on_three_replicas():
    _, judgements = tortured(3, ["crash", "pause", "disconnect", "points"], 30, seed=2)
    assert overall(judgements) is Verdict.VALID, judgements


@pytest.mark.parametrize("point", POINTS)
def test_a_replica_dies_at_each_named_point(point, monkeypatch):
    monkeypatch.setattr(torture.nemesis, "POINTS", (point,))
    monkeypatch.setattr(torture, "POINT_PATIENCE_US", 20_000_000)
    monkeypatch.setattr(torture, "SETTLED_US", 1_200_000)  # longer than any time-out
    # Who is to stand next does so long before the others, also on a busy machine.
    calm = {"election_timeout_ms": (700, 1000), "stagger_ms": 300}
    one, judgements = tortured(5, ["points"], 2, seed=3, **calm)
    assert overall(judgements) is Verdict.VALID, judgements
    assert one.counts[point] >= 1, "the point was reached"


def test_a_replica_that_cannot_restart_is_a_violation(monkeypatch, capsys):
    """Its file is damaged while it is down: it refuses to start, and nobody waits for its vote."""
    apply = LiveCluster.apply

    def damages(self, fault):
        changed = apply(self, fault)
        if isinstance(fault, Fail):
            self._folder.file(fault.replica).write_bytes(b"no database at all")
        return changed

    monkeypatch.setattr(LiveCluster, "apply", damages)
    words = ["--kills", "9", "--seed", "1", "--nodes", "3", "--modes", "crash"]
    assert cli.main(["torture", *words]) == 1
    out = capsys.readouterr().out
    assert "✗ progress n" in out and ".db: " in out
    assert f"repeat with: {commands.program()} torture --kills 9 --seed 1 --modes crash" in out


def test_what_is_known_when_the_machine_fails_is_told(monkeypatch, capsys, tmp_path):
    def fail(*_):
        raise HarnessError("a queue is damaged", exit_code=EXIT_MACHINE)

    monkeypatch.setattr(Torture, "_settle", fail)
    history = tmp_path / "history.jsonl"
    words = ["--kills", "1", "--nodes", "3", "--modes", "pause", "--history", str(history)]
    assert cli.main(["torture", *words]) == 4
    out, err = capsys.readouterr()
    assert "operations answered" in out and "linearizable (clients only)" in out
    assert err == "a queue is damaged\n"
    assert history_file.load(history).operations


class Quiet(Torture):
    """A run that starts nothing and found nothing wrong."""

    def run(self, *_):
        self.judgements = (Judgement("agreement", Verdict.VALID),)
        return self.judgements


@pytest.mark.parametrize("name", [".", "none/x.jsonl", "/proc/x.jsonl"])
def test_a_history_that_cannot_be_saved_is_refused_before_anything_starts(
    monkeypatch, capsys, tmp_path, name
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torture, "LiveCluster", None)
    assert cli.main(["torture", "--history", name]) == 2
    out, err = capsys.readouterr()
    assert err.startswith(f"--history: {name}: cannot be written (") and out == ""


def test_a_history_that_cannot_be_saved_later_does_not_swallow_the_verdict(
    monkeypatch, capsys, tmp_path
):
    def full(*_):
        raise HarnessError("x.jsonl: cannot be written (disk full)", exit_code=EXIT_MACHINE)

    monkeypatch.setattr(torture, "Torture", Quiet)
    monkeypatch.setattr(Quiet, "save_history", full)
    (tmp_path / "x.jsonl").write_text("an earlier one")
    assert cli.main(["torture", "--history", str(tmp_path / "x.jsonl")]) == 4
    out, err = capsys.readouterr()
    assert "✓ agreement" in out and err == "x.jsonl: cannot be written (disk full)\n"
    assert (tmp_path / "x.jsonl").read_text() == "an earlier one"  # a check is no writing


@pytest.mark.parametrize("words", [["--kills", "0"], ["--checkpoint-interval", "0"]])
def test_what_would_look_at_nothing_is_refused(capsys, words):
    assert cli.main(["torture", *words]) == 2
    assert f"{words[0]}: 0: expected a number from 1 on" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--durability", "power"], ["--checkpoint-interval", "5"]])
def test_what_others_would_not_look_at_is_refused(capsys, words):
    assert cli.main(["torture", "--replicas", "true", *words]) == 2
    assert capsys.readouterr().err.startswith(f"{' '.join(words)}: other people's replicas")


def test_what_is_done_with_others_anyway_may_be_asked_for(monkeypatch, capsys):
    def far_enough(*_):
        raise HarnessError("far enough")

    monkeypatch.setattr(outputs, "check_file", far_enough)
    words = ["--durability", "process", "--checkpoint-interval", "20"]
    assert cli.main(["torture", "--replicas", "true", *words]) == 2
    assert capsys.readouterr().err == "far enough\n"


def test_truncation_and_reads_of_the_accounts_of_others_are_met():
    one, judgements = tortured(3, ["crash"], 8, seed=4)
    assert overall(judgements) is Verdict.VALID, judgements
    shown = StringIO()
    Console(file=shown, width=80).print(one.table())
    (row,) = [line for line in shown.getvalue().splitlines() if "truncated" in line]
    assert int(row.split()[-2]) > 0, row
    assert any(o.request[2] == READ and o.request[0] != o.request[3] for o in one._history)


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


def test_between_the_table_and_the_verdict_it_says_what_it_does(monkeypatch, capsys):
    """Judging may take seconds."""
    seen = []

    def judge(self):
        seen.append(capsys.readouterr().out)
        return Judgement("clients", Verdict.VALID)

    monkeypatch.setattr(Torture, "run", lambda self, *_: setattr(self, "judgements", PASSED))
    monkeypatch.setattr(Torture, "judge_clients", judge)
    assert cli.main(["torture", "--kills", "1"]) == 0
    (before,) = seen
    table, _, last = before.rpartition("✓ agreement")
    assert "faults" in table and "judging what clients saw of 0 requests" in last


PASSED = (Judgement("agreement", Verdict.VALID),)
