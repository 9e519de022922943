#!/usr/bin/env bash
# pysyncobj 0.3.17 (PyPI, Raft, 2026-08), seen 2026-11-28.
#
# One would guess: the failure LEADER_CHANGED, "leader has changed without command commit", tells
#   that the command was not applied, so that it is safe to send it again; an outcome that is not
#   known has a code of its own, UNKNOWN_OUTCOME.
# What happens: a follower that was paused for longer than an election timeout, with a command
#   forwarded to the leader, reports LEADER_CHANGED as the first thing it does when it goes on: it
#   becomes a candidate before it reads what waits in its sockets. The leader was there all the
#   time, and the command is committed and applied on both other replicas. Whoever believes the
#   code and sends the command again has it applied twice, on all three.
# Who meets it: clients that retry on definite failures only, and checkers of histories that take
#   LEADER_CHANGED for "did not happen": under pauses they find a correct store at fault.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pysyncobj==0.3.17 2>pip.log ||
    { cat pip.log; exit 1; }

cat >paused.py <<'P'
"""Three replicas in one process; a replica that is not ticked is paused."""
import socket, time
from pysyncobj import FAIL_REASON, SyncObj, SyncObjConf, replicated

class Account(SyncObj):
    def __init__(self, own, others):
        super().__init__(own, others, SyncObjConf(autoTick=False))
        self.deposits = []

    @replicated
    def deposit(self, amount):
        self.deposits.append(amount)

def tick_until(condition, *replicas):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        for replica in replicas:
            replica.doTick(0.005)

sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
names = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
for s in sockets:
    s.close()
replicas = [Account(own, [name for name in names if name != own]) for own in names]
tick_until(lambda: all(r._isReady() for r in replicas), *replicas)
[leader] = [r for r in replicas if r._isLeader()]
follower, third = [r for r in replicas if r is not leader]

told = []
follower.deposit(50, callback=lambda result, reason: told.append(reason))
follower.doTick(0.005)  # sends the command to the leader; then the follower is paused
tick_until(lambda: leader.deposits and third.deposits, leader, third)
end = time.monotonic() + 2  # more than the longest election timeout
tick_until(lambda: time.monotonic() > end, leader, third)
print("applied by leader and third:", leader.deposits, third.deposits)
print("still leader:", leader._isLeader())
follower.doTick(0.005)
codes = {code: name for name, code in vars(FAIL_REASON).items() if isinstance(code, int)}
print("the follower was told:", [codes[code] for code in told])

follower.deposit(50)  # the retry
tick_until(lambda: all(len(r.deposits) == 2 for r in replicas), *replicas)
print("after the retry:", *[r.deposits for r in replicas])
P

venv/bin/pip list --disable-pip-version-check 2>/dev/null | grep pysyncobj
venv/bin/python paused.py 2>log.txt | tee seen.txt
diff seen.txt - <<'E' || { echo "CHANGED: not what the head of this script says"; exit 1; }
applied by leader and third: [50] [50]
still leader: True
the follower was told: ['LEADER_CHANGED']
after the retry: [50, 50] [50, 50] [50, 50]
E
echo "as described"
