"""What a replica does about slots that are committed: execute, remember, fetch, check, forget.

Nothing here promises, votes or leads; `replica.Replica` adds that on top. Committed facts are the
same whoever tells them, so nothing here compares ballots either.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bank import checkpoint as checkpoints
from bank.ballot import NO_BALLOT, Ballot, ReplicaId, Slot
from bank.catch_up import Fetch, Library
from bank.checkpoint import Checkpoint
from bank.effects import Effects, Executed, Run, Send, Stored
from bank.events import Event, InstalledCheckpoint, RefusedCheckpoint
from bank.history_hash import HistoryHash
from bank.ledger import SKIPPED
from bank.log import Log
from bank.messages import CatchUp, CheckpointHash, Message, State, StatePiece
from bank.quorum import quorum_size
from bank.sessions import Machine, Request, Session
from bank.settings import Settings
from bank.status import Role

QUESTIONS = 10  # pauses, or heartbeats if they are longer, that a checkpoint may be in question


class Learner:
    """The log with its watermarks, the state machine and the checkpoint of one replica."""

    def __init__(
        self,
        replica: ReplicaId,
        replicas: int,
        settings: Settings,
        balances: Mapping[str, int],
        now: int,
    ) -> None:
        self.replica = replica
        self.peers = tuple(r for r in range(1, replicas + 1) if r != replica)
        self.quorum = quorum_size(replicas)
        self.settings = settings
        self.role = Role.FOLLOWER
        self.following = NO_BALLOT  # of the NEW-VIEW that it leads or follows; never decreases
        self._settled = False  # heard the leader it follows within its time-out
        self._now = now
        self.log = Log()
        self._machine = Machine(balances)
        self._checkpoint: Checkpoint | None = (
            None  # a majority had its hash: stored, lent to others
        )
        self._taken: Checkpoint | None = None  # the next one, while its hash is in question
        self._checkpoint_at = now - settings.checkpoint_pause
        self._history = HistoryHash(replica, self.quorum, sizes=settings.sizes)
        self._fetch = Fetch()
        self._library = Library(balances, settings.sizes)
        self._read_at: dict[ReplicaId, int] = {}  # when peers asked for a further piece
        self.halted: str | None = None  # why it does nothing any more
        self._effects = Effects()
        self._answers: list[Session] = []  # for clients, one REPLY a turn
        self._runs: list[Run] = []  # accepted or installed in this turn, to store
        self._saved_upto: Slot = 0  # the committed watermark that was stored last
        self._checkpoint_changed = False  # the checkpoint is to be stored
        self._state_changed = False  # truncation or watermark are to be stored

    # ---- effects -------------------------------------------------------------------------------

    def _early(self, to: ReplicaId, message: Message) -> None:
        self._effects.early.append(Send((to,), message))

    def _early_all(self, message: Message) -> None:
        self._effects.early.append(Send(self.peers, message))

    def _durable(self, to: ReplicaId, message: Message) -> None:
        self._effects.durable.append(Send((to,), message))

    def _tell(self, event: Event) -> None:
        self._effects.events.append(event)

    # ---- executing -----------------------------------------------------------------------------

    def _commit(self, upto: Slot) -> None:
        """Every slot up to `upto` is known to be committed, and held: execute."""
        self.log.commit(upto)
        self._execute()

    def _execute(self) -> None:
        """Execute everything committed, stopping at multiples of the checkpoint interval."""
        log, interval = self.log, self.settings.checkpoint_interval
        while log.executed_upto < log.committed_upto:
            first_slot = log.executed_upto + 1
            boundary = (log.executed_upto // interval + 1) * interval
            last_slot = min(log.committed_upto, boundary)
            requests = log.requests(first_slot, last_slot)
            answers = self._machine.execute(first_slot, requests)
            log.executed_upto = last_slot
            self._effects.executed.append(Executed(first_slot, requests, answers))
            self._history.add(requests, answers)
            if self.role is Role.LEADER:
                self._answers += [answer for answer in answers if answer[2] != SKIPPED]
            if last_slot == boundary:
                self._on_boundary(boundary)

    # ---- catching up ---------------------------------------------------------------------------

    @property
    def _fetch_retry(self) -> int:
        return 2 * self.settings.heartbeat

    def _want(self, target: Slot, source: ReplicaId) -> None:
        """Slots up to `target` are committed somewhere: ask `source`, unless asking already."""
        idle = self._fetch.target <= self.log.committed_upto
        self._fetch.target = max(self._fetch.target, target)
        if idle and self._fetch.target > self.log.committed_upto:
            self._ask(source)

    def _is_fetching(self) -> bool:
        return self._fetch.target > self.log.committed_upto and self.role is not Role.LEADER

    def _ask_again(self) -> None:
        """Whoever was asked may be gone: after a while ask the next one, from the start."""
        fetch = self._fetch
        if self._now >= fetch.asked_at + self._fetch_retry:
            fetch.forget_pieces()
            later = [r for r in self.peers if r > fetch.source]
            self._ask(later[0] if later else self.peers[0])

    def _ask(self, source: ReplicaId) -> None:
        self._fetch.source, self._fetch.asked_at = source, self._now
        self._early(source, self._fetch.question(self.log.committed_upto))

    def _broadcast_catch_up(self) -> None:
        self._fetch.forget_pieces()
        self._early_all(self._fetch.question(self.log.committed_upto))

    def _on_catch_up(self, source: ReplicaId, message: CatchUp) -> None:
        if message.piece > 0:
            self._read_at[source] = self._now
        answer = self._library.answer(source, message, self.log, self._checkpoint)
        if answer is not None:
            self._early(source, answer)

    def _on_state(self, source: ReplicaId, message: State) -> None:
        committed = self.log.committed_upto
        last_slot = message.first_slot + len(message.requests) - 1
        if self.role is Role.LEADER or message.first_slot > committed + 1:
            return
        if last_slot > committed:  # else a copy, or late: asking on it would double every question
            self._install(message.first_slot, message.ballots, message.requests)
            self._go_on_fetching(source, message.committed_upto)

    def _install(
        self, first_slot: Slot, ballots: Sequence[Ballot], requests: Sequence[Request]
    ) -> None:
        """Commit entries that others know to be committed, whatever their ballot."""
        self._runs += self.log.install(first_slot, ballots, requests)
        # The watermark goes to disk with the rows: they may be in ballots never accepted here.
        self._state_changed = True
        self._commit(first_slot + len(requests) - 1)

    def _on_state_piece(self, source: ReplicaId, message: StatePiece) -> None:
        if self.role is Role.LEADER or message.checkpoint_slot <= self.log.committed_upto:
            return
        asked_for = self._fetch.checkpoint_slot, len(self._fetch.pieces)
        whole = self._fetch.take_piece(source, message)
        if whole is not None:
            checkpoint = checkpoints.decode(whole)
            if checkpoint is None or checkpoint.slot != message.checkpoint_slot:
                self._tell(RefusedCheckpoint(source))
                return
            self._install_checkpoint(checkpoint)
        elif asked_for == (self._fetch.checkpoint_slot, len(self._fetch.pieces)):
            return  # a piece that was not asked for
        self._fetch.source = source
        self._go_on_fetching(source, message.committed_upto)

    def _go_on_fetching(self, source: ReplicaId, committed_upto: Slot) -> None:
        """After a STATE from `source`: ask it for more while it has more, and stand again."""
        fetch = self._fetch
        if fetch.target <= self.log.committed_upto or fetch.source == source:
            fetch.target = max(fetch.target, committed_upto)
            if fetch.target > self.log.committed_upto:
                self._ask(source)

    def _install_checkpoint(self, checkpoint: Checkpoint) -> None:
        self._tell(InstalledCheckpoint(checkpoint.slot))
        self.log.restart_at(checkpoint.slot)
        self._machine = Machine(checkpoint.balances, checkpoint.sessions, digest=checkpoint.digest)
        self._history.restart_at(checkpoint.slot, checkpoint.running_hash)
        self._checkpoint, self._checkpoint_changed = checkpoint, True
        self._taken = None
        self._weigh_history()
        self._execute()

    def save_watermark(self) -> None:
        """Store the committed watermark with this turn although nothing else may need storing.

        Called at the heartbeat's pace, or when somebody looks. With every write of the log it
        would dirty one more page a turn, and in a transaction of its own cost even more.
        """
        if self.log.committed_upto > self._saved_upto:
            self._state_changed = True

    # ---- checkpoints ---------------------------------------------------------------------------

    def _on_boundary(self, slot: Slot) -> None:
        """A multiple of the checkpoint interval was executed."""
        for peer, answer in self._history.note(slot):
            self._early(peer, answer)
        self._weigh_history()
        if self._is_checkpoint_due():
            self._checkpoint_at = self._now
            self._take_checkpoint(slot)
            self._ask_for_confirmation()

    def _is_checkpoint_due(self) -> bool:
        """After the pause, each replica in its own part of it: else all stop at the same moment.

        Not while one is in question, or the answers would come too late for each; unless nobody
        can answer any more, because all the others are too far ahead.
        """
        pause, replicas = self.settings.checkpoint_pause, len(self.peers) + 1
        passed = self._now - self._checkpoint_at
        if self._taken is not None and passed < QUESTIONS * max(pause, self.settings.heartbeat):
            return False
        if passed < pause or passed >= 2 * pause:
            return passed >= pause
        return self._now * replicas // pause % replicas == self.replica - 1

    def _take_checkpoint(self, slot: Slot) -> None:
        """Take one. What changed since one that was never confirmed is to be stored with it."""
        taken = checkpoints.take(slot, self._history.current, self._machine)
        self._taken = taken if self._taken is None else _with_changes_of(self._taken, taken)

    def _ask_for_confirmation(self) -> None:
        """Tell all others the hash at the checkpoint in question, until a majority has the same."""
        taken = self._taken
        if taken is None:
            self._truncate()  # what spare backups were not told before
        elif self._history.is_confirmed(taken.slot):
            self._confirm_checkpoint(taken)
        else:
            known = self._history.confirmed_upto
            silent = tuple(peer for peer in self.peers if known.get(peer, 0) < taken.slot)
            question = self._history.word(taken.slot, taken.running_hash, answer=False)
            self._effects.early.append(Send(silent, question))

    def _on_checkpoint_hash(self, source: ReplicaId, message: CheckpointHash) -> None:
        answer = self._history.hear(source, message)
        if answer is not None:
            self._early(source, answer)
        self._weigh_history()

    def _weigh_history(self) -> None:
        """Something was learnt of others' hashes. A difference is seen to when the turn ends."""
        if self._taken is not None and self._history.is_confirmed(self._taken.slot):
            self._confirm_checkpoint(self._taken)

    def _confirm_checkpoint(self, taken: Checkpoint) -> None:
        """A majority has the same history: this is the checkpoint to store, and the log may go."""
        before, self._taken = self._checkpoint, None
        if before is not None and self._checkpoint_changed:
            taken = _with_changes_of(before, taken)
        self._checkpoint, self._checkpoint_changed = taken, True
        if self.role is Role.LEADER:
            # So that it is known to those who hear nobody else, and to who is in the minority.
            self._early_all(self._history.word(taken.slot, taken.running_hash, answer=True))
        self._truncate()

    def _told_upto(self) -> Slot:
        """Slots up to here need to be sent to nobody for the first time."""
        return self.log.last_slot

    def _truncate(self) -> None:
        checkpoint = self._checkpoint
        if checkpoint is None:
            return
        upto = min(checkpoint.slot - self.settings.keep_slots, self._told_upto())
        if upto > self.log.truncated_upto:
            self.log.truncate(upto)
            self._state_changed = True

    def _load(self, stored: Stored) -> None:
        """Become what the disk says is committed, and hold the rest of its rows."""
        log, checkpoint = self.log, stored.checkpoint
        if checkpoint is not None:
            self._checkpoint = checkpoint
            self._machine = Machine(
                checkpoint.balances, checkpoint.sessions, digest=checkpoint.digest
            )
            self._history = HistoryHash(
                self.replica,
                self.quorum,
                checkpoint.slot,
                checkpoint.running_hash,
                self.settings.sizes,
            )
        # Rows between the truncation and the checkpoint are there but executed already.
        log.truncated_upto = stored.truncated_upto
        for slot, ballot, request in stored.entries:
            if slot > stored.truncated_upto:
                log.accept(slot, ballot, (request,))
        log.executed_upto = log.committed_upto = checkpoint.slot if checkpoint is not None else 0
        self._commit(max(stored.committed_upto, log.committed_upto))
        self._effects.executed.clear()  # executed before: nobody is to be told again


def _with_changes_of(before: Checkpoint, checkpoint: Checkpoint) -> Checkpoint:
    """`checkpoint`, to be stored over what `before` was to be stored over."""
    changed = checkpoint.changed and before.changed and checkpoint.changed | before.changed
    return replace(checkpoint, changed=changed)
