"""The pytest plugin `paxbank_pytest`: a test-set file is collected as tests, one per set.

Installed, it is loaded in every run of pytest, also of projects that have nothing to do with it and
may have a package `harness` of their own. So it imports nothing of ours and touches nothing before
it meets a file of ours: a CSV with our header, a YAML with `sets:`. Who names a file on the command
line means it: a CSV is ours then whatever its header, and so is what nearly is a test set, whose
mistakes are told; pytest itself would say no more than that it found no test.

The tests of a file share one cluster and go on from each other's state. So a set that runs brings
the sets before it along, whether they were selected or not; those are run once and not judged.
"""

import os
import re
import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness.external.description import Description
    from harness.files.cases import CaseFile
    from harness.files.config import ClusterConfig
    from harness.run.runner import Runner

FAILURES = ("disconnect", "crash", "pause", "asked")
LOOKED_AT = 64 * 1024  # bytes of a file, to tell whether it is ours

_HEADER = re.compile(rb"(?:\xef\xbb\xbf)?\s*setnumber[,;\t]transactions?[,;\t]livenodes")
_SETS = re.compile(rb"^(?:\xef\xbb\xbf)?sets\s*:", re.MULTILINE)
_NEARLY_SETS = re.compile(rb"^\s*(?:test)?[ _-]?sets?\s*:", re.MULTILINE | re.IGNORECASE)
_KEY = re.compile(rb"^expected\s*:", re.MULTILINE)
_NEARLY_HEADER = re.compile(rb"\W*(?:set.*transaction|transaction.*live)", re.IGNORECASE)
# Others have `sets:` too.
_IN_SETS = re.compile(rb"^[ \t-]+.*\b(?:live|steps|expect)\s*:", re.MULTILINE)


def pytest_addoption(parser: pytest.Parser) -> None:
    """How the sets are run."""
    group = parser.getgroup("paxbank", "test sets of paxbank")
    group.addoption("--paxbank-failure", choices=FAILURES, help="how replicas fail [disconnect]")
    group.addoption(
        "--paxbank-replicas",
        metavar="FILE",
        help="other people's replicas: a description, a command",
    )
    group.addoption("--paxbank-sim", action="store_true", help="simulate: no processes, no waiting")
    group.addoption("--paxbank-seed", type=int, metavar="N", help="seed of every file [drawn]")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> "SetFile | None":
    """Takes what is ours and leaves everything else alone."""
    if not _is_ours(file_path, parent.session.isinitpath(file_path)):
        return None
    found: SetFile = SetFile.from_parent(parent, path=file_path)
    return found


def _is_ours(path: Path, is_named: bool) -> bool:
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        if is_named:
            return True
    elif suffix not in (".yaml", ".yml") and not (is_named and suffix in (".txt", "")):
        return False
    try:
        with open(path, "rb") as stream:
            data = stream.read(LOOKED_AT)
    except OSError:
        return False
    if suffix not in (".yaml", ".yml"):
        if is_named:
            return _NEARLY_HEADER.match(data) is not None
        head = re.sub(rb'[" ]', b"", data.lstrip()[:200]).lower()
        return _HEADER.match(head) is not None
    if path.stem.endswith(".expected"):
        return is_named and _KEY.search(data) is not None
    sets = _NEARLY_SETS if is_named else _SETS
    return sets.search(data) is not None and _IN_SETS.search(data) is not None


class SetFile(pytest.File):
    """A test-set file, and its run while its tests are at it."""

    file: "CaseFile"
    settings: "ClusterConfig"
    described: "Description | None"
    runner: "Runner"

    def collect(self) -> Iterator["SetItem"]:
        """One test per set; all problems of a bad file or key are one error of the collection."""
        import harness

        where = os.path.dirname(harness.__file__ or "")
        if not os.path.isfile(os.path.join(where, "run", "launch.py")):
            raise self.CollectError(
                f"{self.path}: is a test set of paxbank, whose package `harness` is hidden here by "
                f"another one of that name: {where or 'a folder'}"
            )
        from harness.errors import HarnessError
        from harness.files import answer_key, testset
        from harness.run import launch

        if self.path.stem.endswith(".expected"):
            raise self.CollectError(f"{self.path}: is an answer key, expected its test set instead")
        options = self.config.option
        flags = {"failure": options.paxbank_failure, "seed": options.paxbank_seed}
        shown = os.path.relpath(self.path, self.config.invocation_params.dir)
        try:
            draft = testset.read(shown if Path(shown).exists() else self.path)
            self.described = launch.replicas(options.paxbank_replicas)
            if self.described is not None:
                launch.refuse_beside_replicas({"paxbank_sim": options.paxbank_sim})
            self.settings = launch.settings(flags, draft.overrides, description=self.described)
            self.file = answer_key.checked(draft.cases(self.settings), self.settings)
        except HarnessError as error:
            raise self.CollectError(str(error)) from None
        for position, case in enumerate(self.file.sets, 1):
            item: SetItem = SetItem.from_parent(self, name=f"set-{case.number}")
            item.position, item.line = position, case.line
            yield item

    def setup(self) -> None:
        """Start the cluster, before the first test of this file that is run."""
        from harness.errors import HarnessError
        from harness.run import launch
        from harness.run.runner import Runner

        self._opened = ExitStack()
        self._broken = ""
        try:
            theirs = None if self.described is None else (self.described, self.file, None)
            is_simulated = self.config.option.paxbank_sim
            opened = launch.cluster(self.settings, is_simulated, theirs=theirs)
            cluster = self._opened.enter_context(opened)
            cluster.start()
            self.runner = Runner(cluster, self.settings, self.file)
        except HarnessError as error:
            pytest.fail(str(error), pytrace=False)

    def teardown(self) -> None:
        """End its processes, after the last one."""
        self._opened.close()

    def run_to(self, position: int) -> None:
        """Run the sets up to this one that were not run yet."""
        from harness.errors import HarnessError

        try:
            while not self._broken and len(self.runner.reports) < position:
                self.runner.run_next()
        except HarnessError as error:
            self._broken = str(error)
        if self._broken:
            pytest.fail(self._broken, pytrace=False)


class SetItem(pytest.Item):
    """One set."""

    parent: SetFile
    position: int  # in the file, from 1
    line: int

    def runtest(self) -> None:
        """Fails with the tables that a run prints, not with a traceback."""
        from harness.report import words

        run = self.parent
        self.user_properties += [("seed", run.settings.seed), ("failure", run.settings.failure)]
        run.run_to(self.position)
        if told := words.problems(run.runner.reports[self.position - 1]):
            screen = words.screen(run.runner.reports, self.position, run.settings)
            told += ["", screen, "", f"repeat: paxbank {run.file.path} --no-step {self._flags()}"]
            pytest.fail("\n".join(told), pytrace=False)

    def _flags(self) -> str:
        settings = self.parent.settings
        options = self.config.option
        more = " --sim" if options.paxbank_sim else ""
        if options.paxbank_replicas is not None:
            more = f" --replicas {shlex.quote(options.paxbank_replicas)}"
        return f"--failure {settings.failure} --seed {settings.seed}{more}"

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        """Where this set begins."""
        return self.path, self.line - 1, self.name
