"""The data folder, without a process: what is on the disk when, and what is refused."""

import json
import os
from dataclasses import replace

import pytest

from harness.errors import HarnessError
from harness.files.config import ClusterConfig
from harness.live import folder
from harness.live.folder import DataFolder

CONFIG = ClusterConfig(nodes=3)


def test_a_folder_goes_on_under_its_identifier(tmp_path):
    first = DataFolder(CONFIG, tmp_path)
    first.close()
    again = DataFolder(CONFIG, tmp_path)
    assert again.is_resumed
    assert again.cluster == first.cluster
    again.close()
    assert DataFolder(CONFIG, tmp_path / "other").cluster != first.cluster


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": 1}, "of format 1, which another version of this program wrote, expected 3"),
        ({"nodes": 5}, "nodes: the folder has 5, this run asks for 3"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused_and_left_free(tmp_path, change, reason):
    DataFolder(CONFIG, tmp_path).close()
    file = tmp_path / "cluster.json"
    before = file.read_text()
    content = json.loads(before)
    file.write_text(json.dumps(content | {"shape": content["shape"] | change}))
    with pytest.raises(HarnessError, match=reason):
        DataFolder(CONFIG, tmp_path)
    file.write_text(before)
    DataFolder(CONFIG, tmp_path).close()


def test_a_renamed_file_is_followed_by_a_sync_of_its_folder(tmp_path, monkeypatch):
    done = []
    rename, sync, sync_path = os.replace, folder.sync, folder.sync_path
    monkeypatch.setattr(folder, "sync", lambda fd: (sync(fd), done.append("file")))
    monkeypatch.setattr(os, "replace", lambda *names: (rename(*names), done.append("rename")))
    monkeypatch.setattr(folder, "sync_path", lambda path: (sync_path(path), done.append(path)))
    data = DataFolder(CONFIG, tmp_path / "data")
    data.note_client("A", 1, None)
    done.clear()
    data.write()
    assert done == ["file", "rename", tmp_path / "data"]
    data.close()


def test_under_power_a_new_folder_is_on_the_disk_with_its_name(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(folder, "sync_path", synced.append)
    DataFolder(ClusterConfig(nodes=3, durability="power"), tmp_path / "data").close()
    assert tmp_path in synced


class Killed(BaseException):
    """The process is gone: nothing is tidied."""


@pytest.mark.parametrize("dies_at", ["_put", "create_all", "replace"])
def test_a_folder_whose_making_was_cut_short_is_made_anew(tmp_path, monkeypatch, dies_at):
    """Nothing was asked for by then; what is somebody else's stays."""

    def die(*_):
        if dies_at == "create_all":
            (tmp_path / "n1.db").touch()
            (tmp_path / "n1.db-journal").touch()
        raise Killed

    owner = {"_put": DataFolder, "create_all": folder, "replace": os}[dies_at]
    with monkeypatch.context() as patch:
        patch.setattr(owner, dies_at, die)
        with pytest.raises(Killed):
            DataFolder(replace(CONFIG, nodes=5), tmp_path)
    again = DataFolder(CONFIG, tmp_path)
    again.close()
    assert not again.is_resumed
    made = {p.name for p in tmp_path.iterdir()}
    databases = {f"n{r}.db{kind}" for r in (1, 2, 3) for kind in ("", "-seal")}
    assert made == {"cluster.json", "lock", *databases}
    DataFolder(CONFIG, tmp_path).close()


def test_databases_without_their_folder_file_are_left_alone(tmp_path):
    DataFolder(CONFIG, tmp_path).close()
    (tmp_path / "cluster.json").unlink()
    before = sorted(p.name for p in tmp_path.iterdir())
    with pytest.raises(HarnessError, match="but no cluster"):
        DataFolder(CONFIG, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == before
