"""The one catalogue of mutants: what is taken out of the product, and what must fail then.

`tests/catalogue/*.txt` are blocks with an empty line between them:

    2: the candidate's own log is left out            what is taken out, after the rule or judge
    ~ The own vote is counted by a number.            where such a mistake comes from, if it is said
    bank.elector.Elector.lead_if_elected              a function; its changes follow, then the next
    - + [log.entries_above(log.committed_upto)]       found once in it; white space is as one blank
    + …                                               what comes instead; absent when it just goes
    > test_own_log_counts_as_well                     who must fail, in one case at least:
    > script leader_dies_after_one_accept             a test, a script of tests/scripts,
    > swarm 5,7                                       the swarm, with so many replicas, by the seed
                                                      that docs/zoo.md names,
    > live what_is_due_is_done_in_that_turn           a check of `live_checks.py`.

A piece of text that is not there any more fails as well: whoever rewrites a rule or a judge looks
at its blocks again.
"""

import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType
from typing import NamedTuple

FOLDER = Path(__file__).parent / "catalogue"


class Change(NamedTuple):
    """One piece of a function's text, and what stands there in the mutant."""

    place: str  # "package.module.function" or "package.module.Class.function"
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """One block."""

    title: str
    origin: str
    changes: tuple[Change, ...]
    catchers: tuple[str, ...]

    @property
    def group(self) -> str:
        """The rule, the judge or whatever stands before the colon."""
        return self.title.split(":")[0]

    @property
    def wrong(self) -> str:
        """What is taken out."""
        return self.title.split(": ", 1)[1]

    def caught_by(self, kind: str) -> list[str]:
        """Those that must fail and are named after this word: of "script x" the x."""
        words = [catcher.partition(" ") for catcher in self.catchers]
        return [rest for first, _, rest in words if first == kind]

    @property
    def tests(self) -> list[str]:
        """The names of the tests that must fail."""
        return [catcher for catcher in self.catchers if catcher.startswith("test_")]

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """The product is the mutant for a while."""
        functions = {change.place: function_at(change.place) for change in self.changes}
        sound = {place: function.__code__ for place, function in functions.items()}
        try:
            for place, function in functions.items():
                function.__code__ = _mutated(function, self, place)
            yield
        finally:
            for place, code in sound.items():
                functions[place].__code__ = code


def parse(block: str) -> Mutant:
    """A block's text, with a line at least for its title, a place, a change and who must fail."""
    title, *rest = block.splitlines()
    origin, place, changes, catchers = [], "", [], []
    for line in rest:
        sign, text = line[0], line[2:]
        if sign == "~":
            origin.append(text)
        elif sign == "-":
            changes.append((place, text, []))
        elif sign == "+":
            changes[-1][2].append(text)
        elif sign == ">":
            catchers.append(text)
        else:
            place = line
    assert changes and catchers, f"{title}: no change, or nobody who catches it"
    made = tuple(Change(at, old, "\n".join(new)) for at, old, new in changes)
    return Mutant(title, " ".join(origin), made, tuple(catchers))


@cache
def read(*names: str) -> tuple[Mutant, ...]:
    """All mutants, or those of some files."""
    files = [FOLDER / f"{name}.txt" for name in names] or sorted(FOLDER.glob("*.txt"))
    return tuple(
        parse(block) for file in files for block in file.read_text("utf-8").strip().split("\n\n")
    )


def function_at(place: str) -> FunctionType:
    """The function itself, also of a property, a class method or a context manager."""
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


def _mutated(function: FunctionType, mutant: Mutant, place: str) -> CodeType:
    source = textwrap.dedent(inspect.getsource(function))
    for _, old, new in (change for change in mutant.changes if change.place == place):
        pattern = r"\s+".join(map(re.escape, old.split()))
        found = list(re.finditer(pattern, source))
        assert len(found) == 1, f"found {len(found)} times in {place}: {old}"
        line = source[source.rfind("\n", 0, found[0].start()) + 1 :]
        indented = new.replace("\n", "\n" + " " * (len(line) - len(line.lstrip())))
        source = re.sub(pattern, lambda _, text=indented: text, source)
    names = dict(function.__globals__)
    exec(source, names)
    made = names[function.__name__]
    made = getattr(made, "fget", None) or getattr(made, "__func__", made)
    return made.__code__
