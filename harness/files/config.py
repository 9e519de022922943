"""cluster.yaml: every number of a cluster, checked, as one frozen value.

`load` and `from_flags` check each value alone and keep where it stands; `layer` puts layers over
the defaults and checks values against each other. No rule depends on where a value came from,
and everything wrong with a file is reported at once. A key is added in three places: the
dataclass, `CLUSTER` and testsets/cluster.yaml; a test compares them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase
from typing import Any, NamedTuple, TypeAlias

from bank.accounts import PAGE_ACCOUNTS, Accounts, Balances
from bank.settings import MILLISECOND, Settings
from harness.cluster import ctrl_c
from harness.cluster.wording import counted
from harness.errors import HarnessError
from harness.files import text_file
from harness.files.shape import (
    TEXT,
    Key,
    Place,
    Shape,
    choice,
    is_whole,
    mapping,
    only,
    read_or_tell,
    text_like,
    whole,
)
from harness.files.tree import Problems, Section, shown_value

FAILURES = ("disconnect", "crash", "pause")
ASKED = "asked"  # other people's replicas only: they are asked to fail
DURABILITIES = ("process", "power", "memory")
DROP = "drop"
UNANSWERED = ("carry", DROP)
NODES = (3, 5, 7, 9)
MOST_ACCOUNTS = 1_000_000
MOST_MONEY = 2**63 - 1  # all of it may end in one account, and SQLite stores 64 bits
LONGEST_MS = 24 * 60 * 60 * 1000
MOST_NAMED = 3  # of the names that are wrong for one reason


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """The field names are the keys of the file; units are in the names."""

    nodes: int = 5
    accounts: Sequence[str] = tuple("ABCDEFGHIJ")
    initial_balance: int = 10
    election_timeout_ms: tuple[int, int] = (150, 300)
    prepare_quiet_ms: int = 75
    prepare_pause_ms: int = 2000
    heartbeat_ms: int = 40
    stagger_ms: int = 5
    spare_pause_ms: int = 2
    spare_after_slots: int = 64
    learn_slots: int = 64
    client_timeout_ms: int = 300
    patience_ms: int = 1000
    unanswered: str = "carry"
    progress_ms: int = 10_000
    checkpoint_interval: int = 1000
    checkpoint_pause_ms: int = 200
    keep_slots: int = 1000
    queue_buffer_kib: int = 2048
    trace_messages: int = 10_000
    failure: str = "disconnect"
    durability: str = "process"
    seed: int | None = None  # drawn and printed when absent

    def settings(self) -> Settings:
        """What a replica needs of it, in its units."""
        low, high = self.election_timeout_ms
        return Settings(
            election_timeout=(low * MILLISECOND, high * MILLISECOND),
            prepare_quiet=self.prepare_quiet_ms * MILLISECOND,
            prepare_pause=self.prepare_pause_ms * MILLISECOND,
            heartbeat=self.heartbeat_ms * MILLISECOND,
            stagger=self.stagger_ms * MILLISECOND,
            spare_pause=self.spare_pause_ms * MILLISECOND,
            spare_after=self.spare_after_slots,
            learn_slots=self.learn_slots,
            checkpoint_interval=self.checkpoint_interval,
            checkpoint_pause=self.checkpoint_pause_ms * MILLISECOND,
            keep_slots=self.keep_slots,
        )

    def balances(self) -> Balances:
        """The state before slot 1."""
        return Balances.alike(Accounts.of(self.accounts, PAGE_ACCOUNTS), self.initial_balance)


class Override(NamedTuple):
    """A checked value and where it was given."""

    where: str  # "cluster.yaml:3: heartbeat_ms" or "--heartbeat-ms"
    value: Any  # of the type of the ClusterConfig field


Overrides: TypeAlias = Mapping[str, Override]  # by key


def load(path: str | Path) -> Overrides:
    """What a configuration file says. HarnessError with all its problems."""
    return parse(text_file.read(path, "a YAML configuration"), str(path))


def parse(data: bytes, name: str) -> Overrides:
    """What the bytes of a configuration file say; `name` is for the messages."""
    with ctrl_c.afterwards(or_again=True):
        from harness.files import yaml_source  # a fifth of the start of a replica without a file

    section = yaml_source.parse(data, name)
    if section is None:
        return {}
    if not isinstance(section, Section):
        raise HarnessError(f"{name}:1: not a configuration, expected lines such as nodes: 5")
    if "sets" in section:
        where = f"{name}:{section.lines['sets']}: sets"
        raise HarnessError(f"{where}: this is a test set, expected a configuration")
    problems = Problems(name)
    overrides = read_section(section, problems)
    problems.refuse()
    return overrides


def read_section(section: object, problems: Problems, line: int = 1) -> Overrides:
    """The keys that are right of a mapping in this line; what is wrong with it is added."""
    read: dict[str, Any] = dict(*read_or_tell(CLUSTER, section, Place(problems, line, "cluster")))
    lines = section.lines if isinstance(section, Section) else {}
    where = {key: f"{problems.name}:{line}: {key}" for key, line in lines.items()}
    return {key: Override(where[key], read[key]) for key in where if key in read}


def shape_of(key: str) -> Shape:
    """What this key may be, wherever it is said."""
    return _KEYS[key].shape


def from_flags(flags: Mapping[str, object]) -> Overrides:
    """What the command line says, by key: --heartbeat-ms is `heartbeat_ms`. None: not given.

    Values may be text as it was typed: `150,300` and `A..J` stand for lists.
    """
    overrides: dict[str, Override] = {}
    problems: list[str] = []
    for key, value in flags.items():
        if value is None:
            continue
        if isinstance(value, str) and re.fullmatch("[-+]?[0-9]{1,30}", value):
            value = int(value)
        if value == "null":  # as a file says it
            value = None
        flag = "--" + key.replace("_", "-")
        try:
            read = _KEYS[key].shape.read(value, Place(Problems(flag), 0, flag))
            overrides[key] = Override(flag, read)
        except ValueError as error:
            problems.append(f"{flag}: {error}")
    if problems:
        raise HarnessError(*problems)
    return overrides


def layer(*layers: Overrides) -> ClusterConfig:
    """The layers over the defaults, strongest first: flags, a test set's own, the file.

    HarnessError when values do not fit each other; it names the strongest that takes part.
    """
    given: dict[str, Override] = {}
    for overrides in layers:
        for key, override in overrides.items():
            given.setdefault(key, override)
    config = replace(ClusterConfig(), **{key: value for key, (_, value) in given.items()})
    problems = []
    for keys, what in _conflicts(config):
        culprit = next(key for key in given if key in keys)
        others = "".join(
            f" ({given[key].where})" for key in keys if key in given and key != culprit
        )
        problems.append(f"{given[culprit].where}: {what}{others}")
    if problems:
        raise HarnessError(*problems)
    return config


def names_listed(names: Sequence[str]) -> str:
    """Names in a message: "A..J" when they are consecutive letters, else up to ten of them."""
    letters = "".join(names)
    if len(names) > 2 and all(len(name) == 1 for name in names) and letters in ascii_uppercase:
        return f"{names[0]}..{names[-1]}"
    return ", ".join([*names[:10], "…"] if len(names) > 10 else names)


def _conflicts(config: ClusterConfig) -> list[tuple[tuple[str, ...], str]]:
    """Values that do not fit each other: the keys, and what is wrong and expected."""
    found: list[tuple[tuple[str, ...], str]] = []
    low, _ = config.election_timeout_ms
    if low <= config.heartbeat_ms:
        what = f"a replica must hear a heartbeat ({config.heartbeat_ms} ms) within its shortest "
        what += f"election time-out ({low} ms), expected heartbeat_ms below election_timeout_ms"
        found.append((("election_timeout_ms", "heartbeat_ms"), what))
    if config.failure == "crash" and config.durability == "memory":
        what = "a crashed replica returns from its disk and durability memory keeps nothing, "
        what += "expected durability process or power, or failure disconnect or pause"
        found.append((("failure", "durability"), what))
    if len(config.accounts) * config.initial_balance > MOST_MONEY:
        what = f"{len(config.accounts)} accounts of {config.initial_balance} are more money than "
        what += f"is counted, expected at most {MOST_MONEY} in all"
        found.append((("initial_balance", "accounts"), what))
    return found


_RANGE = re.compile(
    r"\s*([a-z_]*)([a-z]|[0-9]{1,7})\s*\.\.\s*\1([a-z]|[0-9]{1,7})\s*", re.IGNORECASE
)
_PAIR = re.compile(r"\[?\s*([0-9]{1,9})\s*,\s*([0-9]{1,9})\s*\]?")


def _failure(value: Any, at: Place) -> Any:
    return value if value == ASKED else choice(*FAILURES).read(value, at)


def _election_timeout(value: Any, _: Place) -> tuple[int, int]:
    expected = f"expected [low, high] from 1 to {LONGEST_MS}, low not above high"
    if isinstance(value, str) and (pair := _PAIR.fullmatch(value)):
        value = [int(word) for word in pair.groups()]
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise ValueError(f"found {shown_value(value)}, {expected}")
    low, high = value
    for bound in value:
        if not is_whole(bound, 1, LONGEST_MS):
            raise ValueError(f"found {shown_value(bound)}, {expected}")
    if low > high:
        raise ValueError(f"found {low} above {high}, {expected}")
    return low, high


def _accounts(value: Any, at: Place) -> tuple[str, ...]:
    """A list of names, or as text: `A..J`, `c1..c100`, `alice, bob`."""
    if isinstance(value, str):
        value = _range(value) if ".." in value else [word.strip() for word in value.split(",")]
    expected = "expected names such as A..J, c1..c100 or [alice, bob]"
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"found {shown_value(value)}, {expected}")
    if not 1 <= len(value) <= MOST_ACCOUNTS:
        raise ValueError(f"found {len(value)} accounts, expected 1 to {MOST_ACCOUNTS}")
    wrong: dict[str, list[str]] = {}  # all names of each cause
    seen: set[str] = set()
    for name in value:
        if not isinstance(name, str) or not re.fullmatch("[A-Za-z0-9_]{1,32}", name):
            what = "found {}, expected 1 to 32 letters, digits or _ in a name"
            wrong.setdefault(what, []).append(shown_value(name))
        elif re.fullmatch("[nN][0-9]+", name):
            what = f"found {{}}: replicas have such names, {expected}"
            wrong.setdefault(what, []).append(name)
        elif name.lower() in seen:
            what = "found {} twice (letter case does not count), expected each name once"
            wrong.setdefault(what, []).append(name)
        else:
            seen.add(name.lower())
    *others, last = [what.format(_listed(names)) for what, names in wrong.items()] or [""]
    for what in others:
        at.wrong(what)
    if last:
        raise ValueError(last)
    return tuple(value)


def _listed(found: Sequence[str]) -> str:
    names = [*dict.fromkeys(found)]
    more = f" and {counted(len(names) - MOST_NAMED, 'more name')}"
    return ", ".join(names[:MOST_NAMED]) + (more if len(names) > MOST_NAMED else "")


def _range(text: str) -> list[str]:
    """The names of `A..J` or `c1..c100`."""
    match = _RANGE.fullmatch(text)
    if match:
        prefix, first, last = match.groups()
        if first.isdigit() and last.isdigit() and int(first) <= int(last):
            return [f"{prefix}{number}" for number in range(int(first), int(last) + 1)]
        for letters in (ascii_uppercase, ascii_lowercase):
            if first in letters and last in letters and first <= last:
                names = letters[letters.index(first) : letters.index(last) + 1]
                return [prefix + name for name in names]
    raise ValueError(f"found {shown_value(text)}, expected a range such as A..J or c1..c100")


_SOME_MS, _ANY_MS = whole(1, LONGEST_MS), whole(0, LONGEST_MS)
_BOUNDS = {"type": "array", "minItems": 2, "maxItems": 2, "items": _SOME_MS}
_NAMES = {"type": "array", "minItems": 1, "items": text_like("[A-Za-z0-9_]{1,32}")}
_SEED = only(
    lambda value: value is None or is_whole(value, 0, MOST_MONEY),
    f"a whole number from 0 to {MOST_MONEY}",
    {"type": ["null", "integer"], "minimum": 0, "maximum": MOST_MONEY},
)
_KEYS = {
    "nodes": Key(choice(*NODES), "Replicas n1, n2, ..."),
    "accounts": Key(
        Shape(_accounts, {"anyOf": [TEXT, _NAMES]}),
        "A..J, c1..c100 or [alice, bob]; each has a client of the same name.",
    ),
    "initial_balance": Key(whole(0, MOST_MONEY), "What every account holds at the start."),
    "election_timeout_ms": Key(
        Shape(_election_timeout, {"anyOf": [_BOUNDS, TEXT]}),
        "[low, high]: a replica that heard no leader for a time drawn between these tries to "
        "become one.",
    ),
    "prepare_quiet_ms": Key(
        _ANY_MS, "A replica that saw another's PREPARE this recently does not send its own."
    ),
    "prepare_pause_ms": Key(_SOME_MS, "The longest pause between a candidate's PREPAREs."),
    "heartbeat_ms": Key(_SOME_MS, "How often a leader says that it is there."),
    "stagger_ms": Key(
        _ANY_MS, "How much longer each next replica waits when several notice a dead leader."
    ),
    "spare_pause_ms": Key(
        _ANY_MS,
        "How long a busy leader waits for the backups that its majority needs before all "
        "others get an ACCEPT too; 0: all get it at once.",
    ),
    "spare_after_slots": Key(
        whole(0, 1_000_000),
        "How many slots without a pause make a leader busy, so that it puts ACCEPTs off for "
        "the backups that its majority does not need.",
    ),
    "learn_slots": Key(
        whole(1, 1_000_000),
        "How many slots that ACCEPTs say to be committed a backup lets come together before "
        "it executes them.",
    ),
    "client_timeout_ms": Key(
        _SOME_MS, "A client without an answer for this long asks all replicas."
    ),
    "patience_ms": Key(
        _SOME_MS, "How long a set waits while too few replicas are live to decide anything."
    ),
    "unanswered": Key(
        choice(*UNANSWERED),
        "What becomes of a request without an answer at the end of its set: its client carries it "
        "into the next one, or drops it.",
    ),
    "progress_ms": Key(
        _SOME_MS,
        "While enough are live, or should be, the next answer must come within this time of "
        "the last one.",
    ),
    "checkpoint_interval": Key(
        whole(1, 1_000_000), "Slots between two comparisons of what was executed."
    ),
    "checkpoint_pause_ms": Key(_ANY_MS, "The least time between two checkpoints on disk."),
    "keep_slots": Key(whole(0, 1_000_000), "How many slots below its checkpoint a replica keeps."),
    "queue_buffer_kib": Key(  # a piece of a checkpoint must fit
        whole(512, 1_048_576), "How much one process keeps for another that does not read."
    ),
    "trace_messages": Key(
        whole(0, 10_000_000), "How many messages of each replica and set are kept."
    ),
    "failure": Key(
        Shape(_failure, {"enum": [*FAILURES, ASKED]}), "What happens to a replica that fails."
    ),
    "durability": Key(choice(*DURABILITIES), "What the disk state of a replica survives."),
    "seed": Key(_SEED, "The number from which time-outs are drawn."),
}
CLUSTER = mapping(_KEYS, "keys of cluster.yaml such as nodes: 5", called="cluster")
KEYS = tuple(_KEYS)
