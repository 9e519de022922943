"""What every animal is made with: its card, and a way to put a broken part in for one call."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bank.replica import Replica
from harness.sim.mix import KINDS, SwarmOptions


@dataclass(frozen=True, slots=True)
class Animal:
    """One broken replica."""

    replica_class: type[Replica]
    wrong: str  # what it does wrong, in a sentence
    comes_from: str  # the kind of mistake that leads there
    options: SwarmOptions  # what the swarm may draw from, to find it fast

    @property
    def species(self) -> str:
        """The name of its class."""
        return self.replica_class.__name__


ANIMALS: list[Animal] = []


def animal(
    wrong: str,
    comes_from: str,
    nodes: tuple[int, ...] = (3, 5, 7),
    faults: tuple[str, ...] = KINDS,
) -> Callable[[type[Replica]], type[Replica]]:
    """Puts a class into the zoo."""

    def register(replica_class: type[Replica]) -> type[Replica]:
        options = SwarmOptions(nodes, faults)
        ANIMALS.append(Animal(replica_class, wrong, comes_from, options))
        return replica_class

    return register


@contextmanager
def patched(owner: Any, name: str, broken: Any) -> Iterator[None]:
    """`owner.name` is `broken` for a while."""
    sound = getattr(owner, name)
    setattr(owner, name, broken)
    try:
        yield
    finally:
        setattr(owner, name, sound)
