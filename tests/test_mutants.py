"""The mutants are what they are said to be, drawn the same for a seed, and one is found."""

import ast
import subprocess
import sys
from pathlib import Path

import mutants
import pytest

TOY = '''
class Toy:
    """A class."""

    LIMIT = 3

    def decide(self, first, last=None):
        """A docstring is left alone, and so are 1 + 1 and other words."""
        assert first < last, "nor is this"
        self.seen: int = first + 2
        if first <= last and not self.is_done:
            self.send(first, last)
            self.note("only words")
            return
        self.done = True
'''


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("left out", "self.seen: int = first + 2", "pass"),
        ("plus for minus", "first + 2", "first - 2"),
        ("number off by one", "2", "3"),
        ("bound off by one", "first <= last", "first < last"),
        ("and for or", "first <= last and (not self.is_done)", "first <= last or not self.is_done"),
        ("arguments swapped", "self.send(first, last)", "self.send(last, first)"),
        ("left out", "self.send(first, last)", "pass"),
        ("left out", "return", "pass"),
        ("condition negated", "True", "False"),
        ("left out", "self.done = True", "pass"),
    ],
)
def test_change_is_made_and_nothing_else(kind, before, after):
    found = mutants.sites(ast.parse(TOY))
    numbers = [
        number
        for number, site in enumerate(found)
        if (site.kind, site.before, site.after) == (kind, before, after)
    ]
    assert len(numbers) == 1, [site[:5] for site in found]
    sound, broken = ast.unparse(ast.parse(TOY)), mutants.mutated(TOY, numbers[0])
    differing = [
        (one, other)
        for one, other in zip(sound.split("\n"), broken.split("\n"), strict=True)
        if one != other
    ]
    assert len(differing) == 1


def test_there_are_no_others():
    found = mutants.sites(ast.parse(TOY))
    assert len(found) == 11  # those above, and the `if` negated as a whole
    assert not any("words" in site.before or "nor is" in site.before for site in found)


@pytest.mark.parametrize("name", mutants.TARGETS)
def test_every_change_gives_code_that_compiles(name):
    for module in mutants.modules(mutants.TARGETS[name]):
        source = mutants._source(module)
        for number in range(0, len(mutants.sites(ast.parse(source))), 90):
            compile(mutants.mutated(source, number), module, "exec")


@pytest.mark.parametrize("name", mutants.TARGETS)
def test_a_draw_depends_on_its_seed_alone(name):
    target = mutants.TARGETS[name]
    assert mutants.drawn(target, 20, 3) == mutants.drawn(target, 20, 3)
    assert mutants.drawn(target, 20, 3) != mutants.drawn(target, 20, 4)
    assert {one.kind for one in mutants.all_mutants(target)} == {
        "condition negated",
        "bound off by one",
        "number off by one",
        "and for or",
        "plus for minus",
        "left out",
        "arguments swapped",
    }


def test_targets_are_the_replica_and_its_process():
    of = {name: set(mutants.modules(target)) for name, target in mutants.TARGETS.items()}
    assert {"bank.replica", "bank.log", "bank.elector"} <= of["bank"]
    assert not any("invariants" in module for module in of["bank"]), "a judge"
    process = {"harness.live.worker", "harness.live.storage", "harness.live.seal"}
    assert process <= of["process"] and "harness.live.cluster" not in of["process"]


@pytest.fixture
def short_quorum() -> mutants.Mutant:
    (one,) = [
        one
        for one in mutants.all_mutants(mutants.TARGETS["bank"])
        if one.module == "bank.quorum" and one.kind == "plus for minus"
    ]
    return one


def test_a_mutant_is_a_copy_of_the_checkout_with_one_module_changed(short_quorum):
    with mutants._tree(short_quorum) as root:
        differing = [
            file.relative_to(root)
            for file in root.rglob("*.py")
            if file.read_bytes() != (mutants.ROOT / file.relative_to(root)).read_bytes()
        ]
        assert differing == [Path("bank/quorum.py")]
        code = "import bank.quorum; print(bank.quorum.quorum_size(5))"
        words = [sys.executable, "-B", "-c", code]
        assert subprocess.run(words, cwd=root, capture_output=True, check=True).stdout == b"1\n"
    assert not root.exists()


def test_a_quorum_of_one_less_is_found_in_a_process_of_its_own(short_quorum):
    stage, found = mutants.Hunter("bank", 40).hunt(short_quorum) or ("", "")
    assert stage == "swarm" and found.startswith("seed ")


def test_files_that_are_asked_are_those_of_the_target():
    names = {file.name for file in mutants.tests_of_bank()}
    assert {"test_log.py", "test_ledger.py", "test_rules_promises.py"} <= names
    assert not names & {"test_scripts.py", "test_swarm.py", "test_live.py", "test_mutants.py"}
    alone = {file.name for file in mutants.tests_of_process(are_live=False)}
    live = {file.name for file in mutants.tests_of_process(are_live=True)}
    assert {"test_storage.py", "test_worker.py", "test_seal.py", "test_live_checks.py"} <= alone
    assert {"test_live.py", "test_kill_points.py"} <= live and not live & alone
