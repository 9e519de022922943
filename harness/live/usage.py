"""CPU time, resident memory and writes of processes, as the kernel counts them."""

import os
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one process: seconds of CPU since its start, bytes resident now, bytes written."""

    cpu_seconds: float
    resident_bytes: int
    written_bytes: int | None = None  # to files and pipes, no sockets; None where nobody counts


def usage_of(pids: Iterable[int]) -> dict[int, Usage]:
    """By process id; those that are gone are left out."""
    found: dict[int, Usage] = {}
    for pid in pids:
        usage = _from_proc(pid) if os.path.isdir("/proc/self") else _from_ps(pid)
        if usage is not None:
            found[pid] = usage
    return found


def _from_proc(pid: int) -> Usage | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    ticks = int(fields[11]) + int(fields[12])
    pages = int(fields[21])
    seconds, resident = ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE")
    return Usage(seconds, resident, _written_by(pid))


def _written_by(pid: int) -> int | None:
    try:
        lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    except OSError:  # a kernel that does not count, or does not tell
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("wchar:")), None)


def _from_ps(pid: int) -> Usage | None:
    asked = subprocess.run(
        ["ps", "-o", "time=,rss=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    if not asked.stdout.strip():
        return None
    used, kibibytes = asked.stdout.split()
    seconds = 0.0
    for part in used.replace("-", ":").split(":"):
        seconds = seconds * 60 + float(part)
    return Usage(seconds, int(kibibytes) * 1024)


def age_us() -> int | None:
    """Microseconds since this process was started, in ticks of 10 ms; None without /proc."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    began = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return max(0, round((time.clock_gettime(time.CLOCK_BOOTTIME) - began) * 1e6))


def bytes_on_disk(folder: Path, name: str) -> int:
    """Of a database of this name in a folder, and of the files that SQLite keeps beside it."""
    return sum(path.stat().st_size for path in folder.glob(f"{name}.db*"))
