"""The test sets of the project: each parses, is described, and has one outcome in every run."""

import json
import re
from pathlib import Path

import jsonschema
import pytest

from bank.ledger import FAILED, TRANSFER, Ledger
from harness import cli
from harness.check.verdict import Verdict
from harness.cluster import nemesis
from harness.files import config, testset, yaml_source
from harness.files.cases import CaseSet, Command
from harness.files.config import ClusterConfig
from harness.files.forecast.oracle import forecast
from harness.files.steps import Names, parse_step
from harness.run.runner import Runner
from harness.sim.world import SimCluster

Capture = pytest.CaptureFixture[str]
SCHEMA = json.loads(testset.schema_text())
FOLDER = Path(__file__).parents[1] / "testsets"
README = (FOLDER / "README.md").read_text("utf-8")
YAML = sorted(path for path in FOLDER.glob("*.yaml") if b"\nsets:" in path.read_bytes())
FILES = sorted(FOLDER.glob("*.csv")) + YAML


def load(path: Path) -> tuple[CaseSet, ...]:
    return testset.load(path, ClusterConfig()).sets


def uncertain(path: Path) -> list[str]:
    """Requests whose result may differ from run to run."""
    draft = testset.read(path)
    settings = config.layer(draft.overrides)
    return [
        f"{path.name}:{step.line}"
        for of_set in forecast(draft.cases(settings), settings).sets
        for step in of_set.steps
        if step.known is None and step.commits is not None
    ]


def run(path: Path, failure: str, seed: int) -> Runner:
    """A simulated run of the whole file."""
    draft = testset.read(path)
    flags = config.from_flags({"failure": failure, "seed": seed})
    settings = config.layer(flags, draft.overrides)
    world = SimCluster(settings)
    runner = Runner(world, settings, draft.cases(settings))
    world.start()
    while runner.remaining:
        runner.run_next()
    return runner


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_file_has_one_outcome(path: Path) -> None:
    assert uncertain(path) == []


def test_a_file_with_several_outcomes_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(
        "1,(A, B, 4),n1;n2;n3\n,(B, C, 12)\n,(C)\n,LF\n2,(B, A, 1),n1;n2;n3;n4\n,(B)\n,(C)\n"
        "3,(D, E, 1),n1\n4,(E),n1;n2;n3\n,(D)\n"
    )
    assert uncertain(path) == [f"x.csv:{line}" for line in (2, 3, 6, 7, 9)]


def objections(runner: Runner) -> list[str]:
    judgements = [j for report in runner.reports for j in report.judgements]
    return [j.reason for j in judgements if j.verdict is not Verdict.VALID]


@pytest.mark.parametrize(
    "path", FILES + sorted(FOLDER.glob("tutorial/*.yaml")), ids=lambda path: path.stem
)
def test_every_file_has_a_report(path: Path, tmp_path: Path, capsys: Capture) -> None:
    """With every message in it, whatever befell it on its link."""
    told = cli.main([str(path), "--no-step", "--sim", "--seed", "1", "--report", str(tmp_path)])
    assert told == 0, capsys.readouterr().out
    assert {f.name for f in tmp_path.iterdir()} >= {"report.html", "junit.xml", "results.json"}


def test_readme_describes_every_file() -> None:
    described = re.findall(r"^\| `([a-z_-]+\.(?:csv|yaml))` \|", README, re.MULTILINE)
    files = [path.name for path in FOLDER.iterdir() if path.suffix in (".csv", ".yaml")]
    assert sorted(described) == sorted(files)


# ---- YAML --------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", config.FAILURES)
@pytest.mark.parametrize("path", YAML, ids=lambda path: path.stem)
def test_a_yaml_file_meets_its_expectations(path: Path, failure: str) -> None:
    for seed in (1, 2):
        runner = run(path, failure, seed)
        assert objections(runner) == []
        assert any(report.expectations for report in runner.reports)


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.stem)
def test_a_yaml_file_says_what_it_is_and_tells_editors(path: Path) -> None:
    file = testset.load(path, ClusterConfig())
    assert file.name and file.description
    first, _ = path.read_text("utf-8").split("\n", 1)
    schema = FOLDER / first.partition("$schema=")[2]
    assert schema.read_text("utf-8") == testset.schema_text()
    value = yaml_source.parse(path.read_bytes(), path.name)
    jsonschema.validate(value, SCHEMA)


def test_every_kill_point_and_link_fault_is_shown_by_a_file() -> None:
    steps = [s.text for path in YAML for case in load(path) for s in case.steps]
    for words in (*nemesis.POINTS, *nemesis.LINK_FAULTS, "heal", "wait"):
        assert any(words in step.split("->")[0] for step in steps), words


EXAMPLES = [
    block
    for text in (README, (FOLDER.parent / "README.md").read_text("utf-8"))
    for block in re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    if re.search("^sets:", block, re.MULTILINE)
]


@pytest.mark.parametrize("failure", config.FAILURES)
@pytest.mark.parametrize("example", range(len(EXAMPLES)))
def test_an_example_of_the_readme_runs(example: int, failure: str, tmp_path: Path) -> None:
    path = tmp_path / "example.yaml"
    path.write_text(EXAMPLES[example], "utf-8")
    for seed in range(5):
        runner = run(path, failure, seed)
        assert objections(runner) == []


def test_the_readme_has_an_example_of_every_key() -> None:
    assert len(EXAMPLES) == 4
    rows = re.findall(r"^\| `([a-z]+):` \| (.*?) \| ", README, re.MULTILINE)
    keys = dict.fromkeys(key for key, _ in rows)
    schema = SCHEMA["definitions"]
    shapes = (SCHEMA, schema["set"], schema["expect"])
    assert sorted(keys) == sorted({key for shape in shapes for key in shape["properties"]})
    for key, example in rows:
        for value in re.findall("`([^`]+)`", example):
            assert yaml_source.parse(f"{key}: {value}".encode(), "x")[key] is not None
    for key in schema["expect"]["properties"]:
        for value in re.findall("`([^`]+)`", " ".join(e for k, e in rows if k == key)):
            text = f"sets: [{{steps: ['(A)', '(A)', '(A)']}}]\nexpect: {{{key}: {value}}}"
            if key == "outcomes":  # after the last set steps have their set
                text = text.replace(value, "{1.1: 7}")
            assert testset.read_yaml(text.encode(), "x.yaml").cases(ClusterConfig()).at_end


def test_every_step_of_the_readme_is_one() -> None:
    names = Names(5, "ABCDEFGHIJ")
    table = README.partition("### Steps")[2].partition("`n1->n3` is one direction")
    written = re.findall(
        "`([^`]+)`", "\n".join(re.findall(r"^\| (`.*?) \|", table[0], re.MULTILINE))
    )
    assert len(written) > 10
    written += re.findall("`((?:cut|delay) [^`]+)`", table[2].partition("| moment")[0])
    for text in written:
        parse_step(text, names)
    moments = re.findall(r"^\| `([^`]+)` \| a ", table[2], re.MULTILINE)
    assert moments == list(nemesis.POINTS)


def test_long_run_is_long_for_every_client() -> None:
    commands = [
        step.action
        for case in load(FOLDER / "long_run_with_checkpoints.csv")
        for step in case.steps
        if isinstance(step.action, Command) and step.action.kind == TRANSFER
    ]
    assert len(commands) == 500
    assert {sum(c.sender == account for c in commands) for account in "ABCDEFGHIJ"} == {50}


def test_insufficient_balance_shows_failures() -> None:
    ledger = Ledger(ClusterConfig().balances())
    results = [
        ledger.apply(*step.action)
        for case in load(FOLDER / "insufficient_balance.csv")
        for step in case.steps
        if isinstance(step.action, Command)
    ]
    assert results.count(FAILED) == 6


def test_checkpoints_configuration_keeps_less_than_n5_misses() -> None:
    layered = config.layer(config.load(FOLDER / "checkpoints.yaml"))
    assert layered.checkpoint_interval + layered.keep_slots < 300
