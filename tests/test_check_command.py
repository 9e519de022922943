"""`check FILE…`: every judge's word, the worst one's exit code, and no judging of damaged files."""

import json

import pytest

from bank.ledger import FAILED, SUCCESS
from bank.sessions import Machine
from harness import cli
from harness.cluster.driver import CommitLog
from harness.cluster.history import Operation
from harness.files import history_file

BALANCES = {"A": 10, "B": 10}
PAY = ("A", 1, "transfer", "A", "B", 3)
LOOK = ("B", 1, "read", "B", "", 0)


@pytest.fixture
def write(tmp_path):
    def write(name, operations, log=None, balances=BALANCES):
        path = tmp_path / name
        history_file.save(path, operations, log, balances)
        return str(path)

    return write


def log_of(*requests):
    log = CommitLog()
    answers = Machine(BALANCES).execute(1, requests)
    log.add(1, 1, [(r, a[2]) for r, a in zip(requests, answers, strict=True)])
    return log


def answered(request, slot, result, invoked_at=0, answered_at=10):
    return Operation(request, 1, invoked_at, answered_at, result, slot)


GOOD = [answered(PAY, 1, SUCCESS), answered(LOOK, 2, 13, 20, 30)]
HARD = [answered((f"c{i}", 1, "transfer", "A", "B", 1), i, SUCCESS) for i in range(1, 11)]
HARD += [answered(("B", 1, "read", "B", "", 0), 11, 15)]


def check(capsys, *arguments):
    code = cli.main(["check", *arguments])
    return code, *capsys.readouterr()


def test_with_its_log_a_history_is_judged_by_all(write, capsys):
    file = write("good.jsonl", GOOD, log_of(PAY, LOOK))
    assert check(capsys, file) == (
        0,
        f"{file}: 2 operations, 2 answered, 2 slots\n"
        "✓ agreement\n✓ exactly_once\n✓ linearizable\n✓ linearizable (clients only)\nvalid\n",
        "",
    )


def test_without_a_log_by_what_clients_saw(write, capsys):
    file = write("clients.jsonl", [*GOOD, Operation(("A", 2, "read", "A", "", 0), 1, 5)])
    assert check(capsys, file) == (
        0,
        f"{file}: 3 operations, 2 answered, no log\n✓ linearizable (clients only)\nvalid\n",
        "",
    )


def two_values():
    log = log_of(PAY, LOOK)
    log.add(2, 1, [(LOOK, 10)])
    return log


@pytest.mark.parametrize(
    ("operations", "log", "line"),
    [
        (
            [GOOD[0], answered(LOOK, 2, 10, 20, 30)],
            None,
            "✗ linearizable (clients only) no order explains B's (B) = 10, 20-30 µs, with B at 13 "
            "before",
        ),
        (GOOD, two_values(), "✗ agreement slot 1: n2 executed"),
        (
            GOOD,
            log_of(PAY, PAY, LOOK),
            "✗ exactly_once B's (B) (timestamp 1) was answered for slot",
        ),
        (
            [answered(PAY, 2, SUCCESS), answered(LOOK, 1, 10, 20, 30)],
            log_of(LOOK, PAY),
            "✗ linearizable A's (A, B, 3) in slot 2 was answered before B's (B) in slot 1 was sent",
        ),
    ],
    ids=["a stale read", "two values in a slot", "another slot", "a slot before its time"],
)
def test_a_violation_is_1(write, capsys, operations, log, line):
    code, out, _ = check(capsys, write("bad.jsonl", operations, log))
    assert code == 1
    assert line in out and out.endswith("\ninvalid\n")


@pytest.mark.parametrize("operations", [[], [Operation(PAY, 1, 5)]])
def test_a_history_without_an_answer_is_3(write, capsys, operations):
    """Every check holds of nothing."""
    code, out, _ = check(capsys, write("none.jsonl", operations))
    assert code == 3 and "? answers no operation was answered, there is nothing to judge\n" in out


def test_out_of_budget_is_3(write, capsys):
    file = write("hard.jsonl", HARD)
    code, out, _ = check(capsys, file, "--budget", "4")
    assert code == 3
    assert "? linearizable (clients only) gave up after 4 configurations" in out
    assert check(capsys, file)[0] == 0


def test_slots_that_nobody_told_are_3(write, capsys):
    log = CommitLog({2: (LOOK, 13)})
    code, out, _ = check(capsys, write("gap.jsonl", GOOD, log))
    assert code == 3 and "? exactly_once slot 1 is not known" in out


def test_what_began_in_an_earlier_run_is_not_guessed(write, capsys):
    log = log_of(PAY, LOOK)
    log.known_before = 1
    code, out, _ = check(capsys, write("resumed.jsonl", GOOD[1:], log))
    assert code == 3
    assert "✓ linearizable\n" in out
    assert "clients of earlier runs filled slots up to 1: not in this file" in out


def test_the_worst_of_several_files_counts(write, capsys):
    files = [
        write("good.jsonl", GOOD),
        write("hard.jsonl", HARD),
        write("bad.jsonl", [answered(PAY, 1, FAILED)]),
    ]
    assert check(capsys, *files[:2], "--budget", "4")[0] == 3
    code, out, _ = check(capsys, *files, "--budget", "4")
    assert code == 1 and all(f"{file}: " in out for file in files)


def test_json_is_one_document(write, capsys):
    file = write("bad.jsonl", [answered(PAY, 1, FAILED)])
    code, out, err = check(capsys, file, "--format", "json")
    document = json.loads(out)
    assert (code, err, document["verdict"]) == (1, "", "invalid")
    (one,) = document["files"]
    assert (one["file"], one["operations"], one["slots"], one["verdict"]) == (
        file,
        1,
        None,
        "invalid",
    )
    (told,) = one["checks"]
    assert (told["check"], told["verdict"]) == ("linearizable (clients only)", "invalid")
    assert told["reason"].startswith("no order explains A's (A, B, 3) = failed")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "required: FILE"),
        (["{good}", "{folder}/none.jsonl"], "none.jsonl: no such file, expected a saved history"),
        (["{good}", "--budget", "0"], '--budget: found "0", expected a number from 1 on'),
        (["{good}", "--budget", "many"], '--budget: found "many"'),
        (["{good}", "--budget", "9" * 9999], "--budget: found"),
        (["{good}", "--format", "jsn"], "expected rich or json (did you mean json?)"),
    ],
)
def test_mistakes_are_2(write, tmp_path, capsys, arguments, told):
    good = write("good.jsonl", GOOD)
    words = [word.format(good=good, folder=tmp_path) for word in arguments]
    code, out, err = check(capsys, *words)
    assert (code, out) == (2, "") and told in err and "Traceback" not in err


def test_a_damaged_file_is_2_and_nothing_is_judged(write, capsys):
    good, damaged = write("good.jsonl", GOOD), write("damaged.jsonl", GOOD)
    with open(damaged, "a") as stream:
        stream.write("more\n")
    code, out, err = check(capsys, good, damaged)
    assert (code, out) == (2, "") and f"{damaged}:4: found a line, expected the end" in err


def test_the_help_names_it(capsys):
    assert cli.main(["--help"]) == 0
    assert "check" in capsys.readouterr().out
