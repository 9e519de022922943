"""Majorities. A quorum is more than half of *all* replicas, dead ones included."""

from collections.abc import Iterable


def quorum_size(replicas: int) -> int:
    """The smallest majority of `replicas`: any two of them share a member."""
    return replicas // 2 + 1


def highest_held_by(quorum: int, values: Iterable[int]) -> int:
    """The largest x such that `quorum` of the values, which are no fewer, are ≥ x."""
    return sorted(values)[-quorum]
