"""One replica of the bank: stable-leader Multi-Paxos as a value machine.

    replica.step(source, message, now)   one message was read
    replica.tick(now)                    time has passed
    replica.deadline()                   when it wants to be ticked at the latest
    replica.flush() -> Effects           end of the turn: what to store and send
    replica.stored()                     the turn's writes are committed

It never performs an effect, never sends to itself, and decides nothing that its disk does not
back: its own votes count from `stored()` on. `now` is microseconds of a clock that never goes
back. Rules are those of docs/protocol.md; where this leaves the paper ("Paxos Made Simple"),
a comment says so.

It is made of parts, which never see this class: an acceptor and a learner over one log, an elector
that moves between standings, a proposer for the one that leads, clients' requests, timers, and the
outbox that gathers what a turn asks for.

What must change together: a new message needs a place in `messages`, in the gate and the match of
`step`, and a row in the table of what is durable when it leaves.
"""

from collections.abc import Iterable, Mapping
from random import Random
from typing import assert_never

from bank.acceptor import Acceptor
from bank.ballot import Ballot, ReplicaId, Slot
from bank.effects import Effects, Outbox, Persist, Stored
from bank.elector import Elector
from bank.events import Follows, Reason
from bank.learner import Learner
from bank.log import Log
from bank.messages import (
    Accept,
    Accepted,
    CatchUp,
    CheckpointHash,
    ClientRequest,
    Commit,
    Elected,
    Heartbeat,
    Message,
    Nack,
    NewView,
    PeerDown,
    Prepare,
    Promise,
    Reply,
    State,
    StatePiece,
)
from bank.pending import Pending
from bank.proposer import Proposer
from bank.settings import Settings
from bank.standing import Candidate, Leader, Standing
from bank.status import ReplicaStatus, Role, SlotStatus
from bank.timers import Timers

CLIENT: ReplicaId = 0  # the source of what a client sends


class Replica:
    """See the module. `balances` is the state before slot 1, the same at every replica."""

    def __init__(
        self,
        replica: ReplicaId,
        replicas: int,
        settings: Settings,
        random: Random,
        balances: Mapping[str, int],
        stored: Stored | None = None,
        now: int = 0,
    ) -> None:
        """A fresh replica, or with `stored` (even an empty one) a restarted one."""
        self.replica, self.settings = replica, settings
        self.peers = tuple(r for r in range(1, replicas + 1) if r != replica)
        self.halted: str | None = None  # why its process ends
        self.log, self.outbox = Log(), Outbox(self.peers)
        self.timers = Timers(settings, random, now, now, now + settings.prepare_pause, now)
        self.acceptor = Acceptor(self.log)
        self.learner = learner = Learner(
            replica, balances, settings, self.log, self.outbox, self.timers
        )
        self.pending, self.proposer = Pending(learner), Proposer(self.acceptor, learner)
        self.elector = Elector(self.acceptor, learner, self.pending)
        self._longest_idle = settings.election_timeout[1] + settings.heartbeat  # between turns
        self._unstored: tuple[Ballot, Slot] | None = None  # own votes in the turn being stored
        if stored is not None:
            self.elector.recover(stored)

    # ---- one turn ------------------------------------------------------------------------------

    def step(self, source: ReplicaId, message: Message, now: int) -> None:
        """Take one message from `source` (CLIENT for a client), read at `now`."""
        if now != self.timers.now:
            self._enter(now)
        # The gate: the one place where a message's ballot is held against the promise. Not
        # compared: REQUEST, CATCH-UP, STATE, CHECKPOINT and DOWN speak of no ballot or of what is
        # committed in any; NACK exists to tell of a higher one. PREPARE is compared when it is
        # answered, which a settled replica puts off.
        promised = self.acceptor.promised
        match message:  # the most frequent first, here and below
            case ClientRequest():
                pass
            case Accepted() | Promise():
                # Exactly this ballot, mine, and not given up: anything else is stale.
                if message.ballot != promised or promised.replica != self.replica:
                    return
            case Accept() | Heartbeat() | Commit() | NewView():
                if message.ballot < promised:
                    self.outbox.early(source, Nack(promised))
                    return
                self.elector.follow(message.ballot)
        match message:
            case ClientRequest():
                elector = self.elector
                if source == CLIENT and isinstance(lead := elector.standing, Leader):
                    lead.is_known = True
                if self.pending.take(message, elector.standing, elector.following.replica):
                    elector.seek_leader()
            case Accept():
                self.acceptor.accept(message.first_slot, message.ballot, message.requests)
                self.acceptor.owe(message.ballot, message.committed_upto, 0)
                # One by one they would cost a fifth of this turn, and hold up its ACCEPTED; a
                # COMMIT or a heartbeat tells of the last ones.
                if message.committed_upto >= self.log.committed_upto + self.settings.learn_slots:
                    self.learner.learn(message.ballot, message.committed_upto)
            case Accepted():
                if isinstance(lead := self.elector.standing, Leader):
                    self.proposer.count(lead, source, message)
            case Commit():
                self.learner.learn(message.ballot, message.committed_upto)
            case Heartbeat():
                self.acceptor.owe(message.ballot, message.committed_upto, message.last_slot)
                self.learner.learn(message.ballot, message.committed_upto)
                self.learner.ask_for_confirmation()
                self.learner.save_watermark()
            case Prepare():
                self.elector.hear_prepare(source, message)
            case Promise():
                self.elector.hear_promise(source, message)
            case NewView():
                self.outbox.tell(Follows(message.ballot))
                self.acceptor.accept(message.first_slot, message.ballot, message.requests)
                self.acceptor.owe(message.ballot, message.committed_upto, 0)
                self.learner.learn(message.ballot, message.committed_upto)
            case CatchUp():
                self.learner.answer(source, message)
                self.elector.stand_before(source)
            case State():
                if self.learner.lacks(message):
                    self.elector.install(message.first_slot, message.ballots, message.requests)
                    self.learner.go_on_fetching(source, message.committed_upto)
                self.elector.lead_if_elected()
            case StatePiece():
                self.learner.take_piece(source, message)
                self.elector.lead_if_elected()
            case CheckpointHash():
                self.learner.hear_hash(source, message)
            case Nack():
                self.elector.hear_nack(source, message)
            case PeerDown():
                self.elector.lose(message.peer)
            case Reply() | Elected():
                pass  # clients get these; a replica that does has nothing to learn from them
            case _:
                assert_never(message)

    def tick(self, now: int) -> None:
        """Let time pass; does what is due, and nothing twice."""
        timers = self.timers
        if now != timers.now:
            self._enter(now)
        learner = self.learner
        if (learner.writing is not None or learner.truncates) and learner.go_on():
            self.elector.lead_if_elected()
        if not isinstance(lead := self.elector.standing, Leader):
            # Most often nothing is due.
            if timers.election is None or now >= timers.election or self.learner.is_fetching():
                self.elector.tick()
        elif now >= timers.lease or now >= timers.heartbeat:
            if lead.is_given_up():
                self.elector.step_down(Reason.UNANSWERED)
            else:
                self.proposer.beat(lead)

    def deadline(self) -> int | None:
        """When `tick` is wanted at the latest; None while only a message can change anything."""
        timers, outbox = self.timers, self.outbox
        if outbox.effects.early or outbox.effects.durable or outbox.answers:
            return timers.now  # `stored` led to something that is still to be flushed
        if self.learner.writing is not None or self.learner.truncates:
            return timers.now  # some more pages, whether there is anything else to do or not
        if isinstance(self.elector.standing, Leader):
            due = timers.heartbeat if timers.heartbeat < timers.lease else timers.lease
            if timers.commit is not None and timers.commit < due:
                due = timers.commit
            return due if timers.spare is None or timers.spare > due else timers.spare
        due = timers.inquiry if timers.election is None else timers.election
        return min(due, timers.fetch) if self.learner.is_fetching() else due

    def flush(self) -> Effects:
        """End the turn. Until `stored()` is called for it, no other turn may be flushed.

        The process of one that halts ends: nothing may be called after it but what displays it.
        """
        acceptor, learner, outbox = self.acceptor, self.learner, self.outbox
        if learner.history.outvoted is not None:
            return self._halt(learner.history.outvoted)
        if isinstance(lead := self.elector.standing, Leader):
            self.proposer.propose(lead)
        if acceptor.owed is not None:
            outbox.durable(acceptor.owed[0].replica, acceptor.claim(acceptor.owed))
        effects, outbox.effects = outbox.effects, Effects()
        if outbox.answers:
            effects.replies.append(Reply(self.elector.following, tuple(outbox.answers)))
            outbox.answers = []
        pages, checkpoint, sessions = learner.to_store()
        saves_watermark = checkpoint is not None or learner.marks_changed
        if acceptor.runs or acceptor.promise_changed or saves_watermark or pages is not None:
            if saves_watermark:
                learner.saved_upto = self.log.committed_upto
            effects.persist = Persist(
                acceptor.promised,
                acceptor.seen,
                acceptor.promise_changed,
                acceptor.runs,
                checkpoint,
                self.log.truncated_upto,
                self.log.committed_upto if saves_watermark else None,
                pages,
                sessions,
            )
            acceptor.runs, acceptor.promise_changed, learner.marks_changed = [], False, False
            own_upto = lead.next_slot - 1 if isinstance(lead, Leader) else 0
            self._unstored = acceptor.promised, own_upto
        self.timers.last_turn = self.timers.now
        return effects

    def _halt(self, why: str) -> Effects:
        """A majority has another history: nothing of this turn leaves, nor anything ever after."""
        if self.role is not Role.FOLLOWER:
            self.elector.step_down(Reason.OUTVOTED)
        self.halted = why
        return Effects(events=self.outbox.effects.events, halted=why)

    def stored(self) -> None:
        """The writes of the last flush are committed: this replica's own votes in it count now."""
        if self._unstored is None:
            return
        ballot, upto = self._unstored
        self._unstored = None
        match self.elector.standing:
            case Candidate() as candidate if candidate.ballot == ballot:
                candidate.own_durable = True
                self.elector.lead_if_elected()
            case Leader() as lead:
                assert lead.ballot == ballot, f"{lead.ballot} is led, {ballot} was stored"
                lead.own_upto = max(lead.own_upto, upto)
                self.proposer.commit_chosen(lead)

    def reconnected(self, now: int) -> None:
        """The driver's notice that this replica hears the others again after a disconnect."""
        self.timers.now = self.timers.last_turn = now
        self.elector.reconnect()

    def seek_leader(self, now: int) -> None:
        """Somebody waits for a leader: see to it that there will be one (rule 10)."""
        self._enter(now)
        self.elector.seek_leader()

    def _enter(self, now: int) -> None:
        """Begin or go on with a turn at `now`."""
        timers = self.timers
        assert now >= timers.now, f"time went back: {now} < {timers.now}"
        timers.now = now
        if now > timers.last_turn + self._longest_idle:
            due = self.deadline()
            if due is None or now > due + self.settings.election_timeout[0]:
                # This process was stopped, not the others silent: what the clock says proves
                # nothing until the queues were read.
                self.elector.start_afresh()
            timers.last_turn = now

    # ---- display -------------------------------------------------------------------------------

    @property
    def standing(self) -> Standing:
        """What it is about leading."""
        return self.elector.standing

    @property
    def role(self) -> Role:
        """What people call its standing."""
        return self.standing.role

    @property
    def following(self) -> Ballot:
        """Of the NEW-VIEW that it leads or follows; never decreases."""
        return self.elector.following

    @property
    def promised(self) -> Ballot:
        """Nothing below is accepted; never decreases."""
        return self.acceptor.promised

    def leads_answered(self) -> bool:
        """True for a leader that a quorum, itself included, answered within its time-out."""
        return isinstance(self.standing, Leader) and self.standing.is_answered()

    def save_watermark(self) -> None:
        """Somebody looks: the committed watermark is stored with this turn."""
        self.learner.save_watermark()

    def status(self) -> ReplicaStatus:
        """A frozen copy for display and checks."""
        learner = self.learner
        return ReplicaStatus(
            replica=self.replica,
            role=self.role,
            promised=self.promised,
            following=self.following,
            answered=self.leads_answered(),
            committed_upto=self.log.committed_upto,
            executed_upto=self.log.executed_upto,
            truncated_upto=self.log.truncated_upto,
            last_slot=self.log.last_slot,
            checkpoint=learner.checkpoint.slot if learner.checkpoint is not None else 0,
            digest=learner.machine.digest(),
            running_hash=learner.history.current,
            balances=learner.machine.ledger.balances,
            sessions=tuple(learner.machine.sessions.values()),
            halted=self.halted,
            differs=learner.history.differs,
        )

    def slots(self, slots: Iterable[Slot]) -> tuple[SlotStatus, ...]:
        """The state of each slot here, truncated ones included."""
        return self.log.statuses(slots)
