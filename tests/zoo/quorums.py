"""Animals that cannot count: too few voters, voters counted twice, votes for something else."""

from dataclasses import replace

from bank.messages import Accepted, PeerDown
from bank.quorum import quorum_size
from bank.replica import Replica

from .kit import animal


@animal(
    "Its quorum is a majority of the replicas that it believes to be alive.",
    "Membership taken from a failure detector: “three of five are dead, so two of two will do”. "
    "Both sides of a partition may say so.",
)
class QuorumOfLive(Replica):
    def step(self, source, message, now):
        dead = self.__dict__.setdefault("_dead", set())
        if isinstance(message, PeerDown):
            dead.add(message.peer)
        else:
            dead.discard(source)
        self.quorum = quorum_size(len(self.peers) + 1 - len(dead))
        if self._leadership is not None:
            self._leadership._quorum = self.quorum
        super().step(source, message, now)


@animal(
    "One vote less than a majority is enough for it.",
    "`n // 2` where `n // 2 + 1` was meant, or the own vote counted once more than it was cast.",
)
class QuorumOneShort(Replica):
    def _lead_if_elected(self):
        self.quorum = quorum_size(len(self.peers) + 1) - 1
        super()._lead_if_elected()
        if self._leadership is not None:
            self._leadership._quorum = self.quorum


@animal(
    "It commits what its NEW-VIEW carries the moment it sends it.",
    "“A quorum reported these entries, so they are chosen.” Reported is not chosen: a single "
    "replica may have accepted them.",
)
class NewViewCommittedAlone(Replica):
    def _lead_if_elected(self):
        stood = self._candidacy
        super()._lead_if_elected()
        if stood is not None and self._leadership is not None:
            self._commit(self._leadership.next_slot - 1)


@animal(
    "A new leader commits an entry of older ballots because a quorum holds it, in any ballot.",
    "Counting copies instead of votes. “Raft” shows the schedule in its section 5.4.2 and forbids "
    "it; here NEW-VIEW collects the votes again.",
)
class CopiesCounted(Replica):
    def _lead_if_elected(self):
        stood = self._candidacy
        super()._lead_if_elected()
        if stood is None or self._leadership is None:
            return
        logs = [{e.slot: e.request for e in p.accept_log} for p in stood.promises.values()]
        slot = self.log.committed_upto + 1
        while (entry := self.log.entry(slot)) is not None:
            if 1 + sum(log.get(slot) == entry.request for log in logs) < self.quorum:
                break
            self._commit(slot)
            slot += 1


@animal(
    "An ACK that arrives twice is counted twice.",
    "A counter where a set of senders was needed. It works until the network, or a repeated "
    "PREPARE, doubles a message.",
)
class DuplicatesCounted(Replica):
    def _on_promise(self, source, promise):
        candidacy = self._candidacy
        again = candidacy is not None and source in candidacy.promises
        super()._on_promise(source, promise)
        if again and self._candidacy is candidacy:
            candidacy.promises[-len(candidacy.promises)] = promise
            self._lead_if_elected()


def _claims(effects, last_slot):
    """Every ACCEPTED claims up to `last_slot(ballot, what it claimed)`."""
    effects.durable = [
        send._replace(
            message=replace(
                send.message, last_slot=last_slot(send.message.ballot, send.message.last_slot)
            )
        )
        if isinstance(send.message, Accepted)
        else send
        for send in effects.durable
    ]
    return effects


@animal(
    "Its ACCEPTED claims everything up to the highest slot that it holds in this ballot, and some "
    "below are missing.",
    "Cumulative acknowledgements brought from TCP-like streams to a log that accepts out of order.",
)
class ClaimOverAGap(Replica):
    def flush(self):
        entries = self.log.entries_above(self.log.committed_upto)

        def highest(ballot, claimed):
            return max([claimed, *(e.slot for e in entries if e.ballot == ballot)])

        return _claims(super().flush(), highest)


@animal(
    "Its ACCEPTED also claims the slots behind the run that it holds from an older ballot.",
    "“I have something in that slot” taken for “I accepted this there”: the acknowledgement is a "
    "position in the log and names no ballot per entry.",
)
class ClaimOfAnOlderBallot(Replica):
    def flush(self):
        effects = super().flush()

        def upto(ballot, claimed):
            while self.log.entry(claimed + 1) is not None:
                claimed += 1
            return claimed

        return _claims(effects, upto)
