"""What replicas do beside answering: they start programs, print, and leave things when they die."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from broken_bank import answers
from processes import wait_for

from bank.accounts import Balances
from harness import cli
from harness.files.config import ClusterConfig
from harness.files.testset import load
from harness.live import process, storage
from harness.live.cluster import LiveCluster
from harness.run.runner import Runner

ROOT = Path(__file__).parents[1]
BALANCES = Balances.of({"A": 10})
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
        assert len(started) == 3
        assert all(process.kernel_state(pid) not in ("X", "Z", "") for pid in started)
    finally:
        cluster.stop()
    assert wait_for(lambda: all(process.kernel_state(pid) in ("X", "Z", "") for pid in started))


def test_what_a_replica_prints_is_not_on_standard_output():
    code = """if True:
        import os
        from harness.live import apart
        apart.keep()
        print("here")
        os.write(1, b"and here")
        os._exit(0)
    """
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT, env=buffered)
    assert (told.stdout, told.stderr) == (b"", b"here\nand here")


def test_one_document_stands_alone_though_a_simulated_replica_prints(tmp_path, monkeypatch, capsys):
    path = tmp_path / "case.csv"
    path.write_text(ONE)
    answers(monkeypatch, "flush", "print('flushed')")
    assert cli.main([str(path), "--nodes", "3", "--sim", "--format", "json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["verdict"] == "valid"
    assert "flushed" in told.err


HALF_STARTED = """
import os, pickle, sys
from multiprocessing import spawn
from harness.live import preload
for data in (b"", pickle.dumps({"name": "n1"})[:-3]):
    reading, writing = os.pipe()
    os.write(writing, data), os.close(writing)
    try: spawn._main(reading, reading)
    except BaseException: sys.excepthook(*sys.exc_info())
try: 1 / 0
except BaseException: sys.excepthook(*sys.exc_info())
"""


def test_a_harness_that_dies_while_it_starts_a_process_is_no_news():
    told = subprocess.run(
        [sys.executable, "-c", HALF_STARTED], capture_output=True, text=True, cwd=ROOT
    )
    assert (told.returncode, told.stdout) == (0, "")
    assert told.stderr.count("Traceback") == 1 and "ZeroDivisionError" in told.stderr


def test_what_a_killed_process_was_copying_is_in_the_folder_of_its_run(tmp_path):
    path, owner = tmp_path / "n1.db", storage.Owner("n1", "cluster")
    storage.Storage.create(path, BALANCES, owner)
    reading, writing = process.pipe()
    begun = process.start(copies_for_ever, path, owner, BALANCES.accounts, writing)
    writing.close()
    copy = Path(reading.recv())
    process.kill(begun)
    assert copy.exists() and copy.is_relative_to(process.own_folder())
    shutil.rmtree(copy.parent)


def copies_for_ever(path, owner, accounts, told):
    """A process's target: it looks at a file before it starts, and never gets any further."""

    def verified(_, copy, *__):
        told.send(str(copy))
        time.sleep(600)

    storage._verified = verified
    storage.read_verified(path, owner, accounts)
