#!/usr/bin/env bash
# pytest 9.2.0 and its subtests (new in 9.0), with pytest-json-ctrf 0.6.1, pytest-json-report 1.5.0,
#   pytest-grader 0.4.1 and byu_pytest_utils 0.8.5 (PyPI, 2026), seen 2026-11-28.
#
# One would guess: a subtest is part of its test. Four tests are four in every report, a test that
#   pytest calls PASSED is passed there, and a test of ten points is worth ten.
# What happens: it depends on whom one asks. Of four tests of three subtests, one has a subtest
#   that skips, one a subtest that fails, one a subtest with an expected failure. pytest itself:
#   three passed, one failed. A hook around pytest_runtest_makereport, where a conftest keeps the
#   outcome of each "call" phase, is shown the subtests first, then the test itself: all four
#   passed; pytest makes the second a failure later, when it asks how to print it. pytest's
#   JUnit file says tests="16", lists four, and puts the <skipped> of a subtest into the first and
#   the third, so that one is left that passed; CTRF too. pytest-json-report has three passed, but
#   with -q or -v they are "subtests passed", and "passed" is no longer there. For pytest-grader
#   each subtest is a test with all the points of its test: 40 points become 160, and the test that
#   failed earns half of 40. byu_pytest_utils has the failed test twice, and 50 points.
# Who meets it: graders and dashboards whose test set moves from parametrize to subtests. How many
#   subtests run depends on the submission, and with it the total that its score is divided by.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pytest==9.2.0 pytest-json-ctrf==0.6.1 \
    pytest-json-report==1.5.0 pytest-grader==0.4.1 byu_pytest_utils==0.8.5 2>pip.log ||
    { cat pip.log; exit 1; }

tests() {  # $1: import of the decorator, which is then called `worth`
    cat <<P
import pytest
$1

@worth(10)
def test_one_skips(subtests):
    for replica in range(3):
        with subtests.test(replica=replica):
            if replica == 1:
                pytest.skip("not on this system")

@worth(10)
def test_one_fails(subtests):
    for replica in range(3):
        with subtests.test(replica=replica):
            assert replica != 1

@worth(10)
def test_one_fails_as_expected(subtests):
    for replica in range(3):
        with subtests.test(replica=replica):
            if replica == 1:
                pytest.xfail("known defect")

@worth(10)
def test_all_pass(subtests):
    for replica in range(3):
        with subtests.test(replica=replica):
            pass
P
}
mkdir plain grader byu
cat >plain/conftest.py <<'P'
import pytest
outcomes = {}

@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call":
        outcomes.setdefault(item.name, []).append(report.outcome)
    return report

def pytest_unconfigure():
    with open("hook.txt", "w") as file:
        for name, (*subtests, itself) in outcomes.items():
            print(f"  {name}: {' '.join(subtests)}, itself {itself}", file=file)
P
tests "worth = lambda points: lambda test: test" >plain/test_four.py
tests "from pytest_grader import points as worth" >grader/test_four.py
tests "from byu_pytest_utils import max_score as worth" >byu/test_four.py

cat >totals.py <<'P'
import json
from xml.etree import ElementTree
suite = ElementTree.parse("plain/junit.xml").find("testsuite")
cases = suite.findall("testcase")
print(f'JUnit: tests="{suite.get("tests")}", {len(cases)} listed,',
      f"{sum(len(case) == 0 for case in cases)} of them passed")
for case in cases:
    print(f"  {case.get('name')}:", ", ".join(child.tag for child in case) or "passed")
ctrf = json.load(open("plain/ctrf.json"))["results"]["summary"]
print("CTRF:", {key: ctrf[key] for key in ("tests", "passed", "failed", "skipped")})
for option in "default", "verbose":
    print(f"pytest-json-report, {option}:", json.load(open(f"plain/{option}.json"))["summary"])
P

export PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 GRADESCOPE=1
venv/bin/pip list --disable-pip-version-check 2>/dev/null | grep -E '^(pytest|byu)'
run() {  # $1: folder, then options of pytest
    (cd "$1" && ../venv/bin/python -m pytest -p no:cacheprovider "${@:2}" test_four.py || true)
}
{
    run plain -v -p pytest_jsonreport.plugin --json-report --json-report-file verbose.json |
        grep -oE '^test_four.py::\S+ (PASSED|FAILED)'
    echo "the hook:"
    cat plain/hook.txt
    run plain -p ctrf.main -p pytest_jsonreport.plugin --ctrf ctrf.json --junitxml junit.xml \
        --json-report --json-report-file default.json >/dev/null
    venv/bin/python totals.py
    echo "pytest-grader: $(run grader -p pytest_grader --score | grep -oE 'Score: [0-9]+/[0-9]+')"
    run byu -p byu_pytest_utils.pytest_plugin >/dev/null
    venv/bin/python - <<'P'
import json
tests = json.load(open("byu/results.json"))["tests"]
print("byu_pytest_utils:", len(tests), "tests,",
      sum(t["score"] for t in tests), "of", sum(t["max_score"] for t in tests))
P
} | tee seen.txt
diff seen.txt - <<'E' || { echo "CHANGED: not what the head of this script says"; exit 1; }
test_four.py::test_one_skips PASSED
test_four.py::test_one_fails FAILED
test_four.py::test_one_fails_as_expected PASSED
test_four.py::test_all_pass PASSED
the hook:
  test_one_skips: passed skipped passed, itself passed
  test_one_fails: passed failed passed, itself passed
  test_one_fails_as_expected: passed skipped passed, itself passed
  test_all_pass: passed passed passed, itself passed
JUnit: tests="16", 4 listed, 1 of them passed
  test_one_skips: skipped
  test_one_fails: failure, failure
  test_one_fails_as_expected: skipped
  test_all_pass: passed
CTRF: {'tests': 4, 'passed': 1, 'failed': 1, 'skipped': 2}
pytest-json-report, default: {'passed': 3, 'failed': 1, 'total': 4, 'collected': 4}
pytest-json-report, verbose: {'subtests passed': 3, 'failed': 1, 'total': 4, 'collected': 4}
pytest-grader: Score: 120/160
byu_pytest_utils: 5 tests, 30 of 50
E
echo "as described"
