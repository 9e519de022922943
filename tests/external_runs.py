"""Runs of the tiny replica, for the tests of other people's replicas."""

import sys
from pathlib import Path

from harness.errors import HarnessError
from harness.external import description
from harness.files import testset
from harness.run import launch
from harness.run.runner import Runner

TINY = Path(__file__).parent / "tiny_replica.py"
QUICK = {"client_timeout_ms": 100, "patience_ms": 150, "progress_ms": 20_000}
UNANSWERED_MS = 1500  # how long a set waits whose last request nobody answers


def tiny(*words, **more):
    """A description of the tiny replica with this behaviour."""
    lines = [f"start: {sys.executable} -S -E {TINY} {' '.join(words)}", "settle_ms: 50"]
    lines += [f"{key}: {value}" for key, value in more.items()]
    return description.parse("\n".join(lines).encode(), "their.yaml", TINY.parent)


def run(
    described, rows, failure="disconnect", nodes=3, on_set=lambda report: None, logs=None, **flags
):
    """Every set of these rows (steps, live nodes); the runner and the cluster, stopped."""
    text = "Set Number,Transactions,Live Nodes\n"
    for number, (steps, live) in enumerate(rows, 1):
        text += f'{number},"{steps}","[{live}]"\n'
    given = {"failure": failure, "nodes": nodes, "seed": 1, **QUICK, **flags}
    settings = launch.settings(given, {}, description=described)
    file = testset.parse_csv(text.encode(), "their.csv", settings)
    with launch.cluster(settings, theirs=(described, file, logs)) as cluster:
        cluster.start()
        runner = Runner(cluster, settings, file)
        while runner.remaining:
            on_set(runner.run_next())
        runner.traces = cluster.traces()
    return runner, cluster


def outcomes(report):
    return [step.outcome for step in report.steps]


ALL = "n1, n2, n3"


def run_yaml(described, steps, failure="disconnect", **flags):
    """One set of these steps, with all of three replicas live; its report."""
    text = f"sets:\n- live: [n1, n2, n3]\n  steps: [{steps}]\n"
    given = {"failure": failure, "nodes": 3, "seed": 1, **QUICK, **flags}
    settings = launch.settings(given, {}, description=described)
    file = testset.read_yaml(text.encode(), "x.yaml").cases(settings)
    with launch.cluster(settings, theirs=(described, file, None)) as cluster:
        cluster.start()
        report = Runner(cluster, settings, file).run_next()
        traces = cluster.traces()
    return report, traces


def trouble(described, replica=2):
    """Why this replica of three stops, before or after all have started."""
    settings = launch.settings({"nodes": 3, "seed": 1, **QUICK}, {}, description=described)
    theirs = (described, testset.CaseFile("x", ()), None)
    try:
        with launch.cluster(settings, theirs=theirs) as cluster:
            cluster.start()
            cluster.run_until(lambda: cluster.trouble(replica) is not None, 60_000_000)
            return cluster.trouble(replica)
    except HarnessError as error:
        return error.problems[0].partition("does not start: ")[2]
