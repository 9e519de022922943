"""Kill, pause, disconnect real replicas under load, at random and named points; then judge.

Clients send without a pause while faults come at random, on links between replicas as well; never
more replicas are down or cut off at once than the protocol tolerates. At the end all links are
whole and everybody returns, everything asked must be answered exactly once, and all replicas must
be equal.
"""

import argparse
import shlex
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from bank.ballot import ReplicaId, replica_name
from bank.effects import Stored
from bank.ledger import READ, TRANSFER
from harness import commands
from harness.check.black_box import black_box
from harness.check.judges import judge_run
from harness.check.promises import promises
from harness.check.verdict import Judgement, Verdict, judge, overall
from harness.cluster import draws, nemesis
from harness.cluster.choices import Seeded, between, happens, one_of
from harness.cluster.driver import Cluster, CommitLog
from harness.cluster.history import Operation
from harness.cluster.journal import Liveness
from harness.cluster.links import Links
from harness.cluster.nemesis import LINK_FAULTS, Fail, Heal, KillAt, Link, LinkFault, Recover
from harness.errors import HarnessError
from harness.files import history_file, outputs
from harness.files.cases import CaseFile
from harness.files.config import FAILURES, NODES, ClusterConfig
from harness.live.cluster import LiveCluster
from harness.run import launch
from harness.run.outside import judged
from harness.screen.cells import Line
from harness.screen.watching import View, Watched

if TYPE_CHECKING:
    from harness.external.description import Description

READS = 0.1  # of all operations
MODES = (*FAILURES, "links", "points")
MODES_WANTED = "crash,pause,disconnect,links,points"
OF_OTHERS = (*FAILURES, "links")  # in which other people's replicas can fail
CLIENTS_BUDGET = 200_000  # configurations; some seconds when nothing comes of it
INTERVAL = 20  # slots between checkpoints: so few that many returning replicas need one
POINT_PATIENCE_US = 300_000  # how long an armed replica may take to reach its point
SETTLED_US = 400_000  # longer than any time-out
EXAMPLES = (
    ("--kills 100", "a hundred faults of all kinds"),
    ("--modes crash --durability power --seed 7", "SIGKILL only, every vote fsynced"),
    ("--kills 100 --watch", "see who leads, follows and fails meanwhile"),
    ("--kills 20 --history history.jsonl", "save what clients saw, for `check`"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `torture`."""
    parser.add_argument("--kills", type=int, default=300, help="how many faults [300]")
    parser.add_argument("--seed", type=int, default=None, help="of all that is drawn [random]")
    parser.add_argument("--nodes", type=int, default=5, choices=NODES, help="replicas [5]")
    parser.add_argument(
        "--modes",
        default=MODES_WANTED,
        help="drawn from evenly: crash, pause, disconnect, links, which cuts links between "
        "replicas or lets them delay, lose, duplicate and reorder messages, and points, which "
        "kills a replica at a named point of its turn [crash,pause,disconnect,links,points]",
    )
    parser.add_argument(
        "--durability",
        default="process",
        choices=("process", "power"),
        metavar="process|power",
        help="what a replica's disk survives: the death of its process, or also loss of power "
        "[process]",
    )
    parser.add_argument(
        "--checkpoint-interval",
        type=int,
        default=INTERVAL,
        metavar="SLOTS",
        help="between checkpoints, and how many are kept below one [20]",
    )
    parser.add_argument(
        "--history", type=Path, metavar="FILE", help="save what clients saw, for `check`"
    )
    parser.add_argument(
        "--replicas",
        metavar="FILE",
        help="other people's replicas: a YAML file that describes them, "
        "or the command that starts one",
    )
    parser.add_argument("--watch", action="store_true", help="show the replicas meanwhile")


def run(options: argparse.Namespace, console: Console) -> int:
    """Torture a cluster of processes; the verdict's exit code."""
    modes = options.modes.split(",")
    for mode in modes:
        if mode not in MODES:
            raise HarnessError(f"--modes: {mode!r}: expected some of {', '.join(MODES)}")
    if options.kills < 1:
        raise HarnessError(f"--kills: {options.kills}: expected a number from 1 on")
    description = launch.replicas(options.replicas)
    if description is not None:
        modes = _modes_of_others(options, modes, description)
    if options.checkpoint_interval < 1:
        found = f"--checkpoint-interval: {options.checkpoint_interval}"
        raise HarnessError(f"{found}: expected a number from 1 on")
    fixed = {} if description is None else description.fixed
    outputs.check_file("--history", options.history)
    view = View(console, options.watch)
    seed = launch.drawn(options.seed)
    console.print(f"torture: seed {seed}, {options.kills} faults of {', '.join(modes)}")
    flags = {
        "nodes": options.nodes,
        "initial_balance": None if "initial_balance" in fixed else 100,
        "durability": options.durability,
        "checkpoint_interval": options.checkpoint_interval,
        "keep_slots": options.checkpoint_interval,
        "seed": seed,
    }
    config = launch.settings(flags, {}, description=description)
    torture, trouble = Torture(config, modes, options.kills, description), None
    columns = (TextColumn("{task.description}"), TextColumn("{task.completed}/{task.total}"),
               TimeElapsedColumn(), TextColumn("{task.fields[phase]}"))  # fmt: skip
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("faults", total=options.kills, phase="")

        def show(faults: int, phase: str) -> None:
            progress.update(task, completed=faults, phase=phase)

        try:
            torture.run(show, view.over(progress))
        except HarnessError as error:
            trouble = error
    judgements = torture.judgements
    console.print(torture.table())
    for judgement in judgements:
        _print_judgement(judgement, console)
    if description is None:  # others are judged by that alone
        console.print(f"judging what clients saw of {torture.asked} requests, without the log …")
        judged_blind = torture.judge_clients()
        _print_judgement(judged_blind, console)
        if judged_blind.verdict is not Verdict.UNKNOWN:  # then the log's word is all
            judgements = (*judgements, judged_blind)
    verdict = overall(judgements)
    if verdict.exit_code:
        command = f"{commands.program()} torture --kills {options.kills} --seed {seed}"
        command += f" --modes {options.modes}"
        command += f" --nodes {options.nodes}"
        if description is None:
            command += f" --durability {options.durability}"
            command += f" --checkpoint-interval {options.checkpoint_interval}"
        command += f" --replicas {shlex.quote(options.replicas)}" if options.replicas else ""
        told = f"repeat with: {command} (processes do not repeat byte for byte)"
        console.print(Text(told), soft_wrap=True)
    try:
        if options.history is not None:
            torture.save_history(options.history)
    except HarnessError as error:
        trouble = trouble or error
    if trouble is not None:
        raise trouble.beside(verdict.exit_code)
    return verdict.exit_code


def _print_judgement(judgement: Judgement, console: Console) -> None:
    sign, name = judgement.verdict.sign, judgement.check
    console.print(Line(Text(f"{sign} {name} {judgement.reason}".rstrip())), soft_wrap=True)


def _modes_of_others(
    options: argparse.Namespace, modes: list[str], description: "Description"
) -> list[str]:
    """Those that other people's replicas can be put through; HarnessError for what they cannot."""
    is_default = options.modes == MODES_WANTED
    if "points" in modes and not is_default:
        told = "--modes: points are places in our own replicas' code, expected some of "
        raise HarnessError(f"{told}{', '.join(OF_OTHERS)} with --replicas")
    possible = OF_OTHERS if launch.link_faults(description) else ("crash", "pause")
    if not is_default and (beyond := [mode for mode in modes if mode not in possible]):
        told = f"--modes: {beyond[0]}: with links: {description.links} nothing passes the harness"
        raise HarnessError(f"{told}, expected some of {', '.join(possible)}")
    anyway = {**launch.OF_OTHERS, "checkpoint_interval": INTERVAL}
    launch.refuse_beside_replicas(vars(options), anyway=anyway)
    return [mode for mode in modes if mode in possible]


class _Broken(Exception):
    """A replica ended by itself, or does not come back: that is the end of the torture."""


class Torture:
    """One run: load, faults, the end, the judges."""

    def __init__(
        self,
        config: ClusterConfig,
        modes: list[str],
        faults: int,
        theirs: "Description | None" = None,
    ) -> None:
        """`theirs` are replicas other than our own."""
        self._config, self._theirs = config, theirs
        self._modes = modes
        self._faults = faults
        self._choices = Seeded(config.seed)
        self._history: list[Operation] = []
        self._stuck: list[str] = []
        self._disks: list[tuple[ReplicaId, Stored | None]] = []  # of the dead, before they return
        self._link_faults = LINK_FAULTS if theirs is None else launch.link_faults(theirs)
        self._links = Links()  # as the faults so far left them
        # How often each mode, and each named point, hit somebody.
        self.counts = {mode: 0 for mode in modes if mode in FAILURES}
        if "links" in modes:
            self.counts |= dict.fromkeys(self._link_faults, 0)
        if "points" in modes:
            self.counts |= dict.fromkeys(nemesis.POINTS, 0)
        self._missed = 0  # points that were not reached in time
        self._leaders_hit = 0
        self._seconds = 0.0
        self._slots = 0
        self._truncated = 0  # slots, of the replica that keeps fewest
        self._log = CommitLog()
        self.judgements: tuple[Judgement, ...] = ()  # none when the machine ended the run

    def run(
        self, show: Callable[[int, str], None], watched: Watched = lambda fleet: nullcontext()
    ) -> tuple[Judgement, ...]:
        """The whole run on a cluster of its own, under load inside `watched`.

        Calls `show(faults, phase)` after each fault, and when something else begins that may take
        seconds.
        """
        started = time.monotonic()
        theirs = None if self._theirs is None else (self._theirs, CaseFile("torture", ()), None)
        with launch.cluster(self._config, theirs=theirs) as cluster:
            self._log = cluster.committed
            try:
                cluster.start()
                cluster.set_clients_running(True)
                with watched(launch.fleet(cluster)):
                    self._torture(cluster, show)
                cluster.set_clients_running(False)
                show(self._faults, "all of it is judged …")
                self.judgements = self._judge(cluster)
            finally:
                self._seconds = time.monotonic() - started
        return self.judgements

    def _torture(self, cluster: Cluster, show: Callable[[int, str], None]) -> None:
        """All faults and the end, or as many as there were when a replica broke."""
        try:
            for count in range(self._faults):
                self._one_fault(cluster)
                show(count + 1, "")
            show(self._faults, "all return, and must answer …")
            self._settle(cluster)
        except _Broken as broken:
            self._stuck.append(str(broken))

    def _load(self, cluster: Cluster) -> None:
        """Give every idle client its next operation."""
        busy = {operation.request[0] for operation in cluster.pending()}
        for client in self._config.accounts:
            if client not in busy:
                operation = Operation((client, 0, *self._draw(client)), set_number=1)
                self._history.append(operation)
                cluster.submit(operation)

    def _draw(self, client: str) -> tuple[str, str, str, int]:
        account = one_of(self._choices, self._config.accounts)
        if happens(self._choices, READS):
            return READ, account, "", 0
        return TRANSFER, client, account, between(self._choices, 1, 30)

    def _go_on(self, cluster: Cluster, microseconds: int) -> None:
        """Keep the load up for so long."""

        def never() -> bool:
            self._load(cluster)
            return False

        cluster.run_until(never, microseconds)
        self._look(cluster)

    def _look(self, cluster: Cluster) -> None:
        """_Broken when a replica is down for which no fault of ours is the reason."""
        for replica in self._replicas(cluster):
            if trouble := cluster.trouble(replica):
                raise _Broken(f"{replica_name(replica)}: {trouble}")

    def _one_fault(self, cluster: Cluster) -> None:
        """After a random while fail somebody, and before or after that bring somebody back."""
        choices = self._choices
        self._go_on(cluster, between(choices, 1_000, 60_000))
        replicas = range(1, cluster.replicas + 1)
        down = [r for r in replicas if cluster.liveness(r) is not Liveness.LIVE]
        most = (cluster.replicas - 1) // 2
        if down and (len(down) == most or happens(choices, 0.5)):
            self._recover(cluster, one_of(choices, down))
            self._go_on(cluster, between(choices, 1_000, 30_000))
        live = [r for r in replicas if cluster.liveness(r) is Liveness.LIVE]
        leader = cluster.leader()
        victim = draws.victim(choices, live, leader, 0.4)
        mode = one_of(choices, self._modes)
        if mode == "points":
            self._kill_at_point(cluster, victim)
            return
        fault = draws.fault(choices, mode, victim, cluster.replicas)
        if isinstance(fault, LinkFault):
            self._hit_links(cluster, fault, live)
            return
        if not self._can_decide([r for r in live if r != victim]):
            self._heal(cluster)
        self._leaders_hit += victim == leader
        self.counts[mode] += 1
        cluster.apply(fault)

    def _hit_links(self, cluster: Cluster, fault: LinkFault, live: list[ReplicaId]) -> None:
        """A fault of links beside those so far, unless nobody could lead then."""
        if self._links.states and happens(self._choices, 0.5):
            self._heal(cluster)
        if fault.kind == "cut":
            if not self._can_decide(live, fault.links):
                self._heal(cluster)
            if not self._can_decide(live, fault.links):
                fault = replace(fault, kind="lose")
        if fault.kind not in self._link_faults:
            fault = replace(fault, kind="delay")
        self._links.apply(fault)
        cluster.apply(fault)
        self.counts[fault.kind] += 1

    def _can_decide(self, live: list[ReplicaId], cut: Iterable[Link] = ()) -> bool:
        """True when one of these can lead, with those links cut as well."""
        links = Links()
        links.states = dict(self._links.states)
        links.apply(LinkFault("cut", frozenset(cut)))
        if self._theirs is not None:
            return links.has_whole_quorum(live, self._config.nodes)
        return bool(links.able(live, self._config.nodes))

    def _heal(self, cluster: Cluster) -> None:
        self._links.apply(Heal())
        cluster.apply(Heal())

    def _recover(self, cluster: Cluster, replica: ReplicaId) -> None:
        """Bring a replica back, and remember what its disk held when it was dead."""
        if cluster.liveness(replica) is Liveness.CRASHED and isinstance(cluster, LiveCluster):
            self._disks.append((replica, cluster.on_disk(replica)))
        cluster.apply(Recover(replica))
        self._look(cluster)

    def _kill_at_point(self, cluster: Cluster, victim: ReplicaId) -> None:
        """Arm a replica and wait until it died there; most points need its help to be reached."""
        self._heal(cluster)
        # A NEW-VIEW needs two deaths at once, which three replicas do not survive.
        points = [p for p in nemesis.POINTS if p != nemesis.MID_NEW_VIEW or cluster.replicas > 3]
        point = one_of(self._choices, points)
        if point == nemesis.MID_NEW_VIEW:
            # Who just returned stands last: let all be at ease, so that it is known who is next.
            for replica in self._replicas(cluster):
                self._recover(cluster, replica)
            self._go_on(cluster, SETTLED_US)
        self._until(cluster, lambda: cluster.leader() is not None)
        leader = cluster.leader()
        others = [r for r in self._replicas(cluster) if r != leader and self._is_live(cluster, r)]
        if point == nemesis.BEFORE_COMMIT and leader is not None:
            victim = leader
        elif point == nemesis.MID_CATCH_UP:
            victim = one_of(self._choices, others)  # a leader does not
        elif point == nemesis.MID_NEW_VIEW:
            victim = min(others)
        cluster.apply(KillAt(victim, point))
        if point == nemesis.MID_CATCH_UP:
            # It must have missed something: let it be away for a moment.
            cluster.apply(Fail(victim, "disconnect"))
            self._go_on(cluster, 20_000)
            self._recover(cluster, victim)
        elif point == nemesis.MID_NEW_VIEW and leader is not None:
            cluster.apply(Fail(leader, "crash"))
        if self._until(cluster, lambda: cluster.liveness(victim) is Liveness.CRASHED):
            self.counts[point] += 1
            self._leaders_hit += victim == leader
        else:
            self._missed += 1
        for replica in self._replicas(cluster):
            cluster.apply(KillAt(replica, None))

    def _until(self, cluster: Cluster, condition: Callable[[], bool]) -> bool:
        """Keep the load up until the condition holds, for as long as a kill point may take."""

        def holds() -> bool:
            self._load(cluster)
            return condition()

        return cluster.run_until(holds, POINT_PATIENCE_US)

    @staticmethod
    def _replicas(cluster: Cluster) -> range:
        return range(1, cluster.replicas + 1)

    @staticmethod
    def _is_live(cluster: Cluster, replica: ReplicaId) -> bool:
        return cluster.liveness(replica) is Liveness.LIVE

    def _settle(self, cluster: Cluster) -> None:
        """Everybody returns; all that was asked is answered, and all are equal."""
        self._heal(cluster)
        for replica in range(1, cluster.replicas + 1):
            self._recover(cluster, replica)

        replicas = list(self._replicas(cluster))

        def is_quiet() -> bool:
            if cluster.unanswered():
                return False
            reached = {cluster.executed_upto(r) for r in replicas}
            is_equal = self._theirs is not None or len(reached) == 1
            return is_equal and cluster.is_settled(replicas, cluster.answered_upto(), False)

        if not cluster.run_until(is_quiet, self._config.progress_ms * 1000):
            waiting = cluster.unanswered()
            self._look(cluster)
            self._stuck.append(
                f"{self._config.progress_ms} ms after the last fault {waiting} requests wait and "
                f"replicas are at slots "
                f"{[cluster.executed_upto(r) for r in range(1, cluster.replicas + 1)]}"
            )

    def _judge(self, cluster: Cluster) -> tuple[Judgement, ...]:
        views = cluster.views()
        config, log, everybody = self._config, cluster.committed, self._replicas(cluster)
        self._log, self._slots = log, max(log.slots, default=0)
        self._truncated = min((view.status.truncated_upto for view in views), default=0)
        troubles = [f"n{view.replica}: {view.trouble}" for view in views if view.trouble]
        if not any(operation.is_answered for operation in self._history):
            troubles.append("nothing at all was answered")
        if self._theirs is not None:
            of_others = judged(cluster, config.balances(), self._history, everybody, True)
            self._slots = max(log.slots, default=0)
            return (*of_others, judge("progress", self._stuck + troubles))
        return (
            *judge_run(config.balances(), log, self._history, views, config.checkpoint_interval),
            *self._judge_disks(),
            judge("progress", self._stuck + troubles),
        )

    @property
    def asked(self) -> int:
        """Requests so far."""
        return len(self._history)

    def judge_clients(self) -> Judgement:
        """Linearizability by what clients saw alone; unknown when that takes too long."""
        return black_box(self._config.balances(), self._history, CLIENTS_BUDGET)

    def save_history(self, path: Path) -> None:
        """What clients saw and replicas executed, for `check`; raises HarnessError."""
        history_file.save(path, self._history, self._log, self._config.balances())

    def _judge_disks(self) -> tuple[Judgement, ...]:
        """Promises across restarts, when somebody died twice: before, there is nothing to hold.

        A disk that could not be read is told in any case.
        """
        dead = [replica for replica, _ in self._disks]
        unread = any(stored is None for _, stored in self._disks)
        return (promises(self._disks),) if unread or len(dead) > len(set(dead)) else ()

    def table(self) -> Table:
        """What was done."""
        table = Table("what", "count", title="torture", title_justify="left")
        for mode, count in self.counts.items():
            table.add_row(Text(mode), Text(str(count), justify="right"))
        rows = {
            "of these, leaders": self._leaders_hit,
            "points not reached in time": self._missed,
            "operations answered": sum(1 for o in self._history if o.is_answered),
            "slots": self._slots,
            "of these, truncated": self._truncated,
            "seconds": round(self._seconds, 1),
        }
        for name, value in rows.items():
            table.add_row(Text(name), Text(str(value), justify="right"))
        return table
