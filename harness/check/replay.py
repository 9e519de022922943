"""The committed log executed once more, by code that shares nothing with the replicas' machine.

No machine and no ledger: a plain table of what was paid already. What a replica or a client says
is held against this. Only the running hash is computed as replicas compute it, for it stands for
an encoding and not for a rule.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from bank.accounts import Accounts, Balances
from bank.ballot import ClientId, Slot
from bank.checkpoint import GENESIS_HASH, Checkpoint, Snapshot, sealed
from bank.history_hash import HistoryHash
from bank.ledger import FAILED, READ, SKIPPED, SUCCESS, TRANSFER, Result
from bank.sessions import Session
from bank.settings import USUAL, Sizes
from harness.cluster.driver import CommitLog, ReplicaView
from harness.cluster.history import Operation
from harness.cluster.journal import Liveness

Key: TypeAlias = tuple[ClientId, int]  # client and timestamp: what makes a request the same


@dataclass(frozen=True, slots=True)
class State:
    """What every replica must hold that executed so many slots."""

    balances: dict[str, int]
    sessions: dict[ClientId, Session]
    running_hash: str | None  # at the last multiple of the interval; None when that is not known

    def digest(self, accounts: Accounts) -> str:
        """What a replica computes of this state."""
        held = Balances.of(self.balances, accounts.page_accounts)
        sessions = tuple(self.sessions.values())
        return sealed(Snapshot(0, "", accounts, held.pages, sessions)).digest


@dataclass
class Replay:
    """What must have happened, slot by slot."""

    balances: dict[str, int]  # after `upto`
    accounts: Accounts  # whose they are, in the order that digests have
    begins_at: Slot = 0  # the slot of the log's base: nothing is known of what led there
    upto: Slot = 0
    missing: Slot | None = None  # the first slot nobody reported, and somebody built on it
    is_silent: bool = False  # no slot was reported and no replica was looked at
    flaws: list[str] = field(default_factory=list)  # of the log itself
    sessions: dict[ClientId, Session] = field(default_factory=dict)  # after `upto`
    results: dict[Slot, Result] = field(default_factory=dict)
    # The first slot of each request, and what it gave; of what is below the base, the sessions.
    answers: dict[Key, tuple[Slot, Result]] = field(default_factory=dict)
    states: dict[Slot, State] = field(default_factory=dict)  # where a replica stands
    hashed: "_Hashed | None" = None  # after `upto`; None: not known

    @property
    def unknown(self) -> str:
        """Why nobody can know whether all is well; empty when that can be known."""
        if self.missing is not None:
            return f"slot {self.missing} is not known"
        return "no slot was reported and no replica was looked at" if self.is_silent else ""


def own_word(view: ReplicaView) -> bool:
    """False for what is left of a replica whose machine failed: that is not its word."""
    return view.liveness is not Liveness.STOPPED or view.status.halted is not None


def replay(
    log: CommitLog,
    balances: Mapping[str, int],
    history: Sequence[Operation],
    views: Sequence[ReplicaView] | None,
    interval: int | None,
    sizes: Sizes = USUAL,
    since: Replay | None = None,
) -> Replay:
    """Execute `log` from its base; keep the state at each slot where one of `views` stands.

    `balances` is the state before slot 1; `interval` in slots, between noted hashes, None when
    that is not known. With `since`, which is used up, what comes after its last slot alone.
    """
    base, seen = log.base, [view for view in views or () if own_word(view)]
    stands = {view.status.executed_upto for view in seen}
    if since is not None:
        state = _going_on(since, stands)
    else:
        state = _beginning(log, balances, interval, sizes)
        if base is not None and 0 in stands:  # all replicas began alike
            state.states[0] = State(dict(balances), {}, None if interval is None else GENESIS_HASH)
    state.flaws += [
        f"slot {slot} was reported, the first one is 1" for slot in log.slots if slot < 1
    ]
    _keep(state, stands)
    for slot in sorted(log.slots):
        if slot <= state.upto:
            continue
        if slot != state.upto + 1:
            break
        state.results[slot] = _execute_slot(state, log, slot)
        state.upto = slot
        if state.hashed is not None:
            state.hashed.add(log, slot, state.results[slot])
        _keep(state, stands)
    answered = {o.slot for o in history if o.is_answered and o.slot is not None}
    if max([*log.slots, *stands, *answered], default=0) > state.upto:
        state.missing = state.upto + 1
    state.is_silent = not log.slots and not seen and (base is None or not answered)
    return state


def _beginning(
    log: CommitLog, balances: Mapping[str, int], interval: int | None, sizes: Sizes
) -> Replay:
    """Where the log begins: at slot 0, or at its base."""
    base = log.base
    accounts = Balances.of(balances, sizes.page_accounts).accounts
    state = Replay(dict(balances if base is None else base.balances), accounts)
    if interval is not None:
        state.hashed = _Hashed(interval, base, sizes)
    if base is not None:
        state.flaws += _base_flaws(base, balances, log)
        state.begins_at = state.upto = base.slot
        state.sessions = {session[0]: session for session in base.sessions}
        state.answers = {(s[0], s[1]): (s[3], s[2]) for s in base.sessions}
    return state


def _going_on(since: Replay, stands: set[Slot]) -> Replay:
    """Where it ended, with what is known of those who have not got that far."""
    return Replay(
        since.balances,
        since.accounts,
        begins_at=since.upto,
        upto=since.upto,
        sessions=since.sessions,
        answers=since.answers,
        states={slot: state for slot, state in since.states.items() if slot in stands},
        hashed=since.hashed,
    )


def _base_flaws(base: Checkpoint, balances: Mapping[str, int], log: CommitLog) -> list[str]:
    """What is wrong with the state from which the log goes on."""
    flaws, where = [], f"the checkpoint at slot {base.slot}"
    if base.computed_digest() != base.digest:
        flaws.append(f"{where} is not what its digest says")
    if base.balances.keys() != balances.keys() or sum(base.balances.values()) != sum(
        balances.values()
    ):
        flaws.append(f"{where} holds {base.balances}, the run began with {dict(balances)}")
    for client, timestamp, result, slot in base.sessions:
        told = log.slots.get(slot)
        if told is not None and (*told[0][:2], told[1]) != (client, timestamp, result):
            flaws.append(
                f"{where} says that {client}'s request {timestamp} gave {result!r} in slot {slot}, "
                f"where {told} was reported"
            )
    return flaws


class _Hashed:
    """The running hash, as far as it was noted."""

    def __init__(self, interval: int, base: Checkpoint | None, sizes: Sizes) -> None:
        self._interval = interval
        slot, current = (0, GENESIS_HASH) if base is None else (base.slot, base.running_hash)
        self._hash = HistoryHash(1, 1, slot, current, sizes)  # nobody is compared with

    def add(self, log: CommitLog, slot: Slot, result: Result) -> None:
        self._hash.add([log.slots[slot][0]], [("", 0, result, slot)])
        if slot % self._interval == 0:
            self._hash.note(slot)

    @property
    def current(self) -> str:
        return self._hash.current


def _keep(state: Replay, stands: set[Slot]) -> None:
    if state.upto in stands:
        state.states[state.upto] = State(
            dict(state.balances),
            dict(state.sessions),
            None if state.hashed is None else state.hashed.current,
        )


def _execute_slot(state: Replay, log: CommitLog, slot: Slot) -> Result:
    client, timestamp, kind, *command = log.slots[slot][0]
    last = state.sessions.get(client)
    if last is not None and timestamp == last[1]:
        return last[2]
    if kind not in (TRANSFER, READ) or (last is not None and timestamp < last[1]):
        return SKIPPED  # an older one than the client's last has no effect
    result = execute(state.balances, kind, *command)  # type: ignore[arg-type]
    state.answers[client, timestamp] = slot, result
    state.sessions[client] = client, timestamp, result, slot
    return result


def execute(balances: dict[str, int], kind: str, sender: str, receiver: str, amount: int) -> Result:
    """What a command gives, and does to `balances`."""
    if kind == READ:
        return balances.get(sender, FAILED)
    if sender not in balances or receiver not in balances or not 0 < amount <= balances[sender]:
        return FAILED
    balances[sender] -= amount
    balances[receiver] += amount
    return SUCCESS
