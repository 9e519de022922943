"""`lint FILE…`: every problem with its place, the oracle set by set, and warnings that are none."""

import json
from dataclasses import replace

import pytest
from test_oracle import case

from harness import cli
from harness.files import testset
from harness.files.cases import (
    Balances,
    CaseFile,
    Checks,
    Expected,
    Leader,
    Outcomes,
    Pending,
    Slots,
    Statuses,
)
from harness.files.config import ClusterConfig
from harness.files.forecast import oracle
from harness.files.forecast.contradictions import doubtful
from harness.files.forecast.interleavings import Budget
from harness.files.forecast.oracle import forecast

RACY = (
    '1,"(A, B, 4)",n1;n2;n3\n,"(B, C, 12)",\n,(C),\n'
    "2,(A),n1;n2\n,LF,\n,F(n5),\n"
    '3,"(D, E, 11)",n1;n2;n3\n'
)
SCREEN = """\
{file}

── Set 1 of 3 ──────────────────────────────────────────────────────────────────
 live n1 n2 n3 · 3 must commit
 #   Step         Commits   Result              Why
 1   (A, B, 4)    must      success
 2   (B, C, 12)   must      success or failed   races with 1.1 (A, B, 4)
 3   (C)          must      balance 10 to 22    races with 1.2 (B, C, 12)
 balances  A 6  B 2 or 14  C 10 or 22  D 10  E 10
 B, C: depends on 1.2 (B, C, 12)

── Set 2 of 3 ──────────────────────────────────────────────────────────────────
 live n1 n2 · 1 cannot commit
 #   Step    Commits   Result      Why
 1   (A)     cannot    pending     no quorum
 2   LF                no-leader
 3   F(n5)             done
 balances  A 6  B 2 or 14  C 10 or 22  D 10  E 10
 B, C: depends on 1.2 (B, C, 12)
 ! {file}:4: set 2 waits out its patience 3 times without a quorum: 3 s
 ! {file}:5: LF finds no leader: there is no quorum
 ! {file}:6: F(n5) has no effect: it is not live

── Set 3 of 3 ──────────────────────────────────────────────────────────────────
 live n1 n2 n3 · 2 must commit · 1 transfer must fail
   #   Step         Commits   Result
 2.1   (A)          must      balance 6
   1   (D, E, 11)   must      failed
 balances  A 6  B 2 or 14  C 10 or 22  D 10  E 10
 B, C: depends on 1.2 (B, C, 12)

 ! {file}: expects nothing: --write-expected writes what it must come to

1 file, 0 problems, 4 warnings
"""


@pytest.fixture(autouse=True)
def _width(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def lint(capsys, *arguments):
    code = cli.main(["lint", *arguments])
    return code, *capsys.readouterr()


def test_what_must_cannot_and_may_happen(write, capsys):
    file = write("racy.csv", RACY)
    assert lint(capsys, file) == (0, SCREEN.format(file=file), "")


@pytest.mark.parametrize("width", [60, 140])
def test_no_place_is_broken_and_no_line_of_a_table_too_wide(write, capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    file = write("racy.csv", RACY)
    _, out, _ = lint(capsys, file)
    assert f"! {file}:4: set 2 waits out its patience 3 times without a quorum: 3 s\n" in out
    assert max(len(line) for line in out.splitlines() if file not in line) <= width


def test_long_runs_of_successes_are_one_row(write, capsys):
    rows = "".join(',"(A, A, 1)",\n' for _ in range(9))
    file = write("long.csv", f"1,,n1;n2;n3;n4\n{rows},LF,\n{rows}")
    _, out, _ = lint(capsys, file)
    table = [line.split() for line in out.splitlines()[5:8]]
    assert table == [
        ["1-9", "9", "steps", "must", "success"],
        ["10", "LF", "done"],
        ["11-19", "9", "steps", "must", "success"],
    ]


def test_of_a_long_set_what_is_said_of_many_steps_is_said_once(write, capsys, monkeypatch):
    monkeypatch.setattr(oracle, "Budget", lambda left=1000: Budget(left))  # less is looked at
    pairs = [(a, b) for a in "ABCDE" for b in "ABCDE" if a != b] * 6
    rows = "".join(f',"({a}, {b}, {3 + at % 5})",\n' for at, (a, b) in enumerate(pairs))
    reads = "".join(",(A),\n,(B),\n" for _ in range(40))
    file = write("long.csv", f'1,"(J, A, 1)",n1;n2;n3;n4\n{rows}{reads}')
    code, out, _ = lint(capsys, file)
    assert code == 0 and len(out.splitlines()) < 140
    assert " ".join(out.split()).count("success or failed races with") == 5
    words = next(line for line in out.splitlines() if " steps " in line and "or failed" in line)
    first, last = words.split()[0].split("-")
    assert (int(first), int(last)) > (1, 100)
    assert len(json.loads(lint(capsys, file, "--format", "json")[1])[0]["sets"][0]["steps"]) == 201


def test_problems_of_all_files_are_2_and_the_others_are_told(write, capsys):
    bad = write("bad.csv", '1,"(A, B, 4)",n9\n,"(Z, C, 1)",\n')
    good = write("good.csv", "1,(A),n1;n2;n3\n")
    key = write("good.expected.yaml", "expected:\n  7: {}\n  1:\n    leader: n9\n")
    code, out, err = lint(capsys, bad, good, key, "none.csv")
    assert code == 2 and err == ""
    for told in (
        f"{bad}:1: Live Nodes: unknown replica",
        f"{bad}:2: Transactions: (Z, C, 1): unknown account",
        "── Set 1 of 1",
        f"{key}:2: expected: 7: the file has no such set",
        f"{key}:4: leader: unknown replica",
        "none.csv: no such file",
        "3 files, 5 problems in 3 files, 1 warning\n",
        f"left out: {key} (an answer key)\n",
    ):
        assert told in out


def test_of_many_files_there_is_a_list_at_the_end(write, capsys):
    """First the tables of the good ones, then every problem; forty files are looked at that way."""
    bad = [write(f"bad{n}.csv", f"1,(A, B),[n1]\n,L{n},\n") for n in (1, 2)]
    plain = write("plain.csv", "1,(A),n1;n2;n3\n")
    keyed = write("keyed.csv", "1,(A),n1;n2;n3\n")
    key = write("keyed.expected.yaml", "expected: {1: {outcomes: {1: 10}}}\n")
    config = write("cluster.yaml", "nodes: 3\n")
    code, out, err = lint(capsys, bad[0], plain, config, key, keyed, bad[1])
    assert (code, err) == (2, "")
    lines = out.splitlines()
    at = lines.index(f"{bad[0]}:1: Transactions: (A, B): 2 values, expected sender, receiver, "
                     "amount or one name")  # fmt: skip
    assert max(i for i, line in enumerate(lines) if "── Set" in line) < at
    assert [line.partition(": ")[0] for line in lines[at:]] == [
        f"{bad[0]}:1", f"{bad[0]}:2", f"{bad[1]}:1", f"{bad[1]}:2", f"! {plain}", "",
        "5 files, 4 problems in 2 files, 1 warning".replace("5", "4"), "left out",
    ]  # fmt: skip
    assert lines[-1] == f"left out: {config} (a configuration); {key} (an answer key)"


def test_quiet_shows_problems_and_warnings_alone(write, capsys):
    racy, bad = write("racy.csv", RACY), write("bad.csv", "1,LG,n1\n")
    code, out, _ = lint(capsys, racy, bad, "--quiet")
    assert code == 2
    assert [line.partition(": ")[0] for line in out.splitlines()] == [
        f"{bad}:1", f"! {racy}", f"! {racy}:4", f"! {racy}:5", f"! {racy}:6", "",
        "2 files, 1 problem in 1 file, 4 warnings",
    ]  # fmt: skip
    write("racy.expected.yaml", "expected: {1: {balances: {B: 2}}}\n")
    _, out, _ = lint(capsys, racy, "--quiet")
    assert "expects nothing" not in out and "holds only in some orders: balances: B is 2" in out


def test_what_was_read_for_something_else_is_said(write, capsys):
    file = write("s.csv", "Set Number,Transactions,Live Servers\n1,(A),[S1]\n")
    _, out, _ = lint(capsys, file)
    assert out.splitlines()[1:3] == [
        f' {file}:1: the header is read: "Live Servers" as Live Nodes', f" {file}: read S1 as n1",
    ]  # fmt: skip
    (found,) = json.loads(lint(capsys, file, "--format", "json")[1])
    assert len(found["notes"]) == 2 and "expects nothing" in found["warnings"][0]


def test_a_key_alone_is_no_test_set(write, capsys):
    key = write("x.expected.yaml", "expected: {}\n")
    code, out, _ = lint(capsys, key)
    assert code == 2 and f"{key}:1: this is an answer key, expected its test set" in out


def test_json_is_one_document(write, capsys):
    racy, bad = write("racy.csv", RACY), write("bad.csv", "1,LG,n1\n")
    write("racy.expected.yaml", "expected: {1: {balances: {A: 7}}}")
    code, out, err = lint(capsys, racy, bad, "--format", "json")
    found, refused = json.loads(out)
    assert (code, err, refused["sets"]) == (2, "", []) and len(refused["problems"]) == 1
    assert found["exact"] is True and found["key"].endswith("racy.expected.yaml")
    first, second, _ = found["sets"]
    assert first["steps"][2] == {
        "label": "3", "step": "(C)", "line": 3, "carried_from": None, "commits": "must",
        "outcomes": ["success"], "balance": [10, 22], "why": ["races with 1.2 (B, C, 12)"],
    }  # fmt: skip
    assert first["balances"]["B"] == [2, 14] and first["doubts"].keys() == {"B", "C"}
    assert "cannot hold: balances: A is 6, never 7" in first["warnings"][0]
    assert (second["pending"], second["leaders"], second["waits"]) == ([1, 1], [], 3)


def test_the_cluster_counts(write, capsys):
    file = write("x.csv", "1,(A),n1;n2\n")
    assert "1 cannot commit" in lint(capsys, file)[1]
    assert "1 must commit" in lint(capsys, file, "--nodes", "3")[1]
    config = write("c.yaml", "initial_balance: 42\n")
    assert "balance 42" in lint(capsys, file, "--nodes", "3", "--config", config)[1]


def test_the_schema_is_printed(capsys):
    code, out, err = lint(capsys, "--schema")
    assert (code, err) == (0, "") and out == testset.schema_text()
    assert json.loads(out)["$schema"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "expected one or several FILEs, or --schema"),
        (["x.csv", "--schema"], "--schema: found FILEs too, expected one or the other"),
        (["--schema", "--quiet"], "--quiet: has no effect with --schema, leave it out"),
        (["--schema", "--nodes", "3"], "--nodes: has no effect with --schema"),
        (["--schema", "--config", "none.yaml"], "--config: has no effect with --schema"),
        (["--schema", "--unanswered", "drop"], "--unanswered: has no effect with --schema"),
        (["--schema", "--format", "json"], "--format json: has no effect with --schema"),
        (["x.csv", "--nodes", "4"], "--nodes: "),
        (["x.csv", "--config", "none.yaml"], "none.yaml: no such file"),
        (["x.csv", "--format", "jsn"], "expected rich or json (did you mean json?)"),
    ],
)
def test_mistakes_are_2(capsys, arguments, told):
    code, out, err = lint(capsys, *arguments)
    assert (code, out) == (2, "") and told in err


# ---- expectations that no run can meet ---------------------------------------------------------

SETS = (
    case(1, "1 2 3 4 5", "(A, B, 4)", "(B, C, 12)", "(C)"),
    case(2, "1 2", "(A, B, 1)", "(D)"),
    case(3, "3"),
)


@pytest.mark.parametrize(
    ("number", "what", "told"),
    [
        (1, Balances({"A": 6, "B": 2, "J": 10}), []),
        (1, Balances({"A": 7, "B": 3, "J": 9}),
         ["A is 6, never 7", "B is 2 or 14, never 3", "J is 10, never 9"]),
        (1, Outcomes({"1": "success", "2": "failed", "3": 11}), []),
        (1, Outcomes({"1": "failed", "2": "pending", "3": 23}),
         ["step 1 (A, B, 4) is success, never failed",
          "step 2 (B, C, 12) is success or failed, never pending",
          "step 3 (C) is balance 10 to 22, never 23"]),
        (2, Outcomes({"1.1": "success"}),
         ["step 1.1 is not in this set: it was answered or dropped before"]),
        (2, Pending(2), []),
        (2, Pending(2, ("(D)", "(A, B, 1)")), []),
        (2, Pending(1, ("(D)",)), ["2 pending, never 1"]),
        (2, Pending(2, ("(D)", "(D)")), ["(D) is not pending"]),
        (1, Leader(frozenset({1})), []),
        (2, Leader(frozenset({1, 2})), ["nobody can lead, never n1, n2"]),
        (2, Leader(frozenset()), []),
        (1, Slots(3, 3), []),
        (1, Slots(0, 2), ["at least 3 slots are executed, never 2"]),
        (1, Statuses({1: "XXXXX"}), []),
        (1, Checks(("agreement",)), []),
    ],
    ids=str,
)  # fmt: skip
def test_what_no_run_can_meet_is_told(number, what, told):
    config = ClusterConfig()
    file = CaseFile("x.yaml", SETS)
    found = forecast(file, config)
    expected = (Expected("x.yaml:7", "key", what),)
    sets = [replace(s, expected=expected) if s.number == number else s for s in SETS]
    doubts = doubtful(CaseFile("x.yaml", tuple(sets)), config, found)
    assert [doubt for doubt in doubts if "cannot hold" in doubt[2]] == [
        (number, "x.yaml:7", f"cannot hold: key: {one}") for one in told
    ]


@pytest.mark.parametrize(
    ("number", "what", "told"),
    [
        (1, Balances({"A": 6, "D": 10}), []),
        (1, Balances({"A": 6, "B": 2}), ["B is 2 or 14, depends on 1.2 (B, C, 12)"]),
        (1, Balances({"A": 7, "B": 2}), None),
        (1, Outcomes({"1": "success", "2": "failed"}),
         ["step 2 (B, C, 12) is success or failed, races with 1.1 (A, B, 4)"]),
        (1, Outcomes({"3": 10}), ["step 3 (C) is balance 10 to 22, races with 1.2 (B, C, 12)"]),
        (2, Outcomes({"1": "pending"}), []),
        (2, Pending(2), []),
        (1, Leader(frozenset({1})), []),
    ],
    ids=str,
)  # fmt: skip
def test_what_holds_only_in_some_orders_is_told(number, what, told):
    """With the reason; nothing more is told of what cannot hold at all."""
    config = ClusterConfig()
    expected = (Expected("x.yaml:7", "key", what),)
    sets = [replace(s, expected=expected) if s.number == number else s for s in SETS]
    file = CaseFile("x.yaml", tuple(sets))
    texts = [text for _, _, text in doubtful(file, config, forecast(file, config))]
    if told is None:
        assert len(texts) == 1 and "cannot hold" in texts[0]
    else:
        assert texts == [f"holds only in some orders: key: {one}" for one in told]


def test_how_many_are_pending_may_depend_on_an_order():
    config = ClusterConfig()
    sets = (replace(case(1, "1 2 3", "(A, B, 1)", "& F(n1)"),
                    expected=(Expected("x.yaml:7", "pending", Pending(0)),)),)  # fmt: skip
    file = CaseFile("x.yaml", sets)
    (found,) = doubtful(file, config, forecast(file, config))
    assert found == (1, "x.yaml:7", "holds only in some orders: pending: 0 or 1 pending")


def test_at_the_end_as_well():
    config = ClusterConfig()
    at_end = (
        Expected("x.yaml:9", "outcomes", Outcomes({"1.1": "failed", "2.2": "pending"})),
        Expected("x.yaml:10", "balances", Balances({"A": 6})),
    )
    file = CaseFile("x.yaml", SETS[:2], at_end=at_end)
    assert list(doubtful(file, config, forecast(file, config))) == [
        (2, "x.yaml:9", "cannot hold: outcomes: step 1.1 (A, B, 4) is success, never failed")
    ]


def test_with_nobody_to_ask_no_balance_holds():
    config = ClusterConfig()
    expected = (Expected("x.yaml:9", "balances", Balances({"A": 10})),)
    nobody = "balances: no replica is live then, and not cut off"
    for steps, told in ((["F(n1)"], [nobody]), ([], [])):
        file = CaseFile("x.yaml", (replace(case(1, "1", *steps), expected=expected),))
        found = doubtful(file, config, forecast(file, config))
        assert [what for _, _, what in found] == [f"cannot hold: {one}" for one in told]
