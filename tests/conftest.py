"""What holds for all tests: what they draw, and what the processes inherit that they start.

Tests with drawn inputs draw the same ones every time, and no clock decides about them.

A default run that fails has a fault that the commit before did not have. To look for new ones:
`pytest --hypothesis-profile search`; what that finds is mended, and becomes a case of its own.
"""

import signal
import sqlite3
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, settings

TIMELESS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("repeatable", TIMELESS, derandomize=True)
settings.register_profile("search", TIMELESS, max_examples=2000)
settings.load_profile("repeatable")


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
