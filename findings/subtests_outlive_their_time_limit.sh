#!/usr/bin/env bash
# pytest 9.2.0 and its subtests (new in 9.0), with pytest-timeout 2.4.0 and with asyncio.timeout()
#   (Python 3.11 to 3.13), seen 2026-11-29.
#
# One would guess: a test with a limit of one second ends after one second, whatever it is made of.
#   A subtest in which the limit is reached fails, and with it the test; what comes after it is not
#   begun, as it is in a test without subtests.
# What happens: pytest-timeout raises its failure wherever the test is at that moment, and once. If
#   that is within a subtest, the subtest catches it, reports a failure and has the test go on, now
#   without any limit. asyncio.timeout() cancels the task, once; the subtest catches that too, so
#   that no TimeoutError is ever raised, and a CancelledError is reported. Three replicas are asked
#   one after the other and answer after four seconds each: the first fails at the limit, the
#   others pass, each far beyond it; had they never answered, the run would hang. A limit within
#   each subtest is right.
# Who meets it: tests that loop over replicas, clients or seeds, moved to subtests to see all that
#   fail, with a limit there in case some are frozen. At the second frozen one they hang, until the
#   CI's own limit ends the run without a report. With just one frozen all seems well.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pytest==9.2.0 pytest-timeout==2.4.0 \
    2>pip.log || { cat pip.log; exit 1; }

cat >conftest.py <<'P'
def pytest_runtest_logreport(report):
    subtest = getattr(report, "context", None)
    crash = getattr(report.longrepr, "reprcrash", None)
    if report.when == "call" and (subtest or crash):
        name = f"replica {subtest.kwargs['replica']}" if subtest else "the test"
        with open("told.txt", "a") as told:
            print(f"  {name} {report.outcome}", *([crash.message] if crash else []), file=told)
P
cat >test_limits.py <<'P'
import asyncio, contextlib, time
import pytest

LIMIT, ANSWER = 1, 4

@pytest.fixture(autouse=True)
def told(request):
    start = time.monotonic()
    with open("told.txt", "a") as told:
        print(request.node.name, file=told)
    yield
    answers = int((time.monotonic() - start) / ANSWER)
    with open("told.txt", "a") as told:
        print("  ended", f"after {answers} answers" if answers else "at the limit", file=told)

async def asked(subtest):
    async with asyncio.timeout(LIMIT):
        for replica in range(3):
            with subtest(replica):
                await asyncio.sleep(ANSWER)

@pytest.mark.timeout(LIMIT, func_only=True)
def test_alarm():
    for replica in range(3):
        time.sleep(ANSWER)

@pytest.mark.timeout(LIMIT, func_only=True)
def test_alarm_with_subtests(subtests):
    for replica in range(3):
        with subtests.test(replica=replica):
            time.sleep(ANSWER)

def test_asyncio():
    asyncio.run(asked(contextlib.nullcontext))

def test_asyncio_with_subtests(subtests):
    asyncio.run(asked(lambda replica: subtests.test(replica=replica)))

def test_limits_within_subtests(subtests):
    async def each():
        for replica in range(3):
            with subtests.test(replica=replica):
                async with asyncio.timeout(LIMIT / 3):
                    await asyncio.sleep(ANSWER)

    asyncio.run(each())
P
venv/bin/pip list --disable-pip-version-check 2>/dev/null | grep '^pytest'
venv/bin/python -m pytest -q --tb=no -p no:cacheprovider >out.txt ||
    [ $? = 1 ] || { cat out.txt; exit 1; }
tee seen.txt <told.txt
diff seen.txt - <<'E' || { echo "CHANGED: not what the head of this script says"; exit 1; }
test_alarm
  the test failed Failed: Timeout (>1.0s) from pytest-timeout.
  ended at the limit
test_alarm_with_subtests
  replica 0 failed Failed: Timeout (>1.0s) from pytest-timeout.
  replica 1 passed
  replica 2 passed
  ended after 2 answers
test_asyncio
  the test failed TimeoutError
  ended at the limit
test_asyncio_with_subtests
  replica 0 failed asyncio.exceptions.CancelledError
  replica 1 passed
  replica 2 passed
  ended after 2 answers
test_limits_within_subtests
  replica 0 failed TimeoutError
  replica 1 failed TimeoutError
  replica 2 failed TimeoutError
  ended at the limit
E
echo "as described"
