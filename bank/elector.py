"""Who leads: promises, time-outs, candidacies, and the changes between the three roles.

Everything here is about ballots and time; what a leader does with its ballot is
`proposer.Proposer`'s, what a backup does on a leader's word `replica.Replica`'s. Rules 1, 2, 8, 9
and 11 of docs/protocol.md.
"""

from collections.abc import Mapping
from random import Random

from bank.ballot import NO_BALLOT, Ballot, ClientId, ReplicaId
from bank.catch_up import left_out_of_ack
from bank.effects import Send
from bank.election import Candidacy
from bank.leadership import Leadership
from bank.learner import Learner
from bank.messages import CatchUp, Nack, PeerDown, Prepare, Promise
from bank.sessions import Request
from bank.settings import Settings
from bank.status import Role

MOST_DOUBLINGS = 5  # of a candidate's pause, before its upper bound
MOST_RENEWALS = 1  # after the first PREPARE; further ones are no reason to go on waiting


class Elector(Learner):
    """The part of a replica that promises, keeps quiet, stands, and steps down."""

    def __init__(
        self,
        replica: ReplicaId,
        replicas: int,
        settings: Settings,
        random: Random,
        balances: Mapping[str, int],
        now: int,
    ) -> None:
        super().__init__(replica, replicas, settings, balances, now)
        self._random = random
        self.promised = NO_BALLOT  # accepts nothing below; never decreases; durable before a word
        self.seen = 0  # highest ballot number promised, used or seen; never decreases; durable
        self._awaiting = False  # promised to a candidate whose NEW-VIEW may still come
        self._awaited = NO_BALLOT  # the candidate promised last, and how often it asked again
        self._repeats = 0
        self._in_vain = 0  # PREPAREs answered since it last followed or led, whoever sent them
        self._stood = False  # took a number since it last led; the next has to be asked for
        self._expiry: int | None = None  # election timer; None before the first word of anyone
        self._inquiry_due = now + settings.prepare_pause  # when it asks around, hearing nothing
        self._not_before = now  # no own PREPARE earlier than this
        self._prepare_seen_at: int | None = None
        self._kept: tuple[ReplicaId, Prepare] | None = None  # highest PREPARE while settled
        self._candidacy: Candidacy | None = None
        self._leadership: Leadership | None = None
        # Newest request per client while there is no leader, and whether a backup relayed it.
        self._waiting: dict[ClientId, tuple[Request, bool]] = {}
        # Newest request per client that was relayed to the leader followed: it may die unread.
        self._relayed: dict[ClientId, Request] = {}
        self._promise_changed = False  # `promised` or `seen` is to be stored

    # ---- roles ---------------------------------------------------------------------------------

    def leads_answered(self) -> bool:
        """True for a leader that a quorum, itself included, answered within its time-out."""
        return self._leadership is not None and self._leadership.is_answered(self._now)

    def _step_down(self, why: str) -> None:
        """Lead or stand no longer. The ballot is never led again: the next one has a new number."""
        self._note(why)
        if (lead := self._leadership) is not None:
            # What it proposed may be lost with its ballot: the next leader is asked as well.
            proposed = self.log.requests(self.log.committed_upto + 1, lead.next_slot - 1)
            for request in (*proposed, *lead.batch):
                if request[0]:
                    self._keep(request, relayed=False)
        self._leadership = self._candidacy = None
        self.role = Role.FOLLOWER
        self._settled = self._awaiting = False
        self._expiry = self._now + self._draw_timeout()

    def _keep(self, request: Request, relayed: bool) -> None:
        held = self._waiting.get(request[0])
        if held is None or request[1] > held[0][1] or (request[1] == held[0][1] and not relayed):
            self._waiting[request[0]] = (request, relayed)

    def _take_back(self) -> None:
        """Another leads, or nobody: what was relayed is this replica's to see to again (rule 10).

        The new leader's first word may be read before the notice that the old one died.
        """
        sessions = self._machine.sessions
        for client, request in self._relayed.items():
            known = sessions.get(client)
            if known is None or known[1] < request[1]:
                self._keep(request, relayed=False)
        self._relayed.clear()

    # ---- promises and time-outs ----------------------------------------------------------------

    def _raise_promise(self, ballot: Ballot) -> None:
        assert ballot > self.promised, f"promise {ballot} after {self.promised}"
        self.promised = ballot
        self._promise_changed = True
        self._see(ballot.number)

    def _see(self, number: int) -> None:
        if number > self.seen:
            self.seen = number
            self._promise_changed = True

    def _draw_timeout(self) -> int:
        low, high = self.settings.election_timeout
        return low + int(self._random.random() * (high - low))

    def _seek_leader(self) -> None:
        """Start an election soon, unless there is a leader or a candidate to wait for."""
        if self.role is Role.FOLLOWER and not self._settled and not self._awaiting:
            self._stand_at(self._now + self.settings.stagger * (self.replica - 1))

    def _stand_at(self, at: int) -> None:
        at = max(at, self._not_before)
        self._expiry = at if self._expiry is None else min(self._expiry, at)

    def _expire(self) -> None:
        """The election timer ran out (rule 8)."""
        self._settled = self._awaiting = False
        self._expiry = self._now + self._draw_timeout()
        if self._kept is not None:
            self._answer_kept()
        elif (candidacy := self._candidacy) is not None:
            if candidacy.outbid and candidacy.is_answered(self.quorum):
                self._campaign()
            else:
                candidacy.pauses += 1
                self._send_prepare(candidacy)
        elif self._in_vain > MOST_RENEWALS or not self._prepare_is_recent():
            self._stand()

    def _inquire(self) -> None:
        """Nobody ever spoke to this replica: is there nothing, or is it cut off from the leader?

        To stand would start an election where nobody asked for anything. A question costs nothing,
        and who has something committed answers it.
        """
        self._inquiry_due = self._now + self.settings.prepare_pause
        self._broadcast_catch_up()

    def _prepare_is_recent(self) -> bool:
        seen_at = self._prepare_seen_at
        return seen_at is not None and self._now - seen_at < self.settings.prepare_quiet

    def _stand(self) -> None:
        """Become a candidate: in a new ballot if that is the first, else when a quorum answers.

        A PREPARE with number 0 asks for that: nobody promises it, and whoever follows no leader
        answers with a NACK. So ballots rest where nobody can lead, and where somebody does.
        """
        if self._stood or self._in_vain > MOST_RENEWALS:
            self._note("asks who is without a leader")
            self.role = Role.CANDIDATE
            self._candidacy = Candidacy(Ballot(0, self.replica), outbid=True)
            self._send_prepare(self._candidacy)
        else:
            self._campaign()

    def _campaign(self) -> None:
        """Become a candidate in a ballot above everything ever promised, used or seen."""
        ballot = Ballot(self.seen + 1, self.replica)
        self._stood = True
        self._raise_promise(ballot)
        self._note(f"candidate in {ballot}")
        self.role = Role.CANDIDATE
        self._settled = self._awaiting = False
        self._kept = None
        self._candidacy = Candidacy(ballot)
        self._send_prepare(self._candidacy)

    def _send_prepare(self, candidacy: Candidacy) -> None:
        """PREPARE to all, in the same ballot however often; pauses double while nobody answers."""
        candidacy.asks = candidacy.outbid
        candidacy.answered.clear()
        prepare = Prepare(candidacy.ballot, self.log.committed_upto)
        self._effects.durable.append(Send(self.peers, prepare))
        pause = self._draw_timeout() << min(candidacy.pauses, MOST_DOUBLINGS)
        self._expiry = self._now + min(pause, self.settings.prepare_pause)

    def _stand_before(self, source: ReplicaId) -> None:
        """A peer asks to catch up, so it is back: no need to wait for the next PREPARE's pause."""
        candidacy = self._candidacy  # who only asks would be a rival of who can win
        if candidacy is not None and candidacy.ballot.number and source not in candidacy.promises:
            self._durable(source, Prepare(candidacy.ballot, self.log.committed_upto))

    def _on_prepare(self, source: ReplicaId, prepare: Prepare) -> None:
        """Answer a PREPARE, or keep the highest without a word while settled (rule 8)."""
        self._prepare_seen_at = self._now
        self._see(prepare.ballot.number)
        if prepare.ballot == self.following:
            return  # a late copy: its NEW-VIEW was here before
        if self._leadership is not None and self._leadership.is_answered(self._now):
            self._lend_a_hand(source, prepare)
            return  # a healthy leader is its own leader: nobody returning deposes it
        if self._settled and source != self.following.replica:
            self._lend_a_hand(source, prepare)
            if self._kept is None or prepare.ballot > self._kept[1].ballot:
                self._kept = (source, prepare)
            return
        self._answer(source, prepare)

    def _lend_a_hand(self, source: ReplicaId, prepare: Prepare) -> None:
        """Who stands against a leader that others hear does not hear it, perhaps for long.

        Its PREPARE tells what it lacks, which may reach it all the same by another link.
        """
        lacks = prepare.committed_upto < self.log.committed_upto
        # Who takes a checkpoint piece by piece would begin anew with another one.
        reads = self._now - self._read_at.get(source, -self.settings.prepare_pause)
        if lacks and reads >= self.settings.prepare_pause:
            self._on_catch_up(source, CatchUp(prepare.committed_upto + 1))

    def _answer_kept(self) -> None:
        assert self._kept is not None
        source, prepare = self._kept
        self._kept = None
        self._answer(source, prepare)

    def _answer(self, source: ReplicaId, prepare: Prepare) -> None:
        if prepare.ballot < self.promised or prepare.ballot.number == 0:
            self._early(source, Nack(self.promised))
        else:
            self._promise(source, prepare)

    def _promise(self, source: ReplicaId, prepare: Prepare) -> None:
        """ACK. The accept-log is read after the promise was raised: nothing can be added below."""
        if prepare.ballot > self.promised:
            self._raise_promise(prepare.ballot)
            if self.role is not Role.FOLLOWER:
                self._step_down("deposed")
        self._settled, self._awaiting = False, True
        self._repeats = self._repeats + 1 if prepare.ballot == self._awaited else 0
        self._awaited = prepare.ballot
        self._in_vain += 1
        if self._in_vain <= 1 + MOST_RENEWALS:
            self._expiry = self._now + self._next_pause_at_most() + self._draw_timeout()
        log = self.log
        left_out = left_out_of_ack(log, self.settings.sizes.piece_slots)
        accept_log = log.entries_above(max(prepare.committed_upto, left_out))
        self._durable(source, Promise(prepare.ballot, log.committed_upto, left_out, accept_log))

    def _next_pause_at_most(self) -> int:
        """How long the candidate that was promised last may pause before it asks again.

        Waiting for less, a replica without a quorum around it would stand itself between two of
        its PREPAREs. Waiting for ever, it would hang on the lips of one that is deaf.
        """
        longest = self.settings.election_timeout[1] << min(self._repeats, MOST_DOUBLINGS)
        return min(longest, self.settings.prepare_pause)

    def _on_peer_down(self, message: PeerDown) -> None:
        """A process died: if it led or stood, look for another at once (rule 11)."""
        if self.following.replica == message.peer:
            self._take_back()
        if self._kept is not None and self._kept[0] == message.peer:
            self._kept = None  # nobody is there to be answered, or would be waited for
            self._prepare_seen_at = None
        if self._leadership is not None:
            self._leadership.lost(message.peer, self._now)
        elif self._settled and self.following.replica == message.peer:
            self._settled = False
            if self._kept is not None:
                self._answer_kept()
            if not self._awaiting:
                self._stand_in_turn(message.peer)
        elif self._awaiting and self.promised.replica == message.peer:
            self._awaiting = False
            self._stand_in_turn(message.peer)

    def _stand_in_turn(self, dead: ReplicaId) -> None:
        """Stand a few milliseconds after the replicas before this one, so that none duel."""
        turn = sum(1 for r in self.peers if r < self.replica and r != dead)
        self._prepare_seen_at = None  # it was the dead one's: nobody needs to keep quiet for it
        self._stand_at(self._now + self.settings.stagger * turn)
