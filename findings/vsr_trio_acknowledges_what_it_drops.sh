#!/usr/bin/env bash
# vsr-trio 0.3.2 (PyPI, 2026-05, Viewstamped Replication after TigerBeetle's, for teaching), seen
#   2026-11-28.
#
# One would guess: what send_client_request() returns a reply for is committed, once, and the reply
#   is that command's own. Callers need not know of each other: neither a client's id nor a request
#   number has to be given.
# What happens: without an id everybody is "client-1", with the time in nanoseconds as the number.
#   A replica keeps one number and one reply for each client, and takes every lower number for a
#   repetition of the last request: it answers with that one's reply and does nothing. So of callers
#   at the same time whoever took its number first and arrives last is acknowledged and dropped. Of
#   fifty additions, five at a time on one machine with no fault at all, all are acknowledged and a
#   quarter to two thirds are in no replica; a question for one key gets the value of another. With
#   an id for each caller all fifty are there. Viewstamped Replication asks of a client to have one
#   request out at a time; the library's helper, and the command line that it makes for
#   applications, put everybody into one client, and the rule is checked nowhere.
# Who meets it: whoever puts load on a cluster with the helper, or calls the same command in two
#   terminals. Calls one after the other are right, and a test that counts replies is green.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check vsr-trio==0.3.2 2>pip.log ||
    { cat pip.log; exit 1; }

cat >counters.py <<'P'
from vsr.application import ApplicationSpec, FunctionApplication

def apply(state, command):
    if command.kind == "add":
        state[command.key] = state.get(command.key, 0) + command.value
    return state.get(command.key, 0)

APP = ApplicationSpec(name="counters", commands=["add", "get"],
                      application=FunctionApplication(lambda command: None, apply))
P
cat >callers.py <<'P'
import socket, subprocess
from pathlib import Path
import trio
from vsr.client import send_client_request
from vsr.config import load_client_config
from vsr.model import Command

sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
nodes = ",".join(f"n{i}=127.0.0.1:{s.getsockname()[1]}" for i, s in enumerate(sockets))
for s in sockets:
    s.close()
subprocess.run(["venv/bin/vsr", "init-cluster", "--nodes", nodes, "--primary-timeout", "20"],
               check=True, stdout=subprocess.DEVNULL)
cluster = load_client_config(Path(".vsr"))
replicas = [subprocess.Popen(["venv/bin/vsr", "--app", "counters", "start-node", f"n{i}"],
                             env={"PYTHONPATH": "."}, stdout=subprocess.DEVNULL)
            for i in range(3)]

async def asked(command, **client):
    return (await send_client_request(cluster, command, timeout=20, **client)).result

async def round(name, key, ids=None):
    """Fifty additions, five at a time, and as many questions for a key that nobody writes."""
    additions, questions = [], []

    async def call(replies, command, **client):
        replies.append(await asked(command, **client))

    for turn in range(10):
        async with trio.open_nursery() as nursery:
            for caller in range(5):
                for replies, command in ((additions, Command("add", key, 1)),
                                         (questions, Command("get", "never written"))):
                    client = {"client_id": f"{command.kind} {caller}"} if ids else {}
                    nursery.start_soon(lambda r=replies, c=command, o=client: call(r, c, **o))
    total = await asked(Command("get", key))
    print(f"{name}: {len(additions)} additions acknowledged, total {total}")
    print("  some lost:", total < len(additions),
          " some questions answered with another key's value:", any(questions))

async def main():
    for addition in range(3):
        await asked(Command("add", "calm", 1))
    total = await asked(Command("get", "calm"))
    print("one after the other: 3 additions acknowledged, total", total)
    await round("as given", "crowd")
    await round("ids of their own", "known", ids=True)

try:
    trio.run(main)
finally:
    for replica in replicas:
        replica.kill()
        replica.wait()
P
venv/bin/pip list --disable-pip-version-check 2>/dev/null | grep -E '^(vsr-)?trio'
venv/bin/python callers.py | tee out.txt
sed -E 's/^(as given: .*, total) [0-9]+$/\1 .../' out.txt >seen.txt
diff seen.txt - <<'E' || { echo "CHANGED: not what the head of this script says"; exit 1; }
one after the other: 3 additions acknowledged, total 3
as given: 50 additions acknowledged, total ...
  some lost: True  some questions answered with another key's value: True
ids of their own: 50 additions acknowledged, total 50
  some lost: False  some questions answered with another key's value: False
E
echo "as described"
