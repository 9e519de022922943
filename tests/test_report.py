"""The report of a run: whole after every set, read back by those it is written for."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import junitparser
import pytest
from processes import PATIENCE
from screen_fakes import CONFIG, TRACE, FakeCluster, FakeRunner, set_six, troubled

from harness import cli
from harness.check.verdict import Judgement, Verdict
from harness.cluster import wording
from harness.cluster.nemesis import Fail, FailLeader
from harness.errors import EXIT_MACHINE, HarnessError
from harness.files import history_file, testset
from harness.files.cases import (
    Balances,
    CaseFile,
    CaseSet,
    Command,
    Expected,
    Leader,
    Pending,
    Step,
)
from harness.files.config import ClusterConfig
from harness.report import gradescope, junit, writer
from harness.report.documents import NAMES, Folder
from harness.report.writer import NOT_OVER, Writer
from harness.run import points
from harness.run.runner import Runner
from harness.sim.world import SimCluster

ROOT = Path(__file__).parents[1]
ALL = frozenset(range(1, 6))


def pay(line, amount=3):
    return Step(line, f"(A, J, {amount})", Command("transfer", "A", "J", amount))


def file(first=(), at_end=(), set_points=(None, None)):
    """Set 1 pays and loses its leader, set 2 has no quorum; with expectations of set 1."""
    sets = (
        CaseSet(1, ALL, (pay(2), Step(3, "LF", FailLeader())), 2, first, set_points[0]),
        CaseSet(2, frozenset({1, 2}), (pay(5),), 5, (), set_points[1]),
    )
    return CaseFile("some.dir/x.yaml", sets, at_end=at_end)


RIGHT = Expected("some.dir/x.yaml:5", "balances", Balances({"A": 7}), 2)
WRONG = Expected("some.dir/x.yaml:6", "leader", Leader(frozenset({1})), 1.5)
LAST = Expected("some.dir/x.yaml:20", "pending", Pending(1), 0.5)


class Run:
    """A simulated run of a file, with its report."""

    def __init__(self, path, cases, sets=2, **settings):
        config = ClusterConfig(seed=1, **settings)
        self.path, self.cluster = path, SimCluster(config)
        self.writer = Writer(path, cases, config, "once", lambda path: f"again {path}")
        self.runner = Runner(self.cluster, config, cases, on_done=self.write)
        self.write()
        self.cluster.start()
        for _ in range(sets):
            self.runner.run_next()

    def write(self):
        self.writer.update(self.runner, self.cluster)

    def json(self, name):
        return json.loads((self.path / name).read_text("utf-8"))

    def lines(self):
        return [json.loads(line) for line in (self.path / "trace.jsonl").read_text().splitlines()]


# ---- JUnit -------------------------------------------------------------------------------------

# Elements, the attributes they may have, and what may be in them: Jenkins' junit-10.xsd.
ALLOWED = {
    "testsuites": ({"name", "time", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors", "group", "time", "skipped", "timestamp"}
        | {"hostname", "id", "package", "file", "log", "url"},
        {"testsuite", "properties", "testcase", "system-out", "system-err"},
    ),
    "properties": (set(), {"property"}),
    "property": ({"name", "value"}, set()),
    "testcase": (
        {"name", "time", "classname", "group"},
        {"skipped", "error", "failure", "system-out", "system-err"},
    ),
    **dict.fromkeys(("skipped", "error", "failure"), ({"type", "message"}, set())),
}
REQUIRED = {
    "testsuite": {"name", "tests", "failures", "errors"},
    "property": {"name", "value"},
    "testcase": {"name"},
}


def check_schema(element):
    attributes, children = ALLOWED[element.tag]
    assert set(element.attrib) <= attributes, (element.tag, element.attrib)
    assert set(element.attrib) >= REQUIRED.get(element.tag, set())
    for child in element:
        assert child.tag in children, f"{child.tag} in {element.tag}"
        check_schema(child)


def read_back(path):
    check_schema(ElementTree.parse(path).getroot())
    found = junitparser.JUnitXml.fromfile(str(path))
    names = [(case.classname, case.name) for suite in found for case in suite]
    assert len(set(names)) == len(names), "GitLab keeps one of a name and a class"
    counted = [len(list(suite)) for suite in found]
    assert [suite.tests for suite in found] == counted
    # A reader takes what it finds at the root for all there is, and `skipped` may not be there.
    assert not ElementTree.parse(path).getroot().attrib.keys() - {"name", "time"}
    passed = [suite.tests - suite.failures - suite.errors - suite.skipped for suite in found]
    assert passed == [sum(not case.result for case in suite) for suite in found]
    return found


def test_junit_has_a_case_for_each_check_expectation_and_step_that_came_to_nothing(tmp_path):
    Run(tmp_path, file((RIGHT, WRONG), (LAST,)))
    found = read_back(tmp_path / "junit.xml")
    first, second = found
    assert [suite.name for suite in found] == ["some_dir/x.set 1", "some_dir/x.set 2"]
    totals = [(suite.failures, suite.errors, suite.skipped) for suite in found]
    assert totals == [(1, 0, 0), (0, 0, 1)]
    checks = ["agreement", "conservation", "exactly_once", "linearizable", "progress"]
    assert [case.name for case in first] == [
        *checks, "expects balances (x.yaml:5)", "expects leader (x.yaml:6)"
    ]  # fmt: skip
    assert [case.name for case in second] == [
        *checks, "expects at the end pending (x.yaml:20)", "step 1 (A, J, 3)"
    ]  # fmt: skip
    properties = {p.name: p.value for p in first.properties()}
    assert properties["seed"] == "1" and properties["failure"] == "disconnect"
    assert first.time > 0 and [case.time > 0 for case in first] == [True, *[False] * 6]
    (skipped,) = list(second)[-1].result
    assert isinstance(skipped, junitparser.Skipped) and skipped.message.startswith("pending: no")


def test_a_failure_is_understood_without_the_code(tmp_path):
    Run(tmp_path, file((RIGHT, WRONG)))
    case = list(next(iter(read_back(tmp_path / "junit.xml"))))[-1]
    (failure,) = case.result
    assert isinstance(failure, junitparser.Failure)
    assert failure.message.startswith("expected leader n1, found n")
    lines = failure.text.splitlines()
    assert lines[0].startswith("some.dir/x.yaml:6: leader: expected leader n1, found n")
    assert any(line.split()[:3] == ["n1", "○", "disconnected"] for line in lines)
    assert any("Balance" in line for line in lines) and "\x1b" not in failure.text


def test_what_could_not_decide_is_an_error_and_what_was_not_run_is_skipped(tmp_path):
    sets = (CaseSet(12, ALL, (), 3), CaseSet(13, ALL, (), 9))
    path = tmp_path / "junit.xml"
    path.write_bytes(junit.run(CaseFile("x.csv", sets), CONFIG, [troubled()]))
    found = read_back(path)
    outcomes = {
        case.name: [type(r).__name__ for r in case.result] for suite in found for case in suite
    }
    assert outcomes["agreement"] == ["Failure"] and outcomes["linearizable"] == ["Error"]
    assert outcomes["conservation"] == [] and outcomes["set"] == ["Skipped"]


def test_a_set_that_is_as_it_should_be_is_not_drawn(monkeypatch):
    monkeypatch.setattr(junit, "screen", None)
    written = junit.run(CaseFile("x.csv", (CaseSet(6, ALL, (), 3),)), CONFIG, [set_six()])
    assert b'name="agreement"' in written


def test_no_text_breaks_the_xml(tmp_path):
    odd = Judgement("agreement", Verdict.INVALID, "\x00 \x1b[31m < & ]]> \ud800 ✗")
    report = set_six()
    report = type(report)(
        **{n: getattr(report, n) for n in report.__slots__} | {"judgements": (odd,)}
    )
    path = tmp_path / "junit.xml"
    path.write_bytes(junit.run(CaseFile("x\x07.csv", (CaseSet(6, ALL, (), 3),)), CONFIG, [report]))
    case = next(iter(next(iter(read_back(path)))))
    assert case.result[0].message == "\ufffd \ufffd[31m < & ]]> \ufffd ✗"


# ---- points and Gradescope ---------------------------------------------------------------------

VISIBILITY = {"enum": ["hidden", "after_due_date", "after_published", "visible"]}
FORMAT = {"enum": ["text", "html", "simple_format", "md", "ansi"]}
NUMBER, TEXT = {"type": "number", "minimum": 0}, {"type": "string"}
# https://gradescope-autograders.readthedocs.io/en/latest/specs/ ("Output format")
GRADESCOPE = {
    "type": "object",
    "additionalProperties": False,
    "anyOf": [{"required": ["score"]}, {"required": ["tests"]}],
    "properties": {
        "score": NUMBER,
        "execution_time": NUMBER,
        "output": TEXT,
        "output_format": FORMAT,
        "test_output_format": FORMAT,
        "test_name_format": FORMAT,
        "visibility": VISIBILITY,
        "stdout_visibility": VISIBILITY,
        "extra_data": {"type": "object"},
        "leaderboard": {"type": "array"},
        "tests": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "score": NUMBER,
                    "max_score": NUMBER,
                    "status": {"enum": ["passed", "failed"]},
                    "name": TEXT,
                    "name_format": FORMAT,
                    "number": TEXT,
                    "output": TEXT,
                    "output_format": FORMAT,
                    "tags": {"type": "array", "items": TEXT},
                    "visibility": VISIBILITY,
                    "extra_data": {"type": "object"},
                },
            },
        },
    },
}


def scores(document):
    jsonschema.validate(document, GRADESCOPE)
    assert document["score"] == pytest.approx(sum(t.get("score", 0) for t in document["tests"]))
    return document["score"], [
        (t["number"], t.get("score"), t.get("max_score"), t["status"]) for t in document["tests"]
    ]


def test_without_points_each_set_counts_one(tmp_path):
    run = Run(tmp_path, file())
    passed = [("1", 1, 1, "passed"), ("2", 1, 1, "passed")]
    assert scores(run.json("gradescope.json")) == (2, passed)
    assert (run.json("results.json")["points"], run.json("results.json")["points_of"]) == (2, 2)


def test_points_of_sets_and_expectations(tmp_path):
    run = Run(tmp_path, file((RIGHT, WRONG), (LAST,), (4, None)))
    found = run.json("gradescope.json")
    assert scores(found) == (
        2.5,
        [
            ("1", 0, 4, "failed"),
            ("1.1", 2, 2, "passed"),
            ("1.2", 0, 1.5, "failed"),
            ("2", None, None, "passed"),  # no points are given for it
            ("2.1", 0.5, 0.5, "passed"),
        ],
    )
    names = [test["name"] for test in found["tests"]]
    assert names[2] == "set 1: leader (x.yaml:6)" and names[4] == "the end: pending (x.yaml:20)"
    failed = found["tests"][2]["output"]
    assert failed.startswith("✗ some.dir/x.yaml:6: leader: expected leader n1, found n")
    assert "disconnected" in failed and "\x1b" not in failed
    assert run.json("results.json")["points_of"] == 8


def test_a_set_not_run_is_there_and_counts_nothing(tmp_path):
    document = gradescope.run(file((RIGHT,), (LAST,), (4, 1)), ClusterConfig(seed=3), [])
    score, tests = scores(document)
    assert score == 0 and {test[3] for test in tests} == {"failed"} and len(tests) == 4
    assert all(test["output"] == gradescope.NOT_RUN for test in document["tests"])
    assert "0 of 2 sets run" in document["output"] and "seed 3" in document["output"]


def test_a_set_that_nobody_could_judge_scores_nothing():
    report = set_six()
    unknown = (*report.judgements, Judgement("linearizable", Verdict.UNKNOWN, "too many"))
    report = type(report)(
        **{n: getattr(report, n) for n in report.__slots__} | {"judgements": unknown}
    )
    cases = CaseFile("x.csv", (CaseSet(6, ALL, (), 3),))
    assert points.total(points.items(cases, [set_six()])) == (1, 1)
    assert points.total(points.items(cases, [report])) == (0, 1)


# ---- the folder --------------------------------------------------------------------------------


def test_every_file_is_whole_before_the_first_set_and_after_each(tmp_path):
    run = Run(tmp_path / "new" / "report", file((WRONG,)), sets=0)
    for done, verdict in enumerate(("unknown", "invalid", "invalid")):
        assert sorted(p.name for p in run.path.iterdir()) == sorted(NAMES)
        found = run.json("results.json")
        assert (len(found["sets"]), found["sets_in_file"], found["verdict"]) == (done, 2, verdict)
        read_back(run.path / "junit.xml")
        scores(run.json("gradescope.json"))
        assert len(history_file.load(run.path / "history.jsonl").operations) == done
        assert {line["set"] for line in run.lines()} == set(range(1, done + 1))
        if done < 2:
            run.runner.run_next()


def leave_no_time(monkeypatch):
    """To write in."""
    monkeypatch.setattr(writer, "FREE_SECONDS", -1)
    monkeypatch.setattr(writer, "SHARE", 0)
    monkeypatch.setattr(writer, "PAGE_SHARE", -1)


@pytest.mark.parametrize(
    ("error", "why"), [(None, None), (KeyboardInterrupt(), "interrupted")], ids=["quit", "ctrl-c"]
)
def test_a_run_that_ends_tells_of_the_sets_that_nothing_was_written_after(
    tmp_path, monkeypatch, error, why
):
    run = Run(tmp_path, file(), sets=0)
    leave_no_time(monkeypatch)
    run.runner.run_next()
    left = run.json("results.json")
    assert (left["sets"], left["verdict"], left["ended"]) == ([], "unknown", NOT_OVER)
    run.writer.__exit__(None, error, None)
    told = run.json("results.json")
    assert (len(told["sets"]), told["ended"]) == (1, why)
    assert len(run.json("gradescope.json")["tests"]) == 2


def test_who_pauses_finds_all_of_it_written_and_so_does_who_waits_for_the_end(
    tmp_path, monkeypatch
):
    leave_no_time(monkeypatch)
    run = Run(tmp_path, file(), sets=1)
    assert not (tmp_path / "results.json").exists()
    run.writer.update(run.runner, run.cluster, pauses=True)
    assert len(run.json("results.json")["sets"]) == 1
    assert (run.path / "report.html").exists()
    run.runner.run_next()
    assert len(run.json("results.json")["sets"]) == 2 and run.json("results.json")["ended"] is None
    assert sorted(p.name for p in run.path.iterdir()) == sorted(NAMES)


def test_the_first_set_that_does_not_hold_is_written_at_once(tmp_path, monkeypatch):
    run = Run(tmp_path, file(), sets=0)
    leave_no_time(monkeypatch)
    monkeypatch.setattr(run.runner, "verdict", lambda: Verdict.INVALID)
    run.runner.run_next()
    assert len(run.json("results.json")["sets"]) == 1


def test_the_trace_has_every_message_that_the_cluster_kept_and_what_it_dropped(tmp_path):
    run = Run(tmp_path, file(), sets=1, trace_messages=2)
    lines = run.lines()
    for replica in range(1, 6):
        kept, dropped = run.cluster.traces().of_set(replica)
        found = [line for line in lines if line["replica"] == f"n{replica}"]
        assert dropped and found[0] == {"set": 1, "replica": f"n{replica}", "dropped": dropped}
        assert [line["at_us"] for line in found[1:]] == [line.at for line in kept]
    runner, cluster = FakeRunner([set_six()]), FakeCluster([set_six()])
    runner.history = []
    runner.run_next()
    Writer(tmp_path, CaseFile("x.csv", ()), CONFIG).update(runner, cluster)
    second = [line for line in run.lines() if line["replica"] == "n2"]
    labels = [wording.line(entry.event).label for entry in TRACE]
    assert [line["label"] for line in second] == labels
    assert second[-1] == {
        "set": 6, "replica": "n2", "at_us": 5_012_500, "direction": "out", "peer": "all",
        "label": "ACCEPT", "ballot": "(2, n2)", "slots": "16-17", "text": "(I, D, 2), (E, J, 2)",
    }  # fmt: skip


@pytest.mark.parametrize("unanswered", ["carry", "drop"])
def test_that_clients_forgot_requests_is_in_every_document(tmp_path, unanswered):
    sets = (CaseSet(1, frozenset({1}), (pay(2),), 2), CaseSet(2, ALL, (), 3))
    run = Run(tmp_path / "r", CaseFile("x.csv", sets), unanswered=unanswered)
    drops = unanswered == "drop"
    found = run.json("results.json")
    assert (found["unanswered"], found["forgotten"]) == (unanswered, int(drops))
    page = (run.path / "report.html").read_text("utf-8")
    assert ("<dt>unanswered</dt><dd>drop</dd>" in page) == drops
    assert ("0 answered, 1 forgotten, 0 pending" in page) == drops
    assert ('name="unanswered" value="drop"' in (run.path / "junit.xml").read_text()) == drops
    assert ("unanswered drop" in run.json("gradescope.json")["output"]) == drops


def test_what_is_poked_after_a_set_is_in_the_report_too(tmp_path):
    run = Run(tmp_path, file(), sets=1)
    before = len(run.lines())
    in_sets = run.runner.performance()
    run.runner.poke(Command("transfer", "B", "C", 1))
    with_poke = run.runner.performance()
    assert with_poke.answered == in_sets.answered + 1 and with_poke.seconds > in_sets.seconds
    traced = sum(len(run.cluster.traces().of_set(replica)[0]) for replica in range(1, 6))
    assert len(run.lines()) == traced > before
    assert len(history_file.load(tmp_path / "history.jsonl").operations) == 2
    (first,) = run.json("results.json")["sets"]
    assert [step["step"] for step in first["poked"]] == ["(B, C, 1)"]
    run.writer.write_now(None, run.runner, run.cluster)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert f"{with_poke.answered} answered, 0 pending" in page
    assert "(B, C, 1)" in page.partition('id="set-1"')[2]
    assert f"<code>again {tmp_path / 'poked.yaml'}</code>" in page


def test_what_was_poked_is_repeated_by_the_test_set_beside_the_report(tmp_path):
    run = Run(tmp_path, file(), sets=1)
    run.runner.poke(Fail(4))
    run.runner.poke(Command("transfer", "B", "C", 1))
    config = ClusterConfig(seed=1)
    repeated = testset.read(str(tmp_path / "poked.yaml")).cases(config)
    runner = Runner(SimCluster(config), config, repeated)
    runner._cluster.start()
    report = runner.run_next()
    assert [step.text for step in report.steps][-2:] == ["F(n4)", "(B, C, 1)"]
    assert report.steps[-1].outcome == "success"
    Run(tmp_path, file(), sets=1)
    assert not (tmp_path / "poked.yaml").exists(), "of a run without pokes"


def test_an_earlier_report_is_written_over_and_nothing_else_is(tmp_path):
    Run(tmp_path, file())
    Writer(tmp_path, file(), CONFIG)
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(HarnessError, match=r'holds "thesis\.tex", expected a folder for the'):
        Writer(tmp_path, file(), CONFIG)
    with pytest.raises(HarnessError, match="is a file, expected a folder for the report"):
        Writer(tmp_path / "thesis.tex", file(), CONFIG)
    with pytest.raises(HarnessError, match=r"\(Not a directory\), expected a folder for"):
        Writer(tmp_path / "thesis.tex" / "report", file(), CONFIG)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no folder that nobody can write to")
def test_a_folder_that_cannot_be_written_is_refused():
    with pytest.raises(HarnessError, match=r"/proc/report: .*, expected a folder for the report"):
        Writer(Path("/proc/report"), file(), CONFIG)


def test_a_file_is_replaced_in_one_step(tmp_path, monkeypatch):
    run = Run(tmp_path, file(), sets=1)
    before = {name: (tmp_path / name).read_bytes() for name in NAMES}
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", lambda source, to: None)  # killed just before it
        run.runner.run_next()
    assert {name: (tmp_path / name).read_bytes() for name in NAMES} == before
    Writer(tmp_path, file(), CONFIG)  # what was left unfinished is no stranger


def test_a_disk_that_fails_later_is_the_machine(tmp_path):
    run = Run(tmp_path / "report", file(), sets=0)
    for name in run.path.iterdir():
        name.unlink()
    run.path.rmdir()
    with pytest.raises(HarnessError, match="the report cannot be written") as told:
        run.runner.run_next()
    assert told.value.exit_code == EXIT_MACHINE


# ---- the command -------------------------------------------------------------------------------

TWO = '1,"(A, J, 3)","[n1, n2, n3]"\n2,"(A, J, 3)","[n1, n2, n3]"\n3,"(A, J, 3)",[n1]\n'


def command(tmp_path, *flags, text=TWO):
    case = tmp_path / "three.csv"
    case.write_text(text)
    report = tmp_path / "report"
    run = [sys.executable, str(ROOT / "run.py"), str(case), "--nodes", "3", "--report", str(report)]
    return [*run, *flags], report


@pytest.mark.parametrize(
    ("flags", "typed", "sets"),
    [(["--no-step"], "", 3), (["--format", "json"], "", 3), ([], "next\nsend A B 1\nquit\n", 2)],
    ids=["no-step", "json", "stepping"],
)
def test_reports_of_simulated_runs(tmp_path, flags, typed, sets):
    line, report = command(tmp_path, "--sim", "--seed", "4", *flags)
    done = subprocess.run(line, input=typed, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads((report / "results.json").read_text())
    assert len(found["sets"]) == sets and found["verdict"] == "valid"
    if "json" in flags:
        assert json.loads(done.stdout) | {"timing": None} == found  # it is not over yet
    read_back(report / "junit.xml")
    judged = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), "check", str(report / "history.jsonl")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert judged.returncode == 0, judged.stdout + judged.stderr
    assert "3 operations" in judged.stdout  # stepping: two, and one that was typed


def test_a_disk_that_is_full_during_the_run_does_not_swallow_its_verdict(
    tmp_path, monkeypatch, capsys
):
    """It is the machine's trouble, unless a check does not hold."""
    text, codes = '1,"(A, B, 1)","[n1, n2, n3]"\n2,(A),"[n1, n2, n3]"\n', []
    write = Folder.write
    for key in ("", "expected: {2: {balances: {A: 8}}}\n"):
        (line, report), writes = command(tmp_path, "--sim", "--no-step", text=text), []

        def fill(self, name, data, writes=writes):
            writes.append(name)
            if len(writes) > len(NAMES):
                raise OSError(28, "No space left on device")
            write(self, name, data)

        monkeypatch.setattr(Folder, "write", fill)
        if key:
            (tmp_path / "three.expected.yaml").write_text(key)
        codes.append(cli.main(line[2:]))
        out, err = capsys.readouterr()
        assert ("invalid: " if key else "valid: every check holds over 2 sets") in out
        assert err == f"{report}: the report cannot be written (No space left on device)\n"
    assert codes == [4, 1]


def test_a_cluster_that_does_not_end_does_not_swallow_its_verdict(tmp_path, monkeypatch, capsys):
    def survive(_):
        raise HarnessError("process 7 survives SIGKILL", exit_code=EXIT_MACHINE)

    monkeypatch.setattr(SimCluster, "stop", survive)
    line, _ = command(tmp_path, "--sim", "--no-step", text='1,(A),"[n1, n2, n3]"\n')
    assert cli.main(line[2:]) == 4
    out, err = capsys.readouterr()
    assert "valid: every check holds" in out and err == "process 7 survives SIGKILL\n"


def test_a_bad_folder_starts_nothing(tmp_path):
    line, report = command(tmp_path, "--no-step")
    report.write_text("")
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == f"{report}: is a file, expected a folder for the report\n"


@pytest.mark.parametrize(
    ("number", "done"),
    [(signal.SIGKILL, 2), (signal.SIGINT, 2), (signal.SIGKILL, 0)],
    ids=["killed", "ctrl-c", "killed early"],
)
def test_a_run_that_is_killed_leaves_what_it_had(tmp_path, number, done):
    (tmp_path / "patient.yaml").write_text("patience_ms: 60000\n")  # [n1] alone decides nothing
    text = "\n".join(TWO.splitlines()[2 - done :])
    flags = ["--no-step", "--config", str(tmp_path / "patient.yaml")]
    line, report = command(tmp_path, *flags, text=text)
    process = subprocess.Popen(
        line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        while not has_scored(report / "gradescope.json", done):
            assert process.poll() is None
            time.sleep(0.01)
        os.kill(process.pid, number)
        process.wait(PATIENCE)
    finally:
        process.kill()
    document = json.loads((report / "gradescope.json").read_text())
    score, tests = scores(document)
    assert score == done and tests[-1] == (str(len(tests)), 0, 1, "failed")
    why = "interrupted" if number == signal.SIGINT else NOT_OVER
    assert document["tests"][-1]["output"] == f"{gradescope.NOT_RUN}\n{why}"
    results = json.loads((report / "results.json").read_text())
    assert (results["verdict"], results["ended"]) == ("unknown", why)
    read_back(report / "junit.xml")
    history_file.load(report / "history.jsonl")


def has_scored(path, score):
    is_whole = (path.parent / "history.jsonl").exists()  # it is written after that
    return is_whole and json.loads(path.read_text())["score"] >= score


def test_a_report_is_written_when_asked_with_all_that_happened_before(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = Run(None, file())
    assert list(tmp_path.iterdir()) == []
    folder = run.writer.write_now(None, run.runner, run.cluster)
    assert {path.name for path in (tmp_path / folder).iterdir()} == set(NAMES)
    run.path = folder
    assert {line["set"] for line in run.lines()} == {1, 2}
    elsewhere = run.writer.write_now(Path("a", "b"), run.runner, run.cluster)
    assert (tmp_path / elsewhere / "trace.jsonl").read_text() == (
        folder / "trace.jsonl"
    ).read_text()
    Path("c").mkdir()
    Path("c", "thesis.tex").touch()
    with pytest.raises(HarnessError, match=r"c: holds .thesis.tex."):
        run.writer.write_now(Path("c"), run.runner, run.cluster)


def test_asked_without_a_name_the_report_is_the_one_that_is_written_anyway(tmp_path):
    run = Run(tmp_path, file(), sets=1)
    (tmp_path / "report.html").unlink()
    assert run.writer.write_now(None, run.runner, run.cluster) == tmp_path
    assert "report.html" in {path.name for path in tmp_path.iterdir()}
