"""The data folder: cluster.json and one database per replica, kept or temporary.

cluster.json holds the cluster's shape, so that a folder is never resumed as another cluster, and
per client the last timestamp and the request without an answer, written before either is sent: a
resumed client can neither use a timestamp twice nor forget what it asked for.
"""

import contextlib
import errno
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from bank.ballot import ReplicaId, replica_name
from bank.sessions import Request
from harness.errors import EXIT_MACHINE, EXIT_USAGE, HarnessError
from harness.files.config import ClusterConfig
from harness.live.storage import StorageError, create_all

VERSION = 1
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)  # of the disk, whatever folder was asked for
FILE = "cluster.json"


class DataFolder:
    """One cluster's data; temporary unless a path is given."""

    def __init__(self, config: ClusterConfig, path: Path | None) -> None:
        """Create or resume; HarnessError when the folder is of another shape or unusable."""
        self.is_temporary = path is None
        self._shape = {
            "version": VERSION,
            "nodes": config.nodes,
            "accounts": list(config.accounts),
            "initial_balance": config.initial_balance,
            "checkpoint_interval": config.checkpoint_interval,
        }
        self.clients: dict[str, dict[str, Any]] = {}
        if path is not None and path.exists() and not path.is_dir():
            raise HarnessError(f"{path}: is a file, expected a folder for the data")
        try:
            self.path = Path(tempfile.mkdtemp(prefix="paxbank-")) if path is None else path
            self.path.mkdir(parents=True, exist_ok=True)
            self.is_resumed = (self.path / FILE).exists()
            if self.is_resumed:
                self._resume()
            else:
                self._create(config)
        except OSError as error:
            what = f"{path or 'temporary folder'}: {error.strerror or error}"
            is_ours = path is None or error.errno in FULL
            raise HarnessError(what, exit_code=EXIT_MACHINE if is_ours else EXIT_USAGE) from error

    def _create(self, config: ClusterConfig) -> None:
        strangers = sorted(p.name for p in self.path.iterdir())
        if strangers:
            raise HarnessError(
                f"{self.path}: holds {strangers[0]!r} but no {FILE}: "
                "expected an empty folder, or one that an earlier run left"
            )
        if config.durability != "memory":
            files = [self.file(replica) for replica in range(1, config.nodes + 1)]
            try:
                create_all(files, config.balances())
            except StorageError as error:
                self._remove_what_was_made()
                raise HarnessError(str(error), exit_code=EXIT_MACHINE) from error
        try:
            self.write()
        except HarnessError:
            self._remove_what_was_made()
            raise

    def _remove_what_was_made(self) -> None:
        """It was empty before, and is again: a full disk has nothing of ours."""
        self.remove_if_temporary()
        if not self.is_temporary:
            for path in self.path.iterdir():
                with contextlib.suppress(OSError):
                    path.unlink()

    def _resume(self) -> None:
        where = self.path / FILE
        try:
            content = json.loads(where.read_text())
            shape, self.clients = content["shape"], content["clients"]
        except (ValueError, KeyError, TypeError) as error:
            raise HarnessError(f"{where}: damaged, cannot be resumed ({error})") from error
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
        if self.is_temporary:
            return
        text = json.dumps({"shape": self._shape, "clients": self.clients}, indent=1)
        new = self.path / (FILE + ".new")
        try:
            with open(new, "w") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(new, self.path / FILE)
        except OSError as error:
            raise HarnessError(
                f"{self.path / FILE}: {error.strerror}", exit_code=EXIT_MACHINE
            ) from error

    def remove_if_temporary(self) -> None:
        """Clean up at the end of a run."""
        if self.is_temporary:
            with contextlib.suppress(OSError):
                shutil.rmtree(self.path)


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
