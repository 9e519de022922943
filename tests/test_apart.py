"""What a `bank` does beside answering: it starts programs, and it prints."""

import json
import subprocess
import sys
from pathlib import Path

from broken_bank import answers
from processes import wait_for

from harness import cli
from harness.files.config import ClusterConfig
from harness.files.testset import load
from harness.live import process
from harness.live.cluster import LiveCluster
from harness.run.runner import Runner

ONE = '1,"(A, B, 2)","[n1, n2, n3]"\n'
STARTS = """
    if not hasattr(self, 'child'):
        import os
        self.child = os.spawnlp(os.P_NOWAIT, 'sleep', 'sleep', '600')
        with open({!r}, 'a') as stream: print(self.child, file=stream)
"""


def test_what_a_replica_started_ends_with_it(tmp_path, monkeypatch):
    path, pids = tmp_path / "case.csv", tmp_path / "pids"
    path.write_text(ONE)
    answers(monkeypatch, "flush", STARTS.format(str(pids)).strip())
    config = ClusterConfig(nodes=3, seed=1)
    cluster = LiveCluster(config)
    try:
        cluster.start()
        Runner(cluster, config, load(path, config)).run_next()
        started = [int(pid) for pid in pids.read_text().split()]
        assert len(started) == 3 and all(process.kernel_state(pid) == "S" for pid in started)
    finally:
        cluster.stop()
    assert wait_for(lambda: all(process.kernel_state(pid) in ("X", "Z", "") for pid in started))


def test_what_a_replica_prints_is_not_on_standard_output():
    code = "import os; from harness.live import apart; apart.keep(); os.write(1, b'here')"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, cwd=Path(__file__).parents[1]
    )
    assert (told.stdout, told.stderr) == (b"", b"here")


def test_one_document_stands_alone_though_a_simulated_replica_prints(tmp_path, monkeypatch, capsys):
    path = tmp_path / "case.csv"
    path.write_text(ONE)
    answers(monkeypatch, "flush", "print('flushed')")
    assert cli.main([str(path), "--nodes", "3", "--sim", "--format", "json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["verdict"] == "valid"
    assert "flushed" in told.err
