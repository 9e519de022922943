"""The data folder, without a process: what is on the disk when, and what is refused."""

import json
import os

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
    replace, sync, sync_path = os.replace, folder.sync, folder.sync_path
    monkeypatch.setattr(folder, "sync", lambda fd: (sync(fd), done.append("file")))
    monkeypatch.setattr(os, "replace", lambda *names: (replace(*names), done.append("rename")))
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
