"""Who leads: promises, time-outs, candidacies, and every move from one standing to another.

Everything here is about ballots and time; what a leader does with its ballot is
`proposer.Proposer`'s, what a backup does on a leader's word `replica.Replica`'s. Rules 1, 2, 8, 9
and 11 of docs/protocol.md.
"""

from collections.abc import Sequence

from bank import election
from bank.acceptor import Acceptor
from bank.ballot import NO_BALLOT, Ballot, ReplicaId, Slot
from bank.effects import Send, Stored
from bank.events import AskedWhoIsFree, BecameCandidate, Leads, Reason, SteppedDown
from bank.learner import Learner
from bank.messages import Elected, Nack, NewView, Prepare, Promise
from bank.pending import Pending
from bank.sessions import Request
from bank.standing import Awaiting, Candidate, Idle, Leader, Settled, Standing
from bank.status import Role

MOST_DOUBLINGS = 5  # of a candidate's pause, before its upper bound
MOST_RENEWALS = 1  # after the first PREPARE; further ones are no reason to go on waiting


class Elector:
    """The part of a replica that promises, keeps quiet, stands, leads and steps down."""

    def __init__(self, acceptor: Acceptor, learner: Learner, pending: Pending) -> None:
        self._acceptor, self._learner, self._pending = acceptor, learner, pending
        self._replica, self._peers, self.quorum = learner.replica, learner.peers, learner.quorum
        self._settings, self._timers = learner.settings, learner.timers
        self._log, self._outbox = learner.log, learner.outbox
        self.standing: Standing = Idle()
        self.following = NO_BALLOT  # of the NEW-VIEW that it leads or follows; never decreases
        self._stood = False  # took a number since it last led; the next has to be asked for
        # Candidates promised since it last followed or led, the newest last.
        self.awaited: tuple[Ballot, ...] = ()

    # ---- following -----------------------------------------------------------------------------

    def follow(self, ballot: Ballot) -> None:
        """A message of the leader of `ballot`, which is not below the promise, was admitted."""
        standing, acceptor = self.standing, self._acceptor
        if isinstance(standing, Settled) and ballot == acceptor.promised == self.following:
            standing.kept = None  # the usual case
            self._timers.restart_election()
            return
        if ballot > acceptor.promised:
            self._raise_promise(ballot)
        elif standing.role is not Role.FOLLOWER:
            self.step_down(Reason.DEPOSED)
        if ballot != self.following:
            assert ballot > self.following, f"{ballot} after {self.following}"
            self.following = ballot
            self._pending.take_back()
        self.standing, self.awaited = Settled(), ()
        self._timers.restart_election()
        self._pending.relay_waiting(ballot.replica)

    def _raise_promise(self, ballot: Ballot) -> None:
        """Another's ballot is promised: whoever led or stood below it does no longer."""
        self._acceptor.raise_promise(ballot)
        if self.standing.role is not Role.FOLLOWER:
            self.step_down(Reason.DEPOSED)

    def install(
        self, first_slot: Slot, ballots: Sequence[Ballot], requests: Sequence[Request]
    ) -> None:
        """Commit entries that others know to be committed, whatever their ballot.

        Nothing is held above the promise: else an older leader could replace what is committed.
        Unlike the paper, a promise is raised here without its PREPARE: a quorum made it before.
        """
        if (highest := max(ballots)) > self._acceptor.promised:
            self._raise_promise(highest)
        self._acceptor.runs += self._log.install(first_slot, ballots, requests)
        # The watermark goes to disk with the rows: they may be in ballots never accepted here.
        self._learner.marks_changed = True
        self._learner.commit(first_slot + len(requests) - 1)

    # ---- time-outs -----------------------------------------------------------------------------

    def recover(self, stored: Stored) -> None:
        """A restarted replica is a backup that resumes no ballot (rule 1)."""
        self._acceptor.recover(stored)
        self._learner.recover(stored)
        self._return()

    def reconnect(self) -> None:
        """This replica hears the others again."""
        self.start_afresh()
        self._return()

    def _return(self) -> None:
        """Whoever returns asks all what it missed, and stands after a time-out at the earliest."""
        self._timers.not_before = self._timers.restart_election()
        self._learner.ask_all()

    def start_afresh(self) -> None:
        """What the clock says of others' silence proves nothing any more."""
        match self.standing:
            case Leader() as lead:
                lead.start_afresh()
            case Settled(kept):
                self.standing = Idle(kept)
        self._timers.asking_since = self._timers.now
        if self._timers.election is not None:
            self._timers.restart_election()

    def seek_leader(self) -> None:
        """Start an election soon, unless there is a leader or a candidate to wait for."""
        if isinstance(self.standing, Idle):
            self._timers.stand_after(self._settings.stagger * (self._replica - 1))

    def tick(self) -> None:
        """A backup or a candidate looks at the clock."""
        timers, learner = self._timers, self._learner
        if timers.election is not None:
            if timers.now >= timers.election:
                self._expire()
        elif timers.now >= timers.inquiry:
            # Nobody ever spoke to this replica: is there nothing, or is it cut off from the leader?
            # To stand would start an election where nobody asked for anything. A question costs
            # nothing, and who has something committed answers it.
            timers.inquiry = timers.now + self._settings.prepare_pause
            learner.ask_all()
        if learner.is_fetching():
            learner.ask_again()

    def _expire(self) -> None:
        """The election timer ran out (rule 8)."""
        self._timers.restart_election()
        match self.standing:
            case Candidate() as candidate:
                candidate.awaits = False
                if candidate.outbid and candidate.is_answered(self.quorum):
                    self._campaign()
                else:
                    candidate.pauses += 1
                    self._send_prepare(candidate)
            case Idle(kept) | Settled(kept) | Awaiting(kept):
                self.standing = Idle()
                if kept is not None:
                    self._answer(*kept)
                elif self._waits_in_vain() or self._timers.now >= self._timers.quiet_until:
                    self._stand()
            case Leader():
                raise AssertionError("a leader has no election timer")

    def _waits_in_vain(self) -> bool:
        """Candidates were promised, one of them or several, and none of them leads."""
        return len(self.awaited) > MOST_RENEWALS

    def lose(self, peer: ReplicaId) -> None:
        """A process died: if it led or stood, look for another at once (rule 11)."""
        if self.following.replica == peer:
            self._pending.take_back()
        match self.standing:
            case Idle((source, _)) | Settled((source, _)) | Awaiting((source, _)) if source == peer:
                self.standing.kept = None  # nobody is there to be answered, or would be waited for
                self._timers.quiet_until = 0
        promised = self._acceptor.promised
        match self.standing:
            case Leader() as lead:
                lead.lost(peer)
            case Settled(kept) if self.following.replica == peer:
                self.standing = Idle()
                if kept is not None:
                    self._answer(*kept)
                if isinstance(self.standing, Idle):
                    self._stand_in_turn(peer)
            case Awaiting(kept) if promised.replica == peer:
                self.standing = Idle(kept)
                self._stand_in_turn(peer)
            case Candidate(awaits=True) as candidate if promised.replica == peer:
                candidate.awaits = False
                self._stand_in_turn(peer)

    def _stand_in_turn(self, dead: ReplicaId) -> None:
        """Stand a few milliseconds after the replicas before this one, so that none duel."""
        turn = sum(1 for r in self._peers if r < self._replica and r != dead)
        self._timers.quiet_until = 0  # it was the dead one's: nobody needs to keep quiet for it
        self._timers.stand_after(self._settings.stagger * turn)

    # ---- promising -----------------------------------------------------------------------------

    def hear_prepare(self, source: ReplicaId, prepare: Prepare) -> None:
        """Answer a PREPARE, or keep the highest without a word while settled (rule 8)."""
        self._timers.quiet_until = self._timers.now + self._settings.prepare_quiet
        self._acceptor.see(prepare.ballot.number)
        if prepare.ballot == self.following:
            return  # a late copy: its NEW-VIEW was here before
        match self.standing:
            case Leader() as lead if lead.is_answered():
                # A healthy leader is its own leader: nobody returning deposes it.
                self._learner.lend_a_hand(source, prepare.committed_upto)
            case Settled() as settled if source != self.following.replica:
                self._learner.lend_a_hand(source, prepare.committed_upto)
                if settled.kept is None or prepare.ballot > settled.kept[1].ballot:
                    settled.kept = (source, prepare)
            case _:
                self._answer(source, prepare)

    def _answer(self, source: ReplicaId, prepare: Prepare) -> None:
        """ACK; NACK below the promise, and to who only asks who is without a leader."""
        acceptor, timers, settings = self._acceptor, self._timers, self._settings
        if prepare.ballot < acceptor.promised or prepare.ballot.number == 0:
            self._outbox.early(source, Nack(acceptor.promised))
            return
        if prepare.ballot > acceptor.promised:
            self._raise_promise(prepare.ballot)
        match self.standing:
            case Candidate() as candidate:
                candidate.awaits = True
            case Idle(kept) | Settled(kept) | Awaiting(kept):
                self.standing = Awaiting(kept)
            case Leader():
                raise AssertionError(f"{prepare.ballot} is promised, and a leader goes on")
        self.awaited = (*self.awaited[-1 - MOST_RENEWALS :], prepare.ballot)
        if len(self.awaited) <= 1 + MOST_RENEWALS:
            # As long as this candidate may pause before it asks again: waiting for less, a replica
            # without a quorum around it would stand itself between two of its PREPAREs. Waiting for
            # ever, it would hang on the lips of one that is deaf.
            longest = settings.election_timeout[1] << self.awaited.count(prepare.ballot) - 1
            timers.restart_election(min(longest, settings.prepare_pause))
        self._outbox.durable(source, acceptor.promise(prepare, settings.sizes.piece_slots))

    # ---- standing ------------------------------------------------------------------------------

    def _stand(self) -> None:
        """Become a candidate: in a new ballot if that is the first, else when a quorum answers.

        A PREPARE with number 0 asks for that: nobody promises it, and whoever follows no leader
        answers with a NACK. So ballots rest where nobody can lead, and where somebody does.
        """
        if self._stood or self._waits_in_vain():
            self._outbox.tell(AskedWhoIsFree())
            self.standing = Candidate(Ballot(0, self._replica), outbid=True)
            self._send_prepare(self.standing)
        else:
            self._campaign()

    def _campaign(self) -> None:
        """Become a candidate in a ballot above everything ever promised, used or seen."""
        ballot = Ballot(self._acceptor.seen + 1, self._replica)
        self._stood = True
        self._acceptor.raise_promise(ballot)
        self._outbox.tell(BecameCandidate(ballot))
        self.standing = Candidate(ballot)
        self._send_prepare(self.standing)

    def _send_prepare(self, candidate: Candidate) -> None:
        """PREPARE to all, in the same ballot however often; pauses double while nobody answers."""
        candidate.asks = candidate.outbid
        candidate.answered.clear()
        prepare = Prepare(candidate.ballot, self._log.committed_upto)
        self._outbox.effects.durable.append(Send(self._peers, prepare))
        pause = self._timers.draw_timeout() << min(candidate.pauses, MOST_DOUBLINGS)
        self._timers.election = self._timers.now + min(pause, self._settings.prepare_pause)

    def stand_before(self, source: ReplicaId) -> None:
        """A peer asks to catch up, so it is back: no need to wait for the next PREPARE's pause."""
        match self.standing:  # who only asks would be a rival of who can win
            case Candidate(ballot) as one if ballot.number and source not in one.promises:
                prepare = Prepare(ballot, self._log.committed_upto)
                self._outbox.durable(source, prepare)

    def hear_nack(self, source: ReplicaId, message: Nack) -> None:
        """Somebody promised a higher ballot (rule 9)."""
        self._acceptor.see(message.promised.number)
        match self.standing:
            case Candidate() as candidate:
                if message.promised > candidate.ballot and not candidate.outbid:
                    candidate.outbid = True
                    self._timers.stand_after(self._settings.election_timeout[1])  # and no later
                self._note_answer(candidate, source)
            case Leader() as lead if message.promised > lead.ballot:
                if lead.is_answered():
                    self.step_down(Reason.PREPARES_ABOVE)
                    self._campaign()
                else:
                    self.step_down(Reason.OUTBID)

    def hear_promise(self, source: ReplicaId, promise: Promise) -> None:
        """An ACK for the ballot that this replica stands in, or leads already."""
        match self.standing:
            case Leader() as lead:
                lead.heard(source)
            case Candidate() as candidate:
                candidate.promises[source] = promise
                if promise.truncated_upto > self._log.committed_upto:
                    self._learner.want(promise.committed_upto, source)
                self.lead_if_elected()
                if self.standing is candidate:
                    self._note_answer(candidate, source)

    def _note_answer(self, candidate: Candidate, source: ReplicaId) -> None:
        """A candidate that was outbid takes a new number when a quorum answers (rule 8)."""
        candidate.answered.add(source)
        if candidate.asks and candidate.is_answered(self.quorum):
            self._campaign()

    # ---- leading -------------------------------------------------------------------------------

    def lead_if_elected(self) -> None:
        """With a quorum of promises: become the leader and open the NEW-VIEW (rules 2 and 3)."""
        candidate, log = self.standing, self._log
        if not isinstance(candidate, Candidate):
            return
        if not candidate.has_quorum(self.quorum, log.committed_upto):
            return
        promises = candidate.counted(log.committed_upto)
        logs = [p.accept_log for p in promises] + [log.entries_above(log.committed_upto)]
        merged = election.merge(logs, log.committed_upto)
        # What the promises marked as committed: a gapless prefix above the watermark.
        if known := [merged[slot] for slot in sorted(merged) if merged[slot].committed]:
            self.install(known[0].slot, [e.ballot for e in known], [e.request for e in known])
        first_slot = log.committed_upto + 1
        requests = election.fill(merged, first_slot)
        self._outbox.tell(Leads(candidate.ballot))
        quick = tuple(candidate.promises)[: self.quorum - 1]
        lead = Leader(
            candidate.ballot,
            first_slot,
            first_slot + len(requests),
            self._peers,
            self._timers.draw_timeout(),
            self._timers,
            quick if self._settings.spare_pause else self._peers,
        )
        self.standing = self._learner.lead = lead
        self.following, self._timers.election = lead.ballot, None
        self._stood, self.awaited = False, ()
        for peer in candidate.promises:
            lead.heard(peer)
        for client, timestamp, *_ in requests:
            lead.in_flight[client] = max(timestamp, lead.in_flight.get(client, 0))
        self._acceptor.accept(first_slot, lead.ballot, requests)
        self._outbox.early_all(NewView(lead.ballot, first_slot, requests, first_slot - 1))
        self._outbox.effects.elected = Elected(lead.ballot)
        self._pending.propose_waiting(lead)

    def step_down(self, reason: Reason) -> None:
        """Lead or stand no longer. The ballot is never led again: the next one has a new number."""
        self._outbox.tell(SteppedDown(reason))
        if isinstance(lead := self.standing, Leader):
            # What it proposed may be lost with its ballot: the next leader is asked as well.
            proposed = self._log.requests(self._log.committed_upto + 1, lead.next_slot - 1)
            for request in (*proposed, *lead.batch):
                if request[0]:
                    self._pending.keep(request, relayed=False)
        self.standing, self._learner.lead = Idle(), None
        self._timers.restart_election()
