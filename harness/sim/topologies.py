"""Links that are left when the others are cut for good: shapes, and graphs that are drawn. Pure.

In most of them not everybody hears everybody, in some only one replica hears a quorum, in others
none does. `Links.able` says which; who is able must lead, whatever the shape.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import combinations
from random import Random
from types import MappingProxyType
from typing import TypeAlias

from harness.cluster.nemesis import Link

Graph: TypeAlias = frozenset[Link]  # the links that are whole, each one way


def both_ways(pairs: Iterable[Link]) -> Graph:
    """Each pair hears each other."""
    listed = list(pairs)
    return frozenset(listed) | {(b, a) for a, b in listed}


def every_link(nodes: int) -> Graph:
    """Everybody hears everybody."""
    return both_ways(combinations(range(1, nodes + 1), 2))


def star(nodes: int) -> Graph:
    """n1 hears all, the others hear only n1."""
    return both_ways((1, other) for other in range(2, nodes + 1))


def chain(nodes: int) -> Graph:
    """Each hears the one before and the one after it."""
    return both_ways((r, r + 1) for r in range(1, nodes))


def ring(nodes: int) -> Graph:
    """A chain whose ends hear each other."""
    return chain(nodes) | both_ways([(nodes, 1)])


def bridge(nodes: int) -> Graph:
    """Two halves of which the one in the middle belongs to both."""
    middle = (nodes + 1) // 2
    halves = range(1, middle + 1), range(middle, nodes + 1)
    return both_ways(pair for half in halves for pair in combinations(half, 2))


def two_centres(nodes: int) -> Graph:
    """n1 and n2 hear all the others, but not each other; the others hear only these two."""
    return both_ways((centre, other) for centre in (1, 2) for other in range(3, nodes + 1))


def one_way_ring(nodes: int) -> Graph:
    """Each is heard by the half after it and hears the half before it: nobody is answered."""
    half = range(1, nodes // 2 + 1)
    return frozenset((r, (r + k - 1) % nodes + 1) for r in range(1, nodes + 1) for k in half)


SHAPES: Mapping[str, Callable[[int], Graph]] = MappingProxyType(
    {
        "star": star,
        "chain": chain,
        "ring": ring,
        "bridge": bridge,
        "two centres": two_centres,
        "one-way ring": one_way_ring,
    }
)


def draw_cut(random: Random, nodes: int) -> Graph:
    """The links to cut so that a shape with its replicas shuffled is left, or any graph at all."""
    links = sorted(every_link(nodes))
    places = random.sample(range(1, nodes + 1), nodes)
    shape = random.choice((*SHAPES.values(), None, None, None))
    if shape is not None:
        whole = frozenset((places[a - 1], places[b - 1]) for a, b in shape(nodes))
    else:
        whole = _any_graph(random, links, random.choice((0.3, 0.5, 0.7, 0.9)))
    return frozenset(links) - whole


def _any_graph(random: Random, links: list[Link], share: float) -> Graph:
    is_mutual = random.random() < 0.5
    if not is_mutual:
        return frozenset(link for link in links if random.random() < share)
    return both_ways((a, b) for a, b in links if a < b and random.random() < share)
