"""What a replica does about slots that are committed: execute, remember, fetch, check, forget.

Nothing here promises, votes or leads. Committed facts are the same whoever tells them: no ballot is
compared here, but for the question whether what is held in a slot is what was committed there.
"""

from collections.abc import Mapping, Sequence

from bank import checkpoint as checkpoints
from bank.ballot import Ballot, ReplicaId, Slot
from bank.catch_up import Fetch, Library
from bank.checkpoint import Checkpoint, Snapshot, Writing
from bank.effects import Executed, Outbox, Pages, Send, Stored
from bank.events import InstalledCheckpoint, RefusedCheckpoint
from bank.history_hash import HistoryHash
from bank.ledger import SKIPPED
from bank.log import Log
from bank.messages import CatchUp, CheckpointHash, State, StatePiece
from bank.quorum import quorum_size
from bank.sessions import Machine, Session
from bank.settings import Settings
from bank.standing import Leader
from bank.timers import Timers

QUESTIONS = 10  # pauses, or heartbeats if they are longer, that a checkpoint may be in question
QUESTION_PAUSE = 64  # heartbeats at most between two questions about it


class Learner:
    """The state machine and the checkpoint of one replica; moves the log's lower watermarks."""

    def __init__(
        self,
        replica: ReplicaId,
        balances: Mapping[str, int],
        settings: Settings,
        log: Log,
        outbox: Outbox,
        timers: Timers,
    ) -> None:
        self.replica, self.peers = replica, outbox.peers
        self.quorum = quorum_size(len(self.peers) + 1)
        self.settings, self.log, self.outbox, self.timers = settings, log, outbox, timers
        self.lead: Leader | None = None  # of this replica, while it leads
        # What is stored as the state of a slot, with this turn at the latest.
        self._on_disk = checkpoints.genesis(balances, settings.sizes.page_accounts)
        self.machine = Machine(self._on_disk.balances)
        # A majority had its hash: stored, lent to others.
        self.checkpoint: Checkpoint | None = None
        self.taken: Snapshot | None = None  # the next one, while its hash is in question
        self.writing: Writing | None = None  # the next one, while its pages are written
        self.history = HistoryHash(replica, self.quorum, sizes=settings.sizes)
        self._fetch = Fetch()
        self._library = Library(settings.sizes)
        self.saved_upto: Slot = 0  # the committed watermark that was stored last
        # Of a checkpoint, with this turn: some pages, or the last ones, itself, and its sessions.
        self._to_store: tuple[Pages, Checkpoint | None, Sequence[Session]] | None = None
        self.marks_changed = False  # truncation or watermark are to be stored
        self.truncates = False  # there is more to truncate than goes at a time

    # ---- executing -----------------------------------------------------------------------------

    def commit(self, upto: Slot) -> None:
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
            answers = self.machine.execute(first_slot, requests)
            log.executed_upto = last_slot
            self.outbox.effects.executed.append(Executed(first_slot, requests, answers))
            self.history.add(requests, answers)
            if self.lead is not None:
                self.outbox.answers += [answer for answer in answers if answer[2] != SKIPPED]
            if last_slot == boundary:
                self._on_boundary(boundary)

    def learn(self, ballot: Ballot, upto: Slot) -> None:
        """The leader of `ballot` says: committed up to `upto` (rule 4).

        Only slots held in exactly that ballot are known to hold what was committed; the rest is
        fetched, never guessed.
        """
        committed = self.log.committed_upto
        if upto <= committed:
            return
        known = min(upto, self.log.held_upto(ballot, committed + 1))
        if known > committed:
            self.commit(known)
        if known < upto:
            self.want(upto, ballot.replica)

    # ---- catching up ---------------------------------------------------------------------------

    def want(self, target: Slot, source: ReplicaId) -> None:
        """Slots up to `target` are committed somewhere: ask `source`, unless asking already."""
        idle = not self.is_fetching()
        self._fetch.target = max(self._fetch.target, target)
        if idle and self.is_fetching():
            self.timers.asking_since = self.timers.now
            self._ask(source)

    def is_fetching(self) -> bool:
        """Something is missing here and was asked for."""
        return self._fetch.target > self.log.committed_upto

    def ask_again(self) -> None:
        """Whoever was asked may be gone: after a while ask the next one, from the start.

        A replica may hear of what it lacks by one link and never get it by another: when all were
        asked in vain twice it waits ever longer, though a round of all takes no longer than an
        election time-out.
        """
        fetch = self._fetch
        if self._is_installing():
            return  # it has what it asked for, and asks for more when that is on its disk
        if self.timers.now >= self.timers.fetch:
            fetch.forget_pieces()
            later = [r for r in self.peers if r > fetch.source]
            self._ask(later[0] if later else self.peers[0])

    def _ask(self, source: ReplicaId) -> None:
        timers, usual = self.timers, 2 * self.settings.heartbeat
        in_vain = (timers.now - timers.asking_since) // (2 * len(self.peers))
        longest = self.settings.election_timeout[1] // len(self.peers)
        timers.fetch = timers.now + max(usual, min(in_vain, longest))
        self._fetch.source = source
        self.outbox.early(source, self._fetch.question(self.log.committed_upto))

    def ask_all(self) -> None:
        """Whoever has something committed answers."""
        self._fetch.forget_pieces()
        self.outbox.early_all(self._fetch.question(self.log.committed_upto))

    def answer(self, source: ReplicaId, question: CatchUp) -> None:
        """Give what was asked for, if there is anything."""
        if question.piece > 0:
            until = self.timers.now + self.settings.prepare_pause
            self.timers.reading_until[source] = until
        answer = self._library.answer(source, question, self.log, self.checkpoint)
        if answer is not None:
            self.outbox.early(source, answer)

    def lend_a_hand(self, candidate: ReplicaId, committed_upto: Slot) -> None:
        """Who stands against a leader that others hear does not hear it, perhaps for long.

        Its PREPARE tells what it lacks, which may reach it all the same by another link.
        """
        lacks = committed_upto < self.log.committed_upto
        # Who takes a checkpoint piece by piece would begin anew with another one.
        if lacks and self.timers.now >= self.timers.reading_until.get(candidate, 0):
            self.answer(candidate, CatchUp(committed_upto + 1))

    def lacks(self, state: State) -> bool:
        """A backup: it begins where this replica ends, and goes on.

        Else it is a copy, or late: asking for more on it would double every question.
        """
        committed = self.log.committed_upto
        return self.lead is None and state.first_slot <= committed + 1 < state.first_slot + len(
            state.requests
        )

    def take_piece(self, source: ReplicaId, message: StatePiece) -> None:
        """A piece of a checkpoint arrived; the last one installs it."""
        if self.lead is not None or message.checkpoint_slot <= self.log.committed_upto:
            return
        if self._is_installing():
            return
        asked_for = self._fetch.checkpoint_slot, len(self._fetch.pieces)
        whole = self._fetch.take_piece(source, message)
        if whole is not None:
            checkpoint = checkpoints.decode(whole, self.machine.ledger.accounts)
            if checkpoint is None or checkpoint.slot != message.checkpoint_slot:
                self.outbox.tell(RefusedCheckpoint(source))
                return
            self.taken = None
            self._write(Writing(checkpoint.state, self._on_disk, checkpoint.hashes))
        elif asked_for == (self._fetch.checkpoint_slot, len(self._fetch.pieces)):
            return  # a piece that was not asked for
        self._fetch.source = source
        self.go_on_fetching(source, message.committed_upto)

    def go_on_fetching(self, source: ReplicaId, committed_upto: Slot) -> None:
        """After a STATE from `source`: ask it for more while it has more."""
        self.timers.asking_since = self.timers.now
        if not self.is_fetching() or self._fetch.source == source:
            self._fetch.target = max(self._fetch.target, committed_upto)
            if self.is_fetching() and not self._is_installing():
                self._ask(source)

    def _is_installing(self) -> bool:
        return self.writing is not None and self.writing.installs

    def _install(self, checkpoint: Checkpoint) -> None:
        """Another replica's checkpoint: its pages are written, or will be with this turn."""
        self.outbox.tell(InstalledCheckpoint(checkpoint.slot))
        self.log.restart_at(checkpoint.slot)
        self._restart_at(checkpoint)
        self.history.restart_at(checkpoint.slot, checkpoint.running_hash)
        self._weigh_history()
        self._execute()

    def _restart_at(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.machine = Machine(checkpoint.balances, checkpoint.sessions)

    def save_watermark(self) -> None:
        """Store the committed watermark with this turn although nothing else may need storing.

        Called at the heartbeat's pace, or when somebody looks. With every write of the log it
        would dirty one more page a turn, and in a transaction of its own cost even more.
        """
        if self.log.committed_upto > self.saved_upto:
            self.marks_changed = True

    # ---- checkpoints ---------------------------------------------------------------------------

    def _on_boundary(self, slot: Slot) -> None:
        """A multiple of the checkpoint interval was executed."""
        for peer, answer in self.history.note(slot):
            self.outbox.early(peer, answer)
        self._weigh_history()
        if self._is_checkpoint_due(slot):
            self.timers.checkpoint = self.timers.now + self.settings.checkpoint_pause
            self.timers.question = self.timers.now
            self._take_checkpoint(slot)
            self.ask_for_confirmation()

    def _is_checkpoint_due(self, slot: Slot) -> bool:
        """After the pause, each replica in its own part of it: else all stop at the same moment.

        Not while one is in question, or the answers would come too late for each; unless nobody
        can answer any more, because all the others are too far ahead. Not while one is written.
        """
        if self.writing is not None or not self._is_worth_it(slot):
            return False
        pause, replicas = self.settings.checkpoint_pause, len(self.peers) + 1
        late = self.timers.now - self.timers.checkpoint
        questions = QUESTIONS * max(pause, self.settings.heartbeat)
        if self.taken is not None and late + pause < questions:
            return False
        if not 0 <= late < pause:
            return late >= pause
        return self.timers.now * replicas // pause % replicas == self.replica - 1

    def _is_worth_it(self, slot: Slot) -> bool:
        """There was as much to do as a checkpoint of so many accounts is; see `Sizes.page_slots`.

        From then on each replica in its own part of as many slots, for the same reason as above.
        """
        least = self.settings.sizes.page_slots * (self.machine.ledger.accounts.pages - 1)
        last = self._on_disk.slot if self.taken is None else self.taken.slot
        if slot - last < least:
            return False
        if least <= self.settings.checkpoint_interval or slot - last >= 2 * least:
            return True
        replicas = len(self.peers) + 1
        return slot * replicas // least % replicas == self.replica - 1

    def _take_checkpoint(self, slot: Slot) -> None:
        running_hash = self.history.current
        self.taken = checkpoints.snapshot(slot, running_hash, self.machine, self._on_disk)

    def ask_for_confirmation(self) -> None:
        """Tell all others the hash at the checkpoint in question, until a majority has the same.

        At the heartbeat's pace, but ever less often: others may have forgotten the slot, and where
        nothing is executed there is no newer one to ask about.
        """
        taken, times = self.taken, self.timers
        if taken is None:
            self._truncate()  # what spare backups were not told before
        elif self.history.is_confirmed(taken.slot):
            self._confirm_checkpoint(taken)
        elif times.now >= times.question:
            asked_for = times.now - (times.checkpoint - self.settings.checkpoint_pause)
            times.question = times.now + min(asked_for, QUESTION_PAUSE * self.settings.heartbeat)
            known = self.history.confirmed_upto
            silent = tuple(peer for peer in self.peers if known.get(peer, 0) < taken.slot)
            question = self.history.word(taken.slot, taken.running_hash, answer=False)
            self.outbox.effects.early.append(Send(silent, question))

    def hear_hash(self, source: ReplicaId, message: CheckpointHash) -> None:
        """A peer tells its running hash, and perhaps asks for this replica's."""
        answer = self.history.hear(source, message)
        if answer is not None:
            self.outbox.early(source, answer)
        self._weigh_history()

    def _weigh_history(self) -> None:
        """Something was learnt of others' hashes. A difference is seen to when the turn ends."""
        if self.taken is not None and self.history.is_confirmed(self.taken.slot):
            self._confirm_checkpoint(self.taken)

    def _confirm_checkpoint(self, taken: Snapshot) -> None:
        """A majority has the same history: this is the checkpoint to store."""
        self.taken = None
        if self.lead is not None:
            # So that it is known to those who hear nobody else, and to who is in the minority.
            word = self.history.word(taken.slot, taken.running_hash, answer=True)
            self.outbox.early_all(word)
        self._write(Writing(taken, self._on_disk))

    # ---- writing it ----------------------------------------------------------------------------

    def _write(self, writing: Writing) -> None:
        """Store this checkpoint: with this turn when it is small, else some pages with each."""
        self.writing = writing
        self.go_on_writing()

    def go_on_writing(self) -> bool:
        """Some more pages go with this turn, and with the last it counts. True: it is installed."""
        writing, turn_pages = self.writing, self.settings.sizes.turn_pages
        if writing is None or self._to_store is not None:
            return False
        if len(writing.left) > turn_pages:
            self._to_store = Pages(writing.state.slot, writing.take(turn_pages)), None, ()
            return False
        self.writing, overtaken = None, writing.state.slot <= self.log.committed_upto
        if writing.installs and (overtaken or self.lead is not None):
            return False  # by entries that came another way
        pages, before = writing.take(turn_pages), self._on_disk
        self._on_disk = checkpoint = writing.sealed()
        known = set(before.sessions)
        sessions = [session for session in checkpoint.sessions if session not in known]
        self._to_store = Pages(checkpoint.slot, pages), checkpoint, sessions
        if writing.installs:
            self._install(checkpoint)
        else:
            self.checkpoint = checkpoint
            self._truncate()  # the log below may go now
        return writing.installs

    def go_on(self) -> bool:
        """A turn later: some more of what does not go at once. True: a checkpoint is installed."""
        if self.truncates:
            self._truncate()
        installed = self.writing is not None and self.go_on_writing()
        if installed:
            self.go_on_fetching(self._fetch.source, self._fetch.target)
        return installed

    def to_store(self) -> tuple[Pages | None, Checkpoint | None, Sequence[Session]]:
        """At the end of a turn: pages and the checkpoint that are to be stored with it."""
        stored, self._to_store = self._to_store, None
        return (None, None, ()) if stored is None else stored

    def _truncate(self) -> None:
        """Forget slots that are old enough, and that nobody needs to be sent for the first time."""
        if self.checkpoint is None:
            return
        told_upto = self.log.last_slot if self.lead is None else self.lead.spare_upto
        upto = min(self.checkpoint.slot - self.settings.keep_slots, told_upto)
        truncated = self.log.truncated_upto
        self.truncates = upto > truncated + self.settings.sizes.turn_slots  # more next time
        if upto > truncated:
            self.log.truncate(min(upto, truncated + self.settings.sizes.turn_slots))
            self.marks_changed = True

    def recover(self, stored: Stored) -> None:
        """Become what the disk says is committed, and hold the rest of its rows."""
        log, checkpoint = self.log, stored.checkpoint
        if checkpoint is not None:
            self._on_disk = checkpoint
            self._restart_at(checkpoint)
            at, sizes = (checkpoint.slot, checkpoint.running_hash), self.settings.sizes
            self.history = HistoryHash(self.replica, self.quorum, *at, sizes)
        # Rows between the truncation and the checkpoint are there but executed already.
        log.truncated_upto = stored.truncated_upto
        for slot, ballot, request in stored.entries:
            log.accept(slot, ballot, (request,))
        log.executed_upto = log.committed_upto = checkpoint.slot if checkpoint is not None else 0
        self.commit(max(stored.committed_upto, log.committed_upto))
        self.outbox.effects.executed.clear()  # executed before: nobody is to be told again
