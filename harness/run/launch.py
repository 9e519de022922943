"""From a file and flags to a running cluster: what every command that runs test sets shares.

Live and simulated clusters are imported only when they are wanted, and always stopped again.
"""

import secrets
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cluster import blame, guarded
from harness.cluster.driver import Cluster
from harness.errors import EXIT_INVALID, HarnessError
from harness.files import config
from harness.files.config import ClusterConfig, Overrides

if TYPE_CHECKING:
    from harness.live.fleet import Fleet

SEEDS = 1_000_000  # drawn ones are below, short enough to be typed again


def settings(
    flags: Mapping[str, object], file: Overrides, config_file: str | Path | None = None
) -> ClusterConfig:
    """Flags over what the test set says over the file over the defaults.

    `flags` by key of the configuration, None for those that were not given. The seed is drawn
    when nobody gave one. HarnessError for values that are wrong or do not fit each other.
    """
    layers = [config.from_flags(flags), file]
    layers += [] if config_file is None else [config.load(config_file)]
    found = config.layer(*layers)
    if found.seed is None:
        found = replace(found, seed=secrets.randbelow(SEEDS))
    return found


def resumes(data: Path | None) -> bool:
    """A run with this data folder goes on from an earlier one."""
    from harness.live.folder import FILE

    return data is not None and (data / FILE).exists()


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
