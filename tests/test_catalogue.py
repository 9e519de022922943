"""Every mutant of the catalogue fails what it names: rules of `bank`, judges, scripts.

What the swarm catches is `test_zoo.py`'s, what checks on real processes do `test_live_checks.py`'s.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import catalogue
import pytest
import test_black_box
import test_checks
import test_client
import test_expectations
import test_explore
import test_external_votes
import test_frozen
import test_invariants
import test_judged
import test_judging
import test_outside
import test_page_table
import test_promises
import test_reductions
import test_resumed
import test_rules_commits
import test_rules_histories
import test_rules_pages
import test_rules_promises
import test_rules_service
import test_rules_timers
import test_scripts
import test_spare
import test_trials
from catalogue import Mutant

RULES = (
    test_rules_promises,
    test_rules_commits,
    test_rules_timers,
    test_rules_service,
    test_rules_histories,
    test_rules_pages,
    test_spare,
)
FILES = (test_page_table,)
EXPLORER = (test_explore, test_frozen, test_reductions, test_trials)
JUDGES = (
    test_checks,
    test_judged,
    test_black_box,
    test_promises,
    test_expectations,
    test_resumed,
    test_invariants,
    test_judging,
    test_outside,
    test_external_votes,
)
TESTS: dict[str, Callable[..., None]] = {}
for module in (*RULES, *JUDGES, *FILES, *EXPLORER, test_client):
    for name, test in vars(module).items():
        if name.startswith("test_") and isinstance(test, FunctionType):
            assert TESTS.setdefault(name, test) is test, f"two tests are called {name}"

SCRIPTS = {path.stem: path for path in test_scripts.SCRIPTS}


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


CAUGHT_HERE = [one for one in catalogue.read() if one.tests or one.caught_by("script")]
# These walk for a second or more until a mutant fails them.
LONG = {
    "test_a_replica_that_heeds_what_is_left_out_is_walked_without",
    "test_our_replica_heeds_nothing",
    "test_every_turn_is_taken",
}


def row(mutant: Mutant) -> Any:
    """Of the table of mutants; without what takes long unless that is asked for."""
    marks = [pytest.mark.slow(4)] if LONG & {*mutant.tests} else []
    return pytest.param(mutant, marks=marks, id=mutant.title)


@pytest.mark.parametrize("mutant", [row(mutant) for mutant in CAUGHT_HERE])
def test_mutant_is_caught(mutant: Mutant):
    with mutant.at_work():
        survived = [name for name in mutant.tests if not fails(TESTS[name])]
        scripts = mutant.caught_by("script")
        survived += [name for name in scripts if not test_scripts.difference(SCRIPTS[name])]
    assert not survived


def test_no_mutant_is_listed_twice():
    counted = Counter(mutant.title for mutant in catalogue.read())
    counted.update(
        repr([(c.place, c.old.split(), c.new.split()) for c in mutant.changes])
        for mutant in catalogue.read()
    )
    assert [text for text, count in counted.items() if count > 1] == []


def test_every_rule_is_taken_out_somewhere():
    groups = {one.group for one in catalogue.read("rules")}
    assert {str(rule) for rule in range(1, 15)} <= groups


def test_every_test_of_a_rule_and_every_script_bites():
    caught = {name for one in catalogue.read() for name in one.tests}
    rules = {name for module in RULES for name in vars(module) if name.startswith("test_")}
    assert rules <= caught
    assert {name for one in catalogue.read() for name in one.caught_by("script")} == SCRIPTS.keys()


def test_every_judge_has_mutants():
    judges = catalogue.read("judges")
    counted = Counter(mutant.group for mutant in judges)
    assert min(counted.values()) >= 3, counted
    places = " ".join(change.place for mutant in judges for change in mutant.changes)
    for file in (Path(__file__).parents[1] / "harness" / "check").glob("[a-z]*.py"):
        assert f"check.{file.stem}." in places


def test_every_statement_of_the_safety_checks_has_a_mutant():
    from harness.sim.invariants import Safety

    statements = {name for name, what in vars(Safety).items() if isinstance(what, FunctionType)}
    changes = [change for mutant in catalogue.read("judges") for change in mutant.changes]
    places = {change.place.split(".")[-1] for change in changes if "Safety" in change.place}
    assert statements - places == {"__init__"}
