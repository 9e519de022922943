"""Where replicas with sockets of their own stand: their addresses, and the harness's ports to them.

`Template` gives each replica another address for each of its peers, `Namespaces` a network of its
own in which its peers' usual ports are the harness's, `Direct` leaves everything as it is.
"""

import contextlib
import json
import os
import random
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, TypeAlias

from bank.ballot import ReplicaId, replica_name
from harness.cluster.journal import CLIENTS
from harness.errors import EXIT_MACHINE, EXIT_USAGE, HarnessError
from harness.external import gate
from harness.external.description import Description
from harness.external.keeping import Warded
from harness.external.placeholders import Addresses
from harness.external.relays import Port

HOST, HOST_6 = "127.0.0.1", "::1"
# Outside of what the kernel gives to whoever dials; each cluster takes a block of ports, and holds
# the first of it to its end.
FIRST_PORT, LAST_PORT, BLOCK = 20_000, 32_000, 128
GATE_SECONDS = 10.0
CONNECT_SECONDS = 0.05

Launch: TypeAlias = Callable[[Sequence[str], Sequence[int]], Warded]
Attempts: TypeAlias = Sequence[tuple[socket.socket, tuple[str, int]]]


class Ground(Protocol):
    """See the module."""

    ports: Mapping[ReplicaId, int]  # on which replicas listen

    def begin(self, launch: Launch) -> list[Port]:
        """Before anything else: the harness's ports. `launch` starts a process of the harness."""
        ...

    def addresses(self, replica: ReplicaId) -> Addresses:
        """As this one knows them; the shim is CLIENTS."""
        ...

    def dial(self, replica: ReplicaId) -> Attempts:
        """Sockets and addresses to reach it at, to be tried in turn; CLIENTS is the shim."""
        ...

    def is_free(self, replica: ReplicaId) -> bool:
        """See the function."""
        ...

    def led_into(self, replica: ReplicaId, words: Sequence[str]) -> list[str]:
        """The command that starts it where it stands."""
        ...

    def descriptors(self, replica: ReplicaId) -> list[int]:
        """What that command needs beside its standard streams."""
        ...

    def close(self) -> None:
        """All that is held."""
        ...


def _listening(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((HOST, port))
    return sock


def is_free(port: int) -> bool:
    """Nobody listens there, and no old connection lingers."""
    with socket.socket() as sock:
        return _binds(sock, port)


def _binds(sock: socket.socket, port: int) -> bool:
    try:
        sock.bind(("", port))
    except OSError:
        return False
    return True


def is_open(attempts: Attempts) -> bool:
    """Somebody listens at one of these; takes their sockets."""
    found = False
    for sock, where in attempts:
        with sock:
            if not found:
                sock.settimeout(CONNECT_SECONDS)
                with contextlib.suppress(OSError):
                    sock.connect(where)
                    found = True
    return found


class Block:
    """Ports for this cluster alone."""

    def __init__(self) -> None:
        """HarnessError when there are none."""
        starts = list(range(FIRST_PORT, LAST_PORT, BLOCK))
        random.shuffle(starts)
        for start in starts:
            self._guard = socket.socket()
            try:
                self._guard.bind((HOST, start))
            except OSError:
                self._guard.close()
                continue
            self._ports = iter(range(start + 1, start + BLOCK))
            return
        told = f"no free ports between {FIRST_PORT} and {LAST_PORT}"
        raise HarnessError(told, exit_code=EXIT_MACHINE)

    def take(self) -> int:
        """One that is free now."""
        for port in self._ports:
            if is_free(port):
                return port
        told = f"too few free ports between {FIRST_PORT} and {LAST_PORT}"
        raise HarnessError(told, exit_code=EXIT_MACHINE)

    def close(self) -> None:
        """They may be another's."""
        self._guard.close()


def address(port: int) -> str:
    """As programs read it."""
    return f"{HOST}:{port}"


class _OnTheHost:
    """What `Template` and `Direct` share: replicas listen on ports of the machine."""

    def __init__(self, description: Description, replicas: int) -> None:
        self._names = range(1, replicas + 1)
        self._clients = description.clients
        self._block = Block()
        fixed = description.ports
        self.ports: Mapping[ReplicaId, int] = {
            r: fixed.get(replica_name(r)) or self._block.take() for r in self._names
        }
        is_fixed = self._clients is not None and bool(fixed)
        self._shim_port = (self._clients if is_fixed else None) or self._block.take()

    def dial(self, replica: ReplicaId) -> Attempts:
        """On whichever of the loopback's addresses it listens."""
        port = self._shim_port if replica == CLIENTS else self.ports[replica]
        attempts = [(socket.socket(), (HOST, port))]
        if socket.has_ipv6:
            attempts.append((socket.socket(socket.AF_INET6), (HOST_6, port)))
        return attempts

    def is_free(self, replica: ReplicaId) -> bool:
        """Seen from anywhere."""
        return is_free(self.ports[replica])

    def led_into(self, replica: ReplicaId, words: Sequence[str]) -> list[str]:
        """As it is."""
        return list(words)

    def descriptors(self, replica: ReplicaId) -> list[int]:
        """Nothing."""
        return []

    def close(self) -> None:
        """The block is another's."""
        self._block.close()


class Direct(_OnTheHost):
    """`links: none`."""

    def begin(self, launch: Launch) -> list[Port]:
        """None; whoever holds a replica's port is told."""
        for replica, port in self.ports.items():
            if is_open(self.dial(replica)):
                told = f"port {port} of {replica_name(replica)} is taken by another program, "
                raise HarnessError(f"{told}expected a free one: one run at a time")
        return []

    def addresses(self, replica: ReplicaId) -> Addresses:
        """The same for everybody."""
        peers = tuple(address(self.ports[r]) for r in self._names)
        clients = "" if self._clients is None else address(self._shim_port)
        return Addresses(self.ports.get(replica), peers, clients)


class Template(_OnTheHost):
    """`links: template`: a port for each ordered pair."""

    def __init__(self, description: Description, replicas: int) -> None:
        super().__init__(description, replicas)
        self._ways: dict[tuple[ReplicaId, ReplicaId], int] = {}

    def begin(self, launch: Launch) -> list[Port]:
        """From everybody, the shim included, to everybody."""
        return list(self._open())

    def _open(self) -> Iterator[Port]:
        for dialer in (CLIENTS, *self._names):
            for target in (*self._names, *([CLIENTS] if self._clients is not None else [])):
                if dialer != target:
                    listening = _listening(self._block.take())
                    self._ways[dialer, target] = listening.getsockname()[1]
                    yield Port(dialer, target, listening)

    def addresses(self, replica: ReplicaId) -> Addresses:
        """Its own port in its own place."""
        own = self.ports.get(replica)
        peers = tuple(address(self._ways.get((replica, r), own or 0)) for r in self._names)
        if self._clients is None:
            return Addresses(own, peers, "")
        clients = self._ways.get((replica, CLIENTS), self._shim_port)
        return Addresses(own, peers, address(clients))


class Namespaces:
    """`links: namespaces`: see `harness.external.gate`."""

    def __init__(self, description: Description, replicas: int) -> None:
        """HarnessError on systems without any."""
        self._source = description.source
        if not sys.platform.startswith("linux"):
            raise self._refused(f"it is {sys.platform}")
        self._names = range(1, replicas + 1)
        self.ports: Mapping[ReplicaId, int] = {
            r: description.ports[replica_name(r)] for r in self._names
        }
        self._clients = description.clients
        self._block = Block()
        self._shim_port = self._block.take()
        self._ways: dict[ReplicaId, int] = {}  # the shim's
        self._entries: dict[ReplicaId, list[int]] = {}  # descriptors of their namespaces
        self._stock: dict[ReplicaId, list[socket.socket]] = {r: [] for r in self._names}
        self._gate, self._theirs = socket.socketpair()
        self._gate.settimeout(GATE_SECONDS)
        self._keeper: Warded | None = None

    def begin(self, launch: Launch) -> list[Port]:
        """HarnessError where this machine has no namespaces for us."""
        listed = [self._listed(replica) for replica in self._names]
        words = [sys.executable, "-I", "-S", gate.__file__, "keep", json.dumps(listed)]
        with open(os.devnull, "r+b") as nothing:
            streams = [self._theirs.fileno(), nothing.fileno(), nothing.fileno()]
            self._keeper = launch(words, streams)
        self._theirs.close()
        opened = []
        for replica, ports in zip(self._names, listed, strict=True):
            descriptors = self._receive()
            users = len(descriptors) - len(ports) - 1
            self._entries[replica] = descriptors[: 1 + users]
            targets = [r for r in self._names if r != replica] + [CLIENTS] * self._has_clients
            for target, descriptor in zip(targets, descriptors[1 + users :], strict=True):
                opened.append(Port(replica, target, socket.socket(fileno=descriptor)))
            way = _listening(self._block.take())
            self._ways[replica] = way.getsockname()[1]
            opened.append(Port(CLIENTS, replica, way))
        return opened

    @property
    def _has_clients(self) -> bool:
        return self._clients is not None

    def _listed(self, replica: ReplicaId) -> list[int]:
        """The ports that the harness stands for, as this one sees them."""
        others = [port for other, port in self.ports.items() if other != replica]
        return others if self._clients is None else [*others, self._clients]

    def _receive(self) -> list[int]:
        try:
            word, descriptors, _, _ = socket.recv_fds(self._gate, 1, 250)
            if word == b"-":
                raise OSError(self._gate.recv(1000).decode().strip())
            if not word:
                raise OSError("the program that makes them ended")
        except OSError as error:
            raise self._refused(error) from None
        return list(descriptors)

    def _refused(self, why: object) -> HarnessError:
        told = f"{self._source}: links: namespaces: this machine has none for us ({why}), "
        return HarnessError(
            f"{told}expected Linux with unprivileged user namespaces (sysctl "
            "user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns); or "
            "links: template, where peers can be told, or links: none",
            exit_code=EXIT_USAGE,
        )

    def addresses(self, replica: ReplicaId) -> Addresses:
        """Those in the source; the shim's are ports of the harness."""
        at_home = replica != CLIENTS
        ports = self.ports if at_home else self._ways
        peers = tuple(address(ports[r]) for r in self._names)
        clients = ""
        if self._clients is not None:
            clients = address(self._clients if at_home else self._shim_port)
        return Addresses(self.ports.get(replica), peers, clients)

    def dial(self, replica: ReplicaId) -> Attempts:
        """By sockets of its namespace; the shim is outside of all."""
        if replica == CLIENTS:
            return [(socket.socket(), (HOST, self._shim_port))]
        port, first, second = self.ports[replica], self._fresh(replica), self._fresh(replica)
        if first.family == socket.AF_INET:
            return [(first, (HOST, port)), (second, (HOST, port))]
        return [(first, (f"::ffff:{HOST}", port)), (second, (HOST_6, port))]

    def _fresh(self, replica: ReplicaId) -> socket.socket:
        """A socket of its namespace."""
        stock = self._stock[replica]
        if not stock:
            self._gate.sendall(bytes([replica - 1]))
            stock += [socket.socket(fileno=descriptor) for descriptor in self._receive()]
        return stock.pop()

    def is_free(self, replica: ReplicaId) -> bool:
        """Seen from its namespace."""
        with self._fresh(replica) as sock:
            return _binds(sock, self.ports[replica])

    def led_into(self, replica: ReplicaId, words: Sequence[str]) -> list[str]:
        """By way of the gate."""
        many = str(len(self._entries[replica]))
        return [sys.executable, "-I", "-S", gate.__file__, "enter", many, *words]

    def descriptors(self, replica: ReplicaId) -> list[int]:
        """Its namespaces."""
        return self._entries[replica]

    def close(self) -> None:
        """The namespaces end with the last process and socket in them."""
        for stock in self._stock.values():
            for sock in stock:
                sock.close()
            stock.clear()
        for descriptors in self._entries.values():
            for descriptor in set(descriptors):
                os.close(descriptor)
        self._entries.clear()
        self._gate.close()
        self._theirs.close()
        self._block.close()
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None


def ground(description: Description, replicas: int) -> Ground:
    """That of a description."""
    match description.links:
        case "template":
            return Template(description, replicas)
        case "namespaces":
            return Namespaces(description, replicas)
        case _:
            return Direct(description, replicas)
