"""A campaign gives the same whatever executor runs its seeds, and says what is wrong with one."""

import argparse
import io
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from rich.console import Console

from harness.commands import find
from harness.commands.simulate import _parts, executors
from harness.errors import EXIT_MACHINE, EXIT_USAGE, HarnessError
from harness.sim.mix import SwarmOptions
from harness.sim.swarm import Tally, run_seeds

FEW = range(24)
SCHEDULER = """
import asyncio, distributed
async def main():
    async with distributed.Scheduler(host="127.0.0.1", port=0, dashboard=False) as scheduler:
        print(scheduler.address, flush=True)
        async with distributed.Worker(scheduler.address, nthreads=2, dashboard=False):
            await scheduler.finished()
asyncio.run(main())
"""


def simulate(*words):
    command = find("simulate")
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    console = Console(width=120, record=True, file=io.StringIO())
    return command.run(parser.parse_args(words), console), console.export_text()


def test_any_executor_gives_the_same():
    """Threads share what a seed sets for a while: they must not see each other's."""
    tally = Tally()
    with ThreadPoolExecutor(4) as pool:
        for part in _parts(FEW, SwarmOptions(), pool, 4, None):
            tally.merge(part)
    assert tally == run_seeds(FEW, SwarmOptions())


def test_a_dask_cluster_gives_the_same():
    pytest.importorskip("distributed")
    words = [sys.executable, "-c", SCHEDULER]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as cluster:
        try:
            address = cluster.stdout.readline().strip().replace("tcp://", "dask://")
            code, text = simulate("--seeds", "0:24", "--executor", address)
        finally:
            cluster.kill()
    assert code == 0
    assert text.split("longest")[0] == simulate("--seeds", "0:24")[1].split("longest")[0]


@pytest.mark.parametrize(
    "name", ["dusk", "dask://", "dask://host", "dask://host:x", "dask://host:1/x", "http://a:1"]
)
def test_what_names_no_executor_is_refused(name):
    with pytest.raises(HarnessError, match="expected processes or dask://HOST:PORT") as error:
        simulate("--executor", name)
    assert error.value.exit_code == EXIT_USAGE


def test_a_missing_extra_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(HarnessError, match=r"pip install 'paxbank\[cluster\]'") as error:
        simulate("--executor", "dask://127.0.0.1:1")
    assert error.value.exit_code == EXIT_USAGE


def test_a_scheduler_that_is_not_there_is_told(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(executors, "DASK_SECONDS", 0.2)
    with pytest.raises(HarnessError, match="no dask scheduler answers at dask://127") as error:
        simulate("--executor", "dask://127.0.0.1:1")
    assert error.value.exit_code == EXIT_MACHINE


def test_a_worker_that_fails_is_told():
    class Broken(ThreadPoolExecutor):
        def submit(self, *_):
            future = Future()
            future.set_exception(ModuleNotFoundError("No module named 'harness'"))
            return future

    with Broken(1) as pool, pytest.raises(HarnessError, match="No module named 'harness'") as error:
        list(_parts(FEW, SwarmOptions(), pool, 1, None))
    assert error.value.exit_code == EXIT_MACHINE
