#!/usr/bin/env bash
# etcd3gw 2.7.0 and aetcd 1.0.0 (PyPI, 2026-06, Python clients) with etcd 3.4.23 (Debian 12:
#   etcd-server 3.4.23-4+b4), seen 2026-11-28.
#
# One would guess: `with client.lock("job", ttl=60):` runs its block while it holds the lock, as
#   threading.Lock does, and raises if it cannot get it. `lock.refresh()`, which renews the lock,
#   says so if there is nothing to renew.
# What happens: acquire() answers True or False, and entering drops the answer. etcd3gw does not
#   even wait: the second one is in its block at once, beside the first. aetcd waits for ten
#   seconds, its default, whatever the ttl, and is in then too. Of two that count up one value, one
#   is lost. refresh() of the one without the lock answers with a new time to live in etcd3gw, for
#   it renews the lease that a failed acquire() leaves behind: a worker that watches the answer
#   keeps a lease alive that guards nothing, and twenty tries leave twenty leases in etcd until
#   they expire. Leaving the block says nothing either. Only is_acquired() tells.
# Who meets it: jobs of which there must be one at a time. It shows only when two meet: a test of
#   one worker passes, as do two in aetcd while the first takes less than ten seconds. Of the older
#   python-etcd3, which aetcd comes from, it is known (issue 599, 2018-11).
set -euo pipefail
tmp=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; wait; rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq download etcd-server=3.4.23-4+b4 2>apt.log ||
    { cat apt.log; echo "needs Debian 12 and its package lists (apt-get update)"; exit 1; }
dpkg -x ./*.deb .
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check etcd3gw==2.7.0 aetcd==1.0.0 2>pip.log ||
    { cat pip.log; exit 1; }

read -r client_port peer_port < <(python3 -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*[s.getsockname()[1] for s in sockets])')
client=http://127.0.0.1:$client_port peer=http://127.0.0.1:$peer_port
usr/bin/etcd --data-dir data --initial-cluster "default=$peer" \
    --listen-client-urls "$client" --advertise-client-urls "$client" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" >etcd.log 2>&1 &
server=$!

cat >locks.py <<'P'
import asyncio, json, sys, time, urllib.request
import aetcd, etcd3gw

port = int(sys.argv[1])

def leases():
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v3/lease/leases", b"{}")
    with urllib.request.urlopen(request) as reply:
        return len(json.load(reply).get("leases", []))

def waited(seconds):
    return "at once" if seconds < 5 else "after ten seconds" if 9 < seconds < 20 else f"{seconds}"

def gateway():
    for _ in range(100):
        try:
            client = etcd3gw.client(port=port)
            client.put("count", "0")
            break
        except etcd3gw.exceptions.Etcd3Exception:
            time.sleep(0.2)
    with client.lock("job", ttl=60):
        count = int(client.get("count")[0])
        start = time.monotonic()
        with client.lock("job", ttl=60) as second:
            print("etcd3gw: the second is in", waited(time.monotonic() - start))
            print("  is_acquired():", second.is_acquired(), " refresh():", second.refresh())
            client.put("count", str(int(client.get("count")[0]) + 1))
        client.put("count", str(count + 1))
    print("  counted:", int(client.get("count")[0]), "of 2")
    before, lock = leases(), client.lock("job", ttl=60)
    with client.lock("job", ttl=60):
        print("  20 tries:", {lock.acquire() for _ in range(20)}, " leases left:",
              leases() - before - 1)

async def grpc():
    async with aetcd.Client(port=port) as client:
        async with client.lock(b"other job", ttl=60):
            start = time.monotonic()
            async with client.lock(b"other job", ttl=60) as second:
                print("aetcd: the second is in", waited(time.monotonic() - start))
                print("  is_acquired():", await second.is_acquired())

gateway()
asyncio.run(grpc())
P
usr/bin/etcd --version | sed -n 1p  # `head` may end it by SIGPIPE
venv/bin/pip list --disable-pip-version-check 2>/dev/null | grep etcd
venv/bin/python locks.py "$client_port" | tee seen.txt
diff seen.txt - <<'E' || { echo "CHANGED: not what the head of this script says"; exit 1; }
etcd3gw: the second is in at once
  is_acquired(): False  refresh(): 60
  counted: 1 of 2
  20 tries: {False}  leases left: 20
aetcd: the second is in after ten seconds
  is_acquired(): False
E
echo "as described"
