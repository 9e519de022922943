"""The mutants are what they are said to be, drawn the same for a seed, and one is found."""

import ast
import textwrap

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


def changed(source: str, number: int) -> str:
    tree = ast.parse(source)
    mutants.sites(tree)[number].change()
    return ast.unparse(ast.fix_missing_locations(tree))


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
    sound, broken = ast.unparse(ast.parse(TOY)), changed(TOY, numbers[0])
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


def test_every_change_gives_code_that_compiles():
    for module in mutants.modules():
        source = mutants._source(module)
        tree = ast.parse(source)
        for number in range(0, len(mutants.sites(tree)), 90):
            compile(changed(source, number), module, "exec")


def test_a_draw_depends_on_its_seed_alone():
    assert mutants.drawn(20, 3) == mutants.drawn(20, 3) != mutants.drawn(20, 4)
    assert {one.kind for one in mutants.all_mutants()} == {
        "condition negated",
        "bound off by one",
        "number off by one",
        "and for or",
        "plus for minus",
        "left out",
        "arguments swapped",
    }
    assert not any("invariants" in one.module for one in mutants.all_mutants()), "a judge"


def test_a_quorum_of_one_less_is_found_in_a_process_of_its_own():
    (one,) = [
        one
        for one in mutants.all_mutants()
        if one.module == "bank.quorum" and one.kind == "plus for minus"
    ]
    found, spent = mutants._child("swarm", f"{one.module}:{one.number}", 300, 40)
    assert found is not None and found.startswith("seed ") and spent > 0


def test_unit_tests_are_those_of_bank_alone():
    names = {file.name for file in mutants.unit_tests()}
    assert {"test_log.py", "test_ledger.py", "test_rules_promises.py"} <= names
    assert not names & {"test_scripts.py", "test_swarm.py", "test_live.py", "test_mutants.py"}


def test_module_is_mutated_as_it_is_imported(tmp_path, monkeypatch):
    (tmp_path / "toy_module.py").write_text(
        textwrap.dedent("""
        def answer(x):
            return x + 1
        """)
    )
    monkeypatch.syspath_prepend(tmp_path)
    source = (tmp_path / "toy_module.py").read_text()
    (number,) = [
        n for n, s in enumerate(mutants.sites(ast.parse(source))) if s.kind == "plus for minus"
    ]
    finder = mutants._Finder("toy_module", number)
    spec = finder.find_spec("toy_module", None)
    module = mutants.importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.answer(3) == 2
