"""The JSON document: its shape, held by a schema, and what each value says."""

import json
from dataclasses import replace

import jsonschema
import pytest
from screen_fakes import CHECKS, CONFIG, graded, long_set, pending_operation, set_six, troubled

from harness.check.verdict import Verdict
from harness.files.cases import CaseFile
from harness.report.results import document
from harness.run.timing import Phase

REPLICA = {"type": "string", "pattern": "^n[1-9][0-9]*$"}
BALLOT = {
    "anyOf": [
        {"type": "null"},
        {
            "type": "array",
            "prefixItems": [{"type": "integer", "minimum": 1}, REPLICA],
            "minItems": 2,
            "maxItems": 2,
        },
    ]
}
COUNT = {"type": "integer", "minimum": 0}
VERDICT = {"enum": ["valid", "invalid", "unknown"]}


def optional(schema):
    return {"anyOf": [{"type": "null"}, schema]}


def fixed(**properties):
    return {"type": "object", "properties": properties, "required": list(properties)}


STEP = fixed(
    step={"type": "string"},
    outcome={"enum": ["success", "failed", "pending", "done", "no-leader", "not-reached"]},
    value=optional({"type": "integer"}),
    slot=optional({"type": "integer", "minimum": 1}),
    ballot=BALLOT,
    begun_ms=optional({"type": "number", "minimum": 0}),
    latency_ms=optional({"type": "number", "minimum": 0}),
    carried_from=optional(COUNT),
    node=optional(REPLICA),
)
STATE = fixed(
    state={"enum": ["live", "disconnected", "crashed", "paused", "stopped"]},
    role={"enum": ["leader", "candidate", "backup"]},
    promised=BALLOT,
    committed_upto=COUNT,
    executed_upto=COUNT,
    checkpoint=COUNT,
    digest={"type": "string"},
    balances={"type": "object", "additionalProperties": {"type": "integer"}},
)
POINTS = {"type": "number", "minimum": 0}
EXPECTATION = fixed(
    where={"type": "string", "pattern": r"^.+:[1-9][0-9]*$"},
    key={"enum": ["balances", "outcomes", "pending", "leader", "slots", "statuses", "checks"]},
    expected={"type": "string", "minLength": 1},
    holds={"type": "boolean"},
    reason={"type": "string"},
    points=optional(POINTS),
)
TIMING = fixed(**{phase.value: {"type": "number"} for phase in Phase})
SET = fixed(
    set={"type": "integer"},
    live={"type": "array", "items": REPLICA},
    leader=optional(REPLICA),
    ballot=BALLOT,
    steps={"type": "array", "items": STEP},
    replicas={"type": "object", "additionalProperties": STATE, "minProperties": 5},
    checks=fixed(**dict.fromkeys(CHECKS, VERDICT)),
    started_at_us=COUNT,
    seconds={"type": "number"},
    timing=TIMING,
    points=optional(POINTS),
    scored=optional(POINTS),
    scored_of=optional(POINTS),
    expectations={"type": "array", "items": EXPECTATION},
)
SCHEMA = fixed(
    file={"type": "string"},
    failure={"enum": ["disconnect", "crash", "pause"]},
    durability={"enum": ["process", "power", "memory"]},
    nodes={"type": "integer"},
    seed={"type": "integer"},
    sets_in_file=COUNT,
    sets={"type": "array", "items": SET},
    pending={
        "type": "array",
        "items": fixed(step={"type": "string"}, client={"type": "string"}, set=COUNT),
    },
    verdict=VERDICT,
    points=POINTS,
    points_of=POINTS,
    seconds={"type": "number"},
    timing=optional(TIMING),
)


def built(*reports):
    return document(CaseFile("x.csv", ()), CONFIG, reports, [pending_operation()], Verdict.INVALID)


@pytest.mark.parametrize("report", [set_six, troubled, long_set, graded])
def test_shape(report):
    result = json.loads(json.dumps(built(report())))
    jsonschema.validate(result, SCHEMA)


def test_the_schema_refuses_what_is_missing():
    result = built(set_six())
    del result["sets"][0]["steps"][0]["value"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(result, SCHEMA)


def test_the_run():
    result = built(set_six(), troubled())
    assert {key: result[key] for key in ("file", "failure", "durability", "nodes", "seed")} == {
        "file": "x.csv",
        "failure": "disconnect",
        "durability": "process",
        "nodes": 5,
        "seed": 7,
    }
    assert result["pending"] == [{"step": "(J, I, 1)", "client": "J", "set": 4}]
    assert result["verdict"] == "invalid" and result["seconds"] == pytest.approx(13.33)


def test_a_set():
    found = built(set_six())["sets"][0]
    assert found["set"] == 6 and found["leader"] == "n2" and found["ballot"] == [2, "n2"]
    assert found["live"] == ["n1", "n2", "n3", "n4", "n5"]
    assert found["checks"] == dict.fromkeys(CHECKS, "valid") and found["reasons"] == {}
    assert list(found["replicas"]) == ["n1", "n2", "n3", "n4", "n5"]
    assert found["replicas"]["n1"]["state"] == "disconnected"
    assert found["replicas"]["n1"]["was_leader"] is True
    assert found["replicas"]["n2"]["balances"]["A"] == 2


def test_expectations_and_points():
    found = built(graded())["sets"][0]
    assert (found["points"], found["scored"], found["scored_of"]) == (2.5, 2.5, 10)
    assert found["expectations"][0] == {
        "where": "testsets/cut_off.yaml:21",
        "key": "balances",
        "expected": "A 2, B 5",
        "holds": False,
        "verdict": "invalid",
        "reason": "expected A 2, B 5, found B 6",
        "points": 5,
    }
    assert [expected["holds"] for expected in found["expectations"]] == [False, True, False]
    pointless = built(set_six())["sets"][0]
    assert pointless["scored"] is None and pointless["expectations"] == []


def test_steps():
    steps = built(set_six(), troubled())["sets"]
    first = steps[0]["steps"][0]
    assert first["step"] == "(C, B, 1)" and first["outcome"] == "success"
    assert (first["slot"], first["ballot"], first["latency_ms"]) == (12, [1, "n1"], 1.1)
    assert first["carried_from"] == 5 and first["value"] is None and first["node"] is None
    assert first["begun_ms"] is None  # an invented set has no times
    assert steps[0]["steps"][3]["node"] == "n1" and steps[0]["steps"][3]["outcome"] == "done"
    outcomes = [(step["outcome"], step["value"]) for step in steps[1]["steps"]]
    assert outcomes[2:5] == [("failed", None), ("success", 2), ("no-leader", None)]


def test_nothing_is_null():
    found = built(troubled())["sets"][0]
    assert found["leader"] is None and found["ballot"] is None
    assert found["replicas"]["n4"]["promised"] is None  # it never promised anything
    assert found["replicas"]["n5"]["trouble"] == "n5.db: damaged: row 3 missing"
    assert found["checks"]["linearizable"] == "unknown"
    assert found["reasons"]["agreement"].startswith("slot 17")


def test_names_of_checks_are_keys():
    odd = replace(set_six().judgements[0], check="exactly-once")
    checks = built(replace(set_six(), judgements=(odd,)))["sets"][0]["checks"]
    assert list(checks) == ["exactly_once"]
