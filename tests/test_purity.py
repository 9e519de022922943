"""The core stays pure: what `bank` may import and say, checked over the syntax tree."""

import ast
from pathlib import Path

import pytest
from rooms import files

ROOT = Path(__file__).parent.parent
BANK = sorted((ROOT / "bank").rglob("*.py"))
HARNESS = sorted((ROOT / "harness").rglob("*.py"))

ALLOWED = {
    "array",
    "bank",
    "collections",
    "dataclasses",
    "enum",
    "functools",
    "hashlib",
    "itertools",
    "random",
    "typing",
}
FORBIDDEN_CALLS = {"print", "open", "input", "exec", "eval", "breakpoint", "__import__"}


def name(path):
    return str(path.relative_to(ROOT))


def tree(path):
    return files()[name(path)]


def imports(path):
    """(module, name or None) of every import, wherever it stands."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name(path)}:{node.lineno}: say where from"
            yield from ((node.module, alias.name) for alias in node.names)


@pytest.mark.parametrize("path", BANK, ids=name)
def test_bank_imports_only_what_cannot_wait_or_look(path):
    modules = {module.split(".")[0] for module, _ in imports(path)}
    assert modules <= ALLOWED


@pytest.mark.parametrize("path", BANK, ids=name)
def test_bank_takes_of_random_the_class_only_and_never_makes_one(path):
    taken = {what for module, what in imports(path) if module == "random"}
    assert taken <= {"Random"}
    made = [
        node.lineno
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Random"
    ]
    assert not made


@pytest.mark.parametrize("path", BANK, ids=name)
def test_bank_calls_nothing_that_reads_or_writes(path):
    called = {
        node.func.id
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not called & FORBIDDEN_CALLS


@pytest.mark.parametrize("path", BANK, ids=name)
def test_bank_iterates_no_set(path):
    """The order of a set of strings differs from run to run."""
    found = [
        node.iter.lineno
        for node in ast.walk(tree(path))
        if isinstance(node, ast.For | ast.comprehension)
        and (
            isinstance(node.iter, ast.Set | ast.SetComp)
            or (
                isinstance(node.iter, ast.Call)
                and isinstance(node.iter.func, ast.Name)
                and node.iter.func.id in ("set", "frozenset")
            )
        )
    ]
    assert not found


def test_every_module_has_a_head():
    for path in BANK + HARNESS:
        empty = not path.read_text(encoding="utf-8").strip()
        assert ast.get_docstring(tree(path)) or (empty and path.name == "__init__.py"), name(path)


ALONE = {  # loaded before Ctrl-C is heard by anybody, or by pytest, which answers for it
    "harness/__main__.py": {"harness.cluster", "harness.errors", "harness.report.refused"},
    "harness/pytest_plugin/__init__.py": {
        "harness", "harness.errors", "harness.files", "harness.report", "harness.run",
        "harness.run.runner",
    },
}  # fmt: skip


def unguarded(node, is_guarded=False, in_function=False):
    """The modules of ours that a function imports while Ctrl-C is heard: it may be lost there."""
    if isinstance(node, ast.With):
        is_guarded |= any("ctrl_c.afterwards" in ast.unparse(item) for item in node.items)
    in_function |= isinstance(node, ast.FunctionDef)
    if in_function and not is_guarded:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "import_module":
            yield ast.unparse(node.args[0])
    for child in ast.iter_child_nodes(node):
        yield from unguarded(child, is_guarded, in_function)


def test_what_is_imported_late_is_imported_whole_before_ctrl_c_is_heard():
    for path in HARNESS:
        late = {module for module in unguarded(tree(path)) if "harness" in module or "__" in module}
        assert late <= ALONE.get(name(path), set()), name(path)
