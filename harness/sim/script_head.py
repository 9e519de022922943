"""The first line of a script, "nodes 3 checkpoint 4 …": what it can say, read and written.

Beside what `HEAD` has it can say keys of the configuration, and sizes of `bank.settings.Sizes`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from string import ascii_uppercase
from typing import Any

from bank.settings import USUAL, Settings, Sizes
from harness.files.config import ClusterConfig

# What holds unless a script says otherwise. Nothing is put off: a story is read step after step.
PLAIN = ClusterConfig(spare_pause_ms=0, spare_after_slots=0, learn_slots=1)
HEAD = {
    "nodes": "how many replicas",
    "seed": "what they draw from: that of a simulated world",
    "checkpoint": "slots from one to the next; none waits for time, and nothing is kept",
    "accounts": "how many, A, B, …, or which: AA,AB",
    "balance": "what each holds at first, else 10",
    "drift": "how many parts per million the clock of each replica is fast: 12,-5,0",
    "synced": "0: what is written can be lost by a loss of power",
}
SIZES = tuple(field.name for field in fields(Sizes))
SAID = (  # of the configuration, what replicas go by
    "election_timeout_ms",
    "prepare_quiet_ms",
    "prepare_pause_ms",
    "heartbeat_ms",
    "stagger_ms",
    "spare_pause_ms",
    "spare_after_slots",
    "learn_slots",
    "checkpoint_interval",
    "checkpoint_pause_ms",
    "keep_slots",
)


def settings(given: Mapping[str, str]) -> Settings:
    """Keys of the configuration, and sizes. The others are as in PLAIN."""
    keys: dict[str, Any] = {}
    if "checkpoint" in given:
        interval = int(given["checkpoint"])
        keys |= {"checkpoint_interval": interval, "checkpoint_pause_ms": 0, "keep_slots": 0}
    for key, value in given.items():
        if key not in HEAD and key not in SIZES:
            low, _, high = value.partition("-")
            keys[key] = (int(low), int(high)) if high else int(low)
    sizes = {name: int(given[name]) for name in SIZES if name in given}
    return replace(replace(PLAIN, **keys).settings(), sizes=replace(USUAL, **sizes))


def balances(given: Mapping[str, str]) -> dict[str, int]:
    """By account. They are "3", which is A, B and C, or "AA,AB"; all letters unless one says so."""
    named = given.get("accounts", str(len(ascii_uppercase)))
    accounts = ascii_uppercase[: int(named)] if named.isdigit() else named.split(",")
    return dict.fromkeys(accounts, int(given.get("balance", PLAIN.initial_balance)))


def written(
    config: ClusterConfig, sizes: Sizes = USUAL, drifts: Sequence[int] = (), is_synced: bool = True
) -> str:
    """The line that says so; `drifts` by replica, in parts per million."""
    named = ",".join(config.accounts)
    few = ",".join(ascii_uppercase[: len(config.accounts)])
    accounts = len(config.accounts) if named == few else named
    words = [f"nodes {config.nodes} seed {config.seed} accounts {accounts}"]
    if config.initial_balance != PLAIN.initial_balance:
        words.append(f"balance {config.initial_balance}")
    for key in SAID:
        value = getattr(config, key)
        if value != getattr(PLAIN, key):
            text = "-".join(map(str, value)) if isinstance(value, tuple) else value
            words.append(f"{key} {text}")
    for name in SIZES:
        if (size := getattr(sizes, name)) != getattr(USUAL, name):
            words.append(f"{name} {size}")
    if any(drifts):
        words.append(f"drift {','.join(map(str, drifts))}")
    if not is_synced:
        words.append("synced 0")
    return " ".join(words)
