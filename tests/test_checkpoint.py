"""Checkpoints and the running hash: taking, encoding, comparing, confirming, truncating."""

from dataclasses import replace
from itertools import pairwise

import pytest
from conductor import TEN_EACH, Conductor, read, take, transfer
from hypothesis import given
from hypothesis import strategies as st

from bank import checkpoint as checkpoints
from bank.accounts import Accounts
from bank.checkpoint import GENESIS_HASH, extend_hash
from bank.events import Reason, SteppedDown
from bank.history_hash import HistoryHash
from bank.messages import CheckpointHash
from bank.sessions import Machine
from bank.settings import USUAL, Settings
from bank.status import Role

TEN = Accounts(TEN_EACH)
SHORT = Settings(checkpoint_interval=4, checkpoint_pause=0, keep_slots=2)


def machine_after(*requests):
    machine = Machine(TEN_EACH)
    machine.execute(1, requests)
    return machine


def paying(count):
    return [transfer("A", "B", 1, timestamp) for timestamp in range(1, count + 1)]


def run(c, count, replica=1, first=1):
    """`count` transfers by A, one after the other, each with a heartbeat after it."""
    for timestamp in range(first, first + count):
        c.request(replica, transfer("A", "B", 1, timestamp))
        c.run(45)


# ---- values ----------------------------------------------------------------------------------


def test_checkpoint_survives_encoding():
    machine = machine_after(transfer("A", "J", 3), transfer("B", "J", 11), read("J"))
    checkpoint = take(3, "f" * 64, machine)
    assert checkpoints.decode(checkpoints.encode(checkpoint), TEN) == checkpoint


def test_checkpoint_is_a_copy():
    machine = machine_after(transfer("A", "J", 3))
    checkpoint = take(1, GENESIS_HASH, machine)
    machine.execute(2, [transfer("B", "J", 3)])
    assert checkpoint.balances["J"] == 13 and checkpoint.digest == checkpoint.computed_digest()


def test_encoding_is_pages_and_sorted_sessions_below_a_sealed_head():
    sessions = [("B", 7, "failed", 3), ("A", 1, 9, 2)]
    checkpoint = take(3, "f" * 64, Machine({"B": 2, "A": 1}, sessions))
    _, head, body = checkpoints.encode(checkpoint).split(b"\n", 2)
    assert head.decode() == f"3 {'f' * 64} {checkpoint.digest} 16"
    assert body == b"\x02" + bytes(7) + b"\x01" + bytes(7) + b"A 1 9 2\nB 7 failed 3\n"


def test_encoding_is_the_same_in_whatever_order_sessions_are_known():
    one = machine_after(transfer("A", "J", 3), transfer("B", "J", 3))
    two = Machine(one.ledger.balances, reversed(one.sessions.values()))
    assert checkpoints.encode(take(2, GENESIS_HASH, one)) == checkpoints.encode(
        take(2, GENESIS_HASH, two)
    )


ENCODED = checkpoints.encode(take(3, "f" * 64, machine_after(transfer("A", "J", 3), read("J"))))


@given(st.integers(0, len(ENCODED) - 1), st.integers(1, 255))
def test_damaged_checkpoint_is_refused(at, change):
    damaged = bytearray(ENCODED)
    damaged[at] ^= change
    assert checkpoints.decode(bytes(damaged), TEN) is None


def test_digest_of_another_state_is_refused():
    machine = machine_after(transfer("A", "J", 3))
    wrong = replace(take(1, GENESIS_HASH, machine), digest=Machine(TEN_EACH).digest())
    assert checkpoints.decode(checkpoints.encode(wrong), TEN) is None


@given(st.binary(max_size=200))
def test_foreign_bytes_are_no_checkpoint(data):
    assert checkpoints.decode(data, TEN) is None


@given(st.integers(0, len(ENCODED) - 1))
def test_checkpoint_cut_short_is_refused(length):
    assert checkpoints.decode(ENCODED[:length], TEN) is None


def test_running_hash_depends_on_slots_requests_results_and_what_was_before():
    requests = paying(2)
    answers = Machine(TEN_EACH).execute(1, requests)
    failed = [("A", 1, "failed", 1), answers[1]]
    hashes = {
        extend_hash(GENESIS_HASH, 1, requests, answers),
        extend_hash("1" * 64, 1, requests, answers),
        extend_hash(GENESIS_HASH, 2, requests, answers),
        extend_hash(GENESIS_HASH, 1, requests[::-1], answers[::-1]),
        extend_hash(GENESIS_HASH, 1, requests, failed),
    }
    assert len(hashes) == 5


@given(st.lists(st.integers(1, 260), min_size=1, max_size=6), st.data())
def test_turns_of_any_size_come_to_the_same_running_hash(sizes, data):
    upto = sum(sizes)
    requests = paying(upto)
    answers = Machine(TEN_EACH).execute(1, requests)
    whole, turns, other = HistoryHash(1, 3), HistoryHash(1, 3), HistoryHash(1, 3)
    whole.add(requests, answers)
    start = 0
    for size in sizes:
        turns.add(requests[start : start + size], answers[start : start + size])
        start += size
    differing = data.draw(st.integers(0, upto - 1))
    answers[differing] = (*answers[differing][:2], "other", differing + 1)
    other.add(requests, answers)
    for history in (whole, turns, other):
        history.note(upto)
    assert whole.current == turns.current != other.current


# ---- comparing -------------------------------------------------------------------------------


def history(upto, results=None, replica=1, quorum=3):
    """The running hash after `upto` slots, noted at every second one."""
    requests, machine, found = paying(upto), Machine(TEN_EACH), HistoryHash(replica, quorum)
    for slot in range(2, upto + 1, 2):
        answers = machine.execute(slot - 1, requests[slot - 2 : slot])
        found.add(requests[slot - 2 : slot], results or answers)
        found.note(slot)
    return found


def asks(slot, running_hash, *holders):
    return CheckpointHash(slot, running_hash, answer=False, holders=holders)


def has(slot, running_hash, *holders):
    return CheckpointHash(slot, running_hash, answer=True, holders=holders)


OTHER = "0" * 64


def test_equal_histories_confirm_each_other():
    one, two = history(4), history(4, replica=2)
    answer = two.hear(1, one.word(4, one.current, answer=False))
    assert answer == has(4, two.current, 1, 2)
    assert two.confirmed_upto == {1: 4}
    assert one.hear(2, answer) is None and one.confirmed_upto == {2: 4}
    assert not one.is_confirmed(4), "two of five"
    one.hear(3, has(4, one.current, 3))
    assert one.is_confirmed(4) and not one.is_confirmed(6)


def test_who_is_said_to_have_the_same_counts_as_well():
    one = history(4)
    one.hear(2, has(4, one.current, 2, 3))
    assert one.is_confirmed(4), "told by one that hears both"


def test_a_differing_hash_confirms_nothing_and_is_remembered():
    one = history(4)
    for peer in (2, 3):
        assert one.hear(peer, asks(4, OTHER, peer)) == has(4, one.current, 1), "it is told"
    assert not one.is_confirmed(4) and one.confirmed_upto == {}
    assert one.differs.startswith("history differs from that of n2 at slot 4: ")
    assert one.outvoted is None, "two of five are no majority"
    one.hear(4, has(4, OTHER, 4))
    assert one.outvoted.startswith("history differs from that of n2, n3, n4 at slot 4: ")


def test_several_other_hashes_are_no_majority():
    one = history(4)
    for peer in (2, 3, 4, 5):
        one.hear(peer, has(4, str(peer) * 64, peer))
    assert one.differs and one.outvoted is None


def test_nobody_is_outvoted_by_its_own_earlier_word():
    one = history(4)
    one.hear(2, has(4, OTHER, 1, 2, 3))
    assert one.outvoted is None, "n1 itself is no witness against itself"


def test_a_replica_that_comes_back_with_another_history_confirms_no_longer():
    one = history(4)
    for peer in (2, 3):
        one.hear(peer, has(4, one.current, peer))
    one.hear(2, asks(4, OTHER, 2))
    assert one.confirmed_upto == {3: 4} and not one.is_confirmed(4)


def test_question_about_a_slot_not_executed_yet_is_answered_later():
    one, two = history(4), history(2, replica=2)
    assert two.hear(1, asks(4, one.current, 1)) is None
    assert two.hear(1, asks(6, OTHER, 1)) is None, "one question of each peer waits"
    requests = paying(4)[2:]
    two.add(requests, [("A", 3, "success", 3), ("A", 4, "success", 4)])
    assert two.note(4) == [(1, has(4, one.current, 1, 2))]
    assert two.note(6) == []


def test_question_about_a_slot_long_gone_is_not_answered():
    two = history(2 * (USUAL.noted_hashes + 5))
    assert two.hear(1, asks(2, OTHER, 1)) is None
    assert two.confirmed_upto == {} and two.differs is None


def test_answers_are_compared_however_long_they_take():
    one = history(4)
    one.word(4, one.current, answer=False)
    asked = one.current
    for slot in range(6, 2 * USUAL.noted_hashes + 12, 2):
        one.note(slot)
    one.hear(2, has(4, asked, 2))
    assert one.confirmed_upto == {2: 4}


def test_what_is_compared_stays_bounded():
    one = history(4)
    for slot in range(6, 2000, 2):
        one.hear(2, asks(slot, OTHER, 2))
    assert len(one._compared) <= USUAL.compared_slots
    assert one.word(4, one.current, answer=False).slot == 4


def test_slots_skipped_by_a_checkpoint_are_not_compared():
    one = history(2)
    one.hear(2, asks(4, OTHER, 2))
    one.hear(3, has(8, OTHER, 3))
    one.restart_at(8, "1" * 64)
    assert one.differs is not None and "slot 8" in one.differs
    assert one.note(10) == [], "nobody waits for slot 4 any more"


def test_low_answer_does_not_take_a_confirmation_back():
    one, two = history(4), history(2)
    one.hear(2, has(4, one.current, 2))
    one.hear(2, has(2, two.current, 2))
    assert one.confirmed_upto == {2: 4}


# ---- in a cluster ----------------------------------------------------------------------------


def test_every_replica_truncates_below_its_checkpoint_but_for_the_slots_to_keep():
    c = Conductor(3, SHORT)
    c.elect(1)
    run(c, 9)
    for replica in c.everyone:
        status = c.status(replica)
        assert (status.checkpoint, status.truncated_upto) == (8, 6)
        assert sorted(c.disks[replica].rows) == [7, 8, 9]
        assert c.marks(replica, 10) == "EEEEEEEEEX", "truncated ones still show as executed"


def test_leader_truncates_nothing_until_f_backups_confirm():
    c = Conductor(5, SHORT)
    c.elect(1)
    c.loses = lambda source, to, message: isinstance(message, CheckpointHash)
    run(c, 9)
    assert c.status(1).checkpoint == 0 and c.status(1).truncated_upto == 0
    c.loses = lambda source, to, message: (
        {source, to} != {1, 2} and isinstance(message, CheckpointHash)
    )
    c.run(100)
    assert c.status(1).truncated_upto == 0, "one of two"
    c.loses = lambda *_: False
    c.run(400)
    assert c.status(1).truncated_upto == 2, "the checkpoint at 4 was in question"
    run(c, 3, first=10)
    assert c.status(1).truncated_upto == 10


def test_a_backup_that_hears_only_its_leader_truncates_as_well():
    c = Conductor(5, SHORT)
    c.elect(1)
    c.loses = lambda source, to, message: 1 not in (source, to)
    run(c, 9)
    for replica in c.everyone:
        assert (c.status(replica).checkpoint, c.status(replica).truncated_upto) == (8, 6)


def test_backup_truncates_nothing_until_others_confirm():
    c = Conductor(3, SHORT)
    c.elect(1)
    c.loses = lambda source, to, message: to == 3 and isinstance(message, CheckpointHash)
    run(c, 9)
    assert c.status(3).checkpoint == 0 and c.status(3).truncated_upto == 0
    c.loses = lambda *_: False
    c.run(100)
    assert c.status(3).truncated_upto == 2


def test_checkpoints_keep_their_pause():
    c = Conductor(3, Settings(checkpoint_interval=2, checkpoint_pause=200_000, keep_slots=0))
    c.elect(1)
    run(c, 20)
    taken = [
        (effects.persist.checkpoint.slot)
        for effects in c.effects[1]
        if effects.persist is not None and effects.persist.checkpoint is not None
    ]
    assert taken == sorted(set(taken)), "each is stored once"
    assert 3 <= len(taken) <= 5, "20 slots in 900 ms"


def checkpoint_times(every_ms):
    """When each of five replicas takes checkpoints, in ms; two requests, an interval, at a time."""
    c = Conductor(5, Settings(checkpoint_interval=2, checkpoint_pause=200_000, spare_pause=0))
    c.elect(1)
    times, slots = {replica: [] for replica in c.everyone}, dict.fromkeys(c.everyone, 0)
    for number in range(1, 2000 // every_ms):
        timestamps = (2 * number, 2 * number + 1)
        c.request(1, *(transfer("A", "B", 1, timestamp) for timestamp in timestamps))
        c.run(every_ms)
        for replica in c.everyone:
            if (slot := c.status(replica).checkpoint) > slots[replica]:
                slots[replica] = slot
                times[replica].append(number * every_ms)
    return times


def test_replicas_take_their_checkpoints_one_after_the_other():
    times = checkpoint_times(10)
    later = [taken[1:] for taken in times.values()]  # nothing was known of the first one
    assert all(len(taken) >= 5 for taken in later)
    gaps = {b - a for taken in times.values() for a, b in pairwise(taken)}
    assert min(gaps) >= 200
    assert max(gaps) <= 410
    together = [at for taken in later for at in taken]
    assert len(set(together)) == len(together), times


def test_where_intervals_are_long_nobody_waits_for_its_own_part_of_the_pause():
    times = checkpoint_times(300)
    for taken in times.values():
        assert max(b - a for a, b in pairwise(taken)) <= 600


@pytest.mark.parametrize("replica", [1, 3], ids=["leader", "backup"])
def test_a_majority_of_others_stops_the_replica_for_good(replica):
    c = Conductor(3, SHORT)
    c.elect(1)
    run(c, 4)
    c.sent.clear()
    effects = c.step(replica, has(4, OTHER, 2, 4), source=2)
    assert "differs" in effects.halted and c.status(replica).halted == effects.halted
    assert (SteppedDown(Reason.OUTVOTED) in effects.events) == (replica == 1)
    assert c.status(replica).role is Role.FOLLOWER
    assert not c.is_running(replica)
    c.run(1000)
    assert not [message for source, _, message in c.sent if source == replica]


def test_one_differing_hash_stops_nobody_and_is_shown():
    c = Conductor(3, SHORT)
    c.elect(1)
    run(c, 4)
    c.step(3, has(4, OTHER, 2), source=2)
    status = c.status(3)
    assert status.halted is None and "differs from that of n2 at slot 4" in status.differs
    run(c, 4, first=5)
    assert c.status(3).executed_upto == 8


def test_restart_comes_back_from_checkpoint_and_rows():
    c = Conductor(3, SHORT)
    c.elect(1)
    run(c, 9)
    before = c.status(2)
    c.crash(2)
    c.restart(2)
    after = c.status(2)
    assert (after.checkpoint, after.truncated_upto) == (8, 6)
    assert after.running_hash == before.running_hash
    c.run(500)
    assert c.status(2).digest == before.digest


def test_restart_of_everyone_loses_nothing_that_was_answered():
    c = Conductor(3, SHORT)
    c.elect(1)
    run(c, 9)
    c.loses = lambda *_: True
    for replica in c.everyone:
        c.crash(replica, noticed=False)
    for replica in c.everyone:
        c.restart(replica)
    c.loses = lambda *_: False
    c.run(1000)
    run(c, 1, replica=c.leaders()[0], first=10)
    assert {c.status(r).balances["B"] for r in c.everyone} == {20}
    assert c.answers("A")[-1] == ("A", 10, "success", 10)


# ---- an interval of one slot, under load -----------------------------------------------------


def under_load(replicas, turns, requests, **settings):
    """So many turns of so many requests of one client, each 5 ms after the one before."""
    plain = Settings(checkpoint_interval=1, checkpoint_pause=20_000, keep_slots=10, **settings)
    c = Conductor(replicas, plain)
    c.elect(1)
    for turn in range(turns):
        first = turn * requests + 1
        c.request(1, *(transfer("A", "B", 1, t) for t in range(first, first + requests)))
        c.run(5)
    return c


def test_more_slots_in_a_turn_than_hashes_are_noted():
    c = under_load(3, turns=20, requests=USUAL.noted_hashes + 50)
    for replica in c.everyone:
        behind = c.status(replica).executed_upto - c.status(replica).truncated_upto
        assert behind <= 9 * (USUAL.noted_hashes + 50), f"n{replica} keeps {behind} slots"


def test_spare_backups_that_are_as_far_behind_as_hashes_are_noted():
    c = under_load(5, turns=100, requests=15, spare_pause=1_000_000)
    assert len(c[1].standing.spare) == 2
    for replica in c.everyone:
        behind = c.status(replica).executed_upto - c.status(replica).truncated_upto
        assert behind <= 25 * 15, f"n{replica} keeps {behind} slots"
