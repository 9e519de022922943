"""The files that somebody gave: which are test sets, and what the others are.

`cases/*` also gives the answer keys and configurations that stand beside the test sets.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from harness.errors import HarnessError
from harness.files import answer_key, config, text_file, yaml_source
from harness.files.tree import Section

_KEY, _CONFIGURATION = "an answer key", "a configuration"
_SEVERAL = {_KEY: "answer keys", _CONFIGURATION: "configurations"}
MOST_NAMED = 3  # files of a kind


class Given(NamedTuple):
    """Files, each once."""

    test_sets: list[str]  # and what cannot be read, or is neither
    left_out: Mapping[str, str]  # by file: what it is

    def told(self) -> str:
        """ "left out: x.expected.yaml (an answer key)"; empty when nothing was."""
        parts = []
        for kind in dict.fromkeys(self.left_out.values()):
            names = [name for name, found in self.left_out.items() if found == kind]
            more = len(names) - MOST_NAMED
            listed = ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
            parts.append(f"{listed} ({kind if len(names) == 1 else _SEVERAL[kind]})")
        return f"left out: {'; '.join(parts)}" if parts else ""


def sort_out(files: Iterable[str]) -> Given:
    """Test sets and others; where there are none but others, those are what is asked for."""
    kinds = {file: _kind(file) for file in dict.fromkeys(files)}
    test_sets = [file for file, kind in kinds.items() if kind is None]
    if not test_sets:
        return Given(list(kinds), {})
    return Given(test_sets, {file: kind for file, kind in kinds.items() if kind is not None})


def _kind(file: str) -> str | None:
    """What a file is that is no test set; None for whatever may be one."""
    if file.endswith(answer_key.SUFFIX):
        return _KEY
    if Path(file).suffix.lower() not in (".yaml", ".yml"):
        return None
    try:
        found = yaml_source.parse(text_file.read(file, "a test set"), file)
    except HarnessError:
        return None
    if not isinstance(found, Section) or "sets" in found:
        return None
    if "expected" in found:
        return _KEY
    return _CONFIGURATION if any(key in found for key in config.KEYS) else None
