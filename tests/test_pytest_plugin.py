"""The pytest plugin, in runs of pytest of their own, as an environment with paxbank has it.

What an installation adds is laid out in a folder: the plugin under its own name, and the entry
point of setup.cfg. Nothing has to be installed, and what is installed does not matter.
"""

import configparser
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from processes import marked, wait_for  # noqa: F401

from harness.files.config import ASKED, FAILURES
from harness.pytest_plugin import FAILURES as OFFERED

ROOT = Path(__file__).parents[1]
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")
PLUGIN, FOLDER = SETUP["options"]["package_dir"].strip().splitlines()[0].split(" = ")

TWO = """Set Number,Transactions,Live Nodes
1,"(A, J, 3)","[n1, n2, n3, n4, n5]"
2,"(A, J, 7)","[n1, n2, n3, n4, n5]"
,"(A, J, 1)",
"""
# After set 1 A has 7, after set 2 it has 4.
GRADED = """description: Two transfers of A.
sets:
  - steps: ["(A, J, 3)"]
    expect:
      balances: {A: %d}
  - steps: ["(A, J, 3)"]
    expect:
      balances: {A: %d}
"""


@pytest.fixture
def project(tmp_path):
    """A folder to run pytest in."""
    packages = tmp_path / "installed"
    packages.mkdir()
    (packages / PLUGIN).symlink_to(ROOT / FOLDER)
    info = packages / "paxbank-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: paxbank\nVersion: 0\n")
    entry_points = SETUP["options.entry_points"]["pytest11"].strip()
    (info / "entry_points.txt").write_text(f"[pytest11]\n{entry_points}\n")
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    return folder


# Two take long to load; pytest-randomly's mixes what is in order here.
LEFT_OUT = ["-p", "no:hypothesispytest", "-p", "no:xdist", "-p", "no:randomly"]


def run(project, *words, root=ROOT, environment=os.environ):
    """A run of pytest; returns its exit code and what it printed."""
    paths = [str(project.parent / "installed"), str(root)]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", *LEFT_OUT, *words],
        cwd=project,
        env=environment | {"PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout + done.stderr


def test_each_set_is_a_test(project):
    shutil.copytree(ROOT / "testsets", project / "testsets")
    code, out = run(project, "testsets", "--paxbank-sim", "--paxbank-failure", "crash", "-v")
    found = [line.split()[0] for line in out.splitlines() if "::" in line]
    assert code == 0 and f"{len(found)} passed" in out, out
    assert found[:2] == ["testsets/agreement.csv::set-1", "testsets/agreement.csv::set-2"]
    files = {line.split("::")[0] for line in found}
    samples = [p for e in ("csv", "yaml") for p in (project / "testsets").rglob(f"*.{e}")]
    ours = {p for p in samples if p.suffix == ".csv" or "\nsets:" in p.read_text("utf-8")}
    assert files == {str(path.relative_to(project)) for path in ours}


def test_real_processes_and_none_is_left(project, marked):  # noqa: F811
    environment, alive = marked
    (project / "two.csv").write_text(TWO)
    code, out = run(project, "-v", environment=environment)
    assert code == 0 and "two.csv::set-1 PASSED" in out and "two.csv::set-2 PASSED" in out
    assert wait_for(lambda: not alive()), alive()


def test_a_failure_is_the_table_and_the_line_and_no_traceback(project):
    (project / "two.yaml").write_text(GRADED % (7, 5))
    code, out = run(project, "--paxbank-sim", "--paxbank-seed", "5")
    assert code == 1 and "1 failed, 1 passed" in out
    lines = out.splitlines()
    told = "✗ two.yaml:8: balances: expected A 5, found A 4"
    assert told in lines and f"FAILED two.yaml::set-2 - Failed: {told}" in lines
    assert any(line.split()[:4] == ["n1", "●", "live", "leader"] for line in lines)
    assert "repeat: paxbank two.yaml --no-step --failure disconnect --seed 5 --sim" in lines
    assert "Traceback" not in out and ".py:" not in out and "runtest" not in out


KEY = "file: two.csv\nexpected:\n  1:\n    balances: {A: 7}\n  2:\n    balances: {A: 9}\n"


def test_an_answer_key_beside_a_file_is_honoured(project):
    (project / "two.csv").write_text(TWO)
    (project / "two.expected.yaml").write_text(KEY)
    code, out = run(project, "--paxbank-sim")
    assert code == 1 and "1 failed, 1 passed" in out
    told = "✗ two.expected.yaml:6: balances: expected A 9, found A 0"
    assert f"FAILED two.csv::set-2 - Failed: {told}" in out.splitlines()
    (project / "two.expected.yaml").write_text(KEY.replace("2:\n", "3:\n"))
    code, out = run(project, "--paxbank-sim")
    assert code == 2 and "two.expected.yaml:5: expected: 3: " in out and "Traceback" not in out


def test_a_selected_set_brings_the_ones_before_it_along(project):
    (project / "two.yaml").write_text(GRADED % (6, 4))
    code, out = run(project, "--paxbank-sim", "-k", "set-2")
    assert code == 0 and "1 passed, 1 deselected" in out  # A had 7 before
    code, out = run(project, "--paxbank-sim", "two.yaml::set-2", "-v")
    assert code == 0 and "two.yaml::set-2 PASSED" in out
    code, out = run(project, "--paxbank-sim", "-x")
    assert code == 1 and "stopping after 1 failures" in out and "set-2" not in out


def test_last_failed(project):
    (project / "one.yaml").write_text(GRADED % (7, 4))
    (project / "two.yaml").write_text(GRADED % (7, 5))
    code, out = run(project, "--paxbank-sim", "--cache-clear")
    assert code == 1 and "1 failed, 3 passed" in out
    code, out = run(project, "--paxbank-sim", "--lf")
    assert code == 1 and "1 failed" in out and "passed" not in out


def test_a_bad_file_is_an_error_of_the_collection_with_all_its_problems(project):
    (project / "bad.csv").write_text(TWO + '3,(A),\n,"(A, Z, 1)",\n')
    (project / "good.csv").write_text(TWO)
    code, out = run(project, "--paxbank-sim")
    assert code == 2 and "ERROR collecting bad.csv" in out
    assert "bad.csv:5: Live Nodes: set 3 has no live nodes, expected a list such as" in out
    assert 'bad.csv:6: Transactions: (A, Z, 1): unknown account "Z", expected A..J' in out
    assert "Traceback" not in out and ".py" not in out


def test_a_machine_that_fails_is_told_once_for_each_set(project):
    (project / "two.csv").write_text(TWO)
    (project / "conftest.py").write_text(
        "from harness.errors import HarnessError\n"
        "from harness.sim.world import SimCluster\n"
        "def run_until(*_):\n"
        "    raise HarnessError('n3 died of a full disk')\n"
        "SimCluster.run_until = run_until\n"
    )
    code, out = run(project, "--paxbank-sim")
    assert code == 1 and "2 failed" in out and "n3 died of a full disk" in out
    assert "Traceback" not in out and ".py:" not in out


def test_options(project):
    (project / "two.csv").write_text(TWO)
    code, out = run(project, "--paxbank-failure", "crush")
    assert code == 4 and "--paxbank-failure" in out and "disconnect" in out
    code, out = run(project, "--paxbank-seed", "-5")
    assert code == 2 and "--seed: found -5, expected" in out
    assert (*FAILURES, ASKED) == OFFERED


FOREIGN = """
import sys
import harness

def test_mine():
    assert harness.MINE
    assert [name for name in sys.modules if name.startswith("harness.")] == []
    assert "yaml" not in sys.modules and "rich" not in sys.modules
"""


@pytest.fixture
def foreign(project):
    """Another project, which has a package `harness` and files of the same kinds."""
    (project / "harness").mkdir()
    (project / "harness" / "__init__.py").write_text("MINE = True\n")
    (project / "test_mine.py").write_text(FOREIGN)
    (project / "conftest.py").write_text("import sys\nsys.path.insert(0, '.')\n")
    (project / "people.csv").write_text("Name,Age\nA,3\n")
    (project / "empty.csv").write_text("")
    (project / "odd.csv").write_bytes(b"\xff\xfe\x00")
    (project / "ci.yaml").write_text("sets:\n  - name: fast\n")
    (project / "other.yml").write_text("steps:\n  sets: [1]\nlive: 3\n")
    (project / "x.expected.yaml").write_text("sets:\n- live: [n1]\n  steps: []\n")
    return project


def test_another_project_is_left_alone(foreign):
    flags = ["--strict-markers", "--strict-config", "-W", "error"]
    code, out = run(foreign, *flags)
    assert code == 0 and "1 passed" in out, out


def test_a_file_of_ours_in_a_project_with_another_harness_is_told(foreign):
    (foreign / "two.csv").write_text(TWO)
    code, out = run(foreign)
    assert code == 2 and "is a test set of paxbank, whose package `harness` is hidden" in out
    assert f"another one of that name: {foreign}/" in out and "Traceback" not in out
    code, out = run(foreign, "-p", "no:paxbank")
    assert code == 0 and "1 passed" in out


def test_what_is_ours(project):
    for name, text in {
        "plain.csv": TWO,
        "spaced.csv": "\n set number ; TRANSACTION;LiveNodes\n1;(A);[n1, n2, n3]\n",
        "quoted.csv": '\ufeff"Set Number"\t"Transactions"\t"Live Nodes"\r\n1\t(A)\t[n1]\r\n',
        "bare.csv": "1,(A),n1\n",
        "set.yaml": GRADED % (7, 4),
        "cluster.yaml": (ROOT / "testsets" / "cluster.yaml").read_text(),
        "other.expected.yaml": "sets:\n  - live: [n1]\n",
        "ours.txt": TWO,
    }.items():
        (project / name).write_text(text, "utf-8")
    _, out = run(project, "--collect-only", "-q")
    found = {line.split("::")[0] for line in out.splitlines() if "::" in line}
    assert found == {"plain.csv", "spaced.csv", "quoted.csv", "set.yaml"}, out
    # Who names a file on the command line means it.
    assert "bare.csv::set-1" in run(project, "--collect-only", "-q", "bare.csv")[1]


NAMED = {
    "notes.txt": (TWO, "notes.txt::set-1"),
    "near.csv": ("Set,Step,Who\n1,(A),n1\n", "near.csv:1: "),
    "near.yaml": ("set:\n  - steps: [(A)]\n", "near.yaml:1: set: unknown key"),
    "Sets.yml": ("Sets:\n  - live: [n1]\n", "Sets.yml:1: Sets: "),
    "two.expected.yaml": (KEY, "is an answer key, expected its test set"),
    "tabs.tsv": (TWO.replace(",Live", "\tLive").replace("r,T", "r\tT"), "tabs.tsv:2: "),
}


def test_what_is_named_is_taken_or_told(project):
    for name, (text, _) in NAMED.items():
        (project / name).write_text(text, "utf-8")
    code, out = run(project, "--collect-only", "-q", "--paxbank-sim", *NAMED)
    assert code == 2 and [told for _, told in NAMED.values() if told not in out] == [], out


def test_in_a_folder_they_are_somebody_elses(project):
    for name, (text, _) in NAMED.items():
        if name != "tabs.tsv":  # which is ours
            (project / name).write_text(text, "utf-8")
    assert run(project, "--collect-only", "-q")[0] == 5


INTERRUPTS = """
from harness.run.barriers import Barriers

wait_for = Barriers.wait_for


def too_long(self, *_):
    Barriers.wait_for = wait_for
    raise TimeoutError("took too long")


Barriers.wait_for = too_long
"""


def test_a_set_after_one_that_was_interrupted_says_so_and_is_not_judged(project):
    (project / "two.yaml").write_text(GRADED % (7, 4))
    (project / "conftest.py").write_text(INTERRUPTS)
    code, out = run(project, "--paxbank-sim")
    assert code == 1 and "2 failed" in out
    assert "FAILED two.yaml::set-1 - TimeoutError: took too long" in out
    assert "FAILED two.yaml::set-2 - Failed: set 1 was interrupted before it was judged" in out
