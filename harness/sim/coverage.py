"""What a campaign ought to have reached: names of what is counted, in the order of showing.

A name that was never counted is shown all the same, as never reached: a kind of fault that did
not happen or a branch of the protocol that was not taken proves nothing.
"""

from collections import Counter
from collections.abc import Iterator

from harness.cluster.kill_points import INSTANTS
from harness.sim.scenario import KINDS

# (group, what a person reads, the counter's key)
_SHOWN: tuple[tuple[str, str, str], ...] = (
    ("elections", "candidacies", "BecameCandidate"),
    ("elections", "asked who is without a leader", "AskedWhoIsFree"),
    ("elections", "leaders elected", "Leads"),
    ("elections", "LEADERs that had to be repeated", "LEADER repeated"),
    ("elections", "leaders and candidates deposed", "DEPOSED"),
    ("elections", "leaders that no quorum answered", "UNANSWERED"),
    ("elections", "leaders that met a higher promise", "OUTBID"),
    ("elections", "answered leaders that prepared above one", "PREPARES_ABOVE"),
    ("log", "slots proposed with another value than before", "slot proposed with two values"),
    ("log", "no-ops proposed", "no-op proposed"),
    ("log", "spare backups asked because nothing was committed", "AskedSpare"),
    ("log", "backups asked first that were spare before", "ChosePrompt"),
    ("log", "runs of entries sent to who lacks them", "log entries sent to who lacks them"),
    ("log", "truncations", "log truncated"),
    ("log", "checkpoints installed", "InstalledCheckpoint"),
    ("log", "later pieces of checkpoints", "checkpoint sent in several pieces"),
    ("requests", "sent to all", "request broadcast"),
    ("requests", "sent to a new leader at once", "request sent at once to who was elected"),
    ("requests", "relayed", "request relayed"),
    ("requests", "executed again without effect", "request executed again without effect"),
    *(("crashes in a turn", place.value, f"crash {place.value}") for place in INSTANTS),
    ("crashes in a turn", "in the middle of a write", "write lost: killed in the middle"),
    ("crashes in a turn", "power lost, last write too", "power lost: committed write lost"),
    ("crashes in a turn", "power lost, last write kept", "power lost: write kept"),
    ("faults", "kills", "fault crash"),
    ("faults", "pauses", "fault pause"),
    ("faults", "disconnects", "fault disconnect"),
    ("faults", "links cut one way", "fault cut one way"),
    ("faults", "partitions", "fault partition"),
    ("faults", "links cut for good", "fault lasting cut"),
    *(("seeds with", kind, f"kind {kind}") for kind in KINDS),
    ("messages", "lost in the network", "message lost: network"),
    ("messages", "lost on a cut link", "message lost by a link fault"),
    ("messages", "lost with their reader's process", "message lost: its reader died"),
    ("messages", "sent to a dead process", "message lost: its reader was dead"),
    ("messages", "thrown away while disconnected", "message lost: disconnected"),
    ("messages", "duplicated", "message duplicated"),
    ("messages", "that overtook another", "message overtook another"),
    ("clusters", "seeds with 3 replicas", "seeds with 3 replicas"),
    ("clusters", "seeds with 5 replicas", "seeds with 5 replicas"),
    ("clusters", "seeds with 7 replicas", "seeds with 7 replicas"),
    ("clusters", "seeds on real files", "seed on real files"),
    ("clusters", "seeds with large amounts", "seed with large amounts"),
)


def rows(coverage: Counter[str]) -> Iterator[tuple[str, str, int]]:
    """(group, what, how often) of everything that ought to be reached."""
    for group, what, key in _SHOWN:
        yield group, what, coverage[key]
