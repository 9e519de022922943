"""Animals that trust their memory: what they said is not on the disk, or is read back wrongly."""

from dataclasses import replace

from bank.effects import Run
from bank.messages import Accepted, Promise
from bank.replica import Replica

from .kit import animal


def _leaves_early(effects, kind):
    """Messages of this kind overtake the write that backs them."""
    hasty = [send for send in effects.durable if isinstance(send.message, kind)]
    effects.durable = [send for send in effects.durable if send not in hasty]
    effects.early += hasty
    return effects


@animal(
    "It promises, and never writes the promise down.",
    "An acceptor's state kept in memory: teaching code that never restarts anybody does not "
    "notice. “Paxos Made Simple” asks for stable storage in one half-sentence.",
)
class PromiseNotStored(Replica):
    def flush(self):
        effects = super().flush()
        if effects.persist is not None:
            effects.persist.promise_changed = False
        return effects


@animal(
    "Its ACK leaves while the write of the promise is still going on.",
    "The network and the disk are driven by two threads, and the reply does not wait for the "
    "second one.",
)
class AckBeforeTheWrite(Replica):
    def flush(self):
        return _leaves_early(super().flush(), Promise)


@animal(
    "Its ACCEPTED leaves before the accepted entries are on disk.",
    "Group commit or asynchronous writes added later, to make it faster, on one side of the "
    "acknowledgement only.",
)
class AcceptedNotStored(Replica):
    def flush(self):
        return _leaves_early(super().flush(), Accepted)


@animal(
    "After a restart it takes up the ballot that it led before.",
    "A counter of rounds that is kept in memory, or read back and not raised: the new process "
    "believes that the number is still its own.",
)
class BallotReused(Replica):
    _comes_back = False

    def _recover(self, stored):
        super()._recover(stored)
        self._comes_back = True

    def _campaign(self):
        if self._comes_back and self.promised.replica == self.replica:
            self.seen = self.promised.number - 1
        self._comes_back = False
        super()._campaign()

    def _raise_promise(self, ballot):
        if ballot == self.promised:
            self._see(ballot.number)
        else:
            super()._raise_promise(ballot)


@animal(
    "Entries of a NEW-VIEW keep their old ballots on disk when the value is the same.",
    "“The row is there already”: an update that skips rows whose value did not change, written "
    "by somebody who takes the ballot for bookkeeping.",
)
class RestampingForgotten(Replica):
    def _accept_run(self, first_slot, ballot, requests):
        held = {e.slot: e.request for e in self.log.entries_above(first_slot - 1)}
        before = len(self._runs)
        super()._accept_run(first_slot, ballot, requests)
        for run in self._runs[before:]:
            self._runs.remove(run)
            for slot, request in enumerate(run.requests, run.first_slot):
                if held.get(slot) != request:
                    self._runs.append(Run(slot, ballot, (request,)))


@animal(
    "A restart loads the checkpoint and then believes the newer watermark: the slots between are "
    "never executed.",
    "State and position are stored apart, and recovery restores each from its own place.",
)
class RestartSkipsSlots(Replica):
    def _load(self, stored):
        super()._load(replace(stored, committed_upto=0))
        self.log.commit(stored.committed_upto)
        self.log.executed_upto = self.log.committed_upto


@animal(
    "After a restart it remembers its log and forgets its promise.",
    "The promise is stored with the entries only, as “the ballot of the last one”: a promise "
    "that no entry followed is lost.",
)
class PromiseNotRecovered(Replica):
    def _recover(self, stored):
        highest = max(
            (ballot for _, ballot, _ in stored.entries), default=type(stored.promised)(0, 0)
        )
        super()._recover(replace(stored, promised=highest))
