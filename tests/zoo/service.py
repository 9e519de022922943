"""Animals with a sound log that serve clients wrongly: answers, sessions, checkpoints, reads."""

from bank import checkpoint as checkpoints
from bank.ledger import READ, SKIPPED
from bank.replica import Replica
from bank.sessions import Machine
from bank.status import Role

from .kit import animal


class _Forgetful(Machine):
    """Executes everything again."""

    __slots__ = ()

    def execute(self, first_slot, requests):
        answers = []
        for slot, request in enumerate(requests, first_slot):
            self.sessions.pop(request[0], None)
            answers += super().execute(slot, (request,))
        return answers


class _Distracted(Machine):
    """Skips what is older than a client's last request, and does that one once more."""

    __slots__ = ()

    def execute(self, first_slot, requests):
        answers = []
        for slot, request in enumerate(requests, first_slot):
            if self.sessions.get(request[0], ("", 0))[1] == request[1]:
                del self.sessions[request[0]]
            answers += super().execute(slot, (request,))
        return answers


@animal(
    "The sessions are not part of a checkpoint: who installs one forgets what was done already.",
    "The table of clients is taken for a matter of the network layer. “Viewstamped Replication "
    "Revisited” and “Paxos Made Live” both count it among the state.",
)
class SessionsNotInCheckpoints(Replica):
    def _install_checkpoint(self, checkpoint):
        super()._install_checkpoint(checkpoint)
        self._machine.sessions.clear()


@animal(
    "Only the leader remembers which requests it did; executing asks nobody.",
    "A cache of answers beside the state. After a change of leaders a retry pays twice.",
)
class DedupByLeaderMemory(Replica):
    @property
    def _machine(self):
        return self._forgetful

    @_machine.setter
    def _machine(self, machine):
        self._forgetful = _Forgetful(machine.ledger.balances, machine.sessions.values())

    def _on_requests(self, message):
        machine, lead = self._machine, self._leadership
        known = machine.sessions
        since = lead.first_slot if lead is not None else self.log.last_slot + 1
        machine.sessions = {c: s for c, s in known.items() if s[3] >= since}
        try:
            super()._on_requests(message)
        finally:
            machine.sessions = known


@animal(
    "A retry of a request in flight gets a second slot, and both are executed.",
    "Clients are told to retry, and leaders to propose: the check whether it was done already is "
    "made when the request comes in, and not again when its slot is executed.",
)
class ReproposedWithoutCheck(Replica):
    @property
    def _machine(self):
        return self._distracted

    @_machine.setter
    def _machine(self, machine):
        self._distracted = _Distracted(machine.ledger.balances, machine.sessions.values())

    def _on_requests(self, message):
        if self._leadership is not None:
            self._leadership.in_flight.clear()
        super()._on_requests(message)


@animal(
    "The leader answers when it proposes, with what the request will give if all goes well.",
    "Latency: the answer is right nearly always, and wrong exactly when the leader is deposed.",
)
class ReplyBeforeCommit(Replica):
    def _propose(self, lead):
        first_new, first_slot = lead.next_slot, self.log.executed_upto + 1
        super()._propose(lead)
        guess = Machine(self._machine.ledger.balances, self._machine.sessions.values())
        answers = guess.execute(first_slot, self.log.requests(first_slot, lead.next_slot - 1))
        self._answers += [a for a in answers[first_new - first_slot :] if a[2] != SKIPPED]


@animal(
    "A checkpoint that arrives late replaces a newer state.",
    "The slot of a checkpoint is compared when it is asked for, and not when it has arrived.",
)
class CheckpointRollsBack(Replica):
    def _on_state_piece(self, source, message):
        if message.checkpoint_slot > self.log.committed_upto or self.role is Role.LEADER:
            super()._on_state_piece(source, message)
        elif (whole := self._fetch.take_piece(source, message)) is not None:
            checkpoint = checkpoints.decode(whole)
            self._machine = Machine(checkpoint.balances, checkpoint.sessions)


@animal(
    "The log goes as soon as the checkpoint is taken, before anybody had the same hash.",
    "Space is the reason for checkpoints, so they are used at once. Harmless while all replicas "
    "are equal; when one is not, the log that would show it is gone.",
)
class TruncatedUnconfirmed(Replica):
    def _take_checkpoint(self, slot):
        super()._take_checkpoint(slot)
        self._confirm_checkpoint(self._taken)


@animal(
    "A replica truncates when one other has the same hash, not a quorum.",
    "One equal answer feels like a confirmation. When that one goes, what was thrown away can be "
    "compared with nobody's.",
    nodes=(5, 7),
)
class TruncatedByOneWord(Replica):
    def _weigh_history(self):
        super()._weigh_history()
        taken, equal = self._taken, self._history.confirmed_upto.values()
        if taken is not None and any(upto >= taken.slot for upto in equal):
            self._confirm_checkpoint(taken)


@animal(
    "A leader with nothing in flight answers reads from its own state.",
    "“I am the leader, so my state is the newest.” A deposed leader believes so too; “Paxos Made "
    "Live” needs leases for this.",
)
class DeposedLeaderReads(Replica):
    def _on_requests(self, message):
        lead = self._leadership
        quiet = lead is not None and not lead.batch and lead.next_slot == self.log.executed_upto + 1
        super()._on_requests(message)
        if not quiet:
            return
        for slot, request in enumerate(lead.batch, lead.next_slot):
            client, timestamp, kind, account, *_ = request
            if kind != READ:
                break
            self._answers.append((client, timestamp, self._machine.ledger.balances[account], slot))
