"""Named situations as scripts, each with the trace that it must leave; see `script_runner`.

    PAXBANK_REWRITE=1 python -m pytest tests/test_scripts.py

rewrites what tests/scripts/*.txt expect; read the difference before you keep it. Each script must
notice when the rule that it is about is taken out of the code: see `catalogue`.
"""

import os
from difflib import unified_diff
from pathlib import Path

import pytest

from bank.replica import Replica
from harness.sim.script import ScriptError, parse, written
from harness.sim.script_runner import play

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.txt"))
LONGEST = 60  # lines: read in a minute
WIDEST = 100  # columns


def difference(path: Path) -> str:
    """What a script expects against what happens, as a diff; empty when they are the same."""
    expected, happened, stopped = parse(path.read_text(encoding="utf-8"), path.name), [], []
    try:
        for block in play(path):
            happened.append(block)
    except (AssertionError, ScriptError) as error:
        stopped = [f"stopped: {error}", *getattr(error, "__notes__", [])]
        expected = expected[: len(happened)]
    texts = written(expected).splitlines(), written(happened).splitlines()
    return "\n".join(
        [*unified_diff(*texts, f"{path.name}: expected", "played", lineterm=""), *stopped]
    )


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script(path):
    if os.environ.get("PAXBANK_REWRITE"):
        path.write_text(written(list(play(path))), encoding="utf-8")
    if found := difference(path):
        pytest.fail(found, pytrace=False)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script_is_read_in_a_minute(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LONGEST
    assert max(map(len, lines)) <= WIDEST


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("# x\nnodes 3\nelekt n1\n----\n", "s.txt:3: unknown command: elekt n1"),
        ("# x\nnodes 3\n\nquietly delete n1\n----\n", "s.txt:4: unknown command: delete n1"),
        ("# x\nelect n1\n----\n", "s.txt:2: `nodes N` comes first, not: elect n1"),
        ("# x\nnodes 3\nexpire n4\n----\n", "s.txt:3: there is no n4, expected n1..n3"),
        ("# x\nnodes 3\ncrash n1\nrequest n1 (A)\n----\n", "s.txt:4: n1 is crashed"),
        ("# x\nnodes 3\nrestart n1\n----\n", "s.txt:3: n1 is running"),
        ("# x\nnodes 3\ndamage n1 A 9\n----\n", "s.txt:3: n1 is running"),
        (
            "# x\nnodes 3\ncrash n1\ndamage n1 1 (A, B, 3)\n----\n",
            "s.txt:4: n1 stores nothing in slot 1",
        ),
        ("# x\nnodes 3\ndeliver n1->n2\n----\n", "s.txt:3: no message is under way there"),
        ("# x\nnodes 3\nretry n1 A\n----\n", "s.txt:3: client A asked for nothing yet"),
        ("# x\nnodes 3\ncrash n2 after write\n----\n", "s.txt: never crashed: n2 after write"),
        ("# x\nnodes 3\n", "s.txt:2: the last commands have no line ----"),
        ("nodes 3\n----\n", "s.txt:1: the first line says the situation: # …"),
    ],
)
def test_wrong_script_is_refused_with_its_line(text, complaint, tmp_path):
    path = tmp_path / "s.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ScriptError) as refused:
        list(play(path))
    assert str(refused.value) == complaint


def test_what_is_asserted_is_told_with_its_line(tmp_path, monkeypatch):
    monkeypatch.setattr(Replica, "deadline", lambda replica: None)
    path = tmp_path / "s.txt"
    path.write_text("# x\nnodes 3\nexpire n1\n----\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="waits for nothing") as failed:
        list(play(path))
    assert failed.value.__notes__ == ["s.txt:3: expire n1"]


def test_comments_and_commands_are_kept_as_written():
    text = "# x\n\nnodes 3\n# why\nstatus\n----\nold\n\nlog n1\n----\nolder\n"
    assert written(parse(text, "s.txt")) == text
