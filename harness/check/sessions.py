"""Was every request done exactly once, and answered with what it did?"""

from collections.abc import Iterator, Sequence

from bank.ledger import describe
from harness.check.replay import Replay
from harness.check.verdict import Judgement, judge
from harness.cluster.driver import CommitLog
from harness.cluster.history import Operation


def exactly_once(log: CommitLog, replayed: Replay, history: Sequence[Operation]) -> Judgement:
    """Every answered request has one effect, in the slot and with the result that was answered.

    A pending one has none or one. Unknown above a slot that nobody reported.
    """
    unknown = ""
    if replayed.missing is not None:
        unknown = f"slot {replayed.missing} is not known"
    return judge("exactly_once", _problems(log, replayed, history), unknown)


def _problems(log: CommitLog, replayed: Replay, history: Sequence[Operation]) -> Iterator[str]:
    for slot, result in replayed.results.items():
        said = log.slots[slot][1]
        if said != result:
            yield f"slot {slot} gave {said!r}, executed once it gives {result!r}"
    for operation in history:
        client, timestamp, *command = operation.request
        if not operation.is_answered:
            continue
        text = f"{client}'s {describe(*command)} (timestamp {timestamp})"  # type: ignore[arg-type]
        first = replayed.first_slot.get((client, timestamp))
        if first is None:
            if replayed.missing is None:
                yield f"{text} was answered {operation.result!r} and is in no slot"
        elif first != operation.slot:
            yield f"{text} was answered for slot {operation.slot}, first executed in {first}"
        elif first in log.slots and log.slots[first][0] != operation.request:
            yield f"{text} was executed as {log.slots[first][0]}"
        elif replayed.results.get(first, operation.result) != operation.result:
            yield f"{text} was answered {operation.result!r}, not {replayed.results[first]!r}"
