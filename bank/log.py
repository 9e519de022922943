"""The log: slot -> (ballot, request), and the watermarks over it.

Two parallel lists above the truncated prefix, so that a run of slots is appended, sliced and
truncated without a step per slot. A slot's state is never stored twice: committed and executed
are watermarks, accepted is "there is an entry".

Always: truncated_upto ≤ executed_upto ≤ committed_upto, and every slot in
truncated_upto+1 .. committed_upto has an entry.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bank.ballot import NO_BALLOT, Ballot, Slot
from bank.effects import Run
from bank.messages import AcceptedEntry
from bank.sessions import NOOP_REQUEST, Request
from bank.status import SlotMark, SlotStatus


@dataclass(slots=True)
class Log:
    """Owned by one replica. The watermarks are moved by their methods only."""

    truncated_upto: Slot = 0  # never decreases; these slots are executed and gone
    executed_upto: Slot = 0  # never decreases
    committed_upto: Slot = 0  # never decreases
    _ballots: list[Ballot] = field(default_factory=list)  # NO_BALLOT marks a gap
    _requests: list[Request] = field(default_factory=list)
    # The run accepted last: slots _run_first.._run_last are all held in _run_ballot.
    _run_ballot: Ballot = NO_BALLOT
    _run_first: Slot = 1
    _run_last: Slot = 0

    @property
    def last_slot(self) -> Slot:
        """The highest slot held or truncated."""
        return self.truncated_upto + len(self._requests)

    def accept(self, first_slot: Slot, ballot: Ballot, requests: Sequence[Request]) -> int:
        """Hold a run of slots in `ballot`; returns how many leading slots were below truncation.

        Those are committed already and need no entry. A committed slot must be given the request
        that it has: anything else is a protocol error, and asserts.
        """
        last_slot = self.truncated_upto + len(self._requests)
        if ballot == self._run_ballot and first_slot == self._run_last + 1 == last_slot + 1:
            self._requests += requests  # the run goes on: the usual case costs no more than this
            self._ballots += [ballot] * len(requests)
            self._run_last += len(requests)
            return 0
        skip = min(max(0, self.truncated_upto + 1 - first_slot), len(requests))
        if skip:
            first_slot, requests = first_slot + skip, requests[skip:]
        if not requests:
            return skip
        if first_slot <= self.committed_upto:
            self._assert_same_when_committed(first_slot, requests)
        start = first_slot - self.truncated_upto - 1
        if start > (length := len(self._requests)):
            self._requests.extend([NOOP_REQUEST] * (start - length))
            self._ballots.extend([NO_BALLOT] * (start - length))
        self._requests[start : start + len(requests)] = requests
        self._ballots[start : start + len(requests)] = [ballot] * len(requests)
        if ballot == self._run_ballot and self._run_first <= first_slot <= self._run_last + 1:
            self._run_last = max(self._run_last, first_slot + len(requests) - 1)
        else:
            self._run_ballot, self._run_first = ballot, first_slot
            self._run_last = first_slot + len(requests) - 1
        return skip

    def _assert_same_when_committed(self, first_slot: Slot, requests: Sequence[Request]) -> None:
        held = self.requests(first_slot, min(self.committed_upto, first_slot + len(requests) - 1))
        assert list(requests[: len(held)]) == held, (
            f"slots {first_slot}..{first_slot + len(held) - 1} are committed as {held}, "
            f"yet proposed again as {requests[: len(held)]}"
        )

    def held_upto(self, ballot: Ballot, first_slot: Slot) -> Slot:
        """Last slot of the gapless run from `first_slot` that is held in exactly `ballot`.

        Truncated slots count as held: they are committed, so every ballot holds the same there.
        first_slot - 1 when the run is empty.
        """
        slot = max(first_slot, self.truncated_upto + 1)
        if ballot == self._run_ballot and self._run_first <= slot <= self._run_last:
            slot = self._run_last + 1  # known without looking: the usual case costs no loop
        ballots, index = self._ballots, slot - self.truncated_upto - 1
        while index < len(ballots) and ballots[index] == ballot:
            index += 1
        return max(first_slot - 1, self.truncated_upto + index)

    def entry(self, slot: Slot) -> AcceptedEntry | None:
        """What is held in `slot`; None for a gap, a truncated slot or one never reached."""
        index = slot - self.truncated_upto - 1
        if not 0 <= index < len(self._requests) or self._ballots[index] == NO_BALLOT:
            return None
        return AcceptedEntry(
            slot, self._ballots[index], self._requests[index], slot <= self.committed_upto
        )

    def entries_above(self, slot: Slot) -> tuple[AcceptedEntry, ...]:
        """The accept-log above `slot`, without gaps, in slot order."""
        slots = range(max(slot, self.truncated_upto) + 1, self.last_slot + 1)
        return tuple(entry for entry in map(self.entry, slots) if entry is not None)

    def requests(self, first_slot: Slot, last_slot: Slot) -> list[Request]:
        """Requests of a range above the truncation; what is in a gap is meaningless."""
        base = self.truncated_upto + 1
        return self._requests[first_slot - base : last_slot - base + 1]

    def ballots(self, first_slot: Slot, last_slot: Slot) -> list[Ballot]:
        """Ballots of the same range."""
        base = self.truncated_upto + 1
        return self._ballots[first_slot - base : last_slot - base + 1]

    def commit(self, upto: Slot) -> None:
        """Every slot up to `upto` is now known to be committed."""
        if upto <= self.committed_upto:
            return
        base, ballots = self.truncated_upto, self._ballots
        last_slot = base + len(ballots)
        assert upto <= last_slot, f"commit up to {upto}, but the log ends at {last_slot}"
        gaps = ballots[self.committed_upto - base : upto - base].count(NO_BALLOT)
        assert gaps == 0, f"commit of {self.committed_upto + 1}..{upto} over {gaps} gaps"
        self.committed_upto = upto

    def install(
        self, first_slot: Slot, ballots: Sequence[Ballot], requests: Sequence[Request]
    ) -> list[Run]:
        """Hold committed entries that another replica sent; returns what there is to store.

        Each keeps the ballot that it had there, unless it is held in a higher one here.
        """
        placed: list[Run] = []
        for slot, ballot, request in zip(
            range(first_slot, first_slot + len(requests)), ballots, requests, strict=True
        ):
            held = self.entry(slot)
            if slot <= self.committed_upto:
                continue
            if held is not None and held.ballot >= ballot:
                assert held.request == request, f"slot {slot} is chosen as {request}, held: {held}"
                continue
            self.accept(slot, ballot, (request,))
            placed.append(Run(slot, ballot, (request,)))
        return placed

    def truncate(self, upto: Slot) -> None:
        """Forget slots up to `upto`, all of them executed."""
        assert upto <= self.executed_upto, f"truncate {upto} > executed {self.executed_upto}"
        count = upto - self.truncated_upto
        assert count >= 0, f"truncate {upto} after {self.truncated_upto}"
        del self._requests[:count], self._ballots[:count]
        self.truncated_upto = upto

    def restart_at(self, slot: Slot) -> None:
        """A checkpoint at `slot` was installed: all up to it is executed; what is above stays."""
        assert slot > self.executed_upto, f"checkpoint {slot} ≤ executed {self.executed_upto}"
        count = slot - self.truncated_upto
        del self._requests[:count], self._ballots[:count]
        self.truncated_upto = self.executed_upto = slot
        self.committed_upto = max(self.committed_upto, slot)

    def statuses(self, slots: Iterable[Slot]) -> tuple[SlotStatus, ...]:
        """One SlotStatus per slot asked for, truncated and empty ones included."""
        return tuple(map(self._status, slots))

    def _status(self, slot: Slot) -> SlotStatus:
        entry = self.entry(slot)
        if slot <= self.executed_upto:
            mark = SlotMark.EXECUTED
        elif slot <= self.committed_upto:
            mark = SlotMark.COMMITTED
        else:
            mark = SlotMark.NONE if entry is None else SlotMark.ACCEPTED
        return SlotStatus(
            slot, mark, entry.ballot if entry else None, entry.request if entry else None
        )
