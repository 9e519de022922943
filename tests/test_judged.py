"""Runner, torture, swarm and `check` give all that they have to every judge.

`catalogue/judges.txt` names what each of these tests guards.
"""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from test_checks import (
    BALANCES,
    INTERVAL,
    LOOK,
    PAY,
    PAY_BACK,
    THIEF,
    log_of,
    operation,
    pending,
    view,
    views_of,
)
from test_promises import EMPTY, HELD

from bank.ledger import FAILED, SUCCESS
from bank.sessions import NOOP_REQUEST
from bank.settings import USUAL
from harness.check.verdict import Judgement, Verdict
from harness.cluster.driver import CommitLog
from harness.cluster.journal import Liveness
from harness.commands import check
from harness.commands.torture import Torture
from harness.files.cases import CaseFile, CaseSet
from harness.files.config import ClusterConfig
from harness.files.history_file import SavedHistory
from harness.run.runner import Runner
from harness.sim import swarm

CONFIG = ClusterConfig(
    nodes=3, accounts=("A", "B"), initial_balance=10, checkpoint_interval=INTERVAL, seed=1
)


def by_runner(log, history, views):
    cluster = SimpleNamespace(
        committed=log,
        pending=list,
        unanswered=lambda: 0,
        now=lambda: 0,
        replicas=3,
        is_external=False,
    )
    runner = Runner(cluster, CONFIG, CaseFile("x.csv", (CaseSet(1, frozenset({1}), (), 1),)))
    runner.history = history
    return runner._judge(views)


def by_torture(log, history, views):
    torture = Torture(CONFIG, ["crash"], 0)
    torture._history = history
    return torture._judge(SimpleNamespace(committed=log, views=lambda: views, replicas=3))


def by_swarm(log, history, views):
    """It stops at the first one that does not hold."""
    world = SimpleNamespace(committed=log, views=lambda: views, balances=BALANCES)
    try:
        scenario = SimpleNamespace(config=CONFIG, rules=SimpleNamespace(sizes=USUAL))
        swarm._judge(world, scenario, history)
    except AssertionError as error:
        check, _, reason = str(error).partition(": ")
        return (Judgement(check, Verdict.INVALID, reason),)
    return ()


def by_check(log, history, views):
    saved = CommitLog(log.slots, log.base, log.known_before, log.contradictions)
    return check._judge("x", SavedHistory(dict(BALANCES), history, saved), 1000).judgements


CALLERS = (by_runner, by_torture, by_swarm, by_check)
GOOD = [operation(PAY, 1, SUCCESS), operation(PAY_BACK, 2, FAILED)]


def assert_told(judgements, evidence):
    assert any(j.verdict is Verdict.INVALID and evidence in j.reason for j in judgements), (
        judgements
    )


def crashed(**changes):
    views = views_of(PAY, PAY_BACK)
    views[1] = view(2, PAY, PAY_BACK, liveness=Liveness.CRASHED, **changes)
    return views


def all_three(**changes):
    return [view(replica, PAY, PAY_BACK, **changes) for replica in (1, 2, 3)]


LIES = {  # the first thing that is wrong, and the one that is meant
    "a failed replica's balances": (
        crashed(balances={"A": 8, "B": 12}),
        "n2 after slot 2: A is 8",
        "n2 after slot 2: A is 8",
    ),
    "a failed replica's hash": (
        crashed(running_hash="other"),
        "n2 after slot 2: the running hash is other",
        "n2 after slot 2: the running hash is other",
    ),
    "a hash that all replicas share": (
        all_three(running_hash="other"),
        "n1 after slot 2: the running hash is other",
        "n1 after slot 2: the running hash is other",
    ),
    "balances that all replicas share": (
        all_three(balances={"A": 8, "B": 12}),
        "n1 after slot 2: A is 8",
        "n1 after slot 2: A is 8",
    ),
    "money at a failed replica": (
        crashed(balances={"A": 8, "B": 13}),
        "n2 after slot 2: A is 8",
        "n2 holds 21 in all",
    ),
    "debts at a failed replica": (
        crashed(balances={"A": -1, "B": 21}),
        "n2 after slot 2: A is -1",
        "n2 holds -1 for A",
    ),
}


@pytest.mark.parametrize("caller", CALLERS[:3])
@pytest.mark.parametrize(("views", "first", "evidence"), LIES.values(), ids=LIES)
def test_states_are_judged(caller, views, first, evidence):
    judgements = caller(log_of(PAY, PAY_BACK), GOOD, views)
    assert_told(judgements, first)
    if caller is not by_swarm:
        assert_told(judgements, evidence)


def of_words(log, *history):
    requests = [request for request, _ in log.slots.values()]
    return log, list(history), views_of(*requests)


WORDS = {
    "pending and executed as another": (*of_words(log_of(THIEF), pending(PAY)), "was executed as"),
    "answered and in no slot": (*of_words(log_of(PAY, NOOP_REQUEST), *GOOD), "and is in no slot"),
    "another result": (
        *of_words(log_of(PAY, PAY_BACK), operation(PAY, 1, FAILED), GOOD[1]),
        "was answered 'failed', not 'success'",
    ),
    "invented": (*of_words(log_of(PAY, PAY_BACK), GOOD[0]), "no client asked for it"),
    "out of time": (
        *of_words(log_of(PAY, PAY_BACK), operation(PAY, 1, SUCCESS, 20, 30), GOOD[1]),
        "which has a lower slot",
    ),
}


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize(("log", "history", "views", "evidence"), WORDS.values(), ids=WORDS)
def test_histories_are_judged(caller, log, history, views, evidence):
    assert_told(caller(log, history, views), evidence)


@pytest.mark.parametrize("caller", CALLERS)
def test_contradictions_are_judged(caller):
    log = log_of(PAY, PAY_BACK)
    log.add(2, 1, [(THIEF, SUCCESS)])
    assert_told(caller(log, GOOD, views_of(PAY, PAY_BACK)), "slot 1: n2 executed")


@pytest.mark.parametrize("caller", CALLERS)
def test_what_is_well_is_valid(caller):
    judgements = caller(log_of(PAY, PAY_BACK), GOOD, views_of(PAY, PAY_BACK))
    assert {j.verdict for j in judgements} <= {Verdict.VALID}
    if caller in (by_runner, by_torture):
        names = {"agreement", "conservation", "exactly_once", "linearizable", "progress"}
        assert {j.check for j in judgements} == names


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("log", [CommitLog(), CommitLog({2: (LOOK, 7)})], ids=["empty", "a gap"])
def test_where_nobody_looked_nothing_is_valid(caller, log):
    judgements = caller(log, [], [])
    assert judgements, "the judges were asked"
    assert Verdict.VALID not in {j.verdict for j in judgements if j.check != "progress"}


# ---- what torture sees besides -------------------------------------------------------------------


def judged_disks(*disks):
    torture = Torture(CONFIG, ["crash"], 0)
    torture._disks = list(disks)
    return [(j.check, j.verdict) for j in torture._judge_disks()]


def test_disks_of_those_who_died_are_judged():
    broken = replace(HELD, promised=EMPTY.promised, seen=0, entries=())
    assert judged_disks() == judged_disks((1, HELD), (2, HELD)) == []
    assert judged_disks((1, HELD), (1, HELD)) == [("promises", Verdict.VALID)]
    assert judged_disks((1, HELD), (2, EMPTY), (1, broken)) == [("promises", Verdict.INVALID)]
    assert judged_disks((1, HELD), (1, None)) == [("promises", Verdict.UNKNOWN)]


def test_a_disk_that_could_not_be_read_is_told():
    assert judged_disks((1, HELD), (2, None)) == [("promises", Verdict.UNKNOWN)]


def test_replicas_that_ended_by_themselves_are_no_progress():
    views = views_of(PAY, PAY_BACK)
    views[2] = replace(views[2], liveness=Liveness.STOPPED, trouble="its disk is full")
    assert_told(by_torture(log_of(PAY, PAY_BACK), GOOD, views), "n3: its disk is full")
