"""Every command in the documents works as it stands: long ones are run with smaller numbers.

A document's commands run in order in one folder with copies of the sample files, as a reader would
type them; one that several documents have, and that writes no file, runs once. A line that is meant
to end otherwise says so: `# exits with 1`. What is typed at the prompt is run as well, in the set
in which the text says it.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import rooms
from reference import PAGE, page

from harness.check.verdict import Verdict
from harness.files import testset
from harness.run import launch
from harness.run.runner import Runner
from harness.screen.lines import WORDS, parse

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "testsets" / "README.md", *ROOT.glob("docs/*.md")])
FENCE = re.compile(r"^```[a-z]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:python run\.py|pytest|paxbank) [^`]*)`")
PLACEHOLDER = re.compile(r"\b[A-Z]{2,}\b|\[|…")  # FILE, DIR, [--no-step]: a form, no command
COMMAND = re.compile(
    r"^(?: *- run: | +- )?((?:printf .*\| )?(?:python run\.py|paxbank|pytest|grep) .*)$",
    re.MULTILINE,
)
# Other lines that a reader may type, and why they are not run here.
NOT_RUN = {
    "python3 -m venv .venv && ": "makes an environment, and needs the network",
    "pip install": "needs the network",
    "python3 -m venv /autograder": "the script of Gradescope: test_grade runs it",
    "/autograder/venv/bin/": "the same",
    "paxbank grade /grade/": "in PrairieLearn's container; test_outlets makes its document",
    "python -m tests.": "in a checkout; other tests hold what it writes against the code",
    "python -m paxbank": "the same as paxbank: test_packaging runs it",
    "python -m pytest": "tells what happens in other projects",
}
TYPED = re.compile(r"^(?: *- run: | +- )?((?:\S*/)?(?:python3?|pip|pytest|paxbank|git|grep) .*)$")
LONG = {"README.md"} | {
    f"docs/{name}.md"
    for name in ("debugging-a-seed", "grading", "performance", "tutorial", "your-own-replicas")
}
ENDING = re.compile(r"\s+# exits with (\d+)$")
# What makes a long command short, without making it another one.
SMALLER = (
    (r"run\.py simulate(?!.*--seeds)", "run.py simulate --seeds 0:3"),
    (r"run\.py bench(?!.*--(seconds|soak|failover|router))", "run.py bench --seconds 0.2"),
    (r"run\.py bench(?!.*--(warmup|soak|router))", "run.py bench --warmup 0.1"),
    (r"run\.py bench(?!.*--(clients|failover|soak|router))", "run.py bench --clients 1,10"),
    (r"--seeds \d+:\d+", "--seeds 0:3"),
    (r"--seconds [\d.]+", "--seconds 0.2"),
    (r"--(kills|failover|runs) \d+", r"--\1 2"),
    (r"--repeat \d+", "--repeat 1"),
    (r"--soak [\d.]+[kM]?", "--soak 1"),
    (r"explore (.*)--requests \d+", r"explore \1--requests 1"),
    (r"--(crashes|elections) \d+", r"--\1 1"),
    (r"--clients [\d,]+", "--clients 1,10"),
    (r"--accounts [\d,]+", "--accounts 10,100"),
    (r"bench(.*) --nodes [\d,]+", r"bench\1 --nodes 3,5"),
    (r"grade testsets/\*\.csv", "grade testsets/agreement.csv"),
    (r"pytest testsets/$", "pytest testsets/agreement.csv"),
)


def commands(path: Path) -> list[str]:
    text = path.read_text("utf-8")
    fenced = [line.strip() for block in FENCE.findall(text) for line in COMMAND.findall(block)]
    inline = [line.replace("\n", " ") for line in INLINE.findall(FENCE.sub("", text))]
    return [
        line
        for line in dict.fromkeys([*fenced, *inline])
        if not PLACEHOLDER.search(re.sub(r"'[^']*'|\S*\.\w+", "", line))
    ]


def smaller(line: str) -> str:
    """What is run of it."""
    command = ENDING.sub("", line)
    for pattern, words in SMALLER:
        command = re.sub(pattern, words, command)
    return command


def is_long(path: Path) -> bool:
    return str(path.relative_to(ROOT)) in LONG


WRITES = re.compile(r">|--(report|keep|data|shrink|package)\b")  # what later commands may read
# Of those that have a command the first, in the default run if it may be: there it is run.
RUN_IN: dict[str, Path] = {}
for document in sorted(DOCUMENTS, key=is_long):
    for one in commands(document):
        RUN_IN.setdefault(smaller(one), document)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """What a clone looks like to whoever types commands in it, in the environment of this test."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    (tmp_path / "run.py").symlink_to(ROOT / "run.py")
    shutil.copytree(ROOT / "testsets", tmp_path / "testsets")
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    return tmp_path


def by_length(path):
    """The documents with many commands that take long are the slow run's."""
    marks = [pytest.mark.slow(20)] if is_long(path) else []
    return pytest.param(path, id=str(path.relative_to(ROOT)), marks=marks)


@pytest.mark.parametrize("path", [by_length(path) for path in DOCUMENTS])
def test_every_command_of_a_document_works(path, folder):
    for line in commands(path):
        if line.startswith(tuple(NOT_RUN)):
            continue
        if line.startswith(("paxbank", "pytest")) and not INSTALLED:
            continue  # only on the path here
        if RUN_IN[smaller(line)] != path and not WRITES.search(line):
            continue
        ending = ENDING.search(line)
        command = smaller(line).replace("python run.py", f"{sys.executable} run.py")
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
        )
        expected = {int(ending[1]) if ending else 0}
        expected |= {3} if "--soak" in command else set()  # which is too short here to tell
        assert done.returncode in expected, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_what_can_be_typed_is_run_or_said_not_to_be(path):
    text = path.read_text("utf-8")
    lines = [line for block in FENCE.findall(text) for line in block.splitlines()]
    spans = re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
    known = commands(path)
    for line in (found[1] for found in map(TYPED.match, (*lines, *spans)) if found):
        is_form = PLACEHOLDER.search(re.sub(r"'[^']*'|\S*\.\w+", "", line))
        is_form = is_form or line == "python run.py"
        assert line in known or is_form or line.startswith(tuple(NOT_RUN)), f"{path}: {line}"


INSTALLED = bool(metadata.entry_points(group="pytest11", name="paxbank"))
NAMES = {word.name.lower() for word in WORDS}
# Either leads to a set, or is code.
GUIDE = re.compile(r"Press Enter for set (\d+)|\b[Ii]n set (\d+)|\bSet (\d+) has|`([^`]+)`")


def guided(text):
    """The file that a text runs, and what it says to type at the prompt, in its set."""
    (file,) = set(re.findall(r"python run\.py ([^\s`]+)", text))
    lines, at = [], 1
    for *numbers, code in GUIDE.findall(FENCE.sub("", text)):
        if number := "".join(numbers):
            lines += ["next"] * (int(number) - at)
            at = max(at, int(number))
        elif code.split()[0].lower() in NAMES:
            lines.append(code.replace("\n", " "))
    return file, lines


def walks():
    tutorial = (ROOT / "docs" / "tutorial.md").read_text("utf-8")
    readme = (ROOT / "README.md").read_text("utf-8")
    yield readme.partition("## Five minutes")[2].partition("\nThen try")[0]
    yield from re.findall(r"^## \d\. .*?(?=^## )", tutorial, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("text", list(walks()), ids=lambda text: text.strip().splitlines()[0][:30])
def test_what_a_walk_types_at_the_prompt_is_obeyed(text, folder):
    file, lines = guided(text)
    assert len(lines) > 1
    done = subprocess.run(
        [sys.executable, "run.py", file, "--sim", "--seed", "7", "--color", "always"],
        cwd=folder,
        input="\n".join(lines),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    refused = re.findall(r"^\x1b\[1;31m (?!✗).*$", done.stdout, re.MULTILINE)  # in red, no sign
    assert not refused, f"{lines}: {refused}"


@pytest.mark.parametrize("name", ["README.md", "docs/reading-a-report.md", "testsets/README.md"])
def test_commands_of_the_prompt_are_written_as_they_are_typed(name):
    for code in re.findall(r"`([^`\n]+)`", FENCE.sub("", (ROOT / name).read_text("utf-8"))):
        if code.split()[0].lower() in NAMES and " " in code:
            parse(code)


@pytest.mark.slow
def test_the_bug_to_practise_on_is_found_as_the_page_says(tmp_path):
    """In a copy, since it breaks the protocol."""
    text = (ROOT / "docs" / "debugging-a-seed.md").read_text("utf-8")
    old, new = re.search(r"```diff\n-(.*)\n\+(.*)\n```", text).groups()
    for package in ("bank", "harness"):
        shutil.copytree(ROOT / package, tmp_path / package)
    shutil.copy(ROOT / "run.py", tmp_path)
    broken = tmp_path / "bank" / "quorum.py"
    source = broken.read_text("utf-8")
    assert source.count(old) == 1
    broken.write_text(source.replace(old, new), "utf-8")

    def simulate(words):
        command = [sys.executable, "run.py", "simulate", *shlex.split(words)]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=600, env=environment
        )

    found = simulate("--seeds 0:30 --nodes 5")
    assert found.returncode == 1
    for line in re.findall(r"^(?:✗ seed|  repeat with).*$", text, re.MULTILINE):
        assert line.rstrip(" …") in found.stdout
    failed = len(set(re.findall(r"^✗ seed (\d+)", found.stdout, re.MULTILINE)))
    assert 3 < failed < 8, "the page says that one seed in five fails"
    (seed,) = set(re.findall(r"[Ss]eed (\d+)", text))  # the page tells of one
    trace = simulate(f"--seeds {seed} --nodes 5 --trace").stdout.splitlines()
    for leader in re.findall(r"n\d leads \(\d+, n\d\)", text):
        assert any(leader.partition(" ")[2] in line for line in trace), leader
    shown = re.findall(r"^ +[\d.]+ │.*$", text, re.MULTILINE)
    places = [next(i for i, one in enumerate(trace) if one.startswith(line)) for line in shown]
    assert places[1] == places[0] + 1
    assert 35 < len(trace) - places[1] < 55, "the page says how far above the violation that is"


def test_the_bug_to_practise_on_is_looked_at_with_its_own_seed():
    """Commands that look at a failure name the seed of the story; others name ranges."""
    text = (ROOT / "docs" / "debugging-a-seed.md").read_text("utf-8")
    (seed,) = set(re.findall(r"[Ss]eed (\d+)", text))
    looked_at = re.findall(r"simulate --seeds (\d+)(?!\d*:)( --nodes 5)?", text)
    assert len(looked_at) >= 3 and set(looked_at) == {(seed, " --nodes 5")}


def test_the_points_of_the_last_lesson_are_passed(tmp_path):
    """What the tutorial tells to try happens."""
    text = (ROOT / "testsets" / "tutorial" / "6-the-value-survives.yaml").read_text("utf-8")
    lesson = (ROOT / "docs" / "tutorial.md").read_text("utf-8").partition("## 6.")[2]
    (first,) = re.findall(r"`(fail n\d in mid-NEW-VIEW)`", lesson)
    others = re.findall(r"`((?:before|after) the write)`", lesson)
    tried = [(text.replace("before COMMIT", point), 1) for point in others]
    tried.append((text.replace("- steps:\n", f"- steps:\n      - {first}\n", 1), 0))
    assert len(tried) == 3
    for number, (file, at) in enumerate(tried):
        path = tmp_path / f"{number}.yaml"
        path.write_text(file)
        draft = testset.read(str(path))
        settings = launch.settings({"seed": 3}, draft.overrides)
        with launch.cluster(settings, simulated=True) as cluster:
            cluster.start()
            runner = Runner(cluster, settings, draft.cases(settings))
            while runner.remaining:
                runner.run_next()
        assert runner.reports[at].steps[0].outcome == "done", file
        assert runner.verdict() is Verdict.VALID


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


def test_the_architecture_page_names_files_that_are_there():
    """Its places are where a newcomer puts a new line."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = text.partition("Where a new line belongs")[2].partition("\n## ")[0]
    named = set(re.findall(r"`([a-z_/]+(?:\.py|/))`", table))
    assert len(named) > 40
    missing = [n for n in named if not any((ROOT / r / n).exists() for r in ("", "harness"))]
    beside = {n for n in missing if any((f / n).exists() for f in (ROOT / "harness").rglob("*/"))}
    assert not set(missing) - beside


def test_the_reference_leaves_nothing_empty():
    rows = [line for line in page().splitlines() if line.startswith("| ")]
    assert not [row for row in rows if re.search(r"\|\s*(None)?\s*\|", row)]


def test_the_reference_says_what_the_code_does():
    assert PAGE.read_text("utf-8") == page(), "run python -m tests.reference"


def test_the_map_has_every_file_and_who_names_what():
    assert rooms.PAGE.read_text("utf-8") == rooms.page(), "run python -m tests.rooms"
    assert [words for words in rooms.LIKE.values() if not rooms.naming(words)] == []
    several = [w for ws in rooms.LIKE.values() for w in ws if not rooms.naming([w])]
    assert several == [], "nobody names these any more: name another of that kind"
