"""The shim: what it is asked and answers, and all that can be wrong with it."""

import sys
from pathlib import Path

import pytest
from external_runs import ALL, outcomes, run

from harness.check.verdict import Verdict
from harness.errors import EXIT_INVALID, EXIT_USAGE, HarnessError
from harness.external import description, shim
from harness.external.sockets import Sockets

SHIM = Path(__file__).parent / "tiny_shim.py"
ONE = [("(A, J, 3)", ALL)]


def shimmed(behaviour="good", start="sleep 1000", ready="{seconds: 0}", links="template", **more):
    """Replicas that do nothing, and a shim that does everything."""
    lines = [f"start: {start}", f"links: {links}", f"ready: {ready}", "settle_ms: 50"]
    lines += [f"shim: {sys.executable} -S -E {SHIM} {behaviour}"]
    lines += [f"{key}: {value}" for key, value in more.items()]
    return description.parse("\n".join(lines).encode(), "their.yaml", SHIM.parent)


def test_a_shim_answers_for_replicas():
    runner, _ = run(shimmed(), [("(A, J, 3); (C, D, 99); (A)", ALL), ("(B, E, 4)", ALL)])
    first, second = runner.reports
    assert outcomes(first) == ["success", "failed", "success"] and first.steps[2].value in (7, 10)
    assert runner.verdict() is Verdict.VALID, [r.judgements for r in runner.reports]
    assert [view.status.balances["J"] for view in first.views] == [13, 13, 13]
    assert {"role", "digest"} <= first.views[0].untold and first.steps[0].slot == 1
    assert first.leader == 2, "the shim is asked who leads"
    assert second.views[0].status.balances["E"] == 14


def test_a_definite_error_leads_on_to_the_leader_that_it_names():
    runner, _ = run(shimmed("refuses"), ONE, client_timeout_ms=9000)
    assert outcomes(runner.reports[0]) == ["success"], "n2 would leave it open"


@pytest.mark.parametrize("failure", ["disconnect", "crash"])
def test_nobody_is_asked_who_is_not_there(failure):
    rows = [("(A, J, 3); F(n1); F(n2); F(n3); (B, J, 1)", ALL)]
    runner, _ = run(shimmed(), rows, failure)
    assert outcomes(runner.reports[0])[-1] == "pending", "the shim would have answered"


def test_a_shim_hears_of_restarts_and_of_addresses(tmp_path):
    rows = [("(A, J, 3); F(n2); R(n2); (B, J, 1)", ALL)]
    runner, _ = run(shimmed(), rows, "crash", logs=tmp_path)
    assert runner.verdict() is Verdict.VALID
    peers, restarted = (tmp_path / "shim.log").read_text().splitlines()
    ports = {address.split(":")[1] for address in peers.removeprefix("peers ").split(",")}
    assert len(ports) == 3 and restarted == "restarted n2"


@pytest.mark.parametrize(
    ("behaviour", "told", "last"),
    [
        ("ends", "shim: ends (exit code 3)", ("    no route to anybody",)),
        ("talks", "shim: writes what is no JSON object: ready to go: is this meant for "
         "standard error?", None),
        ("closes", "shim: closes its standard output", None),
        ("cannot-transfer", "shim: hello: can: no transfer, which is what a bank is for", None),
        ("mistypes", "shim: hello: can: unknown raed, expected some of transfer, read, state, log, "
         "views, leader, fail, recover (did you mean read?)", None),
        ("no-can", 'shim: answers hello with {}, expected "can"', None),
    ],
)  # fmt: skip
def test_trouble_of_the_shim_before_the_first_set_is_refused(behaviour, told, last, monkeypatch):
    if behaviour == "closes":
        monkeypatch.setattr(shim, "SILENT_US", 100_000)
    with pytest.raises(HarnessError) as caught:
        run(shimmed(behaviour), ONE)
    assert caught.value.exit_code == EXIT_USAGE
    assert caught.value.problems[0] == f"their.yaml: {told}"
    assert last is None or caught.value.problems[1:] == last


@pytest.mark.parametrize(
    ("behaviour", "told"),
    [
        ("ends-later", "shim: ends (exit code 4)"),
        ("talks-later", "shim: writes what is no JSON object: [1, 2]: is this"),
    ],
)
def test_trouble_of_the_shim_later_is_a_violation(behaviour, told):
    with pytest.raises(HarnessError) as caught:
        run(shimmed(behaviour), ONE)
    assert caught.value.exit_code == EXIT_INVALID
    assert caught.value.problems[0].startswith(f"their.yaml: {told}")


def test_a_shim_that_is_not_there_is_told():
    described = description.parse(
        b"start: sleep 9\nlinks: none\nready: {seconds: 0}\nshim: ./nobody", "t.yaml", SHIM.parent
    )
    with pytest.raises(HarnessError) as caught:
        run(described, ONE, "pause")
    assert caught.value.problems == ("t.yaml: shim: ./nobody is not there",)


def test_what_is_nested_too_deeply_for_who_asked_is_trouble_of_the_shim(tmp_path):
    """Read just so. How deep that is, Pythons differ."""

    def fail(why):
        raise HarnessError(why)

    def shown(answer):
        raise RecursionError

    one = shim.Shim(None, tmp_path / "shim.log", fail)
    one._asked[1] = shown
    with pytest.raises(HarnessError, match=r'writes what is nested too deeply: \{"id": 1, "error"'):
        one._take(b'{"id": 1, "error": [[]]}')


def test_an_answer_is_to_what_its_number_asks_and_to_nothing_else():
    runner, _ = run(shimmed("answers-as-true"), [("(A, J, 3); (B, J, 1)", ALL)])
    assert runner.verdict() is Verdict.VALID
    assert outcomes(runner.reports[0]) == ["success"] * 2


def test_an_answer_to_nobody_is_told_once():
    runner, _ = run(shimmed("answers-nobody"), ONE)
    assert runner.verdict() is Verdict.VALID
    (remark,) = runner.reports[0].remarks
    assert remark.startswith("the shim answers a question that nobody asked it: dropped: {")


def test_files_with_reads_need_a_shim_with_reads():
    with pytest.raises(HarnessError, match="the shim knows no reads, expected a file without"):
        run(shimmed("no-reads"), [("(A)", ALL)])


def test_a_line_or_a_port_says_that_one_is_ready(tmp_path):
    says = tmp_path / "says"
    says.write_text("echo will be listening soon; echo now listening; exec sleep 1000\n")
    assert run(shimmed(start=f"sh {says}", ready='{line: "now listening"}'), ONE)[0].verdict() is (
        Verdict.VALID
    )
    says.write_text("echo going to listen; exit 3\n")
    with pytest.raises(HarnessError) as caught:
        run(shimmed(start=f"sh {says}", ready="{port: open}"), ONE)
    assert caught.value.problems == (
        "their.yaml: n1 does not start: its process ended by itself (exit code 3)",
        "    going to listen",
    )


def test_one_that_minds_old_connections_starts_once_they_are_forgotten(tmp_path, monkeypatch):
    says = tmp_path / "says"
    says.write_text(
        "echo x >> $PAXBANK_DATA/starts\n[ $(wc -l < $PAXBANK_DATA/starts) = 2 ] && exit 98\n"
        "echo up; exec sleep 1000\n"
    )
    answers = iter([True, False, False])  # before its start, when it ended, and when looked again
    monkeypatch.setattr(Sockets, "is_free", lambda self, node, lingering: lingering
                        or next(answers, True))  # fmt: skip
    rows = [("(A, J, 3); F(n2); R(n2); (B, J, 1)", ALL)]
    described = shimmed(start=f"sh {says}", ready="{line: up}")
    runner, cluster = run(described, rows, "crash", logs=tmp_path)
    assert runner.verdict() is Verdict.VALID, [r.judgements for r in runner.reports]
    assert (tmp_path / "n2.log").read_text() == "up\nup\n"
    assert cluster.fleet.handles[2].starts == 2
