#!/usr/bin/env bash
# pytest-leela 0.9.0 and pytestmut 0.1.0 (PyPI, 2026-10, mutation testers) with pytest 9.2.0 and
#   the start methods of multiprocessing, seen 2026-11-28.
#
# One would guess: a mutant is killed if a test fails with it. Which way the test's worker process
#   is started, the tests never ask, and they pass either way: the score stays.
# What happens: it goes from all to nothing, and the two testers disagree on the direction. One
#   test calls a function through a ProcessPoolExecutor and compares the result. Workers that are
#   forked: leela says 5 of 5 killed, pytestmut 0 of 3, as no test reaches the line. Workers of the
#   fork server: leela says 0 of 5, all survived; pytestmut 3 of 3. leela changes the module in its
#   own memory, which a fork inherits and a fresh interpreter does not; pytestmut measures first
#   which test runs which line, and sees what a fresh interpreter ran, not what a fork did.
#   Neither warns. A test that calls the function directly gets 100% from both.
# Who meets it: tests of replicas, workers or pools in processes of their own, at the change to
#   Python 3.14, whose start method on Linux is no longer "fork" but "forkserver": not a line of code
#   or tests has changed, and the gate at 80% is red, or green at last.
set -euo pipefail
for python in python3 python3.14 python3.13 python3.12 ~/.pyenv/versions/*/bin/python3 ""; do
    [ -n "$python" ] || { echo "Python 3.12 or later is needed"; exit 2; }
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && break
done
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
"$python" -m venv venv
venv/bin/pip install -q --no-compile --disable-pip-version-check pytest==9.2.0 pytest-leela==0.9.0 \
    pytestmut==0.1.0 2>pip.log || { cat pip.log; exit 1; }

for method in fork forkserver; do
    mkdir -p $method/src $method/tests
    cat >$method/src/bank.py <<'P'
def transfer(payer, payee, amount):
    return payer - amount, payee + amount
P
    cat >$method/tests/test_transfer.py <<P
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from bank import transfer

def test_transfer():
    with ProcessPoolExecutor(1, multiprocessing.get_context("$method")) as pool:
        assert pool.submit(transfer, 10, 0, 4).result() == (6, 4)
P
    cat >$method/pyproject.toml <<'T'
[tool.pytest.ini_options]
pythonpath = ["src"]
[tool.pytestmut]
paths = ["src"]
T
done

PATH="$PWD/venv/bin:$PATH"
venv/bin/pip list --disable-pip-version-check 2>/dev/null | grep -E '^(pytest|pytest-leela|pytestmut) '
for method in fork forkserver; do
    (cd $method && python -m pytest -q --leela tests >leela.txt) || true &
    (cd $method && pytestmut run --min-score 80 --workers 1 --quiet >pytestmut.txt 2>&1) || true &
done
wait
for method in fork forkserver; do
    echo "$method: $(grep -o '[0-9]* passed' $method/leela.txt)"
    echo "  leela:     $(grep -o 'Overall: [0-9]*/[0-9]* killed' $method/leela.txt)"
    echo "  pytestmut: $(grep -oE '\([0-9]+ detected of [0-9]+ scored.*\)' $method/pytestmut.txt)"
    echo "             $(grep -oE '^(PASSED|FAILED): .*' $method/pytestmut.txt)"
done | tee seen.txt
diff seen.txt - <<'E' || { echo "CHANGED: not what the head of this script says"; exit 1; }
fork: 1 passed
  leela:     Overall: 5/5 killed
  pytestmut: (0 detected of 3 scored: 0 survived, 3 without coverage)
             FAILED: at least one policy missed its thresholds
forkserver: 1 passed
  leela:     Overall: 0/5 killed
  pytestmut: (3 detected of 3 scored: 0 survived, 0 without coverage)
             PASSED: every policy met its thresholds
E
echo "as described"
