"""How a replica gets committed slots that it missed: asking (Fetch) and giving (Library).

Log entries come in runs of `Sizes.piece_slots`; what the giver has truncated comes as its
checkpoint in pieces of `Sizes.piece_bytes`. Each piece is asked for, so a transfer never floods a
queue, and a giver that dies leaves nothing half installed: a checkpoint counts only when whole and
verified.
"""

from dataclasses import dataclass, field

from bank.ballot import ReplicaId, Slot
from bank.checkpoint import Checkpoint, Encoding
from bank.log import Log
from bank.messages import CatchUp, State, StatePiece
from bank.settings import USUAL, Sizes


@dataclass(slots=True)
class Fetch:
    """What is asked for. Idle while everything up to `target` is committed here."""

    target: Slot = 0  # the highest slot known to be committed anywhere; never decreases
    source: ReplicaId = 0  # whom the last question went to
    checkpoint_slot: Slot = 0  # of the checkpoint on its way; 0 for none
    pieces: list[bytes] = field(default_factory=list)

    def question(self, committed_upto: Slot) -> CatchUp:
        """The next thing to ask for."""
        if self.checkpoint_slot > committed_upto:
            return CatchUp(committed_upto + 1, self.checkpoint_slot, len(self.pieces))
        return CatchUp(committed_upto + 1)

    def take_piece(self, source: ReplicaId, message: StatePiece) -> bytes | None:
        """Add a piece; the whole encoding when it was the last one, else None.

        Pieces of one checkpoint may come from several replicas: the encoding is canonical. A
        newer checkpoint replaces an unfinished one only when it comes from whom was asked last.
        """
        if message.checkpoint_slot != self.checkpoint_slot:
            if message.piece != 0 or (self.checkpoint_slot and source != self.source):
                return None
            self.checkpoint_slot, self.pieces = message.checkpoint_slot, []
        if message.piece != len(self.pieces):
            return None
        self.pieces.append(message.data)
        if len(self.pieces) < message.pieces:
            return None
        whole = b"".join(self.pieces)
        self.forget_pieces()
        return whole

    def forget_pieces(self) -> None:
        """Start over with the log, or with another checkpoint."""
        self.checkpoint_slot, self.pieces = 0, []


class Library:
    """Answers to CATCH-UP. Keeps the encoding of a checkpoint while somebody is reading it."""

    __slots__ = ("_lent", "_sizes")

    def __init__(self, sizes: Sizes = USUAL) -> None:
        self._sizes = sizes
        self._lent: dict[ReplicaId, Encoding] = {}  # by reader

    def answer(
        self, reader: ReplicaId, question: CatchUp, log: Log, checkpoint: Checkpoint | None
    ) -> State | StatePiece | None:
        """What `reader` gets; None when there is nothing to give."""
        if question.piece > 0:
            lent = self._lent.get(reader)
            if lent is not None and lent.slot == question.checkpoint_slot:
                return _piece(lent, question.piece, log.committed_upto)
        if question.first_slot <= log.truncated_upto:
            assert checkpoint is not None, "truncated without a checkpoint"
            encoding = self._lent[reader] = Encoding(checkpoint, self._sizes.piece_bytes)
            piece = question.piece if question.checkpoint_slot == checkpoint.slot else 0
            return _piece(encoding, piece, log.committed_upto)
        self._lent.pop(reader, None)
        last_slot = min(log.committed_upto, question.first_slot + self._sizes.piece_slots - 1)
        if last_slot < question.first_slot:
            return None
        return State(
            question.first_slot,
            tuple(log.ballots(question.first_slot, last_slot)),
            tuple(log.requests(question.first_slot, last_slot)),
            log.committed_upto,
        )


def _piece(encoding: Encoding, piece: int, committed_upto: Slot) -> StatePiece | None:
    if not 0 <= piece < encoding.pieces:
        return None
    data = encoding.piece(piece)
    return StatePiece(encoding.slot, piece, encoding.pieces, data, committed_upto)
