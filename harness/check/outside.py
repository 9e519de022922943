"""Other people's replicas, judged by what clients saw and by what replicas tell, if they tell it.

Nobody is trusted: what is told is held against answers, never the other way round. What nobody
tells is not asked, which is no reason to call anything unknown; but telling less must not score
better, so what was told once is told to the end.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from bank.ballot import replica_name
from bank.ledger import READ, SKIPPED, SUCCESS, TRANSFER, Result, describe
from bank.sessions import NOOP_REQUEST, Request
from harness.check.black_box import BUDGET, CHECK, black_box
from harness.check.hearing import CutOff, unheard_of
from harness.check.operations import began, text
from harness.check.quorum import Reach, no_quorum_no_answer
from harness.check.replay import execute
from harness.check.sums import MOST_SUMS, Sums
from harness.check.told import ACCEPTED, Key, Refusal, Telling, Told
from harness.check.verdict import Judgement, Verdict, judge
from harness.check.witness import flaw
from harness.cluster.history import Operation

ANSWERS_AGREE = "answers agree"
NO_BALANCES = "no replica tells its balances"


@dataclass(frozen=True, slots=True)
class Seen:
    """All that is known of a run of other people's replicas. Times are µs of its clock."""

    balances: Mapping[str, int]  # the first ones
    history: Sequence[Operation]  # of every client, the last reads of all accounts included
    replicas: int
    told: Sequence[Told] = ()  # by those that are live, once all had settled
    unsettled: str = ""  # who had not executed what others had by then
    final: Mapping[str, int] | None = None  # balances at the end: last reads, else told ones
    answers: Iterable[tuple[Key, Result]] = ()  # all that came to transfers
    contradictions: Sequence[str] = ()  # that answers show by themselves
    cut_off: Sequence[CutOff] = ()  # who hears nobody now
    sees_all: bool = False  # `voters` of operations know of all that passed
    reach: Sequence[Reach] = ()  # who could do what, from when on; empty: not judged by it
    holds: bool = False  # what is sent on a cut link arrives when it is whole again
    clients_carry: bool = False  # from one replica to another
    failed_at: Sequence[int] = ()  # kills of those that had to come back
    tellings: Sequence[Telling] = ()
    require: Sequence[str] = ()  # what everybody has to tell
    refusals: Sequence[Refusal] = ()
    endings: Sequence[str] = ()  # of replicas that ended by themselves
    budget: int = BUDGET


def judge_from_outside(seen: Seen) -> tuple[Judgement, ...]:
    """Every judge's word, in a fixed order."""
    balances, history = seen.balances, seen.history
    return (
        linearizable_from_outside(balances, history, seen.told, seen.budget),
        no_quorum_no_answer(
            history,
            seen.reach,
            seen.replicas,
            sees_all=seen.sees_all,
            holds=seen.holds,
            clients_carry=seen.clients_carry,
        ),
        exactly_once_from_outside(balances, history, seen.answers, seen.final),
        durable(balances, history, seen.told, seen.final, seen.failed_at),
        conservation_from_outside(balances, seen.told),
        agreement_from_outside(balances, seen.told, seen.unsettled),
        judge(ANSWERS_AGREE, [*seen.contradictions, *unheard_of(balances, history, seen.cut_off)]),
        told_to_the_end(seen.tellings, seen.require),
        refused(seen.refusals, began(history)),
        ended_by_themselves(seen.endings),
    )


def linearizable_from_outside(
    balances: Mapping[str, int],
    history: Sequence[Operation],
    told: Sequence[Told] = (),
    budget: int = BUDGET,
) -> Judgement:
    """A told log is tried first, as the order that explains every answer; then the search.

    `history` is all that was asked, the last reads of every account included.
    """
    known = [operation for operation in history if operation.refused is None]
    if any(operation.is_answered for operation in known):
        by_key = {o.request[:2]: o for o in known if o.invoked_at is not None}
        for replica in told:
            order = _order(replica, by_key)
            if order is not None and not flaw(balances, known, order):
                return Judgement(CHECK, Verdict.VALID)
    return black_box(balances, known, budget, began(history))


def _order(replica: Told, by_key: Mapping[Key, Operation]) -> list[Operation] | None:
    """The operations of its log, each where it stands first; None without one to go by."""
    order: dict[Key, Operation] = {}
    for entry in replica.whole_log or ():
        if entry.request == NOOP_REQUEST or entry.result == SKIPPED:
            continue
        key = entry.request[:2]
        asked = by_key.get(key)
        if asked is None or asked.request != entry.request:
            return None
        order.setdefault(key, asked)
    return list(order.values()) or None


# ---- once, and to stay -------------------------------------------------------------------------


def exactly_once_from_outside(
    balances: Mapping[str, int],
    history: Sequence[Operation],
    answers: Iterable[tuple[Key, Result]],
    final: Mapping[str, int] | None,
) -> Judgement:
    """No transfer has two results, and every answered one was done once, an open one at most once.

    `answers` are all that came, late ones and those to retries too; `final` the balances at the
    end, of all accounts or some, None when nobody tells them.
    """
    transfers = {o.request[:2]: o for o in history if o.request[2] == TRANSFER}
    given: dict[Key, Result] = {}
    for key, result in answers:
        if key in transfers and given.setdefault(key, result) != result:
            said = (
                f"{text(transfers[key], began(history))} was answered {given[key]} and {result} too"
            )
            return Judgement("exactly_once", Verdict.INVALID, said)
    if final is None:
        return Judgement("exactly_once", Verdict.VALID)
    is_explained = Sums(balances, history, final).explained()
    if is_explained is None:
        return Judgement("exactly_once", Verdict.UNKNOWN, f"gave up after {MOST_SUMS} sums")
    return judge("exactly_once", () if is_explained else [_unexplained(balances, history, final)])


def durable(
    balances: Mapping[str, int],
    history: Sequence[Operation],
    told: Sequence[Told],
    final: Mapping[str, int] | None,
    failed_at: Sequence[int],
) -> Judgement:
    """What was answered before a replica was killed that had to come back is still there.

    `failed_at` has the µs of each such kill. Held against whole logs where they are told, and
    against `final`: balances that are explained only without an answered transfer have lost it.
    """
    if not failed_at:
        return Judgement("durable", Verdict.NOT_ASKED, "nobody was killed that had to come back")
    # What is accepted counts: that it is committed may be known to nobody who is left.
    logs = [r.log for r in told if r.log is not None and r.log_from == 1]
    if not logs and final is None:
        return Judgement("durable", Verdict.NOT_ASKED, "no replica tells its balances or its log")
    return judge("durable", _lost(balances, history, logs, final, max(failed_at)))


def _lost(
    balances: Mapping[str, int],
    history: Sequence[Operation],
    logs: Sequence[Sequence[object]],
    final: Mapping[str, int] | None,
    last_kill: int,
) -> Iterator[str]:
    safe = [
        o
        for o in history
        if o.request[2] == TRANSFER
        and o.result == SUCCESS
        and o.answered_at is not None
        and o.answered_at <= last_kill
    ]
    since = began(history)
    held = {entry.request[:2] for log in logs for entry in log}  # type: ignore[attr-defined]
    for operation in safe if logs else ():
        if operation.request[:2] not in held:
            yield f"{text(operation, since)} is in no log after a replica was killed"
    sums = None if final is None else Sums(balances, history, final)
    if sums is not None and sums.explained() is False:
        for operation in safe:
            if sums.explained(without=operation):
                yield (
                    f"{text(operation, since)} is not in the balances after a replica was killed, "
                    "which are explained without it"
                )


def _unexplained(
    balances: Mapping[str, int], history: Sequence[Operation], final: Mapping[str, int]
) -> str:
    once = dict(balances)
    for operation in history:
        _, _, kind, sender, receiver, amount = operation.request
        if kind == TRANSFER and operation.result == SUCCESS:
            once[sender] = once.get(sender, 0) - amount
            once[receiver] = once.get(receiver, 0) + amount
    account = next((a for a in sorted(final) if final[a] != once.get(a)), next(iter(final)))
    open_ones = sum(o.request[2] == TRANSFER and not o.is_answered for o in history)
    said = f"{account} is {final[account]} at the end, and {once.get(account)} when every transfer "
    said += "that succeeded was done once"
    return said + (f", whichever of the {open_ones} open ones were done" if open_ones else "")


# ---- what replicas tell ------------------------------------------------------------------------


def conservation_from_outside(balances: Mapping[str, int], told: Sequence[Told]) -> Judgement:
    """Balances that are told sum up to what there was, and none is negative."""
    if all(replica.balances is None for replica in told):
        return Judgement("conservation", Verdict.NOT_ASKED, NO_BALANCES)
    return judge("conservation", _leaks(balances, told))


def _leaks(balances: Mapping[str, int], told: Sequence[Told]) -> Iterator[str]:
    total = sum(balances.values())
    for replica in told:
        name, held = replica_name(replica.replica), replica.balances
        if held is None:
            continue
        for account in sorted(held.keys() ^ balances.keys()):
            yield f"{name} tells {'an' if account in held else 'no'} account {account}"
        for account, balance in held.items():
            if balance < 0:
                yield f"{name} tells {balance} for {account}"
        if sum(held.values()) != total:
            yield f"{name} tells {sum(held.values())} in all, expected {total}"


def agreement_from_outside(
    balances: Mapping[str, int], told: Sequence[Told], unsettled: str = ""
) -> Judgement:
    """Who executed as much has the same balances, and a slot the same request and result.

    `unsettled` says who had not executed what others had by the end of the time that they have.
    """
    if all(replica.balances is None and replica.log is None for replica in told):
        reason = "no replica tells its balances or its log"
        return Judgement("agreement", Verdict.NOT_ASKED, reason)
    problems = chain(
        [unsettled] if unsettled else [], _differences(told), _misreplays(balances, told)
    )
    return judge("agreement", problems)


def _differences(told: Sequence[Told]) -> Iterator[str]:
    stands: dict[int | None, Told] = {}
    slots: dict[int, tuple[Request, object, str]] = {}
    for replica in told:
        name = replica_name(replica.replica)
        if replica.balances is not None:
            other = stands.setdefault(replica.executed, replica)
            for account, held in replica.balances.items():
                right = (other.balances or {}).get(account, held)  # what it left out is told apart
                if held != right:
                    where = "" if replica.executed is None else f" after slot {replica.executed}"
                    who = replica_name(other.replica)
                    yield f"{name} tells {held} for {account}{where}, {who} {right}"
        for entry in replica.log or ():
            if entry.status == ACCEPTED:
                continue
            request, result, who = slots.setdefault(entry.slot, (entry.request, entry.result, name))
            if request != entry.request:
                this, first = _said(entry.request), _said(request)
                yield f"slot {entry.slot} holds {this} at {name}, {first} at {who}"
            if None not in (result, entry.result) and result != entry.result:
                yield f"slot {entry.slot} gave {entry.result!r} at {name}, {result!r} at {who}"


def _said(request: Request) -> str:
    client, timestamp, kind, sender, receiver, amount = request
    told = describe(kind, sender, receiver, amount)
    return told if request == NOOP_REQUEST else f"{client}'s request {timestamp}, {told},"


def _misreplays(balances: Mapping[str, int], told: Sequence[Told]) -> Iterator[str]:
    """A log executed once more, each request where it stands first."""
    for replica in told:
        log = replica.whole_log
        if log is None:
            continue
        name, now, given = replica_name(replica.replica), dict(balances), dict[Key, Result]()
        for entry in log:
            if replica.executed is not None and entry.slot > replica.executed:
                break
            client, timestamp, kind, *command = entry.request
            if kind not in (TRANSFER, READ):
                continue
            key = client, timestamp
            if key not in given:
                given[key] = execute(now, kind, *command)  # type: ignore[arg-type]
            if entry.result not in (None, SKIPPED, given[key]):
                said = f"{entry.result!r}, executed once it gives {given[key]!r}"
                yield f"slot {entry.slot} gave {said}, by the log of {name}"
        if replica.balances is not None and replica.executed == len(log):
            for account, held in replica.balances.items():
                if held != now.get(account):
                    yield f"{name} tells {held} for {account}, its log gives {now.get(account)}"


# ---- telling less must not score better --------------------------------------------------------


def told_to_the_end(tellings: Sequence[Telling], require: Sequence[str] = ()) -> Judgement:
    """What a replica told once it tells whenever it is asked; what is required, everybody does."""
    return judge("told to the end", _silences(tellings, require))


def _silences(tellings: Sequence[Telling], require: Sequence[str]) -> Iterator[str]:
    for what in require:
        asked = [t for t in tellings if t.what == what]
        if not asked:
            yield f"{what} is required, and nobody was asked for it"
        for telling in asked:
            if not telling.told:
                name = replica_name(telling.replica)
                yield f"{what} is required, and {name} does not tell it in set {telling.set_number}"
    first: dict[tuple[int, str], int] = {}
    for telling in tellings:
        key = telling.replica, telling.what
        if telling.told:
            first.setdefault(key, telling.set_number)
        elif key in first:
            yield (
                f"{replica_name(telling.replica)} told {telling.what} in set {first[key]} "
                f"and does not in set {telling.set_number}"
            )


def refused(refusals: Sequence[Refusal], since: int) -> Judgement:
    """A request that a replica says it never did and never will, its balance being no reason."""
    return judge(
        "refused",
        (
            f"{text(r.operation, since)}: {replica_name(r.replica)} answers {r.text}"
            for r in refusals
        ),
    )


def ended_by_themselves(endings: Sequence[str]) -> Judgement:
    """Replicas that ended, died or closed their output unasked, each in words."""
    return judge("ended by itself", endings)
