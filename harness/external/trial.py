"""One short try of somebody's replicas: they are built, started, asked for a transfer, and stopped.

What they can tell decides how much is judged, so it is said here, before a whole file is run.
"""

from dataclasses import dataclass, field

from bank.ballot import ReplicaId, replica_name
from bank.ledger import READ, TRANSFER
from harness.cluster.history import Operation
from harness.errors import EXIT_MACHINE, HarnessError
from harness.external import told
from harness.external.asking import ASK_US
from harness.external.cluster import ExternalCluster
from harness.external.description import Description
from harness.external.fleet import Handle
from harness.files.config import ClusterConfig

OPTIONAL = {
    "state": "conservation and agreement are not judged, and a leader is found by its answers",
    "log": "PrintStatus and PrintSlots show nothing",
    "views": "PrintView shows nothing",
}


@dataclass(slots=True)
class Trial:
    """What came of it."""

    told: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    starts: bool = False  # all were built and started
    is_the_machines: bool = False  # a problem that says nothing of them
    tells: dict[str, bool] = field(default_factory=dict)  # whether any replica tells that


def trial(description: Description, settings: ClusterConfig) -> Trial:
    """Try them. What does not start is a problem like every other, and no exception."""
    found = Trial()
    cluster = ExternalCluster(description, settings)
    try:
        began = cluster.now()
        cluster.start()
        built = "are built and " if description.build else ""
        found.starts = True
        found.told.append(f"{_names(settings)} {built}start in {_ms(cluster.now() - began)}")
        _ask_transfer(cluster, settings, found)
        _ask_read(cluster, found)
        found.tells = dict.fromkeys(OPTIONAL, False) | {READ: cluster.answers_reads()}
        if description.speaks == "bank":
            cluster.views()
            for what, without in OPTIONAL.items():
                tellers, line = _tells(cluster, what, without)
                found.told.append(line)
                found.tells[what] = bool(tellers)
        found.problems += cluster.contradictions()
    except HarnessError as error:
        found.problems += error.problems
        found.is_the_machines = error.exit_code == EXIT_MACHINE
    finally:
        cluster.stop()
    if found.starts:  # else the problem has them
        found.told += cluster.remarks()
    return found


def _ask_transfer(cluster: ExternalCluster, settings: ClusterConfig, found: Trial) -> None:
    first, other = (*settings.accounts, settings.accounts[0])[:2]
    operation = Operation((first, 0, TRANSFER, first, other, 1), 1)
    cluster.submit(operation)
    cluster.set_clients_running(True)
    patience = settings.patience_ms * 1000
    cluster.run_until(lambda: not cluster.unanswered(), patience)
    cluster.set_clients_running(False)
    text = f"transfer ({first}, {other}, 1)"
    where = f"{cluster.description.source}: {text}"
    if operation.refused is not None:
        found.problems.append(f"{where}: {operation.refused}, expected success or failed")
    elif operation.result is None:
        last = cluster.clients.last_error.get(id(operation), "no answer at all")
        waited = f"no success and no failure within {settings.patience_ms} ms"
        found.problems.append(f"{where}: {waited} ({last}), expected an answer")
    else:
        assert operation.answered_at is not None and operation.invoked_at is not None
        took = _ms(operation.answered_at - operation.invoked_at)
        leader = cluster.leader()
        by = f", n{leader} leads" if leader is not None else ""
        found.told.append(f"{text}: {operation.result} after {took}{by}")


def _ask_read(cluster: ExternalCluster, found: Trial) -> None:
    if cluster.description.speaks != "bank":
        found.told.append("read: by what a transfer reads")
    elif cluster.answers_reads():
        found.told.append("read: answered")
    else:
        found.told.append("read: not answered (error 10), files with reads are refused")


def _tells(cluster: ExternalCluster, what: str, without: str) -> tuple[list[ReplicaId], str]:
    """Who tells it, and in words."""
    handles = list(cluster.fleet.handles.values())
    if what != "state":
        body = {"type": what, "first_slot": 1} if what == "log" else {"type": what}
        cluster.ask(body, handles, ASK_US)
    tellers = [h.replica for h in handles if h.knowledge.tells.get(what)]
    if not tellers:
        return [], f"{what}: not told, {without}"
    told_by = "" if len(tellers) == len(handles) else f" by {_replicas(tellers)} alone"
    return tellers, f"{what}: told{told_by}{_parts(handles) if what == 'state' else ''}"


def _parts(handles: list[Handle]) -> str:
    """Which words of a state are told by anybody, and which are not."""
    states = [handle.knowledge.state for handle in handles]
    has = [word for word in told.FILLS if any(getattr(s, word) is not None for s in states)]
    lacks = [word for word in told.FILLS if word not in has]
    return f": {', '.join(has)}" + (f"; not {', '.join(lacks)}" if lacks else "")


def _names(settings: ClusterConfig) -> str:
    return f"n1 to n{settings.nodes}"


def _replicas(replicas: list[ReplicaId]) -> str:
    return ", ".join(map(replica_name, replicas))


def _ms(microseconds: int) -> str:
    return f"{microseconds / 1000:,.0f} ms"
