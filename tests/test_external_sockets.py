"""Programs with sockets of their own, in each of their ways in: the example bank over TCP."""

import argparse
import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from external_runs import ALL, run, run_yaml
from processes import commands_with, wait_for

from harness.bench import streams
from harness.check.verdict import Verdict
from harness.cluster.journal import Relayed
from harness.commands import torture
from harness.errors import EXIT_USAGE, HarnessError
from harness.external import description, gate, grounds
from harness.run import launch

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "docs" / "examples"
PATIENT = {"client_timeout_ms": 300, "patience_ms": 1000, "progress_ms": 8000}
FAILS = [("(A, B, 1); LF; (B, C, 2)", ALL), ("(C, A, 3); (A)", ALL)]
HAS_NAMESPACES = sys.platform.startswith("linux") and not subprocess.run(
    [sys.executable, "-c", "import gate; gate._own_users()"], cwd=Path(gate.__file__).parent,
    capture_output=True,
).returncode  # fmt: skip
BLOCK = grounds.Block()
FIXED_PORTS = ("namespaces", "none")  # ways in which they stand in the programs
namespaces = pytest.mark.skipif(not HAS_NAMESPACES, reason="this machine has no namespaces for us")


def bank(links, **more):
    """The example bank in this way, with three replicas."""
    name = "tcp_bank" if links in FIXED_PORTS else "tcp_bank_told"
    found = description.read(str(EXAMPLES / f"{name}.yaml"))
    words = [
        (sys.executable if w == "python3" else w for w in ws) for ws in (found.start, found.shim)
    ]
    start, shim = map(tuple, words)
    ports = {name: port for name, port in found.ports.items() if name <= "n3"}
    if links == "none":  # tests may run beside one another
        ports = {name: BLOCK.take() for name in ports}
    if links in FIXED_PORTS:
        start = (*start, ",".join(f"127.0.0.1:{port}" for port in ports.values()))
    return dataclasses.replace(found, start=start, shim=shim, ports=ports, links=links, **more)


@pytest.mark.parametrize(
    ("links", "failure"),
    [
        ("template", "disconnect"),
        ("template", "crash"),
        ("template", "pause"),
        pytest.param("namespaces", "disconnect", marks=namespaces),
        pytest.param("namespaces", "crash", marks=namespaces),
        ("none", "crash"),
    ],
)
def test_the_bank_over_tcp_holds(links, failure):
    runner, cluster = run(bank(links), FAILS, failure, **PATIENT)
    assert runner.verdict() is Verdict.VALID, [r.judgements for r in runner.reports]
    assert [step.outcome for step in runner.reports[1].steps] == ["success", "success"]
    assert cluster.faults.leaders == 1
    views = runner.reports[1].views
    assert len({tuple(view.status.balances.items()) for view in views}) == 1


@pytest.mark.parametrize("links", ["template", pytest.param("namespaces", marks=namespaces)])
def test_whoever_is_cut_off_cannot_answer(links):
    steps = '"(A, B, 1)", "cut n1<->n2,n3", "(B, C, 2)", heal, "cut n2<->n1,n3", "(C, D, 3)", heal'
    report, traces = run_yaml(bank(links), steps, **PATIENT)
    wrong = [j for j in report.judgements if j.verdict is Verdict.INVALID]
    assert not wrong and {step.outcome for step in report.steps} == {"success", "done"}
    told = [entry.event for entry in traces.of_set(2)[0] if isinstance(entry.event, Relayed)]
    assert any('"bytes"' in event.plain[1] for event in told)
    ways = {entry.way.value for entry in traces.of_set(2)[0] if entry.way is not None}
    assert "held" in ways, "what was cut waits"


@pytest.mark.parametrize(
    ("links", "words"),
    [
        ("template", "{port} {clients}"),
        ("none", "{port} {clients}"),
        pytest.param("namespaces", "{port}", marks=namespaces),
    ],
)
def test_clients_are_answered_by_a_port_that_replicas_dial(links, words):
    """The port is in the source of a program in a namespace, and told to the others."""
    program = f"{sys.executable} -S -E {Path(__file__).parent / 'tiny_dialler.py'}"
    text = f"start: {program} replica {words}\nlinks: {links}\nshim: {program} shim\n"
    text += "clients: {port: 6000, dial: shim}\nsettle_ms: 0\n"
    text += "ports: {n1: 7201, n2: 7202, n3: 7203}\n" if links == "namespaces" else ""
    described = description.parse(text.encode(), "their.yaml", ROOT)
    runner, _ = run(described, [("(A, B, 1); (A, B, 2)", ALL)], "pause", **PATIENT)
    assert [step.outcome for step in runner.reports[0].steps] == ["success", "success"]
    assert not runner.reports[0].remarks


def test_what_a_relay_adds_is_measured():
    relayed, direct, ratio = streams.round_trips(0.05, 1)
    assert relayed > direct > 0 and ratio > 1


@pytest.mark.parametrize("modes", ["links", "disconnect"])
def test_torture_does_to_them_what_their_links_can_do(modes):
    described = description.parse(b"start: a\nlinks: none\nshim: b", "their.yaml", ROOT)
    assert launch.link_faults(described) == ()
    told = dataclasses.replace(described, links="template")
    assert launch.link_faults(told) == ("cut", "delay")
    options = argparse.Namespace(modes=modes)
    with pytest.raises(HarnessError, match=rf"--modes: {modes}: with links: none nothing passes"):
        torture._modes_of_others(options, [modes], described)
    assert torture._modes_of_others(options, [modes], told) == [modes]


@pytest.mark.parametrize(("many", "joined"), [("1", "3 net\n"), ("2", "4 users\n3 net\n")])
def test_a_descriptor_that_happens_to_be_open_is_no_namespace(many, joined):
    """On newer systems `import ctypes` leaves one open, of its own library."""
    code = """if True:
        import os, sys
        from types import SimpleNamespace
        from harness.external import gate
        names = {gate.CLONE_NEWNET: "net", gate.CLONE_NEWUSER: "users"}
        def setns(descriptor, kind):
            os.write(1, f"{descriptor} {names[kind]}\\n".encode())
            return 0
        gate._libc = lambda: SimpleNamespace(setns=setns)
        os.dup2(0, 3), os.dup2(0, 4)
        gate.enter(int(sys.argv[1]), [sys.executable, "-S", "-c", ""])
    """
    done = subprocess.run([sys.executable, "-c", code, many], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (joined, "")
    code = code.replace("return 0", "return -1")
    done = subprocess.run([sys.executable, "-c", code, many], capture_output=True, text=True)
    assert done.returncode == 127 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("its namespace cannot be joined (setns: ")


@namespaces
def test_two_clusters_with_the_same_ports_do_not_meet():
    with socket.socket() as taken:
        with contextlib.suppress(OSError):  # it is another's already
            taken.bind(("127.0.0.1", 7101))
            taken.listen()
        runner, _ = run(bank("namespaces"), [("(A, B, 1)", ALL)], **PATIENT)
    assert runner.verdict() is Verdict.VALID


def test_without_links_a_port_that_is_taken_is_told():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        described = bank("none")
        taken = dataclasses.replace(described, ports={**described.ports, "n2": port})
        told = f"port {port} of n2 is taken by another program, expected"
        with pytest.raises(HarnessError, match=told):
            run(taken, [("(A, B, 1)", ALL)], "pause", **PATIENT)


@namespaces
def test_a_machine_without_namespaces_is_refused_with_the_alternative(monkeypatch, tmp_path):
    broken = tmp_path / "gate.py"
    text = Path(gate.__file__).read_text()
    broken.write_text(text.replace("0x40000000", "0x7").replace("0x10000000", "0x3"))
    monkeypatch.setattr(gate, "__file__", str(broken))
    with pytest.raises(HarnessError) as caught:
        run(bank("namespaces"), [("(A, B, 1)", ALL)], **PATIENT)
    assert caught.value.exit_code == EXIT_USAGE
    (told,) = caught.value.problems
    assert "links: namespaces: this machine has none for us (unshare: " in told
    assert told.endswith("or links: template, where peers can be told, or links: none")


def test_a_system_without_namespaces_is_refused_before_anything(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(
        HarnessError, match=r"has none for us \(it is darwin\), expected Linux with"
    ):
        grounds.Namespaces(bank("namespaces"), 3)


def test_nothing_is_left_after_a_kill_of_the_harness(tmp_path):
    mark = f"--mark={tmp_path.name}-{os.getpid()}"
    links = "namespaces" if HAS_NAMESPACES else "template"
    ports = "{n1: 7101, n2: 7102, n3: 7103}"
    lines = [
        f"start: {sys.executable} -S -E {EXAMPLES / 'tcp_bank.py'} {{number}} {{peers}} {mark}",
        f"shim: {sys.executable} -S -E {EXAMPLES / 'tcp_shim.py'} {mark}",
        f"links: {links}\nports: {ports}"
        if HAS_NAMESPACES
        else "links: template\nfixed: {nodes: 3}",
    ]
    path = tmp_path / "their.yaml"
    path.write_text("\n".join(lines))
    case = tmp_path / "long.yaml"
    case.write_text('sets:\n- live: [n1, n2, n3]\n  steps: ["(A, B, 1)", wait 30000 ms]\n')
    words = [sys.executable, "run.py", str(case), "--no-step", "--replicas", str(path)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL) as harness:
        assert wait_for(lambda: len(commands_with(mark)) >= 4), f"{links}: they do not start"
        harness.send_signal(signal.SIGKILL)
    assert wait_for(lambda: not commands_with(mark)), commands_with(mark)


@pytest.mark.long
@pytest.mark.parametrize("failure", ["disconnect", "crash", "pause"])
@pytest.mark.parametrize("links", ["template", pytest.param("namespaces", marks=namespaces)])
def test_the_bank_over_tcp_holds_in_whole_files(links, failure):
    name = "tcp_bank" if links == "namespaces" else "tcp_bank_told"
    words = ["testsets/several_leader_failures.csv", "--no-step", "--failure", failure]
    words += ["--replicas", str(EXAMPLES / f"{name}.yaml")]
    done = subprocess.run([sys.executable, "run.py", *words], cwd=ROOT, capture_output=True)
    assert done.returncode == 0, done.stdout.decode()[-3000:]
