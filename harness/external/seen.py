"""All that is known of a run of other people's replicas, put together for its judges.

Told states are those of replicas that are live and hear of what is decided. Balances of the end are
last reads while nothing is open, since reads at several moments are one state only then; else those
of a replica that executed all that was answered.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

from bank.ballot import ReplicaId
from bank.ledger import NOOP, READ, SKIPPED, TRANSFER, Result
from bank.quorum import quorum_size
from harness.check.hearing import CutOff
from harness.check.outside import Seen
from harness.check.told import EXECUTED, Refusal, Told, ToldEntry
from harness.cluster.history import Operation
from harness.cluster.journal import Liveness
from harness.external.asking import ASK_US
from harness.external.cluster import ExternalCluster
from harness.external.fleet import Handle

MOST_LAST_READS = 1000  # accounts


def seen(
    cluster: ExternalCluster,
    balances: Mapping[str, int],
    history: list[Operation],
    connected: Collection[ReplicaId],
    is_last: bool,
) -> Seen:
    """Everything; after the last set (`is_last`) every account is read, and `history` grows.

    `balances` are the first ones, `connected` those who hear of what is decided.
    """
    final = _last_reads(cluster, balances, history) if is_last else None
    live = [h for r, h in cluster.fleet.handles.items() if r in connected and _may_tell(h)]
    cluster.ask_logs(live, ASK_US)
    if "views" in cluster.description.require:
        cluster.ask({"type": "views"}, live, ASK_US)
    told = [_told(handle) for handle in live]
    for replica in told:
        for entry in replica.log or ():
            result = SKIPPED if entry.request[2] == NOOP else entry.result
            if entry.status == EXECUTED and result is not None:
                cluster.committed.slots.setdefault(entry.slot, (entry.request, result))
    clients, faults, fleet = cluster.clients, cluster.faults, cluster.fleet
    links = cluster.description.links
    sees_all = links in ("stdio", "namespaces")  # nobody knows a way past the harness
    refusals = [Refusal(r.operation, r.replica, f"error {r.code}: {r.text}")
                for r in clients.new_refusals()]  # fmt: skip
    transfers = {o.request[:2] for o in history if o.request[2] == TRANSFER}
    answers: list[tuple[tuple[str, int], Result]] = [
        (key, result) for key, result in clients.answers if key in transfers
    ]
    return Seen(
        balances=balances,
        history=history,
        replicas=cluster.replicas,
        told=told,
        final=final if final is not None else _told_balances(told, history),
        answers=answers,
        contradictions=cluster.contradictions(),
        cut_off=list(cut_off(cluster)),
        sees_all=sees_all,
        reach=() if sees_all else tuple(faults.reach),
        holds=links == "template" and cluster.description.cut == "hold",
        clients_carry=links == "none",
        failed_at=faults.kills if _can_tell_loss(cluster, told) else (),
        tellings=cluster.asking.tellings,
        require=cluster.description.require,
        refusals=refusals,
        endings=fleet.new_endings(),
    )


def _can_tell_loss(cluster: ExternalCluster, told: Sequence[Told]) -> bool:
    """Killed ones come back, and of every majority somebody is here to say what it holds."""
    logs = [t for t in told if t.log is not None and t.log_from == 1]
    is_enough = not logs or len(logs) >= quorum_size(cluster.replicas)
    return cluster.description.recovers and is_enough


def cut_off(cluster: ExternalCluster) -> Iterator[CutOff]:
    """Who hears nobody, and has told since what it holds."""
    for replica, since in cluster.faults.away.items():
        knowledge = cluster.fleet.handles[replica].knowledge
        if knowledge.state.balances is not None and knowledge.told_at > since:
            yield CutOff(replica, since, knowledge.state.balances)


def _may_tell(handle: Handle) -> bool:
    return handle.liveness is Liveness.LIVE and handle.node.is_ready


def _told(handle: Handle) -> Told:
    knowledge = handle.knowledge
    log = None
    if knowledge.tells.get("log"):
        entries = sorted(knowledge.log.values(), key=lambda entry: entry.slot)
        log = [ToldEntry(e.slot, e.mark.value, e.request, e.result) for e in entries]
    state = knowledge.state
    return Told(handle.replica, state.balances, state.executed, log, knowledge.log_from)


def _told_balances(told: Sequence[Told], history: Sequence[Operation]) -> Mapping[str, int] | None:
    """Those of a replica that executed all that was answered, as far as slots tell.

    Others may not know yet that what a failed leader answered is committed.
    """
    slots = [o.slot for o in history if o.is_answered and o.request[2] == TRANSFER]
    known = [slot for slot in slots if slot is not None]
    if len(known) < len(slots):
        return None
    upto = max(known, default=0)
    tellers = [t for t in told if t.balances is not None and (t.executed or 0) >= upto]
    return tellers[0].balances if tellers else None


def _last_reads(
    cluster: ExternalCluster, balances: Mapping[str, int], history: list[Operation]
) -> dict[str, int] | None:
    """What every account holds, read by clients; None when that cannot be known as one state."""
    if len(balances) > MOST_LAST_READS or not cluster.may_read_all():
        return None
    is_open = any(not o.is_answered and o.refused is None for o in history)
    readers = list(balances)
    reads = [Operation((reader, 0, READ, reader, "", 0), 0) for reader in readers]
    if is_open:
        return None
    cluster.do_now(reads)
    history += [operation for operation in reads if operation.is_answered]
    results = {o.request[0]: o.result for o in reads}
    known = {account: value for account, value in results.items() if isinstance(value, int)}
    return known if len(known) == len(balances) else None
