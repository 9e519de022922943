"""Writes the end of docs/architecture.md from the code: `python -m tests.rooms`. A test holds it.

Two lists. Of a value that many files tell from its like, which files name it: what comes new beside
it belongs there too. And every file of the two packages with what it is for, which is said once,
in the first line of its docstring.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
HEADING = "## Who names what\n"
QUOTE = '"'

# What may come new, and one like it that is there. A word is a name, a field, or stands in a short
# text of the code; '"word"' is a text alone, and "module:name" what a module has.
LIKE = {
    "a message between replicas": ("NewView",),
    "a message to clients": ("Elected",),
    "an event that a replica decides": ("SteppedDown",),
    "an event that the harness sees": ("LivenessChanged",),
    "what a link does to a message": ("HELD",),
    "a standing about leading": ("Awaiting",),
    "a role": ("CANDIDATE",),
    "a timer of a replica": ("asking_since", "quiet_until"),
    "how long an election may take": ("LEADS_WITHIN_US", "election_timeout", "election_timeout_ms"),
    "a setting of replicas": ("learn_slots",),
    "a size that no configuration has a say in": ("page_slots",),
    "a part of a turn's answer, or of what is stored": (
        "bank.effects:Effects",
        "bank.effects:Stored",
    ),
    "a kind of request": ("bank.ledger:READ",),
    "what a request may come to": ("bank.ledger:SKIPPED",),
    "who is a majority": ("quorum_size", "highest_held_by"),
    "a mark of a slot": ("bank.status:SlotMark",),
    "a field of a replica's state": ("last_slot",),
    "how a replica may be": ("PAUSED",),
    "a way to fail": ('"pause"', '"disconnect"'),
    "a step that is no request": ("Wait",),
    "a fault of replicas": ("Recover",),
    "a fault of links": ("duplicate",),
    "a point at which a process dies": ("KillAt", "MID_CATCH_UP"),
    "a durability": ('"power"',),
    "what a cluster is asked": ("set_clients_running", "harness.cluster.driver:OwnReplicas"),
    "how clients ask": ("client_timeout_ms", "client_timeout"),
    "which sets are run": ("run_next", "run_rest"),
    "what becomes of requests without an answer": ("harness.files.config:DROP",),
    "a field of an operation that clients saw": ("dropped_at",),
    "a field of a set's report": ("leaderless_us",),
    "a field of a step's report": ("carried_from",),
    "an expectation": ("Statuses",),
    "a check of a set": ("exactly_once",),
    "a key of `cluster.yaml` that the harness goes by": ("patience_ms",),
    "a key of `cluster.yaml` that replicas go by": ("heartbeat_ms", "learn_slots"),
    "a number of replicas": ("harness.files.config:NODES",),
    "a word in a description": ("Placeholders", "of_a_shim"),
    "a key of a description": ("settle_ms", "limits"),
    "how replicas of others reach each other": ('"namespaces"',),
    "what replicas of others are asked in": ('"lin-kv"',),
    "a question that replicas of others may answer": ('"views"',),
    "a kind of fault that campaigns draw": ('"stall"', '"duplication"'),
    "what a campaign draws once for each replica": ("drift_ppm", "drift"),
    "a bound of a walk": ("harness.sim.explore.graph:Budget",),
    "a document of a report": ("JUNIT", "PERFETTO"),
    "an outlet for grades": ('"classroom50"',),
    "a rule for the points of many runs": ("harness.commands.grade.scoring:RULES",),
    "a form of the trace": ('"perfetto"', "harness.report.writer:FORMATS"),
    "a form of what is printed": ("harness.commands:FORMATS",),
    "an exit code": ("EXIT_UNREAD", "EXIT_MACHINE"),
    "a phase of a run's time": ("harness.run.timing:Phase",),
    "a figure of a benchmark": ("p99_ms",),
    "a column of `--watch`": ("queued_bytes",),
    "an option of a run": ("write_expected", '"--write-expected"'),
    "an option of runs and of commands": ("unanswered",),
    "a word of the prompt": ("PrintView",),
    "a command of scripts": ("mend",),
}
SHORT = 5  # words of a text: a longer one is a sentence, and speaks of many things


@cache
def files() -> dict[str, ast.Module]:
    """Every file of the packages as a tree, by its path from here."""
    paths = sorted([*(ROOT / "bank").rglob("*.py"), *(ROOT / "harness").rglob("*.py")])
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text("utf-8")) for path in paths}


def head(tree: ast.Module) -> str:
    """The first line of its docstring; "" without one."""
    return (ast.get_docstring(tree) or "").partition("\n")[0]


@cache
def said(file: str) -> frozenset[str]:
    """What its code says, as LIKE has it."""
    found, documents = set(), set()
    module = file.removesuffix(".py").replace("/", ".")
    for node in ast.walk(files()[file]):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            documents |= {id(line.value) for line in node.body[:1] if isinstance(line, ast.Expr)}
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                found.add(name)
                if isinstance(getattr(node, "ctx", None), ast.Store):
                    found.add(f"{module}:{name}")
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                found |= {name, f"{module}:{name}"}
            case ast.keyword(arg=str(name)):
                found.add(name)
            case ast.ImportFrom():
                found |= {f"{node.module}:{alias.name}" for alias in node.names}
            case ast.Constant(value=str(text)) if id(node) not in documents:
                words = re.findall(r"[\w-]+", text)
                found |= {f'"{text}"', *(words if len(words) <= SHORT else ())}
    return frozenset(found)


def naming(words: Iterable[str]) -> list[str]:
    """The files that say one of these."""
    return [file for file in files() if not said(file).isdisjoint(words)]


def room(file: str) -> str:
    """The folder that the page calls a room, as "bank" or "live"; "harness" for files in none."""
    first, *rest = file.split("/")
    return rest[0] if first == "harness" and len(rest) > 1 else first


def in_room(file: str) -> str:
    """Its path there, without an ending; a folder stands for its `__init__`."""
    path = f"/{file}".replace("/__init__.py", "").removesuffix(".py")
    return path.removeprefix("/harness").removeprefix(f"/{room(file)}").removeprefix("/")


def ending() -> str:
    """All from HEADING on."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield HEADING
    yield "Of each kind something that is there, and the files whose code names it: look at each"
    yield "of them when another comes. Files that treat all of a kind alike name none, and stay as"
    yield "they are. Paths are those in the rooms, without `.py`.\n"
    yield "| comes | as | named in |\n|---|---|---|"
    for what, words in LIKE.items():
        named = ", ".join(f"`{word.rpartition(':')[2].strip(QUOTE)}`" for word in words)
        yield f"| {what} | {named} | {_by_room(naming(words))} |"
    yield "\n## Every file\n"
    yield "By room, with the first line of its docstring."
    for name, found in groupby(sorted(files(), key=room), room):
        heads = {file: head(files()[file]) for file in found}
        package = next((text for file, text in heads.items() if not in_room(file)), "")
        yield f"\n**`{name}`**{package and ': '}{package}\n"
        for file, text in heads.items():
            if in_room(file):
                path = in_room(file) + file[file.index(in_room(file)) + len(in_room(file)) :]
                yield f"- `{path}`: {text}"


def _by_room(found: Iterable[str]) -> str:
    told = []
    for name, those in groupby(sorted(found, key=room), room):
        paths = ", ".join(filter(None, map(in_room, those)))
        told.append(f"{name}: {paths}" if paths else name)
    return "; ".join(told)


def page() -> str:
    """The whole document."""
    return PAGE.read_text("utf-8").partition(HEADING)[0] + ending()


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
