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
from harness.files.forecast.contradictions import contradictions
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

1 file, 0 problems, 3 warnings
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


def test_of_a_long_set_what_is_said_of_many_steps_is_said_once(write, capsys):
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
        f"{good}\n\n── Set 1 of 1",
        f"{key}:2: expected: 7: the file has no such set",
        f"{key}:4: leader: unknown replica",
        "none.csv: no such file",
        "3 files, 5 problems, 0 warnings\n",
    ):
        assert told in out


def test_a_key_alone_is_no_test_set(write, capsys):
    key = write("x.expected.yaml", "expected: {}\n")
    code, out, _ = lint(capsys, key)
    assert code == 2 and f"{key}: is an answer key by its name, expected its test set" in out


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
        (2, Outcomes({"1.1": "success"}), ["step 1.1 is not in this set: it was answered before"]),
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
    assert list(contradictions(CaseFile("x.yaml", tuple(sets)), config, found)) == [
        (number, "x.yaml:7", f"key: {one}") for one in told
    ]


def test_at_the_end_as_well():
    config = ClusterConfig()
    at_end = (
        Expected("x.yaml:9", "outcomes", Outcomes({"1.1": "failed", "2.2": "pending"})),
        Expected("x.yaml:10", "balances", Balances({"A": 6})),
    )
    file = CaseFile("x.yaml", SETS[:2], at_end=at_end)
    assert list(contradictions(file, config, forecast(file, config))) == [
        (2, "x.yaml:9", "outcomes: step 1.1 (A, B, 4) is success, never failed")
    ]


def test_with_nobody_to_ask_no_balance_holds():
    config = ClusterConfig()
    expected = (Expected("x.yaml:9", "balances", Balances({"A": 10})),)
    nobody = "balances: no replica is live then, and not cut off"
    for steps, told in ((["F(n1)"], [nobody]), ([], [])):
        file = CaseFile("x.yaml", (replace(case(1, "1", *steps), expected=expected),))
        found = contradictions(file, config, forecast(file, config))
        assert [what for _, _, what in found] == told
