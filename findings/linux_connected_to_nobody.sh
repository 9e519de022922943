#!/usr/bin/env bash
# Linux (seen on 6.18), asyncio of Python 3.11 to 3.13, trio 0.35.0, uvloop 0.23.0, seen 2026-11-28.
#
# One would guess: a connection to a server that is paused waits until the server goes on or the
#   client's own time is up; when `open_unix_connection` returns there is a connection.
# What happens: so it is with TCP. On a Unix socket the kernel lets no non-blocking connect wait:
#   when the server's backlog is full (asyncio's is 100) it is refused with EAGAIN, and nothing goes
#   on in the background. asyncio and trio take EAGAIN for "in progress", wait until the socket can
#   be written, which a socket without a peer can at once, find no error in SO_ERROR, and return.
#   The client holds a stream to nobody; its first read or write fails with EINVAL, ENOTCONN or a
#   "lost" connection, depending on the version. uvloop raises EAGAIN at once; so does a
#   blocking socket with a time-out, without waiting for it.
# Who meets it: harnesses that talk to replicas over Unix sockets and freeze them with SIGSTOP. The
#   time limit around the connect never fires; by the client's log the frozen replica accepted a
#   connection and dropped it. Issues of mio (Rust) and Boost.Asio (C++) tell of the same.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check trio==0.35.0 uvloop==0.23.0 2>pip.log ||
    { cat pip.log; exit 1; }

cat >server.py <<'P'
import asyncio

async def serve(reader, writer):
    await reader.read()

async def main():
    servers = [await asyncio.start_unix_server(serve, "socket"),
               await asyncio.start_server(serve, "127.0.0.1", 0)]
    print(servers[1].sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
P
cat >clients.py <<'P'
"""Connect to a paused server until its backlog is full; tell of the first client after that."""
import asyncio, os, resource, signal, socket, subprocess, sys
import trio, uvloop

BACKLOG, TIMEOUT = 100, 1
resource.setrlimit(resource.RLIMIT_NOFILE, (512, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

async def with_asyncio(connect):
    try:
        reader, writer = await asyncio.wait_for(connect(), TIMEOUT)
    except asyncio.TimeoutError:
        return "waits, until the time-out"
    peer = writer.get_extra_info("peername")
    try:
        await asyncio.wait_for(reader.read(1), TIMEOUT)
    except OSError:
        return f"connected; peer {peer}; the read fails"

async def with_trio():
    with trio.fail_after(TIMEOUT):
        stream = await trio.open_unix_socket("socket")
    try:
        await stream.send_all(b"hello")
    except trio.BrokenResourceError:
        return "connected; the write fails"

def with_timeout():
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(TIMEOUT)
    client.connect("socket")

def fill(family, address):
    """Take every place of the backlog, and keep it."""
    taken = [socket.socket(family) for _ in range(BACKLOG + 1)]
    for client in taken:
        client.connect(address)
    return taken

server = subprocess.Popen([sys.executable, "server.py"], stdout=subprocess.PIPE, text=True)
try:
    port = int(server.stdout.readline())
    server.send_signal(signal.SIGSTOP)
    os.waitpid(server.pid, os.WUNTRACED)
    filled = fill(socket.AF_UNIX, "socket") + fill(socket.AF_INET, ("127.0.0.1", port))
    unix = lambda: asyncio.open_unix_connection("socket")
    tcp = lambda: asyncio.open_connection("127.0.0.1", port)
    for name, client in [
        ("asyncio, TCP", lambda: asyncio.run(with_asyncio(tcp))),
        ("asyncio, Unix socket", lambda: asyncio.run(with_asyncio(unix))),
        ("trio, Unix socket", lambda: trio.run(with_trio)),
        ("uvloop, Unix socket", lambda: uvloop.run(with_asyncio(unix))),
        ("blocking, Unix socket, time-out", with_timeout),
    ]:
        try:
            seen = client()
        except OSError as error:
            seen = f"{type(error).__name__}: {error.strerror}"
        print(f"{name}: {seen}")
finally:
    server.kill()
    server.wait()
P

uname -sr
venv/bin/python --version
venv/bin/pip list --disable-pip-version-check 2>/dev/null | grep -E '^(trio|uvloop) '
venv/bin/python -W ignore clients.py 2>log.txt | tee seen.txt
diff seen.txt - <<'E' || { echo "CHANGED: not what the head of this script says"; exit 1; }
asyncio, TCP: waits, until the time-out
asyncio, Unix socket: connected; peer None; the read fails
trio, Unix socket: connected; the write fails
uvloop, Unix socket: BlockingIOError: Resource temporarily unavailable
blocking, Unix socket, time-out: BlockingIOError: Resource temporarily unavailable
E
echo "as described"
