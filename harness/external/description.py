"""The description of somebody's replicas: how they are built, started, linked and asked.

A file is taken whole or refused whole, before anything starts: every mistake is told with its
place, what was found, what was expected, and the nearest known word. A command alone stands for
`{start: that command, links: stdio, speaks: bank}`.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.external.placeholders import Placeholders
from harness.files import config, text_file, yaml_source
from harness.files.config import ClusterConfig, Override, Overrides
from harness.files.shape import Key, Place, Shape, choice, mapping, only, read_or_tell, whole
from harness.files.tree import Problems, Section

LINKS = ("stdio",)
SPEAKS = ("bank", "lin-kv", "txn-list-append")
KEEPS = ("data", "nothing")
RETRIES = ("all", "next")

# Other people's replicas take seconds to elect.
DEFAULTS = {"client_timeout_ms": 1000, "patience_ms": 3000, "progress_ms": 30_000}
LIMITS = {
    "memory_mb": 512,
    "file_mb": 256,
    "processes": 256,
    "cpu_seconds": 600,
    "wall_seconds": 900,
}
FIXED = {"accounts": "accounts", "balance": "initial_balance", "nodes": "nodes"}  # in cluster.yaml
_EXAMPLE = "start: python3 node.py"


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file that is written for a replica before each of its starts."""

    path: str  # both with placeholders
    text: str


@dataclass(frozen=True, slots=True)
class Description:
    """What is known of somebody's replicas. Commands are words, with placeholders."""

    source: str  # the file, or the command, as it was given
    folder: Path  # in which the file stands
    start: tuple[str, ...]
    name: str = ""
    build: tuple[str, ...] = ()
    links: str = "stdio"
    speaks: str = "bank"
    file: WrittenFile | None = None
    works_in: str = ""  # a folder other than the file's, with placeholders
    keeps: str = "data"
    recovers: bool = True  # one that was killed may come back
    settle_ms: int = 500
    retry: str = "all"
    limits: Mapping[str, int] = field(default_factory=lambda: dict(LIMITS))
    cluster: Overrides = field(default_factory=dict)
    fixed: Overrides = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """What people call them."""
        return self.name or self.source

    @property
    def defaults(self) -> Overrides:
        """What they say of the cluster, below what flags, test sets and `--config` say."""
        own = {key: Override("the default of other people's replicas", value)
               for key, value in DEFAULTS.items()}  # fmt: skip
        return {**own, **self.fixed, **self.cluster}

    def check(self, settings: ClusterConfig, given: Overrides) -> None:
        """HarnessError when these settings need other replicas; `given` says who asked."""
        problems = []
        for key, (where, value) in self.fixed.items():
            found = getattr(settings, key)
            if found != value:
                asked = f" ({given[key].where})" if key in given else ""
                told = _plain(found)
                problems.append(f"{where}: fixed at {_plain(value)}, the run needs {told}{asked}")
        if settings.failure == "crash" and not self.recovers:
            problems.append(
                f"{self.source}: keeps nothing, so that a killed replica stays away, "
                "expected --failure disconnect or pause, or recovers: true"
            )
        if problems:
            raise HarnessError(*problems)


def _plain(value: object) -> str:
    return config.names_listed(value) if isinstance(value, tuple) else str(value)


def read(given: str) -> Description:
    """Of `--replicas`: a YAML file, or a command. HarnessError with everything that is wrong."""
    if given.lower().endswith((".yaml", ".yml")):
        data = text_file.read(given, "a description of replicas")
        return parse(data, given, Path(given).resolve().parent)
    problems = Problems("--replicas")
    at = Place(problems, 1, "start")
    words = [word for shape in (_START,) for word in read_or_tell(shape, given, at)]
    problems.refuse()
    return Description(source=given, folder=Path.cwd(), start=words[0])


def is_one(path: str) -> bool:
    """Whether this YAML file has `start:` and no `sets:`, right or wrong otherwise."""
    if not path.lower().endswith((".yaml", ".yml")):
        return False
    try:
        section = yaml_source.parse(text_file.read(path, "YAML"), path)
    except HarnessError:
        return False
    return isinstance(section, Section) and "start" in section and "sets" not in section


def parse(data: bytes, name: str, folder: Path) -> Description:
    """What the bytes of a description say; `name` is for the messages."""
    section = yaml_source.parse(data, name, _EXAMPLE)
    if isinstance(section, Section) and "sets" in section:
        where = f"{name}:{section.lines['sets']}: sets"
        raise HarnessError(f"{where}: this is a test set, expected a description of replicas")
    problems = Problems(name)
    found: dict[str, Any] = dict(*read_or_tell(_DESCRIPTION, section, Place(problems, 1, name)))
    if "folder" in found:
        found["works_in"] = found.pop("folder")
    found["recovers"] = found.get("recovers", found.get("keeps", "data") == "data")
    problems.refuse()
    return Description(source=name, folder=folder, **found)


# ---- shapes ------------------------------------------------------------------------------------

_TEXT = {"type": "string", "minLength": 1}


def _said(expected: str) -> Shape:
    """Text that is not empty and has no unknown placeholder."""

    def read(value: Any, at: Place) -> str:
        if not isinstance(value, str) or not value.strip():
            raise at.not_that(value, expected)
        for problem in Placeholders.problems(value, _links(at)):
            at.wrong(problem)
        return value

    return Shape(read, _TEXT)


def _links(at: Place) -> str:
    """How the replicas of this description are linked."""
    links = at.inside.get("links", "stdio")
    return links if links in LINKS else "stdio"


def _command(example: str) -> Shape:
    text = _said(f"a command such as {example}")

    def read(value: Any, at: Place) -> tuple[str, ...]:
        text.read(value, at)
        try:
            return tuple(shlex.split(value))
        except ValueError as error:
            raise at.not_that(value, f"words as a shell reads them: {error}".lower()) from None

    return Shape(read, _TEXT)


def _file(value: Any, at: Place) -> WrittenFile:
    found = _FILE.read(value, at._replace(inside={}))
    return WrittenFile(found.get("path", ""), found.get("text", ""))


def _limits(value: Any, at: Place) -> dict[str, int]:
    return {**LIMITS, **_LIMITS.read(value, at)}


def _fixed(value: Any, at: Place) -> Overrides:
    """What is in their source, under the names that the cluster has for it."""
    if not isinstance(value, Section):
        raise at.not_that(value, "some of accounts, balance and nodes")
    _FIXED.read(value, at)  # unknown keys
    section = Section()
    for key, name in FIXED.items():
        if key in value:
            section.put(name, value[key], value.lines[key])
    return config.read_section(section, at.problems, at.line)


def _cluster(value: Any, at: Place) -> Overrides:
    return config.read_section(value, at.problems, at.line)


_ANY = Shape(lambda value, at: value)
_FILE = mapping(
    {
        "path": Key(_said('a path such as "{data}/config.json"'), "Where it is written."),
        "text": Key(_said("its text"), "What stands in it."),
    },
    "path and text",
    needed=("path", "text"),
    unknown="file: ",
    known="file: ",
)
_LIMITS = mapping(
    {key: Key(whole(1, 10_000_000)) for key in LIMITS},
    f"some of {', '.join(LIMITS)}",
    unknown="limits: ",
    known="limits: ",
)
_FIXED = mapping(
    dict.fromkeys(FIXED, Key(_ANY)), "some of accounts, balance and nodes", unknown="fixed: "
)
_FLAG = only(lambda value: isinstance(value, bool), "true or false", {"type": "boolean"})
_LINKS = only(lambda value: value in LINKS, "stdio", {"enum": list(LINKS)})
_START = _command("python3 node.py")
_KEYS = {
    "name": Key(_said("what people call them"), "What people call them."),
    "build": Key(_command("make"), "Run once before anything starts, in this file's folder."),
    "start": Key(_START, "What starts one replica. No shell reads it."),
    "links": Key(_LINKS, "How replicas reach each other."),
    "speaks": Key(choice(*SPEAKS), "What they are asked in."),
    "folder": Key(_said('a folder such as "{data}"'), "The working directory."),
    "file": Key(Shape(_file, _FILE), "Written for each replica before each of its starts."),
    "keeps": Key(choice(*KEEPS), "What survives SIGKILL: the folder {data}, or nothing."),
    "recovers": Key(_FLAG, "One that keeps nothing may come back all the same."),
    "settle_ms": Key(whole(0, config.LONGEST_MS), "How long all may take to execute the same."),
    "retry": Key(choice(*RETRIES), "Whom a client asks after a time-out."),
    "limits": Key(Shape(_limits, _LIMITS), "What one replica may take."),
    "fixed": Key(Shape(_fixed, _FIXED), "What is in their source."),
    "cluster": Key(Shape(_cluster, config.CLUSTER), "Keys of cluster.yaml."),
}
KEYS = tuple(_KEYS)
_DESCRIPTION = mapping(_KEYS, f"lines such as {_EXAMPLE}", needed=("start",))
