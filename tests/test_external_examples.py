"""The examples of docs/examples: the bank holds, the one with a bug is caught."""

import dataclasses
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from external_runs import run, run_yaml
from processes import commands_with, wait_for

from harness.check.verdict import Verdict
from harness.external import description, node

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "docs" / "examples"
CUTS = '"cut n1<->n2,n3", "cut n2<->n3"'  # the leader too, whoever it is
ALONE = f'"(C, A, 5)", {CUTS}, "(A, B, 1)", "(B, C, 2)", wait 300 ms, heal, "(A)", "(B)"'


HAS_NODE = pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node.js here")


def example(name):
    found = description.read(str(EXAMPLES / f"{name}.yaml"))
    words = tuple(sys.executable if word == "python3" else word for word in found.start)
    return dataclasses.replace(found, start=words)


def test_the_bank_answers_nothing_while_everybody_is_alone():
    report, _ = run_yaml(example("bank"), ALONE, progress_ms=5000)
    assert {step.outcome for step in report.steps} <= {"success", "done"}, report.steps
    wrong = [j for j in report.judgements if j.verdict in (Verdict.INVALID, Verdict.UNKNOWN)]
    assert not wrong, wrong


def test_the_bank_that_answers_too_early_is_caught():
    report, _ = run_yaml(example("bank_too_early"), ALONE, progress_ms=5000)
    found = {j.check: j.verdict for j in report.judgements}
    assert found["no quorum, no answer"] is Verdict.INVALID


def test_the_bank_comes_back_from_its_disk():
    rows = [("(A, B, 1); LF; (B, C, 2)", "n1, n2, n3"), ("(C, A, 3)", "n1, n2, n3")]
    runner, cluster = run(example("bank"), rows, "crash", progress_ms=5000)
    assert runner.verdict() is Verdict.VALID, [r.judgements for r in runner.reports]
    assert cluster.faults.leaders == 1


@HAS_NODE
@pytest.mark.parametrize(
    "failure",
    ["crash", *(pytest.param(one, marks=pytest.mark.slow) for one in ("disconnect", "pause"))],
)
def test_the_bank_in_javascript_goes_on_without_its_leaders(failure):
    rows = [("(A, B, 1); LF; (B, C, 2)", "n1, n2, n3"), ("(C, A, 3); (A)", "n1, n2, n3")]
    runner, cluster = run(example("bank_js"), rows, failure, progress_ms=8000)
    assert runner.verdict() is Verdict.VALID, [r.judgements for r in runner.reports]
    assert cluster.faults.leaders == 1
    assert runner.reports[-1].steps[-1].value in (9, 12)  # beside the transfer


@HAS_NODE
def test_the_bank_in_javascript_answers_nothing_while_everybody_is_alone():
    report, _ = run_yaml(example("bank_js"), ALONE, progress_ms=8000)
    assert {step.outcome for step in report.steps} <= {"success", "done"}, report.steps
    wrong = [j for j in report.judgements if j.verdict in (Verdict.INVALID, Verdict.UNKNOWN)]
    assert not wrong, wrong


def test_our_own_replica_runs_from_outside():
    words = f"start: {sys.executable} -m harness.external.node"
    described = description.parse(words.encode(), "own.yaml", ROOT)
    rows = [("(A, B, 1); LF; (B, C, 2)", "n1, n2, n3"), ("(C, A, 3); (A)", "n1, n2, n3")]
    runner, _ = run(described, rows, "crash", client_timeout_ms=300, progress_ms=8000)
    assert runner.verdict() is Verdict.VALID, [r.judgements for r in runner.reports]
    assert runner.reports[-1].views[0].status.executed_upto >= 4


ASKED = {"client": "A", "timestamp": 1, "type": "transfer", "from": "A", "to": "B", "amount": 2}
MALFORMED = {
    "client": ['A"', "A B", "", "A" * 33, "Ä", 7, None],
    "timestamp": ["1", 1.0, True, 2**63, None],
    "from": ['","', "A\nB"],
    "to": ["B]", ["B"]],
    "amount": [2.5, "2", False, -(2**63) - 1],
}


@pytest.mark.parametrize(("key", "value"), [(k, v) for k, vs in MALFORMED.items() for v in vs])
def test_our_own_replica_stores_no_request_that_it_could_not_read_again(key, value):
    assert node._request(ASKED) == ("A", 1, "transfer", "A", "B", 2)
    with pytest.raises(ValueError, match=f"^{key}: expected a "):
        node._request(ASKED | {key: value})
    with pytest.raises(ValueError, match=r"^account: expected a name"):
        node._request({"client": "A", "timestamp": 1, "type": "read", "account": '"'})


@pytest.mark.long
@pytest.mark.parametrize("failure", ["disconnect", "crash", "pause"])
@pytest.mark.parametrize("name", ["bank", pytest.param("bank_js", marks=HAS_NODE)])
def test_the_banks_hold_twenty_times(name, failure):
    for seed in range(20):
        words = ["testsets/several_leader_failures.csv", "--no-step", "--failure", failure]
        words += ["--replicas", str(EXAMPLES / f"{name}.yaml"), "--seed", str(seed)]
        done = subprocess.run([sys.executable, "run.py", *words], cwd=ROOT, capture_output=True)
        assert done.returncode == 0, done.stdout.decode()[-3000:]


@pytest.mark.long
def test_nothing_is_left_after_ten_kills_at_random():
    mark = f"--mark={os.getpid()}"
    for seed in range(10):
        words = ["testsets/several_leader_failures.csv", "--no-step", "--failure", "crash"]
        start = f"{sys.executable} -S -E {EXAMPLES / 'bank.py'} {mark}"
        run_py = [sys.executable, "run.py", *words, "--replicas", start]
        with subprocess.Popen(run_py, cwd=ROOT, stdout=subprocess.DEVNULL) as harness:
            time.sleep(random.Random(seed).uniform(0.5, 4))
            harness.send_signal(signal.SIGKILL)
        assert wait_for(lambda: not commands_with(mark)), commands_with(mark)
