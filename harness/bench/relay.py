"""How fast the router of other people's replicas is, beside the least that any router does.

Five nodes throw balls to one another. The reference reads the same lines from the same nodes,
parses each, and writes it to its reader: no faults, no clients, no journal, no bounds. Both are
measured in one run, since the machine decides most of it.
"""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

from harness.bench import ball
from harness.external.cluster import ExternalCluster
from harness.external.description import Description
from harness.files.config import ClusterConfig

NODES = 5
WORDS = (sys.executable, "-I", "-S", ball.__file__)
NAMES = [f"n{number}" for number in range(1, NODES + 1)]


@dataclass(frozen=True, slots=True)
class Measured:
    """A message is one delivery."""

    per_second: float
    p50_us: float  # between two deliveries of the one ball; 0 with several


def routed(in_flight: int, seconds: float) -> Measured:
    """Through the router; so many balls for each node, or one in all for 0."""
    description = Description(source="ball", folder=Path.cwd(), start=WORDS)
    cluster = ExternalCluster(description, ClusterConfig(nodes=NODES, seed=0))
    try:
        cluster.start()
        for node in list(cluster.router.nodes.values())[: NODES if in_flight else 1]:
            for _ in range(in_flight or 1):
                cluster.router.send("c1", node, {"type": "ball"}, cluster.now())
        cluster.run_until(lambda: False, 200_000)
        cluster.router.records.clear()
        before, began = cluster.router.delivered, time.monotonic()
        cluster.run_until(lambda: False, round(seconds * 1e6))
        rate = (cluster.router.delivered - before) / (time.monotonic() - began)
        times = [record[0] for record in list(cluster.router.records)]
        return Measured(rate, 0 if in_flight else _middle(times))
    finally:
        cluster.stop()


def bare(in_flight: int, seconds: float) -> Measured:
    """Through the reference."""
    nodes = [subprocess.Popen(WORDS, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in NAMES]
    try:
        writing = {n: p.stdin.fileno() for n, p in zip(NAMES, nodes, strict=True) if p.stdin}
        reading = {p.stdout.fileno(): n for n, p in zip(NAMES, nodes, strict=True) if p.stdout}
        for name, descriptor in writing.items():
            body = {"type": "init", "msg_id": 1, "node_id": name, "node_ids": NAMES}
            line = json.dumps({"src": "c0", "dest": name, "body": body}).encode()
            os.write(descriptor, line + b"\n")
        for descriptor in reading:
            os.read(descriptor, 65536)  # init_ok
        for name in NAMES if in_flight else NAMES[:1]:
            os.write(writing[name], b"{}\n" * (in_flight or 1))
        return _relay(reading, writing, seconds, not in_flight)
    finally:
        for node in nodes:
            node.kill()
            node.wait()
            for stream in (node.stdin, node.stdout):
                if stream is not None:
                    stream.close()


def _relay(
    reading: dict[int, str], writing: dict[str, int], seconds: float, is_timed: bool
) -> Measured:
    poll = select.poll()
    for descriptor in reading:
        poll.register(descriptor, select.POLLIN)
    partial = dict.fromkeys(reading, b"")
    count, times, began = 0, list[int](), time.monotonic()
    until = began + seconds
    while time.monotonic() < until:
        for descriptor, _ in poll.poll(100):
            *lines, partial[descriptor] = (partial[descriptor] + os.read(descriptor, 65536)).split(
                b"\n"
            )
            out: dict[int, list[bytes]] = {}
            for line in lines:
                message = json.loads(line)
                out.setdefault(writing[message["dest"]], []).append(line)
            for target, waiting in out.items():
                os.write(target, b"\n".join([*waiting, b""]))
            count += len(lines)
            if is_timed:
                times.append(time.monotonic_ns() // 1000)
    return Measured(count / (time.monotonic() - began), _middle(times) if is_timed else 0)


def _middle(times: list[int]) -> float:
    """The median of what lies between neighbours."""
    return median(after - before for before, after in pairwise(times))


def ratios(seconds: float, turns: int) -> dict[str, tuple[float, float, float]]:
    """Ours, the reference and their ratio, medians over turns: of the rate, and of the p50."""

    def paired(in_flight: int, what: Callable[[Measured], float]) -> tuple[float, float, float]:
        ours, theirs = [], []
        for _ in range(turns):
            theirs.append(what(bare(in_flight, seconds)))
            ours.append(what(routed(in_flight, seconds)))
        quotients = [one / other for one, other in zip(ours, theirs, strict=True)]
        return median(ours), median(theirs), median(quotients)

    return {
        "messages/s, 8 in flight a node": paired(8, lambda m: m.per_second),
        "µs a delivery (p50), one in flight": paired(0, lambda m: m.p50_us),
    }
