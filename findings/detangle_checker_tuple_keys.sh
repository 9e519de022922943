#!/usr/bin/env bash
# detangle 0.1.0 (PyPI, with a Wing & Gong / Lowe linearizability checker), seen 2026-11-28.
#
# One would guess: the key of the ready-made key-value model is any hashable value, and the set
#   model compares what a read returned with what the set holds.
# What happens: the model takes the first item of *any* tuple as the key. A `put` whose key is
#   ("branch", 7) is filed under ("branch", 7), a `get` of that key under "branch", and keys are
#   judged apart from each other. So the read of a lost write is called linearizable, and a
#   correct read is not. The set model turns a read into a frozenset first: a read that returns
#   one element twice is called linearizable. Neither raises an error or a warning.
# Who meets it: tests of a bank or store with composite keys (branch and account, table and row),
#   and tests of a replicated set whose fault is to apply one command twice.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check detangle==0.1.0 2>pip.log ||
    { cat pip.log; exit 1; }

cat >histories.py <<'P'
from detangle import History, lin

def judge(what, model, *operations):
    """Judge operations that follow one another, none of them concurrent."""
    history = History()
    for function, argument, output in operations:
        history.ok(history.invoke("client", function, argument), output)
    print(f"{what:42} linearizable: {history.check(model).ok}")

judge("key 'b7', write lost", lin.KV(), ("put", ("b7", 50), None), ("get", "b7", None))
judge("key 'b7', write read", lin.KV(), ("put", ("b7", 50), None), ("get", "b7", 50))
key = ("branch", 7)
judge("key ('branch', 7), write lost", lin.KV(), ("put", (key, 50), None), ("get", key, None))
judge("key ('branch', 7), write read", lin.KV(), ("put", (key, 50), None), ("get", key, 50))
judge("set, 7 added once and read once", lin.Set(), ("add", 7, None), ("read", None, [7]))
judge("set, 7 added once and read twice", lin.Set(), ("add", 7, None), ("read", None, [7, 7]))
P

venv/bin/python -c 'from importlib.metadata import version; print("detangle", version("detangle"))'
venv/bin/python histories.py | tee seen.txt
diff seen.txt - <<'E' || { echo "CHANGED: not what the head of this script says"; exit 1; }
key 'b7', write lost                       linearizable: False
key 'b7', write read                       linearizable: True
key ('branch', 7), write lost              linearizable: True
key ('branch', 7), write read              linearizable: False
set, 7 added once and read once            linearizable: True
set, 7 added once and read twice           linearizable: True
E
echo "as described"
