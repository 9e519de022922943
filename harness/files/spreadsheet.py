"""The text of a CSV file as spreadsheets, word processors and other keyboards leave it.

Bytes in, text out that has the plain signs a test set is written with. Only what can mean one thing
is read; each kind of what was read for something else is said once. Names are ASCII, so that
signs replaced in a remark do no harm.
"""

import re
from collections.abc import Mapping
from typing import Any

from harness.errors import HarnessError
from harness.files import text_file

_QUOTES = str.maketrans(dict.fromkeys("“”„‟«»″", '"') | dict.fromkeys("‘’‚‛′´`", "'"))
_WIDE = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3001: ",", 0x3002: "."}
_BLANKS = dict.fromkeys([0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000], " ")
_INVISIBLE = dict.fromkeys([0xAD, *range(0x200B, 0x2010), *range(0x202A, 0x202F), 0x2060, 0xFEFF])
_SIGNS: dict[str, Mapping[int, Any]] = {
    "curly quotes are read as plain ones": _QUOTES,
    "full-width signs are read as plain ones": _WIDE,
    "": _BLANKS | _INVISIBLE,
}
_PICTURES = {
    r"<\?xml|<svg\b": "an SVG picture or another XML document",
    r"<!doctype html|<html\b": "a web page",
    r"[{\[]\s*[\"{\[}\]]": "JSON",
    r"(?:.*\n){0,30}(?:sets|cluster|expect):\s*(?:#.*)?\n": "YAML, whose name ends in .yaml",
    r"(?:.*\n){0,60}(?:```|#+ .*\n\s*\n|\S.*\n(?:===+|---+)\s*\n)": "Markdown",
    r"#!": "a script",
}


def read(data: bytes, name: str, said: list[str]) -> str:
    """The text of these bytes; what was not quite as it should be is added to `said`.

    HarnessError for what is no text, or not certain.
    """
    text_file.refuse_other_kinds(data, name)
    text = text_file.checked(_decoded(data, name, said), name)
    for kind, signs in _SIGNS.items():
        plain = text.translate(signs)
        if kind and plain != text:
            at = next(i for i, sign in enumerate(text) if ord(sign) in signs)
            said.append(f"{name}:{text.count(chr(10), 0, at) + 1}: {kind}")
        text = plain
    return text


def kind(text: str) -> str:
    """What a file that is no test set seems to be; empty when that cannot be said."""
    found = (told for how, told in _PICTURES.items() if re.match(rf"\s*(?:{how})", text, re.I))
    return next(found, "")


def _decoded(data: bytes, name: str, said: list[str]) -> str:
    """UTF-8; UTF-16 as its marks or its zeros show; Windows-1252 as far as it holds signs only."""
    blanks = [data[start:400:2].count(0) for start in (0, 1)]
    is_wide = max(blanks) > len(data[:400]) // 4 and min(blanks) == 0
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or is_wide:
        order = "utf-16-be" if data.startswith(b"\xfe\xff") or blanks[0] else "utf-16-le"
        said.append(f"{name}: is UTF-16 and read as that")
        return data.decode(order, "replace").removeprefix("\ufeff")
    try:
        data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        text = data.decode("cp1252", "replace")
        certain = "".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
        if not any(sign.isalnum() or sign == "\ufffd" for sign in certain if sign > "\x7f"):
            said.append(f"{name}: is Windows-1252 and read as that")
            return text
        line = re.sub(rb"\r\n?", b"\n", data[: error.start]).count(b"\n") + 1
        byte = f"byte 0x{data[error.start]:02x}"
        what = f'not text ({byte}), expected UTF-8 text: save the sheet as "CSV UTF-8"'
        raise HarnessError(f"{name}:{line}: {what}") from None
    return text_file.decode(data, name)
