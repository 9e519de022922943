"""A contradiction as a picture and in words, beside `check` and in a report; and the short form."""

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import browser
import pytest
from screen_fakes import set_six
from test_checks import BALANCES as RUN_BALANCES
from test_html import page as report_page

from bank.ledger import READ, SUCCESS, TRANSFER
from bank.sessions import Machine
from harness import cli
from harness.check.contradiction import Contradiction
from harness.check.judges import judge_run
from harness.check.verdict import Judgement, Verdict
from harness.cluster.driver import CommitLog
from harness.cluster.history import Operation
from harness.errors import HarnessError
from harness.files import history_file
from harness.report.contradiction import Mark, page, section
from harness.report.html import style

DOCUMENT = (Path(__file__).parents[1] / "docs" / "histories.md").read_text("utf-8")
EXAMPLE = DOCUMENT.split("```json lines\n")[1].split("```")[0]

PAID = Operation(("ann", 1, TRANSFER, "A", "B", 3), 6, 5_000, 90_000, SUCCESS)
FIRST = Operation(("bob", 1, READ, "B", "", 0), 6, 10_000, 20_000, 13)
LATER = Operation(("bob", 2, READ, "B", "", 0), 6, 30_000, 40_000, 10)
OPEN = Operation(("<cem>", 1, TRANSFER, "B", "A", 5), 6, 35_000)
FOUND = Contradiction(LATER, (PAID, FIRST, OPEN), {"B": 10}, since=4_000)
PART = replace(FOUND, is_whole=False)
MARKS = [
    Mark(25_000, "F(n3)", "fault"),
    Mark(60_000, "n2 leads", "leader"),
    Mark(99_000, "too late", "fault"),
]


def svg(text):
    return ElementTree.fromstring(re.search(r"<svg.*</svg>", text, re.DOTALL)[0])


def test_clients_are_lanes_and_operations_bars():
    picture = svg(section(FOUND, MARKS))
    texts = {text.text: text.attrib for text in picture.iter("text")}
    assert [t for t, a in texts.items() if a["class"] == "client"] == ["ann", "bob", "<cem>"]
    bars = [b for b in picture.iter("rect") if b.attrib["class"].startswith("bar")]
    assert [b.attrib["class"] for b in bars] == ["bar done", "bar done", "bar failed", "bar open"]
    begins = [float(b.attrib["x"].rstrip("%")) for b in bars]
    ends = [x + float(b.attrib["width"].rstrip("%")) for x, b in zip(begins, bars, strict=True)]
    paid, first, later, still = zip(begins, ends, strict=True)
    assert paid[0] < first[0] < first[1] < later[0] < still[0] < later[1] < paid[1] < still[1]
    assert still[1] == pytest.approx(100, abs=0.2) and paid[0] >= 0
    assert texts["(B) = 10 ✗ fits nowhere"]["class"] == "what failed"
    assert "(B, A, 5) never answered" in texts and "too late" not in texts
    lines = {
        line.attrib["class"]: float(line.attrib["x1"].rstrip("%")) for line in picture.iter("line")
    }
    assert first[1] < lines["mark fault"] < later[0] < later[1] < lines["mark leader"] < paid[1]


def test_the_same_stands_there_in_words():
    text = section(FOUND, MARKS, {id(LATER): "<linked>"})
    items = re.findall(r"<li>(.*?)</li>", text)
    assert items == [
        "1.000 ms: ann asks (A, B, 3), and has the answer success at 86.000 ms",
        "6.000 ms: bob asks (B), and has the answer 13 at 16.000 ms",
        "21.000 ms: F(n3)",
        "26.000 ms: bob asks (B), and has the answer 10 at 36.000 ms: this answer fits nowhere "
        "&lt;linked&gt;",
        "31.000 ms: &lt;cem&gt; asks (B, A, 5), and is not answered",
        "56.000 ms: n2 leads",
    ]
    assert "Before them B is 10. No order" in text
    assert "It does not matter what came before." in section(replace(FOUND, before={}))
    part = section(PART)
    assert "it takes all before them to prove it." in part and "No order of these" not in part
    assert "at 36.000 ms: this answer or one before it fits nowhere" in part
    assert "(B) = 10 ✗ this or one before<" in part and "✗ fits nowhere" not in part


@pytest.mark.skipif(browser.find() is None, reason="no browser is installed")
def test_nothing_is_cut_off_on_any_width(tmp_path):
    (tmp_path / "why.html").write_text(page({"x.jsonl": FOUND, "y.jsonl": PART}, style()))
    outside = """[...document.querySelectorAll('.contradiction text')].filter(text => {
        const own = text.getBoundingClientRect()
        return own.left < 0 || own.right > innerWidth }).map(text => text.textContent)"""
    with browser.Browser(browser.find()) as chromium:
        opened = chromium.open(tmp_path / "why.html")
        for width in (390, 800, 1200):
            opened.resize(width, 800)
            assert opened.run(outside) == []
            assert opened.run("document.documentElement.scrollWidth <= innerWidth")


def test_a_report_shows_it_once_with_its_faults_and_messages():
    """Every later set has the same history, and finds the same."""
    report = set_six()
    judgement = Judgement("linearizable", Verdict.INVALID, str(FOUND), FOUND)
    wrong = replace(report, judgements=(judgement,))
    text = report_page(wrong, replace(wrong, number=7, position=7))
    assert text.count("Why it does not hold") == 1
    assert text.count('class="contradiction"') == 1 and ">messages</a>" in text
    assert "Why it does not hold" not in report_page(report)


def test_a_run_shows_what_its_clients_saw():
    requests = [("A", 1, TRANSFER, "A", "B", 3), ("B", 1, READ, "B", "", 0)]
    answers = Machine(RUN_BALANCES).execute(1, requests)
    log = CommitLog()
    log.add(1, 1, [(r, a[2]) for r, a in zip(requests, answers, strict=True)])
    paid, read = (Operation(r, 1, 0, 10, a[2], slot) for slot, (r, a) in
                  enumerate(zip(requests, answers, strict=True), 1))  # fmt: skip
    early = replace(read, invoked_at=20, answered_at=30)
    late = replace(paid, invoked_at=40, answered_at=50)
    *_, judged = judge_run(RUN_BALANCES, log, [early, late], None)
    assert judged.verdict is Verdict.INVALID and judged.evidence.failed is early
    *_, judged = judge_run(RUN_BALANCES, log, [paid, early], None)
    assert judged.verdict is Verdict.VALID and judged.evidence is None


# ---- beside `check`, by hand -------------------------------------------------------------------


def test_the_example_of_the_document_gives_what_it_says(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.jsonl").write_text(EXAMPLE)
    assert cli.main(["check", "mine.jsonl", "--picture", "why.html"]) == 1
    said = DOCUMENT.split("--picture why.html\n")[1].split("```")[0]
    assert capsys.readouterr().out == said
    assert "mine.jsonl" in Path("why.html").read_text()
    # A page of before is not left beside a file that is right.
    Path("mine.jsonl").write_text(EXAMPLE.replace('"result": 10}', '"result": 13}'))
    assert cli.main(["check", "mine.jsonl", "--picture", "why.html"]) == 0
    assert not Path("why.html").exists()
    Path("mine.jsonl").write_text(EXAMPLE)
    assert cli.main(["check", "mine.jsonl", "--picture", "none/why.html"]) == 2
    assert "--picture: none/why.html: cannot be written" in capsys.readouterr().err


def load(tmp_path, *lines):
    (tmp_path / "x.jsonl").write_text("\n".join(lines))
    return history_file.load(tmp_path / "x.jsonl")


HEAD = '{"history": 1, "balances": {"A": 10}}'
LINE = {"client": "x", "kind": "read", "account": "A", "invoked_at": 1}


def test_the_short_form_fills_in_what_is_left_out(tmp_path):
    saved = load(tmp_path, HEAD, "", "# a note", json.dumps(LINE), json.dumps(LINE))
    assert (saved.balances, saved.log) == ({"A": 10}, None)
    assert saved.operations == [Operation(("x", line, READ, "A", "", 0), 1, 1) for line in (4, 5)]
    assert load(tmp_path, HEAD).operations == []


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "x.jsonl:2: found {, expected an operation as JSON"),
        ("[]", "x.jsonl:2: found [], expected an operation"),
        (json.dumps({**LINE, "kind": "look"}), "x.jsonl:2: kind: found"),
        (json.dumps({**LINE, "amuont": 3}), "amount"),
        (json.dumps({**LINE, "answered_at": 5}), "expected a time and a result, or neither"),
        (json.dumps({"client": "x"}), "expected an operation with 'kind'"),
    ],
)
def test_a_wrong_line_of_the_short_form_is_refused(tmp_path, line, told):
    with pytest.raises(HarnessError) as refused:
        load(tmp_path, HEAD, line)
    assert told in str(refused.value)
