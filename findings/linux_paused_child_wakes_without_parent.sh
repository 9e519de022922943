#!/usr/bin/env bash
# Linux (seen on 6.18) and Python's subprocess (3.11 or later), seen 2026-11-28.
#
# One would guess: a child paused with SIGSTOP stays paused until somebody sends SIGCONT; the death
#   of the harness that paused it, by SIGKILL, only leaves it behind.
# What happens: it depends on how the child was started. With `process_group=0` its group has no
#   parent left in the session when the harness dies. For such a group POSIX wants SIGHUP and then
#   SIGCONT sent to it if a member is stopped. A child that keeps the default action dies of
#   the SIGHUP; one that ignores it (nohup, daemons) wakes up and runs on, with no harness above
#   it. With `start_new_session=True` the group was without such a parent from the beginning, so
#   nothing is sent: the child stays paused for good, with its ports, files and memory.
# Who meets it: fault injection that pauses replicas when its own run is killed, by a CI time-out
#   say. The old leader that was to be frozen answers clients of the next run, or holds its port.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

cat >replica.py <<'P'
import signal, sys, time
if sys.argv[1] == "ignores":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(60)
P
cat >harness.py <<'P'
import os, signal, subprocess, sys
options = {"process_group=0": {"process_group": 0},
           "start_new_session=True": {"start_new_session": True}}[sys.argv[1]]
replica = subprocess.Popen([sys.executable, "replica.py", sys.argv[2]], stdout=subprocess.PIPE,
                           **options)
replica.stdout.readline()
replica.send_signal(signal.SIGSTOP)
os.waitpid(replica.pid, os.WUNTRACED)
print(replica.pid, flush=True)
signal.pause()
P
cat >killed.py <<'P'
import os, signal, subprocess, sys, time

def state(pid):
    """Return the state letter that the kernel shows, in words."""
    try:
        letter = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        letter = "X"
    return {"T": "paused", "S": "running on", "R": "running on"}.get(letter, "dead")

for options in ("process_group=0", "start_new_session=True"):
    for hangup in ("default", "ignores"):
        harness = subprocess.Popen([sys.executable, "harness.py", options, hangup],
                                   stdout=subprocess.PIPE, text=True, start_new_session=True)
        replica = int(harness.stdout.readline())
        before = state(replica)
        harness.kill()
        harness.wait()
        time.sleep(1)
        print(f"{options}, SIGHUP {hangup}: {before}, after the harness died: {state(replica)}")
        if state(replica) != "dead":
            os.kill(replica, signal.SIGKILL)
P

uname -sr
python3 --version
python3 killed.py | tee seen.txt
diff seen.txt - <<'E' || { echo "CHANGED: not what the head of this script says"; exit 1; }
process_group=0, SIGHUP default: paused, after the harness died: dead
process_group=0, SIGHUP ignores: paused, after the harness died: running on
start_new_session=True, SIGHUP default: paused, after the harness died: paused
start_new_session=True, SIGHUP ignores: paused, after the harness died: paused
E
echo "as described"
