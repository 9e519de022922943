"""Rules 4 to 7: commit notices, the three facts, exactly once, and repair.

Each test fails when its rule is taken out: see `catalogue`.
"""

from conductor import TEN_EACH, Conductor, read, transfer

from bank.ballot import Ballot
from bank.effects import Send
from bank.messages import (
    Accept,
    Accepted,
    CatchUp,
    ClientRequest,
    Commit,
    Heartbeat,
    Message,
    NewView,
    Prepare,
    Promise,
    State,
)
from bank.sessions import NOOP_REQUEST
from bank.settings import Settings, Sizes

X, Y, Z = transfer("A", "J", 3), transfer("B", "J", 4), transfer("C", "J", 5)
FIRST, SECOND, THIRD = Ballot(1, 1), Ballot(2, 2), Ballot(3, 3)
SHORT = Settings(checkpoint_interval=4, checkpoint_pause=0, keep_slots=0)


def proposals(c: Conductor, replica: int) -> list[tuple]:
    """Every request that `replica` gave a slot to, in its NEW-VIEW or after."""
    messages = c.said(replica, NewView | Accept)
    return [request for message in messages for request in message.requests]


# ---- 4 commit notices ------------------------------------------------------------------------


def test_commit_notice_fetches_what_is_held_in_an_older_ballot():
    for notice in (Commit(SECOND, 1), Heartbeat(SECOND, 1, 1, 1), Accept(SECOND, 2, (Z,), 1)):
        c = Conductor(3)
        c.step(3, Accept(FIRST, 1, (X,), 0), source=1)
        effects = c.step(3, notice, source=2)
        assert c.marks(3, 1) == "A" and not effects.executed, notice
        assert Send((2,), CatchUp(1)) in effects.early
        c.step(3, State(1, (SECOND,), (Y,), 1), source=2)
        assert c.marks(3, 1) == "E" and c[3].log.entry(1).request == Y


def test_commit_notice_commits_what_was_accepted_in_that_ballot():
    c = Conductor(3)
    c.step(3, Accept(FIRST, 1, (X, Y, Z), 0), source=1)
    effects = c.step(3, Commit(FIRST, 2), source=1)
    assert c.marks(3, 3) == "EEA" and not effects.early, "nothing to fetch"


def test_commit_notice_goes_on_above_what_is_known_to_be_committed_in_an_older_ballot():
    c = Conductor(3)
    c.step(3, Accept(FIRST, 1, (X,), 1), source=1)
    c.step(3, Accept(SECOND, 2, (Y,), 2), source=2)
    assert c.marks(3, 2) == "EE"


def test_commit_notice_stops_below_a_gap():
    c = Conductor(3)
    c.step(3, Accept(FIRST, 1, (X,), 0), source=1)
    effects = c.step(3, Accept(FIRST, 3, (Z,), 3), source=1)
    assert c.marks(3, 3) == "EXA"
    assert Send((1,), CatchUp(2)) in effects.early


# ---- 5 three facts ---------------------------------------------------------------------------


def test_chosen_slot_is_committed_by_who_knows_it_and_by_nobody_else():
    c = Conductor(5)
    c.elect(1)
    c.request(1, X)
    c.deliver_all()
    assert [c.marks(r, 1) for r in c.everyone] == ["E", "A", "A", "A", "A"]
    c.run(3)
    assert [c.marks(r, 1) for r in c.everyone] == ["E", "E", "E", "E", "E"]


def test_slots_are_executed_in_order_without_gaps():
    c = Conductor(3)
    c.step(3, Accept(FIRST, 3, (Z,), 0), source=1)
    c.step(3, Accept(FIRST, 1, (X,), 3), source=1)
    assert c.marks(3, 3) == "EXA"
    c.step(3, State(2, (FIRST,), (Y,), 2), source=1)
    c.step(3, Commit(FIRST, 3), source=1)
    runs = [run for effects in c.effects[3] for run in effects.executed]
    assert [(run.first_slot, list(run.requests)) for run in runs] == [(1, [X]), (2, [Y]), (3, [Z])]
    assert c.status(3).balances == TEN_EACH | {"A": 7, "B": 6, "C": 5, "J": 22}


def test_leader_commits_a_slot_only_when_all_below_are_chosen():
    c = Conductor(3)
    c.elect(1)
    c.request(1, X)
    c.drop(Accept)
    c.request(1, Y)
    c.deliver_all()
    assert c.marks(1, 2) == "AA"
    c.run(100)
    assert c.marks(1, 2) == "EE"


# ---- 6 exactly once --------------------------------------------------------------------------


def test_same_timestamp_gives_the_same_reply_and_no_second_slot():
    c = Conductor(3)
    c.elect(1)
    c.request(1, X)
    c.run(10)
    c.request(1, X)
    c.run(10)
    assert c.answers("A") == [("A", 1, "success", 1)] * 2
    assert c.status(1).last_slot == 1


def test_any_replica_gives_the_reply_in_the_ballot_that_it_follows():
    c = Conductor(3)
    c.elect(1)
    c.request(1, X)
    c.run(10)
    c.replies.clear()
    c.crash(1)
    c.deliver_all()
    c.step(3, Prepare(Ballot(9, 2), 1), source=2)
    c.request(3, X)
    assert c.replies == [(3, FIRST, ("A", 1, "success", 1))], "not in the ballot promised"


def test_lower_timestamp_is_discarded():
    c = Conductor(3)
    c.elect(1)
    c.request(1, transfer("A", "J", 3, timestamp=2))
    c.run(10)
    c.crash(1)
    c.run(20)
    c.replies.clear()
    c.request((2, 3), transfer("A", "J", 1, timestamp=1))
    c.run(100)
    assert c.leaders() == [2] and not c.replies and c.status(2).last_slot == 1


def test_lower_timestamp_in_a_slot_has_no_effect():
    c = Conductor(3)
    late, early = transfer("A", "J", 3, timestamp=2), transfer("A", "J", 1, timestamp=1)
    c.step(3, Accept(FIRST, 1, (late, early), 2), source=1)
    assert c.status(3).balances["J"] == 13


def test_request_in_flight_gets_no_second_slot():
    c = Conductor(3)
    c.elect(1)
    c.request((1, 2, 3), X)
    c.request(1, X)
    c.run(100)
    assert proposals(c, 1) == [X] and c.answers("A") == [("A", 1, "success", 1)]


def test_request_in_the_new_view_gets_no_second_slot():
    c = Conductor(3)
    c.step(1, Accept(SECOND, 1, (X,), 0), source=2)
    c.expire(1)
    c.step(1, Promise(c.status(1).promised, 0, 0, ()), source=3)
    c.request(1, X)
    assert proposals(c, 1) == [X]


def test_request_in_flight_is_forgotten_with_the_ballot():
    c = Conductor(3)
    c.elect(1)
    c.request(1, X)
    c.drop()
    c.step(1, NewView(SECOND, 1, (Y,), 0), source=2)
    c.expire(1)
    c.step(1, Promise(c.status(1).promised, 0, 0, ()), source=3)
    c.request(1, X)
    assert proposals(c, 1) == [X, Y, X], "slot 1 went to another request"


def test_second_slot_of_a_request_has_no_second_effect():
    c = Conductor(3)
    effects = c.step(3, Accept(FIRST, 1, (X, NOOP_REQUEST, X), 3), source=1)
    assert c.status(3).balances == TEN_EACH | {"A": 7, "J": 13}
    answers = [answer for run in effects.executed for answer in run.answers]
    assert answers[0] == answers[2] == ("A", 1, "success", 1)


def test_request_with_two_slots_under_two_leaders_pays_once():
    c = Conductor(5)
    c.elect(1)
    c.request(1, Y)
    c.drop()
    c.request(1, X)
    c.deliver(1, 2)  # slot 2 holds X at n2, and at nobody else who lives on
    c.drop()
    c.crash(1, noticed=False)
    c.disconnect(2)
    c.run(600)
    c.request((3, 4, 5), X)
    c.run(100)
    assert c.answers("A") == [("A", 1, "success", 1)], "from a leader who knows of no slot 2"
    c.crash(c.leaders()[0])
    c.reconnect(2)
    c.run(1000)
    live = [r for r in (2, 3, 4, 5) if r in c.replicas]
    assert {c[r].log.entry(slot).request for r in live for slot in (1, 2)} == {X}
    for replica in live:
        assert c.marks(replica, 2) == "EE"
        assert c.status(replica).balances == TEN_EACH | {"A": 7, "J": 13}


def test_only_the_leader_answers_fresh_executions():
    c = Conductor(3)
    c.elect(1)
    c.request(1, X)
    c.run(100)
    assert [replica for replica, _, _ in c.replies] == [1]


def test_sessions_travel_in_checkpoints():
    c = Conductor(3, SHORT)
    c.elect(1)
    c.disconnect(3)
    for timestamp in range(1, 9):
        c.request(1, transfer("A", "J", 1, timestamp))
        c.run(45)
    assert c.status(1).truncated_upto == 8
    c.reconnect(3)
    c.run(100)
    assert c.status(3).checkpoint == 8
    c.replies.clear()
    c.request(3, transfer("A", "J", 1, timestamp=8))
    assert c.replies == [(3, FIRST, ("A", 8, "success", 8))]


def test_sessions_survive_a_restart():
    c = Conductor(3, SHORT)
    c.elect(1)
    for timestamp in range(1, 5):
        c.request(1, transfer("A", "J", 1, timestamp))
        c.run(45)
    c.crash(3)
    c.restart(3)
    assert c.status(3).truncated_upto == 4, "no row is left to learn it from"
    c.replies.clear()
    for timestamp in (3, 4):
        c.request(3, transfer("A", "J", 1, timestamp))
    assert c.replies == [(3, Ballot(0, 0), ("A", 4, "success", 4))]


# ---- 7 repair --------------------------------------------------------------------------------


class LosesOnce:
    """Loses the first message of a kind to one replica."""

    def __init__(self, kind: type, to: int) -> None:
        self.kind, self.to, self.lost = kind, to, 0

    def __call__(self, source: int, to: int, message: Message) -> bool:
        hit = self.lost == 0 and to == self.to and isinstance(message, self.kind)
        self.lost += hit
        return hit


def test_lost_accept_of_the_newest_slot_is_sent_again():
    """Two of three are live, so nothing is committed without the replica that missed it."""
    c = Conductor(3)
    c.elect(1)
    c.disconnect(3)
    c.loses = LosesOnce(Accept, to=2)
    c.request(1, X)
    c.run(60)
    assert c.loses.lost and [c.marks(r, 1) for r in (1, 2)] == ["E", "E"]


def test_no_more_is_sent_again_at_a_time_than_a_piece():
    c = Conductor(3, Settings(sizes=Sizes(piece_slots=3)))
    c.elect(1)
    c.disconnect(3)
    c.loses = lambda _, to, message: isinstance(message, Accept) and to == 2
    c.request(1, *(transfer(client, "J", 1) for client in "ABCDEFG"))
    c.deliver_all()
    c.loses = lambda *_: False
    c.sent.clear()
    c.run(60)
    again = [(a.first_slot, len(a.requests)) for a in c.said(1, Accept, to=2)]
    assert again[0] == (1, 3) and all(count <= 3 for _, count in again)


def test_lost_accept_below_the_leaders_watermark_is_asked_for():
    c = Conductor(3)
    c.elect(1)
    c.loses = LosesOnce(Accept, to=3)
    c.request(1, X)
    c.run(5)
    c.request(1, Y)
    c.run(5)
    assert c.loses.lost and c.said(3, CatchUp) == [CatchUp(1)]
    assert c.marks(3, 2) == "EE"


def test_lost_new_view_is_sent_again_no_ops_included():
    c = Conductor(3)
    c.step(1, Accept(SECOND, 2, (X,), 0), source=2)
    c.disconnect(3)
    c.loses = LosesOnce(NewView, to=2)
    c.expire(1)
    c.run(100)
    assert c.loses.lost and c.leaders() == [1]
    assert [c.marks(r, 2) for r in (1, 2)] == ["EE", "EE"]
    assert c[2].log.entry(1).request == NOOP_REQUEST


def test_lost_commit_is_repeated_by_the_heartbeat():
    c = Conductor(3)
    c.elect(1)
    c.loses = LosesOnce(Commit, to=3)
    c.request(1, X)
    c.run(60)
    assert c.loses.lost and c.marks(3, 1) == "E"


def test_lost_accepted_is_repeated_in_answer_to_the_heartbeat():
    c = Conductor(3)
    c.elect(1)
    c.disconnect(3)
    c.loses = LosesOnce(Accepted, to=1)
    c.request(1, X)
    c.run(60)
    assert c.loses.lost and c.marks(1, 1) == "E"


def test_lost_question_or_answer_is_repeated():
    for kind, to in ((CatchUp, 1), (State, 3)):
        c = Conductor(3)
        c.elect(1)
        c.drop()
        c.step(3, Accept(FIRST, 2, (Y,), 0), source=1)
        c.step(1, ClientRequest((X, Y)))
        c.drop(to=3)
        c.loses = LosesOnce(kind, to)
        c.run(200)
        assert c.loses.lost and c.marks(3, 2) == "EE", kind


def test_question_goes_to_another_replica_when_the_first_one_died():
    c = Conductor(3)
    c.step(2, Accept(FIRST, 1, (X,), 1), source=1)
    c.step(3, Commit(FIRST, 1), source=1)
    c.crash(1, noticed=False)
    c.run(100)
    assert c.marks(3, 1) == "E"


def test_returning_replica_asks_all_at_once_leader_or_not():
    for back in ("restart", "reconnect"):
        c = Conductor(3)
        c.elect(1)
        (c.crash if back == "restart" else c.disconnect)(3)
        c.request(1, X)
        c.run(5)
        c.disconnect(1)
        c.sent.clear()
        (c.restart if back == "restart" else c.reconnect)(3)
        assert c.said(3, CatchUp, to=1) and c.said(3, CatchUp, to=2), back
        c.deliver_all()
        assert c.marks(3, 1) == "E", back


def test_committed_entry_is_installed_whatever_its_ballot():
    c = Conductor(3)
    c.step(3, Accept(SECOND, 1, (X,), 0), source=2)
    c.step(3, Prepare(Ballot(9, 2), 0), source=2)
    effects = c.step(3, State(1, (FIRST, FIRST), (X, Y), 2), source=1)
    assert c.marks(3, 2) == "EE"
    assert effects.persist.committed_upto == 2, "in one write with the rows"


def test_no_committed_entry_is_held_above_the_promise():
    for ballots in ((SECOND, FIRST), (FIRST, SECOND)):
        c = Conductor(3)
        effects = c.step(3, State(1, ballots, (X, Y), 2), source=1)
        assert effects.persist.promised == c[3].promised == SECOND, ballots


def test_leader_waits_for_no_client_to_finish_what_another_left_open():
    c = Conductor(5)
    c.elect(1)
    c.request(1, X)
    c.deliver(1, 2)
    c.drop()
    c.crash(1)
    c.run(100)
    for replica in (2, 3, 4, 5):
        assert c.marks(replica, 1) == "E"
    c.request(2, read("J"))
    c.run(100)
    assert c.answers("J") == [("J", 1, 13, 2)]
