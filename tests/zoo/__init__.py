"""The zoo: replicas that are broken on purpose, each in one way and by a few lines.

A check that never failed has shown nothing. Every animal is a mistake that implementations of
replicated logs make; docs/zoo.md says how fast each is found, and `python -m tests.zoo` writes it.
"""

from . import budgets, commits, elections, files, quorums, service, storage
from .hunt import hunt, seeds_in
from .kit import ANIMALS, Animal

__all__ = [
    "ANIMALS",
    "Animal",
    "budgets",
    "commits",
    "elections",
    "files",
    "hunt",
    "quorums",
    "seeds_in",
    "service",
    "storage",
]
