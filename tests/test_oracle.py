"""The oracle: what it says of files, and that no run of any kind ever contradicts it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bank.ballot import replica_name
from bank.ledger import READ, TRANSFER
from harness.check.verdict import Verdict
from harness.cluster.nemesis import Fail, FailLeader, Recover
from harness.files import testset
from harness.files.cases import (
    CaseFile,
    CaseSet,
    Command,
    Expected,
    Step,
    Stopped,
    Wait,
    action_text,
)
from harness.files.config import FAILURES, UNANSWERED, ClusterConfig
from harness.files.forecast.oracle import forecast
from harness.files.steps import Names, parse_step
from harness.run.runner import Runner
from harness.sim.world import SimCluster

GIVEN = Path(__file__).parents[2] / "shared" / "testsets"
CONFIG = ClusterConfig(seed=1)
NAMES = Names(5, CONFIG.accounts)
EVERYBODY = "1 2 3 4 5"


def case(number, live, *texts):
    """A set; a text that begins with "&" is at once with the step before it."""
    steps = [
        Step(line, *parse_step(text.lstrip("& "), NAMES), together=text.startswith("&"))
        for line, text in enumerate(texts, 10 * number)
    ]
    return CaseSet(number, frozenset(map(int, live.split())), tuple(steps), 10 * number)


def foretold(*sets, config=CONFIG):
    sets = [case(number, *words) for number, words in enumerate(sets, 1)]
    return forecast(CaseFile("x.yaml", tuple(sets)), config)


def outcomes(of_set):
    """ "success", "success|failed", "7", "4..9" by label."""
    found = {}
    for step in of_set.steps:
        words = sorted(step.outcomes)
        if step.values:
            read = "..".join(map(str, dict.fromkeys((step.values[0], step.values[-1]))))
            words = [read if word == "success" else word for word in words]
        found[step.label] = "|".join(words) + ("" if step.listed else "?")
    return found


def test_who_is_expected_to_be_stopped_counts_as_not_live():
    """Four of five are stopped in the first set, one in the second, nobody is in the third."""
    sets = [case(number, EVERYBODY, "(A, B, 3)") for number in (1, 2, 3)]
    for index, stopped in enumerate([{2, 3, 4, 5}, {2}]):
        expected = (Expected("x.yaml:3", "stopped", Stopped(frozenset(stopped))),)
        sets[index] = replace(sets[index], expected=expected)
    found = forecast(CaseFile("x.yaml", tuple(sets)), CONFIG).sets
    assert [of_set.leaders for of_set in found] == [set(), {1, 3, 4, 5}, {1, 2, 3, 4, 5}]
    assert outcomes(found[0]) == {"1": "pending"}


# ---- against a file that was worked out by other means -----------------------------------------


@pytest.mark.skipif(not GIVEN.is_dir(), reason="no given test sets here")
def test_the_given_results_are_foretold():
    given_sets = json.loads((GIVEN / "ten-sets.expected.json").read_text("utf-8"))["sets"]
    found = forecast(testset.load(GIVEN / "ten-sets.csv", CONFIG), CONFIG)
    assert found.exact and len(found.sets) == len(given_sets)
    for of_set, wanted in zip(found.sets, given_sets, strict=True):
        requests = [step for step in of_set.steps if step.commits is not None]
        assert [(step.text, step.known) for step in requests] == [
            ("({}, {}, {})".format(*transfer["transfer"]), transfer["outcome"])
            for transfer in wanted["transfers"]
        ]
        assert {a: list(amounts) for a, amounts in of_set.balances.items()} == {
            a: [amount] for a, amount in wanted["balances"].items()
        }
        assert of_set.doubts == {} and of_set.remarks == ()


# ---- one thing at a time -----------------------------------------------------------------------

SETS = {
    "all commit": ([(EVERYBODY, "(A, J, 3)", "(A)")], {"1": "success", "2": "7"}),
    "too little": ([(EVERYBODY, "(A, J, 11)", "(A, A, 10)")], {"1": "failed", "2": "success"}),
    "no quorum": ([("1 2", "(A, J, 3)", "(A)", "LF")], {"1": "pending", "2": "pending",
                                                       "3": "no-leader"}),
    "a race": (
        [(EVERYBODY, "(A, B, 4)", "(B, C, 12)", "(C)")],
        {"1": "success", "2": "failed|success", "3": "10..22"},
    ),
    "no race over a barrier": (
        [(EVERYBODY, "(A, B, 4)", "LF", "(B, C, 12)")],
        {"1": "success", "2": "done", "3": "success"},
    ),
    "a client waits for its own": (
        [("1 2", "(A, B, 4)"), (EVERYBODY, "(A, C, 7)", "(D, A, 1)")],
        {"1.1": "success", "1": "failed|success", "2": "success"},
    ),
    "LF leaves exactly a quorum": (
        [("1 2 3 4", "(A, B, 1)", "LF", "(A)")],
        {"1": "success", "2": "done", "3": "9"},
    ),
    "LF takes the quorum": (
        [("1 2 3", "(A, B, 1)", "LF", "(A)", "LF")],
        {"1": "success", "2": "done", "3": "pending", "4": "no-leader"},
    ),
    "a quorum later in the set": (
        [("1 2", "(A, B, 1)", "R(n3)", "(B, C, 11)")],
        {"1": "success", "2": "done", "3": "failed|success"},
    ),
    "a quorum for a while": (
        [("1 2", "(A, B, 1)", "R(n3)", "F(n1)", "(A)")],
        {"1": "success", "2": "done", "3": "done", "4": "pending"},
    ),
    "with the fault": (
        [("1 2 3", "(A, B, 1)", "& F(n1)", "(C)")],
        {"1": "pending|success", "2": "done", "3": "pending"},
    ),
    "with a fault that changes nothing": (
        [(EVERYBODY, "(A, B, 1)", "& F(n1)", "(C)")],
        {"1": "success", "2": "done", "3": "10"},
    ),
    "who led is not said": (
        [("1 2 3 4", "(A)", "LF", "F(n2)", "(A, B, 1)")],
        {"1": "10", "2": "done", "3": "done", "4": "pending|success"},
    ),
    "a leader returns": (
        [("1 2 3", "LF", "R(n1)", "R(n2)", "R(n3)", "(A)")],
        {"1": "done", "2": "done", "3": "done", "4": "done", "5": "10"},
    ),
    "who leads lingers": (
        [("1 2 3", "(A)"), ("1 2", "LF")],
        {"1": "done|no-leader"},
    ),
    "who led and was away lingers as well": (
        [(EVERYBODY, "(A)"), ("1 2 3", "(B)"), ("4 5", "LF")],
        {"1": "done|no-leader"},
    ),
    "a kill point": (
        [("1 2 3", "fail n2 before the write", "(A, B, 1)")],
        {"1": "done|not-reached", "2": "pending|success"},
    ),
    "the leader's kill point": (
        [(EVERYBODY, "fail leader before COMMIT", "(A, B, 1)", "F(n1)", "(A)")],
        {"1": "done|not-reached", "2": "success", "3": "done", "4": "9"},
    ),
    "a cut that leaves a quorum": (
        [(EVERYBODY, "cut n1<->n2,n3,n4,n5", "(A)")],
        {"1": "done", "2": "10"},
    ),
    "everybody apart": (
        [(EVERYBODY, "cut *<->*", "(A)"), ("1 2", "(B)")],
        {"1.2": "pending|10", "1": "pending"},
    ),
    "one in the middle": (
        [(EVERYBODY, "cut n2<->n3,n4,n5, n3<->n4,n5, n4<->n5", "(A)")],
        {"1": "done", "2": "10"},
    ),
    "healed": (
        [(EVERYBODY, "cut *<->*", "(A)", "heal", "(B)")],
        {"1": "done", "2": "10", "3": "done", "4": "10"},
    ),
    "minorities apart": ([("1 2", "(A)"), ("1 3", "(B)")], {"1.1": "pending", "1": "pending"}),
    "minorities that add up": (
        [("1 2", "(A)"), ("1 3", "(B)"), ("1 4", "(C)")],
        {"1.1": "pending|10", "2.1": "pending|10", "1": "pending"},
    ),
    "wait is no barrier": (
        [(EVERYBODY, "(A, B, 4)", "wait 50 ms", "(B, C, 12)")],
        {"1": "success", "2": "done", "3": "failed|success"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("sets", "last"), SETS.values(), ids=SETS)
def test_what_becomes_of_the_steps_of_a_last_set(sets, last):
    assert outcomes(foretold(*sets).sets[-1]) == last


DROPPED = {
    "it may be chosen in the next set": (
        [("1 2", "(A, B, 4)"), (EVERYBODY, "(B)")],
        {"1": "10..14"}, {"A": [6, 10], "B": [10, 14]},
    ),
    "and in any set after that, once": (
        [("1 2", "(A, B, 4)"), (EVERYBODY, "(C)"), (EVERYBODY, "(D)"), (EVERYBODY, "(B)")],
        {"1": "10..14"}, {"A": [6, 10], "B": [10, 14], "C": [10], "D": [10]},
    ),
    "until its client asked again": (
        [("1 2", "(A, B, 4)"), (EVERYBODY, "(A, C, 7)"), (EVERYBODY, "(A)")],
        {"1": "3..6"}, {"A": [3, 6], "B": [10, 14], "C": [10, 17]},
    ),
    "what a client never sent is gone": (
        [("1 2", "(A)", "(A, B, 4)", "(A, C, 4)"), (EVERYBODY, "(A)")],
        {"1": "10"}, {"A": [10], "B": [10], "C": [10]},
    ),
    "reads and what moves nothing leave no doubt": (
        [("1 2", "(A)", "(B, B, 4)"), (EVERYBODY, "(C)")],
        {"1": "10"}, {"A": [10], "B": [10], "C": [10]},
    ),
    "with a quorum nothing is dropped": (
        [(EVERYBODY, "(A, B, 4)"), (EVERYBODY, "(B)")],
        {"1": "14"}, {"A": [6], "B": [14]},
    ),
    "still nobody can choose it": (
        [("1 2", "(A, B, 4)"), ("1 2", "(B)")],
        {"1": "pending"}, {"A": [10], "B": [10]},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("sets", "last", "balances"), DROPPED.values(), ids=DROPPED)
def test_what_is_dropped_may_still_be_chosen(sets, last, balances):
    """Both outcomes, for as long as that may be; no set but its own lists it."""
    found = foretold(*sets, config=replace(CONFIG, unanswered="drop"))
    of_set = found.sets[-1]
    assert outcomes(of_set) == last
    assert {account: list(amounts) for account, amounts in of_set.balances.items()} == balances
    assert "2.1" not in found.at_end or not found.at_end["2.1"].dropped or len(sets) > 2


def test_of_what_was_dropped_the_reason_says_so():
    sets = ("1 2", "(A, B, 4)"), (EVERYBODY, "(C)")
    found = foretold(*sets, config=replace(CONFIG, unanswered="drop"))
    assert found.sets[1].doubts == dict.fromkeys("AB", ("depends on 1.1 (A, B, 4) (dropped)",))
    at_end = found.at_end
    assert (at_end["1.1"].known, at_end["1.1"].dropped) == ("pending", True)
    assert (at_end["2.1"].known, at_end["2.1"].dropped) == (10, False)


def test_reasons_name_who_races():
    (of_set,) = foretold((EVERYBODY, "(A, B, 4)", "(B, C, 12)", "(C)", "(D, B, 1)")).sets
    why = {step.label: step.why for step in of_set.steps if step.why}
    assert why == {
        "2": ("races with 1.1 (A, B, 4), 1.4 (D, B, 1)",),
        "3": ("races with 1.2 (B, C, 12)",),
    }
    assert {a: list(b) for a, b in of_set.balances.items() if len(b) > 1} == {
        "B": [3, 15], "C": [10, 22],
    }  # fmt: skip
    assert of_set.doubts == dict.fromkeys("BC", ("depends on 1.2 (B, C, 12)",))


def test_reasons_name_the_fault_that_came_too_early():
    (of_set,) = foretold(("1 2 3", "(A, B, 1)", "& F(n1)", "(C)")).sets
    assert of_set.steps[0].why == ("F(n1) comes while it is under way",)
    assert of_set.doubts == dict.fromkeys("AB", ("depends on 1.1 (A, B, 1)",))


def test_a_doubt_goes_on_until_it_is_settled():
    sets = foretold(
        (EVERYBODY, "(A, B, 4)", "(B, C, 12)"), (EVERYBODY, "(B, D, 3)"), (EVERYBODY, "(D)")
    ).sets
    assert outcomes(sets[1]) == {"1": "failed|success"}
    assert sets[1].steps[0].why == ("B is not known before: depends on 1.2 (B, C, 12)",)
    assert sets[2].steps[0].why[0].startswith("D is not known before: depends on 2.1")
    assert list(sets[2].balances["D"]) == [10, 13]


def test_who_was_away_may_lag_behind_without_a_quorum():
    sets = foretold(("1 2 3", "(A, B, 4)"), ("3 4", "(C)"), ("2 3", "(D)")).sets
    assert list(sets[1].balances["A"]) == [6, 7, 8, 9, 10]
    assert sets[1].doubts["A"] == ("n4 may have missed something, and no quorum is there to help",)
    assert "C" not in sets[1].doubts
    # A process that returns from its disk may know less than it did.
    assert sets[2].doubts["A"] == ("n2 may have missed something, and no quorum is there to help",)


def test_nobody_is_asked_when_nobody_is_live():
    (of_set,) = foretold(("1", "(A)", "F(n1)")).sets
    assert of_set.balances == {} and of_set.leaders == frozenset()


def test_waits_and_remarks():
    (of_set,) = foretold(("1 2", "(A)", "R(n3)", "R(n3)", "F(n3)", "F(n3)", "LF", "LF")).sets
    assert [remark.text for remark in of_set.remarks] == [
        "R(n3) has no effect: it is live",
        "F(n3) has no effect: it is not live",
    ]
    assert [remark.line for remark in of_set.remarks] == [12, 14]
    (of_set,) = foretold(("1 2", "(A)", "LF", "F(n4)")).sets
    assert of_set.waits == 4 - 1 and of_set.pending == (1, 1)
    assert [remark.text for remark in of_set.remarks] == [
        "LF finds no leader: there is no quorum",
        "F(n4) has no effect: it is not live",
    ]
    (of_set,) = foretold((EVERYBODY, "fail n2 before the write", "(A)")).sets
    assert of_set.remarks[0].text == "n2 may be dead from here on: fail n2 before the write"


def test_a_short_patience_settles_nothing():
    hasty = ClusterConfig(patience_ms=200)
    assert outcomes(foretold(("1 2", "(A)", "F(n2)", "R(n3)"), config=hasty).sets[0]) == {
        "1": "pending|10", "2": "done", "3": "done",
    }  # fmt: skip


def test_at_the_end_every_request_is_known_by_its_set():
    found = foretold(("1 2", "(A, J, 3)", "(A)"), (EVERYBODY, "LF"), ("1", "(B)"))
    assert {label: step.known for label, step in found.at_end.items()} == {
        "1.1": "success", "1.2": 7, "3.1": "pending",
    }  # fmt: skip


# ---- against runs ------------------------------------------------------------------------------


@st.composite
def files(draw):
    """A file on three or five replicas and few accounts, short of money as often as not."""
    nodes = draw(st.sampled_from((3, 5)))
    replicas = st.integers(1, nodes)
    accounts = st.sampled_from("ABCD")
    commands = st.builds(lambda *of: Command(TRANSFER, *of), accounts, accounts, st.integers(1, 14))
    commands |= st.builds(lambda account: Command(READ, account, "", 0), accounts)
    faults = st.builds(Fail, replicas) | st.builds(Recover, replicas) | st.just(FailLeader())
    waits = st.sampled_from([1_000, 50_000, 400_000]).map(Wait)
    actions = st.one_of(commands, commands, commands, faults, faults, waits)
    sets = []
    for number in range(1, draw(st.integers(2, 5))):
        steps = []
        for line, action in enumerate(draw(st.lists(actions, max_size=8))):
            together = isinstance(action, Fail | Recover | FailLeader) and draw(st.integers(0, 3))
            steps.append(Step(line, action_text(action), action, together=together == 1))
        live = draw(st.sets(replicas, min_size=1))
        sets.append(CaseSet(number, frozenset(live), tuple(steps), 1))
    return nodes, CaseFile("drawn.yaml", tuple(sets))


def contradictions(report, of_set, connected):
    """What a set's report has and its forecast has not."""
    steps = {step.label: step for step in of_set.steps}
    for step in report.steps:
        wanted = steps.pop(step.label)
        if step.outcome not in wanted.outcomes:
            yield f"{step.label} {step.text}: {step.outcome}, not of {set(wanted.outcomes)}"
        if step.value is not None and step.value not in wanted.values:
            yield f"{step.label} {step.text}: {step.value}, not in {wanted.values}"
    for step in steps.values():
        if step.listed:
            yield f"{step.label} {step.text}: not there"
    if report.leader is not None and report.leader not in of_set.leaders:
        yield f"{replica_name(report.leader)} leads, not of {set(of_set.leaders)}"
    for replica in connected:
        for account, amounts in of_set.balances.items():
            found = report.views[replica - 1].status.balances[account]
            if found not in amounts:
                yield f"{account} is {found} at {replica_name(replica)}, not in {amounts}"


class Watched(Runner):
    """Remembers who was waited for at the end of the last set."""

    connected: tuple[int, ...] = ()

    def _report(self, case):
        self.connected = tuple(self._standing.connected())
        return super()._report(case)


@settings(max_examples=50, deadline=None)
@given(files(), st.sampled_from(FAILURES), st.integers(0, 1_000_000), st.sampled_from(UNANSWERED))
def test_no_run_contradicts_the_oracle(drawn, failure, seed, unanswered):
    nodes, file = drawn
    config = ClusterConfig(nodes=nodes, failure=failure, seed=seed, unanswered=unanswered)
    world = SimCluster(config)
    world.start()
    runner = Watched(world, config, file)
    for of_set in forecast(file, config).sets:
        report = runner.run_next()
        assert list(contradictions(report, of_set, runner.connected)) == []
    assert runner.verdict() is Verdict.VALID
