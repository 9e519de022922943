"""Which runs of pytest take several processes: the whole suite, unless it measures or is in one."""

import os
from types import SimpleNamespace

import pytest
from conftest import (
    pytest_cmdline_main,
    pytest_collection_modifyitems,
    pytest_ignore_collect,
)

SOURCES = SimpleNamespace(TESTPATHS="all", ARGS="named")


@pytest.mark.parametrize(
    ("source", "markexpr", "given", "environment", "has_xdist", "expected"),
    [
        ("all", "not slow and not quiet and not long", None, {}, True, 4),
        ("all", "slow", None, {}, True, 4),
        ("all", "not quiet and not long", None, {}, True, 4),
        ("all", "quiet", None, {}, True, None),
        ("all", "slow or quiet", None, {}, True, None),
        ("named", "not slow and not quiet and not long", None, {}, True, None),
        ("all", "slow", 0, {}, True, 0),
        ("all", "slow", None, {"PYTEST_XDIST_WORKER": "gw0"}, True, None),
        ("all", "slow", None, {}, False, None),
    ],
    ids=[
        "default",
        "slow",
        "both",
        "quiet",
        "also quiet",
        "a file",
        "chosen",
        "in a worker",
        "no plugin",
    ],
)
def test_who_is_distributed(monkeypatch, source, markexpr, given, environment, has_xdist, expected):
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    option = SimpleNamespace(numprocesses=given, dist="no", markexpr=markexpr, usepdb=False)
    plugins = SimpleNamespace(hasplugin=lambda name: has_xdist and name == "xdist")
    config = SimpleNamespace(
        option=option, args_source=source, ArgsSource=SOURCES, pluginmanager=plugins
    )
    pytest_cmdline_main(config)
    assert (option.numprocesses, option.dist) == (expected, "worksteal" if expected else "no")


def test_the_slowest_come_first_and_nothing_else_moves():
    slow, long = pytest.mark.slow.mark, pytest.mark.slow(30).mark

    def item(name, **marks):
        return SimpleNamespace(name=name, get_closest_marker=marks.get)

    items = [item("a"), item("b", slow=slow), item("c", quiet=long), item("d", slow=long)]
    items += [item("e", slow=slow), item("f")]
    pytest_collection_modifyitems(items)
    assert "".join(item.name for item in items) == "dbeacf"


@pytest.mark.parametrize(
    ("markexpr", "text", "is_left_out"),
    [
        ("slow", "pytest.mark.quiet", True),
        ("slow", "@pytest.mark.slow(50)", None),
        ("quiet", "pytestmark = mark.quiet", None),
        ("slow or quiet", "", None),
        ("not slow", "", None),
        ("", "", None),
    ],
)
def test_files_without_the_mark_that_is_asked_for_are_not_read(
    tmp_path, markexpr, text, is_left_out
):
    path = tmp_path / "test_one.py"
    path.write_text(text)
    config = SimpleNamespace(option=SimpleNamespace(markexpr=markexpr))
    assert pytest_ignore_collect(path, config) is is_left_out
    assert pytest_ignore_collect(tmp_path, config) is None
