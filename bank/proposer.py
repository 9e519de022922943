"""What a leader proposes, whom it sends that to and when, and which answers make it chosen.

Rules 3, 4, 7 and 13 of docs/protocol.md, from the leader's side. How it came to lead, and when it
does no longer, is `elector.Elector`'s.
"""

from bank.acceptor import Acceptor
from bank.ballot import ReplicaId, Slot
from bank.effects import Send
from bank.events import AskedSpare, ChosePrompt
from bank.learner import Learner
from bank.messages import Accept, Accepted, Commit, Elected, Heartbeat
from bank.standing import Leader


class Proposer:
    """Fills slots in the ballot of the leader that it is given, and commits them."""

    def __init__(self, acceptor: Acceptor, learner: Learner) -> None:
        self._acceptor, self._learner = acceptor, learner
        self._settings, self._timers = learner.settings, learner.timers
        self._log, self._outbox = learner.log, learner.outbox

    def propose(self, lead: Leader) -> None:
        """All new requests of this turn as one ACCEPT; else a COMMIT if one is due."""
        timers, committed_upto = self._timers, self._log.committed_upto
        if timers.spare is not None and timers.spare <= timers.now:
            if committed_upto < lead.next_slot - 1:
                self._outbox.tell(AskedSpare())
            self._tell_spare(lead)
            self._choose_spare(lead)
        if lead.batch:
            self._propose_batch(lead)
        elif timers.commit is not None and timers.commit <= timers.now:
            self._tell_spare(lead)
            self._outbox.early_all(Commit(lead.ballot, committed_upto))
            timers.commit, lead.busy_slots = None, 0

    def _propose_batch(self, lead: Leader) -> None:
        first_slot, requests, settings = lead.next_slot, tuple(lead.batch), self._settings
        lead.batch.clear()
        is_calm = lead.busy_slots < settings.spare_after
        to_all = not lead.spare or is_calm or len(requests) >= settings.sizes.full_slots
        if to_all:
            self._tell_spare(lead)  # of what comes before it
        self._acceptor.accept(first_slot, lead.ballot, requests)
        accept = Accept(lead.ballot, first_slot, requests, self._log.committed_upto)
        lead.next_slot += len(requests)
        lead.busy_slots += len(requests)
        self._timers.commit = None
        if to_all:
            self._outbox.early_all(accept)
            lead.spare_upto = lead.next_slot - 1
            if is_calm and lead.busy_slots >= settings.spare_after:
                self._choose_spare(lead)  # all had the same chance: who is behind is slow
            return
        self._outbox.effects.early.append(Send(lead.prompt, accept))
        if lead.next_slot - 1 - lead.spare_upto >= settings.sizes.spare_slots:
            self._tell_spare(lead)
        elif self._timers.spare is None:
            self._timers.spare = self._timers.now + settings.spare_pause

    def _choose_spare(self, lead: Leader) -> None:
        if lead.choose_spare():
            self._outbox.tell(ChosePrompt(lead.prompt))

    def _tell_spare(self, lead: Leader) -> None:
        """The spare backups get what was proposed since they were told last, as one ACCEPT."""
        first_slot = lead.spare_upto + 1
        lead.spare_upto, self._timers.spare = lead.next_slot - 1, None
        if first_slot < lead.next_slot:
            accept = self._accept(lead, first_slot, lead.spare_upto)
            self._outbox.effects.early.append(Send(lead.spare, accept))

    def _accept(self, lead: Leader, first_slot: Slot, last_slot: Slot) -> Accept:
        """Slots that were proposed before, again."""
        requests = tuple(self._log.requests(first_slot, last_slot))
        return Accept(lead.ballot, first_slot, requests, self._log.committed_upto)

    # ---- heartbeats and answers ----------------------------------------------------------------

    def beat(self, lead: Leader) -> None:
        """A heartbeat, when it is due; with a LEADER until clients have heard of one."""
        timers = self._timers
        if timers.now >= timers.heartbeat:
            timers.heartbeat = timers.now + self._settings.heartbeat
            self._tell_spare(lead)  # else their answers would show something missing
            lead.heartbeats += 1
            if lead.heartbeats % self._settings.sizes.trial_heartbeats == 0:
                lead.busy_slots = 0  # for some slots all are asked again, and who is quick shows
            self._outbox.early_all(
                Heartbeat(
                    lead.ballot, lead.first_slot, lead.next_slot - 1, self._log.committed_upto
                )
            )
            if not lead.is_known:
                self._outbox.effects.elected = Elected(lead.ballot)
            self._learner.ask_for_confirmation()
            self._learner.save_watermark()

    def count(self, lead: Leader, source: ReplicaId, message: Accepted) -> None:
        """Count a vote; send again what the answer to a heartbeat shows to be missing (rule 7)."""
        lead.heard(source)
        committed = self._log.committed_upto
        is_new = lead.note_accepted(source, message.first_slot, message.last_slot, committed)
        if is_new and message.last_slot > committed:
            self.commit_chosen(lead)
        if not message.asked_upto:
            return
        first_slot = max(lead.accepted_upto[source], self._log.committed_upto) + 1
        most = first_slot + self._settings.sizes.piece_slots - 1
        last_slot = min(message.asked_upto, lead.next_slot - 1, most)
        if first_slot <= last_slot:
            self._outbox.early(source, self._accept(lead, first_slot, last_slot))

    def commit_chosen(self, lead: Leader) -> None:
        """Commit what a quorum holds by now, and have it told."""
        chosen = lead.chosen_upto()
        if chosen > self._log.committed_upto:
            self._learner.commit(chosen)
            timers = self._timers
            if timers.commit is None:
                timers.commit = timers.now + self._settings.commit_pause
            if timers.spare is not None:  # it goes on without the spare ones
                timers.spare = timers.now + self._settings.spare_pause
