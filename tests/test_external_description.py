"""Descriptions of other people's replicas: what they mean, and every mistake with its place."""

import pytest
from external_runs import TINY

from harness.errors import HarnessError
from harness.external import description
from harness.external.placeholders import Addresses, Placeholders
from harness.files import testset
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
        ("- x", ["r.yaml:1: found a list, expected lines such as start: python3 node.py"]),
        ("start: ''", ['r.yaml:1: start: found "", expected a command such as python3 node.py']),
        (
            "start: a\nlinks: sdtio\nretries: 3",
            [
                'r.yaml:2: links: found "sdtio", expected stdio, template, namespaces or none '
                "(did you mean stdio?)",
                "r.yaml:3: retries: unknown key, expected one of name, build, start, links, "
                "speaks, folder, file, keeps, recovers, settle_ms, retry, shim, ports, clients, "
                "ready, cut, limits, fixed, cluster",
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
            "start: '\"\" x'\nbuild: make {name} {{number}} {data} {name}\nfixed: {balance: ten}",
            [
                'r.yaml:1: start: found """ x", expected a command such as python3 node.py',
                "r.yaml:2: build: {name} has no meaning in what is run once for all replicas, "
                "expected none",
                "r.yaml:2: build: {data} has no meaning in what is run once for all replicas, "
                "expected none",
                'r.yaml:3: fixed: balance: found "ten", expected a whole number from 0 to '
                "9223372036854775807",
            ],
        ),
        (
            'start: a\nfile: {path: "{data}/a\\0", text: "x\\ud800"}',
            [
                'r.yaml:2: file: path: found "{data}/a\\u0000", expected a path such as '
                '"{data}/config.json"',
                'r.yaml:2: file: text: found "x\\ud800", expected its text',
            ],
        ),
        (
            'start: "a \\0"',
            ['r.yaml:1: start: found "a \\u0000", expected a command such as python3 node.py'],
        ),
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


def test_a_command_may_end_in_the_name_of_a_yaml_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = description.read("node --config own.yaml")
    assert found.start == ("node", "--config", "own.yaml")
    (tmp_path / "their replicas.yaml").write_text("start: x")
    assert description.read("their replicas.yaml").start == ("x",)
    with pytest.raises(HarnessError, match=r"gone.yaml: no such file, expected a description"):
        description.read("gone.yaml")


@pytest.mark.parametrize(
    ("given", "found"),
    [("README.md", "a file, but no program and no YAML (.yaml, .yml)"), ("docs", "a folder")],
)
def test_a_file_that_is_no_description_is_told(given, found, monkeypatch):
    monkeypatch.chdir(TINY.parents[1])
    with pytest.raises(HarnessError) as caught:
        description.read(given)
    assert caught.value.problems == (
        f"--replicas: {given}: is {found}, expected a YAML file that describes replicas, or the "
        "command that starts one, such as python3 node.py",
    )


def test_what_is_fixed_in_their_source_is_held_against_the_file():
    found = parsed("start: a\nfixed: {nodes: 3, accounts: A..C}")
    with pytest.raises(HarnessError) as caught:
        launch.settings({"nodes": 5}, {}, description=found)
    assert caught.value.problems == ("r.yaml:2: nodes: fixed at 3, the run needs 5 (--nodes)",)


def test_one_that_does_not_recover_is_told_so():
    with pytest.raises(HarnessError, match=r"r.yaml: recovers: false, so that a killed replica st"):
        launch.settings({"failure": "crash"}, {}, description=parsed("start: a\nrecovers: false"))


def test_one_that_keeps_nothing_is_not_killed():
    found = parsed("start: a\nkeeps: nothing")
    with pytest.raises(HarnessError, match="a killed replica stays away, expected --failure"):
        launch.settings({"failure": "crash"}, {}, description=found)
    launch.settings({"failure": "crash"}, {}, description=parsed(
        "start: a\nkeeps: nothing\nrecovers: true"))  # fmt: skip
    with pytest.raises(HarnessError, match="or --replicas with it"):
        launch.settings({"failure": "asked"}, {})


SOCKETS = """\
start: bin/server --id {number} --port {port} --peers {peers} --n2 {address:n2} --to {clients}
links: template
shim: shim.py {peers} {address:n1} {clients}
clients: {port: 6000, dial: shim}
ready: {line: listening}
cut: reset
"""


def test_what_replicas_with_sockets_say():
    found = parsed(SOCKETS)
    assert found.links == "template" and found.clients == 6000 and found.cut == "reset"
    assert found.ready == description.Ready("listening") and found.shim[0] == "shim.py"
    assert not found.is_alone
    where = Addresses(7000, ("h:7000", "h:8002", "h:8003"), "h:9000")
    values = Placeholders(1, 3, TINY.parent, where)
    assert values.fill(" ".join(found.start)) == (
        "bin/server --id 1 --port 7000 --peers h:7000,h:8002,h:8003 --n2 h:8002 --to h:9000"
    )
    assert values.environment["PAXBANK_PEERS"] == "h:7000,h:8002,h:8003"
    ported = parsed("start: a\nlinks: none\nshim: b\nports: {n1: 1, n2: 2, n3: 3}")
    assert ported.is_alone and launch.settings({}, {}, description=ported).nodes == 3
    assert launch.settings({}, {}, description=ported).failure == "crash"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "start: a\nports: {n1: 1}\nready: {port: open}\nshim: x",
            [
                f"r.yaml:{line}: {key}: has no meaning with links: stdio, where every message "
                "passes the harness, expected links: template, namespaces or none"
                for line, key in ((2, "ports"), (3, "ready"), (4, "shim"))
            ],
        ),
        (
            "start: a\nlinks: namespaces\nspeaks: lin-kv",
            [
                "r.yaml:2: no shim: links: namespaces needs what asks them, such as shim: "
                "python3 shim.py",
                "r.yaml:2: no ports: links: namespaces needs those in their source, such as "
                "ports: {n1: 5001, n2: 5002}",
                "r.yaml:3: speaks: with links: namespaces the shim speaks for them, expected "
                "links: stdio",
            ],
        ),
        (
            "start: a\nlinks: template\nshim: b\nports: {n1: 1}",
            [
                "r.yaml:4: ports: with links: template each replica is told its port, expected "
                "links: namespaces for ports in their source"
            ],
        ),
        (
            "start: a {address}\nlinks: none\nshim: b {name}\nports: {n1: 7, n3: 7}\ncut: hold",
            [
                "r.yaml:1: start: {address}: expected a replica, as {address:n2}",
                "r.yaml:3: shim: unknown placeholder {name}, expected one of {nodes}, {peers}, "
                "{address}, {clients}",
                "r.yaml:4: ports: those of n1, n3, expected n1, n2",
                "r.yaml:5: cut: with links: none no link can be cut, expected links: template or "
                "namespaces",
            ],
        ),
        (
            "start: a\nlinks: none\nshim: b\nports: {n1: 7, n2: 8}\nclients: {port: 8, dial: shim}",
            ["r.yaml:5: clients: 8 is the port of n2, expected one of its own"],
        ),
        (
            "start: a {clients}\nlinks: template\nshim: b\nready: {port: open, seconds: 2}\n"
            "cut: wait",
            [
                "r.yaml:1: start: {clients} is the port of clients:, which is not there, expected "
                "both",
                "r.yaml:4: ready: found a mapping, expected {port: open}, "
                '{line: "a part of a line"} or {seconds: 2}',
                'r.yaml:5: cut: found "wait", expected hold or reset',
            ],
        ),
        (
            "start: a\nlinks: none\nshim: b\nports: {n1: 7, n2: 7, x: 3}\nclients: {port: 0}\n"
            "ready: {prot: open}",
            [
                "r.yaml:4: ports: x: no replica, expected n1, n2 and so on",
                "r.yaml:4: ports: one of them twice, expected a port of its own for each replica",
                "r.yaml:5: no dial: expected such as {port: 6000, dial: shim}",
                "r.yaml:5: clients: port: found 0, expected a whole number from 1 to 65535",
                "r.yaml:6: ready: prot: unknown key, expected one of port, line, seconds (did you "
                "mean port?)",
            ],
        ),
    ],
)
def test_mistakes_about_sockets_have_their_place(text, told):
    assert problems(text) == told


@pytest.mark.parametrize(
    ("text", "flags", "told"),
    [
        (
            "start: a\nlinks: none\nshim: b",
            {"failure": "disconnect"},
            "r.yaml: links: none: nothing of theirs passes the harness, which cannot disconnect a "
            "replica, expected --failure crash or pause",
        ),
        (
            "start: a\nlinks: namespaces\nshim: b\nports: {n1: 1, n2: 2, n3: 3}",
            {"nodes": 5},
            "r.yaml: ports: those of 3 replicas, the run needs 5 (--nodes)",
        ),
        (
            "start: a {address:n7}\nlinks: template\nshim: b",
            {"nodes": 5},
            "r.yaml: {address:n7}: the run has 5 replicas",
        ),
    ],
)
def test_runs_that_do_not_fit_them_are_refused(text, flags, told):
    with pytest.raises(HarnessError) as caught:
        launch.settings(flags, {}, description=parsed(text))
    assert caught.value.problems == (told,)


def test_steps_that_their_links_cannot_do_are_refused():
    steps = "cut n1->n2, delay n1->n2 3 ms, lose n1->n2 9 %, fail n1, heal"
    text = f"sets:\n- live: [n1, n2, n3]\n  steps:\n  - {steps.replace(', ', chr(10) + '  - ')}\n"

    def refused(links):
        described = parsed(f"start: a\nlinks: {links}\nshim: b")
        settings = launch.settings({"nodes": 3}, {}, description=described)
        file = testset.read_yaml(text.encode(), "x.yaml").cases(settings)
        with (
            pytest.raises(HarnessError) as caught,
            launch.cluster(settings, theirs=(described, file, None)),
        ):
            pass
        return [problem.partition(": links: ") for problem in caught.value.problems]

    (template,) = refused("template")
    assert template[0].startswith("x.yaml:6: lose n1->n2 9 %")
    assert template[2] == (
        "template: a stream of bytes cannot lose, expected cut or delay, or links: stdio"
    )
    direct = refused("none")
    assert [where.partition(": ")[0] for where, *_ in direct] == [
        f"x.yaml:{line}" for line in (4, 5, 6, 8)
    ]
    assert direct[0][2] == (
        "none: nothing of theirs passes the harness, which has no hand in links, expected crash "
        "or pause, or links: template or namespaces"
    )
