"""A sound process and its file pass every check, and each broken one fails the one it names."""

import signal

import pytest
from live_checks import CAN_REFUSE_SYNCS, CHECKS
from zoo.processes import PROCESSES

from harness.live.storage import StorageError


@pytest.fixture(autouse=True)
def alarm():
    """A worker that waits in vain waits for ever."""

    def ring(*_):
        raise AssertionError("nothing woke the worker")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("name", CHECKS)
def test_sound_process_passes(name, tmp_path):
    CHECKS[name](tmp_path)


@pytest.mark.parametrize("one", PROCESSES, ids=lambda one: one.name)
def test_broken_process_fails(one, tmp_path):
    if one.check.startswith("under_power") and not CAN_REFUSE_SYNCS:
        pytest.skip("this system has no way to refuse a sync")
    with one.at_work(), pytest.raises((AssertionError, StorageError)) as caught:
        CHECKS[one.check](tmp_path)
    assert "nothing woke" not in str(caught.value)


def test_every_check_bites():
    assert {one.check for one in PROCESSES} == set(CHECKS)
