#!/usr/bin/env bash
# frontrun 0.7.0 (PyPI, 2026-07, runs threads under a scheduler of its own and explores their orders
#   with dynamic partial-order reduction), seen 2026-11-29.
#
# One would guess: by default it tries every order that matters: what "holds" is, as it says, absent
#   at the granularity explored, that of Python's bytecode. Reading a dict is reading a dict. Its
#   documentation names calls into C that it knows, and as blind spots extension modules with state
#   of their own and what happens within one such call.
# What happens: it depends on the words in which a thread reads. One moves 10 from a to b, the other
#   takes the sum of both. If that reads `store["a"] + store["b"]` or `dict(store)`, the sum in
#   between is found at the second order. If it reads json.dumps(store), pickle.dumps(store),
#   deepcopy(store), copy(bank), asdict(bank), a format string, `f(**store)` or `store == before`,
#   which is bytecode and nothing else, the read goes unseen: two threads that nothing connects, one
#   order, "holds". So with two that put a job into a queue.Queue that they found empty. The
#   package's own random search, told nothing more, finds each of them within 200 tries. Tracing all
#   packages too (trace_packages=["*"]) brings deepcopy and the queue, nothing else.
# Who meets it: whoever checks that a snapshot, a journal line or a reply is never torn, since those
#   are taken in just these words. The check is green, and stays so when the lock is taken away; that
#   just one order was tried is the only sign.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check frontrun==0.7.0 2>pip.log ||
    { cat pip.log; exit 1; }

cat >torn.py <<'P'
import copy, json, pickle, queue, sys
from dataclasses import asdict, dataclass
import frontrun

@dataclass
class Bank:
    a: int = 100
    b: int = 0

class Run:
    def __init__(self):
        self.bank, self.store = Bank(), {"a": 100, "b": 0}
        self.jobs, self.sums = queue.Queue(), []

def total(a, b):
    return a + b

def transfer(run):
    run.bank.a -= 10
    run.bank.b += 10

def transfer_in_store(run):
    run.store["a"] -= 10
    run.store["b"] += 10

READERS = {
    transfer: {
        "bank.a + bank.b": lambda bank: bank.a + bank.b,
        "copy.copy(bank)": lambda bank: copy.copy(bank),
        "asdict(bank)": lambda bank: asdict(bank),
    },
    transfer_in_store: {
        "store['a'] + store['b']": lambda store: store["a"] + store["b"],
        "dict(store)": lambda store: dict(store),
        "json.dumps(store)": lambda store: json.loads(json.dumps(store)),
        "pickle.dumps(store)": lambda store: pickle.loads(pickle.dumps(store)),
        "copy.deepcopy(store)": lambda store: copy.deepcopy(store),
        "total(**store)": lambda store: total(**store),
        "'{a} {b}'.format_map(store)":
            lambda store: sum(map(int, "{a} {b}".format_map(store).split())),
        "store == before or store == after":
            lambda store: 100 * (store == {"a": 100, "b": 0} or store == {"a": 90, "b": 10}),
    },
}

def explored(name, workers, invariant):
    """Whether the two strategies say that the invariant holds."""
    words = []
    for strategy, options in (("dpor", {}), ("random", {"seed": 1})):
        result = frontrun.explore(setup=Run, workers=workers, invariant=invariant,
                                  strategy=strategy, reproduce_on_failure=0, **options)
        words.append("holds" if result.property_holds else "violated")
        if strategy == "dpor":
            words[-1] += f" after {result.num_explored}"
    print(f"{name:34} {words[0]:17} {words[1]}")

def sums_taken(read, source):
    def reader(run):
        taken = read(getattr(run, source))
        run.sums.append(taken if isinstance(taken, int) else
                        total(**(taken if isinstance(taken, dict) else vars(taken))))
    return reader

print(f"{'':34} {'dpor':17} random")
for mover, readers in READERS.items():
    for name, read in readers.items():
        source = "bank" if mover is transfer else "store"
        explored(name, [mover, sums_taken(read, source)], lambda run: run.sums == [100])

def claim(run):
    if run.jobs.empty():
        run.jobs.put("job")

explored("if jobs.empty(): jobs.put(job)", [claim, claim], lambda run: run.jobs.qsize() == 1)
P
venv/bin/pip list --disable-pip-version-check 2>/dev/null | grep '^frontrun '
venv/bin/frontrun venv/bin/python torn.py 2>log.txt | tee seen.txt || { cat log.txt; exit 1; }
diff seen.txt - <<'E' || { echo "CHANGED: not what the head of this script says"; exit 1; }
                                   dpor              random
bank.a + bank.b                    violated after 2  violated
copy.copy(bank)                    holds after 1     violated
asdict(bank)                       holds after 1     violated
store['a'] + store['b']            violated after 2  violated
dict(store)                        violated after 2  violated
json.dumps(store)                  holds after 1     violated
pickle.dumps(store)                holds after 1     violated
copy.deepcopy(store)               holds after 1     violated
total(**store)                     holds after 1     violated
'{a} {b}'.format_map(store)        holds after 1     violated
store == before or store == after  holds after 1     violated
if jobs.empty(): jobs.put(job)     holds after 1     violated
E
echo "as described"
