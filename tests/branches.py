"""Branches of `bank`: which outcomes scripts and the explorer meet, and which a test does.

    python tests/branches.py TEST…    as one JSON document, these tests' as well

The modules of `bank` are changed as they are imported, so this takes a process of its own. Counted
are: a condition that holds, and one that does not; a case that is taken, and a match without one; a
loop with something to do; an exception that is handled; a function that is called. What asserts is
left out.
"""

import ast
import importlib.abc
import importlib.machinery
import json
import sys
from collections.abc import Generator, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType

import pytest

ROOT = Path(__file__).parents[1]
MEASURED = "bank"
MET = "__met__"

outcomes: set[str] = set()  # all that there are in what was imported
met: set[str] = set()


def meet(place: str, outcome: object) -> object:
    """A condition came to this."""
    met.add(f"{place} {bool(outcome)}")
    return outcome


class Measured(ast.NodeTransformer):
    """Puts a question around each condition, and notes where other branches begin."""

    def __init__(self, module: str) -> None:
        self._path = [module.removeprefix(f"{MEASURED}.")]

    def _place(self, text: str) -> str:
        place = f"{'.'.join(self._path)}: {text}"
        count = sum(1 for one in outcomes if one.startswith((f"{place} True", f"{place} #")))
        return f"{place} #{count + 1}" if count else place

    def _asked(self, test: ast.expr) -> ast.expr:
        place = self._place(ast.unparse(test))
        outcomes.update((f"{place} True", f"{place} False"))
        call = ast.Call(ast.Name(MET, ast.Load()), [ast.Constant(place), test], [])
        return ast.copy_location(call, test)

    def _noted(self, text: str, body: list[ast.stmt]) -> None:
        """`body` is a branch of its own."""
        place = self._place(text)
        outcomes.add(f"{place} True")
        constants: list[ast.expr] = [ast.Constant(place), ast.Constant(True)]
        call = ast.Expr(ast.Call(ast.Name(MET, ast.Load()), constants, []))
        body.insert(_after_docstring(body), ast.copy_location(call, body[0]))

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """Names what is in it."""
        self._path.append(node.name)
        self.generic_visit(node)
        self._path.pop()
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Is called."""
        self._path.append(node.name)
        self.generic_visit(node)
        self._noted("called", node.body)
        self._path.pop()
        return node

    def visit_If(self, node: ast.If) -> ast.AST:
        """Holds, or does not."""
        self.generic_visit(node)
        node.test = self._asked(node.test)
        return node

    def visit_While(self, node: ast.While) -> ast.AST:
        """Likewise."""
        self.generic_visit(node)
        node.test = self._asked(node.test)
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        """Likewise."""
        self.generic_visit(node)
        node.test = self._asked(node.test)
        return node

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        """Likewise, what is left out of it."""
        self.generic_visit(node)
        node.ifs = [self._asked(test) for test in node.ifs]
        return node

    def visit_For(self, node: ast.For) -> ast.AST:
        """Has something to do."""
        self.generic_visit(node)
        self._noted(f"for {ast.unparse(node.target)} in {ast.unparse(node.iter)}", node.body)
        return node

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        """Handles one."""
        self.generic_visit(node)
        self._noted(f"except {ast.unparse(node.type) if node.type else ''}", node.body)
        return node

    def visit_Match(self, node: ast.Match) -> ast.AST:
        """A case is taken; a guard holds, or does not; no case is taken."""
        self.generic_visit(node)
        for case in node.cases:
            if _asserts(case.body[0]):
                return node
            if case.guard is not None:
                case.guard = self._asked(case.guard)
            else:
                self._noted(f"case {ast.unparse(case.pattern)}", case.body)
        last = node.cases[-1]
        if last.guard is not None or not _takes_all(last.pattern):
            other = ast.match_case(ast.MatchAs(), None, [ast.copy_location(ast.Pass(), node)])
            self._noted(f"no case of {ast.unparse(node.subject)}", other.body)
            node.cases.append(other)
        return node

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        """Left as it is."""
        return node


def _asserts(statement: ast.stmt) -> bool:
    """Whoever comes here has a bug: nobody shall."""
    return ast.unparse(statement).startswith(("assert", "raise AssertionError"))


def _takes_all(pattern: ast.pattern) -> bool:
    return isinstance(pattern, ast.MatchAs) and pattern.pattern is None


def _after_docstring(body: list[ast.stmt]) -> int:
    first = body[0]
    return int(isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant))


class _Loader(importlib.machinery.SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        tree = Measured(fullname).visit(ast.parse(self.get_data(self.path)))
        return compile(ast.fix_missing_locations(tree), self.path, "exec")

    def exec_module(self, module: ModuleType) -> None:
        setattr(module, MET, meet)
        super().exec_module(module)


class Finder(importlib.abc.MetaPathFinder):
    """Finds the modules that are measured."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See importlib."""
        if not fullname.startswith(f"{MEASURED}."):
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(fullname, spec.origin)
        return spec


class Watched:
    """A plugin of pytest: what each test meets."""

    def __init__(self) -> None:
        self.met: dict[str, list[str]] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """See pytest."""
        met.clear()
        result = yield
        self.met[item.nodeid] = sorted(met)
        return result


def walk() -> None:
    """Every script, and the explorer within small bounds; both must find nothing."""
    from harness.sim.explore import Explorer
    from harness.sim.explore.graph import Bounds, Budget
    from harness.sim.explore.reductions import ALL
    from harness.sim.script_runner import play

    for script in sorted((ROOT / "tests" / "scripts").glob("*.txt")):
        for _ in play(script):
            pass
    quiet = Budget(elections=0)
    checkpoints = Bounds(nodes=2, elected=True, checkpoint_interval=1, is_small=True)
    for bounds in (
        Bounds(nodes=1, budget=Budget(elections=2, crashes=2), checkpoint_interval=1),
        Bounds(nodes=2, requests=0, budget=Budget(elections=4), elected=True),
        Bounds(nodes=2, budget=replace(quiet, batches=1), elected=True),
        replace(checkpoints, budget=quiet),
        replace(checkpoints, budget=replace(quiet, drops=1)),
        Bounds(nodes=2, requests=1, budget=replace(quiet, drops=1, heartbeats=1), elected=True),
        replace(checkpoints, requests=1, budget=Budget(crashes=1)),
        Bounds(budget=quiet, elected=True, is_small=True, puts_off=True),
    ):
        found = Explorer(bounds, reductions=replace(ALL, forgetting=False)).run()
        assert found.complete and found.violation is None, (bounds, found.violation)


def main(tests: Sequence[str]) -> dict[str, object]:
    """All outcomes, those that scripts and the explorer meet, and those of each of these tests."""
    sys.meta_path.insert(0, Finder())
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    walk()
    walked, watched = sorted(met), Watched()
    if tests:
        with redirect_stdout(sys.stderr):
            pytest.main(["-p", "no:cacheprovider", "-p", "no:xdist", *tests], plugins=[watched])
    return {"all": sorted(outcomes), "walked": walked, "tests": watched.met}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1:])))
