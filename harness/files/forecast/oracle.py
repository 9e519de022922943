"""What a file must come to, from the file alone: no cluster is started or simulated. Pure.

A sequential model of its sets, barrier by barrier as the runner has them: which requests must be
executed, which cannot, and what the accounts hold then. Where the outcome depends on what no file
says (which of two racing requests comes first, who leads when LF hits) the answer is every outcome
that is possible, with the reason: wider than the truth at times, never beside it. How replicas
fail makes no difference. Slots, ballots and times are not foretold.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bank.ballot import ReplicaId, replica_name
from bank.ledger import READ, SUCCESS
from harness.cluster.nemesis import Fail, FailLeader, Fault, Heal, KillAt, LinkFault, Recover
from harness.files.cases import CaseFile, CaseSet, Command, Step, Wait
from harness.files.config import DROP, ClusterConfig
from harness.files.forecast.foretold import (
    DONE,
    NO_LEADER,
    NOT_REACHED,
    PENDING,
    Amounts,
    Forecast,
    Remark,
    SetForecast,
    StepForecast,
)
from harness.files.forecast.interleavings import EITHER, Box, Budget, Chance, Served, join, serve
from harness.files.forecast.situations import Situations

NO_CHANCE = Chance(frozenset(), (0, 0))
MOST_NAMED = 3  # requests in a reason; more are counted


def forecast(file: CaseFile, config: ClusterConfig) -> Forecast:
    """What this file must come to on a fresh cluster."""
    model = _Model(file, config)
    sets = tuple([model.take(case) for case in file.sets])
    last = file.sets[-1].number
    at_end = {
        r.label: replace(r.closed, dropped=r.set_number != last) if r.closed is not None
        else r.forecast(r.label, True)
        for r in model.requests
    }  # fmt: skip
    return Forecast(sets, at_end, model.budget.sufficed)


# ---- requests ----------------------------------------------------------------------------------


@dataclass(eq=False, slots=True)
class _Request:
    """One request of the file."""

    label: str  # "5.1"
    order: int  # among all requests of the file
    step: Step
    command: Command
    set_number: int
    epoch: int  # as Situations has them
    executed: bool = False  # for sure
    maybe: str = ""  # why it may have been executed while that is not sure
    chance: Chance | None = None  # what became of it if it was
    why: tuple[str, ...] = ()  # of more than one result
    listed: bool = True  # surely, by the set that is being taken
    closed: StepForecast | None = None  # what it was when its client dropped it

    def forecast(self, label: str, carried_from: int | None = None) -> StepForecast:
        """As it stands now."""
        chance = self.chance
        outcomes = frozenset() if chance is None else chance.fate
        values: Amounts = ()
        if chance is not None and self.command.kind == READ:
            values = range(chance.before[0], chance.before[1] + 1)
        if not self.executed:
            outcomes |= {PENDING}
        why = ((self.maybe,) if self.maybe else ()) + self.why
        listed = self.listed or carried_from is None
        step = self.step
        return StepForecast(
            label, step.text, step.line, outcomes, values, carried_from, listed, why=why
        )

    @property
    def token(self) -> str:
        """The account that says whether it is still to be executed, once it was dropped."""
        return f"dropped {self.label}"

    def is_decided(self) -> bool:
        """It has one result once it is executed."""
        _, (least, most) = self.chance or NO_CHANCE
        return least == most if self.command.kind == READ else not self.may_or_may_not_move()

    def may_or_may_not_move(self) -> bool:
        """A transfer whose result is open."""
        return self.chance is not None and self.chance.fate == EITHER

    def may_credit(self) -> str:
        """Somebody else's account that it credits unless it fails; "" when it surely does not."""
        _, sender, receiver, _ = self.command
        fate, _ = self.chance or NO_CHANCE
        return receiver if receiver != sender and SUCCESS in fate else ""


@dataclass(slots=True)
class _Taken:
    """The set that is being taken."""

    case: CaseSet
    listed: list[tuple[str, Step, _Request | frozenset[str]]] = field(default_factory=list)
    armed: dict[ReplicaId, Step] = field(default_factory=dict)
    waits: int = 0
    remarks: list[Remark] = field(default_factory=list)


# ---- the model ---------------------------------------------------------------------------------


class _Model:
    """The file as far as it was taken."""

    def __init__(self, file: CaseFile, config: ClusterConfig) -> None:
        self.requests: list[_Request] = []  # of the whole file so far, in order
        self.budget = Budget()
        self._file = file
        self._drops = config.unanswered == DROP
        self._is_patient = config.patience_ms > 2 * config.election_timeout_ms[1]
        named = {name for c in _commands(file) for name in (c.sender, c.receiver)}
        start: Box = {a: (b, b) for a, b in config.balances().items() if a in named}
        self._worlds: tuple[Box, ...] = (start,)  # what the accounts may hold once all is executed
        # What who is not current may hold.
        self._held: dict[ReplicaId, Box] = dict.fromkeys(range(1, config.nodes + 1), start)
        self._doubts: dict[str, tuple[str, ...]] = {}  # why an account is not known
        self._queues: dict[str, list[_Request]] = {}  # under way, by client
        self._executed = 0  # requests, for sure
        self._stand = Situations(config.nodes)
        self._set = _Taken(file.sets[0])

    # ---- a set ---------------------------------------------------------------------------------

    def take(self, case: CaseSet) -> SetForecast:
        """The next set, to its end."""
        self._set = taken = _Taken(case)
        for request in self._asked():
            taken.listed.append((request.label, request.step, request))
        self._stand.set_live(case.live - self._file.stopped(case))
        for index, step in enumerate(case.steps, 1):
            taken.listed.append((str(index), step, self._take(step, index)))
        through = self._barrier()
        found = self._report(through)
        self._end_set()
        return found

    def _take(self, step: Step, index: int) -> _Request | frozenset[str]:
        """One step: the request, or the possible outcomes of what is none."""
        action = step.action
        if isinstance(action, Wait):
            return frozenset([DONE])
        if isinstance(action, Command):
            number = self._set.case.number
            label, order, epoch = f"{number}.{index}", len(self.requests), self._stand.epoch
            request = _Request(label, order, step, action, number, epoch)
            self.requests.append(request)
            self._queues.setdefault(action.sender, []).append(request)
            return request
        if not step.together:
            self._barrier(for_leader=isinstance(action, FailLeader))
        elif self._queues:
            self._may_execute(f"{step.text} comes while it is under way")
            self._stand.rush()
        return self._apply(step, action)

    def _apply(self, step: Step, fault: Fault) -> frozenset[str]:
        """What a fault does; its possible outcomes."""
        stand, done = self._stand, frozenset([DONE])
        match fault:
            case FailLeader(point):
                found, missed = stand.fail_leader(not step.together, point is not None)
                if not found:
                    self._remark(step, f"{step.text} finds no leader: there is no quorum")
                outcomes = {DONE} if found else set()
                outcomes |= {NO_LEADER} if missed else set()
                outcomes |= {NOT_REACHED} if found and point is not None else set()
                return frozenset(outcomes)
            case KillAt(replica, _):
                self._set.armed[replica] = step
                stand.arm(replica)
                return done | {NOT_REACHED}
            case Fail(replica, _):
                if not any(replica in s.live for s in stand.all):
                    self._remark(step, f"{step.text} has no effect: it is not live")
                stand.fail(replica)
            case Recover(replica):
                if all(replica in s.live for s in stand.all):
                    self._remark(step, f"{step.text} has no effect: it is live")
                stand.recover(replica)
            case LinkFault() | Heal():
                stand.change_links(fault)
            case _:
                raise AssertionError(f"{fault} is no step")
        return done

    # ---- barriers ------------------------------------------------------------------------------

    def _barrier(self, for_leader: bool = False) -> bool:
        """Everything before it is executed where anybody is able to lead; whether one surely is."""
        stand = self._stand
        stand.kill_armed()
        able = stand.are_able()
        if all(able):
            self._execute()
            return True
        if any(able):
            why = "it depends on who led whether a quorum is live"
        else:
            why = "votes of several minorities may add up"
        possible = self._may_execute(why)
        if (self._asked() and not possible) or (for_leader and not stand.leaders()):
            self._set.waits += 1
        if self._queues and (possible or stand.is_rushed or not self._is_patient):
            stand.rush()
        elif self._asked():  # else nothing is waited for
            stand.settled()
            for request in self._under_way():
                request.epoch = 0
        return False

    def _execute(self) -> None:
        """Everything asked is executed."""
        served = self._serve(self._queues, self.budget)
        doubted = {a for a, (least, most) in join(self._worlds).items() if least < most}
        self._worlds = served.worlds
        asked, executed = self._under_way(), self._asked()
        for client, queue in self._queues.items():
            for request, chance in zip(queue, served.chances[client], strict=True):
                request.chance = chance
                if request.closed is None:
                    request.executed, request.maybe = True, ""
        self._executed += len(executed)
        self._give_reasons(asked, doubted)
        self._doubt(asked, doubted)
        self._stand.executed(bool(asked))
        # What was dropped may come later still, until its client's next request was executed.
        newer = {request.command.sender for request in executed}
        self._queues = {c: queue for c, queue in self._queues.items() if c not in newer}
        for request in self._under_way():
            request.epoch = self._stand.epoch
        self._forget([r.token for r in asked if r.closed is not None and r.command.sender in newer])

    def _may_execute(self, why: str) -> bool:
        """What is under way may be executed by now, if a quorum may have voted; whether it may."""
        stand = self._stand
        stand.kill_armed()
        possible = {
            client: [request for request in queue if stand.may_commit(request.epoch)]
            for client, queue in self._queues.items()
        }
        if not any(possible.values()):
            return False
        served = self._serve(possible, Budget(0))
        for client, queue in possible.items():
            for request, chance in zip(queue, served.chances[client], strict=True):
                request.maybe = request.maybe or why
                request.chance = chance if request.chance is None else request.chance | chance
        stand.doubt()
        return True

    def _serve(self, queues: Mapping[str, Sequence[_Request]], budget: Budget) -> Served:
        commands = {
            client: [r.command._replace(kind=r.token) if r.closed else r.command for r in queue]
            for client, queue in queues.items()
        }
        served = serve(commands, self._worlds, budget)
        for replica, box in self._held.items():
            self._held[replica] = join([box, served.between])
        return served

    def _under_way(self) -> list[_Request]:
        """In the order of the file."""
        asked = (request for queue in self._queues.values() for request in queue)
        return sorted(asked, key=lambda request: request.order)

    def _asked(self) -> list[_Request]:
        """Of these, what clients still ask for."""
        return [request for request in self._under_way() if request.closed is None]

    def _plain(self) -> list[Box]:
        """The worlds without tokens."""
        tokens = {request.token for request in self._under_way() if request.closed is not None}
        return [{a: b for a, b in box.items() if a not in tokens} for box in self._worlds]

    def _forget(self, tokens: Sequence[str]) -> None:
        """These are settled: worlds that only they told apart are one."""
        if tokens:
            plain = [{a: b for a, b in box.items() if a not in tokens} for box in self._worlds]
            self._worlds = tuple({tuple(box.values()): box for box in plain}.values())

    # ---- reasons -------------------------------------------------------------------------------

    def _give_reasons(self, asked: Sequence[_Request], doubted: set[str]) -> None:
        """Why requests that are executed may have more than one result: one cause per account."""
        rivals: dict[str, list[_Request]] = {}
        for other in asked:
            rivals.setdefault(other.may_credit(), []).append(other)
        reasons: dict[str, tuple[str, ...]] = {}
        for request in asked:
            account = request.command.sender
            if account not in reasons:
                found = [f"races with {_named(rivals[account])}"] if account in rivals else []
                if account in doubted:
                    why = self._doubts[account]
                    found += [f"{account} is not known before: {one}" for one in why]
                reasons[account] = tuple(found)
            request.why = () if request.is_decided() else reasons[account]

    def _doubt(self, asked: Sequence[_Request], doubted: set[str]) -> None:
        """Note, for each account that is not known now, what that depends on."""
        blamed = _by_account(r for r in asked if r.may_or_may_not_move())
        for account, (least, most) in join(self._plain()).items():
            new = (f"depends on {_named(blamed[account])}",) if account in blamed else ()
            old = self._doubts.pop(account, ()) if account in doubted else ()
            if least < most:
                self._doubts[account] = tuple(dict.fromkeys(old + new))

    def _remark(self, step: Step, text: str) -> None:
        self._set.remarks.append(Remark(step.line, text))

    # ---- the end of a set ----------------------------------------------------------------------

    def _report(self, through: bool) -> SetForecast:
        taken, stand = self._set, self._stand
        steps = []
        for label, step, what in taken.listed:
            if isinstance(what, _Request):
                carried = what.set_number if what.set_number != taken.case.number else None
                steps.append(what.forecast(label, carried))
            else:
                steps.append(StepForecast(label, step.text, step.line, what))
        for replica, step in taken.armed.items():
            if not all(replica in s.live for s in stand.all):
                text = f"{replica_name(replica)} may be dead from here on: {step.text}"
                self._remark(step, text)
        balances, doubts = self._balances(through)
        return SetForecast(
            taken.case.number,
            tuple(steps),
            balances,
            doubts,
            frozenset().union(*map(stand.connected, stand.all)),
            not all(map(stand.connected, stand.all)),
            stand.leaders(),
            self._executed if through else 0,
            taken.waits,
            tuple(taken.remarks),
        )

    def _balances(self, through: bool) -> tuple[dict[str, Amounts], dict[str, tuple[str, ...]]]:
        """What those show who are asked, and of what is not known, why."""
        behind = set[ReplicaId]()
        for situation in self._stand.all:
            connected = self._stand.connected(situation)
            if not connected:
                return {}, {}
            behind |= set() if through else connected - situation.current
        balances: dict[str, Amounts] = {}
        doubts = {}
        maybe = _by_account(request for request in self._under_way() if request.maybe)
        worlds = self._plain()
        shown = join([*worlds, *(self._held[replica] for replica in behind)])
        for account, (least, most) in shown.items():
            spans = {world[account] for world in worlds}
            if not behind and all(low == high for low, high in spans):
                balances[account] = sorted(low for low, _ in spans)
            else:
                balances[account] = range(least, most + 1)
            if least < most:
                lagging = _lags(behind, maybe.get(account, ()))
                doubts[account] = self._doubts.get(account) or lagging
        return balances, doubts

    def _end_set(self) -> None:
        """Kill points are taken back, links are whole again.

        What is answered only then was told as pending, so the next set lists it.
        """
        stand = self._stand
        for request in self._asked():
            request.listed = not request.maybe
        if self._drops:
            self._drop()
        stand.disarm()
        if stand.links.states:
            stand.change_links(Heal())
            if self._may_execute("links heal after the set"):
                stand.rush()

    def _drop(self) -> None:
        """Clients forget what has no answer. What was sent and moves money may still be chosen."""
        tokens: list[str] = []
        for client, queue in list(self._queues.items()):
            kept, is_sent = [r for r in queue if r.closed is not None], True
            for request in queue[len(kept) :]:
                request.closed = request.forecast(request.label)
                _, sender, receiver, _ = request.command
                if is_sent and receiver not in ("", sender):
                    kept.append(request)
                    tokens.append(request.token)
                is_sent = is_sent and bool(request.maybe)  # a client waits for its answer
            self._queues[client] = kept
        self._queues = {client: queue for client, queue in self._queues.items() if queue}
        held = dict.fromkeys(tokens, (1, 1))
        self._worlds = tuple([{**box, **held} for box in self._worlds])


def _commands(file: CaseFile) -> Iterator[Command]:
    for case in file.sets:
        for step in case.steps:
            if isinstance(step.action, Command):
                yield step.action


def _by_account(requests: Iterable[_Request]) -> dict[str, list[_Request]]:
    """Under the sender and the receiver of each."""
    found: dict[str, list[_Request]] = {}
    for request in requests:
        for account in {request.command.sender, request.command.receiver}:
            found.setdefault(account, []).append(request)
    return found


def _lags(behind: Iterable[ReplicaId], maybe: Sequence[_Request]) -> tuple[str, ...]:
    """Why an account is not known although there is no race; `maybe` may have touched it."""
    if maybe:
        return (f"depends on {_named(maybe)}",)
    names = ", ".join(map(replica_name, sorted(behind)))
    return (f"{names} may have missed something, and no quorum is there to help",)


def _named(requests: Sequence[_Request]) -> str:
    """ "1.2 (A, J, 3), 1.4 (B, J, 1) and 2 more"."""
    names = [
        f"{request.label} {request.step.text}{' (dropped)' if request.closed else ''}"
        for request in requests[:MOST_NAMED]
    ]
    more = len(requests) - MOST_NAMED
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")
