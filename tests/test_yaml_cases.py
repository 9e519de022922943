"""YAML test sets: what each key becomes, and every refusal word for word.

    PAXBANK_REWRITE=1 python -m pytest tests/test_yaml_cases.py

rewrites tests/golden/yaml_refusals.txt; read the difference before you keep it.
"""

import json
import os
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.cluster.nemesis import FailLeader, Heal, KillAt, LinkFault
from harness.errors import HarnessError
from harness.files import config, testset, yaml_source
from harness.files.cases import (
    Balances,
    CaseFile,
    CaseSet,
    Command,
    Expected,
    Leader,
    Outcomes,
    Pending,
    Step,
    Wait,
)
from harness.files.config import ClusterConfig

GOLDEN = Path(__file__).parent / "golden" / "yaml_refusals.txt"
SCHEMA = json.loads(testset.schema_text())
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)

WHOLE = b"""\
name: The old leader is cut off
description: What a reader should look at.
cluster:
  nodes: 3
  accounts: [a, b]
sets:
  - live: [N1, n2]
    steps:
      - (A, b, 3); (b)
      - cut n1->n3          # a comment
      - ["(a, b, 1)", LF, wait 5 ms]
      - fail n3 after the write
    expect:
      balances: {a: 6}
      outcomes: {1: success, 2: 13}
      leader: any
    points: {balances: 5, leader: 0.5}
  - set: 7
    steps: [heal]
    points: 10
  - {}
expect:
  outcomes: {1.1: success}
  pending: 0
points: {pending: 1}
"""


def read(data: bytes, settings: ClusterConfig | None = None) -> CaseFile:
    file = testset.read_yaml(data, "x.yaml")
    return file.cases(settings or config.layer(file.overrides))


def test_a_whole_file():
    def pays(line, amount, together=False):
        return Step(line, f"(a, b, {amount})", Command("transfer", "a", "b", amount), together)

    first = CaseSet(
        1,
        frozenset({1, 2}),
        (
            pays(9, 3),
            Step(9, "(b)", Command("read", "b", "", 0)),
            Step(10, "cut n1->n3", LinkFault("cut", frozenset({(1, 3)}))),
            pays(11, 1),
            Step(11, "LF", FailLeader(), together=True),
            Step(11, "wait 5 ms", Wait(5000), together=True),
            Step(12, "fail n3 after the write", KillAt(3, "after the write")),
        ),
        7,
        (
            Expected("x.yaml:14", "balances", Balances({"a": 6}), 5),
            Expected("x.yaml:15", "outcomes", Outcomes({"1": "success", "2": 13})),
            Expected("x.yaml:16", "leader", Leader(frozenset({1, 2, 3})), 0.5),
        ),
    )
    everybody = frozenset({1, 2, 3})
    assert read(WHOLE) == CaseFile(
        "x.yaml",
        (
            first,
            CaseSet(7, everybody, (Step(19, "heal", Heal()),), 18, points=10),
            CaseSet(8, everybody, (), 21),
        ),
        "The old leader is cut off",
        "What a reader should look at.",
        (
            Expected("x.yaml:23", "outcomes", Outcomes({"1.1": "success"})),
            Expected("x.yaml:24", "pending", Pending(0), 1),
        ),
    )


def test_a_file_is_checked_against_the_cluster_that_runs_it():
    with pytest.raises(HarnessError) as refusal:
        read(WHOLE, ClusterConfig(nodes=3, accounts=("a", "c")))
    assert [problem.split(":")[1] for problem in refusal.value.problems[:2]] == ["9", "9"]
    assert all('unknown account "b"' in problem for problem in refusal.value.problems[:3])


def test_what_it_says_of_the_cluster_can_be_overruled(tmp_path):
    path = tmp_path / "x.yml"
    path.write_bytes(WHOLE)
    draft = testset.read(path)
    assert draft.overrides["nodes"] == (f"{path}:4: nodes", 3)
    flags = config.from_flags({"nodes": 5})
    settings = config.layer(flags, draft.overrides)
    assert draft.cases(settings).sets[2].live == frozenset({1, 2, 3, 4, 5})


def test_a_list_may_stand_again_as_an_alias():
    file = read(b"sets:\n- live: &few [n1, n2, n3]\n- live: *few\n")
    assert file.sets[0].live == file.sets[1].live == frozenset({1, 2, 3})


def test_aliases_cannot_make_a_file_endless(monkeypatch):
    monkeypatch.setattr(testset, "MOST_STEPS", 5)
    text = b"sets:\n- steps: [&a [LF, LF], *a]\n- steps: [*a, *a]\n"
    (problem,) = problems(text)
    assert problem == "x.yaml:2: steps: too many steps, expected at most 5 in a file"


# ---- refusals ----------------------------------------------------------------------------------


def problems(data: bytes) -> list[str]:
    with pytest.raises(HarnessError) as refusal:
        read(data)
    return list(refusal.value.problems)


def blocks() -> dict[str, tuple[str, str]]:
    found = {}
    for block in GOLDEN.read_text("utf-8").split("\n\n# ")[1:]:
        title, _, rest = block.partition("\n")
        text, _, expected = rest.partition("----")
        found[title] = (text, expected.strip())
    return found


REFUSED = blocks()


@pytest.mark.parametrize("title", REFUSED)
def test_refused(title):
    text, expected = REFUSED[title]
    found = "\n".join(problems(text.encode()))
    if os.environ.get("PAXBANK_REWRITE"):
        golden = GOLDEN.read_text("utf-8")
        before = f"# {title}\n{text}----"
        golden = golden.replace(f"{before}\n{expected}".rstrip(), f"{before}\n{found}", 1)
        GOLDEN.write_text(golden, "utf-8")
        return
    assert found == expected


BYTES = {
    "empty": b"",
    "blank": b"\n \n",
    "a comment": b"# sets\n",
    "binary": b"\x00\x01",
    "not UTF-8": b"name: \xff",
    "UTF-16": "sets: []".encode("utf-16"),
    "a picture": b"\x89PNG\r\n\x1a\n\0\0",
    "nested": b"[" * 100_000,
    "a long line": b"name: [" + b"x" * 1_000_000,
    "a long number": b"sets:\n- set: " + b"9" * 5000,
    "a long label": b"sets:\n- expect: {outcomes: {" + b"9" * 100_000 + b": success}}",
}


@pytest.mark.parametrize("data", BYTES.values(), ids=BYTES)
def test_refused_bytes(data):
    (problem,) = problems(data)
    assert problem.startswith("x.yaml:") and "expected" in problem
    assert len(problem) < 250 and problem.isprintable()


# ---- any file is read or refused, and the schema never refuses what is read ----------------------

WORDS = st.sampled_from(
    ["LF", "(A, J, 3)", "(A)", "n1", "n9", "none", "success", "EEEEE", "agreement", "1", "1.1",
     "1-3", "4-6", "cut n1->*", "wait 5 ms", "lose n1->n2 3 %", "A", "x", "crash", "A..C"]
)  # fmt: skip
KEYS = st.sampled_from(
    [*SCHEMA["properties"], *SCHEMA["definitions"]["set"]["properties"], *config.KEYS,
     *SCHEMA["definitions"]["expect"]["properties"]]
) | WORDS  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 12) | st.floats(0, 9) | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=25,
)
SET = st.fixed_dictionaries(
    {},
    optional={
        "set": st.integers(1, 5),
        "live": VALUES,
        "steps": st.lists(WORDS | st.lists(WORDS, max_size=3), max_size=4),
        "expect": st.dictionaries(KEYS, VALUES, max_size=3),
        "points": VALUES,
    },
)
FILE = st.fixed_dictionaries(
    {"sets": st.lists(SET, max_size=3) | VALUES},
    optional={"name": VALUES, "cluster": VALUES, "expect": VALUES, "points": VALUES},
)


def is_read(data: bytes) -> bool:
    try:
        file = read(data)
    except HarnessError as refusal:
        assert all(line.startswith("x.yaml:") for line in refusal.problems)
        return False
    assert file.sets
    return True


def plain(value):
    """As an editor sees it: without lines, and `points: null` as it is."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


def schema_problems(data: bytes) -> list[str]:
    value = plain(yaml_source.parse(data, "x.yaml"))
    return [error.message for error in VALIDATOR.iter_errors(value)]


@given(st.binary(max_size=100) | st.text(max_size=100).map(str.encode))
def test_random_bytes(data):
    is_read(data)


@given(FILE)
@settings(max_examples=300)
@example({"sets": [{"steps": ["LF"], "expect": {"slots": "1"}, "points": {"slots": 1}}]})
def test_what_is_read_is_valid_by_the_schema(value):
    data = yaml.safe_dump(value).encode()
    if is_read(data):
        assert schema_problems(data) == []


@given(
    st.lists(
        st.tuples(
            st.integers(0, len(WHOLE)),
            st.integers(0, 4),
            st.sampled_from([*"[]{}:,-#&*! \n\t'\"", "LF", "5", "n1"]),
        ),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=300)
@example([(WHOLE.index(b"wait") + 1, 0, '"')])
@example([(WHOLE.index(b"LF"), 2, 'F"(n3)')])
def test_random_mutations_of_a_good_file(changes):
    data = WHOLE
    for place, length, sign in changes:
        data = data[:place] + sign.encode() + data[place + length :]
    if is_read(data):
        assert schema_problems(data) == []


# ---- the schema --------------------------------------------------------------------------------


def test_the_schema_is_one():
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert schema_problems(WHOLE) == []


@pytest.mark.parametrize("title", [title for title in REFUSED if not title.startswith("~")])
def test_the_schema_refuses_what_it_can_know(title):
    assert schema_problems(REFUSED[title][0].encode())


def test_the_schema_beside_the_test_sets_is_the_one_that_is_printed():
    """python run.py lint --schema > testsets/testset.schema.json"""
    shipped = Path(__file__).parents[1] / "testsets" / "testset.schema.json"
    assert shipped.read_text("utf-8") == testset.schema_text()


def test_the_schema_describes_every_key():
    """To whoever types it: "what is this?" has an answer at each."""
    definitions = SCHEMA["definitions"]
    shapes = [SCHEMA, *(definitions[name] for name in ("set", "expect", "cluster"))]
    for properties in (shape["properties"] for shape in shapes):
        assert all(inner.get("description") for inner in properties.values())
    assert definitions["cluster"]["properties"].keys() == set(config.KEYS)
    assert definitions["points_by_key"]["properties"].keys() == (
        definitions["expect"]["properties"].keys()
    )
