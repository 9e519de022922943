"""How events, messages and writes read. Pure; the one place that knows their words.

Nothing reads these words back: whoever needs a fact asks the event or the message.
"""

import json
from collections.abc import Sequence
from typing import NamedTuple

from bank import events
from bank.ballot import NO_BALLOT, ReplicaId, replica_name
from bank.effects import Executed as ExecutedRun
from bank.effects import Persist
from bank.events import Reason
from bank.ledger import NOOP, Result, describe
from bank.messages import (
    Accept,
    Accepted,
    CatchUp,
    CheckpointHash,
    ClientRequest,
    Commit,
    Elected,
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
from harness.cluster import journal
from harness.cluster.journal import (
    CLIENTS,
    KEPT_IN_VIEW,
    KEPT_REQUESTS,
    Heartbeats,
    Liveness,
    LivenessChanged,
    Passed,
    PeerDied,
    QueueReplaced,
    Relayed,
    Slots,
    Way,
    cut,
)

NOTE = "note"  # the direction of what is no message


class Line(NamedTuple):
    """An event as PrintLog and trace.jsonl show it."""

    direction: str  # of a Way, or NOTE
    peer: str  # "n3", "client", "all"
    label: str  # the message's printed name; "" for a note
    ballot: str  # "(2, n1)" or ""
    slots: str  # "12", "12-17" or ""
    text: str  # requests and the rest, in short


_REASONS = {
    Reason.DEPOSED: "deposed",
    Reason.UNANSWERED: "steps down: no quorum answers",
    Reason.OUTBID: "steps down: a higher promise exists",
    Reason.PREPARES_ABOVE: "prepares above a higher promise",
    Reason.OUTVOTED: "steps down: a majority has another history",
}


def line(event: journal.Event) -> Line:
    """The words of an event."""
    match event:
        case Passed(way, peers, _, slots, left_out):
            return Line(way.value, peers_text(peers), *_words(event.message, slots, left_out))
        case Relayed(way, peers, (_, text)):
            return Line(way.value, peers_text(peers), *_relayed(text))
        case Heartbeats(way, ballot, count):
            text = f"{count} × heartbeat or its answer"
            return Line(way.value, peers_text(()), Heartbeat.LABEL, str(ballot), "", text)
        case PeerDied(peer):
            return Line(Way.READ.value, replica_name(peer), *message_line(PeerDown(peer, 0)))
        case journal.Executed(slots):
            return Line(NOTE, "", "", "", span(*slots), "executes")
        case _:
            return Line(NOTE, "", "", "", "", note(event))


_NOTES: dict[type, str] = {
    events.BecameCandidate: "candidate in {}",
    events.Leads: "leads {}",
    events.Follows: "follows {}",
    events.AskedWhoIsFree: "asks who is without a leader",
    events.AskedSpare: "asks the spare backups as well",
    events.InstalledCheckpoint: "installs the checkpoint at {}",
    events.RefusedCheckpoint: "damaged checkpoint from n{} thrown away",
    QueueReplaced: "the queue from n{} is damaged and replaced: {}",
}


MOST_OF_A_LINE = 200  # characters of what other people's replicas say


def _plain(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, separators=(", ", ": "))
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text[:MOST_OF_A_LINE])


def _relayed(text: str) -> tuple[str, str, str, str]:
    """Type and body of somebody's message, with the client that is one end of it."""
    message = json.loads(text)
    body = dict(message["body"])
    label = _plain(str(body.pop("type", "?")))
    ends = (_plain(message[end]) for end in ("src", "dest"))
    client = next((end for end in ends if not end.startswith("n")), "")
    shown = ", ".join(f"{_plain(key)} {_plain(value)}" for key, value in body.items())
    if len(shown) > MOST_OF_A_LINE:
        shown = f"{shown[: MOST_OF_A_LINE - 1]}…"
    return label, "", "", joined(client, shown)


def note(event: journal.Event) -> str:
    """The words of what is neither a message nor about slots."""
    match event:
        case events.SteppedDown(reason):
            return _REASONS[reason]
        case events.ChosePrompt(prompt):
            return f"asks first from now on: {', '.join(map(replica_name, prompt))}"
        case LivenessChanged(liveness):
            return "returns" if liveness is Liveness.LIVE else liveness.value
    return _NOTES[type(event)].format(*event)


# ---- messages ----------------------------------------------------------------------------------


def message_line(message: Message, whole: bool = False) -> tuple[str, str, str, str]:
    """Label, ballot, slots and text of a message. `whole`: watermarks and empty ranges as well."""
    return _words(*cut(message), whole)


def message_name(message: Message) -> str:
    """What tells a message apart from others on its link: "ACCEPT (1, n1) 5-7"."""
    return joined(*message_line(message)[:3])


def _words(
    message: Message, slots: Slots | None, left_out: int, whole: bool = False
) -> tuple[str, str, str, str]:
    ballot = message.promised if isinstance(message, Nack) else getattr(message, "ballot", None)
    shown = "" if slots is None else span(*slots)
    if isinstance(message, CatchUp):
        shown += "-"  # and all that follows
    text = _text(message, f" … {left_out} more" if left_out else "", whole)
    return message.LABEL, "" if ballot in (None, NO_BALLOT) else str(ballot), shown, text


def _text(message: Message, more: str, whole: bool) -> str:
    match message:
        case ClientRequest(()):
            return "heard of the leader"
        case ClientRequest(requests, relayed):
            return requests_text(requests) + more + (" (relayed)" if relayed else "")
        case Reply(_, answers):
            return ", ".join(f"{answer[0]}: {answer[2]}" for answer in answers)
        case Prepare(_, upto) | Commit(_, upto):
            return f"committed up to {upto}"
        case Promise(_, upto, truncated_upto, log):
            truncated = f", {truncated_upto} truncated" if whole and truncated_upto else ""
            entries = ", ".join(f"{e.slot} {e.ballot} {request_text(e.request)}" for e in log)
            return f"committed up to {upto}{truncated}; AcceptLog [{entries}{more}]"
        case NewView(_, _, requests):
            return requests_text(requests, KEPT_IN_VIEW) + more
        case Accept(_, _, requests, upto):
            committed = f"; committed up to {upto}" if whole and upto else ""
            return requests_text(requests) + more + committed
        case Accepted(_, first_slot, last_slot):
            return "nothing" if whole and last_slot < first_slot else ""
        case Heartbeat(_, _, last_slot, upto):
            return f"proposed up to {last_slot}, committed up to {upto}"
        case CatchUp(_, checkpoint_slot, piece):
            return f"piece {piece} of checkpoint {checkpoint_slot}" if piece else ""
        case State(_, _, requests, upto):
            return f"{requests_text(requests)}{more}; committed up to {upto}"
        case StatePiece(_, piece, pieces):
            return f"checkpoint, piece {piece + 1} of {pieces}"
        case CheckpointHash(_, running_hash, answer, holders):
            held_by = ", ".join(map(replica_name, holders))
            return f"{'has' if answer else 'asks'} {running_hash[:12]}, held by {held_by}"
        case Nack():
            return "promised already"
        case Elected():
            return "a quorum promised"
        case PeerDown(peer):
            return f"the process of {replica_name(peer)} died"


def request_text(request: Request) -> str:
    """ "(A, J, 3)", with its client when that is not the sender; "no-op" for a filled gap."""
    client, _, kind, sender, receiver, amount = request
    text = describe(kind, sender, receiver, amount)
    return text if kind == NOOP or client == sender else f"{client}: {text}"


def executed_text(request: Request, result: Result) -> str:
    """ "(A, J, 3) (request 7 of A: success)": all that tells one execution from another."""
    client, timestamp, *_ = request
    return f"{describe(*request[2:])} (request {timestamp} of {client}: {result})"


def requests_text(requests: Sequence[Request], most: int = KEPT_REQUESTS) -> str:
    """A run of requests, cut to the first few."""
    more = f" … {len(requests) - most} more" if len(requests) > most else ""
    return ", ".join(map(request_text, requests[:most])) + more


def span(first_slot: int, last_slot: int) -> str:
    """ "12", "12-17", or nothing for an empty range."""
    if last_slot < first_slot:
        return ""
    return str(first_slot) if first_slot == last_slot else f"{first_slot}-{last_slot}"


def peers_text(peers: tuple[ReplicaId, ...]) -> str:
    """ "n2,n3"; "client"; "all" for ()."""
    return ",".join("client" if p == CLIENTS else replica_name(p) for p in peers) or "all"


def joined(*words: str) -> str:
    """Those that are not empty, in a row."""
    return " ".join(filter(None, words))


# ---- what a turn did ---------------------------------------------------------------------------


def persist_text(persist: Persist) -> str:
    """One transaction: promise, slots, checkpoint, watermark."""
    parts: list[str] = []
    if persist.promise_changed:
        parts.append(f"promise {persist.promised}, highest number seen {persist.seen}")
    for first_slot, ballot, requests in persist.runs:
        slots = span(first_slot, first_slot + len(requests) - 1)
        parts.append(f"{slots} in {ballot}: {requests_text(requests)}")
    if persist.checkpoint is not None:
        parts.append(f"checkpoint {persist.checkpoint.slot}")
    elif persist.pages is not None:
        parts.append(f"{len(persist.pages.pages)} pages of the checkpoint {persist.pages.slot}")
    if persist.committed_upto is not None:
        parts.append(f"committed up to {persist.committed_upto}")
    return "; ".join(parts) or f"truncated up to {persist.truncated_upto}"


def story(event: journal.Event | ExecutedRun | Persist) -> str:
    """The words of an event in a simulated run that is told line by line."""
    match event:
        case ExecutedRun(first_slot, requests, _):
            slots = span(first_slot, first_slot + len(requests) - 1)
            return f"executes {slots} {requests_text(requests)}"
        case Persist():
            return f"stores {persist_text(event)}"
        case Passed(way, peers, _, _, _, unreached):
            arrow = {Way.READ: "←", Way.SENT: "→"}.get(way, f"{way.value} ←")
            whom = arrow + peers_text(peers) + unreached_text(unreached, peers)
            return joined(whom, *line(event)[2:])
        case PeerDied(peer):
            return joined(f"←{replica_name(peer)}", *line(event)[2:])
        case _:
            return line(event).text


def unreached_text(unreached: tuple[ReplicaId, ...], peers: tuple[ReplicaId, ...]) -> str:
    """ " ✗n2,n3": whom a message never reaches."""
    if not unreached:
        return ""
    return " ✗" if len(peers) == 1 else f" ✗{peers_text(unreached)}"


def counted(count: int, noun: str) -> str:
    """ "1 set", "2 sets"."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
