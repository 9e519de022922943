"""Descriptions of other people's replicas: what they mean, and every mistake with its place."""

import pytest
from external_runs import TINY

from harness.errors import HarnessError
from harness.external import description
from harness.external.placeholders import Placeholders
from harness.run import launch


def parsed(text):
    return description.parse(text.encode(), "r.yaml", TINY.parent)


def problems(text):
    with pytest.raises(HarnessError) as caught:
        parsed(text)
    return list(caught.value.problems)


WHOLE = """\
name: their bank
build: make -j2 all
start: bin/server --id {number} --dir "{data}/x y"
file: {path: "{data}/c.json", text: '{"me": "{name}", "all": "{nodes}", "keep": "{{name}}"}'}
folder: "{data}"
links: stdio
speaks: lin-kv
keeps: nothing
settle_ms: 7
retry: next
limits: {memory_mb: 64}
fixed: {accounts: A..C, balance: 5, nodes: 3}
cluster: {client_timeout_ms: 400}
"""


def test_everything_that_can_be_said():
    found = parsed(WHOLE)
    assert found.start == ("bin/server", "--id", "{number}", "--dir", "{data}/x y")
    assert found.build == ("make", "-j2", "all") and found.speaks == "lin-kv"
    assert not found.recovers and found.retry == "next" and found.settle_ms == 7
    assert found.limits["memory_mb"] == 64 and found.limits["file_mb"] == 256
    values = Placeholders(2, 3, TINY.parent)
    assert values.fill(found.file.text) == '{"me": "n2", "all": "n1,n2,n3", "keep": "{name}"}'
    assert values.environment["PAXBANK_NAME"] == "n2"
    settings = launch.settings({}, {}, description=found)
    assert (settings.nodes, settings.accounts, settings.initial_balance) == (3, ("A", "B", "C"), 5)
    assert (settings.client_timeout_ms, settings.progress_ms) == (400, 30_000)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: x", ["r.yaml:1: no start: expected lines such as start: python3 node.py"]),
        ("- x", ["r.yaml:1: r.yaml: found a list, expected lines such as start: python3 node.py"]),
        ("start: ''", ['r.yaml:1: start: found "", expected a command such as python3 node.py']),
        (
            "start: a\nlinks: sdtio\nretries: 3",
            [
                'r.yaml:2: links: found "sdtio", expected stdio',
                "r.yaml:3: retries: unknown key, expected one of name, build, start, links, "
                "speaks, folder, file, keeps, recovers, settle_ms, retry, limits, fixed, cluster",
            ],
        ),
        (
            "start: a {nmae} {port}",
            [
                "r.yaml:1: start: unknown placeholder {nmae}, expected one of {name}, {number}, "
                "{nodes}, {data} (did you mean {name}?)",
                "r.yaml:1: start: {port} has no meaning with links: stdio, where every message "
                "passes the harness, expected links: template, namespaces or none",
            ],
        ),
        (
            "start: a\nlimits:\n  memory: 3\n  file_mb: 0\nfixed: {account: A}\nfile: {path: x}",
            [
                "r.yaml:3: limits: memory: unknown key, expected one of memory_mb, file_mb, "
                "processes, cpu_seconds, wall_seconds (did you mean memory_mb?)",
                "r.yaml:4: limits: file_mb: found 0, expected a whole number from 1 to 10000000",
                "r.yaml:5: fixed: account: unknown key, expected one of accounts, balance, nodes "
                "(did you mean accounts?)",
                "r.yaml:6: no text: expected path and text",
            ],
        ),
        ("start: a\ncluster: {nods: 3}", None),
        (
            "sets: []",
            ["r.yaml:1: sets: this is a test set, expected a description of replicas"],
        ),
    ],
)
def test_mistakes_have_their_place(text, told):
    found = problems(text)
    if told is None:
        assert found[0].startswith("r.yaml:2: nods: unknown key") and "nodes" in found[0]
    else:
        assert found == told


def test_a_command_is_words():
    assert description.read("python3 'my node.py' {name}").start == (
        "python3", "my node.py", "{name}",
    )  # fmt: skip
    with pytest.raises(HarnessError, match=r"^--replicas:1: start: .*no closing quotation"):
        description.read("python3 'x")
    with pytest.raises(HarnessError, match="no such file, expected a description"):
        description.read("nowhere.yaml")


def test_what_is_fixed_in_their_source_is_held_against_the_file():
    found = parsed("start: a\nfixed: {nodes: 3, accounts: A..C}")
    with pytest.raises(HarnessError) as caught:
        launch.settings({"nodes": 5}, {}, description=found)
    assert caught.value.problems == ("r.yaml:2: nodes: fixed at 3, the run needs 5 (--nodes)",)


def test_one_that_keeps_nothing_is_not_killed():
    found = parsed("start: a\nkeeps: nothing")
    with pytest.raises(HarnessError, match="a killed replica stays away, expected --failure"):
        launch.settings({"failure": "crash"}, {}, description=found)
    launch.settings({"failure": "crash"}, {}, description=parsed(
        "start: a\nkeeps: nothing\nrecovers: true"))  # fmt: skip
    with pytest.raises(HarnessError, match="or --replicas with it"):
        launch.settings({"failure": "asked"}, {})
