"""From a file and flags to a running cluster: what every command that runs test sets shares.

Live and simulated clusters are imported only when they are wanted, and always stopped again.
"""

import secrets
import signal
from collections import ChainMap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bank.ledger import READ
from harness.cluster import blame, guarded
from harness.cluster.driver import Cluster
from harness.cluster.nemesis import FailLeader, KillAt
from harness.errors import EXIT_INVALID, HarnessError
from harness.files import config
from harness.files.cases import CaseFile, Command
from harness.files.config import ClusterConfig, Overrides

if TYPE_CHECKING:
    from harness.external.description import Description
    from harness.live.fleet import Fleet

SEEDS = 1_000_000  # drawn ones are below, short enough to be typed again


def settings(
    flags: Mapping[str, object],
    file: Overrides,
    config_file: str | Path | None = None,
    description: "Description | None" = None,
) -> ClusterConfig:
    """Flags over what the test set says over the file over the defaults.

    `flags` by key of the configuration, None for those that were not given. The seed is drawn
    when nobody gave one. The defaults of other people's replicas are those of their description.
    HarnessError for values that are wrong or do not fit each other, or these replicas.
    """
    layers = [config.from_flags(flags), file]
    layers += [] if config_file is None else [config.load(config_file)]
    given = dict(ChainMap(*map(dict, layers)))
    layers += [] if description is None else [description.defaults]
    found = config.layer(*layers)
    if description is not None:
        description.check(found, given)
    elif found.failure == config.ASKED:
        where = given["failure"].where
        told = f"{where}: our own replicas are not asked to fail, they are made to: expected "
        raise HarnessError(f"{told}{', '.join(config.FAILURES)}, or --replicas with it")
    if found.seed is None:
        found = replace(found, seed=secrets.randbelow(SEEDS))
    return found


def resumes(data: Path | None) -> bool:
    """A run with this data folder goes on from an earlier one."""
    from harness.live.folder import FILE

    return data is not None and (data / FILE).exists()


def replicas(given: str | None) -> "Description | None":
    """What `--replicas` describes; None for our own. HarnessError for a bad description."""
    if given is None:
        return None
    from harness.external import description

    return description.read(given)


def refuse_beside_replicas(options: Mapping[str, object]) -> None:
    """HarnessError for options that have no meaning for replicas whose code is not ours."""
    reasons = {
        "sim": "a simulation runs our own replicas, step by step in one thread",
        "durability": "other people's replicas write to their disks as they like",
        "watch": "other people's replicas do not say how they are while they run",
        "write_expected": "it runs no replicas",
    }
    problems = [
        f"--{key.replace('_', '-')}: {why}, leave out this or --replicas"
        for key, why in reasons.items()
        if options.get(key)
    ]
    if problems:
        raise HarnessError(*problems)


@contextmanager
def external(
    description: "Description",
    settings: ClusterConfig,
    file: CaseFile,
    data: Path | None = None,
    logs: Path | None = None,
) -> Iterator[Cluster]:
    """The same as `cluster`, of other people's replicas, for this file.

    `logs` is the folder that keeps what they write to standard error; see `kept_logs`.
    """
    from harness.external.cluster import ExternalCluster

    asked = [step.action for case in file.sets for step in case.steps]
    for case in file.sets:
        for step in case.steps:
            if isinstance(step.action, KillAt) or (
                isinstance(step.action, FailLeader) and step.action.point is not None
            ):
                told = f"{file.path}:{step.line}: {step.text}: kill points are places in our own "
                raise HarnessError(f"{told}replicas' code, expected LF or F(n1) with --replicas")
    with_reads = any(isinstance(action, Command) and action.kind == READ for action in asked)
    opened = ExternalCluster(description, settings, data, logs, with_reads)
    try:
        yield opened
    finally:
        _stop(opened)


def kept_logs(stopped: Cluster) -> Path:
    """Where the logs of other people's replicas are kept; without it a folder is of no use."""
    from harness.external.cluster import ExternalCluster

    assert isinstance(stopped, ExternalCluster)
    return stopped.keep_logs()


@contextmanager
def cluster(
    settings: ClusterConfig, simulated: bool = False, data: Path | None = None
) -> Iterator[Cluster]:
    """A cluster, not started yet; stopped at the end whatever happens, Ctrl-C again included."""
    if data is not None and settings.durability == "memory":
        raise HarnessError(
            "--data: durability memory keeps nothing there, expected durability process or power"
        )
    if data is not None and simulated:
        raise HarnessError("--data: a simulated cluster keeps nothing, leave out --data or --sim")
    opened = _simulated(settings) if simulated else _live(settings, data)
    try:
        with _told() if simulated else nullcontext():
            yield opened
    finally:
        _stop(opened)


@contextmanager
def _told() -> Iterator[None]:
    """A simulated replica raises in this process: told like that of a process of its own."""
    from harness.sim.invariants import Violation

    try:
        with guarded.replicas():
            yield
    except Violation as violation:
        told = f"safety violated in the simulation: {violation}"
        raise HarnessError(told, exit_code=EXIT_INVALID) from violation
    except (Exception, SystemExit) as error:
        if isinstance(error, HarnessError) or not blame.is_of_bank(error):
            raise
        told = f"a replica raised in the simulation: {blame.told(error)}"
        raise HarnessError(told, exit_code=EXIT_INVALID) from error


def _simulated(settings: ClusterConfig) -> Cluster:
    from harness.sim.world import SimCluster

    return SimCluster(settings)


def _live(settings: ClusterConfig, data: Path | None) -> Cluster:
    from harness.live.cluster import LiveCluster

    return LiveCluster(settings, data)


def fleet(cluster: Cluster) -> "Fleet":
    """The processes of a cluster that is not simulated."""
    from harness.live.cluster import LiveCluster

    assert isinstance(cluster, LiveCluster)
    return cluster.fleet


def program_us() -> int | None:
    """Microseconds since this program was started; None where the kernel does not tell."""
    from harness.live.usage import age_us

    return age_us()


def _stop(opened: Cluster) -> None:
    """A second Ctrl-C must not leave processes behind."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        opened.stop()
    finally:
        signal.signal(signal.SIGINT, before)
