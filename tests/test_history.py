"""Saved histories come back as they were; a damaged file is refused with file, line and reason."""

import json

import pytest
from conductor import take
from hypothesis import given, settings
from hypothesis import strategies as st

from bank.ballot import Ballot
from bank.ledger import FAILED, SUCCESS
from bank.sessions import NOOP_REQUEST, Machine
from harness.cluster.driver import CommitLog
from harness.cluster.history import Operation
from harness.errors import EXIT_MACHINE, HarnessError
from harness.files import history_file

BALANCES = {"A": 10, "B": 10}
PAY = ("A", 1, "transfer", "A", "B", 3)
LOOK = ("B", 1, "read", "B", "", 0)
OPERATIONS = [
    Operation(PAY, 1, 5, 10, SUCCESS, 1, Ballot(1, 1), 1),
    Operation(LOOK, 1, 6, 12, 13, 2, Ballot(2, 3), 2),
    Operation(("A", 2, "transfer", "A", "B", 30), 2, 11, 20, FAILED, 4, Ballot(2, 3), 3),
    Operation(("A", 3, "transfer", "A", "B", 1), 2, 21),  # pending
    Operation(("A", 0, "read", "A", "", 0), 2, order=5, dropped_at=30),  # never sent
]


def known_log():
    machine = Machine(BALANCES)
    machine.execute(1, [PAY])
    log = CommitLog(base=take(1, "ab" * 32, machine), known_before=1)
    log.add(1, 2, [(LOOK, 13), (NOOP_REQUEST, "skipped")])
    log.add(2, 3, [(PAY, SUCCESS)])
    return log


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "run.jsonl"
    history_file.save(path, OPERATIONS, known_log(), BALANCES)
    return path


def test_what_was_saved_comes_back(file):
    saved, log = history_file.load(file), known_log()
    assert saved.operations == OPERATIONS
    assert saved.balances == BALANCES
    assert log.contradictions
    for name in ("slots", "base", "known_before", "contradictions"):
        assert getattr(saved.log, name) == getattr(log, name)


def test_without_a_log_there_is_none(tmp_path):
    path = tmp_path / "clients.jsonl"
    history_file.save(path, OPERATIONS, None, BALANCES)
    saved = history_file.load(path)
    assert saved.log is None and saved.operations == OPERATIONS
    assert len(path.read_text().splitlines()) == 1 + len(OPERATIONS)


def test_every_line_is_json_and_says_what_it_is(file):
    head, *lines = map(json.loads, file.read_text().splitlines())
    assert head["history"] == 1 and head["balances"] == BALANCES
    assert [line["client"] for line in lines if "client" in line] == ["A", "B", "A", "A", "A"]
    assert [line["slot"] for line in lines if "request" in line] == [2, 3]
    assert lines[0]["invoked_at"] == 5 and lines[0]["ballot"] == [1, 1]


names = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=3)
numbers = st.integers(0, 2**62)


@st.composite
def operations(draw):
    kept = []
    for timestamp in range(draw(st.integers(0, 5))):
        is_read = draw(st.booleans())
        what = ("read", draw(names), "", 0) if is_read else ("transfer", draw(names), draw(names))
        request = (draw(names), timestamp, *what, *(() if is_read else (draw(st.integers()),)))
        invoked_at, result = draw(numbers), draw(numbers if is_read else st.just(SUCCESS))
        answered = (invoked_at + draw(numbers), draw(st.sampled_from([result, FAILED])))
        times = draw(st.sampled_from([(None,), (invoked_at,), (invoked_at, *answered)]))
        kept.append(Operation(request, draw(numbers), *times))
    return kept


@settings(max_examples=60, deadline=None)
@given(operations(), st.dictionaries(names, numbers))
def test_any_history_comes_back(tmp_path_factory, made, balances):
    path = tmp_path_factory.mktemp("any") / "x.jsonl"
    history_file.save(path, made, CommitLog(), balances)
    saved = history_file.load(path)
    assert (saved.operations, saved.balances, saved.log.slots) == (made, balances, {})


def change(path, line, **changes):
    lines = path.read_text().splitlines()
    lines[line - 1] = json.dumps(json.loads(lines[line - 1]) | changes)
    path.write_text("\n".join(lines) + "\n")


DAMAGE = {
    "another version": (1, {"history": 2}, "history: found 2, expected version 1"),
    "no balance": (1, {"balances": {"A": -1}}, 'balances: found {"A": -1}, expected a balance'),
    "a negative count": (1, {"slots": -1}, "slots: found -1, expected a number from 0 on, or null"),
    "log announced away": (1, {"slots": None}, "slots: found null, expected a number, for the"),
    "a damaged checkpoint": (1, {"base": "x"}, "base: found a damaged one, expected a whole"),
    "too few operations": (1, {"operations": 4}, "expected slot 1 of 2"),
    "too many operations": (1, {"operations": 6}, "expected operation 6 of 6"),
    "an unknown kind": (2, {"kind": "pay"}, 'kind: found "pay", expected "transfer" or "read"'),
    "a name that upsets terminals": (2, {"client": "\x1b[2J"}, "client: found"),
    "half a character": (2, {"client": "\ud800"}, "client: found"),
    "a truth as number": (2, {"amount": True}, "amount: found true, expected a number"),
    "an unknown field": (2, {"slott": 1}, "slott: unknown key, expected one of client, timestamp"),
    "an answer before it was sent": (2, {"answered_at": 4}, "answered_at: found 4, invoked_at 5"),
    "an answer without result": (2, {"result": None}, "a time and a result, or neither"),
    "a balance for a transfer": (2, {"result": 7}, "result: found 7, expected an answer to a tra"),
    "success of a read": (3, {"result": "success"}, "expected an answer to a read"),
    "a ballot of one number": (2, {"ballot": [1]}, "ballot: found [1], expected [number, replica]"),
    "a time that is none": (
        5,
        {"dropped_at": "late"},
        'dropped_at: found "late", expected a number',
    ),
    "a request twice": (4, {"timestamp": 1}, "found that of line 2 again, expected each request"),
    "a slot twice": (8, {"slot": 2}, "slot: found 2 again, expected each slot once"),
    "a slot without result": (7, {"result": None}, "result: found null, expected what the slot"),
    "a request in pieces": (7, {"request": ["A"]}, 'request: found ["A"], expected [client, time'),
    "a kind that is none": (7, {"request": ["A", 1, [], "A", "B", 1]}, "request: found"),
    "a contradiction of lines": (9, {"contradiction": "a\nb"}, "expected a line of text"),
}


@pytest.mark.parametrize(("line", "changes", "told"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_line_is_refused(file, line, changes, told):
    change(file, line, **changes)
    with pytest.raises(HarnessError) as caught:
        history_file.load(file)
    (problem,) = caught.value.problems
    if "operations" in changes:
        line = 6 if changes["operations"] == 4 else 7
    assert problem.startswith(f"{file}:{line}: ")
    assert told in problem and problem.isprintable()
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("kept", range(9))
def test_a_file_that_ends_early_is_refused(file, kept):
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:kept]))
    with pytest.raises(HarnessError, match=f"run.jsonl:{kept + 1}: found the end of the file"):
        history_file.load(file)


@pytest.mark.parametrize("line", range(1, 10))
def test_a_file_that_ends_within_a_line_is_refused(file, line):
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[: line - 1]) + lines[line - 1][:12])
    with pytest.raises(HarnessError, match=f"run.jsonl:{line}: found .* as JSON"):
        history_file.load(file)


def test_a_line_too_many_is_refused(file):
    with open(file, "a") as stream:
        stream.write("{}\n")
    with pytest.raises(HarnessError, match=r":10: found a line, expected the end of the file"):
        history_file.load(file)


@pytest.mark.parametrize(
    "data",
    [b"Set Number,Transactions\n", b"\x00\xff\xfe", b"[" * 100_000, b"[]\n", b"7\n", b"\n"],
    ids=["a test set", "bytes", "brackets", "a list", "a number", "an empty line"],
)
def test_another_kind_of_file_is_refused(tmp_path, data):
    path = tmp_path / "other"
    path.write_bytes(data)
    with pytest.raises(HarnessError, match=r":[12]: found .*, expected the first line of a saved"):
        history_file.load(path)


def test_a_file_that_is_not_there(file):
    with pytest.raises(HarnessError, match=r"no such file.*\(did you mean .*/run.jsonl\?\)"):
        history_file.load(file.with_name("runn.jsonl"))
    with pytest.raises(HarnessError, match="is a folder, expected a saved history"):
        history_file.load(file.parent)


def test_a_place_that_cannot_be_written(tmp_path):
    with pytest.raises(HarnessError, match="cannot be written") as caught:
        history_file.save(tmp_path, [], None, BALANCES)
    assert caught.value.exit_code == EXIT_MACHINE


HEAD = '{"history": 1, "balances": {"A": 10}}'
READ_IT = '{"client": "a", "kind": "read", "account": "A", "invoked_at": 1}'


def test_a_short_history_may_begin_with_remarks(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text(f"# mine\n\n{HEAD}\n{READ_IT}\n")
    assert len(history_file.load(path).operations) == 1
    path.write_text("# mine\n")
    with pytest.raises(HarnessError, match=r"mine.jsonl:2: found the end of the file"):
        history_file.load(path)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (HEAD.replace('"A": 10', '"A": 10, "A": 20'), "1: A"),
        (HEAD + "\n" + READ_IT.replace('"kind"', '"client": "b", "kind"'), "2: client"),
    ],
)
def test_a_key_that_stands_twice_is_refused(tmp_path, text, where):
    path = tmp_path / "mine.jsonl"
    path.write_text(text + "\n")
    with pytest.raises(HarnessError, match=f"mine.jsonl:{where}: found it twice, expected each"):
        history_file.load(path)
