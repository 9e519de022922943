#!/usr/bin/env bash
# etcd and etcdctl 3.4.23 (Debian 12: etcd-server, etcd-client 3.4.23-4+b4), seen 2026-11-28.
#
# One would guess: `etcdctl lock NAME COMMAND` runs the command while it holds the lock; when the
#   lease behind the lock is lost, it stops the command, or at least its exit status says so.
# What happens: neither. The lease is kept alive by etcdctl, not by the command. Pause etcdctl alone
#   for longer than the lease lives, and a second `etcdctl lock` gets the lock and runs its command
#   while the first one's is still at work. After SIGCONT the first etcdctl waits for its command
#   and exits with 0, without a line on stderr. A lease that an operator revokes ends the same way,
#   with no pause at all. Only a fencing token that the command passes on could tell.
# Who meets it: backup, migration and deployment jobs of which there must be one at a time; and
#   whoever tests them by freezing the machine, then looks at exit statuses.
set -euo pipefail
tmp=$(mktemp -d)
# An etcdctl may be paused, or wait for the server, and ends only so.
trap '{ kill -KILL $(jobs -p); wait; } 2>/dev/null || true; rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq download etcd-server=3.4.23-4+b4 etcd-client=3.4.23-4+b4 2>apt.log ||
    { cat apt.log; echo "needs Debian 12 and its package lists (apt-get update)"; exit 1; }
for package in ./*.deb; do dpkg -x "$package" .; done
PATH=$tmp/usr/bin:$PATH

read -r client_port peer_port < <(python3 -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*[s.getsockname()[1] for s in sockets])')
export ETCDCTL_API=3 ETCDCTL_ENDPOINTS=http://127.0.0.1:$client_port
etcd --data-dir data --initial-cluster "default=http://127.0.0.1:$peer_port" \
    --listen-client-urls "$ETCDCTL_ENDPOINTS" --advertise-client-urls "$ETCDCTL_ENDPOINTS" \
    --listen-peer-urls "http://127.0.0.1:$peer_port" \
    --initial-advertise-peer-urls "http://127.0.0.1:$peer_port" >etcd.log 2>&1 &
for _ in $(seq 100); do
    etcdctl endpoint health >health.log 2>&1 && break
    sleep 0.2
done

cat >job.sh <<'P'
echo "  $1 begins" >>jobs
sleep "$2"
echo "  $1 ends" >>jobs
P
hold() { etcdctl lock --ttl 2 lock sh job.sh "$@" >"$1.out" 2>"$1.err"; }
show() { cat jobs; cat ./*.err; rm -f jobs ./*.err; }

etcdctl version | sed -n 1p  # `head` may end it by SIGPIPE, and so this script
{
    echo "the first etcdctl is paused, its command is not:"
    etcdctl lock --ttl 2 lock sh job.sh first 12 >first.out 2>first.err &
    first=$!
    until [ -s jobs ]; do sleep 0.1; done
    kill -STOP $first
    status=0; hold second 1 || status=$?
    kill -CONT $first
    first_status=0; wait $first || first_status=$?
    show
    echo "  exit status: first $first_status, second $status"

    echo "the first lease is revoked:"
    hold first 6 &
    first=$!
    until [ -s jobs ]; do sleep 0.1; done
    etcdctl lease revoke "$(etcdctl lease list | tail -n 1)" >revoke.out
    status=0; hold second 1 || status=$?
    first_status=0; wait $first || first_status=$?
    show
    echo "  exit status: first $first_status, second $status"
} >seen.txt
cat seen.txt
diff seen.txt - <<'E' || { echo "CHANGED: not what the head of this script says"; exit 1; }
the first etcdctl is paused, its command is not:
  first begins
  second begins
  second ends
  first ends
  exit status: first 0, second 0
the first lease is revoked:
  first begins
  second begins
  second ends
  first ends
  exit status: first 0, second 0
E
echo "as described"
