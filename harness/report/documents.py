"""The documents of a report and the folder they stand in. Knows nothing of what they say.

It imports nothing of `bank`: when that cannot even be loaded, an earlier report has to go too.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, no_place
from harness.files.outputs import unfinished
from harness.files.text_file import shown

RESULTS, JUNIT, GRADESCOPE = "results.json", "junit.xml", "gradescope.json"
HISTORY, TRACE, PAGE = "history.jsonl", "trace.jsonl", "report.html"
LOGS = tuple(
    f"{name}.log" for name in (*(f"n{number}" for number in range(1, 10)), "build", "shim")
)
NAMES = (RESULTS, JUNIT, GRADESCOPE, HISTORY, TRACE, PAGE)
PERFETTO = "trace.perfetto.json"  # where it is asked for
POKED = "poked.yaml"  # a test set: the sets that were run, with what was done at the prompt
SOMETIMES = (PERFETTO, POKED)


class Folder:
    """A folder whose files are replaced in one step."""

    def __init__(self, path: Path, names: Sequence[str], purpose: str = "the report") -> None:
        """Create it; HarnessError when something else stands there, or in it but these names."""
        self.path = path
        expected = f"expected a folder for {purpose}"
        try:
            if os.path.exists(path) and not os.path.isdir(path):
                raise HarnessError(f"{path}: is a file, {expected}")
            path.mkdir(parents=True, exist_ok=True)
            if strangers := _strangers(path, names):
                earlier = ", or one with an earlier report" if names else ""
                held = f'{path}: holds "{shown(strangers[0])}"'
                raise HarnessError(f"{held}, {expected} that is empty{earlier}")
            probe = path / unfinished("probe")
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise no_place("", path, error, f"a folder for {purpose}") from None

    def write(self, name: str, data: bytes) -> None:
        """Replace a file. OSError when that cannot be."""
        replace(self.path / name, data)

    def write_json(self, name: str, document: Mapping[str, Any]) -> None:
        """Replace a file by a document."""
        self.write(name, as_json(document))


def replace(path: Path, data: bytes) -> None:
    """Write a file in one step: it is the old one or the new one at any time."""
    new = path.with_name(unfinished(path.name))
    new.write_bytes(data)
    os.replace(new, path)


def as_json(document: Mapping[str, Any]) -> bytes:
    """A document as it stands in its file."""
    return (json.dumps(document, indent=1) + "\n").encode()


def _strangers(path: Path, names: Sequence[str]) -> list[str]:
    """What else there is in a folder, sorted."""
    known = {*names, *LOGS, *map(unfinished, (*names, "probe"))}
    return sorted({file.name for file in path.iterdir()} - known)


def is_report(path: Path) -> bool:
    """Whether the documents in there are an earlier report's, and not somebody's own files."""
    try:
        if not _strangers(path, (*NAMES, *SOMETIMES)):
            return True
        found = json.loads((path / RESULTS).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and bool(found.keys() & {"sets_in_file", "graded"})
