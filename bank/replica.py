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

What must change together: a new message needs a place in `messages`, in the gate (`_admit`), in
`step`, and a row in the table of what is durable when it leaves.
"""

from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import assert_never

from bank import election
from bank.ballot import Ballot, ReplicaId, Slot
from bank.effects import Effects, Persist, Stored
from bank.leadership import Leadership
from bank.messages import (
    Accept,
    Accepted,
    AcceptedEntry,
    CatchUp,
    CheckpointHash,
    ClientRequest,
    Commit,
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
from bank.proposer import Proposer
from bank.sessions import Request
from bank.settings import Settings
from bank.status import ReplicaStatus, Role, SlotStatus

CLIENT: ReplicaId = 0  # the source of what a client sends


class Replica(Proposer):
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
        super().__init__(replica, replicas, settings, random, balances, now)
        self._last_turn = now
        self._longest_idle = settings.election_timeout[1] + settings.heartbeat  # between turns
        # An ACCEPTED to build at the end of the turn: ballot, first slot, what was asked for.
        self._owed: tuple[Ballot, Slot, Slot] | None = None
        self._unstored: tuple[Ballot, Slot] | None = None  # own votes in the turn being stored
        if stored is not None:
            self._recover(stored)

    # ---- one turn ------------------------------------------------------------------------------

    def step(self, source: ReplicaId, message: Message, now: int) -> None:
        """Take one message from `source` (CLIENT for a client), read at `now`."""
        if self.halted is not None:
            return
        self._enter(now)
        if not self._admit(source, message):
            return
        match message:
            case ClientRequest():
                self._on_requests(message)
            case Accept():
                self._accept_run(message.first_slot, message.ballot, message.requests)
                self._owe(message.ballot, message.committed_upto, 0)
                # One by one they would cost a fifth of this turn, and hold up its ACCEPTED; a
                # COMMIT or a heartbeat tells of the last ones.
                if message.committed_upto >= self.log.committed_upto + self.settings.learn_slots:
                    self._learn(message.ballot, message.committed_upto)
            case Accepted():
                self._on_accepted(source, message)
            case Commit():
                self._learn(message.ballot, message.committed_upto)
            case Heartbeat():
                self._owe(message.ballot, message.committed_upto, message.last_slot)
                self._learn(message.ballot, message.committed_upto)
                self._ask_for_confirmation()
                self.save_watermark()
            case Prepare():
                self._on_prepare(source, message)
            case Promise():
                self._on_promise(source, message)
            case NewView():
                self._note(f"follows {message.ballot}")
                self._accept_run(message.first_slot, message.ballot, message.requests)
                self._owe(message.ballot, message.committed_upto, 0)
                self._learn(message.ballot, message.committed_upto)
            case CatchUp():
                self._on_catch_up(source, message)
                self._stand_before(source)
            case State():
                self._on_state(source, message)
                self._lead_if_elected()
            case StatePiece():
                self._on_state_piece(source, message)
                self._lead_if_elected()
            case CheckpointHash():
                self._on_checkpoint_hash(source, message)
            case Nack():
                self._on_nack(source, message)
            case PeerDown():
                self._on_peer_down(message)
            case Reply():
                pass  # clients get these; a replica that does has nothing to learn from them
            case _:
                assert_never(message)

    def _admit(self, source: ReplicaId, message: Message) -> bool:
        """The gate: the one place where a message's ballot is held against the promise.

        Not compared: REQUEST, CATCH-UP, STATE, CHECKPOINT and DOWN speak of no ballot or of what is
        committed in any; NACK exists to tell of a higher one. PREPARE is compared when it is
        answered, which a settled replica puts off.
        """
        match message:  # the most frequent first
            case ClientRequest():
                return True
            case Accepted() | Promise():
                # Exactly this ballot, mine, and not given up: anything else is stale.
                return message.ballot == self.promised and message.ballot.replica == self.replica
            case Accept() | Heartbeat() | Commit() | NewView():
                if message.ballot < self.promised:
                    self._early(source, Nack(self.promised))
                    return False
                self._follow(message.ballot)
                return True
            case _:
                return True

    def tick(self, now: int) -> None:
        """Let time pass; does what is due, and nothing twice."""
        if self.halted is not None:
            return
        if now != self._now:
            self._enter(now)
        if (lead := self._leadership) is not None:
            if now >= lead.lease or now >= lead.heartbeat_due:
                self._tick_leader(lead)
            return
        if self._expiry is None:
            if now >= self._inquiry_due:
                self._inquire()
        elif now >= self._expiry:
            self._expire()
        if self._is_fetching():
            self._ask_again()

    def deadline(self) -> int | None:
        """When `tick` is wanted at the latest; None while only a message can change anything."""
        if self.halted is not None:
            return None
        due = self._inquiry_due if self._expiry is None else self._expiry
        if (lead := self._leadership) is not None:
            due = lead.heartbeat_due if lead.heartbeat_due < lead.lease else lead.lease
            if lead.commit_due is not None and lead.commit_due < due:
                due = lead.commit_due
            if lead.spare_due is not None and lead.spare_due < due:
                due = lead.spare_due
        elif self._is_fetching():
            due = min(due, self._fetch.asked_at + self._fetch_retry)
        if self._effects.early or self._effects.durable or self._answers:
            return self._now  # `stored` led to something that is still to be flushed
        return due

    def flush(self) -> Effects:
        """End the turn. Until `stored()` is called for it, no other turn may be flushed."""
        if self.halted is not None:
            return Effects(halted=self.halted)
        if self._history.outvoted is not None:
            return self._halt(self._history.outvoted)
        if (lead := self._leadership) is not None:
            self._propose(lead)
        if self._owed is not None:
            # Built now, for all of the turn, with the ballot of the acceptance: a promise raised
            # since then does not make it untrue, and slots replaced since then are left out.
            ballot, first_slot, asked_upto = self._owed
            last_slot = self.log.held_upto(ballot, first_slot)
            self._durable(ballot.replica, Accepted(ballot, first_slot, last_slot, asked_upto))
            self._owed = None
        effects, self._effects = self._effects, Effects()
        if self._answers:
            effects.replies.append(Reply(self.following, tuple(self._answers)))
            self._answers = []
        if self._runs or self._promise_changed or self._checkpoint_changed or self._state_changed:
            saves_watermark = self._checkpoint_changed or self._state_changed
            if saves_watermark:
                self._saved_upto = self.log.committed_upto
            effects.persist = Persist(
                self.promised,
                self.seen,
                self._promise_changed,
                self._runs,
                self._checkpoint if self._checkpoint_changed else None,
                self.log.truncated_upto,
                self.log.committed_upto if saves_watermark else None,
            )
            self._runs = []
            self._promise_changed = self._checkpoint_changed = self._state_changed = False
            self._unstored = (self.promised, lead.next_slot - 1 if lead is not None else 0)
        self._last_turn = self._now
        return effects

    def _halt(self, why: str) -> Effects:
        """A majority has another history: nothing of this turn leaves, nor anything ever after."""
        if self.role is not Role.FOLLOWER:
            self._step_down("steps down: a majority has another history")
        self.halted = why
        return Effects(notes=self._effects.notes, halted=why)

    def stored(self) -> None:
        """The writes of the last flush are committed: this replica's own votes in it count now."""
        if self._unstored is None or self.halted is not None:
            return
        ballot, upto = self._unstored
        self._unstored = None
        if self._candidacy is not None and self._candidacy.ballot == ballot:
            self._candidacy.own_durable = True
            self._lead_if_elected()
        elif self._leadership is not None and self._leadership.ballot == ballot:
            self._leadership.own_upto = max(self._leadership.own_upto, upto)
            self._commit_chosen(self._leadership)

    def reconnected(self, now: int) -> None:
        """The driver's notice that this replica hears the others again after a disconnect."""
        if self.halted is not None:
            return
        self._now = self._last_turn = now
        self._start_afresh()
        self._not_before = self._expiry = now + self._draw_timeout()
        self._broadcast_catch_up()

    def seek_leader(self, now: int) -> None:
        """Somebody waits for a leader: see to it that there will be one (rule 10)."""
        if self.halted is None:
            self._enter(now)
            self._seek_leader()

    def _enter(self, now: int) -> None:
        """Begin or go on with a turn at `now`."""
        assert now >= self._now, f"time went back: {now} < {self._now}"
        self._now = now
        if now > self._last_turn + self._longest_idle:
            due = self.deadline()
            if due is None or now > due + self.settings.election_timeout[0]:
                # This process was stopped, not the others silent: what the clock says proves
                # nothing until the queues were read.
                self._start_afresh()
            self._last_turn = now

    def _start_afresh(self) -> None:
        if self._leadership is not None:
            self._leadership.start_afresh(self._now)
        self._settled = False
        if self._expiry is not None:
            self._expiry = self._now + self._draw_timeout()

    # ---- requests ------------------------------------------------------------------------------

    def _on_requests(self, message: ClientRequest) -> None:
        """Answer what is known; propose, relay or keep the rest (rules 6 and 10)."""
        sessions, lead = self._machine.sessions, self._leadership
        onward: list[Request] = []
        for request in message.requests:
            client, timestamp = request[0], request[1]
            known = sessions.get(client)
            if known is not None and timestamp <= known[1]:
                if timestamp == known[1]:
                    self._answers.append(known)
            elif lead is None:
                onward.append(request)
            elif timestamp > lead.in_flight.get(client, 0):
                lead.in_flight[client] = timestamp
                lead.batch.append(request)
        if not onward:
            return
        if self._settled:
            if not message.relayed:
                self._relay(onward)
            return
        for request in onward:
            self._keep(request, message.relayed)
        self._seek_leader()

    def _relay(self, requests: Iterable[Request]) -> None:
        self._relayed.update((request[0], request) for request in requests)
        self._early(self.following.replica, ClientRequest(tuple(requests), relayed=True))

    # ---- following -----------------------------------------------------------------------------

    def _follow(self, ballot: Ballot) -> None:
        """A message of the leader of `ballot`, which is not below the promise, was admitted."""
        if ballot > self.promised:
            self._raise_promise(ballot)
        if self.role is not Role.FOLLOWER:
            self._step_down("deposed")
        if ballot != self.following:
            assert ballot > self.following, f"{ballot} after {self.following}"
            self.following = ballot
            self._take_back()
        self._settled, self._awaiting, self._kept = True, False, None
        self._repeats = self._in_vain = 0
        self._expiry = self._now + self._draw_timeout()
        if self._waiting:
            fresh = [request for request, relayed in self._waiting.values() if not relayed]
            self._waiting.clear()
            if fresh:
                self._relay(fresh)

    def _install(
        self, first_slot: Slot, ballots: Sequence[Ballot], requests: Sequence[Request]
    ) -> None:
        """Nothing is held above the promise: else an older leader could replace what is committed.

        Unlike the paper, a promise is raised here without its PREPARE: a quorum made it before.
        """
        highest = max(ballots)
        if highest > self.promised:
            self._raise_promise(highest)
            if self.role is not Role.FOLLOWER:
                self._step_down("deposed")
        super()._install(first_slot, ballots, requests)

    def _owe(self, ballot: Ballot, leader_committed: Slot, asked_upto: Slot) -> None:
        """This turn ends with an ACCEPTED for `ballot`; the newest watermark wins."""
        first_slot = leader_committed + 1
        if self._owed is not None and self._owed[0] == ballot:
            first_slot = max(first_slot, self._owed[1])
            asked_upto = max(asked_upto, self._owed[2])
        self._owed = ballot, first_slot, asked_upto

    def _learn(self, ballot: Ballot, upto: Slot) -> None:
        """The leader of `ballot` says: committed up to `upto` (rule 4).

        Only slots held in exactly that ballot are known to hold what was committed; the rest is
        fetched, never guessed.
        """
        committed = self.log.committed_upto
        if upto <= committed:
            return
        known = min(upto, self.log.held_upto(ballot, committed + 1))
        if known > committed:
            self._commit(known)
        if known < upto:
            self._want(upto, ballot.replica)

    # ---- leading -------------------------------------------------------------------------------

    def _on_nack(self, source: ReplicaId, message: Nack) -> None:
        """Somebody promised a higher ballot (rule 9)."""
        self._see(message.promised.number)
        candidacy = self._candidacy
        if candidacy is not None and message.promised > candidacy.ballot and not candidacy.outbid:
            candidacy.outbid = True
            self._stand_at(self._now + self.settings.election_timeout[1])  # and no later
        self._note_answer(source)
        lead = self._leadership
        if lead is None or message.promised <= lead.ballot:
            return
        if lead.is_answered(self._now):
            self._step_down("prepares above a higher promise")
            self._campaign()
        else:
            self._step_down("steps down: a higher promise exists")

    def _on_promise(self, source: ReplicaId, promise: Promise) -> None:
        candidacy = self._candidacy
        if candidacy is None:
            if self._leadership is not None:
                self._leadership.heard(source, self._now)
            return
        candidacy.promises[source] = promise
        if promise.truncated_upto > self.log.committed_upto:
            self._want(promise.committed_upto, source)
        self._lead_if_elected()
        self._note_answer(source)

    def _note_answer(self, source: ReplicaId) -> None:
        """A candidate that was outbid takes a new number when a quorum answers (rule 8)."""
        if (candidacy := self._candidacy) is not None:
            candidacy.answered.add(source)
            if candidacy.asks and candidacy.is_answered(self.quorum):
                self._campaign()

    def _lead_if_elected(self) -> None:
        """With a quorum of promises: become the leader and open the NEW-VIEW (rules 2 and 3)."""
        candidacy = self._candidacy
        if candidacy is None or not candidacy.has_quorum(self.quorum, self.log.committed_upto):
            return
        promises = candidacy.counted(self.log.committed_upto)
        logs = [p.accept_log for p in promises] + [self.log.entries_above(self.log.committed_upto)]
        merged = election.merge(logs, self.log.committed_upto)
        self._install_known(merged)
        first_slot = self.log.committed_upto + 1
        requests = election.fill(
            {slot: entry for slot, entry in merged.items() if slot >= first_slot}, first_slot
        )
        self._note(f"leads {candidacy.ballot}")
        self._candidacy = None
        self.role, self.following = Role.LEADER, candidacy.ballot
        self._expiry, self._kept = None, None
        self._stood, self._repeats, self._in_vain = False, 0, 0
        lead = Leadership(
            candidacy.ballot,
            first_slot,
            first_slot + len(requests),
            self.peers,
            self._draw_timeout(),
            self._now,
            prompt=tuple(candidacy.promises) if self.settings.spare_pause else None,
        )
        self._leadership = lead
        for peer in candidacy.promises:
            lead.heard(peer, self._now)
        for client, timestamp, *_ in requests:
            lead.in_flight[client] = max(timestamp, lead.in_flight.get(client, 0))
        self._accept_run(first_slot, lead.ballot, requests)
        self._early_all(NewView(lead.ballot, first_slot, requests, first_slot - 1))
        waiting, self._waiting = self._waiting, {}
        if waiting:
            self._on_requests(ClientRequest(tuple(request for request, _ in waiting.values())))

    def _install_known(self, merged: Mapping[Slot, AcceptedEntry]) -> None:
        """Commit what the promises marked as committed: a gapless prefix above the watermark."""
        known = [merged[slot] for slot in sorted(merged) if merged[slot].committed]
        if known:
            self._install(known[0].slot, [e.ballot for e in known], [e.request for e in known])

    # ---- recovery and display ------------------------------------------------------------------

    def _recover(self, stored: Stored) -> None:
        """Become what the disk says: a backup that resumes no ballot (rule 1)."""
        self.promised = stored.promised
        held = (ballot.number for _, ballot, _ in stored.entries)
        self.seen = max(stored.seen, stored.promised.number, *held, 0)
        self._load(stored)
        self._not_before = self._expiry = self._now + self._draw_timeout()
        self._broadcast_catch_up()

    def status(self) -> ReplicaStatus:
        """A frozen copy for display and checks."""
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
            checkpoint=self._checkpoint.slot if self._checkpoint is not None else 0,
            digest=self._machine.digest(),
            running_hash=self._history.current,
            balances=dict(self._machine.ledger.balances),
            sessions=tuple(self._machine.sessions.values()),
            halted=self.halted,
            differs=self._history.differs,
        )

    def slots(self, slots: Iterable[Slot]) -> tuple[SlotStatus, ...]:
        """The state of each slot here, truncated ones included."""
        return self.log.statuses(slots)
