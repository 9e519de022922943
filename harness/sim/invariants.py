"""What must hold over all replicas together, whatever was lost, delayed or killed.

Incremental: `Safety` is told what an event changed and compares that with kept maxima, so that it
can look on at every event. It sees what no replica can: every proposal, every vote that reached a
disk, every execution. It has the bank of the judges, so that the ledger does not judge itself.

A statement that does not hold raises `Violation`, with the values in its text.
"""

from collections.abc import Hashable, Iterable, Mapping
from typing import TypeAlias

from bank.ballot import NO_BALLOT, Ballot, ReplicaId, Slot, replica_name
from bank.checkpoint import Checkpoint
from bank.effects import Executed, Persist, Stored
from bank.ledger import READ, SKIPPED, TRANSFER
from bank.messages import CheckpointHash, Message, StatePiece
from bank.quorum import quorum_size
from bank.sessions import Request, Session
from bank.status import ReplicaStatus
from harness.check.replay import execute
from harness.cluster.wording import executed_text

Claim: TypeAlias = tuple[Slot, Slot, Ballot]
SHOWN = 3  # of what a replica holds and should not


class Violation(AssertionError):
    """A safety statement does not hold."""


class Oracle:
    """The bank as one machine would keep it: what each committed slot must answer."""

    def __init__(self, balances: Mapping[str, int]) -> None:
        self.balances = dict(balances)
        self.total = sum(balances.values())
        self.sessions: dict[str, Session] = {}
        self.repeats = 0  # slots that held a request executed before

    def answer(self, slot: Slot, request: Request) -> Session:
        """Execute one slot."""
        client, timestamp, kind, sender, receiver, amount = request
        last = self.sessions.get(client)
        if last is not None and timestamp <= last[1]:
            self.repeats += 1
            return last if timestamp == last[1] else (client, timestamp, SKIPPED, slot)
        if kind not in (TRANSFER, READ):
            return (client, timestamp, SKIPPED, slot)
        result = execute(self.balances, kind, sender, receiver, amount)
        self.sessions[client] = client, timestamp, result, slot
        return self.sessions[client]

    def compare_money(self, status: ReplicaStatus) -> None:
        """Violation where a replica, however far it is, holds more, less or a debt."""
        held = status.balances
        name, total = replica_name(status.replica), sum(held.values())
        if total != self.total:
            raise Violation(f"{name} holds {total} in all, expected {self.total}")
        if min(held.values()) < 0:
            account = min(held, key=held.__getitem__)
            raise Violation(f"{name} holds {held[account]} for {account}")

    def compare(self, status: ReplicaStatus) -> None:
        """Violation unless a replica that executed the same holds the same: what it has else."""
        sessions = {session[0]: session for session in status.sessions}
        if status.balances == self.balances and sessions == self.sessions:
            return
        wrong = [
            f"{status.balances.get(account)} for {account}, not {balance}"
            for account, balance in self.balances.items()
            if status.balances.get(account) != balance
        ]
        wrong += [
            f"{sessions.get(client)} as {client}'s last answer, not {self.sessions.get(client)}"
            for client in sorted(sessions.keys() | self.sessions)
            if sessions.get(client) != self.sessions.get(client)
        ]
        wrong += [f"an account {name}" for name in status.balances.keys() - self.balances]
        more = f", and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise Violation(
            f"{replica_name(status.replica)} after slot {status.executed_upto} holds "
            f"{', '.join(wrong[:SHOWN])}{more}"
        )


class _Known:
    """The maxima kept of one replica."""

    __slots__ = (
        "claims",
        "committed",
        "executed",
        "kept",
        "promised",
        "seen",
        "taught",
        "told",
        "truncated",
    )

    def __init__(self) -> None:
        self.truncated = self.executed = self.committed = 0  # of this incarnation
        # What this incarnation was told: the highest slot for which a peer is said to have the
        # running hash, and the highest checkpoint that it was given or found on its disk.
        self.told: dict[ReplicaId, Slot] = {}
        self.taught: Slot = 0
        self.promised, self.seen = NO_BALLOT, 0  # on its disk
        self.kept: tuple[Slot, Slot, Slot] = (0, 0, 0)  # likewise: committed, truncated, checkpoint
        # Slots from, to, and the highest ballot in which it claimed them. In order, none twice.
        self.claims: list[Claim] = []

    def key(self) -> Hashable:
        """All of it, as a value."""
        now = self.truncated, self.executed, self.committed, frozenset(self.told.items())
        return now, self.taught, self.promised, self.seen, self.kept, tuple(self.claims)

    def claim(self, first: Slot, last: Slot, ballot: Ballot) -> None:
        """These slots were claimed in this ballot; what was claimed in a higher one stays so."""
        if self.claims:
            start, end, latest = self.claims[-1]
            if latest == ballot and start <= first <= end + 1:
                self.claims[-1] = start, max(last, end), ballot
                return
        pieces, left = list[Claim](), first  # `left`: of the new claim, not looked at yet
        for start, end, other in self.claims:
            if other > ballot and start <= last and end >= left:
                pieces += [(left, start - 1, ballot), (start, end, other)]
                left = end + 1
            elif other > ballot:
                pieces.append((start, end, other))
            else:
                pieces += [
                    (start, min(end, first - 1), other),
                    (max(start, last + 1), end, other),
                ]
        pieces.append((left, last, ballot))
        self.claims = []
        for start, end, held in sorted(piece for piece in pieces if piece[0] <= piece[1]):
            if self.claims and self.claims[-1][1:] == (start - 1, held):
                self.claims[-1] = self.claims[-1][0], end, held
            else:
                self.claims.append((start, end, held))


class Safety:
    """Looks on at `replicas` replicas that began with `balances`."""

    def __init__(self, replicas: int, balances: Mapping[str, int], interval: int) -> None:
        self.oracle = Oracle(balances)
        self.slots: list[tuple[Request, Session]] = []  # of slot 1, 2, …: what was executed first
        self._quorum = quorum_size(replicas)
        self._interval = interval
        self._known = {replica: _Known() for replica in range(1, replicas + 1)}
        # ballot -> slot -> request; a ballot has one leader, which proposes one value per slot
        self._proposed: dict[Ballot, dict[Slot, Request]] = {}
        self._latest: dict[Slot, Request] = {}  # proposed in any ballot
        self.contested = 0  # how often a slot was proposed with another value than before
        # slot -> (ballot, request) -> replicas that have it on disk; of slots not executed yet
        self._votes: dict[Slot, dict[tuple[Ballot, Request], set[ReplicaId]]] = {}
        self._digests: dict[Slot, tuple[str, ReplicaId]] = {}
        self._hashes: dict[Slot, tuple[str, ReplicaId]] = {}

    def key(self) -> Hashable:
        """All that is remembered; what is only counted is left out. Equal for who judges alike."""
        same = frozenset(self._digests.items()), frozenset(self._hashes.items())
        return self.facts(), *same, tuple(known.key() for known in self._known.values())

    def facts(self) -> Hashable:
        """The part of it which may allow a step of any replica that is wrong without it.

        Not what must be the same for all: there whoever comes second is wrong, in either order.
        """
        votes = (
            (slot, frozenset((vote, frozenset(voters)) for vote, voters in of_slot.items()))
            for slot, of_slot in self._votes.items()
        )
        return (
            frozenset(self.oracle.balances.items()),
            frozenset(self.oracle.sessions.items()),
            tuple(self.slots),
            frozenset((ballot, frozenset(of.items())) for ballot, of in self._proposed.items()),
            frozenset(votes),
        )

    # ---- what a turn did -----------------------------------------------------------------------

    def leads(self, ballot: Ballot, replica: ReplicaId) -> None:
        """`replica` sent the NEW-VIEW of `ballot`: nobody ever did before, nor will again."""
        _hold(ballot.replica == replica, f"{replica_name(replica)} leads {ballot}")
        _hold(ballot not in self._proposed, f"{ballot} is led twice")
        self._proposed[ballot] = {}

    def elected(self, replica: ReplicaId, ballot: Ballot) -> None:
        """`replica` told clients that it leads `ballot`: with its NEW-VIEW or after it."""
        is_led = ballot.replica == replica and ballot in self._proposed
        _hold(is_led, f"{replica_name(replica)} says that it leads {ballot}")

    def proposed(self, ballot: Ballot, first_slot: Slot, requests: Iterable[Request]) -> None:
        """The leader of `ballot` proposed these: never two values for a slot in one ballot."""
        values = self._proposed.get(ballot)
        if values is None:
            raise Violation(f"slot {first_slot} proposed in {ballot}, which nobody leads")
        latest = self._latest
        for slot, request in enumerate(requests, first_slot):
            if latest.setdefault(slot, request) != request:
                latest[slot] = request
                self.contested += 1
            known = values.setdefault(slot, request)
            if known is not request and known != request:
                raise Violation(f"slot {slot} proposed in {ballot} as {known} and as {request}")

    def stored(self, replica: ReplicaId, persist: Persist) -> None:
        """A transaction became durable: promises never decrease, and votes are counted."""
        known = self._known[replica]
        for run in persist.runs:
            if run.ballot > persist.promised:
                raise Violation(
                    f"{replica_name(replica)} holds slot {run.first_slot} in {run.ballot}, "
                    f"above its promise {persist.promised}"
                )
            # Only what is committed may still be stored in a ballot below an earlier promise.
            last_slot = run.first_slot + len(run.requests) - 1
            if run.ballot < known.promised and last_slot > (persist.committed_upto or 0):
                raise Violation(
                    f"{replica_name(replica)} accepts slot {last_slot} in {run.ballot} "
                    f"after promising {known.promised}"
                )
            self._count(replica, run.first_slot, run.ballot, run.requests)
        if persist.promise_changed:
            if persist.promised < known.promised or persist.seen < known.seen:
                raise Violation(
                    f"{replica_name(replica)} promised {known.promised}, "
                    f"then stored {persist.promised}"
                )
            known.promised, known.seen = persist.promised, persist.seen
        committed, truncated, checkpoint = known.kept
        known.kept = (
            max(committed, persist.committed_upto or 0),
            max(truncated, persist.truncated_upto),
            max(checkpoint, _slot_of(persist.checkpoint)),
        )
        while known.claims and known.claims[0][1] <= known.kept[1]:
            del known.claims[0]  # truncated: no restart has to show them

    def _count(
        self, replica: ReplicaId, first_slot: Slot, ballot: Ballot, requests: Iterable[Request]
    ) -> None:
        executed, proposed = len(self.slots), self._proposed.get(ballot, {})
        for slot, request in enumerate(requests, first_slot):
            known = proposed.get(slot)
            if known is not request and known != request:
                raise Violation(
                    f"{replica_name(replica)} holds slot {slot} in {ballot} as {request}, "
                    f"proposed was {known}"
                )
            if slot > executed:
                self._votes.setdefault(slot, {}).setdefault((ballot, request), set()).add(replica)

    def spoke(self, replica: ReplicaId, ballot: Ballot) -> None:
        """PREPARE, ACK or ACCEPTED for `ballot` left: the promise must be on disk by then."""
        known = self._known[replica]
        if ballot > known.promised:
            raise Violation(
                f"{replica_name(replica)} spoke of {ballot} with {known.promised} on disk"
            )

    def claimed(
        self, replica: ReplicaId, ballot: Ballot, first_slot: Slot, last_slot: Slot
    ) -> None:
        """ACCEPTED left: these slots are to be found on the disk from now on."""
        self.spoke(replica, ballot)
        if last_slot >= first_slot:
            self._known[replica].claim(first_slot, last_slot, ballot)

    def replied(self, replica: ReplicaId, answer: Session) -> None:
        """A client is told what a slot gave: that slot was executed, and gave this."""
        slot = answer[3]
        if not 0 < slot <= len(self.slots) or self.slots[slot - 1][1] != answer:
            raise Violation(f"{replica_name(replica)} answers {answer}, never executed")

    def executed(self, replica: ReplicaId, executed: Executed) -> None:
        """Agreement, quorum, results, money and exactly once, slot by slot."""
        slots, known = self.slots, self._known[replica]
        first_slot = executed.first_slot
        if first_slot <= known.executed:
            raise Violation(f"{replica_name(replica)} executes slot {first_slot} again")
        known.executed = first_slot + len(executed.requests) - 1
        for slot, what in enumerate(
            zip(executed.requests, executed.answers, strict=True), first_slot
        ):
            if slot <= len(slots):
                if slots[slot - 1] != what:
                    raise Violation(
                        f"slot {slot}: {replica_name(replica)} executed {_told(slot, *what)}, "
                        f"another replica {_told(slot, *slots[slot - 1])}"
                    )
                continue
            if slot != len(slots) + 1:
                raise Violation(f"slot {slot} is executed, yet nobody executed {len(slots) + 1}")
            self._first_execution(replica, slot, *what)

    def _first_execution(
        self, replica: ReplicaId, slot: Slot, request: Request, answer: Session
    ) -> None:
        votes = self._votes.pop(slot, {})
        if not any(
            len(voters) >= self._quorum and held == request for (_, held), voters in votes.items()
        ):
            raise Violation(
                f"{replica_name(replica)} executed slot {slot} as {request}, which no quorum "
                f"holds on disk in one ballot: {_text(votes)}"
            )
        right = self.oracle.answer(slot, request)
        if answer != right:
            raise Violation(f"slot {slot}: {request} gave {answer}, not {right}")
        if min(self.oracle.balances.values()) < 0 or (
            sum(self.oracle.balances.values()) != self.oracle.total
        ):
            raise Violation(f"money was made or lost at slot {slot}: {self.oracle.balances}")
        self.slots.append((request, answer))

    def told(self, replica: ReplicaId, source: ReplicaId, message: Message) -> None:
        """A message was read: of interest is what makes a truncation safe."""
        known = self._known[replica]
        if isinstance(message, CheckpointHash):
            self._same(self._hashes, message.slot, message.running_hash, source)
            for peer in message.holders:
                if peer != replica:
                    known.told[peer] = max(message.slot, known.told.get(peer, 0))
        elif isinstance(message, StatePiece):
            known.taught = max(message.checkpoint_slot, known.taught)

    def checkpoints(self, replica: ReplicaId, persist: Persist) -> None:
        """A turn ends with this to store: only a checkpoint that others confirmed may be in it."""
        if persist.checkpoint is not None:
            self._hold_confirmed(replica, persist.checkpoint.slot, "stores the checkpoint at")

    def _hold_confirmed(self, replica: ReplicaId, slot: Slot, what: str) -> None:
        """A majority, the replica included, has the same history up to `slot`."""
        known, needed = self._known[replica], self._quorum - 1
        sure = sum(1 for upto in known.told.values() if upto >= slot)
        if sure < needed and slot > known.taught:
            raise Violation(
                f"{replica_name(replica)} {what} {slot}, confirmed by {sure} of {needed}"
            )

    def watermarks(
        self, replica: ReplicaId, truncated: Slot, executed: Slot, committed: Slot
    ) -> None:
        """After a turn: truncated ≤ executed ≤ committed, and none goes back.

        Only what others confirmed is truncated.
        """
        known = self._known[replica]
        if not (
            known.truncated <= truncated <= executed <= committed
            and known.executed <= executed
            and known.committed <= committed
        ):
            raise Violation(
                f"{replica_name(replica)}: truncated {truncated} ≤ executed {executed} ≤ committed "
                f"{committed}, none below {known.truncated}, {known.executed}, {known.committed}"
            )
        if truncated > known.truncated:
            self._hold_confirmed(replica, truncated, "truncated up to")
        known.truncated, known.executed, known.committed = truncated, executed, committed

    def restarted(self, replica: ReplicaId, stored: Stored) -> None:
        """A new incarnation found this: what was promised and claimed before must be in it."""
        known = self._known[replica]
        if stored.promised < known.promised or stored.seen < known.seen:
            raise Violation(
                f"{replica_name(replica)} restarts with {stored.promised} on disk "
                f"after promising {known.promised}"
            )
        checkpoint = stored.checkpoint
        _hold(
            checkpoint is None or checkpoint.computed_digest() == checkpoint.digest,
            f"{replica_name(replica)} restarts with a checkpoint of which something is not written",
        )
        found = stored.committed_upto, stored.truncated_upto, _slot_of(checkpoint)
        for what, slot, kept in zip(
            ("committed", "truncated", "in a checkpoint"), found, known.kept, strict=True
        ):
            _hold(
                slot >= kept,
                f"{replica_name(replica)} restarts with slots up to {slot} {what}, "
                f"it had stored {kept}",
            )
        covered = max(found[1:])
        held = {slot: ballot for slot, ballot, _ in stored.entries}
        for first, last, ballot in known.claims:
            for slot in range(max(first, covered + 1), last + 1):
                if held.get(slot, NO_BALLOT) < ballot:
                    raise Violation(
                        f"{replica_name(replica)} restarts with {held.get(slot)} in slot {slot}, "
                        f"which it claimed in {ballot}"
                    )
        for slot, ballot, request in stored.entries:
            proposed = self._proposed.get(ballot, {}).get(slot)
            if proposed != request:
                raise Violation(
                    f"{replica_name(replica)} restarts with slot {slot} in {ballot} as {request}, "
                    f"proposed was {proposed}"
                )
        _hold(
            stored.committed_upto <= len(self.slots),
            f"{replica_name(replica)} has {stored.committed_upto} slots as committed on disk, "
            f"{len(self.slots)} were ever executed",
        )
        known.truncated, known.executed, known.committed = stored.truncated_upto, 0, 0
        known.told = {}
        known.taught = stored.checkpoint.slot if stored.checkpoint is not None else 0

    # ---- all replicas at once ------------------------------------------------------------------

    def compare(self, statuses: Iterable[ReplicaStatus]) -> None:
        """Same slot, same state: digests and running hashes, of now and of any time before."""
        for status in statuses:
            if status.halted is not None:
                raise Violation(f"{replica_name(status.replica)} stopped itself: {status.halted}")
            _hold(status.differs is None, f"{replica_name(status.replica)}: {status.differs}")
            self.oracle.compare_money(status)
            slot = status.executed_upto
            _hold(
                slot <= len(self.slots),
                f"{replica_name(status.replica)} stands at slot {slot}, "
                f"{len(self.slots)} were ever executed",
            )
            if slot == len(self.slots):
                self.oracle.compare(status)
            self._same(self._digests, slot, status.digest, status.replica)
            boundary = slot // self._interval * self._interval
            self._same(self._hashes, boundary, status.running_hash, status.replica)

    @staticmethod
    def _same(
        known: dict[Slot, tuple[str, ReplicaId]], slot: Slot, value: str, replica: ReplicaId
    ) -> None:
        first, other = known.setdefault(slot, (value, replica))
        if first != value:
            raise Violation(
                f"after slot {slot}, {replica_name(replica)} has {value[:12]}, "
                f"{replica_name(other)} had {first[:12]}"
            )


def _slot_of(checkpoint: Checkpoint | None) -> Slot:
    return 0 if checkpoint is None else checkpoint.slot


def _hold(statement: bool, text: str) -> None:
    if not statement:
        raise Violation(text)


def _told(slot: Slot, request: Request, answer: Session) -> str:
    """What was executed in a slot; the answer as it is where it belongs to something else."""
    told = executed_text(request, answer[2])
    return told if answer == (*request[:2], answer[2], slot) else f"{told} as {answer}"


def _text(votes: Mapping[tuple[Ballot, Request], set[ReplicaId]]) -> str:
    return "; ".join(
        f"{request} in {ballot} by {sorted(voters)}" for (ballot, request), voters in votes.items()
    )
