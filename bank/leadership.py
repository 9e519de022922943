"""What a leader knows beside its log: who accepted how far, who answered when, what is in flight.

Lives as long as the leader leads one ballot and is forgotten with it.
"""

from bank.ballot import Ballot, ClientId, ReplicaId, Slot
from bank.quorum import highest_held_by, quorum_size
from bank.sessions import Request


class Leadership:
    """The book of the leader of `ballot`."""

    __slots__ = (
        "_answered_at",
        "_peers",
        "_quorum",
        "_since",
        "accepted_upto",
        "ballot",
        "batch",
        "busy_slots",
        "commit_due",
        "first_slot",
        "heartbeat_due",
        "heartbeats",
        "in_flight",
        "lease",
        "next_slot",
        "own_upto",
        "prompt",
        "spare",
        "spare_due",
        "spare_upto",
        "timeout",
    )

    def __init__(
        self,
        ballot: Ballot,
        first_slot: Slot,
        next_slot: Slot,
        peers: tuple[ReplicaId, ...],
        timeout: int,
        now: int,
        *,
        prompt: tuple[ReplicaId, ...] | None = None,
    ) -> None:
        """With `prompt`, who seems to be quick, the others are spare: see `choose_spare`."""
        self.ballot = ballot
        self.first_slot = first_slot  # of its NEW-VIEW
        self.next_slot = next_slot  # above everything proposed; never decreases
        self.timeout = timeout  # without a quorum's answers for so long, it steps down
        self.own_upto: Slot = 0  # the leader's own vote: slots of this ballot on its disk
        # Uncommitted slots of this ballot that each peer said to hold; never decreases.
        self.accepted_upto: dict[ReplicaId, Slot] = dict.fromkeys(peers, 0)
        self.batch: list[Request] = []  # to be proposed at the end of this turn
        self.in_flight: dict[ClientId, int] = {}  # highest timestamp proposed in this ballot
        self.heartbeat_due = now
        self.commit_due: int | None = None  # when a COMMIT leaves unless an ACCEPT did before
        self._peers = peers
        # Proposed since it had so little to do that a COMMIT left, or since the last trial.
        self.busy_slots = 0
        self.heartbeats = 0  # sent in this ballot
        self._quorum = quorum_size(len(peers) + 1)
        # Who gets every ACCEPT at once, and who gets several in one a little later.
        quick = peers if prompt is None else prompt[: self._quorum - 1]
        self.prompt, self.spare = quick, tuple(peer for peer in peers if peer not in quick)
        self.spare_upto = next_slot - 1  # proposed to the spare ones; never decreases
        self.spare_due: int | None = None  # when they are told, if nothing is committed before
        self._answered_at: dict[ReplicaId, int] = {}
        self._since = now
        self.lease = now  # no reason to step down before; may be too early, never too late

    def heard(self, peer: ReplicaId, now: int) -> None:
        """This peer answered in this ballot."""
        self._answered_at[peer] = now

    def lost(self, peer: ReplicaId, now: int) -> None:
        """This peer's process is gone: its answers count no longer, and a spare one steps in."""
        if peer in self.prompt and self.spare:
            self.spare_due = now
        if self._answered_at.pop(peer, None) is not None:
            self._since = self.lease = now

    def choose_spare(self) -> bool:
        """Those that are gone or behind become the spare ones; True when any did.

        All must be told the same before.

        Thrifty, as EPaxos has it (Moraru et al. 2013, section 6.2): who waits for one client's
        request waits for a quorum only, and each of the others costs as much as one of those.
        Unlike there, the others get the same a little later, many slots at a time.
        """
        if not self.spare:
            return False
        upto, heard, prompt = self.accepted_upto, self._answered_at, self.prompt
        ranked = sorted(self._peers, key=lambda p: (p not in heard, -upto[p], p not in prompt, p))
        count = len(prompt)
        self.prompt, self.spare = tuple(ranked[:count]), tuple(ranked[count:])
        return set(self.prompt) != set(prompt)

    def start_afresh(self, now: int) -> None:
        """After a pause or a disconnect: nobody has answered until somebody does again."""
        self._answered_at.clear()
        self._since = self.heartbeat_due = self.lease = now

    def is_answered(self, now: int) -> bool:
        """True when a quorum, the leader included, answered within the last time-out."""
        recent = sum(1 for at in self._answered_at.values() if now - at < self.timeout)
        return recent + 1 >= self._quorum

    def is_given_up(self, now: int) -> bool:
        """True when no quorum answered for a time-out: the leader has to step down."""
        if now < self.lease:
            return False  # the usual case costs no look at who answered when
        self.lease = self._gives_up_at(now)
        return now >= self.lease

    def _gives_up_at(self, now: int) -> int:
        answered_at = (now, *self._answered_at.values())  # the leader itself always does
        if len(answered_at) < self._quorum:
            return self._since + self.timeout
        return highest_held_by(self._quorum, answered_at) + self.timeout

    def note_accepted(self, peer: ReplicaId, first: Slot, last: Slot, committed: Slot) -> bool:
        """Count a peer's claim of first..last; False when it leaves a gap or says nothing new."""
        known = self.accepted_upto[peer]
        if first > max(known, committed) + 1 or last <= known:
            return False
        self.accepted_upto[peer] = min(last, self.next_slot - 1)
        return True

    def chosen_upto(self) -> Slot:
        """Every slot up to here is held by a quorum, in this ballot or committed before."""
        return highest_held_by(self._quorum, (self.own_upto, *self.accepted_upto.values()))
