"""CSV test sets: each tolerance with its exact bytes, each refusal with its exact words."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bank.ledger import READ, TRANSFER
from harness.cluster.nemesis import Fail, FailLeader, Recover
from harness.errors import EXIT_USAGE, HarnessError
from harness.files import config, testset, text_file
from harness.files.cases import CaseSet, Command, Step
from harness.files.causes import OtherCluster
from harness.files.config import ClusterConfig
from harness.files.steps import Names

ACCOUNTS = tuple("ABCDEFGHIJ")
TEN_SETS = Path(__file__).parents[2] / "shared" / "testsets" / "ten-sets.csv"


def parse(data: bytes, nodes: int = 5, accounts: tuple[str, ...] = ACCOUNTS) -> list[CaseSet]:
    settings = ClusterConfig(nodes=nodes, accounts=accounts)
    return list(testset.parse_csv(data, "x.csv", settings).sets)


def brief(sets: list[CaseSet]) -> list[str]:
    """One line per set, without lines of the file: '1 n1 n2: (A, J, 3) LF'."""
    lines = []
    for case in sets:
        live = " ".join(f"n{replica}" for replica in sorted(case.live))
        lines.append(f"{case.number} {live}: {' '.join(step.text for step in case.steps)}")
    return lines


def problems(data: bytes) -> list[str]:
    with pytest.raises(HarnessError) as refusal:
        parse(data)
    assert refusal.value.exit_code == EXIT_USAGE
    return list(refusal.value.problems)


def test_every_step_is_read_with_its_line() -> None:
    data = (
        b"Set Number,Transactions,Live Nodes\n"
        b'7,"(A, J, 3)","[n1, n2, n3]"\n,(B),\n,LF,\n\n,F(n3),\n,R(n3),\n8,LF,[n2]\n'
    )
    assert parse(data) == [
        CaseSet(
            7,
            frozenset({1, 2, 3}),
            (
                Step(2, "(A, J, 3)", Command(TRANSFER, "A", "J", 3)),
                Step(3, "(B)", Command(READ, "B", "", 0)),
                Step(4, "LF", FailLeader()),
                Step(6, "F(n3)", Fail(3)),
                Step(7, "R(n3)", Recover(3)),
            ),
            2,
        ),
        CaseSet(8, frozenset({2}), (Step(8, "LF", FailLeader()),), 8),
    ]


HEADER = b"Set Number,Transactions,Live Nodes\n"
USUAL = ["1 n1 n2: (A, J, 3) LF", "2 n2: (C, D, 1)"]
ROWS = b'1,"(A, J, 3)","[n1, n2]"\n,LF,\n2,"(C, D, 1)","[n2]"\n'

TOLERATED = {
    "as specified": HEADER + ROWS,
    "CR LF": (HEADER + ROWS).replace(b"\n", b"\r\n"),
    "CR": (HEADER + ROWS).replace(b"\n", b"\r"),
    "byte order mark": b"\xef\xbb\xbf" + HEADER + ROWS,
    "byte order mark, no header": b"\xef\xbb\xbf" + ROWS,
    "no final newline": (HEADER + ROWS).rstrip(),
    "no trailing commas": HEADER + b'1,"(A, J, 3)","[n1, n2]"\n,LF\n2,"(C, D, 1)","[n2]"',
    "too many trailing commas": HEADER + ROWS.replace(b"\n", b",,,\n"),
    "stray spaces": b' 1 , " ( A , J ,  3 ) " , "[ n1 ,n2 ]" \n , LF , \n2,"(C,D,1) ",[ n2]\n',
    "no-break spaces": '1,"(A,\xa0J, 3)",\xa0"[n1, n2]"\n,LF,\n2,"(C, D, 1)",[n2]'.encode(),
    "[n1,n2]": ROWS.replace(b", ", b","),
    "no brackets": ROWS.replace(b"[", b"").replace(b"]", b""),
    "no brackets, no quotes": b"1,(A, J, 3),n1,n2\n,LF\n2,(C, D, 1),n2",
    "no quotes": ROWS.replace(b'"', b""),
    "LF quoted": ROWS.replace(b"LF", b'"LF"'),
    "lf": ROWS.replace(b"LF", b"lf"),
    "number and nodes on each row": ROWS.replace(b",LF,", b'1,LF,"[n2,n1]"'),
    "number on each row": ROWS.replace(b",LF,", b"1,LF,"),
    "nodes on each row": ROWS.replace(b",LF,", b",LF,n1;n2"),
    "steps joined by ;": b'1,"(A, J, 3); LF","[n1, n2]"\n2,"(C, D, 1)","[n2]"\n',
    "steps joined by ,": b'1,"(A, J, 3), LF","[n1, n2]"\n2,"(C, D, 1)","[n2]"\n',
    "steps joined, no quotes": b"1,(A, J, 3);LF,[n1, n2]\n2,(C, D, 1),[n2]\n",
    "steps in columns": b"1,(A, J, 3),LF,[n1, n2]\n2,(C, D, 1),[n2]\n",
    "; between columns": (HEADER + ROWS)
    .replace(b"r,T", b"r;T")
    .replace(b"s,L", b"s;L")
    .replace(b'","', b'";"')
    .replace(b',"(', b';"(')
    .replace(b",LF,", b";LF;"),
    "; between columns, no quotes": b"1;(A, J, 3);[n1, n2]\n;LF\n2;(C, D, 1);n2\n",
    "; between columns and steps": b"1;(A, J, 3);LF;n1,n2\n2;(C, D, 1);n2\n",
    "tab between columns": b"Set Number\tTransactions\tLive Nodes\n"
    b"1\t(A, J, 3)\tn1, n2\n\tLF\n2\t(C, D, 1)\t[n2]\n",
    "tab between columns, no header": b'1\t"(A, J, 3); LF"\t[n1; n2]\n2\t(C, D, 1)\t[n2]',
    "lower case": ROWS.lower(),
    "upper case": ROWS.upper(),
    "header in lower case": HEADER.lower() + ROWS,
    "header without space": b"SetNumber,Transactions,LiveNodes\n" + ROWS,
    "header in upper case, quoted": b'"SET NUMBER","TRANSACTIONS","LIVE NODES"\n' + ROWS,
    "Transaction": b"Set Number,Transaction,Live Nodes\n" + ROWS,
    "no header": ROWS,
    "blank lines": b"\n , ,\n" + HEADER + b",,\n\n" + ROWS.replace(b"\n", b"\n \n\t\n"),
    "comments": b"# first, a remark\n" + HEADER + b'# "one quote, only\n' + ROWS + b"#,,\n",
    "comments in quotes": b'"# a; remark",,\n' + ROWS.replace(b"\n", b"\n  # and one\n"),
    "sep=;": b"sep=;\n"
    + (HEADER + ROWS)
    .replace(b'","', b'";"')
    .replace(b',"(', b';"(')
    .replace(b",LF,", b";LF;")
    .replace(b"r,T", b"r;T")
    .replace(b"s,L", b"s;L"),
    "sep=|": b'"sep=|"\r\n1|(A, J, 3)|[n1, n2]\r\n|LF\r\n2|(C, D, 1)|n2\r\n',
    "sep=, and a header": b"SEP=,\n" + HEADER + ROWS,
    "Live Servers": b"Set Number,Transactions,Live Servers\n" + ROWS,
    "Commands, Live": b"Set,Commands,Live\n" + ROWS,
    "#": b"#,Steps,Replicas\n" + ROWS,
    "columns in another order": b"Live Nodes,Set Number,Transactions\n"
    b'"[n1, n2]",1,"(A, J, 3)"\n,,LF\n"[n2]",2,"(C, D, 1)"\n',
    "a header twice": HEADER + b"\n" + HEADER + ROWS.replace(b"2,", HEADER + b"2,"),
    "points of nothing": b"Set Number,Transactions,Live Nodes,Points\n" + ROWS,
    "S1": ROWS.replace(b"n", b"S"),
    "bare numbers": ROWS.replace(b"n", b""),
    "blanks between replicas": ROWS.replace(b"n1, n2", b"S1 S2"),
    "server 1": ROWS.replace(b"n", b"Server "),
    "1.0": b'1.0,"(A, J, 3.00)","[n1, n2]"\n1,LF,\n2.,"(C, D, 1.0)","[n2]"\n',
    "Set 1": ROWS.replace(b"1,", b"Set 1,", 1).replace(b"2,", b"set #2,"),
    "Python lists": b"""1,"('A', 'J', 3)","['n1', 'n2']"\n,'LF'\n2,'(C, D, 1)',"['n2']"\n""",
    "curly quotes": ROWS.decode().replace(',"', ",“").replace('",', "”,").encode(),
    "full-width signs": ROWS.decode().translate({33 + i: 0xFF01 + i for i in range(94)}).encode(),
    "other blanks": ROWS.decode().replace(" ", "\u3000").replace("[", "[\u200b").encode(),
    "Cyrillic and Greek": ROWS.decode()
    .replace("A", "А")
    .replace("J", "Ј")
    .replace("C", "с")
    .encode(),
    "Windows-1252": b"# f\xfcr alle\n" + ROWS.replace(b',"', b",\x93").replace(b'",', b"\x94,"),
    "Windows blanks": ROWS.replace(b", ", b",\xa0"),
    "UTF-16": (HEADER + ROWS).decode().encode("utf-16"),
    "UTF-16, the other way": b"\xfe\xff" + (HEADER + ROWS).decode().encode("utf-16-be"),
    "UTF-16 without a mark": (HEADER + ROWS).decode().encode("utf-16-le"),
    "steps in lines of a cell": b'1,"(A, J, 3)\nLF","[n1, n2]"\n2,"(C, D, 1)",n2\n',
    "commas and lines": b'1,"(A, J, 3),\r\n\r\nLF;\r\n","[n1,\r\nn2]"\r\n2,"(C,\r\nD, 1)",n2',
    "replicas in lines of a cell": b'1,(A, J, 3); LF,"n1\nn2"\n2,"(C, D, 1)","[n2]\n"\n',
    "a header in lines": b'"Set\nNumber",Transactions,"Live\nNodes"\n' + ROWS,
    "leading zeros": b"01,(A, J, 003),[n1, n2]\n,LF\n2,(C, D, 1),[n2]",
}


@pytest.mark.parametrize("data", TOLERATED.values(), ids=TOLERATED.keys())
def test_tolerated(data: bytes) -> None:
    assert brief(parse(data)) == USUAL


def said(data: bytes) -> list[str]:
    return list(testset.parse_csv(data, "x.csv", ClusterConfig()).notes)


SAID = {
    "as specified": [],
    "CR LF": [],
    "1.0": [],
    "comments": [],
    "Live Servers": ['x.csv:1: the header is read: "Live Servers" as Live Nodes'],
    "Commands, Live": [
        'x.csv:1: the header is read: "Set" as Set Number, "Commands" as Transactions, '
        '"Live" as Live Nodes'
    ],
    "S1": ["x.csv: read S1 as n1, S2 as n2"],
    "blanks between replicas": [
        "x.csv: read blanks between replicas as commas, S1 as n1, S2 as n2"
    ],
    "curly quotes": ["x.csv:1: curly quotes are read as plain ones"],
    "full-width signs": ["x.csv:1: full-width signs are read as plain ones"],
    "Cyrillic and Greek": [
        "x.csv: read А (of another script) as A, Ј (of another script) as J, "
        "с (of another script) as C"
    ],
    "Windows-1252": [
        "x.csv: is Windows-1252 and read as that",
        "x.csv:2: curly quotes are read as plain ones",
    ],
    "UTF-16": ["x.csv: is UTF-16 and read as that"],
    "UTF-16 without a mark": ["x.csv: is UTF-16 and read as that"],
}


@pytest.mark.parametrize(("title", "told"), SAID.items(), ids=SAID.keys())
def test_what_is_read_for_something_else_is_said_once(title: str, told: list[str]) -> None:
    assert said(TOLERATED[title]) == told


def test_of_many_names_some_are_said() -> None:
    assert said(b"1,F(9); R(1),[1, 2, 3, 4, 5]".replace(b"9", b"5")) == [
        "x.csv: read 1 as n1, 2 as n2, 3 as n3, …"
    ]


def test_points_are_those_of_the_set() -> None:
    header = b"Set Number,Transactions,Live Nodes,Points\n"
    sets = parse(
        header + b'1,"(A, J, 3)","[n1, n2]",10\n,LF,,\n2,,[n1],\n,LF,,2.5\n3,,n1,1.0\n,LF,,1'
    )
    assert [case.points for case in sets] == [10, 2.5, 1]
    sets = parse(b"Points,Set,Steps,Live\n4,1,(A); LF,n1\n")
    assert [case.points for case in sets] == [4]


FIELD = TEN_SETS.parent / "field"


@pytest.mark.skipif(not FIELD.is_dir(), reason="the files from the field are not here")
@pytest.mark.parametrize(
    ("name", "found"),
    {
        "comments": ["1 n1 n2 n3 n4 n5: (A, J, 3) (C, D, 1)"],
        "commands_header": ["1 n1 n2 n3 n4 n5: (A, J, 3) F(n2)"],
        "sep_line": ["1 n1 n2 n3 n4 n5: (A, J, 3)"],
        "smart_quotes": ["1 n1 n2 n3 n4 n5: (A, J, 3)"],
        "points_column": ["1 n1 n2 n3 n4 n5: (A, J, 3) (C, D, 1)"],
        "s_names": ["1 n1 n2 n3 n4 n5: (S2, S5, 12) (S5, S1, 7)", "2 n1 n3 n4: (S4, S3, 99)"],
        "nine_nodes_int_accounts": [
            "1 n1 n2 n3 n4 n5 n6 n7 n8 n9: (101, 102, 1) (301, 302, 1) (102)",
            "2 n1 n2 n4 n5 n7 n8: (101, 102, 1) F(n2) (103, 104, 1) R(n2) (104)",
        ],
    }.items(),
)
def test_files_from_the_field_are_read(name: str, found: list[str]) -> None:
    configs = {
        "s_names": "s_names.config.yaml",
        "nine_nodes_int_accounts": "nine_nodes.config.yaml",
    }
    layers = [config.load(FIELD / configs[name])] if name in configs else []
    file = testset.load(FIELD / f"{name}.csv", config.layer(*layers))
    assert brief(list(file.sets)) == found
    assert [case.points for case in file.sets][:1] == [10 if name == "points_column" else None]


@pytest.mark.skipif(not FIELD.is_dir(), reason="the files from the field are not here")
def test_a_file_for_another_cluster_is_refused_in_a_line_for_each_cause() -> None:
    with pytest.raises(OtherCluster) as refusal:
        testset.load(FIELD / "nine_nodes_int_accounts.csv", ClusterConfig())
    assert [told.partition("csv:")[2] for told in refusal.value.problems] == [
        "2: Live Nodes: replicas n6..n9 in 2 sets, expected n1..n5: --nodes 9",
        "2: Transactions: accounts 101..104, 301, 302 in 6 steps, expected A..J: "
        "accounts: 101..302 in a file given with --config",
    ]
    assert refusal.value.keys == {"nodes": "9", "accounts": "101..302"}


def test_nothing_is_offered_where_more_is_wrong() -> None:
    """One step is wrong in any cluster."""
    with pytest.raises(HarnessError) as refusal:
        parse(b'1,"(1, 2, 3)",n1\n,(3)\n,LFF\n')
    assert len(refusal.value.problems) == 2 and not isinstance(refusal.value, OtherCluster)


def test_set_without_steps() -> None:
    assert brief(parse(b'1,,[n1]\n2,,"n1, n2"\n3,,n1,n2\n')) == ["1 n1: ", "2 n1 n2: ", "3 n1 n2: "]


def test_set_numbers_need_not_grow() -> None:
    assert brief(parse(b"9,,n1\n3,,n1")) == ["9 n1: ", "3 n1: "]


def test_largest_amount() -> None:
    (case,) = parse(b"1,(A, J, 9223372036854775807),n1")
    assert case.steps[0].action == Command(TRANSFER, "A", "J", 2**63 - 1)


def test_names_come_from_the_configuration() -> None:
    (case,) = parse(b"1,(ALICE, bob, 1);(bob),n9", nodes=9, accounts=("alice", "Bob"))
    assert case.live == frozenset({9})
    assert [step.text for step in case.steps] == ["(alice, Bob, 1)", "(Bob)"]


REFUSED = {}
for block in (
    (Path(__file__).parent / "golden" / "refusals.txt").read_text("utf-8").split("\n\n")[1:]
):
    title, _, rest = block.removeprefix("# ").partition("\n")
    given_text, _, expected_text = rest.partition("\n----\n")
    REFUSED[title] = (given_text, expected_text.strip().split("\n"))


@pytest.mark.parametrize(("text", "expected"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(text: str, expected: list[str]) -> None:
    assert problems(text.encode()) == expected
    assert problems(f"{text}\r\n".encode()) == expected


EMPTY = 'the file is empty, expected rows such as 1,"(A, J, 3)","[n1, n2, n3]"'
ROWS_EXPECTED = 'expected rows such as 1,"(A, J, 3)","[n1, n2, n3]"'
REFUSED_BYTES = {
    "empty": (b"", f"x.csv:1: {EMPTY}"),
    "byte order mark only": (b"\xef\xbb\xbf", f"x.csv:1: {EMPTY}"),
    "blank": (b"\n \r\n\t", f"x.csv:1: {EMPTY}"),
    "not UTF-8": (
        b"1,LF,n1\r\n2,L\xff,n1",
        'x.csv:2: not text (byte 0xff), expected UTF-8 text: save the sheet as "CSV UTF-8"',
    ),
    "a NUL": (b"1,LF,n1\n2,\0,n1", "x.csv:2: not text (byte 0x00), expected UTF-8 text"),
    "an escape sequence": (b"1,\x1b[2J", "x.csv:1: not text (byte 0x1b), expected UTF-8 text"),
    "a workbook": (
        b"PK\x03\x04\x14",
        'x.csv:1: is a workbook (.xlsx, .ods) or a ZIP file, expected text: save it as "CSV UTF-8"',
    ),
    "an old workbook": (
        b"\xd0\xcf\x11\xe0\xa1",
        'x.csv:1: is a workbook (.xls), expected text: save it as "CSV UTF-8"',
    ),
    "a PDF": (b"%PDF-1.7\n", "x.csv:1: is a PDF, expected text"),
    "a picture": (b"\x89PNG\r\n\x1a\n", "x.csv:1: is a PNG picture, expected text"),
    "a letter of Windows": (
        b'1,"(A, \xe4, 3)",n1',
        'x.csv:1: not text (byte 0xe4), expected UTF-8 text: save the sheet as "CSV UTF-8"',
    ),
    "SVG": (
        b'<?xml version="1.0"?>\n<svg width="10, 20">\n<path d="M 1,2 L 3,4"/>\n</svg>\n',
        f"x.csv:1: no test set but an SVG picture or another XML document, {ROWS_EXPECTED}",
    ),
    "a web page": (
        b"<!DOCTYPE html>\n<html>\n<p>Hello, there</p>\n</html>",
        f"x.csv:1: no test set but a web page, {ROWS_EXPECTED}",
    ),
    "JSON": (b'{"sets": [\n1, 2\n]}', f"x.csv:1: no test set but JSON, {ROWS_EXPECTED}"),
    "YAML": (
        b"name: x\nsets:\n- steps: [(A), LF]\n",
        f"x.csv:1: no test set but YAML, whose name ends in .yaml, {ROWS_EXPECTED}",
    ),
    "a README": (
        b"# Lab 3\n\nDear students, this is it.\n\n- run it, please\n",
        f"x.csv:1: no test set but Markdown, {ROWS_EXPECTED}",
    ),
    "a README with rows in it": (
        b"Lab 3\n=====\nIt goes so:\n\n"
        + b"".join(b"text %d (or so), really\n" % row for row in range(9))
        + b'1,"(A, J, 3)","[n1, n2]"\n,LF,\n',
        f"x.csv:1: no test set but Markdown, {ROWS_EXPECTED}",
    ),
    "a program": (
        b"".join(b"x%d = f(1, 2)\n" % row for row in range(21)),
        f"x.csv:1: no test set: 21 of 21 lines are no rows of one, {ROWS_EXPECTED}",
    ),
    "amount of 5000 digits": (
        b"1,(A, J, " + b"9" * 5000 + b"),n1",
        f'x.csv:1: Transactions: (A, J, {"9" * 32}…: amount "{"9" * 39}…" is too large, '
        "expected 1 to 9223372036854775807",
    ),
}


@pytest.mark.parametrize(("data", "expected"), REFUSED_BYTES.values(), ids=REFUSED_BYTES.keys())
def test_refused_bytes(data: bytes, expected: str) -> None:
    assert problems(data) == [expected]


def test_all_problems_of_a_file_are_reported_at_once() -> None:
    data = (
        HEADER
        + b'1,"(A, Z, 3)","[n1, n7]"\n,"(C, D, 0); (C, D, 1); LFF",\n,"(A),\nx,LF,n1\n1,LF,\n'
    )
    assert [line.split(":")[1:3] for line in problems(data)] == [
        ["2", " Live Nodes"],
        ["2", " Transactions"],
        ["3", " Transactions"],
        ["3", " Transactions"],
        ["4", " row"],
        ["5", " Set Number"],
        ["6", " Set Number"],
        ["6", " Live Nodes"],
    ]


def test_what_is_shown_is_short_and_printable() -> None:
    (problem,) = problems(f"1,\u202e\u200b{'y' * 100_000},n1".encode())
    assert problem.isprintable()
    assert len(problem) < 150


def test_no_hint_among_very_many_names() -> None:
    names = Names(5, [f"c{number}" for number in range(5000)])
    with pytest.raises(ValueError, match=r'^unknown account "c5000", expected c0, .*, c9, …$'):
        names.account("c5000")


# Files


def test_load_reads_a_file(tmp_path: Path) -> None:
    path = tmp_path / "good.csv"
    path.write_bytes(b"1,LF,n3")
    assert brief(list(testset.load(path, ClusterConfig(nodes=3)).sets)) == ["1 n3: LF"]
    with pytest.raises(HarnessError, match=r"good\.csv:1: Live Nodes: unknown replica"):
        path.write_bytes(b"1,LF,n4")
        testset.load(str(path), ClusterConfig(nodes=3))


def refusal(path: str | Path) -> str:
    with pytest.raises(HarnessError) as error:
        testset.load(path, ClusterConfig())
    return str(error.value)


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tour.csv").write_bytes(b"")
    Path("tour.txt").write_bytes(b"")
    assert refusal("tuor.csv") == (
        "tuor.csv: no such file, expected a test set (did you mean tour.csv?)"
    )
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "own.csv").touch()
    assert refusal("own.csv").endswith(" (did you mean below/own.csv?)")
    assert refusal("belwo/own.csv").endswith(" (did you mean below/own.csv?)")
    for mistyped in ("below/onw.csv", "below/own.cvs", "below/own"):
        assert refusal(mistyped).endswith(" (did you mean below/own.csv?)")
    (tmp_path / "below" / "leader_failure.csv").touch()
    (tmp_path / "below" / "other.yaml").touch()
    assert refusal("below/leader_failure.yaml").endswith(
        " (did you mean below/leader_failure.csv?)"
    )
    assert refusal("below/xyz.csv") == "below/xyz.csv: no such file, expected a test set"
    assert refusal("none/x.csv") == "none/x.csv: no such file, expected a test set"
    Path("folder").mkdir()
    assert refusal("folder") == "folder: is a folder, expected a test set"
    assert "cannot be read (embedded null byte)" in refusal("a\0b")
    assert "cannot be read (Not a directory)" in refusal("tour.csv/x")
    monkeypatch.setattr(text_file, "LARGEST", 3)
    Path("large.csv").write_bytes(b"1234")
    assert refusal("large.csv") == "large.csv: larger than 0 MiB, expected a test set"


def test_ten_sets() -> None:
    if not TEN_SETS.exists():
        pytest.skip("the grading file is not here")
    sets = testset.load(TEN_SETS, ClusterConfig()).sets
    assert [case.number for case in sets] == list(range(1, 11))
    assert [sum(step.text == "LF" for step in case.steps) for case in sets] == [
        *(0, 0, 0, 0, 0, 1, 0, 1, 2, 0)
    ]
    assert sum(len(case.steps) for case in sets) == 83
    assert sets[4].live == frozenset({1, 2})
    assert sets[8].steps[-1].text == "(A, J, 1)"


# Whatever the bytes


def parses_or_refuses(data: bytes) -> None:
    try:
        sets = parse(data)
    except HarnessError as refusal:
        assert refusal.problems
        assert all(line.startswith("x.csv:") for line in refusal.problems)
    else:
        assert sets
        assert all(case.live and case.number > 0 for case in sets)
        assert len({case.number for case in sets}) == len(sets)


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ('L"F"', 'unknown step "L"F"'),
        ('(A, J""B, 3)', 'unknown account "J""B"'),
        ('(A, J, 3"0")', 'amount "3"0" is not'),
    ],
)
def test_a_quote_inside_a_word_is_no_mark_around_it(step: str, told: str) -> None:
    with pytest.raises(HarnessError) as error:
        parse(f"1,{step},[n1]\n".encode())
    assert told in str(error.value)


SIGNS = st.sampled_from([*"\",;\t\n\r ()[]0123'.-", "LF", "F(n1)", "(A)", "n1", "A", "\ufeff", "é"])


@given(st.binary(max_size=200))
def test_random_bytes(data: bytes) -> None:
    parses_or_refuses(data)


@given(st.lists(SIGNS, max_size=60).map("".join))
@example('1,\r"n1')
def test_random_signs(text: str) -> None:
    parses_or_refuses(text.encode())


@given(
    st.sampled_from(list(TOLERATED.values())),
    st.lists(st.tuples(st.integers(0, 120), st.integers(0, 3), SIGNS), min_size=1, max_size=4),
)
def test_random_mutations_of_good_files(data: bytes, changes: list[tuple[int, int, str]]) -> None:
    for place, length, sign in changes:
        data = data[:place] + sign.encode() + data[place + length :]
    parses_or_refuses(data)
