"""Messages as lines that a person reads, heartbeats summed up. Pure; live and simulated alike."""

from collections.abc import Iterable

from bank.ballot import NO_BALLOT, Ballot, ReplicaId, Slot, replica_name
from bank.effects import Executed, Persist
from bank.ledger import NOOP, describe
from bank.messages import (
    Accept,
    Accepted,
    CatchUp,
    CheckpointHash,
    ClientRequest,
    Commit,
    Heartbeat,
    Message,
    Nack,
    NewView,
    PeerDown,
    Prepare,
    Promise,
    Reply,
    State,
    StatePiece,
)
from bank.sessions import Request
from harness.cluster.driver import Liveness, TraceLine

SHOWN_REQUESTS = 8  # in one line; more are counted
RETURNS = "returns"  # the note of a failed replica that is live again
SHOWN_IN_VIEW = 1000  # of a NEW-VIEW, which is rare and worth reading in full


def describe_request(request: Request) -> str:
    """ "(A, J, 3)", with its client when that is not the sender; "no-op" for a filled gap."""
    client, _, kind, sender, receiver, amount = request
    text = describe(kind, sender, receiver, amount)
    return text if kind == NOOP or client == sender else f"{client}: {text}"


def describe_requests(requests: tuple[Request, ...], most: int = SHOWN_REQUESTS) -> str:
    """A run of requests, cut to the first few."""
    shown = ", ".join(map(describe_request, requests[:most]))
    more = len(requests) - most
    return f"{shown} … {more} more" if more > 0 else shown


def _names(replicas: Iterable[ReplicaId]) -> str:
    return ", ".join(map(replica_name, replicas))


def span(first_slot: int, last_slot: int) -> str:
    """ "12", "12-17", or nothing for an empty range."""
    if last_slot < first_slot:
        return ""
    return str(first_slot) if first_slot == last_slot else f"{first_slot}-{last_slot}"


def describe_persist(persist: Persist) -> str:
    """One transaction: promise, slots, checkpoint, watermark."""
    parts: list[str] = []
    if persist.promise_changed:
        parts.append(f"promise {persist.promised}, highest number seen {persist.seen}")
    for run in persist.runs:
        slots = span(run.first_slot, run.first_slot + len(run.requests) - 1)
        parts.append(f"{slots} in {run.ballot}: {describe_requests(tuple(run.requests))}")
    if persist.checkpoint is not None:
        parts.append(f"checkpoint {persist.checkpoint.slot}")
    if persist.committed_upto is not None:
        parts.append(f"committed up to {persist.committed_upto}")
    return "; ".join(parts) or f"truncated up to {persist.truncated_upto}"


def trace_line(at: int, direction: str, peer: str, message: Message) -> TraceLine:
    """One message at one replica as PrintLog shows it."""
    ballot, slots, text = _parts(message)
    shown = "" if ballot is None or ballot == NO_BALLOT else str(ballot)
    return TraceLine(at, direction, peer, message.LABEL, shown, slots, text)


def _parts(message: Message) -> tuple[Ballot | None, str, str]:
    match message:
        case ClientRequest(requests, relayed):
            return None, "", describe_requests(requests) + (" (relayed)" if relayed else "")
        case Reply(ballot, answers):
            numbers = [answer[3] for answer in answers]
            shown = ", ".join(f"{a[0]}: {a[2]}" for a in answers[:SHOWN_REQUESTS])
            return ballot, span(min(numbers), max(numbers)) if numbers else "", shown
        case Prepare(ballot, committed_upto):
            return ballot, "", f"committed up to {committed_upto}"
        case Promise(ballot, committed_upto, _, accept_log):
            entries = ", ".join(
                f"{e.slot} {e.ballot} {describe_request(e.request)}"
                for e in accept_log[:SHOWN_REQUESTS]
            )
            more = len(accept_log) - SHOWN_REQUESTS
            entries += f" … {more} more" if more > 0 else ""
            slots = span(accept_log[0].slot, accept_log[-1].slot) if accept_log else ""
            return ballot, slots, f"committed up to {committed_upto}; AcceptLog [{entries}]"
        case NewView(ballot, first_slot, requests, _) | Accept(ballot, first_slot, requests, _):
            slots = span(first_slot, first_slot + len(requests) - 1)
            most = SHOWN_IN_VIEW if isinstance(message, NewView) else SHOWN_REQUESTS
            return ballot, slots, describe_requests(requests, most)
        case Accepted(ballot, first_slot, last_slot, _):
            return ballot, span(first_slot, last_slot), ""
        case Commit(ballot, committed_upto):
            return ballot, "", f"committed up to {committed_upto}"
        case Heartbeat(ballot, _, last_slot, committed_upto):
            return ballot, "", f"proposed up to {last_slot}, committed up to {committed_upto}"
        case CatchUp(first_slot, checkpoint_slot, piece):
            wanted = f"piece {piece} of checkpoint {checkpoint_slot}" if piece else ""
            return None, f"{first_slot}-", wanted
        case State(first_slot, _, requests, committed_upto):
            slots = span(first_slot, first_slot + len(requests) - 1)
            return None, slots, f"{describe_requests(requests)}; committed up to {committed_upto}"
        case StatePiece(checkpoint_slot, piece, pieces, _, _):
            return None, str(checkpoint_slot), f"checkpoint, piece {piece + 1} of {pieces}"
        case CheckpointHash(slot, running_hash, answer, holders):
            verb = "has" if answer else "asks"
            return None, str(slot), f"{verb} {running_hash[:12]}, held by {_names(holders)}"
        case Nack(promised):
            return promised, "", "promised already"
        case PeerDown(peer, _):
            return None, "", f"the process of {replica_name(peer)} died"


def liveness_note(liveness: Liveness) -> str:
    """That a replica failed or returned: for a driver to note, since the replica is not told."""
    return RETURNS if liveness is Liveness.LIVE else liveness.value


class Tracer:
    """Lines of one replica; heartbeats and the answers that say nothing new become counts."""

    def __init__(self) -> None:
        self.lines: list[TraceLine] = []
        self._heartbeats: dict[tuple[str, str], int] = {}  # by direction and ballot
        # Ballot and last slot claimed, by direction and peer: in a new ballot votes count afresh.
        self._claimed: dict[tuple[str, str], tuple[Ballot, Slot]] = {}

    def add(self, at: int, direction: str, peer: str, message: Message) -> None:
        """One message was read or sent."""
        if isinstance(message, Heartbeat) or (
            isinstance(message, Accepted) and self._says_nothing(direction, peer, message)
        ):
            key = (direction, str(message.ballot))
            self._heartbeats[key] = self._heartbeats.get(key, 0) + 1
            return
        self.settle(at)
        self.lines.append(trace_line(at, direction, peer, message))

    def _says_nothing(self, direction: str, peer: str, message: Accepted) -> bool:
        claim = message.ballot, message.last_slot
        known = self._claimed.get((direction, peer), (NO_BALLOT, 0))
        self._claimed[direction, peer] = max(known, claim)
        return claim <= known

    def note(self, at: int, text: str, slots: str = "") -> None:
        """An event of the protocol itself."""
        self.settle(at)
        self.lines.append(TraceLine(at, "note", "", "", "", slots, text))

    def executed(self, at: int, runs: Iterable[Executed]) -> None:
        """Slots were committed and executed."""
        for run in runs:
            self.note(at, "executes", span(run.first_slot, run.first_slot + len(run.requests) - 1))

    def settle(self, at: int) -> None:
        """Write down the counts so far."""
        for (direction, ballot), count in self._heartbeats.items():
            text = f"{count} × heartbeat or its answer"
            line = TraceLine(at, direction, "all", "HEARTBEAT", ballot, "", text)
            self.lines.append(line)
        self._heartbeats.clear()

    def take(self) -> list[TraceLine]:
        """The lines since the last call; counts still open stay."""
        lines, self.lines = self.lines, []
        return lines
