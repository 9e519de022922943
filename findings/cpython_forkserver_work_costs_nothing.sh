#!/usr/bin/env bash
# CPython's start method "forkserver" (seen with 3.11 to 3.13; the default on Linux since 3.14) and
#   psutil 7.2.2, seen 2026-11-28.
#
# One would guess: what a program costs can be read off when it has ended. `time`, wait4() and
#   RUSAGE_CHILDREN add up the descendants that were waited for, and a Pool that is closed and joined
#   has waited for its workers. How the workers are started changes nothing.
# What happens: workers of a fork server are not children of the program but of the server, which
#   waits for them; and nobody waits for the server, which ends after the program as an orphan. So
#   what they used is in no sum: a worker that computed for a second and held 300 MB is 1 s and
#   300 MB with "fork" and "spawn"; with "forkserver" the program, its parent's wait4(), bash's
#   `time` and psutil's children_user all see next to nothing, with exit status 0 as before.
# Who meets it: graders and benchmarks that take CPU time or peak memory from the ended process, with
#   a limit or a ranking on it. The submission is untouched; the interpreter went to 3.14. A limit by
#   cgroup counts it still, as does RLIMIT_CPU, for each process by itself.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check psutil==7.2.2 2>pip.log ||
    { cat pip.log; exit 1; }

cat >program.py <<'P'
import multiprocessing, resource, sys, time
import psutil

def work(_):
    held = bytearray(300_000_000)
    begin = time.process_time()
    while time.process_time() < begin + 1:
        pass
    return len(held)

def shown(seconds):
    return "a second or more" if seconds >= 0.9 else "next to nothing" if seconds < 0.5 else seconds

if __name__ == "__main__":
    pool = multiprocessing.get_context(sys.argv[1]).Pool(1)
    pool.map(work, [None])
    pool.close()
    pool.join()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    print("  RUSAGE_CHILDREN:", shown(children.ru_utime + children.ru_stime))
    times = psutil.Process().cpu_times()
    print("  psutil:", shown(times.children_user + times.children_system))
P
cat >grader.py <<'P'
import os, subprocess, sys
from program import shown

program = subprocess.Popen([sys.executable, "program.py", sys.argv[1]])
_, status, usage = os.wait4(program.pid, 0)
peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print("  its parent's wait4:", shown(usage.ru_utime + usage.ru_stime) + ",",
      "300 MB or more" if peak > 300e6 else "less than 100 MB" if peak < 100e6 else peak,
      "- exit status", os.waitstatus_to_exitcode(status))
P

venv/bin/python --version
for method in fork spawn forkserver; do
    echo "$method:"
    venv/bin/python grader.py $method
    TIMEFORMAT="%U %S"
    spent=$({ time venv/bin/python program.py $method >/dev/null; } 2>&1)
    venv/bin/python -c 'import sys; from program import shown
print("  time:", shown(sum(map(float, sys.argv[1].split()))))' "$spent"
done | tee seen.txt
diff seen.txt - <<'E' || { echo "CHANGED: not what the head of this script says"; exit 1; }
fork:
  RUSAGE_CHILDREN: a second or more
  psutil: a second or more
  its parent's wait4: a second or more, 300 MB or more - exit status 0
  time: a second or more
spawn:
  RUSAGE_CHILDREN: a second or more
  psutil: a second or more
  its parent's wait4: a second or more, 300 MB or more - exit status 0
  time: a second or more
forkserver:
  RUSAGE_CHILDREN: next to nothing
  psutil: next to nothing
  its parent's wait4: next to nothing, less than 100 MB - exit status 0
  time: next to nothing
E
echo "as described"
