"""What a replica tells of itself: read from its answers with a mistrust that never raises. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bank.ballot import NO_BALLOT, Ballot, ReplicaId, Slot
from bank.ledger import FAILED, NOOP, READ, SUCCESS, TRANSFER, Result
from bank.sessions import NOOP_REQUEST, Request
from bank.status import ReplicaStatus, Role, SlotMark, SlotStatus
from harness.cluster.driver import LOG
from harness.external.clients import read_ballot
from harness.files.text_file import shown

_ROLES = {role.value: role for role in Role}
_MARKS = {mark.value: mark for mark in SlotMark if mark is not SlotMark.NONE}
# Fields of a ReplicaStatus by the word of `state` that fills them.
FILLS = {
    "balances": ("balances",),
    "executed": ("executed_upto",),
    "committed": ("committed_upto",),
    "role": ("role",),
    "ballot": ("promised", "following"),
}
# The same words, and how each is told.
FORMS = {
    "balances": "a whole number for each account",
    "executed": "a slot, a whole number from 0 on",
    "committed": "a slot, a whole number from 0 on",
    "role": "leader, candidate or backup",
    "ballot": 'a number and a replica, such as [3, "n2"]',
}
NEVER_TOLD = ("digest", "checkpoint", "running_hash", "sessions", "last_slot", "truncated_upto")


@dataclass(frozen=True, slots=True)
class State:
    """One `state_ok`; None for what it does not have."""

    balances: Mapping[str, int] | None = None
    executed: Slot | None = None
    committed: Slot | None = None
    role: Role | None = None
    ballot: Ballot | None = None


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry of a `log_ok`."""

    slot: Slot
    mark: SlotMark
    ballot: Ballot | None
    request: Request
    result: Result | None


@dataclass(slots=True)
class Knowledge:
    """All that one replica told, as of its last answers."""

    state: State = field(default_factory=State)
    told_at: int = 0  # µs, when that was so
    log: dict[Slot, LogEntry] = field(default_factory=dict)
    log_from: Slot = 1  # below, it says, all is truncated
    tells: dict[str, bool] = field(default_factory=dict)  # what, whether it ever did


def _count(value: object) -> int | None:
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value < 2**63 else None


def read_state(body: Mapping[str, Any], accounts: Collection[str], replicas: int) -> State:
    """Of a `state_ok`; what has another form is taken as not told."""
    balances = body.get("balances")
    if isinstance(balances, dict) and all(
        isinstance(name, str) and type(held) is int and abs(held) < 2**63
        for name, held in balances.items()
    ):
        known = {name: balances[name] for name in accounts if name in balances}
        balances = {**known, **{n: b for n, b in balances.items() if n not in known}}
    else:
        balances = None
    role = body.get("role")
    return State(
        balances=balances,
        executed=_count(body.get("executed")),
        committed=_count(body.get("committed")),
        role=_ROLES.get(role) if isinstance(role, str) else None,
        ballot=read_ballot(body.get("ballot"), replicas),
    )


def misformed(body: Mapping[str, Any], state: State) -> dict[str, str]:
    """What a `state_ok` has and `read_state` could not read, and how each is to be told."""
    found = (word for word in FORMS if body.get(word) is not None)
    return {word: FORMS[word] for word in found if getattr(state, word) is None}


def read_entry(told: object, replicas: int) -> LogEntry | None:
    """One of `entries`; None for another form."""
    if not isinstance(told, dict):
        return None
    slot, mark = _count(told.get("slot")), _MARKS.get(str(told.get("status")))
    kind = told.get("type")
    if not slot or mark is None or kind not in (TRANSFER, READ, NOOP):
        return None
    ballot = read_ballot(told.get("ballot"), replicas)
    if kind == NOOP:
        return LogEntry(slot, mark, ballot, NOOP_REQUEST, None)
    client, timestamp = told.get("client"), _count(told.get("timestamp"))
    if not isinstance(client, str) or timestamp is None:
        return None
    names, amount = (told.get("from"), told.get("to")), _count(told.get("amount")) or 0
    if kind == READ:
        names, amount = (told.get("account"), ""), 0
    if not all(isinstance(name, str) for name in names):
        return None
    result = told.get("result")
    request: Request = (client, timestamp, kind, str(names[0]), str(names[1]), amount)
    is_known = result in (SUCCESS, FAILED) or _count(result) is not None
    return LogEntry(slot, mark, ballot, request, result if is_known else None)


def status_of(
    replica: ReplicaId, knowledge: Knowledge, balances: Mapping[str, int]
) -> tuple[ReplicaStatus, frozenset[str]]:
    """Its state as everywhere else, and the names of the fields that it did not tell.

    `balances` are the first ones, for their names.
    """
    state = knowledge.state
    told = {word for word in FILLS if getattr(state, word) is not None}
    untold = {name for word, names in FILLS.items() if word not in told for name in names}
    status = ReplicaStatus(
        replica=replica,
        role=state.role or Role.FOLLOWER,
        promised=state.ballot or NO_BALLOT,
        following=state.ballot or NO_BALLOT,
        answered=True,
        committed_upto=state.committed or 0,
        executed_upto=state.executed or 0,
        truncated_upto=max(0, knowledge.log_from - 1),
        last_slot=max((*knowledge.log, state.committed or 0, state.executed or 0)),
        checkpoint=0,
        digest="",
        running_hash="",
        balances=dict(balances if state.balances is None else state.balances),
        sessions=(),
        halted=None,
    )
    if state.committed is None and state.executed is not None:
        status = replace(status, committed_upto=state.executed)
    untold |= set() if knowledge.tells.get("log") else {LOG}
    return status, frozenset(untold | set(NEVER_TOLD))


@dataclass(frozen=True, slots=True)
class View:
    """One of `views`: a leader's beginning, as a replica tells it."""

    replica: ReplicaId  # that told it
    ballot: Ballot | None
    first_slot: Slot | None
    last_slot: Slot | None
    text: str


def read_views(replica: ReplicaId, body: Mapping[str, Any], replicas: int) -> list[View]:
    """Of a `views_ok`; what has another form is left out."""
    views = body.get("views")
    return [
        View(
            replica,
            read_ballot(view.get("ballot"), replicas),
            _count(view.get("first_slot")),
            _count(view.get("last_slot")),
            shown(str(view.get("text", "")), 200),
        )
        for view in (views if isinstance(views, list) else ())
        if isinstance(view, dict)
    ]


def slot_status(knowledge: Knowledge, slot: Slot) -> SlotStatus:
    """A slot as its log tells it."""
    entry = knowledge.log.get(slot)
    if entry is None:
        executed = knowledge.state.executed or 0
        hidden = slot < knowledge.log_from and slot <= executed
        return SlotStatus(slot, SlotMark.EXECUTED if hidden else SlotMark.NONE, None, None)
    return SlotStatus(slot, entry.mark, entry.ballot, entry.request)
