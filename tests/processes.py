"""Processes that tests start: waiting for what becomes of them, and finding those that are left."""

import os
import signal
import subprocess
import time
import uuid
from pathlib import Path

import pytest

PATIENCE = 60.0  # seconds: a defect takes for ever, and a busy machine takes long


def wait_for(condition, seconds=PATIENCE):
    """Whether this comes to hold."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


@pytest.fixture
def marked():
    """An environment of its own, by which all processes of one run are found."""
    mark = f"PAXBANK_TEST_MARK={uuid.uuid4()}"
    name, value = mark.split("=")
    yield os.environ | {name: value}, lambda: having(mark)
    for pid in having(mark):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def alarm():
    """A worker that waits in vain waits for ever."""

    def ring(*_):
        raise AssertionError("nothing woke the worker")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def piped(command, environment):
    """A program whose output is read here; Ctrl-C for this one does not reach it."""
    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def having(mark):
    """Ids of the processes with this mark in their environment; zombies have none."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if mark.encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def commands_with(mark):
    """The command lines in which this word stands."""
    listed = subprocess.run(["ps", "-A", "-ww", "-o", "command="], capture_output=True, text=True)
    return [line for line in listed.stdout.splitlines() if mark in line]


def living(pids):
    """Those that run; the dead that nobody has buried do not."""
    found = []
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat") as stat:
                state = stat.read().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state not in "ZX":
            found.append(pid)
    return found
