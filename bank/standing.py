"""What a replica is about leading: one of five states, each with its own fields and no others.

    Idle        neither hears the leader that it follows nor waits for a candidate
    Settled     heard the leader that it follows within its time-out
    Awaiting    promised to a candidate, whose NEW-VIEW may still come
    Candidate   stands in a ballot of its own, or asks whether standing is worth a new one
    Leader      leads its ballot

`elector.Elector` alone moves from one to another.
"""

from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from bank.ballot import Ballot, ClientId, ReplicaId, Slot
from bank.messages import Prepare, Promise
from bank.quorum import highest_held_by, quorum_size
from bank.sessions import Request
from bank.status import Role
from bank.timers import Timers


@dataclass(slots=True)
class _Backup:
    role: ClassVar[Role] = Role.FOLLOWER
    # The highest PREPARE that came while settled, and from whom: answered when the time-out is over
    # before the leader is heard.
    kept: tuple[ReplicaId, Prepare] | None = None


class Idle(_Backup):
    """Neither hears a leader nor waits for a candidate."""

    __slots__ = ()


class Settled(_Backup):
    """Heard the leader that it follows within its time-out: answers no PREPARE of others."""

    __slots__ = ()


class Awaiting(_Backup):
    """Promised to a candidate whose NEW-VIEW may still come."""

    __slots__ = ()


@dataclass(slots=True)
class Candidate:
    """One attempt to lead `ballot`, or with number 0 the question who has no leader."""

    role: ClassVar[Role] = Role.CANDIDATE
    ballot: Ballot
    outbid: bool = False  # somebody promised a higher ballot: only a new number can win
    own_durable: bool = False  # the candidate's own promise counts only once it is on disk
    # The newest of each peer, for this ballot.
    promises: dict[ReplicaId, Promise] = field(default_factory=dict)
    pauses: int = 0  # how often PREPARE was repeated
    asks: bool = False  # the last PREPARE only asked who is there: it was outbid before
    answered: set[ReplicaId] = field(default_factory=set)  # the last PREPARE, by ACK or NACK
    awaits: bool = False  # while it only asks: it promised to another, whose NEW-VIEW may come

    def counted(self, committed_upto: Slot) -> list[Promise]:
        """Promises that count for a candidate that has everything up to `committed_upto`.

        One whose sender has truncated more says nothing of the slots between: it counts after a
        checkpoint that covers them was installed.
        """
        return [p for p in self.promises.values() if p.truncated_upto <= committed_upto]

    def has_quorum(self, quorum: int, committed_upto: Slot) -> bool:
        """True when enough promises count, the candidate's own included."""
        return self.own_durable and len(self.counted(committed_upto)) + 1 >= quorum

    def is_answered(self, quorum: int) -> bool:
        """True when a quorum, the candidate included, hears it, is heard, and has no leader."""
        return len(self.answered) + 1 >= quorum


@dataclass(slots=True)
class Leader:
    """What a leader knows beside its log: who accepted how far, who answered, what is in flight.

    Lives as long as the leader leads one ballot and is forgotten with it.
    """

    role: ClassVar[Role] = Role.LEADER
    ballot: Ballot
    first_slot: Slot  # of its NEW-VIEW
    next_slot: Slot  # above everything proposed; never decreases
    peers: tuple[ReplicaId, ...]
    timeout: int  # without a quorum's answers for so long, it steps down
    timers: Timers
    prompt: tuple[ReplicaId, ...]  # who gets every ACCEPT at once: all, or who seems to be quick
    quorum: int = field(init=False)
    spare: tuple[ReplicaId, ...] = field(init=False)  # the others: several in one, a little later
    spare_upto: Slot = field(init=False)  # proposed to the spare ones; never decreases
    own_upto: Slot = 0  # the leader's own vote: slots of this ballot on its disk
    # Uncommitted slots of this ballot that each peer said to hold; never decreases.
    accepted_upto: dict[ReplicaId, Slot] = field(init=False)
    batch: list[Request] = field(default_factory=list)  # to be proposed when this turn ends
    # Highest timestamp proposed in this ballot.
    in_flight: dict[ClientId, int] = field(default_factory=dict)
    # Proposed since it had so little to do that a COMMIT left, or since the last trial.
    busy_slots: int = 0
    heartbeats: int = 0  # sent in this ballot
    is_known: bool = False  # a client was heard from since it was elected: no more LEADER
    answered_at: dict[ReplicaId, int] = field(default_factory=dict)
    since: int = field(init=False)  # nobody needs to have answered before

    def __post_init__(self) -> None:
        self.quorum = quorum_size(len(self.peers) + 1)
        self.accepted_upto = dict.fromkeys(self.peers, 0)
        self.spare = tuple(peer for peer in self.peers if peer not in self.prompt)
        self.spare_upto = self.next_slot - 1
        self.timers.commit = self.timers.spare = None
        self.start_afresh()

    def start_afresh(self) -> None:
        """Also after a pause or a disconnect: nobody has answered until somebody does again."""
        self.answered_at.clear()
        self.since = self.timers.heartbeat = self.timers.lease = self.timers.now

    def heard(self, peer: ReplicaId) -> None:
        """This peer answered in this ballot."""
        self.answered_at[peer] = self.timers.now

    def lost(self, peer: ReplicaId) -> None:
        """This peer's process is gone: its answers count no longer, and a spare one steps in."""
        if peer in self.prompt and self.spare:
            self.timers.spare = self.timers.now
        if self.answered_at.pop(peer, None) is not None:
            self.since = self.timers.lease = self.timers.now

    def choose_spare(self) -> bool:
        """Those that are gone or behind become the spare ones; True when any did.

        All must be told the same before.

        Thrifty, as EPaxos has it (Moraru et al. 2013, section 6.2): who waits for one client's
        request waits for a quorum only, and each of the others costs as much as one of those.
        Unlike there, the others get the same a little later, many slots at a time.
        """
        upto, heard, prompt = self.accepted_upto, self.answered_at, self.prompt
        ranked = sorted(self.peers, key=lambda p: (p not in heard, -upto[p], p not in prompt, p))
        count = len(prompt)
        self.prompt, self.spare = tuple(ranked[:count]), tuple(ranked[count:])
        return set(self.prompt) != set(prompt)

    def is_answered(self) -> bool:
        """True when a quorum, the leader included, answered within the last time-out."""
        now = self.timers.now
        recent = sum(1 for at in self.answered_at.values() if now - at < self.timeout)
        return recent + 1 >= self.quorum

    def is_given_up(self) -> bool:
        """True when no quorum answered for a time-out: the leader has to step down."""
        timers = self.timers
        if timers.now < timers.lease:
            return False  # the usual case costs no look at who answered when
        answered_at = (timers.now, *self.answered_at.values())  # the leader itself always does
        enough = len(answered_at) >= self.quorum
        answered = highest_held_by(self.quorum, answered_at) if enough else self.since
        timers.lease = answered + self.timeout
        return timers.now >= timers.lease

    def note_accepted(self, peer: ReplicaId, first: Slot, last: Slot, committed: Slot) -> bool:
        """Count a peer's claim of first..last; False when it leaves a gap or says nothing new."""
        known = self.accepted_upto[peer]
        if first > max(known, committed) + 1 or last <= known:
            return False
        self.accepted_upto[peer] = min(last, self.next_slot - 1)
        return True

    def chosen_upto(self) -> Slot:
        """Every slot up to here is held by a quorum, in this ballot or committed before."""
        return highest_held_by(self.quorum, (self.own_upto, *self.accepted_upto.values()))


Standing: TypeAlias = Idle | Settled | Awaiting | Candidate | Leader
