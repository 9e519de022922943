"""The acceptor: what this replica promised, and what it voted for since.

Rules 1 and 3 of docs/protocol.md: nothing below the promise is accepted (the gate in `replica` sees
to that), and both are on disk before anybody is told.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from bank.ballot import NO_BALLOT, Ballot, Slot
from bank.effects import Run, Stored
from bank.log import Log
from bank.messages import Accepted, Prepare, Promise
from bank.sessions import Request


@dataclass(slots=True)
class Acceptor:
    """See the module. Its votes are the log's entries."""

    log: Log
    promised: Ballot = NO_BALLOT  # accepts nothing below; never decreases; durable before a word
    seen: int = 0  # highest ballot number promised, used or seen; never decreases; durable
    promise_changed: bool = False  # the two above are to be stored
    runs: list[Run] = field(default_factory=list)  # accepted or installed in this turn, to store
    # An ACCEPTED to build when the turn ends: ballot, first slot, what was asked for.
    owed: tuple[Ballot, Slot, Slot] | None = None

    def raise_promise(self, ballot: Ballot) -> None:
        """Accept nothing below `ballot` from now on."""
        assert ballot > self.promised, f"promise {ballot} after {self.promised}"
        self.promised = ballot
        self.promise_changed = True
        self.see(ballot.number)

    def see(self, number: int) -> None:
        """A ballot of that number exists: an own one will be above it, after a restart too."""
        if number > self.seen:
            self.seen = number
            self.promise_changed = True

    def promise(self, prepare: Prepare, most: int) -> Promise:
        """The ACK, after the promise was raised: nothing can be added below it any more.

        Of committed slots it reports the last `most`, and who lacks more has to ask for them first:
        with all it would grow with the log, beyond any frame.
        """
        log = self.log
        left_out = max(log.truncated_upto, log.committed_upto - most)
        accept_log = log.entries_above(max(prepare.committed_upto, left_out))
        return Promise(prepare.ballot, log.committed_upto, left_out, accept_log)

    def accept(self, first_slot: Slot, ballot: Ballot, requests: Sequence[Request]) -> None:
        """Hold a run in `ballot` and store it, executed slots included: they are votes again."""
        skipped = self.log.accept(first_slot, ballot, requests)
        if skipped:
            first_slot, requests = first_slot + skipped, requests[skipped:]
        if requests:
            self.runs.append(Run(first_slot, ballot, requests))

    def owe(self, ballot: Ballot, leader_committed: Slot, asked_upto: Slot) -> None:
        """This turn ends with an ACCEPTED for `ballot`; the newest watermark wins."""
        first_slot = leader_committed + 1
        if self.owed is not None and self.owed[0] == ballot:
            first_slot = max(first_slot, self.owed[1])
            asked_upto = max(asked_upto, self.owed[2])
        self.owed = ballot, first_slot, asked_upto

    def claim(self, owed: tuple[Ballot, Slot, Slot]) -> Accepted:
        """The ACCEPTED that is owed, and then is no more.

        Built when the turn ends, for all of it, with the ballot of the acceptance: a promise raised
        since then does not make it untrue, and slots replaced since then are left out.
        """
        ballot, first_slot, asked_upto = owed
        self.owed = None
        return Accepted(ballot, first_slot, self.log.held_upto(ballot, first_slot), asked_upto)

    def recover(self, stored: Stored) -> None:
        """Promise what the disk says; the next own ballot is above all that was ever seen."""
        self.promised = stored.promised
        held = (ballot.number for _, ballot, _ in stored.entries)
        self.seen = max(stored.seen, stored.promised.number, *held, 0)
