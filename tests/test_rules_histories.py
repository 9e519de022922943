"""Rule 14: whose history counts, and who halts. More of it in test_checkpoint and test_damage."""

from conductor import Conductor, transfer

from bank.history_hash import HistoryHash
from bank.messages import CheckpointHash
from bank.settings import Settings
from bank.status import Role

MINE, OTHER = "1" * 64, "2" * 64
SHORT = Settings(checkpoint_interval=4, checkpoint_pause=0, keep_slots=2)


def of_five():
    """n1 of five, after slot 4."""
    return HistoryHash(1, 3, 4, MINE)


def says(running_hash, *holders, answer=True):
    return CheckpointHash(4, running_hash, answer, holders)


def executed(slots, loses=lambda *_: False):
    """Five replicas that executed so many slots; n1 leads."""
    c = Conductor(5, SHORT)
    c.elect(1)
    c.loses = loses
    for timestamp in range(1, slots + 1):
        c.request(1, transfer("A", "B", 1, timestamp))
        c.run(45)
    return c


def loses_hashes(source, to, message):
    return isinstance(message, CheckpointHash)


def test_a_differing_hash_confirms_nothing():
    history = of_five()
    for peer in (2, 3, 4, 5):
        history.hear(peer, says(OTHER, peer))
    assert history.confirmed_upto == {} and not history.is_confirmed(4)


def test_less_than_a_majority_confirms_nothing():
    history = of_five()
    history.hear(2, says(MINE, 2))
    assert not history.is_confirmed(4)
    history.hear(3, says(MINE, 3))
    assert history.is_confirmed(4)


def test_who_asks_is_answered_whatever_its_hash():
    assert of_five().hear(2, says(OTHER, 2, answer=False)) == says(MINE, 1)


def test_less_than_a_majority_stops_nobody():
    history = of_five()
    history.hear(2, says(OTHER, 2, 3))
    assert history.outvoted is None
    assert str(history.differs).startswith("history differs from that of n2, n3 at slot 4: ")
    history.hear(4, says(OTHER, 4))
    assert history.outvoted is not None


def test_a_leader_with_a_majority_against_it_steps_down_and_halts():
    c = executed(4)
    effects = c.step(1, says(OTHER, 2, 3, 4), source=2)
    assert effects.halted is not None and effects.early == effects.durable == []
    assert c.status(1).role is Role.FOLLOWER and not c.is_running(1)


def test_a_checkpoint_in_question_is_neither_stored_nor_lent():
    c = executed(6, loses_hashes)
    assert c.disks[1].checkpoint is None and c.status(1).checkpoint == 0
    assert c.status(1).truncated_upto == 0


def test_a_checkpoint_in_question_is_asked_about_again():
    c = executed(5, loses_hashes)
    c.loses = lambda *_: False
    c.run(200)
    assert {c.status(replica).checkpoint for replica in c.everyone} == {4}


def test_a_checkpoint_that_nobody_confirms_is_asked_about_ever_less_often():
    """An idle cluster whose replicas forgot the slot would ask at every heartbeat for ever."""
    asked = []

    def loses(source, to, message):
        if isinstance(message, CheckpointHash) and (source, to) == (1, 2):
            asked.append(c.now)
        return isinstance(message, CheckpointHash)

    c = executed(5, loses_hashes)
    c.loses = loses
    c.run(100 * c[1].settings.heartbeat // 1000)
    assert 2 <= len(asked) <= 8, asked


def test_a_checkpoint_in_question_stays_it_until_ten_heartbeats_repeated_it():
    c = executed(8, loses_hashes)
    assert c[1].learner.taken.slot == 4
    for timestamp in range(9, 17):
        c.request(1, transfer("A", "B", 1, timestamp))
        c.run(45)
    assert c[1].learner.taken.slot > 4


def test_a_leader_tells_those_who_hear_nobody_else():
    c = executed(9, lambda source, to, message: 1 not in (source, to))
    assert {c.status(replica).checkpoint for replica in c.everyone} == {8}


def test_whoever_is_behind_answers_when_it_is_that_far():
    history = HistoryHash(1, 3)
    assert history.hear(2, says(MINE, 2, answer=False)) is None
    history.add([transfer("A", "B", 1, t) for t in range(1, 5)], [("A", 1, "success", 1)] * 4)
    assert [(peer, answer.slot, answer.answer) for peer, answer in history.note(4)] == [
        (2, 4, True)
    ]


def test_who_asked_about_a_slot_that_a_checkpoint_skipped_can_ask_about_a_later_one():
    history = HistoryHash(1, 3)
    assert history.hear(2, says(MINE, 2, answer=False)) is None
    history.restart_at(4, MINE)
    assert history.hear(2, CheckpointHash(8, OTHER, False, (2,))) is None
    history.add([transfer("A", "B", 1, t) for t in range(5, 9)], [("A", 1, "success", 1)] * 4)
    assert [(peer, answer.slot) for peer, answer in history.note(8)] == [(2, 8)]
