#!/usr/bin/env bash
# Linux (seen on 6.18), TCP sockets, seen 2026-11-28.
#
# One would guess: a listening socket on which `shutdown(SHUT_RD)` was called refuses connections
#   and keeps its address until it is closed; `listen` makes it hear again, on that address.
# What happens: it depends on how the socket came by its port. A port that the program named stays.
#   One that the kernel chose (bind to port 0) is given back at once, while getsockname() goes on
#   naming it. Any other program can bind that port, so that peers who know it talk to somebody
#   else; and the next `listen` succeeds on a new port that nobody was told. No call reports
#   anything. An accepted connection keeps strangers away from the port while it is open, but does
#   not keep the port for the listener.
# Who meets it: servers that wake the threads blocked in accept() by a shutdown, which Linux allows;
#   and fault injection that makes a replica deaf for a while without closing its sockets. A test
#   cluster takes ports from the kernel, the real one has them in its configuration, so that the
#   same code is right there and wrong in the tests.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

cat >deaf.py <<'P'
import socket

def named_port():
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

def deaf_for_a_while(port, connected=False, stranger=True):
    replica = socket.socket()
    replica.bind(("127.0.0.1", port))
    replica.listen()
    told = replica.getsockname()
    open_ends = [socket.create_connection(told), replica.accept()[0]] if connected else []
    replica.shutdown(socket.SHUT_RD)
    print("  address:", "the same" if replica.getsockname() == told else "another")
    other = socket.socket()
    if stranger:
        try:
            other.bind(told)
            other.listen()
            print("  another socket binds it: yes")
        except OSError as error:
            print("  another socket binds it:", error.strerror)
    replica.listen()
    print("  it hears again on:", "the same" if replica.getsockname() == told else "another")
    try:
        late = socket.create_connection(told, timeout=5)
        other.setblocking(False)
        print("  a peer that connects reaches:", "another" if reached(other) else "the replica")
        late.close()
    except ConnectionRefusedError as error:
        print("  a peer that connects:", error.strerror)
    for each in (replica, other, *open_ends):
        each.close()

def reached(listener):
    try:
        listener.accept()
        return True
    except OSError:
        return False

print("the program named the port:")
deaf_for_a_while(named_port())
print("the kernel chose the port:")
deaf_for_a_while(0)
print("the kernel chose the port, nobody else wants it:")
deaf_for_a_while(0, stranger=False)
print("the kernel chose the port, a connection is open:")
deaf_for_a_while(0, connected=True)
P

uname -sr
python3 deaf.py | tee seen.txt
diff seen.txt - <<'E' || { echo "CHANGED: not what the head of this script says"; exit 1; }
the program named the port:
  address: the same
  another socket binds it: Address already in use
  it hears again on: the same
  a peer that connects reaches: the replica
the kernel chose the port:
  address: the same
  another socket binds it: yes
  it hears again on: another
  a peer that connects reaches: another
the kernel chose the port, nobody else wants it:
  address: the same
  it hears again on: another
  a peer that connects: Connection refused
the kernel chose the port, a connection is open:
  address: the same
  another socket binds it: Address already in use
  it hears again on: another
  a peer that connects: Connection refused
E
echo "as described"
