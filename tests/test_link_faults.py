"""Links with faults under a runner: who goes on, who is stale, and that everybody recovers.

The same sets run on processes and in the simulator; there, random faults for many seeds as well.
"""

from random import Random

import pytest
from fields import EVERYONE, Field, started

from bank.messages import Accept
from harness.cluster import wording
from harness.cluster.history import Operation
from harness.cluster.journal import Liveness, Passed, Way
from harness.cluster.links import Links
from harness.cluster.nemesis import Fail, Heal, LinkFault, Recover
from harness.files.cases import Command, Wait
from harness.files.config import ClusterConfig
from harness.sim.world import SimCluster

SECOND = 1_000_000


def transfer(sender, receiver="J"):
    return Command("transfer", sender, receiver, 1)


def between(some, others):
    """Every link from some to others."""
    return frozenset((a, b) for a in some for b in others if a != b)


ALL_LINKS = between(EVERYONE, EVERYONE)


def is_accept(entry):
    return isinstance(entry.event, Passed) and isinstance(entry.event.message, Accept)


def apart(some):
    """A partition: some on one side, the rest on the other."""
    others = EVERYONE - some
    return LinkFault("cut", between(some, others) | between(others, some))


class Linked(Field):
    """Its links are faulty now and then."""

    def leader(self):
        """Who leads, all links being whole."""
        return self.led_after(transfer("A"))

    def lines(self, replica):
        """The journal of a replica: when, and in words."""
        return [(at, wording.line(event)) for at, event in self.cluster.traces().of_set(replica)[0]]


@pytest.fixture(params=["live", "sim"], scope="module")
def field(request):
    # Nobody is taken for dead who only waits for a processor.
    timing = {"election_timeout_ms": (800, 1200), "patience_ms": 300}
    with started(request.param, initial_balance=1000, **timing) as cluster:
        yield Linked(*cluster)


def outcomes(report):
    return [step.outcome for step in report.steps if step.text.startswith("(")]


def executed(report, replicas=EVERYONE):
    return {report.views[replica - 1].status.executed_upto for replica in replicas}


def is_equal(report):
    return len({(v.status.executed_upto, v.status.digest) for v in report.views}) == 1


def test_the_majority_goes_on_without_a_leader_that_is_partitioned_away(field):
    leader = field.leader()
    minority = frozenset((leader, leader % 5 + 1))
    majority = EVERYONE - minority
    report = field.run(transfer("A"), apart(minority), transfer("B"), transfer("C"))
    assert outcomes(report) == ["success"] * 3
    assert report.leader in majority
    assert len(executed(report, majority)) == 1
    assert max(executed(report, minority)) < min(executed(report, majority)), "it is stale"
    assert is_equal(field.run(transfer("D"))), "links are whole again when a set begins"


def test_after_a_heal_in_mid_set_all_are_equal(field):
    minority = frozenset((field.leader(),))
    report = field.run(apart(minority), transfer("A"), Heal(), transfer("B"))
    assert outcomes(report) == ["success"] * 2 and is_equal(report)


@pytest.mark.parametrize("way", ["deaf", "dumb"])
def test_a_leader_cut_off_one_way_is_replaced(field, way):
    leader = field.leader()
    others = EVERYONE - {leader}
    links = between(others, (leader,)) if way == "deaf" else between((leader,), others)
    report = field.run(LinkFault("cut", links), transfer("A"), transfer("B"))
    assert outcomes(report) == ["success"] * 2
    assert report.leader in others
    assert len(executed(report, others)) == 1


def test_a_cut_lasts_until_the_next_set_begins(field):
    """So at the prompt between them both sides are still as the set's tables show them."""
    minority = frozenset((field.leader(),))
    before = field.run(transfer("A"), apart(minority), transfer("B"))
    field.runner.poke(Wait(400_000))
    after = {view.replica: view.status.executed_upto for view in field.cluster.views()}
    assert after == {view.replica: view.status.executed_upto for view in before.views}
    assert len(set(after.values())) == 2
    assert is_equal(field.run(transfer("C")))


def test_a_single_cut_one_way_stops_nobody(field):
    leader = field.leader()
    deaf = leader % 5 + 1
    report = field.run(LinkFault("cut", frozenset([(leader, deaf)])), transfer("A"), transfer("B"))
    assert outcomes(report) == ["success"] * 2
    assert len(executed(report, EVERYONE - {leader, deaf})) == 1
    lost = {line.peer for _, line in field.lines(deaf) if line.direction == "lost"}
    assert lost - {"all"} == {f"n{leader}"}, "heartbeats are summed up"
    assert not [
        line for r in EVERYONE - {deaf} for _, line in field.lines(r) if line.direction == "lost"
    ]


def test_where_nobody_hears_a_quorum_requests_wait_and_are_answered_later(field):
    field.leader()
    report = field.run(apart(frozenset((1, 2))), LinkFault("cut", ALL_LINKS), transfer("A"))
    assert outcomes(report) == ["pending"]
    report = field.run(transfer("B"))
    assert outcomes(report) == ["success"] * 2 and is_equal(report)


MILD = {
    "loss": [LinkFault("lose", ALL_LINKS, percent=30)],
    "copies": [LinkFault("duplicate", ALL_LINKS, percent=100)],
    "reordering": [LinkFault("reorder", ALL_LINKS, percent=50)],
    "delay": [LinkFault("delay", ALL_LINKS, least=20_000, most=50_000)],
}
MILD["all at once"] = [fault for faults in MILD.values() for fault in faults]


@pytest.mark.parametrize("name", MILD)
def test_every_request_is_answered_on_bad_links(field, name):
    requests = [transfer(name) for name in "ABCDE"]
    report = field.run(*MILD[name], *requests, Heal(), transfer("F"))
    assert outcomes(report) == ["success"] * 6 and is_equal(report)


def test_what_links_do_to_messages_is_told_to_people(field):
    field.leader()
    report = field.run(LinkFault("duplicate", ALL_LINKS), transfer("A"))
    assert outcomes(report) == ["success"]
    for replica in EVERYONE - {report.leader}:
        lines = [
            line.direction
            for _, line in field.lines(replica)
            if line.label == "ACCEPT" and line.direction != "out"
        ]
        assert lines[:3] == ["doubled", "in", "in"], replica
    field.run(LinkFault("delay", ALL_LINKS, least=30_000, most=30_000), transfer("A"))
    for replica in EVERYONE - {report.leader}:
        accepts = [(at, line) for at, line in field.lines(replica) if line.label == "ACCEPT"]
        (held_at, held), (read_at, read) = accepts[:2]
        assert (held.direction, read.direction) == ("held", "in")
        late = read_at - held_at
        assert late == 30_000 if isinstance(field.cluster, SimCluster) else late >= 30_000


def test_a_death_is_noticed_on_a_link_that_is_cut(field):
    leader = field.leader()
    others = EVERYONE - {leader}
    report = field.run(
        LinkFault("cut", between((leader,), others)), Fail(leader, "crash"), transfer("A")
    )
    assert outcomes(report) == ["success"]
    for replica in others:
        lines = [
            (line.direction, line.peer) for _, line in field.lines(replica) if line.label == "DOWN"
        ]
        assert lines == [("in", f"n{leader}")]


def test_nothing_is_held_for_who_is_disconnected(field):
    away = field.leader() % 5 + 1
    field.run(
        Fail(away, "disconnect"),
        LinkFault("delay", ALL_LINKS, least=1_000, most=1_000),
        transfer("A"),
    )
    lines = [line.direction for _, line in field.lines(away)]
    assert "held" not in lines[lines.index("note") :]


@pytest.mark.parametrize("mode", ["pause", "crash", "disconnect"])
def test_a_replica_that_was_away_when_links_were_cut_is_cut_off_when_it_returns(field, mode):
    leader = field.leader()
    away = leader % 5 + 1
    report = field.run(
        Fail(away, mode), apart(frozenset((away,))), transfer("A"), Recover(away), transfer("B")
    )
    assert outcomes(report) == ["success"] * 2
    assert report.views[away - 1].liveness is Liveness.LIVE
    assert len(executed(report, EVERYONE - {away})) == 1
    assert max(executed(report, {away})) < min(executed(report, EVERYONE - {away}))
    of_b = transfer("B")

    def ways():
        accepts = [entry for entry in field.cluster.traces().of_set(away)[0] if is_accept(entry)]
        return {e.way for e in accepts for r in e.event.message.requests if r[2:] == of_b}

    field.cluster.run_until(ways, 60_000_000)  # a spare backup is told of it a little later
    assert ways() == {Way.LOST}
    report = field.run(
        apart(frozenset((away,))), Fail(away, mode), Heal(), transfer("A"), Recover(away)
    )
    assert is_equal(report), "and whole again when they were healed meanwhile"


# ---- the simulator: many seeds -------------------------------------------------------------------


def draw_faults(random, replicas):
    """Cuts that leave somebody able, one link at least; what is not cut is bad in some way."""
    everyone = range(1, replicas + 1)
    pairs = sorted(between(everyone, everyone))
    while True:
        links, victim = Links(), random.choice(everyone)
        share = random.choice((0.05, 0.15, 0.3, 0.6))
        cut = random.choice(
            (
                [pair for pair in pairs if random.random() < share],
                [pair for pair in pairs if pair[0] == victim],
                [pair for pair in pairs if pair[1] == victim],
                [pair for pair in pairs if victim in pair],
            )
        )
        links.apply(LinkFault("cut", frozenset(cut)))
        if cut and links.able(everyone, replicas):
            break
    whole = frozenset(pairs) - frozenset(cut)
    bad = [
        LinkFault("lose", whole, percent=30),
        LinkFault("duplicate", whole, percent=50),
        LinkFault("reorder", whole, percent=30),
        LinkFault("delay", whole, least=20_000, most=50_000),
    ]
    return [LinkFault("cut", frozenset(cut)), *random.sample(bad, random.randint(0, 4))]


def under_random_faults(seed, sink=None):
    """Microseconds that the slowest request took; somebody heard a quorum all the time."""
    random = Random(f"{seed}/links")
    nodes = random.choice((3, 5, 7))
    world = SimCluster(ClusterConfig(nodes=nodes, seed=seed, trace_messages=0), sink=sink)
    world.start()
    world.set_clients_running(True)
    slowest = 0
    for _ in range(3):
        for fault in (Heal(), *draw_faults(random, nodes)):  # one cut replaces another
            world.apply(fault)
        world.run_until(lambda: False, random.choice((0, SECOND // 2, 2 * SECOND)))
        operations = [
            Operation((client, 0, "transfer", client, "J", 1), set_number=1)
            for client in random.sample("ABCDEFGHI", 3)
        ]
        asked = world.now()
        for operation in operations:
            world.submit(operation)
        answered = world.run_until(lambda o=operations: all(x.is_answered for x in o), 10 * SECOND)
        assert answered, f"seed {seed}"
        slowest = max(slowest, world.now() - asked)
    world.apply(Heal())
    assert world.run_until(
        lambda: len({world.executed_upto(r) for r in world.processes}) == 1, 10 * SECOND
    ), f"seed {seed}: replicas are not equal"
    world.compare()
    return slowest


def test_who_hears_a_quorum_answers_in_bounded_time_for_many_seeds():
    for seed in range(60):
        under_random_faults(seed)


def test_a_seed_repeats_itself_with_link_faults():
    runs = [[], []]
    for events in runs:
        under_random_faults(7, events.append)
    assert runs[0] == runs[1] and len(runs[0]) > 500
