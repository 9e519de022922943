"""Submissions: folders with other people's replicas, and what is known of them before a run.

What is wrong with one of them is its own row in the grades, and keeps nobody else's from being run.
What is wrong with the command line is told at once, and nothing is started.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.commands.grade.grades import Graded
from harness.errors import HarnessError, nearest
from harness.external import description as descriptions
from harness.external.description import Description
from harness.files import text_file

FILE = "replicas.yaml"
LARGEST = 256 * 1024  # bytes of a description that somebody else wrote


@dataclass(frozen=True, slots=True)
class Tried:
    """What the trial of a submission came to: it was built, started and asked."""

    starts: bool
    problems: Sequence[str] = ()
    tells: Mapping[str, bool] = field(default_factory=dict)
    is_the_machines: bool = False  # and says nothing of the submission


@dataclass(slots=True)
class Submission:
    """One row of the grades."""

    name: str
    folder: Path  # as it was given
    source: str  # its description
    description: Description | None = None
    problems: Sequence[str] = ()  # of its description
    tried: Tried | None = None
    graded: list[Graded] = field(default_factory=list)

    def trouble(self, demands: Sequence[str]) -> Sequence[str]:
        """Why it is not run at all: the reason, and lines that explain it; empty when it is."""
        if self.problems or self.tried is None:
            return self.problems
        if not self.tried.starts:
            return self.tried.problems
        untold = [what for what in demands if not self.tried.tells.get(what)]
        return [f"does not tell {', '.join(untold)}, which --require demands"] if untold else []


def find(given: Sequence[str], replicas_file: str | None) -> list[Submission]:
    """The submissions in these folders, each once. HarnessError for what is no folder."""
    problems = []
    folders: dict[Path, Path] = {}  # as it was given, by where it is
    for word in given:
        path = Path(word)
        if os.path.isdir(path):
            folders.setdefault(path.resolve(), path)
        elif os.path.exists(path):
            expected = f"expected a folder with a {FILE} (as in class/*/, which names no files)"
            problems.append(f"--submission: {word}: is a file, {expected}")
        else:
            hint = nearest(path.name, _names_in(path.parent))
            problems.append(f"--submission: {word}: no such folder, expected a submission{hint}")
    if problems:
        raise HarnessError(*problems)
    shared = None if replicas_file is None else _shared(replicas_file)
    found = []
    for (place, path), name in zip(folders.items(), _names(list(folders)), strict=True):
        if shared is not None and replicas_file is not None:
            assert shared
            own = descriptions.parse(shared, replicas_file, place)
            found.append(Submission(name, path, replicas_file, own))
        else:
            found.append(_read(name, path, place))
    return found


def _shared(path: str) -> bytes:
    """A description for all, which has to be right."""
    if not path.lower().endswith((".yaml", ".yml")):
        raise HarnessError(f"--replicas-file: {path}: expected a YAML file")
    data = text_file.read(path, "a description of replicas")
    descriptions.parse(data, path, Path.cwd())
    return data


def _read(name: str, folder: Path, place: Path) -> Submission:
    source = folder / FILE
    try:
        if not os.path.lexists(source):
            hint = nearest(FILE, _names_in(place))
            raise HarnessError(f"{folder}: no {FILE}, expected a description of replicas{hint}")
        if not source.is_file():
            raise HarnessError(f"{source}: is no file, expected a description of replicas")
        if source.stat().st_size > LARGEST:
            most = f"expected a description of at most {LARGEST // 1024} KiB"
            raise HarnessError(f"{source}: is larger, {most}")
        data = text_file.read(source, "a description of replicas")
        return Submission(name, folder, str(source), descriptions.parse(data, str(source), place))
    except HarnessError as error:
        return Submission(name, folder, str(source), problems=error.problems)
    except (RecursionError, OSError) as error:
        told = f"{source}: cannot be read ({error}), expected a description of replicas"
        return Submission(name, folder, str(source), problems=[told])


def _names(places: Sequence[Path]) -> list[str]:
    """What each is called: its folder, and as many above it as tell it from the others.

    Letter case does not count: grades stand in folders of these names.
    """
    found: list[str] = []
    for place in places:
        parts = place.parts[1:] or ("submission",)
        for length in range(1, len(parts) + 1):
            tails = Counter("-".join(other.parts[-length:]).casefold() for other in places)
            name = "-".join(parts[-length:])
            if tails[name.casefold()] == 1:
                break
        found.append(text_file.printable(name))
    return found


def _names_in(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
