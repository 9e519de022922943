"""What holds for all tests: what they draw, and what the processes inherit that they start.

The whole suite runs in four processes, where pytest-xdist is there and two cores are; `-n 0` runs
it in one. What is named (a file, a test) and what measures runs in one process.

Tests with drawn inputs draw the same ones every time, and no clock decides about them.

A default run that fails has a fault that the commit before did not have. To look for new ones:
`pytest --hypothesis-profile search`; what that finds is mended, and becomes a case of its own.
"""

import gc
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
from contextlib import suppress
from multiprocessing.util import Finalize

import pytest
from hypothesis import HealthCheck, settings

TIMELESS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("repeatable", TIMELESS, derandomize=True)
settings.register_profile("search", TIMELESS, max_examples=2000)
settings.load_profile("repeatable")

# Hundreds of processes are started; where the environment forbids to keep what was compiled, each
# would compile the program anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

gc.set_threshold(10_000)  # most of what tests make at once they keep: trees, documents, histories


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """Two processes for each core, as tests of replicas mostly wait; four at most.

    Each takes the next tests in order, so that the tests of a module share what it has started.
    """
    if "PYTEST_XDIST_WORKER" in os.environ or not config.pluginmanager.hasplugin("xdist"):
        return  # who is started by a run starts no others
    option, is_whole = config.option, config.args_source is config.ArgsSource.TESTPATHS
    measures = "quiet" in option.markexpr.replace("not quiet", "")
    if is_whole and option.numprocesses is None and not measures and not option.usepdb:
        option.numprocesses, option.dist = 2 * min(os.cpu_count() or 1, 2), "worksteal"


MARKS = ("slow", "quiet", "long")


def pytest_ignore_collect(collection_path, config):
    """Files that do not name the one mark which is asked for: no test in them has it.

    To import them all takes each process seconds.
    """
    mark = config.option.markexpr
    if mark in MARKS and collection_path.suffix == ".py":
        return True if f"mark.{mark}" not in collection_path.read_text("utf-8") else None
    return None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """The slowest come first: at the end nobody waits for one that has just begun."""

    def seconds(item):
        mark = item.get_closest_marker("slow")
        return 0 if mark is None else (*mark.args, 1)[0]

    items.sort(key=seconds, reverse=True)


def pytest_collection_finish():
    """Thousands of tests, and all that was imported for them, are no garbage until the end."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def keeps_its_rubbish(tmp_path_factory):
    """What runs leave on purpose, for people to look at, goes with the tests that made them."""
    tmp_path_factory.getbasetemp()  # made before TMPDIR is another: pytest keeps it as ever
    folder = tempfile.mkdtemp(prefix="tests-")
    # Runs after multiprocessing has removed its own folder in there, at -100.
    Finalize(None, shutil.rmtree, (folder, True), exitpriority=-200)
    with pytest.MonkeyPatch.context() as changes:
        changes.setenv("TMPDIR", folder)
        changes.setattr(tempfile, "tempdir", None)
        yield


@pytest.fixture(autouse=True)
def closes_databases(monkeypatch):
    """Databases that a test forgot: Python from 3.13 on tells of each, which fails some test."""
    opened, connect = [], sqlite3.connect

    def tracked(*words, **more):
        opened.append(connect(*words, **more))
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", tracked)
    yield
    for database in opened:
        with suppress(sqlite3.Error):  # it is another thread's
            database.close()


@pytest.fixture(autouse=True)
def heeds_ctrl_c():
    """Every test begins so, and with it the processes that it starts.

    A shell's background job ignores Ctrl-C, and so does `cli` once it was interrupted.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
