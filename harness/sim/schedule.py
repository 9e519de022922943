"""A schedule as a numbered script: one event per number, and under it what the replica did.

Nothing here decides anything: the turns were computed by the explorer and are looked up again.
"""

from collections.abc import Iterable

from bank.ballot import ReplicaId, replica_name
from bank.replica import CLIENT
from harness.cluster.wording import joined, line, message_line, persist_text, request_text, span
from harness.sim.cluster import Cluster, Move, State
from harness.sim.frozen import Timer
from harness.sim.invariants import Violation
from harness.sim.turns import Act, Deed

_TIMERS = {
    Timer.ELECTION: "its election timer runs out",
    Timer.PULSE: "its heartbeat is due, or a question to be asked again",
    Timer.COMMIT: "its COMMIT waited long enough",
}


def script(cluster: Cluster, moves: Iterable[Move]) -> list[str]:
    """Lines; the last event may be the one that broke the replica, and then has no result."""
    lines: list[str] = []
    if cluster.bounds.elected:
        lines.append("  0. n1 is elected in (1, n1), undisturbed")
    try:
        state = cluster.first_state()
    except Violation:
        return lines
    for number, move in enumerate(moves, 1):
        lines.append(f"{number:3}. {_happening(cluster, move)}")
        try:
            deed = _deed(cluster, state, move)
            if deed is not None:
                lines += [f"       {line}" for line in _acts(cluster, deed.acts)]
            if move.kind == "cut":
                lines.append(f"       {replica_name(move.replica)} dies, in the middle of this")
            state = cluster.play(state, move)
        except Violation:
            break  # the last event; what is wrong with it is said below the script
    return lines


def _happening(cluster: Cluster, move: Move) -> str:
    name = replica_name(move.replica)
    if move.kind == "dies":
        return f"{name} dies"
    if move.kind == "start":
        return f"{name} starts again from its disk"
    if move.code < 0:
        return f"{name}: {_TIMERS[Timer(move.code)]}"
    letter = cluster.turns.letters[move.code >> 1]
    source = "client" if letter.source == CLIENT else replica_name(letter.source)
    text = joined(*message_line(letter.message))
    if move.kind == "lost":
        return f"lost on the way from {source} to {name}: {text}"
    more = ", and reads on" if move.code & 1 else ""
    return f"{name} gets from {source}: {text}{more}"


def _deed(cluster: Cluster, state: State, move: Move) -> Deed | None:
    match move.kind:
        case "turn":
            return cluster.turns.take(state[move.replica - 1], move.code).deed
        case "start":
            return cluster.turns.start(move.replica, cluster.disk(state, move.replica)).deed
        case _:
            return move.deed


def _acts(cluster: Cluster, acts: Iterable[Act]) -> Iterable[str]:
    """Notes, writes and messages, in the order in which they were done."""
    sends: list[tuple[str, list[ReplicaId]]] = []
    lines: list[str] = []

    def told() -> None:
        lines.extend(f"→ {', '.join(map(replica_name, to))}: {text}" for text, to in sends)
        sends.clear()

    for act in acts:
        if act.letter is not None:
            letter = cluster.turns.letters[act.letter]
            text = joined(*message_line(letter.message))
            if not sends or sends[-1][0] != text:
                sends.append((text, []))
            sends[-1][1].append(letter.to)
            continue
        told()
        if act.persist is not None:
            lines.append(f"stores {persist_text(act.persist)}")
        elif act.flushed is not None:
            lines += (line(event).text for event in act.flushed.events)
            for done in act.flushed.executed:
                slots = span(done.first_slot, done.first_slot + len(done.requests) - 1)
                lines.append(f"executes {slots}: {', '.join(map(request_text, done.requests))}")
            lines += [f"→ client: {joined(*message_line(reply))}" for reply in act.flushed.replies]
    told()
    return lines
