"""Every command in the documents works as it stands: long ones are run with smaller numbers.

A document's commands run in order in one folder with copies of the sample files, as a reader would
type them. A line that is meant to end otherwise says so: `# exits with 1`.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from reference import PAGE, page

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "testsets" / "README.md", *ROOT.glob("docs/*.md")])
FENCE = re.compile(r"^```[a-z]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(python run\.py [^`]*)`")
PLACEHOLDER = re.compile(r"\b[A-Z]{2,}\b|\[|…")  # FILE, DIR, [--no-step]: a form, no command
COMMAND = re.compile(r"^(?:printf .*\| )?python run\.py .*$", re.MULTILINE)
ENDING = re.compile(r"\s+# exits with (\d+)$")
# What makes a long command short, without making it another one.
SMALLER = (
    (r"run\.py simulate(?!.*--seeds)", "run.py simulate --seeds 0:3"),
    (r"run\.py bench(?!.*--(seconds|soak))", "run.py bench --seconds 0.2"),
    (r"--seeds \d+:\d+", "--seeds 0:3"),
    (r"--seconds [\d.]+", "--seconds 0.2"),
    (r"--(kills|failover|runs) \d+", r"--\1 2"),
    (r"--repeat \d+", "--repeat 1"),
    (r"--soak [\d.]+[kM]?", "--soak 2"),
    (r"--clients [\d,]+", "--clients 1,10"),
    (r"--accounts [\d,]+", "--accounts 10,100"),
    (r"bench(.*) --nodes [\d,]+", r"bench\1 --nodes 3,5"),
)


def commands(path: Path) -> list[str]:
    text = path.read_text("utf-8")
    fenced = [line for block in FENCE.findall(text) for line in COMMAND.findall(block)]
    inline = [line.replace("\n", " ") for line in INLINE.findall(FENCE.sub("", text))]
    return [
        line
        for line in dict.fromkeys([*fenced, *inline])
        if not PLACEHOLDER.search(re.sub(r"'[^']*'|\S*\.\w+", "", line))
    ]


def smaller(command: str) -> str:
    for pattern, words in SMALLER:
        command = re.sub(pattern, words, command)
    return command


@pytest.fixture
def folder(tmp_path):
    """What a clone looks like to whoever types commands in it."""
    (tmp_path / "run.py").symlink_to(ROOT / "run.py")
    shutil.copytree(ROOT / "testsets", tmp_path / "testsets")
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    return tmp_path


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_command_of_a_document_works(path, folder):
    for line in commands(path):
        ending = ENDING.search(line)
        command = smaller(ENDING.sub("", line)).replace("python run.py", f"{sys.executable} run.py")
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        expected = int(ending[1]) if ending else 0
        assert done.returncode == expected, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def test_commands_are_found():
    found = commands(ROOT / "README.md")
    assert "python run.py testsets/tour.csv" in found
    assert any(line.startswith("printf") for line in found)
    assert all("FILE" not in line for line in found)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text("utf-8")):
        if not target.startswith("http"):
            assert (path.parent / target).exists(), f"{path}: {target}"


def test_the_reference_says_what_the_code_does():
    assert PAGE.read_text("utf-8") == page(), "run python -m tests.reference"
