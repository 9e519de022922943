"""Every judge catches what it is for, gives the evidence, and says unknown when it cannot know.

`catalogue/judges.txt` names what each of these tests guards.
"""

import dataclasses
from dataclasses import replace
from unittest.mock import patch

import pytest
from conductor import altered, take

from bank.accounts import Accounts
from bank.ballot import NO_BALLOT, Ballot
from bank.history_hash import HistoryHash
from bank.ledger import FAILED, SKIPPED, SUCCESS
from bank.sessions import NOOP_REQUEST, Machine
from bank.status import ReplicaStatus, Role
from harness.check import judges
from harness.check.judges import RunJudges, judge_run
from harness.check.verdict import Judgement, Verdict, judge, overall
from harness.cluster.driver import CommitLog, ReplicaView
from harness.cluster.history import Operation
from harness.cluster.journal import Liveness

BALANCES = {"A": 10, "B": 10}
INTERVAL = 2
PAY = ("A", 1, "transfer", "A", "B", 3)
PAY_BACK = ("B", 1, "transfer", "B", "A", 20)
LOOK = ("A", 2, "read", "A", "", 0)
THIEF = ("A", 1, "transfer", "A", "B", 9)


def log_of(*requests, results=None):
    machine = Machine(BALANCES)
    answers = machine.execute(1, requests)
    log = CommitLog()
    told = results or [answer[2] for answer in answers]
    log.add(1, 1, zip(requests, told, strict=True))
    return log


def view(replica, *requests, liveness=Liveness.LIVE, **changes):
    """A replica that executed these."""
    machine, hashed = Machine(BALANCES), HistoryHash(1, 1)
    answers = machine.execute(1, requests)
    upto = len(requests)
    for slot in range(INTERVAL, upto + 1, INTERVAL):
        hashed.add(requests[slot - INTERVAL : slot], answers[slot - INTERVAL : slot])
        hashed.note(slot)
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
        running_hash=hashed.current,
        balances=dict(machine.ledger.balances),
        sessions=tuple(machine.sessions.values()),
        halted=None,
    )
    return ReplicaView(replica, liveness, dataclasses.replace(status, **changes))


def views_of(*requests, replicas=3):
    return [view(replica, *requests) for replica in range(1, replicas + 1)]


def operation(request, slot, result, invoked_at=0, answered_at=10):
    return Operation(request, 1, invoked_at, answered_at, result, slot, NO_BALLOT)


def pending(request, invoked_at=0):
    return Operation(request, 1, invoked_at)


def judged(check, log, history=(), views=None):
    by_check = {j.check: j for j in judge_run(BALANCES, log, list(history), views, INTERVAL)}
    return by_check[check]


def assert_valid(judgement):
    assert (judgement.verdict, judgement.reason) == (Verdict.VALID, "")


def assert_invalid(judgement, evidence):
    assert judgement.verdict is Verdict.INVALID, judgement
    assert evidence in judgement.reason


def assert_unknown(judgement, reason):
    assert judgement.verdict is Verdict.UNKNOWN, judgement
    assert reason in judgement.reason


# ---- agreement -----------------------------------------------------------------------------------


def test_equal_replicas_and_a_stale_prefix_agree():
    views = [view(1, PAY, PAY_BACK), view(2, PAY, PAY_BACK), view(3, PAY)]
    assert_valid(judged("agreement", log_of(PAY, PAY_BACK), views=views))


STATES = {
    "balances": ({"balances": {"A": 10, "B": 10}}, "n2 after slot 2: A is 10, the log gives 7"),
    "digest": ({"digest": "other"}, "n2 after slot 2: the digest is other, the log gives "),
    "running hash": ({"running_hash": "other"}, "n2 after slot 2: the running hash is other, the"),
    "a session's result": (
        {"sessions": (("A", 1, FAILED, 1), ("B", 1, FAILED, 2))},
        "n2 after slot 2: the session of A is ('A', 1, 'failed', 1), the log gives ('A', 1, 'succ",
    ),
    "a session's slot": (
        {"sessions": (("A", 1, SUCCESS, 2), ("B", 1, FAILED, 2))},
        "n2 after slot 2: the session of A is ('A', 1, 'success', 2), the log",
    ),
    "a session too few": (
        {"sessions": (("A", 1, SUCCESS, 1),)},
        "n2 after slot 2: the session of B is None",
    ),
    "a session too many": (
        {"sessions": (("A", 1, SUCCESS, 1), ("B", 1, FAILED, 2), ("C", 1, FAILED, 2))},
        "n2 after slot 2: the session of C is ('C', 1, 'failed', 2), the log gives None",
    ),
    "a session twice": (
        {"sessions": (("A", 1, SUCCESS, 1), ("A", 1, SUCCESS, 1), ("B", 1, FAILED, 2))},
        "n2 after slot 2: a client has two sessions",
    ),
    "halted": ({"halted": "history differs"}, "n2 stopped itself: history differs"),
    "committed": ({"committed_upto": 1}, "n2 executed up to 2, but committed up to 1"),
    "held": ({"last_slot": 1}, "n2 committed up to 2, but holds slots up to 1"),
    "checkpoint": ({"checkpoint": 3}, "n2 has a checkpoint at 3, but executed up to 2"),
    "truncated": ({"truncated_upto": 1}, "n2 truncated up to 1, but has a checkpoint at 0"),
}


@pytest.mark.parametrize(("changes", "evidence"), STATES.values(), ids=STATES)
@pytest.mark.parametrize("liveness", [Liveness.LIVE, Liveness.DISCONNECTED, Liveness.CRASHED])
def test_a_state_that_the_log_does_not_give(changes, evidence, liveness):
    """Whoever else has it, and whether that replica lives."""
    requests = PAY, ("B", 1, "transfer", "B", "A", 20)
    wrong = view(2, *requests, liveness=liveness, **changes)
    views = [view(1, *requests), wrong, view(3, *requests)]
    assert_invalid(judged("agreement", log_of(*requests), views=views), evidence)


def test_a_state_that_all_replicas_share_is_held_against_the_log():
    views = [view(r, PAY, balances={"A": 8, "B": 12}) for r in (1, 2, 3)]
    assert_invalid(judged("agreement", log_of(PAY), views=views), "n1 after slot 1: A is 8")


def test_a_state_in_a_slot_where_nobody_else_stands_is_held_against_the_log():
    views = [view(1, PAY, PAY_BACK), view(2, PAY, balances={"A": 8, "B": 12}), view(3)]
    assert_invalid(judged("agreement", log_of(PAY, PAY_BACK), views=views), "n2 after slot 1: A")


def test_a_state_that_no_slot_changed_is_held_against_the_log():
    views = [view(1, PAY), view(2, PAY), view(3, balances={"A": 9, "B": 11})]
    assert_invalid(judged("agreement", log_of(PAY), views=views), "n3 after slot 0: A is 9, the")


def test_a_no_op_that_paid_is_seen():
    views = [view(1, NOOP_REQUEST, balances={"A": 7, "B": 13})]
    assert_invalid(judged("agreement", log_of(NOOP_REQUEST), views=views), "n1 after slot 1: A is")


def test_states_that_differ_where_nothing_was_reported_are_seen():
    views = [view(1, PAY), view(2, PAY), view(3, PAY, digest="other")]
    assert_invalid(judged("agreement", CommitLog(), views=views), "n3 and n1 differ after slot 1")


def test_a_machine_that_failed_is_no_word_of_its_replica():
    views = [view(1, PAY), view(2, PAY), view(3, PAY, liveness=Liveness.STOPPED, digest="other")]
    assert_valid(judged("agreement", log_of(PAY), views=views))
    halted = view(3, PAY, liveness=Liveness.STOPPED, halted="history differs")
    judgement = judged("agreement", log_of(PAY), views=[*views[:2], halted])
    assert_invalid(judgement, "n3 stopped itself: history differs")


def test_two_commands_in_one_slot_disagree_even_when_truncated_later():
    log = log_of(PAY)
    log.add(2, 1, [(PAY_BACK, FAILED)])
    assert_invalid(judged("agreement", log, views=views_of(PAY)), "slot 1: n2 executed")
    assert_invalid(judged("agreement", log), "slot 1: n2 executed")


def test_two_results_in_one_slot_disagree():
    log = log_of(PAY)
    log.add(2, 1, [(PAY, FAILED)])
    assert_invalid(judged("agreement", log, views=views_of(PAY)), "slot 1: n2 executed")


CHECKS = ("agreement", "exactly_once", "linearizable")


@pytest.mark.parametrize("check", CHECKS)
def test_a_slot_that_nobody_reported_is_unknown(check):
    log = log_of(PAY)
    log.add(1, 3, [(LOOK, 7)])
    views = views_of(PAY, NOOP_REQUEST, LOOK)
    history = [operation(PAY, 1, SUCCESS), operation(LOOK, 3, 7, 20, 30)]
    assert_unknown(judged(check, log, history, views), "slot 2")
    assert_unknown(judged(check, log, [history[0], pending(LOOK, 20)]), "slot 2")


@pytest.mark.parametrize("check", CHECKS)
def test_a_last_slot_that_all_executed_and_nobody_reported_is_unknown(check):
    wrong = {"A": 1, "B": 19}
    views = [view(r, PAY, THIEF, balances=wrong) for r in (1, 2, 3)]
    assert_unknown(judged(check, log_of(PAY), [operation(PAY, 1, SUCCESS)], views), "slot 2")


def test_what_one_replica_alone_executed_last_is_unknown_too():
    views = [view(1, PAY, last_slot=2), view(2, PAY, PAY_BACK), view(3, PAY)]
    assert_unknown(judged("agreement", log_of(PAY), views=views), "slot 2")


@pytest.mark.parametrize("check", CHECKS)
def test_nothing_to_look_at_is_unknown(check):
    assert_unknown(judged(check, CommitLog()), "no slot was reported and no replica was looked at")
    assert_unknown(judged(check, CommitLog(), [pending(PAY)]), "no slot was reported")
    assert judged(check, CommitLog(), [], []).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("check", ["agreement", "conservation"])
@pytest.mark.parametrize(
    ("views", "reason"),
    [
        ([], ""),
        ([view(r, PAY, liveness=Liveness.STOPPED) for r in (1, 2, 3)], "no replica has a state"),
    ],
    ids=["no views", "machines that failed"],
)
def test_a_judge_of_states_without_states_is_unknown(check, views, reason):
    assert_unknown(judged(check, log_of(PAY), [operation(PAY, 1, SUCCESS)], views), reason)


def test_a_replica_that_was_left_out_is_unknown():
    views = [view(1, PAY), view(3, PAY), view(4, PAY)]
    assert_unknown(judged("agreement", log_of(PAY), views=views), "n2 was not looked at")


def test_where_nothing_was_asked_all_replicas_show_it():
    for check in (*CHECKS, "conservation"):
        assert_valid(judged(check, CommitLog(), [], views_of()))


def resumed(*requests, at):
    """A log that begins with a checkpoint at that slot."""
    log, machine, hashed = log_of(*requests), Machine(BALANCES), HistoryHash(1, 1)
    hashed.add(requests[:at], machine.execute(1, requests[:at]))
    hashed.note(at)
    log.base, log.known_before = take(at, hashed.current, machine), len(requests)
    log.slots = {slot: what for slot, what in log.slots.items() if slot > at}
    return log


def test_a_run_goes_on_from_a_checkpoint():
    log = resumed(PAY, PAY_BACK, LOOK, at=2)
    for check in (*CHECKS, "conservation"):
        assert_valid(judged(check, log, [], views_of(PAY, PAY_BACK, LOOK)))


def test_who_stands_below_the_checkpoint_cannot_be_judged():
    views = [*views_of(PAY, PAY_BACK, LOOK, replicas=2), view(3, PAY)]
    judgement = judged("agreement", resumed(PAY, PAY_BACK, LOOK, at=2), views=views)
    told = "an earlier run left n3 at slot 1, and the disks tell only what followed slot 2"
    assert_unknown(judgement, told)


def test_who_executed_nothing_yet_is_judged_whatever_the_log_begins_with():
    log = resumed(PAY, PAY_BACK, LOOK, at=2)
    new = view(3)
    views = [*views_of(PAY, PAY_BACK, LOOK, replicas=2), new]
    assert_valid(judged("agreement", log, views=views))
    rich = {account: amount + 1 for account, amount in new.status.balances.items()}
    views[2] = dataclasses.replace(new, status=dataclasses.replace(new.status, balances=rich))
    assert_invalid(judged("agreement", log, views=views), "n3 after slot 0: A is")


BASES = {
    "another digest": ({"digest": "0" * 64}, "slot 2 is not what its digest says"),
    "money made": ({"balances": {"A": 8, "B": 13}}, "slot 2 holds {'A': 8, 'B': 13}, the run"),
    "another account": (
        {"balances": {"A": 7, "C": 13}, "accounts": Accounts("AC")},
        "slot 2 holds {'A': 7, 'C': 13}",
    ),
}


@pytest.mark.parametrize(("changes", "evidence"), BASES.values(), ids=BASES)
def test_a_checkpoint_that_cannot_be_is_seen(changes, evidence):
    log = resumed(PAY, PAY_BACK, at=2)
    digest = changes.get("digest", log.base.digest)
    others = {what: value for what, value in changes.items() if what != "digest"}
    base = dataclasses.replace(altered(log.base, **others), digest=digest)
    if "digest" not in changes:
        base = dataclasses.replace(base, digest=base.computed_digest())
    log.base = base
    assert_invalid(judged("agreement", log), evidence)


def test_a_checkpoint_is_held_against_the_slots_below_it():
    log = resumed(PAY, PAY_BACK, at=2)
    log.slots[1] = (PAY, FAILED)
    assert_invalid(judged("agreement", log), "A's request 1 gave 'success' in slot 1, where")


def test_a_slot_below_the_first_one_is_seen():
    log = log_of(PAY)
    log.slots[0] = (PAY, SUCCESS)
    assert_invalid(judged("agreement", log), "slot 0 was reported, the first one is 1")


HELD = {
    "by a minority": [view(1, PAY), view(2), view(3)],
    "by failed ones of a minority": [view(1), view(2), view(3, PAY, liveness=Liveness.CRASHED)],
    "by nobody": [view(1), view(2), view(3)],
    "by two of four": [view(1, PAY), view(2, PAY), view(3), view(4)],
}


@pytest.mark.parametrize("views", HELD.values(), ids=HELD)
def test_a_slot_that_no_quorum_holds_was_lost(views):
    judgement = judged("agreement", log_of(PAY), [operation(PAY, 1, SUCCESS)], views)
    assert_invalid(judgement, f"slot 1 was executed, and of {len(views)} replicas only ")


def test_an_answer_that_no_quorum_holds_was_lost():
    history = [operation(PAY, 1, SUCCESS), operation(LOOK, 2, 7, 20, 30)]
    judgement = judged("agreement", log_of(PAY), history, views_of(PAY))
    assert_invalid(judgement, "slot 2 was answered, and of 3 replicas only nobody may hold it")


def test_an_accepted_slot_is_held():
    views = [view(1, PAY), view(2, last_slot=1), view(3)]
    assert_valid(judged("agreement", log_of(PAY), views=views))


def test_the_ballot_of_an_answer_was_promised_by_a_quorum():
    def judged_in(ballot, views):
        answer = dataclasses.replace(operation(PAY, 1, SUCCESS), ballot=ballot)
        return judged("agreement", log_of(PAY), [answer], views)

    assert_valid(judged_in(Ballot(1, 1), views_of(PAY)))
    told = "follows (2, n3) answered, and of 3 replicas only {} may have promised it"
    assert_invalid(judged_in(Ballot(2, 3), views_of(PAY)), told.format("nobody"))
    views = [*views_of(PAY, replicas=2), view(3, PAY, promised=Ballot(2, 3))]
    assert_invalid(judged_in(Ballot(2, 3), views), told.format("n3"))
    views[0] = view(1, PAY, promised=Ballot(4, 1), liveness=Liveness.CRASHED)
    assert_valid(judged_in(Ballot(2, 3), views))


@pytest.mark.parametrize("liveness", [Liveness.PAUSED, Liveness.STOPPED])
def test_who_was_not_looked_at_may_hold_a_slot(liveness):
    views = [view(1, PAY), view(2, liveness=liveness), view(3)]
    assert_valid(judged("agreement", log_of(PAY), views=views))


# ---- conservation --------------------------------------------------------------------------------


def test_money_is_conserved():
    assert_valid(judged("conservation", log_of(PAY), views=views_of(PAY)))


LEAKS = {
    "made": ({"A": 7, "B": 14}, "n2 holds 21 in all, expected 20"),
    "lost": ({"A": 7, "B": 12}, "n2 holds 19 in all, expected 20"),
    "owed": ({"A": -1, "B": 21}, "n2 holds -1 for A"),
    "in another account": ({"A": 7, "B": 0, "C": 13}, "n2 holds an account C"),
    "an account less": ({"A": 20}, "n2 holds no account B"),
}


@pytest.mark.parametrize(("balances", "evidence"), LEAKS.values(), ids=LEAKS)
@pytest.mark.parametrize("liveness", [Liveness.LIVE, Liveness.CRASHED, Liveness.PAUSED])
def test_money_made_or_owed_is_seen(balances, evidence, liveness):
    views = [view(1, PAY), view(2, PAY, liveness=liveness, balances=balances), view(3, PAY)]
    assert_invalid(judged("conservation", log_of(PAY), views=views), evidence)


def test_money_that_all_replicas_made_is_seen():
    views = [view(replica, balances={"A": 17, "B": 13}) for replica in (1, 2, 3)]
    assert_invalid(judged("conservation", CommitLog(), views=views), "n1 holds 30 in all, expected")


# ---- exactly once --------------------------------------------------------------------------------


def test_a_second_slot_of_a_request_has_no_second_effect():
    log = log_of(PAY, PAY, LOOK)
    history = [operation(PAY, 1, SUCCESS), operation(LOOK, 3, 7, 20, 30)]
    for check in CHECKS:
        assert_valid(judged(check, log, history, views_of(PAY, PAY, LOOK)))


UNLIKE = {
    "paid twice": (
        log_of(PAY, PAY, LOOK, results=[SUCCESS, SUCCESS, 4]),
        [],
        "slot 3 gave 4, executed once it gives 7",
    ),
    "a no-op that gave something": (
        log_of(NOOP_REQUEST, results=[SUCCESS]),
        [],
        "slot 1 gave 'success', executed once it gives 'skipped'",
    ),
    "answered but lost": (log_of(NOOP_REQUEST), [operation(PAY, 1, SUCCESS)], "is in no slot"),
    "answered for no slot": (
        log_of(PAY),
        [operation(PAY, None, SUCCESS)],
        "answered for slot None",
    ),
    "another slot": (
        log_of(NOOP_REQUEST, PAY),
        [operation(PAY, 1, SUCCESS)],
        "first executed in 2",
    ),
    "its second slot": (log_of(PAY, PAY), [operation(PAY, 2, SUCCESS)], "first executed in 1"),
    "another result": (
        log_of(PAY),
        [operation(PAY, 1, FAILED)],
        "was answered 'failed', not 'success'",
    ),
    "another amount": (
        log_of(THIEF),
        [operation(PAY, 1, SUCCESS)],
        "(A, B, 3) (timestamp 1) was executed as ('A', 1, 'transfer', 'A', 'B', 9), in slot 1",
    ),
    "pending, with another amount": (
        log_of(THIEF),
        [pending(PAY)],
        "(A, B, 3) (timestamp 1) was executed as ('A', 1, 'transfer', 'A', 'B', 9), in slot 1",
    ),
    "another command in its second slot": (
        log_of(PAY, THIEF),
        [operation(PAY, 1, SUCCESS)],
        "(A, B, 3) (timestamp 1) was executed as ('A', 1, 'transfer', 'A', 'B', 9), in slot 2",
    ),
    "another command in the second slot of a request of an earlier run": (
        log_of(PAY, THIEF),
        [],
        "(A, B, 3) (timestamp 1) was executed as ('A', 1, 'transfer', 'A', 'B', 9) too, in slot 2",
    ),
    "a no-op with a name": (
        log_of(("A", 1, "noop", "", "", 0)),
        [pending(PAY)],
        "was executed as ('A', 1, 'noop', '', '', 0), in slot 1",
    ),
    "a request sent twice": (
        log_of(PAY),
        [operation(PAY, 1, SUCCESS), operation(PAY, 1, SUCCESS, 20, 30)],
        "(timestamp 1) was sent after A's (A, B, 3) (timestamp 1)",
    ),
    "an older timestamp later": (
        log_of(LOOK, PAY),
        [operation(LOOK, 1, 10), pending(PAY, 20)],
        "(A, B, 3) (timestamp 1) was sent after A's (A) (timestamp 2)",
    ),
    "two open requests of a client": (
        log_of(PAY, LOOK),
        [operation(PAY, 1, SUCCESS, 0, 10), operation(LOOK, 2, 7, 9, 20)],
        "A's (A) (timestamp 2) was sent before A's (A, B, 3) (timestamp 1) was answered",
    ),
    "another request before one was given up": (
        log_of(PAY, LOOK),
        [replace(pending(PAY), dropped_at=21), operation(LOOK, 2, 7, 20, 30)],
        "A's (A) (timestamp 2) was sent before A's (A, B, 3) (timestamp 1) was answered",
    ),
    "another request after one without an answer": (
        log_of(PAY, LOOK),
        [pending(PAY), operation(LOOK, 2, 7, 20, 30)],
        "A's (A) (timestamp 2) was sent before A's (A, B, 3) (timestamp 1) was answered",
    ),
}


@pytest.mark.parametrize(("log", "history", "evidence"), UNLIKE.values(), ids=UNLIKE)
def test_requests_lost_or_done_twice_are_seen(log, history, evidence):
    assert_invalid(judged("exactly_once", log, history), evidence)


def test_a_client_that_gave_a_request_up_may_send_the_next():
    """What was given up is open for ever: it may be done, or not, and late."""
    dropped, look = replace(pending(PAY), dropped_at=20), operation(LOOK, 2, 7, 20, 30)
    for log in (log_of(PAY, LOOK), log_of(LOOK)):
        answered = replace(look, result=7 if len(log.slots) == 2 else 10, slot=len(log.slots))
        for check in ("exactly_once", "linearizable"):
            assert judged(check, log, [dropped, answered]).verdict is Verdict.VALID


def test_a_client_sends_the_next_request_in_the_microsecond_of_the_answer():
    history = [operation(PAY, 1, SUCCESS, 0, 10), operation(LOOK, 2, 7, 10, 20)]
    assert_valid(judged("exactly_once", log_of(PAY, LOOK), history))


def test_a_repeated_request_behind_the_clients_next_one_is_skipped():
    log = log_of(PAY, LOOK, PAY)
    assert log.slots[3][1] == SKIPPED
    history = [operation(PAY, 1, SUCCESS), operation(LOOK, 2, 7, 20, 30)]
    for check in CHECKS:
        assert_valid(judged(check, log, history, views_of(PAY, LOOK, PAY)))
    log.slots[3] = (PAY, SUCCESS)
    judgement = judged("exactly_once", log, history)
    assert_invalid(judgement, "slot 3 gave 'success', executed once it gives 'skipped'")


def test_an_older_request_than_the_clients_last_one_has_no_effect():
    log = log_of(LOOK, PAY)
    assert log.slots[2][1] == SKIPPED
    assert_valid(judged("exactly_once", log, [operation(LOOK, 1, 10)]))
    assert_valid(judged("agreement", log, views=views_of(LOOK, PAY)))
    log.slots[2] = (PAY, SUCCESS)
    assert_invalid(judged("exactly_once", log), "slot 2 gave 'success', executed once it gives 'sk")


def test_an_answer_in_a_slot_that_nobody_reported_is_not_called_lost():
    log = log_of(PAY)
    views = [view(r, PAY, last_slot=2) for r in (1, 2, 3)]
    history = [operation(PAY, 1, SUCCESS), operation(LOOK, 2, 7, 20, 30)]
    assert_unknown(judged("exactly_once", log, history, views), "slot 2 is not known")
    assert_unknown(judged("agreement", log, history, views), "slot 2")


def test_an_answer_in_a_known_slot_is_lost_whatever_lies_above():
    log = log_of(NOOP_REQUEST)
    log.add(1, 3, [(NOOP_REQUEST, SKIPPED)])
    judgement = judged("exactly_once", log, [operation(PAY, 1, SUCCESS)])
    assert_invalid(judgement, "was answered 'success' and is in no slot")


def test_an_answer_in_a_slot_that_a_saved_history_lacks_is_not_called_lost():
    for log, slot in ((log_of(PAY), 2), (CommitLog(), 1)):
        judgement = judged("exactly_once", log, [operation(LOOK, slot, 7, 20, 30)])
        assert_unknown(judgement, f"slot {slot} is not known")


def test_what_a_checkpoint_says_of_a_request_is_held_against_its_answer():
    log, again = resumed(PAY, PAY_BACK, at=2), operation(PAY, 1, FAILED)
    assert_invalid(judged("exactly_once", log, [again]), "was answered 'failed', not 'success'")
    assert_valid(judged("exactly_once", log, [operation(PAY, 1, SUCCESS)]))
    late = operation(PAY, 3, SUCCESS)
    assert_invalid(judged("exactly_once", log, [late]), "for slot 3, first executed in 1")


def test_a_request_below_a_checkpoint_that_is_repeated_gives_its_old_answer():
    log = resumed(PAY, PAY_BACK, at=2)
    log.slots[3] = (PAY, SUCCESS)
    assert_valid(judged("agreement", log, views=views_of(PAY, PAY_BACK, PAY)))
    log.slots[3] = (PAY, FAILED)
    judgement = judged("exactly_once", log)
    assert_invalid(judgement, "slot 3 gave 'failed', executed once it gives 'success'")


# ---- linearizable --------------------------------------------------------------------------------


def test_operations_at_the_same_time_may_have_any_order():
    history = [operation(PAY, 1, SUCCESS, 5, 10), operation(PAY_BACK, 2, FAILED, 0, 6)]
    assert_valid(judged("linearizable", log_of(PAY, PAY_BACK), history))


def test_an_answer_from_before_a_lower_slot_was_sent_is_a_violation():
    history = [operation(PAY, 1, SUCCESS, 7, 10), operation(PAY_BACK, 2, FAILED, 0, 6)]
    judgement = judged("linearizable", log_of(PAY, PAY_BACK), history)
    assert_invalid(judgement, "was answered before A's (A, B, 3) in slot 1 was sent")


def test_not_only_the_slot_before_counts():
    between = ("C", 1, "read", "A", "", 0)
    log = log_of(PAY, between, PAY_BACK)
    history = [
        operation(PAY, 1, SUCCESS, 7, 10),
        operation(between, 2, 7, 0, 10),
        operation(PAY_BACK, 3, FAILED, 0, 6),
    ]
    judgement = judged("linearizable", log, history)
    assert_invalid(judgement, "in slot 3 was answered before A's (A, B, 3) in slot 1 was sent")


def test_a_pending_operation_counts_from_its_sending():
    log, early = log_of(PAY, PAY_BACK), operation(PAY_BACK, 2, FAILED, 0, 6)
    assert_invalid(judged("linearizable", log, [pending(PAY, 7), early]), "before A's")
    late = operation(PAY_BACK, 2, FAILED, 0, 8)
    assert_valid(judged("linearizable", log, [pending(PAY, 7), late]))


def test_a_second_slot_has_no_place_in_the_order():
    log = log_of(PAY_BACK, PAY, PAY_BACK)
    history = [operation(PAY_BACK, 1, FAILED, 0, 6), operation(PAY, 2, SUCCESS, 7, 10)]
    assert_valid(judged("linearizable", log, history))


def test_a_request_that_no_client_sent_is_seen():
    judgement = judged("linearizable", log_of(PAY), [])
    assert_invalid(judgement, "A's (A, B, 3) in slot 1: no client asked for it")
    unsent = Operation(PAY, 1)
    assert_invalid(judged("linearizable", log_of(PAY), [unsent]), "no client asked for it")


def test_what_clients_of_earlier_runs_asked_for_was_not_invented():
    log = log_of(PAY, PAY_BACK)
    log.known_before = 1
    again = operation(PAY_BACK, 2, FAILED)
    assert_valid(judged("linearizable", log, [again]))
    assert_invalid(judged("linearizable", log, []), "in slot 2: no client asked for it")
    log.slots[3] = (PAY, SUCCESS)  # retried by its client's earlier process
    assert_valid(judged("linearizable", log, [again]))
    assert_valid(judged("linearizable", resumed(PAY, PAY_BACK, LOOK, at=2), []))


TIMES = {
    "before it was sent": (operation(PAY, 1, SUCCESS, 5, 4), "answered 1 µs before it was sent"),
    "and never sent": (operation(PAY, 1, SUCCESS, None, 4), "was answered and never sent"),
    "at no time": (
        operation(PAY, 1, SUCCESS, 0, None),
        "has result 'success' and was never answered",
    ),
    "with nothing": (
        operation(PAY, 1, None, 0, 4),
        "has result None and was answered all the same",
    ),
}


@pytest.mark.parametrize(("wrong", "evidence"), TIMES.values(), ids=TIMES)
def test_an_answer_comes_after_its_request(wrong, evidence):
    assert_invalid(judged("linearizable", log_of(PAY), [wrong]), evidence)


# ---- verdicts ------------------------------------------------------------------------------------


def test_unknown_never_counts_as_valid():
    valid = Judgement("a", Verdict.VALID)
    unknown = judge("b", [], unknown="budget spent")
    not_asked = Judgement("d", Verdict.NOT_ASKED)
    invalid = judge("c", ["evidence", "more"], unknown="also")
    assert (unknown.reason, invalid.reason) == ("budget spent", "evidence")
    assert overall([valid]) is Verdict.VALID
    assert overall([unknown, valid]) is Verdict.UNKNOWN
    assert overall([valid, unknown]) is Verdict.UNKNOWN
    assert overall([invalid, unknown, valid]) is Verdict.INVALID
    assert [v.exit_code for v in Verdict if v is not Verdict.NOT_ASKED] == [0, 1, 3]
    assert overall([not_asked]) is Verdict.UNKNOWN
    assert overall([not_asked, valid]) is Verdict.VALID
    assert overall([not_asked, invalid]) is Verdict.INVALID
    assert [v.sign for v in Verdict] == ["✓", "✗", "?", "–"]


def test_no_judge_at_all_is_unknown():
    assert overall([]) is Verdict.UNKNOWN


def test_every_judge_is_asked():
    judgements = judge_run(BALANCES, log_of(PAY), [operation(PAY, 1, SUCCESS)], views_of(PAY))
    assert [j.check for j in judgements] == [
        "agreement",
        "conservation",
        "exactly_once",
        "linearizable",
    ]
    assert overall(judgements) is Verdict.VALID
    saved = judge_run(BALANCES, log_of(PAY), [operation(PAY, 1, SUCCESS)], None)
    assert [j.check for j in saved] == ["agreement", "exactly_once", "linearizable"]


# ---- set after set -------------------------------------------------------------------------------


def set_after_set(*sets):
    """Verdicts of (log, history, views), each grown from the one before, and more sets to come."""
    run = RunJudges(BALANCES, INTERVAL)
    return [overall(run.judge(*given, is_last=False)) for given in sets]


def looked_at(*sets):
    """The same, all valid: how many slots and operations were gone through for each."""
    calls, real = [], judges.replay

    def replay(log, balances, history, *more, **named):
        calls.append((len(log.slots), len(history)))
        return real(log, balances, history, *more, **named)

    with patch.object(judges, "replay", replay):
        assert set(set_after_set(*sets)) == {Verdict.VALID}
    return calls


PAID = operation(PAY, 1, SUCCESS)
LOOKED = operation(LOOK, 2, 7, 20, 30)


def test_a_set_is_judged_by_what_is_new():
    more = operation(("A", 3, "read", "A", "", 0), 3, 7, 40, 50)
    first = log_of(PAY, LOOK), [PAID, LOOKED], views_of(PAY, LOOK)
    all_three = PAY, LOOK, more.request
    second = log_of(*all_three), [PAID, LOOKED, more], views_of(*all_three)
    assert looked_at(first, second) == [(2, 2), (1, 2)], "the client's last request and the new one"


def test_what_pends_may_be_answered_in_a_later_set():
    run, late = RunJudges(BALANCES, INTERVAL), pending(LOOK, 20)
    given = log_of(PAY), [PAID, late], views_of(PAY)
    assert overall(run.judge(*given, is_last=False)) is Verdict.VALID
    late.answered_at, late.result, late.slot, late.ballot = 90, 7, 2, NO_BALLOT
    given = log_of(PAY, LOOK), [PAID, late], views_of(PAY, LOOK)
    with patch.object(judges, "replay", wraps=judges.replay) as replay:
        assert overall(run.judge(*given, is_last=False)) is Verdict.VALID
    assert replay.call_count == 1, "not by the whole run"


def test_who_fell_behind_is_known_where_it_stood():
    late = view(3, PAY)
    first = log_of(PAY, LOOK), [PAID, LOOKED], [*views_of(PAY, LOOK, replicas=2), late]
    assert looked_at(first, first) == [(2, 2), (0, 1)]


def test_the_last_set_is_judged_by_the_whole_run():
    run, paid = RunJudges(BALANCES, INTERVAL), replace(PAID)
    given = log_of(PAY, LOOK), [paid, LOOKED], views_of(PAY, LOOK)
    assert overall(run.judge(*given, is_last=False)) is Verdict.VALID
    paid.result = FAILED
    assert overall(run.judge(*given, is_last=True)) is Verdict.INVALID


def test_what_is_not_valid_stays_so():
    wrong = log_of(PAY, LOOK, results=[SUCCESS, 9])
    bad = wrong, [PAID, LOOKED], views_of(PAY, LOOK)
    assert set_after_set((log_of(PAY), [PAID], views_of(PAY)), bad, bad) == [
        Verdict.VALID,
        Verdict.INVALID,
        Verdict.INVALID,
    ]


def test_a_client_goes_on_where_it_was():
    first = log_of(PAY), [PAID], views_of(PAY)
    again = operation(PAY, 1, SUCCESS, 20, 30)  # with the timestamp that it used already
    second = log_of(PAY), [PAID, again], views_of(PAY)
    assert set_after_set(first, second) == [Verdict.VALID, Verdict.INVALID]


def test_the_ballot_of_an_earlier_set_is_still_promised():
    high = replace(PAID, ballot=Ballot(3, 1))
    history = [high, LOOKED]
    promised = [view(r, PAY, LOOK, promised=Ballot(3, 1)) for r in (1, 2, 3)]
    log = log_of(PAY, LOOK)
    found = set_after_set((log, history, promised), (log, history, views_of(PAY, LOOK)))
    assert found == [Verdict.VALID, Verdict.INVALID]
