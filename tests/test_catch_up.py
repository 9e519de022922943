"""Catching up: what is asked for, what is given, and that half a checkpoint installs nothing."""

from dataclasses import replace

import pytest
from conductor import Conductor, follower, take, transfer

from bank import checkpoint as checkpoints
from bank.accounts import Balances
from bank.ballot import Ballot
from bank.catch_up import Fetch, Library
from bank.checkpoint import GENESIS_HASH, Encoding
from bank.effects import Effects
from bank.log import Log
from bank.messages import CatchUp, Heartbeat, Promise, Reply, State, StatePiece
from bank.sessions import Machine
from bank.settings import USUAL, Settings, Sizes
from bank.status import Role

FIRST = Ballot(1, 1)
SHORT = Settings(checkpoint_interval=4, checkpoint_pause=0, keep_slots=0)
WITHOUT_CHECKPOINTS = Settings(checkpoint_interval=1_000_000)
SMALL = Sizes(piece_bytes=300)
PIECE_SLOTS = USUAL.piece_slots


def full_log(upto, truncated=0):
    log = Log()
    log.accept(1, FIRST, [transfer("A", "B", 1, slot) for slot in range(1, upto + 1)])
    log.commit(upto)
    log.executed_upto = upto
    log.truncate(truncated)
    return log


def checkpoint_at(slot, accounts=3):
    balances = {f"account{number}": number for number in range(accounts)}
    return take(slot, GENESIS_HASH, Machine(balances))


# ---- giving ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first_slot", "slots"),
    [
        pytest.param(1, (1, PIECE_SLOTS), id="no more than one run"),
        pytest.param(PIECE_SLOTS + 1, (PIECE_SLOTS + 1, PIECE_SLOTS + 5), id="up to the watermark"),
        pytest.param(PIECE_SLOTS + 5, (PIECE_SLOTS + 5, PIECE_SLOTS + 5), id="a single one"),
        pytest.param(PIECE_SLOTS + 6, None, id="nothing beyond it"),
    ],
)
def test_library_gives_committed_slots(first_slot, slots):
    log = full_log(PIECE_SLOTS + 5)
    log.accept(PIECE_SLOTS + 6, FIRST, [transfer("A", "B", 1, 1)])  # accepted only
    answer = Library().answer(2, CatchUp(first_slot), log, None)
    if slots is None:
        assert answer is None
    else:
        assert (answer.first_slot, answer.first_slot + len(answer.requests) - 1) == slots
        assert len(answer.ballots) == len(answer.requests)
        assert answer.committed_upto == PIECE_SLOTS + 5


def test_library_gives_a_checkpoint_below_its_truncation_piece_by_piece():
    log, checkpoint, library = (
        full_log(10, truncated=8),
        checkpoint_at(8, 20),
        Library(SMALL),
    )
    fetch, question = Fetch(target=10, source=1), CatchUp(1)
    for _ in range(20):
        piece = library.answer(2, question, log, checkpoint)
        assert isinstance(piece, StatePiece) and len(piece.data) <= 300
        whole = fetch.take_piece(1, piece)
        if whole is not None:
            break
        question = fetch.question(0)
        assert question == CatchUp(1, 8, piece.piece + 1)
    assert checkpoints.decode(whole, checkpoint.state.accounts) == checkpoint
    assert isinstance(library.answer(2, CatchUp(9), log, checkpoint), State)


def test_library_keeps_lending_a_checkpoint_that_was_replaced_meanwhile():
    library, old = Library(SMALL), checkpoint_at(8, 20)
    log = full_log(20, truncated=8)
    first = library.answer(2, CatchUp(1), log, old)
    second = library.answer(2, CatchUp(1, 8, 1), log, checkpoint_at(16, 20))
    assert (second.checkpoint_slot, second.piece) == (8, 1)
    assert checkpoints.encode(old).startswith(first.data + second.data)
    other = library.answer(3, CatchUp(1, 8, 1), full_log(20, truncated=16), checkpoint_at(16, 20))
    assert (other.checkpoint_slot, other.piece) == (16, 0), "who never borrowed gets the new one"


@pytest.mark.parametrize("piece_bytes", [450, 1_000, 2_000, 256 * 1024])
@pytest.mark.parametrize("accounts", [1, 20, 133])
def test_pieces_are_the_canonical_bytes_however_small(accounts, piece_bytes):
    sessions = [(f"c{number}" * 10, 10**15, 2**62, 10**15) for number in range(30)]
    balances = Balances.of({f"a{number}": 2**62 for number in range(accounts)}, 16)
    checkpoint = take(8, GENESIS_HASH, Machine(balances, sessions))
    encoding = Encoding(checkpoint, piece_bytes)
    pieces = [encoding.piece(number) for number in range(encoding.pieces)]
    assert b"".join(pieces) == checkpoints.encode(checkpoint)
    assert max(map(len, pieces)) <= piece_bytes


def test_library_has_no_piece_beyond_the_last():
    library, checkpoint = Library(), checkpoint_at(8)
    log = full_log(10, truncated=8)
    assert library.answer(2, CatchUp(1), log, checkpoint).pieces == 1
    assert library.answer(2, CatchUp(1, 8, 1), log, checkpoint) is None
    assert library.answer(2, CatchUp(1, 8, 99), log, checkpoint) is None


# ---- asking ----------------------------------------------------------------------------------


def piece(number, slot=8, pieces=3):
    return StatePiece(slot, number, pieces, b"%d" % number, 10)


def test_pieces_count_in_order_only_and_once():
    fetch = Fetch(target=10, source=1)
    assert fetch.take_piece(1, piece(1)) is None and fetch.pieces == []
    fetch.take_piece(1, piece(0))
    fetch.take_piece(1, piece(0))
    fetch.take_piece(1, piece(2))
    assert fetch.pieces == [b"0"]
    fetch.take_piece(2, piece(1))  # the encoding is canonical: anyone's piece will do
    assert fetch.take_piece(1, piece(2)) == b"012"
    assert fetch.question(0) == CatchUp(1)


def test_newer_checkpoint_replaces_an_unfinished_one_when_its_giver_says_so():
    fetch = Fetch(target=20, source=1)
    fetch.take_piece(1, piece(0))
    assert fetch.take_piece(2, piece(0, slot=16)) is None and fetch.checkpoint_slot == 8
    fetch.take_piece(1, piece(0, slot=16))
    assert (fetch.checkpoint_slot, fetch.pieces) == (16, [b"0"])


def test_unfinished_checkpoint_that_the_log_overtook_is_not_asked_for():
    fetch = Fetch(target=20, source=1)
    fetch.take_piece(1, piece(0))
    assert fetch.question(9) == CatchUp(10)


# ---- in a cluster ----------------------------------------------------------------------------


def long_gone(slots=10, sizes=SMALL):
    """n3 misses `slots` slots of which the others have truncated eight."""
    c = Conductor(3, replace(SHORT, sizes=sizes))
    c.elect(1)
    c.disconnect(3)
    for timestamp in range(1, slots + 1):
        c.request(1, transfer("A", "B", 1, timestamp))
        c.run(45)
    assert c.status(1).truncated_upto == c.status(2).truncated_upto == 8
    c.sent.clear()
    return c


def test_returning_replica_installs_a_checkpoint_and_the_slots_above_it():
    c = long_gone()
    c.reconnect(3)
    c.run(100)
    assert c.marks(3, 10) == "EEEEEEEEEE"
    assert c.status(3).digest == c.status(1).digest
    assert c.disks[3].checkpoint.slot == 8
    assert len(c.said(1, StatePiece) + c.said(2, StatePiece)) >= 2


def test_running_hash_goes_on_from_an_installed_checkpoint():
    c = long_gone()
    c.reconnect(3)
    for timestamp in range(11, 14):
        c.request(1, transfer("A", "B", 1, timestamp))
        c.run(45)
    assert c.status(3).halted is None and c.status(3).checkpoint == 12
    assert c.status(3).running_hash == c.status(1).running_hash


def test_who_gives_a_piece_is_asked_for_the_next_whoever_was_asked():
    c = long_gone()
    c.reconnect(3)
    c.deliver(3, 2)
    piece = c.said(2, StatePiece)[0]
    c.step(3, Heartbeat(FIRST, 1, 10, 10), source=1)
    c.drop()
    c.sent.clear()
    c.step(3, piece, source=2)
    assert [(to, question.piece) for _, to, question in c.sent] == [(2, 1)]


def test_giver_that_dies_in_the_middle_leaves_nothing_half_installed():
    c = long_gone()
    c.disconnect(2)
    c.reconnect(3)
    c.deliver(3, 1)
    c.deliver(1, 3)
    assert c.status(3).executed_upto == 0
    c.crash(1)
    c.reconnect(2)
    c.run(1000)
    assert c.marks(3, 10) == "EEEEEEEEEE" and c.status(3).digest == c.status(2).digest


def test_damaged_checkpoint_is_thrown_away_and_asked_for_again():
    c = long_gone()
    c.reconnect(3)
    c.step(3, Heartbeat(FIRST, 1, 10, 10), source=1)
    c.drop()
    c.step(3, StatePiece(8, 0, 1, b"8 what is this", 10), source=1)
    assert c.status(3).executed_upto == 0
    c.run(200)
    assert c.marks(3, 10) == "EEEEEEEEEE"


def test_checkpoint_below_what_is_committed_is_ignored():
    c = long_gone()
    stale = StatePiece(8, 0, 1, checkpoints.encode(checkpoint_at(8)), 10)
    before = c.status(2)
    c.step(2, stale, source=1)
    assert c.status(2) == before


def test_replica_with_more_slots_than_one_piece_behind_asks_until_it_has_all():
    c = Conductor(3, Settings(sizes=Sizes(piece_slots=3)))
    c.elect(1)
    c.disconnect(3)
    for timestamp in range(1, 11):
        c.request(1, transfer("A", "B", 1, timestamp))
        c.run(1)
    c.reconnect(3)
    c.deliver_all()
    assert c.marks(3, 10) == "EEEEEEEEEE"
    assert [message.first_slot for message in c.said(3, CatchUp)] == [1, 4, 7, 10]


def test_state_with_slots_missing_below_it_is_ignored():
    c = Conductor(3)
    c.step(3, State(5, (FIRST,), (transfer("A", "B", 1),), 5), source=1)
    assert c.marks(3, 5) == "XXXXX"


PACES = {3: (80, 80, 80, 80, 80, 100, 125, 150, 150), 5: (80,) * 9}  # ms


@pytest.mark.parametrize("replicas", PACES)
def test_what_all_were_asked_for_in_vain_is_asked_for_ever_less_often(replicas):
    c, asked, paces = Conductor(replicas), [], []
    c.elect(1)
    c.disconnect(3)
    c.request(1, transfer("A", "B", 1))
    c.deliver_all()
    c.reconnect(3)
    for _ in PACES[replicas] * 3:  # n3 hears the leader, whom nothing of n3 reaches
        c.drop()
        c.sent.clear()
        c.step(3, Heartbeat(FIRST, 1, 1, 1), source=1)
        before = c.now
        c.now = c[3].timers.fetch
        c.tick(3)
        paces.append((c.now - before) // 1000)
        asked += [to for source, to, said in c.sent if source == 3 and isinstance(said, CatchUp)]
    first = len(PACES[replicas])
    assert (tuple(paces[:first]), {*paces[first:]}) == (PACES[replicas], {PACES[replicas][-1]})
    others = [r for r in range(1, replicas + 1) if r != 3]
    assert all(set(asked[at : at + replicas - 1]) == set(others) for at in range(len(asked) - 4))


def test_what_arrives_starts_the_pace_of_questions_anew():
    c = follower(3, replicas=3)

    def paces(target, beats=12):
        for _ in range(beats):
            c.step(3, Heartbeat(FIRST, 1, target, target), source=1)
            c.tick(3)
            yield (c[3].timers.fetch - c.now) // 1000
            c.skip(40)

    anew = [80, 40] * 5
    for slot, target in ((1, 2), (2, 2), (3, 9)):
        assert list(paces(target))[:10] == anew
        assert max(paces(target)) == 150
        request, asked = transfer("A", "B", 1, slot), c[3].learner._fetch.source
        # What comes late is of the other one.
        c.step(3, State(slot, (FIRST,), (request,), 2), source=3 - asked)
        c[3].timers.fetch = min(c[3].timers.fetch, c.now)
        if slot == 2:
            list(paces(2))  # there is nothing to ask for
    assert list(paces(9))[:10] == anew and max(paces(9)) == 150
    c[3].reconnected(c.now)
    c[3].timers.fetch = c.now
    assert list(paces(9, 2)) == [80, 40]
    assert max(paces(9, 24)) == 150
    c.skip(3000)  # it was stopped: nobody was asked in vain
    c[3].tick(c.now)
    assert c[3].timers.fetch <= c.now + 80_000


@pytest.mark.parametrize(("replicas", "dead"), [(3, ()), (3, (2,)), (5, (2, 4)), (9, (2, 4, 5, 6))])
def test_links_that_are_back_bring_what_is_missing_within_two_time_outs(replicas, dead):
    """n3 heard the leader alone, and nobody heard n3; whom it asks next may be dead."""
    for phase in range(0, 300, 60):
        c = Conductor(replicas)
        c.elect(1)
        c.disconnect(3)
        c.request(1, transfer("A", "B", 1))
        c.run(100)
        c.reconnect(3)
        c.drop()
        c.disconnect(*dead)
        c.loses = lambda source, to, _: source == 3 or (to == 3 and source != 1)
        c.run(2000 + phase)
        assert c.status(3).committed_upto == 0
        c.loses = lambda *_: False
        c.run(600)
        assert c.status(3).committed_upto == 1


def test_what_was_asked_for_in_vain_comes_within_a_time_out_when_the_links_are_back():
    c = long_gone()
    for _ in range(30):
        c.step(3, Heartbeat(FIRST, 1, 10, 10), source=1)
        c.skip(40)
        c.tick(3)
        c.drop()
    c.sent.clear()
    c.away.clear()
    c.step(3, Heartbeat(FIRST, 1, 10, 10), source=1)
    c.run(300)
    assert c.marks(3, 10) == "EEEEEEEEEE"


def behind(slots, settings=WITHOUT_CHECKPOINTS):
    """n1 led n2 through so many slots while n3 was away, and died; n3 is back and stands."""
    c = Conductor(3, settings)
    c.elect(1)
    c.disconnect(3)
    for first in range(1, slots + 1, 500):
        last = min(first + 499, slots)
        c.request(1, *(transfer("A", "B", 1, t) for t in range(first, last + 1)))
        c.run(45)
    assert c.status(2).executed_upto == slots
    c.crash(1)
    c.away.clear()
    c.sent.clear()
    while c[3].role is not Role.CANDIDATE:
        c.expire(3)
    return c


def test_an_ack_reports_no_more_committed_slots_than_a_state_carries():
    c = behind(5 * PIECE_SLOTS)
    c.deliver_all()
    (ack, *_) = c.said(2, Promise)
    assert len(ack.accept_log) == PIECE_SLOTS and ack.truncated_upto == 4 * PIECE_SLOTS
    assert max(len(m.requests) for m in c.said(2, State)) == PIECE_SLOTS
    assert c.leaders() == [3], "it asked for the others first"
    assert {c.status(r).executed_upto for r in (2, 3)} == {5 * PIECE_SLOTS}


def test_an_ack_of_a_few_slots_reports_them_all():
    c = behind(PIECE_SLOTS)
    c.deliver_all()
    (ack, *_) = c.said(2, Promise)
    assert len(ack.accept_log) == PIECE_SLOTS and ack.truncated_upto == 0
    assert c.leaders() == [3] and not c.said(2, State)


def test_who_is_looked_at_stores_how_far_it_is_at_once():
    c = Conductor(3)
    c.elect(1)
    c.tick(1)
    c.request(1, transfer("A", "B", 1))
    c.deliver_all()
    c.tick(1)
    assert c.disks[1].committed_upto == 0
    c[1].save_watermark()
    c.tick(1)
    assert c.disks[1].committed_upto == 1


def test_what_is_said_to_clients_is_nothing_to_a_replica():
    c = Conductor(3)
    c.elect(1)
    assert c.step(1, Reply(FIRST, (("A", 1, "success", 1),)), source=2) == Effects()
