"""A file that is meant for another cluster: what it needs is offered on a terminal.

It is never assumed: a cluster of another size is another exercise.
"""

import argparse
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from harness.errors import HarnessError, unwritten
from harness.files.cases import CaseFile
from harness.files.causes import OtherCluster
from harness.files.config import ClusterConfig
from harness.files.testset import Draft
from harness.run import launch
from harness.screen import consoles
from harness.screen.cells import Line

if TYPE_CHECKING:
    from harness.external.description import Description

SUFFIX = ".config.yaml"


def settle(
    draft: Draft,
    options: argparse.Namespace,
    flags: Mapping[str, Any],
    description: "Description | None",
) -> tuple[ClusterConfig, CaseFile, Path | None]:
    """The settings of a file, the file, and the configuration that was written on request."""
    settings = launch.settings(flags, draft.overrides, options.config, description)
    try:
        return settings, draft.cases(settings), None
    except OtherCluster as refused:
        written = None if options.config else _offer(options.file, refused)
        if written is None:
            raise
    settings = launch.settings(flags, draft.overrides, written, description)
    return settings, draft.cases(settings), written


def _may_ask() -> bool:
    """Somebody reads what is asked, and can answer."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def _offer(file: str, refused: OtherCluster) -> Path | None:
    """Tell what is wrong, and offer a configuration beside the file; None when nobody is asked.

    One that stands there is not touched, and named: it may be the one that is missing.
    """
    path = Path(file).with_suffix(SUFFIX)
    if path.exists():
        option = f"--config {shlex.quote(str(path))}"
        raise HarnessError(*refused.problems, f"{path} stands beside it: {option}")
    if not _may_ask():
        return None
    errors = consoles.opened("auto", sys.stderr)
    for problem in refused.problems:
        errors.print(Line(Text(problem)), soft_wrap=True)
    lines = [f"{key}: {value}" for key, value in refused.keys.items()]
    asked = f"Write {path} with {' and '.join(lines)}, and run with it?"
    errors.print(Line(Text(asked)), soft_wrap=True)
    errors.print(Text("[y/N] "), end="")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise HarnessError(f"{file}: is not run (--config FILE says what the cluster is like)")
    try:
        with open(path, "x", encoding="utf-8") as stream:
            stream.write("".join(f"{line}\n" for line in lines))
    except OSError as error:
        raise unwritten(path, error) from None
    return path
