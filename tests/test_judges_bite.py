"""Every judge's tests fail when a part of the judge is taken out.

Each block of judges_taken_out.txt takes one thing out of a judge, of a referee of the simulator, or
of the place that calls them, and names the tests that must fail then. A block whose piece is not
there any more fails as well: whoever rewrites a judge looks at its blocks again.
"""

import importlib
import inspect
import itertools
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple

import pytest
import test_black_box
import test_checks
import test_expectations
import test_invariants
import test_judged
import test_judging
import test_outside
import test_promises
import test_resumed

MODULES = (
    test_checks,
    test_judged,
    test_black_box,
    test_promises,
    test_expectations,
    test_resumed,
    test_invariants,
    test_judging,
    test_outside,
)
TESTS: dict[str, Callable[..., None]] = {}
for module in MODULES:
    for name, test in vars(module).items():
        if name.startswith("test_") and isinstance(test, FunctionType):
            assert TESTS.setdefault(name, test) is test, f"two tests are called {name}"


class Mutant(NamedTuple):
    """One block of the catalogue, which says at its top how to read it."""

    title: str  # "agreement: what is taken out"
    place: str
    changes: list[tuple[str, str]]  # old and new text
    tests: list[str]

    @property
    def judge(self) -> str:
        return self.title.split(":")[0]


def parse(block: str) -> Mutant:
    title, place, *rest = block.splitlines()
    changes: list[tuple[str, list[str]]] = []
    tests = []
    for line in rest:
        if line.startswith("- "):
            changes.append((line[2:], []))
        elif line.startswith("+"):
            changes[-1][1].append(line[2:])
        else:
            tests.append(line)
    return Mutant(title, place, [(old, "\n".join(new)) for old, new in changes], tests)


_, *BLOCKS = (Path(__file__).parent / "judges_taken_out.txt").read_text().strip().split("\n\n")
CATALOGUE = [parse(block) for block in BLOCKS]


def function_at(place: str) -> FunctionType:
    """What is behind "package.module.function" or "package.module.Class.function"."""
    parts, owner = place.split("."), None
    for length in range(len(parts) - 1, 0, -1):
        try:
            owner = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        break
    for part in parts[length:]:
        found = vars(owner)[part]
        owner = getattr(found, "fget", None) or getattr(found, "__func__", found)
    assert isinstance(owner, FunctionType), place
    return owner


def mutated(function: FunctionType, mutant: Mutant) -> Any:
    """The function's code without what the mutant lacks."""
    source = textwrap.dedent(inspect.getsource(function))
    for old, new in mutant.changes:
        pattern = r"\s+".join(map(re.escape, old.split()))
        found = re.findall(r"(?m)^([ ]*).*?" + pattern, source)
        assert len(re.findall(pattern, source)) == 1, f"not once in {mutant.place}: {old}"
        indented = new.replace("\n", "\n" + (found[0] if found else ""))
        source = re.sub(pattern, lambda _, text=indented: text, source)
    names = dict(function.__globals__)
    exec(source, names)
    made = names[function.__name__]
    made = getattr(made, "fget", None) or getattr(made, "__func__", made)
    return made.__code__


def cases(test: Callable[..., None]) -> Iterator[dict[str, Any]]:
    """Every set of arguments that pytest would call it with."""
    tables = []
    for mark in getattr(test, "pytestmark", []):
        names, values = mark.args
        names = names.replace(" ", "").split(",") if isinstance(names, str) else list(names)
        rows = [getattr(row, "values", row) if len(names) > 1 else (row,) for row in values]
        tables.append([dict(zip(names, row, strict=True)) for row in rows])
    for rows in itertools.product(*tables):
        yield {name: value for row in rows for name, value in row.items()}


def fails(test: Callable[..., None]) -> bool:
    """In one of its cases at least; by what it asserts, not by an error of any other kind."""
    for arguments in cases(test):
        try:
            test(**arguments)
        except (AssertionError, pytest.fail.Exception):
            return True
    return False


@pytest.mark.parametrize("mutant", CATALOGUE, ids=lambda mutant: mutant.title)
def test_mutant_is_caught(mutant: Mutant, monkeypatch: pytest.MonkeyPatch):
    function = function_at(mutant.place)
    assert mutant.tests, "nobody is named who catches it"
    with monkeypatch.context() as patch:
        patch.setattr(function, "__code__", mutated(function, mutant))
        survived = [name for name in mutant.tests if not fails(TESTS[name])]
    assert not survived


def test_every_judge_has_mutants_and_none_is_listed_twice():
    assert len({mutant.title for mutant in CATALOGUE}) == len(CATALOGUE)
    counted = Counter(mutant.judge for mutant in CATALOGUE)
    assert min(counted.values()) >= 3, counted
    places = " ".join(mutant.place for mutant in CATALOGUE)
    for file in (Path(__file__).parents[1] / "harness" / "check").glob("[a-z]*.py"):
        assert f"check.{file.stem}." in places


def test_every_statement_of_the_safety_checks_has_a_mutant():
    from harness.sim.invariants import Safety

    statements = {name for name, what in vars(Safety).items() if isinstance(what, FunctionType)}
    places = {mutant.place.split(".")[-1] for mutant in CATALOGUE if "Safety" in mutant.place}
    assert statements - places == {"__init__"}
