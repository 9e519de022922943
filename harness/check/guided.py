"""Finds an order among many requests without an answer, by guessing; a failure proves nothing.

A request that is never answered may have been done at any time since, or never. With many of them
the exact search carries every set that could have been done. This one goes on as if none had been,
until no configuration explains an answer. Then it goes back to where that operation was sent, and
lets one of them into the order on the way, or two, or three; what explains the answer is carried
on side by side, until later answers decide. What it finds is an order, and `witness` proves it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.check.operations import Event, Op
from harness.check.search import Order, Search

BEAM = 256  # configurations that are kept side by side
MOST_NEAR = 32  # of an account, the latest, that are thought of as the first of several
RECENT = 512  # events for which a request may be let in without a need that is known
CHECKPOINT = 64  # events from one checkpoint to the next
FURTHEST = 4_096  # events to go back
# How an answer is explained that nothing explains so far: going so many events further back than
# where it was sent, with so many requests without an answer; None: of its own account or any other.
ATTEMPTS = ((64, 1), (256, 1), (64, 2), (1024, 1), (64, None), (256, 2), (1024, 2), (64, 3))


@dataclass(frozen=True, slots=True)
class _Window:
    """Events in which requests without an answer may be let into the order, for one answer."""

    start: int
    end: int  # the event of the answer
    count: int
    account: str
    least: float  # that they have to have changed of its balance, all together
    most: float
    everywhere: bool


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    """The search before an event."""

    event: int
    state: dict[str, object]


class Guided(Search):
    """Like `Search`, with operations that are never answered left aside until one is needed."""

    def __init__(self, balances: Mapping[str, int], ops: Sequence[Op], budget: int) -> None:
        super().__init__(balances, budget)
        self._shift = _overlap(ops)  # their bits come above those of the others
        self._unanswered: dict[str, list[Op]] = {account: [] for account in balances}
        self._spare: list[int] = []  # bits of those that are in every order, to be used again
        self._numbered = 0
        self._holders: dict[int, Op] = {}  # by bit
        self._moved: dict[int, dict[str, int]] = {0: {}}  # by those that were let in
        self._settled = dict.fromkeys(balances, 0)  # by those that are in every order
        self._recent: list[Op] = []
        self._windows: list[_Window] = []  # that are open now
        self._at: dict[str, list[_Window]] = {}  # the same by account
        self._everywhere: list[_Window] = []
        self._thought: dict[tuple[str, int], list[Op]] = {}
        self._most = 0  # how many may be let in in all

    def run(self, events: Sequence[Event]) -> int | None:
        """As of `Search`; an index says how far it came, and proves nothing."""
        windows: list[_Window] = []
        checkpoints: list[_Checkpoint] = []
        attempts: dict[int, int] = {}
        at = furthest = 0
        while at < len(events):
            if at % CHECKPOINT == 0 and (not checkpoints or checkpoints[-1].event < at):
                checkpoints.append(_Checkpoint(at, self._copied()))
                del checkpoints[: -FURTHEST // CHECKPOINT]
            _, is_answer, op = events[at]
            self.event, furthest = at, max(at, furthest)
            if not is_answer:
                self._invoke(op)
                at += 1
                continue
            self._open_windows([w for w in windows if w.start <= at <= w.end])
            before = self._configurations
            if self._answer(op):
                at += 1
                continue
            tried = attempts[at] = attempts.get(at, -1) + 1
            if tried == len(ATTEMPTS):
                break
            self._configurations = before
            window = self._window(events, at, *ATTEMPTS[tried])
            windows = [w for w in windows if w.end > at - FURTHEST] + [window]
            while len(checkpoints) > 1 and checkpoints[-1].event > window.start:
                checkpoints.pop()
            at = checkpoints[-1].event
            self._return(checkpoints[-1].state)
        self.event = furthest
        return None if at == len(events) else furthest

    def _window(self, events: Sequence[Event], at: int, back: int, count: int | None) -> _Window:
        """In which the answer at an event may get its explanation, before it is taken."""
        wanted = events[at][2]
        account = wanted.account
        lows, highs = [], []  # of its balance, without any that was let in
        for done in self._configurations:
            lowest, highest = super()._range(account, done)
            let_in = self._let_in(account, done)
            lows.append(lowest - let_in)
            highs.append(highest - let_in)
        least, most = wanted.low - max(highs), wanted.high - min(lows)
        for _, is_end, other in events[wanted.sent : at]:
            if is_end and other.moves and account in (other.account, other.other):
                change = other.moves if other.other == account else -other.moves
                least += min(change, 0)  # it may have to come after the wanted one
                most += max(change, 0)
        start = max(0, wanted.sent - back)
        return _Window(start, at, count or 1, account, least, most, count is None)

    def _copied(self) -> dict[str, object]:
        return {
            "_base": dict(self._base),
            "_settled": dict(self._settled),
            "_open": {account: list(ops) for account, ops in self._open.items()},
            "_unanswered": {account: list(ops) for account, ops in self._unanswered.items()},
            "_recent": list(self._recent),
            "_free": list(self._free),
            "_holders": dict(self._holders),
            "_spare": list(self._spare),
            "_bits": self._bits,
            "_numbered": self._numbered,
            "_moving": self._moving,
            "_configurations": self._configurations,
            "_moved": dict(self._moved),
        }

    def _return(self, state: dict[str, object]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        for name, value in self._copied().items():  # the checkpoint may be needed again
            setattr(self, name, value)

    def _open_windows(self, windows: list[_Window]) -> None:
        self._windows = windows
        self._thought.clear()
        self._recent = [op for op in self._recent if op.sent >= self.event - RECENT]
        if windows:
            self._everywhere = [window for window in windows if window.everywhere]
            self._at = {}
            for window in windows:
                self._at.setdefault(window.account, []).append(window)
            let_in = min((d >> self._shift).bit_count() for d in self._configurations)
            self._most = let_in + max(window.count for window in windows)

    def _invoke(self, op: Op) -> None:
        op.sent = self.event
        if op.answered_at is not None:
            super()._invoke(op)
            return
        if not self._spare:
            self._spare.append(1 << (self._shift + self._numbered))
            self._numbered += 1
        op.bit = self._spare.pop()
        self._holders[op.bit] = op
        for account in (op.account, op.other):
            self._unanswered[account].append(op)
        self._recent.append(op)

    def _balance(self, account: str, done: int) -> int:
        return self._base[account] + self._moved[done >> self._shift].get(account, 0)

    def _let_in(self, account: str, done: int) -> int:
        """What those that were let in changed of its balance, ever."""
        moved = self._moved[done >> self._shift]
        return self._settled[account] + moved.get(account, 0)

    def _near(self, account: str, done: int) -> Sequence[Op]:
        near = self._thinkable(account, done)
        return [*self._open[account], *near] if near else self._open[account]

    def _left(self, done: int) -> int:
        """How many more may be let in."""
        return max(0, self._most - (done >> self._shift).bit_count())

    def _thinkable(self, account: str, done: int) -> list[Op]:
        """What may be let in: lately sent, or for an answer that needs another balance here."""
        windows = self._windows and self._at.get(account, self._everywhere)
        if not windows and not self._recent:
            return []
        key = account, done >> self._shift
        if (found := self._thought.get(key)) is None:
            found = [
                op for op in self._recent if account in (op.account, op.other) and not op.bit & done
            ]
            if windows and (left := self._left(done)):
                found += [o for o in self._think(windows, account, done, left) if o not in found]
            self._thought[key] = found
        return found

    def _think(self, windows: Sequence[_Window], account: str, done: int, left: int) -> list[Op]:
        unanswered = [op for op in self._unanswered[account] if not op.bit & done]
        if left > 1 or self._everywhere:
            return unanswered[-MOST_NEAR:]
        so_far = self._let_in(account, done)
        least = min(window.least for window in windows) - so_far
        most = max(window.most for window in windows) - so_far
        return [
            op
            for op in unanswered
            if least <= (op.moves if op.other == account else -op.moves) <= most
        ]

    def _range(self, account: str, done: int) -> tuple[int, int]:
        lowest, highest = super()._range(account, done)
        if near := self._thinkable(account, done):
            some = max(1, self._left(done)) + len(self._recent)
            lowest -= sum(sorted(op.moves for op in near if op.account == account)[-some:])
            highest += sum(sorted(op.moves for op in near if op.other == account)[-some:])
        return lowest, highest

    def _take(self, op: Op, done: int, order: Order) -> tuple[int, Order]:
        if op.answered_at is None:
            used = (done | op.bit) >> self._shift
            if used not in self._moved:
                self._moved[used] = _move(dict(self._moved[done >> self._shift]), op)
        return super()._take(op, done, order)

    def _answer(self, op: Op) -> bool:
        """As of `Search`, unless that leaves no configuration: then nothing is changed."""
        found = self._explained(op)
        if not found:
            return False
        self._close(op, found)
        found = self._configurations
        if len(found) > BEAM:
            best = sorted(found, key=lambda done: (done >> self._shift).bit_count())[:BEAM]
            self._configurations = found = {done: found[done] for done in best}
        common = -1
        for done in found:
            common &= done
        if common >> self._shift:
            self._settle(common >> self._shift << self._shift)
        return True

    def _settle(self, common: int) -> None:
        """What every order has is open no more."""
        settled: list[Op] = []
        rest = common
        while rest:
            bit = rest & -rest
            rest ^= bit
            op = self._holders.pop(bit)
            settled.append(op)
            self._base[op.account] -= op.moves
            self._base[op.other] += op.moves
            _move(self._settled, op)
            self._unanswered[op.account].remove(op)
            self._unanswered[op.other].remove(op)
            self._spare.append(bit)
        self._recent = [op for op in self._recent if op not in settled]
        before, self._moved = self._moved, {0: {}}
        for done in self._configurations:
            moved = dict(before[done >> self._shift])
            for op in settled:
                _move(moved, op, -1)
            self._moved[(done ^ common) >> self._shift] = moved
        self._configurations = {d ^ common: order for d, order in self._configurations.items()}


def _move(moved: dict[str, int], op: Op, times: int = 1) -> dict[str, int]:
    moved[op.account] = moved.get(op.account, 0) - times * op.moves
    moved[op.other] = moved.get(op.other, 0) + times * op.moves
    return moved


def _overlap(ops: Sequence[Op]) -> int:
    """How many answered ones were open at once, at most."""
    ends = sorted((at, sign) for op in ops if op.answered_at is not None
                  for at, sign in ((op.invoked_at, 0), (op.answered_at, 1)))  # fmt: skip
    now = most = 0
    for _, is_end in ends:
        now += -1 if is_end else 1
        most = max(most, now)
    return most
