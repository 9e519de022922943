"""Faults as they are drawn, for processes and for the simulator: who is hit, with what. Pure.

When, and for how long, is a matter of who asks; so is what a cluster must be spared.
"""

from collections.abc import Sequence

from bank.ballot import ReplicaId
from harness.cluster.choices import Choices, between, happens, one_of, some_of
from harness.cluster.nemesis import LINK_FAULTS, Fail, Link, LinkFault

FAILING = {"kill": "crash", "crash": "crash", "pause": "pause", "disconnect": "disconnect"}
PERCENTS = (5, 30)  # of the messages, where a fault does not befall all
DELAYS_US = (1_000, 50_000)  # between these is the longest delay of a link


def victim(
    choices: Choices, replicas: Sequence[ReplicaId], leader: ReplicaId | None, rate: float
) -> ReplicaId:
    """One of these; the leader, if it is one of them, so often at least."""
    if leader in replicas and leader is not None and happens(choices, rate):
        return leader
    return one_of(choices, replicas)


def fault(
    choices: Choices, kind: str, victim: ReplicaId, nodes: int, clients: Sequence[ReplicaId] = ()
) -> Fail | LinkFault:
    """A fault of this kind that hits a victim.

    One of FAILING; `cut`: some links out of it, or some into it, those of `clients` too;
    `partition`: it and some others on one side, the rest on the other; `links`: one of LINK_FAULTS
    on all links, on its own, or on those of one direction.
    """
    replicas = range(1, nodes + 1)
    if kind in FAILING:
        return Fail(victim, FAILING[kind])
    if kind == "cut":
        peers = [peer for peer in (*clients, *replicas) if peer != victim]
        some = some_of(choices, peers, between(choices, 1, len(peers)))
        out = happens(choices, 0.7)
        return LinkFault("cut", frozenset((victim, p) if out else (p, victim) for p in some))
    if kind == "partition":
        share = choices.pick(100) / 100
        side = {r: r == victim or happens(choices, share) for r in replicas}
        apart = frozenset((a, b) for a in replicas for b in replicas if side[a] != side[b])
        return LinkFault("cut", apart)
    assert kind == "links", kind
    return _bad_links(choices, victim, [(a, b) for a in replicas for b in replicas if a != b])


def _bad_links(choices: Choices, victim: ReplicaId, pairs: list[Link]) -> LinkFault:
    own = [pair for pair in pairs if victim in pair]
    way = choices.pick(2)
    chosen = one_of(choices, (pairs, own, [pair for pair in own if pair[way] == victim]))
    kind = one_of(choices, LINK_FAULTS)
    if kind == "cut":
        chosen = some_of(choices, own, between(choices, 1, len(own)))
    most = between(choices, *DELAYS_US)
    return LinkFault(kind, frozenset(chosen), one_of(choices, PERCENTS), choices.pick(most), most)
