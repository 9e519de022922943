"""What the processes of a cluster are started with."""

from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from bank.accounts import Balances
from bank.ballot import ReplicaId
from bank.settings import Settings
from harness.cluster import links
from harness.live.lock import FolderLock


@dataclass(frozen=True)
class Disks:
    """Where the replicas of a cluster keep their state."""

    files: Mapping[ReplicaId, Path | None]  # None keeps nothing
    cluster: str  # the identifier of theirs
    resumed: bool = False  # an earlier run wrote them
    lock: FolderLock | None = None  # on their folder, for every replica to hold


@dataclass(frozen=True)
class WorkerSpec:
    """Everything a replica's process is started with."""

    replica: ReplicaId
    replicas: int
    incarnation: int  # from 0; above 0, or with `resumed`, it restarts from its file
    resumed: bool
    settings: Settings
    balances: Balances
    seed: int
    file: Path | None  # None keeps nothing
    cluster: str  # the identifier that the file must bear
    lock: FolderLock | None  # on the folder of the file: held as long as this process lives
    durability: str
    queue_limit: int  # bytes
    traced: bool
    links: links.Plain  # their faults
    control: Connection
    peers: dict[ReplicaId, tuple[int, Connection, Connection]]  # incarnation, reading, writing end
    clients: list[tuple[Connection, Connection]]  # reading and writing end, per client process
