"""What other people's replicas do wrong, one tiny replica each: it is told, and nothing suffers."""

import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from external_runs import ALL, TINY, UNANSWERED_MS, outcomes, run, tiny, trouble
from processes import living, wait_for

from harness.check.verdict import Verdict
from harness.cluster import wording
from harness.cluster.journal import Liveness, Relayed, Way
from harness.errors import EXIT_USAGE, HarnessError
from harness.external import description, fleet, lines, told
from harness.files import testset
from harness.run import launch
from harness.run.runner import Runner

ONE = [("(A, J, 3)", ALL)]


def remarks(*words, rows=ONE, **more):
    """What is remarked of a run that is valid all the same."""
    runner, _ = run(tiny(*words, **more), rows)
    assert runner.verdict() is Verdict.VALID, [r.judgements for r in runner.reports]
    assert outcomes(runner.reports[0])[0] == "success"
    return [remark for report in runner.reports for remark in report.remarks]


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("garbage", "what is no message: starting up …: is this meant for standard error?"),
        ("number", "what is no message: 42: is this meant for standard error?"),
        ("braces", "an object that is no message: {}: expected src, dest, and a body with a type"),
    ],
)
def test_what_is_no_message_is_shown_once(argument, told):
    found = remarks("garbage", argument)
    assert sorted(found) == [f"n{number} prints {told}" for number in (1, 2, 3)]


def test_two_objects_on_a_line_are_read():
    found = sorted(remarks("two-on-a-line"))
    assert [text.split(":")[0] for text in found] == [
        "n2 prints two objects on one line", "n2 prints what is no message",
        "n3 prints two objects on one line", "n3 prints what is no message",
    ]  # fmt: skip
    assert found[0].endswith("write each with its newline in one call")


def test_objects_without_their_newline_are_read():
    found = remarks("no-newline", rows=[("(A, J, 3); (B, J, 3)", ALL), ("(C, J, 1)", ALL)])
    assert any("n1 prints an object without its newline" in text for text in found)


@pytest.mark.parametrize("end", ["\\r", " \\t"])
def test_what_ends_in_a_blank_is_read_without_its_newline(end):
    found = remarks("no-newline", f"'{end}'")
    assert any("n1 prints an object without its newline" in text for text in found)


def test_one_that_does_not_start_is_shown_with_what_it_wrote_instead():
    with pytest.raises(HarnessError) as caught:
        run(tiny("several-lines"), ONE)
    several, no_message = caught.value.problems[1:]
    assert several == (
        "    n1 prints a message over several lines, the first is {: write each on one line"
    )
    assert no_message.startswith('    n1 prints what is no message: "src": "n1",: is this meant')


def test_a_wrong_sender_and_an_unknown_reader_are_dropped():
    found = remarks("wrong-name")
    starts = [text.split(":")[0] for text in found]
    assert starts == [
        "n2 sends in another's name", "n2 sends to somebody who is not there",
        "n2 answers what nobody asked it",
    ]  # fmt: skip


def test_what_is_told_in_no_form_is_said_once_each():
    """By rows of the set, in `lint` and in the report alike: all ask the cluster for remarks."""
    found = sorted(one for one in remarks("misformed") if one.startswith("n2"))
    assert [one.partition(": taken")[0].partition(" in a form")[0] for one in found] == [
        f"n2 tells {word}" for word in ("balances", "ballot", "executed", "role")
    ]
    assert "{'A': 'ten'}" in found[0]
    assert "expected leader, candidate or backup" in found[3]


def test_a_log_in_no_form_is_said():
    described = dataclasses.replace(tiny("misformed-log"), require=("views",))
    runner, _ = run(described, ONE)
    found = [one for report in runner.reports for one in report.remarks if one.startswith("n2")]
    assert [one.partition(":")[0] for one in found] == [
        "n2 tells entries of its log in a form that nobody reads",
        "n2 tells views in a form that nobody reads",
    ]


@pytest.mark.parametrize("kind", ["transfer_ok", "state_ok"])
def test_a_number_that_is_text_answers_nothing(kind):
    runner, _ = run(tiny("text", kind), ONE, progress_ms=UNANSWERED_MS)
    found = [one for report in runner.reports for one in report.remarks]
    assert any("an in_reply_to that is text: dropped: " in one for one in found), found


def test_two_that_lead_in_one_ballot_are_a_finding():
    runner, _ = run(tiny("two-leaders"), ONE)
    assert runner.verdict() is Verdict.INVALID
    reasons = " ".join(j.reason for j in runner.reports[0].judgements)
    assert "both say that they lead in (1, n1)" in reasons


def test_a_request_may_be_passed_on_in_the_name_of_its_client():
    """As the protocol's own network lets them; who was not given the request may not answer it."""
    rows = [("(A, J, 3)", ALL), ("(A, J, 1); (B, J, 2)", ALL)]
    runner, _ = run(tiny("passes-on"), rows)
    assert runner.verdict() is Verdict.VALID
    assert [outcomes(report) for report in runner.reports] == [["success"], ["success"] * 2]
    assert not any(report.remarks for report in runner.reports)
    lines = [what.plain[1] for _, what in runner.traces.of_set(2)[0] if isinstance(what, Relayed)]
    assert any('"src": "c' in line and '"dest": "n1"' in line for line in lines)


def test_the_first_of_two_answers_counts():
    found = remarks("twice")
    assert [text.split(":")[0] for text in found] == ["n1 answers twice"]


def test_a_message_that_is_too_large_is_dropped():
    found = remarks("large")
    assert [text.split(":")[0] for text in found] == ["n2 sends a message above 1 MiB"]


def test_what_is_nested_too_deeply_is_dropped():
    """Read just so, it is too deep to be written by somebody who is called from further away."""
    told = "n2 sends a message that is nested too deeply", "n2 prints what is no message"
    assert all(text.startswith(told) for text in remarks("deep"))  # how deep, Pythons differ


def test_a_flooded_reader_loses_messages_and_nobody_waits():
    found = remarks("flood")
    assert found[0].startswith("n3 does not read what waits for it: messages dropped (")


def test_an_endless_writer_hinders_nobody():
    found = remarks("endless", limits="{file_mb: 64}")
    assert "n2 prints what is no message: y" in found[0]


def test_one_that_ends_at_its_start_is_shown_with_its_last_lines():
    with pytest.raises(HarnessError) as caught:
        run(tiny("ends", "init"), ONE)
    assert caught.value.exit_code == EXIT_USAGE
    assert caught.value.problems == (
        "their.yaml: n2 does not start: its process ended by itself (exit code 3)",
        "    no configuration",
        "    Traceback: gone",
    )


def test_one_that_ends_in_a_set_is_stopped_and_starts_again_with_the_next():
    rows = [("(A, J, 3)", ALL), ("", ALL)]
    runner, _ = run(tiny("ends", "request"), rows)
    first, second = runner.reports
    stopped = [v for v in first.views if v.liveness is Liveness.STOPPED]
    assert stopped and runner.verdict() is Verdict.INVALID
    assert stopped[0].trouble == "its process ended by itself (exit code 3)"
    assert any("boom: a request" in remark for remark in first.remarks)
    assert {v.liveness for v in second.views} <= {Liveness.LIVE, Liveness.STOPPED}


def test_an_error_to_init_is_shown():
    with pytest.raises(HarnessError) as caught:
        run(tiny("refuses-init"), ONE)
    assert caught.value.exit_code == EXIT_USAGE
    told = "their.yaml: n1 does not start: answers init with error 13: no licence"
    assert caught.value.problems[0] == told


def test_one_that_closes_its_output_is_stopped(monkeypatch):
    monkeypatch.setattr(fleet, "SILENT_SECONDS", 0.1)
    assert trouble(tiny("closes")) == "closes its standard output"


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("./nowhere", "./nowhere is not there"),
        ("/etc/hostname", "/etc/hostname is no executable"),
        ("conftest.py", r"conftest.py is not on the PATH, expected ./conftest.py for the file in"),
    ],
)
def test_what_cannot_be_started_is_told(command, why):
    described = description.parse(f"start: {command}".encode(), "their.yaml", TINY.parent)
    with pytest.raises(HarnessError, match=f"n1 does not start: {why}"):
        run(described, ONE)


@pytest.mark.parametrize("where", ["{0}/theirs", "../theirs", "{{data}}/../../../theirs"])
def test_a_file_is_written_in_their_folders_alone(tmp_path, where):
    theirs, folder = tmp_path / "theirs", tmp_path / "folder"
    theirs.write_text("precious")
    folder.mkdir()
    text = f"start: x\nfile: {{path: '{where.format(tmp_path)}', text: gone}}"
    described = description.parse(text.encode(), "their.yaml", folder)
    with pytest.raises(
        HarnessError, match=r"their.yaml: file: .*theirs is elsewhere, expected"
    ) as e:
        run(described, ONE)
    assert e.value.exit_code == EXIT_USAGE and theirs.read_text() == "precious"


def test_a_working_folder_that_is_not_there_is_told(tmp_path):
    described = description.parse(b"start: sh x\nfolder: nowhere", "their.yaml", tmp_path)
    with pytest.raises(HarnessError, match=r"their.yaml: folder: .*nowhere is not there"):
        run(described, ONE)
    (tmp_path / "nowhere").write_text("")
    with pytest.raises(HarnessError, match=r"their.yaml: folder: .*nowhere is no folder"):
        run(described, ONE)


def test_a_working_folder_is_below_that_of_the_description(tmp_path):
    (tmp_path / "here").mkdir()
    text = f"start: {sys.executable} -S -E {TINY}\nfolder: here\nsettle_ms: 50"
    runner, _ = run(description.parse(text.encode(), "their.yaml", tmp_path), ONE)
    assert runner.verdict() is Verdict.VALID


def test_what_does_not_build_is_told_with_its_output():
    described = tiny(build="\"sh -c 'echo no such compiler; exit 4'\"")
    with pytest.raises(HarnessError) as caught:
        run(described, ONE)
    assert caught.value.problems[0].endswith("does not build: the command ends with exit code 4")
    assert caught.value.problems[1:] == ("    no such compiler",)


@pytest.mark.parametrize(
    ("what", "limit", "told"),
    [
        ("memory", "{memory_mb: 100}", "MB of memory, expected at most 100"),
        ("files", "{file_mb: 20}", "MB of files, expected at most 20"),
        ("processes", "{processes: 9}", "processes, expected at most 9"),
    ],
)
def test_a_limit_that_is_passed_is_told(what, limit, told):
    found = trouble(tiny("eats", what, limits=limit))
    assert found.startswith("takes more than its limits: ") and found.endswith(told)


def test_a_refused_request_is_a_finding():
    runner, _ = run(tiny("refuses"), ONE)
    assert outcomes(runner.reports[0]) == ["refused"]
    assert runner.verdict() is Verdict.INVALID
    reasons = " ".join(j.reason for j in runner.reports[0].judgements)
    assert "n1 answers error 12: what is that?" in reasons


def all_started(pids):
    """The process ids in this file, once there are those of three replicas."""
    assert wait_for(lambda: len(pids.read_text().split()) == 6)
    return [int(word) for word in pids.read_text().split()]


def test_nothing_that_was_started_outlives_a_run(tmp_path):
    pids = tmp_path / "pids"
    run(tiny("forks", str(pids)), ONE, "crash", on_set=lambda report: all_started(pids))
    started = all_started(pids)
    assert len(started) == 6
    assert living(started) == []


@pytest.mark.parametrize("victim", ["warden", "keeper"])
def test_one_that_kills_its_parents_is_stopped_and_nothing_is_left(tmp_path, victim):
    pids = tmp_path / f"{victim}-pids"
    assert trouble(tiny("kills", str(pids))) == "its warden was killed, and its processes with it"
    started = [int(word) for word in pids.read_text().split()]
    assert started and wait_for(lambda: not living(started))


def test_a_pause_is_of_all_that_a_replica_started(tmp_path):
    pids, seen = tmp_path / "pids", []

    def look(report):
        stats = [Path(f"/proc/{pid}/stat").read_text() for pid in all_started(pids)]
        states = [stat.rpartition(")")[2].split()[0] for stat in stats]
        seen.append(states.count("T"))

    rows = [("(A, J, 3)", ALL), ("(A, J, 3)", "n1, n2"), ("(A, J, 3)", ALL)]
    run(tiny("forks", str(pids)), rows, "pause", on_set=look)
    assert seen == [0, 2, 0]


def test_what_a_replica_is_given(tmp_path, monkeypatch):
    monkeypatch.setenv("ANSWER_KEY", "/secret")
    script = tmp_path / "start.sh"
    script.write_text(f"pwd >&2\nenv >&2\ncat c.json >&2\nexec {sys.executable} -S -E {TINY}\n")
    text = f"""
start: sh {script} {{number}}
folder: "{{data}}"
file: {{path: "{{data}}/c.json", text: '{{"me": "{{name}}", "all": "{{nodes}}"}}'}}
settle_ms: 0
"""
    described = description.parse(text.encode(), "their.yaml", tmp_path)
    settings = launch.settings({"nodes": 3, "seed": 1}, {}, description=described)
    file = testset.parse_csv(b'1,"(A, J, 3)","[n1, n2, n3]"\n', "x.csv", settings)
    logs = tmp_path / "logs"
    logs.mkdir()
    with launch.cluster(settings, theirs=(described, file, logs)) as cluster:
        cluster.start()
        assert Runner(cluster, settings, file).run_next().steps[0].outcome == "success"
    said = (logs / "n2.log").read_text().splitlines()
    assert said[0].endswith("/n2") and said[-1] == '{"me": "n2", "all": "n1,n2,n3"}'
    given = dict(line.partition("=")[::2] for line in said[1:-1])
    assert given["PAXBANK_NAME"] == "n2" and given["PAXBANK_DATA"] == said[0]
    assert "PATH" in given and "ANSWER_KEY" not in given


def test_a_kill_is_of_all_that_a_replica_started(tmp_path):
    pids = tmp_path / "pids"
    seen = []
    rows = [("(A, J, 3)", ALL), ("(A, J, 3)", "n1, n2")]

    def look(report):
        seen.append(len(living(all_started(pids))))

    run(tiny("forks", str(pids)), rows, "crash", on_set=look)
    assert seen == [6, 4]


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks at /proc")
def test_nothing_outlives_a_sigkill_of_the_harness(tmp_path):
    pids, file = tmp_path / "pids", tmp_path / "x.yaml"
    file.write_text("cluster: {nodes: 3}\nsets:\n- live: [n1, n2, n3]\n  steps: [wait 60000 ms]\n")
    start = f"{sys.executable} -S -E {TINY} forks {pids}"
    words = [sys.executable, "run.py", str(file), "--no-step", "--replicas", start]
    harness = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert wait_for(lambda: pids.exists() or harness.poll() is not None)
    assert harness.poll() is None, harness.stderr.read()
    started = all_started(pids)
    assert len(living(started)) == 6
    os.kill(harness.pid, signal.SIGKILL)
    harness.wait()
    harness.stderr.close()
    assert wait_for(lambda: not living(started)), living(started)


def test_two_results_of_one_transfer_are_a_finding():
    runner, _ = run(tiny("contradicts"), ONE)
    assert runner.verdict() is Verdict.INVALID
    reasons = " ".join(j.reason for j in runner.reports[0].judgements)
    assert "was answered success and failed too" in reasons


def test_what_is_told_may_be_anything():
    """Whatever an answer holds: it is taken as not told, and shown without harm."""
    anything = (None, True, -1, 10**30, "x", [], {}, [None], {"A": "x"}, {"A": 10**30}, "n99")
    for value in anything:
        words = ("balances", "executed", "committed", "role", "ballot")
        state = told.read_state(dict.fromkeys(words, value), ["A"], 3)
        assert state.executed is None and state.role is None and state.ballot is None
        assert state.balances is None or state.balances == {}
        entry = {"slot": 1, "status": "E", "type": "transfer", "client": "A", "timestamp": 1}
        entry |= {"from": "A", "to": "B", "amount": 1}
        for word in ("slot", "status", "type", "client", "timestamp", "from"):
            read = told.read_entry({**entry, word: value}, 3)
            assert read is None or value == "x" or word in ("client", "from"), (word, value)
        assert told.read_entry(value, 3) is None
        told.read_views(1, {"views": value}, 3)
        told.read_views(1, {"views": [value, {"ballot": value, "text": value}]}, 3)


def test_the_journal_shows_no_control_characters_and_no_long_lines():
    text = '{"src":"n1","dest":"n2","body":{"type":"\\u001b[2J","x":"\\u0007","y":[1,"\\ud800"]}}'
    shown = wording.line(Relayed(Way.SENT, (2,), (1, text)))
    assert all(c.isprintable() for c in shown.label + shown.text)
    assert "\\u0007" in shown.text and "1" in shown.text
    found = lines.shortened('{"src":"n1","dest":"n2","body":{"type":"a","x":"%s"}}' % ("y" * 9999))
    assert len(found) < 100 and "10050 characters" in found
