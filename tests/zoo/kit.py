"""What every animal is made with: its card, and a way to put a broken part in for one call."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from bank.replica import Replica
from harness.live.storage import Storage
from harness.sim.scenario import KINDS, SwarmOptions
from harness.sim.swarm import run_seed


@dataclass(frozen=True, slots=True)
class Animal:
    """One broken replica, or a sound one on a broken storage."""

    broken: type[Replica] | type[Storage]
    wrong: str  # what it does wrong, in a sentence
    comes_from: str  # the kind of mistake that leads there
    options: SwarmOptions  # what the swarm may draw from, to find it fast

    @property
    def species(self) -> str:
        """The name of its class."""
        return self.broken.__name__

    @property
    def replica_class(self) -> type[Replica]:
        """The replica that runs."""
        return self.broken if issubclass(self.broken, Replica) else Replica

    @property
    def storage_class(self) -> type[Storage]:
        """What it runs on, in the seeds that have real files."""
        return self.broken if issubclass(self.broken, Storage) else Storage

    def run(self, seed: int) -> str | None:
        """What this seed violates with the animal; None when it passes."""
        outcome = run_seed(seed, self.options, self.replica_class, storage_class=self.storage_class)
        return outcome.violation


ANIMALS: list[Animal] = []
Broken = TypeVar("Broken", bound=type[Replica] | type[Storage])


def animal(
    wrong: str,
    comes_from: str,
    nodes: tuple[int, ...] = (3, 5, 7),
    faults: tuple[str, ...] = KINDS,
) -> Callable[[Broken], Broken]:
    """Puts a class into the zoo."""

    def register(broken: Broken) -> Broken:
        options = SwarmOptions(nodes, faults)
        ANIMALS.append(Animal(broken, wrong, comes_from, options))
        return broken

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
