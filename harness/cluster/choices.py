"""Everything that may go one way or another, asked of whoever decides: one number at a time.

Who decides is handed in: a seed (`Seeded`), or the numbers of an earlier run, with which the same
happens again. Where all that can happen is tried, as `explore` does, nobody decides and nothing of
this is asked.
"""

from collections.abc import Sequence
from random import Random
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Choices(Protocol):
    """Who decides."""

    def pick(self, options: int) -> int:
        """One of 0, 1, … `options` - 1."""


class Seeded:
    """Drawn evenly."""

    def __init__(self, seed: object) -> None:
        self._random = Random(seed if seed is None else str(seed)).random

    def pick(self, options: int) -> int:
        """See Choices."""
        return int(self._random() * options)


def happens(choices: Choices, rate: float) -> bool:
    """Whether something happens that does so often, from 0 to 1; without a question at 0."""
    return rate > 0 and choices.pick(10_000) < rate * 10_000


def between(choices: Choices, least: int, most: int) -> int:
    """A whole number, both bounds included."""
    return least + choices.pick(most - least + 1)


def one_of(choices: Choices, items: Sequence[Item]) -> Item:
    """One of these."""
    return items[choices.pick(len(items))]


def some_of(choices: Choices, items: Sequence[Item], count: int) -> list[Item]:
    """So many different ones of these."""
    left = list(items)
    return [left.pop(choices.pick(len(left))) for _ in range(count)]
