"""Two ends of a connection: what a relay is measured with.

`python -I -S echo.py serve` listens on a port of its own, which it prints, and sends back what it
reads. `echo.py ask PORT SECONDS` sends it messages one by one, and prints the median of their round
trips in microseconds.
"""

import os
import socket
import sys
import time

MESSAGE = b"x" * 200


def serve() -> None:
    """One connection after another, for ever."""
    listening = socket.create_server(("127.0.0.1", 0))
    os.write(1, b"%d\n" % listening.getsockname()[1])
    while True:
        sock, _ = listening.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := sock.recv(65536):
            sock.sendall(data)
        sock.close()


def ask(port: int, seconds: float) -> None:
    """Until the time is over."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    took, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.monotonic_ns()
        sock.sendall(MESSAGE)
        sock.recv(65536)
        took.append(time.monotonic_ns() - began)
    os.write(1, b"%.1f\n" % (sorted(took)[len(took) // 2] / 1000))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        ask(int(sys.argv[2]), float(sys.argv[3]))
