"""Reading a user's file: limits at their edges, text made fit for a message."""

from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.files import text_file
from harness.files.text_file import decode, shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(A, J, 3)", "(A, J, 3)"),
        (" a \n\t b ", "a b"),
        ("x" * 40, "x" * 40),
        ("x" * 41, "x" * 39 + "…"),
        ("x" + " " * 159, "x"),
        ("x" + " " * 160, "x…"),
        ("é\u200b\U000e0001", "é\\u200b\\ue0001"),
        ("", ""),
    ],
)
def test_shown(text: str, expected: str) -> None:
    assert shown(text) == expected


def test_largest_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_file, "LARGEST", 3)
    path = tmp_path / "x"
    path.write_bytes(b"123")
    assert text_file.read(path, "numbers") == b"123"
    path.write_bytes(b"1234")
    with pytest.raises(HarnessError, match="larger than"):
        text_file.read(path, "numbers")


def test_an_endless_device_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_file, "LARGEST", 1000)
    if Path("/dev/zero").exists():
        with pytest.raises(HarnessError, match="/dev/zero: larger than"):
            text_file.read("/dev/zero", "numbers")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a\r\nb\rc\nd", "a\nb\nc\nd"),
        (b"\xef\xbb\xbf\xc3\xa9", "é"),
        ("a\u2028b".encode(), "a\u2028b"),
        (b"", ""),
    ],
)
def test_decode(data: bytes, expected: str) -> None:
    assert decode(data, "x") == expected


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("sign", [b"\0", b"\x07", b"\x7f", b"\xc2\x85", b"\xff", b"\xc3"])
def test_what_is_no_text_is_told_with_its_line(end: bytes, sign: bytes) -> None:
    with pytest.raises(HarnessError, match=r"^x:3: not text \(byte 0x[0-9a-f]{2}\), expected"):
        decode(b"a" + end + b"b" + end + sign + end, "x")
