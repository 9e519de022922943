"""Every microsecond of a run belongs to one phase, and the phases tell what was waited for."""

from dataclasses import replace

import pytest
from rich.console import Console
from screen_fakes import set_six

from harness.cluster.nemesis import FailLeader
from harness.files import config, testset
from harness.files.config import ClusterConfig
from harness.run.runner import Runner
from harness.run.timing import Phase, Timing, seconds
from harness.screen.time_spent import timing_table
from harness.sim.world import SimCluster

SETS = """\
1,"(A, B, 1)","[n1, n2, n3, n4, n5]"
2,"(A, B, 1); LF; (C, D, 1)","[n1, n2, n3, n4, n5]"
3,"(A, B, 1)","[n1, n2]"
"""


class Clock:
    def __init__(self):
        self.at = 1000

    def __call__(self):
        return self.at


def test_what_passes_belongs_to_the_phase_that_was_entered_before():
    clock = Clock()
    timing = Timing(clock, before=7)
    clock.at += 3
    timing.enter(Phase.START)
    clock.at += 20
    timing.enter(Phase.START)
    clock.at += 1
    timing.enter(Phase.STOP)
    assert timing.spent == {Phase.PROGRAM: 7, Phase.DISPLAY: 3, Phase.START: 21}
    assert timing.since({Phase.PROGRAM: 7, Phase.START: 20}) == {Phase.DISPLAY: 3, Phase.START: 1}
    assert seconds(timing.spent)["start"] == 21e-6 and seconds({})["stop"] == 0


def started(path):
    """The three sets, simulated, and nothing run yet: (cluster, runner, timing, when it began)."""
    path.write_text(SETS)
    settings = config.layer(config.from_flags({"seed": "3"}))
    settings = replace(settings, seed=3)
    cluster = SimCluster(settings)
    began = cluster.now()
    timing = Timing(cluster.now)
    runner = Runner(cluster, settings, testset.read(str(path)).cases(settings), timing=timing)
    timing.enter(Phase.START)
    cluster.start()
    return cluster, runner, timing, began


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """All three run: (reports, timing, from start to end in virtual microseconds)."""
    cluster, runner, timing, began = started(tmp_path_factory.mktemp("timing") / "sets.csv")
    while runner.remaining:
        runner.run_next()
    took = cluster.now() - began
    cluster.stop()
    return runner.reports, timing, took


def test_phases_add_up_to_the_whole_run(run):
    reports, timing, took = run
    assert sum(timing.spent.values()) == took
    for report in reports:
        assert sum(report.spent.values()) >= report.seconds * 1e6


def test_phases_tell_what_was_waited_for(run):
    (first, failing, alone), _, _ = run
    patience = ClusterConfig().patience_ms * 1000
    # The first request starts the first election.
    assert first.spent[Phase.ELECTION] > 0 and Phase.PATIENCE not in first.spent
    # A cut-off leader: silence until a time-out, then what met no leader is asked again.
    assert failing.spent[Phase.ELECTION] > 100_000
    assert failing.spent[Phase.ANSWERS] > 0
    assert failing.spent[Phase.RETRY] > 0 and Phase.PATIENCE not in failing.spent
    assert patience <= alone.spent[Phase.PATIENCE] < patience + 200_000
    assert Phase.ELECTION not in alone.spent


def test_what_a_person_does_after_a_fault_at_the_prompt_is_display(tmp_path):
    cluster, runner, timing, _ = started(tmp_path / "sets.csv")
    runner.run_next()
    runner.poke(FailLeader())
    before = dict(timing.spent)
    cluster.run_for(1_000_000)
    timing.enter(Phase.STOP)
    assert timing.since(before) == {Phase.DISPLAY: 1_000_000}


def test_the_table_names_the_sets_that_took_long():
    console = Console(width=100)
    reports = [
        replace(set_six(), number=number, spent={Phase.PATIENCE: spent})
        for number, spent in ((3, 100_000), (4, 99_999), (5, 1_000_000), (6, 200_000))
    ]
    spent = {Phase.PROGRAM: 250_000, Phase.PATIENCE: 1_400_000, Phase.STOP: 0}
    with console.capture() as captured:
        console.print(timing_table(spent, reports))
    lines = [line.split() for line in captured.get().splitlines()]
    assert ["patience", "1.400", "set", "5,", "6,", "3"] in [line[:6] for line in lines]
    assert lines[-1] == ["in", "all", "1.650"] and not any("stop" in line for line in lines)
