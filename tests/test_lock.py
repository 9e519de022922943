"""The lock on a data folder, and what becomes of it when its holder dies."""

import os
import signal
import subprocess
import sys

import pytest

from harness.errors import HarnessError
from harness.live import lock
from harness.live.lock import FolderLock

# Holds the lock, hands it to a child that stays, and tells both process ids.
PARENT = """
import os, sys, time
from pathlib import Path
from harness.live.lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
if os.fork() == 0:
    lock.sign()
    print(os.getppid(), os.getpid(), flush=True)
    time.sleep(60)
sys.stdin.read()
"""


def test_a_second_one_is_refused_and_told_by_whom(tmp_path):
    first = FolderLock(tmp_path)
    with pytest.raises(HarnessError) as refusal:
        FolderLock(tmp_path)
    assert str(refusal.value) == f"{tmp_path}: in use by process {os.getpid()}"
    os.close(os.open(tmp_path / lock.FILE, os.O_RDWR))  # a fcntl lock would be gone now
    with pytest.raises(HarnessError):
        FolderLock(tmp_path)
    first.close()
    FolderLock(tmp_path).close()


def test_children_of_a_dead_holder_still_hold_it_and_the_dead_do_not(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_ENDING_SECONDS", 0.05)
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as parent:
        harness, child = map(int, parent.stdout.readline().split())
        try:
            assert harness == parent.pid
            with pytest.raises(HarnessError, match=f"in use by process {harness}$"):
                FolderLock(tmp_path)
            parent.kill()
            parent.wait()
            with pytest.raises(HarnessError, match=f"in use by process {child}$"):
                FolderLock(tmp_path)
        finally:
            os.kill(child, signal.SIGKILL)
    monkeypatch.setattr(lock, "_ENDING_SECONDS", 10.0)  # the kernel may need a moment
    taken = FolderLock(tmp_path)
    assert (tmp_path / lock.FILE).read_text() == f"{os.getpid()}\n"
    taken.close()
