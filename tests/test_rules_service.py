"""Rules 10 to 12: requests without a leader, death, and liveness.

Each test fails when its rule is taken out: see `catalogue`.
"""

from random import Random

from conductor import TEN_EACH, Conductor, follower, transfer

from bank.ballot import Ballot
from bank.effects import Send
from bank.messages import (
    Accept,
    Accepted,
    ClientRequest,
    Heartbeat,
    Message,
    Nack,
    NewView,
    PeerDown,
    Prepare,
    Promise,
)
from bank.replica import CLIENT

X, Y, Z = transfer("A", "J", 3), transfer("B", "J", 4), transfer("C", "J", 5)
FIRST, SECOND, THIRD = Ballot(1, 1), Ballot(2, 2), Ballot(2, 3)
SHORTEST, LONGEST = 150, 300  # of the election time-out, milliseconds


# ---- 10 requests -----------------------------------------------------------------------------


def test_backup_relays_a_request_to_its_leader():
    c = follower(2)
    effects = c.step(2, ClientRequest((X,)))
    assert effects.early == [Send((1,), ClientRequest((X,), relayed=True))]


def test_relayed_request_is_never_relayed_again():
    c = follower(2)
    effects = c.step(2, ClientRequest((X,), relayed=True), source=3)
    assert not effects.early
    c = Conductor(3)
    c.step(2, ClientRequest((X,), relayed=True), source=3)
    effects = c.step(2, NewView(FIRST, 1, (), 0), source=1)
    assert not effects.early, "nor when a leader turns up"


def test_replica_without_a_leader_keeps_the_newest_request_per_client():
    c = Conductor(3)
    newest = transfer("A", "J", 1, timestamp=2)
    c.request(2, transfer("A", "J", 1, timestamp=1), Y)
    c.request(2, newest)
    c.request(2, transfer("A", "J", 1, timestamp=1))
    effects = c.step(2, NewView(FIRST, 1, (), 0), source=1)
    assert effects.early == [Send((1,), ClientRequest((newest, Y), relayed=True))]


def test_what_was_relayed_to_a_leader_that_dies_is_kept_again():
    """It was read in the same turn as the leader's last words, just before the end of its queue."""
    c = follower(2)
    c.step(2, Heartbeat(FIRST, 1, 0, 0), source=1)
    c.step(2, ClientRequest((X,)))
    c.step(2, ClientRequest((Y,), relayed=True), source=3)
    c.step(2, PeerDown(1, 1), source=1)
    c.expire(2)
    for peer in c[2].peers[1:]:
        c.step(2, Promise(c[2].promised, 0, 0, ()), source=peer)
    assert [message.requests for message in c.said(2, Accept)] == [(X,)]


def test_what_the_dead_leader_had_answered_is_not_relayed_again():
    c = follower(2)
    c.step(2, ClientRequest((X, Y)))
    c.step(2, Accept(FIRST, 1, (X,), 0), source=1)
    c.step(2, Heartbeat(FIRST, 1, 1, 1), source=1)
    c.step(2, PeerDown(1, 1), source=1)
    effects = c.step(2, NewView(THIRD, 2, (), 1), source=3)
    assert effects.early == [Send((3,), ClientRequest((Y,), relayed=True))]


def test_what_was_relayed_is_relayed_to_the_next_leader_as_well():
    """Its first word may be read before the notice that the old one died."""
    c = follower(2)
    c.step(2, ClientRequest((X,)))
    effects = c.step(2, NewView(THIRD, 1, (), 0), source=3)
    assert Send((3,), ClientRequest((X,), relayed=True)) in effects.early
    effects = c.step(2, PeerDown(1, 1), source=1)
    assert not effects.early, "that is over"


def test_kept_requests_get_slots_when_the_replica_leads_itself():
    c = Conductor(3)
    c.request(2, X)
    c.step(2, ClientRequest((Y,), relayed=True), source=3)
    c.expire(2)
    c.deliver_all()
    assert c.leaders() == [2] and c.said(2, Accept) == [Accept(Ballot(1, 2), 1, (X, Y), 0)]


def test_what_was_asked_in_the_turn_that_deposes_a_leader_is_relayed_to_the_next():
    c = Conductor(3)
    c.elect(1)
    c[1].step(CLIENT, ClientRequest((X,)), c.now)
    effects = c.step(1, NewView(SECOND, 1, (), 0), source=2)
    assert Send((2,), ClientRequest((X,), relayed=True)) in effects.early


def test_request_starts_an_election_staggered_by_the_replicas_number():
    c = Conductor(5)
    c.request(c.everyone, X)
    assert [c.wait(r) for r in c.everyone] == [0, 5, 10, 15, 20]


def test_request_starts_no_election_where_a_candidate_is_waited_for():
    c = Conductor(5)
    c.step(2, Prepare(FIRST, 0), source=1)
    before = c.wait(2)
    c.request(2, X)
    assert c.wait(2) == before >= SHORTEST


def test_clients_are_told_of_a_leader_once_a_quorum_promised():
    c = Conductor()
    c.request(2, X)
    c.expire(2)
    c.step(2, Promise(SECOND._replace(number=1), 0, 0, ()), source=1)
    assert c.elected == []
    c.step(2, Promise(SECOND._replace(number=1), 0, 0, ()), source=3)
    assert c.elected == [(2, Ballot(1, 2))]


def test_leader_is_told_again_with_heartbeats_until_a_client_is_heard():
    c = Conductor(3)
    c.elect(2)
    c.run(200)
    told = len(c.elected)
    assert told >= 5 and set(c.elected) == {(2, Ballot(1, 2))}
    c.step(2, ClientRequest((X,), relayed=True), source=3)
    c.run(80)
    assert len(c.elected) >= told + 2, "a backup is no client"
    c.step(2, ClientRequest(()))
    told = len(c.elected)
    c.run(1000)
    assert len(c.elected) == told


def test_clients_that_wait_for_nothing_make_nobody_stand_and_are_relayed_to_nobody():
    c = Conductor(3)
    c.step(3, ClientRequest(()))
    c.run(1000)
    assert not c.said(3, Prepare) and not c.elected
    assert not follower(2).step(2, ClientRequest(())).early


def test_restarted_replica_waits_one_time_out_before_its_own_prepare():
    c = Conductor(3)
    c.crash(1)
    c.restart(1)
    c.request(1, X)
    assert SHORTEST <= c.wait(1) <= LONGEST
    c.expire(1)
    assert c.said(1, Prepare)


def test_reconnected_replica_waits_one_time_out_before_its_own_prepare():
    c = Conductor(3)
    c.disconnect(1)
    c.skip(10)
    c.reconnect(1)
    c.request(1, X)
    assert SHORTEST <= c.wait(1) <= LONGEST
    c.expire(1)
    assert c.said(1, Prepare)


def test_first_request_starts_the_first_election_and_is_answered():
    c = Conductor(5)
    c.request(1, X)
    c.run(1)
    assert c.replies == [(1, FIRST, ("A", 1, "success", 1))]


def test_broadcast_starts_an_election_elsewhere_when_n1_is_away():
    c = Conductor(5)
    c.disconnect(1)
    c.request(c.everyone, X)
    c.run(30)
    assert c.leaders() == [2] and c.answers("A") == [("A", 1, "success", 1)]


# ---- 11 death --------------------------------------------------------------------------------


def test_death_of_the_leader_ends_the_settled_state_at_once():
    c = follower(2)
    c.step(2, PeerDown(1, 1), source=1)
    assert c.wait(2) == 0
    effects = c.step(2, Prepare(THIRD, 0), source=3)
    assert effects.durable == [Send((3,), Promise(THIRD, 0, 0, ()))]


def test_death_of_the_leader_answers_the_kept_prepare():
    c = follower(2)
    c.step(2, Prepare(THIRD, 0), source=3)
    effects = c.step(2, PeerDown(1, 1), source=1)
    assert effects.durable == [Send((3,), Promise(THIRD, 0, 0, ()))]


def test_death_of_the_leader_starts_an_election_although_a_question_was_kept():
    c = follower(2)
    c.step(2, Prepare(Ballot(0, 3), 0), source=3)
    effects = c.step(2, PeerDown(1, 1), source=1)
    assert effects.early == [Send((3,), Nack(FIRST))] and c.wait(2) <= 15


def test_kept_prepare_of_a_candidate_that_died_is_forgotten():
    """Answered at the expiry it would be waited for, two time-outs longer."""
    c = follower(2)
    c.skip(c.wait(2) - 50)
    c.step(2, Prepare(THIRD, 0), source=3)
    c.step(2, PeerDown(3, 1), source=3)
    c.expire(2)
    assert c.said(2, Prepare | Promise) == [Prepare(Ballot(3, 2), 0)]


def test_death_of_another_replica_keeps_a_kept_prepare():
    c = follower(2)
    c.step(2, Prepare(THIRD, 0), source=3)
    c.step(2, PeerDown(4, 1), source=4)
    c.expire(2)
    assert c.said(2, Prepare | Promise) == [Promise(THIRD, 0, 0, ())]


def test_death_of_the_leader_is_noticed_soon_after_its_own_prepare():
    c = Conductor(5)
    c.elect(1)
    c.skip(1)
    c.crash(1)
    c.run(30)
    assert c.leaders() == [2]


def test_candidates_after_a_death_are_staggered_and_do_not_duel():
    c = Conductor(5)
    c.elect(1)
    c.skip(100)
    c.crash(1)
    for replica in (2, 3, 4, 5):
        c.deliver(1, replica)
    assert [c.wait(r) for r in (2, 3, 4, 5)] == [0, 5, 10, 15]
    c.run(30)
    prepares = [message for _, _, message in c.sent if isinstance(message, Prepare)]
    assert {prepare.ballot for prepare in prepares} == {SECOND} and c.leaders() == [2]


def test_death_of_the_candidate_ends_the_wait_for_its_new_view():
    c = Conductor(5)
    c.step(3, Prepare(FIRST, 0), source=1)
    c.step(3, PeerDown(1, 1), source=1)
    assert c.wait(3) == 5, "after n2"
    c.expire(3)
    assert c.said(3, Prepare) == [Prepare(THIRD, 0)]


def test_death_of_another_replica_changes_nothing():
    c = follower(2)
    before = c.wait(2)
    c.step(2, PeerDown(3, 1), source=3)
    assert c.wait(2) == before
    assert not c.step(2, Prepare(Ballot(2, 4), 0), source=4).durable, "still settled"


def test_leader_whose_quorum_died_steps_down_one_time_out_later():
    c = Conductor(3)
    c.elect(1)
    c.run(50)
    for peer in (2, 3):
        c.step(1, PeerDown(peer, 1), source=peer)
    assert not c.status(1).answered
    c.disconnect(2, 3)
    c.run(LONGEST)
    assert not c.leaders()


def test_silence_proves_no_death_and_the_dead_still_count_in_the_quorum():
    c = Conductor(5)
    c.elect(1)
    for peer in (3, 4, 5):
        c.crash(peer)
    c.request(1, X)
    c.run(100)
    assert c.marks(1, 1) == "A" and not c.replies, "two of five"
    c.restart(3)
    c.run(500)
    c.request((1, 2, 3), X)
    c.run(1000)
    assert [c.marks(r, 1) for r in (1, 2, 3)] == ["E", "E", "E"]


# ---- 12 liveness -----------------------------------------------------------------------------


def settle(c: Conductor, clients: str, milliseconds: int) -> None:
    """Clients ask everyone again every 300 ms, for so long, until they are answered."""
    for _ in range(0, milliseconds, 300):
        waiting = [client for client in clients if not c.answers(client)]
        if not waiting:
            return
        c.request(c.everyone, *(transfer(client, "J", 1) for client in waiting))
        c.run(300)


def converged(c: Conductor, last_slot: int) -> bool:
    """Every replica executed the same slots, up to `last_slot` at least."""
    states = [(c.status(r).executed_upto, c.status(r).digest) for r in c.everyone]
    return len(set(states)) == 1 and states[0][0] >= last_slot


def test_whatever_was_lost_every_request_is_answered_once_all_hear_each_other():
    for seed in range(12):
        c, random = Conductor(5), Random(seed)
        c.loses = lambda *_, random=random: random.random() < 0.6
        settle(c, "ABCDE", 3000)
        c.loses = lambda *_: False
        settle(c, "ABCDE", 3000)
        c.run(500)
        assert all(c.answers(client) for client in "ABCDE"), f"seed {seed}"
        assert converged(c, 5), f"seed {seed}"
        expected = TEN_EACH | dict.fromkeys("ABCDE", 9) | {"J": 15}
        assert c.status(1).balances == expected, f"seed {seed}"


def test_returning_quorum_has_a_leader_at_once_however_long_it_was_gone():
    for seed in range(5):
        c = Conductor(5)
        c.elect(1)
        c.disconnect(3, 4, 5)
        c.request((1, 2), X)
        c.run(30_000 + 377 * seed)
        c.reconnect(3)
        c.run(10)
        c.request((1, 2, 3), X)
        c.run(10)
        assert c.answers("A"), f"seed {seed}"


def test_one_way_cut_does_not_stop_the_others():
    """n1 reaches nobody but hears all: it must not keep anyone from electing another."""
    c = Conductor(5)
    c.elect(1)
    c.loses = lambda source, *_: source == 1
    settle(c, "ABCDE", 3000)
    assert all(c.answers(client) for client in "ABCDE")


def test_patience_with_candidates_is_one_for_all_of_them():
    """The centre of a star hears every one of them, and none of them can win."""
    c = Conductor(5)
    waits = []
    for ballot in (FIRST, SECOND, THIRD, Ballot(2, 4), Ballot(3, 4)):
        c.step(5, Prepare(ballot, 0), source=ballot.replica)
        waits.append(c.wait(5))
    assert waits[0] > LONGEST and waits[4] == waits[1]
    c.expire(5)
    for peer in (1, 2):
        c.step(5, Nack(FIRST), source=peer)
    assert c.said(5, Prepare)[-1] == Prepare(Ballot(4, 5), 0)


def test_following_a_leader_ends_the_waiting_in_vain():
    c = Conductor(5)
    for _ in range(4):
        c.step(2, Prepare(THIRD, 0), source=3)
    c.step(2, NewView(THIRD, 1, (), 0), source=3)
    c.expire(2)
    assert c.said(2, Prepare) == [Prepare(Ballot(3, 2), 0)]


def test_every_lost_kind_of_message_is_made_good():
    kinds = (Prepare, Promise, NewView, Accept, Accepted, Heartbeat)
    for kind in kinds:
        lost: list[Message] = []

        def loses(source: int, to: int, message: Message, kind=kind, lost=lost) -> bool:
            hit = isinstance(message, kind) and len(lost) < 4
            lost.extend([message] * hit)
            return hit

        c = Conductor(5)
        c.loses = loses
        settle(c, "ABC", 3000)
        c.run(300)
        assert len(lost) == 4 and converged(c, 3), kind


def test_cluster_of_one_replica_serves():
    c = Conductor(1)
    c.request(1, X)
    c.run(1000)
    assert c.answers("A") == [("A", 1, "success", 1)]
    assert c.leaders() == [1] and c.status(1).promised == FIRST
