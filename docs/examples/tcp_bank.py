"""The bank of bank.py over TCP, as many a program is: with its ports in its source.

    python3 tcp_bank.py 2                              # replica n2, at port 7102
    python3 tcp_bank.py 2 127.0.0.1:7001,127.0.0.1:…   # where all of them are, in order

One JSON object a line. A replica dials its peers and writes to them what it has to say; whoever
dials it is read, and is answered on the same connection.
"""

import json
import os
import selectors
import socket
import sys
import time

from bank import Replica

ADDRESSES = [f"127.0.0.1:{7100 + number}" for number in range(1, 6)]
ACCOUNTS = dict.fromkeys("ABCDEFGHIJ", 10)
AGAIN = 0.05  # seconds between two tries to dial somebody
MOST_WAITING = 1 << 20  # bytes for somebody who does not read; the rest is said again later


class Line:
    """A connection: what was read of an unfinished line, and what could not be written yet."""

    def __init__(self, sock, name):
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket, self.name, self.read, self.waiting = sock, name, b"", b""


class Server(Replica):
    def __init__(self, name, addresses):
        self.selector, self.lines, self.dialled = selectors.DefaultSelector(), {}, {}
        self.addresses, self.visitors = addresses, 0
        self.listening = socket.socket()
        self.listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listening.bind(("127.0.0.1", int(addresses[name].rpartition(":")[2])))
        super().__init__(name, list(addresses), ACCOUNTS)
        self.listening.listen()
        self.selector.register(self.listening, selectors.EVENT_READ)
        sys.stderr.write(f"{name} is listening\n")

    # ---- writing ----

    def say(self, to, **body):
        line = self.lines.get(to) or self.dial(to)
        if line is not None and len(line.waiting) < MOST_WAITING:
            message = {"src": self.name, "dest": to, "body": body}
            line.waiting += json.dumps(message).encode() + b"\n"
            self.write(line)

    def dial(self, to):
        """A connection to a peer, unless it was tried a moment ago; None for lost visitors."""
        now = time.monotonic()
        if to not in self.addresses or now - self.dialled.get(to, -1) < AGAIN:
            return None
        self.dialled[to] = now
        host, _, port = self.addresses[to].rpartition(":")
        try:
            sock = socket.create_connection((host, int(port)), timeout=0.1)
        except OSError:
            return None
        return self.open(Line(sock, to))

    def open(self, line):
        self.lines[line.name] = line
        self.selector.register(line.socket, selectors.EVENT_READ, line)
        return line

    def close(self, line):
        if self.lines.get(line.name) is line:
            del self.lines[line.name]
            self.selector.unregister(line.socket)
            line.socket.close()

    def write(self, line):
        try:
            line.waiting = line.waiting[line.socket.send(line.waiting) :]
        except BlockingIOError:
            pass
        except OSError:
            self.close(line)

    # ---- reading ----

    def accept(self):
        self.visitors += 1
        self.open(Line(self.listening.accept()[0], f"visitor {self.visitors}"))

    def hear(self, line):
        try:
            data = line.socket.recv(65536)
        except OSError:
            data = b""
        if not data:
            self.close(line)
            return
        *whole, line.read = (line.read + data).split(b"\n")
        for message in map(json.loads, whole):
            if message["src"] not in self.addresses:
                message["src"] = line.name  # answers go back to where the question came from
            self.take(message)

    def run(self):
        while True:
            for line in list(self.lines.values()):
                if line.waiting:
                    self.write(line)
            for key, _ in self.selector.select(max(0.0, min(self.due - time.monotonic(), 0.05))):
                if key.fileobj is self.listening:
                    self.accept()
                else:
                    self.hear(key.data)
            self.tick()


if __name__ == "__main__":
    found = sys.argv[2].split(",") if len(sys.argv) > 2 else ADDRESSES
    os.makedirs(os.environ.setdefault("PAXBANK_DATA", f"data{sys.argv[1]}"), exist_ok=True)
    Server(f"n{sys.argv[1]}", {f"n{at}": one for at, one in enumerate(found, 1)}).run()
