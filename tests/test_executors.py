"""A campaign gives the same whatever executor runs its seeds, and says what is wrong with one."""

import argparse
import asyncio
import io
import os
import pickle
import subprocess
import sys
import time
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from rich.console import Console

from harness.commands import find
from harness.commands import simulate as simulating
from harness.commands.simulate import _parts, executors
from harness.errors import EXIT_INVALID, EXIT_MACHINE, EXIT_UNKNOWN, EXIT_USAGE, HarnessError
from harness.sim.scenario import SwarmOptions
from harness.sim.swarm import Tally, run_seeds

FEW = range(8)
SCHEDULER = """
import asyncio, distributed
async def main():
    async with distributed.Scheduler(host="127.0.0.1", port=0, dashboard=False) as scheduler:
        print(scheduler.address, flush=True)
        async with distributed.Worker(scheduler.address, nthreads=2, dashboard=False):
            await scheduler.finished()
asyncio.run(main())
"""


def simulate(*words, console=None):
    command = find("simulate")
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    console = console or Console(width=120, record=True, file=io.StringIO())
    return command.run(parser.parse_args(words), console), console.export_text()


def test_any_executor_gives_the_same():
    """Threads share what a seed sets for a while: they must not see each other's."""
    tally = Tally()
    with ThreadPoolExecutor(4) as pool:
        for part in _parts(FEW, SwarmOptions(), pool, 4, None):
            tally.merge(part)
    assert tally == run_seeds(FEW, SwarmOptions())


@pytest.mark.slow
def test_a_dask_cluster_gives_the_same(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(simulating, "CHUNK", 3)  # so that there are several parts
    words = [sys.executable, "-c", SCHEDULER]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as cluster:
        try:
            address = cluster.stdout.readline().strip().replace("tcp://", "dask://")
            code, text = simulate("--seeds", "0:8", "--executor", address)
        finally:
            cluster.kill()
    assert code == 0
    assert text.split("longest")[0] == simulate("--seeds", "0:8")[1].split("longest")[0]


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


class Dying(ThreadPoolExecutor):
    """Does so many calls; what comes then fails as told, or never comes back."""

    def __init__(self, calls, error=None):
        super().__init__(1)
        self.calls, self.error = calls, error

    def submit(self, call, *arguments):
        self.calls -= 1
        future = Future()
        if self.calls >= 0:
            future.set_result(call(*arguments))
        elif self.error is not None:
            future.set_exception(self.error)
        return future


def right_seeds(seeds, allowed):
    return Tally(seeds=len(seeds))


def wrong_seed(seeds, allowed):
    return Tally(seeds=len(seeds), violations=[(seeds.start, "slot 7 has two values")])


@pytest.mark.parametrize("error", [CancelledError(), asyncio.CancelledError(), None])
@pytest.mark.parametrize(
    ("runs", "code"), [(right_seeds, EXIT_MACHINE), (wrong_seed, EXIT_INVALID)]
)
def test_what_was_found_before_an_executor_died_is_told(monkeypatch, error, runs, code):
    @contextmanager
    def opened(*_):
        yield Dying(2, error), 1

    monkeypatch.setattr(executors, "opened", opened)
    monkeypatch.setattr(simulating, "run_seeds", runs)
    monkeypatch.setattr(simulating, "QUIET_SECONDS", 0.05)
    console = Console(width=120, record=True, file=io.StringIO())
    with pytest.raises(HarnessError, match="--executor: ") as told:
        simulate("--seeds", "0:60", console=console)
    text = console.export_text()
    assert "20 of 60 seeds, " in text and told.value.exit_code == code
    assert text.count("slot 7 has two values") == (2 if code == EXIT_INVALID else 0)


def test_what_a_worker_says_of_its_machine_is_told_as_it_is():
    full = HarnessError("n1.db: disk is full", exit_code=EXIT_MACHINE)
    with pytest.raises(HarnessError, match=r"^n1\.db: disk is full$") as told:
        list(_parts(FEW, SwarmOptions(), Dying(0, pickle.loads(pickle.dumps(full))), 1, None))
    assert told.value.exit_code == EXIT_MACHINE


def test_the_seconds_end_a_campaign_whose_workers_are_gone(monkeypatch):
    monkeypatch.setattr(simulating, "LATE_SECONDS", 0.01)
    until = time.monotonic() + 0.05
    with pytest.raises(HarnessError, match="no worker gave a result within 0 s") as told:
        list(_parts(FEW, SwarmOptions(), Dying(0), 1, until))
    assert told.value.exit_code == EXIT_MACHINE


def test_a_process_that_is_killed_is_told(monkeypatch):
    monkeypatch.setattr(simulating, "run_seeds", killed)
    with pytest.raises(HarnessError, match="BrokenProcessPool") as told:
        simulate("--seeds", "0:60", "--jobs", "2")
    assert told.value.exit_code == EXIT_MACHINE


def killed(*_):
    os.kill(os.getpid(), 9)


def test_a_campaign_of_no_seed_is_no_campaign_that_holds():
    code, text = simulate("--seeds", "0:9", "--seconds", "1e-9")
    assert code == EXIT_UNKNOWN and "0 of 9 seeds, " in text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--seconds", "0"], "--seconds: 0: expected a number above 0"),
        (["--seconds", "nan"], "--seconds: nan: expected a number above 0"),
        (["--trace", "--shrink", "x"], "--shrink: --trace makes nothing small, leave out this or"),
        (["--trace", "--jobs", "2"], "--jobs 2: has no effect with --trace, leave it out"),
        (["--trace", "--seconds", "2"], "--seconds: has no effect with --trace"),
        (["--executor", "dask://h:1", "--jobs", "2"], "--jobs 2: has no effect with --executor"),
        (["--shrink", "/dev/null"], "--shrink: /dev/null: cannot be written (File exists), expec"),
        (["--shrink", "/dev/null/x"], "--shrink: /dev/null/x: cannot be written (Not a directory"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_seed(words, told):
    with pytest.raises(HarnessError) as error:
        simulate("--seeds", "0", *words)
    assert str(error.value).startswith(told) and error.value.exit_code == EXIT_USAGE


def test_a_worker_that_fails_is_told():
    class Broken(ThreadPoolExecutor):
        def submit(self, *_):
            future = Future()
            future.set_exception(ModuleNotFoundError("No module named 'harness'"))
            return future

    with Broken(1) as pool, pytest.raises(HarnessError, match="No module named 'harness'") as error:
        list(_parts(FEW, SwarmOptions(), pool, 1, None))
    assert error.value.exit_code == EXIT_MACHINE
