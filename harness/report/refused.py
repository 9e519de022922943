"""An earlier report must not be taken for that of a run that never began.

Whatever ends a run before it writes its own documents (a refused file or flag, a `bank` that cannot
be loaded, Ctrl-C), those of the run before it are replaced by the reason. Only documents that are
there are replaced, and nothing else in the folder is touched. Like `documents`, nothing of `bank`
is imported here.
"""

import contextlib
import html
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from harness.files.outputs import unfinished
from harness.report.documents import (
    GRADESCOPE,
    HISTORY,
    JUNIT,
    NAMES,
    PAGE,
    PERFETTO,
    RESULTS,
    TRACE,
    as_json,
    is_report,
    replace,
)

REFUSED = "refused"
OPTION = "--report"
_NOT_XML = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]")

Stamp = tuple[int, int]  # of a file's content: it changes whenever a file is replaced


class EarlierReport:
    """The documents that stand in a run's report folder before it begins."""

    def __init__(self, arguments: Sequence[str]) -> None:
        """Look into the folder that the command line names, right or wrong as it may be."""
        folder = _folder(arguments)
        self._found: dict[Path, Stamp] = {}
        with contextlib.suppress(OSError, ValueError):  # ValueError: a NUL in the path
            if folder is not None and folder.is_dir() and is_report(folder):
                found = {path: _stamp(path) for path in map(folder.joinpath, (*NAMES, PERFETTO))}
                self._found = {path: stamp for path, stamp in found.items() if stamp is not None}

    def refuse(self, problems: Sequence[str], exit_code: int) -> list[str]:
        """Replace those that are still there by the reason; what cannot be is returned as lines."""
        documents = _documents(problems, exit_code)
        failed = []
        for path, stamp in self._found.items():
            try:
                if _stamp(path) == stamp:
                    _replace_or_remove(path, documents[path.name])
            except OSError as error:
                reason = error.strerror or str(error)
                failed.append(f"{path}: tells of an earlier run, cannot be written ({reason})")
        return failed


def _folder(arguments: Sequence[str]) -> Path | None:
    """As `argparse` finds it, which may not have come that far: the last one counts."""
    found = None
    for word, following in pairwise([*arguments, ""]):
        if word == OPTION:
            found = following
        elif word.startswith(f"{OPTION}="):
            found = word.partition("=")[2]
    return Path(found) if found else None


def _replace_or_remove(path: Path, data: bytes) -> None:
    """On a full disk there is no room for the reason, but none is needed to remove a file."""
    try:
        replace(path, data)
    except OSError:
        path.unlink()
        path.with_name(unfinished(path.name)).unlink(missing_ok=True)


def _stamp(path: Path) -> Stamp | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def _documents(problems: Sequence[str], exit_code: int) -> dict[str, bytes]:
    """Every document by its name, each in its own format."""
    text = "\n".join(problems)
    line = as_json({REFUSED: list(problems)}).replace(b"\n", b" ").strip() + b"\n"
    return {
        RESULTS: as_json(
            {
                "verdict": REFUSED,
                "exit_code": exit_code,
                "problems": list(problems),
                "points": 0,
                "sets": [],
                "graded": [],
            }
        ),
        JUNIT: _junit(text),
        GRADESCOPE: as_json(
            {
                "score": 0,
                "output": f"{REFUSED}, nothing was run:\n{text}",
                "output_format": "text",
                "test_output_format": "text",
                "visibility": "visible",
                "tests": [
                    # With a score, for programs that add up those of the tests.
                    {
                        "name": REFUSED,
                        "status": "failed",
                        "score": 0,
                        "max_score": 1,
                        "output": text,
                    }
                ],
            }
        ),
        HISTORY: line,
        TRACE: line,
        PERFETTO: as_json({REFUSED: list(problems), "traceEvents": []}),
        PAGE: _page(text),
    }


def _junit(text: str) -> bytes:
    counts = 'tests="1" failures="0" errors="1" skipped="0" time="0"'
    shown = html.escape(_NOT_XML.sub("\ufffd", text))
    return (
        "<?xml version='1.0' encoding='utf-8'?>\n"
        f'<testsuites name="{REFUSED}" time="0">\n'
        f'  <testsuite name="paxbank" {counts}>\n'
        f'    <testcase name="{REFUSED}" classname="paxbank" time="0">\n'
        f'      <error type="error" message="{REFUSED}, nothing was run">{shown}</error>\n'
        "    </testcase>\n  </testsuite>\n</testsuites>\n"
    ).encode()


def _page(text: str) -> bytes:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{REFUSED} · paxbank</title>\n</head>\n<body>\n"
        f"<h1>Refused: nothing was run</h1>\n<pre>{html.escape(text)}</pre>\n</body>\n</html>\n"
    ).encode("utf-8", "replace")
