"""The running hash of what was executed, and who else has the same.

Noted at every multiple of the checkpoint interval. Two replicas that executed the same slots
have the same hash; as the hashes are chained, equal hashes at one slot also confirm every slot
below. Replicas tell one another theirs at the slots where checkpoints are taken. Which of two that
differ is right only a majority can tell: whoever has it against itself may not go on, and without
one nobody is confirmed.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from bank.ballot import ReplicaId, Slot, replica_name
from bank.checkpoint import GENESIS_HASH, extend_hash
from bank.messages import CheckpointHash
from bank.sessions import Request, Session
from bank.settings import USUAL, Sizes


@dataclass(slots=True)
class _Compared:
    """A slot that somebody asked about, at this replica."""

    mine: str | None  # this replica's hash; None until it executed the slot
    holders: dict[str, set[ReplicaId]] = field(default_factory=dict)  # of each hash, among peers


@dataclass(slots=True)
class HistoryHash:
    """One replica's running hash and what its peers said of theirs."""

    _replica: ReplicaId
    _quorum: int  # so many are a majority of all
    slot: Slot = 0  # the last multiple of the interval that was executed
    current: str = GENESIS_HASH  # the running hash there
    sizes: Sizes = USUAL
    _noted: dict[Slot, str] = field(init=False)
    _chain: str = field(init=False)  # as of the last whole piece
    _hashed_upto: Slot = field(init=False)
    _requests: list[Request] = field(default_factory=list)  # executed and not hashed yet
    _answers: list[Session] = field(default_factory=list)  # theirs
    _compared: dict[Slot, _Compared] = field(default_factory=dict)
    # Who waits for the hash of a slot to come.
    _asking: dict[ReplicaId, Slot] = field(default_factory=dict)
    # Highest slot where a peer's was equal.
    confirmed_upto: dict[ReplicaId, Slot] = field(default_factory=dict)
    differs: str | None = None  # the first difference that was ever seen
    outvoted: str | None = None  # a majority has another history than this replica

    def __post_init__(self) -> None:
        self._noted = {self.slot: self.current}
        self._chain, self._hashed_upto = self.current, self.slot

    def add(self, requests: Iterable[Request], answers: Iterable[Session]) -> None:
        """Slots were executed, in order, none beyond the next multiple of the interval."""
        self._requests += requests
        self._answers += answers
        piece = self.sizes.hash_slots
        while len(self._requests) >= piece:
            self._extend(piece)

    def _extend(self, count: int) -> None:
        """Hash the next so many slots; which slots make a piece is the same at every replica."""
        first_slot = self._hashed_upto + 1
        requests, answers = self._requests[:count], self._answers[:count]
        self._chain = extend_hash(self._chain, first_slot, requests, answers)
        self._hashed_upto += count
        del self._requests[:count], self._answers[:count]

    def note(self, slot: Slot) -> list[tuple[ReplicaId, CheckpointHash]]:
        """Everything up to `slot`, a multiple of the interval, was added.

        Returns the answers to those who asked about it before.
        """
        if self._requests:
            self._extend(len(self._requests))
        self._set(slot, self._chain)
        if len(self._noted) > self.sizes.noted_hashes:
            del self._noted[min(self._noted)]
        if not self._asking:
            return []
        askers = sorted(peer for peer, asked in self._asking.items() if asked == slot)
        for peer in askers:
            del self._asking[peer]
        return [(peer, self.word(slot, self.current, answer=True)) for peer in askers]

    def restart_at(self, slot: Slot, running_hash: str) -> None:
        """A checkpoint was installed: of slots below it that were skipped, nothing is known."""
        self._chain, self._hashed_upto = running_hash, slot
        self._requests.clear()
        self._answers.clear()
        skipped = [s for s, one in self._compared.items() if s < slot and one.mine is None]
        for each in skipped:
            del self._compared[each]
        self._asking = {peer: s for peer, s in self._asking.items() if s > slot}
        self._set(slot, running_hash)

    def _set(self, slot: Slot, running_hash: str) -> None:
        self.slot, self.current = slot, running_hash
        self._noted[slot] = running_hash
        if (compared := self._compared.get(slot)) is not None:
            compared.mine = running_hash
            self._weigh(slot, compared)

    # ---- comparing -----------------------------------------------------------------------------

    def word(self, slot: Slot, mine: str, answer: bool) -> CheckpointHash:
        """What this replica says of `slot`, where its hash is `mine`, and who has the same there.

        The hash is kept from now on, since others will answer.
        """
        if slot not in self._compared:
            self._compare_at(slot, mine)
        equal = [peer for peer, upto in self.confirmed_upto.items() if upto >= slot]
        return CheckpointHash(slot, mine, answer, tuple(sorted((self._replica, *equal))))

    def hear(self, source: ReplicaId, message: CheckpointHash) -> CheckpointHash | None:
        """Take a peer's word for a slot; the answer, when it asks and this replica is that far.

        Sets `confirmed_upto` of whoever has the same hash, `differs` and perhaps `outvoted`.
        """
        slot = message.slot
        compared = self._compared.get(slot)
        if compared is None:
            mine = self._noted.get(slot)
            if mine is None and slot <= self.slot:
                return None
            compared = self._compare_at(slot, mine)
        for running_hash, holders in compared.holders.items():
            if running_hash != message.running_hash:
                holders.discard(source)  # what others said of it is older than its own word
        holders = compared.holders.setdefault(message.running_hash, set())
        holders.update(peer for peer in message.holders if peer != self._replica)
        if compared.mine is None:
            if not message.answer:
                # The first question of each peer: newer ones may overtake the execution for ever.
                self._asking.setdefault(source, slot)
            return None
        if message.running_hash != compared.mine:
            self.confirmed_upto.pop(source, None)
        self._weigh(slot, compared)
        return None if message.answer else self.word(slot, compared.mine, answer=True)

    def _compare_at(self, slot: Slot, mine: str | None) -> _Compared:
        if len(self._compared) >= self.sizes.compared_slots:
            del self._compared[min(self._compared)]
        compared = self._compared[slot] = _Compared(mine)
        return compared

    def _weigh(self, slot: Slot, compared: _Compared) -> None:
        for running_hash, holders in compared.holders.items():
            if running_hash == compared.mine:
                for peer in holders:
                    known = self.confirmed_upto.get(peer, 0)
                    self.confirmed_upto[peer] = max(known, slot)
            elif holders:
                names = ", ".join(map(replica_name, sorted(holders)))
                difference = (
                    f"history differs from that of {names} at slot {slot}: "
                    f"{str(compared.mine)[:12]} here, {running_hash[:12]} there"
                )
                self.differs = self.differs or difference
                if len(holders) >= self._quorum:
                    self.outvoted = difference

    def is_confirmed(self, slot: Slot) -> bool:
        """True when a majority, this replica included, has the same history up to `slot`."""
        equal = sum(1 for upto in self.confirmed_upto.values() if upto >= slot)
        return equal + 1 >= self._quorum
