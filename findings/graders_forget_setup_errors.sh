#!/usr/bin/env bash
# pytest-grader 0.4.1 and byu_pytest_utils 0.8.5 (PyPI, 2026-10), pytest 9.2.0, seen 2026-11-28.
#
# One would guess: a test that needs a server which does not start earns nothing, and its points
#   stay in the total.
# What happens: both count only the reports that pytest calls passed or failed. An exception in a
#   fixture is neither, it is an "error", so the test and its points leave the total. Two of three
#   tests (99 of 100 points) need the server: pytest-grader prints "Total Score: 1/1" with its mark
#   for full credit, and the results.json that byu_pytest_utils writes for Gradescope holds one
#   test, 1 of 1. Start the server inside the tests and both say 1 of 100.
# Who meets it: teachers of networked or distributed assignments, where the fixture starts the
#   student's program; the submission that does not even start gets the best mark.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pytest==9.2.0 pytest-grader==0.4.1 \
    byu_pytest_utils==0.8.5 2>pip.log || { cat pip.log; exit 1; }

mkdir grader byu
for where in grader byu; do
    cat >$where/helpers.py <<'P'
import subprocess, sys

def start_server():
    """Start the student's program, which ends at once, and wait for its first line."""
    with subprocess.Popen([sys.executable, "-c", "raise SystemExit(1)"],
                          stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout.readline() == "ready\n", "the server did not start"
P
done
tests() {  # $1: import of the decorator, which is then called `worth`
    cat <<P
import pytest
$1
from helpers import start_server

@pytest.fixture
def server():
    start_server()

@worth(1)
def test_imports():
    pass

@worth(40)
def test_replies(server):
    pass

@worth(59)
def test_survives(server):
    pass
P
}
tests "from pytest_grader import points as worth" >grader/test_fixture.py
tests "from byu_pytest_utils import max_score as worth" >byu/test_fixture.py
for where in grader byu; do  # the same, with the server started in the body of the test
    sed 's/(server):/():/; s/^    pass$/    start_server()/' $where/test_fixture.py |
        sed '/test_imports/,/start_server/s/start_server()/pass/' >$where/test_body.py
done

export PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 GRADESCOPE=1
venv/bin/pip list --disable-pip-version-check 2>/dev/null | grep -E '^(pytest|byu)'
for started in fixture body; do
    echo "server started in the $started"
    (cd grader && ../venv/bin/python -m pytest -p pytest_grader --score test_$started.py || true) |
        grep -oE 'Total Score: [0-9]+/[0-9]+|^=.*in ' | sed -E 's/^=+ | in $//g'
    (cd byu && ../venv/bin/python -m pytest -p byu_pytest_utils.pytest_plugin \
        test_$started.py || true) >/dev/null
    venv/bin/python - <<'P'
import json
tests = json.load(open("byu/results.json"))["tests"]
print("results.json:", len(tests), "tests,",
      sum(t["score"] for t in tests), "of", sum(t["max_score"] for t in tests))
P
done | tee seen.txt
diff seen.txt - <<'E' || { echo "CHANGED: not what the head of this script says"; exit 1; }
server started in the fixture
Total Score: 1/1
1 passed, 2 errors
results.json: 1 tests, 1 of 1
server started in the body
Total Score: 1/100
2 failed, 1 passed
results.json: 3 tests, 1 of 100
E
echo "as described"
