"""Every option that names a place to write to: one that cannot be had is refused, in one line,
before anything starts; exit code 2, since nothing is wrong with the machine.
"""

import errno
import os
from pathlib import Path

import pytest

from harness import cli
from harness.errors import EXIT_MACHINE, EXIT_USAGE, HarnessError
from harness.external import description
from harness.external.cluster import ExternalCluster
from harness.files import outputs
from harness.run import launch

ROOT = Path(__file__).parents[1]
SET = str(ROOT / "testsets" / "startup.csv")
THEIRS = ["--replicas", str(ROOT / "docs" / "examples" / "bank.yaml")]
FOLDERS = {
    "data": [SET, "--no-step", "--data"],
    "data of other replicas": [SET, "--no-step", *THEIRS, "--data"],
    "report": [SET, "--no-step", "--report"],
    "shrink": ["simulate", "--seeds", "1", "--shrink"],
    "grade report": ["grade", SET, "--sim", "--report"],
    "grade keep": ["grade", SET, "--sim", "--keep"],
    "grades": ["grade", SET, "--submission", str(ROOT / "docs" / "examples"),
               "--replicas-file", THEIRS[1], "--report"],
}  # fmt: skip
FILES = {
    "history": ["torture", "--kills", "1", "--nodes", "3", "--history"],
    "outlet": ["grade", SET, "--sim", "--outlet"],
    "package": ["grade", SET, "--package", "gradescope", "-o"],
    "key": [SET, "--write-expected", "--key"],
    "picture": ["check", "saved.jsonl", "--picture"],
}
PLACES = {
    "too long": ("a" * 800, "File name too long"),
    "below a file": ("file/x", "Not a directory"),
    "below a link to nothing": ("dangling/x", "dangling is a link to nothing"),
}
if Path("/proc/self").is_dir():  # a folder in which nobody can make one
    PLACES["below /proc"] = ("/proc/none/x", "No such file or directory")


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Run a command line beside a file and a link to nothing; no process may be started."""
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to("none/there")
    monkeypatch.chdir(tmp_path)
    for cluster in ("live.cluster.LiveCluster", "external.cluster.ExternalCluster"):
        monkeypatch.setattr(f"harness.{cluster}.start", None)
    return lambda words, path: cli.main(
        [*words, f"junit={path}"] if words[-1] == "--outlet" else [*words, path]
    )


def refused(capsys: pytest.CaptureFixture[str], start, words, place, reason) -> None:
    assert start(words, place) == EXIT_USAGE
    said = capsys.readouterr().err
    assert said.count("\n") == 1, said
    assert f"{place}: cannot be written ({reason}), expected a f" in said
    assert Path("dangling").is_symlink() and sorted(os.listdir()) == ["dangling", "file"]


@pytest.mark.parametrize(("place", "reason"), PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("words", [*FOLDERS.values(), *FILES.values()], ids=[*FOLDERS, *FILES])
def test_a_place_that_cannot_be_had_is_refused(capsys, start, words, place, reason):
    refused(capsys, start, words, place, reason)


@pytest.mark.parametrize("words", [FILES[name] for name in ("outlet", "package", "key", "picture")])
def test_a_name_that_is_too_long_while_the_file_is_not_whole_is_refused(capsys, start, words):
    suffix = ".yaml" if words is FILES["key"] else ""
    refused(capsys, start, words, "a" * (251 - len(suffix)) + suffix, "File name too long")


def test_a_folder_that_cannot_be_read_is_told_so(tmp_path, monkeypatch):
    def fails(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "iterdir", fails)
    with pytest.raises(HarnessError, match=r"cannot be read \(Permission denied\), expected a f"):
        outputs.holds_anything("--data", tmp_path)


@pytest.mark.parametrize("was_there", [False, True])
@pytest.mark.parametrize(
    ("described", "said"),
    [
        ("start: a\nbuild: 'false'\n", "build: false: does not build"),
        ("start: ./nowhere\n", "nowhere"),
    ],
    ids=["does not build", "does not start"],
)
def test_what_never_ran_leaves_the_folder_as_it_was(tmp_path, capsys, described, said, was_there):
    (tmp_path / "r.yaml").write_text(described)
    data = tmp_path / "above" / "data"
    if was_there:
        data.mkdir(parents=True)
    words = [SET, "--no-step", "--replicas", str(tmp_path / "r.yaml"), "--data", str(data)]
    for _ in range(2):
        assert cli.main(words) == EXIT_USAGE
        assert said in capsys.readouterr().err
        assert data.is_dir() == was_there and data.parent.is_dir() == was_there
        assert not list(data.glob("*"))


def test_replicas_that_work_elsewhere_get_their_folder_by_its_whole_name(tmp_path, monkeypatch):
    (tmp_path / "theirs").mkdir()
    monkeypatch.chdir(tmp_path)
    described = description.parse(b"start: a", "r.yaml", tmp_path / "theirs")
    settings = launch.settings({"nodes": 3}, {}, description=described)
    cluster = ExternalCluster(described, settings, Path("kept"))
    assert [handle.data for handle in cluster.fleet.handles.values()] == [
        tmp_path / "kept" / name for name in ("n1", "n2", "n3")
    ]
    cluster.stop()


def test_a_pipe_is_not_tried(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    outputs.check_file("--history", tmp_path / "pipe")  # would wait for whoever reads there


@pytest.mark.parametrize("words", FOLDERS.values(), ids=FOLDERS)
def test_a_link_to_nothing_is_no_folder(capsys, start, words):
    refused(capsys, start, words, "dangling", "it is a link to nothing")


@pytest.mark.parametrize("words", FILES.values(), ids=FILES)
def test_a_folder_is_no_file(capsys, start, words):
    assert start(words, ".") == EXIT_USAGE
    assert ".: cannot be written (Is a directory), expected a file" in capsys.readouterr().err


def test_trying_a_link_to_a_file_that_is_not_there_leaves_it_as_it_was(tmp_path):
    link = tmp_path / "link"
    link.symlink_to("there")
    outputs.check_file("--history", link)
    assert os.listdir(tmp_path) == ["link"] and link.is_symlink()


@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSPC, EXIT_MACHINE), (errno.EACCES, EXIT_USAGE)]
)
def test_a_disk_that_is_full_is_no_mistake_of_whoever_asked(tmp_path, monkeypatch, number, code):
    def fails(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_bytes", fails)
    with pytest.raises(HarnessError, match=os.strerror(number)) as found:
        outputs.check_folder("--data", tmp_path / "above" / "data")
    assert found.value.exit_code == code and not (tmp_path / "above").exists()


@pytest.mark.parametrize(
    "words",
    [[SET, *THEIRS, "--built"], ["grade", SET, "--submission"], [SET, "--key"], [SET, "--config"]],
    ids=["built", "submission", "key", "config"],
)
def test_what_is_read_from_a_name_that_is_too_long_is_not_there(capsys, start, words):
    assert start(words, "a" * 800) == EXIT_USAGE
    assert "machine" not in capsys.readouterr().err
