"""The running hash of what was executed, and its comparison with the other replicas'.

Noted at every multiple of the checkpoint interval. Two replicas that executed the same slots
have the same hash; as the hashes are chained, equal hashes at one slot also confirm every slot
below. A difference means that the replicas have diverged, and nothing may go on.
"""

from collections.abc import Iterable

from bank.ballot import ReplicaId, Slot
from bank.checkpoint import GENESIS_HASH, extend_hash
from bank.messages import CheckpointHash
from bank.sessions import Request, Session

PIECE_SLOTS = 100  # are hashed at a time, from each multiple of the interval on
NOTED_HASHES = 256  # how many are kept to compare; an older question is simply not answered


class HistoryHash:
    """One replica's running hash and what its peers said of theirs."""

    __slots__ = (
        "_answers",
        "_chain",
        "_hashed_upto",
        "_noted",
        "_questions",
        "_requests",
        "confirmed_upto",
        "current",
        "slot",
    )

    def __init__(self, slot: Slot = 0, current: str = GENESIS_HASH) -> None:
        self.slot = slot  # the last multiple of the interval that was executed
        self.current = current  # the running hash there
        self._noted: dict[Slot, str] = {slot: current}
        self._chain, self._hashed_upto = current, slot  # as of the last whole piece
        self._requests: list[Request] = []  # executed and not hashed yet
        self._answers: list[Session] = []  # theirs
        self._questions: dict[ReplicaId, CheckpointHash] = {}  # about slots not executed yet
        self.confirmed_upto: dict[ReplicaId, Slot] = {}  # highest slot where a peer's was equal

    def add(self, requests: Iterable[Request], answers: Iterable[Session]) -> None:
        """Slots were executed, in order, none beyond the next multiple of the interval."""
        self._requests += requests
        self._answers += answers
        while len(self._requests) >= PIECE_SLOTS:
            self._extend(PIECE_SLOTS)

    def _extend(self, count: int) -> None:
        """Hash the next so many slots; which slots make a piece is the same at every replica."""
        first_slot = self._hashed_upto + 1
        requests, answers = self._requests[:count], self._answers[:count]
        self._chain = extend_hash(self._chain, first_slot, requests, answers)
        self._hashed_upto += count
        del self._requests[:count], self._answers[:count]

    def note(self, slot: Slot) -> None:
        """Everything up to `slot`, a multiple of the interval, was added."""
        if self._requests:
            self._extend(len(self._requests))
        self.slot, self.current = slot, self._chain
        self._noted[slot] = self.current
        if len(self._noted) > NOTED_HASHES:
            del self._noted[min(self._noted)]

    def restart_at(self, slot: Slot, running_hash: str) -> None:
        """A checkpoint was installed."""
        self.slot, self.current = slot, running_hash
        self._chain, self._hashed_upto = running_hash, slot
        self._noted[slot] = running_hash
        self._requests.clear()
        self._answers.clear()

    def compare(
        self, source: ReplicaId, message: CheckpointHash
    ) -> tuple[CheckpointHash | None, str | None]:
        """Take a peer's word for a slot: the answer to send, and what is wrong if it differs."""
        mine = self._noted.get(message.slot)
        if mine is None:
            if message.slot > self.slot and not message.answer:
                self._questions[source] = message
            return None, None
        if mine != message.running_hash:
            return None, (
                f"history differs from that of n{source} at slot {message.slot}: "
                f"{mine[:12]} here, {message.running_hash[:12]} there"
            )
        known = self.confirmed_upto.get(source, 0)
        self.confirmed_upto[source] = max(known, message.slot)
        if message.answer:
            return None, None
        return CheckpointHash(message.slot, mine, answer=True), None

    def due_questions(self) -> list[tuple[ReplicaId, CheckpointHash]]:
        """Questions that can be answered now because their slot was executed meanwhile."""
        due = [(r, q) for r, q in sorted(self._questions.items()) if q.slot <= self.slot]
        for replica, _ in due:
            del self._questions[replica]
        return due
