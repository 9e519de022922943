#!/usr/bin/env bash
# pysyncobj 0.3.17 (PyPI, Raft, 2026-08) with a journal file and a dump file, seen 2026-11-28.
#
# One would guess: a replica that is killed with SIGKILL while it writes a snapshot restarts from
#   its journal; whether the snapshot was completed changes where it begins to read, no more.
# What happens: the dump is written by a forked child, which the kill does not reach. It completes
#   the dump and puts it in place, with nobody left to cut the journal to match. At the next start
#   the journal does not begin with the two entries that the dump ends with, so all of it is
#   cleared, also what came after the snapshot. No restart is quick enough to be spared: the child
#   holds the replica's port until the dump is in place, and the constructor waits for the port.
#   What was acknowledged since the snapshot began is forgotten; a warning puts it down to "unsynced
#   journal entries lost on crash". Below, two of three replicas have applied 1 to 5, each is killed
#   once, its files untouched, and the cluster goes on with 1 to 3.
# Who meets it: whoever has a large state, which takes seconds to write, and kills a replica by its
#   process id, as harnesses and the OOM killer do; where the child is killed too, as with a whole
#   container, all is well. A crash test with a small state hardly ever kills within the snapshot.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pysyncobj==0.3.17 2>pip.log ||
    { cat pip.log; exit 1; }

cat >replica.py <<'P'
"""A replica that does what the lines of its standard input say: name, address, the others."""
import os, select, sys, time
from pysyncobj import SyncObj, SyncObjConf, replicated

class Large:
    """Stands for a large state: it is not written before the file `written` is there."""
    def __reduce__(self):
        while not os.path.exists("written") and os.path.exists("replica.py"):
            time.sleep(0.01)
        return Large, ()

class Account(SyncObj):
    def __init__(self, name, own, others):
        super().__init__(own, others, SyncObjConf(
            journalFile=f"{name}.journal", fullDumpFile=f"{name}.dump", autoTick=False,
            raftMinTimeout=3, raftMaxTimeout=5, connectionTimeout=6))  # for a busy machine
        self.deposits, self.large = [], Large()

    @replicated
    def deposit(self, amount):
        self.deposits.append(amount)

name, own, *others = sys.argv[1:]
account = Account(name, own, others)
while True:
    account.doTick(0.01)
    if not select.select([sys.stdin], [], [], 0)[0]:
        continue
    match sys.stdin.readline().split():
        case ["state"]:
            print(account._isReady(), account._isLeader(), *account.deposits, flush=True)
        case ["deposit", amount]:
            account.deposit(int(amount), callback=lambda _, code: print(code, flush=True))
        case ["snapshot"]:
            account.forceLogCompaction()
            account.doTick(0.01)
            print("begun", flush=True)
        case _:
            break
P
cat >kills.py <<'P'
import os, signal, socket, subprocess, sys, time

class Replica:
    def __init__(self, name, addresses):
        others = [address for other, address in addresses.items() if other != name]
        self.process = subprocess.Popen(
            [sys.executable, "replica.py", name, addresses[name], *others], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)

    def ask(self, *command):
        print(*command, file=self.process.stdin, flush=True)
        return self.process.stdout.readline().split()

    def state(self):
        ready, leads, *deposits = self.ask("state")
        return ready == "True", leads == "True", " ".join(deposits)

    def kill(self, with_children=False):
        if with_children:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()

def until(condition):
    deadline = time.monotonic() + 45
    while not condition():
        assert time.monotonic() < deadline, "waited for too long"
        time.sleep(0.02)

def all_ready(replicas):
    states = [replica.state() for replica in replicas]
    return all(ready for ready, _, _ in states) and any(leads for _, leads, _ in states)

def free_addresses(names):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in names]
    addresses = {name: f"127.0.0.1:{s.getsockname()[1]}" for name, s in zip(names, sockets)}
    for s in sockets:
        s.close()
    return addresses

def deposit(replica, amounts):
    for amount in amounts:
        assert replica.ask("deposit", amount) == ["0"], "not acknowledged"

started = []
def start(name, addresses):
    started.append(Replica(name, addresses))
    return started[-1]

def kill_each_once(names, with_children):
    addresses = free_addresses(names)
    replicas = {name: start(name, addresses) for name in names}
    until(lambda: all_ready(replicas.values()))
    leader = next(name for name, replica in replicas.items() if replica.state()[1])
    second, third = [name for name in names if name != leader]
    replicas[third].kill()
    deposit(replicas[leader], (1, 2, 3))
    until(lambda: replicas[second].state()[2] == "1 2 3")
    replicas[second].ask("snapshot")
    deposit(replicas[leader], (4, 5))
    until(lambda: replicas[second].state()[2] == "1 2 3 4 5")
    print("acknowledged by the leader, and applied by it and the second: 1 2 3 4 5")
    replicas[second].kill(with_children)
    replicas[leader].kill()
    left = [start(name, addresses) for name in (second, third)]
    open("written", "w").close()
    until(lambda: all_ready(left))
    print("the second and the third after their restart:", left[0].state()[2])
    deposit(next(replica for replica in left if replica.state()[1]), [6])
    until(lambda: all(replica.state()[2].endswith("6") for replica in left))
    print("and after a deposit of 6:", *{replica.state()[2] for replica in left})
    for replica in left:
        replica.kill()

try:
    print("the replica is killed:")
    kill_each_once("ABC", with_children=False)
    os.remove("written")
    print("the replica and its child are killed:")
    kill_each_once("DEF", with_children=True)
finally:
    open("written", "w").close()
    for replica in started:
        replica.kill()
P

venv/bin/pip list --disable-pip-version-check 2>/dev/null | grep pysyncobj
venv/bin/python kills.py 2>log.txt | tee seen.txt
diff seen.txt - <<'E' || { echo "CHANGED: not what the head of this script says"; exit 1; }
the replica is killed:
acknowledged by the leader, and applied by it and the second: 1 2 3 4 5
the second and the third after their restart: 1 2 3
and after a deposit of 6: 1 2 3 6
the replica and its child are killed:
acknowledged by the leader, and applied by it and the second: 1 2 3 4 5
the second and the third after their restart: 1 2 3 4 5
and after a deposit of 6: 1 2 3 4 5 6
E
echo "as described"
