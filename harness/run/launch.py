"""From a file and flags to a running cluster: what every command that runs test sets shares.

Live and simulated clusters are imported only when they are wanted, and always stopped again.
"""

import os
import secrets
import signal
import sys
from collections import ChainMap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from bank.ledger import READ
from harness.cluster import blame, ctrl_c, guarded
from harness.cluster.driver import Cluster
from harness.cluster.nemesis import FailLeader, KillAt
from harness.errors import EXIT_INVALID, HarnessError, nearest, refuse_ignored
from harness.files import config
from harness.files.cases import CaseFile, Command
from harness.files.config import ClusterConfig, Overrides

if TYPE_CHECKING:
    from harness.external.cluster import ExternalCluster
    from harness.external.description import Description
    from harness.external.looking import Looking
    from harness.external.told import View
    from harness.external.trial import Trial
    from harness.live.fleet import Fleet

Theirs: TypeAlias = "tuple[Description, CaseFile, Path | None]"  # see `cluster`
REQUIRABLE = ("state", "read", "log", "views")
# Options that have no meaning for replicas whose code is not ours, and why.
_SIMULATION = "a simulation runs our own replicas, step by step in one thread"
OF_OURS = {
    "sim": _SIMULATION,
    "paxbank_sim": _SIMULATION,
    "durability": "other people's replicas write to their disks as they like",
    "checkpoint_interval": "other people's replicas keep what they like",
    "write_expected": "it runs no replicas",
    "failover": "what a failover is spent on is known of our own replicas alone",
    "soak": "memory and disk are looked at in our own replicas alone",
}
OF_OTHERS = {"durability": "process"}  # what is done with theirs without being asked for
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
    return replace(found, seed=drawn(found.seed))


def drawn(seed: Any) -> Any:
    """This seed, or a drawn one where none is given."""
    return secrets.randbelow(SEEDS) if seed is None else seed


def resumes(data: Path | None) -> bool:
    """A run with this data folder goes on from an earlier one."""
    with ctrl_c.afterwards(or_again=True):
        from harness.live.folder import FILE

    return data is not None and os.path.exists(data / FILE)


def required(given: str | None) -> tuple[str, ...]:
    """Read `--require`: what replicas must tell of themselves, with commas."""
    words = tuple(word.strip() for word in (given or "").split(",") if word.strip())
    for word in words:
        if word not in REQUIRABLE:
            hint = nearest(word, list(REQUIRABLE))
            known = ", ".join(REQUIRABLE)
            raise HarnessError(f'--require: found "{word}", expected some of {known}{hint}')
    return words


def replicas(
    given: str | None, require: str | None = None, built: Path | None = None
) -> "Description | None":
    """What `--replicas` describes; None for our own. HarnessError for a bad description.

    `require` is read by `required`; `built` is the folder of their commands, in place of the
    description's own, where what has to be built was built before.
    """
    words = required(require)
    if given is None:
        if words:
            raise HarnessError("--require: our own replicas tell all, expected it with --replicas")
        if built is not None:
            raise HarnessError("--built: our own replicas are not built, expected --replicas too")
        return None
    with ctrl_c.afterwards(or_again=True):
        from harness.external import description

    found = replace(description.read(given), require=words)
    if built is None:
        return found
    if not os.path.isdir(built):
        raise HarnessError(f"--built: {built}: no such folder, expected that of built replicas")
    return replace(found, folder=built.resolve(), build=())


def link_faults(description: "Description") -> tuple[str, ...]:
    """Those that these replicas can be put through."""
    with ctrl_c.afterwards(or_again=True):
        from harness.external import fits

    return fits.link_faults(description.links)


def is_description(path: str) -> bool:
    """Whether a file describes replicas and is no test set."""
    with ctrl_c.afterwards(or_again=True):
        from harness.external import description

    return description.is_one(path)


def trial(path: str, flags: Mapping[str, object], config_file: str | None) -> "Trial":
    """A short try of the replicas that a file describes."""
    with ctrl_c.afterwards(or_again=True):
        from harness.external import description
        from harness.external.trial import trial

    described = description.read(path)
    return trial(described, settings(flags, {}, config_file, described))


def refuse_beside_replicas(
    options: Mapping[str, object],
    flag: str = "--replicas",
    anyway: Mapping[str, object] = OF_OTHERS,
) -> None:
    """HarnessError for options that have no meaning for replicas whose code is not ours."""
    refuse_ignored(flag, options, OF_OURS, anyway)


def refuse_unfit(description: "Description", file: CaseFile) -> None:
    """HarnessError for a file with steps that cannot be done to these replicas."""
    with ctrl_c.afterwards(or_again=True):
        from harness.external.fits import refuse_unfit

    for case in file.sets:
        for step in case.steps:
            if isinstance(step.action, KillAt) or (
                isinstance(step.action, FailLeader) and step.action.point is not None
            ):
                told = f"{file.path}:{step.line}: {step.text}: kill points are places in our own "
                raise HarnessError(f"{told}replicas' code, expected LF or F(n1) with --replicas")
    refuse_unfit(description, file)


def kept_logs(stopped: Cluster) -> str:
    """Where the logs of other people's replicas are kept from now on, in words."""
    return f"logs in {_of_others(stopped).keep_logs()}"


def coverage(stopped: Cluster) -> str:
    """What the faults of a run of other people's replicas covered, in words."""
    return _of_others(stopped).coverage()


def told_views(cluster: Cluster) -> "list[View]":
    """What other people's replicas tell of how their leaders began."""
    return _of_others(cluster).told_views()


def _of_others(cluster: Cluster) -> "ExternalCluster":
    with ctrl_c.afterwards(or_again=True):
        from harness.external.cluster import ExternalCluster

    assert isinstance(cluster, ExternalCluster)
    return cluster


@contextmanager
def cluster(
    settings: ClusterConfig,
    simulated: bool = False,
    data: Path | None = None,
    theirs: "Theirs | None" = None,
) -> Iterator[Cluster]:
    """A cluster, not started yet; stopped at the end whatever happens, Ctrl-C again included.

    `theirs` are other people's replicas, the file that they are to run, and the folder that gets
    what they write to standard error; see `kept_logs`.
    """
    if data is not None and settings.durability == "memory":
        raise HarnessError(
            "--data: durability memory keeps nothing there, expected durability process or power"
        )
    if data is not None and simulated:
        raise HarnessError("--data: a simulated cluster keeps nothing, leave out --data or --sim")
    if theirs is not None:
        opened = _external(settings, data, *theirs)
    else:
        opened = _simulated(settings) if simulated else _live(settings, data)
    try:
        with _told() if simulated else nullcontext():
            yield opened
    finally:
        _stop(opened)


@contextmanager
def _told() -> Iterator[None]:
    """A simulated replica raises in this process: told like that of a process of its own."""
    with ctrl_c.afterwards(or_again=True):
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
    # What `bank` prints as it is loaded is no part of a table or a document.
    with ctrl_c.afterwards(or_again=True), redirect_stdout(sys.stderr):
        from bank.replica import Replica
        from harness.cluster.form import checked
        from harness.sim.world import SimCluster

    return SimCluster(settings, replica_class=checked(Replica))


def _external(
    settings: ClusterConfig,
    data: Path | None,
    description: "Description",
    file: CaseFile,
    logs: Path | None,
) -> Cluster:
    with ctrl_c.afterwards(or_again=True):
        from harness.external.cluster import ExternalCluster

    refuse_unfit(description, file)
    asked = [step.action for case in file.sets for step in case.steps]
    with_reads = any(isinstance(action, Command) and action.kind == READ for action in asked)
    return ExternalCluster(description, settings, data, logs, with_reads)


def _live(settings: ClusterConfig, data: Path | None) -> Cluster:
    with ctrl_c.afterwards(or_again=True):
        from harness.live.cluster import LiveCluster

    return LiveCluster(settings, data)


def fleet(cluster: Cluster) -> "Fleet | Looking":
    """The processes of a cluster that is not simulated, for who watches them."""
    with ctrl_c.afterwards(or_again=True):
        from harness.live.cluster import LiveCluster

    if cluster.is_external:
        return _of_others(cluster).looking

    assert isinstance(cluster, LiveCluster)
    return cluster.fleet


def program_us() -> int | None:
    """Microseconds since this program was started; None where the kernel does not tell."""
    with ctrl_c.afterwards(or_again=True):
        from harness.live.usage import age_us

    return age_us()


def _stop(opened: Cluster) -> None:
    """A second Ctrl-C must not leave processes behind."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        opened.stop()
    finally:
        signal.signal(signal.SIGINT, before)
