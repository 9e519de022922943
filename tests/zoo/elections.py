"""Animals that promise, elect or merge wrongly."""

from dataclasses import replace

from bank import election
from bank.ballot import NO_BALLOT
from bank.messages import Accept, Commit, Heartbeat, Nack, NewView, Prepare, Promise
from bank.replica import Replica

from .kit import animal, patched


@animal(
    "A candidate's own vote is its log as it was at the last heartbeat, read before it raised its "
    "promise.",
    "The own vote taken as a special case, with a copy made while there was time: what the old "
    "leader got accepted since is in no promise.",
)
class OwnLogReadFirst(Replica):
    _own = ()

    def step(self, source, message, now):
        if isinstance(message, Heartbeat | NewView):
            self._own = self.log.entries_above(0)
        super().step(source, message, now)

    def _lead_if_elected(self):
        merge = election.merge
        with patched(election, "merge", lambda logs, above: merge([*logs[:-1], self._own], above)):
            super()._lead_if_elected()


@animal(
    "A candidate asks a quorum and forgets itself: its own log is in no merge.",
    "Promises are what comes over the network; the own vote is counted by a number.",
)
class OwnLogLeftOut(Replica):
    def _lead_if_elected(self):
        merge = election.merge
        with patched(election, "merge", lambda logs, above: merge([*logs[:-1], ()], above)):
            super()._lead_if_elected()


@animal(
    "A candidate counts a NACK as a vote.",
    "One handler for “the answer to my PREPARE” that counts answers before it looks into them.",
)
class RejectionCounted(Replica):
    def step(self, source, message, now):
        candidacy = self._candidacy
        if isinstance(message, Nack) and candidacy is not None:
            candidacy.promises.setdefault(source, Promise(candidacy.ballot, 0, 0, ()))
            self._lead_if_elected()
        super().step(source, message, now)


@animal(
    "A candidate counts ACKs for a ballot that it gave up.",
    "Answers are matched by sender and kind, not by ballot: a late one is taken for a fresh one.",
    nodes=(5,),
)
class StalePromiseCounted(Replica):
    def _admit(self, source, message):
        if isinstance(message, Promise):
            return self._candidacy is not None
        return super()._admit(source, message)

    def _campaign(self):
        before = {} if self._candidacy is None else self._candidacy.promises
        super()._campaign()
        self._candidacy.promises.update(before)


@animal(
    "Of two values reported for a slot, that of the lowest ballot wins.",
    "A comparison the wrong way round: it shows only when a slot was proposed with two values.",
)
class LowestBallotWins(Replica):
    def _lead_if_elected(self):
        def outranks(one, other):
            return (one.committed, other.ballot) > (other.committed, one.ballot)

        with patched(election, "_outranks", outranks):
            super()._lead_if_elected()


@animal(
    "Of two values reported for a slot, that of the ACK that came last wins.",
    "Merging logs with `dict.update`: whoever wrote it had messages in mind, not ballots.",
)
class NewestMessageWins(Replica):
    def _lead_if_elected(self):
        def merge(logs, above):
            in_order = [logs[-1], *logs[:-1]]
            return {e.slot: e for log in in_order for e in log if e.slot > above}

        with patched(election, "merge", merge):
            super()._lead_if_elected()


@animal(
    "A new leader takes over the longest log of its quorum, whole.",
    "Half a memory of other protocols: “Viewstamped Replication Revisited” compares the view in "
    "which the log was normal before its length, “Raft” the last entry's term.",
)
class LongestLogWins(Replica):
    def _lead_if_elected(self):
        def merge(logs, above):
            longest = max(logs, key=lambda log: log[-1].slot if log else 0)
            return {e.slot: e for e in longest if e.slot > above}

        with patched(election, "merge", merge):
            super()._lead_if_elected()


@animal(
    "A slot that nobody reported stays empty, and slots above it go on.",
    "Re-proposing what was reported, slot by slot, and nothing else: “Paxos Made Simple” mentions "
    "the no-op in its last pages only.",
)
class NoOpFillForgotten(Replica):
    def _lead_if_elected(self):
        behind = {}

        def fill(merged, first_slot):
            slot = first_slot
            while slot in merged:
                slot += 1
            behind.update((s, e.request) for s, e in merged.items() if s > slot)
            return tuple(merged[s].request for s in range(first_slot, slot))

        with patched(election, "fill", fill):
            super()._lead_if_elected()
        for slot, request in sorted(behind.items()):
            lead = self._leadership
            self._accept_run(slot, lead.ballot, (request,))
            self._early_all(Accept(lead.ballot, slot, (request,), self.log.committed_upto))
            lead.next_slot = slot + 1


@animal(
    "A new leader goes on after the last slot of its own log, and overwrites what it lacks.",
    "`next = len(log) + 1`: right for a leader that was there all the time.",
)
class SlotReused(Replica):
    def _lead_if_elected(self):
        merge, last_slot = election.merge, self.log.last_slot

        def merge_own(logs, above):
            return {s: e for s, e in merge(logs, above).items() if s <= last_slot}

        with patched(election, "merge", merge_own):
            super()._lead_if_elected()


@animal(
    "An ACK whose sender has truncated its log counts as one that reports nothing.",
    "Truncation added when elections worked already: an empty answer now means two things.",
)
class TruncationOverlooked(Replica):
    def _on_promise(self, source, promise):
        super()._on_promise(source, replace(promise, truncated_upto=0))


@animal(
    "A PREPARE that was kept is answered without another look at the promise.",
    "Checked when it arrived, answered when it suits: what was promised in between is forgotten.",
)
class KeptPrepareNotCheckedAgain(Replica):
    def _answer_kept(self):
        source, prepare = self._kept
        self._kept = None
        above = self.log.entries_above(prepare.committed_upto)
        log = self.log
        self._durable(
            source, Promise(prepare.ballot, log.committed_upto, log.truncated_upto, above)
        )


@animal(
    "Ballots are compared by their number alone, so two candidates share one.",
    "Rounds counted 1, 2, 3 by everybody. “Paxos Made Simple” has proposers draw from disjoint "
    "sets of numbers, in one sentence.",
)
class NumberWithoutReplica(Replica):
    def _admit(self, source, message):
        ballot = getattr(message, "ballot", NO_BALLOT)
        if ballot.number == self.promised.number and ballot < self.promised:
            if isinstance(message, Prepare):
                return True
            if isinstance(message, NewView | Accept | Commit | Heartbeat):
                self.following = NO_BALLOT
                self._follow(ballot)
                return True
        return super()._admit(source, message)


@animal(
    "A replica that hears its leader well answers any higher PREPARE at once.",
    "The protocol as in the paper. It is safe, and one replica that hears nobody deposes every "
    "leader for ever; “Raft” has a later remedy of the same kind for servers that return.",
)
class SettledReplicaAnswers(Replica):
    def _on_prepare(self, source, prepare):
        self._settled = False
        super()._on_prepare(source, prepare)


@animal(
    "A leader that nobody answers goes on leading.",
    "Heartbeats are sent and their answers not missed: a leader that can speak and not hear keeps "
    "everybody from electing another.",
)
class LeaderNeverStepsDown(Replica):
    def _tick_leader(self, lead):
        lead.lease = self._now + lead.timeout
        super()._tick_leader(lead)


@animal(
    "A replica that keeps a PREPARE unanswered gives the candidate nothing else either.",
    "Who stands is taken for somebody who wants to lead, and not for somebody who does not hear. "
    "As long as its link from the leader is gone it stays behind, with a quorum around it.",
)
class CandidateLeftBehind(Replica):
    def _lend_a_hand(self, source, prepare):
        pass
