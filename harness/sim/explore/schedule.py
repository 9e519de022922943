"""A schedule as a numbered script: one event per number, and under it what the replica did.

Nothing here decides anything: the turns were computed by the explorer and are looked up again.
"""

from collections.abc import Iterable

from bank.ballot import ReplicaId, replica_name
from bank.replica import CLIENT
from harness.cluster.wording import joined, line, message_line, persist_text, request_text, span
from harness.sim.explore.frozen import Timer
from harness.sim.explore.graph import Graph, Move, State
from harness.sim.explore.turns import Act, Step
from harness.sim.invariants import Violation

_TIMERS = {
    Timer.ELECTION: "its election timer runs out",
    Timer.PULSE: "its heartbeat is due, or a question to be asked again",
    Timer.COMMIT: "its COMMIT waited long enough",
    Timer.HUSHED: "its election timer runs out soon after a PREPARE, and it keeps quiet",
    Timer.SPARE: "what it put off waited long enough",
}


def script(graph: Graph, moves: Iterable[Move]) -> list[str]:
    """Lines; the last event may be the one that broke the replica, and then has no result."""
    lines: list[str] = []
    if graph.bounds.elected:
        lines.append("  0. n1 is elected in (1, n1), undisturbed")
    try:
        state = graph.first_state()
    except Violation:
        return lines
    for number, move in enumerate(moves, 1):
        lines.append(f"{number:3}. {_happening(graph, move)}")
        try:
            step = _step(graph, state, move)
            if step is not None:
                lines += [f"       {line}" for line in _acts(graph, step.acts)]
            if move.kind == "cut":
                lines.append(f"       {replica_name(move.replica)} dies, in the middle of this")
            state = graph.play(state, move)
        except Violation:
            break  # the last event; what is wrong with it is said below the script
    return lines


def _happening(graph: Graph, move: Move) -> str:
    name = replica_name(move.replica)
    if move.kind == "dies":
        return f"{name} dies"
    if move.kind == "start":
        return f"{name} starts again from its disk"
    if move.code < 0:
        return f"{name}: {_TIMERS[Timer(move.code)]}"
    envelope = graph.turns.envelopes[move.code >> 1]
    source = "client" if envelope.source == CLIENT else replica_name(envelope.source)
    text = joined(*message_line(envelope.message))
    if move.kind == "lost":
        return f"lost on the way from {source} to {name}: {text}"
    more = ", and reads on" if move.code & 1 else ""
    return f"{name} gets from {source}: {text}{more}"


def _step(graph: Graph, state: State, move: Move) -> Step | None:
    match move.kind:
        case "turn":
            return graph.turns.take(graph.sites[state[move.replica - 1]].own, move.code).step
        case "start":
            return graph.turns.start(move.replica, graph.disk(state, move.replica)).step
        case _:
            return move.step


def _acts(graph: Graph, acts: Iterable[Act]) -> Iterable[str]:
    """Notes, writes and messages, in the order in which they were done."""
    sends: list[tuple[str, list[ReplicaId]]] = []
    lines: list[str] = []

    def told() -> None:
        lines.extend(f"→ {', '.join(map(replica_name, to))}: {text}" for text, to in sends)
        sends.clear()

    for act in acts:
        if act.envelope is not None:
            envelope = graph.turns.envelopes[act.envelope]
            text = joined(*message_line(envelope.message))
            if not sends or sends[-1][0] != text:
                sends.append((text, []))
            sends[-1][1].append(envelope.to)
            continue
        told()
        if act.persist is not None:
            lines.append(f"stores {persist_text(act.persist)}")
        elif act.flushed is not None:
            effects, _ = act.flushed
            lines += (line(event).text for event in effects.events)
            for done in effects.executed:
                slots = span(done.first_slot, done.first_slot + len(done.requests) - 1)
                lines.append(f"executes {slots}: {', '.join(map(request_text, done.requests))}")
            lines += [f"→ client: {joined(*message_line(reply))}" for reply in effects.replies]
    told()
    return lines
