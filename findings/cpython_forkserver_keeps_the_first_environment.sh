#!/usr/bin/env bash
# CPython's start method "forkserver" (seen with 3.11 to 3.13; the default on Linux since 3.14) with
#   pytest 9.2.0 and its monkeypatch, seen 2026-11-28.
#
# One would guess: a worker process begins with what the program has when it starts the worker: the
#   environment, the limits, the umask, the working directory. So it is with "fork" and "spawn".
# What happens: the server is started with the first worker, and every later worker inherits from
#   the server. A test that sets SEED=2, a limit of open files and a umask has them in its own
#   process; its worker has those of the test that happened to run first, monkeypatched values that
#   have long been undone included. Only the working directory (and sys.path) are sent along, so that
#   a look at the files does not show it. Each test passes alone; of two the second fails, whichever
#   it is. A worker that does not fail but takes its seed or port from there repeats the first run.
# Who meets it: suites that hand a seed, a port or a fault to their replicas in an environment
#   variable, and graders that set a limit before each submission's worker: the second submission
#   has the first one's. Under pytest-xdist it depends on which tests share a worker.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pytest==9.2.0 2>pip.log ||
    { cat pip.log; exit 1; }

cat >test_workers.py <<'P'
import multiprocessing, os, resource
import pytest

def conditions():
    os.umask(mask := os.umask(0))
    return {"SEED": os.environ.get("SEED"), "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            "umask": f"{mask:03o}", "folder": os.path.basename(os.getcwd())}

@pytest.fixture
def limited(monkeypatch, tmp_path, request):
    seed = request.param
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100 + 10 * seed, hard))
    mask = os.umask(0o020 + seed)
    monkeypatch.setenv("SEED", str(seed))
    (tmp_path / f"run{seed}").mkdir()
    monkeypatch.chdir(tmp_path / f"run{seed}")
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    os.umask(mask)

@pytest.mark.parametrize("limited", [1, 2], indirect=True)
def test_run(limited):
    context = multiprocessing.get_context(os.environ["METHOD"])
    with context.Pool(1) as pool:
        worker = pool.apply(conditions)
    if worker["SEED"] != os.environ["SEED"]:
        print("test:  ", conditions())
        print("worker:", worker)
    assert worker == conditions()
P

venv/bin/python --version
run() {  # $1: start method, then the tests
    METHOD=$1 venv/bin/python -m pytest -q -p no:cacheprovider "${@:2}" | tee out.txt |
        grep -E '^(test|worker): ' || true
    echo "$*: $(grep -oE '^[0-9]+ (passed|failed)(, [0-9]+ passed)?' out.txt)"
}
first="test_workers.py::test_run[1]" second="test_workers.py::test_run[2]"
{
    run fork "$first" "$second"
    run spawn "$first" "$second"
    run forkserver "$first"
    run forkserver "$second"
    run forkserver "$first" "$second"
    run forkserver "$second" "$first"
} | sed 's/test_workers.py::test_run//g' | tee seen.txt
diff seen.txt - <<'E' || { echo "CHANGED: not what the head of this script says"; exit 1; }
fork [1] [2]: 2 passed
spawn [1] [2]: 2 passed
forkserver [1]: 1 passed
forkserver [2]: 1 passed
test:   {'SEED': '2', 'files': 120, 'umask': '022', 'folder': 'run2'}
worker: {'SEED': '1', 'files': 110, 'umask': '021', 'folder': 'run2'}
forkserver [1] [2]: 1 failed, 1 passed
test:   {'SEED': '1', 'files': 110, 'umask': '021', 'folder': 'run1'}
worker: {'SEED': '2', 'files': 120, 'umask': '022', 'folder': 'run1'}
forkserver [2] [1]: 1 failed, 1 passed
E
echo "as described"
