"""Mutants drawn by seed from all that can be broken mechanically, and who finds them.

    python -m tests.mutants --draw 50 --seed 1 --jobs 2       of the replica, `bank`
    python -m tests.mutants --of process --draw 50 --seed 1   of its process: worker and storage
    python -m tests.mutants --draw 50 --seed 1 --only 7       the seventh of them alone
    python -m tests.mutants --draw 50 --seed 1 --list         what would be run

A mutant is one change in one function: a condition negated, a comparison or a number off by one,
`and` for `or`, plus for minus, a statement left out, two arguments swapped. Each goes through the
stages below, in order, until one finds it; what is left at the end has to be argued away or be
found by a new test. Nothing here knows a file or a line of the product: the modules are those that
`bank.replica` imports of `bank`, or the worker of `harness.live`, and the changes come from the
syntax tree. A mutant is a copy of the checkout with one module changed.

A stage is a process of its own with a limit on its processor time, ten times what it takes with
the sound replica, on memory, and on how long it may wait: who gets beyond is found, for it hangs or
floods. Tests that
compare texts with golden files are not asked, nor are words: notes and messages of errors.
"""

import argparse
import ast
import copy
import importlib.util
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import NamedTuple

TESTS = Path(__file__).parent
ROOT = TESTS.parent
MEMORY = 3 << 30  # bytes of address space
LEAST_SECONDS = 20.0  # of processor time, however quick the sound replica is
LONGEST_SECONDS, WAITS = 600.0, 10  # of waiting: so many, and so many for each of processor time
DRIVERS = ("harness.sim",)
ELSEWHERE = ("harness", "test_", "catalogue", "zoo", "subprocess")
OTHER_STAGES = ("harness.sim.swarm", "harness.sim.explore")
CLUSTERS = ("harness.live.cluster", "fields")
GOLDEN = ("golden", "scripts")
TAKEN_OUT = (
    "tests/test_live_checks.py::test_broken_process_fails"  # changes texts of the sound code
)

Change = Callable[[], None]  # made in the tree that it was found in


class Site(NamedTuple):
    """One change that can be made in a tree."""

    kind: str
    function: str
    line: int
    before: str
    after: str
    change: Change


class Mutant(NamedTuple):
    """One site of one module."""

    module: str
    number: int
    kind: str
    where: str
    text: str


# ---- what can be changed -------------------------------------------------------------------------

BOUNDS = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
SAME = {ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}
SIGNS = {ast.Add: ast.Sub, ast.Sub: ast.Add}
SYMMETRIC = ("min", "max", "isinstance", "setdefault", "getattr")


def _set(node: ast.AST, name: str, value: object) -> None:
    setattr(node, name, value)


def _swap(parts: list[ast.expr], at: int) -> None:
    parts[at], parts[at + 1] = parts[at + 1], parts[at]


def _negated(test: ast.expr) -> ast.expr:
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return test.operand
    return ast.copy_location(ast.UnaryOp(ast.Not(), test), test)


def _changes(node: ast.AST) -> Iterator[tuple[str, Change]]:
    """Everything that can be done to this node: its kind, and the doing."""
    match node:
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            if not (isinstance(test, ast.Constant)):
                yield "condition negated", partial(_set, node, "test", _negated(test))
        case ast.comprehension(ifs=[*tests]):
            for at, test in enumerate(tests):
                yield "condition negated", partial(tests_set, node.ifs, at, _negated(test))
        case ast.Compare(ops=ops):
            for at, op in enumerate(ops):
                if type(op) in BOUNDS:
                    yield "bound off by one", partial(tests_set, ops, at, BOUNDS[type(op)]())
                elif type(op) in SAME:
                    yield "condition negated", partial(tests_set, ops, at, SAME[type(op)]())
        case ast.BoolOp(op=op):
            other = ast.Or() if isinstance(op, ast.And) else ast.And()
            yield "and for or", partial(_set, node, "op", other)
        case ast.BinOp(op=op) if type(op) in SIGNS and not isinstance(node.left, ast.Constant):
            yield "plus for minus", partial(_set, node, "op", SIGNS[type(op)]())
        case ast.Constant(value=value) if type(value) is int:
            yield "number off by one", partial(_set, node, "value", value + 1)
        case ast.Constant(value=value) if type(value) is bool:
            yield "condition negated", partial(_set, node, "value", not value)
        case ast.Call(func=function, args=args) if len(args) > 1:
            name = function.attr if isinstance(function, ast.Attribute) else ast.unparse(function)
            if name not in SYMMETRIC and not any(isinstance(a, ast.Starred) for a in args):
                for at in range(len(args) - 1):
                    if ast.dump(args[at]) != ast.dump(args[at + 1]):
                        yield "arguments swapped", partial(_swap, args, at)


def tests_set(parts: list[ast.AST], at: int, value: ast.AST) -> None:
    """A list of a node's parts gets another one."""
    parts[at] = value


def _is_droppable(statement: ast.stmt) -> bool:
    match statement:
        case ast.Assign() | ast.AugAssign() | ast.AnnAssign():
            return statement.value is not None
        case ast.Return(value=None) | ast.Continue() | ast.Break():
            return True
        case ast.Expr(value=ast.Call(args=args, keywords=keywords)):
            words = (ast.JoinedStr, ast.Constant)
            is_words = args and all(
                isinstance(a, words) and not isinstance(getattr(a, "value", ""), int) for a in args
            )
            return bool(keywords) or not is_words
        case ast.Expr(value=ast.Yield() | ast.YieldFrom()):
            return True
        case _:
            return False


def _nodes(node: ast.AST) -> Iterator[tuple[ast.AST, list[ast.stmt] | None, int]]:
    """Every node of a function's code, with the block and place of those that are statements.

    Assertions and what is raised are not looked into, nor annotations, nor the parts of f-strings.
    """
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        parts = value if isinstance(value, list) else [value]
        for at, part in enumerate(parts):
            skipped = (ast.Assert, ast.Raise, ast.JoinedStr, ast.match_case)
            if isinstance(part, ast.match_case):
                for inner, statement in enumerate(part.body):
                    yield statement, part.body, inner
                    yield from _nodes(statement)
            elif isinstance(part, ast.AST) and not isinstance(part, skipped):
                yield part, (value if isinstance(part, ast.stmt) else None), at
                yield from _nodes(part)


def _functions(tree: ast.AST, path: str = "") -> Iterator[tuple[str, ast.AST]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef):
            yield f"{path}{node.name}", node
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node, f"{path}{node.name}.")


def sites(tree: ast.Module) -> list[Site]:
    """All that can be changed in a tree, in the order of its text; each changes this very tree."""
    found: list[Site] = []
    for name, function in _functions(tree):
        if name.endswith(("__str__", "__repr__", "__len__")):
            continue
        for node, block, at in _nodes(function):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                continue  # a docstring
            before = ast.unparse(node).split("\n")[0]
            line = getattr(node, "lineno", function.lineno)
            for kind, change in _changes(node):
                after = _after(node, change)
                found.append(Site(kind, name, line, before, after, change))
            if block is not None and _is_droppable(node):
                gone = ast.copy_location(ast.Pass(), node)
                drop = partial(tests_set, block, at, gone)
                found.append(Site("left out", name, line, before, "pass", drop))
    return found


def _after(node: ast.AST, change: Change) -> str:
    """What the node reads like with the change, which is taken back."""
    kept = copy.copy(node.__dict__)
    kept = {k: list(v) if isinstance(v, list) else v for k, v in kept.items()}
    change()
    text = ast.unparse(node).split("\n")[0]
    for name, value in kept.items():
        if isinstance(value, list):
            getattr(node, name)[:] = value
        else:
            setattr(node, name, value)
    return text


@cache
def modules(target: "Target") -> list[str]:
    """Those of the mutated package that the target is made of: what a fresh process imports."""
    code = f"import sys, {target.entry}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    return sorted(n for n in done.stdout.decode().split() if n.startswith(f"{target.package}."))


def _source(module: str) -> str:
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).read_text()


@cache
def all_mutants(target: "Target") -> list[Mutant]:
    """Every mutant there is."""
    found: list[Mutant] = []
    for module in modules(target):
        seen: set[tuple[int, str, str]] = set()
        for number, site in enumerate(sites(ast.parse(_source(module)))):
            if (site.line, site.before, site.after) in seen:
                continue
            seen.add((site.line, site.before, site.after))
            where = f"{module}.{site.function}:{site.line}"
            found.append(
                Mutant(module, number, site.kind, where, f"{site.before}  →  {site.after}")
            )
    return found


def drawn(target: "Target", count: int, seed: int) -> list[Mutant]:
    """So many of them."""
    mutants = all_mutants(target)
    return Random(seed).sample(mutants, min(count, len(mutants)))


# ---- at work -------------------------------------------------------------------------------------


@contextmanager
def _tree(mutant: Mutant | None) -> Iterator[Path]:
    """A copy of the checkout in which the mutant's module is changed, for as long as it is needed.

    A copy, and not a change made on import: replicas are processes that import for themselves.
    """
    left_out = shutil.ignore_patterns(".*", "__pycache__", "findings", "*.egg-info")
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        root = shutil.copytree(ROOT, Path(folder) / "checkout", ignore=left_out)
        if mutant is not None:
            file = root.joinpath(*mutant.module.split(".")).with_suffix(".py")
            file.write_text(mutated(file.read_text(), mutant.number))
        yield root


def mutated(source: str, number: int) -> str:
    """A module's text with one site changed."""
    tree = ast.parse(source)
    sites(tree)[number].change()
    return ast.unparse(ast.fix_missing_locations(tree))


def _seeds(first: int, last: int) -> str | None:
    from harness.sim.scenario import SwarmOptions
    from harness.sim.swarm import run_seed

    for seed in range(first, last):
        violation = run_seed(seed, SwarmOptions()).violation
        if violation is not None:
            return f"seed {seed}: {violation}"
    return None


def _explored() -> str | None:
    from harness.sim.explore import Explorer
    from harness.sim.explore.graph import Bounds, Budget

    short = Budget(elections=0)
    for bounds in (
        Bounds(),
        Bounds(requests=1, budget=Budget(drops=1, retries=1)),
        Bounds(requests=1, budget=Budget(crashes=1)),
        Bounds(budget=short, elected=True, checkpoint_interval=1),
    ):
        if (violation := Explorer(bounds).run().violation) is not None:
            return violation
    return None


@cache
def _imported(text: str) -> list[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [node.module or "", *(f"{node.module}.{a.name}" for a in node.names)]
    return names


def _test_files(is_one: Callable[[list[str]], bool]) -> list[Path]:
    """Those whose imports are such, and that speak of no golden files."""
    texts = {file: file.read_text() for file in sorted(TESTS.glob("test_*.py"))}
    return [
        file
        for file, text in texts.items()
        if is_one(_imported(text)) and not any(word in text for word in GOLDEN)
    ]


def tests_of_bank() -> list[Path]:
    """They import `bank`, and of the harness only what drives it, no stage of its own."""
    return _test_files(
        lambda names: (
            any(name.split(".")[0] == "bank" for name in names)
            and not any(
                name.startswith(OTHER_STAGES)
                or (name.startswith(ELSEWHERE) and not name.startswith(DRIVERS))
                for name in names
            )
        )
    )


def tests_of_process(are_live: bool) -> list[Path]:
    """They import parts of `harness.live`: whole clusters, or anything but these."""
    return _test_files(
        lambda names: (
            any(name.startswith(("harness.live", *CLUSTERS)) for name in names)
            and any(name.startswith(CLUSTERS) for name in names) == are_live
        )
    )


def _tested(files: Sequence[Path]) -> str | None:
    import pytest

    class Failed:
        name = ""

        def pytest_runtest_logreport(self, report):
            if report.failed and not self.name:
                self.name = report.nodeid

        def pytest_collectreport(self, report):
            if report.failed and not self.name:
                self.name = report.nodeid

    failed = Failed()
    words = [
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "--no-header",
        "--tb=no",
        "--deselect",
        TAKEN_OUT,
    ]
    code = pytest.main([*words, *map(str, files)], plugins=[failed])
    return None if code == 0 else failed.name or f"pytest ends with {code}"


FIRST_SEEDS = 40  # before the unit tests; most are found by then


class Target(NamedTuple):
    """What is mutated, and who is asked, in order."""

    package: str
    entry: str  # the module whose imports of the package count
    stages: dict[str, Callable[[int], str | None]]  # by name; given how many seeds there are in all

    def __hash__(self) -> int:
        return hash(self.entry)


TARGETS = {
    "bank": Target(
        "bank",
        "bank.replica",
        {
            "swarm": lambda seeds: _seeds(0, min(seeds, FIRST_SEEDS)),
            "unit tests": lambda _: _tested(tests_of_bank()),
            "explorer": lambda _: _explored(),
            "swarm, longer": lambda seeds: _seeds(FIRST_SEEDS, seeds),
        },
    ),
    "process": Target(
        "harness.live",
        "harness.live.worker",
        {
            "unit tests": lambda _: _tested(tests_of_process(are_live=False)),
            "clusters": lambda _: _tested(tests_of_process(are_live=True)),
        },
    ),
}


def _run_stage(target: Target, stage: str, seeds: int) -> int:
    """In a process of its own: exit code 0 unless something is found, which is printed last."""
    try:
        found = target.stages[stage](seeds)
    except Exception as error:  # not even imported, or beyond its memory
        found = f"{type(error).__name__}: {error}"
    print(f"\n{found or ''}")  # noqa: T201
    return 1 if found else 0


def _limited(seconds: float) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 5))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def _child(root: Path, words: Sequence[str], seconds: float) -> tuple[str | None, float]:
    """What a stage found, and the processor time that it and others at work took meanwhile."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        child = subprocess.Popen(
            [sys.executable, "-B", "-m", "tests.mutants", *words],
            cwd=root,
            stdout=output,
            stderr=errors,
            env=os.environ | {"PYTHONHASHSEED": "0"},
            preexec_fn=partial(_limited, seconds),
            start_new_session=True,
        )
        try:
            code = child.wait(LONGEST_SECONDS + WAITS * seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            with suppress(ProcessLookupError):  # also what it started, and left
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        output.seek(0)
        errors.seek(0)
        said, last = output.read().strip(), (errors.read().strip().split("\n") or [""])[-1]
    spent = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    if code == 0:
        return None, spent
    if code is None:
        return "waits without end", spent
    if code == 1 and said:
        return " ".join(said.split("\n")[-1].split()), spent
    if code < 0:
        return f"ended by signal {-code} after {seconds:.0f} s of processor time", spent
    return f"exit {code}: {last}", spent


class Hunter:
    """Asks the stages of a target about one mutant after the other."""

    def __init__(self, name: str, seeds: int) -> None:
        """`seeds` of the swarm, in all."""
        self._name, self._seeds, self._limits = name, seeds, dict[str, float]()

    def measure(self, tell: Callable[[str], None]) -> None:
        """Each stage has ten times what it takes with the sound replica, which has to pass."""
        with _tree(None) as root:
            for stage in TARGETS[self._name].stages:
                found, spent = self._ask(root, stage, 3600)
                if found is not None:
                    sys.exit(f"{stage}: the sound replica fails: {found}")
                self._limits[stage] = max(LEAST_SECONDS, 10 * spent)
                tell(f"{stage}: the sound replica passes in {spent:.1f} s")

    def hunt(self, mutant: Mutant) -> tuple[str, str] | None:
        """Stage and words of the first that found it."""
        with _tree(mutant) as root:
            for stage in TARGETS[self._name].stages:
                found, _ = self._ask(root, stage, self._limits.get(stage, 3600))
                if found is not None:
                    return stage, found
        return None

    def _ask(self, root: Path, stage: str, seconds: float) -> tuple[str | None, float]:
        words = ["--of", self._name, "--stage", stage, "--seeds", str(self._seeds)]
        return _child(root, words, seconds)


def main(words: Sequence[str] | None = None) -> int:
    """0 when every mutant drawn was found."""
    parser = argparse.ArgumentParser("python -m tests.mutants", description=__doc__.split("\n")[0])
    parser.add_argument("--of", choices=[*TARGETS], default="bank", help="what is mutated [bank]")
    parser.add_argument("--draw", type=int, default=50, help="how many [50]")
    parser.add_argument("--seed", type=int, default=1, help="of the draw [1]")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time [1]")
    parser.add_argument("--seeds", type=int, default=600, help="of the swarm, in all [600]")
    parser.add_argument("--only", help="some of those drawn, by number: 3,7")
    parser.add_argument("--list", action="store_true", help="print them, and run nothing")
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    target = TARGETS[options.of]
    if options.stage:
        return _run_stage(target, options.stage, options.seeds)

    def tell(line: str) -> None:
        print(line, flush=True)  # noqa: T201

    mutants = list(enumerate(drawn(target, options.draw, options.seed), 1))
    if options.only:
        wanted = set(map(int, options.only.split(",")))
        mutants = [one for one in mutants if one[0] in wanted]
    tell(f"{len(mutants)} of {len(all_mutants(target))} mutants, seed {options.seed}")
    if options.list:
        for number, one in mutants:
            tell(f"{number}: {one.where}: {one.kind}: {one.text}")
        return 0
    hunter, began = Hunter(options.of, options.seeds), time.monotonic()
    hunter.measure(tell)
    counts: Counter[str] = Counter()
    with ThreadPoolExecutor(options.jobs) as pool:
        hunts = {pool.submit(hunter.hunt, one): (number, one) for number, one in mutants}
        for hunt in as_completed(hunts):
            (number, one), found = hunts[hunt], hunt.result()
            counts[found[0] if found else "nobody"] += 1
            by = "SURVIVES" if found is None else f"{found[0]}: {found[1][:120]}"
            tell(f"{number}: {one.where}: {one.kind}: {one.text}\n    {by}")
    shares = ", ".join(f"{who} {count}" for who, count in counts.most_common())
    tell(f"{len(mutants)} mutants in {time.monotonic() - began:.0f} s: {shares}")
    return 1 if counts["nobody"] else 0


if __name__ == "__main__":
    sys.exit(main())
