#!/usr/bin/env bash
# detangle 0.1.0 (PyPI, deterministic simulation of asyncio programs), seen 2026-11-28.
#
# One would guess: `net.crash(host)`, shown in its README as "kill -9", loses what the host had
#   not yet written, and lets what had already left the host arrive, as SIGKILL does.
# What happens: both the other way round. The crash cancels the host's tasks, so their `finally`
#   blocks run, and a write that was
#   acknowledged but only buffered reaches the "disk". A message still in flight when its sender
#   crashes is dropped: the network asks at delivery time whether the *sender* is up. Real
#   processes that take the same steps lose the write and deliver the message.
# Who meets it: whoever tests a replicated log in the simulator. A replica that acknowledges first
#   and flushes on its way out passes every crash; a leader that sends and dies at once never
#   leaves its command behind.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check detangle==0.1.0 2>pip.log ||
    { cat pip.log; exit 1; }

cat >simulated.py <<'P'
import asyncio
import detangle

async def server(box, disk):
    buffered = []
    try:
        while True:
            message, sender = await box.recv()
            buffered.append(message)
            box.send(sender, "ack")
    finally:
        disk.extend(buffered)

async def buffered_write():
    net, disk = detangle.network(), []
    detangle.spawn(server(net.mailbox(1, host="db"), disk), host="db")
    client = net.mailbox(1, host="client")
    client.send(("db", 1), "put")
    await client.recv()
    net.crash("db")
    await asyncio.sleep(60)
    return disk

async def message_in_flight():
    net = detangle.network()
    leader, follower = net.mailbox(1, host="leader"), net.mailbox(1, host="follower")
    leader.send(("follower", 1), "append")
    net.crash("leader")
    await asyncio.sleep(60)
    arrived = follower.recv_nowait()
    return [arrived[0]] if arrived else []

print("buffered write after the crash:", detangle.run(buffered_write))
print("message sent before the crash: ", detangle.run(message_in_flight))
P

cat >real.py <<'P'
import pathlib, signal, socket, subprocess, sys

SERVER = """
import asyncio, pathlib, sys
async def server():
    buffered = []
    try:
        while line := await asyncio.to_thread(sys.stdin.readline):
            buffered.append(line.strip())
            print("ack", flush=True)
    finally:
        pathlib.Path("disk").write_text("".join(buffered))
asyncio.run(server())
"""
LEADER = """
import os, signal, socket, sys
socket.socket(type=socket.SOCK_DGRAM).sendto(b"append", ("127.0.0.1", int(sys.argv[1])))
os.kill(os.getpid(), signal.SIGKILL)
"""

db = subprocess.Popen([sys.executable, "-c", SERVER], text=True,
                      stdin=subprocess.PIPE, stdout=subprocess.PIPE)
print("put", file=db.stdin, flush=True)
assert db.stdout.readline() == "ack\n"
db.kill()
db.wait()
disk = pathlib.Path("disk")
print("buffered write after the crash:", [disk.read_text()] if disk.exists() else [])

follower = socket.socket(type=socket.SOCK_DGRAM)
follower.bind(("127.0.0.1", 0))
follower.settimeout(5)
leader = subprocess.run([sys.executable, "-c", LEADER, str(follower.getsockname()[1])])
assert leader.returncode == -signal.SIGKILL
print("message sent before the crash: ", [follower.recv(99).decode()])
P

venv/bin/python -c 'from importlib.metadata import version; print("detangle", version("detangle"))'
echo "simulated:"; venv/bin/python simulated.py | tee simulated.txt
echo "real processes, SIGKILL:"; venv/bin/python real.py | tee real.txt
cat simulated.txt real.txt >seen.txt
diff seen.txt - <<'E' || { echo "CHANGED: not what the head of this script says"; exit 1; }
buffered write after the crash: ['put']
message sent before the crash:  []
buffered write after the crash: []
message sent before the crash:  ['append']
E
echo "as described"
