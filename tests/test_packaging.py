"""What an installation, an sdist and the tools around find: each thing where they look for it."""

import configparser
import json
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from harness import cli
from harness.arguments import version

ROOT = Path(__file__).parents[1]
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")
PACKAGES = SETUP["options"]["packages"].split()
MAPPED = dict(line.split(" = ") for line in SETUP["options"]["package_dir"].strip().splitlines())


def test_every_package_is_installed():
    found = {
        ".".join(init.parent.relative_to(ROOT).parts)
        for package in ("bank", "harness")
        for init in (ROOT / package).rglob("__init__.py")
    }
    assert found - {"harness.pytest_plugin"} == set(PACKAGES) - MAPPED.keys()
    assert all((ROOT / folder).is_dir() for folder in MAPPED.values())


def test_packages_are_typed_and_every_data_file_is_there():
    data = SETUP["options.package_data"]
    for package, patterns in data.items():
        folder = ROOT / MAPPED.get(package, package.replace(".", "/"))
        for pattern in patterns.split(", "):
            assert list(folder.glob(pattern)), f"{package}: {pattern}"
    assert {package for package, patterns in data.items() if "py.typed" in patterns} == {
        "bank",
        "harness",
    }


def test_the_sample_files_are_installed_all_of_them():
    patterns = SETUP["options.package_data"]["paxbank_testsets"].split(", ")
    folder = ROOT / "testsets"
    installed = {path for pattern in patterns for path in folder.glob(pattern)}
    assert {p for p in folder.rglob("*") if p.is_file()} - installed == {folder / "README.md"}


def test_classifiers_name_the_oldest_python_that_is_required():
    listed = re.findall(r"Python :: (3\.\d+)", SETUP["metadata"]["classifiers"])
    assert SETUP["options"]["python_requires"] == f">={listed[0]}"


@pytest.mark.parametrize("words", [["tour"], ["tour", "--seed", "3"]])
def test_the_tour_runs_from_anywhere(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main([*words, "--sim", "--no-step"]) == 0
    out = capsys.readouterr().out
    assert "tour.csv" in out and "valid: every check holds over 5 sets" in out


def test_an_installed_tour_is_found(monkeypatch, tmp_path):
    """Where there is no testsets/ beside the package."""
    monkeypatch.setattr(cli, "__file__", str(tmp_path / "site-packages" / "harness" / "cli.py"))
    monkeypatch.setattr(cli.resources, "files", {"paxbank_testsets": tmp_path}.__getitem__)
    monkeypatch.chdir("/")
    assert cli._sample("tour.csv") == str(tmp_path / "tour.csv").removeprefix("/")


def test_the_module_is_the_command(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "paxbank", "--version"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, f"paxbank {version()}\n"), done.stderr


def test_the_hook_checks_test_sets_and_nothing_else(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    assert {"id", "name", "entry", "language", "files"} <= hook.keys()
    program, *words = hook["entry"].split()
    assert program in SETUP["options.entry_points"]["console_scripts"]
    names = [str(path.relative_to(ROOT)) for path in ROOT.rglob("*.*") if ".venv" not in path.parts]
    taken = [n for n in names if re.search(hook["files"], n) and not re.search(hook["exclude"], n)]
    assert "testsets/tour.csv" in taken and "testsets/tutorial/1-agreement.yaml" in taken
    assert "testsets/cluster.yaml" not in taken
    assert cli.main([*words, *sorted(taken)]) == 0, capsys.readouterr().err


def test_the_devcontainer_installs_what_there_is():
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text("utf-8"))
    (extras,) = re.findall(r"\.\[([\w,]+)\]", container["postCreateCommand"])
    assert set(extras.split(",")) <= SETUP["options.extras_require"].keys()
    minor = int(re.search(r"python:3\.(\d+)$", container["image"])[1])
    assert minor >= int(SETUP["options"]["python_requires"].rpartition(".")[2])


@pytest.mark.slow
def test_the_tests_of_an_sdist_run(tmp_path):
    pytest.importorskip("setuptools")
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns(
        ".git", ".venv", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis"
    )
    shutil.copytree(ROOT, source, ignore=ignored)
    build = "from setuptools import build_meta as b; b.build_sdist('..')"
    subprocess.run(
        [sys.executable, "-c", build], cwd=source, check=True, capture_output=True, text=True
    )
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path / "unpacked", filter="data")
    (folder,) = (tmp_path / "unpacked").iterdir()
    packed = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    wanted = {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
    left = {path for path in wanted - packed if "egg-info" not in str(path)}
    assert {path for path in left if path.suffix not in (".pyc", ".new")} <= {Path(".gitignore")}
    words = ["tests/test_packaging.py", "tests/test_steps.py", "tests/test_testset.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *words], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
