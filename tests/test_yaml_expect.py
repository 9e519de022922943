"""`expect:` of YAML files: every key becomes its expectation, every mistake has its line."""

import pytest

from harness.errors import HarnessError
from harness.files.cases import (
    CHECKS,
    Balances,
    CaseFile,
    CaseSet,
    Checks,
    Expected,
    Leader,
    Outcomes,
    Pending,
    Slots,
    Statuses,
    Step,
)
from harness.files.config import ClusterConfig
from harness.files.expect import labels, read_expect
from harness.files.steps import Names, parse_step
from harness.files.tree import Problems
from harness.files.yaml_source import parse
from harness.run.runner import Runner
from harness.sim.world import SimCluster

NAMES = Names(5, tuple("ABCDEFGHIJ"))


def case(number, *texts):
    steps = [Step(number, *parse_step(text, NAMES)) for text in texts]
    return CaseSet(number, frozenset({1, 2, 3}), tuple(steps), number)


EARLIER = case(1, "(A, J, 3)", "LF", "(B)")
LAST = case(2, "(C, D, 1)", "(D)", "LF", "fail n3 before COMMIT", "fail leader before COMMIT",
            "cut n1->n2")  # fmt: skip


def expect(text, last=LAST):
    problems = Problems("x.yaml")
    known = labels([EARLIER] if last else [EARLIER, LAST], last)
    found = read_expect(parse(text.encode(), "x.yaml"), 1, problems, NAMES, known)
    problems.refuse()
    return found


def problems_of(text, last=LAST):
    with pytest.raises(HarnessError) as refusal:
        expect(text, last)
    return list(refusal.value.problems)


READ_AS = {
    "balances: {a: 7, J: 13}": Balances({"A": 7, "J": 13}),
    "outcomes: {1: Success, 2: 7, 3: no-leader, 4: done, 5: not-reached, 6: done}": Outcomes(
        {"1": "success", "2": 7, "3": "no-leader", "4": "done", "5": "not-reached", "6": "done"}
    ),
    "outcomes: {3-4: done}": Outcomes({"3": "done", "4": "done"}),
    "outcomes: {1.1: pending, '1.3': 10}": Outcomes({"1.1": "pending", "1.3": 10}),
    "pending: 0": Pending(0),
    "pending: []": Pending(0, ()),
    'pending: ["(a, J, 3)", (B)]': Pending(2, ("(A, J, 3)", "(B)")),
    "leader: N2": Leader(frozenset({2})),
    "leader: [n1, n2]": Leader(frozenset({1, 2})),
    "leader: none": Leader(frozenset()),
    "leader: any": Leader(frozenset({1, 2, 3, 4, 5})),
    "slots: 4": Slots(4, 4),
    "slots: 0": Slots(0, 0),
    "slots: 4-6": Slots(4, 6),
    "statuses: {1: EEEEE, 2: 'e E c x -'}": Statuses({1: "EEEEE", 2: "EECX-"}),
    "statuses: {1-3: EEEEE}": Statuses({1: "EEEEE", 2: "EEEEE", 3: "EEEEE"}),
    "checks: [agreement, exactly-once]": Checks(("agreement", "exactly_once")),
    "checks: progress": Checks(("progress",)),
}


@pytest.mark.parametrize(("text", "read"), READ_AS.items(), ids=READ_AS)
def test_every_key_is_read(text, read):
    assert expect("\n" + text) == (Expected("x.yaml:2", text.split(":")[0], read),)


def test_labels_survive_numbers_of_yaml():
    wide = case(1, *["(A, J, 1)"] * 10)
    known = labels([wide], LAST)
    section = parse(b"outcomes: {1.1: success, 1.10: failed}", "x.yaml")
    (found,) = read_expect(section, 1, Problems("x.yaml"), NAMES, known)
    assert found.what == Outcomes({"1.1": "success", "1.10": "failed"})


def test_after_the_last_set_steps_have_their_set():
    (found,) = expect("outcomes: {2.2: 7}", last=None)
    assert found.what == Outcomes({"2.2": 7})
    assert problems_of("outcomes: {2: 7}", last=None) == [
        "x.yaml:1: outcomes: 2: no such step, expected set.step of an earlier request such as 2.2"
    ]


REFUSED = {
    "5": "expect: found 5, expected keys such as balances: and leader:",
    "balancs: {A: 7}": "expect: balancs: unknown key, expected one of balances, outcomes, "
    "pending, leader, stopped, slots, statuses, checks (did you mean balances?)",
    "balances: 7": "balances: found 7, expected entries such as {A: 7, J: 13}",
    "balances: {}": "balances: found nothing, expected entries such as {A: 7, J: 13}",
    "balances: {K: 7}": 'balances: K: unknown account "K", expected A..J',
    "balances: {A: -1}": "balances: A: found -1, expected a whole number from 0 to "
    "9223372036854775807",
    "balances: {A: yes}": 'balances: A: found "yes", expected a whole number from 0 to '
    "9223372036854775807",
    "balances: {A: 1, a: 1}": "balances: a: A again, expected it once",
    "balances: {A: 1, A: 2}": "balances: A: given again, first on line 1, expected each key once",
    "outcomes: {7: success}": "outcomes: 7: no such step, expected 1 to 6 or set.step of an "
    "earlier request such as 1.3",
    "outcomes: {1.2: done}": "outcomes: 1.2: no such step, expected 1 to 6 or set.step of an "
    "earlier request such as 1.3 (did you mean 1.3?)",
    "outcomes: {1: sucess}": 'outcomes: 1: found "sucess" for (C, D, 1), expected success or '
    "failed or pending (did you mean success?)",
    "outcomes: {1: 7}": "outcomes: 1: found 7 for (C, D, 1), expected success or failed or pending",
    "outcomes: {2: success}": 'outcomes: 2: found "success" for (D), expected the balance read '
    "or pending",
    "outcomes: {3: not-reached}": 'outcomes: 3: found "not-reached" for LF, expected done or '
    "no-leader",
    "outcomes: {6: true}": "outcomes: 6: found true for cut n1->n2, expected done",
    "pending: -1": "pending: found -1, expected a whole number from 0 to 1000000",
    "pending: [LF]": "pending: LF is never pending, expected requests such as (A, J, 3)",
    "pending: [3]": "pending: found 3, expected a step such as (A, J, 3)",
    "leader: n7": 'leader: unknown replica "n7", expected n1..n5 (did you mean n5?)',
    "leader:": "leader: found no value, expected n2, a list, none or any",
    "leader: []": "leader: found an empty list, expected n2, a list, none or any",
    "slots: 6-4": 'slots: found "6-4", expected 4 or 4-6',
    "slots: 1.5": "slots: found 1.5, expected 4 or 4-6",
    "slots: true": "slots: found true, expected 4 or 4-6",
    "statuses: {1: EEEE}": 'statuses: 1: found "EEEE", expected 5 of A, C, E, X or -, one for '
    "each replica",
    "statuses: {1: EEEEF}": 'statuses: 1: found "EEEEF", expected 5 of A, C, E, X or -, one for '
    "each replica",
    "statuses: {0: EEEEE}": "statuses: 0: expected slots from 1, at most 1000 of them",
    "statuses: {1-1001: EEEEE}": "statuses: 1-1001: expected slots from 1, at most 1000 of them",
    "statuses: {x: EEEEE}": 'statuses: x: found "x", expected a slot such as 3, or 3-6',
    "statuses: {1-3: EEEEE, 2: EEEEE}": "statuses: 2: 2 again, expected it once",
    "checks: [agrement]": 'checks: found "agrement", expected agreement, conservation, '
    "exactly_once, linearizable, progress (did you mean agreement?)",
}


@pytest.mark.parametrize(("text", "expected"), REFUSED.items(), ids=REFUSED)
def test_what_is_refused(text, expected):
    assert problems_of(text) == [f"x.yaml:1: {expected}"]


def test_a_torn_step_is_told_once():
    assert problems_of("pending: [(A, J, 3), (A), LF]") == [
        'x.yaml:1: pending: found "(A", expected a whole step: between [ and ] a comma ends an '
        'item, so "(A, J, 3)" needs its quotes there',
        "x.yaml:1: pending: LF is never pending, expected requests such as (A, J, 3)",
    ]


def test_every_mistake_is_told_where_it_stands():
    text = "slots: x\nbalances:\n  A: 1\n  K: 2\n  L: 3\npending:\n- (A)\n- LF\nchecks: [a, b]\n"
    assert [line.split(":")[1] for line in problems_of(text)] == ["1", "4", "5", "8", "9", "9"]


def test_the_names_of_checks_are_those_of_the_runner():
    config = ClusterConfig(seed=1)
    world = SimCluster(config)
    world.start()
    report = Runner(world, config, CaseFile("x.yaml", (EARLIER,))).run_next()
    assert tuple(judgement.check for judgement in report.judgements) == CHECKS
