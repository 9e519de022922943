"""Replicas with sockets of their own: what `router` is for those that speak through the harness.

Their bytes pass `relays`, where links have faults; they are asked by a `shim`, in whose answers
they speak as replicas behind stdio do, so that everything above knows no difference.
"""

import contextlib
import os
import resource
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic_ns
from typing import NamedTuple, NoReturn

from bank.ballot import ReplicaId
from harness.cluster.choices import Seeded
from harness.cluster.journal import CLIENTS, Way
from harness.cluster.links import Links
from harness.errors import EXIT_INVALID, EXIT_USAGE, HarnessError
from harness.external import remarks
from harness.external.description import Description
from harness.external.grounds import Ground, ground, is_open
from harness.external.keeping import Warded
from harness.external.last_words import indented, tail
from harness.external.placeholders import Addresses, as_variables, fill, of_a_shim
from harness.external.records import Records
from harness.external.relays import Relays
from harness.external.remarks import Remarks
from harness.external.router import HARNESS, Node, Record
from harness.external.shim import ASKED, Body, Shim
from harness.external.votes import Votes
from harness.files.config import ClusterConfig
from harness.files.text_file import shown
from harness.live.waiting import Waiter

START_SECONDS = 30.0  # for a replica to be ready
HELLO_SECONDS = 10.0
DESCRIPTORS = 12_000  # for ten that dial as much as they may
LOOK_US = 10_000  # between two looks whether it is
DEFINITE, INDEFINITE = 11, 13  # codes of errors, as replicas behind stdio have them
MOST_OF_A_LINE = 1 << 16

Run = Callable[[Sequence[str], Sequence[int], Mapping[str, str]], Warded]
Pump = Callable[[int], None]


class _Starting(NamedTuple):
    """One that is not ready yet."""

    node: Node
    at: int  # µs, when its process was started
    since: int  # bytes of its log that are older


class Sockets:
    """See the module."""

    start_seconds = START_SECONDS

    def __init__(
        self,
        description: Description,
        config: ClusterConfig,
        waiter: Waiter,
        logs: Path,
        on_client: Callable[[Node, str, Body, int], None],
    ) -> None:
        """`logs` has a log of each replica and of the shim; `on_client` gets every answer."""
        self.nodes = {replica: Node(replica) for replica in range(1, config.nodes + 1)}
        self._seen = Records(config.trace_messages * config.nodes)
        self.remarks = Remarks()
        self.votes = Votes(config.nodes, sees=description.links != "none", has_shim=True)
        self.clients: set[str] = {HARNESS}
        self.services: dict[str, Callable[[Body], Body]] = {}  # nobody asks any
        self._description, self._config, self._logs = description, config, logs
        self._on_client = on_client
        self._ground: Ground = ground(description, config.nodes)
        self._relays = Relays(
            waiter, Seeded(f"{config.seed}/links"), description.cut == "hold",
            self._ground.dial, self._seen.stream, self.remarks, self.votes.passed,
        )  # fmt: skip
        self._shim = Shim(waiter, logs / "shim.log", self._fail)
        self._starting: dict[ReplicaId, _Starting] = {}
        self._looked_at = 0
        self._has_begun = False  # a client asked something
        self._restarted: set[ReplicaId] = set()
        self._sizes: dict[ReplicaId, int] = {}  # of logs, when a process was started
        self._is_closed = False

    def unready(self, node: Node, seconds: float) -> str:
        """See Medium."""
        line = self._description.ready.line
        why = f"writes no line with {shown(line, 60)}" if line else "its port is not open"
        return f"{why} within {seconds:.0f} s"

    @property
    def records(self) -> deque[Record]:
        """See Medium."""
        return self._seen.records

    @property
    def recorded(self) -> int:
        """See Medium."""
        return self._seen.recorded

    @property
    def delivered(self) -> int:
        """Pieces of bytes."""
        return self._seen.delivered

    # ---- life ----------------------------------------------------------------------------------

    def begin(self, run: Run) -> None:
        """The ports of the harness. Its own descriptors alone may be many: what it starts has the
        usual number."""
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        enough = DESCRIPTORS if most == resource.RLIM_INFINITY else min(DESCRIPTORS, most)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (enough, most))
        for port in self._ground.begin(lambda words, streams: run(words, streams, {})):
            self._relays.serve(port)

    def begin_shim(self, run: Run) -> None:
        """Its process; it is greeted once replicas run."""
        addresses = self._ground.addresses(CLIENTS)
        values = of_a_shim(len(self.nodes), addresses)
        words = [fill(word, values, addresses) for word in self._description.shim]
        self._shim.start(words[0], lambda streams: run(words, streams, as_variables(values)))
        self._relays.begin(CLIENTS)

    def greet(self, pump: Pump, now: Callable[[], int]) -> frozenset[str]:
        """Say hello to the shim; returns what it cannot do."""
        addresses = self._ground.addresses(CLIENTS)
        names = [node.name for node in self.nodes.values()]
        hello = {
            "nodes": names,
            "addresses": dict(zip(names, addresses.peers, strict=True)),
            "accounts": dict(self._config.balances()),
        }
        hello |= {"clients": addresses.clients} if addresses.clients else {}
        self._shim.greet(hello)
        until = now() + round(HELLO_SECONDS * 1e6)
        while not self._shim.is_greeted:
            if now() >= until:
                self._fail(f"does not answer hello within {HELLO_SECONDS:.0f} s")
            pump(until)
        return frozenset(ASKED) - self._shim.can

    def close(self) -> None:
        """Everything. Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            self._shim.close()
            self._relays.close()
            self._ground.close()

    def _fail(self, why: str) -> NoReturn:
        """Trouble of the shim: before the first set it is refused, afterwards a finding."""
        code = EXIT_INVALID if self._has_begun else EXIT_USAGE
        told = f"{self._description.source}: shim: {why}"
        raise HarnessError(told, *indented(tail(self._shim.log)), exit_code=code)

    # ---- processes come and go -----------------------------------------------------------------

    def addresses(self, node: Node) -> Addresses:
        """As this one knows them."""
        return self._ground.addresses(node.number)

    def led_into(self, node: Node, words: Sequence[str]) -> list[str]:
        """The command that starts it."""
        return self._ground.led_into(node.number, words)

    def open(self, node: Node, log: int) -> list[int]:
        """Standard input, output and error of a process that starts, and what else it needs."""
        node.incarnation += 1
        node.is_ready = False
        self._sizes[node.number] = os.fstat(log).st_size
        nothing = os.open(os.devnull, os.O_RDONLY)
        more = [os.dup(descriptor) for descriptor in self._ground.descriptors(node.number)]
        return [nothing, os.dup(log), os.dup(log), *more]

    def started(self, node: Node, init: Body, now: int) -> None:
        """Its process runs; it is looked at until it is ready."""
        self._starting[node.number] = _Starting(node, now, self._sizes[node.number])
        self._looked_at = 0
        if init["restarted"] and node.incarnation > 1:
            self._restarted.add(node.number)
        if self._description.ready.line or self._description.ready.seconds is not None:
            self._relays.begin(node.number)

    def is_free(self, node: Node, lingering: bool) -> bool:
        """Nobody listens on its port, and no old connection lingers unless that does not matter."""
        if lingering:
            return not is_open(self._ground.dial(node.number))
        return self._ground.is_free(node.number)

    def doom(self, node: Node) -> None:
        """It is about to be killed."""
        self._relays.doom(node.number)

    def ready(self, node: Node) -> None:
        """It takes part from now on."""
        node.is_ready = True
        self._starting.pop(node.number, None)
        self._relays.begin(node.number)
        if node.number in self._restarted:
            self._restarted.discard(node.number)
            told = {"type": "restarted", "node": node.name}
            self._shim.ask(told, lambda answer: None)

    def disconnect(self, node: Node) -> None:
        """Its process is gone."""
        node.is_ready = False
        self._starting.pop(node.number, None)
        if not self._is_closed:
            self._relays.end(node.number)

    def read_rest(self, node: Node) -> None:
        """Nothing: `disconnect` reads what it wrote."""

    def cut_off(self, node: Node, is_cut_off: bool) -> None:
        """Nothing from it or to it is delivered from now on, or everything again."""
        node.is_cut_off = is_cut_off
        self._relays.cut_off(node.number, is_cut_off)

    def put_on_links(self, links: Links, now: int) -> None:
        """Links have these faults from now on."""
        self._relays.put_on_links(links, now)

    # ---- whether it is ready ---------------------------------------------------------------------

    def _look(self, now: int) -> None:
        self._looked_at = now
        for starting in list(self._starting.values()):
            if self._is_ready(starting, now):
                self.ready(starting.node)

    def _is_ready(self, starting: _Starting, now: int) -> bool:
        ready = self._description.ready
        if ready.seconds is not None:
            return now - starting.at >= ready.seconds * 1_000_000
        if ready.line:
            return self._says(starting, ready.line)
        return is_open(self._ground.dial(starting.node.number))

    def _says(self, starting: _Starting, line: str) -> bool:
        """Its log has this in a line of this start."""
        with open(self._logs / f"{starting.node.name}.log", "rb") as stream:
            stream.seek(starting.since)
            data = stream.read(MOST_OF_A_LINE)
        if line.encode() in data:
            return True
        if len(data) == MOST_OF_A_LINE:
            kept = len(line.encode())
            since = starting.since + len(data) - kept
            self._starting[starting.node.number] = starting._replace(since=since)
        return False

    # ---- asking --------------------------------------------------------------------------------

    def can(self, what: str) -> bool:
        """The shim knows this."""
        return what in self._shim.can

    def send(self, source: str, node: Node, body: Body, at: int) -> None:
        """What a client or the harness asks of a replica goes to the shim."""
        what = body["type"]
        if source != HARNESS:
            self._has_begun = True
            if node.is_cut_off or not node.is_ready:
                return
            self._seen.message(at, CLIENTS, node.number, source, node.name, body, Way.READ)
            self.votes.asked(source, node.number)
        number = body["msg_id"]

        def answered(answer: Body) -> None:
            told = _as_told(what, answer, number)
            now = monotonic_ns() // 1000
            if source != HARNESS:
                self._seen.message(now, node.number, CLIENTS, node.name, source, told, Way.SENT)
            self._on_client(node, source, told, now)

        if source == HARNESS and (node.is_cut_off or what not in self._shim.can):
            answered({"error": "cannot be asked", "definite": True})
            return
        asked = {key: value for key, value in body.items() if key not in ("msg_id", "type")}
        self._shim.ask({"type": what, "dest": node.name, **asked}, answered)

    def leader(self, pump: Pump, now: Callable[[], int], patience: int) -> object:
        """Whom the shim calls the leader; None when it does not know."""
        if not self.can("leader"):
            return None
        found: list[object] = []

        def answered(answer: Body) -> None:
            found.append(answer.get("leader"))

        self._shim.ask({"type": "leader"}, answered)
        until = now() + patience
        while not found and now() < until:
            pump(until)
        return found[0] if found else None

    # ---- time ----------------------------------------------------------------------------------

    def deadline(self) -> int | None:
        """When `release` is wanted at the latest."""
        look = self._looked_at + LOOK_US if self._starting else None
        dues = (self._relays.deadline(), self._shim.deadline(), look)
        return min((due for due in dues if due is not None), default=None)

    def release(self, now: int) -> None:
        """What is due goes to its readers; who is ready takes part."""
        self._relays.release(now)
        self._shim.look(now)
        if self._starting and now >= self._looked_at + LOOK_US:
            self._look(now)

    def flush(self) -> None:
        """What the shim says that nobody asked for is remarked."""
        if self._shim.unknown:
            self.remarks.add("the shim", remarks.UNKNOWN_ANSWER, self._shim.unknown.pop())


def _as_told(asked: str, answer: Body, number: int) -> Body:
    """An answer of the shim as a replica behind stdio would have given it."""
    if "error" not in answer:
        return {**answer, "type": f"{asked}_ok", "in_reply_to": number}
    code = DEFINITE if answer.get("definite") is True else INDEFINITE
    told = {"type": "error", "code": code, "text": str(answer["error"]), "in_reply_to": number}
    return told | ({"leader": answer["leader"]} if "leader" in answer else {})
