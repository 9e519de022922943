"""Rules 8 and 9: timers, and neither zombie leaders nor deadlocks.

Each test fails when its rule is taken out: see `catalogue`.
"""

from random import Random

import pytest
from conductor import Conductor, follower, transfer

from bank.ballot import Ballot
from bank.effects import Send
from bank.messages import (
    Accept,
    Accepted,
    CatchUp,
    ClientRequest,
    Heartbeat,
    Nack,
    Prepare,
    Promise,
    StatePiece,
)
from bank.replica import CLIENT, Replica
from bank.settings import Settings, Sizes
from bank.status import Role

X, Y, Z = transfer("A", "J", 3), transfer("B", "J", 4), transfer("C", "J", 5)
FIRST, SECOND, THIRD = Ballot(1, 1), Ballot(2, 2), Ballot(2, 3)
SHORTEST, LONGEST = 150, 300  # of the election time-out, milliseconds


# ---- 8 timers --------------------------------------------------------------------------------


def test_what_a_write_led_to_is_due_at_once():
    replica = Replica(1, 3, Settings(), Random(1), dict.fromkeys("AJ", 10))
    replica.seek_leader(0)
    replica.tick(0)
    ballot = replica.flush().persist.promised
    replica.step(2, Promise(ballot, 0, 0, ()), 0)  # before its own is on its disk
    assert replica.deadline() > 0 and replica.role is Role.CANDIDATE
    replica.stored()
    assert replica.role is Role.LEADER and replica.deadline() == 0
    replica.tick(0)
    replica.flush()
    replica.stored()
    replica.step(CLIENT, ClientRequest((X,)), 0)
    replica.flush()
    replica.step(2, Accepted(ballot, 1, 1, 0), 0)
    assert replica.deadline() > 0
    replica.stored()
    assert replica.deadline() == 0 and replica.flush().replies


def test_settled_replica_keeps_a_prepare_unanswered():
    c = follower(2)
    effects = c.step(2, Prepare(THIRD, 0), source=3)
    assert not effects.early and not effects.durable and c.status(2).promised == FIRST


def test_leader_that_it_follows_is_answered_at_once():
    c = follower(2)
    effects = c.step(2, Prepare(Ballot(3, 1), 0), source=1)
    assert effects.durable == [Send((1,), Promise(Ballot(3, 1), 0, 0, ()))]


def test_expiry_answers_the_highest_kept_prepare_and_draws_a_new_time_out():
    c = follower(2)
    c.step(2, Prepare(Ballot(2, 3), 0), source=3)
    c.step(2, Prepare(Ballot(4, 4), 0), source=4)
    c.step(2, Prepare(Ballot(3, 5), 0), source=5)
    c.expire(2)
    assert c.said(2, Promise | Prepare | Nack) == [Promise(Ballot(4, 4), 0, 0, ())]
    assert c.wait(2) >= SHORTEST


def test_each_message_of_the_leader_discards_the_kept_prepare():
    for message in (Heartbeat(FIRST, 1, 0, 0), Accept(FIRST, 1, (X,), 0)):
        c = follower(2)
        c.step(2, Prepare(THIRD, 0), source=3)
        c.step(2, message, source=1)
        c.sent.clear()
        c.expire(2)
        assert c.said(2, Promise | Prepare) == [Prepare(Ballot(3, 2), 0)]


def test_each_message_of_the_leader_draws_a_new_time_out():
    c = follower(2)
    waits = []
    for _ in range(20):
        c.skip(40)
        c.step(2, Heartbeat(FIRST, 1, 0, 0), source=1)
        waits.append(c.wait(2))
    assert all(SHORTEST <= one <= LONGEST for one in waits)
    assert len(set(waits)) > 10 and max(waits) - min(waits) > 50


def test_replica_that_does_not_hear_a_healthy_leader_cannot_depose_it():
    c = Conductor(5)
    c.elect(1)
    c.loses = lambda source, to, _: (source, to) == (1, 3)
    c.run(3000)
    assert c[3].role is Role.CANDIDATE and len(c.said(3, Prepare)) > 3
    assert c.leaders() == [1] and c.status(1).promised == FIRST
    c.loses = lambda *_: False
    c.run(200)
    assert c.leaders() == [1] and c.status(3).following == c.status(1).promised


def test_healthy_leader_ignores_a_prepare():
    c = Conductor(3)
    c.elect(1)
    effects = c.step(1, Prepare(THIRD, 0), source=3)
    assert c.leaders() == [1] and not effects.durable


def test_replica_that_never_heard_anyone_answers_at_once():
    c = Conductor(3)
    assert c.step(2, Prepare(FIRST, 0), source=1).durable


def test_replica_whose_time_out_expired_answers_at_once():
    c = follower(2)
    c.skip(c.wait(2) - 50)
    c.step(2, Prepare(FIRST, 0), source=1)  # a late copy: it does not stand itself now
    c.expire(2)
    effects = c.step(2, Prepare(Ballot(9, 3), 0), source=3)
    assert effects.durable == [Send((3,), Promise(Ballot(9, 3), 0, 0, ()))]


def test_replica_that_promised_without_a_new_view_answers_the_next_one_at_once():
    c = Conductor(5)
    c.step(2, Prepare(FIRST, 0), source=1)
    effects = c.step(2, Prepare(THIRD, 0), source=3)
    assert effects.durable == [Send((3,), Promise(THIRD, 0, 0, ()))]


def test_expiry_soon_after_a_prepare_sends_none_and_draws_a_new_time_out():
    c = follower(2)
    c.skip(c.wait(2) - 50)
    c.step(2, Prepare(FIRST, 0), source=1)  # a late copy
    c.expire(2)
    assert not c.said(2, Prepare) and c.wait(2) >= SHORTEST
    c.expire(2)
    assert c.said(2, Prepare) == [Prepare(SECOND, 0)]


def test_candidate_repeats_its_prepare_in_one_ballot_with_doubling_pauses():
    c = Conductor(3)
    c.disconnect(2, 3)
    c[1].seek_leader(c.now)
    c.run(20_000)
    assert {prepare.ballot for prepare in c.said(1, Prepare)} == {FIRST}
    c.sent.clear()
    pauses = []
    c = Conductor(3)
    c[1].seek_leader(c.now)
    c.expire(1)
    for _ in range(8):
        pauses.append(c.wait(1))
        c.expire(1)
        assert len(c.said(1, Prepare)) == len(pauses) + 1
    for exponent, pause in enumerate(pauses[:3]):
        assert SHORTEST << exponent <= pause <= LONGEST << exponent
    assert pauses[-1] == 2000 == max(pauses)


def test_ballots_do_not_grow_while_there_is_no_quorum():
    c = Conductor(5)
    c.elect(1)
    c.disconnect(3, 4, 5)
    c.run(2000)
    before = max(c[r].acceptor.seen for r in (1, 2))
    c.run(60_000)
    assert max(c[r].acceptor.seen for r in (1, 2)) == before <= 4


def test_candidate_takes_a_new_number_only_after_seeing_a_higher_ballot():
    c = Conductor(3)
    c[2].seek_leader(c.now)
    c.expire(2)
    c.step(2, Nack(Ballot(1, 1)), source=1)
    c.expire(2)
    c.step(2, Nack(Ballot(1, 3)), source=1)
    c.expire(2)
    assert [prepare.ballot for prepare in c.said(2, Prepare)] == [(1, 2), (1, 2), (2, 2)]


def outbid_candidate():
    """n1 of five stood in (1, n1); n3 promised (6, n3), and told it so."""
    c = Conductor(5)
    c[1].seek_leader(c.now)
    c.expire(1)
    c.step(1, Nack(Ballot(6, 3)), source=3)
    return c


def ballots(c, replica):
    """Of its PREPAREs, in order."""
    return [prepare.ballot for prepare in c.said(replica, Prepare)]


def test_outbid_candidate_without_a_quorum_takes_no_new_number():
    c = outbid_candidate()
    for _ in range(5):
        c.expire(1)
        c.step(1, Nack(Ballot(6, 3)), source=3)
    assert ballots(c, 1) == [(1, 1)] * 6


def test_quorum_of_answers_to_a_question_is_enough_at_once():
    c = outbid_candidate()
    c.expire(1)
    c.step(1, Nack(Ballot(6, 3)), source=3)
    effects = c.step(1, Promise(FIRST, 0, 0, ()), source=2)
    assert effects.durable == [Send((2, 3, 4, 5), Prepare(Ballot(7, 1), 0))]


def test_answers_to_an_earlier_prepare_do_not_count_for_the_next():
    c = outbid_candidate()
    c.expire(1)
    c.step(1, Nack(Ballot(6, 3)), source=4)
    c.expire(1)
    c.expire(1)
    assert ballots(c, 1) == [(1, 1)] * 4


def test_candidate_that_was_outbid_shortens_its_pause():
    c = Conductor(5)
    c[1].seek_leader(c.now)
    for _ in range(8):
        c.expire(1)
    assert c.wait(1) == 2000
    c.step(1, Nack(Ballot(6, 3)), source=3)
    assert c.wait(1) <= LONGEST


def test_replica_that_stood_in_vain_asks_before_its_next_number():
    """So one that hears its leader now and then disturbs nobody a second time."""
    c = Conductor(5)
    c.elect(1)
    c.loses = lambda source, to, _: (source, to) == (1, 3)
    c.run(500)
    c.loses = lambda *_: False
    c.run(100)
    assert c.leaders() == [1] and c.status(3).following == (3, 1)
    c.sent.clear()
    c.loses = lambda source, to, _: (source, to) == (1, 3)
    c.run(5000)
    assert set(ballots(c, 3)) == {(0, 3)}
    c.loses = lambda *_: False
    c.run(100)
    assert c.leaders() == [1] and c.status(3).following == (3, 1), "the same ballot"


def test_settled_replica_says_nothing_to_a_question():
    c = follower(2)
    effects = c.step(2, Prepare(Ballot(0, 3), 0), source=3)
    assert not effects.early and not effects.durable


def test_question_below_the_promise_is_kept_and_answered_at_the_expiry():
    c = follower(2)
    c.step(2, Prepare(Ballot(0, 3), 0), source=3)
    c.expire(2)
    assert c.said(2, Promise | Prepare | Nack) == [Nack(FIRST)]


def test_nobody_promises_a_question():
    c = Conductor(3)
    effects = c.step(2, Prepare(Ballot(0, 3), 0), source=3)
    assert effects.early == [Send((3,), Nack(Ballot(0, 0)))] and effects.persist is None


def test_leader_that_steps_down_stands_without_asking():
    c = Conductor(3)
    c.elect(1)
    c.disconnect(2, 3)
    c.run(2 * LONGEST + 40)
    assert ballots(c, 1)[0] == (2, 1)


def test_who_waited_for_a_candidate_in_vain_asks_before_it_stands():
    c = Conductor(5)
    for _ in range(2):
        c.step(2, Prepare(THIRD, 0), source=3)
    c.skip(c.wait(2) - 50)
    c.step(2, Prepare(THIRD, 0), source=3)  # just now, and no reason to keep quiet any more
    c.expire(2)
    assert ballots(c, 2) == [(0, 2)]
    c.step(2, Nack(THIRD), source=3)
    c.step(2, Nack(Ballot(0, 0)), source=4)
    assert ballots(c, 2) == [(0, 2), (3, 2)]


# ---- 9 no zombie leaders, no deadlock --------------------------------------------------------


def test_leader_without_answers_steps_down_within_one_time_out():
    c = Conductor(5)
    c.elect(1)
    c.disconnect(3, 4, 5)
    c.run(LONGEST + 40)
    assert not c.leaders()
    c.sent.clear()
    c.run(LONGEST)
    assert not c.said(1, Heartbeat)


def test_leader_with_a_quorum_of_answers_stays():
    c = Conductor(5)
    c.elect(1)
    c.disconnect(4, 5)
    c.run(5000)
    assert c.leaders() == [1] and c.status(1).promised == FIRST


def test_leader_that_stepped_down_never_leads_that_ballot_again():
    c = Conductor(3)
    c.elect(1)
    c.run(50)
    c.disconnect(2, 3)
    c.run(LONGEST + 40)
    for late in (Accepted(FIRST, 1, 0, 0), Promise(FIRST, 0, 0, ())):
        c.step(1, late, source=2)
    assert not c.leaders() and not c.status(1).answered
    while not c.said(1, Prepare):
        c.expire(1)
    assert all(prepare.ballot > FIRST for prepare in c.said(1, Prepare))


def test_answered_leader_that_gets_a_nack_prepares_above_it_at_once():
    c = Conductor(5)
    c.elect(1)
    effects = c.step(1, Nack(Ballot(6, 3)), source=3)
    assert Send((2, 3, 4, 5), Prepare(Ballot(7, 1), 0)) in effects.durable
    c.deliver_all()
    assert c.leaders() == [1] and c.status(1).following == Ballot(7, 1)


def test_leader_is_answered_by_those_that_elected_it():
    """Before any of them answers its NEW-VIEW: it need not give way meanwhile."""
    c = Conductor(3)
    c[1].seek_leader(c.now)
    c.expire(1)
    c.deliver(1, 2)
    c.deliver(2, 1)
    assert c.leaders() == [1] and c.status(1).answered
    c.step(1, Prepare(Ballot(2, 3), 0), source=3)
    assert c.leaders() == [1]


def test_unanswered_leader_that_gets_a_nack_steps_down():
    c = Conductor(5)
    c.elect(1)
    c.disconnect(1)
    c.skip(50)
    c.reconnect(1)
    assert not c.status(1).answered
    effects = c.step(1, Nack(Ballot(6, 3)), source=3)
    assert not effects.durable and c[1].role is Role.FOLLOWER


def test_nack_of_no_higher_ballot_changes_nothing():
    c = Conductor(5)
    c.elect(1)
    c.step(1, Nack(FIRST), source=3)
    assert c.leaders() == [1]


def test_candidate_that_gets_a_nack_waits_for_its_expiry():
    c = Conductor(5)
    c[1].seek_leader(c.now)
    c.expire(1)
    before = c.wait(1)
    for peer in (3, 4):
        effects = c.step(1, Nack(Ballot(6, 3)), source=peer)
        assert not effects.durable and c.wait(1) == before
    c.expire(1)
    assert c.said(1, Prepare)[-1] == Prepare(Ballot(7, 1), 0)


def test_leader_that_wakes_from_a_pause_counts_as_unanswered_but_gets_a_time_out():
    c = Conductor(3)
    c.elect(1)
    c.run(50)
    c.paused.add(1)
    c.skip(5000)
    c.tick(1)
    assert c.leaders() == [], "a paused one is not counted"
    assert c[1].role is Role.LEADER and not c.status(1).answered
    c.paused.clear()
    c.run(5)
    assert c.leaders() == [1] and c.status(1).answered


@pytest.mark.parametrize("milliseconds", [LONGEST + 40, LONGEST + 41])
def test_leader_without_a_turn_for_longer_than_it_ever_waits_was_paused(milliseconds):
    c = Conductor(3)
    c.elect(1)
    c.run(50)
    c.now = c[1].timers.last_turn
    c.skip(milliseconds)
    c.tick(1)
    was_paused = milliseconds > LONGEST + 40  # else the others fell silent
    assert (c[1].role is Role.LEADER) is was_paused


@pytest.mark.parametrize("late", [SHORTEST, SHORTEST + 1])
def test_backup_that_is_a_shortest_time_out_late_was_paused_if_it_is_later_still(late):
    c = follower(2, 3)
    c[2].timers.election = c[2].timers.last_turn + LONGEST * 1000
    c.now = c[2].timers.election
    c.skip(late)
    c.tick(2)
    was_paused = late > SHORTEST
    assert (c[2].role is Role.CANDIDATE) is not was_paused


def test_leader_that_reconnects_counts_as_unanswered():
    c = Conductor(3)
    c.elect(1)
    assert c.status(1).answered
    c.disconnect(1)
    c.skip(10)
    c.reconnect(1)
    assert not c.status(1).answered
    c.deliver_all()
    c.run(1)
    assert c.status(1).answered


def test_replica_that_wakes_from_a_pause_reads_its_queues_before_its_clock():
    c = Conductor(3)
    c.elect(1)
    c.run(50)
    c.paused.add(2)
    c.run(5000)
    c.paused.clear()
    c.tick(2)
    assert not c.said(2, Prepare) and c.wait(2) >= 40
    c.run(1000)
    assert c.leaders() == [1] and not c.said(2, Prepare)


def test_a_candidate_that_takes_a_checkpoint_is_not_given_another():
    """It stands because it does not hear the leader; with each PREPARE it would begin anew."""
    small = Sizes(piece_bytes=400)
    c = Conductor(3, Settings(checkpoint_interval=4, checkpoint_pause=0, keep_slots=0, sizes=small))
    c.elect(1)
    c.away = {3}
    for timestamp in range(1, 10):
        c.request(1, transfer("A", "J", 1, timestamp))
        c.run(5)
    prepare = Prepare(Ballot(9, 3), 0)
    (first,) = c.step(1, prepare, source=3).early
    assert isinstance(first.message, StatePiece) and first.message.pieces > 2
    c.step(1, CatchUp(1, first.message.checkpoint_slot, 1), source=3)
    assert not c.step(1, prepare, source=3).early
    c[1].timers.reading_until[3] -= (
        c.settings.prepare_pause
    )  # it was lost, or came from somebody else
    assert c.step(1, prepare, source=3).early


def test_a_replica_to_which_nobody_ever_spoke_asks_around():
    """Cut off from the leader since before the beginning: neither a client nor luck has to help."""
    c = Conductor(3)
    c.loses = lambda source, to, message: {source, to} == {1, 2}
    c.elect(1)
    c.request(1, transfer("A", "J", 1))
    c.run(5_000)
    assert [c.marks(replica, 1) for replica in c.everyone] == ["E"] * 3
    assert c[2].role is Role.FOLLOWER and not c.said(2, Prepare)
