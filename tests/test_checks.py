"""Every judge catches what it is for, gives the evidence, and says unknown when it cannot know."""

import dataclasses

import pytest

from bank.ballot import NO_BALLOT, Ballot
from bank.ledger import FAILED, SKIPPED, SUCCESS
from bank.sessions import NOOP_REQUEST, Machine
from bank.status import ReplicaStatus, Role
from harness.check.agreement import agreement
from harness.check.conservation import conservation
from harness.check.linearizable import linearizable
from harness.check.replay import replay
from harness.check.sessions import exactly_once
from harness.check.verdict import Judgement, Verdict, judge, overall
from harness.cluster.driver import CommitLog, Liveness, ReplicaView
from harness.cluster.history import Operation

BALANCES = {"A": 10, "B": 10}
PAY = ("A", 1, "transfer", "A", "B", 3)
PAY_BACK = ("B", 1, "transfer", "B", "A", 20)
LOOK = ("A", 2, "read", "A", "", 0)


def log_of(*requests, results=None):
    machine = Machine(BALANCES)
    answers = machine.execute(1, requests)
    log = CommitLog()
    told = results or [answer[2] for answer in answers]
    log.add(1, 1, zip(requests, told, strict=True))
    return log


def view(replica, *requests, liveness=Liveness.LIVE, **changes):
    machine = Machine(BALANCES)
    machine.execute(1, requests)
    upto = len(requests)
    status = ReplicaStatus(
        replica=replica,
        role=Role.FOLLOWER,
        promised=Ballot(1, 1),
        following=Ballot(1, 1),
        answered=False,
        committed_upto=upto,
        executed_upto=upto,
        truncated_upto=0,
        last_slot=upto,
        checkpoint=0,
        digest=machine.digest(),
        running_hash="",
        balances=dict(machine.ledger.balances),
        sessions=tuple(machine.sessions.values()),
        halted=None,
    )
    return ReplicaView(replica, liveness, dataclasses.replace(status, **changes))


def operation(request, slot, result, invoked_at=0, answered_at=10):
    return Operation(request, 1, invoked_at, answered_at, result, slot, NO_BALLOT)


def replayed(log, upto=range(20)):
    return replay(log, BALANCES, set(upto))


def test_equal_replicas_and_a_stale_prefix_agree():
    log = log_of(PAY, PAY_BACK)
    views = [view(1, PAY, PAY_BACK), view(2, PAY, PAY_BACK), view(3, PAY)]
    assert agreement(log, replayed(log), views).verdict is Verdict.VALID


@pytest.mark.parametrize(
    ("views", "evidence"),
    [
        ([view(1, PAY), view(2, PAY, balances={"A": 10, "B": 10})], "n2 after slot 1: A is 10"),
        ([view(1, PAY), view(2, PAY, digest="other")], "n2 and n1 differ after slot 1"),
        ([view(1, PAY, halted="history differs")], "n1 stopped itself: history differs"),
        ([view(1, NOOP_REQUEST, balances={"A": 7, "B": 13})], "n1 after slot 1: A is 7"),
    ],
    ids=["balances", "sessions", "a replica that halted", "a no-op that paid"],
)
def test_different_states_disagree(views, evidence):
    log = log_of(*([NOOP_REQUEST] if "A is 7" in evidence else [PAY]))
    judgement = agreement(log, replayed(log), views)
    assert judgement.verdict is Verdict.INVALID
    assert evidence in judgement.reason


def test_two_commands_in_one_slot_disagree_even_when_truncated_later():
    log = log_of(PAY)
    log.add(2, 1, [(PAY_BACK, FAILED)])
    judgement = agreement(log, replayed(log), [view(1, PAY)])
    assert judgement.verdict is Verdict.INVALID
    assert "slot 1: n2 executed" in judgement.reason


def test_a_slot_that_nobody_reported_is_unknown():
    log = log_of(PAY)
    log.add(1, 3, [(LOOK, 7)])
    for judgement in (
        agreement(log, replayed(log), [view(1, PAY)]),
        exactly_once(log, replayed(log), []),
        linearizable(log, replayed(log), [operation(PAY, 1, SUCCESS), operation(LOOK, 3, 7)]),
    ):
        assert judgement.verdict is Verdict.UNKNOWN
        assert "slot 2" in judgement.reason


def test_money_is_conserved():
    assert conservation(BALANCES, [view(1, PAY)]).verdict is Verdict.VALID


@pytest.mark.parametrize(
    ("balances", "evidence"),
    [({"A": 7, "B": 14}, "holds 21 in all, expected 20"), ({"A": -1, "B": 21}, "holds -1 for A")],
    ids=["made", "negative"],
)
def test_money_made_or_owed_is_seen(balances, evidence):
    judgement = conservation(BALANCES, [view(2, balances=balances)])
    assert judgement.verdict is Verdict.INVALID
    assert evidence in judgement.reason


def test_a_second_slot_of_a_request_has_no_second_effect():
    log = log_of(PAY, PAY, LOOK)
    history = [operation(PAY, 1, SUCCESS), operation(LOOK, 3, 7)]
    assert exactly_once(log, replayed(log), history).verdict is Verdict.VALID


@pytest.mark.parametrize(
    ("log", "history", "evidence"),
    [
        (
            log_of(PAY, PAY, LOOK, results=[SUCCESS, SUCCESS, 4]),
            [],
            "slot 3 gave 4, executed once it gives 7",
        ),
        (log_of(NOOP_REQUEST), [operation(PAY, 1, SUCCESS)], "is in no slot"),
        (log_of(NOOP_REQUEST, PAY), [operation(PAY, 1, SUCCESS)], "first executed in 2"),
        (log_of(PAY), [operation(PAY, 1, FAILED)], "was answered 'failed', not 'success'"),
        (
            log_of(("A", 1, "transfer", "A", "B", 4)),
            [operation(PAY, 1, SUCCESS)],
            "was executed as ('A', 1, 'transfer', 'A', 'B', 4)",
        ),
    ],
    ids=["paid twice", "answered but lost", "another slot", "another result", "another amount"],
)
def test_requests_lost_or_done_twice_are_seen(log, history, evidence):
    judgement = exactly_once(log, replayed(log), history)
    assert judgement.verdict is Verdict.INVALID
    assert evidence in judgement.reason


def test_operations_at_the_same_time_may_have_any_order():
    log = log_of(PAY, PAY_BACK)
    history = [operation(PAY, 1, SUCCESS, 5, 10), operation(PAY_BACK, 2, FAILED, 0, 6)]
    assert linearizable(log, replayed(log), history).verdict is Verdict.VALID


def test_an_answer_from_before_a_lower_slot_was_sent_is_a_violation():
    log = log_of(PAY, PAY_BACK)
    history = [operation(PAY, 1, SUCCESS, 7, 10), operation(PAY_BACK, 2, FAILED, 0, 6)]
    judgement = linearizable(log, replayed(log), history)
    assert judgement.verdict is Verdict.INVALID
    assert "was answered before A's (A, B, 3) in slot 1 was sent" in judgement.reason


def test_a_pending_operation_counts_from_its_sending():
    log = log_of(PAY, PAY_BACK)
    pending = Operation(PAY, 1, invoked_at=7)
    early = operation(PAY_BACK, 2, FAILED, 0, 6)
    assert linearizable(log, replayed(log), [pending, early]).verdict is Verdict.INVALID
    late = operation(PAY_BACK, 2, FAILED, 0, 8)
    assert linearizable(log, replayed(log), [pending, late]).verdict is Verdict.VALID


def test_a_request_that_no_client_sent_is_seen():
    judgement = linearizable(log_of(PAY), replayed(log_of(PAY)), [])
    assert judgement.verdict is Verdict.INVALID
    assert "no client asked for it" in judgement.reason


def test_unknown_never_counts_as_valid():
    valid = Judgement("a", Verdict.VALID)
    unknown = judge("b", [], unknown="budget spent")
    invalid = judge("c", ["evidence"], unknown="also")
    assert overall([valid]) is Verdict.VALID
    assert overall([valid, unknown]) is Verdict.UNKNOWN
    assert overall([valid, unknown, invalid]) is Verdict.INVALID
    assert [v.exit_code for v in Verdict] == [0, 1, 3]


def test_a_repeated_request_behind_the_clients_next_one_is_skipped():
    log = log_of(PAY, LOOK, PAY)
    assert log.slots[3][1] == SKIPPED
    history = [operation(PAY, 1, SUCCESS), operation(LOOK, 2, 7)]
    assert exactly_once(log, replayed(log), history).verdict is Verdict.VALID
    log.slots[3] = (PAY, SUCCESS)
    assert exactly_once(log, replayed(log), history).verdict is Verdict.INVALID
