#!/usr/bin/env bash
# pytest-forked 1.7.5 (PyPI, 2026-08) with pytest 9.2.0, seen 2026-11-28.
#
# One would guess: a test in a forked process passes or fails as it does in pytest's own process;
#   the plugin asks only for pytest >= 7.
# What happens: under pytest 9.2.0 every forked test, whatever it did, is reported as "EXITED with
#   status 3". The child sends its reports through `marshal`, and since 9.2.0 a report holds a
#   NodeId object, which marshal refuses; the child swallows that error and exits. The reason of a
#   real failure is lost. Worse: the plugin turns any crash of an expected failure into "xfailed",
#   so a strict xfail test that passes, which should be red, is the only one that is not.
#   Under pytest 9.1.0 all four are right.
# Who meets it: suites that fork because the test kills, leaks or crashes its process. The message
#   sends one to look for an exit(3) in the code under test.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
cat >test_four.py <<'P'
import pytest

def test_passes():
    pass

def test_fails():
    assert 1 == 2

def test_skips():
    pytest.skip("not here")

@pytest.mark.xfail(strict=True, reason="known defect")
def test_passes_though_marked_xfail():
    pass
P

export PYTEST_DISABLE_PLUGIN_AUTOLOAD=1
python3 -m venv venv
for version in 9.1.0 9.2.0; do
    venv/bin/pip install -q --disable-pip-version-check pytest=="$version" pytest-forked==1.7.5 \
        2>pip.log || { cat pip.log; exit 1; }
    for option in "" --forked; do
        echo "pytest $version${option:+ $option}"
        venv/bin/python -m pytest -p pytest_forked $option -v --tb=line -p no:cacheprovider \
            test_four.py >out.txt || true
        grep -oE '^test_four.py::\S+ [A-Z]+|EXITED with status [0-9]+$' out.txt
    done
done | tee seen.txt
diff seen.txt - <<'E' || { echo "CHANGED: not what the head of this script says"; exit 1; }
pytest 9.1.0
test_four.py::test_passes PASSED
test_four.py::test_fails FAILED
test_four.py::test_skips SKIPPED
test_four.py::test_passes_though_marked_xfail FAILED
pytest 9.1.0 --forked
test_four.py::test_passes PASSED
test_four.py::test_fails FAILED
test_four.py::test_skips SKIPPED
test_four.py::test_passes_though_marked_xfail FAILED
pytest 9.2.0
test_four.py::test_passes PASSED
test_four.py::test_fails FAILED
test_four.py::test_skips SKIPPED
test_four.py::test_passes_though_marked_xfail FAILED
pytest 9.2.0 --forked
test_four.py::test_passes FAILED
test_four.py::test_fails FAILED
test_four.py::test_skips FAILED
test_four.py::test_passes_though_marked_xfail XFAIL
EXITED with status 3
EXITED with status 3
EXITED with status 3
E
echo "as described"
