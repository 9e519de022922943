"""The committed log executed once more, by code that shares nothing with the replicas' machine.

No sessions, no slots of first execution: a plain set of what was paid already. What a replica or a
client says is held against this.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bank.ballot import Slot
from bank.ledger import FAILED, NOOP, READ, SKIPPED, SUCCESS, Result
from harness.cluster.driver import CommitLog


@dataclass
class Replay:
    """What must have happened, slot by slot."""

    balances: dict[str, int]  # after `upto`
    upto: Slot = 0
    missing: Slot | None = None  # the first slot nobody reported, below others that were
    results: dict[Slot, Result] = field(default_factory=dict)
    first_slot: dict[tuple[str, int], Slot] = field(default_factory=dict)  # by client, timestamp
    balances_at: dict[Slot, dict[str, int]] = field(default_factory=dict)  # where asked for


def replay(log: CommitLog, balances: Mapping[str, int], snapshots: set[Slot]) -> Replay:
    """Execute `log` from its base; keep the balances after each slot in `snapshots`.

    `balances` is the state before slot 1, used when the log has no base of its own.
    """
    base = log.base
    state = Replay(dict(balances if base is None else base.balances))
    latest: dict[str, int] = {}  # by client: the last timestamp executed
    if base is not None:
        state.upto = base.slot
        latest = {session[0]: session[1] for session in base.sessions}
        state.first_slot = {(s[0], s[1]): s[3] for s in base.sessions}
    if state.upto in snapshots:
        state.balances_at[state.upto] = dict(state.balances)
    for slot in sorted(log.slots):
        if slot <= state.upto:
            continue
        if slot != state.upto + 1:
            state.missing = state.upto + 1
            break
        client, timestamp, *command = log.slots[slot][0]
        known = state.first_slot.get((client, timestamp))
        if command[0] == NOOP or timestamp < latest.get(client, 0):
            result: Result = SKIPPED  # an older one than the client's last has no effect
        elif known is not None:
            result = state.results.get(known, log.slots[slot][1])
        else:
            state.first_slot[client, timestamp] = slot
            latest[client] = timestamp
            result = _execute(state.balances, *command)  # type: ignore[arg-type]
        state.results[slot] = result
        state.upto = slot
        if slot in snapshots:
            state.balances_at[slot] = dict(state.balances)
    return state


def _execute(
    balances: dict[str, int], kind: str, sender: str, receiver: str, amount: int
) -> Result:
    if kind == READ:
        return balances.get(sender, FAILED)
    if sender not in balances or receiver not in balances or not 0 < amount <= balances[sender]:
        return FAILED
    balances[sender] -= amount
    balances[receiver] += amount
    return SUCCESS
