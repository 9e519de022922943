"""Answer keys: written from the file alone, read with mistakes at their lines, checked in runs."""

import json
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_oracle import GIVEN, case, files

from harness import cli
from harness.check.verdict import Verdict
from harness.errors import EXIT_MACHINE, HarnessError
from harness.files import answer_key, testset, yaml_source
from harness.files.cases import Balances, CaseFile, Leader, Outcomes, Pending
from harness.files.config import FAILURES, ClusterConfig
from harness.files.forecast import oracle
from harness.files.forecast.interleavings import Budget
from harness.files.forecast.oracle import forecast
from harness.run import launch
from harness.run.runner import Runner
from harness.sim.world import SimCluster

CONFIG = ClusterConfig(seed=1)
RACY = (
    '1,"(A, B, 4)",n1;n2;n3\n,"(B, C, 12)",\n,(C),\n'
    '2,"(B, D, 3)",n1;n2\n,"(E, F, 1)",\n'
    "3,(D),n1;n2;n3\n,LF,\n"
)
RACY_KEY = """\
file: "racy.csv"
nodes: 5
initial_balance: 10

expected:
  1:
    balances: {A: 6, D: 10, E: 10, F: 10}
    # B: 2 or 14: depends on 1.2 (B, C, 12)
    # C: 10 or 22: depends on 1.2 (B, C, 12)
    outcomes:
      1: success        # (A, B, 4)
      # 2 (B, C, 12): success or failed: races with 1.1 (A, B, 4)
      # 3 (C): balance 10 to 22: races with 1.2 (B, C, 12)
    pending: 0

  2:
    balances: {A: 6, D: 10, E: 10, F: 10}
    # B: 2 or 14: depends on 1.2 (B, C, 12)
    # C: 10 or 22: depends on 1.2 (B, C, 12)
    outcomes:
      1: pending        # (B, D, 3)
      2: pending        # (E, F, 1)
    pending:
      - "(B, D, 3)"
      - "(E, F, 1)"
    leader: none

  3:
    balances: {A: 6, E: 9, F: 11}
    # B: 2 or 11: depends on 1.2 (B, C, 12); depends on 2.1 (B, D, 3)
    # C: 10 or 22: depends on 1.2 (B, C, 12)
    # D: 10 or 13: depends on 2.1 (B, D, 3)
    outcomes:
      # 2.1 (B, D, 3): success or failed: B is not known before: depends on 1.2 (B, C, 12)
      2.2: success      # (E, F, 1), from set 2
      # 1 (D): balance 10 to 13: races with 2.1 (B, D, 3)
      2: done           # LF
    pending: 0

  end:
    pending: 0
"""


@pytest.fixture
def racy(tmp_path):
    path = tmp_path / "racy.csv"
    path.write_text(RACY)
    return path


def load(path):
    return testset.load(path, CONFIG)


def written(file, config=CONFIG):
    return answer_key.text(file, config, forecast(file, config))


# ---- writing -----------------------------------------------------------------------------------


def test_a_key_says_what_is_known_and_why_the_rest_is_not(racy):
    assert written(load(racy)).split("\n", 2)[2] == RACY_KEY


def long_file(steps):
    """Payments of every account to every other, of which most race, between some that do not."""
    pairs = [(a, b) for a in "ABCDE" for b in "ABCDE" if a != b] * steps
    racing = [f"({a}, {b}, {3 + at % 5})" for at, (a, b) in enumerate(pairs[: steps - 8])]
    sets = (case(1, "1 2 3", *["(J, A, 1)"] * 4, *racing, *["(I, A, 1)"] * 4),)
    return CaseFile("long.csv", sets)


def test_of_a_long_set_each_reason_is_said_once_and_steps_stand_together(tmp_path, monkeypatch):
    monkeypatch.setattr(oracle, "Budget", lambda left=1000: Budget(left))  # less is looked at
    file = long_file(300)
    found = forecast(file, CONFIG)
    text = answer_key.text(file, CONFIG, found)
    assert len(text.splitlines()) < 50
    assert re.search(r"^      1-\d+: success +# \d+ steps$", text, re.MULTILINE)
    said = " ".join(text.replace("#", "").split())
    reasons = {step.why[0] for step in found.sets[0].steps if step.why}
    assert len(reasons) == 5 and all(said.count(reason) == 1 for reason in reasons)
    path = tmp_path / "long.expected.yaml"
    path.write_text(text)
    (outcomes,) = (
        e.what for e in answer_key.read(path, file, CONFIG).sets[1] if isinstance(e.what, Outcomes)
    )
    assert outcomes.outcomes == {s.label: s.known for s in found.sets[0].steps if s.known}


def test_the_forecast_of_twice_as_many_steps_takes_twice_the_calls(monkeypatch):
    monkeypatch.setattr(oracle, "Budget", lambda left=1000: Budget(left))

    def calls(file):
        counted = []
        sys.setprofile(lambda frame, event, of: counted.append(1) if event == "call" else None)
        try:
            found = forecast(file, CONFIG)
        finally:
            sys.setprofile(None)
        assert not found.exact, "a walk through every order takes no part in this"
        return len(counted)

    assert calls(long_file(800)) < 2.2 * calls(long_file(400))


def test_long_lines_are_wrapped(tmp_path):
    names = [f"account_number_{n}" for n in range(30)]
    config = ClusterConfig(accounts=tuple(names))
    rows = "".join(f",({name}),\n" for name in names)
    path = tmp_path / "wide.csv"
    path.write_text(f"1,({names[0]}),n1;n2;n3\n{rows}")
    file = testset.load(path, config)
    key = written(file, config)
    assert max(map(len, key.splitlines())) <= answer_key.WIDTH
    beside = answer_key.beside(path)
    beside.write_text(key)
    read = answer_key.read(beside, file, config)
    assert Balances(config.balances()) in [expected.what for expected in read.sets[1]]


@settings(max_examples=60, deadline=None)
@given(files(), st.sampled_from(FAILURES), st.integers(0, 1_000_000))
def test_what_is_written_is_read_and_every_run_meets_it(tmp_path_factory, drawn, failure, seed):
    nodes, file = drawn
    config = ClusterConfig(nodes=nodes, failure=failure, seed=seed)
    path = tmp_path_factory.mktemp("key") / "drawn.expected.yaml"
    path.write_text(written(file, config))
    with_key = answer_key.checked(file, config, path)
    assert with_key.key == str(path)
    world = SimCluster(config)
    world.start()
    runner = Runner(world, config, with_key)
    while runner.remaining:
        report = runner.run_next()
        assert [met.reason for met in report.expectations if not met.holds] == []
    assert runner.verdict() is Verdict.VALID


def test_only_what_was_written_so_is_overwritten(racy):
    path = answer_key.beside(racy)
    assert answer_key.write(path, load(racy), CONFIG) == 11
    first = path.read_bytes()
    answer_key.write(path, load(racy), CONFIG)
    assert path.read_bytes() == first
    racy.write_text(RACY.replace("4)", "5)"))
    path.write_bytes(first.replace(b"\n", b"\r\n"))  # as an editor or git may leave it
    answer_key.write(path, load(racy), CONFIG)
    assert b"{A: 5" in path.read_bytes()
    for by_hand in (path.read_text().replace("A: 5", "A: 6"), "expected: {}\n", ""):
        path.write_text(by_hand)
        with pytest.raises(HarnessError, match="was changed or written by hand"):
            answer_key.write(path, load(racy), CONFIG)
        assert path.read_text() == by_hand


def test_where_nothing_can_be_written(racy, tmp_path):
    for path in (tmp_path, tmp_path / "none" / "x.yaml"):
        with pytest.raises(HarnessError, match="cannot be written"):
            answer_key.write(path, load(racy), CONFIG)


def test_a_disk_that_is_full_leaves_the_key_that_was_there(racy, tmp_path, monkeypatch):
    path = tmp_path / "racy.expected.yaml"
    answer_key.write(path, load(racy), CONFIG)
    before = path.read_bytes()

    def full(self, text, _):
        self.write_bytes(text.encode()[:40])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(HarnessError, match="cannot be written") as told:
        answer_key.write(path, load(racy), CONFIG)
    assert told.value.exit_code == EXIT_MACHINE
    assert path.read_bytes() == before and list(tmp_path.glob(".*")) == []


# ---- reading -----------------------------------------------------------------------------------

FILE = CaseFile("dir/x.csv", (case(1, "1 2 3", "(A, J, 3)", "LF"), case(5, "1 2 3", "(A)")))


def read(tmp_path, text, is_given=False):
    path = tmp_path / "x.expected.yaml"
    path.write_text(text)
    return answer_key.read(path, FILE, CONFIG, is_given)


def test_a_key_by_hand_needs_little(tmp_path):
    key = read(
        tmp_path, "expected:\n  5:\n    outcomes: {1: 7, 1.1: success}\n  end: {pending: 0}\n"
    )
    (expected,) = key.sets[5]
    assert expected.where.endswith("x.expected.yaml:3")
    assert expected.what == Outcomes({"1": 7, "1.1": "success"})
    assert [e.what for e in key.at_end] == [Pending(0)]


def test_it_joins_what_the_file_expects_itself(tmp_path):
    key = read(tmp_path, "expected: {1: {leader: none}, end: {leader: any}}")
    both = answer_key.with_key(answer_key.with_key(FILE, key), key)
    assert [len(of_set.expected) for of_set in both.sets] == [2, 0]
    assert both.sets[0].expected[0].what == Leader(frozenset()) and len(both.at_end) == 2
    assert both.key == key.path


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ":1: this is no key, expected an answer key with expected:"),
        ("- 1", ":1: this is no key"),
        ("sets: []", ":1: this is a test set, expected an answer key with expected:"),
        ("file: y.csv\nexpected: {}",
         ':1: file: this key is for "y.csv", expected x.csv (--no-key leaves it out)'),
        ("expected: {}\nnodes: 7", ":2: nodes: this key is for 7, expected 5"),
        ("initial_balance: 9\nexpected: {}", ":1: initial_balance: this key is for 9, expected 10"),
        ("fil: x\nexpected: {}", ":1: fil: unknown key, expected one of file, nodes,"),
        ("expected: 7", ":1: expected: found 7, expected set numbers, and end"),
        ("expected:\n  2: {pending: 0}",
         ":2: expected: 2: the file has no such set, expected 1, 5 or end"),
        ("expected:\n  ende: {pending: 0}", "(did you mean end?)"),
        ("expected:\n  1:\n    outcomes: {3: success}", ":3: outcomes: 3: no such step"),
        ("expected:\n  1:\n    outcomes: {5.1: 7}", ":3: outcomes: 5.1: no such step"),
        ("expected:\n  1:\n    balances: {K: 7}", ':3: balances: K: unknown account "K"'),
        ("expected:\n  1:\n  1: {pending: 0}", ":3: expected: 1: given again"),
        ("expected: [", "not YAML"),
    ],
)  # fmt: skip
def test_a_key_that_does_not_fit_is_refused_with_its_line(tmp_path, text, told):
    with pytest.raises(HarnessError) as refusal:
        read(tmp_path, text)
    assert any(told in problem for problem in refusal.value.problems), refusal.value.problems


def test_all_problems_of_a_key_at_once(tmp_path):
    with pytest.raises(HarnessError) as refusal:
        read(tmp_path, "nodes: 3\nexpected:\n  1: {leader: n9}\n  7: {}\n  end: {slots: x}\n")
    lines = [problem.split(":")[1] for problem in refusal.value.problems]
    assert lines == ["1", "3", "4", "5"]


def test_a_key_given_by_name_may_be_of_a_file_of_another_name(tmp_path):
    assert read(tmp_path, "file: y.csv\nexpected: {}", is_given=True).sets == {}


# ---- with the command line ---------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")


def run(capsys, *arguments):
    code = cli.main([str(argument) for argument in arguments])
    return code, *capsys.readouterr()


def test_a_run_checks_the_key_beside_its_file(racy, capsys):
    key = answer_key.beside(racy)
    code, out, _ = run(capsys, racy, "--write-expected")
    assert (code, out) == (0, f"wrote {key}: 3 sets, 11 places left open, each with its reason\n")
    code, out, _ = run(capsys, racy, "--sim", "--no-step")
    assert code == 0 and f"key {key}" in out
    assert out.count("✓ expectations") == 3
    key.write_text(key.read_text().replace("{A: 6, D: 10,", "{A: 7, D: 10,", 1))
    code, out, _ = run(capsys, racy, "--sim", "--no-step")
    assert code == 1 and f"{key}:9: balances: expected A 7, found A 6" in out
    code, out, _ = run(capsys, racy, "--sim", "--no-step", "--no-key")
    assert code == 0 and "expectations" not in out and "· key" not in out
    code, _, err = run(capsys, racy, "--write-expected")
    assert code == 2 and "by hand" in err


def test_keys_of_many_files_are_written(racy, tmp_path, capsys):
    """A bad one does not stop the others; keys and configurations are no test sets."""
    other, bad = tmp_path / "other.csv", tmp_path / "bad.csv"
    other.write_text("1,(A),n1;n2;n3\n")
    bad.write_text("1,(Z),n1\n")
    (tmp_path / "c.yaml").write_text("nodes: 5\n")
    code, out, err = run(capsys, *sorted(tmp_path.glob("*.*")), "--write-expected")
    assert code == 2 and err == f'{bad}:1: Transactions: (Z): unknown account "Z", expected A..J\n'
    assert out.splitlines() == [
        f"wrote {answer_key.beside(other)}: 1 set, nothing open",
        f"wrote {answer_key.beside(racy)}: 3 sets, 11 places left open, each with its reason",
        f"left out: {tmp_path / 'c.yaml'} (a configuration)",
    ]
    answer_key.beside(other).write_text("expected: {}\n")
    code, out, err = run(capsys, *sorted(tmp_path.glob("*.*")), "--write-expected")
    assert code == 2 and "by hand" in err and len(err.splitlines()) == 2
    assert f"wrote {answer_key.beside(racy)}" in out and "(answer keys)" in out


def test_a_key_for_requests_that_are_dropped(tmp_path, capsys):
    file = tmp_path / "x.csv"
    file.write_text('1,"(A, B, 4)",n1;n2\n,(C)\n2,(A),n1;n2;n3\n3,(D),n1\n')
    assert run(capsys, file, "--write-expected", "--unanswered", "drop")[0] == 0
    written = answer_key.beside(file).read_text()
    assert "\nunanswered: drop\n" in written
    assert "    # B: 10 or 14: depends on 1.1 (A, B, 4) (dropped)\n" in written
    assert "  end:\n    outcomes:\n" not in written and '    pending:\n      - "(D)"\n' in written
    for failure in FAILURES:
        flags = ["--sim", "--no-step", "--failure", failure, "--seed", "3"]
        code, out, err = run(capsys, file, *flags, "--unanswered", "drop")
        assert (code, err) == (0, ""), out
        assert "1.1" not in out.partition("Set 2 of 3")[2], "nothing is carried over"
        assert "1 pending" in out and "3 pending" not in out
        assert "· unanswered drop ·" in out.replace("\n", " · ")
        assert " 1 answered, 2 forgotten, 1 pending" in out.partition("── End")[2]
    code, out, err = run(capsys, file, "--sim", "--no-step")
    assert code == 2 and 'this key is for "drop", expected carry' in err
    code, out, _ = run(capsys, file, "--sim", "--no-step", "--no-key")
    assert code == 0 and "1.1" in out.partition("Set 2 of 3")[2]
    assert "forgotten" not in out and "unanswered" not in out


def test_data_of_a_run_that_dropped_hold_nothing_to_ask_again(tmp_path, capsys):
    """Real processes: the next run begins without what was given up, above its timestamp."""
    file, quick = tmp_path / "x.csv", tmp_path / "quick.yaml"
    file.write_text('1,"(A, B, 4)",n1\n2,(A),n1;n2;n3\n')
    quick.write_text("nodes: 3\npatience_ms: 100\nunanswered: drop\n")
    data = tmp_path / "data"
    flags = ["--no-step", "--config", quick, "--data", data]
    code, out, err = run(capsys, file, *flags)
    assert (code, err) == (0, ""), out
    clients = json.loads((data / "cluster.json").read_text())["clients"]
    assert clients["A"] == {"timestamp": 2, "pending": None}


def test_a_key_from_elsewhere(racy, tmp_path, capsys):
    elsewhere = tmp_path / "keys.yaml"
    assert run(capsys, racy, "--write-expected", "--key", elsewhere)[0] == 0
    assert not answer_key.beside(racy).exists()
    answer_key.beside(racy).write_text("expected: {1: {pending: 7}}")
    code, out, _ = run(capsys, racy, "--sim", "--no-step", "--key", elsewhere)
    assert code == 0 and f"key {elsewhere}" in out
    assert run(capsys, racy, "--sim", "--no-step")[0] == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--key", "none.yaml"], "none.yaml: no such file, expected an answer key"),
        (["--key", "x", "--no-key"], "--no-key: contradicts --key"),
        (["--write-expected", "--no-key"], "--no-key: there is nothing to write"),
        (["--write-expected", "--report", "x"], "--report: nothing is run, leave out this"),
        (["--write-expected", "--format", "json"], "--format json: nothing is run, leave out"),
        (["--write-expected"], "--sim: nothing is run, leave out this or --write-expected"),
        (["--write-expected", "--seed", "0"], "--seed: nothing is run, leave out"),
        (["--write-expected", "--failure", "crash"], "--failure: nothing is run, leave out"),
        (["--write-expected", "--durability", "power"], "--durability: nothing is run"),
        (["--write-expected", "--trace-format", "perfetto"], "--trace-format perfetto: nothing"),
    ],
)
def test_mistakes_start_nothing(racy, capsys, arguments, told):
    code, out, err = run(capsys, racy, "--sim", "--no-step", *arguments)
    assert (code, out) == (2, "") and told in err


@pytest.mark.parametrize("named", [False, True])
def test_data_that_go_on_meet_only_a_key_that_is_named(racy, tmp_path, capsys, monkeypatch, named):
    run(capsys, racy, "--write-expected")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cluster.json").touch()
    seen = []

    def stop(*_):
        raise HarnessError("far enough")

    checked = answer_key.checked
    monkeypatch.setattr(answer_key, "checked", lambda *of: seen.append(checked(*of)) or seen[0])
    monkeypatch.setattr(launch, "cluster", stop)
    key = ["--key", answer_key.beside(racy)] if named else []
    assert run(capsys, racy, "--data", tmp_path / "data", *key)[0] == 2
    assert bool(seen[0].key) is named


# ---- the file that everything is measured by ---------------------------------------------------


@pytest.mark.skipif(not GIVEN.is_dir(), reason="no given test sets here")
@pytest.mark.parametrize("failure", FAILURES)
def test_the_given_file_meets_its_key(tmp_path, failure):
    file = load(GIVEN / "ten-sets.csv")
    path = tmp_path / "key.yaml"
    assert answer_key.write(path, file, CONFIG) == 0
    assert yaml_source.parse(path.read_bytes(), "key")["expected"]["10"]["pending"] == 0
    config = ClusterConfig(seed=3, failure=failure)
    world = SimCluster(config)
    world.start()
    runner = Runner(world, config, answer_key.checked(file, config, path))
    while runner.remaining:
        runner.run_next()
    assert runner.verdict() is Verdict.VALID


def test_it_stands_beside_its_file():
    assert answer_key.beside("dir/x.csv") == Path("dir/x.expected.yaml")
