"""`{name}`, `{data}` and their like: what the words of a description stand for, for one replica.

Only a word of letters in braces is a placeholder, so that JSON may stand in a file's text;
`{{name}}` gives `{name}` itself.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bank.ballot import ReplicaId, replica_name
from harness.errors import nearest

EVERYWHERE = ("name", "number", "nodes", "data")
_FOUND = re.compile(r"\{\{([a-z]+(?::[^{}]*)?)\}\}|\{([a-z]+)(?::([^{}]*))?\}")
WITH_SOCKETS = ("port", "peers", "address", "clients")


@dataclass(frozen=True, slots=True)
class Placeholders:
    """The values for one replica."""

    replica: ReplicaId
    replicas: int
    data: Path

    @property
    def values(self) -> Mapping[str, str]:
        """By name."""
        names = [replica_name(replica) for replica in range(1, self.replicas + 1)]
        return {
            "name": replica_name(self.replica),
            "number": str(self.replica),
            "nodes": ",".join(names),
            "data": str(self.data),
        }

    @property
    def environment(self) -> dict[str, str]:
        """The same as variables: PAXBANK_NAME and so on."""
        return {f"PAXBANK_{name.upper()}": value for name, value in self.values.items()}

    def fill(self, text: str) -> str:
        """The text with its placeholders replaced."""
        values = self.values

        def value(match: re.Match[str]) -> str:
            escaped, name, _ = match.groups()
            return f"{{{escaped}}}" if escaped else values[name]

        return _FOUND.sub(value, text)

    @staticmethod
    def problems(text: str, links: str) -> Iterator[str]:
        """What is wrong with the placeholders of a text, where replicas are linked like this."""
        for escaped, name, argument in _FOUND.findall(text):
            if escaped:
                continue
            if name in WITH_SOCKETS and links == "stdio":
                yield (
                    f"{{{name}}} has no meaning with links: stdio, where every message passes the "
                    "harness, expected links: template, namespaces or none"
                )
            elif name not in EVERYWHERE:
                words = EVERYWHERE if links == "stdio" else (*EVERYWHERE, *WITH_SOCKETS)
                known = [f"{{{word}}}" for word in words]
                hint = nearest(f"{{{name}}}", known)
                yield f"unknown placeholder {{{name}}}, expected one of {', '.join(known)}{hint}"
            elif argument:
                yield f"{{{name}:{argument}}}: expected {{{name}}} alone"

    @staticmethod
    def check_words(words: Sequence[str], links: str) -> None:
        """ValueError for the first problem in a command."""
        for word in words:
            for problem in Placeholders.problems(word, links):
                raise ValueError(problem)
