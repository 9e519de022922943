"""The data folder: cluster.json, a lock, and per replica a database with its seal.

Kept, or temporary and then only this harness's, so that it has no lock.

cluster.json holds the cluster's shape, so that a folder is never resumed as another cluster, its
identifier, which each database repeats, and per client the last timestamp and the request without
an answer, written before either is sent: a resumed client can neither use a timestamp twice nor
forget what it asked for.

It is the last file of a new folder, and its text is there first under another name (BEGUN): a run
that is killed in between has asked for nothing yet, and the next one makes the folder anew.
"""

import contextlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

from bank.ballot import ReplicaId, replica_name
from bank.sessions import Request
from harness.errors import EXIT_MACHINE, HarnessError, no_place, unwritten
from harness.files.config import NODES, ClusterConfig
from harness.files.temporary import OWNER, TemporaryFolder
from harness.live import lock
from harness.live.durable import sync, sync_path
from harness.live.lock import FolderLock
from harness.live.storage import StorageError, create_all

VERSION = 3  # of cluster.json and of the databases beside it
FILE = "cluster.json"
NEW, BEGUN = "cluster.json.new", "cluster.json.begun"


class DataFolder:
    """One cluster's data; temporary unless a path is given."""

    def __init__(self, config: ClusterConfig, path: Path | None) -> None:
        """Create or resume; HarnessError when it is in use, of another shape or unusable."""
        self.is_temporary = path is None
        self._temporary: TemporaryFolder | None = None
        self.cluster = secrets.token_hex(8)  # its identifier; a resumed one's is read below
        self.lock: FolderLock | None = None
        self._shape = {
            "version": VERSION,
            "nodes": config.nodes,
            "accounts": list(config.accounts),
            "initial_balance": config.initial_balance,
            "checkpoint_interval": config.checkpoint_interval,
        }
        self.clients: dict[str, dict[str, Any]] = {}
        if path is not None and os.path.exists(path) and not os.path.isdir(path):
            raise HarnessError(f"{path}: is a file, expected a folder for the data")
        self.path = self._made() if path is None else path
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not self.is_temporary:
                if not (self.path / lock.FILE).exists():
                    self._refuse_strangers()  # not even a lock is put among them
                self.lock = FolderLock(self.path)
            self.is_resumed = (self.path / FILE).exists()
            if self.is_resumed:
                self._resume()
            else:
                self._create(config)
        except OSError as error:
            self.close()
            if path is None:
                raise unwritten(self.path, error) from error
            raise no_place("", path, error, "a folder for the data") from error
        except BaseException:
            self.close()
            raise

    def _made(self) -> Path:
        self._temporary = TemporaryFolder()
        return self._temporary.path

    def _refuse_strangers(self) -> None:
        strangers = sorted(p.name for p in self.path.iterdir() if p.name not in (lock.FILE, OWNER))
        if strangers and FILE not in strangers:
            raise HarnessError(
                f"{self.path}: holds {strangers[0]!r} but no {FILE}: "
                "expected an empty folder, or one that an earlier run left"
            )

    def _create(self, config: ClusterConfig) -> None:
        if (self.path / BEGUN).exists():
            self._remove_what_was_made()
        self._refuse_strangers()
        try:
            self._put(BEGUN)
            if config.durability != "memory":
                files = {replica: self.file(replica) for replica in range(1, config.nodes + 1)}
                create_all(files, config.balances(), self.cluster, config.durability)
                if config.durability == "power":
                    sync_path(self.path.parent)
            self._rename(BEGUN)
        except StorageError as error:
            self._remove_what_was_made()
            raise HarnessError(str(error), exit_code=EXIT_MACHINE) from error
        except HarnessError:
            self._remove_what_was_made()
            raise

    def _remove_what_was_made(self) -> None:
        """It was empty before, and is again but for the lock: a full disk has nothing of ours."""
        databases = tuple(self.file(replica).name for replica in range(1, max(NODES) + 1))
        made = [path for path in self.path.iterdir() if path.name.startswith(databases)]
        for path in (*made, self.path / FILE, self.path / BEGUN):  # in this order, if killed again
            with contextlib.suppress(OSError):
                path.unlink()

    def _resume(self) -> None:
        where = self.path / FILE
        try:
            content = json.loads(where.read_text())
            shape, self.clients = content["shape"], content["clients"]
            version = shape["version"]
            self.cluster = content["cluster"] if version == VERSION else ""
        except (ValueError, KeyError, TypeError) as error:
            raise HarnessError(f"{where}: damaged, cannot be resumed ({error})") from error
        if version != VERSION:
            raise HarnessError(
                f"{where}: of format {_short(version)}, which another version of this program "
                f"wrote, expected {VERSION}; use another folder"
            )
        for key, expected in self._shape.items():
            if shape.get(key) != expected:
                raise HarnessError(
                    f"{where}: {key}: the folder has {_short(shape.get(key))}, "
                    f"this run asks for {_short(expected)}; use the same, or another folder"
                )

    def file(self, replica: ReplicaId) -> Path:
        """The database of one replica."""
        return self.path / f"{replica_name(replica)}.db"

    def note_client(self, name: str, timestamp: int, request: Request | None) -> None:
        """Remember what a client is about to send; `write` before it leaves."""
        self.clients[name] = {"timestamp": timestamp, "pending": request}

    def write(self) -> None:
        """Replace cluster.json in one step, so that a crash leaves the old or the new one."""
        self._put(NEW)
        self._rename(NEW)

    def _put(self, name: str) -> None:
        """What cluster.json is to say, on the disk under another name."""
        if self.is_temporary:
            return
        content = {"shape": self._shape, "cluster": self.cluster, "clients": self.clients}
        text = json.dumps(content, indent=1)
        try:
            with open(self.path / name, "w") as stream:
                stream.write(text)
                stream.flush()
                sync(stream.fileno())
        except OSError as error:
            raise self._unwritten(error) from error

    def _rename(self, name: str) -> None:
        if self.is_temporary:
            return
        try:
            os.replace(self.path / name, self.path / FILE)
            sync_path(self.path)  # else the disk may go on with the old one
        except OSError as error:
            raise self._unwritten(error) from error

    def _unwritten(self, error: OSError) -> HarnessError:
        told = f"{self.path / FILE}: {error.strerror}"
        return HarnessError(told, exit_code=EXIT_MACHINE)

    def close(self) -> None:
        """At the end of a run: others may have the folder; a temporary one is removed."""
        if self.lock is not None:
            self.lock.close()
        if self._temporary is not None:
            self._temporary.close()


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
