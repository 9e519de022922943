"""What a resumed run knows of earlier ones: from which slot on, and when disks contradict."""

from dataclasses import replace

import pytest
from conductor import altered, take

from bank.ballot import Ballot
from bank.effects import Stored
from bank.ledger import SUCCESS
from bank.sessions import Machine
from bank.status import Role
from harness.cluster.journal import Liveness
from harness.files.config import ClusterConfig
from harness.live import protocol
from harness.live.cluster import LiveCluster
from harness.live.handle import Handle
from harness.live.protocol import Progress
from harness.live.resumed import committed_before

BALANCES = {"A": 10, "B": 10}
BALLOT = Ballot(1, 1)
REQUESTS = [("A", slot, "transfer", "A", "B", 1) for slot in range(1, 9)]


def checkpoint(slot):
    machine = Machine(BALANCES)
    machine.execute(1, REQUESTS[:slot])
    return take(slot, "", machine)


def disk(rows, committed, kept=None):
    """Holds these slots, knows some to be committed, and perhaps has a checkpoint."""
    entries = tuple((slot, BALLOT, REQUESTS[slot - 1]) for slot in rows)
    truncated = min(rows, default=1) - 1
    return Stored(BALLOT, 1, entries, committed, truncated, kept and checkpoint(kept))


CASES = {
    "nothing": ([], None, []),
    "from the first slot on": ([disk(range(1, 5), 3)], None, [1, 2, 3]),
    "all rows beside a checkpoint": ([disk(range(1, 7), 5, 4)], None, [1, 2, 3, 4, 5]),
    "from a checkpoint on": ([disk(range(5, 7), 6, 4)], 4, [5, 6]),
    "from the oldest that reaches": (
        [disk(range(3, 7), 6, 4), disk([], 0, 2), disk(range(7, 8), 7, 6)],
        2,
        [3, 4, 5, 6, 7],
    ),
    "not from one below a gap": ([disk([3], 3, 2), disk(range(7, 9), 8, 6)], 6, [7, 8]),
}


@pytest.mark.parametrize(("disks", "base", "slots"), CASES.values(), ids=CASES)
def test_the_log_begins_where_it_is_whole(disks, base, slots):
    log = committed_before(dict(enumerate(disks, 1)), BALANCES)
    assert (log.base and log.base.slot, sorted(log.slots)) == (base, slots)
    assert log.contradictions == []
    assert all(log.slots[slot] == (REQUESTS[slot - 1], SUCCESS) for slot in slots)


def test_everything_held_was_asked_for_before():
    log = committed_before({1: disk(range(1, 3), 1), 2: disk(range(1, 6), 0)}, BALANCES)
    assert (sorted(log.slots), log.known_before) == ([1], 5)


def test_a_slot_that_two_disks_have_committed_differently_is_told():
    other = disk(range(1, 4), 3)
    stolen = (2, BALLOT, ("A", 2, "transfer", "A", "B", 9))
    other = replace(other, entries=(other.entries[0], stolen, other.entries[2]))
    log = committed_before({1: disk(range(1, 3), 2), 2: other}, BALANCES)
    assert len(log.contradictions) == 1
    told = "slot 2: n2 has committed (A, B, 9) (request 2), another"
    assert log.contradictions[0].startswith(told)


def test_an_entry_that_is_not_committed_contradicts_nobody():
    other = disk(range(1, 3), 1)
    other = replace(other, entries=(other.entries[0], (2, BALLOT, REQUESTS[7])))
    assert committed_before({1: disk(range(1, 3), 2), 2: other}, BALANCES).contradictions == []


@pytest.mark.parametrize("slot", [2, 4])
@pytest.mark.parametrize(
    "changes",
    [{"balances": {"A": 9, "B": 11}}, {"sessions": (("A", 1, "failed", 1),)}],
    ids=["balances", "sessions"],
)
def test_a_checkpoint_that_the_log_does_not_give_is_told(slot, changes):
    wrong = altered(checkpoint(slot), **changes)
    disks = {1: disk(range(1, 6), 5, 2), 2: replace(disk(range(5, 7), 5), checkpoint=wrong)}
    told = [f"slot {slot}: the checkpoint of n2 is not what the log gives"]
    assert committed_before(disks, BALANCES).contradictions == told


def test_of_two_checkpoints_at_one_slot_both_are_looked_at():
    wrong = altered(checkpoint(4), balances={"A": 9, "B": 11})
    for order in ((wrong, checkpoint(4)), (checkpoint(4), wrong)):
        disks = {r: replace(disk([], 4), checkpoint=c) for r, c in enumerate(order, 1)}
        assert len(committed_before(disks, BALANCES).contradictions) == 1


class Fleet:
    """Three replicas without processes, on a clock of its own; n3 was left at slot 1."""

    def __init__(self, live, comes_by):
        """`comes_by` is who brings n3 to slot 4: "itself", "a leader" or nobody."""
        self.handles = {
            r: Handle(r, liveness=Liveness.LIVE if r in live else Liveness.STOPPED, progress=at(4))
            for r in (1, 2, 3)
        }
        self.handles[3].progress = at(1)
        self.comes_by, self.clock, self.asked = comes_by, 0, []

    def start(self, _):
        pass

    def tell(self, replica, order):
        self.asked.append((replica, *order))

    def look_after(self):
        pass

    def pump(self, deadline, for_answers=False):
        if self.comes_by == "itself" or (self.asked and self.comes_by == "a leader"):
            self.handles[3].progress = at(4)
        else:
            self.clock = deadline


def at(slot):
    return Progress(Role.FOLLOWER.value, (0, 0), False, slot)


ALL = (1, 2, 3)
SOUGHT = [(r, protocol.SEEK) for r in ALL]


@pytest.mark.parametrize(
    ("base", "live", "comes_by", "slot", "waited_ms", "asked"),
    [
        (4, ALL, "itself", 4, 0, []),
        (4, ALL, "a leader", 4, 300, SOUGHT),
        (4, ALL, "nobody", 1, 300 + 10_000, SOUGHT),
        (4, [3], "nobody", 1, 300, SOUGHT),
        (4, [1, 2], "nobody", 1, 0, []),
        (None, ALL, "nobody", 1, 0, []),
    ],
    ids=["itself", "a leader", "in vain", "no quorum", "who stopped is left", "all is known"],
)
def test_whoever_was_left_below_the_base_is_brought_there_before_anything_fails(
    tmp_path, base, live, comes_by, slot, waited_ms, asked
):
    cluster = LiveCluster(ClusterConfig(nodes=3), tmp_path / "data")
    real, cluster.fleet = cluster.fleet, Fleet(live, comes_by)
    cluster.now = lambda: cluster.fleet.clock
    cluster.committed.base = base and checkpoint(base)
    cluster.start()
    fleet, cluster.fleet = cluster.fleet, real
    cluster.stop()
    assert fleet.handles[3].progress.executed_upto == slot
    assert (fleet.clock, fleet.asked) == (waited_ms * 1000, asked)
