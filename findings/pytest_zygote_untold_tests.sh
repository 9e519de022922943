#!/usr/bin/env bash
# pytest-zygote 0.1.1 (PyPI, 2026-09) with pytest 9.2.0 and pytest-xdist 3.8.0, seen 2026-11-28.
#
# One would guess: when a test kills its worker, that test fails, the worker is replaced, and every
#   other test has a result in the end; or the run says that it gave up.
# What happens: there is one replacement for each worker. After two deaths with one worker nobody is
#   left, the rest of the tests is never started, and nothing says so: no line, no error, not one
#   of them in the JUnit report, whose total is the number of tests that did run. Of six tests the
#   second and third kill their process: "2 failed, 1 passed", tests="3". xdist runs all six by
#   default, and told to replace nobody it prints why it stopped.
# Who meets it: suites of fault tests, and graders that divide what passed by the reported total.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pytest==9.2.0 pytest-zygote==0.1.1 \
    pytest-xdist==3.8.0 2>pip.log || { cat pip.log; exit 1; }

cat >test_six.py <<'P'
import os, signal, pytest

@pytest.mark.parametrize("number", range(6))
def test(number):
    if number in (1, 2):
        os.kill(os.getpid(), signal.SIGKILL)
P

export PYTEST_DISABLE_PLUGIN_AUTOLOAD=1
venv/bin/pip list --disable-pip-version-check 2>/dev/null | grep pytest
run() {
    echo "pytest $*"
    venv/bin/python -m pytest "$@" -p no:cacheprovider --tb=no --junitxml=report.xml test_six.py \
        >out.txt || echo "exit status $?"
    grep -oE '[0-9]+ failed, [0-9]+ passed|xdist: worker .*disabled|not run' out.txt
    echo "JUnit: $(grep -oE ' tests="[0-9]+"' report.xml)"
}
{
    run -p pytest_zygote.plugin --workers 1
    run -p xdist.plugin -n 1
    run -p xdist.plugin -n 1 --max-worker-restart 0
} | tee seen.txt
diff seen.txt - <<'E' || { echo "CHANGED: not what the head of this script says"; exit 1; }
pytest -p pytest_zygote.plugin --workers 1
exit status 1
2 failed, 1 passed
JUnit:  tests="3"
pytest -p xdist.plugin -n 1
exit status 1
2 failed, 4 passed
JUnit:  tests="6"
pytest -p xdist.plugin -n 1 --max-worker-restart 0
exit status 1
xdist: worker gw0 crashed and worker restarting disabled
1 failed, 1 passed
JUnit:  tests="2"
E
echo "as described"
