"""Shapes: what they read, that all that is wrong is told at once, and the schema they print."""

import jsonschema
import pytest

from harness.errors import HarnessError
from harness.files import yaml_source
from harness.files.shape import (
    TEXT,
    Key,
    Place,
    Shape,
    choice,
    each,
    entries,
    mapping,
    one_or_each,
    read_or_tell,
    schema,
    whole,
)
from harness.files.tree import Problems

PORT = whole(1, 65_535, "port")
SERVER = mapping(
    {
        "name": Key(TEXT, "What it is called.", ("n1",)),
        "ports": Key(one_or_each(PORT)),
        "kind": Key(choice("big", "small")),
        "limits": Key(entries(lambda k, v, at: {k.lower(): PORT.read(v, at)}, "limits", PORT)),
    },
    "a server such as {name: n1}",
    needed=("name",),
    called="server",
)
SERVERS = each(SERVER, "a list of servers", 1)


def read(text):
    problems = Problems("x.yaml")
    value = yaml_source.parse(text.encode(), "x.yaml")
    found = list(read_or_tell(SERVERS, value, Place(problems, 1, "servers")))
    problems.refuse()
    return found[0]


def test_what_is_right_is_read():
    text = "- name: n1\n  ports: 5\n- {ports: [6, 7], name: n2, limits: {A: 1}, kind: small}\n"
    assert read(text) == [
        {"name": "n1", "ports": [5]},
        {"name": "n2", "ports": [6, 7], "kind": "small", "limits": {"a": 1}},
    ]


def test_everything_that_is_wrong_is_told_where_it_stands():
    text = (
        "- 5\n- nam: n1\n  ports:\n  - 0\n  - x\n- name: n2\n  name: n3\n  kind: huge\n"
        "  limits: {a: 1, A: 2, b: no}\n- name: n4\n  limits: {}\n"
    )
    with pytest.raises(HarnessError) as refusal:
        read(text)
    assert list(refusal.value.problems) == [
        "x.yaml:1: servers: found 5, expected a server such as {name: n1}",
        "x.yaml:2: nam: unknown key, expected one of name, ports, kind, limits (did you mean "
        "name?)",
        "x.yaml:2: no name: expected a server such as {name: n1}",
        "x.yaml:4: ports: found 0, expected a whole number from 1 to 65535",
        'x.yaml:5: ports: found "x", expected a whole number from 1 to 65535',
        "x.yaml:7: name: given again, first on line 6, expected each key once",
        'x.yaml:8: kind: found "huge", expected big or small',
        "x.yaml:9: limits: A: a again, expected it once",
        'x.yaml:9: limits: b: found "no", expected a whole number from 1 to 65535',
        "x.yaml:11: limits: found nothing, expected limits",
    ]


def test_the_schema_names_what_is_called_once():
    known = {}
    found = schema(SERVERS, known) | {"definitions": known}
    jsonschema.Draft7Validator.check_schema(found)
    assert found["items"] == {"$ref": "#/definitions/server"} and known.keys() == {"server", "port"}
    assert known["server"]["properties"]["name"] == {
        "type": "string", "description": "What it is called.", "examples": ["n1"],
    }  # fmt: skip
    valid = jsonschema.Draft7Validator(found).is_valid
    assert valid([{"name": "n1", "ports": [1], "limits": {"A": 3}}])
    assert not valid([]) and not valid([{"ports": 1}]) and not valid([{"name": "n1", "x": 1}])


def test_a_function_is_a_shape():
    twice = Shape(lambda value, at: 2 * PORT.read(value, at), PORT)
    assert twice.read(4, Place(Problems("x"), 1, "x")) == 8
    assert schema(twice, {}) == {"$ref": "#/definitions/port"}
