#!/usr/bin/env bash
# minicheck 0.4.0 (PyPI, 2026-07, an explicit-state model checker for state machines in Python), seen
#   2026-11-28.
#
# One would guess: a model is a class, so a variant of it is a subclass: it has the parent's fields,
#   transitions and invariants, and what it declares comes on top. The library refuses a misspelt
#   field, a transition that has another's label and a class without fields, each by name, and calls
#   nothing proved that it did not look at.
# What happens: a subclass that declares a field has only what stands in its own body. The parent's
#   fields, transitions and invariants are gone without a word, the walk is "exhaustive", and the
#   combined verdict is PROVED: of another, smaller machine. A lock that lets two in is refuted; the
#   same lock with a clock is proved, and its JUnit document says one test, no failure.
#   A subclass that declares no field, to add an invariant or nothing, is refused, so it is just the
#   one that is larger than its parent that passes.
# Who meets it: whoever checks variants of a protocol (a crash more, a timer more) as one writes
#   variants in Python, and reads the verdict; only the number of states tells.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check minicheck==0.4.0 2>pip.log || { cat pip.log; exit 1; }

cat >locks.py <<'P'
import re

from minicheck import Model, ModelError, check_safety, combine, from_holds, invariant, to_junit
from minicheck import transition


class Lock(Model):
    a: int = 0
    b: int = 0

    @transition(when=lambda s: s.a == 0)
    def a_enters(s):
        s.a = 1

    @transition(when=lambda s: s.b == 0)
    def b_enters(s):
        s.b = 1

    @invariant
    def never_both(s):
        return not (s.a and s.b)


class LockWithAClock(Lock):
    clock: int = 0

    @transition(when=lambda s: s.clock < 5)
    def tick(s):
        s.clock += 1

    @invariant
    def in_time(s):
        return s.clock <= 5


for model in Lock, LockWithAClock:
    found = check_safety(model.protocol())
    verdict = combine(
        from_holds(one["holds"], exhaustive=found["exhaustive"]) for one in found["properties"].values()
    )
    print(f"{model.__name__}: {verdict.value}, exhaustive: {found['exhaustive']}, "
          f"{found['reachable_states']} states, judged: {', '.join(found['properties'])}")
    counts = re.search(r'<testsuite [^>]*', to_junit(found))[0]
    print("  JUnit:", *re.findall(r'\b(?:tests|failures)="\d+"', counts))

try:
    type("LockAsItIs", (Lock,), {"__module__": __name__})
except ModelError as error:
    print("without a field of its own:", str(error).split(".")[0])
P
venv/bin/python --version
venv/bin/python locks.py | tee seen.txt
diff seen.txt - <<'E' || { echo "CHANGED: not what the head of this script says"; exit 1; }
Lock: REFUTED, exhaustive: True, 4 states, judged: never_both
  JUnit: tests="1" failures="1"
LockWithAClock: PROVED, exhaustive: True, 6 states, judged: in_time
  JUnit: tests="1" failures="0"
without a field of its own: LockAsItIs declares no fields
E
echo "as described"
