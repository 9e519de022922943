"""The description of somebody's replicas: how they are built, started, linked and asked.

A file is taken whole or refused whole, before anything starts: every mistake is told with its
place, what was found, what was expected, and the nearest known word. A command alone stands for
`{start: that command, links: stdio, speaks: bank}`.
"""

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.external import placeholders
from harness.external.placeholders import Placeholders
from harness.files import config, text_file, yaml_source
from harness.files.config import ClusterConfig, Override, Overrides
from harness.files.shape import (
    Key,
    Place,
    Shape,
    choice,
    entries,
    mapping,
    only,
    read_or_tell,
    whole,
)
from harness.files.tree import Problems, Section

LINKS = ("stdio", "template", "namespaces", "none")
SOCKETS = LINKS[1:]
CUTS = ("hold", "reset")
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
class Ready:
    """When one with sockets of its own takes part: one of these."""

    line: str = ""  # a part of a line of its output
    seconds: int | None = None
    # Neither: its port is open.


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
    shim: tuple[str, ...] = ()
    ports: Mapping[str, int] = field(default_factory=dict)  # in their source, by name
    clients: int | None = None  # a port in their source that they dial to answer clients
    ready: Ready = Ready()
    cut: str = "hold"
    limits: Mapping[str, int] = field(default_factory=lambda: dict(LIMITS))
    cluster: Overrides = field(default_factory=dict)
    fixed: Overrides = field(default_factory=dict)
    require: tuple[str, ...] = ()  # what whoever grades demands that they tell; in no file

    @property
    def shown(self) -> str:
        """What people call them."""
        return self.name or self.source

    @property
    def defaults(self) -> Overrides:
        """What they say of the cluster, below what flags, test sets and `--config` say."""
        defaults: dict[str, object] = dict(DEFAULTS)
        if self.ports:
            defaults["nodes"] = len(self.ports)
        if self.links == "none":
            defaults["failure"] = "crash" if self.recovers else "pause"
        own = {key: Override("the default of other people's replicas", value)
               for key, value in defaults.items()}  # fmt: skip
        return {**own, **self.fixed, **self.cluster}

    @property
    def is_alone(self) -> bool:
        """Its ports are the machine's: never two runs at once."""
        return self.links == "none"

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
            why = "keeps nothing" if self.keeps == "nothing" else "recovers: false"
            problems.append(
                f"{self.source}: {why}, so that a killed replica stays away, "
                "expected --failure disconnect or pause, or recovers: true"
            )
        if self.links == "none" and settings.failure == "disconnect":
            problems.append(
                f"{self.source}: links: none: nothing of theirs passes the harness, which cannot "
                "disconnect a replica, expected --failure crash or pause"
            )
        if self.ports and len(self.ports) != settings.nodes:
            asked = f" ({given['nodes'].where})" if "nodes" in given else ""
            problems.append(
                f"{self.source}: ports: those of {len(self.ports)} replicas, "
                f"the run needs {settings.nodes}{asked}"
            )
        texts = (*self.start, *self.shim, *([self.file.text] if self.file else []))
        for number in sorted(set().union(*map(Placeholders.named, texts))):
            if number > settings.nodes:
                problems.append(
                    f"{self.source}: {{address:n{number}}}: the run has {settings.nodes} replicas"
                )
        if problems:
            raise HarnessError(*problems)


def _plain(value: object) -> str:
    return config.names_listed(value) if isinstance(value, tuple) else str(value)


def read(given: str) -> Description:
    """Of `--replicas`: a YAML file, or a command. HarnessError with everything that is wrong."""
    is_yaml = given.lower().endswith((".yaml", ".yml"))
    is_command = " " in given.strip() and not os.path.exists(given)  # and that its last word
    if is_yaml and not is_command:
        data = text_file.read(given, "a description of replicas")
        return parse(data, given, Path(given).resolve().parent)
    is_folder = os.path.isdir(given)
    if is_folder or (os.path.isfile(given) and not os.access(given, os.X_OK)):
        found = "a folder" if is_folder else "a file, but no program and no YAML (.yaml, .yml)"
        raise HarnessError(
            f"--replicas: {given}: is {found}, expected a YAML file that describes replicas, or "
            "the command that starts one, such as python3 node.py"
        )
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
    found: dict[str, Any] = dict(*read_or_tell(_DESCRIPTION, section, Place(problems, 1, "")))
    if "folder" in found:
        found["works_in"] = found.pop("folder")
    found["recovers"] = found.get("recovers", found.get("keeps", "data") == "data")
    if isinstance(section, Section):
        _check_links(section, Place(problems, 1, ""))
    problems.refuse()
    return Description(source=name, folder=folder, **found)


# ---- shapes ------------------------------------------------------------------------------------

_TEXT = {"type": "string", "minLength": 1}


def _said(expected: str, of_a_shim: bool = False) -> Shape:
    """Text that is not empty and has no unknown placeholder."""

    def read(value: Any, at: Place) -> str:
        if not isinstance(value, str) or not value.strip() or not _is_writable(value):
            raise at.not_that(value, expected)
        for problem in Placeholders.problems(value, "shim" if of_a_shim else _links(at)):
            at.wrong(problem)
        if "{clients}" in value and "clients" not in at.inside and _links(at) in SOCKETS:
            at.wrong("{clients} is the port of clients:, which is not there, expected both")
        return value

    return Shape(read, _TEXT)


def _is_writable(text: str) -> bool:
    """Whether names and files can have it: no NUL, and no half of a pair of surrogates."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def _check_links(section: Section, at: Place) -> None:
    """What one way in needs, and another has no use for."""
    links = section.get("links", "stdio")
    if links not in LINKS:
        return
    if links == "stdio":
        for key in ("ports", "clients", "ready", "shim", "cut"):
            if key in section:
                at._replace(line=section.lines[key], name=key).wrong(
                    "has no meaning with links: stdio, where every message passes the harness, "
                    "expected links: template, namespaces or none"
                )
        return
    line = section.lines["links"]
    if "shim" not in section:
        why = f"links: {links} needs what asks them, such as shim: python3 shim.py"
        at.problems.add(line, "no shim", why)
    if section.get("speaks", "bank") != "bank":
        at._replace(line=section.lines["speaks"], name="speaks").wrong(
            f"with links: {links} the shim speaks for them, expected links: stdio"
        )
    if links == "namespaces" and "ports" not in section:
        why = "links: namespaces needs those in their source, such as ports: {n1: 5001, n2: 5002}"
        at.problems.add(line, "no ports", why)
    _check_clients(section, at)
    if links == "template" and "ports" in section:
        at._replace(line=section.lines["ports"], name="ports").wrong(
            "with links: template each replica is told its port, expected links: namespaces for "
            "ports in their source"
        )
    if links == "none" and "cut" in section:
        at._replace(line=section.lines["cut"], name="cut").wrong(
            "with links: none no link can be cut, expected links: template or namespaces"
        )


def _check_clients(section: Section, at: Place) -> None:
    """The port on which the shim takes answers is nobody's own."""
    clients, ports = section.get("clients"), section.get("ports")
    if not isinstance(clients, Section) or not isinstance(ports, Section):
        return
    for name, port in ports.items():
        if port == clients.get("port"):
            at._replace(line=section.lines["clients"], name="clients").wrong(
                f"{port} is the port of {name}, expected one of its own"
            )


def _links(at: Place) -> str:
    """How the replicas of this description are linked."""
    links = at.inside.get("links", "stdio")
    return links if links in LINKS else "stdio"


def _command(example: str, of_a_shim: bool = False) -> Shape:
    text = _said(f"a command such as {example}", of_a_shim)

    def read(value: Any, at: Place) -> tuple[str, ...]:
        text.read(value, at)
        return _words(value, at, example)

    return Shape(read, _TEXT)


def _words(value: str, at: Place, example: str) -> tuple[str, ...]:
    """Of a command, which no shell reads."""
    try:
        words = tuple(shlex.split(value))
    except ValueError as error:
        raise at.not_that(value, f"words as a shell reads them: {error}".lower()) from None
    if not words[0]:
        raise at.not_that(value, f"a command such as {example}")
    return words


def _build(value: Any, at: Place) -> tuple[str, ...]:
    """A command that is run once, for all replicas."""
    if not isinstance(value, str) or not value.strip() or not _is_writable(value):
        raise at.not_that(value, "a command such as make")
    found = placeholders.found(value)
    for name in found:
        at.wrong(f"{name} has no meaning in what is run once for all replicas, expected none")
    return _words(value if found else placeholders.unescaped(value), at, "make")


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
    found: dict[str, Override] = {}
    for key, name in FIXED.items():
        if key in value:
            place = at._replace(line=value.lines[key], name=f"fixed: {key}")
            for read in read_or_tell(config.shape_of(name), value[key], place):
                found[name] = Override(f"{at.problems.name}:{place.line}: {key}", read)
    return found


def _port_of(name: str, value: Any, at: Place) -> dict[str, int]:
    if not re.fullmatch("n[1-9]", name):
        raise ValueError("no replica, expected n1, n2 and so on")
    return {name: _PORT.read(value, at)}


def _ports(value: Any, at: Place) -> dict[str, int]:
    found: dict[str, int] = _PORTS.read(value, at)
    wanted = [f"n{number}" for number in range(1, len(found) + 1)]
    if sorted(found) != wanted:
        at.wrong(f"those of {', '.join(sorted(found))}, expected {', '.join(wanted)}")
    elif len(set(found.values())) < len(found):
        at.wrong("one of them twice, expected a port of its own for each replica")
    return found


def _clients(value: Any, at: Place) -> int | None:
    port: int | None = _CLIENTS.read(value, at._replace(inside={})).get("port")
    return port


def _ready(value: Any, at: Place) -> Ready:
    if not isinstance(value, Section) or len(value) != 1:
        raise at.not_that(value, '{port: open}, {line: "a part of a line"} or {seconds: 2}')
    found = _READY.read(value, at)
    return Ready(found.get("line", ""), found.get("seconds"))


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
_PORT = whole(1, 65535)
_PORTS = entries(_port_of, "ports such as {n1: 5001, n2: 5002, n3: 5003}", _PORT, "n[1-9]")
_CLIENTS = mapping(
    {
        "port": Key(_PORT, "The port that replicas dial to answer clients."),
        "dial": Key(
            only(lambda value: value == "shim", "shim", {"enum": ["shim"]}), "Who listens."
        ),
    },
    "such as {port: 6000, dial: shim}",
    needed=("port", "dial"),
    unknown="clients: ",
    known="clients: ",
)
_READY = mapping(
    {
        "port": Key(only(lambda value: value == "open", "open", {"enum": ["open"]})),
        "line": Key(only(lambda v: isinstance(v, str) and bool(v), "a part of a line", _TEXT)),
        "seconds": Key(whole(0, 60)),
    },
    "port, line or seconds",
    unknown="ready: ",
    known="ready: ",
)
_FLAG = only(lambda value: isinstance(value, bool), "true or false", {"type": "boolean"})
_LINKS = choice(*LINKS)
_START = _command("python3 node.py")
_KEYS = {
    "name": Key(_said("what people call them"), "What people call them."),
    "build": Key(Shape(_build, _TEXT), "Run once before anything starts, in this file's folder."),
    "start": Key(_START, "What starts one replica. No shell reads it."),
    "links": Key(_LINKS, "How replicas reach each other."),
    "speaks": Key(choice(*SPEAKS), "What they are asked in."),
    "folder": Key(_said('a folder such as "{data}"'), "The working directory."),
    "file": Key(Shape(_file, _FILE), "Written for each replica before each of its starts."),
    "keeps": Key(choice(*KEEPS), "What survives SIGKILL: the folder {data}, or nothing."),
    "recovers": Key(_FLAG, "One that keeps nothing may come back all the same."),
    "settle_ms": Key(whole(0, config.LONGEST_MS), "How long all may take to execute the same."),
    "retry": Key(choice(*RETRIES), "Whom a client asks after a time-out."),
    "shim": Key(_command("python3 shim.py", True), "Asks those that have sockets of their own."),
    "ports": Key(Shape(_ports, _PORTS), "The ports in their source."),
    "clients": Key(Shape(_clients, _CLIENTS), "A port that they dial to answer clients."),
    "ready": Key(Shape(_ready, _READY), "When one takes part, after each start."),
    "cut": Key(choice(*CUTS), "What a cut link does with bytes."),
    "limits": Key(Shape(_limits, _LIMITS), "What one replica may take."),
    "fixed": Key(Shape(_fixed, _FIXED), "What is in their source."),
    "cluster": Key(Shape(_cluster, config.CLUSTER), "Keys of cluster.yaml."),
}
KEYS = tuple(_KEYS)
_DESCRIPTION = mapping(_KEYS, f"lines such as {_EXAMPLE}", needed=("start",))
