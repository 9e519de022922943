"""Every rule's tests fail when the rule is taken out.

Each block of rules_taken_out.txt takes one statement of docs/protocol.md out of `bank`, replacing a
piece of one function's source, and names the tests that must fail then. A block whose piece is
not there any more fails as well: whoever rewrites a rule looks at its block again.
"""

import importlib
import inspect
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import test_rules_commits
import test_rules_histories
import test_rules_promises
import test_rules_service
import test_rules_timers
import test_spare

MODULES = (
    test_rules_promises,
    test_rules_commits,
    test_rules_timers,
    test_rules_service,
    test_rules_histories,
    test_spare,
)
TESTS: dict[str, Callable[[], None]] = {
    name: test
    for module in MODULES
    for name, test in vars(module).items()
    if name.startswith("test_")
}


class Mutation(NamedTuple):
    """One block of the table, which says at its top how to read it."""

    title: str  # "1: what is taken out"
    place: str
    old: str
    new: str
    tests: list[str]

    @property
    def rule(self) -> int:
        return int(self.title.split(":")[0])


def parse(block: str) -> Mutation:
    title, place, *rest = block.splitlines()
    old = [line[2:] for line in rest if line.startswith("- ")]
    new = [line[2:] for line in rest if line.startswith("+ ")]
    tests = [line for line in rest if line[0] not in "-+"]
    return Mutation(title, place, "\n".join(old), "\n".join(new), tests)


_, *BLOCKS = (Path(__file__).parent / "rules_taken_out.txt").read_text().strip().split("\n\n")
TABLE = [parse(block) for block in BLOCKS]


def without_rule(owner: Any, name: str, mutation: Mutation) -> Any:
    """The function `owner.name` as it would be without the rule."""
    function = getattr(owner, name)
    source = textwrap.dedent(inspect.getsource(function))
    pattern = r"\s+".join(map(re.escape, mutation.old.split()))
    found = len(re.findall(pattern, source))
    assert found == 1, f"found {found} times in {mutation.place}: {mutation.old}"
    names = dict(function.__globals__)
    exec(re.sub(pattern, lambda _: mutation.new, source), names)
    return names[name]


@pytest.mark.parametrize("mutation", TABLE, ids=lambda mutation: mutation.title)
def test_rule_taken_out_fails_its_tests(mutation: Mutation, monkeypatch: pytest.MonkeyPatch):
    module, *path, name = mutation.place.split(".")
    owner = importlib.import_module(f"bank.{module}")
    for part in path:
        owner = getattr(owner, part)
    mutant = without_rule(owner, name, mutation)
    survived = []
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, mutant)
        for test in mutation.tests:
            try:
                TESTS[test]()
            except AssertionError:
                continue
            survived.append(test)
    assert not survived


def test_every_rule_is_taken_out_somewhere():
    assert {mutation.rule for mutation in TABLE} == set(range(1, 15))


def test_every_test_of_a_rule_bites():
    bites = {test for mutation in TABLE for test in mutation.tests}
    assert bites == set(TESTS)
