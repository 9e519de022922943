"""Saved files: what is written reads back, and running it again does what was done."""

from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from screen_fakes import set_six

from bank.ledger import READ, TRANSFER
from harness.cluster.journal import Liveness
from harness.cluster.nemesis import Fail, FailLeader, Heal, KillAt, LinkFault, Recover
from harness.files.cases import CaseFile, CaseSet, Command, Step, Wait, action_text
from harness.files.config import ClusterConfig
from harness.files.testset import load, parse_csv, read_yaml
from harness.files.writer import csv_text, yaml_text
from harness.run.pokes import with_pokes
from harness.run.report import StepReport
from harness.run.runner import Runner
from harness.sim.world import SimCluster

ROOT = Path(__file__).parents[1]
CONFIG = ClusterConfig()
FILES = [
    path
    for path in sorted((ROOT / "testsets").iterdir())
    if path.suffix == ".csv" or (path.suffix == ".yaml" and "sets:" in path.read_text())
]


def bare(sets):
    """Sets without what is not saved: lines, expectations, points."""
    return [
        replace(
            case,
            line=0,
            expected=(),
            points=None,
            steps=tuple(replace(step, line=0) for step in case.steps),
        )
        for case in sets
    ]


def from_csv(text):
    return bare(parse_csv(text.encode(), "x.csv", CONFIG).sets)


def from_yaml(text, config=CONFIG):
    return bare(read_yaml(text.encode(), "x.yaml").cases(config).sets)


# ---- text --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_is_written_reads_back(path):
    sets = load(path, CONFIG).sets
    assert from_yaml(yaml_text(sets, CONFIG, "x")) == bare(sets)
    if path.suffix == ".csv":
        assert from_csv(csv_text(sets)) == bare(sets)


def steps(*actions, together=False):
    return tuple(Step(0, action_text(action), action, together) for action in actions)


def case(*own):
    return CaseSet(6, frozenset({1, 2, 3}), own, 0)


PAY, ASK = Command(TRANSFER, "A", "B", 3), Command(READ, "C", "", 0)
CUT = LinkFault("cut", frozenset({(1, 2)}))
ELSE = (CUT, Heal(), Wait(5_000), KillAt(3, "before COMMIT"), FailLeader("in mid-NEW-VIEW"))


def test_yaml_says_everything():
    own = (*steps(PAY, *ELSE), *steps(PAY, FailLeader()), *steps(ASK, Fail(2), together=True))
    sets = [case(*own, *steps(Recover(2))), case()]
    sets[1] = replace(sets[1], number=7)
    assert from_yaml(yaml_text(sets, CONFIG, "x")) == bare(sets)


def test_yaml_holds_what_the_cluster_is_like():
    config = ClusterConfig(nodes=3, failure="crash", accounts=("a", "b"), seed=5)
    text = yaml_text([CaseSet(1, frozenset({1}), (), 0)], config, 'with "quotes": and #')
    found = read_yaml(text.encode(), "x.yaml")
    assert {key: o.value for key, o in found.overrides.items()} == {
        "nodes": 3,
        "failure": "crash",
        "accounts": ("a", "b"),
    }
    assert found.cases(config).name == 'with "quotes": and #'


@pytest.mark.parametrize("action", ELSE, ids=action_text)
def test_csv_says_what_it_cannot(action):
    with pytest.raises(ValueError, match=f"{action_text(action).split()[0]} .*in set 6 does not"):
        csv_text([case(*steps(PAY, action))])


def test_csv_cannot_say_that_a_fault_comes_at_once():
    with pytest.raises(ValueError, match="LF in set 6"):
        csv_text([case(*steps(PAY), *steps(FailLeader(), together=True))])


# ---- pokes -------------------------------------------------------------------------------------


def written(case, pokes, *outcomes, live=(1, 2, 3), victims=()):
    """The steps of a set with pokes, as text; every step was done and hit nobody."""
    own = [StepReport(str(i), step.text, "done") for i, step in enumerate(case.steps, 1)]
    for index, outcome in enumerate(outcomes):
        own[index] = replace(own[index], outcome=outcome)
    views = [
        replace(view, liveness=Liveness.LIVE if view.replica in live else Liveness.CRASHED)
        for view in set_six().views
    ]
    report = replace(set_six(), steps=tuple(own), views=tuple(views))
    done = [StepReport("+", "", "done", node=getattr(poke, "replica", None)) for poke in pokes]
    for index, victim in victims:
        done[index] = replace(done[index], node=victim)
    poked = [(poke, [step]) for poke, step in zip(pokes, done, strict=True)]
    saved = with_pokes(case, report, poked)
    return [step.text for step in saved.steps]


def test_a_set_without_pokes_stays_as_it_is():
    whole = case(*steps(PAY, FailLeader("before COMMIT")))
    assert with_pokes(whole, set_six(), []) is whole


def test_requests_that_touch_each_other_wait_for_each_other():
    other = Command(TRANSFER, "B", "C", 3)
    assert written(case(*steps(PAY)), [ASK, other, PAY]) == [
        "(A, B, 3)",
        "(C)",
        "R(n1)",
        "(B, C, 3)",
        "R(n1)",
        "(A, B, 3)",
    ]
    assert written(case(*steps(PAY)), [PAY]) == ["(A, B, 3)", "(A, B, 3)"]  # one client: in order


def test_what_was_carried_over_is_waited_for():
    whole = case()
    carried = StepReport("5.1", "(B, A, 1)", "success", carried_from=5)
    report = replace(set_six(), steps=(carried,))
    done = StepReport("+", "(C)", "success")
    saved = with_pokes(whole, report, [(ASK, [done]), (ASK, [done])])
    assert [step.text for step in saved.steps] == ["R(n2)", "(C)", "(C)"]
    returned = StepReport("+", "R(n1)", "done", node=1)
    saved = with_pokes(whole, report, [(Recover(1), [returned, carried]), (ASK, [done])])
    assert [step.text for step in saved.steps] == ["R(n1)", "R(n1)", "(C)"]


def test_a_wait_between_requests_never_brings_anybody_back():
    texts = written(case(*steps(PAY)), [Fail(1), PAY, Command(READ, "B", "", 0)])
    assert texts == ["(A, B, 3)", "F(n1)", "(A, B, 3)", "R(n2)", "(B)"]
    assert written(case(*steps(PAY)), [Fail(3), Command(READ, "B", "", 0)])[1:] == ["F(n3)", "(B)"]
    everybody = [Fail(1), Fail(2), Fail(3), PAY, Command(READ, "B", "", 0)]
    assert "R(" not in "".join(written(case(), everybody))
    doubtful = [KillAt(1, "before COMMIT"), PAY, Command(READ, "B", "", 0)]
    assert written(case(), doubtful)[2] == "R(n2)"


def test_a_leader_that_failed_is_named_where_replicas_are():
    assert written(case(), [FailLeader()], victims=[(0, 2)]) == ["LF"]
    pokes = [FailLeader(), Recover(2)]
    assert written(case(), pokes, victims=[(0, 2)]) == ["F(n2)", "R(n2)"]


def test_between_sets_links_stay_as_they_are_and_nobody_is_armed():
    own = steps(CUT, PAY, FailLeader("before COMMIT"))
    texts = written(case(*own), [Command(READ, "B", "", 0)], "done", "success", "not-reached")
    assert texts == ["cut n1->n2", "(A, B, 3)", "R(n1)", "(B)"]


# ---- again -------------------------------------------------------------------------------------

# Steps that run in parallel have no account in common, so that they have one outcome.
SETS = """
1,"(A, B, 1); (C, D, 1); LF; (E, F, 2)","[n1, n2, n3, n4, n5]"
2,"(G, H, 2); (I, J, 1)","[n1, n2, n4]"
3,"LF; (A, C, 1); (B, J, 6)","[n1, n2, n3, n4, n5]"
4,"(B, D, 1)","[n2, n5]"
5,"(G, A, 1)","[n1, n2, n3, n4, n5]"
"""


class Run:
    """A file on a simulated cluster; what it came to after every set, pokes included."""

    def __init__(self, sets, config, poke=lambda runner, world: []):
        self.world = SimCluster(config)
        self.world.start()
        self.runner = Runner(self.world, config, CaseFile("x", tuple(sets)))
        self.sets, self.states = [], []
        for whole in sets:
            report = self.runner.run_next()
            self.sets.append(with_pokes(whole, report, poke(self.runner, self.world)))
            self.states.append(self.state())

    def state(self):
        live = [v for v in self.world.views() if v.liveness is Liveness.LIVE]
        answers = [(o.request[0], o.request[2:], o.result) for o in self.runner.history]
        # Who returned just now may be behind; without a quorum nobody need be up to date.
        newest = max((v.status for v in live), key=lambda s: s.executed_upto, default=None)
        balances = newest.balances if len(live) > 2 else None
        return len(live), sorted(answers, key=str), balances


def poking(random, rich):
    """Draws what a person might do between two sets.

    The poor keep a quorum, and what they can pay depends on the order. The rich can always pay, so
    that what waits for a quorum may be served in any order; they read only while nothing waits.
    """

    def poke(runner, world):
        done = []
        names = random.random() < 0.7
        for _ in range(random.randrange(7)):
            live = [r for r in range(1, 6) if world.liveness(r) is Liveness.LIVE]
            may_fail = rich or len(live) > 3
            who = random.randrange(1, 6)
            actions = [Command(TRANSFER, *random.sample("ABCDEF", 2), random.randint(1, 14))]
            if len(live) > 2 and not world.pending():
                actions.append(Command(READ, random.choice("ABCDEF"), "", 0))
            if may_fail:
                actions.append(FailLeader())
            if names and (may_fail or who not in live):
                actions.append(Fail(who) if who in live else Recover(who))
            action = random.choice(actions)
            done.append((action, runner.poke(action)))
        return done

    return poke


@pytest.mark.parametrize("failure", ["disconnect", "crash", "pause"])
@pytest.mark.parametrize("rich", [True, False], ids=["rich", "poor"])
def test_a_saved_run_does_the_same_again(rich, failure):
    config = ClusterConfig(failure=failure, initial_balance=1000 if rich else 10)
    sets = [case for case in from_csv(SETS) if rich or len(case.live) > 2]
    for seed in range(8):
        random = Random(f"{rich}/{failure}/{seed}")
        first = Run(sets, replace(config, seed=seed), poking(random, rich))
        saved = csv_text(first.sets)
        assert from_csv(saved) == from_yaml(yaml_text(first.sets, config, "x"), config)
        again = Run(from_csv(saved), replace(config, seed=seed + 100))
        for before, after in zip(first.states, again.states, strict=True):
            assert after == before, f"seed {seed}\n{saved}"


def test_pokes_do_something_in_these_runs():
    """Else the test above compares nothing."""
    config, texts, failed = ClusterConfig(seed=1, initial_balance=10), "", 0
    for seed in range(5):
        run = Run(from_csv(SETS), config, poking(Random(seed), rich=False))
        texts += csv_text(run.sets)
        failed += sum(result == "failed" for *_, result in run.states[-1][1])
    assert all(word in texts for word in ("LF", "F(", "R(", "(B)")) and failed
