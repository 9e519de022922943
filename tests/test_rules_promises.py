"""Rules 1 to 3: promises, elections, and votes that are collected again.

Each test fails when its rule is taken out: see `catalogue`.
"""

from random import Random

from conductor import TEN_EACH, Conductor, follower, read, transfer

from bank.ballot import Ballot
from bank.effects import Effects, Send
from bank.messages import (
    Accept,
    Accepted,
    AcceptedEntry,
    Commit,
    Heartbeat,
    Nack,
    NewView,
    Prepare,
    Promise,
    StatePiece,
)
from bank.sessions import NOOP_REQUEST
from bank.settings import Settings
from bank.standing import Leader
from bank.status import Role
from bank.timers import Timers

X, Y, Z = transfer("A", "J", 3), transfer("B", "J", 4), transfer("C", "J", 5)
FIRST, SECOND, THIRD = Ballot(1, 1), Ballot(2, 2), Ballot(3, 3)
SHORT = Settings(checkpoint_interval=4, checkpoint_pause=0, keep_slots=0)


def kinds(sends: list[Send]) -> list[type]:
    return [type(send.message) for send in sends]


def leaves_after_write(effects: Effects, kind: type) -> bool:
    """True when the turn has a write, and `kind` waits for it."""
    waits = kind in kinds(effects.durable) and kind not in kinds(effects.early)
    return waits and effects.persist is not None


# ---- 1 promises ------------------------------------------------------------------------------


def test_ack_leaves_after_its_promise_is_durable():
    c = Conductor()
    effects = c.step(2, Prepare(FIRST, 0), source=1)
    assert leaves_after_write(effects, Promise)
    assert effects.persist.promise_changed and effects.persist.promised == FIRST


def test_accepted_leaves_after_promise_and_entries_are_durable():
    c = Conductor()
    effects = c.step(2, Accept(FIRST, 1, (X, Y), 0), source=1)
    assert leaves_after_write(effects, Accepted)
    assert effects.persist.promised == FIRST
    assert [(run.first_slot, tuple(run.requests)) for run in effects.persist.runs] == [(1, (X, Y))]


def test_prepare_leaves_after_its_ballot_is_durable():
    c = Conductor()
    c[1].seek_leader(c.now)
    c.expire(1)
    effects = c.effects[1][0]
    assert leaves_after_write(effects, Prepare)
    assert effects.persist.promised == FIRST


def test_word_of_a_slow_disk_waits_while_the_leaders_may_overtake_it():
    c = Conductor(3)
    c.elect(1)
    c.slow_disks = {1, 2}
    c.request(1, X)
    assert c.deliver(1, 2) == Accept(FIRST, 1, (X,), 0)  # the leader's own write goes on
    assert not c.said(2, Accepted)
    c.disk_answers(2)
    assert c.said(2, Accepted) == [Accepted(FIRST, 1, 1, 0)]


def test_leaders_own_vote_counts_only_once_it_is_durable():
    c = Conductor(3)
    c.elect(1)
    c.slow_disks = {1}
    c.request(1, X)
    c.deliver(1, 2)
    c.deliver(2, 1)
    assert c.marks(1, 1) == "A", "one vote of three is durable"
    c.disk_answers(1)
    assert c.marks(1, 1) == "E"


def test_candidates_own_promise_counts_only_once_it_is_durable():
    c = Conductor(3)
    c.slow_disks = {1}
    c[1].seek_leader(c.now)
    c.expire(1)
    c.step(1, Promise(FIRST, 0, 0, ()), source=2)
    assert c[1].role is Role.CANDIDATE
    c.disk_answers(1)
    assert c[1].role is Role.LEADER


def test_lower_ballot_is_refused_and_an_equal_one_accepted():
    c = Conductor()
    c.step(3, Prepare(SECOND, 0), source=2)
    for message in (Prepare(FIRST, 0), Accept(FIRST, 1, (X,), 0), NewView(FIRST, 1, (X,), 0)):
        effects = c.step(3, message, source=1)
        assert effects.early == [Send((1,), Nack(SECOND))] and not effects.durable
    assert c.marks(3, 1) == "X"
    c.step(3, Accept(SECOND, 1, (Y,), 0), source=2)
    assert c.marks(3, 1) == "A"


def test_accepting_a_higher_ballot_raises_the_promise():
    c = Conductor()
    c.step(3, Accept(SECOND, 1, (X,), 0), source=2)
    assert c.status(3).promised == SECOND
    effects = c.step(3, Accept(FIRST, 1, (Y,), 0), source=1)
    assert kinds(effects.early) == [Nack] and c[3].log.entry(1).request == X


def test_restarted_leader_is_a_backup_that_resumes_no_ballot():
    c = Conductor(3)
    c.elect(1)
    c.request(1, X)
    c.crash(1)
    c.restart(1)
    assert c[1].role is Role.FOLLOWER and c.status(1).following == Ballot(0, 0)
    c.step(1, Promise(FIRST, 0, 0, ()), source=2)
    c.step(1, Accepted(FIRST, 1, 1, 0), source=2)
    assert c[1].role is Role.FOLLOWER and c.marks(1, 1) == "A"


def test_number_seen_before_is_not_stored_again():
    """A replica that cannot hear its leader asks again and again: that costs no write each time."""
    c = follower(2)
    assert c.step(2, Prepare(Ballot(4, 3), 0), source=3).persist.seen == 4
    assert c.step(2, Prepare(Ballot(4, 3), 0), source=3).persist is None


def test_restarted_replica_holds_what_it_promised_and_accepted():
    c = Conductor(3)
    c.step(2, Accept(FIRST, 1, (X, Y), 1), source=1)
    c.step(2, NewView(Ballot(1, 3), 3, (), 2), source=3)
    c.crash(2)
    c.restart(2)
    assert c.status(2).promised == Ballot(1, 3), "the same number, a higher ballot"
    effects = c.step(2, Prepare(THIRD, 0), source=3)
    log = effects.durable[0].message.accept_log
    assert [(entry.slot, entry.ballot, entry.request) for entry in log] == [
        (1, FIRST, X),
        (2, FIRST, Y),
    ]


def next_number_after_restart(c: Conductor, replica: int) -> int:
    """The number of the first PREPARE that a crashed replica sends when it is back."""
    c.crash(replica)
    c.sent.clear()
    c.restart(replica)
    c.expire(replica)
    return c.said(replica, Prepare)[0].ballot.number


def test_number_after_a_restart_is_above_the_one_used():
    c = Conductor(3)
    c[2].seek_leader(c.now)
    c.expire(2)
    assert next_number_after_restart(c, 2) == 2


def test_number_after_a_restart_is_above_the_one_promised():
    c = Conductor(3)
    c.step(2, Prepare(Ballot(7, 1), 0), source=1)
    assert next_number_after_restart(c, 2) == 8


def test_number_after_a_restart_is_above_one_seen_in_a_nack():
    c = Conductor(3)
    c[2].seek_leader(c.now)
    c.expire(2)
    c.step(2, Nack(Ballot(7, 3)), source=1)
    assert next_number_after_restart(c, 2) == 8


def test_number_after_a_restart_is_above_one_seen_in_a_kept_prepare():
    c = Conductor(3)
    c.elect(1)
    effects = c.step(2, Prepare(Ballot(7, 3), 0), source=3)
    assert not effects.durable and c.status(2).promised == FIRST, "kept, not promised"
    assert next_number_after_restart(c, 2) == 8


def test_number_after_a_restart_is_above_one_that_a_healthy_leader_ignored():
    c = Conductor(3)
    c.elect(1)
    c.step(1, Prepare(Ballot(7, 3), 0), source=3)
    assert c.leaders() == [1]
    assert next_number_after_restart(c, 1) == 8


# ---- 2 election ------------------------------------------------------------------------------


def candidate(replicas: int = 3, number: int = 5) -> tuple[Conductor, Ballot]:
    """n1 stands in (number, n1); nobody has answered yet."""
    c = Conductor(replicas)
    c.step(1, Nack(Ballot(number - 1, 2)), source=2)
    c[1].seek_leader(c.now)
    c.expire(1)
    return c, Ballot(number, 1)


def new_view(c: Conductor) -> NewView:
    found = c.said(1, NewView)
    assert len(found) == 1, found
    return found[0]


def test_value_of_the_highest_ballot_wins():
    c, ballot = candidate(5)
    c.step(1, Promise(ballot, 0, 0, (AcceptedEntry(1, THIRD, Y, False),)), source=2)
    c.step(1, Promise(ballot, 0, 0, (AcceptedEntry(1, SECOND, X, False),)), source=3)
    assert new_view(c).requests == (Y,)


def test_of_two_ballots_with_one_number_that_of_the_later_replica_is_higher():
    c, ballot = candidate(5)
    c.step(1, Promise(ballot, 0, 0, (AcceptedEntry(1, Ballot(3, 2), X, False),)), source=2)
    c.step(1, Promise(ballot, 0, 0, (AcceptedEntry(1, Ballot(3, 3), Y, False),)), source=3)
    assert new_view(c).requests == (Y,)


def test_committed_entry_outranks_any_ballot():
    c, ballot = candidate(5)
    c.step(1, Promise(ballot, 0, 0, (AcceptedEntry(1, THIRD, Y, False),)), source=2)
    c.step(1, Promise(ballot, 1, 0, (AcceptedEntry(1, FIRST, X, True),)), source=3)
    assert c.marks(1, 1) == "E" and c[1].log.entry(1).request == X


def test_own_log_counts_as_well():
    c = Conductor(3)
    c.step(1, Accept(SECOND, 1, (X,), 0), source=2)
    c.expire(1)
    c.step(1, Promise(THIRD._replace(replica=1), 0, 0, ()), source=3)
    assert new_view(c).requests == (X,)


def test_promise_for_an_older_ballot_counts_not():
    c, _ = candidate()
    c.step(1, Promise(Ballot(4, 1), 0, 0, ()), source=2)
    assert c[1].role is Role.CANDIDATE


def test_nack_is_no_promise():
    c, ballot = candidate()
    c.step(1, Nack(Ballot(4, 2)), source=2)
    c.step(1, Nack(Ballot(9, 3)), source=3)
    assert c[1].role is Role.CANDIDATE
    c.step(1, Promise(ballot, 0, 0, ()), source=2)
    assert c[1].role is Role.LEADER


def test_same_promise_twice_counts_once():
    c, ballot = candidate(5)
    c.step(1, Promise(ballot, 0, 0, ()), source=2)
    c.step(1, Promise(ballot, 0, 0, ()), source=2)
    assert c[1].role is Role.CANDIDATE


def test_candidate_accepts_nothing_below_its_own_ballot():
    """Its own log is read after its own promise was raised: nothing slips in between."""
    c, ballot = candidate()
    c.step(1, Accept(FIRST._replace(replica=3), 1, (X,), 0), source=3)
    assert c.marks(1, 1) == "X" and not c.said(1, Accepted)
    c.step(1, Promise(ballot, 0, 0, ()), source=2)
    assert new_view(c).requests == ()


def test_ack_reports_what_was_accepted_in_the_same_turn():
    c = Conductor(3)
    c[2].step(1, Accept(FIRST, 1, (X,), 0), c.now)
    effects = c.step(2, Prepare(Ballot(2, 1), 0), source=1)
    promise = next(s.message for s in effects.durable if isinstance(s.message, Promise))
    assert promise.accept_log == (AcceptedEntry(1, FIRST, X, False),)
    assert [run.requests for run in effects.persist.runs] == [(X,)]


def test_ack_reports_all_above_the_candidates_watermark_and_marks_the_committed():
    c = Conductor(3)
    c.step(2, Accept(FIRST, 1, (X, Y, Z), 2), source=1)
    effects = c.step(2, Prepare(Ballot(2, 1), 1), source=1)
    assert effects.durable[0].message == Promise(
        Ballot(2, 1),
        2,
        0,
        (AcceptedEntry(2, FIRST, Y, True), AcceptedEntry(3, FIRST, Z, False)),
    )


def left_behind(slots: int = 10) -> Conductor:
    """n3 misses all slots; n2 has truncated eight of them; n1, the leader, is away."""
    c = Conductor(3, SHORT)
    c.elect(1)
    c.disconnect(3)
    for timestamp in range(1, slots + 1):
        c.request(1, transfer("A", "B", 1, timestamp))
        c.run(45)
    assert c.status(2).truncated_upto == 8
    c.disconnect(1)
    c.reconnect(3)
    c.drop()  # n3's questions are lost, so its watermark stays where it was
    return c


def test_ack_of_who_truncated_more_counts_only_after_its_checkpoint_is_installed():
    c = left_behind()
    c.expire(3)
    while not isinstance(c.deliver(3, 2), Prepare):
        pass
    c.drop(StatePiece)  # with which n2 helps whoever stands and lacks something
    c.expire(2)  # n2 was settled: it answers the kept PREPARE now
    while c.queues[2, 3] and not isinstance(c.queues[2, 3][0], StatePiece):
        c.deliver(2, 3)
    assert c.said(2, Promise)[-1].truncated_upto == 8
    assert c[3].role is Role.CANDIDATE and c.status(3).committed_upto == 0
    c.deliver_all()
    assert c[3].role is Role.LEADER and c.status(3).committed_upto >= 8


def test_next_new_slot_is_above_everything_checkpointed():
    c = left_behind(slots=8)
    c.run(1000)
    c.request((2, 3), read("B"))
    c.run(100)
    assert c.answers("B") == [("B", 1, 18, 9)]


def test_next_new_slot_is_above_everything_reported_or_held():
    c = Conductor(3)
    c.step(1, Accept(SECOND, 5, (X,), 0), source=2)
    c.expire(1)
    ballot = c.status(1).promised
    c.step(1, Promise(ballot, 0, 0, (AcceptedEntry(3, FIRST, Y, False),)), source=3)
    noop = NOOP_REQUEST
    assert new_view(c) == NewView(ballot, 1, (noop, noop, Y, noop, X), 0)
    c.request(1, Z)
    assert c.said(1, Accept) == [Accept(ballot, 6, (Z,), 0)]


# ---- 3 votes again ---------------------------------------------------------------------------


def test_new_view_is_voted_afresh_for_executed_slots_and_executes_nothing_twice():
    c = Conductor(3)
    c.step(2, Accept(FIRST, 1, (X, Y), 2), source=1)
    assert c.marks(2, 2) == "EE"
    effects = c.step(2, NewView(THIRD, 1, (X, Y, Z), 0), source=3)
    assert effects.durable == [Send((3,), Accepted(THIRD, 1, 3, 0))]
    assert [(run.ballot, tuple(run.requests)) for run in effects.persist.runs] == [
        (THIRD, (X, Y, Z))
    ]
    assert not effects.executed
    assert c.status(2).balances == TEN_EACH | {"A": 7, "B": 6, "J": 17}


def test_new_view_is_voted_afresh_for_truncated_slots():
    c = left_behind()
    held = [c[2].log.entry(slot) for slot in (9, 10)]
    requests = tuple(transfer("A", "B", 1, timestamp) for timestamp in range(1, 11))
    effects = c.step(2, NewView(THIRD, 1, requests, 0), source=3)
    assert held[0].request == requests[8]
    assert effects.durable == [Send((3,), Accepted(THIRD, 1, 10, 0))]
    assert not effects.executed and c.status(2).balances["B"] == 20
    assert [(run.first_slot, len(run.requests)) for run in effects.persist.runs] == [(9, 2)]


def test_slot_is_accepted_although_slots_below_are_missing():
    c = Conductor(3)
    effects = c.step(2, Accept(FIRST, 5, (X,), 0), source=1)
    assert [run.first_slot for run in effects.persist.runs] == [5]
    assert c.marks(2, 5) == "XXXXA"


def test_cumulative_claim_spans_no_gap():
    c = Conductor(3)
    c.step(2, Accept(FIRST, 1, (X,), 0), source=1)
    effects = c.step(2, Accept(FIRST, 3, (Z,), 0), source=1)
    assert effects.durable == [Send((1,), Accepted(FIRST, 1, 1, 0))]
    effects = c.step(2, Accept(FIRST, 2, (Y,), 0), source=1)
    assert effects.durable == [Send((1,), Accepted(FIRST, 1, 3, 0))]


def test_cumulative_claim_spans_no_slot_of_an_older_ballot():
    c = Conductor(3)
    c.step(2, Accept(FIRST, 1, (X, Y, Z), 0), source=1)
    effects = c.step(2, Accept(THIRD, 1, (X,), 0), source=3)
    assert effects.durable == [Send((3,), Accepted(THIRD, 1, 1, 0))]
    effects = c.step(2, Heartbeat(THIRD, 1, 3, 0), source=3)
    assert effects.durable == [Send((3,), Accepted(THIRD, 1, 1, 3))]


def test_claim_made_before_a_higher_promise_of_the_same_turn_keeps_its_ballot():
    c = Conductor(3)
    c.step(2, NewView(FIRST, 1, (), 0), source=1)
    c[2].step(1, Accept(FIRST, 1, (X,), 0), c.now)
    effects = c.step(2, Prepare(Ballot(2, 1), 0), source=1)
    claims = [s.message for s in effects.durable if isinstance(s.message, Accepted)]
    assert claims == [Accepted(FIRST, 1, 1, 0)]


def test_leader_counts_no_claim_that_leaves_a_gap():
    timers = Timers(Settings(), Random(1), 0, 0, 0, 0)
    lead = Leader(FIRST, 1, 9, (2, 3), 1, timers, (2, 3))
    assert not lead.note_accepted(2, first=3, last=4, committed=1)
    assert lead.accepted_upto[2] == 0
    assert lead.note_accepted(2, first=2, last=4, committed=1)
    assert lead.accepted_upto[2] == 4


def test_new_view_is_committed_by_a_quorum_without_any_client():
    c = Conductor(5)
    c.step(1, Accept(Ballot(1, 5), 2, (X,), 0), source=5)
    c.crash(5)
    c.expire(1)
    while not c.leaders():
        c.deliver_all()
        c.expire(1)
    c.deliver_all()
    assert new_view(c).requests == (NOOP_REQUEST, X)
    assert c.marks(1, 2) == "EE"


def test_new_view_is_committed_by_no_less_than_a_quorum():
    c = Conductor(5)
    c.step(1, Accept(Ballot(1, 5), 1, (X,), 0), source=5)
    c.expire(1)
    ballot = c.status(1).promised
    for source in (2, 3):
        c.step(1, Promise(ballot, 0, 0, ()), source=source)
    assert c[1].role is Role.LEADER
    c.step(1, Accepted(ballot, 1, 1, 0), source=2)
    assert c.marks(1, 1) == "A", "two of five"
    c.step(1, Accepted(FIRST, 1, 1, 0), source=3)
    c.step(1, Accepted(ballot, 1, 1, 0), source=2)
    assert c.marks(1, 1) == "A", "an older ballot's vote, and the same vote twice"
    c.step(1, Accepted(ballot, 1, 1, 0), source=3)
    assert c.marks(1, 1) == "E"


def test_commit_of_a_new_view_reaches_the_others():
    c = Conductor(3)
    c.step(1, Accept(SECOND, 1, (X,), 0), source=2)
    c.expire(1)
    c.deliver_all()
    c.run(3)
    assert c.leaders() == [1] and len(c.said(1, Commit)) == 1
    assert [c.marks(r, 1) for r in c.everyone] == ["E", "E", "E"]
