"""`{name}`, `{data}` and their like: what the words of a description stand for, for one replica.

Only a word of letters in braces is a placeholder, so that JSON may stand in a file's text;
`{{name}}` gives `{name}` itself.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bank.ballot import ReplicaId, replica_name
from harness.errors import nearest

EVERYWHERE = ("name", "number", "nodes", "data")
_FOUND = re.compile(r"\{\{([a-z]+(?::[^{}]*)?)\}\}|\{([a-z]+)(?::([^{}]*))?\}")
_NAME = re.compile("n[1-9]")
WITH_SOCKETS = ("port", "peers", "address", "clients")
OF_A_SHIM = ("nodes", "peers", "address", "clients")
_KNOWN = {"stdio": EVERYWHERE, "shim": OF_A_SHIM}  # else both


class Addresses(NamedTuple):
    """Of replicas with sockets of their own, as one of them, or the shim, knows them."""

    port: int | None  # on which it listens; None for the shim
    peers: tuple[str, ...]  # host:port of all in order, its own place holding its own port
    clients: str  # where the shim takes answers; "" when nobody dials it


@dataclass(frozen=True, slots=True)
class Placeholders:
    """The values for one replica."""

    replica: ReplicaId
    replicas: int
    data: Path
    addresses: Addresses | None = None  # stdio has none

    @property
    def values(self) -> Mapping[str, str]:
        """By name."""
        names = [replica_name(replica) for replica in range(1, self.replicas + 1)]
        values = {
            "name": replica_name(self.replica),
            "number": str(self.replica),
            "nodes": ",".join(names),
            "data": str(self.data),
        }
        return values if self.addresses is None else {**values, **_of(self.addresses)}

    @property
    def environment(self) -> dict[str, str]:
        """The same as variables: PAXBANK_NAME and so on."""
        return as_variables(self.values)

    def fill(self, text: str) -> str:
        """The text with its placeholders replaced."""
        return fill(text, self.values, self.addresses)

    @staticmethod
    def named(text: str) -> set[ReplicaId]:
        """The replicas whose addresses a text has."""
        found = _FOUND.findall(text)
        return {int(where[1:]) for escaped, name, where in found if not escaped and where}

    @staticmethod
    def problems(text: str, links: str) -> Iterator[str]:
        """What is wrong with the placeholders of a text, where replicas are linked like this."""
        for escaped, name, argument in _FOUND.findall(text):
            if escaped:
                continue
            if name == "address" and links != "stdio":
                if not _NAME.fullmatch(argument):
                    yield f"{{{joined(name, argument)}}}: expected a replica, as {{address:n2}}"
            elif name in WITH_SOCKETS and links == "stdio":
                yield (
                    f"{{{name}}} has no meaning with links: stdio, where every message passes the "
                    "harness, expected links: template, namespaces or none"
                )
            elif name not in (words := _KNOWN.get(links, (*EVERYWHERE, *WITH_SOCKETS))):
                known = [f"{{{word}}}" for word in words]
                hint = nearest(f"{{{name}}}", known)
                yield f"unknown placeholder {{{name}}}, expected one of {', '.join(known)}{hint}"
            elif argument:
                yield f"{{{name}:{argument}}}: expected {{{name}}} alone"


def found(text: str) -> list[str]:
    """Those in a text, known or not, each once."""
    placed = [(name, argument) for escaped, name, argument in _FOUND.findall(text) if not escaped]
    return [f"{{{joined(*one)}}}" for one in dict.fromkeys(placed)]


def unescaped(text: str) -> str:
    """A text without placeholders as it is meant."""
    return fill(text, {}, None)


def joined(name: str, argument: str) -> str:
    """As a placeholder has it."""
    return f"{name}:{argument}" if argument else name


def fill(text: str, values: Mapping[str, str], addresses: Addresses | None) -> str:
    """A text with its placeholders replaced."""

    def value(match: re.Match[str]) -> str:
        escaped, name, argument = match.groups()
        if escaped:
            return f"{{{escaped}}}"
        if argument and addresses is not None:
            return addresses.peers[int(argument[1:]) - 1]
        return values[name]

    return _FOUND.sub(value, text)


def of_a_shim(replicas: int, addresses: Addresses) -> dict[str, str]:
    """The values for the shim."""
    names = (replica_name(replica) for replica in range(1, replicas + 1))
    return {"nodes": ",".join(names), **_of(addresses)}


def as_variables(values: Mapping[str, str]) -> dict[str, str]:
    """PAXBANK_NAME and so on."""
    return {f"PAXBANK_{name.upper()}": value for name, value in values.items()}


def _of(addresses: Addresses) -> dict[str, str]:
    values = {"peers": ",".join(addresses.peers), "clients": addresses.clients}
    return values if addresses.port is None else {**values, "port": str(addresses.port)}
