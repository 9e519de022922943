"""What one seed of a swarm is: a cluster, a load and faults of some kinds, drawn from its number.

Leaving kinds of fault out altogether in some seeds finds what a mix of everything hides ("Swarm
Testing", Groce et al., ISSTA 2012). Everything is drawn whatever the options allow, so that a seed
stays much the same when a kind of fault is taken from it.
"""

from dataclasses import dataclass, replace
from random import Random

from bank.ballot import ReplicaId
from bank.settings import Sizes
from harness.cluster.links import Links, LinkState
from harness.cluster.nemesis import Link, LinkFault
from harness.files.config import MOST_MONEY, ClusterConfig
from harness.sim.timed import ProcessRules
from harness.sim.topologies import draw_cut
from harness.sim.wires import NEAR, WorldRules

MILLISECOND = 1000
CLIENT_NAMES = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LONG = 0.02  # of the seeds have many clients and get far beyond what is sent in one piece
LONG_CLIENTS = tuple(a + b for a in CLIENT_NAMES[:8] for b in CLIENT_NAMES)
LONG_OPERATIONS = (1_500, 3_000, 5_000)
KINDS = (
    "loss",
    "duplication",
    "reorder",
    "stall",
    "cut",
    "partition",
    "kill",
    "crash-point",
    "power",
    "pause",
    "disconnect",
    "ambush",
    "distance",
    "drift",
    "slow-disk",
    "batching",
    "lasting-cut",
    "topology",
)
# Drawn by themselves, so that seeds that were known before a kind was there stay what they were.
DRAWN_APART = ("lasting-cut", "topology")
ON_FILES = 1 / 8  # of the seeds
RICH = 1 / 8  # of the seeds move amounts that fill one byte, two, four or all eight of a balance
UNITS = (2**8, 2**16, 2**32, MOST_MONEY)


@dataclass(frozen=True, slots=True)
class SwarmOptions:
    """What a campaign allows its seeds to draw from."""

    nodes: tuple[int, ...] = (3, 5, 7)
    faults: tuple[str, ...] = KINDS


@dataclass(frozen=True, slots=True)
class Scenario:
    """What one seed drew."""

    config: ClusterConfig
    rules: WorldRules
    kinds: tuple[str, ...]
    operations: int
    fault_phase: int  # microseconds
    fault_pause: int  # mean time between two actions
    bursts: tuple[int, ...]  # when many clients ask at once; empty: they ask evenly
    distances: dict[tuple[ReplicaId, ReplicaId], LinkState]  # links that are unlike the others
    on_files: bool = False  # disks are real ones of the class that processes use, not simulated
    lasting: frozenset[Link] = frozenset()  # cut at some time, and mended only if nobody is able
    outsiders: tuple[ReplicaId, ...] = ()  # may miss what is decided while these are cut
    is_able: bool = True  # somebody hears a quorum although these are cut
    unit: int = 1  # of the amounts; above 1 some are small all the same, most not a multiple
    strikes: frozenset[int] | None = (
        None  # of the faults, by number, those that are done; None: all
    )


def draw(seed: int, options: SwarmOptions) -> Scenario:
    """The scenario of this seed, within what the options allow; depends on nothing else."""
    random = Random(f"{seed}/mix")
    share = random.choice((0.2, 0.5, 0.8))  # of the kinds: some seeds are calm, some fierce
    apart = {kind: Random(f"{seed}/{kind}") for kind in DRAWN_APART}
    apart["lasting-cut"] = Random(f"{seed}/apart")
    rarely = share / 2  # who is cut off for good meets fewer others in the end
    drawn = [
        kind
        for kind in KINDS
        if (apart[kind].random() < rarely if kind in apart else random.random() < share)
    ]
    kinds = tuple(kind for kind in drawn if kind in options.faults)
    low = random.choice((20, 20, 50, 150))
    phase = random.randint(5, 40) * low * MILLISECOND
    config = _cluster(random, seed, options.nodes, low, "power" in kinds)
    distances = _distances(random, config.nodes, low)
    outsiders, lasting = (
        _lasting(apart["lasting-cut"], config.nodes) if "lasting-cut" in kinds else ((), ())
    )
    scenario = Scenario(
        config,
        _rules(random, kinds, low),
        kinds,
        operations=min(400, random.choice((2, 8, 30)) * len(config.accounts)),
        fault_phase=phase,
        bursts=tuple(sorted(random.sample(range(phase), random.choice((0, 3, 10))))),
        fault_pause=random.choice((low // 2, low, 4 * low)) * MILLISECOND,
        distances=distances if "distance" in kinds else {},
        on_files=_is_on_files(Random(f"{seed}/files")),
        lasting=frozenset(lasting),
        outsiders=tuple(outsiders),
    )
    if "topology" in kinds:
        scenario = _with_topology(scenario, apart["topology"])
    sizes = _sizes(random, Random(f"{seed}/sizes"), Random(f"{seed}/pages"))
    scenario = replace(scenario, rules=replace(scenario.rules, sizes=sizes))
    far, rich = Random(f"{seed}/long"), Random(f"{seed}/rich")
    if far.random() < LONG:
        scenario = _long(far, scenario)
    return _rich(rich, scenario) if rich.random() < RICH else scenario


def _rich(random: Random, scenario: Scenario) -> Scenario:
    """The same with more money: what counts in too few bits, or in fractions, shows."""
    each = MOST_MONEY // len(scenario.config.accounts)  # all of it may end in one account
    unit = min(random.choice(UNITS), each // 10)
    config = replace(scenario.config, initial_balance=min(10 * unit + random.randrange(unit), each))
    return replace(scenario, config=config, unit=unit)


def _with_topology(scenario: Scenario, random: Random) -> Scenario:
    """Links of one topology are left at last, in place of a minority's lasting cuts."""
    nodes, links = scenario.config.nodes, Links()
    everybody = range(1, nodes + 1)
    lasting = draw_cut(random, nodes)
    links.apply(LinkFault("cut", lasting))
    in_touch = links.in_touch(everybody, nodes)
    outsiders = tuple(replica for replica in everybody if replica not in in_touch)
    is_able = bool(links.able(everybody, nodes))
    return replace(scenario, lasting=lasting, outsiders=outsiders, is_able=is_able)


def _sizes(pieces: Random, others: Random, pages: Random) -> Sizes:
    """How much goes at a time: now and then so little that a short run takes many times."""
    return Sizes(
        piece_bytes=pieces.choice((150, 1_000, 256 * 1024)),
        piece_slots=pieces.choice((1, 10, 1000)),
        full_slots=others.choice((2, 4, 16)),
        spare_slots=others.choice((3, 20, 256)),
        trial_heartbeats=others.choice((1, 3, 25)),
        hash_slots=others.choice((1, 3, 100)),
        noted_hashes=others.choice((4, 30, 256)),
        compared_slots=others.choice((16, 40, 128)),
        page_accounts=pages.choice((1, 3, 1024, 1024)),
        page_slots=pages.choice((0, 0, 1, 96)),
        turn_pages=pages.choice((1, 2, 16)),
        turn_slots=pages.choice((1, 20, 2000)),
    )


def _long(random: Random, scenario: Scenario) -> Scenario:
    """The same with thousands of slots, which cost little when many clients ask at once."""
    sizes = replace(
        scenario.rules.sizes,
        piece_bytes=random.choice((1_000, 256 * 1024)),
        piece_slots=random.choice((30, 1000)),
    )
    interval = random.choice((7, 100, 1000))
    config = replace(
        scenario.config,
        accounts=LONG_CLIENTS,
        checkpoint_interval=interval,
        keep_slots=random.choice((0, interval, 1000)),
    )
    operations = random.choice(LONG_OPERATIONS)
    return replace(
        scenario, config=config, rules=replace(scenario.rules, sizes=sizes), operations=operations
    )


def _is_on_files(random: Random) -> bool:
    """Real files take half as long again, and break in ways of their own: some seeds will do."""
    return random.random() < ON_FILES


def _cluster(
    random: Random, seed: int, nodes: tuple[int, ...], low: int, power: bool
) -> ClusterConfig:
    """Time-outs between `low` and twice that, in milliseconds; everything else in proportion."""
    interval = random.choice((1, 2, 3, 7, 20, 100, 1000))
    return ClusterConfig(
        nodes=random.choice(nodes),
        accounts=tuple(CLIENT_NAMES[: random.choice((1, 5, 26, 26))]),
        election_timeout_ms=(low, low * 2),
        prepare_quiet_ms=low // 2,
        prepare_pause_ms=low * 13,
        heartbeat_ms=low // random.choice((3, 4, 8)),
        stagger_ms=random.choice((1, 5)),
        client_timeout_ms=random.choice((low, low * 2, low * 4, low * 4)),
        checkpoint_interval=interval,
        checkpoint_pause_ms=random.choice((0, 0, 1, 20, 200)),
        keep_slots=random.choice((0, 0, 1, interval, 5 * interval, 1000)),
        spare_pause_ms=random.choice((0, 0, 2, low)),
        spare_after_slots=random.choice((0, 0, 5)),
        learn_slots=random.choice((1, 1, 3, 64)),
        trace_messages=0,
        durability="power" if power else "process",
        seed=seed,
    )


def _rules(random: Random, kinds: tuple[str, ...], low: int) -> WorldRules:
    """What the network, the machine and the clocks are like until the faults stop."""

    def rate(kind: str, *rates: float) -> float:
        drawn = random.choice(rates)
        return drawn if kind in kinds else 0.0

    def percent(kind: str, *rates: int) -> int:
        return int(rate(kind, *rates))

    slowest = random.choice((2, low // 2, 2 * low)) * MILLISECOND
    least, most = random.choice(((20, 100), (500, 2_000), (low * 20, low * 200)))
    links = LinkState(
        lose=percent("loss", 1, 10, 40),
        duplicate=percent("duplication", 1, 20),
        reorder=percent("reorder", 100),
        least=least,
        most=most,
        held_least=0,  # how they differ lets messages overtake, nothing else holds them back
        held_most=0,
        stall=percent("stall", 1, 20),
        stall_least=MILLISECOND,
        stall_most=slowest,
    )
    processes = ProcessRules(
        batching=rate("batching", 0.1, 0.9),
        batch_delay=random.choice((200, 2_000)),
        slow_write=rate("slow-disk", 0.02, 1.0),
        write_delay=random.choice((300, 5_000, 20_000)),
        crash_per_turn=max(rate("crash-point", 0.001, 0.01), rate("power", 0.002)),
        power_loss=rate("power", 0.5),
    )
    return WorldRules(links, processes, int(rate("drift", 1_000, 100_000)))


def _distances(
    random: Random, nodes: int, low: int
) -> dict[tuple[ReplicaId, ReplicaId], LinkState]:
    """Some links far slower than others, one way: messages of one broadcast arrive apart."""
    far: dict[tuple[ReplicaId, ReplicaId], LinkState] = {}
    for source in range(nodes + 1):
        for to in range(nodes + 1):
            if source != to and random.random() < 0.3:
                slowest = random.choice((2_000, low * 300, low * 1_000))
                reorder = 100 * (random.random() < 0.5)
                far[source, to] = replace(
                    NEAR,
                    least=slowest // 2,
                    most=slowest,
                    reorder=reorder,
                    held_least=0,
                    held_most=0,
                )
    return far


def _lasting(
    random: Random, nodes: int
) -> tuple[list[ReplicaId], list[tuple[ReplicaId, ReplicaId]]]:
    """Some replicas of a minority, and their links that are cut for good: out, in, or both ways."""
    minority = (nodes - 1) // 2
    if not minority:
        return [], []
    outsiders = sorted(random.sample(range(1, nodes + 1), random.randint(1, minority)))
    cut: list[tuple[ReplicaId, ReplicaId]] = []
    for outsider in outsiders:
        peers = [peer for peer in range(1, nodes + 1) if peer != outsider]
        share = random.choice((0.3, 1.0, 1.0))
        some = [peer for peer in peers if random.random() < share] or peers[:1]
        ways = random.choice(("out", "in", "both"))
        cut += [(outsider, peer) for peer in some if ways != "in"]
        cut += [(peer, outsider) for peer in some if ways != "out"]
    return outsiders, cut
