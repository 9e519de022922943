"""Expectations: each kind holds when it should, and says what differs when it does not."""

from dataclasses import replace

import pytest

from harness.check.expectations import Found, meet
from harness.check.verdict import Verdict
from harness.cluster.nemesis import FailLeader
from harness.files.cases import (
    Balances,
    CaseFile,
    CaseSet,
    Checks,
    Command,
    Expected,
    Leader,
    Outcomes,
    Pending,
    Slots,
    Statuses,
    Step,
    Stopped,
)
from harness.files.config import ClusterConfig
from harness.run.runner import Runner
from harness.sim.world import SimCluster

FOUND = Found(
    balances={1: {"A": 7, "J": 13}, 2: {"A": 7, "J": 12}},
    executed={1: 4, 2: 3},
    outcomes={"1": "success", "2": 7, "3": "pending"},
    pending=["(A, J, 3)"],
    leader=2,
    stopped=frozenset({1, 3}),
    marks=lambda slots: dict.fromkeys(slots, "EEC"),
    checks={"agreement": Verdict.VALID, "progress": Verdict.UNKNOWN},
)


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (Balances({"A": 7}), ""),
        (Balances({"A": 6}), "expected A 6, found A 7"),
        (Balances({"A": 7, "J": 13}), "expected J 13, found J 12 on n2"),
        (Outcomes({"1": "success", "2": 7}), ""),
        (Outcomes({"2": 8}), "expected step 2 8, found step 2 7"),
        (Outcomes({"9": "failed"}), "expected step 9 failed, found step 9 not there"),
        (Pending(1), ""),
        (Pending(1, ("(A, J, 3)",)), ""),
        (Pending(0, ()), "expected 0 pending, found 1: (A, J, 3)"),
        (Pending(1, ("(A)",)), "expected 1 pending: (A), found 1: (A, J, 3)"),
        (Leader(frozenset({1, 2})), ""),
        (Leader(frozenset({1})), "expected leader n1, found n2"),
        (Leader(frozenset()), "expected leader none, found n2"),
        (Stopped(frozenset({1, 3})), ""),
        (Stopped(frozenset({3})), "expected n3 stopped, found n1 and n3"),
        (Stopped(frozenset()), "expected none stopped, found n1 and n3"),
        (Slots(3, 4), ""),
        (Slots(4, 4), "expected 4 slots, found 3 on n2"),
        (Statuses({1: "EE-"}), ""),
        (Statuses({1: "EEE"}), "expected slot 1 EEE, found slot 1 EEC"),
        (Checks(("agreement",)), ""),
        (Checks(("progress",)), "expected progress to hold, found progress unknown"),
        (Checks(("conservation",)), "expected conservation to hold, found conservation not judged"),
        (Balances({"K": 7}), "expected K 7, found K not there"),
        (Outcomes({"1": "failed", "2": 7}), "expected step 1 failed, found step 1 success"),
        (Pending(0), "expected 0 pending, found 1: (A, J, 3)"),
        (Pending(2), "expected 2 pending, found 1: (A, J, 3)"),
        (Slots(5, 9), "expected 5 to 9 slots, found 4 on n1; 3 on n2"),
        (Slots(0, 2), "expected 0 to 2 slots, found 4 on n1; 3 on n2"),
        (Statuses({1: "EEC", 2: "CEC"}), "expected slot 2 CEC, found slot 2 EEC"),
    ],
    ids=str,
)
def test_each_kind_says_what_differs(what, reason):
    met = meet(Expected("x.yaml:3", "key", what), FOUND)
    assert met.reason == reason
    assert met.holds is (reason == "")


def test_nobody_live_is_no_proof_of_a_balance():
    nobody = Found({}, {}, {}, [], None, frozenset(), lambda slots: {}, {})
    for what in (Balances({"A": 7}), Slots(0, 9)):
        assert "no replica" in meet(Expected("x.yaml:3", "key", what), nobody).reason


def run(expected, at_end=()):
    transfer = Step(2, "(A, J, 3)", Command("transfer", "A", "J", 3))
    steps = (transfer, Step(3, "LF", FailLeader()))
    config = ClusterConfig(seed=1)
    sets = [
        CaseSet(1, frozenset(range(1, 6)), steps, 2, expected),
        CaseSet(2, frozenset({1, 2}), (transfer,), 4),
    ]
    world = SimCluster(config)
    world.start()
    runner = Runner(world, config, CaseFile("x.yaml", tuple(sets), at_end=at_end))
    return runner, [runner.run_next() for _ in sets]


def test_a_set_that_meets_its_expectations_is_valid():
    expected = (
        Expected("x.yaml:5", "balances", Balances({"A": 7, "J": 13})),
        Expected("x.yaml:6", "outcomes", Outcomes({"1": "success", "2": "done"})),
        Expected("x.yaml:7", "slots", Slots(1, 3)),
        Expected("x.yaml:8", "statuses", Statuses({1: "-EEEE"})),
        Expected("x.yaml:9", "checks", Checks(("agreement", "progress"))),
        Expected("x.yaml:10", "leader", Leader(frozenset({2, 3, 4, 5}))),
    )
    at_end = (
        Expected("x.yaml:20", "pending", Pending(1, ("(A, J, 3)",))),
        Expected("x.yaml:21", "outcomes", Outcomes({"1.1": "success", "2.1": "pending"})),
        Expected("x.yaml:22", "leader", Leader(frozenset())),
        Expected("x.yaml:23", "checks", Checks(("agreement",))),
    )
    runner, (first, last) = run(expected, at_end)
    assert [met.reason for met in (*first.expectations, *last.expectations)] == [""] * 10
    assert runner.verdict() is Verdict.VALID


def test_one_that_does_not_makes_the_run_invalid_and_says_where():
    expected = (
        Expected("x.yaml:5", "balances", Balances({"A": 7})),
        Expected("x.yaml:6", "leader", Leader(frozenset({1}))),
        Expected("x.yaml:7", "balances", Balances({"J": 12})),
    )
    runner, (first, _) = run(expected)
    assert [met.holds for met in first.expectations] == [True, False, False]
    (judgement,) = [j for j in first.judgements if j.check == "expectations"]
    assert judgement.reason.startswith("x.yaml:6: leader: expected leader n1, found n")
    assert runner.verdict() is Verdict.INVALID


def test_what_nobody_tells_cannot_be_checked():
    """It is no violation, and gives no points either."""
    found = replace(FOUND, balances={}, untold={Balances: "no replica tells its balances"})
    met = meet(Expected("x.yaml:3", "balances", Balances({"A": 7})), found)
    assert (met.holds, met.verdict) == (False, Verdict.UNKNOWN)
    assert met.reason == "expected A 7, could not be checked: no replica tells its balances"
    slots = meet(Expected("x.yaml:4", "slots", Slots(3, 4)), found)
    assert (slots.holds, slots.verdict) == (True, Verdict.VALID)
    checks = {"agreement": Verdict.NOT_ASKED, "linearizable": Verdict.INVALID}
    found = replace(FOUND, checks=checks)
    met = meet(Expected("x.yaml:5", "checks", Checks(("agreement",))), found)
    assert met.reason == "expected agreement to hold, could not be checked: agreement was not asked"
    met = meet(Expected("x.yaml:5", "checks", Checks(("agreement", "linearizable"))), found)
    assert met.verdict is Verdict.INVALID
