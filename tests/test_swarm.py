"""The swarm finds nothing in the replica, and something in every broken one."""

import argparse
import errno
import fcntl
import io
import os
import re
import sqlite3
import tempfile
from collections import Counter
from dataclasses import fields, replace
from itertools import count

import pytest
from rich.console import Console
from zoo import ANIMALS, PAGE, seeds_in

from bank.replica import Replica
from bank.settings import USUAL, Sizes
from harness.cluster.links import Links
from harness.cluster.nemesis import LinkFault
from harness.commands import find
from harness.errors import EXIT_MACHINE, HarnessError
from harness.files import temporary
from harness.live import page_table
from harness.live.storage import Storage
from harness.sim import coverage
from harness.sim.columns import LEGEND
from harness.sim.scenario import KINDS, SwarmOptions, draw
from harness.sim.swarm import Tally, run_seed, run_seeds
from harness.sim.world import SimCluster

# ---- the replica ---------------------------------------------------------------------------------


def test_twelve_seeds():
    assert not run_seeds(range(12), SwarmOptions()).violations


TWO_HUNDRED = range(200)


@pytest.mark.slow(50)
def test_two_hundred_seeds():
    tally = run_seeds(TWO_HUNDRED, SwarmOptions())
    assert not tally.violations
    assert tally.seeds == 200
    rarely = {  # about once and four times in 400 seeds
        "executed again without effect",
        "power lost, last write kept",
    }
    unreached = {what for _, what, often in coverage.rows(tally.coverage) if not often}
    assert unreached <= rarely


@pytest.mark.slow(1)
@pytest.mark.parametrize("seed", [410975, 412377])
def test_replica_that_asks_in_vain_for_good_keeps_within_an_idle_clusters_budget(seed):
    assert not run_seeds([seed], SwarmOptions()).violations


@pytest.mark.parametrize("kind", KINDS)
def test_one_kind_of_fault_alone(kind):
    options = SwarmOptions(faults=(kind,))
    assert not run_seeds(range(3), options).violations


def test_a_cluster_without_faults_elects_once():
    tally = run_seeds(range(12), SwarmOptions(faults=()))
    assert not tally.violations
    assert not any(tally.coverage[f"fault {what}"] for what in ("kill", "paused", "disconnect"))


def test_a_seed_keeps_its_scenario_when_a_kind_of_fault_is_taken_from_it():
    for seed in range(50):
        full, less = (
            draw(seed, SwarmOptions(faults=faults))
            for faults in (KINDS, tuple(kind for kind in KINDS if kind != "loss"))
        )
        assert less.kinds == tuple(kind for kind in full.kinds if kind != "loss")
        assert less.config == full.config
        assert less.rules.links == replace(full.rules.links, lose=0)


def test_links_that_are_cut_for_good_leave_a_quorum_whole():
    ways = set()
    options = SwarmOptions(faults=tuple(kind for kind in KINDS if kind != "topology"))
    for seed in range(300):
        scenario = draw(seed, options)
        whole = [r for r in range(1, scenario.config.nodes + 1) if r not in scenario.outsiders]
        assert len(whole) >= scenario.config.nodes // 2 + 1
        assert not any(a in whole and b in whole for a, b in scenario.lasting)
        assert bool(scenario.lasting) == ("lasting-cut" in scenario.kinds)
        ways |= {(b, a) in scenario.lasting for a, b in scenario.lasting}
    assert ways == {False, True}, "one way and both ways"


def test_topologies_that_are_drawn_leave_all_nobody_or_some_able():
    found = Counter()
    for seed in range(1000):
        scenario = draw(seed, SwarmOptions(faults=("topology",)))
        if not scenario.kinds:
            continue
        links, everybody = Links(), range(1, scenario.config.nodes + 1)
        links.apply(LinkFault("cut", scenario.lasting))
        able = len(links.able(everybody, scenario.config.nodes))
        assert scenario.is_able == (able > 0)
        assert set(everybody) - set(scenario.outsiders) == links.in_touch(
            everybody, scenario.config.nodes
        )
        found["some" if 0 < able < scenario.config.nodes else "all" if able else "nobody"] += 1
    assert min(found[which] for which in ("some", "all", "nobody")) >= 10, found


def test_sizes_are_small_and_usual_and_some_seeds_go_far():
    scenarios = [draw(seed, SwarmOptions()) for seed in range(300)]
    for field in fields(Sizes):
        drawn = {getattr(scenario.rules.sizes, field.name) for scenario in scenarios}
        assert len(drawn) >= 3 and getattr(USUAL, field.name) in drawn, field.name
        assert min(drawn) * 4 < getattr(USUAL, field.name), field.name
    far = [scenario for scenario in scenarios if scenario.operations > 1000]
    assert 2 <= len(far) <= 12
    assert max(scenario.operations for scenario in far) == 5000
    # What is sent in one piece, kept, and hashed between two checkpoints is gone beyond.
    assert all(scenario.operations > scenario.config.keep_slots for scenario in far)


def test_the_replicas_get_the_sizes_that_a_seed_drew():
    scenario = draw(0, SwarmOptions())
    world = SimCluster(scenario.config, scenario.rules)
    world.start()
    assert {p.replica.settings.sizes for p in world.processes.values()} == {scenario.rules.sizes}


# ---- broken ones: the zoo has more -------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (
            "a leader answers the answer to its heartbeat with the next heartbeat",
            r"an idle cluster sent \d+ messages in 5 time-outs.*HEARTBEAT",
        ),
        (
            "a time-out that runs out is only noted, and acted on at the twentieth time",
            r"what waited is not answered [\d.]+ s after all faults",
        ),
    ],
    ids=["a flood", "a lost time-out"],
)
def test_waste_is_a_violation_with_its_numbers_and_the_same_each_time(wrong, words):
    seed = seeds_in(PAGE.read_text())[wrong]
    (animal,) = (one for one in ANIMALS if one.wrong == wrong)
    with animal.at_work():
        one, two = (run_seed(seed, SwarmOptions()) for _ in range(2))
    assert one.violation is not None and re.search(words, one.violation)
    assert (one.violation, one.events) == (two.violation, two.events)


def test_an_error_inside_a_replica_is_a_violation_that_says_where(monkeypatch):
    def stumbles(self):
        raise KeyError("lost")

    monkeypatch.setattr(Replica, "stored", stumbles)
    outcome = run_seed(0, SwarmOptions())
    assert outcome.violation is not None
    assert "KeyError" in outcome.violation
    assert "test_swarm.py" in outcome.violation


def on_files():
    """The first seed that is."""
    return next(seed for seed in count() if draw(seed, SwarmOptions()).on_files)


def no_lock(*_):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def test_a_seed_on_files_needs_no_locks(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(fcntl, "flock", no_lock)
    outcome = run_seed(on_files(), SwarmOptions())
    assert outcome.violation is None and outcome.coverage["seed on real files"] == 1
    assert not list(tmp_path.glob("paxbank-*"))


def takes_nothing(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def disk_is_full(*_):
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    raise error


FAILS = {
    "no folder": (tempfile, "mkdtemp", takes_nothing),
    "nothing in the folder": (temporary, "claim", takes_nothing),
    "no file": (page_table, "create", disk_is_full),
    "no row": (Storage, "_transact", disk_is_full),
    "no use of a file": (Storage, "_begin", disk_is_full),
}


@pytest.mark.parametrize("what", FAILS)
def test_a_machine_that_fails_under_a_seed_is_no_violation(what, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(*FAILS[what])
    with pytest.raises(HarnessError, match=r"No space left|disk is full") as told:
        simulate("--seeds", str(on_files()))
    assert told.value.exit_code == EXIT_MACHINE and len(told.value.problems) == 1
    assert not list(tmp_path.glob("paxbank-*"))


def test_a_file_that_cannot_be_opened_again_is_the_machines_fault(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    opened, began = [], Storage._begin

    def begin(storage, content):
        opened.append(storage)
        if len(opened) > 7:  # the first time there was room for each
            disk_is_full()
        began(storage, content)

    monkeypatch.setattr(Storage, "_begin", begin)
    with pytest.raises(HarnessError, match="disk is full"):
        run_seed(on_files(), SwarmOptions())


# ---- the command ---------------------------------------------------------------------------------


def simulate(*words, width=120):
    command = find("simulate")
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    console = Console(width=width, record=True, file=io.StringIO())
    code = command.run(parser.parse_args(words), console)
    return code, console.export_text()


def test_a_campaign_prints_its_coverage():
    code, text = simulate("--seeds", "0:12", "--nodes", "3", "--faults", "loss,kill")
    assert code == 0
    assert "violations: 0" in text
    assert "12 seeds" in text
    assert "leaders elected" in text
    assert "never" in text, "partitions were not allowed, and are shown as never reached"


def test_a_campaign_gives_the_same_in_two_processes():
    _, one = simulate("--seeds", "0:6")
    _, two = simulate("--seeds", "0:6", "--jobs", "2")
    assert one.split("longest")[0] == two.split("longest")[0]


def test_a_campaign_ends_when_its_time_is_up():
    code, text = simulate("--seeds", "0:1000000", "--seconds", "0.5")
    assert code == 0
    assert " of 1000000 seeds, " in text


def test_a_failing_seed_is_printed_with_the_command_that_repeats_it(monkeypatch):
    tally = Tally(1, 10, Counter(), (5, 7), [(7, "slot 3: two values")])
    monkeypatch.setattr("harness.commands.simulate.run_seeds", lambda seeds, options: tally)
    code, text = simulate("--seeds", "7", "--nodes", "5")
    assert code == 1
    assert "seed 7: slot 3: two values" in text
    assert "python run.py simulate --seeds 7 --nodes 5 --trace" in text


def test_a_trace_has_a_column_for_each_replica_and_the_legend_once():
    code, text = simulate("--seeds", "3:5", "--nodes", "3", "--faults", "none", "--trace")
    lines = text.splitlines()
    assert code == 0
    assert [line for line in lines if line in LEGEND] == list(LEGEND)
    heads = {line for line in lines if line.lstrip().startswith("ms │")}
    assert [head.split("│")[1:] for head in heads] == [
        ["n1".ljust(28), "n2".ljust(28), "n3".ljust(28), "clients"]
    ]
    second = next(line for line in lines if "←n1 PREPARE" in line).split("│")
    assert second[1].isspace()
    assert second[2].startswith("←n1 PREPARE (1, n1)")
    assert sum("→all PREPARE (1, n1)" in line for line in lines) == 2, "once a seed, not per peer"
    assert text.count("no violation") == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--seeds", "9:3"), "expected A:B"),
        (("--seeds", "many"), "expected A:B"),
        (("--nodes", "4"), "expected some of 3, 5, 7, 9"),
        (("--faults", "los"), "did you mean loss"),
        (("--jobs", "0"), "expected a number from 1 to 1000"),
        (("--jobs", str(10**20)), "expected a number from 1 to 1000"),
    ],
    ids=["empty range", "no number", "even number", "mistyped", "no jobs", "all jobs"],
)
def test_bad_options_are_refused(words, said):
    with pytest.raises(HarnessError, match=said):
        simulate(*words)
