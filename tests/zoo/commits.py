"""Animals that accept, commit, fetch or install wrongly."""

from bank.ballot import NO_BALLOT
from bank.messages import Accept
from bank.replica import Replica

from .kit import animal


@animal(
    "“Committed up to 20” commits whatever it holds there, of older ballots too.",
    "A commit index is enough where logs are cut to match the leader's before; in Paxos what is "
    "held in a slot may never have been chosen.",
)
class CommitNoticeTrusted(Replica):
    def _learn(self, ballot, upto):
        known = self.log.committed_upto
        while known < upto and self.log.entry(known + 1) is not None:
            known += 1
        self._commit(known)
        super()._learn(ballot, upto)


@animal(
    "An ACCEPT is held against the promise when it arrives, and stored when a writer comes round.",
    "A queue between the check and the write: a PREPARE answered meanwhile is broken behind its "
    "back.",
)
class AcceptStoredLater(Replica):
    def step(self, source, message, now):
        if not isinstance(message, Accept):
            return super().step(source, message, now)
        self._enter(now)
        if self._admit(source, message):
            self.__dict__.setdefault("_queue", []).append((now + self.settings.heartbeat, message))
        return None

    def deadline(self):
        due = super().deadline()
        queue = self.__dict__.get("_queue")
        return min(due or queue[0][0], queue[0][0]) if queue else due

    def flush(self):
        queue = self.__dict__.get("_queue", [])
        while queue and queue[0][0] <= self._now:
            _, message = queue.pop(0)
            self._accept_run(message.first_slot, message.ballot, message.requests)
            self._owe(message.ballot, message.committed_upto, 0)
        return super().flush()


@animal(
    "An ACCEPT of the leader that it follows is taken although it promised a higher ballot since.",
    "“I know this leader” used as a short cut past the one comparison that Paxos is made of.",
)
class AcceptBelowThePromise(Replica):
    def _admit(self, source, message):
        if isinstance(message, Accept) and message.ballot == self.following:
            return True
        return super()._admit(source, message)


@animal(
    "Committed entries that it fetched may lie above its promise, and an older leader replaces "
    "them.",
    "Catching up is written as a matter of copying, apart from the rules of accepting.",
)
class InstalledAboveThePromise(Replica):
    def _install(self, first_slot, ballots, requests):
        super(Replica, self)._install(first_slot, ballots, requests)


@animal(
    "Installing a checkpoint throws away what it had accepted above it.",
    "“The log starts afresh after a snapshot.” “Raft” says in its section 7 that entries behind "
    "the snapshot are retained; here they are votes.",
    nodes=(5,),
)
class VotesLostWithACheckpoint(Replica):
    def _install_checkpoint(self, checkpoint):
        super()._install_checkpoint(checkpoint)
        log = self.log
        kept = log.committed_upto - log.truncated_upto
        del log._requests[kept:], log._ballots[kept:]
        log._run_ballot = NO_BALLOT


@animal(
    "A replica that misses committed slots never asks for them.",
    "Left to the next request, or to luck: it works in every demonstration that loses nothing.",
)
class CatchUpNeverAsked(Replica):
    def _want(self, target, source):
        pass


@animal(
    "A leader sends every slot once.",
    "TCP is trusted to deliver: connections break, and processes restart.",
)
class NothingSentAgain(Replica):
    def _on_accepted(self, source, message):
        super()._on_accepted(source, type(message)(*_fields(message), 0))


def _fields(message):
    return message.ballot, message.first_slot, message.last_slot
