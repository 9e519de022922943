#!/usr/bin/env bash
# antietcd 1.3.1 (npm, a small etcd of its own Raft, tested with Jepsen), seen 2026-11-28.
#
# One would guess: with `--stale_read 0`, which is to be strict serializable, and a file that is
#   synced at every change, a key whose deletion was acknowledged, and which both replicas of the
#   majority no longer show, stays deleted when all three lose power and start again.
# What happens: one follower is paused while the key is deleted. The leader applies and writes the
#   deletion, waits for the follower in vain, answers "Replication failed, please retry" and has
#   itself elected anew without it. The retry succeeds, "deleted": 0, for nothing is left to delete;
#   so nothing is written either, and the files keep the old term, the same as in the follower's.
#   All three are killed and started. Databases of one term are merged, key by key the later
#   revision; a deleted key is no longer in the file, so there is nothing that the follower's copy
#   could lose against. The key is back on all three, and stays. A put in its place is not lost.
# Who meets it: whoever takes locks, leases or jobs off by deleting a key, pauses or partitions a
#   replica and then loses all of them at once. A test that kills one after the other passes, as
#   does any write between the retry and the kill: it brings the new term into the files.
set -euo pipefail
command -v node >/dev/null || { echo "node is needed"; exit 2; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
npm install --silent --no-audit --no-fund antietcd@1.3.1 >npm.txt 2>&1 || { cat npm.txt; exit 1; }

cat >power_loss.py <<'P'
import base64, gzip, json, os, signal, socket, subprocess, time, urllib.error, urllib.request

sockets = {name: socket.create_server(("127.0.0.1", 0)) for name in "ABC"}
urls = {name: f"http://127.0.0.1:{s.getsockname()[1]}" for name, s in sockets.items()}
for s in sockets.values():
    s.close()
KEY = base64.b64encode(b"/lock").decode()
replicas = {}

def start():
    for name, url in urls.items():
        command = ["node", "node_modules/antietcd/antietcd-app.js", "--ip", "127.0.0.1"]
        options = {"port": url.rpartition(":")[2], "data": f"{name}.gz", "node_id": name,
                   "cluster": ",".join(f"{n}={u}" for n, u in urls.items()), "cluster_key": "key",
                   "stale_read": "0", "election_timeout": "1500", "heartbeat_timeout": "300",
                   "leadership_timeout": "3000", "reconnect_interval": "100",
                   "wait_quorum_timeout": "1000"}
        for option, value in options.items():
            command += ["--" + option, value]
        replicas[name] = subprocess.Popen(command, stdout=subprocess.DEVNULL,
                                          stderr=subprocess.DEVNULL)

def kill():
    for process in replicas.values():
        process.kill()
        process.wait()

def ask(name, path, **body):
    """The answer, or None with the HTTP status where there is an error."""
    request = urllib.request.Request(f"{urls[name]}/v3/{path}", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=8) as reply:
            return json.load(reply), reply.status
    except urllib.error.HTTPError as error:
        return None, error.code
    except OSError:
        return None, None

def until(condition):
    deadline = time.monotonic() + 25
    while time.monotonic() < deadline:
        if (found := condition()) is not None:
            return found
        time.sleep(0.2)
    raise SystemExit("waited in vain")

def shown(name):
    answer = until(lambda: ask(name, "kv/range", key=KEY)[0])
    return [base64.b64decode(kv["value"]).decode() for kv in answer["kvs"]]

def term(name):
    with gzip.open(f"{name}.gz") as file:
        return json.load(file)["term"]

def settled():
    """The leader, once the value is in every file with the term that all three are in."""
    value = base64.b64encode(b"held %d" % time.monotonic_ns()).decode()
    if ask("A", "kv/put", key=KEY, value=value)[0] is None:
        return None
    states = [ask(name, "maintenance/status")[0] for name in "ABC"]
    if None in states or len({s["leader"] for s in states}) > 1:
        return None
    terms = {s["raftTerm"] for s in states} | {term(name) for name in "ABC"}
    return states[0]["leader"] if len(terms) == 1 else None

def attempt():
    start()
    leader = until(settled)
    follower, other = (name for name in "ABC" if name != leader)
    value = shown(follower)
    os.kill(replicas[follower].pid, signal.SIGSTOP)
    first = ask(leader, "kv/deleterange", key=KEY)
    retry = until(lambda: ask(leader, "kv/deleterange", key=KEY)[0])
    gone = shown(leader), shown(other)
    kill()
    print("delete:", first[1], "- retry: deleted", retry["deleted"], "- then shown:", *gone,
          "- terms in the files equal:", len({term(name) for name in "ABC"}) == 1)
    start()
    back = [shown(name) for name in "ABC"]
    kill()
    print("after all three were killed, the value before the deletion is shown by",
          sum(b == value for b in back), "of 3")

try:
    attempt()
finally:
    kill()
P
node -p '"antietcd " + require("antietcd/package.json").version'
for try in 1 2 3; do  # on a busy machine a second election may write a new term
    rm -f ./*.gz
    python3 power_loss.py 2>&1 | tee seen.txt || true
    ! grep -q "files equal: True" seen.txt || break
    echo "elections came between, try $try"
done
diff seen.txt - <<'E' || { echo "CHANGED: not what the head of this script says"; exit 1; }
delete: 503 - retry: deleted 0 - then shown: [] [] - terms in the files equal: True
after all three were killed, the value before the deletion is shown by 3 of 3
E
echo "as described"
