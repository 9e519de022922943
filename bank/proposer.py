"""What a leader proposes, whom it sends that to and when, and which answers make it chosen.

Rules 3, 4, 7 and 13 of docs/protocol.md, from the leader's side. How it came to lead is
`elector.Elector`'s, what backups do on its word `replica.Replica`'s.
"""

from bank.ballot import Ballot, ReplicaId, Slot
from bank.effects import Run, Send
from bank.elector import Elector
from bank.events import AskedSpare, ChosePrompt, Reason
from bank.leadership import Leadership
from bank.messages import Accept, Accepted, Commit, Heartbeat
from bank.sessions import Request


class Proposer(Elector):
    """The part of a replica that fills slots in its own ballot and commits them."""

    def _accept_run(self, first_slot: Slot, ballot: Ballot, requests: tuple[Request, ...]) -> None:
        """Hold a run in `ballot` and store it, executed slots included: they are votes again."""
        skipped = self.log.accept(first_slot, ballot, requests)
        if skipped:
            first_slot, requests = first_slot + skipped, requests[skipped:]
        if requests:
            self._runs.append(Run(first_slot, ballot, requests))

    def _propose(self, lead: Leadership) -> None:
        """All new requests of this turn as one ACCEPT; else a COMMIT if one is due."""
        now = self._now
        if lead.spare_due is not None and lead.spare_due <= now:
            if self.log.committed_upto < lead.next_slot - 1:
                self._tell(AskedSpare())
            self._tell_spare(lead)
            self._choose_spare(lead)
        if lead.batch:
            self._propose_batch(lead)
        elif lead.commit_due is not None and lead.commit_due <= now:
            self._tell_spare(lead)
            self._early_all(Commit(lead.ballot, self.log.committed_upto))
            lead.commit_due, lead.busy_slots = None, 0

    def _propose_batch(self, lead: Leadership) -> None:
        first_slot, requests, sizes = lead.next_slot, tuple(lead.batch), self.settings.sizes
        lead.batch.clear()
        is_calm = lead.busy_slots < self.settings.spare_after
        to_all = not lead.spare or is_calm or len(requests) >= sizes.full_slots
        if to_all:
            self._tell_spare(lead)  # of what comes before it
        self._accept_run(first_slot, lead.ballot, requests)
        accept = Accept(lead.ballot, first_slot, requests, self.log.committed_upto)
        lead.next_slot += len(requests)
        lead.busy_slots += len(requests)
        lead.commit_due = None
        if to_all:
            self._early_all(accept)
            lead.spare_upto = lead.next_slot - 1
            if is_calm and lead.busy_slots >= self.settings.spare_after:
                self._choose_spare(lead)  # all had the same chance: who is behind is slow
            return
        self._effects.early.append(Send(lead.prompt, accept))
        if lead.next_slot - 1 - lead.spare_upto >= sizes.spare_slots:
            self._tell_spare(lead)
        elif lead.spare_due is None:
            lead.spare_due = self._now + self.settings.spare_pause

    def _choose_spare(self, lead: Leadership) -> None:
        if lead.choose_spare():
            self._tell(ChosePrompt(lead.prompt))

    def _tell_spare(self, lead: Leadership) -> None:
        """The spare backups get what was proposed since they were told last, as one ACCEPT."""
        first_slot = lead.spare_upto + 1
        lead.spare_upto, lead.spare_due = lead.next_slot - 1, None
        if first_slot < lead.next_slot:
            requests = tuple(self.log.requests(first_slot, lead.spare_upto))
            accept = Accept(lead.ballot, first_slot, requests, self.log.committed_upto)
            self._effects.early.append(Send(lead.spare, accept))

    def _told_upto(self) -> Slot:
        lead = self._leadership
        return self.log.last_slot if lead is None else lead.spare_upto

    # ---- heartbeats and answers ----------------------------------------------------------------

    def _tick_leader(self, lead: Leadership) -> None:
        if lead.is_given_up(self._now):
            self._step_down(Reason.UNANSWERED)
            return
        if self._now >= lead.heartbeat_due:
            lead.heartbeat_due = self._now + self.settings.heartbeat
            self._tell_spare(lead)  # else their answers would show something missing
            lead.heartbeats += 1
            if lead.heartbeats % self.settings.sizes.trial_heartbeats == 0:
                lead.busy_slots = 0  # for some slots all are asked again, and who is quick shows
            self._early_all(
                Heartbeat(lead.ballot, lead.first_slot, lead.next_slot - 1, self.log.committed_upto)
            )
            self._ask_for_confirmation()
            self.save_watermark()

    def _on_accepted(self, source: ReplicaId, message: Accepted) -> None:
        """Count a vote; send again what the answer to a heartbeat shows to be missing (rule 7)."""
        lead = self._leadership
        if lead is None:
            return
        lead.heard(source, self._now)
        committed = self.log.committed_upto
        is_new = lead.note_accepted(source, message.first_slot, message.last_slot, committed)
        if is_new and message.last_slot > committed:
            self._commit_chosen(lead)
        if not message.asked_upto:
            return
        first_slot = max(lead.accepted_upto[source], self.log.committed_upto) + 1
        most = first_slot + self.settings.sizes.piece_slots - 1
        last_slot = min(message.asked_upto, lead.next_slot - 1, most)
        if first_slot <= last_slot:
            requests = tuple(self.log.requests(first_slot, last_slot))
            self._early(source, Accept(lead.ballot, first_slot, requests, self.log.committed_upto))

    def _commit_chosen(self, lead: Leadership) -> None:
        chosen = lead.chosen_upto()
        if chosen > self.log.committed_upto:
            self._commit(chosen)
            if lead.commit_due is None:
                lead.commit_due = self._now + self.settings.commit_pause
            if lead.spare_due is not None:  # it goes on without the spare ones
                lead.spare_due = self._now + self.settings.spare_pause
