"""What a relay adds to a round trip over TCP, beside the same two processes without it.

Both are measured in one run, turn by turn, since the machine decides most of it.
"""

import socket
import subprocess
import sys
from statistics import median

from harness.bench import echo
from harness.cluster.choices import Seeded
from harness.external.records import Records
from harness.external.relays import Port, Relays
from harness.external.remarks import Remarks
from harness.external.votes import Votes
from harness.live.waiting import Waiter

WORDS = (sys.executable, "-I", "-S", echo.__file__)
SERVER, ASKER = 2, 1


def _asked(port: int, seconds: float) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*WORDS, "ask", str(port), str(seconds)], stdout=subprocess.PIPE)


def _said(process: subprocess.Popen[bytes]) -> float:
    assert process.stdout is not None
    with process.stdout as stream:
        return float(stream.readline())


def relayed(port: int, seconds: float) -> float:
    """The median of a round trip by way of a relay, µs; `port` is that of the server."""
    waiter = Waiter(stays_awake=False)  # as the cluster's
    relays = Relays(
        waiter, Seeded(0), True, lambda _: [(socket.socket(), ("127.0.0.1", port))],
        Records(10_000).stream, Remarks(), Votes(SERVER).passed,
    )  # fmt: skip
    relays.begin(SERVER)
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    relays.serve(Port(ASKER, SERVER, listening))
    asking = _asked(listening.getsockname()[1], seconds)
    try:
        while asking.poll() is None:
            waiter.wait(100_000)
        return _said(asking)
    finally:
        relays.close()
        asking.kill()
        asking.wait()


def direct(port: int, seconds: float) -> float:
    """The same without anything between them."""
    with _asked(port, seconds) as asking:
        return _said(asking)


def round_trips(seconds: float, turns: int) -> tuple[float, float, float]:
    """With a relay, without, and their ratio: medians over turns."""
    ours, theirs = [], []
    with subprocess.Popen([*WORDS, "serve"], stdout=subprocess.PIPE) as server:
        try:
            port = round(_said(server))
            for _ in range(turns):
                theirs.append(direct(port, seconds))
                ours.append(relayed(port, seconds))
        finally:
            server.kill()
    quotients = [one / other for one, other in zip(ours, theirs, strict=True)]
    return median(ours), median(theirs), median(quotients)
