"""cluster.yaml: the shipped file is the defaults, every rule refuses with its exact words."""

from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import EXIT_USAGE, HarnessError
from harness.files import config
from harness.files.config import ClusterConfig, Override, from_flags, layer, parse

SHIPPED = Path(__file__).parents[1] / "testsets" / "cluster.yaml"
KEYS = [field.name for field in fields(ClusterConfig)]


def problems(text: str | bytes) -> list[str]:
    with pytest.raises(HarnessError) as refusal:
        layer(parse(text if isinstance(text, bytes) else text.encode(), "c.yaml"))
    assert refusal.value.exit_code == EXIT_USAGE
    return list(refusal.value.problems)


def flag_problems(flags: dict[str, object], file: str = "") -> list[str]:
    with pytest.raises(HarnessError) as refusal:
        layer(from_flags(flags), parse(file.encode(), "c.yaml"))
    return list(refusal.value.problems)


def test_shipped_file_says_exactly_the_defaults() -> None:
    overrides = config.load(SHIPPED)
    assert list(overrides) != []
    assert sorted(overrides) == sorted(KEYS)
    assert layer(overrides) == ClusterConfig()
    for key in KEYS:
        assert overrides[key].value == getattr(ClusterConfig(), key), key


def test_shipped_file_explains_every_key() -> None:
    lines = SHIPPED.read_text("utf-8").splitlines()
    for key in KEYS:
        place = next(place for place, line in enumerate(lines) if line.startswith(f"{key}:"))
        assert lines[place - 1].startswith("#"), key


def test_rules_cover_every_key() -> None:
    assert sorted(config.KEYS) == sorted(KEYS)


def test_flags_over_a_test_set_over_the_file_over_the_defaults() -> None:
    file = parse(b"nodes: 3\nheartbeat_ms: 20\nstagger_ms: 1\n", "c.yaml")
    test_set = parse(b"heartbeat_ms: 30\nstagger_ms: 2\n", "set.yaml")
    flags = from_flags({"stagger_ms": 3, "seed": None})
    assert layer(flags, test_set, file) == ClusterConfig(nodes=3, heartbeat_ms=30, stagger_ms=3)
    assert layer() == ClusterConfig()


def test_overrides_say_where_they_stand() -> None:
    assert parse(b"\n# a comment\nnodes: 7\n", "c.yaml") == {
        "nodes": Override("c.yaml:3: nodes", 7)
    }
    assert from_flags({"heartbeat_ms": "20"}) == {"heartbeat_ms": Override("--heartbeat-ms", 20)}


@pytest.mark.parametrize("data", [b"", b"# nothing\n", b"\xef\xbb\xbf\n", b"---\n"])
def test_empty_file_is_the_defaults(data: bytes) -> None:
    assert layer(parse(data, "c.yaml")) == ClusterConfig()


ACCOUNTS = {
    "A..C": ("A", "B", "C"),
    "x..z": ("x", "y", "z"),
    "A..A": ("A",),
    "c7..c7": ("c7",),
    " A .. B ": ("A", "B"),
    "c8..c11": ("c8", "c9", "c10", "c11"),
    "team_a..team_c": ("team_a", "team_b", "team_c"),
    "[alice, Bob_2]": ("alice", "Bob_2"),
    "alice, bob": ("alice", "bob"),
    "[No, On]": ("No", "On"),
    "['1', '2']": ("1", "2"),
    "only": ("only",),
}


@pytest.mark.parametrize(("text", "expected"), ACCOUNTS.items(), ids=ACCOUNTS.keys())
def test_accounts(text: str, expected: tuple[str, ...]) -> None:
    assert layer(parse(f"accounts: {text}".encode(), "c.yaml")).accounts == expected


@pytest.mark.parametrize("text", ["100,200", "[100, 200]", " 100 , 200 "])
def test_election_timeout_of_a_flag(text: str) -> None:
    assert layer(from_flags({"election_timeout_ms": text})).election_timeout_ms == (100, 200)


def test_other_values() -> None:
    text = "seed: 0\nfailure: pause\ndurability: power\ninitial_balance: 0\nkeep_slots: 10_000\n"
    assert layer(parse(text.encode(), "c.yaml")) == ClusterConfig(
        seed=0, failure="pause", durability="power", initial_balance=0, keep_slots=10_000
    )


DAY_MS = 86_400_000
LIMITS = {
    "initial_balance": (0, (2**63 - 1) // 10),
    "prepare_quiet_ms": (0, DAY_MS),
    "prepare_pause_ms": (1, DAY_MS),
    "heartbeat_ms": (1, 149),
    "stagger_ms": (0, DAY_MS),
    "spare_pause_ms": (0, DAY_MS),
    "spare_after_slots": (0, 1_000_000),
    "learn_slots": (1, 1_000_000),
    "client_timeout_ms": (1, DAY_MS),
    "patience_ms": (1, DAY_MS),
    "progress_ms": (1, DAY_MS),
    "checkpoint_interval": (1, 1_000_000),
    "checkpoint_pause_ms": (0, DAY_MS),
    "keep_slots": (0, 1_000_000),
    "queue_buffer_kib": (512, 1_048_576),
    "trace_messages": (0, 10_000_000),
    "seed": (0, 2**63 - 1),
}


@pytest.mark.parametrize(("key", "limits"), LIMITS.items(), ids=LIMITS.keys())
def test_limits(key: str, limits: tuple[int, int]) -> None:
    low, high = limits
    for value in limits:
        assert getattr(layer(parse(f"{key}: {value}".encode(), "c.yaml")), key) == value
    for value in (low - 1, high + 1):
        (problem,) = problems(f"{key}: {value}")
        assert problem.startswith(f"c.yaml:1: {key}: ")


def test_every_number_has_limits() -> None:
    numbers = [key for key in KEYS if isinstance(getattr(ClusterConfig(), key), int)]
    assert sorted(LIMITS) == sorted({*numbers, "seed"} - {"nodes"})


@pytest.mark.parametrize("bounds", [(41, 41), (41, DAY_MS), (DAY_MS, DAY_MS)])
def test_limits_of_the_election_timeout(bounds: tuple[int, int]) -> None:
    text = f"election_timeout_ms: [{bounds[0]}, {bounds[1]}]"
    assert layer(parse(text.encode(), "c.yaml")).election_timeout_ms == bounds


NAMES = "expected names such as A..J, c1..c100 or [alice, bob]"
NAME = "expected 1 to 32 letters, digits or _ in a name"
RANGE = "expected a range such as A..J or c1..c100"
BOUNDS = "expected [low, high] from 1 to 86400000, low not above high"
MS = "expected a whole number from 1 to 86400000"
SIZES = "expected 3, 5, 7 or 9"
LINES = "expected lines such as nodes: 5"
ALL_KEYS = f"expected one of {', '.join(KEYS)}"

REFUSED = {
    "nodes: 4": f"1: nodes: found 4, {SIZES}",
    "nodes: yes": f'1: nodes: found "yes", {SIZES}',
    "nodes: true": f"1: nodes: found true, {SIZES}",
    "nodes: 5.0": f"1: nodes: found 5.0, {SIZES}",
    "nodes: '5'": f'1: nodes: found "5", {SIZES} (did you mean 5?)',
    "nodes:": f"1: nodes: found no value, {SIZES}",
    "nodes: [5]": f"1: nodes: found a list, {SIZES}",
    "initial_balance: -1": "1: initial_balance: found -1, "
    "expected a whole number from 0 to 9223372036854775807",
    "heartbeat_ms: true": f"1: heartbeat_ms: found true, {MS}",
    "heartbeat_ms: 0": f"1: heartbeat_ms: found 0, {MS}",
    "heartbeat_ms: 40.5": f"1: heartbeat_ms: found 40.5, {MS}",
    "heartbeat_ms: 40ms": f'1: heartbeat_ms: found "40ms", {MS}',
    "heartbeat_ms: {a: 1}": f"1: heartbeat_ms: found a mapping, {MS}",
    "patience_ms: 010": f'1: patience_ms: found "010", {MS}',
    "patience_ms: 1:30": f'1: patience_ms: found "1:30", {MS}',
    "progress_ms: 86400001": f"1: progress_ms: found 86400001, {MS}",
    "queue_buffer_kib: 511": "1: queue_buffer_kib: found 511, "
    "expected a whole number from 512 to 1048576",
    "seed: -1": "1: seed: found -1, expected a whole number from 0 to 9223372036854775807",
    "seed: 2024-13-45": '1: seed: found "2024-13-45", '
    "expected a whole number from 0 to 9223372036854775807",
    "failure: crsh": '1: failure: found "crsh", expected disconnect, crash or pause '
    "(did you mean crash?)",
    "failure: Pause": '1: failure: found "Pause", expected disconnect, crash or pause '
    "(did you mean pause?)",
    "durability: 1": "1: durability: found 1, expected process, power or memory",
    "election_timeout_ms: 150": f"1: election_timeout_ms: found 150, {BOUNDS}",
    "election_timeout_ms: [300, 150]": f"1: election_timeout_ms: found 300 above 150, {BOUNDS}",
    "election_timeout_ms: [0, 150]": f"1: election_timeout_ms: found 0, {BOUNDS}",
    "election_timeout_ms: [150, 86400001]": f"1: election_timeout_ms: found 86400001, {BOUNDS}",
    "election_timeout_ms: [150, true]": f"1: election_timeout_ms: found true, {BOUNDS}",
    "election_timeout_ms: [1, 2, 3]": f"1: election_timeout_ms: found a list, {BOUNDS}",
    "accounts: []": "1: accounts: found 0 accounts, expected 1 to 1000000",
    "accounts: 10": f"1: accounts: found 10, {NAMES}",
    "accounts: {A: 5}": f"1: accounts: found a mapping, {NAMES}",
    "accounts: [A, 1]": f"1: accounts: found 1, {NAME}",
    "accounts: [A, null]": f"1: accounts: found no value, {NAME}",
    "accounts: [A, a b]": f'1: accounts: found "a b", {NAME}',
    "accounts: [é]": f'1: accounts: found "é", {NAME}',
    f"accounts: [{'x' * 33}]": f'1: accounts: found "{"x" * 33}", {NAME}',
    "accounts: ''": f'1: accounts: found "", {NAME}',
    "accounts: [A, B, a]": "1: accounts: found a twice (letter case does not count), "
    "expected each name once",
    "accounts: [N3]": f"1: accounts: found N3: replicas have such names, {NAMES}",
    "accounts: n1..n5": "1: accounts: found n1, n2, n3 and 2 more names: "
    f"replicas have such names, {NAMES}",
    "accounts: J..A": f'1: accounts: found "J..A", {RANGE}',
    "accounts: c9..c1": f'1: accounts: found "c9..c1", {RANGE}',
    "accounts: A..c": f'1: accounts: found "A..c", {RANGE}',
    "accounts: a1..b2": f'1: accounts: found "a1..b2", {RANGE}',
    "accounts: c0..c1000000": "1: accounts: found 1000001 accounts, expected 1 to 1000000",
    "heartbaet_ms: 4": f"1: heartbaet_ms: unknown key, {ALL_KEYS} (did you mean heartbeat_ms?)",
    "Nodes: 3": f"1: Nodes: unknown key, {ALL_KEYS} (did you mean nodes?)",
    "5: 5": f"1: 5: unknown key, {ALL_KEYS}",
    "<<: {nodes: 3}": f"1: <<: unknown key, {ALL_KEYS}",
    "nodes: 5\n\nnodes: 5": "3: nodes: given again, first on line 1, expected each key once",
    "# sets\nsets: []\nnodes: 4": "2: sets: this is a test set, expected a configuration",
    "- nodes": f"1: not a configuration, {LINES}",
    "nodes": f"1: not a configuration, {LINES}",
    "nodes: 5\na: b: c": f"2: not YAML: mapping values are not allowed here, {LINES}",
    "nodes: 5\n\tnodes: 5": "2: not YAML: found character '\\t' that cannot start any token, "
    + LINES,
    "nodes: [": f"1: not YAML: expected the node content, but found '<stream end>', {LINES}",
    "nodes: 5\n---\nnodes: 5": f"2: not YAML: but found another document, {LINES}",
    "nodes: !!int five": f"1: not YAML: not a valid int, {LINES}",
    "nodes: !!int": f"1: not YAML: not a valid int, {LINES}",
    "nodes: !!float": f"1: not YAML: not a valid float, {LINES}",
    "nodes: !!bool 5": f"1: not YAML: not a valid bool, {LINES}",
    "nodes: !!map five": f"1: not YAML: not a mapping, {LINES}",
    "\n[a]: 5": f"2: not YAML: a key that is not plain text, {LINES}",
    "accounts: &a [*a]": f"1: not YAML: found unconstructable recursive node, {LINES}",
    "nodes: !!x/y z": "1: not YAML: could not determine a constructor for the tag "
    f"'tag:yaml.org,2002:x/y', {LINES}",
    "nodes: !!binary aGk=": "1: not YAML: could not determine a constructor for the tag "
    f"'tag:yaml.org,2002:binary', {LINES}",
    "nodes: 5\n# \uffff": f"2: not YAML: a character that YAML does not allow, {LINES}",
    "[" * 5000: f"1: not YAML: nested too deeply, {LINES}",
    "nodes: 5\n# \x1b[2J": "2: not text (byte 0x1b), expected UTF-8 text",
    "heartbeat_ms: 150": "1: heartbeat_ms: a replica must hear a heartbeat (150 ms) within its "
    "shortest election time-out (150 ms), expected heartbeat_ms below election_timeout_ms",
    "initial_balance: 1000000000000000000": "1: initial_balance: 10 accounts of "
    "1000000000000000000 are more money than is counted, "
    "expected at most 9223372036854775807 in all",
}


@pytest.mark.parametrize(("text", "expected"), REFUSED.items(), ids=[text[:30] for text in REFUSED])
def test_refused(text: str, expected: str) -> None:
    assert problems(text) == [f"c.yaml:{expected}"]


def test_not_utf8_is_refused() -> None:
    assert problems(b"nodes: 5\n\xff") == ["c.yaml:2: not text (byte 0xff), expected UTF-8 text"]


def test_all_problems_are_reported_at_once_in_the_order_of_the_file() -> None:
    text = "nodes: 4\nseeed: 1\nnodes: 5\nheartbeat_ms: 0\n"
    assert [line.split(":")[1:3] for line in problems(text)] == [
        ["1", " nodes"],
        ["2", " seeed"],
        ["3", " nodes"],
        ["4", " heartbeat_ms"],
    ]


def test_all_names_that_accounts_cannot_have_are_reported_at_once() -> None:
    assert problems("accounts: [n3, A, b-c, a, D, é]") == [
        f"c.yaml:1: accounts: found n3: replicas have such names, {NAMES}",
        f'c.yaml:1: accounts: found "b-c", "é", {NAME}',
        "c.yaml:1: accounts: found a twice (letter case does not count), expected each name once",
    ]


def test_values_that_do_not_fit_are_reported_at_once() -> None:
    text = "heartbeat_ms: 200\nfailure: crash\ndurability: memory\n"
    assert [line.split(":")[1:3] for line in problems(text)] == [
        ["1", " heartbeat_ms"],
        ["2", " failure"],
    ]


def test_flags_are_checked_by_the_same_rules() -> None:
    assert flag_problems({"nodes": "4", "failure": "crsh", "seed": "x", "heartbeat_ms": 40}) == [
        "--nodes: found 4, expected 3, 5, 7 or 9",
        '--failure: found "crsh", expected disconnect, crash or pause (did you mean crash?)',
        '--seed: found "x", expected a whole number from 0 to 9223372036854775807',
    ]
    assert flag_problems({"heartbeat_ms": "9" * 5000})[0].startswith('--heartbeat-ms: found "99')


def test_memory_with_crash_is_refused_and_names_the_flag() -> None:
    what = (
        "a crashed replica returns from its disk and durability memory keeps nothing, "
        "expected durability process or power, or failure disconnect or pause"
    )
    assert flag_problems({"failure": "crash"}, "\ndurability: memory\n") == [
        f"--failure: {what} (c.yaml:2: durability)"
    ]
    assert flag_problems({"durability": "memory"}, "failure: crash\n") == [
        f"--durability: {what} (c.yaml:1: failure)"
    ]
    assert problems("durability: memory\nfailure: crash\n") == [
        f"c.yaml:1: durability: {what} (c.yaml:2: failure)"
    ]
    layer(from_flags({"failure": "pause", "durability": "memory"}))
    layer(from_flags({"failure": "crash", "durability": "power"}))


def test_a_flag_can_make_the_file_fit() -> None:
    file = parse(b"heartbeat_ms: 200\n", "c.yaml")
    assert layer(from_flags({"election_timeout_ms": "300,600"}), file).heartbeat_ms == 200


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cluster.yaml").write_text("nodes: 4")
    for path, expected in {
        "clutser.yaml": ": no such file, expected a YAML configuration "
        "(did you mean cluster.yaml?)",
        ".": ": is a folder, expected a YAML configuration",
        "cluster.yaml": ":1: nodes: found 4, expected 3, 5, 7 or 9",
    }.items():
        with pytest.raises(HarnessError) as refusal:
            config.load(path)
        assert str(refusal.value) == f"{path}{expected}"


def test_aliases_cannot_grow_a_message() -> None:
    levels = [
        f"l{level + 1}: &l{level + 1} [{', '.join([f'*l{level}'] * 9)}]" for level in range(30)
    ]
    text = "l0: &l0 [x]\n" + "\n".join(levels) + "\nheartbeat_ms: *l30\naccounts: *l30\n"
    assert problems(text)[-2:] == [
        f"c.yaml:32: heartbeat_ms: found a list, {MS}",
        f"c.yaml:33: accounts: found a list, {NAME}",
    ]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("ABCDEFGHIJ", "A..J"),
        ("AB", "A, B"),
        ("ABC", "A..C"),
        ([f"c{number}" for number in range(10)], "c0, c1, c2, c3, c4, c5, c6, c7, c8, c9"),
        ("ACE", "A, C, E"),
        (["AB", "C", "D"], "AB, C, D"),
        (["alice", "bob"], "alice, bob"),
        ([f"c{number}" for number in range(11)], "c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, …"),
    ],
)
def test_names_listed(names: list[str], expected: str) -> None:
    assert config.names_listed(tuple(names)) == expected


# Whatever the bytes


def loads_or_refuses(data: bytes) -> None:
    try:
        loaded = layer(parse(data, "c.yaml"))
    except HarnessError as refusal:
        assert all(line.startswith("c.yaml:") for line in refusal.problems)
    else:
        assert loaded.nodes in config.NODES


WORDS = ["nodes", "seed", "accounts", "true", "n1", "A..J", "<<", "...", "---", "\n  "]
TAGS = ["!! ", "!!int ", "!!map ", "!!timestamp ", "!!binary ", "!!set ", "&a ", "*a "]
SIGNS = st.sampled_from([*"\n :-[]{},&*!|>'\"#%@?0159.~<=", *WORDS, *TAGS])


@given(st.binary(max_size=100))
def test_random_bytes(data: bytes) -> None:
    loads_or_refuses(data)


@given(st.lists(SIGNS, max_size=30).map("".join))
def test_random_signs(text: str) -> None:
    loads_or_refuses(text.encode())


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 5), SIGNS), min_size=1, max_size=3))
def test_random_mutations_of_the_shipped_file(changes: list[tuple[int, int, str]]) -> None:
    data = SHIPPED.read_bytes()
    for place, length, sign in changes:
        data = data[:place] + sign.encode() + data[place + length :]
    loads_or_refuses(data)
