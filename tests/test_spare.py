"""Spare backups, and commits that are learnt together: what is put off, and what brings it forward.

Each test fails when what it tests is taken out: see `catalogue`.
"""

from dataclasses import replace

import pytest
from conductor import Conductor, transfer

from bank.ballot import Ballot
from bank.messages import Accept, CatchUp, Commit, Heartbeat, Nack
from bank.settings import MILLISECOND, Settings, Sizes

FIRST = Ballot(1, 1)
SIZES = Sizes()
PAUSE = 2  # milliseconds
THRIFTY = Settings(spare_pause=PAUSE * MILLISECOND)
LAZY = Settings(learn_slots=3)


def led(settings: Settings = THRIFTY, replicas: int = 5) -> Conductor:
    """n1 leads, all is delivered and nothing is due; n2 and n3 promised first."""
    c = Conductor(replicas, settings)
    c.elect(1)
    c.run(1)
    c.sent.clear()
    return c


def ask(c: Conductor, count: int = 1, timestamp: int = 1) -> None:
    """So many clients ask n1, each in a turn of its own."""
    for client in range(count):
        c.request(1, (f"c{client}", timestamp, "transfer", "A", "J", 1))


def told(c: Conductor, to: int) -> list[tuple[int, int]]:
    """First slot and number of slots of each ACCEPT that n1 sent to this replica."""
    return [(m.first_slot, len(m.requests)) for m in c.said(1, Accept, to)]


def test_accept_goes_at_once_to_as_many_as_the_quorum_needs():
    c = led()
    ask(c, 3)
    assert told(c, 2) == told(c, 3) == [(1, 1), (2, 1), (3, 1)]
    assert told(c, 4) == told(c, 5) == []
    c.deliver_all()
    assert c[1].log.committed_upto == 3, "a quorum needs no more"


def test_spare_backups_get_the_same_as_one_run_with_the_commit():
    c = led(Settings(spare_pause=30 * MILLISECOND))
    ask(c, 3)
    c.run(2 * PAUSE + 1)
    assert not c.said(4, CatchUp), "a COMMIT tells nobody of a slot that was put off"
    assert told(c, 4) == told(c, 5) == [(1, 3)]
    assert [c.marks(replica, 3) for replica in c.everyone] == ["EEE"] * 5


def test_spare_backups_step_in_when_the_others_do_not_answer():
    c = led()
    c.away = {2, 3}
    ask(c)
    c.run(PAUSE - 0.5)
    assert told(c, 4) == [] and c[1].log.committed_upto == 0
    c.run(1)
    assert told(c, 4) == [(1, 1)] and c[1].log.committed_upto == 1


def test_who_does_not_answer_is_spare_from_then_on():
    c = led()
    c.away = {2}
    for timestamp in (1, 2):  # the second time shows that n2 is behind
        ask(c, 1, timestamp)
        c.run(2 * PAUSE + 1)
    c.sent.clear()
    ask(c, 1, 3)
    assert told(c, 2) == [] and told(c, 4) == [(3, 1)]
    c.deliver_all()
    assert c[1].log.committed_upto == 3


def test_one_that_dies_is_replaced_at_once():
    c = led()
    ask(c)
    c.crash(2)
    c.deliver_all()
    assert told(c, 4) == [(1, 1)], "told before the roles change, so it lacks nothing"
    assert c[1].log.committed_upto == 1
    c.sent.clear()
    ask(c, 1, 2)
    assert told(c, 2) == [] and told(c, 4) == [(2, 1)]


def test_progress_without_the_spare_ones_puts_them_off_until_slots_add_up():
    c = led()
    for timestamp in range(1, SIZES.spare_slots):
        ask(c, 1, timestamp)
        c.deliver_all()
        c.skip(PAUSE / 2)
        if timestamp * PAUSE / 2 % 30 == 0:  # before its heartbeat is due
            c[1].timers.heartbeat = c.now + 40 * MILLISECOND
        c.tick(1)
    assert told(c, 4) == []
    ask(c, 1, SIZES.spare_slots)
    assert told(c, 4) == told(c, 5) == [(1, SIZES.spare_slots)]


def test_spare_backups_are_told_before_a_heartbeat_asks_them():
    c = led()
    c.skip(c.wait(1) - 0.5)
    ask(c)
    c.skip(1)
    c.tick(1)
    kinds = [type(m) for source, to, m in c.sent if (source, to) == (1, 4)]
    assert kinds == [Accept, Heartbeat]


def test_a_full_turn_goes_to_all_at_once_and_after_what_was_put_off():
    c = led()
    ask(c)
    c.request(1, *(transfer(a, "J", 1) for a in "ABCDEFGHI"), *(
        (f"d{n}", 1, "transfer", "A", "J", 1) for n in range(SIZES.full_slots)
    ))  # fmt: skip
    assert told(c, 4) == told(c, 5) == [(1, 1), (2, SIZES.full_slots + 9)]
    c.deliver_all()
    assert not c.said(4, Nack) and c[4].log.last_slot == SIZES.full_slots + 10


def test_a_leader_that_is_not_busy_puts_nothing_off():
    c = led(Settings(spare_pause=PAUSE * MILLISECOND, spare_after=2))
    ask(c, 3)
    assert told(c, 4) == [(1, 1), (2, 1)], "with the third it is busy"
    c.run(2 * PAUSE + 1)  # its COMMIT leaves: nothing more to do
    c.sent.clear()
    ask(c, 1, 2)
    assert told(c, 4) == [(4, 1)]


def with_slow_one(c: Conductor, slow: int, timestamps: range) -> None:
    """n1 is asked time after time, and this one answers later than anybody else."""
    for timestamp in timestamps:
        ask(c, 1, timestamp)
        for _ in range(3):
            for (source, to), queue in sorted(c.queues.items()):
                if queue and source != slow:
                    c.deliver(source, to)


def test_a_slow_backup_is_found_out_when_all_had_the_same_chance():
    c = led(Settings(spare_pause=PAUSE * MILLISECOND, spare_after=5))
    with_slow_one(c, 2, range(1, 6))
    c.sent.clear()
    ask(c, 1, 6)
    assert told(c, 2) == [] and told(c, 3) == told(c, 4) == [(6, 1)]


def test_who_is_slow_is_asked_when_the_leader_becomes_busy_and_not_before():
    c = led(Settings(spare_pause=PAUSE * MILLISECOND, spare_after=5))
    with_slow_one(c, 2, range(1, 4))
    c.deliver(2, 1)
    with_slow_one(c, 3, range(4, 6))
    c.sent.clear()
    ask(c, 1, 6)
    assert told(c, 3) == [] and told(c, 2) == told(c, 4) == [(6, 1)]


def test_who_becomes_slow_is_found_out_at_the_next_trial():
    c = led(Settings(spare_pause=PAUSE * MILLISECOND, spare_after=5))
    for timestamp in range(1, 7):
        ask(c, 1, timestamp)
        c.deliver_all()
    lead = c[1].standing
    assert lead.prompt == (2, 3)
    for _ in range(SIZES.trial_heartbeats):
        c[1].timers.heartbeat = c.now
        c.tick(1)
        c.deliver_all()
    with_slow_one(c, 2, range(50, 56))
    assert 2 not in lead.prompt


@pytest.mark.parametrize("trial_heartbeats", [4, 5])
def test_the_next_trial_is_after_so_many_heartbeats(trial_heartbeats):
    c = led(replace(Settings(), sizes=Sizes(trial_heartbeats=trial_heartbeats)))
    lead = c[1].standing
    lead.heartbeats = 0
    for beats in range(1, trial_heartbeats + 1):
        lead.busy_slots = 7
        c[1].timers.heartbeat = c.now
        c.tick(1)
        assert (lead.busy_slots == 0) == (beats == trial_heartbeats)


def test_a_leader_truncates_nothing_that_spare_backups_were_not_told():
    plain = Settings(checkpoint_interval=4, checkpoint_pause=0, keep_slots=0, spare_pause=30_000)
    c = led(plain)
    for timestamp in range(1, 10):
        ask(c, 1, timestamp)
        c.deliver_all()
    assert c[1].log.executed_upto == 9 and told(c, 4) == []
    assert c[1].log.truncated_upto == 0
    c.run(100)
    assert c[1].log.truncated_upto == 8 and c[4].log.executed_upto == 9
    assert not c.said(4, CatchUp)


def test_commits_told_by_accepts_are_executed_together():
    c = Conductor(3, LAZY)
    requests = [transfer(a, "J", 1) for a in "ABCDE"]
    for slot, request in enumerate(requests[:3], 1):
        effects = c.step(3, Accept(FIRST, slot, (request,), slot - 1), source=1)
        assert not effects.executed
    effects = c.step(3, Accept(FIRST, 4, (requests[3],), 3), source=1)
    assert [e.first_slot for e in effects.executed] == [1] and c.marks(3, 4) == "EEEA"


def test_commit_and_heartbeat_are_acted_on_at_once():
    for notice in (Commit(FIRST, 1), Heartbeat(FIRST, 1, 1, 1)):
        c = Conductor(3, LAZY)
        c.step(3, Accept(FIRST, 1, (transfer("A", "J", 1),), 0), source=1)
        assert c.step(3, notice, source=1).executed
